"""What there is to say about a watcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class WatchStats:
    """The state of a watcher.

    ``needed`` counts the directories known, ``limit`` and ``instance_limit`` are how many watches and
    instances the kernel allows (None where unknown), each with the sysctl that sets it. ``reasons`` counts
    polled directories by errno name (``ENOSPC``), file system (``nfs``) or ``polling``. ``reader_alive`` is
    False if events should be read and are not: then no directory can be relied on to be watched.
    """

    watched: int
    polled: int
    needed: int
    limit: int | None
    limit_sysctl: str
    instance_limit: int | None
    instance_sysctl: str
    overflows: int
    last_overflow_us: int | None
    reasons: dict[str, int]
    reader_alive: bool


class Shared(NamedTuple):
    """What another process needs to put watches for a watcher, and what says later what they are worth.

    ``fd`` is the inotify instance, ``generation`` counts the instances, ``epoch`` counts how often events
    may have been lost. Watches told with an earlier generation are of another instance.
    """

    fd: int
    generation: int
    epoch: int

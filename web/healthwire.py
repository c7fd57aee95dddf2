"""The JSON of what the sidecar says of itself: whether it is ready, and whether it is well."""

from __future__ import annotations

from typing import Literal

import msgspec

from web.wire import Count, Timestamp


class Ready(msgspec.Struct):
    """The index is complete enough to believe a 404."""

    ready: bool


class IndexInfo(msgspec.Struct):
    """How much the index holds, and its version."""

    files: Count
    assets: Count
    version: int


class PendingWork(msgspec.Struct):
    """What is known to have happened and is not in the index yet."""

    paths: Count
    validations: Count


class RootInfo(msgspec.Struct):
    """A watched root: how it is watched, and whether it is there."""

    path: str
    available: bool
    watcher: str
    directories: Count


class ScanInfo(msgspec.Struct):
    """The last full scan."""

    last_completed_at: Timestamp | None
    seconds: float | None
    files: int | None


class DatabaseInfo(msgspec.Struct):
    """The pipeline database."""

    configured: bool
    reachable: bool
    last_sync_at: Timestamp | None
    error: str | None


class WatchInfo(msgspec.Struct):
    """How directories are watched.

    Of ``needed`` directories ``watched`` tell about changes and ``polled`` are looked at again and again;
    the system allows ``allowed`` watches (null where it does not say). ``overflows`` is how often the system
    lost events, each of which is made up for by a full look; ``missed`` counts files no event told about.
    """

    watched: Count
    polled: Count
    needed: Count
    allowed: Count | None
    overflows: Count
    last_overflow_at: Timestamp | None
    missed: Count


class QueueInfo(msgspec.Struct):
    """What waits for the scanner, by where it waits."""

    dirty_directories: Count
    directories_to_list: Count
    settling_files: Count
    database_batches: Count


class VolumeInfo(msgspec.Struct):
    """The volume that holds the data root; null where it cannot be asked."""

    free_bytes: int | None
    free_inodes: int | None


class Health(msgspec.Struct):
    """Whether the sidecar is well, and if not, why."""

    status: Literal["ok", "starting", "degraded"]
    ready: bool
    version: str
    problems: list[str]
    index: IndexInfo
    pending: PendingWork
    roots: list[RootInfo]
    scan: ScanInfo
    database: DatabaseInfo
    watching: WatchInfo
    queues: QueueInfo
    skipped_names: Count
    unmatched_files: Count
    volume: VolumeInfo

"""Assets on their way through the index: what it had of them, what was gathered, what came of it."""

from __future__ import annotations

from typing import NamedTuple

from scanner.claims import Key
from scanner.resolve import Disagreement, Evidence, Resolved


class Record(NamedTuple):
    """An asset as the index holds it."""

    number: int
    scope: int
    resolved: Resolved


class Case(NamedTuple):
    """An asset to be resolved: what the index had, and the evidence that was gathered.

    ``keys`` are those under which others have to be told that it looks for files; ``fresh``: nothing else
    is concerned.
    """

    key: Key
    before: Record | None
    evidence: Evidence
    keys: frozenset[str]
    fresh: bool = False


class Comparison(NamedTuple):
    """What came of resolving one asset; ``after`` is what the index will hold of it.

    ``fresh``: nothing was known of the asset before, else ``owner`` was its product or video.
    """

    key: Key
    scope: int
    found: list[Disagreement]
    after: Resolved
    evidence: Evidence
    fresh: bool = False
    owner: str | None = None

"""Numbers that are missing in the middle of a video's frames, as findings about the video."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from scanner.backlog import Backlog, Slices
from scanner.findings import FRAMES, STORED, Status, Stored
from scanner.index import Index
from scanner.records import AssetType, Kind

QUIET_SECONDS = 1.0
"""A video is looked at once its frames have not changed for this long."""
PAUSE_FACTOR = 50.0
"""A video is left alone for this many times what the last look at it took: frames may come one by one."""
_SLICE = 1000
_TYPE = AssetType.VIDEO_FRAME


class FrameGaps:
    """Looks at videos whose frames have changed; ``backlog`` does it a slice at a time."""

    def __init__(self, index: Index, backlog: Backlog) -> None:
        self._index = index
        self._db: Any = index.db
        self._backlog = backlog
        self._waiting: dict[str, float] = {}
        self._rest: dict[str, float] = {}

    @property
    def pending(self) -> int:
        """How many videos are to be looked at."""
        return len(self._waiting)

    def step(self, now: float, *, at_once: bool = False) -> None:
        """Take note of changes, and see to it that the videos that are due are looked at."""
        for video in self._index.findings.take_videos():
            self._waiting[video] = now
        if at_once:
            due = list(self._waiting)
        else:
            self._rest = {video: until for video, until in self._rest.items() if until > now}
            due = [
                video
                for video, changed in self._waiting.items()
                if now - changed >= QUIET_SECONDS and video not in self._rest
            ]
        for video in due:
            del self._waiting[video]
            self._backlog.add(partial(self._look, video))

    def _look(self, video: str) -> Slices:
        started = time.monotonic()
        seconds = 0.0
        numbers: set[int] = set()
        for part in self._frames(video):
            numbers.update(part)
            seconds += time.monotonic() - started
            yield
            started = time.monotonic()
        self._tell(video, missing(sorted(numbers)))
        seconds += time.monotonic() - started
        self._rest[video] = time.monotonic() + PAUSE_FACTOR * seconds

    def _tell(self, video: str, detail: str | None) -> None:
        row = self._db.execute(
            f"SELECT {STORED} FROM findings WHERE type=? AND id=? AND feature=? AND kind=?",
            (_TYPE, video, FRAMES, str(Kind.SUSPECT)),
        ).fetchone()
        old = None if row is None else Stored(*row)
        scope = self._scope(video)
        if old is not None and (detail is None or old.detail != detail or old.scope != scope):
            self._index.findings.delete(_TYPE, old)
        elif old is not None:
            return
        if detail is not None:
            self._index.findings.insert_about_frames(video, scope, detail, since_state(old))

    def _frames(self, video: str) -> Iterator[list[int]]:
        """The numbers of the frames that are there, in parts."""
        last, more = "", True
        while more:
            rows = self._db.execute(
                "SELECT id, image FROM assets"
                " WHERE type=1 AND owner=? AND listed AND id>? ORDER BY id LIMIT ?",
                (video, last, _SLICE),
            ).fetchall()
            yield [number for _, image in rows if (number := self._number(image)) is not None]
            more = len(rows) == _SLICE
            last = rows[-1][0] if rows else last

    def _number(self, image: str) -> int | None:
        names = self._index.layout.image_names(_TYPE, image)
        frame = "" if names is None else names.names.get("frame", "")
        return int(frame) if frame.isascii() and frame.isdigit() else None

    def _scope(self, video: str) -> int:
        row = self._db.execute("SELECT scope FROM owners WHERE type=? AND id=?", (_TYPE, video)).fetchone()
        return 0 if row is None else int(row[0])


def since_state(old: Stored | None) -> Status:
    """A finding that only changes its text stays published."""
    return Status.WAITING if old is None else Status(old.state)


def missing(numbers: Sequence[int]) -> str | None:
    """What is missing in ascending numbers: a step larger than the most common one; None if nothing is."""
    steps = Counter(right - left for left, right in pairwise(numbers))
    if not steps:
        return None
    most = max(steps.values())
    usual = min(step for step, times in steps.items() if times == most)
    gaps = [(left, right) for left, right in pairwise(numbers) if right - left > usual]
    if not gaps:
        return None
    shown = ", ".join(_between(left, right, usual) for left, right in gaps[:5])
    more = f" and {len(gaps) - 5} further gaps" if len(gaps) > 5 else ""
    return f"frames are missing in the middle of the video: {shown}{more}"


def _between(left: int, right: int, usual: int) -> str:
    """The numbers that are missing between two; the two where the usual step leads past the second."""
    if (right - left) % usual:
        return f"between {left} and {right}"
    return f"{left + usual} to {right - usual}"

"""Numbers that are missing in the middle of a video's frames, as findings about the video."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from scanner.findings import FRAMES, Status, Stored
from scanner.index import Index
from scanner.records import AssetType, Kind

QUIET_SECONDS = 1.0
"""A video is looked at once its frames have not changed for this long."""
STEP_SECONDS = 0.02
_TYPE = AssetType.VIDEO_FRAME


class FrameGaps:
    """Looks at videos whose frames have changed, a few at a time."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._db: Any = index.db
        self._waiting: dict[str, float] = {}

    @property
    def pending(self) -> int:
        """How many videos are to be looked at."""
        return len(self._waiting)

    def step(self, now: float, quiet: float = QUIET_SECONDS) -> bool:
        """Look at videos for a moment; True if there are more."""
        for video in self._index.findings.take_videos():
            self._waiting[video] = now
        due = [video for video, changed in self._waiting.items() if now - changed >= quiet]
        if not due:
            return False
        with self._index.transaction():
            for video in due:
                del self._waiting[video]
                self._look(video)
                if time.monotonic() - now > STEP_SECONDS:
                    return True
        return False

    def _look(self, video: str) -> None:
        numbers = self._numbers(video)
        detail = missing(numbers)
        row = self._db.execute(
            "SELECT id, feature, kind, scope, state, path, claimed, detail, reason FROM findings"
            " WHERE type=? AND id=? AND feature=? AND kind=?",
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

    def _numbers(self, video: str) -> list[int]:
        layout = self._index.layout
        numbers = set()
        rows = self._db.execute(
            "SELECT image FROM assets WHERE type=1 AND owner=? AND listed", (video,)
        ).fetchall()
        for (image,) in rows:
            names = layout.image_names(_TYPE, image)
            frame = "" if names is None else names.names.get("frame", "")
            if frame.isascii() and frame.isdigit():
                numbers.add(int(frame))
        return sorted(numbers)

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
    shown = json.dumps([f"{left + usual} to {right - usual}" for left, right in gaps[:5]])[1:-1].replace(
        '"', ""
    )
    more = f" and {len(gaps) - 5} further gaps" if len(gaps) > 5 else ""
    return f"frames are missing in the middle of the video: {shown}{more}"

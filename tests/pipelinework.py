"""A pipeline at work, as a process of its own: it writes files first, and their rows a little later.

``python pipelinework.py ROOT URL ASSETS RATE`` makes so many frames, at most ``RATE`` a second, and finishes
them; what it did is its last line, as JSON. Rows are written many at a time, as pipelines do.
"""

from __future__ import annotations

import heapq
import io
import json
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from kindworld import COLUMNS, FILES, SIZE
from PIL import Image

ROW_SECONDS = 1.0
"""How long after a file its row comes at the latest."""
VIDEOS = 20
_TICK_SECONDS = 0.01
_INSERT = "INSERT INTO video_frames (frame_id, video_id, ts, local_path) VALUES (?, ?, 1.0, ?)"


class Rows:
    """Rows that wait to be written, in the order of their statements."""

    def __init__(self, url: str) -> None:
        self._sqlite = url.startswith("sqlite:")
        self._connection: Any
        if self._sqlite:
            self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
            self._connection.execute("PRAGMA synchronous=OFF")
        else:
            self._connection = psycopg.connect(url)
        self._waiting: dict[str, list[Sequence[object]]] = defaultdict(list)

    def add(self, statement: str, *values: object) -> None:
        """One more row."""
        self._waiting[statement].append(values)

    def commit(self) -> None:
        """Write what waits, in one transaction."""
        if not self._waiting:
            return
        cursor = self._connection.cursor()
        for statement in sorted(self._waiting):  # INSERT goes before UPDATE
            known = statement if self._sqlite else statement.replace("?", "%s")
            cursor.executemany(known, self._waiting[statement])
        self._connection.commit()
        self._waiting.clear()


class Pipeline:
    """Writes the image of a frame, then its artifacts, each followed by what the row says of it."""

    def __init__(self, root: Path, rows: Rows, seed: int) -> None:
        self.root = root
        self.rows = rows
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.image, self.mask = picture("RGB"), picture("L")
        self.made = 0
        self.late = self.seconds = 0.0
        self._due: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._order = count()

    def work(self, assets: int, rate: float) -> None:
        """Make so many frames, and finish them."""
        started = time.monotonic()
        while self.made < assets or self._due:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due, _, act, arguments = heapq.heappop(self._due)
                self.late = max(self.late, now - due)
                act(now, *arguments)
            self.rows.commit()  # rows go before new files, so that none comes later than it should
            while self.made < min(assets, (now - started) * rate) and time.monotonic() < now + _TICK_SECONDS:
                self._begin(now)
                self.seconds = now - started
            time.sleep(max(0.0, now + _TICK_SECONDS - time.monotonic()))
        self.rows.commit()

    def _later(self, now: float, seconds: float, act: Any, *arguments: Any) -> None:
        due = now + self.rng.random() * seconds
        heapq.heappush(self._due, (due, next(self._order), act, arguments))

    def _begin(self, now: float) -> None:
        video, frame = f"v{self.made % VIDEOS}", f"{self.made // VIDEOS:06}"
        path = self.root / "frames" / video / f"{frame}.png"
        self.made += 1
        self._write(path, self.image)
        self._later(now, ROW_SECONDS, self._record, f"{video}_frame_{frame}", video, path)

    def _record(self, now: float, key: str, video: str, path: Path) -> None:
        self.rows.add(_INSERT, key, video, str(path))
        for feature in FILES:
            self._later(now, 1.0, self._derive, key, path.with_suffix(""), feature)

    def _derive(self, now: float, key: str, folder: Path, feature: str) -> None:
        path = folder / FILES[feature]
        self._write(path, self.mask if feature == "segment" else self._values(feature).tobytes())
        self._later(now, ROW_SECONDS, self._claim, key, feature, path)

    def _values(self, feature: str) -> Any:
        if feature == "embedding":
            return self.numbers.random(512, "<f4")
        return np.array([[1, 1, self.rng.random()]], "<f4")

    def _claim(self, _now: float, key: str, feature: str, path: Path) -> None:
        self.rows.add(f"UPDATE video_frames SET {COLUMNS[feature]}=? WHERE frame_id=?", str(path), key)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)


def picture(mode: str) -> bytes:
    """A small picture with two values."""
    made, content = Image.new(mode, SIZE), io.BytesIO()
    made.putpixel((1, 1), 255 if mode == "L" else (255, 0, 0))
    made.save(content, "PNG")
    return content.getvalue()


def main() -> None:
    """Work, and say what was done."""
    root, url, assets, rate = sys.argv[1:5]
    pipeline = Pipeline(Path(root), Rows(url), seed=1)
    pipeline.work(int(assets), float(rate))
    print(json.dumps({"made": pipeline.made, "seconds": pipeline.seconds, "late": pipeline.late}))


if __name__ == "__main__":
    main()

"""A pipeline at work writes files first and rows later: nobody who polls ever sees a finding of it.

``FLICKER_SECONDS`` is how long it works in each case (5 by default), ``FLICKER_RATE`` how many assets it
makes a second at most (200); rows go before new files, so that none comes later than it should.
"""

from __future__ import annotations

import heapq
import io
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kindworld import COLUMNS, FILES, SIZE, KindWorld
from PIL import Image
from postgres import Cluster
from running import Serving
from waiting import until

SECONDS = float(os.environ.get("FLICKER_SECONDS", "5"))
RATE = float(os.environ.get("FLICKER_RATE", "200"))
ROW_SECONDS = 1.0
"""How long after a file its row comes at the latest."""
GRACE_SECONDS = 8.0
VIDEOS = 20


def picture(mode: str) -> bytes:
    """A small picture with two values."""
    made, content = Image.new(mode, SIZE), io.BytesIO()
    made.putpixel((1, 1), 255 if mode == "L" else (255, 0, 0))
    made.save(content, "PNG")
    return content.getvalue()


class Pipeline:
    """Writes the image of a frame, then its artifacts, each followed by what the row says of it."""

    def __init__(self, world: KindWorld, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.image, self.mask = picture("RGB"), picture("L")
        self.made = 0
        self.late = 0.0
        self._due: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._order = count()

    def work(self, seconds: float) -> None:
        """Make frames for so long, and finish them."""
        started = time.monotonic()
        while (now := time.monotonic()) < started + seconds or self._due:
            if self._due and self._due[0][0] <= now:
                due, _, act, arguments = heapq.heappop(self._due)
                self.late = max(self.late, now - due)
                act(*arguments)
            elif now < started + seconds and self.made < (now - started) * RATE:
                self._begin(now)
            else:
                time.sleep(0.001)

    def _later(self, now: float, seconds: float, act: Any, *arguments: Any) -> None:
        due = now + self.rng.random() * seconds
        heapq.heappush(self._due, (due, next(self._order), act, arguments))

    def _begin(self, now: float) -> None:
        video, frame = f"v{self.made % VIDEOS}", f"{self.made // VIDEOS:06}"
        path = self.world.root / "frames" / video / f"{frame}.png"
        key = f"{video}_frame_{frame}"
        self.made += 1
        self._write(path, self.image)
        self._later(now, ROW_SECONDS, self._record, key, video, path)

    def _record(self, key: str, video: str, path: Path) -> None:
        self.world.insert("video_frames", frame_id=key, video_id=video, ts=1.0, local_path=str(path))
        for feature in FILES:
            self._later(time.monotonic(), 1.0, self._derive, key, path.with_suffix(""), feature)

    def _derive(self, key: str, folder: Path, feature: str) -> None:
        path = folder / FILES[feature]
        numbers = np.array([[1, 1, self.rng.random()]]) if feature == "keypoints" else None
        if feature == "embedding":
            numbers = np.array([self.rng.random() for _ in range(512)])
        self._write(path, self.mask if numbers is None else numbers.astype("<f4").tobytes())
        self._later(time.monotonic(), ROW_SECONDS, self._claim, key, feature, path)

    def _claim(self, key: str, feature: str, path: Path) -> None:
        mark = self.world.mark
        statement = f"UPDATE video_frames SET {COLUMNS[feature]}={mark} WHERE frame_id={mark}"
        self.world.database.execute(statement, (str(path), key))

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KindWorld]:
    """An empty world with a job and its videos."""
    url = None
    if request.param == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        cluster.start()
        url = cluster.create_database(vector=False)
    with closing(KindWorld(tmp_path, url)) as made:
        if url is None:
            made.database.close()
            made.database = sqlite3.connect(
                tmp_path / "pipeline.db", isolation_level=None, check_same_thread=False
            )
            made.database.execute("PRAGMA journal_mode=WAL")
            made.database.execute("PRAGMA synchronous=OFF")
        made.begin("j")
        for number in range(VIDEOS):
            made.insert("videos", video_id=f"v{number}", job_id="j")
        yield made


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_no_finding_flickers_while_a_pipeline_works(world: KindWorld) -> None:
    settings = {
        "SIDECAR_DATABASE__URL": world.url,
        "SIDECAR_DATABASE__POLL_SECONDS": 0.5,
        "SIDECAR_VERIFY__CONTENT": "true",
        "SIDECAR_VERIFY__GRACE_SECONDS": GRACE_SECONDS,
    }
    pipeline = Pipeline(world, seed=1)
    seen: list[Any] = []
    polls = 0
    with Serving(world.base, settings) as server:
        server.ready()
        worker = threading.Thread(target=pipeline.work, args=(SECONDS,))
        worker.start()
        try:

            def settled() -> bool:
                nonlocal polls
                polls += 1
                seen.extend(server.get("/verification/findings?limit=1000").json()["items"])
                report = server.get("/verification").json()
                done = report["assets"] == pipeline.made and not any(report["pending"].values())
                return done and not worker.is_alive() and not server.health()["pending"]["paths"]

            until(settled, "it has taken everything in", SECONDS + 60)
            ended = time.monotonic()
            until(
                lambda: settled() and time.monotonic() > ended + GRACE_SECONDS + 1, "the grace period is over"
            )
        finally:
            worker.join()
        report = server.get("/verification").json()
    print(f"{pipeline.made} assets in {SECONDS:.0f} s, rows up to {pipeline.late:.2f} s late, {polls} polls")
    assert pipeline.late + ROW_SECONDS < GRACE_SECONDS - 1, "the test itself was held up"
    assert seen == []
    assert report["total"] == report["withheld"] == 0
    assert report["checked"] == dict.fromkeys(("image", *COLUMNS), pipeline.made)
    assert polls > 20
    assert pipeline.made > 100

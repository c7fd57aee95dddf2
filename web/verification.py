"""The endpoints of verification: its report, and the findings as pages or as one stream."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from scanner.findingqueries import Place, is_natural
from scanner.queries import Queries
from scanner.records import FindingItem, FindingRequest
from web import params, wire
from web.base import Exchange, describe, encode
from web.handlers import PayloadEndpoint, listing
from web.params import Limits, ParameterSet, Query
from web.problems import not_found

BATCH = 200  # findings a chunk: some 60 kB, a millisecond or two of work between two other requests
COLUMNS = tuple(field.name for field in msgspec.structs.fields(wire.Finding))
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson"}


def job_of(args: Sequence[str]) -> str | None:
    """The job that the path names; None for everything."""
    return args[0] if args else None


def request_of(args: Sequence[str], query: Query) -> FindingRequest:
    """The findings that a request asks for."""
    return FindingRequest(query.page, job_of(args), query.kinds, query.features, query.asset_type, query.q)


class Verification(PayloadEndpoint):
    """``GET /verification`` and ``GET /jobs/{job_id}/verification``."""

    summary = "How many findings there are of which kind, and how much was checked"
    answers = wire.VerificationReport

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The report."""
        report = queries.verification(job_of(args))
        return None if report is None else self.payloads.verification(report)


class Findings(PayloadEndpoint):
    """``GET /verification/findings`` and ``GET /jobs/{job_id}/verification/findings``."""

    summary = "The findings"
    answers = wire.FindingPage
    media_types = ("text/csv", "application/x-ndjson")

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters, paging and the format."""
        filters = (
            params.KINDS,
            params.FEATURES,
            params.ASSET_TYPE,
            params.text("q", "Only findings whose path or asset id holds this text, in any letter case."),
            params.FORMAT,
        )
        return ParameterSet(filters, sorts=("asset_id", "kind", "path"), limits=limits)

    def is_search(self, args: Sequence[str], query: Query) -> bool:
        """Every finding is looked at, unless an index has those that are wanted in their order."""
        return not is_natural(request_of(args, query))

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of findings."""
        found = queries.findings(request_of(args, query))
        return listing(self.answers, found, query, lambda item, urls: self.payloads.finding(item))

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """A page at once, or the stream of all."""
        query = self.parameters.parse(exchange.query)
        if query.format == "json":
            return super().handle(exchange, args)
        return self._stream(exchange, args, query)

    async def _stream(self, exchange: Exchange, args: Sequence[str], query: Query) -> None:
        await self._require_job(args)
        exchange.start(200, self._stream_headers(exchange, job_of(args), query.format))
        if not exchange.head:
            write_batch = csv_batch if query.format == "csv" else ndjson_batch
            if query.format == "csv":
                await exchange.write(csv_lines([COLUMNS]))
            await self._send_all(exchange, request_of(args, query), write_batch)
        exchange.close(200)

    async def _send_all(
        self, exchange: Exchange, wanted: FindingRequest, write_batch: Callable[[list[wire.Finding]], bytes]
    ) -> None:
        found, place = await self._portion(wanted, None)
        while found:
            for start in range(0, len(found), BATCH):
                batch = [self.payloads.finding(item) for item in found[start : start + BATCH]]
                await exchange.write(write_batch(batch))
            found, place = ([], None) if place is None else await self._portion(wanted, place)

    async def _portion(
        self, wanted: FindingRequest, place: Place | None
    ) -> tuple[list[FindingItem], Place | None]:
        """Read by another thread: without an index in that order, everything is sorted for each portion."""
        queries, searches = self.context.queries, self.context.searches
        if searches is None:
            return queries.findings_behind(wanted, place)
        return await searches.ask(queries.path, lambda others: others.findings_behind(wanted, place))

    def _stream_headers(self, exchange: Exchange, job_id: str | None, form: str) -> list[tuple[str, str]]:
        return [
            ("Content-Type", MEDIA_TYPES[form]),
            ("Content-Disposition", f'attachment; filename="{_file_name(job_id)}.{form}"'),
            ("Cache-Control", "no-cache"),
            exchange.application.state_header(),
        ]

    async def _require_job(self, args: Sequence[str]) -> None:
        """Raise 404 or 503 unless the job is known."""
        queries, job_id = self.context.queries, job_of(args)
        if job_id is None or queries.status(job_id) is not None:
            return
        self.require_ready(args)
        if not (await self.context.lookup("job", job_id) and queries.status(job_id) is not None):
            raise not_found(describe("job", job_id))


def _file_name(job_id: str | None) -> str:
    """A name that every file system and header can hold."""
    if job_id is None:
        return "findings"
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in job_id)
    return f"findings-{safe[:60]}"


def csv_lines(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as CSV, quoted where needed; null is the empty field."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8")


def csv_batch(findings: list[wire.Finding]) -> bytes:
    """Findings as CSV, without the line of column names."""
    return csv_lines([msgspec.structs.astuple(finding) for finding in findings])


def ndjson_batch(findings: list[wire.Finding]) -> bytes:
    """Findings as JSON, one a line."""
    return b"".join(encode(finding) + b"\n" for finding in findings)

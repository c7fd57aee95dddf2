"""``sidecar verify``: one look at everything, for cron and CI."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from scanner.config import Config
from scanner.exceptions import IndexFull
from scanner.inspection import Inspection
from scanner.queries import Queries
from scanner.records import Feature, FindingItem, FindingRequest, Kind, Page, Verification
from web.base import encode
from web.payloads import Payloads
from web.verification import COLUMNS, csv_batch, csv_lines, ndjson_batch

CLEAN, FOUND, COULD_NOT = 0, 1, 2
_BATCH = 200
_ORDER = Page(limit=_BATCH, offset=0, sort_by="asset_id", descending=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look has found, for one job or for everything.

    ``reasons`` say why not everything could be told; ``depth`` how deep it looked; ``kinds`` are those that
    were asked for, none for all.
    """

    report: Verification
    found: int
    reasons: list[str]
    depth: str
    kinds: tuple[Kind, ...]

    @property
    def exit_code(self) -> int:
        """0 without findings, 1 with findings, 2 where something could not be looked at."""
        if self.reasons:
            return COULD_NOT
        return FOUND if self.found else CLEAN


def run(config: Config, options: argparse.Namespace) -> int:
    """Look, print, and return the exit code."""
    kinds = _kinds(options.kind)
    unknown = [name for name in _names(options.kind) if name not in list(Kind)]
    if unknown:
        known = ", ".join(Kind)
        return _fail(f"there is no kind of finding called {', '.join(unknown)}; known are {known}")
    if options.limit is not None and options.limit < 0:
        return _fail("--limit must not be negative")
    with tempfile.TemporaryDirectory(prefix="sidecar-verify-") as directory:
        inspection = Inspection(config, Path(directory))
        try:
            _look(inspection)
            return _tell(config, options, inspection, kinds)
        except IndexFull as error:
            return _fail(f"no room for the index in {directory}: {error}")
        finally:
            inspection.close()


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return COULD_NOT


def _names(given: Sequence[str]) -> list[str]:
    """What ``--kind`` was given, be it repeated or with commas between."""
    return [name for text in given for name in text.split(",") if name]


def _kinds(given: Sequence[str]) -> tuple[Kind, ...]:
    return tuple(Kind(name) for name in dict.fromkeys(_names(given)) if name in list(Kind))


# --- looking -----------------------------------------------------------------------------------------


def _look(inspection: Inspection) -> None:
    inspection.start()
    if not sys.stderr.isatty():
        while not inspection.done:
            inspection.step()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning", total=None)
        while not inspection.done:
            inspection.step()
            files, checked, waiting = inspection.progress
            if inspection.worker.ready and checked + waiting:
                bar.update(task, description="checking", completed=checked, total=checked + waiting)
            else:
                bar.update(task, completed=files)


# --- telling -----------------------------------------------------------------------------------------


def _tell(
    config: Config, options: argparse.Namespace, inspection: Inspection, kinds: tuple[Kind, ...]
) -> int:
    queries = Queries(str(inspection.path), inspection.config)
    try:
        report = queries.verification(options.job)
        if report is None:
            for fault in inspection.faults:
                print(fault, file=sys.stderr)
            return _fail(f"there is no job {options.job!r}")
        wanted = FindingRequest(_ORDER, options.job, kinds)
        counted = queries.findings(wanted)
        outcome = Outcome(
            report,
            counted[1] if counted is not None else 0,
            _reasons(config, inspection, report, kinds),
            _depth(config, report, inspection),
            kinds,
        )
        found = queries.all_findings(wanted)
        shown = islice(found, options.limit)
        WRITERS[options.format](config, outcome, shown)
        for reason in outcome.reasons:
            print(reason, file=sys.stderr)
        return outcome.exit_code
    finally:
        queries.close()


def _reasons(
    config: Config, inspection: Inspection, report: Verification, kinds: tuple[Kind, ...]
) -> list[str]:
    """Why the answer is not complete, one line each."""
    reasons = [*inspection.faults, *inspection.verifier.problems]
    unchecked = sum(report.unchecked.values()) + sum(report.pending.values())
    if unchecked:
        reasons.append(f"{unchecked} files could not be checked: {_why(inspection)}")
    if report.withheld:
        reasons.append(f"{report.withheld} findings are withheld, see the problem above")
    waiting = inspection.verifier.waiting
    if waiting:
        reasons.append(f"{waiting} findings could not be looked at a second time and are left out")
    if not report.assets and not _total(report, kinds):
        reasons.append(f"nothing was checked: no image was found below {config.data.root}")
    if kinds == (Kind.CORRUPT,) and not config.verify.content:
        reasons.append("nothing was checked: what is corrupt is only known of decoded files (verify.content)")
    return reasons


def _total(report: Verification, kinds: tuple[Kind, ...]) -> int:
    """How many findings there are of these kinds, or of all where none is named."""
    wanted = (by for kind, by in report.findings.items() if not kinds or kind in kinds)
    return sum(sum(by_feature.values()) for by_feature in wanted)


def _why(inspection: Inspection) -> str:
    rows = inspection.index.db.execute(
        "SELECT detail, count(*) FROM details WHERE outcome >= 3 AND outcome = 3"
        " GROUP BY detail ORDER BY count(*) DESC LIMIT 3"
    ).fetchall()
    return "; ".join(f"{detail} ({n})" for detail, n in rows) or "no check of them has ended"


def _depth(config: Config, report: Verification, inspection: Inspection) -> str:
    """How deep it looked, and at how much."""
    if not config.verify.content:
        return f"looked whether {inspection.index.files} files exist, decoded none (verify.content is off)"
    decoded = ", ".join(f"{report.checked[feature]} {feature.wire}" for feature in Feature)
    return f"looked at {report.assets} assets, decoded {sum(report.checked.values())} files: {decoded}"


def _batches(config: Config, found: Iterator[FindingItem]) -> Iterator[list[Any]]:
    payloads = Payloads(config.data.root, config.web.zone)
    while batch := [payloads.finding(item) for item in islice(found, _BATCH)]:
        yield batch


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _csv(config: Config, outcome: Outcome, found: Iterator[FindingItem]) -> None:
    _write(csv_lines([COLUMNS]))
    for batch in _batches(config, found):
        _write(csv_batch(batch))
    print(outcome.depth, file=sys.stderr)


def _ndjson(config: Config, outcome: Outcome, found: Iterator[FindingItem]) -> None:
    for batch in _batches(config, found):
        _write(ndjson_batch(batch))
    print(outcome.depth, file=sys.stderr)


def _json(config: Config, outcome: Outcome, found: Iterator[FindingItem]) -> None:
    """One object: the report as ``/verification`` has it, how deep it looked, and the findings."""
    payloads = Payloads(config.data.root, config.web.zone)
    head = {
        "verification": payloads.verification(outcome.report),
        "depth": "content" if config.verify.content else "exists",
        "looked": outcome.depth,
        "problems": outcome.reasons,
    }
    _write(encode(head)[:-1] + b',"findings":[')
    before = b""
    for batch in _batches(config, found):
        _write(before + b",".join(encode(finding) for finding in batch))
        before = b","
    _write(b"]}\n")


def _table(config: Config, outcome: Outcome, found: Iterator[FindingItem]) -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)
    if outcome.found:
        console.print(_counts(outcome))
    payloads = Payloads(config.data.root, config.web.zone)
    for item in found:
        finding = payloads.finding(item)
        place = finding.path or finding.claimed_path or ""
        text = f"{finding.kind:<10} {finding.feature:<9} {finding.asset_id}  {place}  {finding.detail}"
        console.print(escape(_printable(text)), soft_wrap=True)
    verdict = f"{outcome.found or 'no'} finding{'' if outcome.found == 1 else 's'}"
    if outcome.reasons:
        verdict += " so far, and not everything could be looked at"
    console.print(escape(f"{verdict}; {outcome.depth}"), soft_wrap=True)


def _counts(outcome: Outcome) -> Table:
    table = Table("kind", *(feature.wire for feature in Feature))
    for kind, by_feature in outcome.report.findings.items():
        if any(by_feature.values()) and (not outcome.kinds or kind in outcome.kinds):
            table.add_row(str(kind), *(str(by_feature.get(feature, 0)) for feature in Feature))
    return table


def _printable(text: str) -> str:
    """The text without what would move a terminal's cursor: names of files may hold anything."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


WRITERS: dict[str, Callable[[Config, Outcome, Iterator[FindingItem]], None]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "ndjson": _ndjson,
}

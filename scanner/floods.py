"""Findings that have one cause in common: they are withheld, and the cause is told as one problem.

Two causes are known: a prefix of claimed paths that is not mounted here, and an expectation of the
content checks that most files fail.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from scanner.backlog import SLICE, Backlog, Slices
from scanner.claimpath import common_prefix
from scanner.contentchecks import OUTCOMES
from scanner.findings import STORED, Status, Stored
from scanner.index import Index
from scanner.records import AssetType, Feature
from scanner.resolve import Outcome

MANY_CLAIMS = 20
MANY_FILES = 100
_SAMPLE = 500
KEYS = {outcome: key for key, outcome in OUTCOMES.items()}


class Strange(NamedTuple):
    """Claims of one column whose first folder is not mounted here."""

    type: AssetType
    feature: Feature
    reason: str


class Unmounted(NamedTuple):
    """How many of a column's claims begin with a prefix."""

    prefix: str
    claims: int
    of: int


class Floods:
    """Keeps the problems up to date; ``problems`` are lines for a person.

    What a problem that begins or ends does to the findings that are part of it is left to ``backlog``.
    """

    def __init__(self, index: Index, root: str, backlog: Backlog) -> None:
        self._index = index
        self._backlog = backlog
        self._db: Any = index.db
        self._root = root
        self._at = 0.0
        self._seen: tuple[int, int] = (-1, -1)
        self.strange: dict[Strange, Unmounted] = {}
        self.expectations: list[str] = []

    @property
    def problems(self) -> list[str]:
        """One line each: what fails, and what to change in the configuration."""
        prefixes = dict.fromkeys(unmounted.prefix for unmounted in self.strange.values())
        return [*map(self._line, prefixes), *self.expectations]

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has changed since the problems were looked for."""
        return self._seen == self._state()

    def _state(self) -> tuple[int, int]:
        return self._index.revision, self._index.findings.writes

    def step(self, now: float) -> bool:
        """Look whether there are problems, not more often than it costs; True if there are other ones."""
        if now < self._at or self.is_fresh:
            return False
        self._seen = self._state()
        changed = self._look_at_claims()
        changed = self._look_at_expectations() or changed
        if changed:
            self._seen = (-1, -1)
        self._at = now + max(0.25, 20 * (time.monotonic() - now))
        return changed

    def holds(self, type: AssetType, finding: Stored) -> bool:
        """Whether a finding is part of a problem."""
        if finding.reason is None:
            return False
        return Strange(type, Feature(finding.feature), finding.reason) in self.strange

    # --- claims --------------------------------------------------------------------------------------

    def _look_at_claims(self) -> bool:
        rows = self._db.execute(
            "SELECT type, feature, reason, count(*) FROM findings WHERE reason IS NOT NULL"
            " GROUP BY reason, type, feature HAVING count(*)>=?",
            (MANY_CLAIMS,),
        ).fetchall()
        found: dict[Strange, Unmounted] = {}
        for type, feature, reason, n in rows:
            strange = Strange(AssetType(type), Feature(feature), reason)
            total = self._claims(strange)
            if 2 * n > total and self._index.tree.directory_id(reason) is None:
                found[strange] = Unmounted(self._prefix(strange), n, total)
        ended, begun = self.strange.keys() - found.keys(), found.keys() - self.strange.keys()
        self.strange = found
        for strange in begun:
            for status in (Status.PUBLISHED, Status.WAITING):
                self._backlog.add(partial(self._move, strange, status, Status.WITHHELD))
        for strange in ended:
            self._backlog.add(partial(self._move, strange, Status.WITHHELD, Status.WAITING))
        return bool(begun or ended)

    def _claims(self, strange: Strange) -> int:
        column = strange.feature.wire
        row = self._db.execute(f"SELECT count({column}) FROM claims WHERE type=?", (strange.type,)).fetchone()
        return int(row[0])

    def _line(self, prefix: str) -> str:
        """The problem of all columns whose claims begin with it: one entry mends them together."""
        columns = {where: what for where, what in self.strange.items() if what.prefix == prefix}
        names = ", ".join(f"{where.type.wire} {where.feature.wire}" for where in columns)
        claims = sum(what.claims for what in columns.values())
        of = sum(what.of for what in columns.values())
        return (
            f"{claims} of {of} claimed paths of {names} begin with {prefix}, which is not mounted here:"
            f' add "{prefix}" = "{self._root}" to [database.path_map]'
        )

    def _prefix(self, strange: Strange) -> str:
        """The part before the first folder of a pattern: what stands for the data root."""
        rows = self._db.execute(
            "SELECT claimed FROM findings WHERE reason=? AND type=? AND feature=? LIMIT ?",
            (strange.reason, strange.type, strange.feature, _SAMPLE),
        )
        common = common_prefix([path for (path,) in rows])
        parts = common.split("/")
        for place, part in enumerate(parts):
            if part and part in self._index.layout.roots:
                return "/".join(parts[:place]) or "/"
        return common

    def _move(self, strange: Strange, old: Status, new: Status) -> Slices:
        """Every finding of a problem into another state."""
        while True:
            rows = self._db.execute(
                f"SELECT {STORED} FROM findings WHERE reason=? AND type=? AND feature=? AND state=? LIMIT ?",
                (strange.reason, strange.type, strange.feature, old, SLICE),
            ).fetchall()
            if not rows:
                return
            for row in rows:
                self._index.findings.set_state(strange.type, Stored(*row), new)
            yield

    # --- expectations --------------------------------------------------------------------------------

    def _look_at_expectations(self) -> bool:
        lines: list[str] = []
        excused: set[Outcome] = set()
        for (feature, outcome), n in self._index.judgements.failing().items():
            total = self._checked(feature)
            if total >= MANY_FILES and 2 * n > total:
                excused.add(outcome)
                lines.append(
                    f"{n} of {total} {feature.wire} files fail by {KEYS[outcome]}, for example:"
                    f" {self._example(outcome)}; {_question(outcome)}"
                )
        self.expectations = lines
        assets = self._index.assets
        changed = assets.rules.excused ^ excused
        if changed:
            assets.rules = replace(assets.rules, excused=frozenset(excused))
            for outcome in changed:
                self._backlog.add(partial(self._mark, outcome))
        return bool(changed)

    def _checked(self, feature: Feature) -> int:
        row = self._db.execute(
            "SELECT sum(n) FROM counters WHERE name=?", (f"checked:{feature.wire}",)
        ).fetchone()
        return int(row[0] or 0)

    def _example(self, outcome: Outcome) -> str:
        row = self._db.execute(
            "SELECT detail FROM details WHERE outcome >= 3 AND outcome=? LIMIT 1", (outcome,)
        ).fetchone()
        return "" if row is None else str(row[0])

    def _mark(self, outcome: Outcome) -> Slices:
        """Resolve again every asset with a file that fails by an expectation."""
        last = (-1, "")
        while True:
            rows = self._db.execute(
                "SELECT type, id FROM details WHERE outcome >= 3 AND outcome=? AND (type, id)>(?,?)"
                " ORDER BY type, id LIMIT ?",
                (outcome, *last, SLICE),
            ).fetchall()
            if not rows:
                return
            for type, id in rows:
                self._index.assets.mark((AssetType(type), id))
            last = rows[-1]
            yield


def _question(outcome: Outcome) -> str:
    """What to look at in the configuration; too many numbers can be numbers of another size as well."""
    if outcome is Outcome.EMBEDDING_DTYPE:
        return f"are {KEYS[outcome]} and {KEYS[Outcome.EMBEDDING_DIM]} as they should be?"
    return f"is {KEYS[outcome]} as it should be?"

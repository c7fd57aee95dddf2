"""Publishes findings that have held: after the grace period, and after a second look at disk and row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scanner.backlog import SLICE, Backlog, Slices
from scanner.config import Config
from scanner.contentchecks import ContentChecks
from scanner.exceptions import IndexFull
from scanner.findings import CONFIRMED, FRAMES, STORED, Status, Stored
from scanner.floods import Floods
from scanner.framegaps import FrameGaps
from scanner.poller import PollerStatus
from scanner.records import AssetType, Feature, Kind
from scanner.secondlook import SecondLook
from scanner.unseen import Unseen
from scanner.worker import Worker

BY_CLAIM = frozenset({Kind.MISSING, Kind.MISPLACED, Kind.UNRECORDED, Kind.OUTSIDE})
"""The kinds that rest on what the database says."""
STEP_SECONDS = 0.1
AGAIN_US = 500_000
PAUSE_US = 200
FULL_SECONDS = 5.0
PUBLISH_SECONDS = 0.1
MIN_PORTION, MAX_PORTION = 50, 1000
_COLUMNS = f"type, since, {STORED}"


class _Due(NamedTuple):
    type: AssetType
    since: int
    finding: Stored


class Verifier:
    """What verification does beside the worker, in steps of its thread.

    ``database`` gives the poller's status, None without a database. ``at_once``: findings are published as
    soon as everything has been looked at, and not before.
    """

    def __init__(
        self,
        config: Config,
        worker: Worker,
        database: Callable[[], PollerStatus | None],
        *,
        at_once: bool = False,
    ) -> None:
        self._worker = worker
        self._index = worker.index
        self._db: Any = worker.index.db
        self._database = database
        self._at_once = at_once
        self.checks = ContentChecks(config, worker)
        self.backlog = Backlog(worker.index)
        self.floods = Floods(worker.index, config.data.root, self.backlog)
        self.gaps = FrameGaps(worker.index, self.backlog)
        self.look = SecondLook(worker.index)
        self.unseen = Unseen(worker, self.look)
        self._at = 0.0
        self._synced: tuple[int, int] = (0, 0)  # the ends of the last poll and of the one before
        self._passed_ns: int | None = None
        self._portion = 4 * MIN_PORTION
        self._recorded: dict[AssetType, frozenset[Feature]] = {}

    @property
    def pending(self) -> int:
        """How many content checks are awaited."""
        return self.checks.pending

    @property
    def problems(self) -> list[str]:
        """What many findings have in common, one line each."""
        return self.floods.problems

    @property
    def waiting(self) -> int:
        """How many findings are not published yet."""
        return int(self._db.execute("SELECT count(*) FROM findings WHERE state=0").fetchone()[0])

    def close(self) -> None:
        """End the checking processes."""
        self.checks.close()

    def step(self) -> bool:
        """A bounded piece of work; True if there may be more at once."""
        now = time.monotonic()
        if now < self._at and self._worker.full is not None:
            return False
        try:
            busy = self.checks.step(now)
            if not self._worker.ready:
                return busy
            busy = self.backlog.step() or busy
            if now < self._at:
                return busy
            self._at = now + STEP_SECONDS
            self._note_columns()
            self.gaps.step(now, at_once=self._at_once)
            self.floods.step(now)
            self._note_pass()
            if self._at_once and not self._has_seen_all():
                self._note_sync()
                return busy
            return self.publish_due(time.time_ns() // 1000) or busy
        except IndexFull as error:
            self._worker.full = str(error)
            self._at = now + FULL_SECONDS
            return False

    def publish_due(self, now_us: int) -> bool:
        """Look again at what is due, and publish what still holds; True if there was any."""
        self._note_sync()
        due = self._due(now_us)
        if not due:
            return False
        started = time.monotonic()
        self._worker.check_roots()  # rows that came a moment ago may say that one should be there
        self.unseen.look()
        again_us = now_us + self._pause_us()
        common, ready = [], []
        with self._index.transaction():
            for item in due:
                if self.floods.holds(item.type, item.finding):
                    common.append(item)
                elif self._is_suspended(item):
                    self._postpone(item, again_us)
                else:
                    ready.append(item)
            self._look_again(ready)
        self.unseen.look()  # it may be the second look that met what cannot be read
        held = self._worker.looker.settling.paths()
        with self._index.transaction():
            for item in ready:
                if (held and held & set(self._paths(item))) or self._is_suspended(item):
                    self._postpone(item, now_us + AGAIN_US)
                else:
                    self._publish(item)
            for item in common:  # what is withheld with many others is not looked at one by one
                self._publish(item)
        if not (common or ready):
            return False
        self._adapt(time.monotonic() - started)
        return True

    def _look_again(self, ready: Sequence[_Due]) -> None:
        """Look at disk and rows once more, inside the caller's transaction."""
        for item in ready:
            candidate = item.finding.path if item.finding.feature != FRAMES else None
            self._index.assets.mark((item.type, item.finding.id), candidate)
        self._worker.looker.look_again({path for item in ready for path in self._paths(item)})

    def _paths(self, item: _Due) -> list[str]:
        return self.look.paths(item.type, item.finding)

    def _pause_us(self) -> int:
        """How long to leave alone what cannot be told now: longer where there is very much of it."""
        return max(AGAIN_US, PAUSE_US * self.waiting)

    def _adapt(self, seconds: float) -> None:
        """Take as many at a time as keep others waiting for no longer than a moment."""
        self._at = 0.0
        if seconds > PUBLISH_SECONDS:
            self._portion = max(MIN_PORTION, self._portion // 2)
        elif seconds < PUBLISH_SECONDS / 4:
            self._portion = min(MAX_PORTION, self._portion * 2)

    def _due(self, now_us: int) -> list[_Due]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM findings WHERE state=0 AND due<=? ORDER BY due LIMIT ?",
            (now_us, self._portion),
        )
        return [_Due(AssetType(type), since, Stored(*rest)) for type, since, *rest in rows.fetchall()]

    def _postpone(self, item: _Due, until_us: int) -> None:
        self._index.findings.postpone(item.type, item.finding, until_us)

    def _publish(self, item: _Due) -> None:
        """Publish or withhold the finding if it is still the one that was seen."""
        old = item.finding
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM findings WHERE type=? AND id=? AND feature=? AND kind=?",
            (item.type, old.id, old.feature, old.kind),
        ).fetchone()
        if row is None or row[1] != item.since:
            return
        now = Stored(*row[2:])
        if now.state == Status.WAITING:
            withheld = self.floods.holds(item.type, now)
            self._index.findings.set_state(item.type, now, Status.WITHHELD if withheld else Status.PUBLISHED)

    # --- what stands in the way ----------------------------------------------------------------------

    def _is_suspended(self, item: _Due) -> bool:
        finding = item.finding
        if self._rests_on_claims(finding) and not self._row_looked_at_again(item.since):
            return True
        return self.unseen.may_refute(item.type, finding)

    def _rests_on_claims(self, finding: Stored) -> bool:
        return finding.kind in BY_CLAIM or (finding.kind == Kind.SUSPECT and finding.claimed is not None)

    def _row_looked_at_again(self, since: int) -> bool:
        status = self._database()
        return status is None or (status.reachable and self._synced[1] >= since and self._worker.rows.empty())

    # --- what goes on --------------------------------------------------------------------------------

    def _note_sync(self) -> None:
        status = self._database()
        last = None if status is None else status.last_sync_us
        if last is not None and last != self._synced[0]:
            self._synced = (last, self._synced[0])

    def _has_seen_all(self) -> bool:
        return not (self._worker.pending or self.pending) and self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be found out from what the index holds."""
        return not (self.gaps.pending or self.backlog) and self.floods.is_fresh

    def _note_columns(self) -> None:
        """Where a column has come or gone, files that its rows do not name are findings, or are none."""
        recorded = dict(self._index.assets.recorded)
        if recorded == self._recorded:
            return
        known = self._index.recorded()
        if known != recorded:
            with self._index.transaction():
                self._index.set_recorded(recorded)
            if known is not None:
                self.backlog.add(self._mark_recorded)
        self._recorded = recorded

    def _mark_recorded(self) -> Slices:
        """Resolve every asset again that has a row."""
        last = 0
        while rows := self._db.execute(
            "SELECT row, type, id FROM claims WHERE row>? ORDER BY row LIMIT ?", (last, SLICE)
        ).fetchall():
            for _, type, id in rows:
                self._index.assets.mark((AssetType(type), id))
            last = rows[-1][0]
            yield

    def _note_pass(self) -> None:
        """Let readers know when everything was last looked at, and findings confirmed by it."""
        if self._passed_ns == self._worker.last_pass_ns or self._worker.last_pass_ns is None:
            return
        passed_ns = self._worker.last_pass_ns
        with self._index.transaction():
            self._index.publish_meta("last_pass", passed_ns // 1000)
            if self._all_was_seen():
                self._index.publish_meta(CONFIRMED, passed_ns // 1000)
        self._passed_ns = passed_ns

    def _all_was_seen(self) -> bool:
        """Whether a pass that ends now has seen disk and rows: what it has not refuted, it confirms."""
        status = self._database()
        hidden = self._worker.unreadable or self._worker.roots.unavailable()
        return not hidden and (status is None or status.reachable)

"""Makes the index agree with what the pipeline database says, row by row, inside a transaction.

Rows are mirrored first and the assets that they concern are marked; a row that a completed full
comparison has not seen is removed. Until the disk has been crawled once, a row whose files are not known
yet marks nothing: :meth:`scanner.index.Index.finishing` catches up on those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import apsw

from scanner.assets import AssetTable
from scanner.claims import ClaimTable
from scanner.owners import OwnerTable
from scanner.records import AssetRow, AssetType, JobRow, MembershipRow, ProductRow, VideoRow
from scanner.rows import (
    ASSET_TABLES,
    Applied,
    BeginFull,
    FullPass,
    PollDone,
    PollFailed,
    Recorded,
    Rows,
    SinkItem,
    Table,
)
from scanner.tree import UNMATCHED, Tree

_TYPES = {table: type for type, table in ASSET_TABLES.items()}
_KEY_TABLES = {
    Table.JOBS: "jobs",
    Table.PRODUCTS: "products",
    Table.VIDEOS: "videos",
    Table.JOB_VIDEOS: "memberships",
}


class Mirror:
    """Takes what the poller yields; ``crawled`` says that the disk has been read once."""

    def __init__(
        self,
        connection: apsw.Connection,
        tree: Tree,
        claims: ClaimTable,
        owners: OwnerTable,
        assets: AssetTable,
    ) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._tree = tree
        self._claims = claims
        self._owners = owners
        self._assets = assets
        self._seen: dict[Table, set[tuple[str, ...]]] = {}
        self._ended: dict[Table, set[tuple[str, ...]]] = {}  # within this transaction
        self.crawled = False
        self.unmatched_change = 0
        self.changed = False

    def begin(self) -> None:
        """A transaction begins: what the one before has done stands."""
        self.changed = False
        self.unmatched_change = 0
        self._ended.clear()
        self._claims.begin()

    def forget(self) -> None:
        """A transaction was rolled back: a full comparison that ended in it ends once more."""
        self._seen.update(self._ended)

    def put(self, item: SinkItem) -> None:
        """Apply one item of a poll."""
        match item:
            case Rows(table, rows) if table in _TYPES:
                self._put_assets(_TYPES[table], cast(Sequence[AssetRow], rows))
            case Rows(table, rows):
                self._put_keyed(table, rows)
            case BeginFull(table) if table in _TYPES:
                self._claims.begin_full(_TYPES[table])
            case BeginFull(table):
                self._seen[table] = set()
            case FullPass(table) if table in _TYPES:
                for row in self._claims.end_full(_TYPES[table]):
                    self._mark_row(row, None)
            case FullPass(table):
                self._remove_unseen(table)
            case Recorded(type, features):
                self._assets.recorded[type] = features
            case PollFailed():
                self._seen.clear()
                self._claims.abandon_full()
            case PollDone() | Applied():
                pass

    def _put_assets(self, type: AssetType, rows: Sequence[AssetRow]) -> None:
        if not self.crawled and self._disk_is_empty() and self._claims.put_first(type, rows):
            self.changed = True
            return
        changed = self._claims.put(type, rows)
        if not changed:
            return
        self.changed = True
        if self.crawled or not self._disk_is_empty():
            for old, new in changed:
                self._mark_row(old, new)

    def _disk_is_empty(self) -> bool:
        """Whether the index knows no file and no asset yet."""
        return not self._tree.any and not self._assets.any

    def _mark_row(self, old: AssetRow | None, new: AssetRow | None) -> None:
        row = new or old
        if row is None:
            return
        self.changed = True
        before, after = self._claims.paths_of(old), self._claims.paths_of(new)
        present = [path for path in before ^ after if self._tree.state(path) is not None]
        key = (row.type, row.asset_id)
        if not self.crawled and not present and not self._assets.known(key):
            return
        self._assets.mark(key)
        if present:
            self._assets.mark_files(present)
            self._note_matched(present)
        if old is not None and before - after:
            self._mark_other_namers(before - after)

    def _mark_other_namers(self, paths: Iterable[str]) -> None:
        for namers in self._claims.naming(paths).values():
            for type, id, _ in namers:
                self._assets.mark((type, id))

    def _note_matched(self, paths: Sequence[str]) -> None:
        """A file is unmatched where neither a pattern nor a row knows it."""
        for path in paths:
            state = self._tree.state(path)
            if state is None:
                continue
            matched = self._assets.is_matched(path)
            if matched == bool(state.flags & UNMATCHED):
                self._tree.set_flags(path, state.flags ^ UNMATCHED)
                self.unmatched_change += -1 if matched else 1

    def _put_keyed(self, table: Table, rows: Sequence[object]) -> None:
        owners = self._owners
        if table is Table.JOBS:
            jobs = cast(Sequence[JobRow], rows)
            self._see(table, [(row.job_id,) for row in jobs])
            self.changed |= owners.put_jobs(jobs)
        elif table is Table.PRODUCTS:
            products = cast(Sequence[ProductRow], rows)
            self._see(table, [(row.product_id,) for row in products])
            self._move(AssetType.PRODUCT_IMAGE, *owners.put_products(products))
        elif table is Table.VIDEOS:
            videos = cast(Sequence[VideoRow], rows)
            self._see(table, [(row.video_id,) for row in videos])
            self._move(AssetType.VIDEO_FRAME, *owners.put_videos(videos))
        else:
            members = cast(Sequence[MembershipRow], rows)
            self._see(table, [(row.video_id, row.job_id) for row in members])
            self._move(AssetType.VIDEO_FRAME, owners.put_memberships(members))

    def _see(self, table: Table, keys: Iterable[tuple[str, ...]]) -> None:
        if table in self._seen:
            self._seen[table].update(keys)

    def _remove_unseen(self, table: Table) -> None:
        seen = self._seen.pop(table, None)
        if seen is None:
            return
        self._ended[table] = seen
        gone = self._owners.all_keys(_KEY_TABLES[table]) - seen
        if not gone:
            return
        self.changed = True
        if table is Table.JOBS:
            self._owners.remove_jobs(gone)
        elif table is Table.JOB_VIDEOS:
            self._move(AssetType.VIDEO_FRAME, self._owners.remove_memberships(gone))
        else:
            type = AssetType.PRODUCT_IMAGE if table is Table.PRODUCTS else AssetType.VIDEO_FRAME
            self._move(type, self._owners.remove_owners(type, [id for (id,) in gone]))

    def _move(self, type: AssetType, ids: Sequence[str], arrived: Sequence[str] = ()) -> None:
        moved = [*arrived, *self._owners.reassign(type, ids)]
        self.changed = self.changed or bool(moved)
        if moved and self._assets.any:
            for id in moved:
                self._assets.mark_owned(type, id)

"""Files of which nothing is known come into the index: in bulk, as far as they make whole assets.

They come as families whose rows are ready, or one by one, gathered until the end of the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress

from scanner.agreement import Agreement, Rows, with_rows
from scanner.arrivals import Arrivals
from scanner.assets import AssetTable
from scanner.claims import ClaimTable
from scanner.columns import Assets
from scanner.findings import FindingTable
from scanner.owners import OwnerTable
from scanner.ready import Ready
from scanner.records import AssetType
from scanner.sighting import Owned
from scanner.tree import Tree


class Intake:
    """Writes what is ready inside the caller's transaction; whatever is not as simple as it looked is marked,
    to go the general way."""

    def __init__(
        self,
        tree: Tree,
        claims: ClaimTable,
        owners: OwnerTable,
        assets: AssetTable,
        findings: FindingTable,
        arrivals: Arrivals,
    ) -> None:
        self._tree = tree
        self._claims = claims
        self._owners = owners
        self._assets = assets
        self._findings = findings
        self._arrivals = arrivals
        self._agreement = Agreement(tree, claims)

    def take(self, ready: Ready, *, crawled: bool) -> bool:
        """Write it all; False, and nothing is changed, where a row names a file that no pattern knows.

        ``crawled``: the disk has been read once, so that an image without a row is a finding.
        """
        if self._claims.any and self._claims.naming(ready.unmatched()):
            return False
        self._tree.insert(ready.directories, ready.files)
        self._mark(ready, self._enter(map(owned, ready.assets), crawled=crawled))
        return True

    def settle(self, *, crawled: bool, in_bulk: bool) -> None:
        """Write the assets that the files make which have arrived one by one in the transaction, or with
        ``in_bulk`` False leave them to the general way."""
        if not self._arrivals:
            return
        arrived = self._arrivals.pop()
        if not in_bulk:
            self._assets.mark_new_files(arrived.states(range(len(arrived.paths))))
            return
        assets, rest = arrived.sorted_out(self._assets.rules, elsewhere=self._claims.any)
        again = set(self._enter(assets, crawled=crawled))
        if again:
            rest += [n for n, path in enumerate(arrived.paths) if path in again]
        if rest:
            self._assets.mark_new_files(arrived.states(rest))
        self._assets.seek(arrived.keys)

    def _enter(self, groups: Iterable[Owned], *, crawled: bool) -> list[str]:
        """Write those that are as simple as they look, of assets by their type; returns the files of the
        others."""
        again: list[str] = []
        for assets, owners in groups:
            rows = self._agreement.rows(assets)
            told = self._told(assets, rows, crawled=crawled and self._assets.rules.database)
            if told:
                again += _files(assets, [n in told for n in range(len(rows))])
                simple = [n not in told for n in range(len(rows))]
                assets, rows = assets.those(simple), list(compress(rows, simple))
                owners = list(compress(owners, simple))
            self._write(assets, with_rows(assets, rows, owners))
        return again

    def _told(self, assets: Assets, rows: Rows, *, crawled: bool) -> set[int]:
        """The positions of assets of which something else is known."""
        type = AssetType(assets.type)
        known = self._assets.known_of(type, assets.ids)
        if self._assets.marked or self._arrivals:
            coming, is_marked = self._arrivals, self._assets.is_marked
            known.update(id for id in assets.ids if is_marked((type, id)) or (type, id) in coming)
        told = {n for n, id in enumerate(assets.ids) if id in known} if known else set()
        if self._claims.any or crawled:
            told |= self._agreement.disputed(assets, rows, self._assets.recorded[type], crawled=crawled)
        return told

    def _write(self, assets: Assets, owners: Sequence[str | None]) -> None:
        if not assets.ids:
            return
        type, known = AssetType(assets.type), {owner for owner in owners if owner is not None}
        scopes: dict[str | None, int] = {None: self._owners.disk_scope()}
        scopes.update(self._owners.scopes(type, list(known)))
        self._assets.rows.insert(assets, owners, [scopes[owner] for owner in owners])
        self._assets.seek(path for path in chain(*assets.paths[1:]) if path is not None)
        if type is AssetType.VIDEO_FRAME:
            self._findings.note_videos(known)

    def _mark(self, ready: Ready, again: Iterable[str]) -> None:
        """Let the general way find out about the rest, and about assets that are to be looked into."""
        positions = {ready.path(n): n for n in range(len(ready.files.names))} if again else {}
        files = ready.states([*ready.rest, *(positions[path] for path in again)])
        if files:
            self._assets.mark_new_files(files)


def _files(assets: Assets, selected: Sequence[bool]) -> list[str]:
    """The files of some of the assets."""
    files = chain.from_iterable(compress(column, selected) for column in assets.paths)
    return [path for path in files if path is not None]


def owned(assets: Assets) -> Owned:
    """Assets of one owner, each with it."""
    return assets, [assets.owner] * len(assets.ids)

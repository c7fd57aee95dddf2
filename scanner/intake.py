"""Families whose rows are ready come into the index: in bulk, as far as nothing else is known about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress

from scanner.agreement import Agreement, Rows, with_rows
from scanner.assets import AssetTable
from scanner.claims import ClaimTable
from scanner.columns import Assets
from scanner.findings import FindingTable
from scanner.owners import OwnerTable
from scanner.ready import Ready
from scanner.records import AssetType
from scanner.tree import Tree


class Intake:
    """Writes what is ready inside the caller's transaction; whatever is not as simple as it looked is marked,
    to go the general way."""

    def __init__(
        self, tree: Tree, claims: ClaimTable, owners: OwnerTable, assets: AssetTable, findings: FindingTable
    ) -> None:
        self._tree = tree
        self._claims = claims
        self._owners = owners
        self._assets = assets
        self._findings = findings
        self._agreement = Agreement(tree, claims)

    def take(self, ready: Ready, *, crawled: bool) -> bool:
        """Write it all; False, and nothing is changed, where a row names a file that no pattern knows.

        ``crawled``: the disk has been read once, so that an image without a row is a finding.
        """
        if self._claims.any and self._claims.naming(ready.unmatched()):
            return False
        self._tree.insert(ready.directories, ready.files)
        again: list[str] = []
        for assets in ready.assets:
            rows = self._agreement.rows(assets)
            told = self._told(assets, rows, crawled=crawled and self._assets.rules.database)
            if told:
                again += _files(assets, [n in told for n in range(len(rows))])
                simple = [n not in told for n in range(len(rows))]
                assets, rows = assets.those(simple), list(compress(rows, simple))
            for owned in with_rows(assets, rows):
                self._write(owned)
        self._mark(ready, again)
        return True

    def _told(self, assets: Assets, rows: Rows, *, crawled: bool) -> set[int]:
        """The positions of assets of which something else is known."""
        type = AssetType(assets.type)
        known = self._assets.known_of(type, assets.ids)
        if self._assets.marked:
            known.update(id for id in assets.ids if self._assets.is_marked((type, id)))
        told = {n for n, id in enumerate(assets.ids) if id in known} if known else set()
        if self._claims.any or crawled:
            told |= self._agreement.disputed(assets, rows, self._assets.recorded[type], crawled=crawled)
        return told

    def _write(self, assets: Assets) -> None:
        if not assets.ids:
            return
        type, owner = AssetType(assets.type), assets.owner
        scope = self._owners.disk_scope() if owner is None else self._owners.scopes(type, [owner])[owner]
        self._assets.rows.insert(assets, scope)
        self._assets.seek(path for path in chain(*assets.paths[1:]) if path is not None)
        if type is AssetType.VIDEO_FRAME and owner is not None:
            self._findings.note_video(owner)

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

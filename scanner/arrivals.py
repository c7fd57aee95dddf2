"""New files that a transaction meets, gathered from all its looks until its end.

What the patterns say about a path is found out once, for its flags as well as for its asset; and the whole
assets of however many directories can be written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

from scanner.claims import ClaimTable, Key
from scanner.layout import Layout
from scanner.records import Entry
from scanner.resolve import Rules
from scanner.sighting import Owned, Sighted, Sorting
from scanner.tree import LINK, UNMATCHED, State


class Arrived:
    """Files by their positions: what was seen of them, and of what they make."""

    def __init__(self, layout: Layout, *, foresee: bool) -> None:
        self.sighted = Sighted(layout, foresee=foresee)
        self.entries: list[Entry] = []
        self.flags: list[int] = []

    @property
    def paths(self) -> Sequence[str]:
        """Their paths."""
        return self.sighted.paths

    @property
    def keys(self) -> Sequence[str]:
        """The keys of artifacts that came before an image had told of them."""
        return self.sighted.keys_met()

    def sorted_out(self, rules: Rules, *, elsewhere: bool) -> tuple[list[Owned], list[int]]:
        """The whole assets among them, and the positions of all other files; to be asked once.

        ``elsewhere``: also under which keys further artifacts of them may be.
        """
        self.sighted.finish()
        _, _, sizes, mtimes, *_ = zip(*self.entries, strict=True)
        listed: frozenset[str] | None = frozenset() if elsewhere else None
        return Sorting(self.sighted, sizes, mtimes, rules, listed).by_type()

    def states(self, positions: Iterable[int]) -> dict[str, State]:
        """Some of them by path, as the index has them."""
        paths, entries, flags = self.paths, self.entries, self.flags
        return {paths[n]: State(*entries[n][1:5], flags[n], 0) for n in positions}


class Arrivals:
    """Gathers inside the caller's transaction; each path is new to the index, and comes once."""

    def __init__(self, layout: Layout, claims: ClaimTable) -> None:
        self._layout = layout
        self._claims = claims
        self._arrived = Arrived(layout, foresee=False)

    def __len__(self) -> int:
        """How many files there are."""
        return len(self._arrived.entries)

    def __contains__(self, asset: Key) -> bool:
        """Whether a file of the asset is among them."""
        return asset in self._arrived.sighted

    def take(self, paths: Sequence[str], entries: Sequence[Entry]) -> list[int]:
        """Take further files; returns their flags."""
        arrived = self._arrived
        flags = arrived.sighted.take(paths)
        if UNMATCHED in flags and self._claims.any:
            named = self._claims.naming(compress(paths, [one == UNMATCHED for one in flags]))
            flags = [0 if path in named else one for path, one in zip(paths, flags, strict=True)]
        flags = [one | LINK if entry.link else one for one, entry in zip(flags, entries, strict=True)]
        arrived.entries += entries
        arrived.flags += flags
        return flags

    def pop(self) -> Arrived:
        """Give them all away. What comes next is probably alike: images alone, or artifacts as well."""
        arrived = self._arrived
        self._arrived = Arrived(self._layout, foresee=len(arrived.paths) > len(arrived.sighted.ids))
        return arrived

    def forget(self) -> None:
        """Drop them all; call it when a transaction is rolled back."""
        self.pop()

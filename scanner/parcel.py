"""Ready rows on their way from one process to another, in few large values that are quick to marshal; and
the listings that they were made of, for where they cannot be written as they are."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from scanner.columns import Assets, Directories, Files
from scanner.layout import Layout
from scanner.listing import Listing, Look
from scanner.ready import Ready, make
from scanner.records import Entry, Feature
from scanner.resolve import Rules
from scanner.settings import AssetLayoutConfig, LayoutConfig
from scanner.tree import LINK, split

Parcel = tuple[Any, ...]
"""What can be marshalled."""


def packed(ready: Ready) -> Parcel:
    """The rows as tuples, lists of text, and bytes. Raises OverflowError for a number of over 64 bits."""
    directories, files = ready.directories, ready.files
    return (
        ready.device,
        ready.seen_ns,
        (directories.paths, *map(_bytes, directories[1:])),
        (files.names, _bytes(files.directories), *map(_bytes, files[2:])),
        [_packed_assets(assets) for assets in ready.assets],
        ready.rest,
        ready.deeper,
    )


def unpacked(parcel: Parcel) -> Ready:
    """The rows that were packed."""
    device, seen_ns, (paths, *abouts), (names, numbers, *columns), assets, rest, deeper = parcel
    return Ready(
        device,
        seen_ns,
        Directories(paths, *map(_numbers, abouts)),
        Files(_numbers(numbers), names, *map(_numbers, columns)),
        [_unpacked_assets(*columns) for columns in assets],
        rest,
        deeper,
    )


def listings(ready: Ready) -> list[Listing]:
    """What was seen of the directories, in their order."""
    entries: list[dict[str, Entry]] = [{} for _ in ready.directories.paths]
    for number, name, inode, size, mtime, ctime, flags in zip(*ready.files, strict=True):
        entries[number][name] = Entry(name, inode, size, mtime, ctime, bool(flags & LINK))
    folders: dict[str, list[str]] = {path: [] for path in ready.directories.paths}
    for path in (*ready.directories.paths[1:], *ready.deeper):
        directory, name = split(path)
        folders[directory].append(name)
    return [
        Listing(
            path,
            ready.device,
            inode,
            mtime,
            entries[number],
            tuple(folders[path]),
            fingerprint=fingerprint,
            seen_ns=ready.seen_ns,
        )
        for number, (path, inode, mtime, fingerprint) in enumerate(zip(*ready.directories, strict=True))
    ]


def _packed_assets(assets: Assets) -> Parcel:
    """Without the time that is the image's own, as long as no row says otherwise."""
    type, owner, ids, has, checks, *columns, image_mtimes, _, updated, elsewhere = assets
    return (
        (type, owner, ids, bytes(has), bytes(checks), *columns),
        (_bytes(image_mtimes), _bytes(updated), elsewhere),
    )


def _unpacked_assets(about: Sequence[Any], times: Sequence[Any]) -> Assets:
    type, owner, ids, has, checks, *columns = about
    own, updated, elsewhere = _numbers(times[0]), _numbers(times[1]), times[2]
    return Assets._make(
        [type, owner, ids, list(has), list(checks), *columns, own, own[:], updated, elsewhere]
    )


def _bytes(numbers: Iterable[int]) -> bytes:
    return array("q", numbers).tobytes()


def _numbers(data: bytes) -> list[int]:
    numbers = array("q")
    numbers.frombytes(data)
    return numbers.tolist()


class Maker:
    """Makes rows in a process that knows nothing but the ``terms`` it was told; see :func:`terms`."""

    def __init__(self, terms: Parcel) -> None:
        (extensions, frames, products), checks, stale_ns, self._settle_ns = terms
        sections = AssetLayoutConfig(*frames), AssetLayoutConfig(*products)
        self._layout = Layout(LayoutConfig(extensions, *sections))
        self._rules = Rules(False, stale_ns, frozenset(map(Feature, checks)))

    def parcel(self, family: Sequence[Look]) -> Parcel | None:
        """The rows of a directory and all its folders, packed; None where they do not come ready, and where
        they are no use: a directory of artifacts alone makes no assets."""
        listings = [look for look in family if isinstance(look, Listing)]
        if len(listings) < len(family):
            return None
        ready = make(listings, self._layout, self._rules, self._settle_ns)
        if ready is None or (len(family) == 1 and 2 * len(ready.rest) > len(ready.files.names)):
            return None
        try:
            return packed(ready)
        except OverflowError:
            return None


def terms(layout: LayoutConfig, rules: Rules, settle_seconds: float) -> Parcel:
    """All that rows depend on beside the listings."""
    checks = tuple(int(feature) for feature in sorted(rules.checks))
    return dataclasses.astuple(layout), checks, rules.stale_ns, int(settle_seconds * 1e9)

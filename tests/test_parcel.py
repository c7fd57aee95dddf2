"""Ready rows arrive as they were sent, and tell what was seen."""

from __future__ import annotations

import dataclasses
import marshal

import pytest
from hypothesis import given, settings
from test_fresh import EXAMPLES, SECOND, Script, World, scripts, temporary
from test_ready import family, made

from scanner.layout import Layout
from scanner.listing import Listing
from scanner.parcel import listings, packed, unpacked
from scanner.ready import Ready
from scanner.records import Entry
from scanner.tree import join


def every_family(script: Script) -> list[tuple[list[Listing], Ready]]:
    """Each directory of the disk with all its folders, and the rows of them."""
    with temporary() as directory:
        world = World(directory, script)
        world.index.close()
        firsts = [world.listing(path, None) for path in world._directories()]
        families = [
            [first, *(world.listing(join(first.directory, name), None) for name in first.directories)]
            for first in firsts
        ]
    return [(listed, made(listed, Layout(script.layout))) for listed in families]


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_rows_are_unpacked_as_they_were_packed(script: Script) -> None:
    for _, ready in every_family(script):
        parcel = marshal.loads(marshal.dumps(packed(ready), 2))
        assert unpacked(parcel) == ready


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_rows_tell_the_listings_that_they_were_made_of(script: Script) -> None:
    for listed, ready in every_family(script):
        deeper = [dataclasses.replace(one, fingerprint=0) if one.directories else one for one in listed[1:]]
        assert listings(ready) == [listed[0], *deeper]


def test_links_stay_links() -> None:
    listed = family()
    listed[1].files["seg.png"] = Entry("seg.png", 7, 5, SECOND, SECOND, link=True)
    assert listings(made(listed)) == listed


def test_a_number_that_the_index_cannot_hold_is_refused() -> None:
    listed = family()
    listed[1].files["seg.png"] = Entry("seg.png", 1 << 63, 5, SECOND, SECOND)
    ready = made(listed)
    with pytest.raises(OverflowError):
        packed(ready)

"""Ready rows arrive as they were sent, and tell what was seen."""

from __future__ import annotations

import dataclasses
import marshal

import pytest
from hypothesis import given, settings
from test_fresh import EXAMPLES, SECOND, Script, World, scripts, temporary
from test_ready import LAYOUT, RULES, family

from scanner.layout import Layout
from scanner.listing import Listing
from scanner.parcel import listings, packed, unpacked
from scanner.ready import make
from scanner.records import Entry
from scanner.tree import join


def every_family(script: Script) -> list[list[Listing]]:
    """Each directory of the disk with all its folders."""
    with temporary() as directory:
        world = World(directory, script)
        world.index.close()
        firsts = [world.listing(path, None) for path in world._directories()]
        return [
            [first, *(world.listing(join(first.directory, name), None) for name in first.directories)]
            for first in firsts
        ]


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_rows_are_unpacked_as_they_were_packed(script: Script) -> None:
    for listed in every_family(script):
        ready = make(listed, Layout(script.layout), RULES, SECOND)
        assert ready is not None
        parcel = marshal.loads(marshal.dumps(packed(ready), 2))
        assert unpacked(parcel) == ready


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_rows_tell_the_listings_that_they_were_made_of(script: Script) -> None:
    for listed in every_family(script):
        ready = make(listed, Layout(script.layout), RULES, SECOND)
        assert ready is not None
        deeper = [dataclasses.replace(one, fingerprint=0) if one.directories else one for one in listed[1:]]
        assert listings(ready) == [listed[0], *deeper]


def test_links_stay_links() -> None:
    listed = family()
    listed[1].files["seg.png"] = Entry("seg.png", 7, 5, SECOND, SECOND, link=True)
    ready = make(listed, LAYOUT, RULES, SECOND)
    assert ready is not None
    assert listings(ready) == listed


def test_a_number_that_the_index_cannot_hold_is_refused() -> None:
    listed = family()
    listed[1].files["seg.png"] = Entry("seg.png", 1 << 63, 5, SECOND, SECOND)
    ready = make(listed, LAYOUT, RULES, SECOND)
    assert ready is not None
    with pytest.raises(OverflowError):
        packed(ready)

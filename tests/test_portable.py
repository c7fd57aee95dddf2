"""The handler beside watchdog's own observers: where each event leads, and that no fault ends it."""

from __future__ import annotations

import os

import pytest
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileOpenedEvent,
)

from scanner.dirty import Dirty, DirtySet
from scanner.portable import Marker, PortableWatcher


@pytest.fixture
def dirty():
    return DirtySet()


def marked(dirty: DirtySet, event: object, base: str = "", path: str = "/data") -> list[Dirty]:
    Marker(dirty, base, path).dispatch(event)
    return dirty.take(9)


def look(directory: str, *names: str, settled: bool = False, recursive: bool = False) -> Dirty:
    wanted = frozenset(names)
    return Dirty(directory, wanted or None, wanted if settled else frozenset(), recursive)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (FileCreatedEvent("/data/a/x"), [look("a", "x")]),
        (FileClosedEvent("/data/x"), [look("", "x", settled=True)]),
        (FileClosedEvent(b"/data/a/x"), [look("a", "x", settled=True)]),
        (FileMovedEvent("/data/a/x", "/data/b/y"), [look("a", "x"), look("b", "y", settled=True)]),
        (DirCreatedEvent("/data/a"), [look("", "a"), look("a")]),
        (
            DirMovedEvent("/data/a", "/data/b"),
            [
                Dirty("", frozenset("ab"), frozenset("b"), False),
                look("a", recursive=True),
                look("b", recursive=True),
            ],
        ),
        (FileOpenedEvent("/data/x"), []),
        (FileCreatedEvent("/elsewhere/x"), [look("", recursive=True)]),
        (FileCreatedEvent("/database/x"), [look("", recursive=True)]),
        (FileCreatedEvent(b"/data/a/\xff"), [look("a")]),
    ],
)
def test_an_event_leads_to_its_names(dirty, event, expected):
    assert marked(dirty, event) == expected


def test_a_root_of_its_own_leads_below_that_root(dirty):
    assert marked(dirty, FileCreatedEvent("/mnt/x/y"), "link", "/mnt") == [look("link/x", "y")]


def test_a_fault_in_the_handler_is_logged_and_makes_everything_dirty(dirty, caplog):
    class Broken:
        event_type = "created"
        is_directory = False

    assert marked(dirty, Broken()) == [look("", recursive=True)]
    assert "src_path" in caplog.text


def test_a_stopped_watcher_refuses_and_is_not_alive(dirty, tmp_path):
    watcher = PortableWatcher(dirty, os.fspath(tmp_path))
    watcher.stop()
    assert not watcher.alive
    with pytest.raises(OSError, match="stopped"):
        watcher.add("")

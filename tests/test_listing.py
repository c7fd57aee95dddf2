"""One directory read: what counts as a file, what is gone, and what only could not be read."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from scanner.listing import Gone, Lister, Listing, Unreadable

IGNORE = (".*", "*.tmp")


def lister(root: Path, *roots: str) -> Lister:
    """A lister of a data root with its roots."""
    result = Lister(str(root), IGNORE)
    result.use_roots(roots or ("frames",))
    return result


def whole(root: Path, directory: str = "frames") -> Listing:
    """A listing that has to work."""
    look = lister(root).look(directory)
    assert isinstance(look, Listing)
    return look


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with an empty ``frames``."""
    (tmp_path / "data" / "frames").mkdir(parents=True)
    return tmp_path / "data"


def test_regular_files_and_directories_are_told_apart(data: Path) -> None:
    (data / "frames" / "a.jpg").write_bytes(b"abc")
    (data / "frames" / "b.jpg").mkdir()
    look = whole(data)
    assert look.files["a.jpg"].size == 3
    assert look.files["a.jpg"].inode == (data / "frames" / "a.jpg").stat().st_ino
    assert look.directories == ("b.jpg",)


def test_fifos_and_sockets_are_no_files(data: Path) -> None:
    os.mkfifo(data / "frames" / "a.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(data / "frames" / "b.jpg"))
        look = whole(data)
    assert (look.files, look.directories) == ({}, ())


def test_ignored_names_are_not_there(data: Path) -> None:
    (data / "frames" / ".hidden").mkdir()
    (data / "frames" / "a.tmp").write_bytes(b"x")
    look = whole(data)
    assert (look.files, look.directories) == ({}, ())


def test_names_that_are_not_utf8_are_skipped_and_counted(data: Path) -> None:
    with open(os.fsencode(data) + b"/frames/\xff.jpg", "wb") as file:
        file.write(b"x")
    look = whole(data)
    assert (look.files, look.skipped) == ({}, 1)


def test_a_file_symlink_counts_if_its_target_lies_below_the_data_root(data: Path, tmp_path: Path) -> None:
    (data / "frames" / "real.jpg").write_bytes(b"real")
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    (data / "frames" / "in.jpg").symlink_to(data / "frames" / "real.jpg")
    (data / "frames" / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    (data / "frames" / "broken.jpg").symlink_to("nowhere")
    (data / "frames" / "loop.jpg").symlink_to("loop.jpg")
    look = whole(data)
    assert set(look.files) == {"real.jpg", "in.jpg"}
    assert look.files["in.jpg"].link
    assert look.files["in.jpg"].size == 4


def test_directory_symlinks_are_not_followed_but_a_root_may_be_one(data: Path, tmp_path: Path) -> None:
    (tmp_path / "volume" / "v").mkdir(parents=True)
    (data / "masks").symlink_to(tmp_path / "volume")
    (data / "frames" / "link").symlink_to(tmp_path / "volume")
    look = lister(data, "frames", "masks").look("masks")
    assert isinstance(look, Listing)
    assert look.directories == ("v",)
    assert whole(data).directories == ()
    assert lister(data).look("frames/link") == Gone("frames/link")


def test_a_directory_that_is_gone_or_is_a_file_is_gone(data: Path) -> None:
    (data / "frames" / "file").write_bytes(b"x")
    assert lister(data).look("frames/nowhere") == Gone("frames/nowhere")
    assert lister(data).look("frames/file") == Gone("frames/file")


def test_only_the_names_asked_for_are_looked_at(data: Path) -> None:
    (data / "frames" / "a.jpg").write_bytes(b"a")
    (data / "frames" / "b.jpg").write_bytes(b"b")
    look = lister(data).look("frames", frozenset({"a.jpg", "gone.jpg"}))
    assert isinstance(look, Listing)
    assert set(look.files) == {"a.jpg"}
    assert look.names == {"a.jpg", "gone.jpg"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_any_other_error_is_carried_and_says_nothing_about_the_content(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: str) -> object:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "scandir", fail)
    assert lister(data).look("frames") == Unreadable("frames", number)


def test_a_name_that_cannot_be_read_is_named_with_its_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.lstat

    def fail(path: str) -> os.stat_result:
        if path.endswith("bad.jpg"):
            raise OSError(errno.EIO, "input/output error", path)
        return real(path)

    monkeypatch.setattr(os, "lstat", fail)
    look = lister(data).look("frames", frozenset({"bad.jpg"}))
    assert isinstance(look, Listing)
    assert look.unreadable == {"bad.jpg": errno.EIO}


def test_a_name_that_no_file_can_have_is_not_there(data: Path) -> None:
    look = lister(data).look("frames", frozenset({"x" * 300}))
    assert isinstance(look, Listing)
    assert (look.files, look.unreadable) == ({}, {})
    assert isinstance(lister(data).look("frames/" + "x" * 300), Gone)

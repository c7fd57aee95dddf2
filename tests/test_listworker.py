"""What the listing process says about a directory, its fingerprints, and the frames that carry both."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parcels import AT_ONCE, TERMS

from scanner import listworker
from scanner.listing import Lister, Listing, Look, Unreadable
from scanner.listworker import (
    FAMILY,
    GONE,
    LENGTH,
    LISTED,
    READY,
    SAME,
    UNREADABLE,
    WATCH,
    Frames,
    Watches,
    fingerprint,
    pack,
    portions,
    unpack,
)
from scanner.parcel import Maker, listings, unpacked

DEADLINE = 30.0
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.text() | st.binary(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class FakeLister(Lister):
    """A lister to which some directories answer with an error, as a machine cannot be made to."""

    def __init__(self, root: Path, errors: dict[str, int], names: dict[str, dict[str, int]]) -> None:
        super().__init__(str(root), [])
        self.use_roots(["frames"])
        self._errors = errors
        self._of_names = names

    def look(self, directory: str, names: frozenset[str] | None = None) -> Look:
        """As the real one, unless it is to fail."""
        if directory in self._errors:
            return Unreadable(directory, self._errors[directory])
        look = super().look(directory, names)
        if isinstance(look, Listing):
            look.unreadable.update(self._of_names.get(directory, {}))
        return look


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with one directory."""
    (tmp_path / "frames" / "v").mkdir(parents=True)
    (tmp_path / "frames" / "v" / "1.jpg").write_bytes(b"1")
    (tmp_path / "frames" / "v" / "2.jpg").write_bytes(b"2")
    return tmp_path


def listed(lister: Lister, wanted: list[tuple[str, int, int]]) -> list[tuple[Any, ...]]:
    """The looks that are answered for single directories that nobody watches."""
    ((last, part),) = portions(lister, Watches(lister.root, None), Maker(TERMS), wanted)
    assert last
    assert all(told == [None] for _, told in part)
    return [look for (look,), _ in part]


def printed(root: Path) -> int:
    """The fingerprint of the directory as it is now."""
    lister = Lister(str(root), ["*.tmp"])
    lister.use_roots(["frames"])
    look = lister.look("frames/v")
    assert isinstance(look, Listing)
    return fingerprint(look)


def rewrite_in_place(folder: Path) -> None:
    """Other content of the same size, and the old mtime set back; the ctime tells."""
    status = os.stat(folder / "1.jpg")
    end = time.monotonic() + DEADLINE
    while os.stat(folder / "1.jpg").st_ctime_ns == status.st_ctime_ns and time.monotonic() < end:
        (folder / "1.jpg").write_bytes(b"x")
        os.utime(folder / "1.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_file(folder: Path) -> None:
    """Another file of the same name, size and mtime."""
    status = os.stat(folder / "1.jpg")
    (folder / "new.tmp").write_bytes(b"1")
    os.utime(folder / "new.tmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rename(folder / "new.tmp", folder / "1.jpg")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content of another size": lambda folder: (folder / "1.jpg").write_bytes(b"longer"),
    "content rewritten in place": rewrite_in_place,
    "a file replaced": replace_file,
    "a file added": lambda folder: (folder / "3.jpg").write_bytes(b"3"),
    "an empty file added": lambda folder: (folder / "3.jpg").touch(),
    "a file removed": lambda folder: (folder / "1.jpg").unlink(),
    "a file renamed": lambda folder: os.rename(folder / "1.jpg", folder / "0.jpg"),
    "an mtime set back": lambda folder: os.utime(folder / "1.jpg", ns=(1, 1)),
    "permissions changed": lambda folder: (os.utime(folder / "1.jpg"), os.chmod(folder / "1.jpg", 0o600)),
    "a folder added": lambda folder: (folder / "1").mkdir(),
    "a link added": lambda folder: (folder / "l.jpg").symlink_to("1.jpg"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_that_matters_changes_the_fingerprint(root: Path, change: str) -> None:
    before = printed(root)
    CHANGES[change](root / "frames" / "v")
    assert printed(root) != before


def test_what_is_ignored_changes_nothing(root: Path) -> None:
    before = printed(root)
    (root / "frames" / "v" / "x.tmp").write_bytes(b"x")
    assert printed(root) == before
    assert before


def test_a_folder_in_place_of_a_file_is_another_fingerprint(root: Path) -> None:
    before = printed(root)
    (root / "frames" / "v" / "1.jpg").unlink()
    (root / "frames" / "v" / "1.jpg").mkdir()
    assert printed(root) != before


def test_each_answer_says_what_was_found(root: Path) -> None:
    lister = FakeLister(root, {"frames/eio": errno.EIO}, {})
    known = printed(root)
    wanted = [
        ("frames/v", 0, 0),
        ("frames/v", known, 0),
        ("frames/v", known ^ 1, 0),
        ("frames/no", 0, 0),
        ("frames/eio", 1, 0),
    ]
    answers = listed(lister, wanted)
    assert [answer[0] for answer in answers] == [LISTED, SAME, LISTED, GONE, UNREADABLE]
    assert [answer[1] for answer in answers] == [directory for directory, _, _ in wanted]
    assert answers[4] == (UNREADABLE, "frames/eio", errno.EIO)


def test_what_could_not_be_looked_at_as_a_whole_has_no_fingerprint(root: Path) -> None:
    """Else the next look could be the same, although a name of it was never seen."""
    known = printed(root)
    lister = FakeLister(root, {}, {"frames/v": {"3.jpg": errno.EACCES}})
    (answer,) = listed(lister, [("frames/v", known, 0)])
    assert answer[0] == LISTED
    assert answer[8:10] == ({"3.jpg": errno.EACCES}, 0)


def family_of(lister: Lister) -> tuple[Any, ...]:
    """The looks of a directory that is asked for together with its folders."""
    ((_, ((looks, _),)),) = portions(
        lister, Watches(lister.root, None), Maker(AT_ONCE), [("frames/v", 0, FAMILY)]
    )
    return tuple(looks)


def test_a_family_comes_ready_where_all_of_it_is_plain(root: Path) -> None:
    """Its rows tell what its listings would have."""
    (root / "frames" / "v" / "1").mkdir()
    (root / "frames" / "v" / "1" / "seg.png").write_bytes(b"mask")
    lister = Lister(str(root), ["*.tmp"])
    ((kind, directory, parcel),) = family_of(lister)
    assert (kind, directory) == (READY, "frames/v")
    seen = [replace(look, seen_ns=0) for look in listings(unpacked(parcel))]
    looks = [lister.look("frames/v"), lister.look("frames/v/1")]
    assert seen == [
        replace(look, seen_ns=0, fingerprint=fingerprint(look)) for look in looks if isinstance(look, Listing)
    ]


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EACCES])
def test_a_family_of_which_a_folder_cannot_be_listed_comes_as_it_is(root: Path, error: int) -> None:
    (root / "frames" / "v" / "1").mkdir()
    looks = family_of(FakeLister(root, {"frames/v/1": error}, {}))
    assert [look[0] for look in looks] == [LISTED, UNREADABLE]
    looks = family_of(FakeLister(root, {}, {"frames/v/1": {"x": error}}))
    assert [look[0] for look in looks] == [LISTED, LISTED]


def family(root: Path, folders: int, how: int = FAMILY) -> list[tuple[str, ...]]:
    """The directories of each answer about ``frames`` and ``frames/v``, the latter with so many folders."""
    for number in range(folders):
        (root / "frames" / "v" / f"{number:03}").mkdir()
        (root / "frames" / "v" / f"{number:03}" / "seg.png").write_bytes(b"x")
    lister = Lister(str(root), [])
    lister.use_roots(["frames"])
    wanted = [("frames/v", 0, how), ("frames", 0, how)]
    parts = list(portions(lister, Watches(str(root), None), Maker(TERMS), wanted))
    assert [last for last, _ in parts] == [False] * (len(parts) - 1) + [True]
    return [tuple(look[1] for look in looks) for _, part in parts for looks, _ in part]


def test_folders_are_listed_with_a_directory_that_holds_files(root: Path) -> None:
    answers = family(root, 3)
    assert [sorted(answer) for answer in answers] == [
        ["frames/v", "frames/v/000", "frames/v/001", "frames/v/002"],
        ["frames"],  # holds none
    ]


def test_folders_are_left_where_they_are_not_asked_for(root: Path) -> None:
    assert family(root, 3, 0) == [("frames/v",), ("frames",)]


@pytest.mark.parametrize(("large", "looks"), [(6, 4), (5, 1)])
def test_a_large_directory_is_listed_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, large: int, looks: int
) -> None:
    """One that is large with the five entries that this one has."""
    monkeypatch.setattr("scanner.portions.LARGE", large)
    assert [len(directories) for directories in family(root, 3)] == [looks, 1]


def test_of_too_much_the_rest_is_left_for_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory counts for six with its five entries, each folder for two."""
    monkeypatch.setattr(listworker, "FAMILY_ENTRIES", 8)
    monkeypatch.setattr(listworker, "PART", 1)
    first, second = family(root, 3)
    assert (first[0], len(first)) == ("frames/v", 3)
    assert second == ("frames",)


def test_a_watch_that_cannot_be_put_is_told_as_an_errno(root: Path) -> None:
    lister = Lister(str(root), [])
    wanted = [("frames/v", 0, WATCH), ("frames/none", 0, WATCH), ("frames/v", 0, 0)]
    ((_, part),) = portions(lister, Watches(str(root), None), Maker(TERMS), wanted)
    assert [told for _, told in part] == [[-errno.EBADF], [-errno.EBADF], [None]]


@settings(max_examples=25)
@given(st.lists(VALUES.filter(lambda value: value is not None), max_size=5), st.integers(1, 40))
def test_frames_are_put_together_from_any_bits(values: list[object], size: int) -> None:
    stream = b"".join(pack(value) for value in values)
    frames, taken = Frames(), []
    for start in range(0, len(stream), size):
        frames.add(stream[start : start + size])
        while (value := frames.take()) is not None:
            taken.append(value)
    assert taken == values


@settings(max_examples=25)
@given(VALUES)
def test_a_frame_gives_back_the_value(value: object) -> None:
    assert unpack(io.BytesIO(pack(value))) == value


@settings(max_examples=25)
@given(VALUES, st.integers(min_value=0))
def test_a_frame_that_is_cut_off_is_the_end(value: object, cut: int) -> None:
    frame = pack(value)
    with pytest.raises(EOFError):
        unpack(io.BytesIO(frame[: cut % len(frame)]))


def test_nothing_read_is_the_end() -> None:
    with pytest.raises(EOFError):
        Frames().add(b"")


def start() -> subprocess.Popen[bytes]:
    """A process of its own, its pipes in our hands."""
    return subprocess.Popen(
        [sys.executable, "-m", "scanner.listworker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("sent", [b"", b"\1", LENGTH.pack(100) + b"x"])
def test_it_ends_quietly_when_its_input_does(sent: bytes) -> None:
    process = start()
    assert process.communicate(sent, DEADLINE) == (b"", b"")
    assert process.returncode == 0


def test_it_ends_quietly_when_nobody_reads_its_answers(root: Path) -> None:
    process = start()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(pack((str(root), ("*.tmp",), None, TERMS)))
    process.stdin.write(pack((1, 1, ("frames",), [("frames/v", 0, 0)])))
    process.stdin.flush()
    assert process.wait(DEADLINE) == 0
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()

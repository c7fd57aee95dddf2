"""The index's directory: private, one for each process that lives, and removed with it."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner import indexdirectory
from scanner.indexdirectory import PREFIX, IndexDirectory

REPOSITORY = Path(__file__).parent.parent
HOLDER = """
import sys
from scanner.indexdirectory import IndexDirectory
directory = IndexDirectory(sys.argv[1])
print(directory.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[IndexDirectory]:
    """One below ``tmp_path / "index"``."""
    made = IndexDirectory(str(tmp_path / "index"))
    yield made
    made.remove()


def hold(base: Path) -> subprocess.Popen[str]:
    """A process that has an index directory; its path is the first line of its output."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(base)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_private_and_made_with_what_leads_to_it(tmp_path: Path, directory: IndexDirectory) -> None:
    """Only its owner sees the rows in it."""
    assert directory.path.parent == tmp_path / "index"
    assert directory.path.stat().st_mode & 0o777 == 0o700


def test_removing_leaves_nothing_and_may_be_repeated(directory: IndexDirectory) -> None:
    """Whatever has come into it."""
    (directory.path / "index-0.db").write_text("x")
    directory.remove()
    assert not directory.path.exists()
    directory.remove()


def test_several_of_one_process_live_side_by_side(tmp_path: Path, directory: IndexDirectory) -> None:
    """A second does not take the first for dead."""
    other = IndexDirectory(str(tmp_path / "index"))
    assert directory.path.exists()
    assert other.path != directory.path
    other.remove()
    assert directory.path.exists()


def test_that_of_a_living_process_stays_and_that_of_a_dead_one_goes(tmp_path: Path) -> None:
    """However it died."""
    with hold(tmp_path) as holder:
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        (path / "index-0.db").write_text("x")
        IndexDirectory(str(tmp_path)).remove()
        assert (path / "index-0.db").exists()
        holder.kill()
        holder.wait()
        assert path.exists()
    IndexDirectory(str(tmp_path)).remove()
    assert not path.exists()


def test_what_is_not_an_index_directory_stays(tmp_path: Path) -> None:
    """Other names, files, links and directories that have no lock (their owner may be about to make it)."""
    (tmp_path / "other").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("x")
    (tmp_path / f"{PREFIX}unlocked").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    IndexDirectory(str(tmp_path)).remove()
    assert {path.name for path in tmp_path.iterdir()} == {
        "other",
        "target",
        f"{PREFIX}file",
        f"{PREFIX}unlocked",
        f"{PREFIX}link",
    }
    assert (target / "lock").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="giving a directory to another user takes root")
def test_that_of_another_user_stays(tmp_path: Path) -> None:
    """Even where it could be removed."""
    foreign = tmp_path / f"{PREFIX}foreign"
    foreign.mkdir()
    (foreign / "lock").touch()
    os.chown(foreign, 65534, 65534)
    IndexDirectory(str(tmp_path)).remove()
    assert foreign.exists()


def test_without_room_in_memory_it_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And that is told, with the reason and the remedy."""
    monkeypatch.setattr(indexdirectory, "ROOM", 1 << 62)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with caplog.at_level(logging.WARNING):
        made = IndexDirectory("auto")
    made.remove()
    assert made.path.parent == tmp_path
    assert "MiB free" in caplog.text
    assert "directory" in caplog.text


def test_memory_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same."""
    monkeypatch.setattr(indexdirectory, "MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    made = IndexDirectory("auto")
    made.remove()
    assert made.path.parent == tmp_path
    assert "No such file" in caplog.text


def test_memory_with_room_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word."""
    monkeypatch.setattr(indexdirectory, "MEMORY", tmp_path)
    monkeypatch.setattr(indexdirectory, "ROOM", 0)
    made = IndexDirectory("auto")
    made.remove()
    assert made.path.parent == tmp_path


def test_where_none_can_be_made(tmp_path: Path) -> None:
    """It is an error that names the place."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        IndexDirectory(str(tmp_path / "file" / "index"))


def nowhere() -> str:
    """What tempfile does where all file systems are read-only."""
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


def test_memory_with_little_room_is_taken_where_nothing_else_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container with a read-only root file system."""
    monkeypatch.setattr(indexdirectory, "MEMORY", tmp_path)
    monkeypatch.setattr(indexdirectory, "ROOM", 1 << 62)
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    made = IndexDirectory("auto")
    made.remove()
    assert made.path.parent == tmp_path
    assert "no other place" in caplog.text


def test_where_nothing_at_all_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexdirectory, "MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(FileNotFoundError, match="temporary"):
        IndexDirectory("auto")

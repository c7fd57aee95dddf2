"""``sidecar verify`` as cron runs it: what it prints, and its exit code."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import pytest

import scanner.worker
from scanner.records import Kind
from web import cli
from web.demoworker import Worker
from web.demoworld import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The demo's world, in which all is well."""
    with closing(make_world(tmp_path)) as made:
        yield made


@dataclass
class Command:
    """``sidecar verify`` over the world within this process: what it does is the same in one of its own."""

    world: World
    monkeypatch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[bytes]

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        with self.monkeypatch.context() as patch:
            for name, value in (settings(self.world) | environ).items():
                patch.setenv(name, value)
            patch.chdir(self.world.root.parent)
            code = cli.main(["verify", *arguments])
        out, err = self.captured.readouterr()
        return subprocess.CompletedProcess(arguments, code, out.decode(), err.decode())


@pytest.fixture
def command(
    world: World, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], one_pool: None
) -> Command:
    return Command(world, monkeypatch, capfdbinary)


def settings(world: World) -> dict[str, str]:
    return {"SIDECAR_DATA__ROOT": str(world.root), "SIDECAR_DATABASE__URL": world.url}


def verify(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command over the world, as cron does."""
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "verify", *arguments],
        env={**os.environ, **settings(world), "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=world.root.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def break_one(world: World) -> Path:
    """Damage one mask that is claimed."""
    asset = next(iter(world.assets.values()))
    world.write(asset, "segment", b"junk")
    path = world.file(asset, "segment")
    world.claim(asset, "segment", path)
    return path


def test_a_world_in_which_all_is_well_is_clean(world: World) -> None:
    done = verify(world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no findings" in done.stdout
    assert f"{len(world.assets)} image" in done.stdout


@pytest.mark.parametrize("form", ["table", "json", "csv", "ndjson"])
def test_exactly_what_is_broken_is_named_in_every_format(world: World, command: Command, form: str) -> None:
    path = str(break_one(world))
    done = verify(world) if form == "table" else command("--format", form)
    assert done.returncode == 1, done.stderr
    if form == "table":
        lines = [line for line in done.stdout.splitlines() if path in line]
        assert len(lines) == 1
        assert "1 finding;" in done.stdout
        return
    if form == "csv":
        found = list(csv.DictReader(io.StringIO(done.stdout)))
    elif form == "ndjson":
        found = [json.loads(line) for line in done.stdout.splitlines()]
    else:
        answer = json.loads(done.stdout)
        assert answer["verification"]["findings"] == {"corrupt": {"segment": 1}}
        found = answer["findings"]
    assert [(item["kind"], item["feature"], item["path"]) for item in found] == [("corrupt", "segment", path)]


def test_of_what_the_demo_breaks_exactly_that_is_named(world: World, command: Command) -> None:
    worker = Worker(world, seed=11)
    worker.break_each_way()
    for _ in range(60):
        worker.step()
    assert worker.broken
    done = command("--format", "ndjson")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(item["asset_id"], item["feature"]) for item in found} == set(worker.broken)
    assert done.returncode == 1
    while worker.broken:
        worker._repair()
    done = command("--format", "ndjson")
    assert (done.returncode, done.stdout) == (0, "")


def test_kinds_jobs_and_limits_narrow_what_counts(world: World, command: Command) -> None:
    break_one(world)
    assert command("--kind", "missing").returncode == 0
    limited = command("--kind", "corrupt", "--limit", "0", "--format", "ndjson")
    assert (limited.returncode, limited.stdout) == (1, "")
    assert command("--job", "job_bottle").returncode == 0
    unknown = command("--job", "nobody")
    assert (unknown.returncode, "nobody" in unknown.stderr) == (2, True)
    strange = command("--kind", "odd")
    assert (strange.returncode, "odd" in strange.stderr) == (2, True)


def test_what_cannot_be_looked_at_is_two_and_never_clean(
    world: World, command: Command, tmp_path: Path
) -> None:
    gone = command(SIDECAR_DATABASE__URL=f"sqlite:///{tmp_path}/nowhere.db")
    assert (gone.returncode, "database" in gone.stderr) == (2, True)
    assert "no findings so far, and not everything could be looked at" in gone.stdout
    os.rename(world.root / "frames", tmp_path / "away")
    root = verify(world)
    assert (root.returncode, "frames" in root.stderr) == (2, True), (root.stdout, root.stderr)
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = command(SIDECAR_DATA__ROOT=str(empty), SIDECAR_DATABASE__URL="")
    assert (nothing.returncode, "nothing was checked" in nothing.stderr) == (2, True)


def test_a_root_that_is_away_is_named_also_if_all_is_seen_before_roots_are_looked_at_again(
    world: World, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rows tell that it should be there, and they come after the roots were looked at first."""
    check = scanner.worker.Worker.check_roots

    def seldom(worker: scanner.worker.Worker) -> None:
        check(worker)
        worker._roots_at = float("inf")

    monkeypatch.setattr(scanner.worker.Worker, "check_roots", seldom)
    os.rename(world.root / "frames", tmp_path / "away")
    done = command()
    assert (done.returncode, f"{world.root}/frames is not there" in done.stderr) == (2, True), done.stderr


def test_no_finding_of_a_kind_is_not_clean_where_nothing_was_checked(
    world: World, command: Command, tmp_path: Path
) -> None:
    """Rows whose images are all gone are findings; that none of them is another kind says nothing."""
    shutil.rmtree(world.root / "frames")
    (world.root / "frames").mkdir()
    shutil.rmtree(world.root / "products")
    (world.root / "products").mkdir()
    gone = command("--kind", "missing")
    assert (gone.returncode, "missing" in gone.stdout) == (1, True)
    nothing = command("--kind", "corrupt,stale")
    assert (nothing.returncode, "nothing was checked" in nothing.stderr) == (2, True)


def test_what_is_corrupt_is_not_known_where_nothing_is_decoded(world: World, command: Command) -> None:
    done = command("--kind", "corrupt", SIDECAR_VERIFY__CONTENT="false")
    assert (done.returncode, "nothing was checked" in done.stderr) == (2, True)


def test_the_table_counts_the_kinds_that_were_asked_for(world: World, command: Command) -> None:
    break_one(world)
    world.file(next(iter(world.assets.values())), "image").unlink()
    every = command()
    assert {kind for kind in Kind if f"\u2502 {kind} " in every.stdout} > {Kind.MISSING}
    done = command("--kind", "missing")
    assert {kind for kind in Kind if f"\u2502 {kind} " in done.stdout} == {Kind.MISSING}


def test_on_a_terminal_a_bar_shows_how_far_it_is_and_the_output_stays_clean(world: World) -> None:
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        try:
            process = start(world, theirs, "--format", "ndjson")
        finally:
            os.close(theirs)
        with process:
            shown = b"".join(iter(lambda: read(terminal), b""))
            assert process.stdout is not None
            assert process.stdout.read() == b""
    assert process.returncode == 0
    assert b"checking" in shown
    assert "\u2501".encode() in shown, "a bar"
    assert b"looked at" in shown


def start(world: World, terminal: int, *arguments: str) -> subprocess.Popen[bytes]:
    """The command with a terminal as its standard error."""
    return subprocess.Popen(
        [sys.executable, "-m", "web.cli", "verify", *arguments],
        env={**os.environ, **settings(world), "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm"},
        cwd=world.root.parent,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )


def read(terminal: RawIOBase) -> bytes:
    """What comes next; nothing once nobody has the terminal open any more."""
    try:
        return terminal.read(65536) or b""
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def test_it_says_so_where_it_decodes_nothing(world: World, command: Command) -> None:
    break_one(world)
    done = command(SIDECAR_VERIFY__CONTENT="false")
    assert (done.returncode, "decoded none" in done.stdout) == (0, True)

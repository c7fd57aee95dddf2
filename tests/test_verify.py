"""``sidecar verify`` as cron runs it: what it prints, and its exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from web import cli
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
        assert "1 findings" in done.stdout
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
    os.rename(world.root / "frames", tmp_path / "away")
    root = verify(world)
    assert (root.returncode, "frames" in root.stderr) == (2, True)
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = command(SIDECAR_DATA__ROOT=str(empty), SIDECAR_DATABASE__URL="")
    assert (nothing.returncode, "nothing was checked" in nothing.stderr) == (2, True)


def test_it_says_so_where_it_decodes_nothing(world: World, command: Command) -> None:
    break_one(world)
    done = command(SIDECAR_VERIFY__CONTENT="false")
    assert (done.returncode, "decoded none" in done.stdout) == (0, True)

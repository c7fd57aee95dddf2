"""The demo makes files and rows that agree, breaks and repairs them, and leaves nothing behind."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import until

from scanner.config import Config
from web import demo
from web.commands import parser
from web.demoworker import WAYS, Worker
from web.demoworld import COLUMNS, FEATURES, Asset, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(make_world(tmp_path)) as made:
        yield made


def claims(world: World) -> dict[tuple[str, str], str | None]:
    """What the rows say of every artifact."""
    found: dict[tuple[str, str], str | None] = {}
    with closing(sqlite3.connect(f"file:{world.path}?mode=ro", uri=True)) as database:
        for table, key in (("product_images", "img_id"), ("video_frames", "frame_id")):
            for feature, column in COLUMNS.items():
                for asset_id, path in database.execute(f"SELECT {key}, {column} FROM {table}"):
                    found[asset_id, feature] = path
    return found


def intact(world: World, asset: Asset, feature: str) -> bool:
    """Whether an artifact that is claimed is there and can be decoded, by other means than the product's."""
    path, image_path = world.file(asset, feature), world.file(asset, "image")
    if not path.is_file() or path.stat().st_mtime < image_path.stat().st_mtime - 1:
        return False
    if feature != "segment":
        values = np.frombuffer(path.read_bytes(), "<f4")
        if feature == "embedding":
            return values.size == 512 and bool(np.isfinite(values).all())
        rows = values.reshape(-1, 3)
        return bool((rows[:, :2] >= 0).all() and (rows[:, :2] <= asset.size).all())
    try:
        with Image.open(path) as mask, Image.open(image_path) as image:
            mask.load()
            return mask.size == image.size == asset.size
    except OSError:
        return False


def disagreements(world: World) -> set[tuple[str, str]]:
    """The artifacts whose row, file and content do not agree."""
    return {
        (asset_id, feature)
        for (asset_id, feature), path in claims(world).items()
        if (path is not None) != intact(world, world.assets[asset_id], feature)
        or (path is not None and path != str(world.file(world.assets[asset_id], feature)))
    }


def test_a_new_world_has_two_jobs_half_done_and_everything_in_it_agrees(world: World) -> None:
    assert disagreements(world) == set()
    frames = sum(asset.is_frame for asset in world.assets.values())
    assert (len(world.assets) - frames, frames) == (24, 114)
    assert 100 < len(world.done) < 3 * len(world.assets)
    assert {key for key, path in claims(world).items() if path} == world.done


def test_masks_embeddings_and_keypoints_tell_assets_apart(world: World) -> None:
    for feature in FEATURES:
        contents = [asset.made(feature) for asset in world.assets.values()]
        assert len(set(contents)) == len(contents)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_broken_disagrees_until_it_is_repaired(world: World, way: str) -> None:
    worker = Worker(world)
    worker._break(way)
    assert disagreements(world) == set(worker.broken) != set()
    worker._repair()
    assert disagreements(world) == set() == set(worker.broken)


def test_when_everything_is_done_the_worker_makes_room_for_more(world: World) -> None:
    for asset in world.assets.values():
        for feature in FEATURES:
            world.finish(asset, feature)
    worker = Worker(world)
    assert worker._finish_some() == "discarded artifacts"
    assert len(world.done) == 3 * len(world.assets) - 40
    assert disagreements(world) == set()


def test_the_worker_does_everything_and_only_what_it_broke_disagrees(world: World) -> None:
    worker = Worker(world, seed=11)
    worker.break_each_way()
    did = {worker.step().split()[0] for _ in range(250)}
    assert did >= {"added", "broke", "repaired", "finished", "moved"}
    assert disagreements(world) == set(worker.broken)
    assert not list(world.root.rglob("*.part"))


def options(*given: str) -> argparse.Namespace:
    return parser().parse_args(["demo", *given])


def test_once_makes_the_files_says_where_and_serves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert demo.run(Config(), options("--once"), serve=lambda config: pytest.fail("served")) == 0
    directory = Path(capsys.readouterr().out.strip())
    assert directory.parent == tmp_path
    assert sorted(path.name for path in directory.iterdir()) == ["config.toml", "data", "pipeline.db"]


def test_the_demo_serves_its_own_files_on_this_machine_only_and_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[Config] = []

    def serve(config: Config) -> int:
        assert Path(config.data.root).is_dir()
        assert config.database.url.startswith(f"sqlite:///{tmp_path}")
        assert any(thread.name == "demo-worker" for thread in threading.enumerate())
        seen.append(config)
        return 0

    assert demo.run(Config(), options("--port", "0"), serve) == 0
    assert seen[0].web.host == "127.0.0.1"
    assert seen[0].web.port > 0
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_fails_leaves_no_files_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert demo.run(Config(), options("--port", "0"), serve=lambda config: 2) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["-1", "65536", "x", "9e3", ""])
def test_an_impossible_port_is_refused(port: str) -> None:
    with pytest.raises(SystemExit) as refused:
        options("--port", port)
    assert refused.value.code == 2


@contextmanager
def started(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The real command with its files in ``directory``; killed if it is still there in the end."""
    with (directory / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "web.cli", "demo", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(directory), "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=directory,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def processes_of(directory: Path) -> list[str]:
    """The processes that were started with this directory for their files."""
    mark, found = f"TMPDIR={directory}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found


def files_of(directory: Path) -> list[Path]:
    return list(directory.glob("sidecar-demo-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_answers_of_the_demo_move_until_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:[0-9]+", process.stdout.readline())
        assert found is not None, (tmp_path / "stderr").read_text()

        def answer(path: str) -> Any:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(found[0] + path) as got:
                return json.load(got)

        first = answer("/jobs/job_pillow/features/summary")
        assert first["product_images"]["total"] == 12
        assert first["video_frames"]["total"] >= 84
        assert 0 < first["video_frames"]["segment"]["done"] < first["video_frames"]["total"]
        assert [job["job_id"] for job in answer("/jobs?sort_by=job_id&order=asc")["items"]] == [
            "job_bottle",
            "job_pillow",
        ]
        until(lambda: answer("/jobs/job_pillow/features/summary") != first, "a change is shown", 60)
        assert len(processes_of(tmp_path)) >= 2
        process.send_signal(number)
        assert process.wait(30) == 0
    assert processes_of(tmp_path) == files_of(tmp_path) == []


def test_a_signal_before_anything_is_served_leaves_no_files_either(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        until(lambda: bool(files_of(tmp_path)), "there are files", 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert files_of(tmp_path) == []


def test_a_port_in_use_ends_the_demo_with_2_and_one_line_that_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "web.cli", "demo", "--port", port],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert port in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files_of(tmp_path) == []

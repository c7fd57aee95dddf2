"""``sidecar serve`` as a user meets it: started, killed, frozen, misconfigured, and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Serving, alive, insert_job, make_database, refused, send, state_of
from waiting import until

FRAMES = 4000


def test_a_killed_scanner_is_restarted_and_takes_the_index_over(tmp_path: Path) -> None:
    """Meanwhile the last index answers."""
    with Serving(tmp_path) as server:
        server.write(1)
        server.ready()
        server.files(1)
        before = server.scanner()
        index = {path.name: path.stat().st_ino for path in server.directories()[0].glob("index-*.db")}
        version = server.health()["index"]["version"]
        send(before, signal.SIGKILL)
        server.write(2)
        reply = server.get("/jobs")
        assert reply.status == 200
        assert reply.json()["items"][0]["counts"]["frames"] >= 1
        until(lambda: server.children("scanner.service") not in ([], [before]), "another scanner")
        server.files(2)
        until(lambda: server.health()["status"] == "ok", "ok again")
        assert server.health()["index"]["version"] > version
        assert {path.name: path.stat().st_ino for path in server.directories()[0].glob("index-*.db")} == index
        assert server.frames() == 2


def test_readiness_once_reached_stays_while_the_scanner_is_replaced(tmp_path: Path) -> None:
    """What is not found stays 404; no answer says that the first scan is still to be done."""
    for number in range(400):
        (tmp_path / "data" / "frames" / f"v{number}").mkdir(parents=True)
        (tmp_path / "data" / "frames" / f"v{number}" / "000001.jpg").write_bytes(b"not empty")
    with Serving(tmp_path) as server:
        server.ready()
        server.files(400)
        passed = server.health()["scan"]["last_completed_at"]
        send(server.scanner(), signal.SIGKILL)
        server.write(2)
        seen: set[tuple[int, int, str]] = set()

        def reconciled() -> bool:
            unknown = server.get("/features/video-frames/nobody")
            seen.add((server.get("/readyz").status, unknown.status, unknown.headers["x-index-state"]))
            health = server.health()
            assert health["ready"]
            return health["index"]["files"] == 401 and health["status"] == "ok"

        until(reconciled, "the next scanner has found the new file")
        until(lambda: server.health()["scan"]["last_completed_at"] not in (None, passed), "a full pass")
        reconciled()
        assert seen <= {(200, 404, "complete"), (200, 404, "degraded")}
        assert (200, 404, "complete") in seen


def many(base: Path) -> int:
    """Make so many frames that a crawl of them takes a while."""
    for number in range(FRAMES):
        directory = base / "data" / "frames" / f"v{number % 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number:06}.jpg").write_bytes(b"not empty")
    return FRAMES


@contextlib.contextmanager
def stopped_then_killed(scanner: int) -> Iterator[None]:
    """Inside, the scanner stands still; it goes on no more."""
    send(scanner, signal.SIGSTOP)
    until(lambda: state_of(scanner) == "T", "it is stopped")
    yield
    send(scanner, signal.SIGKILL)


def test_a_lost_index_is_replaced_and_answers_until_that_is_done(tmp_path: Path) -> None:
    """Its answers come from the new file once that has everything, without a restart of the web process."""
    count = many(tmp_path)
    with Serving(tmp_path) as server:
        server.ready()
        server.files(count)
        with stopped_then_killed(server.scanner()):
            for path in server.directories()[0].glob("index-*.db*"):
                path.unlink()
        server.write(FRAMES)
        seen: list[tuple[int, str, int]] = []

        def replaced() -> bool:
            searched = server.get("/jobs/local/assets?asset_type=video_frame&q=frame_0")
            seen.append((searched.status, searched.headers["x-index-state"], server.frames()))
            return seen[-1][2] == count + 1

        until(replaced, "the new file, too")
        until(lambda: server.health()["status"] == "ok", "ok again")
        assert {status for status, _, _ in seen} == {200}
        assert {frames for _, _, frames in seen} == {count, count + 1}
        assert "scanning" in {state for _, state, _ in seen}, "meanwhile a crawl went on"
        assert server.get("/nothing").status == 404


def test_an_index_with_a_damaged_page_is_replaced(tmp_path: Path) -> None:
    """Whoever takes it over meets that only when it reads there, and must not do so again and again."""
    count = many(tmp_path)
    with Serving(tmp_path) as server:
        server.ready()
        server.files(count)
        (path,) = server.directories()[0].glob("index-*.db")
        with stopped_then_killed(server.scanner()):
            with contextlib.closing(sqlite3.connect(path)) as index:
                index.execute("PRAGMA wal_checkpoint")
                (page,) = index.execute("SELECT rootpage FROM sqlite_master WHERE name='files'").fetchone()
                (size,) = index.execute("PRAGMA page_size").fetchone()
            with path.open("r+b") as file:
                file.seek((page - 1) * size)
                file.write(b"\xff" * size)
        server.write(FRAMES)
        until(lambda: server.frames() == count + 1, "all files")
        until(lambda: server.health()["status"] == "ok", "ok again")
        assert not path.exists()
        assert "CorruptError" in server.log


def test_a_killed_server_takes_its_scanner_along_and_the_next_cleans_up(tmp_path: Path) -> None:
    """Its index directory stays behind until then."""
    with Serving(tmp_path) as server:
        server.ready()
        scanner = server.scanner()
        stale = server.directories()
        server.process.kill()
        server.process.wait()
        until(lambda: not alive(scanner), "the scanner ends")
        assert stale == server.directories()
        server.start()
        server.ready()
        fresh = server.directories()
        assert len(fresh) == 1
        assert fresh != stale


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Soon, with exit code 0, and nothing is left; a terminal sends SIGINT to the children as well."""
    with Serving(tmp_path, {"SIDECAR_WEB__PROCESSES": 2}) as server:
        server.ready()
        until(lambda: len(server.children()) == 2, "both children")
        children = server.children()
        began = time.monotonic()
        if number == signal.SIGINT:
            for pid in children:
                send(pid, number)
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        assert time.monotonic() - began < 5
        assert not [pid for pid in children if alive(pid)]
        assert server.directories() == []
        assert '"level": "error"' not in server.log
        assert "Traceback" not in server.log


def test_an_interrupt_meets_no_child_even_while_it_is_loaded(tmp_path: Path) -> None:
    """It would end it with a traceback; and whoever serves is met by it as ever."""
    with Serving(tmp_path, {"SIDECAR_WEB__PROCESSES": 2}) as server:
        until(lambda: len(server.children()) == 2, "both children")
        assert all(blocks(pid, signal.SIGINT) for pid in server.children())
        until(lambda: not blocks(server.process.pid, signal.SIGINT), "the parent being met by it")


def blocks(pid: int, number: signal.Signals) -> bool:
    """Whether a process's main thread blocks the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigBlk:"))
    return bool(int(mask, 16) & 1 << number - 1)


def test_a_frozen_scanner_shows(tmp_path: Path) -> None:
    """And is fine once it goes on."""
    with Serving(tmp_path) as server:
        server.write(1)
        server.ready()
        until(lambda: server.health()["status"] == "ok", "ok")
        scanner = server.scanner()
        send(scanner, signal.SIGSTOP)
        until(lambda: state_of(scanner) == "T", "it is stopped")
        try:
            until(lambda: server.health()["status"] == "degraded", "degraded")
            assert "silent" in server.health()["problems"][0]
            reply = server.get("/jobs")
            assert (reply.status, reply.headers["x-index-state"]) == (200, "degraded")
        finally:
            send(scanner, signal.SIGCONT)
        until(lambda: server.health()["status"] == "ok", "ok")
        assert server.get("/jobs").headers["x-index-state"] == "complete"
        assert server.scanner() == scanner


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    """With its place in the configuration."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, lines = refused(tmp_path, SIDECAR_WEB__PORT=str(taken.getsockname()[1]))
    assert code == 2
    assert len(lines) == 1
    assert "web.port" in lines[0]


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("SIDECAR_WEB__PORT", "many", "web.port"),
        ("SIDECAR_DATABASE__URL", "mysql://u:secret@h/x", "database.url"),
        ("SIDECAR_INDEX__DIRECTORY", "/proc/none", "index.directory"),
        ("SIDECAR_WEB__HOST", "no.such.host.invalid", "web.host"),
    ],
)
def test_what_cannot_be_used_ends_with_2(tmp_path: Path, name: str, value: str, key: str) -> None:
    """In one line that names the key and no secret."""
    code, lines = refused(tmp_path, **{name: value})
    assert (code, len(lines)) == (2, 1), lines
    assert key in lines[0]
    assert "secret" not in lines[0]


def test_a_data_root_may_come_later(tmp_path: Path) -> None:
    """It starts without one, and what comes is seen."""
    with Serving(tmp_path) as server:
        server.ready()
        assert server.frames() == 0
        server.write(1)
        server.files(1)
        until(lambda: server.health()["status"] == "ok", "ok")


def test_a_database_may_come_later(tmp_path: Path) -> None:
    """It starts without one, says so, and reads it when it is there."""
    database = tmp_path / "pipeline.db"
    settings = {"SIDECAR_DATABASE__URL": f"sqlite:///{database}", "SIDECAR_DATABASE__POLL_SECONDS": 0.2}
    with Serving(tmp_path, settings) as server:
        server.write(1)
        until(
            lambda: any(line.startswith("database") for line in server.health()["problems"]),
            "the database is a problem",
        )
        body = server.health()
        assert (body["status"], body["database"]["configured"]) == ("degraded", True)
        assert server.get("/readyz").status == 503
        make_database(database)
        insert_job(database, "j1")
        server.ready()
        until(lambda: server.health()["status"] == "ok", "ok")
        assert server.get("/status/j1").status == 200


def test_a_job_that_was_just_inserted_is_found(tmp_path: Path) -> None:
    """Long before the next poll."""
    database = tmp_path / "pipeline.db"
    make_database(database)
    settings = {"SIDECAR_DATABASE__URL": f"sqlite:///{database}", "SIDECAR_DATABASE__POLL_SECONDS": 3600}
    with Serving(tmp_path, settings) as server:
        server.write(1)
        server.ready()
        assert server.get("/status/j1").status == 404
        insert_job(database, "j2")
        until(lambda: server.get("/status/j2").status == 200, "found by its key", 10)


def test_further_web_processes_answer_and_are_restarted(tmp_path: Path) -> None:
    """While the first cannot, the second does."""
    with Serving(tmp_path, {"SIDECAR_WEB__PROCESSES": 2}) as server:
        server.write(1)
        server.ready()
        second = until(lambda: server.children("web.serving"), "a second process")[0]
        send(server.process.pid, signal.SIGSTOP)
        try:
            server.client.close()
            until(lambda: server.frames() == 1, "the second answers")
        finally:
            send(server.process.pid, signal.SIGCONT)
        server.client.close()
        send(second, signal.SIGKILL)
        until(lambda: server.children("web.serving") not in ([], [second]), "another second process")
        assert server.get("/jobs").status == 200


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 2 MiB."""
    place = tmp_path / "index"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes rights that this machine does not give")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_index_says_what_it_needs(tmp_path: Path, tiny: Path) -> None:
    """And what it has is still served."""
    directory = tmp_path / "data" / "frames" / "v"
    directory.mkdir(parents=True)
    for number in range(20_000):
        (directory / f"{number:06}.jpg").touch()
    with Serving(tmp_path) as server:
        until(
            lambda: any("MiB" in line and str(tiny) in line for line in server.health()["problems"]),
            "it says that the index is full",
        )
        assert server.health()["status"] == "degraded"
        reply = server.get("/jobs")
        assert (reply.status, reply.headers["x-index-state"]) == (200, "degraded")
        assert server.get("/readyz").status == 503
        assert "Traceback" not in server.log

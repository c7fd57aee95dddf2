"""``sidecar serve`` as real processes over a small data root, for tests that kill, stop and restart them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from comparison import Client, Reply
from waiting import SECONDS, until

REPOSITORY = Path(__file__).parent.parent
SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT, percent REAL, updated_at TEXT);
CREATE TABLE products (product_id TEXT PRIMARY KEY, job_id TEXT, title TEXT, updated_at TEXT);
CREATE TABLE videos (video_id TEXT PRIMARY KEY, job_id TEXT, platform TEXT, url TEXT, title TEXT,
    duration_s INTEGER, updated_at TEXT);
CREATE TABLE product_images (img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT, seg_mask_path TEXT,
    emb_rgb TEXT, kp_blob_path TEXT, updated_at TEXT);
CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, ts REAL, local_path TEXT,
    seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT, updated_at TEXT);
"""


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_database(path: Path) -> None:
    """A pipeline database without rows, complete from its first moment on."""
    made = path.with_suffix(".new")
    with contextlib.closing(sqlite3.connect(made)) as connection:
        connection.executescript(SCHEMA)
    made.rename(path)


def insert_job(path: Path, job: str) -> None:
    """One more job."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO jobs VALUES (?, 'collection', 0, '2026-01-01 00:00:00')", (job,))


def unprivileged() -> list[str]:
    """Words before a command that keep it from reading what permissions forbid: root may read everything."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv")
    lost = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"]


class Serving:
    """One ``sidecar serve`` over ``base/data``; its index is in ``base/index``, its log in ``base/log``.

    ``before`` are words that go before the command, of a program that executes the rest.
    """

    def __init__(
        self,
        base: Path,
        settings: Mapping[str, Any] | None = None,
        port: int | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self.base = base
        self.before = before
        self.root = base / "data"
        self.indexes = base / "index"
        self.port = free_port() if port is None else port
        self.settings = {
            "SIDECAR_DATA__ROOT": str(self.root),
            "SIDECAR_INDEX__DIRECTORY": str(self.indexes),
            "SIDECAR_WEB__HOST": "127.0.0.1",
            "SIDECAR_WEB__PORT": str(self.port),
            "SIDECAR_VERIFY__CONTENT": "false",
            **{key: str(value) for key, value in (settings or {}).items()},
        }
        self.client = Client(f"http://127.0.0.1:{self.port}", timeout=10.0)
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Serving:
        self.start()
        return self

    def start(self) -> None:
        """Start it; does not wait for anything."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "web.cli", "serve"],
                cwd=REPOSITORY,
                env={**kept, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.log[-3000:])
        children = self.children() if self.process.poll() is None else []
        self.end()
        until(lambda: not any(map(alive, children)), f"the processes {children} end with their parent")

    def end(self) -> None:
        """Stop it, whatever its state."""
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.base / "log").read_text(errors="replace")

    def write(self, number: int, root: Path | None = None) -> None:
        """A frame with an image."""
        directory = (root or self.root) / "frames" / "v"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number:06}.jpg").write_bytes(b"not empty")

    def get(self, target: str) -> Reply:
        """The answer to a GET."""
        return self.client.get(target)

    def health(self) -> dict[str, Any]:
        """The body of /healthz."""
        body: dict[str, Any] = self.get("/healthz").json()
        return body

    def frames(self) -> int:
        """How many frames the only job has."""
        reply = self.get("/jobs")
        assert reply.status == 200, reply
        return int(reply.json()["items"][0]["counts"]["frames"])

    def ready(self) -> None:
        """Wait until it is."""
        until(lambda: self.get("/readyz").status == 200, "ready")

    def files(self, count: int) -> None:
        """Wait until it knows so many files."""
        until(lambda: self.health()["index"]["files"] == count, f"{count} files")

    def children(self, module: str = "") -> list[int]:
        """The pids of its own processes that run this module."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in pids if module in command_of(int(pid))]

    def scanner(self) -> int:
        """The pid of the scanner, once it runs."""
        return until(lambda: self.children("scanner.service"), "a scanner runs")[0]

    def directories(self) -> list[Path]:
        """The index directories there are."""
        return sorted(self.indexes.glob("artifact-sidecar-*"))


def command_of(pid: int) -> str:
    """A process's command line; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return state_of(pid) not in "ZX"
    except OSError:
        return False


def state_of(pid: int) -> str:
    """The letter of its state, "T" while it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def refused(base: Path, **settings: str) -> tuple[int, list[str]]:
    """Exit code and lines on standard error of a ``serve`` that should not start."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", "serve"],
        cwd=REPOSITORY,
        env={**kept, **Serving(base).settings, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stderr.decode().splitlines()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal."""
    os.kill(pid, number)

"""A real ``sidecar serve`` for the programs that measure it: started over a data root, asked, and stopped."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).parent.parent
Files = dict[str, tuple[int, int, int]]


class Sidecar:
    """Serves ``base/data`` with its index below ``base/index``; content checks are off."""

    def __init__(self, base: Path, **settings: str) -> None:
        self.root = base / "data"
        self.indexes = base / "index"
        self.indexes.mkdir(exist_ok=True)
        self.port = _free_port()
        self._log = base / "log"
        self._settings = {
            "SIDECAR_DATA__ROOT": str(self.root),
            "SIDECAR_INDEX__DIRECTORY": str(self.indexes),
            "SIDECAR_WEB__HOST": "127.0.0.1",
            "SIDECAR_WEB__PORT": str(self.port),
            "SIDECAR_VERIFY__CONTENT": "false",
            **settings,
        }
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def __enter__(self) -> Sidecar:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "web.cli", "serve"],
                cwd=REPOSITORY,
                env={**os.environ, **self._settings, "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.status("/readyz") == 200, 600.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self._log.read_text(errors="replace")[-2000:])
        self._connection.close()
        self.process.terminate()
        self.process.wait(30)

    def get(self, target: str) -> tuple[int, bytes]:
        """Status and body of an answer, over one connection that is kept."""
        try:
            self._connection.request("GET", target)
            reply = self._connection.getresponse()
            return reply.status, reply.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise

    def status(self, target: str) -> int:
        """The status of an answer, 0 while nobody listens."""
        try:
            return self.get(target)[0]
        except (http.client.HTTPException, OSError):
            return 0

    def health(self) -> dict[str, Any]:
        """The body of ``/healthz``."""
        body: dict[str, Any] = json.loads(self.get("/healthz")[1])
        return body

    def at_rest(self) -> bool:
        """Whether nothing is known to be pending."""
        return bool(self.health()["pending"]["paths"] == 0)

    def scanner(self) -> int:
        """The process id of the scanner."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        for pid in Path(path).read_text().split():
            if "scanner.service" in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
        raise ProcessLookupError("no scanner runs")

    def indexed(self) -> Files:
        """What the index holds: path to (inode, size, mtime_ns)."""
        newest = max(
            self.indexes.glob("artifact-sidecar-*/index-*.db"), key=lambda path: path.stat().st_mtime
        )
        connection = sqlite3.connect(f"file:{newest}?mode=ro", uri=True)
        rows = connection.execute(
            "SELECT path, name, f.inode, size, f.mtime FROM files f JOIN dirs USING(dir)"
        )
        result = {f"{path}/{name}": (inode, size, mtime) for path, name, inode, size, mtime in rows}
        connection.close()
        return result


def walk(root: Path) -> Files:
    """What a fresh walk finds, in the same form."""
    result = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            if stat.S_ISREG(about.st_mode):
                result[os.path.relpath(path, root)] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return result


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> float:
    """Seconds until a condition holds; raises TimeoutError after ``seconds``."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(pause)
    return time.monotonic() - started


def resources(pid: int) -> tuple[float, float]:
    """CPU seconds used so far, and MiB of its own that are resident, of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    return cpu, private / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

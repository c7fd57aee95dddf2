"""A real ``sidecar serve`` for the programs that measure it: started over a data root, asked, and stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
UNDISTURBED = {"SIDECAR_SCAN__RESCAN_SECONDS": 86_400}
"""Settings by which no full reconciliation comes in between."""
Files = dict[str, tuple[int, int, int]]


class Sidecar:
    """Serves ``base/data``, and ``base/pipeline.db`` where it is there; ends with the block.

    Content checks are off unless ``settings``, variables of the environment, say otherwise. The index lies
    where the sidecar chooses, or in ``index``, where :meth:`indexed` can read it. What it prints is in
    ``base/log``. The block begins with its first answer, which came ``first_answer`` seconds after the start.
    """

    def __init__(
        self, base: Path, settings: Mapping[str, object] | None = None, *, index: Path | None = None
    ) -> None:
        self.base, self.root, self.index = base, base / "data", index
        self.port = free_port()
        self.first_answer = 0.0
        self._log = base / "log"
        self._settings = {
            "SIDECAR_DATA__ROOT": self.root,
            "SIDECAR_WEB__HOST": "127.0.0.1",
            "SIDECAR_WEB__PORT": self.port,
            "SIDECAR_VERIFY__CONTENT": "false",
            "SIDECAR_LOG__LEVEL": "warning",
            **self._places(),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes]

    def _places(self) -> Mapping[str, object]:
        places: dict[str, object] = {}
        database = self.base / "pipeline.db"
        if database.exists():
            places["SIDECAR_DATABASE__URL"] = f"sqlite:///{database}"
        if self.index is not None:
            self.index.mkdir(exist_ok=True)
            places["SIDECAR_INDEX__DIRECTORY"] = self.index
        return places

    def __enter__(self) -> Sidecar:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])])
        started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "web.cli", "serve"],
                cwd=self.base,
                env={
                    **kept,
                    "PYTHONPATH": path,
                    **{key: str(value) for key, value in self._settings.items()},
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.until(lambda: get(self.port, "/healthz")[0] == 200, 60)
        except BaseException as error:
            self._end(error)
            raise
        self.first_answer = time.perf_counter() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            error.add_note(self._log.read_text(errors="replace")[-2000:])
        self._process.terminate()
        self._process.wait(30)

    @property
    def pid(self) -> int:
        """The web process."""
        return self._process.pid

    def scanner(self) -> int:
        """The process id of the scanner."""
        for pid in self._children("scanner.service"):
            return pid
        raise ProcessLookupError("no scanner runs")

    def web_processes(self) -> list[int]:
        """The process ids of all that answer requests."""
        return [self.pid, *self._children("web.serving")]

    def _children(self, module: str) -> list[int]:
        path = f"/proc/{self.pid}/task/{self.pid}/children"
        pids = map(int, Path(path).read_text().split())
        return [pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text()]

    def health(self) -> dict[str, Any]:
        """The body of ``/healthz``."""
        body: dict[str, Any] = json.loads(get(self.port, "/healthz")[1])
        return body

    def until(self, condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> float:
        """As the function of that name; raises RuntimeError if the sidecar ends meanwhile."""

        def holds() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError("the sidecar has ended")
            return condition()

        return until(holds, seconds, pause)

    def complete(self, seconds: float = 600) -> float:
        """Wait for the first full scan and database read; returns how long that took."""
        return self.until(lambda: get(self.port, "/readyz")[0] == 200, seconds)

    def settled(self, seconds: float = 120, pause: float = 0.01) -> float:
        """Wait until nothing is known to be missing from the index; returns how long that took."""
        return self.until(lambda: not any(self.health()["pending"].values()), seconds, pause)

    def ready(self, seconds: float = 1200) -> float:
        """Wait until everything is in the index; returns how long that took."""
        return self.complete(seconds) + self.settled(seconds)

    def indexed(self) -> Files:
        """What the index in ``index`` holds: path to (inode, size, mtime_ns)."""
        assert self.index is not None, "no place was given for the index"
        newest = max(self.index.glob("artifact-sidecar-*/index-*.db"), key=lambda path: path.stat().st_mtime)
        with contextlib.closing(sqlite3.connect(f"file:{newest}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT path, name, f.inode, size, f.mtime FROM files f JOIN dirs USING(dir)"
            )
            return {f"{path}/{name}": (inode, size, mtime) for path, name, inode, size, mtime in rows}


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Status, body and entity tag of a GET on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", target, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("ETag") or ""


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> float:
    """Seconds until a condition holds, not yet where a server does not answer; raises TimeoutError."""
    started = time.monotonic()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return time.monotonic() - started
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(pause)


def walk(root: Path) -> Files:
    """What a fresh walk finds, in the form of :meth:`Sidecar.indexed`."""
    result = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            if stat.S_ISREG(about.st_mode):
                result[os.path.relpath(path, root)] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return result


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_memory(pid: int) -> float:
    """MiB of a process that are resident and shared with no other."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024

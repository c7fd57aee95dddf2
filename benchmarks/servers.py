"""Processes that benchmarks ask: the sidecar over a world, and the bare handler beside it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


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


class Sidecar:
    """``sidecar serve`` over ``base/data`` and ``base/pipeline.db``; ends with the block."""

    def __init__(self, base: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.base, self.port = base, free_port()
        self._settings = {
            "SIDECAR_DATA__ROOT": base / "data",
            "SIDECAR_DATABASE__URL": f"sqlite:///{base / 'pipeline.db'}",
            "SIDECAR_WEB__HOST": "127.0.0.1",
            "SIDECAR_WEB__PORT": self.port,
            "SIDECAR_VERIFY__CONTENT": "false",
            "SIDECAR_SCAN__RESCAN_SECONDS": 86_400,
            "SIDECAR_LOG__LEVEL": "warning",
            **(settings or {}),
        }
        self.first_answer = 0.0
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Sidecar:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])])
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "web.cli", "serve"],
            env={**kept, "PYTHONPATH": path, **{key: str(value) for key, value in self._settings.items()}},
            cwd=self.base,
        )
        self._await(lambda: get(self.port, "/healthz")[0] == 200, 60)
        self.first_answer = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ready(self, seconds: float = 1200) -> float:
        """Wait until everything is in the index; returns how long that took."""
        started = time.perf_counter()
        self._await(lambda: get(self.port, "/readyz")[0] == 200, seconds)
        self.settled(seconds)
        return time.perf_counter() - started

    def settled(self, seconds: float = 120) -> None:
        """Wait until nothing is known to be missing from the index."""
        self._await(lambda: not any(self.health()["pending"].values()), seconds)

    def health(self) -> dict[str, Any]:
        """The body of ``/healthz``."""
        body: dict[str, Any] = json.loads(get(self.port, "/healthz")[1])
        return body

    @property
    def pid(self) -> int:
        """The web process."""
        return self._process.pid

    def scanner(self) -> int:
        """The process id of the scanner."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if (
                    int(stat[1]) == self._process.pid
                    and b"scanner.service" in (entry / "cmdline").read_bytes()
                ):
                    return int(entry.name)
        raise LookupError("no scanner is running")

    def _await(self, condition: Any, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            if self._process.poll() is not None:
                raise RuntimeError("the sidecar has ended")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s; {self.health()}")
            time.sleep(0.01)


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def beside(module: str, *arguments: object) -> Iterator[int]:
    """A module run as a program for as long as the block lasts; yields its process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)], stdin=subprocess.PIPE, cwd=REPOSITORY
    )
    try:
        yield process.pid
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


@contextlib.contextmanager
def bare() -> Iterator[tuple[int, int]]:
    """The bare handler; yields its port and process id."""
    port = free_port()
    with beside("benchmarks.bare", port) as pid:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                get(port, "/1")
                break
            time.sleep(0.02)
        yield port, pid

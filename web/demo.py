"""``sidecar demo``: a small real data set in a temporary directory, served while a worker changes it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import http
import http.client
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from scanner.config import Config, WebConfig, load_config
from web.demoworker import Worker
from web.demoworld import World, make_world

HOST = "127.0.0.1"
_CONFIG = """\
# Made by "sidecar demo"; the files lie where the default layout expects them.
[data]
root = "{root}"

[database]
url = "{url}"
poll_seconds = 0.5

[verify]
grace_seconds = 2.0

[web]
host = "127.0.0.1"
port = {port}
"""
_HELLO = """\
The demo is at {address}/ and changes every second; press Ctrl-C to end it. Try:

  curl '{address}/status/job_pillow'
  curl '{address}/jobs/job_pillow/features/summary'
  curl '{address}/jobs/job_pillow/features/video-frames?has=segment&limit=3'

Its files and its configuration are in {directory}; ask why it answers as it does:

  sidecar explain --config {directory}/config.toml p_001_img_0
"""

Serve = Callable[[Config], int]


def run(config: Config, args: argparse.Namespace, serve: Serve) -> int:
    """Make the world, serve it until SIGINT or SIGTERM, and clean up; returns the exit code.

    ``serve`` answers requests until a signal ends it. Of ``config`` only how to log, where to keep the
    index and how to answer count: the files and the database are the demo's own.
    """
    once, keep = getattr(args, "once", False), getattr(args, "keep", False)
    with contextlib.suppress(_Stopped), _stoppable(), _directory(keep or once) as directory:
        port = _chosen_port(getattr(args, "port", None), config.web)
        world = make_world(directory)
        with contextlib.closing(world):
            settings = _settings(config, world, directory, port)
            worker = Worker(world)
            worker.break_each_way()
            if once:
                print(directory, flush=True)
                return 0
            with _working(worker, directory, port):
                return serve(settings)
    return 0


class _Stopped(BaseException):
    """A signal came while nothing was served yet; no handler of ordinary errors may take it."""


def _settings(config: Config, world: World, directory: Path, port: int) -> Config:
    """The configuration of the demo, also written to its directory for ``verify`` and ``explain``."""
    file = directory / "config.toml"
    file.write_text(_CONFIG.format(root=world.root, url=world.url, port=port), encoding="utf-8")
    own = load_config(str(file), environ={})
    web = dataclasses.replace(config.web, host=HOST, port=port)
    return dataclasses.replace(own, web=web, log=config.log, index=config.index)


@contextlib.contextmanager
def _working(worker: Worker, directory: Path, port: int) -> Iterator[None]:
    """Inside, a thread says hello as soon as the demo is served, and then lets the worker work."""
    stopping = threading.Event()

    def work() -> None:
        if _served(port, stopping):
            print(_HELLO.format(address=f"http://{HOST}:{port}", directory=directory), flush=True)
            worker.run(stopping)

    thread = threading.Thread(target=work, name="demo-worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _served(port: int, stopping: threading.Event) -> bool:
    """Wait until the first scan is done; False if the demo ends before."""
    while not stopping.wait(0.1):
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except (OSError, http.client.HTTPException):
            continue  # not there yet; the server itself reports what keeps it from starting
        finally:
            connection.close()
    return False


def _chosen_port(asked: int | None, web: WebConfig) -> int:
    """The port that was asked for; else the usual one, or any free one where that is taken."""
    if asked:
        return asked
    usual = 0 if asked == 0 else web.port
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as exc:
                if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return int(probe.getsockname()[1])
    raise OSError(errno.EADDRINUSE, "no port is free")


@contextlib.contextmanager
def _directory(keep: bool) -> Iterator[Path]:
    """A new temporary directory, removed in the end unless it is to be kept."""
    directory = Path(tempfile.mkdtemp(prefix="sidecar-demo-")).resolve()
    try:
        yield directory
    finally:
        if not keep:
            shutil.rmtree(directory)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Inside, SIGTERM and Ctrl-C raise once, so that what was begun is cleaned up undisturbed."""

    def stop(signum: int, frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise _Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

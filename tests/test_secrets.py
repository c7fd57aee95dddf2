"""The database's password is nowhere: not in the log, in answers, on a terminal or on a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from running import REPOSITORY, Serving, command_of, free_port
from waiting import SECONDS, until

from scanner.database import one_line, parse_url

PASSWORDS = [
    "hunter2word",
    "hun@ter2/w:o%rd",
    "hunter2 w#o?rd",
    "%zzhunter2word",
    "hunter2+word%",
    "'hunter2\\word'",
]


def shapes(password: str) -> set[str]:
    """What must not be seen: the password, and how an address has it."""
    return {password, quote(password), quote(password, safe=""), "ter2", "hunter2"}


def address(password: str, port: int) -> str:
    return f"postgresql://bob:{quote(password, safe='')}@127.0.0.1:{port}/pipeline"


@pytest.mark.parametrize("password", PASSWORDS)
def test_errors_of_the_driver_and_of_sqlalchemy_are_told_without_it(password: str) -> None:
    """Real ones of a connection that is refused, and ones that quote all they were given."""
    url = parse_url(address(password, free_port()))
    found: list[BaseException] = []
    try:
        sa.create_engine(url).connect()
    except sa.exc.OperationalError as error:
        found.append(error)
    try:
        psycopg.connect(f"postgresql://bob:%zz{password}@127.0.0.1/x")
    except psycopg.Error as error:
        found.append(error)
    assert len(found) == 2
    plain = url.render_as_string(hide_password=False)
    quoting = psycopg.OperationalError(f"cannot reach {plain} with password {password}")
    found += [quoting, sa.exc.OperationalError(f"SELECT '{password}'", {"password": password}, quoting)]
    for error in found:
        line = one_line(error, url)
        assert line
        assert "\n" not in line
        assert not any(shape in line for shape in shapes(password) - {"ter2", "hunter2"}), line


def test_a_sidecar_that_fails_to_connect_shows_it_nowhere(tmp_path: Path) -> None:
    """At the most talkative level, with a password that has to be escaped in an address."""
    password = "hun@ter2/w:o%rd"
    (tmp_path / "data").mkdir()
    (tmp_path / "index").mkdir()
    settings = {
        "SIDECAR_DATABASE__URL": address(password, free_port()),
        "SIDECAR_LOG__LEVEL": "debug",
        "SIDECAR_DATABASE__POLL_SECONDS": "0.1",
    }
    with Serving(tmp_path, settings) as serving:
        until(lambda: serving.health()["database"]["error"], "the database cannot be reached")
        answers = [
            serving.get(path).raw.decode() for path in ("/healthz", "/metrics", "/readyz", "/status/x")
        ]
        pids = [serving.process.pid, *serving.children()]
        lines = [command_of(pid) for pid in pids]
    assert "refused" in answers[0]
    events = [json.loads(line) for line in serving.log.splitlines()]  # no terminal reads it
    assert {"debug", "info"} <= {event["level"] for event in events}
    for text in (
        *answers,
        *lines,
        serving.log,
        *spoken(serving, "verify"),
        *spoken(serving, "serve", "--help"),
    ):
        assert not any(shape in text for shape in shapes(password)), text


def spoken(serving: Serving, *arguments: str) -> tuple[str, str]:
    """What a command prints under the same settings."""
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **serving.settings},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout or done.stderr
    return done.stdout, done.stderr

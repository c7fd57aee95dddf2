"""The README and config.toml name every key, route, kind and command that there is, and nothing else."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_metrics import SNAPSHOT

from scanner.board import Board
from scanner.config import Config, all_keys, load_config
from scanner.records import Kind
from web.app import ROUTES
from web.healthwire import Health
from web.metrics import Metrics

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
CI = (HERE / ".ci" / "run").read_text(encoding="utf-8")
OPEN_TABLES = {"database.path_map"}  # tables of free keys
NOT_YET: set[str] = set()


def section(title: str) -> str:
    """The text below a heading that begins so, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found is not None, f"no section {title}"
    return found[1]


def first_column(text: str) -> list[str]:
    """What stands in backticks in the first column of the tables."""
    return re.findall(r"^\| `([^`]+)`", text, re.M)


def commands(text: str) -> list[str]:
    """The lines of the shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def flattened(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tables.items():
        if isinstance(value, dict) and prefix + name not in OPEN_TABLES:
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def test_the_readme_describes_every_key_and_no_other() -> None:
    assert sorted(first_column(section("Configuration"))) == sorted(all_keys())


def test_the_shipped_configuration_holds_every_key() -> None:
    shipped = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    assert sorted(flattened(shipped)) == sorted(all_keys())


def test_the_shipped_configuration_says_the_defaults() -> None:
    assert load_config(str(HERE / "config.toml"), environ={}) == Config()


def test_the_examples_of_configuration_are_accepted(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", README, re.M | re.S)
    assert len(examples) == 3
    for example in examples:
        (tmp_path / "config.toml").write_text(example, encoding="utf-8")
        load_config(str(tmp_path / "config.toml"), environ={})  # raises ConfigError for any mistake


def test_the_readme_lists_every_route_and_no_other() -> None:
    served = {route.pattern.replace("*}", "}") for route in ROUTES}
    assert served - NOT_YET == {path for path in first_column(section("Endpoints")) if path.startswith("/")}


def test_every_route_has_a_curl_that_fits_it() -> None:
    rows = re.findall(
        r"^\| `(/[^`]*)` \|.*\| `curl [^`]*\"\$B(/[^\"?]*)[^`]*` \|$", section("Endpoints"), re.M
    )
    assert len(rows) == len(ROUTES) - len(NOT_YET)
    for path, example in rows:
        pattern = re.sub(r"\{path\}", ".+", path)
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), example), (path, example)


def test_the_readme_explains_every_kind_of_finding() -> None:
    assert first_column(section("What is wrong")) == list(Kind)


def test_the_readme_names_every_metric_with_its_labels(tmp_path: Path) -> None:
    with contextlib.closing(Board.create(tmp_path / "board")) as board:
        board.publish(SNAPSHOT)
        metrics = Metrics(board)
        metrics.observe("/jobs", 200, 0.1)
        exposed = dict(labelled(metrics.render().decode()))
    column = " ".join(re.findall(r"^\| (`[^|]*) \|", section("In numbers"), re.M))
    named = {
        name.removesuffix("_total"): set(filter(None, labels.split(",")))
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", column)
    }
    assert named == exposed


def labelled(text: str) -> Iterator[tuple[str, set[str]]]:
    """The sidecar's own metrics with the names of their labels."""
    for family in text_string_to_metric_families(text):
        if family.name.startswith("sidecar_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            yield family.name.removeprefix("sidecar_"), labels


def test_the_readme_names_only_what_healthz_has_and_all_that_needs_words() -> None:
    named = set(first_column(section("Is it well")))
    assert set(Health.__struct_fields__) - named == {
        "status",
        "ready",
        "version",
        "problems",
        "index",
    }
    assert named <= set(Health.__struct_fields__)


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    trial, tests = (line for line in commands(README) if line.startswith("python3 -m venv"))
    assert trial.endswith(".venv/bin/sidecar demo")
    test = tests.rpartition(".venv/bin/")[2]
    assert test == CI.strip().splitlines()[-1]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`sidecar (\w+)[^`]*`", README))))
def test_every_command_that_the_readme_names_exists(command: str) -> None:
    program = "import sys; from web.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=HERE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout

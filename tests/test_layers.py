"""Imports run downwards: the web may use the scanner, never the reverse, and there is no cycle."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
PACKAGES = ("scanner", "web")
# What an installation without extras has, by the names under which it is imported.
INSTALLED = {
    "apsw",
    "msgspec",
    "numpy",
    "PIL",
    "prometheus_client",
    "psycopg",
    "rich",
    "sqlalchemy",
    "tornado",
    "watchdog",
}


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    return {
        ".".join(path.relative_to(HERE).with_suffix("").parts): path
        for package in PACKAGES
        for path in sorted((HERE / package).rglob("*.py"))
    }


MODULES = modules()


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it; ``from a import b`` is ``a`` and ``a.b``.

    What only a type checker sees does not count.
    """
    for node in ast.walk(_Running().visit(ast.parse(source))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _Running(ast.NodeTransformer):
    """Takes ``if TYPE_CHECKING:`` out of a module."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return [self.visit(child) for child in node.orelse] if checking else self.generic_visit(node)


IMPORTS = {name: set(imported(path.read_text(encoding="utf-8"))) for name, path in MODULES.items()}


def test_the_reading_of_imports_finds_them_wherever_they_are() -> None:
    source = (
        "import a.b\ndef f():\n    from c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
    )
    assert set(imported(source)) == {"a.b", "c", "c.d", "f"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("scanner")])
def test_the_scanner_does_not_know_the_web(module: str) -> None:
    foreign = {name for name in IMPORTS[module] if name.split(".")[0] in ("web", "tornado")}
    assert foreign == set()


def test_modules_import_one_another_without_a_cycle() -> None:
    graph = {name: {known for known in names if known in MODULES} for name, names in IMPORTS.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_that_an_installation_does_not_have(module: str) -> None:
    roots = {name.split(".")[0] for name in IMPORTS[module]}
    assert roots <= INSTALLED | set(PACKAGES) | sys.stdlib_module_names

"""Which keys the configuration has, their variables, and what is said about a name that is none."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from scanner.configvalues import guess
from scanner.settings import Config

PREFIX = "SIDECAR_"
_NO_KEYS = {"layout.products.fps"}  # only frames follow one another in time
PATTERN_KEYS = ("image", "segment", "embedding", "keypoints")


def _keys(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a section: its dotted name and its type."""
    hints = typing.get_type_hints(type(section))
    for field in dataclasses.fields(section):
        name, value = prefix + field.name, getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys(value, f"{name}.")
        elif name not in _NO_KEYS:
            yield name, hints[field.name]


TYPES: dict[str, Any] = dict(_keys(Config()))
TABLES = {key[:at] for key in TYPES for at, letter in enumerate(key) if letter == "."}
SINGLE = {key for key in TYPES if key.startswith("layout.") and key.endswith(PATTERN_KEYS)}


def all_keys() -> tuple[str, ...]:
    """Every key by its dotted name (``web.port``), in the order of the sections."""
    return tuple(TYPES)


def variable_of(key: str) -> str:
    """The environment variable that overrides a key: ``SIDECAR_WEB__PORT`` for ``web.port``."""
    return PREFIX + key.upper().replace(".", "__")


def unknown_key(prefix: str, name: str) -> str:
    """A name that a table does not know, and what may have been meant."""
    known = [key for key in (*TYPES, *sorted(TABLES)) if key.startswith(prefix)]
    siblings = list(dict.fromkeys(key[len(prefix) :].split(".")[0] for key in known))
    hint = guess(name, siblings)
    if not hint:
        elsewhere = [key for key in TYPES if key.rpartition(".")[2] == name]
        hint = f" (did you mean {' or '.join(elsewhere)}?)" if elsewhere else ""
    table = f"[{prefix[:-1]}]" if prefix else "the file"
    return f"{prefix}{name}: found an unknown key{hint}, allowed in {table} are {', '.join(siblings)}"


def unknown_variable(name: str, variables: Mapping[str, str]) -> str:
    """A variable that overrides no key, and what may have been meant."""
    table = name.removeprefix(PREFIX).lower().replace("__", ".")
    if table in TABLES:
        inside = ", ".join(variable for variable, key in variables.items() if key.startswith(f"{table}."))
        return f"found a variable for the table {table}, allowed are {inside}"
    hint = guess(name, variables)
    return f"found a variable for no key{hint}, allowed is {PREFIX}<TABLE>__<KEY> for a key of the file"

"""Values gathered from a file and from variables, and every problem that they have."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from scanner import configpatterns as patterns
from scanner import configrules as rules
from scanner.configkeys import (
    PATTERN_KEYS,
    PREFIX,
    SINGLE,
    TABLES,
    TYPES,
    unknown_key,
    unknown_variable,
    variable_of,
)
from scanner.configvalues import BadValue, Strings, from_text, from_toml, kind, shown
from scanner.pattern import encodable
from scanner.redaction import one_line
from scanner.settings import AssetLayoutConfig, Config

_SECRET = {"database.url"}
_NOT_SHOWN = "found no string (and it is not shown, as it may hold a password), allowed is a string"


class _Comparison(NamedTuple):
    """A check over several keys; its lines are about the first of them."""

    keys: tuple[str, ...]
    check: Callable[[Config], Iterator[str]]


class Loading:
    """The values that were given and where, and the problems found so far."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []
        self._origins: dict[str, str] = {}
        self._bad: set[str] = set()

    def take_tables(self, tables: Mapping[str, Any], origin: str, prefix: str = "") -> None:
        """The keys of a file's tables."""
        for name, value in tables.items():
            key = prefix + name
            if "." in name or key not in TABLES | TYPES.keys():
                self.problems.append(f"{origin}: {unknown_key(prefix, name)}")
            elif key in TYPES:
                self._take(key, origin, partial(from_toml, value, TYPES[key], key in SINGLE))
            elif isinstance(value, dict):
                self.take_tables(value, origin, f"{key}.")
            else:
                self.problems.append(f"{origin}: {key}: found {_type_only(value)}, allowed is a table")

    def take_variables(self, environ: Mapping[str, str]) -> None:
        """The variables that override keys; two underscores in a row tell them from all others."""
        variables = {variable_of(key): key for key in TYPES}
        for name in sorted(environ):
            if not name.startswith(PREFIX) or "__" not in name:
                continue
            key = variables.get(name)
            if key is None:
                self.problems.append(f"{one_line(name)}: {unknown_variable(name, variables)}")
            else:
                self._take(key, name, partial(from_text, environ[name], TYPES[key]))

    def _take(self, key: str, origin: str, convert: Callable[[], Any]) -> None:
        try:
            value = convert()
        except BadValue as exc:
            complaints = [_NOT_SHOWN if key in _SECRET else str(exc)]
        else:
            complaints = list(_complaints(key, value))
        self.problems += [f"{origin}: {key}: {complaint}" for complaint in complaints]
        self._origins[key] = origin
        if complaints:
            self._bad.add(key)
        else:
            self.values[key] = value

    def compare(self, config: Config) -> None:
        """The checks that need several keys, where each of these is good by itself."""
        for keys, check in _comparisons():
            if self._bad.isdisjoint(keys):
                given = [key for key in keys if key in self._origins]
                origin = self._origins[given[0]] if given else "the defaults"
                key = keys[0] if keys[0] in given else f"{keys[0]} (its default)"
                self.problems += [f"{origin}: {key}: {complaint}" for complaint in check(config)]


def _complaints(key: str, value: Any) -> Iterator[str]:
    if not _encodable(value):
        yield f"found {shown(value)}, allowed is text that can be written as UTF-8"
    elif key in rules.CHECKS:
        yield from rules.CHECKS[key](value)


def _encodable(value: Any) -> bool:
    if isinstance(value, str):
        return encodable(value)
    return not isinstance(value, tuple) or all(_encodable(item) for item in value)


def _type_only(value: object) -> str:
    """A value where a table belongs: what it says might be a password."""
    return "a string" if isinstance(value, str) else kind(value)


def _comparisons() -> Iterator[_Comparison]:
    yield _Comparison(("web.default_limit", "web.max_limit"), rules.limits)
    yield _Comparison(("index.directory", "data.root"), rules.index_outside)
    for name, owner in (("frames", "video_id"), ("products", "product_id")):
        yield from _layout_comparisons(name, owner)


def _layout_comparisons(name: str, owner: str) -> Iterator[_Comparison]:
    image, template = f"layout.{name}.image", f"layout.{name}.id"

    def section(config: Config) -> AssetLayoutConfig:
        return typing.cast(AssetLayoutConfig, getattr(config.layout, name))

    def owners(config: Config) -> Iterator[str]:
        return iter(()) if config.database.url else patterns.owner_named(section(config), owner)

    yield _Comparison((image, "database.url"), owners)
    yield _Comparison((template, image), lambda config: patterns.id_fits(section(config)))
    for feature in PATTERN_KEYS[1:]:

        def artifacts(config: Config, feature: str = feature) -> Iterator[str]:
            texts: Strings = getattr(section(config), feature)
            return patterns.artifact_fits(section(config), texts)

        yield _Comparison((f"layout.{name}.{feature}", image, template), artifacts)

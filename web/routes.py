"""Patterns of paths, and finding the one that a path fits.

A pattern is a path with names in braces, each for one segment: ``/status/{job_id}``. A last name with a
star takes the rest of the path: ``/files/{path*}``. Segments are split before they are percent-decoded,
so a ``%2F`` is part of a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from web.base import Endpoint


class Route(NamedTuple):
    """A pattern and the class that answers it."""

    pattern: str
    endpoint: type[Endpoint]


class Target(NamedTuple):
    """A route that is ready to answer."""

    pattern: str
    endpoint: Endpoint


@dataclass(slots=True)
class _Node:
    target: Target | None = None
    fixed: dict[str, _Node] = field(default_factory=dict)
    named: _Node | None = None
    rest: Target | None = None


class Router:
    """A tree of segments: finding a route takes as many steps as the path has segments."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._root = _Node()
        for target in targets:
            self._add(target)

    def _add(self, target: Target) -> None:
        node = self._root
        for part in target.pattern[1:].split("/"):
            if part.endswith("*}"):
                node.rest = target
                return
            if part.startswith("{"):
                node.named = node.named or _Node()
                node = node.named
            else:
                node = node.fixed.setdefault(part, _Node())
        node.target = target

    def find(self, path: str) -> tuple[Target, list[str]] | None:
        """The route of a raw path and the decoded names in it; None where nothing fits."""
        if not path.startswith("/"):
            return None
        try:
            parts = [decode_segment(part) for part in path[1:].split("/")]
        except UnicodeDecodeError:
            return None
        return self._walk(parts)

    def _walk(self, parts: list[str]) -> tuple[Target, list[str]] | None:
        node = self._root
        names: list[str] = []
        for position, part in enumerate(parts):
            following = node.fixed.get(part)
            if following is None:
                if node.rest is not None:
                    return node.rest, [*names, "/".join(parts[position:])]
                if node.named is None or not part:
                    return None
                names.append(part)
                following = node.named
            node = following
        return None if node.target is None else (node.target, names)


def decode_segment(raw: str) -> str:
    """Percent-decode a segment; raises ``UnicodeDecodeError`` where it is not UTF-8."""
    if raw.isascii() and "%" not in raw:
        return raw
    return unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")

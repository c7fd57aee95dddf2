"""How a path in the pipeline database becomes a path below the data root, by its text alone.

A prefix of ``path_map`` is replaced first, relative paths are joined to the data root, and ``.``, ``..`` and
``//`` are then resolved lexically: the disk is never asked, so that a dead mount cannot hold up the mirror.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice, takewhile
from typing import NamedTuple

import numpy as np

from scanner.pattern import WILDCARD, encodable

_CACHE_SIZE = 50_000
_SLASH, _DOT, _NEWLINE = b"/.\n"
_ODD_STARTS = ("\n/", "\n.", "\n\n")  # of relative claims: absolute, hidden or upwards, empty


class Form(NamedTuple):
    """A way in which plain claims are written: behind ``prefix`` stands what lies in ``folder``.

    Both are empty or end with a slash; ``folder`` is relative to the data root.
    """

    prefix: str
    folder: str

    def written(self, path: str) -> str | None:
        """How a path below the data root is claimed in this form, None where it cannot be."""
        return self.prefix + path[len(self.folder) :] if path.startswith(self.folder) else None

    def resolved(self, claimed: Iterable[str]) -> list[str]:
        """What claims in this form mean."""
        length, folder = len(self.prefix), self.folder
        return [folder + claim[length:] for claim in claimed]


class ClaimPaths:
    """Resolves claimed paths; remembers the directories it has seen. For one thread.

    ``root`` is the data root as configured. ``path_map`` maps a prefix as the pipeline writes it to where
    that lies here; a prefix ends where a part of the path ends (``/app/data`` is no prefix of
    ``/app/database``), and the longest that fits counts.
    """

    def __init__(self, root: str, path_map: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._root = _without_dots(_parts(os.path.abspath(root)))
        pairs = path_map.items() if isinstance(path_map, Mapping) else path_map
        self._map = {_parts(prefix): self._joined(_parts(target)) for prefix, target in pairs}
        self._lengths = sorted({len(prefix) for prefix in self._map}, reverse=True)
        # A name that ends a prefix may be replaced itself; every other name stays what it is.
        self._special = {"", ".", ".."} | {prefix[-1] for prefix in self._map if prefix}
        self._plain = next(name for n in count(1) if (name := "x" * n) not in self._special)
        self._folders: dict[str, str | None] = {}
        self._forms = self._plain_forms()

    def resolve(self, claimed: str) -> str | None:
        """The path relative to the data root, or None where the claim lies outside.

        Outside is also the data root itself, and what no path can be: text with a NUL or a lone surrogate.
        """
        cut = claimed.rfind("/") + 1
        name = claimed[cut:]
        if name in self._special:
            return self._resolve(claimed)
        head = claimed[:cut]
        try:
            folder = self._folders[head]
        except KeyError:
            folder = self._remember(head)
        if folder is None or WILDCARD in name or not encodable(name):
            return None
        return folder + name

    def resolve_all(self, claimed: Sequence[str]) -> list[str | None]:
        """``resolve`` for each of many claims.

        Mostly all begin alike and hold nothing to resolve, which is quickly seen.
        """
        form = self.form_of(claimed)
        return [self.resolve(claim) for claim in claimed] if form is None else [*form.resolved(claimed)]

    def form_of(self, claimed: Sequence[str], narrower: Iterable[Form] = ()) -> Form | None:
        """The form in which all of the claims are written, None where they have to be resolved one by one.

        It is seen in one look at their joined text. ``narrower`` are forms to try first: others that this
        has answered, with a longer prefix.
        """
        if not claimed:
            return None
        usual = (form for form in self._forms if claimed[0].startswith(form.prefix))
        fitting = [form for form in narrower if claimed[0].startswith(form.prefix)]
        lines = "\n".join(claimed)
        for form in (*fitting, *islice(usual, 1)):
            if _is_plain(lines, form.prefix, len(claimed)):
                return form
        return None

    def _plain_forms(self) -> list[Form]:
        """Forms with prefixes behind which a claim stays as it is, longest first."""
        tail = f"{self._plain}/{self._plain}"
        found = []
        for parts in {self._root, ("/",), (), *self._map}:
            prefix = _prefix(parts)
            inside = self._resolve(prefix + tail)
            if inside is not None and not any(_goes_on(parts, key) for key in self._map):
                found.append(Form(prefix, inside.removesuffix(tail)))
        return sorted(found, key=lambda form: len(form.prefix), reverse=True)

    def _remember(self, head: str) -> str | None:
        """What to put before a name behind ``head``; None where nothing behind it lies below the root."""
        if len(self._folders) >= _CACHE_SIZE:
            self._folders.clear()
        inside = self._resolve(head + self._plain)
        folder = None if inside is None else inside.removesuffix(self._plain)
        self._folders[head] = folder
        return folder

    def _resolve(self, claimed: str) -> str | None:
        if WILDCARD in claimed or not encodable(claimed):
            return None
        parts = _without_dots(self._mapped(_parts(claimed)))
        depth = len(self._root)
        if len(parts) <= depth or parts[:depth] != self._root:
            return None
        return "/".join(parts[depth:])

    def _mapped(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """The absolute parts of a claim: its longest mapped prefix replaced, or joined to the root."""
        for length in self._lengths:
            target = self._map.get(parts[:length])
            # An empty prefix stands for the relative claims.
            if target is not None and (length or parts[:1] != ("/",)):
                return target + parts[length:]
        return self._joined(parts)

    def _joined(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        return parts if parts[:1] == ("/",) else self._root + parts


def _parts(path: str) -> tuple[str, ...]:
    """The parts of a path without empty ones and ``.``; those of an absolute path begin with ``/``."""
    parts = tuple([part for part in path.split("/") if part and part != "."])
    return ("/", *parts) if path.startswith("/") else parts


def _prefix(parts: tuple[str, ...]) -> str:
    """The text with which claims begin that have these parts and more."""
    return "".join(part if part == "/" else part + "/" for part in parts)


def _goes_on(parts: tuple[str, ...], longer: tuple[str, ...]) -> bool:
    """Whether claims that begin with ``longer`` begin with ``parts`` too."""
    return len(longer) > len(parts) and longer[: len(parts)] == parts and (parts != () or longer[0] != "/")


def _is_plain(lines: str, prefix: str, count: int) -> bool:
    """Whether ``count`` claims, one a line, begin with ``prefix`` and have nothing to resolve behind it."""
    if WILDCARD in lines or not encodable(lines) or lines.endswith(("/", "\n")):
        return False
    if not prefix and (lines[:1] in ("/", ".", "\n", "") or any(odd in lines for odd in _ODD_STARTS)):
        return False
    if lines.count("\n" + prefix) != count - 1:
        return False
    # A search for two characters stops at each "/": to look at all of them at once takes a tenth.
    text = np.frombuffer(lines.encode(), np.uint8)
    if np.count_nonzero(text == _NEWLINE) != count - 1:
        return False
    behind = text[1:]
    odd = (behind == _SLASH) | (behind == _DOT) | (behind == _NEWLINE)
    return not bool((odd & (text[:-1] == _SLASH)).any())


def _without_dots(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Absolute parts with each ``..`` resolved; there is nothing above ``/``."""
    if ".." not in parts:
        return parts
    kept: list[str] = []
    for part in parts:
        if part != "..":
            kept.append(part)
        elif len(kept) > 1:
            kept.pop()
    return tuple(kept)


# --- naming a prefix that is not mounted ------------------------------------------------------------


def first_parts(claimed: str, count: int = 1) -> str:
    """The first ``count`` directories of a claimed path: what claims are grouped by to find a wrong prefix.

    ``/app/data/x.jpg`` gives ``/app``, then ``/app/data``; the last part is a file's name and never counts.
    """
    slash = "/" if claimed.startswith("/") else ""
    return slash + "/".join(claimed[len(slash) :].split("/")[:-1][:count])


def common_prefix(paths: Iterable[str]) -> str:
    """The longest directory that all claimed paths lie in: whole parts, ``""`` where there is none."""
    folders = (path.rpartition("/")[0].split("/") if "/" in path else [] for path in paths)
    shared = next(folders, [])
    for folder in folders:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(shared, folder, strict=False))
        shared = [part for part, _ in same]
    return "/" if shared == [""] else "/".join(shared)

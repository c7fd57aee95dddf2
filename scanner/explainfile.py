"""Which file is meant, and what can be said of it before any pattern or row is asked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from scanner.explainscope import NOT_THERE, Scope
from scanner.listing import Lister, Listing
from scanner.pattern import encodable
from scanner.tree import split


def located(root: str, target: str, cwd: str) -> str | None:
    """The path below the data root that a target names by its text or on disk, None where it names none."""
    real = os.path.realpath(root)
    found: list[str] = []
    for base in (root, cwd):
        absolute = os.path.normpath(os.path.join(base, target))
        tops = [top.rstrip("/") + "/" for top in (root, real)]
        found.extend(absolute[len(top) :] for top in tops if absolute.startswith(top))
    there = [path for path in found if os.path.lexists(os.path.join(root, path))]
    if there:
        return there[0]
    return found[0] if found and target.startswith("/") else None


class FileTeller:
    """Tells where files lie and whether a listing shows them; ``ignore`` is ``scan.ignore``."""

    def __init__(self, lister: Lister, scope: Scope, ignore: Sequence[str]) -> None:
        self._lister = lister
        self._scope = scope
        self._ignore = ignore

    def lines(self, path: str) -> Iterator[str]:
        """What the path itself and the file at its end are."""
        folder, name = split(path)
        if not encodable(path):
            yield "the path is not valid UTF-8: it is skipped, and counted in /healthz"
        if self._lister.is_ignored(name):
            yield f"the name matches scan.ignore ({', '.join(self._ignore)}): it is not there"
        reason = self._scope.unreachable(folder)
        root = self._scope.roots.of(folder)
        if reason is None and root is not None:
            yield f"below the root {self._lister.absolute(root.path)}"
        elif reason is not None:
            yield f"not looked at: {reason}"
        if root is not None and not root.available:
            yield f"the root {self._lister.absolute(root.path)} is unavailable: {root.reason}"
        yield from self._file_lines(path)

    def _file_lines(self, path: str) -> Iterator[str]:
        where = self._lister.absolute(path)
        try:
            about = os.lstat(where)
            if stat.S_ISLNK(about.st_mode):
                yield f"a symbolic link to {Path(where).readlink()}"
                if not self._is_shown(path):
                    yield "what it points to is no regular file below the data root: it is not there"
                about = os.stat(where)
        except OSError as error:
            if error.errno in NOT_THERE:
                yield "there is no such file on disk"
            self._scope.note(path, error.errno)
            return
        if stat.S_ISREG(about.st_mode):
            size = "size 0: as far as every list is concerned it is not there"
            yield f"a regular file, {about.st_size} bytes" if about.st_size else f"a regular file of {size}"
        else:
            kind = "a folder" if stat.S_ISDIR(about.st_mode) else "no regular file"
            yield f"{kind}: only regular files are indexed"

    def _is_shown(self, path: str) -> bool:
        """Whether a listing of its folder shows the file."""
        folder, name = split(path)
        look = self._lister.look(folder, frozenset({name}))
        entry = look.files.get(name) if isinstance(look, Listing) else None
        return entry is not None

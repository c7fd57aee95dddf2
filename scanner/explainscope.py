"""What has to be looked at to explain one file or asset: the assets around it, and their files.

Only the folders in which a candidate can lie are listed; a folder tree is walked only where an id does not
tell all the names of its image's pattern.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import cached_property

from scanner.claims import Key
from scanner.config import Config
from scanner.explainpatterns import image_folders
from scanner.index import Index
from scanner.listing import GONE, Lister, Listing, Unreadable
from scanner.pattern import encodable, is_exact, key_directory
from scanner.placing import key_of
from scanner.records import ARTIFACTS, AssetType, Feature
from scanner.roots import Roots
from scanner.tree import join, split

NOT_THERE = GONE | {errno.ENAMETOOLONG}
"""What says that no file has a path; one that an id or a row makes too long can have none."""

MOST_ASSETS = 200
"""How many assets around one file are looked at: thousands of rows may name one and the same file."""


class Scope:
    """Gathers ``keys`` (assets) and ``paths`` (of their files, there or not) around what is asked for."""

    def __init__(self, config: Config, index: Index, lister: Lister) -> None:
        self._config = config
        self._index = index
        self._lister = lister
        self._names: dict[str, list[str]] = {}
        self._waiting: list[Key] = []
        self.keys: dict[Key, None] = {}
        self.paths: set[str] = set()
        self.cut = False
        self.failed: dict[str, str] = {}

    @cached_property
    def roots(self) -> Roots:
        """The roots as the patterns and the rows name them, looked at once."""
        roots = Roots(self._lister, self._index.layout.roots, self._index.claimed_below)
        roots.claim(self._index.claims.folders)
        roots.check()
        return roots

    def add_path(self, path: str) -> None:
        """Take in a file, the assets whose rows name it, and those that the patterns see in it."""
        if path in self.paths:
            return
        self.paths.add(path)
        for type, id, _ in self._index.claims.naming([path]).get(path, ()):
            self.add_key((type, id))
        layout = self._index.layout
        for place in dict.fromkeys((*layout.classify(path), *layout.classify(path, images=False))):
            self.add_key(key_of(place, path))
            if place.asset_id is None and place.feature is not Feature.IMAGE:
                self._add_images_of(place.type, place.feature, place.key)

    def add_key(self, key: Key) -> None:
        """Take in an asset and everything that can be its image or one of its artifacts."""
        if key in self.keys:
            return
        if len(self.keys) >= MOST_ASSETS:
            self.cut = True
            return
        self.keys[key] = None
        self._waiting.append(key)

    def close(self) -> None:
        """Follow what was taken in until nothing is new."""
        while self._waiting:
            self._follow(self._waiting.pop())

    def _follow(self, key: Key) -> None:
        type, id = key
        row = self._index.claims.rows(type, [id]).get(id)
        claimed = self._index.claims.located(row) if row is not None else ()
        sources: list[str | None] = [None, *self.images(key)]
        if claimed and (claim := claimed[Feature.IMAGE]) is not None:
            sources.append(claim.path)
        for path in self._index.claims.paths_of(row):
            self.add_path(path)
        for source in dict.fromkeys(sources):
            if source is not None:
                self.add_path(source)
            for path in self._artifacts(type, id, source):
                self.add_path(path)

    def images(self, key: Key) -> list[str]:
        """The files on disk in which the patterns see the image of an asset."""
        type, id = key
        found: dict[str, None] = {}
        for folder, deep in dict.fromkeys(image_folders(self._config, type, id)):
            for path in self._files(folder, deep=deep):
                names = self._index.layout.image_names(type, path)
                if names is not None and names.asset_id == id:
                    found[path] = None
        return list(found)

    def _artifacts(self, type: AssetType, id: str, source: str | None) -> Iterator[str]:
        """The paths at which the patterns look for an asset's artifacts, by the names in its image's path."""
        for feature in ARTIFACTS:
            for key in self._index.layout.keys_by_image(type, feature, id, source):
                if is_exact(key):
                    yield key
                else:
                    yield from self._instances(key)

    def _instances(self, key: str) -> Iterator[str]:
        for path in self._files(key_directory(key), deep=False):
            if self._index.layout.match_key(key, path) is not None:
                yield path

    def _add_images_of(self, type: AssetType, feature: Feature, key: str) -> None:
        """Images that look for an artifact at ``key``, where the artifact's path does not name the asset."""
        layout = self._index.layout
        for folder in layout.roots:
            for path in self._files(folder, deep=True):
                names = layout.image_names(type, path)
                if names is None or names.asset_id is None:
                    continue
                if key in layout.artifact_keys(type, feature, names.asset_id, names.names):
                    self.add_path(path)

    # --- the disk ------------------------------------------------------------------------------------

    def _files(self, folder: str, *, deep: bool) -> Iterator[str]:
        """The names in a folder that are no folders themselves, with ``deep`` also those below it."""
        for name in self._listed(folder):
            path = join(folder, name.rstrip("/"))
            if not name.endswith("/"):
                yield path
            elif deep:
                yield from self._files(path, deep=True)

    def _listed(self, folder: str) -> list[str]:
        """The names in a folder, those of folders with a slash behind; none where it is not looked into."""
        known = self._names.get(folder)
        if known is None:
            known = self._names[folder] = [] if self.unreachable(folder) else self._scan(folder)
        return known

    def _scan(self, folder: str) -> list[str]:
        names = []
        try:
            with os.scandir(self._lister.absolute(folder)) as entries:
                for entry in entries:
                    if self._lister.is_ignored(entry.name) or not encodable(entry.name):
                        continue
                    linked = not folder and entry.name in self.roots.all
                    names.append(entry.name + "/" * entry.is_dir(follow_symlinks=linked))
        except OSError as error:
            self.note(folder, error.errno)
            return []
        return sorted(names)

    def unreachable(self, folder: str) -> str | None:
        """Why the sidecar does not look into a folder, None where it does."""
        root = self.roots.of(folder)
        if root is None:
            return f"{folder or 'the data root'} does not lie below a folder that a pattern or a row names"
        above = ""
        for name in folder.split("/") if folder else ():
            above = join(above, name)
            if not encodable(name):
                return f"the name of the folder {above} is not UTF-8"
            if self._lister.is_ignored(name):
                return f"the name of the folder {above} matches scan.ignore"
            if above != root.path and os.path.islink(self._lister.absolute(above)):
                return f"{above} is a symbolic link to a folder, which is not followed"
        return None

    def apply(self) -> None:
        """Make the index hold what is at ``paths`` now; what cannot be read is added to ``failed``."""
        folders: dict[str, set[str]] = {}
        for path in self.paths:
            folder, name = split(path)
            folders.setdefault(folder, set()).add(name)
        for folder, names in sorted(folders.items()):
            root = self.roots.of(folder)
            if root is not None and not root.available:
                self.failed[root.path] = root.reason or ""
            elif not self.unreachable(folder):
                self._apply(folder, frozenset(names))

    def _apply(self, folder: str, names: frozenset[str]) -> None:
        look = self._lister.look(folder, names)
        if isinstance(look, Unreadable):
            self.note(folder, look.errno)
        elif isinstance(look, Listing):
            self._index.apply(look, lambda path, entry: False)
            for name, number in look.unreadable.items():
                self.note(join(folder, name), number)

    def note(self, path: str, number: int | None) -> None:
        """Remember that a path could not be looked at, unless the error says that nothing is there."""
        if number not in NOT_THERE:
            self.failed[path] = os.strerror(number or errno.EIO)

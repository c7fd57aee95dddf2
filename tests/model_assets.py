"""The first half of the model: a directory and rows of a database → which assets and files there are.

Part of :mod:`model`; nothing here knows how the product does it. Written to be read beside the
specification, slowly and sentence by sentence; worlds of some sixty files are what it is for.
"""

from __future__ import annotations

import copy
import fnmatch
import math
import os
import posixpath
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

FRAME = "video_frame"
PRODUCT = "product_image"
KINDS = (PRODUCT, FRAME)
TAKERS = (FRAME, PRODUCT)  # the order in which equally literal patterns take a file
ARTIFACTS = ("segment", "embedding", "keypoints")
TABLES = {FRAME: "video_frames", PRODUCT: "product_images"}
ID_COLUMNS = {FRAME: "frame_id", PRODUCT: "img_id"}
OWNERS = {FRAME: "video_id", PRODUCT: "product_id"}
SECTIONS = {FRAME: "frames", PRODUCT: "products"}

DEFAULTS: dict[str, Any] = {
    "data": {"root": "/data"},
    "layout": {
        "extensions": ["jpg", "jpeg", "png", "webp"],
        "frames": {
            "image": ["frames/{video_id}/{frame}.{ext}"],
            "id": "{video_id}_frame_{frame}",
            "segment": ["frames/{video_id}/{frame}/seg.png"],
            "embedding": ["frames/{video_id}/{frame}/emb.bin"],
            "keypoints": ["frames/{video_id}/{frame}/kp.bin"],
            "fps": 0.0,
        },
        "products": {
            "image": ["products/{product_id}/{image}.{ext}"],
            "id": "{product_id}_img_{image}",
            "segment": ["products/{product_id}/{image}/seg.png"],
            "embedding": ["products/{product_id}/{image}/emb.bin"],
            "keypoints": ["products/{product_id}/{image}/kp.bin"],
        },
    },
    "jobs": {"default": "local"},
    "database": {
        "timezone": "UTC",
        "path_map": {},
        "columns": {"segment": "seg_mask_path", "embedding": "emb_rgb", "keypoints": "kp_blob_path"},
    },
    "scan": {"ignore": [".*", "*.tmp", "*.part", "*.partial", "*~"]},
    "verify": {
        "content": True,
        "stale_seconds": 1.0,
        "segment": {"check": "content", "size": "image"},
        "embedding": {"check": "content", "dtype": "float32", "dim": 512},
        "keypoints": {"check": "content", "dtype": "float32", "columns": 3},
    },
    "web": {"utc_offset": "+07:00", "default_limit": 20, "max_limit": 1000, "include": []},
}


def merged(settings: Mapping[str, Any], defaults: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
    """``settings`` laid over the defaults, table by table."""
    result = copy.deepcopy(dict(defaults))
    for key, value in settings.items():
        known = result.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict):
            result[key] = merged(value, known)
        else:
            result[key] = value
    return result


# --- patterns ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """One pattern of the layout; ``position`` is its place among those of its kind and feature."""

    text: str
    kind: str
    feature: str
    position: int
    extensions: tuple[str, ...]

    @cached_property
    def parts(self) -> list[str]:
        """Literals at even places, names at odd ones."""
        return re.split(r"\{([A-Za-z_]\w*)\}", self.text)

    @cached_property
    def literals(self) -> int:
        return sum(len(literal) for literal in self.parts[::2])

    @property
    def names(self) -> set[str]:
        return set(self.parts[1::2])

    @property
    def first_folder(self) -> str:
        """The literal first folder, or "" where the pattern reaches all of the data root."""
        first, slash, _ = self.text.partition("/")
        return first if slash and "{" not in first else ""

    def regex(self, given: Mapping[str, str] | None = None) -> re.Pattern[str]:
        """The pattern as a regular expression; ``given`` names stand for just that text."""
        out, seen = "", set()
        for index, part in enumerate(self.parts):
            if index % 2 == 0:
                out += re.escape(part)
            elif given is not None and part != "ext":
                out += re.escape(given[part])
            elif part in seen:
                out += f"(?P={part})"
            else:
                seen.add(part)
                any_case = "(?i:" + "|".join(map(re.escape, self.extensions)) + ")"
                choice = any_case if part == "ext" else "[^/]+"
                out += f"(?P<{part}>{choice})"
        return re.compile(out)

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return self.regex()

    def match(self, path: str) -> dict[str, str] | None:
        found = self._any.fullmatch(path)
        return found.groupdict() if found else None

    def extension_rank(self, path: str) -> int:
        """Where the path's ``{ext}`` stands in the list of extensions (0 without one)."""
        ext = (self.match(path) or {}).get("ext", "").lower()
        lowered = [extension.lower() for extension in self.extensions]
        return lowered.index(ext) if ext in lowered else 0

    def render(self, names: Mapping[str, str], paths: Collection[str]) -> list[str]:
        """Those of ``paths`` that the pattern means for these names, best first."""
        if not (self.names - {"ext"}) <= names.keys():
            return []
        if "ext" not in self.names:
            path = "".join(names[part] if i % 2 else part for i, part in enumerate(self.parts))
            return [path] if path in paths and self.match(path) is not None else []
        regex = self.regex(names)
        hits = [path for path in paths if regex.fullmatch(path) and self.match(path) is not None]
        return sorted(hits, key=lambda path: (self.extension_rank(path), path))


def patterns_of(layout: Mapping[str, Any]) -> list[Pattern]:
    """Every pattern of both kinds of asset, in order of preference within kind and feature."""
    found = []
    for kind in KINDS:
        section = layout[SECTIONS[kind]]
        for feature in ("image", *ARTIFACTS):
            value = section[feature]
            texts = [value] if isinstance(value, str) else list(value)
            extensions = tuple(layout["extensions"])
            found += [Pattern(text, kind, feature, place, extensions) for place, text in enumerate(texts)]
    return found


# --- the disk ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A regular file that is not ignored; ``path`` is relative to the data root."""

    path: str
    size: int
    mtime_ns: int


def is_text(name: str) -> bool:
    """Whether a name as the operating system gave it is valid UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Disk:
    """What lies below the data root, by lexical relative path."""

    def __init__(self, root: Path, folders: Iterable[str], ignore: list[str]) -> None:
        self.root, self.ignore = str(root), ignore
        self.files: dict[str, File] = {}
        for folder in sorted(set(folders)):
            if not folder or not self.ignored(folder):
                self._walk(posixpath.join(self.root, folder) if folder else self.root)

    def ignored(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.ignore)

    def wanted(self, name: str) -> bool:
        return is_text(name) and not self.ignored(name)

    def _walk(self, top: str) -> None:
        for folder, folders, names in os.walk(top, followlinks=False):
            folders[:] = [name for name in folders if self.wanted(name)]
            for name in filter(self.wanted, names):
                self._add(posixpath.join(folder, name))

    def _add(self, path: str) -> None:
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                target = os.path.realpath(path)
                if not target.startswith(os.path.realpath(self.root) + "/"):
                    return
                status = Path(path).stat()
        except FileNotFoundError:
            return
        if stat.S_ISREG(status.st_mode):
            relative = path[len(self.root.rstrip("/")) + 1 :]
            self.files[relative] = File(relative, status.st_size, status.st_mtime_ns)

    def there(self, path: str | None) -> bool:
        """There as the endpoints understand it: a file of size 0 is not."""
        return path in self.files and self.files[path].size > 0


Tables = Mapping[str, list[dict[str, Any]]]

# --- the rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A path as the database has it, and where that is below the data root (None: outside)."""

    text: str
    path: str | None

    @property
    def outside(self) -> bool:
        return self.path is None


@dataclass(frozen=True)
class Row:
    """A row of ``product_images`` or ``video_frames``."""

    kind: str
    id: str
    owner: str | None
    ts: float | None
    time_ns: int | None
    claims: dict[str, Claim]
    columns: frozenset[str]
    embedding_in_db: bool


def map_path(text: str, path_map: Mapping[str, str]) -> str:
    """The text with its longest mapped prefix replaced, whole components only."""
    for prefix in sorted(path_map, key=lambda key: -len(key.rstrip("/"))):
        bare = prefix.rstrip("/")
        if text == bare or text.startswith(bare + "/"):
            return path_map[prefix].rstrip("/") + text[len(bare) :]
    return text


def locate(text: str, root: str, path_map: Mapping[str, str]) -> str | None:
    """The claimed path relative to the data root by its text alone; None if it lies elsewhere."""
    base = posixpath.normpath(root)
    whole = posixpath.normpath(posixpath.join(base, map_path(text, path_map)))
    return whole[len(base) + 1 :] if whole.startswith(base + "/") else None


def time_of(row: Mapping[str, Any], zone: str) -> int | None:
    """The row's database time in nanoseconds: ``updated_at``, else ``created_at``, else None."""
    for column in ("updated_at", "created_at"):
        value = row.get(column)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                value = None
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))
            return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    return None


def finite(value: Any) -> Any:
    """The number, or None where there is none that can be said in JSON."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


class Database:
    """The rows, each table by its key; rows whose key is null are left out."""

    def __init__(self, tables: Tables, settings: Mapping[str, Any], root: str) -> None:
        self.tables, self.settings, self.root = tables, settings["database"], root
        self.jobs = self._keyed("jobs", "job_id")
        self.products = self._keyed("products", "product_id")
        self.videos = self._keyed("videos", "video_id")
        self.rows = {kind: self._asset_rows(kind) for kind in KINDS}

    def _keyed(self, table: str, key: str) -> dict[str, dict[str, Any]]:
        return {row[key]: row for row in self.tables.get(table, ()) if row[key] is not None}

    def time(self, row: Mapping[str, Any] | None) -> int | None:
        return time_of(row, self.settings["timezone"]) if row else None

    def all_rows(self) -> list[Row]:
        return [row for kind in KINDS for row in self.rows[kind].values()]

    def _asset_rows(self, kind: str) -> dict[str, Row]:
        keyed = self._keyed(TABLES[kind], ID_COLUMNS[kind])
        return {key: self._asset_row(kind, key, row) for key, row in keyed.items()}

    def _asset_row(self, kind: str, key: str, row: Mapping[str, Any]) -> Row:
        columns = {"image": "local_path", **self.settings["columns"]}
        texts = {feature: row.get(column) for feature, column in columns.items()}
        claims = {
            feature: Claim(text, locate(text, self.root, self.settings["path_map"]))
            for feature, text in texts.items()
            if isinstance(text, str) and text
        }
        in_db = texts["embedding"] is not None and not isinstance(texts["embedding"], str)
        present = frozenset(feature for feature, column in columns.items() if column in row)
        ts = finite(row.get("ts"))
        return Row(kind, key, row.get(OWNERS[kind]), ts, self.time(row), claims, present, in_db)

    def jobs_of_product(self, product_id: str | None) -> set[str]:
        row = self.products.get(product_id) if product_id is not None else None
        return {row["job_id"]} & self.jobs.keys() if row else set()

    def jobs_of_video(self, video_id: str | None) -> set[str]:
        if video_id is None or video_id not in self.videos:
            return set()
        if "job_videos" in self.tables:
            pairs = self.tables["job_videos"]
            return {pair["job_id"] for pair in pairs if pair["video_id"] == video_id} & self.jobs.keys()
        job = self.videos[video_id].get("job_id")
        return {job} if job in self.jobs else set()


# --- assets -----------------------------------------------------------------------------------------


@dataclass
class Candidates:
    """The files for one feature of one asset, best first; ``used`` is the one that is there."""

    live: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def used(self) -> str | None:
        return self.live[0] if self.live else None


@dataclass
class Asset:
    """A product image or video frame with files or a row; it is listed if its image is there."""

    kind: str
    id: str
    row: Row | None
    names: dict[str, str]
    files: dict[str, Candidates]
    found_owner: str | None = None

    @property
    def listed(self) -> bool:
        return self.files["image"].used is not None

    @property
    def owner(self) -> str | None:
        """The product or video that its row, else its path, else its orphaned artifact's path, names."""
        if self.row is not None and self.row.owner is not None:
            return self.row.owner
        return self.names.get(OWNERS[self.kind]) or (self.found_owner if self.row is None else None)

    def claim(self, feature: str) -> Claim | None:
        return self.row.claims.get(feature) if self.row else None

    @property
    def key(self) -> tuple[str, str]:
        return (self.kind, self.id)


class Assets:
    """Which assets the disk and the database make, with the files of each; ``orphans`` have no image."""

    def __init__(self, settings: Mapping[str, Any], database: Database | None, root: Path) -> None:
        self.settings, self.database = settings, database
        self.patterns = patterns_of(settings["layout"])
        rows = database.all_rows() if database else []
        self.claims = [(row, feature, claim) for row in rows for feature, claim in row.claims.items()]
        self.disk = Disk(root, self._folders(), settings["scan"]["ignore"])
        self.named = self._named()
        claimed = {claim.path for _, _, claim in self.claims}
        named = {claim.path for _, feature, claim in self.claims if feature == "image"}
        self.artifacts_only = claimed - named
        self._matching: dict[str, list[Pattern]] = {}
        self.all: dict[tuple[str, str], Asset] = {}
        self.taken: set[str] = set()
        self.orphans: dict[tuple[str, str, str], list[str]] = {}
        self._find_images()
        self._find_artifacts()
        self._find_orphans()

    def _folders(self) -> set[str]:
        used = {pattern.first_folder for pattern in self.patterns}
        claimed = {claim.path for _, _, claim in self.claims if claim.path and "/" in claim.path}
        return used | {path.partition("/")[0] for path in claimed}

    def _named(self) -> dict[str, Row]:
        """The file → the row that names it as its image: the lowest id, products before frames."""
        owners: dict[str, Row] = {}
        for row, feature, claim in self.claims:
            if feature == "image" and claim.path in self.disk.files:
                best = owners.get(claim.path or "")
                if best is None or (row.id, KINDS.index(row.kind)) < (best.id, KINDS.index(best.kind)):
                    owners[claim.path or ""] = row
        return owners

    def matching(self, path: str) -> list[Pattern]:
        """The patterns that match, the one that takes the file first."""
        if path not in self._matching:
            hits = [pattern for pattern in self.patterns if pattern.match(path) is not None]
            hits.sort(key=lambda p: (-p.literals, p.feature != "image", TAKERS.index(p.kind), p.position))
            self._matching[path] = hits
        return self._matching[path]

    def image_pattern(self, path: str, kind: str) -> Pattern | None:
        """The image pattern of this kind that takes the path, if one matches it at all."""
        return next((p for p in self.matching(path) if p.kind == kind and p.feature == "image"), None)

    def _row(self, kind: str, key: str) -> Row | None:
        return self.database.rows[kind].get(key) if self.database else None

    def asset(self, kind: str, key: str, names: Mapping[str, str] | None = None) -> Asset:
        """The asset of that id, made when it is first asked for."""
        if (kind, key) not in self.all:
            files = {feature: Candidates() for feature in ("image", *ARTIFACTS)}
            self.all[kind, key] = Asset(kind, key, self._row(kind, key), dict(names or {}), files)
        return self.all[kind, key]

    def _find_images(self) -> None:
        groups: dict[tuple[str, str], list[tuple[Any, str, dict[str, str]]]] = {}
        for path in self.disk.files:
            found = self._image_of(path)
            if found:
                kind, key, rank, names = found
                groups.setdefault((kind, key), []).append((rank, path, names))
        for (kind, key), candidates in groups.items():
            candidates.sort(key=lambda candidate: candidate[:2])
            live = [one for one in candidates if self.disk.there(one[1])]
            asset = self.asset(kind, key, (live or candidates)[0][2])
            asset.files["image"].live = [path for _, path, _ in live]
            asset.files["image"].empty = [path for _, path, _ in candidates if not self.disk.there(path)]
        for row in self.database.all_rows() if self.database else ():
            claim = row.claims.get("image")
            self.asset(row.kind, row.id, self._names(claim.path if claim else None, row.kind))

    def _names(self, path: str | None, kind: str) -> dict[str, str]:
        pattern = self.image_pattern(path, kind) if path is not None else None
        return (pattern.match(path or "") or {}) if pattern else {}

    def _image_of(self, path: str) -> tuple[str, str, Any, dict[str, str]] | None:
        """(kind, id, rank among files of that id, names) if the file is an image."""
        if path in self.named:
            row = self.named[path]
            return row.kind, row.id, (False, 0, 0), self._names(path, row.kind)
        hits = self.matching(path)
        if path in self.artifacts_only or not hits or hits[0].feature != "image":
            return None
        pattern, names = hits[0], hits[0].match(path) or {}
        template = self.settings["layout"][SECTIONS[pattern.kind]]["id"]
        rank = (True, pattern.position, pattern.extension_rank(path))
        return pattern.kind, template.format(**names), rank, names

    def takers(self, path: str, kind: str) -> list[Pattern]:
        """The artifact patterns of one kind of asset that take the file (several only if equally literal)."""
        hits = self.matching(path)
        if path in self.named or not hits:
            return []
        if hits[0].feature == "image" and path not in self.artifacts_only:
            return []
        own = [p for p in hits if p.kind == kind and p.feature != "image"]
        return [p for p in own if p.literals == own[0].literals]

    def _find_artifacts(self) -> None:
        found: list[tuple[Asset, Pattern, str]] = []
        for asset in [asset for asset in self.all.values() if asset.listed]:
            names = {**asset.names, "id": asset.id}
            for pattern in self.patterns:
                if pattern.kind == asset.kind and pattern.feature != "image":
                    rendered = pattern.render(names, self.disk.files)
                    mine = [path for path in rendered if pattern in self.takers(path, asset.kind)]
                    found += [(asset, pattern, path) for path in mine]
        most: dict[str, int] = {}
        for _, pattern, path in found:
            most[path] = max(most.get(path, 0), pattern.literals)
        own: dict[tuple[str, str, str], list[str]] = {}
        for asset, pattern, path in found:
            if pattern.literals == most[path]:
                own.setdefault((*asset.key, pattern.feature), []).append(path)
        for asset in [asset for asset in self.all.values() if asset.listed]:
            for feature in ARTIFACTS:
                claim = asset.claim(feature)
                paths = [claim.path] if claim and claim.path in self.disk.files else []
                self._fill(asset, feature, [*paths, *own.get((*asset.key, feature), [])])

    def _fill(self, asset: Asset, feature: str, paths: Iterable[str | None]) -> None:
        slot = asset.files[feature]
        for path in dict.fromkeys(path for path in paths if path is not None):
            (slot.live if self.disk.there(path) else slot.empty).append(path)
            self.taken.add(path)

    def _find_orphans(self) -> None:
        """Artifacts of assets without an image: first those that their rows claim, then by pattern."""
        for asset in [asset for asset in self.all.values() if not asset.listed]:
            for feature in ARTIFACTS:
                claim = asset.claim(feature)
                if claim and claim.path in self.disk.files and claim.path not in self.taken:
                    self.orphans.setdefault((*asset.key, feature), []).append(claim.path or "")
        claimed = {path for paths in self.orphans.values() for path in paths}
        there = [asset for asset in self.all.values() if asset.listed]
        called = {(asset.kind, self._template(asset.kind, asset.names)) for asset in there}
        for path in sorted(self.disk.files.keys() - self.taken - claimed):
            owner = self._orphan_of(path)
            if owner and not called.intersection(self._called(path)):
                kind, key, feature, names = owner
                asset = self.asset(kind, key, names)
                asset.found_owner = asset.found_owner or names.get(OWNERS[kind])
                self.orphans.setdefault((kind, key, feature), []).append(path)

    def _called(self, path: str) -> Iterator[tuple[str, str | None]]:
        """What the file's own path says whose it is: an image of that name has it, whatever its row's id."""
        for kind in KINDS:
            for pattern in self.takers(path, kind):
                names = pattern.match(path) or {}
                yield kind, names.get("id") or self._template(kind, names)

    def _orphan_of(self, path: str) -> tuple[str, str, str, dict[str, str]] | None:
        options = [pattern for kind in TAKERS for pattern in self.takers(path, kind)]
        options.sort(key=lambda p: (self._lost_row(p, path) is None, -p.literals, TAKERS.index(p.kind)))
        for pattern in options:
            names = pattern.match(path) or {}
            row = self._lost_row(pattern, path)
            key = row.id if row else names.get("id") or self._template(pattern.kind, names)
            if key is not None:
                return pattern.kind, key, pattern.feature, names
        return None

    def _template(self, kind: str, names: Mapping[str, str]) -> str | None:
        template: str = self.settings["layout"][SECTIONS[kind]]["id"]
        return template.format(**names) if set(re.findall(r"\{(\w+)\}", template)) <= names.keys() else None

    def _lost_row(self, pattern: Pattern, path: str) -> Row | None:
        """The row without an image on disk whose ``local_path``, or else id, gives the same names."""
        names = {name: text for name, text in (pattern.match(path) or {}).items() if name != "ext"}
        rows = self.database.rows[pattern.kind] if self.database else {}
        for key in sorted(rows):
            asset = self.all[pattern.kind, key]
            if not asset.listed and asset.names:
                own = {**asset.names, "id": key}
                if all(own.get(name) == text for name, text in names.items()):
                    return rows[key]
        return rows.get(names.get("id") or self._template(pattern.kind, names) or "")

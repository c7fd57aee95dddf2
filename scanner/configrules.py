"""Which values are impossible: one check for each key, and a few that compare keys with one another.

A check yields a line for each thing that is wrong, in the form "found …, allowed …"; nothing where all is
well. None of them looks at the disk or opens the database: what is not there yet is no mistake.
"""

from __future__ import annotations

import math
import os
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scanner.configpatterns import id_template, image_pattern, pattern
from scanner.configvalues import guess, shown
from scanner.redaction import redact_url
from scanner.settings import Config

Check = Callable[[Any], Iterator[str]]

LARGEST_INTEGER = 2**31 - 1
LONGEST_SECONDS = 1e8  # three years: more overflows what the operating system can wait for
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\],*]+)(?::[0-9]{1,5})?")
_OFFSET = re.compile(r"[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00)", re.ASCII)


def integers(least: int, most: int = LARGEST_INTEGER) -> Check:
    """Whole numbers between two bounds, both allowed."""
    return _bounded(f"{least} to {most}", lambda value: bool(least <= value <= most))


def _bounded(allowed: str, holds: Callable[[Any], bool]) -> Check:
    def check(value: Any) -> Iterator[str]:
        if not holds(value):
            yield f"found {shown(value)}, allowed is {allowed}"

    return check


duration = _bounded(f"0 to {LONGEST_SECONDS:.0f} seconds", lambda value: bool(0 <= value <= LONGEST_SECONDS))
interval = _bounded(
    f"more than 0 and up to {LONGEST_SECONDS:.0f} seconds", lambda value: bool(0 < value <= LONGEST_SECONDS)
)
rate = _bounded("a finite number from 0 on", lambda value: math.isfinite(value) and value >= 0)
name = _bounded("a text that is not empty", lambda value: bool(value.strip()) and "\0" not in value)
directory = _bounded("a path without NUL that is not empty", lambda value: bool(value) and "\0" not in value)
host = _bounded("a host name or an address", lambda value: re.fullmatch(r"[^\s/\0]+", value) is not None)
utc_offset = _bounded("±HH:MM from -14:00 to +14:00", lambda value: _OFFSET.fullmatch(value) is not None)


def one_of(*allowed: str) -> Check:
    """One of a few words, in this letter case."""

    def check(value: str) -> Iterator[str]:
        if value not in allowed:
            yield f"found {shown(value)}, allowed is {' | '.join(allowed)}{guess(value, allowed)}"

    return check


def each(check: Check) -> Check:
    """Every item of a list by itself."""
    return lambda items: (line for item in items for line in check(item))


def extensions(items: tuple[str, ...]) -> Iterator[str]:
    """At least one, each without a dot, a slash or a brace."""
    if not items:
        yield "found an empty list, allowed is at least one extension"
    for item in items:
        if not re.fullmatch(r"[^./{}\s\0]+", item):
            yield f"found {shown(item)}, allowed are names like jpg, without dots, slashes and braces"


def ignored_name(item: str) -> Iterator[str]:
    """A glob for one name; one with a slash would never match."""
    if not item or "/" in item or "\0" in item:
        yield f"found {shown(item)}, allowed are globs for single names, without slashes"


def origin(item: str) -> Iterator[str]:
    """``*``, or what a browser sends as the origin of a page."""
    if item not in ("*", "null") and not _ORIGIN.fullmatch(item):
        yield f"found {shown(item)}, allowed are * and origins like https://example.org:8443, without a path"


def time_zone(value: str) -> Iterator[str]:
    """A zone that the time zone database knows."""
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        allowed = "a name of the time zone database, such as UTC or Asia/Bangkok"
        yield f"found {shown(value)}, allowed is {allowed}{guess(value, zoneinfo.available_timezones())}"


def path_map(pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Prefixes and targets that are not empty."""
    for prefix, target in pairs:
        if not prefix or not target or "\0" in prefix + target:
            yield f"found {shown(prefix)} = {shown(target)}, allowed are two paths that are not empty"


def database_url(url: str) -> Iterator[str]:
    """Nothing, or the address of a database of a known kind. The password is never shown."""
    allowed = 'allowed is "", sqlite:///path/of/file.db or postgresql://user:password@host/name'
    scheme, separator, _ = url.partition("://")
    if not url:
        return
    if not separator or scheme not in DATABASES:
        yield f"found {shown(redact_url(url))}, {allowed}"
    elif fault := _fault(url):
        # Without its options: what is misspelled there may be a password.
        yield f"found {shown(redact_url(url.partition('?')[0]))}, {fault}; {allowed}"


def _fault(url: str) -> str | None:
    """Why an address cannot be used, without its password."""
    # Imported here: it takes a while, and is needed only where there is a database.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "which cannot be taken apart"
    if parsed.get_backend_name() == "sqlite":
        is_file = parsed.database not in (None, "", ":memory:") and not parsed.query
        return None if is_file else "which names no file"
    try:
        make_conninfo("", **dict.fromkeys(parsed.query, "1"))
    except ProgrammingError as error:
        return f"which has an {str(error).strip()}"
    return None


_CHECK = one_of("content", "exists")
_ASSETS: Mapping[str, Check] = {
    "image": each(image_pattern),
    "id": id_template,
    "segment": each(pattern),
    "embedding": each(pattern),
    "keypoints": each(pattern),
    "fps": rate,
}
CHECKS: Mapping[str, Check] = {
    "data.root": directory,
    "layout.extensions": extensions,
    **{f"layout.{kind}.{key}": check for kind in ("frames", "products") for key, check in _ASSETS.items()},
    "jobs.default": name,
    "database.url": database_url,
    "database.poll_seconds": interval,
    "database.full_sync_seconds": interval,
    "database.overlap_seconds": duration,
    "database.timezone": time_zone,
    "database.path_map": path_map,
    **{f"database.columns.{key}": name for key in ("segment", "embedding", "keypoints")},
    "scan.rescan_seconds": interval,
    "scan.watcher": one_of("auto", "inotify", "polling"),
    "scan.polling_seconds": interval,
    "scan.ignore": each(ignored_name),
    "verify.stale_seconds": duration,
    "verify.grace_seconds": duration,
    "verify.workers": integers(1, 1024),
    "verify.memory_mb": integers(64),
    "verify.segment.check": _CHECK,
    "verify.segment.size": one_of("image", "any"),
    "verify.embedding.check": _CHECK,
    "verify.embedding.dtype": one_of(*DTYPES),
    "verify.embedding.dim": integers(1),
    "verify.keypoints.check": _CHECK,
    "verify.keypoints.dtype": one_of(*DTYPES),
    "verify.keypoints.columns": integers(2),
    "index.directory": directory,
    "web.host": host,
    "web.port": integers(0, 65535),
    "web.utc_offset": utc_offset,
    "web.cors_origins": each(origin),
    "web.default_limit": integers(1),
    "web.max_limit": integers(1),
    "web.include": each(one_of("urls")),
    "web.processes": integers(1, 1024),
    "log.level": one_of("debug", "info", "warning", "error", "critical"),
    "log.format": one_of("auto", "text", "json"),
}
"""The check of each key; a key without one allows every value of its type."""


# --- keys that have to fit one another --------------------------------------------------------------


def limits(config: Config) -> Iterator[str]:
    """A page as long as the default has to be allowed."""
    web = config.web
    if web.default_limit > web.max_limit:
        yield f"found {web.default_limit}, allowed is at most web.max_limit, which is {web.max_limit}"


def index_outside(config: Config) -> Iterator[str]:
    """Nothing is ever written below the data root, so the index cannot live there."""
    place, root = config.index.directory, config.data.root
    if place != "auto" and root != "/" and os.path.commonpath([place, root]) == root:
        yield f"found {shown(place)}, allowed is a directory outside data.root, which is {root}"

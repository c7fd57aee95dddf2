"""An SQLite pipeline database: opened without the right to write, and never waited for in vain."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Select, create_engine
from sqlalchemy.pool import NullPool

from scanner.rows import BATCH, Raw

_SMALLEST_PAGE = 512  # bytes


class SqliteSource:
    """Read-only access to one file.

    ``busy_seconds`` is how long a lock of the pipeline is waited for. Every read opens the file anew,
    because it may have been replaced, and because an immutable file is only so while it is read.
    """

    def __init__(self, path: str, *, busy_seconds: float) -> None:
        self.path = os.path.abspath(path)
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._open: set[sqlite3.Connection] = set()
        self._watch: tuple[object, sqlite3.Connection] | None = None
        self._watchers = 0
        self._aborted = False
        self.engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read transaction on a connection of its own."""
        with self.engine.connect() as conn:
            raw: Any = conn.connection.dbapi_connection
            with self._lock:
                self._open.add(raw)
            try:
                conn.exec_driver_sql("BEGIN")
                yield conn
            finally:
                with self._lock:
                    self._open.discard(raw)

    def guard(self) -> nullcontext[None]:
        """A local file answers or fails by itself."""
        return nullcontext()

    def stream(self, conn: Connection, statement: Select[Any]) -> Generator[Raw]:
        """The rows of a statement as they come, a batch at a time."""
        with closing(conn.execute(statement)) as result:
            cursor: Any = result.cursor
            while raw := cursor.fetchmany(BATCH):
                yield raw

    def is_sound(self, _conn: Connection) -> bool:
        """SQLite stores whatever it is given as text."""
        return False

    def fingerprint(self, conn: Connection, names: list[str]) -> Mapping[str, object]:
        """For each of the names that exists something that changes when its definition does."""
        version = conn.exec_driver_sql("PRAGMA schema_version").scalar()
        marks = ", ".join("?" * len(names))
        found = conn.exec_driver_sql(
            f"SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view') AND name IN ({marks})",
            tuple(names),
        )
        return {name: (version, sql) for name, sql in found}

    def mark(self) -> object:
        """Something that stays equal while nobody has written to the file; None where that is unknown."""
        try:
            identity = self._identity()
            return (identity, self._data_version(identity))
        except (OSError, sqlite3.Error):
            self._unwatch()
            return None

    def is_marked(self, _fingerprints: Mapping[str, object]) -> bool:
        """Everything is in the one file."""
        return True

    def abort(self) -> None:
        """End what is under way and refuse everything from now on; from any thread."""
        self._aborted = True
        with self._lock:
            for raw in self._open:
                with suppress(sqlite3.Error):
                    raw.interrupt()

    def close(self) -> None:
        """Close the connection that watches for changes."""
        self._unwatch()
        self.engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        if self._aborted:
            raise sqlite3.OperationalError("given up: the program is stopping")
        if not Path(self.path).is_file():
            kind = "is no file" if os.path.exists(self.path) else "does not exist"
            raise sqlite3.OperationalError(f"{self.path} {kind}")
        if self._is_cut_off():
            raise sqlite3.OperationalError(f"{self.path} is empty or cut off")
        raw = sqlite3.connect(
            f"file:{quote(self.path)}?{self._mode()}",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        raw.text_factory = _text
        return raw

    def _is_cut_off(self) -> bool:
        """A file too short for a page is being replaced; SQLite takes it for a database without tables."""
        if Path(self.path).stat().st_size >= _SMALLEST_PAGE:
            return False
        log = Path(self.path + "-wal")
        return not log.exists() or not log.stat().st_size

    def _mode(self) -> str:
        """``immutable=1`` where SQLite could not make the files beside the database that it needs."""
        if _is_read_only(os.path.dirname(self.path)) and not os.path.exists(self.path + "-wal"):
            return "mode=ro&immutable=1"
        return "mode=ro"

    def _identity(self) -> tuple[object, ...]:
        """Which file it is; times and sizes only where nobody keeps a change counter for us."""
        found = Path(self.path).stat()
        mode = self._mode()
        if mode == "mode=ro":
            return (mode, found.st_dev, found.st_ino)
        return (mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _data_version(self, identity: object) -> tuple[int, int]:
        """SQLite's change counter, which compares only on one and the same connection."""
        if self._watch is None or self._watch[0] != identity:
            self._unwatch()
            self._watch = (identity, self._connect())
            self._watchers += 1
        watcher = self._watch[1]
        return (self._watchers, watcher.execute("PRAGMA data_version").fetchone()[0])

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch[1].close()
            self._watch = None


def _is_read_only(directory: str) -> bool:
    """True for a read-only mount, and where permissions say so (which root could ignore, and does not)."""
    return not os.access(directory, os.W_OK) or not Path(directory).stat().st_mode & 0o222


def _text(data: bytes) -> str:
    """Text as it is; what is not UTF-8 becomes lone surrogates, which the cleaning then finds."""
    return str(data, "utf-8", "surrogateescape")

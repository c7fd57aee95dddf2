"""A random world's pipeline database, on SQLite or PostgreSQL, made to agree with the world.

Each difference is one INSERT, UPDATE or DELETE, and all of a :meth:`Store.sync` are one transaction, as a
pipeline's would be.
"""

from __future__ import annotations

import copy
import sqlite3
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from world_data import COLUMNS, World, placed

KEYS = {
    "jobs": ("job_id",),
    "products": ("product_id",),
    "product_images": ("img_id",),
    "videos": ("video_id",),
    "video_frames": ("frame_id",),
    "job_videos": ("job_id", "video_id"),
}
NUMBERS = {"percent", "duration_s", "ts"}
TIMES = {"updated_at", "created_at"}


class Store(ABC):
    """A database that is made to agree with a world; ``url`` is what the configuration names."""

    mark: str
    same: str
    url: str

    def __init__(self, root: Path) -> None:
        self.root, self.applied = root, dict[str, dict[Any, dict[str, Any]]]()

    def create(self, world: World) -> None:
        """The tables, without a row."""
        statements = [self._table(world, table) for table in world.tables]
        self.run([(statement, ()) for statement in statements])
        self.applied = {table: {} for table in world.tables}

    def sync(self, world: World) -> None:
        """What changed in the world since the last time."""
        statements: list[tuple[str, Sequence[Any]]] = []
        for table, rows in world.tables.items():
            for key, row in self.applied[table].items():
                if key not in rows:
                    statements.append(self._delete(table, row))
            for key, row in rows.items():
                known = self.applied[table].get(key)
                if known is None:
                    statements.append(self._insert(world, table, row))
                elif known != row:
                    statements.append(self._update(world, table, row))
        self.run(statements)
        self.applied = copy.deepcopy(world.tables)

    @abstractmethod
    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """All of them in one transaction."""

    @abstractmethod
    def type_of(self, world: World, column: str) -> str:
        """The SQL type of a column."""

    @abstractmethod
    def value(self, world: World, column: str, value: Any) -> Any:
        """A value as the driver takes it."""

    def _table(self, world: World, table: str) -> str:
        columns = [f'"{name}" {self.type_of(world, name)}' for name in world.columns[table]]
        keys = ", ".join(KEYS[table])
        return f"CREATE TABLE {table} ({', '.join(columns)}, UNIQUE ({keys}))"

    def _values(self, world: World, row: Mapping[str, Any]) -> list[Any]:
        return [self.value(world, name, value) for name, value in placed(dict(row), self.root).items()]

    def _insert(self, world: World, table: str, row: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join(self.mark for _ in row)
        return f"INSERT INTO {table} ({names}) VALUES ({marks})", self._values(world, row)

    def _update(self, world: World, table: str, row: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        change = ", ".join(f'"{name}" = {self.mark}' for name in row)
        where, keys = self._where(table, row)
        return f"UPDATE {table} SET {change} WHERE {where}", [*self._values(world, row), *keys]

    def _delete(self, table: str, row: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        where, keys = self._where(table, row)
        return f"DELETE FROM {table} WHERE {where}", keys

    def _where(self, table: str, row: Mapping[str, Any]) -> tuple[str, list[Any]]:
        keys = KEYS[table]
        return " AND ".join(f"{key} {self.same} {self.mark}" for key in keys), [row[key] for key in keys]


class SqliteStore(Store):
    """An SQLite file; timestamps are text, in the several ways in which they are written."""

    mark, same = "?", "IS"

    def __init__(self, path: Path, root: Path, journal: str = "WAL") -> None:
        super().__init__(root)
        self.path, self.url = path, f"sqlite:///{path}"
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=20)
        self.connection.execute(f"PRAGMA journal_mode={journal}")

    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for statement, values in statements:
            self.connection.execute(statement, values)
        self.connection.execute("COMMIT")

    def type_of(self, world: World, column: str) -> str:
        if column == COLUMNS["embedding"]:
            return "TEXT" if world.embedding == "text" else "BLOB"
        if column in NUMBERS:
            return "REAL"
        return "TIMESTAMP" if column in TIMES else "TEXT"

    def value(self, world: World, column: str, value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat(" " if value.microsecond else "T")
        return struct.pack(f"<{len(value)}f", *value) if isinstance(value, tuple) else value

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()


class PostgresStore(Store):
    """A PostgreSQL database, with pgvector where the world holds vectors."""

    mark, same = "%s", "IS NOT DISTINCT FROM"

    def __init__(self, url: str, root: Path) -> None:
        super().__init__(root)
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)

    def create(self, world: World) -> None:
        for table in KEYS:
            self.connection.execute(f"DROP TABLE IF EXISTS {table}")  # a fixed name
        if world.embedding == "vector":
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        super().create(world)

    def run(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        with self.connection.transaction():
            for statement, values in statements:
                self.connection.execute(statement.encode(), values)

    def type_of(self, world: World, column: str) -> str:
        if column == COLUMNS["embedding"]:
            types = {"text": "text", "blob": "bytea", "vector": "vector(4)", "array": "real[]"}
            return types[world.embedding]
        if column in TIMES:
            return "timestamptz" if world.aware else "timestamp"
        return "double precision" if column in NUMBERS else "text"

    def value(self, world: World, column: str, value: Any) -> Any:
        if not isinstance(value, tuple):
            return value
        if world.embedding == "blob":
            return struct.pack(f"<{len(value)}f", *value)
        return str(list(value)) if world.embedding == "vector" else list(value)

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()


def open_store(world: World, root: Path, place: Path | str) -> SqliteStore | PostgresStore:
    """A store of the world's dialect, filled: ``place`` is a file, or the URL of a PostgreSQL database."""
    if isinstance(place, Path):
        store: SqliteStore | PostgresStore = SqliteStore(place, root)
    else:
        store = PostgresStore(place, root)
    store.create(world)
    store.sync(world)
    return store


def build_sqlite(world: World, path: Path, root: Path) -> str:
    """An SQLite file with the world's rows, its URL."""
    store = open_store(world, root, path)
    store.close()
    return store.url


def build_postgres(world: World, url: str, root: Path) -> str:
    """The world's tables in an existing PostgreSQL database, replacing what it had; its URL."""
    store = open_store(world, root, url)
    store.close()
    return url

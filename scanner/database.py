"""Where the pipeline database is: URLs, and errors in words that give no password away."""

from __future__ import annotations

import os
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL

from scanner.exceptions import ConfigError
from scanner.postgres_source import PostgresSource
from scanner.sqlite_source import SqliteSource

Source = SqliteSource | PostgresSource

CONNECT_SECONDS = 5.0
_ALLOWED = "allowed are sqlite:///path and postgresql://user:password@host:port/name"


def parse_url(url: str) -> URL:
    """The URL, if it is of a kind that can be read."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as exc:
        raise ConfigError([f"database.url: is no database URL; {_ALLOWED}"]) from exc
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise ConfigError(["database.url: sqlite needs the path of a file and no options"])
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError([f"database.url: found {parsed.drivername}://; {_ALLOWED}"])


def open_source(url: URL, statement_seconds: float, busy_seconds: float, *, pool_size: int) -> Source:
    """Access to the database; opens nothing yet."""
    if url.get_backend_name() == "sqlite":
        return SqliteSource(os.path.abspath(url.database or ""), busy_seconds=busy_seconds)
    connect_seconds = min(CONNECT_SECONDS, statement_seconds)
    try:
        return PostgresSource(
            url, connect_seconds=connect_seconds, statement_seconds=statement_seconds, pool_size=pool_size
        )
    except psycopg.Error as exc:
        raise ConfigError([f"database.url: {one_line(exc, url)}"]) from exc


def one_line(exc: BaseException, url: URL) -> str:
    """What went wrong, in one line and without the password."""
    cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) and exc.orig is not None else exc
    lines = (" ".join(line.split()) for line in str(cause).splitlines())
    text = "; ".join(filter(None, lines)) or type(cause).__name__
    for secret in {str(url.password or ""), quote(str(url.password or ""), safe="")}:
        if secret:
            text = text.replace(secret, "***")
    return text[:500]

"""A PostgreSQL pipeline database: connections that only read, and that never hold a thread up for long."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader
from sqlalchemy import URL, Connection, Select, create_engine, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import NullType

from scanner.postgres_stream import Patience, batches_of
from scanner.rows import Raw

_SLICE = 0.1  # how often a connection that is being made looks whether it is still wanted

# One row a relation: what would have to be compared in full, or reflected anew, when it changes.
_FINGERPRINT = text("""
    SELECT c.relname, c.oid, c.relkind::text,
           EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
           (SELECT string_agg(a.attname || ':' || a.atttypid, ',' ORDER BY a.attnum)
              FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
      FROM pg_catalog.pg_class c
     WHERE c.relname = ANY(:names) AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
       AND pg_catalog.pg_table_is_visible(c.oid)""")

# Which server and database this is, and which transactions have begun and ended. A standby tells how far it
# has come instead: there the numbers of transactions do not change with each that ends.
_MARK = text("""
    SELECT pg_catalog.pg_postmaster_start_time()::text, pg_catalog.current_database(),
           CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()::text
                ELSE pg_catalog.txid_current_snapshot()::text END""")


class _TolerantLoader(TextLoader):
    """Text from a database without an encoding: what is not UTF-8 becomes lone surrogates."""

    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


class _Opaque(NullType):
    """A type that is only ever asked whether it is null; ``vector(512)`` has an argument."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__()


class _AnyType(dict[str, Any]):
    """Types that SQLAlchemy does not know (pgvector's and others) are reflected without a warning."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, _Opaque)


class _Breakable(psycopg.Connection[Any]):
    """A connection that another thread can break: whoever waits for its server then gets an error."""

    breaker: socket.socket | None = None

    def arm(self) -> None:
        """Keep a duplicate of the socket, which stays ours whatever becomes of the connection."""
        self.breaker = socket.socket(fileno=os.dup(self.pgconn.socket))

    def shut(self) -> None:
        """Break the connection; harmless when it has already ended."""
        with suppress(OSError):
            if self.breaker is not None:
                self.breaker.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        if self.breaker is not None:
            self.breaker.close()


class PostgresSource:
    """Read-only access to one server.

    ``connect_seconds`` bounds making a connection, ``statement_seconds`` every statement: the server ends
    it by itself, and where the server does not answer at all the socket is shut down a little later.
    """

    def __init__(self, url: URL, *, connect_seconds: float, statement_seconds: float, pool_size: int) -> None:
        self._conninfo = _conninfo(url, connect_seconds)
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._patience = statement_seconds * 1.1 + _SLICE
        self._lock = threading.Lock()
        self._connections: set[_Breakable] = set()
        self._aborted = False
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_seconds,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
        )
        dialect = self.engine.dialect
        dialect.ischema_names = _AnyType(dialect.ischema_names)  # type: ignore[attr-defined]

    # --- what a read needs ---------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One REPEATABLE READ transaction that can only read."""
        with self.guard():
            conn = self.engine.connect()
        try:
            conn = conn.execution_options(postgresql_readonly=True)
            yield conn
        finally:
            with self.guard():
                conn.close()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Break the connections when what runs inside takes longer than any statement may."""
        timer = threading.Timer(self._patience, self._break)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def stream(self, conn: Connection, statement: Select[Any]) -> Generator[Raw]:
        """The rows of a statement as the server sends them, a batch at a time.

        The server works on the next rows while these are looked at. It may be held up by whoever takes
        them for as long as need be, so that only the wait for the next batch is bounded.
        """
        raw: Any = conn.connection.dbapi_connection
        with self.guard():
            raw.execute("SET LOCAL statement_timeout = 0")
        batches = batches_of(raw, _sql(conn, statement))
        patience = Patience(self._patience, self._break)
        try:
            while batch := patience.bound(batches):
                yield batch
        except BaseException:
            conn.invalidate()  # closes it, rather than have the rest of the rows sent first
            raise
        finally:
            patience.end()

    def is_sound(self, conn: Connection) -> bool:
        """True where the server has seen to it that text is valid; without an encoding it has not."""
        raw: Any = conn.connection.dbapi_connection
        return bool(raw.info.parameter_status("server_encoding") != "SQL_ASCII")

    def fingerprint(self, conn: Connection, names: list[str]) -> Mapping[str, object]:
        """For each relation that exists something that changes when its definition does."""
        with self.guard():
            return {row[0]: tuple(row) for row in conn.execute(_FINGERPRINT, {"names": names})}

    def mark(self) -> object:
        """Something that stays equal while no transaction that writes begins or ends."""
        with self.reading() as conn, self.guard():
            return tuple(conn.execute(_MARK).one())

    def is_marked(self, fingerprints: Mapping[str, Any]) -> bool:
        """Whether the mark speaks for these relations: views and foreign tables may show anything."""
        return all(found[2] in ("r", "m") and not found[3] for found in fingerprints.values())

    def abort(self) -> None:
        """End what is under way and refuse everything from now on; from any thread."""
        self._aborted = True
        self._break()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()

    # --- connections ------------------------------------------------------------------------------

    def _break(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.shut()

    def _connect(self) -> _Breakable:
        connection = _Breakable(self._handshake())
        connection.arm()
        with self._lock:
            self._connections = {known for known in self._connections if not known.closed}
            self._connections.add(connection)
        try:
            with self.guard():
                self._settle(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _settle(self, connection: _Breakable) -> None:
        """Session settings by statements, because poolers refuse them as start-up options."""
        connection.autocommit = True
        connection.execute(
            "SET default_transaction_read_only = on; SET TimeZone = 'UTC'; SET DateStyle = 'ISO';"
            f"SET statement_timeout = {int(self._statement_seconds * 1000)};"
        )
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            connection.execute("SET client_encoding = 'SQL_ASCII'")
            for name in ("text", "varchar", "bpchar", "name"):
                connection.adapters.register_loader(name, _TolerantLoader)
        connection.autocommit = False

    def _handshake(self) -> pq.abc.PGconn:
        """Make a connection in slices, so that a server that hangs can be given up at any time."""
        self._refuse_if_aborted()
        deadline = time.monotonic() + self._connect_seconds
        pgconn = pq.PGconn.connect_start(self._conninfo.encode())
        try:
            while (status := _poll(pgconn)) != pq.PollingStatus.OK:
                self._wait(pgconn, status, deadline)
        except BaseException:
            pgconn.finish()
            raise
        pgconn.nonblocking = 1
        return pgconn

    def _refuse_if_aborted(self) -> None:
        if self._aborted:
            raise psycopg.OperationalError("given up: the program is stopping")

    def _wait(self, pgconn: pq.abc.PGconn, status: int, deadline: float) -> None:
        poller = select.poll()
        events = select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT
        poller.register(pgconn.socket, events)
        while not poller.poll(_SLICE * 1000):
            self._refuse_if_aborted()
            if time.monotonic() > deadline:
                raise psycopg.OperationalError(f"no connection within {self._connect_seconds:g} s")


def _sql(conn: Connection, statement: Select[Any]) -> str:
    return str(statement.compile(dialect=conn.dialect, compile_kwargs={"literal_binds": True}))


def _poll(pgconn: pq.abc.PGconn) -> int:
    failed = pgconn.status == pq.ConnStatus.BAD
    status = pq.PollingStatus.FAILED if failed else pgconn.connect_poll()
    if status == pq.PollingStatus.FAILED:
        raise psycopg.OperationalError(pgconn.error_message.decode("utf-8", "replace"))
    return status


def _conninfo(url: URL, connect_seconds: float) -> str:
    """What libpq is told; the keywords of the URL go before these defaults."""
    dialect: Any = PGDialect_psycopg
    _, options = dialect().create_connect_args(url)
    defaults = {
        "application_name": "artifact-sidecar",
        "client_encoding": "UTF8",
        "connect_timeout": max(2, int(connect_seconds)),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    return make_conninfo("", **{**defaults, **options})

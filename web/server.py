"""The HTTP server: Tornado's, with limits on what a client may hold and an answer to what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from web.app import Application
from web.connection import READ_BYTES, ServerConnection, Stream

log = logging.getLogger(__name__)

_BACKLOG = 1024
_ACCEPTS = 4  # connections taken in one turn of the loop
_ACCEPT_PAUSE = 0.1
_RESERVED_FILES = 128  # descriptors that are not connections: the index, logs, files being sent


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one client, and all together, may hold. Sizes in bytes, times in seconds."""

    headers: int = 64 << 10
    body: int = 64 << 10
    write_buffer: int = 64 << 20
    idle: float = 75.0
    body_time: float = 10.0
    stall: float = 60.0
    connections: int = 2048


class Server:
    """Listens, and stops in order: no new connections, answers finished, then the rest closed."""

    def __init__(self, application: Application, limits: ServerLimits | None = None) -> None:
        self._application = application
        self._http = _BoundedServer(application, limits=limits or ServerLimits())

    def listen(self, address: str, port: int, *, reuse_port: bool = False) -> int:
        """Bind and accept; returns the port, chosen by the system for 0. Raises ``OSError``."""
        bound = bind(address, port, reuse_port=reuse_port)
        self.add_sockets([bound])
        return int(bound.getsockname()[1])

    def add_sockets(self, sockets: list[socket.socket]) -> None:
        """Accept on sockets that are bound already."""
        self._http.add_sockets(sockets)
        self._http.watch()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._http.streams)

    async def shutdown(self, grace: float) -> None:
        """Stop; requests under way have ``grace`` seconds to be answered."""
        self._http.stop()
        self._http.unwatch()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while self._busy() and loop.time() < deadline:
            await asyncio.sleep(0.01)
        tasks = list(self._application.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close_all_connections()
        self._application.close()

    def _busy(self) -> bool:
        return self._application.active > 0 or any(stream.writing() for stream in self._http.streams)


def bind(address: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Listen at an address or host name; "" is every address of both families. Raises ``OSError``."""
    if not address:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        bound = socket.create_server(
            ("", port), family=family, backlog=_BACKLOG, reuse_port=reuse_port, dualstack_ipv6=dual
        )
    else:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, where = found[0][0], found[0][4]
        bound = socket.create_server(where, family=family, backlog=_BACKLOG, reuse_port=reuse_port)
    bound.setblocking(False)
    return bound


class _BoundedServer(HTTPServer):
    """Keeps its streams in the order of their last requests, and closes the first for one too many."""

    streams: OrderedDict[Stream, None]
    _watching: asyncio.TimerHandle | None = None

    def initialize(self, application: Application, *, limits: ServerLimits) -> None:  # type: ignore[override]
        self.streams = OrderedDict()
        self._limits = limits
        self._most = max(1, min(limits.connections, raise_file_limit() - _RESERVED_FILES))
        super().initialize(
            application,
            max_header_size=limits.headers,
            max_body_size=limits.body,
            body_timeout=limits.body_time,
            max_buffer_size=limits.write_buffer,
        )
        self.conn_params.header_timeout = None  # a timer for each request: it is looked after all at once

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these, a few connections at a time, so that a flood of new ones holds up no open one."""
        for bound in sockets:
            self._sockets[bound.fileno()] = bound
            self._handlers[bound.fileno()] = partial(self._ignore, bound)
            self._attend(bound)

    def _attend(self, bound: socket.socket) -> None:
        if not self._stopped:
            asyncio.get_running_loop().add_reader(bound, self._accept, bound)

    def _ignore(self, bound: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(bound)

    def _accept(self, bound: socket.socket) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, address = bound.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:  # no descriptor, or no memory, is to be had: one is given back
                log.warning("cannot accept a connection now: %s", exc)
                if self.streams:
                    self._close_idlest()
                self._ignore(bound)
                asyncio.get_running_loop().call_later(_ACCEPT_PAUSE, self._attend, bound)
                return
            self._handle_connection(connection, address)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a new connection."""
        if len(self.streams) >= self._most:
            self._close_idlest()
        bounded = Stream(stream.socket, max_buffer_size=self.max_buffer_size, read_chunk_size=READ_BYTES)
        self.streams[bounded] = None
        connection = ServerConnection(bounded, self.conn_params, address[0])
        self._connections.add(connection)
        connection.start_serving(self)

    def start_request(
        self, server_conn: Any, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """A connection waits for a request."""
        self.streams.move_to_end(server_conn.stream)
        server_conn.stream.waiting_since = time.monotonic()
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: Any) -> None:
        """A connection is closed."""
        self.streams.pop(server_conn.stream, None)
        super().on_close(server_conn)

    def watch(self) -> None:
        """From now on, close connections whose clients send no request, or take nothing of an answer."""
        self.unwatch()
        loop = asyncio.get_running_loop()
        pause = min(self._limits.stall / 4, self._limits.idle / 8)
        self._watching = loop.call_later(pause, self._close_late)

    def unwatch(self) -> None:
        """Stop looking for them."""
        if self._watching is not None:
            self._watching.cancel()

    def _close_late(self) -> None:
        self.watch()
        now = time.monotonic()
        sent, asked = now - self._limits.stall, now - self._limits.idle
        for stream in [stream for stream in self.streams if stream.is_late(sent, asked)]:
            stream.close()

    def _close_idlest(self) -> None:
        """Close the one that has waited longest for a request, or else has been answered longest."""
        idle = (stream for stream in self.streams if not stream.writing())
        stream = next(idle, None) or next(iter(self.streams))
        stream.close()
        self.streams.pop(stream, None)


def raise_file_limit() -> int:
    """Allow as many open files as this process may ask for; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return 65536 if soft == resource.RLIM_INFINITY else soft

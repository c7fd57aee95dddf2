"""The HTTP server: Tornado's, with limits on what a client may hold and an answer to what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, UnsatisfiableReadError

from web.app import Application
from web.problems import Problem, bad_request, raw_response

log = logging.getLogger(__name__)

_TORNADO_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_TORNADO_HEAD_END = b"\r?\n\r?\n"
_HEAD_END = b"\n\r?\n"  # ends where that ends, but a search for it skips to the next line by itself
_BAD_REQUEST = raw_response(bad_request("This is not a request that HTTP/1.1 allows."))
_TOO_LARGE = raw_response(Problem(431, "The request's headers are too long."))
_BACKLOG = 1024
_ACCEPTS = 4  # connections taken in one turn of the loop
_ACCEPT_PAUSE = 0.1
_READ_BYTES = 4096  # at a time, of which room is made for each read; most heads are shorter
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


class Stream(IOStream):
    """A connection that says what is wrong as a problem, where Tornado has a bare status or silence."""

    progress = 0.0  # when the client last took a byte
    _undelayed = False

    def write_to_fd(self, data: memoryview) -> int:
        """Send what the client takes, and remember when that was."""
        try:
            sent = super().write_to_fd(data)
        finally:
            del data  # an exception's traceback would keep the buffer from growing
        if sent:
            self.progress = time.monotonic()
        return sent

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read the head of a request; quick also where a hostile one is long or comes byte by byte."""
        return super().read_until_regex(_HEAD_END if regex == _TORNADO_HEAD_END else regex, max_bytes)

    def set_nodelay(self, value: bool) -> None:
        """Let nothing wait for more to be sent, once and for all: an answer is one write anyway."""
        if value and not self._undelayed:
            self._undelayed = True
            super().set_nodelay(value)

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Send, with Tornado's own 400 given a body."""
        return super().write(_BAD_REQUEST if data == _TORNADO_400 else data)

    def close(self, exc_info: Any = False) -> None:
        """Close; a client whose headers are too long is told so, if its connection takes it at once."""
        if isinstance(exc_info, UnsatisfiableReadError) and not self.closed():
            try:
                self.socket.send(_TOO_LARGE)
            except OSError as exc:
                log.debug("a client with too long headers is gone: %s", exc)
        super().close(exc_info)


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
            idle_connection_timeout=limits.idle,
            body_timeout=limits.body_time,
            max_buffer_size=limits.write_buffer,
        )

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
        bounded = Stream(stream.socket, max_buffer_size=self.max_buffer_size, read_chunk_size=_READ_BYTES)
        self.streams[bounded] = None
        super().handle_stream(bounded, address)

    def start_request(
        self, server_conn: Any, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """A connection waits for a request."""
        self.streams.move_to_end(server_conn.stream)
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: Any) -> None:
        """A connection is closed."""
        self.streams.pop(server_conn.stream, None)
        super().on_close(server_conn)

    def watch(self) -> None:
        """From now on, close connections whose clients take nothing of an answer."""
        self.unwatch()
        loop = asyncio.get_running_loop()
        self._watching = loop.call_later(self._limits.stall / 4, self._close_stalled)

    def unwatch(self) -> None:
        """Stop looking for them."""
        if self._watching is not None:
            self._watching.cancel()

    def _close_stalled(self) -> None:
        self.watch()
        latest = time.monotonic() - self._limits.stall
        for stream in [stream for stream in self.streams if stream.writing() and stream.progress < latest]:
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

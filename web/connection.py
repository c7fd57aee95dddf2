"""Connections of HTTP/1.1: Tornado's, for clients that ask again and again.

What Tornado does anew for each request and what can be spared is left out here: a timer for the next request,
a read before anything can have come, parsing headers that were the same the last time, and futures that
nobody waits for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any

from tornado import httputil
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from web.problems import Problem, bad_request, raw_response

log = logging.getLogger(__name__)

READ_BYTES = 4096
"""At a time, of which room is made for each read; most heads are shorter."""

_TORNADO_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_TORNADO_HEAD_END = b"\r?\n\r?\n"
_HEAD_END = b"\n\r?\n"  # ends where that ends, but a search for it skips to the next line by itself
_BAD_REQUEST = raw_response(bad_request("This is not a request that HTTP/1.1 allows."))
_TOO_LARGE = raw_response(Problem(431, "The request's headers are too long."))
_SHORT_HEAD = 2048  # the headers of a browser have some 500 bytes


class Stream(IOStream):
    """A connection that says what is wrong as a problem, where Tornado has a bare status or silence."""

    progress = 0.0  # when the client last took a byte
    waiting_since: float | None = None  # when the client could begin to send a request that is not there yet
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

    def _try_inline_read(self) -> None:
        """Read what is there; of a client that has just been answered, the next request is not."""
        if self._read_buffer_size or self._state is None or self.closed():
            super()._try_inline_read()
        else:
            self._add_io_state(IOLoop.READ)

    @property
    def holds_more(self) -> bool:
        """Whether something has been read that belongs to the next request."""
        return self._read_buffer_size > 0

    def is_late(self, sent: float, asked: float) -> bool:
        """Whether the client has taken nothing of an answer, or sent no whole request, since these times."""
        if self.writing() and self.progress < sent:
            return True
        return self.waiting_since is not None and self.waiting_since < asked

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


class Connection(HTTP1Connection):
    """One request on a connection, and its answer."""

    def answer(self, data: bytes) -> None:
        """Send a whole answer, with its head, and end it."""
        if not self.stream.closed():
            self._pending_write = self.stream.write(data)
        self.finish()

    def _parse_headers(self, data: bytes) -> tuple[str, httputil.HTTPHeaders]:
        """The first line and the fields of a head, which is complete."""
        stream: Any = self.stream
        stream.waiting_since = None
        text = data.decode("latin-1").lstrip("\r\n")  # an empty line before a request is allowed
        end = text.find("\n")
        first, rest = text[:end].rstrip("\r"), text[end:]
        # Answers to an older version change the fields of the request.
        is_shared = len(rest) <= _SHORT_HEAD and first.endswith(" HTTP/1.1")
        return first, _fields(rest) if is_shared else httputil.HTTPHeaders.parse(rest)


@lru_cache(maxsize=1024)
def _fields(text: str) -> httputil.HTTPHeaders:
    """Fields that nobody changes: clients send the same with each request."""
    return httputil.HTTPHeaders.parse(text)


class ServerConnection(HTTP1ServerConnection):
    """A connection, and the requests on it one after the other."""

    async def _server_request_loop(self, delegate: httputil.HTTPServerConnectionDelegate) -> None:
        stream: Any = self.stream
        try:
            while await self._answer_one(delegate):
                if stream.holds_more:  # others have their turn before the next request of this client
                    await asyncio.sleep(0)
        finally:
            delegate.on_close(self)

    async def _answer_one(self, delegate: httputil.HTTPServerConnectionDelegate) -> bool:
        """Whether the connection goes on after the next request."""
        connection = Connection(self.stream, False, self.params, self.context)
        try:
            return await connection.read_response(delegate.start_request(self, connection))
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            return False
        except Exception:
            log.exception("a connection failed")
            connection.close()
            return False

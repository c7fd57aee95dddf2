"""One request and its response, and what all endpoints have in common.

An ``Exchange`` sits directly on Tornado's HTTP/1.1 connection: an answer that is ready goes out in one
write, without a task and without the argument parsing, header defaults and hashing that
``tornado.web.RequestHandler`` does for everyone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from tornado import httputil, iostream

from scanner.queries import Queries
from web.conditional import Representation, none_match, represent
from web.context import Context
from web.params import Limits, ParameterSet, Query
from web.problems import PROBLEM_JSON, Problem, internal_error, not_found, not_ready
from web.searching import Searches

if TYPE_CHECKING:
    from web.app import Application

log = logging.getLogger(__name__)

JSON = "application/json"
Headers = Iterable[tuple[str, str]]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NO_CACHE = ("Cache-Control", "no-cache")
_VARY_CODING = ("Vary", "Accept-Encoding")
_NO_HEADERS = httputil.HTTPHeaders()


class Exchange(httputil.HTTPMessageDelegate):
    """One request, and the one response to it.

    ``target`` is the request target as sent, ``path`` and ``query`` its two halves, still
    percent-encoded; ``route`` is the pattern that matched, for logs and metrics.
    """

    def __init__(self, application: Application, connection: httputil.HTTPConnection) -> None:
        self.application = application
        self.connection: Any = connection
        self.route = ""
        self.method = self.target = self.path = self.query = self.version = ""
        self.headers = _NO_HEADERS
        self.begun = 0.0
        self.revision: int | None = None  # of the index when the request came
        self.started = False
        self._until_close = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    # --- what Tornado tells ------------------------------------------------------------------------

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        """The head of the request is there."""
        self.begun = time.perf_counter()
        if isinstance(start_line, httputil.RequestStartLine):
            self.method, self.target, self.version = start_line
        self.path, _, self.query = self.target.partition("?")
        self.headers = headers
        self.application.active += 1
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Bodies of requests mean nothing here."""
        return None

    def finish(self) -> None:
        """The request is complete: answer it."""
        self.application.respond(self)

    def on_connection_close(self) -> None:
        """The client went away."""
        if self._task is not None:
            self._task.cancel()
        self._end()

    # --- answering ---------------------------------------------------------------------------------

    @property
    def head(self) -> bool:
        """Whether only the headers are wanted."""
        return self.method == "HEAD"

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine answer; it is cancelled if the client goes away."""
        self.connection.set_close_callback(self.on_connection_close)
        self._task = asyncio.get_running_loop().create_task(self._guard(coroutine))
        self.application.tasks.add(self._task)
        self._task.add_done_callback(self.application.tasks.discard)

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except iostream.StreamClosedError:
            self._end()
        except Exception as exc:  # noqa: BLE001 - the one place where a failed answer ends
            self.fail(exc)

    def fail(self, exc: Exception) -> None:
        """Answer an exception: a problem as such, anything else as 500 with a traceback in the log."""
        problem = exc if isinstance(exc, Problem) else internal_error()
        if problem is not exc:
            log.error("answering %s %s failed", self.method, self.route or "an unknown path", exc_info=exc)
        if self.started:
            self.connection.close()  # the only way left to say that the answer is not whole
            self._end()
        else:
            self.send_problem(problem)

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer; HEAD, 204 and 304 go without the body."""
        fields = self._fields(headers)
        if status not in (204, 304):
            fields["Content-Length"] = str(len(body))
        chunk = None if self.head or not body else body
        self._write_head(status, fields, chunk)
        self.close(status)

    def send_problem(self, problem: Problem) -> None:
        """Send an error."""
        headers = [("Content-Type", PROBLEM_JSON), _NO_CACHE, *problem.headers]
        if problem.from_index:
            headers.append(self.application.state_header())
        self.send(problem.status, headers, problem.body())

    def send_json(self, body: bytes, *, status: int = 200, revision: int | None = None) -> None:
        """Send encoded JSON with its entity tag, or 304 to a client that has it.

        With a ``revision`` the answer is one from the index: it is kept for as long as that is current.
        """
        representation = represent(body, self.headers.get("Accept-Encoding"))
        if revision is not None:
            self.application.keep(self, revision, representation)
        self.send_representation(representation, status=status, from_index=revision is not None)

    def send_representation(
        self, representation: Representation, *, status: int = 200, from_index: bool = False
    ) -> None:
        """Send JSON whose form on the wire is known already."""
        etag, body, gzipped = representation
        headers = [("Etag", etag), _NO_CACHE, _VARY_CODING]
        if from_index:
            headers.append(self.application.state_header())
        if status == 200 and none_match(self.headers.get("If-None-Match"), etag):
            self._send_lines(304, headers, b"")
            return
        headers.append(("Content-Type", JSON))
        if gzipped:
            headers.append(("Content-Encoding", "gzip"))
        self._send_lines(status, headers, body)

    def _send_lines(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """As :meth:`send`, for headers whose values are the program's own: they go out as they are.

        Where the connection has to say how it goes on, or others read the answer, Tornado writes the head.
        """
        common = self.application.common_lines()
        goes_on = self.headers.get("Connection") in (None, "keep-alive")
        if common is None or self.version != "HTTP/1.1" or not goes_on:
            self.send(status, headers, body)
            return
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        length = "" if status == 304 else f"Content-Length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}{common}{length}\r\n".encode("latin-1")
        self.started = True
        self.connection.answer(head if self.head else head + body)
        self._close(status)

    # --- streams -----------------------------------------------------------------------------------

    def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer that ``write`` continues and ``close`` ends."""
        fields = self._fields(headers)
        if self.version == "HTTP/1.0" and "Content-Length" not in fields:
            self._until_close = True  # before chunks existed, this was how a client knew the end
            self.headers.pop("Connection", None)
        self._write_head(status, fields, None)

    async def write(self, chunk: bytes) -> None:
        """Send a part and wait until the client has room for more.

        Raises ``StreamClosedError``, or is cancelled, if it has gone.
        """
        await self.connection.write(chunk)

    def close(self, status: int) -> None:
        """End the answer."""
        self.connection.finish()
        if self._until_close:
            self.connection.close()
        self._close(status)

    def _close(self, status: int) -> None:
        self.application.observe(self.route, status, time.perf_counter() - self.begun)
        self._end()

    def _fields(self, headers: Headers) -> httputil.HTTPHeaders:
        fields = httputil.HTTPHeaders()
        for name, value in headers:
            fields[name] = value
        for name, value in self.application.common_headers(self.headers):
            fields[name] = f"{fields[name]}, {value}" if name == "Vary" and name in fields else value
        return fields

    def _write_head(self, status: int, fields: httputil.HTTPHeaders, chunk: bytes | None) -> None:
        self.started = True
        start_line = httputil.ResponseStartLine("", status, _REASONS[status])
        self.connection.write_headers(start_line, fields, chunk)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self.application.active -= 1


_date: tuple[int, str] = (0, "")


def http_date() -> str:
    """The value of ``Date``, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class Endpoint:
    """What a route leads to: one object for the life of the application, without state of a request.

    The class variables are what ``/openapi.json`` says: ``summary`` in a few words, ``answers`` the type
    of a JSON body, ``media_types`` further or other forms of the body, ``request_headers`` those that
    change the answer, ``errors`` statuses beyond those that every answer may have. What is not
    ``documented`` is left out, such as the parts of a page.
    """

    documented: ClassVar[bool] = True
    summary: ClassVar[str] = ""
    answers: ClassVar[Any] = None
    media_types: ClassVar[tuple[str, ...]] = ()
    request_headers: ClassVar[tuple[str, ...]] = ()
    errors: ClassVar[tuple[int, ...]] = ()

    def __init__(self, context: Context) -> None:
        self.context = context
        urls = "urls" in context.include
        self.parameters = self.declare(Limits(context.default_limit, context.max_limit, urls))

    def declare(self, limits: Limits) -> ParameterSet:
        """The query parameters."""
        return ParameterSet(limits=limits)

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """Answer, or return the coroutine that will; ``args`` are the decoded names of the path."""
        raise NotImplementedError


class JsonEndpoint(Endpoint):
    """JSON with an entity tag."""

    request_headers = ("If-None-Match",)


class IndexEndpoint(JsonEndpoint):
    """JSON from the index."""

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The body, or None if what ``args`` name is not known; a search is asked in a thread of its own."""
        raise NotImplementedError

    def is_search(self, args: Sequence[str], query: Query) -> bool:
        """Whether it takes so long to answer that other requests must not wait for it."""
        return False

    def key(self, args: Sequence[str]) -> tuple[Any, ...]:
        """What to look up in the database when ``answer`` returned None: its kind and its key."""
        return ("job", args[0])

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """Answer at once where the index knows; else ask the database first."""
        query = self.parameters.parse(exchange.query)
        if self.context.searches is not None and self.is_search(args, query):
            return self._search(exchange, args, query, self.context.searches)
        if self._answer(exchange, args, query, exchange.revision):
            return None
        self.require_ready(args)
        return self._look_up(exchange, args, query)

    def _answer(
        self, exchange: Exchange, args: Sequence[str], query: Query, revision: int | None = None
    ) -> bool:
        """Answer from the index; False if it does not know.

        ``revision`` is one that was read before, if that is known: so it is never newer than the answer.
        """
        if revision is None:
            revision = self.context.queries.revision()
        answer = self.answer(self.context.queries, args, query)
        return self._send(exchange, answer, revision)

    async def _look_up(self, exchange: Exchange, args: Sequence[str], query: Query) -> None:
        key = self.key(args)
        if not (await self.context.lookup(*key) and self._answer(exchange, args, query)):
            raise not_found(describe(*key))

    async def _search(
        self, exchange: Exchange, args: Sequence[str], query: Query, searches: Searches
    ) -> None:
        if await self._find(exchange, args, query, searches):
            return
        self.require_ready(args)
        key = self.key(args)
        if not (await self.context.lookup(*key) and await self._find(exchange, args, query, searches)):
            raise not_found(describe(*key))

    async def _find(self, exchange: Exchange, args: Sequence[str], query: Query, searches: Searches) -> bool:
        """The same as :meth:`_answer`, from the other thread."""
        queries = self.context.queries
        revision = queries.revision()
        answer = await searches.ask(queries.path, lambda others: self.answer(others, args, query))
        return self._send(exchange, answer, revision)

    def _send(self, exchange: Exchange, answer: Any, revision: int) -> bool:
        if answer is None:
            return False
        exchange.send_json(encode(answer), revision=revision)
        return True

    def require_ready(self, args: Sequence[str]) -> None:
        """Raise 503 while what is not known may only not have been found yet."""
        if not self.context.health.ready():
            raise not_ready(describe(*self.key(args)))


encode = msgspec.json.Encoder().encode


def describe(kind: str, *key: str) -> str:
    """Name something that is not known, for people: ``video 'v_1' in job 'j_1'``."""
    names = [f"'{name}'" if len(name) <= 80 else f"'{name[:77]}…'" for name in key]
    if kind == "video":
        return f"video {names[1]} in job {names[0]}"
    return f"{kind.replace('_', ' ')} {names[-1]}"

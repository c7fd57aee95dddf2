"""A connection answers each request by itself, whatever came before it on the same or another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tornado.httputil import HTTPInputError
from webfake import BARE_VIDEO, GMT7, FakeHealth, FakeLookup, FakeQueries

from web import connection
from web.app import make_app
from web.connection import Connection
from web.context import Context
from web.server import Server, ServerLimits

Client = Callable[[int, Server], Awaitable[None]]


def serve(client: Client, lookup: Any = None, limits: ServerLimits | None = None) -> None:
    """Let a client talk to a server of a hundred videos."""

    async def main() -> None:
        queries = FakeQueries()
        queries.videos_list = [replace(BARE_VIDEO, title="x" * 5_000)] * 100
        context = Context(queries, FakeHealth(), lookup or FakeLookup(), "/data", GMT7)
        server = Server(make_app(context), limits)
        port = server.listen("127.0.0.1", 0)
        try:
            await asyncio.wait_for(client(port, server), 30)
        finally:
            await server.shutdown(5)

    asyncio.run(main())


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of an answer that says its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.split("\r\n") if line.lower().startswith("content-length"))
    return head, await reader.readexactly(int(length.split(":")[1]))


def request(target: str, *fields: str, version: str = "1.1") -> bytes:
    """A GET."""
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: x", *fields, "", ""]).encode()


def test_the_fields_of_one_request_are_not_those_of_the_next() -> None:
    """Also where most of them are the same, and where they come back."""

    async def client(port: int, server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(request("/status/j_123", "Accept-Encoding: gzip"))
            head, packed = await read_answer(reader)
            assert "Content-Encoding: gzip" in head
            writer.write(request("/status/j_123", "Accept-Encoding: identity"))
            head, plain = await read_answer(reader)
            assert "Content-Encoding" not in head
            assert packed != plain
            writer.write(request("/status/j_123", "Connection: keep-alive", version="1.0"))
            head, _ = await read_answer(reader)
            assert "Connection: Keep-Alive" in head
        writer.write(request("/status/j_123", "Connection: close"))
        head, _ = await read_answer(reader)
        assert "Connection: close" in head
        assert await reader.read() == b"", "this one ends"
        writer.close()

    serve(client)


def test_many_requests_at_once_are_answered_in_turn() -> None:
    async def client(port: int, server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        targets = [f"/status/{job}?n={n}" for n in range(200) for job in ("j_123", "nope")]
        writer.write(b"".join(map(request, targets)))
        other = await asyncio.open_connection("127.0.0.1", port)
        other[1].write(request("/jobs"))
        await read_answer(other[0])
        heads = [(await read_answer(reader))[0] for _ in targets]
        assert [head[9:12] for head in heads] == ["200", "404"] * 200
        for each in (writer, other[1]):
            each.close()

    serve(client)


def test_a_request_that_comes_byte_by_byte_is_answered() -> None:
    async def client(port: int, server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            for byte in request("/jobs/j_123/videos?limit=100"):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            head, body = await read_answer(reader)
            assert head.startswith("HTTP/1.1 200")
            assert len(body) > 500_000
        writer.close()

    serve(client)


def test_an_answer_may_take_longer_than_a_client_may_be_silent() -> None:
    release = asyncio.Event()

    async def slow(kind: Any, *key: str) -> bool:
        await release.wait()
        return False

    async def client(port: int, server: Server) -> None:
        silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/status/nope"))
        assert await silent[0].read() == b"", "the silent one is closed"
        while server.connections != 1:
            await asyncio.sleep(0.01)
        release.set()
        assert (await read_answer(reader))[0].startswith("HTTP/1.1 404")
        for each in (writer, silent[1]):
            each.close()

    serve(client, slow, ServerLimits(idle=0.2))


def test_a_client_that_goes_while_it_is_answered_leaves_nothing_behind() -> None:
    async def client(port: int, server: Server) -> None:
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("/jobs/j_123/videos?limit=100") * 3)
            writer.transport.abort()
        while server.connections:
            await asyncio.sleep(0.01)

    serve(client)


class Named:
    """What a connection knows of its stream while it reads a head."""

    waiting_since: float | None = 1.0
    max_buffer_size = 100

    def set_close_callback(self, callback: Any) -> None:
        """Nobody is told."""


def parsed(head: str) -> Any:
    stream: Any = Named()

    async def read() -> Any:
        return Connection(stream, False)._parse_headers(head.encode("latin-1"))[1]

    fields = asyncio.run(read())
    assert stream.waiting_since is None
    return fields


def test_fields_are_read_once_where_nobody_changes_them() -> None:
    fields = "\r\nHost: x\r\nAccept: */*\r\n\r\n"
    assert parsed(f"GET /a HTTP/1.1{fields}") is parsed(f"\r\nGET /b HTTP/1.1{fields}")
    assert parsed(f"GET /a HTTP/1.0{fields}") is not parsed(f"GET /b HTTP/1.0{fields}")
    long = f"\r\nHost: x\r\nCookie: {'c' * connection._SHORT_HEAD}\r\n\r\n"
    assert parsed(f"GET /a HTTP/1.1{long}") is not parsed(f"GET /a HTTP/1.1{long}")


def test_fields_that_are_wrong_are_wrong_each_time() -> None:
    for _ in range(2):
        with pytest.raises(HTTPInputError):
            parsed("GET /a HTTP/1.1\r\nHost x\r\n\r\n")

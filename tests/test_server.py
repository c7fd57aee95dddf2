"""The server's limits hold, and it stops in order."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from dataclasses import replace
from typing import Any, cast

import pytest
from webfake import BARE_VIDEO, GMT7, FakeHealth, FakeLookup, FakeQueries

from web.app import make_app
from web.context import Context
from web.server import Server, ServerLimits, bind, raise_file_limit

REQUEST = b"GET /status/j_123 HTTP/1.1\r\nHost: x\r\n\r\n"


def context(lookup: Any = None) -> Context:
    return Context(FakeQueries(), FakeHealth(), lookup or FakeLookup(), "/data", GMT7)


async def ask(port: int, request: bytes = REQUEST) -> bytes:
    """The answer's first line, or nothing if the server closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.readline(), 30)
    finally:
        writer.close()
        await writer.wait_closed()


def test_one_connection_too_many_closes_the_one_that_waited_longest() -> None:
    async def main() -> None:
        server = Server(make_app(context()), ServerLimits(connections=3))
        port = server.listen("127.0.0.1", 0)
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        held[0][1].write(REQUEST * 2)  # the first becomes the one that asked last
        for _ in range(2):
            await asyncio.wait_for(held[0][0].readuntil(b'+07:00"}'), 30)
        assert (await ask(port)).startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(held[1][0].read(), 30) == b""
        held[0][1].write(REQUEST)
        assert (await asyncio.wait_for(held[0][0].readline(), 30)).startswith(b"HTTP/1.1 200")
        assert server.connections <= 3
        for _, writer in held:
            writer.close()
        await server.shutdown(5)

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", b"GET /jobs HTTP/1.1\r\n", REQUEST + b"GET"])
def test_a_connection_that_sends_no_whole_request_is_closed(sent: bytes) -> None:
    async def main() -> None:
        server = Server(make_app(context()), ServerLimits(idle=0.2))
        port = server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        received = await asyncio.wait_for(reader.read(), 30)
        assert received.startswith(b"HTTP/1.1 200") is sent.startswith(REQUEST)
        writer.close()
        await server.shutdown(5)

    asyncio.run(main())


def test_a_client_that_takes_nothing_of_its_answer_is_closed() -> None:
    async def main() -> None:
        queries = FakeQueries()
        queries.videos_list = [replace(BARE_VIDEO, title="x" * 50_000)] * 1000
        application = make_app(replace(context(), queries=queries))
        server = Server(application, ServerLimits(stall=0.4))
        port = server.listen("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /jobs/j_123/videos?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            for closed in (False, True):
                async with asyncio.timeout(30):
                    while (server.connections == 0) is not closed:
                        await asyncio.sleep(0.01)
        assert application.active == 0
        await server.shutdown(5)

    asyncio.run(main())


def test_stopping_lets_open_requests_finish_and_takes_no_new_ones() -> None:
    released = asyncio.Event()

    async def slow(kind: Any, *key: str) -> bool:
        await released.wait()
        return False

    async def main() -> None:
        application = make_app(context(slow))
        server = Server(application)
        port = server.listen("127.0.0.1", 0)
        answer = asyncio.create_task(ask(port, REQUEST.replace(b"j_123", b"nope")))
        while application.active == 0:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(server.shutdown(30))
        await asyncio.sleep(0)
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
            await ask(port)
        released.set()
        assert (await answer).startswith(b"HTTP/1.1 404")
        await stopping
        assert server.connections == 0

    asyncio.run(main())


def test_stopping_does_not_wait_longer_than_its_grace() -> None:
    async def never(kind: Any, *key: str) -> bool:
        await asyncio.Event().wait()
        return False

    async def main() -> None:
        application = make_app(context(never))
        server = Server(application)
        port = server.listen("127.0.0.1", 0)
        answer = asyncio.create_task(ask(port, REQUEST.replace(b"j_123", b"nope")))
        while application.active == 0:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(server.shutdown(0.1), 30)
        assert await answer == b""
        assert (application.active, application.tasks) == (0, set())

    asyncio.run(main())


def test_a_port_in_use_is_an_error_at_once() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = Server(make_app(context()))
            with pytest.raises(OSError, match="in use"):
                server.listen("127.0.0.1", taken.getsockname()[1])

    asyncio.run(main())


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        allowed = raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == allowed == min(before[1], 65536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Refusing:
    """A listening socket that has no descriptor to give, once it is ``armed``, for one time."""

    def __init__(self, bound: socket.socket) -> None:
        self.bound = bound
        self.armed = False
        self.refusals = 0

    def fileno(self) -> int:
        return self.bound.fileno()

    def accept(self) -> Any:
        if self.armed and not self.refusals:
            self.refusals += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.bound.accept()

    def close(self) -> None:
        self.bound.close()


def test_without_a_descriptor_an_idle_connection_is_given_up_for_a_new_one() -> None:
    """Whoever asks then is answered all the same, a moment later."""

    async def main() -> None:
        server = Server(make_app(context()))
        bound = Refusing(bind("127.0.0.1", 0))
        server.add_sockets([cast(socket.socket, bound)])
        port = bound.bound.getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(port)).startswith(b"HTTP/1.1 200")
        bound.armed = True
        assert (await ask(port)).startswith(b"HTTP/1.1 200")
        assert bound.refusals == 1
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await server.shutdown(5)

    asyncio.run(main())

"""What happens on the wire: framing, keep-alive, what is no HTTP, and clients that go away."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import until
from webfake import Web, serving

STATUS = b"GET /status/j_123 HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = STATUS.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as running:
        yield running


def exchange(web: Web, *parts: bytes) -> bytes:
    """Send raw bytes, the last of which make the server close, and read until it does."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        for part in parts:
            client.sendall(part)
        return b"".join(iter(lambda: client.recv(65536), b""))


def problem(received: bytes, status: int) -> Any:
    """The body of an error that came as raw bytes."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), received
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["status"] == status
    return json.loads(body)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /jobs\r\n\r\n",
        b"GET /jobs HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n",
        b"GET /jo bs HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /jobs\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_problem_too(web: Web, request_bytes: bytes) -> None:
    problem(exchange(web, request_bytes), 400)
    assert web.get("/status/j_123").status == 200


def test_headers_that_are_too_long_are_told_so(web: Web) -> None:
    head = b"GET /jobs HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (80 << 10)
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(head)
        problem(client.recv(65536), 431)


def test_a_thousand_parameters_are_read(web: Web) -> None:
    query = "&".join(f"x{number}=1" for number in range(5000)) + "&limit=0"
    assert [error["parameter"] for error in web.get(f"/jobs?{query}").json["errors"]] == ["limit"]


def test_a_connection_serves_many_requests_also_sent_together(web: Web) -> None:
    received = exchange(web, STATUS * 20, STATUS.replace(b"GET", b"HEAD"), LAST.replace(b"GET", b"POST"))
    assert received.count(b"HTTP/1.1 200 OK") == 21
    assert received.count(b"HTTP/1.1 405 ") == 1
    assert received.count(b'"job_id":"j_123"') == 20


def test_a_request_in_single_bytes_is_one_request(web: Web) -> None:
    received = exchange(web, *(LAST[position : position + 1] for position in range(len(LAST))))
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_close_is_honoured(web: Web) -> None:
    assert b"\r\nConnection: close\r\n" in exchange(web, LAST)


def test_http_1_0_needs_no_host_and_is_closed(web: Web) -> None:
    assert exchange(web, b"GET /status/j_123 HTTP/1.0\r\n\r\n").endswith(b"}")


def test_a_client_that_leaves_while_the_database_is_asked_cancels_the_asking(web: Web) -> None:
    asked, cancelled = [], []

    async def forever(kind: Any, *key: str) -> bool:
        asked.append(key)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise
        return False

    web.lookup.__class__ = type("Waiting", (type(web.lookup),), {"__call__": staticmethod(forever)})
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(STATUS.replace(b"j_123", b"nope"))
        until(lambda: bool(asked), "the request begins")
    until(lambda: bool(cancelled), "the request is given up")
    until(lambda: web.application.active == 0 and not web.application.tasks, "nothing is left of it")


def test_nothing_stays_active_after_the_answers(web: Web) -> None:
    for target in ("/status/j_123", "/status/nope", "/nope", "/verification/findings?format=csv"):
        web.get(target)
    exchange(web, b"nonsense\r\n\r\n")
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        until(lambda: web.application.active == 1, "the request runs")
    until(lambda: web.application.active == 0 and not web.application.tasks, "nothing is left of it")

"""``GET /`` and ``GET /dashboard/{path}``: the page for people, and the files it is made of."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from hashlib import blake2b
from importlib import resources
from typing import Any, NamedTuple

from web.base import Endpoint, Exchange
from web.conditional import none_match
from web.context import Context
from web.problems import no_such_path

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class Part(NamedTuple):
    """A file of the page as it is sent."""

    media_type: str
    etag: str
    body: bytes


def read_parts() -> dict[str, Part]:
    """Every file of the page by its name; read once, since they are installed with the program."""
    folder = resources.files("web").joinpath("dashboard")
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    return {
        name: Part(_TYPES[name.rpartition(".")[2]], f'"{blake2b(body, digest_size=16).hexdigest()}"', body)
        for name, body in found.items()
        if name.rpartition(".")[2] in _TYPES
    }


class _Static(Endpoint):
    """Sends a part of the page."""

    request_headers = ("If-None-Match",)

    def send_part(self, exchange: Exchange, part: Part) -> None:
        """The part, or 304 to a client that has it."""
        headers = [
            ("Etag", part.etag),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", _POLICY),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if none_match(exchange.headers.get("If-None-Match"), part.etag):
            exchange.send(304, headers)
        else:
            exchange.send(200, [*headers, ("Content-Type", part.media_type)], part.body)


class Page(_Static):
    """``GET /``."""

    summary = "The dashboard"
    media_types = ("text/html",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._page = read_parts()["index.html"]

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The page."""
        self.send_part(exchange, self._page)
        return None


class PagePart(_Static):
    """``GET /dashboard/{path}``."""

    summary = "A part of the dashboard"
    media_types = ("text/javascript", "text/css", "image/svg+xml", "image/png", "text/html")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._parts = read_parts()

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The part."""
        part = self._parts.get(args[0])
        if part is None:
            raise no_such_path()
        self.send_part(exchange, part)
        return None

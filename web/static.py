"""Files that are installed with the program and sent as they are: the parts of its pages."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from hashlib import blake2b
from importlib import resources
from typing import Any, ClassVar, NamedTuple

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
PAGE_HEADERS = (
    ("Cache-Control", "no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""A page takes everything from here, runs no script and no style that stands in it, and is in no frame."""


class Part(NamedTuple):
    """A file of a page as it is sent."""

    media_type: str
    etag: str
    body: bytes


def read_parts(folder: str) -> dict[str, Part]:
    """Every file of a folder below this package by its name."""
    files = (file for file in resources.files("web").joinpath(folder).iterdir() if file.is_file())
    return {
        file.name: part_of(file.name, file.read_bytes()) for file in files if _suffix(file.name) in _TYPES
    }


def part_of(name: str, body: bytes) -> Part:
    """A file's content with its tag and, by its name, its type."""
    return Part(_TYPES[_suffix(name)], f'"{blake2b(body, digest_size=16).hexdigest()}"', body)


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]


class _Static(Endpoint):
    """Sends files of ``folder``, which are read once."""

    folder: ClassVar[str]
    request_headers = ("If-None-Match",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.parts = read_parts(self.folder)

    def send_part(self, exchange: Exchange, part: Part) -> None:
        """The part, or 304 to a client that has it."""
        headers = [("Etag", part.etag), *PAGE_HEADERS]
        if none_match(exchange.headers.get("If-None-Match"), part.etag):
            exchange.send(304, headers)
        else:
            exchange.send(200, [*headers, ("Content-Type", part.media_type)], part.body)


class StaticPage(_Static):
    """The page itself, ``index.html``."""

    media_types = ("text/html",)

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The page."""
        self.send_part(exchange, self.parts["index.html"])
        return None


class StaticPart(_Static):
    """What the page is made of, by the name in the path."""

    media_types = ("text/javascript", "text/css", "image/svg+xml", "image/png", "text/html")

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The part."""
        part = self.parts.get(args[0])
        if part is None:
            raise no_such_path()
        self.send_part(exchange, part)
        return None

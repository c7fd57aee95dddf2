"""``GET /files/{path}``: the bytes of an image or artifact that the index knows, and nothing else.

What the index knows decides; opening walks the path without following links, so that a directory or file
swapped for a link in the meantime leads nowhere.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tornado import iostream

from web.base import Endpoint, Exchange
from web.conditional import none_match
from web.problems import Problem, no_such_path, not_found, not_ready

CHUNK = 256 * 1024  # what a stream reads at once
_PEEK = 64 * 1024  # what is read together with opening: most masks, embeddings and thumbnails whole
_OCTETS = "application/octet-stream"
_IMAGES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "image/avif")
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO})
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open regular file with its first bytes; whoever has it closes ``fd``."""

    fd: int
    size: int
    etag: str
    start: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a file that is sent: ``length`` bytes from ``first`` on."""

    first: int
    length: int


class FileEndpoint(Endpoint):
    """What answers from a file of an asset."""

    def missing(self) -> Problem:
        """404, or 503 while the file may only not have been found yet."""
        return not_found("such file") if self.context.health.ready() else not_ready("such file")

    async def open(self, path: str) -> OpenFile:
        """The file at a path that the index knows; raises the problem of one that cannot be opened."""
        try:
            opened = await open_in_thread(self.context.root, path)
        except OSError as exc:
            raise unreadable(exc) from exc
        if opened is None:
            raise self.missing()
        return opened


class Files(FileEndpoint):
    """``GET /files/{path}``."""

    summary = "The bytes of an image or artifact of an asset"
    media_types = (*_IMAGES, _OCTETS)
    request_headers = ("If-None-Match", "Range", "If-Range")
    errors = (416,)

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """404 for everything but files of assets."""
        if not self.context.files:
            raise no_such_path()
        if self.context.queries.file(args[0]) is None:
            raise self.missing()
        return self._send(exchange, args[0])

    async def _send(self, exchange: Exchange, path: str) -> None:
        opened = await self.open(path)
        try:
            await _answer(exchange, opened)
        finally:
            os.close(opened.fd)


async def open_in_thread(root: str, path: str) -> OpenFile | None:
    """``open_file`` off the event loop; a client that goes away meanwhile leaves no open file."""
    future = asyncio.get_running_loop().run_in_executor(None, open_file, root, path)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_close_result)
        raise


def _close_result(future: asyncio.Future[OpenFile | None]) -> None:
    if future.exception() is None and (opened := future.result()) is not None:
        os.close(opened.fd)


def unreadable(exc: OSError) -> Problem:
    name = errno.errorcode.get(exc.errno or 0, "an error")
    detail = f"The file is there but cannot be read now ({name})."
    return Problem(503, detail, headers=(("Retry-After", "1"),))


# --- opening ---------------------------------------------------------------------------------------


def open_file(root: str, path: str) -> OpenFile | None:
    """Open a file below the data root; None where there is no regular file with content.

    The data root and the first folder may be links; a file that is a link is opened if what it points to
    lies below the data root. Raises ``OSError`` for everything but absence.
    """
    parts = path.split("/")
    if "\0" in path or not all(part not in ("", ".", "..") for part in parts):
        return None
    try:
        fd = _open_below(root, parts)
    except OSError as exc:
        if exc.errno in _GONE:
            return None
        raise
    return _describe(fd)


def _open_below(root: str, parts: list[str]) -> int:
    directory = _open_directory(root, parts[:-1], follow_first=True)
    try:
        return os.open(parts[-1], _FILE, dir_fd=directory)
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
    finally:
        os.close(directory)
    return _open_target(root, parts)


def _open_target(root: str, parts: list[str]) -> int:
    """Open what a file link points to, if that lies below the data root or the file's own root."""
    target = os.path.realpath(os.path.join(root, *parts))
    for place in (os.path.realpath(root), os.path.realpath(os.path.join(root, parts[0]))):
        inside = os.path.relpath(target, place).split("/")
        if inside[0] in ("..", "."):
            continue
        directory = _open_directory(place, inside[:-1], follow_first=False)
        try:
            return os.open(inside[-1], _FILE, dir_fd=directory)
        finally:
            os.close(directory)
    raise FileNotFoundError(errno.ENOENT, "it points out of the data root")


def _open_directory(root: str, parts: list[str], *, follow_first: bool) -> int:
    """Open a directory component by component, following no link but, where allowed, a first folder."""
    directory = os.open(root, _DIRECTORY)
    try:
        for depth, part in enumerate(parts):
            flags = _DIRECTORY if follow_first and depth == 0 else _DIRECTORY | os.O_NOFOLLOW
            below = os.open(part, flags, dir_fd=directory)
            os.close(directory)
            directory = below
    except OSError:
        os.close(directory)
        raise
    return directory


def _describe(fd: int) -> OpenFile | None:
    """The open file with its tag and first bytes; closes it unless it is a regular file with content."""
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size > 0:
            etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
            opened = OpenFile(fd, status.st_size, etag, os.pread(fd, _PEEK, 0))
            fd = -1
            return opened
        return None
    finally:
        if fd >= 0:
            os.close(fd)


def content_type(start: bytes) -> str:
    """The type of an image by its first bytes; everything else is octets."""
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if start.startswith((b"II*\0", b"MM\0*")):
        return "image/tiff"
    if start.startswith(b"BM") and start[6:10] == b"\0\0\0\0":
        return "image/bmp"
    if start[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return _OCTETS


# --- answering -------------------------------------------------------------------------------------


async def _answer(exchange: Exchange, opened: OpenFile) -> None:
    headers = [
        ("Etag", opened.etag),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
    ]
    if none_match(exchange.headers.get("If-None-Match"), opened.etag):
        exchange.send(304, headers)
        return
    span = wanted_span(exchange, opened)
    headers.append(("Content-Type", content_type(opened.start)))
    if span is None:
        await _send_span(exchange, opened, 200, headers, Span(0, opened.size))
        return
    last = span.first + span.length - 1
    headers.append(("Content-Range", f"bytes {span.first}-{last}/{opened.size}"))
    await _send_span(exchange, opened, 206, headers, span)


def wanted_span(exchange: Exchange, opened: OpenFile) -> Span | None:
    """The part that ``Range`` asks for; None for the whole file. Raises the 416."""
    asked = exchange.headers.get("Range")
    condition = exchange.headers.get("If-Range")
    if asked is None or exchange.head or (condition is not None and condition.strip() != opened.etag):
        return None
    return parse_range(asked, opened.size)


def parse_range(text: str, size: int) -> Span | None:
    """A single range of bytes; None for what may be ignored: other units, several ranges, nonsense.

    Raises the 416 for a range that holds no byte of the file.
    """
    unit, _, spec = text.partition("=")
    first_text, dash, last_text = (part.strip() for part in spec.partition("-"))
    numbers = first_text + last_text
    if unit.strip().lower() != "bytes" or not dash or not (numbers.isascii() and numbers.isdigit()):
        return None
    if len(numbers) > 40:
        return None
    if not first_text:
        length = min(int(last_text), size)
        first = size - length
    else:
        first = int(first_text)
        last = min(int(last_text), size - 1) if last_text else size - 1
        if last_text and int(last_text) < first:
            return None
        length = last - first + 1
    if length <= 0:
        raise Problem(416, f"The file has {size} bytes.", headers=(("Content-Range", f"bytes */{size}"),))
    return Span(first, length)


async def _send_span(
    exchange: Exchange, opened: OpenFile, status: int, headers: list[tuple[str, str]], span: Span
) -> None:
    end = span.first + span.length
    if exchange.head:
        exchange.start(status, [*headers, ("Content-Length", str(span.length))])
        exchange.close(status)
    elif end <= len(opened.start):
        exchange.send(status, headers, opened.start[span.first : end])
    else:
        exchange.start(status, [*headers, ("Content-Length", str(span.length))])
        await _stream(exchange, opened.fd, span)
        exchange.close(status)


async def _stream(exchange: Exchange, fd: int, span: Span) -> None:
    loop = asyncio.get_running_loop()
    position, end = span.first, span.first + span.length
    while position < end:
        chunk = await loop.run_in_executor(None, os.pread, fd, min(CHUNK, end - position), position)
        if not chunk:  # it was cut short since its length was announced
            exchange.connection.close()
            raise iostream.StreamClosedError
        await exchange.write(chunk)
        position += len(chunk)

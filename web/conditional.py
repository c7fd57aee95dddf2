"""Entity tags, ``If-None-Match`` and content coding: what is sent of a body, and whether at all."""

from __future__ import annotations

import zlib
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

GZIP_LEVEL = 4
_GZIP_FORMAT = 16  # added to zlib's window size: a gzip header and trailer around it
_GZIP_SUFFIX = f"-gzip-{zlib.ZLIB_RUNTIME_VERSION}-{GZIP_LEVEL}"


class Representation(NamedTuple):
    """A body as it goes over the wire, with the entity tag that stands for exactly these bytes."""

    etag: str
    body: bytes
    gzipped: bool


def represent(body: bytes, accept_encoding: str | None) -> Representation:
    """Choose the coding of a body and name it.

    The tag is made from the content, so that it stands for one body only, also after a restart; the
    packed body has a tag of its own, which names the packer too.
    """
    digest = blake2b(body, digest_size=16).hexdigest()
    if not gzip_wanted(accept_encoding):
        return Representation(f'"{digest}"', body, False)
    return Representation(f'"{digest}{_GZIP_SUFFIX}"', _packed(body), True)


def _packed(body: bytes) -> bytes:
    """The body as gzip, with a window just large enough: to clear a full one costs more than a small body."""
    window = min(max(len(body).bit_length(), 9), zlib.MAX_WBITS)
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT + window)
    return packer.compress(body) + packer.flush()


def gzip_wanted(accept_encoding: str | None) -> bool:
    """Whether an ``Accept-Encoding`` allows gzip and does not prefer the body as it is."""
    return False if accept_encoding is None else _gzip_wanted(accept_encoding)


@lru_cache(maxsize=256)
def _gzip_wanted(accept_encoding: str) -> bool:
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        weights[coding.strip()] = _weight(parameters)
    anything = weights.get("*")
    gzip = weights.get("gzip", weights.get("x-gzip", anything))
    identity = weights.get("identity", 0.0 if anything is None else anything)
    return gzip is not None and gzip > 0 and gzip >= identity


def _weight(parameters: str) -> float:
    """The ``q`` among a coding's parameters; 1 without one, 0 for one that cannot be read."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            digits = value.strip()
            if not digits.replace(".", "", 1).isdecimal() or not digits.isascii():
                return 0.0
            return min(float(digits), 1.0)
    return 1.0


def none_match(if_none_match: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names the tag (compared weakly), so that 304 is the answer."""
    if if_none_match is None:
        return False
    return if_none_match == etag or _in_list(if_none_match, etag)


def _in_list(if_none_match: str, etag: str) -> bool:
    if if_none_match.strip() == "*":
        return True
    return any(tag.strip().removeprefix("W/") == etag for tag in if_none_match.split(","))

"""Reading ``.npz`` archives without trusting them: their checksums, and the numbers in them.

Nothing is unpickled, and memory stays constant however large a member says that it is.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from scanner.npformat import HEAD_BYTES, MAGIC, ArrayHeader, finite, number, parse_header
from scanner.verdicts import Damaged, Unjudged

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """What a member of an archive was found to be.

    ``header`` is that of an array of plain numbers, None for what is only known to have a good checksum.
    ``zeros``: every number of it is 0.
    """

    header: ArrayHeader | None
    zeros: bool = False


def check_archive(file: IO[bytes], deadline: float) -> list[Member]:
    """Read every member of an ``.npz`` in constant memory; what the members are.

    Raises ``Damaged`` where a checksum is wrong or a numeric array has a number that is not finite, and
    ``Unjudged`` where a member cannot be read by this program or ``time.monotonic()`` passes ``deadline``.
    """
    name = ""
    try:
        with zipfile.ZipFile(file) as archive:
            members = []
            for info in archive.infolist():
                name = info.filename
                members.append(_check_member(archive, info, deadline))
        return members
    except (Damaged, Unjudged, MemoryError):
        raise
    except NotImplementedError as error:
        raise Unjudged(f"member {name!r} of the archive: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise Damaged(_archive_detail(name, error)) from error
    except Exception as error:  # BadZipFile, zlib.error, struct.error and whatever else damage provokes
        raise Damaged(_archive_detail(name, error)) from error


def _archive_detail(name: str, error: Exception) -> str:
    where = f"member {name!r} of the archive" if name else "the archive"
    return f"{where} is damaged: {error or type(error).__name__}"


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, deadline: float) -> Member:
    if info.flag_bits & 0x1:
        raise Unjudged(f"member {info.filename!r} of the archive is encrypted")
    with archive.open(info) as member:
        head = member.read(HEAD_BYTES)
        if head.startswith(MAGIC):
            return _check_array(member, head, info.filename, deadline)
        _drain(member, deadline)
        return Member(None)


def _drain(member: IO[bytes], deadline: float) -> None:
    """Read to the end, where ``zipfile`` compares the checksum."""
    while member.read(_CHUNK_BYTES):
        _within(deadline)


def _check_array(member: IO[bytes], head: bytes, name: str, deadline: float) -> Member:
    try:
        header = parse_header(head)
    except Damaged as error:
        _drain(member, deadline)
        raise Damaged(f"array {name!r} {error.detail}") from error
    if not header.numeric:
        _drain(member, deadline)
        return Member(None)
    try:
        return Member(header, _read_numbers(member, head[header.offset :], header, deadline))
    except Damaged as error:
        raise Damaged(f"array {name!r} {error.detail}") from error


def _read_numbers(member: IO[bytes], data: bytes, header: ArrayHeader, deadline: float) -> bool:
    """Read the array that ``data`` begins and ``member`` goes on with to its end: whether it is all zeros.

    Raises ``Damaged`` where numbers are not finite or are not there.
    """
    all_finite = zeros = True
    wanted = header.nbytes
    size = header.dtype.itemsize
    rest = b""
    while data:
        rest += data[: max(0, wanted)]
        wanted -= len(data)
        usable = len(rest) // size * size
        values = np.frombuffer(rest, header.dtype, usable // size)
        all_finite = all_finite and finite(values)
        zeros = zeros and not values.any()
        rest = rest[usable:]
        data = member.read(_CHUNK_BYTES)
        _within(deadline)
    if wanted > 0:
        raise Damaged(f"claims {number(header.nbytes)} bytes of data and has {header.nbytes - wanted}")
    if not all_finite:
        raise Damaged("has numbers that are not finite")
    return zeros


def _within(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise Unjudged("takes too long to decompress")


def numeric(members: Sequence[Member]) -> list[Member] | None:
    """The arrays of plain numbers; None where there is anything else, which its checksum alone speaks for.

    Raises ``Damaged`` for an archive without members.
    """
    if not members:
        raise Damaged("is an archive without members")
    return None if any(member.header is None for member in members) else list(members)

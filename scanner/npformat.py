"""Reading numpy's ``.npy`` and ``.npz`` formats without trusting them.

Nothing is unpickled, nothing is evaluated, and nothing is allocated because a header says so: a header
is compared with the bytes that are there before an array is made of them.
"""

from __future__ import annotations

import ast
import math
import re
import time
import zipfile
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from scanner.verdicts import Damaged, Unjudged

MAGIC = b"\x93NUMPY"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")

_MAX_HEADER = 10_000
_HEAD_BYTES = _MAX_HEADER + 12
_CHUNK_BYTES = 1 << 20
_MAX_DIMENSIONS = 64
_NUMERIC = "biufc"

# What numpy writes for every array of plain numbers; anything else takes the slower road.
_PLAIN = re.compile(
    rb"\{'descr': '([<>|=]?[biufc?][0-9]{0,2})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]*)\), \} *\n?\Z"
)


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What the header of an array claims; ``offset`` is where its data begin, in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int

    @property
    def count(self) -> int:
        """How many elements it claims; an integer of any size."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes of data it claims; means nothing for objects."""
        return self.count * self.dtype.itemsize

    @property
    def numeric(self) -> bool:
        """Whether the elements are plain numbers."""
        return self.dtype.kind in _NUMERIC

    @property
    def pickled(self) -> bool:
        """Whether the data are a pickle, which is never loaded."""
        return self.dtype.hasobject


def parse_header(head: bytes) -> ArrayHeader:
    """The header at the start of ``head``, which holds 10,012 bytes or all there are.

    Raises ``Damaged`` where it is none that numpy writes.
    """
    if len(head) < 10:
        raise Damaged("the .npy header is cut off")
    start = {1: 10, 2: 12, 3: 12}.get(head[6])
    if start is None or head[7] != 0:
        raise Damaged(f"is .npy of the unknown version {head[6]}.{head[7]}")
    length = int.from_bytes(head[8:start], "little")
    if length > _MAX_HEADER:
        raise Damaged(f"has a .npy header of {length} bytes, more than {_MAX_HEADER}")
    text = head[start : start + length]
    if len(text) < length:
        raise Damaged("the .npy header is cut off")
    return _plain_header(text, start + length) or _other_header(text, start + length)


def _plain_header(text: bytes, offset: int) -> ArrayHeader | None:
    match = _PLAIN.match(text)
    if match is None:
        return None
    descr, fortran, shape = match.groups()
    try:
        dtype = np.dtype(descr.decode("ascii"))
        sizes = tuple(int(part) for part in shape.split(b",") if part.strip())
    except (TypeError, ValueError):
        return None
    return ArrayHeader(dtype, _checked_shape(sizes), fortran == b"True", offset)


def _other_header(text: bytes, offset: int) -> ArrayHeader:
    """A header that numpy would accept too: of structures, of objects, or as other programs write it."""
    try:
        fields = ast.literal_eval(text.decode("utf-8").strip())
        descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
        dtype = np.lib.format.descr_to_dtype(descr)
    # The text has at most 10,000 characters: memory that runs out is the parser's stack.
    except (MemoryError, RecursionError, SyntaxError, ValueError, TypeError, LookupError) as error:
        raise Damaged(f"has a .npy header that cannot be read: {type(error).__name__}") from error
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise Damaged("has a .npy header without a shape")
    return ArrayHeader(dtype, _checked_shape(shape), bool(fortran), offset)


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > _MAX_DIMENSIONS:
        raise Damaged(f"claims an array of {len(shape)} dimensions")
    return shape


def number(value: int) -> str:
    """An integer of any size, in few characters."""
    return str(value) if value < 10**18 else "more than 10^18"


def finite(values: npt.NDArray[Any]) -> bool:
    """Whether every number is finite; integers always are."""
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())


def check_archive(file: IO[bytes], deadline: float) -> int:
    """Read every member of an ``.npz`` in constant memory; the number of members.

    Raises ``Damaged`` where a checksum is wrong or a numeric array has a number that is not finite, and
    ``Unjudged`` where a member cannot be read by this program or ``time.monotonic()`` passes ``deadline``.
    """
    name = ""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for info in members:
                name = info.filename
                _check_member(archive, info, deadline)
        return len(members)
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


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, deadline: float) -> None:
    if info.flag_bits & 0x1:
        raise Unjudged(f"member {info.filename!r} of the archive is encrypted")
    with archive.open(info) as member:
        head = member.read(_HEAD_BYTES)
        if head.startswith(MAGIC):
            _check_array(member, head, info.filename, deadline)
        else:
            _drain(member, deadline)


def _drain(member: IO[bytes], deadline: float) -> None:
    """Read to the end, where ``zipfile`` compares the checksum."""
    while member.read(_CHUNK_BYTES):
        _within(deadline)


def _check_array(member: IO[bytes], head: bytes, name: str, deadline: float) -> None:
    try:
        header = parse_header(head)
    except Damaged as error:
        _drain(member, deadline)
        raise Damaged(f"array {name!r} {error.detail}") from error
    if not header.numeric:
        return _drain(member, deadline)
    whole = _all_finite(member, head[header.offset :], header, deadline)
    if whole is None:
        return None
    raise Damaged(f"array {name!r} {whole}")


def _all_finite(member: IO[bytes], data: bytes, header: ArrayHeader, deadline: float) -> str | None:
    """What is wrong with the array that ``data`` begins and ``member`` goes on with, read to its end."""
    wrong = None
    wanted = header.nbytes
    size = header.dtype.itemsize
    rest = b""
    while data:
        rest += data[: max(0, wanted)]
        wanted -= len(data)
        usable = len(rest) // size * size
        if wrong is None and not finite(np.frombuffer(rest, header.dtype, usable // size)):
            wrong = "has numbers that are not finite"
        rest = rest[usable:]
        data = member.read(_CHUNK_BYTES)
        _within(deadline)
    if wanted > 0:
        return f"claims {number(header.nbytes)} bytes of data and has {header.nbytes - wanted}"
    return wrong


def _within(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise Unjudged("takes too long to decompress")

"""Reading numpy's ``.npy`` format without trusting it.

Nothing is unpickled, nothing is evaluated, and nothing is allocated because a header says so: a header
is compared with the bytes that are there before an array is made of them.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scanner.verdicts import Damaged

MAGIC = b"\x93NUMPY"

_MAX_HEADER = 10_000
HEAD_BYTES = _MAX_HEADER + 12
"""What holds every header that is accepted."""
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


@lru_cache
def little(name: str) -> np.dtype[Any]:
    """The little-endian type of this name."""
    return np.dtype(name).newbyteorder("<")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as numpy writes it, however large its numbers are."""
    return "(" + ", ".join(map(number, shape)) + ")"

"""Embeddings: how many values, of which type, and whether they are numbers that a model can have given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scanner.archives import Member
from scanner.npformat import ArrayHeader, finite, number, shape_text
from scanner.verdicts import Damaged, Status, Verdict

FLOATS = ("float16", "float32", "float64")
_DTYPE, _DIM = "verify.embedding.dtype", "verify.embedding.dim"
_ALL_ZEROS = "embedding is all zeros: its norm is 0"


def check_length(header: ArrayHeader, dim: int) -> None:
    """Raise ``Damaged`` unless the array has ``dim`` values."""
    if header.count != dim:
        shape = shape_text(header.shape)
        detail = f"embedding has {number(header.count)} values (shape {shape}), {dim} are expected"
        raise Damaged(detail, _DIM, number(header.count))


def judge_members(arrays: Sequence[Member], dim: int) -> None:
    """Raise ``Damaged`` unless one of an archive's arrays, if there are any, can be the embedding."""
    counts = {member.header.count: member.zeros for member in arrays if member.header is not None}
    if not counts:
        return
    if dim not in counts:
        have = ", ".join(map(number, sorted(counts)[:5]))
        raise Damaged(f"embedding has arrays of {have} values, {dim} are expected", _DIM, have)
    if all(member.zeros for member in arrays if member.header and member.header.count == dim):
        raise Damaged(_ALL_ZEROS)


def embedding(data: bytes, values: npt.NDArray[Any]) -> Verdict:
    if not finite(values):
        raise Damaged("embedding has numbers that are not finite")
    if not values.any():
        raise Damaged(_ALL_ZEROS)
    return Verdict(Status.OK, digest=digest_of(data))


def digest_of(data: bytes) -> int:
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def wrong_length(size: int, dim: int, dtype: np.dtype[Any]) -> Damaged:
    whole, rest = divmod(size, dtype.itemsize)
    for name in FLOATS:
        if size == dim * np.dtype(name).itemsize:  # or as many others: the bytes cannot tell
            others = "" if rest else f" or {whole} of {dtype.name}"
            have = f"{size} bytes, {dim} values of {name}{others}"
            return Damaged(f"embedding has {have}; {dim} of {dtype.name} are expected", _DTYPE, name)
    seen = f"{size} bytes" if rest else f"{whole}"
    have = seen if rest else f"{whole} values"
    detail = f"embedding has {have}, {dim} values of {dtype.name} are expected"
    return Damaged(detail, _DIM, seen)

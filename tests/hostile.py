"""A corpus of hostile and broken files, each made anew: what to write, as what, and what to expect of it.

``python -m tests.hostile DIRECTORY`` writes the corpus to look at, or to point other readers at.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scanner.records import Feature
from scanner.verdicts import Status

OK, CORRUPT, UNCHECKED = Status.OK, Status.CORRUPT, Status.UNCHECKED


@dataclass(frozen=True)
class Hostile:
    """One file: its content, the feature that it is taken for, and the verdicts that are right."""

    name: str
    feature: Feature
    content: bytes
    expected: frozenset[Status]


class Payload:
    """Creates the file named in ``path`` when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self._path,))


# --- good bytes to start from ----------------------------------------------------------------------


def picture(
    width: int = 64, height: int = 48, form: str = "PNG", mode: str = "RGB", orientation: int = 0
) -> bytes:
    """A real picture with some variety in it."""
    rng = np.random.default_rng(width * 1000 + height)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = (200, 30, 90)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
        image.save(buffer, form, exif=exif)
    else:
        image.save(buffer, form)
    return buffer.getvalue()


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    """The array as numpy saves it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """The arrays as numpy saves them together, compressed."""
    buffer = io.BytesIO()
    members: dict[str, Any] = arrays  # what else it takes has no name in common with these
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


def embedding(dim: int = 512, dtype: str = "float32") -> np.ndarray:
    """A vector like those of a model."""
    return np.random.default_rng(dim).standard_normal(dim).astype(dtype)


def keypoints(rows: int = 17, columns: int = 3, width: int = 64, height: int = 48) -> np.ndarray:
    """Points within a picture of that size, float32."""
    rng = np.random.default_rng(rows)
    scale = np.array([width, height] + [1.0] * (columns - 2), dtype=np.float32)
    return rng.random((rows, columns), dtype=np.float32) * scale


def npy_header(text: bytes, version: int = 1, data: bytes = b"") -> bytes:
    """An array file with just this header text."""
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(width, "little") + text + data


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with a right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *between: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of that claimed size around compressed ``data``."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *between, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def zip_bomb(size: int) -> bytes:
    """An archive with one member of ``size`` zero bytes, made without holding them."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("zeros.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy_header(_descr("<f4", f"({size // 4},)")))
        block = bytes(1 << 20)
        for _ in range(size >> 20):
            member.write(block)
    return buffer.getvalue()


def _descr(descr: str, shape: str) -> bytes:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()


def altered(content: bytes, position: int, value: int | None = None) -> bytes:
    """The content with one byte changed; a negative position counts from the end."""
    position %= len(content)
    new = content[position] ^ 0xFF if value is None else value
    return content[:position] + bytes([new]) + content[position + 1 :]


# --- the corpus ------------------------------------------------------------------------------------


def corpus(marker: Path) -> Iterator[Hostile]:
    """Every hostile file; ``marker`` is what a pickle would create if it were loaded."""
    for name, feature, make, expected in _CASES:
        yield Hostile(name, feature, make(), frozenset(expected))
    for feature in (Feature.SEGMENT, Feature.EMBEDDING, Feature.KEYPOINTS):
        yield from _pickles(feature, str(marker))


def _pickles(feature: Feature, marker: str) -> Iterator[Hostile]:
    objects = np.array([Payload(marker)], dtype=object)
    raw = pickle.dumps(Payload(marker))
    raw += bytes(-len(raw) % 12)
    rows = feature is Feature.KEYPOINTS  # any whole number of rows may be keypoints, without an image
    wrong = frozenset({CORRUPT})
    yield Hostile("object array", feature, npy(objects, pickled=True), frozenset({OK}))
    yield Hostile("object array cut off", feature, npy(objects, pickled=True)[:-1], wrong)
    yield Hostile("object array in an archive", feature, npz(a=objects), frozenset({OK}))
    yield Hostile("bare pickle", feature, raw, frozenset({OK, CORRUPT}) if rows else wrong)
    yield Hostile(
        "pickle under a numeric header", feature, npy_header(_descr("<f4", "(512,)"), 1, raw), wrong
    )
    yield Hostile("pickle in an archive", feature, archive({"x.pkl": raw}), frozenset({OK}))


Case = tuple[str, Feature, Callable[[], bytes], tuple[Status, ...]]

_PICTURES: list[Case] = [
    ("bomb of 400 million pixels", Feature.IMAGE, lambda: png(20_000, 20_000, b""), (CORRUPT,)),
    ("bomb of 2^31 x 2^31", Feature.IMAGE, lambda: png(2**31 - 1, 2**31 - 1, b""), (CORRUPT,)),
    ("a size of nothing", Feature.IMAGE, lambda: png(0, 0, b""), (CORRUPT,)),
    ("header without data", Feature.IMAGE, lambda: png(64, 48, b""), (CORRUPT,)),
    (
        "PNG with a bomb in its text",
        Feature.IMAGE,
        lambda: png(
            8, 8, zlib.compress(bytes(72)), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50 << 20)))
        ),
        (CORRUPT, UNCHECKED),
    ),
    (
        "PNG whose data inflate without end",
        Feature.IMAGE,
        lambda: png(8, 8, zlib.compress(bytes(100 << 20), 9)),
        (OK, CORRUPT),
    ),
    ("PNG with a wrong checksum", Feature.IMAGE, lambda: altered(picture(), -17), (CORRUPT,)),
    ("PNG cut in half", Feature.IMAGE, lambda: picture()[: len(picture()) // 2], (CORRUPT,)),
    ("JPEG cut in half", Feature.IMAGE, lambda: picture(form="JPEG")[:-900], (CORRUPT,)),
    ("JPEG of its magic alone", Feature.IMAGE, lambda: b"\xff\xd8\xff", (CORRUPT,)),
    ("JPEG full of zeros", Feature.IMAGE, lambda: b"\xff\xd8\xff\xe0" + bytes(5000), (CORRUPT,)),
    ("WebP cut in half", Feature.IMAGE, lambda: picture(form="WEBP")[:300], (CORRUPT,)),
    ("GIF cut in half", Feature.IMAGE, lambda: picture(form="GIF")[:900], (CORRUPT,)),
    ("TIFF whose directory points at itself", Feature.IMAGE, lambda: b"II*\0\x04\0\0\0" * 40, (CORRUPT,)),
    ("TIFF with an absurd directory", Feature.IMAGE, lambda: b"II*\0\x08\0\0\0" + b"\xff" * 4000, (CORRUPT,)),
    ("picture with an archive behind it", Feature.IMAGE, lambda: picture() + npz(a=embedding()), (OK,)),
    ("JPEG with a script behind it", Feature.IMAGE, lambda: picture(form="JPEG") + b"<script>" * 99, (OK,)),
    ("PostScript", Feature.IMAGE, lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", (CORRUPT,)),
    ("HEIF, which has no decoder", Feature.IMAGE, lambda: b"\0\0\0\x18ftypheic" + bytes(99), (UNCHECKED,)),
    ("an array for an image", Feature.IMAGE, lambda: npy(embedding()), (CORRUPT,)),
    ("text for an image", Feature.IMAGE, lambda: b"404 not found\n", (CORRUPT,)),
    ("zeros for an image", Feature.IMAGE, lambda: bytes(9000), (CORRUPT,)),
    ("mask that is a bomb", Feature.SEGMENT, lambda: png(20_000, 20_000, b""), (CORRUPT,)),
    ("mask of one byte", Feature.SEGMENT, lambda: b"\x89", (CORRUPT,)),
    (
        "mask of 1 bit a pixel, 20,000 wide",
        Feature.SEGMENT,
        lambda: png(20_000, 8_000, zlib.compress(bytes(2_501 * 8_000)), depth=1),
        (OK, UNCHECKED),
    ),
]

_ARRAYS: list[Case] = [
    ("claims 2^62 elements", Feature.EMBEDDING, lambda: npy_header(_descr("<f4", f"({2**62},)")), (CORRUPT,)),
    (
        "claims 10^4000 elements",
        Feature.EMBEDDING,
        lambda: npy_header(_descr("<f4", "(" + "9" * 4000 + ",)")),
        (CORRUPT,),
    ),
    ("claims 2^62 rows", Feature.KEYPOINTS, lambda: npy_header(_descr("<f4", f"({2**62}, 3)")), (CORRUPT,)),
    (
        "claims a mask of 2^31 x 2^31",
        Feature.SEGMENT,
        lambda: npy_header(_descr("|u1", f"({2**31}, {2**31})"), 1, bytes(99)),
        (CORRUPT,),
    ),
    ("negative shape", Feature.KEYPOINTS, lambda: npy_header(_descr("<f4", "(-1, 3)")), (CORRUPT,)),
    ("shape of brackets", Feature.KEYPOINTS, lambda: npy_header(b"(" * 9000), (CORRUPT,)),
    ("shape of minus signs", Feature.KEYPOINTS, lambda: npy_header(b"-" * 9000 + b"1"), (CORRUPT,)),
    ("header that is code", Feature.KEYPOINTS, lambda: npy_header(b"__import__('os').getpid()"), (CORRUPT,)),
    ("header of 4 GB", Feature.EMBEDDING, lambda: b"\x93NUMPY\x02\0\xff\xff\xff\xff" + bytes(99), (CORRUPT,)),
    ("header of 65,535 bytes", Feature.EMBEDDING, lambda: npy_header(b" " * 65535), (CORRUPT,)),
    ("unknown version", Feature.EMBEDDING, lambda: altered(npy(embedding()), 6, 9), (CORRUPT,)),
    ("header cut off", Feature.EMBEDDING, lambda: npy(embedding())[:40], (CORRUPT,)),
    ("magic alone", Feature.EMBEDDING, lambda: b"\x93NUMPY", (CORRUPT,)),
    ("data cut off", Feature.EMBEDDING, lambda: npy(embedding())[:-1], (CORRUPT,)),
    (
        "absurd type",
        Feature.EMBEDDING,
        lambda: npy_header(_descr("<f99", "(512,)"), 1, bytes(9999)),
        (CORRUPT,),
    ),
    (
        "type of 2 GB strings",
        Feature.EMBEDDING,
        lambda: npy_header(_descr("|S2147483647", "(512,)"), 1, bytes(99)),
        (CORRUPT,),
    ),
    ("structured type", Feature.EMBEDDING, lambda: npy(np.zeros(512, dtype=[("x", "<f4")])), (CORRUPT,)),
    (
        "sixty-five dimensions",
        Feature.KEYPOINTS,
        lambda: npy_header(_descr("<f4", "(" + "1, " * 65 + ")"), 1, bytes(4)),
        (CORRUPT,),
    ),
    ("picture for an embedding", Feature.EMBEDDING, picture, (CORRUPT,)),
    ("text for keypoints", Feature.KEYPOINTS, lambda: b"404 not found\n\n", (CORRUPT,)),
]

_ARCHIVES: list[Case] = [
    ("bomb in an archive", Feature.KEYPOINTS, lambda: zip_bomb(64 << 20), (OK,)),
    (
        "bomb by bzip2",
        Feature.KEYPOINTS,
        lambda: archive({"a": bytes(64 << 20)}, zipfile.ZIP_BZIP2),
        (OK, UNCHECKED),
    ),
    (
        "bomb by LZMA",
        Feature.KEYPOINTS,
        lambda: archive({"a": bytes(64 << 20)}, zipfile.ZIP_LZMA),
        (OK, UNCHECKED),
    ),
    ("archive cut off", Feature.KEYPOINTS, lambda: npz(a=keypoints())[:-30], (CORRUPT,)),
    ("archive of its magic alone", Feature.KEYPOINTS, lambda: b"PK\x03\x04", (CORRUPT,)),
    (
        "archive with a wrong checksum",
        Feature.KEYPOINTS,
        lambda: altered(archive({"a.npy": npy(keypoints())}, zipfile.ZIP_STORED), 200),
        (CORRUPT,),
    ),
    (
        "archive that claims encryption",
        Feature.KEYPOINTS,
        lambda: _with_flag(npz(a=keypoints())),
        (UNCHECKED,),
    ),
    ("archive with members outside", Feature.KEYPOINTS, lambda: archive({"../../x": b"y"}), (OK,)),
    (
        "array in an archive that claims 2^62 elements",
        Feature.KEYPOINTS,
        lambda: archive({"a.npy": npy_header(_descr("<f4", f"({2**62},)"))}),
        (CORRUPT,),
    ),
    (
        "infinity in an archive",
        Feature.KEYPOINTS,
        lambda: npz(a=keypoints(), b=np.array([1.0, np.inf])),
        (CORRUPT,),
    ),
    (
        "thousands of members",
        Feature.KEYPOINTS,
        lambda: archive({f"{i}": b"" for i in range(5000)}, zipfile.ZIP_STORED),
        (OK,),
    ),
]

_CASES = _PICTURES + _ARRAYS + _ARCHIVES


def _with_flag(content: bytes) -> bytes:
    """The archive with the encryption bit of its first entry set, in the entry and in the directory."""
    directory = content.index(b"PK\x01\x02")
    return altered(altered(content, 6, content[6] | 1), directory + 8, content[directory + 8] | 1)


def main() -> None:
    """Write the corpus into the directory that the command line names."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for hostile in corpus(directory / "created-by-a-pickle"):
        name = f"{hostile.feature.wire}-{hostile.name}".replace(" ", "-").replace("/", "-")
        (directory / name).write_bytes(hostile.content)


if __name__ == "__main__":
    main()

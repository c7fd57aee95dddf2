"""Pictures made smaller, masks made translucent, and arrays read: what can be shown of a file.

Runs in a process of its own, which bounds time and memory; nothing is unpickled. What cannot be shown
raises ``Refused`` with the reason.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from scanner.npformat import MAGIC, parse_header
from scanner.pictures import sniff
from scanner.verdicts import Damaged

MAX_PIXELS = 50_000_000
"""A picture with more is refused before anything of it is decoded."""
MAX_EDGE = 2048
"""The longer side of an overlay at most."""
MAX_ARRAY_BYTES = 64 << 20

HEAD_BYTES = 10_012  # holds every header that numpy writes
_QUALITY = 84
_LABELS_AT_MOST = 32
_COLOURS = (
    (0, 206, 178),
    (244, 114, 82),
    (139, 116, 245),
    (234, 179, 8),
    (56, 152, 236),
    (236, 72, 153),
    (101, 163, 13),
)
_COVERING = 230
_BORDER = (255, 255, 255)
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
Array = npt.NDArray[Any]


class Rendered(NamedTuple):
    """An encoded picture."""

    media_type: str
    body: bytes


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the program
    """It cannot be shown; the text says why, for people."""


# --- pictures --------------------------------------------------------------------------------------


def thumbnail(file: IO[bytes], edge: int) -> Rendered:
    """The picture, turned as its metadata say, with no side longer than ``edge``; never larger than it is."""
    with opened(file) as image:
        image.draft("RGB" if image.mode == "RGB" else None, (2 * edge, 2 * edge))
        small = image if image.mode in _PLAIN_MODES else _plain(image, edge)
        small.thumbnail((edge, edge), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return _encoded(_turned(small))


@contextlib.contextmanager
def opened(file: IO[bytes]) -> Iterator[Image.Image]:
    """The picture in a file; raises ``Refused`` for what is none, is damaged, or is too large."""
    name = sniff(_head(file))
    if name is None or name in ("HEIF", "JXL"):
        raise Refused("It is not a picture of a kind that can be shown.")
    try:
        with Image.open(file, formats=(name,)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Refused(
                    f"It has {width}x{height} pixels; up to {MAX_PIXELS // 10**6} million are shown."
                )
            yield image
    except (Refused, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Refused("It cannot be decoded; its content is damaged.") from error


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def _plain(image: Image.Image, edge: int) -> Image.Image:
    """The picture in a mode that can be scaled; of large ones in numbers only some pixels are taken."""
    if image.mode.startswith(("I", "F")):
        step = max(1, max(image.size) // (2 * edge))
        return Image.fromarray(_stretched(np.asarray(image)[::step, ::step]))
    transparent = image.mode in ("PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")


def _stretched(values: Array) -> npt.NDArray[np.uint8]:
    """Numbers of any range as 0 to 255; what is not finite becomes 0."""
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    numbers -= low
    numbers *= 255 / (high - low) if high > low else 1
    return numbers.clip(0, 255).astype(np.uint8)


def _turned(image: Image.Image) -> Image.Image:
    """As the orientation in the metadata says; damaged metadata turn nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - metadata decide nothing about the pixels
        return image


def _encoded(image: Image.Image) -> Rendered:
    buffer = io.BytesIO()
    if image.mode in ("LA", "RGBA"):
        image.save(buffer, "PNG")
        return Rendered("image/png", buffer.getvalue())
    flat = image if image.mode in ("L", "RGB") else image.convert("RGB")
    flat.save(buffer, "JPEG", quality=_QUALITY)
    return Rendered("image/jpeg", buffer.getvalue())


# --- masks -----------------------------------------------------------------------------------------


def overlay(file: IO[bytes]) -> Rendered:
    """A mask as a PNG to lay over its image: clear where it is 0, a colour where it is not."""
    head = _head(file)
    if head.startswith(MAGIC):
        values = _array_mask(file, head)
    else:
        with opened(file) as image:
            values = _mask_values(image)
    return _coloured(values)


def _mask_values(image: Image.Image) -> Array:
    """The mask as numbers, by its alpha where that says something."""
    image.thumbnail((MAX_EDGE, MAX_EDGE), Image.Resampling.NEAREST)
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() != (255, 255):
        return np.asarray(image.getchannel("A"))
    if image.mode in ("L", "P", "1") or image.mode.startswith(("I", "F")):
        return np.asarray(image)
    return np.asarray(image.convert("L"))


def _array_mask(file: IO[bytes], head: bytes) -> Array:
    """A mask as an array of height x width; of several channels the first."""
    values = read_array(file, head)
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] < values.shape[0] else values[0]
    if values.ndim != 2 or 0 in values.shape:
        raise Refused("It is not an array of height x width.")
    step = -(-max(values.shape) // MAX_EDGE)
    return values[::step, ::step]


def _coloured(values: Array) -> Rendered:
    """A few whole numbers are classes, each with its colour; everything else is how much it covers."""
    levels = values.astype(np.uint8) if values.dtype == bool else values
    present = np.unique(levels)
    classes = present[present != 0]
    few = len(classes) <= _LABELS_AT_MOST and levels.dtype.kind in "ui"
    if few and (len(classes) < 2 or int(classes.max()) <= _LABELS_AT_MOST):
        places = np.searchsorted(classes, levels) + 1
        indices = np.where(levels == 0, 0, places).astype(np.uint8)
        indices[_borders(indices)] = len(classes) + 1
        colours = [(0, 0, 0), *(_COLOURS[place % len(_COLOURS)] for place in range(len(classes))), _BORDER]
        alphas = bytes([0] + [_COVERING] * len(classes) + [255])
    else:
        indices = levels if levels.dtype == np.uint8 else _stretched(levels)
        colours, alphas = [_COLOURS[0]] * 256, bytes(range(256))
    image = Image.fromarray(np.ascontiguousarray(indices)).convert("L")
    image.putpalette([part for colour in colours for part in colour])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=alphas)
    return Rendered("image/png", buffer.getvalue())


def _borders(indices: Array) -> npt.NDArray[np.bool_]:
    """Where one class, or none, meets another: the outermost pixels of what is covered."""
    found = np.zeros(indices.shape, bool)
    for axis in (0, 1):
        step = np.diff(indices, axis=axis) != 0
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        found[tuple(ahead)] |= step
        found[tuple(behind)] |= step
    found &= indices != 0
    return found


# --- arrays ----------------------------------------------------------------------------------------


def read_array(file: IO[bytes], head: bytes, most: int = MAX_ARRAY_BYTES) -> Array:
    """The numeric array of a ``.npy``; raises ``Refused`` for anything else, before it is read."""
    try:
        header = parse_header(head)
    except Damaged as error:
        raise Refused(f"It {error.detail}.") from error
    if not header.numeric or header.dtype.kind == "c":
        raise Refused("It is an array of something other than real numbers, which is never loaded.")
    if header.nbytes > most:
        raise Refused(f"It is an array of more than {most >> 20} MB.")
    file.seek(header.offset)
    data = file.read(header.nbytes)
    if len(data) < header.nbytes:
        raise Refused(f"It claims {header.nbytes} bytes of data and has {len(data)}.")
    order: Any = "F" if header.fortran else "C"
    return np.frombuffer(data, header.dtype).reshape(header.shape, order=order)

"""Decoding pictures with Pillow: which format by its magic bytes, how large, and whether it decodes.

What a decoder raises on hostile bytes is anything at all. It counts as damage only where neither reading
nor memory can have been the cause.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from scanner.containers import PNG_MAGIC, check_gif_blocks, check_png_chunks
from scanner.contentfile import ContentFile, Source, memory_reason
from scanner.verdicts import Damaged, Unjudged

MAX_PIXELS = 178_000_000
"""A picture with more is corrupt: no attempt is made to decode it."""

PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Loaded here, so that a format's first file does not load its library within that file's memory bound."""

_PPM = re.compile(rb"P[1-6fF][\s#]")
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_ORIENTATION = 0x0112

# What a decoder may need beside the picture itself (coefficients, canvases), in bytes a pixel. Where
# that does not fit, its failure may be a lack of memory under another name.
_WORKING_BYTES = {"WEBP": 32, "AVIF": 32, "JPEG2000": 32}
_USUAL_WORKING_BYTES = 16
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, or its header: the size as stored, and what may be said about it.

    ``turned`` means that its EXIF orientation swaps width and height. ``uniform`` is true where every
    pixel is the same (known only where that was asked for).
    """

    width: int
    height: int
    turned: bool = False
    uniform: bool = False

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The sizes that it has: as stored, and as its orientation turns it."""
        stored = (self.width, self.height)
        return (stored, stored[::-1]) if self.turned else (stored,)


def sniff(head: bytes) -> str | None:
    """The name of the picture format that ``head`` begins with, None if it is none that is known."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(PNG_MAGIC):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _sniff_heif(head)
    return _sniff_rarer(head)


def _sniff_rarer(head: bytes) -> str | None:
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(_TIFF_MAGICS):
        return "TIFF"
    if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")):
        return "JPEG2000"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JXL"
    if _PPM.match(head):
        return "PPM"
    return "BMP" if head.startswith(b"BM") else None


def _sniff_heif(head: bytes) -> str | None:
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if any(brand in brands for brand in _HEIF_BRANDS) else None


def read_header(file: ContentFile) -> Picture:
    """Size and orientation without decoding; ``Damaged`` where even that cannot be read."""
    with _opened(file, bound=0) as (image, _):
        return Picture(*image.size, turned=_turned(image, decoded=False))


def decode(file: ContentFile, bound: int, values: bool = False) -> Picture:
    """Decode the first picture of the file in full, in at most about ``bound`` bytes.

    Only with ``values`` is it known whether it is uniform: that takes memory for a band more.
    Raises ``Damaged`` if it cannot be decoded, ``Unjudged`` or MemoryError if not in that memory.
    """
    with _opened(file, bound) as (image, source):
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Damaged(f"has {width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} million")
        if width * height * _MODE_BYTES.get(image.mode, 4) > bound:
            raise Unjudged(memory_reason(bound))
        turned = _turned(image, decoded=False)
        image.load()
        turned = turned or _turned(image, decoded=True)
        if image.format == "PNG":
            check_png_chunks(source.file)
        elif image.format == "GIF":
            check_gif_blocks(source.file)
        return Picture(width, height, turned, values and _uniform(image))


@contextmanager
def _opened(file: ContentFile, bound: int) -> Iterator[tuple[Image.Image, Source]]:
    """The picture, with what its decoder raises sorted into damage, refusals and lack of memory."""
    name = _decodable(file)
    source = file.stream()
    pixels = 0
    try:
        with _unbounded(), Image.open(source.file, formats=(name,)) as image:
            pixels = image.width * image.height
            yield image, source
    except (Damaged, Unjudged, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        if source.failure is not None:
            raise source.failure from error
        raise _sorted(error, name, pixels, bound) from error


def _decodable(file: ContentFile) -> str:
    head = file.head()
    name = sniff(head)
    if name is None:
        raise Damaged(f"is no picture: it begins with {head[:8].hex(' ')}")
    missing = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}.get(name)
    if name in {"HEIF", "JXL"} or (missing and not features.check(missing)):
        raise Unjudged(f"is a {name} picture, and there is no decoder for that here")
    return name


@contextmanager
def _unbounded() -> Iterator[None]:
    """Pillow without its own bound on pixels, and without warnings: the bound here is exact."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _sorted(error: Exception, name: str, pixels: int, bound: int) -> Exception:
    text = " ".join(str(error).split()) or type(error).__name__
    if "out of memory" in text:
        return MemoryError(text)
    if "MAX_TEXT" in text:
        return Unjudged(f"the {name} decoder refuses its metadata: {text}")
    if isinstance(error, OSError) and error.errno is not None:
        return error
    working = pixels * _WORKING_BYTES.get(name, _USUAL_WORKING_BYTES)
    if "truncated" not in text.lower() and working > bound > 0:
        return Unjudged(f"{memory_reason(bound)}, or is damaged: {text}")
    return Damaged(f"cannot be decoded as {name}: {_without_addresses(text)}")


def _without_addresses(text: str) -> str:
    """``cannot identify image file <_io.BytesIO object at 0x7f…>`` without what differs from run to run."""
    return re.sub(r" ?<[^>]*>", "", text)[:200]


def _turned(image: Image.Image, decoded: bool) -> bool:
    """Whether the orientation swaps width and height; damaged metadata turn nothing."""
    if image.format == "PNG" and not decoded and "exif" not in image.info:
        return False  # asking would decode the whole picture
    try:
        return image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - metadata decide nothing about the pixels
        return False


def _uniform(image: Image.Image) -> bool:
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)

"""The chunks of PNG and the blocks of GIF: whether all is there, beyond what Pillow decodes of them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO

from scanner.verdicts import Damaged

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def check_png_chunks(file: IO[bytes]) -> None:
    """Compare the checksum of every chunk of pixels, or critical otherwise, up to the end of the picture.

    Pillow does so for the header alone; other readers refuse a picture whose sums are wrong. It decodes no
    more than the first frame of an animation: that all of them are there is seen here.
    """
    promised = frames = 0
    begun = False
    file.seek(len(PNG_MAGIC))
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IEND":
            return
        if kind == b"acTL" and length == 8:
            data = file.read(8)
            promised = int.from_bytes(data[:4], "big")
            length -= len(data)
            total = zlib.crc32(kind + data)
        else:
            total = zlib.crc32(kind)
        total = _sum_of(file, length, total)
        wanted = file.read(4)
        if (kind[0] & 0x20 == 0 or kind == b"fdAT") and wanted != total.to_bytes(4, "big"):
            raise Damaged(f"has a wrong checksum in its {kind.decode('latin-1')!r} chunk")
        frames += begun and kind in (b"IDAT", b"fdAT")
        begun = kind == b"fcTL"
    if frames < promised:
        raise Damaged(f"is cut off after {frames} of {promised} frames")


def _sum_of(file: IO[bytes], length: int, total: int) -> int:
    while length > 0 and (data := file.read(min(length, 1 << 20))):
        total = zlib.crc32(data, total)
        length -= len(data)
    return total


def check_gif_blocks(file: IO[bytes]) -> None:
    """See that no frame is cut off: Pillow has decoded the first alone."""
    file.seek(10)
    flags = file.read(3)
    file.seek(_colours(flags[0]), io.SEEK_CUR)
    frame = 0
    while kind := file.read(1):
        if kind == b"!":
            file.seek(1, io.SEEK_CUR)
        elif kind == b",":
            frame += 1
            about = file.read(9)
            file.seek(_colours(about[-1]) + 1 if len(about) == 9 else 0, io.SEEK_CUR)
        else:
            return  # the end, or what is behind it
        if not _skip_blocks(file) and kind == b"," and frame > 1:
            raise Damaged(f"is cut off within frame {frame} of the animation")


def _colours(flags: int) -> int:
    """The bytes of the colour table that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(file: IO[bytes]) -> bool:
    """Go to the end of a sequence of blocks; whether it is there."""
    while length := file.read(1):
        if length == b"\0":
            return True
        file.seek(length[0], io.SEEK_CUR)
    return False

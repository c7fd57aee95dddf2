"""What is in an artifact, in a few figures: the values of an embedding, the points of keypoints.

Like :mod:`web.rendering` it runs in a process of its own and unpickles nothing. A file that is not as it
should be is described as far as it can be read, with a note that says what is wrong.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from scanner.archives import ZIP_MAGICS
from scanner.npformat import MAGIC, parse_header
from scanner.pictures import sniff
from scanner.records import Feature
from scanner.verdicts import Damaged
from web.assetwire import ArrayFigures, Content, Member, Picture, Points
from web.rendering import HEAD_BYTES, Array, Refused, opened, read_array

MAX_VALUES = 512
MAX_POINTS = 2000
MAX_COLUMNS = 8
MAX_MEMBERS = 64
MAX_MEMBER_BYTES = 16 << 20
MAX_RAW_BYTES = 16 << 20
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


def describe(file: IO[bytes], feature: Feature, dtype: str, columns: int) -> Content:
    """What the file holds; ``dtype`` and ``columns`` say how raw numbers are to be read."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if sniff(head) is not None:
        return _picture(file)
    if head.startswith(ZIP_MAGICS):
        return _archive(file, feature)
    if head.startswith(MAGIC):
        return _figures(Content("npy"), read_array(file, head), feature)
    if feature in (Feature.EMBEDDING, Feature.KEYPOINTS):
        return _raw(file, feature, np.dtype(dtype).newbyteorder("<"), columns)
    return Content("unknown", note="It is neither a picture nor an array.")


def _picture(file: IO[bytes]) -> Content:
    with opened(file) as image:
        picture = Picture(image.width, image.height, image.mode, _is_turned(image))
        return Content(image.format or "unknown", picture=picture)


def _is_turned(image: Any) -> bool:
    """Whether its metadata swap width and height; a PNG is not decoded to find out."""
    if image.format == "PNG" and "exif" not in image.info:
        return False
    try:
        return image.getexif().get(_ORIENTATION) in _TURNED
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - metadata decide nothing about the pixels
        return False


def _raw(file: IO[bytes], feature: Feature, dtype: np.dtype[Any], columns: int) -> Content:
    file.seek(0)
    data = file.read(MAX_RAW_BYTES + 1)
    if len(data) > MAX_RAW_BYTES:
        raise Refused(f"It has more than {MAX_RAW_BYTES >> 20} MB.")
    row = dtype.itemsize * (columns if feature is Feature.KEYPOINTS else 1)
    whole, rest = divmod(len(data), row)
    values = np.frombuffer(data[: whole * row], dtype)
    shape = (whole, columns) if feature is Feature.KEYPOINTS else (whole,)
    note = f"{rest} bytes are left over at its end." if rest else None
    return _figures(Content("raw", note=note), values.reshape(shape), feature)


def _figures(content: Content, values: Array, feature: Feature) -> Content:
    """``content`` with what is to be said of an array."""
    content.array = _array(values)
    if feature is Feature.KEYPOINTS and values.ndim == 2 and values.shape[1] >= 2:
        content.points = _points(values)
    return content


def _points(rows: Array) -> Points:
    shown = rows[:MAX_POINTS, :MAX_COLUMNS].astype(np.float64)
    return Points(len(rows), [[_number(value) for value in row] for row in shown.tolist()])


def _array(values: Array) -> ArrayFigures:
    numbers = values.astype(np.float64).ravel()
    good = numbers[np.isfinite(numbers)]
    step = max(1, -(-len(numbers) // MAX_VALUES))
    with np.errstate(all="ignore"):
        return ArrayFigures(
            dtype=values.dtype.name,
            shape=list(values.shape),
            not_finite=len(numbers) - len(good),
            norm=_number(float(np.linalg.norm(good))) if len(good) else None,
            min=float(good.min()) if len(good) else None,
            max=float(good.max()) if len(good) else None,
            mean=_number(float(good.mean())) if len(good) else None,
            step=step,
            values=[_number(value) for value in _means(numbers, step).tolist()],
        )


def _means(numbers: Array, step: int) -> Array:
    """The mean of every ``step`` numbers."""
    if step == 1:
        return numbers
    return np.add.reduceat(numbers, range(0, len(numbers), step)) / step


def _number(value: float) -> float | None:
    """JSON has no name for what is not finite."""
    return value if np.isfinite(value) else None


# --- archives --------------------------------------------------------------------------------------


def _archive(file: IO[bytes], feature: Feature) -> Content:
    """The members of a ``.npz``, and the figures of the one that is meant."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            content = Content("npz", members=list(_members(archive, infos[:MAX_MEMBERS])))
            if len(infos) > MAX_MEMBERS:
                content.note = f"It has {len(infos)} members; the first {MAX_MEMBERS} are shown."
            chosen = _chosen(content.members, feature)
            if chosen is not None:
                values = _member_array(archive, infos[chosen])
                _figures(content, values, feature)
            return content
    except (Refused, MemoryError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, struct.error and whatever else damage provokes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Refused("It is a damaged archive.") from error


def _members(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> Iterator[Member]:
    for info in infos:
        with archive.open(info) as member:
            head = member.read(HEAD_BYTES)
        name = info.filename[:200].encode("utf-8", "backslashreplace").decode("utf-8")
        try:
            header = parse_header(head) if head.startswith(MAGIC) else None
        except Damaged:
            header = None
        if header is None:
            yield Member(name, info.file_size, None, None)
        else:
            yield Member(name, info.file_size, str(header.dtype)[:80], [min(n, 2**53) for n in header.shape])


def _chosen(members: list[Member], feature: Feature) -> int | None:
    """Which member is shown: the first that looks like what the feature holds."""
    for place, member in enumerate(members):
        shape = member.shape
        if shape is None or member.size > MAX_MEMBER_BYTES:
            continue
        if feature is not Feature.KEYPOINTS or (len(shape) == 2 and shape[1] >= 2):
            return place
    return None


def _member_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        data = member.read(MAX_MEMBER_BYTES + HEAD_BYTES)
    return read_array(io.BytesIO(data), data[:HEAD_BYTES], MAX_MEMBER_BYTES)

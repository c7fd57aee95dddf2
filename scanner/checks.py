"""Is the content of a file what its feature needs: a file and its image in, a verdict out.

Formats are told by their magic bytes, never by a name. Only content that was read can be corrupt: what
the system refuses to read, and what does not fit the bounds of time and memory, has no verdict.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scanner.archives import ZIP_MAGICS, Member, check_archive, numeric
from scanner.config import VerifyConfig
from scanner.contentfile import ContentFile
from scanner.npformat import MAGIC, ArrayHeader, finite, little, number, parse_header, shape_text
from scanner.pictures import Picture, decode, read_header
from scanner.records import Feature
from scanner.vectors import FLOATS, check_length, digest_of, embedding, judge_members, wrong_length
from scanner.verdicts import (
    GONE,
    RAN_OUT,
    Damaged,
    Identity,
    Status,
    Task,
    Unjudged,
    Vanished,
    Verdict,
    errno_reason,
)

ARCHIVE_SECONDS = 20.0
"""How long the members of one archive may take to decompress."""

NO_ROWS = "the keypoints have no rows"
ONE_VALUE = "the mask has a single value"

_IMAGES_KEPT = 4096
_MAX_DETAIL = 300
_KEYPOINTS_DTYPE, _COLUMNS = "verify.keypoints.dtype", "verify.keypoints.columns"
_FARTHEST = 1e6  # pixels from the corner; further is no coordinate but another type's bytes
_COLUMNS_TRIED = range(2, 9)


def check(task: Task, settings: VerifyConfig, roots: Sequence[str] = ()) -> Verdict:
    """Judge one file; never raises for what a file or a file system can do.

    ``roots`` are further real paths below which the target of a symlink may lie, beside ``task.root``.
    """
    try:
        return _Judge(task, settings, (task.root, *roots)).verdict()
    except Damaged as found:
        return Verdict(Status.CORRUPT, _plain(found.detail), found.expectation, found.observed)
    except Vanished as found:
        return Verdict(Status.VANISHED, str(found))
    except Unjudged as found:
        return Verdict(Status.UNCHECKED, _plain(str(found)))
    except MemoryError:
        return Verdict(Status.UNCHECKED, RAN_OUT)
    except OSError as error:
        status = Status.VANISHED if error.errno in GONE else Status.UNCHECKED
        return Verdict(status, errno_reason(error))


def _plain(detail: str) -> str:
    """The text without what a hostile file may have put into it: endless names, broken Unicode."""
    return detail[:_MAX_DETAIL].encode("utf-8", "backslashreplace").decode("utf-8")


class _Judge:
    """One task, its settings and its bounds."""

    __slots__ = ("bound", "roots", "settings", "task")

    def __init__(self, task: Task, settings: VerifyConfig, roots: Sequence[str]) -> None:
        self.task = task
        self.settings = settings
        self.roots = roots
        self.bound = settings.memory_mb << 20

    def verdict(self) -> Verdict:
        """Read the file, judge it, and make sure that it was the same file all along."""
        with ContentFile(self.task.path, self.task.identity, self.roots) as file:
            try:
                verdict = self._judge(file)
            except (Damaged, MemoryError, Unjudged):
                file.settle()
                raise
            file.settle()
            return verdict

    def _judge(self, file: ContentFile) -> Verdict:
        feature = self.task.feature
        if file.size == 0:
            raise Damaged("is empty")
        if feature is Feature.IMAGE:
            return self._image(file)
        head = file.head()
        if head.startswith(ZIP_MAGICS):
            return self._archive(file)
        if head.startswith(MAGIC):
            header = parse_header(head)
            if header.pickled:
                return _pickled(file, header)
            return self._array(file, header)
        if feature is Feature.SEGMENT:
            return self._mask(file)
        return self._raw_embedding(file) if feature is Feature.EMBEDDING else self._raw_keypoints(file)

    # --- pictures ----------------------------------------------------------------------------------

    def _image(self, file: ContentFile) -> Verdict:
        picture = decode(file, self.bound)
        _images.remember(self.task.path, file.identity, True, picture)
        return Verdict(Status.OK, width=picture.width, height=picture.height)

    def _mask(self, file: ContentFile) -> Verdict:
        picture = decode(file, self.bound, values=True)
        self._compare_size([(picture.width, picture.height)])
        return Verdict(Status.OK, warnings=(ONE_VALUE,) if picture.uniform else ())

    def _compare_size(self, sizes: list[tuple[int, int]]) -> None:
        if self.settings.segment.size != "image":
            return
        image = self._fits_image(lambda width, height: (width, height) in sizes)
        if image is not None:
            (width, height), *_ = sizes
            detail = f"mask is {width}x{height}, image is {image.width}x{image.height}"
            raise Damaged(detail, "verify.segment.size", f"{width}x{height}")

    def _fits_image(self, fits: Callable[[int, int], bool]) -> Picture | None:
        """The image if ``fits(width, height)`` holds for none of its sizes.

        None where one fits and where there is no image to compare with. Its header is enough to agree;
        before anything is blamed on it, the image must be shown to decode.
        """
        for whole in (False, True):
            image = self._picture(whole)
            if image is None or any(fits(*size) for size in image.sizes()):
                return None
        return image

    def _picture(self, whole: bool) -> Picture | None:
        path, identity = self.task.image_path, self.task.image_identity
        if path is None:
            return None
        known, picture = _images.find(path, identity, whole)
        return picture if known else self._read_picture(path, identity, whole)

    def _read_picture(self, path: str, identity: Identity | None, whole: bool) -> Picture | None:
        try:
            with ContentFile(path, identity, self.roots) as file:
                picture = self._decoded(file, whole)
                file.settle()
        except OSError as error:
            if error.errno in GONE:
                raise Vanished(f"its image is gone: {errno_reason(error)}") from error
            return None  # another time it may be read; nothing of it is remembered
        except Vanished as found:
            raise Vanished(f"its image {found}") from found
        _images.remember(path, identity, whole, picture)
        return picture

    def _decoded(self, file: ContentFile, whole: bool) -> Picture | None:
        try:
            return decode(file, self.bound) if whole else read_header(file)
        except (Damaged, Unjudged, MemoryError):
            return None

    # --- arrays ------------------------------------------------------------------------------------

    def _archive(self, file: ContentFile) -> Verdict:
        source = file.stream()
        try:
            members = check_archive(source.file, time.monotonic() + ARCHIVE_SECONDS)
        except Damaged:
            if source.failure is not None:
                raise source.failure from None
            raise
        if self.task.feature is Feature.KEYPOINTS:
            return Verdict(Status.OK, warnings=() if members else (NO_ROWS,))
        if self.task.feature is Feature.SEGMENT:
            self._judge_mask_members(members)
            return Verdict(Status.OK)
        judge_members(numeric(members) or (), self.settings.embedding.dim)
        if file.size > self.bound:
            return Verdict(Status.OK)
        return Verdict(Status.OK, digest=digest_of(file.read(0, file.size, self.bound)))

    def _judge_mask_members(self, members: Sequence[Member]) -> None:
        """One of the arrays has to be of the image's size, where all are of plain numbers."""
        shapes = [member.header.shape for member in numeric(members) or () if member.header is not None]
        sizes = [size for shape in shapes for size in _mask_sizes(shape)]
        if shapes and not sizes:
            raise Damaged("mask is an archive without an array of height x width")
        if sizes:
            self._compare_size(sizes)

    def _array(self, file: ContentFile, header: ArrayHeader) -> Verdict:
        if not header.numeric:
            raise Damaged(f"is an array of {header.dtype}, not of numbers"[:200])
        there = file.size - header.offset
        if header.nbytes > there:
            raise Damaged(f"claims {number(header.nbytes)} bytes of data and has {there}")
        feature = self.task.feature
        if feature is Feature.SEGMENT:
            return self._array_mask(file, header)
        if feature is Feature.EMBEDDING:
            return self._array_embedding(file, header)
        return self._array_keypoints(file, header)

    def _array_mask(self, file: ContentFile, header: ArrayHeader) -> Verdict:
        """A mask as an array: height x width, with channels behind or before them."""
        sizes = _mask_sizes(header.shape)
        if not sizes:
            raise Damaged(f"mask is an array of shape {shape_text(header.shape)}, not height x width")
        self._compare_size(sizes)
        data = file.read(header.offset, header.nbytes, self.bound)
        values = np.frombuffer(data, header.dtype)
        return Verdict(Status.OK, warnings=(ONE_VALUE,) if bool((values == values[0]).all()) else ())

    def _array_embedding(self, file: ContentFile, header: ArrayHeader) -> Verdict:
        check_length(header, self.settings.embedding.dim)
        data = file.read(header.offset, header.nbytes, self.bound)
        return embedding(data, np.frombuffer(data, header.dtype))

    def _array_keypoints(self, file: ContentFile, header: ArrayHeader) -> Verdict:
        if len(header.shape) != 2 or header.shape[1] < 2:
            raise Damaged(
                f"keypoints have the shape {shape_text(header.shape)}, not rows of two columns or more"
            )
        if header.dtype.kind == "c":
            raise Damaged("keypoints are complex numbers")
        data = file.read(header.offset, header.nbytes, self.bound)
        order: Any = "F" if header.fortran else "C"
        rows = np.frombuffer(data, header.dtype).reshape(header.shape, order=order)
        wrong = self._wrong_rows(rows)
        if wrong is not None:
            raise Damaged(wrong)
        return Verdict(Status.OK, warnings=() if len(rows) else (NO_ROWS,))

    def _raw_embedding(self, file: ContentFile) -> Verdict:
        expected = self.settings.embedding
        dtype = little(expected.dtype)
        wanted = expected.dim * dtype.itemsize
        if file.size != wanted:
            raise wrong_length(file.size, expected.dim, dtype)
        data = file.read(0, wanted, self.bound)
        return embedding(data, np.frombuffer(data, dtype))

    def _raw_keypoints(self, file: ContentFile) -> Verdict:
        expected = self.settings.keypoints
        dtype = little(expected.dtype)
        row = expected.columns * dtype.itemsize
        data = file.read(0, file.size, self.bound)
        if file.size % row:
            detail = f"keypoints have {file.size} bytes, not whole rows of {expected.columns} {dtype.name}"
            raise Damaged(detail, *self._other_reading(data))
        wrong = self._wrong_rows(np.frombuffer(data, dtype).reshape(-1, expected.columns))
        if wrong is not None:
            raise Damaged(wrong, *self._other_reading(data))
        return Verdict(Status.OK)

    def _other_reading(self, data: bytes) -> tuple[str | None, str]:
        """The key, and the values of it, with which the same bytes would be good keypoints, if any."""
        expected = self.settings.keypoints
        dtype = little(expected.dtype)
        types = [name for name in FLOATS if self._good_as(data, little(name), expected.columns)]
        if types and not _plausible(data, dtype):
            return _KEYPOINTS_DTYPE, ", ".join(types)
        columns = [str(number) for number in _COLUMNS_TRIED if self._good_as(data, dtype, number)]
        return (_COLUMNS, ", ".join(columns)) if columns else (None, "")

    def _good_as(self, data: bytes, dtype: np.dtype[Any], columns: int) -> bool:
        if len(data) % (dtype.itemsize * columns):
            return False
        return self._wrong_rows(np.frombuffer(data, dtype).reshape(-1, columns)) is None

    def _wrong_rows(self, rows: npt.NDArray[Any]) -> str | None:
        """What is wrong with keypoints as an array of rows, or None."""
        if not len(rows):
            return None
        if not finite(rows):
            return "keypoints have numbers that are not finite"
        points = rows[:, :2]
        low, (x, y) = float(points.min()), points.max(axis=0).tolist()
        image = self._fits_image(lambda width, height: low >= 0 and x <= width and y <= height)
        if image is None:
            return None
        if low < 0:
            return f"keypoints have a negative coordinate, {low:g}"
        return f"keypoints reach to {x:g}, {y:g}, image is {image.width}x{image.height}"


class _Images:
    """What is known of images lately seen, so that three artifacts do not each open theirs anew."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, Identity, bool], Picture | None] = OrderedDict()

    def find(self, path: str, identity: Identity | None, whole: bool) -> tuple[bool, Picture | None]:
        """Whether it is known, and then the picture or None for one that cannot be read."""
        if identity is None:
            return False, None
        key = (path, identity, whole)
        return key in self._known, self._known.get(key)

    def remember(self, path: str, identity: Identity | None, whole: bool, picture: Picture | None) -> None:
        """Keep this, at the cost of the oldest; what was decoded serves for the header as well."""
        if identity is None:
            return
        self._known[path, identity, whole] = picture
        if whole and picture is not None:
            self._known[path, identity, False] = picture
        while len(self._known) > _IMAGES_KEPT:
            self._known.popitem(last=False)


_images = _Images()


def _pickled(file: ContentFile, header: ArrayHeader) -> Verdict:
    """A pickle is never loaded, and alone has no checksum: all that can be seen is that it is cut off."""
    last = file.read(file.size - 1, 1, 1)
    if file.size <= header.offset or last != b".":
        raise Damaged("is an array of objects whose pickle is cut off")
    return Verdict(Status.OK)


def _plausible(data: bytes, dtype: np.dtype[Any]) -> bool:
    """Whether the numbers are of the size of coordinates: those of a type that is misread seldom are.

    Whole numbers end in zeros, which make good numbers of any type; without this, points beyond their image
    would be blamed on the type.
    """
    if len(data) % dtype.itemsize:
        return False
    values = np.frombuffer(data, dtype)
    return finite(values) and bool((np.abs(values) <= _FARTHEST).all())


def _mask_sizes(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The widths and heights that an array may have as a mask; none where it is none."""
    if len(shape) not in (2, 3) or 0 in shape:
        return []
    return [(shape[at + 1], shape[at]) for at in range(len(shape) - 1)]

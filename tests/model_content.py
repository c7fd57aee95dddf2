"""What is known of a file's content because a test wrote it, and what a content check must say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Verdict = tuple[str, str]  # ("corrupt" | "suspect", the reason in one word)


@dataclass(frozen=True)
class Content:
    """The truth about one file. ``form`` is image, embedding, keypoints, junk or empty.

    ``encoding`` is png or jpeg, raw, npy or npz; ``broken`` means that it cannot be read to its end.
    ``values`` are those of an embedding, ``rows`` those of keypoints, ``shade`` seeds an image's pixels.
    """

    form: str
    encoding: str = "png"
    width: int = 0
    height: int = 0
    broken: bool = False
    uniform: bool = False
    shade: int = 0
    values: tuple[float, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()

    @property
    def picture(self) -> bool:
        return self.form == "image" and not self.broken


def judge(feature: str, content: Content, image: Content | None, verify: Mapping[str, Any]) -> Verdict | None:
    """The verdict on one file as ``feature`` of the asset whose image is ``image``; None is good."""
    if feature != "image" and verify[feature]["check"] == "exists":
        return None
    if content.broken:
        return ("corrupt", "broken")
    size = image if image is not None and image.picture else None
    return _JUDGES[feature](content, size, verify)


def _image(content: Content, size: Content | None, verify: Mapping[str, Any]) -> Verdict | None:
    return None if content.picture else ("corrupt", "format")


def _segment(content: Content, size: Content | None, verify: Mapping[str, Any]) -> Verdict | None:
    if not content.picture:
        return ("corrupt", "format")
    same = size is None or (content.width, content.height) == (size.width, size.height)
    if not same and verify["segment"]["size"] == "image":
        return ("corrupt", "size")
    return ("suspect", "uniform") if content.uniform else None


def _embedding(content: Content, size: Content | None, verify: Mapping[str, Any]) -> Verdict | None:
    if content.form != "embedding":
        return ("corrupt", "format")
    if len(content.values) != verify["embedding"]["dim"]:
        return ("corrupt", "dim")
    good = all(map(math.isfinite, content.values)) and any(content.values)
    return None if good else ("corrupt", "values")


def _keypoints(content: Content, size: Content | None, verify: Mapping[str, Any]) -> Verdict | None:
    if content.form != "keypoints":
        return ("corrupt", "format")
    if content.encoding == "raw" and any(len(row) != verify["keypoints"]["columns"] for row in content.rows):
        return ("corrupt", "columns")
    if not all(math.isfinite(value) for row in content.rows for value in row):
        return ("corrupt", "values")
    if content.encoding == "npz":
        return None
    if size is not None and any(not _within(row, size) for row in content.rows):
        return ("corrupt", "bounds")
    return None if content.rows else ("suspect", "rows")


def _within(row: tuple[float, ...], size: Content) -> bool:
    return 0 <= row[0] <= size.width and 0 <= row[1] <= size.height


_JUDGES = {"image": _image, "segment": _segment, "embedding": _embedding, "keypoints": _keypoints}

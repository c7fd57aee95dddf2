"""What a read of the pipeline database hands on: rows, and where a full comparison begins and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from typing import Any, overload

from scanner.naming import Numbers
from scanner.records import AssetRow, AssetType, Feature, PipelineRow


class Table(StrEnum):
    """The tables that are read, owners before what they own; the value is the table's name."""

    JOBS = "jobs"
    PRODUCTS = "products"
    VIDEOS = "videos"
    JOB_VIDEOS = "job_videos"
    PRODUCT_IMAGES = "product_images"
    VIDEO_FRAMES = "video_frames"


ASSET_TABLES = {AssetType.PRODUCT_IMAGE: Table.PRODUCT_IMAGES, AssetType.VIDEO_FRAME: Table.VIDEO_FRAMES}
"""Where the rows of each type of asset are."""


class AssetColumns(Sequence[AssetRow]):
    """Asset rows by the columns of their record: of most, no record is ever needed.

    ``digests``, where whoever read them knows them: one number a row, different for rows that differ.
    """

    __slots__ = ("columns", "digests")

    def __init__(self, columns: Sequence[Sequence[Any]], digests: Numbers | None = None) -> None:
        self.columns = columns
        self.digests = digests

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[AssetRow]:
        return map(tuple.__new__, repeat(AssetRow), zip(*self.columns, strict=True))

    @overload
    def __getitem__(self, place: int) -> AssetRow: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[AssetRow]: ...

    def __getitem__(self, place: int | slice) -> AssetRow | Sequence[AssetRow]:
        if isinstance(place, slice):
            return list(self)[place]
        return AssetRow._make([column[place] for column in self.columns])


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table to insert or update; a batch has at most ``BATCH`` rows and at least one."""

    table: Table
    rows: Sequence[PipelineRow]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Which features of an asset a table has a column for; comes before the rows of the table."""

    type: AssetType
    features: frozenset[Feature]


@dataclass(frozen=True, slots=True)
class BeginFull:
    """A full comparison of the table begins: every row of it follows, then ``FullPass``."""

    table: Table


@dataclass(frozen=True, slots=True)
class FullPass:
    """Every row of the table has been handed on since ``BeginFull``; what was not is gone."""

    table: Table


@dataclass(frozen=True, slots=True)
class PollDone:
    """A poll has ended well; ``full`` means that every table was compared in full."""

    full: bool


@dataclass(frozen=True, slots=True)
class PollFailed:
    """A poll broke off: an unfinished full comparison says nothing about what is gone."""

    error: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A mark behind rows: ``event`` is set once everything before it is in the index."""

    event: threading.Event


BATCH = 2000
Raw = Sequence[tuple[Any, ...]]  # rows as a driver gives them
PollItem = Rows | Recorded | BeginFull | FullPass
SinkItem = PollItem | PollDone | PollFailed | Applied

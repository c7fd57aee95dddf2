"""Which tables and columns of the pipeline database are wanted, and for what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from scanner.records import (
    AssetRow,
    AssetType,
    JobRow,
    MembershipRow,
    PipelineRow,
    ProductRow,
    VideoRow,
)
from scanner.rows import Table


class Role(Enum):
    """What a column is for, which decides how it is read."""

    KEY = auto()
    TEXT = auto()
    LABEL = auto()  # text that is only shown: an empty one stays empty
    PATH = auto()
    NUMBER = auto()
    FLOAT = auto()
    EMBEDDING = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One column that a record is made of; ``needed`` ones are a problem where they are missing."""

    name: str
    role: Role
    needed: bool = False


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: its record, and of which columns that is made, in the order of the record's fields."""

    record: type[PipelineRow]
    wanted: tuple[Wanted, ...]
    timed: bool = True
    needed: bool = True
    asset_type: AssetType | None = None

    @property
    def keys(self) -> list[str]:
        """The columns that identify a row."""
        return [wanted.name for wanted in self.wanted if wanted.role is Role.KEY]


def table_specs(segment: str, embedding: str, keypoints: str) -> dict[Table, TableSpec]:
    """All tables, with the configured names of the feature columns."""
    claims = (
        Wanted("local_path", Role.PATH, needed=True),
        Wanted(segment, Role.PATH),
        Wanted(embedding, Role.EMBEDDING),
        Wanted(keypoints, Role.PATH),
    )
    key, text = Role.KEY, Role.TEXT
    return {
        Table.JOBS: TableSpec(
            JobRow, (Wanted("job_id", key), Wanted("phase", Role.LABEL, True), Wanted("percent", Role.FLOAT))
        ),
        Table.PRODUCTS: TableSpec(
            ProductRow, (Wanted("product_id", key), Wanted("job_id", text, True), Wanted("title", Role.LABEL))
        ),
        Table.VIDEOS: TableSpec(
            VideoRow,
            (
                Wanted("video_id", key),
                Wanted("job_id", text),
                *(Wanted(name, Role.LABEL) for name in ("platform", "url", "title")),
                Wanted("duration_s", Role.NUMBER),
            ),
        ),
        Table.JOB_VIDEOS: TableSpec(
            MembershipRow, (Wanted("job_id", key), Wanted("video_id", key)), timed=False, needed=False
        ),
        Table.PRODUCT_IMAGES: TableSpec(
            AssetRow,
            # The record's `ts` is a column that product images never have: none has an empty name.
            (Wanted("img_id", key), Wanted("product_id", text, True), Wanted("", Role.FLOAT), *claims),
            asset_type=AssetType.PRODUCT_IMAGE,
        ),
        Table.VIDEO_FRAMES: TableSpec(
            AssetRow,
            (Wanted("frame_id", key), Wanted("video_id", text, True), Wanted("ts", Role.FLOAT), *claims),
            asset_type=AssetType.VIDEO_FRAME,
        ),
    }

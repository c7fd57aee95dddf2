"""An index in which files and rows come, go and change at random, and the pages that it should give."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

from scanner.config import Config
from scanner.index import Index
from scanner.listing import Listing
from scanner.queries import Queries
from scanner.records import AssetItem, AssetRow, AssetType, Entry, JobRow, Page, ProductRow, VideoRow
from scanner.rows import Rows, Table

IMAGE, FRAME = AssetType.PRODUCT_IMAGE, AssetType.VIDEO_FRAME
HAS = (None, "segment", "embedding", "keypoints", "any", "none")
FILES = {"segment": "seg.png", "embedding": "emb.bin", "keypoints": "kp.bin"}


class Shuffle:
    """An index with two jobs; ``queries`` reads it."""

    def __init__(self, directory: Path, seed: int) -> None:
        config = Config()
        config = dataclasses.replace(config, database=dataclasses.replace(config.database, url="sqlite:///x"))
        self.random = random.Random(seed)
        self.index = Index(str(directory / "index.db"), config)
        self.config, self.path = config, str(directory / "index.db")
        self.queries = Queries(self.path, config)
        self._inode = 100
        self.rows(Table.JOBS, [JobRow("j"), JobRow("k")])
        self.rows(Table.VIDEOS, [VideoRow(f"v{n}", "j") for n in range(3)])
        self.rows(Table.PRODUCTS, [ProductRow(f"p{n}", "j", f"Title {n}") for n in range(3)])
        times = [None, 0.0, 1.5, 1.5, 7.0, -3.0]
        self.rows(
            Table.VIDEO_FRAMES,
            [
                AssetRow(
                    FRAME, f"v{v}_frame_{n:03}", f"v{v}", self.random.choice(times), f"frames/v{v}/{n:03}.jpg"
                )
                for v in range(3)
                for n in range(40)
            ],
        )

    def rows(self, table: Table, rows: list[Any]) -> None:
        with self.index.transaction():
            self.index.put(Rows(table, rows))

    def change(self, times: int) -> None:
        """Change some files in one transaction."""
        with self.index.transaction():
            for _ in range(times):
                self._change_one()

    def _change_one(self) -> None:
        number, owner = self.random.randrange(40), self.random.randrange(3)
        folder = self.random.choice([f"frames/v{owner}", f"products/p{owner}"])
        directory, name = self.random.choice(
            [(folder, f"{number:03}.jpg"), *((f"{folder}/{number:03}", name) for name in FILES.values())]
        )
        files = {}
        if self.random.random() < 0.75:
            self._inode += 1
            time = self.random.randrange(1, 12) * 1_000_000_000  # few enough that many are equal
            files[name] = Entry(name, self._inode, 5, time, time)
        listing = Listing(directory, 1, 2, 3, files, (), names=frozenset([name]))
        self.index.apply(listing, lambda path, entry: False)

    def change_row(self) -> None:
        """Change a row of the pipeline database."""
        number, text = self.random.randrange(3), f"Title {self.random.randrange(100)}"
        job = self.random.choice("jjjk")
        changes: list[tuple[Table, Any]] = [
            (Table.JOBS, JobRow("j", self.random.choice(["collection", "matching"]), self.random.random())),
            (Table.VIDEOS, VideoRow(f"v{number}", job, "youtube", None, text, number)),
            (Table.PRODUCTS, ProductRow(f"p{number}", job, text)),
            (
                Table.VIDEO_FRAMES,
                AssetRow(
                    FRAME,
                    f"v{number}_frame_001",
                    f"v{number}",
                    self.random.random(),
                    f"frames/v{number}/001.jpg",
                ),
            ),
        ]
        table, row = self.random.choice(changes)
        self.rows(table, [row])

    def prepare(self) -> None:
        while self.queries.prepare():
            pass

    def check(self, type: AssetType, sort: str, descending: bool, has: str | None) -> None:
        """Every page, and single positions, against a sort of all that is listed."""
        expected = self._sorted(type, sort, descending, has)
        size = self.random.choice([1, 3, 7, 50])
        for offset in range(0, len(expected) + size, size):
            page = Page(size, offset, sort, descending)
            if type is IMAGE and sort == "image_updated_at":
                found = self.queries.images("j", None, None, dataclasses.replace(page, sort_by="updated_at"))
            elif type is IMAGE:
                found = self.queries.product_images("j", has, page)
            else:
                found = self.queries.video_frames("j", None, has, page)
            assert found is not None
            assert found[1] == len(expected)
            assert [item.asset_id for item in found[0]] == expected[offset : offset + size]

    def _sorted(self, type: AssetType, sort: str, descending: bool, has: str | None) -> list[str]:
        rows = self.index.db.execute("SELECT id FROM assets WHERE type=? AND listed ORDER BY id", (type,))
        items = [item for (id,) in rows.fetchall() if (item := self.queries.asset(type, id)) is not None]
        items = [item for item in items if _has(item, has)]
        if sort in ("img_id", "frame_id"):
            return [item.asset_id for item in (items[::-1] if descending else items)]
        field = {"updated_at": "updated_ns", "image_updated_at": "image_updated_ns", "ts": "ts"}[sort]
        known = [item for item in items if getattr(item, field) is not None]
        known.sort(key=lambda item: getattr(item, field), reverse=descending)
        return [item.asset_id for item in known] + [i.asset_id for i in items if getattr(i, field) is None]


def _has(item: AssetItem, has: str | None) -> bool:
    features = (item.has_segment, item.has_embedding, item.has_keypoints)
    if has is None:
        return True
    if has in ("any", "none"):
        return any(features) == (has == "any")
    return features[list(FILES).index(has)]

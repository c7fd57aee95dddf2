"""What a random world is: a configuration, files with known content, rows of a pipeline database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model import DEFAULTS, Model
from model_assets import merged
from model_content import Content, Verdict, judge

ROOT = "@ROOT@"  # stands for the data root in claims until the world is built somewhere
DIM = 8
COLUMNS = {"image": "local_path", **DEFAULTS["database"]["columns"]}
EXTRA = "extra"  # a folder that only claims name

# --- layouts ----------------------------------------------------------------------------------------


def _section(
    image: Any, ident: str, segment: Any, embedding: Any, keypoints: Any, **more: Any
) -> dict[str, Any]:
    return {
        "image": image, "id": ident, "segment": segment, "embedding": embedding, "keypoints": keypoints,
        **more,
    }  # fmt: skip


LAYOUTS: dict[str, dict[str, Any]] = {
    "default": {},
    "flat": {
        "frames": _section(
            ["frames/{video_id}/{frame}.{ext}"],
            "{video_id}_frame_{frame}",
            ["masks/video_frames/{id}.png"],
            ["emb/{id}.bin", "emb/{id}.npy"],
            ["keypoints/{id}.npz"],
            fps=25.0,
        ),
        "products": _section(
            ["images/{image}.{ext}"], "{image}", ["masks/products/{id}.png"], [], ["keypoints/{id}.npz"]
        ),
    },
    "several": {
        "extensions": ["png", "jpg"],
        "frames": _section(
            ["frames/{video_id}/{frame}.{ext}", "old/{video_id}-{frame}.{ext}"],
            "{video_id}_frame_{frame}",
            ["masks/{video_id}/{frame}.{ext}", "frames/{video_id}/{frame}/seg.png"],
            ["frames/{video_id}/{frame}/emb.bin", "emb/{id}.bin"],
            ["frames/{video_id}/{frame}/kp.bin"],
        ),
        "products": _section(
            ["products/{product_id}/{image}.{ext}", "products/{product_id}/main/{image}.{ext}"],
            "{product_id}_img_{image}",
            ["products/{product_id}/{image}/seg.png", "pmasks/{product_id}_{image}.{ext}"],
            ["products/{product_id}/{image}/emb.bin"],
            ["products/{product_id}/{image}/kp.bin", "products/{product_id}/{image}/kp.npz"],
        ),
    },
    "beside": {
        "frames": _section(
            ["frames/{video_id}/{frame}.{ext}"],
            "{video_id}:{frame}",
            ["frames/{video_id}/{frame}_mask.png"],
            ["frames/{video_id}/{frame}_emb.bin"],
            ["frames/{video_id}/{frame}_kp.bin"],
            fps=2.0,
        ),
        "products": _section(
            ["products/{product_id}/{product_id}_{image}.{ext}"],
            "{product_id}_{image}",
            ["products/{product_id}/{product_id}_{image}_mask.png"],
            ["products/{product_id}/{product_id}_{image}_emb.bin"],
            "products/{product_id}/{product_id}_{image}_kp.bin",
        ),
    },
    "claims": {
        "frames": _section([], "{video_id}_{frame}", ["masks/{id}.png"], ["emb/frames/{id}.bin"], []),
        "products": _section(
            ["products/{product_id}/{image}.{ext}"],
            "{product_id}_img_{image}",
            [],
            [],
            ["products/{product_id}/{image}/kp.bin"],
        ),
    },
}

VIDEO_IDS = ("v_abc", "v1", "V1", "видео", "a b", "it's", 'q"x', "new\nline", "100%_x", "v%2F", "GỐI")
PRODUCT_IDS = ("p_001", "p1", "Áo", "p+1", "p#2?", "p&3=4", "l\\5", "ß", "p_%")
FRAME_NAMES = ("000001", "000002", "000003", "000004", "000006", "000010", "last", "intro")
IMAGE_NAMES = ("0", "1", "2", "10", "main_1", "ảnh")
TITLES = (
    "GỐI CỔ", "Gối cổ 2", "gô\u0301i", "go\u0302\u0301i", "Straße", "STRASSE", "İstanbul", "i̇stanbul",
    "100% wool",
    "a_b*c", "NeckCare Pillow V2", "", "Ｆｕｌｌ", "zebra", "Zebra", "ÁO", "A\u0301o",
)  # fmt: skip
QUESTIONS = (
    "gối",
    "GỐI",
    "g",
    "%",
    "_",
    "*",
    "strasse",
    "ß",
    "i̇",
    "İ",
    "e",
    "a\u0301o",
    " ",
    "nothing",
    "frame",
)
JOB_IDS = ("j_123", "j2", "công việc", "j/4", "local")
PHASES = ("collection", "feature_extraction", "matching", "evidence", "completed", "Completed", "odd")

# --- the data ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileSpec:
    """A file: its content, its mtime (None: when it was written), or where it links to."""

    content: Content
    mtime_ns: int | None = None
    link: str | None = None


@dataclass
class World:
    """A configuration, files by path below the data root, and tables by key (None: no database).

    ``columns`` are those that the tables have; ``embedding`` is the type of the embedding column: text, blob,
    vector or array; ``aware`` says whether timestamps have a zone.
    """

    variant: str
    dialect: str | None
    settings: dict[str, Any]
    files: dict[str, FileSpec] = field(default_factory=dict)
    tables: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    embedding: str = "text"
    aware: bool = False
    renames: list[tuple[str, str]] = field(default_factory=list)
    ticks: int = 0

    @property
    def whole(self) -> dict[str, Any]:
        return merged(self.settings)

    def rows(self, root: Path | str) -> dict[str, list[dict[str, Any]]] | None:
        """The tables as the database has them when the data root is ``root``."""
        if self.dialect is None:
            return None
        return {name: [placed(row, root) for row in table.values()] for name, table in self.tables.items()}

    def verdict(self, feature: str, path: str, image: str | None) -> Verdict | None:
        """What a content check must find, from what was written."""
        return judge(feature, self.truth(path), self.truth(image) if image else None, self.whole["verify"])

    def truth(self, path: str) -> Content:
        return self.files[path].content

    def model(self, root: Path, answered_root: str | None = None) -> Model:
        """The model of what is in ``root`` now and in the tables as they stand."""
        shown = answered_root or str(root)
        return Model(self.config(shown), self.rows(shown), root, self.verdict)

    def config(self, root: str, **more: Any) -> dict[str, Any]:
        """The settings for a data root, with further tables laid over them."""
        settings = merged({"data": {"root": root}}, merged(more, self.settings))
        mapped = settings["database"]["path_map"]
        settings["database"]["path_map"] = {key: text.replace(ROOT, root) for key, text in mapped.items()}
        return settings


def placed(row: dict[str, Any], root: Path | str) -> dict[str, Any]:
    return {k: v.replace(ROOT, str(root)) if isinstance(v, str) else v for k, v in row.items()}


def to_toml(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Settings as ``config.toml`` has them."""
    text = tables = ""
    for key, value in settings.items():
        name = json.dumps(key, ensure_ascii=False)
        if isinstance(value, Mapping):
            tables += f"\n[{prefix}{name}]\n{to_toml(value, f'{prefix}{name}.')}"
        else:
            text += f"{name} = {toml_value(value)}\n"
    return text + tables


def toml_value(value: Any) -> str:
    """One value; JSON's text for strings, numbers, booleans and lists is TOML's too."""
    return json.dumps(value, ensure_ascii=False)

"""How a random world grows and changes: one small step at a time, of many kinds."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from model_assets import ARTIFACTS, FRAME, ID_COLUMNS, KINDS, OWNERS, PRODUCT, SECTIONS, TABLES
from model_content import Content
from world_data import (
    COLUMNS,
    EXTRA,
    FRAME_NAMES,
    IMAGE_NAMES,
    JOB_IDS,
    PHASES,
    PRODUCT_IDS,
    ROOT,
    TITLES,
    VIDEO_IDS,
    FileSpec,
    World,
)  # fmt: skip
from world_files import STATIC, some_content

START = datetime(2025, 8, 23, 7, 20, tzinfo=UTC)
MOST_FILES = 90


class Gardener:
    """Changes a world in small random steps; each public method is one and says what it did."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.layout = world.whole["layout"]

    def step(self) -> str:
        """One random step of a kind that fits the world's size."""
        files = [self.add_asset] * 6 + [self.add_artifact] * 3 + [self.remove_file] * 2 + [self.remove_folder]
        files += [self.rewrite_file] * 2 + [
            self.empty_file,
            self.touch_file,
            self.rename_folder,
            self.add_link,
        ]
        files += [self.add_noise]
        rows = (
            [self.change_claim] * 5
            + [self.remove_row] * 2
            + [self.change_row] * 3
            + [self.change_owner_row] * 3
        )
        rows += [self.change_job, self.add_row, self.add_row, self.swap_claims, self.change_membership]
        if len(self.world.files) > MOST_FILES:
            files = [self.remove_file, self.remove_folder]
        done = self.rng.choice(files + (rows if self.world.dialect else []))()
        return done or self.step()

    # --- helpers ---

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def time(self) -> datetime:
        """A time that is mostly later than all before, a quarter of a second apart, sometimes in between."""
        self.world.ticks += 1
        ticks = self.world.ticks if self.chance(0.7) else self.rng.randint(0, self.world.ticks)
        moment = START + timedelta(
            seconds=ticks // 4, microseconds=ticks % 4 * 250_000 + self.rng.choice((0, 0, 1))
        )
        if self.world.aware:
            return moment
        zone = self.world.whole["database"]["timezone"]
        return (moment + timedelta(hours=7 if zone == "Asia/Ho_Chi_Minh" else 0)).replace(tzinfo=None)

    def mtime(self) -> int | None:
        if self.chance(0.2):
            return None
        self.world.ticks += 1
        ticks = self.rng.randint(max(0, self.world.ticks - 20), self.world.ticks)
        return int(START.timestamp()) * 10**9 + ticks * 250_000_000 + self.rng.choice((0, 0, 1000))

    def put(self, path: str, content: Content) -> None:
        self.world.files[path] = FileSpec(content, self.mtime())

    def names(self, kind: str) -> dict[str, str]:
        """An owner and a name within it, as a path has them."""
        if kind == FRAME:
            return {"video_id": self.rng.choice(self.owners(FRAME)), "frame": self.rng.choice(FRAME_NAMES)}
        return {"product_id": self.rng.choice(self.owners(PRODUCT)), "image": self.rng.choice(IMAGE_NAMES)}

    def owners(self, kind: str) -> list[str]:
        """The few owners that this world plays with."""
        pool = VIDEO_IDS if kind == FRAME else PRODUCT_IDS
        start = len(self.world.variant) + len(self.world.embedding) + (7 if self.world.aware else 0)
        return [pool[(start + step * 3) % len(pool)] for step in range(4)]

    def patterns(self, kind: str, feature: str) -> list[str]:
        value = self.layout[SECTIONS[kind]][feature]
        return [value] if isinstance(value, str) else list(value)

    def template_id(self, kind: str, names: dict[str, str]) -> str:
        return str(self.layout[SECTIONS[kind]]["id"].format(**names))

    def image_path(self, kind: str, names: dict[str, str]) -> str:
        patterns = self.patterns(kind, "image")
        if not patterns or self.chance(0.08):
            return f"{EXTRA}/{kind}/{'_'.join(names.values())}.png"
        ext = self.rng.choice([*self.layout["extensions"], "JPG", "jpg", "png"])
        return self.pick(patterns).format(**names, ext=ext)

    def pick(self, patterns: list[str]) -> str:
        return patterns[0] if self.chance(0.7) else self.rng.choice(patterns)

    def artifact_path(self, kind: str, feature: str, names: dict[str, str], ident: str) -> str | None:
        patterns = self.patterns(kind, feature)
        if not patterns or "/" in ident:
            return None
        return self.pick(patterns).format(**names, id=ident, ext=self.rng.choice(("png", "png", "jpg")))

    def some_path(self) -> str | None:
        paths = [path for path, spec in self.world.files.items() if spec.link is None]
        return self.rng.choice(paths) if paths else None

    def feature_of(self, path: str) -> str:
        """What kind of file a path that this module made is."""
        if path.endswith(".npz") or "kp" in path or "keypoints" in path:
            return "keypoints"
        if "emb" in path:
            return "embedding"
        return "segment" if "mask" in path or path.endswith("seg.png") else "image"

    # --- files ---

    def add_asset(self) -> str:
        kind = self.rng.choice(KINDS)
        names = self.names(kind)
        ident = self.template_id(kind, names)
        path = self.image_path(kind, names)
        self.put(path, some_content(self.rng, "image", path, 0.95))
        claims: dict[str, str | None] = {"image": path}
        for feature in ARTIFACTS:
            found = self.artifact_path(kind, feature, names, ident) if self.chance(0.65) else None
            claims[feature] = found
            if found:
                self.put(found, some_content(self.rng, feature, found))
        if self.world.dialect and (self.chance(0.8) or path.startswith(EXTRA)):
            self.write_row(kind, ident if self.chance(0.85) else f"db/{ident}", names, claims)
        return f"add {kind} {ident} at {path}"

    def add_artifact(self) -> str | None:
        kind, feature = self.rng.choice(KINDS), self.rng.choice(ARTIFACTS)
        names = self.names(kind)
        path = self.artifact_path(kind, feature, names, self.template_id(kind, names))
        if path is None:
            return None
        self.put(path, some_content(self.rng, feature, path))
        return f"add {feature} {path}"

    def remove_file(self) -> str | None:
        path = self.some_path()
        if path is None:
            return None
        del self.world.files[path]
        return f"remove {path}"

    def remove_folder(self) -> str | None:
        folder = self.some_folder()
        if folder is None or self.chance(0.5):
            return None
        gone = [path for path in self.world.files if path.startswith(folder + "/")]
        for path in gone:
            del self.world.files[path]
        return f"remove folder {folder} with {len(gone)} files"

    def some_folder(self) -> str | None:
        """A folder with files in it that is not one of the first below the data root."""
        folders = {path.rpartition("/")[0] for path in self.world.files}
        deep = sorted(folder for folder in folders if "/" in folder)
        return self.rng.choice(deep) if deep else None

    def rewrite_file(self) -> str | None:
        path = self.some_path()
        if path is None:
            return None
        self.put(path, some_content(self.rng, self.feature_of(path), path, 0.6))
        return f"rewrite {path}"

    def empty_file(self) -> str | None:
        path = self.some_path()
        if path is None:
            return None
        self.put(path, Content("empty"))
        return f"empty {path}"

    def touch_file(self) -> str | None:
        path = self.some_path()
        if path is None:
            return None
        self.world.files[path] = replace(self.world.files[path], mtime_ns=self.mtime())
        return f"touch {path}"

    def rename_folder(self) -> str | None:
        """A video's or product's folder gets another one's name, where that is free."""
        first, pool = self.rng.choice((("frames", FRAME), ("products", PRODUCT)))
        old, new = (f"{first}/{self.rng.choice(self.owners(pool))}" for _ in range(2))
        paths = list(self.world.files)
        if not any(path.startswith(old + "/") for path in paths) or any(
            p.startswith(new + "/") for p in paths
        ):
            return None
        self.world.files = {
            new + path[len(old) :] if path.startswith(old + "/") else path: spec
            for path, spec in self.world.files.items()
        }
        self.world.renames.append((old, new))
        return f"rename {old} to {new}"

    def add_link(self) -> str | None:
        kind = self.rng.choice(KINDS)
        path = self.image_path(kind, self.names(kind))
        if path in self.world.files:
            return None
        target = self.rng.choice(("store/picture.png", "outside.png", "store/nothing.png"))
        self.world.files[path] = FileSpec(STATIC, None, target)
        return f"link {path} to {target}"

    def add_noise(self) -> str:
        """Files that are ignored, match nothing, or lie in a directory that is called like an image."""
        owner = self.rng.choice(self.owners(FRAME))
        name = self.rng.choice(
            (".hidden.jpg", "000001.jpg.tmp", "x.png~", ".d/000001.jpg", "a.txt", "dir.jpg/b.txt")
        )
        self.put(f"frames/{owner}/{name}", Content("junk", shade=self.rng.randint(0, 9)))
        return f"add noise {name}"

    # --- rows ---

    def shown(self, path: str | None) -> str | None:
        """A path as the pipeline writes it."""
        if path is None:
            return None
        ways = (
            path, path, f"{ROOT}/{path}", f"{ROOT}/{path}", f"/app/data/{path}", f"/app/data/deep/../{path}",
            f"./{path}", path.replace("/", "//", 1) if self.chance(0.3) else path,
        )  # fmt: skip
        return self.rng.choice(ways)

    def write_row(
        self, kind: str, ident: str | None, names: dict[str, str], claims: dict[str, str | None]
    ) -> None:
        owner = names[OWNERS[kind]] if self.chance(0.85) else None
        if self.chance(0.05):
            owner = self.rng.choice(self.owners(kind))
        row: dict[str, Any] = {ID_COLUMNS[kind]: ident, OWNERS[kind]: owner}
        for feature, path in claims.items():
            row[COLUMNS[feature]] = self.shown(path)
        row[COLUMNS["embedding"]] = self.embedding(claims.get("embedding"))
        if kind == FRAME:
            number = names["frame"]
            row["ts"] = float(number) / 4 if number.isdigit() and self.chance(0.8) else self.some_ts()
        self.store(TABLES[kind], ident, row)

    def embedding(self, path: str | None) -> Any:
        if self.world.embedding == "text":
            return self.shown(path)
        return (1.0, 2.0, 3.0, 4.0) if path or self.chance(0.3) else None

    def some_ts(self) -> float | None:
        return self.rng.choice((None, None, 0.0, 1.5, 1.5, float("inf"), -3.25))

    def store(self, table: str, key: Any, row: dict[str, Any]) -> None:
        """Writes a row with those of its columns that the table has; later rows are mostly newer."""
        columns = self.world.columns[table]
        known = self.world.tables[table].get(key, {})
        times = {
            name: self.time() if self.chance(0.85) else known.get(name)
            for name in ("updated_at", "created_at")
        }
        if known and "created_at" in known:
            times["created_at"] = known["created_at"]
        if self.world.dialect == "sqlite" and "created_at" not in columns and self.chance(0.02):
            times["updated_at"] = "once upon a time"
        every = {**dict.fromkeys(columns), **known, **row, **times}
        self.world.tables[table][key] = {name: every[name] for name in columns}

    def some_row(self) -> tuple[str, Any, dict[str, Any]] | None:
        kind = self.rng.choice(KINDS)
        table = self.world.tables[TABLES[kind]]
        keys = [key for key in table if key is not None]
        if not keys:
            return None
        key = self.rng.choice(keys)
        return kind, key, table[key]

    def add_row(self) -> str:
        """A row for which there may be no file."""
        kind = self.rng.choice(KINDS)
        names = self.names(kind)
        ident = self.template_id(kind, names)
        claims: dict[str, str | None] = {"image": self.image_path(kind, names)}
        claims |= {feature: self.artifact_path(kind, feature, names, ident) for feature in ARTIFACTS}
        self.write_row(kind, ident if self.chance(0.95) else None, names, claims)
        return f"row {kind} {ident}"

    def remove_row(self) -> str | None:
        found = self.some_row()
        if found is None:
            return None
        kind, key, _ = found
        del self.world.tables[TABLES[kind]][key]
        return f"remove row {kind} {key}"

    def change_claim(self) -> str | None:
        found = self.some_row()
        if found is None:
            return None
        kind, key, row = found
        feature = self.rng.choice(("image", *ARTIFACTS))
        if COLUMNS[feature] not in row or (feature == "embedding" and self.world.embedding != "text"):
            return None
        text = self.strange_claim(feature, row[COLUMNS[feature]])
        self.store(TABLES[kind], key, {**row, COLUMNS[feature]: text})
        return f"{kind} {key} claims {text!r} as {feature}"

    def strange_claim(self, feature: str, known: str | None) -> str | None:
        """Null, empty, missing, outside, ignored, another file, or what it was."""
        if feature in ("image", "segment") and self.chance(0.1):
            feature = self.rng.choice(("image", "segment"))
        same = [path for path, spec in self.world.files.items() if self.feature_of(path) == feature]
        another = self.rng.choice(same) if same else "frames/none.png"
        extra = f"{EXTRA}/{feature}_{self.rng.randint(0, 2)}.png"
        if self.chance(0.1):
            self.put(extra, some_content(self.rng, feature, extra))
        ways = (
            None, None, "", "frames/v1/gone.png", "nowhere/at/all.png", "/etc/passwd", "../up.png",
            f"{ROOT}/../x.png",
            f"{ROOT}x/y.png", "/app/database/x.png", "frames/.hidden/x.png", "frames/v1", self.shown(another),
            self.shown(another), self.shown(another), self.shown(extra), self.shown(extra), known,
        )  # fmt: skip
        return self.rng.choice(ways)

    def swap_claims(self) -> str | None:
        one, other = self.some_row(), self.some_row()
        feature = self.rng.choice(("image", "segment", "keypoints"))
        column = COLUMNS[feature]
        if one is None or other is None or column not in one[2] or column not in other[2]:
            return None
        first, second = one[2][column], other[2][column]
        self.store(TABLES[one[0]], one[1], {**one[2], column: second})
        self.store(TABLES[other[0]], other[1], {**other[2], column: first})
        return f"swap {feature} of {one[1]} and {other[1]}"

    def change_row(self) -> str | None:
        found = self.some_row()
        if found is None:
            return None
        kind, key, row = found
        change: dict[str, Any] = {OWNERS[kind]: self.rng.choice([None, *self.owners(kind)])}
        if kind == FRAME and self.chance(0.5):
            change = {"ts": self.some_ts()}
        if self.world.embedding != "text" and self.chance(0.3):
            change = {COLUMNS["embedding"]: self.embedding(None)}
        self.store(TABLES[kind], key, {**row, **change})
        return f"change {kind} {key}: {change}"

    def change_owner_row(self) -> str:
        """A product's or video's row appears, changes or goes."""
        table = self.rng.choice(("products", "videos"))
        kind = PRODUCT if table == "products" else FRAME
        key = self.rng.choice(self.owners(kind))
        if key in self.world.tables[table] and self.chance(0.15):
            del self.world.tables[table][key]
            self.drop_memberships(key)
            return f"remove {table} {key}"
        row: dict[str, Any] = {
            OWNERS[kind]: key,
            "job_id": self.rng.choice([*JOB_IDS[:3], *JOB_IDS[:2], None]),
        }
        row["title"] = self.rng.choice([None, *TITLES])
        row["platform"] = self.rng.choice((None, "youtube", "YouTube", "tiktok"))
        row["url"] = self.rng.choice((None, "https://youtube.com/watch?v=1&x=ä"))
        row["duration_s"] = self.rng.choice((None, 0, 3, 120, 2.5, 1))
        self.store(table, key, row)
        return f"write {table} {key}"

    def drop_memberships(self, video: str) -> None:
        pairs = self.world.tables.get("job_videos", {})
        for pair in [pair for pair in pairs if pair[1] == video]:
            del pairs[pair]

    def change_membership(self) -> str | None:
        if "job_videos" not in self.world.tables or not self.world.tables["videos"]:
            return None
        pair = (self.rng.choice(JOB_IDS[:3]), self.rng.choice(list(self.world.tables["videos"])))
        if self.world.tables["job_videos"].pop(pair, None) is not None:
            return f"leave {pair}"
        self.store("job_videos", pair, {"job_id": pair[0], "video_id": pair[1]})
        return f"join {pair}"

    def change_job(self) -> str:
        key = self.rng.choice(JOB_IDS)
        if key in self.world.tables["jobs"] and self.chance(0.2):
            del self.world.tables["jobs"][key]
            return f"remove job {key}"
        phase = self.rng.choice((*PHASES, None))
        percent = self.rng.choice((None, None, 62.5, 0.0, 100.0, 33.333333))
        self.store("jobs", key, {"job_id": key, "phase": phase, "percent": percent})
        return f"job {key} {phase} {percent}"

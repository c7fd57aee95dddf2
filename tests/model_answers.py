"""The second half of the model: assets → the bodies of the nine endpoints and ``/jobs``.

Part of :mod:`model`. Times are nanoseconds since the epoch until they are written.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from model_assets import ARTIFACTS, FRAME, OWNERS, PRODUCT, Asset, Assets, Database, finite

Pairs = Sequence[tuple[str, str]]
Judge = Callable[[str, str, "str | None"], "tuple[str, str] | None"]

Key = Callable[[Any], Any]

PHASES = {"collection": 0, "matching": 80, "evidence": 90, "completed": 100}
HAS = ("segment", "embedding", "keypoints", "none", "any")


class Percent(float):
    """A percentage of two decimals that remembers the exact one: at a tie either neighbour is right."""

    exact: Fraction

    @classmethod
    def of(cls, exact: Fraction) -> Percent:
        made = cls(round(float(exact), 2))
        made.exact = exact
        return made

    def same(self, other: Any) -> bool:
        if isinstance(other, bool) or not isinstance(other, (int, float)):
            return False
        return abs(Fraction(str(other)) - self.exact) <= Fraction(5, 1000) and round(other, 2) == other


class Unsettled:
    """Equal to whatever stands in its place: where the specification leaves the value open."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"<anything: {self.why}>"


@dataclass(frozen=True)
class Failure:
    """An error answer: its status, and for 400 which parameters it must name."""

    status: int
    parameters: frozenset[str] = frozenset()


@dataclass
class Request:
    """A query read by the common rules; ``bad`` collects the parameters that cannot be used."""

    pairs: Pairs
    web: Mapping[str, Any]
    bad: set[str] = field(default_factory=set)

    def text(self, name: str) -> str | None:
        """The last of a repeated parameter; an empty one counts as absent."""
        values = [value for key, value in self.pairs if key == name]
        return (values[-1] or None) if values else None

    def choice(self, name: str, allowed: Iterable[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in allowed:
            self.bad.add(name)
        return value

    def integer(self, name: str, lowest: int, highest: int = 2**63 - 1) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if re.fullmatch("[0-9]+", value) and lowest <= int(value) <= highest:
            return int(value)
        self.bad.add(name)
        return None

    def order(self, default: str) -> bool:
        """Whether the order is descending."""
        value = (self.text("order") or default).lower()
        if value not in ("asc", "desc"):
            self.bad.add("order")
        return value == "desc"

    @property
    def urls(self) -> bool:
        value = self.choice("include", ("urls",))
        return value == "urls" or "urls" in self.web["include"]


def folded(text: str) -> str:
    """What ``q`` and titles are compared by."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def url_of(path: str | None) -> str | None:
    return None if path is None else "/files/" + quote(path, safe="/")


@dataclass(frozen=True)
class Page:
    """The common parameters of a list."""

    limit: int
    offset: int
    sort_by: str
    descending: bool

    def cut(self, items: list[Any], keys: Mapping[str, Key], ident: Callable[[Any], str]) -> list[Any]:
        """Sorted with nulls last and ties by id ascending, then the part that is asked for."""
        key = keys[self.sort_by]
        items = sorted(items, key=ident)
        known = sorted((i for i in items if key(i) is not None), key=key, reverse=self.descending)
        return [*known, *(i for i in items if key(i) is None)][self.offset : self.offset + self.limit]


def page_of(request: Request, sorts: Sequence[str], order: str) -> Page:
    """``sorts`` begins with the default."""
    limit = request.integer("limit", 1, request.web["max_limit"])
    offset = request.integer("offset", 0)
    sort_by = request.choice("sort_by", sorts)
    return Page(limit or request.web["default_limit"], offset or 0, sort_by or sorts[0], request.order(order))


class Answers:
    """The bodies, from assets, rows, and a judge of contents (feature, path, image path) → verdict."""

    def __init__(self, settings: Mapping[str, Any], assets: Assets, judge: Judge) -> None:
        self.settings, self.assets, self.judge = settings, assets, judge
        self.database: Database | None = assets.database
        self.listed = [asset for asset in assets.all.values() if asset.listed]
        self.root: str = settings["data"]["root"].rstrip("/")
        self.web: Mapping[str, Any] = settings["web"]

    # --- facts about one asset ---

    def job_ids(self) -> list[str]:
        return list(self.database.jobs) if self.database else [self.settings["jobs"]["default"]]

    def jobs_of_owner(self, kind: str, owner: str | None) -> set[str]:
        if self.database is None:
            return {self.settings["jobs"]["default"]}
        return self.database.jobs_of_video(owner) if kind == FRAME else self.database.jobs_of_product(owner)

    def jobs_of(self, asset: Asset) -> set[str]:
        return self.jobs_of_owner(asset.kind, asset.owner)

    def in_job(self, kind: str, job: str) -> list[Asset]:
        return [asset for asset in self.listed if asset.kind == kind and job in self.jobs_of(asset)]

    def good(self, asset: Asset, feature: str) -> str | None:
        """The artifact's file if it is there and has not been judged corrupt."""
        path = asset.files[feature].used
        verdict = self.judge(feature, path, asset.files["image"].used) if path else None
        return None if verdict and verdict[0] == "corrupt" else path

    def has(self, asset: Asset, feature: str) -> bool:
        if feature == "embedding" and asset.row is not None and asset.row.embedding_in_db:
            return True
        return self.good(asset, feature) is not None

    def mtime(self, path: str | None) -> int | None:
        return self.assets.disk.files[path].mtime_ns if path is not None else None

    def ts(self, asset: Asset) -> float | None:
        if asset.row is not None:
            return asset.row.ts
        fps = self.settings["layout"]["frames"]["fps"]
        number = frame_number(asset)
        return number / fps if fps > 0 and number is not None else None

    def image_time(self, asset: Asset) -> int:
        times = [asset.row.time_ns if asset.row else None, self.mtime(asset.files["image"].used)]
        return latest(times) or 0

    def feature_time(self, asset: Asset) -> int:
        return latest([self.image_time(asset), *(self.mtime(self.good(asset, f)) for f in ARTIFACTS)]) or 0

    def title(self, asset: Asset) -> str | None:
        products = self.database.products if self.database else {}
        return products.get(asset.owner or "", {}).get("title") if asset.kind == PRODUCT else None

    # --- how values are written ---

    def absolute(self, path: str | None) -> str | None:
        return None if path is None else posixpath.join(self.root, path)

    def written(self, time_ns: int | None) -> str | None:
        if time_ns is None:
            return None
        offset: str = self.web["utc_offset"]
        minutes = int(offset[1:3]) * 60 + int(offset[4:6])
        local = timedelta(seconds=time_ns // 10**9, minutes=-minutes if offset[0] == "-" else minutes)
        return (datetime(1970, 1, 1, tzinfo=UTC) + local).strftime("%Y-%m-%dT%H:%M:%S") + offset

    def frame_item(self, asset: Asset, urls: bool) -> dict[str, Any]:
        path = asset.files["image"].used
        item = {
            "frame_id": asset.id,
            "ts": self.ts(asset),
            "local_path": self.absolute(path),
            "updated_at": self.written(self.image_time(asset)),
        }
        return {**item, "url": url_of(path)} if urls else item

    def image_item(self, asset: Asset, urls: bool) -> dict[str, Any]:
        path = asset.files["image"].used
        item = {
            "img_id": asset.id,
            "product_id": asset.owner,
            "local_path": self.absolute(path),
            "product_title": self.title(asset),
            "updated_at": self.written(self.image_time(asset)),
        }
        return {**item, "url": url_of(path)} if urls else item

    def feature_item(self, asset: Asset, urls: bool) -> dict[str, Any]:
        good = {feature: self.good(asset, feature) for feature in ARTIFACTS}
        head = {"frame_id": asset.id, "video_id": asset.owner, "ts": self.ts(asset)}
        item: dict[str, Any] = {
            **(head if asset.kind == FRAME else {"img_id": asset.id, "product_id": asset.owner}),
            **{f"has_{feature}": self.has(asset, feature) for feature in ARTIFACTS},
            "paths": {feature: self.absolute(path) for feature, path in good.items()},
            "updated_at": self.written(self.feature_time(asset)),
        }
        if urls:
            item["original_url"] = url_of(asset.files["image"].used)
            item["urls"] = {feature: url_of(path) for feature, path in good.items()}
        return item

    # --- the endpoints ---

    def status(self, job: str, pairs: Pairs = ()) -> Any:
        return self._status(job) if job in self.job_ids() else Failure(404)

    def jobs(self, pairs: Pairs = ()) -> Any:
        request = Request(pairs, self.web)
        page = page_of(request, ("updated_at", "job_id"), "desc")
        q, phase = request.text("q"), request.text("phase")
        if request.bad:
            return Failure(400, frozenset(request.bad))
        found = {job: self._status(job) for job in self.job_ids() if q is None or folded(q) in folded(job)}
        found = {job: status for job, status in found.items() if phase is None or status["phase"] == phase}
        keys: dict[str, Key] = {"updated_at": self._job_time, "job_id": str}
        rows = page.cut(list(found), keys, str)
        return listing([found[job] for job in rows], len(found), page)

    def _status(self, job: str) -> dict[str, Any]:
        images, frames = self.in_job(PRODUCT, job), self.in_job(FRAME, job)
        phase, percent = self._progress(job, [*images, *frames])
        return {
            "job_id": job,
            "phase": phase,
            "percent": percent,
            "counts": {
                "products": len(self._products(job, images)),
                "videos": len(self._videos(job, frames)),
                "images": len(images),
                "frames": len(frames),
            },
            "updated_at": self.written(self._job_time(job)),
        }

    def _products(self, job: str, images: list[Asset]) -> list[str]:
        if self.database is None:
            return sorted({asset.owner for asset in images if asset.owner is not None})
        return [key for key in self.database.products if job in self.database.jobs_of_product(key)]

    def _videos(self, job: str, frames: list[Asset]) -> list[str]:
        if self.database is None:
            return sorted({asset.owner for asset in frames if asset.owner is not None})
        return [key for key in self.database.videos if job in self.database.jobs_of_video(key)]

    def _progress(self, job: str, assets: list[Asset]) -> tuple[str, Percent]:
        there = sum(self.has(asset, feature) for asset in assets for feature in ARTIFACTS)
        share = Fraction(there, 3 * len(assets)) if assets else Fraction(0)
        if self.database is None:
            busy = "completed" if share == 1 else "feature_extraction"
            phase, said = (busy if assets else "collection"), None
        else:
            row = self.database.jobs[job]
            phase = "unknown" if row.get("phase") is None else row["phase"]
            said = finite(row.get("percent"))
        if said is not None:
            return phase, Percent.of(Fraction(str(said)))
        if phase == "feature_extraction":
            return phase, Percent.of(20 + 60 * share)
        return phase, Percent.of(Fraction(PHASES.get(phase, 0)))

    def _job_time(self, job: str) -> int | None:
        images, frames = self.in_job(PRODUCT, job), self.in_job(FRAME, job)
        times: list[int | None] = [self.feature_time(asset) for asset in (*images, *frames)]
        if self.database is not None:
            times.append(self.database.time(self.database.jobs[job]))
            times += [self.database.time(self.database.products[key]) for key in self._products(job, images)]
            times += [self.database.time(self.database.videos[key]) for key in self._videos(job, frames)]
        return latest(times)

    def videos(self, job: str, pairs: Pairs = ()) -> Any:
        request = Request(pairs, self.web)
        sorts = ("updated_at", "duration_s", "frames_count", "title")
        page = page_of(request, sorts, "desc")
        q, platform = request.text("q"), request.text("platform")
        fewest, urls = request.integer("min_frames", 0), request.urls
        if request.bad:
            return Failure(400, frozenset(request.bad))
        if job not in self.job_ids():
            return Failure(404)
        frames = self.in_job(FRAME, job)
        found = [Video(self, video_id) for video_id in self._videos(job, frames)]
        found = [video for video in found if fewest is None or len(video.frames) >= fewest]
        found = [video for video in found if q is None or contains(video.row.get("title"), q)]
        if platform is not None:
            found = [v for v in found if (v.row.get("platform") or "").casefold() == platform.casefold()]
        keys: dict[str, Key] = {
            "updated_at": lambda video: video.time,
            "duration_s": lambda video: finite(video.row.get("duration_s")),
            "frames_count": lambda video: len(video.frames),
            "title": lambda video: None if video.row.get("title") is None else folded(video.row["title"]),
        }
        items = page.cut(found, keys, lambda video: video.id)
        return listing([video.item(urls) for video in items], len(found), page)

    def frames(self, job: str, video: str, pairs: Pairs = ()) -> Any:
        request = Request(pairs, self.web)
        page, urls = page_of(request, ("ts", "frame_id"), "asc"), request.urls
        if request.bad:
            return Failure(400, frozenset(request.bad))
        if job not in self.job_ids() or video not in self._videos(job, self.in_job(FRAME, job)):
            return Failure(404)
        found = [asset for asset in self.in_job(FRAME, job) if asset.owner == video]
        items = page.cut(found, {"ts": self.ts, "frame_id": lambda asset: asset.id}, lambda asset: asset.id)
        return listing([self.frame_item(asset, urls) for asset in items], len(found), page)

    def images(self, job: str, pairs: Pairs = ()) -> Any:
        request = Request(pairs, self.web)
        page, urls = page_of(request, ("img_id", "updated_at"), "asc"), request.urls
        product, q = request.text("product_id"), request.text("q")
        if request.bad:
            return Failure(400, frozenset(request.bad))
        if job not in self.job_ids():
            return Failure(404)
        found = [a for a in self.in_job(PRODUCT, job) if product is None or a.owner == product]
        found = [a for a in found if q is None or contains(self.title(a), q) or contains(a.id, q)]
        keys = {"img_id": lambda asset: asset.id, "updated_at": self.image_time}
        items = page.cut(found, keys, lambda asset: asset.id)
        return listing([self.image_item(asset, urls) for asset in items], len(found), page)

    def summary(self, job: str, pairs: Pairs = ()) -> Any:
        if job not in self.job_ids():
            return Failure(404)
        return {
            "job_id": job,
            "product_images": self._summed(self.in_job(PRODUCT, job)),
            "video_frames": self._summed(self.in_job(FRAME, job)),
            "updated_at": self.written(self._job_time(job)),
        }

    def _summed(self, assets: list[Asset]) -> dict[str, Any]:
        body: dict[str, Any] = {"total": len(assets)}
        for feature in ARTIFACTS:
            done = sum(self.has(asset, feature) for asset in assets)
            share = Fraction(100 * done, len(assets)) if assets else Fraction(0)
            body[feature] = {"done": done, "percent": Percent.of(share)}
        return body

    def product_images(self, job: str, pairs: Pairs = ()) -> Any:
        return self._feature_list(PRODUCT, job, pairs, ("updated_at", "img_id"))

    def video_frames(self, job: str, pairs: Pairs = ()) -> Any:
        return self._feature_list(FRAME, job, pairs, ("updated_at", "frame_id", "ts"))

    def _feature_list(self, kind: str, job: str, pairs: Pairs, sorts: Sequence[str]) -> Any:
        request = Request(pairs, self.web)
        page, urls = page_of(request, sorts, "desc"), request.urls
        has = request.choice("has", HAS)
        owner = request.text(OWNERS[FRAME]) if kind == FRAME else None
        if request.bad:
            return Failure(400, frozenset(request.bad))
        if job not in self.job_ids():
            return Failure(404)
        found = [asset for asset in self.in_job(kind, job) if owner is None or asset.owner == owner]
        found = [asset for asset in found if has is None or self._passes(asset, has)]
        keys = {"updated_at": self.feature_time, sorts[1]: lambda asset: asset.id, "ts": self.ts}
        items = page.cut(found, keys, lambda asset: asset.id)
        return listing([self.feature_item(asset, urls) for asset in items], len(found), page)

    def _passes(self, asset: Asset, has: str) -> bool:
        there = {feature for feature in ARTIFACTS if self.has(asset, feature)}
        return {"any": bool(there), "none": not there}.get(has, has in there)

    def product_image(self, img_id: str, pairs: Pairs = ()) -> Any:
        return self._detail(PRODUCT, img_id, pairs)

    def video_frame(self, frame_id: str, pairs: Pairs = ()) -> Any:
        return self._detail(FRAME, frame_id, pairs)

    def _detail(self, kind: str, key: str, pairs: Pairs) -> Any:
        request = Request(pairs, self.web)
        urls = request.urls
        if request.bad:
            return Failure(400, frozenset(request.bad))
        asset = self.assets.all.get((kind, key))
        return self.feature_item(asset, urls) if asset and asset.listed else Failure(404)


class Video:
    """A video with the frames of it that are on disk."""

    def __init__(self, answers: Answers, video_id: str) -> None:
        self.answers, self.id = answers, video_id
        database = answers.database
        self.row: Mapping[str, Any] = database.videos[video_id] if database else {}
        self.frames = [asset for asset in answers.listed if asset.kind == FRAME and asset.owner == video_id]
        self.frames.sort(key=lambda frame: frame.id)
        images = [answers.mtime(frame.files["image"].used) for frame in self.frames]
        self.time = latest([database.time(self.row) if database else None, *images])

    def item(self, urls: bool) -> dict[str, Any]:
        item = {
            "video_id": self.id,
            **{key: self.row.get(key) for key in ("platform", "url", "title")},
            "duration_s": finite(self.row.get("duration_s")),
            "frames_count": len(self.frames),
            "updated_at": self.answers.written(self.time),
        }
        return {**item, **self._pictures()} if urls else item

    def _pictures(self) -> dict[str, Any]:
        if not self.frames:
            return {"first_keyframe_url": None, "preview_frame": None}
        times = {frame.id: self.answers.ts(frame) for frame in self.frames}
        known = [frame for frame in self.frames if times[frame.id] is not None]
        ordered = [
            *sorted(known, key=lambda f: times[f.id] or 0.0),
            *(f for f in self.frames if f not in known),
        ]
        first = url_of(ordered[0].files["image"].used)
        return {"first_keyframe_url": first, "preview_frame": self._preview(times)}

    def _preview(self, times: Mapping[str, float | None]) -> Any:
        masked = [frame for frame in self.frames if self.answers.good(frame, "segment")]
        duration = finite(self.row.get("duration_s"))
        if duration is None or any(ts is None for ts in times.values()):
            return Unsettled("where the middle of the video is, is not known")
        distances = {frame.id: abs((times[frame.id] or 0) - duration / 2) for frame in masked or self.frames}
        nearest = [key for key, distance in distances.items() if distance == min(distances.values())]
        if len(nearest) > 1:
            return Unsettled("two frames are as near to the middle")
        frame = next(frame for frame in self.frames if frame.id == nearest[0])
        return {
            "frame_id": frame.id,
            "ts": times[frame.id],
            "url": url_of(frame.files["image"].used),
            "segment_url": url_of(self.answers.good(frame, "segment")),
        }


def frame_number(asset: Asset) -> int | None:
    """The number that the path calls the frame, where it is one."""
    name = asset.names.get("frame", "")
    return int(name) if re.fullmatch("[0-9]+", name) else None


def contains(text: str | None, q: str) -> bool:
    return text is not None and folded(q) in folded(text)


def latest(times: Iterable[int | None]) -> int | None:
    return max((time for time in times if time is not None), default=None)


def listing(items: list[Any], total: int, page: Page) -> dict[str, Any]:
    return {"items": items, "total": total, "limit": page.limit, "offset": page.offset}

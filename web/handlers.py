"""One short class an endpoint: which parameters it has, which query answers it, what that becomes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Literal

from scanner.queries import Queries
from scanner.records import AssetItem, AssetType
from web import healthwire, params, wire
from web.base import Endpoint, Exchange, IndexEndpoint, JsonEndpoint, encode
from web.context import Context
from web.params import Limits, ParameterSet, Query
from web.payloads import Payloads
from web.problems import Problem, no_such_path


class PayloadEndpoint(IndexEndpoint):
    """An endpoint whose answer is built by ``Payloads``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.payloads = Payloads(context.root, context.offset)


def listing(
    page_type: type[wire.Listing],
    found: tuple[list[Any], int] | None,
    query: Query,
    build: Callable[[Any, bool], Any],
) -> wire.Listing | None:
    """A page of what was found, None where the query knows nothing to list."""
    if found is None:
        return None
    items, total = found
    urls, page = query.urls, query.page
    return page_type([build(item, urls) for item in items], total, page.limit, page.offset)


# --- jobs ------------------------------------------------------------------------------------------

JOB_FILTERS = (
    params.text("q", "Only jobs whose id holds this text, in any letter case."),
    params.text("phase", "Only jobs in this phase."),
)
JOB_SORTS = ("updated_at", "job_id")


class Status(PayloadEndpoint):
    """``GET /status/{job_id}``."""

    summary = "Phase, progress and counts of a job"
    answers = wire.Status

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The snapshot."""
        job = queries.status(args[0])
        return None if job is None else self.payloads.status(job)


class Jobs(PayloadEndpoint):
    """``GET /jobs``."""

    summary = "All jobs"
    answers = wire.StatusPage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        return ParameterSet(JOB_FILTERS, sorts=JOB_SORTS, descending=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of snapshots."""
        found = queries.jobs(query.q, query.phase, query.page)
        return listing(self.answers, found, query, lambda job, urls: self.payloads.status(job))


class Videos(PayloadEndpoint):
    """``GET /jobs/{job_id}/videos``."""

    summary = "The videos of a job"
    answers = wire.VideoPage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        filters = (
            params.text("q", "Only videos whose title holds this text, in any letter case."),
            params.text("platform", "Only videos from this platform, in any letter case."),
            params.integer("min_frames", 0, None, "Only videos with this many frames on disk."),
        )
        sorts = ("updated_at", "duration_s", "frames_count", "title")
        return ParameterSet(filters, sorts=sorts, descending=True, include=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of videos."""
        found = queries.videos(args[0], query.q, query.platform, query.min_frames, query.page, query.urls)
        return listing(self.answers, found, query, self.payloads.video)


class Frames(PayloadEndpoint):
    """``GET /jobs/{job_id}/videos/{video_id}/frames``."""

    summary = "The frames of a video that are on disk"
    answers = wire.FramePage

    def declare(self, limits: Limits) -> ParameterSet:
        """Paging."""
        return ParameterSet(sorts=("ts", "frame_id"), include=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of frames."""
        found = queries.frames(args[0], args[1], query.page)
        return listing(self.answers, found, query, self.payloads.frame)

    def key(self, args: Sequence[str]) -> tuple[Any, ...]:
        """The video, in this job."""
        return ("video", args[0], args[1])


class Images(PayloadEndpoint):
    """``GET /jobs/{job_id}/images``."""

    summary = "The product images of a job that are on disk"
    answers = wire.ImagePage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        filters = (
            params.text("product_id", "Only images of this product."),
            params.text("q", "Only images whose product title or id holds this text, in any letter case."),
        )
        return ParameterSet(filters, sorts=("img_id", "updated_at"), include=True, limits=limits)

    def is_search(self, args: Sequence[str], query: Query) -> bool:
        """Every image is looked at for a text."""
        return query.q is not None

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of images."""
        found = queries.images(args[0], query.product_id, query.q, query.page)
        return listing(self.answers, found, query, self.payloads.image)


# --- features --------------------------------------------------------------------------------------


class Summary(PayloadEndpoint):
    """``GET /jobs/{job_id}/features/summary``."""

    summary = "How many assets of a job have which artifact"
    answers = wire.Summary

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The counts."""
        job = queries.summary(args[0])
        return None if job is None else self.payloads.summary(job)


class ProductImages(PayloadEndpoint):
    """``GET /jobs/{job_id}/features/product-images``."""

    summary = "The product images of a job with their artifacts"
    answers = wire.ProductImagePage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        sorts = ("updated_at", "img_id")
        return ParameterSet((params.HAS,), sorts=sorts, descending=True, include=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of product images."""
        found = queries.product_images(args[0], query.has, query.page)
        return listing(self.answers, found, query, self.payloads.product_image)


class VideoFrames(PayloadEndpoint):
    """``GET /jobs/{job_id}/features/video-frames``."""

    summary = "The video frames of a job with their artifacts"
    answers = wire.VideoFramePage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        filters = (params.text("video_id", "Only frames of this video."), params.HAS)
        sorts = ("updated_at", "frame_id", "ts")
        return ParameterSet(filters, sorts=sorts, descending=True, include=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of video frames."""
        found = queries.video_frames(args[0], query.video_id, query.has, query.page)
        return listing(self.answers, found, query, self.payloads.video_frame)


class AssetDetail(PayloadEndpoint):
    """One asset; the subclasses say of which type."""

    kind: ClassVar[Literal["product_image", "video_frame"]]
    type: ClassVar[AssetType]

    def declare(self, limits: Limits) -> ParameterSet:
        """Additive fields only."""
        return ParameterSet(include=True, limits=limits)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The asset."""
        item = queries.asset(self.type, args[0])
        return None if item is None else self.build(item, query.urls)

    def build(self, item: AssetItem, urls: bool) -> Any:
        """The payload."""
        raise NotImplementedError

    def key(self, args: Sequence[str]) -> tuple[Any, ...]:
        """The asset."""
        return (self.kind, args[0])


class ProductImage(AssetDetail):
    """``GET /features/product-images/{img_id}``."""

    summary = "A product image with its artifacts"
    answers = wire.ProductImage
    kind = "product_image"
    type = AssetType.PRODUCT_IMAGE

    def build(self, item: AssetItem, urls: bool) -> Any:
        """The payload."""
        return self.payloads.product_image(item, urls)


class VideoFrame(AssetDetail):
    """``GET /features/video-frames/{frame_id}``."""

    summary = "A video frame with its artifacts"
    answers = wire.VideoFrame
    kind = "video_frame"
    type = AssetType.VIDEO_FRAME

    def build(self, item: AssetItem, urls: bool) -> Any:
        """The payload."""
        return self.payloads.video_frame(item, urls)


# --- the sidecar itself ----------------------------------------------------------------------------


class Healthz(JsonEndpoint):
    """``GET /healthz``: 200 for as long as the process lives."""

    summary = "Whether the sidecar is well, and if not, why"
    answers = healthwire.Health

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The snapshot."""
        exchange.send_json(encode(self.context.health.snapshot()))
        return None


class Readyz(JsonEndpoint):
    """``GET /readyz``: 200 once the first full scan and the first database read are done."""

    summary = "Whether the index is complete enough to believe a 404"
    answers = healthwire.Ready
    errors = (503,)

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """200 or 503."""
        if not self.context.health.ready():
            raise Problem(
                503,
                "The first full scan or the first read of the database is not done yet.",
                headers=(("Retry-After", "1"),),
            )
        exchange.send_json(encode(healthwire.Ready(ready=True)))
        return None


class Metrics(Endpoint):
    """``GET /metrics``."""

    summary = "Figures for Prometheus"
    media_types = ("text/plain",)
    errors = (404,)

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """What the context renders."""
        if self.context.metrics is None:
            raise no_such_path()
        headers = (
            ("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),
            ("Cache-Control", "no-cache"),
        )
        exchange.send(200, headers, self.context.metrics())
        return None

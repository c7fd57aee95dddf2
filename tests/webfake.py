"""A web process in miniature: the real application and server on a real socket, over plain lists."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta, timezone
from typing import Any

from scanner.filequeries import KnownFile
from scanner.records import (
    AssetFile,
    AssetItem,
    AssetRecord,
    AssetType,
    Check,
    Feature,
    FeatureCounts,
    FindingItem,
    FindingRequest,
    GalleryItem,
    JobOverview,
    JobStatus,
    JobSummary,
    Kind,
    PreviewFrame,
    Verification,
    VideoItem,
)
from web.app import Application, make_app
from web.context import Context
from web.health import EMPTY
from web.server import Server

NOON_US = 1755934000_999_999  # 2025-08-23T14:26:40.999999+07:00
NOON = "2025-08-23T14:26:40+07:00"
GMT7 = timezone(timedelta(hours=7))

JOB = JobStatus("j_123", "feature_extraction", 62.5, 120, 34, 600, 2400, NOON_US)
VIDEO = VideoItem(
    "v_abc",
    "youtube",
    "https://youtube.com/x",
    "Test API Video",
    120,
    480,
    NOON_US,
    "frames/v_abc/000001.jpg",
    PreviewFrame("v_abc_frame_000123", 30.0, "frames/v_abc/000123.jpg", "frames/v_abc/000123/seg.png"),
)
BARE_VIDEO = VideoItem("v_none", None, None, None, None, 0, None)
FRAME = AssetItem(
    "v_abc_frame_000123",
    "v_abc",
    30.0,
    None,
    "frames/v_abc/000123.jpg",
    NOON_US * 1000,
    AssetType.VIDEO_FRAME,
    None,
    "frames/v_abc/000123/emb.bin",
    "frames/v_abc/000123/kp #1.bin",
    2 + 4,
    (NOON_US + 1_000_000) * 1000,
)
IMAGE = AssetItem(
    "p_001_img_0",
    "p_001",
    None,
    "NeckCare Pillow V2",
    "products/p_001/0.jpg",
    NOON_US * 1000,
    AssetType.PRODUCT_IMAGE,
    "products/p_001/0/seg.png",
    "products/p_001/0/emb.bin",
    None,
    1 + 2,
    (NOON_US + 1_000_000) * 1000,
)
FINDING = FindingItem(
    "j_123",
    AssetType.VIDEO_FRAME,
    "v_abc_frame_000123",
    Feature.SEGMENT,
    Kind.MISSING,
    None,
    "/app/data/seg,1.png",
    'the "file" is not there',
    NOON_US,
    NOON_US + 5_000_000,
)

RECORD = AssetRecord(
    AssetType.PRODUCT_IMAGE,
    "p_001_img_0",
    True,
    "p_001",
    "NeckCare Pillow V2",
    None,
    ("j_123",),
    True,
    NOON_US,
    False,
    (
        AssetFile(
            Feature.IMAGE, "products/p_001/0.jpg", 123, NOON_US * 1000, "/app/data/0.jpg", None, Check.OK, ""
        ),
        AssetFile(Feature.SEGMENT, None, None, None, None, None, Check.NONE, ""),
    ),
    NOON_US,
)


@dataclass
class FakeQueries:
    """An index of lists; ``calls`` records every query, so that tests can see what was run again."""

    number: int = 1
    path: str = "index-0.db"
    jobs_list: list[JobStatus] = field(default_factory=lambda: [JOB])
    assets: list[AssetItem] = field(default_factory=lambda: [FRAME, IMAGE])
    videos_list: list[VideoItem] = field(default_factory=lambda: [VIDEO, BARE_VIDEO])
    finding_list: list[FindingItem] = field(default_factory=lambda: [FINDING])
    files: set[str] = field(default_factory=set)
    features: dict[str, Feature] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    failure: Exception | None = None

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def _known(self, job_id: str) -> JobStatus | None:
        return next((job for job in self.jobs_list if job.job_id == job_id), None)

    def _listed(self, type: AssetType, page: Any) -> tuple[list[AssetItem], int]:
        found = [asset for asset in self.assets if asset.type is type]
        return found[page.offset : page.offset + page.limit], len(found)

    def revision(self) -> int:
        return self.number

    @property
    def moment(self) -> AbstractContextManager[int]:
        return nullcontext(self.number)

    def status(self, job_id: str) -> JobStatus | None:
        self._called("status", job_id)
        return self._known(job_id)

    def jobs(self, q: Any, phase: Any, page: Any) -> tuple[list[JobStatus], int]:
        self._called("jobs", q, phase, page)
        return self.jobs_list[page.offset : page.offset + page.limit], len(self.jobs_list)

    def videos(
        self, job_id: str, q: Any, platform: Any, min_frames: Any, page: Any, urls: bool
    ) -> tuple[list[VideoItem], int] | None:
        self._called("videos", job_id, q, platform, min_frames, page, urls)
        if self._known(job_id) is None:
            return None
        return self.videos_list[page.offset : page.offset + page.limit], len(self.videos_list)

    def frames(self, job_id: str, video_id: str, page: Any) -> tuple[list[AssetItem], int] | None:
        self._called("frames", job_id, video_id, page)
        if self._known(job_id) is None or video_id not in {video.video_id for video in self.videos_list}:
            return None
        return self._listed(AssetType.VIDEO_FRAME, page)

    def images(self, job_id: str, product_id: Any, q: Any, page: Any) -> tuple[list[AssetItem], int] | None:
        self._called("images", job_id, product_id, q, page)
        return None if self._known(job_id) is None else self._listed(AssetType.PRODUCT_IMAGE, page)

    def summary(self, job_id: str) -> JobSummary | None:
        self._called("summary", job_id)
        return None if self._known(job_id) is None else self._summary(job_id)

    def _summary(self, job_id: str) -> JobSummary:
        return JobSummary(
            job_id, FeatureCounts(600, 380, 410, 395), FeatureCounts(2400, 900, 1320, 1180), NOON_US
        )

    def product_images(self, job_id: str, has: Any, page: Any) -> tuple[list[AssetItem], int] | None:
        self._called("product_images", job_id, has, page)
        return None if self._known(job_id) is None else self._listed(AssetType.PRODUCT_IMAGE, page)

    def video_frames(
        self, job_id: str, video_id: Any, has: Any, page: Any
    ) -> tuple[list[AssetItem], int] | None:
        self._called("video_frames", job_id, video_id, has, page)
        return None if self._known(job_id) is None else self._listed(AssetType.VIDEO_FRAME, page)

    def asset(self, type: AssetType, asset_id: str) -> AssetItem | None:
        self._called("asset", type, asset_id)
        return next(
            (asset for asset in self.assets if (asset.type, asset.asset_id) == (type, asset_id)), None
        )

    def verification(self, job_id: str | None) -> Verification | None:
        self._called("verification", job_id)
        return None if job_id is not None and self._known(job_id) is None else self._report(job_id)

    def _report(self, job_id: str | None) -> Verification:
        return Verification(
            job_id,
            3000,
            {Kind.MISSING: {Feature.SEGMENT: 2}, Kind.CORRUPT: {Feature.IMAGE: 1}},
            3,
            {Feature.SEGMENT: 5},
            {Feature.EMBEDDING: 6},
            {},
            7,
            NOON_US,
        )

    def overview(self, job_id: str) -> JobOverview | None:
        self._called("overview", job_id)
        job = self._known(job_id)
        return None if job is None else JobOverview(job, self._summary(job_id), self._report(job_id))

    def overviews(self, q: Any, phase: Any, page: Any) -> tuple[list[JobOverview], int, Verification]:
        self._called("overviews", q, phase, page)
        jobs = self.jobs_list[page.offset : page.offset + page.limit]
        found = [JobOverview(job, self._summary(job.job_id), self._report(job.job_id)) for job in jobs]
        return found, len(self.jobs_list), self._report(None)

    def findings(self, wanted: FindingRequest) -> tuple[list[FindingItem], int] | None:
        self._called("findings", wanted)
        if wanted.job_id is not None and self._known(wanted.job_id) is None:
            return None
        page = wanted.page
        return self.finding_list[page.offset : page.offset + page.limit], len(self.finding_list)

    def findings_behind(
        self, wanted: FindingRequest, place: tuple[Any, ...] | None
    ) -> tuple[list[FindingItem], tuple[Any, ...] | None]:
        self._called("findings_behind", wanted)
        begin = place[0] if place else 0
        end = begin + 400
        return self.finding_list[begin:end], (end,) if end < len(self.finding_list) else None

    def gallery(
        self, job_id: str, type: AssetType, owner_id: Any, has: Any, q: Any, kinds: Any, page: Any
    ) -> tuple[list[GalleryItem], int] | None:
        self._called("gallery", job_id, type, owner_id, has, q, kinds, page)
        if self._known(job_id) is None:
            return None
        assets, total = self._listed(type, page)
        return [GalleryItem(asset, ((Feature.SEGMENT, Kind.CORRUPT),)) for asset in assets], total

    def record(self, type: AssetType, asset_id: str) -> AssetRecord | None:
        self._called("record", type, asset_id)
        return RECORD if (type, asset_id) == (RECORD.type, RECORD.asset_id) else None

    def file(self, path: str) -> KnownFile | None:
        return (
            KnownFile(1, NOON_US * 1000, 1, self.features.get(path, Feature.IMAGE))
            if path in self.files
            else None
        )


@dataclass
class FakeHealth:
    """What ``/healthz`` and ``X-Index-State`` say."""

    index_state: Any = "complete"
    is_ready: bool = True

    def state(self) -> Any:
        return self.index_state

    def ready(self) -> bool:
        return self.is_ready

    def snapshot(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "ready": self.is_ready,
            "version": "0",
            "pending": {"paths": 0, "validations": 0},
            **EMPTY,
            "roots": [{"path": "/data/frames", "available": True, "watcher": "inotify", "directories": 2}],
            "scan": {"last_completed_at": NOON, "seconds": 0.5, "files": 3},
        }


@dataclass
class FakeLookup:
    """A database in which nothing is found, unless ``found`` adds something to the index."""

    found: Any = None
    keys: list[tuple[str, ...]] = field(default_factory=list)

    async def __call__(self, kind: Any, *key: str) -> bool:
        self.keys.append((kind, *key))
        await asyncio.sleep(0)
        return self.found is not None and bool(self.found(kind, *key))


@dataclass
class Answer:
    """A response as it came over the socket."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """A running server and the fakes behind it."""

    queries: FakeQueries
    health: FakeHealth
    lookup: FakeLookup
    application: Application
    port: int
    loop: asyncio.AbstractEventLoop

    def request(self, method: str, target: str, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving(root: str = "/data", **settings: Any) -> Iterator[Web]:
    """Serve fakes on a port of the system's choice until the block ends."""
    queries, health, lookup = FakeQueries(), FakeHealth(), FakeLookup()
    context = replace(Context(queries, health, lookup, root, GMT7), **settings)
    started: threading.Event = threading.Event()
    made: list[Any] = []

    async def main() -> None:
        application = make_app(context)
        server = Server(application)
        stop = asyncio.Event()
        made[:] = [application, server.listen("127.0.0.1", 0), asyncio.get_running_loop(), stop]
        started.set()
        await stop.wait()
        await server.shutdown(grace=5)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="web")
    thread.start()
    try:
        assert started.wait(30), "the server did not start"
        application, port, loop, _stop = made
        yield Web(queries, health, lookup, application, port, loop)
    finally:
        if made:
            made[2].call_soon_threadsafe(made[3].set)
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"

"""What the web needs from the rest of the program, as protocols, and the bundle that carries it.

``scanner.queries.Queries`` and the supervisor of the scanner fulfil them; tests use fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal, Protocol

from scanner.filequeries import KnownFile
from scanner.records import (
    AssetItem,
    AssetRecord,
    AssetType,
    FindingItem,
    FindingRequest,
    GalleryItem,
    JobStatus,
    JobSummary,
    Kind,
    Page,
    Verification,
    VideoItem,
)
from scanner.settings import VerifyConfig

IndexState = Literal["complete", "scanning", "degraded"]


class QueriesLike(Protocol):
    """Synchronous reads of the index; None means that the job, video or asset is not known."""

    def revision(self) -> int:
        """A number that is another one whenever the index changed; asked on every request."""

    def status(self, job_id: str) -> JobStatus | None:
        """The snapshot of a job."""

    def jobs(self, q: str | None, phase: str | None, page: Page) -> tuple[list[JobStatus], int]:
        """A page of jobs, and how many match."""

    def videos(
        self,
        job_id: str,
        q: str | None,
        platform: str | None,
        min_frames: int | None,
        page: Page,
        urls: bool,
    ) -> tuple[list[VideoItem], int] | None:
        """A page of the job's videos; ``urls`` fills their pictures."""

    def frames(self, job_id: str, video_id: str, page: Page) -> tuple[list[AssetItem], int] | None:
        """A page of a video's frames; None also for a video that is not of that job."""

    def images(
        self, job_id: str, product_id: str | None, q: str | None, page: Page
    ) -> tuple[list[AssetItem], int] | None:
        """A page of the job's product images."""

    def summary(self, job_id: str) -> JobSummary | None:
        """The feature counts of a job."""

    def product_images(self, job_id: str, has: str | None, page: Page) -> tuple[list[AssetItem], int] | None:
        """A page of product images with their artifacts."""

    def video_frames(
        self, job_id: str, video_id: str | None, has: str | None, page: Page
    ) -> tuple[list[AssetItem], int] | None:
        """A page of frames with their artifacts; an unknown ``video_id`` matches nothing."""

    def asset(self, type: AssetType, asset_id: str) -> AssetItem | None:
        """One asset."""

    def verification(self, job_id: str | None) -> Verification | None:
        """The counts of findings of a job, or with None of everything."""

    def findings(self, wanted: FindingRequest) -> tuple[list[FindingItem], int] | None:
        """A page of findings, and how many match; None where there is no such job."""

    def all_findings(self, wanted: FindingRequest) -> Iterator[FindingItem]:
        """All findings in the order that the page names, whatever its limit and offset."""

    def gallery(
        self,
        job_id: str,
        type: AssetType,
        owner_id: str | None,
        has: str | None,
        q: str | None,
        kinds: tuple[Kind, ...],
        page: Page,
    ) -> tuple[list[GalleryItem], int] | None:
        """A page of the job's assets of one type with their findings; empty ``kinds`` means no filter."""

    def record(self, type: AssetType, asset_id: str) -> AssetRecord | None:
        """Everything about one asset, also one that is not listed."""

    def file(self, path: str) -> KnownFile | None:
        """The file at this path, relative to the data root, if it is an image or artifact of an asset."""


class HealthLike(Protocol):
    """How the scanner is; every method takes microseconds."""

    def state(self) -> IndexState:
        """The value of ``X-Index-State``."""

    def ready(self) -> bool:
        """Whether the first full scan and the first database read are done."""

    def snapshot(self) -> dict[str, Any]:
        """The body of ``/healthz``."""


class Lookup(Protocol):
    """Asks the scanner to look an unknown key up in the pipeline database, for at most a second."""

    async def __call__(
        self, kind: Literal["job", "video", "product_image", "video_frame"], *key: str
    ) -> bool:
        """True if it was found and the index is worth asking again. A video's key is (job, video)."""


Observer = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that the application is composed of.

    ``root`` is ``data.root`` as configured, ``offset`` the one of all timestamps. ``observe`` is told
    of every answer: its route, status and seconds. ``metrics`` renders ``/metrics``. ``verify`` says how raw
    artifacts are to be read.
    """

    queries: QueriesLike
    health: HealthLike
    lookup: Lookup
    root: str
    offset: tzinfo
    cors_origins: tuple[str, ...] = ("*",)
    default_limit: int = 20
    max_limit: int = 1000
    include: tuple[str, ...] = ()
    files: bool = True
    version: str = "0"
    observe: Observer | None = None
    metrics: Callable[[], bytes] | None = None
    verify: VerifyConfig = field(default_factory=VerifyConfig)

"""Records become the JSON of the answers.

Every method builds one type of ``web.wire`` or ``web.assetwire``; paths become absolute, times become text.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from urllib.parse import quote

from scanner.records import (
    AssetFile,
    AssetItem,
    AssetRecord,
    AssetType,
    Feature,
    FeatureCounts,
    FindingItem,
    GalleryItem,
    JobOverview,
    JobStatus,
    JobSummary,
    PictureItem,
    PreviewFrame,
    Verification,
    VideoItem,
)
from web import assetwire, wire
from web.assetwire import AssetFinding, GalleryAsset, RecordedFile
from web.stamps import Stamps
from web.wire import (
    Artifacts,
    Counts,
    FeatureCount,
    FeatureTotals,
    Finding,
    Frame,
    FrameWithUrls,
    Image,
    ImageWithUrls,
    Preview,
    ProductImage,
    ProductImageWithUrls,
    Status,
    Summary,
    VerificationReport,
    Video,
    VideoFrame,
    VideoFrameWithUrls,
    VideoWithUrls,
)

_TYPE_NAMES = tuple(type.wire for type in AssetType)
_FEATURE_NAMES = tuple(feature.wire for feature in Feature)
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch  # what percent-encoding leaves as it is


def file_url(path: str) -> str:
    """The address below this server of a file, given relative to the data root."""
    return "/files/" + (path if _PLAIN(path) else quote(path, safe="/"))


def _optional_url(path: str | None) -> str | None:
    return None if path is None else file_url(path)


def percentage(done: int, total: int) -> float:
    """``done`` of ``total`` as a percentage with two decimals; 0.0 of nothing."""
    return round(done / total * 100, 2) if total else 0.0


def _by_feature(counts: dict[Feature, int]) -> dict[str, int]:
    return {feature.wire: counts.get(feature, 0) for feature in Feature}


class Payloads:
    """Builds the Structs; knows the data root as configured and the offset of all timestamps."""

    def __init__(self, root: str, offset: tzinfo) -> None:
        self._prefix = root.rstrip("/") + "/"
        self._second = Stamps(offset)

    def time(self, microseconds: int) -> str:
        """ISO 8601 with the configured offset, seconds rounded down."""
        return self._second(microseconds // 1_000_000)

    def _at(self, nanoseconds: int) -> str:
        return self._second(nanoseconds // 1_000_000_000)

    def optional_time(self, microseconds: int | None) -> str | None:
        """The same, null for None."""
        return None if microseconds is None else self._second(microseconds // 1_000_000)

    def path(self, relative: str | None) -> str | None:
        """The absolute path below the data root, null for None."""
        return None if relative is None else self._prefix + relative

    def status(self, job: JobStatus) -> Status:
        """``GET /status/{job_id}`` and the items of ``GET /jobs``."""
        counts = Counts(job.products, job.videos, job.images, job.frames)
        return Status(
            job.job_id, job.phase, round(job.percent, 2), counts, self.optional_time(job.updated_us)
        )

    def video(self, item: VideoItem, urls: bool) -> Video:
        """An item of the list of videos."""
        updated_at = self.optional_time(item.updated_us)
        fields = (item.video_id, item.platform, item.url, item.title, item.duration_s, item.frames_count)
        if not urls:
            return Video(*fields, updated_at)
        return VideoWithUrls(
            *fields, updated_at, _optional_url(item.first_image_path), _preview(item.preview)
        )

    def frame(self, item: PictureItem, urls: bool) -> Frame:
        """An item of the list of a video's frames."""
        fields = (item.asset_id, item.ts, self._prefix + item.image_path, self._at(item.image_updated_ns))
        return FrameWithUrls(*fields, file_url(item.image_path)) if urls else Frame(*fields)

    def image(self, item: PictureItem, urls: bool) -> Image:
        """An item of the list of product images."""
        fields = (
            item.asset_id,
            item.owner_id,
            self._prefix + item.image_path,
            item.title,
            self._at(item.image_updated_ns),
        )
        return ImageWithUrls(*fields, file_url(item.image_path)) if urls else Image(*fields)

    def product_image(self, item: AssetItem, urls: bool) -> ProductImage:
        """The artifacts of a product image: list item and detail alike."""
        fields = (
            item.asset_id,
            item.owner_id,
            *item.present,
            self._paths(item),
            self._at(item.updated_ns),
        )
        if not urls:
            return ProductImage(*fields)
        return ProductImageWithUrls(*fields, *_urls(item))

    def video_frame(self, item: AssetItem, urls: bool) -> VideoFrame:
        """The artifacts of a video frame: list item and detail alike."""
        fields = (
            item.asset_id,
            item.owner_id,
            item.ts,
            *item.present,
            self._paths(item),
            self._at(item.updated_ns),
        )
        if not urls:
            return VideoFrame(*fields)
        return VideoFrameWithUrls(*fields, *_urls(item))

    def summary(self, job: JobSummary) -> Summary:
        """``GET /jobs/{job_id}/features/summary``."""
        return Summary(
            job.job_id,
            _totals(job.product_images),
            _totals(job.video_frames),
            self.optional_time(job.updated_us),
        )

    def finding(self, item: FindingItem) -> Finding:
        """An item of the list of findings."""
        since, seen = item.since_us // 1_000_000, item.seen_us // 1_000_000
        since_at = self._second(since)
        return Finding(
            item.job_id,
            _TYPE_NAMES[item.type],  # type: ignore[arg-type]  # the two names are the members of the enum
            item.asset_id,
            _FEATURE_NAMES[item.feature],  # type: ignore[arg-type]
            item.kind,
            self.path(item.path),
            item.claimed_path,
            item.detail,
            since_at,
            since_at if seen == since else self._second(seen),
        )

    def verification(self, report: Verification) -> VerificationReport:
        """``GET /verification`` and the same of one job; kinds and features without findings are left out."""
        findings = {
            kind.value: {feature.wire: count for feature, count in sorted(by_feature.items())}
            for kind, by_feature in report.findings.items()
        }
        return VerificationReport(
            report.job_id,
            report.assets,
            findings,
            report.total,
            _by_feature(report.checked),
            _by_feature(report.pending),
            _by_feature(report.unchecked),
            report.withheld,
            self.optional_time(report.last_pass_us),
        )

    def overview(self, job: JobOverview) -> wire.JobOverview:
        """``GET /jobs/{job_id}/overview`` and the items of ``GET /overview``."""
        status = self.status(job.status)
        return wire.JobOverview(
            status.job_id,
            status.phase,
            status.percent,
            status.counts,
            status.updated_at,
            self.summary(job.summary),
            self.verification(job.verification),
        )

    def gallery_asset(self, item: GalleryItem) -> GalleryAsset:
        """An item of the gallery."""
        asset = item.asset
        return GalleryAsset(
            asset.type.wire,  # type: ignore[arg-type]  # the two names are the members of the enum
            asset.asset_id,
            asset.owner_id,
            asset.title,
            asset.ts,
            asset.image_path,
            *asset.present,
            [AssetFinding(feature.wire, kind.value) for feature, kind in item.findings],  # type: ignore[arg-type]
            self._at(asset.updated_ns),
        )

    def record(self, record: AssetRecord) -> assetwire.AssetRecord:
        """``GET /assets/{asset_type}/{asset_id}``."""
        return assetwire.AssetRecord(
            record.type.wire,  # type: ignore[arg-type]
            record.asset_id,
            record.listed,
            record.owner_id,
            record.title,
            record.ts,
            list(record.jobs),
            record.recorded,
            self.optional_time(record.row_us),
            record.embedding_in_db,
            [self._recorded_file(file) for file in record.files],
            self.optional_time(record.updated_us),
            [self.finding(item) for item in record.findings],
        )

    def _recorded_file(self, file: AssetFile) -> RecordedFile:
        return RecordedFile(
            file.feature.wire,  # type: ignore[arg-type]
            file.path,
            file.size,
            None if file.mtime_ns is None else self.time(file.mtime_ns // 1000),
            file.claimed,
            file.claimed_path,
            file.check.value,
            file.detail,
        )

    def _paths(self, item: AssetItem) -> Artifacts:
        prefix = self._prefix
        segment, embedding, keypoints = item.segment_path, item.embedding_path, item.keypoints_path
        return Artifacts(
            None if segment is None else prefix + segment,
            None if embedding is None else prefix + embedding,
            None if keypoints is None else prefix + keypoints,
        )


def _urls(item: AssetItem) -> tuple[str, Artifacts]:
    """The addresses of the image and of the artifacts."""
    image, segment, embedding, keypoints = (
        item.image_path,
        item.segment_path,
        item.embedding_path,
        item.keypoints_path,
    )
    if not _PLAIN(f"{image}{segment}{embedding}{keypoints}"):  # all at once: that of None is plain
        return file_url(image), Artifacts(*map(_optional_url, (segment, embedding, keypoints)))
    return f"/files/{image}", Artifacts(
        None if segment is None else f"/files/{segment}",
        None if embedding is None else f"/files/{embedding}",
        None if keypoints is None else f"/files/{keypoints}",
    )


def _preview(frame: PreviewFrame | None) -> Preview | None:
    if frame is None:
        return None
    return Preview(frame.frame_id, frame.ts, file_url(frame.image_path), _optional_url(frame.segment_path))


def _totals(counts: FeatureCounts) -> FeatureTotals:
    def count(done: int) -> FeatureCount:
        return FeatureCount(done, percentage(done, counts.total))

    done = (count(counts.segment), count(counts.embedding), count(counts.keypoints))
    return FeatureTotals(counts.total, *done)

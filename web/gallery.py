"""What the dashboard's galleries and its page of one asset show."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from scanner.queries import Queries
from scanner.records import AssetType
from web import assetwire, params
from web.base import Exchange
from web.handlers import PayloadEndpoint, listing
from web.params import Limits, ParameterSet, Query
from web.problems import not_found

_TYPES = {type.wire: type for type in AssetType}
_ASSET_TYPE = params.choice(
    "asset_type", _TYPES, "Product images or video frames.", default=AssetType.PRODUCT_IMAGE.wire
)
_KINDS = params.several(
    "kind", params.KINDS_BY_NAME, "Only assets with a finding of one of these kinds.", every=True
)


class Gallery(PayloadEndpoint):
    """``GET /jobs/{job_id}/assets``."""

    summary = "The images or frames of a job with their artifacts and findings"
    answers = assetwire.GalleryPage

    def declare(self, limits: Limits) -> ParameterSet:
        """Filters and paging."""
        filters = (
            _ASSET_TYPE,
            params.HAS,
            params.text("q", "Only assets whose id or title holds this text, in any letter case."),
            params.text("owner_id", "Only assets of this product or video."),
            _KINDS,
        )
        sorts = ("updated_at", "asset_id", "ts")
        return ParameterSet(filters, sorts=sorts, descending=True, limits=limits)

    def is_search(self, args: Sequence[str], query: Query) -> bool:
        """Every asset is looked at for a text or for findings."""
        return query.q is not None or bool(query.kinds)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """A page of assets."""
        type = AssetType.PRODUCT_IMAGE if query.asset_type is None else query.asset_type
        found = queries.gallery(args[0], type, query.owner_id, query.has, query.q, query.kinds, query.page)
        return listing(self.answers, found, query, lambda item, urls: self.payloads.gallery_asset(item))


class Asset(PayloadEndpoint):
    """``GET /assets/{asset_type}/{asset_id}``."""

    summary = "What the database claims about an asset beside what is on disk"
    answers = assetwire.AssetRecord

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """404 for a type that there is not."""
        if args[0] not in _TYPES:
            raise not_found(f"type of asset but {' and '.join(_TYPES)}")
        return super().handle(exchange, args)

    def answer(self, queries: Queries, args: Sequence[str], query: Query) -> Any:
        """The asset."""
        record = queries.record(_TYPES[args[0]], args[1])
        return None if record is None else self.payloads.record(record)

    def key(self, args: Sequence[str]) -> tuple[Any, ...]:
        """The asset."""
        return (args[0], args[1])

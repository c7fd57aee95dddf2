"""``GET /openapi.json``."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from web.base import Endpoint, Exchange, encode


class OpenApi(Endpoint):
    """The document, made once from the table of routes."""

    summary = "This document"

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        exchange.send_json(encode({}))
        return None

"""``GET /``: the page for people."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from importlib import resources
from typing import Any

from web.base import Endpoint, Exchange
from web.context import Context

_PLAIN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>artifact-sidecar</title>
<h1>artifact-sidecar</h1>
<ul>
<li><a href="/jobs">Jobs</a></li>
<li><a href="/verification">Verification</a></li>
<li><a href="/healthz">Health</a></li>
<li><a href="/openapi.json">OpenAPI document</a></li>
</ul>
</html>
"""


class Page(Endpoint):
    """The dashboard, or a page of links where it is not installed."""

    summary = "The dashboard"
    media_types = ("text/html",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        page = resources.files("web").joinpath("dashboard", "index.html")
        self._page = page.read_bytes() if page.is_file() else _PLAIN.encode("utf-8")

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The page."""
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'"),
            ("X-Content-Type-Options", "nosniff"),
        )
        exchange.send(200, headers, self._page)
        return None

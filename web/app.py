"""The application: the one table of routes, and the walk from a request to its endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from tornado import httputil

from web import gallery, handlers, overview, previews, verification
from web.base import Exchange, http_date
from web.cache import CachedAnswer, ResponseCache
from web.conditional import Representation, gzip_wanted, none_match
from web.context import Context
from web.files import Files
from web.openapi import OpenApi
from web.page import Docs, DocsPart, Page, PagePart
from web.problems import ALLOWED_METHODS, bad_request, method_not_allowed, no_such_path
from web.renderpool import RenderPool
from web.routes import Route, Router, Target

log = logging.getLogger(__name__)

ROUTES = (
    Route("/status/{job_id}", handlers.Status),
    Route("/jobs", handlers.Jobs),
    Route("/jobs/{job_id}/videos", handlers.Videos),
    Route("/jobs/{job_id}/videos/{video_id}/frames", handlers.Frames),
    Route("/jobs/{job_id}/images", handlers.Images),
    Route("/jobs/{job_id}/features/summary", handlers.Summary),
    Route("/jobs/{job_id}/features/product-images", handlers.ProductImages),
    Route("/jobs/{job_id}/features/video-frames", handlers.VideoFrames),
    Route("/features/product-images/{img_id}", handlers.ProductImage),
    Route("/features/video-frames/{frame_id}", handlers.VideoFrame),
    Route("/jobs/{job_id}/verification", verification.Verification),
    Route("/jobs/{job_id}/verification/findings", verification.Findings),
    Route("/verification", verification.Verification),
    Route("/verification/findings", verification.Findings),
    Route("/overview", overview.Overview),
    Route("/jobs/{job_id}/overview", overview.JobOverview),
    Route("/jobs/{job_id}/assets", gallery.Gallery),
    Route("/assets/{asset_type}/{asset_id}", gallery.Asset),
    Route("/files/{path*}", Files),
    Route("/thumbnails/{path*}", previews.Thumbnail),
    Route("/overlays/{path*}", previews.Overlay),
    Route("/artifacts/{path*}", previews.Artifact),
    Route("/healthz", handlers.Healthz),
    Route("/readyz", handlers.Readyz),
    Route("/metrics", handlers.Metrics),
    Route("/openapi.json", OpenApi),
    Route("/docs", Docs),
    Route("/docs/{path*}", DocsPart),
    Route("/dashboard/{part*}", PagePart),
    Route("/", Page),
)

_EXPOSED = "ETag, X-Index-State, Retry-After, Content-Disposition"
_ANSWERED = ("GET", "HEAD")
_NO_FIELDS = httputil.HTTPHeaders()


class Application(httputil.HTTPServerConnectionDelegate):
    """Answers requests; ``active`` is how many are under way, ``tasks`` those that take their time."""

    def __init__(self, context: Context, routes: Iterable[Route]) -> None:
        self.context = context
        self.active = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.cache = ResponseCache()
        self.renderer = RenderPool()
        self.targets = tuple(Target(route.pattern, route.endpoint(context)) for route in routes)
        self._router = Router(self.targets)
        self._any_origin = "*" in context.cors_origins
        self._state = context.health.state
        self._common: tuple[str, str] = ("", "")

    def close(self) -> None:
        """End what answers have started; none is given afterwards."""
        self.renderer.close()

    # --- Tornado's side ----------------------------------------------------------------------------

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """A request begins on a connection."""
        return Exchange(self, request_conn)

    def on_close(self, server_conn: object) -> None:
        """A connection is closed; its exchange knows."""

    # --- answering ---------------------------------------------------------------------------------

    def respond(self, exchange: Exchange) -> None:
        """Answer a complete request, now or by a task; never raises."""
        try:
            if exchange.method not in _ANSWERED or "Host" not in exchange.headers:
                self._respond_by_route(exchange)
                return
            with self.context.queries.moment as revision:
                exchange.revision = revision
                if not self._respond_from_cache(exchange, revision):
                    self._respond_by_route(exchange)
        except Exception as exc:  # noqa: BLE001 - the one place where a failed answer ends
            exchange.fail(exc)

    def _respond_from_cache(self, exchange: Exchange, revision: int) -> bool:
        gzip = gzip_wanted(exchange.headers.get("Accept-Encoding"))
        answer = self.cache.get(exchange.target, gzip, revision)
        if answer is None:
            answer = self._unchanged(exchange, gzip, revision)
        if answer is None:
            return False
        exchange.route = answer.route
        exchange.send_representation(answer.representation, from_index=True)
        return True

    def _unchanged(self, exchange: Exchange, gzip: bool, revision: int) -> CachedAnswer | None:
        """What 304 says of an answer that was given once: its body need not be there, nor be made again."""
        wanted = exchange.headers.get("If-None-Match")
        if wanted is None:
            return None
        answer = self.cache.noted(exchange.target, gzip, revision)
        return answer if answer is not None and none_match(wanted, answer.representation.etag) else None

    def _respond_by_route(self, exchange: Exchange) -> None:
        _check_host(exchange)
        found = self._router.find(_origin_form(exchange.path))
        if exchange.method == "OPTIONS" and (found is not None or exchange.path == "*"):
            exchange.send(204, (("Allow", ALLOWED_METHODS), *self._preflight(exchange.headers)))
            return
        if found is None:
            raise no_such_path()
        (exchange.route, endpoint), args = found
        if exchange.method not in _ANSWERED:
            raise method_not_allowed(exchange.method)
        pending = endpoint.handle(exchange, args)
        if pending is not None:
            exchange.run(pending)

    def keep(self, exchange: Exchange, revision: int, representation: Representation) -> None:
        """Remember an answer from the index, if it is asked for again and again."""
        gzip = gzip_wanted(exchange.headers.get("Accept-Encoding"))
        answer = CachedAnswer(revision, exchange.route, representation)
        if self.cache.wants(exchange.target, gzip):
            self.cache.put(exchange.target, gzip, answer)
        else:
            self.cache.note(exchange.target, gzip, answer)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """An answer was sent."""
        if self.context.observe is not None:
            self.context.observe(route, status, seconds)

    # --- headers -----------------------------------------------------------------------------------

    def state_header(self) -> tuple[str, str]:
        """How complete the index is, on every answer from it."""
        return ("X-Index-State", self._state())

    def common_lines(self) -> str | None:
        """The lines of :meth:`common_headers`, made once a second; None where they depend on the request."""
        if self.context.cors_origins and not self._any_origin:
            return None
        date = http_date()
        if self._common[0] is not date:
            fields = self.common_headers(_NO_FIELDS)
            self._common = (date, "".join(f"{name}: {value}\r\n" for name, value in fields))
        return self._common[1]

    def common_headers(self, request: httputil.HTTPHeaders) -> list[tuple[str, str]]:
        """What every answer has: date, server and who may read it."""
        headers = [("Date", http_date()), ("Server", "artifact-sidecar")]
        if self._any_origin:
            headers += (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED))
        elif self.context.cors_origins:
            headers.append(("Vary", "Origin"))
            headers += self._allowed_origin(request.get("Origin"))
        return headers

    def _allowed_origin(self, origin: str | None) -> list[tuple[str, str]]:
        if origin is None or origin not in self.context.cors_origins:
            return []
        return [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED)]

    def _preflight(self, request: httputil.HTTPHeaders) -> list[tuple[str, str]]:
        """What a browser asks before it sends a request with headers of its own."""
        if "Access-Control-Request-Method" not in request:
            return []
        headers = [
            ("Access-Control-Allow-Methods", ALLOWED_METHODS),
            ("Access-Control-Max-Age", "86400"),
        ]
        asked: str | None = request.get("Access-Control-Request-Headers")
        if asked:
            headers.append(("Access-Control-Allow-Headers", asked))
        return headers


def make_app(context: Context, extra: Iterable[Route] = ()) -> Application:
    """Compose the application; ``extra`` routes are added to the table."""
    return Application(context, (*ROUTES, *extra))


def _check_host(exchange: Exchange) -> None:
    """HTTP/1.1 requires exactly one ``Host``."""
    hosts: list[Any] = exchange.headers.get_list("Host")
    if len(hosts) > 1 or (not hosts and exchange.version == "HTTP/1.1"):
        raise bad_request("A request must have exactly one Host header.")


def _origin_form(path: str) -> str:
    """The path of a target in absolute form, as a proxy sends it; others as they are."""
    if path.startswith("/"):
        return path
    scheme, found, rest = path.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return path
    return "/" + rest.partition("/")[2]

"""The pages for people, and what they are made of: the dashboard, and the OpenAPI document to read."""

from __future__ import annotations

from web.static import StaticPage, StaticPart


class Page(StaticPage):
    """``GET /``."""

    summary = "The dashboard"
    folder = "dashboard"


class PagePart(StaticPart):
    """``GET /dashboard/{part}``."""

    summary = "A part of the dashboard"
    folder = "dashboard"


class Docs(StaticPage):
    """``GET /docs``; what it shows it reads from ``/openapi.json``."""

    summary = "This document for people, to read and to try"
    folder = "documents"


class DocsPart(StaticPart):
    """``GET /docs/{path}``."""

    summary = "A part of that page"
    folder = "documents"

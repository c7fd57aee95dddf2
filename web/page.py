"""The pages for people, and what they are made of: the dashboard, and the OpenAPI document to read."""

from __future__ import annotations

from web.context import Context
from web.static import StaticPage, StaticPart, part_of

_ROOT = b'<html lang="en"'


class Page(StaticPage):
    """``GET /``."""

    summary = "The dashboard"
    folder = "dashboard"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        if not context.files:  # it asks for no picture then, and says why there is none
            body = self.parts["index.html"].body.replace(_ROOT, _ROOT + b' data-files="off"', 1)
            self.parts["index.html"] = part_of("index.html", body)


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

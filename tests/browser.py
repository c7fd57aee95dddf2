"""A real browser over a real sidecar, and what every page has to hold to while it is looked at."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from running import Serving
from waiting import until

from web.demoworker import Worker
from web.demoworld import World, make_world

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What the policy of the page forbids is told to the page; a test asks for what it was told.
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective);
});
"""


def executable() -> str:
    """The browser that is installed; skips the tests where there is none."""
    asked = os.environ.get("BROWSER_EXECUTABLE")
    found = asked or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    path = executable()
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Site:
    """A sidecar over the demo's files, of which some are broken."""

    world: World
    worker: Worker
    sidecar: Serving

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.sidecar.port}/"

    def json(self, target: str) -> Any:
        reply = self.sidecar.get(target)
        assert reply.status == 200, reply
        return reply.json()

    def broken(self, way: str) -> tuple[str, str]:
        """The asset and the feature that were broken in that way."""
        return next(key for key, how in self.worker.broken.items() if how == way)


@contextmanager
def serving_demo(base: Path, more: Mapping[str, object] | None = None) -> Iterator[Site]:
    """The demo's world, broken in each way, and a sidecar that has found all of it."""
    with closing(make_world(base)) as world:
        worker = Worker(world)
        worker.break_each_way()
        settings = {
            "SIDECAR_DATABASE__URL": world.url,
            "SIDECAR_DATABASE__POLL_SECONDS": 0.2,
            "SIDECAR_VERIFY__CONTENT": "true",
            "SIDECAR_VERIFY__GRACE_SECONDS": 0.2,
            **(more or {}),
        }
        with Serving(base, settings) as sidecar:
            site = Site(world, worker, sidecar)
            sidecar.ready()
            until(lambda: site.json("/verification")["total"] == len(worker.broken), "everything is found")
            yield site


@dataclass
class Look:
    """One page in its own profile, with all that it asked for and complained about."""

    page: Any
    address: str
    requests: list[str] = field(default_factory=list)
    statuses: list[tuple[str, int]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(NOTE_VIOLATIONS)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda response: self.statuses.append((response.url, response.status)))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, hash: str, heading: str | None = None) -> None:
        """Go to a view, and wait until it shows what it has to show."""
        self.page.goto(self.address + hash)
        if heading is not None:
            self.page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()
        self.wait("document.querySelector('main h1') && !document.querySelector('main .loading')")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page, whose policy lets nobody else evaluate text."""
        until(lambda: self.page.evaluate(f"Boolean({expression})"), expression)

    def count(self, part: str, status: int | None = None) -> int:
        """How many answers there were from addresses with this part."""
        self.page.wait_for_timeout(20)  # the driver hands over what has happened meanwhile
        return sum(part in url and status in (None, code) for url, code in self.statuses)

    def hold(self, *, allowed: str = "") -> None:
        """Fail if it asked another host, broke its policy, or complained of anything not ``allowed``."""
        host = urlsplit(self.address).netloc
        assert {urlsplit(url).netloc for url in self.requests} <= {host, ""}
        assert self.page.evaluate("window.violations") == []
        assert [text for text in self.complaints if not (allowed and re.search(allowed, text))] == []


@contextmanager
def looking(browser: Any, address: str, **options: Any) -> Iterator[Look]:
    """A page of its own."""
    options = {"viewport": {"width": 1280, "height": 900}, **options}
    context = browser.new_context(**options)
    context.set_default_timeout(25_000)
    try:
        yield Look(context.new_page(), address)
    finally:
        context.close()

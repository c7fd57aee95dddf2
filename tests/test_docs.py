"""The page that renders the OpenAPI document: what is sent, and what a real browser makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webfake import Web, serving

from web.app import ROUTES
from web.static import read_parts

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (360, 1280, 2560)
TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "docs": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving() as running:
        yield running


# --- what is sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/docs", *(f"/docs/{name}" for name in read_parts("documents"))])
def test_every_part_has_its_type_and_the_headers_of_a_page(web: Web, path: str) -> None:
    answer = web.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == TYPES[re.split(r"[./]", path)[-1]]
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = web.get(path, If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["", "../page.py", "%2e%2e/page.py", "nothing.js", "x/style.css", "%00"])
def test_nothing_else_is_sent(web: Web, name: str) -> None:
    assert web.get(f"/docs/{name}").status == 404


def test_the_parts_name_no_other_host_and_hold_no_script_or_style_of_a_page() -> None:
    for name, part in read_parts("documents").items():
        text = part.body.decode()
        text = text.replace("http://www.w3.org/2000/svg", "")  # a name, not a place
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text), name
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name
        if name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), name


# --- in a browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one; its pages end with it."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        executable = str(CHROMIUM) if CHROMIUM.exists() else None
        try:
            made = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no browser can be started: {str(error).splitlines()[0]}")
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, web: Web) -> Iterator[Any]:
    """The page; a complaint in its console, an error or a request to another host fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if not ours(request.url, web) else None)
    opened.goto(f"http://127.0.0.1:{web.port}/docs")
    opened.wait_for_selector("section")
    yield opened
    context.close()
    assert wrong == []


def ours(url: str, web: Web) -> bool:
    return url.startswith((f"http://127.0.0.1:{web.port}/", "data:"))


def test_the_page_shows_every_endpoint_with_its_parameters(page: Any, web: Web) -> None:
    document = web.get("/openapi.json").json
    patterns = [route.pattern.replace("*}", "}") for route in ROUTES]
    assert page.locator("section h2").all_inner_texts() == [f"GET {pattern}" for pattern in patterns]
    section = page.locator("#get_jobs_job_id_features_video_frames")
    operation = document["paths"]["/jobs/{job_id}/features/video-frames"]["get"]
    names = section.locator(".wide").first.locator("tbody th code").all_inner_texts()
    assert names == [parameter["name"] for parameter in operation["parameters"]]
    has = next(one for one in operation["parameters"] if one["name"] == "has")
    assert " | ".join(f'"{value}"' for value in has["schema"]["enum"]) in section.inner_text()
    assert section.locator(".answers > li > b").all_inner_texts() == list(operation["responses"])
    section.locator("summary", has_text="VideoFramePage").click()
    section.locator("summary", has_text=re.compile("^VideoFrame$")).click()
    assert section.get_by_text("has_keypoints").is_visible()


def test_endpoints_are_found_and_reached_by_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Tab")
    page.keyboard.type("video-frames")
    links = [link for link in page.locator("#contents a").all() if link.is_visible()]
    assert len(links) == 2
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#get_jobs_job_id_features_video_frames")


def test_an_endpoint_can_be_tried(page: Any) -> None:
    section = page.locator("#get_status_job_id")
    section.locator("summary", has_text="Try it").click()
    section.get_by_label("job_id").fill("j_123")
    assert section.locator("form pre").inner_text().endswith("/status/j_123'")
    section.get_by_role("button", name="Send").click()
    section.locator(".answer pre").wait_for()
    assert '"job_id": "j_123"' in section.locator(".answer").inner_text()
    assert "200 OK" in section.locator(".answer").inner_text()


def test_the_page_fits_every_screen(page: Any) -> None:
    for details in page.locator("details").all()[:12]:
        details.evaluate("(each) => { each.open = true; }")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT_OFF) == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_legible(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for selector in ("main p", "section h2 b", "td small", ".answers b.good", ".answers b.bad", "summary"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector


CUT_OFF = """[...document.querySelectorAll('.wide')]
  .filter((each) => each.checkVisibility({ contentVisibilityAuto: true }))
  .filter((each) => each.scrollWidth > each.clientWidth)
  .map((each) => each.textContent)"""

CONTRAST = """selector => {
  const rgb = text => text.match(/[0-9.]+/g).map(Number);
  const light = text => {
    const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(text).map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const element = document.querySelector(selector);
  let ground = element;
  while ((rgb(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(light);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""

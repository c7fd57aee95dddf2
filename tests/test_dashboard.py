"""The dashboard in a real browser: what it shows, by mouse, by keyboard and to a screen reader."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Look, Site, chromium, looking, serving_demo
from running import Serving
from waiting import until

from scanner.records import Kind
from web.static import read_parts

JOB = "job_pillow"
VIEWS = {
    "overview": ("#/", "Overview"),
    "findings": ("#/findings", "Findings"),
    "job": (f"#/jobs/{JOB}", JOB),
    "images": (f"#/jobs/{JOB}/images", JOB),
    "frames": (f"#/jobs/{JOB}/frames", JOB),
    "asset": ("#/assets/product_image/p_001_img_0", "p_001_img_0"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving_demo(tmp_path_factory.mktemp("dashboard")) as made:
        yield made


@pytest.fixture
def look(browser: Any, site: Site) -> Iterator[Look]:
    with looking(browser, site.address) as opened:
        yield opened


def complete(site: Site, *, type: str = "video_frame") -> str:
    """An asset of the job with all artifacts and without a finding."""
    for item in site.json(f"/jobs/{JOB}/assets?asset_type={type}&limit=500")["items"]:
        if item["has_segment"] and item["has_embedding"] and item["has_keypoints"] and not item["findings"]:
            return str(item["asset_id"])
    raise AssertionError("none is complete")


def cards(look: Look) -> list[str]:
    """The ids in the gallery."""
    return [str(text) for text in look.page.locator(".grid .name").all_inner_texts()]


def until_cards(look: Look, expected: list[str]) -> None:
    until(lambda: cards(look) == expected, f"the gallery shows {expected}; it shows {cards(look)[:5]}")


def wanted(site: Site, query: str) -> list[str]:
    """The ids of what the gallery has to show, which is something."""
    items = site.json(f"/jobs/{JOB}/assets?limit=60&{query}")["items"]
    assert items, query
    return [item["asset_id"] for item in items]


def test_every_kind_of_finding_has_its_words() -> None:
    block = read_parts("dashboard")["words.js"].body.decode().partition("export const KINDS = {")[2]
    words = re.findall(r'^  (\w+): \["(?:bad|warn|note)", ".+", ".+"\],$', block.partition("};")[0], re.M)
    assert sorted(words) == sorted(Kind)


@pytest.mark.parametrize(
    "deed",
    [
        "document.body.setAttribute('style', 'color: red')",
        "new Image().src = 'http://127.0.0.2:9/x.png'",
        "console.error('something')",
        "setTimeout(() => { throw new Error('a mistake'); })",
    ],
)
def test_what_no_page_may_do_is_noticed(look: Look, deed: str) -> None:
    look.open("", "Overview")
    look.hold()
    look.page.evaluate(f"() => {{ {deed} }}")
    until(lambda: _complains(look), "it is noticed")


def _complains(look: Look) -> bool:
    look.page.wait_for_timeout(20)
    try:
        look.hold()
    except AssertionError:
        return True
    return False


# --- what it shows ---------------------------------------------------------------------------------


def test_the_overview_shows_jobs_findings_and_state(look: Look, site: Site) -> None:
    look.open("", "Overview")
    for job in site.json("/jobs")["items"]:
        card = look.page.locator(".job", has_text=job["job_id"])
        card.get_by_role("progressbar", name=f"Progress of {job['job_id']}").wait_for()
        text = card.inner_text()
        assert f"{job['percent']:.1f} %" in text or f"{job['percent']:.0f} %" in text
        assert job["phase"].replace("_", " ") in card.locator("[aria-current=step]").inner_text().lower()
        for name, number in job["counts"].items():
            assert re.search(rf"\b{number}\s+{name}|{name}\s+{number}\b", text), (name, text)
        found = site.json(f"/jobs/{job['job_id']}/verification")
        assert all(kind in text for kind in found["findings"])
    report = site.json("/verification")
    listed = look.page.get_by_role("region", name=re.compile("Findings"))
    assert {kind for kind in report["findings"] if kind in listed.inner_text()} == set(report["findings"])
    state = look.page.get_by_role("region", name="Where it looks").inner_text()
    for root in site.json("/healthz")["roots"]:
        assert root["path"] in state
    about = look.page.get_by_role("region", name="State of the sidecar").inner_text()
    problems = site.json("/healthz")["problems"]  # others may have used the watches up
    assert "Up to date" in about or (problems and all(problem in about for problem in problems))
    look.hold()


TORN = """() => {
  const jobs = {}, all = {};
  for (const badge of document.querySelectorAll('.job .badges .badge')) {
    const [kind, number] = badge.innerText.split(' ');
    if (number !== 'findings') {
      jobs[kind] = (jobs[kind] ?? 0) + Number(number);
    }
  }
  for (const item of document.querySelectorAll('.kinds li > a')) {
    const [kind, number] = item.innerText.trim().split(/\\s+/);
    all[kind] = Number(number);
  }
  window.states.add(JSON.stringify(all));
  const more = Object.keys({ ...jobs, ...all }).map((kind) => [kind, (jobs[kind] ?? 0) - (all[kind] ?? 0)]);
  window.differences.add(JSON.stringify(more.filter(([, number]) => number !== 0).sort()));
}"""


def test_what_is_shown_together_is_of_one_moment(look: Look, site: Site) -> None:
    """The jobs have more findings than there are by those of the video that both have, whatever comes."""
    look.open("", "Overview")
    look.page.evaluate(
        f"""() => {{
          [window.states, window.differences] = [new Set(), new Set()];
          const check = {TORN};
          check();
          new MutationObserver(check).observe(document.getElementById('main'),
            {{ subtree: true, childList: true, characterData: true }});
        }}"""
    )
    assert look.page.evaluate("window.states.size") == 1
    assert look.page.evaluate("[...window.states][0]") != "{}"
    asset, total = (
        site.world.assets[complete(site, type="product_image")],
        site.json("/verification")["total"],
    )
    for _ in range(2):
        site.world.write(asset, "segment", b"")
        look.page.get_by_role("heading", name=f"Findings {total + 1}", exact=True).wait_for()
        site.world.finish(asset, "segment")
        look.page.get_by_role("heading", name=f"Findings {total}", exact=True).wait_for()
    assert look.page.evaluate("window.states.size") >= 2
    assert look.page.evaluate("window.differences.size") == 1
    look.hold()


def test_what_changes_between_two_answers_is_asked_again_before_it_is_shown(look: Look, site: Site) -> None:
    """A list that is older than the number of what is in it is not shown beside it."""
    found = f"/jobs/{JOB}/verification/findings"
    older = site.json(f"{found}?limit=20")
    older = {**older, "items": older["items"][1:], "total": older["total"] - 1}
    reply = {"status": 200, "content_type": "application/json", "body": json.dumps(older)}
    look.page.route(re.compile("/verification/findings"), lambda route: route.fulfill(**reply), times=2)
    look.page.add_init_script("""
      window.shown = [];
      new MutationObserver(() => window.shown.push(document.querySelectorAll('tbody tr').length))
        .observe(document, { subtree: true, childList: true });
    """)
    look.open(f"#/jobs/{JOB}", JOB)
    until(lambda: look.page.locator("tbody tr").count() == older["total"] + 1, "all are listed")
    assert look.count("/verification/findings") == 3
    assert set(look.page.evaluate("window.shown")) == {0, older["total"] + 1}
    look.hold()


def test_a_kind_leads_to_its_findings(look: Look, site: Site) -> None:
    look.open("", "Overview")
    look.page.get_by_role("link", name=re.compile("^corrupt")).click()
    look.page.get_by_role("heading", level=1, name="Findings").wait_for()
    assert look.page.url.endswith("#/findings?kind=corrupt")
    found = site.json("/verification/findings?kind=corrupt")["items"]
    rows = look.page.locator("tbody tr")
    until(lambda: rows.count() == len(found), "all of them are listed")
    for item in found:
        row = rows.filter(has_text=item["asset_id"]).filter(has_text=item["detail"])
        assert row.count() == 1, item
    look.hold()


def test_findings_of_a_kind_say_what_to_do_and_can_be_taken_along(look: Look, site: Site) -> None:
    look.open("#/findings?kind=corrupt", "Findings")
    look.page.get_by_text("Make or download it again.").wait_for()
    with look.page.expect_download() as saved:
        look.page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.DictReader(saved.value.path().read_text(encoding="utf-8").splitlines()))
    found = site.json("/verification/findings?kind=corrupt&limit=1000")["items"]
    assert [row["asset_id"] for row in rows] == [item["asset_id"] for item in found] != []
    look.hold()


def test_a_kind_of_a_job_leads_to_its_findings(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}", JOB)
    look.page.get_by_role("region", name="Progress").get_by_role("link", name=re.compile("^corrupt")).click()
    expected = site.json(f"/jobs/{JOB}/verification/findings?kind=corrupt")["total"]
    until(lambda: look.page.locator("tbody tr").count() == expected > 0, "only those are listed")
    assert look.page.get_by_label("Kind").input_value() == "corrupt"
    look.hold()


def test_the_word_in_the_head_leads_to_what_is_said_of_it(look: Look) -> None:
    look.open("#/findings", "Findings")
    look.page.get_by_role("status").get_by_role("link", name=re.compile("up to date|a look")).click()
    look.page.get_by_role("region", name="State of the sidecar").wait_for()
    look.hold()


def test_nothing_is_said_to_agree_that_was_not_looked_at(browser: Any, tmp_path: Path) -> None:
    """Without its data root and its database, it claims nothing about either."""
    settings = {"SIDECAR_DATABASE__URL": "postgresql://sidecar:secret@127.0.0.1:1/pipeline"}
    (tmp_path / "index").mkdir()
    with Serving(tmp_path, settings) as sidecar:
        until(lambda: len(sidecar.health()["problems"]) == 2, "it says what it lacks")
        with looking(browser, f"http://127.0.0.1:{sidecar.port}/") as look:
            look.open("", "Overview")
            about = look.page.get_by_role("region", name="State of the sidecar").inner_text()
            assert "Something needs attention" in about
            assert "Check data.root in the configuration" in about
            assert "Check database.url" in about
            findings = look.page.get_by_role("region", name=re.compile("Findings"))
            assert "not everything has been looked at" in findings.inner_text()
            state = look.page.get_by_role("region", name="Where it looks")
            assert state.get_by_text("Not there yet").count() == 2
            assert "seen at once" not in state.inner_text()
            assert "degraded" in look.page.get_by_role("status").inner_text()
            look.open("#/jobs/j_1", "j_1")
            assert "Some figures below are missing" in look.page.get_by_role("alert").inner_text()
            assert "secret" not in look.page.content()
            look.hold(allowed="status of 503")


def test_nothing_is_said_to_agree_while_something_is_still_looked_at(look: Look, site: Site) -> None:
    page, health = site.json("/overview?limit=12"), site.json("/healthz")
    page["verification"].update(findings={}, total=0)
    health.update(status="ok", problems=[], pending={"paths": 0, "validations": 0})
    pending = health["pending"]
    look.page.route(re.compile(r"/overview\?"), lambda route: route.fulfill(json=page))
    look.page.route(re.compile("/healthz$"), lambda route: route.fulfill(json=health))
    look.open("", "Overview")
    findings = look.page.get_by_role("region", name=re.compile("Findings"))
    about = look.page.get_by_role("region", name="State of the sidecar")
    findings.get_by_text("Claims, files and contents agree.").wait_for()
    about.get_by_text("The index holds everything that is on disk and in the database.").wait_for()
    pending["validations"] = 2
    about.get_by_text("Just now 2 contents are checked, or checked once more.").wait_for()
    assert "None so far." in findings.inner_text()
    assert "agree" not in findings.inner_text()
    pending.update(paths=3, validations=0)
    about.get_by_text("The index holds all but what has just changed.").wait_for()
    assert "None so far." in findings.inner_text()
    look.hold()


def test_findings_that_are_withheld_are_not_agreement(look: Look, site: Site) -> None:
    page = site.json("/overview?limit=12")
    page["verification"].update(findings={}, total=0, withheld=25)
    reply = {"status": 200, "content_type": "application/json", "body": json.dumps(page)}
    look.page.route(re.compile(r"/overview\?"), lambda route: route.fulfill(**reply))
    look.open("", "Overview")
    findings = look.page.get_by_role("region", name=re.compile("Findings")).inner_text()
    assert "None but those that are withheld" in findings
    assert "25 more are withheld" in findings
    look.hold()


def test_without_files_it_asks_for_none_and_says_why(browser: Any, tmp_path: Path) -> None:
    with (
        serving_demo(tmp_path, {"SIDECAR_WEB__FILES": "false"}) as site,
        looking(browser, site.address) as look,
    ):
        asset_id = complete(site)
        for hash in (f"#/jobs/{JOB}/images", f"#/assets/video_frame/{asset_id}"):
            look.open(hash)
            look.page.get_by_text("turned off here (web.files)").first.wait_for()
        assert look.page.locator("main a[href*='files/']").count() == 0
        assert look.page.get_by_role("table").get_by_text("intact").count() == 4
        assert {status for _, status in look.statuses} <= {200, 304}
        look.hold()


def test_a_job_shows_done_of_total_for_every_feature(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}", JOB)
    summary = site.json(f"/jobs/{JOB}/features/summary")
    for section, name in (("product_images", "Product images"), ("video_frames", "Video frames")):
        region = look.page.get_by_role("region", name=re.compile(name))
        totals = summary[section]
        for feature, label in (("segment", "Mask"), ("embedding", "Embedding"), ("keypoints", "Keypoints")):
            bar = region.get_by_role("progressbar", name=f"{label} done")
            done = totals[feature]["done"]
            assert bar.get_attribute("aria-valuetext") == f"{done} of {totals['total']}"
            assert bar.get_attribute("aria-valuenow") == str(int(100 * done / totals["total"]))
    look.hold()


def test_the_chart_and_the_bars_follow_the_work(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}", JOB)
    bar = look.page.get_by_role("region", name=re.compile("Video frames")).get_by_role(
        "progressbar", name="Mask done"
    )
    before = int(bar.get_attribute("aria-valuetext").split()[0])
    asset = next(
        asset
        for asset in site.world.assets.values()
        if asset.owner == "v_review" and (asset.id, "segment") not in site.world.done
    )
    site.world.finish(asset, "segment")
    until(lambda: int(bar.get_attribute("aria-valuetext").split()[0]) == before + 1, "the bar moves")
    look.page.get_by_role(
        "img", name=re.compile(f"Video frames done over time: Mask {before} to {before + 1}")
    ).wait_for()
    look.hold()


def test_the_rate_of_the_last_minutes_is_told_and_how_long_the_rest_takes(look: Look, site: Site) -> None:
    page = look.page
    page.clock.install()
    overview = site.json(f"/jobs/{JOB}/overview")
    masks = overview["summary"]["video_frames"]["segment"]
    overview["summary"]["video_frames"]["embedding"]["done"] = overview["summary"]["video_frames"]["total"]
    page.route(re.compile("/overview$"), lambda route: route.fulfill(json=overview))
    look.open(f"#/jobs/{JOB}", JOB)
    rows = page.get_by_role("region", name=re.compile("Video frames")).locator(".features li")
    assert "measuring the rate" in rows.nth(0).inner_text()
    total, before = overview["summary"]["video_frames"]["total"], masks["done"]
    masks["done"] = before - 3
    page.clock.run_for(2000)
    rows.nth(0).get_by_text(f"{before - 3} of {total}").wait_for()
    masks["done"] = before + 3
    for _ in range(40):  # a little more than a minute
        page.clock.run_for(2000)
        page.wait_for_timeout(20)  # the answers themselves take real time
    rows.nth(0).get_by_text(f"{before + 3} of {total}").wait_for()
    rate = re.search(r"\+([\d.]+) a minute, about (\d+) (s|min|h) left", rows.nth(0).inner_text())
    assert rate is not None, rows.nth(0).inner_text()
    assert 1.5 < float(rate[1]) < 3
    left = {"s": 1, "min": 60, "h": 3600}[rate[3]] * int(rate[2])
    assert 0.8 < left / (60 * (total - before - 3) / float(rate[1])) < 1.25
    assert "all done" in rows.nth(1).inner_text()
    assert "no change in the last minutes" in rows.nth(2).inner_text()
    look.hold()


def test_findings_of_a_job_can_be_filtered_and_searched(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}", JOB)
    rows = look.page.locator("tbody tr")
    look.page.get_by_label("File").select_option("keypoints")
    of_keypoints = site.json(f"/jobs/{JOB}/verification/findings?feature=keypoints")
    until(lambda: rows.count() == of_keypoints["total"], "those of keypoints")
    look.page.get_by_label("File").select_option("")
    asset_id, _ = site.broken("a mask is not recorded")
    look.page.get_by_label("Search").fill(asset_id)
    expected = site.json(f"/jobs/{JOB}/verification/findings?q={asset_id}")["total"]
    until(lambda: rows.count() == expected, "those of one asset")
    assert f"q={asset_id}" in look.page.url
    look.hold()


# --- galleries -------------------------------------------------------------------------------------


def test_the_gallery_shows_pictures_and_filters_them(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}/images", JOB)
    until_cards(look, wanted(site, ""))
    look.wait("[...document.querySelectorAll('.grid img')].every((img) => img.naturalWidth > 0)")
    look.page.get_by_label("Artifacts").select_option("keypoints")
    until_cards(look, wanted(site, "has=keypoints"))
    look.page.get_by_label("Search").fill("gối")
    until_cards(look, wanted(site, "has=keypoints&q=g%E1%BB%91i"))
    look.page.get_by_label("Product").fill("p_001")
    until_cards(look, [])
    look.page.get_by_text("Nothing matches.").wait_for()
    look.hold()


def test_frames_are_filtered_by_video_and_by_kind_of_finding(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}/frames", JOB)
    look.page.get_by_label("Video", exact=True).select_option("v_review")
    until_cards(look, wanted(site, "asset_type=video_frame&owner_id=v_review"))
    look.page.get_by_label("Sort by").select_option("ts")
    until_cards(look, wanted(site, "asset_type=video_frame&owner_id=v_review&sort_by=ts&order=asc"))
    look.page.get_by_label("Video", exact=True).select_option("")
    look.page.get_by_label("Findings").select_option("corrupt")
    expected = wanted(site, "asset_type=video_frame&kind=corrupt&sort_by=ts&order=asc")
    assert expected
    until_cards(look, expected)
    look.hold()


def test_thumbnails_are_loaded_as_they_come_into_view(browser: Any, site: Site) -> None:
    with looking(browser, site.address, viewport={"width": 360, "height": 500}) as look:
        look.open(f"#/jobs/{JOB}/frames", JOB)
        look.wait("document.querySelector('.grid img').naturalWidth > 0")
        shown = len(cards(look))
        assert 0 < len({url for url in look.requests if "/thumbnails/" in url}) < shown
        look.page.locator(".grid li").last.scroll_into_view_if_needed()
        look.wait("[...document.querySelectorAll('.grid img')].at(-1).naturalWidth > 0")
        look.hold()


def test_pages_follow_one_another(look: Look, site: Site) -> None:
    look.open(f"#/jobs/{JOB}/frames?sort=id", JOB)
    query = "asset_type=video_frame&sort_by=asset_id&order=asc"
    until_cards(look, wanted(site, query))
    look.page.get_by_role("link", name="Next").click()
    until_cards(look, wanted(site, f"{query}&offset=60"))
    assert "page=2" in look.page.url
    assert look.page.evaluate("document.activeElement.id") == "gallery"
    look.page.go_back()
    until_cards(look, wanted(site, query))
    look.hold()


# --- an asset --------------------------------------------------------------------------------------


def test_an_asset_shows_picture_mask_keypoints_and_embedding(look: Look, site: Site) -> None:
    asset_id = complete(site)
    look.open(f"#/assets/video_frame/{asset_id}", asset_id)
    page = look.page
    look.wait("[...document.querySelectorAll('.stage img')].every((img) => img.naturalWidth > 0)")
    assert page.locator(".stage img").count() == 2
    asset = site.world.assets[asset_id]
    assert page.locator(".dots .point").count() == len(asset.made("keypoints")) // 12
    assert page.locator(".dots").get_attribute("viewBox") == f"0 0 {asset.size[0]} {asset.size[1]}"
    assert page.locator(".strip rect").count() == 512
    figures = page.get_by_role("region", name=re.compile("Embedding")).inner_text()
    assert re.search(r"1\s+Norm|Norm\s+1\b", figures)
    values = np.frombuffer(asset.made("embedding"), "<f4")
    for name, value in (("Min", values.min()), ("Max", values.max())):
        shown = re.search(rf"{name}\s+(-?[\d.]+)", figures)
        assert shown is not None, figures
        assert float(shown[1]) == pytest.approx(float(value), abs=1e-4)
    slider = page.get_by_role("slider", name="Opacity of the mask")
    slider.fill("20")
    until(lambda: "mask=20" in page.url, "the address holds the opacity")
    assert page.evaluate("getComputedStyle(document.querySelector('.mask')).opacity") == "0.2"
    page.get_by_role("checkbox", name=re.compile("Keypoints")).uncheck()
    until(lambda: page.locator(".dots").count() == 0, "the keypoints are gone")
    assert "points=off" in page.url
    look.hold()


def test_an_asset_shows_its_files_beside_the_claims(look: Look, site: Site) -> None:
    asset_id, _ = site.broken("keypoints are deleted")
    type = "video_frame" if site.world.assets[asset_id].is_frame else "product_image"
    look.open(f"#/assets/{type}/{asset_id}", asset_id)
    record = site.json(f"/assets/{type}/{asset_id}")
    table = look.page.get_by_role("table")
    for file in record["files"]:
        row = table.locator(f"[data-key={file['feature']}]").inner_text()
        assert (file["path"] or "no file") in row
        assert (file["claimed"] or "nothing") in row
        if file["path"]:
            size, time = re.search(r"([\d.]+ k?B) · (\d+ \w+ [\d:]{8})", row).groups()  # type: ignore[union-attr]
            number, unit = size.split()
            assert float(number) * {"B": 1, "kB": 1000}[unit] == pytest.approx(file["size"], rel=0.05)
            assert time.endswith(file["modified_at"][11:19])
    assert "a file that is not there" in table.locator("[data-key=keypoints]").inner_text()
    found = look.page.get_by_role("region", name=re.compile("Findings")).inner_text()
    assert "missing" in found
    assert record["findings"][0]["detail"] in found
    look.hold()


def test_an_empty_file_is_called_so_beside_its_claim(look: Look, site: Site) -> None:
    asset_id, feature = site.broken("an embedding is empty")
    type = "video_frame" if site.world.assets[asset_id].is_frame else "product_image"
    look.open(f"#/assets/{type}/{asset_id}", asset_id)
    row = look.page.get_by_role("table").locator(f"[data-key={feature}]").inner_text()
    assert row.count("an empty file") == 2
    look.hold()


def test_a_mask_that_cannot_be_drawn_and_points_outside_are_said_so(look: Look, site: Site) -> None:
    for way, words in (
        ("a mask is cut off", "The mask cannot be drawn"),
        ("a keypoint lies outside of its image", "1 outside"),
    ):
        asset_id, _ = site.broken(way)
        type = "video_frame" if site.world.assets[asset_id].is_frame else "product_image"
        look.open(f"#/assets/{type}/{asset_id}", asset_id)
        look.page.locator(".controls").get_by_text(words).wait_for()
    look.hold(allowed="status of 422")


def test_an_embedding_that_is_not_finite_is_shown_as_such(look: Look, site: Site) -> None:
    asset_id, _ = site.broken("an embedding holds a NaN")
    type = "video_frame" if site.world.assets[asset_id].is_frame else "product_image"
    look.open(f"#/assets/{type}/{asset_id}", asset_id)
    look.page.locator(".strip .odd").wait_for(state="attached")
    assert "Not finite" in look.page.get_by_role("region", name=re.compile("Embedding")).inner_text()
    look.hold()


def test_what_there_is_not_is_said_so(look: Look) -> None:
    for hash, words in (
        ("#/jobs/nope", "There is no job 'nope'."),
        ("#/assets/product_image/nope", "There is no product image 'nope'."),
        ("#/nowhere", "There is nothing here"),
        ("#/jobs/%E0%A4%A", "There is nothing here"),
    ):
        look.open(hash)
        look.page.get_by_text(words).first.wait_for()
    look.hold(allowed="status of 404")


def test_a_job_without_anything_on_disk_is_not_done_but_empty(look: Look, site: Site) -> None:
    site.world.insert("jobs", job_id="job_new", phase="collection")
    until(lambda: site.sidecar.get("/status/job_new").status == 200, "it is known")
    look.open("#/jobs/job_new", "job_new")
    for name in ("Product images", "Video frames"):
        text = look.page.get_by_role("region", name=re.compile(name)).inner_text()
        assert "None on disk yet." in text
        assert "done" not in text
    look.open("#/jobs/job_new/frames", "job_new")
    look.page.get_by_text("None on disk yet.").wait_for()
    look.page.get_by_label("Search").fill("x")
    look.page.get_by_text("Nothing matches.").wait_for()
    look.open(f"#/jobs/{JOB}/frames?page=99", JOB)
    look.page.get_by_text("There is nothing on this page.").wait_for()
    look.page.get_by_role("link", name="Previous").click()
    until(lambda: len(cards(look)) > 0, "the last page that there is")
    look.hold()


def test_names_are_text_whatever_is_in_them(look: Look, site: Site) -> None:
    asset_id, title = "a/b%2F \"<i>#?&é'", "<img src=x onerror=\"document.title='owned'\">"
    site.world.insert("products", product_id="p/<x>", job_id="job_bottle", title=title)
    path = site.world.root / "products" / "p_004" / 'odd "<b>#?%2F é.jpg'
    path.write_bytes(site.world.assets["p_004_img_0"].made("image"))
    site.world.insert("product_images", img_id=asset_id, product_id="p/<x>", local_path=str(path))
    until(lambda: site.json("/jobs/job_bottle/assets?owner_id=p/%3Cx%3E")["total"] == 1, "it is indexed")
    look.open("#/jobs/job_bottle/images?owner=p%2F%3Cx%3E", "job_bottle")
    until_cards(look, [asset_id])
    assert title in look.page.locator(".grid").inner_text()
    look.page.locator(".picture").click()
    look.page.get_by_role("heading", level=1, name=asset_id, exact=True).wait_for()
    look.wait("document.querySelector('.photo')?.naturalWidth > 0")
    assert title in look.page.locator(".subline").inner_text()
    address = look.page.url
    look.page.get_by_role("link", name="p/<x>").click()
    until_cards(look, [asset_id])
    look.page.goto(address)
    look.page.get_by_role("heading", level=1, name=asset_id, exact=True).wait_for()
    assert "owned" not in look.page.title()
    look.hold()


# --- the address -----------------------------------------------------------------------------------


def test_a_link_shows_a_colleague_the_same(browser: Any, site: Site, look: Look) -> None:
    look.open(f"#/jobs/{JOB}/images", JOB)
    look.page.get_by_label("Artifacts").select_option("segment")
    look.page.get_by_label("Search").fill("pillow")
    expected = wanted(site, "has=segment&q=pillow")
    until_cards(look, expected)
    until(lambda: "q=pillow" in look.page.url, "the address has it")
    look.page.reload()
    until_cards(look, expected)
    with looking(browser, site.address) as other:
        other.page.goto(look.page.url)
        until_cards(other, expected)
        assert other.page.get_by_label("Artifacts").input_value() == "segment"
        assert other.page.get_by_label("Search").input_value() == "pillow"
        other.hold()
    look.hold()


# --- polling ---------------------------------------------------------------------------------------


def test_unchanged_answers_are_not_sent_again(look: Look) -> None:
    look.open(f"#/jobs/{JOB}", JOB)
    until(lambda: look.count(f"/jobs/{JOB}/overview", 304), "the job has not changed")
    until(lambda: look.count("/verification/findings", 304), "the findings have not changed")
    look.hold()


def test_a_hidden_tab_asks_less_often(look: Look) -> None:
    page = look.page
    page.clock.install()
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true });"
    )
    look.open("", "Overview")

    def rounds(seconds: int) -> int:
        """How often it asks in that time, which passes in steps of two seconds."""
        before = look.count("/healthz")
        for _ in range(seconds // 2):
            page.clock.run_for(2000)
            page.wait_for_timeout(60)  # the answers themselves take real time
        return look.count("/healthz") - before

    visible = rounds(20)
    page.evaluate("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    hidden = rounds(20)
    assert visible >= 5
    assert hidden <= 2
    look.hold()


def test_old_figures_are_shown_as_old_while_the_sidecar_does_not_answer(browser: Any, tmp_path: Path) -> None:
    with serving_demo(tmp_path) as site, looking(browser, site.address) as look:
        look.open("", "Overview")
        alert, status = look.page.get_by_role("alert"), look.page.get_by_role("status")
        assert alert.inner_text() == ""
        site.sidecar.end()
        try:
            alert.get_by_text("has not answered").wait_for()
            assert "they are old" in alert.inner_text()
            assert alert.get_by_role("button", name="Ask now").is_visible()
            assert look.page.locator(".job").count() == 2
            look.wait("Number(getComputedStyle(document.querySelector('main')).opacity) < 0.9")
            assert "no answer" in status.inner_text()
        finally:
            site.sidecar.start()
        site.sidecar.ready()
        until(lambda: alert.inner_text() == "", "it is heard again")
        until(lambda: "no answer" not in status.inner_text(), "and says so")
        look.hold(allowed="ERR_CONNECTION|ERR_EMPTY|status of 503")


def test_a_part_that_fails_is_said_to_be_old(look: Look) -> None:
    look.open("", "Overview")
    problem = '{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"It failed."}'
    reply = {"status": 500, "content_type": "application/problem+json", "body": problem}
    look.page.route(re.compile(r"/overview\?"), lambda route: route.fulfill(**reply))
    alert = look.page.get_by_role("alert")
    alert.get_by_text("Some figures below are old").wait_for()
    assert "It failed." in alert.inner_text()
    assert look.page.get_by_role("link", name=re.compile("^corrupt")).count() == 1
    look.page.unroute_all()
    until(lambda: alert.inner_text() == "", "all of it is new again")
    look.hold(allowed="status of 500")


# --- for everybody ---------------------------------------------------------------------------------


def focused(look: Look) -> str:
    return str(look.page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))


def test_it_can_be_used_by_keyboard_alone(look: Look, site: Site) -> None:
    look.open("", "Overview")
    press = look.page.keyboard.press
    press("Tab")
    assert focused(look) == "Skip to content"
    press("Enter")
    assert look.page.evaluate("document.activeElement.id") == "main"
    press("Tab")
    assert re.fullmatch(r"See \d+ findings", focused(look))
    press("Tab")
    first = focused(look)
    assert first in [job["job_id"] for job in site.json("/jobs")["items"]]
    press("Enter")
    look.page.get_by_role("heading", level=1, name=first).wait_for()
    until(lambda: focused(look) == first, "the heading has the focus")
    look.open(f"#/jobs/{JOB}/images", JOB)
    until_cards(look, wanted(site, ""))
    press("/")
    assert look.page.evaluate("document.activeElement.name") == "q"
    look.page.locator(".picture").first.focus()
    press("ArrowRight")
    name = wanted(site, "")[1]
    assert name in focused(look)
    press("Enter")
    look.page.get_by_role("heading", level=1, name=name).wait_for()
    look.page.get_by_role("slider", name="Opacity of the mask").or_(
        look.page.get_by_text("No mask")
    ).wait_for()
    look.hold()


def test_what_is_typed_survives_the_next_answers(look: Look) -> None:
    look.open(f"#/jobs/{JOB}/images", JOB)
    field = look.page.get_by_label("Search")
    field.focus()
    seen = look.count(f"/status/{JOB}")
    look.page.keyboard.type("pill")
    until(lambda: look.count(f"/status/{JOB}") > seen + 1, "further answers came")
    look.page.keyboard.type("ow")
    assert field.input_value() == "pillow"
    assert look.page.evaluate("document.activeElement.name") == "q"
    look.hold()


def test_what_was_typed_stays_where_it_was_typed(look: Look, site: Site) -> None:
    """Also where one goes back while the field still has the focus."""
    look.open(f"#/jobs/{JOB}/images", JOB)
    look.open("#/findings", "Findings")
    look.page.get_by_label("Search").fill("v_")
    look.wait("location.hash.endsWith('q=v_')")
    look.page.go_back()
    until_cards(look, wanted(site, ""))
    assert look.page.get_by_label("Search").input_value() == ""
    look.page.get_by_label("Search").fill("pillow")
    look.page.go_forward()
    look.page.get_by_role("heading", level=1, name="Findings").wait_for()
    look.page.wait_for_timeout(500)  # longer than what is typed waits for more
    assert look.page.url.endswith("#/findings?q=v_")
    assert look.page.get_by_label("Search").input_value() == "v_"
    look.hold()


OUTSIDE = """() => [...document.querySelectorAll('body *')].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !each.closest('svg, .visually-hidden');
}).map((each) => each.outerHTML.slice(0, 120))"""

CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = (top, under) => [0, 1, 2].map((at) => {
    const share = top[3] ?? 1;
    return top[at] * share + under[at] * (1 - share);
  });
  const light = (colour) => colour.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      layers.unshift(parse(getComputedStyle(each).backgroundColor));
    }
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const opacity = (node) => {
    let product = 1;
    for (let each = node; each; each = each.parentElement) {
      product *= Number(getComputedStyle(each).opacity);
    }
    return product;
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    const passed = node.closest('svg, .visually-hidden, .skip, option, .off');
    if (!own || passed || !node.checkVisibility()) {
      continue;
    }
    const under = ground(node);
    const ink = parse(getComputedStyle(node).color);
    const shown = over([...ink.slice(0, 3), (ink[3] ?? 1) * opacity(node)], under);
    const [high, low] = [light(shown), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) {
      poor.push(`${node.className}: ${node.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
  }
  return [...new Set(poor)];
}"""

WITH_NAMES = "link|button|searchbox|combobox|slider|checkbox|progressbar|region|navigation|search"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_for_everybody(look: Look, view: str) -> None:
    """A screen reader finds names, no width needs scrolling sideways, and text stands out from its ground."""
    look.open(*VIEWS[view])
    tree = look.page.locator("body").aria_snapshot()
    for landmark in ("- banner:", "- main:", "- contentinfo:", '- navigation "Main":', "- status:"):
        assert landmark in tree, tree
    assert tree.count("[level=1]") == 1
    assert re.findall(rf"- (?:{WITH_NAMES})(?::|$)", tree, re.M) == [], tree
    assert look.page.locator("img:not([alt])").count() == 0
    ids = look.page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    for width in (360, 800, 2560):
        look.page.set_viewport_size({"width": width, "height": 900})
        assert look.page.evaluate("document.documentElement.scrollWidth") <= width
        assert look.page.evaluate(OUTSIDE) == [], width
    for scheme in ("light", "dark"):
        look.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert look.page.evaluate(CONTRAST) == [], scheme
    look.hold()

"""Each kind of finding, alone and with all others, over SQLite and PostgreSQL, by HTTP and by command."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kindworld import CASES, SCHEMA, Key, KindWorld, make
from postgres import Cluster
from running import Serving, free_port
from waiting import until

from scanner.records import Kind
from web import cli

pytestmark = pytest.mark.usefixtures("one_pool")
FORMATS = ("table", "json", "csv", "ndjson")
DIALECTS = ("sqlite", "postgres")


def address(request: pytest.FixtureRequest, dialect: str) -> str | None:
    """A fresh PostgreSQL database; None for SQLite, whose file is made with the world."""
    if dialect == "sqlite":
        return None
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    cluster.start()
    return cluster.create_database(vector=False)


class Everything:
    """All cases at once, with a server over them."""

    def __init__(self, base: Path, url: str | None) -> None:
        self.world = KindWorld(base, url)
        self.expected = {case: make(self.world, case) for case in CASES}
        self.server = Serving(
            base,
            {
                "SIDECAR_DATABASE__URL": self.world.url,
                "SIDECAR_VERIFY__CONTENT": "true",
                "SIDECAR_VERIFY__GRACE_SECONDS": 0.2,
                "SIDECAR_DATABASE__POLL_SECONDS": 0.2,
            },
        )

    @property
    def all(self) -> set[Key]:
        """The findings of all cases."""
        return set().union(*self.expected.values())

    def found(self, path: str) -> set[Key]:
        """The findings that the server lists."""
        answer = self.server.get(f"{path}/findings?limit=1000").json()
        assert answer["total"] == len(answer["items"]) == len(keys(answer["items"]))
        return keys(answer["items"])

    def settle(self) -> None:
        """Wait until there is what must be, and nothing waits any more."""
        self.server.ready()
        until(lambda: self.server.get("/verification").json()["total"] == len(self.all), "all are found")
        until(lambda: not self.server.health()["pending"]["validations"], "nothing waits")


def keys(items: list[dict[str, Any]]) -> set[Key]:
    """The findings by asset, feature and kind."""
    return {(item["asset_id"], item["feature"], item["kind"]) for item in items}


@pytest.fixture(scope="module", params=DIALECTS)
def everything(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everything]:
    """All cases in one world of each kind of database."""
    made = Everything(tmp_path_factory.mktemp("all"), address(request, request.param))
    with closing(made.world), made.server:
        made.settle()
        yield made


def verify(
    world: KindWorld,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    *arguments: str,
) -> tuple[int, str, str]:
    """``sidecar verify`` in this process: the exit code, what it printed, and its complaints."""
    monkeypatch.setenv("SIDECAR_DATA__ROOT", str(world.root))
    monkeypatch.setenv("SIDECAR_DATABASE__URL", world.url)
    monkeypatch.chdir(world.base)
    code = cli.main(["verify", *arguments])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def read(form: str, text: str) -> list[dict[str, Any]]:
    """The findings that a format has printed."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    if form == "json":
        found: list[dict[str, Any]] = json.loads(text)["findings"]
        return found
    if form == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    lines = [line.split() for line in text.splitlines()]
    return [
        {"kind": line[0], "feature": line[1], "asset_id": line[2]}
        for line in lines
        if len(line) > 3 and line[0] in list(Kind)
    ]


def test_the_server_finds_all_of_them_together(everything: Everything) -> None:
    assert everything.found("/verification") == everything.all
    assert {kind for _, _, kind in everything.all} == set(map(str, Kind)), "no kind was left out"


@pytest.mark.parametrize("case", CASES)
def test_a_job_has_its_own_and_no_other(everything: Everything, case: str) -> None:
    expected = everything.expected[case]
    assert everything.found(f"/jobs/{case}/verification") == expected
    report = everything.server.get(f"/jobs/{case}/verification").json()
    counts = {
        (kind, feature): n for kind, row in report["findings"].items() for feature, n in row.items() if n
    }
    assert report["total"] == sum(counts.values()) == len(expected)
    for kind, feature in {(kind, feature) for _, feature, kind in expected}:
        assert counts[kind, feature] == sum(key[1:] == (feature, kind) for key in expected)


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_finds_all_of_them_together(
    everything: Everything,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    code, out, err = verify(everything.world, monkeypatch, capfdbinary, "--format", form)
    found = read(form, out)
    assert keys(found) == everything.all
    assert (code, len(found)) == (1, len(everything.all)), err


@pytest.mark.parametrize("case", CASES)
def test_the_command_finds_each_alone(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with closing(KindWorld(tmp_path)) as world:
        expected = make(world, case)
        code, out, err = verify(world, monkeypatch, capfdbinary, "--format", "ndjson")
    assert keys(read("ndjson", out)) == expected
    # An orphan is looked at, but no image was: that alone is never called clean or merely imperfect.
    assert code == (1 if expected else 0), err


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_cannot_be_looked_at_is_two_whatever_was_found(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    dialect: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """A mount that is gone, a database that does not answer, and a job in which there is nothing."""
    with closing(KindWorld(tmp_path, address(request, dialect))) as world:
        make(world, "stale")
        world.begin("idle")
        code, out, err = verify(world, monkeypatch, capfdbinary, "--job", "idle")
        assert (code, "nothing was checked" in err) == (2, True), out
        (world.root / "products").rename(tmp_path / "away")
        code, out, err = verify(world, monkeypatch, capfdbinary)
        assert (code, "products" in err, "stale" in out) == (2, True, False)
        (tmp_path / "away").rename(world.root / "products")
        assert verify(world, monkeypatch, capfdbinary)[0] == 1
        world.url = world.url.replace("pipeline.db", "none.db")
        world.url = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{free_port()}", world.url)
        code, out, err = verify(world, monkeypatch, capfdbinary)
        assert (code, "database" in err) == (2, True), err


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_column_that_is_not_there_leaves_nothing_unrecorded(
    tmp_path: Path, request: pytest.FixtureRequest, dialect: str
) -> None:
    """A feature that no row can name is not reported as forgotten by the rows, until its column comes."""
    lacking = SCHEMA.replace("seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT", "kp_blob_path TEXT")
    settings = {"SIDECAR_VERIFY__GRACE_SECONDS": 0.2, "SIDECAR_DATABASE__POLL_SECONDS": 0.2}
    with closing(KindWorld(tmp_path, address(request, dialect), lacking)) as world:
        world.begin("j")
        world.image("a")
        for feature in ("segment", "embedding", "keypoints"):
            world.artifact("a", feature)
        with Serving(tmp_path, {**settings, "SIDECAR_DATABASE__URL": world.url}) as server:
            server.ready()

            def unrecorded() -> dict[str, int]:
                found: dict[str, int] = server.get("/verification").json()["findings"].get("unrecorded", {})
                return {feature: n for feature, n in found.items() if n}

            until(lambda: unrecorded() == {"keypoints": 1}, "only keypoints have a column")
            world.database.execute("ALTER TABLE product_images ADD COLUMN seg_mask_path TEXT")
            until(lambda: unrecorded() == {"keypoints": 1, "segment": 1}, "the column is there now")
            world.database.execute("ALTER TABLE product_images DROP COLUMN kp_blob_path")
            until(lambda: unrecorded() == {"segment": 1}, "the column is gone")
            assert server.get("/verification").json()["total"] == 1


def test_every_pass_is_told_of_where_nothing_else_changes(tmp_path: Path) -> None:
    """An answer that is kept while the index is the same would tell of the first pass for ever."""
    with closing(KindWorld(tmp_path)) as world:
        expected = make(world, "stale")
        settings = {"SIDECAR_VERIFY__GRACE_SECONDS": 0.2, "SIDECAR_SCAN__RESCAN_SECONDS": 1}
        with Serving(tmp_path, {**settings, "SIDECAR_DATABASE__URL": world.url}) as server:
            server.ready()
            until(lambda: server.get("/verification").json()["total"] == len(expected), "all are found")

            def told() -> tuple[str, str, str]:
                report, page = server.get("/verification"), server.get("/verification/findings").json()
                (seen,) = {item["seen_at"] for item in page["items"]}
                return report.headers["etag"], report.json()["last_pass_at"], seen

            first = told()
            until(
                lambda: all(new > old for new, old in zip(told()[1:], first[1:], strict=True)), "a later pass"
            )
            assert told()[0] != first[0]

"""``sidecar explain`` on real directories and SQLite: the reason that it gives is the one that holds."""

from __future__ import annotations

import os
import sqlite3
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from scanner.config import load_config
from scanner.explainpatterns import assignments, mismatch
from scanner.pattern import Pattern
from web.explain import run

Ask = Callable[..., tuple[int, str]]
FRAME = "frames/v/000001.jpg"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with one frame that has a mask."""
    folder = tmp_path / "data"
    (folder / "frames" / "v" / "000001").mkdir(parents=True)
    (folder / "products").mkdir()
    Image.new("RGB", (8, 6), "red").save(folder / FRAME)
    mask = Image.new("L", (8, 6))
    mask.putpixel((1, 1), 255)
    mask.save(folder / "frames" / "v" / "000001" / "seg.png")
    return folder


@pytest.fixture
def ask(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Explain something: the exit code and what was printed."""

    def asked(target: object, **environ: str) -> tuple[int, str]:
        variables = {"SIDECAR_DATA__ROOT": str(data), **environ}
        code = run(load_config(environ=variables, cwd=str(tmp_path)), Namespace(target=str(target)))
        return code, capsys.readouterr().out

    return asked


@pytest.fixture
def database(tmp_path: Path, data: Path) -> Callable[..., str]:
    """A pipeline database whose frame rows are those given; returns its URL."""

    def made(*rows: tuple[object, ...], job: str | None = "j") -> str:
        place = tmp_path / "pipeline.db"
        db = sqlite3.connect(place)
        db.executescript(
            "CREATE TABLE jobs(job_id TEXT, phase TEXT);"
            "CREATE TABLE products(product_id TEXT, job_id TEXT, title TEXT);"
            "CREATE TABLE product_images(img_id TEXT, product_id TEXT, local_path TEXT,"
            " seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT);"
            "CREATE TABLE videos(video_id TEXT, job_id TEXT);"
            "CREATE TABLE video_frames(frame_id TEXT, video_id TEXT, ts REAL, local_path TEXT,"
            " seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT);"
            "INSERT INTO jobs VALUES('j', 'matching');"
        )
        db.execute("INSERT INTO videos VALUES('v', ?)", (job,))
        db.executemany("INSERT INTO video_frames VALUES(?,?,?,?,?,?,?)", rows)
        db.commit()
        db.close()
        return f"sqlite:///{place}"

    return made


def test_an_image_that_a_pattern_finds_is_listed_with_its_fields(ask: Ask, data: Path) -> None:
    code, text = ask(data / FRAME)
    assert code == 0
    assert (
        "layout.frames.image frames/{video_id}/{frame}.{ext}: matches with frame=000001, video_id=v" in text
    )
    assert "segment: frames/v/000001/seg.png is used: by pattern 1 of 1, " in text
    assert "frames/{video_id}/{frame}/seg.png; content ok" in text
    assert "GET /jobs/local/videos/v/frames: {" in text
    assert f'"local_path":"{data}/{FRAME}"' in text
    assert "listed: yes" in text


@pytest.mark.parametrize("target", [FRAME, "v_frame_000001", "frames/v/000001/seg.png"])
def test_a_relative_path_an_id_and_an_artifact_lead_to_the_same_asset(ask: Ask, target: str) -> None:
    code, text = ask(target)
    assert code == 0
    assert "video_frame v_frame_000001" in text
    assert "GET /features/video-frames/v_frame_000001: {" in text


def test_a_path_may_be_relative_to_the_working_directory(
    ask: Ask, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data / "frames" / "v")
    assert ask("000001.jpg")[0] == 0


def test_the_first_part_that_differs_from_each_pattern_is_named(ask: Ask, data: Path) -> None:
    (data / "frames" / "v" / "000002.gif").write_bytes(b"GIF")
    code, text = ask(data / "frames" / "v" / "000002.gif")
    assert code == 1
    assert "'000002.gif' is not '{frame}.{ext}': extension 'gif' is not one of layout.extensions" in text
    assert "'frames' is not 'products'" in text
    assert "listed: no, it belongs to no asset" in text


def test_a_file_of_size_0_is_said_not_to_be_there(ask: Ask, data: Path) -> None:
    (data / FRAME).write_bytes(b"")
    code, text = ask(FRAME)
    assert code == 1
    assert "a regular file of size 0" in text
    assert "finding: image empty" in text
    assert "GET /features/video-frames/v_frame_000001: 404" in text


def test_a_file_that_is_not_there_is_said_to_be_missing(ask: Ask) -> None:
    code, text = ask("frames/v/000009.jpg")
    assert (code, "there is no such file on disk" in text) == (1, True)


def test_an_ignored_name_is_named_as_such(ask: Ask, data: Path) -> None:
    (data / "frames" / "v" / ".000001.jpg").write_bytes(b"x")
    (data / "frames" / ".old").mkdir()
    (data / "frames" / ".old" / "000001.jpg").write_bytes(b"x")
    code, text = ask("frames/v/.000001.jpg")
    assert (code, "the name matches scan.ignore" in text) == (1, True)
    code, text = ask("frames/.old/000001.jpg")
    assert (code, "the name of the folder frames/.old matches scan.ignore" in text) == (1, True)


def test_a_name_that_is_not_utf8_is_skipped(ask: Ask, data: Path) -> None:
    path = os.fsencode(data / "frames" / "v") + b"/\xff.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    code, text = ask(os.fsdecode(path))
    assert (code, "not valid UTF-8" in text) == (1, True)


def test_links_are_judged_by_where_they_lead(ask: Ask, data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes((data / FRAME).read_bytes())
    (data / "frames" / "v" / "000002.jpg").symlink_to(outside)
    (data / "frames" / "v" / "000003.jpg").symlink_to(data / FRAME)
    (data / "frames" / "w").symlink_to(data / "frames" / "v")
    code, text = ask("frames/v/000002.jpg")
    assert (code, "no regular file below the data root" in text) == (1, True)
    assert ask("frames/v/000003.jpg")[0] == 0
    code, text = ask("frames/w/000001.jpg")
    assert (code, "frames/w is a symbolic link to a folder, which is not followed" in text) == (1, True)


def test_a_path_outside_the_data_root_is_said_to_be_outside(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    code, text = ask(tmp_path / "x.jpg")
    assert (code, "does not lie below the data root" in text) == (1, True)


def test_a_corrupt_mask_is_not_listed_but_its_frame_is(ask: Ask, data: Path) -> None:
    (data / "frames" / "v" / "000001" / "seg.png").write_bytes(b"no picture at all")
    code, text = ask("frames/v/000001/seg.png")
    assert code == 1
    assert "content corrupt" in text
    assert "finding: segment corrupt" in text
    assert '"has_segment":false' in text
    assert ask(FRAME)[0] == 0


def test_of_two_images_of_one_id_the_other_is_the_duplicate(ask: Ask, data: Path) -> None:
    Image.new("RGB", (8, 6)).save(data / "frames" / "v" / "000001.png")
    code, text = ask("frames/v/000001.png")
    assert code == 1
    assert "image: frames/v/000001.jpg is used" in text
    assert "image: not used: frames/v/000001.png (by pattern 1 of 1, " in text
    assert "): another file goes before it" in text
    assert "the asset uses another file" in text
    assert "GET /files/frames/v/000001.png: 404" in text


def test_the_earlier_pattern_of_a_list_goes_first(ask: Ask, data: Path) -> None:
    mask = data / "frames" / "v" / "000001" / "seg.png"
    (data / "masks").mkdir()
    (data / "masks" / "v_frame_000001.png").write_bytes(mask.read_bytes())
    patterns = '["masks/{id}.png", "frames/{video_id}/{frame}/seg.png"]'
    code, text = ask(mask, SIDECAR_LAYOUT__FRAMES__SEGMENT=patterns)
    assert code == 1
    assert "segment: masks/v_frame_000001.png is used: by pattern 1 of 2, masks/{id}.png" in text
    assert "segment: not used: frames/v/000001/seg.png (by pattern 2 of 2" in text


def test_a_row_and_its_claims_are_shown_with_where_they_lead(
    ask: Ask, data: Path, database: Callable[..., str]
) -> None:
    (data / "frames" / "v" / "m.png").write_bytes((data / "frames/v/000001/seg.png").read_bytes())
    url = database(
        ("f1", "v", 3.0, "/app/" + FRAME, "/app/frames/v/m.png", "/elsewhere/e.bin", None),
    )
    variables = {"SIDECAR_DATABASE__URL": url, "SIDECAR_DATABASE__PATH_MAP": f'{{"/app" = "{data}"}}'}
    code, text = ask("f1", **variables)
    assert code == 0, text
    assert f"row: image: /app/{FRAME}, which is {data}/{FRAME} here" in text
    assert "row: embedding: /elsewhere/e.bin, which lies outside the data root" in text
    assert "segment: frames/v/m.png is used: the row names it" in text
    assert "segment: not used: frames/v/000001/seg.png" in text
    assert "GET /jobs/j/features/video-frames: {" in text
    code, text = ask(FRAME, **variables)
    assert (code, "row: the video_frame f1 names it as its image" in text) == (0, True)
    assert ask("/app/" + FRAME, **variables)[0] == 0


def test_a_row_whose_file_is_elsewhere_still_owns_what_its_id_finds(
    ask: Ask, database: Callable[..., str]
) -> None:
    url = database(("v_frame_000001", "v", None, "frames/v/gone.jpg", None, None, None))
    code, text = ask("v_frame_000001", SIDECAR_DATABASE__URL=url)
    assert code == 0
    assert "image: frames/v/000001.jpg is used: by pattern 1 of 1, frames/{video_id}/{frame}.{ext}" in text
    assert "image: not used: frames/v/gone.jpg (the row names it): not there" in text
    assert "finding: image misplaced" in text


def test_what_belongs_to_no_job_is_in_no_list(ask: Ask, database: Callable[..., str]) -> None:
    code, text = ask(FRAME, SIDECAR_DATABASE__URL=database(job=None))
    assert code == 1
    assert "in no list, the video v is in no job" in text
    assert "GET /features/video-frames/v_frame_000001: {" in text


def test_a_job_without_a_row_has_no_lists(ask: Ask, database: Callable[..., str]) -> None:
    code, text = ask(FRAME, SIDECAR_DATABASE__URL=database(job="k"))
    assert (code, "the job k, of which the database has no row" in text) == (1, True)


def test_a_database_that_cannot_be_read_is_a_note(ask: Ask, tmp_path: Path) -> None:
    code, text = ask(FRAME, SIDECAR_DATABASE__URL=f"sqlite:///{tmp_path}/none.db")
    assert code == 0
    assert "note: the database could not be read" in text


def test_a_data_root_that_is_not_there_cannot_be_looked_at(ask: Ask, tmp_path: Path) -> None:
    code, text = ask(FRAME, SIDECAR_DATA__ROOT=str(tmp_path / "none"))
    assert (code, "could not look" in text) == (2, True)


def test_a_root_below_which_rows_name_files_and_that_is_gone_cannot_be_looked_at(
    ask: Ask, data: Path, database: Callable[..., str]
) -> None:
    url = database(("v_frame_000001", "v", None, FRAME, None, None, None))
    (data / "frames").rename(data / "elsewhere")
    code, text = ask(FRAME, SIDECAR_DATABASE__URL=url)
    assert code == 2
    assert f"the root {data}/frames is unavailable: is not there" in text
    assert f"could not look: {data}/frames: is not there" in text


def test_a_folder_and_a_first_folder_that_no_pattern_names_are_said_to_be_such(ask: Ask, data: Path) -> None:
    (data / "other").mkdir()
    (data / "other" / "x.jpg").write_bytes(b"x")
    code, text = ask("frames/v")
    assert (code, "a folder: only regular files are indexed" in text) == (1, True)
    code, text = ask("other/x.jpg")
    assert (code, "other does not lie below a folder that a pattern or a row names" in text) == (1, True)


def test_a_file_that_a_row_names_below_a_folder_of_its_own_is_listed(
    ask: Ask, data: Path, database: Callable[..., str]
) -> None:
    (data / "other").mkdir()
    Image.new("RGB", (8, 6)).save(data / "other" / "x.jpg")
    url = database(("f1", "v", 1.0, "other/x.jpg", None, None, None))
    code, text = ask("other/x.jpg", SIDECAR_DATABASE__URL=url)
    assert (code, "image: other/x.jpg is used: the row names it" in text) == (0, True)


def test_a_flat_artifact_with_the_id_in_its_name_is_found(ask: Ask, data: Path) -> None:
    (data / "masks").mkdir()
    (data / "frames" / "v" / "000001" / "seg.png").rename(data / "masks" / "v_frame_000001.png")
    code, text = ask("masks/v_frame_000001.png", SIDECAR_LAYOUT__FRAMES__SEGMENT='["masks/{id}.{ext}"]')
    assert (code, "segment: masks/v_frame_000001.png is used" in text) == (0, True)


def test_an_artifact_whose_path_names_too_little_finds_its_image(ask: Ask, data: Path) -> None:
    (data / "masks").mkdir()
    (data / "frames" / "v" / "000001" / "seg.png").rename(data / "masks" / "000001.png")
    code, text = ask("masks/000001.png", SIDECAR_LAYOUT__FRAMES__SEGMENT='["masks/{frame}.png"]')
    assert (code, "segment: masks/000001.png is used" in text) == (0, True), text


def test_an_artifact_without_an_image_is_an_orphan(ask: Ask, data: Path) -> None:
    (data / FRAME).unlink()
    code, text = ask("frames/v/000001/seg.png")
    assert (code, "finding: segment orphan" in text) == (1, True)
    assert "no image of the asset is on disk" in text


@pytest.mark.parametrize(
    "target",
    ["..", "../x", "._frame_.", ".._frame_x", "v" * 300 + "_frame_1", "a/" * 3000, "\ud800", "a\nb", ""],
)
def test_odd_targets_are_unknown_and_nothing_worse(ask: Ask, target: str) -> None:
    code, text = ask(target, SIDECAR_SCAN__IGNORE="[]")
    assert code == 1
    assert "listed: no" in text


def test_an_unknown_id_is_said_to_be_unknown(ask: Ask) -> None:
    code, text = ask("nobody")
    assert (code, "no row has this id" in text) == (1, True)


def test_an_id_that_tells_too_little_is_searched_below_the_patterns_prefix(ask: Ask, data: Path) -> None:
    (data / "frames" / "shard7" / "v").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(data / "frames" / "shard7" / "v" / "000005.jpg")
    pattern = '["frames/{shard}/{video_id}/{frame}.{ext}"]'
    code, text = ask("v_frame_000005", SIDECAR_LAYOUT__FRAMES__IMAGE=pattern)
    assert (code, "image: frames/shard7/v/000005.jpg is used" in text) == (0, True)


def test_nothing_is_written_below_the_data_root(ask: Ask, data: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in data.rglob("*"))
    ask(FRAME)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in data.rglob("*")) == before


@pytest.mark.parametrize(
    ("pattern", "path", "reason"),
    [
        ("frames/{v}/{f}.{ext}", "frame/a/1.jpg", "'frame' is not 'frames'"),
        ("frames/{v}/{f}.{ext}", "frames/a/b/1.jpg", "'b' is not '{f}.{ext}'"),
        ("{v}/{f}", "a/b/c", "it has 2 parts, the path has 3 parts"),
        ("{v}/{v}_{f}", "a/b_1", "a name that occurs twice in it stands for different texts"),
    ],
)
def test_the_mismatch_is_the_first_part_that_differs(pattern: str, path: str, reason: str) -> None:
    assert mismatch(Pattern(pattern, ("jpg",)), path, ("jpg",)).startswith(reason)


def test_every_assignment_of_a_template_is_found() -> None:
    found = [tuple(sorted(names.items())) for names in assignments("{a}_{b}", "x_y_z")]
    assert sorted(found) == [(("a", "x"), ("b", "y_z")), (("a", "x_y"), ("b", "z"))]
    assert list(assignments("{a}-{a}", "x-y")) == []

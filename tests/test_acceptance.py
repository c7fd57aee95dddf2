"""The whole sidecar as its users meet it: real files, real databases, ``serve`` as real processes, a socket.

The bodies of the endpoint specification from what they mean; the pipeline's own schema by configuration;
nothing written anywhere; PostgreSQL, scanner and server killed; names that nobody should have written.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from comparison import compare, settle
from hostile import npz, picture
from model import Model, rows_of_sqlite
from postgres import Cluster
from running import Serving, alive, make_database, send
from waiting import until
from worlds import to_toml

Rows = Mapping[str, list[dict[str, Any]]]
QUICK = {"poll_seconds": 0.2, "full_sync_seconds": 2.0}
PASSWORD = "s3cret-word"


# --- means ------------------------------------------------------------------------------------------


def serving(base: Path, settings: Mapping[str, Any], **environment: str) -> Serving:
    """A server of these settings, whose data root is ``base/data``."""
    config = base / "config.toml"
    config.write_text(to_toml(settings), encoding="utf-8")
    return Serving(base, {"SIDECAR_CONFIG": str(config), **environment})


def put(root: Path, path: str, content: bytes = b"not empty") -> Path:
    """A file below the root."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def local(clock: str) -> float:
    """The POSIX time of a time of day of 2025-08-23 in the zone that answers are in."""
    return datetime.fromisoformat(f"2025-08-23T{clock}+07:00").timestamp()


def utc(clock: str) -> str:
    """The same as a database has it: naive, in UTC."""
    return (datetime.fromisoformat(f"2025-08-23 {clock}") - timedelta(hours=7)).isoformat(" ")


def insert(run: Callable[[str, list[Any]], Any], rows: Rows, mark: str) -> None:
    """All rows, by a cursor's ``execute``."""
    for table, several in rows.items():
        for row in several:
            marks = ", ".join([mark] * len(row))
            run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def sqlite_with(path: Path, rows: Rows) -> None:
    """An SQLite pipeline database with these rows."""
    make_database(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        insert(connection.execute, rows, "?")


def ordered(body: Any) -> str:
    """A text in which also the order of keys and the difference between 30 and 30.0 show."""
    return json.dumps(body, indent=1, ensure_ascii=False)


# --- the values of the endpoint specification -------------------------------------------------------

JOB = "j_123"
IMAGES = [f"p_{product:03}/{image}" for product in range(1, 121) for image in range(5)]
OWN = [f"v_abc/{number:06}" for number in range(3, 483)]
OTHERS = [f"v_{index % 33:03}/{index // 33:06}" for index in range(1920)]
FRAMES = OWN + OTHERS
FRAME, IMAGE = "v_abc_frame_000123", "p_001_img_0"
# Which assets have which artifact: 380, 410 and 395 of 600; 900, 1,320 and 1,180 of 2,400.
IMAGE_DONE = {"seg.png": IMAGES[:380], "emb.bin": IMAGES[:410], "kp.bin": IMAGES[1:396]}
FRAME_DONE = {"seg.png": FRAMES[121:1021], "emb.bin": FRAMES[:1320], "kp.bin": FRAMES[:1180]}


def frame_row(place: str) -> dict[str, Any]:
    """The row of a frame, with what its worker has recorded."""
    video, number = place.split("/")
    names = {"seg.png": "seg_mask_path", "emb.bin": "emb_rgb", "kp.bin": "kp_blob_path"}
    claims = {
        column: f"frames/{place}/{name}" for name, column in names.items() if place in DONE_FRAMES[name]
    }
    row = {"frame_id": f"{video}_frame_{number}", "video_id": video, "local_path": f"frames/{place}.jpg"}
    ts = (int(number) - 3) / 4 if video == "v_abc" else int(number) / 4
    clock = "14:22:41" if place == "v_abc/000123" else "14:10:00"
    return {**row, "ts": ts, **claims, "updated_at": utc(clock)}


DONE_FRAMES = {name: set(places) for name, places in FRAME_DONE.items()}


def image_row(place: str) -> dict[str, Any]:
    """The row of a product image; the worker has not recorded its artifacts yet."""
    product, image = place.split("/")
    clock = "14:21:44" if place == "p_001/0" else "14:10:00"
    row = {"img_id": f"{product}_img_{image}", "product_id": product}
    return {**row, "local_path": f"products/{place}.jpg", "updated_at": utc(clock)}


def specified_rows() -> Rows:
    """The rows that the examples of the specification mean."""
    products = sorted({place.split("/")[0] for place in IMAGES})
    titles = {"p_001": "NeckCare Pillow V2"}
    example = {"platform": "youtube", "url": "https://youtube.com/...", "title": "Test API Video"}
    others = [f"v_{index:03}" for index in range(33)]
    return {
        "jobs": [
            {"job_id": JOB, "phase": "feature_extraction", "percent": 62.5, "updated_at": utc("14:25:00")}
        ],
        "products": [
            {"product_id": product, "job_id": JOB, "title": titles.get(product, f"Product {product}")}
            for product in products
        ],
        "videos": [
            {"video_id": "v_abc", "job_id": JOB, **example, "duration_s": 120, "updated_at": utc("14:20:10")},
            *({"video_id": video, "job_id": JOB, "updated_at": utc("14:00:00")} for video in others),
        ],
        "product_images": [image_row(place) for place in IMAGES],
        "video_frames": [frame_row(place) for place in FRAMES],
    }


def specified_files(root: Path) -> None:
    """The files that the examples mean, none of them later than the rows but where an example says so."""
    files = [put(root, f"frames/{place}.jpg", b"x") for place in FRAMES]
    files += [put(root, f"products/{place}.jpg", b"x") for place in IMAGES]
    for top, done in (("frames", FRAME_DONE), ("products", IMAGE_DONE)):
        for name, places in done.items():
            files += [put(root, f"{top}/{place}/{name}", b"x") for place in places]
    for file in files:
        os.utime(file, (local("14:05:00"), local("14:05:00")))
    for path, clock in (("frames/v_abc/000123/kp.bin", "14:23:41"), ("products/p_001/0/seg.png", "14:22:41")):
        os.utime(root / path, (local(clock), local(clock)))


def done(count: int, percent: float) -> dict[str, Any]:
    """How far one feature is."""
    return {"done": count, "percent": percent}


def page(item: dict[str, Any], total: int, offset: int = 0) -> dict[str, Any]:
    """A page as the specification shows it: one item of the 20 there are."""
    return {"items": [item], "total": total, "limit": 20, "offset": offset}


def day(clock: str) -> str:
    """A timestamp as answers have it."""
    return f"2025-08-23T{clock}+07:00"


def specified_bodies(root: Path) -> dict[str, dict[str, Any]]:
    """The examples of the specification by request, key for key in its order."""
    features = {
        "img_id": IMAGE,
        "product_id": "p_001",
        "has_segment": True,
        "has_embedding": True,
        "has_keypoints": False,
        "paths": {
            "segment": f"{root}/products/p_001/0/seg.png",
            "embedding": f"{root}/products/p_001/0/emb.bin",
            "keypoints": None,
        },
        "updated_at": day("14:22:41"),
    }
    frame_features = {
        "frame_id": FRAME,
        "video_id": "v_abc",
        "ts": 30.0,
        "has_segment": False,
        "has_embedding": True,
        "has_keypoints": True,
        "paths": {
            "segment": None,
            "embedding": f"{root}/frames/v_abc/000123/emb.bin",
            "keypoints": f"{root}/frames/v_abc/000123/kp.bin",
        },
        "updated_at": day("14:23:41"),
    }
    video = {
        "video_id": "v_abc",
        "platform": "youtube",
        "url": "https://youtube.com/...",
        "title": "Test API Video",
        "duration_s": 120,
        "frames_count": 480,
        "updated_at": day("14:20:10"),
    }
    frame = {
        "frame_id": FRAME,
        "ts": 30.0,
        "local_path": f"{root}/frames/v_abc/000123.jpg",
        "updated_at": day("14:22:41"),
    }
    image = {
        "img_id": IMAGE,
        "product_id": "p_001",
        "local_path": f"{root}/products/p_001/0.jpg",
        "product_title": "NeckCare Pillow V2",
        "updated_at": day("14:21:44"),
    }
    return {
        f"/status/{JOB}": {
            "job_id": JOB,
            "phase": "feature_extraction",
            "percent": 62.5,
            "counts": {"products": 120, "videos": 34, "images": 600, "frames": 2400},
            "updated_at": day("14:25:00"),
        },
        f"/jobs/{JOB}/videos": page(video, 34),
        f"/jobs/{JOB}/videos/v_abc/frames?offset=110": page(frame, 480, 110),
        f"/jobs/{JOB}/images": page(image, 600),
        f"/jobs/{JOB}/features/summary": {
            "job_id": JOB,
            "product_images": {
                "total": 600,
                "segment": done(380, 63.33),
                "embedding": done(410, 68.33),
                "keypoints": done(395, 65.83),
            },
            "video_frames": {
                "total": 2400,
                "segment": done(900, 37.5),
                "embedding": done(1320, 55.0),
                "keypoints": done(1180, 49.17),
            },
            "updated_at": day("14:25:00"),
        },
        f"/jobs/{JOB}/features/product-images": page(features, 600),
        f"/jobs/{JOB}/features/video-frames": page(frame_features, 2400),
        f"/features/product-images/{IMAGE}": features,
        f"/features/video-frames/{FRAME}": frame_features,
    }


def as_specified(body: dict[str, Any]) -> dict[str, Any]:
    """A page with the example's item alone; all else as it is."""
    if "items" in body:
        assert len(body["items"]) == 20
        body["items"] = [
            item for item in body["items"] if {FRAME, IMAGE, "v_abc"} & {next(iter(item.values()))}
        ]
    return body


def test_the_values_of_the_specification_from_files_and_rows(tmp_path: Path) -> None:
    """34 videos, 2,400 frames, 600 images, as many artifacts as the examples say, and each example's body."""
    database = tmp_path / "pipeline.db"
    specified_files(tmp_path / "data")
    sqlite_with(database, specified_rows())
    with serving(tmp_path, {"database": {"url": f"sqlite:///{database}"}}) as server:
        server.ready()
        for target, expected in specified_bodies(server.root).items():
            reply = server.get(target)
            assert (reply.status, reply.headers["x-index-state"]) == (200, "complete"), target
            assert ordered(as_specified(reply.json())) == ordered(expected), target
        assert server.health()["status"] == "ok"


# --- the pipeline's own schema, by configuration alone ----------------------------------------------

PIPELINE_SCHEMA = """
CREATE TABLE jobs (job_id text PRIMARY KEY, phase text, created_at timestamp);
CREATE TABLE products (product_id text PRIMARY KEY, job_id text, title text, created_at timestamp);
CREATE TABLE videos (video_id text PRIMARY KEY, platform text, url text, title text, duration_s integer,
    created_at timestamp);
CREATE TABLE job_videos (job_id text, video_id text, PRIMARY KEY (job_id, video_id));
CREATE TABLE product_images (img_id text PRIMARY KEY, product_id text, local_path text,
    masked_local_path text, emb_rgb vector(512), kp_blob_path text, created_at timestamp);
CREATE TABLE video_frames (frame_id text PRIMARY KEY, video_id text, ts double precision, local_path text,
    masked_local_path text, emb_rgb vector(512), kp_blob_path text, created_at timestamp);
"""
VECTOR = tuple([0.5] * 512)
APP = "/app/data"


def pipeline_settings(url: str, root: Path) -> dict[str, Any]:
    """All that a user of the pipeline has to write."""
    return {
        "layout": {
            "frames": {
                "image": ["frames/{video_id}/{frame}.{ext}"],
                "segment": ["masks_product/video_frames/{id}.png"],
                "embedding": [],
                "keypoints": ["keypoints/{id}.npz"],
            },
            "products": {
                "image": ["images/{image}.{ext}"],
                "id": "{image}",
                "segment": ["masks_product/product_images/{id}.png"],
                "embedding": [],
                "keypoints": ["keypoints/{id}.npz"],
            },
        },
        "database": {
            "url": url,
            **QUICK,
            "columns": {"segment": "masked_local_path"},
            "path_map": {APP: str(root)},
        },
        "verify": {"grace_seconds": 0.3},
        "web": {"include": ["urls"]},
    }


def pipeline_rows() -> dict[str, list[dict[str, Any]]]:
    """Two jobs that share a video, a video of no job, embeddings in the database, some null."""
    at = [datetime(2025, 8, 23, 7, minute, 0) for minute in range(60)]
    frames = [(video, number) for video in ("v1", "v2", "v3") for number in range(1, 5)]
    return {
        "jobs": [
            {"job_id": "a", "phase": "feature_extraction", "created_at": at[0]},
            {"job_id": "b", "phase": "completed", "created_at": at[1]},
        ],
        "products": [{"product_id": "p1", "job_id": "a", "title": "Gối cổ", "created_at": at[2]}],
        "videos": [
            {"video_id": video, "platform": "youtube", "title": video, "duration_s": 12, "created_at": at[3]}
            for video in ("v1", "v2", "v3")
        ],
        "job_videos": [
            {"job_id": job, "video_id": video} for job, video in (("a", "v1"), ("a", "v2"), ("b", "v2"))
        ],
        "product_images": [
            {
                "img_id": f"i{number}",
                "product_id": "p1",
                "local_path": f"{APP}/images/i{number}.jpg",
                "masked_local_path": f"{APP}/masks_product/product_images/i{number}.png" if number else None,
                "emb_rgb": VECTOR if number < 2 else None,
                "kp_blob_path": f"{APP}/keypoints/i{number}.npz",
                "created_at": at[10 + number],
            }
            for number in range(3)
        ],
        "video_frames": [pipeline_frame(video, number, at[20 + number]) for video, number in frames],
    }


def pipeline_frame(video: str, number: int, at: datetime) -> dict[str, Any]:
    """A frame's row: the first of a video has no mask, the last no embedding."""
    name = f"{video}_frame_{number:06}"
    return {
        "frame_id": name,
        "video_id": video,
        "ts": number / 2,
        "local_path": f"{APP}/frames/{video}/{number:06}.jpg",
        "masked_local_path": f"{APP}/masks_product/video_frames/{name}.png" if number > 1 else None,
        "emb_rgb": VECTOR if number < 4 else None,
        "kp_blob_path": f"{APP}/keypoints/{name}.npz",
        "created_at": at,
    }


def pipeline_files(root: Path, rows: Rows) -> None:
    """Every file that the rows name, at its place here, all older than the rows."""
    points = np.empty(2, dtype=object)
    points[:] = [np.zeros((3, 2)), None]
    contents = {
        "local_path": picture(64, 48, "JPEG"),
        "masked_local_path": picture(64, 48),
        "kp_blob_path": npz(keypoints=points),
    }
    for row in (*rows["product_images"], *rows["video_frames"]):
        for column, content in contents.items():
            if row[column] is not None:
                file = put(root, row[column].removeprefix(f"{APP}/"), content)
                os.utime(file, (local("13:00:00"), local("13:00:00")))


def fill_pipeline(url: str, rows: Rows) -> None:
    """The pipeline's own tables and their rows."""
    with psycopg.connect(url) as connection:
        connection.execute(PIPELINE_SCHEMA)
        insert(lambda sql, values: connection.execute(sql.encode(), list(map(stored, values))), rows, "%s")


def stored(value: Any) -> Any:
    """A value as the driver takes it: pgvector reads text."""
    return str(list(value)) if isinstance(value, tuple) else value


def checked(server: Serving) -> None:
    """Wait until every file's content has been looked at."""
    until(lambda: server.health()["pending"] == {"paths": 0, "validations": 0}, "all is checked")


def test_the_pipelines_own_schema_and_flat_layout_by_configuration(tmp_path: Path, postgres: str) -> None:
    """Other columns, vectors, naive created_at, job_videos, another prefix, flat trees, ASC, urls."""
    rows, root = pipeline_rows(), tmp_path / "data"
    pipeline_files(root, rows)
    fill_pipeline(postgres, rows)
    settings = pipeline_settings(postgres, root)
    with serving(tmp_path, settings, SIDECAR_VERIFY__CONTENT="true") as server:
        server.ready()
        settle(server.client, Model(settings, rows, root), findings=True)
        checked(server)
        assert not compare(server.client, Model(settings, rows, root))
        pipeline_answers(server)
        assert (server.health()["status"], server.health()["problems"]) == ("ok", [])
        report = server.get("/verification").json()
        assert (report["total"], report["withheld"]) == (0, 0), report


def pipeline_answers(server: Serving) -> None:
    """What the pipeline's web page reads, in so many words."""
    name, root = "v2_frame_000002", server.root
    assert server.get(f"/features/video-frames/{name}").json() == {
        "frame_id": name,
        "video_id": "v2",
        "ts": 1.0,
        "has_segment": True,
        "has_embedding": True,
        "has_keypoints": True,
        "paths": {
            "segment": f"{root}/masks_product/video_frames/{name}.png",
            "embedding": None,
            "keypoints": f"{root}/keypoints/{name}.npz",
        },
        "updated_at": day("14:22:00"),
        "original_url": "/files/frames/v2/000002.jpg",
        "urls": {
            "segment": f"/files/masks_product/video_frames/{name}.png",
            "embedding": None,
            "keypoints": f"/files/keypoints/{name}.npz",
        },
    }
    mask = root / f"masks_product/video_frames/{name}.png"
    assert server.get(f"/files/masks_product/video_frames/{name}.png").raw == mask.read_bytes()
    last = server.get("/features/video-frames/v2_frame_000004").json()
    assert (last["has_embedding"], last["has_keypoints"]) == (False, True)
    for order, ids in (("ASC", ["i0", "i1", "i2"]), ("DESC", ["i2", "i1", "i0"])):
        body = server.get(f"/jobs/a/images?sort_by=updated_at&order={order}").json()
        assert [item["img_id"] for item in body["items"]] == ids
    of_job = {job: server.get(f"/jobs/{job}/videos?order=ASC").json()["items"] for job in "ab"}
    assert {job: [video["video_id"] for video in items] for job, items in of_job.items()} == {
        "a": ["v1", "v2"],
        "b": ["v2"],
    }
    assert of_job["b"][0]["first_keyframe_url"] == "/files/frames/v2/000001.jpg"
    assert of_job["b"][0]["preview_frame"]["segment_url"] is not None
    assert server.get("/status/b").json()["counts"] == {"products": 0, "videos": 1, "images": 0, "frames": 4}


# --- nothing is written -----------------------------------------------------------------------------


def survey(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a directory: what it is, whose, when it changed, its bytes (not when it was read)."""
    return {str(path): described(path) for path in (top, *sorted(top.rglob("*")))}


def described(path: Path) -> tuple[object, ...]:
    """All of a file's state that a write or a rename would change."""
    found = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    numbers = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
    return (*numbers, found.st_size, found.st_mtime_ns, found.st_ctime_ns, content)


@contextlib.contextmanager
def read_only(*tops: Path) -> Iterator[None]:
    """Inside, nobody but root may write below these directories."""
    paths = [path for top in tops for path in (top, *top.rglob("*"))]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def every_request(server: Serving, names: Mapping[str, str], files: Iterable[str]) -> None:
    """Every route by every method, good ids and unknown ones: no answer is a server's error."""
    paths = server.get("/openapi.json").json()["paths"]
    assert len(paths) >= 16
    targets = [path.format_map(defaultdict(lambda: "nope", names)) for path in paths]
    targets += [path.format_map(defaultdict(lambda: "nope")) for path in paths]
    targets += [f"/files/{file}" for file in files]
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    for target in targets:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
            connection.request(method, target, body=b"{}" if method[0] == "P" else None)
            reply = connection.getresponse()
            reply.read()
            assert reply.status < 500, (method, target, reply.status)
            assert (reply.status == 405) == (method in ("POST", "PUT", "PATCH", "DELETE")), (method, target)
    connection.close()


def passes(server: Serving) -> None:
    """Wait until the disk and the database have been compared twice more."""
    for _ in range(2):
        before = moments(server)
        until(lambda: all(map(lambda a, b: a != b, moments(server), before)), "another pass over both")  # noqa: B023


def moments(server: Serving) -> tuple[object, object]:
    """When the last pass over the disk and the last one over the database was."""
    health = server.health()
    return health["scan"]["last_completed_at"], health["database"]["last_sync_at"]


def live_through_all(server: Serving) -> None:
    """A server's life: it reads, checks, is asked everything, and reads again."""
    server.ready()
    checked(server)
    names = {"job_id": "a", "video_id": "v1", "img_id": "i1", "frame_id": "v1_frame_000002", "path": "x"}
    names |= {"asset_type": "video_frame", "asset_id": "v1_frame_000002"}
    every_request(server, names, ["frames/v1/000002.jpg", "keypoints/v1_frame_000002.npz"])
    passes(server)
    assert server.health()["status"] == "ok"
    assert server.get("/jobs/a/features/summary").json()["video_frames"]["embedding"]["done"] == 6
    assert server.get("/features/video-frames/v1_frame_000002").json()["has_keypoints"] is True


FREQUENT = {"SIDECAR_VERIFY__CONTENT": "true", "SIDECAR_SCAN__RESCAN_SECONDS": "1"}


def sqlite_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the pipeline as SQLite has it."""
    taken = {key: repr(value).encode() if isinstance(value, tuple) else value for key, value in row.items()}
    return {
        key: value.isoformat(" ") if isinstance(value, datetime) else value for key, value in taken.items()
    }


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_nothing_is_written_below_the_data_root_or_into_an_sqlite_database(
    tmp_path: Path, journal: str
) -> None:
    """Both read-only for a server's whole life, and the same byte for byte and inode for inode afterwards."""
    rows, root, place = pipeline_rows(), tmp_path / "data", tmp_path / "pipeline"
    pipeline_files(root, rows)
    place.mkdir()
    fill_sqlite(place / "pipeline.db", rows, journal)
    settings = pipeline_settings(f"sqlite:///{place}/pipeline.db", root)
    with read_only(root, place):
        before = survey(root) | survey(place)
        with serving(tmp_path, settings, **FREQUENT) as server:
            live_through_all(server)
        assert survey(root) | survey(place) == before


def fill_sqlite(path: Path, rows: Rows, journal: str) -> None:
    """The pipeline's tables in an SQLite file, with embeddings as blobs."""
    schema = PIPELINE_SCHEMA.replace("vector(512)", "blob")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.executescript(schema)
        insert(connection.execute, {table: list(map(sqlite_row, some)) for table, some in rows.items()}, "?")
        connection.commit()


@pytest.fixture
def reader(postgres_cluster: Cluster, postgres: str) -> Iterator[str]:
    """The address by which a role that may only read reaches the database; with a password in it."""
    name = f"reader_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        connection.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {name}".encode()
        )
    yield postgres.replace("postgres@", f"{name}:{PASSWORD}@")
    postgres_cluster.start()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def contents_of(url: str) -> dict[str, list[Any]]:
    """All rows with the transactions that wrote them and their places, and what is in the catalogue."""
    with psycopg.connect(url) as connection:
        listed = "SELECT relname, relkind, relnatts, relfilenode FROM pg_class WHERE relname NOT LIKE 'pg_%'"
        state = {"": connection.execute(listed + " ORDER BY 1, 2").fetchall()}
        for table in ("jobs", "products", "videos", "job_videos", "product_images", "video_frames"):
            query = f"SELECT xmin::text, xmax::text, ctid::text, t::text FROM {table} t ORDER BY 3"
            state[table] = connection.execute(query.encode()).fetchall()
    return state


def test_nothing_is_written_below_the_data_root_or_into_a_postgresql_database(
    tmp_path: Path, postgres: str, reader: str
) -> None:
    """A role with SELECT alone is enough, and not a row, lock mark or table is another one afterwards."""
    rows, root = pipeline_rows(), tmp_path / "data"
    pipeline_files(root, rows)
    fill_pipeline(postgres, rows)
    with read_only(root):
        before = survey(root), contents_of(postgres)
        with serving(tmp_path, pipeline_settings(reader, root), **FREQUENT) as server:
            live_through_all(server)
        assert (survey(root), contents_of(postgres)) == before


# --- PostgreSQL dies --------------------------------------------------------------------------------


def unreachable(server: Serving) -> dict[str, Any]:
    """What /healthz says once it has noticed that the database is not there."""
    health = until(lambda: h if not (h := server.health())["database"]["reachable"] else None, "it notices")
    assert health["status"] == "degraded"
    assert health["database"]["error"]
    assert any("database" in problem.lower() for problem in health["problems"]), health["problems"]
    return health


def test_a_killed_postgresql_costs_no_answer_and_comes_back(
    tmp_path: Path, postgres_cluster: Cluster, postgres: str, reader: str
) -> None:
    """Its last known rows stay in force, /healthz names it without a password, then all is caught up on."""
    rows, root = pipeline_rows(), tmp_path / "data"
    pipeline_files(root, rows)
    fill_pipeline(postgres, rows)
    settings = pipeline_settings(reader, root)
    with serving(tmp_path, settings) as server:
        server.ready()
        settle(server.client, Model(settings, rows, root))
        postgres_cluster.kill()
        health = unreachable(server)
        assert PASSWORD not in json.dumps(health)
        assert not compare(server.client, Model(settings, rows, root))
        assert server.get("/status/a").headers["x-index-state"] == "degraded"
        postgres_cluster.start()
        late = {"job_id": "late", "phase": "matching", "created_at": datetime(2025, 8, 23, 9, 0, 0)}
        with psycopg.connect(postgres) as connection:
            insert(lambda sql, values: connection.execute(sql.encode(), values), {"jobs": [late]}, "%s")
        rows["jobs"].append(late)
        settle(server.client, Model(settings, rows, root), seconds=30)
        until(lambda: server.health()["status"] == "ok", "it is well again")
        assert server.get("/status/late").headers["x-index-state"] == "complete"
    assert PASSWORD not in server.log


def further_frame(path: Path, rows: Rows, root: Path, number: int) -> None:
    """A frame with its files and its row, while a mask that a row names goes."""
    at = datetime(2025, 8, 23, 8, number, 0)
    row = pipeline_frame("v1", number, at)
    pipeline_files(root, {"product_images": [], "video_frames": [row]})
    with contextlib.closing(sqlite3.connect(path)) as connection:
        insert(connection.execute, {"video_frames": [sqlite_row(row)]}, "?")
        connection.commit()
    rows["video_frames"].append(row)
    (root / f"masks_product/video_frames/v2_frame_{number - 3:06}.png").unlink()


def test_a_killed_scanner_and_a_killed_server_cost_no_answer(tmp_path: Path) -> None:
    """What was known still answers; what changed meanwhile is found by whoever comes in their place."""
    rows, root, path = pipeline_rows(), tmp_path / "data", tmp_path / "pipeline.db"
    pipeline_files(root, rows)
    fill_sqlite(path, rows, "WAL")
    settings = pipeline_settings(f"sqlite:///{path}", root)
    with serving(tmp_path, settings) as server:
        server.ready()
        settle(server.client, Model(settings, rows, root))
        killed = server.scanner()
        send(killed, signal.SIGKILL)
        assert not compare(server.client, Model(settings, rows, root))
        further_frame(path, rows, root, 5)
        until(lambda: server.children("scanner.service") not in ([], [killed]), "another scanner")
        settle(server.client, Model(settings, rows, root))
        until(lambda: server.health()["status"] == "ok", "it is well again")
        left = server.scanner()
        send(server.process.pid, signal.SIGKILL)
        server.process.wait()
        further_frame(path, rows, root, 6)
        until(lambda: not alive(left), "its scanner ends")
        server.client.close()
        server.start()
        server.ready()
        settle(server.client, Model(settings, rows, root))
        assert server.get("/features/video-frames/v1_frame_000006").json()["has_segment"]
        assert not server.get("/features/video-frames/v2_frame_000003").json()["has_segment"]


def test_a_postgresql_that_is_down_at_start_keeps_no_file_from_being_indexed(
    tmp_path: Path, postgres_cluster: Cluster, postgres: str, reader: str
) -> None:
    """The disk is read meanwhile; what is not found is 503 until the database has been read."""
    rows, root = pipeline_rows(), tmp_path / "data"
    pipeline_files(root, rows)
    fill_pipeline(postgres, rows)
    settings = pipeline_settings(reader, root)
    postgres_cluster.stop()
    with serving(tmp_path, settings) as server:
        asset = "/features/video-frames/v1_frame_000002"
        reply = until(lambda: r if (r := server.get(asset)).status == 200 else None, "the disk is indexed")
        assert reply.json()["has_segment"] is True
        until(lambda: server.health()["scan"]["last_completed_at"], "the disk is read in full")
        until(lambda: server.health()["index"]["assets"] == 15, "every image is an asset")
        assert unreachable(server)["ready"] is False
        not_yet(server)
        postgres_cluster.start()
        server.ready()
        settle(server.client, Model(settings, rows, root), seconds=30)
        assert server.get("/status/nope").status == 404
        assert server.get("/status/a").headers["x-index-state"] == "complete"
    assert PASSWORD not in server.log


@pytest.mark.parametrize(
    ("missing", "named"), [("everything", "none of the tables"), ("videos", "no table videos")]
)
def test_a_database_without_its_tables_is_degraded_until_they_come(
    tmp_path: Path, missing: str, named: str
) -> None:
    """As at the start of a pipeline that has yet to create them; the disk is served meanwhile."""
    path = tmp_path / "pipeline.db"
    make_database(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        tables = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
        gone = list(tables) if missing == "everything" else [missing]
        for table in gone:
            database.execute(f'DROP TABLE "{table}"')
        put(tmp_path / "data", "frames/v/1.jpg")
        environment = {"SIDECAR_DATABASE__URL": f"sqlite:///{path}", "SIDECAR_DATABASE__POLL_SECONDS": "0.2"}
        with Serving(tmp_path, environment) as server:
            server.ready()
            health = server.health()
            assert health["status"] == "degraded"
            assert any(line.startswith("database: ") and named in line for line in health["problems"])
            assert server.get("/jobs").headers["x-index-state"] == "degraded"
            assert server.get("/features/video-frames/v_frame_1").status == 200
            for table in gone:
                database.execute(tables[table])
            until(lambda: server.health()["status"] == "ok", "the tables are found")
            assert server.get("/jobs").headers["x-index-state"] == "complete"


def not_yet(server: Serving) -> None:
    """What may be in the database is not denied."""
    for target in ("/readyz", "/status/a", "/jobs/a/videos", "/features/video-frames/nope"):
        reply = server.get(target)
        assert (reply.status, reply.headers.get("retry-after")) == (503, "1"), (target, reply)
    for target in ("/jobs", "/features/video-frames/v1_frame_000002"):
        reply = server.get(target)
        assert (reply.status, reply.headers["x-index-state"]) == (200, "degraded"), (target, reply)


# --- names that no pipeline should have written -----------------------------------------------------

ODD = (
    "new\nline",
    "'single'",
    '"double"',
    "back\\slash",
    "a b",
    "percent%2F",
    "semi;colon",
    "émoji😀",
    "-rf",
    "\x7f",
)


def odd_tree(root: Path) -> None:
    """Images of every odd name; and what is called like an image or an artifact without being a file."""
    for name in ODD:
        put(root, f"frames/v/{name}.jpg")
        put(root, f"frames/{name}/000001.jpg")
        put(root, f"frames/v/{name}/seg.png")
        put(root, f"products/p/{name}.png")
    place = os.fsencode(root / "frames" / "v")
    for raw in (b"\xff\xfe.jpg", b"caf\xe9.png", b"\x80"):
        Path(os.fsdecode(place + b"/" + raw)).write_bytes(b"not empty")
    undecodable = Path(os.fsdecode(os.fsencode(root) + b"/frames/v\xff"))
    undecodable.mkdir()
    (undecodable / "000001.jpg").write_bytes(b"not empty")
    put(root, "frames/v/000001.jpg/000001.jpg")
    (root / "frames/v/000002").mkdir()
    (root / "frames/v/000002/seg.png").mkdir()
    put(root, "frames/v/000002.jpg")
    os.mkfifo(root / "frames/v/000003.jpg")
    os.mkfifo(root / "frames/v/000002/kp.bin")
    os.mknod(root / "products/p/socket.jpg", stat.S_IFSOCK | 0o666)


def odd_rows() -> Rows:
    """Rows that name odd files, and files that are none."""
    names = [*ODD, "000001", "000003"]
    return {
        "jobs": [{"job_id": "j", "phase": "collection", "updated_at": utc("14:00:00")}],
        "products": [{"product_id": "p", "job_id": "j", "title": "P"}],
        "videos": [{"video_id": video, "job_id": "j"} for video in ("v", *ODD)],
        "video_frames": [
            {"frame_id": f"row {name}", "video_id": "v", "local_path": f"frames/v/{name}.jpg"}
            for name in names
        ],
    }


def test_odd_names_and_things_that_are_no_files_break_no_answer(tmp_path: Path) -> None:
    """Undecodable names are counted, directories, FIFOs and sockets passed over, all else served."""
    root, database = tmp_path / "data", tmp_path / "pipeline.db"
    odd_tree(root)
    sqlite_with(database, odd_rows())
    settings = {"database": {"url": f"sqlite:///{database}", **QUICK}, "verify": {"grace_seconds": 0.3}}
    with serving(tmp_path, settings) as server:
        server.ready()
        model = Model(settings, rows_of_sqlite(database), root)
        settle(server.client, model, findings=True)
        assert server.health()["skipped_names"] == 4
        odd_answers(server)
        late = Path(os.fsdecode(os.fsencode(root / "frames" / "v") + b"/late\xff.jpg"))
        late.write_bytes(b"not empty")
        put(root, "frames/v/late\n.jpg")
        until(lambda: server.health()["skipped_names"] == 5, "a further name is counted")
        settle(server.client, Model(settings, rows_of_sqlite(database), root), findings=True)
        late.unlink()
        until(lambda: server.health()["skipped_names"] == 4, "a name that has gone is not counted")


def odd_answers(server: Serving) -> None:
    """Their bytes are served, what is no file is not there, and every format of the findings holds."""
    for name in ODD:
        assert server.get(f"/files/frames/v/{quote(name)}.jpg").raw == b"not empty"
    absent = ("000001.jpg", "000003.jpg", "000002/seg.png", "000002/kp.bin", "%FF%FE.jpg")
    for path in (*(f"frames/v/{name}" for name in absent), "products/p/socket.jpg", "frames/v"):
        assert server.get(f"/files/{path}").status == 404, path
    lines = server.get("/verification/findings?format=ndjson").raw.splitlines()
    total = server.get("/verification").json()["total"]
    assert total == len([json.loads(line) for line in lines]) > 0
    assert server.get("/verification/findings?format=csv").status == 200
    names = {"job_id": "j", "video_id": quote(ODD[0]), "img_id": "x", "frame_id": "x", "path": "x"}
    every_request(server, names, [f"frames/v/{quote(name)}.jpg" for name in ODD])

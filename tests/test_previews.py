"""Previews are made of indexed files, in processes of their own, and no file can break the server."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_files import TRAVERSALS
from waiting import until
from webfake import Answer, Web, serving

from scanner.records import Feature
from web import files, rendering
from web.previews import ReplyCache
from web.renderjobs import Job, Reply
from web.renderpool import AT_ONCE

ROUTES = ("thumbnails", "overlays", "artifacts")
SECRET = b"root:x:0:0"


@dataclass
class Tree:
    """A data root with a secret beside it, and a server on top."""

    root: Path
    web: Web

    def put(self, name: str, content: bytes, feature: Feature = Feature.IMAGE) -> str:
        """Write a file that the index knows; returns its path."""
        path = self.root / "frames" / "v" / name
        path.write_bytes(content)
        self.web.queries.files.add(f"frames/v/{name}")
        self.web.queries.features[f"frames/v/{name}"] = feature
        return f"frames/v/{name}"

    def get(self, route: str, path: str, query: str = "", **headers: str) -> Answer:
        return self.web.get(f"/{route}/{path}{query}", **headers)

    def picture(self, route: str, path: str, query: str = "") -> Image.Image:
        answer = self.get(route, path, query)
        assert answer.status == 200, answer.body
        image = Image.open(io.BytesIO(answer.body))
        image.load()
        assert answer.headers["Content-Type"] == f"image/{str(image.format).lower()}"
        return image

    def content(self, path: str) -> Any:
        answer = self.get("artifacts", path)
        assert answer.status == 200, answer.body
        return answer.json["content"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    base = tmp_path_factory.mktemp("previews")
    (base / "secret").write_bytes(SECRET)
    (base / "data" / "frames" / "v").mkdir(parents=True)
    with serving(str(base / "data")) as web:
        made = Tree(base / "data", web)
        warm(made)
        yield made


def warm(tree: Tree) -> None:
    """Have every process started, so that none is new when a test ends."""
    path = tree.put("warm.png", encoded(Image.new("RGB", (1500, 1500)), "PNG"))
    pids = tree.web.application.renderer.pids

    def ask(size: int) -> int:
        return tree.get("thumbnails", path, f"?size={size}").status

    with ThreadPoolExecutor(8) as threads:
        sizes = iter(range(16, 2048))
        while len(pids()) < AT_ONCE:
            assert set(threads.map(ask, [next(sizes) for _ in range(8)])) == {200}


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def npy(values: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def is_problem(answer: Answer, status: int) -> bool:
    assert answer.status == status, (answer.status, answer.body[:200])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert SECRET not in answer.body
    return True


def halves(mode: str = "RGB", size: tuple[int, int] = (400, 200)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (220, 30, 30))
    image.paste((30, 30, 220), (size[0] // 2, 0, *size))
    return image if mode == "RGB" else image.convert(mode)


# --- thumbnails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "size"), [("", (320, 160)), ("?size=100", (100, 50)), ("?size=2048", (400, 200))]
)
def test_a_thumbnail_has_the_size_asked_for_and_is_never_enlarged(tree: Tree, query: str, size: Any) -> None:
    image = tree.picture("thumbnails", tree.put("halves.jpg", encoded(halves(), "JPEG")), query)
    assert image.size == size
    left, right = image.getpixel((5, 20)), image.getpixel((size[0] - 5, 20))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 150 > left[2]
    assert right[2] > 150 > right[0]


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("PNG", "1"), ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "I;16"),
        ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "F"), ("TIFF", "I"),
        ("TIFF", "YCbCr"), ("WEBP", "RGBA"), ("JPEG2000", "RGB"), ("PPM", "RGB"),
    ],
)  # fmt: skip
def test_every_kind_of_picture_has_a_thumbnail(tree: Tree, format: str, mode: str) -> None:
    source = halves("I" if mode == "I;16" else mode)
    if mode == "I;16":
        source = Image.fromarray((np.arange(400 * 200).reshape(200, 400) % 60000).astype(np.uint16))
    path = tree.put(f"kind-{format}-{mode.replace(';', '')}", encoded(source, format))
    image = tree.picture("thumbnails", path, "?size=80")
    assert image.size == (80, 40)
    low, high = image.convert("L").getextrema()
    assert low != high


def test_a_large_picture_of_numbers_has_a_thumbnail_too(tree: Tree) -> None:
    values = np.linspace(0, 60000, 7000, dtype=np.uint16)[:, None].repeat(7000, 1)
    image = tree.picture("thumbnails", tree.put("deep.png", encoded(Image.fromarray(values), "PNG")))
    assert image.size == (320, 320)
    low, high = image.getextrema()
    assert isinstance(low, int)
    assert low < 10
    assert high > 245


def test_transparency_stays(tree: Tree) -> None:
    source = halves("RGBA")
    source.putalpha(Image.linear_gradient("L").resize(source.size))
    image = tree.picture("thumbnails", tree.put("clear.png", encoded(source, "PNG")))
    assert image.mode == "RGBA"
    assert image.getchannel("A").getextrema()[0] < 30


def test_a_thumbnail_is_turned_as_its_metadata_say(tree: Tree) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tree.put("turned.jpg", encoded(halves(), "JPEG", exif=exif))
    assert tree.picture("thumbnails", path).size == (160, 320)
    assert tree.content(path)["picture"] == {"width": 400, "height": 200, "mode": "RGB", "turned": True}


def test_a_client_that_has_it_gets_304_until_the_file_changes(tree: Tree) -> None:
    for route in ("thumbnails", "overlays"):
        path = tree.put("tagged.png", encoded(halves("L"), "PNG"))
        first = tree.get(route, path)
        again = tree.get(route, path, If_None_Match=first.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert first.headers["X-Content-Type-Options"] == "nosniff"
        assert first.headers["Cache-Control"] == "no-cache"
        tree.put("tagged.png", encoded(halves("L", (300, 300)), "PNG"))
        changed = tree.get(route, path, If_None_Match=first.headers["ETag"])
        assert changed.status == 200
        assert changed.body != first.body


def test_thumbnails_of_two_sizes_have_two_tags(tree: Tree) -> None:
    path = tree.put("sizes.png", encoded(halves(), "PNG"))
    tags = {tree.get("thumbnails", path, f"?size={size}").headers["ETag"] for size in (50, 60)}
    assert len(tags) == 2


def test_head_has_the_headers_and_no_body(tree: Tree) -> None:
    path = tree.put("head.png", encoded(halves(), "PNG"))
    get, head = tree.get("thumbnails", path), tree.web.request("HEAD", f"/thumbnails/{path}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("size", ["0", "15", "2049", "-1", "x", "1e2", "9" * 5000, "%ff"])
def test_a_size_that_cannot_be_used_is_400(tree: Tree, size: str) -> None:
    path = tree.put("size.png", encoded(halves(), "PNG"))
    answer = tree.get("thumbnails", path, f"?size={size}")
    assert is_problem(answer, 400)
    assert answer.json["errors"][0]["parameter"] == "size"


def test_what_was_made_once_is_not_made_again(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree.put("once.png", encoded(halves(), "PNG"))
    first = tree.get("thumbnails", path)

    async def never(*args: Any) -> Reply:
        raise AssertionError("made again")

    monkeypatch.setattr(tree.web.application.renderer, "make", never)
    assert tree.get("thumbnails", path).body == first.body


def test_the_cache_holds_what_was_used_last_within_its_bound() -> None:
    cache = ReplyCache(100_000)
    keys = [(Job("thumbnail", size), "a", "tag") for size in range(30)]
    for key in keys:
        cache.put(key, Reply("image/png", bytes(8000)))
        assert cache.get(keys[0]) is not None or key != keys[0]
        cache.get(keys[0])
    assert cache.size <= 100_000
    assert cache.get(keys[0]) is not None
    assert cache.get(keys[1]) is None
    cache.put((Job("overlay"), "b", "tag"), Reply("image/png", bytes(50_000)))
    assert cache.get((Job("overlay"), "b", "tag")) is None


def test_the_cache_forgets_a_failure_after_a_while() -> None:
    now = [100.0]
    cache = ReplyCache(100_000, lambda: now[0])
    key = (Job("overlay"), "a", "tag")
    cache.put(key, Reply(refused="it took too long"), 60)
    now[0] = 159
    assert cache.get(key) == Reply(refused="it took too long")
    now[0] = 161
    assert cache.get(key) is None
    assert cache.size == 0


# --- overlays --------------------------------------------------------------------------------------


def covered(image: Image.Image) -> Any:
    """The alpha of an overlay, as an array."""
    return np.asarray(image.convert("RGBA"))[:, :, 3]


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_of_two_values_covers_where_it_is_not_0(tree: Tree, value: int) -> None:
    values = np.zeros((60, 90), np.uint8)
    values[10:30, 20:60] = value
    image = tree.picture(
        "overlays", tree.put("mask.png", encoded(Image.fromarray(values), "PNG"), Feature.SEGMENT)
    )
    assert image.size == (90, 60)
    assert ((covered(image) > 0) == (values > 0)).all()


def test_classes_have_a_colour_each(tree: Tree) -> None:
    values = np.zeros((60, 90), np.uint8)
    values[10:30], values[30:50] = 1, 7
    for content in (
        encoded(Image.fromarray(values), "PNG"),
        npy(values),
        npy(values[:, :, None].repeat(3, 2)),
    ):
        image = tree.picture("overlays", tree.put("classes", content, Feature.SEGMENT)).convert("RGBA")
        assert image.getpixel((45, 20)) != image.getpixel((45, 40))
        assert ((covered(image) > 0) == (values > 0)).all()


def test_a_soft_mask_covers_as_much_as_it_says(tree: Tree) -> None:
    gradient = Image.linear_gradient("L")
    image = tree.picture("overlays", tree.put("soft.png", encoded(gradient, "PNG"), Feature.SEGMENT))
    assert (covered(image) == np.asarray(gradient)).all()
    floats = npy(np.linspace(0, 1, 4000, dtype=np.float32).reshape(40, 100))
    alpha = covered(tree.picture("overlays", tree.put("soft.npy", floats, Feature.SEGMENT)))
    assert alpha[0, 0] == 0
    assert alpha[-1, -1] == 255


def test_a_mask_may_be_the_alpha_of_a_picture_or_true_and_false(tree: Tree) -> None:
    cut = halves("RGBA")
    cut.putalpha(Image.new("L", cut.size, 0))
    cut.paste((1, 2, 3, 255), (100, 50, 200, 150))
    alpha = covered(tree.picture("overlays", tree.put("cut.png", encoded(cut, "PNG"), Feature.SEGMENT)))
    assert (int((alpha > 0).sum()), alpha[100, 150] > 0) == (100 * 100, True)
    truth = np.zeros((20, 30), bool)
    truth[5:9, 3:7] = True
    alpha = covered(tree.picture("overlays", tree.put("truth.npy", npy(truth), Feature.SEGMENT)))
    assert ((alpha > 0) == truth).all()


def test_a_large_mask_is_made_smaller(tree: Tree) -> None:
    mask = encoded(Image.new("L", (5000, 3000), 255), "PNG")
    assert tree.picture("overlays", tree.put("large.png", mask, Feature.SEGMENT)).size == (2048, 1229)
    array = npy(np.ones((3000, 5000), np.uint8))
    assert max(tree.picture("overlays", tree.put("large.npy", array, Feature.SEGMENT)).size) <= 2048


# --- figures ---------------------------------------------------------------------------------------


def test_an_embedding_in_figures(tree: Tree) -> None:
    values = np.linspace(-1, 2, 512, dtype="<f4")
    for content, format in ((values.tobytes(), "raw"), (npy(values), "npy"), (npy(values[None]), "npy")):
        found = tree.content(tree.put("emb.bin", content, Feature.EMBEDDING))
        figures = found["array"]
        assert (found["format"], found["note"], figures["not_finite"], figures["step"]) == (
            format,
            None,
            0,
            1,
        )
        assert figures["values"] == values.tolist()
        assert figures["norm"] == pytest.approx(float(np.linalg.norm(values.astype(float))))
        assert (figures["min"], figures["max"]) == (-1, 2)


def test_many_values_are_put_together(tree: Tree) -> None:
    values = np.arange(5000, dtype="<f4")
    figures = tree.content(tree.put("many.bin", values.tobytes(), Feature.EMBEDDING))["array"]
    assert figures["step"] == 10
    assert len(figures["values"]) == 500
    assert figures["values"][:2] == [4.5, 14.5]


def test_what_is_not_finite_is_null_and_counted(tree: Tree) -> None:
    values = np.array([1, np.nan, -3, np.inf], "<f4")
    found = tree.content(tree.put("nan.bin", values.tobytes() + b"xyz", Feature.EMBEDDING))
    assert found["array"]["values"] == [1, None, -3, None]
    assert (found["array"]["not_finite"], found["array"]["max"]) == (2, 1)
    assert "3 bytes" in found["note"]
    only = tree.content(tree.put("nan.bin", np.full(8, np.nan, "<f4").tobytes(), Feature.EMBEDDING))
    assert (only["array"]["norm"], only["array"]["min"], only["array"]["not_finite"]) == (None, None, 8)


def test_keypoints_are_rows_and_bounded(tree: Tree) -> None:
    rows = np.arange(9000, dtype="<f4").reshape(3000, 3)
    for content in (rows.tobytes(), npy(rows), npy(np.asfortranarray(rows))):
        points = tree.content(tree.put("kp.bin", content, Feature.KEYPOINTS))["points"]
        assert points["total"] == 3000
        assert len(points["rows"]) == 2000
        assert points["rows"][1] == [3, 4, 5]
    wide = tree.content(tree.put("kp.npy", npy(np.zeros((4, 500))), Feature.KEYPOINTS))["points"]
    assert {len(row) for row in wide["rows"]} == {8}


def test_an_archive_shows_its_members_and_the_one_that_is_meant(tree: Tree) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, scores=np.ones(7), keypoints=np.array([[1.0, 2.0], [3.0, 4.0]]), names=np.array(["a"]))
    found = tree.content(tree.put("kp.npz", buffer.getvalue(), Feature.KEYPOINTS))
    assert found["format"] == "npz"
    assert [member["name"] for member in found["members"]] == ["scores.npy", "keypoints.npy", "names.npy"]
    assert found["points"] == {"total": 2, "rows": [[1, 2], [3, 4]]}


class Payload:
    """What, once unpickled, would write a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.path,))


def test_a_pickle_is_never_loaded(tree: Tree, tmp_path: Path) -> None:
    trap = str(tmp_path / "trap")
    objects = np.array([Payload(trap), None], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, keypoints=objects)
    for content in (npy(objects, allow_pickle=True), buffer.getvalue()):
        for feature in (Feature.SEGMENT, Feature.EMBEDDING, Feature.KEYPOINTS):
            path = tree.put("objects", content, feature)
            for route in ROUTES:
                assert tree.get(route, path).status in (200, 422)
    assert not os.path.exists(trap)


# --- hostile files ---------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """An archive of a few kilobytes that unpacks to a gigabyte."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)}
        )
        member.write(head.getvalue())
        zeros = bytes(1 << 20)
        for _ in range(256):
            member.write(zeros)
    return buffer.getvalue()


def claiming(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


BOMB = bomb()
HOSTILE = {
    "bomb.png": png_of(30_000, 30_000),
    "wide.png": png_of(2**31 - 1, 1),
    "cut.png": png_of(2000, 2000),
    "cut.jpg": encoded(halves(), "JPEG")[:900],
    "zeros": bytes(5000),
    "text": b"<svg onload=alert(1)>",
    "one": b"\0",
    "magic.jpg": b"\xff\xd8\xff",
    "magic.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "magic.tif": b"II*\0\x08\0\0\0\xff\xff",
    "magic.avif": b"\0\0\0\x1cftypavif" + bytes(40),
    "heic": b"\0\0\0\x18ftypheic" + bytes(40),
    "magic.gif": b"GIF89a\xff\xff\xff\xff\xf7\0\0",
    "huge.npy": claiming("(1000000, 1000000, 1000)"),
    "negative.npy": claiming("(-5,)"),
    "odd.npy": claiming("(3, 'x')"),
    "void.npy": claiming("(3,)", "|V16"),
    "complex.npy": claiming("(3,)", "<c8"),
    "many.npy": claiming("(" + "1, " * 70 + ")"),
    "empty.npy": claiming("(0, 5)"),
    "half.npy": claiming("(100,)"),
    "nest.npy": b"\x93NUMPY\x01\x00\xff\x1f" + b"(" * 8191,
    "bomb.npz": BOMB,
    "cut.npz": BOMB[:3000],
    "end.npz": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("feature", list(Feature))
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_or_described_and_nothing_else(
    tree: Tree, name: str, feature: Feature
) -> None:
    path = tree.put(name, HOSTILE[name], feature)
    for route in ROUTES:
        answer = tree.get(route, path)
        if answer.status == 200:
            assert route == "artifacts" or name in ("empty.npy", "half.npy", "cut.png"), name
        else:
            assert is_problem(answer, 422)
            assert str(tree.root).encode() not in answer.body


def test_a_file_that_is_damaged_anywhere_never_breaks_the_server(tree: Tree) -> None:
    chance = random.Random(5)
    whole = [
        encoded(halves(size=(64, 48)), format)
        for format in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
    ]
    whole += [npy(np.zeros((6, 3), "<f4")), npy(np.zeros((20, 30), np.uint8))]
    for number in range(120):
        content = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 12)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        path = tree.put("damaged", bytes(content) or b"x", chance.choice(list(Feature)))
        os.utime(tree.root / path, ns=(number, number))
        for route in ROUTES:
            answer = tree.get(route, path)
            assert answer.status in (200, 422), (number, route, answer.body)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tree: Tree) -> None:
    assert rendering.MAX_PIXELS < 8000 * 8000
    path = tree.put("pixels.png", encoded(Image.new("1", (8000, 8000)), "PNG"))
    answer = tree.get("thumbnails", path)
    assert is_problem(answer, 422)
    assert "8000x8000" in answer.json["detail"]


# --- nothing else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TRAVERSALS)
def test_what_is_not_indexed_is_404(tree: Tree, path: str) -> None:
    for route in ROUTES:
        assert is_problem(tree.get(route, path), 404)


def test_what_leads_away_or_is_no_file_is_404(tree: Tree) -> None:
    folder = tree.root / "frames" / "v"
    (folder / "out.png").symlink_to("../../../secret")
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "empty.png").touch()
    (folder / "dir.png").mkdir()
    os.mkfifo(folder / "fifo.png")
    (tree.root / "frames" / "link").symlink_to("..")
    names = [f"frames/v/{name}.png" for name in ("out", "null", "loop", "empty", "dir", "fifo", "gone")]
    for path in [*names, "frames/link/frames/v/out.png", "../secret"]:
        tree.web.queries.files.add(path)
        for route in ROUTES:
            assert is_problem(tree.get(route, path), 404)


def test_all_of_it_is_off_with_files(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded(halves(), "PNG"))
    with serving(str(tmp_path), files=False) as web:
        web.queries.files = {"1.png"}
        for route in ROUTES:
            assert is_problem(web.get(f"/{route}/1.png"), 404)


def test_a_file_that_cannot_be_read_is_503(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree.put("eio.png", encoded(halves(), "PNG"))

    async def fail(root: str, path: str) -> Any:
        raise OSError(5, "Input/output error", root)

    monkeypatch.setattr(files, "open_in_thread", fail)
    for route in ROUTES:
        answer = tree.get(route, path)
        assert is_problem(answer, 503)
        assert str(tree.root).encode() not in answer.body


# --- processes -------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Tree]:
    """A server of its own, for a test that ends its processes."""
    (tmp_path / "frames" / "v").mkdir(parents=True)
    with serving(str(tmp_path)) as web:
        yield Tree(tmp_path, web)


def test_there_are_never_more_processes_than_allowed(own: Tree) -> None:
    path = own.put("busy.png", encoded(Image.effect_noise((1200, 1200), 90), "PNG"))
    with ThreadPoolExecutor(12) as threads:
        answers = list(
            threads.map(lambda size: own.get("thumbnails", path, f"?size={size}"), range(200, 230))
        )
    assert {answer.status for answer in answers} == {200}
    assert 1 <= len(own.web.application.renderer.pids()) <= AT_ONCE


def test_a_process_that_dies_costs_one_preview(own: Tree) -> None:
    path = own.put("kill.png", encoded(halves(), "PNG"))
    assert own.get("thumbnails", path).status == 200
    pool = own.web.application.renderer
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(own.get("thumbnails", path, "?size=50")))
    asking.start()
    until(lambda: pool._waiting == 1, "it is asked")
    os.kill(pid, signal.SIGKILL)
    asking.join(30)
    assert is_problem(answers[0], 422)
    assert own.get("thumbnails", path, "?size=51").status == 200
    assert pid not in pool.pids()


def test_one_that_takes_too_long_is_ended(own: Tree) -> None:
    path = own.put("slow.png", encoded(halves(), "PNG"))
    assert own.get("thumbnails", path).status == 200
    pool = own.web.application.renderer
    pool._seconds = 0.3
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    answer = own.get("thumbnails", path, "?size=50")
    assert is_problem(answer, 422)
    assert "longer" in answer.json["detail"]
    assert pid not in pool.pids()


def test_a_client_that_goes_away_leaves_nothing_open(own: Tree) -> None:
    path = own.put("gone.png", encoded(Image.effect_noise((1500, 1500), 90), "PNG"))
    assert own.get("thumbnails", path).status == 200
    for size in range(100, 140):
        with socket.create_connection(("127.0.0.1", own.web.port), timeout=30) as client:
            client.sendall(f"GET /thumbnails/{path}?size={size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    pool = own.web.application.renderer
    until(lambda: pool._waiting == 0, "nothing waits")
    until(
        lambda: not [fd for fd in Path("/proc/self/fd").iterdir() if _leads_to(fd, "gone.png")],
        "files are closed",
    )


def _leads_to(fd: Path, name: str) -> bool:
    try:
        return os.readlink(fd).endswith(name)
    except FileNotFoundError:
        return False


def test_answers_stay_quick_while_previews_are_made(own: Tree) -> None:
    path = own.put("long.png", encoded(Image.effect_noise((2500, 2500), 90), "PNG"))
    with ThreadPoolExecutor(6) as threads:
        making = [threads.submit(own.get, "thumbnails", path, f"?size={size}") for size in range(1000, 1006)]
        slowest = 0.0
        while not all(each.done() for each in making):
            begun = time.perf_counter()
            assert own.web.get("/status/j_123").status == 200
            slowest = max(slowest, time.perf_counter() - begun)
        assert {each.result().status for each in making} == {200}
    assert 0 < slowest < 1.0


def test_the_figures_are_json_that_browsers_read(tree: Tree) -> None:
    path = tree.put("strict.bin", np.array([np.nan, np.inf], "<f4").tobytes(), Feature.EMBEDDING)

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    json.loads(tree.get("artifacts", path).body, parse_constant=refuse)

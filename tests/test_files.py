"""/files serves the bytes of indexed files, whole or in part, and leads nowhere else."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webfake import Answer, Web, serving

from web import files
from web.files import Span, content_type, open_file, parse_range
from web.problems import Problem

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
BIG = os.urandom(3 * files.CHUNK + 12345)
SECRET = b"root:x:0:0"


@dataclass
class Tree:
    """A data root with a secret beside it, and a server on top."""

    root: Path
    web: Web

    def get(self, path: str, **headers: str) -> Answer:
        return self.web.get(f"/files/{path}", **headers)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    root = tmp_path / "data"
    folder = root / "frames" / "v"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(JPEG)
    (folder / "big.bin").write_bytes(BIG)
    (tmp_path / "secret").write_bytes(SECRET)
    with serving(str(root)) as web:
        web.queries.files = {"frames/v/1.jpg", "frames/v/big.bin"}
        yield Tree(root, web)


def is_problem(answer: Answer, status: int) -> bool:
    assert answer.status == status, answer.body[:100]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert SECRET not in answer.body
    return True


# --- serving ---------------------------------------------------------------------------------------


def test_a_file_is_served_with_its_type_and_tag(tree: Tree) -> None:
    answer = tree.get("frames/v/1.jpg")
    assert (answer.status, answer.body) == (200, JPEG)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_large_file_arrives_whole(tree: Tree) -> None:
    answer = tree.get("frames/v/big.bin")
    assert answer.body == BIG
    assert answer.headers["Content-Length"] == str(len(BIG))
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_a_path_is_percent_decoded_also_its_slashes(tree: Tree) -> None:
    name = "ü %2F?#&+'\"\n.jpg"
    (tree.root / "frames/v" / name).write_bytes(JPEG)
    tree.web.queries.files.add(f"frames/v/{name}")
    assert tree.get("frames/v/%C3%BC%20%252F%3F%23%26+%27%22%0A.jpg").body == JPEG
    assert tree.get("frames%2Fv%2f1.jpg").body == JPEG


def test_head_has_the_headers_of_get(tree: Tree) -> None:
    for path in ("frames/v/1.jpg", "frames/v/big.bin"):
        head = tree.web.request("HEAD", f"/files/{path}", {"Range": "bytes=0-1"})
        get = tree.get(path)
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag"):
            assert head.headers[name] == get.headers[name]


def test_a_client_that_has_the_file_gets_304(tree: Tree) -> None:
    etag = tree.get("frames/v/1.jpg").headers["ETag"]
    for header in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = tree.get("frames/v/1.jpg", If_None_Match=header)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)


def test_a_file_that_changed_has_another_tag(tree: Tree) -> None:
    path = tree.root / "frames/v/1.jpg"
    first = tree.get("frames/v/1.jpg").headers["ETag"]
    os.utime(path, ns=(1, 1))
    second = tree.get("frames/v/1.jpg").headers["ETag"]
    replacement = tree.root / "frames/v/new"
    replacement.write_bytes(JPEG)
    os.utime(replacement, ns=(1, 1))
    replacement.replace(path)
    assert len({first, second, tree.get("frames/v/1.jpg").headers["ETag"]}) == 3


# --- ranges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-9", 5, 9),
        ("bytes=-7", len(BIG) - 7, len(BIG) - 1),
        (f"bytes=-{10**30}", 0, len(BIG) - 1),
        ("bytes=100-", 100, len(BIG) - 1),
        (f"bytes=100-{10**15}", 100, len(BIG) - 1),
        (f"bytes={files.CHUNK - 3}-{files.CHUNK * 2 + 3}", files.CHUNK - 3, files.CHUNK * 2 + 3),
        ("Bytes = 5 - 9", 5, 9),
    ],
)
def test_a_range_is_sent_as_206(tree: Tree, asked: str, first: int, last: int) -> None:
    answer = tree.get("frames/v/big.bin", Range=asked)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(BIG)}"
    assert answer.body == BIG[first : last + 1]


@pytest.mark.parametrize("asked", [f"bytes={len(BIG)}-", f"bytes={10**15}-{10**16}", "bytes=-0"])
def test_a_range_without_a_byte_is_416(tree: Tree, asked: str) -> None:
    answer = tree.get("frames/v/big.bin", Range=asked)
    assert is_problem(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{len(BIG)}"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=a-b",
        "bytes=-5-",
        "bytes=１-2",
        "x",
    ],
)
def test_a_range_that_cannot_be_read_is_ignored(tree: Tree, asked: str) -> None:
    answer = tree.get("frames/v/1.jpg", Range=asked.encode().decode("latin-1"))
    assert (answer.status, answer.body) == (200, JPEG)


def test_if_range_counts_while_the_tag_is_current(tree: Tree) -> None:
    etag = tree.get("frames/v/1.jpg").headers["ETag"]
    for condition, status in (
        (etag, 206),
        (f"W/{etag}", 200),
        ('"other"', 200),
        ("Tue, 24 Nov 2026 08:00:00 GMT", 200),
    ):
        assert tree.get("frames/v/1.jpg", Range="bytes=0-3", If_Range=condition).status == status


@settings(max_examples=300)
@given(st.integers(1, 1000), st.integers(0, 1200), st.integers(0, 1200))
def test_a_range_stays_within_the_file(size: int, first: int, last: int) -> None:
    try:
        span = parse_range(f"bytes={first}-{last}", size)
    except Problem as problem:
        assert problem.status == 416  # noqa: PT017 - either outcome is right
        assert first >= size
        return
    if span is None:
        assert last < first
    else:
        assert span == Span(first, min(last, size - 1) - first + 1)
        assert span.length >= 1


# --- nothing else ----------------------------------------------------------------------------------

TRAVERSALS = [
    "../secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "%2e%2e%2fsecret",
    "frames/../../secret",
    "frames/v/../../../secret",
    "frames/v/..%5c..%5csecret",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "frames//v/1.jpg",
    "./frames/v/1.jpg",
    "frames/v/./1.jpg",
    "frames/v/1.jpg/",
    "frames/v/1.jpg/.",
    "frames/v/1.jpg%00",
    "frames/v/1.jpg%00.png",
    "frames/v",
    "frames",
    "",
    "%c0%ae%c0%ae/secret",
    "..%c0%afsecret",
    "%252e%252e%252fsecret",
    "frames/v/1.jpg;x",
    "%ff",
    "FRAMES/v/1.jpg",
    "proc/self/environ",
    "x" * 5000,
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_what_is_not_indexed_is_404(tree: Tree, path: str) -> None:
    assert is_problem(tree.get(path), 404)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "frames/../../secret",
        "/etc/passwd",
        "frames/v/../v/1.jpg",
        "frames//v/1.jpg",
        "",
        "a\0b",
        ".",
    ],
)
def test_opening_refuses_what_an_index_should_never_hold(tree: Tree, path: str) -> None:
    assert open_file(str(tree.root), path) is None
    tree.web.queries.files.add(path)
    assert is_problem(tree.get(path.replace("\0", "%00")), 404)


def test_an_indexed_file_that_is_gone_or_empty_is_404(tree: Tree) -> None:
    tree.web.queries.files |= {"frames/v/gone.jpg", "frames/v/empty.jpg", "frames/v/1.jpg/x.jpg"}
    (tree.root / "frames/v/empty.jpg").touch()
    for path in ("gone.jpg", "empty.jpg", "1.jpg/x.jpg"):
        assert is_problem(tree.get(f"frames/v/{path}"), 404)


def test_what_is_no_regular_file_is_404_at_once(tree: Tree) -> None:
    folder = tree.root / "frames/v"
    os.mkfifo(folder / "fifo.jpg")
    (folder / "dir.jpg").mkdir()
    (folder / "null.jpg").symlink_to("/dev/null")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(folder / "sock.jpg"))
    try:
        for name in ("fifo.jpg", "dir.jpg", "null.jpg", "sock.jpg"):
            tree.web.queries.files.add(f"frames/v/{name}")
            assert is_problem(tree.get(f"frames/v/{name}"), 404)
    finally:
        listener.close()


def test_a_file_link_counts_if_it_points_below_the_data_root(tree: Tree) -> None:
    folder = tree.root / "frames/v"
    (folder / "in.jpg").symlink_to("1.jpg")
    (folder / "absolute.jpg").symlink_to(folder / "1.jpg")
    (folder / "chain.jpg").symlink_to("in.jpg")
    (folder / "out.jpg").symlink_to("../../../secret")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "dangling.jpg").symlink_to("nothing")
    for name in ("in", "absolute", "chain", "out", "loop", "dangling"):
        tree.web.queries.files.add(f"frames/v/{name}.jpg")
    assert [tree.get(f"frames/v/{name}.jpg").body for name in ("in", "absolute", "chain")] == [JPEG] * 3
    for name in ("out", "loop", "dangling"):
        assert is_problem(tree.get(f"frames/v/{name}.jpg"), 404)


def test_a_directory_link_is_not_followed(tree: Tree) -> None:
    (tree.root / "frames/link").symlink_to("v")
    (tree.root / "frames/out").symlink_to("../..")
    tree.web.queries.files |= {"frames/link/1.jpg", "frames/out/secret", "frames/link/../../secret"}
    assert is_problem(tree.get("frames/link/1.jpg"), 404)
    assert is_problem(tree.get("frames/out/secret"), 404)


def test_the_data_root_and_a_root_may_be_links(tree: Tree, tmp_path: Path) -> None:
    elsewhere = tmp_path / "volume"
    elsewhere.mkdir()
    (elsewhere / "a.jpg").write_bytes(JPEG)
    (elsewhere / "link.jpg").symlink_to("a.jpg")
    (elsewhere / "out.jpg").symlink_to("../secret")
    (tree.root / "products").symlink_to(elsewhere)
    root = tmp_path / "mount"
    root.symlink_to(tree.root)
    for path in ("products/a.jpg", "products/link.jpg", "frames/v/1.jpg"):
        opened = open_file(str(root), path)
        assert opened is not None
        os.close(opened.fd)
        assert opened.start == JPEG
    assert open_file(str(root), "products/out.jpg") is None


def test_a_path_swapped_for_links_while_it_is_read_never_leads_out(tree: Tree) -> None:
    """A directory and a file are exchanged for links to the secret as fast as can be, under load."""
    folder, outside = tree.root / "frames/v", tree.root.parent / "outside"
    outside.mkdir()
    (outside / "1.jpg").write_bytes(SECRET)
    stop = threading.Event()

    def swap() -> None:
        away = tree.root / "frames/away"
        while not stop.is_set():
            folder.rename(away)
            folder.symlink_to(outside)
            folder.unlink()
            away.rename(folder)
            (folder / "tmp").symlink_to(outside / "1.jpg")
            (folder / "tmp").replace(folder / "1.jpg")
            (folder / "tmp").write_bytes(JPEG)
            (folder / "tmp").replace(folder / "1.jpg")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: dict[bytes | None, int] = {}
    try:
        for _ in range(1500):
            opened = open_file(str(tree.root), "frames/v/1.jpg")
            start = None if opened is None else opened.start
            if opened is not None:
                os.close(opened.fd)
            seen[start] = seen.get(start, 0) + 1
    finally:
        stop.set()
        swapper.join(30)
    assert SECRET not in seen
    assert seen[JPEG] > 0


def test_a_file_cut_short_while_it_is_sent_is_not_taken_for_a_whole_one(tree: Tree) -> None:
    path = tree.root / "frames/v/huge.bin"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    tree.web.queries.files.add("frames/v/huge.bin")
    with socket.create_connection(("127.0.0.1", tree.web.port), timeout=30) as client:
        client.sendall(b"GET /files/frames/v/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        received = len(client.recv(65536))
        os.truncate(path, 1000)
        while chunk := client.recv(1 << 20):
            received += len(chunk)
    assert received < 200 << 20


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_file_that_cannot_be_read_is_503_without_its_path(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(root: str, path: str) -> Any:
        raise OSError(code, os.strerror(code), str(tree.root / path))

    monkeypatch.setattr(files, "open_file", fail)
    answer = tree.get("frames/v/1.jpg")
    assert is_problem(answer, 503)
    assert str(tree.root).encode() not in answer.body


def test_no_descriptor_stays_open(tree: Tree) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        tree.get("frames/v/1.jpg")
        tree.get("frames/v/big.bin", Range="bytes=5-")
        tree.get("frames/v/big.bin", Range="bytes=99999999-")
        tree.get("frames/v/1.jpg", If_None_Match="*")
        with socket.create_connection(("127.0.0.1", tree.web.port), timeout=30) as client:
            client.sendall(b"GET /files/frames/v/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    deadline = threading.Event()
    for _ in range(3000):
        if len(os.listdir("/proc/self/fd")) <= before:
            return
        deadline.wait(0.01)
    pytest.fail("files stayed open")


def test_files_can_be_turned_off(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(JPEG)
    with serving(str(tmp_path), files=False) as web:
        web.queries.files = {"1.jpg"}
        assert is_problem(web.get("/files/1.jpg"), 404)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"II*\x00", "image/tiff"),
        (b"BM\x10\x00\x00\x00\x00\x00\x00\x00", "image/bmp"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"<svg onload=alert(1)>", "application/octet-stream"),
        (b"<!doctype html>", "application/octet-stream"),
        (b"RIFF\x00\x00\x00\x00WAVE", "application/octet-stream"),
        (b"PK\x03\x04", "application/octet-stream"),
    ],
)
def test_types_are_told_by_the_first_bytes(start: bytes, expected: str) -> None:
    assert content_type(start) == expected

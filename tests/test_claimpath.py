"""Claimed paths: which lie below the data root, by their text alone."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import scanner.claimpath
from scanner.claimpath import ClaimPaths, Form, common_prefix, first_parts


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ("/data/frames/v/1.jpg", "frames/v/1.jpg"),
        ("frames/v/1.jpg", "frames/v/1.jpg"),
        ("1.jpg", "1.jpg"),
        ("/data/1.jpg", "1.jpg"),
        ("./frames//v/./1.jpg", "frames/v/1.jpg"),
        ("//data///frames/1.jpg", "frames/1.jpg"),
        ("/data/frames/1.jpg/", "frames/1.jpg"),
        ("/data/frames/../products/1.jpg", "products/1.jpg"),
        ("/other/../data/1.jpg", "1.jpg"),
        ("/data/../data/1.jpg", "1.jpg"),
        ("../data/1.jpg", "1.jpg"),
        ("/../data/1.jpg", "1.jpg"),
        ("/data/a/..b/...", "a/..b/..."),
        ("/data/gối 😀\n'\"%.jpg", "gối 😀\n'\"%.jpg"),
        ("/data/" + "x" * 300, "x" * 300),
        ("/data", None),
        ("/data/", None),
        ("/data/.", None),
        ("/data/x/..", None),
        (".", None),
        ("", None),
        ("/", None),
        ("..", None),
        ("../1.jpg", None),
        ("frames/../../1.jpg", None),
        ("/data/../1.jpg", None),
        ("/database/1.jpg", None),
        ("/dat", None),
        ("/Data/1.jpg", None),
        ("/app/data/1.jpg", None),
        ("/data/\0.jpg", None),
        ("/data/a\0b/1.jpg", None),
        ("/data/a\0b/../1.jpg", None),
        ("/data/\udcff.jpg", None),
        ("/data/\udcff/1.jpg", None),
    ],
)
def test_a_claim_lies_below_the_data_root_or_outside(claimed: str, expected: str | None) -> None:
    paths = ClaimPaths("/data")
    assert paths.resolve(claimed) == expected
    assert paths.resolve(claimed) == expected, "and again, from memory"


MAP = {
    "/app/data": "/data",
    "/app/data/old/": "/data/new",
    "/one/x.jpg": "/data/y.jpg",
    "/elsewhere": "/mnt",
    "masks": "/data/m",
    "/rel": "sub",
    "/here": "",
    "s3://bucket": "/data/s3",
    "/up": "/data/a/..",
}


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ("/app/data/frames/1.jpg", "frames/1.jpg"),
        ("/app//data/./frames/1.jpg", "frames/1.jpg"),
        ("/app/data", None),
        ("/app/database/1.jpg", None),
        ("/app/data.jpg", None),
        ("/app/data/../1.jpg", None),
        ("/app/data/old/1.jpg", "new/1.jpg"),
        ("/app/data/old", "new"),
        ("/app/data/older/1.jpg", "older/1.jpg"),
        ("/one/x.jpg", "y.jpg"),
        ("/one/z.jpg", None),
        ("/elsewhere/1.jpg", None),
        ("/elsewhere/../data/1.jpg", "1.jpg"),
        ("masks/1.png", "m/1.png"),
        ("./masks/1.png", "m/1.png"),
        ("masks.png", "masks.png"),
        ("/data/masks/1.png", "masks/1.png"),
        ("/rel/1.png", "sub/1.png"),
        ("/here/1.png", "1.png"),
        ("s3://bucket/a/1.png", "s3/a/1.png"),
        ("/up/1.png", "1.png"),
        ("/data/1.jpg", "1.jpg"),
    ],
)
def test_the_longest_prefix_that_ends_with_a_part_is_replaced_first(
    claimed: str, expected: str | None
) -> None:
    paths = ClaimPaths("/data", MAP)
    assert paths.resolve(claimed) == expected
    assert paths.resolve(claimed) == expected, "and again, from memory"


def test_the_map_may_be_pairs_and_its_ends_may_be_the_roots() -> None:
    assert ClaimPaths("/data", [("/", "/data")]).resolve("/frames/1.jpg") == "frames/1.jpg"
    assert ClaimPaths("/data", [("", "/data/rel")]).resolve("frames/1.jpg") == "rel/frames/1.jpg"
    assert ClaimPaths("/data", [("", "/data/rel")]).resolve("/data/1.jpg") == "1.jpg"
    assert ClaimPaths("/data", [("/x", "/data")]).resolve("x") == "x"


def test_the_root_is_taken_lexically_too() -> None:
    assert ClaimPaths("//srv/./a/../data/").resolve("/srv/data/1.jpg") == "1.jpg"
    assert ClaimPaths("/").resolve("/etc/x") == "etc/x"
    assert ClaimPaths("/").resolve("etc/../../x") == "x"
    assert ClaimPaths("/").resolve("/") is None


def test_a_full_memory_is_emptied_and_answers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner.claimpath, "_CACHE_SIZE", 3)
    paths = ClaimPaths("/data", MAP)
    for _ in range(2):
        for n in range(10):
            assert paths.resolve(f"/app/data/{n}/x.jpg") == f"{n}/x.jpg"
            assert paths.resolve(f"/out/{n}/x.jpg") is None
            assert len(paths._folders) <= 3


def oracle(root: str, path_map: dict[str, str], claimed: str) -> str | None:
    """The same question answered by text replacement and posixpath."""
    if "\0" in claimed:
        return None
    plain = _squeezed(claimed)
    fitting = [p for p in path_map if plain == p or plain.startswith(p + "/")]
    if fitting:
        longest = max(fitting, key=len)
        plain = path_map[longest] + plain[len(longest) :]
    full = posixpath.normpath(posixpath.join(root, plain)).replace("//", "/")
    relative = posixpath.relpath(full, root)
    return None if relative == "." or relative.split("/")[0] == ".." else relative


def _squeezed(path: str) -> str:
    """Without ``//`` and ``.``; ``..`` stays."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return "/" * path.startswith("/") + "/".join(parts)


path_text = st.lists(
    st.sampled_from(["", ".", "..", "data", "app", "a", "x.jpg", "..a", "é\n", "\0"]), min_size=1, max_size=6
).flatmap(lambda parts: st.sampled_from(["", "/"]).map(lambda slash: slash + "/".join(parts)))
prefixes = st.sampled_from(["/app", "/app/data", "/a", "a", "a/x.jpg", "data", "/data/a", "/app/../a"])
targets = st.sampled_from(["/data", "/data/a", "/app", "a", "/data/../app", "/"])


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["/data", "/app/data", "/"]),
    st.dictionaries(prefixes, targets, max_size=3),
    st.lists(path_text, min_size=1, max_size=6),
)
@example("/data", {"a/x.jpg": "/data/b"}, ["a/y", "a/x.jpg", "a/x.jpg/c"])
def test_resolving_agrees_with_posixpath(root: str, path_map: dict[str, str], claims: list[str]) -> None:
    paths = ClaimPaths(root, path_map)
    for claimed in claims * 2:
        assert paths.resolve(claimed) == oracle(root, path_map, claimed)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.booleans())
def test_no_text_is_resolved_to_what_lies_above_the_root(text: str, absolute: bool) -> None:
    found = ClaimPaths("/data", {"/data/a": "/data"}).resolve("/data/" * absolute + text)
    if found is not None:
        assert not {"", ".", ".."} & set(found.split("/"))
        assert "\0" not in found
        found.encode()


@pytest.mark.parametrize(
    ("claimed", "count", "expected"),
    [
        ("/app/data/x.jpg", 1, "/app"),
        ("/app/data/x.jpg", 2, "/app/data"),
        ("/app/data/x.jpg", 3, "/app/data"),
        ("/x.jpg", 1, "/"),
        ("frames/v/x.jpg", 1, "frames"),
        ("x.jpg", 1, ""),
        ("", 1, ""),
        ("s3://bucket/a/x.jpg", 3, "s3://bucket"),
    ],
)
def test_the_first_parts_are_directories(claimed: str, count: int, expected: str) -> None:
    assert first_parts(claimed, count) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/app/data/a/1.jpg", "/app/data/b/2.jpg"], "/app/data"),
        (["/app/data/1.jpg", "/app/database/2.jpg"], "/app"),
        (["/app/data/1.jpg"], "/app/data"),
        (["/app/data/1.jpg", "/app/data/1.jpg/2.jpg"], "/app/data"),
        (["/a/1.jpg", "/b/1.jpg"], "/"),
        (["/a/1.jpg", "a/1.jpg"], ""),
        (["a/b/1.jpg", "a/c/1.jpg"], "a"),
        (["1.jpg", "/a/2.jpg"], ""),
        (["/1.jpg"], "/"),
        (["s3://bucket/a/1", "s3://bucket/b/1"], "s3://bucket"),
        ([], ""),
    ],
)
def test_the_common_prefix_is_the_longest_shared_directory(paths: list[str], expected: str) -> None:
    assert common_prefix(paths) == expected
    assert common_prefix(iter(reversed(paths))) == expected


_MAPS = (
    {},
    {"/app": "/data"},
    {"": "/data/rel"},
    {"/": "/data"},
    {"/data": "/data/x", "/data/sub": "/data/y"},
    {"a": "/data"},
)
_PIECES = [
    "/",
    "/data/",
    "/data",
    "/app/",
    "a/",
    "sub/",
    "frames/",
    "..",
    ".",
    "x.jpg",
    "\n",
    "\0",
    "é",
    "\ud800",
    "1",
]
_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)


@given(
    path_map=st.sampled_from(_MAPS),
    head=st.sampled_from(["", "/data/", "/app/", "/data/sub/", "a/"]),
    claims=st.lists(_TEXTS, max_size=4),
    plain=st.integers(0, 3),
)
def test_many_claims_resolve_as_each_of_them_does(
    path_map: dict[str, str], head: str, claims: list[str], plain: int
) -> None:
    together = [f"{head}frames/v/{number}.jpg" for number in range(plain)] + [
        head + claim for claim in claims
    ]
    paths = ClaimPaths("/data", path_map)
    assert paths.resolve_all(together) == [ClaimPaths("/data", path_map).resolve(claim) for claim in together]


@pytest.mark.parametrize("head", ["/data/", "/app/", ""])
def test_claims_that_are_plain_are_not_resolved_one_by_one(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ClaimPaths("/data", {"/app": "/data/out"})
    claims = [f"{head}frames/v/{number}.jpg" for number in range(3)]
    expected = [paths.resolve(claim) for claim in claims]
    monkeypatch.setattr(ClaimPaths, "resolve", lambda *_: pytest.fail("resolved one by one"))
    assert paths.resolve_all(claims) == expected


@given(
    st.sampled_from(["/data", "/", "/app/data"]),
    st.dictionaries(
        st.sampled_from(["/app", "/app/data", "/app/data/x", "x", "", "s3:"]),
        st.sampled_from(["/data", "/app/data", "/data/y", "/out"]),
        max_size=2,
    ),
    st.lists(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["/app/data/", "/data/", "", "/", "s3://", "/app/"]),
            st.sampled_from(["x/", "y/", "", "./", "../", "x//"]),
            st.sampled_from(["1.jpg", "x", ".", "2\n", "\0", "\ud800"]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_form_tells_what_claims_mean_and_how_they_are_written(
    root: str, path_map: dict[str, str], claims: list[str]
) -> None:
    """Also a narrower one, of a first folder that all of them lie in."""
    paths = ClaimPaths(root, path_map)
    form = paths.form_of(claims)
    resolved = [paths.resolve(claim) for claim in claims]
    if form is None:
        return
    assert form.resolved(claims) == resolved
    assert [form.written(path or "") for path in resolved] == claims
    for folder in ("x/", "y/"):
        prefix = form.written(folder)
        narrow = paths.form_of(claims, [Form(prefix, folder)] if prefix is not None else [])
        assert narrow is not None
        assert narrow.resolved(claims) == resolved


def test_claims_of_one_form_are_known_by_it() -> None:
    paths = ClaimPaths("/mnt", {"/app/data": "/mnt/in"})
    assert paths.form_of(["/app/data/x/1.jpg", "/app/data/y/2.jpg"]) == Form("/app/data/", "in/")
    assert paths.form_of(["/app/data/x/1.jpg", "/app/data/y//2.jpg"]) is None

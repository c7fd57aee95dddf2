"""Kept answers are good for one revision of the index, and bounded in memory."""

from __future__ import annotations

from web.cache import CachedAnswer, ResponseCache
from web.conditional import Representation


def answer(revision: int, body: bytes = b"{}") -> CachedAnswer:
    return CachedAnswer(revision, "/x", Representation('"e"', body, False))


def test_an_answer_is_good_for_its_revision_only() -> None:
    cache = ResponseCache()
    cache.put("/x", False, answer(1))
    assert cache.get("/x", False, 1) == answer(1)
    assert cache.get("/x", False, 2) is None
    assert (len(cache), cache.size) == (0, 0)


def test_codings_are_kept_apart() -> None:
    cache = ResponseCache()
    cache.put("/x", True, answer(1, b"packed"))
    assert cache.get("/x", False, 1) is None
    assert cache.get("/x", True, 1) == answer(1, b"packed")


def test_the_least_recently_used_go_first() -> None:
    cache = ResponseCache(max_bytes=8 * 1600)
    for number in range(8):
        cache.put(f"/{number}", False, answer(1, b"x" * 1000))
    assert cache.get("/0", False, 1) is not None
    cache.put("/8", False, answer(1, b"x" * 1000))
    cache.put("/9", False, answer(1, b"x" * 1000))
    assert cache.get("/0", False, 1) is not None
    assert cache.get("/1", False, 1) is None
    assert cache.size <= 8 * 1600


def test_replacing_an_answer_counts_its_bytes_once() -> None:
    cache = ResponseCache()
    cache.put("/x", False, answer(1, b"x" * 1000))
    size = cache.size
    cache.put("/x", False, answer(2, b"x" * 1000))
    assert (len(cache), cache.size) == (1, size)


def test_an_answer_that_would_displace_many_is_not_kept() -> None:
    cache = ResponseCache(max_bytes=8000)
    cache.put("/big", False, answer(1, b"x" * 1001))
    assert len(cache) == 0


def test_what_is_asked_again_is_wanted_and_stays_so_when_the_index_changes() -> None:
    cache = ResponseCache()
    assert not cache.wants("/x", False)
    assert not cache.wants("/x", True), "codings are kept apart"
    assert not cache.wants("/y", False)
    assert cache.wants("/x", False)
    cache.put("/x", False, answer(1))
    assert cache.wants("/x", False)
    assert cache.get("/x", False, 2) is None
    assert cache.wants("/x", False)
    for number in range(20_000):
        cache.wants(f"/{number}", False)
    assert not cache.wants("/x", False), "it was not asked for long"


def test_of_an_answer_given_once_the_tag_is_kept_without_the_body() -> None:
    cache = ResponseCache()
    given = CachedAnswer(7, "/x", Representation('"t"', b"body", False))
    cache.note("/x", False, given)
    assert cache.get("/x", False, 7) is None
    assert cache.noted("/x", False, 7) == CachedAnswer(7, "/x", Representation('"t"', b"", False))
    assert cache.noted("/x", False, 8) is None
    assert cache.noted("/x", True, 7) is None
    assert cache.noted("/y", False, 7) is None
    assert cache.wants("/x", False)
    long = "/" + "x" * 5000
    cache.note(long, False, given)
    assert cache.noted(long, False, 7) is None
    assert cache.wants(long, False)

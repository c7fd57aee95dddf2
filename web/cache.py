"""The answers given last, each good for as long as the index has the revision it was made from."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from web.conditional import Representation

_OVERHEAD = 512  # an entry's own objects, roughly
_MOST_ASKED = 8192
_LONGEST_TARGET = 1024  # of those asked once, longer ones are not kept

_Key = tuple[str, bool]


class CachedAnswer(NamedTuple):
    """An answer of 200: the revision it was made from, the route that made it, and its bytes."""

    revision: int
    route: str
    representation: Representation


class ResponseCache:
    """Least recently used answers, bounded by their bytes.

    The key is the request target as it was sent and whether gzip was asked for: polling clients repeat
    their targets to the letter, and reading the query string would cost more than the answer.
    """

    def __init__(self, max_bytes: int = 32 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[tuple[str, bool], CachedAnswer] = OrderedDict()
        self._asked: dict[int, tuple[_Key, CachedAnswer] | None] = {}  # of those asked once, all but the body

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size(self) -> int:
        """The bytes it holds, roughly."""
        return self._bytes

    def get(self, target: str, gzip: bool, revision: int) -> CachedAnswer | None:
        """The answer to this target, if it was made from this revision."""
        key = (target, gzip)
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.revision != revision:
            self._forget(key)
            self._note(key)
            return None
        self._answers.move_to_end(key)
        return answer

    def wants(self, target: str, gzip: bool) -> bool:
        """Whether a target is asked for again, and its answer worth being kept; the first time it is not.

        What is asked once, such as pages that somebody leafs through, would displace what others poll, and
        go through more memory than a processor's cache holds.
        """
        key = (target, gzip)
        if key in self._answers or hash(key) in self._asked:
            return True
        self._note(key)
        return False

    def note(self, target: str, gzip: bool, answer: CachedAnswer) -> None:
        """Remember that a target was asked for, and the tag of its answer, but not the body."""
        key = (target, gzip)
        bodiless = answer._replace(representation=answer.representation._replace(body=b""))
        self._note(key, (key, bodiless) if len(target) <= _LONGEST_TARGET else None)

    def noted(self, target: str, gzip: bool, revision: int) -> CachedAnswer | None:
        """What :meth:`note` kept, if it was made from this revision: enough to say that nothing changed."""
        key = (target, gzip)
        found = self._asked.get(hash(key))
        if found is None or found[0] != key or found[1].revision != revision:
            return None
        return found[1]

    def _note(self, key: _Key, found: tuple[_Key, CachedAnswer] | None = None) -> None:
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked[hash(key)] = found

    def put(self, target: str, gzip: bool, answer: CachedAnswer) -> None:
        """Keep an answer, and let go of the oldest for it."""
        key = (target, gzip)
        if key in self._answers:
            self._forget(key)
        size = _size(key, answer)
        if size > self._max_bytes // 8:
            return
        self._answers[key] = answer
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: tuple[str, bool]) -> None:
        self._bytes -= _size(key, self._answers.pop(key))


def _size(key: tuple[str, bool], answer: CachedAnswer) -> int:
    return len(key[0]) + len(answer.representation.body) + _OVERHEAD

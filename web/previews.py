"""``/thumbnails``, ``/overlays`` and ``/artifacts``: what a file of an asset looks like.

Which files there are the index decides, and opening follows no link that leads away, as for ``/files``.
What is made of a file is kept for as long as the file has the same inode, size and time.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from scanner.filequeries import KnownFile
from web import params
from web.assetwire import ArtifactContent
from web.base import Exchange, JsonEndpoint, encode
from web.conditional import none_match
from web.context import Context
from web.files import FileEndpoint, OpenFile, unreadable
from web.params import Limits, ParameterSet, Query
from web.payloads import Payloads
from web.problems import Problem, no_such_path
from web.renderjobs import Job, Reply
from web.renderpool import Busy, Failed

CACHE_BYTES = 32 << 20
FAILED_SECONDS = 60.0
"""For how long a file that ended or held up a process is not tried again."""
DEFAULT_SIZE = 320
_OVERHEAD = 512  # an entry's own objects, roughly
_RETRY = (("Retry-After", "1"),)
Key = tuple[Job, str, str]
"""A job, the path of its file, and the tag of what that file holds."""


class ReplyCache:
    """The replies used last, bounded by their bytes; ``clock`` gives seconds."""

    def __init__(self, max_bytes: int = CACHE_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._replies: OrderedDict[Key, tuple[Reply, float]] = OrderedDict()
        self.size = 0

    def get(self, key: Key) -> Reply | None:
        """What was made of this file by this job."""
        reply, until = self._replies.get(key, (None, 0.0))
        if reply is None:
            return None
        if until < self._clock():
            self._forget(key)
            return None
        self._replies.move_to_end(key)
        return reply

    def put(self, key: Key, reply: Reply, seconds: float = math.inf) -> None:
        """Keep a reply, for at most so many seconds, and let go of the oldest for it."""
        if _bytes_of(key, reply) > self._max_bytes // 8:
            return
        if key in self._replies:
            self._forget(key)
        self._replies[key] = (reply, self._clock() + seconds)
        self.size += _bytes_of(key, reply)
        while self.size > self._max_bytes:
            self._forget(next(iter(self._replies)))

    def _forget(self, key: Key) -> None:
        reply, _ = self._replies.pop(key)
        self.size -= _bytes_of(key, reply)


def _bytes_of(key: Key, reply: Reply) -> int:
    numbers = 0
    if reply.content is not None:
        array, points = reply.content.array, reply.content.points
        numbers = len(array.values) if array else 0
        numbers += sum(map(len, points.rows)) if points else 0
    return len(key[1]) + len(reply.body) + 32 * numbers + _OVERHEAD


class Preview(FileEndpoint):
    """What is made of a file; the subclasses say what."""

    errors = (422,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cache = ReplyCache()

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """404 for everything but files of assets."""
        if not self.context.files:
            raise no_such_path()
        query = self.parameters.parse(exchange.query)
        known = self.context.queries.file(args[0])
        if known is None:
            raise self.missing()
        return self._open(exchange, args[0], known, self.job(known, query))

    def job(self, known: KnownFile, query: Query) -> Job:
        """What is to be made of the file."""
        raise NotImplementedError

    def has_it(self, exchange: Exchange, opened: OpenFile, job: Job) -> bool:
        """Whether the client has it already, which then is answered without making it."""
        return False

    def send(
        self, exchange: Exchange, path: str, known: KnownFile, opened: OpenFile, job: Job, reply: Reply
    ) -> None:
        """Answer with what was made."""
        raise NotImplementedError

    async def _open(self, exchange: Exchange, path: str, known: KnownFile, job: Job) -> None:
        opened = await self.open(path)
        try:
            if self.has_it(exchange, opened, job):
                return
            reply = await self._reply(exchange, path, opened, job)
        finally:
            os.close(opened.fd)
        if reply.refused:
            raise Problem(422, reply.refused)
        self.send(exchange, path, known, opened, job, reply)

    async def _reply(self, exchange: Exchange, path: str, opened: OpenFile, job: Job) -> Reply:
        key = (job, path, opened.etag)
        reply = self.cache.get(key)
        if reply is not None:
            return reply
        try:
            reply = await exchange.application.renderer.make(job, os.dup(opened.fd))
        except Busy:
            raise Problem(503, "More previews are asked for than can be made now.", headers=_RETRY) from None
        except Failed as failure:
            reply = Reply(refused=str(failure))
            self.cache.put(key, reply, FAILED_SECONDS)
            return reply
        if reply.unreadable:
            raise unreadable(OSError(reply.unreadable, ""))
        self.cache.put(key, reply)
        return reply


class _Image(Preview):
    """A preview that is a picture itself."""

    request_headers = ("If-None-Match",)

    def has_it(self, exchange: Exchange, opened: OpenFile, job: Job) -> bool:
        """304 by the tag alone."""
        etag = _tag(opened, job)
        if not none_match(exchange.headers.get("If-None-Match"), etag):
            return False
        exchange.send(304, (("Etag", etag), ("Cache-Control", "no-cache")))
        return True

    def send(
        self, exchange: Exchange, path: str, known: KnownFile, opened: OpenFile, job: Job, reply: Reply
    ) -> None:
        """The picture."""
        headers = (
            ("Etag", _tag(opened, job)),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Type", reply.media_type),
        )
        exchange.send(200, headers, reply.body)


def _tag(opened: OpenFile, job: Job) -> str:
    return f'"{job.make[0]}{job.edge:x}-{opened.etag[1:]}'


class Thumbnail(_Image):
    """``GET /thumbnails/{path}``."""

    summary = "An image made smaller"
    media_types = ("image/jpeg", "image/png")

    def declare(self, limits: Limits) -> ParameterSet:
        """The size."""
        text = "How long the longer side is at most; a smaller image stays as it is."
        return ParameterSet((params.integer("size", 16, 2048, text, default=DEFAULT_SIZE),), limits=limits)

    def job(self, known: KnownFile, query: Query) -> Job:
        """The image in that size."""
        return Job("thumbnail", DEFAULT_SIZE if query.size is None else query.size)


class Overlay(_Image):
    """``GET /overlays/{path}``."""

    summary = "A mask in colour, clear where it covers nothing"
    media_types = ("image/png",)

    def job(self, known: KnownFile, query: Query) -> Job:
        """The mask, at most 2,048 pixels long."""
        return Job("overlay")


class Artifact(Preview, JsonEndpoint):
    """``GET /artifacts/{path}``."""

    summary = "What a file holds, in figures"
    answers = ArtifactContent

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._payloads = Payloads(context.root, context.offset)

    def job(self, known: KnownFile, query: Query) -> Job:
        """Its figures, by the configuration where the file itself does not say how it is to be read."""
        verify = self.context.verify
        dtype = verify.embedding.dtype if known.feature.wire == "embedding" else verify.keypoints.dtype
        return Job("content", 0, int(known.feature), dtype, verify.keypoints.columns)

    def send(
        self, exchange: Exchange, path: str, known: KnownFile, opened: OpenFile, job: Job, reply: Reply
    ) -> None:
        """The figures."""
        content = reply.content
        if content is None:
            raise RuntimeError("a process that makes previews sent no content")
        modified_at = self._payloads.time(known.mtime_ns // 1000)
        feature: Any = known.feature.wire
        exchange.send_json(encode(ArtifactContent(path, feature, opened.size, modified_at, content)))

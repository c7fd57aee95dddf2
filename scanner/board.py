"""A small shared page on which the scanner writes how it is, and web processes read it at no cost.

The file is allocated in full when it is created, so that it can be written when the file system of the
index is full. Numbers are aligned 8-byte words, written and read whole; the snapshot is guarded by a sequence
number that is odd while it is being written.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

State = Literal["scanning", "complete", "degraded"]
_STATES: tuple[State, ...] = ("scanning", "complete", "degraded")
SIZE = 256 << 10
_BEAT, _STATE, _READY, _PATHS, _VALIDATIONS, _SEQUENCE, _LENGTH, _ENDED = range(8)
_TEXT = 64  # where the snapshot begins, behind the eight words
_TRIES, _PAUSE = 20, 0.0001
ZERO_SECONDS = 0.5
"""For how long nothing pending is believed: more than twice as long as a scanner at rest lets pass until it
says so again. So zero promises that whatever had happened half a second before the answer, and the system
tells of, is in the index; the scanner itself knows of an event as soon as the kernel has queued it."""


SILENT_SECONDS, FIRST_SECONDS = 2.0, 10.0
"""A scanner that has not beaten for so long is silent; the first one has modules to load before it says
anything: it starts, and is silent only after the longer time."""


class Reading(NamedTuple):
    """The numbers of the board; ``beat_age`` is in seconds.

    ``paths`` is 0 only where the scanner has said so just now. ``ended`` is true from when the scanner was
    seen to end until another one beats, ``silent`` where one that has not ended has not beaten for too long.
    """

    state: State
    ready: bool
    beat_age: float
    paths: int
    validations: int
    ended: bool
    silent: bool


class Board:
    """One mapped page; make it with :meth:`create` or :meth:`open`."""

    def __init__(self, descriptor: int) -> None:
        try:
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        # Items of a view of integers are copied whole, where struct copies some formats byte by byte.
        self._words = memoryview(self._map)[:_TEXT].cast("q")
        self._written = b""
        self._seen = 0
        self._snapshot: dict[str, Any] | None = None

    @classmethod
    def create(cls, path: Path) -> Board:
        """Make a board that says ``scanning`` and that something is to do; raises OSError without room."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            os.close(descriptor)
            raise
        board = cls(descriptor)
        board.set_pending(1, 0)  # the data root itself: nothing has looked at it
        board.beat()
        return board

    @classmethod
    def open(cls, path: Path) -> Board:
        """Map a board that exists; raises OSError."""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self._words.release()
        self._map.close()

    # --- what the scanner writes ---------------------------------------------------------------------

    def beat(self) -> None:
        """Say that the scanner is alive now."""
        self._words[_BEAT] = time.monotonic_ns()

    def set_pending(self, paths: int, validations: int, as_of: int | None = None) -> None:
        """How much had happened at ``as_of`` (monotonic nanoseconds; None: now) and is not in the index.

        That nothing had is written as the time at which it was so, in one word: a scanner that is stopped
        between any two steps leaves no zero that looks newer than it is.
        """
        self._words[_PATHS] = paths or -(time.monotonic_ns() if as_of is None else as_of)
        self._words[_VALIDATIONS] = validations

    def set_state(self, state: State, ready: bool) -> None:
        """How far answers can be relied on."""
        self._words[_STATE] = _STATES.index(state)
        self._words[_READY] = int(ready)

    def publish(self, snapshot: dict[str, Any]) -> None:
        """Replace the snapshot; raises ValueError if it does not fit, and the last one stays."""
        text = json.dumps(snapshot).encode()
        if text == self._written:
            return
        if len(text) > SIZE - _TEXT:
            raise ValueError(f"a snapshot of {len(text)} bytes does not fit")
        sequence = self._words[_SEQUENCE] | 1  # it is odd already where a writer was killed here
        self._words[_SEQUENCE] = sequence
        self._map[_TEXT : _TEXT + len(text)] = text
        self._words[_LENGTH] = len(text)
        self._words[_SEQUENCE] = sequence + 1
        self._written = text

    # --- what its supervisor writes ------------------------------------------------------------------

    def note_end(self) -> None:
        """Say that the scanner has ended; the next beat of another one takes that back."""
        self._words[_ENDED] = time.monotonic_ns()

    # --- what web processes read ---------------------------------------------------------------------

    def read(self) -> Reading:
        """The numbers as they are now."""
        beat, state, ready, paths, validations, sequence, _, ended = self._words.tolist()
        now = time.monotonic_ns()
        if paths <= 0:
            paths = int(now + paths > ZERO_SECONDS * 1e9 or ended > -paths)
        age = max(0.0, (now - beat) / 1e9)
        silent = ended <= beat and age > (SILENT_SECONDS if sequence else FIRST_SECONDS)
        return Reading(_STATES[state], bool(ready), age, paths, validations, ended > beat, silent)

    def snapshot(self) -> dict[str, Any] | None:
        """The last whole snapshot, or None if there never was one; the caller must not change it."""
        for _ in range(_TRIES):
            sequence = self._words[_SEQUENCE]
            if sequence == self._seen:
                break
            text = self._map[_TEXT : _TEXT + self._words[_LENGTH]]
            if sequence % 2 == 0 and sequence == self._words[_SEQUENCE]:
                self._snapshot = cast("dict[str, Any]", json.loads(text))
                self._seen = sequence
                break
            time.sleep(_PAUSE)  # being written; or left so by a writer that was killed: the last one holds
        return self._snapshot

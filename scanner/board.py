"""A small shared page on which the scanner writes how it is, and web processes read it at no cost.

The file is allocated in full when it is created, so that it can be written when the file system of the
index is full. Numbers are single 8-byte words; the snapshot is guarded by a sequence number that is odd
while it is being written.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

State = Literal["scanning", "complete", "degraded"]
_STATES: tuple[State, ...] = ("scanning", "complete", "degraded")
SIZE = 256 << 10
_HEADER = struct.Struct("=dqqqqqqq")  # beat, state, ready, paths, validations, sequence, length, spare
_BEAT, _STATE, _READY, _PATHS, _VALIDATIONS, _SEQUENCE, _LENGTH = (8 * place for place in range(7))


class Reading(NamedTuple):
    """The numbers of the board; ``beat_age`` is in seconds."""

    state: State
    ready: bool
    beat_age: float
    paths: int
    validations: int


class Board:
    """One mapped page; make it with :meth:`create` or :meth:`open`."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, SIZE)
        os.close(descriptor)
        self._text = b""

    @classmethod
    def create(cls, path: Path) -> Board:
        """Make a board that says ``scanning``; raises OSError where there is no room for it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(descriptor, 0, SIZE)
        board = cls(descriptor)
        board.beat()
        return board

    @classmethod
    def open(cls, path: Path) -> Board:
        """Map a board that exists; raises OSError."""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self._map.close()

    def beat(self) -> None:
        """Say that the scanner is alive now."""
        struct.pack_into("=d", self._map, _BEAT, time.monotonic())

    def set_pending(self, paths: int, validations: int) -> None:
        """How much is known to have happened and is not in the index."""
        struct.pack_into("=qq", self._map, _PATHS, paths, validations)

    def set_state(self, state: State, ready: bool) -> None:
        """How far answers can be relied on."""
        struct.pack_into("=qq", self._map, _STATE, _STATES.index(state), int(ready))

    def publish(self, snapshot: dict[str, Any]) -> None:
        """Replace the snapshot; raises ValueError if it does not fit."""
        text = json.dumps(snapshot).encode()
        if text == self._text:
            return
        if len(text) > SIZE - _HEADER.size:
            raise ValueError(f"a snapshot of {len(text)} bytes does not fit")
        sequence = self._word(_SEQUENCE) | 1
        struct.pack_into("=q", self._map, _SEQUENCE, sequence)
        self._map[_HEADER.size : _HEADER.size + len(text)] = text
        struct.pack_into("=q", self._map, _LENGTH, len(text))
        struct.pack_into("=q", self._map, _SEQUENCE, sequence + 1)
        self._text = text

    def read(self) -> Reading:
        """The numbers as they are now."""
        beat, state, ready, paths, validations, *_ = _HEADER.unpack_from(self._map)
        return Reading(_STATES[state], bool(ready), time.monotonic() - beat, paths, validations)

    def snapshot(self) -> dict[str, Any] | None:
        """The last snapshot, or None if there never was one."""
        for _ in range(1000):
            before = self._word(_SEQUENCE)
            length = self._word(_LENGTH)
            text = self._map[_HEADER.size : _HEADER.size + length]
            if before % 2 == 0 and before == self._word(_SEQUENCE):
                return cast("dict[str, Any]", json.loads(text)) if length else None
            time.sleep(0.0001)
        return None

    def _word(self, place: int) -> int:
        return int(struct.unpack_from("=q", self._map, place)[0])

"""A process that lists directories for a ``ListingProcess`` at the other end of its pipes.

So that a crawl reads the disk with one core while another writes the index. Frames both ways are four bytes
of length and a marshalled tuple: both ends are one version of one interpreter, and nothing is faster. It
knows nothing but what it is asked, writes nothing, and ends when its input does.
"""

from __future__ import annotations

import marshal
import os
import signal
import struct
import sys
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, BinaryIO

from scanner.listing import Gone, Lister, Listing, Unreadable

LENGTH = struct.Struct("<I")
SAME, LISTED, GONE, UNREADABLE = range(4)
NICE = 5
"""How far it stands back behind who answers: a listing can wait a little, and a request cannot."""
_VERSION = 2  # of marshal: the last one in which equal values are equal bytes


def fingerprint(listing: Listing) -> int:
    """A signed 64-bit number that two whole listings share if they show the same; never 0."""
    shown: Any = (
        tuple([tuple(entry) for entry in listing.files.values()]),
        listing.directories,
        listing.skipped,
    )
    digest = blake2b(marshal.dumps(shown, _VERSION), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def pack(value: Any) -> bytes:
    """A value as a frame."""
    payload = marshal.dumps(value, _VERSION)
    return LENGTH.pack(len(payload)) + payload


class Frames:
    """Puts frames together from what is read bit by bit."""

    def __init__(self) -> None:
        self._received = bytearray()

    def add(self, chunk: bytes) -> None:
        """What was read next. Raises EOFError for nothing: the other end of the pipe has gone."""
        if not chunk:
            raise EOFError("the other end of the pipe has gone")
        self._received += chunk

    def take(self) -> Any:
        """The next whole frame's value, None if there is none yet."""
        if len(self._received) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        value = marshal.loads(self._received[LENGTH.size : end])
        del self._received[:end]
        return value


def unpack(source: BinaryIO) -> Any:
    """The next frame's value. Raises EOFError where the other end has gone."""
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError("the other end of the pipe has gone")
    (length,) = LENGTH.unpack(head)
    payload = source.read(length)
    if len(payload) < length:
        raise EOFError("the other end of the pipe has gone")
    return marshal.loads(payload)


def listed(lister: Lister, wanted: Iterable[tuple[str, int]]) -> list[tuple[Any, ...]]:
    """What each directory holds, but only that it is the same where the fingerprint has not changed."""
    return [_answer(lister, directory, known) for directory, known in wanted]


def _answer(lister: Lister, directory: str, known: int) -> tuple[Any, ...]:
    look = lister.look(directory)
    if isinstance(look, Gone):
        return GONE, directory
    if isinstance(look, Unreadable):
        return UNREADABLE, directory, look.errno
    # Whoever asks keeps account of names that cannot be read or used, so it is told of them each time.
    number = 0 if look.unreadable or look.skipped else fingerprint(look)
    about = (look.device, look.inode, look.mtime_ns)
    if known and number == known:
        return SAME, directory, *about
    files = [tuple(entry) for entry in look.files.values()]
    return (
        LISTED,
        directory,
        *about,
        files,
        look.directories,
        look.skipped,
        look.unreadable,
        number,
        look.seen_ns,
    )


def main() -> None:
    """List what is asked for until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        root, ignore = unpack(source)
        lister = Lister(root, ignore)
        generation = 0
        while True:
            number, latest, roots, wanted = unpack(source)
            if latest != generation:
                generation = latest
                lister.use_roots(roots)
            sink.write(pack((number, listed(lister, wanted))))
            sink.flush()
    except EOFError:
        return
    except BrokenPipeError:  # nor can what is buffered be written when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())


if __name__ == "__main__":
    main()

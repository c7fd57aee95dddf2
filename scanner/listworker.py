"""A process that lists directories for a ``ListingProcess`` at the other end of its pipes.

So that a crawl reads the disk with one core while another writes the index. Frames both ways are four bytes
of length and a marshalled tuple: both ends are one version of one interpreter, and nothing is faster. It
knows nothing but what it is asked, writes nothing, and ends when its input does. It shares the inotify
instance of its owner, so that it can watch each directory just before it lists it.
"""

from __future__ import annotations

import errno
import gc
import marshal
import os
import signal
import struct
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, BinaryIO

from scanner.inotify import LibcKernel, watch_mask
from scanner.listing import LARGE, Gone, Lister, Listing, Look, Unreadable
from scanner.parcel import Maker
from scanner.portions import is_large

LENGTH = struct.Struct("<I")
SAME, LISTED, GONE, UNREADABLE, READY = range(5)
NICE = 5
"""How far it stands back behind who answers: a listing can wait a little, and a request cannot."""
WATCH, FAMILY = 1, 2
"""How a directory is to be listed: watched before, and together with its folders."""
PART = 2000
"""After how many entries an answer is sent that is not the last one yet."""
FAMILY_ENTRIES = 4 * LARGE
"""After how many entries the other folders are left for themselves."""
Answer = tuple[list[tuple[Any, ...]], list[int | None]]
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


class Watches:
    """Puts watches into an inotify instance that the owner of the process reads; ``fd``: None has none."""

    def __init__(self, root: str, fd: int | None) -> None:
        self._root = root
        self._fd = -1 if fd is None else fd
        self._kernel = LibcKernel()

    def add(self, directory: str) -> int:
        """Watch a directory that is about to be listed; its watch descriptor, or ``-errno``."""
        where = os.path.join(self._root, directory) if directory else self._root
        try:
            return self._kernel.add_watch(self._fd, where, watch_mask(follow="/" not in directory))
        except OSError as error:
            return -(error.errno or errno.EIO)


def portions(
    lister: Lister, watches: Watches, maker: Maker, wanted: Sequence[tuple[str, int, int]]
) -> Iterator[tuple[bool, list[Answer]]]:
    """What the directories hold, in parts, each with whether it is the last.

    Of each directory (path, known fingerprint, and how to list it) an answer: its looks, the directory's
    own first and then those of its folders, and for each look its watch. Where the rows of a directory and
    its folders come ready they stand for all the looks.
    """
    part: list[Answer] = []
    entries = 0
    for directory, known, how in wanted:
        if entries > PART:
            yield False, part
            part, entries = [], 0
        answer, count = _listed(lister, watches, maker, directory, known, how)
        part.append(answer)
        entries += count
    yield True, part


def _listed(
    lister: Lister, watches: Watches, maker: Maker, directory: str, known: int, how: int
) -> tuple[Answer, int]:
    """A directory, and with ``FAMILY`` its folders; with the number of entries of all of them."""
    told = [watches.add(directory) if how & WATCH else None]
    looks = [_printed(lister.look(directory))]
    entries = size(looks[0])
    if how & FAMILY and isinstance(looks[0], Listing) and waits(looks[0]):
        for name in sorted(looks[0].directories):
            folder = f"{directory}/{name}"
            told.append(watches.add(folder) if how & WATCH else 0)
            look = _printed(lister.look(folder))
            looks.append(look)
            entries += size(look)
            if entries > FAMILY_ENTRIES:
                break
        parcel = maker.parcel(looks)
        if parcel is not None:
            return ([(READY, directory, parcel)], told), entries
    return ([_answer(look, known if look is looks[0] else 0) for look in looks], told), entries


def _printed(look: Look) -> Look:
    """The look with its fingerprint.

    Whoever asks keeps account of names that cannot be read or used, so it is told of them each time.
    """
    if not isinstance(look, Listing) or look.unreadable or look.skipped:
        return look
    about = (look.directory, look.device, look.inode, look.mtime_ns, look.files, look.directories)
    return Listing(*about, fingerprint=fingerprint(look), seen_ns=look.seen_ns)


def waits(look: Listing) -> bool:
    """Whether a directory holds files to which its folders may belong, if it has any, and not too much."""
    return bool(look.files) and not is_large(look)


def size(look: Look) -> int:
    """How many entries were met, and one for the directory."""
    return 1 + (len(look.files) + len(look.directories) if isinstance(look, Listing) else 0)


def _answer(look: Look, known: int) -> tuple[Any, ...]:
    """A look as it is sent; ``known`` is the fingerprint of which nothing but that it is the same is said."""
    if isinstance(look, Gone):
        return GONE, look.directory
    if isinstance(look, Unreadable):
        return UNREADABLE, look.directory, look.errno
    about = (look.device, look.inode, look.mtime_ns)
    if known and look.fingerprint == known:
        return SAME, look.directory, *about
    files = [tuple(entry) for entry in look.files.values()]
    return (
        LISTED,
        look.directory,
        *about,
        files,
        look.directories,
        look.skipped,
        look.unreadable,
        look.fingerprint,
        look.seen_ns,
    )


def main() -> None:
    """List what is asked for until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    gc.set_threshold(50_000, 20, 20)  # what is made of a family lives until it is sent, and has no cycles
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        root, ignore, fd, terms = unpack(source)
        lister, watches, maker = Lister(root, ignore), Watches(root, fd), Maker(terms)
        generation = 0
        while True:
            number, latest, roots, wanted = unpack(source)
            if latest != generation:
                generation = latest
                lister.use_roots(roots)
            for last, part in portions(lister, watches, maker, wanted):
                sink.write(pack((number, last, part)))
                sink.flush()
    except EOFError:
        return
    except BrokenPipeError:  # nor can what is buffered be written when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())


if __name__ == "__main__":
    main()

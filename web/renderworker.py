"""A process that makes previews, one after the other, for a ``RenderPool`` at the other end of a socket.

It is given open files, never names; it runs below normal priority, may use a bounded amount of memory, and
ends with its parent. Frames both ways are four bytes of length and MessagePack.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import warnings
from typing import IO

import msgspec
from PIL import Image

from scanner.checkworker import LENGTH, bound_memory, die_with, frame, stand_back, warm_up
from scanner.records import Feature
from web import artifactcontent, rendering
from web.rendering import Refused
from web.renderjobs import Job, Reply, receive

MEMORY_MB = 480


def reply_to(job: Job, file: IO[bytes]) -> Reply:
    """Do a job; never raises for what a file can hold."""
    try:
        return _made(job, file)
    except Refused as refused:
        return Reply(refused=str(refused))
    except MemoryError:
        return Reply(refused=f"It needs more than the {MEMORY_MB} MB that a preview may use.")
    except OSError as error:
        return Reply(unreadable=error.errno or 5)


def _made(job: Job, file: IO[bytes]) -> Reply:
    if job.make == "content":
        content = artifactcontent.describe(file, Feature(job.feature), job.dtype, job.columns)
        return Reply(content=content)
    rendered = rendering.overlay(file) if job.make == "overlay" else rendering.thumbnail(file, job.edge)
    return Reply(rendered.media_type, rendered.body)


def work(channel: socket.socket) -> None:
    """Answer jobs until the parent closes the channel."""
    while True:
        head, fds, _, _ = socket.recv_fds(channel, LENGTH.size, 1)
        if len(head) < LENGTH.size or not fds:
            return
        (length,) = LENGTH.unpack(head)
        with os.fdopen(fds[0], "rb", closefd=True) as file:
            job = msgspec.msgpack.decode(receive(channel, length), type=Job)
            answer = msgspec.msgpack.encode(reply_to(job, file))
        channel.sendall(frame(answer))


def main() -> None:
    """Be a worker; ``argv``: the descriptor of the channel, the parent's id."""
    descriptor, parent = map(int, sys.argv[1:3])
    warnings.simplefilter("ignore")
    logging.disable()
    Image.MAX_IMAGE_PIXELS = None  # the bound here is exact, and looked at before anything is decoded
    with (
        socket.socket(fileno=descriptor) as channel,
        contextlib.suppress(EOFError, ConnectionError),  # the parent closed the channel: the work is done
    ):
        die_with(parent)
        stand_back()
        warm_up()
        bound_memory(MEMORY_MB)
        work(channel)


if __name__ == "__main__":
    main()

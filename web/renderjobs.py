"""What is asked of a process that makes previews, and what it answers; nothing of Pillow or numpy."""

from __future__ import annotations

import socket
import time
from typing import Literal

import msgspec

from web.assetwire import Content


class Job(msgspec.Struct, frozen=True):
    """What is to be made of a file; ``dtype`` and ``columns`` say how raw numbers are to be read."""

    make: Literal["thumbnail", "overlay", "content"]
    edge: int = 0
    feature: int = 0
    dtype: str = "float32"
    columns: int = 3


class Reply(msgspec.Struct):
    """A picture or a content; or else why there is none, to be believed for as long as the file is the same.

    ``unreadable`` is the error number of a system that refused to read the file.
    """

    media_type: str = ""
    body: bytes = b""
    content: Content | None = None
    refused: str = ""
    unreadable: int = 0


def receive(channel: socket.socket, length: int, deadline: float | None = None) -> bytes:
    """So many bytes; TimeoutError past a monotonic time, ConnectionError where the other end has gone."""
    data = bytearray()
    while len(data) < length:
        if deadline is not None:
            channel.settimeout(max(0.01, deadline - time.monotonic()))
        part = channel.recv(min(length - len(data), 1 << 20))
        if not part:
            raise ConnectionResetError("the other end has gone")
        data += part
    return bytes(data)

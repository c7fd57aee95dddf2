"""What is asked of a process that makes previews, and what it answers; nothing of Pillow or numpy."""

from __future__ import annotations

from typing import Literal

import msgspec

from web.wire import Content


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

"""What the web needs from the rest of the program, in one bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Literal, Protocol

from scanner.queries import Queries
from scanner.settings import VerifyConfig
from web.health import Health
from web.searching import Searches


class Lookup(Protocol):
    """Asks the scanner to look an unknown key up in the pipeline database, for at most a second."""

    async def __call__(
        self, kind: Literal["job", "video", "product_image", "video_frame"], *key: str
    ) -> bool:
        """True if it was found and the index is worth asking again. A video's key is (job, video)."""


Observer = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that the application is composed of.

    ``root`` is ``data.root`` as configured, ``offset`` the one of all timestamps. ``observe`` is told
    of every answer: its route, status and seconds. ``metrics`` renders ``/metrics``. ``verify`` says how raw
    artifacts are to be read. Without ``searches`` they are asked where everything else is.
    """

    queries: Queries
    health: Health
    lookup: Lookup
    root: str
    offset: tzinfo
    cors_origins: tuple[str, ...] = ("*",)
    default_limit: int = 20
    max_limit: int = 1000
    include: tuple[str, ...] = ()
    files: bool = True
    version: str = "0"
    observe: Observer | None = None
    metrics: Callable[[], bytes] | None = None
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    searches: Searches | None = None

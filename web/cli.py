"""The entry of the command line, which is there before all else is loaded.

Loading takes a moment in which a signal would end the process in the middle of an import.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of :mod:`web.commands`; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] in (["serve"], ["demo"]):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
    from web.commands import run

    return run(arguments)


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has been begun, so ending at once is all there is to do; who begins something replaces it."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

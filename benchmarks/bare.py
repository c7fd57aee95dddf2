"""The yardstick: a bare Tornado handler that returns a number of bytes.

    python -m benchmarks.bare 9000

answers ``GET /4096`` on port 9000 with 4,096 bytes, until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

import tornado.web


class Bytes(tornado.web.RequestHandler):
    """As many bytes as the path says."""

    def get(self, size: str) -> None:
        """The bytes."""
        self.write(b"x" * int(size))


async def main(port: int) -> None:
    """Serve until standard input ends."""
    tornado.web.Application([(r"/(\d+)", Bytes)]).listen(port, "127.0.0.1")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

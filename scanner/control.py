"""The socket on which web processes ask the scanner to look a key up: one JSON line in, one out."""

from __future__ import annotations

import json
import logging
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)
NAME = "control"
Handler = Callable[[str, tuple[str, ...]], bool]


def address_of(directory: int) -> str:
    """A short address of the socket in an open directory: socket paths have at most 107 bytes."""
    return f"/proc/self/fd/{directory}/{NAME}"


class ControlServer:
    """Answers lookups with ``handler`` in threads of its own, from :meth:`start` to :meth:`stop`."""

    def __init__(self, directory: Path, handler: Handler) -> None:
        (directory / NAME).unlink(missing_ok=True)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

        class Request(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    kind, *keys = json.loads(line)
                    found = handler(str(kind), tuple(map(str, keys)))
                    self.wfile.write(json.dumps(found).encode() + b"\n")

        try:
            self._server = _Server(address_of(self._directory), Request)
        except OSError:
            os.close(self._directory)
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End; answers under way are still given, but not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        os.close(self._directory)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A web process that went away in the middle of a question is normal; anything else is an error."""
        if isinstance(sys.exc_info()[1], BrokenPipeError | ConnectionResetError):
            LOG.debug("a web process did not wait for its answer")
        else:
            LOG.error("a lookup failed", exc_info=True)


def connect(directory: Path) -> socket.socket:
    """Connect to the scanner's socket; raises OSError if it is away."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.settimeout(2.0)
            client.connect(address_of(descriptor))
        except OSError:
            client.close()
            raise
        return client
    finally:
        os.close(descriptor)

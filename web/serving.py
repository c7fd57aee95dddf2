"""``sidecar serve``: the steps from a configuration to a running server, and back, in their order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from operator import methodcaller
from pathlib import Path

import apsw

from scanner import logs
from scanner.board import Board
from scanner.config import Config
from scanner.index import Index
from scanner.indexdirectory import IndexDirectory
from scanner.queries import Queries
from web.app import make_app
from web.context import Context, Lookup
from web.health import Health
from web.keeping import keep
from web.lookup import ScannerLookup, no_lookup
from web.metrics import Metrics
from web.progress import Progress
from web.searching import Searches
from web.server import Server, bind
from web.stopping import StopSignals, end_of_input
from web.supervisor import Child, Supervisor

LOG = logging.getLogger(__name__)
DRAIN_SECONDS = 1.5
REOPEN_SECONDS = 0.2
PREPARE_SECONDS = 0.1
CANNOT_START = 2
_WHOLE = methodcaller("is_whole")


class CannotStart(Exception):  # noqa: N818 - a state, told in one line
    """The server cannot be started; the text is one line that says what and where."""


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code, 2 where it cannot start."""
    logs.configure(config.log)
    tune_interpreter()
    try:
        with (
            StopSignals(signal.SIGTERM, signal.SIGINT) as stop,
            _listening(config) as sockets,
            _index_directory(config) as directory,
            contextlib.closing(_new_board(directory)) as board,
        ):
            index = _empty_index(config, directory)
            asyncio.run(_run(config, directory, index, board, sockets, stop))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    LOG.info("stopped")
    return 0


async def _run(
    config: Config,
    directory: Path,
    index: str,
    board: Board,
    sockets: list[socket.socket],
    stop: StopSignals,
) -> None:
    supervisor = Supervisor(config, directory, board)
    fds = tuple(bound.fileno() for bound in sockets)
    message = (config, str(directory), index, fds)
    extra = [
        Child(f"web process {number}", (sys.executable, "-P", "-m", "web.serving"), message, fds)
        for number in range(2, config.web.processes + 1)
    ]
    try:
        supervisor.start()
        for child in extra:
            child.start()
        async with serving(config, directory, index, board, sockets):
            host, port = sockets[0].getsockname()[:2]
            LOG.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
            with Progress(board):
                await stop.wait()
            LOG.info("stopping")
            draining = asyncio.gather(*(child.stop() for child in extra))
        await draining
    finally:
        await asyncio.gather(supervisor.stop(), *(child.stop() for child in extra))


@contextlib.asynccontextmanager
async def serving(
    config: Config, directory: Path, index: str, board: Board, sockets: list[socket.socket]
) -> AsyncIterator[None]:
    """Inside, requests are answered; leaving it drains those that are open."""
    queries, searches = Queries(index, config), Searches(Queries(index, config))
    divider = Searches(Queries(index, config))
    scanner_lookup = ScannerLookup(directory) if config.database.url else None
    metrics = _metrics(config, directory, board)
    server = Server(
        make_app(_context(config, queries, searches, board, scanner_lookup or no_lookup, metrics))
    )
    server.add_sockets(sockets)
    beside = [
        keep("following the index", partial(_follow, queries, (divider, searches), board)),
        keep("dividing lists", partial(_prepare, queries, divider)),
        keep("telling others of requests", metrics.requests.keep_flushing),
    ]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        await server.shutdown(DRAIN_SECONDS)
        if scanner_lookup is not None:
            scanner_lookup.close()
        divider.close()
        searches.close()
        queries.close()


def _metrics(config: Config, directory: Path, board: Board) -> Metrics:
    return Metrics(board, version("artifact-sidecar"), directory if config.web.processes > 1 else None)


def _context(
    config: Config, queries: Queries, searches: Searches, board: Board, lookup: Lookup, metrics: Metrics
) -> Context:
    web = config.web
    release = version("artifact-sidecar")
    return Context(
        queries,
        Health(board, release, configured=bool(config.database.url)),
        lookup,
        config.data.root,
        web.zone,
        tuple(web.cors_origins),
        web.default_limit,
        web.max_limit,
        tuple(web.include),
        web.files,
        release,
        metrics.observe,
        metrics.render,
        config.verify,
        searches,
    )


async def _follow(queries: Queries, others: Sequence[Searches], board: Board) -> None:
    """A scanner that could not take the index over has begun another file: read from that one.

    It has everything only once the scanner is ready: until then the last one answers, if it can.
    """
    refused = kept = None
    while True:
        await asyncio.sleep(REOPEN_SECONDS)
        snapshot = board.snapshot()
        path = queries.path if snapshot is None else snapshot["file"]
        if path == queries.path:
            continue
        try:
            if not board.read().ready and (path == kept or await others[0].ask(queries.path, _WHOLE)):
                kept = path
                continue
            queries.follow(path)
            for other in others:
                await other.ask(path, methodcaller("revision"))  # while it is there
        except apsw.Error as error:  # it may have been replaced once more; until then the last one answers
            if path != refused:
                LOG.warning("cannot read the new index %s: %s", path, error)
            refused = path


async def _prepare(queries: Queries, divider: Searches) -> None:
    """Let a thread do what makes later answers faster, so that no request has to wait for it."""
    while True:
        await asyncio.sleep(PREPARE_SECONDS)
        while (wanted := queries.wanted) is not None:
            path = queries.path
            made = await divider.ask(path, methodcaller("divided", wanted))
            queries.adopt(path, *made)


@contextlib.contextmanager
def _listening(config: Config) -> Iterator[list[socket.socket]]:
    web = config.web
    try:
        bound = bind(web.host, web.port)
    except OSError as error:
        text = f"cannot listen on {web.host}:{web.port}: {error.strerror or error}"
        raise CannotStart(f"{text} (web.host, web.port)") from error
    with bound:
        yield [bound]


@contextlib.contextmanager
def _index_directory(config: Config) -> Iterator[Path]:
    try:
        directory = IndexDirectory(config.index.directory)
    except OSError as error:
        text = f"cannot make the index in {error.filename or config.index.directory}: {error.strerror}"
        raise CannotStart(f"{text} (index.directory)") from error
    try:
        yield directory.path
    finally:
        directory.remove()


def _new_board(directory: Path) -> Board:
    try:
        return Board.create(directory / "board")
    except OSError as error:
        raise CannotStart(f"cannot write in {directory}: {error.strerror} (index.directory)") from error


def _empty_index(config: Config, directory: Path) -> str:
    """An index without content, so that every question has an answer from the first moment on."""
    path = str(directory / "index-0.db")
    try:
        Index(path, config).close()
    except apsw.Error as error:
        raise CannotStart(f"cannot make the index {path}: {error} (index.directory)") from error
    return path


def tune_interpreter() -> None:
    """What suits a process that answers in one thread, while others mostly wait for SQLite.

    Answers leave next to nothing behind that only a collection would find, while to look through all that is
    remembered takes tens of milliseconds; and a search waits for the interpreter at each step.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)


def _serve_as_child() -> int:
    """A further web process: everything it needs comes through its standard input, whose end ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent stops its children
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    config, directory, index, fds = pickle.load(sys.stdin.buffer)
    logs.configure(config.log)
    tune_interpreter()
    sockets = [socket.socket(fileno=fd) for fd in fds]

    async def run() -> None:
        with contextlib.closing(Board.open(Path(directory) / "board")) as board:
            snapshot = board.snapshot()
            current = index if snapshot is None else snapshot["file"]
            async with serving(config, Path(directory), current, board, sockets):
                ended = asyncio.ensure_future(end_of_input())
                signalled = asyncio.ensure_future(stop.wait())
                await asyncio.wait([ended, signalled], return_when=asyncio.FIRST_COMPLETED)

    with StopSignals(signal.SIGTERM) as stop:
        asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(_serve_as_child())

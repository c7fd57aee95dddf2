"""The commands: ``sidecar serve | verify | explain | demo``, their options, and what runs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from scanner.config import Config, load_config
from scanner.exceptions import ConfigError

Command = Callable[[Config, argparse.Namespace], int]
BAD_CONFIGURATION = 2


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code, 2 where the configuration cannot be used."""
    options = parser().parse_args(arguments)
    try:
        config = load_config(options.config)
    except ConfigError as error:
        for line in error.problems:
            print(line, file=sys.stderr)
        return BAD_CONFIGURATION
    command: Command = options.command
    return command(config, options)


def parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Says which images and artifacts exist on disk, and whether they are intact.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "serve", _serve, "answer polls over HTTP", "sidecar serve --config config.toml")
    verify = _command(commands, "verify", _verify, "look once at everything", "sidecar verify --format json")
    verify.add_argument("--job", metavar="ID", help="only the findings of this job")
    verify.add_argument("--format", choices=["table", "json", "csv", "ndjson"], default="table")
    verify.add_argument("--kind", nargs="+", metavar="K", default=[], help="only findings of these kinds")
    verify.add_argument("--limit", type=int, metavar="N", help="print at most so many findings")
    explain = _command(
        commands, "explain", _explain, "say why a file is seen or not", "sidecar explain frames/v/000001.jpg"
    )
    explain.add_argument("target", metavar="PATH|ID", help="a file, or the id of an image or frame")
    demo = _command(commands, "demo", _demo, "try it on a small world that moves", "sidecar demo --port 8080")
    demo.add_argument("--port", type=_port, metavar="N", help="port to serve at (default: 8080 or any free)")
    demo.add_argument("--keep", action="store_true", help="leave the files behind in the end")
    demo.add_argument("--once", action="store_true", help="make the files, say where, and end")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed is 0 to 65535")
    return int(text)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, epilog=f"example: {example}")
    parser.add_argument(
        "--config", metavar="FILE", help="default: $SIDECAR_CONFIG, else ./config.toml if it is there"
    )
    parser.set_defaults(command=run)
    return parser


def _serve(config: Config, options: argparse.Namespace) -> int:
    from web.serving import serve

    return serve(config)


def _verify(config: Config, options: argparse.Namespace) -> int:
    from web import verify

    return verify.run(config, options)


def _explain(config: Config, options: argparse.Namespace) -> int:
    from web import explain

    return explain.run(config, options)


def _demo(config: Config, options: argparse.Namespace) -> int:
    from web import demo
    from web.serving import serve

    return demo.run(config, options, serve)

"""The log: one line an event on standard error, as text for people or as JSON for machines.

Whatever is logged, a password in a URL is written as ``***``: messages, their arguments, exceptions and extra
fields all pass through ``redact`` on their way out. Line breaks are escaped, so that no file name and no
traceback can break an event in two.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from scanner.redaction import HIDDEN, one_line, redact
from scanner.settings import LogConfig

__all__ = ["configure", "redact"]

QUIET = ("tornado.access", "tornado.general", "watchdog", "PIL")
"""Loggers that say something for every event or request, also malformed; only warnings are wanted of them."""

_STANDARD = set(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}
_FIXED = ("time", "level", "logger", "message", "exception", "stack")


def configure(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send every event of this process to ``stream`` (standard error), and nowhere twice.

    May be called again: the new settings then replace the old ones. Handlers of others are left alone.
    """
    stream = sys.stderr if stream is None else stream
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if _wants_json(config, stream) else TextFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[config.level.upper()]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _wants_json(config: LogConfig, stream: TextIO) -> bool:
    return config.format == "json" or (config.format == "auto" and not stream.isatty())


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that ``configure`` puts in place; its class tells it from those of others."""


class _Formatter(logging.Formatter):
    """What both formats share: the parts of an event, without passwords."""

    def event(self, record: logging.LogRecord) -> dict[str, Any]:
        """The parts of an event by their names; exception and stack only where there is one."""
        found: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(_message(record)),
        }
        if record.exc_info and record.exc_info[0] is not None:
            found["exception"] = redact(self.formatException(record.exc_info))
        elif record.exc_text:
            found["exception"] = redact(record.exc_text)
        if record.stack_info:
            found["stack"] = redact(record.stack_info)
        found.update(_extra(record))
        return found


class JsonFormatter(_Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The event as JSON."""
        return json.dumps(self.event(record))


class TextFormatter(_Formatter):
    """Time, level, logger and message, then extra fields as ``name=value`` and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The event as one line of text."""
        event = self.event(record)
        pieces = [event["time"], f"{event['level'].upper():<7}", f"{event['logger']}:", event["message"]]
        pieces += [f"{name}={_text(value)}" for name, value in event.items() if name not in _FIXED]
        pieces += [f"| {event[name].strip()}" for name in ("exception", "stack") if name in event]
        return one_line(" ".join(pieces))


def _time(created: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    moment = dt.datetime.fromtimestamp(created, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments; where they do not fit it, both as they are: the event still counts."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):
        return f"{record.msg} {record.args!r}"


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """The fields given by ``extra``; one with the name of a part of the event gets an underscore."""
    for name, value in vars(record).items():
        if name not in _STANDARD:
            yield (f"{name}_" if name in _FIXED else name), _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    """A value that JSON can hold, without passwords."""
    if "password" in name.lower():
        return HIDDEN
    if isinstance(value, dict):
        return {redact(str(key)): _plain(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain("", item) for item in value]
    if value is None or type(value) in (bool, int) or (type(value) is float and math.isfinite(value)):
        return value
    return redact(str(value))


def _text(value: Any) -> str:
    """A field as text: quoted only where it could be mistaken for something else."""
    if isinstance(value, str) and value and not any(letter in value for letter in ' "='):
        return value
    return json.dumps(value, ensure_ascii=False)

"""Values as a database gives them → values that records hold; what makes no sense becomes None.

A cleaner takes one column of a batch and answers a column of the same length, and reports each value that
it gave up. Whole columns, because the usual case, nothing to clean, is then recognised without a look at
each value in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from scanner.pattern import encodable
from scanner.timestamps import EARLIEST_US, BadTimestamp, Clock, in_range

Report = Callable[[int, str], None]  # the row's place in the batch, and what is wrong with its value
Cleaner = Callable[[Sequence[Any], Report], Sequence[Any]]

ABSURD_TIME = EARLIEST_US - 1  # what the server sends for a time that is there but out of range

_TEXT_TYPES = {str, type(None)}
_NUMBER_TYPES = {int, float, type(None)}

NOT_TEXT = "is not text"
BAD_TEXT = "is not valid text"
BAD_NUMBER = "is no finite number"
BAD_TIME = "is no usable time"


def clean_texts(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """Text; numbers and UUIDs as text, bytes decoded, an empty text None."""
    if set(map(type, values)) <= _TEXT_TYPES and "" not in values and is_sound("".join(filter(None, values))):
        return values
    return [_each(_text, value, report, place) for place, value in enumerate(values)]


def clean_labels(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """As ``clean_texts``, but an empty text stays one: it is shown as it is."""
    if set(map(type, values)) <= _TEXT_TYPES and is_sound("".join(filter(None, values))):
        return values
    return ["" if value == "" else _each(_text, value, report, place) for place, value in enumerate(values)]


def clean_paths(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """As ``clean_texts``, but what is not text names no file."""
    if set(map(type, values)) <= _TEXT_TYPES and "" not in values and is_sound("".join(filter(None, values))):
        return values
    return [_each(_path, value, report, place) for place, value in enumerate(values)]


def clean_numbers(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """Finite numbers: an integer stays one, a decimal becomes an integer or a float, text is read."""
    if set(map(type, values)) <= _NUMBER_TYPES and all(map(math.isfinite, filter(None, values))):
        return values
    return [_each(_number, value, report, place) for place, value in enumerate(values)]


def clean_floats(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """As ``clean_numbers``, all as floats."""
    numbers = clean_numbers(values, report)
    if int not in set(map(type, numbers)):
        return numbers
    return [_each(_float, value, report, place) for place, value in enumerate(numbers)]


def clean_flags(values: Sequence[Any], _report: Report) -> Sequence[Any]:
    """Truth as a bool, whatever the database calls it."""
    return values if set(map(type, values)) == {bool} else list(map(bool, values))


def time_cleaner(clock: Clock) -> Cleaner:
    """Timestamps in any form."""

    def clean(values: Sequence[Any], report: Report) -> Sequence[Any]:
        return [_each(clock.micros, value, report, place) for place, value in enumerate(values)]

    return clean


def clean_micros(values: Sequence[Any], report: Report) -> Sequence[Any]:
    """Microseconds that the server has computed, ``ABSURD_TIME`` where it could not."""
    if ABSURD_TIME not in values:
        return values
    return [_each(_micros, value, report, place) for place, value in enumerate(values)]


def local_micros_cleaner(clock: Clock) -> Cleaner:
    """As ``clean_micros``, of local times."""

    def clean(values: Sequence[Any], report: Report) -> Sequence[Any]:
        from_local = clock.from_local
        return [None if us is None else from_local(us) for us in clean_micros(values, report)]

    return clean


def is_sound(value: str) -> bool:
    """True for text that can be stored, sent and used in a path: no NUL, no lone surrogate."""
    return "\0" not in value and encodable(value)


class _BadValueError(ValueError):
    """A value that is left out; its text is the reason."""


def _each(clean: Callable[[Any], Any], value: Any, report: Report, place: int) -> Any:
    try:
        return clean(value)
    except BadTimestamp:
        report(place, BAD_TIME)
    except _BadValueError as exc:
        report(place, str(exc))
    return None


def _text(value: Any) -> str | None:
    if value is None or value == "" or value == b"":
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if not is_sound(text):
        raise _BadValueError(BAD_TEXT)
    return text


def _path(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _BadValueError(NOT_TEXT)
    return _text(value)


def _number(value: Any) -> int | float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise _BadValueError(BAD_NUMBER)
    if isinstance(value, int):
        return _int64(value)
    return _decimal(value) if isinstance(value, Decimal) else value


def _parsed(value: str) -> Any:
    """The number that a text spells in ASCII; the text itself where it spells none."""
    text = value.strip()
    if not text.isascii() or "_" in text or len(text) > 400:
        return value
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return value


def _decimal(value: Decimal) -> int | float:
    if value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise _BadValueError(BAD_NUMBER)
    return number


def _int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise _BadValueError(BAD_NUMBER)
    return value


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _micros(value: int | None) -> int | None:
    return None if value is None else in_range(value)

"""One value of the configuration: from TOML or from a variable's text to the type that its key has.

Every function here either answers the value or raises ``BadValue``, whose text says what was found and
what is allowed.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scanner.redaction import redact

Strings = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]

LONGEST_SHOWN = 100
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_KINDS: dict[type, str] = {str: "the string", bool: "the boolean", int: "the integer", float: "the number"}


class BadValue(ValueError):  # noqa: N818 - says what the value is
    """A value that its key cannot have; the text says what was found and what is allowed."""


def shown(value: object) -> str:
    """A value as a problem line shows it: on one line, of bounded length, without passwords."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python refuses to write an integer of thousands of digits
        text = "a number of thousands of digits"
    text = redact(text)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def kind(value: object) -> str:
    """A value of a wrong type, named by its type."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"the list {shown(value)}"
    if isinstance(value, dt.date | dt.time):
        return f"the date or time {value}"
    return f"{_KINDS.get(type(value), 'the value')} {shown(value)}"


def guess(found: str, allowed: Iterable[str]) -> str:
    """A question with the word that was probably meant, in any letter case; nothing where none is close."""
    spellings = {word.lower(): word for word in allowed}
    close = difflib.get_close_matches(found.lower(), list(spellings), 1)
    return f" (did you mean {spellings[close[0]]}?)" if close else ""


def _wrong(value: object, allowed: str) -> BadValue:
    return BadValue(f"found {kind(value)}, allowed is {allowed}")


# --- from TOML --------------------------------------------------------------------------------------


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a string")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(value, "an integer")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise _wrong(value, "a number") from None


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def _strings(value: object) -> Strings:
    if not isinstance(value, list):
        raise _wrong(value, "a list of strings")
    for item in value:
        if not isinstance(item, str):
            raise BadValue(f"found {kind(item)} in the list, allowed are strings only")
    return tuple(value)


def _one_or_more(value: object) -> Strings:
    return (value,) if isinstance(value, str) else _strings(value)


def _pairs(value: object) -> Pairs:
    if not isinstance(value, dict):
        raise _wrong(value, "a table of strings")
    for name, item in value.items():
        if not isinstance(item, str):
            raise BadValue(f"found {kind(item)} for {shown(name)}, allowed are strings only")
    return tuple(value.items())


FROM_TOML: Mapping[object, Callable[[object], Any]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _boolean,
    Strings: _strings,
    Pairs: _pairs,
}


def from_toml(value: object, type: object, single: bool = False) -> Any:
    """The value of a key of ``type``; ``single`` lets one string stand for a list. Raises BadValue."""
    return _one_or_more(value) if single else FROM_TOML[type](value)


# --- from the environment ---------------------------------------------------------------------------


def _integer_text(text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise BadValue(f"found {shown(text)}, allowed is an integer")
    return int(text)


def _number_text(text: str) -> float:
    try:
        if text.isascii() and "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise BadValue(f"found {shown(text)}, allowed is a number")


def _boolean_text(text: str) -> bool:
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise BadValue(f"found {shown(text)}, allowed are true, false, 1 and 0")
    return value


def _strings_text(text: str) -> Strings:
    stripped = text.strip()
    if not stripped:
        return ()
    if stripped.startswith("[") and stripped.endswith("]"):
        return _strings(_parsed(stripped, "a JSON or TOML array, or strings with commas between them"))
    return tuple(item.strip() for item in stripped.split(","))


def _pairs_text(text: str) -> Pairs:
    stripped = text.strip()
    return _pairs(
        _parsed(stripped, 'a JSON object or a TOML inline table, as {"/app/data": "/data"}')
        if stripped
        else {}
    )


def _parsed(text: str, allowed: str) -> object:
    """What a text in JSON, else in TOML, stands for."""
    for parse in (json.loads, _toml_value):
        try:
            return parse(text)
        except (ValueError, RecursionError):
            continue
    raise BadValue(f"found {shown(text)}, allowed is {allowed}")


def _toml_value(text: str) -> object:
    found = tomllib.loads(f"value = {text}")
    if found.keys() != {"value"}:
        raise ValueError("more than one value")
    return found["value"]


FROM_TEXT: Mapping[object, Callable[[str], Any]] = {
    str: str,
    int: _integer_text,
    float: _number_text,
    bool: _boolean_text,
    Strings: _strings_text,
    Pairs: _pairs_text,
}


def from_text(text: str, type: object) -> Any:
    """The value that a variable's text gives a key of ``type``. Raises BadValue."""
    return FROM_TEXT[type](text)

"""Where two JSON bodies differ, in words that name the place; the expected one comes from the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from model_answers import Percent, Unsettled

URL = re.compile(r"/files/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")


def differences(expected: Any, actual: Any, place: str = "") -> Iterator[str]:
    """One line for each difference; none if the bodies say the same."""
    if isinstance(expected, Unsettled):
        return
    if isinstance(expected, Percent):
        same = expected.same(actual)
    elif isinstance(expected, Mapping):
        yield from _of_objects(expected, actual, place)
        return
    elif isinstance(expected, list):
        yield from _of_lists(expected, actual, place)
        return
    elif isinstance(expected, str) and expected.startswith("/files/"):
        same = (
            isinstance(actual, str) and bool(URL.fullmatch(actual)) and unquote(actual) == unquote(expected)
        )
    else:
        same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    if not same:
        yield f"{place or 'body'}: expected {expected!r}, got {actual!r}"


def _of_objects(expected: Mapping[str, Any], actual: Any, place: str) -> Iterator[str]:
    if not isinstance(actual, Mapping):
        yield f"{place or 'body'}: expected an object, got {actual!r}"
        return
    if list(expected) != list(actual) and set(expected) != set(actual):
        yield f"{place or 'body'}: expected keys {list(expected)}, got {list(actual)}"
    for key in [key for key in expected if key in actual]:
        yield from differences(expected[key], actual[key], f"{place}.{key}" if place else key)


def _of_lists(expected: Sequence[Any], actual: Any, place: str) -> Iterator[str]:
    if not isinstance(actual, list):
        yield f"{place}: expected a list, got {actual!r}"
        return
    ours, theirs = [_name(item) for item in expected], [_name(item) for item in actual]
    if ours != theirs:
        missing, extra = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
        hint = f"missing {missing}, unexpected {extra}" if missing or extra else "another order"
        yield f"{place}: {hint}; expected {ours}, got {theirs}"
        return
    for index, (mine, other) in enumerate(zip(expected, actual, strict=True)):
        yield from differences(mine, other, f"{place}[{index}:{ours[index]}]")


def _name(item: Any) -> Any:
    """What an item of a list is called: its first id."""
    if isinstance(item, Mapping):
        return next((item[key] for key in ("job_id", "img_id", "frame_id", "video_id") if key in item), None)
    return item

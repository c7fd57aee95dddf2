"""Timestamps of the pipeline database in whatever form it keeps them → microseconds since the epoch, UTC."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

MICROS = 1_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NAIVE_EPOCH = dt.datetime(1970, 1, 1)
# A day inside what `datetime` can hold, so that no later shift to another offset can overflow.
EARLIEST_US = (dt.datetime(1, 1, 2) - _NAIVE_EPOCH) // dt.timedelta(microseconds=1)
LATEST_US = (dt.datetime(9999, 12, 31) - _NAIVE_EPOCH) // dt.timedelta(microseconds=1)
# A number is seconds, milliseconds, microseconds or nanoseconds by its size: 1e11 s is the year 5138.
EPOCH_UNITS = ((10**11, MICROS, 1), (10**14, 1000, 1), (10**17, 1, 1), (10**20, 1, 1000))
_BUCKET_US = 900 * MICROS  # every zone changes its offset on a quarter of an hour


class BadTimestamp(ValueError):  # noqa: N818 - says what the value is
    """The value is there but is no time that can be shown."""


class Clock:
    """Reads timestamps; those without an offset are local times of ``zone``.

    A local time that occurs twice is the first of the two, one that never occurs is read with the
    offset before the gap, as ``datetime`` does with ``fold=0``.
    """

    def __init__(self, zone: dt.tzinfo) -> None:
        self.zone = zone
        self.is_utc = zone is dt.UTC or str(zone) in ("UTC", "Etc/UTC")
        self._offsets: dict[int, int] = {}

    def micros(self, value: Any) -> int | None:
        """Microseconds since the epoch; None for null or an empty text; else ``BadTimestamp``."""
        if value is None or value == "":
            return None
        reader = _READERS.get(type(value))
        if reader is None:
            raise BadTimestamp
        try:
            found = reader(self, value)
        except (ValueError, OverflowError, ArithmeticError) as exc:
            raise BadTimestamp from exc
        return in_range(found)

    def from_local(self, local_us: int) -> int:
        """The instant of a local time that is given as if it were UTC."""
        bucket = local_us // _BUCKET_US
        offset = self._offsets.get(bucket)
        if offset is None:
            offset = self._offsets[bucket] = self._offset_at(bucket * _BUCKET_US)
        return local_us - offset

    def earliest_local(self, us: int) -> int:
        """A local time, as if it were UTC, that no row written at ``us`` or later lies before.

        Where the clock is put back near that instant, local times run twice: then three hours earlier.
        """
        around = [self._shift(us + hours * 3600 * MICROS) for hours in (-3, 0, 3)]
        margin = 3 * 3600 * MICROS if len(set(around)) > 1 else 0
        return us + min(around) - margin

    def _offset_at(self, local_us: int) -> int:
        local = _NAIVE_EPOCH + dt.timedelta(microseconds=local_us)
        return _span(local.replace(tzinfo=self.zone).utcoffset())

    def _shift(self, us: int) -> int:
        instant = _EPOCH + dt.timedelta(microseconds=min(max(us, EARLIEST_US), LATEST_US))
        return _span(instant.astimezone(self.zone).utcoffset())

    def _read_datetime(self, value: dt.datetime) -> int:
        if value.tzinfo is None:
            return self.from_local(_span(value - _NAIVE_EPOCH))
        return _span(value - _EPOCH)

    def _read_date(self, value: dt.date) -> int:
        return self._read_datetime(dt.datetime(value.year, value.month, value.day))

    def _read_text(self, value: str) -> int:
        text = value.strip()
        if text.isascii() and text.isdigit() and len(text) != 8:
            return self._read_number(int(text[:25]))
        if text[-1:] in "zZ":
            text = text[:-1] + "+00:00"
        elif text[-4:].upper() in (" UTC", " GMT"):
            text = text[:-4] + "+00:00"
        try:
            return self._read_datetime(dt.datetime.fromisoformat(text))
        except ValueError:
            return self._read_number(float(text))

    def _read_number(self, value: Any) -> int:
        size: Any = abs(value)
        for limit, factor, divisor in EPOCH_UNITS:
            if size < limit:
                return int(math.floor(value * factor) // divisor)
        raise BadTimestamp


def in_range(us: int) -> int:
    """``us`` itself, or ``BadTimestamp`` where no calendar date can show it in every zone."""
    if not EARLIEST_US <= us < LATEST_US:
        raise BadTimestamp
    return us


def _span(delta: dt.timedelta | None) -> int:
    if delta is None:
        return 0
    return (delta.days * 86400 + delta.seconds) * MICROS + delta.microseconds


_READERS: dict[type, Callable[[Clock, Any], int]] = {
    str: Clock._read_text,
    int: Clock._read_number,
    float: Clock._read_number,
    Decimal: Clock._read_number,
    dt.datetime: Clock._read_datetime,
    dt.date: Clock._read_date,
}

"""Times as text: ISO 8601 with one offset, seconds rounded down.

Lists show twenty times a page that no other page shows, so what is kept are days, of which there are few.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_FIRST_SECOND = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LAST_SECOND = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())
_DAY = 86_400
_MOST_DAYS = 4096
_MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))


class Stamps:
    """Writes seconds since the epoch; ``offset`` is the same at all times."""

    def __init__(self, offset: tzinfo) -> None:
        self._offset = offset
        self._shift = (offset.utcoffset(None) or timedelta()) // timedelta(seconds=1)
        self._days: dict[int, str] = {}
        suffix = self._slowly(0)[19:]
        self._minutes = _MINUTES
        self._seconds = tuple(f"{second:02}{suffix}" for second in range(60))

    def __call__(self, second: int) -> str:
        """The text of a second; times that a calendar cannot hold are moved to its ends."""
        day, rest = divmod(second + self._shift, _DAY)
        date = self._days.get(day)
        if date is None:
            text = self._slowly(second)
            self._remember(day, text)
            return text
        return f"{date}{self._minutes[rest // 60]}{self._seconds[rest % 60]}"

    def _slowly(self, second: int) -> str:
        moment = min(max(second, _FIRST_SECOND), _LAST_SECOND)
        return datetime.fromtimestamp(moment, self._offset).isoformat()

    def _remember(self, day: int, text: str) -> None:
        # Not those in which the calendar ends, where seconds are moved.
        if _FIRST_SECOND + _DAY < day * _DAY < _LAST_SECOND - 2 * _DAY:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            self._days[day] = text[:11]

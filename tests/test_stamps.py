"""Times are written as the calendar writes them, whichever days were asked about before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web import stamps
from web.stamps import Stamps

GMT7 = timezone(timedelta(hours=7))
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def in_words(second: int, offset: timezone) -> str:
    moment = min(max(second, int(FIRST.timestamp())), int(LAST.timestamp()))
    return datetime.fromtimestamp(moment, offset).isoformat()


@settings(max_examples=300)
@given(
    st.lists(st.integers(-(10**12), 10**12) | st.integers(-200_000, 200_000), min_size=1, max_size=20),
    st.integers(-14 * 60, 14 * 60),
)
def test_every_second_is_that_of_the_calendar(seconds: list[int], minutes: int) -> None:
    offset = timezone(timedelta(minutes=minutes))
    write = Stamps(offset)
    for second in seconds * 2:
        assert write(second) == in_words(second, offset)


@pytest.mark.parametrize("end", [int(FIRST.timestamp()), int(LAST.timestamp())])
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_the_ends_of_the_calendar_hold(end: int, hours: int) -> None:
    offset = timezone(timedelta(hours=hours))
    write = Stamps(offset)
    for second in range(end - 4 * 86_400, end + 4 * 86_400, 7_000):
        assert write(second) == in_words(second, offset)
        assert write(second + 1) == in_words(second + 1, offset)


def test_days_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_MOST_DAYS", 10)
    write = Stamps(GMT7)
    for day in range(100):
        assert write(day * 86_400) == in_words(day * 86_400, GMT7)
        assert len(write._days) <= 10

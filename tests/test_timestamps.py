"""Timestamps of any form are read as the instant they mean, or refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.timestamps import BadTimestamp, Clock

UTC = Clock(ZoneInfo("UTC"))
HANOI = Clock(ZoneInfo("Asia/Ho_Chi_Minh"))
BERLIN = Clock(ZoneInfo("Europe/Berlin"))
SAMPLE = 1_755_933_900_000_000  # 2025-08-23T07:25:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2025-08-23T07:25:00Z",
        "2025-08-23 07:25:00z",
        "2025-08-23 07:25:00 UTC",
        "2025-08-23T14:25:00+07:00",
        "2025-08-23 14:25:00+07",
        "2025-08-23T14:25:00.000000+0700",
        " 2025-08-23 07:25 ",
        "1755933900",
        "1755933900000",
        "1755933900.0",
        1755933900,
        1755933900.0,
        1755933900000,
        1755933900000000,
        1755933900000000000,
        Decimal("1755933900"),
        dt.datetime(2025, 8, 23, 7, 25),
        dt.datetime(2025, 8, 23, 14, 25, tzinfo=dt.timezone(dt.timedelta(hours=7))),
    ],
)
def test_every_common_form_means_the_same_instant(value: object) -> None:
    assert UTC.micros(value) == SAMPLE


def test_a_text_without_an_offset_is_local_time() -> None:
    assert HANOI.micros("2025-08-23T14:25:00") == SAMPLE
    assert HANOI.micros("2025-08-23T07:25:00Z") == SAMPLE


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_no_time(value: object) -> None:
    assert UTC.micros(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "0000-00-00 00:00:00",
        "infinity",
        "nan",
        float("inf"),
        float("nan"),
        10**30,
        -(10**20),
        b"2025",
        "2025-13-01",
        "9999-12-31T23:59:59",
        "0001-01-01",
        True,
        [],
        "9" * 5000,
        Decimal("Infinity"),
        "�",
    ],
)
def test_absurd_values_are_refused(value: object) -> None:
    with pytest.raises(BadTimestamp):
        UTC.micros(value)


def test_a_local_time_that_occurs_twice_is_the_first_of_the_two() -> None:
    assert BERLIN.micros("2025-10-26T02:30:00") == UTC.micros("2025-10-26T00:30:00Z")


def test_a_window_by_local_time_starts_before_every_later_row_when_clocks_are_put_back() -> None:
    before = UTC.micros("2025-10-26T00:59:59Z")
    assert before is not None
    later_local = UTC.micros("2025-10-26T02:10:00Z")  # what Berlin's clocks show at 01:10Z
    assert later_local is not None
    assert BERLIN.earliest_local(before) <= later_local


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))
def test_local_times_agree_with_the_standard_library(local: dt.datetime) -> None:
    expected = (local.replace(tzinfo=BERLIN.zone) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(
        microseconds=1
    )
    assert BERLIN.micros(local.isoformat()) == expected

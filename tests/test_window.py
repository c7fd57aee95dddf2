"""Windows begin where nothing can be lost, and what was handed on is remembered exactly."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from scanner.naming import hashes_of
from scanner.timestamps import EARLIEST_US, MICROS
from scanner.window import LARGE_WINDOW, Seen, TableState

ROWS = st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers(0, 3)), max_size=30)


@given(st.lists(ROWS, max_size=6))
def test_seen_passes_on_what_the_last_window_did_not_hold(
    windows: list[list[tuple[str, int | None]]],
) -> None:
    seen = Seen()
    before: set[object] = set()
    for window in windows:
        fresh = [window[place] for place in seen.fresh(hashes_of(window))]
        assert fresh == [row for row in window if row not in before]
        seen.commit()
        before = set(window)


def test_what_is_forgotten_is_handed_on_again() -> None:
    seen = Seen()
    row = hashes_of([("a", 1)])
    seen.add(row)
    seen.commit()
    assert list(seen.fresh(row)) == []
    seen.forget()
    assert list(seen.fresh(row)) == [0]


def test_a_table_without_any_update_is_read_from_the_beginning() -> None:
    assert TableState().lower_us(60 * MICROS) == EARLIEST_US


def test_the_watermark_follows_the_latest_update_that_is_not_in_the_future() -> None:
    state = TableState()
    state.raise_watermark([5, None, 1000, 7], now_us=100)
    assert state.watermark_us == 7
    state.raise_watermark([6, None], now_us=100)
    assert state.watermark_us == 7
    state.raise_watermark([], now_us=100)
    assert state.lower_us(3) == 4


def test_a_large_window_is_left_behind_only_once_it_has_been_quiet_for_the_overlap() -> None:
    state = TableState()
    state.seen.add([(n,) for n in range(LARGE_WINDOW + 1)])
    state.seen.commit()
    state.raise_watermark([100 * MICROS], now_us=200 * MICROS)
    assert state.lower_us(60 * MICROS) == 40 * MICROS
    state.raised_at = time.monotonic() - 61
    assert state.lower_us(60 * MICROS) == 100 * MICROS + 1


def test_a_small_window_keeps_its_overlap_however_quiet_it_is() -> None:
    state = TableState()
    state.raise_watermark([100 * MICROS], now_us=200 * MICROS)
    state.raised_at = time.monotonic() - 3600
    assert state.lower_us(60 * MICROS) == 40 * MICROS

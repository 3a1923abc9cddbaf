"""Public holidays, looked up by several threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from chassis.public_holidays import is_public_holiday


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Lets threads take turns much more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def test_threads_that_first_ask_about_a_year_at_the_same_time_all_know_its_holidays(
    short_turns: None,
) -> None:
    start = threading.Barrier(4)

    def is_holiday(day: date) -> bool:
        start.wait()
        return is_public_holiday("NI", day)

    with ThreadPoolExecutor(4) as pool:
        for year in range(2030, 2100, 2):
            christmas = [date(year, 12, 25), date(year + 1, 12, 25)] * 2
            assert list(pool.map(is_holiday, christmas)) == [True] * 4


def test_a_country_without_a_calendar_has_no_holidays() -> None:
    assert is_public_holiday("NI", date(2026, 7, 19))
    assert not is_public_holiday("NI", date(2026, 7, 21))
    assert not is_public_holiday("XX", date(2026, 12, 25))

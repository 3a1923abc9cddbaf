"""The number of guesses that a budget allows in the long run.

The tests of passwords and PINs cover the counting itself.
"""

from datetime import timedelta
from typing import Any

import pytest

from chassis.guesses import Budget
from services.partners.sign_in.usecases.sessions import ACCOUNT_BUDGET
from services.referrals.line.usecases.contacts import ADDRESS_BUDGET, LANES, REFERENCE_BUDGET
from tests.builders import NOON

DAY = timedelta(days=1)


def allowed_guesses(budget: Budget, time: timedelta) -> int:
    """Returns the maximum number of wrong guesses that a budget allows within a time."""
    now, end = NOON, NOON + time
    row: dict[str, Any] = {"whole_time": now, "wrong": 0}
    while now <= end:
        whole_time, wait = budget.after_guess(row, now)
        if wait:
            now += wait
        else:
            row = {"whole_time": whole_time, "wrong": row["wrong"] + 1}
    return int(row["wrong"])


def test_a_pin_is_guessed_within_a_year_with_a_chance_of_less_than_one_in_twenty() -> None:
    assert allowed_guesses(REFERENCE_BUDGET, timedelta(0)) == 10
    assert allowed_guesses(REFERENCE_BUDGET, DAY) == 22
    assert allowed_guesses(REFERENCE_BUDGET, 365 * DAY) / 10_000 < 0.05


def test_an_address_gets_at_most_174_wrong_guesses_a_day() -> None:
    assert allowed_guesses(ADDRESS_BUDGET, DAY) == 30 + 144


def test_a_password_is_exposed_to_fewer_than_ten_thousand_guesses_a_year() -> None:
    assert allowed_guesses(ACCOUNT_BUDGET, 365 * DAY) < 10_000


@pytest.mark.parametrize("wrong", [0, 99, 100, 5000])
def test_a_guess_that_is_given_back_costs_nothing(wrong: int) -> None:
    whole_time, wait = REFERENCE_BUDGET.after_guess({"whole_time": NOON, "wrong": wrong}, NOON)
    assert not wait
    assert whole_time - REFERENCE_BUDGET.cost(wrong) == NOON


def test_a_year_of_guesses_from_new_addresses_finds_a_pin_in_less_than_a_tenth_of_cases() -> None:
    assert allowed_guesses(LANES.newcomer, 365 * DAY) / 10_000 < 0.1
    assert allowed_guesses(LANES.at_address, DAY) == 6

"""Rules for callbacks that a line owes: the hours a person asked for, and settled callbacks."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from chassis.errors import Invalid
from chassis.local_time import zone_of
from services.referrals.line.domain.callback import HOURS, Callback, RequestedHours, past_hours
from tests.builders import NOON, conflict_of, violations_of
from tests.referrals.test_callbacks import MANAGUA, local_time


@pytest.mark.parametrize(
    ("requested", "now", "hours"),
    [
        (
            RequestedHours("tomorrow", "evening"),
            local_time(4, 23, 30),
            (local_time(5, 17), local_time(5, 20)),
        ),
        pytest.param(
            RequestedHours("today", "morning"),
            local_time(4, 9, 15),
            (local_time(4, 9, 15), local_time(4, 12)),
            id="hours that have already begun count from now",
        ),
        pytest.param(
            RequestedHours("tomorrow", "evening", counted_from=local_time(4, 23, 59).date()),
            local_time(5, 0, 1),
            (local_time(5, 17), local_time(5, 20)),
            id="a day chosen before midnight is the same day after midnight",
        ),
    ],
)
def test_the_requested_hours_are_those_of_the_call(
    requested: RequestedHours, now: datetime, hours: tuple[datetime, datetime]
) -> None:
    assert requested.hours(now, MANAGUA) == hours


@pytest.mark.parametrize(
    ("country", "department", "hours_behind"),
    [
        ("NI", "", 6),
        ("PA", "", 5),
        ("DO", "", 4),
        ("HT", "", 5),
        ("US", "US-CA", 8),
        ("US", "US-TX", 6),
        ("ES", "", -1),
        ("ES", "ES-CN", 0),
        ("NI", "EC-G", 5),
        ("NI", "ES-MD", -1),
    ],
)
def test_the_hours_for_a_call_are_local_to_the_person(
    country: str, department: str, hours_behind: int
) -> None:
    start = datetime(2026, 3, 5, 17, tzinfo=UTC) + timedelta(hours=hours_behind)
    hours = RequestedHours("tomorrow", "evening").hours(NOON, zone_of(country, department))
    assert hours == (start, start + timedelta(hours=3))


@pytest.mark.parametrize(
    ("department", "hours_behind"), [("MX-TAM", 5), ("MX-BCN", 7), ("MX-NLE", 6)]
)
def test_the_hours_for_a_call_at_the_border_of_mexico_follow_its_summer_time(
    department: str, hours_behind: int
) -> None:
    start = datetime(2026, 7, 5, 17, tzinfo=UTC) + timedelta(hours=hours_behind)
    noon = datetime(2026, 7, 4, 18, tzinfo=UTC)
    assert RequestedHours("tomorrow", "evening").hours(noon, zone_of("MX", department))[0] == start


@pytest.mark.parametrize(
    ("hour", "minute", "expected"),
    [
        (7, 0, []),
        (11, 30, []),
        (16, 31, ["morning", "afternoon"]),
        (22, 30, ["morning", "afternoon", "evening"]),
        (23, 50, list(HOURS)),
    ],
)
def test_hours_of_today_that_leave_no_time_for_a_call_are_named_and_refused(
    hour: int, minute: int, expected: list[str]
) -> None:
    now = local_time(4, hour, minute).astimezone(UTC)

    def is_refused(hour_code: str) -> bool:
        try:
            RequestedHours("today", hour_code).hours(now, MANAGUA)
        except Invalid:
            return True
        return False

    assert (past_hours(now, MANAGUA), [*filter(is_refused, HOURS)]) == (expected, expected)


@pytest.mark.parametrize("day", [3, 6])
def test_a_day_is_counted_only_from_today_or_yesterday(day: int) -> None:
    requested = RequestedHours("in_three_days", "evening", "callback.", local_time(day, 12).date())
    assert violations_of(lambda: requested.hours(local_time(5, 0, 1), MANAGUA)) == [
        ("callback.day_code", "out_of_range")
    ]


def test_a_callback_is_settled_only_once() -> None:
    callback = Callback.create(
        "callback", "contact", "line", NOON, (NOON, NOON + timedelta(hours=3)), by_herself=True
    )
    callback.try_again(NOON, (NOON + timedelta(days=1), NOON + timedelta(days=1, hours=3)))
    assert (callback.tries, callback.outcome_code, callback.clock.running) == (1, "", True)
    callback.settle(NOON, "given_up", "worker")
    assert (callback.tries, callback.clock.running) == (2, False)
    for step in (
        partial(callback.settle, NOON, "reached", "worker"),
        partial(callback.try_again, NOON, (NOON, NOON)),
        partial(callback.move, NOON, (NOON, NOON), by_herself=False),
    ):
        assert conflict_of(step) == "callback_settled"

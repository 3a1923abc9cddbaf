"""Opening hours according to RFC 5545: days, hours past midnight, holidays, and overlaps."""

from datetime import date, datetime, time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from services.partners.directory.domain.schedule import Frequency, Schedule, check_schedules, hours
from services.partners.network.domain.check import Check
from tests.builders import violations_of

MANAGUA = ZoneInfo("America/Managua")
MONTH = date(2026, 11, 1), date(2026, 11, 30)


def weekly(days: str = "", opens: str = "08:00", closes: str = "17:00", **rest: object) -> Schedule:
    return Schedule(
        Frequency.WEEKLY,
        time.fromisoformat(opens),
        time.fromisoformat(closes),
        tuple(days.split()),
        **rest,  # type: ignore[arg-type]
    )


def monthly(days: str, opens: str = "08:00", closes: str = "17:00", **rest: object) -> Schedule:
    return Schedule(
        Frequency.MONTHLY,
        time.fromisoformat(opens),
        time.fromisoformat(closes),
        tuple(days.split()),
        **rest,  # type: ignore[arg-type]
    )


def check(*schedules: Schedule) -> None:
    """Checks the schedules of one service, as the check of its entry does."""
    fields = Check("service")
    check_schedules(schedules, fields, "schedules")
    fields.done()


def days_of(*schedules: Schedule, holidays: tuple[date, ...] = ()) -> list[int]:
    """Returns the days of November 2026 on which the schedules begin."""
    times = hours(schedules, *MONTH, MANAGUA, lambda day: day in holidays)
    return [begins.day for begins, _ in times if begins.month == MONTH[0].month]


def test_a_weekly_schedule_is_open_on_its_days() -> None:
    assert days_of(weekly("MO FR")) == [2, 6, 9, 13, 16, 20, 23, 27, 30]
    assert len(days_of(weekly())) == 30, "without days, a schedule applies to every day"


def test_a_monthly_schedule_counts_weekdays_from_the_start_or_the_end_of_the_month() -> None:
    # this November has four Tuesdays
    for day, days in (("1MO", [2]), ("-1FR", [27]), ("5MO", [30]), ("5TU", [])):
        assert days_of(monthly(day)) == days, day


def test_a_schedule_is_open_only_while_it_is_valid() -> None:
    assert days_of(weekly("MO", valid_from=date(2026, 11, 9), valid_to=date(2026, 11, 16))) == [
        9,
        16,
    ]


def test_a_schedule_is_closed_on_public_holidays_unless_it_states_otherwise() -> None:
    assert days_of(weekly("MO"), holidays=(date(2026, 11, 2),)) == [9, 16, 23, 30]
    assert days_of(weekly("MO", holidays=True), holidays=(date(2026, 11, 2),)) == [2, 9, 16, 23, 30]


def test_hours_may_run_past_midnight_and_equal_hours_mean_the_whole_day() -> None:
    (first, second) = hours(
        [weekly("MO", "20:00", "06:00"), weekly("WE", "00:00", "00:00")],
        date(2026, 11, 2),
        date(2026, 11, 4),
        MANAGUA,
        lambda _: False,
    )
    assert [moment.strftime("%d %H:%M") for moment in (*first, *second)] == [
        "02 20:00",
        "03 06:00",
        "04 00:00",
        "05 00:00",
    ]


def test_hours_that_do_not_exist_because_the_clocks_go_forward_are_left_out() -> None:
    day = date(2027, 3, 14)  # in New York, 03:00 follows 01:59
    schedules = [weekly("SU", "02:30", "03:00"), weekly("SU", "08:00", "09:00")]
    times = hours(schedules, day, day, ZoneInfo("America/New_York"), lambda _: False)
    assert [begins.hour for begins, _ in times] == [8]
    schedules = [weekly("SU", "01:30", "02:30"), weekly("SU", "02:30", "05:00")]
    times = hours(schedules, day, day, ZoneInfo("America/New_York"), lambda _: False)
    assert [ends.timestamp() - begins.timestamp() for begins, ends in times] == [3600, 5400]


@pytest.mark.parametrize(
    "schedules",
    [
        (weekly("MO TU"), weekly("TU", "16:59", "20:00")),
        (weekly("MO", "20:00", "06:00"), weekly("TU", "05:00", "09:00")),
        (weekly("MO"), monthly("1MO")),
        (weekly("SU", "20:00", "06:00"), weekly("MO", "05:00", "09:00")),
        (monthly("5MO"), monthly("-1MO")),
        (weekly("MO", valid_to=date(2026, 5, 4)), weekly("MO", valid_from=date(2026, 5, 4))),
        (weekly("MO", valid_to=date(2019, 5, 6)), weekly("MO")),
    ],
)
def test_overlapping_hours_are_refused(schedules: tuple[Schedule, ...]) -> None:
    assert violations_of(lambda: check(*schedules)) == [("service.schedules.1", "overlaps")]


@pytest.mark.parametrize(
    "schedules",
    [
        (weekly("MO", "08:00", "12:00"), weekly("MO", "12:00", "17:00")),
        (weekly("MO", valid_to=date(2026, 5, 4)), weekly("MO", valid_from=date(2026, 5, 5))),
        (monthly("1MO"), monthly("2MO")),
        (weekly("MO", "20:00", "06:00"), weekly("TU", "06:00", "20:00")),
        (weekly("", "00:00", "00:00"),),
    ],
)
def test_adjoining_hours_are_accepted(schedules: tuple[Schedule, ...]) -> None:
    check(*schedules)


@pytest.mark.parametrize(
    ("schedule", "field", "reason"),
    [
        (weekly("MO LU"), "byday.1", "unknown_code"),
        (monthly("MO"), "byday.0", "unknown_code"),
        (monthly(""), "byday", "required"),
        (
            weekly(valid_from=date(2026, 2, 1), valid_to=date(2026, 1, 1)),
            "valid_to",
            "out_of_range",
        ),
    ],
)
def test_invalid_days_are_reported(schedule: Schedule, field: str, reason: str) -> None:
    assert violations_of(lambda: check(schedule)) == [(f"service.schedules.0.{field}", reason)]


def test_accepted_schedules_never_overlap_over_two_years() -> None:
    schedules = [
        weekly("MO TU WE TH FR", "08:00", "12:00"),
        weekly("MO TU", "13:00", "02:00"),
        monthly("-1SU", "00:00", "00:00"),
        weekly("SA", "00:00", "00:00"),
    ]
    check(*schedules)
    times = hours(schedules, date(2026, 1, 1), date(2027, 12, 31), MANAGUA, lambda _: False)
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    assert datetime(2026, 2, 22, tzinfo=MANAGUA) in [begins for begins, _ in times]

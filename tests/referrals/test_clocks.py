"""The rules of deadlines: their spans, calendars, levels, pauses and changes of urgency."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.local_time import zone_of
from chassis.public_holidays import is_public_holiday
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    Deadline,
    DeadlineKind,
    Policy,
    Urgency,
    assault_to_the_hour,
    check_urgency,
    due_time,
    recent_assault_time,
)
from services.referrals.network.usecases.policies import PlaceCalendar
from tests.builders import NOON, violations_of
from tests.referrals.test_lifecycle import EveryDay

NICARAGUA = PlaceCalendar("NI")
K, H, M = DeadlineKind, timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("urgency", "acknowledge", "decide", "first_contact"),
    [
        (Urgency.IMMEDIATE, 15 * M, 1 * H, 12 * H),
        (Urgency.EMERGENCY, 1 * H, 24 * H, 24 * H),
        (Urgency.URGENT, 24 * H, 72 * H, 72 * H),
        # two working days from a Wednesday are 48 hours
        (Urgency.NORMAL, 48 * H, 14 * 24 * H, 14 * 24 * H),
    ],
)
def test_the_urgency_sets_the_deadlines(
    urgency: Urgency, acknowledge: timedelta, decide: timedelta, first_contact: timedelta
) -> None:
    kinds = (K.ACKNOWLEDGE, K.DECIDE, K.FIRST_CONTACT, K.SILENCE, K.CLOSE)
    assert [due_time(kind, urgency, NOON, NICARAGUA) - NOON for kind in kinds] == [
        acknowledge,
        decide,
        first_contact,
        timedelta(days=7),
        timedelta(days=14),
    ]


@pytest.mark.parametrize(
    ("start", "due"),
    [
        pytest.param("2026-03-05T18", "2026-03-09T18", id="Thursday to Monday, over a weekend"),
        pytest.param("2026-03-06T18", "2026-03-10T18", id="Friday to Tuesday"),
        pytest.param(
            "2026-03-07T02", "2026-03-11T02", id="Friday to Tuesday, at 20:00 in Nicaragua"
        ),
        pytest.param("2026-03-07T18", "2026-03-10T18", id="Saturday counts from Monday"),
        # 14 and 15 September are San Jacinto and Independence; in 2026 a Monday and a Tuesday.
        pytest.param("2026-09-11T18", "2026-09-17T18", id="a weekend and two holidays"),
        pytest.param("2026-12-24T18", "2026-12-29T18", id="Christmas and a weekend"),
    ],
)
def test_two_working_days_follow_the_calendar_of_nicaragua(start: str, due: str) -> None:
    start_time, expected = (
        datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, due)
    )
    assert due_time(K.ACKNOWLEDGE, Urgency.NORMAL, start_time, NICARAGUA) == expected


def test_holidays_follow_the_persons_country() -> None:
    monday, day = datetime(2026, 9, 14, 18, tzinfo=UTC), timedelta(days=1)
    assert NICARAGUA.after_working_days(monday, 1) == monday + 2 * day  # after Independence
    assert PlaceCalendar("MX").after_working_days(monday, 1) == monday + day
    unknown_country = PlaceCalendar("??")  # only weekends
    assert unknown_country.after_working_days(monday, 1) == monday + day
    assert unknown_country.after_working_days(monday - 3 * day, 1) == monday


@pytest.mark.parametrize(
    ("department", "start", "end"),
    [
        ("ES-MD", "2026-03-27 23:30", "2026-03-30 23:30"),  # the Sunday has 23 hours
        ("ES-MD", "2026-10-23 00:30", "2026-10-26 00:30"),  # the Sunday has 25 hours
        ("MX-BCN", "2026-10-16 22:30", "2026-10-19 22:30"),  # Saturday in Mexico City
    ],
)
def test_a_working_day_after_a_friday_is_the_monday_at_the_same_local_time(
    department: str, start: str, end: str
) -> None:
    country = department[:2]
    start_time, end_time = (
        datetime.fromisoformat(text).replace(tzinfo=zone_of(country, department)).astimezone(UTC)
        for text in (start, end)
    )
    assert PlaceCalendar(country, department).after_working_days(start_time, 1) == end_time


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 10),
    st.sampled_from(["ES", "ES-CN", "US", "US-AZ", "MX", "MX-BCN", "NI"]),
)
def test_every_working_day_counts_once_in_every_zone(
    start: datetime, count: int, place: str
) -> None:
    zone, country = zone_of(place[:2], place), place[:2]
    end = PlaceCalendar(country, place).after_working_days(start, count)
    days = (end.astimezone(zone).date() - start.astimezone(zone).date()).days
    passed_days = [start.astimezone(zone).date() + timedelta(days=n) for n in range(1, days + 1)]
    working_days = [d for d in passed_days if d.weekday() < 5 and not is_public_holiday(country, d)]
    assert (len(working_days), working_days[-1]) == (count, passed_days[-1])


def test_each_level_of_a_deadline_fires_once() -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    levels = {hours: deadline.fire(NOON + hours * H) for hours in range(22)}
    assert {hours: level for hours, level in levels.items() if level} == {
        5: 50,
        10: 100,
        15: 150,
        20: 200,
    }
    assert deadline.next_time is None


@pytest.mark.parametrize(
    ("hours", "level"),
    [(4, None), (5, 50), (9, 50), (10, 100), (14, 100), (15, 150), (19, 150), (1_000, 200)],
)
def test_a_level_missed_during_a_pause_of_the_loop_does_not_fire_late(
    hours: int, level: int | None
) -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    assert deadline.fire(NOON + hours * H) == level
    assert deadline.fire(NOON + hours * H) is None


def test_resuming_a_deadline_adds_the_time_of_the_pause() -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    deadline.fire(NOON + 5 * H)
    deadline.pause(NOON + 6 * H)
    assert deadline.next_time is None
    assert deadline.fire(NOON + 100 * H) is None
    deadline.resume(NOON + 106 * H)
    assert (deadline.start_time, deadline.due_time) == (NOON + 100 * H, NOON + 110 * H)
    assert deadline.next_time == NOON + 110 * H
    assert deadline.fire(NOON + 109 * H) is None
    assert deadline.fire(NOON + 110 * H) == 100


def test_a_stopped_deadline_neither_fires_nor_resumes() -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    deadline.stop(NOON + 1 * H)
    deadline.stop(NOON + 2 * H)
    deadline.pause(NOON + 2 * H)
    deadline.resume(NOON + 3 * H)
    assert (deadline.stop_time, deadline.due_time) == (NOON + 1 * H, NOON + 10 * H)
    assert deadline.fire(NOON + 100 * H) is None


@pytest.mark.parametrize(
    ("urgency", "now", "start", "due"),
    [
        # a deadline of three days; a longer one counts from its start, a shorter one from now
        (Urgency.NORMAL, 10 * H, 0 * H, 14 * 24 * H),
        (Urgency.URGENT, 10 * H, 0 * H, 72 * H),
        (Urgency.EMERGENCY, 10 * H, 10 * H, 34 * H),
        (Urgency.EMERGENCY, 47 * H, 47 * H, 71 * H),
        (Urgency.EMERGENCY, 48 * H, 0 * H, 72 * H),
        (Urgency.EMERGENCY, 60 * H, 0 * H, 72 * H),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_another_urgency_prolongs_a_deadline_from_its_start_and_shortens_it_from_now(
    urgency: Urgency, now: timedelta, start: timedelta, due: timedelta, paused: bool
) -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 72 * H, fired_percent=50)
    if paused:  # the deadline is recounted as of the start of the pause
        deadline.pause(NOON + now)
        now += 1_000 * H
    deadline.adapt(NOON + now, urgency, NICARAGUA)
    assert (deadline.start_time, deadline.due_time) == (NOON + start, NOON + due)
    assert deadline.fired_percent == (0 if start else 50)


@pytest.mark.parametrize(
    ("fired_percent", "now", "expected_percent"),
    [
        # from one hour to one day: due after 24 hours, and escalated after 36
        (0, 2 * H, 0),
        (50, 2 * H, 50),
        (100, 2 * H, 50),
        (150, 2 * H, 50),
        (100, 24 * H, 100),
        (150, 24 * H, 100),
        (150, 36 * H, 150),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_a_prolonged_deadline_reports_again_that_it_passed_and_repeats_no_reminder(
    fired_percent: int, now: timedelta, expected_percent: int, paused: bool
) -> None:
    deadline = Deadline(K.ACKNOWLEDGE, NOON, NOON + H, fired_percent=fired_percent)
    if paused:
        deadline.pause(NOON + now)
        now += 1_000 * H
    deadline.adapt(NOON + now, Urgency.URGENT, NICARAGUA)
    assert (deadline.due_time, deadline.fired_percent) == (NOON + 24 * H, expected_percent)


@pytest.mark.parametrize(
    ("fired_percent", "now", "next_time"),
    [
        # from three days, which have passed, to one hour; the old deadline would report at 108 h
        (100, 80 * H, 80.5 * H),
        (100, 107.5 * H, 108 * H),
        (150, 110 * H, 110.5 * H),
        (200, 200 * H, 200.5 * H),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_a_raised_urgency_is_reported_soon_even_if_the_deadline_has_passed(
    fired_percent: int, now: timedelta, next_time: timedelta, paused: bool
) -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 72 * H, fired_percent=fired_percent)
    pause = 1_000 * H if paused else 0 * H
    if paused:
        deadline.pause(NOON + now)
    deadline.adapt(NOON + now + pause, Urgency.IMMEDIATE, NICARAGUA)
    deadline.resume(NOON + now + pause)
    assert deadline.next_time == NOON + next_time + pause
    deadline.adapt(NOON + now + pause, Urgency.IMMEDIATE, NICARAGUA)
    assert deadline.next_time == NOON + next_time + pause, "the same urgency changes nothing"


def test_a_deadline_that_has_not_begun_is_shortened_from_its_beginning() -> None:
    deadline = Deadline(K.FIRST_CONTACT, NOON + 100 * H, NOON + 436 * H, fired_percent=0)
    deadline.adapt(NOON, Urgency.EMERGENCY, NICARAGUA)
    assert (deadline.start_time, deadline.due_time) == (NOON + 100 * H, NOON + 124 * H)


class TwoPolicies(EveryDay):
    """The calendar of a network whose second policy has longer deadlines than the first."""

    def policy(self, version: int = 0) -> Policy:
        longer_spans = {(Urgency.URGENT, K.DECIDE): 96 * H, (Urgency.EMERGENCY, K.DECIDE): 36 * H}
        return {1: FIRST_POLICY, 2: Policy(2, dict(FIRST_POLICY.spans) | longer_spans)}[
            version or 2
        ]


@pytest.mark.parametrize(
    ("urgency", "version", "due"),
    [
        (Urgency.URGENT, 1, 72 * H),
        (Urgency.URGENT, 2, 96 * H),
        (Urgency.EMERGENCY, 1, 25 * H),
        (Urgency.EMERGENCY, 2, 37 * H),
    ],
)
def test_another_urgency_adapts_a_deadline_by_the_policy_under_which_the_deadline_began(
    urgency: Urgency, version: int, due: timedelta
) -> None:
    deadline = Deadline(K.DECIDE, NOON, NOON + 48 * H, policy_version=version)
    deadline.adapt(NOON + H, urgency, TwoPolicies())
    assert (deadline.due_time, deadline.policy_version) == (NOON + due, version)


@pytest.mark.parametrize(
    ("urgency", "answers_urgency", "reason", "is_accepted"),
    [
        (Urgency.NORMAL, None, "", True),
        (Urgency.URGENT, Urgency.URGENT, "", True),
        (Urgency.EMERGENCY, Urgency.URGENT, "", True),
        (Urgency.NORMAL, Urgency.URGENT, "safe_now", True),
        (Urgency.NORMAL, Urgency.URGENT, "", False),
    ],
)
def test_an_urgency_below_the_urgency_of_the_answers_needs_a_reason(
    urgency: Urgency, answers_urgency: Urgency | None, reason: str, is_accepted: bool
) -> None:
    if is_accepted:
        check_urgency(urgency, answers_urgency, reason)
        return
    assert violations_of(lambda: check_urgency(urgency, answers_urgency, reason)) == [
        ("urgency_reason_code", "required")
    ]


@pytest.mark.parametrize(
    ("age", "is_recent"), [(0 * H, True), (120 * H - M, True), (120 * H, False), (121 * H, False)]
)
def test_an_assault_is_recent_for_five_days(age: timedelta, is_recent: bool) -> None:
    assert recent_assault_time(NOON - age, NOON) == (NOON - age if is_recent else None)
    assert recent_assault_time(None, NOON) is None


@pytest.mark.parametrize(
    ("age", "stored_age"),
    [(0 * H, 0 * H), (timedelta(minutes=59, microseconds=1), 1 * H), (120 * H, 120 * H)],
)
def test_the_time_of_an_assault_is_rounded_down_to_the_hour(
    age: timedelta, stored_age: timedelta
) -> None:
    assert assault_to_the_hour("time", NOON - age, NOON, None) == NOON - stored_age


def test_an_assault_in_the_future_or_long_ago_is_refused_unless_its_time_is_stored() -> None:
    for assault_time in (NOON + M, NOON - 120 * H - M):
        assert violations_of(
            partial(assault_to_the_hour, "time", assault_time, NOON, NOON - H)
        ) == [("time", "out_of_range")]
    stored_time = NOON - 500 * H
    assert assault_to_the_hour("time", stored_time + M, NOON, stored_time) == stored_time

"""Calls that a line owes.

A call is made at a time that is safe for the person, has a deadline, and never contradicts her
safe-contact plan.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from chassis.local_time import zone_of
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from tests.builders import NOON, NOT_FOUND, pages, refusal, wrong_fields
from tests.referrals.conftest import Client, Service, Story
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_any_line import call_again, operator_of, read_contact
from tests.referrals.test_contact_clocks import published_verbs
from tests.referrals.test_contacts import referral_for, referred_caller, set_plan
from tests.referrals.test_withdrawal import run_concurrently

pytestmark = pytest.mark.usefixtures("clinic_in_costa_rica")
PHONE, NO_CHANNEL = people_pb2.SAFE_CHANNEL_PHONE, people_pb2.SAFE_CHANNEL_NONE
VISIT, MESSAGE = people_pb2.SAFE_CHANNEL_VISIT, people_pb2.SAFE_CHANNEL_MESSAGE
TOMORROW, EVENING, NIGHT = c.DAY_BAND_TOMORROW, c.HOUR_BAND_EVENING, c.HOUR_BAND_NIGHT
MORNING, AFTERNOON = c.HOUR_BAND_MORNING, c.HOUR_BAND_AFTERNOON
MANAGUA = zone_of("NI")
NOT_SAFE = ("FAILED_PRECONDITION", "call_not_safe")
NO_PLAN = ("FAILED_PRECONDITION", "safe_contact_missing")
STALE = ("ABORTED", "stale_etag")
SETTLED = ("FAILED_PRECONDITION", "callback_settled")


def local_time(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=MANAGUA)


# Through the rpcs.


def make_file(
    story: Story,
    new_contact: c.CreateContactResponse,
    channel: people_pb2.SafeChannel.ValueType | None,
    operator: Client | None = None,
) -> people_pb2.Person:
    """Makes the caller's file at the line, with this safe-contact channel."""
    operator = operator or story.operator
    person: people_pb2.Person = operator.CreatePerson(
        safe_contact=people_pb2.SafeContact(channel_code=channel) if channel else None,
        request_id=story.request_id(),
    )
    update_contact(operator, read_contact(operator, new_contact.contact), person_id=person.id)
    return person


def ask_for_call(
    story: Story,
    new_contact: c.CreateContactResponse,
    day: c.DayBand.ValueType = TOMORROW,
    hour: c.HourBand.ValueType = EVENING,
) -> c.ReferenceStatus:
    status: c.ReferenceStatus = story.service.public().AskForCallByReference(
        **credentials(new_contact), day_code=day, hour_code=hour, request_id=story.request_id()
    )
    return status


def arrange_call(
    story: Story,
    contact_id: str,
    hour: c.HourBand.ValueType = EVENING,
    operator: Client | None = None,
) -> c.Callback:
    callback: c.Callback = (operator or story.operator).CreateCallback(
        callback=c.Callback(contact_id=contact_id, day_code=TOMORROW, hour_code=hour),
        request_id=story.request_id(),
    )
    return callback


def owed_calls(
    story: Story, new_contact: c.CreateContactResponse, client: Client | None = None
) -> list[c.Callback]:
    """Returns the calls that a line, by default the hotline, owes for a contact."""
    callbacks = (client or story.operator).ListCallbacks(page_size=200).callbacks
    return [callback for callback in callbacks if callback.contact_id == new_contact.contact.id]


def settle(
    story: Story,
    callback: c.Callback,
    outcome: c.CallbackOutcome.ValueType,
    client: Client | None = None,
) -> c.Callback:
    """Records the outcome of a call; a call that is tried again is due tomorrow night."""
    retry_time = {"day_code": TOMORROW, "hour_code": NIGHT}
    settled_call: c.Callback = (client or story.operator).SettleCallback(
        id=callback.id,
        etag=callback.etag,
        outcome_code=outcome,
        request_id=story.request_id(),
        **(retry_time if outcome == c.CALLBACK_OUTCOME_AGAIN else {}),
    )
    return settled_call


def test_a_call_that_the_person_asked_for_is_listed_among_the_calls_owed(
    story: Story, service: Service
) -> None:
    new_contact = story.contact()
    person = make_file(story, new_contact, PHONE)
    status = ask_for_call(story, new_contact)
    assert status.may_ask_for_call
    assert (status.call_from_time.ToDatetime(), status.call_until_time.ToDatetime()) == (
        datetime(2026, 3, 5, 23),
        datetime(2026, 3, 6, 2),
    )
    (callback,) = owed_calls(story, new_contact)
    assert (callback.asked_by_herself, callback.person_id, callback.reference_hint) == (
        True,
        person.id,
        new_contact.contact.reference_hint,
    )
    assert callback.clocks[0].due_time == status.call_until_time
    assert published_verbs(service, callback.id, "callback") == ["asked"]


@pytest.mark.parametrize(("department", "hours_behind"), [("NI-CI", 6), ("ES-CN", 0), ("US-CA", 8)])
def test_the_status_of_a_reference_has_the_local_time_of_the_call(
    department: str, hours_behind: int, story: Story
) -> None:
    new_contact = story.operator.CreateContact(
        contact=c.Contact(line_country="NI", department=department), pin="4821"
    )
    arrange_call(story, new_contact.contact.id)
    status = story.service.public().GetReferenceStatus(**credentials(new_contact))
    assert status.call_utc_offset_minutes == -60 * hours_behind
    start = datetime(2026, 3, 5, 17) + timedelta(hours=hours_behind)
    assert status.call_from_time.ToDatetime() == start


@pytest.mark.parametrize(
    ("department", "date", "past_hour_codes"),
    [
        ("NI-CI", "2026-03-03", (MORNING, AFTERNOON, EVENING, NIGHT)),  # 23:59
        ("US-CA", "2026-03-03", (MORNING, AFTERNOON, EVENING)),  # 21:59
        ("ES-CN", "2026-03-04", ()),  # 05:59
    ],
)
def test_a_day_for_a_call_and_its_past_hours_count_from_the_date_in_the_callers_time_zone(
    department: str, date: str, past_hour_codes: tuple[int, ...], story: Story, service: Service
) -> None:
    service.clock.set(datetime(2026, 3, 4, 5, 59, tzinfo=UTC))
    new_contact = story.operator.CreateContact(
        contact=c.Contact(line_country="NI", department=department, speaker_code=c.SPEAKER_PERSON),
        pin="4821",
    )
    make_file(story, new_contact, PHONE)
    arranged_call = arrange_call(story, new_contact.contact.id)
    (listed_call,) = owed_calls(story, new_contact)
    settled_call = settle(story, listed_call, c.CALLBACK_OUTCOME_AGAIN)
    status = ask_for_call(story, new_contact)
    answers = (arranged_call, listed_call, settled_call, status)
    assert {answer.local_date for answer in answers} == {date}
    assert {tuple(answer.past_hour_codes) for answer in (new_contact.contact, *answers)} == {
        past_hour_codes
    }


def test_all_three_requests_for_a_call_count_the_day_from_the_date_that_they_name(
    story: Story, service: Service
) -> None:
    new_contact = story.contact()
    make_file(story, new_contact, PHONE)
    service.clock.set(local_time(5, 0, 1))
    wish: dict[str, Any] = {"day_code": TOMORROW, "hour_code": EVENING, "local_date": "2026-03-04"}
    arranged_call = story.operator.CreateCallback(
        callback=c.Callback(contact_id=new_contact.contact.id, **wish)
    )
    settled_call = story.operator.SettleCallback(
        id=arranged_call.id, etag=arranged_call.etag, outcome_code=c.CALLBACK_OUTCOME_AGAIN, **wish
    )
    status = story.service.public().AskForCallByReference(**credentials(new_contact), **wish)
    assert {
        arranged_call.clocks[0].start_time.ToDatetime(UTC),
        settled_call.clocks[0].start_time.ToDatetime(UTC),
        status.call_from_time.ToDatetime(UTC),
    } == {local_time(5, 17)}


def test_a_new_time_for_a_call_replaces_the_earlier_one(story: Story) -> None:
    new_contact = story.contact()
    make_file(story, new_contact, PHONE)
    ask_for_call(story, new_contact)
    status = ask_for_call(story, new_contact, hour=NIGHT)
    (callback,) = owed_calls(story, new_contact)
    assert callback.clocks[0].due_time == status.call_until_time
    moved_call = arrange_call(story, new_contact.contact.id)
    assert (moved_call.id, moved_call.asked_by_herself) == (callback.id, False)


def test_a_time_agreed_in_a_second_contact_replaces_the_time_agreed_in_the_first(
    story: Story,
) -> None:
    new_contact = story.contact()
    callback_before = arrange_call(story, new_contact.contact.id)
    second_contact = call_again(story, new_contact, "hotline")
    assert arrange_call(story, second_contact.contact.id, NIGHT).id == callback_before.id
    (callback,) = owed_calls(story, new_contact)
    assert callback.clocks[0].start_time.ToDatetime() == datetime(2026, 3, 6, 2)
    assert not owed_calls(story, second_contact), "she is called once"


def test_a_time_agreed_at_one_line_or_asked_for_by_the_person_replaces_the_times_of_all_lines(
    story: Story,
) -> None:
    new_contact = story.contact()
    arrange_call(story, new_contact.contact.id)
    second_contact, clinic = call_again(story, new_contact), operator_of(story, "clinic")

    def start_times() -> list[Any]:
        calls = [*owed_calls(story, new_contact), *owed_calls(story, second_contact, clinic)]
        return [callback.clocks[0].start_time for callback in calls]

    agreed_call = arrange_call(story, second_contact.contact.id, NIGHT, clinic)
    assert agreed_call.contact_id == second_contact.contact.id
    assert start_times() == [agreed_call.clocks[0].start_time] * 2
    make_file(story, new_contact, PHONE)
    status = ask_for_call(story, new_contact)
    assert start_times() == [status.call_from_time] * 2
    assert status.call_from_time != agreed_call.clocks[0].start_time


def test_calls_agreed_concurrently_for_two_contacts_of_a_caller_are_one_call(story: Story) -> None:
    for _ in range(10):
        new_contact = story.contact()
        second_contact = call_again(story, new_contact, "hotline")
        agree = [
            partial(arrange_call, story, contact.contact.id)
            for contact in (new_contact, second_contact)
        ]
        assert run_concurrently(*agree) == ["OK", "OK"]
        assert len([*owed_calls(story, new_contact), *owed_calls(story, second_contact)]) == 1


def test_a_line_that_is_suspended_promises_no_call(story: Story, service: Service) -> None:
    new_contact = story.contact()
    make_file(story, new_contact, PHONE)
    ask_for_call(story, new_contact)
    with service.member_with_status("hotline", "SUSPENDED", active=False):
        status = service.public().GetReferenceStatus(**credentials(new_contact))
        assert (status.may_ask_for_call, status.HasField("call_from_time")) == (False, False)
        assert refusal(partial(ask_for_call, story, new_contact)) == NOT_SAFE
    status = service.public().GetReferenceStatus(**credentials(new_contact))
    assert (status.may_ask_for_call, status.HasField("call_from_time")) == (True, True)


def test_a_line_that_can_call_owes_the_call_in_place_of_one_that_is_suspended(
    story: Story, service: Service
) -> None:
    new_contact = story.contact()
    make_file(story, new_contact, PHONE)
    ask_for_call(story, new_contact)
    clinic = operator_of(story, "clinic")
    second_contact = call_again(story, new_contact)
    make_file(story, second_contact, PHONE, clinic)
    with service.member_with_status("hotline", "SUSPENDED", active=False):
        status = ask_for_call(story, new_contact, hour=NIGHT)
        (callback,) = owed_calls(story, second_contact, clinic)
    assert callback.clocks[0].start_time == status.call_from_time
    (earlier_callback,) = owed_calls(story, new_contact)
    assert earlier_callback.clocks[0].start_time == status.call_from_time


@pytest.mark.parametrize("channel", [NO_CHANNEL, VISIT, MESSAGE, None])
def test_a_call_that_the_safe_contact_plan_forbids_is_neither_offered_nor_arranged(
    channel: people_pb2.SafeChannel.ValueType | None, story: Story
) -> None:
    new_contact = story.contact()
    make_file(story, new_contact, channel)
    status = story.service.public().GetReferenceStatus(**credentials(new_contact))
    assert not status.may_ask_for_call
    assert refusal(partial(ask_for_call, story, new_contact)) == NOT_SAFE
    expected = NOT_SAFE if channel else NO_PLAN
    assert refusal(partial(arrange_call, story, new_contact.contact.id)) == expected
    assert not owed_calls(story, new_contact)


def test_without_a_file_a_call_is_arranged_by_an_operator_but_not_by_reference(
    story: Story,
) -> None:
    new_contact = story.contact()
    assert refusal(partial(ask_for_call, story, new_contact)) == NOT_SAFE, (
        "nobody has asked her yet how she can be called"
    )
    arrange_call(story, new_contact.contact.id)
    assert [callback.asked_by_herself for callback in owed_calls(story, new_contact)] == [False]


@pytest.mark.parametrize("end", ["plan", "withdrawal"])
def test_a_call_that_is_no_longer_safe_is_no_longer_owed(
    end: str, story: Story, service: Service
) -> None:
    new_contact = story.contact()
    person = make_file(story, new_contact, PHONE)
    ask_for_call(story, new_contact)
    (callback,) = owed_calls(story, new_contact)
    if end == "plan":
        set_plan(story.operator, person.id, NO_CHANNEL)
    else:
        status = service.public().WithdrawConsentByReference(**credentials(new_contact))
        assert not status.HasField("call_until_time")
    assert not owed_calls(story, new_contact)
    assert published_verbs(service, callback.id, "callback") == ["asked", "settled"]
    assert refusal(partial(settle, story, callback, c.CALLBACK_OUTCOME_REACHED)) == SETTLED


def test_a_call_that_was_agreed_before_the_file_existed_is_not_owed_if_the_file_forbids_calls(
    story: Story,
) -> None:
    new_contact, referred_contact, opened_contact = (story.contact() for _ in range(3))
    for contact in (new_contact, referred_contact, opened_contact):
        arrange_call(story, contact.contact.id)
    make_file(story, new_contact, NO_CHANNEL)
    assert not owed_calls(story, new_contact)
    plan = people_pb2.SafeContact(channel_code=NO_CHANNEL)
    story.operator.CreatePerson(safe_contact=plan, contact_id=opened_contact.contact.id)
    assert not owed_calls(story, opened_contact)
    referral_for(story, referred_contact)
    assert not owed_calls(story, referred_contact), (
        "her plan in the file of the referral forbids calls"
    )


def test_a_call_that_did_not_reach_the_person_is_retried_and_needs_the_current_etag(
    story: Story, service: Service
) -> None:
    new_contact = story.contact()
    first_try = arrange_call(story, new_contact.contact.id)
    second_try = settle(story, first_try, c.CALLBACK_OUTCOME_AGAIN)
    assert (second_try.tries, second_try.outcome_code, len(owed_calls(story, new_contact))) == (
        1,
        0,
        1,
    )
    assert refusal(partial(settle, story, first_try, c.CALLBACK_OUTCOME_REACHED)) == STALE
    settled_call = settle(story, second_try, c.CALLBACK_OUTCOME_REACHED)
    assert settled_call.clocks[0].HasField("stop_time")
    assert not owed_calls(story, new_contact)
    assert refusal(partial(settle, story, settled_call, c.CALLBACK_OUTCOME_GIVEN_UP)) == SETTLED
    assert published_verbs(service, first_try.id, "callback") == ["changed", "changed", "settled"]
    arrange_call(story, new_contact.contact.id)
    assert len(owed_calls(story, new_contact)) == 1, "another call can be arranged"


@pytest.mark.parametrize(("channel", "expected"), [(None, NO_PLAN), (VISIT, NOT_SAFE)])
def test_a_retry_of_a_call_also_needs_a_safe_contact_plan_that_allows_it(
    channel: people_pb2.SafeChannel.ValueType | None, expected: tuple[str, str], story: Story
) -> None:
    new_contact = story.contact()
    callback = arrange_call(story, new_contact.contact.id)
    make_file(story, new_contact, channel)
    assert refusal(partial(settle, story, callback, c.CALLBACK_OUTCOME_AGAIN)) == expected


@pytest.mark.parametrize(
    ("outcome", "violations"),
    [
        (c.CALLBACK_OUTCOME_AGAIN, [("day_code", "required"), ("hour_code", "required")]),
        (c.CALLBACK_OUTCOME_NOT_SAFE, [("outcome_code", "unknown_code")]),
    ],
)
def test_a_retry_needs_a_time_and_an_operator_cannot_choose_the_outcome_not_safe(
    outcome: c.CallbackOutcome.ValueType, violations: list[tuple[str, str]], story: Story
) -> None:
    callback = arrange_call(story, story.contact().contact.id)
    without_time = partial(
        story.operator.SettleCallback, id=callback.id, etag=callback.etag, outcome_code=outcome
    )
    assert wrong_fields(without_time) == violations


def test_the_deadline_of_a_call_reminds_the_line_and_then_the_coordinators(
    story: Story, service: Service
) -> None:
    new_contact = story.contact()
    callback = arrange_call(story, new_contact.contact.id)
    scheduler = service.contact_scheduler()
    start = callback.clocks[0].start_time.ToDatetime(tzinfo=MANAGUA)
    for hours, expected in (
        (1, []),
        (1.6, ["waiting"]),
        (3.1, ["waiting"] * 2),
        (4.6, ["waiting"] * 2 + ["escalated"]),
        (9, ["waiting"] * 2 + ["escalated"]),
    ):
        service.clock.set(start + timedelta(hours=hours))
        scheduler.fire()
        assert published_verbs(service, callback.id, "callback") == ["changed", *expected]
    (owed_call,) = owed_calls(story, new_contact)
    assert settle(story, owed_call, c.CALLBACK_OUTCOME_REACHED).id == callback.id, (
        "a deadline that fires leaves the etag valid"
    )


def test_a_line_sees_and_settles_only_its_own_calls(story: Story) -> None:
    new_contact, clinic = story.contact(), operator_of(story, "clinic")
    second_contact = call_again(story, new_contact)
    callback = arrange_call(story, new_contact.contact.id)
    assert not owed_calls(story, new_contact, clinic)
    for attempt in (
        partial(settle, story, callback, c.CALLBACK_OUTCOME_REACHED, clinic),
        partial(arrange_call, story, second_contact.contact.id),
    ):
        assert refusal(attempt) == NOT_FOUND


def test_the_fact_of_a_callback_does_not_hold_the_contact_id(
    story: Story, service: Service
) -> None:
    callback = arrange_call(story, story.contact().contact.id)
    [row] = service.rows("SELECT payload FROM outbox WHERE subject = %s", callback.id)
    assert callback.contact_id.encode() not in bytes(row["payload"])


# The shift.


def test_take_overs_of_a_line_are_stored_with_their_time_and_shown_only_to_that_line(
    story: Story, service: Service
) -> None:
    for minutes in range(3):
        service.clock.set(NOON + timedelta(days=9, minutes=minutes))
        story.operator.TakeOverLine(request_id=story.request_id())
    take_overs = [
        take_over
        for page in pages(story.operator.ListTakeOvers, page_size=2)
        for take_over in page.take_overs
    ]
    assert [take_over.time.ToDatetime(tzinfo=UTC) for take_over in take_overs[:3]] == [
        NOON + timedelta(days=9, minutes=minutes) for minutes in (2, 1, 0)
    ]
    assert take_overs[0].worker_id == story.operator.caller.id
    assert not operator_of(story, "clinic").ListTakeOvers().take_overs


# The person's plan, wherever it is stored.


def test_the_safe_contact_plan_of_the_referred_file_also_applies(story: Story) -> None:
    new_contact, sent, _ = referred_caller(story)
    assert refusal(partial(arrange_call, story, new_contact.contact.id)) == NOT_SAFE, (
        "her plan forbids calls, even though the contact names no file"
    )
    set_plan(story.operator, sent.person_id, PHONE)
    assert arrange_call(story, new_contact.contact.id).person_id == sent.person_id
    assert [callback.person_id for callback in owed_calls(story, new_contact)] == [sent.person_id]
    set_plan(story.operator, sent.person_id, VISIT)
    assert not owed_calls(story, new_contact)


def test_a_call_that_the_plan_at_one_line_forbids_is_arranged_by_no_other_line(
    story: Story,
) -> None:
    new_contact = story.contact()
    second_contact, clinic = call_again(story, new_contact), operator_of(story, "clinic")
    callback = arrange_call(story, second_contact.contact.id, operator=clinic)
    person = make_file(story, new_contact, PHONE)
    assert (callback.person_id, owed_calls(story, second_contact, clinic)[0].person_id) == (
        "",
        "",
    ), "the answer reveals nothing about another organisation's file"
    set_plan(story.operator, person.id, NO_CHANNEL)
    assert not owed_calls(story, second_contact, clinic), "the arranged call ends"
    arrange = partial(arrange_call, story, second_contact.contact.id, operator=clinic)
    assert refusal(arrange) == NOT_SAFE


def test_settling_a_settled_call_is_refused_as_settled_although_its_etag_is_stale(
    story: Story,
) -> None:
    callback = arrange_call(story, story.contact().contact.id)
    settle(story, callback, c.CALLBACK_OUTCOME_REACHED)
    outcomes = (c.CALLBACK_OUTCOME_REACHED, c.CALLBACK_OUTCOME_AGAIN, c.CALLBACK_OUTCOME_GIVEN_UP)
    assert {refusal(partial(settle, story, callback, outcome)) for outcome in outcomes} == {SETTLED}


def test_withdrawing_everything_also_ends_the_calls_under_another_reference(story: Story) -> None:
    new_contact, other_contact = story.contact(), story.contact()
    person = make_file(story, new_contact, PHONE)
    update_contact(
        story.operator, read_contact(story.operator, other_contact.contact), person_id=person.id
    )
    arrange_call(story, other_contact.contact.id)
    ask_for_call(story, new_contact)
    story.service.public().WithdrawConsentByReference(**credentials(new_contact))
    assert not [*owed_calls(story, new_contact), *owed_calls(story, other_contact)]

"""Calls that a line owes.

A call is made at a time that is safe for the person, has a deadline, and never contradicts her
safe-contact plan.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from chassis.errors import Conflict, Invalid
from chassis.local_time import zone_of
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.domain.callback import Callback, Wish
from services.referrals.line.store import contacts
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import Client, Service, Story
from tests.referrals.test_any_line import call_again, operator_of
from tests.referrals.test_contacts import referral_for
from tests.referrals.test_withdrawal import run_concurrently

pytestmark = pytest.mark.usefixtures("abroad")
TOMORROW, EVENING, NIGHT = c.DAY_BAND_TOMORROW, c.HOUR_BAND_EVENING, c.HOUR_BAND_NIGHT
MANAGUA = zone_of("NI")
NOT_SAFE = ("FAILED_PRECONDITION", "call_not_safe")


def local_time(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=MANAGUA)


# The hours.


def test_a_call_window_that_has_already_begun_starts_now() -> None:
    assert Wish("tomorrow", "evening").hours(local_time(4, 23, 30), MANAGUA) == (
        local_time(5, 17),
        local_time(5, 20),
    )
    assert Wish("today", "morning").hours(local_time(4, 9, 15), MANAGUA) == (
        local_time(4, 9, 15),
        local_time(4, 12),
    )


@pytest.mark.parametrize(
    ("country", "department", "hours_behind"),
    [
        ("NI", "", 6),
        ("PA", "", 5),
        ("US", "US-CA", 8),
        ("US", "US-TX", 6),
        ("ES", "", -1),
        ("ES", "ES-CN", 0),
    ],
)
def test_the_hours_for_a_call_are_local_to_the_person(
    country: str, department: str, hours_behind: int
) -> None:
    start, end = Wish("tomorrow", "evening").hours(NOON, zone_of(country, department))
    assert start == datetime(2026, 3, 5, 17, tzinfo=UTC) + timedelta(hours=hours_behind)
    assert end - start == timedelta(hours=3)


@pytest.mark.parametrize(("day", "hour"), [("today", "morning"), ("today", "afternoon")])
def test_hours_that_leave_no_time_for_a_call_are_refused(day: str, hour: str) -> None:
    with pytest.raises(Invalid):
        Wish(day, hour).hours(local_time(4, 16, 31), MANAGUA)


def test_a_day_chosen_before_midnight_is_the_same_day_after_midnight() -> None:
    chosen = local_time(4, 23, 59).date()
    assert Wish("tomorrow", "evening", counted_from=chosen).hours(local_time(5, 0, 1), MANAGUA) == (
        local_time(5, 17),
        local_time(5, 20),
    )


@pytest.mark.parametrize("counted_from", [local_time(3, 12), local_time(6, 12)])
def test_a_day_counts_from_neither_the_day_before_yesterday_nor_tomorrow(
    counted_from: datetime,
) -> None:
    with pytest.raises(Invalid) as refused:
        Wish("in_three_days", "evening", "callback.", counted_from.date()).hours(
            local_time(5, 0, 1), MANAGUA
        )
    assert refused.value.violations == [("callback.day_code", "out_of_range")]


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
        with pytest.raises(Conflict, match=r"^callback_settled$"):
            step()


# Through the rpcs.


def file_of(
    story: Story, created: c.CreateContactResponse, channel: people_pb2.SafeChannel.ValueType | None
) -> people_pb2.Person:
    """Makes the caller's file at the line, with this safe-contact channel."""
    operator = operator_of(story)
    plan = people_pb2.SafeContact(channel_code=channel) if channel else None
    person: people_pb2.Person = operator.CreatePerson(
        people_pb2.CreatePersonRequest(safe_contact=plan, request_id=story.request_id())
    )
    contact = operator.GetContact(c.GetContactRequest(id=created.contact.id))
    request = c.UpdateContactRequest(
        contact=c.Contact(id=contact.id, etag=contact.etag, person_id=person.id)
    )
    request.update_mask.paths.append("person_id")
    operator.UpdateContact(request)
    return person


def plan(
    story: Story, person: people_pb2.Person, channel: people_pb2.SafeChannel.ValueType
) -> None:
    file = operator_of(story).GetPerson(people_pb2.GetPersonRequest(id=person.id))
    request = people_pb2.SetSafeContactRequest(id=file.id, etag=file.etag)
    request.safe_contact.channel_code = channel
    operator_of(story).SetSafeContact(request)


def ask_for_call(
    story: Story,
    created: c.CreateContactResponse,
    day: c.DayBand.ValueType = TOMORROW,
    hour: c.HourBand.ValueType = EVENING,
) -> c.ReferenceStatus:
    request = c.AskForCallByReferenceRequest(
        reference=created.reference,
        pin=created.pin,
        day_code=day,
        hour_code=hour,
        request_id=story.request_id(),
    )
    status: c.ReferenceStatus = story.service.public().AskForCallByReference(request)
    return status


def arrange_call(story: Story, contact_id: str, hour: c.HourBand.ValueType = EVENING) -> c.Callback:
    wanted = c.Callback(contact_id=contact_id, day_code=TOMORROW, hour_code=hour)
    callback: c.Callback = operator_of(story).CreateCallback(
        c.CreateCallbackRequest(callback=wanted, request_id=story.request_id())
    )
    return callback


def owed_calls(
    story: Story, created: c.CreateContactResponse, client: Client | None = None
) -> list[c.Callback]:
    callbacks = (
        (client or operator_of(story))
        .ListCallbacks(c.ListCallbacksRequest(page_size=200))
        .callbacks
    )
    return [callback for callback in callbacks if callback.contact_id == created.contact.id]


def settle(
    story: Story,
    callback: c.Callback,
    outcome: c.CallbackOutcome.ValueType,
    hour: c.HourBand.ValueType = NIGHT,
) -> c.Callback:
    request = c.SettleCallbackRequest(
        id=callback.id, etag=callback.etag, outcome_code=outcome, request_id=story.request_id()
    )
    if outcome == c.CALLBACK_OUTCOME_AGAIN:
        request.day_code, request.hour_code = TOMORROW, hour
    settled: c.Callback = operator_of(story).SettleCallback(request)
    return settled


def published_verbs(service: Service, callback: c.Callback) -> list[str]:
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT type FROM outbox WHERE subject = %s ORDER BY version", (callback.id,)
        ).fetchall()
    return [row["type"].removeprefix("enlace.callback.").removesuffix(".v1") for row in rows]


def test_a_call_that_the_person_asked_for_is_listed_among_the_calls_owed(
    story: Story, service: Service
) -> None:
    created = story.contact()
    person = file_of(story, created, people_pb2.SAFE_CHANNEL_PHONE)
    status = ask_for_call(story, created)
    assert status.may_ask_for_call
    assert (status.call_from_time.ToDatetime(), status.call_until_time.ToDatetime()) == (
        datetime(2026, 3, 5, 23),
        datetime(2026, 3, 6, 2),
    )
    (callback,) = owed_calls(story, created)
    assert (callback.asked_by_herself, callback.person_id, callback.reference_hint) == (
        True,
        person.id,
        created.contact.reference_hint,
    )
    assert callback.clocks[0].due_time == status.call_until_time
    assert published_verbs(service, callback) == ["asked"]


@pytest.mark.parametrize(("department", "hours_behind"), [("NI-CI", 6), ("ES-CN", 0), ("US-CA", 8)])
def test_the_status_of_a_reference_has_the_local_time_of_the_call(
    department: str, hours_behind: int, story: Story
) -> None:
    request = c.CreateContactRequest(
        contact=c.Contact(line_country="NI", department=department), pin="4821"
    )
    created = operator_of(story).CreateContact(request)
    arrange_call(story, created.contact.id)
    status = story.service.public().GetReferenceStatus(
        c.GetReferenceStatusRequest(reference=created.reference, pin="4821")
    )
    assert status.call_utc_offset_minutes == -60 * hours_behind
    start = datetime(2026, 3, 5, 17) + timedelta(hours=hours_behind)
    assert status.call_from_time.ToDatetime() == start


@pytest.mark.parametrize(("department", "date"), [("NI-CI", "2026-03-03"), ("ES-CN", "2026-03-04")])
def test_a_day_for_a_call_counts_from_the_date_at_the_place_of_the_caller(
    department: str, date: str, story: Story, service: Service
) -> None:
    service.clock.set(datetime(2026, 3, 4, 5, 59, tzinfo=UTC))
    request = c.CreateContactRequest(
        contact=c.Contact(line_country="NI", department=department, speaker_code=c.SPEAKER_PERSON),
        pin="4821",
    )
    made = operator_of(story).CreateContact(request)
    file_of(story, made, people_pb2.SAFE_CHANNEL_PHONE)
    arranged = arrange_call(story, made.contact.id)
    (listed,) = owed_calls(story, made)
    settled = settle(story, listed, c.CALLBACK_OUTCOME_AGAIN)
    dates = {each.local_date for each in (arranged, listed, settled, ask_for_call(story, made))}
    assert dates == {date}


def test_the_three_requests_for_a_call_name_the_date_from_which_their_day_counts(
    story: Story, service: Service
) -> None:
    made = story.contact()
    file_of(story, made, people_pb2.SAFE_CHANNEL_PHONE)
    service.clock.set(local_time(5, 0, 1))
    chosen: dict[str, Any] = {
        "day_code": TOMORROW,
        "hour_code": EVENING,
        "local_date": "2026-03-04",
    }
    arranged = operator_of(story).CreateCallback(
        c.CreateCallbackRequest(callback=c.Callback(contact_id=made.contact.id, **chosen))
    )
    settled = operator_of(story).SettleCallback(
        c.SettleCallbackRequest(
            id=arranged.id, etag=arranged.etag, outcome_code=c.CALLBACK_OUTCOME_AGAIN, **chosen
        )
    )
    asked = story.service.public().AskForCallByReference(
        c.AskForCallByReferenceRequest(reference=made.reference, pin=made.pin, **chosen)
    )
    assert {
        arranged.clocks[0].start_time.ToDatetime(UTC),
        settled.clocks[0].start_time.ToDatetime(UTC),
        asked.call_from_time.ToDatetime(UTC),
    } == {local_time(5, 17)}


def test_a_new_time_for_a_call_replaces_the_earlier_one(story: Story) -> None:
    created = story.contact()
    file_of(story, created, people_pb2.SAFE_CHANNEL_PHONE)
    ask_for_call(story, created)
    status = ask_for_call(story, created, hour=NIGHT)
    (callback,) = owed_calls(story, created)
    assert callback.clocks[0].due_time == status.call_until_time
    moved = arrange_call(story, created.contact.id)
    assert (moved.id, moved.asked_by_herself) == (callback.id, False)


def test_a_time_agreed_in_a_second_call_replaces_the_one_agreed_in_the_first(story: Story) -> None:
    created = story.contact()
    first = arrange_call(story, created.contact.id)
    again = call_again(story, created, "hotline")
    moved = arrange_call(story, again.contact.id, NIGHT)
    assert moved.id == first.id
    (callback,) = owed_calls(story, created)
    assert callback.clocks[0].start_time.ToDatetime() == datetime(2026, 3, 6, 2)
    assert not owed_calls(story, again), "she is called once"


def test_calls_agreed_at_once_for_two_contacts_of_a_caller_are_one_call(story: Story) -> None:
    for _ in range(10):
        made = story.contact()
        again = call_again(story, made, "hotline")
        agree = [partial(arrange_call, story, each.contact.id) for each in (made, again)]
        assert run_concurrently(*agree) == ["OK", "OK"]
        assert len([*owed_calls(story, made), *owed_calls(story, again)]) == 1


def test_a_time_that_the_person_asks_for_replaces_the_times_of_all_lines(story: Story) -> None:
    created = story.contact()
    file_of(story, created, people_pb2.SAFE_CHANNEL_PHONE)
    arrange_call(story, created.contact.id)
    again, clinic = call_again(story, created), operator_of(story, "clinic")
    wanted = c.Callback(contact_id=again.contact.id, day_code=TOMORROW, hour_code=EVENING)
    clinic.CreateCallback(c.CreateCallbackRequest(callback=wanted))
    status = ask_for_call(story, created, hour=NIGHT)
    owed = [*owed_calls(story, created), *owed_calls(story, again, clinic)]
    assert [callback.clocks[0].start_time for callback in owed] == [status.call_from_time] * 2


@pytest.mark.parametrize(
    "channel",
    [
        people_pb2.SAFE_CHANNEL_NONE,
        people_pb2.SAFE_CHANNEL_VISIT,
        people_pb2.SAFE_CHANNEL_MESSAGE,
        None,
    ],
)
def test_a_call_that_the_safe_contact_plan_forbids_is_neither_offered_nor_arranged(
    channel: people_pb2.SafeChannel.ValueType | None, story: Story
) -> None:
    created = story.contact()
    file_of(story, created, channel)
    status_request = c.GetReferenceStatusRequest(reference=created.reference, pin=created.pin)
    assert not story.service.public().GetReferenceStatus(status_request).may_ask_for_call
    assert refusal(partial(ask_for_call, story, created)) == NOT_SAFE
    expected = NOT_SAFE if channel else ("FAILED_PRECONDITION", "safe_contact_missing")
    assert refusal(partial(arrange_call, story, created.contact.id)) == expected
    assert not owed_calls(story, created)


def test_without_a_file_a_call_is_arranged_by_an_operator_but_not_by_reference(
    story: Story,
) -> None:
    created = story.contact()
    assert refusal(partial(ask_for_call, story, created)) == NOT_SAFE, (
        "nobody has asked her yet how she can be called"
    )
    arrange_call(story, created.contact.id)
    assert [callback.asked_by_herself for callback in owed_calls(story, created)] == [False]


@pytest.mark.parametrize("end", ["plan", "withdrawal"])
def test_a_call_that_is_no_longer_safe_is_no_longer_owed(
    end: str, story: Story, service: Service
) -> None:
    created = story.contact()
    person = file_of(story, created, people_pb2.SAFE_CHANNEL_PHONE)
    ask_for_call(story, created)
    (callback,) = owed_calls(story, created)
    if end == "plan":
        plan(story, person, people_pb2.SAFE_CHANNEL_NONE)
    else:
        withdraw_request = c.WithdrawConsentByReferenceRequest(
            reference=created.reference, pin=created.pin
        )
        assert (
            not service.public()
            .WithdrawConsentByReference(withdraw_request)
            .HasField("call_until_time")
        )
    assert not owed_calls(story, created)
    assert published_verbs(service, callback) == ["asked", "settled"]
    refused = partial(settle, story, callback, c.CALLBACK_OUTCOME_REACHED)
    assert refusal(refused) == ("ABORTED", "stale_etag")


def test_a_call_that_was_agreed_before_the_file_is_not_owed_if_the_file_forbids_calls(
    story: Story,
) -> None:
    created = story.contact()
    arrange_call(story, created.contact.id)
    file_of(story, created, people_pb2.SAFE_CHANNEL_NONE)
    assert not owed_calls(story, created)
    referred = story.contact()
    arrange_call(story, referred.contact.id)
    referral_for(story, referred)
    assert not owed_calls(story, referred), "her plan in the file of the referral forbids calls"


def test_a_call_that_did_not_reach_the_person_is_retried_and_needs_the_current_etag(
    story: Story, service: Service
) -> None:
    created = story.contact()
    first = arrange_call(story, created.contact.id)
    again = settle(story, first, c.CALLBACK_OUTCOME_AGAIN)
    assert (again.tries, again.outcome_code, len(owed_calls(story, created))) == (1, 0, 1)
    assert refusal(partial(settle, story, first, c.CALLBACK_OUTCOME_REACHED)) == (
        "ABORTED",
        "stale_etag",
    )
    settled = settle(story, again, c.CALLBACK_OUTCOME_REACHED)
    assert settled.clocks[0].HasField("stop_time")
    assert not owed_calls(story, created)
    assert refusal(partial(settle, story, settled, c.CALLBACK_OUTCOME_GIVEN_UP)) == (
        "FAILED_PRECONDITION",
        "callback_settled",
    )
    assert published_verbs(service, first) == ["changed", "changed", "settled"]
    arrange_call(story, created.contact.id)
    assert len(owed_calls(story, created)) == 1, "another call can be arranged"


def test_a_retry_of_a_call_also_needs_a_safe_contact_plan_that_allows_it(story: Story) -> None:
    created = story.contact()
    callback = arrange_call(story, created.contact.id)
    file_of(story, created, None)
    again = partial(settle, story, callback, c.CALLBACK_OUTCOME_AGAIN)
    assert refusal(again) == ("FAILED_PRECONDITION", "safe_contact_missing")
    other = story.contact()
    owed_to_other = arrange_call(story, other.contact.id)
    file_of(story, other, people_pb2.SAFE_CHANNEL_VISIT)
    assert refusal(partial(settle, story, owed_to_other, c.CALLBACK_OUTCOME_AGAIN)) == NOT_SAFE


def test_a_retry_needs_a_time_and_an_outcome_must_be_one_that_an_operator_may_choose(
    story: Story,
) -> None:
    callback = arrange_call(story, story.contact().contact.id)
    request = c.SettleCallbackRequest(
        id=callback.id, etag=callback.etag, outcome_code=c.CALLBACK_OUTCOME_AGAIN
    )
    assert refusal_with_fields(lambda: operator_of(story).SettleCallback(request))[2] == {
        "day_code": "required",
        "hour_code": "required",
    }
    request.outcome_code = c.CALLBACK_OUTCOME_NOT_SAFE
    assert refusal_with_fields(lambda: operator_of(story).SettleCallback(request))[2] == {
        "outcome_code": "unknown_code"
    }


def test_the_deadline_of_a_call_reminds_the_line_and_then_the_coordinators(
    story: Story, service: Service
) -> None:
    created = story.contact()
    callback = arrange_call(story, created.contact.id)
    clocks = DeadlineScheduler(
        service.made.contacts, service.database, service.clock, contacts.next_time, "contacts"
    )
    begin = callback.clocks[0].start_time.ToDatetime(tzinfo=MANAGUA)
    for hours, expected in (
        (1, []),
        (1.6, ["waiting"]),
        (3.1, ["waiting"] * 2),
        (4.6, ["waiting"] * 2 + ["escalated"]),
        (9, ["waiting"] * 2 + ["escalated"]),
    ):
        service.clock.set(begin + timedelta(hours=hours))
        clocks.fire()
        assert published_verbs(service, callback) == ["changed", *expected]
    (still_owed,) = owed_calls(story, created)
    assert settle(story, still_owed, c.CALLBACK_OUTCOME_REACHED).id == callback.id, (
        "a fired deadline makes no etag stale"
    )


def test_a_line_sees_and_settles_only_its_own_calls(story: Story) -> None:
    created = story.contact()
    again = call_again(story, created)
    callback = arrange_call(story, created.contact.id)
    clinic = operator_of(story, "clinic")
    assert not owed_calls(story, created, clinic)
    request = c.SettleCallbackRequest(
        id=callback.id, etag=callback.etag, outcome_code=c.CALLBACK_OUTCOME_REACHED
    )
    assert refusal(lambda: clinic.SettleCallback(request)) == ("NOT_FOUND", "not_found")
    assert refusal(partial(arrange_call, story, again.contact.id)) == ("NOT_FOUND", "not_found")


def test_the_fact_of_a_callback_does_not_hold_the_contact_id(
    story: Story, service: Service
) -> None:
    assert pb.CLOCK_KIND_CALLBACK
    callback = arrange_call(story, story.contact().contact.id)
    with service.database.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT payload FROM outbox WHERE subject = %s", (callback.id,)).fetchone()
    assert row is not None
    assert callback.contact_id.encode() not in bytes(row["payload"])


# The shift.


def test_take_overs_of_a_line_are_stored_with_their_time_and_shown_only_to_that_line(
    story: Story, service: Service
) -> None:
    for minutes in range(3):
        service.clock.set(NOON + timedelta(days=9, minutes=minutes))
        operator_of(story).TakeOverLine(c.TakeOverLineRequest(request_id=story.request_id()))
    first = operator_of(story).ListTakeOvers(c.ListTakeOversRequest(page_size=2))
    rest = operator_of(story).ListTakeOvers(
        c.ListTakeOversRequest(page_size=2, page_token=first.next_page_token)
    )
    times = [each.time.ToDatetime() for each in (*first.take_overs, *rest.take_overs)][:3]
    assert times == sorted(times, reverse=True)
    assert first.take_overs[0].worker_id == operator_of(story).caller.id
    assert not operator_of(story, "clinic").ListTakeOvers(c.ListTakeOversRequest()).take_overs


# The person's plan, wherever it is stored.


def test_the_safe_contact_plan_of_the_referred_file_also_applies(
    story: Story, service: Service
) -> None:
    created = story.contact()
    sent, _ = referral_for(story, created)
    assert refusal(partial(arrange_call, story, created.contact.id)) == NOT_SAFE, (
        "her plan forbids calls, even though the contact names no file"
    )
    person = operator_of(story).GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    plan(story, person, people_pb2.SAFE_CHANNEL_PHONE)
    assert arrange_call(story, created.contact.id).person_id == person.id
    assert [callback.person_id for callback in owed_calls(story, created)] == [person.id]
    plan(story, person, people_pb2.SAFE_CHANNEL_VISIT)
    assert not owed_calls(story, created)


def test_a_call_that_the_plan_at_one_line_forbids_is_arranged_by_no_other_line(
    story: Story,
) -> None:
    created = story.contact()
    again, clinic = call_again(story, created), operator_of(story, "clinic")
    wanted = c.Callback(contact_id=again.contact.id, day_code=TOMORROW, hour_code=EVENING)
    request = c.CreateCallbackRequest(callback=wanted)
    callback = clinic.CreateCallback(request)
    person = file_of(story, created, people_pb2.SAFE_CHANNEL_PHONE)
    assert (callback.person_id, owed_calls(story, again, clinic)[0].person_id) == ("", ""), (
        "nothing about another organisation's file is shown"
    )
    plan(story, person, people_pb2.SAFE_CHANNEL_NONE)
    assert not owed_calls(story, again, clinic), "the arranged call ends"
    assert refusal(lambda: clinic.CreateCallback(request)) == NOT_SAFE

"""A caller of the line, and the rights that her reference and PIN give her."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.domain.contact import (
    check_pin,
    new_pin,
    new_reference,
    status_for_caller,
)
from services.referrals.referrals.domain.lifecycle import State
from tests.builders import NOT_FOUND, NOTHING_UNSAFE, refusal, wrong_fields
from tests.referrals.conftest import (
    ARRIVAL,
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    history,
    read,
    send_request,
)
from tests.referrals.contact_calls import credentials, update_contact

WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")


def status(
    client: Client, call: contacts_pb2.CreateContactResponse, pin: str = ""
) -> contacts_pb2.ReferenceStatus:
    answer: contacts_pb2.ReferenceStatus = client.GetReferenceStatus(
        reference=call.reference, pin=pin or call.pin
    )
    return answer


def items_of(answer: contacts_pb2.ReferenceStatus, *fields: str) -> list[tuple[Any, ...]]:
    """Returns these fields of each item of a status."""
    return [tuple(getattr(item, field) for field in fields) for item in answer.items]


def referral_for(
    story: Story, call: contacts_pb2.CreateContactResponse
) -> tuple[pb.Referral, Client]:
    """Opens a file at the line, and sends a referral for the contact to the shelter on a consent.

    Returns the referral and the operator of the line.
    """
    operator = story.operator
    person = operator.CreatePerson(
        coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24),
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE),
        request_id=story.request_id(),
    )
    draft = operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=person.id,
        contact_id=call.contact.id,
        need_code="HOU.EMG",
        urgency=call.contact.urgency or pb.URGENCY_EMERGENCY,
        service_id=SERVICE["shelter_bed"],
        request_id=story.request_id(),
    )
    line = replace(story, ngo=operator)
    return line.send(draft), operator


def referred_caller(story: Story) -> tuple[contacts_pb2.CreateContactResponse, pb.Referral, Client]:
    """Records a call, and sends a referral for it to the shelter."""
    call = story.contact()
    return call, *referral_for(story, call)


def referral_beside(story: Story, first: pb.Referral, operator: Client) -> pb.Referral:
    """Sends a second referral without a contact, for the person and on the consent of `first`."""
    draft = operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=first.person_id,
        need_code="HOU.SAFE",
        urgency=pb.URGENCY_EMERGENCY,
        service_id=SERVICE["shelter_bed"],
        request_id=story.request_id(),
    )
    sent: pb.Referral = operator.SendReferral(
        send_request(draft, first.receipt_id, arrival=ARRIVAL)
    )
    return sent


def completed(
    story: Story, sent: pb.Referral, outcome: pb.Outcome.ValueType = pb.OUTCOME_FULLY_MET
) -> pb.Referral:
    """Accepts a referral at the shelter, begins the help and completes it."""
    started = story.shelter.StartReferral(
        id=sent.id, etag=story.accept(sent).etag, first_contact_time=story.service.clock.now()
    )
    referral: pb.Referral = story.shelter.CompleteReferral(
        id=sent.id, etag=started.etag, outcome_code=outcome
    )
    return referral


def test_a_contact_of_yesterday_is_not_described_as_of_today(
    story: Story, service: Service
) -> None:
    evening = datetime(2026, 9, 11, 3, tzinfo=UTC)  # 21:00 in Nicaragua
    service.clock.set(evening)
    call = story.contact()
    bands = []
    for hours in (2, 4, 24 * 6, 24 * 7):
        service.clock.set(evening + timedelta(hours=hours))
        bands.append(status(service.public(), call).contact_time_band)
    assert bands == [
        contacts_pb2.TIME_BAND_TODAY,
        contacts_pb2.TIME_BAND_THIS_WEEK,
        contacts_pb2.TIME_BAND_THIS_WEEK,
        contacts_pb2.TIME_BAND_EARLIER,
    ]


def test_reference_and_pin_show_the_status_to_the_public_and_to_any_line(
    story: Story, service: Service
) -> None:
    call = story.contact(danger_now=contacts_pb2.ANSWER_YES)
    assert call.pin == "4821"
    sent, _ = referral_for(story, call)
    fields = ("need_group_code", "status_code", "may_confirm", "consent_live")
    for client in (service.public(), service.as_("clinic", "OPERATOR")):
        answer = status(client, call)
        assert answer.contact_time_band == contacts_pb2.TIME_BAND_TODAY
        assert items_of(answer, *fields) == [
            ("HOU", contacts_pb2.REFERENCE_STATE_ASKED, False, True)
        ]
    service.clock.advance(timedelta(days=2))
    completed(story, sent)
    answer = status(service.public(), call)
    assert answer.contact_time_band == contacts_pb2.TIME_BAND_THIS_WEEK
    assert items_of(answer, "status_code", "may_confirm") == [
        (contacts_pb2.REFERENCE_STATE_DONE, True)
    ]


def test_the_status_names_neither_people_nor_places(story: Story, service: Service) -> None:
    call, sent, _ = referred_caller(story)
    answer = status(service.public(), call).SerializeToString()
    secrets = [
        *ORG.values(),
        *SERVICE.values(),
        sent.id,
        sent.person_id,
        sent.receipt_id,
        call.contact.id,
        "NI-",
        "EMG",
    ]
    assert not [secret for secret in secrets if secret.encode() in answer]
    assert {field.name for field in contacts_pb2.ReferenceItem.DESCRIPTOR.fields} == {
        "need_group_code",
        "status_code",
        "may_confirm",
        "consent_live",
        "update_time",
        "may_be_contacted",
        "key",
        "may_withdraw",
        "deletion_due_time",
        "deletion_confirm_time",
        "utc_offset_minutes",  # at the caller's own place
    }


def set_plan(operator: Client, person_id: str, channel: people_pb2.SafeChannel.ValueType) -> None:
    """Sets the channel in the safe-contact plan of a file."""
    file = operator.GetPerson(id=person_id)
    plan = people_pb2.SafeContact(channel_code=channel)
    operator.SetSafeContact(id=file.id, etag=file.etag, safe_contact=plan)


def may_be_contacted(story: Story, call: contacts_pb2.CreateContactResponse) -> list[bool]:
    """Returns, for each of the caller's requests, whether she is told that she may be called."""
    return [item.may_be_contacted for item in status(story.service.public(), call).items]


def test_a_caller_may_be_contacted_only_while_a_referral_is_live_and_every_plan_allows_it(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    assert may_be_contacted(story, call) == [False], "her plan forbids any contact"
    for channel, expected in (
        (people_pb2.SAFE_CHANNEL_PHONE, [True]),
        (people_pb2.SAFE_CHANNEL_NONE, [False]),
        (people_pb2.SAFE_CHANNEL_THROUGH_WORKER, [True]),
    ):
        set_plan(operator, sent.person_id, channel)
        assert may_be_contacted(story, call) == expected
    person = operator.CreatePerson(request_id=story.request_id())
    operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=person.id,
        contact_id=call.contact.id,
        request_id=story.request_id(),
    )
    assert may_be_contacted(story, call) == [False, False], "her second file has no plan yet"
    service.public().WithdrawConsentByReference(**credentials(call))
    assert not any(may_be_contacted(story, call))


def test_a_caller_is_promised_no_contact_that_her_consent_does_not_cover(story: Story) -> None:
    call, sent, operator = referred_caller(story)
    set_plan(operator, sent.person_id, people_pb2.SAFE_CHANNEL_PHONE)
    assert may_be_contacted(story, call) == [True]
    consent = replace(story, ngo=operator).receipt(
        sent.person_id, field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    operator.AttachConsent(id=sent.id, etag=sent.etag, receipt_id=consent.id)
    assert may_be_contacted(story, call) == [False]
    assert refusal(partial(story.shelter.GetSafeContact, referral_id=sent.id)) == (
        "FAILED_PRECONDITION",
        "receipt_field_group_differs",
    )


@pytest.mark.parametrize("end", ["decline", "consent"])
def test_a_caller_may_not_be_contacted_once_no_referral_is_live(
    end: str, story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    set_plan(operator, sent.person_id, people_pb2.SAFE_CHANNEL_VISIT)
    assert may_be_contacted(story, call) == [True]
    if end == "decline":
        story.decline(sent)
    else:
        service.clock.advance(timedelta(days=400))
    assert may_be_contacted(story, call) == [False]


def test_every_state_except_entered_in_error_has_a_status_in_plain_words() -> None:
    words = {state.value: status_for_caller(state.value, "") for state in State}
    assert [state for state, word in words.items() if word is None] == ["entered_in_error"]
    assert {word for word in words.values() if word} == set(
        "being_prepared asked accepted waiting_list in_progress done not_possible stopped".split()
    )


@pytest.mark.parametrize("by_herself", [True, False])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (pb.OUTCOME_FULLY_MET, contacts_pb2.REFERENCE_STATE_DONE),
        (pb.OUTCOME_PARTLY_MET, contacts_pb2.REFERENCE_STATE_DONE),
        (pb.OUTCOME_NOT_MET, contacts_pb2.REFERENCE_STATE_NOT_POSSIBLE),
        (pb.OUTCOME_PERSON_ENDED_EARLY, contacts_pb2.REFERENCE_STATE_STOPPED),
    ],
)
def test_a_caller_is_told_that_help_was_given_only_if_it_was(
    outcome: pb.Outcome.ValueType,
    expected: contacts_pb2.ReferenceState.ValueType,
    by_herself: bool,
    story: Story,
    service: Service,
) -> None:
    call, sent, operator = referred_caller(story)
    public = service.public()
    completed_referral = completed(story, sent, outcome)
    assert items_of(status(public, call), "status_code", "may_confirm") == [(expected, True)]
    if by_herself:
        assert items_of(public.ConfirmHelp(**credentials(call), help_came=True), "status_code") == [
            (contacts_pb2.REFERENCE_STATE_DONE,)
        ], "her own word counts"
    else:
        operator.CloseReferral(
            id=sent.id, etag=completed_referral.etag, help_came_code=pb.HELP_CAME_COULD_NOT_REACH
        )
        assert items_of(status(public, call), "status_code") == [(expected,)], (
            "nobody reached her, so nobody knows more"
        )


def test_a_caller_sees_only_the_following_request_continue_after_a_rerouting(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    operator.RerouteReferral(
        id=sent.id, etag=sent.etag, service_id=SERVICE["clinic_visit"], note="no answer"
    )
    assert {item.status_code for item in status(service.public(), call).items} == {
        contacts_pb2.REFERENCE_STATE_NOT_POSSIBLE,
        contacts_pb2.REFERENCE_STATE_BEING_PREPARED,
    }


def test_an_unknown_or_mistyped_reference_is_answered_like_a_wrong_pin(
    story: Story, service: Service
) -> None:
    call, public = story.contact(), service.public()
    mistyped_reference = ("0" if call.reference[0] != "0" else "1") + call.reference[1:]
    assert {
        refusal(partial(public.GetReferenceStatus, reference=reference, pin=pin))
        for reference, pin in (
            (call.reference, "0000"),
            (new_reference(), "4821"),
            (mistyped_reference, "4821"),
            ("", ""),
            (call.reference, ""),
        )
    } == {WRONG}


def test_neither_reference_nor_pin_is_stored_readably(story: Story, service: Service) -> None:
    call = story.operator.CreateContact(
        contact=contacts_pb2.Contact(line_country="NI", note="tepezcuintle"),
        pin="7319",
        request_id=story.request_id(),
    )
    plain_reference = call.reference.replace("-", "")
    status(service.public(), call)
    with psycopg.connect(service.migration_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        text_by_table = {
            table: "\n".join(
                str(row[0])
                for row in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            )
            for (table,) in tables
        }
        # Any id may contain the four digits of the PIN; only columns that might hold it matter.
        [(fingerprint, pin_hash)] = connection.execute(
            "SELECT fingerprint, pin_hash FROM contact_references WHERE contact_id = %s",
            (call.contact.id,),
        ).fetchall()
    assert call.contact.id in text_by_table["contacts"]
    for secret in (
        plain_reference,
        call.reference,
        "tepezcuintle",
        plain_reference.encode().hex(),
        b"tepezcuintle".hex(),
    ):
        assert not [table for table, text in text_by_table.items() if secret in text]
    assert b"7319" not in bytes(fingerprint)
    assert pin_hash.startswith("$argon2id$")


def test_a_contact_from_a_department_that_does_not_exist_is_refused(story: Story) -> None:
    contact = story.operator.CreateContact(contact=contacts_pb2.Contact(line_country="NI")).contact
    nowhere = contacts_pb2.Contact(line_country="NI", department="NI-ZZ")
    for act in (
        lambda: story.operator.CreateContact(contact=nowhere),
        lambda: update_contact(story.operator, contact, department="NI-ZZ"),
    ):
        assert wrong_fields(act) == [("contact.department", "unknown_code")]


def test_no_generated_pin_is_refused_as_too_easy() -> None:
    for _ in range(3000):  # one in 32 combinations of four digits is too easy
        check_pin(new_pin())


def test_a_chosen_pin_has_four_digits_that_are_not_tried_first_and_a_missing_pin_is_generated(
    story: Story, service: Service
) -> None:
    create = partial(story.operator.CreateContact, contact=contacts_pb2.Contact(line_country="NI"))
    for pin in ("123", "12345", "abcd", "١٢٣٤", "12 4"):
        assert wrong_fields(partial(create, pin=pin)) == [("pin", "malformed")]
    for pin in ("0000", "1212", "1234", "7890", "4321", "1987", "2011"):
        assert wrong_fields(partial(create, pin=pin)) == [("pin", "too_easy")]
    call = create()
    assert re.fullmatch("[0-9]{4}", call.pin)
    assert status(service.public(), call).contact_time_band == contacts_pb2.TIME_BAND_TODAY


def test_a_caller_confirms_that_help_came_or_reopens_her_referral(
    story: Story, service: Service
) -> None:
    call = story.contact()
    confirm = partial(service.public().ConfirmHelp, **credentials(call))
    assert refusal(lambda: confirm(help_came=True)) == ("FAILED_PRECONDITION", "nothing_to_confirm")
    sent, operator = referral_for(story, call)
    completed(story, sent)
    request_id = story.request_id()
    for _ in range(2):  # the second request has no further effect
        answer = confirm(help_came=False, request_id=request_id)
        assert items_of(answer, "status_code") == [(contacts_pb2.REFERENCE_STATE_IN_PROGRESS,)]
    story.shelter.CompleteReferral(
        id=sent.id, etag=read(operator, sent.id).etag, outcome_code=pb.OUTCOME_FULLY_MET
    )
    assert items_of(confirm(help_came=True), "status_code", "may_confirm") == [
        (contacts_pb2.REFERENCE_STATE_DONE, False)
    ]
    assert [
        (event.verb, event.actor_kind, event.actor_id)
        for event in history(operator, sent.id)
        if event.verb in ("reopened", "closed")
    ] == [
        ("reopened", pb.ACTOR_KIND_PERSON, call.contact.id),
        ("closed", pb.ACTOR_KIND_PERSON, call.contact.id),
    ]


def test_a_caller_also_confirms_the_help_of_a_referral_without_a_contact(
    story: Story, service: Service
) -> None:
    call, first, operator = referred_caller(story)
    public = service.public()
    second = referral_beside(story, first, operator)
    completed(story, second)
    assert sorted(items_of(status(public, call), "may_confirm")) == [(False,), (True,)]
    answer = public.ConfirmHelp(**credentials(call), help_came=True)
    assert items_of(answer, "may_confirm") == [(False,), (False,)]
    assert read(operator, second.id).state == pb.STATE_CLOSED


def test_a_caller_withdraws_her_consent_with_her_reference(story: Story, service: Service) -> None:
    call, sent, operator = referred_caller(story)
    for _ in range(2):
        answer = service.public().WithdrawConsentByReference(**credentials(call))
        assert items_of(answer, "status_code", "consent_live") == [
            (contacts_pb2.REFERENCE_STATE_STOPPED, False)
        ]
    assert read(operator, sent.id).state == pb.STATE_CONSENT_WITHDRAWN
    assert operator.GetReceipt(id=sent.receipt_id).HasField("withdraw_time")
    assert refusal(lambda: story.shelter.GetPerson(id=sent.person_id)) == NOT_FOUND
    trail = service.rows(
        "SELECT action FROM audit WHERE object_id = ANY(%s)", [call.contact.id, sent.person_id]
    )
    assert {"enter_by_reference", "withdraw_consent"} <= {row["action"] for row in trail}


@pytest.mark.parametrize(("department", "hours_behind"), [("NI-CI", 6), ("ES-CN", 0), ("US-CA", 8)])
def test_each_item_of_a_reference_has_the_local_time_of_the_callers_place(
    department: str, hours_behind: int, story: Story, service: Service
) -> None:
    contact = contacts_pb2.Contact(
        line_country="NI", department=department, speaker_code=contacts_pb2.SPEAKER_PERSON
    )
    call = story.operator.CreateContact(contact=contact, pin="4821")
    referral_for(story, call)
    (item,) = status(service.public(), call, "4821").items
    assert item.utc_offset_minutes == -60 * hours_behind


def test_a_suspended_member_neither_contacts_the_caller_nor_can_open_her_data(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    set_plan(operator, sent.person_id, people_pb2.SAFE_CHANNEL_PHONE)

    def access() -> tuple[bool, bool, int]:
        state = status(service.public(), call)
        [item] = state.items
        return item.may_be_contacted, item.consent_live, state.organizations_with_access

    assert access() == (True, True, 1)
    with service.member_with_status("shelter", "SUSPENDED", active=False):
        assert access() == (False, False, 0)
    assert access() == (True, True, 1)

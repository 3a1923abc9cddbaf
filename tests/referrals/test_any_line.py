"""A caller's reference is valid at every line.

Her notes reach the lines that she called, and nobody else.
"""

from datetime import timedelta
from functools import partial
from typing import cast

import pytest

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.store import contact_notes
from tests.builders import NOT_FOUND, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story, open_identity, read
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_contacts import completed, referral_beside, referral_for, referred_caller
from tests.referrals.test_erasure import confirm, propose

pytestmark = pytest.mark.usefixtures("clinic_in_costa_rica")
WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")
LINE_COUNTRY = {"hotline": "NI", "clinic": "CR"}
NOTES = "SELECT sealed, person_id FROM contact_notes WHERE contact_id = %s"


def operator_of(story: Story, organization: str = "hotline") -> Client:
    return story.service.as_(organization, "OPERATOR")


def call_again(
    story: Story,
    call: c.CreateContactResponse,
    organization: str = "clinic",
    pin: str = "",
    speaker: c.Speaker.ValueType = c.SPEAKER_UNSPECIFIED,
) -> c.CreateContactResponse:
    """Records another call to this line by the caller, who states her reference."""
    answer: c.CreateContactResponse = operator_of(story, organization).CreateContact(
        contact=c.Contact(line_country=LINE_COUNTRY[organization], speaker_code=speaker),
        reference=call.reference,
        pin=pin or call.pin,
        request_id=story.request_id(),
    )
    return answer


def add_note(story: Story, call: c.CreateContactResponse, note: str) -> c.ReferenceStatus:
    status: c.ReferenceStatus = story.service.public().AddNoteByReference(
        **credentials(call), note=note, request_id=story.request_id()
    )
    return status


def read_contact(client: Client, contact: c.Contact) -> c.Contact:
    return cast(c.Contact, client.GetContact(id=contact.id))


def later_notes(client: Client, contact: c.Contact) -> list[str]:
    """Returns the notes that the caller has added to a contact."""
    return [later_note.note for later_note in read_contact(client, contact).later_notes]


def test_a_call_to_another_line_keeps_the_callers_reference_and_makes_a_contact_of_that_line(
    story: Story,
) -> None:
    call = story.contact()
    second_call = call_again(story, call)
    assert (second_call.reference, second_call.pin, second_call.contact.reference_hint) == (
        call.reference,
        call.pin,
        call.contact.reference_hint,
    )
    assert (call.contact.called_before, second_call.contact.called_before) == (False, True)
    request = c.GetContactByReferenceRequest(**credentials(call))
    hotline, clinic = operator_of(story), operator_of(story, "clinic")
    assert (
        hotline.GetContactByReference(request).id,
        clinic.GetContactByReference(request).id,
    ) == (call.contact.id, second_call.contact.id)
    for attempt in (
        partial(operator_of(story, "shelter").GetContactByReference, request),
        partial(read_contact, hotline, second_call.contact),
        partial(read_contact, clinic, call.contact),
    ):
        assert refusal(attempt) == NOT_FOUND
    story.service.clock.advance(timedelta(minutes=1))
    latest_call = call_again(story, call)
    assert clinic.GetContactByReference(request).id == latest_call.contact.id


def test_a_contact_is_linked_to_a_caller_only_by_her_reference_and_pin(story: Story) -> None:
    call = story.contact()
    for wrong_credentials in ({"pin": "0000"}, {"pin": ""}, {"reference": "AAAA-AAAA"}):
        fields = {"contact": c.Contact(line_country="CR"), **credentials(call), **wrong_credentials}
        assert refusal(partial(operator_of(story, "clinic").CreateContact, **fields)) == WRONG
    guess = partial(call_again, story, call, pin="0000")
    assert [refusal(guess) for _ in range(9)] == [WRONG] * 8 + [
        ("RESOURCE_EXHAUSTED", "too_many_attempts")
    ]


def test_a_member_on_probation_records_no_contact_under_a_reference_and_gets_no_notes(
    story: Story, service: Service
) -> None:
    call = story.contact()
    with service.member_with_status("clinic", "PROBATION"):
        assert refusal(partial(call_again, story, call)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )


def test_the_status_of_a_reference_covers_the_requests_of_all_lines(story: Story) -> None:
    call, public = story.contact(), story.service.public()
    second_call = call_again(story, call, "hotline")
    referral_for(story, call)
    sent, _ = referral_for(story, second_call)
    assert len(items(story, call)) == 2
    completed(story, sent)
    public.ConfirmHelp(**credentials(call), help_came=True)
    status = public.WithdrawConsentByReference(**credentials(call))
    assert sorted(item.status_code for item in status.items) == [
        c.REFERENCE_STATE_DONE,
        c.REFERENCE_STATE_STOPPED,
    ]
    assert (status.organizations_with_access, status.file_count) == (0, 2)


def test_a_callers_note_reaches_the_lines_that_she_called_and_reopens_their_contacts(
    story: Story, service: Service
) -> None:
    call, _, hotline = referred_caller(story)
    second_call = call_again(story, call)
    assert read_contact(hotline, call.contact).outcome_code == c.CONTACT_OUTCOME_REFERRED
    add_note(story, call, "he took the passport")
    for client, contact in (
        (hotline, call.contact),
        (operator_of(story, "clinic"), second_call.contact),
    ):
        assert later_notes(client, contact) == ["he took the passport"]
        current = read_contact(client, contact)
        assert (current.outcome_code, current.unheard) == (c.CONTACT_OUTCOME_OPEN, True)
        assert (current.clocks[0].fired_percent, current.clocks[0].HasField("stop_time")) == (
            0,
            False,
        )
        assert service.fact_types(contact.id).count("enlace.contact.told.v1") == 1


def test_after_an_erasure_at_one_line_only_the_other_line_gets_her_note_and_her_callback(
    story: Story,
) -> None:
    call, hotline = story.contact(), operator_of(story)
    second_call = call_again(story, call)
    clinic = operator_of(story, "clinic")
    colleague = story.service.as_("clinic", "OPERATOR", "MANAGER")
    for client, contact in ((hotline, call.contact), (clinic, second_call.contact)):
        plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
        person = client.CreatePerson(safe_contact=plan, request_id=story.request_id())
        update_contact(client, contact, person_id=person.id)
        referral = client.CreateReferral(
            person_id=person.id, contact_id=contact.id, request_id=story.request_id()
        )
        assert referral.contact_id == contact.id
    propose(clinic, person.id)
    confirm(colleague, person.id)
    former_contact = read_contact(clinic, second_call.contact)
    status = add_note(story, call, "she may be called")
    assert read_contact(clinic, second_call.contact) == former_contact, (
        "the clinic stores nothing more about her"
    )
    assert later_notes(hotline, call.contact) == ["she may be called"]
    assert (status.file_count, status.may_ask_for_call) == (1, True)
    answer = story.service.public().AskForCallByReference(
        **credentials(call),
        day_code=c.DAY_BAND_TOMORROW,
        hour_code=c.HOUR_BAND_MORNING,
        request_id=story.request_id(),
    )
    assert answer.HasField("call_until_time")
    assert list(clinic.ListCallbacks().callbacks) == []
    assert call.contact.id in {
        callback.contact_id for callback in hotline.ListCallbacks().callbacks
    }


@pytest.mark.parametrize("status", ["SUSPENDED", "LEFT"])
def test_a_note_that_no_line_would_read_is_refused(
    status: str, story: Story, service: Service
) -> None:
    call = story.contact()
    with service.member_with_status("hotline", status, active=False):
        assert refusal(partial(add_note, story, call, "he came back")) == (
            "FAILED_PRECONDITION",
            "line_not_active",
        )
        second_call = call_again(story, call)
        add_note(story, call, "he came back twice")
    clinic = operator_of(story, "clinic")
    assert later_notes(clinic, second_call.contact) == ["he came back twice"]


def test_a_contact_with_a_new_note_stays_open_until_an_operator_has_handled_it(
    story: Story,
) -> None:
    call, sent, operator = referred_caller(story)
    add_note(story, call, "she moved to her aunt")
    completed(story, sent)
    current = read_contact(operator, call.contact)
    assert (current.outcome_code, current.unheard) == (c.CONTACT_OUTCOME_OPEN, True), (
        "even though the referral continued"
    )
    outcome = {"outcome_code": c.CONTACT_OUTCOME_ADVISED}
    assert refusal(partial(update_contact, operator, call.contact, **outcome)) == (
        "ABORTED",
        "stale_etag",
    ), "an operator who has not read the note cannot close the contact"
    contact = update_contact(operator, current, **outcome)
    assert (contact.outcome_code, contact.unheard) == (c.CONTACT_OUTCOME_ADVISED, False)


def test_a_callers_note_appears_in_no_list_and_in_no_answer_to_a_lookup_by_reference(
    story: Story,
) -> None:
    call, _, operator = referred_caller(story)
    for answer in (
        add_note(story, call, "quetzal"),
        operator.GetContactByReference(**credentials(call)),
        operator.ListContacts(),
    ):
        assert b"quetzal" not in answer.SerializeToString()


@pytest.mark.parametrize("with_file", [False, True])
def test_a_callers_notes_are_sealed_with_the_key_of_her_file_if_she_has_one(
    with_file: bool, story: Story, service: Service
) -> None:
    call, operator = story.contact(), operator_of(story)
    person = operator.CreatePerson(request_id=story.request_id())
    if with_file:
        update_contact(operator, call.contact, person_id=person.id)
    add_note(story, call, "tepezcuintle")
    [row] = service.rows(NOTES, call.contact.id)
    assert b"tepezcuintle" not in row["sealed"]
    assert row["person_id"] == (person.id if with_file else "")
    service.as_owner("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", person.id)
    assert later_notes(operator, call.contact) == ([] if with_file else ["tepezcuintle"])


def test_reading_a_callers_note_is_recorded_in_the_trail(story: Story, service: Service) -> None:
    call = story.contact()
    add_note(story, call, "he came back")
    service.as_owner("UPDATE contacts SET person_id = '' WHERE id = %s", call.contact.id)
    read_contact(operator_of(story), call.contact)
    rows = service.rows("SELECT action FROM audit WHERE object_id = %s", call.contact.id)
    assert {"action": "read_contact"} in rows


def test_a_reference_accepts_a_limited_number_of_notes_a_day(
    story: Story, service: Service
) -> None:
    call = story.contact()
    for number in range(20):
        add_note(story, call, f"note {number}")
    assert refusal(partial(add_note, story, call, "one more")) == (
        "FAILED_PRECONDITION",
        "too_much_said",
    )
    service.clock.advance(timedelta(days=1, seconds=1))
    add_note(story, call, "tomorrow again")


def test_a_contact_can_be_read_however_many_notes_were_added(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_notes, "MOST_READ", 2)
    call = story.contact()
    for number in range(3):
        add_note(story, call, f"note {number}")
    assert later_notes(operator_of(story), call.contact) == ["note 1", "note 2"]


def test_an_empty_note_and_a_wrong_pin_write_nothing_and_a_repeated_request_writes_once(
    story: Story, service: Service
) -> None:
    call = story.contact()
    assert refusal_with_fields(partial(add_note, story, call, "  "))[2] == {"note": "required"}
    guess = {**credentials(call), "pin": "0000", "note": "call me at this number"}
    assert refusal(partial(service.public().AddNoteByReference, **guess)) == WRONG
    assert later_notes(operator_of(story), call.contact) == []
    request = {**credentials(call), "note": "once", "request_id": story.request_id()}
    for _ in range(2):
        service.public().AddNoteByReference(**request)
    assert later_notes(operator_of(story), call.contact) == ["once"]


def items(story: Story, call: c.CreateContactResponse) -> list[c.ReferenceItem]:
    return list(story.service.public().GetReferenceStatus(**credentials(call)).items)


def withdraw(story: Story, call: c.CreateContactResponse, key: str) -> c.ReferenceStatus:
    status: c.ReferenceStatus = story.service.public().WithdrawConsentByReference(
        **credentials(call), item_key=key, request_id=story.request_id()
    )
    return status


def test_a_caller_can_withdraw_one_request_and_the_others_continue(story: Story) -> None:
    call, first, operator = referred_caller(story)
    second, _ = referral_for(story, call)
    items_before = items(story, call)
    assert [item.may_withdraw for item in items_before] == [True, True]
    status = withdraw(story, call, items_before[0].key)
    assert items_before[0].key != items_before[1].key
    assert [
        (item.key, item.status_code, item.consent_live, item.may_withdraw) for item in status.items
    ] == [
        (items_before[0].key, c.REFERENCE_STATE_STOPPED, False, False),
        (items_before[1].key, c.REFERENCE_STATE_ASKED, True, True),
    ]
    assert {read(operator, sent.id).state for sent in (first, second)} == {
        pb.STATE_SENT,
        pb.STATE_CONSENT_WITHDRAWN,
    }
    assert withdraw(story, call, items_before[0].key) == status, (
        "a second withdrawal changes nothing"
    )


def test_withdrawing_a_request_also_stops_another_request_on_the_same_consent(story: Story) -> None:
    call, first, operator = referred_caller(story)
    referral_for(story, call)
    second = referral_beside(story, first, operator)
    key = story.service.made.contacts._contact_store.item_key(call.contact.id, second.id)
    status = withdraw(story, call, key)
    assert sorted(item.status_code for item in status.items) == [
        c.REFERENCE_STATE_ASKED,
        c.REFERENCE_STATE_STOPPED,
        c.REFERENCE_STATE_STOPPED,
    ]


def test_a_completed_request_cannot_be_withdrawn(story: Story) -> None:
    call, sent, operator = referred_caller(story)
    operator.CloseReferral(
        id=sent.id, etag=completed(story, sent).etag, help_came_code=pb.HELP_CAME_YES
    )
    (item,) = items(story, call)
    assert not item.may_withdraw
    assert withdraw(story, call, item.key).items[0].status_code == c.REFERENCE_STATE_DONE


def test_a_caller_cannot_withdraw_another_callers_request(story: Story) -> None:
    (call, _, _), (other_call, _, _) = referred_caller(story), referred_caller(story)
    for key in (items(story, other_call)[0].key, "0" * 12):
        assert refusal(partial(withdraw, story, call, key)) == NOT_FOUND
    assert [item.may_withdraw for item in items(story, other_call)] == [True]


def accesses_to(story: Story, call: c.CreateContactResponse) -> list[c.ReferenceReading]:
    """Returns the accesses to her data that a caller is shown."""
    return list(story.service.public().ListReadingsByReference(**credentials(call)).readings)


def test_a_caller_sees_accesses_by_day_and_kind_of_organisation_but_never_by_name_or_place(
    story: Story, service: Service
) -> None:
    call = story.contact()
    assert not accesses_to(story, call)
    sent, operator = referral_for(story, call)
    for pause in (timedelta(0), timedelta(0), timedelta(hours=1)):
        service.clock.advance(pause)  # two accesses within an hour count as one
        open_identity(story.shelter, sent.person_id, sent.id)
    attempt = partial(
        story.shelter.OpenPerson,
        id=sent.person_id,
        purpose_code="HOU.EMG",
        field_groups=[people_pb2.FIELD_GROUP_HEALTH],
        referral_id=sent.id,
    )
    assert refusal(attempt) == ("FAILED_PRECONDITION", "receipt_field_group_differs")
    service.clock.advance(timedelta(days=1))
    operator.GetPerson(id=sent.person_id)
    accesses = accesses_to(story, call)
    assert [
        (
            access.date,
            access.organization_type_code,
            access.need_group_code,
            list(access.field_groups),
            access.allowed,
            access.count,
        )
        for access in accesses
    ] == [
        ("2026-03-05", "NGO", "", [people_pb2.FIELD_GROUP_CONTACT], True, 1),
        ("2026-03-04", "NGO", "HOU", [people_pb2.FIELD_GROUP_HEALTH], False, 1),
        ("2026-03-04", "NGO", "HOU", [people_pb2.FIELD_GROUP_IDENTITY], True, 2),
    ]
    serialized = b"".join(access.SerializeToString() for access in accesses)
    secrets = (*ORG.values(), sent.id, sent.person_id, story.shelter.caller.id)
    assert [secret for secret in secrets if secret.encode() in serialized] == []


def test_a_caller_sees_the_accesses_to_her_notes_even_if_she_has_no_file(
    story: Story, service: Service
) -> None:
    call, hotline = story.contact(), operator_of(story)
    second_call = call_again(story, call)
    add_note(story, call, "he came back")
    read_contact(hotline, call.contact)
    read_contact(operator_of(story, "clinic"), second_call.contact)
    (access,) = accesses_to(story, call)
    assert (access.need_group_code, list(access.field_groups), access.count) == (
        "",
        [people_pb2.FIELD_GROUP_NOTES],
        2,
    )
    referral_for(story, call)
    service.clock.advance(timedelta(hours=1))
    read_contact(hotline, call.contact)
    assert [access.count for access in accesses_to(story, call)] == [3], (
        "each reading counts once, even those from before the file existed"
    )


def test_a_callers_note_is_sealed_with_the_key_of_the_file_in_her_referral(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    add_note(story, call, "tepezcuintle")
    [row] = service.rows(NOTES, call.contact.id)
    assert row["person_id"] == sent.person_id
    assert later_notes(operator, call.contact) == ["tepezcuintle"]


def test_a_line_cannot_record_a_contact_for_a_line_of_another_country(story: Story) -> None:
    call = story.contact()
    for organization, other_country in (("hotline", "CR"), ("clinic", "NI")):
        for caller in ({"pin": "4821"}, credentials(call)):
            record = partial(
                operator_of(story, organization).CreateContact,
                contact=c.Contact(line_country=other_country),
                **caller,
            )
            assert refusal_with_fields(record)[2] == {"contact.line_country": "out_of_range"}

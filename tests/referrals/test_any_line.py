"""A caller's reference is valid at every line.

Her notes reach the lines that she called, and nobody else.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_contacts import completed, referral_beside, referral_for
from tests.referrals.test_erasure import confirm, propose

pytestmark = pytest.mark.usefixtures("abroad")
WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")
NOT_THERE = ("NOT_FOUND", "not_found")


def country(organization: str) -> str:
    return "CR" if organization == "clinic" else "NI"


def operator_of(story: Story, organization: str = "hotline") -> Client:
    return story.service.as_(organization, "OPERATOR")


def call_again(
    story: Story, created: c.CreateContactResponse, organization: str = "clinic", pin: str = ""
) -> c.CreateContactResponse:
    """Records a further call by the caller, who names her reference, to this line."""
    request = c.CreateContactRequest(
        contact=c.Contact(line_country=country(organization)),
        reference=created.reference,
        pin=pin or created.pin,
        request_id=story.request_id(),
    )
    answer: c.CreateContactResponse = operator_of(story, organization).CreateContact(request)
    return answer


def add_note(story: Story, created: c.CreateContactResponse, note: str) -> c.ReferenceStatus:
    request = c.AddNoteByReferenceRequest(
        reference=created.reference, pin=created.pin, note=note, request_id=story.request_id()
    )
    status: c.ReferenceStatus = story.service.public().AddNoteByReference(request)
    return status


def read_contact(client: Client, contact: c.Contact) -> c.Contact:
    current: c.Contact = client.GetContact(c.GetContactRequest(id=contact.id))
    return current


def test_a_call_to_another_line_keeps_the_callers_reference_and_makes_a_contact_of_that_line(
    story: Story,
) -> None:
    created = story.contact()
    again = call_again(story, created)
    assert (again.reference, again.pin, again.contact.reference_hint) == (
        created.reference,
        created.pin,
        created.contact.reference_hint,
    )
    assert (created.contact.called_before, again.contact.called_before) == (False, True)
    request = c.GetContactByReferenceRequest(reference=created.reference, pin=created.pin)
    assert operator_of(story).GetContactByReference(request).id == created.contact.id
    assert operator_of(story, "clinic").GetContactByReference(request).id == again.contact.id
    assert (
        refusal(lambda: operator_of(story, "shelter").GetContactByReference(request)) == NOT_THERE
    )
    assert refusal(lambda: read_contact(operator_of(story), again.contact)) == NOT_THERE
    assert refusal(lambda: read_contact(operator_of(story, "clinic"), created.contact)) == NOT_THERE
    story.service.clock.advance(timedelta(minutes=1))
    later = call_again(story, created)
    assert operator_of(story, "clinic").GetContactByReference(request).id == later.contact.id, (
        "the latest of several contacts"
    )


def test_a_contact_is_linked_to_a_caller_only_by_her_reference_and_pin(story: Story) -> None:
    created = story.contact()
    for reference, pin in (
        (created.reference, "0000"),
        (created.reference, ""),
        ("AAAA-AAAA", created.pin),
    ):
        request = c.CreateContactRequest(
            contact=c.Contact(line_country="CR"), reference=reference, pin=pin
        )
        assert refusal(partial(operator_of(story, "clinic").CreateContact, request)) == WRONG
    wrong = partial(call_again, story, created, pin="0000")
    assert [refusal(wrong) for _ in range(9)] == [WRONG] * 8 + [
        ("RESOURCE_EXHAUSTED", "too_many_attempts")
    ]


def test_the_status_of_a_reference_covers_the_requests_of_all_lines(story: Story) -> None:
    created = story.contact()
    again = call_again(story, created, "hotline")
    referral_for(story, created)
    sent, _ = referral_for(story, again)
    credentials = {"reference": created.reference, "pin": created.pin}
    public = story.service.public()
    assert len(public.GetReferenceStatus(c.GetReferenceStatusRequest(**credentials)).items) == 2
    completed(story, sent)
    public.ConfirmHelp(c.ConfirmHelpRequest(**credentials, help_came=True))
    stopped = public.WithdrawConsentByReference(c.WithdrawConsentByReferenceRequest(**credentials))
    assert sorted(item.status_code for item in stopped.items) == [
        c.REFERENCE_STATE_DONE,
        c.REFERENCE_STATE_STOPPED,
    ]
    assert (stopped.organizations_with_access, stopped.file_count) == (0, 2)


def test_a_callers_note_reaches_the_lines_that_she_called_and_reopens_their_contacts(
    story: Story, service: Service
) -> None:
    created = story.contact()
    again = call_again(story, created)
    referral_for(story, created)
    assert (
        read_contact(operator_of(story), created.contact).outcome_code == c.CONTACT_OUTCOME_REFERRED
    )
    add_note(story, created, "he took the passport")
    for client, contact in (
        (operator_of(story), created.contact),
        (operator_of(story, "clinic"), again.contact),
    ):
        stored = read_contact(client, contact)
        assert [later.note for later in stored.later_notes] == ["he took the passport"]
        assert (stored.outcome_code, stored.unheard) == (c.CONTACT_OUTCOME_OPEN, True)
        assert stored.clocks[0].fired_percent == 0
        assert not stored.clocks[0].HasField("stop_time")
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT subject, type FROM outbox WHERE type = 'enlace.contact.told.v1'"
            " AND subject = ANY(%s)",
            ([created.contact.id, again.contact.id],),
        ).fetchall()
    assert len(rows) == 2


def test_after_an_erasure_at_one_line_only_the_other_line_hears_and_calls_the_caller(
    story: Story,
) -> None:
    created = story.contact()
    again = call_again(story, created)
    clinic, colleague = (
        story.service.as_("clinic", "OPERATOR", *more) for more in ((), ("MANAGER",))
    )
    for client, contact in ((operator_of(story), created.contact), (clinic, again.contact)):
        plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
        person = client.CreatePerson(
            people_pb2.CreatePersonRequest(safe_contact=plan, request_id=story.request_id())
        )
        linked = c.UpdateContactRequest(
            contact=c.Contact(id=contact.id, etag=contact.etag, person_id=person.id)
        )
        linked.update_mask.paths.append("person_id")
        client.UpdateContact(linked)
        referral = client.CreateReferral(
            pb.CreateReferralRequest(
                person_id=person.id, contact_id=contact.id, request_id=story.request_id()
            )
        )
        assert referral.contact_id == contact.id
    propose(clinic, person.id)
    confirm(colleague, person.id)
    before = read_contact(clinic, again.contact)
    status = add_note(story, created, "she may be called")
    assert read_contact(clinic, again.contact) == before, "nothing more is written about her there"
    assert [
        note.note for note in read_contact(operator_of(story), created.contact).later_notes
    ] == ["she may be called"]
    assert (status.file_count, status.may_ask_for_call) == (1, True)
    request = c.AskForCallByReferenceRequest(
        reference=created.reference,
        pin=created.pin,
        day_code=c.DAY_BAND_TOMORROW,
        hour_code=c.HOUR_BAND_MORNING,
        request_id=story.request_id(),
    )
    assert story.service.public().AskForCallByReference(request).HasField("call_until_time")
    owed = c.ListCallbacksRequest()
    assert [call.contact_id for call in clinic.ListCallbacks(owed).callbacks] == []
    assert created.contact.id in {
        call.contact_id for call in operator_of(story).ListCallbacks(owed).callbacks
    }


def test_a_contact_with_a_new_note_stays_open_until_an_operator_has_handled_it(
    story: Story,
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    add_note(story, created, "she moved to her aunt")
    completed(story, sent)
    stored = read_contact(operator, created.contact)
    assert (stored.outcome_code, stored.unheard) == (c.CONTACT_OUTCOME_OPEN, True), (
        "even though the referral continued"
    )
    request = c.UpdateContactRequest(
        contact=c.Contact(
            id=stored.id, etag=created.contact.etag, outcome_code=c.CONTACT_OUTCOME_ADVISED
        )
    )
    request.update_mask.paths.append("outcome_code")
    assert refusal(lambda: operator.UpdateContact(request)) == ("ABORTED", "stale_etag"), (
        "an operator who decided before the note has to read it first"
    )
    request.contact.etag = stored.etag
    contact = operator.UpdateContact(request)
    assert (contact.outcome_code, contact.unheard) == (c.CONTACT_OUTCOME_ADVISED, False)


def test_a_callers_note_appears_in_no_list_and_in_no_answer_to_a_lookup_by_reference(
    story: Story,
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    status = add_note(story, created, "quetzal")
    assert b"quetzal" not in status.SerializeToString()
    request = c.GetContactByReferenceRequest(reference=created.reference, pin=created.pin)
    assert b"quetzal" not in operator.GetContactByReference(request).SerializeToString()
    assert b"quetzal" not in operator.ListContacts(c.ListContactsRequest()).SerializeToString()
    assert sent.id


@pytest.mark.parametrize("with_file", [False, True])
def test_a_callers_notes_are_sealed_with_the_key_of_her_file_if_she_has_one(
    with_file: bool, story: Story, service: Service
) -> None:
    created = story.contact()
    operator = operator_of(story)
    person = operator.CreatePerson(people_pb2.CreatePersonRequest(request_id=story.request_id()))
    if with_file:
        current = read_contact(operator, created.contact)
        request = c.UpdateContactRequest(
            contact=c.Contact(id=current.id, etag=current.etag, person_id=person.id)
        )
        request.update_mask.paths.append("person_id")
        operator.UpdateContact(request)
    add_note(story, created, "tepezcuintle")
    with psycopg.connect(service.migration_url) as owner:
        (sealed, by) = owner.execute(
            "SELECT sealed, person_id FROM contact_notes WHERE contact_id = %s",
            (created.contact.id,),
        ).fetchone() or (b"", None)
        assert b"tepezcuintle" not in bytes(sealed)
        assert by == (person.id if with_file else "")
        if with_file:
            owner.execute(
                "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", (person.id,)
            )
    assert [later.note for later in read_contact(operator, created.contact).later_notes] == (
        [] if with_file else ["tepezcuintle"]
    )


def test_reading_a_callers_note_is_recorded_in_the_trail(story: Story, service: Service) -> None:
    created = story.contact()
    add_note(story, created, "he came back")
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE contacts SET person_id = '' WHERE id = %s", (created.contact.id,))
    read_contact(operator_of(story), created.contact)
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT action FROM audit WHERE object_id = %s", (created.contact.id,)
        ).fetchall()
    assert "read_contact" in {row["action"] for row in rows}


def test_a_reference_accepts_a_limited_number_of_notes_a_day(
    story: Story, service: Service
) -> None:
    created = story.contact()
    for number in range(20):
        add_note(story, created, f"note {number}")
    assert refusal(partial(add_note, story, created, "one more")) == (
        "FAILED_PRECONDITION",
        "too_much_said",
    )
    service.clock.advance(timedelta(days=1, seconds=1))
    add_note(story, created, "tomorrow again")


def test_an_empty_note_is_refused_and_a_wrong_pin_writes_nothing(
    story: Story, service: Service
) -> None:
    created = story.contact()
    assert refusal_with_fields(partial(add_note, story, created, "  "))[2] == {"note": "required"}
    guess: Any = c.AddNoteByReferenceRequest(
        reference=created.reference, pin="0000", note="call me at this number"
    )
    assert refusal(partial(service.public().AddNoteByReference, guess)) == WRONG
    assert not read_contact(operator_of(story), created.contact).later_notes


def test_a_note_sent_twice_with_the_same_request_id_is_stored_once(
    story: Story, service: Service
) -> None:
    created = story.contact()
    request = c.AddNoteByReferenceRequest(
        reference=created.reference, pin=created.pin, note="once", request_id=story.request_id()
    )
    for _ in range(2):
        service.public().AddNoteByReference(request)
    assert len(read_contact(operator_of(story), created.contact).later_notes) == 1


def items(story: Story, created: c.CreateContactResponse) -> list[c.ReferenceItem]:
    request = c.GetReferenceStatusRequest(reference=created.reference, pin=created.pin)
    return list(story.service.public().GetReferenceStatus(request).items)


def withdraw(story: Story, created: c.CreateContactResponse, key: str) -> c.ReferenceStatus:
    request = c.WithdrawConsentByReferenceRequest(
        reference=created.reference, pin=created.pin, item_key=key, request_id=story.request_id()
    )
    status: c.ReferenceStatus = story.service.public().WithdrawConsentByReference(request)
    return status


def test_a_caller_can_withdraw_one_request_and_the_others_continue(story: Story) -> None:
    created = story.contact()
    (first, operator), (second, _) = referral_for(story, created), referral_for(story, created)
    before = items(story, created)
    assert [item.may_withdraw for item in before] == [True, True]
    assert len({item.key for item in before}) == 2
    after = withdraw(story, created, before[0].key)
    assert [
        (item.key, item.status_code, item.consent_live, item.may_withdraw) for item in after.items
    ] == [
        (before[0].key, c.REFERENCE_STATE_STOPPED, False, False),
        (before[1].key, c.REFERENCE_STATE_ASKED, True, True),
    ]
    states = [
        operator.GetReferral(pb.GetReferralRequest(id=sent.id)).state for sent in (first, second)
    ]
    assert sorted(states) == [pb.STATE_SENT, pb.STATE_CONSENT_WITHDRAWN]
    assert withdraw(story, created, before[0].key) == after, "a second withdrawal changes nothing"


def test_a_request_with_the_same_permission_as_a_withdrawn_one_stops_as_her_page_says(
    story: Story,
) -> None:
    created = story.contact()
    (first, operator), (_other, _) = referral_for(story, created), referral_for(story, created)
    second = referral_beside(story, first, operator)
    key = story.service.made.contacts._book.item_key(created.contact.id, second.id)
    after = withdraw(story, created, key)
    assert sorted(item.status_code for item in after.items) == [
        c.REFERENCE_STATE_ASKED,
        c.REFERENCE_STATE_STOPPED,
        c.REFERENCE_STATE_STOPPED,
    ]


def test_a_completed_request_cannot_be_withdrawn(
    story: Story,
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    completed_referral = completed(story, sent)
    operator.CloseReferral(
        pb.CloseReferralRequest(
            id=completed_referral.id, etag=completed_referral.etag, help_came_code=pb.HELP_CAME_YES
        )
    )
    (item,) = items(story, created)
    assert not item.may_withdraw
    assert withdraw(story, created, item.key).items[0].status_code == c.REFERENCE_STATE_DONE


def test_a_caller_cannot_withdraw_another_callers_request(story: Story) -> None:
    created, other = story.contact(), story.contact()
    referral_for(story, created)
    referral_for(story, other)
    for key in (items(story, other)[0].key, "0" * 12):
        assert refusal(partial(withdraw, story, created, key)) == NOT_THERE
    assert [item.may_withdraw for item in items(story, other)] == [True]


def readings_of(story: Story, created: c.CreateContactResponse) -> list[c.ReferenceReading]:
    request = c.ListReadingsByReferenceRequest(reference=created.reference, pin=created.pin)
    return list(story.service.public().ListReadingsByReference(request).readings)


def test_a_caller_sees_accesses_by_day_and_kind_of_organisation_but_never_by_name_or_place(
    story: Story, service: Service
) -> None:
    created = story.contact()
    assert not readings_of(story, created)
    sent, operator = referral_for(story, created)
    opening = people_pb2.OpenPersonRequest(
        id=sent.person_id, purpose_code="HOU.EMG", referral_id=sent.id
    )
    opening.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
    for _ in range(2):  # two accesses within an hour count as one
        story.shelter.OpenPerson(opening)
    service.clock.advance(timedelta(hours=1))
    story.shelter.OpenPerson(opening)
    opening.field_groups[:] = [people_pb2.FIELD_GROUP_HEALTH]
    assert refusal(lambda: story.shelter.OpenPerson(opening)) == (
        "FAILED_PRECONDITION",
        "receipt_field_group_differs",
    )
    service.clock.advance(timedelta(days=1))
    operator.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    readings = readings_of(story, created)
    assert [
        (
            reading.date,
            reading.organization_type_code,
            reading.need_group_code,
            list(reading.field_groups),
            reading.allowed,
            reading.count,
        )
        for reading in readings
    ] == [
        ("2026-03-05", "NGO", "", [people_pb2.FIELD_GROUP_CONTACT], True, 1),
        ("2026-03-04", "NGO", "HOU", [people_pb2.FIELD_GROUP_HEALTH], False, 1),
        ("2026-03-04", "NGO", "HOU", [people_pb2.FIELD_GROUP_IDENTITY], True, 2),
    ]
    serialized = b"".join(reading.SerializeToString() for reading in readings)
    assert not [
        one
        for one in (*ORG.values(), sent.id, sent.person_id, story.shelter.caller.id)
        if one.encode() in serialized
    ]


def test_a_caller_sees_who_read_her_notes_even_if_she_has_no_file(
    story: Story, service: Service
) -> None:
    created = story.contact()
    again = call_again(story, created)
    add_note(story, created, "he came back")
    for client, contact in (
        (operator_of(story), created.contact),
        (operator_of(story, "clinic"), again.contact),
    ):
        read_contact(client, contact)
    (reading,) = readings_of(story, created)
    assert (reading.need_group_code, list(reading.field_groups), reading.count) == (
        "",
        [people_pb2.FIELD_GROUP_NOTES],
        2,
    )
    referral_for(story, created)
    service.clock.advance(timedelta(hours=1))
    read_contact(operator_of(story), created.contact)
    (reading,) = readings_of(story, created)
    assert reading.count == 3, "each reading counts once, even those from before the file existed"


def test_a_callers_note_is_sealed_with_the_key_of_the_file_in_her_referral(
    story: Story, service: Service
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    add_note(story, created, "tepezcuintle")
    with service.database.transaction(SYSTEM) as tx:
        row = tx.execute(
            "SELECT person_id FROM contact_notes WHERE contact_id = %s", (created.contact.id,)
        ).fetchone()
    assert row is not None
    assert row["person_id"] == sent.person_id
    assert [later.note for later in read_contact(operator, created.contact).later_notes] == [
        "tepezcuintle"
    ]


def test_b9_a_line_cannot_record_a_contact_for_a_line_of_another_country(story: Story) -> None:
    created = story.contact()
    for organization, other in (("hotline", "CR"), ("clinic", "NI")):
        new = c.CreateContactRequest(
            contact=c.Contact(line_country=other), pin="4821", request_id=story.request_id()
        )
        again = c.CreateContactRequest(
            contact=c.Contact(line_country=other), reference=created.reference, pin=created.pin
        )
        for request in (new, again):
            recorded = partial(operator_of(story, organization).CreateContact, request)
            assert refusal_with_fields(recorded)[2] == {"contact.line_country": "out_of_range"}

"""The trail has no gap.

Each access to and change of a person's data is recorded in the same transaction. If the record
fails, there is neither a change nor an answer.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import psycopg
import pytest

from chassis import audit
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal
from tests.referrals.conftest import Service, Story


def rows(service: Service, after: int) -> list[tuple[str, str, str]]:
    """Returns action, object and reason of each row after this one."""
    with service.database.transaction(SYSTEM) as tx:
        records = tx.execute(
            "SELECT action, object_id, reason FROM audit WHERE sequence > %s ORDER BY sequence",
            (after,),
        ).fetchall()
    return [(row["action"], row["object_id"], row["reason"]) for row in records]


def last_sequence(service: Service) -> int:
    with service.database.transaction(SYSTEM) as tx:
        return audit.head(tx).sequence


def test_making_and_changing_a_file_and_its_plan_is_recorded(
    story: Story, service: Service
) -> None:
    before = last_sequence(service)
    person = story.person()
    person = story.ngo.UpdateIdentity(
        people_pb2.UpdateIdentityRequest(
            id=person.id, etag=person.etag, identity=people_pb2.Identity(family_name="Inventada")
        )
    )
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE, hours="de noche", code_word="mango"
    )
    person = story.ngo.SetSafeContact(
        people_pb2.SetSafeContactRequest(id=person.id, etag=person.etag, safe_contact=plan)
    )
    story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id))
    assert rows(service, before) == [
        (action, person.id, "")
        for action in ("create_person", "update_identity", "set_safe_contact", "read_safe_contact")
    ]
    readings = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person.id)).readings
    assert [list(reading.field_groups) for reading in readings] == [
        [people_pb2.FIELD_GROUP_CONTACT]
    ]


def test_reading_a_contacts_note_is_recorded_with_the_contact_and_with_the_person(
    story: Story, service: Service
) -> None:
    operator = service.as_("hotline", "OPERATOR")
    contact = contacts_pb2.Contact(
        line_country="NI",
        kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
        speaker_code=contacts_pb2.SPEAKER_PERSON,
        note="llama desde la terminal",
    )
    created = operator.CreateContact(
        contacts_pb2.CreateContactRequest(contact=contact, pin="4821")
    ).contact
    person = operator.CreatePerson(
        people_pb2.CreatePersonRequest(coarse=pb.CoarsePerson(language="es", country="NI"))
    )
    request = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(id=created.id, etag=created.etag, person_id=person.id)
    )
    request.update_mask.paths.append("person_id")
    operator.UpdateContact(request)
    before = last_sequence(service)
    operator.GetContact(contacts_pb2.GetContactRequest(id=created.id))
    assert rows(service, before) == [
        ("read_contact", created.id, ""),
        ("read_contact", person.id, ""),
    ]
    readings = operator.ListReadings(people_pb2.ListReadingsRequest(person_id=person.id)).readings
    assert [list(reading.field_groups) for reading in readings] == [[people_pb2.FIELD_GROUP_NOTES]]


def test_every_step_and_every_refused_step_is_recorded(story: Story, service: Service) -> None:
    before = last_sequence(service)
    accepted = story.accepted()
    request = pb.StartReferralRequest(id=accepted.id, etag=accepted.etag)
    request.first_contact_time.FromDatetime(service.clock.now())
    started = story.shelter.StartReferral(request)
    assert (
        refusal(
            lambda: story.ngo.StartReferral(
                pb.StartReferralRequest(id=started.id, etag=started.etag)
            )
        )[0]
        != "OK"
    )
    steps = [row for row in rows(service, before) if row[1] == accepted.id]
    assert [row[0] for row in steps] == [
        "create_referral",
        "accept_referral",
        "start_referral",
        "start_referral",
    ]
    assert [bool(row[2]) for row in steps] == [False, False, False, True]


def test_every_fired_deadline_is_recorded(story: Story, service: Service) -> None:
    sent = story.sent()
    before = last_sequence(service)
    service.clock.advance(timedelta(days=3))
    with service.database.transaction(SYSTEM) as tx:
        events = service.made.lives.fire_deadlines(tx, service.clock.now(), 1000)
    assert [row for row in rows(service, before) if row[1] == sent.id]
    assert len(rows(service, before)) == len(events)


def test_a_repeated_request_is_recorded_again_because_it_is_answered_again(
    story: Story, service: Service
) -> None:
    request = people_pb2.CreatePersonRequest(
        coarse=pb.CoarsePerson(language="es", country="NI"), request_id="twice-the-same"
    )
    before = last_sequence(service)
    created = story.ngo.CreatePerson(request)
    assert story.ngo.CreatePerson(request) == created
    assert rows(service, before) == [("create_person", created.id, "")] * 2


def test_without_the_trail_a_call_neither_changes_nor_returns_anything(
    story: Story, service: Service
) -> None:
    person = story.person()
    with psycopg.connect(service.migration_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit_head RENAME TO audit_head_away")
        try:
            before = owner.execute("SELECT count(*) FROM people").fetchone()
            with pytest.raises(Exception, match="fault"):
                story.person()
            with pytest.raises(Exception, match="fault"):
                story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id))
            assert owner.execute("SELECT count(*) FROM people").fetchone() == before
        finally:
            owner.execute("ALTER TABLE audit_head_away RENAME TO audit_head")
    assert story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id)).id == person.id


def test_the_record_of_a_call_holds_only_ids_and_codes_whatever_the_request_held(
    story: Story, service: Service
) -> None:
    before = last_sequence(service)
    for wrong in ("Ximena Inventada", "x" * 32, "../../etc", "a\tb", "0" * 33):
        request = people_pb2.GetPersonRequest(id=wrong)
        assert refusal(partial(story.ngo.GetPerson, request))[1] == "not_found"
    assert {row[1] for row in rows(service, before)} == {story.ngo.caller.organization_id}


def readings(story: Story, person_id: str) -> list[tuple[str, ...]]:
    """Returns the field groups that each access to a file opened, newest first."""
    listed = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person_id)).readings
    return [
        tuple(people_pb2.FieldGroup.Name(group) for group in reading.field_groups)
        for reading in listed
    ]


def test_d22_the_outline_of_a_file_shows_nothing_sealed_and_is_not_listed_as_a_reading(
    story: Story, service: Service
) -> None:
    person = story.person()
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours="de noche",
        code_word="mango",
        message_may_be_left=True,
    )
    story.ngo.SetSafeContact(
        people_pb2.SetSafeContactRequest(id=person.id, etag=person.etag, safe_contact=plan)
    )
    before = last_sequence(service)
    for _ in range(9):
        outline = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id, outline_only=True))
    assert outline.safe_contact == people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE, message_may_be_left=True
    )
    assert {action for action, _, _ in rows(service, before)} == {"get_person"}
    assert readings(story, person.id) == []


def test_d22_repeated_readings_within_an_hour_are_listed_once_but_all_are_in_the_trail(
    story: Story, service: Service
) -> None:
    person = story.person()
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE, code_word="mango")
    story.ngo.SetSafeContact(
        people_pb2.SetSafeContactRequest(id=person.id, etag=person.etag, safe_contact=plan)
    )
    before = last_sequence(service)
    for _ in range(4):
        story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id))
    assert rows(service, before) == [("read_safe_contact", person.id, "")] * 4
    assert readings(story, person.id) == [("FIELD_GROUP_CONTACT",)]
    colleague = service.as_("ngo", "WORKER", "OPERATOR")
    colleague.GetPerson(people_pb2.GetPersonRequest(id=person.id))
    assert len(readings(story, person.id)) == 2, "her list shows who opened the file"
    service.clock.advance(timedelta(hours=1))
    story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id))
    assert len(readings(story, person.id)) == 3


def test_d22_each_refused_reading_is_listed(story: Story, service: Service) -> None:
    person = story.person()
    request = people_pb2.OpenPersonRequest(
        id=person.id, purpose_code="HOU.EMG", field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    for _ in range(3):
        assert refusal(partial(story.shelter.OpenPerson, request))[0] == "NOT_FOUND"
    listed = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person.id)).readings
    assert [reading.allowed for reading in listed] == [False] * 3

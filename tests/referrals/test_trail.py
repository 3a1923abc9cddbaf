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
from tests.builders import NOT_FOUND, refusal
from tests.referrals.conftest import Client, Service, Story, open_identity


def rows(service: Service, after: int) -> list[tuple[str, str, str]]:
    """Returns (action, object, reason) of each row of the trail after this sequence number."""
    records = service.rows(
        "SELECT action, object_id, reason FROM audit WHERE sequence > %s ORDER BY sequence", after
    )
    return [(row["action"], row["object_id"], row["reason"]) for row in records]


def last_sequence(service: Service) -> int:
    with service.database.transaction(SYSTEM) as tx:
        return audit.head(tx).sequence


def readings(client: Client, person_id: str) -> list[list[int]]:
    """Returns the field groups that each access to a file opened, newest first."""
    listed = client.ListReadings(person_id=person_id).readings
    return [list(reading.field_groups) for reading in listed]


def person_with_plan(story: Story) -> people_pb2.Person:
    """Adds a person with a plan that has sealed parts."""
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours="de noche",
        code_word="mango",
        message_may_be_left=True,
    )
    return story.person(plan=plan)


def test_the_creation_and_each_change_of_a_file_and_its_plan_are_recorded(
    story: Story, service: Service
) -> None:
    before = last_sequence(service)
    person = story.person()
    person = story.ngo.UpdateIdentity(
        id=person.id, etag=person.etag, identity=people_pb2.Identity(family_name="Inventada")
    )
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE, hours="de noche", code_word="mango"
    )
    story.ngo.SetSafeContact(id=person.id, etag=person.etag, safe_contact=plan)
    story.ngo.GetPerson(id=person.id)
    assert rows(service, before) == [
        (action, person.id, "")
        for action in ("create_person", "update_identity", "set_safe_contact", "read_safe_contact")
    ]
    assert readings(story.ngo, person.id) == [[people_pb2.FIELD_GROUP_CONTACT]]


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
    created = operator.CreateContact(contact=contact, pin="4821").contact
    person = operator.CreatePerson(contact_id=created.id)
    before = last_sequence(service)
    operator.GetContact(id=created.id)
    assert rows(service, before) == [
        ("read_contact", created.id, ""),
        ("read_contact", person.id, ""),
    ]
    assert readings(operator, person.id) == [[people_pb2.FIELD_GROUP_NOTES]]


def test_every_step_and_every_refused_step_is_recorded(story: Story, service: Service) -> None:
    before = last_sequence(service)
    accepted = story.accepted()
    started = story.shelter.StartReferral(
        id=accepted.id, etag=accepted.etag, first_contact_time=service.clock.now()
    )
    refusal(lambda: story.ngo.StartReferral(id=started.id, etag=started.etag))
    steps = [row for row in rows(service, before) if row[1] == accepted.id]
    assert [(action, bool(reason)) for action, _, reason in steps] == [
        ("create_referral", False),
        ("accept_referral", False),
        ("start_referral", False),
        ("start_referral", True),
    ]


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
                story.ngo.GetPerson(id=person.id)
            assert owner.execute("SELECT count(*) FROM people").fetchone() == before
        finally:
            owner.execute("ALTER TABLE audit_head_away RENAME TO audit_head")
    assert story.ngo.GetPerson(id=person.id).id == person.id


def test_the_record_of_a_call_holds_only_ids_and_codes_whatever_the_request_held(
    story: Story, service: Service
) -> None:
    before = last_sequence(service)
    for text in ("Ximena Inventada", "x" * 32, "../../etc", "a\tb", "0" * 33):
        assert refusal(partial(story.ngo.GetPerson, id=text)) == NOT_FOUND
    assert {row[1] for row in rows(service, before)} == {story.ngo.caller.organization_id}


def test_d22_the_outline_of_a_file_shows_nothing_sealed_and_is_not_listed_as_a_reading(
    story: Story, service: Service
) -> None:
    person = person_with_plan(story)
    before = last_sequence(service)
    for _ in range(9):
        outline = story.ngo.GetPerson(id=person.id, outline_only=True)
    assert outline.safe_contact == people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE, message_may_be_left=True
    )
    assert {action for action, _, _ in rows(service, before)} == {"get_person"}
    assert readings(story.ngo, person.id) == []


def test_d22_repeated_readings_within_an_hour_are_listed_once_but_all_are_in_the_trail(
    story: Story, service: Service
) -> None:
    person = person_with_plan(story)
    before = last_sequence(service)
    for _ in range(4):
        story.ngo.GetPerson(id=person.id)
    assert rows(service, before) == [("read_safe_contact", person.id, "")] * 4
    assert readings(story.ngo, person.id) == [[people_pb2.FIELD_GROUP_CONTACT]]
    service.as_("ngo", "WORKER", "OPERATOR").GetPerson(id=person.id)
    assert len(readings(story.ngo, person.id)) == 2, "the list shows who opened the file"
    service.clock.advance(timedelta(hours=1))
    story.ngo.GetPerson(id=person.id)
    assert len(readings(story.ngo, person.id)) == 3


def test_d22_each_refused_reading_is_listed(story: Story) -> None:
    person = story.person()
    for _ in range(3):
        assert refusal(lambda: open_identity(story.shelter, person.id)) == NOT_FOUND
    listed = story.ngo.ListReadings(person_id=person.id).readings
    assert [reading.allowed for reading in listed] == [False] * 3

"""The trail has no gap.

Each access to and change of a person's data is recorded in the same transaction. If the record
fails, there is neither a change nor an answer.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis import audit
from chassis.tokens import SYSTEM
from protos.referrals.v1 import audit_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.people.usecases import trail
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import ORG, Client, Service, Story, open_identity
from tests.referrals.test_openings import open_person, somebody
from trail import chain


def rows(service: Service, after: int) -> list[tuple[str, str, str]]:
    """Returns (action, object, reason) of each row of the trail after this sequence number."""
    records = service.rows(
        "SELECT action, object_id, reason FROM audit WHERE sequence > %s ORDER BY sequence", after
    )
    return [(row["action"], row["object_id"], row["reason"]) for row in records]


def last_sequence(service: Service) -> int:
    return service.in_transaction(audit.head).sequence


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
    operator, created = story.operator, story.contact(note="llama desde la terminal").contact
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
    events = service.in_transaction(
        service.made.referral_changes.fire_deadlines, service.clock.now(), 1000
    )
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


def test_the_outline_of_a_file_shows_nothing_sealed_and_is_not_listed_as_a_reading(
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


def test_repeated_readings_within_an_hour_are_listed_once_but_all_are_in_the_trail(
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


def test_each_refused_reading_is_listed(story: Story) -> None:
    person = story.person()
    for _ in range(3):
        assert refusal(lambda: open_identity(story.shelter, person.id)) == NOT_FOUND
    listed = story.ngo.ListReadings(person_id=person.id).readings
    assert [reading.allowed for reading in listed] == [False] * 3


# The auditor searches the trail and has its chain verified.


def searched_rows(
    auditor: Client, page_size: int = 200, **filters: Any
) -> list[audit_pb2.TrailRow]:
    """Returns all rows that match the filters; rows of searches only if an action is given."""
    listed, token = list[audit_pb2.TrailRow](), ""
    while True:
        answer = auditor.ListTrail(page_size=page_size, page_token=token, **filters)
        token = answer.next_page_token
        listed += answer.rows
        if not token:
            return [
                row
                for row in listed
                if row.action_code != "list_trail" or filters.get("action_code")
            ]


def test_the_trail_can_be_searched_by_actor_object_organisation_action_and_time(
    story: Story, service: Service, auditor: Client
) -> None:
    worker, stranger, person = somebody(service), somebody(service, "clinic"), story.person()
    open_person(worker, person.id)
    refusal(lambda: open_person(stranger, person.id))
    rows_of_person = searched_rows(auditor, object_id=person.id)
    refused_opening, opening, creation = rows_of_person
    assert [(row.action_code, row.allowed) for row in rows_of_person] == [
        ("open_identity", False),
        ("open_identity", True),
        ("create_person", True),
    ]
    assert refused_opening.sequence > opening.sequence > creation.sequence
    assert (refused_opening.reason_code, opening.purpose_code, list(opening.detail_codes)) == (
        "not_found",
        "HOU.EMG",
        ["identity"],
    )
    assert searched_rows(auditor, actor_id=worker.caller.id) == [opening]
    later = service.clock.now() + timedelta(seconds=1)
    for filters, expected in (
        ({"page_size": 1}, rows_of_person),
        ({"organization_id": ORG["clinic"]}, [refused_opening]),
        ({"action_code": "create_person"}, [creation]),
        ({"refused": True}, [refused_opening]),
        ({"start_time": later}, []),
        ({"end_time": later}, rows_of_person),
    ):
        assert searched_rows(auditor, object_id=person.id, **filters) == expected, filters
    assert wrong_fields(lambda: auditor.ListTrail(object_id="Ximena"))


def test_only_an_auditor_searches_the_trail_and_each_search_is_recorded(
    story: Story, service: Service, auditor: Client
) -> None:
    person = story.person()
    for other in (
        story.ngo,
        story.coordinator,
        service.as_("ngo", "MANAGER"),
        service.as_("ngo", scopes=("people.open",)),
    ):
        for act in (other.ListTrail, other.VerifyTrail):
            assert refusal(act) == ("PERMISSION_DENIED", "right_missing")
    searched_rows(auditor, object_id=person.id)
    [search] = searched_rows(auditor, object_id=person.id, action_code="list_trail")
    assert search.actor_id == auditor.caller.id
    readings = story.ngo.ListReadings(person_id=person.id).readings
    assert list(readings) == [], "a search of the trail is no access to the file"


def verify_trail(auditor: Client) -> tuple[int, int, list[tuple[int, int]]]:
    """Returns the last verified row, the number of calls, and the findings."""
    token, calls, findings = "", 0, list[tuple[int, int]]()
    while True:
        answer = auditor.VerifyTrail(page_token=token)
        calls, token = calls + 1, answer.next_page_token
        findings += [(finding.sequence, finding.fault) for finding in answer.findings]
        if not token:
            assert answer.verified_sequence == answer.last_sequence
            return answer.verified_sequence, calls, findings


def test_an_intact_trail_is_verified_in_as_many_calls_as_needed(
    story: Story, service: Service, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.person()
    end = last_sequence(service)
    last_row, calls, findings = verify_trail(auditor)
    assert (last_row >= end, calls, findings) == (True, 1, [])
    monkeypatch.setattr(trail, "_ROWS", end // 3)
    assert verify_trail(auditor)[1:] in ((4, []), (5, [])), "each call adds a row"


def test_an_altered_row_is_found_by_the_call_that_verifies_it(
    story: Story, service: Service, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = story.person()
    open_person(story.ngo, person.id)
    row = searched_rows(auditor, object_id=person.id, action_code="open_identity")[0].sequence
    monkeypatch.setattr(trail, "_ROWS", 5)
    change = "UPDATE audit SET actor_id = %s WHERE sequence = %s"
    service.as_owner(change, "nobody", row)
    try:
        assert verify_trail(auditor)[2] == [(row, audit_pb2.TRAIL_FAULT_ALTERED)]
    finally:
        service.as_owner(change, story.ngo.caller.id, row)
    assert verify_trail(auditor)[2] == []


def test_a_missing_or_forked_row_is_found_by_its_witnessed_head(
    service: Service, auditor: Client
) -> None:
    with service.database.transaction(SYSTEM) as tx:
        head = audit.head(tx)
        intact = trail.verify(tx, audit.START, {head.sequence: {head.hash}})
        cut = trail.verify(tx, audit.START, {head.sequence + 7: {b"x"}})
        forked = trail.verify(tx, audit.START, {head.sequence - 1: {b"x"}})
    assert (intact.witnessed_head_count, intact.findings) == (1, [])
    assert cut.findings == [chain.Finding(head.sequence + 7, "cut")]
    assert forked.findings == [chain.Finding(head.sequence - 1, "forked")]


def test_an_invented_page_token_is_refused(auditor: Client) -> None:
    assert wrong_fields(lambda: auditor.VerifyTrail(page_token="abc"))

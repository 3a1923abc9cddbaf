"""The auditor searches the trail and has its chain verified.

Nobody else can do this, and each search is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from chassis import audit
from chassis.tokens import SYSTEM
from protos.referrals.v1 import audit_pb2 as pb
from protos.referrals.v1 import people_pb2
from services.referrals.people.usecases import trail
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_openings import open_person, somebody
from trail import chain


@pytest.fixture
def auditor(service: Service) -> Client:
    return service.as_("coalition", "AUDITOR")


def rows(auditor: Client, page_size: int = 200, **filters: object) -> list[pb.TrailRow]:
    listed, token = list[pb.TrailRow](), ""
    while True:
        answer = auditor.ListTrail(
            pb.ListTrailRequest(page_size=page_size, page_token=token, **filters)  # type: ignore[arg-type]
        )
        listed, token = [*listed, *answer.rows], answer.next_page_token
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
    rows_of_person = rows(auditor, object_id=person.id)
    assert [(row.action_code, row.allowed) for row in rows_of_person] == [
        ("open_identity", False),
        ("open_identity", True),
        ("create_person", True),
    ]
    assert [row.sequence for row in rows_of_person] == sorted(
        (row.sequence for row in rows_of_person), reverse=True
    )
    assert rows(auditor, object_id=person.id, page_size=1) == rows_of_person
    assert rows(auditor, actor_id=worker.caller.id) == rows_of_person[1:2]
    assert rows(auditor, object_id=person.id, organization_id=ORG["clinic"]) == rows_of_person[:1]
    assert rows(auditor, object_id=person.id, action_code="create_person") == rows_of_person[2:]
    assert rows(auditor, object_id=person.id, refused=True) == rows_of_person[:1]
    assert (
        rows_of_person[0].reason_code,
        rows_of_person[1].purpose_code,
        list(rows_of_person[1].detail_codes),
    ) == (
        "not_found",
        "HOU.EMG",
        ["identity"],
    )
    request = pb.ListTrailRequest(object_id=person.id)
    request.start_time.FromDatetime(service.clock.now() + timedelta(seconds=1))
    assert list(auditor.ListTrail(request).rows) == []
    request = pb.ListTrailRequest(object_id=person.id)
    request.end_time.FromDatetime(service.clock.now() + timedelta(seconds=1))
    assert [
        row for row in auditor.ListTrail(request).rows if row.action_code != "list_trail"
    ] == rows_of_person
    assert (
        refusal_with_fields(lambda: auditor.ListTrail(pb.ListTrailRequest(object_id="Ximena")))[1]
        == "invalid_fields"
    )


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
        # called at once
        assert refusal(lambda: rows(other)) == ("PERMISSION_DENIED", "right_missing")  # noqa: B023
        assert refusal(lambda: other.VerifyTrail(pb.VerifyTrailRequest())) == (  # noqa: B023
            "PERMISSION_DENIED",
            "right_missing",
        )
    rows(auditor, object_id=person.id)
    assert [
        row.actor_id for row in rows(auditor, object_id=person.id, action_code="list_trail")
    ] == [auditor.caller.id]
    readings = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person.id)).readings
    assert list(readings) == [], "a search of the trail is no access to her file"


def verified(auditor: Client) -> tuple[int, int, list[tuple[int, int]]]:
    """Returns the last verified row, the number of calls, and the findings."""
    token, calls, findings = "", 0, list[tuple[int, int]]()
    while True:
        answer = auditor.VerifyTrail(pb.VerifyTrailRequest(page_token=token))
        calls, token = calls + 1, answer.next_page_token
        findings += [(finding.sequence, finding.fault) for finding in answer.findings]
        if not token:
            assert answer.verified_sequence == answer.last_sequence
            return answer.verified_sequence, calls, findings


@pytest.fixture
def owner(service: Service) -> Iterator[psycopg.Connection]:
    """Yields a connection of the database's owner, who may change anything."""
    with psycopg.connect(service.migration_url) as connection:
        yield connection


def test_an_intact_trail_is_verified_in_as_many_calls_as_needed(
    story: Story, service: Service, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.person()
    with service.database.transaction(SYSTEM) as tx:
        end = audit.head(tx).sequence
    until, calls, findings = verified(auditor)
    assert (until >= end, calls, findings) == (True, 1, [])
    monkeypatch.setattr(trail, "_ROWS", end // 3)
    assert verified(auditor)[1:] in ((4, []), (5, [])), "each call adds a row"


def test_an_altered_row_is_found_by_the_call_that_verifies_it(
    story: Story,
    service: Service,
    auditor: Client,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = story.person()
    open_person(story.ngo, person.id)
    row = rows(auditor, object_id=person.id, action_code="open_identity")[0].sequence
    monkeypatch.setattr(trail, "_ROWS", 5)
    owner.execute("UPDATE audit SET actor_id = 'nobody' WHERE sequence = %s", (row,))
    owner.commit()
    try:
        assert verified(auditor)[2] == [(row, pb.TRAIL_FAULT_ALTERED)]
    finally:
        owner.execute(
            "UPDATE audit SET actor_id = %s WHERE sequence = %s", (story.ngo.caller.id, row)
        )
        owner.commit()
    assert verified(auditor)[2] == []


def test_a_missing_or_forked_row_is_found_by_its_witnessed_head(
    service: Service, auditor: Client
) -> None:
    with service.database.transaction(SYSTEM) as tx:
        head = audit.head(tx)
        ours = trail.verify(tx, audit.START, {head.sequence: {head.hash}})
        cut = trail.verify(tx, audit.START, {head.sequence + 7: {b"x"}})
        forked = trail.verify(tx, audit.START, {head.sequence - 1: {b"x"}})
    assert (ours.witnesses, ours.findings) == (1, [])
    assert cut.findings == [chain.Finding(head.sequence + 7, "cut")]
    assert forked.findings == [chain.Finding(head.sequence - 1, "forked")]


def test_an_invented_page_token_is_refused(auditor: Client) -> None:
    assert (
        refusal(lambda: auditor.VerifyTrail(pb.VerifyTrailRequest(page_token="abc")))[1]
        == "invalid_fields"
    )

"""The auditor searches the trail and has its chain verified.

Nobody else can do this, and each search is recorded.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chassis import audit
from chassis.tokens import SYSTEM
from protos.referrals.v1 import audit_pb2 as pb
from services.referrals.people.usecases import trail
from tests.builders import refusal, wrong_fields
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_openings import open_person, somebody
from trail import chain


@pytest.fixture
def auditor(service: Service) -> Client:
    return service.as_("coalition", "AUDITOR")


def rows(auditor: Client, page_size: int = 200, **filters: Any) -> list[pb.TrailRow]:
    """Returns all rows that match the filters; searches only if an action is given."""
    listed, token = list[pb.TrailRow](), ""
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
    of_person = rows(auditor, object_id=person.id)
    refused_opening, opening, creation = of_person
    assert [(row.action_code, row.allowed) for row in of_person] == [
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
    assert rows(auditor, actor_id=worker.caller.id) == [opening]
    later = service.clock.now() + timedelta(seconds=1)
    for filters, expected in (
        ({"page_size": 1}, of_person),
        ({"organization_id": ORG["clinic"]}, [refused_opening]),
        ({"action_code": "create_person"}, [creation]),
        ({"refused": True}, [refused_opening]),
        ({"start_time": later}, []),
        ({"end_time": later}, of_person),
    ):
        assert rows(auditor, object_id=person.id, **filters) == expected, filters
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
    rows(auditor, object_id=person.id)
    [search] = rows(auditor, object_id=person.id, action_code="list_trail")
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
    with service.database.transaction(SYSTEM) as tx:
        end = audit.head(tx).sequence
    last_row, calls, findings = verify_trail(auditor)
    assert (last_row >= end, calls, findings) == (True, 1, [])
    monkeypatch.setattr(trail, "_ROWS", end // 3)
    assert verify_trail(auditor)[1:] in ((4, []), (5, [])), "each call adds a row"


def test_an_altered_row_is_found_by_the_call_that_verifies_it(
    story: Story, service: Service, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = story.person()
    open_person(story.ngo, person.id)
    row = rows(auditor, object_id=person.id, action_code="open_identity")[0].sequence
    monkeypatch.setattr(trail, "_ROWS", 5)
    change = "UPDATE audit SET actor_id = %s WHERE sequence = %s"
    service.as_owner(change, "nobody", row)
    try:
        assert verify_trail(auditor)[2] == [(row, pb.TRAIL_FAULT_ALTERED)]
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

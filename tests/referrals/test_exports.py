"""A worker with a fresh proof exports the sheet of a person as a file.

The export is recorded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chassis import contract
from chassis.tokens import SYSTEM
from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import people_pb2 as pb
from protos.stubs import SERVICES
from tests.builders import refusal
from tests.referrals.conftest import ORG, Client, Service, Story


def export(by: Client, person_id: str) -> None:
    by.ExportPerson(pb.ExportPersonRequest(id=person_id))


def exports(by: Client, since: datetime) -> list[str]:
    at = Timestamp()
    at.FromDatetime(since)
    return [
        export.person_id
        for export in by.ListOwnExports(pb.ListOwnExportsRequest(since_time=at)).exports
    ]


def test_a4_exactly_these_rpcs_need_a_fresh_proof() -> None:
    asking = {
        method.name
        for service in SERVICES
        if service.full_name.startswith("enlace.referrals.")
        for method in service.methods
        if contract.rules(method).step_up
    }
    assert asking == {"ExportPerson"}


def test_a4_a_sheet_is_exported_only_within_ten_minutes_of_a_proof(
    service: Service, story: Story
) -> None:
    now, person_id = service.clock.now(), story.person().id
    recent = replace(
        story.ngo, caller=replace(story.ngo.caller, prove_time=now - timedelta(minutes=10))
    )
    export(recent, person_id)
    earlier = replace(
        story.ngo,
        caller=replace(story.ngo.caller, prove_time=now - timedelta(minutes=10, seconds=1)),
    )
    assert refusal(lambda: export(earlier, person_id)) == ("PERMISSION_DENIED", "step_up_required")


def test_a4_an_export_is_recorded_and_listed_only_for_the_worker_who_made_it(
    service: Service, story: Story
) -> None:
    since, person_id = service.clock.now(), story.person().id
    colleague = service.as_("ngo", "WORKER", "OPERATOR")
    before = exports(colleague, since)
    export(colleague, person_id)
    assert exports(colleague, since) == [person_id, *before]
    assert person_id not in exports(service.as_("ngo", "OPERATOR"), since)
    assert exports(colleague, service.clock.now() + timedelta(seconds=1)) == []
    assert refusal(lambda: colleague.ListOwnExports(pb.ListOwnExportsRequest())) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_a4_further_exports_push_none_off_the_list(service: Service, story: Story) -> None:
    since, person_id = service.clock.now(), story.person().id
    thief = service.as_("ngo", "WORKER", "MANAGER")
    export(thief, person_id)
    for _ in range(4):
        export(thief, story.person().id)
    at = Timestamp()
    at.FromDatetime(since)
    ids, token = list[str](), ""
    while len(ids) < 5:
        answer = thief.ListOwnExports(
            pb.ListOwnExportsRequest(since_time=at, page_size=2, page_token=token)
        )
        assert len(answer.exports) <= 2
        ids += [export.person_id for export in answer.exports]
        token = answer.next_page_token
        assert bool(token) == (len(ids) < 5)
    assert (ids[-1], len(set(ids))) == (person_id, 5)


def test_a4_no_other_organisation_exports_the_sheet_of_a_file(
    service: Service, story: Story
) -> None:
    person_id = story.person().id
    for organization in ("shelter", "clinic"):
        assert refusal(lambda: export(service.as_(organization, "WORKER"), person_id)) == (  # noqa: B023
            "NOT_FOUND",
            "not_found",
        )


def test_a4_an_export_is_published_without_a_name(service: Service, story: Story) -> None:
    person_id = story.person(given_name="Marta").id
    colleague = service.as_("ngo", "WORKER")
    export(colleague, person_id)
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT payload FROM outbox WHERE type = 'enlace.export.made.v1'"
        ).fetchall()
    [payload] = [row["payload"] for row in rows if person_id.encode() in bytes(row["payload"])]
    fact = facts_pb2.ExportFact.FromString(payload)
    assert (fact.person_id, fact.organization_id, fact.worker_id) == (
        person_id,
        ORG["ngo"],
        colleague.caller.id,
    )
    assert b"Marta" not in bytes(payload)

"""A worker with a fresh proof exports the sheet of a person as a file.

The export is recorded.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from chassis import contract
from protos.referrals.v1 import facts_pb2
from protos.stubs import SERVICES
from tests.builders import NOT_FOUND, pages, refusal
from tests.referrals.conftest import ORG, Client, Service, Story


def export(client: Client, person_id: str) -> None:
    client.ExportPerson(id=person_id)


def exports(client: Client, since: datetime) -> list[str]:
    """Returns the ids of the people whose sheets this worker has exported since a time."""
    return [export.person_id for export in client.ListOwnExports(since_time=since).exports]


def test_only_the_export_of_a_person_needs_a_fresh_proof() -> None:
    assert {
        method.name
        for service in SERVICES
        if service.full_name.startswith("enlace.referrals.")
        for method in service.methods
        if contract.rules(method).step_up
    } == {"ExportPerson", "PublishAdviceCard", "PublishPathway", "PublishDeadlinePolicy"}


def test_a_sheet_is_exported_only_within_ten_minutes_of_a_proof(
    service: Service, story: Story
) -> None:
    person_id = story.person().id

    def export_after(since_proof: timedelta) -> None:
        caller = replace(story.ngo.caller, prove_time=service.clock.now() - since_proof)
        export(replace(story.ngo, caller=caller), person_id)

    export_after(timedelta(minutes=10))
    assert refusal(lambda: export_after(timedelta(minutes=10, seconds=1))) == (
        "PERMISSION_DENIED",
        "step_up_required",
    )


def test_an_export_is_recorded_and_listed_only_for_the_worker_who_made_it(
    service: Service, story: Story
) -> None:
    since, person_id = service.clock.now(), story.person().id
    colleague = service.as_("ngo", "WORKER", "OPERATOR")
    earlier_exports = exports(colleague, since)
    export(colleague, person_id)
    assert exports(colleague, since) == [person_id, *earlier_exports]
    assert person_id not in exports(service.as_("ngo", "OPERATOR"), since)
    assert exports(colleague, service.clock.now() + timedelta(seconds=1)) == []
    assert refusal(colleague.ListOwnExports) == ("INVALID_ARGUMENT", "invalid_fields")


def test_further_exports_push_no_export_off_the_list(service: Service, story: Story) -> None:
    since, person_ids = service.clock.now(), [story.person().id for _ in range(5)]
    thief = service.as_("ngo", "WORKER", "MANAGER")
    for person_id in person_ids:
        export(thief, person_id)
    answers = list(pages(thief.ListOwnExports, since_time=since, page_size=2))
    assert [len(answer.exports) for answer in answers] == [2, 2, 1]
    listed_ids = [export.person_id for answer in answers for export in answer.exports]
    assert (listed_ids[-1], set(listed_ids)) == (person_ids[0], set(person_ids))


def test_no_other_organisation_exports_the_sheet_of_a_file(service: Service, story: Story) -> None:
    person_id = story.person().id
    for organization in ("shelter", "clinic"):
        assert refusal(partial(export, service.as_(organization, "WORKER"), person_id)) == NOT_FOUND


def test_an_export_is_published_without_a_name(service: Service, story: Story) -> None:
    person_id = story.person(given_name="Marta").id
    colleague = service.as_("ngo", "WORKER")
    export(colleague, person_id)
    rows = service.rows("SELECT payload FROM outbox WHERE type = 'enlace.export.made.v1'")
    [payload] = [row["payload"] for row in rows if person_id.encode() in bytes(row["payload"])]
    fact = facts_pb2.ExportFact.FromString(payload)
    assert (fact.person_id, fact.organization_id, fact.worker_id) == (
        person_id,
        ORG["ngo"],
        colleague.caller.id,
    )
    assert b"Marta" not in bytes(payload)

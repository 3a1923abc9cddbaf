"""Changes on which others depend take two people.

They concern the membership, the type and country of a member, and the number that callers find.
"""

from functools import partial

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.partners.v1 import directory_pb2 as pb
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import refusal, wrong_fields
from tests.partners.scene import (
    NOTHING_TO_CONFIRM,
    RIGHT_MISSING,
    SECOND_PERSON,
    STALE_ETAG,
    Scene,
    Stubs,
)
from tests.partners.test_password_resets import facts_with_letters

FIELDS_OTHERS_DEPEND_ON: list[tuple[str, object]] = [
    ("type", pb.ORGANIZATION_TYPE_HOTLINE),
    ("country", "CR"),
    ("hotline_number", "666"),
]


def update_request(
    organization: Organization | pb.Organization, **values: object
) -> dict[str, object]:
    tag = organization.etag if isinstance(organization, pb.Organization) else etag_of(organization)
    return {
        "organization": pb.Organization(id=organization.id, etag=tag, **values),  # type: ignore[arg-type]
        "update_mask": FieldMask(paths=list(values)),
    }


def propose(
    client: Stubs, organization: Organization | pb.Organization, **values: object
) -> pb.Organization:
    return client.ProposeOrganizationChange(  # type: ignore[no-any-return]
        **update_request(organization, **values)
    )


def confirm(client: Stubs, organization: pb.Organization) -> pb.Organization:
    return client.ConfirmOrganizationChange(  # type: ignore[no-any-return]
        id=organization.id, etag=organization.etag
    )


def public_numbers(scene: Scene) -> list[tuple[str, str]]:
    """Returns (country, number) of each hotline that callers find."""
    return [(line.country, line.number) for line in scene.nobody.ListHotlines().hotlines]


@pytest.mark.parametrize(("path", "value"), FIELDS_OTHERS_DEPEND_ON)
def test_neither_a_member_nor_one_coordinator_changes_fields_that_others_depend_on(
    path: str, value: object, scene: Scene
) -> None:
    scene.organization(
        "Llama y Vive", type=OrganizationType.HOTLINE, department="", hotline_number="133"
    )
    member = scene.organization("Fachada", department="")
    request = update_request(member, **{path: value})
    own_callers = [scene.by(member, Role.MANAGER), scene.by_key(member, "directory.write")]
    for caller in (*own_callers, scene.coordinator):
        assert refusal(partial(caller.UpdateOrganization, **request)) == (
            "FAILED_PRECONDITION",
            "two_people_required",
        )
    for caller in own_callers:
        assert refusal(partial(propose, caller, member, **{path: value})) == RIGHT_MISSING
    assert public_numbers(scene) == [("NI", "133")]
    assert len(scene.facts(member.id)) == 2, "nothing was published"


def test_unchanged_fields_may_be_sent_along(scene: Scene) -> None:
    member = scene.organization("Propia")
    values = {"name": "Propia y nueva", "country": "NI", "type": pb.ORGANIZATION_TYPE_NGO}
    changed = scene.by(member, Role.MANAGER).UpdateOrganization(**update_request(member, **values))
    assert changed.name == "Propia y nueva"


def test_the_public_number_changes_once_another_person_has_confirmed_the_proposal(
    scene: Scene, second_of_coalition: Stubs
) -> None:
    line = scene.organization(
        "Llama y Vive", type=OrganizationType.HOTLINE, department="", hotline_number="133"
    )
    proposed = propose(scene.coordinator, line, hotline_number="134")
    assert (proposed.hotline_number, proposed.proposal.hotline_number) == ("133", "134")
    assert public_numbers(scene) == [("NI", "133")]
    assert refusal(lambda: confirm(scene.coordinator, proposed)) == SECOND_PERSON
    confirmed = confirm(second_of_coalition, proposed)
    assert (confirmed.hotline_number, confirmed.HasField("proposal")) == ("134", False)
    assert public_numbers(scene) == [("NI", "134")]
    assert refusal(lambda: confirm(second_of_coalition, confirmed)) == NOTHING_TO_CONFIRM
    assert [fact for _, fact in scene.facts(line.id)][-2:] == [
        "enlace.organization.change_proposed.v1",
        "enlace.organization.changed.v1",
    ]


def test_a_confirmation_counts_only_for_the_version_that_was_seen(
    scene: Scene, member: Organization, second_of_coalition: Stubs
) -> None:
    organization = propose(scene.coordinator, member, type=pb.ORGANIZATION_TYPE_SHELTER)
    propose(scene.coordinator, organization, type=pb.ORGANIZATION_TYPE_HOTLINE)
    assert refusal(lambda: confirm(second_of_coalition, organization)) == STALE_ETAG


def test_a_newer_proposal_belongs_to_its_maker_and_a_dropped_one_is_gone(
    scene: Scene, second_of_coalition: Stubs
) -> None:
    member = scene.organization("Propia", department="")
    newer = propose(
        second_of_coalition, propose(scene.coordinator, member, country="CR"), country="SV"
    )
    assert refusal(lambda: confirm(second_of_coalition, newer)) == SECOND_PERSON
    dropped = second_of_coalition.DropOrganizationChange(id=newer.id, etag=newer.etag)
    assert not dropped.HasField("proposal")
    for call in (
        lambda: confirm(scene.coordinator, dropped),
        lambda: second_of_coalition.DropOrganizationChange(id=dropped.id, etag=dropped.etag),
    ):
        assert refusal(call) == NOTHING_TO_CONFIRM


@pytest.mark.parametrize(
    ("values", "violation"),
    [
        ({"name": "Otra"}, ("update_mask", "unknown_code")),
        ({"country": "Costa Rica"}, ("organization.country", "malformed")),
        ({"type": 0}, ("organization.type", "required")),
        ({"hotline_number": "call me"}, ("organization.hotline_number", "malformed")),
    ],
)
def test_an_invalid_proposal_is_refused_with_its_field(
    values: dict[str, object], violation: tuple[str, str], scene: Scene
) -> None:
    member = scene.organization("Propia", department="")
    assert wrong_fields(lambda: propose(scene.coordinator, member, **values)) == [violation]


def test_a_proposal_is_shown_to_coordinators_and_auditors_only(scene: Scene) -> None:
    member = scene.organization("Propia", department="")
    propose(scene.coordinator, member, country="CR")
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.AUDITOR)):
        assert caller.GetOrganization(id=member.id).HasField("proposal")
    for caller in (scene.by(member, Role.MANAGER), scene.by_key(member, "directory.read")):
        organization = caller.GetOrganization(id=member.id)
        assert (organization.HasField("proposal"), organization.registered_by_worker_id) == (
            False,
            "",
        )


def test_the_registrar_of_a_member_does_not_approve_it_alone(scene: Scene) -> None:
    entry = pb.Organization(
        name="Fundación Nueva",
        type=pb.ORGANIZATION_TYPE_HOTLINE,
        country="EC",
        hotline_number="199",
    )
    created = scene.coordinator.CreateOrganization(organization=entry)
    request = pb.ApproveOrganizationRequest(id=created.id, etag=etag_of(scene.vet(created.id)))
    proposed = scene.coordinator.ApproveOrganization(request)
    assert proposed.status == pb.ORGANIZATION_STATUS_PROBATION
    request.etag = proposed.etag
    assert refusal(lambda: scene.coordinator.ApproveOrganization(request)) == SECOND_PERSON
    assert public_numbers(scene) == [], "one person alone cannot put a number on the public page"
    approved = scene.by(scene.coalition, Role.COORDINATOR).ApproveOrganization(request)
    assert approved.status == pb.ORGANIZATION_STATUS_APPROVED
    assert public_numbers(scene) == [("EC", "199")]


def test_a_members_managers_are_notified_at_once_of_a_proposed_change_of_its_entry(
    scene: Scene,
) -> None:
    member = scene.organization("Propia", department="")
    manager = scene.worker(member, Role.MANAGER)
    scene.worker(member, Role.WORKER)
    propose(scene.coordinator, member, hotline_number="666")
    [(fact, _)] = facts_with_letters(scene, "entry_proposed")
    assert fact.worker_id == manager.id

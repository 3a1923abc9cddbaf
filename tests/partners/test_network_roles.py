"""Two coordinators of different members give, suspend and restore roles of the network.

Nobody does so alone.
"""

from __future__ import annotations

import pytest

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.partners.scene import Scene, Stubs, refused
from tests.partners.test_invitations import EMAIL, accept, invite
from tests.partners.test_suspension import run_sweep

AUDITOR, COORDINATOR, MANAGER = (
    contract_pb2.ROLE_AUDITOR,
    contract_pb2.ROLE_COORDINATOR,
    contract_pb2.ROLE_MANAGER,
)


@pytest.fixture
def elsewhere(scene: Scene) -> Organization:
    return scene.organization("Otra sede")


@pytest.fixture
def other_coordinator(scene: Scene, elsewhere: Organization) -> Stubs:
    """A coordinator of another member organisation."""
    return scene.by(elsewhere, Role.COORDINATOR)


def agree(by: Stubs, created: pb.Invitation) -> pb.Invitation:
    answer: pb.Invitation = by.ConfirmInvitation(pb.ConfirmInvitationRequest(id=created.id))
    return answer


def suspend(by: Stubs, id: str) -> pb.Worker:
    answer: pb.Worker = by.SuspendWorker(pb.SuspendWorkerRequest(id=id))
    return answer


@pytest.mark.parametrize("role", [COORDINATOR, AUDITOR])
def test_a1_a_network_role_is_given_by_two_coordinators_of_different_organisations(
    role: contract_pb2.Role.ValueType, scene: Scene, other_coordinator: Stubs
) -> None:
    created = invite(scene.coordinator, None, role)
    assert created.unconfirmed
    assert scene.facts(created.id) == [], "no link went out"
    with refused("FAILED_PRECONDITION", "second_person_required"):
        agree(scene.coordinator, created)
    with refused("FAILED_PRECONDITION", "not_independent"):
        agree(scene.by(scene.coalition, Role.COORDINATOR), created)
    (listed,) = other_coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest()).invitations
    assert (listed.id, listed.email, listed.unconfirmed) == (created.id, EMAIL, True)
    scene.advance(hours=71)
    assert not agree(other_coordinator, created).unconfirmed
    scene.advance(hours=71)
    accept(scene, created)
    with refused("FAILED_PRECONDITION", "nothing_to_confirm"):
        agree(other_coordinator, created)
    assert EMAIL in {
        worker.email
        for worker in other_coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest()).workers
    }


def test_a_waiting_invitation_ends_like_any_other_and_only_waiting_ones_can_be_confirmed(
    scene: Scene, other_coordinator: Stubs
) -> None:
    both = scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    late, revoked = (
        invite(both, None, AUDITOR),
        invite(both, None, AUDITOR, email="otra@ejemplo.org"),
    )
    both.RevokeInvitation(pb.RevokeInvitationRequest(id=revoked.id))
    scene.advance(hours=72)
    for invitation in (late, revoked):
        with refused("FAILED_PRECONDITION", "nothing_to_confirm"):
            agree(other_coordinator, invitation)
    ordinary = invite(both, None, MANAGER)
    assert not ordinary.unconfirmed
    for id in (ordinary.id, "0" * 32, "x"):
        with refused("NOT_FOUND", "not_found"):
            agree(other_coordinator, pb.Invitation(id=id))


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_a2_a_manager_of_the_coordinations_organisation_suspends_nobody_with_a_network_role(
    role: Role, scene: Scene, other_coordinator: Stubs
) -> None:
    target = scene.worker(scene.coalition, role)
    with refused("PERMISSION_DENIED", "right_missing"):
        suspend(scene.by(scene.coalition, Role.MANAGER), target.id)
    first = scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    assert suspend(first, target.id).status == pb.WORKER_STATUS_ACTIVE
    with refused("FAILED_PRECONDITION", "second_person_required"):
        suspend(first, target.id)
    with refused("FAILED_PRECONDITION", "not_independent"):
        suspend(scene.by(scene.coalition, Role.COORDINATOR), target.id)
    (listed,) = [
        worker
        for worker in other_coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest()).workers
        if worker.id == target.id
    ]
    assert listed.suspension_proposed_by_worker_id
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_SUSPENDED
    with refused("FAILED_PRECONDITION", "illegal_transition"):
        suspend(other_coordinator, target.id)
    scene.advance(seconds=1)
    created = invite(first, None, contract_pb2.Role.Value(f"ROLE_{role}"), email=target.entry.email)
    agree(other_coordinator, created)
    accept(scene, created)
    assert (
        scene.rows("SELECT status FROM workers WHERE id = %s", target.id)[0]["status"] == "ACTIVE"
    )


def test_a_coordinator_suspends_nobody_without_a_network_role_in_another_organisation(
    scene: Scene, other_coordinator: Stubs
) -> None:
    for worker in (
        scene.worker(scene.organization("Ajena"), Role.MANAGER),
        scene.worker(scene.coalition, Role.WORKER),
    ):
        with refused("NOT_FOUND", "not_found"):
            suspend(other_coordinator, worker.id)
    with refused("PERMISSION_DENIED", "right_missing"):
        suspend(scene.coordinator, scene.worker(scene.coalition, Role.WORKER).id)


def test_an_invitation_without_a_network_role_takes_no_network_role_away(scene: Scene) -> None:
    target = scene.worker(scene.coalition, Role.COORDINATOR, email=EMAIL)
    created = invite(scene.by(scene.coalition, Role.MANAGER), None, MANAGER)
    with refused("UNAUTHENTICATED", "invitation_invalid"):
        accept(scene, created)
    assert scene.rows("SELECT roles FROM workers WHERE id = %s", target.id)[0]["roles"] == [
        "COORDINATOR"
    ]


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_a2_nobody_alone_removes_network_roles_by_suspending_their_organisation(
    role: Role, scene: Scene, elsewhere: Organization
) -> None:
    scene.worker(elsewhere, role)
    with refused("FAILED_PRECONDITION", "illegal_transition"):
        scene.coordinator.SuspendOrganization(
            directory_pb2.SuspendOrganizationRequest(id=elsewhere.id, etag=etag_of(elsewhere))
        )


def test_an_auditor_whose_organisation_has_left_has_no_network_role_any_more(scene: Scene) -> None:
    own = scene.organization("Casa")
    auditor, manager = scene.worker(own, Role.AUDITOR), scene.by(own, Role.MANAGER)

    def listed() -> set[str]:
        roles = scene.coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest())
        return {worker.id for worker in roles.workers}

    assert auditor.id in listed()
    manager.LeaveOrganization(
        directory_pb2.LeaveOrganizationRequest(id=own.id, etag=scene.etag(own.id))
    )
    assert auditor.id not in listed()


def test_the_proposals_of_a_coordinator_about_others_are_dropped_when_she_is_suspended(
    scene: Scene, other_coordinator: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    target = scene.worker(scene.coalition, Role.AUDITOR)
    ministry = scene.organization("Ministerio")
    suspend(scene.as_worker(bribed), target.id)
    created = invite(scene.as_worker(bribed), None, COORDINATOR)
    scene.as_worker(bribed).ProposeSignInProvider(
        pb.ProposeSignInProviderRequest(
            organization_id=ministry.id,
            etag=other_coordinator.GetSignInProvider(
                pb.GetSignInProviderRequest(organization_id=ministry.id)
            ).etag,
            provider=pb.SignInProvider(issuer="https://id.example", client_id="enlace"),
            client_secret="un secreto",
        )
    )
    for by in (scene.coordinator, other_coordinator):
        suspend(by, bribed.id)
    listed = other_coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest())
    assert not listed.invitations
    assert not any(worker.suspension_proposed_by_worker_id for worker in listed.workers)
    with refused("FAILED_PRECONDITION", "nothing_to_confirm"):
        agree(other_coordinator, created)
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_ACTIVE, (
        "she is the first now"
    )
    assert not other_coordinator.GetSignInProvider(
        pb.GetSignInProviderRequest(organization_id=ministry.id)
    ).HasField("proposal")


def test_a_suspension_that_nobody_agreed_to_within_seven_days_takes_two_coordinators_again(
    scene: Scene, other_coordinator: Stubs
) -> None:
    target = scene.worker(scene.coalition, Role.AUDITOR)
    suspend(scene.coordinator, target.id)
    scene.advance(days=7)
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_ACTIVE, (
        "even before the sweep"
    )
    scene.advance(days=7)
    run_sweep(scene)
    assert not any(
        worker.suspension_proposed_by_worker_id
        for worker in other_coordinator.ListNetworkRoles(pb.ListNetworkRolesRequest()).workers
    )

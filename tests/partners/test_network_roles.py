"""Two coordinators of different members give, suspend and restore roles of the network.

One coordinator alone can do none of this.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role, WorkerEntry
from services.partners.members.usecases.workers import create_worker
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal
from tests.partners.providers import propose
from tests.partners.scene import (
    ILLEGAL,
    NOT_INDEPENDENT,
    NOTHING_TO_CONFIRM,
    PASSWORD,
    RIGHT_MISSING,
    SECOND_PERSON,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import EMAIL, INVALID, accept, answer, invite
from tests.parts.loops import eventually

AUDITOR = contract_pb2.ROLE_AUDITOR
COORDINATOR = contract_pb2.ROLE_COORDINATOR
MANAGER = contract_pb2.ROLE_MANAGER


@pytest.fixture
def other_organization(scene: Scene) -> Organization:
    return scene.organization("Otra sede")


@pytest.fixture
def other_coordinator(scene: Scene, other_organization: Organization) -> Stubs:
    """A coordinator of another member organisation."""
    return scene.by(other_organization, Role.COORDINATOR)


def confirm(by: Stubs, created: pb.Invitation) -> pb.Invitation:
    return by.ConfirmInvitation(id=created.id)  # type: ignore[no-any-return]


def suspend(by: Stubs, id: str) -> pb.Worker:
    return by.SuspendWorker(id=id)  # type: ignore[no-any-return]


@pytest.mark.parametrize("role", [COORDINATOR, AUDITOR])
def test_a_network_role_is_given_by_two_coordinators_of_different_organisations(
    role: contract_pb2.Role.ValueType,
    scene: Scene,
    other_coordinator: Stubs,
    second_of_coalition: Stubs,
) -> None:
    created = invite(scene.coordinator, None, role)
    assert created.unconfirmed
    assert scene.facts(created.id) == [], "no link went out"
    assert refusal(lambda: confirm(scene.coordinator, created)) == SECOND_PERSON
    assert refusal(lambda: confirm(second_of_coalition, created)) == NOT_INDEPENDENT
    (listed,) = other_coordinator.ListNetworkRoles().invitations
    assert (listed.id, listed.email, listed.unconfirmed) == (created.id, EMAIL, True)
    scene.advance(hours=71)
    assert not confirm(other_coordinator, created).unconfirmed
    scene.advance(hours=71)
    accept(scene, created)
    assert refusal(lambda: confirm(other_coordinator, created)) == NOTHING_TO_CONFIRM
    assert EMAIL in {worker.email for worker in other_coordinator.ListNetworkRoles().workers}


def test_a_waiting_invitation_ends_like_any_other_and_only_waiting_ones_can_be_confirmed(
    scene: Scene, other_coordinator: Stubs
) -> None:
    coordinator = scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    expired = invite(coordinator, None, AUDITOR)
    revoked = invite(coordinator, None, AUDITOR, email="otra@ejemplo.org")
    coordinator.RevokeInvitation(id=revoked.id)
    scene.advance(hours=72)
    for invitation in (expired, revoked):
        assert refusal(partial(confirm, other_coordinator, invitation)) == NOTHING_TO_CONFIRM
    ordinary = invite(coordinator, None, MANAGER)
    assert not ordinary.unconfirmed
    for id in (ordinary.id, "0" * 32, "x"):
        assert refusal(partial(confirm, other_coordinator, pb.Invitation(id=id))) == NOT_FOUND


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_a_manager_of_the_coordinating_organisation_suspends_nobody_with_a_network_role(
    role: Role, scene: Scene, other_coordinator: Stubs, second_of_coalition: Stubs
) -> None:
    target = scene.worker(scene.coalition, role)
    manager = scene.by(scene.coalition, Role.MANAGER)
    first = scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    assert refusal(lambda: suspend(manager, target.id)) == RIGHT_MISSING
    assert suspend(first, target.id).status == pb.WORKER_STATUS_ACTIVE
    assert refusal(lambda: suspend(first, target.id)) == SECOND_PERSON
    assert refusal(lambda: suspend(second_of_coalition, target.id)) == NOT_INDEPENDENT
    (listed,) = [
        worker for worker in other_coordinator.ListNetworkRoles().workers if worker.id == target.id
    ]
    assert listed.suspension_proposed_by_worker_id
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_SUSPENDED
    assert refusal(lambda: suspend(other_coordinator, target.id)) == ILLEGAL
    scene.advance(seconds=1)
    created = invite(first, None, contract_pb2.Role.Value(f"ROLE_{role}"), email=target.entry.email)
    confirm(other_coordinator, created)
    accept(scene, created)
    assert scene.rows("SELECT status FROM workers WHERE id = %s", target.id) == [
        {"status": "ACTIVE"}
    ]


def test_a_coordinator_suspends_nobody_without_a_network_role_in_another_organisation(
    scene: Scene, other_coordinator: Stubs
) -> None:
    worker = scene.worker(scene.coalition, Role.WORKER)
    for target in (scene.worker(scene.organization("Ajena"), Role.MANAGER), worker):
        assert refusal(partial(suspend, other_coordinator, target.id)) == NOT_FOUND
    assert refusal(lambda: suspend(scene.coordinator, worker.id)) == RIGHT_MISSING


def test_an_invitation_without_a_network_role_takes_no_network_role_away(scene: Scene) -> None:
    target = scene.worker(scene.coalition, Role.COORDINATOR, email=EMAIL)
    created = invite(scene.by(scene.coalition, Role.MANAGER), None, MANAGER)
    assert refusal(lambda: accept(scene, created)) == INVALID
    assert scene.rows("SELECT roles FROM workers WHERE id = %s", target.id) == [
        {"roles": ["COORDINATOR"]}
    ]


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_nobody_alone_removes_network_roles_by_suspending_their_organisation(
    role: Role, scene: Scene, other_organization: Organization
) -> None:
    scene.worker(other_organization, role)
    assert (
        refusal(
            lambda: scene.coordinator.SuspendOrganization(
                id=other_organization.id, etag=etag_of(other_organization)
            )
        )
        == ILLEGAL
    )


def waiting(scene: Scene) -> int:
    """Returns the number of transactions that wait for a lock."""
    return len(
        scene.rows(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


def hold(by: Stubs, organization: Organization, etag: str) -> directory_pb2.Organization:
    return by.SuspendOrganization(  # type: ignore[no-any-return]
        id=organization.id, etag=etag, reason=directory_pb2.SUSPENSION_REASON_FRONT, hold=True
    )


def test_an_organisation_is_not_held_if_its_new_auditor_accepts_at_the_same_moment(
    scene: Scene, other_organization: Organization
) -> None:
    hold_request = partial(
        hold, scene.coordinator, other_organization, scene.etag(other_organization.id)
    )
    auditor = WorkerEntry("Xiomara Talavera", EMAIL, (Role.AUDITOR,))
    with ThreadPoolExecutor(1) as pool:
        with scene.database.transaction(SYSTEM) as tx:
            # an invitation is accepted under the same lock
            tx.execute(
                "SELECT FROM organizations WHERE id = %s FOR UPDATE", (other_organization.id,)
            ).fetchone()
            outcome = pool.submit(refusal, hold_request)
            assert eventually(lambda: waiting(scene) == 1 or outcome.done())
            create_worker(tx, scene.clock.now(), other_organization.id, auditor, PASSWORD)
        assert outcome.result() == ILLEGAL


PROPOSALS: dict[str, tuple[str, Callable[[Stubs, Organization, str, str], object]]] = {
    "hold": ("organizations", lambda by, ministry, etag, _: hold(by, ministry, etag)),
    "provider": (
        "organizations",
        lambda by, ministry, etag, _: propose(by, ministry, "https://id.example"),
    ),
    "suspension": ("workers", lambda by, ministry, etag, target_id: suspend(by, target_id)),
}


@pytest.mark.parametrize("kind", PROPOSALS)
def test_proposals_that_a_coordinator_makes_while_she_is_being_suspended_end_with_her_account(
    kind: str, scene: Scene, other_coordinator: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    target = scene.worker(scene.coalition, Role.AUDITOR)
    ministry = scene.organization("Ministerio")
    etag = scene.etag(ministry.id)
    suspend(scene.coordinator, bribed.id)
    table, take = PROPOSALS[kind]
    with ThreadPoolExecutor(2) as pool:
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute(
                f"SELECT FROM {table} WHERE id = ANY(%s) FOR UPDATE".encode(),
                ([ministry.id, target.id],),
            ).fetchone()
            proposed = pool.submit(
                answer, partial(take, scene.as_worker(bribed), ministry, etag, target.id)
            )
            assert eventually(lambda: waiting(scene) == 1 or proposed.done())
            suspended = pool.submit(suspend, other_coordinator, bribed.id)
            assert eventually(lambda: waiting(scene) == 2 or suspended.done())
        assert suspended.result().status == pb.WORKER_STATUS_SUSPENDED
        proposed.result()
    organization = scene.coordinator.GetOrganization(id=ministry.id)
    assert bribed.id not in str(organization)
    assert organization.status == directory_pb2.ORGANIZATION_STATUS_APPROVED
    assert not any(
        worker.suspension_proposed_by_worker_id
        for worker in other_coordinator.ListNetworkRoles().workers
    )
    assert not other_coordinator.GetSignInProvider(organization_id=ministry.id).HasField("proposal")


def test_of_two_managers_who_suspend_each_other_at_the_same_moment_one_remains(
    scene: Scene, member: Organization
) -> None:
    managers = [scene.worker(member, Role.MANAGER) for _ in range(2)]
    ids = [manager.id for manager in managers]
    suspensions = [
        partial(suspend, scene.as_worker(manager), other_id)
        for manager, other_id in zip(managers, reversed(ids), strict=True)
    ]
    with ThreadPoolExecutor(2) as pool:
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM workers WHERE id = ANY(%s) FOR UPDATE", (ids,)).fetchall()
            outcomes = [pool.submit(answer, suspension) for suspension in suspensions]
            assert eventually(lambda: waiting(scene) == 2)
        assert sorted(outcome.result() for outcome in outcomes) == ["OK", "organization_not_active"]


def test_an_auditor_whose_organisation_has_left_has_no_network_role_any_more(
    scene: Scene, member: Organization
) -> None:
    auditor = scene.worker(member, Role.AUDITOR)
    before = scene.coordinator.ListNetworkRoles().workers
    scene.by(member, Role.MANAGER).LeaveOrganization(id=member.id, etag=scene.etag(member.id))
    after = scene.coordinator.ListNetworkRoles().workers
    assert {worker.id for worker in before} - {worker.id for worker in after} == {auditor.id}


def test_the_proposals_of_a_coordinator_about_others_are_dropped_when_she_is_suspended(
    scene: Scene, other_coordinator: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    target = scene.worker(scene.coalition, Role.AUDITOR)
    ministry = scene.organization("Ministerio")
    suspend(scene.as_worker(bribed), target.id)
    created = invite(scene.as_worker(bribed), None, COORDINATOR)
    propose(scene.as_worker(bribed), ministry, "https://id.example")
    for by in (scene.coordinator, other_coordinator):
        suspend(by, bribed.id)
    listed = other_coordinator.ListNetworkRoles()
    assert not listed.invitations
    assert not any(worker.suspension_proposed_by_worker_id for worker in listed.workers)
    assert refusal(lambda: confirm(other_coordinator, created)) == NOTHING_TO_CONFIRM
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_ACTIVE, (
        "this is the first of two agreements"
    )
    assert not other_coordinator.GetSignInProvider(organization_id=ministry.id).HasField("proposal")


def test_a_suspension_that_nobody_agreed_to_within_seven_days_takes_two_coordinators_again(
    scene: Scene, other_coordinator: Stubs
) -> None:
    target = scene.worker(scene.coalition, Role.AUDITOR)
    suspend(scene.coordinator, target.id)
    scene.advance(days=7)
    assert suspend(other_coordinator, target.id).status == pb.WORKER_STATUS_ACTIVE, (
        "the proposal has expired even before the sweep"
    )
    scene.sweep(days=7)
    assert not any(
        worker.suspension_proposed_by_worker_id
        for worker in other_coordinator.ListNetworkRoles().workers
    )

"""A worker who lost her phone and her spare codes gets in again.

A colleague who knows her removes her second factor, and thereby gains neither a password nor a
session.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role, Worker
from tests.builders import NOT_FOUND, refusal
from tests.partners.scene import (
    EMAIL,
    ILLEGAL,
    PASSWORD,
    RIGHT_MISSING,
    SIGN_IN_FAILED,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer
from tests.partners.test_passkeys import add_passkey
from tests.partners.test_password_resets import INVALID, facts_with_letters, link, reset
from tests.partners.test_second_factors import App, finish, turn_on_codes
from tests.partners.test_sessions import sign_in, token_of


def worker_with_second_factor(scene: Scene, member: Organization, *roles: Role) -> Worker:
    """Makes a worker with a code, spare codes and a passkey."""
    worker = scene.worker(member, *roles, email=EMAIL)
    add_passkey(scene.as_worker(worker))
    turn_on_codes(scene, scene.as_worker(worker))
    return worker


def remove_second_factor(by: Stubs, worker: Worker | str, **fields: str) -> None:
    by.ResetSecondFactor(id=worker if isinstance(worker, str) else worker.id, **fields)


def has_second_factor(scene: Scene) -> bool:
    return bool(scene.rows("SELECT FROM second_factors") + scene.rows("SELECT FROM passkeys"))


@pytest.fixture
def worker(scene: Scene, member: Organization) -> Worker:
    """A worker with a second factor."""
    return worker_with_second_factor(scene, member)


def test_a_manager_lets_a_worker_sign_in_with_only_her_password_again(
    scene: Scene, member: Organization, worker: Worker
) -> None:
    challenge = sign_in(scene).challenge
    scene.rows(
        "INSERT INTO sessions VALUES ('x', %s, %s, %s) RETURNING worker_id",
        worker.id,
        scene.clock.now(),
        scene.clock.now(),
    )
    manager = scene.worker(member, Role.MANAGER)
    remove_second_factor(scene.as_worker(manager), worker)
    assert not has_second_factor(scene)
    assert scene.rows("SELECT FROM sessions") == [], "all her sessions were ended"
    assert refusal(lambda: finish(scene, challenge, "123456")) == SIGN_IN_FAILED
    session = sign_in(scene)
    assert token_of(scene, session.session_secret).worker.id == worker.id, (
        "she signs in with her own password, which nobody else has"
    )
    [(fact, letter)] = facts_with_letters(scene, "second_factor_removed")
    assert (fact.worker_id, fact.by_role_code, letter.email, letter.token) == (
        worker.id,
        "MANAGER",
        EMAIL,
        "",
    )
    assert manager.id.encode() not in fact.SerializeToString(), (
        "the fact names a role and no person"
    )
    assert scene.rows(
        "SELECT actor_id, object_id, allowed FROM audit WHERE action = 'second_factor_reset'"
    ) == [{"actor_id": manager.id, "object_id": worker.id, "allowed": True}]


def test_nobody_removes_her_own_second_factor(scene: Scene, member: Organization) -> None:
    """Checks that an unlocked screen is not enough to remove a second factor."""
    manager = worker_with_second_factor(scene, member, Role.MANAGER)
    assert refusal(lambda: remove_second_factor(scene.as_worker(manager), manager)) == (
        "FAILED_PRECONDITION",
        "own_account",
    )
    assert has_second_factor(scene)


def test_one_manager_removes_the_second_factor_of_another(
    scene: Scene, member: Organization
) -> None:
    other_manager = worker_with_second_factor(scene, member, Role.MANAGER)
    remove_second_factor(scene.by(member, Role.MANAGER), other_manager)
    assert sign_in(scene).session_secret


def test_a_worker_of_another_organisation_is_not_found(
    scene: Scene, member: Organization, worker: Worker
) -> None:
    for by in (
        scene.by(scene.organization("Otra"), Role.MANAGER),
        scene.coordinator,
        scene.by(scene.coalition, Role.MANAGER),
    ):
        for id in (worker.id, "f" * 32, "x\x00"):
            assert refusal(partial(remove_second_factor, by, id)) == NOT_FOUND
    for role in (Role.WORKER, Role.OPERATOR, Role.AUDITOR):
        assert (
            refusal(partial(remove_second_factor, scene.by(member, role), worker)) == RIGHT_MISSING
        )
    assert has_second_factor(scene)


def test_the_coordination_removes_the_second_factor_of_a_members_only_manager_and_nobody_elses(
    scene: Scene, member: Organization
) -> None:
    manager = worker_with_second_factor(scene, member, Role.MANAGER, Role.WORKER)
    second_manager = scene.worker(member, Role.MANAGER)
    assert scene.coordinator.GetOrganization(id=member.id).only_manager_worker_id == ""
    assert refusal(lambda: remove_second_factor(scene.coordinator, manager)) == NOT_FOUND
    scene.as_worker(manager).SuspendWorker(id=second_manager.id)
    current_organization = scene.coordinator.GetOrganization(id=member.id)
    assert (current_organization.has_manager, current_organization.only_manager_worker_id) == (
        True,
        manager.id,
    )
    assert scene.as_worker(manager).GetOrganization(id=member.id).only_manager_worker_id == "", (
        "the field is shown to coordinators only"
    )
    # she is no longer a manager
    assert refusal(lambda: remove_second_factor(scene.coordinator, second_manager)) == NOT_FOUND
    remove_second_factor(scene.coordinator, current_organization.only_manager_worker_id)
    assert sign_in(scene).session_secret
    [(fact, _)] = facts_with_letters(scene, "second_factor_removed")
    assert fact.by_role_code == "COORDINATOR"


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_a_manager_who_is_no_coordinator_cannot_remove_a_coordinators_second_factor(
    scene: Scene, role: Role
) -> None:
    target = worker_with_second_factor(scene, scene.coalition, role)
    manager = scene.by(scene.coalition, Role.MANAGER)
    assert refusal(lambda: remove_second_factor(manager, target)) == RIGHT_MISSING
    assert has_second_factor(scene)
    remove_second_factor(scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR), target)
    assert not has_second_factor(scene)


def test_the_second_factor_of_a_suspended_account_cannot_be_removed(
    scene: Scene, member: Organization
) -> None:
    worker, manager = worker_with_second_factor(scene, member), scene.by(member, Role.MANAGER)
    manager.SuspendWorker(id=worker.id)
    assert refusal(lambda: remove_second_factor(manager, worker)) == ILLEGAL


def test_removing_a_second_factor_that_does_not_exist_changes_nothing_and_reveals_nothing(
    scene: Scene, member: Organization
) -> None:
    worker = scene.worker(member, email=EMAIL)
    secret = sign_in(scene).session_secret
    remove_second_factor(scene.by(member, Role.MANAGER), worker)
    assert token_of(scene, secret).worker.id == worker.id
    assert facts_with_letters(scene, "second_factor_removed") == []


def test_when_several_managers_remove_a_second_factor_at_once_the_worker_is_notified_once(
    scene: Scene, member: Organization, worker: Worker
) -> None:
    calls = [
        partial(remove_second_factor, scene.by(member, Role.MANAGER), worker) for _ in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(answer, calls)) == ["OK"] * 3
    assert len(facts_with_letters(scene, "second_factor_removed")) == 1


def test_a_reset_link_from_before_the_removal_does_not_open_the_account(
    scene: Scene, member: Organization, worker: Worker
) -> None:
    """A thief who reads a worker's mailbox and persuades her manager has to request a new link.

    The worker is notified twice before the thief can use it.
    """
    token = link(scene)
    remove_second_factor(scene.by(member, Role.MANAGER), worker)
    assert refusal(lambda: reset(scene, token)) == INVALID


def test_a_worker_sets_up_a_new_second_factor_if_one_is_required(
    scene: Scene, member: Organization, strict: Stubs
) -> None:
    worker = worker_with_second_factor(scene, member, Role.OPERATOR)
    remove_second_factor(scene.by(member, Role.MANAGER), worker)
    attempt = strict.SignIn(email=EMAIL, password=PASSWORD)
    assert (attempt.session_secret, bool(attempt.set_up_secret)) == ("", True)
    code = App(scene, attempt.set_up_secret).code()
    assert len(strict.FinishSignIn(challenge=attempt.challenge, code=code).recovery_codes) == 10


def test_a_repeated_removal_takes_effect_once(scene: Scene, member: Organization) -> None:
    worker, manager = worker_with_second_factor(scene, member), scene.by(member, Role.MANAGER)
    for _ in range(2):
        remove_second_factor(manager, worker, request_id="one")
    assert len(facts_with_letters(scene, "second_factor_removed")) == 1

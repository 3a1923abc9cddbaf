"""Invitations of people who have an account, and several invitations at once."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.store import provenance
from tests.builders import refusal
from tests.partners.scene import (
    KEY_INVALID,
    PASSWORD,
    RIGHT_MISSING,
    SESSION_ENDED,
    SIGN_IN_FAILED,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import (
    EMAIL,
    INVALID,
    MANAGER_EXISTS,
    OWN_PASSWORD,
    accept,
    acceptance,
    answer,
    invite,
    letter,
)


def test_people_of_an_organisation_that_left_and_came_back_keep_their_email_addresses(
    scene: Scene,
) -> None:
    former = scene.organization("Casa")
    manager = scene.worker(former, Role.MANAGER, email=EMAIL)
    scene.as_worker(manager).LeaveOrganization(id=former.id, etag=scene.etag(former.id))
    present = scene.organization("Casa")
    accept(scene, invite(scene.coordinator, present))
    signed_in = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD)
    assert (signed_in.organization.id, signed_in.worker.id != manager.id) == (present.id, True)
    with scene.database.transaction(SYSTEM) as tx:
        kin = set(provenance.related_accounts(tx, signed_in.worker.id, scene.clock.now()))
    assert manager.id in kin, "both accounts are still one person's"
    accept(scene, invite(scene.as_worker(scene.worker(present, Role.MANAGER))))
    assert len(scene.rows("SELECT FROM workers WHERE email = %s", EMAIL)) == 2


@pytest.mark.parametrize("suspended", [False, True])
def test_a_worker_who_forgot_her_password_or_was_suspended_keeps_her_account_when_invited_again(
    suspended: bool, scene: Scene, member: Organization
) -> None:
    manager, worker = scene.by(member, Role.MANAGER), scene.worker(member, Role.WORKER, email=EMAIL)
    old_secret = scene.nobody.SignIn(email=EMAIL, password=PASSWORD).session_secret
    if suspended:
        manager.SuspendWorker(id=worker.id)
        scene.advance(seconds=1)
    roles = [contract_pb2.ROLE_WORKER, contract_pb2.ROLE_OPERATOR]
    accept(scene, invite(manager, None, *roles, email=EMAIL.upper()))
    signed_in = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert (signed_in.id, list(signed_in.roles), signed_in.status) == (
        worker.id,
        roles,
        pb.WORKER_STATUS_ACTIVE,
    )
    assert scene.facts(worker.id)[-1][1] == "enlace.worker.renewed.v1"
    assert refusal(lambda: scene.nobody.IssueToken(session_secret=old_secret)) == SESSION_ENDED
    assert refusal(lambda: scene.nobody.SignIn(email=EMAIL, password=PASSWORD)) == SIGN_IN_FAILED


def test_an_invitation_from_before_a_suspension_does_not_let_the_worker_in_again(
    scene: Scene, member: Organization
) -> None:
    manager, worker = scene.by(member, Role.MANAGER), scene.worker(member, Role.WORKER, email=EMAIL)
    created = invite(manager, None, contract_pb2.ROLE_WORKER)
    scene.advance(minutes=1)
    manager.SuspendWorker(id=worker.id)
    scene.advance(minutes=1)
    assert refusal(lambda: accept(scene, created)) == INVALID


def test_a_manager_who_is_invited_again_to_another_role_loses_her_keys(
    scene: Scene, member: Organization
) -> None:
    manager, other = scene.by(member, Role.MANAGER), scene.worker(member, Role.MANAGER, email=EMAIL)
    created = scene.as_worker(other).CreateApiKey(
        label="Sistema", scopes=[contract_pb2.SCOPE_DIRECTORY_READ]
    )
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    (key,) = manager.ListApiKeys().api_keys
    assert (key.id, key.HasField("revoke_time")) == (created.api_key.id, True)


def test_the_open_invitations_that_a_worker_made_end_when_she_loses_the_role_for_them(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    former = scene.as_worker(scene.worker(member, Role.MANAGER, email=EMAIL))
    created = invite(former, None, contract_pb2.ROLE_MANAGER, email="amiga@ejemplo.org")
    accept(scene, invite(manager, None, contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER))
    assert list(manager.ListInvitations().invitations) == [created], "she is still a manager"
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    assert list(manager.ListInvitations().invitations) == []
    assert scene.facts(created.id)[-1][1] == "enlace.invitation.revoked.v1"
    assert refusal(lambda: accept(scene, created)) == INVALID


def test_a_manager_who_has_lost_her_role_invites_nobody_with_a_token_that_still_states_it(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    former = scene.as_worker(scene.worker(member, Role.MANAGER, email=EMAIL))
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    create = partial(invite, former, None, contract_pb2.ROLE_MANAGER, email="amiga@ejemplo.org")
    assert refusal(create) == RIGHT_MISSING
    assert list(manager.ListInvitations().invitations) == []


def test_a_manager_who_gives_up_her_role_by_her_own_invitation_accepts_it(
    scene: Scene, member: Organization
) -> None:
    scene.worker(member, Role.MANAGER)
    manager = scene.as_worker(scene.worker(member, Role.MANAGER, email=EMAIL))
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    worker = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert list(worker.roles) == [contract_pb2.ROLE_WORKER]


def test_a_key_waits_for_a_second_manager_once_its_manager_has_fewer_rights_than_the_key(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    other = scene.as_worker(scene.worker(member, Role.MANAGER, Role.WORKER, email=EMAIL))
    people_key, directory_key = (
        other.CreateApiKey(label="Sistema", scopes=[scope])
        for scope in (contract_pb2.SCOPE_PEOPLE_OPEN, contract_pb2.SCOPE_DIRECTORY_WRITE)
    )
    assert (people_key.api_key.unconfirmed, directory_key.api_key.unconfirmed) == (False, False)
    accept(scene, invite(manager))
    assert refusal(lambda: scene.nobody.IssueToken(api_key=people_key.secret)) == KEY_INVALID
    assert scene.nobody.IssueToken(api_key=directory_key.secret).tokens
    scene.by(member, Role.MANAGER).ConfirmApiKey(id=people_key.api_key.id)
    assert scene.nobody.IssueToken(api_key=people_key.secret).tokens
    accept(scene, invite(manager))
    assert scene.nobody.IssueToken(api_key=people_key.secret).tokens, "the key stays confirmed"


def test_a_key_that_its_confirming_manager_took_over_waits_once_she_has_fewer_rights(
    scene: Scene, member: Organization
) -> None:
    manager, maker = scene.by(member, Role.MANAGER), scene.by(member, Role.MANAGER)
    other = scene.as_worker(scene.worker(member, Role.MANAGER, Role.WORKER, email=EMAIL))
    key = maker.CreateApiKey(label="Sistema", scopes=[contract_pb2.SCOPE_PEOPLE_OPEN])
    other.ConfirmApiKey(id=key.api_key.id)
    taken_key = other.TransferApiKey(id=key.api_key.id)
    assert (taken_key.unconfirmed, taken_key.confirmed_by_worker_id) == (False, ""), (
        "within her rights"
    )
    accept(scene, invite(manager))
    assert refusal(lambda: scene.nobody.IssueToken(api_key=key.secret)) == KEY_INVALID


def test_an_invitation_that_is_revoked_and_accepted_at_once_is_either_revoked_or_accepted(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    for n in range(5):
        created = invite(manager, None, contract_pb2.ROLE_WORKER, email=f"persona-{n}@ejemplo.org")
        token = letter(scene, created).token
        with ThreadPoolExecutor(2) as pool:
            accepted = pool.submit(
                answer, partial(scene.nobody.AcceptInvitation, acceptance(token))
            )
            revoked = pool.submit(answer, partial(manager.RevokeInvitation, id=created.id))
        assert (accepted.result(), revoked.result()) in (
            ("OK", "illegal_transition"),
            ("invitation_invalid", "OK"),
        )
        assert len(scene.rows("SELECT FROM workers WHERE email = %s", created.email)) == (
            accepted.result() == "OK"
        )


def test_only_one_of_several_first_managers_invited_at_once_can_accept(
    scene: Scene, member: Organization
) -> None:
    with ThreadPoolExecutor(4) as pool:
        created = list(
            pool.map(
                lambda n: invite(scene.coordinator, member, email=f"persona-{n}@ejemplo.org"),
                range(4),
            )
        )
        rows = scene.rows("SELECT status FROM invitations ORDER BY status")
        assert [row["status"] for row in rows] == ["OPEN"] + ["REPLACED"] * 3
        answers = list(
            pool.map(lambda invitation: answer(lambda: accept(scene, invitation)), created)
        )
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3
    assert len(scene.rows("SELECT FROM workers WHERE organization_id = %s", member.id)) == 1


def test_one_link_used_many_times_at_once_opens_one_account(scene: Scene) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    calls = [partial(accept, scene, created, name=f"Persona {n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, calls))
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3


def test_the_invitation_of_a_first_manager_is_refused_once_there_is_a_manager(
    scene: Scene, member: Organization
) -> None:
    """An account may be made in another way while the invitation is open.

    Both ways check under the same lock that there is no manager yet.
    """
    created = invite(scene.coordinator, member)
    scene.worker(member, Role.MANAGER)
    assert refusal(lambda: accept(scene, created)) == MANAGER_EXISTS


def test_one_email_address_invited_by_several_organisations_becomes_one_account(
    scene: Scene,
) -> None:
    created = [invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(lambda invitation: answer(lambda: accept(scene, invitation)), created)
        )
    assert sorted(answers) == ["OK", "email_taken", "email_taken"]

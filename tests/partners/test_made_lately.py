"""A worker who changes her password sees what her account created since a day that she chooses.

She ends what she did not create herself.
"""

from datetime import datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role, Worker
from services.partners.members.store import workers
from tests.builders import wrong_fields
from tests.partners.providers import propose
from tests.partners.scene import EMAIL, Scene, Stubs
from tests.partners.test_invitations import accept
from tests.partners.test_passkeys import add_passkey
from tests.partners.test_password_resets import facts_with_letters
from tests.partners.test_second_factors import turn_on_codes
from tests.partners.test_step_up import invite, make_key

THIEF = "ladron@correo.example"


@pytest.fixture
def manager(scene: Scene, member: Organization) -> Worker:
    return scene.worker(member, Role.MANAGER, email=EMAIL)


def stamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def list_changes(by: Stubs, since: datetime) -> list[pb.MadeLately]:
    return list(by.ListMadeLately(since_time=stamp(since)).made)


def end(by: Stubs, since: datetime, *ids: str) -> int:
    return int(by.EndMadeLately(since_time=stamp(since), ids=ids).ended)


def account_of(scene: Scene, invitation: m.Invitation) -> str:
    """Accepts an invitation; returns the id of the account."""
    accept(scene, invitation)
    [row] = scene.rows("SELECT id FROM workers WHERE email = %s", invitation.email)
    return str(row["id"])


def test_only_what_the_account_made_since_the_given_time_is_listed(
    scene: Scene, manager: Worker
) -> None:
    by = scene.as_worker(manager)
    make_key(by, "antes")
    scene.advance(days=2)
    since = scene.clock.now() - timedelta(hours=1)
    assert list_changes(by, since) == []
    key = make_key(by, "después").api_key
    scene.advance(seconds=1)
    invitation = invite(by, THIEF)
    assert [
        (change.kind, change.id, change.label, change.can_end) for change in list_changes(by, since)
    ] == [
        (pb.MADE_KIND_INVITATION, invitation.id, THIEF, True),
        (pb.MADE_KIND_API_KEY, key.id, "después", True),
    ]


def test_a_key_is_revoked_an_invitation_withdrawn_and_an_account_suspended(
    scene: Scene, manager: Worker
) -> None:
    by, since = scene.as_worker(manager), scene.clock.now()
    make_key(by)
    account = account_of(scene, invite(by, THIEF))
    open_invitation = invite(by, "otro@correo.example")
    listed = list_changes(by, since)
    assert {change.kind for change in listed} == {
        pb.MADE_KIND_API_KEY,
        pb.MADE_KIND_INVITATION,
        pb.MADE_KIND_ACCOUNT,
    }
    assert end(by, since, *(change.id for change in listed)) == 3
    assert list_changes(by, since) == []
    for table, id, status in (
        ("workers", account, "SUSPENDED"),
        ("invitations", open_invitation.id, "REVOKED"),
    ):
        assert scene.rows(f"SELECT status FROM {table} WHERE id = %s", id) == [{"status": status}]
    assert scene.rows("SELECT FROM api_keys WHERE revoke_time IS NULL") == []
    assert end(by, since, *(change.id for change in listed)) == 0, (
        "a second request to end the same changes has no effect"
    )


def test_an_account_that_an_invited_account_invited_is_listed_too(
    scene: Scene, manager: Worker
) -> None:
    by, since = scene.as_worker(manager), scene.clock.now()
    invited = account_of(scene, invite(by, THIEF))
    [row] = scene.rows("SELECT * FROM workers WHERE id = %s", invited)
    accept(scene, invite(scene.as_worker(workers.read(row)), "tercera@correo.example"))
    accounts = [change for change in list_changes(by, since) if change.kind == pb.MADE_KIND_ACCOUNT]
    assert {account.label for account in accounts} == {THIEF, "tercera@correo.example"}
    assert end(by, since, *(account.id for account in accounts)) == 2


def test_an_older_account_that_was_invited_again_is_shown_and_cannot_be_ended(
    scene: Scene, member: Organization, manager: Worker
) -> None:
    colleague = scene.worker(member, Role.WORKER, email="rosa@puentes.org")
    scene.advance(days=1)
    by, since = scene.as_worker(manager), scene.clock.now()
    accept(scene, invite(by, "rosa@puentes.org", contract_pb2.ROLE_WORKER))
    [change] = list_changes(by, since)
    assert (change.id, change.kind, change.can_end) == (colleague.id, pb.MADE_KIND_ACCOUNT, False)
    assert end(by, since, colleague.id) == 0
    assert scene.rows("SELECT status FROM workers WHERE id = %s", colleague.id) == [
        {"status": "ACTIVE"}
    ]


def test_a_proposed_provider_is_dropped(scene: Scene) -> None:
    shelter, coordinator = scene.organization("Casa Luna"), scene.coordinator
    since = scene.clock.now()
    propose(coordinator, shelter, "https://sso.example")
    with scene.database.transaction(SYSTEM) as tx:
        # a change is under way
        tx.execute("SELECT FROM sign_in_providers FOR UPDATE").fetchone()
        [change] = list_changes(coordinator, since)
    assert (change.kind, change.label) == (pb.MADE_KIND_SIGN_IN_PROVIDER, "https://sso.example")
    assert end(coordinator, since, change.id) == 1
    assert not coordinator.GetSignInProvider(organization_id=shelter.id).HasField("proposal")


def test_a_new_code_and_a_new_passkey_are_removed_and_the_workers_managers_are_notified(
    scene: Scene, member: Organization, manager: Worker
) -> None:
    worker = scene.worker(member, Role.WORKER)
    me, since = scene.as_worker(worker), scene.clock.now()
    turn_on_codes(scene, me)
    add_passkey(me)
    before = len(facts_with_letters(scene, "sign_in_changed"))
    listed = list_changes(me, since)
    assert {change.kind for change in listed} == {pb.MADE_KIND_SECOND_FACTOR, pb.MADE_KIND_PASSKEY}
    assert end(me, since, *(change.id for change in listed)) == 2
    assert (scene.rows("SELECT FROM second_factors"), scene.rows("SELECT FROM passkeys")) == (
        [],
        [],
    )
    new_notices = facts_with_letters(scene, "sign_in_changed")[before:]
    assert {fact.worker_id for fact, _ in new_notices} == {worker.id, manager.id}


def test_an_account_that_was_given_a_network_role_is_proposed_for_suspension(
    scene: Scene,
) -> None:
    by, since = scene.coordinator, scene.clock.now()
    invitation = invite(by, THIEF, contract_pb2.ROLE_AUDITOR)
    scene.neighbour.ConfirmInvitation(id=invitation.id)
    account = account_of(scene, invitation)
    assert end(by, since, account) == 1
    assert [(change.id, change.can_end) for change in list_changes(by, since)] == [
        (account, False)
    ], "another coordinator has to agree"
    scene.neighbour.SuspendWorker(id=account)
    assert list_changes(by, since) == []


def test_nobody_ends_what_another_account_made(
    scene: Scene, member: Organization, manager: Worker
) -> None:
    since = scene.clock.now()
    key = make_key(scene.as_worker(manager)).api_key
    colleague = scene.by(member, Role.MANAGER)
    assert list_changes(colleague, since) == []
    assert end(colleague, since, key.id) == 0
    assert len(scene.rows("SELECT FROM api_keys WHERE revoke_time IS NULL")) == 1


def test_the_day_is_required_and_lies_within_a_year(scene: Scene, manager: Worker) -> None:
    by = scene.as_worker(manager)
    assert wrong_fields(by.ListMadeLately) == [("since_time", "required")]
    assert wrong_fields(lambda: list_changes(by, scene.clock.now() - timedelta(days=367))) == [
        ("since_time", "out_of_range")
    ]
    assert wrong_fields(lambda: end(by, scene.clock.now())) == [("ids", "required")]

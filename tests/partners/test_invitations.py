"""Accounts are made by invitation.

The coordinators invite a first manager and nobody else, and only the receiver of the e-mail can
accept.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import grpc
import pytest

from chassis.errors import Invalid
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2, facts_pb2, letters_pb2
from protos.partners.v1 import members_pb2 as pb
from services.notifications.domain.desk import is_address
from services.partners.members.domain.invitation import MAX_INVITATIONS, InvitationEntry
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import ILLEGAL, RIGHT_MISSING, SECOND_PERSON, Scene, Stubs

EMAIL = "directora@ejemplo.org"
OWN_PASSWORD = "la que solo ella sabe"
INVALID = ("UNAUTHENTICATED", "invitation_invalid")
MANAGER_EXISTS = ("FAILED_PRECONDITION", "manager_exists")
INVALID_ADDRESSES = (
    "ñandú@ejemplo.org",
    "a\x00@b.org",
    "a\r\nBcc:x@b.org",
    "a@b.org,c@d.org",
    "<a@b.org>",
    "a b@c.org",
    '"a"@b.org',
    "a@b",
    "a@-b.org",
    "a@b..org",
)


def invitation(
    organization: Organization | None = None, *roles: contract_pb2.Role.ValueType, **more: Any
) -> pb.CreateInvitationRequest:
    fields = {
        "email": EMAIL,
        "roles": roles or [contract_pb2.ROLE_MANAGER],
        "organization_id": organization.id if organization else "",
    } | more
    return pb.CreateInvitationRequest(invitation=pb.Invitation(**fields))


def invite(
    by: Stubs,
    organization: Organization | None = None,
    *roles: contract_pb2.Role.ValueType,
    **more: Any,
) -> pb.Invitation:
    return by.CreateInvitation(  # type: ignore[no-any-return]
        invitation(organization, *roles, **more)
    )


def sealed_letter(scene: Scene, created: pb.Invitation) -> bytes:
    """Returns the letter in the fact of an invitation, as the notifications service gets it."""
    (row,) = scene.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND type = 'enlace.invitation.created.v1'",
        created.id,
    )
    return facts_pb2.InvitationFact.FromString(row["payload"]).sealed_letter


def letter(scene: Scene, created: pb.Invitation) -> letters_pb2.InvitationLetter:
    """Returns the opened letter of an invitation."""
    return letters_pb2.InvitationLetter.FromString(
        scene.mail.open_bytes(sealed_letter(scene, created), f"invitations/{created.id}/letter")
    )


def acceptance(token: str, **more: str) -> pb.AcceptInvitationRequest:
    fields = {"token": token, "name": "Petrona Lacayo", "password": OWN_PASSWORD} | more
    return pb.AcceptInvitationRequest(**fields)


def accept(scene: Scene, created: pb.Invitation, **more: str) -> None:
    scene.nobody.AcceptInvitation(acceptance(letter(scene, created).token, **more))


def answer(call: Callable[[], Any]) -> str:
    """Makes a call; returns the reason of its refusal, or "OK"."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.details())
    return "OK"


def test_the_first_manager_comes_by_invitation_and_chooses_her_own_password(
    scene: Scene, member: Organization
) -> None:
    created = invite(scene.coordinator, member, contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER)
    assert scene.rows("SELECT FROM workers WHERE organization_id = %s", member.id) == [], (
        "there is no account yet, only an invitation"
    )
    accept(scene, created)
    worker = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert (worker.organization_id, worker.name, list(worker.roles)) == (
        member.id,
        "Petrona Lacayo",
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER],
    )
    (row,) = scene.rows("SELECT password_hash FROM workers WHERE id = %s", worker.id)
    assert row["password_hash"].startswith("$argon2id$")
    assert scene.facts(created.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.accepted.v1"),
    ]
    assert scene.facts(worker.id) == [(1, "enlace.worker.registered.v1")]


def test_a_coordinator_invites_only_the_first_manager_to_another_organisation(
    scene: Scene, member: Organization
) -> None:
    for roles in (
        [contract_pb2.ROLE_WORKER],
        [contract_pb2.ROLE_OPERATOR],
        [contract_pb2.ROLE_COORDINATOR],
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_AUDITOR],
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_EMERGENCY],
    ):
        assert refusal(partial(invite, scene.coordinator, member, *roles)) == RIGHT_MISSING
    scene.worker(member, Role.MANAGER)
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)):
        assert refusal(partial(invite, caller, member)) == MANAGER_EXISTS
    assert scene.rows("SELECT FROM invitations") == []


def test_the_registrar_of_a_member_invites_nobody_to_it_before_another_has_approved_it(
    scene: Scene,
) -> None:
    entry = directory_pb2.Organization(
        name="Casa Nueva", type=directory_pb2.ORGANIZATION_TYPE_NGO, country="NI"
    )
    created = scene.coordinator.CreateOrganization(organization=entry)
    request = invitation(organization_id=created.id)
    assert refusal(lambda: scene.coordinator.CreateInvitation(request)) == SECOND_PERSON
    scene.by(scene.coalition, Role.COORDINATOR).CreateInvitation(request)
    scene.approve(created.id)
    scene.coordinator.CreateInvitation(request)


def test_no_rpc_makes_an_account_with_a_password_that_somebody_else_knows() -> None:
    services = (
        pb.DESCRIPTOR.services_by_name["Members"],
        directory_pb2.DESCRIPTOR.services_by_name["Directory"],
    )
    assert [
        method.name
        for service in services
        for method in service.methods
        if "password" in method.input_type.fields_by_name
    ] == ["AcceptInvitation"]


def test_an_organisation_without_active_managers_can_be_given_a_first_manager_again(
    scene: Scene, member: Organization
) -> None:
    scene.by(member, Role.MANAGER).SuspendWorker(id=scene.worker(member, Role.MANAGER).id)
    assert refusal(lambda: invite(scene.coordinator, member)) == MANAGER_EXISTS
    scene.rows(
        "UPDATE workers SET status = 'SUSPENDED' WHERE organization_id = %s RETURNING id", member.id
    )
    invite(scene.coordinator, member)


def test_a_suspended_organisation_gets_no_manager(scene: Scene, member: Organization) -> None:
    created = invite(scene.coordinator, member)
    scene.suspend(member.id)
    assert refusal(lambda: invite(scene.coordinator, member)) == ILLEGAL
    assert refusal(lambda: accept(scene, created)) == INVALID
    scene.reinstate(member.id)
    accept(scene, created)


def test_an_organisation_that_does_not_exist_or_is_not_the_callers_own_is_not_found(
    scene: Scene,
) -> None:
    manager = scene.by(scene.organization("Propia"), Role.MANAGER)
    for caller, id in (
        (manager, scene.organization("Ajena").id),
        (manager, "0" * 32),
        (manager, "x"),
        (scene.coordinator, "0" * 32),
        (scene.coordinator, "x\x00"),
    ):
        request = invitation(organization_id=id)
        assert refusal(partial(caller.CreateInvitation, request)) == NOT_FOUND


def test_a_manager_invites_her_own_people_and_gives_no_role_in_the_network(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    for role in (contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_AUDITOR):
        assert (
            refusal(partial(invite, manager, None, contract_pb2.ROLE_WORKER, role)) == RIGHT_MISSING
        )
    accept(scene, invite(manager, None, contract_pb2.ROLE_OPERATOR, language="en"))
    (worker,) = [worker for worker in manager.ListWorkers().workers if worker.email == EMAIL]
    assert (worker.organization_id, worker.language, list(worker.roles)) == (
        member.id,
        "en",
        [contract_pb2.ROLE_OPERATOR],
    )


def test_the_networks_roles_are_given_in_the_coordinating_organisation_only(scene: Scene) -> None:
    other_coordinator = scene.by(scene.organization("Otra sede"), Role.COORDINATOR)
    for role, email in (
        (contract_pb2.ROLE_COORDINATOR, EMAIL),
        (contract_pb2.ROLE_AUDITOR, "auditora@ejemplo.org"),
    ):
        created = invite(scene.coordinator, None, role, email=email)
        other_coordinator.ConfirmInvitation(id=created.id)
        accept(scene, created)
    rows = scene.rows(
        "SELECT organization_id FROM workers WHERE email IN (%s, 'auditora@ejemplo.org')", EMAIL
    )
    assert [row["organization_id"] for row in rows] == [scene.coalition.id] * 2


def test_an_invitation_gets_the_same_answer_whether_or_not_the_address_has_an_account(
    scene: Scene,
) -> None:
    scene.worker(scene.organization("Ajena"), email="ocupada@ejemplo.org")
    manager = scene.by(scene.organization("Propia"), Role.MANAGER)
    taken, free = (
        invite(manager, None, contract_pb2.ROLE_WORKER, email=f"{name}@ejemplo.org")
        for name in ("ocupada", "ninguna")
    )
    facts = scene.rows("SELECT payload FROM outbox WHERE type = 'enlace.invitation.created.v1'")
    assert len({len(row["payload"]) for row in facts}) == 1, "the fact has the same size"
    free.MergeFrom(pb.Invitation(id=taken.id, email=taken.email))
    assert taken == free


def test_only_the_owner_of_a_mailbox_learns_that_its_address_has_an_account(scene: Scene) -> None:
    scene.worker(scene.organization("Ajena"), email=EMAIL.upper())
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    for _ in range(2):
        assert refusal(lambda: accept(scene, created)) == ("FAILED_PRECONDITION", "email_taken")
    assert len(scene.rows("SELECT FROM workers WHERE lower(email) = %s", EMAIL)) == 1
    assert scene.facts(created.id) == [(1, "enlace.invitation.created.v1")]


def test_all_invalid_invitation_tokens_get_the_same_answer(
    scene: Scene, member: Organization
) -> None:
    invitations = [invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(3)]
    accepted_invitation, replaced_invitation, _ = invitations  # the third expires
    accept(scene, accepted_invitation)
    tokens = [letter(scene, created).token for created in invitations]
    scene.coordinator.CreateInvitation(
        invitation(organization_id=replaced_invitation.organization_id, email="otra@ejemplo.org")
    )
    scene.advance(hours=72)
    created = invite(scene.by(scene.coalition, Role.COORDINATOR), member, email="nueva@ejemplo.org")
    token = letter(scene, created).token
    for text in (*tokens, token + "x", token[:-1], token.swapcase(), "x", created.id, "\x00"):
        assert refusal(partial(scene.nobody.AcceptInvitation, acceptance(text))) == INVALID
        # a malformed request is refused before the token is checked
        malformed = acceptance(text, password="", name="")
        assert sorted(wrong_fields(partial(scene.nobody.AcceptInvitation, malformed))) == [
            ("name", "required"),
            ("password", "required"),
        ]
    assert wrong_fields(lambda: scene.nobody.AcceptInvitation(acceptance(""))) == [
        ("token", "required")
    ]
    accept(scene, created)


def test_an_invitation_is_valid_for_72_hours_and_then_deleted(scene: Scene) -> None:
    first, second = (
        invite(scene.coordinator, scene.organization(f"Casa {n}"), email=f"p{n}@ejemplo.org")
        for n in range(2)
    )
    scene.advance(hours=71, minutes=59)
    accept(scene, first)
    scene.sweep()
    assert {row["id"] for row in scene.rows("SELECT id FROM invitations")} >= {second.id}
    scene.sweep(minutes=1)
    assert scene.rows("SELECT FROM invitations") == []


def test_an_invitation_is_revoked_when_its_maker_is_suspended(
    scene: Scene, member: Organization
) -> None:
    maker, manager = scene.worker(member, Role.MANAGER), scene.by(member, Role.MANAGER)
    created = invite(scene.as_worker(maker), None, contract_pb2.ROLE_WORKER)
    other = invite(manager, None, contract_pb2.ROLE_WORKER, email="otra@ejemplo.org")
    manager.SuspendWorker(id=maker.id)
    assert list(manager.ListInvitations().invitations) == [other]
    assert scene.facts(created.id)[-1] == (2, "enlace.invitation.revoked.v1")
    assert refusal(lambda: accept(scene, created)) == INVALID


def test_a_newer_invitation_replaces_an_open_one(scene: Scene, member: Organization) -> None:
    older = invite(scene.coordinator, member, email="equivocada@ejemplo.org")
    newer = invite(scene.coordinator, member)
    assert scene.facts(older.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.replaced.v1"),
    ]
    assert refusal(lambda: accept(scene, older)) == INVALID
    accept(scene, newer)
    manager = scene.by(member, Role.MANAGER)
    first, other = (
        invite(manager, None, contract_pb2.ROLE_WORKER, email=f"{name}@ejemplo.org")
        for name in ("una", "dos")
    )
    again = invite(manager, None, contract_pb2.ROLE_OPERATOR, email="UNA@ejemplo.org")
    assert [len(scene.facts(created.id)) for created in (first, other, again)] == [2, 1, 1], (
        "only the invitation to the same address was replaced"
    )


def test_a_manager_sees_and_revokes_open_invitations_of_her_own_organisation_only(
    scene: Scene, member: Organization, manager: Stubs, stranger: Stubs
) -> None:
    first, second = (
        invite(manager, None, contract_pb2.ROLE_MANAGER, email=f"{name}@ejemplo.org")
        for name in ("equivocada", "correcta")
    )
    listed = {invitation.id for invitation in manager.ListInvitations().invitations}
    assert listed == {first.id, second.id}
    assert not stranger.ListInvitations().invitations
    for caller, id in (
        (stranger, first.id),
        (scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR), first.id),
        (manager, "0" * 32),
        (manager, "x\x00"),
    ):
        assert refusal(partial(caller.RevokeInvitation, id=id)) == NOT_FOUND
    assert scene.by(member, Role.MANAGER).RevokeInvitation(id=first.id) == first
    assert scene.facts(first.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.revoked.v1"),
    ]
    assert refusal(lambda: accept(scene, first)) == INVALID
    accept(scene, second)
    for ended_invitation in (first, second):
        assert refusal(partial(manager.RevokeInvitation, id=ended_invitation.id)) == ILLEGAL
    assert not manager.ListInvitations().invitations


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"name": ""}, ("name", "required")),
        ({"name": "x" * 201}, ("name", "too_long")),
        ({"password": "once letras"}, ("password", "too_short")),
    ],
)
def test_errors_in_an_acceptance_are_reported_and_the_link_stays_valid(
    scene: Scene, fields: dict[str, str], violation: tuple[str, str]
) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    assert wrong_fields(lambda: accept(scene, created, **fields)) == [violation]
    accept(scene, created)


def test_every_address_that_can_be_invited_can_be_written_to() -> None:
    """The notifications service accepts every address that partners accepts.

    Otherwise e-mails would be dropped silently.
    """
    for email in (
        *INVALID_ADDRESSES,
        EMAIL,
        "a.b+c'd@x-1.b.org",
        "persona@muy.largo.ejemplo.org",
        f"{'x' * 64}@b.org",
        f"{'x' * 65}@b.org",
    ):
        with nullcontext() if is_address(email) else pytest.raises(Invalid):
            InvitationEntry(email, (Role.WORKER,)).check()


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"email": ""}, ("invitation.email", "required")),
        ({"email": "petrona"}, ("invitation.email", "malformed")),
        ({"email": "a@b@c.org"}, ("invitation.email", "malformed")),
        ({"email": f"{'x' * 250}@b.org"}, ("invitation.email", "too_long")),
        (
            {"roles": [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_MANAGER]},
            ("invitation.roles", "malformed"),
        ),
        ({"roles": [contract_pb2.ROLE_UNSPECIFIED]}, ("invitation.roles.0", "unknown_code")),
        ({"roles": [9]}, ("invitation.roles.0", "unknown_code")),
        ({"roles": []}, ("invitation.roles", "required")),
        ({"language": "español"}, ("invitation.language", "malformed")),
    ],
)
def test_an_invalid_invitation_is_refused_with_its_field(
    scene: Scene, fields: dict[str, object], violation: tuple[str, str]
) -> None:
    assert wrong_fields(lambda: invite(scene.coordinator, None, **fields)) == [violation]


def test_an_organisation_sends_at_most_twenty_invitations_in_three_days(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [
            partial(invite, manager, None, email=f"p{n}@ejemplo.org")
            for n in range(MAX_INVITATIONS + 3)
        ]
        answers = list(pool.map(answer, calls))
    assert (answers.count("OK"), answers.count("too_many_invitations")) == (MAX_INVITATIONS, 3)
    scene.advance(hours=72)
    invite(scene.by(member, Role.MANAGER))

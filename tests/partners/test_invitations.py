"""Accounts are made by invitation.

The coordinators invite a first manager and nobody else, and only the receiver of the e-mail can
accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import grpc
import pytest

from chassis.errors import Invalid
from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller
from keys.sealing import CannotOpen
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2, facts_pb2, letters_pb2
from protos.partners.v1 import members_pb2 as pb
from services.notifications.domain.desk import is_address
from services.partners.members.domain.invitation import MAX_INVITATIONS, InvitationEntry
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.store import provenance
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import PASSWORD, SITE, Scene, Stubs
from tests.parts.callers import just_proved

EMAIL = "directora@ejemplo.org"
OWN_PASSWORD = "la que solo ella sabe"
INVALID = ("UNAUTHENTICATED", "invitation_invalid")
ILLEGAL = ("FAILED_PRECONDITION", "illegal_transition")
MANAGER_EXISTS = ("FAILED_PRECONDITION", "manager_exists")
RIGHT_MISSING = ("PERMISSION_DENIED", "right_missing")
NO_ADDRESSES = (
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
    """Returns the letter of an invitation, opened."""
    return letters_pb2.InvitationLetter.FromString(
        scene.mail.open_bytes(sealed_letter(scene, created), f"invitations/{created.id}/letter")
    )


def acceptance(token: str, **more: str) -> pb.AcceptInvitationRequest:
    fields = {"token": token, "name": "Petrona Lacayo", "password": OWN_PASSWORD} | more
    return pb.AcceptInvitationRequest(**fields)


def accept(scene: Scene, created: pb.Invitation, **more: str) -> None:
    scene.nobody.AcceptInvitation(acceptance(letter(scene, created).token, **more))


def answer(call: Callable[[], Any]) -> str:
    """Returns the reason of a refused call, "OK" otherwise."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.details())
    return "OK"


def test_the_first_manager_comes_by_invitation_and_chooses_her_own_password(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    created = invite(scene.coordinator, new, contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER)
    assert scene.rows("SELECT FROM workers WHERE organization_id = %s", new.id) == [], (
        "there is no account yet, only an invitation"
    )
    accept(scene, created)
    signed = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert (signed.organization_id, signed.name, list(signed.roles)) == (
        new.id,
        "Petrona Lacayo",
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER],
    )
    (row,) = scene.rows("SELECT password_hash FROM workers WHERE id = %s", signed.id)
    assert row["password_hash"].startswith("$argon2id$")
    assert scene.facts(created.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.accepted.v1"),
    ]
    assert scene.facts(signed.id) == [(1, "enlace.worker.registered.v1")]


def test_a_coordinator_invites_only_the_first_manager_to_another_organisation(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    for roles in (
        [contract_pb2.ROLE_WORKER],
        [contract_pb2.ROLE_OPERATOR],
        [contract_pb2.ROLE_COORDINATOR],
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_AUDITOR],
        [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_EMERGENCY],
    ):
        assert refusal(partial(invite, scene.coordinator, new, *roles)) == RIGHT_MISSING
    scene.worker(new, Role.MANAGER)
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)):
        assert refusal(partial(invite, caller, new)) == MANAGER_EXISTS
    assert scene.rows("SELECT FROM invitations") == []


def test_the_registrar_of_a_member_invites_nobody_to_it_before_another_has_approved_it(
    scene: Scene,
) -> None:
    entry = directory_pb2.Organization(
        name="Casa Nueva", type=directory_pb2.ORGANIZATION_TYPE_NGO, country="NI"
    )
    created = scene.coordinator.CreateOrganization(organization=entry)
    request = invitation(organization_id=created.id)
    assert refusal(lambda: scene.coordinator.CreateInvitation(request)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    scene.by(scene.coalition, Role.COORDINATOR).CreateInvitation(request)
    scene.approve(created.id)
    scene.coordinator.CreateInvitation(request)


def test_no_rpc_makes_an_account_with_a_password_that_another_knows() -> None:
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
    scene: Scene,
) -> None:
    own = scene.organization()
    scene.by(own, Role.MANAGER).SuspendWorker(id=scene.worker(own, Role.MANAGER).id)
    assert refusal(lambda: invite(scene.coordinator, own)) == MANAGER_EXISTS
    scene.rows(
        "UPDATE workers SET status = 'SUSPENDED' WHERE organization_id = %s RETURNING id", own.id
    )
    invite(scene.coordinator, own)


def test_a_suspended_organisation_gets_no_manager(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    created = invite(scene.coordinator, new)
    scene.suspend(new.id)
    assert refusal(lambda: invite(scene.coordinator, new)) == ILLEGAL
    assert refusal(lambda: accept(scene, created)) == INVALID
    scene.reinstate(new.id)
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


def test_a_manager_invites_her_own_people_and_gives_no_role_in_the_network(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)
    for role in (contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_AUDITOR):
        assert (
            refusal(partial(invite, manager, None, contract_pb2.ROLE_WORKER, role)) == RIGHT_MISSING
        )
    accept(scene, invite(manager, None, contract_pb2.ROLE_OPERATOR, language="en"))
    (worker,) = [worker for worker in manager.ListWorkers().workers if worker.email == EMAIL]
    assert (worker.organization_id, worker.language, list(worker.roles)) == (
        own.id,
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


def test_people_of_an_organisation_that_left_and_came_back_keep_their_addresses(
    scene: Scene,
) -> None:
    former = scene.organization("Casa")
    manager = scene.worker(former, Role.MANAGER, email=EMAIL)
    scene.as_worker(manager).LeaveOrganization(id=former.id, etag=scene.etag(former.id))
    present = scene.organization("Casa")
    accept(scene, invite(scene.coordinator, present))
    signed = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD)
    assert (signed.organization.id, signed.worker.id != manager.id) == (present.id, True)
    with scene.database.transaction(SYSTEM) as tx:
        kin = set(provenance.related_accounts(tx, signed.worker.id, scene.clock.now()))
    assert manager.id in kin, "both accounts are still one person's"
    accept(scene, invite(scene.as_worker(scene.worker(present, Role.MANAGER))))
    assert len(scene.rows("SELECT FROM workers WHERE email = %s", EMAIL)) == 2


@pytest.mark.parametrize("suspended", [False, True])
def test_a_worker_who_forgot_her_password_or_was_suspended_keeps_her_account_when_invited_again(
    suspended: bool, scene: Scene
) -> None:
    own = scene.organization("Casa")
    manager, worker = scene.by(own, Role.MANAGER), scene.worker(own, Role.WORKER, email=EMAIL)
    before = scene.nobody.SignIn(email=EMAIL, password=PASSWORD).session_secret
    if suspended:
        manager.SuspendWorker(id=worker.id)
        scene.advance(seconds=1)
    roles = [contract_pb2.ROLE_WORKER, contract_pb2.ROLE_OPERATOR]
    accept(scene, invite(manager, None, *roles, email=EMAIL.upper()))
    signed = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert (signed.id, list(signed.roles), signed.status) == (
        worker.id,
        roles,
        pb.WORKER_STATUS_ACTIVE,
    )
    assert scene.facts(worker.id)[-1][1] == "enlace.worker.renewed.v1"
    assert refusal(lambda: scene.nobody.IssueToken(session_secret=before)) == (
        "UNAUTHENTICATED",
        "session_ended",
    )
    assert refusal(lambda: scene.nobody.SignIn(email=EMAIL, password=PASSWORD)) == (
        "UNAUTHENTICATED",
        "sign_in_failed",
    )


def test_an_invitation_from_before_a_suspension_does_not_let_the_worker_in_again(
    scene: Scene,
) -> None:
    own = scene.organization("Casa")
    manager, worker = scene.by(own, Role.MANAGER), scene.worker(own, Role.WORKER, email=EMAIL)
    created = invite(manager, None, contract_pb2.ROLE_WORKER)
    scene.advance(minutes=1)
    manager.SuspendWorker(id=worker.id)
    scene.advance(minutes=1)
    assert refusal(lambda: accept(scene, created)) == INVALID


def test_a_manager_who_is_invited_again_to_another_role_loses_her_keys(scene: Scene) -> None:
    own = scene.organization("Casa")
    manager, other = scene.by(own, Role.MANAGER), scene.worker(own, Role.MANAGER, email=EMAIL)
    created = scene.as_worker(other).CreateApiKey(
        label="Sistema", scopes=[contract_pb2.SCOPE_DIRECTORY_READ]
    )
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    (key,) = manager.ListApiKeys().api_keys
    assert (key.id, key.HasField("revoke_time")) == (created.api_key.id, True)


def test_a_key_waits_for_a_second_manager_once_its_manager_has_fewer_rights_than_the_key(
    scene: Scene,
) -> None:
    own = scene.organization("Casa")
    manager = scene.by(own, Role.MANAGER)
    other = scene.as_worker(scene.worker(own, Role.MANAGER, Role.WORKER, email=EMAIL))
    people_key, directory_key = (
        other.CreateApiKey(label="Sistema", scopes=[scope])
        for scope in (contract_pb2.SCOPE_PEOPLE_OPEN, contract_pb2.SCOPE_DIRECTORY_WRITE)
    )
    assert (people_key.api_key.unconfirmed, directory_key.api_key.unconfirmed) == (False, False)
    accept(scene, invite(manager))
    assert refusal(lambda: scene.nobody.IssueToken(api_key=people_key.secret)) == (
        "UNAUTHENTICATED",
        "key_invalid",
    )
    assert scene.nobody.IssueToken(api_key=directory_key.secret).tokens
    scene.by(own, Role.MANAGER).ConfirmApiKey(id=people_key.api_key.id)
    assert scene.nobody.IssueToken(api_key=people_key.secret).tokens
    accept(scene, invite(manager))
    assert scene.nobody.IssueToken(api_key=people_key.secret).tokens, "confirmed"


def test_all_invalid_invitation_tokens_get_the_same_answer(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    used, replaced, old = (
        invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(3)
    )
    accept(scene, used)
    tokens = [letter(scene, created).token for created in (used, replaced, old)]
    scene.coordinator.CreateInvitation(
        invitation(organization_id=replaced.organization_id, email="otra@ejemplo.org")
    )
    scene.advance(hours=72)
    created = invite(scene.by(scene.coalition, Role.COORDINATOR), new, email="nueva@ejemplo.org")
    token = letter(scene, created).token
    for wrong in (*tokens, token + "x", token[:-1], token.swapcase(), "x", created.id, "\x00"):
        assert refusal(partial(scene.nobody.AcceptInvitation, acceptance(wrong))) == INVALID
        # a malformed request is refused before the token is checked
        malformed = acceptance(wrong, password="", name="")
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
    scene.advance(minutes=1)
    scene.sweep()
    assert scene.rows("SELECT FROM invitations") == []


def test_an_invitation_is_revoked_when_its_maker_is_suspended(scene: Scene) -> None:
    own = scene.organization()
    maker, manager = scene.worker(own, Role.MANAGER), scene.by(own, Role.MANAGER)
    created = invite(scene.as_worker(maker), None, contract_pb2.ROLE_WORKER)
    other = invite(manager, None, contract_pb2.ROLE_WORKER, email="otra@ejemplo.org")
    manager.SuspendWorker(id=maker.id)
    assert list(manager.ListInvitations().invitations) == [other]
    assert scene.facts(created.id)[-1] == (2, "enlace.invitation.revoked.v1")
    assert refusal(lambda: accept(scene, created)) == INVALID


def test_a_newer_invitation_replaces_an_open_one(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    wrong = invite(scene.coordinator, new, email="equivocada@ejemplo.org")
    right = invite(scene.coordinator, new)
    assert scene.facts(wrong.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.replaced.v1"),
    ]
    assert refusal(lambda: accept(scene, wrong)) == INVALID
    accept(scene, right)
    manager = scene.by(new, Role.MANAGER)
    first, other = (
        invite(manager, None, contract_pb2.ROLE_WORKER, email=f"{name}@ejemplo.org")
        for name in ("una", "dos")
    )
    again = invite(manager, None, contract_pb2.ROLE_OPERATOR, email="UNA@ejemplo.org")
    assert [len(scene.facts(created.id)) for created in (first, other, again)] == [2, 1, 1], (
        "only the invitation to the same address was replaced"
    )


def test_a_manager_sees_and_revokes_open_invitations_of_her_own_organisation_only(
    scene: Scene,
) -> None:
    own = scene.organization("Propia")
    manager, stranger = (
        scene.by(own, Role.MANAGER),
        scene.by(scene.organization("Ajena"), Role.MANAGER),
    )
    wrong, right = (
        invite(manager, None, contract_pb2.ROLE_MANAGER, email=f"{name}@ejemplo.org")
        for name in ("equivocada", "correcta")
    )
    listed = {invitation.id for invitation in manager.ListInvitations().invitations}
    assert listed == {wrong.id, right.id}
    assert not stranger.ListInvitations().invitations
    for caller, id in (
        (stranger, wrong.id),
        (scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR), wrong.id),
        (manager, "0" * 32),
        (manager, "x\x00"),
    ):
        assert refusal(partial(caller.RevokeInvitation, id=id)) == NOT_FOUND
    assert scene.by(own, Role.MANAGER).RevokeInvitation(id=wrong.id) == wrong
    assert scene.facts(wrong.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.revoked.v1"),
    ]
    assert refusal(lambda: accept(scene, wrong)) == INVALID
    accept(scene, right)
    for closed in (wrong, right):
        assert refusal(partial(manager.RevokeInvitation, id=closed.id)) == ILLEGAL
    assert not manager.ListInvitations().invitations


def test_an_invitation_that_is_revoked_and_accepted_at_once_is_either_revoked_or_accepted(
    scene: Scene,
) -> None:
    own = scene.organization("Propia")
    manager = scene.by(own, Role.MANAGER)
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


def test_of_several_first_managers_invited_at_once_only_one_can_accept(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    with ThreadPoolExecutor(4) as pool:
        created = list(
            pool.map(
                lambda n: invite(scene.coordinator, new, email=f"persona-{n}@ejemplo.org"), range(4)
            )
        )
        rows = scene.rows("SELECT status FROM invitations ORDER BY status")
        assert [row["status"] for row in rows] == ["OPEN"] + ["REPLACED"] * 3
        answers = list(pool.map(lambda one: answer(lambda: accept(scene, one)), created))
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3
    assert len(scene.rows("SELECT FROM workers WHERE organization_id = %s", new.id)) == 1


def test_one_link_used_many_times_at_once_opens_one_account(scene: Scene) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    calls = [partial(accept, scene, created, name=f"Persona {n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, calls))
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3


def test_a_first_manager_who_comes_second_is_refused(scene: Scene) -> None:
    """An account may be made in another way while the invitation is open.

    Both ways check under the same lock that there is no manager yet.
    """
    new = scene.organization("Casa Nueva")
    created = invite(scene.coordinator, new)
    scene.worker(new, Role.MANAGER)
    assert refusal(lambda: accept(scene, created)) == MANAGER_EXISTS


def test_one_address_invited_by_two_organisations_becomes_one_account(scene: Scene) -> None:
    created = [invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: answer(lambda: accept(scene, one)), created))
    assert sorted(answers) == ["OK", "email_taken", "email_taken"]


@pytest.mark.parametrize(
    ("wrong", "violation"),
    [
        ({"name": ""}, ("name", "required")),
        ({"name": "x" * 201}, ("name", "too_long")),
        ({"password": "once letras"}, ("password", "too_short")),
    ],
)
def test_errors_in_an_acceptance_are_reported_and_the_link_stays_valid(
    scene: Scene, wrong: dict[str, str], violation: tuple[str, str]
) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    assert wrong_fields(lambda: accept(scene, created, **wrong)) == [violation]
    accept(scene, created)


def test_every_address_that_can_be_invited_can_be_written_to() -> None:
    """The notifications service accepts every address that partners accepts.

    Otherwise e-mails would be dropped silently.
    """
    for email in (
        *NO_ADDRESSES,
        EMAIL,
        "a.b+c'd@x-1.b.org",
        "persona@muy.largo.ejemplo.org",
        f"{'x' * 64}@b.org",
        f"{'x' * 65}@b.org",
    ):
        with nullcontext() if is_address(email) else pytest.raises(Invalid):
            InvitationEntry(email, (Role.WORKER,)).check()


@pytest.mark.parametrize(
    ("wrong", "violation"),
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
    scene: Scene, wrong: dict[str, object], violation: tuple[str, str]
) -> None:
    assert wrong_fields(lambda: invite(scene.coordinator, None, **wrong)) == [violation]


def test_an_organisation_sends_at_most_twenty_invitations_in_three_days(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)
    with ThreadPoolExecutor(4) as pool:
        calls = [
            partial(invite, manager, None, email=f"p{n}@ejemplo.org")
            for n in range(MAX_INVITATIONS + 3)
        ]
        answers = list(pool.map(answer, calls))
    assert (answers.count("OK"), answers.count("too_many_invitations")) == (MAX_INVITATIONS, 3)
    scene.advance(hours=72)
    invite(scene.by(own, Role.MANAGER))


def test_the_token_and_the_address_are_nowhere_but_in_the_sealed_letter(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    request = invitation(scene.organization("Casa Nueva"))
    request.request_id = "uno"
    created = scene.coordinator.CreateInvitation(request)
    assert scene.coordinator.CreateInvitation(request) == created, (
        "the same request gets the same answer, and makes no second invitation"
    )
    sent_letter = letter(scene, created)
    assert (sent_letter.email, sent_letter.language) == (EMAIL, "es")
    assert re.fullmatch(r"[\w-]{43}", sent_letter.token), "256 random bits"
    assert sent_letter.token.encode() not in created.SerializeToString()
    assert wrong_fields(lambda: accept(scene, created, password="corta")) == [
        ("password", "too_short")
    ]
    accept(scene, created)
    assert scene.tables_with(sent_letter.token) == set()
    payloads = b"".join(row["payload"] for row in scene.rows("SELECT payload FROM outbox"))
    captured = capfd.readouterr()
    for secret in (EMAIL, sent_letter.token):
        assert secret.encode() not in payloads
        assert secret not in captured.out + captured.err


def test_a_sealed_letter_can_be_opened_only_for_its_own_invitation(scene: Scene) -> None:
    created, other = (invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(2))
    with pytest.raises(CannotOpen):
        scene.mail.open_bytes(sealed_letter(scene, created), f"invitations/{other.id}/letter")


def test_inviting_and_accepting_are_on_the_trail(scene: Scene) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    accept(scene, created)
    (worker,) = scene.rows("SELECT id FROM workers WHERE email = %s", EMAIL)
    trail = scene.rows(
        "SELECT action, object_id, organization_id, detail_codes FROM audit"
        " WHERE action <> 'organization_create' ORDER BY sequence"
    )
    assert [tuple(row.values()) for row in trail] == [
        ("invitation_create", created.id, scene.coalition.id, ["MANAGER"]),
        ("invitation_accept", created.id, "", []),
        ("worker_create", worker["id"], "", ["MANAGER"]),
    ]


def test_the_coordination_sees_whether_an_organisation_has_a_manager_and_nobody_else_does(
    scene: Scene,
) -> None:
    own = scene.organization()
    organization = scene.coordinator.GetOrganization(id=own.id)
    assert (organization.HasField("has_manager"), organization.has_manager) == (True, False)
    manager = scene.by(own, Role.MANAGER)
    assert scene.coordinator.GetOrganization(id=own.id).has_manager
    assert not manager.GetOrganization(id=own.id).HasField("has_manager")


# D22
def test_without_email_an_invitation_needs_a_link_on_paper_which_is_shown_once(
    scene: Scene,
) -> None:
    own = scene.organization("Casa Nueva")
    worker = scene.worker(own, Role.MANAGER)
    caller = Caller(worker.id, "worker", own.id, frozenset(worker.entry.roles))
    with scene.other_server(paper_url=SITE) as channel:
        manager = Stubs(
            channel,
            lambda: scene.issuer.issue(just_proved(caller, scene.issuer), "enlace.partners")[0],
        )
        assert refusal(lambda: invite(manager, None, contract_pb2.ROLE_WORKER)) == (
            "FAILED_PRECONDITION",
            "no_mail",
        )
        assert not manager.ListInvitations().invitations, "no invitation was made"
        request = invitation(None, contract_pb2.ROLE_WORKER, on_paper=True)
        request.request_id = new_id()
        created = manager.CreateInvitation(request)
        address, token = created.link.split("#")
        assert address == f"{SITE}/invitation"
        assert manager.CreateInvitation(request).link == created.link, (
            "the link is repeated for the same request only"
        )
        [listed] = manager.ListInvitations().invitations
        assert (listed.id, listed.link) == (created.id, "")
        assert not sealed_letter(scene, created)
        Stubs(channel).AcceptInvitation(token=token, name="Nueva", password=OWN_PASSWORD)
    (entry,) = scene.rows(
        "SELECT detail_codes FROM audit WHERE object_id = %s AND action = 'invitation_create'",
        created.id,
    )
    assert "on_paper" in entry["detail_codes"]


# D22
def test_only_the_invited_person_sees_the_link_in_a_network_with_email(scene: Scene) -> None:
    manager = scene.by(scene.organization("Casa Nueva"), Role.MANAGER)
    role = contract_pb2.ROLE_WORKER
    assert refusal(lambda: invite(manager, None, role, on_paper=True)) == ILLEGAL
    assert not invite(manager, None, role).link

"""Accounts are made by invitation.

The coordinators invite a first manager and nobody else, and only the receiver of the e-mail can
accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from chassis.errors import Invalid
from chassis.ids import new_id
from chassis.server import Server
from chassis.tokens import SYSTEM, Caller
from keys.sealing import CannotOpen, Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2, facts_pb2, letters_pb2
from protos.partners.v1 import members_pb2 as pb
from services.notifications.domain.desk import is_address
from services.partners.__main__ import servicers
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.invitation import MAX_INVITATIONS, InvitationEntry
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.store import provenance
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import PASSWORD, SITE, Scene, Stubs
from tests.parts.callers import just_proved

EMAIL = "directora@ejemplo.org"
OWN_PASSWORD = "la que solo ella sabe"


NO_ADDRESS = (
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
    created: pb.Invitation = by.CreateInvitation(invitation(organization, *roles, **more))
    return created


def letter(scene: Scene, created: pb.Invitation) -> letters_pb2.InvitationLetter:
    """Returns the sealed letter that the notifications service finds in the fact, opened."""
    (row,) = scene.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND type = 'enlace.invitation.created.v1'",
        created.id,
    )
    sealed = facts_pb2.InvitationFact.FromString(row["payload"]).sealed_letter
    return letters_pb2.InvitationLetter.FromString(
        scene.mail.open_bytes(sealed, f"invitations/{created.id}/letter")
    )


def acceptance(token: str, **more: str) -> pb.AcceptInvitationRequest:
    fields = {"token": token, "name": "Petrona Lacayo", "password": OWN_PASSWORD} | more
    return pb.AcceptInvitationRequest(**fields)


def accept(scene: Scene, created: pb.Invitation, **more: str) -> None:
    scene.nobody.AcceptInvitation(acceptance(letter(scene, created).token, **more))


def answer(ask: Any) -> str:
    try:
        ask()
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
        assert refusal(partial(invite, scene.coordinator, new, *roles)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )
    coordinator_and_manager = scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    scene.worker(new, Role.MANAGER)
    for caller in (scene.coordinator, coordinator_and_manager):
        assert refusal(partial(invite, caller, new)) == ("FAILED_PRECONDITION", "manager_exists")
    assert scene.rows("SELECT FROM invitations") == []


def test_the_registrar_of_a_member_invites_nobody_to_it_before_another_has_approved_it(
    scene: Scene,
) -> None:
    entry = directory_pb2.Organization(
        name="Casa Nueva", type=directory_pb2.ORGANIZATION_TYPE_NGO, country="NI"
    )
    created = scene.coordinator.CreateOrganization(organization=entry)
    assert refusal(
        lambda: scene.coordinator.CreateInvitation(invitation(organization_id=created.id))
    ) == ("FAILED_PRECONDITION", "second_person_required")
    other = scene.by(scene.coalition, Role.COORDINATOR)
    other.CreateInvitation(invitation(organization_id=created.id))
    scene.approve(created.id)
    scene.coordinator.CreateInvitation(invitation(organization_id=created.id))


def test_no_rpc_makes_an_account_with_a_password_that_another_knows() -> None:
    for service in (
        pb.DESCRIPTOR.services_by_name["Members"],
        directory_pb2.DESCRIPTOR.services_by_name["Directory"],
    ):
        takes = [
            method.name
            for method in service.methods
            if "password" in method.input_type.fields_by_name
        ]
        assert takes in ([], ["AcceptInvitation"])


def test_an_organisation_without_active_managers_can_be_given_a_first_manager_again(
    scene: Scene,
) -> None:
    own = scene.organization()
    suspended_id, other = scene.worker(own, Role.MANAGER), scene.by(own, Role.MANAGER)
    other.SuspendWorker(id=suspended_id.id)
    assert refusal(lambda: invite(scene.coordinator, own)) == (
        "FAILED_PRECONDITION",
        "manager_exists",
    )
    scene.rows(
        "UPDATE workers SET status = 'SUSPENDED' WHERE organization_id = %s RETURNING id", own.id
    )
    invite(scene.coordinator, own)


def test_a_suspended_organisation_gets_no_manager(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    created = invite(scene.coordinator, new)
    scene.suspend(new.id)
    assert refusal(lambda: invite(scene.coordinator, new)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert refusal(lambda: accept(scene, created)) == ("UNAUTHENTICATED", "invitation_invalid")
    scene.reinstate(new.id)
    accept(scene, created)


def test_an_organisation_that_does_not_exist_or_is_not_the_callers_own_is_not_found(
    scene: Scene,
) -> None:
    other, manager = (
        scene.organization("Ajena"),
        scene.by(scene.organization("Propia"), Role.MANAGER),
    )
    for id in (other.id, "0" * 32, "x"):
        assert (
            refusal(partial(manager.CreateInvitation, invitation(organization_id=id))) == NOT_FOUND
        )
    for id in ("0" * 32, "x\x00"):
        assert (
            refusal(partial(scene.coordinator.CreateInvitation, invitation(organization_id=id)))
            == NOT_FOUND
        )


def test_a_manager_invites_her_own_people_and_gives_no_role_in_the_network(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)
    for role in (contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_AUDITOR):
        assert refusal(partial(invite, manager, None, contract_pb2.ROLE_WORKER, role)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )
    created = invite(manager, None, contract_pb2.ROLE_OPERATOR, language="en")
    accept(scene, created)
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
    elsewhere, own = scene.organization("Ajena"), scene.organization("Propia")
    scene.worker(elsewhere, email="ocupada@ejemplo.org")
    manager = scene.by(own, Role.MANAGER)

    def bytes_for(email: str) -> bytes:
        created = invite(manager, None, contract_pb2.ROLE_WORKER, email=email)
        assert created.id
        created.id = ""
        return created.SerializeToString(deterministic=True)

    taken, free = bytes_for("ocupada@ejemplo.org"), bytes_for("ninguna@ejemplo.org")
    assert taken == free.replace(b"ninguna", b"ocupada")
    lengths = {
        len(row["payload"])
        for row in scene.rows(
            "SELECT payload FROM outbox WHERE type = 'enlace.invitation.created.v1'"
        )
    }
    assert len(lengths) == 1, "the size of the fact does not reveal it either"


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
    accept(
        scene,
        invite(
            manager, None, contract_pb2.ROLE_WORKER, contract_pb2.ROLE_OPERATOR, email=EMAIL.upper()
        ),
    )
    signed = scene.nobody.SignIn(email=EMAIL, password=OWN_PASSWORD).worker
    assert (signed.id, list(signed.roles), signed.status) == (
        worker.id,
        [contract_pb2.ROLE_WORKER, contract_pb2.ROLE_OPERATOR],
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
    assert refusal(lambda: accept(scene, created)) == ("UNAUTHENTICATED", "invitation_invalid")


def test_a_manager_who_is_invited_again_to_another_role_loses_her_keys(scene: Scene) -> None:
    own = scene.organization("Casa")
    manager, other = scene.by(own, Role.MANAGER), scene.worker(own, Role.MANAGER, email=EMAIL)
    key = (
        scene.as_worker(other)
        .CreateApiKey(label="Sistema", scopes=[contract_pb2.SCOPE_DIRECTORY_READ])
        .api_key
    )
    accept(scene, invite(manager, None, contract_pb2.ROLE_WORKER))
    (revoked,) = [api_key for api_key in manager.ListApiKeys().api_keys if api_key.id == key.id]
    assert revoked.HasField("revoke_time")


def test_a_key_waits_for_a_second_manager_once_its_manager_has_fewer_rights_than_the_key(
    scene: Scene,
) -> None:
    own = scene.organization("Casa")
    manager = scene.by(own, Role.MANAGER)
    other = scene.as_worker(scene.worker(own, Role.MANAGER, Role.WORKER, email=EMAIL))
    created = {}
    for scope in (contract_pb2.SCOPE_PEOPLE_OPEN, contract_pb2.SCOPE_DIRECTORY_WRITE):
        created[scope] = other.CreateApiKey(label="Sistema", scopes=[scope])
    assert not any(key.api_key.unconfirmed for key in created.values())
    accept(scene, invite(manager))
    other_link, own_link = created.values()
    assert refusal(lambda: scene.nobody.IssueToken(api_key=other_link.secret)) == (
        "UNAUTHENTICATED",
        "key_invalid",
    )
    assert scene.nobody.IssueToken(api_key=own_link.secret).tokens
    scene.by(own, Role.MANAGER).ConfirmApiKey(id=other_link.api_key.id)
    assert scene.nobody.IssueToken(api_key=other_link.secret).tokens
    accept(scene, invite(manager))
    assert scene.nobody.IssueToken(api_key=other_link.secret).tokens, "confirmed"


def test_all_invalid_invitation_tokens_get_the_same_answer(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    used, replaced, old = (
        invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(3)
    )
    accept(scene, used)
    tokens = [letter(scene, one).token for one in (used, replaced, old)]
    scene.coordinator.CreateInvitation(
        invitation(organization_id=replaced.organization_id, email="otra@ejemplo.org")
    )
    scene.advance(hours=72)
    created = invite(scene.by(scene.coalition, Role.COORDINATOR), new, email="nueva@ejemplo.org")
    token = letter(scene, created).token
    for wrong in (*tokens, token + "x", token[:-1], token.swapcase(), "x", created.id, "\x00"):
        assert refusal(partial(scene.nobody.AcceptInvitation, acceptance(wrong))) == (
            "UNAUTHENTICATED",
            "invitation_invalid",
        )
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


def test_an_invitation_is_valid_for_72_hours(scene: Scene) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    scene.advance(hours=71, minutes=59)
    accept(scene, created)


def test_an_invitation_is_revoked_when_its_maker_is_suspended(scene: Scene) -> None:
    own = scene.organization()
    maker, manager = scene.worker(own, Role.MANAGER), scene.by(own, Role.MANAGER)
    created = invite(scene.as_worker(maker), None, contract_pb2.ROLE_WORKER)
    other = invite(manager, None, contract_pb2.ROLE_WORKER, email="otra@ejemplo.org")
    manager.SuspendWorker(id=maker.id)
    listed = manager.ListInvitations().invitations
    assert [invitation.id for invitation in listed] == [other.id]
    assert scene.facts(created.id)[-1] == (2, "enlace.invitation.revoked.v1")
    assert refusal(lambda: accept(scene, created)) == ("UNAUTHENTICATED", "invitation_invalid")


def test_a_newer_invitation_replaces_an_open_one(scene: Scene) -> None:
    new = scene.organization("Casa Nueva")
    wrong = invite(scene.coordinator, new, email="equivocada@ejemplo.org")
    right = invite(scene.coordinator, new)
    assert scene.facts(wrong.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.replaced.v1"),
    ]
    assert refusal(lambda: accept(scene, wrong)) == ("UNAUTHENTICATED", "invitation_invalid")
    accept(scene, right)
    manager = scene.by(new, Role.MANAGER)
    first, other = (
        invite(manager, None, contract_pb2.ROLE_WORKER, email=f"{name}@ejemplo.org")
        for name in ("una", "dos")
    )
    again = invite(manager, None, contract_pb2.ROLE_OPERATOR, email="UNA@ejemplo.org")
    assert [len(scene.facts(one.id)) for one in (first, other, again)] == [2, 1, 1], (
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
    assert {invitation.id for invitation in manager.ListInvitations().invitations} == {
        wrong.id,
        right.id,
    }
    assert not stranger.ListInvitations().invitations
    coordinator_and_manager = scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR)
    for caller, id in (
        (stranger, wrong.id),
        (coordinator_and_manager, wrong.id),
        (manager, "0" * 32),
        (manager, "x\x00"),
    ):
        assert refusal(partial(caller.RevokeInvitation, id=id)) == NOT_FOUND
    assert scene.by(own, Role.MANAGER).RevokeInvitation(id=wrong.id) == wrong
    assert scene.facts(wrong.id) == [
        (1, "enlace.invitation.created.v1"),
        (2, "enlace.invitation.revoked.v1"),
    ]
    assert refusal(lambda: accept(scene, wrong)) == ("UNAUTHENTICATED", "invitation_invalid")
    accept(scene, right)
    for one in (wrong, right):
        assert refusal(partial(manager.RevokeInvitation, id=one.id)) == (
            "FAILED_PRECONDITION",
            "illegal_transition",
        )
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
                answer, lambda token=token: scene.nobody.AcceptInvitation(acceptance(token))
            )
            revoked = pool.submit(
                answer,
                lambda id=created.id: manager.RevokeInvitation(id=id),
            )
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
        assert [
            row["status"] for row in scene.rows("SELECT status FROM invitations ORDER BY status")
        ] == ["OPEN"] + ["REPLACED"] * 3
        answers = list(pool.map(lambda one: answer(lambda: accept(scene, one)), created))
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3
    assert len(scene.rows("SELECT FROM workers WHERE organization_id = %s", new.id)) == 1


def test_one_link_used_many_times_at_once_opens_one_account(scene: Scene) -> None:
    token = letter(scene, invite(scene.coordinator, scene.organization("Casa Nueva"))).token
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda n: answer(
                    lambda: scene.nobody.AcceptInvitation(acceptance(token, name=f"Persona {n}"))
                ),
                range(4),
            )
        )
    assert sorted(answers) == ["OK"] + ["invitation_invalid"] * 3


def test_a_first_manager_who_comes_second_is_refused(scene: Scene) -> None:
    """An account may be made in another way while the invitation is open.

    Both ways check under the same lock that there is no manager yet.
    """
    new = scene.organization("Casa Nueva")
    created = invite(scene.coordinator, new)
    scene.worker(new, Role.MANAGER)
    assert refusal(lambda: accept(scene, created)) == ("FAILED_PRECONDITION", "manager_exists")


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
        ({"password": ""}, ("password", "required")),
        ({"password": "once letras"}, ("password", "too_short")),
        ({"password": "x" * 201}, ("password", "too_long")),
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
        *NO_ADDRESS,
        EMAIL,
        "a.b+c'd@x-1.b.org",
        "persona@muy.largo.ejemplo.org",
        f"{'x' * 64}@b.org",
        f"{'x' * 65}@b.org",
    ):
        try:
            InvitationEntry(email, (Role.WORKER,)).check()
            taken = True
        except Invalid:
            taken = False
        assert taken is is_address(email), email


@pytest.mark.parametrize(
    ("wrong", "violation"),
    [
        ({"email": ""}, ("invitation.email", "required")),
        ({"email": "petrona"}, ("invitation.email", "malformed")),
        ({"email": "a@b@c.org"}, ("invitation.email", "malformed")),
        *(({"email": email}, ("invitation.email", "malformed")) for email in NO_ADDRESS),
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
        answers = list(
            pool.map(
                lambda n: answer(lambda: invite(manager, None, email=f"p{n}@ejemplo.org")),
                range(MAX_INVITATIONS + 3),
            )
        )
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
    assert refusal(lambda: accept(scene, created, password="corta")) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )
    accept(scene, created)
    tables = [
        row["t"]
        for row in scene.rows("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'public'")
    ]
    holding = {
        table
        for table in tables
        for row in scene.rows(f"SELECT * FROM {table}")
        if sent_letter.token in str(row) or sent_letter.token.encode().hex() in str(row)
    }
    assert holding == set()
    for row in scene.rows("SELECT payload FROM outbox"):
        assert EMAIL.encode() not in bytes(row["payload"])
        assert sent_letter.token.encode() not in bytes(row["payload"])
    captured = capfd.readouterr()
    assert sent_letter.token not in captured.out + captured.err
    assert EMAIL not in captured.out + captured.err


def test_a_sealed_letter_can_be_opened_only_for_its_own_invitation(scene: Scene) -> None:
    one, other = (invite(scene.coordinator, scene.organization(f"Casa {n}")) for n in range(2))
    (row,) = scene.rows("SELECT payload FROM outbox WHERE subject = %s", one.id)
    sealed = facts_pb2.InvitationFact.FromString(row["payload"]).sealed_letter
    with pytest.raises(CannotOpen):
        scene.mail.open_bytes(sealed, f"invitations/{other.id}/letter")


def test_expired_invitations_are_deleted(scene: Scene) -> None:
    invite(scene.coordinator, scene.organization("Casa Nueva"))
    scene.advance(hours=72)
    with scene.database.transaction(SYSTEM) as tx:
        sweep(tx, scene.clock.now())
    assert scene.rows("SELECT FROM invitations") == []


def test_inviting_and_accepting_are_on_the_trail(scene: Scene) -> None:
    created = invite(scene.coordinator, scene.organization("Casa Nueva"))
    accept(scene, created)
    (worker,) = scene.rows("SELECT id FROM workers WHERE email = %s", EMAIL)
    trail = scene.rows(
        "SELECT action, object_id, organization_id, detail_codes FROM audit"
        " WHERE action <> 'organization_create' ORDER BY sequence"
    )
    assert [
        (row["action"], row["object_id"], row["organization_id"], row["detail_codes"])
        for row in trail
    ] == [
        ("invitation_create", created.id, scene.coalition.id, ["MANAGER"]),
        ("invitation_accept", created.id, "", []),
        ("worker_create", worker["id"], "", ["MANAGER"]),
    ]


def test_the_coordination_sees_whether_an_organisation_has_a_manager_and_nobody_else_does(
    scene: Scene,
) -> None:
    own = scene.organization()
    question = directory_pb2.GetOrganizationRequest(id=own.id)
    organization = scene.coordinator.GetOrganization(question)
    assert organization.HasField("has_manager")
    assert not organization.has_manager
    manager = scene.by(own, Role.MANAGER)
    assert scene.coordinator.GetOrganization(question).has_manager
    assert not manager.GetOrganization(question).HasField("has_manager")


@pytest.fixture
def without_mail(scene: Scene) -> Iterator[str]:
    """The address of the same service in a network that sends no e-mail."""
    keyring = Keyring(scene.sealing_key)
    providers = SignInProviders(scene.database, keyring, scene.mail, SITE, development=True)
    parts = (
        scene.database,
        scene.issuer,
        scene.verifier,
        keyring,
        scene.mail,
        scene.clock,
        DirectoryIndex(),
        Site(SITE),
        providers,
    )
    server = Server(
        "127.0.0.1:0",
        servicers(*parts, paper_url=SITE),
        threads=2,
        reflect=False,
        caller_rate=100_000,
    )
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop(0)


# D22
def test_without_email_an_invitation_needs_a_link_on_paper_which_is_shown_once(
    scene: Scene, without_mail: str
) -> None:
    own = scene.organization("Casa Nueva")
    worker = scene.worker(own, Role.MANAGER)
    caller = Caller(worker.id, "worker", own.id, frozenset(worker.entry.roles))
    with grpc.insecure_channel(without_mail) as channel:
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
        (row,) = scene.rows(
            "SELECT payload FROM outbox WHERE subject = %s"
            " AND type = 'enlace.invitation.created.v1'",
            created.id,
        )
        assert not facts_pb2.InvitationFact.FromString(row["payload"]).sealed_letter
        Stubs(channel).AcceptInvitation(token=token, name="Nueva", password=OWN_PASSWORD)
    (entry,) = scene.rows(
        "SELECT detail_codes FROM audit WHERE object_id = %s AND action = 'invitation_create'",
        created.id,
    )
    assert "on_paper" in entry["detail_codes"]


# D22
def test_only_the_invited_person_sees_the_link_in_a_network_with_email(scene: Scene) -> None:
    own = scene.organization("Casa Nueva")
    assert refusal(
        lambda: invite(scene.by(own, Role.MANAGER), None, contract_pb2.ROLE_WORKER, on_paper=True)
    ) == ("FAILED_PRECONDITION", "illegal_transition")
    assert not invite(scene.by(own, Role.MANAGER), None, contract_pb2.ROLE_WORKER).link

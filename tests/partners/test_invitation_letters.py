"""Letters of invitations: their secrets, their delivery, and the record of them on the trail."""

import re

import pytest

from chassis.ids import new_id
from chassis.tokens import Caller
from keys.sealing import CannotOpen
from protos.contract.v1 import contract_pb2
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import refusal, wrong_fields
from tests.partners.scene import ILLEGAL, SITE, Scene, Stubs
from tests.partners.test_invitations import (
    EMAIL,
    OWN_PASSWORD,
    accept,
    invitation,
    invite,
    letter,
    sealed_letter,
)
from tests.parts.callers import just_proved


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
    assert re.fullmatch(r"[\w-]{43}", sent_letter.token), "the token has 256 random bits"
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
    scene: Scene, member: Organization
) -> None:
    organization = scene.coordinator.GetOrganization(id=member.id)
    assert (organization.HasField("has_manager"), organization.has_manager) == (True, False)
    manager = scene.by(member, Role.MANAGER)
    assert scene.coordinator.GetOrganization(id=member.id).has_manager
    assert not manager.GetOrganization(id=member.id).HasField("has_manager")


def test_without_email_an_invitation_needs_a_link_on_paper_which_is_shown_once(
    scene: Scene, member: Organization
) -> None:
    worker = scene.worker(member, Role.MANAGER)
    caller = Caller(worker.id, "worker", member.id, frozenset(worker.entry.roles))
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


def test_only_the_invited_person_sees_the_link_in_a_network_with_email(scene: Scene) -> None:
    manager = scene.by(scene.organization("Casa Nueva"), Role.MANAGER)
    role = contract_pb2.ROLE_WORKER
    assert refusal(lambda: invite(manager, None, role, on_paper=True)) == ILLEGAL
    assert not invite(manager, None, role).link

"""A new member gets its first manager.

Two coordinators approve the member, one invites, and only the owner of the mailbox can open the
account.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from tests.journeys.accounts import PASSWORD, invites, link_for, opens_account
from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import LocalStack, until


def register_member(stack: LocalStack) -> tuple[str, str]:
    """Registers, vets and approves a member as one coordinator; returns its name and page path."""
    coordinator = stack.worker("coordinacion@coalicion").directory
    name = f"Casa {new_id()[:8]}"
    entry = d.Organization(
        name=name, type=d.ORGANIZATION_TYPE_SHELTER, country="NI", department="NI-CI"
    )
    organization = coordinator.CreateOrganization(d.CreateOrganizationRequest(organization=entry))
    today = datetime.now(UTC).date()
    for number, kind in enumerate((*d.EvidenceKind.values()[1:], d.EVIDENCE_KIND_REFERENCES)):
        expire_date = str(today + timedelta(days=365)) if kind == d.EVIDENCE_KIND_AGREEMENT else ""
        evidence = d.Evidence(
            kind=kind,
            reference=f"EXP-{number}",
            # Until six in the morning UTC, today in UTC is still tomorrow in Nicaragua.
            seen_date=str(today - timedelta(days=1)),
            expire_date=expire_date,
        )
        organization = coordinator.RecordEvidence(
            d.RecordEvidenceRequest(
                id=organization.id, etag=organization.etag, evidence=evidence, request_id=new_id()
            )
        )
    coordinator.ApproveOrganization(
        d.ApproveOrganizationRequest(
            id=organization.id, etag=organization.etag, request_id=new_id()
        )
    )
    return name, f"/directory/organizations/{organization.id}"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_new_member_gets_its_first_manager(
    actors: Actors, stack: LocalStack, script: bool
) -> None:
    name, path = register_member(stack)
    email = f"direccion-{new_id()[:8]}@casa.example"
    coordinator = actors.enter("segunda@coalicion.demo")
    coordinator.goes_to(path)
    coordinator.presses("^Aprobar$")
    invites(coordinator, "Invitar a quien la dirigirá", email)
    link = link_for(stack, email)
    secret = link.partition("#")[2]

    manager = actors.enter(scripts=script)
    page = manager.page
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url + str(request.headers)))
    manager.goes_to(link)
    if script:
        expect(page.locator("#token")).to_be_hidden()
        assert secret not in page.url, "the secret stays neither in the address nor in the history"
        page.get_by_role("link", name="English").click()
        page.get_by_role("link", name="Español").click()
        expect(page.locator("#token")).to_have_value(secret)
    else:
        page.fill("#token", secret)
    opens_account(manager)
    manager.sees("Su cuenta está lista")
    assert [request for request in requests if secret in request] == [], (
        "no request of the browser contained the secret"
    )

    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    manager.presses("^Entrar$")
    expect(page.locator(".account summary")).to_contain_text(f"Petrona Lacayo · {name}")
    until(lambda: "abrió su cuenta" in inbox(manager), 30, lambda: inbox(manager))
    manager.sees("La coordinación invitó a quien dirigirá su organización")
    manager.goes_to("/members")
    manager.sees(email)

    late_visitor = actors.enter(scripts=True)
    late_visitor.goes_to(link)
    opens_account(late_visitor, "Otra Persona")
    late_visitor.sees("Esta invitación no sirve")
    coordinator.goes_to(path)
    coordinator.sees("Ya tiene quien la dirige")
    for log in stack.logs.iterdir():
        assert secret not in log.read_text(), log.name
        assert email not in log.read_text(), log.name


@pytest.mark.timeout(120)
def test_a_manager_invites_her_people_and_revokes_a_wrong_invitation(
    actors: Actors, stack: LocalStack
) -> None:
    email = f"nueva-{new_id()[:8]}@puentes.example"
    manager = actors.enter("gestion@lunanueva.demo")
    manager.goes_to("/members")
    invites(manager, "Invitar a alguien", email)
    secret = link_for(stack, email).partition("#")[2]
    manager.goes_to("/outbox")
    manager.page.locator("main a[href*=invitation]").first.click()
    manager.sees("Abrir una cuenta")
    manager.goes_to("/members")
    manager.page.locator("tr", has_text=email).get_by_role("button").click()
    manager.sees("Guardado.")
    manager.sees_no(email)
    invited_person = actors.enter()
    invited_person.goes_to("/invitation")
    invited_person.page.fill("#token", secret)
    opens_account(invited_person)
    invited_person.sees("Esta invitación no sirve")


def inbox(actor: Actor) -> str:
    """Returns the text of the actor's inbox."""
    actor.goes_to("/inbox")
    return actor.main.inner_text()

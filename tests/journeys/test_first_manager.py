"""A new member gets its first manager.

Two coordinators approve the member, one invites, and only the owner of the mailbox can open the
account.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from chassis.ids import new_id
from protos.notifications.v1.notifications_pb2 import ListDevelopmentMailsRequest
from protos.partners.v1 import directory_pb2 as d
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack, until

PASSWORD = "una clave que nadie más sabe"
LINK = re.compile(r"/invitation\?lang=\w+#[\w-]{43}")


def registered(stack: LocalStack) -> tuple[str, str]:
    """Returns the name and the page of a new member.

    One coordinator has registered and vetted it, and is the first to approve it.
    """
    coordinator = stack.worker("coordinacion@coalicion").directory
    name = f"Casa {new_id()[:8]}"
    entry = d.Organization(
        name=name, type=d.ORGANIZATION_TYPE_SHELTER, country="NI", department="NI-CI"
    )
    created = coordinator.CreateOrganization(d.CreateOrganizationRequest(organization=entry))
    today = datetime.now(UTC).date()
    for number, kind in enumerate((*d.EvidenceKind.values()[1:], d.EVIDENCE_KIND_REFERENCES)):
        until = str(today + timedelta(days=365)) if kind == d.EVIDENCE_KIND_AGREEMENT else ""
        evidence = d.Evidence(
            kind=kind,
            reference=f"EXP-{number}",
            # Until six in the morning UTC, today in UTC is still tomorrow in Nicaragua.
            seen_date=str(today - timedelta(days=1)),
            expire_date=until,
        )
        created = coordinator.RecordEvidence(
            d.RecordEvidenceRequest(
                id=created.id, etag=created.etag, evidence=evidence, request_id=new_id()
            )
        )
    coordinator.ApproveOrganization(
        d.ApproveOrganizationRequest(id=created.id, etag=created.etag, request_id=new_id())
    )
    return name, f"/directory/organizations/{created.id}"


def invited(browser: Browser, stack: LocalStack, page: str, email: str) -> None:
    """Approves the member and invites its manager, as the other coordinator."""
    other = Actor(browser, stack)
    other.signs_in("segunda@coalicion.demo")
    other.goes_to(page)
    other.presses("^Aprobar$")
    other.page.locator("summary", has_text="Invitar a quien la dirigirá").click()
    other.page.fill("#email", email)
    other.presses("Enviar la invitación")
    other.sees("El enlace le llega solo a esa persona")
    assert not LINK.search(other.page.content())
    other.leaves()


def link_for(stack: LocalStack, email: str, pattern: re.Pattern[str] = LINK) -> str:
    """Returns the link in the e-mail to this address, read from the development outbox."""
    links: list[str] = []

    def arrived() -> bool:
        mails = (
            stack.worker("gestion@lunanueva")
            .notifications.ListDevelopmentMails(ListDevelopmentMailsRequest())
            .mails
        )
        links[:] = [
            link for mail in mails if mail.recipient == email for link in pattern.findall(mail.body)
        ]
        return bool(links)

    until(arrived, 30)
    assert len(links) == 1
    return links[0]


def opens(page: Page, name: str = "Petrona Lacayo") -> None:
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Abrir la cuenta").click()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_new_member_gets_its_first_manager(
    browser: Browser, stack: LocalStack, script: bool
) -> None:
    name, place = registered(stack)
    email = f"direccion-{new_id()[:8]}@casa.example"
    invited(browser, stack, place, email)
    link = link_for(stack, email)
    secret = link.partition("#")[2]

    context = browser.new_context(
        locale="es-NI", viewport={"width": 360, "height": 740}, java_script_enabled=script
    )
    page = context.new_page()
    results: list[str] = []
    page.on("request", lambda request: results.append(request.url + str(request.headers)))
    page.goto(stack.gateway + link)
    if script:
        expect(page.locator("#token")).to_be_hidden()
        assert secret not in page.url, "taken out of the address, and so out of the history"
        page.get_by_role("link", name="English").click()
        page.get_by_role("link", name="Español").click()
        expect(page.locator("#token")).to_have_value(secret)
    else:
        page.fill("#token", secret)
    opens(page)
    expect(page.get_by_role("main")).to_contain_text("Su cuenta está lista")
    assert [url for url in results if secret in url] == [], (
        "no address and no header that the browser sent held it"
    )

    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Entrar").click()
    expect(page.locator(".account summary")).to_contain_text(f"Petrona Lacayo · {name}")
    until(lambda: "abrió su cuenta" in _inbox(page, stack), 30, lambda: _inbox(page, stack))
    assert "La coordinación invitó a quien dirigirá su organización" in _inbox(page, stack)
    page.goto(f"{stack.gateway}/members")
    expect(page.get_by_role("main")).to_contain_text(email)
    context.close()

    second_page = browser.new_context(locale="es-NI").new_page()
    second_page.goto(stack.gateway + link)
    opens(second_page, "Otra Persona")
    expect(second_page.get_by_role("main")).to_contain_text("Esta invitación no sirve")
    second_page.context.close()
    coordinator = Actor(browser, stack)
    coordinator.signs_in("coordinacion@coalicion.demo")
    coordinator.goes_to(place)
    coordinator.sees("Ya tiene quien la dirige")
    for log in stack.logs.iterdir():
        assert secret not in log.read_text(), log.name
        assert email not in log.read_text(), log.name
    coordinator.leaves()


@pytest.mark.timeout(120)
def test_a_manager_invites_her_people_and_revokes_a_wrong_invitation(
    browser: Browser, stack: LocalStack
) -> None:
    email = f"nueva-{new_id()[:8]}@puentes.example"
    manager = Actor(browser, stack)
    manager.signs_in("gestion@lunanueva.demo")
    manager.goes_to("/members")
    manager.page.locator("summary", has_text="Invitar a alguien").click()
    manager.page.fill("#email", email)
    manager.presses("Enviar la invitación")
    manager.sees("El enlace le llega solo a esa persona")
    secret = link_for(stack, email).partition("#")[2]
    manager.goes_to("/outbox")
    manager.page.locator("main a[href*=invitation]").first.click()
    manager.sees("Abrir una cuenta")
    manager.goes_to("/members")
    manager.page.locator("tr", has_text=email).get_by_role("button").click()
    manager.sees("Guardado.")
    expect(manager.page.get_by_role("main")).not_to_contain_text(email)
    manager.leaves()
    invited = Actor(browser, stack)
    invited.goes_to("/invitation")
    invited.page.fill("#token", secret)
    opens(invited.page)
    invited.sees("Esta invitación no sirve")
    invited.leaves()


def _inbox(page: Page, stack: LocalStack) -> str:
    page.goto(f"{stack.gateway}/inbox")
    return page.get_by_role("main").inner_text()

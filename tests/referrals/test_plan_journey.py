"""In a real browser, before the real service: the pilot's return from Guatemala to Chinandega, over a year, by a clock that is handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from playwright.sync_api import Browser, Page, expect, sync_playwright

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import people_pb2, plans_pb2
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import i18n
from services.gateway.clients import AUDIENCES, refusal_of
from tests.builders import NOON
from tests.gateway.conftest import FLAGS
from tests.gateway.pages_gateway import PlayedServices, pages, served
from tests.gateway.test_pages_in_browser import open_pages
from tests.referrals.conftest import ORG, Client, Service, Story

DAY = timedelta(days=1)


class Real:
    """A stub of the real service, in the name of one caller; a refusal is what the gateway would make of it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, rpc: str) -> Callable[..., Message]:
        def call(request: Message, timeout: float = 0) -> Message:
            try:
                answer: Message = getattr(self._client, rpc)(request)
            except grpc.RpcError as error:
                raise refusal_of(error) from None
            return answer

        return call


def site_of(client: Client, organization: str, role: contract_pb2.Role.ValueType) -> PlayedServices:
    """The directory is played; people, referrals and plans are real."""
    played = PlayedServices()
    for stub in ("people", "referrals", "plans"):
        setattr(played, stub, Real(client))
    played.answers["IssueToken"] = m.IssueTokenResponse(
        tokens=dict.fromkeys(AUDIENCES, "t"),
        worker=m.Worker(id=client.caller.id, name="Rosa Méndez", roles=[role], language="es"),
        organization=m.OrganizationRef(id=ORG[organization], name="Casa Puentes", country="NI", department="NI-CI"),
    )
    return played


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def worker(browser: Browser, service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(i18n, "now", service.clock.now)
    with served(pages(site_of(service.as_("ngo", "WORKER"), "ngo", contract_pb2.ROLE_WORKER))) as site:
        page = open_pages(browser.new_context(locale="es-NI", viewport={"width": 360, "height": 800}), site, True)
        page.set_default_timeout(10_000)
        yield page
        page.context.close()


@pytest.fixture
def coordinator(browser: Browser, service: Service) -> Iterator[Page]:
    with served(pages(site_of(service.as_("coalition", "COORDINATOR"), "coalition", contract_pb2.ROLE_COORDINATOR))) as site:
        page = open_pages(browser.new_context(locale="es-NI"), site, True)
        yield page
        page.context.close()


def row(page: Page, step: str) -> Any:
    return page.locator(".row", has_text=step).first


def done(page: Page, step: str) -> None:
    row(page, step).get_by_role("button", name="Ya se hizo").click()
    expect(row(page, step).locator(".state").first).to_have_text("Cumplido")


def at(service: Service, page: Page, moment: datetime) -> None:
    service.clock.set(moment)
    page.reload()


def test_a_woman_comes_home_and_her_plan_goes_with_her_for_a_year(worker: Page, coordinator: Page, story: Story, service: Service) -> None:
    page = worker
    her = story.person()
    origin = page.url.removesuffix("/today")
    page.goto(f"{origin}/people/{her.id}")
    page.get_by_text("Empezar un plan").click()
    page.get_by_label("Retorno y reintegración").check()
    page.get_by_role("button", name="Empezar").click()
    expect(page.locator("h1")).to_have_text("Retorno y reintegración")
    expect(page.locator("main")).to_contain_text("0 de 14 pasos resueltos")
    # Before she leaves: what the travel waits for.
    expect(row(page, "3. Viaje acompañado")).to_contain_text("Antes: Valorar el riesgo antes de volver, Documento de viaje y consulado")
    expect(row(page, "3. Viaje acompañado").get_by_role("button", name="Ya se hizo")).to_have_count(0)
    done(page, "1. Valorar el riesgo")
    done(page, "2. Documento de viaje")
    at(service, page, NOON + 20 * DAY)
    done(page, "3. Viaje acompañado")
    done(page, "4. Recepción")
    arrived = NOON + 20 * DAY
    # A shelter is asked for from the step; nobody was there in a day, and that is in Today, too.
    row(page, "5. Un lugar seguro").get_by_role("button", name="Remitir").click()
    plan = story.ngo.ListPlans(plans_pb2.ListPlansRequest(person_id=her.id)).plans[0]
    housing = next(step for step in plan.steps if step.key == "housing")
    draft = story.ngo.GetReferral(r.GetReferralRequest(id=housing.referral_id))
    assert (housing.state, draft.need_code, draft.person_id) == (plans_pb2.PLAN_STEP_STATE_REFERRED, "HOU.SAFE", her.id)
    service.clock.set(arrived + 2 * DAY)
    page.goto(f"{origin}/today")
    expect(page.get_by_role("list", name="Pasos atrasados")).to_contain_text("Un lugar seguro para vivir")
    sheltered(story, draft)
    page.goto(f"{origin}/today")
    expect(page.get_by_role("list", name="Pasos atrasados")).to_have_count(0)
    page.goto(f"{origin}/plans/{plan.id}")
    expect(row(page, "5. Un lugar seguro").locator(".state").first).to_have_text("Cumplido")
    # She wants no talk with her family; her right, and nothing else waits for it.
    talk = row(page, "9. Mediación")
    talk.locator("summary").click()
    talk.get_by_label("Ella no lo quiere").check()
    talk.get_by_role("button", name="Guardar").click()
    expect(row(page, "9. Mediación").locator(".state").first).to_have_text("Ella no lo quiere")
    # Meanwhile a coordinator publishes another version, after a mistake that is shown by its line.
    coordinator.goto(f"{coordinator.url.removesuffix('/today')}/pathways/publish?pathway=return_and_reintegration")
    text = coordinator.input_value("#text")
    assert "version: 2" in text
    coordinator.fill("#text", text.replace("need: COM.MEN", "need: COM.XXX", 1))
    coordinator.get_by_role("button", name="Publicar").click()
    expect(coordinator.locator("#problems")).to_contain_text("ese código no existe. «need: COM.XXX»")
    coordinator.fill("#text", text.replace("es: Seguimiento al mes", "es: Visita al mes"))
    coordinator.get_by_role("button", name="Publicar").click()
    expect(coordinator.locator("main")).to_contain_text("Versión 2")
    expect(coordinator.locator("main")).to_contain_text("Visita al mes")
    # Her plan keeps its own.
    page.reload()
    expect(page.locator("main")).to_contain_text("Seguimiento al mes")
    expect(page.locator("div.note.soon")).to_contain_text("Hay una versión 2")
    done(page, "6. Revisión médica")
    done(page, "7. Primeros auxilios")
    for days, steps in (
        (25, ["8. Documentos"]),
        (30, ["11. Seguimiento al mes"]),
        (85, ["10. Estudiar"]),
        (91, ["12. Seguimiento a los 3"]),
        (180, ["13. Seguimiento a los 6"]),
        (365, ["14. Seguimiento a los 12"]),
    ):
        at(service, page, arrived + days * DAY)
        for step in steps:
            done(page, step)
    expect(page.locator("main")).to_contain_text("14 de 14 pasos resueltos")
    page.get_by_text("Terminar el plan").click()
    page.select_option("#reason_code", "fulfilled")
    page.get_by_role("button", name="Terminar").click()
    expect(page.locator("main")).to_contain_text("Se cumplió")
    assert story.ngo.GetPlan(plans_pb2.GetPlanRequest(id=plan.id)).pathway.version == 1


def sheltered(story: Story, draft: r.Referral) -> None:
    """The way of the referral: sent, taken on, helped."""
    now = story.service.clock.now()
    story.receipt(draft.person_id)
    change = r.UpdateReferralRequest(
        referral=r.Referral(id=draft.id, etag=draft.etag, urgency=r.URGENCY_EMERGENCY, service_id=f"{101:032x}")
    )
    change.update_mask.paths.extend(["urgency", "service_id"])
    draft = story.ngo.UpdateReferral(change)
    receipt = story.ngo.ListReceipts(people_pb2.ListReceiptsRequest(person_id=draft.person_id)).receipts[0]
    sent = story.ngo.SendReferral(r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id))
    accept = r.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    accept.planned_first_contact_time.FromDatetime(now)
    start = r.StartReferralRequest(id=sent.id, etag=story.shelter.AcceptReferral(accept).etag)
    start.first_contact_time.FromDatetime(now)
    started = story.shelter.StartReferral(start)
    story.shelter.CompleteReferral(r.CompleteReferralRequest(id=sent.id, etag=started.etag, outcome_code=r.OUTCOME_FULLY_MET))

"""The pilot's return from Guatemala to Chinandega, over a year, with the real service.

The person is handed from one organisation to the next, with a settable clock. Her sender works in a
real browser, the others by REST.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from playwright.sync_api import Browser, Page, expect

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import plans_pb2
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import AUDIENCES, refusal_of
from services.gateway.site.language import i18n
from tests.builders import ASKED, NOON
from tests.gateway.api_gateway import System
from tests.gateway.pages_gateway import PlayedServices, pages, served
from tests.gateway.test_pages_in_browser import open_pages
from tests.referrals.conftest import ABROAD, ORG, SERVICE, Client, Service, Story
from tests.referrals.test_chain_rpc import LEGS

DAY = timedelta(days=1)


class Real:
    """A stub that calls the real service as one caller, and raises the gateway's refusals."""

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


CALLED = {
    "ngo": "Casa Nahual",
    "mission": "Misión de retorno",
    "border": "Puesto de El Guasaule",
    "shelter": "Albergue Luna Nueva",
}


def site_of(client: Client, organization: str, role: contract_pb2.Role.ValueType) -> PlayedServices:
    """Returns fake services for the site, with real people, referrals and plans."""
    played = PlayedServices()
    for stub in ("people", "referrals", "plans"):
        setattr(played, stub, Real(client))
    country = "GT" if organization in ABROAD else "NI"
    played.answers["IssueToken"] = m.IssueTokenResponse(
        tokens=dict.fromkeys(AUDIENCES, "t"),
        worker=m.Worker(id=client.caller.id, name="Rosa Méndez", roles=[role], language="es"),
        organization=m.OrganizationRef(
            id=ORG[organization], name=CALLED.get(organization, "Coalición"), country=country
        ),
    )
    played.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[
            d.Organization(
                id=ORG[each],
                name=name,
                country="GT" if each in ABROAD else "NI",
                status=d.ORGANIZATION_STATUS_APPROVED,
            )
            for each, name in CALLED.items()
        ]
    )
    return played


class Partner:
    """Another organisation's system, which uses REST."""

    def __init__(self, service: Service, organization: str) -> None:
        self._system = System(
            pages(
                site_of(service.as_(organization, "WORKER"), organization, contract_pb2.ROLE_WORKER)
            ).test_client()
        )
        self._service = service

    def get(self, identifier: str) -> dict[str, Any]:
        """Returns the referral with its chain of legs."""
        answer = self._system.get(f"/referrals/{identifier}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def act(self, identifier: str, verb: str, status: int = 200, **fields: Any) -> dict[str, Any]:
        """Takes a step of a referral, with its current etag."""
        etag = self._system.get(f"/referrals/{identifier}").headers["ETag"]
        fields = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in fields.items()
        }
        answer = self._system.post(f"/referrals/{identifier}/{verb}", fields, If_Match=etag)
        assert answer.status_code == status, answer.text
        return dict(answer.json)


@pytest.fixture
def worker(browser: Browser, service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(i18n, "now", service.clock.now)
    with served(
        pages(site_of(service.as_("ngo", "WORKER"), "ngo", contract_pb2.ROLE_WORKER))
    ) as site:
        page = open_pages(
            browser.new_context(locale="es-NI", viewport={"width": 360, "height": 800}), site, True
        )
        page.set_default_timeout(10_000)
        yield page
        page.context.close()


@pytest.fixture
def escort(browser: Browser, service: Service) -> Iterator[Page]:
    """Returns the page of the worker who escorts the person."""
    with served(
        pages(site_of(service.as_("mission", "WORKER"), "mission", contract_pb2.ROLE_WORKER))
    ) as site:
        page = open_pages(browser.new_context(locale="es-NI"), site, True)
        yield page
        page.context.close()


@pytest.fixture
def coordinator(browser: Browser, service: Service) -> Iterator[Page]:
    with served(
        pages(
            site_of(
                service.as_("coalition", "COORDINATOR"), "coalition", contract_pb2.ROLE_COORDINATOR
            )
        )
    ) as site:
        page = open_pages(browser.new_context(locale="es-NI"), site, True)
        yield page
        page.context.close()


def row(page: Page, step: str) -> Any:
    return page.locator(".row", has_text=step).first


def mark_as_done(page: Page, step: str) -> None:
    row(page, step).get_by_role("button", name="Ya se hizo").click()
    expect(row(page, step).locator(".state").first).to_have_text("Cumplido")


def set_time(service: Service, page: Page, moment: datetime) -> None:
    service.clock.set(moment)
    page.reload()


def leg_texts(page: Page) -> list[str]:
    """Returns the text of each leg of the journey; checks that of the sender."""
    first, *legs = [
        " ".join(leg.split())
        for leg in page.get_by_role("list", name="El viaje por etapas")
        .get_by_role("listitem")
        .all_inner_texts()
    ]
    assert first in ("La envía ustedes, Guatemala", "La envía Casa Nahual, Guatemala")
    return legs


def refer(page: Page, story: Story, plan_id: str, key: str, step: str) -> str:
    """Sends a referral from the plan's step, on a consent for its receiver; returns its id."""
    page.goto(f"{page.url.partition('/plans/')[0].partition('/referrals/')[0]}/plans/{plan_id}")
    row(page, step).get_by_role("button", name="Remitir").click()
    plan = story.ngo.GetPlan(plans_pb2.GetPlanRequest(id=plan_id))
    draft = story.ngo.GetReferral(
        r.GetReferralRequest(id=next(step.referral_id for step in plan.steps if step.key == key))
    )
    need, service, organization = LEGS[key]
    assert (draft.need_code, draft.person_id) == (need, plan.person_id)
    receipt = story.receipt(plan.person_id, recipient=ORG[organization], purposes=[need[:3]])
    change = r.UpdateReferralRequest(
        referral=r.Referral(
            id=draft.id,
            etag=draft.etag,
            urgency=r.URGENCY_URGENT,
            service_id=SERVICE[service],
            **ASKED,
        )
    )
    change.update_mask.paths.extend(["urgency", "service_id", *ASKED])
    draft = story.ngo.UpdateReferral(change)
    return str(
        story.ngo.SendReferral(
            r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        ).id
    )


def test_a_woman_is_handed_over_on_her_way_home_and_her_plan_follows_her_for_a_year(
    worker: Page, escort: Page, coordinator: Page, story: Story, service: Service
) -> None:
    page = worker
    mission, border, shelter = (
        Partner(service, expected_text) for expected_text in ("mission", "border", "shelter")
    )
    person = story.person()
    origin = page.url.removesuffix("/today")
    page.goto(f"{origin}/people/{person.id}")
    page.get_by_text("Empezar un plan").click()
    page.get_by_label("Retorno y reintegración").check()
    page.get_by_role("button", name="Empezar").click()
    expect(page.locator("h1")).to_have_text("Retorno y reintegración")
    expect(page.locator("main")).to_contain_text("0 de 14 pasos resueltos")
    plan = story.ngo.ListPlans(plans_pb2.ListPlansRequest(person_id=person.id)).plans[0]
    assert all(
        "Nadie la recibe todavía Le toca a su organización" in leg for leg in leg_texts(page)
    )
    # Before she leaves: the conditions of the travel, and the receivers that are asked ahead.
    expect(row(page, "3. Viaje acompañado")).to_contain_text(
        "Antes: Valorar el riesgo antes de volver, Documento de viaje y consulado"
    )
    expect(row(page, "3. Viaje acompañado").get_by_role("button", name="Ya se hizo")).to_have_count(
        0
    )
    mark_as_done(page, "1. Valorar el riesgo")
    mark_as_done(page, "2. Documento de viaje")
    housing = refer(page, story, plan.id, "housing", "5. Un lugar seguro")
    reception = refer(page, story, plan.id, "reception", "4. Recepción")
    travel = refer(page, story, plan.id, "travel", "3. Viaje acompañado")
    leaves, arrives = NOON + 20 * DAY, NOON + 21 * DAY
    shelter.act(housing, "accept", planned_first_contact_time=arrives)
    mission.act(travel, "accept", planned_first_contact_time=leaves)
    # She does not leave before the border has accepted too.
    service.clock.set(leaves)
    refused = mission.act(travel, "start", 409, first_contact_time=leaves)
    assert (refused["reason"], refused["about"]) == ("legs_not_accepted", ["reception"])
    page.goto(f"{origin}/plans/{plan.id}")
    assert ["Le toca a" in leg for leg in leg_texts(page)] == [False, True, False]
    assert leg_texts(page)[1].endswith(
        "Puesto de El Guasaule, Nicaragua Enviada Le toca a Puesto de El Guasaule"
    )
    expect(page.locator("main")).to_contain_text(
        "Todavía no puede salir. Falta que acepte una organización activa: recepción en la frontera"
        " o el aeropuerto."
    )
    escort.goto(f"{escort.url.removesuffix('/today')}/referrals/{travel}")
    assert [leg.split(" ")[0] for leg in leg_texts(escort)] == ["Viaje", "Recepción"], (
        "its own leg and its neighbours, and no others"
    )
    expect(escort.locator("#do")).to_contain_text("Todavía no puede salir")
    border.act(reception, "accept", planned_first_contact_time=arrives)
    assert [leg["key"] for leg in border.get(reception)["legs"]] == [
        "travel",
        "reception",
        "housing",
    ]
    assert [leg.get("acting_organization_id") for leg in border.get(reception)["legs"]] == [
        ORG["mission"],
        None,
        None,
    ]
    escort.reload()
    expect(escort.locator("#do")).not_to_contain_text("Todavía no puede salir")
    mission.act(travel, "start", first_contact_time=leaves)
    # From Guatemala over the border to Chinandega.
    service.clock.set(arrives)
    border.act(reception, "start", first_contact_time=arrives)
    border.act(reception, "complete", outcome_code="fully_met")
    mission.act(travel, "complete", outcome_code="fully_met")
    page.reload()
    assert ["Le toca a Albergue Luna Nueva" in leg for leg in leg_texts(page)] == [
        False,
        False,
        True,
    ]
    # Nobody met her within a day, and the page Today shows that too.
    arrived = arrives
    service.clock.set(arrived + 2 * DAY)
    page.goto(f"{origin}/today")
    expect(page.get_by_role("list", name="Pasos atrasados")).to_contain_text(
        "Un lugar seguro para vivir"
    )
    shelter.act(housing, "start", first_contact_time=arrived + 2 * DAY)
    shelter.act(housing, "complete", outcome_code="fully_met")
    page.goto(f"{origin}/today")
    expect(page.get_by_role("list", name="Pasos atrasados")).to_have_count(0)
    page.goto(f"{origin}/plans/{plan.id}")
    expect(row(page, "5. Un lugar seguro").locator(".state").first).to_have_text("Cumplido")
    assert ["Cumplido" in leg and "Le toca" not in leg for leg in leg_texts(page)] == [True] * 3
    # She does not want a talk with her family; that is her right, and no other step waits for it.
    talk = row(page, "9. Mediación")
    talk.locator("summary").click()
    talk.get_by_label("Ella no lo quiere").check()
    talk.get_by_role("button", name="Guardar").click()
    expect(row(page, "9. Mediación").locator(".state").first).to_have_text("Ella no lo quiere")
    # Meanwhile a coordinator publishes another version, after a mistake that is reported by line.
    coordinator.goto(
        f"{coordinator.url.removesuffix('/today')}/pathways/publish?pathway=return_and_reintegration"
    )
    text = coordinator.input_value("#text")
    assert "version: 2" in text
    coordinator.fill("#text", text.replace("need: COM.MEN", "need: COM.XXX", 1))
    coordinator.get_by_role("button", name="Publicar").click()
    expect(coordinator.locator("#problems")).to_contain_text(
        "ese código no existe. «need: COM.XXX»"
    )
    coordinator.fill("#text", text.replace("es: Seguimiento al mes", "es: Visita al mes"))
    coordinator.get_by_role("button", name="Publicar").click()
    expect(coordinator.locator("main")).to_contain_text("Versión 2")
    expect(coordinator.locator("main")).to_contain_text("Visita al mes")
    # Her plan keeps its own version.
    page.reload()
    expect(page.locator("main")).to_contain_text("Seguimiento al mes")
    expect(page.locator("div.note.soon")).to_contain_text("Hay una versión 2")
    mark_as_done(page, "6. Revisión médica")
    mark_as_done(page, "7. Primeros auxilios")
    for days, steps in (
        (25, ["8. Documentos"]),
        (30, ["11. Seguimiento al mes"]),
        (85, ["10. Estudiar"]),
        (91, ["12. Seguimiento a los 3"]),
        (180, ["13. Seguimiento a los 6"]),
        (365, ["14. Seguimiento a los 12"]),
    ):
        set_time(service, page, arrived + days * DAY)
        for step in steps:
            mark_as_done(page, step)
    expect(page.locator("main")).to_contain_text("14 de 14 pasos resueltos")
    page.get_by_text("Terminar el plan").click()
    page.select_option("#reason_code", "fulfilled")
    page.get_by_role("button", name="Terminar").click()
    expect(page.locator("main")).to_contain_text("Se cumplió")
    assert story.ngo.GetPlan(plans_pb2.GetPlanRequest(id=plan.id)).pathway.version == 1

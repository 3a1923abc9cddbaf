"""A return from Guatemala to Chinandega, as in the pilot project, with the real service.

It takes a year by a settable clock. The person is handed from one organisation to the next; her
sender works in a real browser, the others over REST.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from playwright.sync_api import Browser, Page, expect

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import AUDIENCES, refusal_of
from services.gateway.site.language import i18n
from tests.builders import NOON, NOTHING_UNSAFE
from tests.gateway.api_gateway import System
from tests.gateway.pages_gateway import FakePageServices, pages, served
from tests.gateway.test_pages_in_browser import open_pages
from tests.referrals.conftest import (
    ABROAD,
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    read,
    send_request,
)
from tests.referrals.test_chain_rpc import LEGS

DAY = timedelta(days=1)


class RealStub:
    """A stub that calls the real service as a client, and raises refusals as the gateway does."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    def __getattr__(self, rpc: str) -> Callable[..., Message]:
        def call(request: Message, timeout: float = 0) -> Message:
            try:
                answer: Message = getattr(self._client(), rpc)(request)
            except grpc.RpcError as error:
                raise refusal_of(error) from None
            return answer

        return call


NAMES = {
    "ngo": "Casa Nahual",
    "mission": "Misión de retorno",
    "border": "Puesto de El Guasaule",
    "shelter": "Albergue Luna Nueva",
}


def site_of(
    client: Client, organization: str, role: contract_pb2.Role.ValueType
) -> FakePageServices:
    """Returns fake services for the site, with real people, referrals and plans."""
    services = FakePageServices()
    for stub in ("people", "referrals", "plans"):
        setattr(services, stub, RealStub(lambda: client))
    country = "GT" if organization in ABROAD else "NI"
    services.answers["IssueToken"] = m.IssueTokenResponse(
        tokens=dict.fromkeys(AUDIENCES, "t"),
        worker=m.Worker(id=client.caller.id, name="Rosa Méndez", roles=[role], language="es"),
        organization=m.OrganizationRef(
            id=ORG[organization], name=NAMES.get(organization, "Coalición"), country=country
        ),
    )
    services.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[
            d.Organization(
                id=ORG[member],
                name=name,
                country="GT" if member in ABROAD else "NI",
                status=d.ORGANIZATION_STATUS_APPROVED,
            )
            for member, name in NAMES.items()
        ]
    )
    return services


class Partner:
    """Another organisation's system, which uses REST."""

    def __init__(self, service: Service, organization: str) -> None:
        client = service.as_(organization, "WORKER")
        site = pages(site_of(client, organization, contract_pb2.ROLE_WORKER))
        self._system = System(site.test_client())

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


@contextmanager
def page_of(
    browser: Browser, service: Service, organization: str, role: str, **context: Any
) -> Iterator[Page]:
    """Yields the first page of a worker who has signed in."""
    client, code = service.as_(organization, role), contract_pb2.Role.Value(f"ROLE_{role}")
    with served(pages(site_of(client, organization, code))) as site:
        page = open_pages(browser.new_context(locale="es-NI", **context), site, True)
        page.set_default_timeout(10_000)
        yield page
        page.context.close()


@pytest.fixture
def worker(browser: Browser, service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The page of the person's own worker, on a phone."""
    monkeypatch.setattr(i18n, "now", service.clock.now)
    phone = {"width": 360, "height": 800}
    with page_of(browser, service, "ngo", "WORKER", viewport=phone) as page:
        yield page


@pytest.fixture
def escort(browser: Browser, service: Service) -> Iterator[Page]:
    """The page of the worker who escorts the person."""
    with page_of(browser, service, "mission", "WORKER") as page:
        yield page


@pytest.fixture
def coordinator(browser: Browser, service: Service) -> Iterator[Page]:
    with page_of(browser, service, "coalition", "COORDINATOR") as page:
        yield page


def row(page: Page, step: str) -> Any:
    return page.locator(".row", has_text=step).first


def mark_as_done(page: Page, step: str) -> None:
    row(page, step).get_by_role("button", name="Ya se hizo").click()
    expect(row(page, step).locator(".state").first).to_have_text("Cumplido")


def leg_texts(page: Page) -> list[str]:
    """Checks the text of the sender's leg; returns the texts of the other legs."""
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
    plan = story.ngo.GetPlan(id=plan_id)
    draft = read(story.ngo, next(step.referral_id for step in plan.steps if step.key == key))
    need, service, organization = LEGS[key]
    assert (draft.need_code, draft.person_id) == (need, plan.person_id)
    receipt = story.receipt(plan.person_id, recipient=ORG[organization], purposes=[need[:3]])
    values = {"urgency": r.URGENCY_URGENT, "service_id": SERVICE[service], **NOTHING_UNSAFE}
    draft = story.ngo.UpdateReferral(
        referral=r.Referral(id=draft.id, etag=draft.etag, **values),
        update_mask=FieldMask(paths=list(values)),
    )
    return str(story.ngo.SendReferral(send_request(draft, receipt.id)).id)


def test_a_woman_is_handed_over_on_her_way_home_and_her_plan_follows_her_for_a_year(
    worker: Page, escort: Page, coordinator: Page, story: Story, service: Service
) -> None:
    page = worker
    mission, border, shelter = (
        Partner(service, member) for member in ("mission", "border", "shelter")
    )
    person = story.person()
    origin = page.url.removesuffix("/today")
    page.goto(f"{origin}/people/{person.id}")
    page.get_by_text("Empezar un plan").click()
    page.get_by_label("Retorno y reintegración").check()
    page.get_by_role("button", name="Empezar").click()
    expect(page.locator("h1")).to_have_text("Retorno y reintegración")
    expect(page.locator("main")).to_contain_text("0 de 14 pasos resueltos")
    [plan] = story.ngo.ListPlans(person_id=person.id).plans
    assert all(
        "Nadie la recibe todavía Le toca a su organización" in leg for leg in leg_texts(page)
    )
    # Before she leaves, the page shows the conditions of the travel, and the receivers are asked.
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
    departure, arrival = NOON + 20 * DAY, NOON + 21 * DAY
    shelter.act(housing, "accept", planned_first_contact_time=arrival)
    mission.act(travel, "accept", planned_first_contact_time=departure)
    # She does not leave before the border has accepted too.
    service.clock.set(departure)
    refusal = mission.act(travel, "start", 409, first_contact_time=departure)
    assert (refusal["reason"], refusal["about"]) == ("legs_not_accepted", ["reception"])
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
        "the escort sees its own leg and the legs beside it, and no others"
    )
    expect(escort.locator("#do")).to_contain_text("Todavía no puede salir")
    border.act(reception, "accept", planned_first_contact_time=arrival)
    legs = border.get(reception)["legs"]
    assert [(leg["key"], leg.get("acting_organization_id")) for leg in legs] == [
        ("travel", ORG["mission"]),
        ("reception", None),
        ("housing", None),
    ]
    escort.reload()
    expect(escort.locator("#do")).not_to_contain_text("Todavía no puede salir")
    mission.act(travel, "start", first_contact_time=departure)
    # From Guatemala over the border to Chinandega.
    service.clock.set(arrival)
    border.act(reception, "start", first_contact_time=arrival)
    border.act(reception, "complete", outcome_code="fully_met")
    mission.act(travel, "complete", outcome_code="fully_met")
    page.reload()
    assert ["Le toca a Albergue Luna Nueva" in leg for leg in leg_texts(page)] == [
        False,
        False,
        True,
    ]
    # Nobody met her within a day, and the page Today shows the late step.
    service.clock.set(arrival + 2 * DAY)
    page.goto(f"{origin}/today")
    expect(page.get_by_role("list", name="Pasos atrasados")).to_contain_text(
        "Un lugar seguro para vivir"
    )
    shelter.act(housing, "start", first_contact_time=arrival + 2 * DAY)
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
    # Meanwhile a coordinator publishes another version; a mistake in it is reported with its line.
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
    for days, step in (
        (25, "8. Documentos"),
        (30, "11. Seguimiento al mes"),
        (85, "10. Estudiar"),
        (91, "12. Seguimiento a los 3"),
        (180, "13. Seguimiento a los 6"),
        (365, "14. Seguimiento a los 12"),
    ):
        service.clock.set(arrival + days * DAY)
        page.reload()
        mark_as_done(page, step)
    expect(page.locator("main")).to_contain_text("14 de 14 pasos resueltos")
    page.get_by_text("Terminar el plan").click()
    page.select_option("#reason_code", "fulfilled")
    page.get_by_role("button", name="Terminar").click()
    expect(page.locator("main")).to_contain_text("Se cumplió")
    assert story.ngo.GetPlan(id=plan.id).pathway.version == 1

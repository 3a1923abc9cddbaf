"""Journeys in which nobody is left without an answer.

They use a real browser, the real service and a settable clock.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from playwright.sync_api import Browser, Locator, Page, expect

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from tests.gateway.pages_gateway import pages, served
from tests.gateway.test_pages_in_browser import open_pages
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story, history, read
from tests.referrals.test_plan_journey import RealStub, site_of

H, M = timedelta(hours=1), timedelta(minutes=1)
ROLES = {"WORKER": contract_pb2.ROLE_WORKER, "COORDINATOR": contract_pb2.ROLE_COORDINATOR}


@dataclass
class Actor:
    """A worker who uses the site on a phone."""

    page: Page
    site: str
    client: Client

    def open(self, path: str) -> Locator:
        """Opens a page; returns its main part."""
        self.page.goto(self.site + path)
        return self.page.locator("main")

    def open_referral(self, referral: r.Referral) -> Locator:
        return self.open(f"/referrals/{referral.id}")


@dataclass
class Network:
    """The members of the journeys.

    The NGO refers, the shelter and the clinic receive, and the coalition coordinates.
    """

    story: Story
    service: Service
    ngo: Actor
    shelter: Actor
    clinic: Actor
    coordinator: Actor

    def advance(self, span: timedelta) -> None:
        """Advances the clock, and fires the deadlines."""
        self.service.fire_after(span)


@pytest.fixture
def network(
    browser: Browser, service: Service, story: Story, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Network]:
    monkeypatch.setattr(i18n, "now", service.clock.now)
    with ExitStack() as stack:

        def actor(organization: str, role: str) -> Actor:
            client = service.as_(organization, role)
            services = site_of(client, organization, ROLES[role])
            setattr(services, "references", RealStub(service.public))  # noqa: B010
            clinic_beds = d.Service(
                id=SERVICE["clinic_visit"],
                organization_id=ORG["clinic"],
                organization_name="Clínica",
                name="Camas",
                active=True,
                need_codes=["HOU.EMG"],
            )
            services.answers["MatchServices"] = d.MatchServicesResponse(
                matches=[d.Match(service=clinic_beds, verdict=d.VERDICT_FITS)]
            )
            services.answers["BatchGet"] = d.BatchGetResponse(services=[clinic_beds])
            site = stack.enter_context(served(pages(services)))
            page = open_pages(
                browser.new_context(locale="es-NI", viewport={"width": 390, "height": 840}),
                site,
                True,
            )
            page.set_default_timeout(10_000)
            stack.callback(page.context.close)
            return Actor(page, site, client)

        yield Network(
            story,
            service,
            actor("ngo", "WORKER"),
            actor("shelter", "WORKER"),
            actor("clinic", "WORKER"),
            actor("coalition", "COORDINATOR"),
        )


def press(page: Page, name: str) -> None:
    """Presses a button, or a link that looks like one."""
    page.get_by_role("button", name=name, exact=True).or_(
        page.get_by_role("link", name=name, exact=True)
    ).first.click()


def take_step(page: Page, step: str, **answers: str) -> None:
    """Opens the form of a step, fills it in, and submits it."""
    page.locator(f"#form-{step} > summary").click()
    form = page.locator(f"form#{step}")
    for name, answer in answers.items():
        if name == "note":
            form.locator(f"[name={name}]").fill(answer)
        else:
            form.locator(f"[name={name}][value={answer}]").check()
    form.get_by_role("button").click()


def current_referral(network: Network, referral: r.Referral) -> r.Referral:
    return read(network.story.ngo, referral.id)


def refer_to_clinic(network: Network, returned: r.Referral) -> r.Referral:
    """Sends the person of a returned referral to the clinic.

    This takes one press, one choice, and the consent for the clinic.
    """
    story, page = network.story, network.ngo.page
    network.ngo.open_referral(returned)
    press(page, "Buscar otro servicio")
    press(page, "Ver qué otros servicios hay")
    expect(page.locator("main")).to_contain_text("Camas")
    page.get_by_role("button", name="Elegir").first.click()
    expect(page).to_have_url(re.compile("/consent"))
    draft = read(story.ngo, current_referral(network, returned).following_id)
    assert (draft.based_on_id, draft.need_code, draft.urgency) == (
        returned.id,
        returned.need_code,
        returned.urgency,
    )
    receipt = story.receipt(draft.person_id, recipient=ORG["clinic"])
    change = r.Referral(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    story.ngo.UpdateReferral(referral=change, update_mask=FieldMask(paths=["receipt_id"]))
    network.ngo.open(f"/referrals/{draft.id}/check")
    press(page, "Enviar la remisión")
    expect(page.locator("main")).to_contain_text("Enviada")
    return current_referral(network, draft)


def test_a_shelter_that_never_answers_is_reminded_escalated_and_replaced_by_another(
    network: Network,
) -> None:
    story, ngo = network.story, network.ngo
    sent = story.sent()
    # The shelter has an hour to acknowledge and a day to decide, and does neither.
    network.advance(31 * M)
    expect(network.shelter.open_referral(sent)).to_contain_text("29 min")
    network.advance(35 * M)
    expect(ngo.open_referral(sent)).to_contain_text("6 min de atraso")
    network.advance(30 * M)
    expect(network.coordinator.open("/board")).to_contain_text(sent.code)
    events = history(story.ngo, sent.id)
    assert [event.verb for event in events if event.clock == r.CLOCK_KIND_ACKNOWLEDGE] == [
        "clock_reminded",
        "clock_breached",
        "clock_escalated",
    ]
    network.advance(46.5 * H)
    expect(ngo.open_referral(sent)).to_contain_text("Venció sin respuesta")
    expect(ngo.open("/today")).to_contain_text(sent.code)
    expect(network.coordinator.open("/board")).to_contain_text(sent.code)
    # Asking the other service takes one press, and nothing has to be typed again.
    referral = refer_to_clinic(network, sent)
    expect(ngo.open("/today")).not_to_contain_text(sent.code)
    accept_and_complete(network.clinic.client, network.service, referral)
    assert current_referral(network, referral).state == r.STATE_COMPLETED
    ngo.open_referral(referral)
    take_step(ngo.page, "close", help_came_code="yes")
    expect(ngo.page.locator("main")).to_contain_text("Anotado")
    assert current_referral(network, referral).state == r.STATE_CLOSED
    assert not current_referral(network, sent).unanswered


def start_and_complete(client: Client, service: Service, accepted: r.Referral) -> None:
    """Begins and completes the help for a referral, as its receiver."""
    started = client.StartReferral(
        id=accepted.id, etag=accepted.etag, first_contact_time=service.clock.now()
    )
    client.CompleteReferral(id=accepted.id, etag=started.etag, outcome_code=r.OUTCOME_FULLY_MET)


def accept_and_complete(client: Client, service: Service, sent: r.Referral) -> None:
    """Accepts a referral, begins the help and completes it, as its receiver."""
    accepted = client.AcceptReferral(
        id=sent.id, etag=sent.etag, planned_first_contact_time=service.clock.now()
    )
    start_and_complete(client, service, accepted)


def test_a_sender_refers_again_with_one_press_to_the_service_that_a_decline_names(
    network: Network,
) -> None:
    sent = network.story.sent()
    network.shelter.client.DeclineReferral(
        id=sent.id,
        etag=sent.etag,
        reason_code=r.DECLINE_REASON_NO_CAPACITY,
        alternative_service_id=SERVICE["clinic_visit"],
    )
    main = network.ngo.open_referral(sent)
    expect(main).to_contain_text("No la pudieron recibir")
    expect(main).to_contain_text("Camas")
    referral = refer_to_clinic(network, sent)
    assert (referral.state, referral.service_id) == (r.STATE_SENT, SERVICE["clinic_visit"])


def test_an_open_question_is_the_senders_turn_until_it_is_answered(network: Network) -> None:
    story, ngo = network.story, network.ngo
    sent = story.sent()
    story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=r.QUESTION_DATES, note="when does she come?"
    )
    expect(ngo.open_referral(sent)).to_contain_text("responder la pregunta")
    network.advance(95 * M)
    expect(ngo.open_referral(sent)).to_contain_text("35 min de atraso")
    expect(ngo.open("/today")).to_contain_text(sent.code)
    expect(network.coordinator.open("/board")).to_contain_text(sent.code)
    network.advance(60 * 24 * H)  # the need never expires, and never leaves the list
    assert current_referral(network, sent).state == r.STATE_INFO_REQUESTED
    expect(ngo.open("/today")).to_contain_text(sent.code)
    ngo.open_referral(sent)
    take_step(ngo.page, "answer", note="tomorrow at noon")
    expect(ngo.page.locator("main")).to_contain_text("Respuesta enviada")
    answered = current_referral(network, sent)
    assert answered.state == r.STATE_ACKNOWLEDGED
    deadline = next(clock for clock in answered.clocks if clock.kind == r.CLOCK_KIND_DECIDE)
    assert deadline.due_time.seconds - network.service.clock.now().timestamp() == 24 * 3600, (
        "the time that the question took is added"
    )


def test_the_answer_that_help_did_not_come_reopens_the_referral_and_notifies_the_receiver(
    browser: Browser, network: Network
) -> None:
    story, service = network.story, network.service
    operator = service.as_("hotline", "OPERATOR")
    call = story.contact(safe_place_tonight=c.ANSWER_NO)
    line = Story(service, operator, story.shelter, story.coordinator, story.numbers)
    accepted = line.accepted(contact_id=call.contact.id)
    start_and_complete(story.shelter, service, accepted)
    network.advance(3 * 24 * H)
    page = browser.new_context(locale="es-NI").new_page()
    page.goto(f"{network.shelter.site}/my-referral")
    page.fill("#reference", call.reference)
    page.fill("#pin", "4821")
    press(page, "Ver")
    press(page, "No me llegó")
    expect(page.locator("main")).to_contain_text("Gracias")
    page.context.close()
    expect(network.shelter.open_referral(accepted)).to_contain_text(
        "Se reabrió: la ayuda no había llegado"
    )
    reopened = read(operator, accepted.id)
    assert (reopened.state, reopened.turn) == (r.STATE_IN_PROGRESS, r.TURN_RECEIVER)
    assert [clock.kind for clock in reopened.clocks if not clock.HasField("stop_time")] == [
        r.CLOCK_KIND_SILENCE
    ]

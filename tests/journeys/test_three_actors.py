"""A night in the network.

The actors are an operator of the line, a shelter worker, a coordinator, and the caller herself.
Everything is real: the browser, the pages, the services, the databases and the facts between them.
No JavaScript is needed, so it is switched off.
"""

import re

from playwright.sync_api import expect

from tests.journeys.actors import Actors, Caller, Operator, ShelterWorker
from tests.parts.local_stack import LocalStack


def test_a_caller_at_midnight_gets_a_bed_and_can_look_up_the_answer(actors: Actors) -> None:
    operator = actors.enter_as(Operator, "operadora@llamayvive.demo")
    caller = actors.enter_as(Caller)
    reference, pin = operator.takes_a_contact_without_a_name()
    referral = operator.refers_the_caller_to("Albergue Luna Nueva")
    code = operator.page.locator("main .code").first.inner_text()
    caller.reads(reference, pin, "Ya se pidió")

    shelter = actors.enter_as(ShelterWorker, "albergue@lunanueva.demo")
    shelter.finds_it_on_today(code)
    shelter.goes_to(referral)
    shelter.sees("taxi")
    shelter.sees("No la contacte: nadie puede llamarla.")
    shelter.accepts()
    shelter.opens("Yolanda")
    caller.reads(reference, pin, "Dijeron que sí")

    coordinator = actors.enter("coordinacion@coalicion.demo")
    coordinator.goes_to("/board")
    coordinator.goes_to(referral)
    coordinator.sees("Quien ve toda la red no ve quién es.")
    assert "Yolanda" not in coordinator.page.content()
    assert "taxi" not in coordinator.page.content()

    operator.goes_to(referral)
    operator.finds_it("Aceptada")
    shelter.goes_to(referral)
    shelter.begins_and_completes()

    caller.reads(reference, pin, "¿Le llegó la ayuda?")
    caller.presses("Sí, me llegó")
    operator.goes_to(referral)
    operator.finds_it("Cerrada")


def test_an_emergency_needs_a_second_person_and_ends_when_the_caller_withdraws_her_consent(
    actors: Actors,
) -> None:
    operator = actors.enter_as(Operator, "operadora@llamayvive.demo")
    reference, pin = operator.takes_a_contact_without_a_name()
    operator.drafts_a_referral_to("Albergue Luna Nueva")
    referral = operator.sends_in_an_emergency("Espera en la terminal, no puede hablar.")
    assert operator.page.get_by_role("button", name="Confirmar la emergencia").count() == 0

    head = actors.enter("jefa@llamayvive.demo")
    head.goes_to(referral)
    head.presses("Confirmar la emergencia")
    head.sees("Otra persona confirmó la emergencia")

    shelter = actors.enter_as(ShelterWorker, "albergue@lunanueva.demo")
    shelter.goes_to(referral)
    shelter.sees("Espera en la terminal")
    shelter.opens("Yolanda")

    caller = actors.enter_as(Caller)
    caller.reads(reference, pin, "Ahora 1 organización puede abrir")
    caller.unfolds("Ya no quiero que vean mis datos")
    caller.presses("Retirar mi permiso")
    caller.sees("ninguna otra organización puede abrir ya sus datos")
    caller.sees("Quien abrió su expediente lo conserva")
    shelter.goes_to(referral)
    shelter.finds_it("Consentimiento retirado")
    assert "terminal" not in shelter.page.content()
    assert shelter.page.get_by_text("Abrir sus datos").count() == 0

    operator.goes_to(referral)
    operator.sees("Se retiró el consentimiento")


def test_a_consent_can_be_recorded_after_an_emergency(actors: Actors) -> None:
    operator = actors.enter_as(Operator, "operadora@llamayvive.demo")
    operator.takes_a_contact_without_a_name()
    operator.drafts_a_referral_to("Albergue Luna Nueva")
    referral = operator.sends_in_an_emergency("Espera en la terminal.")
    operator.presses("Registrar su consentimiento")
    operator.records_her_consent("identity")
    operator.sees("Se registró un consentimiento nuevo")
    assert operator.where() == referral
    assert "Los datos se cierran" not in operator.page.content()


def test_a_wrong_pin_and_an_unknown_reference_get_the_same_answer(
    actors: Actors, stack: LocalStack
) -> None:
    caller = actors.enter_as(Caller)
    demo = stack.demo["references"][0]
    wrong_pin = "0000" if demo["pin"] != "0000" else "1111"
    answers = set()
    for reference, pin in ((demo["reference"], wrong_pin), ("ZZZZZZZZ", "1234")):
        caller.looks_up(reference, pin)
        answers.add(caller.page.locator("#problem").inner_text())
    assert len(answers) == 1


def test_another_members_referral_looks_like_a_referral_that_does_not_exist(actors: Actors) -> None:
    stranger = actors.enter("salud@somoto.demo")
    operator = actors.enter("operadora@llamayvive.demo")
    operator.goes_to("/referrals")
    paths = [link.get_attribute("href") or "" for link in operator.page.locator("main a").all()]
    path = next(path for path in paths if re.fullmatch("/referrals/[0-9a-f]{32}", path))
    stranger.goes_to(path)
    refusal_text = stranger.main.inner_text()
    stranger.goes_to("/referrals/" + "0" * 32)
    assert stranger.main.inner_text() == refusal_text


def test_one_click_leaves_every_page_and_ends_the_session(actors: Actors) -> None:
    operator = actors.enter("operadora@llamayvive.demo")
    operator.page.route(
        re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.fulfill(body="weather")
    )
    operator.page.get_by_text("Salir ya").first.click()
    # the page is gone before she tries to come back
    expect(operator.page).not_to_have_url(re.compile(r"^http://127\.0\.0\.1"))
    operator.goes_to("/today")
    expect(operator.page.locator("#password")).to_be_visible()


def test_anybody_reads_the_figures_of_the_network_and_narrows_them(actors: Actors) -> None:
    reader = actors.enter()
    reader.goes_to("/")
    reader.presses("Cifras de la red")
    reader.sees("las cifras, es inventado")  # the figures of the demo network are made up
    reader.sees("ayudas recibidas, al menos")
    reader.page.select_option("#country", "HN")
    reader.presses("Filtrar")
    reader.sees("México → Honduras")
    expect(reader.page.get_by_text("El Salvador → Nicaragua")).to_have_count(0)


def test_the_pilot_of_2006_shows_its_published_totals(actors: Actors) -> None:
    coordinator = actors.enter("coordinacion@coalicion.demo")
    coordinator.goes_to("/figures")
    coordinator.presses("El piloto de 2006")
    coordinator.sees("26")
    coordinator.sees("13")

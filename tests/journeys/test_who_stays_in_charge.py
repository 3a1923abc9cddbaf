"""A person stays in charge of what is known about her.

She calls in Costa Rica, is received in Chinandega, and withdraws her consent at the line of another
country. Everything is real: the browser, the pages, the services, the databases and the
facts between them. No JavaScript is needed, so it is switched off.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.journeys import typed
from tests.journeys.actors import Actor, Actors, Caller, Operator, ShelterWorker
from tests.journeys.typed import marked


def asks_for_a_bed_in_chinandega(line: Operator) -> str:
    """Sends an enquiry from the open contact; returns the path of the enquiry.

    The enquiry asks in another country than that of the line.
    """
    line.presses("Preguntar a varios")
    line.page.select_option("[name=country]", "NI")
    line.page.select_option("[name=department]", "NI-CI")
    line.page.select_option("[name=age_band]", "18-24")
    line.page.select_option("[name=gender_code]", "Feminine")
    line.page.fill("[name=dependants]", "0")
    line.chooses("unsafe_code", "nothing")
    line.presses("Ver a quién se preguntaría")
    line.sees("Nicaragua")
    line.presses("Preguntar ahora")
    line.sees("sin respuesta")
    return line.where()


def says_who_she_is(line: Operator) -> None:
    """Gives the person's name, which an enquiry never asks."""
    line.presses("Empezar la remisión")
    line.unfolds("Quién es")
    line.page.fill("[name=given_name]", marked("Marlene"))
    line.page.fill("[name=phone]", typed.phone())
    line.chooses("channel_code", "phone")
    line.page.fill("[name=hours]", marked("Solo por la mañana"))
    line.page.fill("[name=code_word]", marked("mariposa"))
    line.presses("^Seguir$")


def withdraws_consent(line: Operator, reference: str, pin: str) -> None:
    """Withdraws the consent in the person's name, with the reference and PIN that she gives."""
    line.searches_for(reference, pin)
    line.sees("Ahora 1 organización puede abrir")
    line.unfolds("Ya no quiero que vean mis datos")
    line.presses("Retirar mi permiso")
    line.sees("ninguna otra organización puede abrir ya sus datos")


def opens_nothing(shelter: ShelterWorker, referral: str, open_page: Actor) -> None:
    """Checks that no data can be opened, on a new page or on a page that was left open."""
    open_page.page.locator("details", has_text="Elegir qué abrir").last.locator("summary").click()
    open_page.presses("Abrir y dejar constancia")
    open_page.sees("Ahora no hay datos de ella que usted pueda abrir")
    shelter.goes_to(referral)
    shelter.finds_it("Consentimiento retirado")
    for actor in (shelter, open_page):
        for word in ("Marlene", "mariposa", "terminal"):
            assert word not in actor.page.content()
    assert shelter.page.get_by_text("Abrir sus datos").count() == 0
    assert shelter.page.get_by_text("Ver cómo contactarla").count() == 0


@pytest.mark.timeout(180)
def test_she_withdraws_her_consent_at_another_line_and_reads_that_the_data_are_destroyed(
    actors: Actors,
) -> None:
    costa_rica = actors.enter_as(Operator, "operadora-cr@llamayvive.demo")
    nicaragua = actors.enter_as(Operator, "operadora@llamayvive.demo")
    shelter = actors.enter_as(ShelterWorker, "albergue@lunanueva.demo")
    open_page = actors.enter("albergue@lunanueva.demo")
    caller = actors.enter_as(Caller)

    reference, pin = costa_rica.takes_a_contact_without_a_name()
    caller.reads(reference, pin, "Ahora no hay nada pedido")
    enquiry = asks_for_a_bed_in_chinandega(costa_rica)
    shelter.goes_to(enquiry)
    shelter.presses("^Sí")
    shelter.sees("Respuesta enviada")
    costa_rica.goes_to(enquiry)
    costa_rica.sees("1 sí")
    costa_rica.presses("^Tomar")

    says_who_she_is(costa_rica)
    costa_rica.records_her_consent("identity", "contact", "notes")
    costa_rica.sees("Revise y envíe")
    costa_rica.page.fill("[name=note]", marked("Baja del bus en la terminal a las seis."))
    costa_rica.presses("Enviar la remisión")
    costa_rica.finds_it("Enviada")
    referral = costa_rica.where()
    costa_rica.presses("Ver su expediente")
    person = costa_rica.where()
    costa_rica.goes_to(f"{person}/knows")
    costa_rica.sees("Albergue Luna Nueva")
    costa_rica.sees("Hasta el")
    costa_rica.sees("Nunca.")

    shelter.goes_to(referral)
    shelter.sees("Baja del bus")
    shelter.accepts()
    shelter.opens("Marlene")
    shelter.fills_in("start")  # the person has arrived
    shelter.finds_it("En curso")
    caller.reads(reference, pin, "Ahora 1 organización puede abrir")
    caller.presses("Ver la lista")
    caller.sees("Albergue")
    open_page.goes_to(referral)
    code = open_page.page.locator("main .code").first.inner_text()

    withdraws_consent(nicaragua, reference, pin)
    opens_nothing(shelter, referral, open_page)
    caller.reads(reference, pin, "Tienen que confirmar hasta")
    shelter.finds_it_on_today(code)
    costa_rica.goes_to(f"{person}/knows")
    costa_rica.sees("Se retiró el")
    costa_rica.sees("Tienen que confirmar hasta")

    shelter.goes_to(referral)
    shelter.fills_in("confirm_deletion")
    shelter.sees("Confirmado: su organización ya no guarda nada de ella.")
    costa_rica.goes_to(f"{person}/knows")
    costa_rica.sees("Confirmaron el")
    costa_rica.goes_to(referral)
    costa_rica.sees("Se retiró el consentimiento")
    caller.reads(reference, pin, "Confirmaron el")
    expect(caller.main).not_to_contain_text(re.compile("puede abrir|Luna Nueva"))

"""A person stays in charge of what is known about her.

She calls in Costa Rica, is received in Chinandega, and withdraws her consent at the line of another
country. Everything is real: the browser, the pages, the services, the databases and the
facts between them. No JavaScript is needed, so it is switched off.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.journeys import typed
from tests.journeys.test_three_actors import Actor, Caller, Operator, ShelterWorker
from tests.journeys.typed import hers
from tests.parts.local_stack import LocalStack


def asks_for_a_bed_in_chinandega(line: Operator) -> str:
    """Sends an enquiry from the open contact; returns the address of the enquiry.

    The enquiry is for another country than that of the line.
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
    line.sees("sin respuesta todavía")
    return line.where()


def says_who_she_is(line: Operator) -> None:
    """Gives the person's name, the one thing that an enquiry never asks."""
    line.presses("Empezar la remisión")
    line.page.locator("summary", has_text="Quién es").click()
    line.page.fill("[name=given_name]", hers("Marlene"))
    line.page.fill("[name=phone]", typed.phone())
    line.chooses("channel_code", "phone")
    line.page.fill("[name=hours]", hers("Solo por la mañana"))
    line.page.fill("[name=code_word]", hers("mariposa"))
    line.presses("^Seguir$")


def takes_it_back(line: Operator, reference: str, pin: str) -> None:
    """Withdraws the consent in the person's name, with the reference and PIN that she gives."""
    line.goes_to("/search")
    line.page.fill("main #q", reference)
    line.page.press("main #q", "Enter")
    line.page.fill("#pin", pin)
    line.page.press("#pin", "Enter")
    line.sees("Ahora 1 organización puede abrir")
    line.page.locator("details", has_text="Ya no quiero que vean mis datos").locator(
        "summary"
    ).click()
    line.presses("Retirar mi permiso")
    line.sees("ninguna otra organización puede abrir ya sus datos")


def opens_nothing(shelter: ShelterWorker, referral: str, stale: Actor) -> None:
    """Checks that no data can be opened, on the present page or on a page that was left open."""
    stale.page.locator("details", has_text="Elegir qué abrir").last.locator("summary").click()
    stale.presses("Abrir y dejar constancia")
    stale.sees("Aquí no hay nada")
    shelter.goes_to(referral)
    shelter.finds_it("Consentimiento retirado")
    for actor in (shelter, stale):
        for word in ("Marlene", "mariposa", "terminal"):
            assert word not in actor.page.content()
    assert shelter.page.get_by_text("Abrir sus datos").count() == 0
    assert shelter.page.get_by_text("Ver cómo contactarla").count() == 0


@pytest.mark.timeout(180)
def test_she_withdraws_her_consent_at_another_line_and_reads_that_the_data_are_destroyed(
    browser: Browser, stack: LocalStack
) -> None:
    costa_rica, nicaragua = Operator(browser, stack), Operator(browser, stack)
    shelter, stale, herself = (
        ShelterWorker(browser, stack),
        ShelterWorker(browser, stack),
        Caller(browser, stack),
    )
    costa_rica.signs_in("operadora-cr@llamayvive.demo")
    nicaragua.signs_in("operadora@llamayvive.demo")
    shelter.signs_in("albergue@lunanueva.demo")
    stale.signs_in("albergue@lunanueva.demo")

    reference, pin = costa_rica.takes_a_contact_without_a_name()
    herself.hears(reference, pin, "Ahora no hay nada pedido")
    enquiry = asks_for_a_bed_in_chinandega(costa_rica)
    shelter.goes_to(enquiry)
    shelter.presses("^Sí")
    shelter.sees("Respuesta enviada")
    costa_rica.goes_to(enquiry)
    costa_rica.sees("1 sí")
    costa_rica.presses("^Tomar")

    says_who_she_is(costa_rica)
    costa_rica.keeps_her_consent("identity", "contact", "notes")
    costa_rica.sees("Revise y envíe")
    costa_rica.page.fill("[name=note]", hers("Baja del bus en la terminal a las seis."))
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
    herself.hears(reference, pin, "Ahora 1 organización puede abrir")
    herself.presses("Ver la lista")
    herself.sees("Albergue")
    stale.goes_to(referral)
    code = stale.page.locator("main .code").first.inner_text()

    takes_it_back(nicaragua, reference, pin)
    opens_nothing(shelter, referral, stale)
    herself.hears(reference, pin, "Tienen que confirmar hasta")
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
    costa_rica.sees("La persona retiró su consentimiento")
    herself.hears(reference, pin, "Confirmaron el")
    expect(herself.page.get_by_role("main")).not_to_contain_text(
        re.compile("puede abrir|Luna Nueva")
    )
    for actor in (costa_rica, nicaragua, shelter, stale, herself):
        actor.leaves()

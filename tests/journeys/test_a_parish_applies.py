"""A parish becomes a member.

It applies on the public page, a coordinator admits it and records the evidence that she saw, two
coordinators approve it, and its manager signs in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect

from chassis.ids import new_id
from tests.journeys.test_first_manager import PASSWORD, link_for, opens
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack

CONFIRM = re.compile(r"/join/confirm\?lang=\w+#[\w-]{43}")
EVIDENCE = ("registration", "references", "references", "safeguarding_policy", "agreement")


def applies(browser: Browser, stack: LocalStack, name: str, email: str) -> None:
    """Applies on the public page, to which the first page links, and with the e-mail that follows.

    Everything works without a script.
    """
    parish = Actor(browser, stack)
    parish.goes_to("/")
    parish.page.get_by_role("link", name="Mi organización quiere entrar a la red").click()
    parish.page.fill("#name", name)
    parish.page.select_option("#type", "religious")
    parish.page.fill("#contact_name", "Persona de prueba")
    parish.page.fill("#contact_email", email)
    parish.page.fill("#statement", "Nos piden ayuda y no sabemos a quién llamar")
    parish.presses("Enviar el pedido")
    parish.sees("Falta un paso: le enviamos un correo.")
    path, _, secret = link_for(stack, email, CONFIRM).partition("#")
    parish.goes_to(path)
    parish.page.fill("#token", secret)  # without a script it is pasted
    parish.presses("Confirmar el pedido")
    parish.sees("Recibimos su pedido. Su referencia es")
    parish.sees("en 14 días a más tardar")
    parish.leaves()


@pytest.mark.timeout(240)
def test_a_parish_becomes_a_member(browser: Browser, stack: LocalStack) -> None:
    name, email = f"Parroquia <i>{new_id()[:8]}</i>", f"parroquia-{new_id()[:8]}@ejemplo.example"
    applies(browser, stack, name, email)

    first = Actor(browser, stack)
    first.signs_in("coordinacion@coalicion.demo")
    first.goes_to("/directory/members")
    first.page.get_by_role("link", name=f"Contestar {name}").click()
    first.sees("Persona de prueba")
    place = first.page.url.removeprefix(stack.gateway)
    worker = Actor(browser, stack)
    worker.signs_in("trabajadora@puentes.demo")
    worker.goes_to(place)
    expect(worker.page.get_by_role("main")).not_to_contain_text("Parroquia")
    worker.leaves()

    first.presses("Admitir a prueba")
    for number, kind in enumerate(EVIDENCE):
        first.page.locator("summary", has_text="Anotar lo que vio").click()
        first.page.select_option("#kind", kind)
        first.page.fill("#reference", f"EXP-{number}")
        first.page.fill("#seen_date", str(datetime.now(UTC).date() - timedelta(days=1)))
        if kind == "agreement":
            first.page.fill("#expire_date", str(datetime.now(UTC).date() + timedelta(days=365)))
        first.presses("^Anotar$")
    first.presses("^Aprobar$")
    first.sees("Usted la aprobó: falta otra persona de la coordinación.")
    first.leaves()

    second = Actor(browser, stack)
    second.signs_in("segunda@coalicion.demo")
    second.goes_to(place)
    second.presses("^Aprobar$")
    second.sees("Suspender")
    second.page.locator("summary", has_text="Invitar a quien la dirigirá").click()
    second.page.fill("#email", email)
    second.presses("Enviar la invitación")
    second.sees("El enlace le llega solo a esa persona")
    second.leaves()

    page = browser.new_context(locale="es-NI").new_page()
    page.goto(stack.gateway + link_for(stack, email))
    opens(page)
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Entrar").click()
    expect(page.locator(".account summary")).to_contain_text(name)
    page.goto(stack.gateway + place)
    expect(page.get_by_role("main")).to_contain_text("El convenio con la red vale hasta el")
    page.context.close()
    for log in stack.logs.iterdir():
        assert email not in log.read_text(), log.name

"""A parish becomes a member.

It applies on the public page, a coordinator admits it and records the evidence that she saw, two
coordinators approve it, and its manager signs in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from chassis.ids import new_id
from tests.journeys.accounts import PASSWORD, invites, link_for, opens_account
from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import LocalStack

CONFIRM = re.compile(r"/join/confirm\?lang=\w+#[\w-]{43}")
EVIDENCE = ("registration", "references", "references", "safeguarding_policy", "agreement")


def applies(parish: Actor, stack: LocalStack, name: str, email: str) -> None:
    """Applies on the public page, to which the first page links, and with the e-mail that follows.

    Everything works without a script.
    """
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


@pytest.mark.timeout(240)
def test_a_parish_becomes_a_member(actors: Actors, stack: LocalStack) -> None:
    name, email = f"Parroquia <i>{new_id()[:8]}</i>", f"parroquia-{new_id()[:8]}@ejemplo.example"
    applies(actors.enter(), stack, name, email)

    first = actors.enter("coordinacion@coalicion.demo")
    first.goes_to("/directory/members")
    first.page.get_by_role("link", name=f"Contestar {name}").click()
    first.sees("Persona de prueba")
    place = first.where()
    worker = actors.enter("trabajadora@puentes.demo")
    worker.goes_to(place)
    worker.sees_no("Parroquia")

    first.presses("Admitir a prueba")
    for number, kind in enumerate(EVIDENCE):
        first.unfolds("Anotar lo que vio")
        first.page.select_option("#kind", kind)
        first.page.fill("#reference", f"EXP-{number}")
        first.page.fill("#seen_date", str(datetime.now(UTC).date() - timedelta(days=1)))
        if kind == "agreement":
            first.page.fill("#expire_date", str(datetime.now(UTC).date() + timedelta(days=365)))
        first.presses("^Anotar$")
    first.presses("^Aprobar$")
    first.sees("Usted la aprobó: falta otra persona de la coordinación.")

    second = actors.enter("segunda@coalicion.demo")
    second.goes_to(place)
    second.presses("^Aprobar$")
    second.sees("Suspender")
    invites(second, "Invitar a quien la dirigirá", email)

    manager = actors.enter(scripts=True)
    manager.goes_to(link_for(stack, email))
    opens_account(manager)
    manager.types_password(email, PASSWORD)
    expect(manager.page.locator(".account summary")).to_contain_text(name)
    manager.goes_to(place)
    manager.sees("El convenio con la red vale hasta el")
    for log in stack.logs.iterdir():
        assert email not in log.read_text(), log.name

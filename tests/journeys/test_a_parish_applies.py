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
    """Applies on the public page, and confirms with the secret of the e-mail, without a script."""
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
    parish.page.fill("#token", secret)  # without a script, the applicant pastes the secret
    parish.presses("Confirmar el pedido")
    parish.sees("Recibimos su pedido. Su referencia es")
    parish.sees("en 14 días a más tardar")


@pytest.mark.timeout(240)
def test_a_parish_becomes_a_member(actors: Actors, stack: LocalStack) -> None:
    name, email = f"Parroquia <i>{new_id()[:8]}</i>", f"parroquia-{new_id()[:8]}@ejemplo.example"
    applies(actors.enter(), stack, name, email)

    first_coordinator = actors.enter("coordinacion@coalicion.demo")
    first_coordinator.goes_to("/directory/members")
    first_coordinator.page.get_by_role("link", name=f"Contestar {name}").click()
    first_coordinator.sees("Persona de prueba")
    path = first_coordinator.where()
    worker = actors.enter("trabajadora@puentes.demo")
    worker.goes_to(path)
    worker.sees_no("Parroquia")

    first_coordinator.presses("Admitir a prueba")
    for number, kind in enumerate(EVIDENCE):
        first_coordinator.unfolds("Anotar lo que vio")
        first_coordinator.page.select_option("#kind", kind)
        first_coordinator.page.fill("#reference", f"EXP-{number}")
        first_coordinator.page.fill("#seen_date", str(datetime.now(UTC).date() - timedelta(days=1)))
        if kind == "agreement":
            first_coordinator.page.fill(
                "#expire_date", str(datetime.now(UTC).date() + timedelta(days=365))
            )
        first_coordinator.presses("^Anotar$")
    first_coordinator.presses("^Aprobar$")
    first_coordinator.sees("Usted la aprobó: falta otra persona de la coordinación.")

    second_coordinator = actors.enter("segunda@coalicion.demo")
    second_coordinator.goes_to(path)
    second_coordinator.presses("^Aprobar$")
    second_coordinator.sees("Suspender")
    invites(second_coordinator, "Invitar a quien la dirigirá", email)

    manager = actors.enter(scripts=True)
    manager.goes_to(link_for(stack, email))
    opens_account(manager)
    manager.types_password(email, PASSWORD)
    expect(manager.page.locator(".account summary")).to_contain_text(name)
    manager.goes_to(path)
    manager.sees("El convenio con la red vale hasta el")
    for log in stack.logs.iterdir():
        assert email not in log.read_text(), log.name

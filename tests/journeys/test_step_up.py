"""A manager who signed in a while ago invites somebody.

She proves again who she is, and nothing that she typed is lost. Then she changes her password and
ends access that she did not create.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from chassis.tokens import LEEWAY, LIFETIME
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack


def a_while_later(stack: LocalStack, email: str) -> None:
    """Moves the account's last proof back by eleven minutes."""
    with stack.database("partners") as database:
        database.execute(
            "UPDATE sessions SET prove_time = now() - interval '11 minutes'"
            " WHERE worker_id = (SELECT id FROM workers WHERE email = %s)",
            (email,),
        )


@pytest.mark.timeout(240)
def test_a4_a_worker_who_signed_in_a_while_ago_proves_herself_again_and_her_form_continues(
    browser: Browser, stack: LocalStack
) -> None:
    account = stack.account("gestion@lunanueva")
    manager = Actor(browser, stack)
    manager.signs_in(account["email"])
    manager.goes_to("/members")
    a_while_later(stack, account["email"])
    page = manager.page
    # her last token still contains the fresh proof
    page.wait_for_timeout((LIFETIME.total_seconds() + LEEWAY) * 1000)
    page.locator("summary", has_text="Invitar a alguien").click()
    page.fill("#email", "nueva@ejemplo.demo")
    manager.presses("Enviar la invitación")
    manager.sees("Confirme que es usted")
    assert "nueva@" not in page.content(), "the typed values are sealed"
    assert "nueva" not in page.url
    page.fill("#password", "no es esta frase")
    manager.presses("^Seguir$")
    manager.sees("No es correcto")
    page.fill("#password", account["password"])
    manager.presses("^Seguir$")
    manager.sees("nueva@ejemplo.demo")
    assert page.url.endswith("/members?done=invited")

    manager.goes_to("/account/made")
    manager.sees("nueva@ejemplo.demo")
    manager.presses("Terminar lo marcado")
    manager.sees("Terminado.")
    manager.goes_to("/members")
    assert "nueva@ejemplo.demo" not in page.content()
    manager.leaves()

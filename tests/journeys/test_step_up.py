"""A manager who signed in a while ago invites somebody.

She proves again who she is, and nothing that she typed is lost. Then she ends the invitation on the
page of everything that her account has created.
"""

from __future__ import annotations

import pytest

from chassis.tokens import LEEWAY, LIFETIME
from tests.journeys.actors import Actors
from tests.parts.local_stack import LocalStack


def age_proof(stack: LocalStack, email: str) -> None:
    """Moves the account's last proof back by eleven minutes."""
    with stack.database("partners") as database:
        database.execute(
            "UPDATE sessions SET prove_time = now() - interval '11 minutes'"
            " WHERE worker_id = (SELECT id FROM workers WHERE email = %s)",
            (email,),
        )


@pytest.mark.timeout(240)
def test_a_worker_who_signed_in_a_while_ago_proves_herself_again_and_her_form_continues(
    actors: Actors, stack: LocalStack
) -> None:
    account = stack.account("gestion@lunanueva")
    manager = actors.enter(account["email"])
    manager.goes_to("/members")
    age_proof(stack, account["email"])
    page = manager.page
    # her last token still contains the fresh proof
    page.wait_for_timeout((LIFETIME.total_seconds() + LEEWAY) * 1000)
    manager.unfolds("Invitar a alguien")
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

"""An auditor turns on codes from an app on her phone, and signs in with one.

She then loses the phone, and signs in with a spare code.
"""

from __future__ import annotations

import pytest

from tests.journeys.accounts import code_now, shown_codes
from tests.journeys.actors import Actors
from tests.parts.local_stack import LocalStack

EMAIL = "auditoria@coalicion.demo"


@pytest.mark.timeout(120)
def test_an_auditor_with_a_second_factor_signs_in_only_with_a_code_or_a_spare_code(
    actors: Actors, stack: LocalStack
) -> None:
    password = stack.account(EMAIL)["password"]
    auditor = actors.enter(EMAIL)
    auditor.goes_to("/account")
    page = auditor.page
    auditor.unfolds("Pedir un código para entrar")
    page.fill("#begin-password", password)
    auditor.presses("^Seguir$")
    assert page.locator("svg.qr").bounding_box(), "the code for the app is on the screen"
    codes = shown_codes(page)
    page.fill("#code", "000000")
    auditor.presses("Empezar a pedirlo")
    auditor.sees("no es")
    page.fill("#code", code_now(codes))
    auditor.presses("Empezar a pedirlo")
    spare_codes = page.locator(".readout li").all_inner_texts()
    assert len(spare_codes) == 10
    auditor.sees("Le quedan 10 códigos de repuesto")
    auditor.goes_to("/account")
    assert spare_codes[0] not in page.content(), "the spare codes are shown once"

    someone = actors.enter()

    def types_password() -> None:
        someone.goes_to("/sign-in?to=/account")
        someone.page.fill("#email", EMAIL)
        someone.page.fill("#password", password)
        someone.presses("^Entrar$")
        someone.sees("Código para entrar")

    def types_code(code: str) -> None:
        someone.page.fill("#code", code)
        someone.presses("^Entrar$")

    types_password()
    assert "s" not in {cookie["name"] for cookie in someone.context.cookies()}, (
        "the password alone opens no session"
    )
    types_code("123")
    someone.sees("Ese código no sirve")
    types_code(code_now(codes, later=30))  # the time step after that of the used code
    someone.sees("Mi cuenta")
    assert someone.where() == "/account"

    someone.context.clear_cookies()
    types_password()
    types_code(spare_codes[3])
    someone.sees("Le quedan 9 códigos de repuesto")
    someone.unfolds("Dejar de pedirlo")
    someone.page.fill("#end-password", password)
    someone.presses("^Dejar de pedirlo$")
    someone.sees("Guardado")
    actors.enter(EMAIL)

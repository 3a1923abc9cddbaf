"""An auditor turns on codes from an app on her phone, and signs in with one.

She then loses the phone, and signs in with a spare code.
"""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Browser

from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack

EMAIL = "auditoria@coalicion.demo"


@pytest.mark.timeout(120)
def test_somebody_with_only_the_password_cannot_sign_in(
    browser: Browser, stack: LocalStack
) -> None:
    password = next(
        account["password"] for account in stack.demo["accounts"] if account["email"] == EMAIL
    )
    auditor = Actor(browser, stack)
    auditor.signs_in(EMAIL)
    auditor.goes_to("/account")
    page = auditor.page
    page.locator("summary", has_text="Pedir un código para entrar").click()
    page.fill("#begin-password", password)
    auditor.presses("^Seguir$")
    assert page.locator("svg.qr").bounding_box(), "the code for the app is on the screen"
    codes = TOTP(
        base64.b32decode("".join(page.locator("section p.code").inner_text().split())),
        6,
        SHA1(),
        30,
    )
    page.fill("#code", "000000")
    auditor.presses("Empezar a pedirlo")
    auditor.sees("no es")
    page.fill("#code", codes.generate(int(time.time())).decode())
    auditor.presses("Empezar a pedirlo")
    spare = page.locator(".readout li").all_inner_texts()
    assert len(spare) == 10
    auditor.sees("Le quedan 10 códigos de repuesto")
    auditor.goes_to("/account")
    assert spare[0] not in page.content(), "shown once"
    auditor.leaves()

    second_actor = Actor(browser, stack)
    screen = second_actor.page

    def types_password() -> None:
        screen.goto(f"{stack.gateway}/sign-in?to=/account")
        screen.fill("#email", EMAIL)
        screen.fill("#password", password)
        screen.get_by_role("main").get_by_role("button", name="Entrar").click()
        second_actor.sees("Código para entrar")

    types_password()
    assert "s" not in {cookie["name"] for cookie in screen.context.cookies()}, (
        "the password alone opens no session"
    )
    screen.fill("#code", "123")
    second_actor.presses("^Entrar$")
    second_actor.sees("Ese código no sirve")
    # the time step after the used one
    screen.fill("#code", codes.generate(int(time.time()) + 30).decode())
    second_actor.presses("^Entrar$")
    second_actor.sees("Mi cuenta")
    assert screen.url.endswith("/account")

    screen.context.clear_cookies()
    types_password()
    screen.fill("#code", spare[3])
    second_actor.presses("^Entrar$")
    second_actor.sees("Le quedan 9 códigos de repuesto")
    screen.locator("summary", has_text="Dejar de pedirlo").click()
    screen.fill("#end-password", password)
    second_actor.presses("^Dejar de pedirlo$")
    second_actor.sees("Guardado")
    second_actor.leaves()
    after = Actor(browser, stack)
    after.signs_in(EMAIL)
    after.leaves()

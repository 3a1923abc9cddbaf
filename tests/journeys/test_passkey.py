"""A worker makes a passkey on her phone.

She signs in with the passkey alone, and with both passkey and password. A real browser holds the
passkey.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import LocalStack


def add_authenticator(page: Page) -> None:
    """Adds an authenticator to the browser, as a phone has one."""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def types_password(worker: Actor, account: dict[str, str]) -> None:
    worker.page.fill("#email", account["email"])
    worker.page.fill("#password", account["password"])
    worker.presses("^Entrar$")


@pytest.mark.timeout(120)
def test_a_worker_signs_in_with_a_passkey_on_her_phone(actors: Actors, stack: LocalStack) -> None:
    account = stack.account("albergue@lunanueva")
    sign_in = f"{stack.gateway.replace('127.0.0.1', 'localhost')}/sign-in?to=/account"
    worker = actors.enter(scripts=True)
    page = worker.page
    add_authenticator(page)
    page.goto(sign_in)
    types_password(worker, account)
    worker.unfolds("Agregar una llave")
    page.fill("#passkey-label", "Teléfono del turno")
    page.fill("#passkey-password", account["password"])
    worker.presses("^Seguir$")
    page.get_by_text("Guardado").wait_for()
    worker.sees("Teléfono del turno")
    worker.sees("Todavía no se usó")

    page.context.clear_cookies()
    page.goto(sign_in)
    page.get_by_role("button", name="Entrar con una llave de acceso").click()
    page.wait_for_url("**/account")
    worker.sees("Última vez")

    page.context.clear_cookies()
    page.goto(sign_in)
    types_password(worker, account)
    page.wait_for_url("**/account")

    worker.unfolds("Quitar una llave")
    page.fill("#end-passkey-password", account["password"])
    worker.presses("^Quitarla$")
    worker.sees("Guardado")
    page.context.clear_cookies()
    page.goto(sign_in)
    posted_urls = list[str]()
    page.on(
        "request",
        lambda request: posted_urls.append(request.url) if request.method == "POST" else None,
    )
    page.get_by_role("button", name="Entrar con una llave de acceso").click()
    worker.sees("no sirve para entrar aquí")
    page.wait_for_load_state("networkidle")  # half a second without a request
    worker.sees("no sirve para entrar aquí")
    assert [url.rpartition("/")[2] for url in posted_urls] == ["passkey", "code"], (
        "a page that reports a failure does not ask again by itself"
    )

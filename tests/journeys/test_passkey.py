"""A worker makes a passkey on her phone.

She signs in with the passkey alone, and with both passkey and password. A real browser holds the
passkey.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack


def device(page: Page, *, verified: bool = True) -> None:
    """Adds an authenticator to the browser, as a phone has one."""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verified,
        "automaticPresenceSimulation": True,
    }
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})


@pytest.mark.timeout(120)
def test_a_worker_signs_in_with_a_passkey_on_her_phone(browser: Browser, stack: LocalStack) -> None:
    account = next(
        account for account in stack.demo["accounts"] if account["email"].startswith("albergue@")
    )
    site = stack.gateway.replace("127.0.0.1", "localhost")
    worker = Actor(browser, stack, scripts=True)
    page = worker.page
    device(page)
    page.goto(f"{site}/sign-in?to=/account")
    page.fill("#email", account["email"])
    page.fill("#password", account["password"])
    page.get_by_role("main").get_by_role("button", name="Entrar", exact=True).click()
    page.locator("summary", has_text="Agregar una llave").click()
    page.fill("#passkey-label", "Teléfono del turno")
    page.fill("#passkey-password", account["password"])
    worker.presses("^Seguir$")
    page.get_by_text("Guardado").wait_for()
    worker.sees("Teléfono del turno")
    worker.sees("Todavía no se usó")

    page.context.clear_cookies()
    page.goto(f"{site}/sign-in?to=/account")
    page.get_by_role("button", name="Entrar con una llave de acceso").click()
    page.wait_for_url("**/account")
    worker.sees("Última vez")

    page.context.clear_cookies()
    page.goto(f"{site}/sign-in?to=/account")
    page.fill("#email", account["email"])
    page.fill("#password", account["password"])
    page.get_by_role("main").get_by_role("button", name="Entrar", exact=True).click()
    page.wait_for_url("**/account")

    page.locator("summary", has_text="Quitar una llave").click()
    page.fill("#end-passkey-password", account["password"])
    worker.presses("^Quitarla$")
    worker.sees("Guardado")
    page.context.clear_cookies()
    page.goto(f"{site}/sign-in?to=/account")
    sent = list[str]()
    page.on(
        "request", lambda request: sent.append(request.url) if request.method == "POST" else None
    )
    page.get_by_role("button", name="Entrar con una llave de acceso").click()
    worker.sees("no sirve para entrar aquí")
    page.wait_for_load_state("networkidle")  # half a second without a request
    worker.sees("no sirve para entrar aquí")
    assert [url.rpartition("/")[2] for url in sent] == ["passkey", "code"], (
        "a page that reports a failure does not ask again by itself"
    )
    worker.leaves()

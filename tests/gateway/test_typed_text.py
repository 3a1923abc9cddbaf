"""Text that is typed into a form is neither cut unnoticed nor lost with the connection."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.gateway.pages_gateway import ID, FakePageServices, pages, served
from tests.gateway.test_pages_in_browser import open_pages, open_window


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(pages(FakePageServices())) as address:
        yield address


def test_a_text_area_states_the_remaining_space_and_that_a_pasted_text_was_cut(
    browser: Browser, site: str
) -> None:
    context = browser.new_context(locale="es-NI")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = open_pages(context, site, as_user=True)
    page.goto(f"{site}/line/{ID}")
    note, remaining_hint = page.locator("#note"), page.locator("#note + .limit")

    def paste(text: str) -> None:
        page.evaluate("text => navigator.clipboard.writeText(text)", text)
        note.press("Control+v")

    note.fill("x" * 1799)
    expect(remaining_hint).to_be_empty()
    note.press("End")
    note.press("y")
    expect(remaining_hint).to_have_text("Caracteres que todavía caben: 200.")
    paste("a" * 200)
    expect(remaining_hint).to_have_text("Llegó al límite: no cabe más.")
    paste("dos")
    expect(remaining_hint).to_have_text(
        "No cabe todo: se cortó a los 2000 caracteres. Revise el final."
    )
    note.fill("x")
    expect(remaining_hint).to_be_empty()
    paste("línea\n" * 400)
    expect(remaining_hint).to_have_text(
        "No cabe todo: se cortó a los 2000 caracteres. Revise el final."
    )
    expect(note).to_have_value("x" + ("línea\n" * 400)[:1999])
    context.close()


@pytest.mark.parametrize("claims_offline", [False, True])
def test_a_form_sent_without_a_connection_keeps_what_was_typed(
    browser: Browser, site: str, claims_offline: bool
) -> None:
    with open_window(browser, site, as_user=False) as page:
        if claims_offline:  # as on a computer without a network that runs the server itself
            page.add_init_script("Object.defineProperty(navigator, 'onLine', {value: false})")
        page.goto(f"{site}/my-referral")
        page.fill("#reference", "W43P-VWJF")
        page.fill("#pin", "4821")
        page.context.set_offline(True)
        page.click("main button")
        expect(page.locator("main .limit")).to_contain_text("Sin conexión: no se envió.")
        expect(page.locator("#reference")).to_have_value("W43P-VWJF")
        page.context.set_offline(False)
        page.click("main button")
        expect(page.locator("h1")).to_have_text("Así va su pedido")

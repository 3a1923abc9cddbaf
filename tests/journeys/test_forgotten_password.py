"""Two workers regain access to their accounts.

One forgets her password and signs in again through her mailbox. The other also loses her phone, and
signs in again with the help of her organisation's manager.
"""

from __future__ import annotations

import base64
import re
import time

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Browser, expect

from chassis.ids import new_id
from protos.notifications.v1.notifications_pb2 import ListDevelopmentMailsRequest
from tests.journeys.test_first_manager import link_for
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack, until

FIRST, SECOND = "nube tambor escalera limon", "ventana arroz martillo gris"
LINK = re.compile(r"/reset\?lang=\w+#[\w-]{43}")


@pytest.fixture
def email(browser: Browser, stack: LocalStack) -> str:
    """The e-mail of a new worker of Luna Nueva, who opened her own account."""
    address = f"nueva-{new_id()[:8]}@lunanueva.example"
    manager = Actor(browser, stack)
    manager.signs_in("gestion@lunanueva.demo")
    manager.goes_to("/members")
    manager.page.locator("summary", has_text="Invitar a alguien").click()
    manager.page.fill("#email", address)
    manager.presses("Enviar la invitación")
    manager.sees("El enlace le llega solo a esa persona")
    manager.leaves()
    worker = Actor(browser, stack)
    worker.goes_to("/invitation")
    worker.page.fill("#token", link_for(stack, address).partition("#")[2])
    worker.page.fill("#name", "Petrona Lacayo")
    worker.page.fill("#password", FIRST)
    worker.presses("Abrir la cuenta")
    worker.sees("Su cuenta está lista")
    worker.leaves()
    return address


def mails(stack: LocalStack, address: str) -> list[str]:
    listed = (
        stack.worker("gestion@lunanueva")
        .notifications.ListDevelopmentMails(ListDevelopmentMailsRequest())
        .mails
    )
    return [f"{mail.subject}\n{mail.body}" for mail in listed if mail.recipient == address]


def enters(actor: Actor, address: str, password: str) -> None:
    actor.goes_to("/sign-in")
    actor.page.fill("#email", address)
    actor.page.fill("#password", password)
    actor.presses("^Entrar$")


def request_link(actor: Actor, address: str) -> str:
    """Requests a new password through the site's links; returns the text of the page."""
    actor.goes_to("/sign-in")
    actor.page.get_by_role("link", name="¿Olvidó la contraseña?").click()
    actor.page.fill("#email", address)
    actor.presses("Enviar el enlace")
    actor.sees("Si esa dirección es de una cuenta")
    return actor.page.get_by_role("main").inner_text()


def chooses(actor: Actor, password: str) -> None:
    actor.page.fill("#password", password)
    actor.page.fill("#again", password)
    actor.presses("Cambiar la contraseña")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_worker_who_forgot_her_password_signs_in_again_by_her_mailbox(
    browser: Browser, stack: LocalStack, email: str, script: bool
) -> None:
    elsewhere = Actor(browser, stack)
    enters(elsewhere, email, FIRST)
    expect(elsewhere.page.locator(".account summary")).to_contain_text("Petrona Lacayo")

    she = Actor(browser, stack, scripts=script)
    nobody = f"nadie-{new_id()[:8]}@lunanueva.example"
    assert request_link(she, nobody) == request_link(she, email), (
        "the answer is the same for everybody"
    )
    until(lambda: any(LINK.search(mail) for mail in mails(stack, email)), 30)
    [link] = [links[0] for mail in mails(stack, email) if (links := LINK.findall(mail))]
    secret = link.partition("#")[2]
    requests: list[str] = []
    she.page.on("request", lambda request: requests.append(request.url + str(request.headers)))
    she.goes_to(link)
    if script:
        expect(she.page.locator("#token")).to_be_hidden()
        assert secret not in she.page.url, "taken out of the address, and so out of the history"
    else:
        she.page.fill("#token", secret)
    chooses(she, "password1234")
    she.sees("se adivinan pronto")
    chooses(she, SECOND)
    she.sees("Contraseña cambiada")
    assert [url for url in requests if secret in url] == [], (
        "no address and no header that the browser sent held it"
    )

    elsewhere.goes_to("/today")
    expect(elsewhere.page.locator("#password")).to_be_visible()  # other sessions have ended
    elsewhere.leaves()
    enters(she, email, FIRST)
    she.sees("no son correctos")
    enters(she, email, SECOND)
    expect(she.page.locator(".account summary")).to_contain_text("Petrona Lacayo")
    until(lambda: any("Cambió la contraseña" in mail for mail in mails(stack, email)), 30)
    she.goes_to("/inbox")
    she.sees("Cambió la contraseña de su cuenta")

    second_actor = Actor(browser, stack)
    second_actor.goes_to("/reset")
    second_actor.page.fill("#token", secret)
    chooses(second_actor, FIRST)
    second_actor.sees("Este enlace no sirve")
    second_actor.leaves()
    she.leaves()
    assert mails(stack, nobody) == []
    for log in stack.logs.iterdir():
        text = log.read_text()
        assert not [word for word in (secret, email, nobody, SECOND) if word in text], log.name


@pytest.mark.timeout(180)
def test_a_worker_who_lost_her_phone_signs_in_again_with_her_managers_help(
    browser: Browser, stack: LocalStack, email: str
) -> None:
    she = Actor(browser, stack)
    enters(she, email, FIRST)
    expect(she.page.locator(".account summary")).to_contain_text("Petrona Lacayo")
    she.goes_to("/account")
    she.page.locator("summary", has_text="Pedir un código para entrar").click()
    she.page.fill("#begin-password", FIRST)
    she.presses("^Seguir$")
    codes = TOTP(
        base64.b32decode("".join(she.page.locator("section p.code").inner_text().split())),
        6,
        SHA1(),
        30,
    )
    she.page.fill("#code", codes.generate(int(time.time())).decode())
    she.presses("Empezar a pedirlo")
    she.sees("Le quedan 10 códigos de repuesto")

    lost = Actor(browser, stack)
    enters(lost, email, FIRST)
    lost.sees("Hable con quien dirige su organización")
    manager = Actor(browser, stack)
    manager.signs_in("gestion@lunanueva.demo")
    manager.goes_to("/members")
    row = manager.page.locator("tr", has_text=email)
    row.locator("summary", has_text="Perdió su código o su llave").click()
    row.get_by_label("Hablé con ella y sé que es ella").check()
    row.get_by_role("button", name="Quitarlos").click()
    manager.sees("Le avisamos por correo")
    manager.leaves()

    she.goes_to("/today")
    expect(she.page.locator("#password")).to_be_visible()  # other sessions of hers have ended
    enters(lost, email, FIRST)
    expect(lost.page.locator(".account summary")).to_contain_text("Petrona Lacayo")
    until(
        lambda: any("Quien dirige su organización quitó" in mail for mail in mails(stack, email)),
        30,
    )
    lost.goes_to("/inbox")
    lost.sees("Quien dirige su organización quitó su código")
    lost.leaves()
    she.leaves()

"""Two workers regain access to their accounts.

One forgets her password and signs in again through her mailbox. The other also loses her phone, and
signs in again with the help of her organisation's manager.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from chassis.ids import new_id
from tests.journeys.accounts import (
    code_now,
    invites,
    link_for,
    mails,
    opens_account,
    shown_codes,
    wait_for_mail,
)
from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import LocalStack, until

FIRST_PASSWORD, SECOND_PASSWORD = "nube tambor escalera limon", "ventana arroz martillo gris"
LINK = re.compile(r"/reset\?lang=\w+#[\w-]{43}")


@pytest.fixture
def email(actors: Actors, stack: LocalStack) -> str:
    """The e-mail of a new worker of Luna Nueva, who opened her own account."""
    address = f"nueva-{new_id()[:8]}@lunanueva.example"
    manager = actors.enter("gestion@lunanueva.demo")
    manager.goes_to("/members")
    invites(manager, "Invitar a alguien", address)
    worker = actors.enter()
    worker.goes_to("/invitation")
    worker.page.fill("#token", link_for(stack, address).partition("#")[2])
    opens_account(worker, password=FIRST_PASSWORD)
    worker.sees("Su cuenta está lista")
    return address


def request_link(actor: Actor, address: str) -> str:
    """Requests a link for a new password through the site's pages; returns the text of the page."""
    actor.goes_to("/sign-in")
    actor.page.get_by_role("link", name="¿Olvidó la contraseña?").click()
    actor.page.fill("#email", address)
    actor.presses("Enviar el enlace")
    actor.sees("Si esa dirección es de una cuenta")
    return actor.main.inner_text()


def assert_signed_in(actor: Actor) -> None:
    expect(actor.page.locator(".account summary")).to_contain_text("Petrona Lacayo")


def assert_signed_out(actor: Actor) -> None:
    """Checks that a page leads to the sign-in, as soon as the session's last token has ended."""

    def sees_sign_in() -> bool:
        actor.goes_to("/today")
        return actor.page.locator("#password").is_visible()

    until(sees_sign_in, 30)


def chooses_password(actor: Actor, password: str) -> None:
    actor.page.fill("#password", password)
    actor.page.fill("#again", password)
    actor.presses("Cambiar la contraseña")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_worker_who_forgot_her_password_signs_in_again_through_her_mailbox(
    actors: Actors, stack: LocalStack, email: str, script: bool
) -> None:
    other_session = actors.enter()
    other_session.types_password(email, FIRST_PASSWORD)
    assert_signed_in(other_session)

    worker = actors.enter(scripts=script)
    unknown_email = f"nadie-{new_id()[:8]}@lunanueva.example"
    assert request_link(worker, unknown_email) == request_link(worker, email), (
        "the answer is the same for everybody"
    )
    link = link_for(stack, email, LINK)
    secret = link.partition("#")[2]
    requests: list[str] = []
    worker.page.on("request", lambda request: requests.append(request.url + str(request.headers)))
    worker.goes_to(link)
    if script:
        expect(worker.page.locator("#token")).to_be_hidden()
        assert secret not in worker.page.url, "the secret stays neither in address nor history"
    else:
        worker.page.fill("#token", secret)
    chooses_password(worker, "password1234")
    worker.sees("se adivinan pronto")
    chooses_password(worker, SECOND_PASSWORD)
    worker.sees("Contraseña cambiada")
    assert [request for request in requests if secret in request] == [], (
        "no request of the browser contained the secret"
    )

    assert_signed_out(other_session)  # other sessions have ended
    worker.types_password(email, FIRST_PASSWORD)
    worker.sees("no son correctos")
    worker.types_password(email, SECOND_PASSWORD)
    assert_signed_in(worker)
    wait_for_mail(stack, email, "Cambió la contraseña")
    worker.goes_to("/inbox")
    worker.sees("Cambió la contraseña de su cuenta")

    late_visitor = actors.enter()
    late_visitor.goes_to("/reset")
    late_visitor.page.fill("#token", secret)
    chooses_password(late_visitor, FIRST_PASSWORD)
    late_visitor.sees("Este enlace no sirve")
    assert mails(stack, unknown_email) == []
    for log in stack.logs.iterdir():
        text = log.read_text()
        assert not [
            word for word in (secret, email, unknown_email, SECOND_PASSWORD) if word in text
        ], log.name


@pytest.mark.timeout(180)
def test_a_worker_who_lost_her_phone_signs_in_again_with_her_managers_help(
    actors: Actors, stack: LocalStack, email: str
) -> None:
    worker = actors.enter()
    worker.types_password(email, FIRST_PASSWORD)
    assert_signed_in(worker)
    worker.goes_to("/account")
    worker.unfolds("Pedir un código para entrar")
    worker.page.fill("#begin-password", FIRST_PASSWORD)
    worker.presses("^Seguir$")
    worker.page.fill("#code", code_now(shown_codes(worker.page)))
    worker.presses("Empezar a pedirlo")
    worker.sees("Le quedan 10 códigos de repuesto")

    without_phone = actors.enter()
    without_phone.types_password(email, FIRST_PASSWORD)
    without_phone.sees("Hable con quien dirige su organización")
    manager = actors.enter("gestion@lunanueva.demo")
    manager.goes_to("/members")
    row = manager.page.locator("tr", has_text=email)
    row.locator("summary", has_text="Perdió su código o su llave").click()
    row.get_by_label("Hablé con esa persona y sé que es quien dice ser").check()
    row.get_by_role("button", name="Quitarlos").click()
    manager.sees("Le avisamos por correo")

    assert_signed_out(worker)  # her other sessions have ended
    without_phone.types_password(email, FIRST_PASSWORD)
    assert_signed_in(without_phone)
    wait_for_mail(stack, email, "Quien dirige su organización quitó")
    without_phone.goes_to("/inbox")
    without_phone.sees("Quien dirige su organización quitó su código")

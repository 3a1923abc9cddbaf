"""Accounts in journeys: invitations, the links in e-mails, and codes from an app."""

from __future__ import annotations

import base64
import re
import time

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Page

from protos.notifications.v1.notifications_pb2 import DevelopmentMail, ListDevelopmentMailsRequest
from tests.journeys.actors import Actor
from tests.parts.local_stack import LocalStack, until

PASSWORD = "una clave que nadie más sabe"
INVITATION = re.compile(r"/invitation\?lang=\w+#[\w-]{43}")


def mails(stack: LocalStack, email: str) -> list[DevelopmentMail]:
    """Returns the e-mails to this address, read from the development outbox."""
    reader = stack.worker("gestion@lunanueva").notifications
    all_mails = reader.ListDevelopmentMails(ListDevelopmentMailsRequest()).mails
    return [mail for mail in all_mails if mail.recipient == email]


def wait_for_mail(stack: LocalStack, email: str, words: str) -> None:
    """Waits for an e-mail to this address that contains these words."""
    until(lambda: any(words in f"{mail.subject}\n{mail.body}" for mail in mails(stack, email)), 30)


def link_for(stack: LocalStack, email: str, pattern: re.Pattern[str] = INVITATION) -> str:
    """Waits for the only link of this kind in the e-mails to an address, and returns it."""

    def links() -> list[str]:
        return [link for mail in mails(stack, email) for link in pattern.findall(mail.body)]

    until(lambda: bool(links()), 30)
    [link] = links()
    return link


def invites(actor: Actor, form: str, email: str) -> None:
    """Sends an invitation with the form of this title on the open page."""
    actor.unfolds(form)
    actor.page.fill("#email", email)
    actor.presses("Enviar la invitación")
    actor.sees("El enlace le llega solo a esa persona")
    assert not INVITATION.search(actor.page.content())


def opens_account(actor: Actor, name: str = "Petrona Lacayo", password: str = PASSWORD) -> None:
    actor.page.fill("#name", name)
    actor.page.fill("#password", password)
    actor.presses("Abrir la cuenta")


def shown_codes(page: Page) -> TOTP:
    """Returns the generator of codes whose secret the page shows."""
    secret = "".join(page.locator("section p.code").inner_text().split())
    return TOTP(base64.b32decode(secret), 6, SHA1(), 30)


def code_now(codes: TOTP, later: int = 0) -> str:
    """Returns the code that is valid now, or `later` seconds from now."""
    return codes.generate(int(time.time()) + later).decode()

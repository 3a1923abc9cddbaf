"""A mail server that records the e-mails it receives and gives the test's answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_string
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Post:
    """A mail server that gives answers for RCPT and DATA one by one, and then accepts.

    `before_data` has the answers to the command DATA itself, which come before the e-mail. A
    connection carries at most `maximum` e-mails; the server refuses the next one, or hangs up.
    """

    rcpt: list[str] = field(default_factory=list)
    before_data: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    maximum: int | None = None
    greeting: str = ""  # the answer to EHLO and HELO, if it is a refusal
    hangs_up: bool = False
    sessions: list[Session] = field(default_factory=list)  # the session of each e-mail
    envelopes: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)
    on_arrival: Callable[[], object] = lambda: None

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, name: str, answers: list[str]
    ) -> list[str]:
        session.host_name = name
        return [self.greeting] if self.greeting else answers

    async def handle_HELO(
        self, server: SMTP, session: Session, envelope: Envelope, name: str
    ) -> str:
        session.host_name = name
        return self.greeting or "250 OK"

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.sessions.append(session)
        if self.maximum is not None and self.sessions.count(session) > self.maximum:
            if self.hangs_up:
                hang_up(server)
            return "421 too many e-mails in this connection"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data:
            return self.data.pop(0)
        self.on_arrival()
        with self.arrived:
            self.envelopes.append(envelope)
            self.arrived.notify_all()
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def wait_for(self, count: int) -> None:
        """Waits until this many e-mails have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.envelopes) >= count, 10), (
                f"{len(self.envelopes)} of {count} arrived"
            )

    def recipients(self) -> list[list[str]]:
        """Returns the addresses of each e-mail, in the order of arrival."""
        return [envelope.rcpt_tos for envelope in self.envelopes]

    def text(self, number: int = 0) -> str:
        content = self.envelopes[number].content
        assert isinstance(content, bytes)
        return content.decode()

    def lines(self, number: int) -> list[str]:
        """Returns the decoded lines of an e-mail."""
        message = message_from_string(self.text(number), policy=default)
        return str(message.get_content()).splitlines()

    def message_id(self, number: int) -> str:
        return str(message_from_string(self.text(number))["Message-ID"])


def hang_up(server: SMTP) -> None:
    assert server.transport
    server.transport.close()


class RefusingSmtp(SMTP):
    """The dialogue of Post, with its answers to the command DATA."""

    async def smtp_DATA(self, arg: str) -> None:
        if self.event_handler.before_data:
            await self.push(self.event_handler.before_data.pop(0))
            if self.event_handler.hangs_up:
                hang_up(self)
        else:
            await super().smtp_DATA(arg)


class PostController(Controller):
    """Runs a Post with RefusingSmtp."""

    def factory(self) -> SMTP:
        return RefusingSmtp(self.handler, **self.SMTP_kwargs)

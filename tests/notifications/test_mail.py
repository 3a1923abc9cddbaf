"""E-mails: their text is neutral, and a real SMTP server in this process receives them.

A temporary failure is retried, and the coordinators are notified if nobody was reached.
"""

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from chassis import metrics
from chassis.config import WrongSettings
from chassis.db import Transaction
from chassis.supervisor import Loop
from local.process import free_port
from protos.notifications.v1 import facts_pb2
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import config
from services.notifications.channels.mail import MailSender, Smtp
from services.notifications.domain.mail_server import MailServer, server_of
from services.notifications.domain.texts import Mail
from services.notifications.store import mail_folder
from services.notifications.usecases.sending import EMAIL_LEASE
from tests.builders import refusal
from tests.notifications.conftest import COALITION, OTHER, PUBLIC_URL, RECEIVER, SENDER, Service
from tests.parts.loops import NEVER, OFTEN, eventually, running

FROM = "enlace@coalicion.example"


@dataclass
class Post:
    """A mail server that gives answers for RCPT and DATA one by one, and then accepts.

    `before_data` has the answers to the command DATA itself, which come before the e-mail. With
    `most` a connection carries so many e-mails; then the server refuses, or just hangs up.
    """

    rcpt: list[str] = field(default_factory=list)
    before_data: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    most: int | None = None
    greeting: str = ""  # the answer to EHLO and HELO, if it is a refusal
    hangs_up: bool = False
    started: list[Session] = field(default_factory=list)  # the session of each e-mail begun
    got: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)
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
        self.started.append(session)
        if self.most is not None and self.started.count(session) > self.most:
            if self.hangs_up:
                hang_up(server)
            return "421 too many e-mails in this connection"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt and not (answer := self.rcpt.pop(0)).startswith("250"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data and not (answer := self.data.pop(0)).startswith("250"):
            return answer
        self.on_arrival()
        with self.arrived:
            self.got.append(envelope)
            self.arrived.notify_all()
        self.encrypted.append(session.ssl is not None)
        self.sessions.add(id(session))
        return "250 OK"

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, 10), (
                f"{len(self.got)} of {count} came"
            )

    def text(self, number: int = 0) -> str:
        content = self.got[number].content
        assert isinstance(content, bytes)
        return content.decode()


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


@pytest.fixture
def post() -> Iterator[Post]:
    created = Post(port=free_port("127.0.0.1"))
    controller = PostController(created, hostname="127.0.0.1", port=created.port)
    controller.start()
    yield created
    controller.stop()


def smtp(service: Service, post: Post) -> Smtp:
    return Smtp(MailServer("127.0.0.1", post.port), FROM, service.clock, timeout=3)


def emails(service: Service) -> list[dict[str, Any]]:
    return service.rows(
        "SELECT status, attempts, tries, last_code, last_error, next_attempt_time FROM deliveries"
        " WHERE channel = 'email' ORDER BY create_time"
    )


def test_the_desk_gets_one_neutral_email_with_one_link(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    fact = service.hear("sent")
    assert service.send_mails(smtp(service, post)) == 1
    [envelope] = post.got
    assert (envelope.mail_from, envelope.rcpt_tos) == (FROM, ["mesa@ong.example"])
    text = post.text()
    assert "Subject: Tiene una tarea en Enlace\r\n" in text
    assert text.count("http") == text.count(f"{PUBLIC_URL}/referrals/{fact.subject}\r\n") == 1
    assert not [word for word in ("HOU", SENDER, RECEIVER) if word in text]
    [mail] = emails(service)
    assert (mail["status"], mail["attempts"], mail["last_code"]) == ("DELIVERED", 1, 250)
    assert service.send_mails(smtp(service, post)) == 0


def test_an_email_is_in_the_language_of_the_desk(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "mesa@ong.example", "fr")
    service.hear("sent")
    service.send_mails(smtp(service, post))
    assert "Content-Language: fr\r\n" in post.text()


def test_a_message_to_desk_and_worker_makes_one_email(service: Service, post: Post) -> None:
    service.desk(SENDER, "mesa@ong.example")
    service.hear("accepted", sender_worker_id="f" * 32)
    assert service.send_mails(smtp(service, post)) == 1


def test_an_email_to_the_coordinators_goes_to_the_desks_of_active_coordinators(
    service: Service, post: Post
) -> None:
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    service.desk(OTHER, "otra@ong.example")
    service.hear("sent", override_used=True)
    service.send_mails(smtp(service, post))
    assert [envelope.rcpt_tos for envelope in post.got] == [["coordinacion@coalicion.example"]]


def test_a_batch_is_sent_in_one_smtp_session(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(5):
        service.hear("sent")
    assert service.send_mails(smtp(service, post)) == 5
    assert len(post.got) == 5
    assert len(post.sessions) == 1


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_server_that_limits_the_emails_of_a_connection_gets_all_of_a_batch(
    service: Service, post: Post, hangs_up: bool
) -> None:
    post.most, post.hangs_up = 2, hangs_up
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(5):
        service.hear("sent")
    assert service.send_mails(smtp(service, post)) == 5
    assert [(row["status"], row["attempts"]) for row in emails(service)] == [("DELIVERED", 1)] * 5
    assert (len(post.got), len({id(session) for session in post.started})) == (5, 3)


def test_a_server_that_accepts_no_email_at_all_is_asked_once_for_each_batch(
    service: Service, post: Post
) -> None:
    post.most = 0
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(3):
        service.hear("sent")
    service.send_mails(smtp(service, post))
    assert {row["status"] for row in emails(service)} == {"RETRYING"}
    assert sorted(row["last_code"] for row in emails(service)) == [0, 0, 421]
    assert len(post.started) == 1


def test_an_email_is_not_given_up_because_the_server_refuses_the_greeting(
    service: Service, post: Post
) -> None:
    post.greeting = "550 not from this address"
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    service.send_mails(smtp(service, post))
    [row] = emails(service)
    assert (row["status"], row["last_code"]) == ("RETRYING", 550)


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_refusal_before_the_text_does_not_affect_the_next_email(
    service: Service, post: Post, hangs_up: bool
) -> None:
    post.hangs_up = hangs_up
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(2):
        service.hear("sent")
        service.advance(seconds=1)
    post.before_data.append("451 greylisted, come back later")
    service.send_mails(smtp(service, post))
    assert [(row["status"], row["last_code"]) for row in emails(service)] == [
        ("RETRYING", 451),
        ("DELIVERED", 250),
    ]


def test_the_loop_sends_retries_when_due_and_emails_whose_announcement_was_lost(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, next_email_time = list[datetime | None](), service.sending.next_email_time

    def next_time(connection: Transaction) -> datetime | None:
        pauses.append(next_email_time(connection))
        return pauses[-1]

    monkeypatch.setattr(service.sending, "next_email_time", next_time)

    def sender(read_again: float) -> Loop:
        return MailSender(
            service.database,
            service.sending,
            smtp(service, post),
            service.clock,
            read_again=read_again,
        ).loop()

    service.desk(RECEIVER, "mesa@ong.example")
    post.data.append("451 come back later")
    with running(sender(NEVER)):
        service.hear("sent")
        assert eventually(lambda: emails(service)[0]["status"] == "RETRYING")
        assert eventually(lambda: emails(service)[0]["next_attempt_time"] in pauses)
        service.advance(seconds=80)
        post.wait_for(1)
    pauses.clear()
    with running(sender(OFTEN)):
        assert eventually(lambda: bool(pauses))
        service.rows("UPDATE deliveries SET next_attempt_time = create_time RETURNING id")
        post.wait_for(2)


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_temporary_refusal_is_retried_with_the_same_message_id(
    service: Service, post: Post, stage: str
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    getattr(post, stage).append("451 greylisted, come back later")
    service.send_mails(smtp(service, post))
    [waiting] = emails(service)
    assert (waiting["status"], waiting["last_code"], waiting["last_error"]) == (
        "RETRYING",
        451,
        "smtp",
    )
    assert 45 <= (waiting["next_attempt_time"] - service.clock.now()).total_seconds() <= 75
    assert service.send_mails(smtp(service, post)) == 0
    service.advance(seconds=80)
    assert service.send_mails(smtp(service, post)) == 1
    assert [row["status"] for row in emails(service)] == ["DELIVERED"]
    [row] = service.rows("SELECT id FROM deliveries")
    assert f"Message-ID: <{row['id']}@coalicion.example>" in post.text()


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_final_refusal_is_given_up_at_once_and_does_not_stop_the_others(
    service: Service, post: Post, stage: str
) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    service.desk(OTHER, "mesa@ong.example")
    service.hear("sent")
    service.advance(seconds=1)
    service.hear("sent", receiver_organization_id=OTHER)
    getattr(post, stage).append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    assert [(row["status"], row["last_code"]) for row in emails(service)][:2] == [
        ("DEAD", 550),
        ("DELIVERED", 250),
    ]


def test_a_message_that_reached_nobody_is_published_and_notified_to_the_coordinators(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    fact = service.hear("sent")
    # The e-mail about the failure reaches nobody either, and that is the end: there is no message
    # about a message about a message.
    post.rcpt += ["550 no such mailbox"] * 2
    assert service.send_mails(smtp(service, post)) == 2
    assert service.send_mails(smtp(service, post)) == 0
    [row] = service.rows("SELECT subject, version, type, payload FROM outbox")
    body = facts_pb2.MessageFact.FromString(row["payload"])
    assert (row["version"], row["type"], row["subject"]) == (
        1,
        "enlace.message.undeliverable.v1",
        body.message_id,
    )
    assert (body.referral_id, body.organization_id, body.kind_code, body.reason_code) == (
        fact.subject,
        RECEIVER,
        "referral_sent",
        "smtp",
    )
    [message] = service.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert (message.kind, message.referral_id) == ("message_undeliverable", fact.subject)


def test_no_failure_is_reported_while_another_channel_is_open(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    system = service.receiver(answers=[500])
    service.webhook(RECEIVER, system.url)
    service.hear("sent")
    post.rcpt.append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    service.send_webhooks()
    assert service.rows("SELECT FROM outbox") == []


def test_without_a_mail_server_connection_every_email_of_the_batch_is_retried(
    service: Service,
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(3):
        service.hear("sent")
    assert service.send_mails(Smtp(MailServer("127.0.0.1", 9), FROM, service.clock, timeout=1)) == 3
    assert {(row["status"], row["last_error"], row["attempts"]) for row in emails(service)} == {
        ("RETRYING", "connection", 1)
    }


def test_an_email_is_given_up_after_a_day(service: Service) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    nobody = Smtp(MailServer("127.0.0.1", 9), FROM, service.clock, timeout=1)
    for _ in range(6 * 26):
        service.send_mails(nobody)
        service.advance(minutes=10)
    [undeliverable] = emails(service)
    assert (undeliverable["status"], undeliverable["next_attempt_time"]) == ("DEAD", None)
    assert 5 < undeliverable["attempts"] < 20


def test_an_email_of_a_sender_that_died_is_sent_again_with_the_same_message_id(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    with service.database.dedicated() as connection:
        claim = service.sending.next_email(connection, service.clock.now())
    assert claim is not None
    mail = service.sending.mail_of(claim)
    assert mail is not None
    smtp(service, post).put(mail)  # … and here the sender dies
    assert service.send_mails(smtp(service, post)) == 0
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1
    first, second = (
        post.text(number).split("Message-ID: ")[1].split("\r\n")[0] for number in (0, 1)
    )
    assert first == second


def test_a_stopped_sender_leaves_the_remaining_emails_to_the_next_one(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(3):
        service.hear("sent")
    loop = Loop("mail", lambda _: None)
    post.on_arrival = loop.stop
    assert service.send_mails(smtp(service, post), loop) == 1
    assert service.send_mails(smtp(service, post)) == 2


def test_a_sender_that_died_delays_only_the_email_that_it_had_claimed(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(3):
        service.hear("sent")
    with service.database.dedicated() as connection:
        assert service.sending.next_email(connection, service.clock.now())
    assert service.send_mails(smtp(service, post)) == 2
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1


def test_an_unreadable_address_does_not_delay_others_and_is_retried_after_its_lease(
    service: Service, post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    put_aside = metrics.ROWS_PUT_ASIDE.labels("mail")._value
    before = put_aside.get()
    service.desk(OTHER, "otra@ong.example")
    service.desk(RECEIVER, "mesa@ong.example")
    [desk] = service.rows("SELECT email FROM desks WHERE organization_id = %s", OTHER)
    damage = (
        "WITH moved AS (UPDATE desks SET email = %s WHERE organization_id = %s RETURNING 1) SELECT"
        " FROM moved"
    )
    service.rows(damage, b"nonsense", OTHER)
    service.hear("sent", receiver_organization_id=OTHER)
    service.hear("sent")
    assert service.send_mails(smtp(service, post)) == 2
    assert [envelope.rcpt_tos for envelope in post.got] == [["mesa@ong.example"]]
    assert put_aside.get() == before + 1
    [bad] = service.rows(
        "SELECT id FROM deliveries WHERE channel = 'email' AND organization_id = %s", OTHER
    )
    assert bad["id"] in capsys.readouterr().out
    assert service.send_mails(smtp(service, post)) == 0  # not in a tight loop
    service.rows(damage, desk["email"], OTHER)  # repaired
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1
    assert post.got[-1].rcpt_tos == ["otra@ong.example"]


def test_a_desk_that_has_removed_its_address_gets_no_more_emails(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    service.desk(RECEIVER, "")
    service.send_mails(smtp(service, post))
    assert post.got == []
    assert [row["status"] for row in emails(service)] == ["DISCARDED"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a file with key and self-signed certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(folder / "key"),
        "-out",
        str(folder / "cert"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both").write_text((folder / "key").read_text() + (folder / "cert").read_text())
    return folder / "both"


def check_password(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"enlace", b"secret"), handled=False)


@pytest.fixture
def secure_post(certificate: Path) -> Iterator[Post]:
    """Runs a mail server that accepts mail only over STARTTLS and after a sign-in."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    created = Post(port=free_port("127.0.0.1"))
    controller = Controller(
        created,
        hostname="127.0.0.1",
        port=created.port,
        tls_context=tls,
        require_starttls=True,
        auth_required=True,
        authenticator=check_password,
    )
    controller.start()
    yield created
    controller.stop()


@pytest.mark.parametrize(
    ("password", "status", "code"), [("secret", "DELIVERED", 250), ("wrong", "RETRYING", 535)]
)
def test_an_email_is_sent_over_starttls_only_with_the_right_password(
    service: Service, secure_post: Post, certificate: Path, password: str, status: str, code: int
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    server = server_of(f"smtp+starttls://enlace:{password}@127.0.0.1:{secure_post.port}")
    service.send_mails(
        Smtp(
            server,
            FROM,
            service.clock,
            trust=ssl.create_default_context(cafile=str(certificate)),
            timeout=3,
        )
    )
    [row] = emails(service)
    assert (row["status"], row["last_code"]) == (status, code)
    assert secure_post.encrypted == [True] * (status == "DELIVERED")


def test_a_server_with_an_unknown_certificate_is_not_trusted(
    service: Service, secure_post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    server = server_of(f"smtp+starttls://enlace:secret@127.0.0.1:{secure_post.port}")
    service.send_mails(Smtp(server, FROM, service.clock, timeout=3))
    [row] = emails(service)
    assert (row["status"], row["last_error"]) == ("RETRYING", "connection")
    assert secure_post.got == []


def test_a_server_without_encryption_gets_no_email_where_encryption_is_required(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    service.send_mails(
        Smtp(server_of(f"smtp+starttls://127.0.0.1:{post.port}"), FROM, service.clock, timeout=3)
    )
    assert post.got == []
    assert [row["status"] for row in emails(service)] == ["RETRYING"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer("mail.example", 25)),
        ("smtp://127.0.0.1:2525", MailServer("127.0.0.1", 2525)),
        (
            "smtp+starttls://me%40x:p%2Fw@mail.example",
            MailServer("mail.example", 587, "starttls", "me@x", "p/w"),
        ),
        ("smtps://me:pw@mail.example", MailServer("mail.example", 465, "tls", "me", "pw")),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, server: MailServer) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize(
    "url", ["", "mail.example", "http://mail.example", "smtp://", "smtp://mail.example:port"]
)
def test_an_invalid_mail_server_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        server_of(url)


def test_emails_are_stored_for_viewing_in_development(service: Service) -> None:
    service.desk(RECEIVER, "mesa@ong.example", "en")
    fact = service.hear("sent")
    service.send_mails()
    [mail] = service.as_(OTHER, "AUDITOR").ListDevelopmentMails().mails
    assert (mail.recipient, mail.subject) == ("mesa@ong.example", "You have a task in Enlace")
    assert f"{PUBLIC_URL}/referrals/{fact.subject}" in mail.body
    assert mail.create_time.ToDatetime(UTC) == service.clock.now()


def test_the_development_mail_folder_keeps_the_latest_emails_and_each_only_once(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_folder, "KEPT", 2)
    monkeypatch.setattr(mail_folder, "_SPARE", 1)
    folder = mail_folder.MailFolder(tmp_path / "mail", service.clock)
    assert folder.mails() == []
    for id in ("a", "b", "b", "c"):
        service.advance(minutes=1)
        assert folder.put(Mail(id, "mesa@ong.example", "¡Año!", f"{id}\n", "es")).arrived
    assert [(mail.id, mail.subject, mail.body) for mail, _ in folder.mails()] == [
        ("c", "¡Año!", "c\n"),
        ("b", "¡Año!", "b\n"),
    ]
    assert folder.mails()[0][1] == service.clock.now()
    for number in range(20):
        folder.put(Mail(f"more-{number}", "mesa@ong.example", "", "", "es"))
    assert len(list((tmp_path / "mail").iterdir())) <= 2 + 2, "old files are deleted"


@pytest.mark.parametrize("read", ["stat", "read_text"])
def test_an_email_that_a_sender_deletes_while_the_page_lists_it_is_left_out(
    read: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mail_folder.MailFolder(tmp_path / "mail", service.clock)
    for id in ("a", "b"):
        folder.put(Mail(id, "mesa@ong.example", "¡Año!", "", "es"))

    with monkeypatch.context() as patch:
        original = getattr(Path, read)

        def delete_then_read(file: Path, **options: Any) -> Any:
            if file.suffix == ".json":  # the folder itself has been listed
                (tmp_path / "mail" / "a.json").unlink(missing_ok=True)
            return original(file, **options)

        patch.setattr(Path, read, delete_then_read)
        assert [mail.id for mail, _ in folder.mails()] == ["b"]


def test_outside_development_no_email_can_be_viewed_and_no_internal_webhook_created(
    production: Service,
) -> None:
    assert refusal(production.as_(OTHER, "MANAGER").ListDevelopmentMails) == (
        "FAILED_PRECONDITION",
        "not_in_development",
    )
    webhook = pb.Webhook(url="http://127.0.0.1:9/")
    assert refusal(lambda: production.as_(OTHER, "MANAGER").CreateWebhook(webhook=webhook)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_the_commit_of_a_fact_wakes_the_sender_and_one_broken_email_does_not_stop_it(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.desk(OTHER, "otra@ong.example")
    service.rows(
        "WITH moved AS (UPDATE desks SET email = sha256('x') WHERE organization_id = %s"
        " RETURNING 1) SELECT FROM moved",
        OTHER,
    )
    sender = MailSender(
        service.database, service.sending, smtp(service, post), service.clock
    ).loop()
    sender.start()
    try:
        service.hear("sent", receiver_organization_id=OTHER)
        for count in (1, 2):
            service.hear("sent")
            post.wait_for(count)
    finally:
        sender.stop()
        sender.join(10)
    assert [envelope.rcpt_tos for envelope in post.got] == [["mesa@ong.example"]] * 2


@pytest.mark.parametrize(
    ("environment", "server", "by_email"),
    [
        ({}, None, False),
        ({"ENLACE_DEVELOPMENT": "1"}, None, False),
        ({"ENLACE_DEVELOPMENT": "1", "ENLACE_SMTP_URL": "outbox:/mail"}, None, True),
        (
            {"ENLACE_SMTP_URL": "smtp://mail.example", "ENLACE_MAIL_FROM": FROM},
            MailServer("mail.example", 25),
            True,
        ),
    ],
)
def test_without_a_mail_server_emails_are_made_only_in_development(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    server: MailServer | None,
    by_email: bool,
) -> None:
    set_environment(monkeypatch, environment)
    settings = config.load()
    assert (settings.mail_server, settings.by_email) == (server, by_email)


@pytest.mark.parametrize(
    "environment",
    [
        {"ENLACE_SMTP_URL": "http://me:hush@mail.example"},
        {"ENLACE_SMTP_URL": "smtp://me:hush@mail.example"},
        {"ENLACE_SMTP_URL": "outbox:/hush"},
    ],
)
def test_invalid_mail_settings_are_reported_without_the_password(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    set_environment(monkeypatch, environment)
    with pytest.raises(WrongSettings) as raised:
        config.load()
    assert "ENLACE_" in str(raised.value)
    assert "hush" not in str(raised.value)


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in (
        "ENLACE_SMTP_URL",
        "ENLACE_SMTP_URL_FILE",
        "ENLACE_MAIL_FROM",
        "ENLACE_DEVELOPMENT",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_an_email_dated_by_a_fast_clock_is_not_delayed_once_the_clock_is_right(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.advance(days=1)
    assert service.send_mails(smtp(service, post)) == 0
    service.hear("sent")
    service.advance(days=-1)
    assert service.send_mails(smtp(service, post)) == 1

"""The choice of the mail server, the ways to reach it, and the sources of its settings."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from chassis.config import WrongSettings
from local.process import free_port
from services.notifications import config
from services.notifications.channels.mail import Smtp
from services.notifications.domain.mail_server import MailServer, server_of
from tests.notifications.conftest import FROM_ADDRESS, Service
from tests.notifications.mail_server import Post


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a file with key and self-signed certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key_and_certificate = folder / "both"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj"
        " /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key -out cert".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    key_and_certificate.write_text((folder / "key").read_text() + (folder / "cert").read_text())
    return key_and_certificate


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
    service.queue_emails()
    service.send_mails(
        Smtp(
            server_of(f"smtp+starttls://enlace:{password}@127.0.0.1:{secure_post.port}"),
            FROM_ADDRESS,
            service.clock,
            trust=ssl.create_default_context(cafile=str(certificate)),
            timeout=3,
        )
    )
    assert service.emails("status", "last_code") == [(status, code)]
    assert secure_post.encrypted == [True] * (status == "DELIVERED")


def test_a_server_with_an_unknown_certificate_is_not_trusted(
    service: Service, secure_post: Post
) -> None:
    service.queue_emails()
    server = server_of(f"smtp+starttls://enlace:secret@127.0.0.1:{secure_post.port}")
    service.send_mails(Smtp(server, FROM_ADDRESS, service.clock, timeout=3))
    assert service.emails("status", "last_error") == [("RETRYING", "connection")]
    assert secure_post.envelopes == []


def test_a_server_without_encryption_gets_no_email_where_encryption_is_required(
    service: Service, post: Post
) -> None:
    service.queue_emails()
    server = server_of(f"smtp+starttls://127.0.0.1:{post.port}")
    service.send_mails(Smtp(server, FROM_ADDRESS, service.clock, timeout=3))
    assert service.emails("status") == [("RETRYING",)]
    assert post.envelopes == []


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
    "url",
    [
        "",
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example:port",
        "smtp://mail.example:0",
    ],
)
def test_an_invalid_mail_server_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        server_of(url)


@pytest.mark.parametrize(
    ("environment", "server", "by_email"),
    [
        ({}, None, False),
        ({"ENLACE_DEVELOPMENT": "1"}, None, False),
        ({"ENLACE_DEVELOPMENT": "1", "ENLACE_SMTP_URL": "outbox:/mail"}, None, True),
        (
            {"ENLACE_SMTP_URL": "smtp://mail.example", "ENLACE_MAIL_FROM": FROM_ADDRESS},
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
        # smtplib would fail at each e-mail
        {"ENLACE_SMTP_URL": "smtp://me:hush%C3%B1@mail.example", "ENLACE_MAIL_FROM": FROM_ADDRESS},
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

"""The settings of the notifications service; each has a default that suits the local stack."""

from dataclasses import dataclass
from pathlib import Path

from chassis.config import ServiceSettings, Settings, service_settings
from services.notifications.domain.desk import is_address
from services.notifications.domain.mail_server import MailServer, server_of

OUTBOX = "outbox:"


@dataclass(frozen=True)
class NotificationsSettings:
    """The settings of this service, including those that every service has.

    E-mails are handed to a mail server or, only in development, written to a folder. If neither is
    set, no e-mails are created.
    """

    service: ServiceSettings
    mail_server: MailServer | None
    mail_folder: Path | None
    mail_from: str
    public_url: str

    @property
    def by_email(self) -> bool:
        """Returns whether e-mails are created at all."""
        return self.mail_server is not None or self.mail_folder is not None


def load() -> NotificationsSettings:
    """Returns the settings from the environment; raises WrongSettings if any is invalid.

    ENLACE_SMTP_URL must be `outbox:` (no e-mails), `outbox:FOLDER` (allowed only in development) or
    the URL of a mail server.
    """
    settings = Settings()
    # A URL that contains a password is a secret, and should be given in a file
    # (ENLACE_SMTP_URL_FILE).
    smtp_url = settings.text("ENLACE_SMTP_URL", OUTBOX, optional_file=True) or OUTBOX
    mail_from = settings.text("ENLACE_MAIL_FROM", "enlace@localhost", optional_file=True)
    public_url = settings.url("ENLACE_PUBLIC_URL", "http://127.0.0.1:8080").rstrip("/")
    service = service_settings(settings)
    folder = smtp_url.removeprefix(OUTBOX) if smtp_url.startswith(OUTBOX) else None
    if folder and not service.development:
        settings.refuse("ENLACE_SMTP_URL may name a folder only in development")
    mail_server: MailServer | None = None
    try:
        mail_server = server_of(smtp_url) if folder is None else None
    except ValueError:
        # The message does not repeat the value, which may hold a password.
        settings.refuse(
            "ENLACE_SMTP_URL is none of outbox:, smtp://, smtp+starttls://, smtps://,"
            " or its user or password is not ASCII"
        )
    if mail_server is not None and not is_address(mail_from):
        settings.refuse(
            "ENLACE_MAIL_FROM must be the e-mail address that the mail server lets us send from"
        )
    settings.done()
    mail_folder = Path(folder) if folder else None
    return NotificationsSettings(service, mail_server, mail_folder, mail_from, public_url)

"""The settings of the notifications service; each has a default that runs embedded."""

from dataclasses import dataclass

from chassis.config import ServiceSettings, Settings, service_settings

OUTBOX = "outbox:"


@dataclass(frozen=True)
class NotificationsSettings:
    """What it needs beside what every service needs. `smtp_url` is outbox:, smtp://, smtp+starttls:// or smtps://."""

    service: ServiceSettings
    smtp_url: str
    mail_from: str
    public_url: str

    @property
    def by_email(self) -> bool:
        """Whether e-mails are made at all: the outbox is for looking at in development; elsewhere nobody would ever read them there."""
        return self.smtp_url != OUTBOX or self.service.development


def load() -> NotificationsSettings:
    """From the environment; raises WrongSettings with all that is wrong."""
    settings = Settings()
    loaded = NotificationsSettings(
        service=service_settings(settings),
        # A secret when it holds a password: ENLACE_SMTP_URL_FILE is better then.
        smtp_url=settings.text("ENLACE_SMTP_URL", OUTBOX) or OUTBOX,
        mail_from=settings.text("ENLACE_MAIL_FROM", "enlace@localhost"),
        public_url=settings.text("ENLACE_PUBLIC_URL", "http://127.0.0.1:8080").rstrip("/"),
    )
    settings.done()
    return loaded

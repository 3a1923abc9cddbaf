"""The settings of the partners service. Each setting has a default."""

from dataclasses import dataclass

from chassis.config import ServiceSettings, Settings, service_settings

TOPIC = "enlace.partners.v1"
NAME = "partners"


@dataclass(frozen=True)
class PartnersSettings:
    """The settings of partners, including those that every service needs."""

    service: ServiceSettings
    public_url: str
    second_factor_required: bool = False
    by_email: bool = True


def load() -> PartnersSettings:
    """Reads the environment. Raises WrongSettings, which names all faults."""
    settings = Settings()
    public_url = settings.url("ENLACE_PUBLIC_URL", "http://127.0.0.1:8080").rstrip("/")
    # Off on one machine, where the accounts of the demo network have only a password; on in a
    # cluster (deploy/k8s/base).
    second_factor_required = settings.flag("ENLACE_SECOND_FACTOR_REQUIRED")
    # Partners sends no e-mail itself: if there is a sender's address, notifications sends it. In
    # development, notifications writes e-mail to the outbox folder instead.
    mail_from = settings.text("ENLACE_MAIL_FROM", "", optional_file=True)
    service = service_settings(settings)
    settings.done()
    return PartnersSettings(
        service,
        public_url,
        second_factor_required,
        bool(mail_from) or service.development,
    )

"""Settings of the referrals service; the defaults suit the local stack."""

from dataclasses import dataclass

from chassis.config import ServiceSettings, Settings, service_settings
from services.referrals.files.domain.openings import MAX_PER_HOUR


@dataclass(frozen=True)
class ReferralsSettings:
    """The settings that every service has, and the setting that only this service has."""

    service: ServiceSettings
    openings_an_hour: int


def load() -> ReferralsSettings:
    """Reads the settings from the environment; raises WrongSettings with all faults."""
    settings = Settings()
    loaded = ReferralsSettings(
        service_settings(settings),
        settings.number("ENLACE_OPENINGS_AN_HOUR", MAX_PER_HOUR, least=1),
    )
    settings.done()
    return loaded

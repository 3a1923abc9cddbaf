"""Settings of the referrals service: the common ones only."""

from chassis.config import ServiceSettings, Settings, service_settings


def load() -> ServiceSettings:
    """From the environment; every wrong one is said at once."""
    settings = Settings()
    loaded = service_settings(settings)
    settings.done()
    return loaded

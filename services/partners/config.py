"""The settings of the partners service: the common ones, with what differs for it. Every one has a default that runs embedded."""

from dataclasses import replace

from chassis.config import ServiceSettings, Settings, service_settings

TOPIC = "enlace.partners.v1"
NAME = "partners"


def load() -> ServiceSettings:
    """Reads the environment; raises WrongSettings naming all that is wrong."""
    settings = Settings()
    loaded = service_settings(settings)
    settings.done()
    return loaded if loaded.rpc_threads > 0 else replace(loaded, rpc_threads=1)

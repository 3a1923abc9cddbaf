"""Names for ids on a page."""

from dataclasses import dataclass, field

from protos.partners.v1.directory_pb2 import (
    ORGANIZATION_STATUS_LEFT,
    ORGANIZATION_STATUS_SUSPENDED,
    Organization,
    Service,
)

OUT = (ORGANIZATION_STATUS_SUSPENDED, ORGANIZATION_STATUS_LEFT)


@dataclass
class Names:
    """The names for the ids of one page.

    If the reader may not see an organisation or service, its name is a dash.
    """

    organizations: dict[str, Organization] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)

    def organization(self, identifier: str) -> str:
        return self.organizations.get(identifier, Organization(name="–")).name

    def is_out(self, identifier: str) -> bool:
        """Returns whether an organisation is known to be suspended or to have left the network."""
        return self.organizations.get(identifier, Organization()).status in OUT

    def service(self, identifier: str) -> str:
        return self.services.get(identifier, Service(name="–")).name

    def worker(self, identifier: str) -> str:
        """Returns a colleague's name; "" for a worker of another organisation."""
        return self.workers.get(identifier, "")

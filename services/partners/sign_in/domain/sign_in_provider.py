"""A member's sign-in provider, through which its workers sign in.

The provider's operator could sign in as any of these workers, so two coordinators must approve it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from chassis.errors import Conflict, Invalid
from chassis.second import Second, check_second

RETURN_LIMIT = timedelta(minutes=10)
"""How long a person may take to return from the provider; she may have to look for her phone."""
OBJECTION = timedelta(days=3)
"""How long a proposal must wait for objections; the managers are notified of it at once."""
_MAX_LENGTH = 200  # maximum number of characters of each field
# Microsoft's shared endpoints. They are open to accounts of any organisation, so nobody vouches for
# their users.
_SHARED = ("common", "organizations", "consumers")


@dataclass(frozen=True)
class ProviderEntry:
    """The address of a provider, and this network's client id there."""

    issuer: str
    client_id: str

    def check(self, client_secret: str, *, development: bool) -> None:
        """Raises Invalid if a field can't be right.

        The issuer must be an https URL without user name, query or fragment, and not a shared
        endpoint of Microsoft. In development, an http URL on this machine is allowed, too.
        """
        violations = [
            (
                f"provider.{name}",
                "required"
                if not value
                else "too_long"
                if len(value) > _MAX_LENGTH
                else "malformed",
            )
            for name, value in (
                ("issuer", self.issuer),
                ("client_id", self.client_id),
                ("client_secret", client_secret),
            )
            if not value
            or len(value) > _MAX_LENGTH
            or not value.isascii()
            or not value.isprintable()
            or (" " in value and value != client_secret)
        ]
        if violations:
            raise Invalid(*violations)
        try:
            parts = urlsplit(self.issuer)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Invalid(("provider.issuer", "malformed")) from error
        if (
            not host
            or port == 0
            or "@" in parts.netloc
            or "\\" in self.issuer
            or "?" in self.issuer
            or "#" in self.issuer
        ):
            raise Invalid(("provider.issuer", "malformed"))
        is_local_http = (
            development and parts.scheme == "http" and host in ("127.0.0.1", "localhost", "::1")
        )
        if parts.scheme != "https" and not is_local_http:
            raise Invalid(("provider.issuer", "out_of_range"))
        if (
            host == "login.microsoftonline.com"
            and parts.path.split("/")[1:2]
            and parts.path.split("/")[1].lower() in _SHARED
        ):
            raise Invalid(("provider.issuer", "shared_issuer"))


@dataclass(frozen=True)
class ProposedProvider:
    """The proposal of one coordinator, to which a second coordinator has not yet agreed."""

    entry: ProviderEntry
    worker_id: str
    time: datetime


@dataclass
class SignInProvider:
    """The provider of one organisation.

    Without an `entry`, nobody can sign in through the provider. The id never changes, because it is
    part of the link that the organisation gives its workers.
    """

    id: str
    organization_id: str
    version: int = 0
    entry: ProviderEntry | None = None
    confirm_time: datetime | None = None
    proposal: ProposedProvider | None = None

    def propose(self, entry: ProviderEntry, worker_id: str, now: datetime) -> None:
        """Proposes another provider; the present one stays in use.

        A newer proposal replaces an older one.
        """
        self.proposal = ProposedProvider(entry, worker_id, now)
        self.version += 1

    def confirm(self, second: Second, now: datetime) -> None:
        """Applies the proposal after a second person agreed.

        Raises Conflict before the time for objections is over.
        """
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposal.worker_id)
        if now < self.proposal.time + OBJECTION:
            raise Conflict("objection_time")
        self.entry, self.confirm_time, self.proposal = self.proposal.entry, now, None
        self.version += 1

    def object(self) -> None:
        """Drops the proposal: the organisation objects, or the proposer takes it back."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        self.proposal = None
        self.version += 1

    def end(self) -> None:
        """Ends the use of the provider and drops the proposal. One person alone can do this."""
        if self.entry is None and self.proposal is None:
            raise Conflict("illegal_transition")
        self.entry = self.confirm_time = self.proposal = None
        self.version += 1

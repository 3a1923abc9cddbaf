"""A member's own provider by which its workers sign in: who controls it can become any of them, so
two people of the coordination stand behind it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from chassis.errors import Conflict, Invalid
from chassis.second import Second, check_second

QUESTION_LIFE = timedelta(minutes=10)
"""In which somebody comes back from the provider; she may have to look for her phone."""
OBJECTION = timedelta(days=3)
"""In which the organisation, whose managers are told at once, may object to what is proposed."""
_MOST = 200  # characters of each
# at Microsoft: any organisation's accounts, so nobody answers for who has one
_SHARED = ("common", "organizations", "consumers")


@dataclass(frozen=True)
class ProviderEntry:
    """Where it is, and as whom it knows us."""

    issuer: str
    client_id: str

    def check(self, client_secret: str, *, development: bool) -> None:
        """Refuses what can't be one: other than https to a named host (but in development, on this
        machine), or with more than a path.
        """
        wrong = [
            (
                f"provider.{name}",
                "required" if not value else "too_long" if len(value) > _MOST else "malformed",
            )
            for name, value in (
                ("issuer", self.issuer),
                ("client_id", self.client_id),
                ("client_secret", client_secret),
            )
            if not value
            or len(value) > _MOST
            or not value.isascii()
            or not value.isprintable()
            or (" " in value and value != client_secret)
        ]
        if wrong:
            raise Invalid(*wrong)
        try:
            parts = urlsplit(self.issuer)
            host, _port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Invalid(("provider.issuer", "malformed")) from error
        if (
            not host
            or "@" in parts.netloc
            or "\\" in self.issuer
            or "?" in self.issuer
            or "#" in self.issuer
        ):
            raise Invalid(("provider.issuer", "malformed"))
        local = development and parts.scheme == "http" and host in ("127.0.0.1", "localhost", "::1")
        if parts.scheme != "https" and not local:
            raise Invalid(("provider.issuer", "out_of_range"))
        if (
            host == "login.microsoftonline.com"
            and parts.path.split("/")[1:2]
            and parts.path.split("/")[1].lower() in _SHARED
        ):
            raise Invalid(("provider.issuer", "shared_issuer"))


@dataclass(frozen=True)
class ProposedProvider:
    """What one person of the coordination wants, and another has not yet agreed to."""

    entry: ProviderEntry
    worker_id: str
    time: datetime


@dataclass
class SignInProvider:
    """That of one organisation.

    Without `entry` nobody signs in by it. Its id stays, for the link that the organisation gives
    its people.
    """

    id: str
    organization_id: str
    version: int = 0
    entry: ProviderEntry | None = None
    confirm_time: datetime | None = None
    proposal: ProposedProvider | None = None

    def propose(self, entry: ProviderEntry, worker_id: str, now: datetime) -> None:
        """Proposes another; what works goes on.

        A newer proposal takes the place of an older one.
        """
        self.proposal = ProposedProvider(entry, worker_id, now)
        self.version += 1

    def confirm(self, second: Second, now: datetime) -> None:
        """A second person agrees to what was proposed."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposal.worker_id)
        if now < self.proposal.time + OBJECTION:
            raise Conflict("objection_time")
        self.entry, self.confirm_time, self.proposal = self.proposal.entry, now, None
        self.version += 1

    def object(self) -> None:
        """The organisation does not want what is proposed: the proposal is dropped."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        self.proposal = None
        self.version += 1

    def end(self) -> None:
        """Nobody signs in by it any more, and what was proposed is dropped: that needs nobody's
        consent.
        """
        if self.entry is None and self.proposal is None:
            raise Conflict("illegal_transition")
        self.entry = self.confirm_time = self.proposal = None
        self.version += 1

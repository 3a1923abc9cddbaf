"""An invitation to open an account: to one address, for one organisation, once, and not for
long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.errors import Conflict, NotAllowed
from chassis.second import Second
from services.partners.members.domain.network_roles import (
    are_of_the_network,
    check_second_coordinator,
)
from services.partners.members.domain.worker import NETWORK_ROLES, Role
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

LIFE = timedelta(hours=72)
# of an organisation in that time: each of them sends an e-mail to somebody who did not ask for it
MOST = 20
FIRST_ROLES = frozenset({Role.WORKER, Role.OPERATOR, Role.MANAGER})


class InvitationStatus(StrEnum):
    """What has become of it; that its time is over is no status."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    REPLACED = "REPLACED"  # by a newer one
    REVOKED = "REVOKED"
    WAITING = "WAITING"  # for a second coordinator: nobody has its link yet


@dataclass(frozen=True)
class InvitationEntry:
    """Who is invited, and as what."""

    email: str
    roles: tuple[Role, ...]
    language: str = "es"
    on_paper: bool = False

    def check_reaches_her(self, *, by_email: bool) -> None:
        """Refuses a letter that nobody would bring; and paper where there is e-mail, for then
        nobody but she sees her link.
        """
        if self.on_paper and by_email:
            raise Conflict("illegal_transition")
        if not self.on_paper and not by_email:
            raise Conflict("no_mail")

    def check(self) -> None:
        """Refuses an entry that is wrong."""
        check = Check("invitation")
        check.email("email", self.email)
        check.listed("roles", self.roles)
        check.done()

    def check_given_by(self, roles: frozenset[str], *, own: bool) -> None:
        """Refuses roles that are not the inviter's to give: in another organisation only those of a
        first manager, the network's only in the own one.
        """
        given = frozenset(self.roles)
        network = not NETWORK_ROLES.isdisjoint(given)
        if (own and network and Role.COORDINATOR not in roles) or (
            not own and not {Role.MANAGER} <= given <= FIRST_ROLES
        ):
            raise NotAllowed("right_missing")


@dataclass
class Invitation(Subject):
    """An invitation. Its token is nowhere here: only she to whose address it went has it."""

    organization_id: str
    entry: InvitationEntry
    first_manager: bool
    invited_by_worker_id: str
    expire_time: datetime
    status: InvitationStatus = InvitationStatus.OPEN

    @classmethod
    def create(
        cls,
        id: str,
        organization_id: str,
        entry: InvitationEntry,
        now: datetime,
        *,
        first_manager: bool,
        worker_id: str,
        recent: int,
    ) -> "Invitation":
        """A new invitation is open, or waits if it gives a role of the network.

        `recent` are the organisation's whose time is not over.
        """
        if recent >= MOST:
            raise Conflict("too_many_invitations")
        invitation = cls(
            id=id,
            create_time=now,
            update_time=now,
            organization_id=organization_id,
            entry=entry,
            first_manager=first_manager,
            invited_by_worker_id=worker_id,
            expire_time=now + LIFE,
        )
        if are_of_the_network(entry.roles):
            invitation.status = InvitationStatus.WAITING
        else:
            invitation.note("created", now)
        return invitation

    def confirm(self, second: Second, organization_id: str, now: datetime) -> None:
        """A second coordinator, of this organisation, agrees: it is open, and as good as one that
        was made now.
        """
        if not self.waits(now):
            raise Conflict("nothing_to_confirm")
        check_second_coordinator(
            second, organization_id, self.invited_by_worker_id, self.organization_id
        )
        self.status, self.expire_time = InvitationStatus.OPEN, now + LIFE
        self.note("created", now)

    def waits(self, now: datetime) -> bool:
        """Whether a second coordinator can agree to it."""
        return self.status is InvitationStatus.WAITING and now < self.expire_time

    def is_open(self, now: datetime) -> bool:
        """Whether it can be accepted."""
        return self.status is InvitationStatus.OPEN and now < self.expire_time

    def accept(self, now: datetime) -> None:
        """The account is there."""
        self._become(InvitationStatus.ACCEPTED, "accepted", now)

    def replace(self, now: datetime) -> None:
        """A newer one takes its place."""
        self._become(InvitationStatus.REPLACED, "replaced", now)

    def revoke(self, now: datetime) -> None:
        """It went to the wrong address, or is no longer wanted."""
        self._become(InvitationStatus.REVOKED, "revoked", now)

    def _become(self, status: InvitationStatus, fact: str, now: datetime) -> None:
        if not (self.is_open(now) or self.waits(now)):
            raise Conflict("illegal_transition")
        told = self.status is InvitationStatus.OPEN
        self.status = status
        if told:
            self.note(fact, now)

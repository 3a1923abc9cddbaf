"""An invitation to open an account in one organisation.

It is for one e-mail address, and can be used once within 72 hours.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.errors import Conflict, NotAllowed
from chassis.second import Second
from services.partners.members.domain.network_roles import (
    check_second_coordinator,
    contains_network_role,
)
from services.partners.members.domain.worker import NETWORK_ROLES, Role
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

LIFETIME = timedelta(hours=72)
# maximum number of unexpired invitations to an organisation; limited because each invitation sends
# an e-mail to a person who did not ask for one
MAX_INVITATIONS = 20
FIRST_ROLES = frozenset({Role.WORKER, Role.OPERATOR, Role.MANAGER})


class InvitationStatus(StrEnum):
    """The state of an invitation. An expired invitation keeps its state."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    REPLACED = "REPLACED"  # by a newer invitation
    REVOKED = "REVOKED"
    WAITING = "WAITING"  # for a second coordinator; nobody has the link yet


@dataclass(frozen=True)
class InvitationEntry:
    """The person who is invited, and her roles."""

    email: str
    roles: tuple[Role, ...]
    language: str = "es"
    on_paper: bool = False

    def check_delivery(self, *, by_email: bool) -> None:
        """Raises Conflict if the invitation must not be on paper, or can't be sent by e-mail.

        `by_email`: the network sends e-mail. It then gives no invitations on paper, because a link
        in an e-mail is seen by nobody but the invited person.
        """
        if self.on_paper and by_email:
            raise Conflict("illegal_transition")
        if not self.on_paper and not by_email:
            raise Conflict("no_mail")

    def check(self) -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check("invitation")
        check.email("email", self.email)
        check.distinct("roles", self.roles)
        check.done()

    def check_given_by(self, roles: frozenset[str], *, for_own_organization: bool) -> None:
        """Raises NotAllowed if the inviter may not give these roles.

        `roles`: the inviter's roles; `for_own_organization`: the invitation is to her own
        organisation. In her own organisation, only a coordinator may give network roles. In another
        organisation, MANAGER must be given, and any other role must be one of FIRST_ROLES.
        """
        invited_roles = frozenset(self.roles)
        gives_network_role = not NETWORK_ROLES.isdisjoint(invited_roles)
        if (for_own_organization and gives_network_role and Role.COORDINATOR not in roles) or (
            not for_own_organization and not {Role.MANAGER} <= invited_roles <= FIRST_ROLES
        ):
            raise NotAllowed("right_missing")


@dataclass
class Invitation(Subject):
    """An invitation. Its token is not stored: only the person who receives it has the token."""

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
        recent_count: int,
    ) -> "Invitation":
        """Returns a new invitation, which is open, or waiting if it gives a network role.

        `recent_count`: the number of unexpired invitations to the organisation.
        """
        if recent_count >= MAX_INVITATIONS:
            raise Conflict("too_many_invitations")
        invitation = cls(
            id=id,
            create_time=now,
            update_time=now,
            organization_id=organization_id,
            entry=entry,
            first_manager=first_manager,
            invited_by_worker_id=worker_id,
            expire_time=now + LIFETIME,
        )
        if contains_network_role(entry.roles):
            invitation.status = InvitationStatus.WAITING
        else:
            invitation.note("created", now)
        return invitation

    def confirm(self, second: Second, organization_id: str, now: datetime) -> None:
        """Opens the invitation after a second coordinator agreed.

        `organization_id`: the second coordinator's organisation. The invitation's lifetime starts
        again.
        """
        if not self.waits(now):
            raise Conflict("nothing_to_confirm")
        check_second_coordinator(
            second, organization_id, self.invited_by_worker_id, self.organization_id
        )
        self.status, self.expire_time = InvitationStatus.OPEN, now + LIFETIME
        self.note("created", now)

    def waits(self, now: datetime) -> bool:
        """Returns whether a second coordinator can still agree to the invitation."""
        return self.status is InvitationStatus.WAITING and now < self.expire_time

    def is_open(self, now: datetime) -> bool:
        """Returns whether the invitation can be accepted."""
        return self.status is InvitationStatus.OPEN and now < self.expire_time

    def may_come_from(self, roles: Collection[Role]) -> bool:
        """Returns whether a worker with these roles may make the invitation."""
        if self.first_manager or contains_network_role(self.entry.roles):
            return Role.COORDINATOR in roles
        return Role.COORDINATOR in roles or Role.MANAGER in roles

    def accept(self, now: datetime) -> None:
        """Marks the invitation as accepted: the account exists."""
        self._become(InvitationStatus.ACCEPTED, "accepted", now)

    def replace(self, now: datetime) -> None:
        """Marks the invitation as replaced by a newer invitation."""
        self._become(InvitationStatus.REPLACED, "replaced", now)

    def revoke(self, now: datetime) -> None:
        """Revokes the invitation, because it went to the wrong address or is no longer wanted."""
        self._become(InvitationStatus.REVOKED, "revoked", now)

    def _become(self, status: InvitationStatus, fact: str, now: datetime) -> None:
        if not (self.is_open(now) or self.waits(now)):
            raise Conflict("illegal_transition")
        was_open = self.status is InvitationStatus.OPEN
        self.status = status
        if was_open:
            self.note(fact, now)

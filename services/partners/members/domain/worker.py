"""Somebody with an account at a member: roles, password rules and sessions."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.errors import Conflict, Invalid
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

MIN_PASSWORD, MAX_PASSWORD = 12, 200
IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=12)
# A session is noted as used at most this often, to spare writes; so the idle limit is exact to
# this.
TOUCH = timedelta(seconds=30)


class Role(StrEnum):
    """What somebody does in the organisation, or in the network."""

    WORKER = "WORKER"
    OPERATOR = "OPERATOR"
    MANAGER = "MANAGER"
    COORDINATOR = "COORDINATOR"
    AUDITOR = "AUDITOR"
    EMERGENCY = "EMERGENCY"  # beside another role: may send on an override


NETWORK_ROLES = frozenset({Role.COORDINATOR, Role.AUDITOR})
MUST_PROVE_MORE = frozenset({Role.OPERATOR, Role.COORDINATOR, Role.AUDITOR})
"""They see what others told, or decide for the network: where it is so set, a password alone does
not let them in.
"""


class WorkerStatus(StrEnum):
    """Whether the account may be used."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True)
class WorkerEntry:
    """Who it is, and as what."""

    name: str
    email: str
    roles: tuple[Role, ...]
    language: str = "es"

    def check(self) -> None:
        """Refuses an entry that is wrong."""
        check = Check("worker")
        check.email("email", self.email)
        check.listed("roles", self.roles)
        check.done()


@dataclass
class Worker(Subject):
    """An account."""

    organization_id: str
    entry: WorkerEntry
    status: WorkerStatus = WorkerStatus.ACTIVE
    suspension_proposed_by_worker_id: str = ""  # of whoever has a role of the network

    @classmethod
    def register(cls, id: str, organization_id: str, entry: WorkerEntry, now: datetime) -> "Worker":
        """A new account is active."""
        entry.check()
        worker = cls(
            id=id, create_time=now, update_time=now, organization_id=organization_id, entry=entry
        )
        worker.note("registered", now)
        return worker

    def suspend(self, now: datetime) -> None:
        """Ends the account's use."""
        if self.status is not WorkerStatus.ACTIVE:
            raise Conflict("illegal_transition")
        self.status, self.suspension_proposed_by_worker_id = WorkerStatus.SUSPENDED, ""
        self.note("suspended", now)

    def propose_suspension(self, worker_id: str, now: datetime) -> None:
        """One coordinator wants to end its use; another has to agree."""
        if self.status is not WorkerStatus.ACTIVE:
            raise Conflict("illegal_transition")
        self.suspension_proposed_by_worker_id, self.update_time = worker_id, now

    def renew(self, entry: WorkerEntry, now: datetime) -> None:
        """Begins anew as the invitation says: for who forgot her password, or whose suspension is
        over.
        """
        entry.check()
        self.entry, self.status, self.suspension_proposed_by_worker_id = (
            entry,
            WorkerStatus.ACTIVE,
            "",
        )
        self.note("renewed", now)


def same_email(email: str) -> str:
    """What is equal for e-mails that are the same to people."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def same_password(password: str) -> str:
    """What is equal for passwords that look the same, on whichever keyboard they were typed."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, path: str = "password") -> None:
    """Refuses one that is too short to withstand guessing; there are no other rules, they only make
    passwords worse. `path` is how a refusal names it.
    """
    if not password:
        raise Invalid((path, "required"))
    if len(same_password(password)) < MIN_PASSWORD:
        raise Invalid((path, "too_short"))
    if len(password) > MAX_PASSWORD:
        raise Invalid((path, "too_long"))


def session_lives(create_time: datetime, last_use_time: datetime, now: datetime) -> bool:
    """Whether a session is neither idle for too long nor too old.

    One of a clock that was ahead by more than it may be idle would outlive that: it has ended.
    """
    return abs(now - last_use_time) < IDLE and -IDLE < now - create_time < ABSOLUTE

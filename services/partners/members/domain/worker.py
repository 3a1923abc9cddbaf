"""A person's account at a member: roles, password rules and sessions."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.errors import Conflict, Invalid
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

MIN_PASSWORD, MAX_PASSWORD = 12, 200
MAX_IDLE = timedelta(minutes=15)
MAX_SESSION = timedelta(hours=12)
# The minimum time between two recorded uses of a session, to spare writes. A session may therefore
# reach the idle limit early, by up to this time.
TOUCH_INTERVAL = timedelta(seconds=30)


class Role(StrEnum):
    """A role in the organisation, or in the network."""

    WORKER = "WORKER"
    OPERATOR = "OPERATOR"
    MANAGER = "MANAGER"
    COORDINATOR = "COORDINATOR"
    AUDITOR = "AUDITOR"
    EMERGENCY = "EMERGENCY"  # in addition to another role; may send a referral by override


NETWORK_ROLES = frozenset({Role.COORDINATOR, Role.AUDITOR})
SECOND_FACTOR_ROLES = frozenset({Role.OPERATOR, Role.COORDINATOR, Role.AUDITOR})
"""The roles that see confidential reports or decide for the network.

If ENLACE_SECOND_FACTOR_REQUIRED is set, workers with these roles need more than a password.
"""


class WorkerStatus(StrEnum):
    """The states of an account."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True)
class WorkerEntry:
    """The person who has the account, and her roles."""

    name: str
    email: str
    roles: tuple[Role, ...]
    language: str = "es"

    def check(self) -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check("worker")
        check.email("email", self.email)
        check.distinct("roles", self.roles)
        check.done()


@dataclass
class Worker(Subject):
    """An account."""

    organization_id: str
    entry: WorkerEntry
    status: WorkerStatus = WorkerStatus.ACTIVE
    suspension_proposed_by_worker_id: str = ""  # only for an account with a network role

    @classmethod
    def register(cls, id: str, organization_id: str, entry: WorkerEntry, now: datetime) -> "Worker":
        """Returns a new account, which is active."""
        entry.check()
        worker = cls(
            id=id, create_time=now, update_time=now, organization_id=organization_id, entry=entry
        )
        worker.note("registered", now)
        return worker

    def suspend(self, now: datetime) -> None:
        """Suspends the account."""
        if self.status is not WorkerStatus.ACTIVE:
            raise Conflict("illegal_transition")
        self.status, self.suspension_proposed_by_worker_id = WorkerStatus.SUSPENDED, ""
        self.note("suspended", now)

    def propose_suspension(self, worker_id: str, now: datetime) -> None:
        """Records a proposal to suspend the account, to which a second coordinator must agree."""
        if self.status is not WorkerStatus.ACTIVE:
            raise Conflict("illegal_transition")
        self.suspension_proposed_by_worker_id, self.update_time = worker_id, now

    def renew(self, entry: WorkerEntry, now: datetime) -> None:
        """Replaces the entry after an accepted invitation, and makes the account active again.

        This is for a worker who forgot her password, or who returns after a suspension.
        """
        entry.check()
        self.entry = entry
        self.status = WorkerStatus.ACTIVE
        self.suspension_proposed_by_worker_id = ""
        self.note("renewed", now)


def normalized_email(email: str) -> str:
    """Returns the e-mail address in NFKC, case-folded, without surrounding spaces.

    Addresses that people regard as the same have the same result.
    """
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def mailbox_of(email: str) -> str:
    """Returns the same text for all addresses of one mailbox.

    Text after a + does not count; at Gmail, dots do not count either. The column `mailbox_key` of
    workers contains the same text.
    """
    name, _, domain = normalized_email(email).rpartition("@")
    name = name.partition("+")[0]
    if domain in ("gmail.com", "googlemail.com"):
        name, domain = name.replace(".", ""), "gmail.com"
    return f"{name}@{domain}"


def normalized_password(password: str) -> str:
    """Returns the password in NFKC, the form that is checked and hashed.

    Passwords that look the same have the same result, even if typed on different keyboards.
    """
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, path: str = "password") -> None:
    """Raises Invalid if a password is missing, too short to withstand guessing, or too long.

    There are no other rules, because such rules only make passwords worse. `path` is the field that
    the refusal names.
    """
    if not password:
        raise Invalid((path, "required"))
    if len(normalized_password(password)) < MIN_PASSWORD:
        raise Invalid((path, "too_short"))
    if len(password) > MAX_PASSWORD:
        raise Invalid((path, "too_long"))


def session_lives(create_time: datetime, last_use_time: datetime, now: datetime) -> bool:
    """Returns whether a session is neither idle for too long nor too old.

    If the creation or the last use lies at least MAX_IDLE in the future, a clock was wrong. The
    session then counts as ended; otherwise it could outlive its limits.
    """
    return abs(now - last_use_time) < MAX_IDLE and -MAX_IDLE < now - create_time < MAX_SESSION

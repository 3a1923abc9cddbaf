"""A key with which a partner's system acts for its organisation, within scopes, until it expires or
is revoked.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Kin, check_second, refusal
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

LIVE_KEYS = 2  # one in use and one to rotate to
USUAL_LIFE = timedelta(days=365)
LONGEST_LIFE = timedelta(days=2 * 365)
TOUCH = timedelta(seconds=60)  # a use is noted at most this often, to spare writes
_KEY_PATTERN = re.compile(r"^enl_([0-9a-f]{32})_([0-9a-f]{64})\Z")


@dataclass(frozen=True)
class Manager:
    """Who decides about a key, beside whom she is no second person, and the scopes whose rights she
    has in person: a key with others needs a second manager.
    """

    id: str
    kin: Kin
    scopes: frozenset[str]


@dataclass(frozen=True)
class ApiKeyEntry:
    """What it is for."""

    label: str
    scopes: tuple[str, ...]
    expire_time: datetime

    def check(self, now: datetime) -> None:
        """Refuses an entry that is wrong."""
        check = Check()
        check.listed("scopes", self.scopes)
        if not now < self.expire_time <= now + LONGEST_LIFE:
            check.say("expire_time", "out_of_range")
        check.done()


@dataclass
class ApiKey(Subject):
    """A key; its secret is not part of it."""

    organization_id: str
    entry: ApiKeyEntry
    last_use_time: datetime | None = None
    revoke_time: datetime | None = None
    made_by_worker_id: str = ""  # who had its secret first
    # the manager with whom it stands and falls; empty: made when the network was founded
    worker_id: str = ""
    unconfirmed: bool = False  # it may do more than that manager, and no other has agreed yet
    confirmed_by_worker_id: str = ""

    @classmethod
    def create(
        cls,
        id: str,
        organization_id: str,
        entry: ApiKeyEntry,
        live: int,
        now: datetime,
        maker: Manager | None,
    ) -> "ApiKey":
        """A new key beside `live` others."""
        entry.check(now)
        if live >= LIVE_KEYS:
            raise Conflict("too_many_keys")
        key = cls(
            id=id, create_time=now, update_time=now, organization_id=organization_id, entry=entry
        )
        if maker is not None:
            key.made_by_worker_id = maker.id
            key._stand_with(maker)
        key.note("created", now)
        return key

    @property
    def in_force(self) -> bool:
        """Neither revoked nor waiting for a second manager; its end is another matter."""
        return self.revoke_time is None and not self.unconfirmed

    def is_live(self, now: datetime) -> bool:
        """Whether it may be used."""
        return self.in_force and now < self.entry.expire_time

    def confirm(self, manager: Manager, now: datetime) -> None:
        """A second manager agrees to what the first could not do alone."""
        if self.revoke_time is not None or not self.unconfirmed:
            raise Conflict("nothing_to_confirm")
        check_second(manager, self.worker_id)
        self.unconfirmed, self.confirmed_by_worker_id = False, manager.id
        self.note("confirmed", now)

    def transfer(self, manager: Manager, now: datetime) -> None:
        """A manager takes it over: it stands and falls with her from now on, and needs a second
        manager for what she may not do herself.
        """
        if self.revoke_time is not None:
            raise Conflict("illegal_transition")
        if manager.id == self.worker_id:
            return
        self._stand_with(manager)
        if self.confirmed_by_worker_id and refusal(manager, self.confirmed_by_worker_id) is None:
            self.unconfirmed = False  # a second person beside her has agreed to it already
        self.note("transferred", now)

    def _stand_with(self, manager: Manager) -> None:
        self.worker_id = manager.id
        self.unconfirmed = not manager.scopes.issuperset(self.entry.scopes)

    def revoke(self, now: datetime) -> None:
        """Ends it; ended again, it stays as it is."""
        if self.revoke_time is None:
            self.revoke_time = now
            self.note("revoked", now)


def full_key(id: str, secret: str) -> str:
    """The key as its holder keeps it."""
    return f"enl_{id}_{secret}"


def parts(key: str) -> tuple[str, str] | None:
    """Id and secret of a key; None when it has not the shape of one."""
    match = _KEY_PATTERN.match(key)
    return (match[1], match[2]) if match else None

"""A key with which a partner's system acts for its organisation.

The key acts within its scopes, until it expires or is revoked.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Kin, check_second, refusal
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

# the maximum number of keys that an organisation may have at once: one in use, and its successor
LIVE_KEYS = 2
USUAL_LIFE = timedelta(days=365)
LONGEST_LIFE = timedelta(days=2 * 365)
# minimum time between two recorded uses of a key, to spare writes
TOUCH_INTERVAL = timedelta(seconds=60)
_KEY_PATTERN = re.compile(r"^enl_([0-9a-f]{32})_([0-9a-f]{64})\Z")


@dataclass(frozen=True)
class Manager:
    """The manager who decides about a key.

    `kin`: the accounts for which she does not count as a second person. `scopes`: the scopes whose
    rights she has herself; a key with other scopes needs a second manager.
    """

    id: str
    kin: Kin
    scopes: frozenset[str]


@dataclass(frozen=True)
class ApiKeyEntry:
    """The purpose, the scopes and the expiry of a key."""

    label: str
    scopes: tuple[str, ...]
    expire_time: datetime

    def check(self, now: datetime) -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check()
        check.distinct("scopes", self.scopes)
        if not now < self.expire_time <= now + LONGEST_LIFE:
            check.refuse("expire_time", "out_of_range")
        check.done()


@dataclass
class ApiKey(Subject):
    """A key, without its secret."""

    organization_id: str
    entry: ApiKeyEntry
    last_use_time: datetime | None = None
    revoke_time: datetime | None = None
    made_by_worker_id: str = ""  # the first holder of the key's secret
    # the key ends with this manager's account; "" if the network's founding created the key
    worker_id: str = ""
    # the scopes exceed that manager's rights, and no second manager has agreed yet
    unconfirmed: bool = False
    confirmed_by_worker_id: str = ""

    @classmethod
    def create(
        cls,
        id: str,
        organization_id: str,
        entry: ApiKeyEntry,
        live_count: int,
        now: datetime,
        maker: Manager | None,
    ) -> "ApiKey":
        """Returns a new key.

        `live_count`: the number of the organisation's keys that are neither revoked nor expired.
        `maker`: None if the network's founding creates the key.
        """
        entry.check(now)
        if live_count >= LIVE_KEYS:
            raise Conflict("too_many_keys")
        key = cls(
            id=id, create_time=now, update_time=now, organization_id=organization_id, entry=entry
        )
        if maker is not None:
            key.made_by_worker_id = maker.id
            key._assign_to(maker)
        key.note("created", now)
        return key

    @property
    def in_force(self) -> bool:
        """Returns whether the key is neither revoked nor waiting for a second manager.

        Its expiry is not considered.
        """
        return self.revoke_time is None and not self.unconfirmed

    def is_live(self, now: datetime) -> bool:
        """Returns whether the key may be used."""
        return self.in_force and now < self.entry.expire_time

    def confirm(self, manager: Manager, now: datetime) -> None:
        """Records a second manager's agreement to scopes beyond the rights of the key's manager."""
        if self.revoke_time is not None or not self.unconfirmed:
            raise Conflict("nothing_to_confirm")
        check_second(manager, self.worker_id)
        self.unconfirmed, self.confirmed_by_worker_id = False, manager.id
        self.note("confirmed", now)

    def transfer(self, manager: Manager, now: datetime) -> None:
        """Moves the key to another manager; from now on, it ends with her account.

        If the key's scopes exceed the new manager's rights, the key needs a second manager again,
        unless the manager who agreed before is a second person for the new manager, too.
        """
        if self.revoke_time is not None:
            raise Conflict("illegal_transition")
        if manager.id == self.worker_id:
            return
        self._assign_to(manager)
        if self.confirmed_by_worker_id and refusal(manager, self.confirmed_by_worker_id) is None:
            self.unconfirmed = False  # a person other than the new manager has already agreed
        else:  # the new manager can't be the second person for her own key
            self.confirmed_by_worker_id = ""
        self.note("transferred", now)

    def limit(self, scopes: frozenset[str], now: datetime) -> None:
        """Makes the key wait for a second manager if its scopes exceed its manager's rights.

        `scopes`: the scopes whose rights she has now. Nothing changes if a second manager has
        agreed to the key.
        """
        if not self.in_force or self.confirmed_by_worker_id or scopes.issuperset(self.entry.scopes):
            return
        self.unconfirmed = True
        self.note("limited", now)

    def _assign_to(self, manager: Manager) -> None:
        self.worker_id = manager.id
        self.unconfirmed = not manager.scopes.issuperset(self.entry.scopes)

    def revoke(self, now: datetime) -> None:
        """Revokes the key; a revoked key stays as it is."""
        if self.revoke_time is None:
            self.revoke_time = now
            self.note("revoked", now)


def full_key(id: str, secret: str) -> str:
    """Returns the key in the form that its holder stores."""
    return f"enl_{id}_{secret}"


def split_key(key: str) -> tuple[str, str] | None:
    """Returns the id and the secret of a key; None if the text does not have the form of a key."""
    match = _KEY_PATTERN.match(key)
    return (match[1], match[2]) if match else None

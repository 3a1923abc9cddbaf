"""A key with which a partner's system acts for its organisation, within scopes, until it expires or is revoked."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict
from services.partners.domain.codes import Check
from services.partners.domain.subject import Subject

SCOPES = (
    "directory.read",
    "directory.write",
    "referrals.read",
    "referrals.write",
    "people.read",
    "people.write",
    "contacts.write",
    "notifications",
)
LIVE_KEYS = 2  # one in use and one to rotate to
USUAL_LIFE = timedelta(days=365)
LONGEST_LIFE = timedelta(days=2 * 365)
TOUCH = timedelta(seconds=60)  # a use is noted at most this often, to spare writes
_WHOLE = re.compile(r"^enl_([0-9a-f]{32})_([0-9a-f]{64})\Z")


@dataclass(frozen=True)
class ApiKeyEntry:
    """What it is for."""

    label: str
    scopes: tuple[str, ...]
    expire_time: datetime

    def check(self, now: datetime) -> None:
        """Refuses an entry that is wrong."""
        check = Check()
        check.text("label", self.label, required=True)
        if not self.scopes:
            check.say("scopes", "required")
        check.listed("scopes", self.scopes)
        for number, scope in enumerate(self.scopes):
            if scope not in SCOPES:
                check.say(f"scopes.{number}", "unknown_code")
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

    @classmethod
    def create(cls, id: str, organization_id: str, entry: ApiKeyEntry, live: int, now: datetime) -> "ApiKey":
        """A new key beside `live` others."""
        entry.check(now)
        if live >= LIVE_KEYS:
            raise Conflict("too_many_keys")
        key = cls(id=id, create_time=now, update_time=now, organization_id=organization_id, entry=entry)
        key.note("created", now)
        return key

    def is_live(self, now: datetime) -> bool:
        """Whether it may be used."""
        return self.revoke_time is None and now < self.entry.expire_time

    def revoke(self, now: datetime) -> None:
        """Ends it; ended again, it stays as it is."""
        if self.revoke_time is None:
            self.revoke_time = now
            self.note("revoked", now)


def whole(id: str, secret: str) -> str:
    """The key as its holder keeps it."""
    return f"enl_{id}_{secret}"


def parts(key: str) -> tuple[str, str] | None:
    """Id and secret of a key; None when it has not the shape of one."""
    match = _WHOLE.match(key)
    return (match[1], match[2]) if match else None

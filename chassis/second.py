"""Checks of the rule of two: one person proposes, and a second person agrees.

Every rule of this kind, in every service, calls `check_second` instead of comparing ids. Two
accounts may belong to one person, since a person who may invite others can invite herself. So the
partners service finds the kin of each account, that is, the accounts that may belong to the same
person (services/partners/members/domain/independence.py), and puts these kin into the caller's
token. A caller whose kin are unknown is never a second person.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from chassis.errors import Conflict, Unauthenticated

_MARK = 12
"""Length of a mark, the last characters of an id: 48 bits.

Two accounts whose ids have the same mark would count as kin, and be refused as first and second
person.
"""

_ROUNDING = timedelta(milliseconds=1)
"""Tolerance for times in tokens, which are floating-point numbers."""


@dataclass(frozen=True)
class Kin:
    """The accounts and API keys that may belong to the same person as an account, by marks of their
    ids.

    `alone` is the reason why the account never counts as a second person: unknown (its origin is
    unknown, or the caller is a system), second_factor (the account has only a password), too_many
    (more kin than a token can carry); empty if the account may count. `time` is when the kin were
    looked up; None means just now.
    """

    marks: frozenset[str] = frozenset()
    alone: str = "unknown"
    time: datetime | None = field(default=None, compare=False)

    def includes(self, id: str) -> bool:
        """Returns True if an account or key is among the kin."""
        return mark_of(id) in self.marks


UNKNOWN = Kin()
"""The kin of a caller about whom nothing is known."""
NONE = Kin(alone="")
"""The kin of an account that has no kin, and may count as a second person."""


class Second(Protocol):
    """A person who may agree as the second person: a caller, or an actor of a domain."""

    @property
    def id(self) -> str:
        """The id of her account."""

    @property
    def kin(self) -> Kin:
        """The kin of her account."""


def mark_of(id: str) -> str:
    """Returns the mark of an id, which stands for the id in a token."""
    return id[-_MARK:]


def refusal(second: Second, first_id: str) -> Conflict | None:
    """Returns the refusal if `second` can't be the second person after `first_id`; None if she can.

    second_person_required: she is the first person herself. not_independent: she may be the same
    person; `about` gives the reason (kin, or a reason of `Kin.alone`).
    """
    if second.id == first_id:
        return Conflict("second_person_required")
    if second.kin.alone:
        return Conflict("not_independent", second.kin.alone)
    if second.kin.includes(first_id):
        return Conflict("not_independent", "kin")
    return None


def check_second(second: Second, first_id: str, first_time: datetime | None = None) -> None:
    """Raises Conflict, as in `refusal`, for a caller who can't be the second person after
    `first_id`.

    `first_time` is when the first person acted. Kin looked up earlier are too old, since the first
    person's account may have been created in between: the caller needs a fresh token
    (Unauthenticated token_expired).
    """
    if conflict := refusal(second, first_id):
        raise conflict
    if first_time and second.kin.time and second.kin.time + _ROUNDING < first_time:
        raise Unauthenticated("token_expired")

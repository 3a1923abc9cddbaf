"""Rules of two: one person proposes, a second one agrees.

Every such rule of every service asks `check_second`, and compares no ids itself.

Another account is not another person: whoever may invite can have two. So partners finds the kin of
an account (services/partners/members/domain/independence.py), and the caller's token carries them.
A caller of whom nobody said who her kin are is nobody's second person.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from chassis.errors import Conflict, Unauthenticated

_MARK = 12
"""Characters of an id that make its mark: 48 bits.

Two ids with one mark would be taken for kin, and refused.
"""

_ROUNDING = timedelta(milliseconds=1)
"""A token says its time as a floating-point number."""


@dataclass(frozen=True)
class Kin:
    """The accounts and API keys behind which the same person may stand as behind an account, by
    marks of their ids.

    `alone` is why she is nobody's second person: unknown (it is not known how her account came
    about, or a system asks), second_factor (her account asks for nothing beside the password),
    too_many (more kin than a token carries); empty if she may be. `time` is when they were looked
    up; None: just now.
    """

    marks: frozenset[str] = frozenset()
    alone: str = "unknown"
    time: datetime | None = field(default=None, compare=False)

    def includes(self, id: str) -> bool:
        """Whether an account or key is one of them."""
        return mark_of(id) in self.marks


UNKNOWN = Kin()
"""Of whom nobody has said anything."""
NONE = Kin(alone="")
"""The kin of an account that has none."""


class Second(Protocol):
    """A person who agrees as the second one: a caller, or an actor in the words of a domain."""

    @property
    def id(self) -> str:
        """The id of her account."""

    @property
    def kin(self) -> Kin:
        """The accounts and keys beside which she is no second person."""


def mark_of(id: str) -> str:
    """Returns the mark that stands for an id in a token."""
    return id[-_MARK:]


def refusal(second: Second, first_id: str) -> Conflict | None:
    """Returns why `second` is no second person beside `first_id`; None if she is one.

    second_person_required: the first asks again. not_independent: she may be the same person;
    `about` says why (kin, or as in `Kin.alone`).
    """
    if second.id == first_id:
        return Conflict("second_person_required")
    if second.kin.alone:
        return Conflict("not_independent", second.kin.alone)
    if second.kin.includes(first_id):
        return Conflict("not_independent", "kin")
    return None


def check_second(second: Second, first_id: str, first_time: datetime | None = None) -> None:
    """Refuses anybody who is not a second person beside `first_id`, as in `refusal`.

    `first_time` is when the first one acted. Her account may have come about a moment before, so
    kin that were looked up earlier do not do: the caller is asked for a fresh token
    (token_expired).
    """
    if why := refusal(second, first_id):
        raise why
    if first_time and second.kin.time and second.kin.time + _ROUNDING < first_time:
        raise Unauthenticated("token_expired")

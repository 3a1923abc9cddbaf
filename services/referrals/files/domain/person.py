"""The person who is helped: what may be said of her without saying who she is, and the identity
that is sealed.
"""

from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from enum import Enum

from chassis.errors import Conflict
from services.referrals.network.domain.codes import Check


class FieldGroup(Enum):
    """What a consent names."""

    IDENTITY = "identity"
    CONTACT = "contact"
    HEALTH = "health"
    EXPLOITATION = "exploitation"
    FAMILY = "family"
    LOCATION = "location"
    DOCUMENTS = "documents"
    NOTES = "notes"  # free text about her, in the history of a referral


@dataclass(frozen=True)
class Coarse:
    """Bands and codes; enough to match a service."""

    age_band: str = ""
    gender_code: str = ""
    language: str = ""
    dependants: int | None = None  # None: not known, which is not none
    country: str = ""
    department: str = ""


@dataclass(frozen=True)
class Identity:
    """The sealed part; each field belongs to one group."""

    given_name: str = ""
    family_name: str = ""
    birth_date: str = ""
    phone: str = ""
    address: str = ""
    health_note: str = ""
    exploitation_note: str = ""
    family_note: str = ""
    document_number: str = ""

    def check(self, today: date) -> None:
        """Refuses a birth date that no calendar has, or nobody alive."""
        check = Check()
        born = _date(self.birth_date)
        check.that(not self.birth_date or born is not None, "identity.birth_date", "malformed")
        check.that(
            born is None or date(1900, 1, 1) <= born <= today, "identity.birth_date", "out_of_range"
        )
        check.done()

    def only(self, groups: frozenset[FieldGroup]) -> "Identity":
        """The fields of these groups; the others empty."""
        return Identity(
            **{name: getattr(self, name) for name, group in GROUP_OF.items() if group in groups}
        )

    def merged(self, newer: "Identity") -> "Identity":
        """With every non-empty field of a newer one."""
        return Identity(
            **{
                each.name: getattr(newer, each.name) or getattr(self, each.name)
                for each in fields(self)
            }
        )

    @property
    def known(self) -> bool:
        """Whether anything at all is said."""
        return any(getattr(self, each.name) for each in fields(self))


GROUP_OF: dict[str, FieldGroup] = {
    "given_name": FieldGroup.IDENTITY,
    "family_name": FieldGroup.IDENTITY,
    "birth_date": FieldGroup.IDENTITY,
    "phone": FieldGroup.CONTACT,
    "address": FieldGroup.LOCATION,
    "health_note": FieldGroup.HEALTH,
    "exploitation_note": FieldGroup.EXPLOITATION,
    "family_note": FieldGroup.FAMILY,
    "document_number": FieldGroup.DOCUMENTS,
}


NOBODY_CALLS = "none"
"""The channel of a plan by which she must not be contacted at all."""


@dataclass(frozen=True)
class SafeContact:
    """How she may be contacted, or that she can't be."""

    channel_code: str
    hours: str = ""
    code_word: str = ""
    never_say: str = ""
    message_may_be_left: bool = False


@dataclass(frozen=True)
class Arrival:
    """How she comes to a receiver who may not contact her."""

    expected: str
    way: str
    company: str
    sign: str

    def check(self) -> None:
        """Refuses an answer that is missing."""
        check = Check()
        for name, answer in vars(self).items():
            check.that(bool(answer.strip()), f"arrival.{name}", "required")
        check.done()


@dataclass
class Person:
    """A file. The identity is kept apart and opened only by OpenPerson."""

    id: str
    organization_id: str
    coarse: Coarse
    create_time: datetime
    update_time: datetime
    version: int = 1
    trafficking_status_code: str = ""
    exploitation_country: str = ""
    has_identity: bool = False
    safe_contact_channel: str = ""
    message_may_be_left: bool = False
    erased: bool = field(default=False)

    @property
    def may_be_contacted(self) -> bool:
        """Her plan names a way; not while nobody asked her, and not when she said that there is
        none.
        """
        return self.safe_contact_channel not in ("", "none")

    @property
    def may_be_called(self) -> bool:
        """Her plan names the phone."""
        return self.safe_contact_channel == "phone"

    def check_callable(self) -> None:
        """Nobody agrees on a call that her plan forbids, or before she was asked."""
        if not self.safe_contact_channel:
            raise Conflict("safe_contact_missing")
        if not self.may_be_called:
            raise Conflict("call_not_safe")

    def check_not_erased(self) -> None:
        """What was erased is gone for everybody."""
        if self.erased:
            raise Conflict("person_erased")

    def identify(self, identity: Identity, now: datetime, today: date) -> None:
        """Notes of her identity what may be said without it: whether there is one, and the age band
        on this day, the one at her place.
        """
        self.check_not_erased()
        self.has_identity = identity.known
        self.coarse = replace(
            self.coarse, age_band=age_band(identity.birth_date, today) or self.coarse.age_band
        )
        self._changed(now)

    def grow(self, birth_date: str, now: datetime, today: date) -> bool:
        """Notes the age band of this day; returns whether it is another one."""
        band = age_band(birth_date, today)
        if not band or band == self.coarse.age_band:
            return False
        self.coarse = replace(self.coarse, age_band=band)
        self._changed(now)
        return True

    def plan_contact(self, plan: SafeContact, now: datetime) -> None:
        """Notes of the plan what is not sealed: the channel, or that there is none, and whether a
        message may be left.
        """
        self.check_not_erased()
        self.safe_contact_channel, self.message_may_be_left = (
            plan.channel_code,
            plan.message_may_be_left,
        )
        self._changed(now)

    def contact_outline(self) -> SafeContact:
        """What of the plan is not sealed; refuses when nobody asked her yet."""
        if not self.safe_contact_channel:
            raise Conflict("safe_contact_missing")
        return SafeContact(self.safe_contact_channel, message_may_be_left=self.message_may_be_left)

    def _changed(self, now: datetime) -> None:
        self.version += 1
        self.update_time = now


_BANDS = {12: "0-11", 18: "12-17", 25: "18-24", 60: "25-59"}
"""The age at which a band is over, in years."""


def age_band(birth_date: str, today: date) -> str:
    """The band of an age; empty when the date is unknown."""
    born = _date(birth_date)
    if born is None:
        return ""
    return next((band for years, band in _BANDS.items() if today < _birthday(born, years)), "60+")


def band_end(birth_date: str, band: str) -> date | None:
    """The first day on which somebody born on this date is older than a band; None for an unknown
    date and for the last band.
    """
    born = _date(birth_date)
    return (
        next((_birthday(born, years) for years, each in _BANDS.items() if each == band), None)
        if born
        else None
    )


def _birthday(born: date, years: int) -> date:
    """The day on which somebody is so many years old.

    Of 29 February it is 1 March in years without one.
    """
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        return date(born.year + years, 3, 1)


def _date(text: str) -> date | None:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        return None
    # not the other ways of ISO 8601, such as a week
    return parsed if parsed.isoformat() == text else None

"""The person who is helped: her coarse data, which do not identify her, and her sealed identity."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum
from typing import Any

from chassis.errors import Conflict
from services.referrals.network.domain.codes import Check


class FieldGroup(Enum):
    """A group of fields that a consent can name."""

    IDENTITY = "identity"
    CONTACT = "contact"
    HEALTH = "health"
    EXPLOITATION = "exploitation"
    FAMILY = "family"
    LOCATION = "location"
    DOCUMENTS = "documents"
    NOTES = "notes"  # free text about the person, in the history of a referral


@dataclass(frozen=True)
class Coarse:
    """A person's age band and codes, which are enough to find a service for her."""

    age_band: str = ""
    gender_code: str = ""
    language: str = ""
    dependants: int | None = None  # None: not known, unlike 0
    country: str = ""
    department: str = ""


@dataclass(frozen=True)
class Identity:
    """The sealed identity of a person; each field belongs to one field group."""

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
        """Refuses a birth date that does not exist, or that no living person can have."""
        check = Check()
        day_of_birth = _date(self.birth_date)
        check.require(
            not self.birth_date or day_of_birth is not None, "identity.birth_date", "malformed"
        )
        check.require(
            day_of_birth is None or date(1900, 1, 1) <= day_of_birth <= today,
            "identity.birth_date",
            "out_of_range",
        )
        check.done()

    def only(self, groups: frozenset[FieldGroup]) -> "Identity":
        """Returns the fields of these groups; the other fields are empty."""
        return Identity(
            **{name: getattr(self, name) for name, group in GROUP_OF.items() if group in groups}
        )

    def with_fields(self, newer: "Identity", names: Collection[str]) -> "Identity":
        """Returns the identity with these fields of a newer one; an empty field is cleared."""
        return replace(self, **{name: getattr(newer, name) for name in names})

    @property
    def known_fields(self) -> frozenset[str]:
        """Returns the names of the fields that are not empty."""
        return frozenset(name for name in GROUP_OF if getattr(self, name))

    @property
    def known(self) -> bool:
        """Returns whether any field is set."""
        return bool(self.known_fields)


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


CHILDREN = frozenset({"0-11", "12-17"})
"""The age bands of children."""
ADULTHOOD_CHANGES = "adulthood_changes"


NO_CONTACT = "none"
"""The channel of a safe-contact plan that forbids every contact with the person."""


@dataclass(frozen=True)
class SafeContact:
    """A person's safe-contact plan: how she may be contacted, or that nobody may contact her."""

    channel_code: str
    hours: str = ""
    code_word: str = ""
    never_say: str = ""
    message_may_be_left: bool = False


@dataclass(frozen=True)
class Arrival:
    """The planned arrival, at a receiver, of a person whom nobody may contact."""

    expected: str
    way: str
    company: str
    sign: str

    def check(self) -> None:
        """Refuses an arrival with an empty answer."""
        check = Check()
        for name, answer in vars(self).items():
            check.require(bool(answer.strip()), f"arrival.{name}", "required")
        check.done()


@dataclass
class Person:
    """A person's file. The identity is stored separately, and only OpenPerson shows it."""

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
        """Returns whether the person's safe-contact plan names a channel.

        False if she has not been asked yet, or if the plan forbids every contact.
        """
        return self.safe_contact_channel not in ("", NO_CONTACT)

    @property
    def may_be_called(self) -> bool:
        """Returns whether the person's safe-contact plan names the phone."""
        return self.safe_contact_channel == "phone"

    def check_callable(self) -> None:
        """Refuses a call if the person's plan forbids it, or if she has no plan yet."""
        if not self.safe_contact_channel:
            raise Conflict("safe_contact_missing")
        if not self.may_be_called:
            raise Conflict("call_not_safe")

    def check_not_erased(self) -> None:
        """Refuses an erased file."""
        if self.erased:
            raise Conflict("person_erased")

    def apply_identity(
        self,
        identity: Identity,
        now: datetime,
        today: date,
        former: Identity = Identity(),
        acknowledged_codes: Collection[str] = (),
    ) -> None:
        """Updates the data that follow from the person's identity, which replaces a former one.

        These data are the age band, and whether any field of the identity is set. `today` is the
        local date at the person's place. Without a birth date the age band stays. Raises Invalid if
        a child's birth date would be cleared: a consent that somebody else gave for her would then
        outlast the day on which she comes of age. Raises Conflict, unless it is acknowledged, if a
        new birth date makes a child an adult or an adult a child.
        """
        self.check_not_erased()
        former_band = age_band(former.birth_date, today)
        known_band = former_band or self.coarse.age_band
        new_band = age_band(identity.birth_date, today) or known_band
        check = Check()
        check.require(
            bool(identity.birth_date) or former_band not in CHILDREN,
            "identity.birth_date",
            "required",
        )
        check.done()
        if (
            known_band
            and (known_band in CHILDREN) is not (new_band in CHILDREN)
            and ADULTHOOD_CHANGES not in acknowledged_codes
        ):
            raise Conflict(ADULTHOOD_CHANGES)
        self.has_identity = identity.known
        self.coarse = replace(self.coarse, age_band=new_band)
        self._mark_changed(now)

    def correct(
        self, changes: Mapping[str, Any], birth_date: str, now: datetime, today: date
    ) -> None:
        """Replaces attributes of the file that are not sealed; `changes` has their new values.

        The age band still follows from the birth date, if that is known. Without a birth date, a
        known band does not become unknown, and does not change from or to a child's band, since it
        determines who consents for her. Raises Invalid if the new band contradicts this.
        """
        self.check_not_erased()
        former_band, derived_band = self.coarse.age_band, age_band(birth_date, today)
        for name, value in changes.items():
            setattr(self, name, value)
        new_band = self.coarse.age_band
        is_consistent = (
            new_band in (former_band, derived_band)
            if derived_band
            else new_band == former_band or CHILDREN.isdisjoint({new_band, former_band})
        )
        check = Check()
        check.require(
            is_consistent or not (former_band and new_band),
            "person.coarse.age_band",
            "contradicts",
        )
        check.done()
        self.coarse = replace(self.coarse, age_band=derived_band or new_band or former_band)
        self._mark_changed(now)

    def update_age_band(self, birth_date: str, now: datetime, today: date) -> bool:
        """Updates the age band to that of `today`; returns whether the band changed."""
        band = age_band(birth_date, today)
        if not band or band == self.coarse.age_band:
            return False
        self.coarse = replace(self.coarse, age_band=band)
        self._mark_changed(now)
        return True

    def plan_contact(self, plan: SafeContact, now: datetime) -> None:
        """Stores the parts of the safe-contact plan that are not sealed.

        These parts are the channel (or that nobody may contact her), and whether a message may be
        left.
        """
        self.check_not_erased()
        self.safe_contact_channel = plan.channel_code
        self.message_may_be_left = plan.message_may_be_left
        self._mark_changed(now)

    def contact_outline(self) -> SafeContact:
        """Returns the parts of the safe-contact plan that are not sealed.

        Raises Conflict if the person has not been asked yet.
        """
        if not self.safe_contact_channel:
            raise Conflict("safe_contact_missing")
        return SafeContact(self.safe_contact_channel, message_may_be_left=self.message_may_be_left)

    def _mark_changed(self, now: datetime) -> None:
        self.version += 1
        self.update_time = now


_BANDS = {12: "0-11", 18: "12-17", 25: "18-24", 60: "25-59"}
"""The age bands, by the age in years at which each band ends."""


def age_band(birth_date: str, today: date) -> str:
    """Returns the age band of a birth date; "" if the date is unknown."""
    day_of_birth = _date(birth_date)
    if day_of_birth is None:
        return ""
    return next(
        (band for years, band in _BANDS.items() if today < _birthday(day_of_birth, years)), "60+"
    )


def band_end(birth_date: str, band: str) -> date | None:
    """Returns the first day on which somebody with this birth date is too old for the band.

    Returns None for an unknown date and for the last band.
    """
    day_of_birth = _date(birth_date)
    return (
        next(
            (_birthday(day_of_birth, years) for years, name in _BANDS.items() if name == band), None
        )
        if day_of_birth
        else None
    )


def _birthday(day_of_birth: date, years: int) -> date:
    """Returns the day on which somebody reaches an age.

    A birthday on 29 February counts as 1 March in years without that day.
    """
    try:
        return day_of_birth.replace(year=day_of_birth.year + years)
    except ValueError:
        return date(day_of_birth.year + years, 3, 1)


def _date(text: str) -> date | None:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        return None
    # refuses other ISO 8601 forms, such as week dates
    return parsed if parsed.isoformat() == text else None

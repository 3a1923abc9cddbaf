"""The consent receipt: on what one organisation may open which field groups of a person, for which
purposes, until when.

Checked at sending and at every opening, by her age as her file says it then. A receipt stands on
her own word, on the word of somebody who may give it for her, on a decision in a child's best
interest, or on an override: nobody was asked, because waiting would cost too much. All but her own
word and a child's guardian need a second person.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Second, check_second
from services.referrals.files.domain.person import FieldGroup, Identity, Person
from services.referrals.network.domain.codes import REACHED_BY_OVERRIDE, Check
from services.referrals.network.domain.deadline import OVERRIDE_CONFIRM, OVERRIDE_END

LONGEST = timedelta(days=366)
DEFAULT = timedelta(days=90)
NOTICE = timedelta(days=14)
"""Before a consent ends she can be asked whether it goes on."""
HERSELF = "person"
BEST_INTEREST = "best_interest"
CHILDREN = frozenset({"0-11", "12-17"})
TOO_YOUNG_TO_ASK = frozenset({"0-11"})
"""The ages at which it can be true that a child is too young to say yes or no."""
POINTS = 7
"""HTCDS' points, the contract's enum Explained: who was not told all of them has agreed to
nothing.
"""
OVERRIDE_GROUPS = frozenset(
    {
        FieldGroup.IDENTITY,
        FieldGroup.CONTACT,
        FieldGroup.HEALTH,
        FieldGroup.LOCATION,
        FieldGroup.NOTES,
    }
)
"""What is needed to act: nothing of her story, her family or her papers."""
FIRST_GROUPS = frozenset({FieldGroup.IDENTITY, FieldGroup.CONTACT})
"""Before a second person has agreed to an override: of these her first name and her safe-contact
plan, which a bed needs tonight.
"""


@dataclass(frozen=True)
class Grant:
    """What of one person may be opened now.

    The store opens nothing without one; it comes from `of_file`, from Receipt.opens or from
    EmergencyAccess.opens.
    """

    person_id: str
    groups: frozenset[FieldGroup]
    # what it stands on beside file and receipt, as the trail says it: emergency:ID
    basis: tuple[str, ...] = ()
    first_name_only: bool = False

    @classmethod
    def of_file(cls, person: Person, organization_id: str) -> "Grant":
        """Everything, for the organisation that holds the file; nothing for any other."""
        return cls(
            person.id,
            frozenset(FieldGroup) if person.organization_id == organization_id else frozenset(),
        )

    def shows(self, identity: Identity) -> Identity:
        """The part of an identity that it opens."""
        shown = identity.only(self.groups)
        return Identity(given_name=shown.given_name) if self.first_name_only else shown


@dataclass(frozen=True)
class Circumstances:
    """What a receipt is judged by beside its own record.

    It changes after the receipt was given, so it is read again at every use.
    """

    age_band: str = ""  # as her file says it; empty: unknown
    recipient_type: str = ""
    # she withdrew something; asked when a receipt is recorded, since a withdrawal ends what others
    # gave before
    took_back: bool = False


@dataclass
class Receipt:
    """A record that is signed as a whole: whoever widens, lengthens or revives it in the database
    makes it worthless.
    """

    id: str
    person_id: str
    organization_id: str  # the file's, which recorded it
    recipient_organization_id: str
    field_groups: frozenset[FieldGroup]
    purpose_codes: tuple[str, ...]
    until_time: datetime
    giver_code: str  # empty on an override: nobody gave it
    manner_code: str
    create_time: datetime
    reason_code: str = ""  # why it is an override; empty on a consent
    recorded_by_worker_id: str = ""
    assent_code: str = ""  # the child's own word
    in_private: bool = False
    interpreter: bool = False
    explained_codes: tuple[str, ...] = ()
    confirm_time: datetime | None = None
    confirmed_by_worker_id: str = ""
    withdraw_time: datetime | None = None
    signature: str = ""
    version: int = 1
    adult_ground_code: str = ""  # how it is known that she is an adult, where her file says no age
    giver_ground_code: str = ""  # why somebody else gave it for an adult
    genuine: bool = True  # False when the signature does not hold, or an older record was put back
    about: Circumstances = Circumstances()

    @classmethod
    def override(
        cls,
        identifier: str,
        person_id: str,
        organization_id: str,
        worker_id: str,
        recipient_id: str,
        need_code: str,
        reason: str,
        now: datetime,
    ) -> "Receipt":
        """For one need and one recipient, and three days at most."""
        return cls(
            identifier,
            person_id,
            organization_id,
            recipient_id,
            OVERRIDE_GROUPS,
            (need_code,),
            now + OVERRIDE_END,
            "",
            "",
            now,
            reason,
            worker_id,
        )

    @property
    def is_override(self) -> bool:
        """Nobody gave it."""
        return bool(self.reason_code)

    @property
    def confirm_until(self) -> datetime | None:
        """Until when an override opens without a second person."""
        return self.create_time + OVERRIDE_CONFIRM if self.is_override else None

    @property
    def is_unconfirmed_override(self) -> bool:
        """No second person has agreed to it."""
        return self.is_override and self.confirm_time is None

    @property
    def notice_time(self) -> datetime:
        """When it is told that it ends: two weeks before, or at the half of one that is shorter
        than four.
        """
        return self.until_time - min(NOTICE, (self.until_time - self.create_time) / 2)

    @property
    def is_minors(self) -> bool:
        """Whether it is a child's.

        An unknown age is a child's until it is recorded how it is known that she is an adult.
        """
        return self.about.age_band in CHILDREN or not (
            self.about.age_band or self.adult_ground_code
        )

    @property
    def needs_second(self) -> bool:
        """Whether it opens nothing until a second person has confirmed it."""
        return self.giver_code == BEST_INTEREST or bool(self.giver_ground_code)

    @property
    def in_her_stead(self) -> bool:
        """Whether somebody else gives it for an adult."""
        return not self.is_override and not self.is_minors and self.giver_code != HERSELF

    def check(self) -> None:
        """Refuses a record that would not stand up for this person."""
        check = Check()
        for number, code in enumerate(self.purpose_codes):
            check.need(f"receipt.purpose_codes.{number}", code, required=True)
        longest = OVERRIDE_END if self.in_her_stead else LONGEST
        check.that(
            self.create_time < self.until_time <= self.create_time + longest,
            "receipt.until_time",
            "out_of_range",
        )
        heard = self.giver_code == BEST_INTEREST or len(set(self.explained_codes)) == POINTS
        check.that(heard, "receipt.explained_codes", "required")
        if self.is_minors:
            # what is missing first is a guardian
            alone = self.giver_code == HERSELF and not self.about.age_band
            check.that(bool(self.assent_code) or alone, "receipt.assent_code", "required")
            too_young = (
                self.assent_code == "too_young" and self.about.age_band not in TOO_YOUNG_TO_ASK
            )
            check.that(not too_young, "receipt.assent_code", "out_of_range")
        elif self.in_her_stead and self.giver_code != BEST_INTEREST:
            check.that(bool(self.giver_ground_code), "receipt.giver_ground_code", "required")
            check.that(self.field_groups <= OVERRIDE_GROUPS, "receipt.field_groups", "out_of_range")
            check.that(len(self.purpose_codes) == 1, "receipt.purpose_codes", "out_of_range")
        check.done()
        self.check_giver()

    def check_giver(self) -> None:
        """Refuses a giver who may not give this for her: the one rule for every giver, asked when a
        receipt is recorded and at every use.

        A child's is given by a guardian, an authority or a decision in its best interest, and only
        the last against the child's no. An adult gives it herself; somebody else on a ground,
        within what an override opens, and never what `_check_reachable` refuses.
        """
        if self.is_override:
            return
        if not self.is_minors:
            if self.giver_code != HERSELF:
                within = (
                    self.field_groups <= OVERRIDE_GROUPS
                    and self.until_time <= self.create_time + OVERRIDE_END
                )
                if (
                    self.giver_code == BEST_INTEREST
                    or not self.giver_ground_code
                    or not within
                    or len(self.purpose_codes) != 1
                ):
                    raise Conflict("own_consent_required")
                self._check_reachable()
            return
        if self.giver_code == HERSELF:
            raise Conflict("guardian_required")
        too_young = self.assent_code == "too_young" and self.about.age_band in TOO_YOUNG_TO_ASK
        overruled = self.assent_code == "refused" and self.giver_code == BEST_INTEREST
        if not (self.assent_code == "given" or too_young or overruled):
            raise Conflict("assent_required")
        if overruled and not self.about.age_band:  # she may be an adult
            self._check_reachable()

    def _check_reachable(self) -> None:
        """Without an adult's own yes nothing goes to who may hold her, charge her or send her away,
        and nothing after she took something back.
        """
        if self.about.recipient_type not in REACHED_BY_OVERRIDE or self.about.took_back:
            raise Conflict("own_consent_required")

    def confirm(self, second: Second, now: datetime) -> None:
        """A second person agrees: once, and while it can still be agreed to."""
        if not (self.is_override or self.needs_second) or self.confirm_time is not None:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.recorded_by_worker_id, self.create_time)
        self._check_not_over(now)
        if self.confirm_until is not None and now >= self.confirm_until:
            raise Conflict("receipt_expired")
        self.confirm_time, self.confirmed_by_worker_id = now, second.id
        self.version += 1

    def withdraw(self, now: datetime) -> None:
        """She takes it back."""
        self.withdraw_time = now
        self.version += 1

    def end(self, now: datetime) -> None:
        """It is no longer needed: another one has taken its place."""
        self.until_time = min(self.until_time, now)
        self.version += 1

    def check_live(self, now: datetime) -> None:
        """Genuine, neither withdrawn nor over, given by somebody who may give it for her as she is
        now, and confirmed where that is asked for.
        """
        self._check_not_over(now)
        self.check_giver()
        if self.confirm_time is None and (
            self.needs_second or (self.confirm_until is not None and now >= self.confirm_until)
        ):
            raise Conflict("receipt_unconfirmed")

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything now."""
        try:
            self.check_live(now)
        except Conflict:
            return False
        return True

    def check_covers(
        self, recipient_organization_id: str, purpose_code: str, now: datetime
    ) -> None:
        """Live, for this recipient and this purpose; a group code covers its children."""
        self.check_live(now)
        if self.recipient_organization_id != recipient_organization_id:
            raise Conflict("receipt_recipient_differs")
        if purpose_code not in self.purpose_codes and purpose_code[:3] not in self.purpose_codes:
            raise Conflict("receipt_purpose_differs")

    def opens(
        self,
        recipient_organization_id: str,
        purpose_code: str,
        groups: frozenset[FieldGroup],
        now: datetime,
    ) -> Grant:
        """What is asked for, if it covers and names every field group of it.

        A recipient does not hear why a giver may not give it any more.
        """
        try:
            self.check_giver()
        except Conflict:
            raise Conflict("receipt_missing") from None
        self.check_covers(recipient_organization_id, purpose_code, now)
        if not groups <= self.field_groups:
            raise Conflict("receipt_field_group_differs")
        if self.is_unconfirmed_override and not groups <= FIRST_GROUPS:
            raise Conflict("receipt_unconfirmed")
        return Grant(self.person_id, groups, first_name_only=self.is_unconfirmed_override)

    def canonical(self) -> bytes:
        """What is signed: all of it, in a fixed form, a line a field.

        A field of `_LATER` is no line while it is empty, so that older signatures hold.
        """
        names = [each.name for each in fields(self) if each.name not in _UNSIGNED]
        return "\n".join(
            f"{name}={_plain(getattr(self, name))}"
            for name in names
            if name not in _LATER or getattr(self, name)
        ).encode()

    def _check_not_over(self, now: datetime) -> None:
        if not self.genuine:
            # to whoever asks there is none; operations hears of it
            raise Conflict("receipt_missing")
        if self.withdraw_time is not None:
            raise Conflict("receipt_withdrawn")
        if now >= self.until_time:
            raise Conflict("receipt_expired")


_UNSIGNED = ("signature", "genuine", "about")
_LATER = ("adult_ground_code", "giver_ground_code")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, frozenset):
        return ",".join(sorted(group.value for group in value))
    if isinstance(value, tuple):
        return ",".join(sorted(value))
    return "" if value is None else str(value)

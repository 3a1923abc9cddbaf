"""Consent receipts: which field groups of a person an organisation may open, why and until when.

A receipt is checked when a referral is sent and at every access, against the age in the person's
file at that moment. A receipt is based on the person's own consent, on the consent of somebody who
may give it for her, on a decision in a child's best interest, or on an override. An override is
made without asking anybody, because waiting would do too much harm. A second person must confirm
every receipt except the person's own consent and the consent of a child's guardian or authority.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Second, check_second
from services.referrals.files.domain.person import CHILDREN, FieldGroup, Identity, Person
from services.referrals.network.domain.codes import REACHED_BY_OVERRIDE, Check
from services.referrals.network.domain.deadline import OVERRIDE_CONFIRM, OVERRIDE_END

LONGEST = timedelta(days=366, hours=23, minutes=59)
"""A year, even a leap year, to the last minute of the same day."""
DEFAULT = timedelta(days=90)
NOTICE = timedelta(days=14)
"""How long before the end of a consent the person can be asked to renew it."""
AGE_CHECK = timedelta(days=7)
"""The time between two checks of a consent that depends on the person's age.

Each check tests whether the consent ends within NOTICE.
"""
HERSELF = "person"
GUARDIAN = "guardian"
BEST_INTEREST = "best_interest"
TOO_YOUNG_TO_ASK = frozenset({"0-11"})
"""The age bands in which a child may be too young to say yes or no."""
POINTS = 7
"""The number of points that must be explained: the points of HTCDS, as in the enum Explained.

A consent is valid only if all of them were explained to the person who gave it.
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
"""The field groups that are needed to act: nothing of the person's story, family or papers."""
FIRST_GROUPS = frozenset({FieldGroup.IDENTITY, FieldGroup.CONTACT})
"""The field groups that an override opens before a second person has confirmed it.

Within these groups the override then opens only the person's first name and her safe-contact plan,
which are needed to give her a bed tonight.
"""


@dataclass(frozen=True)
class Grant:
    """The permission to open some of one person's data now.

    The store opens nothing without a grant. Grants come from `of_file`, Receipt.grant_for and
    EmergencyAccess.grant_for.
    """

    person_id: str
    groups: frozenset[FieldGroup]
    # the basis, as written on the trail (emergency:ID); empty if the basis is the file or a receipt
    basis: tuple[str, ...] = ()
    first_name_only: bool = False

    @classmethod
    def of_file(cls, person: Person, organization_id: str) -> "Grant":
        """Returns a grant for all groups if the organisation holds the file, otherwise for none."""
        return cls(
            person.id,
            frozenset(FieldGroup) if person.organization_id == organization_id else frozenset(),
        )

    def shows(self, identity: Identity) -> Identity:
        """Returns the part of an identity that the grant opens."""
        shown = identity.only(self.groups)
        return Identity(given_name=shown.given_name) if self.first_name_only else shown


@dataclass(frozen=True)
class Circumstances:
    """The circumstances against which a receipt is checked, besides its own fields.

    The age band and the recipient's type may change after the receipt was given, so they are read
    at every use.
    """

    age_band: str = ""  # the age band in the person's file; empty if unknown
    recipient_type: str = ""
    # True if the person has withdrawn a consent before. This is read only when a receipt is
    # recorded, since a later withdrawal ends the receipts that other people gave for her.
    has_withdrawn: bool = False
    # whether the account that recorded the receipt has been suspended since
    recorder_suspended: bool = False


@dataclass
class Receipt:
    """A consent receipt, signed as a whole.

    Any change to a receipt in the database invalidates the signature, so a receipt can't be
    widened, prolonged or revived there.
    """

    id: str
    person_id: str
    organization_id: str  # the organisation of the file, which recorded the receipt
    recipient_organization_id: str
    field_groups: frozenset[FieldGroup]
    purpose_codes: tuple[str, ...]
    until_time: datetime
    giver_code: str  # empty on an override, which nobody gave
    manner_code: str
    create_time: datetime
    reason_code: str = ""  # the reason for an override; empty on a consent
    recorded_by_worker_id: str = ""
    assent_code: str = ""  # the child's own answer
    in_private: bool = False
    interpreter: bool = False
    explained_codes: tuple[str, ...] = ()
    confirm_time: datetime | None = None
    confirmed_by_worker_id: str = ""
    withdraw_time: datetime | None = None
    signature: str = ""
    version: int = 1
    # the evidence that the person is an adult, if her file has no age
    adult_ground_code: str = ""
    giver_ground_code: str = ""  # why somebody else gave the consent for an adult
    genuine: bool = True  # False if the signature is invalid, or if an older version was put back
    circumstances: Circumstances = Circumstances()

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
        """Returns an override for one need and one recipient, for three days at most."""
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
        """Returns whether the receipt is an override, which is made without anybody's consent."""
        return bool(self.reason_code)

    @property
    def confirm_until(self) -> datetime | None:
        """Returns the time by which an override must be confirmed; None for a consent."""
        return self.create_time + OVERRIDE_CONFIRM if self.is_override else None

    @property
    def may_be_confirmed(self) -> bool:
        """Returns whether the receipt still waits for the confirmation by a second person.

        If the worker who recorded the receipt is suspended, only an override still waits.
        """
        waits = self.is_override or (
            self.needs_second and not self.circumstances.recorder_suspended
        )
        return waits and self.confirm_time is None

    @property
    def is_unconfirmed_override(self) -> bool:
        """Returns whether the receipt is an override that no second person has confirmed."""
        return self.is_override and self.confirm_time is None

    @property
    def notice_time(self) -> datetime:
        """Returns the time at which the approaching end of the receipt is reported.

        This is two weeks before the end, or half-way through a receipt of less than four weeks.
        """
        return self.until_time - min(NOTICE, (self.until_time - self.create_time) / 2)

    @property
    def ends_with_age_band(self) -> bool:
        """Returns whether the receipt may open nothing once the person is too old for her age band.

        This applies to a receipt that somebody else gave for a child, unless the child is young and
        was asked, too.
        """
        return (
            self.is_about_child
            and not self.is_override
            and (
                self.circumstances.age_band not in TOO_YOUNG_TO_ASK
                or self.assent_code == "too_young"
            )
        )

    def first_check_time(self, now: datetime) -> datetime:
        """Returns when to check for the first time whether the end of the receipt is near."""
        return now if self.ends_with_age_band else self.notice_time

    @property
    def is_about_child(self) -> bool:
        """Returns whether the receipt is about a child.

        A person of unknown age counts as a child until the evidence that she is an adult is
        recorded.
        """
        return self.circumstances.age_band in CHILDREN or not (
            self.circumstances.age_band or self.adult_ground_code
        )

    @property
    def needs_second(self) -> bool:
        """Returns whether the receipt opens nothing until a second person has confirmed it."""
        return self.giver_code == BEST_INTEREST or bool(self.giver_ground_code)

    @property
    def in_her_stead(self) -> bool:
        """Returns whether somebody else gave the consent for an adult."""
        return not self.is_override and not self.is_about_child and self.giver_code != HERSELF

    @property
    def ends_with_any_withdrawal(self) -> bool:
        """Returns whether the receipt ends when the person withdraws another receipt.

        Such a receipt was given by somebody else, possibly against her word, and she is or may be
        an adult.
        """
        return self.in_her_stead or self._overrules_possible_adult

    @property
    def _overrules_possible_adult(self) -> bool:
        """Returns whether the receipt overrules the refusal of a person who may be an adult."""
        return (
            self.is_about_child
            and not self.circumstances.age_band
            and self.giver_code == BEST_INTEREST
            and self.assent_code == "refused"
        )

    @property
    def is_by_guardian(self) -> bool:
        """Returns whether the guardian of a person who is still a child gave the receipt.

        The receipt may have ended since: the guardian can still ask what became of it.
        """
        return self.genuine and self.giver_code == GUARDIAN and self.is_about_child

    def check(self) -> None:
        """Refuses a receipt that would not be valid for this person. Raises Invalid or Conflict."""
        check = Check()
        for number, code in enumerate(self.purpose_codes):
            check.need(f"receipt.purpose_codes.{number}", code, required=True)
        max_duration = OVERRIDE_END if self.in_her_stead else LONGEST
        check.require(
            self.create_time < self.until_time <= self.create_time + max_duration,
            "receipt.until_time",
            "out_of_range",
        )
        explained = self.giver_code == BEST_INTEREST or len(set(self.explained_codes)) == POINTS
        check.require(explained, "receipt.explained_codes", "required")
        if self.is_about_child:
            # if the age is unknown, the missing guardian is reported first
            is_own_consent_of_unknown_age = (
                self.giver_code == HERSELF and not self.circumstances.age_band
            )
            check.require(
                bool(self.assent_code) or is_own_consent_of_unknown_age,
                "receipt.assent_code",
                "required",
            )
            too_young = (
                self.assent_code == "too_young"
                and self.circumstances.age_band not in TOO_YOUNG_TO_ASK
            )
            check.require(not too_young, "receipt.assent_code", "out_of_range")
        elif self.in_her_stead and self.giver_code != BEST_INTEREST:
            check.require(bool(self.giver_ground_code), "receipt.giver_ground_code", "required")
            check.require(
                self.field_groups <= OVERRIDE_GROUPS, "receipt.field_groups", "out_of_range"
            )
            check.require(len(self.purpose_codes) == 1, "receipt.purpose_codes", "out_of_range")
        check.done()
        self.check_giver()

    def check_giver(self) -> None:
        """Refuses a giver who may not give this consent for the person.

        This rule covers every giver; it is checked when a receipt is recorded and at every use.
        A child's receipt must come from a guardian, from an authority, or from a decision in the
        child's best interest; only such a decision may overrule the child's refusal. An adult must
        give her consent herself. Somebody else may give it for her only on a stated ground, within
        the limits of an override, and never in a case that `_check_reachable` refuses.
        """
        if self.is_override:
            return
        if not self.is_about_child:
            if self.giver_code != HERSELF:
                is_within_limits = (
                    self.field_groups <= OVERRIDE_GROUPS
                    and self.until_time <= self.create_time + OVERRIDE_END
                )
                if (
                    self.giver_code == BEST_INTEREST
                    or not self.giver_ground_code
                    or not is_within_limits
                    or len(self.purpose_codes) != 1
                ):
                    raise Conflict("own_consent_required")
                self._check_reachable()
            return
        if self.giver_code == HERSELF:
            raise Conflict("guardian_required")
        too_young = (
            self.assent_code == "too_young" and self.circumstances.age_band in TOO_YOUNG_TO_ASK
        )
        overruled = self.assent_code == "refused" and self.giver_code == BEST_INTEREST
        if not (self.assent_code == "given" or too_young or overruled):
            raise Conflict("assent_required")
        if self._overrules_possible_adult:
            self._check_reachable()

    def _check_reachable(self) -> None:
        """Refuses, in two cases, a receipt that a person who may be an adult did not give herself.

        The two cases: the recipient may detain, charge or expel her, or she has withdrawn a consent
        before.
        """
        if (
            self.circumstances.recipient_type not in REACHED_BY_OVERRIDE
            or self.circumstances.has_withdrawn
        ):
            raise Conflict("own_consent_required")

    def confirm(self, second: Second, now: datetime) -> None:
        """Records the confirmation by a second person.

        Refuses a receipt that may not be confirmed (`may_be_confirmed`), or is no longer valid.
        Refuses a second person who may be the worker who recorded the receipt.
        """
        if not self.may_be_confirmed:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.recorded_by_worker_id, self.create_time)
        self._check_not_over(now)
        if self.confirm_until is not None and now >= self.confirm_until:
            raise Conflict("receipt_expired")
        self.confirm_time, self.confirmed_by_worker_id = now, second.id
        self.version += 1

    def withdraw(self, now: datetime) -> None:
        """Records that the person has withdrawn the receipt."""
        self.withdraw_time = now
        self.version += 1

    def end(self, now: datetime) -> None:
        """Ends the receipt because another one has replaced it."""
        self.until_time = min(self.until_time, now)
        self.version += 1

    def check_live(self, now: datetime) -> None:
        """Refuses a receipt that opens nothing now.

        A live receipt is genuine, has neither ended nor been withdrawn, and was given by somebody
        who may give it for the person at her present age. If it must be confirmed by now, it is
        confirmed.
        """
        self._check_not_over(now)
        self.check_giver()
        if self.confirm_time is None and (
            self.needs_second or (self.confirm_until is not None and now >= self.confirm_until)
        ):
            raise Conflict("receipt_unconfirmed")

    def is_live(self, now: datetime) -> bool:
        """Returns whether the receipt opens anything now."""
        try:
            self.check_live(now)
        except Conflict:
            return False
        return True

    def check_covers(
        self, recipient_organization_id: str, purpose_code: str, now: datetime
    ) -> None:
        """Refuses a receipt that is not live, or not for this recipient and purpose.

        If a purpose is the code of a group of needs, it covers all needs of the group.
        """
        self.check_live(now)
        if self.recipient_organization_id != recipient_organization_id:
            raise Conflict("receipt_recipient_differs")
        if purpose_code not in self.purpose_codes and purpose_code[:3] not in self.purpose_codes:
            raise Conflict("receipt_purpose_differs")

    def grant_for(
        self,
        recipient_organization_id: str,
        purpose_code: str,
        groups: frozenset[FieldGroup],
        now: datetime,
    ) -> Grant:
        """Returns a grant for these groups if the receipt covers all of them.

        Raises Conflict otherwise. If the giver may no longer give the consent, the reason is
        receipt_missing, so that the recipient does not learn why. An override that is not confirmed
        yet opens FIRST_GROUPS at most.
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
        """Returns the text that is signed: the fields of the receipt in a fixed form, one per line.

        An empty field in `_ADDED_LATER` has no line, so that signatures made before the field
        existed stay valid.
        """
        names = [field.name for field in fields(self) if field.name not in _UNSIGNED]
        return "\n".join(
            f"{name}={_plain(getattr(self, name))}"
            for name in names
            if name not in _ADDED_LATER or getattr(self, name)
        ).encode()

    def _check_not_over(self, now: datetime) -> None:
        if not self.genuine:
            # callers learn only that there is no receipt; the store has already raised the alarm
            raise Conflict("receipt_missing")
        if self.withdraw_time is not None:
            raise Conflict("receipt_withdrawn")
        if now >= self.until_time:
            raise Conflict("receipt_expired")


_UNSIGNED = ("signature", "genuine", "circumstances")
_ADDED_LATER = ("adult_ground_code", "giver_ground_code")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, frozenset):
        return ",".join(sorted(group.value for group in value))
    if isinstance(value, tuple):
        return ",".join(sorted(value))
    return "" if value is None else str(value)

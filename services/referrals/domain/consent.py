"""The consent receipt: who consents, to whom, for which field groups and purposes, until when. Checked at sending and at every opening."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict
from services.referrals.domain import codes
from services.referrals.domain.codes import Check
from services.referrals.domain.person import FieldGroup

LONGEST = timedelta(days=366)
DEFAULT = timedelta(days=90)


@dataclass
class Receipt:
    """A consent given, as a record."""

    id: str
    person_id: str
    organization_id: str  # the file's, which recorded it
    recipient_organization_id: str
    field_groups: frozenset[FieldGroup]
    purpose_codes: tuple[str, ...]
    until_time: datetime
    giver_code: str
    manner_code: str
    create_time: datetime
    recorded_by_worker_id: str = ""
    child_assent: bool = False
    in_private: bool = False
    interpreter: bool = False
    explained_codes: tuple[str, ...] = ()
    withdraw_time: datetime | None = None
    signature: str = ""
    version: int = 1

    def check(self) -> None:
        """Refuses a record that would not stand up."""
        check = Check()
        check.that(bool(self.recipient_organization_id), "receipt.recipient_organization_id", "required")
        check.that(bool(self.field_groups), "receipt.field_groups", "required")
        check.that(bool(self.purpose_codes), "receipt.purpose_codes", "required")
        check.that(len(self.purpose_codes) <= 20, "receipt.purpose_codes", "too_long")
        for number, code in enumerate(self.purpose_codes):
            check.need(f"receipt.purpose_codes[{number}]", code, required=True)
        check.that(self.create_time < self.until_time <= self.create_time + LONGEST, "receipt.until_time", "out_of_range")
        check.code("receipt.giver_code", self.giver_code, codes.GIVERS, required=True)
        check.code("receipt.manner_code", self.manner_code, codes.MANNERS, required=True)
        check.that(len(self.explained_codes) <= len(codes.EXPLAINED), "receipt.explained_codes", "too_long")
        for number, code in enumerate(self.explained_codes):
            check.code(f"receipt.explained_codes[{number}]", code, codes.EXPLAINED, required=True)
        check.done()

    def check_live(self, now: datetime) -> None:
        """Neither withdrawn nor over."""
        if self.withdraw_time is not None:
            raise Conflict("receipt_withdrawn")
        if now >= self.until_time:
            raise Conflict("receipt_expired")

    def check_covers(self, recipient_organization_id: str, purpose_code: str, now: datetime) -> None:
        """Live, for this recipient and this purpose; a group code covers its children."""
        self.check_live(now)
        if self.recipient_organization_id != recipient_organization_id:
            raise Conflict("receipt_recipient_differs")
        if purpose_code not in self.purpose_codes and purpose_code[:3] not in self.purpose_codes:
            raise Conflict("receipt_purpose_differs")

    def check_opens(self, recipient_organization_id: str, purpose_code: str, groups: frozenset[FieldGroup], now: datetime) -> None:
        """Covers, and names every field group that is asked for."""
        self.check_covers(recipient_organization_id, purpose_code, now)
        if not groups <= self.field_groups:
            raise Conflict("receipt_field_group_differs")

    def canonical(self) -> bytes:
        """What is signed: every part that gives access, in a fixed form."""
        parts = [
            self.id,
            self.person_id,
            self.organization_id,
            self.recipient_organization_id,
            ",".join(sorted(group.value for group in self.field_groups)),
            ",".join(sorted(self.purpose_codes)),
            self.until_time.isoformat(),
            self.giver_code,
            self.manner_code,
            self.create_time.isoformat(),
        ]
        return "\n".join(parts).encode()

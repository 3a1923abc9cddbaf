"""Contacts of the line.

A contact has the answers of a triage, the urgency that follows from the answers, and a reference
that identifies the caller without a name.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.errors import Conflict, Unauthenticated
from services.referrals.line.domain.triage import Triage
from services.referrals.network.domain.codes import Check, checked_code, new_checked_code
from services.referrals.network.domain.deadline import (
    Calendar,
    Deadline,
    DeadlineKind,
    Urgency,
    due_time,
)

OPEN, REFERRED, DROPPED, HANDED_OVER = "open", "referred", "dropped", "handed_over"
HERSELF, GUARDIAN = "person", "guardian"
"""The speaker codes of callers who may use the contact's reference to act for the person."""
UNASSESSED = Urgency.EMERGENCY
"""The urgency that sets a contact's deadline while the answers leave the urgency open.

While nobody has read a note that the caller added, her contact is at least as urgent.
"""
WAITING, ESCALATED = "waiting", "escalated"
"""The verbs of the facts about a contact's deadline.

Both facts notify the line; ESCALATED also notifies the coordinators.
"""
MAX_NOTES, NOTES_PERIOD = 20, timedelta(days=1)
"""The maximum number of notes that can be added to a contact in a period, and the period.

The limit is needed because somebody other than the caller, or a program, might have her reference.
"""


@dataclass(frozen=True)
class LaterNote:
    """A note that a caller added after the contact."""

    time: datetime
    note: str | None  # None if the note can't be opened


@dataclass
class Contact:
    """One call, visit or message; a contact needs no name and has no single owner."""

    id: str
    organization_id: str
    create_time: datetime
    update_time: datetime
    version: int = 1
    step_version: int = 1  # version of the last change other than a fired deadline
    line_country: str = ""
    campaign_code: str = ""
    # the code that the caller named, from a campaign's poster, spot or page
    placement_code: str = ""
    kind_code: str = ""
    speaker_code: str = ""
    language: str = ""
    triage: Triage = field(default_factory=Triage)
    outcome_code: str = OPEN
    department: str = ""
    need_code: str = ""
    person_id: str = ""
    reference_hint: str = ""
    assault_time: datetime | None = None  # the time of a recent assault, to the hour
    # yes: the caller was handed over while caller, operator and recipient were all on the line;
    # no: she was only told where to turn
    connected_live: str = ""
    handed_over_organization_id: str = ""
    # the public emergency number to which she was handed over, if not to a member
    emergency_number_code: str = ""
    # the first contact of the same caller, whose reference she uses; possibly at another line
    tied_to_id: str = ""
    erased: bool = False  # True if its person was erased; nothing more may be written about her
    unheard: bool = False  # True if the caller added a note after the line's last change
    clock: Deadline | None = None

    def check(self) -> None:
        """Refuses an unknown need code, and a hand-over to two recipients or to nobody."""
        check = Check()
        check.need("contact.need_code", self.need_code)
        check.require(
            not (self.handed_over_organization_id and self.emergency_number_code),
            "contact.emergency_number_code",
            "out_of_range",
        )
        check.require(
            self.outcome_code != HANDED_OVER
            or bool(self.handed_over_organization_id or self.emergency_number_code),
            "contact.handed_over_organization_id",
            "required",
        )
        check.done()

    def check_line(self, own_country: str) -> None:
        """Refuses a contact for another country's line.

        `own_country` is the organisation's country; "" if it is not known yet.
        """
        check = Check()
        check.require(
            own_country in ("", self.line_country), "contact.line_country", "out_of_range"
        )
        check.done()

    def check_not_erased(self) -> None:
        """Refuses a change to the contact of an erased person."""
        if self.erased:
            raise Conflict("person_erased")

    def erase(self, now: datetime, calendar: Calendar) -> None:
        """Closes the contact because its person is erased.

        The store then blanks the answers and ids of the contact.
        """
        self.erased, self.unheard = True, False
        self.outcome_code = DROPPED if self.outcome_code == OPEN else self.outcome_code
        self.change(now, calendar)

    def update_deadline(self, now: datetime, calendar: Calendar) -> None:
        """Starts, adapts or stops the deadline of the contact.

        The deadline runs while the contact is open, and its span depends on the urgency of the
        answers, and on whether a note is unread. A reopened contact gets a new deadline.
        """
        urgency = max(
            self.triage.urgency() or UNASSESSED,
            UNASSESSED if self.unheard else Urgency.NORMAL,
            key=lambda urgency: urgency.rank,
        )
        if self.outcome_code != OPEN:
            if self.clock is not None:
                self.clock.stop(now)
        elif self.clock is None or not self.clock.running:
            due = due_time(DeadlineKind.CONTACT, urgency, now, calendar)
            self.clock = Deadline(
                DeadlineKind.CONTACT, now, due, policy_version=calendar.policy().version
            )
        else:
            self.clock.adapt(now, urgency, calendar)

    def fire_deadline(self, now: datetime) -> str:
        """Records a level that the deadline has reached; returns the verb of the fact.

        Returns "" if no new level has been reached. For an immediate contact the coordinators are
        notified even of the first level.
        """
        percent = self.clock.fire(now) if self.clock else None
        if percent is None:
            return ""
        self.version, self.update_time = self.version + 1, now
        return (
            ESCALATED if percent >= 150 or self.triage.urgency() is Urgency.IMMEDIATE else WAITING
        )

    def change(self, now: datetime, calendar: Calendar) -> None:
        """Records a change other than a fired deadline, and adapts the deadline."""
        self.version, self.update_time = self.version + 1, now
        self.step_version = self.version
        self.update_deadline(now, calendar)

    def reopen(self, now: datetime, calendar: Calendar) -> None:
        """Reopens the contact after the caller has added a note with her reference.

        The contact then stays open until a worker of the line has handled it, whatever happens to
        the caller's referrals. If every level of its deadline was reported, it gets a new deadline.
        """
        self.unheard, self.outcome_code = True, OPEN
        if self.clock is not None and self.clock.next_percent is None:
            self.clock.stop(now)
        self.change(now, calendar)

    def update_outcome(
        self, still_to_refer: Sequence[bool], now: datetime, calendar: Calendar
    ) -> bool:
        """Sets the outcome according to the referrals that were made for the contact.

        `still_to_refer` has an item for each referral that was not entered in error: True if the
        referral is a draft, or came back and its need is still open. The contact is open if any
        item is True, if there is no item, or if `unheard` is True; otherwise it is referred. An
        outcome that an operator set (advised, handed over, dropped) stays, and so does the outcome
        of an erased contact. Returns whether anything changed.
        """
        outcome = OPEN if self.unheard or not still_to_refer or any(still_to_refer) else REFERRED
        if self.erased or self.outcome_code not in (OPEN, REFERRED) or self.outcome_code == outcome:
            return False
        self.outcome_code = outcome
        self.change(now, calendar)
        return True


def of_speaker(first_contact: Contact, callers_contacts: Sequence[Contact]) -> list[Contact]:
    """Returns the contacts in which nobody but the speaker of the first contact is recorded.

    Somebody else may have called with the caller's reference, or she may have called about
    somebody else.
    """
    return [
        contact
        for contact in callers_contacts
        if contact.speaker_code in ("", first_contact.speaker_code)
    ]


def new_reference() -> str:
    """Returns seven random characters (35 bits) and a check character."""
    return new_checked_code(8)


def read_reference(text: str) -> str:
    """Returns a typed reference in its normal form (see `normalize_code`).

    A reference with a typing error is refused in the same way as a wrong PIN.
    """
    reference = checked_code(text, 8)
    if not reference:
        raise Unauthenticated("reference_or_pin_wrong")
    return reference


def new_pin() -> str:
    """Returns four random digits, never a PIN that strangers try first."""
    while _is_easy(pin := f"{secrets.randbelow(10_000):04d}"):
        pass
    return pin


def check_pin(pin: str) -> None:
    """Refuses a PIN that is not four digits, or that strangers try first."""
    check = Check()
    check.require(len(pin) == 4 and pin.isascii() and pin.isdigit(), "pin", "malformed")
    check.done()
    check.require(not _is_easy(pin), "pin", "too_easy")
    check.done()


def _is_easy(pin: str) -> bool:
    """Returns whether strangers try these four digits first.

    These are repeated digits, digits in a row, and years in which a person may be born.
    """
    is_repeated, is_year = pin[:2] == pin[2:], pin[:2] in ("19", "20")
    return is_repeated or is_year or pin in "01234567890" or pin in "09876543210"


_STATUS_FOR_CALLER = {
    "draft": "being_prepared",
    "sent": "asked",
    "acknowledged": "asked",
    "info_requested": "asked",
    "accepted": "accepted",
    "waitlisted": "waiting_list",
    "in_progress": "in_progress",
    "completed": "done",
    "closed": "done",
    "declined": "not_possible",
    "not_delivered": "not_possible",
    "expired": "not_possible",
    "rerouted": "not_possible",
    "withdrawn": "stopped",
    "consent_withdrawn": "stopped",
}
STATUS_WITHOUT_HELP = {"not_met": "not_possible", "person_ended_early": "stopped"}
"""The caller's status by outcome code, for a completed or closed referral that gave no help."""


def status_for_caller(state: str, outcome_code: str, *, help_came: bool = False) -> str | None:
    """Returns the referral status that the caller sees. The status names no partner or place.

    Returns None for a referral that was entered in error. A rerouted referral has the status
    not_possible; the referral that follows has a status of its own.
    """
    gave_no_help = state in ("completed", "closed") and not help_came
    without_help = STATUS_WITHOUT_HELP.get(outcome_code) if gave_no_help else None
    return without_help or _STATUS_FOR_CALLER.get(state)

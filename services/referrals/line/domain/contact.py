"""The line: a contact with its triage, the urgency that follows from it, and the reference by which
the caller is known without a name.
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

OPEN, REFERRED, DROPPED = "open", "referred", "dropped"
UNASSESSED = Urgency.EMERGENCY
"""As what a contact counts of which nothing is known yet: it may be anything."""
WAITING, ESCALATED = "waiting", "escalated"
"""What its clock says: to the line, and to the coordination as well."""
MOST_SAID, SAID_WITHIN = 20, timedelta(days=1)
"""How much a reference takes: who has it can be somebody else, or a program."""


@dataclass(frozen=True)
class LaterNote:
    """What a caller said later."""

    time: datetime
    note: str | None  # None: it does not open


@dataclass
class Contact:
    """One call, visit or message. It needs no name and has no single owner."""

    id: str
    organization_id: str
    create_time: datetime
    update_time: datetime
    version: int = 1
    step_version: int = 1  # of the last change by somebody: that its clock fires is none
    line_country: str = ""
    campaign_code: str = ""
    placement_code: str = ""  # what the caller named: which poster, spot or page of a campaign
    kind_code: str = ""
    speaker_code: str = ""
    language: str = ""
    triage: Triage = field(default_factory=Triage)
    outcome_code: str = OPEN
    department: str = ""
    need_code: str = ""
    person_id: str = ""
    reference_hint: str = ""
    assault_time: datetime | None = None  # of a recent one, to the hour
    connected_live: str = ""  # yes: handed over, all three on the line; no: told where to turn
    handed_over_organization_id: str = ""
    emergency_number_code: str = ""  # a number of the state, instead of a member
    # the first contact of the same caller, by whose reference it is known too; another line's,
    # perhaps
    tied_to_id: str = ""
    erased: bool = False  # it was of somebody who was erased: nothing more is written of her
    unheard: bool = False  # she said something since somebody of the line last changed it
    clock: Deadline | None = None

    def check(self) -> None:
        """Refuses what is no need, and a hand-over to two at once."""
        check = Check()
        check.need("contact.need_code", self.need_code)
        check.that(
            not (self.handed_over_organization_id and self.emergency_number_code),
            "contact.emergency_number_code",
            "out_of_range",
        )
        check.done()

    def check_line(self, own_country: str) -> None:
        """Refuses a contact of another country's line.

        `own_country` is the organisation's, empty where it was not heard yet.
        """
        check = Check()
        check.that(own_country in ("", self.line_country), "contact.line_country", "out_of_range")
        check.done()

    def check_not_erased(self) -> None:
        """Refuses to change a contact of somebody who was erased."""
        if self.erased:
            raise Conflict("person_erased")

    def erase(self, now: datetime, calendar: Calendar) -> None:
        """Ends it: she was erased. Its answers and ids are blanked where it is stored."""
        self.erased, self.unheard = True, False
        self.outcome_code = DROPPED if self.outcome_code == OPEN else self.outcome_code
        self.change(now, calendar)

    def watch(self, now: datetime, calendar: Calendar) -> None:
        """While it is open its clock runs, as long as its answers give; open again, another one."""
        urgency = self.triage.urgency() or UNASSESSED
        if self.outcome_code != OPEN:
            if self.clock is not None:
                self.clock.stop(now)
        elif self.clock is None or not self.clock.running:
            due = due_time(DeadlineKind.CONTACT, urgency, now, calendar)
            self.clock = Deadline(
                DeadlineKind.CONTACT, now, due, policy_version=calendar.policy().version
            )
        else:
            self.clock.recount(now, urgency, calendar)

    def fire_clock(self, now: datetime) -> str:
        """Notes the level that is reached, and returns what it says; empty when none is.

        Of an immediate one the coordination hears at once.
        """
        percent = self.clock.fire(now) if self.clock else None
        if percent is None:
            return ""
        self.version, self.update_time = self.version + 1, now
        return (
            ESCALATED if percent >= 150 or self.triage.urgency() is Urgency.IMMEDIATE else WAITING
        )

    def change(self, now: datetime, calendar: Calendar) -> None:
        """Somebody changed it."""
        self.version, self.update_time = self.version + 1, now
        self.step_version = self.version
        self.watch(now, calendar)

    def hear(self, now: datetime, calendar: Calendar) -> None:
        """She said more, with her reference: it is open until somebody of the line has seen to it,
        whatever becomes of her referrals.
        """
        self.unheard, self.outcome_code = True, OPEN
        self.change(now, calendar)

    def follow(self, asked: Sequence[bool], now: datetime, calendar: Calendar) -> bool:
        """Sets the outcome by the referrals that were made in its name.

        `asked` says of each, but for those entered in error, whether it waits for its sender: a
        draft, or a need that is open again. The contact is open while one does, else referred.
        What an operator wrote instead (advised, handed over, dropped) stays. Returns whether
        anything changed.
        """
        outcome = OPEN if self.unheard or not asked or any(asked) else REFERRED
        if self.erased or self.outcome_code not in (OPEN, REFERRED) or self.outcome_code == outcome:
            return False
        self.outcome_code = outcome
        self.change(now, calendar)
        return True


def new_reference() -> str:
    """Seven random characters (35 bits) and one that checks them."""
    return new_checked_code(8)


def read_reference(text: str) -> str:
    """The reference as it was meant. A typing error refuses like a wrong PIN."""
    cleaned = checked_code(text, 8)
    if not cleaned:
        raise Unauthenticated("reference_or_pin_wrong")
    return cleaned


def new_pin() -> str:
    """Four digits."""
    return f"{secrets.randbelow(10_000):04d}"


def check_pin(pin: str) -> None:
    """Four digits, whoever chose them."""
    check = Check()
    check.that(len(pin) == 4 and pin.isascii() and pin.isdigit(), "pin", "malformed")
    check.done()


PLAIN = {
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
    "rerouted": "asked",
    "withdrawn": "stopped",
    "consent_withdrawn": "stopped",
}
"""What a caller hears of a state: never a partner's name or place.

Entered in error is not spoken of.
"""

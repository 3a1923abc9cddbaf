"""The fields of the requests for steps, with their checks.

A field that only one step carries is defined in the row of that step (lifecycle.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chassis.errors import Invalid
from services.referrals.network.domain.codes import Check, check_between

FARTHEST_APPOINTMENT = timedelta(days=90)
"""How far ahead an appointment may be scheduled.

Until the appointment, the receiver is not asked for news.
"""
APPOINTMENT_TOLERANCE = timedelta(hours=1)
"""The tolerance for the time of an appointment, since people come early and clocks differ.

The result may be recorded this long before the appointment, and an appointment may be scheduled for
a time this long ago. A first contact may be this far in the future, since the receiver's
clock may be fast.
"""
EARLY_CONTACT = timedelta(days=7)
"""How long before the draft was created a first contact may be: some help begins before it is
requested here.
"""


@dataclass(frozen=True)
class Field:
    """A field of a step's request, named as in the message."""

    name: str
    default: Any = ""
    stored_as: str = ""  # the attribute of Referral that `Referral.take` sets; empty for none
    # Called with the value, the time of the step, and the time at which the draft was created.
    # Raises Invalid, before anything changes.
    check: Callable[[Any, datetime, datetime], None] | None = None


NOT_MET = "not_met"
"""The outcome of help that was completed although nothing was resolved."""


def check_note(note: str, *, required: bool) -> None:
    """Refuses an empty note if a note is required.

    The note of an override explains the override; the note with the code `other` says what no code
    expresses.
    """
    if required and not note.strip():
        raise Invalid(("note", "required"))


def check_delivered(outcome_code: str, need_codes: tuple[str, ...]) -> None:
    """Refuses delivered needs with the outcome `not_met`: no need was met."""
    if outcome_code == NOT_MET and need_codes:
        raise Invalid(("delivered_need_codes", "contradicts"))


def stored_field(
    name: str, default: Any = "", check: Callable[[Any, datetime, datetime], None] | None = None
) -> Field:
    """Returns a field whose value the referral stores under the same name."""
    return Field(name, default, name, check)


def moment(name: str, earliest: timedelta | None, latest: timedelta) -> Field:
    """Returns a field for a required time, which the referral stores under the same name.

    The limits are relative to now; without an earliest limit, the time may be as early as
    EARLY_CONTACT allows.
    """

    def check(time: datetime | None, now: datetime, create_time: datetime) -> None:
        earliest_time = create_time - EARLY_CONTACT if earliest is None else now + earliest
        check_between(name, earliest_time, time, now + latest)

    return stored_field(name, None, check)


def _check_delivered_codes(codes: tuple[str, ...], now: datetime, create_time: datetime) -> None:
    check = Check()
    for number, code in enumerate(codes):
        check.need(f"delivered_need_codes.{number}", code, required=True)
    check.done()


YEAR, AFTER_NOW = timedelta(days=365), timedelta(microseconds=1)
NOTE, REASON = Field("note"), Field("reason_code")
HELP_CAME, RECEIPT = Field("help_came_code"), Field("receipt_id")
RESPONSIBLE_WORKER = stored_field("responsible_worker_id")
DELIVERED = stored_field("delivered_need_codes", (), _check_delivered_codes)

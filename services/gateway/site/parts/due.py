"""Deadlines as pages show them: a ring that empties, and words for the time left."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.wire import numbers
from protos.referrals.v1.contacts_pb2 import Callback, Contact
from protos.referrals.v1.enquiries_pb2 import ENQUIRY_STATE_OPEN, Enquiry
from protos.referrals.v1.referrals_pb2 import (
    CLOCK_KIND_ACKNOWLEDGE,
    CLOCK_KIND_DECIDE,
    CLOCK_KIND_OVERRIDE_END,
    Clock,
    DeadlinePolicy,
    PolicyDeadline,
    Referral,
    Urgency,
)
from services.gateway.site.language import _, i18n, ngettext, vocabulary, words

URGENCIES: tuple[str, ...] = tuple(numbers(Urgency.DESCRIPTOR))[::-1]  # the most urgent first
SOON = timedelta(hours=4)
# The time after which a planned event counts as over and its outcome should be recorded
EVENT_LENGTH = timedelta(hours=1)
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Due:
    """A running deadline.

    `level` is late, soon or calm. `percent_left` is the percentage of the time that is left. `text`
    says how much time is left, or how late the act is. `act` names the act that is due.
    `due_text` is the due time in words, `due_seconds` in seconds since 1970; `length` is the time
    from start to due time in seconds.
    """

    level: str
    percent_left: int
    text: str
    act: str
    due_text: str
    due_seconds: int = 0
    length: int = 1


def due(record: Referral | Contact | Callback) -> Due | None:
    """Returns the earliest running deadline of a referral, a contact or a callback.

    Returns None if no deadline is running.
    """
    running_clocks = [clock for clock in record.clocks if not i18n.moment(clock.stop_time)]
    return (
        of_clock(min(running_clocks, key=lambda clock: clock.due_time.seconds))
        if running_clocks
        else None
    )


def is_overridden(referral: Referral) -> bool:
    """Returns whether the referral is based on an override, and the person is yet to be asked."""
    return any(
        clock.kind == CLOCK_KIND_OVERRIDE_END and not i18n.moment(clock.stop_time)
        for clock in referral.clocks
    )


def of_clock(clock: Clock) -> Due:
    """Turns a clock of the contract into a Due."""
    return deadline_between(clock.start_time, clock.due_time, words.word("clock", clock.kind))


def deadline_between(start_time: Timestamp, due_time: Timestamp, act: str) -> Due:
    """Returns the deadline from `start_time` to `due_time`, the time at which `act` is due."""
    start, end, now = i18n.moment(start_time), i18n.moment(due_time), i18n.now()
    if end is None:
        return Due("calm", 100, "", act, "")
    time_left = end - now
    duration = max((end - start).total_seconds(), 1) if start else 1
    percent_left = round(min(1, max(0, time_left.total_seconds() / duration)) * 100)
    if time_left < timedelta(0):
        level, text = "late", _("%(span)s de atraso", span=i18n.span(-time_left))
    else:
        level, text = ("soon" if time_left < SOON else "calm"), i18n.span(time_left)
    return Due(level, percent_left, text, act, i18n.when(due_time), due_time.seconds, int(duration))


def of_enquiry(enquiry: Enquiry) -> Due | None:
    """Returns the deadline to answer an open enquiry, or to make the referral that follows it."""
    if not enquiry.HasField("due_time"):
        return None
    return deadline_between(
        enquiry.start_time,
        enquiry.due_time,
        _("para responder")
        if enquiry.state == ENQUIRY_STATE_OPEN
        else _("para seguir con la remisión"),
    )


def planned_events(referral: Referral) -> list[tuple[str, str, bool]]:
    """Returns the planned events of a live referral that nobody has recorded as having happened.

    An event has its words, its time in words, and whether it is over. The table `ahead` lists the
    fields with the planned times. An event planned in the field planned_X_time has happened once
    the field X_time is set.
    """
    events = []
    for name in vocabulary.TABLES["ahead"] if referral.live else ():
        stamp, actual_name = getattr(referral, name), name.removeprefix("planned_")
        time = i18n.moment(stamp)
        if time and (actual_name == name or not i18n.moment(getattr(referral, actual_name))):
            events.append(
                (words.word("ahead", name), i18n.when(stamp), time + EVENT_LENGTH < i18n.now())
            )
    return events


def proposed_time(now: datetime) -> datetime:
    """Returns the first quarter hour (:00, :15, :30 or :45) that is more than 15 minutes away.

    A form proposes this time, so that it still lies ahead when the form is sent.
    """
    return now + 2 * QUARTER - timedelta(seconds=now.timestamp() % QUARTER.total_seconds())


def answer_times(policy: DeadlinePolicy, *, of_enquiry: bool) -> dict[str, str]:
    """Returns, for each urgency, a sentence that says how soon the other side must answer.

    The receiver of a referral first says that it was seen, and answers later; an enquiry has only
    its answers. The times come from the network's policy.
    """
    lengths = {
        (deadline.urgency, deadline.clock): length_of(deadline) for deadline in policy.deadlines
    }
    return {
        words.code("urgency", urgency): _("Contestan en %(time)s.", time=seen)
        if of_enquiry
        else _(
            "En %(seen)s deben decir que vieron la remisión, y en %(answered)s responder.",
            seen=seen,
            answered=lengths.get((urgency, CLOCK_KIND_DECIDE), "–"),
        )
        for (urgency, clock), seen in lengths.items()
        if clock == CLOCK_KIND_ACKNOWLEDGE
    }


def length_of(deadline: PolicyDeadline) -> str:
    """Returns the time of a deadline in words."""
    return (
        ngettext("%(num)d día hábil", "%(num)d días hábiles", deadline.working_days)
        if deadline.working_days
        else i18n.span(timedelta(seconds=deadline.seconds))
    )

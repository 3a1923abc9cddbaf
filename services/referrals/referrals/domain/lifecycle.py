"""The life of a referral as one table, a row for each step.

A row names the states, the sides, the fields of the request, the guards, and the effects on the
deadlines. The table can be tested exhaustively and drawn. `Referral` uses the same rows to list the
steps on offer and to take a step. Five steps (send, amend, attach_consent, reroute and
withdraw_consent) need more than the fields of their request. Each of the five has its own method in
`Referral`, which uses the same row and guards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from chassis.errors import Conflict
from chassis.second import refusal
from services.referrals.network.domain.deadline import HEALTH, Calendar, DeadlineKind
from services.referrals.referrals.domain.fields import (
    AFTER_NOW,
    APPOINTMENT_TOLERANCE,
    DELIVERED,
    FARTHEST_APPOINTMENT,
    HELP_CAME,
    NOTE,
    REASON,
    RECEIPT,
    RESPONSIBLE_WORKER,
    YEAR,
    Field,
    check_delivered,
    check_note,
    moment,
    stored_field,
)

if TYPE_CHECKING:
    from services.referrals.referrals.domain.record import Actor, ReferralRecord
    from services.referrals.referrals.domain.referral import Referral


class State(Enum):
    """The state of a referral."""

    DRAFT = "draft"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    INFO_REQUESTED = "info_requested"
    ACCEPTED = "accepted"
    WAITLISTED = "waitlisted"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CLOSED = "closed"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    NOT_DELIVERED = "not_delivered"
    EXPIRED = "expired"
    REROUTED = "rerouted"
    ENTERED_IN_ERROR = "entered_in_error"


class Side(Enum):
    """The side on whose behalf an actor acts."""

    SENDER = "sender"
    RECEIVER = "receiver"
    COORDINATOR = "coordinator"
    PERSON = "person"
    SYSTEM = "system"


S, K = State, DeadlineKind
LIVE = frozenset(
    {S.SENT, S.ACKNOWLEDGED, S.INFO_REQUESTED, S.ACCEPTED, S.WAITLISTED, S.IN_PROGRESS, S.COMPLETED}
)
"""States in which a side is still expected to act and the receiver may have access."""
# The states in which the receiver has to act, and the states in which the sender has to act. The
# sender also has to act on a referral that came back, while its need is open (CAME_BACK).
WAITS_FOR_RECEIVER = frozenset({S.SENT, S.ACKNOWLEDGED, S.ACCEPTED, S.WAITLISTED, S.IN_PROGRESS})
WAITS_FOR_SENDER = frozenset({S.DRAFT, S.INFO_REQUESTED, S.COMPLETED})
EXITS = frozenset(
    {
        S.DECLINED,
        S.WITHDRAWN,
        S.CONSENT_WITHDRAWN,
        S.NOT_DELIVERED,
        S.EXPIRED,
        S.REROUTED,
        S.ENTERED_IN_ERROR,
    }
)
"""End states other than CLOSED. A referral in such a state keeps its reason, if one was given."""
CAME_BACK = frozenset({S.DECLINED, S.EXPIRED, S.NOT_DELIVERED, S.REROUTED})
"""Exits that leave the person without help though nobody withdrew the request.

The need stays open until another referral is sent, or a worker closes the need explicitly.
"""
ENDED_BEFORE = frozenset({S.CLOSED, S.WITHDRAWN})
"""End states that a referral keeps when the person withdraws her consent afterwards."""
TO_DELETE = ENDED_BEFORE | CAME_BACK | {S.CONSENT_WITHDRAWN}
"""States in which the receiver may have to delete data."""
REFER_AGAIN = "refer_again"
"""The sender's main step for a referral that came back, while its need is open.

This step is not a row of the table: it opens a new draft that is based on the referral.
"""
PERSON_DECLINED = "person_declined"
"""The reason for closing the need of a person who withdrew her consent."""
TAKEN_ON = frozenset({S.ACCEPTED, S.IN_PROGRESS, S.COMPLETED})
"""States in which the receiver has accepted the referral and is still responsible for it."""
UNDECIDED = frozenset({S.SENT, S.ACKNOWLEDGED})

NOT_NOW = "illegal_transition"
"""The reason for refusing a step that the referral's state or the actor's side does not allow.

Guards without a reason of their own use it, too.
"""
ERROR_WINDOW = timedelta(hours=24)
REMIND_AGAIN = timedelta(hours=1)

Guard = Callable[["ReferralRecord", "Actor", datetime], None]
"""A condition of a step beyond state and side.

A guard that refuses raises Conflict with its own reason, or with NOT_NOW.
"""
Effect = Callable[["Referral", "Actor", datetime, Calendar], None]
"""A change beyond the stored fields, the state and the deadlines of the step's row."""


@dataclass(frozen=True)
class Step:
    """A row of the table.

    `verb` names the request for the step, `event_verb` the event that it causes.
    """

    verb: str
    event_verb: str
    sources: frozenset[State]
    target: State | None  # None: the state does not change
    sides: frozenset[Side]
    carries: tuple[Field, ...] = ()
    guards: tuple[Guard, ...] = ()
    effects: tuple[Effect, ...] = ()
    starts: tuple[DeadlineKind, ...] = ()
    stops: tuple[DeadlineKind, ...] = ()
    reason: str = ""  # the field whose value is the reason in the history; `other` needs a note
    attribution: str = ""
    offered: bool = True  # False: never listed among an actor's allowed steps
    # True: the step moves the referral on. Allowed steps that ask, delay or end something are
    # listed after such a step.
    main: bool = False
    news: bool = False  # True: the step brings news, so the next SILENCE may last longer
    # False: the step changes nothing that decisions are based on, so no version becomes stale
    decides: bool = True

    def checked_values(
        self, carried: Mapping[str, Any], now: datetime, create_time: datetime
    ) -> dict[str, Any]:
        """Returns the value, or else the default, of every field that the step carries, by name.

        Raises Invalid for a value that the check of its field refuses, for `other` without a note,
        and for delivered needs with the outcome `not_met`. Raises TypeError for a field that the
        step does not carry.
        """
        values = {field.name: carried.get(field.name, field.default) for field in self.carries}
        if unknown := carried.keys() - values:
            raise TypeError(f"{self.verb} carries no {sorted(unknown)}")
        for field in self.carries:
            if field.check:
                field.check(values[field.name], now, create_time)
        check_note(values.get("note", ""), required=values.get(self.reason) == "other")
        check_delivered(values.get("outcome_code", ""), values.get("delivered_need_codes", ()))
        return values


# The guards. `now` is the time of the call, even when steps are only listed.


def _require(condition: bool, reason: str = NOT_NOW) -> None:
    if not condition:
        raise Conflict(reason)


def not_asked_before(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses a second question, so that questions can't be used to delay a decision."""
    _require(not referral.question_code, "already_asked")


def need_is_open(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to close a need that is already closed, or that another referral follows up."""
    _require(referral.need_is_open)


def someone_is_expected_to_act(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses a reminder that would reach nobody.

    Either no side has to act, or the side that has to act is suspended or has left.
    """
    side = referral.side_to_act(actor)
    _require(side is not None and not referral.is_out(side))


def not_reminded_recently(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses a second reminder within an hour, so that a desk is not flooded."""
    _require(
        referral.remind_time is None or abs(now - referral.remind_time) >= REMIND_AGAIN,
        "reminded_lately",
    )


def deletion_is_expected(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to confirm a deletion that is not expected, or that is already confirmed."""
    _require(bool(referral.unstopped_deadlines(K.DELETION)))


def appointment_is_open(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to record the result of an appointment when none is open."""
    _require(referral.appointment_time is not None)


def appointment_is_due(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to record the result of an appointment more than an hour before its time."""
    _require(
        referral.appointment_time is not None
        and now >= referral.appointment_time - APPOINTMENT_TOLERANCE
    )


def override_may_be_confirmed(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses actors who neither coordinate nor manage.

    Refuses all actors if no override waits for confirmation, or once the time to confirm has
    passed.
    """
    waits = any(
        now < deadline.due_time for deadline in referral.unstopped_deadlines(K.OVERRIDE_CONFIRM)
    )
    _require(waits and (actor.coordinates or actor.manages))


def second_person_confirms(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses the worker who sent the referral, and anyone who may be the same person.

    For the worker who sent the referral the reason is NOT_NOW, so that the step seems not to exist.
    For anyone else the reason is not_independent.
    """
    reason = refusal(actor, referral.override_worker_id)
    if reason:
        raise reason if reason.reason == "not_independent" else Conflict(NOT_NOW)


def error_is_recent(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to mark a referral as entered in error more than a day after its draft was created.

    The limit applies neither to drafts nor to coordinators.
    """
    is_exempt = referral.state is S.DRAFT or Side.COORDINATOR in referral.sides(actor)
    _require(is_exempt or now - referral.create_time <= ERROR_WINDOW)


def no_deletion_is_expected(referral: "ReferralRecord", actor: "Actor", now: datetime) -> None:
    """Refuses to mark a referral as entered in error while its receiver has to delete its data.

    The person's consent was withdrawn; a correction of the record must not spare the receiver the
    confirmation.
    """
    _require(referral.state not in TO_DELETE or not referral.unstopped_deadlines(K.DELETION))


# The effects.


def pause_decision(referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar) -> None:
    """Pauses the deadline to decide while a question is open."""
    for deadline in referral.unstopped_deadlines(K.DECIDE):
        deadline.pause(now)


def resume_decision(
    referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar
) -> None:
    """Resumes the deadline to decide once the question is answered."""
    for deadline in referral.deadlines:
        deadline.resume(now)


def name_desk(referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar) -> None:
    """Makes the desk responsible if no worker is."""
    referral.responsible_desk_code = "" if referral.responsible_worker_id else "desk"


def end_appointment(
    referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar
) -> None:
    """Removes the open appointment."""
    referral.appointment_time = None


def restart_silence(
    referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar
) -> None:
    """Restarts SILENCE when the receiver adds a note while help is given: the note is news."""
    if referral.state is S.IN_PROGRESS and Side.RECEIVER in referral.sides(actor):
        referral.stop_deadlines(now, K.SILENCE)
        referral.start_deadline(K.SILENCE, now, calendar, news=True)


def note_reminder(referral: "Referral", actor: "Actor", now: datetime, calendar: Calendar) -> None:
    """Stores the time of the reminder; the next reminder has to wait for an hour."""
    referral.remind_time = now


# The table.

_ALL = tuple(DeadlineKind)
# Health deadlines count from the assault, so they keep running while another service is sought.
_NOT_HEALTH = tuple(kind for kind in K if kind not in HEALTH)
_REPLACE = (K.REPLACE,)
_HELPING = frozenset({S.IN_PROGRESS})
_SENDER, _RECEIVER = frozenset({Side.SENDER}), frozenset({Side.RECEIVER})
_SENDING = frozenset({Side.SENDER, Side.COORDINATOR})
_CLOSING = frozenset({Side.SENDER, Side.COORDINATOR, Side.PERSON})

TRANSITIONS: tuple[Step, ...] = (
    Step(
        "send", "sent", frozenset({S.DRAFT}), S.SENT, _SENDER,
        carries=(RECEIPT, Field("override_reason_code"), Field("acknowledged_codes", ()),
            Field("arrival", None), NOTE),
        starts=(K.ACKNOWLEDGE, K.DECIDE), stops=(K.DRAFT,), main=True,
    ),
    Step("acknowledge", "acknowledged", frozenset({S.SENT}), S.ACKNOWLEDGED, _RECEIVER,
        stops=(K.ACKNOWLEDGE,), main=True),
    Step(
        "ask", "info_requested", UNDECIDED, S.INFO_REQUESTED, _RECEIVER,
        carries=(stored_field("question_code"), NOTE), reason="question_code",
        guards=(not_asked_before,), effects=(pause_decision,), starts=(K.ANSWER,),
        stops=(K.ACKNOWLEDGE,),
    ),
    Step(
        "answer", "answered", frozenset({S.INFO_REQUESTED}), S.ACKNOWLEDGED, _SENDER,
        carries=(NOTE,), effects=(resume_decision,), stops=(K.ANSWER,), main=True,
    ),
    Step(
        "accept", "accepted", UNDECIDED | {S.WAITLISTED}, S.ACCEPTED, _RECEIVER,
        carries=(RESPONSIBLE_WORKER,
            moment("planned_first_contact_time", -timedelta(days=1), YEAR), NOTE),
        effects=(name_desk,), starts=(K.FIRST_CONTACT,),
        stops=(K.ACKNOWLEDGE, K.DECIDE, K.REVIEW), main=True,
    ),
    Step(
        "waitlist", "waitlisted", UNDECIDED, S.WAITLISTED, _RECEIVER,
        carries=(stored_field("expected_wait_days", 0),
            moment("review_time", AFTER_NOW, YEAR), NOTE),
        starts=(K.REVIEW,), stops=(K.ACKNOWLEDGE, K.DECIDE),
    ),
    Step(
        "decline", "declined", UNDECIDED | {S.WAITLISTED}, S.DECLINED, _RECEIVER,
        carries=(REASON, stored_field("alternative_service_id"), NOTE), reason="reason_code",
        attribution="provider", starts=_REPLACE, stops=_NOT_HEALTH,
    ),
    Step(
        "expire", "expired", UNDECIDED, S.EXPIRED, frozenset({Side.SYSTEM}),
        attribution="system", starts=_REPLACE, stops=_NOT_HEALTH, offered=False,
    ),
    Step(
        "start", "started", frozenset({S.ACCEPTED}), S.IN_PROGRESS, _RECEIVER,
        carries=(moment("first_contact_time", None, APPOINTMENT_TOLERANCE), NOTE),
        starts=(K.SILENCE,), stops=(K.FIRST_CONTACT, *HEALTH), main=True,
    ),
    # When the time of an appointment has come, its result is the next thing to record.
    Step(
        "attend_appointment", "appointment_attended", _HELPING, None, _RECEIVER,
        carries=(NOTE,), guards=(appointment_is_open, appointment_is_due),
        effects=(end_appointment,), starts=(K.SILENCE,), stops=(K.SILENCE,), main=True, news=True,
    ),
    Step(
        "miss_appointment", "appointment_missed", _HELPING, None, _RECEIVER,
        carries=(REASON, NOTE), reason="reason_code",
        guards=(appointment_is_open, appointment_is_due),
        effects=(end_appointment,), starts=(K.SILENCE,), stops=(K.SILENCE,), main=True,
    ),
    Step(
        "confirm_override", "override_confirmed", LIVE, None, _SENDING,
        guards=(override_may_be_confirmed, second_person_confirms), stops=(K.OVERRIDE_CONFIRM,),
    ),
    Step(
        "attach_consent", "consent_attached", LIVE, None, _SENDER,
        carries=(RECEIPT,), stops=(K.OVERRIDE_CONFIRM, K.OVERRIDE_END),
    ),
    # While help is given, a note by the receiver is news. Adding a note becomes the main step once
    # SILENCE has passed.
    Step(
        "add_note", "note_added", LIVE, None, frozenset({Side.SENDER, Side.RECEIVER}),
        carries=(NOTE,), effects=(restart_silence,), news=True,
    ),
    Step(
        "schedule_appointment", "appointment_scheduled", _HELPING, None, _RECEIVER,
        carries=(moment("appointment_time", -APPOINTMENT_TOLERANCE, FARTHEST_APPOINTMENT), NOTE),
        starts=(K.SILENCE,), stops=(K.SILENCE,),
    ),
    Step(
        "cancel_appointment", "appointment_cancelled", _HELPING, None, _RECEIVER,
        carries=(REASON, NOTE), reason="reason_code", guards=(appointment_is_open,),
        effects=(end_appointment,), starts=(K.SILENCE,), stops=(K.SILENCE,),
    ),
    Step(
        "complete", "completed", frozenset({S.IN_PROGRESS}), S.COMPLETED, _RECEIVER,
        carries=(stored_field("outcome_code"), DELIVERED, NOTE), reason="outcome_code",
        attribution="provider", starts=(K.CLOSE,), stops=(K.SILENCE,), main=True,
    ),
    Step(
        "not_deliver", "not_delivered", frozenset({S.ACCEPTED, S.IN_PROGRESS}), S.NOT_DELIVERED,
        _RECEIVER,
        carries=(REASON, NOTE), reason="reason_code", attribution="provider", starts=_REPLACE,
        stops=_NOT_HEALTH,
    ),
    # The system makes the desk responsible for a referral whose worker has left.
    Step(
        "assign", "assigned", TAKEN_ON, None, frozenset({Side.RECEIVER, Side.SYSTEM}),
        carries=(RESPONSIBLE_WORKER, NOTE), effects=(name_desk,),
    ),
    Step(
        "close_need", "need_closed", CAME_BACK, None, _SENDING,
        carries=(Field("reason_code", stored_as="need_close_reason_code"), NOTE),
        reason="reason_code", guards=(need_is_open,), stops=(*_REPLACE, *HEALTH),
        decides=False,  # else a changed etag would show the receiver that the need was closed
    ),
    Step(
        "close", "closed", frozenset({S.COMPLETED}), S.CLOSED, _CLOSING,
        carries=(HELP_CAME, NOTE), reason="help_came_code", stops=_ALL, main=True,
    ),
    Step(
        "reopen", "reopened", frozenset({S.COMPLETED}), S.IN_PROGRESS, _CLOSING,
        carries=(HELP_CAME, NOTE), reason="help_came_code", starts=(K.SILENCE,), stops=(K.CLOSE,),
        offered=False,
    ),
    Step(
        "reroute", "rerouted", LIVE - {S.COMPLETED}, S.REROUTED, _SENDING,
        carries=(Field("service_id"), NOTE), attribution="network", starts=_REPLACE,
        stops=_NOT_HEALTH,
    ),
    Step(
        "amend", "amended", LIVE - {S.COMPLETED}, None, _SENDER,
        carries=(Field("urgency", None), Field("urgency_reason_code"), NOTE),
    ),
    Step(
        "remind", "reminded", LIVE | TO_DELETE, None,
        frozenset({Side.COORDINATOR}),
        guards=(someone_is_expected_to_act, not_reminded_recently), effects=(note_reminder,),
        decides=False,
    ),
    Step(
        "withdraw", "withdrawn", LIVE, S.WITHDRAWN, _SENDING,
        carries=(REASON, NOTE), reason="reason_code", attribution="network", stops=_ALL,
    ),
    Step(
        "withdraw_consent", "consent_withdrawn", LIVE | CAME_BACK | {S.DRAFT}, S.CONSENT_WITHDRAWN,
        frozenset({Side.PERSON}),
        attribution="person", starts=(K.DELETION,), stops=_ALL, offered=False,
    ),
    # The receiver has no access in Enlace any more, but only it can destroy its records elsewhere.
    Step(
        "confirm_deletion", "deletion_confirmed", TO_DELETE, None, _RECEIVER,
        carries=(NOTE,), guards=(deletion_is_expected,), stops=(K.DELETION,), main=True,
    ),
    Step(
        "enter_in_error", "entered_in_error", frozenset(S) - {S.ENTERED_IN_ERROR},
        S.ENTERED_IN_ERROR, _SENDING,
        carries=(NOTE,), guards=(error_is_recent, no_deletion_is_expected), attribution="network",
        stops=_ALL,
    ),
)  # fmt: skip
BY_VERB = {step.verb: step for step in TRANSITIONS}
OFFERED_IN = {
    state: tuple(step for step in TRANSITIONS if step.offered and state in step.sources)
    for state in State
}
"""The steps that are offered in each state to at least one side."""


def step_of(verb: str, carried: Mapping[str, Any]) -> Step:
    """Returns the row of a verb.

    If the help did not come, `close` stands for the row `reopen`.
    """
    return BY_VERB["reopen" if verb == "close" and carried.get("help_came_code") == "no" else verb]

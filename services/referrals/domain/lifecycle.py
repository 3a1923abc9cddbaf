"""The life of a referral as a table: which verb leads from which states to which, for whom, and what it does to the clocks.

Data, so that it can be tested exhaustively and drawn. What a step must carry is said by the method of Referral that makes it.
"""

from dataclasses import dataclass
from enum import Enum

from services.referrals.domain.deadline import HEALTH, DeadlineKind


class State(Enum):
    """Where a referral stands."""

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
    """On whose behalf somebody acts."""

    SENDER = "sender"
    RECEIVER = "receiver"
    COORDINATOR = "coordinator"
    PERSON = "person"
    SYSTEM = "system"


S, K = State, DeadlineKind
LIVE = frozenset({S.SENT, S.ACKNOWLEDGED, S.INFO_REQUESTED, S.ACCEPTED, S.WAITLISTED, S.IN_PROGRESS, S.COMPLETED})
"""States in which something is still expected of somebody and the receiver may have access."""
# Whose turn it is. What a receiver said no to is the sender's turn too, until another referral follows it: see CAME_BACK.
WAITS_FOR_RECEIVER = frozenset({S.SENT, S.ACKNOWLEDGED, S.ACCEPTED, S.WAITLISTED, S.IN_PROGRESS})
WAITS_FOR_SENDER = frozenset({S.DRAFT, S.INFO_REQUESTED, S.COMPLETED})
EXITS = frozenset({S.DECLINED, S.WITHDRAWN, S.CONSENT_WITHDRAWN, S.NOT_DELIVERED, S.EXPIRED, S.REROUTED, S.ENTERED_IN_ERROR})
"""Ends other than closed: each carries a reason, where somebody gave one."""
CAME_BACK = frozenset({S.DECLINED, S.EXPIRED, S.NOT_DELIVERED, S.REROUTED})
"""Exits that leave her without help though nobody took the request back: an open need, until another referral is sent or somebody closes it by name."""
REFER_AGAIN = "refer_again"
"""The main step of an exit that no other referral follows: no row of the table, but a new draft that is based on this one."""
TAKEN_ON = frozenset({S.ACCEPTED, S.IN_PROGRESS, S.COMPLETED})
"""Accepted, and not given up since."""
UNDECIDED = frozenset({S.SENT, S.ACKNOWLEDGED})


@dataclass(frozen=True)
class Transition:
    """One row: `verb` is asked, `fact` is what became true."""

    verb: str
    fact: str
    sources: frozenset[State]
    target: State | None  # None: it stays where it is
    by: frozenset[Side]
    starts: tuple[DeadlineKind, ...] = ()
    stops: tuple[DeadlineKind, ...] = ()
    offered: bool = True  # False: part of the life, not yet something a caller can ask for
    main: bool = False  # True: it moves things on; what asks, delays or ends is possible beside it, and never the first that is offered
    news: bool = False  # True: it tells how she is, so that the next SILENCE may be a long one
    decides: bool = True  # False: what anybody decided on stands as it did, so it makes no reader's version out of date


_ALL = tuple(DeadlineKind)
_WAITS = tuple(kind for kind in K if kind not in HEALTH)  # what befell her goes on while another service is looked for
_REPLACED = (K.REPLACE,)
_HELPING = frozenset({S.IN_PROGRESS})
_SENDER, _RECEIVER = frozenset({Side.SENDER}), frozenset({Side.RECEIVER})
_SENDING = frozenset({Side.SENDER, Side.COORDINATOR})
_CLOSING = frozenset({Side.SENDER, Side.COORDINATOR, Side.PERSON})

TRANSITIONS: tuple[Transition, ...] = (
    Transition("send", "sent", frozenset({S.DRAFT}), S.SENT, _SENDER, starts=(K.ACKNOWLEDGE, K.DECIDE), stops=(K.DRAFT,), main=True),
    Transition("acknowledge", "acknowledged", frozenset({S.SENT}), S.ACKNOWLEDGED, _RECEIVER, stops=(K.ACKNOWLEDGE,), main=True),
    Transition("ask", "info_requested", UNDECIDED, S.INFO_REQUESTED, _RECEIVER, starts=(K.ANSWER,), stops=(K.ACKNOWLEDGE,)),
    Transition("answer", "answered", frozenset({S.INFO_REQUESTED}), S.ACKNOWLEDGED, _SENDER, stops=(K.ANSWER,), main=True),
    Transition(
        "accept",
        "accepted",
        UNDECIDED | {S.WAITLISTED},
        S.ACCEPTED,
        _RECEIVER,
        starts=(K.FIRST_CONTACT,),
        stops=(K.ACKNOWLEDGE, K.DECIDE, K.REVIEW),
        main=True,
    ),
    Transition("waitlist", "waitlisted", UNDECIDED, S.WAITLISTED, _RECEIVER, starts=(K.REVIEW,), stops=(K.ACKNOWLEDGE, K.DECIDE)),
    Transition("decline", "declined", UNDECIDED | {S.WAITLISTED}, S.DECLINED, _RECEIVER, starts=_REPLACED, stops=_WAITS),
    Transition("expire", "expired", UNDECIDED, S.EXPIRED, frozenset({Side.SYSTEM}), starts=_REPLACED, stops=_WAITS, offered=False),
    Transition(
        "start",
        "started",
        frozenset({S.ACCEPTED}),
        S.IN_PROGRESS,
        _RECEIVER,
        starts=(K.SILENCE,),
        stops=(K.FIRST_CONTACT, *HEALTH),
        main=True,
    ),
    # When the time of an appointment has come, what became of it is the next thing to say.
    Transition(
        "attend_appointment",
        "appointment_attended",
        _HELPING,
        None,
        _RECEIVER,
        starts=(K.SILENCE,),
        stops=(K.SILENCE,),
        main=True,
        news=True,
    ),
    Transition("miss_appointment", "appointment_missed", _HELPING, None, _RECEIVER, starts=(K.SILENCE,), stops=(K.SILENCE,), main=True),
    Transition("confirm_override", "override_confirmed", LIVE, None, _SENDING, stops=(K.OVERRIDE_CONFIRM,)),
    Transition("attach_consent", "consent_attached", LIVE, None, _SENDER, stops=(K.OVERRIDE_CONFIRM, K.OVERRIDE_END)),
    # The receiver's while help is given is news: it starts SILENCE again, and is the next thing to say once that has run out.
    Transition("add_note", "note_added", LIVE, None, frozenset({Side.SENDER, Side.RECEIVER}), news=True),
    Transition("schedule_appointment", "appointment_scheduled", _HELPING, None, _RECEIVER, starts=(K.SILENCE,), stops=(K.SILENCE,)),
    Transition("cancel_appointment", "appointment_cancelled", _HELPING, None, _RECEIVER, starts=(K.SILENCE,), stops=(K.SILENCE,)),
    Transition(
        "complete", "completed", frozenset({S.IN_PROGRESS}), S.COMPLETED, _RECEIVER, starts=(K.CLOSE,), stops=(K.SILENCE,), main=True
    ),
    Transition(
        "not_deliver",
        "not_delivered",
        frozenset({S.ACCEPTED, S.IN_PROGRESS}),
        S.NOT_DELIVERED,
        _RECEIVER,
        starts=_REPLACED,
        stops=_WAITS,
    ),
    # The system takes it from a worker who has left, so that it is the desk's and not nobody's.
    Transition("assign", "assigned", TAKEN_ON, None, frozenset({Side.RECEIVER, Side.SYSTEM})),
    Transition("close_need", "need_closed", CAME_BACK, None, _SENDING, stops=(*_REPLACED, *HEALTH)),
    Transition("close", "closed", frozenset({S.COMPLETED}), S.CLOSED, _CLOSING, stops=_ALL, main=True),
    Transition(
        "reopen", "reopened", frozenset({S.COMPLETED}), S.IN_PROGRESS, _CLOSING, starts=(K.SILENCE,), stops=(K.CLOSE,), offered=False
    ),
    Transition("reroute", "rerouted", LIVE - {S.COMPLETED}, S.REROUTED, _SENDING, starts=_REPLACED, stops=_WAITS),
    Transition("amend", "amended", LIVE - {S.COMPLETED}, None, _SENDER),
    Transition("remind", "reminded", LIVE | CAME_BACK | {S.CONSENT_WITHDRAWN}, None, frozenset({Side.COORDINATOR}), decides=False),
    Transition("withdraw", "withdrawn", LIVE, S.WITHDRAWN, _SENDING, stops=_ALL),
    Transition(
        "withdraw_consent",
        "consent_withdrawn",
        LIVE,
        S.CONSENT_WITHDRAWN,
        frozenset({Side.PERSON}),
        starts=(K.DELETION,),
        stops=_ALL,
        offered=False,
    ),
    # Enlace closed what it holds at once; what was written down elsewhere only its receiver can destroy.
    Transition("confirm_deletion", "deletion_confirmed", frozenset({S.CONSENT_WITHDRAWN}), None, _RECEIVER, stops=(K.DELETION,), main=True),
    Transition("enter_in_error", "entered_in_error", frozenset(S) - {S.ENTERED_IN_ERROR}, S.ENTERED_IN_ERROR, _SENDING, stops=_ALL),
)
BY_VERB = {transition.verb: transition for transition in TRANSITIONS}

"""A referral as data: its sides, and what each actor may see and do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from chassis.errors import Conflict
from chassis.second import UNKNOWN, Kin
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import NOT_STATED, Unsafe
from services.referrals.network.domain.deadline import (
    HEALTH,
    Deadline,
    DeadlineKind,
    Urgency,
    check_urgency,
    recent_assault_time,
)
from services.referrals.referrals.domain.lifecycle import (
    BY_VERB,
    CAME_BACK,
    ENDED_BEFORE,
    LIVE,
    NOT_NOW,
    OFFERED_IN,
    REFER_AGAIN,
    TO_DELETE,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    Side,
    State,
    Step,
    step_of,
)

LEG_LOST = "leg_lost"


@dataclass(frozen=True)
class Actor:
    """The actor of a step.

    `coordinates` is True for a network coordinator, `manages` for a manager of the organisation.
    """

    kind: str  # worker | key | person | system
    id: str
    organization_id: str
    coordinates: bool = False
    manages: bool = False
    kin: Kin = UNKNOWN


@dataclass(frozen=True)
class Event:
    """An event of a referral; each event makes a new version of the referral."""

    version: int
    verb: str
    from_state: State
    to_state: State
    time: datetime
    actor: Actor
    reason_code: str = ""
    attribution: str = ""
    clock: DeadlineKind | None = None
    note: str = ""
    # True if there is a note that this reader may not open, or that nobody can open
    note_withheld: bool = False
    changed_field_codes: tuple[str, ...] = ()  # fields amended after the referral was sent
    arrival: Arrival | None = None  # stated on sending, if nobody may contact the person


@dataclass
class ReferralRecord:
    """A request to one service, with everything about it that does not identify the person."""

    id: str
    sender_organization_id: str
    sender_worker_id: str
    person_id: str
    coarse: Coarse
    create_time: datetime
    update_time: datetime
    state: State = State.DRAFT
    version: int = 0
    # The version of the last step. Fired deadlines and the events in `referral.UNDECIDING` do not
    # count as steps, since no decision becomes stale because of them.
    step_version: int = 0
    urgency: Urgency | None = None
    # why the urgency is below the urgency that follows from the contact's answers
    urgency_reason_code: str = ""
    need_code: str = ""
    contact_id: str = ""
    receiver_organization_id: str = ""
    service_id: str = ""
    receipt_id: str = ""
    override_reason_code: str = ""
    override_worker_id: str = ""
    responsible_worker_id: str = ""
    responsible_desk_code: str = ""
    planned_first_contact_time: datetime | None = None
    first_contact_time: datetime | None = None
    appointment_time: datetime | None = None  # the time of the open appointment
    reason_code: str = ""
    question_code: str = ""
    outcome_code: str = ""
    delivered_need_codes: tuple[str, ...] = ()
    alternative_service_id: str = ""
    expected_wait_days: int = 0
    review_time: datetime | None = None
    remind_time: datetime | None = None
    based_on_id: str = ""
    send_time: datetime | None = None
    need_close_reason_code: str = ""
    assault_time: datetime | None = None  # the time of a recent assault, to the hour
    unsafe: Unsafe = NOT_STATED  # who or what place is unsafe for her; only the sender sees it
    # ids of the organisations on either side that are suspended or have left, as last reported to
    # the other side
    sides_out: list[str] = field(default_factory=list)
    followed_up: bool = False  # the sender has sent another referral that is based on this one
    following_id: str = ""  # the referral that follows, or the draft that may become it
    deadlines: list[Deadline] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # events that are not stored yet

    def recent_assault(self, now: datetime) -> datetime | None:
        """Returns the time of the assault while a health deadline could run, otherwise None."""
        return recent_assault_time(self.assault_time, now)

    def sides(self, actor: Actor) -> frozenset[Side]:
        """Returns the sides on which an actor stands; nobody is the receiver of a draft."""
        own_organization_id = actor.organization_id
        return _sides(
            actor.kind,
            own_organization_id != "" and own_organization_id == self.sender_organization_id,
            own_organization_id != ""
            and own_organization_id == self.receiver_organization_id
            and self.state is not State.DRAFT,
            actor.coordinates,
        )

    def allowed_verbs(self, actor: Actor, now: datetime) -> list[str]:
        """Returns the verbs that this actor may use; verbs that move the referral on come first."""
        return [
            step.verb
            for step in sorted(
                self._allowed_steps(actor, now),
                key=lambda step: not self._moves_on(step, actor, now),
            )
        ]

    def could_be_based_on(self, receipt: Receipt, now: datetime) -> bool:
        """Returns whether the referral could now be based on this receipt, which must be a consent.

        The consent must cover the receiver and the need. A referral that was sent can't exchange
        its receipt for the same receipt.
        """
        if receipt.id == self.receipt_id and self.state is not State.DRAFT:
            return False
        try:
            self._check_receipt(receipt, now)
        except Conflict:
            return False
        return not receipt.is_override

    def main_step(
        self, actor: Actor, now: datetime, allowed_verbs: Sequence[str] | None = None
    ) -> str:
        """Returns the verb with which this actor moves the referral on, or "" if there is none.

        The verb can be REFER_AGAIN, which is not a row of the table. Pass `allowed_verbs`
        if the result of `self.allowed_verbs` for this actor is known already.
        """
        if self.need_is_open and Side.SENDER in self.sides(actor):
            return REFER_AGAIN
        first_verb = next(
            iter(self.allowed_verbs(actor, now) if allowed_verbs is None else allowed_verbs), ""
        )
        return first_verb if first_verb and self._moves_on(BY_VERB[first_verb], actor, now) else ""

    @property
    def need_is_open(self) -> bool:
        """Returns True if the referral came back and its need is still open.

        The need stays open until the sender refers the person again, or until the need is closed
        with a reason. No deadline closes the need.
        """
        return self.state in CAME_BACK and not self.followed_up and not self.need_close_reason_code

    @property
    def is_asked_for(self) -> bool:
        """Returns whether the referral is live, a draft, or came back and its need is open."""
        return self.state in LIVE or self.state is State.DRAFT or self.need_is_open

    @property
    def ends_with_consent(self) -> bool:
        """Returns whether the referral changes when the person withdraws all her consents."""
        return self.is_asked_for or self.receiver_may_hold_data

    @property
    def receiver_may_hold_data(self) -> bool:
        """Returns whether the referral ended, and its receiver was not asked to delete data.

        The receiver must not be the sender itself.
        """
        return (
            self.state in ENDED_BEFORE | CAME_BACK
            and self.deletion is None
            and self.receiver_organization_id != self.sender_organization_id
        )

    def is_out(self, side: Side) -> bool:
        """Returns whether this side is suspended or has left, as the other side was last told."""
        organization_id = (
            self.receiver_organization_id if side is Side.RECEIVER else self.sender_organization_id
        )
        return organization_id in self.sides_out

    def shows_open_need(self, actor: Actor) -> bool:
        """Returns whether the person's need is open and this actor may know that."""
        return self.need_is_open and not self.is_only_receiver(actor)

    def is_only_receiver(self, actor: Actor) -> bool:
        """Returns whether the actor stands on the receiver's side only.

        Such an actor sees nothing of the help that the person gets elsewhere.
        """
        return self.sides(actor) == {Side.RECEIVER}

    @property
    def return_time(self) -> datetime | None:
        """Returns when the referral last came back, or None if it never did."""
        return max(
            (
                deadline.start_time
                for deadline in self.deadlines
                if deadline.kind is DeadlineKind.REPLACE
            ),
            default=None,
        )

    def over_since(self, actor: Actor) -> datetime | None:
        """Returns the time of the last change that this actor sees, if the referral has ended.

        A referral that came back has ended only for the receiver, which later only has to delete
        data; for anyone else, returns None.
        """
        if self.state not in CAME_BACK or not self.is_only_receiver(actor):
            return None
        return self.deletion.start_time if self.deletion else self.return_time

    def events_for(self, actor: Actor, events: Iterable[Event]) -> list[Event]:
        """Returns the events that this actor may see."""
        hidden_kinds = self._hidden_kinds(actor)
        receives_only = self.is_only_receiver(actor)
        return [
            event
            for event in events
            if event.clock not in hidden_kinds
            and not (receives_only and self._is_about_need(event))
        ]

    def _is_about_need(self, event: Event) -> bool:
        """Returns whether an event is about the person's need rather than about this referral.

        Such an event closes the need, is a reminder while the need was open, or reports that a leg
        of the hand-over failed. The receiver does not see such events.
        """
        return event.verb in ("need_closed", LEG_LOST) or (
            event.verb == "reminded"
            and event.from_state in CAME_BACK
            and self._need_was_open(event.time)
        )

    @property
    def was_reminded_of_need(self) -> bool:
        """Returns whether the last reminder was about the need of a referral that came back."""
        return self.remind_time is not None and self._need_was_open(self.remind_time)

    def _need_was_open(self, time: datetime) -> bool:
        return any(
            deadline.start_time <= time <= (deadline.stop_time or time)
            for deadline in self.deadlines
            if deadline.kind is DeadlineKind.REPLACE
        )

    def _hidden_kinds(self, actor: Actor) -> tuple[DeadlineKind, ...]:
        if self.is_only_receiver(actor):
            return (
                DeadlineKind.REPLACE,
                DeadlineKind.DRAFT,
                *(() if self.state in LIVE else HEALTH),
            )
        # coordinators have no need to know of the assault
        return () if Side.SENDER in self.sides(actor) else tuple(HEALTH)

    def deadlines_for(self, actor: Actor) -> list[Deadline]:
        """Returns the deadlines that this actor may see, with the running deadlines first."""
        hidden_kinds = self._hidden_kinds(actor)
        visible_deadlines = [
            deadline for deadline in self.deadlines if deadline.kind not in hidden_kinds
        ]
        return sorted(
            visible_deadlines, key=lambda deadline: (not deadline.running, deadline.due_time)
        )

    def side_to_act(self, actor: Actor) -> Side | None:
        """Returns the side that has to act, as far as this actor may know; None if no side has."""
        if self.state in WAITS_FOR_SENDER or self.shows_open_need(actor):
            return Side.SENDER
        if self.state in TO_DELETE and self.unstopped_deadlines(DeadlineKind.DELETION):
            return Side.RECEIVER
        return Side.RECEIVER if self.state in WAITS_FOR_RECEIVER else None

    @property
    def deletion(self) -> Deadline | None:
        """Returns the latest deletion deadline, or None if there is none.

        The deadline is stopped once the receiver has confirmed that it no longer holds data about
        the person.
        """
        return next(
            (
                deadline
                for deadline in reversed(self.deadlines)
                if deadline.kind is DeadlineKind.DELETION
            ),
            None,
        )

    @property
    def deletion_due_time(self) -> datetime | None:
        """Returns when the running deletion deadline is due; None if none runs."""
        return self.deletion.due_time if self.deletion and self.deletion.running else None

    @property
    def next_due_time(self) -> datetime | None:
        """Returns the earliest due time of the running deadlines; None if none runs.

        After the referral came back, only the deadlines of its need count, not the deletion.
        """
        return min(
            (
                deadline.due_time
                for deadline in self.deadlines
                if deadline.running
                and not (self.state in CAME_BACK and deadline.kind is DeadlineKind.DELETION)
            ),
            default=None,
        )

    def _moves_on(self, step: Step, actor: Actor, now: datetime) -> bool:
        if step.verb == "add_note":  # a note moves the referral on only once news is overdue
            return Side.RECEIVER in self.sides(actor) and any(
                deadline.due_time <= now
                for deadline in self.unstopped_deadlines(DeadlineKind.SILENCE)
            )
        return step.main

    def _allowed_steps(self, actor: Actor, now: datetime) -> list[Step]:
        sides = self.sides(actor)
        return [
            step
            for step in OFFERED_IN[self.state]
            if not step.sides.isdisjoint(sides)
            and (not step.guards or self._refusal(step, actor, now) is None)
        ]

    def _refusal(self, step: Step, actor: Actor, now: datetime) -> Conflict | None:
        """Returns the refusal of a step that the actor can't take now; None if the actor can."""
        if self.state not in step.sources or not step.sides & self.sides(actor):
            return Conflict(NOT_NOW)
        try:
            for guard in step.guards:
                guard(self, actor, now)
        except Conflict as refusal:
            return refusal
        return None

    def _check_step(self, verb: str, actor: Actor, now: datetime, **carried: Any) -> Step:
        """Returns the row of a step that the actor may take now.

        Otherwise raises the refusal; a refusal for the reason NOT_NOW lists the allowed steps.
        """
        step = step_of(verb, carried)
        refusal = self._refusal(step, actor, now)
        if refusal and refusal.reason == NOT_NOW:
            details = (
                f"allowed={allowed_step.verb}" for allowed_step in self._allowed_steps(actor, now)
            )
            raise Conflict(
                NOT_NOW,
                f"from={self.state.value}",
                f"to={(step.target or self.state).value}",
                *details,
            )
        if refusal:
            raise refusal
        return step

    def _check_receipt(self, receipt: Receipt, now: datetime) -> None:
        receipt.check_covers(self.receiver_organization_id, self.need_code, now)

    def unstopped_deadlines(self, *kinds: DeadlineKind) -> list[Deadline]:
        """Returns the deadlines of these kinds that run or are paused."""
        return [
            deadline
            for deadline in self.deadlines
            if deadline.kind in kinds and deadline.stop_time is None
        ]

    def _urgency_after_assault(self, urgency: Urgency | None, now: datetime) -> Urgency | None:
        if not self.recent_assault(now):
            return urgency
        return urgency if urgency and urgency.rank >= Urgency.EMERGENCY.rank else Urgency.EMERGENCY

    def following_urgency(self, answered_urgency: Urgency | None) -> Urgency | None:
        """Returns the urgency of a referral that follows this one.

        It is not below the urgency that follows from later answers of the contact, unless this
        referral has a reason for being less urgent.
        """
        minimum_urgency = None if self.urgency_reason_code else answered_urgency
        return self._checked_urgency(None, minimum_urgency, "")

    def _checked_urgency(
        self,
        urgency: Urgency | None,
        answered_urgency: Urgency | None,
        reason_code: str,
        path: str = "",
    ) -> Urgency | None:
        """Returns the requested urgency, or else the higher of the present and answered urgency.

        `answered_urgency` follows from the contact's answers; it is None if no answers count. A
        requested urgency below the answered urgency is refused unless a reason is given or stored
        (`path` as in `check_urgency`); the reason is then stored. Any other requested urgency
        clears the stored reason.
        """
        if answered_urgency is None:
            return urgency or self.urgency
        if urgency is None:
            return max(
                self.urgency or answered_urgency, answered_urgency, key=lambda level: level.rank
            )
        stored_reason = self.urgency_reason_code if urgency is self.urgency else ""
        check_urgency(urgency, answered_urgency, reason_code or stored_reason, path)
        self.urgency_reason_code = (
            (reason_code or stored_reason) if urgency.rank < answered_urgency.rank else ""
        )
        return urgency


@cache
def _sides(kind: str, sends: bool, receives: bool, coordinates: bool) -> frozenset[Side]:
    """Returns the sides of an actor.

    Cached, since a list of referrals asks for the sides several times for each referral.
    """
    stands_on = {
        Side.PERSON: kind == "person",
        Side.SYSTEM: kind == "system",
        Side.SENDER: sends,
        Side.RECEIVER: receives,
        Side.COORDINATOR: coordinates,
    }
    return frozenset(side for side, stands in stands_on.items() if stands)


def still_to_refer(referrals: Iterable[ReferralRecord]) -> list[bool]:
    """Returns one flag for each referral that was sent or may still be sent.

    The flag is True if the referral is a draft, or if it came back and its need is still open.
    Referrals that were entered in error are left out.
    """
    return [
        referral.state is State.DRAFT or referral.need_is_open
        for referral in referrals
        if referral.state is not State.ENTERED_IN_ERROR
        and (referral.send_time or referral.state is not State.CONSENT_WITHDRAWN)
    ]

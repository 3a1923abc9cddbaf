"""A referral as it stands: its data, who is on which side of it, and what each may see and do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chassis.errors import Conflict
from chassis.second import UNKNOWN, Kin
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import UNSAID, Unsafe
from services.referrals.network.domain.deadline import (
    HEALTH,
    Deadline,
    DeadlineKind,
    Urgency,
    check_urgency,
    recent,
)
from services.referrals.referrals.domain.lifecycle import (
    BY_VERB,
    CAME_BACK,
    NOT_NOW,
    REFER_AGAIN,
    TRANSITIONS,
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
    """Who takes a step; `coordinates` for a coordinator of the network, `manages` for a manager of
    the organisation.
    """

    kind: str  # worker | key | person | system
    id: str
    organization_id: str
    coordinates: bool = False
    manages: bool = False
    kin: Kin = UNKNOWN


@dataclass(frozen=True)
class Event:
    """What happened: one version of the referral."""

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
    note_withheld: bool = False  # there is one that its reader may not open
    changed_field_codes: tuple[str, ...] = ()  # of an amendment, after it was sent
    arrival: Arrival | None = None  # of the sending, where nobody may contact her


@dataclass
class ReferralRecord:
    """A request to one service, with everything that may be known of it without knowing who she
    is.
    """

    id: str
    sender_organization_id: str
    sender_worker_id: str
    person_id: str
    coarse: Coarse
    create_time: datetime
    update_time: datetime
    state: State = State.DRAFT
    version: int = 0
    # of the last step: a deadline that fires, or a reminder, is none, and makes nobody's decision
    # out of date
    step_version: int = 0
    urgency: Urgency | None = None
    urgency_reason_code: str = ""  # why it is less urgent than the answers of its contact make it
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
    appointment_time: datetime | None = None  # of the one that is open
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
    assault_time: datetime | None = None  # of a recent one, to the hour
    unsafe: Unsafe = UNSAID  # with whom or where she is not safe; its sender's alone
    # organisations that may not act, as their other sides were told
    sides_out: list[str] = field(default_factory=list)
    followed_up: bool = False  # another referral of this sender was sent that is based on it
    following_id: str = ""  # that one, or the draft that may become it
    clocks: list[Deadline] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # those that are not yet kept

    def recent_assault(self, now: datetime) -> datetime | None:
        """When it was, while a health clock could run."""
        return recent(self.assault_time, now)

    def sides(self, actor: Actor) -> frozenset[Side]:
        """On which sides an actor stands."""
        sides = set()
        if actor.kind == "person":
            sides.add(Side.PERSON)
        if actor.kind == "system":
            sides.add(Side.SYSTEM)
        if actor.organization_id and actor.organization_id == self.sender_organization_id:
            sides.add(Side.SENDER)
        if (
            actor.organization_id
            and actor.organization_id == self.receiver_organization_id
            and self.state is not State.DRAFT
        ):
            sides.add(Side.RECEIVER)
        if actor.coordinates:
            sides.add(Side.COORDINATOR)
        return frozenset(sides)

    def allowed_verbs(self, actor: Actor, now: datetime) -> list[str]:
        """What this actor may do next, what moves things on first."""
        return [
            step.verb
            for step in sorted(
                self._allowed_steps(actor, now),
                key=lambda step: not self._moves_on(step, actor, now),
            )
        ]

    def could_stand_on(self, receipt: Receipt, now: datetime) -> bool:
        """Whether a consent would do now, to be sent on or to take the place of what it stands
        on.
        """
        if receipt.id == self.receipt_id and self.state is not State.DRAFT:
            return False
        try:
            self._check_receipt(receipt, now)
        except Conflict:
            return False
        return not receipt.is_override

    def main_step(self, actor: Actor, now: datetime) -> str:
        """The one step of this actor that moves things on; empty when there is none."""
        if self.need_is_open and Side.SENDER in self.sides(actor):
            return REFER_AGAIN
        return next(
            (
                verb
                for verb in self.allowed_verbs(actor, now)
                if self._moves_on(BY_VERB[verb], actor, now)
            ),
            "",
        )

    @property
    def need_is_open(self) -> bool:
        """It came back without help for her, and its sender has not referred her again, nor has
        anybody said why not. No time ends it.
        """
        return self.state in CAME_BACK and not self.followed_up and not self.need_close_reason_code

    def is_unanswered(self, actor: Actor) -> bool:
        """Her need is open, as this actor may know."""
        return self.need_is_open and not self.is_receiver_alone(actor)

    def is_receiver_alone(self, actor: Actor) -> bool:
        """To whom what is done for her elsewhere is no business: it sees nothing of it."""
        return self.sides(actor) == {Side.RECEIVER}

    def events_for(self, actor: Actor, events: Iterable[Event]) -> list[Event]:
        """Those of a history that this actor may know of."""
        hidden = self._hidden_clocks(actor)
        over = self.is_receiver_alone(actor)
        return [
            event
            for event in events
            if event.clock not in hidden and not (over and _is_of_her_need(event))
        ]

    def _hidden_clocks(self, actor: Actor) -> tuple[DeadlineKind, ...]:
        if self.is_receiver_alone(actor):
            return (
                DeadlineKind.REPLACE,
                DeadlineKind.DRAFT,
                *(HEALTH if self.state in CAME_BACK else ()),
            )
        # what befell her is no business of who steers the network
        return () if Side.SENDER in self.sides(actor) else tuple(HEALTH)

    def clocks_for(self, actor: Actor) -> list[Deadline]:
        """The clocks that this actor may know of, running ones first."""
        hidden = self._hidden_clocks(actor)
        known = [clock for clock in self.clocks if clock.kind not in hidden]
        return sorted(known, key=lambda clock: (not clock.running, clock.due_time))

    def turn(self, actor: Actor) -> Side | None:
        """Whose turn it is, as this actor may know: the sender's, the receiver's or nobody's."""
        if self.state in WAITS_FOR_SENDER or self.is_unanswered(actor):
            return Side.SENDER
        if self.state is State.CONSENT_WITHDRAWN and self.running(DeadlineKind.DELETION):
            return Side.RECEIVER
        return Side.RECEIVER if self.state in WAITS_FOR_RECEIVER else None

    @property
    def deletion(self) -> Deadline | None:
        """The last of the clocks by which the receiver confirms that it holds nothing more of her:
        stopped when it did so.
        """
        return next(
            (clock for clock in reversed(self.clocks) if clock.kind is DeadlineKind.DELETION), None
        )

    @property
    def next_due_time(self) -> datetime | None:
        """Of the earliest running clock."""
        return min((clock.due_time for clock in self.clocks if clock.running), default=None)

    def _moves_on(self, step: Step, actor: Actor, now: datetime) -> bool:
        if step.verb == "add_note":  # when news is overdue
            return Side.RECEIVER in self.sides(actor) and any(
                clock.due_time <= now for clock in self.running(DeadlineKind.SILENCE)
            )
        return step.main

    def _allowed_steps(self, actor: Actor, now: datetime) -> list[Step]:
        return [
            step for step in TRANSITIONS if step.offered and self._refusal(step, actor, now) is None
        ]

    def _refusal(self, step: Step, actor: Actor, now: datetime) -> Conflict | None:
        """Returns why the actor can't take a step now; None if it can."""
        if self.state not in step.sources or not step.by & self.sides(actor):
            return Conflict(NOT_NOW)
        try:
            for guard in step.guards:
                guard(self, actor, now)
        except Conflict as refusal:
            return refusal
        return None

    def _check_step(self, verb: str, actor: Actor, now: datetime, **carried: Any) -> Step:
        """Returns the row of a step that the actor may take now.

        Raises the refusal of its first guard that refuses; NOT_NOW lists the steps that are
        allowed.
        """
        step = step_of(verb, carried)
        refusal = self._refusal(step, actor, now)
        if refusal and refusal.reason == NOT_NOW:
            allowed = (f"allowed={each.verb}" for each in self._allowed_steps(actor, now))
            raise Conflict(
                NOT_NOW,
                f"from={self.state.value}",
                f"to={(step.target or self.state).value}",
                *allowed,
            )
        if refusal:
            raise refusal
        return step

    def _check_receipt(self, receipt: Receipt, now: datetime) -> None:
        receipt.check_covers(self.receiver_organization_id, self.need_code, now)

    def running(self, *kinds: DeadlineKind) -> list[Deadline]:
        return [clock for clock in self.clocks if clock.kind in kinds and clock.stop_time is None]

    def _at_least(self, urgency: Urgency | None, now: datetime) -> Urgency | None:
        if not self.recent_assault(now):
            return urgency
        return urgency if urgency and urgency.rank >= Urgency.EMERGENCY.rank else Urgency.EMERGENCY

    def _as_answered(
        self, urgency: Urgency | None, answers: Urgency | None, reason_code: str
    ) -> Urgency | None:
        """Returns the urgency that is asked for, else the higher of its own and `answers`.

        Refuses to lower it below the answers without a reason.
        """
        if answers is None:
            return urgency or self.urgency
        if urgency is None:
            return max(self.urgency or answers, answers, key=lambda each: each.rank)
        known = self.urgency_reason_code if urgency is self.urgency else ""
        check_urgency(urgency, answers, reason_code or known)
        self.urgency_reason_code = (reason_code or known) if urgency.rank < answers.rank else ""
        return urgency


def waiting_for_sender(referrals: Iterable[ReferralRecord]) -> list[bool]:
    """Returns, of each but those entered in error, whether it is the sender's turn to go on."""
    return [
        referral.state is State.DRAFT or referral.need_is_open
        for referral in referrals
        if referral.state is not State.ENTERED_IN_ERROR
    ]


def _is_of_her_need(event: Event) -> bool:
    """It came back, or was lost on the way, and this is about what is done for her elsewhere."""
    return event.verb in ("need_closed", LEG_LOST) or (
        event.verb == "reminded" and event.from_state in CAME_BACK
    )

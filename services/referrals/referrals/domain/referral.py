"""The referral: a request to one service.

It takes the steps of the table beside it (lifecycle.py): allowed, it changes and notes an event;
not allowed, it refuses and changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from chassis.errors import Conflict, Invalid
from chassis.second import UNKNOWN, Kin
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import UNSAID, Unsafe
from services.referrals.network.domain.codes import Check
from services.referrals.network.domain.deadline import (
    BY_URGENCY,
    EXPIRE_PERCENT,
    HEALTH,
    SILENCE_AFTER_NEWS,
    Calendar,
    Deadline,
    DeadlineKind,
    Urgency,
    assault_to_the_hour,
    check_urgency,
    due_time,
    recent,
)
from services.referrals.referrals.domain.lifecycle import (
    BY_VERB,
    CAME_BACK,
    EXITS,
    NOT_NOW,
    REFER_AGAIN,
    TRANSITIONS,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    Side,
    State,
    Step,
    check_note,
    step_of,
)

PROBATION_LIMIT = 5
LEG_LOST = "leg_lost"
CONSENT_ENDING = "consent_ending"
SIDE_OUT, SIDE_BACK = "side_out", "side_back"


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
class Referral:
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

    @classmethod
    def draft(
        cls,
        identifier: str,
        actor: Actor,
        person_id: str,
        coarse: Coarse,
        now: datetime,
        calendar: Calendar,
        *,
        based_on_id: str = "",
    ) -> "Referral":
        """Opens a draft; nobody but the sender sees it, and its clock is the sender's alone."""
        referral = cls(
            identifier,
            actor.organization_id,
            actor.id,
            person_id,
            coarse,
            now,
            now,
            based_on_id=based_on_id,
        )
        referral._begin(actor, now, calendar)
        return referral

    def _begin(self, actor: Actor, now: datetime, calendar: Calendar) -> None:
        self._watch_health(now)
        due = due_time(DeadlineKind.DRAFT, self.urgency or Urgency.NORMAL, now, calendar)
        self.clocks.append(
            Deadline(DeadlineKind.DRAFT, now, due, policy_version=calendar.policy().version)
        )
        self._note("drafted", State.DRAFT, State.DRAFT, actor, now)

    def change_draft(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        need_code: str | None = None,
        urgency: Urgency | None = None,
        answers: Urgency | None = None,
        urgency_reason_code: str = "",
        service: tuple[str, str] | None = None,
        receipt_id: str | None = None,
        contact_id: str | None = None,
        assault_time: datetime | None = None,
        unsafe: Unsafe | None = None,
    ) -> None:
        """Changes a draft; `service` is (service id, its organisation).

        After an assault it is an emergency at least.

        `answers`: the urgency by the answers of its contact, where urgency or contact are said
        anew.
        """
        if self.state is not State.DRAFT:
            raise Conflict("not_a_draft")
        if assault_time is not None:
            hour = assault_to_the_hour("assault_time", assault_time, now, self.assault_time)
            if hour != self.assault_time:
                self.assault_time = hour
                self._watch_health(now)
        urgency = self._at_least(self._as_answered(urgency, answers, urgency_reason_code), now)
        if need_code is not None:
            check = Check()
            check.need("need_code", need_code)
            check.done()
            self.need_code = need_code
        if urgency is not None and urgency is not self.urgency:
            self._change_urgency(urgency, now, calendar)
        if service is not None:
            if service[1] != self.receiver_organization_id:
                # a consent names its recipient: another recipient needs another one
                self.receipt_id = ""
            self.service_id, self.receiver_organization_id = service
        if receipt_id is not None:
            self.receipt_id = receipt_id
        if contact_id is not None:
            self.contact_id = contact_id
        if unsafe is not None:
            self.unsafe = unsafe
        self._note("amended", State.DRAFT, State.DRAFT, actor, now)

    def send(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        receipt: Receipt | None,
        *,
        safe_contact_known: bool,
        note: str = "",
        nobody_calls: bool = False,
        arrival: Arrival | None = None,
    ) -> None:
        """Sends a whole draft on a receipt that covers it: of a consent, or of an override, which
        needs a note and is watched by clocks of its own.

        Whom nobody may contact has to arrive: then it says how.
        """
        step = self._check_step("send", actor, now)
        if not (self.need_code and self.urgency and self.service_id):
            raise Conflict("incomplete_draft")
        if not safe_contact_known:
            raise Conflict("safe_contact_missing")
        if not self.unsafe.code:
            raise Conflict("unsafe_not_asked", "unsafe_code")
        if receipt is None:
            raise Conflict("receipt_missing")
        check_note(note, needed=receipt.is_override)
        self._stand_on(receipt, now)
        if nobody_calls:
            (arrival or Arrival("", "", "", "")).check()
        self.override_reason_code = receipt.reason_code
        self.override_worker_id = actor.id if receipt.is_override else ""
        self.send_time = now
        starts = (
            (*step.starts, DeadlineKind.OVERRIDE_CONFIRM, DeadlineKind.OVERRIDE_END)
            if receipt.is_override
            else step.starts
        )
        self._move(
            replace(step, starts=starts),
            actor,
            now,
            calendar,
            reason_code=receipt.reason_code,
            note=note,
        )
        self.events[-1] = replace(self.events[-1], arrival=arrival if nobody_calls else None)

    def take(
        self, verb: str, actor: Actor, now: datetime, calendar: Calendar, **carried: Any
    ) -> None:
        """Takes a step that needs nothing but the fields of its request: all of its row is asked
        before anything changes.

        Raises Conflict (the step is not allowed now) or Invalid (a field that its check refuses, a
        reason `other` without a note).
        """
        step = self._check_step(verb, actor, now, **carried)
        values = step.checked(carried, now)
        for each in step.carries:
            if each.stored_as:
                setattr(self, each.stored_as, values[each.name])
        for effect in step.effects:
            effect(self, actor, now, calendar)
        self._move(
            step,
            actor,
            now,
            calendar,
            reason_code=values.get(step.reason, ""),
            note=values.get("note", ""),
        )

    def recent_assault(self, now: datetime) -> datetime | None:
        """When it was, while a health clock could run."""
        return recent(self.assault_time, now)

    def _watch_health(self, now: datetime) -> None:
        for clock in self.running(*HEALTH):  # of another time that was said before
            clock.stop(now)
        for kind, span in HEALTH.items():
            if self.assault_time and now < self.assault_time + span:
                self.clocks.append(Deadline(kind, self.assault_time, self.assault_time + span))

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

    def amend(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        urgency: Urgency | None,
        coarse: Coarse,
        note: str,
        answers: Urgency | None = None,
        urgency_reason_code: str = "",
    ) -> None:
        """What was sent is corrected: how soon, and what may be said of her as her file says it
        now. More urgent, its running deadlines are counted anew.
        """
        step = self._check_step("amend", actor, now)
        changed = [
            each.name
            for each in fields(Coarse)
            if getattr(coarse, each.name) != getattr(self.coarse, each.name)
        ]
        if urgency and urgency is not self.urgency:
            self._as_answered(urgency, answers, urgency_reason_code)
            if self._at_least(urgency, now) is not urgency:
                raise Invalid(("urgency", "out_of_range"))
            changed.append("urgency")
            self._change_urgency(urgency, now, calendar)
        if not changed:
            raise Invalid(("urgency", "required"))
        self.coarse = coarse
        self._move(step, actor, now, calendar, note=note, changed_field_codes=tuple(changed))

    def _change_urgency(self, urgency: Urgency, now: datetime, calendar: Calendar) -> None:
        self.urgency = urgency
        for clock in self.clocks:
            if clock.stop_time is None and clock.kind in BY_URGENCY:
                clock.recount(now, urgency, calendar)

    def attach_consent(
        self, actor: Actor, now: datetime, calendar: Calendar, receipt: Receipt
    ) -> None:
        """She was asked: after all, or again before it ends.

        From now on it stands on this consent.
        """
        step = self._check_step("attach_consent", actor, now)
        if receipt.is_override:
            raise Conflict("receipt_missing")
        if receipt.id == self.receipt_id:
            raise Invalid(("receipt_id", "repeated"))
        self._stand_on(receipt, now)
        self._move(step, actor, now, calendar)

    def watch_need(self, now: datetime) -> None:
        """The clocks of what came back stop when another referral follows, and go on when that was
        an error.
        """
        for clock in self.clocks:
            if clock.kind in (DeadlineKind.REPLACE, *HEALTH) and self.state in CAME_BACK:
                if self.need_is_open:
                    clock.go_on()
                else:
                    clock.stop(now)

    def withdraw_consent(self, actor: Actor, now: datetime, calendar: Calendar) -> None:
        """The person takes her consent back, through whomever she told."""
        step = BY_VERB["withdraw_consent"]
        if self.state in step.sources:
            self._move(step, actor, now, calendar)

    def reroute(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        service: tuple[str, str],
        following_id: str,
        note: str,
    ) -> "Referral":
        """Another service is asked instead, (service id, its organisation): returns the draft that
        follows, the sender's to send on a consent for that place.
        """
        step = self._check_step("reroute", actor, now)
        if service[0] == self.service_id:
            raise Invalid(("service_id", "out_of_range"))
        self._move(step, actor, now, calendar, note=note)
        following = Referral(
            following_id,
            self.sender_organization_id,
            self.sender_worker_id,
            self.person_id,
            self.coarse,
            now,
            now,
            urgency=self.urgency,
            urgency_reason_code=self.urgency_reason_code,
            need_code=self.need_code,
            contact_id=self.contact_id,
            service_id=service[0],
            receiver_organization_id=service[1],
            based_on_id=self.id,
            assault_time=self.assault_time,
            unsafe=self.unsafe,
        )
        following._begin(actor, now, calendar)
        self.following_id = following_id
        return following

    def wait_for_her(self) -> None:
        """A leg of a hand-over that was accepted ahead: until she is expected, nobody is late to
        meet her.
        """
        planned = self.planned_first_contact_time
        for clock in self.running(DeadlineKind.FIRST_CONTACT):
            if planned is not None and planned > clock.start_time:
                clock.restart(planned, clock.due_time + (planned - clock.start_time))

    def note_leg_lost(self, now: datetime) -> None:
        """It was a leg of a hand-over and came to nothing, and she is on her way."""
        self._note(
            LEG_LOST,
            self.state,
            self.state,
            Actor("system", "chain", ""),
            now,
            attribution="system",
        )

    def note_consent_ending(self, now: datetime) -> None:
        """The consent on which it stands ends soon: she may be asked again before."""
        self._note(
            CONSENT_ENDING,
            self.state,
            self.state,
            Actor("system", "consent", ""),
            now,
            attribution="system",
            decides=False,
        )

    def note_standing(self, organization_id: str, now: datetime, *, out: bool) -> None:
        """One of its sides is suspended or has left, or is back: the other side is told."""
        self.sides_out = (
            [*self.sides_out, organization_id]
            if out
            else [side for side in self.sides_out if side != organization_id]
        )
        system = Actor("system", "members", organization_id)
        self._note(
            SIDE_OUT if out else SIDE_BACK,
            self.state,
            self.state,
            system,
            now,
            attribution="system",
            decides=False,
        )

    def fire_clocks(self, now: datetime, calendar: Calendar) -> list[Event]:
        """Notes the clock levels that are reached: reminded at 50, breached at 100, escalated at
        150 per cent; expires at 200. Returns the new events.
        """
        before = len(self.events)
        system = Actor("system", "clock", "")
        for clock in tuple(self.clocks):
            percent = clock.fire(now)
            if percent == EXPIRE_PERCENT:
                self.take("expire", system, now, calendar)
            elif percent is not None:
                verb = {50: "clock_reminded", 100: "clock_breached", 150: "clock_escalated"}[
                    percent
                ]
                self._note(
                    verb,
                    self.state,
                    self.state,
                    system,
                    now,
                    clock=clock.kind,
                    attribution="system",
                )
        return self.events[before:]

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

    def _stand_on(self, receipt: Receipt, now: datetime) -> None:
        self._check_receipt(receipt, now)
        self.receipt_id = receipt.id

    def _check_receipt(self, receipt: Receipt, now: datetime) -> None:
        receipt.check_covers(self.receiver_organization_id, self.need_code, now)

    def running(self, *kinds: DeadlineKind) -> list[Deadline]:
        return [clock for clock in self.clocks if clock.kind in kinds and clock.stop_time is None]

    def stop_deadlines(self, now: datetime, *kinds: DeadlineKind) -> None:
        """Stops the running deadlines of these kinds."""
        for deadline in self.running(*kinds):
            deadline.stop(now)

    def start_deadline(
        self, kind: DeadlineKind, now: datetime, calendar: Calendar, *, news: bool
    ) -> None:
        """Starts a deadline.

        SILENCE begins once she has been met, and is a long one after `news` while no appointment is
        open.
        """
        silence = kind is DeadlineKind.SILENCE
        start = max(now, self.appointment_time or now) if silence else now
        due = (
            start + SILENCE_AFTER_NEWS
            if silence and news and self.appointment_time is None
            else self._due(kind, start, calendar)
        )
        self.clocks.append(Deadline(kind, start, due, policy_version=calendar.policy().version))

    def _move(
        self,
        step: Step,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        reason_code: str = "",
        note: str = "",
        changed_field_codes: tuple[str, ...] = (),
    ) -> None:
        """What every step does: deadlines, state, history."""
        self.stop_deadlines(now, *step.stops)
        for kind in step.starts:
            self.start_deadline(kind, now, calendar, news=step.news)
        before, self.state = self.state, step.target or self.state
        if self.state is not State.IN_PROGRESS:
            self.appointment_time = None
        if step.target in EXITS:
            self.reason_code = reason_code
        self._note(
            step.fact,
            before,
            self.state,
            actor,
            now,
            reason_code=reason_code,
            note=note,
            attribution=step.attribution,
            changed=changed_field_codes,
            decides=step.decides,
        )

    def _due(self, kind: DeadlineKind, now: datetime, calendar: Calendar) -> datetime:
        if kind is DeadlineKind.REVIEW and self.review_time is not None:
            return self.review_time
        if self.urgency is None:
            raise Invalid(("urgency", "required"))
        return due_time(kind, self.urgency, now, calendar)

    def _note(
        self,
        verb: str,
        before: State,
        after: State,
        actor: Actor,
        now: datetime,
        *,
        reason_code: str = "",
        note: str = "",
        attribution: str = "",
        clock: DeadlineKind | None = None,
        changed: tuple[str, ...] = (),
        decides: bool = True,
    ) -> None:
        self.version += 1
        if clock is None and decides:
            self.step_version = self.version
        self.update_time = now
        self.events.append(
            Event(
                self.version,
                verb,
                before,
                after,
                now,
                actor,
                reason_code,
                attribution,
                clock,
                note,
                changed_field_codes=changed,
            )
        )


def waiting_for_sender(referrals: Iterable[Referral]) -> list[bool]:
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

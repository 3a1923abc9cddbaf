"""The referral: a request to one service.

A referral takes the steps of the table in lifecycle.py. An allowed step changes the referral and
records an event; any other step is refused and changes nothing.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from chassis.errors import Conflict, Invalid
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.codes import Check
from services.referrals.network.domain.deadline import (
    EXPIRE_PERCENT,
    Calendar,
    Deadline,
    DeadlineKind,
    Urgency,
    assault_to_the_hour,
    due_time,
)
from services.referrals.referrals.domain.deadlines import ReferralWithDeadlines
from services.referrals.referrals.domain.fields import check_note
from services.referrals.referrals.domain.lifecycle import (
    BY_VERB,
    CAME_BACK,
    ENDED_BEFORE,
    EXITS,
    PERSON_DECLINED,
    TRANSITIONS,
    State,
    Step,
)
from services.referrals.referrals.domain.record import LEG_LOST, Actor, Event

PROBATION_LIMIT = 5
CONSENT_ENDING = "consent_ending"
SIDE_OUT, SIDE_BACK = "side_out", "side_back"
UNDECIDING = frozenset(
    {LEG_LOST, CONSENT_ENDING, SIDE_OUT, SIDE_BACK}
    | {step.event_verb for step in TRANSITIONS if not step.decides}
)
"""The verbs of events that make no decision stale, besides the events of fired deadlines."""


@dataclass
class Referral(ReferralWithDeadlines):
    """A request to one service, with everything about it that does not identify the person."""

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
        """Opens a draft; only the sender sees the draft and its deadline."""
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
        self._restart_health_deadlines(now)
        due = due_time(DeadlineKind.DRAFT, self.urgency or Urgency.NORMAL, now, calendar)
        self.deadlines.append(
            Deadline(DeadlineKind.DRAFT, now, due, policy_version=calendar.policy().version)
        )
        self._add_event("drafted", State.DRAFT, State.DRAFT, actor, now)

    def change_draft(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        path: str = "",
        need_code: str | None = None,
        urgency: Urgency | None = None,
        without_urgency: bool = False,
        answered_urgency: Urgency | None = None,
        urgency_reason_code: str = "",
        service: tuple[str, str] | None = None,
        receipt_id: str | None = None,
        contact_id: str | None = None,
        assault_time: datetime | None = None,
        without_assault: bool = False,
        unsafe: Unsafe | None = None,
    ) -> None:
        """Changes a draft; `service` is (service id, its organisation).

        None leaves a field as it is; `without_assault` clears the time of the assault, and
        `without_urgency` the urgency: what follows from the contact's answers then counts. After a
        recent assault the urgency is at least emergency. `answered_urgency` follows from the
        contact's answers; it is given only if the request sets the urgency or the contact. Raises
        Conflict, or Invalid with the names of the fields after `path`.
        """
        if self.state is not State.DRAFT:
            raise Conflict("not_a_draft")
        if need_code is not None:
            check = Check()
            check.need(f"{path}need_code", need_code)
            check.done()
        hour = None if without_assault else self.assault_time
        if assault_time is not None:
            hour = assault_to_the_hour(f"{path}assault_time", assault_time, now, self.assault_time)
        if without_urgency:  # no later check refuses such a request
            self.urgency, self.urgency_reason_code = None, ""
        # the last check, since it stores the reason; a refusal changes nothing
        urgency = self._checked_urgency(urgency, answered_urgency, urgency_reason_code, path)
        if hour != self.assault_time:
            self.assault_time = hour
            self._restart_health_deadlines(now)
        urgency = self._urgency_after_assault(urgency, now)
        if need_code is not None:
            self.need_code = need_code
        if urgency is not None and urgency is not self.urgency:
            self._change_urgency(urgency, now, calendar)
        if service is not None:
            if service[1] != self.receiver_organization_id:
                # a consent names its recipient, so another recipient needs another consent
                self.receipt_id = ""
            self.service_id, self.receiver_organization_id = service
        if receipt_id is not None:
            self.receipt_id = receipt_id
        if contact_id is not None:
            self.contact_id = contact_id
        if unsafe is not None:
            self.unsafe = unsafe
        self._add_event("amended", State.DRAFT, State.DRAFT, actor, now)

    def send(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        receipt: Receipt | None,
        *,
        safe_contact_known: bool,
        note: str = "",
        no_contact: bool = False,
        arrival: Arrival | None = None,
        answered_urgency: Urgency | None = None,
    ) -> None:
        """Sends a complete draft on a receipt that covers it.

        If later answers of its contact have raised `answered_urgency`, its urgency is raised too,
        as in `following_urgency`. The receipt is a consent or an override; an override needs a note
        and has deadlines of its own. If nobody may contact the person, she has to come to the
        receiver, and `arrival` must say how. Raises Conflict or Invalid.
        """
        step = self._check_step("send", actor, now)
        self.urgency = self.following_urgency(answered_urgency)
        if not (self.need_code and self.urgency and self.service_id):
            raise Conflict("incomplete_draft")
        if not safe_contact_known:
            raise Conflict("safe_contact_missing")
        if not self.unsafe.code:
            raise Conflict("unsafe_not_asked", "unsafe_code")
        if receipt is None:
            raise Conflict("receipt_missing")
        check_note(note, required=receipt.is_override)
        # A receipt that opens nothing is refused first: the arrival matters only if the referral
        # can be sent.
        self._check_receipt(receipt, now)
        if no_contact:
            (arrival or Arrival("", "", "", "")).check()
        self.receipt_id = receipt.id
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
        self.events[-1] = replace(self.events[-1], arrival=arrival if no_contact else None)

    def take(
        self, verb: str, actor: Actor, now: datetime, calendar: Calendar, **carried: Any
    ) -> None:
        """Takes a step that needs only the fields of its request.

        The whole row is checked before anything changes. Raises Conflict (the step is not allowed
        now) or Invalid (a field that its check refuses, or a reason `other` without a note).
        """
        step = self._check_step(verb, actor, now, **carried)
        values = step.checked_values(carried, now, self.create_time)
        for carried_field in step.carries:
            if carried_field.stored_as:
                setattr(self, carried_field.stored_as, values[carried_field.name])
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

    def amend(
        self,
        actor: Actor,
        now: datetime,
        calendar: Calendar,
        *,
        urgency: Urgency | None,
        coarse: Coarse,
        note: str,
        answered_urgency: Urgency | None = None,
        urgency_reason_code: str = "",
    ) -> None:
        """Corrects a referral that was sent: its urgency, and the coarse data about the person.

        A changed urgency adapts the deadlines that depend on it, even paused ones. Raises Conflict,
        and Invalid if nothing changes or if the urgency is too low: below `answered_urgency` (see
        `change_draft`) without a reason, or below emergency after a recent assault.
        """
        step = self._check_step("amend", actor, now)
        changed_fields = [
            field.name
            for field in fields(Coarse)
            if getattr(coarse, field.name) != getattr(self.coarse, field.name)
        ]
        if urgency and urgency is not self.urgency:
            if self._urgency_after_assault(urgency, now) is not urgency:
                raise Invalid(("urgency", "out_of_range"))
            self._checked_urgency(urgency, answered_urgency, urgency_reason_code)
            changed_fields.append("urgency")
            self._change_urgency(urgency, now, calendar)
        if not changed_fields:
            raise Invalid(("urgency", "required"))
        self.coarse = coarse
        self._move(step, actor, now, calendar, note=note, changed_field_codes=tuple(changed_fields))

    def attach_consent(
        self, actor: Actor, now: datetime, calendar: Calendar, receipt: Receipt
    ) -> None:
        """Replaces the override or consent of a sent referral with another consent.

        Raises Conflict if the new receipt is an override or does not cover the referral, and
        Invalid if it is the present receipt.
        """
        step = self._check_step("attach_consent", actor, now)
        if receipt.is_override:
            raise Conflict("receipt_missing")
        if receipt.id == self.receipt_id:
            raise Invalid(("receipt_id", "repeated"))
        self._use_receipt(receipt, now)
        self._move(step, actor, now, calendar)

    def withdraw_consent(
        self, actor: Actor, now: datetime, calendar: Calendar, *, keeps_need: bool = False
    ) -> None:
        """Ends the referral because the person withdrew her consent.

        She may have withdrawn it through any worker, or with her reference. The receiver has to
        delete data, except of a draft, and is asked once. A referral that was closed or withdrawn
        keeps its state. So does a referral that came back if `keeps_need` is True (she withdrew her
        consent for the receiver alone); otherwise its open need is closed.
        """
        step = BY_VERB["withdraw_consent"]
        if not self.ends_with_consent:
            return
        if self.state is State.DRAFT:
            step = replace(step, starts=())
        elif self.state in ENDED_BEFORE or (keeps_need and self.state in CAME_BACK):
            step = replace(step, target=None, stops=())
        elif self.state in CAME_BACK:
            if self.need_is_open:
                self.need_close_reason_code = PERSON_DECLINED
            self.remind_time = None  # the receiver saw no reminder about the need
            if self.deletion is not None:
                other_kinds = tuple({*step.stops} - {DeadlineKind.DELETION})
                step = replace(step, starts=(), stops=other_kinds)
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
        answered_urgency: Urgency | None = None,
    ) -> "Referral":
        """Ends the referral and returns a draft for another service.

        `service` is (service id, its organisation); `answered_urgency` follows from the contact's
        answers (see `following_urgency`). The draft belongs to the sender, who can send it
        on a consent for that service. Raises Conflict, and Invalid if the service is the same.
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
            urgency=self.following_urgency(answered_urgency),
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

    def note_leg_lost(self, now: datetime) -> None:
        """Records that a leg of the hand-over failed while the person was on her way."""
        self._add_event(
            LEG_LOST,
            self.state,
            self.state,
            Actor("system", "chain", ""),
            now,
            attribution="system",
        )

    def note_consent_ending(self, now: datetime) -> None:
        """Records that the referral's consent ends soon, so that the person is asked in time."""
        self._add_event(
            CONSENT_ENDING,
            self.state,
            self.state,
            Actor("system", "consent", ""),
            now,
            attribution="system",
        )

    def note_standing(self, organization_id: str, now: datetime, *, is_out: bool) -> None:
        """Records that a side is out (suspended, or no longer a member) or back.

        The event notifies the other side.
        """
        self.sides_out = (
            [*self.sides_out, organization_id]
            if is_out
            else [side for side in self.sides_out if side != organization_id]
        )
        system = Actor("system", "members", organization_id)
        self._add_event(
            SIDE_OUT if is_out else SIDE_BACK,
            self.state,
            self.state,
            system,
            now,
            attribution="system",
        )

    def fire_deadlines(self, now: datetime, calendar: Calendar) -> list[Event]:
        """Fires the deadlines that have reached a level, and returns the new events.

        Levels are 50 % (reminded), 100 % (breached) and 150 % (escalated); DECIDE also has 200 %,
        at which the referral expires.
        """
        old_count = len(self.events)
        system = Actor("system", "clock", "")
        for deadline in tuple(self.deadlines):
            percent = deadline.fire(now)
            if percent == EXPIRE_PERCENT:
                self.take("expire", system, now, calendar)
            elif percent is not None:
                verb = {50: "clock_reminded", 100: "clock_breached", 150: "clock_escalated"}[
                    percent
                ]
                self._add_event(
                    verb,
                    self.state,
                    self.state,
                    system,
                    now,
                    clock=deadline.kind,
                    attribution="system",
                )
        return self.events[old_count:]

    def _use_receipt(self, receipt: Receipt, now: datetime) -> None:
        self._check_receipt(receipt, now)
        self.receipt_id = receipt.id

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
        """Does what is common to all steps: updates the deadlines, the state and the history."""
        self.stop_deadlines(now, *step.stops)
        for kind in step.starts:
            self.start_deadline(kind, now, calendar, news=step.news)
        state_before, self.state = self.state, step.target or self.state
        if self.state is not State.IN_PROGRESS:
            self.appointment_time = None
        if step.target in EXITS:
            self.reason_code = reason_code
        self._add_event(
            step.event_verb,
            state_before,
            self.state,
            actor,
            now,
            reason_code=reason_code,
            note=note,
            attribution=step.attribution,
            changed_field_codes=changed_field_codes,
        )

    def _add_event(
        self,
        verb: str,
        from_state: State,
        to_state: State,
        actor: Actor,
        now: datetime,
        *,
        reason_code: str = "",
        note: str = "",
        attribution: str = "",
        clock: DeadlineKind | None = None,
        changed_field_codes: tuple[str, ...] = (),
    ) -> None:
        self.version += 1
        if clock is None and verb not in UNDECIDING:
            self.step_version = self.version
        self.update_time = now
        self.events.append(
            Event(
                self.version,
                verb,
                from_state,
                to_state,
                now,
                actor,
                reason_code,
                attribution,
                clock,
                note,
                changed_field_codes=changed_field_codes,
            )
        )

"""Plans, each of which follows a pathway for one person.

A method either changes the plan, or refuses and changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from chassis.errors import Conflict, Invalid, NotFound
from chassis.second import Second, check_second
from services.referrals.plans.domain.pathway import LegKind, Pathway, Step
from services.referrals.referrals.domain.lifecycle import EXITS, LIVE, TAKEN_ON, Side, State
from services.referrals.referrals.domain.referral import Referral

EARLIEST_START = timedelta(days=366)
OUTCOMES_WITH_HELP = frozenset({"fully_met", "partly_met"})
"""The outcomes of a referral that count as help, so that its step is met.

For any other outcome, a worker decides whether the step is met.
"""
CONSENT_WITHDRAWN = "consent_withdrawn"


class StepState(Enum):
    """The state of a step."""

    OPEN = "open"
    REFERRED = "referred"
    MET = "met"
    NOT_NEEDED = "not_needed"
    REFUSED_BY_PERSON = "refused_by_person"


PASSED_OVER = frozenset({StepState.NOT_NEEDED, StepState.REFUSED_BY_PERSON})
SETTLED = PASSED_OVER | {StepState.MET}
"""The states in which nothing more is to be done for a step, so that later steps may start.

Help never depends on a step that the person refuses (Council of Europe Convention, 12.6).
"""


@dataclass
class PlanStep:
    """A step of a plan. `referral_id` is the present or last referral of the step."""

    key: str
    state: StepState = StepState.OPEN
    referral_id: str = ""
    reason_code: str = ""
    due_time: datetime | None = None
    settle_time: datetime | None = None

    @property
    def settled(self) -> bool:
        """Returns whether the step is met, not needed, or refused by the person."""
        return self.state in SETTLED

    def is_late(self, now: datetime) -> bool:
        """Returns whether the step is past its due time and not settled."""
        return not self.settled and self.due_time is not None and self.due_time < now


@dataclass
class Plan:
    """A plan in a person's file; a plan has no texts, only ids, codes and times."""

    id: str
    person_id: str
    organization_id: str
    pathway: Pathway
    department: str
    start_time: datetime
    create_time: datetime
    update_time: datetime
    version: int = 1
    close_time: datetime | None = None
    close_reason_code: str = ""
    # the reason that the first person gave to end a child's plan
    close_proposed_reason_code: str = ""
    close_proposed_by_worker_id: str = ""
    steps: dict[str, PlanStep] = field(default_factory=dict)
    # the present or last referrals of the plan's legs, by id
    referrals: dict[str, Referral] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        identifier: str,
        person_id: str,
        organization_id: str,
        pathway: Pathway,
        department: str,
        start: datetime | None,
        now: datetime,
    ) -> "Plan":
        """Starts a plan with all steps open."""
        if start is not None and not now - EARLIEST_START <= start <= now:
            raise Invalid(("start_time", "out_of_range"))
        plan = cls(
            identifier, person_id, organization_id, pathway, department, start or now, now, now
        )
        plan.steps = {step.key: PlanStep(step.key) for step in pathway.steps}
        plan._set_due_times()
        return plan

    def waits_for(self, step: Step) -> list[str]:
        """Returns the keys of the unsettled steps that must be settled before this step."""
        return [key for key in step.after_keys if not self.steps[key].settled]

    @property
    def next_due_time(self) -> datetime | None:
        """Returns the earliest due time of the unsettled steps; None once the plan is closed."""
        waiting = (
            step.due_time for step in self.steps.values() if step.due_time and not step.settled
        )
        return min(waiting, default=None) if self.close_time is None else None

    def set_step_state(
        self,
        key: str,
        state: StepState,
        now: datetime,
        *,
        reason_code: str = "",
        referral: tuple[str, State] | None = None,
    ) -> None:
        """Sets the state of a step.

        `referral` (its id and state) must be given for REFERRED and for no other state,
        `reason_code` for NOT_NEEDED and for no other state. Raises NotFound, Invalid or Conflict.
        """
        self.check_running()
        if key not in self.steps:
            raise NotFound
        for path, is_given, is_required in (
            ("referral_id", referral is not None, state is StepState.REFERRED),
            ("reason_code", bool(reason_code), state is StepState.NOT_NEEDED),
        ):
            if is_given != is_required:
                raise Invalid((path, "required" if is_required else "out_of_range"))
        step = next(step for step in self.pathway.steps if step.key == key)
        is_finished = state is StepState.MET or (
            referral is not None and referral[1] in (State.COMPLETED, State.CLOSED)
        )
        # the receiver of an arrival is asked before the person leaves
        is_early_arrival = step.leg is LegKind.ARRIVAL and not is_finished
        if (is_finished or (state is StepState.REFERRED and not is_early_arrival)) and (
            waits := self.waits_for(step)
        ):
            raise Conflict("step_waits", *waits)
        if step.leg is LegKind.DEPARTURE and (
            is_finished or (referral is not None and referral[1] is State.IN_PROGRESS)
        ):
            self._check_arrivals_accepted()
        if referral is not None and referral[1] not in LIVE | {State.DRAFT, State.CLOSED}:
            raise Conflict("illegal_transition")
        self._set_state(self.steps[key], state, now, referral[0] if referral else "", reason_code)
        self._mark_changed(now)

    def update_steps(
        self, referral_id: str, state: State, outcome_code: str, now: datetime
    ) -> bool:
        """Updates the steps of a referral according to its state; returns whether a step changed.

        If the referral brought help, the step is met. If the referral was completed or ended, but
        brought no help, the step is open again. A closed plan does not change. Raises Conflict if a
        leg would begin too early (see `_check_leg`).
        """
        if self.close_time is not None:
            return False
        helped = state in (State.COMPLETED, State.CLOSED) and outcome_code in OUTCOMES_WITH_HELP
        live = state is State.DRAFT or (state in LIVE and state is not State.COMPLETED)
        new_state = StepState.MET if helped else StepState.REFERRED if live else StepState.OPEN
        linked_steps = [step for step in self.steps.values() if step.referral_id == referral_id]
        for step in linked_steps:
            self._check_leg(step, state)
        changed_steps = [step for step in linked_steps if step.state is not new_state]
        for step in changed_steps:
            self._set_state(step, new_state, now, referral_id, "")
        if changed_steps:
            self._mark_changed(now)
        return bool(changed_steps)

    def replace(self, earlier: Referral, following: Referral) -> None:
        """Links the open steps of a referral that ended to the referral sent in its place.

        A referral of another person or organisation, or for another group of needs, does not take
        its place.
        """
        if (following.person_id, following.sender_organization_id, following.need_code[:3]) != (
            self.person_id,
            self.organization_id,
            earlier.need_code[:3],
        ):
            return
        for step in self.steps.values():
            if step.state is StepState.OPEN and step.referral_id == earlier.id:
                step.referral_id = following.id
                self.referrals[following.id] = following

    def move(self, pathway: Pathway, now: datetime) -> None:
        """Moves the plan to a newer pathway version; steps with the same key keep their state.

        Steps that the newer version does not have are dropped. Raises Invalid if the version is not
        newer, and Conflict if the plan is closed.
        """
        self.check_running()
        if pathway.version <= self.pathway.version:
            raise Invalid(("version", "out_of_range"))
        self.pathway = pathway
        self.steps = {
            step.key: self.steps.get(step.key) or PlanStep(step.key) for step in pathway.steps
        }
        self._mark_changed(now)

    def close(self, reason_code: str, now: datetime) -> None:
        """Closes the plan; its steps stay as they are."""
        self.check_running()
        self.close_time, self.close_reason_code = now, reason_code
        self._mark_changed(now)

    def end(
        self, reason_code: str, requester: Second | None, now: datetime, *, of_a_child: bool
    ) -> None:
        """Ends the plan at somebody's request.

        A child's plan ends only when a second person gives the same reason as the first; the first
        request is only a proposal. `requester` is None for a system.
        """
        self.check_running()
        if not of_a_child:
            self.close(reason_code, now)
        elif requester is None:
            raise Conflict("second_person_required")
        elif reason_code == self.close_proposed_reason_code:
            check_second(requester, self.close_proposed_by_worker_id, self.update_time)
            self.close(reason_code, now)
        else:
            self.close_proposed_reason_code = reason_code
            self.close_proposed_by_worker_id = requester.id
            self._mark_changed(now)

    @property
    def legs(self) -> list[Step]:
        """Returns the legs of the person's hand-over in order, the departure first.

        Skipped steps do not count as legs. If the departure is skipped, there are no legs.
        """
        legs = [
            step
            for step in self.pathway.steps
            if step.leg and self.steps[step.key].state not in PASSED_OVER
        ]
        return legs if legs and legs[0].leg is LegKind.DEPARTURE else []

    def referral_of_leg(self, key: str) -> Referral | None:
        """Returns the present referral of a leg; None if there is none."""
        step = self.steps[key]
        return (
            self.referrals.get(step.referral_id)
            if step.state in (StepState.REFERRED, StepState.MET)
            else None
        )

    def arrivals_not_accepted(self) -> list[str]:
        """Returns the keys of the arrivals that no receiver in good standing has accepted yet."""
        return [leg.key for leg in self.legs[1:] if not self._is_taken_on(leg.key)]

    def has_begun(self, key: str) -> bool:
        """Returns whether a leg is settled, or its receiver has met the person.

        A meeting counts even if the leg failed later, since a person who has left is on her way.
        """
        referral = self.referrals.get(self.steps[key].referral_id)
        return self.steps[key].settled or (
            referral is not None and referral.first_contact_time is not None
        )

    def lost_leg(self, changed_referrals: Iterable[Referral]) -> Referral | None:
        """Returns the referral of the first leg that fails while the person is on her way.

        `changed_referrals` have just changed. The person is on her way from the departure until
        every leg has begun. This must be called before the steps of the plan are updated.
        """
        legs = self.legs
        ended_referrals = {
            referral.id: referral for referral in changed_referrals if referral.state in EXITS
        }
        if (
            self.close_time
            or not legs
            or not self.has_begun(legs[0].key)
            or all(self.has_begun(leg.key) for leg in legs)
        ):
            return None
        return next(
            (
                ended_referrals[referral.id]
                for leg in legs
                if (referral := self.referral_of_leg(leg.key)) and referral.id in ended_referrals
            ),
            None,
        )

    def is_leg(self, referral_id: str) -> bool:
        """Returns whether a referral belongs to a leg."""
        return any(self.steps[leg.key].referral_id == referral_id for leg in self.legs)

    def check_own_receipt(self, referral: Referral) -> None:
        """Refuses a referral that is linked to two legs, or whose receipt another live leg uses.

        Each leg needs its own consent, so that the person can agree or refuse for each place. A
        referral that is linked to no leg is not refused.
        """
        legs = [leg.key for leg in self.legs]
        own_legs = [key for key in legs if self.steps[key].referral_id == referral.id]
        for key in legs if own_legs else ():
            other = self.referral_of_leg(key)
            shares_receipt = (
                other is not None
                and other.id != referral.id
                and {other.state, referral.state} <= LIVE
                and other.receipt_id == referral.receipt_id
            )
            if shares_receipt or key in own_legs[1:]:
                raise Conflict("receipt_of_another_leg", key)

    def _is_taken_on(self, key: str) -> bool:
        referral = self.referral_of_leg(key)
        return self.steps[key].settled or (
            referral is not None
            and referral.state in TAKEN_ON
            and not referral.is_out(Side.RECEIVER)
        )

    def _check_arrivals_accepted(self) -> None:
        if arrival_keys := self.arrivals_not_accepted():
            raise Conflict("legs_not_accepted", *arrival_keys)

    def _check_leg(self, step: PlanStep, state: State) -> None:
        """Refuses to begin a departure before every arrival is accepted.

        Also refuses to begin an arrival before the departure has begun.
        """
        keys = [leg.key for leg in self.legs]
        if (
            state is not State.IN_PROGRESS
            or step.state is not StepState.REFERRED
            or step.key not in keys
        ):
            return
        if step.key == keys[0]:
            self._check_arrivals_accepted()
        elif not self.has_begun(keys[0]):
            raise Conflict("step_waits", keys[0])

    def check_running(self) -> None:
        """Refuses a change of a plan that has ended."""
        if self.close_time is not None:
            raise Conflict("plan_closed")

    @staticmethod
    def _set_state(
        step: PlanStep, state: StepState, now: datetime, referral_id: str, reason_code: str
    ) -> None:
        settled_before = step.settled
        step.state, step.referral_id, step.reason_code = state, referral_id, reason_code
        if not step.settled:
            step.settle_time = None
        elif not settled_before:
            step.settle_time = now

    def _mark_changed(self, now: datetime) -> None:
        self.version += 1
        self.update_time = now
        self._set_due_times()

    def _set_due_times(self) -> None:
        """Sets the due time of each step.

        A due time counts from the start of the plan, or from the time another step was settled.
        There is no due time until that other step is settled.
        """
        for step in self.pathway.steps:
            start = (
                self.steps[step.deadline_from_key].settle_time
                if step.deadline_from_key
                else self.start_time
            )
            self.steps[step.key].due_time = (
                start + step.deadline if step.deadline is not None and start is not None else None
            )

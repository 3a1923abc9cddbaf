"""Handles the rpcs for pathways and plans.

Only the organisation that holds a person's file sees her plans.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotFound, Stale
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import (
    PageTokens,
    moment,
    optional_id,
    page_size,
    timestamp,
    version,
    word,
    word_list,
)
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.files.domain.person import CHILDREN, Person
from services.referrals.files.store.people import People
from services.referrals.network.domain.counts import SMALLEST, published_count
from services.referrals.network.domain.service import check_age_taken
from services.referrals.network.store import members
from services.referrals.plans.domain.chain import Link, leg_with_neighbours, whole_chain
from services.referrals.plans.domain.pathway import Pathway
from services.referrals.plans.domain.plan import CONSENT_WITHDRAWN, Plan, StepState
from services.referrals.plans.store import plans
from services.referrals.plans.usecases.pathways import Pathways
from services.referrals.plans.wire.legs import leg_message
from services.referrals.plans.wire.plans import STATES, late_step, pathway_message, plan_message
from services.referrals.referrals.domain.lifecycle import LIVE, Side, State
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import referrals
from services.referrals.referrals.wire.messages import actor_of


@dataclass(frozen=True)
class StepCounts:
    """The counts of one step over all plans of a pathway version in a department.

    A count that is not published is FEW.
    """

    key: str
    met: int
    on_time: int
    late: int
    skipped: list[tuple[str, int]]


Group = tuple[str, int, str]
"""The pathway id, version and department of a group of plans."""
_SKIPPED = "skipped:"


class Plans:
    """Handles the rpcs for pathways and plans, one method per rpc.

    Public methods with `tx` serve other use cases.
    """

    def __init__(self, files: People, pathways: Pathways, pages: PageTokens) -> None:
        self._files = files
        self._pathways = pathways
        self._pages = pages

    def ListPathways(self, request: pb.ListPathwaysRequest, call: Call) -> pb.ListPathwaysResponse:
        """Lists the newest version of each pathway, ordered by id."""
        return pb.ListPathwaysResponse(
            pathways=[pathway_message(pathway) for pathway in self._pathways.newest(call.tx)]
        )

    def GetPathway(self, request: pb.GetPathwayRequest, call: Call) -> pb.StandardPathway:
        """Returns one version of a pathway; 0 means the newest."""
        pathway = self._pathways.get(call.tx, request.id, request.version)
        return pathway_message(pathway, pathway.text)

    def ListPathwayVersions(
        self, request: pb.ListPathwayVersionsRequest, call: Call
    ) -> pb.ListPathwayVersionsResponse:
        """Lists the versions of a pathway, newest first."""
        versions = self._pathways.versions(call.tx, request.id)
        return pb.ListPathwayVersionsResponse(
            versions=[
                pb.PathwayVersion(version=number, publish_time=timestamp(publish_time))
                for number, publish_time in versions
            ]
        )

    def PublishPathway(self, request: pb.PublishPathwayRequest, call: Call) -> pb.StandardPathway:
        """Publishes the next version of a pathway."""
        pathway = self._pathways.publish(call.tx, call.caller, call.clock.now(), request.text)
        return pathway_message(pathway, pathway.text)

    def CreatePlan(self, request: pb.CreatePlanRequest, call: Call) -> pb.Plan:
        """Starts a plan that follows the newest version of a pathway.

        The person is locked first: otherwise two simultaneous calls could both find no plan, and
        both start a plan.
        """
        tx, start, person_id = call.tx, moment(request, "start_time"), object_id(request.person_id)
        acknowledged_codes = word_list(
            referrals_pb2.Acknowledgement, request.acknowledged_codes, "acknowledged_codes"
        )
        self._files.lock(tx, person_id)
        person = self._person(tx, call.caller, person_id)
        pathway = self._named_pathway(tx, "pathway_id", "unknown_code", request.pathway_id)
        check_age_taken(pathway.takes(person.coarse.age_band), acknowledged_codes)
        if plans.has_open_plan(tx, person.id, pathway.id):
            raise Conflict("plan_exists")
        department = person.coarse.department
        plan = Plan.begin(
            new_id(),
            person.id,
            person.organization_id,
            pathway,
            department,
            start,
            call.clock.now(),
        )
        plans.add(tx, plan)
        if acknowledged_codes:
            call.trail.append(_acknowledgement("begin_plan", plan, acknowledged_codes))
        return self._message(plan, call)

    def GetPlan(self, request: pb.GetPlanRequest, call: Call) -> pb.Plan:
        """Returns one plan."""
        return self._message(plans.get(call.tx, object_id(request.id), self._lookup(call.tx)), call)

    def ListPlans(self, request: pb.ListPlansRequest, call: Call) -> pb.ListPlansResponse:
        """Lists the plans of a person; an erased file has none."""
        person_id = object_id(request.person_id)
        if self._files.get(call.tx, person_id).organization_id != call.caller.organization_id:
            raise NotFound
        return pb.ListPlansResponse(
            plans=[
                self._message(plan, call)
                for plan in plans.of_person(call.tx, person_id, self._lookup(call.tx))
            ]
        )

    def UpdatePlanStep(self, request: pb.UpdatePlanStepRequest, call: Call) -> pb.Plan:
        """Sets the state of a step.

        The referral is locked before the plan, in the same order as when a plan is updated after a
        change to a referral.
        """
        tx, now, state = call.tx, call.clock.now(), STATES.member(request.state, "state")
        assert state is not None  # the .proto requires it
        identifier, base_version = object_id(request.id), version(request.etag)
        referral_id = optional_id(request.referral_id, "referral_id")
        reason_code = word(pb.SkipReason, request.reason_code, "reason_code")
        referral = referrals.get(tx, referral_id, for_update=True) if referral_id else None
        plan = self._lock(tx, identifier, base_version)
        if referral and (referral.person_id, referral.sender_organization_id) != (
            plan.person_id,
            plan.organization_id,
        ):
            raise NotFound
        id_and_state = (referral.id, referral.state) if referral else None
        plan.set_step_state(
            request.step_key, state, now, reason_code=reason_code, referral=id_and_state
        )
        if referral:
            plan.referrals[referral.id] = referral
            plan.update_steps(referral.id, referral.state, referral.outcome_code, now)
            self._apply_leg_rules(tx, now, plan, referral)
        plans.change(tx, plan, base_version)
        return self._message(plan, call)

    def MovePlan(self, request: pb.MovePlanRequest, call: Call) -> pb.Plan:
        """Moves a plan to a newer version of its pathway, in which different steps may be legs.

        The newer version may be for other ages than the plan's version.
        """
        tx, identifier, base_version = call.tx, object_id(request.id), version(request.etag)
        acknowledged_codes = word_list(
            referrals_pb2.Acknowledgement, request.acknowledged_codes, "acknowledged_codes"
        )
        plan = self._lock(tx, identifier, base_version)
        pathway = self._named_pathway(
            tx, "version", "out_of_range", plan.pathway.id, request.version
        )
        plan.move(pathway, call.clock.now())
        age_band = self._files.get(tx, plan.person_id).coarse.age_band
        check_age_taken(pathway.takes(age_band), acknowledged_codes)
        if acknowledged_codes:
            call.trail.append(_acknowledgement("move_plan", plan, acknowledged_codes))
        plans.read_legs(tx, plan)
        for referral in plan.referrals.values():
            plan.check_own_receipt(referral)
        plans.change(tx, plan, base_version)
        return self._message(plan, call)

    def ClosePlan(self, request: pb.ClosePlanRequest, call: Call) -> pb.Plan:
        """Ends a plan; to end a child's plan, a second person must agree.

        A person of unknown age counts as a child.
        """
        reason = word(pb.PlanCloseReason, request.reason_code, "reason_code")
        if reason == CONSENT_WITHDRAWN:
            # this reason follows from the person's withdrawal; no worker may give it
            raise Invalid(("reason_code", "unknown_code"))
        identifier, base_version = object_id(request.id), version(request.etag)
        plan = self._lock(call.tx, identifier, base_version)
        age_band = self._files.get(call.tx, plan.person_id).coarse.age_band
        plan.end(
            reason,
            call.caller if call.caller.kind == "worker" else None,
            call.clock.now(),
            of_a_child=not age_band or age_band in CHILDREN,
        )
        plans.change(call.tx, plan, base_version)
        return self._message(plan, call)

    def ListLateSteps(
        self, request: pb.ListLateStepsRequest, call: Call
    ) -> pb.ListLateStepsResponse:
        """Lists late steps in the plans of the caller's organisation, the longest overdue first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str, str)
        rows, next_cursor = plans.late_steps(
            call.tx, call.caller.organization_id, call.clock.now(), size, after
        )
        steps = [
            late_step(row, self._pathways.get(call.tx, row["pathway_id"], row["pathway_version"]))
            for row in rows
        ]
        return pb.ListLateStepsResponse(
            steps=steps, next_page_token=self._pages.token(request, next_cursor)
        )

    def GetCompliance(self, request: pb.GetComplianceRequest, call: Call) -> pb.Compliance:
        """Returns the numbers of plans, and of their steps by state.

        Coordinators get the published numbers for the whole network; other callers get the exact
        numbers for their own organisation.
        """
        network = call.caller.has("COORDINATOR")
        counts = self._compliance(call.tx, call.clock.now(), network=network)
        groups = [
            pb.ComplianceGroup(
                pathway_id=pathway_id,
                version=number,
                department=department,
                plans=count,
                steps=map(_step_message, steps),
            )
            for (pathway_id, number, department), (count, steps) in counts.items()
        ]
        return pb.Compliance(network=network, groups=groups)

    def _compliance(
        self, tx: Transaction, now: datetime, *, network: bool
    ) -> dict[Group, tuple[int, list[StepCounts]]]:
        """Counts plans, and their steps by state, in groups.

        For the network, groups of fewer than ten plans are left out; the other counts are rounded
        down to a multiple of five, or FEW if below ten. For the caller's own organisation, all
        counts are exact.
        """
        if network:
            elevate_to_system_scope(tx)
        groups = defaultdict[Group, dict[str, Counter[str]]](lambda: defaultdict(Counter))
        for row in plans.compliance(tx, now):
            counts = groups[row["pathway_id"], row["version"], row["department"]][row["key"]]
            is_met = row["state"] == StepState.MET.value
            is_refused = row["state"] == StepState.REFUSED_BY_PERSON.value
            counts += Counter({"plans": row["plans"], "late": row["late"]})
            if is_met:
                counts += Counter({"met": row["plans"], "on_time": row["on_time"]})
            if skip_reason := row["reason_code"] or (row["state"] if is_refused else ""):
                counts[_SKIPPED + skip_reason] += row["plans"]
        return {
            group: (
                _shown_count(network, number),
                [
                    self._step_counts(key, steps[key], network)
                    for key in self._step_keys(tx, group)
                    if key in steps
                ],
            )
            for group, steps in groups.items()
            if (number := max(counts["plans"] for counts in steps.values())) >= SMALLEST
            or not network
        }

    def _step_keys(self, tx: Transaction, group: Group) -> list[str]:
        return [step.key for step in self._pathways.get(tx, group[0], group[1]).steps]

    @staticmethod
    def _step_counts(key: str, counts: Counter[str], network: bool) -> StepCounts:
        # for the network, a reason with a hidden count would show that somebody gave the reason
        skipped = sorted(
            (name.removeprefix(_SKIPPED), count)
            for name, count in counts.items()
            if name.startswith(_SKIPPED) and (count >= SMALLEST or not network)
        )
        met, on_time, late = (
            _shown_count(network, counts[name]) for name in ("met", "on_time", "late")
        )
        return StepCounts(
            key,
            met,
            on_time,
            late,
            [(reason, _shown_count(network, count)) for reason, count in skipped],
        )

    def update_steps(self, tx: Transaction, now: datetime, *changed_referrals: Referral) -> None:
        """Updates the plan steps of these changed referrals.

        The calling code must have locked the referrals. Widens the scope, since an actor who
        changes a referral might not be allowed to see the plan.
        """
        elevate_to_system_scope(tx)
        # a referral that is sent takes the place of the one that it is based on
        earlier_ids = {
            referral.id: referral.based_on_id
            for referral in changed_referrals
            if referral.state is State.SENT and referral.based_on_id
        }
        referral_ids = [referral.id for referral in changed_referrals]
        for identifier in plans.ids_with_referrals(tx, [*referral_ids, *earlier_ids.values()]):
            plan = plans.get(tx, identifier, self._lookup(tx), for_update=True)
            old_version, lost_referral = plan.version, plan.lost_leg(changed_referrals)
            for referral in changed_referrals:
                if referral.id in earlier_ids:
                    plan.replace(referrals.get(tx, earlier_ids[referral.id]), referral)
                plan.update_steps(referral.id, referral.state, referral.outcome_code, now)
                if referral.state in (State.SENT, State.ACCEPTED):
                    self._apply_leg_rules(tx, now, plan, referral)
            if plan.version != old_version:
                plans.change(tx, plan, old_version)
            if lost_referral:
                lost_referral.note_leg_lost(now)
                referrals.save(tx, lost_referral, None)

    @staticmethod
    def _apply_leg_rules(tx: Transaction, now: datetime, plan: Plan, referral: Referral) -> None:
        """Applies the rules for a leg's referral that was just sent, accepted or linked."""
        plan.check_own_receipt(referral)
        if referral.state is State.ACCEPTED and plan.is_leg(referral.id):
            referral.postpone_first_contact(now)
            referrals.save_deadlines(tx, referral)

    def check_receipt(self, tx: Transaction, referral: Referral) -> None:
        """Refuses a referral's new receipt if another leg uses that receipt.

        The calling code must have locked the referral. Widens the scope.
        """
        elevate_to_system_scope(tx)
        for identifier in plans.ids_with_referrals(tx, [referral.id]):
            plans.get(tx, identifier, self._lookup(tx), for_update=True).check_own_receipt(referral)

    def _chain(self, tx: Transaction, plan: Plan) -> list[Link]:
        """Returns the legs of a plan's hand-over across borders."""
        receivers = {referral.receiver_organization_id for referral in plan.referrals.values()}
        return whole_chain(plan, members.countries(tx, receivers)) if plan.legs else []

    def legs_of(
        self, tx: Transaction, referral: Referral, actor: Actor, may_see: Callable[[], bool]
    ) -> Sequence[referrals_pb2.Leg]:
        """Returns the legs of a referral's hand-over that this actor may see.

        `may_see` returns whether a receiver may see its leg and the legs directly before and after.
        Widens the scope.
        """
        links = self._chain_with(tx, referral)
        if links and not referral.sides(actor) & {Side.SENDER, Side.COORDINATOR}:
            # Most referrals are not legs, so the grant, which takes longer to read, is read only
            # here.
            links = leg_with_neighbours(links, referral.id) if may_see() else []
        return [leg_message(link, actor) for link in links]

    def _chain_with(self, tx: Transaction, referral: Referral) -> list[Link]:
        elevate_to_system_scope(tx)
        for identifier in plans.ids_with_referrals(tx, [referral.id]):
            links = self._chain(tx, plans.get(tx, identifier, self._lookup(tx)))
            if any(link.referral and link.referral.id == referral.id for link in links):
                return links
        return []

    def receipts_of_other_legs(self, tx: Transaction, referral: Referral) -> set[str]:
        """Returns the receipts of other live legs, which this leg may not use. Widens the scope."""
        other_referrals = [
            link.referral
            for link in self._chain_with(tx, referral)
            if link.referral and link.referral.id != referral.id
        ]
        return {other.receipt_id for other in other_referrals if other.state in LIVE}

    def close_on_withdrawal(self, tx: Transaction, person_id: str, now: datetime) -> None:
        """Closes the plans of a person who withdrew her last consent.

        Widens the scope, since a receiver to whom she declares her withdrawal does not see the
        plans.
        """
        elevate_to_system_scope(tx)
        for plan in plans.of_person(tx, person_id, self._lookup(tx), only_open=True):
            old_version = plan.version
            plan.close(CONSENT_WITHDRAWN, now)
            plans.change(tx, plan, old_version)

    def _lock(self, tx: Transaction, identifier: str, version: int) -> Plan:
        plan = plans.get(tx, identifier, self._lookup(tx), for_update=True)
        if plan.version != version:
            plan.check_running()
            raise Stale
        return plan

    def _message(self, plan: Plan, call: Call) -> pb.Plan:
        message = plan_message(
            plan, self._pathways.get(call.tx, plan.pathway.id).version, call.clock.now()
        )
        message.legs.extend(
            leg_message(link, actor_of(call.caller)) for link in self._chain(call.tx, plan)
        )
        return message

    def _person(self, tx: Transaction, caller: Caller, person_id: str) -> Person:
        person = self._files.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        return person

    def _named_pathway(
        self, tx: Transaction, path: str, reason: str, identifier: str, version: int = 0
    ) -> Pathway:
        """Returns the pathway that a request names; raises Invalid if there is none."""
        try:
            return self._pathways.get(tx, identifier, version)
        except NotFound:
            raise Invalid((path, reason)) from None

    def _lookup(self, tx: Transaction) -> Callable[[str, int], Pathway]:
        return partial(self._pathways.get, tx)


def _acknowledgement(action: str, plan: Plan, acknowledged_codes: Sequence[str]) -> Entry:
    """Returns the trail's entry for the warnings that a worker acknowledged for this plan."""
    details = (f"plan:{plan.id}", *(f"acknowledged:{code}" for code in acknowledged_codes))
    return Entry(action, plan.person_id, "", details)


def _shown_count(network: bool, count: int) -> int:
    """Returns a count; for the network, in its published form (network/domain/counts.py)."""
    return published_count(count) if network else count


def _step_message(step: StepCounts) -> pb.ComplianceStep:
    skipped = [referrals_pb2.Figure(code=code, count=count) for code, count in step.skipped]
    return pb.ComplianceStep(
        key=step.key, met=step.met, on_time=step.on_time, late=step.late, skipped=skipped
    )

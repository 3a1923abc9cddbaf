"""Plans: fetch, ask, keep. A plan is the file's organisation's alone; to anybody else there is none."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from chassis.audit import Entry
from chassis.db import Row, Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotFound, Stale
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.chain import Link, line
from services.referrals.domain.consent import CHILDREN
from services.referrals.domain.figures import SMALLEST, told
from services.referrals.domain.lifecycle import LIVE, State
from services.referrals.domain.pathway import Pathway
from services.referrals.domain.person import Person, check_age_taken
from services.referrals.domain.plan import CONSENT_WITHDRAWN, Plan, StepState
from services.referrals.domain.referral import Referral
from services.referrals.store import members, plans, referrals
from services.referrals.store.people import People
from services.referrals.usecases.pathways import Pathways


@dataclass(frozen=True)
class Counted:
    """One step in the plans of a version in a department; FEW where it is not told."""

    key: str
    met: int
    on_time: int
    late: int
    skipped: list[tuple[str, int]]


Group = tuple[str, int, str]
"""Pathway, version, department."""
_SKIPPED = "skipped:"


class Plans:
    """Every method runs in the transaction `tx` and its scope."""

    def __init__(self, files: People, pathways: Pathways) -> None:
        self._files = files
        self._pathways = pathways

    def create(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        person_id: str,
        pathway_id: str,
        start: datetime | None,
        acknowledged: Collection[str],
        trail: list[Entry],
    ) -> Plan:
        """Begins a plan by the newest version. In the person's turn: two at once would both find none."""
        self._files.hold(tx, person_id)
        person = self._person(tx, caller, person_id)
        pathway = self._chosen(tx, "pathway_id", "unknown_code", pathway_id)
        check_age_taken(pathway.takes(person.coarse.age_band), acknowledged)
        if plans.running(tx, person.id, pathway.id):
            raise Conflict("plan_exists")
        plan = Plan.begin(new_id(), person.id, person.organization_id, pathway, person.coarse.department, start, now)
        plans.add(tx, plan)
        if acknowledged:
            details = (f"plan:{plan.id}", *(f"acknowledged:{code}" for code in acknowledged))
            trail.append(Entry("begin_plan", person.id, "", details))
        return plan

    def get(self, tx: Transaction, identifier: str) -> Plan:
        """One plan."""
        return plans.get(tx, identifier, self._of(tx))

    def of_person(self, tx: Transaction, caller: Caller, person_id: str) -> list[Plan]:
        """Her plans; of a file that was erased there are none."""
        if self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound
        return plans.of_person(tx, person_id, self._of(tx))

    def update_step(
        self,
        tx: Transaction,
        now: datetime,
        identifier: str,
        version: int,
        key: str,
        state: StepState,
        *,
        referral_id: str,
        reason_code: str,
    ) -> Plan:
        """Says how a step stands. The referral is locked before the plan, as when it moves and the plan follows it."""
        referral = referrals.get(tx, referral_id, for_update=True) if referral_id else None

        def take(plan: Plan) -> None:
            if referral and (referral.person_id, referral.sender_organization_id) != (plan.person_id, plan.organization_id):
                raise NotFound
            plan.take(key, state, now, reason_code=reason_code, referral=(referral.id, referral.state) if referral else None)
            if referral:
                plan.referrals[referral.id] = referral
                plan.follow(referral.id, referral.state, referral.outcome_code, now)
                self._keep_leg(tx, plan, referral)

        return self._change(tx, identifier, version, take)

    def move(self, tx: Transaction, now: datetime, identifier: str, version: int, to: int) -> Plan:
        """To a newer version of its pathway, in which other steps may be legs."""

        def take(plan: Plan) -> None:
            plan.move(self._chosen(tx, "version", "out_of_range", plan.pathway.id, to), now)
            plans.read_legs(tx, plan)
            for referral in plan.referrals.values():
                plan.check_own_receipt(referral)

        return self._change(tx, identifier, version, take)

    def close(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, reason_code: str) -> Plan:
        """Ends it; a child's with the word of a second person."""
        by = caller if caller.kind == "worker" else None

        def take(plan: Plan) -> None:
            child = self._files.get(tx, plan.person_id).coarse.age_band in CHILDREN
            plan.end(reason_code, by, now, of_a_child=child)

        return self._change(tx, identifier, version, take)

    def late(self, tx: Transaction, caller: Caller, now: datetime, limit: int, after: Position | None) -> tuple[list[Row], Position | None]:
        """Late steps of the caller's organisation."""
        return plans.late(tx, caller.organization_id, now, limit, after)

    def pathway(self, tx: Transaction, identifier: str, version: int = 0) -> Pathway:
        """One version of a pathway; 0 is the newest."""
        return self._pathways.get(tx, identifier, version)

    def compliance(self, tx: Transaction, now: datetime, *, network: bool) -> dict[Group, tuple[int, list[Counted]]]:
        """How many plans, and how their steps stand. Of the network only what ten plans share is told, rounded down to fives; of one's own organisation all."""
        if network:
            elevate_to_system_scope(tx)
        groups = defaultdict[Group, dict[str, Counter[str]]](lambda: defaultdict(Counter))
        for row in plans.compliance(tx, now):
            counted = groups[row["pathway_id"], row["version"], row["department"]][row["key"]]
            met, refused = row["state"] == StepState.MET.value, row["state"] == StepState.REFUSED_BY_PERSON.value
            counted += Counter({"plans": row["plans"], "late": row["late"]})
            if met:
                counted += Counter({"met": row["plans"], "on_time": row["on_time"]})
            if skipped := row["reason_code"] or (row["state"] if refused else ""):
                counted[_SKIPPED + skipped] += row["plans"]
        return {
            group: (_told(network, number), [self._counted(key, steps[key], network) for key in self._keys(tx, group) if key in steps])
            for group, steps in groups.items()
            if (number := max(counted["plans"] for counted in steps.values())) >= SMALLEST or not network
        }

    def _keys(self, tx: Transaction, group: Group) -> list[str]:
        return [step.key for step in self._pathways.get(tx, group[0], group[1]).steps]

    @staticmethod
    def _counted(key: str, counted: Counter[str], network: bool) -> Counted:
        skipped = sorted((name.removeprefix(_SKIPPED), count) for name, count in counted.items() if name.startswith(_SKIPPED))
        met, on_time, late = (_told(network, counted[name]) for name in ("met", "on_time", "late"))
        return Counted(key, met, on_time, late, [(reason, _told(network, count)) for reason, count in skipped])

    def follow(self, tx: Transaction, now: datetime, *moved: Referral) -> None:
        """Steps that go by referrals that have moved, all of which are locked. Lifts the scope: whoever moves one need not see the plan."""
        elevate_to_system_scope(tx)
        for identifier in plans.with_referrals(tx, [referral.id for referral in moved]):
            plan = plans.get(tx, identifier, self._of(tx), for_update=True)
            was, lost = plan.version, plan.lost(moved)
            for referral in moved:
                plan.follow(referral.id, referral.state, referral.outcome_code, now)
                if referral.state in (State.SENT, State.ACCEPTED):
                    self._keep_leg(tx, plan, referral)
            if plan.version != was:
                plans.change(tx, plan, was)
            if lost:
                lost.note_leg_lost(now)
                referrals.keep(tx, lost, None)

    @staticmethod
    def _keep_leg(tx: Transaction, plan: Plan, referral: Referral) -> None:
        """What holds for a leg that was sent, accepted or linked just now."""
        plan.check_own_receipt(referral)
        if referral.state is State.ACCEPTED and plan.is_leg(referral.id):
            referral.wait_for_her()
            referrals.keep_clocks(tx, referral)

    def check_receipt(self, tx: Transaction, referral: Referral) -> None:
        """Another receipt is put under a referral, which is locked: no other leg stands on it. Lifts the scope."""
        elevate_to_system_scope(tx)
        for identifier in plans.with_referrals(tx, [referral.id]):
            plans.get(tx, identifier, self._of(tx), for_update=True).check_own_receipt(referral)

    def line(self, tx: Transaction, plan: Plan) -> list[Link]:
        """Its hand-over across borders."""
        asked = {referral.receiver_organization_id for referral in plan.referrals.values()}
        return line(plan, members.countries(tx, asked)) if plan.legs else []

    def line_of(self, tx: Transaction, referral: Referral) -> list[Link]:
        """The hand-over of which a referral is a leg. Lifts the scope: what of it the caller may see is decided by who asks for it."""
        elevate_to_system_scope(tx)
        for identifier in plans.with_referrals(tx, [referral.id]):
            links = self.line(tx, plans.get(tx, identifier, self._of(tx)))
            if any(link.referral and link.referral.id == referral.id for link in links):
                return links
        return []

    def receipts_of_other_legs(self, tx: Transaction, referral: Referral) -> set[str]:
        """On which it can't stand, if it is a leg. Lifts the scope."""
        others = [link.referral for link in self.line_of(tx, referral) if link.referral and link.referral.id != referral.id]
        return {other.receipt_id for other in others if other.state in LIVE}

    def end_with_consent(self, tx: Transaction, person_id: str, now: datetime) -> None:
        """She took her last consent back: nothing is walked any further in her name. Lifts the scope, for it may be said to a receiver."""
        elevate_to_system_scope(tx)
        for plan in plans.of_person(tx, person_id, self._of(tx), only_running=True):
            was = plan.version
            plan.close(CONSENT_WITHDRAWN, now)
            plans.change(tx, plan, was)

    def _change(self, tx: Transaction, identifier: str, version: int, change: Callable[[Plan], None]) -> Plan:
        plan = plans.get(tx, identifier, self._of(tx), for_update=True)
        if plan.version != version:
            raise Stale
        change(plan)
        plans.change(tx, plan, version)
        return plan

    def _person(self, tx: Transaction, caller: Caller, person_id: str) -> Person:
        person = self._files.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        return person

    def _chosen(self, tx: Transaction, path: str, reason: str, identifier: str, version: int = 0) -> Pathway:
        """A pathway that was named in a request; Invalid when there is none."""
        try:
            return self._pathways.get(tx, identifier, version)
        except NotFound:
            raise Invalid((path, reason)) from None

    def _of(self, tx: Transaction) -> Callable[[str, int], Pathway]:
        return partial(self._pathways.get, tx)


def _told(network: bool, count: int) -> int:
    """Of the network as it may be told, see domain/figures.py."""
    return told(count) if network else count

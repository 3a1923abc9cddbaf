"""A hand-over across borders, by rpc.

The tests cover who sees which leg, the conditions of the departure, consents, and legs that are
lost while the person is on her way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from chassis.db import Transaction
from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.referrals.network.store import members
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story, read
from tests.referrals.test_plans_rpc import begun, current_plan, outcome, person, update

MET, OPEN, REFERRED = pb.PLAN_STEP_STATE_MET, pb.PLAN_STEP_STATE_OPEN, pb.PLAN_STEP_STATE_REFERRED
LEGS = {
    "travel": ("RET.TRA", "journey", "mission"),
    "reception": ("RET.REC", "welcome", "border"),
    "housing": ("HOU.SAFE", "shelter_bed", "shelter"),
}
NOT_ACCEPTED = ("FAILED_PRECONDITION", "legs_not_accepted")
SAME_RECEIPT = ("FAILED_PRECONDITION", "receipt_of_another_leg")
WITHDRAWN = r.WITHDRAW_REASON_SAFETY_CHANGED


@dataclass
class HandOver:
    """A plan of the return pathway, with a referral for each leg; the earlier steps are done."""

    story: Story
    plan: pb.Plan
    legs: dict[str, r.Referral] = field(default_factory=dict)

    def client(self, key: str) -> Client:
        return self.story.service.as_(LEGS[key][2], "WORKER")

    def ask(self, key: str, **values: Any) -> r.Referral:
        """Sends the referral of a leg on its own consent, unless `receipt_id` names another one."""
        draft, receipt_id = self.draft(key), values.pop("receipt_id", "")
        if not receipt_id:
            receipt_id = self.story.receipt(
                self.plan.person_id, recipient=ORG[LEGS[key][2]], purposes=[LEGS[key][0][:3]]
            ).id
        self.legs[key] = self.story.ngo.SendReferral(
            r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt_id)
        )
        return self.legs[key]

    def draft(self, key: str) -> r.Referral:
        need, service, _ = LEGS[key]
        draft = self.story.draft(person(self.plan), need_code=need, service_id=SERVICE[service])
        self.plan = update(
            self.story.ngo, current_plan(self.story, self.plan), key, REFERRED, referral_id=draft.id
        )
        return draft

    def do(self, key: str, request: Any, by: Client | None = None) -> r.Referral:
        """Takes a step of a leg as its receiver, or as `by`."""
        request.id, request.etag = self.legs[key].id, read(self.story.ngo, self.legs[key].id).etag
        name = request.DESCRIPTOR.name.removesuffix("Request")
        self.legs[key] = getattr(by or self.client(key), name)(request)
        return self.legs[key]

    def accept(self, *keys: str) -> None:
        for key in keys:
            request = r.AcceptReferralRequest()
            request.planned_first_contact_time.FromDatetime(
                self.story.service.clock.now() + timedelta(days=2)
            )
            self.do(key, request)

    def start(self, key: str) -> r.Referral:
        request = r.StartReferralRequest()
        request.first_contact_time.FromDatetime(self.story.service.clock.now())
        return self.do(key, request)

    def complete(self, key: str) -> r.Referral:
        return self.do(key, r.CompleteReferralRequest(outcome_code=r.OUTCOME_FULLY_MET))

    def seen(self, key: str, by: Client | None = None) -> dict[str, r.Leg]:
        return {leg.key: leg for leg in read(by or self.client(key), self.legs[key].id).legs}

    def verbs(self, key: str, by: Client | None = None) -> list[str]:
        request = r.ListReferralEventsRequest(referral_id=self.legs[key].id)
        return [event.verb for event in (by or self.story.ngo).ListReferralEvents(request).events]

    def step_states(self) -> dict[str, Any]:
        return {
            step.key: step.state
            for step in current_plan(self.story, self.plan).steps
            if step.key in LEGS
        }


def prepared(story: Story) -> HandOver:
    plan = begun(story, "return_and_reintegration")
    plan = update(story.ngo, update(story.ngo, plan, "risk_check", MET), "travel_papers", MET)
    return HandOver(story, plan)


@pytest.fixture
def way(story: Story) -> HandOver:
    """Returns a hand-over whose legs are all sent."""
    way = prepared(story)
    for key in reversed(LEGS):  # in reverse: the first organisation on the way is asked last
        way.ask(key)
    return way


@pytest.fixture
def travelling(way: HandOver) -> HandOver:
    """Returns a hand-over after the person has left."""
    way.accept(*LEGS)
    way.start("travel")
    return way


def test_the_travel_starts_once_every_later_leg_is_accepted(way: HandOver) -> None:
    way.accept("travel", "housing")
    assert refusal(lambda: way.start("travel")) == NOT_ACCEPTED
    assert read(way.story.ngo, way.legs["travel"].id).state == r.STATE_ACCEPTED
    assert list(way.seen("travel")["travel"].waits_for_keys) == ["reception"]
    assert (
        refusal(lambda: update(way.story.ngo, current_plan(way.story, way.plan), "travel", MET))
        == NOT_ACCEPTED
    )
    way.accept("reception")
    assert list(way.seen("travel")["travel"].waits_for_keys) == []
    assert way.start("travel").state == r.STATE_IN_PROGRESS


def test_a_referral_already_started_cannot_be_linked_as_the_departure_later(
    way: HandOver,
) -> None:
    way.accept("travel")
    way.plan = update(way.story.ngo, current_plan(way.story, way.plan), "travel", OPEN)
    way.start("travel")
    linking = {"state": REFERRED, "referral_id": way.legs["travel"].id}
    assert (
        refusal(
            lambda: update(way.story.ngo, current_plan(way.story, way.plan), "travel", **linking)
        )
        == NOT_ACCEPTED
    )


def test_no_arrival_can_be_started_or_completed_before_the_departure(way: HandOver) -> None:
    way.accept(*LEGS)
    assert refusal(lambda: way.start("reception")) == ("FAILED_PRECONDITION", "step_waits")
    # A referral that was started before it became a leg does not count as the reception either.
    way.plan = update(way.story.ngo, current_plan(way.story, way.plan), "reception", OPEN)
    way.start("reception")
    linking: dict[str, Any] = {"state": REFERRED, "referral_id": way.legs["reception"].id}
    assert refusal(
        lambda: update(way.story.ngo, current_plan(way.story, way.plan), "reception", **linking)
    ) == ("FAILED_PRECONDITION", "step_waits")
    update(
        way.story.ngo,
        current_plan(way.story, way.plan),
        "reception",
        pb.PLAN_STEP_STATE_NOT_NEEDED,
        reason_code=pb.SKIP_REASON_DOES_NOT_APPLY,
    )
    way.start("travel")
    update(way.story.ngo, current_plan(way.story, way.plan), "reception", **linking)
    way.complete("reception")
    assert way.step_states() == {"travel": REFERRED, "reception": MET, "housing": REFERRED}


def test_each_leg_needs_its_own_consent(story: Story) -> None:
    way = prepared(story)
    both = story.receipt(way.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"])
    at_one: dict[str, Any] = {"need_code": "RET.REC", "service_id": SERVICE["shelter_bed"]}
    way.ask("housing", receipt_id=both.id)
    draft = story.draft(person(way.plan), **at_one)
    way.plan = update(
        story.ngo, current_plan(story, way.plan), "reception", REFERRED, referral_id=draft.id
    )
    again = r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=both.id)
    request = people_pb2.ListReceiptsRequest(person_id=way.plan.person_id, referral_id=draft.id)
    assert not story.ngo.ListReceipts(request).receipts, "nor is the receipt listed as usable"
    assert refusal(lambda: story.ngo.SendReferral(again)) == SAME_RECEIPT
    assert read(story.ngo, draft.id).state == r.STATE_DRAFT
    # Neither linking the referral afterwards nor replacing an override evades the rule.
    way.plan = update(story.ngo, current_plan(story, way.plan), "reception", OPEN)
    sent = story.ngo.SendReferral(again)
    linking = {"state": REFERRED, "referral_id": sent.id}
    assert (
        refusal(lambda: update(story.ngo, current_plan(story, way.plan), "reception", **linking))
        == SAME_RECEIPT
    )
    assert (
        refusal(
            lambda: update(
                story.ngo,
                current_plan(story, way.plan),
                "reception",
                REFERRED,
                referral_id=way.legs["housing"].id,
            )
        )
        == SAME_RECEIPT
    )
    override = story.overridden(person=person(way.plan), **at_one)
    way.plan = update(
        story.ngo, current_plan(story, way.plan), "reception", REFERRED, referral_id=override.id
    )
    attach = r.AttachConsentRequest(id=override.id, etag=override.etag, receipt_id=both.id)
    assert refusal(lambda: story.ngo.AttachConsent(attach)) == SAME_RECEIPT
    attach.receipt_id = story.receipt(
        way.plan.person_id, recipient=ORG["shelter"], purposes=["RET"]
    ).id
    assert story.ngo.AttachConsent(attach).receipt_id == attach.receipt_id


def test_a_plan_moves_to_a_version_with_legs_only_with_a_consent_for_each_leg(story: Story) -> None:
    step = (
        "  - {{key: {0}, names: {{es: a, en: b, fr: c}}, need: HOU, role: shelter, legal_basis:"
        " [coe_12], {1}}}\n"
    )
    head = "id: moved\nversion: {0}\nnames: {{es: a, en: b, fr: c}}\nsteps:\n"
    plain, legs = (
        ("documents: []", "documents: []", "documents: []"),
        ("leg: departure", "leg: arrival, after: [a]", "leg: arrival, after: [a]"),
    )
    for version, marks in enumerate((plain, legs), 1):
        text = head.format(version) + "".join(
            step.format(key, mark) for key, mark in zip("abc", marks, strict=True)
        )
        story.coordinator.PublishPathway(pb.PublishPathwayRequest(text=text))
        if version == 1:
            plan = begun(story, "moved")
    receipt = story.receipt(plan.person_id)
    for key in "bc":
        draft = story.draft(person(plan))
        sent = story.ngo.SendReferral(
            r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        )
        plan = update(story.ngo, plan, key, REFERRED, referral_id=sent.id)
    assert (
        refusal(
            lambda: story.ngo.MovePlan(pb.MovePlanRequest(id=plan.id, etag=plan.etag, version=2))
        )
        == SAME_RECEIPT
    )
    assert current_plan(story, plan) == plan


def test_owner_and_coordinators_see_all_legs_and_a_receiver_its_own_and_the_neighbouring_ones(
    way: HandOver,
) -> None:
    way.accept("housing")
    legs = {leg.key: leg for leg in current_plan(way.story, way.plan).legs}
    assert [(leg.country, leg.organization_id, leg.state) for leg in legs.values()] == [
        ("GT", ORG["mission"], r.STATE_SENT),
        ("NI", ORG["border"], r.STATE_SENT),
        ("NI", ORG["shelter"], r.STATE_ACCEPTED),
    ]
    assert [leg.acting_organization_id for leg in legs.values()] == [
        ORG["mission"],
        ORG["border"],
        "",
    ]
    assert [leg.referral_id for leg in legs.values()] == [way.legs[key].id for key in LEGS]
    assert way.seen("travel", way.story.ngo) == legs
    coordinator = way.seen("travel", way.story.coordinator)
    assert coordinator == legs
    assert read(way.story.coordinator, way.legs["travel"].id).person_id == ""
    seen = {key: way.seen(key) for key in LEGS}
    assert {key: list(legs) for key, legs in seen.items()} == {
        "travel": ["travel", "reception"],
        "reception": ["travel", "reception", "housing"],
        "housing": ["reception", "housing"],
    }
    beside = seen["reception"]["housing"]
    assert (beside.organization_id, beside.state, beside.referral_id) == (
        ORG["shelter"],
        r.STATE_ACCEPTED,
        "",
    )
    assert beside.HasField("planned_first_contact_time")
    assert not way.client("travel").ListReferrals(r.ListReferralsRequest()).referrals[0].legs, (
        "lists leave the legs out"
    )


def test_only_the_sender_sees_for_whom_a_draft_leg_is(story: Story) -> None:
    way = prepared(story)
    way.ask("travel")
    way.draft("reception")
    for by in (None, story.coordinator):
        leg = way.seen("travel", by)["reception"]
        assert (leg.organization_id, leg.country, leg.state, leg.referral_id) == (
            "",
            "",
            r.STATE_UNSPECIFIED,
            "",
        )
        assert leg.acting_organization_id == ORG["ngo"]
    assert way.seen("travel", story.ngo)["reception"].organization_id == ORG["border"]


def test_a_receiver_that_declined_disappears_from_the_chain_and_no_longer_sees_it(
    way: HandOver,
) -> None:
    way.do("reception", r.DeclineReferralRequest(reason_code=r.DECLINE_REASON_NO_CAPACITY))
    assert way.seen("reception") == {}
    leg = way.seen("travel")["reception"]
    assert (leg.organization_id, leg.state, leg.acting_organization_id) == (
        "",
        r.STATE_UNSPECIFIED,
        ORG["ngo"],
    )


def test_a_caller_who_may_not_open_the_persons_data_does_not_see_where_she_goes(
    way: HandOver, service: Service
) -> None:
    assert way.seen("travel")
    # Managers, keys without the right to open people, members on probation, and anybody whose
    # consent has ended see no legs.
    assert way.seen("travel", service.as_("mission", "MANAGER")) == {}
    assert way.seen("travel", service.as_("mission", scopes=("referrals.read",))) == {}
    assert way.seen("travel", service.as_("mission", scopes=("referrals.read", "people.open")))
    assert way.seen("travel", service.as_("coalition", "AUDITOR")) == {}
    for standing, legs in (("PROBATION", 0), ("APPROVED", 2)):
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(
                tx, "organization", ORG["mission"], True, standing, "NGO", country="GT"
            )
        assert len(way.seen("travel")) == legs
    service.clock.set(NOON + timedelta(days=91))
    assert way.seen("travel") == {}


def test_other_organisations_cannot_find_the_chain(way: HandOver, service: Service) -> None:
    for other in (service.as_("clinic", "WORKER"), way.client("housing")):
        assert refusal(lambda: read(other, way.legs["travel"].id)) == ("NOT_FOUND", "not_found")  # noqa: B023
    assert (
        refusal(
            lambda: current_plan(
                Story(
                    service,
                    way.client("travel"),
                    way.client("travel"),
                    way.story.coordinator,
                    iter(()),
                ),
                way.plan,
            )
        )[0]
        == "NOT_FOUND"
    )


def not_deliver(way: HandOver) -> None:
    way.do("housing", r.NotDeliverReferralRequest(reason_code=r.NOT_DELIVERED_REASON_CAPACITY_LOST))


def withdraw(way: HandOver) -> None:
    way.do("housing", r.WithdrawReferralRequest(reason_code=WITHDRAWN), way.story.ngo)


def take_back(way: HandOver) -> None:
    way.client("housing").WithdrawReceipt(
        people_pb2.WithdrawReceiptRequest(id=way.legs["housing"].receipt_id)
    )


def expire(way: HandOver) -> None:
    """Sends a new referral for the leg, and lets its deadlines pass without an answer."""
    not_deliver(way)
    way.ask("housing")
    clock = way.story.service.clock
    clock.advance(timedelta(days=2))
    with way.story.service.database.transaction(SYSTEM) as tx:
        while way.story.service.made.lives.fire_deadlines(tx, clock.now(), 50):
            pass


@pytest.mark.parametrize("fall", [not_deliver, withdraw, take_back, expire])
def test_a_leg_that_ends_during_the_travel_is_reported_to_sender_and_coordinators(
    fall: Callable[[HandOver], None], travelling: HandOver
) -> None:
    fall(travelling)
    assert travelling.verbs("housing")[-1] == "leg_lost"
    assert travelling.verbs("housing", travelling.story.coordinator)[-1] == "leg_lost"
    assert "leg_lost" not in travelling.verbs("housing", travelling.client("housing"))
    assert facts(travelling, "housing") == 1
    assert travelling.step_states()["housing"] == OPEN
    assert travelling.seen("reception")["housing"].acting_organization_id == ORG["ngo"]
    # Once a new referral is accepted, there is nothing to report.
    travelling.ask("housing")
    travelling.accept("housing")
    assert travelling.seen("reception")["housing"].state == r.STATE_ACCEPTED


def facts(way: HandOver, key: str) -> int:
    with way.story.service.database.transaction(SYSTEM) as tx:
        sql = (
            "SELECT count(*) AS n FROM outbox WHERE subject = %s"
            " AND type = 'enlace.referral.leg_lost.v1'"
        )
        row = tx.execute(sql, (way.legs[key].id,)).fetchone()
    assert row
    return int(row["n"])


def test_a_leg_that_ends_before_the_departure_or_after_the_arrival_is_not_reported(
    way: HandOver,
) -> None:
    way.accept(*LEGS)
    not_deliver(way)
    assert "leg_lost" not in way.verbs("housing")
    way.ask("housing")
    way.accept("housing")
    for key in LEGS:
        way.start(key)
    way.do(
        "housing", r.NotDeliverReferralRequest(reason_code=r.NOT_DELIVERED_REASON_PERSON_MISSING)
    )
    assert "leg_lost" not in way.verbs("housing")


def test_withdrawing_all_consents_reports_one_lost_leg_and_ends_the_plan(
    travelling: HandOver,
) -> None:
    with travelling.story.service.database.transaction(SYSTEM) as tx:
        trail: list[Any] = []
        travelling.story.service.made.consents.withdraw_all(
            tx, NOON, "c", travelling.plan.person_id, trail
        )
    assert [travelling.verbs(key).count("leg_lost") for key in LEGS] == [1, 0, 0]
    assert (
        current_plan(travelling.story, travelling.plan).close_reason_code
        == pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN
    )


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.mark.parametrize("fall", [not_deliver, withdraw, take_back])
def test_a_departure_concurrent_with_the_end_of_a_leg_is_refused_or_the_leg_is_reported(
    fall: Callable[[HandOver], None], story: Story, threads: ThreadPoolExecutor
) -> None:
    for _ in range(4):
        way = prepared(story)
        for key in LEGS:
            way.ask(key)
        way.accept(*LEGS)
        with story.service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT 1 FROM plans WHERE id = %s FOR UPDATE", (way.plan.id,)).fetchone()
            left, fell = (
                threads.submit(outcome, lambda: way.start("travel")),  # noqa: B023
                threads.submit(outcome, lambda: fall(way)),  # noqa: B023
            )
            # both transactions have written their own rows and wait for the plan's lock
            while waiting_transactions(tx) < 2:
                assert {left.done(), fell.done()} == {False}
        assert (left.result(), fell.result()) in (("done", "done"), ("legs_not_accepted", "done"))
        assert ("leg_lost" in way.verbs("housing")) == (left.result() == "done")


def waiting_transactions(tx: Transaction) -> int:
    """Returns the number of transactions that wait for a lock in this database."""
    row = tx.execute("SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted").fetchone()
    assert row
    return int(row["n"])


def test_of_two_legs_sent_concurrently_on_one_consent_only_one_is_accepted(
    story: Story, threads: ThreadPoolExecutor
) -> None:
    for _ in range(4):
        way = prepared(story)
        both = story.receipt(way.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"])
        requests = []
        for key, need in (("reception", "RET.REC"), ("housing", "HOU.SAFE")):
            draft = story.draft(person(way.plan), need_code=need)
            way.plan = update(
                story.ngo, current_plan(story, way.plan), key, REFERRED, referral_id=draft.id
            )
            requests.append(r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=both.id))
        sent = threads.map(
            lambda request: outcome(lambda: story.ngo.SendReferral(request)), requests
        )
        assert sorted(sent) == ["done", "receipt_of_another_leg"]


def test_a_repeated_start_gets_the_first_answer_even_if_a_leg_has_ended_since(
    way: HandOver,
) -> None:
    way.accept(*LEGS)
    request = r.StartReferralRequest(
        id=way.legs["travel"].id, etag=way.legs["travel"].etag, request_id=way.story.request_id()
    )
    request.first_contact_time.FromDatetime(NOON)
    started = way.client("travel").StartReferral(request)
    not_deliver(way)
    assert way.client("travel").StartReferral(request) == started
    assert way.verbs("housing").count("leg_lost") == 1


def test_a_receiver_that_accepted_early_is_not_late_before_the_expected_arrival(
    way: HandOver,
) -> None:
    way.accept("housing")
    (clock,) = [
        clock
        for clock in read(way.story.ngo, way.legs["housing"].id).clocks
        if clock.kind == r.CLOCK_KIND_FIRST_CONTACT
    ]
    expected = way.legs["housing"].planned_first_contact_time
    assert clock.start_time == expected
    assert clock.due_time.ToDatetime(NOON.tzinfo) == expected.ToDatetime(NOON.tzinfo) + timedelta(
        hours=24
    )
    assert way.legs["housing"].next_due_time == clock.due_time, "and the list shows the same time"
    # A referral that was accepted before it became a leg waits too, and linking it again changes
    # nothing.
    way.legs["housing"] = way.story.sent(person=person(way.plan))
    way.accept("housing")
    assert way.legs["housing"].next_due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=24)
    for _ in range(2):
        way.plan = update(
            way.story.ngo,
            current_plan(way.story, way.plan),
            "housing",
            REFERRED,
            referral_id=way.legs["housing"].id,
        )
        assert read(way.story.ngo, way.legs["housing"].id).next_due_time == clock.due_time

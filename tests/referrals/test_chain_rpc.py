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
from tests.referrals.test_subscriptions import Hearing

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
        """Sends a referral for a leg, with a consent of its own or with the one in `receipt_id`."""
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
        """Drafts a referral and links it to the leg."""
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


def prepare_hand_over(story: Story) -> HandOver:
    plan = begun(story, "return_and_reintegration")
    plan = update(story.ngo, update(story.ngo, plan, "risk_check", MET), "travel_papers", MET)
    return HandOver(story, plan)


@pytest.fixture
def hand_over(story: Story) -> HandOver:
    """Returns a hand-over of which the referrals of all legs are sent."""
    hand_over = prepare_hand_over(story)
    for key in reversed(LEGS):  # in reverse: the referral of the first leg is sent last
        hand_over.ask(key)
    return hand_over


@pytest.fixture
def departed(hand_over: HandOver) -> HandOver:
    """Returns a hand-over after the person has left."""
    hand_over.accept(*LEGS)
    hand_over.start("travel")
    return hand_over


def test_the_travel_starts_once_every_later_leg_is_accepted(hand_over: HandOver) -> None:
    hand_over.accept("travel", "housing")
    assert refusal(lambda: hand_over.start("travel")) == NOT_ACCEPTED
    assert read(hand_over.story.ngo, hand_over.legs["travel"].id).state == r.STATE_ACCEPTED
    assert list(hand_over.seen("travel")["travel"].waits_for_keys) == ["reception"]
    assert (
        refusal(
            lambda: update(
                hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "travel", MET
            )
        )
        == NOT_ACCEPTED
    )
    hand_over.accept("reception")
    assert list(hand_over.seen("travel")["travel"].waits_for_keys) == []
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_d24_she_does_not_leave_while_the_receiver_of_an_arrival_is_suspended(
    hand_over: HandOver, service: Service
) -> None:
    hear = Hearing(service)
    hand_over.accept(*LEGS)
    hear.organization("shelter", "SUSPENDED")
    assert refusal(lambda: hand_over.start("travel")) == NOT_ACCEPTED
    legs = hand_over.seen("travel", hand_over.story.ngo)
    assert list(legs["travel"].waits_for_keys) == ["housing"]
    assert legs["housing"].acting_organization_id == ORG["ngo"], "she needs another place"
    hear.organization("shelter", "APPROVED")
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_a_referral_already_started_cannot_be_linked_as_the_departure_later(
    hand_over: HandOver,
) -> None:
    hand_over.accept("travel")
    hand_over.plan = update(
        hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "travel", OPEN
    )
    hand_over.start("travel")
    link = {"state": REFERRED, "referral_id": hand_over.legs["travel"].id}
    assert (
        refusal(
            lambda: update(
                hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "travel", **link
            )
        )
        == NOT_ACCEPTED
    )


def test_no_arrival_can_be_started_or_completed_before_the_departure(hand_over: HandOver) -> None:
    hand_over.accept(*LEGS)
    assert refusal(lambda: hand_over.start("reception")) == ("FAILED_PRECONDITION", "step_waits")
    # A referral that was started before it became a leg does not count as the reception either.
    hand_over.plan = update(
        hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "reception", OPEN
    )
    hand_over.start("reception")
    link: dict[str, Any] = {"state": REFERRED, "referral_id": hand_over.legs["reception"].id}
    assert refusal(
        lambda: update(
            hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "reception", **link
        )
    ) == ("FAILED_PRECONDITION", "step_waits")
    update(
        hand_over.story.ngo,
        current_plan(hand_over.story, hand_over.plan),
        "reception",
        pb.PLAN_STEP_STATE_NOT_NEEDED,
        reason_code=pb.SKIP_REASON_DOES_NOT_APPLY,
    )
    hand_over.start("travel")
    update(hand_over.story.ngo, current_plan(hand_over.story, hand_over.plan), "reception", **link)
    hand_over.complete("reception")
    assert hand_over.step_states() == {"travel": REFERRED, "reception": MET, "housing": REFERRED}


def test_each_leg_needs_its_own_consent(story: Story) -> None:
    hand_over = prepare_hand_over(story)
    shared_receipt = story.receipt(
        hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"]
    )
    values: dict[str, Any] = {"need_code": "RET.REC", "service_id": SERVICE["shelter_bed"]}
    hand_over.ask("housing", receipt_id=shared_receipt.id)
    draft = story.draft(person(hand_over.plan), **values)
    hand_over.plan = update(
        story.ngo, current_plan(story, hand_over.plan), "reception", REFERRED, referral_id=draft.id
    )
    again = r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=shared_receipt.id)
    request = people_pb2.ListReceiptsRequest(
        person_id=hand_over.plan.person_id, referral_id=draft.id
    )
    assert not story.ngo.ListReceipts(request).receipts, "nor is the receipt listed as usable"
    assert refusal(lambda: story.ngo.SendReferral(again)) == SAME_RECEIPT
    assert read(story.ngo, draft.id).state == r.STATE_DRAFT
    # Neither linking the referral afterwards nor replacing an override evades the rule.
    hand_over.plan = update(story.ngo, current_plan(story, hand_over.plan), "reception", OPEN)
    sent = story.ngo.SendReferral(again)
    link = {"state": REFERRED, "referral_id": sent.id}
    assert (
        refusal(lambda: update(story.ngo, current_plan(story, hand_over.plan), "reception", **link))
        == SAME_RECEIPT
    )
    assert (
        refusal(
            lambda: update(
                story.ngo,
                current_plan(story, hand_over.plan),
                "reception",
                REFERRED,
                referral_id=hand_over.legs["housing"].id,
            )
        )
        == SAME_RECEIPT
    )
    override = story.overridden(person=person(hand_over.plan), **values)
    hand_over.plan = update(
        story.ngo,
        current_plan(story, hand_over.plan),
        "reception",
        REFERRED,
        referral_id=override.id,
    )
    attach = r.AttachConsentRequest(
        id=override.id, etag=override.etag, receipt_id=shared_receipt.id
    )
    assert refusal(lambda: story.ngo.AttachConsent(attach)) == SAME_RECEIPT
    attach.receipt_id = story.receipt(
        hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET"]
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
    for version, attributes in enumerate((plain, legs), 1):
        text = head.format(version) + "".join(
            step.format(key, attribute) for key, attribute in zip("abc", attributes, strict=True)
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
    hand_over: HandOver,
) -> None:
    hand_over.accept("housing")
    legs = {leg.key: leg for leg in current_plan(hand_over.story, hand_over.plan).legs}
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
    assert [leg.referral_id for leg in legs.values()] == [hand_over.legs[key].id for key in LEGS]
    assert hand_over.seen("travel", hand_over.story.ngo) == legs
    assert hand_over.seen("travel", hand_over.story.coordinator) == legs
    assert read(hand_over.story.coordinator, hand_over.legs["travel"].id).person_id == ""
    legs_by_receiver = {key: hand_over.seen(key) for key in LEGS}
    assert {key: list(legs) for key, legs in legs_by_receiver.items()} == {
        "travel": ["travel", "reception"],
        "reception": ["travel", "reception", "housing"],
        "housing": ["reception", "housing"],
    }
    neighbour = legs_by_receiver["reception"]["housing"]
    assert (neighbour.organization_id, neighbour.state, neighbour.referral_id) == (
        ORG["shelter"],
        r.STATE_ACCEPTED,
        "",
    )
    assert neighbour.HasField("planned_first_contact_time")
    assert (
        not hand_over.client("travel").ListReferrals(r.ListReferralsRequest()).referrals[0].legs
    ), "lists leave the legs out"


def test_only_the_sender_sees_for_whom_a_draft_leg_is(story: Story) -> None:
    hand_over = prepare_hand_over(story)
    hand_over.ask("travel")
    hand_over.draft("reception")
    for by in (None, story.coordinator):
        leg = hand_over.seen("travel", by)["reception"]
        assert (leg.organization_id, leg.country, leg.state, leg.referral_id) == (
            "",
            "",
            r.STATE_UNSPECIFIED,
            "",
        )
        assert leg.acting_organization_id == ORG["ngo"]
    assert hand_over.seen("travel", story.ngo)["reception"].organization_id == ORG["border"]


def test_a_receiver_that_declined_disappears_from_the_chain_and_no_longer_sees_it(
    hand_over: HandOver,
) -> None:
    hand_over.do("reception", r.DeclineReferralRequest(reason_code=r.DECLINE_REASON_NO_CAPACITY))
    assert hand_over.seen("reception") == {}
    leg = hand_over.seen("travel")["reception"]
    assert (leg.organization_id, leg.state, leg.acting_organization_id) == (
        "",
        r.STATE_UNSPECIFIED,
        ORG["ngo"],
    )


def test_the_receiver_of_a_referral_sent_in_place_of_a_declined_leg_receives_her(
    hand_over: HandOver,
) -> None:
    hand_over.accept("travel", "reception")
    declined = hand_over.do(
        "housing", r.DeclineReferralRequest(reason_code=r.DECLINE_REASON_NO_CAPACITY)
    )
    draft = hand_over.story.draft(
        person(hand_over.plan),
        need_code=declined.need_code,
        service_id=SERVICE["shelter_bed"],
        based_on_id=declined.id,
    )
    receipt = hand_over.story.receipt(
        hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["HOU"]
    )
    hand_over.legs["housing"] = hand_over.story.ngo.SendReferral(
        r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    hand_over.accept("housing")
    assert set(hand_over.seen("housing")) == {"reception", "housing"}
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_a_caller_who_may_not_open_the_persons_data_does_not_see_where_she_goes(
    hand_over: HandOver, service: Service
) -> None:
    assert hand_over.seen("travel")
    # Managers, keys without the right to open people, members on probation, and anybody whose
    # consent has ended see no legs.
    assert hand_over.seen("travel", service.as_("mission", "MANAGER")) == {}
    assert hand_over.seen("travel", service.as_("mission", scopes=("referrals.read",))) == {}
    assert hand_over.seen(
        "travel", service.as_("mission", scopes=("referrals.read", "people.open"))
    )
    assert hand_over.seen("travel", service.as_("coalition", "AUDITOR")) == {}
    for standing, legs in (("PROBATION", 0), ("APPROVED", 2)):
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(
                tx, "organization", ORG["mission"], True, standing, "NGO", country="GT"
            )
        assert len(hand_over.seen("travel")) == legs
    service.clock.set(NOON + timedelta(days=91))
    assert hand_over.seen("travel") == {}


def test_other_organisations_cannot_find_the_chain(hand_over: HandOver, service: Service) -> None:
    for other in (service.as_("clinic", "WORKER"), hand_over.client("housing")):
        assert refusal(lambda: read(other, hand_over.legs["travel"].id)) == (  # noqa: B023
            "NOT_FOUND",
            "not_found",
        )
    assert (
        refusal(
            lambda: current_plan(
                Story(
                    service,
                    hand_over.client("travel"),
                    hand_over.client("travel"),
                    hand_over.story.coordinator,
                    iter(()),
                ),
                hand_over.plan,
            )
        )[0]
        == "NOT_FOUND"
    )


def not_deliver(hand_over: HandOver) -> None:
    hand_over.do(
        "housing", r.NotDeliverReferralRequest(reason_code=r.NOT_DELIVERED_REASON_CAPACITY_LOST)
    )


def withdraw(hand_over: HandOver) -> None:
    hand_over.do("housing", r.WithdrawReferralRequest(reason_code=WITHDRAWN), hand_over.story.ngo)


def withdraw_consent(hand_over: HandOver) -> None:
    hand_over.client("housing").WithdrawReceipt(
        people_pb2.WithdrawReceiptRequest(id=hand_over.legs["housing"].receipt_id)
    )


def expire(hand_over: HandOver) -> None:
    """Sends a new referral for the leg, and lets its deadlines pass without an answer."""
    not_deliver(hand_over)
    hand_over.ask("housing")
    clock = hand_over.story.service.clock
    clock.advance(timedelta(days=2))
    with hand_over.story.service.database.transaction(SYSTEM) as tx:
        while hand_over.story.service.made.lives.fire_deadlines(tx, clock.now(), 50):
            pass


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("end_leg", [not_deliver, withdraw, withdraw_consent, expire])
def test_a_leg_that_ends_during_the_travel_is_reported_to_sender_and_coordinators(
    end_leg: Callable[[HandOver], None], departed: HandOver
) -> None:
    end_leg(departed)
    assert departed.verbs("housing")[-1] == "leg_lost"
    assert departed.verbs("housing", departed.story.coordinator)[-1] == "leg_lost"
    assert "leg_lost" not in departed.verbs("housing", departed.client("housing"))
    assert count_leg_lost_facts(departed, "housing") == 1
    assert departed.step_states()["housing"] == OPEN
    assert departed.seen("reception")["housing"].acting_organization_id == ORG["ngo"]
    # Once a new referral is accepted, there is nothing to report.
    departed.ask("housing")
    departed.accept("housing")
    assert departed.seen("reception")["housing"].state == r.STATE_ACCEPTED


def count_leg_lost_facts(hand_over: HandOver, key: str) -> int:
    with hand_over.story.service.database.transaction(SYSTEM) as tx:
        sql = (
            "SELECT count(*) AS n FROM outbox WHERE subject = %s"
            " AND type = 'enlace.referral.leg_lost.v1'"
        )
        row = tx.execute(sql, (hand_over.legs[key].id,)).fetchone()
    assert row
    return int(row["n"])


def test_a_leg_that_ends_before_the_departure_or_after_the_arrival_is_not_reported(
    hand_over: HandOver,
) -> None:
    hand_over.accept(*LEGS)
    not_deliver(hand_over)
    assert "leg_lost" not in hand_over.verbs("housing")
    hand_over.ask("housing")
    hand_over.accept("housing")
    for key in LEGS:
        hand_over.start(key)
    hand_over.do(
        "housing", r.NotDeliverReferralRequest(reason_code=r.NOT_DELIVERED_REASON_PERSON_MISSING)
    )
    assert "leg_lost" not in hand_over.verbs("housing")


def test_withdrawing_all_consents_reports_one_lost_leg_and_ends_the_plan(
    departed: HandOver,
) -> None:
    with departed.story.service.database.transaction(SYSTEM) as tx:
        trail: list[Any] = []
        departed.story.service.made.consents.withdraw_all(
            tx, NOON, "c", departed.plan.person_id, trail
        )
    assert [departed.verbs(key).count("leg_lost") for key in LEGS] == [1, 0, 0]
    assert (
        current_plan(departed.story, departed.plan).close_reason_code
        == pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN
    )


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("end_leg", [not_deliver, withdraw, withdraw_consent])
def test_a_departure_concurrent_with_the_end_of_a_leg_is_refused_or_the_leg_is_reported(
    end_leg: Callable[[HandOver], None], story: Story, threads: ThreadPoolExecutor
) -> None:
    for _ in range(4):
        hand_over = prepare_hand_over(story)
        for key in LEGS:
            hand_over.ask(key)
        hand_over.accept(*LEGS)
        with story.service.database.transaction(SYSTEM) as tx:
            tx.execute(
                "SELECT 1 FROM plans WHERE id = %s FOR UPDATE", (hand_over.plan.id,)
            ).fetchone()
            departure, end = (
                threads.submit(outcome, lambda: hand_over.start("travel")),  # noqa: B023
                threads.submit(outcome, lambda: end_leg(hand_over)),  # noqa: B023
            )
            # both transactions have written their own rows and wait for the plan's lock
            while waiting_transactions(tx) < 2:
                assert {departure.done(), end.done()} == {False}
        assert (departure.result(), end.result()) in (
            ("done", "done"),
            ("legs_not_accepted", "done"),
        )
        assert ("leg_lost" in hand_over.verbs("housing")) == (departure.result() == "done")


def waiting_transactions(tx: Transaction) -> int:
    """Returns the number of transactions that wait for a lock in this database."""
    row = tx.execute("SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted").fetchone()
    assert row
    return int(row["n"])


def test_only_one_of_two_legs_sent_concurrently_on_one_consent_is_accepted(
    story: Story, threads: ThreadPoolExecutor
) -> None:
    for _ in range(4):
        hand_over = prepare_hand_over(story)
        shared_receipt = story.receipt(
            hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"]
        )
        requests = []
        for key, need in (("reception", "RET.REC"), ("housing", "HOU.SAFE")):
            draft = story.draft(person(hand_over.plan), need_code=need)
            hand_over.plan = update(
                story.ngo, current_plan(story, hand_over.plan), key, REFERRED, referral_id=draft.id
            )
            requests.append(
                r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=shared_receipt.id)
            )
        outcomes = threads.map(
            lambda request: outcome(lambda: story.ngo.SendReferral(request)), requests
        )
        assert sorted(outcomes) == ["done", "receipt_of_another_leg"]


def test_a_repeated_start_gets_the_first_answer_even_if_a_leg_has_ended_since(
    hand_over: HandOver,
) -> None:
    hand_over.accept(*LEGS)
    request = r.StartReferralRequest(
        id=hand_over.legs["travel"].id,
        etag=hand_over.legs["travel"].etag,
        request_id=hand_over.story.request_id(),
    )
    request.first_contact_time.FromDatetime(NOON)
    started = hand_over.client("travel").StartReferral(request)
    not_deliver(hand_over)
    assert hand_over.client("travel").StartReferral(request) == started
    assert hand_over.verbs("housing").count("leg_lost") == 1


def test_a_receiver_that_accepted_early_is_not_late_before_the_expected_arrival(
    hand_over: HandOver,
) -> None:
    hand_over.accept("housing")
    (clock,) = [
        clock
        for clock in read(hand_over.story.ngo, hand_over.legs["housing"].id).clocks
        if clock.kind == r.CLOCK_KIND_FIRST_CONTACT
    ]
    expected = hand_over.legs["housing"].planned_first_contact_time
    assert clock.start_time == expected
    assert clock.due_time.ToDatetime(NOON.tzinfo) == expected.ToDatetime(NOON.tzinfo) + timedelta(
        hours=24
    )
    assert hand_over.legs["housing"].next_due_time == clock.due_time, (
        "and the list shows the same time"
    )
    # A referral that was accepted before it became a leg waits too, and linking it again changes
    # nothing.
    hand_over.legs["housing"] = hand_over.story.sent(person=person(hand_over.plan))
    hand_over.accept("housing")
    assert hand_over.legs["housing"].next_due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(
        hours=24
    )
    for _ in range(2):
        hand_over.plan = update(
            hand_over.story.ngo,
            current_plan(hand_over.story, hand_over.plan),
            "housing",
            REFERRED,
            referral_id=hand_over.legs["housing"].id,
        )
        assert (
            read(hand_over.story.ngo, hand_over.legs["housing"].id).next_due_time == clock.due_time
        )

"""A hand-over across borders, by rpc.

The tests cover who sees which leg, the conditions of the departure, consents, and legs that are
lost while the person is on her way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from tests.builders import NOON, NOT_FOUND, refusal
from tests.referrals.conftest import (
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    history,
    read,
    send_request,
)
from tests.referrals.test_plans_rpc import begin_plan, current_plan, person, update
from tests.referrals.test_subscriptions import PartnersFacts

MET, OPEN, REFERRED = pb.PLAN_STEP_STATE_MET, pb.PLAN_STEP_STATE_OPEN, pb.PLAN_STEP_STATE_REFERRED
LEGS = {
    "travel": ("RET.TRA", "journey", "mission"),
    "reception": ("RET.REC", "welcome", "border"),
    "housing": ("HOU.SAFE", "shelter_bed", "shelter"),
}
NOT_ACCEPTED = ("FAILED_PRECONDITION", "legs_not_accepted")
SAME_RECEIPT = ("FAILED_PRECONDITION", "receipt_of_another_leg")


@dataclass
class HandOver:
    """A plan of the return pathway, with a referral for each leg; the earlier steps are done."""

    story: Story
    plan: pb.Plan
    legs: dict[str, r.Referral] = field(default_factory=dict)

    def client(self, key: str) -> Client:
        return self.story.service.as_(LEGS[key][2], "WORKER")

    def set_step(self, key: str, state: pb.PlanStepState.ValueType, **values: Any) -> None:
        """Sets the state of a step of the plan."""
        current = current_plan(self.story, self.plan)
        self.plan = update(self.story.ngo, current, key, state, **values)

    def link(self, key: str, referral: r.Referral) -> None:
        """Makes a referral stand for a leg."""
        self.set_step(key, REFERRED, referral_id=referral.id)

    def draft(self, key: str, **values: Any) -> r.Referral:
        """Drafts a referral and links it to the leg."""
        usual_values = {"need_code": LEGS[key][0], "service_id": SERVICE[LEGS[key][1]]}
        draft = self.story.draft(person(self.plan), **(usual_values | values))
        self.link(key, draft)
        return draft

    def receipt(self, key: str) -> str:
        """Returns the id of a consent for the receiver of a leg."""
        need, _, receiver = LEGS[key]
        return self.story.receipt(
            self.plan.person_id, recipient=ORG[receiver], purposes=[need[:3]]
        ).id

    def send(self, key: str, receipt_id: str = "") -> None:
        """Sends a referral for a leg, on the consent `receipt_id` or else on a new consent."""
        self.legs[key] = self.story.ngo.SendReferral(
            send_request(self.draft(key), receipt_id or self.receipt(key))
        )

    def take_step(self, key: str, rpc: str, by: Client | None = None, **content: Any) -> r.Referral:
        """Takes a step of a leg as its receiver, or as `by`."""
        current = read(self.story.ngo, self.legs[key].id)
        self.legs[key] = getattr(by or self.client(key), rpc)(
            id=current.id, etag=current.etag, **content
        )
        return self.legs[key]

    def accept(self, *keys: str) -> None:
        planned_time = self.story.service.clock.now() + timedelta(days=2)
        for key in keys:
            self.take_step(key, "AcceptReferral", planned_first_contact_time=planned_time)

    def start(self, key: str) -> r.Referral:
        now = self.story.service.clock.now()
        return self.take_step(key, "StartReferral", first_contact_time=now)

    def decline(self, key: str) -> r.Referral:
        return self.take_step(key, "DeclineReferral", reason_code=r.DECLINE_REASON_NO_CAPACITY)

    def visible_legs(self, key: str, by: Client | None = None) -> dict[str, r.Leg]:
        """Returns the legs that a leg's receiver, or `by`, sees in the leg's referral."""
        return {leg.key: leg for leg in read(by or self.client(key), self.legs[key].id).legs}

    def verbs(self, key: str, by: Client | None = None) -> list[str]:
        return [event.verb for event in history(by or self.story.ngo, self.legs[key].id)]

    def step_states(self) -> dict[str, Any]:
        return {
            step.key: step.state
            for step in current_plan(self.story, self.plan).steps
            if step.key in LEGS
        }


def prepare_hand_over(story: Story) -> HandOver:
    plan = begin_plan(story, "return_and_reintegration")
    plan = update(story.ngo, update(story.ngo, plan, "risk_check", MET), "travel_papers", MET)
    return HandOver(story, plan)


@pytest.fixture
def hand_over(story: Story) -> HandOver:
    """Returns a hand-over whose referrals for all legs are sent."""
    hand_over = prepare_hand_over(story)
    for key in reversed(LEGS):  # in reverse: the referral of the first leg is sent last
        hand_over.send(key)
    return hand_over


@pytest.fixture
def departed_hand_over(hand_over: HandOver) -> HandOver:
    """Returns a hand-over after the person has left."""
    hand_over.accept(*LEGS)
    hand_over.start("travel")
    return hand_over


def test_the_travel_starts_once_every_later_leg_is_accepted(hand_over: HandOver) -> None:
    hand_over.accept("travel", "housing")
    assert refusal(lambda: hand_over.start("travel")) == NOT_ACCEPTED
    assert read(hand_over.story.ngo, hand_over.legs["travel"].id).state == r.STATE_ACCEPTED
    assert list(hand_over.visible_legs("travel")["travel"].waits_for_keys) == ["reception"]
    assert refusal(lambda: hand_over.set_step("travel", MET)) == NOT_ACCEPTED
    hand_over.accept("reception")
    assert list(hand_over.visible_legs("travel")["travel"].waits_for_keys) == []
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_she_does_not_leave_while_the_receiver_of_an_arrival_is_suspended(
    hand_over: HandOver, service: Service
) -> None:
    partners_facts = PartnersFacts(service)
    hand_over.accept(*LEGS)
    partners_facts.organization("shelter", "SUSPENDED")
    assert refusal(lambda: hand_over.start("travel")) == NOT_ACCEPTED
    legs = hand_over.visible_legs("travel", hand_over.story.ngo)
    assert list(legs["travel"].waits_for_keys) == ["housing"]
    assert legs["housing"].acting_organization_id == ORG["ngo"], "she needs another place"
    partners_facts.organization("shelter", "APPROVED")
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_a_referral_already_started_cannot_be_linked_as_the_departure_later(
    hand_over: HandOver,
) -> None:
    hand_over.accept("travel")
    hand_over.set_step("travel", OPEN)
    travel = hand_over.start("travel")
    assert refusal(lambda: hand_over.link("travel", travel)) == NOT_ACCEPTED


def test_no_arrival_can_be_started_or_completed_before_the_departure(hand_over: HandOver) -> None:
    hand_over.accept(*LEGS)
    assert refusal(lambda: hand_over.start("reception")) == ("FAILED_PRECONDITION", "step_waits")
    # A referral that was started before it became a leg does not count as the reception either.
    hand_over.set_step("reception", OPEN)
    reception = hand_over.start("reception")
    assert refusal(lambda: hand_over.link("reception", reception)) == (
        "FAILED_PRECONDITION",
        "step_waits",
    )
    hand_over.set_step(
        "reception", pb.PLAN_STEP_STATE_NOT_NEEDED, reason_code=pb.SKIP_REASON_DOES_NOT_APPLY
    )
    hand_over.start("travel")
    hand_over.link("reception", reception)
    hand_over.take_step("reception", "CompleteReferral", outcome_code=r.OUTCOME_FULLY_MET)
    assert hand_over.step_states() == {"travel": REFERRED, "reception": MET, "housing": REFERRED}


def test_each_leg_needs_its_own_consent(story: Story) -> None:
    hand_over = prepare_hand_over(story)
    shared_receipt = story.receipt(
        hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"]
    )
    hand_over.send("housing", shared_receipt.id)
    draft = hand_over.draft("reception", service_id=SERVICE["shelter_bed"])
    request = send_request(draft, shared_receipt.id)
    assert not story.ngo.ListReceipts(
        person_id=hand_over.plan.person_id, referral_id=draft.id
    ).receipts, "the receipt of the other leg is not listed as usable"
    assert refusal(lambda: story.ngo.SendReferral(request)) == SAME_RECEIPT
    assert read(story.ngo, draft.id).state == r.STATE_DRAFT
    # Neither linking the referral afterwards nor replacing an override evades the rule.
    hand_over.set_step("reception", OPEN)
    sent = story.ngo.SendReferral(request)
    for referral in (sent, hand_over.legs["housing"]):
        assert refusal(partial(hand_over.link, "reception", referral)) == SAME_RECEIPT
    override = story.overridden(
        person=person(hand_over.plan), need_code="RET.REC", service_id=SERVICE["shelter_bed"]
    )
    hand_over.link("reception", override)
    attach = partial(story.ngo.AttachConsent, id=override.id, etag=override.etag)
    assert refusal(lambda: attach(receipt_id=shared_receipt.id)) == SAME_RECEIPT
    own_receipt = story.receipt(
        hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET"]
    )
    assert attach(receipt_id=own_receipt.id).receipt_id == own_receipt.id


def test_a_plan_moves_to_a_version_with_legs_only_with_a_consent_for_each_leg(story: Story) -> None:
    step = (
        "  - {{key: {0}, names: {{es: a, en: b, fr: c}}, need: HOU, role: shelter, legal_basis:"
        " [coe_12], {1}}}\n"
    )
    head = "id: moved\nversion: {0}\nnames: {{es: a, en: b, fr: c}}\nsteps:\n"
    without_legs = ("documents: []", "documents: []", "documents: []")
    with_legs = ("leg: departure", "leg: arrival, after: [a]", "leg: arrival, after: [a]")
    first_version, second_version = (
        head.format(version) + "".join(map(step.format, "abc", attributes))
        for version, attributes in enumerate((without_legs, with_legs), 1)
    )
    story.coordinator.PublishPathway(text=first_version)
    plan = begin_plan(story, "moved")
    story.coordinator.PublishPathway(text=second_version)
    receipt = story.receipt(plan.person_id)
    for key in "bc":
        sent = story.ngo.SendReferral(send_request(story.draft(person(plan)), receipt.id))
        plan = update(story.ngo, plan, key, REFERRED, referral_id=sent.id)
    move = partial(story.ngo.MovePlan, id=plan.id, etag=plan.etag, version=2)
    assert refusal(move) == SAME_RECEIPT
    assert current_plan(story, plan) == plan


def test_owner_and_coordinators_see_all_legs_and_a_receiver_sees_its_own_leg_and_neighbours(
    hand_over: HandOver,
) -> None:
    hand_over.accept("housing")
    legs = {leg.key: leg for leg in current_plan(hand_over.story, hand_over.plan).legs}
    assert [
        (leg.country, leg.organization_id, leg.state, leg.acting_organization_id, leg.referral_id)
        for leg in legs.values()
    ] == [
        ("GT", ORG["mission"], r.STATE_SENT, ORG["mission"], hand_over.legs["travel"].id),
        ("NI", ORG["border"], r.STATE_SENT, ORG["border"], hand_over.legs["reception"].id),
        ("NI", ORG["shelter"], r.STATE_ACCEPTED, "", hand_over.legs["housing"].id),
    ]
    for client in (hand_over.story.ngo, hand_over.story.coordinator):
        assert hand_over.visible_legs("travel", client) == legs
    assert read(hand_over.story.coordinator, hand_over.legs["travel"].id).person_id == ""
    legs_by_receiver = {key: hand_over.visible_legs(key) for key in LEGS}
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
    assert not hand_over.client("travel").ListReferrals().referrals[0].legs, (
        "a list contains no legs"
    )


def test_only_the_sender_sees_the_receiver_of_a_draft_leg(story: Story) -> None:
    hand_over = prepare_hand_over(story)
    hand_over.send("travel")
    hand_over.draft("reception")
    for client in (None, story.coordinator):
        assert_nobody_is_asked(hand_over.visible_legs("travel", client)["reception"])
    assert hand_over.visible_legs("travel", story.ngo)["reception"].organization_id == ORG["border"]


def assert_nobody_is_asked(leg: r.Leg) -> None:
    """Checks that a leg names no receiver, and that the sender acts next."""
    assert leg == r.Leg(
        key=leg.key,
        names=leg.names,
        need_code=leg.need_code,
        kind=leg.kind,
        acting_organization_id=ORG["ngo"],
    )


def test_a_receiver_that_declined_disappears_from_the_chain_and_no_longer_sees_it(
    hand_over: HandOver,
) -> None:
    hand_over.decline("reception")
    assert hand_over.visible_legs("reception") == {}
    assert_nobody_is_asked(hand_over.visible_legs("travel")["reception"])


def test_a_referral_based_on_a_declined_leg_takes_its_place_in_the_chain(
    hand_over: HandOver,
) -> None:
    hand_over.accept("travel", "reception")
    declined_referral = hand_over.decline("housing")
    draft = hand_over.story.draft(
        person(hand_over.plan),
        need_code=declined_referral.need_code,
        based_on_id=declined_referral.id,
    )
    hand_over.legs["housing"] = hand_over.story.ngo.SendReferral(
        send_request(draft, hand_over.receipt("housing"))
    )
    hand_over.accept("housing")
    assert set(hand_over.visible_legs("housing")) == {"reception", "housing"}
    assert hand_over.start("travel").state == r.STATE_IN_PROGRESS


def test_a_caller_who_may_not_open_the_persons_data_does_not_see_where_she_goes(
    hand_over: HandOver, service: Service
) -> None:
    key_with_right = service.as_("mission", scopes=("referrals.read", "people.open"))
    for client in (None, key_with_right):
        assert len(hand_over.visible_legs("travel", client)) == 2
    for client in (
        service.as_("mission", "MANAGER"),
        service.as_("mission", scopes=("referrals.read",)),
        service.as_("coalition", "AUDITOR"),
    ):
        assert hand_over.visible_legs("travel", client) == {}
    with service.member_with_status("mission", "PROBATION"):
        assert hand_over.visible_legs("travel") == {}
    assert len(hand_over.visible_legs("travel")) == 2
    service.clock.set(NOON + timedelta(days=91))
    assert hand_over.visible_legs("travel") == {}, "the consent has ended"


def test_other_organisations_cannot_find_the_chain(hand_over: HandOver, service: Service) -> None:
    travel_id, receiver = hand_over.legs["travel"].id, hand_over.client("travel")
    for attempt in (
        partial(read, service.as_("clinic", "WORKER"), travel_id),
        partial(read, hand_over.client("housing"), travel_id),
        partial(receiver.GetPlan, id=hand_over.plan.id),
    ):
        assert refusal(attempt) == NOT_FOUND


def not_deliver(hand_over: HandOver) -> None:
    hand_over.take_step(
        "housing", "NotDeliverReferral", reason_code=r.NOT_DELIVERED_REASON_CAPACITY_LOST
    )


def withdraw(hand_over: HandOver) -> None:
    reason = r.WITHDRAW_REASON_SAFETY_CHANGED
    hand_over.take_step("housing", "WithdrawReferral", hand_over.story.ngo, reason_code=reason)


def withdraw_consent(hand_over: HandOver) -> None:
    hand_over.client("housing").WithdrawReceipt(id=hand_over.legs["housing"].receipt_id)


def expire(hand_over: HandOver) -> None:
    """Sends a new referral for the leg, and lets its deadlines pass without an answer."""
    not_deliver(hand_over)
    hand_over.send("housing")
    service = hand_over.story.service
    service.clock.advance(timedelta(days=2))
    with service.database.transaction(SYSTEM) as tx:
        while service.made.referral_changes.fire_deadlines(tx, service.clock.now(), 50):
            pass


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("end_leg", [not_deliver, withdraw, withdraw_consent, expire])
def test_a_leg_that_ends_during_the_travel_is_reported_to_sender_and_coordinators(
    end_leg: Callable[[HandOver], None], departed_hand_over: HandOver
) -> None:
    end_leg(departed_hand_over)
    for client in (departed_hand_over.story.ngo, departed_hand_over.story.coordinator):
        assert departed_hand_over.verbs("housing", client)[-1] == "leg_lost"
    assert "leg_lost" not in departed_hand_over.verbs(
        "housing", departed_hand_over.client("housing")
    )
    facts = departed_hand_over.story.service.fact_types(departed_hand_over.legs["housing"].id)
    assert facts.count("enlace.referral.leg_lost.v1") == 1
    assert departed_hand_over.step_states()["housing"] == OPEN
    assert (
        departed_hand_over.visible_legs("reception")["housing"].acting_organization_id == ORG["ngo"]
    )
    # Once a new referral is accepted, there is nothing to report.
    departed_hand_over.send("housing")
    departed_hand_over.accept("housing")
    assert departed_hand_over.visible_legs("reception")["housing"].state == r.STATE_ACCEPTED


def test_a_leg_that_ends_before_the_departure_or_after_the_arrival_is_not_reported(
    hand_over: HandOver,
) -> None:
    hand_over.accept(*LEGS)
    not_deliver(hand_over)
    assert "leg_lost" not in hand_over.verbs("housing")
    hand_over.send("housing")
    hand_over.accept("housing")
    for key in LEGS:
        hand_over.start(key)
    not_deliver(hand_over)
    assert "leg_lost" not in hand_over.verbs("housing")


def test_withdrawing_all_consents_reports_one_lost_leg_and_ends_the_plan(
    departed_hand_over: HandOver,
) -> None:
    hand_over = departed_hand_over
    hand_over.story.ngo.WithdrawAllReceipts(id=hand_over.plan.person_id)
    assert [departed_hand_over.verbs(key).count("leg_lost") for key in LEGS] == [1, 0, 0]
    plan = current_plan(departed_hand_over.story, departed_hand_over.plan)
    assert plan.close_reason_code == pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN


def test_a_repeated_start_gets_the_first_answer_even_if_a_leg_has_ended_meanwhile(
    hand_over: HandOver,
) -> None:
    hand_over.accept(*LEGS)
    start = partial(
        hand_over.client("travel").StartReferral,
        id=hand_over.legs["travel"].id,
        etag=hand_over.legs["travel"].etag,
        first_contact_time=NOON,
        request_id=hand_over.story.request_id(),
    )
    first_answer = start()
    not_deliver(hand_over)
    assert start() == first_answer
    assert hand_over.verbs("housing").count("leg_lost") == 1


def test_a_receiver_that_accepted_early_is_not_late_before_the_expected_arrival(
    hand_over: HandOver,
) -> None:
    hand_over.accept("housing")
    referral = read(hand_over.story.ngo, hand_over.legs["housing"].id)
    [deadline] = [clock for clock in referral.clocks if clock.kind == r.CLOCK_KIND_FIRST_CONTACT]
    arrival_time = referral.planned_first_contact_time
    assert deadline.start_time == arrival_time
    assert deadline.due_time.ToDatetime() == arrival_time.ToDatetime() + timedelta(hours=24)
    assert hand_over.legs["housing"].next_due_time == deadline.due_time, (
        "the list shows the same time"
    )
    # A referral that was accepted before it became a leg waits too, and linking it again changes
    # nothing.
    hand_over.legs["housing"] = hand_over.story.sent(person=person(hand_over.plan))
    hand_over.accept("housing")
    linked_referral = hand_over.legs["housing"]
    assert linked_referral.next_due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=24)
    hand_over.story.service.clock.advance(timedelta(minutes=1))
    for _ in range(2):
        hand_over.link("housing", linked_referral)
        postponed = read(hand_over.story.ngo, linked_referral.id)
        assert postponed.next_due_time == deadline.due_time
        assert postponed.update_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(minutes=1)

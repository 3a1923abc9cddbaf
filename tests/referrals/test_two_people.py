"""Each rule of two: an account that may belong to the first person cannot agree as the second."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.second import NONE, UNKNOWN, Kin, mark_of
from chassis.tokens import SYSTEM
from chassis.wire import etag
from protos.referrals.v1 import audit_pb2, emergencies_pb2, people_pb2, plans_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.store import members
from services.referrals.people.domain.anomaly import Anomaly, AnomalyKind
from services.referrals.people.store import anomalies
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, Client, Service, Story, send_request
from tests.referrals.test_emergencies import declare, referral_with_expired_consent
from tests.referrals.test_openings import somebody
from tests.referrals.test_plans_rpc import begin_plan

NOT_INDEPENDENT = ("FAILED_PRECONDITION", "not_independent")
Rule = tuple[Client, Client, Callable[[Client], object]]
"""The first person, the possible second person, and the act to which the second agrees."""


def erasure_rule(story: Story, service: Service) -> Rule:
    person_id = story.person().id
    story.ngo.ProposeErasure(person_id=person_id)
    second = somebody(service, "ngo", "MANAGER")
    return story.ngo, second, lambda by: by.ConfirmErasure(person_id=person_id)


def best_interest_rule(story: Story, service: Service) -> Rule:
    receipt = story.receipt(story.child().id, giver="best_interest", assent_code="given")
    second = somebody(service, "ngo", "MANAGER")
    return story.ngo, second, lambda by: by.ConfirmReceipt(id=receipt.id)


def override_rule(story: Story, service: Service) -> Rule:
    sent = story.overridden()
    second = somebody(service, "ngo", "MANAGER")
    return story.rescuer, second, lambda by: by.ConfirmOverride(id=sent.id, etag=sent.etag)


def emergency_rule(story: Story, service: Service) -> Rule:
    nurse = somebody(service, "shelter")
    emergency = declare(nurse, referral_with_expired_consent(story, service))
    stored = story.ngo.GetEmergency(id=emergency.id)
    request = emergencies_pb2.ReviewEmergencyRequest(
        id=stored.id, etag=stored.etag, review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED
    )
    return nurse, somebody(service, "ngo"), lambda by: by.ReviewEmergency(request)


def plan_rule(story: Story, service: Service) -> Rule:
    girl = story.ngo.CreatePerson(coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17))
    plan = begin_plan(story, "child", girl)
    request = plans_pb2.ClosePlanRequest(
        id=plan.id, etag=plan.etag, reason_code=plans_pb2.PLAN_CLOSE_REASON_FULFILLED
    )
    request.etag = story.ngo.ClosePlan(request).etag
    return story.ngo, somebody(service, "ngo"), lambda by: by.ClosePlan(request)


def anomaly_rule(story: Story, service: Service) -> Rule:
    worker = somebody(service)
    anomaly = Anomaly(
        new_id(),
        AnomalyKind.AT_NIGHT,
        worker.caller.id,
        ORG["ngo"],
        NOON.date(),
        3,
        service.clock.now(),
    )
    with service.database.transaction(SYSTEM) as tx:
        anomalies.save(tx, anomaly)
    request = audit_pb2.ReviewAnomalyRequest(
        id=anomaly.id, etag=etag(anomaly.version), review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED
    )
    auditor = service.as_("coalition", "AUDITOR")
    return worker, auditor, lambda by: by.ReviewAnomaly(request)


RULES = [erasure_rule, best_interest_rule, override_rule, emergency_rule, plan_rule, anomaly_rule]


def with_kin(client: Client, kin: Kin) -> Client:
    return replace(client, caller=replace(client.caller, kin=kin))


@pytest.mark.parametrize("rule", RULES)
def test_an_account_that_may_be_the_first_persons_own_cannot_act_as_the_second_person(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    first, second, agree = rule(story, service)
    kin_of_first = Kin(frozenset({mark_of(first.caller.id), mark_of("e" * 32)}), "")
    for kin in (kin_of_first, UNKNOWN, Kin(alone="second_factor"), Kin(alone="too_many")):
        account = with_kin(second, kin)
        assert refusal(lambda: agree(account)) == NOT_INDEPENDENT  # noqa: B023
    agree(with_kin(second, Kin(frozenset({mark_of("e" * 32)}), "")))


@pytest.mark.parametrize("rule", RULES)
def test_a_token_older_than_the_first_persons_act_cannot_confirm_it(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    _, second, agree = rule(story, service)
    service.clock.advance(timedelta(seconds=-1))
    old_token = OldToken(
        second.caller,
        second.stubs,
        second.issuer,
        second.gateway,
        second.issuer.issue(second.caller, "enlace.referrals")[0],
    )
    service.clock.advance(timedelta(seconds=1))
    assert refusal(lambda: agree(old_token)) == ("UNAUTHENTICATED", "token_expired")
    agree(second)


@pytest.mark.parametrize("rule", [erasure_rule, best_interest_rule, plan_rule])
def test_a_proposal_of_a_worker_whose_account_is_suspended_needs_two_others(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    """No proposal can be confirmed; to end a child's plan, the second worker proposes it anew."""
    former_workers_story = replace(story, ngo=somebody(service, "ngo", "OPERATOR"))
    first, second, agree = rule(former_workers_story, service)

    def waiting() -> list[bool]:
        """Returns whether each proposal of the first worker states a time to confirm it."""
        proposals: list[tuple[str, Any]] = [
            *((item.proposed_by_worker_id, item) for item in second.ListErasures().erasures),
            *(
                (item.recorded_by_worker_id, item)
                for item in second.ListProposedReceipts().receipts
            ),
        ]
        return [
            item.HasField("confirm_until_time")
            for worker_id, item in proposals
            if worker_id == first.caller.id
        ]

    assert waiting() == ([] if rule is plan_rule else [True])
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "worker", first.caller.id, False, organization_id=ORG["ngo"])
    assert not waiting()
    if rule is plan_rule:
        plan: Any = agree(second)
        assert not plan.HasField("close_time")
        assert plan.close_proposed_by_worker_id == second.caller.id
    else:
        assert refusal(lambda: agree(second)) == ("FAILED_PRECONDITION", "nothing_to_confirm")


@dataclass
class OldToken(Client):
    """A client whose token was issued some time ago."""

    token: str = ""

    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}")]


def test_a_new_danger_after_a_withdrawal_is_not_accepted_from_another_account_of_the_sender(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    story.ngo.WithdrawReceipt(id=sent.receipt_id)
    other_account = with_kin(story.rescuer, Kin(frozenset({mark_of(story.ngo.caller.id)}), ""))
    request = send_request(
        story.draft(people_pb2.Person(id=sent.person_id)),
        override_reason_code=pb.OVERRIDE_REASON_DANGER_AFTER_WITHDRAWAL,
        note="he found her",
    )
    assert refusal(lambda: other_account.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "override_after_withdrawal",
    )
    assert with_kin(story.rescuer, NONE).SendReferral(request).state == pb.STATE_SENT


def test_an_auditor_reviews_no_unusual_accesses_of_her_own(story: Story, service: Service) -> None:
    worker, _, review = anomaly_rule(story, service)
    auditor = replace(worker, caller=replace(worker.caller, roles=frozenset({"WORKER", "AUDITOR"})))
    assert refusal(lambda: review(auditor)) == ("FAILED_PRECONDITION", "second_person_required")

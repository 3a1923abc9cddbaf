"""Each rule of two: an account that may belong to the first person cannot agree as the second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.second import NONE, UNKNOWN, Kin, mark_of
from chassis.tokens import SYSTEM
from protos.referrals.v1 import audit_pb2, emergencies_pb2, erasures_pb2, people_pb2, plans_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.store import members
from tests.builders import refusal
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_emergencies import declare, expired
from tests.referrals.test_openings import somebody
from tests.referrals.test_plans_rpc import begun

NOT_INDEPENDENT = ("FAILED_PRECONDITION", "not_independent")
Rule = tuple[Client, Client, Callable[[Client], object]]
"""The first person, the possible second person, and the act to which the second agrees."""


def of_erasure(story: Story, service: Service) -> Rule:
    person = story.person()
    story.ngo.ProposeErasure(
        erasures_pb2.ProposeErasureRequest(person_id=person.id, request_id=story.request_id())
    )
    request = erasures_pb2.ConfirmErasureRequest(person_id=person.id)
    return story.ngo, somebody(service, "ngo", "MANAGER"), lambda by: by.ConfirmErasure(request)


def of_best_interest(story: Story, service: Service) -> Rule:
    decided = story.receipt(story.child().id, giver="best_interest", assent_code="given")
    request = people_pb2.ConfirmReceiptRequest(id=decided.id)
    return story.ngo, somebody(service, "ngo", "MANAGER"), lambda by: by.ConfirmReceipt(request)


def of_override(story: Story, service: Service) -> Rule:
    sent = story.overridden()
    request = pb.ConfirmOverrideRequest(id=sent.id, etag=sent.etag)
    return (
        story.rescuer,
        somebody(service, "ngo", "MANAGER"),
        lambda by: by.ConfirmOverride(request),
    )


def of_emergency(story: Story, service: Service) -> Rule:
    nurse = somebody(service, "shelter")
    emergency = declare(nurse, expired(story, service))
    stored = story.ngo.GetEmergency(emergencies_pb2.GetEmergencyRequest(id=emergency.id))
    request = emergencies_pb2.ReviewEmergencyRequest(
        id=stored.id, etag=stored.etag, review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED
    )
    return nurse, somebody(service, "ngo"), lambda by: by.ReviewEmergency(request)


def of_plan(story: Story, service: Service) -> Rule:
    girl = people_pb2.CreatePersonRequest(
        coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17), request_id=story.request_id()
    )
    plan = begun(story, "child", story.ngo.CreatePerson(girl))
    fields: dict[str, Any] = {"id": plan.id, "reason_code": plans_pb2.PLAN_CLOSE_REASON_FULFILLED}
    closed = story.ngo.ClosePlan(plans_pb2.ClosePlanRequest(etag=plan.etag, **fields))
    request = plans_pb2.ClosePlanRequest(etag=closed.etag, **fields)
    return story.ngo, somebody(service, "ngo"), lambda by: by.ClosePlan(request)


RULES = [of_erasure, of_best_interest, of_override, of_emergency, of_plan]


def with_kin(client: Client, kin: Kin) -> Client:
    return replace(client, caller=replace(client.caller, kin=kin))


@pytest.mark.parametrize("rule", RULES)
def test_a3_an_account_that_may_be_the_first_persons_own_cannot_act_as_the_second_person(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    first, second, agree = rule(story, service)
    of_hers = Kin(frozenset({mark_of(first.caller.id), mark_of("e" * 32)}), "")
    for kin in (of_hers, UNKNOWN, Kin(alone="second_factor"), Kin(alone="too_many")):
        again = with_kin(second, kin)
        assert refusal(lambda: agree(again)) == NOT_INDEPENDENT  # noqa: B023
    agree(with_kin(second, Kin(frozenset({mark_of("e" * 32)}), "")))


@pytest.mark.parametrize("rule", RULES)
def test_a_token_older_than_the_first_persons_act_cannot_confirm_it(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    _, second, agree = rule(story, service)
    service.clock.advance(timedelta(seconds=-1))
    before = OldToken(
        second.caller,
        second.stubs,
        second.issuer,
        second.gateway,
        second.issuer.issue(second.caller, "enlace.referrals")[0],
    )
    service.clock.advance(timedelta(seconds=1))
    assert refusal(lambda: agree(before)) == ("UNAUTHENTICATED", "token_expired")
    agree(second)


@pytest.mark.parametrize("rule", [of_erasure, of_best_interest, of_plan])
def test_a_proposal_of_a_worker_whose_account_is_suspended_needs_two_others(
    rule: Callable[[Story, Service], Rule], story: Story, service: Service
) -> None:
    """Nothing but the end of a child's plan can be confirmed; that is proposed again."""
    former = replace(story, ngo=somebody(service, "ngo", "OPERATOR"))
    first, second, agree = rule(former, service)

    def waiting() -> list[bool]:
        erasures = second.ListErasures(erasures_pb2.ListErasuresRequest()).erasures
        receipts = second.ListProposedReceipts(people_pb2.ListProposedReceiptsRequest()).receipts
        of_first = [
            erasure for erasure in erasures if erasure.proposed_by_worker_id == first.caller.id
        ]
        of_first += [
            receipt for receipt in receipts if receipt.recorded_by_worker_id == first.caller.id
        ]
        return [each.HasField("confirm_until_time") for each in of_first]

    assert waiting() == ([] if rule is of_plan else [True])
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "worker", first.caller.id, False, organization_id=ORG["ngo"])
    assert not waiting()
    if rule is of_plan:
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


def test_a_new_danger_after_a_withdrawal_is_not_accepted_from_the_former_senders_account(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    again = with_kin(story.rescuer, Kin(frozenset({mark_of(story.ngo.caller.id)}), ""))
    draft = story.draft(person)
    request = pb.SendReferralRequest(
        id=draft.id,
        etag=draft.etag,
        override_reason_code=pb.OVERRIDE_REASON_DANGER_AFTER_WITHDRAWAL,
        note="he found her",
    )
    assert refusal(lambda: again.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "override_after_withdrawal",
    )
    assert with_kin(story.rescuer, NONE).SendReferral(request).state == pb.STATE_SENT

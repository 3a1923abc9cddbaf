"""One person who cheats with several accounts.

She achieves only what one person may do, against every rule of two in the referrals service.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import grpc
import pytest

from chassis.second import Kin, mark_of
from protos.referrals.v1 import audit_pb2, plans_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.referrals.conftest import Client, Service, Story, read
from tests.referrals.test_emergencies import declare, referral_with_expired_consent
from tests.referrals.test_openings import somebody
from tests.referrals.test_plans_rpc import begin_plan

STEP_COUNT = 40
ROLES = [
    ("WORKER", "MANAGER", "EMERGENCY"),
    ("WORKER", "MANAGER"),
    ("MANAGER",),
    ("WORKER", "EMERGENCY"),
]


@dataclass
class Cheat:
    """A person's accounts, and the acts that wait for a second person.

    `successes` counts, by name, the acts that were not refused.
    """

    story: Story
    random: Random
    accounts: list[Client]
    override: pb.Referral
    decision: str
    person_id: str
    plan: plans_pb2.Plan
    emergency: str
    successes: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """Tries an act with one of her accounts."""
        acts: list[Callable[[Client], Any]] = [
            self.propose_erasure,
            self.confirm_erasure,
            self.confirm_decision,
            self.confirm_override,
            self.close_plan,
            self.review,
        ]
        act = self.random.choice(acts)
        try:
            act(self.random.choice(self.accounts))
        except grpc.RpcError:
            return
        self.successes[act.__name__] += 1

    def propose_erasure(self, by: Client) -> None:
        by.ProposeErasure(person_id=self.person_id, request_id=self.story.request_id())

    def confirm_erasure(self, by: Client) -> None:
        by.ConfirmErasure(person_id=self.person_id)

    def confirm_decision(self, by: Client) -> None:
        by.ConfirmReceipt(id=self.decision)

    def confirm_override(self, by: Client) -> None:
        by.ConfirmOverride(id=self.override.id, etag=read(by, self.override.id).etag)

    def close_plan(self, by: Client) -> None:
        by.ClosePlan(
            id=self.plan.id,
            etag=by.GetPlan(id=self.plan.id).etag,
            reason_code=plans_pb2.PLAN_CLOSE_REASON_FULFILLED,
        )

    def review(self, by: Client) -> None:
        by.ReviewEmergency(
            id=self.emergency,
            etag=by.GetEmergency(id=self.emergency).etag,
            review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED,
        )


def account(service: Service, organization: str, *roles: str) -> Client:
    created = somebody(service, organization)
    return replace(created, caller=replace(created.caller, roles=frozenset(roles)))


@pytest.mark.parametrize("seed", range(6))
def test_one_person_with_several_accounts_never_counts_as_two_in_referrals(
    seed: int, story: Story, service: Service
) -> None:
    expired_referral = referral_with_expired_consent(story, service)
    own_accounts = [
        account(service, "shelter", "WORKER"),
        *(account(service, "ngo", *roles) for roles in ROLES),
    ]
    marks = frozenset(mark_of(client.caller.id) for client in own_accounts)
    nurse, *accounts = [
        replace(
            client,
            caller=replace(client.caller, kin=Kin(marks - {mark_of(client.caller.id)}, "")),
        )
        for client in own_accounts
    ]
    her_story = replace(story, ngo=accounts[0])
    girl = accounts[0].CreatePerson(coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17))
    cheat = Cheat(
        story,
        Random(seed),
        accounts,
        override=her_story.overridden(by=accounts[0]),
        decision=her_story.receipt(
            her_story.child().id, giver="best_interest", assent_code="given"
        ).id,
        person_id=her_story.person().id,
        plan=begin_plan(her_story, "child", girl),
        emergency=declare(nurse, expired_referral).id,
    )
    for _ in range(STEP_COUNT):
        cheat.step()
    [row] = service.rows(
        "SELECT (SELECT erased FROM people WHERE id = %s),"
        " (SELECT close_time FROM plans WHERE id = %s),"
        " (SELECT review_time FROM emergencies WHERE id = %s),"
        " (SELECT count(*) FROM receipts WHERE id = ANY(%s) AND confirm_time IS NULL)",
        cheat.person_id,
        cheat.plan.id,
        cheat.emergency,
        [cheat.decision, cheat.override.receipt_id],
    )
    assert row == {"erased": False, "close_time": None, "review_time": None, "count": 2}
    assert (
        not {"confirm_erasure", "confirm_decision", "confirm_override", "review"}
        & cheat.successes.keys()
    )
    assert {"propose_erasure", "close_plan"} & cheat.successes.keys()

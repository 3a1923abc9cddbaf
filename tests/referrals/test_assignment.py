"""The worker who is responsible for a referral at its receiver.

A worker is assigned and replaced. When she leaves, her desk becomes responsible.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import subscriptions
from tests.builders import NOON, refusal, wrong_fields
from tests.referrals.conftest import Client, Service, Story, history, read
from tests.referrals.test_subscriptions import PartnersFacts


@pytest.fixture
def partners_facts(service: Service) -> PartnersFacts:
    return PartnersFacts(service)


@pytest.fixture
def colleague(service: Service, partners_facts: PartnersFacts) -> Iterator[Client]:
    """Yields another active worker of the shelter; she is active again after the test."""
    worker = service.as_("shelter", "WORKER", "OPERATOR")
    partners_facts.worker(worker, "ACTIVE")
    yield worker
    partners_facts.worker(worker, "ACTIVE")


def assign_request(referral: pb.Referral, worker: str) -> pb.AssignReferralRequest:
    return pb.AssignReferralRequest(
        id=referral.id, etag=referral.etag, responsible_worker_id=worker
    )


def test_a_referral_is_assigned_to_another_worker_and_back_to_the_desk(
    story: Story, colleague: Client
) -> None:
    accepted = story.accepted()
    referral = story.shelter.AssignReferral(assign_request(accepted, colleague.caller.id))
    assert (referral.responsible_worker_id, referral.responsible_desk_code, referral.state) == (
        colleague.caller.id,
        "",
        accepted.state,
    )
    assert referral.clocks == accepted.clocks, "an assignment changes no deadline"
    referral = colleague.AssignReferral(assign_request(referral, ""))
    assert (referral.responsible_worker_id, referral.responsible_desk_code) == ("", "desk")
    verbs = [event.verb for event in history(story.ngo, accepted.id)]
    assert verbs[-2:] == ["assigned", "assigned"]


def test_only_an_active_worker_of_the_receiver_can_be_made_responsible(
    story: Story, service: Service, partners_facts: PartnersFacts
) -> None:
    clinic_worker = service.as_("clinic", "WORKER")
    suspended_worker = service.as_("shelter", "WORKER", "MANAGER")
    partners_facts.worker(clinic_worker, "ACTIVE")
    partners_facts.worker(suspended_worker, "SUSPENDED")
    accepted, sent = story.accepted(), story.sent()
    for worker_id in (clinic_worker.caller.id, suspended_worker.caller.id, "e" * 32):
        for attempt in (
            partial(story.shelter.AssignReferral, assign_request(accepted, worker_id)),
            partial(
                story.shelter.AcceptReferral,
                id=sent.id,
                etag=sent.etag,
                planned_first_contact_time=service.clock.now(),
                responsible_worker_id=worker_id,
            ),
        ):
            assert wrong_fields(attempt) == [("responsible_worker_id", "unknown_code")]
    assert read(story.shelter, accepted.id) == accepted
    assert refusal(lambda: story.ngo.AssignReferral(assign_request(accepted, ""))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    partners_facts.worker(suspended_worker, "ACTIVE")


def test_the_referrals_of_a_worker_who_left_return_to_her_desk_with_a_fact(
    story: Story, colleague: Client, partners_facts: PartnersFacts
) -> None:
    live, ended = (
        story.shelter.AssignReferral(assign_request(story.accepted(), colleague.caller.id))
        for _ in range(2)
    )
    story.shelter.NotDeliverReferral(
        id=ended.id, etag=ended.etag, reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST
    )
    partners_facts.worker(colleague, "SUSPENDED")
    partners_facts.worker(colleague, "SUSPENDED")  # the fact arrives twice
    current = read(story.shelter, live.id)
    assert (current.responsible_worker_id, current.responsible_desk_code) == ("", "desk")
    assert read(story.shelter, ended.id).responsible_worker_id == colleague.caller.id, (
        "an ended referral is unchanged"
    )
    last_event = history(story.shelter, live.id)[-1]
    assert (last_event.verb, last_event.actor_kind) == ("assigned", pb.ACTOR_KIND_SYSTEM)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("a colleague", ("INVALID_ARGUMENT", "invalid_fields")),
        ("herself", ("PERMISSION_DENIED", "organization_not_active")),
    ],
)
def test_nobody_is_made_responsible_while_her_account_ends(
    story: Story, service: Service, colleague: Client, by: str, expected: tuple[str, str]
) -> None:
    """Otherwise the desk would not be notified of the referral's events."""
    accepted = story.accepted()
    caller = story.shelter if by == "a colleague" else colleague
    body = facts_pb2.WorkerFact(
        worker_id=colleague.caller.id,
        organization_id=colleague.caller.organization_id,
        status_code="SUSPENDED",
    )
    fact = Fact("subject", 1, "enlace.worker.suspended.v1", body.SerializeToString(), NOON)
    with ThreadPoolExecutor(1) as pool:
        with service.database.transaction(SYSTEM) as tx:
            subscriptions.consume(service.made.referral_changes, service.clock, tx, fact)
            future = pool.submit(
                refusal,
                lambda: caller.AssignReferral(assign_request(accepted, colleague.caller.id)),
            )
            while not (future.done() or service.rows("SELECT 1 FROM pg_locks WHERE NOT granted")):
                pass
        assert future.result() == expected
    assert read(story.shelter, accepted.id).responsible_worker_id != colleague.caller.id


def test_very_many_referrals_of_a_worker_who_left_return_to_her_desk_in_several_parts(
    story: Story, service: Service, colleague: Client, partners_facts: PartnersFacts
) -> None:
    referral = story.shelter.AssignReferral(assign_request(story.accepted(), colleague.caller.id))
    with service.database.transaction(SYSTEM) as tx:
        copies = tx.execute(
            "INSERT INTO referrals SELECT (jsonb_populate_record(r, jsonb_build_object('id',"
            " md5(n::text)))).*"
            " FROM referrals r, generate_series(1, 1499) AS n WHERE id = %s",
            (referral.id,),
        )
    assert copies.rowcount == 1499
    assert partners_facts.worker(colleague, "SUSPENDED") > 10
    in_copies = "IN (SELECT md5(n::text) FROM generate_series(1, 1499) AS n)"
    assert not service.rows(
        f"SELECT 1 FROM referrals WHERE responsible_worker_id <> '' AND id {in_copies}"
    )
    facts = service.rows(
        f"SELECT 1 FROM outbox WHERE type = 'enlace.referral.assigned.v1' AND subject {in_copies}"
    )
    assert len(facts) == 1499

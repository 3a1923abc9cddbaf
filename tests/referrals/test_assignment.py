"""The worker who is responsible for a referral at its receiver.

A worker is assigned and replaced. When she leaves, her desk becomes responsible.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import subscriptions
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import Client, Service, Story, read
from tests.referrals.test_subscriptions import Hearing


@pytest.fixture
def hear(service: Service) -> Hearing:
    return Hearing(service)


@pytest.fixture
def night(service: Service, hear: Hearing) -> Client:
    """Returns another active worker of the shelter."""
    other = service.as_("shelter", "WORKER", "OPERATOR")
    hear.worker(other, "ACTIVE")
    return other


def assign_request(referral: pb.Referral, worker: str) -> pb.AssignReferralRequest:
    return pb.AssignReferralRequest(
        id=referral.id, etag=referral.etag, responsible_worker_id=worker
    )


def test_a_referral_is_assigned_to_another_worker_and_back_to_the_desk(
    story: Story, night: Client
) -> None:
    accepted = story.accepted()
    assigned = story.shelter.AssignReferral(assign_request(accepted, night.caller.id))
    assert (assigned.responsible_worker_id, assigned.responsible_desk_code, assigned.state) == (
        night.caller.id,
        "",
        accepted.state,
    )
    assert assigned.clocks == accepted.clocks, "an assignment changes no deadline"
    desk = night.AssignReferral(assign_request(assigned, ""))
    assert (desk.responsible_worker_id, desk.responsible_desk_code) == ("", "desk")
    events = story.ngo.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=accepted.id)
    ).events
    assert [event.verb for event in events][-2:] == ["assigned", "assigned"]


def test_only_an_active_worker_of_the_receiver_can_be_made_responsible(
    story: Story, service: Service, hear: Hearing
) -> None:
    elsewhere, gone = service.as_("clinic", "WORKER"), service.as_("shelter", "WORKER", "MANAGER")
    hear.worker(elsewhere, "ACTIVE")
    hear.worker(gone, "SUSPENDED")
    accepted, sent = story.accepted(), story.sent()
    accepting = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    accepting.planned_first_contact_time.FromDatetime(service.clock.now())
    for nobody in (elsewhere.caller.id, gone.caller.id, "e" * 32):
        accepting.responsible_worker_id = nobody
        asked: tuple[tuple[str, Any], ...] = (
            ("AssignReferral", assign_request(accepted, nobody)),
            ("AcceptReferral", accepting),
        )
        for rpc, request in asked:
            refused = refusal_with_fields(
                lambda rpc=rpc, request=request: getattr(story.shelter, rpc)(request)  # type: ignore[misc]
            )
            assert refused == (
                "INVALID_ARGUMENT",
                "invalid_fields",
                {"responsible_worker_id": "unknown_code"},
            )
    assert read(story.shelter, accepted.id) == accepted
    assert refusal(lambda: story.ngo.AssignReferral(assign_request(accepted, ""))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    hear.worker(gone, "ACTIVE")


def test_the_referrals_of_a_worker_who_left_return_to_her_desk_with_a_fact(
    story: Story, service: Service, night: Client, hear: Hearing
) -> None:
    open_, over = (
        story.shelter.AssignReferral(assign_request(story.accepted(), night.caller.id))
        for _ in range(2)
    )
    ended = pb.NotDeliverReferralRequest(
        id=over.id, etag=over.etag, reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST
    )
    story.shelter.NotDeliverReferral(ended)
    hear.worker(night, "SUSPENDED")
    hear.worker(night, "SUSPENDED")  # the fact arrives twice
    assert (
        read(story.shelter, open_.id).responsible_worker_id,
        read(story.shelter, open_.id).responsible_desk_code,
    ) == ("", "desk")
    assert read(story.shelter, over.id).responsible_worker_id == night.caller.id, (
        "an ended referral is unchanged"
    )
    last = story.shelter.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=open_.id)
    ).events[-1]
    assert (last.verb, last.actor_kind) == ("assigned", pb.ACTOR_KIND_SYSTEM)
    hear.worker(night, "ACTIVE")


@pytest.mark.parametrize("by", ["a colleague", "herself"])
def test_nobody_is_made_responsible_while_her_account_ends(
    story: Story, service: Service, night: Client, hear: Hearing, by: str
) -> None:
    """The desk would not be notified of what happens to the referral."""
    accepted = story.accepted()
    caller = story.shelter if by == "a colleague" else night
    body = facts_pb2.WorkerFact(
        worker_id=night.caller.id,
        organization_id=night.caller.organization_id,
        status_code="SUSPENDED",
    )
    fact = Fact("subject", 1, "enlace.worker.suspended.v1", body.SerializeToString(), NOON)

    def waits_or_is_done() -> bool:
        with service.database.transaction(SYSTEM) as look:
            return future.done() or bool(
                look.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone()
            )

    with ThreadPoolExecutor(1) as pool:
        with service.database.transaction(SYSTEM) as tx:
            subscriptions.consume(service.made.lives, service.clock, tx, fact)
            future = pool.submit(
                refusal, lambda: caller.AssignReferral(assign_request(accepted, night.caller.id))
            )
            while not waits_or_is_done():
                pass
        assert (
            future.result()
            == {
                "a colleague": ("INVALID_ARGUMENT", "invalid_fields"),
                "herself": ("PERMISSION_DENIED", "organization_not_active"),
            }[by]
        )
    assert read(story.shelter, accepted.id).responsible_worker_id != night.caller.id
    hear.worker(night, "ACTIVE")


def test_very_many_referrals_of_a_worker_who_left_return_to_her_desk_in_several_parts(
    story: Story, service: Service, night: Client, hear: Hearing
) -> None:
    assigned = story.shelter.AssignReferral(assign_request(story.accepted(), night.caller.id))
    with service.database.transaction(SYSTEM) as tx:
        copies = tx.execute(
            "INSERT INTO referrals SELECT (jsonb_populate_record(r, jsonb_build_object('id',"
            " md5(n::text)))).*"
            " FROM referrals r, generate_series(1, 1499) AS n WHERE id = %s",
            (assigned.id,),
        )
        assert copies.rowcount == 1499
    assert hear.worker(night, "SUSPENDED") > 10
    copied = "IN (SELECT md5(n::text) FROM generate_series(1, 1499) AS n)"
    with service.database.transaction(SYSTEM) as tx:
        left = tx.execute(
            f"SELECT FROM referrals WHERE responsible_worker_id <> '' AND id {copied}"
        ).rowcount
        rows = tx.execute(
            f"SELECT FROM outbox WHERE type = 'enlace.referral.assigned.v1' AND subject {copied}"
        ).rowcount
    assert (left, rows) == (0, 1499)
    hear.worker(night, "ACTIVE")

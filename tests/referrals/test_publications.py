"""Pathways, advice cards and deadlines, which a coordinator publishes for the whole network."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from protos.referrals.v1 import facts_pb2
from tests.builders import refusal
from tests.referrals import honest_requests, test_requests_of_reviews
from tests.referrals.conftest import ORG, Story

REQUESTS = honest_requests.REQUESTS | test_requests_of_reviews.REQUESTS
KINDS = {
    "PublishPathway": "pathway",
    "PublishAdviceCard": "advice_card",
    "PublishDeadlinePolicy": "deadline_policy",
}


@pytest.mark.parametrize(("rpc", "kind"), KINDS.items())
def test_a_publication_is_announced_by_ids_and_codes_alone(
    story: Story, rpc: str, kind: str
) -> None:
    coordinator, request = REQUESTS[rpc](story)
    getattr(coordinator, rpc)(request)
    rows = story.service.rows("SELECT payload FROM outbox WHERE type LIKE 'enlace.publication.%'")
    published = [facts_pb2.PublicationFact.FromString(row["payload"]) for row in rows]
    [fact] = [fact for fact in published if fact.kind_code == kind]
    assert (fact.organization_id, fact.worker_id) == (ORG["coalition"], coordinator.caller.id)


@pytest.mark.parametrize("rpc", KINDS)
def test_a_session_that_a_coordinator_left_open_publishes_nothing(story: Story, rpc: str) -> None:
    coordinator, request = REQUESTS[rpc](story)
    prove_time = story.service.clock.now() - timedelta(minutes=10, seconds=1)
    left_open = replace(coordinator, caller=replace(coordinator.caller, prove_time=prove_time))
    assert refusal(partial(getattr(left_open, rpc), request)) == (
        "PERMISSION_DENIED",
        "step_up_required",
    )

"""What a coordinator publishes for the whole network is announced to the coordinators."""

import pytest

from protos.referrals.v1 import facts_pb2
from tests.referrals import honest_requests, test_requests_of_reviews
from tests.referrals.conftest import ORG, Story

REQUESTS = honest_requests.REQUESTS | test_requests_of_reviews.REQUESTS


@pytest.mark.parametrize(
    ("rpc", "kind"),
    [
        ("PublishPathway", "pathway"),
        ("PublishAdviceCard", "advice_card"),
        ("PublishDeadlinePolicy", "deadline_policy"),
    ],
)
def test_a_pathway_a_card_and_deadlines_are_announced_by_ids_and_codes_alone(
    story: Story, rpc: str, kind: str
) -> None:
    coordinator, request = REQUESTS[rpc](story)
    getattr(coordinator, rpc)(request)
    rows = story.service.rows("SELECT payload FROM outbox WHERE type LIKE 'enlace.publication.%'")
    published = [facts_pb2.PublicationFact.FromString(row["payload"]) for row in rows]
    [fact] = [fact for fact in published if fact.kind_code == kind]
    assert (fact.organization_id, fact.worker_id) == (ORG["coalition"], coordinator.caller.id)

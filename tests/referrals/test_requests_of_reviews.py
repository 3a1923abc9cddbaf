"""Requests that no correct client sends, to the rpcs of advice, trail, emergencies and erasures.

test_requests.py has the other rpcs. The clock moves here, because an emergency access needs a
consent that has expired.
"""

from datetime import timedelta
from typing import Any, cast

import pytest

from chassis.ids import new_id
from chassis.wire import etag
from protos.referrals.v1 import advice_pb2, audit_pb2, emergencies_pb2, erasures_pb2
from protos.referrals.v1 import referrals_pb2 as r
from services.referrals.people.domain.anomaly import Anomaly, AnomalyKind
from services.referrals.people.store import anomalies
from tests.builders import NOON
from tests.referrals.conftest import ORG, Client, Story
from tests.referrals.honest_referrals import MakeRequest, request_on
from tests.referrals.honest_requests import REQUESTS as OTHER_REQUESTS
from tests.referrals.test_advice import publish, texts_of
from tests.referrals.test_emergencies import declare, referral_with_expired_consent
from tests.referrals.test_openings import somebody
from tests.referrals.test_requests import spoil_each_field
from tests.rights_table import services_of


def _auditor(story: Story) -> Client:
    return story.service.as_("coalition", "AUDITOR")


def _card(story: Story) -> tuple[Client, Any]:
    card = publish(story)
    return story.coordinator, advice_pb2.GetAdviceCardRequest(id=card.id, version=card.version)


def _new_card(story: Story) -> tuple[Client, Any]:
    card = advice_pb2.AdviceCard(version=1, **texts_of(story))
    return story.coordinator, advice_pb2.PublishAdviceCardRequest(card=card)


def _anomaly(story: Story) -> tuple[Client, Any]:
    anomaly = Anomaly(
        new_id(),
        AnomalyKind.AT_NIGHT,
        new_id(),
        ORG["ngo"],
        NOON.date(),
        3,
        story.service.clock.now(),
    )
    story.service.in_transaction(anomalies.save, anomaly)
    return _auditor(story), audit_pb2.ReviewAnomalyRequest(
        id=anomaly.id, etag=etag(anomaly.version), review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED
    )


def _expired_referral(story: Story) -> r.Referral:
    story.service.as_owner("DELETE FROM emergencies")  # the shelter owes no review
    return referral_with_expired_consent(story, story.service)


def _opening(story: Story) -> tuple[Client, Any]:
    return somebody(story.service, "shelter"), emergencies_pb2.OpenInEmergencyRequest(
        referral_id=_expired_referral(story).id,
        reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
        note="Perdió el conocimiento.",
    )


def _emergency(story: Story) -> emergencies_pb2.Emergency:
    return declare(somebody(story.service, "shelter"), _expired_referral(story))


def _past_emergency(story: Story) -> emergencies_pb2.Emergency:
    emergency = _emergency(story)
    story.service.clock.advance(timedelta(days=2))
    return cast(emergencies_pb2.Emergency, story.ngo.GetEmergency(id=emergency.id))


def _proposed_erasure(story: Story) -> str:
    person_id: str = story.person().id
    story.ngo.ProposeErasure(person_id=person_id)
    return person_id


REQUESTS: dict[str, MakeRequest] = {
    "ListAdviceCards": lambda s: (s.coordinator, advice_pb2.ListAdviceCardsRequest()),
    "GetAdviceCard": _card,
    "PublishAdviceCard": _new_card,
    "ListTrail": lambda s: (_auditor(s), audit_pb2.ListTrailRequest(page_size=2)),
    "VerifyTrail": lambda s: (_auditor(s), audit_pb2.VerifyTrailRequest()),
    "ListAnomalies": lambda s: (_auditor(s), audit_pb2.ListAnomaliesRequest(page_size=2)),
    "ReviewAnomaly": _anomaly,
    "OpenInEmergency": _opening,
    "ListEmergencies": lambda s: (s.ngo, emergencies_pb2.ListEmergenciesRequest(page_size=2)),
    "GetEmergency": request_on("ngo", _emergency, emergencies_pb2.GetEmergencyRequest()),
    "ReviewEmergency": request_on(
        "ngo",
        _past_emergency,
        emergencies_pb2.ReviewEmergencyRequest(review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED),
    ),
    "ProposeErasure": lambda s: (
        s.ngo,
        erasures_pb2.ProposeErasureRequest(person_id=s.person().id),
    ),
    "ConfirmErasure": lambda s: (
        s.service.as_("ngo", "MANAGER"),
        erasures_pb2.ConfirmErasureRequest(person_id=_proposed_erasure(s)),
    ),
    "GetErasure": lambda s: (s.ngo, erasures_pb2.GetErasureRequest(person_id=_proposed_erasure(s))),
    "ListErasures": lambda s: (s.ngo, erasures_pb2.ListErasuresRequest(page_size=2)),
}


def test_every_rpc_is_covered_by_these_tests() -> None:
    rpcs = {
        method.name
        for service in services_of("referrals")
        for method in service.methods
        if not method.server_streaming  # test_watch.py
    }
    assert {name.split(" ")[0] for name in OTHER_REQUESTS | REQUESTS} == rpcs


@pytest.mark.long
@pytest.mark.parametrize("rpc", REQUESTS)
def test_no_spoiled_field_of_a_request_causes_a_fault(rpc: str, story: Story) -> None:
    spoil_each_field(rpc, REQUESTS[rpc], story)

"""A draft belongs to its sender alone: no desk is notified."""

from datetime import UTC, datetime

from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2, referrals_pb2
from services.notifications import wire
from services.notifications.domain.rules import recipients_of

NOW = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)


def notified_count(state: referrals_pb2.State.ValueType) -> int:
    body = facts_pb2.ReferralFact(
        referral_id="a" * 32,
        state=state,
        sender_organization_id="b" * 32,
        receiver_organization_id="c" * 32,
    )
    fact = Fact("a" * 32, 2, "enlace.referral.amended.v1", body.SerializeToString(), NOW)
    return len(recipients_of(wire.event_of(fact, body), NOW))


def test_amending_a_draft_notifies_nobody_and_amending_a_sent_referral_the_receiver() -> None:
    assert notified_count(referrals_pb2.STATE_DRAFT) == 0
    assert notified_count(referrals_pb2.STATE_SENT) == 1

"""The arrival of a person whom nobody may contact.

The referral states when and how she arrives, with whom, and how she can be recognised. Its receiver
reads this first.
"""

from __future__ import annotations

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import ARRIVAL, Client, Service, Story

NOBODY = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
REQUIRED = {f"arrival.{name}": "required" for name in ("expected", "way", "company", "sign")}


def request_for(
    story: Story, plan: people_pb2.SafeContact = NOBODY, arrival: pb.Arrival | None = None
) -> pb.SendReferralRequest:
    """Returns the request to send a draft for a person with this safe-contact plan.

    Her consent covers identity and contact.
    """
    draft = story.draft(story.person(plan=plan))
    return pb.SendReferralRequest(
        id=draft.id, etag=draft.etag, receipt_id=story.receipt(draft.person_id).id, arrival=arrival
    )


def read(client: Client, referral_id: str) -> list[pb.Arrival]:
    """Returns the arrivals in the history, as this client reads it."""
    events = client.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=referral_id)).events
    return [event.arrival for event in events if event.HasField("arrival")]


@pytest.mark.parametrize("missing", ["expected", "way", "company", "sign"])
def test_d19_a_person_whom_nobody_may_contact_is_sent_only_with_her_arrival(
    story: Story, missing: str
) -> None:
    request = request_for(story)
    assert refusal_with_fields(lambda: story.ngo.SendReferral(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        REQUIRED,
    )
    request.arrival.CopyFrom(ARRIVAL)
    setattr(request.arrival, missing, "  ")
    assert refusal_with_fields(lambda: story.ngo.SendReferral(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {f"arrival.{missing}": "required"},
    )
    request.arrival.CopyFrom(ARRIVAL)
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_d19_an_override_needs_the_arrival_too(story: Story) -> None:
    draft = story.draft(story.person(plan=NOBODY))
    request = pb.SendReferralRequest(
        id=draft.id,
        etag=draft.etag,
        override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="he is at the door",
    )
    assert refusal_with_fields(lambda: story.rescuer.SendReferral(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        REQUIRED,
    )
    request.arrival.CopyFrom(ARRIVAL)
    assert read(story.shelter, story.rescuer.SendReferral(request).id) == [ARRIVAL]


def test_d19_only_sender_and_receiver_read_the_arrival_and_any_consent_suffices(
    story: Story, service: Service
) -> None:
    sent = story.ngo.SendReferral(request_for(story, arrival=ARRIVAL))
    assert read(story.shelter, sent.id) == read(story.ngo, sent.id) == [ARRIVAL], (
        "the consent names no notes"
    )
    assert read(story.coordinator, sent.id) == []
    assert refusal(lambda: read(service.as_("clinic", "WORKER"), sent.id))[0] == "NOT_FOUND"
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert read(story.shelter, sent.id) == []


def test_d19_an_arrival_is_sealed_and_each_reading_is_recorded(
    story: Story, service: Service
) -> None:
    sent = story.ngo.SendReferral(request_for(story, arrival=ARRIVAL))
    read(story.shelter, sent.id)
    with service.database.transaction(SYSTEM) as tx:
        [row] = tx.execute(
            "SELECT * FROM referral_events WHERE referral_id = %s AND verb = 'sent'", (sent.id,)
        ).fetchall()
        facts = tx.execute("SELECT payload FROM outbox WHERE subject = %s", (sent.id,)).fetchall()
    assert row["arrival_sealed"]
    assert not [
        text
        for text in (*map(str, row.values()), *(str(bytes(fact["payload"])) for fact in facts))
        if "tepezcuintle" in text
    ]
    readings = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(person_id=sent.person_id)
    ).readings
    assert [reading.actor_id for reading in readings] == [story.shelter.caller.id]


def test_d19_a_person_who_can_be_contacted_is_sent_without_an_arrival(story: Story) -> None:
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
    assert read(story.shelter, story.ngo.SendReferral(request_for(story, plan)).id) == []

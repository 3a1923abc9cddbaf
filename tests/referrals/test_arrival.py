"""The arrival of a person whom nobody may contact.

The referral states when and how she arrives, with whom, and how she can be recognised. Its receiver
reads this first.
"""

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import ARRIVAL, Client, Service, Story, history, send_request

NOBODY = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
REQUIRED = [(f"arrival.{name}", "required") for name in ("expected", "way", "company", "sign")]


def request_for(
    story: Story, plan: people_pb2.SafeContact = NOBODY, arrival: pb.Arrival | None = None
) -> pb.SendReferralRequest:
    """Returns the request to send a draft for a person with this safe-contact plan.

    Her consent covers identity and contact.
    """
    draft = story.draft(story.person(plan=plan))
    return send_request(draft, story.receipt(draft.person_id).id, arrival=arrival)


def arrivals(client: Client, referral_id: str) -> list[pb.Arrival]:
    """Returns the arrivals in the history, as this client reads it."""
    return [event.arrival for event in history(client, referral_id) if event.HasField("arrival")]


def test_a_person_whom_nobody_may_contact_is_sent_only_with_her_arrival(story: Story) -> None:
    request = request_for(story)
    assert wrong_fields(lambda: story.ngo.SendReferral(request)) == REQUIRED
    for field in REQUIRED:
        request.arrival.CopyFrom(ARRIVAL)
        setattr(request.arrival, field[0].removeprefix("arrival."), "  ")
        assert wrong_fields(lambda: story.ngo.SendReferral(request)) == [field]
    request.arrival.CopyFrom(ARRIVAL)
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_an_override_needs_the_arrival_too(story: Story) -> None:
    request = send_request(
        story.draft(story.person(plan=NOBODY)),
        override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="he is at the door",
    )
    assert wrong_fields(lambda: story.rescuer.SendReferral(request)) == REQUIRED
    request.arrival.CopyFrom(ARRIVAL)
    assert arrivals(story.shelter, story.rescuer.SendReferral(request).id) == [ARRIVAL]


def test_only_sender_and_receiver_read_the_arrival_and_any_consent_suffices(
    story: Story, service: Service
) -> None:
    sent = story.ngo.SendReferral(request_for(story, arrival=ARRIVAL))
    assert [
        arrivals(client, sent.id) for client in (story.shelter, story.ngo, story.coordinator)
    ] == [[ARRIVAL], [ARRIVAL], []], "the consent names no notes"
    assert refusal(lambda: arrivals(service.as_("clinic", "WORKER"), sent.id)) == NOT_FOUND
    story.ngo.WithdrawReceipt(id=sent.receipt_id)
    assert arrivals(story.shelter, sent.id) == []


def test_an_arrival_is_sealed_and_each_reading_is_recorded(story: Story, service: Service) -> None:
    sent = story.ngo.SendReferral(request_for(story, arrival=ARRIVAL))
    arrivals(story.shelter, sent.id)
    [row] = service.rows(
        "SELECT * FROM referral_events WHERE referral_id = %s AND verb = 'sent'", sent.id
    )
    facts = service.rows("SELECT payload FROM outbox WHERE subject = %s", sent.id)
    assert row["arrival_sealed"]
    texts = (*map(str, row.values()), *(str(bytes(fact["payload"])) for fact in facts))
    assert not [text for text in texts if "tepezcuintle" in text]
    accesses = story.ngo.ListReadings(person_id=sent.person_id).readings
    assert [(access.actor_id, list(access.field_groups)) for access in accesses] == [
        (story.shelter.caller.id, [])
    ], "no notes were read"


def test_a_person_who_can_be_contacted_is_sent_without_an_arrival(story: Story) -> None:
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
    assert arrivals(story.shelter, story.ngo.SendReferral(request_for(story, plan)).id) == []

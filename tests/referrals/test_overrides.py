"""Sending a referral without a consent.

An override needs a right of its own and a second person. It covers one need and three days, and
never reaches an organisation that may detain the person.
"""

from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from protos.referrals.v1 import emergencies_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.partners.members.domain.organization import OrganizationType
from services.referrals.network.domain import codes
from tests.builders import NOON, NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import Client, Service, Story, history, read, send_request
from tests.referrals.test_emergencies import shelter_of_type

G = people_pb2
CONFIRM_SPAN, END_SPAN = timedelta(hours=12), timedelta(hours=72)


def opening(
    referral: pb.Referral, *groups: Any, purpose: str = "HOU.EMG"
) -> people_pb2.OpenPersonRequest:
    """Returns the request to open field groups of a person, or her identity if none is given."""
    return people_pb2.OpenPersonRequest(
        id=referral.person_id,
        purpose_code=purpose,
        referral_id=referral.id,
        field_groups=groups or (G.FIELD_GROUP_IDENTITY,),
    )


def confirm(client: Client, referral: pb.Referral) -> pb.Referral:
    return cast(pb.Referral, client.ConfirmOverride(id=referral.id, etag=referral.etag))


def attach(story: Story, referral: pb.Referral, receipt_id: str) -> pb.Referral:
    attached: pb.Referral = story.ngo.AttachConsent(
        id=referral.id, etag=referral.etag, receipt_id=receipt_id
    )
    return attached


def test_an_override_needs_a_right_of_its_own(story: Story, service: Service) -> None:
    request = send_request(
        story.draft(), override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK, note="in danger"
    )
    everything = ("people.read", "people.write", "people.open", "referrals.read", "referrals.write")
    for client in (
        story.ngo,
        service.as_("ngo", "MANAGER"),
        service.as_("ngo", "OPERATOR"),
        service.as_("ngo", scopes=everything),
    ):
        assert refusal(partial(client.SendReferral, request)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )
    key = service.as_("ngo", scopes=("referrals.write", "referrals.override"))
    assert key.SendReferral(request).state == pb.STATE_SENT


def test_an_override_needs_a_reason_and_a_note_and_no_consent(story: Story) -> None:
    draft = story.draft()
    receipt_id, life_at_risk = story.receipt(draft.person_id).id, pb.OVERRIDE_REASON_LIFE_AT_RISK
    for reason, note, consent, violation in (
        (99, "", "", ("override_reason_code", "unknown_code")),
        (life_at_risk, "", "", ("note", "required")),
        (life_at_risk, "in danger", receipt_id, ("receipt_id", "contradicts")),
    ):
        request = send_request(draft, consent, override_reason_code=reason, note=note)
        assert wrong_fields(partial(story.rescuer.SendReferral, request)) == [violation]
    assert read(story.ngo, draft.id).state == pb.STATE_DRAFT


def test_an_override_opens_data_only_for_the_need_of_its_referral(story: Story) -> None:
    sent = story.overridden()
    assert story.shelter.OpenPerson(opening(sent)).given_name == "Ximena"
    for purpose in ("HOU", "MED", "FAM"):
        assert refusal(partial(story.shelter.OpenPerson, opening(sent, purpose=purpose))) == (
            "FAILED_PRECONDITION",
            "receipt_purpose_differs",
        )


@pytest.mark.parametrize(
    ("confirmed", "span", "reason"),
    [(False, CONFIRM_SPAN, "receipt_unconfirmed"), (True, END_SPAN, "receipt_expired")],
    ids=["nobody has confirmed it", "a second person has confirmed it"],
)
def test_an_override_ends_after_twelve_hours_and_a_confirmed_override_after_three_days(
    confirmed: bool, span: timedelta, reason: str, story: Story, service: Service
) -> None:
    sent = story.overridden()
    latest = confirm(story.coordinator, sent) if confirmed else sent
    service.clock.set(NOON + span - timedelta(seconds=1))
    assert story.shelter.OpenPerson(opening(sent)).given_name
    service.clock.set(NOON + span)
    assert refusal(lambda: story.shelter.OpenPerson(opening(sent))) == (
        "FAILED_PRECONDITION",
        reason,
    )
    assert refusal(lambda: confirm(story.coordinator, latest)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    [event] = [event for event in history(story.shelter, sent.id) if event.verb == "sent"]
    assert (event.note, event.note_withheld) == ("", True)


def test_an_unconfirmed_override_opens_only_first_name_and_safe_contact(story: Story) -> None:
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE, code_word="luna")
    person = story.person(
        family_name="Rivas",
        birth_date="1996-05-04",
        health_note="anemia",
        address="Barrio Guadalupe",
        plan=plan,
    )
    sent = story.overridden(person=person)
    first = story.shelter.OpenPerson(opening(sent, G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_CONTACT))
    assert first == people_pb2.Identity(given_name="Ximena")
    assert story.shelter.OpenSafeContact(referral_id=sent.id).code_word == "luna"
    for group in (G.FIELD_GROUP_HEALTH, G.FIELD_GROUP_LOCATION, G.FIELD_GROUP_NOTES):
        assert refusal(partial(story.shelter.OpenPerson, opening(sent, group))) == (
            "FAILED_PRECONDITION",
            "receipt_unconfirmed",
        )
    confirm(story.coordinator, sent)
    identity = story.shelter.OpenPerson(
        opening(
            sent,
            G.FIELD_GROUP_IDENTITY,
            G.FIELD_GROUP_CONTACT,
            G.FIELD_GROUP_HEALTH,
            G.FIELD_GROUP_LOCATION,
        )
    )
    assert (identity.family_name, identity.phone, identity.health_note, identity.address) == (
        "Rivas",
        "+50581234567",
        "anemia",
        "Barrio Guadalupe",
    )


def test_an_unconfirmed_override_opens_more_only_in_an_emergency(story: Story) -> None:
    sent = story.overridden(person=story.person(health_note="anemia"))
    request = emergencies_pb2.OpenInEmergencyRequest(
        referral_id=sent.id,
        reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="no respira bien",
        request_id=story.request_id(),
    )
    story.shelter.OpenInEmergency(request)
    assert story.shelter.OpenPerson(opening(sent, G.FIELD_GROUP_HEALTH)).health_note == "anemia"
    second_override = story.overridden()
    confirm(story.coordinator, second_override)
    request.referral_id, request.request_id = second_override.id, story.request_id()
    assert refusal(lambda: story.shelter.OpenInEmergency(request)) == (
        "FAILED_PRECONDITION",
        "emergency_not_needed",
    )


def test_the_sender_of_an_override_cannot_be_its_second_person(
    story: Story, service: Service, manager: Client
) -> None:
    client = service.as_("ngo", "WORKER", "EMERGENCY", "MANAGER")
    sent = story.overridden(by=client)
    assert "confirm_override" not in sent.allowed_verbs
    for confirming_client, expected in (
        (client, ("FAILED_PRECONDITION", "illegal_transition")),
        (story.ngo, ("PERMISSION_DENIED", "right_missing")),
        (service.as_("shelter", "MANAGER"), ("FAILED_PRECONDITION", "illegal_transition")),
        (service.as_("clinic", "MANAGER"), NOT_FOUND),
    ):
        assert refusal(partial(confirm, confirming_client, sent)) == expected
    assert "confirm_override" in read(manager, sent.id).allowed_verbs
    assert "confirm_override" not in confirm(manager, sent).allowed_verbs
    receipt = story.ngo.GetReceipt(id=sent.receipt_id)
    assert (receipt.confirmed_by_worker_id, receipt.recorded_by_worker_id) == (
        manager.caller.id,
        client.caller.id,
    )
    assert (receipt.reason_code, receipt.giver_code, receipt.genuine) == (
        pb.OVERRIDE_REASON_LIFE_AT_RISK,
        0,
        True,
    )


def test_the_two_deadlines_of_an_override_fire(story: Story, service: Service) -> None:
    sent = story.overridden()
    due_times = {
        clock.kind: clock.due_time.ToDatetime(NOON.tzinfo)
        for clock in sent.clocks
        if not clock.HasField("stop_time")
    }
    assert due_times[pb.CLOCK_KIND_OVERRIDE_CONFIRM] == NOON + CONFIRM_SPAN
    assert due_times[pb.CLOCK_KIND_OVERRIDE_END] == NOON + END_SPAN
    service.fire_after(CONFIRM_SPAN)
    assert ("clock_breached", pb.CLOCK_KIND_OVERRIDE_CONFIRM) in {
        (event.verb, event.clock) for event in history(story.coordinator, sent.id)
    }


def test_a_matching_consent_replaces_an_override(story: Story, service: Service) -> None:
    sent = story.overridden()
    for receipt_id, expected in (
        (
            story.receipt(sent.person_id, purposes=["MED"]).id,
            ("FAILED_PRECONDITION", "receipt_purpose_differs"),
        ),
        (story.receipt(story.person().id).id, NOT_FOUND),
        (sent.receipt_id, ("FAILED_PRECONDITION", "receipt_missing")),
    ):
        assert refusal(partial(attach, story, sent, receipt_id)) == expected
    assert wrong_fields(lambda: attach(story, sent, "")) == [("receipt_id", "required")]
    receipt = story.receipt(sent.person_id, field_groups=[G.FIELD_GROUP_IDENTITY])
    attached = attach(story, sent, receipt.id)
    assert (attached.receipt_id, attached.state) == (receipt.id, pb.STATE_SENT)
    service.clock.set(NOON + END_SPAN)
    assert story.shelter.OpenPerson(opening(attached, purpose="HOU")).given_name
    # From now on, her consent counts, and not the override from before she could be asked.
    assert refusal(lambda: story.shelter.OpenPerson(opening(attached, G.FIELD_GROUP_HEALTH))) == (
        "FAILED_PRECONDITION",
        "receipt_field_group_differs",
    )
    former_receipt = story.ngo.GetReceipt(id=sent.receipt_id)
    assert former_receipt.until_time.ToDatetime() == NOON.replace(tzinfo=None)
    assert not former_receipt.HasField("withdraw_time")


@pytest.mark.parametrize(
    "type_",
    ["LAW_ENFORCEMENT", "IMMIGRATION_SERVICE", "PROSECUTION", "CONSULATE", "A_KIND_TO_COME", ""],
)
def test_no_override_reaches_an_organisation_that_may_detain_the_person_or_is_of_unknown_kind(
    type_: str, story: Story, service: Service
) -> None:
    sent = story.overridden()
    with shelter_of_type(service, type_):
        assert refusal(story.overridden) == ("FAILED_PRECONDITION", "receipt_missing")
        # Nor does an override open what was sent to the organisation before its type was known.
        assert refusal(lambda: story.shelter.OpenPerson(opening(sent))) == (
            "FAILED_PRECONDITION",
            "receipt_missing",
        )
        assert story.shelter.OpenPerson(opening(story.sent())).given_name


def test_an_override_reaches_only_known_kinds_of_member_that_cannot_detain_a_person() -> None:
    kinds = {kind.value for kind in OrganizationType}
    assert kinds >= codes.REACHED_BY_OVERRIDE
    assert kinds - codes.REACHED_BY_OVERRIDE == {
        "LAW_ENFORCEMENT",
        "IMMIGRATION_SERVICE",
        "CONSULATE",
        "PROSECUTION",
    }


def test_every_override_is_recorded_in_the_trail(story: Story, service: Service) -> None:
    sent = story.overridden()
    confirm(story.coordinator, sent)
    rows = service.rows(
        "SELECT action, actor_id, detail_codes FROM audit WHERE object_id = %s"
        " AND action LIKE '%%override%%' ORDER BY sequence",
        sent.person_id,
    )
    assert [(row["action"], row["actor_id"]) for row in rows] == [
        ("send_override", story.rescuer.caller.id),
        ("confirm_override", story.coordinator.caller.id),
    ]
    assert all("life_at_risk" in row["detail_codes"] for row in rows)
    assert service.fact_types(sent.receipt_id) == [
        "enlace.receipt.given.v1",
        "enlace.receipt.confirmed.v1",
    ]

"""Sending a referral without a consent.

An override needs a right of its own and a second person. It covers one need and three days, and
never reaches an organisation that may detain the person.
"""

from datetime import timedelta
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import emergencies_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain import codes
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store.deadlines import next_time
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story

G = people_pb2
CONFIRM, END = timedelta(hours=12), timedelta(hours=72)


def opening(
    referral: pb.Referral, *groups: int, purpose: str = "HOU.EMG"
) -> people_pb2.OpenPersonRequest:
    request = people_pb2.OpenPersonRequest(
        id=referral.person_id, purpose_code=purpose, referral_id=referral.id
    )
    request.field_groups.extend(groups or (G.FIELD_GROUP_IDENTITY,))  # type: ignore[arg-type]
    return request


def confirm(client: Client, referral: pb.Referral) -> pb.Referral:
    confirmed: pb.Referral = client.ConfirmOverride(
        pb.ConfirmOverrideRequest(id=referral.id, etag=referral.etag)
    )
    return confirmed


def attach(story: Story, referral: pb.Referral, receipt_id: str) -> pb.Referral:
    attached: pb.Referral = story.ngo.AttachConsent(
        pb.AttachConsentRequest(id=referral.id, etag=referral.etag, receipt_id=receipt_id)
    )
    return attached


def test_an_override_needs_a_right_of_its_own(story: Story, service: Service) -> None:
    draft = story.draft()
    request = pb.SendReferralRequest(
        id=draft.id,
        etag=draft.etag,
        override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="in danger",
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


def test_an_override_needs_a_reason_and_a_note(story: Story) -> None:
    draft = story.draft()
    request = pb.SendReferralRequest(
        id=draft.id, etag=draft.etag, override_reason_code=pb.OverrideReason.ValueType(99)
    )
    assert refusal_with_fields(lambda: story.rescuer.SendReferral(request))[2] == {
        "override_reason_code": "unknown_code"
    }
    request.override_reason_code = pb.OVERRIDE_REASON_LIFE_AT_RISK
    assert refusal_with_fields(lambda: story.rescuer.SendReferral(request))[2] == {
        "note": "required"
    }


def test_an_override_opens_data_only_for_the_need_of_its_referral(story: Story) -> None:
    sent = story.overridden()
    assert story.shelter.OpenPerson(opening(sent)).given_name == "Ximena"
    for purpose in ("HOU", "MED", "FAM"):
        assert refusal(partial(story.shelter.OpenPerson, opening(sent, purpose=purpose))) == (
            "FAILED_PRECONDITION",
            "receipt_purpose_differs",
        )


def test_an_override_without_a_second_person_ends_after_twelve_hours(
    story: Story, service: Service
) -> None:
    sent = story.overridden()
    service.clock.set(NOON + CONFIRM - timedelta(seconds=1))
    assert story.shelter.OpenPerson(opening(sent)).given_name
    service.clock.set(NOON + CONFIRM)
    assert refusal(lambda: story.shelter.OpenPerson(opening(sent))) == (
        "FAILED_PRECONDITION",
        "receipt_unconfirmed",
    )
    assert refusal(lambda: confirm(story.coordinator, sent)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    notes = story.shelter.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=sent.id)
    ).events
    assert [(event.note, event.note_withheld) for event in notes if event.verb == "sent"] == [
        ("", True)
    ]


def test_a5_an_unconfirmed_override_opens_only_first_name_and_safe_contact(
    story: Story,
) -> None:
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
    safe_contact = story.shelter.OpenSafeContact(
        people_pb2.OpenSafeContactRequest(referral_id=sent.id)
    )
    assert safe_contact.code_word == "luna"
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


def test_a5_an_unconfirmed_override_opens_more_only_in_an_emergency(
    story: Story, service: Service
) -> None:
    sent = story.overridden(person=story.person(health_note="anemia"))
    request = emergencies_pb2.OpenInEmergencyRequest(
        referral_id=sent.id,
        reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="no respira bien",
        request_id=story.request_id(),
    )
    story.shelter.OpenInEmergency(request)
    assert story.shelter.OpenPerson(opening(sent, G.FIELD_GROUP_HEALTH)).health_note == "anemia"
    another = story.overridden()
    confirm(story.coordinator, another)
    request.referral_id, request.request_id = another.id, story.request_id()
    assert (
        refusal(lambda: service.as_("shelter", "WORKER").OpenInEmergency(request))[1]
        == "emergency_not_needed"
    )


def test_a_confirmed_override_ends_after_three_days(story: Story, service: Service) -> None:
    sent = story.overridden()
    confirm(story.coordinator, sent)
    service.clock.set(NOON + END - timedelta(seconds=1))
    assert story.shelter.OpenPerson(opening(sent)).given_name
    service.clock.set(NOON + END)
    assert refusal(lambda: story.shelter.OpenPerson(opening(sent))) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_the_sender_of_an_override_cannot_be_its_second_person(
    story: Story, service: Service
) -> None:
    client = service.as_("ngo", "WORKER", "EMERGENCY", "MANAGER")
    sent = story.overridden(by=client)
    assert "confirm_override" not in sent.allowed_verbs
    assert refusal(lambda: confirm(client, sent)) == ("FAILED_PRECONDITION", "illegal_transition")
    assert refusal(lambda: confirm(story.ngo, sent)) == ("PERMISSION_DENIED", "right_missing")
    assert refusal(lambda: confirm(service.as_("shelter", "MANAGER"), sent)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert refusal(lambda: confirm(service.as_("clinic", "MANAGER"), sent)) == (
        "NOT_FOUND",
        "not_found",
    )
    manager = service.as_("ngo", "MANAGER")
    assert (
        "confirm_override" in manager.GetReferral(pb.GetReferralRequest(id=sent.id)).allowed_verbs
    )
    assert "confirm_override" not in confirm(manager, sent).allowed_verbs
    receipt = story.ngo.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id))
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
    running = {
        clock.kind: clock.due_time.ToDatetime()
        for clock in sent.clocks
        if not clock.HasField("stop_time")
    }
    assert running[pb.CLOCK_KIND_OVERRIDE_CONFIRM] == (NOON + CONFIRM).replace(tzinfo=None)
    assert running[pb.CLOCK_KIND_OVERRIDE_END] == (NOON + END).replace(tzinfo=None)
    service.clock.set(NOON + CONFIRM)
    DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).fire()
    events = story.coordinator.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=sent.id)
    ).events
    assert ("clock_breached", pb.CLOCK_KIND_OVERRIDE_CONFIRM) in {
        (event.verb, event.clock) for event in events
    }


def test_a_matching_consent_replaces_an_override(story: Story, service: Service) -> None:
    sent = story.overridden()
    wrong = story.receipt(sent.person_id, purposes=["MED"])
    assert refusal(lambda: attach(story, sent, wrong.id)) == (
        "FAILED_PRECONDITION",
        "receipt_purpose_differs",
    )
    assert refusal(lambda: attach(story, sent, story.receipt(story.person().id).id)) == (
        "NOT_FOUND",
        "not_found",
    )
    assert refusal(lambda: attach(story, sent, sent.receipt_id)) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )
    request = pb.AttachConsentRequest(id=sent.id, etag=sent.etag)
    assert refusal_with_fields(lambda: story.ngo.AttachConsent(request))[2] == {
        "receipt_id": "required"
    }
    receipt = story.receipt(sent.person_id, field_groups=[G.FIELD_GROUP_IDENTITY])
    attached = attach(story, sent, receipt.id)
    assert (attached.receipt_id, attached.state) == (receipt.id, pb.STATE_SENT)
    service.clock.set(NOON + END)
    assert story.shelter.OpenPerson(opening(attached, purpose="HOU")).given_name
    # From now on, her consent counts, and not the override from before she could be asked.
    assert (
        refusal(lambda: story.shelter.OpenPerson(opening(attached, G.FIELD_GROUP_HEALTH)))[1]
        == "receipt_field_group_differs"
    )
    ended = story.ngo.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id))
    assert ended.until_time.ToDatetime() == NOON.replace(tzinfo=None)
    assert not ended.HasField("withdraw_time")


@pytest.mark.parametrize(
    "type_",
    ["LAW_ENFORCEMENT", "IMMIGRATION_SERVICE", "PROSECUTION", "CONSULATE", "A_KIND_TO_COME", ""],
)
def test_no_override_reaches_an_organisation_that_may_detain_the_person_or_is_of_unknown_kind(
    type_: str, story: Story, service: Service
) -> None:
    sent = story.overridden()
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["shelter"], True, "APPROVED", type_)
    try:
        assert refusal(story.overridden) == ("FAILED_PRECONDITION", "receipt_missing")
        # Nor does an override open what was sent to the organisation before its type was known.
        assert refusal(lambda: story.shelter.OpenPerson(opening(sent))) == (
            "FAILED_PRECONDITION",
            "receipt_missing",
        )
        assert story.shelter.OpenPerson(opening(story.sent())).given_name
    finally:
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["shelter"], True, "APPROVED", "NGO")


def test_an_override_reaches_only_known_kinds_of_member_that_cannot_detain_a_person() -> None:
    from services.partners.members.domain.organization import OrganizationType

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
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT action, actor_id, detail_codes FROM audit WHERE object_id = %s"
            " AND action LIKE '%%override%%' ORDER BY sequence",
            (sent.person_id,),
        ).fetchall()
        facts = tx.execute(
            "SELECT type FROM outbox WHERE subject = %s ORDER BY version", (sent.receipt_id,)
        ).fetchall()
    assert [(row["action"], row["actor_id"]) for row in rows] == [
        ("send_override", story.rescuer.caller.id),
        ("confirm_override", story.coordinator.caller.id),
    ]
    assert all("life_at_risk" in row["detail_codes"] for row in rows)
    assert [row["type"] for row in facts] == [
        "enlace.receipt.given.v1",
        "enlace.receipt.confirmed.v1",
    ]

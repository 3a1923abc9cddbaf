"""Consent as a record.

The tests cover its content, its duration, its signature, and what its withdrawal ends.
"""

import base64
from datetime import UTC, timedelta
from functools import partial

import pytest

from chassis import wire
from keys import key_folder
from keys.sealing import SignatureVerifier, Signer
from protos.referrals.v1 import facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import POINTS
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.receipts import Receipts
from tests.builders import NOON, NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import (
    ORG,
    SEVEN_POINTS,
    Client,
    Service,
    Story,
    history,
    read,
    send_request,
)


def request_for(person_id: str, /, **values: object) -> people_pb2.CreateReceiptRequest:
    """Returns the request for a complete receipt, with `values` in place of the usual fields."""
    usual_values = {
        "person_id": person_id,
        "recipient_organization_id": ORG["shelter"],
        "field_groups": [people_pb2.FIELD_GROUP_IDENTITY],
        "purpose_codes": ["HOU"],
        "giver_code": people_pb2.GIVER_PERSON,
        "manner_code": people_pb2.MANNER_SPOKEN,
        "explained_codes": SEVEN_POINTS,
    }
    receipt = people_pb2.Receipt(**(usual_values | values))  # type: ignore[arg-type]
    return people_pb2.CreateReceiptRequest(receipt=receipt)


@pytest.mark.parametrize(
    ("values", "violations"),
    [
        ({"recipient_organization_id": ""}, {"receipt.recipient_organization_id": "required"}),
        (
            {"recipient_organization_id": "the shelter"},
            {"receipt.recipient_organization_id": "malformed"},
        ),
        ({"field_groups": []}, {"receipt.field_groups": "required"}),
        ({"field_groups": [99]}, {"receipt.field_groups.0": "unknown_code"}),
        ({"field_groups": [0]}, {"receipt.field_groups.0": "unknown_code"}),
        ({"purpose_codes": []}, {"receipt.purpose_codes": "required"}),
        ({"purpose_codes": ["HOU", "everything"]}, {"receipt.purpose_codes.1": "unknown_code"}),
        ({"purpose_codes": ["HOU"] * 21}, {"receipt.purpose_codes": "too_long"}),
        ({"giver_code": 0}, {"receipt.giver_code": "required"}),
        ({"giver_code": 99}, {"receipt.giver_code": "unknown_code"}),
        ({"manner_code": 99}, {"receipt.manner_code": "unknown_code"}),
        ({"assent_code": 99}, {"receipt.assent_code": "unknown_code"}),
        (
            {"explained_codes": [people_pb2.EXPLAINED_PURPOSE, 99]},
            {"receipt.explained_codes.1": "unknown_code"},
        ),
        (
            {"explained_codes": [people_pb2.EXPLAINED_PURPOSE] * 8},
            {"receipt.explained_codes": "too_long"},
        ),
        ({"explained_codes": []}, {"receipt.explained_codes": "required"}),
        ({"explained_codes": SEVEN_POINTS[:6]}, {"receipt.explained_codes": "required"}),
        (
            {"explained_codes": [*SEVEN_POINTS[:6], people_pb2.EXPLAINED_INTERVIEW]},
            {"receipt.explained_codes": "required"},
        ),
        ({"until_time": NOON}, {"receipt.until_time": "out_of_range"}),
        ({"until_time": NOON - timedelta(days=1)}, {"receipt.until_time": "out_of_range"}),
        ({"until_time": NOON + timedelta(days=367)}, {"receipt.until_time": "out_of_range"}),
        (
            {"giver_code": 0, "manner_code": 0},
            {"receipt.giver_code": "required", "receipt.manner_code": "required"},
        ),
        ({"person_id": ""}, {"receipt.person_id": "required"}),
    ],
)
def test_an_invalid_consent_record_is_refused(
    values: dict[str, object], violations: dict[str, str], story: Story
) -> None:
    request = request_for(story.person().id, **values)
    assert dict(wrong_fields(lambda: story.ngo.CreateReceipt(request))) == violations


def test_the_number_of_explained_points_matches_the_contract() -> None:
    assert len(wire.numbers(people_pb2.Explained.DESCRIPTOR)) == POINTS


@pytest.mark.parametrize("point", SEVEN_POINTS)
@pytest.mark.parametrize("giver", ["person", "guardian", "authority"])
def test_a_consent_without_every_point_explained_is_refused(
    giver: str, point: int, story: Story
) -> None:
    person = story.person() if giver == "person" else story.child()
    give_receipt = partial(
        story.receipt,
        person.id,
        giver=giver,
        assent_code="" if giver == "person" else "given",
        explained_codes=[code for code in SEVEN_POINTS if code != point],
    )
    assert wrong_fields(give_receipt) == [("receipt.explained_codes", "required")]


def test_a_decision_in_a_childs_best_interest_needs_no_explained_points(story: Story) -> None:
    child = story.person(birth_date="2020-01-01")
    assert not story.receipt(
        child.id, giver="best_interest", assent_code="too_young", explained_codes=[]
    ).explained_codes


def test_a_consent_lasts_ninety_days_by_default_and_at_most_a_year(story: Story) -> None:
    person = story.person()
    default_receipt = story.ngo.CreateReceipt(request_for(person.id))
    # 366 days, because a year may be a leap year
    longest_receipt = story.ngo.CreateReceipt(
        request_for(person.id, until_time=NOON + timedelta(days=366))
    )
    assert [
        receipt.until_time.ToDatetime(tzinfo=UTC) - NOON
        for receipt in (default_receipt, longest_receipt)
    ] == [timedelta(days=90), timedelta(days=366)]
    assert default_receipt.recorded_by_worker_id == story.ngo.caller.id
    assert default_receipt.create_time.ToDatetime(tzinfo=UTC) == NOON


def test_a_receipts_signature_covers_every_field_and_is_verified_with_the_public_key(
    story: Story, service: Service
) -> None:
    receipt = story.receipt(story.person().id)
    verifier = SignatureVerifier(key_folder.verifying(service.keys, "facts.referrals"))
    signature = base64.urlsafe_b64decode(receipt.signature + "=" * (-len(receipt.signature) % 4))
    store = Receipts(Signer(key_folder.signing(service.keys, "facts.referrals")))
    record = service.in_transaction(store.get, receipt.id)
    assert verifier.is_valid(signature, record.canonical())
    for name, value in (
        ("recipient_organization_id", ORG["police"]),
        ("field_groups", record.field_groups | {FieldGroup.HEALTH}),
        ("purpose_codes", ("HOU", "PRO")),
        ("until_time", record.until_time + timedelta(days=1)),
        ("person_id", "f" * 32),
        ("giver_code", "guardian"),
        ("withdraw_time", NOON),
        ("confirm_time", NOON),
        ("reason_code", "life_at_risk"),
        ("version", 2),
    ):
        original_value = getattr(record, name)
        setattr(record, name, value)
        assert not verifier.is_valid(signature, record.canonical()), name
        setattr(record, name, original_value)
    assert verifier.is_valid(signature, record.canonical())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"recipient": ORG["clinic"]}, "receipt_recipient_differs"),
        ({"purposes": ["MED"]}, "receipt_purpose_differs"),
        ({"purposes": ["HOU.SHE"]}, "receipt_purpose_differs"),
    ],
)
def test_a_referral_is_sent_only_on_a_consent_that_covers_it(
    values: dict[str, object], reason: str, story: Story
) -> None:
    draft = story.draft()
    request = send_request(draft, story.receipt(draft.person_id, **values).id)
    assert refusal(lambda: story.ngo.SendReferral(request)) == ("FAILED_PRECONDITION", reason)
    assert read(story.ngo, draft.id) == draft


def test_no_referral_is_sent_on_an_expired_or_withdrawn_consent_or_on_another_persons(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    receipt, other_receipt = story.receipt(draft.person_id), story.receipt(story.person().id)
    send = partial(story.ngo.SendReferral, send_request(draft, receipt.id))
    assert (
        refusal(lambda: story.ngo.SendReferral(send_request(draft, other_receipt.id))) == NOT_FOUND
    )
    service.clock.advance(timedelta(days=90))
    assert refusal(send) == ("FAILED_PRECONDITION", "receipt_expired")
    service.clock.set(NOON)
    story.ngo.WithdrawReceipt(id=receipt.id)
    assert refusal(send) == ("FAILED_PRECONDITION", "receipt_withdrawn")


def test_only_consents_on_which_a_referral_can_be_sent_are_listed_for_it(
    story: Story, service: Service
) -> None:
    child = story.child()
    story.overridden(person=child)
    give_receipt = partial(story.receipt, child.id, assent_code="given")
    usable_receipts = [
        give_receipt(giver="guardian"),
        give_receipt(giver="authority", purposes=["HOU.EMG"]),
        give_receipt(giver="best_interest"),
    ]
    service.as_("ngo", "MANAGER").ConfirmReceipt(id=usable_receipts[2].id)
    expiring_request = request_for(
        child.id,
        until_time=NOON + timedelta(minutes=1),
        giver_code=people_pb2.GIVER_GUARDIAN,
        assent_code=people_pb2.ASSENT_GIVEN,
    )
    unusable_receipts = [
        give_receipt(giver="guardian", recipient=ORG["clinic"]),
        give_receipt(giver="guardian", purposes=["MED"]),
        give_receipt(giver="best_interest"),
        give_receipt(giver="guardian"),
        story.ngo.CreateReceipt(expiring_request),
    ]
    story.ngo.WithdrawReceipt(id=unusable_receipts[3].id)
    service.clock.advance(timedelta(minutes=1))
    draft = story.draft(child)
    listed_receipts = story.ngo.ListReceipts(person_id=child.id, referral_id=draft.id).receipts
    assert {receipt.id for receipt in listed_receipts} == {
        receipt.id for receipt in usable_receipts
    }
    for receipt in unusable_receipts:
        send = partial(story.ngo.SendReferral, send_request(draft, receipt.id))
        assert refusal(send)[0] == "FAILED_PRECONDITION"
    for receipt in usable_receipts:
        story.ngo.SendReferral(send_request(story.draft(child), receipt.id))


def test_a_receipt_states_whether_it_is_live(story: Story, service: Service) -> None:
    def are_live(*receipt_ids: str) -> list[bool]:
        return [story.ngo.GetReceipt(id=receipt_id).live for receipt_id in receipt_ids]

    consent_id, withdrawn_id = (story.receipt(story.person().id).id for _ in range(2))
    decision_id = story.receipt(story.child().id, giver="best_interest", assent_code="given").id
    override_id = story.overridden().receipt_id
    story.ngo.WithdrawReceipt(id=withdrawn_id)
    ids = (consent_id, withdrawn_id, decision_id, override_id)
    assert are_live(*ids) == [True, False, False, True]
    service.as_("ngo", "MANAGER").ConfirmReceipt(id=decision_id)
    service.clock.advance(timedelta(hours=12))
    assert are_live(consent_id, decision_id, override_id) == [True, True, False], (
        "nobody confirmed the override in time"
    )
    service.clock.advance(timedelta(days=90))
    assert are_live(consent_id) == [False]


def test_a_decision_is_published_as_awaiting_a_second_person_of_its_organisation(
    story: Story, service: Service
) -> None:
    receipt = story.receipt(story.child().id, giver="best_interest", assent_code="given")
    service.as_("ngo", "MANAGER").ConfirmReceipt(id=receipt.id)
    assert service.fact_types(receipt.id) == [
        "enlace.receipt.proposed.v1",
        "enlace.receipt.confirmed.v1",
    ]
    [row] = service.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND version = 1", receipt.id
    )
    fact = facts_pb2.ReceiptFact.FromString(bytes(row["payload"]))
    assert (fact.receipt_id, fact.organization_id, fact.recipient_organization_id) == (
        receipt.id,
        ORG["ngo"],
        ORG["shelter"],
    )


def test_a_withdrawal_ends_its_referral_at_once_and_a_second_withdrawal_changes_nothing(
    story: Story, service: Service
) -> None:
    accepted, other_referral = story.accepted(), story.sent()
    service.clock.advance(timedelta(minutes=5))
    withdrawn_receipt = story.ngo.WithdrawReceipt(id=accepted.receipt_id)
    assert withdrawn_receipt.withdraw_time.ToDatetime(tzinfo=UTC) == service.clock.now()
    ended_referral = read(story.ngo, accepted.id)
    assert ended_referral.state == pb.STATE_CONSENT_WITHDRAWN
    assert [clock.kind for clock in ended_referral.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_DELETION
    ]
    assert list(ended_referral.allowed_verbs) == [], "the receiver has to delete its data first"
    assert read(story.ngo, other_referral.id).state == pb.STATE_SENT
    service.clock.advance(timedelta(minutes=5))
    assert story.ngo.WithdrawReceipt(id=accepted.receipt_id) == withdrawn_receipt
    assert read(story.ngo, accepted.id) == ended_referral
    assert service.fact_types(accepted.receipt_id) == [
        "enlace.receipt.given.v1",
        "enlace.receipt.withdrawn.v1",
    ]


def test_a_person_may_withdraw_her_consent_through_the_receiver(story: Story) -> None:
    accepted = story.accepted()
    assert story.shelter.WithdrawReceipt(id=accepted.receipt_id).HasField("withdraw_time")
    last_event = history(story.ngo, accepted.id)[-1]
    assert (last_event.verb, last_event.attribution, last_event.actor_organization_id) == (
        "consent_withdrawn",
        pb.ATTRIBUTION_PERSON,
        ORG["shelter"],
    )


def test_a_withdrawal_ends_every_referral_based_on_the_receipt(story: Story) -> None:
    person = story.person()
    first = story.sent(person=person)
    second = story.ngo.SendReferral(send_request(story.draft(person), first.receipt_id))
    story.ngo.WithdrawReceipt(id=first.receipt_id)
    assert [read(story.shelter, referral.id).state for referral in (first, second)] == [
        pb.STATE_CONSENT_WITHDRAWN
    ] * 2


def test_other_organisations_cannot_find_a_consent_and_no_list_mixes_two_people(
    story: Story, service: Service, clinic: Client
) -> None:
    sent, draft = story.sent(), story.draft()
    story.receipt(draft.person_id)
    for attempt in (
        partial(clinic.GetReceipt, id=sent.receipt_id),
        partial(clinic.WithdrawReceipt, id=sent.receipt_id),
        partial(clinic.ListReceipts, person_id=sent.person_id),
        partial(clinic.CreateReceipt, request_for(sent.person_id)),
        # a receiver cannot record a consent for itself
        partial(story.shelter.CreateReceipt, request_for(sent.person_id)),
        # the referral concerns another person
        partial(story.ngo.ListReceipts, person_id=story.person().id, referral_id=draft.id),
    ):
        assert refusal(attempt) == NOT_FOUND
    assert not story.ngo.GetReceipt(id=sent.receipt_id).HasField("withdraw_time")


def test_the_files_organisation_lists_all_consents_and_a_recipient_only_its_own(
    story: Story,
) -> None:
    sent = story.sent()
    story.receipt(sent.person_id, recipient=ORG["clinic"], purposes=["MED"])
    all_receipts, own_receipts = (
        client.ListReceipts(person_id=sent.person_id).receipts
        for client in (story.ngo, story.shelter)
    )
    assert {receipt.recipient_organization_id for receipt in all_receipts} == {
        ORG["shelter"],
        ORG["clinic"],
    }
    assert [receipt.id for receipt in own_receipts] == [sent.receipt_id]

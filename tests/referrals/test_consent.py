"""Consent as a record.

The tests cover its content, its duration, its signature, and what its withdrawal ends.
"""

import base64
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from chassis import wire
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import SignatureCheck, Signer
from protos.referrals.v1 import facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import POINTS
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.receipts import Receipts
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, SEVEN_POINTS, Service, Story


def request_for(person_id: str, /, **values: object) -> people_pb2.CreateReceiptRequest:
    complete = {
        "person_id": person_id,
        "recipient_organization_id": ORG["shelter"],
        "field_groups": [people_pb2.FIELD_GROUP_IDENTITY],
        "purpose_codes": ["HOU"],
        "giver_code": people_pb2.GIVER_PERSON,
        "manner_code": people_pb2.MANNER_SPOKEN,
        "explained_codes": SEVEN_POINTS,
    }
    until = values.pop("until", None)
    request = people_pb2.CreateReceiptRequest(receipt=people_pb2.Receipt(**(complete | values)))  # type: ignore[arg-type]
    if isinstance(until, datetime):
        request.receipt.until_time.FromDatetime(until)
    return request


@pytest.mark.parametrize(
    ("wrong", "expected"),
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
        ({"until": NOON}, {"receipt.until_time": "out_of_range"}),
        ({"until": NOON - timedelta(days=1)}, {"receipt.until_time": "out_of_range"}),
        ({"until": NOON + timedelta(days=367)}, {"receipt.until_time": "out_of_range"}),
        (
            {"giver_code": 0, "manner_code": 0},
            {"receipt.giver_code": "required", "receipt.manner_code": "required"},
        ),
        ({"person_id": ""}, {"receipt.person_id": "required"}),
    ],
)
def test_an_invalid_consent_record_is_refused(
    wrong: dict[str, object], expected: dict[str, str], story: Story
) -> None:
    request = request_for(story.person().id, **wrong)
    assert refusal_with_fields(lambda: story.ngo.CreateReceipt(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        expected,
    )


def test_the_number_of_explained_points_matches_the_contract() -> None:
    assert len(wire.numbers(people_pb2.Explained.DESCRIPTOR)) == POINTS


@pytest.mark.parametrize("point", SEVEN_POINTS)
@pytest.mark.parametrize("giver", ["person", "guardian", "authority"])
def test_a_consent_without_every_point_explained_is_refused(
    giver: str, point: int, story: Story
) -> None:
    person = story.person() if giver == "person" else story.child()
    texts = [one for one in SEVEN_POINTS if one != point]
    give_receipt = partial(
        story.receipt,
        person.id,
        giver=giver,
        assent_code="" if giver == "person" else "given",
        explained_codes=texts,
    )
    assert refusal_with_fields(give_receipt)[2] == {"receipt.explained_codes": "required"}


def test_a_decision_in_a_childs_best_interest_needs_no_explained_points(
    story: Story,
) -> None:
    small = story.person(birth_date="2020-01-01")
    decided = story.receipt(
        small.id, giver="best_interest", assent_code="too_young", explained_codes=[]
    )
    assert not decided.explained_codes


def test_a_consent_lasts_ninety_days_by_default_and_at_most_a_year(story: Story) -> None:
    person = story.person()
    usual = story.ngo.CreateReceipt(request_for(person.id))
    # 366 days, because a year may be a leap year
    longest = story.ngo.CreateReceipt(request_for(person.id, until=NOON + timedelta(days=366)))
    assert usual.until_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=90)
    assert longest.until_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=366)
    assert usual.recorded_by_worker_id == story.ngo.caller.id
    assert usual.create_time.ToDatetime(tzinfo=UTC) == NOON


def test_a_receipts_signature_covers_every_field_and_is_verified_with_the_public_key(
    story: Story, service: Service
) -> None:
    created = story.receipt(story.person().id)
    check = SignatureCheck(key_folder.verifying(service.keys, "facts.referrals"))
    signature = base64.urlsafe_b64decode(created.signature + "=" * (-len(created.signature) % 4))
    with service.database.transaction(SYSTEM) as tx:
        stored = Receipts(Signer(key_folder.signing(service.keys, "facts.referrals"))).get(
            tx, created.id
        )
    assert check.holds(signature, stored.canonical())
    for name, value in (
        ("recipient_organization_id", ORG["police"]),
        ("field_groups", stored.field_groups | {FieldGroup.HEALTH}),
        ("purpose_codes", ("HOU", "PRO")),
        ("until_time", stored.until_time + timedelta(days=1)),
        ("person_id", "f" * 32),
        ("giver_code", "guardian"),
        ("withdraw_time", NOON),
        ("confirm_time", NOON),
        ("reason_code", "life_at_risk"),
        ("version", 2),
    ):
        before = getattr(stored, name)
        setattr(stored, name, value)
        assert not check.holds(signature, stored.canonical()), name
        setattr(stored, name, before)
    assert check.holds(signature, stored.canonical())


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
    receipt = story.receipt(draft.person_id, **values)
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    assert refusal(lambda: story.ngo.SendReferral(request)) == ("FAILED_PRECONDITION", reason)
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=draft.id)) == draft


def test_no_referral_is_sent_on_an_expired_or_withdrawn_consent_or_on_another_persons(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    receipt = story.receipt(draft.person_id)
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    other = pb.SendReferralRequest(
        id=draft.id, etag=draft.etag, receipt_id=story.receipt(story.person().id).id
    )
    assert refusal(lambda: story.ngo.SendReferral(other)) == ("NOT_FOUND", "not_found")
    service.clock.advance(timedelta(days=90))
    assert refusal(lambda: story.ngo.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )
    service.clock.set(NOON)
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=receipt.id))
    assert refusal(lambda: story.ngo.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "receipt_withdrawn",
    )


def test_the_consents_listed_for_a_referral_are_those_on_which_it_can_be_sent(
    story: Story, service: Service
) -> None:
    child = story.child()
    story.overridden(person=child)
    give_receipt = partial(story.receipt, child.id, assent_code="given")
    usable = [
        give_receipt(giver="guardian"),
        give_receipt(giver="authority", purposes=["HOU.EMG"]),
        give_receipt(giver="best_interest"),
    ]
    service.as_("ngo", "MANAGER").ConfirmReceipt(people_pb2.ConfirmReceiptRequest(id=usable[2].id))
    soon = request_for(
        child.id,
        until=NOON + timedelta(minutes=1),
        giver_code=people_pb2.GIVER_GUARDIAN,
        assent_code=people_pb2.ASSENT_GIVEN,
    )
    useless = [
        give_receipt(giver="guardian", recipient=ORG["clinic"]),
        give_receipt(giver="guardian", purposes=["MED"]),
        give_receipt(giver="best_interest"),
        give_receipt(giver="guardian"),
        story.ngo.CreateReceipt(soon),
    ]
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=useless[3].id))
    service.clock.advance(timedelta(minutes=1))
    draft = story.draft(child)
    listed = story.ngo.ListReceipts(
        people_pb2.ListReceiptsRequest(person_id=child.id, referral_id=draft.id)
    ).receipts
    assert {receipt.id for receipt in listed} == {receipt.id for receipt in usable}
    for receipt in useless:
        request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        assert refusal(partial(story.ngo.SendReferral, request))[0] == "FAILED_PRECONDITION"
    for receipt in usable:
        other = story.draft(child)
        story.ngo.SendReferral(
            pb.SendReferralRequest(id=other.id, etag=other.etag, receipt_id=receipt.id)
        )


def test_a_receipt_states_whether_it_is_live(story: Story, service: Service) -> None:
    def live(identifier: str) -> bool:
        receipt: people_pb2.Receipt = story.ngo.GetReceipt(
            people_pb2.GetReceiptRequest(id=identifier)
        )
        return receipt.live

    consent, withdrawn = story.receipt(story.person().id), story.receipt(story.person().id)
    decided = story.receipt(story.child().id, giver="best_interest", assent_code="given")
    override = story.overridden().receipt_id
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=withdrawn.id))
    assert [live(each) for each in (consent.id, withdrawn.id, decided.id, override)] == [
        True,
        False,
        False,
        True,
    ]
    service.as_("ngo", "MANAGER").ConfirmReceipt(people_pb2.ConfirmReceiptRequest(id=decided.id))
    service.clock.advance(timedelta(hours=12))
    assert [live(each) for each in (consent.id, decided.id, override)] == [True, True, False], (
        "nobody confirmed the override in time"
    )
    service.clock.advance(timedelta(days=90))
    assert not live(consent.id)


def test_a_decision_is_published_as_awaiting_a_second_person_of_its_organisation(
    story: Story, service: Service
) -> None:
    decided = story.receipt(story.child().id, giver="best_interest", assent_code="given")
    service.as_("ngo", "MANAGER").ConfirmReceipt(people_pb2.ConfirmReceiptRequest(id=decided.id))
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", (decided.id,)
        ).fetchall()
    assert [row["type"] for row in rows] == [
        "enlace.receipt.proposed.v1",
        "enlace.receipt.confirmed.v1",
    ]
    body = facts_pb2.ReceiptFact.FromString(bytes(rows[0]["payload"]))
    assert (body.receipt_id, body.organization_id, body.recipient_organization_id) == (
        decided.id,
        ORG["ngo"],
        ORG["shelter"],
    )


def test_a_consent_is_not_listed_for_another_persons_referral(story: Story) -> None:
    draft = story.draft()
    story.receipt(draft.person_id)
    request = people_pb2.ListReceiptsRequest(person_id=story.person().id, referral_id=draft.id)
    assert refusal(lambda: story.ngo.ListReceipts(request)) == ("NOT_FOUND", "not_found")


def test_a_withdrawal_ends_its_referral_at_once_and_a_second_one_changes_nothing(
    story: Story, service: Service
) -> None:
    sent = story.accepted()
    closed_before = story.sent(person=story.person())
    assert sent.receipt_id != closed_before.receipt_id
    service.clock.advance(timedelta(minutes=5))
    withdrawn = story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert withdrawn.withdraw_time.ToDatetime(tzinfo=UTC) == service.clock.now()
    ended = story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id))
    assert ended.state == pb.STATE_CONSENT_WITHDRAWN
    assert [clock.kind for clock in ended.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_DELETION
    ]
    assert list(ended.allowed_verbs) == [], "the receiver has to delete its data first"
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=closed_before.id)).state == pb.STATE_SENT
    service.clock.advance(timedelta(minutes=5))
    again = story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert again == withdrawn
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id)) == ended
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT type FROM outbox WHERE subject = %s ORDER BY version", (sent.receipt_id,)
        ).fetchall()
    assert [row["type"] for row in rows] == [
        "enlace.receipt.given.v1",
        "enlace.receipt.withdrawn.v1",
    ]


def test_a_person_may_withdraw_her_consent_through_the_receiver(story: Story) -> None:
    sent = story.accepted()
    withdrawn = story.shelter.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert withdrawn.HasField("withdraw_time")
    events = story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id)).events
    assert (events[-1].verb, events[-1].attribution, events[-1].actor_organization_id) == (
        "consent_withdrawn",
        pb.ATTRIBUTION_PERSON,
        ORG["shelter"],
    )


def test_a_withdrawal_ends_every_referral_based_on_the_receipt(story: Story) -> None:
    first = story.sent()
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=first.person_id))
    draft = story.draft(person=person)
    second = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=first.receipt_id)
    )
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=first.receipt_id))
    for referral in (first, second):
        assert (
            story.shelter.GetReferral(pb.GetReferralRequest(id=referral.id)).state
            == pb.STATE_CONSENT_WITHDRAWN
        )


def test_other_organisations_cannot_find_a_consent(story: Story, service: Service) -> None:
    sent = story.sent()
    clinic = service.as_("clinic", "WORKER")
    asks = [
        partial(clinic.GetReceipt, people_pb2.GetReceiptRequest(id=sent.receipt_id)),
        partial(clinic.WithdrawReceipt, people_pb2.WithdrawReceiptRequest(id=sent.receipt_id)),
        partial(clinic.ListReceipts, people_pb2.ListReceiptsRequest(person_id=sent.person_id)),
        partial(clinic.CreateReceipt, request_for(sent.person_id)),
        # a receiver cannot record a consent for itself
        partial(story.shelter.CreateReceipt, request_for(sent.person_id)),
    ]
    for ask in asks:
        assert refusal(ask) == ("NOT_FOUND", "not_found")
    assert not story.ngo.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id)).HasField(
        "withdraw_time"
    )


def test_the_files_organisation_lists_all_consents_and_a_recipient_only_its_own(
    story: Story,
) -> None:
    sent = story.sent()
    story.receipt(sent.person_id, recipient=ORG["clinic"], purposes=["MED"])
    request = people_pb2.ListReceiptsRequest(person_id=sent.person_id)
    assert {r.recipient_organization_id for r in story.ngo.ListReceipts(request).receipts} == {
        ORG["shelter"],
        ORG["clinic"],
    }
    assert [r.id for r in story.shelter.ListReceipts(request).receipts] == [sent.receipt_id]

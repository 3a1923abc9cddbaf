"""Notes about a person need the same access as her name.

A tampered record opens nothing, and a child never consents alone.
"""

from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from prometheus_client import REGISTRY

from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import Signer
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.store.receipts import Receipts
from services.referrals.referrals.domain.referral import PROBATION_LIMIT
from tests.builders import NOON, NOT_FOUND, refusal, refusal_with_fields
from tests.referrals.conftest import (
    ORG,
    Client,
    Service,
    Story,
    history,
    open_identity,
    send_request,
)
from tests.referrals.test_withdrawal import run_concurrently

G = people_pb2
NOTE = "she is at the bus station until six"
READ: tuple[list[str], int] = ([NOTE], 0)
WITHHELD: tuple[list[str], int] = ([], 1)
MISSING = ("FAILED_PRECONDITION", "receipt_missing")
NOTHING_TO_CONFIRM = ("FAILED_PRECONDITION", "nothing_to_confirm")


def readable_notes(client: Client, referral: pb.Referral) -> tuple[list[str], int]:
    """Returns the notes that the client reads, and the number of withheld notes."""
    events = history(client, referral.id)
    return [event.note for event in events if event.note], sum(
        event.note_withheld for event in events
    )


def test_a_receiver_reads_notes_only_if_the_receipt_names_their_field_group(story: Story) -> None:
    with_notes = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_NOTES])
    without_notes = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_IDENTITY])
    assert readable_notes(story.shelter, with_notes) == READ
    assert readable_notes(story.shelter, without_notes) == WITHHELD
    assert readable_notes(story.ngo, without_notes) == READ


def test_notes_are_withheld_once_the_consent_has_ended(story: Story, service: Service) -> None:
    sent = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_NOTES])
    service.clock.advance(timedelta(days=90))
    assert readable_notes(story.shelter, sent) == WITHHELD
    service.clock.set(NOON)
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert readable_notes(story.shelter, sent) == WITHHELD


def test_only_roles_that_work_with_people_read_notes(story: Story, service: Service) -> None:
    sent = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_NOTES])
    for organization in ("ngo", "shelter"):
        for client, expected in (
            (service.as_(organization, "MANAGER"), WITHHELD),
            (service.as_(organization, scopes=("referrals.read", "people.read")), WITHHELD),
            (service.as_(organization, scopes=("referrals.read", "people.open")), READ),
        ):
            assert readable_notes(client, sent) == expected
    for role in ("COORDINATOR", "AUDITOR"):
        assert readable_notes(service.as_("coalition", role), sent) == WITHHELD
        assert readable_notes(service.as_("ngo", role, "WORKER"), sent) == WITHHELD


@pytest.mark.parametrize("member", ["ngo", "shelter"])  # the holder of the file, the receiver
def test_a_member_on_probation_reads_no_notes_and_its_key_opens_no_file(
    member: str, story: Story, service: Service
) -> None:
    sent = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_NOTES])
    key = service.as_(member, scopes=("people.open",))
    with service.member_with_status(member, "PROBATION"):
        assert readable_notes(getattr(story, member), sent) == WITHHELD
        assert refusal(lambda: open_identity(key, sent.person_id, sent.id)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )


def test_reading_notes_is_recorded_for_sender_and_receiver_but_withholding_them_is_not(
    story: Story,
) -> None:
    sent = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_NOTES])
    referral_without_notes = story.sent(note=NOTE, field_groups=[G.FIELD_GROUP_IDENTITY])
    for client, referral in (
        (story.ngo, sent),
        (story.shelter, sent),
        (story.shelter, referral_without_notes),
    ):
        readable_notes(client, referral)
    assert accesses_to(story, sent.person_id) == [
        (ORG["shelter"], [G.FIELD_GROUP_NOTES]),
        (ORG["ngo"], [G.FIELD_GROUP_NOTES]),
    ]
    assert accesses_to(story, referral_without_notes.person_id) == []


def accesses_to(story: Story, person_id: str) -> list[tuple[str, list[int]]]:
    """Returns the organisation and the field groups of each access to a file, the latest first."""
    answer = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person_id))
    return [(access.organization_id, list(access.field_groups)) for access in answer.readings]


# Records are signed, and verified at each read.


@pytest.mark.parametrize(
    "change",
    [
        "field_groups = '{identity,contact,health,exploitation,family,location,documents,notes}'",
        "field_groups = '{identity,everything}'",
        "purpose_codes = '{HOU,MED,PSS}'",
        "until_time = until_time + interval '10 years'",
        f"recipient_organization_id = '{ORG['clinic']}'",
        "person_id = (SELECT min(id) FROM people WHERE id <> person_id)",
        "giver_code = 'guardian'",
        "create_time = create_time + interval '1 second'",
        "confirm_time = now()",
        "signature = ''",
        "signature = 'ñ'",
        "version = version + 1",
    ],
)
def test_a_receipt_changed_in_the_database_opens_nothing_and_raises_an_alarm_if_it_is_found(
    change: str, story: Story, service: Service
) -> None:
    sent = story.sent()
    assert open_identity(story.shelter, sent.person_id, sent.id).given_name
    as_owner(service, f"UPDATE receipts SET {change} WHERE id = %s", sent.receipt_id)
    alarms_before = alarms()
    error = refusal(lambda: open_identity(story.shelter, sent.person_id, sent.id))
    assert error in {MISSING, NOT_FOUND}
    assert alarms() > alarms_before or error == NOT_FOUND
    draft = story.draft(person=people_pb2.Person(id=sent.person_id))
    request = send_request(draft, sent.receipt_id)
    assert refusal(lambda: story.ngo.SendReferral(request))[1] in {"receipt_missing", "not_found"}


def test_a_withdrawal_cannot_be_undone_in_the_database(story: Story, service: Service) -> None:
    sent = story.sent()
    [old_row] = service.rows(
        "SELECT signature, version FROM receipts WHERE id = %s", sent.receipt_id
    )
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    # Restores the former row. Its signature is valid, but a newer version exists.
    as_owner(
        service,
        "UPDATE receipts SET withdraw_time = NULL, signature = %s, version = %s WHERE id = %s",
        *old_row.values(),
        sent.receipt_id,
    )
    as_owner(service, "UPDATE referrals SET state = 'sent' WHERE id = %s", sent.id)
    assert refusal(lambda: open_identity(story.shelter, sent.person_id, sent.id)) == MISSING
    assert not story.ngo.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id)).genuine


def test_a_genuine_receipt_of_another_person_opens_no_file(story: Story, service: Service) -> None:
    referral, other_referral = story.sent(), story.sent()
    as_owner(
        service,
        "UPDATE referrals SET receipt_id = %s WHERE id = %s",
        other_referral.receipt_id,
        referral.id,
    )
    assert refusal(lambda: open_identity(story.shelter, referral.person_id, referral.id)) == MISSING


def as_owner(service: Service, statement: str, *values: Any) -> None:
    """Changes one row as an attacker who controls the database."""
    assert service.as_owner(statement, *values) == 1


def alarms() -> float:
    return REGISTRY.get_sample_value("enlace_rows_unverified_total", {"table": "receipts"}) or 0.0


def test_after_the_signing_key_was_replaced_an_earlier_receipt_opens_nothing(
    story: Story, service: Service, tmp_path: Path
) -> None:
    receipt = story.receipt(story.person().id)
    key_folder.create(tmp_path, ["referrals"])  # another key, as after a leak
    other_key = key_folder.signing(tmp_path, "facts.referrals")
    same_key = key_folder.signing(service.keys, "facts.referrals")
    with service.database.transaction(SYSTEM) as tx:
        genuine = [
            Receipts(Signer(key)).get(tx, receipt.id).genuine for key in (same_key, other_key)
        ]
    assert genuine == [True, False]


# Children.


@pytest.mark.parametrize("birth_date", ["2020-01-01", "2009-01-01"])
def test_a_child_cannot_consent_alone(birth_date: str, story: Story) -> None:
    child = story.person(birth_date=birth_date)
    assert refusal_with_fields(lambda: story.receipt(child.id))[2] == {
        "receipt.assent_code": "required"
    }
    consent_alone = partial(story.receipt, child.id, assent_code="given")
    assert refusal(consent_alone) == ("FAILED_PRECONDITION", "guardian_required")
    for giver in ("guardian", "authority"):
        receipt = story.receipt(child.id, giver=giver, assent_code="given")
        assert receipt.assent_code == people_pb2.ASSENT_GIVEN


def test_a_decision_in_a_childs_best_interest_needs_a_second_person(
    story: Story, service: Service, manager: Client
) -> None:
    draft = story.draft(person=story.child())
    receipt = story.receipt(draft.person_id, giver="best_interest", assent_code="given")
    request = send_request(draft, receipt.id)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "receipt_unconfirmed",
    )
    confirmation = people_pb2.ConfirmReceiptRequest(id=receipt.id)
    for client, expected in (
        (story.ngo, ("FAILED_PRECONDITION", "second_person_required")),
        (service.as_("clinic", "WORKER"), NOT_FOUND),
        (story.shelter, NOT_FOUND),
    ):
        assert refusal(partial(client.ConfirmReceipt, confirmation)) == expected
    assert manager.ConfirmReceipt(confirmation).confirmed_by_worker_id == manager.caller.id
    assert refusal(lambda: manager.ConfirmReceipt(confirmation)) == NOTHING_TO_CONFIRM
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_no_referral_is_sent_on_a_consent_given_before_the_person_was_known_to_be_a_child(
    story: Story,
) -> None:
    person = story.person()
    draft, receipt = story.draft(person), story.receipt(person.id)
    identity = people_pb2.Identity(birth_date="2012-05-01")
    story.ngo.UpdateIdentity(
        people_pb2.UpdateIdentityRequest(
            id=person.id,
            etag=person.etag,
            identity=identity,
            acknowledged_codes=[pb.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES],
        )
    )
    draft = story.ngo.UpdateReferral(
        pb.UpdateReferralRequest(
            referral=pb.Referral(id=draft.id, etag=draft.etag, receipt_id=receipt.id),
            update_mask=FieldMask(paths=["receipt_id"]),
        )
    )
    assert refusal(lambda: story.ngo.SendReferral(send_request(draft))) == (
        "FAILED_PRECONDITION",
        "guardian_required",
    )


def test_neither_an_adults_consent_nor_an_override_can_be_confirmed_as_a_receipt(
    story: Story, service: Service
) -> None:
    for receipt_id in (story.receipt(story.person().id).id, story.overridden().receipt_id):
        confirmation = people_pb2.ConfirmReceiptRequest(id=receipt_id)
        error = refusal(partial(service.as_("ngo", "MANAGER").ConfirmReceipt, confirmation))
        assert error == NOTHING_TO_CONFIRM


# Recipients, and the limit of referrals on probation.


def test_nothing_is_sent_to_a_suspended_organisation(story: Story, service: Service) -> None:
    draft = story.draft()
    request = send_request(draft, story.receipt(draft.person_id).id)
    with service.member_with_status("shelter", "SUSPENDED", active=False):
        assert refusal(lambda: story.ngo.SendReferral(request)) == (
            "FAILED_PRECONDITION",
            "receiver_not_active",
        )
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_a_member_on_probation_sends_at_most_five_referrals_even_concurrently(
    story: Story, service: Service
) -> None:
    drafts = [story.draft() for _ in range(12)]
    requests = [send_request(draft, story.receipt(draft.person_id).id) for draft in drafts]
    # Resets the number of referrals that this organisation has sent.
    service.as_owner(
        "UPDATE referrals SET send_time = NULL WHERE sender_organization_id = %s", ORG["ngo"]
    )
    sends = [partial(story.ngo.SendReferral, request) for request in requests]
    with service.member_with_status("ngo", "PROBATION"):
        answers = Counter(run_concurrently(*sends))
    assert answers == {"OK": PROBATION_LIMIT, "referral_limit": 12 - PROBATION_LIMIT}


def test_only_sender_and_receiver_can_list_the_referrals_of_a_person(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    request = pb.ListReferralsRequest(
        filter=pb.ReferralFilter(box=pb.BOX_NETWORK, person_id=sent.person_id)
    )
    for role in ("COORDINATOR", "AUDITOR"):
        client = service.as_("coalition", role)
        assert not client.ListReferrals(request).referrals
        assert client.CountReferrals(pb.CountReferralsRequest(filter=request.filter)).total == 0
    request.filter.box = pb.BOX_MINE
    for client in (story.ngo, story.shelter):
        assert [referral.id for referral in client.ListReferrals(request).referrals] == [sent.id]


def test_receipts_awaiting_a_second_person_are_listed_for_the_organisation_until_decided(
    story: Story, service: Service, manager: Client
) -> None:
    confirmed_id, withdrawn_id, expired_id = (
        story.receipt(story.child().id, giver="best_interest", assent_code="given").id
        for _ in range(3)
    )

    def receipts_of(client: Client) -> set[str]:
        answer = client.ListProposedReceipts(people_pb2.ListProposedReceiptsRequest())
        return {receipt.id for receipt in answer.receipts} & {
            confirmed_id,
            withdrawn_id,
            expired_id,
        }

    assert (
        receipts_of(story.ngo) == receipts_of(manager) == {confirmed_id, withdrawn_id, expired_id}
    )
    assert not receipts_of(story.shelter), "the recipient sees a receipt only once it is confirmed"
    assert not receipts_of(service.as_("hotline", "OPERATOR"))
    manager.ConfirmReceipt(people_pb2.ConfirmReceiptRequest(id=confirmed_id))
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=withdrawn_id))
    assert receipts_of(story.ngo) == {expired_id}
    service.clock.advance(timedelta(days=91))
    assert not receipts_of(story.ngo)

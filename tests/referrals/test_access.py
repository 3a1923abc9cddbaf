"""Notes about a person need the same access as her name.

A tampered record opens nothing, and a child never consents alone.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from prometheus_client import REGISTRY

from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import Signer
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.store.receipts import Receipts
from services.referrals.network.store import members
from services.referrals.referrals.domain.referral import PROBATION_LIMIT
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_contacts import status

G = people_pb2
NOTE = "she is at the bus station until six"


def sent_with_note(story: Story, *groups: int) -> pb.Referral:
    """Sends a referral with a note, on a consent to these field groups."""
    draft = story.draft()
    receipt = story.receipt(draft.person_id, field_groups=list(groups))
    sent: pb.Referral = story.ngo.SendReferral(
        pb.SendReferralRequest(
            id=draft.id,
            etag=draft.etag,
            receipt_id=receipt.id,
            note=NOTE,
            request_id=story.request_id(),
        )
    )
    return sent


def readable_notes(client: Client, referral: pb.Referral) -> tuple[list[str], int]:
    """Returns the notes that the client reads, and the number of withheld ones."""
    events = client.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=referral.id)).events
    return [event.note for event in events if event.note], sum(
        event.note_withheld for event in events
    )


def test_a_receiver_reads_notes_only_if_the_receipt_names_their_field_group(story: Story) -> None:
    named, unnamed = (
        sent_with_note(story, G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_NOTES),
        sent_with_note(story, G.FIELD_GROUP_IDENTITY),
    )
    assert readable_notes(story.shelter, named) == ([NOTE], 0)
    assert readable_notes(story.shelter, unnamed) == ([], 1)
    assert readable_notes(story.ngo, unnamed) == ([NOTE], 0)


def test_notes_are_withheld_once_the_consent_has_ended(story: Story, service: Service) -> None:
    sent = sent_with_note(story, G.FIELD_GROUP_NOTES)
    service.clock.advance(timedelta(days=90))
    assert readable_notes(story.shelter, sent) == ([], 1)
    service.clock.set(NOON)
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert readable_notes(story.shelter, sent) == ([], 1)


def test_only_roles_that_work_with_people_read_notes(story: Story, service: Service) -> None:
    sent = sent_with_note(story, G.FIELD_GROUP_NOTES)
    for organization in ("ngo", "shelter"):
        for client in (
            service.as_(organization, "MANAGER"),
            service.as_(organization, scopes=("referrals.read", "people.read")),
        ):
            assert readable_notes(client, sent) == ([], 1)
        assert readable_notes(
            service.as_(organization, scopes=("referrals.read", "people.open")), sent
        ) == (
            [NOTE],
            0,
        )
    for role in ("COORDINATOR", "AUDITOR"):
        assert readable_notes(service.as_("coalition", role), sent) == ([], 1)
        assert readable_notes(service.as_("ngo", role, "WORKER"), sent) == ([], 1)


def test_a_member_on_probation_reads_no_notes_and_its_key_opens_no_file(
    story: Story, service: Service
) -> None:
    sent = sent_with_note(story, G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_NOTES)
    set_status(service, "shelter", "PROBATION")
    try:
        assert readable_notes(story.shelter, sent) == ([], 1)
        key = service.as_("shelter", scopes=("people.open",))
        request = people_pb2.OpenPersonRequest(
            id=sent.person_id, purpose_code="HOU", referral_id=sent.id
        )
        request.field_groups.append(G.FIELD_GROUP_IDENTITY)
        assert refusal(lambda: key.OpenPerson(request)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    finally:
        set_status(service, "shelter", "APPROVED")


def test_reading_notes_is_recorded_for_sender_and_receiver_but_withholding_them_is_not(
    story: Story,
) -> None:
    sent, withheld = (
        sent_with_note(story, G.FIELD_GROUP_NOTES),
        sent_with_note(story, G.FIELD_GROUP_IDENTITY),
    )
    for client in (story.ngo, story.shelter):
        readable_notes(client, sent)
    readable_notes(story.shelter, withheld)
    assert readings_of(story, sent.person_id) == [
        (ORG["shelter"], [G.FIELD_GROUP_NOTES]),
        (ORG["ngo"], [G.FIELD_GROUP_NOTES]),
    ]
    assert readings_of(story, withheld.person_id) == []


def readings_of(story: Story, person_id: str) -> list[tuple[str, list[int]]]:
    readings = story.ngo.ListReadings(people_pb2.ListReadingsRequest(person_id=person_id)).readings
    return [(reading.organization_id, list(reading.field_groups)) for reading in readings]


def set_status(service: Service, organization: str, standing: str, *, active: bool = True) -> None:
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG[organization], active, standing, "NGO")


# Records are signed, and verified at each read.


@pytest.mark.parametrize(
    "widened",
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
def test_a_receipt_changed_in_the_database_opens_nothing_and_raises_an_alarm(
    widened: str, story: Story, service: Service
) -> None:
    sent = story.sent()
    request = people_pb2.OpenPersonRequest(
        id=sent.person_id, purpose_code="HOU", referral_id=sent.id
    )
    request.field_groups.append(G.FIELD_GROUP_IDENTITY)
    assert story.shelter.OpenPerson(request).given_name
    as_owner(service, f"UPDATE receipts SET {widened} WHERE id = %s", sent.receipt_id)
    before = alarms()
    refused = refusal(lambda: story.shelter.OpenPerson(request))
    assert refused in {("FAILED_PRECONDITION", "receipt_missing"), ("NOT_FOUND", "not_found")}
    assert alarms() > before or refused[0] == "NOT_FOUND"
    draft = story.draft(person=people_pb2.Person(id=sent.person_id))
    again = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=sent.receipt_id)
    assert refusal(lambda: story.ngo.SendReferral(again))[1] in {"receipt_missing", "not_found"}


def test_a_withdrawal_cannot_be_undone_in_the_database(story: Story, service: Service) -> None:
    sent = story.sent()
    with psycopg.connect(service.migration_url) as owner:
        old = owner.execute(
            "SELECT signature, version FROM receipts WHERE id = %s", (sent.receipt_id,)
        ).fetchone()
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert old
    # The former row, with its signature: its signature is valid, but a newer version exists.
    as_owner(
        service,
        "UPDATE receipts SET withdraw_time = NULL, signature = %s, version = %s WHERE id = %s",
        *old,
        sent.receipt_id,
    )
    as_owner(service, "UPDATE referrals SET state = 'sent' WHERE id = %s", sent.id)
    request = people_pb2.OpenPersonRequest(
        id=sent.person_id, purpose_code="HOU", referral_id=sent.id
    )
    request.field_groups.append(G.FIELD_GROUP_IDENTITY)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )
    assert not story.ngo.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id)).genuine


def test_a_genuine_receipt_of_another_person_opens_no_file(story: Story, service: Service) -> None:
    mine, other = story.sent(), story.sent()
    as_owner(
        service, "UPDATE referrals SET receipt_id = %s WHERE id = %s", other.receipt_id, mine.id
    )
    request = people_pb2.OpenPersonRequest(
        id=mine.person_id, purpose_code="HOU", referral_id=mine.id
    )
    request.field_groups.append(G.FIELD_GROUP_IDENTITY)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )


def as_owner(service: Service, statement: str, *values: Any) -> None:
    """Runs a statement as an attacker who controls the database."""
    with psycopg.connect(service.migration_url) as owner:
        assert owner.execute(statement, values).rowcount == 1


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
    alone = partial(story.receipt, child.id, assent_code="given")
    assert refusal(alone) == ("FAILED_PRECONDITION", "guardian_required")
    for giver in ("guardian", "authority"):
        assert (
            story.receipt(child.id, giver=giver, assent_code="given").assent_code
            == people_pb2.ASSENT_GIVEN
        )


def test_a_decision_in_a_childs_best_interest_needs_a_second_person(
    story: Story, service: Service
) -> None:
    draft = story.draft(person=story.child())
    decided = story.receipt(draft.person_id, giver="best_interest", assent_code="given")
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=decided.id)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "receipt_unconfirmed",
    )
    confirming = people_pb2.ConfirmReceiptRequest(id=decided.id)
    assert refusal(lambda: story.ngo.ConfirmReceipt(confirming)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    for stranger in (service.as_("clinic", "WORKER"), story.shelter):
        assert refusal(partial(stranger.ConfirmReceipt, confirming)) == ("NOT_FOUND", "not_found")
    manager = service.as_("ngo", "MANAGER")
    assert manager.ConfirmReceipt(confirming).confirmed_by_worker_id == manager.caller.id
    assert refusal(lambda: manager.ConfirmReceipt(confirming)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_no_referral_is_sent_on_a_consent_given_before_the_person_was_known_to_be_a_child(
    story: Story,
) -> None:
    draft = story.draft()
    receipt = story.receipt(draft.person_id)
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=draft.person_id))
    born = people_pb2.Identity(birth_date="2012-05-01")
    story.ngo.UpdateIdentity(
        people_pb2.UpdateIdentityRequest(id=person.id, etag=person.etag, identity=born)
    )
    touched = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    touched.update_mask.paths.append("receipt_id")
    draft = story.ngo.UpdateReferral(touched)
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (
        "FAILED_PRECONDITION",
        "guardian_required",
    )


def test_an_adults_consent_cannot_be_confirmed(story: Story, service: Service) -> None:
    receipt = story.receipt(story.person().id)
    confirming = people_pb2.ConfirmReceiptRequest(id=receipt.id)
    assert refusal(lambda: service.as_("ngo", "MANAGER").ConfirmReceipt(confirming)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    override = people_pb2.ConfirmReceiptRequest(id=story.overridden().receipt_id)
    assert refusal(lambda: service.as_("ngo", "MANAGER").ConfirmReceipt(override)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )


# Recipients, and the limit of referrals on probation.


def test_nothing_is_sent_to_a_suspended_organisation(story: Story, service: Service) -> None:
    draft = story.draft()
    receipt = story.receipt(draft.person_id)
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    set_status(service, "shelter", "SUSPENDED", active=False)
    try:
        assert refusal(lambda: story.ngo.SendReferral(request)) == (
            "FAILED_PRECONDITION",
            "receiver_not_active",
        )
    finally:
        set_status(service, "shelter", "APPROVED")
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_a_member_on_probation_sends_at_most_five_referrals_even_concurrently(
    story: Story, service: Service
) -> None:
    drafts = [
        (draft, story.receipt(draft.person_id)) for draft in (story.draft() for _ in range(12))
    ]
    # Resets what this organisation has sent. A new organisation would do as well, but the drafts
    # belong to this one.
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE referrals SET send_time = NULL WHERE sender_organization_id = %s", (ORG["ngo"],)
        )
    set_status(service, "ngo", "PROBATION")
    try:

        def send(pair: tuple[pb.Referral, people_pb2.Receipt]) -> str:
            try:
                story.ngo.SendReferral(
                    pb.SendReferralRequest(id=pair[0].id, etag=pair[0].etag, receipt_id=pair[1].id)
                )
            except grpc.RpcError as error:
                return str(error.details())
            return "OK"

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(send, drafts))
        assert sorted(answers) == sorted(
            ["OK"] * PROBATION_LIMIT + ["referral_limit"] * (12 - PROBATION_LIMIT)
        )
    finally:
        set_status(service, "ngo", "APPROVED")


def test_the_right_pin_is_never_counted_as_a_guess_even_if_the_request_is_refused(
    story: Story, service: Service
) -> None:
    created = story.contact()
    request = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=True
    )
    for _ in range(7):
        assert refusal(lambda: service.public().ConfirmHelp(request)) == (
            "FAILED_PRECONDITION",
            "nothing_to_confirm",
        )
    assert status(service.public(), created).contact_time_band == contacts_pb2.TIME_BAND_TODAY


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
    story: Story, service: Service
) -> None:
    def proposed_receipts(client: Client) -> set[str]:
        return {
            receipt.id
            for receipt in client.ListProposedReceipts(
                people_pb2.ListProposedReceiptsRequest()
            ).receipts
        }

    kept, withdrawn, over = (
        story.receipt(story.child().id, giver="best_interest", assent_code="given")
        for _ in range(3)
    )
    manager = service.as_("ngo", "MANAGER")
    assert (
        proposed_receipts(story.ngo) & {kept.id, withdrawn.id, over.id}
        == proposed_receipts(manager) & {kept.id, withdrawn.id, over.id}
        != set()
    )
    assert {kept.id, withdrawn.id, over.id} <= proposed_receipts(story.ngo)
    for stranger in (story.shelter, service.as_("hotline", "OPERATOR")):
        assert not proposed_receipts(stranger) & {kept.id, withdrawn.id, over.id}, (
            "the recipient sees it only once it is confirmed"
        )
    manager.ConfirmReceipt(people_pb2.ConfirmReceiptRequest(id=kept.id))
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=withdrawn.id))
    assert proposed_receipts(story.ngo) & {kept.id, withdrawn.id, over.id} == {over.id}
    service.clock.advance(timedelta(days=91))
    assert not proposed_receipts(story.ngo) & {over.id}

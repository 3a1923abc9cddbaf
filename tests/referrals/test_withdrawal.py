"""The person withdraws her consent.

All her referrals end, whoever allowed them, even those that are sent at the same time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial
from threading import Barrier
from typing import Any

import grpc
import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, enquiries_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOT_FOUND, NOTHING_UNSAFE, refusal
from tests.parts.loops import eventually
from tests.referrals.conftest import (
    ARRIVAL,
    LONG,
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    read,
    send_request,
)
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_contacts import referred_caller, status

RACES = 200
LIVE = {
    pb.STATE_SENT,
    pb.STATE_ACKNOWLEDGED,
    pb.STATE_INFO_REQUESTED,
    pb.STATE_ACCEPTED,
    pb.STATE_WAITLISTED,
    pb.STATE_IN_PROGRESS,
    pb.STATE_COMPLETED,
}


def run_concurrently(*acts: Callable[[], Any]) -> list[str]:
    """Runs all acts concurrently; returns "OK" or the reason of the refusal of each."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> str:
        barrier.wait()
        try:
            act()
        except grpc.RpcError as error:
            return str(error.details())
        return "OK"

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def withdrawal_request(
    created: contacts_pb2.CreateContactResponse,
) -> contacts_pb2.WithdrawConsentByReferenceRequest:
    return contacts_pb2.WithdrawConsentByReferenceRequest(**credentials(created))


def state_of(client: Client, referral: pb.Referral) -> int:
    return read(client, referral.id).state


def create_draft(operator: Client, service_name: str, need: str, **values: Any) -> pb.Referral:
    draft: pb.Referral = operator.CreateReferral(
        **NOTHING_UNSAFE,
        need_code=need,
        urgency=pb.URGENCY_URGENT,
        service_id=SERVICE[service_name],
        **values,
    )
    return draft


def override_request(draft: pb.Referral) -> pb.SendReferralRequest:
    return send_request(
        draft,
        override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note="in danger",
        arrival=ARRIVAL,
    )


def test_no_referral_is_sent_on_a_consent_withdrawn_concurrently(story: Story) -> None:
    outcomes = set()
    for _ in range(RACES):
        draft = story.draft()
        receipt = story.receipt(draft.person_id)
        sent, withdrawn = run_concurrently(
            partial(story.ngo.SendReferral, send_request(draft, receipt.id, arrival=ARRIVAL)),
            partial(story.ngo.WithdrawReceipt, id=receipt.id),
        )
        assert withdrawn == "OK"
        state = state_of(story.ngo, draft)
        assert state not in LIVE
        assert (sent, state) in {
            ("OK", pb.STATE_CONSENT_WITHDRAWN),
            ("receipt_withdrawn", pb.STATE_DRAFT),
        }
        outcomes.add(sent)
    assert outcomes == {"OK", "receipt_withdrawn"}, (
        "a race that always has the same winner tests nothing"
    )


def test_an_override_sent_during_a_withdrawal_ends_with_it_or_with_the_next_withdrawal(
    story: Story, service: Service
) -> None:
    created, first, operator = referred_caller(story)
    rescuer, public = service.as_("hotline", "OPERATOR", "EMERGENCY"), service.public()
    outcomes = set()
    for _ in range(RACES // 4):
        draft = create_draft(operator, "clinic_visit", "MED.CHK", person_id=first.person_id)
        sent, withdrawn = run_concurrently(
            partial(rescuer.SendReferral, override_request(draft)),
            partial(public.WithdrawConsentByReference, withdrawal_request(created)),
        )
        assert withdrawn == "OK"
        if state_of(operator, draft) in LIVE:
            # The override was sent after her withdrawal. Nothing had gone to the clinic before,
            # so it is an ordinary override, which she can withdraw too.
            assert sent == "OK"
            public.WithdrawConsentByReference(withdrawal_request(created))
        assert state_of(operator, draft) not in LIVE
        outcomes.add(sent)
        if sent == "OK":
            break
    assert "OK" in outcomes or "override_after_withdrawal" in outcomes


def matched_enquiry(operator: Client, shelter: Client, person_id: str) -> str:
    """Makes an enquiry for a person, and takes the shelter's offer; returns the enquiry's id."""
    content = enquiries_pb2.EnquiryContent(
        need_code="HOU.EMG", urgency=pb.URGENCY_EMERGENCY, country="NI"
    )
    created = operator.CreateEnquiry(
        **NOTHING_UNSAFE, content=content, service_ids=[SERVICE["shelter_bed"]], person_id=person_id
    )
    offer = {
        "id": created.id,
        "service_id": SERVICE["shelter_bed"],
        "answer": enquiries_pb2.OFFER_ANSWER_YES,
    }
    shelter.AnswerEnquiry(**offer, etag=shelter.GetEnquiry(id=created.id).etag)
    operator.TakeOffer(**offer)
    return str(created.id)


def end_of_her_case(
    service: Service, created: contacts_pb2.CreateContactResponse, person_id: str
) -> dict[str, Callable[[], Any]]:
    """Returns the two ways in which everything that was asked for a person ends."""
    public = service.public()
    return {
        "withdrawal": partial(public.WithdrawConsentByReference, withdrawal_request(created)),
        "erasure": partial(service.as_("hotline", "MANAGER").ConfirmErasure, person_id=person_id),
    }


def waiting(service: Service) -> int:
    """Returns the number of transactions that wait for a lock."""
    return len(
        service.rows(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("action", ["withdrawal", "erasure"])
def test_a_referral_from_an_enquiry_and_a_concurrent_end_of_her_case_do_not_wait_for_each_other(
    story: Story, service: Service, action: str
) -> None:
    contact, first, operator = referred_caller(story)
    enquiry_id = matched_enquiry(operator, story.shelter, first.person_id)
    operator.ProposeErasure(person_id=first.person_id)
    end = end_of_her_case(service, contact, first.person_id)[action]
    create = partial(
        operator.CreateReferral, **NOTHING_UNSAFE, person_id=first.person_id, enquiry_id=enquiry_id
    )
    with ThreadPoolExecutor(2) as pool:
        # both requests arrive while the enquiry is locked: first the end of her case
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM enquiries WHERE id = %s FOR UPDATE", (enquiry_id,)).fetchone()
            ended = pool.submit(run_concurrently, end)
            assert eventually(lambda: waiting(service) == 1 or ended.done(), LONG)
            created = pool.submit(run_concurrently, create)
            assert eventually(lambda: waiting(service) == 2 or ended.done() or created.done(), LONG)
        assert ended.result() + created.result() == [
            "OK",
            "illegal_transition" if action == "withdrawal" else "person_erased",
        ]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("action", ["withdrawal", "erasure"])
def test_the_end_of_her_case_locks_a_draft_before_its_enquiry_and_contact_as_the_drafts_steps_do(
    story: Story, service: Service, action: str
) -> None:
    created, first, operator = referred_caller(story)
    enquiry_id = matched_enquiry(operator, story.shelter, first.person_id)
    draft = operator.CreateReferral(
        **NOTHING_UNSAFE, person_id=first.person_id, enquiry_id=enquiry_id
    )
    operator.ProposeErasure(person_id=first.person_id)
    end = end_of_her_case(service, created, first.person_id)[action]
    with ThreadPoolExecutor(1) as pool:
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM referrals WHERE id = %s FOR UPDATE", (draft.id,)).fetchone()
            ended = pool.submit(run_concurrently, end)
            assert eventually(lambda: waiting(service) == 1 or ended.done(), LONG)
            tx.execute("SELECT FROM enquiries WHERE id = %s FOR UPDATE NOWAIT", (enquiry_id,))
            tx.execute(
                "SELECT FROM contacts WHERE id = %s FOR UPDATE NOWAIT", (created.contact.id,)
            )
        assert ended.result() == ["OK"]


def test_a_withdrawal_by_reference_ends_all_consents_and_overrides_of_the_person(
    story: Story, line: Story, service: Service
) -> None:
    contact, linked, operator = referred_caller(story)
    person_id = linked.person_id
    # Neither of these referrals names the contact: one has no consent, the other its own consent.
    draft = create_draft(operator, "clinic_visit", "MED.CHK", person_id=person_id)
    rescuer = service.as_("hotline", "OPERATOR", "EMERGENCY")
    overridden = rescuer.SendReferral(override_request(draft))
    draft = create_draft(operator, "police_report", "PRO.ORD", person_id=person_id)
    unlinked = line.send(draft, recipient=ORG["police"], purposes=["PRO"])

    before = status(service.public(), contact)
    assert (before.organizations_with_access, before.file_count, before.may_withdraw) == (
        3,
        1,
        True,
    )
    assert len(before.items) == 3
    after = service.public().WithdrawConsentByReference(withdrawal_request(contact))
    assert (after.organizations_with_access, after.file_count, after.may_withdraw) == (0, 1, False)
    for referral, organization in (
        (linked, "shelter"),
        (overridden, "clinic"),
        (unlinked, "police"),
    ):
        assert state_of(operator, referral) == pb.STATE_CONSENT_WITHDRAWN
        request = people_pb2.OpenPersonRequest(
            id=person_id,
            purpose_code=referral.need_code,
            referral_id=referral.id,
            field_groups=[people_pb2.FIELD_GROUP_IDENTITY],
        )
        client = service.as_(organization, "WORKER")
        assert refusal(partial(client.OpenPerson, request)) == NOT_FOUND
    receipts = operator.ListReceipts(person_id=person_id).receipts
    assert len(receipts) == 3
    assert all(receipt.HasField("withdraw_time") and receipt.genuine for receipt in receipts)


def draft_beside(operator: Client, first: pb.Referral) -> pb.Referral:
    """Opens a second draft for the person and the contact of a referral."""
    ids = {"person_id": first.person_id, "contact_id": first.contact_id}
    return create_draft(operator, "shelter_bed", "HOU.EMG", **ids)


def test_a_withdrawal_of_everything_ends_drafts_and_unmet_needs_and_the_sender_is_notified(
    story: Story, service: Service
) -> None:
    created, declined, operator = referred_caller(story)
    story.decline(declined)
    draft = draft_beside(operator, declined)
    assert status(service.public(), created).may_withdraw
    after = service.public().WithdrawConsentByReference(withdrawal_request(created))
    assert contacts_pb2.REFERENCE_STATE_BEING_PREPARED not in {
        item.status_code for item in after.items
    }
    assert not after.may_withdraw
    ended = read(operator, draft.id)
    assert (ended.state, list(ended.allowed_verbs)) == (
        pb.STATE_CONSENT_WITHDRAWN,
        ["enter_in_error"],
    )
    assert ended.clocks[0].HasField("stop_time")
    returned = read(operator, declined.id)
    assert returned.need_close_reason_code == pb.NEED_CLOSE_REASON_PERSON_DECLINED
    assert not returned.unanswered
    [row] = service.rows(
        "SELECT payload FROM outbox WHERE subject = %s"
        " AND type = 'enlace.referral.consent_withdrawn.v1'",
        draft.id,
    )
    fact = facts_pb2.ReferralFact.FromString(row["payload"])
    assert (fact.sender_organization_id, fact.receiver_organization_id) == (ORG["hotline"], "")
    assert refusal(lambda: read(story.shelter, draft.id)) == NOT_FOUND


def test_a_caller_can_stop_a_draft_or_an_open_need_alone_and_the_rest_goes_on(
    story: Story, service: Service
) -> None:
    created, first, operator = referred_caller(story)
    public = service.public()
    draft = draft_beside(operator, first)
    keys = {item.status_code: item.key for item in status(public, created).items}
    request = withdrawal_request(created)
    request.item_key = keys[contacts_pb2.REFERENCE_STATE_BEING_PREPARED]
    public.WithdrawConsentByReference(request)
    states = [state_of(operator, referral) for referral in (first, draft)]
    assert states == [pb.STATE_SENT, pb.STATE_CONSENT_WITHDRAWN]
    story.decline(first)
    request.item_key = keys[contacts_pb2.REFERENCE_STATE_ASKED]
    public.WithdrawConsentByReference(request)
    assert not read(operator, first.id).unanswered


def test_an_open_need_is_referred_again_after_the_caller_stopped_the_draft_that_followed(
    story: Story, service: Service
) -> None:
    created, declined, operator = referred_caller(story)
    public = service.public()
    story.decline(declined)
    draft = operator.CreateReferral(person_id=declined.person_id, based_on_id=declined.id)
    assert read(operator, declined.id).following_id == draft.id
    request = withdrawal_request(created)
    [request.item_key] = [
        item.key
        for item in status(public, created).items
        if item.status_code == contacts_pb2.REFERENCE_STATE_BEING_PREPARED
    ]
    public.WithdrawConsentByReference(request)
    assert state_of(operator, draft) == pb.STATE_CONSENT_WITHDRAWN
    returned = read(operator, declined.id)
    assert (returned.following_id, returned.unanswered) == ("", True)


def test_a_contact_whose_only_draft_ended_with_a_withdrawal_counts_as_open_and_not_as_referred(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), story.operator
    person_id = operator.CreatePerson().id
    operator.CreateReferral(**NOTHING_UNSAFE, person_id=person_id, contact_id=created.contact.id)
    service.public().WithdrawConsentByReference(withdrawal_request(created))
    outcome_code = operator.GetContact(id=created.contact.id).outcome_code
    assert outcome_code == contacts_pb2.CONTACT_OUTCOME_OPEN


def test_a_reference_can_withdraw_for_the_file_of_its_contact_even_before_any_referral(
    story: Story, service: Service
) -> None:
    created = story.contact()
    operator = story.operator
    contact = update_contact(operator, created.contact, person_id=operator.CreatePerson().id)
    assert status(service.public(), created).file_count == 1
    link = partial(update_contact, operator, contact, person_id=story.person().id)
    assert refusal(link) == NOT_FOUND, "a reference must not speak for somebody else"


def test_after_a_withdrawal_only_another_worker_may_override_and_only_for_a_new_danger(
    story: Story, service: Service
) -> None:
    sent = story.overridden()
    story.ngo.WithdrawReceipt(id=sent.receipt_id)
    person = people_pb2.Person(id=sent.person_id)
    expected = ("FAILED_PRECONDITION", "override_after_withdrawal")
    for reason in (
        "life_at_risk",
        "child_at_risk",
        "cannot_consent_medically",
        "court_order",
        "danger_after_withdrawal",
    ):
        # the worker who sent the first override
        assert refusal(partial(story.overridden, reason, person=person)) == expected
    other = service.as_("ngo", "OPERATOR", "EMERGENCY")
    assert refusal(lambda: story.overridden("life_at_risk", other, person=person)) == expected
    assert story.overridden("danger_after_withdrawal", other, person=person).state == pb.STATE_SENT
    for_clinic = story.overridden(
        "life_at_risk", person=person, service_id=SERVICE["clinic_visit"], need_code="MED.CHK"
    )
    assert for_clinic.state == pb.STATE_SENT, (
        "her withdrawal from one receiver does not concern another"
    )


def test_who_sent_a_referral_that_came_back_overrides_no_withdrawal_of_its_consent(
    story: Story, service: Service
) -> None:
    sender = service.as_("ngo", "OPERATOR", "EMERGENCY")
    draft = story.draft()
    receipt = story.receipt(draft.person_id)  # recorded by another worker
    story.decline(sender.SendReferral(send_request(draft, receipt.id)))
    story.ngo.WithdrawReceipt(id=receipt.id)
    override = partial(
        story.overridden,
        "danger_after_withdrawal",
        sender,
        person=people_pb2.Person(id=draft.person_id),
    )
    assert refusal(override) == ("FAILED_PRECONDITION", "override_after_withdrawal")


def test_a_danger_after_a_withdrawal_is_refused_as_a_reason_without_a_withdrawal(
    story: Story,
) -> None:
    assert refusal(lambda: story.overridden("danger_after_withdrawal")) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_concurrent_withdrawals_and_steps_neither_hang_nor_fail(
    story: Story, service: Service
) -> None:
    for _ in range(20):
        created, sent, operator = referred_caller(story)
        acts = [
            partial(service.public().WithdrawConsentByReference, withdrawal_request(created)),
            partial(operator.WithdrawReceipt, id=sent.receipt_id),
            partial(story.shelter.AcknowledgeReferral, id=sent.id, etag=sent.etag),
            partial(
                operator.WithdrawReferral,
                id=sent.id,
                etag=sent.etag,
                reason_code=pb.WITHDRAW_REASON_MOVED,
            ),
        ]
        by_reference, by_worker, *steps = run_concurrently(*acts)
        assert {by_reference, by_worker} == {"OK"}
        assert "fault" not in steps
        assert state_of(operator, sent) in (pb.STATE_CONSENT_WITHDRAWN, pb.STATE_WITHDRAWN)
    live_without_consent = service.rows(
        "SELECT r.id FROM referrals r JOIN receipts c ON c.id = r.receipt_id"
        " WHERE c.withdraw_time IS NOT NULL AND r.state = ANY(%s)",
        [pb.State.Name(state).removeprefix("STATE_").lower() for state in LIVE],
    )
    assert live_without_consent == []


def test_a_receiver_confirms_the_deletion_within_three_days_of_a_withdrawal(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    story.ngo.WithdrawReceipt(id=sent.receipt_id)
    filter_ = pb.ReferralFilter(
        box=pb.BOX_INBOX, live=True, waiting_for_me=True, person_id=sent.person_id
    )
    [listed] = story.shelter.ListReferrals(filter=filter_).referrals
    assert listed.id == sent.id
    assert (listed.main_step, listed.turn) == ("confirm_deletion", pb.TURN_RECEIVER)
    assert list(listed.allowed_verbs) == ["confirm_deletion"]
    assert listed.next_due_time.ToDatetime(tzinfo=UTC) - service.clock.now() == timedelta(hours=72)
    request = pb.ConfirmDeletionRequest(id=sent.id, etag=listed.etag)
    illegal_transition = ("FAILED_PRECONDITION", "illegal_transition")
    assert refusal(lambda: story.ngo.ConfirmDeletion(request)) == illegal_transition
    confirmed = story.shelter.ConfirmDeletion(request)
    assert confirmed.state == pb.STATE_CONSENT_WITHDRAWN
    assert (confirmed.turn, confirmed.HasField("next_due_time")) == (pb.TURN_UNSPECIFIED, False)
    assert listed.person == sent.person, "the receiver has to know whose data it must delete"
    assert read(story.shelter, sent.id).person == pb.CoarsePerson()
    assert read(story.ngo, sent.id).person == sent.person
    request.etag = confirmed.etag
    assert refusal(lambda: story.shelter.ConfirmDeletion(request)) == illegal_transition
    assert not story.shelter.ListReferrals(filter=filter_).referrals


def test_the_status_of_a_reference_shows_whether_the_receiver_has_deleted_the_data(
    story: Story, service: Service
) -> None:
    created, sent, _ = referred_caller(story)
    [item] = status(service.public(), created).items
    assert not item.HasField("deletion_due_time")
    service.public().WithdrawConsentByReference(withdrawal_request(created))
    [item] = status(service.public(), created).items
    assert item.deletion_due_time.ToDatetime(tzinfo=UTC) - service.clock.now() == timedelta(
        hours=72
    )
    assert not item.HasField("deletion_confirm_time")
    service.clock.advance(timedelta(hours=5))
    story.shelter.ConfirmDeletion(id=sent.id, etag=read(story.shelter, sent.id).etag)
    [item] = status(service.public(), created).items
    assert not item.HasField("deletion_due_time")
    assert item.deletion_confirm_time.ToDatetime(tzinfo=UTC) == service.clock.now()

"""A person withdraws everything in one step: by telling her worker, or with her reference."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.db import Transaction
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2, people_pb2, plans_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.usecases import callbacks
from services.referrals.network.domain.deadline import DELETION
from tests.builders import NOT_FOUND, NOTHING_UNSAFE, refusal
from tests.referrals.conftest import SERVICE, Service, Story, history, read, send_request
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_any_line import read_contact
from tests.referrals.test_callbacks import PHONE, arrange_call, owed_calls
from tests.referrals.test_contacts import completed
from tests.referrals.test_reroute import reroute_request_for
from tests.referrals.test_trail import last_sequence
from tests.referrals.test_withdrawal import run_concurrently

TABLES = "referrals referral_events receipts enquiries callbacks contacts plans outbox".split()


@dataclass
class CallersCase:
    """All that a line asked for a caller, on two consents."""

    story: Story
    created: c.CreateContactResponse
    person: people_pb2.Person
    sent: pb.Referral
    declined: pb.Referral
    draft: pb.Referral
    enquiry: enquiries_pb2.Enquiry
    plan: plans_pb2.Plan

    def states(self) -> tuple[Any, ...]:
        """Returns the state of all that was asked."""
        client = self.story.ngo
        receipts = client.ListReceipts(person_id=self.person.id).receipts
        return (
            [receipt.live for receipt in receipts],
            read(client, self.sent.id).state,
            read(client, self.declined.id).need_close_reason_code,
            read(client, self.draft.id).state,
            client.GetEnquiry(id=self.enquiry.id).state,
            client.GetPlan(id=self.plan.id).close_reason_code,
            len(owed_calls(self.story, self.created)),
        )


NOTHING_LEFT = (
    [False, False],
    pb.STATE_CONSENT_WITHDRAWN,
    pb.NEED_CLOSE_REASON_PERSON_DECLINED,
    pb.STATE_CONSENT_WITHDRAWN,
    enquiries_pb2.ENQUIRY_STATE_CANCELLED,
    plans_pb2.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN,
    0,
)


@pytest.fixture
def case(line: Story) -> CallersCase:
    story, created = line, line.contact()
    person = story.person(plan=people_pb2.SafeContact(channel_code=PHONE))
    update_contact(story.ngo, read_contact(story.ngo, created.contact), person_id=person.id)
    values: dict[str, Any] = {"person": person, "contact_id": created.contact.id}
    clinic: dict[str, Any] = {"service_id": SERVICE["clinic_visit"], "need_code": "MED.CHK"}
    sent = story.sent(**values)
    declined = story.decline(story.sent(**values))
    case = CallersCase(
        story,
        created,
        person,
        sent,
        declined,
        draft=story.draft(**values, **clinic),
        enquiry=story.ngo.CreateEnquiry(
            **NOTHING_UNSAFE,
            content=enquiries_pb2.EnquiryContent(
                need_code="HOU.EMG", urgency=pb.URGENCY_EMERGENCY, country="NI"
            ),
            service_ids=[SERVICE["shelter_bed"]],
            person_id=person.id,
        ),
        plan=story.ngo.CreatePlan(person_id=person.id, pathway_id="protection_on_the_line"),
    )
    arrange_call(story, created.contact.id)
    return case


def tell_worker(case: CallersCase) -> Any:
    return case.story.ngo.WithdrawAllReceipts(id=case.person.id)


def use_reference(case: CallersCase) -> Any:
    return case.story.service.public().WithdrawConsentByReference(**credentials(case.created))


@pytest.mark.parametrize("withdraw", [tell_worker, use_reference])
def test_a_withdrawal_of_everything_through_a_worker_or_by_reference_leaves_nothing(
    withdraw: Callable[[CallersCase], Any], case: CallersCase
) -> None:
    withdraw(case)
    assert case.states() == NOTHING_LEFT


@pytest.mark.parametrize("withdraw", [tell_worker, use_reference])
def test_a_withdrawal_that_is_interrupted_changes_nothing_and_can_be_repeated(
    withdraw: Callable[[CallersCase], Any],
    case: CallersCase,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(tx: Transaction, *_: object) -> None:
        tx.execute("SELECT 1 / 0")

    before = [service.rows(f"SELECT * FROM {table}") for table in TABLES]
    with monkeypatch.context() as patched:
        patched.setattr(callbacks, "end", interrupt)  # the last part of the work
        with pytest.raises(grpc.RpcError, match="INTERNAL"):
            withdraw(case)
    assert [service.rows(f"SELECT * FROM {table}") for table in TABLES] == before
    withdraw(case)
    assert case.states() == NOTHING_LEFT


@pytest.mark.usefixtures("unhurried")
def test_withdrawals_and_steps_at_the_same_time_neither_hang_nor_fail(line: Story) -> None:
    shelter = line.shelter
    for _ in range(15):
        created = line.contact()
        person = line.person(plan=people_pb2.SafeContact(channel_code=PHONE))
        update_contact(line.ngo, read_contact(line.ngo, created.contact), person_id=person.id)
        values: dict[str, Any] = {"person": person, "contact_id": created.contact.id}
        sent, draft = line.sent(**values), line.draft(**values)
        receipt = line.receipt(person.id)
        arrange_call(line, created.contact.id)
        public = line.service.public()
        everything, by_reference, withdrawn, *steps = run_concurrently(
            partial(line.ngo.WithdrawAllReceipts, id=person.id),
            partial(public.WithdrawConsentByReference, **credentials(created)),
            partial(line.ngo.WithdrawReceipt, id=sent.receipt_id),
            partial(shelter.AcknowledgeReferral, id=sent.id, etag=sent.etag),
            partial(line.ngo.SendReferral, send_request(draft, receipt.id)),
        )
        assert {everything, by_reference, withdrawn} == {"OK"}
        assert not any(step.startswith("fault") for step in steps)
        for referral in (sent, draft):
            assert read(line.ngo, referral.id).state == pb.STATE_CONSENT_WITHDRAWN
        assert not owed_calls(line, created)


def test_a_worker_who_sends_the_withdrawal_again_changes_nothing(
    case: CallersCase, service: Service
) -> None:
    first = tell_worker(case)
    assert [receipt.HasField("withdraw_time") for receipt in first.receipts] == [True, True]
    facts = service.rows("SELECT count(*) FROM outbox")
    assert tell_worker(case) == first
    assert service.rows("SELECT count(*) FROM outbox") == facts


def test_the_trail_names_the_worker_and_the_withdrawn_receipts(
    case: CallersCase, service: Service
) -> None:
    before = last_sequence(service)
    receipts = tell_worker(case).receipts
    (row,) = service.rows("SELECT * FROM audit WHERE sequence > %s", before)
    assert (row["action"], row["object_id"], row["actor_id"], set(row["detail_codes"])) == (
        "withdraw_consent",
        case.person.id,
        case.story.ngo.caller.id,
        {f"receipt:{receipt.id}" for receipt in receipts},
    )


def test_only_the_files_organisation_withdraws_everything(case: CallersCase) -> None:
    """A recipient may withdraw only the consents that name it."""
    story = case.story
    for client in (story.shelter, story.service.as_("clinic", "WORKER")):
        act = partial(client.WithdrawAllReceipts, id=case.person.id)
        assert refusal(act) == NOT_FOUND
    assert read(story.ngo, case.sent.id).state == pb.STATE_SENT


@pytest.mark.parametrize("end", ["closed", "withdrawn"])
@pytest.mark.parametrize("everything", [True, False], ids=["everything", "one consent"])
def test_a_receiver_whose_referral_ended_before_is_asked_to_delete_what_it_holds(
    end: str, everything: bool, story: Story
) -> None:
    ended = ended_referral(story, end)
    if everything:
        story.ngo.WithdrawAllReceipts(id=ended.person_id)
    else:
        story.ngo.WithdrawReceipt(id=ended.receipt_id)
    mine = pb.ReferralFilter(
        box=pb.BOX_INBOX, live=True, waiting_for_me=True, person_id=ended.person_id
    )
    [listed] = story.shelter.ListReferrals(filter=mine).referrals
    assert (listed.state, listed.turn) == (ended.state, pb.TURN_RECEIVER), "it keeps its state"
    assert (listed.main_step, list(listed.allowed_verbs)) == (
        "confirm_deletion",
        ["confirm_deletion"],
    )
    assert listed.next_due_time.ToDatetime(tzinfo=UTC) - story.service.clock.now() == DELETION
    assert history(story.ngo, ended.id)[-1].verb == "consent_withdrawn"
    confirmed = story.shelter.ConfirmDeletion(id=ended.id, etag=listed.etag)
    assert not story.shelter.ListReferrals(filter=mine).referrals
    assert (confirmed.state, confirmed.turn) == (ended.state, pb.TURN_UNSPECIFIED)
    version = read(story.ngo, ended.id).etag
    story.ngo.WithdrawAllReceipts(id=ended.person_id)
    assert read(story.ngo, ended.id).etag == version, "the receiver is asked once"


@pytest.mark.parametrize("end", ["declined", "rerouted"])
def test_a_receiver_whose_referral_came_back_is_asked_to_delete_what_it_holds(
    end: str, story: Story
) -> None:
    returned = ended_referral(story, end)
    story.coordinator.RemindReferral(id=returned.id, etag=returned.etag)
    story.ngo.WithdrawAllReceipts(id=returned.person_id)
    received = read(story.shelter, returned.id)
    assert not received.HasField("remind_time"), "only the sender was reminded, of her open need"
    assert (received.state, received.turn, list(received.allowed_verbs)) == (
        pb.STATE_CONSENT_WITHDRAWN,
        pb.TURN_RECEIVER,
        ["confirm_deletion"],
    )
    assert received.next_due_time.ToDatetime(tzinfo=UTC) - story.service.clock.now() == DELETION


@pytest.mark.parametrize("need", ["open", "closed"])
def test_the_withdrawal_of_one_consent_asks_the_receiver_but_never_hides_an_open_need(
    need: str, story: Story
) -> None:
    declined = ended_referral(story, "declined")
    if need == "closed":
        story.ngo.CloseNeed(
            id=declined.id, etag=declined.etag, reason_code=pb.NEED_CLOSE_REASON_MET_ELSEWHERE
        )
    mine = pb.ReferralFilter(
        box=pb.BOX_INBOX, live=True, waiting_for_me=True, person_id=declined.person_id
    )
    since, version = Timestamp(), story.shelter.GetQueueVersion().version
    since.FromDatetime(story.service.clock.now())
    story.service.clock.advance(timedelta(minutes=1))
    story.ngo.WithdrawReceipt(id=declined.receipt_id)
    [listed] = story.shelter.ListReferrals(filter=mine).referrals
    assert (listed.state, listed.turn, list(listed.allowed_verbs)) == (
        pb.STATE_DECLINED,
        pb.TURN_RECEIVER,
        ["confirm_deletion"],
    )
    assert listed.next_due_time.ToDatetime(tzinfo=UTC) - story.service.clock.now() == DELETION
    assert story.shelter.GetQueueVersion().version != version
    changed = pb.ReferralFilter(box=pb.BOX_INBOX, modified_after=since)
    assert listed in story.shelter.ListReferrals(filter=changed).referrals
    seen = read(story.ngo, declined.id)
    assert (seen.unanswered, seen.turn) == (
        (True, pb.TURN_SENDER) if need == "open" else (False, pb.TURN_RECEIVER)
    )
    story.shelter.ConfirmDeletion(id=listed.id, etag=listed.etag)
    assert not story.shelter.ListReferrals(filter=mine).referrals
    assert read(story.ngo, declined.id).unanswered == (need == "open")


def test_a_need_opens_again_although_the_consent_for_its_first_receiver_was_withdrawn(
    story: Story,
) -> None:
    declined = ended_referral(story, "declined")
    following = story.sent(person=people_pb2.Person(id=declined.person_id), based_on_id=declined.id)
    story.ngo.WithdrawReceipt(id=declined.receipt_id)
    assert not read(story.ngo, declined.id).unanswered
    story.ngo.EnterReferralInError(id=following.id, etag=following.etag)
    opened = read(story.ngo, declined.id)
    assert (opened.unanswered, opened.main_step) == (True, "refer_again")


def test_a_receiver_that_deleted_what_it_held_is_not_asked_again(story: Story) -> None:
    declined = ended_referral(story, "declined")
    story.ngo.WithdrawReceipt(id=declined.receipt_id)
    asked = read(story.shelter, declined.id)
    story.shelter.ConfirmDeletion(id=asked.id, etag=asked.etag)
    story.ngo.WithdrawAllReceipts(id=declined.person_id)
    ended = read(story.ngo, declined.id)
    assert (ended.state, ended.turn, ended.unanswered) == (
        pb.STATE_CONSENT_WITHDRAWN,
        pb.TURN_UNSPECIFIED,
        False,
    )


BESIDE_A_NEED = pytest.mark.parametrize(
    "box", [pb.BOX_NETWORK, pb.BOX_OUTBOX, pb.BOX_MINE], ids=pb.Box.Name
)


def listed_ids(story: Story, **filters: Any) -> list[str]:
    """Returns the ids of the referrals that match a filter, in the order of the list."""
    client = story.coordinator if filters["box"] == pb.BOX_NETWORK else story.ngo
    answer = client.ListReferrals(filter=pb.ReferralFilter(**filters), page_size=200)
    return [referral.id for referral in answer.referrals]


@BESIDE_A_NEED
def test_a_late_deletion_beside_an_open_need_is_listed_as_late(
    story: Story, box: pb.Box.ValueType
) -> None:
    declined = ended_referral(story, "declined", urgency=pb.URGENCY_NORMAL)
    story.ngo.WithdrawReceipt(id=declined.receipt_id)
    story.service.clock.advance(DELETION + timedelta(minutes=1))
    assert declined.id in listed_ids(story, box=box, late=True)


@BESIDE_A_NEED
def test_a_deletion_that_is_due_before_a_need_comes_first_in_a_list(
    story: Story, box: pb.Box.ValueType
) -> None:
    first = ended_referral(story, "declined", urgency=pb.URGENCY_NORMAL)
    story.service.clock.advance(timedelta(minutes=1))
    second = ended_referral(story, "declined", urgency=pb.URGENCY_NORMAL)
    story.ngo.WithdrawReceipt(id=second.receipt_id)
    ids = listed_ids(story, box=box, unanswered=True)
    assert ids.index(second.id) < ids.index(first.id)


def test_a_receiver_sees_the_reminder_of_a_deletion_but_none_of_the_need(story: Story) -> None:
    declined = ended_referral(story, "declined")
    remind = partial(story.coordinator.RemindReferral, id=declined.id)
    remind(etag=declined.etag)
    story.ngo.CloseNeed(
        id=declined.id, etag=declined.etag, reason_code=pb.NEED_CLOSE_REASON_MET_ELSEWHERE
    )
    story.ngo.WithdrawReceipt(id=declined.receipt_id)
    story.service.clock.advance(timedelta(hours=1))
    reminded = remind(etag=read(story.coordinator, declined.id).etag)
    assert read(story.shelter, declined.id).remind_time == reminded.remind_time
    events = history(story.shelter, declined.id)
    assert [event.time for event in events if event.verb == "reminded"] == [reminded.remind_time]


def test_a_caller_sees_that_those_who_helped_her_before_are_asked_to_delete(line: Story) -> None:
    created = line.contact()
    person = line.person()
    update_contact(line.ngo, read_contact(line.ngo, created.contact), person_id=person.id)
    closed = ended_referral(line, "closed", person=person)
    status = line.service.public().WithdrawConsentByReference(**credentials(created))
    [item] = status.items
    assert item.status_code != c.REFERENCE_STATE_STOPPED, "help came before"
    assert item.HasField("deletion_due_time")
    deletion = read(line.shelter, closed.id)
    line.shelter.ConfirmDeletion(id=closed.id, etag=deletion.etag)
    [item] = line.service.public().GetReferenceStatus(**credentials(created)).items
    assert item.HasField("deletion_confirm_time")


def ended_referral(story: Story, end: str, **values: Any) -> pb.Referral:
    """Sends a referral that ends before its consent does."""
    if end == "declined":
        return story.decline(story.sent(**values))
    if end == "rerouted":
        rerouted: pb.Referral = story.ngo.RerouteReferral(reroute_request_for(story.sent(**values)))
        return rerouted
    if end == "withdrawn":
        sent = story.sent(**values)
        withdrawn: pb.Referral = story.ngo.WithdrawReferral(
            id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED
        )
        return withdrawn
    done = completed(story, story.sent(**values))
    closed: pb.Referral = story.ngo.CloseReferral(
        id=done.id, etag=done.etag, help_came_code=pb.HELP_CAME_YES
    )
    return closed

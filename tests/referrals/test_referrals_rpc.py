"""Referrals through real rpcs, a real database and row-level security."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from protos.referrals.v1 import facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.edge.clients import details_of
from tests.builders import NOT_FOUND, pages, refusal, wrong_fields
from tests.referrals.conftest import (
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    history,
    read,
    send_request,
)
from tests.referrals.test_withdrawal import run_concurrently


def test_a_referral_goes_from_draft_to_closed(story: Story) -> None:
    referral = story.accepted()
    assert referral.state == pb.STATE_ACCEPTED
    started_help = story.shelter.StartReferral(
        id=referral.id, etag=referral.etag, first_contact_time=story.service.clock.now()
    )
    assert started_help.state == pb.STATE_IN_PROGRESS
    completed = story.shelter.CompleteReferral(
        id=referral.id,
        etag=started_help.etag,
        outcome_code=pb.OUTCOME_FULLY_MET,
        delivered_need_codes=["HOU.EMG"],
    )
    assert completed.state == pb.STATE_COMPLETED
    closed = story.ngo.CloseReferral(
        id=referral.id, etag=completed.etag, help_came_code=pb.HELP_CAME_YES
    )
    assert closed.state == pb.STATE_CLOSED
    assert all(clock.HasField("stop_time") for clock in closed.clocks)
    assert (completed.live, closed.live, story.draft().live) == (True, False, False)
    verbs = [event.verb for event in history(story.ngo, referral.id)]
    assert verbs == ["drafted", "amended", "sent", "accepted", "started", "completed", "closed"]


def test_a_draft_another_organisations_referral_and_an_unknown_one_look_the_same(
    story: Story, service: Service
) -> None:
    draft, clinic = story.draft(), service.as_("clinic", "WORKER")
    for client, referral_id in (
        (story.shelter, draft.id),
        (clinic, story.sent().id),
        (clinic, "f" * 32),
    ):
        assert refusal(partial(read, client, referral_id)) == NOT_FOUND
    assert draft.id not in shown(story.shelter)


def test_a_stale_etag_is_refused_and_changes_nothing(story: Story) -> None:
    sent = story.sent()
    story.shelter.AcknowledgeReferral(id=sent.id, etag=sent.etag)
    assert refusal(lambda: story.decline(sent)) == ("ABORTED", "stale_etag")
    assert read(story.shelter, sent.id).state == pb.STATE_ACKNOWLEDGED


def test_a_repeated_request_gets_the_first_answer_and_acts_once(story: Story) -> None:
    sent = story.sent()
    request = pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag, request_id="twice")
    assert story.shelter.AcknowledgeReferral(request) == story.shelter.AcknowledgeReferral(request)
    assert len(history(story.shelter, sent.id)) == 4
    request.etag = "v99"
    assert refusal(lambda: story.shelter.AcknowledgeReferral(request)) == (
        "ALREADY_EXISTS",
        "request_id_reused",
    )


def update_draft(story: Story, draft: pb.Referral, path: str, value: str) -> pb.Referral:
    change = pb.Referral(id=draft.id, etag=draft.etag)
    setattr(change, path, value)
    updated: pb.Referral = story.ngo.UpdateReferral(
        referral=change, update_mask=FieldMask(paths=[path])
    )
    return updated


def test_an_unknown_service_is_refused(story: Story) -> None:
    draft = story.draft()
    for act in (
        lambda: story.draft(service_id="e" * 32),
        lambda: update_draft(story, draft, "service_id", "e" * 32),
    ):
        assert refusal(act) == ("FAILED_PRECONDITION", "service_unknown")
    assert read(story.ngo, draft.id) == draft, "nothing changed"


def test_the_coordinator_sees_codes_but_no_identifier_of_the_person(story: Story) -> None:
    referral = read(story.coordinator, story.sent().id)
    assert (referral.side, referral.person_id, referral.receipt_id, referral.contact_id) == (
        pb.SIDE_NETWORK,
        "",
        "",
        "",
    )
    assert referral.person.age_band == pb.AGE_BAND_18_TO_24


def test_each_page_continues_where_the_previous_one_ended(story: Story) -> None:
    assert {story.draft().id for _ in range(5)} <= shown(story.ngo, box=pb.BOX_OUTBOX).keys()


def test_a_page_token_is_refused_with_other_filters(story: Story) -> None:
    for _ in range(2):
        story.draft()
    outbox = pb.ListReferralsRequest(page_size=1, filter=pb.ReferralFilter(box=pb.BOX_OUTBOX))
    token = story.ngo.ListReferrals(outbox).next_page_token
    inbox = pb.ListReferralsRequest(
        page_size=1, page_token=token, filter=pb.ReferralFilter(box=pb.BOX_INBOX)
    )
    assert wrong_fields(lambda: story.ngo.ListReferrals(inbox)) == [("page_token", "malformed")]


def person_of(referral: pb.Referral) -> people_pb2.Person:
    """Returns the person of a referral, with only the id: a draft needs no more."""
    return people_pb2.Person(id=referral.person_id)


def declined(story: Story, **values: Any) -> pb.Referral:
    return story.decline(story.sent(**values))


def shown(client: Client, **filters: Any) -> dict[str, pb.Referral]:
    """Returns all referrals that match a filter, in pages of three; checks the count too."""
    filter_ = pb.ReferralFilter(**filters)
    listed: list[pb.Referral] = []
    for page in pages(client.ListReferrals, page_size=3, filter=filter_):
        assert len(page.referrals) == 3 or not page.next_page_token, (
            "only the last page may be short"
        )
        listed += page.referrals
    referrals = {referral.id: referral for referral in listed}
    assert len(referrals) == len(listed) == client.CountReferrals(filter=filter_).total
    return referrals


def test_sender_and_network_see_a_declined_referral_as_unanswered_until_another_is_sent(
    story: Story,
) -> None:
    original = declined(story)
    listed = shown(story.ngo, box=pb.BOX_OUTBOX, unanswered=True)[original.id]
    assert (listed.turn, listed.main_step, listed.unanswered) == (
        pb.TURN_SENDER,
        "refer_again",
        True,
    )
    draft = story.draft(person_of(original), based_on_id=original.id)
    assert original.id in shown(story.ngo, unanswered=True), "nobody has been asked yet"
    in_network = partial(shown, story.coordinator, box=pb.BOX_NETWORK, unanswered=True)
    listed_in_network = in_network()[original.id]
    assert (listed_in_network.turn, listed_in_network.main_step) == (pb.TURN_SENDER, "")
    sent = story.send(draft)
    assert original.id not in in_network()
    after = read(story.ngo, original.id)
    assert (after.turn, after.main_step, after.unanswered, after.HasField("next_due_time")) == (
        pb.TURN_UNSPECIFIED,
        "",
        False,
        False,
    )
    assert original.id not in shown(story.ngo, unanswered=True)
    story.ngo.EnterReferralInError(id=sent.id, etag=sent.etag)
    assert shown(story.ngo, unanswered=True)[original.id].next_due_time == listed.next_due_time, (
        "a follow-up entered in error does not count"
    )


@pytest.mark.parametrize("closing_side", ["ngo", "coordinator"])
def test_an_open_need_never_ends_by_time_but_can_be_closed_with_a_reason(
    closing_side: str, story: Story
) -> None:
    original = declined(story)
    story.service.clock.advance(timedelta(days=400))
    assert original.id in shown(story.ngo, unanswered=True)
    seen_by_receiver = read(story.shelter, original.id)
    closed = getattr(story, closing_side).CloseNeed(
        id=original.id, etag=original.etag, reason_code=pb.NEED_CLOSE_REASON_NO_SERVICE_FOUND
    )
    assert (closed.state, closed.unanswered, closed.need_close_reason_code) == (
        pb.STATE_DECLINED,
        False,
        pb.NEED_CLOSE_REASON_NO_SERVICE_FOUND,
    )
    assert (closed.turn, closed.main_step, closed.HasField("next_due_time")) == (
        pb.TURN_UNSPECIFIED,
        "",
        False,
    )
    assert original.id not in shown(story.ngo, unanswered=True)
    for client, reason, known in (
        (story.ngo, pb.NEED_CLOSE_REASON_NO_SERVICE_FOUND, True),
        (story.shelter, pb.NEED_CLOSE_REASON_UNSPECIFIED, False),
    ):
        assert read(client, original.id).need_close_reason_code == reason
        assert ("need_closed" in {event.verb for event in history(client, original.id)}) == known
    assert read(story.shelter, original.id) == seen_by_receiver, "not even its etag changes"


def test_a_declined_emergency_has_a_deadline_that_sender_and_network_see_and_count(
    story: Story,
) -> None:
    emergency = declined(story, urgency=pb.URGENCY_EMERGENCY)
    normal = declined(story, urgency=pb.URGENCY_NORMAL)
    readers = (
        (story.ngo, pb.BOX_MINE),
        (story.ngo, pb.BOX_OUTBOX),
        (story.coordinator, pb.BOX_NETWORK),
    )
    unanswered = shown(story.ngo, unanswered=True)
    assert {
        urgency: unanswered[referral.id].next_due_time.ToDatetime(tzinfo=UTC)
        - story.service.clock.now()
        for urgency, referral in (("emergency", emergency), ("normal", normal))
    } == {"emergency": timedelta(hours=24), "normal": timedelta(days=14)}
    story.service.clock.advance(timedelta(hours=21))
    for client, box in readers:
        assert emergency.id in shown(client, box=box, due_soon=True)
        assert normal.id not in shown(client, box=box, due_soon=True)
    story.service.clock.advance(timedelta(hours=3, seconds=1))
    for client, box in readers:
        assert emergency.id in shown(client, box=box, late=True)
        counts = client.CountReferrals(filter=pb.ReferralFilter(box=box))
        assert (counts.late, counts.due_soon) == (
            len(shown(client, box=box, late=True)),
            len(shown(client, box=box, due_soon=True)),
        )


def test_a_receiver_that_declined_does_not_see_the_deadline_of_the_need(story: Story) -> None:
    original = declined(story, urgency=pb.URGENCY_IMMEDIATE)
    story.service.fire_after(timedelta(hours=2))
    referral = read(story.shelter, original.id)
    assert not referral.HasField("next_due_time")
    assert pb.CLOCK_KIND_REPLACE not in {clock.kind for clock in referral.clocks}
    assert "close_need" not in referral.allowed_verbs
    for box in (pb.BOX_INBOX, pb.BOX_MINE):
        for filters in ({"late": True}, {"due_soon": True}, {"unanswered": True}):
            assert original.id not in shown(story.shelter, box=box, **filters)
        assert original.id in shown(story.shelter, box=box)
        counts = story.shelter.CountReferrals(filter=pb.ReferralFilter(box=box))
        assert counts.late == len(shown(story.shelter, box=box, late=True))
    for client, known in ((story.shelter, False), (story.ngo, True)):
        clocks = {event.clock for event in history(client, original.id)}
        assert (pb.CLOCK_KIND_REPLACE in clocks) == known


def test_a_receiver_does_not_learn_whether_another_was_asked_before_or_after_it(
    story: Story,
) -> None:
    original = declined(story)
    before = read(story.shelter, original.id)
    draft = story.draft(person_of(original), based_on_id=original.id)
    assert read(story.shelter, original.id) == before
    following = story.send(draft)
    assert read(story.shelter, original.id) == before
    assert (before.turn, before.main_step, before.unanswered) == (pb.TURN_UNSPECIFIED, "", False)
    assert original.id not in shown(story.shelter, unanswered=True)
    assert (following.based_on_id, read(story.shelter, following.id).based_on_id) == (
        original.id,
        "",
    )


def test_only_a_further_referral_by_the_same_sender_for_the_same_person_answers_a_decline(
    story: Story,
) -> None:
    original = declined(story)
    by_shelter = replace(story, ngo=story.shelter)
    draft = by_shelter.draft(based_on_id=original.id, service_id=SERVICE["clinic_visit"])
    by_shelter.send(draft, recipient=ORG["clinic"])
    assert original.id in shown(story.ngo, unanswered=True)
    other_draft = story.draft(based_on_id=original.id)
    assert other_draft.person_id != original.person_id
    story.send(other_draft)
    unanswered = shown(story.ngo, unanswered=True)[original.id]
    assert (unanswered.main_step, unanswered.following_id) == ("refer_again", "")
    assert unanswered.HasField("next_due_time")


def test_the_filter_waiting_for_me_agrees_with_the_turn_of_each_referral(story: Story) -> None:
    story.draft()
    story.accepted()
    declined(story)
    original = declined(story)
    story.draft(person_of(original), based_on_id=original.id)
    sent = story.sent()
    story.shelter.AskReferral(id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES)
    own_turns = {pb.SIDE_SENDER: pb.TURN_SENDER, pb.SIDE_RECEIVER: pb.TURN_RECEIVER}
    for client in (story.ngo, story.shelter):
        waiting = [referral for referral in shown(client).values() if referral.turn]
        mine = {referral.id for referral in waiting if referral.turn == own_turns[referral.side]}
        other = {referral.id for referral in waiting} - mine
        assert mine
        assert other
        assert shown(client, waiting_for_me=True).keys() == mine
        assert shown(client, waiting_for_other=True).keys() == other
        counts = client.CountReferrals()
        assert (counts.waiting_for_me, counts.waiting_for_other) == (len(mine), len(other))


def test_late_referrals_are_not_due_soon_and_both_filters_fill_their_pages(story: Story) -> None:
    immediate = {story.sent(urgency=pb.URGENCY_IMMEDIATE).id for _ in range(4)}
    emergency = {story.sent(urgency=pb.URGENCY_EMERGENCY).id for _ in range(4)}
    urgent = story.sent(urgency=pb.URGENCY_URGENT).id
    story.service.clock.advance(timedelta(minutes=15, seconds=1))
    late, soon = shown(story.ngo, late=True), shown(story.ngo, due_soon=True)
    assert immediate <= late.keys()
    assert emergency <= soon.keys()
    assert not late.keys() & soon.keys()
    assert urgent not in late.keys() | soon.keys()
    counts = story.ngo.CountReferrals()
    assert (counts.late, counts.due_soon) == (len(late), len(soon))


def test_clearing_the_service_of_a_draft_clears_the_consent_for_its_receiver(
    story: Story,
) -> None:
    draft = story.draft()
    draft = update_draft(story, draft, "receipt_id", story.receipt(draft.person_id).id)
    assert draft.receipt_id
    cleared = update_draft(story, draft, "service_id", "")
    assert (cleared.service_id, cleared.receiver_organization_id, cleared.receipt_id) == (
        "",
        "",
        "",
    )


def test_no_override_sends_a_referral_to_the_police(story: Story) -> None:
    to_police = partial(story.overridden, service_id=SERVICE["police_report"], need_code="PRO.ORD")
    assert refusal(to_police) == ("FAILED_PRECONDITION", "receipt_missing")


def test_the_fact_of_an_acceptance_states_the_number_of_people(
    story: Story, service: Service
) -> None:
    rows = service.rows("SELECT type, payload FROM outbox WHERE subject = %s", story.accepted().id)
    assert {
        row["type"].split(".")[2]: facts_pb2.ReferralFact.FromString(row["payload"]).people
        for row in rows
    } == {"drafted": 0, "amended": 0, "sent": 0, "accepted": 1}


def test_the_refusal_of_an_illegal_step_names_state_target_and_allowed_steps(story: Story) -> None:
    sent, now = story.sent(), story.service.clock.now()
    with pytest.raises(grpc.RpcError) as caught:
        story.shelter.StartReferral(id=sent.id, etag=sent.etag, first_contact_time=now)
    info, _, _ = details_of(caught.value)
    about = info.metadata["about"].split(",")
    assert about[:2] == ["from=sent", "to=in_progress"]
    allowed = read(story.shelter, sent.id).allowed_verbs
    assert set(about[2:]) == {f"allowed={verb}" for verb in allowed}


def test_the_refusal_of_a_missing_or_unknown_code_names_its_list(story: Story) -> None:
    sent = story.sent()
    for code, reason in ((0, "required"), (99, "unknown_code")):
        with pytest.raises(grpc.RpcError) as caught:
            story.shelter.DeclineReferral(id=sent.id, etag=sent.etag, reason_code=code)
        info, bad_request, _ = details_of(caught.value)
        assert [
            (violation.field, violation.reason) for violation in bad_request.field_violations
        ] == [("reason_code", reason)]
        assert info.metadata["lists"] == "reason_code=DeclineReason"


def test_only_one_of_two_drafts_in_place_of_a_declined_referral_is_sent(story: Story) -> None:
    original = declined(story)
    drafts = [story.draft(person_of(original), based_on_id=original.id) for _ in range(2)]
    receipt_id = story.receipt(drafts[0].person_id).id
    sends = [partial(story.ngo.SendReferral, send_request(draft, receipt_id)) for draft in drafts]
    outcomes = run_concurrently(*sends)
    assert sorted(outcomes) == ["OK", "already_replaced"]
    first, second = outcomes.index("OK"), outcomes.index("already_replaced")
    # she withdraws her consent for the receiver that declined
    story.ngo.WithdrawReceipt(id=original.receipt_id)
    assert refusal(sends[second]) == ("FAILED_PRECONDITION", "already_replaced")
    story.decline(read(story.ngo, drafts[first].id))
    assert sends[second]().state == pb.STATE_SENT, "the first draft was declined too"


def test_two_workers_who_look_for_another_service_at_once_get_one_draft(story: Story) -> None:
    original = declined(story)
    begin = partial(
        story.ngo.CreateReferral,
        person_id=original.person_id,
        need_code=original.need_code,
        urgency=original.urgency,
        based_on_id=original.id,
    )
    assert run_concurrently(begin, begin) == ["OK", "OK"]
    drafts = pb.ReferralFilter(
        box=pb.BOX_OUTBOX, states=[pb.STATE_DRAFT], person_id=original.person_id
    )
    [draft] = story.ngo.ListReferrals(filter=drafts).referrals
    assert begin() == draft


@pytest.mark.parametrize("box", [pb.BOX_MINE, pb.BOX_OUTBOX, pb.BOX_NETWORK], ids=pb.Box.Name)
def test_a_list_by_time_of_change_has_a_need_that_was_met_and_a_need_that_is_open_again(
    story: Story, box: pb.Box.ValueType
) -> None:
    client = story.coordinator if box == pb.BOX_NETWORK else story.ngo
    declined_referral = declined(story)
    draft = story.draft(person_of(declined_referral), based_on_id=declined_referral.id)

    def change(act: Callable[[], pb.Referral]) -> tuple[pb.Referral, pb.Referral]:
        """Takes a step; returns its referral, and the earlier one as listed since the last step."""
        since = Timestamp()
        since.FromDatetime(story.service.clock.now())
        story.service.clock.advance(timedelta(minutes=1))
        following = act()
        assert declined_referral.id not in shown(story.shelter, modified_after=since)
        return following, shown(client, box=box, modified_after=since)[declined_referral.id]

    sent, met = change(lambda: story.send(draft))
    _, open_again = change(lambda: story.ngo.EnterReferralInError(id=sent.id, etag=sent.etag))
    assert (met.unanswered, open_again.unanswered) == (False, True)
    assert met.update_time == open_again.update_time, "the receiver learns nothing from it"


def test_a_receiver_that_declined_does_not_see_how_the_search_for_help_goes_on(
    story: Story,
) -> None:
    declined_referral = declined(story)
    story.service.clock.advance(timedelta(minutes=1))
    later = declined(story)
    before, version = (
        read(story.shelter, declined_referral.id),
        story.shelter.GetQueueVersion().version,
    )
    story.coordinator.RemindReferral(id=declined_referral.id, etag=declined_referral.etag)
    assert story.shelter.GetQueueVersion().version == version
    story.service.fire_after(timedelta(hours=13))
    assert (
        len(history(story.ngo, declined_referral.id))
        == len(history(story.shelter, declined_referral.id)) + 2
    )
    assert read(story.shelter, declined_referral.id) == before
    listed_ids = [id for id in shown(story.shelter) if id in {declined_referral.id, later.id}]
    assert listed_ids == [later.id, declined_referral.id]
    for client, is_changed in ((story.shelter, False), (story.ngo, True)):
        assert (
            declined_referral.id in shown(client, modified_after=before.update_time)
        ) == is_changed


def test_a_receiver_of_many_referrals_does_not_see_that_a_returned_referral_has_changed(
    story: Story,
) -> None:
    declined_referral, waiting = declined(story), story.sent()
    story.service.clock.advance(timedelta(minutes=1))
    for _ in range(64):
        story.sent()
    version = story.shelter.GetQueueVersion().version
    story.coordinator.RemindReferral(id=declined_referral.id, etag=declined_referral.etag)
    assert story.shelter.GetQueueVersion().version == version
    story.decline(waiting)
    assert story.shelter.GetQueueVersion().version != version, "its list has changed"

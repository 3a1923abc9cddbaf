"""Referrals through the real rpc, database and row-level security."""

from datetime import timedelta

from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import SERVICE, Service, Story


def test_a_referral_goes_from_draft_to_closed(story: Story) -> None:
    referral = story.accepted()
    assert referral.state == pb.STATE_ACCEPTED
    start = pb.StartReferralRequest(id=referral.id, etag=referral.etag, request_id=story.request_id())
    start.first_contact_time.FromDatetime(story.service.clock.now())
    referral = story.shelter.StartReferral(start)
    assert referral.state == pb.STATE_IN_PROGRESS
    referral = story.shelter.CompleteReferral(
        pb.CompleteReferralRequest(id=referral.id, etag=referral.etag, outcome_code="fully_met", delivered_need_codes=["HOU.EMG"])
    )
    assert referral.state == pb.STATE_COMPLETED
    referral = story.ngo.CloseReferral(pb.CloseReferralRequest(id=referral.id, etag=referral.etag, help_came_code="yes"))
    assert referral.state == pb.STATE_CLOSED
    assert not [clock for clock in referral.clocks if not clock.HasField("stop_time")]
    verbs = [event.verb for event in story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=referral.id)).events]
    assert verbs == ["drafted", "amended", "sent", "accepted", "started", "completed", "closed"]


def test_the_receiver_does_not_see_a_draft(story: Story) -> None:
    draft = story.draft()
    assert refusal(lambda: story.shelter.GetReferral(pb.GetReferralRequest(id=draft.id))) == ("NOT_FOUND", "not_found")
    assert draft.id not in [r.id for r in story.shelter.ListReferrals(pb.ListReferralsRequest(page_size=200)).referrals]


def test_not_yours_and_not_there_look_the_same(story: Story, service: Service) -> None:
    sent = story.sent()
    clinic = service.as_("clinic", "WORKER")
    not_yours = refusal(lambda: clinic.GetReferral(pb.GetReferralRequest(id=sent.id)))
    not_there = refusal(lambda: clinic.GetReferral(pb.GetReferralRequest(id="f" * 32)))
    assert not_yours == not_there == ("NOT_FOUND", "not_found")


def test_a_stale_etag_is_refused_and_changes_nothing(story: Story) -> None:
    sent = story.sent()
    story.shelter.AcknowledgeReferral(pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag))
    late = pb.DeclineReferralRequest(id=sent.id, etag=sent.etag, reason_code="no_capacity")
    assert refusal(lambda: story.shelter.DeclineReferral(late)) == ("ABORTED", "stale_etag")
    assert story.shelter.GetReferral(pb.GetReferralRequest(id=sent.id)).state == pb.STATE_ACKNOWLEDGED


def test_a_repeated_request_gets_the_first_answer_and_acts_once(story: Story) -> None:
    sent = story.sent()
    request = pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag, request_id="twice")
    first = story.shelter.AcknowledgeReferral(request)
    assert story.shelter.AcknowledgeReferral(request) == first
    assert len(story.shelter.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id)).events) == 4
    other = pb.AcknowledgeReferralRequest(id=sent.id, etag="v99", request_id="twice")
    assert refusal(lambda: story.shelter.AcknowledgeReferral(other)) == ("ALREADY_EXISTS", "request_id_reused")


def test_the_sender_can_not_accept_for_the_receiver(story: Story) -> None:
    sent = story.sent()
    request = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    request.planned_first_contact_time.FromDatetime(story.service.clock.now())
    assert refusal(lambda: story.ngo.AcceptReferral(request)) == ("FAILED_PRECONDITION", "illegal_transition")


def test_declining_needs_a_known_reason(story: Story) -> None:
    sent = story.sent()
    request = pb.DeclineReferralRequest(id=sent.id, etag=sent.etag, reason_code="do_not_like")
    assert refusal_with_fields(lambda: story.shelter.DeclineReferral(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {"reason_code": "unknown_code"},
    )


def test_an_unknown_service_is_refused(story: Story) -> None:
    assert refusal(lambda: story.draft(service_id="e" * 32)) == ("FAILED_PRECONDITION", "service_unknown")


def test_clocks_start_at_sending_and_tell_their_levels_once(story: Story, service: Service) -> None:
    sent = story.sent()
    kinds = {clock.kind: clock for clock in sent.clocks}
    assert set(kinds) == {pb.CLOCK_KIND_ACKNOWLEDGE, pb.CLOCK_KIND_DECIDE}
    watch = service.made.referrals
    from chassis.tokens import SYSTEM

    def fire() -> list[str]:
        with service.database.transaction(SYSTEM) as tx:
            return [e.verb for e in watch.fire_clocks(tx, service.clock.now(), 500) if e.clock and e.clock.value == "acknowledge"]

    fire()
    service.clock.advance(timedelta(minutes=31))
    assert "clock_reminded" in fire()
    assert fire() == []
    service.clock.advance(timedelta(minutes=30))
    assert "clock_breached" in fire()
    assert story.ngo.CountReferrals(pb.CountReferralsRequest()).late >= 1


def test_the_coordinator_sees_codes_and_no_person(story: Story) -> None:
    sent = story.sent()
    seen = story.coordinator.GetReferral(pb.GetReferralRequest(id=sent.id))
    assert (seen.side, seen.person_id, seen.receipt_id, seen.contact_id) == (pb.SIDE_NETWORK, "", "", "")
    assert seen.person.age_band == "18-24"


def test_pages_go_on_where_the_last_one_ended(story: Story) -> None:
    made = {story.draft().id for _ in range(5)}
    found: list[str] = []
    token = ""
    while True:
        page = story.ngo.ListReferrals(pb.ListReferralsRequest(page_size=2, page_token=token, filter=pb.ReferralFilter(box=pb.BOX_OUTBOX)))
        found += [referral.id for referral in page.referrals]
        token = page.next_page_token
        if not token:
            break
    assert len(found) == len(set(found))
    assert made <= set(found)


def test_a_page_goes_on_with_the_filters_of_the_last_one_only(story: Story) -> None:
    for _ in range(2):
        story.draft()
    outbox = pb.ListReferralsRequest(page_size=1, filter=pb.ReferralFilter(box=pb.BOX_OUTBOX))
    token = story.ngo.ListReferrals(outbox).next_page_token
    other = pb.ListReferralsRequest(page_size=1, page_token=token, filter=pb.ReferralFilter(box=pb.BOX_INBOX))
    assert refusal_with_fields(lambda: story.ngo.ListReferrals(other))[2] == {"page_token": "malformed"}


def test_a_draft_without_consent_can_not_be_sent(story: Story) -> None:
    draft = story.draft()
    assert refusal(lambda: story.ngo.SendReferral(pb.SendReferralRequest(id=draft.id, etag=draft.etag))) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )


def test_to_the_police_only_with_a_receipt_that_names_it(story: Story) -> None:
    draft = story.draft(service_id=SERVICE["police_report"], need_code="PRO.ORD")
    request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, override_reason_code="life_at_risk", note="in danger")
    assert refusal(lambda: story.rescuer.SendReferral(request)) == ("FAILED_PRECONDITION", "receipt_missing")

"""Rerouting, by which another service is asked instead.

One step ends the referral and gives the sender a draft for the next service. The need stays open
until the draft is sent.
"""

from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOON, NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import (
    ORG,
    SERVICE,
    Service,
    Story,
    history,
    open_identity,
    read,
)
from tests.referrals.test_referrals_rpc import declined
from tests.referrals.test_withdrawal import run_concurrently


def reroute_request_for(
    referral: pb.Referral, service: str = "clinic_visit", **values: Any
) -> pb.RerouteReferralRequest:
    return pb.RerouteReferralRequest(
        id=referral.id, etag=referral.etag, service_id=SERVICE[service], **values
    )


@pytest.mark.parametrize("side", ["ngo", "coordinator"])
def test_a_rerouted_referral_ends_and_its_sender_gets_a_draft_for_the_other_service(
    story: Story, side: str
) -> None:
    sent = story.sent()
    rerouted = getattr(story, side).RerouteReferral(
        reroute_request_for(sent, note="nobody answers the telephone")
    )
    assert (rerouted.state, rerouted.live) == (pb.STATE_REROUTED, False)
    assert bool(rerouted.following_id) == (side == "ngo"), "a coordinator has no drafts"
    original = read(story.ngo, sent.id)
    assert (original.unanswered, original.main_step, original.turn) == (
        True,
        "refer_again",
        pb.TURN_SENDER,
    )
    assert [clock.kind for clock in original.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    draft = read(story.ngo, original.following_id)
    assert (draft.state, draft.service_id, draft.receiver_organization_id) == (
        pb.STATE_DRAFT,
        SERVICE["clinic_visit"],
        ORG["clinic"],
    )
    assert (draft.based_on_id, draft.receipt_id) == (sent.id, "")
    for field in (
        "person_id",
        "need_code",
        "urgency",
        "sender_organization_id",
        "sender_worker_id",
    ):
        assert getattr(draft, field) == getattr(sent, field), field

    story.send(draft, recipient=ORG["clinic"])
    after = read(story.ngo, sent.id)
    assert (after.unanswered, after.following_id) == (False, draft.id)
    assert read(story.coordinator, sent.id).following_id == draft.id
    assert not after.HasField("next_due_time")


def test_after_rerouting_the_receiver_sees_neither_the_person_nor_the_next_referral(
    story: Story,
) -> None:
    sent = story.sent()
    story.ngo.RerouteReferral(reroute_request_for(sent))
    referral = read(story.shelter, sent.id)
    assert (referral.following_id, referral.unanswered) == ("", False)
    assert (referral.turn, list(referral.allowed_verbs)) == (pb.TURN_UNSPECIFIED, [])
    assert refusal(lambda: open_identity(story.shelter, sent.person_id, sent.id)) == NOT_FOUND
    draft_id = read(story.ngo, sent.id).following_id
    for client in (story.shelter, story.coordinator, story.service.as_("clinic", "WORKER")):
        assert refusal(partial(read, client, draft_id)) == NOT_FOUND


def test_a_rerouting_without_the_right_or_to_an_invalid_service_is_refused_and_changes_nothing(
    story: Story,
) -> None:
    sent = story.sent()
    to_same_service = reroute_request_for(sent, "shelter_bed")
    assert wrong_fields(lambda: story.ngo.RerouteReferral(to_same_service)) == [
        ("service_id", "out_of_range")
    ]
    to_unknown_service = pb.RerouteReferralRequest(id=sent.id, etag=sent.etag, service_id="e" * 32)
    request = reroute_request_for(sent)
    for client, attempt, expected in (
        (story.shelter, request, ("FAILED_PRECONDITION", "illegal_transition")),
        (story.service.as_("clinic", "WORKER"), request, NOT_FOUND),
        (story.ngo, to_unknown_service, ("FAILED_PRECONDITION", "service_unknown")),
    ):
        assert refusal(partial(client.RerouteReferral, attempt)) == expected
    with story.service.member_with_status("clinic", "SUSPENDED", active=False):
        assert refusal(lambda: story.ngo.RerouteReferral(request)) == (
            "FAILED_PRECONDITION",
            "service_unknown",
        )
    assert read(story.ngo, sent.id) == sent
    rerouted = story.ngo.RerouteReferral(request)
    assert refusal(lambda: story.ngo.RerouteReferral(reroute_request_for(rerouted))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def test_an_accepted_referral_can_be_rerouted_too(story: Story) -> None:
    accepted = story.accepted()
    story.coordinator.RerouteReferral(reroute_request_for(accepted))
    original = read(story.ngo, accepted.id)
    assert (original.state, original.unanswered, original.responsible_worker_id) == (
        pb.STATE_REROUTED,
        True,
        accepted.responsible_worker_id,
    )
    assert [clock.kind for clock in original.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    assert read(story.ngo, original.following_id).based_on_id == accepted.id
    assert read(story.shelter, accepted.id).allowed_verbs == []


def test_a_repeated_request_makes_no_second_draft(story: Story) -> None:
    sent = story.sent()
    request = reroute_request_for(sent, request_id=story.request_id())
    first = story.ngo.RerouteReferral(request)
    assert story.ngo.RerouteReferral(request) == first
    drafts = pb.ReferralFilter(box=pb.BOX_OUTBOX, states=[pb.STATE_DRAFT], person_id=sent.person_id)
    listed = story.ngo.ListReferrals(filter=drafts).referrals
    assert [draft.id for draft in listed] == [first.following_id]


def test_exactly_one_of_a_concurrent_acceptance_and_rerouting_succeeds(
    story: Story, service: Service
) -> None:
    for _ in range(6):
        sent = story.sent()
        accept = partial(
            story.shelter.AcceptReferral,
            id=sent.id,
            etag=sent.etag,
            planned_first_contact_time=service.clock.now(),
        )
        reroute = partial(story.ngo.RerouteReferral, reroute_request_for(sent))
        assert sorted(run_concurrently(accept, reroute)) == ["OK", "stale_etag"]
        original = read(story.ngo, sent.id)
        assert (original.state == pb.STATE_REROUTED) == bool(original.following_id)


# The coordinators remind the side whose turn it is, at most once an hour.


def remind(story: Story, referral: pb.Referral) -> pb.Referral:
    return cast(pb.Referral, story.coordinator.RemindReferral(id=referral.id, etag=referral.etag))


def reminded_organizations(story: Story, referral: pb.Referral) -> list[str]:
    """Returns the organisations that the reminder facts name."""
    rows = story.service.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND type = 'enlace.referral.reminded.v1'"
        " ORDER BY version",
        referral.id,
    )
    return [
        facts_pb2.ReferralFact.FromString(row["payload"]).reminded_organization_id for row in rows
    ]


def test_a_reminder_names_the_side_whose_turn_it_is_and_keeps_the_etag(story: Story) -> None:
    sent = story.sent()
    reminded = remind(story, sent)
    assert (reminded.state, reminded.etag, reminded.clocks) == (
        sent.state,
        sent.etag,
        read(story.coordinator, sent.id).clocks,
    )
    assert reminded.remind_time.ToDatetime() == reminded.update_time.ToDatetime()
    assert reminded_organizations(story, sent) == [ORG["shelter"]]
    question = story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_HEALTH
    )
    story.service.clock.advance(timedelta(hours=1))
    remind(story, question)
    assert reminded_organizations(story, sent) == [ORG["shelter"], ORG["ngo"]]
    assert [event.verb for event in history(story.shelter, sent.id)].count("reminded") == 2


def test_a_referral_can_be_reminded_once_an_hour(story: Story) -> None:
    sent = story.sent()
    remind(story, sent)
    story.service.clock.advance(timedelta(minutes=59))
    assert refusal(lambda: remind(story, sent)) == ("FAILED_PRECONDITION", "reminded_lately")
    assert "remind" not in read(story.coordinator, sent.id).allowed_verbs
    story.service.clock.advance(timedelta(minutes=1))
    assert "remind" in read(story.coordinator, sent.id).allowed_verbs
    remind(story, sent)


def test_a_repeated_request_reminds_once(story: Story) -> None:
    sent = story.sent()
    request = pb.RemindReferralRequest(id=sent.id, etag=sent.etag, request_id=story.request_id())
    assert story.coordinator.RemindReferral(request) == story.coordinator.RemindReferral(request)
    assert len(reminded_organizations(story, sent)) == 1


def test_a_reminder_of_a_returned_referral_reaches_only_its_sender(story: Story) -> None:
    returned = declined(story)
    remind(story, returned)
    assert reminded_organizations(story, returned) == [ORG["ngo"]]
    for client, sees_reminder in ((story.ngo, True), (story.shelter, False)):
        assert read(client, returned.id).HasField("remind_time") == sees_reminder
        verbs = {event.verb for event in history(client, returned.id)}
        assert ("reminded" in verbs) == sees_reminder


def test_only_coordinators_remind_and_only_of_referrals_that_wait(story: Story) -> None:
    sent = story.sent()
    for client in (story.ngo, story.shelter):
        assert refusal(partial(client.RemindReferral, id=sent.id, etag=sent.etag)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )
    withdrawn = story.ngo.WithdrawReferral(
        id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    )
    for referral, expected in (
        (sent, ("ABORTED", "stale_etag")),
        (withdrawn, ("FAILED_PRECONDITION", "illegal_transition")),
        (story.draft(), NOT_FOUND),
    ):
        assert refusal(partial(remind, story, referral)) == expected


def test_a_reminder_dated_by_a_fast_clock_prevents_no_reminder_once_the_clock_is_right(
    story: Story,
) -> None:
    sent = story.sent()
    story.service.clock.advance(timedelta(hours=2))
    remind(story, sent)
    story.service.clock.set(NOON)
    remind(story, sent)
    assert refusal(lambda: remind(story, sent)) == ("FAILED_PRECONDITION", "reminded_lately")

"""Rerouting: another service is asked instead.

One step ends the referral and gives the sender a draft for the next service. The need stays open
until the draft is sent.
"""

import threading
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story, read
from tests.referrals.test_subscriptions import Hearing


def reroute_request_for(
    referral: pb.Referral, service: str = "clinic_visit", **words: Any
) -> pb.RerouteReferralRequest:
    return pb.RerouteReferralRequest(
        id=referral.id, etag=referral.etag, service_id=SERVICE[service], **words
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
    assert rerouted.following_id if side == "ngo" else not rerouted.following_id, (
        "a coordinator has no drafts"
    )
    mine = read(story.ngo, sent.id)
    assert (mine.unanswered, mine.main_step, mine.turn) == (True, "refer_again", pb.TURN_SENDER)
    assert [clock.kind for clock in mine.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    draft = read(story.ngo, mine.following_id)
    assert (draft.state, draft.service_id, draft.receiver_organization_id) == (
        pb.STATE_DRAFT,
        SERVICE["clinic_visit"],
        ORG["clinic"],
    )
    assert (draft.person_id, draft.need_code, draft.urgency) == (
        sent.person_id,
        sent.need_code,
        sent.urgency,
    )
    assert (draft.based_on_id, draft.receipt_id, draft.sender_organization_id) == (
        sent.id,
        "",
        ORG["ngo"],
    )
    assert draft.sender_worker_id == sent.sender_worker_id

    receipt = story.receipt(sent.person_id, recipient=ORG["clinic"])
    story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
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
    assert (
        referral.following_id,
        referral.unanswered,
        referral.turn,
        list(referral.allowed_verbs),
    ) == (
        "",
        False,
        pb.TURN_UNSPECIFIED,
        [],
    )
    opening = people_pb2.OpenPersonRequest(
        id=sent.person_id, purpose_code="HOU", referral_id=sent.id
    )
    opening.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
    assert refusal(lambda: story.shelter.OpenPerson(opening)) == ("NOT_FOUND", "not_found")
    hidden = read(story.ngo, sent.id).following_id
    for nobody in (story.shelter, story.coordinator, story.service.as_("clinic", "WORKER")):
        assert refusal(partial(read, nobody, hidden)) == ("NOT_FOUND", "not_found")


def test_a_rerouting_without_the_right_or_to_an_invalid_service_is_refused_and_changes_nothing(
    story: Story,
) -> None:
    sent = story.sent()
    assert refusal(lambda: story.shelter.RerouteReferral(reroute_request_for(sent))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert refusal(
        lambda: story.service.as_("clinic", "WORKER").RerouteReferral(reroute_request_for(sent))
    ) == ("NOT_FOUND", "not_found")
    same = reroute_request_for(sent, "shelter_bed")
    assert refusal_with_fields(lambda: story.ngo.RerouteReferral(same)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {"service_id": "out_of_range"},
    )
    nowhere = pb.RerouteReferralRequest(id=sent.id, etag=sent.etag, service_id="e" * 32)
    assert refusal(lambda: story.ngo.RerouteReferral(nowhere)) == (
        "FAILED_PRECONDITION",
        "service_unknown",
    )
    assert read(story.ngo, sent.id) == sent
    over = story.ngo.RerouteReferral(reroute_request_for(sent))
    assert refusal(lambda: story.ngo.RerouteReferral(reroute_request_for(over))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def test_a_referral_is_not_rerouted_to_a_suspended_organisation(story: Story) -> None:
    sent, hear = story.sent(), Hearing(story.service)
    hear.organization("clinic", "SUSPENDED")
    try:
        assert refusal(lambda: story.ngo.RerouteReferral(reroute_request_for(sent))) == (
            "FAILED_PRECONDITION",
            "service_unknown",
        )
    finally:
        hear.organization("clinic", "APPROVED")
    assert read(story.ngo, sent.id) == sent


def test_an_accepted_referral_can_be_rerouted_too(story: Story) -> None:
    accepted = story.accepted()
    story.coordinator.RerouteReferral(reroute_request_for(accepted))
    mine = read(story.ngo, accepted.id)
    assert (mine.state, mine.unanswered, mine.responsible_worker_id) == (
        pb.STATE_REROUTED,
        True,
        accepted.responsible_worker_id,
    )
    assert [clock.kind for clock in mine.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    assert read(story.ngo, mine.following_id).based_on_id == accepted.id
    assert read(story.shelter, accepted.id).allowed_verbs == []


def test_a_repeated_request_makes_no_second_draft(story: Story) -> None:
    sent = story.sent()
    request = reroute_request_for(sent, request_id=story.request_id())
    first = story.ngo.RerouteReferral(request)
    assert story.ngo.RerouteReferral(request) == first
    drafts = pb.ReferralFilter(box=pb.BOX_OUTBOX, states=[pb.STATE_DRAFT], person_id=sent.person_id)
    assert [
        draft.id
        for draft in story.ngo.ListReferrals(pb.ListReferralsRequest(filter=drafts)).referrals
    ] == [first.following_id]


def test_a_concurrent_acceptance_or_rerouting_succeeds_but_not_both(
    story: Story, service: Service
) -> None:
    for _ in range(6):
        sent = story.sent()
        accepting = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
        accepting.planned_first_contact_time.FromDatetime(service.clock.now())
        begin, outcomes = threading.Barrier(2), list[str]()

        def ask(
            client: Client,
            rpc: str,
            request: Any,
            begin: threading.Barrier = begin,
            outcomes: list[str] = outcomes,
        ) -> None:
            begin.wait()
            try:
                getattr(client, rpc)(request)
                outcomes.append("done")
            except Exception as error:  # either of two refusals is possible
                outcomes.append(str(error.details()))  # type: ignore[attr-defined]

        reroute_request = (
            (story.shelter, "AcceptReferral", accepting),
            (story.ngo, "RerouteReferral", reroute_request_for(sent)),
        )
        threads = [threading.Thread(target=ask, args=words) for words in reroute_request]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(outcomes) == ["done", "stale_etag"]
        mine = read(story.ngo, sent.id)
        assert (mine.state == pb.STATE_REROUTED) == bool(mine.following_id)

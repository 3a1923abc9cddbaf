"""The coordinators remind the side whose turn it is.

A referral is reminded at most once an hour, and a reminder makes no etag stale.
"""

from datetime import timedelta

from chassis.tokens import SYSTEM
from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal
from tests.referrals.conftest import ORG, Story, read
from tests.referrals.test_referrals_rpc import declined


def remind(story: Story, referral: pb.Referral) -> pb.Referral:
    request = pb.RemindReferralRequest(
        id=referral.id, etag=referral.etag, request_id=story.request_id()
    )
    answer: pb.Referral = story.coordinator.RemindReferral(request)
    return answer


def reminded_organizations(story: Story, referral: pb.Referral) -> list[str]:
    """Returns the organisations that the reminder facts name."""
    with story.service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT payload FROM outbox WHERE subject = %s AND type = 'enlace.referral.reminded.v1'"
            " ORDER BY version",
            (referral.id,),
        ).fetchall()
    return [
        facts_pb2.ReferralFact.FromString(row["payload"]).reminded_organization_id for row in rows
    ]


def test_a_reminder_names_the_side_whose_turn_it_is_and_keeps_the_etag(story: Story) -> None:
    sent = story.sent()
    after = remind(story, sent)
    assert (after.state, after.etag, after.clocks) == (
        sent.state,
        sent.etag,
        read(story.coordinator, sent.id).clocks,
    )
    assert after.remind_time.ToDatetime() == after.update_time.ToDatetime()
    assert reminded_organizations(story, sent) == [ORG["shelter"]]
    acknowledged = story.shelter.AcknowledgeReferral(
        pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag)
    )
    question = story.shelter.AskReferral(
        pb.AskReferralRequest(id=sent.id, etag=acknowledged.etag, question_code=pb.QUESTION_HEALTH)
    )
    story.service.clock.advance(timedelta(hours=1))
    remind(story, question)
    assert reminded_organizations(story, sent) == [ORG["shelter"], ORG["ngo"]]
    history = story.shelter.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=sent.id)
    ).events
    assert [event.verb for event in history].count("reminded") == 2


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


def test_a_reminder_of_a_returned_referral_reaches_only_its_sender(
    story: Story,
) -> None:
    refused = declined(story)
    remind(story, refused)
    assert reminded_organizations(story, refused) == [ORG["ngo"]]
    assert read(story.ngo, refused.id).HasField("remind_time")
    assert not read(story.shelter, refused.id).HasField("remind_time")
    verbs = {
        side: [
            event.verb
            for event in client.ListReferralEvents(
                pb.ListReferralEventsRequest(referral_id=refused.id)
            ).events
        ]
        for side, client in (("ngo", story.ngo), ("shelter", story.shelter))
    }
    assert ("reminded" in verbs["ngo"], "reminded" in verbs["shelter"]) == (True, False)


def test_only_coordinators_remind_and_only_of_referrals_that_wait(story: Story) -> None:
    sent = story.sent()
    request = pb.RemindReferralRequest(id=sent.id, etag=sent.etag)
    assert refusal(lambda: story.ngo.RemindReferral(request)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    assert refusal(lambda: story.shelter.RemindReferral(request)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    withdrawn = story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    )
    assert refusal(lambda: remind(story, sent)) == ("ABORTED", "stale_etag")
    assert refusal(lambda: remind(story, withdrawn)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    draft = story.draft()
    assert refusal(lambda: remind(story, draft)) == ("NOT_FOUND", "not_found")


def test_a_reminder_dated_by_a_fast_clock_prevents_no_reminder_once_the_clock_is_right(
    story: Story,
) -> None:
    sent, right = story.sent(), story.service.clock.now()
    story.service.clock.advance(timedelta(hours=2))
    remind(story, sent)
    story.service.clock.set(right)
    remind(story, sent)
    assert refusal(lambda: remind(story, sent)) == ("FAILED_PRECONDITION", "reminded_lately")

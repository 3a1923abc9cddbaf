"""The coordinators remind the side whose turn it is.

A referral is reminded at most once an hour, and a reminder makes no etag stale.
"""

from datetime import timedelta
from functools import partial

from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOON, NOT_FOUND, refusal
from tests.referrals.conftest import ORG, Story, history, read
from tests.referrals.test_referrals_rpc import declined


def remind(story: Story, referral: pb.Referral) -> pb.Referral:
    answer: pb.Referral = story.coordinator.RemindReferral(id=referral.id, etag=referral.etag)
    return answer


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

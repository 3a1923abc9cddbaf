"""The data of the coordinator's board.

The board shows urgent cases in their order, open needs by place, and the response time of each
organisation.
"""

from datetime import timedelta
from typing import Any

from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal_with_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Story
from tests.referrals.test_referrals_rpc import declined, shown

MOST_URGENT_FIRST = [
    pb.URGENCY_IMMEDIATE,
    pb.URGENCY_EMERGENCY,
    pb.URGENCY_URGENT,
    pb.URGENCY_NORMAL,
]


def listed(client: Client, size: int, **filters: Any) -> list[pb.Referral]:
    """Returns all referrals that match a filter, by urgency, read in pages of `size`."""
    referrals, token = list[pb.Referral](), ""
    while True:
        page = client.ListReferrals(
            pb.ListReferralsRequest(
                filter=pb.ReferralFilter(box=pb.BOX_NETWORK, **filters),
                order_by=pb.ORDER_URGENCY,
                page_size=size,
                page_token=token,
            )
        )
        referrals += page.referrals
        token = page.next_page_token
        if not token:
            return referrals


def test_pressing_referrals_are_late_due_soon_or_unanswered_and_listed_once(
    story: Story,
) -> None:
    late, soon = story.sent(urgency=pb.URGENCY_IMMEDIATE), story.sent(urgency=pb.URGENCY_EMERGENCY)
    calm, refused = (
        story.sent(urgency=pb.URGENCY_NORMAL),
        declined(story, urgency=pb.URGENCY_NORMAL),
    )
    story.service.clock.advance(timedelta(minutes=16))
    for client, box in ((story.coordinator, pb.BOX_NETWORK), (story.ngo, pb.BOX_OUTBOX)):
        pressing = shown(client, box=box, pressing=True)
        assert {late.id, soon.id, refused.id} <= pressing.keys()
        assert calm.id not in pressing
        parts = [
            shown(client, box=box, **one)
            for one in ({"late": True}, {"due_soon": True}, {"unanswered": True})
        ]
        assert pressing.keys() == {identifier for part in parts for identifier in part}
    assert refused.id not in shown(story.shelter, pressing=True), (
        "a receiver that declined does not follow what happens next"
    )


def test_referrals_are_ordered_by_urgency_and_then_by_deadline_across_pages(
    story: Story,
) -> None:
    for urgency in MOST_URGENT_FIRST[::-1]:
        story.sent(urgency=urgency), declined(story, urgency=urgency), story.sent(urgency=urgency)
        story.service.clock.advance(timedelta(minutes=5))
    story.draft(urgency=pb.URGENCY_UNSPECIFIED)
    one_page, by_twos = (
        listed(story.coordinator, 200, live=True),
        listed(story.coordinator, 2, live=True),
    )
    assert [referral.id for referral in by_twos] == [referral.id for referral in one_page]
    order = [(-referral.urgency, referral.next_due_time.ToNanoseconds()) for referral in one_page]
    assert order == sorted(order)
    assert {referral.urgency for referral in one_page} >= set(MOST_URGENT_FIRST)


def test_all_pages_together_have_as_many_referrals_as_the_count(
    story: Story,
) -> None:
    for _ in range(7):
        story.sent(urgency=pb.URGENCY_IMMEDIATE), declined(story, urgency=pb.URGENCY_NORMAL)
    filter_ = pb.ReferralFilter(box=pb.BOX_NETWORK, pressing=True)
    counted = story.coordinator.CountReferrals(pb.CountReferralsRequest(filter=filter_)).total
    for size in (1, 3, 50):
        ids = [referral.id for referral in listed(story.coordinator, size, pressing=True)]
        assert len(ids) == len(set(ids)) == counted


def test_a_page_token_is_refused_for_another_order(story: Story) -> None:
    story.sent(), story.sent()
    request = pb.ListReferralsRequest(page_size=1, order_by=pb.ORDER_URGENCY)
    request.page_token = story.ngo.ListReferrals(request).next_page_token
    request.order_by = pb.ORDER_DUE
    assert refusal_with_fields(lambda: story.ngo.ListReferrals(request))[2] == {
        "page_token": "malformed"
    }


def test_an_unknown_order_is_refused(story: Story) -> None:
    request = pb.ListReferralsRequest(order_by=9)  # type: ignore[arg-type]
    assert refusal_with_fields(lambda: story.ngo.ListReferrals(request))[2] == {
        "order_by": "unknown_code"
    }


def test_a_filter_by_due_time_includes_its_start_and_excludes_its_end(
    story: Story,
) -> None:
    sent = story.sent(urgency=pb.URGENCY_EMERGENCY)
    due = sent.next_due_time.ToDatetime()
    for start, end, is_shown in ((0, 1, True), (-1, 0, False), (1, 2, False)):
        filter_ = pb.ReferralFilter(box=pb.BOX_NETWORK)
        filter_.due_after.FromDatetime(due + timedelta(seconds=start))
        filter_.due_before.FromDatetime(due + timedelta(seconds=end))
        assert (sent.id in shown_by(story.coordinator, filter_)) == is_shown


def shown_by(client: Client, filter_: pb.ReferralFilter) -> set[str]:
    return {
        referral.id
        for referral in client.ListReferrals(
            pb.ListReferralsRequest(filter=filter_, page_size=200)
        ).referrals
    }


def open_needs(client: Client, box: pb.Box.ValueType) -> dict[tuple[str, str], int]:
    counts = client.CountReferrals(pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box)))
    return {(need.need_group_code, need.department): need.count for need in counts.unanswered}


def test_open_needs_are_counted_by_group_and_department_until_another_request_or_closing(
    story: Story,
) -> None:
    before = open_needs(story.coordinator, pb.BOX_NETWORK)
    refused = declined(story)
    after = open_needs(story.coordinator, pb.BOX_NETWORK)
    assert after == before | {("HOU", "NI-CI"): before.get(("HOU", "NI-CI"), 0) + 1}
    assert open_needs(story.ngo, pb.BOX_OUTBOX) == after, "the ngo sent all of them"
    assert open_needs(story.shelter, pb.BOX_MINE) == {}, (
        "a receiver that declined does not learn that the need is open"
    )
    story.ngo.CloseNeed(
        pb.CloseNeedRequest(
            id=refused.id, etag=refused.etag, reason_code=pb.NEED_CLOSE_REASON_MOVED
        )
    )
    assert open_needs(story.coordinator, pb.BOX_NETWORK) == before


def response_times(story: Story) -> dict[str, tuple[int, int, int]]:
    organizations = story.coordinator.GetResponseTimes(pb.GetResponseTimesRequest()).organizations
    return {
        organization.organization_id: (
            organization.sent,
            organization.answered,
            organization.median_seconds,
        )
        for organization in organizations
    }


def test_the_response_time_is_the_median_until_the_receivers_first_step(
    story: Story,
) -> None:
    # referrals of other tests are too old to count
    story.service.clock.advance(timedelta(days=60))
    for minutes in (10, 20, 90):
        sent = story.sent()
        story.service.clock.advance(timedelta(minutes=minutes))
        acknowledged = story.shelter.AcknowledgeReferral(
            pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag)
        )
        story.service.clock.advance(timedelta(hours=3))
        story.shelter.DeclineReferral(
            pb.DeclineReferralRequest(
                id=acknowledged.id,
                etag=acknowledged.etag,
                reason_code=pb.DECLINE_REASON_NO_CAPACITY,
            )
        )
    quiet = story.sent()
    assert response_times(story) == {ORG["shelter"]: (4, 3, 20 * 60)}
    draft = story.draft(need_code="MED.PRI", service_id=SERVICE["clinic_visit"])
    receipt = story.receipt(draft.person_id, recipient=ORG["clinic"], purposes=["MED"])
    story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    assert list(response_times(story).items())[1:] == [(ORG["clinic"], (1, 0, 0))], (
        "an organisation without an answer comes last"
    )
    story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(
            id=quiet.id, etag=quiet.etag, reason_code=pb.WITHDRAW_REASON_MOVED
        )
    )
    assert response_times(story)[ORG["shelter"]] == (4, 3, 20 * 60), (
        "a withdrawal by the sender is no answer of the receiver"
    )
    story.service.clock.advance(timedelta(days=31))
    assert response_times(story) == {}, "only the last 30 days count"

"""The data of the coordinator's board.

The board shows urgent cases in their order, open needs by place, and the response time of each
organisation.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import pages, wrong_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Story
from tests.referrals.test_referrals_rpc import declined, shown

MOST_URGENT_FIRST = [
    pb.URGENCY_IMMEDIATE,
    pb.URGENCY_EMERGENCY,
    pb.URGENCY_URGENT,
    pb.URGENCY_NORMAL,
]


PRESSING_FILTERS = ("late", "due_soon", "unanswered")


def referrals_by_urgency(client: Client, size: int, **filters: Any) -> list[pb.Referral]:
    """Returns all referrals that match a filter, by urgency, read in pages of `size`."""
    filter_ = pb.ReferralFilter(box=pb.BOX_NETWORK, **filters)
    answers = pages(client.ListReferrals, filter=filter_, order_by=pb.ORDER_URGENCY, page_size=size)
    return [referral for answer in answers for referral in answer.referrals]


def test_pressing_referrals_are_late_due_soon_or_unanswered_and_listed_once(story: Story) -> None:
    late_referral, due_soon_referral = (
        story.sent(urgency=pb.URGENCY_IMMEDIATE),
        story.sent(urgency=pb.URGENCY_EMERGENCY),
    )
    normal_referral = story.sent(urgency=pb.URGENCY_NORMAL)
    declined_referral = declined(story, urgency=pb.URGENCY_NORMAL)
    story.service.clock.advance(timedelta(minutes=16))
    for client, box in ((story.coordinator, pb.BOX_NETWORK), (story.ngo, pb.BOX_OUTBOX)):
        pressing = shown(client, box=box, pressing=True)
        assert pressing.keys() & {
            late_referral.id,
            due_soon_referral.id,
            declined_referral.id,
            normal_referral.id,
        } == {late_referral.id, due_soon_referral.id, declined_referral.id}
        lists = [shown(client, box=box, **{name: True}) for name in PRESSING_FILTERS]
        assert pressing.keys() == {referral_id for list_ in lists for referral_id in list_}
    assert declined_referral.id not in shown(story.shelter, pressing=True), (
        "a receiver that declined no longer follows the referral"
    )


def test_referrals_are_ordered_by_urgency_and_then_by_deadline_across_pages(story: Story) -> None:
    for urgency in MOST_URGENT_FIRST[::-1]:
        story.sent(urgency=urgency), declined(story, urgency=urgency), story.sent(urgency=urgency)
        story.service.clock.advance(timedelta(minutes=5))
    story.draft(urgency=pb.URGENCY_UNSPECIFIED)
    one_page = referrals_by_urgency(story.coordinator, 200, live=True)
    assert referrals_by_urgency(story.coordinator, 2, live=True) == one_page
    order = [(-referral.urgency, referral.next_due_time.ToNanoseconds()) for referral in one_page]
    assert order == sorted(order)
    assert {referral.urgency for referral in one_page} >= set(MOST_URGENT_FIRST)


def test_all_pages_together_have_as_many_referrals_as_the_count(story: Story) -> None:
    for _ in range(7):
        story.sent(urgency=pb.URGENCY_IMMEDIATE), declined(story, urgency=pb.URGENCY_NORMAL)
    filter_ = pb.ReferralFilter(box=pb.BOX_NETWORK, pressing=True)
    total = story.coordinator.CountReferrals(filter=filter_).total
    for size in (1, 3, 50):
        ids = [
            referral.id for referral in referrals_by_urgency(story.coordinator, size, pressing=True)
        ]
        assert len(ids) == len(set(ids)) == total


def test_a_page_token_is_refused_for_another_order_and_an_unknown_order_is_refused(
    story: Story,
) -> None:
    story.sent(), story.sent()
    request = {"page_size": 1, "order_by": pb.ORDER_URGENCY}
    request["page_token"] = story.ngo.ListReferrals(**request).next_page_token
    for order, expected in (
        (pb.ORDER_DUE, ("page_token", "malformed")),
        (9, ("order_by", "unknown_code")),
    ):
        request["order_by"] = order
        assert wrong_fields(partial(story.ngo.ListReferrals, **request)) == [expected]


def test_a_filter_by_due_time_includes_its_start_and_excludes_its_end(story: Story) -> None:
    sent, one_second = story.sent(urgency=pb.URGENCY_EMERGENCY), timedelta(seconds=1)
    due_time = sent.next_due_time.ToDatetime()
    for start, end, is_listed in ((0, 1, True), (-1, 0, False), (1, 2, False)):
        due_times = {
            "due_after": due_time + start * one_second,
            "due_before": due_time + end * one_second,
        }
        listed_ids = [
            referral.id for referral in referrals_by_urgency(story.coordinator, 200, **due_times)
        ]
        assert (sent.id in listed_ids) == is_listed


def open_needs(client: Client, box: pb.Box.ValueType) -> dict[tuple[str, str], int]:
    """Returns the number of open needs in a box by group and department."""
    counts = client.CountReferrals(filter=pb.ReferralFilter(box=box))
    return {(need.need_group_code, need.department): need.count for need in counts.unanswered}


def test_open_needs_are_counted_by_group_and_department_until_they_are_closed(story: Story) -> None:
    counts_before = open_needs(story.coordinator, pb.BOX_NETWORK)
    declined_referral = declined(story)
    counts = open_needs(story.coordinator, pb.BOX_NETWORK)
    assert counts == counts_before | {("HOU", "NI-CI"): counts_before.get(("HOU", "NI-CI"), 0) + 1}
    assert open_needs(story.ngo, pb.BOX_OUTBOX) == counts, "the ngo sent all of them"
    assert open_needs(story.shelter, pb.BOX_MINE) == {}, (
        "a receiver that declined does not learn that the need is open"
    )
    story.ngo.CloseNeed(
        id=declined_referral.id, etag=declined_referral.etag, reason_code=pb.NEED_CLOSE_REASON_MOVED
    )
    assert open_needs(story.coordinator, pb.BOX_NETWORK) == counts_before


def response_times(story: Story) -> dict[str, tuple[int, int, int]]:
    """Returns (sent, answered, median in seconds) by organisation."""
    return {
        organization.organization_id: (
            organization.sent,
            organization.answered,
            organization.median_seconds,
        )
        for organization in story.coordinator.GetResponseTimes().organizations
    }


def test_the_response_time_is_the_median_until_the_receivers_first_step(story: Story) -> None:
    clock = story.service.clock
    clock.advance(timedelta(days=60))  # referrals of other tests are too old to count
    for minutes in (10, 20, 90):
        sent = story.sent()
        clock.advance(timedelta(minutes=minutes))
        acknowledged_referral = story.shelter.AcknowledgeReferral(id=sent.id, etag=sent.etag)
        clock.advance(timedelta(hours=3))
        story.decline(acknowledged_referral)
    unanswered_referral = story.sent()
    assert response_times(story) == {ORG["shelter"]: (4, 3, 20 * 60)}
    draft = story.draft(need_code="MED.PRI", service_id=SERVICE["clinic_visit"])
    story.send(draft, recipient=ORG["clinic"], purposes=["MED"])
    assert list(response_times(story).items())[1:] == [(ORG["clinic"], (1, 0, 0))], (
        "an organisation without an answer comes last"
    )
    story.ngo.WithdrawReferral(
        id=unanswered_referral.id,
        etag=unanswered_referral.etag,
        reason_code=pb.WITHDRAW_REASON_MOVED,
    )
    assert response_times(story)[ORG["shelter"]] == (4, 3, 20 * 60), (
        "a withdrawal by the sender is no answer of the receiver"
    )
    clock.advance(timedelta(days=31))
    assert response_times(story) == {}, "only the last 30 days count"

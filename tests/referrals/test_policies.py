"""The network's deadlines.

A coordinator publishes versions, and a running deadline keeps the version under which it started.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import grpc
import pytest

from chassis import metrics
from chassis.tokens import SYSTEM
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    SPAN_BY_URGENCY,
    Key,
    Policy,
    Span,
    Urgency,
    path_of,
)
from services.referrals.network.domain.deadline import DeadlineKind as K
from services.referrals.network.store import policies
from tests.builders import NOT_FOUND, refusal, violations_of, wrong_fields
from tests.referrals.conftest import Service, Story, read

U, H, M = Urgency, timedelta(hours=1), timedelta(minutes=1)


# Valid policies.


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({(U.NORMAL, K.DECIDE): None}, "deadlines.normal.decide", "required"),
        ({(None, K.DELETION): H}, "deadlines.deletion", "unknown_code"),
        ({(U.NORMAL, K.REPLACE): H}, "deadlines.normal.replace", "unknown_code"),
        ({(U.IMMEDIATE, K.ACKNOWLEDGE): 4 * M}, "deadlines.immediate.acknowledge", "out_of_range"),
        (
            {(U.IMMEDIATE, K.ACKNOWLEDGE): timedelta(0)},
            "deadlines.immediate.acknowledge",
            "out_of_range",
        ),
        ({(U.NORMAL, K.ACKNOWLEDGE): -2}, "deadlines.normal.acknowledge", "out_of_range"),
        ({(None, K.CLOSE): timedelta(days=91)}, "deadlines.close", "out_of_range"),
        ({(U.EMERGENCY, K.ACKNOWLEDGE): 1}, "deadlines.emergency.acknowledge", "out_of_range"),
        (
            {(U.IMMEDIATE, K.FIRST_CONTACT): 25 * H},
            "deadlines.immediate.first_contact",
            "out_of_range",
        ),
        ({(U.EMERGENCY, K.DECIDE): 73 * H}, "deadlines.emergency.decide", "out_of_range"),
        ({(None, K.SILENCE): 5}, "deadlines.silence", "out_of_range"),
        ({(U.URGENT, K.DECIDE): 2 * H}, "deadlines.emergency.decide", "not_in_order"),
        ({(U.URGENT, K.ACKNOWLEDGE): 73 * H}, "deadlines.urgent.acknowledge", "not_in_order"),
    ],
)
def test_a_policy_that_would_leave_somebody_waiting_is_refused(
    changes: dict[Key, Span | None], path: str, reason: str
) -> None:
    spans = {
        key: span for key, span in (dict(FIRST_POLICY.spans) | changes).items() if span is not None
    }
    assert (path, reason) in violations_of(Policy(2, spans).check)


def test_the_first_policy_is_valid_and_so_are_the_shortest_and_longest_spans() -> None:
    FIRST_POLICY.check()
    Policy(2, dict.fromkeys(FIRST_POLICY.spans, 5 * M)).check()
    day = 24 * H
    longest: dict[Key, Span] = dict.fromkeys(FIRST_POLICY.spans, 90 * day)
    for kind in SPAN_BY_URGENCY:
        longest |= {(U.IMMEDIATE, kind): day, (U.EMERGENCY, kind): 3 * day}
    Policy(2, longest).check()


@pytest.mark.parametrize(
    ("key", "span", "accepted"),
    [
        ((U.URGENT, K.REPLACE), 72 * H, True),  # as before
        ((U.URGENT, K.REPLACE), 48 * H, True),  # as from now on
        ((U.URGENT, K.REPLACE), 60 * H, False),
        ((U.NORMAL, K.ANSWER), 2, True),
        ((U.NORMAL, K.ANSWER), 48 * H, False),
        ((None, K.DELETION), 72 * H, True),
        ((None, K.DELETION), 71 * H, False),
    ],
)
def test_a_policy_may_repeat_derived_and_fixed_spans_but_not_set_them(
    key: Key, span: Span, accepted: bool
) -> None:
    policy = Policy(2, dict(FIRST_POLICY.spans) | {(U.URGENT, K.DECIDE): 48 * H})
    fixed_span: Span = 12 * H
    repeated_spans: dict[Key, Span] = {(None, K.OVERRIDE_CONFIRM): fixed_span, key: span}
    if accepted:
        policy.check_following(repeated_spans, FIRST_POLICY)
        return
    assert violations_of(lambda: policy.check_following(repeated_spans, FIRST_POLICY)) == [
        (path_of(key), "out_of_range")
    ]


# By rpc.


def test_a_policy_can_be_published_as_it_was_read(story: Story, no_other_deadlines: None) -> None:
    newest = story.coordinator.GetDeadlinePolicy()
    request = pb.PublishDeadlinePolicyRequest(
        version=newest.version + 1, deadlines=newest.deadlines
    )
    assert story.coordinator.PublishDeadlinePolicy(request).deadlines == newest.deadlines
    request.version += 1
    published = story.coordinator.PublishDeadlinePolicy(
        with_span(request, pb.URGENCY_URGENT, pb.CLOCK_KIND_DECIDE, 48 * H)
    )
    spans = {
        (deadline.urgency, deadline.clock): deadline.seconds for deadline in published.deadlines
    }
    assert (
        spans[pb.URGENCY_URGENT, pb.CLOCK_KIND_REPLACE]
        == spans[pb.URGENCY_URGENT, pb.CLOCK_KIND_DECIDE]
        == 48 * 3600
    )


@pytest.fixture
def no_other_deadlines(service: Service) -> Iterator[None]:
    """Stops all deadlines that run already; deletes the versions of a test after it."""
    service.as_owner("UPDATE clocks SET next_time = NULL")
    yield
    _forget(service)


def _forget(service: Service) -> None:
    """Deletes a test's versions as the table's owner, because the service may only append."""
    service.as_owner("DELETE FROM deadline_policies")
    service.made.referral_changes._policies._policies = {1: FIRST_POLICY}


def next_policy(story: Story) -> pb.PublishDeadlinePolicyRequest:
    """Returns the request to publish the newest policy again as the next version."""
    newest = story.coordinator.GetDeadlinePolicy()
    changeable = {
        pb.CLOCK_KIND_ACKNOWLEDGE,
        pb.CLOCK_KIND_DECIDE,
        pb.CLOCK_KIND_FIRST_CONTACT,
        pb.CLOCK_KIND_SILENCE,
        pb.CLOCK_KIND_CLOSE,
    }
    return pb.PublishDeadlinePolicyRequest(
        version=newest.version + 1,
        deadlines=[deadline for deadline in newest.deadlines if deadline.clock in changeable],
        request_id=story.request_id(),
    )


def with_span(
    request: pb.PublishDeadlinePolicyRequest, urgency: int, clock: int, span: timedelta
) -> pb.PublishDeadlinePolicyRequest:
    """Sets the span of one deadline in a request, and returns the request."""
    for deadline in request.deadlines:
        if (deadline.urgency, deadline.clock) == (urgency, clock):
            deadline.seconds, deadline.working_days = int(span.total_seconds()), 0
    return request


def publish_slower_policy(story: Story) -> pb.DeadlinePolicy:
    """Publishes a policy with two hours to acknowledge an emergency instead of one."""
    policy: pb.DeadlinePolicy = story.coordinator.PublishDeadlinePolicy(
        with_span(next_policy(story), pb.URGENCY_EMERGENCY, pb.CLOCK_KIND_ACKNOWLEDGE, 2 * H)
    )
    return policy


def time_left(referral: pb.Referral, kind: int, service: Service) -> timedelta:
    """Returns the time until the running deadline of this kind is due."""
    [clock] = [
        clock for clock in referral.clocks if clock.kind == kind and not clock.HasField("stop_time")
    ]
    return clock.due_time.ToDatetime(tzinfo=service.clock.now().tzinfo) - service.clock.now()


def test_a_deadline_follows_the_policy_version_under_which_it_began(
    story: Story, service: Service, no_other_deadlines: None
) -> None:
    earlier = story.sent(urgency=pb.URGENCY_URGENT)
    assert publish_slower_policy(story).version == 2
    assert time_left(read(story.ngo, earlier.id), pb.CLOCK_KIND_ACKNOWLEDGE, service) == 24 * H
    amended = story.ngo.AmendReferral(
        id=earlier.id, etag=earlier.etag, urgency=pb.URGENCY_EMERGENCY
    )
    assert time_left(amended, pb.CLOCK_KIND_ACKNOWLEDGE, service) == 1 * H, (
        "the deadline follows the version under which the referral was sent"
    )
    assert time_left(story.sent(), pb.CLOCK_KIND_ACKNOWLEDGE, service) == 2 * H
    first = story.ngo.GetDeadlinePolicy(version=1)
    assert first.version == 1
    assert {
        deadline.seconds
        for deadline in first.deadlines
        if (deadline.urgency, deadline.clock) == (pb.URGENCY_EMERGENCY, pb.CLOCK_KIND_ACKNOWLEDGE)
    } == {3600}
    assert refusal(lambda: story.ngo.GetDeadlinePolicy(version=3)) == NOT_FOUND


def test_a_question_waits_as_long_as_the_deadline_that_it_follows(
    story: Story, service: Service, no_other_deadlines: None
) -> None:
    publish_slower_policy(story)
    sent = story.sent()
    question = story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES
    )
    assert time_left(question, pb.CLOCK_KIND_ANSWER, service) == 2 * H


def test_a_deadline_whose_policy_is_missing_uses_the_last_version_and_counts_it(
    story: Story, service: Service, no_other_deadlines: None, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_slower_policy(story)
    sent = story.sent(urgency=pb.URGENCY_URGENT)
    _forget(service)  # as if an older backup had been restored
    missing_count = metrics.VERSIONS_MISSING.labels("deadline_policies")._value
    before = missing_count.get()
    amended = story.ngo.AmendReferral(id=sent.id, etag=sent.etag, urgency=pb.URGENCY_EMERGENCY)
    assert time_left(amended, pb.CLOCK_KIND_ACKNOWLEDGE, service) == 1 * H
    assert missing_count.get() > before
    assert "deadline_policy_missing" in capsys.readouterr().out
    assert service.fire_after(31 * M) == 1, "the deadline fires nevertheless"


def test_one_of_two_concurrent_publications_of_a_policy_is_stale(
    story: Story, service: Service, no_other_deadlines: None
) -> None:
    def publish(request: pb.PublishDeadlinePolicyRequest) -> str:
        try:
            story.coordinator.PublishDeadlinePolicy(request)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
        return "published"

    with ThreadPoolExecutor(2) as pool:
        results = pool.map(publish, [next_policy(story), next_policy(story)])
        assert sorted(results) == ["ABORTED stale_etag", "published"]
    with service.database.transaction(SYSTEM) as tx:
        assert policies.query_newest(tx)() == 2


def test_an_invalid_policy_or_a_changed_fixed_deadline_is_refused_and_not_stored(
    story: Story, service: Service, no_other_deadlines: None
) -> None:
    newest = story.coordinator.GetDeadlinePolicy()
    changed_fixed = pb.PublishDeadlinePolicyRequest(
        version=newest.version + 1, deadlines=newest.deadlines
    )
    with_span(changed_fixed, pb.URGENCY_UNSPECIFIED, pb.CLOCK_KIND_DELETION, 80 * H)
    too_long = with_span(next_policy(story), pb.URGENCY_IMMEDIATE, pb.CLOCK_KIND_DECIDE, 100 * H)
    repeated = next_policy(story)
    repeated.deadlines.append(repeated.deadlines[0])
    for request in (changed_fixed, too_long, repeated):
        assert wrong_fields(partial(story.coordinator.PublishDeadlinePolicy, request))
    with service.database.transaction(SYSTEM) as tx:
        assert policies.query_newest(tx)() == 0

"""The network's deadlines.

A coordinator publishes versions, and a running deadline keeps the version under which it started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import psycopg
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
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.network.usecases.policies import Policies
from services.referrals.referrals.store.deadlines import next_time
from tests.builders import refusal, refusal_with_fields, violations_of
from tests.referrals.conftest import Service, Story

U, H, M = Urgency, timedelta(hours=1), timedelta(minutes=1)


# Valid policies.


def test_the_first_policy_is_valid() -> None:
    FIRST_POLICY.check()


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


def test_a_policy_may_use_the_shortest_and_longest_spans() -> None:
    shortest = dict.fromkeys(FIRST_POLICY.spans, 5 * M)
    Policy(2, shortest).check()
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
    right: Span = 12 * H
    stated: dict[Key, Span] = {(None, K.OVERRIDE_CONFIRM): right, key: span}
    if accepted:
        policy.check_following(stated, FIRST_POLICY)
        return
    assert violations_of(lambda: policy.check_following(stated, FIRST_POLICY)) == [
        (path_of(key), "out_of_range")
    ]


# By rpc.


def test_a_policy_can_be_published_as_it_was_read(story: Story, alone: None) -> None:
    newest = story.coordinator.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest())
    again = pb.PublishDeadlinePolicyRequest(
        version=newest.version + 1, deadlines=newest.deadlines, request_id=story.request_id()
    )
    assert story.coordinator.PublishDeadlinePolicy(again).deadlines == newest.deadlines
    changed = pb.PublishDeadlinePolicyRequest(
        version=newest.version + 2, deadlines=newest.deadlines, request_id=story.request_id()
    )
    published = story.coordinator.PublishDeadlinePolicy(
        with_(changed, pb.URGENCY_URGENT, pb.CLOCK_KIND_DECIDE, timedelta(hours=48))
    )
    spans = {
        (deadline.urgency, deadline.clock): deadline.seconds for deadline in published.deadlines
    }
    assert (
        spans[pb.URGENCY_URGENT, pb.CLOCK_KIND_REPLACE]
        == spans[pb.URGENCY_URGENT, pb.CLOCK_KIND_DECIDE]
        == 48 * 3600
    )


@pytest.mark.parametrize(
    ("urgency", "clock", "path"),
    [
        (pb.URGENCY_UNSPECIFIED, pb.CLOCK_KIND_DELETION, "deadlines.deletion"),
        (pb.URGENCY_NORMAL, pb.CLOCK_KIND_REPLACE, "deadlines.normal.replace"),
    ],
)
def test_derived_and_fixed_deadlines_cannot_be_changed(
    story: Story,
    alone: None,
    urgency: pb.Urgency.ValueType,
    clock: pb.ClockKind.ValueType,
    path: str,
) -> None:
    newest = story.coordinator.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest())
    request = pb.PublishDeadlinePolicyRequest(
        version=newest.version + 1, deadlines=newest.deadlines, request_id=story.request_id()
    )
    with_(request, urgency, clock, timedelta(hours=80))
    code, _, fields = refusal_with_fields(lambda: story.coordinator.PublishDeadlinePolicy(request))
    assert (code, fields) == ("INVALID_ARGUMENT", {path: "out_of_range"})


@pytest.fixture
def alone(service: Service) -> Iterator[None]:
    """Deletes the versions of a test after it; no other deadlines fire during the test."""
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE clocks SET next_time = NULL")
    yield
    _forget(service)


def _forget(service: Service) -> None:
    """Deletes a test's versions as the table's owner, because the service may only append."""
    with psycopg.connect(service.migration_url) as connection:
        connection.execute("DELETE FROM deadline_policies")
    _policies(service)._read = {1: FIRST_POLICY}


def _policies(service: Service) -> Policies:
    return service.made.lives._policies


def next_policy(story: Story) -> pb.PublishDeadlinePolicyRequest:
    """Returns the request to publish the newest policy again as the next version."""
    newest = story.coordinator.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest())
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


def with_(
    request: pb.PublishDeadlinePolicyRequest, urgency: int, clock: int, span: timedelta
) -> pb.PublishDeadlinePolicyRequest:
    for deadline in request.deadlines:
        if (deadline.urgency, deadline.clock) == (urgency, clock):
            deadline.seconds, deadline.working_days = int(span.total_seconds()), 0
    return request


def slower(story: Story) -> pb.DeadlinePolicy:
    """Publishes a policy with two hours to acknowledge an emergency instead of one."""
    policy: pb.DeadlinePolicy = story.coordinator.PublishDeadlinePolicy(
        with_(next_policy(story), pb.URGENCY_EMERGENCY, pb.CLOCK_KIND_ACKNOWLEDGE, 2 * H)
    )
    return policy


def due(referral: pb.Referral, kind: int, service: Service) -> timedelta:
    [clock] = [
        clock for clock in referral.clocks if clock.kind == kind and not clock.HasField("stop_time")
    ]
    return clock.due_time.ToDatetime(tzinfo=service.clock.now().tzinfo) - service.clock.now()


def test_a_deadline_follows_the_policy_version_under_which_it_began(
    story: Story, service: Service, alone: None
) -> None:
    before = story.sent(urgency=pb.URGENCY_URGENT)
    assert slower(story).version == 2
    again = story.ngo.GetReferral(pb.GetReferralRequest(id=before.id))
    assert due(again, pb.CLOCK_KIND_ACKNOWLEDGE, service) == 24 * H
    raised = story.ngo.AmendReferral(
        pb.AmendReferralRequest(id=again.id, etag=again.etag, urgency=pb.URGENCY_EMERGENCY)
    )
    assert due(raised, pb.CLOCK_KIND_ACKNOWLEDGE, service) == 1 * H, "its own version says so"
    assert due(story.sent(), pb.CLOCK_KIND_ACKNOWLEDGE, service) == 2 * H
    first = story.ngo.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest(version=1))
    assert first.version == 1
    assert {
        deadline.seconds
        for deadline in first.deadlines
        if (deadline.urgency, deadline.clock) == (pb.URGENCY_EMERGENCY, pb.CLOCK_KIND_ACKNOWLEDGE)
    } == {3600}
    assert refusal(lambda: story.ngo.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest(version=3))) == (
        "NOT_FOUND",
        "not_found",
    )


def test_a_question_waits_as_long_as_the_deadline_that_it_follows(
    story: Story, service: Service, alone: None
) -> None:
    slower(story)
    sent = story.sent()
    question = story.shelter.AskReferral(
        pb.AskReferralRequest(id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES)
    )
    assert due(question, pb.CLOCK_KIND_ANSWER, service) == 2 * H


def test_a_deadline_whose_policy_is_missing_uses_the_last_version_and_counts_it(
    story: Story, service: Service, alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    slower(story)
    sent = story.sent(urgency=pb.URGENCY_URGENT)
    _forget(service)  # as if an older backup had been restored
    missing = metrics.VERSIONS_MISSING.labels("deadline_policies")._value
    before = missing.get()
    raised = story.ngo.AmendReferral(
        pb.AmendReferralRequest(id=sent.id, etag=sent.etag, urgency=pb.URGENCY_EMERGENCY)
    )
    assert due(raised, pb.CLOCK_KIND_ACKNOWLEDGE, service) == 1 * H
    assert missing.get() > before
    assert "deadline_policy_missing" in capsys.readouterr().out
    service.clock.advance(31 * M)
    assert (
        DeadlineScheduler(
            service.made.lives, service.database, service.clock, next_time, "clocks"
        ).fire()
        == 1
    ), "and the deadline fires"


def test_one_of_two_concurrent_publications_of_a_policy_is_stale(
    story: Story, service: Service, alone: None
) -> None:
    requests = [next_policy(story), next_policy(story)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda request: _outcome(lambda: story.coordinator.PublishDeadlinePolicy(request)),
                requests,
            )
        )
    assert sorted(map(str, answers)) == sorted(map(str, [2, ("ABORTED", "stale_etag")]))
    with service.database.transaction(SYSTEM) as tx:
        assert policies.newest(tx)() == 2


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call().version
    except grpc.RpcError as error:
        failed = error

        def again() -> None:
            raise failed

        return refusal(again)


def test_an_invalid_policy_is_refused_and_not_stored(
    story: Story, service: Service, alone: None
) -> None:
    request = with_(next_policy(story), pb.URGENCY_IMMEDIATE, pb.CLOCK_KIND_DECIDE, 100 * H)
    assert (
        refusal(lambda: story.coordinator.PublishDeadlinePolicy(request))[0] == "INVALID_ARGUMENT"
    )
    twice = next_policy(story)
    twice.deadlines.append(twice.deadlines[0])
    assert refusal(lambda: story.coordinator.PublishDeadlinePolicy(twice))[0] == "INVALID_ARGUMENT"
    with service.database.transaction(SYSTEM) as tx:
        assert policies.newest(tx)() == 0

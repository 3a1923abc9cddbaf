"""Every part of the house is killed while partner systems work: what was answered stays, what was not acts once or never, and everybody is told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.faults import checker
from tests.faults.checker import Books
from tests.faults.work import OK, Work
from tests.parts import topics
from tests.parts.house import SERVICES, House, until
from tests.parts.stories import Cast

KILLED = ("referrals", "notifications", "broker", "partners", "postgres")
ENOUGH = 500  # transitions
BETWEEN = 60  # transitions answered after a part is well again, before the next is killed


@pytest.fixture(scope="module")
def books(victim: House, cast: Cast) -> Iterator[Books]:
    """The fault run, and what it left behind when all has come to rest."""
    people = [cast.person() for _ in range(8)]
    since = checker.started()
    work = Work(cast, people)
    work.begin()
    in_flight = 0
    for name in KILLED:
        work.wait_for(work.answered + BETWEEN)
        killed: list[int] = []
        in_flight += work.strike(lambda name=name, killed=killed: killed.append(victim.kill(name)))  # type: ignore[misc]
        victim.wait_healthy(*killed)
    work.wait_for(max(ENOUGH, work.answered + BETWEEN))
    work.end()
    with ExitStack() as opened:
        partners, referrals, notifications = (opened.enter_context(victim.database(name)) for name in SERVICES)
        books = Books(partners, referrals, notifications, work.operations, [], since)
        waits: list[Callable[[Books], list[str]]] = [checker.nothing_waits, checker.every_fact_was_taken_in]
        until(lambda: not any(wait(books) for wait in waits), 90, lambda: [wait(books)[:5] for wait in waits])
        assert work.refused == []
        retried = [o for o in work.operations if o.outcome == OK and o.calls > 1]
        assert in_flight >= 0.8 * len(KILLED), "the kills hit nothing"
        assert retried, "nothing was cut off"
        yield replace(books, topics=topics.records(victim.state["kafka"]))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("check", checker.CHECKS, ids=lambda check: check.__name__)
def test_after_every_part_was_killed(books: Books, check: Callable[[Books], list[str]]) -> None:
    assert sum(o.outcome == OK for o in books.operations) >= ENOUGH
    assert check(books) == []


# What a bug would leave behind: where, what, and who must see it. Each is taken back after the look.
PLANTED: dict[str, tuple[str, str, Callable[[Books], list[str]]]] = {
    "a change that was answered is lost": (
        "referrals",
        "DELETE FROM referral_events WHERE (referral_id, version) IN (SELECT referral_id, version FROM referral_events WHERE verb = 'accepted'"
        " ORDER BY time DESC LIMIT 1)",
        checker.answered_transitions_are_in_the_history_once,
    ),
    "a retry without its key": (
        "referrals",
        "DELETE FROM requests WHERE (caller_id, request_id) IN (SELECT caller_id, request_id FROM requests"
        " WHERE method LIKE '%AcceptReferral' ORDER BY time DESC LIMIT 1)",
        checker.answered_transitions_are_in_the_history_once,
    ),
    "a retry that made a second referral": (
        "referrals",
        'WITH twin AS (INSERT INTO referrals SELECT (jsonb_populate_record(r, \'{"id": "twin"}\')).* FROM referrals r ORDER BY create_time DESC LIMIT 1)'
        " INSERT INTO referral_events SELECT 'twin', version, verb, from_state, to_state, time, actor_kind, actor_id, organization_id, reason_code,"
        " attribution, clock, note_sealed FROM referral_events WHERE referral_id = (SELECT id FROM referrals ORDER BY create_time DESC LIMIT 1)",
        checker.unknown_transitions_happened_once_or_never,
    ),
    "a fact told before a rollback": (
        "referrals",
        "INSERT INTO outbox SELECT id, version + 100, 'enlace.referral.closed.v1', '', now(), now() FROM referrals LIMIT 1",
        checker.history_and_outbox_are_one_to_one,
    ),
    "a change without a fact": (
        "referrals",
        "DELETE FROM outbox WHERE (subject, version) IN (SELECT subject, version FROM outbox WHERE type = 'enlace.referral.accepted.v1' LIMIT 1)",
        checker.history_and_outbox_are_one_to_one,
    ),
    "a version left out": (
        "referrals",
        "UPDATE outbox SET version = version + 1 WHERE (subject, version) IN (SELECT subject, max(version) FROM outbox GROUP BY 1 LIMIT 1)",
        checker.versions_have_no_gap,
    ),
    "a state that nobody set": (
        "referrals",
        "UPDATE referrals SET state = 'accepted' WHERE id IN (SELECT id FROM referrals WHERE state = 'closed' ORDER BY create_time DESC LIMIT 1)",
        checker.state_is_what_the_history_says,
    ),
    "a step that is not allowed": (
        "referrals",
        "UPDATE referral_events SET from_state = 'draft' WHERE (referral_id, version) IN"
        " (SELECT referral_id, version FROM referral_events WHERE verb = 'completed' ORDER BY time DESC LIMIT 1)",
        checker.state_is_what_the_history_says,
    ),
    "an offset committed before the effect": (
        "notifications",
        "UPDATE inbox SET version = version - 1 WHERE ctid IN (SELECT ctid FROM inbox WHERE consumer = 'notifications-referrals' AND version > 1 LIMIT 1)",
        checker.every_fact_was_taken_in,
    ),
    "an inbox row outside the transaction of its effect": (
        "notifications",
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages m WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.message_id = m.id)"
        " ORDER BY create_time DESC LIMIT 1)",
        checker.each_fact_made_its_messages_once,
    ),
    "no inbox: a message twice": (
        "notifications",
        'INSERT INTO messages SELECT (jsonb_populate_record(m, \'{"id": "twice"}\')).* FROM messages m ORDER BY create_time DESC LIMIT 1',
        checker.each_fact_made_its_messages_once,
    ),
    "an e-mail twice": (
        "notifications",
        'INSERT INTO deliveries SELECT (jsonb_populate_record(d, \'{"id": "twice"}\')).* FROM deliveries d WHERE message_id IS NOT NULL LIMIT 1',
        checker.each_message_is_delivered_once_to_a_place,
    ),
    "a relay that goes by a watermark": (
        "referrals",
        "UPDATE outbox SET first_round = NULL WHERE (subject, version) IN (SELECT subject, version FROM outbox LIMIT 1)",
        checker.nothing_waits,
    ),
    "an audit row after the answer": (
        "referrals",
        "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit WHERE action = 'send' ORDER BY sequence DESC LIMIT 1)",
        checker.every_sending_is_on_record,
    ),
    "published before the commit": (
        "referrals",
        "DELETE FROM outbox WHERE (subject, version) IN (SELECT subject, max(version) FROM outbox GROUP BY 1 LIMIT 1)",
        checker.topics_tell_what_happened,
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_checker_sees(books: Books, bug: str) -> None:
    where, planting, check = PLANTED[bug]
    database = books.of(where)
    with database.transaction(force_rollback=True):
        assert database.execute(planting).rowcount > 0, "nothing was planted"
        assert check(books) != []


def test_every_invariant_has_a_bug_that_it_sees() -> None:
    assert {check for _, _, check in PLANTED.values()} == set(checker.CHECKS)

"""A network that has existed for years.

Ended referrals accumulate, and no list of current work reads them. test_counts.py compares the
lists with a scan of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chassis.db import Transaction
from chassis.tokens import SYSTEM, Caller
from facts import outbox
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import State
from services.referrals.referrals.store import boxes, deadlines, figures
from tests.builders import NOON
from tests.referrals.conftest import ORG, Service, Story, read
from tests.referrals.test_referrals_rpc import hers

OVER, MUCH = 20_000, 400
BOXES = {"inbox": "shelter", "outbox": "ngo", "mine": "ngo", "network": "coalition"}


def caller_of(box: str) -> Caller:
    return Caller(
        "f" * 32,
        "worker",
        ORG[BOXES[box]],
        frozenset({"COORDINATOR" if box == "network" else "WORKER"}),
    )


def wanted(box: str, **filters: Any) -> Filter:
    return Filter(box, ORG[BOXES[box]], NOON, **filters)


def copy_rows(
    database: psycopg.Connection[dict[str, Any]],
    table: str,
    key: str,
    identifier: str,
    often: int,
    **changes: str,
) -> None:
    """Copies the rows of a referral `often` times; `anew` gives the values that differ."""
    rows = database.execute(
        "SELECT attname AS name FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped",
        (table,),
    )
    published = (
        {name: f"was.{name}" for row in rows for name in [row["name"]]}
        | {key: "md5(n::text)"}
        | changes
    )
    database.execute(
        f"INSERT INTO {table} ({', '.join(published)}) SELECT {', '.join(published.values())}"
        f" FROM {table} was, generate_series(1, %s) n WHERE was.{key} = %s",
        (often, identifier),
    )


@pytest.fixture(scope="module")
def old(service: Service) -> Service:
    """Adds twenty thousand ended referrals between two members, and a few of each other kind."""
    numbers = iter(range(10_000, 20_000))
    story = Story(
        service,
        service.as_("ngo", "WORKER"),
        service.as_("shelter", "WORKER"),
        service.as_("coalition", "COORDINATOR"),
        numbers,
    )
    story.draft(), story.sent(), story.accepted()
    refused, over = story.sent(), story.sent()
    story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=refused.id, etag=refused.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )
    story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(id=over.id, etag=over.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    )
    with psycopg.connect(service.migration_url, autocommit=True, row_factory=dict_row) as database:
        then = "interval '100 days' + n * interval '1 minute'"
        times = {
            name: f"was.{name} - ({then})" for name in ("create_time", "send_time", "update_time")
        }
        copy_rows(database, "referrals", "id", over.id, OVER, **times)
        copy_rows(database, "clocks", "referral_id", over.id, OVER)
        copy_rows(
            database, "referral_events", "referral_id", over.id, OVER, time=f"was.time - ({then})"
        )
        copy_rows(database, "outbox", "subject", over.id, OVER, first_round="1", last_round="1")
        database.execute("UPDATE outbox SET first_round = 1, last_round = 1")
        database.execute("VACUUM ANALYZE referrals, clocks, referral_events, outbox")
    return service


class Reader:
    """A transaction that counts the rows that its statements read."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.rows: list[tuple[float, str]] = []

    def execute(self, statement: str, values: Any = None) -> Any:
        row = self._tx.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).fetchone()
        assert row
        self.rows += self._read(row["QUERY PLAN"][0]["Plan"])
        return self._tx.execute(statement, values)

    def _read(self, node: dict[str, Any]) -> Iterator[tuple[float, str]]:
        if "Relation Name" in node:
            rows_per_loop = node["Actual Rows"] + sum(
                count for name, count in node.items() if name.startswith("Rows Removed by")
            )
            yield (
                rows_per_loop * node["Actual Loops"],
                f"{node['Node Type']} of {node['Relation Name']}",
            )
        for below in node.get("Plans", ()):
            yield from self._read(below)


LISTS: dict[str, tuple[Filter, bool]] = {
    "what a desk received and is live": (wanted("inbox", live=True), False),
    "all that a desk ever received": (wanted("inbox"), False),
    "all that a desk ever sent": (wanted("outbox"), False),
    "all of a desk": (wanted("mine"), False),
    "what is a desk's turn": (wanted("mine", live=True, waiting_for_me=True), False),
    "what is late at a desk": (wanted("mine", late=True, waiting_for_me=True), False),
    "what is new at a desk": (wanted("mine", states=(State.SENT,), waiting_for_me=True), False),
    "what is on its way": (wanted("mine", states=(State.IN_PROGRESS,)), False),
    "what another one's turn is": (wanted("mine", live=True, waiting_for_other=True), False),
    "what came back": (wanted("outbox", unanswered=True), False),
    "what came back to anybody": (wanted("network", unanswered=True), False),
    "what can't wait": (wanted("network", pressing=True), True),
    "what is due by the evening": (
        wanted("network", due_after=NOON, due_before=NOON + timedelta(hours=12)),
        False,
    ),
    "what is live": (wanted("network", live=True), True),
    "the whole network": (wanted("network"), False),
    "what has a code": (wanted("mine", code="K7M2QX"), False),
    "what has a code in the network": (wanted("network", code="K7M2QX"), False),
}
COUNTS = {
    "of a desk": wanted("mine", live=True),
    "of what is a desk's turn": wanted("mine", waiting_for_me=True),
    "of the network": wanted("network", live=True),
    "of what can't wait": wanted("network", pressing=True),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "which clocks are due": lambda tx: deadlines.due(tx, NOON + timedelta(days=1), 50),
    "when the next clock is": deadlines.next_time,
    "whether an open page is behind": lambda tx: boxes.queue_version(tx, ORG["ngo"], network=True),
    "how soon organisations answer": lambda tx: figures.response_times(
        tx, NOON - timedelta(days=30)
    ),
    "what is new to tell": lambda tx: outbox.next_batch(tx, 500).facts,
    "whether something is to be told again": lambda tx: outbox.next_batch(tx, 1),
}


def check_rows_read(old: Service, caller: Caller, ask: Callable[[Any], Any]) -> None:
    with old.database.transaction(caller) as tx:
        reader = Reader(tx)
        ask(reader)
    assert sum(count for count, _ in reader.rows) < MUCH, reader.rows


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_does_not_read_ended_referrals(list_name: str, old: Service) -> None:
    chosen, by_urgency = LISTS[list_name]
    check_rows_read(
        old, caller_of(chosen.box), lambda tx: boxes.find(tx, chosen, 50, by_urgency=by_urgency)
    )


@pytest.mark.parametrize("count_name", COUNTS)
def test_a_count_does_not_read_ended_referrals(count_name: str, old: Service) -> None:
    check_rows_read(
        old, caller_of(COUNTS[count_name].box), lambda tx: boxes.count(tx, COUNTS[count_name])
    )


@pytest.mark.parametrize("query_name", OTHERS)
def test_frequent_queries_do_not_read_ended_referrals(query_name: str, old: Service) -> None:
    check_rows_read(old, SYSTEM, OTHERS[query_name])


def test_a_referral_already_placed_elsewhere_when_declined_is_no_open_need(story: Story) -> None:
    first = story.sent()
    draft = story.draft(hers(first), based_on_id=first.id)
    receipt = story.receipt(draft.person_id)
    story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=first.id, etag=first.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )
    mine = read(story.ngo, first.id)
    assert (mine.unanswered, mine.HasField("next_due_time"), mine.following_id) == (
        False,
        False,
        draft.id,
    )
    unanswered = pb.ListReferralsRequest(
        filter=pb.ReferralFilter(box=pb.BOX_OUTBOX, unanswered=True), page_size=200
    )
    assert first.id not in {row.id for row in story.ngo.ListReferrals(unanswered).referrals}

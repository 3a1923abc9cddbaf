"""A network that has existed for years.

Ended referrals accumulate, and no list of current work reads them. test_counts.py compares the
lists with a scan of every row.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
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
from tests.referrals.conftest import ORG, Service, Story, read, send_request
from tests.referrals.test_referrals_rpc import person_of

ENDED_COUNT, ROW_LIMIT = 20_000, 400
"""The number of ended referrals, and the number of rows below which every query stays."""
BOXES = {"inbox": "shelter", "outbox": "ngo", "mine": "ngo", "network": "coalition"}


def caller_of(box: str) -> Caller:
    return Caller(
        "f" * 32,
        "worker",
        ORG[BOXES[box]],
        frozenset({"COORDINATOR" if box == "network" else "WORKER"}),
    )


def filter_for(box: str, **filters: Any) -> Filter:
    return Filter(box, ORG[BOXES[box]], NOON, **filters)


def copy_rows(
    database: psycopg.Connection[dict[str, Any]],
    table: str,
    key: str,
    referral_id: str,
    **changes: str,
) -> None:
    """Copies the rows of a referral; `changes` gives the values that differ, as SQL."""
    rows = database.execute(
        "SELECT attname AS name FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped",
        (table,),
    )
    values = {row["name"]: f"was.{row['name']}" for row in rows} | {key: "md5(n::text)"} | changes
    database.execute(
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())}"
        f" FROM {table} was, generate_series(1, %s) n WHERE was.{key} = %s",
        (ENDED_COUNT, referral_id),
    )


@pytest.fixture(scope="module")
def network(service: Service) -> Service:
    """Adds twenty thousand ended referrals between two members, and a few other referrals."""
    story = Story(
        service,
        service.as_("ngo", "WORKER"),
        service.as_("shelter", "WORKER"),
        service.as_("coalition", "COORDINATOR"),
        iter(range(10_000, 20_000)),
    )
    story.draft(), story.sent(), story.accepted()
    story.decline(story.sent())
    referral = story.sent()
    story.ngo.WithdrawReferral(
        id=referral.id, etag=referral.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    )
    with psycopg.connect(service.migration_url, autocommit=True, row_factory=dict_row) as database:
        copy = partial(copy_rows, database, referral_id=referral.id)
        past = "interval '100 days' + n * interval '1 minute'"
        times = {
            name: f"was.{name} - ({past})" for name in ("create_time", "send_time", "update_time")
        }
        copy("referrals", "id", **times)
        copy("clocks", "referral_id")
        copy("referral_events", "referral_id", time=f"was.time - ({past})")
        copy("outbox", "subject", first_round="1", last_round="1")
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
        for child in node.get("Plans", ()):
            yield from self._read(child)


LISTS: dict[str, tuple[Filter, bool]] = {
    "live referrals that a desk received": (filter_for("inbox", live=True), False),
    "all referrals that a desk received": (filter_for("inbox"), False),
    "all referrals that a desk sent": (filter_for("outbox"), False),
    "all referrals of a desk": (filter_for("mine"), False),
    "a desk's turn": (filter_for("mine", live=True, waiting_for_me=True), False),
    "late at a desk": (filter_for("mine", late=True, waiting_for_me=True), False),
    "new at a desk": (filter_for("mine", states=(State.SENT,), waiting_for_me=True), False),
    "in progress at a desk": (filter_for("mine", states=(State.IN_PROGRESS,)), False),
    "another desk's turn": (filter_for("mine", live=True, waiting_for_other=True), False),
    "open needs of a desk": (filter_for("outbox", unanswered=True), False),
    "open needs of the network": (filter_for("network", unanswered=True), False),
    "pressing in the network": (filter_for("network", pressing=True), True),
    "due by the evening": (
        filter_for("network", due_after=NOON, due_before=NOON + timedelta(hours=12)),
        False,
    ),
    "live in the network": (filter_for("network", live=True), True),
    "the whole network": (filter_for("network"), False),
    "changed at a desk": (filter_for("mine", modified_after=NOON - timedelta(hours=1)), False),
    "changed in the network": (
        filter_for("network", modified_after=NOON - timedelta(hours=1)),
        False,
    ),
    "a code at a desk": (filter_for("mine", code="K7M2QX"), False),
    "a code in the network": (filter_for("network", code="K7M2QX"), False),
}
COUNTS = {
    "live at a desk": filter_for("mine", live=True),
    "a desk's turn": filter_for("mine", waiting_for_me=True),
    "live in the network": filter_for("network", live=True),
    "pressing in the network": filter_for("network", pressing=True),
}
OTHER_QUERIES: dict[str, Callable[[Any], Any]] = {
    "due deadlines": lambda tx: deadlines.due(tx, NOON + timedelta(days=1), 50),
    "the next deadline": deadlines.next_time,
    "the version of the lists": lambda tx: boxes.queue_version(tx, ORG["ngo"], network=True),
    "response times": lambda tx: figures.response_times(tx, NOON - timedelta(days=30)),
    "new facts": lambda tx: outbox.next_batch(tx, 500).facts,
    "facts to publish again": lambda tx: outbox.next_batch(tx, 1),
}


def check_rows_read(network: Service, caller: Caller, query: Callable[[Any], Any]) -> None:
    with network.database.transaction(caller) as tx:
        reader = Reader(tx)
        query(reader)
    assert sum(count for count, _ in reader.rows) < ROW_LIMIT, reader.rows


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_does_not_read_ended_referrals(list_name: str, network: Service) -> None:
    filter_, by_urgency = LISTS[list_name]
    check_rows_read(
        network,
        caller_of(filter_.box),
        lambda tx: boxes.find(tx, filter_, 50, by_urgency=by_urgency),
    )


@pytest.mark.parametrize("count_name", COUNTS)
def test_a_count_does_not_read_ended_referrals(count_name: str, network: Service) -> None:
    check_rows_read(
        network, caller_of(COUNTS[count_name].box), lambda tx: boxes.count(tx, COUNTS[count_name])
    )


@pytest.mark.parametrize("query_name", OTHER_QUERIES)
def test_frequent_queries_do_not_read_ended_referrals(query_name: str, network: Service) -> None:
    check_rows_read(network, SYSTEM, OTHER_QUERIES[query_name])


def test_a_declined_referral_that_another_referral_follows_is_no_open_need(story: Story) -> None:
    first_referral = story.sent()
    draft = story.draft(person_of(first_referral), based_on_id=first_referral.id)
    story.ngo.SendReferral(send_request(draft, story.receipt(draft.person_id).id))
    story.decline(first_referral)
    current = read(story.ngo, first_referral.id)
    assert (current.unanswered, current.HasField("next_due_time"), current.following_id) == (
        False,
        False,
        draft.id,
    )
    open_needs = story.ngo.ListReferrals(
        filter=pb.ReferralFilter(box=pb.BOX_OUTBOX, unanswered=True), page_size=200
    )
    assert first_referral.id not in {referral.id for referral in open_needs.referrals}

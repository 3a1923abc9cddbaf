"""Growth: how the size of a network's history changes its speed.

Ended referrals are added, the number of live ones stays, and the same requests are made at each
size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from bench.figures import Measurement, percentile
from bench.transitions import Lives
from chassis import audit
from protos.referrals.v1 import enquiries_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import Urgency
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast

SIZES = (10_000, 100_000, 1_000_000)  # numbers of ended referrals
LIVE, DUE = 2_000, 10_000
# lives of nine transitions, and requests of each page, at each size
STORIES, ASKED = 60, 200
KEPT = 4  # the number of events and facts that are copied of each referral
CLOCKS = 6  # the deadlines of each referral: the running one is the last
Database = psycopg.Connection[dict[str, Any]]
Took = dict[str, list[float]]

# The rows are copies of the demo network's, so that organisations, needs and places are mixed as
# there. These columns of each table get another value.
_ID = "md5(was.{} || copy)"
_AGAIN = {
    "people": {"id": _ID.format("id")},
    "referrals": {
        "id": _ID.format("id"),
        "person_id": _ID.format("person_id"),
        "based_on_id": (
            f"CASE WHEN was.based_on_id <> '' THEN {_ID.format('based_on_id')} ELSE '' END"
        ),
        "create_time": "was.create_time + moved",
        "send_time": "was.send_time + moved",
        "update_time": "was.update_time + moved",
    },
    # No deadline fires while the requests are made.
    "clocks": {
        "referral_id": _ID.format("referral_id"),
        "next_time": "was.next_time + interval '90 days'",
    },
    # The copies are in nobody's stream: only what happens now gets a place.
    "referral_events": {
        "referral_id": _ID.format("referral_id"),
        "time": "was.time + moved",
        "place": "0",
    },
    "outbox": {"subject": _ID.format("subject"), "time": "was.time + moved"},
}
_OF = {
    "people": "id = its.person_id",
    "referrals": "id = its.id",
    "clocks": f"referral_id = its.id AND was.number < {CLOCKS}",
    "referral_events": f"referral_id = its.id AND was.version <= {KEPT}",
    "outbox": f"subject = its.id AND was.version <= {KEPT}",
}


def measure(_stack: LocalStack, sizes: Sequence[int] = SIZES, due: int = DUE) -> list[Measurement]:
    """Measures in a stack of its own, so that no other figure is that of an old network."""
    stack, took = LocalStack(), dict[int, Took]()
    try:
        stack.start()
        asked = MeasuredRequests(stack)
        with stack.database("referrals") as database:
            choose(database)
            copy(database, "live", 1, LIVE)
            asked.all(10)  # connections, caches
            before = 0
            for size in sizes:
                copy(database, "over", before + 1, size)
                before, took[size] = size, asked.all()
            seconds = fire(database, due)
    finally:
        stack.stop()
    return [_ratio(name, took) for name in ("transition", "inbox", "today", "board")] + [
        Measurement(
            "clocks_due_10k_s",
            seconds,
            f"{due:,} referrals of which a clock is due at once, beside {sizes[-1]:,} ended ones,"
            " until the last has fired; the most urgent first",
        )
    ]


def _ratio(name: str, took: dict[int, Took]) -> Measurement:
    p99 = {size: percentile(each[name], 99) for size, each in took.items()}
    said = ", ".join(
        f"{p99[size]:.1f} ({percentile(each[name], 50):.1f}) with {size:,}"
        for size, each in took.items()
    )
    least, *_, most = p99.values()
    how = (
        f"{len(took[min(took)][name])} times at each size beside {LIVE:,} live ones;"
        f" p99 (p50) in ms: {said} ended referrals"
    )
    return Measurement(f"growth_{name}_p99", most / least, how)


class MeasuredRequests:
    """The requests that are made to a network at each size."""

    def __init__(self, stack: LocalStack) -> None:
        self._lives = Lives(Cast(stack))
        self._desk, self._coordinator = (
            stack.worker("albergue@lunanueva"),
            stack.worker("coordinacion@coalicion"),
        )

    def all(self, part: int = 1) -> Took:
        """Returns the milliseconds of each transition and page.

        With `part`, only that fraction of the requests is made.
        """
        self._lives.milliseconds.clear()
        for _ in range(STORIES // part):
            self._lives.one()
        pages = {"inbox": self.inbox, "today": self.today, "board": self.board}
        return {"transition": self._lives.milliseconds.copy()} | {
            name: [timed(page) for _ in range(ASKED // part)] for name, page in pages.items()
        }

    def inbox(self) -> None:
        """Lists a desk's received referrals: the live ones, then all including the ended ones."""
        for live in (True, False):
            self._desk.referrals.ListReferrals(
                pb.ListReferralsRequest(filter=pb.ReferralFilter(box=pb.BOX_INBOX, live=live))
            )

    def today(self) -> None:
        """Makes the requests of a desk's page to the referrals service."""
        ask, box = self._desk.referrals, pb.BOX_MINE
        ask.ListReferrals(
            pb.ListReferralsRequest(
                filter=pb.ReferralFilter(box=box, waiting_for_me=True), page_size=50
            )
        )
        ask.ListReferrals(
            pb.ListReferralsRequest(
                filter=pb.ReferralFilter(box=pb.BOX_OUTBOX, unanswered=True), page_size=200
            )
        )
        ask.CountReferrals(pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, live=True)))
        ask.CountReferrals(
            pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, waiting_for_me=True))
        )

    def board(self) -> None:
        """Makes the requests of the coordinator's page to the referrals service."""
        ask, box, now = self._coordinator, pb.BOX_NETWORK, datetime.now(UTC).replace(tzinfo=None)
        upcoming = pb.ReferralFilter(box=box)
        upcoming.due_after.FromDatetime(now)
        upcoming.due_before.FromDatetime(now + timedelta(hours=12))
        pressing = pb.ReferralFilter(box=box, pressing=True)
        ask.referrals.ListReferrals(
            pb.ListReferralsRequest(filter=pressing, order_by=pb.ORDER_URGENCY, page_size=50)
        )
        ask.referrals.ListReferrals(pb.ListReferralsRequest(filter=upcoming, page_size=200))
        ask.referrals.CountReferrals(
            pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, live=True))
        )
        ask.referrals.CountReferrals(pb.CountReferralsRequest(filter=pressing))
        ask.statistics.GetResponseTimes(pb.GetResponseTimesRequest())
        ask.enquiries.ListUnmetNeeds(enquiries_pb2.ListUnmetNeedsRequest())


def timed(page: Callable[[], None]) -> float:
    """Returns the milliseconds that a page takes."""
    begin = time.perf_counter()
    page()
    return (time.perf_counter() - begin) * 1000


def choose(database: Database) -> None:
    """Marks the demo network's referrals as models: `over`, `live`, and `due`.

    A live referral is a draft or has a running deadline; a due one was just sent.
    """
    database.execute(
        "CREATE TEMPORARY TABLE models AS SELECT id, kind, row_number() OVER (PARTITION BY kind"
        " ORDER BY id) - 1 AS place,"
        " count(*) OVER (PARTITION BY kind) AS size FROM ("
        "  SELECT id, CASE WHEN state = 'draft' OR next_due_time IS NOT NULL THEN 'live'"
        " ELSE 'over' END AS kind FROM referrals"
        "  UNION ALL SELECT id, 'due' FROM referrals WHERE state = 'sent') AS kinds"
    )


def copy(database: Database, kind: str, first: int, last: int) -> None:
    """Makes the first-th to last-th copy of a kind, with its history and its facts.

    Ended referrals get an end in the three years before last month.
    """
    values = {"kind": kind, "first": first, "last": last}
    for table, again in _AGAIN.items():
        columns = [
            row["name"]
            for row in database.execute(
                "SELECT attname AS name FROM pg_attribute WHERE attrelid = %s::regclass"
                " AND attnum > 0 AND NOT attisdropped",
                (table,),
            )
        ]
        with database.transaction():
            # The rows were valid when they were copied: no constraint is checked again.
            database.execute("SET LOCAL session_replication_role = replica")
            # sorting a million rows by their keys takes minutes
            database.execute("SET LOCAL work_mem = '256MB'")
            database.execute(
                f"INSERT INTO {table} ({', '.join(columns)})"
                f" SELECT {', '.join(again.get(column, f'was.{column}') for column in columns)}"
                " FROM generate_series(%(first)s::int, %(last)s) AS n"
                " JOIN models ON kind = %(kind)s AND place = n %% size JOIN referrals AS its"
                " USING (id)"
                " CROSS JOIN LATERAL (SELECT kind || n / size AS copy, CASE kind WHEN 'over'"
                "  THEN now() - interval '40 days' - its.update_time - (n::bigint * 7919 %%"
                " 94608000) * interval '1 second' ELSE '0' END AS moved) AS made"
                f" JOIN {table} AS was ON was.{_OF[table]} ORDER BY 1 ON CONFLICT DO NOTHING",
                values,
            )
    database.execute(f"VACUUM ANALYZE {', '.join(_AGAIN)}")
    database.execute("CHECKPOINT")


def fire(database: Database, due: int) -> float:
    """Returns the seconds until `due` deadlines that are due at once have fired.

    Fails unless they fired in the order of their urgency.
    """
    copy(database, "due", 1, due)
    before = audit.head(database).sequence
    with database.transaction():
        database.execute(
            f"CREATE TEMPORARY TABLE due AS SELECT {_ID.format('id')} AS id,"
            " (%(urgencies)s::text[])[1 + n %% 4] AS urgency, n %% 4 AS rank"
            " FROM generate_series(1, %(due)s) AS n JOIN models AS was ON kind = 'due'"
            " AND place = n %% size"
            " CROSS JOIN LATERAL (SELECT kind || n / size AS copy) AS made",
            {"due": due, "urgencies": [urgency.value for urgency in Urgency]},
        )
        database.execute(
            "UPDATE referrals SET urgency = due.urgency FROM due WHERE due.id = referrals.id"
        )
        database.execute(
            "UPDATE clocks SET start_time = now() - interval '2 hours', fired_percent = 50,"
            " due_time = now() - random() * interval '10 minutes',"
            " next_time = now() - random() * interval '10 minutes', rank = due.rank FROM due"
            " WHERE referral_id = due.id AND kind = 'acknowledge'"
        )
        database.execute("SELECT pg_notify('clocks', '')")
    begin = time.perf_counter()
    until(
        lambda: (
            database.execute("SELECT FROM clocks WHERE next_time <= now() LIMIT 1").fetchone()
            is None
        ),
        600,
    )
    seconds = time.perf_counter() - begin
    fired = database.execute(
        "SELECT urgency FROM audit JOIN due ON due.id = object_id WHERE action = 'fire_clock'"
        " AND sequence > %s ORDER BY sequence",
        (before,),
    ).fetchall()
    ranks = [Urgency(row["urgency"]).rank for row in fired]
    assert len(ranks) == due, f"{len(ranks)} clocks fired"
    assert ranks == sorted(ranks, reverse=True), (
        "what is less urgent fired before what is more urgent"
    )
    return seconds

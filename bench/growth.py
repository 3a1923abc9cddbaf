"""Growth: how the size of a network's history affects the network's speed.

Two stacks get the same live referrals; one gets few ended referrals, the other many. The same
requests are made to both stacks alternately, in several rounds; each part waits until both stacks
are silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg

from bench.figures import Measurement, percentile, short
from bench.quiet import wait_for_silence
from bench.transitions import ReferralRunner
from chassis import audit
from protos.referrals.v1 import enquiries_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.store.deadlines import announce
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast

SIZES = (10_000, 1_000_000)  # numbers of ended referrals
LIVE_COUNT, DUE_COUNT = 2_000, 10_000
ROUNDS, FIRINGS = 5, 3
REFERRALS_PER_ROUND = 12  # referrals of nine transitions each
REQUESTS_PER_ROUND = 60  # requests of each page
PATIENCE = 300.0  # seconds to wait for silence: PostgreSQL tidies up after a million rows
MAX_EVENTS = 4  # events, and facts, that are copied for each referral
MAX_CLOCKS = 6  # deadlines that are copied for each referral, the earliest first
CONSUMERS = {"partners": "partners", "notifications": "notifications-referrals"}
"""The consumers of facts about referrals, by service."""
Database = psycopg.Connection[dict[str, Any]]
Durations = dict[str, list[list[float]]]
"""The milliseconds of each request, by its name and round."""

# The rows are copies of the demo network's rows, so that organisations, needs and places have the
# same frequencies. These columns of each table get a new value.
_ID = "md5(was.{} || copy)"
_NEW_VALUES = {
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
    # so that no deadline fires while the requests are made
    "clocks": {
        "referral_id": _ID.format("referral_id"),
        "next_time": "was.next_time + interval '90 days'",
    },
    # No stream contains the copies: only new events get a place in a stream.
    "referral_events": {
        "referral_id": _ID.format("referral_id"),
        "time": "was.time + moved",
        "place": "0",
    },
    "outbox": {"subject": _ID.format("subject"), "time": "was.time + moved"},
}
_JOINS = {
    "people": "id = its.person_id",
    "referrals": "id = its.id",
    "clocks": f"referral_id = its.id AND was.number < {MAX_CLOCKS}",
    "referral_events": f"referral_id = its.id AND was.version <= {MAX_EVENTS}",
    "outbox": f"subject = its.id AND was.version <= {MAX_EVENTS}",
}


def measure(
    _stack: LocalStack,
    sizes: Sequence[int] = SIZES,
    due: int = DUE_COUNT,
    rounds: int = ROUNDS,
    firings: int = FIRINGS,
) -> list[Measurement]:
    """Measures in stacks of its own, so that no other figure is measured in a large network."""
    networks = [Network(size) for size in sizes]
    try:
        for network in networks:
            network.fill()
        for number in range(rounds):
            # the network that is second in one round is first in the next round
            for network in networks if number % 2 == 0 else reversed(networks):
                for part in (network.run_lives, network.open_pages):
                    for peer in networks:
                        wait_for_silence(peer.stack, PATIENCE)
                    part()
        seconds = [networks[-1].fire(1 + n * due, (n + 1) * due) for n in range(firings)]
    finally:
        for network in networks:
            network.stack.stop()
    return [_ratio(name, networks) for name in ("transition", "inbox", "today", "board")] + [
        Measurement(
            "clocks_due_10k_s",
            median(seconds),
            f"{due:,} referrals with a clock that is due at once, beside {sizes[-1]:,} ended ones,"
            f" until the last has fired; the most urgent first; median of {spread(seconds)}",
        )
    ]


def _ratio(name: str, networks: Sequence[Network]) -> Measurement:
    p99, texts = [], []
    for network in networks:
        rounds = network.durations[name]
        p99.append([percentile(times, 99) for times in rounds])
        p50 = [percentile(times, 50) for times in rounds]
        texts.append(
            f"{short(median(p99[-1]))} of {spread(p99[-1])} ({short(median(p50))} of"
            f" {spread(p50)}) with {network.size:,}"
        )
    first_rounds = networks[0].durations[name]
    method = (
        f"{len(first_rounds)} alternating rounds of {len(first_rounds[0])} at each size, beside"
        f" {LIVE_COUNT:,} live ones; p99 (p50) in ms: {', '.join(texts)} ended referrals"
    )
    return Measurement(f"growth_{name}_p99", median(p99[-1]) / median(p99[0]), method)


def spread(values: Sequence[float]) -> str:
    """Returns the smallest and the largest value as a text."""
    return f"{short(min(values))}…{short(max(values))}"


class Network:
    """A stack with ended referrals, and the requests that are made to it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.stack = LocalStack()
        self.durations: Durations = {}

    def fill(self) -> None:
        """Starts the stack, adds referrals, and makes each request a few times as a warm-up."""
        self.stack.start()
        with self.stack.database("referrals") as database:
            choose_models(database)
            copy(database, "live", 1, LIVE_COUNT)
            copy(database, "ended", 1, self.size)
        self._runner = ReferralRunner(Cast(self.stack))
        self._desk = self.stack.worker("albergue@lunanueva")
        self._coordinator = self.stack.worker("coordinacion@coalicion")
        for _ in range(6):  # a connection prepares a statement after it has sent it five times
            self._runner.run_one()
        self.open_pages(20)
        self.durations.clear()

    def run_lives(self) -> None:
        """Takes referrals through their lives."""
        self._runner.milliseconds.clear()
        for _ in range(REFERRALS_PER_ROUND):
            self._runner.run_one()
        self.durations.setdefault("transition", []).append(self._runner.milliseconds.copy())

    def open_pages(self, times: int = REQUESTS_PER_ROUND) -> None:
        """Makes the requests of each page."""
        for name, page in (("inbox", self.inbox), ("today", self.today), ("board", self.board)):
            self.durations.setdefault(name, []).append([timed(page) for _ in range(times)])

    def fire(self, first: int, last: int) -> float:
        """Creates referrals, and makes a deadline of each due at once; returns the seconds until
        all these deadlines have fired.
        """
        with self.stack.database("referrals") as database:
            copy(database, "due", first, last)
            choose_due(database, first, last)
            rows = database.execute("SELECT id, version FROM referrals JOIN due USING (id)")
            ids, versions = zip(*((row["id"], row["version"]) for row in rows), strict=True)
            for service, consumer in CONSUMERS.items():
                # otherwise the consumers would request the copied facts, which were never published
                with self.stack.database(service) as inbox:
                    inbox.execute(
                        "INSERT INTO inbox (consumer, subject, version)"
                        " SELECT %s, * FROM unnest(%s::text[], %s::bigint[])",
                        (consumer, list(ids), list(versions)),
                    )
            wait_for_silence(self.stack, PATIENCE)
            return fire(database)

    def inbox(self) -> None:
        """Lists a desk's received referrals: first only the live referrals, then all referrals."""
        for live in (True, False):
            self._desk.referrals.ListReferrals(
                pb.ListReferralsRequest(filter=pb.ReferralFilter(box=pb.BOX_INBOX, live=live))
            )

    def today(self) -> None:
        """Makes the requests that a desk's Today page makes to the referrals service."""
        stub, box = self._desk.referrals, pb.BOX_MINE
        stub.ListReferrals(
            pb.ListReferralsRequest(
                filter=pb.ReferralFilter(box=box, waiting_for_me=True), page_size=50
            )
        )
        stub.ListReferrals(
            pb.ListReferralsRequest(
                filter=pb.ReferralFilter(box=pb.BOX_OUTBOX, unanswered=True), page_size=200
            )
        )
        stub.CountReferrals(pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, live=True)))
        stub.CountReferrals(
            pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, waiting_for_me=True))
        )

    def board(self) -> None:
        """Makes the requests that the coordinator's board makes to the referrals service."""
        client, box, now = self._coordinator, pb.BOX_NETWORK, datetime.now(UTC).replace(tzinfo=None)
        upcoming = pb.ReferralFilter(box=box)
        upcoming.due_after.FromDatetime(now)
        upcoming.due_before.FromDatetime(now + timedelta(hours=12))
        pressing = pb.ReferralFilter(box=box, pressing=True)
        client.referrals.ListReferrals(
            pb.ListReferralsRequest(filter=pressing, order_by=pb.ORDER_URGENCY, page_size=50)
        )
        client.referrals.ListReferrals(pb.ListReferralsRequest(filter=upcoming, page_size=200))
        client.referrals.CountReferrals(
            pb.CountReferralsRequest(filter=pb.ReferralFilter(box=box, live=True))
        )
        client.referrals.CountReferrals(pb.CountReferralsRequest(filter=pressing))
        client.statistics.GetResponseTimes(pb.GetResponseTimesRequest())
        client.enquiries.ListUnmetNeeds(enquiries_pb2.ListUnmetNeedsRequest())


def timed(page: Callable[[], None]) -> float:
    """Makes the requests of a page; returns the milliseconds that they took."""
    begin = time.perf_counter()
    page()
    return (time.perf_counter() - begin) * 1000


def choose_models(database: Database) -> None:
    """Marks the demo network's referrals as models of the kinds `ended`, `live` and `due`.

    A live referral is a draft or has a running deadline; a due referral is in the state `sent`.
    """
    database.execute(
        "CREATE TABLE models AS SELECT id, kind, row_number() OVER (PARTITION BY kind"
        " ORDER BY id) - 1 AS place FROM ("
        "  SELECT id, CASE WHEN state = 'draft' OR next_due_time IS NOT NULL THEN 'live'"
        " ELSE 'ended' END AS kind FROM referrals"
        "  UNION ALL SELECT id, 'due' FROM referrals WHERE state = 'sent') AS kinds"
    )


def copy(database: Database, kind: str, first: int, last: int) -> None:
    """Creates the copies `first` to `last` of a kind, with their history and facts.

    The copies of ended referrals ended between 40 days and about three years ago.
    """
    values = {"kind": kind, "first": first, "last": last, "size": count_models(database, kind)}
    for table, new_values in _NEW_VALUES.items():
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
            # otherwise, sorting a million rows by their keys takes minutes
            database.execute("SET LOCAL work_mem = '256MB'")
            database.execute(
                f"INSERT INTO {table} ({', '.join(columns)})"
                f" SELECT {', '.join(new_values.get(name, f'was.{name}') for name in columns)}"
                " FROM generate_series(%(first)s::int, %(last)s) AS n"
                " JOIN models ON kind = %(kind)s AND place = n %% %(size)s"
                " JOIN referrals AS its USING (id)"
                " CROSS JOIN LATERAL (SELECT kind || n / %(size)s AS copy, CASE kind WHEN 'ended'"
                "  THEN now() - interval '40 days' - its.update_time - (n::bigint * 7919 %%"
                " 94608000) * interval '1 second' ELSE '0' END AS moved) AS made"
                f" JOIN {table} AS was ON was.{_JOINS[table]} ORDER BY 1 ON CONFLICT DO NOTHING",
                values,
            )
    database.execute(f"VACUUM ANALYZE {', '.join(_NEW_VALUES)}")
    database.execute("CHECKPOINT")


def count_models(database: Database, kind: str) -> int:
    """Returns the number of models of a kind."""
    row = database.execute("SELECT count(*) AS n FROM models WHERE kind = %s", (kind,)).fetchone()
    assert row
    return int(row["n"])


def choose_due(database: Database, first: int, last: int) -> None:
    """Lists, in a temporary table, the copies whose deadline is to fire, each with its urgency."""
    database.execute(
        f"CREATE TEMPORARY TABLE due AS SELECT {_ID.format('id')} AS id,"
        " (%(urgencies)s::text[])[1 + n %% 4] AS urgency, n %% 4 AS rank"
        " FROM generate_series(%(first)s::int, %(last)s) AS n"
        " JOIN models AS was ON kind = 'due' AND place = n %% %(size)s"
        " CROSS JOIN LATERAL (SELECT kind || n / %(size)s AS copy) AS made",
        {
            "size": count_models(database, "due"),
            "first": first,
            "last": last,
            "urgencies": [urgency.value for urgency in Urgency],
        },
    )
    database.execute("ANALYZE due")


def fire(database: Database) -> float:
    """Makes a deadline of each `due` copy due at once; returns the seconds until all have fired.

    Fails unless the deadlines fired in the order of their urgency.
    """
    last_sequence = audit.head(database).sequence
    with database.transaction():
        database.execute(
            "UPDATE referrals SET urgency = due.urgency FROM due WHERE due.id = referrals.id"
        )
        database.execute(
            "UPDATE clocks SET start_time = now() - interval '2 hours', fired_percent = 50,"
            " due_time = now() - random() * interval '10 minutes',"
            " next_time = now() - random() * interval '10 minutes', rank = due.rank FROM due"
            " WHERE referral_id = due.id AND kind = 'acknowledge'"
        )
        # The other clocks of these referrals would fire an hour after the network was filled.
        database.execute(
            "UPDATE clocks SET stop_time = now(), next_time = NULL FROM due"
            " WHERE referral_id = due.id AND kind <> 'acknowledge' AND stop_time IS NULL"
        )
        announce(database, "clocks", datetime.now(UTC))
    begin = time.perf_counter()
    until(
        lambda: (
            database.execute(
                "SELECT FROM clocks WHERE rank = ANY(%s) AND next_time <= now() LIMIT 1",
                (list(range(len(Urgency))),),
            ).fetchone()
            is None
        ),
        600,
    )
    seconds = time.perf_counter() - begin
    fired_rows = database.execute(
        "SELECT urgency FROM audit JOIN due ON due.id = object_id WHERE action = 'fire_clock'"
        " AND sequence > %s ORDER BY sequence",
        (last_sequence,),
    ).fetchall()
    ranks = [Urgency(row["urgency"]).rank for row in fired_rows]
    row = database.execute("SELECT count(*) AS n FROM due").fetchone()
    assert row == {"n": len(ranks)}, f"{len(ranks)} clocks fired"
    assert ranks == sorted(ranks, reverse=True), (
        "a less urgent deadline fired before a more urgent one"
    )
    return seconds

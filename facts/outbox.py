"""The outbox: facts are written in the transaction that makes them true, and published afterwards.
Published facts stay, as the event log.

`save` guarantees that a fact is published if and only if the transaction commits: at least once,
perhaps repeatedly, and at no guaranteed time. (subject, version) is unique and serves as the
optimistic lock: the loser of a race gets Stale.

Facts are published in *rounds*. A new fact has not been published in any round; a fact is published
again if its last round is not the current one. When a broker has lost its state, the next round
begins. When a store was restored from a copy, a new *epoch* begins, and all facts of the store are
published again under it. Consumers then accept the store's history, even where it reuses versions
that were published after the copy was made. The `base` of a subject is its last version published
before the epoch began.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

from chassis import trace
from chassis.clock import Clock
from chassis.db import Database, Transaction, notify
from chassis.tokens import SYSTEM

CHANNEL = "outbox"
# Maximum number of facts that one statement of a replay marks, which takes far less time than any
# statement timeout.
_CHUNK = 5_000


@dataclass(frozen=True)
class Fact:
    """A statement that has become true of a subject. Its version counts the facts of that subject
    from 1 without a gap.

    The fact is published under `epoch` and `base`; both are 0 until the store is restored for the
    first time.
    """

    subject: str
    version: int
    type: str  # enlace.<subject>.<verb>.v1
    payload: bytes  # the protobuf message of the type
    time: datetime
    epoch: int = 0
    base: int = 0
    trace: str = field(default="", compare=False)  # the trace id of the request that caused it


def save(tx: Transaction, facts: Sequence[Fact]) -> None:
    """Writes facts in the transaction, and wakes the relay when it commits.

    The transaction ends with Stale if another transaction wrote one of these versions first.
    """
    if not facts:
        return
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO outbox (subject, version, type, payload, time, trace)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (fact.subject, fact.version, fact.type, fact.payload, fact.time, trace.current())
                for fact in facts
            ],
        )
    wake(tx)


def wake(tx: Transaction) -> None:
    """Wakes the relay when the transaction commits."""
    notify(tx, CHANNEL)


# Identifies a store by properties that a restored copy does not share: the database cluster,
# its timeline (a point-in-time recovery begins another), the database, and the table itself
# (pg_restore creates it again).
STORE = """
    SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), (SELECT timeline_id
        FROM pg_control_checkpoint()),
                     (SELECT oid FROM pg_database WHERE datname = current_database()),
                         'outbox'::regclass::oid) AS store
"""


_COLUMNS = """
    SELECT o.subject, o.version, o.type, o.payload, o.time, o.trace, r.epoch,
           CASE WHEN r.epoch = 0 THEN 0 ELSE coalesce((SELECT max(b.version) FROM outbox b
               WHERE b.subject = o.subject AND b.first_round < r.epoch_round), 0)
           END AS base
"""
_ORDER = " ORDER BY o.subject, o.version LIMIT %(limit)s"
_REPEATED = f"{_COLUMNS} FROM outbox o, relay r"
# The facts of each subject are looked up by its key (OFFSET 0): otherwise the planner merges the
# new subjects with the whole outbox.
_NEW = (
    "WITH new AS (SELECT DISTINCT subject FROM outbox WHERE first_round IS NULL"
    f" ORDER BY subject LIMIT %(limit)s), facts AS ({_COLUMNS} FROM relay r CROSS JOIN new"
    " CROSS JOIN LATERAL (SELECT * FROM outbox WHERE subject = new.subject"
    f" AND (first_round IS NULL OR last_round < r.round) OFFSET 0) AS o{_ORDER})"
)
# Records offsets. An offset that is not above the recorded offset shows that the broker lost
# records (a topic was deleted, or a power cut): a round then begins, as for a new cluster.
_NOTE_OFFSETS = (
    "UPDATE relay SET offsets = offsets || %(offsets)s::jsonb, round = round + (EXISTS (SELECT"
    " FROM jsonb_each_text(%(offsets)s::jsonb) AS later"
    " WHERE later.value::bigint <= (offsets ->> later.key)::bigint))::int"
    " WHERE %(offsets)s <> '{}' RETURNING new.round > old.round AS lost"
)


@dataclass(frozen=True)
class Batch:
    """The facts to publish next, with the state of the relay at the time of the query.

    `same_store` is False if the recorded identity is that of another store; `repeat` is True if
    facts are to be published again.
    """

    facts: list[Fact]
    round: int
    epoch: int
    same_store: bool
    repeat: bool


def current_round(tx: Transaction) -> int:
    """Returns the current round."""
    row = tx.execute("SELECT round FROM relay").fetchone()
    assert row is not None, "the migration writes the only row"
    return int(row["round"])


def next_batch(tx: Transaction, limit: int) -> Batch:
    """Returns the next facts that were never published, each after the earlier facts of its subject
    that are to be repeated, so that versions stay in order; at most `limit` facts.

    Selects by state and not by the highest id, since transactions do not commit in the order of
    their ids. This is one statement, since it runs for every fact.
    """
    rows = tx.execute(
        f"{_NEW} SELECT facts.*, r.round, r.epoch AS now_epoch,"
        " r.store = found.store AS same_store,"
        # reads only one end of an index
        " coalesce((SELECT min(last_round) FROM outbox) < r.round, false) AS repeat"
        f" FROM relay r CROSS JOIN ({STORE}) AS found LEFT JOIN facts ON true"
        " ORDER BY facts.subject, facts.version",
        {"limit": limit},
    ).fetchall()
    first_row = rows[0]
    names = [field.name for field in fields(Fact)]
    return Batch(
        [Fact(**{name: row[name] for name in names}) for row in rows if row["subject"]],
        first_row["round"],
        first_row["now_epoch"],
        first_row["same_store"],
        first_row["repeat"],
    )


def facts_to_repeat(tx: Transaction, limit: int, after: tuple[str, int]) -> list[Fact]:
    """Returns at most `limit` facts that are to be published again, in order, after a (subject,
    version).
    """
    rows = tx.execute(
        f"{_REPEATED} WHERE o.last_round < %(round)s"
        f" AND (o.subject, o.version) > (%(subject)s, %(version)s){_ORDER}",
        {"limit": limit, "subject": after[0], "version": after[1], "round": current_round(tx)},
    ).fetchall()
    return [Fact(**row) for row in rows]


def backlog(tx: Transaction) -> int:
    """Returns the number of facts that are to be published, for the first time or again."""
    row = tx.execute(
        "SELECT (SELECT count(*) FROM outbox WHERE first_round IS NULL) + (SELECT count(*)"
        " FROM outbox WHERE last_round < round) AS n FROM relay"
    ).fetchone()
    return int(row["n"]) if row else 0


def mark_published(
    tx: Transaction,
    facts: Sequence[Fact],
    in_round: int,
    offsets: Mapping[int, int] | None = None,
) -> bool:
    """Records that the broker acknowledged these facts in this round, and the offsets after
    them. Returns True if the offsets show that the broker lost records.
    """
    row = tx.execute(
        f"WITH noted AS ({_NOTE_OFFSETS}), marked AS ("
        " UPDATE outbox SET published_at = now(), first_round = coalesce(first_round, %(round)s),"
        " last_round = %(round)s"
        " FROM unnest(%(subjects)s::text[], %(versions)s::bigint[]) AS published (subject, version)"
        " WHERE outbox.subject = published.subject AND outbox.version = published.version)"
        " SELECT lost FROM noted",
        {
            "offsets": json.dumps(offsets or {}),
            "round": in_round,
            "subjects": [fact.subject for fact in facts],
            "versions": [fact.version for fact in facts],
        },
    ).fetchone()
    return bool(row and row["lost"])


def offsets(tx: Transaction) -> dict[int, int]:
    """Returns the offsets after the last records that this store knows it published, by
    partition.
    """
    row = tx.execute("SELECT offsets FROM relay").fetchone()
    return (
        {int(partition): int(offset) for partition, offset in row["offsets"].items()} if row else {}
    )


def note_offsets(tx: Transaction, offsets: Mapping[int, int]) -> bool:
    """Records offsets, before which this store knows all records. Returns True if the offsets show
    that the broker lost records.
    """
    row = tx.execute(_NOTE_OFFSETS, {"offsets": json.dumps(offsets)}).fetchone()
    return bool(row and row["lost"])


def knows(tx: Transaction, fact: Fact) -> bool:
    """Returns True if the outbox contains this very fact, and not just one with its version."""
    row = tx.execute(
        "SELECT 1 FROM outbox WHERE subject = %s AND version = %s AND type = %s AND payload = %s"
        " AND time = %s",
        (fact.subject, fact.version, fact.type, fact.payload, fact.time),
    ).fetchone()
    return row is not None


def repeat_all(tx: Transaction) -> None:
    """Begins a round, in which all facts are published again."""
    tx.execute("UPDATE relay SET round = round + 1")
    wake(tx)


def repeat_subject(tx: Transaction, subject: str) -> int:
    """Marks the published facts of one subject to be published again; returns how many there
    are.
    """
    count = tx.execute(
        "UPDATE outbox SET last_round = 0 WHERE subject = %s AND first_round IS NOT NULL",
        (subject,),
    ).rowcount
    wake(tx)
    return count


def count(tx: Transaction, since: datetime | None = None) -> int:
    """Returns the number of published facts whose time is `since` or later; None counts all."""
    row = tx.execute(
        "SELECT count(*) AS n FROM outbox WHERE first_round IS NOT NULL"
        " AND (%(since)s::timestamptz IS NULL OR time >= %(since)s)",
        {"since": since},
    ).fetchone()
    return int(row["n"]) if row else 0


def repeat_since(database: Database, since: datetime) -> Iterator[int]:
    """Marks the published facts whose time is `since` or later to be published again, a chunk per
    transaction; yields the number of facts marked so far.
    """
    subject, version, marked_count = "", 0, 0
    while True:
        with database.transaction(SYSTEM) as tx:
            rows = tx.execute(
                "UPDATE outbox SET last_round = 0 FROM (SELECT subject, version FROM outbox"
                " WHERE first_round IS NOT NULL AND time >= %s"
                " AND (subject, version) > (%s, %s) ORDER BY subject, version LIMIT %s) AS chunk"
                " WHERE outbox.subject = chunk.subject AND outbox.version = chunk.version"
                " RETURNING outbox.subject, outbox.version",
                (since, subject, version, _CHUNK),
            ).fetchall()
            wake(tx)
        if not rows:
            return
        subject, version = max((row["subject"], row["version"]) for row in rows)
        marked_count += len(rows)
        yield marked_count


def note_cluster(tx: Transaction, cluster_id: str) -> bool:
    """Records the broker's cluster. If another cluster was recorded before, begins a round and
    returns True.
    """
    row = tx.execute("SELECT cluster_id FROM relay").fetchone()
    previous_id = row["cluster_id"] if row else ""
    if previous_id != cluster_id:
        rounds = 1 if previous_id else 0
        tx.execute(
            "UPDATE relay SET cluster_id = %s, round = round + %s, offsets = '{}'",
            (cluster_id, rounds),
        )
    return bool(previous_id) and previous_id != cluster_id


def store(tx: Transaction) -> str:
    """Returns the identity of this store; a restored copy has another identity."""
    row = tx.execute(STORE).fetchone()
    assert row is not None
    return str(row["store"])


def ensure_epoch(tx: Transaction, clock: Clock) -> int:
    """Returns the epoch of this store; begins a new epoch if the recorded identity is that of
    another store.
    """
    row = tx.execute(
        f"SELECT relay.epoch, relay.store AS known, found.store FROM relay, ({STORE}) AS found"
    ).fetchone()
    assert row is not None, "the migration writes the only row"
    if row["known"] == row["store"]:
        return int(row["epoch"])
    if not row["known"]:
        tx.execute("UPDATE relay SET store = %s WHERE store = ''", (row["store"],))
        return int(row["epoch"])
    # If two processes notice at once that the store was restored, only one of them begins the
    # epoch.
    with tx.transaction():
        if tx.execute(
            "UPDATE relay SET store = %s WHERE store = %s", (row["store"], row["known"])
        ).rowcount:
            begin_epoch(tx, clock)
    return ensure_epoch(tx, clock)


def begin_epoch(tx: Transaction, clock: Clock, after: int = 0) -> None:
    """Begins an epoch, and with it a round.

    An epoch is the time of its beginning in seconds, but always greater than the previous epoch and
    `after`, even if the machine's clock went back.
    """
    tx.execute(
        "UPDATE relay SET epoch = greatest(epoch + 1, %s + 1, %s), round = round + 1, epoch_round ="
        " round + 1",
        (after, int(clock.now().timestamp())),
    )

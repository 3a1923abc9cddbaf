"""The trail: a chain that the database role of its service can't forge.

The owner of the database can't change it undetected, and it is one chain, however many processes
write to it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

import chassis
from chassis import audit
from chassis.audit import START, Entry, Head, Marker
from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.migrate import migrate
from chassis.tokens import SYSTEM, Caller, Evidence
from keys.sealing import Keyring
from tests.parts import postgres as parts
from trail import chain

MIGRATIONS = Path(chassis.__file__).parent / "migrations"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WORKER = Caller("w" * 32, "worker", "o" * 32)


@pytest.fixture
def pg_database(postgres: parts.Server) -> parts.Database:
    return postgres.database("tests", [MIGRATIONS])


@pytest.fixture
def database(pg_database: parts.Database) -> Iterator[Database]:
    with pg_database.open_as_service(max_size=10) as created:
        yield created


def write(tx: Transaction, rows: int, caller: Caller = WORKER) -> None:
    entries = [
        Entry("open_identity", new_id(), "HOU.EMG", ("contact", "identity")) for _ in range(rows)
    ]
    audit.record(tx, caller, NOW, entries)


def commit(database: Database, rows: int, caller: Caller = WORKER) -> None:
    """Writes rows in a transaction of their own."""
    with database.transaction(caller) as tx:
        write(tx, rows, caller)


def owner_of(pg_database: parts.Database) -> psycopg.Connection[dict[str, object]]:
    return psycopg.connect(pg_database.migration_url, row_factory=dict_row)


def verdict(tx: Transaction, witnessed: dict[int, set[bytes]] | None = None) -> list[chain.Finding]:
    """Returns all findings in the whole trail, which is compared with the witnessed heads."""
    witnessed_heads = witnessed or {}
    end = audit.head(tx)
    last, findings = chain.verify(tx, START, end.sequence, witnessed_heads)
    return (
        findings
        + [
            chain.Finding(sequence, "cut")
            for sequence in witnessed_heads
            if sequence > last.sequence
        ]
        + ([] if last == end else [chain.Finding(0, "")])
    )


def test_an_untouched_trail_has_no_findings(database: Database) -> None:
    with database.transaction(SYSTEM) as tx:
        assert audit.head(tx) == START
        write(tx, 40)
    with database.transaction(SYSTEM) as tx:
        audit.record(
            tx,
            replace(WORKER, kind="key"),
            NOW + timedelta(microseconds=1),
            [Entry("send", "x")],
            reason="receipt_missing",
        )
    with database.transaction(SYSTEM) as tx:
        assert audit.head(tx).sequence == 41
        assert verdict(tx) == []


def test_rows_of_a_transaction_that_was_rolled_back_leave_no_gap(database: Database) -> None:
    with database.transaction(SYSTEM) as tx, tx.transaction(force_rollback=True):
        write(tx, 3)
    commit(database, 1)
    with database.transaction(SYSTEM) as tx:
        assert audit.head(tx).sequence == 1
        assert verdict(tx) == []


def test_eight_writers_at_once_make_one_chain(database: Database) -> None:
    def work(_: int) -> None:
        for turn in range(25):
            commit(database, 1 + turn % 3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with database.transaction(SYSTEM) as tx:
        assert audit.head(tx).sequence == 8 * sum(1 + turn % 3 for turn in range(25))
        assert verdict(tx) == []


@pytest.mark.parametrize("wrong", ["a\tb", "a\nb", "a,b", "a\\b"])
def test_values_that_could_make_two_rows_look_like_one_line_are_rejected(
    wrong: str, database: Database
) -> None:
    for entry in (
        Entry(wrong, "x"),
        Entry("x", wrong),
        Entry("x", "x", wrong),
        Entry("x", "x", "", (wrong,)),
    ):
        with pytest.raises(psycopg.errors.CheckViolation), database.transaction(SYSTEM) as tx:
            audit.record(tx, WORKER, NOW, [entry])


def test_rows_recorded_before_the_chain_existed_are_chained_unchanged(
    postgres: parts.Server, tmp_path: Path
) -> None:
    before = sorted(MIGRATIONS.glob("*.sql"))[:2]
    for file in before:
        (tmp_path / file.name).write_text(file.read_text())
    pg_database = postgres.database("tests", [tmp_path])
    with owner_of(pg_database) as owner:
        for turn in range(5):
            owner.execute(
                "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id,"
                " detail_codes, allowed)"
                " VALUES (now(), 'worker', 'w', 'o', 'send', %s, '{a,b}', true)",
                (str(turn),),
            )
        # a sequence number that a transaction took and did not use
        owner.execute("DELETE FROM audit WHERE sequence = 3")
    migrate(pg_database.migration_url, [MIGRATIONS])
    with psycopg.connect(pg_database.url, row_factory=dict_row) as tx:
        assert audit.head(tx).sequence == 4
        write(tx, 2)
        assert verdict(tx) == []


class Owner:
    """An owner of the database who has read the source.

    The owner changes the trail in any possible way, and may recompute the chain after the change.
    """

    def __init__(
        self, connection: psycopg.Connection[dict[str, object]], rows: int, chance: random.Random
    ) -> None:
        self._execute, self._rows, self._chance = connection.execute, rows, chance

    def cheat(self) -> str:
        """Changes the trail in a random way; returns a description of the change."""
        cheat = self._chance.choice(["edit", "rehash", "delete", "insert", "swap", "cut"])
        row_number = self._chance.randrange(1, self._rows)
        getattr(self, f"_{cheat}")(row_number)
        if self._chance.random() < 0.5:
            self.recompute()
            return f"{cheat} at {row_number}, recomputed"
        return f"{cheat} at {row_number}"

    def _edit(self, row_number: int) -> None:
        column, value = self._chance.choice(
            [
                ("actor_id", "'x'"),
                ("organization_id", "'x'"),
                ("action", "'x'"),
                ("object_id", "'x'"),
                ("purpose_code", "'x'"),
                ("detail_codes", "'{x}'"),
                ("allowed", "NOT allowed"),
                ("reason", "'x'"),
                ("time", "time + interval '1 microsecond'"),
                ("recorded_time", "recorded_time - interval '1 microsecond'"),
                ("actor_kind", "'x'"),
            ]
        )
        self._execute(f"UPDATE audit SET {column} = {value} WHERE sequence = {row_number}".encode())

    def _rehash(self, row_number: int) -> None:
        """Edits a row and recomputes only its own hash."""
        self._execute(
            "UPDATE audit SET action = 'x', hash = sha256(hash) WHERE sequence = %s", (row_number,)
        )

    def _delete(self, row_number: int) -> None:
        self._execute("DELETE FROM audit WHERE sequence = %s", (row_number,))
        if self._chance.random() < 0.5:  # closes the gap
            self._execute(
                "UPDATE audit SET sequence = -sequence WHERE sequence > %s", (row_number,)
            )
            self._execute("UPDATE audit SET sequence = -sequence - 1 WHERE sequence < 0")
            self._execute("UPDATE audit_head SET sequence = sequence - 1")

    def _insert(self, row_number: int) -> None:
        self._execute("UPDATE audit SET sequence = -sequence WHERE sequence >= %s", (row_number,))
        self._execute("UPDATE audit SET sequence = -sequence + 1 WHERE sequence < 0")
        self._execute("ALTER TABLE audit DISABLE TRIGGER audit_chained")
        self._execute(
            "INSERT INTO audit SELECT (jsonb_populate_record(a, jsonb_build_object('sequence', %s,"
            " 'action', 'forged'))).* FROM audit a"
            " WHERE sequence = %s",
            (row_number, row_number + 1),
        )
        self._execute("ALTER TABLE audit ENABLE TRIGGER audit_chained")
        self._execute("UPDATE audit_head SET sequence = sequence + 1")

    def _swap(self, row_number: int) -> None:
        other = row_number % (self._rows - 1) + 1
        if other == row_number:
            other += 1
        self._execute("UPDATE audit SET sequence = -1 WHERE sequence = %s", (row_number,))
        self._execute("UPDATE audit SET sequence = %s WHERE sequence = %s", (row_number, other))
        self._execute("UPDATE audit SET sequence = %s WHERE sequence = -1", (other,))

    def _cut(self, row_number: int) -> None:
        self._execute("DELETE FROM audit WHERE sequence >= %s", (row_number,))
        if self._chance.random() < 0.5:
            self._execute(
                "UPDATE audit_head SET (sequence, hash) = (SELECT sequence, hash FROM audit"
                " ORDER BY sequence DESC LIMIT 1)"
                " WHERE EXISTS (SELECT FROM audit)"
            )

    def recompute(self) -> None:
        """Recomputes the whole chain and the head, so that the trail is consistent by itself."""
        self._execute(
            "DO $$ DECLARE entry audit; place bigint := 0; before bytea :="
            " sha256('enlace.audit.v1'); old bigint; BEGIN"
            " FOR entry IN SELECT * FROM audit ORDER BY sequence LOOP"
            " old := entry.sequence; place := place + 1; entry.sequence := place;"
            " before := sha256(before || convert_to(audit_line(entry), 'UTF8'));"
            " UPDATE audit SET sequence = place, hash = before WHERE sequence = old; END LOOP;"
            " UPDATE audit_head SET sequence = place, hash = before; END $$"
        )


def test_a_thousand_edits_deletions_insertions_swaps_and_cuts_are_found(
    pg_database: parts.Database, database: Database
) -> None:
    rows, rows_per_head = 60, 10
    witnessed: dict[int, set[bytes]] = {}
    for _ in range(rows // rows_per_head):
        commit(database, rows_per_head)
        with database.transaction(SYSTEM) as tx:
            head: Head = audit.head(tx)
            witnessed[head.sequence] = {head.hash}
    missed_cheats: list[str] = []
    with owner_of(pg_database) as owner:
        assert verdict(owner, witnessed) == []
        owner.commit()
        cheater = Owner(owner, rows, random.Random(14))
        for _ in range(1000):
            with owner.transaction(force_rollback=True):
                cheat = cheater.cheat()
                if not verdict(owner, witnessed):
                    missed_cheats.append(cheat)
        assert (missed_cheats, verdict(owner, witnessed)) == ([], [])


KEYRING = Keyring(b"k" * 32)
TOKEN = Evidence("ab" * 32, NOW + timedelta(seconds=2))
SIGNED_IN = replace(WORKER, token=TOKEN)
COPY = (
    "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id,"
    " purpose_code, detail_codes, allowed, reason, token_hash, token_end, mark)"
    " SELECT time, actor_kind, {actor}, organization_id, action, object_id, purpose_code,"
    " detail_codes, allowed, reason, token_hash, token_end, {mark}"
    " FROM audit ORDER BY sequence DESC LIMIT 1"
)


@pytest.fixture
def marking_database(pg_database: parts.Database) -> Iterator[Database]:
    """The trail's database, opened by a service that has its key."""
    with pg_database.open_as_service(max_size=4, marker=Marker(KEYRING)) as created:
        yield created


def finding_reasons(database: Database) -> list[str]:
    """Returns the reasons of all findings that the service makes in its trail with its own key."""
    with database.transaction(SYSTEM) as tx:
        end = audit.head(tx).sequence
        _, findings = chain.verify(tx, START, end, {}, chain.first_marked_sequence(tx))
        return [finding.reason for finding in (*findings, *chain.repeated_marks(tx, 0, end))]


def test_rows_that_a_service_writes_are_marked_with_its_key_and_tied_to_the_token(
    marking_database: Database,
) -> None:
    commit(marking_database, 3, SIGNED_IN)
    with marking_database.transaction(SYSTEM) as tx:
        audit.record(tx, SYSTEM, NOW + timedelta(microseconds=7), [Entry("fire_clock", "x")])
        audit.record(tx, SIGNED_IN, NOW, [Entry("send", "ñandú")], reason="receipt_missing")
        rows = tx.execute(
            "SELECT token_hash, token_end FROM audit WHERE actor_kind = 'worker'"
        ).fetchall()
    assert finding_reasons(marking_database) == []
    assert rows == [{"token_hash": TOKEN.hash, "token_end": TOKEN.end}] * 4


@pytest.mark.parametrize(
    ("actor", "mark", "reasons"),
    [
        ("'xiomara'", "NULL", ["unmarked"]),
        ("'xiomara'", "mark", ["forged", "repeated"]),
        ("'xiomara'", "sha256('guessed')", ["forged"]),
        ("'xiomara'", "''", ["unmarked"]),
        ("actor_id", "mark", ["repeated"]),
    ],
)
def test_a_row_added_with_the_services_database_role_is_detected(
    actor: str,
    mark: str,
    reasons: list[str],
    pg_database: parts.Database,
    marking_database: Database,
) -> None:
    commit(marking_database, 2, SIGNED_IN)
    with psycopg.connect(
        pg_database.url
    ) as role:  # an attacker with the database's password, but no key
        role.execute(COPY.format(actor=actor, mark=mark).encode())
    assert finding_reasons(marking_database) == reasons


def test_a_row_marked_with_another_services_key_is_detected(
    pg_database: parts.Database, marking_database: Database
) -> None:
    commit(marking_database, 1, SIGNED_IN)
    with pg_database.open_as_service(max_size=1, marker=Marker(Keyring(b"s" * 32))) as stranger:
        commit(stranger, 1, SIGNED_IN)
    assert finding_reasons(marking_database) == ["forged"]


@pytest.mark.parametrize("kind", ["worker", "key"])
def test_a_row_that_names_a_worker_or_an_api_key_without_a_token_is_detected(
    kind: str, marking_database: Database
) -> None:
    commit(marking_database, 1, replace(WORKER, kind=kind))
    assert finding_reasons(marking_database) == ["untied"]


def test_unmarked_rows_of_the_previous_version_are_accepted_for_an_hour(
    pg_database: parts.Database, database: Database, marking_database: Database
) -> None:
    commit(database, 3)  # before the update
    assert finding_reasons(marking_database) == []
    commit(marking_database, 1, SIGNED_IN)
    commit(database, 1)  # from a process of the previous version, side by side with the new one
    assert finding_reasons(marking_database) == []
    with owner_of(
        pg_database
    ) as owner:  # an hour passes; the chain is recomputed for the moved times
        owner.execute("UPDATE audit SET recorded_time = recorded_time - interval '61 minutes'")
        Owner(owner, 5, random.Random(14)).recompute()
    commit(marking_database, 1, SIGNED_IN)
    commit(database, 1)
    assert finding_reasons(marking_database) == ["unmarked"]

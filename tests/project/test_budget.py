"""The budget in docs/figures.md (`make budget`) is not exceeded.

It limits the exchanges, statements, transactions, flushes and signatures of each step of a
referral's life, and of a sign-in, a search and a page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import budget
from bench.budget import (
    IDLE,
    TIMES,
    CostCounter,
    Costs,
    Table,
    as_markdown,
    excesses,
    read_table,
    sum_costs,
)
from bench.exchanges import Session, Transaction
from tests.parts.local_stack import LocalStack
from tests.parts.stories import STEPS

# adds one statement to each transaction of referrals for a request, while a file exists
PLANT = """
import os, psycopg, sys
execute = psycopg.Connection.execute
def planted(self, query, *arguments, **named):
    if query == "COMMIT" and self.info.user == "referrals" and os.path.exists({switch!r}):
        execute(self, "SELECT 1")
    return execute(self, query, *arguments, **named)
psycopg.Connection.execute = planted
"""
COSTS = Costs((3, 4), (5, 6), (1, 2), (1, 2), (3, 6))


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def statement(text: bytes, *values: bytes) -> bytes:
    """Returns the messages of a statement of the extended protocol."""
    value_bytes = b"".join(len(value).to_bytes(4, "big") + value for value in values)
    bind = b"\0\0" + b"\0\0" + len(values).to_bytes(2, "big") + value_bytes + b"\0\0"
    return (
        message(b"P", b"\0" + text + b"\0" + b"\0\0")
        + message(b"B", bind)
        + message(b"E", b"\0" + b"\0\0\0\0")
    )


SYNC, READY = message(b"S", b""), message(b"Z", b"T")
SCOPE = b"SELECT set_config('enlace.view', $1, true), set_config('enlace.trace', $2, true)"


class Connection:
    """A database connection whose messages are recorded."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.session = Session(1, self.transactions.append)
        settings = b"user\0referrals\0application_name\0enlace\0\0"
        self.session.read_sent((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
        self.session.read_received(b"N")
        self.session.read_sent((8 + len(settings)).to_bytes(4, "big") + b"\0\3\0\0" + settings)
        self.session.read_received(READY)

    def ask(self, *statements: bytes) -> None:
        self.session.read_sent(b"".join(statements) + SYNC)

    def answer(self, *tags: bytes) -> None:
        for byte in b"".join(message(b"C", tag + b"\0") for tag in tags) + READY:
            self.session.read_received(bytes([byte]))  # as a slow network delivers it

    def run(self, text: bytes, tag: bytes) -> None:
        """Makes one exchange with one statement."""
        self.ask(statement(text))
        self.answer(tag)


def test_a_transaction_is_recorded_with_its_scope_its_exchanges_and_its_flush() -> None:
    connection = Connection()
    connection.ask(statement(b"BEGIN"), statement(SCOPE, b"organization", b"0af7"))
    connection.answer(b"BEGIN", b"SELECT 1")
    connection.ask(statement(b"UPDATE referrals SET x = 1"), statement(b"COMMIT"))
    assert not connection.transactions
    connection.answer(b"UPDATE 1", b"COMMIT")
    assert [vars(transaction) | {"time": 0} for transaction in connection.transactions] == [
        {
            "role": "referrals",
            "application": "enlace",
            "connection": 1,
            "view": "organization",
            "trace": "0af7",
            "exchanges": [
                ["BEGIN", SCOPE.decode()],
                ["UPDATE referrals SET x = 1", "COMMIT"],
            ],
            "flushes": True,
            "time": 0,
        }
    ]
    assert sum_costs(connection.transactions) == Costs((2, 0), (4, 0), (1, 0), (1, 0), (0, 0))


@pytest.mark.parametrize(
    ("text", "tag", "flushes"),
    [
        (b"UPDATE outbox SET x = 1", b"UPDATE 1", True),
        (b"UPDATE outbox SET x = 1", b"UPDATE 0", False),
        (b"INSERT INTO outbox VALUES (1)", b"INSERT 0 1", True),
        (b"SELECT 1 FROM outbox", b"SELECT 1", False),
        (b"SELECT 1 FROM outbox FOR UPDATE", b"SELECT 1", True),
        (b"SELECT 1 FROM outbox FOR UPDATE", b"SELECT 0", False),
        (b"WITH made AS (DELETE FROM outbox) SELECT 1", b"SELECT 1", True),
        (b"SELECT pg_notify('outbox', '')", b"SELECT 1", True),
    ],
)
def test_a_commit_waits_for_the_disk_if_a_row_was_written(
    text: bytes, tag: bytes, flushes: bool
) -> None:
    connection = Connection()
    connection.run(text, tag)
    assert [transaction.flushes for transaction in connection.transactions] == [flushes]
    connection.run(b"SET synchronous_commit = off", b"SET")
    connection.run(text, tag)
    assert not connection.transactions[-1].flushes


def test_a_transaction_after_an_error_is_recorded_separately() -> None:
    connection = Connection()
    connection.ask(statement(b"BEGIN"), statement(b"UPDATE a SET x = 1"), statement(b"UPDATE b"))
    connection.session.read_received(message(b"C", b"BEGIN\0") + message(b"C", b"UPDATE 1\0"))
    connection.session.read_received(message(b"E", b"\0") + READY)
    connection.run(b"ROLLBACK", b"ROLLBACK")
    connection.run(b"SELECT 1", b"SELECT 1")
    assert [
        (len(transaction.exchanges), transaction.flushes) for transaction in connection.transactions
    ] == [(2, False), (1, False)]


def test_a_written_table_is_read_back_unchanged(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    page.write_text("before\n<!-- make budget -->\n<!-- end of make budget -->\nafter\n")
    table: Table = {"draft": COSTS, IDLE: Costs()}
    budget.write(table, page)
    budget.write(table, page)
    assert read_table(page) == table
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("\nafter\n")
    assert page.read_text().count("| draft |") == 1


def test_a_step_that_spends_more_is_named_and_one_that_spends_less_is_not() -> None:
    higher_costs = COSTS._replace(statements=(5, 7))
    assert excesses({"draft": higher_costs}, {"draft": COSTS}) == [
        "draft: 7 statements instead of 6"
    ]
    assert not excesses({"draft": COSTS}, {"draft": higher_costs})
    assert not excesses({IDLE: higher_costs}, {IDLE: COSTS})
    assert excesses({IDLE: Costs((0, 121))}, {IDLE: Costs((0, 100))})
    assert not excesses({IDLE: Costs((0, 120))}, {IDLE: Costs((0, 100))})


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_step_exceeds_the_committed_table_and_one_more_statement_is_detected(
    tmp_path: Path,
) -> None:
    limits, file, switch = read_table(), tmp_path / "transactions", tmp_path / "switch"
    (tmp_path / "sitecustomize.py").write_text(PLANT.format(switch=str(switch)))
    stack = LocalStack(record=file, settings={"PYTHONPATH": str(tmp_path)})
    try:
        counting = CostCounter(stack.start(), file)
        for _ in range(TIMES):
            counting.repeat()
            if not excesses(counting.table, limits):
                break
        table = counting.table
        assert list(table) == list(limits), "make budget"
        assert excesses(table, limits) == [], as_markdown(table)
        switch.touch()
        counting.forget()
        counting.repeat()
        found_excesses = excesses(counting.table, table)
    finally:
        stack.stop()
    assert [
        step.rpc
        for step in STEPS
        if not any(
            line.startswith(f"{budget.name_of(step)}: ") and " statements " in line
            for line in found_excesses
        )
    ] == []

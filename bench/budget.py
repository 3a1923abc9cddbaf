"""`make budget`: writes into docs/figures.md what the steps of a referral's life and a few calls
cost: exchanges, statements, transactions, flushes and signatures.

Each line is measured several times on a whole stack, from the call until all its effects are over
(two seconds of silence). The smallest value of each count is kept, since other work of a service
may coincide with a measurement. Work that a thread repeats while nothing happens is counted only in
the idle minute, unless the work carries the trace of a request. So the counts do not depend on the
machine.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import click
import requests

from bench.exchanges import Transaction, read
from bench.pages import sign_in
from bench.transitions import ReferralRunner
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import STEPS, Cast, Step

PAGE = Path(__file__).resolve().parent.parent / "docs" / "figures.md"
IDLE = "an idle minute"
TIMES = 8
WARM_UP = 12  # referrals; a connection prepares a statement after having sent it five times
MINUTE, SILENCE = 60.0, 2.0
# A loop works at rest if it makes at least this many turns a minute while nothing happens:
# _MIN_OWN_TURNS for threads with a connection of their own (relays, senders, clocks), most of whose
# turns are triggered by work, and _MIN_TURNS for all other threads.
_OWN_CONNECTION = "enlace-listen"
_MIN_TURNS, _MIN_OWN_TURNS = 2, 6
_TOKEN_SECONDS = 3.2  # seconds after which a token has expired
# Seconds by which each repetition begins later. Without them, a loop that works every fifteen
# seconds could hit the same line of every repetition.
_PHASE = 1.9
_BEGIN, _END = "<!-- make budget -->\n", "<!-- end of make budget -->\n"
_PROBE = "enlace-probe"
_PERSON = "albergue@lunanueva"
_FACT = "INSERT INTO outbox"
_OPENING = ("BEGIN", "SELECT set_config('enlace.organization'")


class Costs(NamedTuple):
    """The costs of a line, as pairs: (the call's own transactions, all other transactions)."""

    exchanges: tuple[int, int] = (0, 0)
    statements: tuple[int, int] = (0, 0)
    transactions: tuple[int, int] = (0, 0)
    flushes: tuple[int, int] = (0, 0)
    signatures: tuple[int, int] = (0, 0)
    """Signatures made, and signatures checked."""

    def least(self, other: Costs) -> Costs:
        """Returns the smaller value of each count."""
        return Costs(*((min(a, c), min(b, d)) for (a, b), (c, d) in zip(self, other, strict=True)))


Table = dict[str, Costs]


class Recording:
    """Reads the file that a stack's proxy writes, while the file grows."""

    def __init__(self, file: Path) -> None:
        self._file, self._signatures = file, file.with_name(file.name + ".signatures")
        self._position = 0
        self._idle_turns: set[Turn] = set()
        self.transactions: list[Transaction] = []

    def snapshot(self) -> int:
        """Reads the new transactions; returns the number of transactions so far."""
        with self._file.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        complete_lines = data[: data.rfind(b"\n") + 1]
        self._position += len(complete_lines)
        self.transactions += read(complete_lines.decode().splitlines())
        return len(self.transactions)

    def signatures(self) -> tuple[int, int]:
        """Returns the numbers of signatures made and checked so far."""
        lines = self._signatures.read_text().splitlines()
        return lines.count("made"), lines.count("checked")

    def rest(self, seconds: float = MINUTE) -> Costs:
        """Returns the costs of a period without calls, and records which loops work meanwhile.

        Starts again, at most twice, if a fact was written because a deadline of the demo network
        fired.
        """
        for _ in range(3):
            first, signatures_before = self.snapshot(), self.signatures()
            time.sleep(seconds)
            self.snapshot()
            transactions = self.transactions[first:]
            if not any(
                text.startswith(_FACT)
                for transaction in transactions
                for text in transaction.statements
            ):
                break
        assert not [transaction for transaction in transactions if transaction.view != "system"], (
            "a caller made a call in the time without calls"
        )
        counts = Counter(_turn(transaction) for transaction in transactions)
        self._idle_turns = {
            turn
            for turn, count in counts.items()
            if count * 60
            >= seconds * (_MIN_OWN_TURNS if turn.application == _OWN_CONNECTION else _MIN_TURNS)
        }
        return self._costs(transactions, signatures_before)

    def cost_of(self, act: Callable[[], object]) -> Costs:
        """Returns the costs of an act and of all its effects."""
        first, signatures_before = self.snapshot(), self.signatures()
        act()
        self.wait_for_silence()
        return self._costs(filter(self._is_caused, self.transactions[first:]), signatures_before)

    def wait_for_silence(self) -> None:
        """Waits until nothing that is counted has happened for two seconds."""
        begin = time.time()

        def is_silent() -> bool:
            self.snapshot()
            last = next(filter(self._is_caused, reversed(self.transactions)), None)
            return time.time() - max(begin, last.time if last else 0.0) > SILENCE

        until(is_silent, 60)

    def _is_caused(self, transaction: Transaction) -> bool:
        return bool(transaction.trace) or not (
            transaction.application == _PROBE or _turn(transaction) in self._idle_turns
        )

    def _costs(
        self, transactions: Iterable[Transaction], signatures_before: tuple[int, int]
    ) -> Costs:
        made, checked = self.signatures()
        return sum_costs(
            transactions, (made - signatures_before[0], checked - signatures_before[1])
        )


def sum_costs(transactions: Iterable[Transaction], signatures: tuple[int, int] = (0, 0)) -> Costs:
    """Returns the summed costs; transactions in a caller's scope are the call's own."""
    sides = [], []  # type: tuple[list[Transaction], list[Transaction]]
    for transaction in transactions:
        sides[transaction.view == "system"].append(transaction)

    def count_both(count: Callable[[Transaction], int]) -> tuple[int, int]:
        return sum(map(count, sides[0])), sum(map(count, sides[1]))

    return Costs(
        count_both(lambda transaction: len(transaction.exchanges)),
        count_both(lambda transaction: len(transaction.statements)),
        count_both(lambda transaction: bool(transaction.statements)),
        count_both(lambda transaction: transaction.flushes),
        signatures,
    )


class Turn(NamedTuple):
    """The key of a loop's turns: its database role, its application, and its first statement."""

    role: str
    application: str
    statement: str


def _turn(transaction: Transaction) -> Turn:
    statements = (text for text in transaction.statements if not text.startswith(_OPENING))
    return Turn(transaction.role, transaction.application, next(statements, ""))


class CostCounter:
    """Measures the lines of the table on a stack that records into a file.

    `table` has the lowest costs of each line.
    """

    def __init__(self, stack: LocalStack, file: Path) -> None:
        """Warms the stack up, and watches it while nothing happens."""
        self._stack, self._recording = stack, Recording(file)
        self._runner = ReferralRunner(Cast(stack))
        self._viewer = requests.Session()
        sign_in(self._viewer, stack, _PERSON)
        for _ in range(WARM_UP):
            self._runner.run_one()
            self._search()
            self._open_today()
        # Waits for the effects of this work: heads of the trails are published once a minute.
        time.sleep(MINUTE + 5)
        self._idle = self._recording.rest()
        self._lines: Table = {}
        self._repeat_count = 0

    @property
    def table(self) -> Table:
        return self._lines | {IDLE: self._idle}

    def forget(self) -> None:
        """Forgets what was measured, but not the idle minute."""
        self._lines = {}

    def repeat(self) -> None:
        """Measures each line once more, at another phase of the periodic loops."""
        time.sleep(_PHASE * self._repeat_count)
        self._repeat_count += 1
        _life(self._runner, self._line)
        time.sleep(_TOKEN_SECONDS - SILENCE)
        self._line("sign-in", self._sign_in)
        self._runner.cast.sender.token()
        self._line("a search", self._search)
        time.sleep(_TOKEN_SECONDS - SILENCE)
        self._line("opening Today", self._open_today)

    def _line(self, name: str, act: Callable[[], object]) -> None:
        cost = self._recording.cost_of(act)
        self._lines[name] = cost.least(self._lines.get(name, cost))

    def _search(self) -> None:
        request = directory_pb2.SearchServicesRequest(words="albergue", department="NI-CI")
        self._runner.cast.sender.directory.SearchServices(request)

    def _open_today(self) -> None:
        self._viewer.get(f"{self._stack.gateway}/today", timeout=10).raise_for_status()

    def _sign_in(self) -> None:
        with requests.Session() as session:
            sign_in(session, self._stack, _PERSON, stay=True)


def _life(runner: ReferralRunner, line: Callable[[str, Callable[[], object]], None]) -> None:
    """Takes a referral from draft to closed, and measures each step as a line.

    The caller of a step gets a token before the step.
    """
    referral = pb.Referral()
    person_id, receipt_id = runner.cast.person()

    def create() -> None:
        nonlocal referral
        referral = runner.cast.sender.referrals.CreateReferral(runner.cast.draft(person_id))

    def send() -> None:
        nonlocal referral
        referral = runner.cast.sender.referrals.SendReferral(
            pb.SendReferralRequest(receipt_id=receipt_id, **runner.request_fields(referral))
        )

    time.sleep(SILENCE)  # until the facts about the person have been applied
    for name, act in (("draft", create), ("send", send)):
        runner.cast.sender.token()
        line(name, act)
    for step in STEPS:
        caller = runner.cast.who(step)

        def take(rpc: str = step.rpc) -> None:
            nonlocal referral
            fields = runner.request_fields(referral)
            referral = getattr(caller.referrals, rpc)(step.request(**fields))  # noqa: B023

        caller.token()
        line(name_of(step), take)


def name_of(step: Step) -> str:
    """Returns the name of a step's line."""
    return step.rpc.removesuffix("Referral").lower()


def as_markdown(table: Mapping[str, Costs]) -> str:
    """Returns the table in Markdown."""
    lines = [
        "| | exchanges | statements | transactions | flushes | signatures |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {' | '.join(f'{own} + {rest}' for own, rest in cost)} |"
            for name, cost in table.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def read_table(page: Path = PAGE) -> Table:
    """Returns the table in docs/figures.md."""
    text = page.read_text().split(_BEGIN)[1].split(_END)[0]
    table: Table = {}
    for row in text.splitlines()[2:]:
        name, *cells = row.strip("| ").split(" | ")
        pairs = [re.fullmatch(r"(\d+) \+ (\d+)", cell) for cell in cells]
        table[name] = Costs(*((int(pair[1]), int(pair[2])) for pair in pairs if pair))
    return table


def excesses(table: Mapping[str, Costs], limits: Mapping[str, Costs]) -> list[str]:
    """Returns a sentence for each count that exceeds its limit.

    The counts of an idle minute may exceed their limits by a tenth plus ten, since chance decides
    how much work falls into the minute.
    """
    return [
        f"{name}: {count} {column} instead of {limit}"
        for name, cost in table.items()
        for column, counts, column_limits in zip(Costs._fields, cost, limits[name], strict=True)
        for count, limit in zip(counts, column_limits, strict=True)
        if count > (limit * 1.1 + 10 if name == IDLE else limit)
    ]


def write(table: Mapping[str, Costs], page: Path = PAGE) -> None:
    """Writes the table to its place on the page."""
    before, rest = page.read_text().split(_BEGIN)
    page.write_text(f"{before}{_BEGIN}{as_markdown(table)}{_END}{rest.split(_END)[1]}")


@click.command(help="Count what steps and calls cost, print it, and write it into docs/figures.md.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep all recorded transactions in this file."
)
def main(keep: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = keep or Path(folder) / "transactions"
        stack = LocalStack(record=file)
        try:
            counter = CostCounter(stack.start(), file)
            for _ in range(TIMES):
                counter.repeat()
        finally:
            stack.stop()
    write(counter.table)
    click.echo(as_markdown(counter.table))


if __name__ == "__main__":
    main()

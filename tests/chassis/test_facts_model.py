"""Random runs of the model of facts obey its rules, and the model detects each planted bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from chassis.db import Transaction
from facts import inbox, outbox
from facts.kafka import PARTITIONS
from facts.outbox import Fact
from tests.chassis.facts_model import SUBJECTS, Facts, Parts
from tests.parts import brokers
from tests.parts.postgres import Server

pytestmark = pytest.mark.long


def run(parts: Parts, examples: int, steps: int, **overrides: Any) -> None:
    """Runs the model `examples` times, with random steps."""
    machine = type("Histories", (Facts,), {"parts": parts})
    options = {
        "database": None,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
        "print_blob": True,
        "phases": [Phase.generate],
        **overrides,
    }
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, **options)
    )


@pytest.mark.timeout(400)
def test_facts_are_applied_once_and_in_order_whatever_happens(
    broker: brokers.Broker, postgres: Server, keys: Path
) -> None:
    run(Parts(broker, postgres, keys), 20, 30)


def discard_refused(
    tx: Transaction, consumer: str, waiting: inbox.WaitingFact, reason: str, now: datetime
) -> None:
    """Discards a refused fact, as an earlier version did."""
    if inbox.position(tx, consumer, waiting.fact) is inbox.FactPosition.NEXT:
        inbox.advance(tx, consumer, waiting.fact)


def treat_as_new(tx: Transaction, consumer: str, fact: Fact) -> inbox.FactPosition:
    """Treats every fact as the next one, as if there were no inbox."""
    return inbox.FactPosition.NEXT


def ignore_epochs(position: Callable[..., inbox.FactPosition]) -> Callable[..., inbox.FactPosition]:
    """Returns a variant of `position` that compares only versions, not epochs."""
    return lambda tx, consumer, fact: position(tx, consumer, replace(fact, epoch=0, base=0))


BUGS: dict[str, tuple[object, str, Callable[[Any], object]]] = {
    "refused facts are skipped": (inbox, "hold", lambda _: discard_refused),
    "no inbox": (inbox, "position", lambda _: treat_as_new),
    "epochs are ignored": (inbox, "position", ignore_epochs),
    "waiting facts are never retried": (inbox, "due_fact", lambda _: lambda *_: None),
    "facts are marked before they are sent": (
        outbox,
        "next_batch",
        lambda batch: lambda tx, limit: mark_before_sending(tx, batch(tx, limit)),
    ),
    "another cluster id of the broker begins no round": (
        outbox,
        "note_cluster",
        lambda note_cluster: lambda tx, id: note_without_round(note_cluster, tx, id),
    ),
}


def note_without_round(
    note_cluster: Callable[[Transaction, str], bool], tx: Transaction, cluster_id: str
) -> None:
    """Records another cluster with `note_cluster`, and begins no round."""
    current_round = outbox.current_round(tx)
    note_cluster(tx, cluster_id)
    tx.execute("UPDATE relay SET round = %s", (current_round,))


def mark_before_sending(tx: Transaction, batch: outbox.Batch) -> outbox.Batch:
    """Marks the facts of a batch as published before they are, and returns the batch."""
    outbox.mark_published(tx, batch.facts, batch.round)
    return batch


def run_fixed_history(parts: Parts) -> None:
    """Runs the model with fixed steps, so that every kind of failure happens once."""
    history = type("History", (Facts,), {"parts": parts})()
    all_partitions = range(PARTITIONS)
    a, b, c = SUBJECTS
    history.write(a, 2, True)
    history.write(b, 2, True)
    history.relay_turn("after the send")
    history.listen(0, all_partitions, "after the effect")
    history.listen(1, all_partitions, "before the offset")
    history.relay_turn("before the send")
    history.back_up()
    history.break_handler(c)
    history.write(c, 3, True)
    history.write(a, 1, True)
    history.relay_turn("")
    history.listen(0, all_partitions, "")
    history.mend_handler()
    history.sweep(1, 3)
    history.restore(same_disk=False)
    history.write(a, 1, True)
    history.relay_turn("")
    history.listen(0, all_partitions, "")
    history.write(c, 1, True)
    history.relay_turn("")
    history.wipe()  # before any consumer has received the facts
    history.break_handler(b)
    history.write(b, 2, True)
    history.write(a, 1, True)
    history.relay_turn("before the send")
    history.relay_turn("")
    history.listen(1, all_partitions, "")
    history.teardown()


def test_facts_are_applied_once_in_a_history_in_which_everything_happens_once(
    broker: brokers.Broker, postgres: Server, keys: Path
) -> None:
    run_fixed_history(Parts(broker, postgres, keys))


@pytest.mark.parametrize("bug", BUGS)
def test_the_model_detects_the_planted_bug(
    bug: str,
    broker: brokers.Broker,
    postgres: Server,
    keys: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, name, plant = BUGS[bug]
    monkeypatch.setattr(module, name, plant(getattr(module, name)))
    with pytest.raises(AssertionError):
        run_fixed_history(Parts(broker, postgres, keys))

"""The broker of a local stack.

The broker's records survive a stop, and a stack whose broker is empty publishes everything again
once.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from tests.parts import topics
from tests.parts.local_stack import SERVICES, LocalStack, until

REPEAT_EVENT = "relay_tells_all_again"


def full_repeats(stack: LocalStack) -> dict[str, int]:
    """Returns how often each service has started to publish all facts again, as its log says."""
    return {name: (stack.logs / f"{name}.log").read_text().count(REPEAT_EVENT) for name in SERVICES}


def published_counts(stack: LocalStack) -> Counter[str]:
    """Returns how often each fact of referrals is in the broker.

    The stack is running, so the counts grow from call to call.
    """
    return Counter(
        record.header("ce_id")
        for record in topics.records(stack.state["kafka"], ["enlace.referrals.v1"])
    )


def is_all_published(stack: LocalStack) -> bool:
    """Returns whether no fact waits to be published, for the first time or again."""
    waiting_query = (
        "SELECT count(*) AS n FROM outbox, relay WHERE first_round IS NULL"
        " OR last_round < relay.round"
    )
    for name in SERVICES:
        with stack.database(name) as database:
            if database.execute(waiting_query).fetchall()[0]["n"]:
                return False
    return True


@pytest.mark.long
@pytest.mark.timeout(400)
def test_facts_survive_a_stop_and_a_stack_with_an_empty_broker_publishes_them_again_once() -> None:
    stack = LocalStack()
    try:
        stack.start()
        until(lambda: is_all_published(stack))
        before, facts = full_repeats(stack), published_counts(stack)
        assert facts
        for _ in range(2):  # the second turn shows that the first left nothing behind
            stack.stop(keep=True)
            stack.start()
            until(lambda: is_all_published(stack))
            assert full_repeats(stack) == before
            assert not facts - published_counts(stack)
            assert max(published_counts(stack).values()) == 1  # each fact once
        stack.stop(keep=True)
        # as with a stack of an older version, whose broker had its records only in memory
        shutil.rmtree(stack.var / "kafka")
        for _ in range(2):
            stack.start()
            until(
                lambda: full_repeats(stack) == {name: number + 1 for name, number in before.items()}
            )
            until(lambda: is_all_published(stack))
            stack.stop(keep=True)
        assert json.loads((stack.var / "demo.json").read_text())["accounts"]
    finally:
        stack.stop()

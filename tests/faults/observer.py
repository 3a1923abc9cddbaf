"""Observes a stack under faults from outside, about once a second.

It counts facts received, facts received again, and changes in the consumers' groups. All counts are
lower bounds: a counter that restarts with its process loses what it counted since the last reading,
and two changes of a group between two readings count as one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import requests
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.parts.local_stack import SERVICES, LocalStack

GROUPS = ("notifications-referrals", "notifications-partners", "referrals")
EVERY = 1.0  # seconds between two counts


class Observer:
    """Counts facts and rebalances from `begin` to `end`, by consumer.

    `received` counts all facts, `repeated` the facts that had been received before, and
    `rebalances` the changes in the membership of the consumer's group.
    """

    def __init__(self, stack: LocalStack) -> None:
        self.received: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.rebalances: Counter[str] = Counter()
        self._stack = stack
        self._last: dict[tuple[str, str], float] = {}
        self._members: dict[str, frozenset[str]] = {}
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(count,), daemon=True)
            for count in (self._count_facts, self._count_rebalances)
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _repeat(self, count: Callable[[], None]) -> None:
        while not self._ending.wait(EVERY):
            count()
        count()

    def _count_facts(self) -> None:
        for service in SERVICES:
            for sample in samples(self._stack, service, 1):
                if sample.name == "enlace_facts_heard_total":
                    consumer, outcome = sample.labels["consumer"], sample.labels["outcome"]
                    last_value = self._last.get((consumer, outcome), 0.0)
                    increase = int(
                        sample.value - last_value if sample.value >= last_value else sample.value
                    )
                    self.received[consumer] += increase
                    self.repeated[consumer] += increase if outcome == "seen" else 0
                    self._last[consumer, outcome] = sample.value

    def _count_rebalances(self) -> None:
        """Counts a rebalance if a group has other members than when it last had members.

        The cause does not matter: the broker may have forgotten members, or replaced them.
        """
        with suppress(KafkaError, OSError, ValueError, RuntimeError, AssertionError):
            admin = KafkaAdminClient(
                bootstrap_servers=self._stack.state["kafka"],
                bootstrap_timeout_ms=1000,
                request_timeout_ms=2000,
            )
            try:
                for group, description in admin.describe_groups(list(GROUPS)).items():
                    members = frozenset(member["member_id"] for member in description["members"])
                    last_members = self._members.get(group, members)
                    if members:
                        self.rebalances[group] += members != last_members
                        self._members[group] = members
            finally:
                admin.close()


def samples(stack: LocalStack, service: str, timeout: float) -> Iterator[Sample]:
    """Yields the service's metrics; no metric if the service does not answer."""
    try:
        text = requests.get(
            f"http://{stack.state['parts'][service]['metrics']}/metrics", timeout=timeout
        ).text
    except requests.RequestException:
        return
    for family in text_string_to_metric_families(text):
        yield from family.samples

"""Waits for silence, since a figure proves nothing while the stack is busy with earlier work.

A stack is silent if no fact waits to be published or applied, and its processes are at rest. Each
measurement waits for silence, and fails rather than print a figure of a busy stack.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import RetriableError

from bench.live import cores_used
from tests.parts.local_stack import SERVICES, LocalStack

PATIENCE = 60.0  # seconds to wait for silence
AT_REST = 15.0  # percent of a core that a stack may take; a stack without calls takes about 5
MACHINE_AT_REST = 25.0  # percent of all processor time that may be in use before a part
_LOOK = 2.0  # seconds during which processor time is counted


class Busy(click.ClickException):
    """Raised if a stack or the machine does not come to rest."""


def wait_for_silence(stack: LocalStack, patience: float = PATIENCE) -> None:
    """Returns once no fact is waiting and the stack's processes are at rest. Raises Busy if that
    takes longer than `patience` seconds.
    """
    end = time.monotonic() + patience
    while reason := _activity(stack):
        if time.monotonic() > end:
            raise Busy(f"the stack is busy: {reason}")
        time.sleep(0.1)


def _activity(stack: LocalStack) -> str:
    """Returns why a stack is not silent; "" if it is."""
    for service in SERVICES:
        with stack.database(service) as database:
            if database.execute("SELECT FROM outbox WHERE first_round IS NULL LIMIT 1").fetchone():
                return f"facts of {service} wait to be published"
    try:
        waiting_count = lag(stack.state["kafka"])
    except RetriableError as error:  # such as a coordinator that still loads its groups
        return f"the broker is not ready: {type(error).__name__}"
    if waiting_count:
        return f"{waiting_count} records wait for their consumers"
    if (percent := 100 * cores_used(stack, _LOOK)[0]) > AT_REST:
        return f"it takes {percent:.0f} % of a core, more than {AT_REST:g} %"
    return ""


def lag(bootstrap: str) -> int:
    """Returns the number of records that the consumers of a broker have not consumed yet."""
    broker = KafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        groups = {group["group_id"]: None for group in broker.list_groups()}
        offsets = broker.list_group_offsets(groups)
        ends = consumer.end_offsets(
            {partition for group_offsets in offsets.values() for partition in group_offsets}
        )
        return sum(
            ends[partition] - position.offset
            for group_offsets in offsets.values()
            for partition, position in group_offsets.items()
        )
    finally:
        consumer.close()
        broker.close()


def busy_percent(seconds: float = _LOOK) -> float:
    """Returns the percentage of this machine's processor time that is in use, by any process."""

    def read() -> tuple[int, int]:
        ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk

    total, rest = read()
    time.sleep(seconds)
    total, rest = read()[0] - total, read()[1] - rest
    return 100 * (total - rest) / max(1, total)


def wait_for_machine(at_rest: float, patience: float = PATIENCE) -> None:
    """Waits until at most `at_rest` percent of processor time is in use. Raises Busy if that takes
    longer than `patience` seconds.
    """
    end = time.monotonic() + patience
    while (percent := busy_percent()) > at_rest:
        if time.monotonic() > end:
            raise Busy(f"the processors are busy: {percent:.0f} %, more than {at_rest:g} %")

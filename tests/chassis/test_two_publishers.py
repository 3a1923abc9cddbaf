"""Two processes publish the facts of one outbox in turn.

A process that hangs loses its turn, and publishes and marks nothing when it wakes.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import outbox
from tests.chassis.world import World, until
from tests.parts import topics
from tests.parts.default_signals import WITH_DEFAULT_SIGNALS
from tests.parts.local_stack import ROOT

pytestmark = pytest.mark.long

MAX_SILENCE = "3"  # seconds of silence after which a process loses its turn, instead of twenty
HOLDER = (
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'enlace-listen-%'"
    " AND a.datname = current_database()"
)


@contextmanager
def running_publisher(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process that publishes the facts of this world."""
    arguments = [
        world.pg_databases["publisher"].url,
        world.broker.bootstrap,
        world.topic,
        str(world.keys),
        MAX_SILENCE,
    ]
    process = subprocess.Popen(
        [*WITH_DEFAULT_SIGNALS, sys.executable, "-m", "tests.chassis.publisher", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def holds_turn(world: World, process: subprocess.Popen[bytes]) -> bool:
    """Returns whether the process publishes now."""
    with world.publisher.transaction(SYSTEM) as tx:
        return [row["application_name"] for row in tx.execute(HOLDER)] == [
            f"enlace-listen-{process.pid}"
        ]


def test_a_hanging_publisher_is_replaced_by_the_other_and_disturbs_nothing_when_it_wakes(
    world: World,
) -> None:
    world.stop_relay()
    subjects, batches = [new_id() for _ in range(5)], itertools.count()

    def write() -> int:
        """Writes the next twenty facts of each subject; returns their last version."""
        start = 1 + 20 * next(batches)
        for subject in subjects:
            world.write(subject, 20, start=start)
        return start + 19

    with running_publisher(world) as first:
        until(lambda: holds_turn(world, first))
        with running_publisher(world) as second:
            for stopped, other in ((first, second), (second, first), (first, second)):
                write()  # the process may be stopped in the middle of these facts
                for number in (signal.SIGSTOP, signal.SIGCONT):
                    stopped.send_signal(number)
                    last = write()
                    until(lambda: all(world.last_version(subject) == last for subject in subjects))  # noqa: B023
                    # a process that wakes does not get its turn back
                    assert holds_turn(world, other), number
            assert (first.poll(), second.poll()) == (None, None)
    assert sorted(world.effects()) == sorted(
        (subject, n) for subject in subjects for n in range(1, last + 1)
    )
    records = topics.records(world.broker.bootstrap, [world.topic])
    for subject in subjects:
        published = [
            int(record.header("ce_id").rpartition("/")[2])
            for record in records
            if record.key == subject.encode()
        ]
        assert list(dict.fromkeys(published)) == list(range(1, last + 1)), (
            "the first records of all versions are in order"
        )
    with world.publisher.transaction(SYSTEM) as tx:
        assert outbox.backlog(tx) == 0
    world.publisher.close()

"""Does what a schedule says to a stack under load: each fault comes when enough transitions were
answered since the one before, on a part that is well.

So nothing waits for a fixed time, and no kill hits a process that another has killed already. While
nothing is answered, because referrals or PostgreSQL are down, the other parts are not safe either:
then one of them is hit every second. What stops the hearing of facts comes only when they were
heard again since it last did: else all would be heard after the run, in peace. A fault that must
wait lets the next go before it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaProducer

from facts.kafka import REPLAYS
from tests.faults.observer import Observer
from tests.faults.schedule import COPY, DUPLICATES, KILL, PAUSE, REPLAY, RESTORE, Fault
from tests.faults.work import OK, Call, Work
from tests.parts import topics
from tests.parts.local_stack import LocalStack
from tests.parts.still import standing_still

# Whose call is cut off when a part dies: a kill waits until one of these is under way. What
# notifications and the broker do follows from transitions.
WAYS = {
    "gateway": ("rest",),
    "partners": ("directory", "rest"),
}
TRANSITIONS = ("grpc", "rest")
REPEATED = 30  # records a partition that are put on a topic once more
# What notifications hear of referrals stops when one of these dies, for up to nine seconds: the
# broker waits for the dead member of the group, then for others. Before that happens again so many
# facts must have been heard.
DEAFENS = ("notifications", "broker")
LISTENER, ENOUGH = "notifications-referrals", 100
STOPS = ("referrals", "postgres")
STANDSTILL = 1.0  # seconds without enough transitions, after which other parts are hit
LOOK = 0.1
BACK = 120.0  # seconds in which there must be something that can be hit, or transitions


@dataclass(frozen=True)
class Strike:
    """A fault that was done, and when."""

    fault: Fault
    moment: float


class Strikes:
    """`run` does it all; `done` tells what was done."""

    def __init__(self, stack: LocalStack, work: Work, observer: Observer, seed: int) -> None:
        self.done: list[Strike] = []
        self._stack = stack
        self._work = work
        self._observer = observer
        self._heard = 0  # when hearing was last stopped
        self._chance = random.Random(seed)
        self._killed: dict[str, int] = {}
        self._still: dict[str, threading.Thread] = {}
        self._copy = stack.var / "partners.dump"

    def run(self, faults: Sequence[Fault], pace: int) -> None:
        """One after every `pace` transitions or second of standstill, until all are done and every
        part is well.
        """
        waiting, answered, since = list(faults), self._work.answered, time.monotonic()
        while waiting:
            goes_on = self._work.wait_for(answered + pace, STANDSTILL)
            fault = next((fault for fault in waiting if self._possible(fault, goes_on)), None)
            if fault is None:
                assert time.monotonic() - since < BACK, self._standstill(waiting)
                time.sleep(LOOK)
                continue
            waiting.remove(fault)
            self._do(fault)
            answered, since = self._work.answered, time.monotonic()
        for thread in self._still.values():
            thread.join()
        self._stack.wait_healthy(*self._killed.values())

    def _standstill(self, waiting: Sequence[Fault]) -> str:
        """Why nothing can be hit: what is left, how the parts stand, and what those who hear say
        last.
        """
        said = [
            line
            for part in ("notifications", "broker")
            for line in (self._stack.logs / f"{part}.log").read_text().splitlines()[-15:]
        ]
        details = {
            "waiting": waiting[:3],
            "killed": self._killed,
            "heard": (self._observer.heard, self._heard),
            "answered": (self._work.answered, self._work.refused[:3]),
            "parts": self._stack.state["parts"],
        }
        return "\n".join([*(f"{name}: {value}" for name, value in details.items()), *said])

    def in_flight(self, calls: Sequence[Call]) -> tuple[int, int, int]:
        """Of the kills: how many there were, with a call under way, and with one under way that got
        no answer.
        """
        kills = [strike for strike in self.done if strike.fault.kind == KILL]
        hit = [
            [
                c
                for c in calls
                if c.way in WAYS.get(k.fault.part, TRANSITIONS) and c.under_way(k.moment)
            ]
            for k in kills
        ]
        return (
            len(kills),
            sum(bool(struck) for struck in hit),
            sum(any(c.outcome != OK for c in struck) for struck in hit),
        )

    def _possible(self, fault: Fault, goes_on: bool) -> bool:
        """Its part is well, and what it needs; a restore comes after its copy; what stops all
        transitions comes when there are some.
        """
        if fault.part in STOPS and not goes_on and fault.kind in (KILL, PAUSE):
            return False
        if (
            fault.kind == KILL
            and fault.part in DEAFENS
            and self._observer.heard[LISTENER] < self._heard + ENOUGH
        ):
            return False
        if fault.kind in (REPLAY, DUPLICATES):
            return self._well("broker") and self._well(fault.part)
        if fault.kind in (COPY, RESTORE):
            return (
                self._well("postgres")
                and self._well("partners")
                and (fault.kind == COPY or self._copy.exists())
            )
        return self._well(fault.part)

    def _well(self, part: str) -> bool:
        state = self._stack.state["parts"][part]
        return (
            state["up"]
            and state["pid"] != self._killed.get(part)
            and not (part in self._still and self._still[part].is_alive())
        )

    def _do(self, fault: Fault) -> None:
        moment = time.monotonic()
        if fault.kind == KILL:
            moment = self._work.strike(
                WAYS.get(fault.part, TRANSITIONS), lambda: self._kill(fault.part)
            )
        elif fault.kind == PAUSE:
            self._still[fault.part] = threading.Thread(
                target=self._pause, args=(fault,), daemon=True
            )
            self._still[fault.part].start()
        elif fault.kind == REPLAY:
            self._send(
                REPLAYS, [topics.Record(REPLAYS, f"enlace.{fault.part}.v1".encode(), b"", ())]
            )
        elif fault.kind == DUPLICATES:
            self._repeat(f"enlace.{fault.part}.v1")
        elif fault.kind == COPY:
            self._postgres(
                "pg_dump",
                "--format=custom",
                "--exclude-extension=*",
                f"--file={self._copy}",
                self._owner,
            )
            return
        else:
            self._restore()
        self.done.append(Strike(fault, moment))

    def _kill(self, part: str) -> None:
        self._killed[part] = self._stack.kill(part)
        if part in DEAFENS:
            self._heard = self._observer.heard[LISTENER]

    def _pause(self, fault: Fault) -> None:
        with standing_still(self._stack.pid(fault.part)):
            time.sleep(fault.seconds)

    def _repeat(self, topic: str) -> None:
        """What lies at the end of a topic, once more and in another order."""
        records = topics.records(self._stack.state["kafka"], [topic], REPEATED)
        self._chance.shuffle(records)
        self._send(topic, records)

    def _send(self, topic: str, records: Sequence[topics.Record]) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._stack.state["kafka"],
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            for future in [
                producer.send(topic, key=r.key, value=r.value, headers=list(r.headers))
                for r in records
            ]:
                future.get(15)
        finally:
            producer.close(timeout=1)

    def _restore(self) -> None:
        """As docs/operations.md says: the service is stopped, by a kill, and kept down: who would
        start it again stands still meanwhile.
        """
        with held(self._stack.state["pid"]):
            self._kill("partners")
            self._postgres(
                "pg_restore",
                "--clean",
                "--if-exists",
                "--no-owner",
                f"--dbname={self._owner}",
                str(self._copy),
            )

    @property
    def _owner(self) -> str:
        return str(self._stack.state["environment"]["ENLACE_PARTNERS_MIGRATION_URL"])

    def _postgres(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._stack.programs / program, *words],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def held(pid: int) -> Iterator[None]:
    """Whoever would start what is killed stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

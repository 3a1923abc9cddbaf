"""Injects the faults of a schedule into a stack under load.

Each fault hits a healthy part, once enough transitions were answered since the previous fault.
So no fault waits for a fixed time, and no kill hits a process that is already dead. While no
transition is answered, because referrals or PostgreSQL is down, one of the other parts is hit every
second. A fault that stops consumers comes only after facts have been received since the last such
fault; otherwise consumers would receive all facts undisturbed, after the run. If a fault has to
wait, the next possible fault is injected first.
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
from tests.parts.paused import paused_process

# For each part, the ways of the calls that its death cuts off; a kill waits for such a call. For
# all other parts these are transitions, which also cause the work of notifications and the broker.
WAYS = {
    "gateway": ("rest",),
    "partners": ("directory", "rest"),
}
TRANSITIONS = ("grpc", "rest")
REPEATED_RECORDS = 30  # records of each partition that are published once more
# The parts whose death keeps notifications from receiving facts of referrals for up to nine
# seconds, because the broker first waits until the dead member's session ends, and then for the
# other members. Between two such deaths, the consumer LISTENER must have received ENOUGH facts.
STOP_CONSUMERS = ("notifications", "broker")
LISTENER, ENOUGH = "notifications-referrals", 100
STOP_TRANSITIONS = ("referrals", "postgres")
STANDSTILL = 1.0  # seconds without enough transitions after which other parts are hit
CHECK_INTERVAL = 0.1  # seconds between two checks for a fault that is possible
LONGEST_WAIT = 120.0  # maximum seconds during which no fault is possible


@dataclass(frozen=True)
class InjectedFault:
    """A fault that was injected, and its time."""

    fault: Fault
    moment: float


class FaultInjector:
    """Injects all faults in `run`; `history` lists the faults injected so far."""

    def __init__(self, stack: LocalStack, work: Work, observer: Observer, seed: int) -> None:
        self.history: list[InjectedFault] = []
        self._stack = stack
        self._work = work
        self._observer = observer
        self._received_at_stop = 0  # the count of received facts when consumers were last stopped
        self._rng = random.Random(seed)
        self._killed_pids: dict[str, int] = {}
        self._pauses: dict[str, threading.Thread] = {}
        self._copy = stack.var / "partners.dump"

    def run(self, faults: Sequence[Fault], pace: int) -> None:
        """Injects one fault after every `pace` transitions, or each second of standstill.

        Returns when all faults have been injected and every part is healthy.
        """
        remaining_faults, answered_count, since = (
            list(faults),
            self._work.answered_count,
            time.monotonic(),
        )
        while remaining_faults:
            is_progressing = self._work.wait_for(answered_count + pace, STANDSTILL)
            fault = next(
                (fault for fault in remaining_faults if self._is_possible(fault, is_progressing)),
                None,
            )
            if fault is None:
                assert time.monotonic() - since < LONGEST_WAIT, self._standstill(remaining_faults)
                time.sleep(CHECK_INTERVAL)
                continue
            remaining_faults.remove(fault)
            self._inject(fault)
            answered_count, since = self._work.answered_count, time.monotonic()
        for thread in self._pauses.values():
            thread.join()
        self._stack.wait_healthy(*self._killed_pids.values())

    def _standstill(self, remaining_faults: Sequence[Fault]) -> str:
        """Returns a report about a standstill in which no fault is possible.

        It has the remaining faults, the state of the parts, their last restarts, and the last lines
        of the logs of notifications and the broker.
        """
        log_lines = [
            line
            for part in ("notifications", "broker")
            for line in (self._stack.logs / f"{part}.log").read_text().splitlines()[-15:]
        ]
        details = {
            "waiting": remaining_faults[:3],
            "killed": self._killed_pids,
            "received": (self._observer.received, self._received_at_stop),
            "answered": (self._work.answered_count, self._work.refusals[:3]),
            "parts": self._stack.state["parts"],
            "restarts": self._stack.later_output[-20:],
        }
        return "\n".join([*(f"{name}: {value}" for name, value in details.items()), *log_lines])

    def kill_counts(self, calls: Sequence[Call]) -> tuple[int, int, int]:
        """Returns three counts: all kills, kills during a call, and kills that cut a call off."""
        calls_by_kill = [
            [
                call
                for call in calls
                if call.way in WAYS.get(injected.fault.part, TRANSITIONS)
                and call.under_way(injected.moment)
            ]
            for injected in self.history
            if injected.fault.kind == KILL
        ]
        return (
            len(calls_by_kill),
            sum(bool(under_way) for under_way in calls_by_kill),
            sum(any(call.outcome != OK for call in under_way) for under_way in calls_by_kill),
        )

    def _is_possible(self, fault: Fault, is_progressing: bool) -> bool:
        """Returns whether a fault can be injected now.

        The fault's part and the other parts that it needs must be well; a restore needs its copy; a
        fault that stops all transitions is possible only while transitions are answered.
        """
        if fault.part in STOP_TRANSITIONS and not is_progressing and fault.kind in (KILL, PAUSE):
            return False
        if (
            fault.kind == KILL
            and fault.part in STOP_CONSUMERS
            and self._observer.received[LISTENER] < self._received_at_stop + ENOUGH
        ):
            return False
        if fault.kind in (REPLAY, DUPLICATES):
            return self._is_well("broker") and self._is_well(fault.part)
        if fault.kind in (COPY, RESTORE):
            return (
                self._is_well("postgres")
                and self._is_well("partners")
                and (fault.kind == COPY or self._copy.exists())
            )
        return self._is_well(fault.part)

    def _is_well(self, part: str) -> bool:
        state = self._stack.state["parts"][part]
        return (
            state["up"]
            and state["pid"] != self._killed_pids.get(part)
            and not (part in self._pauses and self._pauses[part].is_alive())
        )

    def _inject(self, fault: Fault) -> None:
        moment = time.monotonic()
        if fault.kind == KILL:
            moment = self._work.act_during_call(
                WAYS.get(fault.part, TRANSITIONS), lambda: self._kill(fault.part)
            )
        elif fault.kind == PAUSE:
            self._pauses[fault.part] = threading.Thread(
                target=self._pause, args=(fault,), daemon=True
            )
            self._pauses[fault.part].start()
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
        self.history.append(InjectedFault(fault, moment))

    def _kill(self, part: str) -> None:
        self._killed_pids[part] = self._stack.kill(part)
        if part in STOP_CONSUMERS:
            self._received_at_stop = self._observer.received[LISTENER]

    def _pause(self, fault: Fault) -> None:
        with paused_process(self._stack.pid(fault.part)):
            time.sleep(fault.seconds)

    def _repeat(self, topic: str) -> None:
        """Publishes the last records of a topic once more, in random order."""
        records = topics.records(self._stack.state["kafka"], [topic], REPEATED_RECORDS)
        self._rng.shuffle(records)
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
        """Restores a copy as docs/operations.md describes.

        A kill stops the service, which stays down because its supervisor is stopped meanwhile.
        """
        with supervisor_stopped(self._stack.state["pid"]):
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

    def _postgres(self, program: str, *arguments: str) -> None:
        process = subprocess.run(
            [self._stack.programs / program, *arguments],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        assert process.returncode == 0, process.stderr


@contextmanager
def supervisor_stopped(pid: int) -> Iterator[None]:
    """Pauses the supervisor of a part until the block ends, so that a killed part stays down."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

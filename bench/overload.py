"""Overload: the behaviour of a stack that gets five times as many calls as it can answer.

Crowds in processes of their own (bench/crowd.py) find the peak rate, then call at five times that
rate for a while. The figures are how far the rate of successful calls falls, how soon refusals
come, the memory of the largest service, and the time until a single caller's steps are about as
quick as before.

The crowds have one processor to themselves, and the stack has the others, as if the callers were on
other machines. Otherwise crowds that make five times as many calls would take processor time from
the stack, and would cause part of the fall in its rate themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.crowd import Outcome, Task, as_line
from bench.figures import Measurement, percentile
from bench.live import cpu_seconds
from bench.local_stack import memory, process_tree
from bench.transitions import ReferralRunner
from chassis.ids import new_id
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2
from tests.parts.local_stack import ROOT, SERVICES, LocalStack
from tests.parts.stories import Cast

TIMES = 5
PROCESSES = 2
PEOPLE = (
    "gestion@puentes",
    "trabajadora@puentes",
)  # callers, in addition to two keys of their member
CALLERS = (4, 8, 16)  # numbers of callers in the runs that find the peak
PEAK_SECONDS, SECONDS = 6.0, 20.0
WARM_UP_SECONDS = 3.0  # first seconds of a run, not counted: connections open, and the queue fills
MAX_CALLS = 450  # maximum number of calls under way at once in a process
NORMAL_FACTOR = 1.5  # a step counts as normal up to this multiple of its usual time
PATIENCE = 30.0  # seconds for the stack to be normal again
_SCOPES = (
    contract_pb2.SCOPE_PEOPLE_READ,
    contract_pb2.SCOPE_PEOPLE_OPEN,
    contract_pb2.SCOPE_REFERRALS_READ,
    contract_pb2.SCOPE_REFERRALS_WRITE,
)
TEXT_BY_KIND = {"step": "drafts by gRPC", "read": "reads by gRPC", "rest": "lists by REST"}
KINDS = tuple(TEXT_BY_KIND)


@dataclass
class Run:
    """The calls of all crowds of a run, and what they cost."""

    seconds: float
    outcomes: list[Outcome]
    unmade: int
    client_cpu_s: float
    client_lags: list[float]
    """Delays of the crowds themselves, in milliseconds: part of each time that they measured."""
    stack_cpu_s: dict[str, float]
    memory_mb: dict[str, int]

    @property
    def counted_calls(self) -> list[Outcome]:
        """Returns the calls made after the first WARM_UP_SECONDS."""
        return [call for call in self.outcomes if WARM_UP_SECONDS <= call.time < self.seconds]

    @property
    def goodput(self) -> float:
        """Returns the number of successful calls per second after the first WARM_UP_SECONDS."""
        good = sum(call.result == "OK" for call in self.counted_calls)
        return good / (self.seconds - WARM_UP_SECONDS)

    def milliseconds(self, *, good: bool) -> list[float]:
        """Returns the times of the successful calls (`good`) or of the failed calls; [0.0] if there
        are none.
        """
        return [
            call.milliseconds for call in self.counted_calls if (call.result == "OK") is good
        ] or [0.0]


class Overload:
    """A stack with callers of one member: two API keys and two people."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self._cores = sorted(os.sched_getaffinity(0))
        for pid in process_tree(int(stack.state["pid"])):
            run_on(pid, self._cores[:-1] or self._cores)
        self.runner = ReferralRunner(Cast(stack))
        cast = self.runner.cast
        self._people = [cast.person()[0] for _ in range(40)]
        self._referral_ids = [
            cast.sender.referrals.CreateReferral(cast.draft(person_id)).id
            for person_id in self._people
        ]
        self._credentials = [
            ("api_key", stack.api_key("Puentes")),
            ("api_key", self._key(stack, PEOPLE[0])),
            *(("session_secret", self._session(stack, email)) for email in PEOPLE),
        ]

    @staticmethod
    def _session(stack: LocalStack, email: str) -> str:
        account = stack.account(email)
        request = members_pb2.SignInRequest(email=account["email"], password=account["password"])
        return str(stack.nobody().tokens.SignIn(request, timeout=10).session_secret)

    @staticmethod
    def _key(stack: LocalStack, email: str) -> str:
        request = members_pb2.CreateApiKeyRequest(label="x", scopes=_SCOPES, request_id=new_id())
        return str(stack.worker(email).members.CreateApiKey(request).secret)

    def run(self, kind: str, seconds: float, *, callers: int = 0, rate: float = 0.0) -> Run:
        """Runs one crowd per process; the crowds share the number of callers, or the rate."""
        processes = [self._crowd(kind, seconds, callers, rate, n) for n in range(PROCESSES)]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        peak_memory: Counter[str] = Counter()
        before = cpu_by_part(self.stack)
        with recording_memory(self.stack, peak_memory):
            for process in processes:
                assert process.stdin
                process.stdin.write("\n")
                process.stdin.flush()
            reports = [json.loads(process.communicate()[0]) for process in processes]
        after = cpu_by_part(self.stack)
        return Run(
            seconds,
            [Outcome(*call) for report in reports for call in report["outcomes"]],
            sum(report["unmade"] for report in reports),
            sum(report["cpu_s"] for report in reports),
            [lag for report in reports for lag in report["lags"]],
            {name: after[name] - before[name] for name in after},
            dict(peak_memory),
        )

    def _crowd(
        self, kind: str, seconds: float, callers: int, rate: float, number: int
    ) -> subprocess.Popen[str]:
        task = Task(
            kind,
            seconds,
            callers // PROCESSES + (number < callers % PROCESSES),
            rate / PROCESSES,
            self.stack.address("referrals"),
            self.stack.address("partners"),
            self.stack.gateway,
            self.runner.cast.service_id,
            self._credentials,
            self._people,
            self._referral_ids,
            MAX_CALLS,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.crowd"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        run_on(process.pid, self._cores[-1:])
        assert process.stdin
        process.stdin.write(as_line(task))
        process.stdin.flush()
        return process

    def usual_ms(self) -> float:
        """Returns the median time of a single caller's step, in milliseconds."""
        self.runner.run_one()
        self.runner.milliseconds.clear()
        for _ in range(8):
            self.runner.run_one()
        return median(self.runner.milliseconds)

    def normal_after(self, usual_ms: float) -> float:
        """Returns the seconds until a single caller's steps take about as long as usual; PATIENCE
        if they do not within that time.
        """
        begin = time.monotonic()
        while time.monotonic() < begin + PATIENCE:
            self.runner.milliseconds.clear()
            seconds = time.monotonic() - begin
            self.runner.run_one()
            if median(self.runner.milliseconds) <= NORMAL_FACTOR * usual_ms:
                return seconds
        return PATIENCE


def run_on(pid: int, cores: Sequence[int]) -> None:
    """Restricts all threads of a process, and what they start from now on, to some processors."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def cpu_by_part(stack: LocalStack) -> dict[str, float]:
    """Returns the seconds of processor time of each part so far."""
    by_pid = cpu_seconds(stack)
    return {
        name: sum(by_pid.get(pid, 0.0) for pid in process_tree(part["pid"]))
        for name, part in stack.state["parts"].items()
    }


@contextmanager
def recording_memory(stack: LocalStack, peak: Counter[str]) -> Iterator[None]:
    """Records the largest memory of each service (MB, resident) while the block runs."""
    ended = threading.Event()
    pids = {name: stack.pid(name) or 0 for name in (*SERVICES, "gateway")}

    def record() -> None:
        while not ended.wait(0.5):
            for name, pid in pids.items():
                peak[name] = max(peak[name], memory(pid, "Rss:") // 1024)

    thread = threading.Thread(target=record)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass
class Behaviour:
    """The behaviour of a stack under too many calls: its peak, and the run above it."""

    kind: str
    peak: float
    run: Run
    normal_after_s: float

    @property
    def lost_percent(self) -> float:
        """Returns how far the goodput is below the peak, in percent; 0 if it is not below."""
        return max(0.0, 100 * (1 - self.run.goodput / self.peak))

    def text(self) -> str:
        """Returns the conditions of the measurement."""
        run, counts = self.run, Counter(call.result for call in self.run.counted_calls)
        results = ", ".join(
            f"{result} {count / len(run.counted_calls):.0%}"
            for result, count in counts.most_common()
        )
        parts = ", ".join(
            f"{name} {cpu / run.seconds:.2f}" for name, cpu in run.stack_cpu_s.items()
        )
        return (
            f"{TEXT_BY_KIND[self.kind]},"
            f" {len(run.counted_calls) / (run.seconds - WARM_UP_SECONDS):.0f} calls a second"
            f" ({TIMES} times the peak wanted, {run.unmade} not made) by {PROCESSES} processes that"
            f" take {run.client_cpu_s / run.seconds:.2f} cores: {results}; answers took"
            f" {percentile(run.milliseconds(good=True), 50):.0f} ms (p50); cores: {parts}"
        )


def measure_kind(overload: Overload, kind: str) -> Behaviour:
    """Finds the peak rate of a kind of call, then calls at five times that rate."""
    usual_ms = overload.usual_ms()
    peak = max(overload.run(kind, PEAK_SECONDS, callers=count).goodput for count in CALLERS)
    run = overload.run(kind, SECONDS, rate=TIMES * peak)
    return Behaviour(kind, peak, run, overload.normal_after(usual_ms))


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures drafts and reads by gRPC, and lists by REST."""
    overload = Overload(stack)
    behaviours = [measure_kind(overload, kind) for kind in KINDS]
    measurements = []
    for behaviour in behaviours:
        measurements += [
            Measurement(
                f"overload_{behaviour.kind}_lost_percent",
                behaviour.lost_percent,
                f"{behaviour.text()}; beside: answers a second at the peak, by {CALLERS} callers",
                behaviour.peak,
            ),
            Measurement(
                f"overload_{behaviour.kind}_refused_ms_p90",
                percentile(behaviour.run.milliseconds(good=False), 90),
                "as the callers saw it; beside: how late the callers were themselves (p90)",
                percentile(behaviour.run.client_lags, 90),
            ),
        ]
    memory_mb = Counter[str]()
    for behaviour in behaviours:
        memory_mb |= Counter(behaviour.run.memory_mb)
    return [
        *measurements,
        Measurement(
            "overload_memory_mb",
            max(memory_mb.values()),
            "resident size of the largest service meanwhile: "
            + ", ".join(f"{name} {mb}" for name, mb in memory_mb.items()),
        ),
        Measurement(
            "overload_normal_s",
            max(behaviour.normal_after_s for behaviour in behaviours),
            f"until a life of nine steps has a median of {NORMAL_FACTOR:g} times the usual at most",
        ),
    ]

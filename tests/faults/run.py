"""One fault run: load, faults, a wait until the stack is at rest, and the data for the checker."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.faults import checker
from tests.faults.checker import RunData
from tests.faults.injector import FaultInjector
from tests.faults.observer import Observer, samples
from tests.faults.schedule import PAUSE, schedule
from tests.faults.work import OK, Work
from tests.parts import topics
from tests.parts.local_stack import SERVICES, LocalStack
from tests.parts.stories import Cast

# maximum seconds after the last fault in which the number of remaining problems reaches no new
# minimum; longer than any pause of a loop
STALL = 120.0
# maximum seconds for the transitions that are still missing when all faults are done; there are
# thousands of them if the list of faults is short
LONGEST = 900.0
# options with which the stack restarts a part at once, however often the part is killed
CALM = ("--calm", "0")


@dataclass(frozen=True)
class Run:
    """The counts of a run, and the data that it left."""

    run_data: RunData
    faults: Counter[tuple[str, str]]
    kills: int
    kills_in_flight: int
    kills_that_cut: int
    repeated: Counter[str]
    rebalances: Counter[str]
    seconds: float
    rest_seconds: float

    @property
    def transitions(self) -> int:
        return sum(o.outcome == OK for o in self.run_data.operations)

    def report(self) -> str:
        """Returns all counts, one on each line."""
        lost, double = checker.lost_and_double(self.run_data)
        kinds: Counter[str] = Counter()
        for (kind, _), count in self.faults.items():
            kinds[kind] += count
        outcomes = Counter(call.outcome for call in self.run_data.calls)
        lines = {
            "transitions": self.transitions,
            "of unknown outcome": sum(o.outcome != OK for o in self.run_data.operations),
            "calls by outcome": ", ".join(
                f"{name} {count}" for name, count in outcomes.most_common()
            ),
            "faults": f"{self.faults.total()}: "
            + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
            "by part": ", ".join(
                f"{kind} {part} {count}" for (kind, part), count in sorted(self.faults.items())
            ),
            "kills with a call in flight": (
                f"{self.kills_in_flight} of {self.kills}; a call was cut off by"
                f" {self.kills_that_cut}"
            ),
            "pauses": kinds[PAUSE],
            "duplicates seen": f"at least {self.repeated.total()}: "
            + ", ".join(f"{name} {n}" for name, n in sorted(self.repeated.items())),
            "rebalances seen": f"at least {self.rebalances.total()}: "
            + ", ".join(f"{name} {n}" for name, n in sorted(self.rebalances.items())),
            "seconds": f"{self.seconds:.0f}, and {self.rest_seconds:.0f} until all was published",
            "lost": lost,
            "double": double,
            "violations": checker.violations(self.run_data) or "none",
        }
        return "\n".join(f"{name:<28} {value}" for name, value in lines.items())


@contextmanager
def fault_run(
    stack: LocalStack, cast: Cast, *, transitions: int, faults: int, seed: int
) -> Iterator[Run]:
    """Runs load and faults, and yields the run once the stack is at rest.

    Fails if a client got an unexpected refusal; all other violations are left to the checker.
    """
    people = [cast.person() for _ in range(16)]
    since, began = checker.run_start(), time.monotonic()
    work, observer = Work(stack, cast, people), Observer(stack)
    injector = FaultInjector(stack, work, observer, seed)
    observer.begin()
    work.begin()
    injector.run(schedule(faults, seed), transitions // faults)
    assert work.wait_for(transitions, LONGEST), (
        f"{work.answered_count} of {transitions}; {work.refusals[:5]}"
    )
    work.end()
    seconds = time.monotonic() - began
    assert not work.refusals, work.refusals[:5]
    with ExitStack() as open_stack:
        partners, referrals, notifications = (
            open_stack.enter_context(stack.database(name)) for name in SERVICES
        )
        run_data = RunData(
            partners, referrals, notifications, work.operations, [], since, work.calls
        )
        checks: list[Callable[[RunData], list[str]]] = [
            checker.nothing_is_waiting,
            checker.every_fact_was_applied,
            checker.every_epoch_was_adopted,
            lambda run_data: checker.every_loop_is_well(
                replace(run_data, health_reports=read_health_reports(stack))
            ),
        ]
        wait_for_rest(lambda: [problem for check in checks for problem in check(run_data)])
        observer.end()
        run_data = replace(
            run_data,
            topics_time=datetime.now(UTC),
            topics=topics.records(stack.state["kafka"]),
            health_reports=read_health_reports(stack),
        )
        counts = Counter(
            (injected.fault.kind, injected.fault.part) for injected in injector.history
        )
        rest_seconds = time.monotonic() - began - seconds
        yield Run(
            run_data,
            counts,
            *injector.kill_counts(work.calls),
            observer.repeated,
            observer.rebalances,
            seconds,
            rest_seconds,
        )


def wait_for_rest(problems: Callable[[], list[str]]) -> None:
    """Waits until no problem is left; fails if their number stops shrinking.

    Tens of thousands of waiting facts take a while.
    """
    fewest, since = math.inf, time.monotonic()
    while remaining := problems():
        if len(remaining) < fewest:
            fewest, since = len(remaining), time.monotonic()
        assert time.monotonic() - since < STALL, (
            f"{len(remaining)} problems left, no new low for {STALL:g} s: {remaining[:5]}"
        )
        print(f"{len(remaining)} left", file=sys.stderr)
        time.sleep(1)


def missing_effects(run: Run) -> list[str]:
    """Returns the reasons why a run proves nothing; empty if its faults had an effect."""
    relay = run.run_data.partners.execute("SELECT epoch FROM relay").fetchone()
    conditions = {
        "kills hit nothing": run.kills_in_flight >= 0.8 * run.kills,
        "no call was cut off": run.kills_that_cut > 0,
        "no fact was received twice": run.repeated.total() > 0,
        "no consumer group rebalanced": run.rebalances.total() > 0,
        "the restore started no epoch": bool(relay and relay["epoch"]),
    }
    return [problem for problem, is_met in conditions.items() if not is_met]


def read_health_reports(stack: LocalStack) -> dict[str, bool]:
    """Returns by name whether services and loops are well, as their health and metrics report."""
    health: dict[str, bool] = {}
    for service in SERVICES:
        loops = [
            sample for sample in samples(stack, service, 5) if sample.name == "enlace_loop_well"
        ]
        health |= {
            f"{service} metric/{sample.labels['loop']}": sample.value == 1 for sample in loops
        }
        names = {"live": "live", "ready": "", "broker": "broker"} | {
            f"health/{s.labels['loop']}": f"loop/{s.labels['loop']}" for s in loops
        }
        health |= {
            f"{service} {name}": _serves(stack.channel(service), health_name)
            for name, health_name in names.items()
        }
    return health


def _serves(channel: grpc.Channel, health_name: str) -> bool:
    try:
        answer = HealthStub(channel).Check(HealthCheckRequest(service=health_name), timeout=2)  # type: ignore[attr-defined]
    except grpc.RpcError:
        return False
    return bool(answer.status == HealthCheckResponse.SERVING)

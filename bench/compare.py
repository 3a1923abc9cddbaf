"""`python -m bench compare REV [PART]`: the figures of two commits, measured alternately on one
machine.

A clone of this repository at REV and a clone at HEAD get a stack each, which is filled once. In
each round, one stack after the other starts from a copy of its filled state. Both stacks are
measured with the same code, that of the working tree. Each part first waits until no fact waits to
be published or applied, and the processors are at rest. A part fails rather than print a figure of
a busy machine.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
import requests

from bench import facts
from bench.figures import percentile, short
from bench.live import cores_used
from bench.pages import sign_in
from bench.quiet import MACHINE_AT_REST, wait_for_machine, wait_for_silence
from bench.transitions import ReferralRunner
from protos.partners.v1 import directory_pb2
from tests.parts.local_stack import ROOT, LocalStack
from tests.parts.stories import Cast

WARM_UP, MEASURED, ROUNDS = 5, 200, 5  # calls, calls, rounds
IDLE_SECONDS = 20.0

Figures = dict[str, list[float]]
"""The value of each round, by the name of the figure."""


def transition(stack: LocalStack) -> dict[str, float]:
    """Measures the transitions of referrals, one after another."""
    runner = ReferralRunner(Cast(stack))
    for _ in range(WARM_UP):
        runner.run_one()
    runner.milliseconds.clear()
    while len(runner.milliseconds) < MEASURED:
        runner.run_one()
    return _percentiles("transition", runner.milliseconds)


def webhook(stack: LocalStack) -> dict[str, float]:
    """Measures the time from a commit to a webhook."""
    return {figure.name: figure.value for figure in facts.measure_webhook(stack)}


def search(stack: LocalStack) -> dict[str, float]:
    """Measures searches of the demo network's directory."""
    directory = stack.client("Puentes").directory
    words = ("", "albergue", "psicologia", "casa segura", "documentos")
    searches = [directory_pb2.SearchServicesRequest(words=word) for word in words]
    return _percentiles(
        "search", _measure_times(lambda n: directory.SearchServices(searches[n % len(searches)]))
    )


def page(stack: LocalStack) -> dict[str, float]:
    """Measures the Today page."""
    with requests.Session() as session:
        sign_in(session, stack, "albergue@lunanueva")
        return _percentiles(
            "page",
            _measure_times(lambda _: session.get(f"{stack.gateway}/today").raise_for_status()),
        )


def idle(stack: LocalStack) -> dict[str, float]:
    """Measures the share of a core that all processes take while nothing happens."""
    return {"idle_core_percent": 100 * cores_used(stack, IDLE_SECONDS)[0]}


PARTS = {part.__name__: part for part in (transition, webhook, search, page, idle)}


def _measure_times(act: Callable[[int], object]) -> list[float]:
    """Returns the milliseconds that each call took after the warm-up."""
    milliseconds = []
    for number in range(WARM_UP + MEASURED):
        begin = time.perf_counter()
        act(number)
        milliseconds.append((time.perf_counter() - begin) * 1000)
    return milliseconds[WARM_UP:]


def _percentiles(name: str, milliseconds: list[float]) -> dict[str, float]:
    return {
        f"{name}_ms_p50": percentile(milliseconds, 50),
        f"{name}_ms_p99": percentile(milliseconds, 99),
    }


class Side:
    """A commit with its stack."""

    def __init__(self, revision: str, folder: Path) -> None:
        """Clones the commit. The first `measure` fills its stack with the demo network."""
        self.name = _git("rev-parse", "--short", revision)
        self._code, self._filled_folder = folder / "code", folder / "filled"
        _git("clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(self._code))
        _git("-C", str(self._code), "checkout", "--quiet", "--detach", _git("rev-parse", revision))
        self.figures: Figures = {}

    def measure(self, parts: list[str], at_rest: float) -> None:
        """Starts the stack, and measures the parts once."""
        stack = LocalStack(root=self._code, template=self._filled_folder)
        try:
            stack.start()
            for part in parts:
                wait_for_silence(stack)
                wait_for_machine(at_rest)
                for name, value in PARTS[part](stack).items():
                    self.figures.setdefault(name, []).append(value)
        finally:
            stack.stop()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def table(names: Sequence[str], before: Figures, now: Figures) -> str:
    """Returns a text table: for each figure, the medians of both sides, their ratio, and the
    extreme values of both sides.
    """
    rows = [("figure", *names, "ratio", *(f"{name} from…to" for name in names))]
    for name, values in before.items():
        now_values = now[name]
        medians = median(values), median(now_values)
        rows.append(
            (
                name,
                *map(short, medians),
                short(medians[1] / medians[0] if medians[0] else None),
                *(f"{short(min(side))}…{short(max(side))}" for side in (values, now_values)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@click.command(
    name="python -m bench compare",
    help=f"Measure two commits. PART is one of {', '.join(PARTS)}; all if none is named.",
)
@click.argument("revision", metavar="REV")
@click.argument("part", type=click.Choice(list(PARTS)), required=False)
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(1))
@click.option(
    "--at-rest",
    default=MACHINE_AT_REST,
    show_default=True,
    help="Highest percentage of processor time that may be in use when a part starts.",
)
def main(revision: str, part: str | None, rounds: int, at_rest: float) -> None:
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="enlace-compare-")))
        folder.chmod(0o711)  # PostgreSQL, which does not run as root, enters it
        sides = []
        for name, commit in (("before", revision), ("now", "HEAD")):
            (folder / name).mkdir(mode=0o711)
            sides.append(Side(commit, folder / name))
        for number in range(rounds):
            # the side that is second in one round is first in the next round
            for side in sides if number % 2 == 0 else reversed(sides):
                click.echo(f"round {number + 1} of {rounds}: {side.name} …", err=True)
                side.measure([part] if part else list(PARTS), at_rest)
        before, now = sides
        click.echo(table((before.name, now.name), before.figures, now.figures))

"""The long fault run: `make soak`.

Prints the faults and counts. Exits with 1 if anything is lost, doubled or otherwise wrong, or if
the faults had no effect.
"""

from __future__ import annotations

import sys

import click

from tests.faults import canary, checker
from tests.faults.backlog import problems_of_a_backlog
from tests.faults.run import CALM, fault_run, missing_effects
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast


@click.command(help="Break each part of a stack under load, and check the data that are left.")
@click.option("--transitions", default=20_000, show_default=True)
@click.option("--faults", default=600, show_default=True)
@click.option(
    "--backlog",
    default=30_000,
    show_default=True,
    help="Facts that wait for the paused consumer at the end, when the broker is paused, too.",
)
@click.option("--seed", default=1, show_default=True)
def main(transitions: int, faults: int, backlog: int, seed: int) -> None:
    stack = LocalStack(options=CALM)
    try:
        stack.start()
        with fault_run(
            stack, Cast(stack), transitions=transitions, faults=faults, seed=seed
        ) as run:
            click.echo(run.report())
            problems = [
                *missing_effects(run),
                *checker.violations(run.run_data),
                *canary.left_in(stack),
                *problems_of_a_backlog(stack, backlog),
            ]
    finally:
        stack.stop()
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

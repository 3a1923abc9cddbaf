"""Every part of the stack is killed and paused while partner systems work.

An answered transition stays, an unanswered one takes effect once or never, and every recipient is
notified once. There are 2,000 transitions and 200 faults, which follow from a seed (schedule.py);
`make soak` does more. A run whose faults had no effect fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults import canary, checker
from tests.faults.checker import RunData
from tests.faults.planted import PLANTED
from tests.faults.run import CALM, Run, fault_run, missing_effects
from tests.faults.schedule import MIX, schedule
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast

TRANSITIONS, FAULTS, SEED = 2_000, 200, 20_061
pytestmark = [pytest.mark.timeout(900), pytest.mark.alone, pytest.mark.long]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """The fault run, and the data that it left once everything has come to rest."""
    stack = LocalStack(options=CALM)
    try:
        stack.start()
        with fault_run(
            stack, Cast(stack), transitions=TRANSITIONS, faults=FAULTS, seed=SEED
        ) as finished:
            print(finished.report())
            yield finished
        assert canary.left_in(stack) == [], "texts about a person exist only sealed"
    finally:
        stack.stop()


def test_the_faults_had_an_effect(run: Run) -> None:
    assert missing_effects(run) == []
    assert run.transitions >= TRANSITIONS
    assert run.faults.total() == FAULTS
    assert {part for _, part in run.faults} == {part for _, part in MIX}


@pytest.mark.parametrize("check", checker.CHECKS, ids=lambda check: check.__name__)
def test_after_all_faults_the_invariant_holds(
    run: Run, check: Callable[[RunData], list[str]]
) -> None:
    assert check(run.run_data) == []


@pytest.mark.parametrize("bug", PLANTED)
def test_the_checker_finds_the_planted_bug(run: Run, bug: str) -> None:
    planted = PLANTED[bug]
    with planted.planted_in(run.run_data) as run_data:
        assert planted.found_by(run_data) != []


def test_every_invariant_has_a_planted_bug_that_it_finds() -> None:
    assert {planted.found_by for planted in PLANTED.values()} == set(checker.CHECKS)


def test_the_same_seed_makes_the_same_faults() -> None:
    assert schedule(FAULTS, SEED) == schedule(FAULTS, SEED) != schedule(FAULTS, SEED + 1)

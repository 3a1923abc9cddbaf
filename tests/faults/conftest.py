"""The fixtures that fault tests share, including a stack that they may break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults import canary
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast


@pytest.fixture(scope="package")
def faulty_stack() -> Iterator[LocalStack]:
    """A stack with its demo network; each test that breaks it leaves it repaired.

    At the end the stack may contain texts about a person only in sealed form.
    """
    stack = LocalStack()
    try:
        yield stack.start()
        assert canary.left_in(stack) == []
    finally:
        stack.stop()


@pytest.fixture(scope="package")
def cast(faulty_stack: LocalStack) -> Cast:
    """The members who act in the stack."""
    return Cast(faulty_stack)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """A stack of callbacks that undo a test's changes whatever happens."""
    with ExitStack() as stack:
        yield stack

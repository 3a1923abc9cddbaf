"""What fault tests share: a stack of their own, which they may break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults import canary
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast


@pytest.fixture(scope="package")
def victim() -> Iterator[LocalStack]:
    """A stack with its demo network that is killed at will, and well again after each test; at its
    end no word of a person is anywhere but sealed.
    """
    stack = LocalStack()
    try:
        yield stack.start()
        assert canary.left_in(stack) == []
    finally:
        stack.stop()


@pytest.fixture(scope="package")
def cast(victim: LocalStack) -> Cast:
    """Those who act in it."""
    return Cast(victim)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """For what must be undone whatever happens."""
    with ExitStack() as opened:
        yield opened

"""Background loops: they continue whatever a turn does, and a loop that stops is reported."""

import threading
import time

from chassis import metrics
from chassis.errors import Conflict, Unavailable
from chassis.supervisor import Loop, State
from tests.parts.local_stack import until


def test_a_loop_turns_until_it_is_stopped() -> None:
    turns: list[int] = []

    def work(loop: Loop) -> None:
        while loop.turn():
            turns.append(1)
            loop.wait(0.01)

    loop = Loop("test", work)
    loop.start()
    until(lambda: len(turns) > 3)
    assert loop.state is State.RUNNING
    loop.stop()
    assert loop.join(5)


def test_a_fault_in_a_turn_is_reported_and_the_work_starts_again() -> None:
    faulty = threading.Event()
    faulty.set()

    def work(loop: Loop) -> None:
        while loop.turn():
            if faulty.is_set():
                raise ValueError("a row that can't be read")
            loop.wait(0.01)

    loop = Loop("test", work)
    loop.start()
    until(lambda: loop.state is State.FAILING)
    faulty.clear()
    until(lambda: loop.state is State.RUNNING)
    loop.stop()
    assert loop.join(5)


def test_an_unavailable_part_is_waited_for_and_is_no_failure() -> None:
    away = threading.Event()
    away.set()

    def work(loop: Loop) -> None:
        while loop.turn():
            if away.is_set():
                raise Unavailable("store_unavailable")
            loop.wait(0.01)

    loop = Loop("test", work)
    loop.start()
    until(lambda: loop.state is State.WAITING)
    away.clear()
    until(lambda: loop.state is State.RUNNING)
    loop.stop()
    assert loop.join(5)


def test_a_refusal_that_every_retry_would_get_again_is_a_failure() -> None:
    def work(loop: Loop) -> None:
        raise Conflict("illegal_transition")

    loop = Loop("test", work)
    loop.start()
    until(lambda: loop.state is State.FAILING)
    loop.stop()
    assert loop.join(5)


def test_a_turn_that_hangs_is_reported_after_the_limit_and_a_long_wait_is_not() -> None:
    released = threading.Event()

    def hang(loop: Loop) -> None:
        while loop.turn():
            released.wait(30)

    def rest(loop: Loop) -> None:
        while loop.turn():
            loop.wait(600)

    hanging, resting = Loop("hanging", hang, limit=0.2), Loop("resting", rest, limit=0.2)
    hanging.start()
    resting.start()
    until(lambda: hanging.state is State.STUCK)
    assert resting.state is State.RUNNING
    released.set()
    for loop in (hanging, resting):
        loop.stop()
        assert loop.join(5)


def test_a_dead_thread_is_reported_and_can_be_started_again() -> None:
    turns: list[int] = []

    class Dying(Loop):
        def _run(self) -> None:
            if turns:
                super()._run()
            turns.append(1)

    def work(loop: Loop) -> None:
        while loop.turn():
            loop.wait(0.01)

    loop = Dying("test", work)
    loop.start()
    until(lambda: loop.state is State.DEAD)
    loop.start()
    until(lambda: loop.state is State.RUNNING)
    loop.stop()
    assert loop.join(5)


def test_a_loop_that_keeps_failing_can_be_stopped_at_once() -> None:
    def work(loop: Loop) -> None:
        raise OSError("away")

    loop = Loop("test", work, waits_for=(OSError,))
    loop.start()
    until(lambda: loop.state is State.WAITING)
    time.sleep(1)  # by now its pause is some seconds long
    started = time.monotonic()
    loop.stop()
    assert loop.join(5)
    assert time.monotonic() - started < 2


def test_work_that_asks_the_whole_process_to_exit_is_a_fault_like_any_other() -> None:
    starts: list[int] = []

    def work(loop: Loop) -> None:
        starts.append(1)
        if len(starts) < 3:
            raise SystemExit
        while loop.turn():
            loop.wait(0.01)

    loop = Loop("exiting", work)
    loop.start()
    until(lambda: loop.state is State.FAILING)
    until(lambda: loop.state is State.RUNNING)
    assert metrics.LOOP_FAILURES.labels("exiting")._value.get() == 2
    loop.stop()
    assert loop.join(5)

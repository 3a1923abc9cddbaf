"""Background loops: they continue whatever a turn does, and a loop that stops is reported."""

import json
import threading
import time

import pytest

from chassis import log, metrics
from chassis.errors import Conflict, Unavailable
from chassis.supervisor import Loop, State
from tests.parts.local_stack import until
from tests.parts.loops import running, turn_until_stopped


def test_a_loop_turns_until_it_is_stopped() -> None:
    turns: list[int] = []

    def work(loop: Loop) -> None:
        while loop.turn():
            turns.append(1)
            loop.wait(0.01)

    loop = Loop("test", work)
    with running(loop):
        until(lambda: len(turns) > 3)
        assert loop.state is State.RUNNING


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(ValueError("a row that can't be read"), State.FAILING, id="a fault"),
        pytest.param(Unavailable("store_unavailable"), State.WAITING, id="an unavailable part"),
        pytest.param(Conflict("illegal_transition"), State.FAILING, id="a permanent refusal"),
    ],
)
def test_an_error_in_a_turn_is_reported_and_the_work_starts_again(
    error: Exception, state: State
) -> None:
    ended = threading.Event()

    def work(loop: Loop) -> None:
        while loop.turn():
            if not ended.is_set():
                raise error
            loop.wait(0.01)

    loop = Loop("test", work)
    with running(loop):
        until(lambda: loop.state is state)
        ended.set()
        until(lambda: loop.state is State.RUNNING)


def test_a_turn_that_hangs_is_reported_after_the_limit_and_a_long_wait_is_not() -> None:
    released = threading.Event()

    def hang(loop: Loop) -> None:
        while loop.turn():
            released.wait(30)

    def rest(loop: Loop) -> None:
        while loop.turn():
            loop.wait(600)

    hanging, resting = Loop("hanging", hang, limit=0.2), Loop("resting", rest, limit=0.2)
    with running(hanging, resting):
        until(lambda: hanging.state is State.STUCK)
        assert resting.state is State.RUNNING
        released.set()


def test_a_dead_thread_is_reported_and_can_be_started_again() -> None:
    starts: list[int] = []

    class Dying(Loop):
        def _run(self) -> None:
            if starts:
                super()._run()
            starts.append(1)

    loop = Dying("test", turn_until_stopped)
    with running(loop):
        until(lambda: loop.state is State.DEAD)
        loop.start()
        until(lambda: loop.state is State.RUNNING)


def test_a_loop_that_keeps_failing_can_be_stopped_at_once() -> None:
    def work(loop: Loop) -> None:
        raise OSError("away")

    loop = Loop("test", work, waits_for=(OSError,))
    with running(loop):
        until(lambda: loop.state is State.WAITING)
        time.sleep(1)  # by now its pause is some seconds long
        loop.stop()
        assert loop.join(2)


def test_the_log_names_the_cause_of_a_wait(capsys: pytest.CaptureFixture[str]) -> None:
    def work(loop: Loop) -> None:
        raise OSError("away") from TimeoutError()

    log.setup("tests")
    with running(loop := Loop("test", work, waits_for=(OSError,))):
        until(lambda: loop.state is State.WAITING)
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (line["event"], line["error"], line["reason"]) == (
        "loop_waits",
        "OSError",
        "TimeoutError",
    )


def test_work_that_asks_the_whole_process_to_exit_is_a_fault_like_any_other() -> None:
    starts: list[int] = []

    def work(loop: Loop) -> None:
        starts.append(1)
        if len(starts) < 3:
            raise SystemExit
        turn_until_stopped(loop)

    loop = Loop("exiting", work)
    with running(loop):
        until(lambda: loop.state is State.FAILING)
        until(lambda: loop.state is State.RUNNING)
    assert metrics.LOOP_FAILURES.labels("exiting")._value.get() == 2

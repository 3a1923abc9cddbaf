"""Runs a service process: starts without waiting for database and broker, watches its loops, and
ends within ten seconds of SIGTERM or Ctrl-C.

The main thread makes no call to a database or a broker, so it always handles a signal at once. It
reads the state of the database and the broker from the loops that watch them.
"""

import faulthandler
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

from chassis import log, metrics, threads
from chassis.config import listening
from chassis.db import Database
from chassis.server import Server
from chassis.supervisor import WELL, Loop, State
from facts.broker import Broker

# Times in seconds after the signal, within the ten seconds that are guaranteed.
#
# Until this time the server keeps answering, while clients that watch its health turn to other
# servers, so that calls that are on their way are not refused.
_FAREWELL = 1.0
# Until this time running calls may end by themselves; then their database connections are cut, and
# they return UNAVAILABLE.
_DRAIN = 4.0
_CUT = 1.0  # seconds after the cut in which these responses are sent
_LOOPS = 8.0  # until this time loops may end by themselves
_FORCE = 9.0  # at this time the process ends, whatever its threads are doing
_MISCONFIGURED = 78  # sysexits.h: EX_CONFIG
# Thresholds of the cyclic garbage collector. A call allocates ten thousand objects that reference
# counting frees. With Python's default of 700, a search among 100,000 services took 10.2 ms at p99;
# with these thresholds it took 7.9 ms (bench search, two runs of each, alternately).
_GC_THRESHOLDS = 20_000, 20, 50
_CHECK_EVERY = 0.2  # seconds between two checks of the database
_CHECKS_PER_REPORT = 5  # checks of the database for each report about the loops


def run(
    server: Server,
    database: Database,
    broker: Broker,
    loops: Sequence[Loop],
    *,
    problem: Callable[[], str] = lambda: "",
    usable: Callable[[], bool] = lambda: True,
    metrics_address: str = "",
) -> int:
    """Runs until a signal arrives or there is a `problem`; returns the exit code.

    The process waits for an unavailable database or broker, and the health service reports that.
    `problem` returns the reason why the process can't run at all, once that is known; the process
    then ends with exit code 78. `usable` returns True if the process can answer, provided that its
    database responds.
    """
    gc.set_threshold(*_GC_THRESHOLDS)
    threads.shorten_turns()
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    all_loops = [database.probe.loop, broker.loop, *loops]
    database.fit(server.threads, sum(loop.workers for loop in all_loops))
    with listening("ENLACE_METRICS_LISTEN"):
        metrics.serve(metrics_address)
    metrics.DATABASE_AGE.set_function(lambda: database.probe.age)
    for loop in all_loops:
        metrics.publish_loop_state(
            loop.name,
            lambda loop=loop: loop.age,  # type: ignore[misc]
            lambda loop=loop: loop.state in WELL,  # type: ignore[misc]
        )
    database.open()
    for loop in all_loops:
        loop.start()
    server.start()
    log.get().info("started", port=server.port)
    reporter = HealthReporter(server, database, broker, all_loops, usable)
    check_count = 0
    while not ending.wait(_CHECK_EVERY) and not problem():
        if check_count % _CHECKS_PER_REPORT:
            reporter.report_readiness()
        else:
            reporter.report_once()
        check_count += 1
    reason = problem()
    if reason:
        log.get().error("refuses_to_run", reason=reason)
    _stop(server, database, all_loops)
    # Without this, Python searches all objects for cycles at exit: 0.6 s of processor time, more
    # with a large directory.
    gc.freeze()
    return _MISCONFIGURED if reason else 0


class HealthReporter:
    """Reports the state of the loops, the database and the broker to the health service, and
    restarts dead loops.
    """

    def __init__(
        self,
        server: Server,
        database: Database,
        broker: Broker | None,
        loops: Sequence[Loop],
        usable: Callable[[], bool] = lambda: True,
    ) -> None:
        self._server = server
        self._database = database
        self._broker = broker
        self._loops = loops
        self._usable = usable
        self._ready = False
        self._stuck: set[str] = set()

    def report_once(self) -> None:
        """Reports all states once, and restarts dead loops."""
        states = dict[str, State]()
        for loop in self._loops:
            states[loop.name] = loop.state
            self._server.set_status(f"loop/{loop.name}", states[loop.name] in WELL)
            if states[loop.name] is State.DEAD:
                loop.start()
        stuck = {name for name, state in states.items() if state is State.STUCK}
        for name in stuck - self._stuck:
            log.get().error("loop_stuck", loop=name)
        self._stuck = stuck
        self._server.set_status("live", not stuck)
        self._server.set_status("broker", self._broker is not None and self._broker.usable)
        self.report_readiness()

    def report_readiness(self) -> None:
        """Reports whether the process is ready, if that has changed."""
        if (self._database.answers and self._usable()) != self._ready:
            self._ready = not self._ready
            self._server.set_ready(self._ready)
            log.get().info("ready" if self._ready else "not_ready")


def _stop(server: Server, database: Database, loops: Sequence[Loop]) -> None:
    began = time.monotonic()
    _start_force_timers(loops)
    log.get().info("stopping")
    for loop in loops:
        loop.stop()
    if server.announce_stop() and database.answers:
        time.sleep(_FAREWELL)
    drained = server.stop(_DRAIN - _FAREWELL + _CUT)
    drained.wait(_DRAIN - _FAREWELL if database.answers else 0.0)
    _join(loops, began + (_DRAIN if database.answers else 0.0))
    # Ends the exchanges with the database: calls then have a moment to return a refusal, and loops
    # that wait for a hanging database can end.
    database.cut()
    drained.wait(_CUT + 0.5)
    _join(loops, began + _LOOPS)
    database.close()
    still_running = _running(loops)
    if still_running:
        log.get().warning("left_behind", loops=still_running)
    log.get().info("stopped", duration_ms=round((time.monotonic() - began) * 1000))


def _join(loops: Sequence[Loop], end: float) -> None:
    for loop in loops:
        loop.join(max(0.0, end - time.monotonic()))


def _start_force_timers(loops: Sequence[Loop]) -> None:
    """Starts two timers that end the process by force if it does not end by itself."""
    force = threading.Timer(_FORCE, _force, (loops,))
    force.daemon = True
    force.start()
    # A second timer needs neither the interpreter lock nor a writable standard output: it dumps the
    # stack of each thread, and ends the process.
    faulthandler.dump_traceback_later(_FORCE + 0.5, exit=True)


def _force(loops: Sequence[Loop]) -> None:
    """Ends the process at once, even if a thread hangs in a library."""
    log.get().error("stopped_by_force", loops=_running(loops))
    os._exit(1)


def _running(loops: Sequence[Loop]) -> list[str]:
    return [loop.name for loop in loops if not loop.join(0)]

"""The load of a fault run: threads that take referrals from draft to closed.

The threads retry with the same request_id, and record the answers. Two stories in three use gRPC,
the third uses the gateway's REST; meanwhile a member sets its capacity again and again, so that
partners has facts to publish. An outcome is unknown if no answer came (the process died, or the
deadline passed). Most such calls are repeated; one story in five gives up instead, so that the
checker also has transitions of unknown outcome.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.faults.ways import ByGrpc, ByRest, NoAnswer, Way
from tests.parts.local_stack import Client, LocalStack
from tests.parts.stories import STEPS, Cast

OK, UNKNOWN = "ok", "unknown"
# maximum seconds for one transition with its retries; longer than any series of faults of the parts
# that it needs, on a busy machine
PATIENCE = 300.0
# seconds between two tries, which must not take the processor from a part that is restarting
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 0.8
# seconds before each transition, so that eight threads make about forty transitions a second, whose
# facts notifications can apply in the same time
THINK_SECONDS = 0.15
CAPACITY_PAUSE = 0.2  # seconds between two changes of the capacity


@dataclass
class Operation:
    """One transition as its caller knows it.

    `version` is the version in the answer, or 0 if there was no answer.
    """

    request_id: str
    caller_id: str
    fact: str
    referral_id: str
    outcome: str
    version: int = 0
    calls: int = 1


@dataclass
class Call:
    """One call to a server; its times are from the monotonic clock.

    `ended` is None until the call returns or its deadline passes.
    """

    way: str
    began: float
    deadline: float
    ended: float | None = None
    outcome: str = ""

    def under_way(self, moment: float) -> bool:
        """Returns whether the call had started and not ended at the moment."""
        return self.began < moment and (self.ended is None or moment < self.ended)


class GaveUp(Exception):
    """Ends a story whose last operation has an unknown outcome."""


class Work:
    """The load: `begin`, then break parts, then `end`.

    `operations`, `calls` and `refusals` hold the results.
    """

    def __init__(
        self, stack: LocalStack, cast: Cast, people: list[tuple[str, str]], threads: int = 8
    ) -> None:
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        self.answered_count = 0
        self._cast = cast
        self._capacity_worker = stack.worker("Luna Nueva")  # no API key may set the capacity
        self._ways: tuple[Way, ...] = (ByGrpc(stack), ByGrpc(stack), ByRest(stack))
        self._people = itertools.cycle(people)
        self._changed = threading.Condition()
        self._under_way: Counter[str] = Counter()
        self._ending = threading.Event()
        self._stories = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._run_stories, daemon=True) for _ in range(threads)
        ]
        self._threads.append(threading.Thread(target=self._set_capacity, daemon=True))

    def begin(self) -> None:
        """Starts all threads."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Starts no new stories, and waits until the running stories have ended."""
        self._ending.set()
        end = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a story does not end"

    def act_during_call(self, ways: Collection[str], act: Callable[[], None]) -> float:
        """Calls `act` while a call in one of these ways is running, or after ten seconds.

        Returns the time at which it called `act`.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(self._under_way[way] for way in ways), 10)
            moment = time.monotonic()
            act()
            return moment

    def wait_for(self, answered: int, seconds: float) -> bool:
        """Waits at most `seconds` for a total of `answered` answered transitions.

        Returns whether the total was reached.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self.answered_count >= answered, seconds)

    def _run_stories(self) -> None:
        while not self._ending.is_set():
            number = next(self._stories)
            try:
                self._story(self._ways[number % len(self._ways)], gives_up=number % 5 == 0)
            except GaveUp:
                continue
            except Exception as error:  # the run fails for any answer that no client expects
                self.refusals.append(f"story {number}: {error}"[:300])

    def _story(self, way: Way, *, gives_up: bool) -> None:
        cast = self._cast
        person_id, receipt_id = next(self._people)
        draft = cast.draft(person_id)
        created = self._act(way, cast.sender, "CreateReferral", "amended", draft, "", gives_up)
        send_request = pb.SendReferralRequest(
            id=created.id, etag=created.etag, request_id=new_id(), receipt_id=receipt_id
        )
        referral = self._act(
            way, cast.sender, "SendReferral", "sent", send_request, created.id, gives_up
        )
        for step in STEPS:
            request = step.request(id=referral.id, etag=referral.etag, request_id=new_id())
            referral = self._act(
                way, cast.who(step), step.rpc, step.fact, request, referral.id, gives_up
            )

    def _act(
        self,
        way: Way,
        client: Client,
        rpc: str,
        fact: str,
        request: Any,
        referral_id: str,
        gives_up: bool,
    ) -> Any:
        """Makes one transition; repeats it with the same request_id until an answer comes."""
        operation = Operation(
            request.request_id, client.key_id, fact, referral_id, UNKNOWN, calls=0
        )
        time.sleep(THINK_SECONDS)
        self.operations.append(operation)
        end, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                call = way.prepare(client, rpc, request)
                operation.calls += 1
                with self._recording(way.name, way.deadline):
                    answer = call()
            except NoAnswer as error:
                if time.monotonic() > end:
                    raise
                if gives_up and operation.calls:
                    raise GaveUp from error
            except Exception:
                operation.outcome = "refused"
                raise
            else:
                operation.outcome = OK
                operation.referral_id = answer.id
                operation.version = int(answer.etag.removeprefix("v"))
                with self._changed:
                    self.answered_count += 1
                    self._changed.notify_all()
                return answer
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    @contextmanager
    def _recording(self, way: str, deadline: float) -> Iterator[None]:
        """Records the start, the end and the result of a call."""
        with self._changed:
            self._under_way[way] += 1
            self._changed.notify_all()
        call = Call(way, time.monotonic(), deadline)
        self.calls.append(call)
        try:
            yield
            call.outcome = OK
        except NoAnswer as error:
            call.outcome = str(error)
            raise
        finally:
            call.ended = time.monotonic()
            with self._changed:
                self._under_way[way] -= 1

    def _set_capacity(self) -> None:
        """Sets the member's capacity.

        A lost call does no harm, because the next call sets the capacity anyway.
        """
        cast, way = self._cast, ByGrpc.directory(self._ways[0])
        for intake in itertools.cycle((directory_pb2.INTAKE_WAITLIST, directory_pb2.INTAKE_OPEN)):
            if self._ending.wait(CAPACITY_PAUSE):
                return
            request = directory_pb2.SetCapacityRequest(
                id=cast.service_id,
                capacity=directory_pb2.Capacity(
                    intake=intake, unit=directory_pb2.CAPACITY_UNIT_BEDS
                ),
                request_id=new_id(),
            )
            try:
                with suppress(NoAnswer):
                    call = way.prepare(self._capacity_worker, "SetCapacity", request)
                    with self._recording(way.name, way.deadline):
                        call()
            except grpc.RpcError as error:
                self.refusals.append(f"capacity: {error.code()} {error.details()}")

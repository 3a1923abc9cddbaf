"""The load of a fault run: threads that live referrals from draft to closed, retry with the same request_id, and write down what they were told.

An outcome is unknown when no answer came (the process died, the time was over). Most such calls are made again; one story in five gives up there, so
that the checker also has transitions of which nobody knows whether they happened.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.house import Client
from tests.parts.stories import STEPS, Cast

UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)
OK, LOST = "ok", "unknown"


@dataclass
class Operation:
    """One transition as its caller knows it. `version` is that of the answer, 0 when there was none."""

    request_id: str
    caller_id: str
    fact: str
    referral_id: str
    outcome: str
    version: int = 0
    calls: int = 1


class GaveUp(Exception):
    """The story ends with an operation of which nothing is known."""


class Work:
    """`begin`, then kill what you like, then `end`; `operations` and `refused` tell the rest."""

    def __init__(self, cast: Cast, people: list[tuple[str, str]], threads: int = 4) -> None:
        self.operations: list[Operation] = []
        self.refused: list[str] = []
        self.answered = 0
        self._cast = cast
        self._people = itertools.cycle(people)
        self._turn = threading.Condition()
        self._under_way = 0
        self._ending = threading.Event()
        self._stories = itertools.count(1)
        self._threads = [threading.Thread(target=self._live, daemon=True) for _ in range(threads)]

    def begin(self) -> None:
        """All threads at once."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """No new stories; those under way are told to their end."""
        self._ending.set()
        for thread in self._threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self._threads), "a story does not end"

    def strike(self, act: Callable[[], None]) -> bool:
        """Does this at a moment when a call is under way; says whether one still was when it was done."""
        with self._turn:
            self._turn.wait_for(lambda: self._under_way > 0, 10)
            act()
            return self._under_way > 0

    def wait_for(self, answered: int, seconds: float = 60) -> None:
        """Until so many transitions were answered."""
        with self._turn:
            assert self._turn.wait_for(lambda: self.answered >= answered, seconds), f"{self.answered} of {answered}; {self.refused[:3]}"

    def _live(self) -> None:
        while not self._ending.is_set():
            number = next(self._stories)
            try:
                self._story(gives_up=number % 5 == 0)
            except GaveUp:
                continue
            except grpc.RpcError as error:
                self.refused.append(f"story {number}: {error.code()} {error.details()}")

    def _story(self, *, gives_up: bool) -> None:
        cast = self._cast
        person_id, receipt_id = next(self._people)
        draft = cast.draft(person_id)
        made = self._act(cast.sender, "CreateReferral", "amended", draft, "", gives_up)
        sending = pb.SendReferralRequest(id=made.id, etag=made.etag, request_id=new_id(), receipt_id=receipt_id)
        found = self._act(cast.sender, "SendReferral", "sent", sending, made.id, gives_up)
        for step in STEPS:
            request = step.request(id=found.id, etag=found.etag, request_id=new_id())
            found = self._act(cast.who(step), step.rpc, step.fact, request, found.id, gives_up)

    def _act(self, client: Client, rpc: str, fact: str, request: Any, referral_id: str, gives_up: bool) -> Any:
        """One transition, made again with the same request_id until an answer comes."""
        operation = Operation(request.request_id, client.key_id, fact, referral_id, LOST)
        self.operations.append(operation)
        end = time.monotonic() + 60
        while True:
            with self._turn:
                self._under_way += 1
                self._turn.notify_all()
            try:
                answer = getattr(client.referrals, rpc)(request, timeout=3)
            except grpc.RpcError as error:
                if error.code() not in UNKNOWN or time.monotonic() > end:
                    operation.outcome = error.code().name
                    raise
                if gives_up:
                    raise GaveUp from error
                operation.calls += 1
            else:
                operation.outcome, operation.referral_id, operation.version = OK, answer.id, int(answer.etag.removeprefix("v"))
                return answer
            finally:
                with self._turn:
                    self._under_way -= 1
                    self.answered += operation.outcome == OK
                    self._turn.notify_all()
            time.sleep(0.1)

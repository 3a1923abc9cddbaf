"""A crowd of callers, in a process of its own. Reads its task from standard input, as a line of
JSON, and at the end prints the outcomes of all calls as a line of JSON.

A closed crowd has a fixed number of callers that wait for each answer; an open crowd makes calls at
a fixed rate, whether or not they are answered. A crowd either creates drafts of referrals by gRPC,
or reads referrals by gRPC, or lists referrals by REST. A draft that was refused is tried again
later with its request id.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.ids import new_id
from protos.partners.v1 import members_pb2, members_pb2_grpc
from protos.referrals.v1 import referrals_pb2 as pb
from protos.referrals.v1 import referrals_pb2_grpc
from tests.builders import NOTHING_UNSAFE
from tests.parts.stories import NEED

DEADLINE = 5.0  # seconds, the same as the gateway's
_RENEW = 1.0  # seconds after which a token is renewed
_PAUSE = 0.002  # seconds between two checks for due calls in an open crowd


@dataclass(frozen=True)
class Task:
    """The task of a crowd: `kind` is step, read or rest.

    `rate` is in calls a second; 0 means a closed crowd of `callers` callers. `credentials` are
    pairs (kind, text); the kind is api_key or session_secret. `max_calls` is the maximum number of
    calls under way at once.
    """

    kind: str
    seconds: float
    callers: int
    rate: float
    referrals: str
    partners: str
    gateway: str
    service_id: str
    credentials: Sequence[tuple[str, str]]
    people: Sequence[str]
    referral_ids: Sequence[str]
    max_calls: int


class Outcome(NamedTuple):
    """The outcome of a call: its time (seconds since the start of the crowd), its duration in
    milliseconds, and OK or the reason for its failure.
    """

    time: float
    milliseconds: float
    result: str


class Caller:
    """A caller with a connection of its own. Its token is renewed in the background."""

    def __init__(self, task: Task, credential: tuple[str, str]) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        kind, text = credential
        self._credential = (
            members_pb2.IssueTokenRequest(api_key=text)
            if kind == "api_key"
            else members_pb2.IssueTokenRequest(session_secret=text)
        )
        self._tokens = members_pb2_grpc.TokensStub(grpc.aio.insecure_channel(task.partners))
        self.referrals = referrals_pb2_grpc.ReferralsStub(
            grpc.aio.insecure_channel(task.referrals, options=options)
        )
        self._token = ""

    async def renew(self) -> None:
        """Fetches a token; keeps the previous token if the call fails."""
        try:
            answer = await self._tokens.IssueToken(
                self._credential, timeout=DEADLINE, wait_for_ready=True
            )
            self._token = answer.tokens["enlace.referrals"]
        except grpc.RpcError:
            pass

    async def keep_renewing(self) -> None:
        """Renews the token again and again, until this task is cancelled."""
        while True:
            await asyncio.sleep(_RENEW)
            await self.renew()

    async def call(self, rpc: str, request: Any) -> Any:
        """Makes a call with the caller's token."""
        return await getattr(self.referrals, rpc)(
            request, timeout=DEADLINE, metadata=(("authorization", f"Bearer {self._token}"),)
        )


class Grpc:
    """Makes one caller's calls to the referrals service, one at a time."""

    def __init__(self, task: Task, caller: Caller, number: int) -> None:
        self._task, self._caller = task, caller
        self._person_id = task.people[number % len(task.people)]
        self._referral_id = task.referral_ids[number % len(task.referral_ids)]
        self._draft = pb.CreateReferralRequest()

    async def step(self) -> None:
        """Creates a draft, or retries the draft that was refused."""
        if not self._draft.request_id:
            self._draft = pb.CreateReferralRequest(
                person_id=self._person_id,
                need_code=NEED,
                urgency=pb.URGENCY_URGENT,
                service_id=self._task.service_id,
                request_id=new_id(),
                **NOTHING_UNSAFE,
            )
        await self._caller.call("CreateReferral", self._draft)
        self._draft.request_id = ""

    async def read(self) -> None:
        """Reads a referral."""
        await self._caller.call("GetReferral", pb.GetReferralRequest(id=self._referral_id))


class Rest:
    """Lists referrals over one connection to the gateway."""

    def __init__(self, task: Task, key: str) -> None:
        address = urlsplit(task.gateway)
        self._address = address.hostname, address.port
        self._request = (
            "GET /api/v1/referrals?limit=5 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {key}\r\n\r\n"
        ).encode()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        """Makes a request; raises Refused with the status if it is not 200."""
        try:
            await asyncio.wait_for(self._ask(), DEADLINE)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            if self._connection:
                self._connection[1].close()
            self._connection = None
            raise

    async def _ask(self) -> None:
        if self._connection is None:
            self._connection = await asyncio.open_connection(*self._address)
        reader, writer = self._connection
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        if b"connection: close" in head.lower():
            writer.close()
            self._connection = None
        status = head.split(b" ", 2)[1].decode()
        if status != "200":
            raise Refused(status + ("" if b"retry-after:" in head.lower() else " without a delay"))


class Refused(Exception):
    """Raised if a request is refused. Its text is the status; "without a delay" is added if the
    response has no Retry-After.
    """


def reason_of(error: grpc.RpcError) -> str:
    """Returns the status of a call that failed, with its reason."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        detail.Unpack(info)
    return f"{error.code().name} {info.reason}".strip()


class Crowd:
    """The callers of a task, and the outcomes of their calls."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._free_callers = deque[Callable[[], Awaitable[None]]]()
        self._outcomes: list[Outcome] = []
        self._unmade = 0
        self._lags: list[float] = []

    async def run(self) -> dict[str, Any]:
        """Makes the calls; returns their outcomes, the number of calls not made because no caller
        was free, and the crowd's own processor time and delays.
        """
        task, renewing = self._task, []
        if task.kind == "rest":
            keys = itertools.cycle([text for kind, text in task.credentials if kind == "api_key"])
            self._free_callers.extend(Rest(task, next(keys)).ask for _ in range(task.max_calls))
        else:
            callers = [Caller(task, credential) for credential in task.credentials]
            await asyncio.gather(*(caller.renew() for caller in callers))
            renewing = [asyncio.create_task(caller.keep_renewing()) for caller in callers]
            for number in range(task.max_calls):
                by_grpc = Grpc(task, callers[number % len(callers)], number)
                self._free_callers.append(by_grpc.step if task.kind == "step" else by_grpc.read)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        self._began, cpu_seconds = time.monotonic(), time.process_time()
        await (self._run_open() if task.rate else self._run_closed())
        cpu_seconds = time.process_time() - cpu_seconds
        for renewal in renewing:
            renewal.cancel()
        return {
            "outcomes": self._outcomes,
            "unmade": self._unmade,
            "cpu_s": cpu_seconds,
            "lags": self._lags,
        }

    async def _run_closed(self) -> None:
        async def caller() -> None:
            act = self._free_callers.popleft()
            while time.monotonic() < self._began + self._task.seconds:
                await self._make_call(act)

        await asyncio.gather(*(caller() for _ in range(self._task.callers)))

    async def _run_open(self) -> None:
        under_way, started_count = set[asyncio.Task[None]](), 0
        # REST uses the connection that was freed last, as a pool does; gRPC callers take turns
        callers = self._free_callers
        put_back = callers.appendleft if self._task.kind == "rest" else callers.append

        async def call(act: Callable[[], Awaitable[None]]) -> None:
            await self._make_call(act)
            put_back(act)

        while (now := time.monotonic() - self._began) < self._task.seconds:
            for _ in range(int(now * self._task.rate) - started_count):
                started_count += 1
                if not self._free_callers:
                    self._unmade += 1
                    continue
                running_call = asyncio.create_task(call(self._free_callers.popleft()))
                under_way.add(running_call)
                running_call.add_done_callback(under_way.discard)
            begin = time.monotonic()
            await asyncio.sleep(_PAUSE)
            self._lags.append((time.monotonic() - begin - _PAUSE) * 1000)
        await asyncio.gather(*under_way)

    async def _make_call(self, act: Callable[[], Awaitable[None]]) -> None:
        begin = time.monotonic()
        try:
            await act()
            result = "OK"
        except grpc.RpcError as error:
            result = reason_of(error)
        except Refused as error:
            result = str(error)
        except (OSError, asyncio.IncompleteReadError) as error:
            result = type(error).__name__
        self._outcomes.append(
            Outcome(begin - self._began, (time.monotonic() - begin) * 1000, result)
        )


def as_line(task: Task) -> str:
    """Returns a task as a line of JSON."""
    return json.dumps(asdict(task)) + "\n"


def main() -> None:
    """Reads the task from the first line, and starts it when a second line arrives."""
    task = Task(**json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(Crowd(task).run())), flush=True)


if __name__ == "__main__":
    main()

"""Transitions of referrals: the number per second, and the time of each, by gRPC and REST."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import requests

from bench.figures import Measurement, percentile
from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import ROOT, LocalStack, until
from tests.parts.stories import STEPS, Cast

THREADS = 4
STORIES = 60


class ReferralRunner:
    """Takes referrals from draft to closed, one after another or in several threads.

    `milliseconds` holds the time of each transition.
    """

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.milliseconds: list[float] = []
        self._people = itertools.cycle([cast.person() for _ in range(4)])

    def run_one(self, _: int = 0) -> None:
        """Takes a referral from draft to closed: nine transitions."""
        referral = self.send_one()
        for step in STEPS:
            referral = self.timed(
                getattr(self.cast.who(step).referrals, step.rpc),
                step.request(**self.request_fields(referral)),
            )

    def send_one(self) -> pb.Referral:
        """Creates and sends a referral: the first two transitions."""
        person_id, receipt_id = next(self._people)
        draft = self.timed(self.cast.sender.referrals.CreateReferral, self.cast.draft(person_id))
        return self.timed(
            self.cast.sender.referrals.SendReferral,
            pb.SendReferralRequest(receipt_id=receipt_id, **self.request_fields(draft)),
        )

    def timed(self, rpc: Callable[..., Any], request: Any) -> pb.Referral:
        """Makes one transition and records its time."""
        begin = time.perf_counter()
        answer: pb.Referral = rpc(request)
        self.milliseconds.append((time.perf_counter() - begin) * 1000)
        return answer

    @staticmethod
    def request_fields(referral: pb.Referral) -> dict[str, Any]:
        """Returns the fields that every transition's request has."""
        return {"id": referral.id, "etag": referral.etag, "request_id": new_id()}


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures rates with four callers at once, and times with one caller."""
    runner = ReferralRunner(Cast(stack))
    for _ in range(5):
        runner.run_one()  # warm-up
    runner.milliseconds.clear()
    for _ in range(STORIES):
        runner.run_one()
    times_alone = runner.milliseconds.copy()
    runner.milliseconds.clear()
    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(runner.run_one, range(STORIES * 2)))
    rate = len(runner.milliseconds) / (time.perf_counter() - begin)
    load = f"{len(runner.milliseconds)} transitions by {THREADS} callers in one process"
    rest_times = through_rest(stack, runner)
    method = (
        f"{len(times_alone)} transitions by one caller, one after another, durable writes"
        " (fsync on)"
    )
    return [
        Measurement(
            "transition_per_s",
            rate,
            f"{load}; beside: an empty grpcio server in another process, the same callers",
            echo_calls_per_second(),
        ),
        Measurement("transition_ms_p50", percentile(times_alone, 50), method),
        Measurement("transition_ms_p99", percentile(times_alone, 99), method),
        Measurement(
            "rest_transition_ms_p99",
            percentile(rest_times, 99),
            f"{len(rest_times)} transitions through the gateway by one caller; beside: p50",
            percentile(rest_times, 50),
        ),
    ]


def through_rest(stack: LocalStack, runner: ReferralRunner) -> list[float]:
    """Takes the receiver's four steps by REST with an API key; returns the milliseconds that
    each step took.
    """
    key = stack.api_key("Luna Nueva")
    milliseconds = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        for _ in range(STORIES):
            referral = runner.send_one()
            etag = referral.etag
            for verb, fields in (
                ("acknowledge", {}),
                ("accept", {"planned_first_contact_time": moment(18_000)}),
                ("start", {"first_contact_time": moment(-60)}),
                ("complete", {"outcome_code": "fully_met", "delivered_need_codes": ["HOU.EMG"]}),
            ):
                begin = time.perf_counter()
                answer = session.post(
                    f"{stack.gateway}/api/v1/referrals/{referral.id}/{verb}",
                    json=fields,
                    headers={"If-Match": f'"{etag}"', "Idempotency-Key": new_id()},
                    timeout=10,
                )
                milliseconds.append((time.perf_counter() - begin) * 1000)
                answer.raise_for_status()
                etag = answer.json()["etag"]
    return milliseconds


def moment(seconds: float) -> str:
    """Returns the time that lies `seconds` seconds from now, in the format of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def echo_calls_per_second(seconds: float = 2.0) -> float:
    """Returns the calls per second that THREADS callers make together at a gRPC server that merely
    echoes each request.
    """
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.echo"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        with grpc.insecure_channel(server.stdout.readline().strip()) as channel:
            call: Any = channel.unary_unary("/echo/Echo")
            until(lambda: bool(call(b"x", wait_for_ready=True, timeout=10)))
            end = time.perf_counter() + seconds
            body = b"x" * 120

            def ask(_: int) -> int:
                count = 0
                while time.perf_counter() < end:
                    call(body, timeout=10)
                    count += 1
                return count

            with ThreadPoolExecutor(THREADS) as pool:
                return sum(pool.map(ask, range(THREADS))) / seconds
    finally:
        server.terminate()
        server.wait(10)

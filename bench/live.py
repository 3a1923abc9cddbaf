"""The processor time needed to serve 200 sessions with an open Today page: 20 people with ten
sessions each.

The cost is measured while nothing happens, and while one referral a second is sent.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import requests

from bench.figures import Measurement
from bench.local_stack import process_tree
from bench.pages import sign_in
from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast

ORGANIZATIONS, SESSIONS_PER_PERSON = 20, 10
SECONDS = 60
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# The viewers run in a separate process with plain sockets, so that their own cost is not added to
# the cost of serving them. The viewers poll as static/live.js does.
_VIEWERS = r"""
import asyncio, json, random, sys, time
host, port, cookies = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
polls, pages, statuses, waits, idle = 0, 0, {}, [], {}

async def ask(path, cookie, **headers):
    if not (line := idle.pop(cookie, None)):
        line = await asyncio.open_connection(host, port)
    reader, writer = line
    sent = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nPassive: 1\r\n{sent}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = head.split(" ", 2)[1]
    statuses[status] = statuses.get(status, 0) + 1
    length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
    body = await reader.readexactly(length)
    if "connection: close" in head.lower():
        writer.close()
    else:
        idle[cookie] = line
    return body if status == "200" else b""

async def view(cookie):
    global polls, pages
    await asyncio.sleep(random.random() * 3.0)
    version, ticket = None, ""
    while True:
        begin = time.monotonic()
        answer = json.loads(await ask("/live", cookie, **({"Live_Ticket": ticket} if ticket else {})) or "{}")
        waits.append(time.monotonic() - begin)
        polls += 1
        ticket = answer.get("ticket", ticket)
        if answer and version is not None and answer["version"] != version:
            answer = answer if await ask("/today", cookie) else {}
            pages += 1
        version = answer.get("version", version)
        await asyncio.sleep(3.0 + random.random() * 0.3)

async def main():
    viewers = [asyncio.create_task(view(cookie)) for cookie in cookies]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    failed = [str(one.exception()) for one in viewers if one.done()]
    waits.sort()
    print(json.dumps({"polls": polls, "pages": pages, "statuses": statuses, "failed": failed, "p99_ms": 1000 * waits[len(waits) * 99 // 100]}), flush=True)

asyncio.run(main())
"""  # noqa: E501


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures, in percent of a core, what it takes to serve the viewers.

    The result is what all processes of the stack take with viewers, minus what they take without
    viewers.
    """
    cookies = open_sessions(stack)
    senders = Senders(stack)
    idle_cores, _ = cores_used(stack, SECONDS / 3)
    with viewers(stack, cookies) as stop:
        cores_used(stack, 10)  # not measured: the viewers connect, and learn the current version
        watched_cores, _ = cores_used(stack, SECONDS)
        quiet_report = stop()
    sending_cores, _ = cores_used(stack, SECONDS / 2, senders.send)
    with viewers(stack, cookies) as stop:
        cores_used(stack, 10)
        watched_sending_cores, sent_count = cores_used(stack, SECONDS, senders.send)
        busy_report = stop()
    assert not quiet_report["failed"] + busy_report["failed"], (quiet_report, busy_report)
    for name, report in (("quiet", quiet_report), ("busy", busy_report)):
        print(f"  live, {name}: {report}", file=sys.stderr)
    pages_per_referral = busy_report["pages"] / max(1, sent_count)
    return [
        Measurement(
            "live_core_percent",
            100 * (watched_cores - idle_cores),
            f"{len(cookies)} viewers of {ORGANIZATIONS} organisations, at the rate at which pages"
            f" poll, while nothing happens; p99 of an answer {quiet_report['p99_ms']:.0f} ms",
        ),
        Measurement(
            "live_changes_core_percent",
            100 * (watched_sending_cores - sending_cores),
            "the same while one referral a second is sent, each by a different organisation, all to"
            f" one receiver: {pages_per_referral:.0f} pages are fetched again for each referral;"
            f" p99 of an answer {busy_report['p99_ms']:.0f} ms;"
            " for comparison: while nothing happens",
            100 * (watched_cores - idle_cores),
        ),
    ]


def open_sessions(stack: LocalStack) -> list[str]:
    """Opens SESSIONS_PER_PERSON sessions for one person in each of ORGANIZATIONS organisations.

    Returns the cookies of the sessions.
    """
    emails: dict[str, str] = {}
    for account in stack.demo["accounts"]:
        emails.setdefault(account["organization"], account["email"])
    cookies = []
    for email in list(emails.values())[:ORGANIZATIONS] * SESSIONS_PER_PERSON:
        with requests.Session() as session:
            sign_in(session, stack, email)
            cookies.append("; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies))
    return cookies


class Senders:
    """Workers who each have drafts to send, all to one receiver."""

    def __init__(self, stack: LocalStack) -> None:
        cast = Cast(stack)
        drafts_by_worker = []
        for account in stack.demo["accounts"]:
            if account["role"] not in ("WORKER", "worker"):
                continue
            cast.sender = stack.worker(account["email"])
            try:
                person_id, receipt_id = cast.person()
                drafts = [
                    cast.sender.referrals.CreateReferral(cast.draft(person_id))
                    for _ in range(SECONDS // 5)
                ]
            except grpc.RpcError:  # the organisation is on probation, or never sends
                continue
            drafts_by_worker.append([(cast.sender, draft, receipt_id) for draft in drafts])
        self._next = itertools.chain.from_iterable(itertools.zip_longest(*drafts_by_worker))

    def send(self) -> None:
        """Sends the next draft; the workers take turns."""
        client, draft, receipt_id = next(draft for draft in self._next if draft)
        client.referrals.SendReferral(
            pb.SendReferralRequest(
                id=draft.id, etag=draft.etag, receipt_id=receipt_id, request_id=new_id()
            )
        )


def cores_used(
    stack: LocalStack, seconds: float, each_second: Callable[[], None] = lambda: None
) -> tuple[float, int]:
    """Returns the average number of cores that the stack's processes take over `seconds`, and the
    number of calls of `each_second` meanwhile.
    """
    begin, first_seconds, calls = time.monotonic(), cpu_seconds(stack), 0
    while (remaining := begin + seconds - time.monotonic()) > 0:
        if remaining >= 1:
            each_second()
            calls += 1
        time.sleep(
            max(0.0, min(begin + calls, begin + seconds) - time.monotonic()) if calls else remaining
        )
    return (sum(now - first_seconds.get(pid, 0) for pid, now in cpu_seconds(stack).items())) / (
        time.monotonic() - begin
    ), calls


def cpu_seconds(stack: LocalStack) -> dict[int, float]:
    """Returns the seconds of processor time that each process of the stack has taken so far, by
    process id.
    """
    seconds = {}
    for pid in process_tree(int(stack.state["pid"])):
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds[pid] = (int(words[11]) + int(words[12])) / _TICKS_PER_SECOND
    return seconds


@contextmanager
def viewers(stack: LocalStack, cookies: list[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Runs the viewers until the yielded function is called, or until the block ends. The function
    returns their report.
    """
    address = urlsplit(stack.gateway)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _VIEWERS,
            str(address.hostname),
            str(address.port),
            json.dumps(cookies),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def stop() -> dict[str, Any]:
        output, _ = process.communicate("\n", 30)
        report: dict[str, Any] = json.loads(re.sub(r"^[^{]*", "", output))
        return report

    try:
        yield stop
    finally:
        process.kill()
        process.wait()

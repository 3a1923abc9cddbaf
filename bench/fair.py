"""Fairness: how a partner that calls at 40 times its quota changes another partner's waiting
time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

from bench.figures import Measurement, percentile
from services.gateway.config import CALLER_RATE
from tests.parts.local_stack import LocalStack, until

FLOOD_FACTOR = 40  # multiple of the quota
# pairs of measurements, without and with the flood: a slow moment of the machine affects both
TURNS = 4
# requests of the other partner in each turn, and seconds between them
REQUESTS, INTERVAL = 250, 0.05
CONNECTIONS = 8
_PATH = "/api/v1/referrals?limit=5"

# A process of its own with plain sockets, so that the cost of making requests is not measured as an
# effect on the other partner.
_FLOOD = r"""
import socket, sys, threading, time
host, port, key, rate, connections, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), sys.argv[6]
request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
counts = {}

def flood():
    connection, due = socket.create_connection((host, port)), time.monotonic()
    while True:
        due = max(due + connections / rate, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        remaining = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
        while remaining > 0:
            remaining -= len(connection.recv(remaining))
        status = head.split(b" ", 2)[1]
        counts[status] = counts.get(status, 0) + 1

for _ in range(connections):
    threading.Thread(target=flood, daemon=True).start()
sys.stdin.read()
print(sum(counts.values()), counts.get(b"429", 0), flush=True)
"""  # noqa: E501


def measure(_stack: LocalStack) -> list[Measurement]:
    """Measures in a stack with the quota of a real network.

    The other figures come from a stack whose quota is too high to be reached.
    """
    stack = LocalStack(settings={"ENLACE_CALLER_RATE": str(CALLER_RATE)})
    try:
        stack.start()
        waiting_times(stack)  # warms up connections and caches
        times_alone, times_during_flood, counts = [], [], []
        for _ in range(TURNS):
            times_alone += waiting_times(stack)
            with flood(stack) as flood_counts:
                times_during_flood += waiting_times(stack)
            counts.append(flood_counts)
    finally:
        stack.stop()
    request_count, refused_count, seconds = map(sum, zip(*counts, strict=True))
    return [
        Measurement(
            "fair_ms_p99",
            percentile(times_during_flood, 99),
            f"one partner reads through REST at {1 / INTERVAL / 2:.0f} to {1 / INTERVAL:.0f} a"
            f" second while another asks {request_count / seconds:.0f} times a second"
            f" ({FLOOD_FACTOR} times its quota; {refused_count / request_count:.0%} refused);"
            " beside: the same request without the flood",
            percentile(times_alone, 99),
        )
    ]


def waiting_times(stack: LocalStack) -> list[float]:
    """Returns the milliseconds that each request of the other partner took."""
    milliseconds = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {stack.api_key('Luna Nueva')}"
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            answer = session.get(stack.gateway + _PATH, timeout=10)
            milliseconds.append((time.perf_counter() - begin) * 1000)
            assert answer.status_code == 200, answer.text
            time.sleep(INTERVAL)
    return milliseconds


@contextmanager
def flood(stack: LocalStack) -> Iterator[list[float]]:
    """Floods the gateway from one partner, far above its quota, until the block ends.

    After the block, the yielded list holds the number of the flood's requests, the number of its
    refused requests, and the seconds that it lasted.
    """
    address = urlsplit(stack.gateway)
    arguments = [
        address.hostname or "",
        str(address.port),
        stack.api_key("Puentes"),
        str(FLOOD_FACTOR * CALLER_RATE),
        str(CONNECTIONS),
        _PATH,
    ]
    counts: list[float] = []
    process = subprocess.Popen(
        [sys.executable, "-c", _FLOOD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    begin = time.monotonic()
    headers = {"Authorization": f"Bearer {stack.api_key('Puentes')}"}
    until(
        lambda: requests.get(stack.gateway + _PATH, headers=headers, timeout=10).status_code == 429
    )
    try:
        yield counts
    finally:
        output, _ = process.communicate("", timeout=20)
        request_count, refused_count = output.split()
        counts += [float(request_count), float(refused_count), time.monotonic() - begin]

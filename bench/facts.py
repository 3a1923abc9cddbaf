"""The time that a fact takes from its commit to a partner's system, and how many facts a second go
from the outbox into the broker.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from kafka import KafkaProducer

from bench.figures import Measurement, percentile
from bench.quiet import wait_for_silence
from bench.transitions import ReferralRunner
from protos.notifications.v1 import notifications_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast

PER_SECOND, SECONDS = 20, 10
FACTS = 20_000


class Receiver:
    """A partner's system that records when the webhook of each referral arrived."""

    def __init__(self) -> None:
        self.arrival_times: dict[str, float] = {}
        arrival_times = self.arrival_times

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                now = time.time()
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                arrival_times.setdefault(body["data"].get("referral_id", ""), now)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/enlace"


def measure_webhook(stack: LocalStack) -> list[Measurement]:
    """Measures acknowledgements at a steady pace; the sender's system gets a webhook for each."""
    cast, receiver = Cast(stack), Receiver()
    webhook = notifications_pb2.Webhook(
        url=receiver.url, kinds=["referral_acknowledged"], enabled=True
    )
    created = cast.sender.webhooks.CreateWebhook(
        notifications_pb2.CreateWebhookRequest(webhook=webhook)
    )
    runner = ReferralRunner(cast)
    referrals = [runner.send_one() for _ in range(PER_SECOND * SECONDS + 20)]
    wait_for_silence(stack)
    answer_times: dict[str, float] = {}

    def acknowledge(referral: pb.Referral) -> None:
        cast.receiver.referrals.AcknowledgeReferral(
            pb.AcknowledgeReferralRequest(**ReferralRunner.request_fields(referral))
        )
        answer_times[referral.id] = time.time()

    begin = time.perf_counter() + 0.2
    with ThreadPoolExecutor(4) as pool:
        for number, referral in enumerate(referrals):
            time.sleep(max(0.0, begin + number / PER_SECOND - time.perf_counter()))
            pool.submit(acknowledge, referral)
    until(
        lambda: receiver.arrival_times.keys() >= answer_times.keys(),
        30,
        lambda: f"{len(receiver.arrival_times)} of {len(answer_times)} webhooks came",
    )
    cast.sender.webhooks.DeleteWebhook(
        notifications_pb2.DeleteWebhookRequest(id=created.webhook.id)
    )
    receiver.server.shutdown()
    receiver.server.server_close()
    with stack.database("referrals") as database:
        rows = database.execute(
            "SELECT subject, time FROM outbox WHERE type = 'enlace.referral.acknowledged.v1'"
            " AND subject = ANY(%s)",
            (list(answer_times),),
        )
        fact_times = {row["subject"]: row["time"].timestamp() for row in rows}
    counted_ids = [referral.id for referral in referrals[20:]]  # the first second is the warm-up
    from_answer_ms = [(receiver.arrival_times[id] - answer_times[id]) * 1000 for id in counted_ids]
    from_fact_ms = [(receiver.arrival_times[id] - fact_times[id]) * 1000 for id in counted_ids]
    method = (
        f"{len(counted_ids)} at {PER_SECOND} a second, from the rpc's answer, just after the"
        " commit, to a local server; beside: from the fact's time, before it"
    )
    return [
        Measurement(
            "commit_to_webhook_ms_p50",
            percentile(from_answer_ms, 50),
            method,
            percentile(from_fact_ms, 50),
        ),
        Measurement(
            "commit_to_webhook_ms_p99",
            percentile(from_answer_ms, 99),
            method,
            percentile(from_fact_ms, 99),
        ),
    ]


def measure_relay(stack: LocalStack) -> list[Measurement]:
    """Measures how fast facts are published when FACTS of them enter the outbox at once."""
    payload = b"x" * 150
    with stack.database("referrals") as database:
        with database.transaction():
            database.execute(
                "INSERT INTO outbox SELECT 'bench-' || n, 1, 'enlace.contact.recorded.v1', %s, %s"
                " FROM generate_series(1, %s) AS n",
                (payload, datetime.now(UTC), FACTS),
            )
            database.execute("SELECT pg_notify('outbox', '')")
        begin = time.perf_counter()
        waiting_query = "SELECT FROM outbox WHERE first_round IS NULL LIMIT 1"
        until(lambda: database.execute(waiting_query).fetchone() is None, 120)
        rate = FACTS / (time.perf_counter() - begin)
        query = "SELECT count(*) AS n FROM inbox WHERE subject LIKE 'bench-%%' AND version = 1"
        with stack.database("notifications") as listener:
            until(lambda: all(row["n"] == FACTS for row in listener.execute(query)), 120)
    method = (
        f"{FACTS} facts in the outbox at once, read, signed, sent, marked, while notifications"
        " takes them in; beside: kafka-python alone to the same broker"
    )
    return [Measurement("relay_per_s", rate, method, bare_producer(stack.state["kafka"], payload))]


def bare_producer(bootstrap: str, payload: bytes) -> float:
    """Returns how many records per second a bare producer sends, each acknowledged by all replicas.

    Each record has the size of a fact with its headers.
    """
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        linger_ms=0,
        batch_size=131_072,
        enable_idempotence=False,
    )
    try:
        begin = time.perf_counter()
        # The topic is that of replay requests: every service ignores a key that is not the name of
        # a topic.
        futures = [
            producer.send("enlace.replays.v1", key=b"bench-%d" % n, value=payload * 2)
            for n in range(FACTS)
        ]
        for future in futures:
            future.get(timeout=30)
        return FACTS / (time.perf_counter() - begin)
    finally:
        producer.close(timeout=5)

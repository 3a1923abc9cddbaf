"""Sends webhooks by Standard Webhooks: a small pool of threads, woken by the commit that made a
delivery, with a slow poll behind it.

At least once: a process that dies between the POST and noting it leaves the delivery to be sent
again, under the same webhook-id. Two lanes with threads of their own: endpoints that failed or were
slow the last time can't keep the others waiting.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from standardwebhooks import Webhook as Signature

from chassis import log, metrics, trace
from chassis.clock import Clock
from chassis.db import LOST, Database, wait_for_notice
from chassis.errors import Exhausted, Late, Stale, Unavailable
from chassis.supervisor import Loop
from services.notifications.channels.egress import TIMEOUT, EgressClient
from services.notifications.domain.delivery import Channel, Sent, WebhookClaim, headers
from services.notifications.usecases.sending import WEBHOOKS, Sending

_SLOW_POLL = 1.0  # seconds: what is due by the clock alone, and what a lost notification left
_GRACE = 1.5  # seconds; the whole process has ten
_KEPT_OPEN = 500  # connections kept open in one lane


class WebhookSender:
    """One lane: a loop that claims, and `threads` that send."""

    def __init__(
        self,
        database: Database,
        sending: Sending,
        clock: Clock,
        *,
        slow: bool,
        threads: int,
        development: bool,
        timeout: float = TIMEOUT,
    ) -> None:
        self.name = "webhooks-slow" if slow else "webhooks"
        self._database = database
        self._sending = sending
        self._clock = clock
        self._slow = slow
        self._development = development
        self._timeout = timeout
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=self.name)
        self._free = threading.Semaphore(threads)
        self._kept: dict[str, EgressClient] = {}  # by endpoint, open and not in use
        self._in_use: set[EgressClient] = set()

    def loop(self) -> Loop:
        """Until stopped; a database that is away is waited for."""
        return Loop(self.name, self._work, waits_for=LOST, workers=1 + self._threads)

    def _work(self, loop: Loop) -> None:
        try:
            self._listen(loop)
        finally:
            if loop.stopping:
                self._finish()

    def _finish(self) -> None:
        """Waits for the attempts under way; those that take longer than a moment are cut off and
        made again by the next process.
        """
        cutter = threading.Timer(_GRACE, self._cut_all)
        cutter.daemon = True
        cutter.start()
        self._pool.shutdown()
        cutter.cancel()

    def _listen(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            if not self._slow:
                connection.execute(f"LISTEN {WEBHOOKS}")
            # A claim that a crash of the database forgets is made again; waiting for the disk would
            # cost each delivery a millisecond or more.
            connection.execute("SET synchronous_commit = off")
            while loop.turn():
                free = self._take_free()
                if not free:
                    continue
                claims: list[WebhookClaim] = []
                try:
                    claims = self._sending.next_webhooks(
                        connection, self._clock.now(), slow=self._slow, limit=free
                    )
                finally:
                    self._give_free(free - len(claims))
                for claim in claims:
                    self._pool.submit(self._send_and_free, claim)
                if not claims:
                    wait_for_notice(connection, _SLOW_POLL)

    def _take_free(self) -> int:
        """All threads that have nothing to do; waits a moment for the first."""
        if not self._free.acquire(timeout=0.5):
            return 0
        free = 1
        while free < self._threads and self._free.acquire(blocking=False):
            free += 1
        return free

    def _give_free(self, count: int) -> None:
        if count:
            self._free.release(count)

    def _send_and_free(self, claim: WebhookClaim) -> None:
        trace.begin(claim.trace)
        try:
            self.send(claim)
        except (
            Unavailable,
            Exhausted,
            Late,
            Stale,
        ) as refusal:  # not now: the lease ends by itself, and the delivery is sent again
            log.get().warning(
                "attempt_not_noted", channel="webhook", delivery_id=claim.id, reason=refusal.reason
            )
        except Exception as error:
            # whatever is wrong with one delivery, the others go on; this one comes again when its
            # lease is over
            metrics.ROWS_PUT_ASIDE.labels(self.name).inc()
            log.get().error(
                "delivery_put_aside",
                channel="webhook",
                delivery_id=claim.id,
                fault=log.fault(error),
            )
        finally:
            self._free.release()

    def send(self, claim: WebhookClaim) -> None:
        """One attempt, and the noting of it."""
        now = self._clock.now()
        signatures = (
            Signature(secret).sign(claim.id, now, claim.body)
            for secret in self._sending.secrets(claim)
        )
        sent = Sent(now, " ".join(signatures))
        # One delivery at a time per endpoint is the claim's promise, so its client is this thread's
        # alone.
        client = self._kept.pop(claim.webhook_id, None) or EgressClient(
            development=self._development, timeout=self._timeout
        )
        self._in_use.add(client)
        try:
            outcome = client.post(claim.url, headers(claim.id, sent), claim.body.encode())
        finally:
            self._in_use.discard(client)
        self._keep(claim.webhook_id, client)
        status = self._sending.finish(Channel.WEBHOOK, claim, outcome, self._clock.now(), sent)
        metrics.DELIVERIES.labels("webhook", status.value).inc()
        if outcome.arrived:
            log.get().info(
                "delivered",
                channel="webhook",
                delivery_id=claim.id,
                webhook_id=claim.webhook_id,
                attempt=claim.tries + 1,
            )
        else:
            log.get().info(
                "not_delivered", channel="webhook", delivery_id=claim.id,
                webhook_id=claim.webhook_id, reason=outcome.error, code=str(outcome.code),
                attempt=claim.tries + 1, status=status.value,
            )  # fmt: skip

    def _keep(self, webhook_id: str, client: EgressClient) -> None:
        if len(self._kept) < _KEPT_OPEN:
            self._kept[webhook_id] = client
        else:
            client.close()

    def _cut_all(self) -> None:
        for client in list(self._in_use):
            client.cut()

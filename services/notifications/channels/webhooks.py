"""Sends webhooks as the Standard Webhooks specification requires, in a small pool of threads.

The commit that adds a delivery wakes the sender. An idle lane queries the database only when the
next delivery is due, and once a minute. Webhooks are sent at least once: if a process dies between
the POST and the recording of its result, the delivery is sent again under the same webhook-id.
There are two lanes with threads of their own, so that endpoints that failed or were slow the last
time can't delay the other endpoints.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from standardwebhooks import Webhook as Signature

from chassis import egress, log, metrics, trace
from chassis.announcements import READ_AGAIN, listen, wait_for_notification
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.errors import Exhausted, Late, Stale, Unavailable
from chassis.supervisor import Loop
from services.notifications.channels.waiting import create_counts, wait_until_due
from services.notifications.domain.delivery import (
    BUSY,
    GONE,
    Channel,
    Outcome,
    SignedTime,
    WebhookClaim,
    headers,
)
from services.notifications.usecases.sending import WEBHOOKS, DeliveryQueue

# After this many seconds without a notification, a lane looks up when its next delivery is due. The
# slow lane pauses this long after a claim that found nothing, whatever is announced.
_PAUSE = 1.0
_GRACE = 1.5  # seconds that running attempts have after a stop; the whole process has ten
_MAX_IDLE_CLIENTS = 500  # maximum number of connections that one lane keeps open


class EndpointClient(egress.EgressClient):
    """A client for one endpoint, kept open between deliveries."""

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Makes one attempt and returns its result.

        The message has arrived if the response's status is 2xx; the response's body is ignored.
        """
        answer = self.send("POST", url, headers, body)
        return Outcome(
            answer.error,
            answer.code,
            answer.duration_ms,
            is_permanent=answer.code == GONE,
            retry_after=answer.retry_after if answer.code in BUSY else 0.0,
        )


class WebhookSender:
    """One lane: a loop that claims deliveries, and `threads` threads that send them."""

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue,
        clock: Clock,
        *,
        slow: bool,
        threads: int,
        development: bool,
        timeout: float = egress.TIMEOUT,
        read_again: float = READ_AGAIN,
    ) -> None:
        """Creates the lane.

        `read_again` is the longest time, in seconds, between two checks for deliveries that were
        not announced.
        """
        self._read_again = read_again
        self.name = "webhooks-slow" if slow else "webhooks"
        self._database = database
        self._queue = queue
        self._clock = clock
        self._slow = slow
        self._development = development
        self._timeout = timeout
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=self.name)
        self._idle_threads = threading.Semaphore(threads)
        self._idle_clients: dict[str, EndpointClient] = {}  # open, by webhook id
        self._clients_in_use: set[EndpointClient] = set()
        create_counts(Channel.WEBHOOK)

    def loop(self) -> Loop:
        """Returns the loop, which runs until it is stopped.

        While the database is unavailable, the loop waits for it.
        """
        return Loop(self.name, self._work, waits_for=LOST, workers=1 + self._threads)

    def _work(self, loop: Loop) -> None:
        try:
            self._claim_and_send(loop)
        finally:
            if loop.stopping:
                self._finish()

    def _finish(self) -> None:
        """Waits for the attempts that are under way.

        Attempts that take longer than `_GRACE` are cut off; the next process makes them again.
        """
        cutter = threading.Timer(_GRACE, self._cut_all)
        cutter.daemon = True
        cutter.start()
        self._pool.shutdown()
        cutter.cancel()

    def _claim_and_send(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, WEBHOOKS)
            # Commits without waiting for the disk: a claim lost in a crash is simply repeated, and
            # the flush would add a millisecond or more to each delivery.
            connection.execute("SET synchronous_commit = off")
            while loop.turn():
                thread_count = self._reserve_threads()
                if not thread_count:
                    continue
                claims: list[WebhookClaim] = []
                try:
                    claims = self._queue.next_webhooks(
                        connection, self._clock.now(), slow=self._slow, limit=thread_count
                    )
                finally:
                    self._release_threads(thread_count - len(claims))
                for claim in claims:
                    self._pool.submit(self._send_and_release, claim)
                if not claims:
                    self._wait(loop, connection)

    def _wait(self, loop: Loop, connection: Transaction) -> None:
        """Waits until a delivery of the lane may be due."""
        if self._slow:
            loop.wait(_PAUSE)
        elif wait_for_notification(connection, _PAUSE):
            return
        wait_until_due(
            loop,
            connection,
            self._clock,
            self._queue,
            Channel.WEBHOOK,
            lambda: self._queue.next_webhook_time(connection, slow=self._slow),
            self._read_again,
        )

    def _reserve_threads(self) -> int:
        """Reserves all idle threads and returns how many it reserved.

        Waits for the first idle thread; returns 0 if there is none after half a second.
        """
        if not self._idle_threads.acquire(timeout=0.5):
            return 0
        thread_count = 1
        while thread_count < self._threads and self._idle_threads.acquire(blocking=False):
            thread_count += 1
        return thread_count

    def _release_threads(self, count: int) -> None:
        if count:
            self._idle_threads.release(count)

    def _send_and_release(self, claim: WebhookClaim) -> None:
        trace.begin(claim.trace)
        try:
            self.send(claim)
        except (
            Unavailable,
            Exhausted,
            Late,
            Stale,
        ) as refusal:  # when the lease ends, the delivery is sent again
            log.get().warning(
                "attempt_not_recorded",
                channel="webhook",
                delivery_id=claim.id,
                reason=refusal.reason,
            )
        except Exception as error:
            # A fault in one delivery does not stop the others. This delivery is due again when its
            # lease is over.
            metrics.ROWS_PUT_ASIDE.labels(self.name).inc()
            log.get().error(
                "delivery_put_aside",
                channel="webhook",
                delivery_id=claim.id,
                fault=log.fault(error),
            )
        finally:
            self._idle_threads.release()

    def send(self, claim: WebhookClaim) -> None:
        """Makes one attempt and records it; discards a delivery to an inactive organisation."""
        if claim.inactive:
            self._queue.discard(claim)
            return
        now = self._clock.now()
        signatures = (
            Signature(secret).sign(claim.id, now, claim.body)
            for secret in self._queue.secrets(claim)
        )
        signed_time = SignedTime(now, " ".join(signatures))
        # A claim gives at most one delivery per endpoint at a time, so no other thread uses this
        # endpoint's client.
        client = self._idle_clients.pop(claim.webhook_id, None) or EndpointClient(
            development=self._development, timeout=self._timeout
        )
        self._clients_in_use.add(client)
        try:
            outcome = client.post(claim.url, headers(claim.id, signed_time), claim.body.encode())
        finally:
            self._clients_in_use.discard(client)
        self._keep_open(claim.webhook_id, client)
        status = self._queue.finish(Channel.WEBHOOK, claim, outcome, self._clock.now(), signed_time)
        metrics.DELIVERIES.labels(Channel.WEBHOOK.value, status.value).inc()
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

    def _keep_open(self, webhook_id: str, client: EndpointClient) -> None:
        if len(self._idle_clients) < _MAX_IDLE_CLIENTS:
            self._idle_clients[webhook_id] = client
        else:
            client.close()

    def _cut_all(self) -> None:
        for client in list(self._clients_in_use):
            client.cut()

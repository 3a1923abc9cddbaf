"""Watches the broker, and polls consumers on behalf of the parts that use the broker."""

import threading
import time
from collections.abc import Sequence

from chassis import log
from chassis.config import ServiceSettings
from chassis.supervisor import Loop
from facts.kafka import (
    KAFKA_ERRORS,
    Consumer,
    NoPartition,
    ReceivedRecord,
    connect_admin,
    create_topics,
    run_and_log_failure,
)

_WATCH = 2.0
"""Seconds between two queries of the cluster. A broker that is back is noticed sooner: the loop
tries to connect twice a second.
"""

_POLL = 1.0
"""Seconds that one poll may last. If a join completes between two polls, kafka-python 3.0 discards
it and joins again; longer, and therefore fewer, polls make that rarer.
"""


class Broker:
    """Watches the broker.

    `cluster_id` is None while no cluster responds; a new id means that the broker has lost its
    state. A broker that responds may still fail (a deleted topic, a broken partition), so the parts
    that use the broker report success and failure, each under its own name (`user`).
    """

    def __init__(
        self, settings: ServiceSettings, topics: Sequence[str], *, patience: float = 10.0
    ) -> None:
        """`patience` is the number of seconds of failures after which the broker counts as
        unusable: more than clients need to reconnect.
        """
        # The pause is short, so that a broker that is back is noticed soon.
        self.loop = Loop("broker", self._watch, waits_for=KAFKA_ERRORS, longest_pause=0.5)
        self.settings = settings
        self._topics = list(topics)
        self._changed = threading.Condition()
        self._cluster_id: str | None = None
        self._patience = patience
        self._failing_since: dict[str, float] = {}  # the time of the first failure, by user

    @property
    def cluster_id(self) -> str | None:
        """The id of the cluster that responded to the last query; None if none did."""
        return self._cluster_id

    @property
    def usable(self) -> bool:
        """True if the broker responds, and no user has been failing for too long (`patience`)."""
        since = min(list(self._failing_since.values()), default=None)
        return self._cluster_id is not None and (
            since is None or time.monotonic() - since < self._patience
        )

    def note_failure(self, user: str) -> None:
        """Records that `user` of the broker failed."""
        self._failing_since.setdefault(user, time.monotonic())

    def note_success(self, user: str) -> None:
        """Records that `user` of the broker succeeded; clears its failure."""
        self._failing_since.pop(user, None)

    def wait(self, seconds: float) -> str | None:
        """Waits until a cluster responds, at most `seconds`; returns its id, or None."""
        with self._changed:
            self._changed.wait_for(lambda: self._cluster_id is not None, seconds)
        return self._cluster_id

    def start(self) -> None:
        """Starts watching."""
        self.loop.start()

    def stop(self) -> None:
        """Stops watching."""
        self.loop.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Waits until the loop has ended; returns True if it has."""
        return self.loop.join(timeout)

    def _watch(self, loop: Loop) -> None:
        """Queries the cluster every two seconds. After any failure, the cluster id is unknown until
        a cluster responds again.
        """
        admin = None
        try:
            admin = connect_admin(self.settings)
            known_id = ""
            while loop.turn():
                cluster_id = str(admin.describe_cluster()["cluster_id"])
                # after failures too, since a topic may have been deleted
                if cluster_id != known_id or self._failing_since:
                    create_topics(admin, self.settings, self._topics)
                    known_id = cluster_id
                self._set_cluster_id(cluster_id)
                loop.wait(_WATCH)
        except Exception:
            self._set_cluster_id(None)
            raise
        finally:
            if admin is not None:
                run_and_log_failure(admin.close)

    def _set_cluster_id(self, cluster_id: str | None) -> None:
        if cluster_id == self._cluster_id:
            return
        with self._changed:
            self._cluster_id = cluster_id
            self._failing_since.clear()  # a broker that is back starts without failures
            self._changed.notify_all()
        log.get().info("broker" if cluster_id else "broker_away", cluster_id=cluster_id or "")


def read(broker: Broker, user: str, consumer: Consumer) -> list[ReceivedRecord]:
    """Polls once. Reports to `broker` that `user` succeeded if the consumer has a partition to
    read, and that it failed if the consumer has had none for too long.

    Raises the same exceptions as Consumer.poll.
    """
    try:
        records = consumer.poll(_POLL)
    except NoPartition:
        broker.note_failure(user)
        raise
    if consumer.assigned:
        broker.note_success(user)
    return records

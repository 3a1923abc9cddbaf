"""Forgets, once an hour, what need not be kept."""

import threading

from chassis import log
from chassis.clock import Clock
from chassis.errors import Refusal
from services.notifications.usecases.sending import Sending

_HOUR = 3600.0


class Tidying(threading.Thread):
    """One thread; several processes may do it, it is the same."""

    def __init__(self, sending: Sending, clock: Clock) -> None:
        super().__init__(name="tidying", daemon=True)
        self._sending = sending
        self._clock = clock
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends at once."""
        self._stopping.set()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopping.wait(_HOUR):
            try:
                self._sending.tidy(self._clock.now())
            except Refusal as refusal:
                log.get().info("tidied_later", reason=refusal.reason)

"""Limits the rate of each caller, counted in this process: a quota that refills steadily (GCRA, the
"leaky bucket as a meter").

One number is stored for each caller: the time at which its quota is full again. If there are too
many callers, those whose quota is full are forgotten first. Each process counts for itself, so
several processes of a service allow several quotas.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from chassis.errors import Exhausted
from chassis.tokens import NOBODY, Caller

# Seconds' worth of calls that may come at once: pages call in bursts, and so do systems that send a
# backlog.
WINDOW = 2
DEVICE_LIFETIME = timedelta(days=180)
"""How long a device is remembered after it gave the right secret (chassis.guesses)."""
# Maximum number of callers that are remembered. Beyond that number, callers with a full quota are
# forgotten first, and then those whose last call is oldest, until half of the maximum is left.
_MAX_CALLERS = 20_000
# The rate of an address, as a multiple of the rate of a caller: the calls that many people make
# without a token all come from the gateway's address.
_CALLERS_PER_ADDRESS = 20


@dataclass(frozen=True)
class Quota:
    """A caller's quota after a call: `left` of `total` calls may still come at once; after `reset`
    seconds, all of them may again. If `wait` is above 0, the call is over the limit, and may be
    repeated after `wait` seconds.
    """

    total: int
    left: int
    reset: float
    wait: float = 0.0


class Limiter:
    """Counts calls by caller. Thread-safe."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        """`rate` is in calls per second, on average."""
        self.quota = max(1, rate * WINDOW)
        self._step = 1 / max(1, rate)
        self._now = now
        # the time at which each caller's quota is full again, ordered by the last call
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> Quota:
        """Counts a call, unless it is over the limit; returns the caller's quota after the call."""
        with self._lock:
            now = self._now()
            quota, full_at = self._quota_of(caller, now)
            if not quota.wait:
                self._full_at.pop(caller, None)
                self._full_at[caller] = full_at
                if len(self._full_at) > _MAX_CALLERS:
                    self._forget(now)
            return quota

    def peek(self, caller: str) -> Quota:
        """Returns the quota that `take` would return, without counting a call."""
        with self._lock:
            return self._quota_of(caller, self._now())[0]

    def _quota_of(self, caller: str, now: float) -> tuple[Quota, float]:
        before = max(self._full_at.get(caller, now), now)
        after = before + self._step
        excess = after - now - self.quota * self._step
        if excess > 1e-9:
            return Quota(self.quota, 0, before - now, excess), before
        return Quota(self.quota, int((-excess + 1e-9) / self._step), after - now), after

    def _forget(self, now: float) -> None:
        self._full_at = {caller: at for caller, at in self._full_at.items() if at > now}
        for caller in list(self._full_at)[: max(0, len(self._full_at) - _MAX_CALLERS // 2)]:
            del self._full_at[caller]


class Limits:
    """Limits the rate of each caller in this process. A call over the limit is refused before it
    has a transaction.
    """

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._callers = Limiter(rate, now)
        self._addresses = Limiter(rate * _CALLERS_PER_ADDRESS, now)

    def admit(self, peer: str, caller: Caller) -> None:
        """Counts a call against its caller's quota, or against the quota of its peer's address if
        the caller is unknown.

        Raises Exhausted rate_limited.
        """
        if caller is NOBODY:
            quota = self._addresses.take(address_of(peer))
        else:
            quota = self._callers.take(caller.id)
        if quota.wait:
            raise Exhausted("rate_limited", quota.wait)


def address_of(peer: str) -> str:
    """Returns the network (as `network_of` does) of a gRPC peer such as ipv4:192.0.2.1:50000."""
    return network_of(unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"))


def network_of(host: str) -> str:
    """Returns an IPv4 address as it is, and for an IPv6 address its /64 network, which belongs to
    one customer.

    Returns any other text unchanged.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host

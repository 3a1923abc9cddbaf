"""One way of one message to one place outside: its attempts, what came of them, when the next one
is due, and when it is given up.

At least once: a sender that dies between sending and noting it sends again, under the same id, by
which the receiver knows the repeat.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class Status(Enum):
    """How far a delivery is."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    RETRYING = "RETRYING"
    DEAD = "DEAD"  # gave up
    DISCARDED = "DISCARDED"  # nobody wants it any more


class Channel(Enum):
    """Over what it goes."""

    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Delivery:
    """A delivery to a webhook as its owner sees it."""

    id: str
    webhook_id: str
    kind: str
    status: str
    attempts: int
    last_code: int
    last_error: str
    last_duration_ms: int
    body_sha256: str
    create_time: datetime
    next_attempt_time: datetime | None
    delivery_time: datetime | None


@dataclass(frozen=True)
class Attempt:
    """One attempt as its owner sees it."""

    attempt_time: datetime
    signature: str
    code: int
    error: str
    duration_ms: int


@dataclass(frozen=True)
class Hour:
    """How many attempts to one endpoint arrived in an hour, and how many did not."""

    webhook_id: str
    start_time: datetime
    delivered: int
    failed: int


@dataclass(frozen=True)
class Claim:
    """One delivery that this sender has taken for an attempt, until `lease`; a lease that ran out
    is somebody else's.
    """

    id: str
    message_id: str | None
    lease: datetime
    tries: int  # before this one
    first_try_time: datetime | None
    trace: str  # the request that it goes back to


@dataclass(frozen=True)
class WebhookClaim(Claim):
    """The secrets are still sealed; the former one only while it signs."""

    webhook_id: str
    url: str
    secret: bytes
    former_secret: bytes | None
    body: str


@dataclass(frozen=True)
class EmailClaim(Claim):
    """`email` is still sealed; None when the desk has taken it away since.

    So is `letter`, which goes to nobody's desk; None when it is too old.
    """

    referral_id: str
    organization_id: str
    language: str
    email: bytes | None
    about_id: str | None = None
    letter: bytes | None = None
    letter_kind: str | None = None


@dataclass(frozen=True)
class BackOff:
    """How long to wait after the n-th failed attempt: `first`, then `factor` times more each time,
    at most `longest`; given up after `patience`.
    """

    first: timedelta
    factor: float
    longest: timedelta
    patience: timedelta


# 5 s to 3 days: a receiver that restarts misses nothing, one that is broken over a weekend neither.
WEBHOOK_BACK_OFF = BackOff(timedelta(seconds=5), 4.0, timedelta(hours=12), timedelta(days=3))
# 1 min to 24 h: greylisting servers want some minutes, and a task older than a day has been seen in
# the inbox or escalated.
EMAIL_BACK_OFF = BackOff(timedelta(minutes=1), 3.0, timedelta(hours=4), timedelta(hours=24))
SPREAD = 0.2  # of a pause, each way
BACK_OFFS = {Channel.EMAIL: EMAIL_BACK_OFF, Channel.WEBHOOK: WEBHOOK_BACK_OFF}


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    `error` is empty when it arrived, else one of timeout, connection, http, refused_address, smtp.
    """

    error: str = ""
    code: int = 0  # HTTP status or SMTP reply
    duration_ms: int = 0
    hopeless: bool = False  # another attempt would hear the same

    @property
    def arrived(self) -> bool:
        """Whether the other side has it."""
        return not self.error


@dataclass(frozen=True)
class Sent:
    """What an attempt said beside the body."""

    time: datetime
    signature: str


def headers(id: str, sent: Sent) -> dict[str, str]:
    """All headers of a webhook but those that follow from where it goes and how long it is.

    Also the usual ones, so that what its owner is shown is whole.
    """
    return {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": "Enlace/1",
        "webhook-id": id,
        "webhook-timestamp": str(int(sent.time.timestamp())),
        "webhook-signature": sent.signature,
    }


@dataclass(frozen=True)
class Verdict:
    """What follows from an attempt."""

    status: Status
    next_attempt_time: datetime | None = None


def judge(
    channel: Channel,
    outcome: Outcome,
    *,
    tries: int,
    first_try_time: datetime,
    now: datetime,
    chance: float,
) -> Verdict:
    """Delivered, tried again later, or given up.

    `tries` counts this attempt; `chance` (0 to 1) spreads the waiting by a fifth each way.
    """
    if outcome.arrived:
        return Verdict(Status.DELIVERED)
    if outcome.hopeless:
        return Verdict(Status.DEAD)
    back_off = BACK_OFFS[channel]
    following = now + wait(back_off, tries, chance)
    if following - first_try_time > back_off.patience:
        return Verdict(Status.DEAD)
    return Verdict(Status.RETRYING, following)


def wait(back_off: BackOff, tries: int, chance: float) -> timedelta:
    """How long until the next attempt."""
    grown = back_off.first.total_seconds() * back_off.factor ** min(tries - 1, 30)
    return timedelta(
        seconds=min(grown, back_off.longest.total_seconds()) * (1 - SPREAD + 2 * SPREAD * chance)
    )

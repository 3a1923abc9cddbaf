"""A delivery of one message to one outside destination: its attempts, and when it is given up.

Deliveries are made at least once: if a sender dies between sending and recording, the delivery is
sent again under the same id, so that the receiver can recognise the repeat.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class Status(Enum):
    """The state of a delivery."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    RETRYING = "RETRYING"
    DEAD = "DEAD"  # given up
    DISCARDED = "DISCARDED"  # no longer wanted


class Channel(Enum):
    """The channel of a delivery."""

    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Delivery:
    """A delivery to a webhook, as the owner of the endpoint sees it."""

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
    """An attempt, as the owner of the endpoint sees it."""

    attempt_time: datetime
    signature: str
    code: int
    error: str
    duration_ms: int


@dataclass(frozen=True)
class Hour:
    """The numbers of successful and failed attempts to one endpoint in one hour."""

    webhook_id: str
    start_time: datetime
    delivered: int
    failed: int


@dataclass(frozen=True)
class Claim:
    """A delivery that this sender has claimed for one attempt, until `lease`.

    After the lease another sender may claim the delivery.
    """

    id: str
    message_id: str | None
    lease: datetime
    tries: int  # attempts before this one
    first_try_time: datetime | None
    trace: str  # the trace of the request that caused the delivery


@dataclass(frozen=True)
class WebhookClaim(Claim):
    """A claimed delivery to a webhook.

    The secrets are still sealed; `former_secret` is None once it no longer signs. `inactive` is
    True if the organisation is suspended or has left.
    """

    webhook_id: str
    url: str
    secret: bytes
    former_secret: bytes | None
    body: str
    inactive: bool


@dataclass(frozen=True)
class EmailClaim(Claim):
    """A claimed e-mail, either to a desk or, as a letter, to one person.

    For a desk, `email` is the address, still sealed; None if the desk has removed it since, or if
    its organisation is suspended or has left. For a letter, `letter` holds the text and the
    address, still sealed; None once the letter has expired.
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
    """The times to wait after failed attempts, before jitter varies them (SPREAD).

    The first wait is `first`; each further wait is `factor` times the previous one, up to
    `longest`. The delivery is given up when the next attempt would come more than `patience` after
    the first attempt. Time in which no sender ran does not count.
    """

    first: timedelta
    factor: float
    longest: timedelta
    patience: timedelta


# Attempts are repeated from 5 s to 3 days after the first one, so that neither a receiver that
# restarts nor a receiver that is broken over a weekend misses anything.
WEBHOOK_BACK_OFF = BackOff(timedelta(seconds=5), 4.0, timedelta(hours=12), timedelta(days=3))
# Attempts are repeated from 1 min to 24 h after the first one: greylisting servers require some
# minutes, and after a day the task has been seen in the inbox or has been escalated.
EMAIL_BACK_OFF = BackOff(timedelta(minutes=1), 3.0, timedelta(hours=4), timedelta(hours=24))
SPREAD = 0.2  # jitter may shorten or lengthen a wait by up to this fraction of it
GONE = 410  # the status with which a receiver states that it wants no more deliveries
BUSY = (429, 503)  # the statuses with which a receiver may state when to try again
# The longest wait that a receiver can ask for: no receiver can put a notice off for a day.
MAX_RETRY_AFTER = timedelta(hours=1)
BACK_OFFS = {Channel.EMAIL: EMAIL_BACK_OFF, Channel.WEBHOOK: WEBHOOK_BACK_OFF}


@dataclass(frozen=True)
class Outcome:
    """The result of one attempt.

    `error` is empty if the message arrived, or else one of timeout, connection, http,
    refused_address, smtp.
    """

    error: str = ""
    code: int = 0  # HTTP status or SMTP reply
    duration_ms: int = 0
    is_permanent: bool = False  # another attempt would get the same answer
    retry_after: float = 0.0  # the seconds that the receiver asks to wait

    @property
    def arrived(self) -> bool:
        """Returns whether the other side has the message."""
        return not self.error


@dataclass(frozen=True)
class SignedTime:
    """The time and the signature that an attempt sent with the body."""

    time: datetime
    signature: str


def headers(id: str, signed_time: SignedTime) -> dict[str, str]:
    """Returns all headers of a webhook except those that depend on its address and length.

    The headers that an HTTP client would add by itself are included, so that the owner of the
    endpoint is shown all headers.
    """
    return {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": "Enlace/1",
        "webhook-id": id,
        "webhook-timestamp": str(int(signed_time.time.timestamp())),
        "webhook-signature": signed_time.signature,
    }


@dataclass(frozen=True)
class Verdict:
    """The status that follows from an attempt, and the time of the next attempt."""

    status: Status
    next_attempt_time: datetime | None = None


def judge(
    channel: Channel,
    outcome: Outcome,
    *,
    tries: int,
    first_try_time: datetime,
    now: datetime,
    jitter: float,
) -> Verdict:
    """Returns whether the delivery is delivered, tried again later, or given up.

    `tries` includes this attempt; `jitter` (0 to 1) shortens or lengthens the wait by up to a
    fifth.
    """
    if outcome.arrived:
        return Verdict(Status.DELIVERED)
    if outcome.is_permanent:
        return Verdict(Status.DEAD)
    back_off = BACK_OFFS[channel]
    requested_pause = timedelta(seconds=min(outcome.retry_after, MAX_RETRY_AFTER.total_seconds()))
    pause = max(wait(back_off, tries, jitter), requested_pause)
    # If more time has passed than the longest waits add up to, no sender ran for the rest of it,
    # e.g. during a power cut. Without this limit, one failure after a weekend without power would
    # end a delivery that was tried for a minute.
    longest_waits = sum((wait(back_off, number, 1.0) for number in range(1, tries)), timedelta())
    if min(now - first_try_time, longest_waits) + pause > back_off.patience:
        return Verdict(Status.DEAD)
    return Verdict(Status.RETRYING, now + pause)


def wait(back_off: BackOff, tries: int, jitter: float) -> timedelta:
    """Returns the time until the next attempt."""
    seconds = back_off.first.total_seconds() * back_off.factor ** min(tries - 1, 30)
    return timedelta(
        seconds=min(seconds, back_off.longest.total_seconds()) * (1 - SPREAD + 2 * SPREAD * jitter)
    )

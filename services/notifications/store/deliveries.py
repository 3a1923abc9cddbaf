"""Deliveries: senders claim and finish them, and the owner of an endpoint lists them.

A sender claims a delivery for a lease, and finishes it within the lease. A claim moves
`next_attempt_time` to the end of the lease, so the delivery of a sender that dies becomes due again
by itself. `finish` does not change a delivery that was claimed again or discarded in the meantime.
A delivery that was being added while its organisation was suspended is not discarded with the
others; its claim is `inactive`. A transaction that changes an endpoint and its deliveries locks the
endpoint first: otherwise a manager who disables the endpoint and a sender that records an attempt
would wait for each other, and PostgreSQL would end one of the two transactions.
"""

from datetime import datetime, timedelta

from chassis.db import Row, Transaction, notify
from chassis.wire import Cursor
from services.notifications.domain.delivery import (
    BACK_OFFS,
    BUSY,
    MAX_RETRY_AFTER,
    SPREAD,
    Channel,
    Delivery,
    EmailClaim,
    Outcome,
    SignedTime,
    Verdict,
    WebhookClaim,
)
from services.notifications.domain.rules import LETTERS_WHILE_INACTIVE
from services.notifications.domain.webhook import SERIES_GAP, SLOW_MS, TEST, Webhook
from services.notifications.store.members import is_inactive

_COLUMNS = (
    "id, webhook_id, kind, status, attempts, last_code, last_error, last_duration_ms,"
    " encode(sha256(convert_to(body, 'UTF8')), 'hex') AS body_sha256,"
    " create_time, next_attempt_time, delivery_time"
)

# The endpoint that was served longest ago comes first, with one delivery at a time, so that an
# endpoint with a thousand waiting deliveries, or an endpoint that uses its full ten seconds, delays
# no other. The lanes keep troublesome endpoints from taking all threads.
_CLAIM_WEBHOOKS = f"""
WITH due AS (
    SELECT first.id, w.id AS webhook_id, w.url, w.secret, CASE
        WHEN w.former_secret_expire_time > %(now)s THEN w.former_secret END AS former_secret,
        {is_inactive("w.organization_id")} AS inactive
    FROM webhooks w CROSS JOIN LATERAL (
        SELECT id FROM deliveries WHERE channel = 'webhook' AND webhook_id = w.id
            AND next_attempt_time <= %(now)s ORDER BY next_attempt_time LIMIT 1
    ) first
    WHERE w.slow = %(slow)s AND w.busy_until <= %(now)s
    ORDER BY w.busy_until LIMIT %(limit)s FOR UPDATE OF w SKIP LOCKED
), taken AS (
    UPDATE deliveries d SET next_attempt_time = %(lease)s FROM due WHERE d.id = due.id
        AND d.next_attempt_time <= %(now)s
    RETURNING d.id, d.message_id, d.tries, d.first_try_time, d.trace, d.body, due.webhook_id,
        due.url, due.secret, due.former_secret, due.inactive
), busy AS (
    UPDATE webhooks SET busy_until = %(lease)s FROM taken WHERE webhooks.id = taken.webhook_id
)
SELECT * FROM taken
"""

_CLAIM_EMAIL = f"""
WITH due AS (
    SELECT id FROM deliveries WHERE channel = 'email' AND next_attempt_time <= %(now)s
        ORDER BY next_attempt_time LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE deliveries d SET next_attempt_time = %(lease)s FROM due WHERE d.id = due.id
    RETURNING d.id, d.message_id, d.tries, d.first_try_time, d.trace, d.organization_id, d.kind
)
SELECT taken.id, taken.message_id, taken.tries, taken.first_try_time, taken.trace,
    taken.organization_id, m.referral_id, coalesce(desks.language, '') AS language,
    desks.email, letters.invitation_id AS about_id, letters.sealed AS letter,
    letters.kind AS letter_kind
FROM taken JOIN messages m ON m.id = taken.message_id
    LEFT JOIN desks ON desks.organization_id = taken.organization_id AND taken.kind <> 'letter'
        AND NOT {is_inactive("taken.organization_id")}
    LEFT JOIN letters ON letters.delivery_id = taken.id AND letters.expire_time > %(now)s
"""

_FINISH = """
WITH endpoint AS MATERIALIZED (
    SELECT FROM webhooks WHERE id = %(webhook)s FOR UPDATE
), done AS (
    UPDATE deliveries SET status = %(status)s, next_attempt_time = %(next)s,
        attempts = attempts + 1, tries = tries + 1,
        first_try_time = coalesce(first_try_time, %(now)s), last_code = %(code)s,
        last_error = %(error)s, last_duration_ms = %(duration)s,
        delivery_time = CASE WHEN %(arrived)s THEN %(now)s ELSE delivery_time END
    -- Counting the endpoint makes PostgreSQL lock it first.
    WHERE id = %(id)s AND next_attempt_time = %(lease)s AND (SELECT count(*) FROM endpoint) >= 0
    RETURNING id, attempts
), noted AS (
    INSERT INTO attempts
        (delivery_id, number, webhook_id, attempt_time, signature, code, error, duration_ms)
    SELECT id, attempts, %(webhook)s, %(sent)s, %(signature)s, %(code)s, %(error)s, %(duration)s
        FROM done WHERE %(sent)s::timestamptz IS NOT NULL
), freed AS (
    -- A delivery that was committed during this statement found the endpoint busy, so the senders
    -- are always woken.
    UPDATE webhooks SET busy_until = %(now)s, slow = %(slow)s, failing_since = CASE
        WHEN %(arrived)s THEN NULL
        WHEN EXISTS (
            SELECT FROM attempts WHERE webhook_id = %(webhook)s AND attempt_time > %(earliest)s
        ) THEN coalesce(failing_since, %(now)s) ELSE %(now)s END
    WHERE id = %(webhook)s AND busy_until = %(lease)s
    RETURNING id
)
SELECT (SELECT count(*) FROM done) AS done,
    (SELECT count(*) FROM freed, pg_notify('webhooks', '')) AS woken
"""


def shorten_waits(tx: Transaction, now: datetime, channel: Channel, lease: timedelta) -> None:
    """Shortens waits of deliveries and of busy endpoints that a wrong clock has made too long.

    A delivery that waits longer than a correct clock allows becomes due at once, and an endpoint
    that would stay busy for too long is freed. A correct wait is at most `lease` plus a pause: the
    longest pause after this number of tries, or the longest that the receiver may have asked for. A
    second `lease` is added because clocks differ.
    """
    back_off = BACK_OFFS[channel]
    values = {
        "now": now,
        "channel": channel.value,
        "lease": 2 * lease,
        "first": back_off.first.total_seconds() * (1 + SPREAD),
        "factor": back_off.factor,
        "longest": back_off.longest.total_seconds() * (1 + SPREAD),
        "busy": list(BUSY),
        "asked": MAX_RETRY_AFTER.total_seconds(),
    }
    if channel is Channel.WEBHOOK:
        tx.execute(
            "UPDATE webhooks SET busy_until = %(now)s WHERE busy_until > %(now)s + %(lease)s",
            values,
        )
    tx.execute(
        "UPDATE deliveries SET next_attempt_time = %(now)s WHERE id IN (SELECT id FROM deliveries"
        " WHERE channel = %(channel)s AND next_attempt_time > %(now)s"
        " + %(lease)s + make_interval(secs => greatest(CASE"
        " WHEN tries > 0 THEN least(%(longest)s, %(first)s * power(%(factor)s, least(tries - 1,"
        " 30))) ELSE 0 END, CASE WHEN last_code = ANY(%(busy)s) THEN %(asked)s ELSE 0 END))"
        " FOR UPDATE SKIP LOCKED)",
        values,
    )


def claim_webhooks(
    tx: Transaction, now: datetime, lease: datetime, *, slow: bool, limit: int
) -> list[WebhookClaim]:
    """Claims the next deliveries of one lane, at most one per endpoint."""
    rows = tx.execute(
        _CLAIM_WEBHOOKS, {"now": now, "lease": lease, "slow": slow, "limit": limit}
    ).fetchall()
    return [WebhookClaim(**row, lease=lease) for row in rows]


def next_webhook_time(tx: Transaction, *, slow: bool) -> datetime | None:
    """Returns when the next delivery of a lane is due; None if none waits.

    A claimed delivery is due when its lease ends.
    """
    row = tx.execute(
        "SELECT min(greatest(first.next_attempt_time, w.busy_until)) AS next"
        " FROM webhooks w CROSS JOIN LATERAL (SELECT next_attempt_time FROM deliveries"
        " WHERE channel = 'webhook' AND webhook_id = w.id AND next_attempt_time IS NOT NULL"
        " ORDER BY next_attempt_time LIMIT 1) AS first WHERE w.slow = %s",
        (slow,),
    ).fetchone()
    return row["next"] if row else None


def next_email_time(tx: Transaction) -> datetime | None:
    """Returns when the next e-mail is due; None if none waits.

    A claimed e-mail is due when its lease ends.
    """
    row = tx.execute(
        "SELECT min(next_attempt_time) AS next FROM deliveries WHERE channel = 'email'"
        " AND next_attempt_time IS NOT NULL"
    ).fetchone()
    return row["next"] if row else None


def claim_email(tx: Transaction, now: datetime, lease: datetime) -> EmailClaim | None:
    """Claims the next e-mail; returns None if none is due."""
    row = tx.execute(_CLAIM_EMAIL, {"now": now, "lease": lease}).fetchone()
    return EmailClaim(**row, lease=lease) if row else None


def finish(
    tx: Transaction,
    id: str,
    lease: datetime,
    outcome: Outcome,
    verdict: Verdict,
    now: datetime,
    *,
    webhook_id: str | None = None,
    signed_time: SignedTime | None = None,
) -> bool:
    """Records an attempt and its result.

    For a webhook, also frees the endpoint and wakes the senders. Returns False, and does not record
    the attempt, if the lease was no longer held.
    """
    row = tx.execute(
        _FINISH,
        {
            "id": id,
            "lease": lease,
            "status": verdict.status.value,
            "next": verdict.next_attempt_time,
            "now": now,
            "code": outcome.code,
            "error": outcome.error,
            "duration": outcome.duration_ms,
            "arrived": outcome.arrived,
            "webhook": webhook_id,
            "sent": signed_time.time if signed_time else None,
            "signature": signed_time.signature if signed_time else None,
            "slow": not outcome.arrived or outcome.duration_ms > SLOW_MS,
            "earliest": now - SERIES_GAP,
        },
    ).fetchone()
    return bool(row and row["done"])


def discard_of_webhook(tx: Transaction, webhook_id: str) -> None:
    """Discards the open deliveries to an endpoint."""
    tx.execute(
        "UPDATE deliveries SET status = 'DISCARDED', next_attempt_time = NULL WHERE webhook_id = %s"
        " AND next_attempt_time IS NOT NULL",
        (webhook_id,),
    )


def discard_of_organization(tx: Transaction, organization_id: str) -> None:
    """Discards the open deliveries to an organisation that is suspended or has left.

    Letters of LETTERS_WHILE_INACTIVE are not discarded.
    """
    tx.execute(
        "SELECT FROM webhooks WHERE organization_id = %s ORDER BY id FOR UPDATE", (organization_id,)
    )
    tx.execute(
        "UPDATE deliveries SET status = 'DISCARDED', next_attempt_time = NULL"
        " WHERE organization_id = %s AND next_attempt_time IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM letters WHERE delivery_id = deliveries.id"
        " AND letters.kind = ANY(%s))",
        (organization_id, sorted(LETTERS_WHILE_INACTIVE)),
    )


def discard(tx: Transaction, id: str, lease: datetime) -> None:
    """Discards a delivery that this sender has claimed and that is no longer wanted."""
    tx.execute(
        "UPDATE deliveries SET status = 'DISCARDED', next_attempt_time = NULL WHERE id = %s"
        " AND next_attempt_time = %s",
        (id, lease),
    )


def add_test(tx: Transaction, id: str, webhook: Webhook, body: str, now: datetime) -> Delivery:
    """Adds a test delivery to the ordinary queue."""
    row = tx.execute(
        "INSERT INTO deliveries (id, channel, organization_id, webhook_id, kind, body, status,"
        " next_attempt_time, create_time)"
        f" VALUES (%s, 'webhook', %s, %s, %s, %s, 'WAITING', %s, %s) RETURNING {_COLUMNS}",
        (id, webhook.organization_id, webhook.id, TEST, body, now, now),
    ).fetchone()
    _wake(tx)
    assert row is not None
    return Delivery(**row)


def resend(tx: Transaction, organization_id: str, id: str, now: datetime) -> Delivery | None:
    """Makes a delivery due at once under the same id, and starts its series of attempts again.

    Returns None if there is no such delivery, or if its endpoint was deleted.
    """
    row = tx.execute(
        "UPDATE deliveries SET status = 'WAITING', next_attempt_time = %s, tries = 0,"
        " first_try_time = NULL WHERE id = %s AND organization_id = %s"
        f" AND EXISTS (SELECT FROM webhooks WHERE webhooks.id = webhook_id) RETURNING {_COLUMNS}",
        (now, id, organization_id),
    ).fetchone()
    _wake(tx)
    return Delivery(**row) if row else None


def fetch(tx: Transaction, organization_id: str, id: str) -> tuple[Delivery, str] | None:
    """Returns a delivery and its body; None if the delivery or its endpoint does not exist."""
    row = tx.execute(
        f"SELECT {_COLUMNS}, body FROM deliveries WHERE id = %s AND organization_id = %s"
        " AND EXISTS (SELECT FROM webhooks WHERE webhooks.id = webhook_id)",
        (id, organization_id),
    ).fetchone()
    if row is None:
        return None
    body = row.pop("body")
    return Delivery(**row), str(body)


def of_webhook(
    tx: Transaction, webhook_id: str, *, after: Cursor | None, limit: int
) -> list[Delivery]:
    """Returns the deliveries to an endpoint, newest first."""
    time, id = after or (None, "")
    rows: list[Row] = tx.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE webhook_id = %(webhook)s"
        " AND (%(time)s::timestamptz IS NULL OR (create_time, id) < (%(time)s, %(id)s))"
        " ORDER BY create_time DESC, id DESC LIMIT %(limit)s",
        {"webhook": webhook_id, "time": time, "id": id, "limit": limit},
    ).fetchall()
    return [Delivery(**row) for row in rows]


def _wake(tx: Transaction) -> None:
    notify(tx, "webhooks")

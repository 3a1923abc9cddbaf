"""Messages: written together with their deliveries in one statement.

An inbox unites messages to the desk, to the worker and, for a coordinator, to the coordinators.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis import trace
from chassis.db import Transaction
from chassis.wire import Cursor
from services.notifications.domain.message import Message, NoticeDelivery
from services.notifications.domain.rules import FOR_SENDER_ALONE, MESSAGE_UNDELIVERABLE, Audience
from services.notifications.store.members import is_inactive

WEBHOOKS, EMAILS = "webhooks", "emails"
"""The channels on which the senders of webhooks and of e-mails listen.

A notification arrives when the transaction that added deliveries has committed.
"""

_COLUMNS = (
    "id, audience, organization_id, worker_id, besides_worker_id, kind, referral_id, urgency,"
    " sender_organization_id, receiver_organization_id, create_time, read_time, need_code,"
    " enquiry_id"
)

# Everything is written in one round trip, because the path from a fact to a partner's system is
# measured in milliseconds. A delivery's id is derived from its message and destination, so that if
# a fact is received again after a backup was restored, it is sent under the same webhook-id or
# Message-ID. A program that repeats its note must not fill a mailbox: a note causes no e-mail if a
# note of the same referral caused one in the last hour and its message is still unread.
_INSERT_MESSAGES = f"""
WITH made AS (
    INSERT INTO messages (
        id, audience, organization_id, worker_id, besides_worker_id, kind, referral_id, urgency,
        sender_organization_id, receiver_organization_id, create_time, need_code, enquiry_id
    )
    SELECT * FROM unnest(
        %(id)s::text[], %(audience)s::text[], %(organization_id)s::text[], %(worker_id)s::text[],
        %(besides_worker_id)s::text[], %(kind)s::text[], %(referral_id)s::text[],
        %(urgency)s::text[], %(sender_organization_id)s::text[],
        %(receiver_organization_id)s::text[], %(create_time)s::timestamptz[],
        %(need_code)s::text[], %(enquiry_id)s::text[]
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING id, audience, organization_id, kind, referral_id, create_time
), destination AS (
    SELECT made.id AS message_id, made.kind, 'webhook' AS channel, w.organization_id,
        w.id AS webhook_id
    FROM made JOIN webhooks w ON w.organization_id = made.organization_id AND w.enabled
        AND (w.kinds = '{{}}' OR made.kind = ANY (w.kinds))
    WHERE made.audience = 'desk'
    UNION ALL
    SELECT made.id, made.kind, 'email', d.organization_id, NULL
    FROM made JOIN desks d ON d.email IS NOT NULL AND CASE made.audience
        WHEN 'desk' THEN d.organization_id = made.organization_id
        WHEN 'coordination' THEN EXISTS (
            SELECT FROM workers WHERE workers.organization_id = d.organization_id
                AND 'COORDINATOR' = ANY (roles) AND status = 'ACTIVE'
        )
        ELSE false END
    WHERE %(by_email)s AND NOT (made.kind = 'referral_note_added' AND EXISTS (
        SELECT FROM messages m JOIN deliveries e ON e.message_id = m.id AND e.channel = 'email'
        WHERE m.referral_id = made.referral_id AND m.organization_id = made.organization_id
            AND m.kind = made.kind AND m.read_time IS NULL
            AND m.create_time > made.create_time - interval '1 hour'
    ))
), sent AS (
    INSERT INTO deliveries (
        id, message_id, channel, organization_id, webhook_id, kind, body, status,
        next_attempt_time, create_time, trace
    )
    SELECT left(encode(sha256(convert_to(
            message_id || '/' || coalesce(webhook_id, organization_id), 'UTF8')), 'hex'), 32),
        message_id, channel, organization_id, webhook_id, kind,
        CASE channel WHEN 'webhook' THEN '{{"kind":"' || kind || '",' || substr(%(body)s::text, 2)
        END, 'WAITING', %(now)s, %(now)s, %(trace)s
    FROM destination WHERE NOT {is_inactive("destination.organization_id")}
    ON CONFLICT (id) DO NOTHING
    RETURNING channel
)
SELECT pg_notify(channel || 's', '') FROM (SELECT DISTINCT channel FROM sent) AS sent
"""


def save(
    tx: Transaction, messages: Sequence[Message], body: str, now: datetime, *, by_email: bool
) -> None:
    """Writes the messages that are not stored yet, with their deliveries.

    There is a delivery to each webhook and e-mail address that is to get the message. The body of a
    webhook, a JSON object, gets the kind of its message. The senders are woken at the commit.
    """
    if not messages:
        return
    columns = (
        "id",
        "organization_id",
        "worker_id",
        "besides_worker_id",
        "kind",
        "referral_id",
        "urgency",
        "sender_organization_id",
        "receiver_organization_id",
        "create_time",
        "need_code",
        "enquiry_id",
    )
    values = {name: [getattr(message, name) for message in messages] for name in columns}
    values |= {"audience": [message.audience.value for message in messages]}
    tx.execute(
        _INSERT_MESSAGES,
        {**values, "body": body, "now": now, "by_email": by_email, "trace": trace.current()},
    )


# The messages of each audience come in order from an index of their own; only a page of each
# audience is read.
_PAGE = (
    " AND (NOT %(unread)s OR read_time IS NULL) AND (%(time)s::timestamptz IS NULL"
    " OR (create_time, id) < (%(time)s, %(id)s))"
)
_ORDER = " ORDER BY create_time DESC, id DESC LIMIT %(limit)s"
_AUDIENCE_CONDITIONS = (
    "audience = 'desk' AND organization_id = %(organization)s AND besides_worker_id <> %(me)s",
    "audience = 'worker' AND worker_id = %(me)s",
    "audience = 'coordination' AND %(coordinator)s",
)
_VISIBLE = " OR ".join(f"({condition})" for condition in _AUDIENCE_CONDITIONS)
_LIST = (
    " UNION ALL ".join(
        f"(SELECT {_COLUMNS} FROM messages WHERE {condition}{_PAGE}{_ORDER})"
        for condition in _AUDIENCE_CONDITIONS
    )
    + _ORDER
)
_COUNT = (
    "SELECT "
    + " + ".join(
        f"(SELECT count(*) FROM messages WHERE {condition} AND read_time IS NULL)"
        for condition in _AUDIENCE_CONDITIONS
    )
    + " AS unread"
)
_MARK_READ = (
    "UPDATE messages SET read_time = coalesce(read_time, %(now)s) WHERE id = %(message)s"
    f" AND ({_VISIBLE}) RETURNING {_COLUMNS}"
)
# A message is dated by its fact. If the fact arrived after the newest message that was seen, the
# message may have been in no list yet. The five seconds allow for facts that overtake each other.
_MARK_ALL_READ = (
    "UPDATE messages SET read_time = %(now)s WHERE read_time IS NULL AND create_time <= %(until)s"
    f" AND ({_VISIBLE}) AND arrival_time <= interval '5 s' + (SELECT arrival_time FROM messages"
    f" WHERE create_time <= %(until)s AND ({_VISIBLE})"
    " ORDER BY create_time DESC, arrival_time DESC LIMIT 1)"
)


def inbox(
    tx: Transaction,
    reader: dict[str, object],
    *,
    unread_only: bool,
    after: Cursor | None,
    limit: int,
) -> list[Message]:
    """Returns the messages that `reader` (organization, me, coordinator) sees, newest first."""
    time, id = after or (None, "")
    rows = tx.execute(
        _LIST, {**reader, "time": time, "id": id, "unread": unread_only, "limit": limit}
    ).fetchall()
    return [_message(row) for row in rows]


def count_unread(tx: Transaction, reader: dict[str, object]) -> int:
    """Returns how many messages that `reader` sees are unread."""
    row = tx.execute(_COUNT, reader).fetchone()
    assert row is not None
    return int(row["unread"])


def unread_version(tx: Transaction, organization_id: str, *, coordination: bool) -> str:
    """Returns a text that changes with the unread messages of an organisation.

    The text consists of the number of these messages, whichever worker they are for, and a sum of
    the hashes of their ids. With `coordination`, messages to the coordinators are included.
    """
    row = tx.execute(
        "SELECT count(*) || '.' || coalesce(sum(hashtext(id)), 0) AS version FROM messages"
        " WHERE read_time IS NULL"
        " AND (organization_id = %s OR (audience = 'coordination' AND organization_id = ''"
        " AND %s))",
        (organization_id, coordination),
    ).fetchone()
    assert row is not None
    return str(row["version"])


def mark_read(
    tx: Transaction, reader: dict[str, object], message_id: str, now: datetime
) -> Message | None:
    """Marks a message as read, unless it has been read before, and returns the message.

    Returns None if `reader` does not see the message.
    """
    row = tx.execute(_MARK_READ, {**reader, "message": message_id, "now": now}).fetchone()
    return _message(row) if row else None


def mark_unread(tx: Transaction, ids: Sequence[str]) -> None:
    """Marks stored messages as unread, since there is something new about their subject."""
    tx.execute("UPDATE messages SET read_time = NULL WHERE id = ANY(%s)", (list(ids),))


def mark_all_read(
    tx: Transaction, reader: dict[str, object], until: datetime, now: datetime
) -> None:
    """Marks as read all messages that `reader` sees and that are not newer than `until`.

    Messages that arrived more than five seconds after the newest of these stay unread.
    """
    tx.execute(_MARK_ALL_READ, {**reader, "until": until, "now": now})


def notices(tx: Transaction, referral_id: str, organization_id: str) -> list[NoticeDelivery]:
    """Returns how the messages to both sides of a referral were delivered, oldest first.

    The list is empty if the organisation is not a side. The receiver does not see the sender's
    messages of a kind in FOR_SENDER_ALONE. In the inbox, the messages to the desk and to a worker
    of one organisation count as one notice.
    """
    rows = tx.execute(
        "WITH about AS (SELECT id, kind, organization_id, create_time, read_time FROM messages"
        " WHERE referral_id = %(referral)s"
        " AND audience <> 'coordination' AND %(organization)s IN (sender_organization_id,"
        " receiver_organization_id)"
        " AND (%(organization)s IN (organization_id, sender_organization_id)"
        " OR kind <> ALL(%(for_sender_alone)s)))"
        " SELECT kind, organization_id, 'inbox' AS channel, 'DELIVERED' AS status, create_time,"
        " create_time AS delivery_time, min(read_time) AS read_time"
        " FROM about GROUP BY kind, organization_id, create_time"
        " UNION ALL SELECT d.kind, d.organization_id, d.channel, d.status, about.create_time,"
        " d.delivery_time, NULL"
        " FROM about JOIN deliveries d ON d.message_id = about.id"
        " ORDER BY create_time, organization_id, kind, channel DESC",
        {
            "referral": referral_id,
            "organization": organization_id,
            "for_sender_alone": list(FOR_SENDER_ALONE),
        },
    ).fetchall()
    return [NoticeDelivery(**row) for row in rows]


def mark_undeliverable(tx: Transaction, message_id: str, *, of_letter: bool) -> Message | None:
    """Marks a message as undeliverable, and returns it.

    Returns None, and does nothing, if one of its deliveries has arrived or can still arrive, if the
    message was marked before, or if it is itself about an undeliverable one. The letter of a
    message goes to somebody else, so only deliveries of one sort count: the letter, or all others.
    """
    # The last two deliveries may be given up at the same time; the lock lets the second transaction
    # see the result of the first.
    tx.execute("SELECT FROM messages WHERE id = %s FOR UPDATE", (message_id,))
    row = tx.execute(
        "UPDATE messages SET unreached = true WHERE id = %(id)s AND NOT unreached"
        " AND kind <> %(rest)s"
        " AND NOT EXISTS (SELECT FROM deliveries WHERE message_id = %(id)s"
        " AND (kind = 'letter') = %(letter)s"
        " AND status IN ('WAITING', 'RETRYING', 'DELIVERED'))"
        f" RETURNING {_COLUMNS}",
        {"id": message_id, "rest": MESSAGE_UNDELIVERABLE, "letter": of_letter},
    ).fetchone()
    return _message(row) if row else None


def _message(row: dict[str, object]) -> Message:
    # the columns have the names of the fields
    return Message(**{**row, "audience": Audience(row["audience"])})  # type: ignore[arg-type]

"""Letters: e-mails to a person instead of a desk.

Letters stay sealed as they were received, and are deleted once they have been sent or given up, or
have expired.
"""

from datetime import datetime

from chassis import trace
from chassis.db import Transaction, notify
from services.notifications.domain.message import Letter, letter_id
from services.notifications.domain.rules import LETTERS_WHILE_INACTIVE
from services.notifications.store.members import is_inactive
from services.notifications.store.messages import EMAILS

LETTER = "letter"


def save(tx: Transaction, message_id: str, letter: Letter, now: datetime) -> None:
    """Adds the letter, due at once, as a delivery of the message.

    Nothing is added if the letter is stored already, or if the organisation is suspended or has
    left, unless the letter is one of LETTERS_WHILE_INACTIVE.
    """
    id = letter_id(message_id)
    inserted_count = tx.execute(
        "INSERT INTO deliveries (id, message_id, channel, organization_id, kind, status,"
        " next_attempt_time, create_time, trace)"
        " SELECT %(id)s, %(message)s, 'email', %(organization)s, %(kind)s, 'WAITING', %(now)s,"
        " %(now)s, %(trace)s"
        f" WHERE %(anyway)s OR NOT {is_inactive('%(organization)s')}"
        " ON CONFLICT (id) DO NOTHING",
        {
            "id": id,
            "message": message_id,
            "organization": letter.organization_id,
            "kind": LETTER,
            "now": now,
            "trace": trace.current(),
            "anyway": letter.kind in LETTERS_WHILE_INACTIVE,
        },
    ).rowcount
    if inserted_count:
        tx.execute(
            "INSERT INTO letters (delivery_id, invitation_id, sealed, expire_time, kind)"
            " VALUES (%s, %s, %s, %s, %s)",
            (id, letter.about_id, letter.sealed, letter.expire_time, letter.kind),
        )
        notify(tx, EMAILS)


def discard(tx: Transaction, about_id: str) -> None:
    """Deletes the letters about an invitation or a notice, and discards their open deliveries.

    These letters are no longer wanted: the invitation was accepted, replaced or revoked, or the
    link was used or has expired.
    """
    tx.execute(
        "WITH gone AS (DELETE FROM letters WHERE invitation_id = %s RETURNING delivery_id)"
        " UPDATE deliveries SET status = 'DISCARDED', next_attempt_time = NULL FROM gone"
        " WHERE id = delivery_id AND next_attempt_time IS NOT NULL",
        (about_id,),
    )


def forget(tx: Transaction, now: datetime) -> None:
    """Deletes letters that were sent or given up, or that have expired."""
    tx.execute(
        "DELETE FROM letters USING deliveries WHERE id = delivery_id AND (next_attempt_time IS NULL"
        " OR expire_time <= %s)",
        (now,),
    )

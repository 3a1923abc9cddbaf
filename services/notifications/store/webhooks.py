"""Webhooks: the endpoints of partner systems. Each secret is sealed for its own row."""

from datetime import datetime

from chassis.db import Row, Transaction, notify
from keys.sealing import Keyring
from services.notifications.domain.webhook import DISABLED_FOR_FAILING, Webhook
from services.notifications.store.messages import WEBHOOKS

_COLUMNS = (
    "id, organization_id, url, kinds, enabled, disabled_reason, version, create_time, update_time,"
    " former_secret_expire_time"
)


def add(tx: Transaction, keyring: Keyring, webhook: Webhook, secret: str) -> None:
    """Adds an endpoint with its secret."""
    tx.execute(
        f"INSERT INTO webhooks ({_COLUMNS}, secret)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            webhook.id,
            webhook.organization_id,
            webhook.url,
            list(webhook.kinds),
            webhook.enabled,
            webhook.disabled_reason,
            webhook.version,
            webhook.create_time,
            webhook.update_time,
            webhook.former_secret_expire_time,
            keyring.seal(secret, _secret_context(webhook.id)),
        ),
    )


def lock_and_count(tx: Transaction, organization_id: str) -> int:
    """Returns the number of an organisation's endpoints, and prevents additions.

    Until this transaction ends, no other transaction can add an endpoint to the organisation, so
    that the limit holds.
    """
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (organization_id,))
    row = tx.execute(
        "SELECT count(*) AS n FROM webhooks WHERE organization_id = %s", (organization_id,)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def of_organization(tx: Transaction, organization_id: str) -> list[Webhook]:
    """Returns all endpoints of an organisation, oldest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM webhooks WHERE organization_id = %s ORDER BY create_time, id",
        (organization_id,),
    ).fetchall()
    return [_webhook(row) for row in rows]


def count_enabled(tx: Transaction, organization_id: str) -> int:
    """Returns how many endpoints of an organisation are enabled."""
    row = tx.execute(
        "SELECT count(*) AS n FROM webhooks WHERE organization_id = %s AND enabled",
        (organization_id,),
    ).fetchone()
    assert row is not None
    return int(row["n"])


def fetch(
    tx: Transaction, organization_id: str, webhook_id: str, *, to_change: bool = False
) -> Webhook | None:
    """Returns an endpoint of an organisation, locked if `to_change` is set.

    Returns None if there is no such endpoint.
    """
    lock = " FOR UPDATE" if to_change else ""
    row = tx.execute(
        f"SELECT {_COLUMNS} FROM webhooks WHERE id = %s AND organization_id = %s{lock}",
        (webhook_id, organization_id),
    ).fetchone()
    return _webhook(row) if row else None


def save(tx: Transaction, webhook: Webhook) -> None:
    """Saves a changed endpoint.

    The owner has just attended to the endpoint, so the records of its failures and its slowness are
    reset.
    """
    tx.execute(
        "UPDATE webhooks SET url = %s, kinds = %s, enabled = %s, disabled_reason = %s, version ="
        " %s, update_time = %s, failing_since = NULL, slow = false"
        " WHERE id = %s",
        (
            webhook.url,
            list(webhook.kinds),
            webhook.enabled,
            webhook.disabled_reason,
            webhook.version,
            webhook.update_time,
            webhook.id,
        ),
    )
    notify(tx, WEBHOOKS)  # its deliveries may change lanes


def rotate(tx: Transaction, keyring: Keyring, webhook: Webhook, secret: str) -> None:
    """Saves a new secret.

    The current secret becomes the former secret if it is to sign for a while longer.
    """
    tx.execute(
        "UPDATE webhooks SET former_secret = CASE WHEN %(until)s::timestamptz IS NULL THEN NULL"
        " ELSE secret END, former_secret_expire_time = %(until)s,"
        " secret = %(secret)s, version = %(version)s, update_time = %(now)s WHERE id = %(id)s",
        {
            "id": webhook.id,
            "until": webhook.former_secret_expire_time,
            "secret": keyring.seal(secret, _secret_context(webhook.id)),
            "version": webhook.version,
            "now": webhook.update_time,
        },
    )


def forget_former_secrets(tx: Transaction, now: datetime) -> None:
    """Deletes former secrets that no longer sign."""
    tx.execute(
        "UPDATE webhooks SET former_secret = NULL WHERE former_secret IS NOT NULL"
        " AND former_secret_expire_time <= %s",
        (now,),
    )


def remove(tx: Transaction, webhook_id: str) -> None:
    """Deletes an endpoint with its secrets."""
    tx.execute("DELETE FROM webhooks WHERE id = %s", (webhook_id,))


def switch_off(
    tx: Transaction, webhook_id: str, failing_before: datetime, now: datetime
) -> str | None:
    """Disables an endpoint that has failed since `failing_before` or longer.

    Returns the id of its organisation if the endpoint was disabled now, else None.
    """
    row = tx.execute(
        "UPDATE webhooks SET enabled = false, disabled_reason = %s, version = version + 1,"
        " update_time = %s"
        " WHERE id = %s AND enabled AND failing_since <= %s RETURNING organization_id",
        (DISABLED_FOR_FAILING, now, webhook_id, failing_before),
    ).fetchone()
    return str(row["organization_id"]) if row else None


def open_secret(keyring: Keyring, webhook_id: str, sealed: bytes) -> str:
    """Returns the secret that is sealed in a row."""
    return keyring.open(sealed, _secret_context(webhook_id))


def _secret_context(webhook_id: str) -> str:
    return f"webhooks/{webhook_id}/secret"


def _webhook(row: Row) -> Webhook:
    return Webhook(**{**row, "kinds": tuple(row["kinds"])})

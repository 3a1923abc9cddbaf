"""Providers of organisations, accounts at these providers, and sign-ins that are under way.

Client secrets are sealed. A sign-in's secret and a person's id at a provider are stored only as
hashes.
"""

from datetime import datetime

from chassis.db import Row, Transaction
from keys.sealing import Keyring
from services.partners.sign_in.domain.sign_in_provider import (
    RETURN_LIMIT,
    ProposedProvider,
    ProviderEntry,
    SignInProvider,
)


def fetch(
    tx: Transaction, *, id: str = "", organization_id: str = "", lock: bool = False
) -> SignInProvider | None:
    """Returns a provider, by its id or organisation; with `lock` its row is locked."""
    row = tx.execute(
        "SELECT * FROM sign_in_providers WHERE id = %s"
        f" OR organization_id = %s {'FOR UPDATE' if lock else ''}",
        (id, organization_id),
    ).fetchone()
    return _read(row) if row else None


def proposed_by(tx: Transaction, worker_id: str, *, lock: bool = False) -> list[SignInProvider]:
    """Returns the providers with a proposal that this worker made; locked if `lock` is set."""
    rows = tx.execute(
        "SELECT * FROM sign_in_providers WHERE proposed_by_worker_id = %s ORDER BY id"
        f"{' FOR UPDATE' if lock else ''}",
        (worker_id,),
    )
    return [_read(row) for row in rows]


def _read(row: Row) -> SignInProvider:
    entry = ProviderEntry(row["issuer"], row["client_id"]) if row["issuer"] else None
    proposal = None
    if row["proposed_issuer"]:
        proposed_entry = ProviderEntry(row["proposed_issuer"], row["proposed_client_id"])
        proposal = ProposedProvider(
            proposed_entry, row["proposed_by_worker_id"], row["propose_time"]
        )
    return SignInProvider(
        row["id"], row["organization_id"], row["version"], entry, row["confirm_time"], proposal
    )


def save(tx: Transaction, provider: SignInProvider) -> None:
    """Stores a provider without its secrets.

    Accounts at an issuer that is no longer used are deleted.
    """
    entry, proposal = provider.entry, provider.proposal
    proposed_entry = proposal.entry if proposal else None
    tx.execute(
        "INSERT INTO sign_in_providers AS old (id, organization_id, version, issuer, client_id,"
        " confirm_time, proposed_issuer, proposed_client_id,"
        " proposed_by_worker_id, propose_time) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET"
        " version = excluded.version, issuer = excluded.issuer, client_id = excluded.client_id,"
        " confirm_time = excluded.confirm_time,"
        " proposed_issuer = excluded.proposed_issuer, proposed_client_id ="
        " excluded.proposed_client_id,"
        " proposed_by_worker_id = excluded.proposed_by_worker_id, propose_time ="
        " excluded.propose_time,"
        " secret = CASE WHEN excluded.issuer IS NULL THEN NULL ELSE old.secret END,"
        " proposed_secret = CASE WHEN excluded.proposed_issuer IS NULL THEN NULL"
        " ELSE old.proposed_secret END",
        (
            provider.id,
            provider.organization_id,
            provider.version,
            entry.issuer if entry else None,
            entry.client_id if entry else None,
            provider.confirm_time,
            proposed_entry.issuer if proposed_entry else None,
            proposed_entry.client_id if proposed_entry else None,
            proposal.worker_id if proposal else None,
            proposal.time if proposal else None,
        ),
    )
    tx.execute(
        "DELETE FROM provider_accounts WHERE organization_id = %s AND issuer IS DISTINCT FROM %s",
        (provider.organization_id, entry.issuer if entry else None),
    )


def set_proposed_secret(
    tx: Transaction, keyring: Keyring, provider: SignInProvider, secret: str
) -> None:
    """Stores the secret of the proposal."""
    sealed = keyring.seal(secret, f"sign_in_providers/{provider.id}/proposed_secret")
    tx.execute(
        "UPDATE sign_in_providers SET proposed_secret = %s WHERE id = %s", (sealed, provider.id)
    )


def take_proposed_secret(tx: Transaction, keyring: Keyring, provider: SignInProvider) -> None:
    """Makes the secret of the proposal the provider's secret.

    Must be called before the confirmed provider is stored.
    """
    row = tx.execute(
        "SELECT proposed_secret FROM sign_in_providers WHERE id = %s", (provider.id,)
    ).fetchone()
    assert row is not None, "it was read before"
    secret = keyring.open(
        row["proposed_secret"], f"sign_in_providers/{provider.id}/proposed_secret"
    )
    tx.execute(
        "UPDATE sign_in_providers SET secret = %s, proposed_secret = NULL WHERE id = %s",
        (keyring.seal(secret, f"sign_in_providers/{provider.id}/secret"), provider.id),
    )


def secret(tx: Transaction, keyring: Keyring, provider: SignInProvider) -> str:
    """Returns the client secret with which this network authenticates at the provider."""
    row = tx.execute(
        "SELECT secret FROM sign_in_providers WHERE id = %s", (provider.id,)
    ).fetchone()
    assert row is not None, "it was read before"
    return keyring.open(row["secret"], f"sign_in_providers/{provider.id}/secret")


def add_sign_in(
    tx: Transaction, secret_hash: bytes, provider: SignInProvider, now: datetime
) -> None:
    """Records that a person was sent to the provider."""
    tx.execute(
        "INSERT INTO provider_questions (secret_hash, provider_id, confirm_time, create_time)"
        " VALUES (%s, %s, %s, %s)",
        (secret_hash, provider.id, provider.confirm_time, now),
    )


def take_sign_in(tx: Transaction, secret_hash: bytes, now: datetime) -> tuple[str, datetime] | None:
    """Returns the id and confirmation time of the provider to which a person was sent.

    Deletes the record, so that this works only once. Returns None if there is no record, or if the
    record has expired (RETURN_LIMIT).
    """
    row = tx.execute(
        "DELETE FROM provider_questions WHERE secret_hash = %s RETURNING *", (secret_hash,)
    ).fetchone()
    return (
        (row["provider_id"], row["confirm_time"])
        if row and abs(now - row["create_time"]) < RETURN_LIMIT
        else None
    )


def account(tx: Transaction, organization_id: str, issuer: str, subject_hash: bytes) -> str | None:
    """Returns the id of the worker who has this account at a provider; None if nobody has it."""
    row = tx.execute(
        "SELECT worker_id FROM provider_accounts WHERE organization_id = %s AND issuer = %s"
        " AND subject_hash = %s",
        (organization_id, issuer, subject_hash),
    ).fetchone()
    return row["worker_id"] if row else None


def bind(
    tx: Transaction, organization_id: str, issuer: str, subject_hash: bytes, worker_id: str
) -> None:
    """Records which worker has an account at a provider.

    Does nothing if she has another account there, or if some worker has this account already. A
    second record, by which accounts are known to be one person's, is never deleted.
    """
    tx.execute(
        "INSERT INTO provider_accounts (organization_id, issuer, subject_hash, worker_id)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (organization_id, issuer, subject_hash, worker_id),
    )
    tx.execute(
        "INSERT INTO account_subjects SELECT worker_id, issuer, subject_hash FROM provider_accounts"
        " WHERE organization_id = %s AND issuer = %s AND subject_hash = %s ON CONFLICT DO NOTHING",
        (organization_id, issuer, subject_hash),
    )


def has_account(tx: Transaction, worker_id: str) -> bool:
    """Returns whether a worker signs in through her organisation's provider.

    Accounts at a provider that is no longer used are not stored.
    """
    return (
        tx.execute(
            "SELECT FROM provider_accounts WHERE worker_id = %s LIMIT 1", (worker_id,)
        ).fetchone()
        is not None
    )


def forget_account(tx: Transaction, worker_id: str) -> None:
    """Deletes the link to a worker's account at a provider, so that it can be bound again."""
    tx.execute("DELETE FROM provider_accounts WHERE worker_id = %s", (worker_id,))


def forget_accounts_of(tx: Transaction, organization_id: str) -> None:
    """Deletes the links to the accounts of an organisation's workers, so that they bind again."""
    tx.execute("DELETE FROM provider_accounts WHERE organization_id = %s", (organization_id,))


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes expired sign-ins through providers; returns how many."""
    return tx.execute(
        "DELETE FROM provider_questions WHERE create_time < %s", (now - RETURN_LIMIT,)
    ).rowcount

"""What other directories call services and places of ours."""

from collections.abc import Iterable, Mapping, Sequence

from chassis.db import Transaction
from services.partners.store.words import sort_key

Key = tuple[str, str, str]
"""Organisation, kind, id there."""


def fetch(tx: Transaction, organization_ids: Sequence[str], source_ids: Sequence[str]) -> dict[Key, str]:
    """Ours by theirs."""
    rows = tx.execute(
        "SELECT * FROM imported_ids WHERE organization_id = ANY(%s) AND source_id = ANY(%s)", (list(organization_ids), list(source_ids))
    )
    return {(row["organization_id"], row["kind"], row["source_id"]): row["id"] for row in rows}


def keep(tx: Transaction, ids: Mapping[Key, str]) -> None:
    """Notes ours of theirs."""
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO imported_ids (organization_id, kind, source_id, id) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(*key, id) for key, id in ids.items()],
        )


def named(tx: Transaction, organization_ids: Iterable[str]) -> dict[Key, str]:
    """The services and open places of these organisations by the key that a row without an id has. Of two that have the same the older."""
    rows = tx.execute(
        "SELECT organization_id, 'service' AS kind, name, department, id, create_time FROM services WHERE organization_id = ANY(%(ids)s)"
        " UNION ALL SELECT organization_id, 'location', name, department, id, create_time FROM locations WHERE organization_id = ANY(%(ids)s)"
        " AND NOT confidential ORDER BY create_time DESC, id",
        {"ids": list(organization_ids)},
    )
    return {(row["organization_id"], row["kind"], key_of(row["name"], row["department"])): row["id"] for row in rows}


def key_of(name: str, department: str) -> str:
    """What stands for an id where a row has none."""
    return f"name:{sort_key(name)}@{department}"

"""The ids through which all data about one person are found."""

from dataclasses import dataclass

from chassis.db import Transaction
from services.referrals.files.domain.consent import HERSELF


@dataclass(frozen=True)
class PersonIds:
    """The ids of a person's files, of her contacts, and of the contacts about nobody but her."""

    person_ids: list[str]
    contact_ids: list[str]
    sole_contact_ids: list[str]

    @classmethod
    def of_caller(cls, person_ids: list[str], contact_ids: list[str]) -> "PersonIds":
        """Returns the ids for a caller's reference; all contacts count as about her alone."""
        return cls(person_ids, contact_ids, contact_ids)


def ids_of(tx: Transaction, person_id: str) -> PersonIds:
    """Returns the ids of a person.

    Needs the scope of the whole service, since her contacts include contacts with other lines under
    the same reference. These contacts count only if the reference was given to her. Somebody else
    could otherwise use his reference, and a file at another line, to end what a line does for her.
    """
    rows = tx.execute(
        "WITH hers AS (SELECT organization_id, coalesce(nullif(tied_to_id, ''), id) AS first"
        " FROM contacts WHERE person_id = %(person)s"
        " OR id IN (SELECT contact_id FROM referrals WHERE person_id = %(person)s"
        " AND contact_id <> ''))"
        " SELECT id, person_id IN ('', %(person)s)"
        " AND NOT EXISTS (SELECT FROM referrals r WHERE r.contact_id = contacts.id"
        " AND r.person_id <> %(person)s)"
        " AND NOT EXISTS (SELECT FROM enquiries e WHERE e.contact_id = contacts.id"
        " AND e.person_id NOT IN ('', %(person)s)) AS is_sole"
        " FROM contacts WHERE (id IN (SELECT first FROM hers) OR (tied_to_id <> ''"
        " AND tied_to_id IN (SELECT first FROM hers)))"
        " AND (organization_id IN (SELECT organization_id FROM hers)"
        " OR (speaker_code IN ('', %(herself)s) AND EXISTS (SELECT FROM contacts AS f"
        " WHERE f.id = coalesce(nullif(contacts.tied_to_id, ''), contacts.id)"
        " AND f.speaker_code = %(herself)s)))"
        " ORDER BY id",
        {"person": person_id, "herself": HERSELF},
    ).fetchall()
    return PersonIds(
        [person_id], [row["id"] for row in rows], [row["id"] for row in rows if row["is_sole"]]
    )

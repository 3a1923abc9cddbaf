"""Stores people's files: coarse rows, the key of each person, and the data sealed with it."""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from chassis.db import Row, Transaction
from chassis.errors import Conflict, NotFound, Stale
from chassis.local_time import day_at, latest_day
from chassis.locks import advisory_lock
from chassis.wire import Cursor
from keys.sealing import CannotOpen, Keyring, SealingKey
from services.referrals.files.domain import names
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import (
    Coarse,
    FieldGroup,
    Identity,
    Person,
    SafeContact,
    band_end,
)
from services.referrals.files.store import caught_up
from services.referrals.network.store.codes import code_condition

_COARSE = "age_band gender_code language dependants country department".split()


class People:
    """The store of files.

    Each person has a key of her own, with which her fields are sealed. That key is wrapped with the
    sealing key of the service.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def add(
        self, tx: Transaction, person: Person, identity: Identity, plan: SafeContact | None
    ) -> None:
        """Inserts a file with its key and its sealed data."""
        tx.execute(
            "INSERT INTO people (id, organization_id, version, age_band, gender_code, language,"
            " dependants, country, department, trafficking_status_code,"
            " exploitation_country, has_identity, safe_contact_channel, message_may_be_left,"
            " erased, create_time, update_time)"
            " VALUES (%(id)s, %(organization_id)s, %(version)s,"
            " %(age_band)s, %(gender_code)s, %(language)s, %(dependants)s, %(country)s,"
            " %(department)s, %(trafficking_status_code)s,"
            " %(exploitation_country)s, %(has_identity)s, %(safe_contact_channel)s,"
            " %(message_may_be_left)s, %(erased)s, %(create_time)s, %(update_time)s)",
            _values(person),
        )
        key, wrapped = self._keyring.new_key(_key_context(person.id))
        tx.execute(
            "INSERT INTO person_keys (person_id, wrapped) VALUES (%s, %s)", (person.id, wrapped)
        )
        self._seal_identity(tx, key, person, identity)
        if plan is not None:
            self._seal(tx, key, person.id, "safe_contact", asdict(plan))

    def get(self, tx: Transaction, identifier: str, *, for_update: bool = False) -> Person:
        """Returns the file without its sealed data; raises NotFound outside the scope."""
        return self.query(tx, identifier, for_update=for_update)()

    @staticmethod
    def query(
        tx: Transaction, identifier: str, *, for_update: bool = False
    ) -> Callable[[], Person]:
        """Starts `get`; returns a function that waits for its result."""
        result = tx.execute(
            "SELECT * FROM people WHERE id = %s" + (" FOR UPDATE" if for_update else ""),
            (identifier,),
        )

        def wait() -> Person:
            row = result.fetchone()
            if row is None:
                raise NotFound
            return _read(row)

        return wait

    def unerased(
        self, tx: Transaction, identifiers: Iterable[str], *, for_update: bool = False
    ) -> list[Person]:
        """Returns the files that were not erased, without their sealed data.

        Raises NotFound outside the scope.
        """
        files = [self.get(tx, identifier, for_update=for_update) for identifier in identifiers]
        return [file for file in files if not file.erased]

    def change(
        self,
        tx: Transaction,
        person: Person,
        *,
        identity: Identity | None = None,
        plan: SafeContact | None = None,
    ) -> None:
        """Saves a new version of the file, with identity and plan if given. Raises Stale."""
        row_count = tx.execute(
            "UPDATE people SET version = %(version)s, age_band = %(age_band)s, gender_code ="
            " %(gender_code)s, language = %(language)s,"
            " dependants = %(dependants)s, country = %(country)s, department = %(department)s,"
            " trafficking_status_code = %(trafficking_status_code)s,"
            " exploitation_country = %(exploitation_country)s, has_identity = %(has_identity)s,"
            " safe_contact_channel = %(safe_contact_channel)s, message_may_be_left ="
            " %(message_may_be_left)s, erased = %(erased)s,"
            " update_time = %(update_time)s"
            " WHERE id = %(id)s AND version = %(version)s - 1",
            _values(person),
        ).rowcount
        if row_count != 1:
            raise Stale
        if identity is not None:
            self._seal_identity(tx, self.key(tx, person.id), person, identity)
        if plan is not None:
            self._seal(tx, self.key(tx, person.id), person.id, "safe_contact", asdict(plan))

    def key(self, tx: Transaction, person_id: str) -> SealingKey:
        """Returns the person's key.

        Raises NotFound outside the scope, and Conflict if the key was destroyed. Raises Unavailable
        in a restored store if the key may have been destroyed after the copy was made.
        """
        return self.query_key(tx, person_id)()

    def query_key(self, tx: Transaction, person_id: str) -> Callable[[], SealingKey]:
        """Starts `key`; returns a function that waits for its result."""
        result = tx.execute(
            f"SELECT wrapped, {caught_up.CAUGHT_UP} AS caught_up FROM person_keys"
            " WHERE person_id = %s",
            (person_id,),
        )

        def wait() -> SealingKey:
            row = result.fetchone()
            if row is None:
                raise NotFound
            caught_up.check_caught_up(row["caught_up"])
            if row["wrapped"] is None:
                raise Conflict("person_erased")
            return self._keyring.unwrap(row["wrapped"], _key_context(person_id))

        return wait

    def identity(self, tx: Transaction, grant: Grant) -> Identity:
        """Returns the part of the identity that the grant opens.

        The calling code must record the access.
        """
        values = self._open(tx, grant.person_id, "identity") if grant.groups else None
        return grant.shows(Identity(**values)) if values else Identity()

    def readable_identity(self, tx: Transaction, grant: Grant) -> Identity | None:
        """Returns what `identity` returns; None, after an alarm, if it can't be opened."""
        try:
            return self.identity(tx, grant)
        except CannotOpen as error:
            error.alarm()
            return None

    def safe_contact(self, tx: Transaction, grant: Grant) -> SafeContact | None:
        """Returns the safe-contact plan. The calling code must record the access.

        Returns None if the person has not been asked yet, or if the grant does not open the plan.
        """
        values = (
            self._open(tx, grant.person_id, "safe_contact")
            if FieldGroup.CONTACT in grant.groups
            else None
        )
        return SafeContact(**values) if values else None

    @staticmethod
    def lock(tx: Transaction, person_id: str) -> None:
        """Locks the person while a transaction records, uses or withdraws her consent.

        A transaction must take this lock before it locks any of her rows. Without this lock, a
        referral could be sent on a consent that is being withdrawn.
        """
        advisory_lock(tx, f"person/{person_id}")

    def page(
        self,
        tx: Transaction,
        organization_id: str,
        limit: int,
        after: Cursor | None,
        *,
        code: str = "",
    ) -> tuple[list[Person], Cursor | None]:
        """Returns a page of an organisation's files, newest first, and the next page's cursor.

        With `code`, the page has only files with this code.
        """
        time, identifier = after or ("infinity", "")
        condition, values = code_condition(code) if code else ("true", {})
        rows = tx.execute(
            "SELECT *, create_time::text AS key FROM people"
            f" WHERE organization_id = %(organization)s AND {condition}"
            " AND (create_time < %(time)s::timestamptz"
            " OR (create_time = %(time)s::timestamptz AND id > %(id)s))"
            " ORDER BY create_time DESC, id LIMIT %(limit)s",
            {
                "organization": organization_id,
                "time": time,
                "id": identifier,
                "limit": limit + 1,
                **values,
            },
        ).fetchall()
        return [_read(row) for row in rows[:limit]], [
            rows[limit - 1]["key"],
            rows[limit - 1]["id"],
        ] if len(rows) > limit else None

    def find_by_words(
        self, tx: Transaction, organization_id: str, words: Collection[str], limit: int
    ) -> list[Person]:
        """Returns the files of an organisation that have all these words in their names.

        The newest come first. If `words` is empty, so is the result.
        """
        hashes = self._name_hashes(organization_id, words)
        rows = tx.execute(
            "SELECT * FROM people WHERE NOT erased AND organization_id = %(organization)s"
            " AND id IN (SELECT person_id FROM person_names"
            " WHERE organization_id = %(organization)s AND mark = ANY(%(marks)s) GROUP BY person_id"
            " HAVING count(*) = %(all)s)"
            " ORDER BY create_time DESC, id LIMIT %(limit)s",
            {"organization": organization_id, "marks": hashes, "all": len(hashes), "limit": limit},
        )
        return [_read(row) for row in rows]

    def without_names(self, tx: Transaction, limit: int) -> list[Person]:
        """Returns files whose names are not stored as words by the present rules.

        The files are locked for this transaction, so that two processes take different files.
        """
        rows = tx.execute(
            "SELECT * FROM people WHERE names_form BETWEEN 0 AND %s AND NOT erased"
            " ORDER BY names_form, id LIMIT %s FOR UPDATE SKIP LOCKED",
            (names.RULES_VERSION - 1, limit),
        )
        return [_read(row) for row in rows]

    def index_names(self, tx: Transaction, person: Person, now: datetime) -> None:
        """Opens an identity to store the words of its names, and its age band.

        The calling code must record the access.
        """
        identity = self.identity(tx, Grant.of_file(person, person.organization_id))
        self._store_names(tx, person, identity)
        self._store_age_band(tx, person, identity, now)

    @staticmethod
    def put_names_aside(tx: Transaction, person: Person) -> None:
        """Excludes a file from `without_names` until its identity is saved again."""
        tx.execute("UPDATE people SET names_form = -1 WHERE id = %s", (person.id,))

    def with_ended_band(
        self, tx: Transaction, now: datetime, days: int, limit: int, after: str = ""
    ) -> tuple[list[Person], str]:
        """Returns files whose age band ended on one of the last `days` days at the person's place.

        The second value is the id after which the next batch begins; "" after the last batch. The
        files are locked for this transaction, so that two processes take different files.
        """
        latest_date = latest_day(now)
        day_of = {
            self._day_hash(day): day
            for day in (latest_date - timedelta(days=back) for back in range(days))
        }
        rows = tx.execute(
            "SELECT * FROM people WHERE band_end = ANY(%s) AND NOT erased AND id > %s ORDER BY id"
            " LIMIT %s FOR UPDATE SKIP LOCKED",
            (list(day_of), after, limit),
        ).fetchall()
        due = [
            row
            for row in rows
            if day_of[bytes(row["band_end"])] <= day_at(now, row["country"], row["department"])
        ]
        return [_read(row) for row in due], rows[-1]["id"] if len(rows) == limit else ""

    def outgrows_band(self, tx: Transaction, person_id: str, now: datetime, days: int) -> bool:
        """Returns whether the person's age band ends within `days` days.

        The scope must include the person's file. The date is stored only as a keyed hash.
        """
        today = latest_day(now)
        hashes = [self._day_hash(today + timedelta(days=ahead)) for ahead in range(days + 1)]
        return (
            tx.execute(
                "SELECT FROM people WHERE id = %s AND band_end = ANY(%s)", (person_id, hashes)
            ).fetchone()
            is not None
        )

    def update_age_band(self, tx: Transaction, person: Person, now: datetime) -> None:
        """Opens an identity for its birth date, and stores the age band.

        The band is that of today at the person's place. The calling code must record the access.
        """
        self._store_age_band(
            tx, person, self.identity(tx, Grant.of_file(person, person.organization_id)), now
        )

    def _store_age_band(
        self, tx: Transaction, person: Person, identity: Identity, now: datetime
    ) -> None:
        if person.update_age_band(
            identity.birth_date, now, day_at(now, person.coarse.country, person.coarse.department)
        ):
            self.change(tx, person)
        self._store_band_end(tx, person, identity)

    @staticmethod
    def put_age_aside(tx: Transaction, person: Person) -> None:
        """Keeps the age band of a file that can't be opened, until its identity is saved again."""
        tx.execute("UPDATE people SET band_end = NULL WHERE id = %s", (person.id,))

    def _seal_identity(
        self, tx: Transaction, key: SealingKey, person: Person, identity: Identity
    ) -> None:
        self._seal(tx, key, person.id, "identity", asdict(identity))
        self._store_names(tx, person, identity)
        self._store_band_end(tx, person, identity)

    def _store_band_end(self, tx: Transaction, person: Person, identity: Identity) -> None:
        end = band_end(identity.birth_date, person.coarse.age_band)
        tx.execute(
            "UPDATE people SET band_end = %s WHERE id = %s",
            (end and self._day_hash(end), person.id),
        )

    def _day_hash(self, day: date) -> bytes:
        return self._keyring.fingerprint(day.isoformat().encode(), "band_end")

    def _store_names(self, tx: Transaction, person: Person, identity: Identity) -> None:
        tx.execute("DELETE FROM person_names WHERE person_id = %s", (person.id,))
        hashes = self._name_hashes(
            person.organization_id, names.words_of(identity.given_name, identity.family_name)
        )
        with tx.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO person_names (person_id, organization_id, mark) VALUES (%s, %s, %s)",
                [(person.id, person.organization_id, value) for value in hashes],
            )
        tx.execute(
            "UPDATE people SET names_form = %s WHERE id = %s", (names.RULES_VERSION, person.id)
        )

    def _name_hashes(self, organization_id: str, words: Collection[str]) -> list[bytes]:
        return sorted(
            self._keyring.fingerprint(word.encode(), f"names/{organization_id}") for word in words
        )

    def _seal(
        self, tx: Transaction, key: SealingKey, person_id: str, field: str, value: dict[str, Any]
    ) -> None:
        tx.execute(
            "INSERT INTO person_sealed (person_id, field, sealed) VALUES (%s, %s, %s)"
            " ON CONFLICT (person_id, field) DO UPDATE SET sealed = excluded.sealed",
            (person_id, field, key.seal(json.dumps(value), f"person_sealed/{person_id}/{field}")),
        )

    def _open(self, tx: Transaction, person_id: str, field: str) -> dict[str, Any] | None:
        row = tx.execute(
            "SELECT sealed FROM person_sealed WHERE person_id = %s AND field = %s",
            (person_id, field),
        ).fetchone()
        if row is None:
            self.key(tx, person_id)  # refuses if the file was erased after the access was granted
            return None
        values: dict[str, Any] = json.loads(
            self.key(tx, person_id).open(row["sealed"], f"person_sealed/{person_id}/{field}")
        )
        return values


def _key_context(person_id: str) -> str:
    return f"person_keys/{person_id}/wrapped"


def _values(person: Person) -> dict[str, Any]:
    values = asdict(person)
    coarse: dict[str, Any] = values.pop("coarse")
    return values | coarse


def _read(row: Row) -> Person:
    return Person(
        id=row["id"],
        organization_id=row["organization_id"],
        coarse=Coarse(**{name: row[name] for name in _COARSE}),
        create_time=row["create_time"],
        update_time=row["update_time"],
        version=row["version"],
        trafficking_status_code=row["trafficking_status_code"],
        exploitation_country=row["exploitation_country"],
        has_identity=row["has_identity"],
        safe_contact_channel=row["safe_contact_channel"],
        message_may_be_left=row["message_may_be_left"],
        erased=row["erased"],
    )

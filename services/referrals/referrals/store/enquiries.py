"""Stores enquiries, and the copies for the organisations that are asked.

Row-level security shows an enquiry and all its copies to the asking organisation, and to an
organisation that is asked only its own copies.
"""

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.wire import Cursor
from facts import outbox
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.files.store.person_ids import PersonIds
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.domain.service import Attribute
from services.referrals.network.store.deadlines import announce
from services.referrals.referrals.domain.enquiry import (
    OFFERS,
    Content,
    Enquiry,
    EnquiryState,
    Offer,
)
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.wire.facts import enquiry_facts

_CONTENT_NAMES = [field.name for field in fields(Content)]
_SPECIAL_FIELDS = {"content", "state", "offers", "events", "left_out", "unsafe"}
_PLAIN_NAMES = [field.name for field in fields(Enquiry) if field.name not in _SPECIAL_FIELDS]
_COLUMNS = [
    *_PLAIN_NAMES,
    *_CONTENT_NAMES,
    *"state left_out unsafe_code excluded_organization_ids unsafe_departments".split(),
]
_OFFER_NAMES = [field.name for field in fields(Offer) if field.name not in ("content", "state")]
_OFFER_COLUMNS = ["enquiry_id", *_OFFER_NAMES, *_CONTENT_NAMES, "state", "due_time", "create_time"]
# Column names, joined once; no value ever becomes part of the text of a statement.
_INSERT = (
    f"INSERT INTO enquiries ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"
)
_UPDATE = (
    "UPDATE enquiries SET"
    f" {', '.join(f'{c} = %({c})s' for c in _COLUMNS if c not in ('id', 'create_time'))},"
    " put_aside_time = NULL"
    " WHERE id = %(id)s AND version = %(former_version)s"
)
# A copy keeps the creation time and the first deadline of the enquiry, whatever happens later,
# since the offers of other services do not concern the organisation that is asked.
_NEVER_UPDATED = ("enquiry_id", "service_id", "due_time", "create_time")
_SAVE_OFFER = (
    f"INSERT INTO enquiry_offers ({', '.join(_OFFER_COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in _OFFER_COLUMNS)})"
    " ON CONFLICT (enquiry_id, service_id) DO UPDATE"
    f" SET {', '.join(f'{c} = excluded.{c}' for c in _OFFER_COLUMNS if c not in _NEVER_UPDATED)}"
    " WHERE enquiry_offers.version < excluded.version"
)


def get(tx: Transaction, identifier: str, *, for_update: bool = False) -> Enquiry:
    """Returns an enquiry that the scope of the transaction shows.

    Raises NotFound otherwise, even for an organisation that is asked and has a copy.
    """
    row = tx.execute(
        "SELECT * FROM enquiries WHERE id = %s" + (" FOR UPDATE" if for_update else ""),
        (identifier,),
    ).fetchone()
    if row is None:
        raise NotFound
    return _read(tx, [row])[0]


def of_referral(tx: Transaction, referral_id: str) -> Enquiry | None:
    """Locks and returns the enquiry whose taken offer a referral follows; None if there is none."""
    rows = tx.execute(
        "SELECT * FROM enquiries WHERE referral_id = %s AND referral_id <> '' AND state = 'matched'"
        " FOR UPDATE",
        (referral_id,),
    ).fetchall()
    return _read(tx, rows)[0] if rows else None


def save(tx: Transaction, enquiry: Enquiry) -> None:
    """Saves the enquiry, the copies that changed, and the facts of its new events.

    Does nothing if there is no new event. Raises Stale.
    """
    events, enquiry.events = enquiry.events, []
    if not events:
        return
    former_version = events[0].version - 1
    values = {
        **{name: getattr(enquiry, name) for name in _PLAIN_NAMES},
        **_content_values(enquiry.content),
        "state": enquiry.state.value,
        "former_version": former_version,
        "left_out": [attribute.value for attribute in enquiry.left_out],
        "unsafe_code": enquiry.unsafe.code,
        "excluded_organization_ids": list(enquiry.unsafe.organization_ids),
        "unsafe_departments": list(enquiry.unsafe.departments),
    }
    if tx.execute(_INSERT if former_version == 0 else _UPDATE, values).rowcount != 1:
        raise Stale
    save_copies(tx, enquiry)
    outbox.save(tx, enquiry_facts(enquiry, events))
    announce(tx, "enquiries", enquiry.due_time)


def save_copies(tx: Transaction, enquiry: Enquiry) -> None:
    """Saves the changed copies of an enquiry, even if the enquiry has no new event."""
    with tx.cursor() as cursor:
        cursor.executemany(_SAVE_OFFER, [_offer_values(enquiry, offer) for offer in enquiry.offers])


def blank_copy(tx: Transaction, now: datetime, referral_id: str) -> None:
    """Blanks the copy of the enquiry that led to a referral. Needs the whole service's scope."""
    tx.execute(
        f"UPDATE enquiry_offers SET {', '.join(f'{name} = NULL' for name in _CONTENT_NAMES)},"
        " version = version + 1, update_time = %s WHERE need_code IS NOT NULL AND enquiry_id IN"
        " (SELECT id FROM enquiries WHERE referral_id = %s AND referral_id <> '')",
        (now, referral_id),
    )


def _content_values(content: Content | None) -> dict[str, Any]:
    if content is None:
        return dict.fromkeys(_CONTENT_NAMES)
    values = {name: getattr(content, name) for name in _CONTENT_NAMES}
    lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
    return values | lists | {"urgency": content.urgency.value}


def _offer_values(enquiry: Enquiry, offer: Offer) -> dict[str, Any]:
    values = {name: getattr(offer, name) for name in _OFFER_NAMES} | _content_values(offer.content)
    times = {"due_time": enquiry.due_time, "create_time": enquiry.create_time}
    return values | times | {"enquiry_id": enquiry.id, "state": offer.state.value}


def sent_by(
    tx: Transaction,
    organization_id: str,
    states: Collection[EnquiryState],
    limit: int,
    after: Cursor | None,
    *,
    contact_id: str = "",
    person_id: str = "",
    waiting: bool = False,
    live: bool = False,
) -> tuple[list[Enquiry], Cursor | None]:
    """Returns an organisation's enquiries, newest first, and the cursor of the next page.

    `person_id` selects enquiries for a person or for a contact of hers; `waiting` selects those in
    which it is the organisation's turn; `live` selects those that are open or wait for a referral.
    """
    has_offer = (
        "EXISTS (SELECT 1 FROM enquiry_offers o WHERE o.enquiry_id = enquiries.id"
        " AND o.answer = ANY(%(offers)s))"
    )
    rows = tx.execute(
        "SELECT *, create_time::text AS key FROM enquiries WHERE organization_id = %(organization)s"
        f"{' AND state = ANY(%(states)s)' if states else ''}{' AND contact_id = %(contact)s' if contact_id else ''}"  # noqa: E501
        + (_FOR_HER if person_id else "")
        + (
            f" AND ((state = 'open' AND {has_offer}) OR (state = 'matched' AND referral_id = ''))"
            if waiting
            else ""
        )
        + (" AND (state = 'open' OR (state = 'matched' AND referral_id = ''))" if live else "")
        + _AFTER.format(id="id"),
        _page_values(organization_id, states, limit, after)
        | {"contact": contact_id, "person": person_id, "offers": list(OFFERS)},
    ).fetchall()
    return _read(tx, rows[:limit]), _next_cursor(rows, limit)


def received_enquiries(
    tx: Transaction,
    organization_id: str,
    states: Collection[EnquiryState],
    limit: int,
    after: Cursor | None,
    *,
    waiting: bool = False,
) -> tuple[list[tuple[str, list[Row]]], Cursor | None]:
    """Returns the enquiries put to an organisation as (id, copies), newest first.

    The second value is the cursor of the next page. `waiting` selects the enquiries with an open
    copy that has no answer.
    """
    rows = tx.execute(
        "SELECT enquiry_id AS id, create_time, create_time::text AS key FROM enquiry_offers"
        " WHERE organization_id = %(organization)s"
        f"{' AND state = ANY(%(states)s)' if states else ''}{' AND state = %(open)s AND answer = %(none)s' if waiting else ''}"  # noqa: E501
        + _AFTER.format(id="enquiry_id").replace(
            " ORDER BY", " GROUP BY enquiry_id, create_time ORDER BY"
        ),
        _page_values(organization_id, states, limit, after)
        | {"open": EnquiryState.OPEN.value, "none": ""},
    ).fetchall()
    copies: dict[str, list[Row]] = {row["id"]: [] for row in rows[:limit]}
    for row in _copies(tx, organization_id, list(copies)):
        copies[row["enquiry_id"]].append(row)
    return list(copies.items()), _next_cursor(rows, limit)


_FOR_HER = (
    " AND (person_id = %(person)s OR (person_id = '' AND contact_id IN (SELECT id FROM contacts"
    " WHERE person_id = %(person)s"
    " UNION SELECT contact_id FROM referrals WHERE person_id = %(person)s AND contact_id <> '')))"
)
_AFTER = (
    " AND (create_time < %(time)s::timestamptz OR (create_time = %(time)s::timestamptz"
    " AND {id} > %(after)s))"
    " ORDER BY create_time DESC, {id} LIMIT %(limit)s"
)


def _page_values(
    organization_id: str, states: Collection[EnquiryState], limit: int, after: Cursor | None
) -> dict[str, Any]:
    time, identifier = after or ("infinity", "")
    return {
        "organization": organization_id,
        "states": [state.value for state in states],
        "time": time,
        "after": identifier,
        "limit": limit + 1,
    }


def _next_cursor(rows: Sequence[Row], limit: int) -> Cursor | None:
    return [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(rows) > limit else None


def copies_of(tx: Transaction, organization_id: str, identifier: str) -> list[Row]:
    """Returns an organisation's copies of one enquiry; raises NotFound if there are none."""
    rows = _copies(tx, organization_id, [identifier])
    if not rows:
        raise NotFound
    return rows


def _copies(tx: Transaction, organization_id: str, identifiers: list[str]) -> list[Row]:
    return tx.execute(
        "SELECT * FROM enquiry_offers WHERE enquiry_id = ANY(%s) AND organization_id = %s"
        " ORDER BY enquiry_id, service_id",
        (identifiers, organization_id),
    ).fetchall()


def count_of(
    tx: Transaction, organization_id: str, start: datetime, end: datetime
) -> tuple[int, int]:
    """Returns how many enquiries an organisation has open, and how many it made in (start, end)."""
    row = tx.execute(
        "SELECT (SELECT count(*) FROM enquiries WHERE organization_id = %(organization)s"
        " AND state = 'open') AS open,"
        " (SELECT count(*) FROM enquiries WHERE organization_id = %(organization)s"
        " AND create_time > %(start)s AND create_time < %(end)s) AS made",
        {"organization": organization_id, "start": start, "end": end},
    ).fetchone()
    assert row is not None
    return int(row["open"]), int(row["made"])


_ALIKE = {
    Attribute.DEPARTMENT: "department = %(department)s",
    Attribute.LANGUAGES: "languages && %(languages)s::text[]",
    Attribute.DEPENDANTS: "dependants = %(dependants)s",
    Attribute.AGE_BAND: "age_band = %(age_band)s",
    Attribute.GENDER: "gender_code = %(gender_code)s",
}
# The live states as literals of the statement, so that the index of open referrals is used.
_LIVE = ", ".join(f"'{state.value}'" for state in sorted(LIVE, key=lambda state: state.value))
_IN_COUNTRY = " AND country = %(country)s"
_CASES = (
    "SELECT sender_organization_id AS sender, department, ARRAY[language] AS languages, dependants,"
    " age_band, gender_code FROM referrals"
    f" WHERE state IN ({_LIVE}) AND %(organization)s NOT IN (sender_organization_id,"
    " receiver_organization_id)"
    "{in_country} UNION ALL SELECT organization_id, department, languages, dependants, age_band,"
    " gender_code FROM enquiries"
    " WHERE state = 'open' AND organization_id <> %(organization)s{in_country}"
)


def count_alike(
    tx: Transaction, content: Content, organization_id: str
) -> tuple[int, dict[Attribute, int]]:
    """Counts other members with a case that is similar in all attributes, or in all but one.

    Returns the first count, and the second counts by the disregarded attribute. Members are counted
    instead of cases, so a worker who invents people, for her own service or with a second member,
    adds one at most. Members on probation do not count, nor do the organisation's own enquiries and
    the referrals that it sends or receives. The exact count could reveal that a certain person is
    in the network, so only the result of `domain.enquiry.disclosed_count` may be disclosed.
    """
    stated_attributes = content.attributes

    def count_sql(attributes: Sequence[Attribute]) -> str:
        return (
            "count(DISTINCT sender) FILTER (WHERE"
            f" {' AND '.join(_ALIKE[attribute] for attribute in attributes) or 'true'})"
        )

    cases = _CASES.format(in_country=_IN_COUNTRY if content.country else "")
    counts = [
        f"{count_sql(stated_attributes)} AS alike",
        *(
            f"{count_sql([other for other in stated_attributes if other is not disregarded])}"
            f" AS {disregarded.value}"
            for disregarded in stated_attributes
        ),
    ]
    row = tx.execute(
        f"SELECT {', '.join(counts)} FROM ({cases}) cases JOIN members m ON m.id = sender"
        " AND m.kind = 'organization' AND m.active"
        " AND m.status <> 'PROBATION'",
        _content_values(content) | {"organization": organization_id},
    ).fetchone()
    assert row is not None
    return int(row["alike"]), {
        attribute: int(row[attribute.value]) for attribute in stated_attributes
    }


def count_unmet(tx: Transaction, since: datetime) -> list[Row]:
    """Counts the enquiries exhausted after `since`, by need, department and reason.

    The most frequent come first.
    """
    return tx.execute(
        "SELECT need_code, department, reason_code, count(*) AS count FROM enquiries"
        " WHERE state = 'exhausted' AND update_time > %s"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
        (since,),
    ).fetchall()


def waiting_of(
    tx: Transaction,
    contact_ids: Collection[str],
    person_ids: Collection[str],
    organization_id: str = "",
) -> list[str]:
    """Returns the ids of waiting enquiries (see WAITS) for these contacts or people.

    `organization_id` selects the enquiries of one organisation; "" selects all.
    """
    rows = tx.execute(
        f"SELECT id FROM enquiries WHERE {WAITS} AND (contact_id = ANY(%s) OR person_id = ANY(%s))"
        " AND %s IN ('', organization_id) ORDER BY id",
        (list(contact_ids), list(person_ids), organization_id),
    ).fetchall()
    return [row["id"] for row in rows]


def ids_received(tx: Transaction, organization_id: str, limit: int) -> list[str]:
    """Returns the ids of at most `limit` enquiries whose copy at an organisation is not blank."""
    rows = tx.execute(
        "SELECT DISTINCT enquiry_id FROM enquiry_offers WHERE organization_id = %s"
        " AND need_code IS NOT NULL ORDER BY enquiry_id LIMIT %s",
        (organization_id, limit),
    ).fetchall()
    return [row["enquiry_id"] for row in rows]


def ids_of_service(tx: Transaction, organization_id: str, service_id: str, limit: int) -> list[str]:
    """Returns the ids of at most `limit` enquiries that ask a service, or have taken its offer.

    Enquiries whose referral was sent are left out.
    """
    rows = tx.execute(
        f"SELECT id FROM enquiries WHERE {WAITS} AND id IN (SELECT enquiry_id FROM enquiry_offers"
        " WHERE organization_id = %s AND service_id = %s AND (state = 'open' OR taken))"
        " ORDER BY id LIMIT %s",
        (organization_id, service_id, limit),
    ).fetchall()
    return [row["id"] for row in rows]


def ids_open(tx: Transaction, organization_id: str) -> list[str]:
    """Returns the ids of an organisation's open enquiries, of which there are at most MAX_OPEN."""
    rows = tx.execute(
        "SELECT id FROM enquiries WHERE organization_id = %s AND state = 'open' ORDER BY id",
        (organization_id,),
    ).fetchall()
    return [row["id"] for row in rows]


def count_holders(tx: Transaction, ids: PersonIds) -> int:
    """Returns how many organisations hold enquiry content about a person."""
    row = tx.execute(
        f"SELECT count(DISTINCT organization_id) AS count FROM enquiry_offers WHERE {COPIES}",
        vars(ids),
    ).fetchone()
    assert row is not None
    return int(row["count"])


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of enquiries whose deadline has passed, the earliest first.

    The enquiries are locked for this transaction, so that two processes take different enquiries.
    """
    rows = tx.execute(
        "SELECT id FROM enquiries WHERE due_time IS NOT NULL"
        " AND greatest(due_time, put_aside_time) <= %s"
        " ORDER BY greatest(due_time, put_aside_time) LIMIT %s FOR UPDATE SKIP LOCKED",
        (now, limit),
    ).fetchall()
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Postpones a deadline that could not be fired."""
    tx.execute("UPDATE enquiries SET put_aside_time = %s WHERE id = %s", (until, identifier))


def next_time(tx: Transaction) -> datetime | None:
    """Returns the time of the next deadline of any enquiry; None if none is left."""
    row = tx.execute(
        "SELECT min(greatest(due_time, put_aside_time)) AS next FROM enquiries"
        " WHERE due_time IS NOT NULL"
    ).fetchone()
    return row["next"] if row else None


UNMET_PERIOD = timedelta(days=90)


def content(row: Row) -> Content | None:
    """Returns the content of an enquiry or of a copy; None if it was blanked."""
    if row["need_code"] is None:
        return None
    values: Row = {
        name: tuple(value) if isinstance(value := row[name], list) else value
        for name in _CONTENT_NAMES
    }
    return Content(**values | {"urgency": Urgency(row["urgency"])})


def offer(row: Row) -> Offer:
    """Returns the copy in a row."""
    return Offer(
        **{name: row[name] for name in _OFFER_NAMES},
        content=content(row),
        state=EnquiryState(row["state"]),
    )


def _read(tx: Transaction, rows: Sequence[Row]) -> list[Enquiry]:
    offers: dict[str, list[Offer]] = {row["id"]: [] for row in rows}
    for row in tx.execute(
        "SELECT * FROM enquiry_offers WHERE enquiry_id = ANY(%s) ORDER BY enquiry_id, service_id",
        (list(offers),),
    ):
        offers[row["enquiry_id"]].append(offer(row))
    enquiries = []
    for row in rows:
        enquiry_content = content(row)
        assert enquiry_content is not None, "only copies are ever blanked"
        enquiries.append(
            Enquiry(
                **{name: row[name] for name in _PLAIN_NAMES},
                content=enquiry_content,
                state=EnquiryState(row["state"]),
                left_out=tuple(Attribute(code) for code in row["left_out"]),
                unsafe=Unsafe(
                    row["unsafe_code"],
                    tuple(row["excluded_organization_ids"]),
                    tuple(row["unsafe_departments"]),
                ),
                offers=offers[row["id"]],
            )
        )
    return enquiries


PERSON_ROWS = "person_id = ANY(%(person_ids)s)"

ENQUIRY_ROWS = f"({PERSON_ROWS} OR contact_id = ANY(%(sole_contact_ids)s))"

COPIES = f"need_code IS NOT NULL AND enquiry_id IN (SELECT id FROM enquiries WHERE {ENQUIRY_ROWS})"
"""The condition for copies, at organisations that were asked, that still describe the person.

A copy without a need is blank already.
"""

WAITS = (
    "(state = 'open' OR (state = 'matched' AND (referral_id = '' OR EXISTS (SELECT FROM referrals r"
    " WHERE r.id = enquiries.referral_id AND r.state = 'draft'))))"
)
"""The condition for an enquiry that is open, or whose accepted offer waits for a sent referral."""

"""Stores referrals with their deadlines and history.

Row-level security narrows every statement to the rows that the transaction's scope may see.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, fields
from operator import itemgetter
from typing import Any

from chassis.db import Row, Transaction, expect_rows, notify
from chassis.errors import NotFound
from facts import outbox
from keys.sealing import CannotOpen, SealingKey
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import NAMED, Unsafe
from services.referrals.network.domain.deadline import CLOCK_FIELDS, Deadline, DeadlineKind, Urgency
from services.referrals.network.store.deadlines import announce
from services.referrals.referrals.domain.lifecycle import BY_VERB, CAME_BACK, LIVE, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import deadlines
from services.referrals.referrals.wire.facts import referral_facts

# Attributes are stored in columns of the same name. Attributes other than words, numbers and times
# are handled separately.
_SPECIAL_FIELDS = {
    "coarse",
    "state",
    "urgency",
    "delivered_need_codes",
    "followed_up",
    "following_id",
    "deadlines",
    "events",
    "unsafe",
}
_PLAIN_FIELDS = [field.name for field in fields(Referral) if field.name not in _SPECIAL_FIELDS]
_plain_values, _clock_values = itemgetter(*_PLAIN_FIELDS), itemgetter(*CLOCK_FIELDS)
_CAME_BACK = {state.value for state in CAME_BACK}
_COARSE = "age_band gender_code language dependants country department".split()
_coarse_values = itemgetter(*_COARSE)
_UNSAFE = ["unsafe_code", "unsafe_organization_ids", "unsafe_departments"]
EVENTS = "events"
"""The channel that announces new events of referrals."""
COLUMNS = [
    *_PLAIN_FIELDS,
    *_COARSE,
    *_UNSAFE,
    *"state urgency delivered_need_codes next_due_time deletion_due_time".split(),
]
"""The columns of a referral's row that `read` needs."""
# The states as literals of the statement, so that the partial index is used.
_WITH_RESPONSIBLE = ", ".join(sorted(f"'{state.value}'" for state in BY_VERB["assign"].sources))
# Column names, joined once; no value ever becomes part of the text of a statement.
_INSERT = (
    f"INSERT INTO referrals ({', '.join(COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in COLUMNS)})"
)
_UPDATE = (
    "UPDATE referrals SET"
    f" {', '.join(f'{c} = %({c})s' for c in COLUMNS if c not in ('id', 'create_time'))}"
    " WHERE id = %(id)s AND version = %(former_version)s"
)


def get(tx: Transaction, identifier: str, *, for_update: bool = False) -> Referral:
    """Returns one referral that the scope shows; raises NotFound otherwise.

    `for_update` locks the referral against other writers.
    """
    result = tx.execute(
        "SELECT * FROM referrals WHERE id = %s" + (" FOR UPDATE" if for_update else ""),
        (identifier,),
    )
    deadline_rows = deadlines.query_rows(tx, [identifier])  # both queries share a round trip
    row = result.fetchone()
    if row is None:
        raise NotFound
    return read(tx, [row], deadline_rows)[0]


def by_ids(tx: Transaction, identifiers: Collection[str]) -> dict[str, Referral]:
    """Returns the referrals with these ids that the scope shows, by id."""
    rows = (
        tx.execute("SELECT * FROM referrals WHERE id = ANY(%s)", (list(identifiers),)).fetchall()
        if identifiers
        else []
    )
    return {referral.id: referral for referral in read(tx, rows)}


def save(tx: Transaction, referral: Referral, key: SealingKey | None) -> None:
    """Saves the referral, its deadlines, its new events and their facts, if there are new events.

    `key` is the person's key, which seals notes and arrivals; it is needed only if an event has a
    note or an arrival.
    """
    save_all(tx, [referral], key)


def save_all(tx: Transaction, referrals: Sequence[Referral], key: SealingKey | None = None) -> None:
    """Saves the referrals that have new events, with no more statements than one referral needs.

    If any event has a note or an arrival, all referrals must be of the same person, since `key` is
    her key. Afterwards the referrals have no new events.
    """
    changed = [referral for referral in referrals if referral.events]
    if not changed:
        return
    events = [(referral, referral.events) for referral in changed]
    with tx.cursor() as cursor:
        for statement, rows in (
            (
                _INSERT,
                [_values_of(referral) for referral in changed if referral.events[0].version == 1],
            ),
            (
                _UPDATE,
                [_values_of(referral) for referral in changed if referral.events[0].version > 1],
            ),
        ):
            if rows:
                saving = tx.cursor()
                saving.executemany(statement, rows)
                expect_rows(tx, saving, len(rows))
        deadlines.save(tx, changed)
        cursor.executemany(
            "INSERT INTO referral_events (referral_id, version, verb, from_state, to_state, time,"
            " actor_kind, actor_id, organization_id, reason_code,"
            " attribution, clock, note_sealed, changed_field_codes, arrival_sealed)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                _event_row(referral.id, event, key)
                for referral, new_events in events
                for event in new_events
            ],
        )
    outbox.save(
        tx,
        [fact for referral, new_events in events for fact in referral_facts(referral, new_events)],
    )
    announce(tx, "clocks", *(d.next_time for referral in changed for d in referral.deadlines))
    notify(tx, EVENTS)
    for referral in changed:
        referral.events = []


def _values_of(referral: Referral) -> dict[str, Any]:
    values = {name: getattr(referral, name) for name in _PLAIN_FIELDS} | asdict(referral.coarse)
    return values | {
        "state": referral.state.value,
        "urgency": referral.urgency.value if referral.urgency else None,
        "delivered_need_codes": list(referral.delivered_need_codes),
        "next_due_time": referral.next_due_time,
        "deletion_due_time": referral.deletion_due_time if referral.state in CAME_BACK else None,
        "unsafe_code": referral.unsafe.code,
        "unsafe_organization_ids": list(referral.unsafe.organization_ids),
        "unsafe_departments": list(referral.unsafe.departments),
        "former_version": referral.events[0].version - 1,
    }


def save_deadlines(tx: Transaction, referral: Referral) -> None:
    """Saves the deadlines of a referral that has no new event; its version does not change."""
    deadlines.save(tx, [referral])
    tx.execute(
        "UPDATE referrals SET next_due_time = %s, update_time = %s WHERE id = %s",
        (referral.next_due_time, referral.update_time, referral.id),
    )
    announce(tx, "clocks", *(deadline.next_time for deadline in referral.deadlines))


def _event_row(referral_id: str, event: Event, key: SealingKey | None) -> tuple[Any, ...]:
    sealed_note = sealed_arrival = None
    if event.note:
        assert key is not None
        sealed_note = key.seal(event.note, _context(referral_id, event.version, "note"))
    if event.arrival:
        assert key is not None
        sealed_arrival = key.seal(
            json.dumps(asdict(event.arrival)), _context(referral_id, event.version, "arrival")
        )
    return (
        referral_id,
        event.version,
        event.verb,
        event.from_state.value,
        event.to_state.value,
        event.time,
        event.actor.kind,
        event.actor.id,
        event.actor.organization_id,
        event.reason_code,
        event.attribution,
        event.clock.value if event.clock else "",
        sealed_note,
        list(event.changed_field_codes),
        sealed_arrival,
    )


def _context(referral_id: str, version: int, field: str) -> str:
    return f"referral_events/{referral_id}/{version}/{field}"


def events(
    tx: Transaction, referral_id: str, key: SealingKey | None, *, with_notes: bool = True
) -> list[Event]:
    """Returns the history, oldest first.

    With a key, the person's arrival is opened; with `with_notes`, the notes are opened as well.
    """
    rows = tx.execute(
        "SELECT * FROM referral_events WHERE referral_id = %s ORDER BY version", (referral_id,)
    ).fetchall()
    return [read_event(row, key, with_notes=with_notes) for row in rows]


def read_event(row: Row, key: SealingKey | None, *, with_notes: bool = True) -> Event:
    """Returns an event, with its arrival opened by `key`, and also its note if `with_notes`.

    A text that can't be opened does not prevent other texts from being read.
    """
    note = _open_text(row, key if with_notes else None, "note")
    arrival = _open_text(row, key, "arrival")
    return Event(
        row["version"],
        row["verb"],
        State(row["from_state"]),
        State(row["to_state"]),
        row["time"],
        Actor(row["actor_kind"], row["actor_id"], row["organization_id"]),
        row["reason_code"],
        row["attribution"],
        DeadlineKind(row["clock"]) if row["clock"] else None,
        note or "",
        note is None,
        tuple(row["changed_field_codes"]),
        Arrival(**json.loads(arrival)) if arrival else None,
    )


def _open_text(row: Row, key: SealingKey | None, field: str) -> str | None:
    """Returns an event's text, opened; "" if it has none, and None if it can't be opened."""
    if row[f"{field}_sealed"] is None:
        return ""
    if key is None:
        return None
    try:
        return key.open(row[f"{field}_sealed"], _context(row["referral_id"], row["version"], field))
    except CannotOpen as error:
        error.alarm()
        return None


def live_of_person(tx: Transaction, person_id: str, receipt_id: str = "") -> list[str]:
    """Returns the ids of a person's live referrals, in order of id.

    `receipt_id` selects the referrals that are based on this receipt; "" selects all.
    """
    rows = tx.execute(
        "SELECT id FROM referrals WHERE person_id = %s AND (%s = '' OR receipt_id = %s)"
        " AND state = ANY(%s) ORDER BY id",
        (person_id, receipt_id, receipt_id, [state.value for state in LIVE]),
    ).fetchall()
    return [row["id"] for row in rows]


def lock_of_person(tx: Transaction, person_id: str) -> None:
    """Locks all referrals of a person, in order of id."""
    tx.execute(
        "SELECT FROM referrals WHERE person_id = %s ORDER BY id FOR UPDATE", (person_id,)
    ).fetchall()


def ids_of_responsible(tx: Transaction, worker_id: str, limit: int) -> list[str]:
    """Locks at most `limit` referrals for which a worker is responsible; returns their ids."""
    rows = tx.execute(
        "SELECT id FROM referrals WHERE responsible_worker_id = %s AND responsible_worker_id <> ''"
        f" AND state IN ({_WITH_RESPONSIBLE}) ORDER BY id LIMIT %s FOR UPDATE",
        (worker_id, limit),
    ).fetchall()
    return [row["id"] for row in rows]


def unsafe_answers(
    tx: Transaction, sender_id: str, person_id: str, contact_id: str, excluded_id: str = ""
) -> Iterator[Unsafe]:
    """Returns the unsafe organisations and places that a person or a contact's caller has named.

    Reads the enquiries and referrals of one sender, except the referral `excluded_id`; also the
    enquiries for other contacts of the person. An empty `person_id` stands for the contact's file.
    The query is sent now, and its result is awaited when the first item is read.
    """
    rows = tx.execute(
        "WITH people AS (SELECT %(person)s::text AS id UNION SELECT person_id FROM contacts"
        " WHERE %(person)s = '' AND id = %(contact)s),"
        " calls AS (SELECT %(contact)s::text AS id"
        " UNION SELECT c.id FROM contacts c JOIN people p ON person_id = p.id AND person_id <> ''"
        " UNION SELECT contact_id FROM referrals JOIN people p ON person_id = p.id)"
        " SELECT unsafe_organization_ids AS organizations, unsafe_departments AS departments"
        " FROM referrals r JOIN people p ON person_id = p.id"
        " WHERE sender_organization_id = %(sender)s AND r.id <> %(id)s AND unsafe_code = %(named)s"
        " UNION ALL SELECT excluded_organization_ids, unsafe_departments FROM enquiries"
        " JOIN people p ON person_id = p.id AND person_id <> ''"
        " WHERE organization_id = %(sender)s"
        " UNION ALL SELECT excluded_organization_ids, unsafe_departments FROM enquiries"
        " JOIN calls ON contact_id = calls.id AND contact_id <> ''"
        " WHERE organization_id = %(sender)s AND (person_id = '' OR contact_id = %(contact)s)",
        {
            "person": person_id,
            "sender": sender_id,
            "id": excluded_id,
            "contact": contact_id,
            "named": NAMED,
        },
    )
    return (Unsafe(NAMED, tuple(row["organizations"]), tuple(row["departments"])) for row in rows)


def ids_to_note_standing(
    tx: Transaction, organization_id: str, limit: int, *, is_out: bool
) -> list[str]:
    """Locks live referrals whose other side must be notified that an organisation is out or back.

    Returns the ids of at most `limit` referrals, each between two different organisations.
    """
    rows = tx.execute(
        "SELECT id FROM referrals WHERE (sender_organization_id = %(of)s"
        " OR receiver_organization_id = %(of)s)"
        " AND sender_organization_id <> receiver_organization_id AND state = ANY(%(live)s)"
        " AND (%(of)s = ANY(sides_out)) <> %(out)s"
        " ORDER BY id LIMIT %(limit)s FOR UPDATE",
        {
            "of": organization_id,
            "live": [state.value for state in LIVE],
            "out": is_out,
            "limit": limit,
        },
    ).fetchall()
    return [row["id"] for row in rows]


def of_people(
    tx: Transaction, person_ids: Collection[str], *, for_update: bool = False
) -> list[Referral]:
    """Returns the referrals of some people, oldest first; `for_update` locks them."""
    rows = tx.execute(
        "SELECT * FROM referrals WHERE person_id = ANY(%s) ORDER BY create_time, id"
        + (" FOR UPDATE" if for_update else ""),
        (list(person_ids),),
    ).fetchall()
    return read(tx, rows)


def senders_before_withdrawal(
    tx: Transaction, person_id: str, receiver_organization_id: str
) -> list[str]:
    """Returns the ids of actors who referred a person to a receiver before she withdrew consent.

    Includes the workers who recorded a receipt for this receiver that she withdrew. The list is
    empty if she never withdrew anything from this receiver.
    """
    rows = tx.execute(
        "SELECT s.actor_id FROM referrals r JOIN referral_events s ON s.referral_id = r.id"
        " AND s.verb = 'sent'"
        " JOIN referral_events w ON w.referral_id = r.id AND w.verb = 'consent_withdrawn'"
        " WHERE r.person_id = %s AND r.receiver_organization_id = %s"
        " UNION SELECT recorded_by_worker_id FROM receipts WHERE person_id = %s"
        " AND recipient_organization_id = %s AND withdraw_time IS NOT NULL",
        (person_id, receiver_organization_id, person_id, receiver_organization_id),
    ).fetchall()
    return [row["actor_id"] for row in rows]


def of_contact(tx: Transaction, contact_id: str) -> list[Referral]:
    """Returns the referrals made for a contact, oldest first."""
    rows = tx.execute(
        "SELECT * FROM referrals WHERE contact_id = %s ORDER BY create_time, id", (contact_id,)
    ).fetchall()
    return read(tx, rows)


def count_sent(tx: Transaction, organization_id: str) -> int:
    """Returns how many referrals an organisation has ever sent."""
    row = tx.execute(
        "SELECT count(*) AS n FROM referrals WHERE sender_organization_id = %s"
        " AND send_time IS NOT NULL",
        (organization_id,),
    ).fetchone()
    return int(row["n"]) if row else 0


def lock_all(tx: Transaction, identifiers: Sequence[str]) -> list[Referral]:
    """Locks referrals, and returns them in the order of `identifiers`."""
    rows = tx.execute(
        "SELECT * FROM referrals WHERE id = ANY(%s) FOR UPDATE", (list(identifiers),)
    ).fetchall()
    return read(tx, sorted(rows, key=lambda row: identifiers.index(row["id"])))


def read(
    tx: Transaction, rows: Sequence[Row], deadline_rows: Callable[[], list[Row]] | None = None
) -> list[Referral]:
    """Returns the referrals in these rows (COLUMNS), in the same order, with their deadlines.

    `deadline_rows` returns the rows of their deadlines, if the deadlines have been queried already.
    """
    if not rows:
        return []
    if deadline_rows is None:
        deadline_rows = deadlines.query_rows(tx, [row["id"] for row in rows])
    following = _following(tx, [row["id"] for row in rows if row["state"] in _CAME_BACK])
    deadlines_by_referral: dict[str, list[Deadline]] = {}
    for c in deadline_rows():
        deadlines_by_referral.setdefault(c["referral_id"], []).append(
            Deadline(DeadlineKind(c["kind"]), *_clock_values(c))
        )
    return [
        Referral(
            **dict(zip(_PLAIN_FIELDS, _plain_values(row), strict=True)),
            coarse=Coarse(*_coarse_values(row)),
            state=State(row["state"]),
            urgency=Urgency(row["urgency"]) if row["urgency"] else None,
            delivered_need_codes=tuple(row["delivered_need_codes"]),
            deadlines=deadlines_by_referral.get(row["id"], []),
            unsafe=Unsafe(
                row["unsafe_code"],
                tuple(row["unsafe_organization_ids"]),
                tuple(row["unsafe_departments"]),
            ),
            following_id=following.get(row["id"], ("", False))[0],
            followed_up=following.get(row["id"], ("", False))[1],
        )
        for row in rows
    ]


def set_following(tx: Transaction, referral: Referral) -> None:
    """Sets the following referral of a referral that came back, if the scope shows it."""
    referral.following_id, referral.followed_up = _following(tx, [referral.id]).get(
        referral.id, (referral.following_id, False)
    )


def is_already_replaced(tx: Transaction, draft: Referral) -> bool:
    """Returns whether another referral was sent in place of the one that the draft is based on.

    The other referral is for the same group of needs, and is live or closed. The
    calling code must have locked the person, so that of two drafts only one is sent.
    """
    return (
        tx.execute(
            "SELECT FROM referrals before JOIN referrals next"
            " ON next.based_on_id = before.id AND next.based_on_id <> ''"
            " AND next.sender_organization_id = before.sender_organization_id"
            " AND next.person_id = before.person_id"
            " WHERE before.id = %(before)s AND before.state = ANY(%(came_back)s)"
            " AND before.sender_organization_id = %(sender)s AND before.person_id = %(person)s"
            " AND left(next.need_code, 3) = left(%(need)s, 3)"
            " AND next.state = ANY(%(standing)s) LIMIT 1",
            {
                "before": draft.based_on_id,
                "came_back": [*_CAME_BACK, State.CONSENT_WITHDRAWN.value],
                "sender": draft.sender_organization_id,
                "person": draft.person_id,
                "need": draft.need_code,
                "standing": [state.value for state in {*LIVE, State.CLOSED}],
            },
        ).fetchone()
        is not None
    )


def _following(tx: Transaction, identifiers: list[str]) -> dict[str, tuple[str, bool]]:
    """Returns, for each referral, the id of the referral that follows, and whether it was sent.

    A following referral is by the same sender and for the same person, and is based on the earlier
    one. A referral that was sent takes precedence over a draft. A draft that ended without being
    sent does not follow. Only referrals that the scope shows are found.
    """
    if not identifiers:
        return {}
    rows = tx.execute(
        "SELECT DISTINCT ON (referrals.id) referrals.id, next.id AS following_id, next.send_time IS"
        " NOT NULL AS sent FROM referrals"
        " JOIN referrals next ON next.based_on_id = referrals.id"
        " AND next.sender_organization_id = referrals.sender_organization_id"
        " AND next.person_id = referrals.person_id"
        " AND next.based_on_id <> '' AND next.state <> 'entered_in_error'"
        " AND (next.send_time IS NOT NULL OR next.state = 'draft')"
        " WHERE referrals.id = ANY(%s)"
        " ORDER BY referrals.id, next.send_time IS NULL, next.create_time DESC",
        (identifiers,),
    )
    return {row["id"]: (row["following_id"], row["sent"]) for row in rows}

"""Referrals with their clocks and history. Row-level security narrows every statement to what the transaction's scope may see."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, NamedTuple

from chassis import outbox
from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.sealing import CannotOpen, Key
from chassis.wire import Position
from services.referrals.domain.codes import beginnings_of
from services.referrals.domain.deadline import SOON, Deadline, DeadlineKind, Urgency
from services.referrals.domain.enquiry import EnquiryState
from services.referrals.domain.filter import Filter
from services.referrals.domain.lifecycle import BY_VERB, CAME_BACK, LIVE, WAITS_FOR_RECEIVER, WAITS_FOR_SENDER, State
from services.referrals.domain.person import Coarse
from services.referrals.domain.referral import Actor, Event, Referral
from services.referrals.wire import facts

# What a referral has is kept under the same name; what is not a word, a number or a time is said apart.
_APART = {"coarse", "state", "urgency", "delivered_need_codes", "followed_up", "following_id", "clocks", "events"}
_PLAIN = [each.name for each in fields(Referral) if each.name not in _APART]
_COARSE = "age_band gender_code language dependants country department".split()
_COLUMNS = [*_PLAIN, *_COARSE, "state", "urgency", "delivered_need_codes", "next_due_time"]
CLOCK = [each.name for each in fields(Deadline) if each.name != "kind"]
"""What is kept of a deadline, under the same names."""
# Fixed words, joined once: no value ever becomes part of a statement's text.
_INSERT = f"INSERT INTO referrals ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"
_UPDATE = (
    f"UPDATE referrals SET {', '.join(f'{c} = %({c})s' for c in _COLUMNS if c not in ('id', 'create_time'))}"
    " WHERE id = %(id)s AND version = %(was)s"
)


def get(tx: Transaction, identifier: str, *, for_update: bool = False) -> Referral:
    """One referral in the scope of the transaction; NotFound otherwise. `for_update` makes writers take turns."""
    row = tx.execute("SELECT * FROM referrals WHERE id = %s" + (" FOR UPDATE" if for_update else ""), (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(tx, [row])[0]


def some(tx: Transaction, identifiers: Collection[str]) -> dict[str, Referral]:
    """Several, as far as the scope shows them."""
    rows = tx.execute("SELECT * FROM referrals WHERE id = ANY(%s)", (list(identifiers),)).fetchall() if identifiers else []
    return {referral.id: referral for referral in _read(tx, rows)}


def keep(tx: Transaction, referral: Referral, key: Key | None) -> None:
    """Writes the referral, its clocks, its new events and their facts. `key` (the person's) seals notes; it is needed only if there are any."""
    keep_all(tx, [referral], key)


def keep_all(tx: Transaction, referrals: Sequence[Referral], key: Key | None = None) -> None:
    """The same of several, none with notes or all of one person: so many statements as for one."""
    changed = [referral for referral in referrals if referral.events]
    if not changed:
        return
    events = [(referral, referral.events) for referral in changed]
    with tx.cursor() as cursor:
        for statement, rows in (
            (_INSERT, [_values_of(referral) for referral in changed if referral.events[0].version == 1]),
            (_UPDATE, [_values_of(referral) for referral in changed if referral.events[0].version > 1]),
        ):
            if rows:
                cursor.executemany(statement, rows)
                if cursor.rowcount != len(rows):
                    raise Stale
        _write_clocks(tx, changed)
        cursor.executemany(
            "INSERT INTO referral_events (referral_id, version, verb, from_state, to_state, time, actor_kind, actor_id, organization_id, reason_code,"
            " attribution, clock, note_sealed, changed_field_codes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [_event_row(referral.id, event, key) for referral, new in events for event in new],
        )
    outbox.keep(tx, [fact for referral, new in events for fact in facts.referral_facts(referral, new)])
    tx.execute("SELECT pg_notify('clocks', '')")
    for referral in changed:
        referral.events = []


def _values_of(referral: Referral) -> dict[str, Any]:
    values = {name: getattr(referral, name) for name in _PLAIN} | asdict(referral.coarse)
    return values | {
        "state": referral.state.value,
        "urgency": referral.urgency.value if referral.urgency else None,
        "delivered_need_codes": list(referral.delivered_need_codes),
        "next_due_time": referral.next_due_time,
        "was": referral.events[0].version - 1,
    }


def keep_clocks(tx: Transaction, referral: Referral) -> None:
    """Writes the clocks of a referral to which nothing else happened: it stays the version that it is."""
    _write_clocks(tx, [referral])
    tx.execute("UPDATE referrals SET next_due_time = %s WHERE id = %s", (referral.next_due_time, referral.id))
    tx.execute("SELECT pg_notify('clocks', '')")


def _write_clocks(tx: Transaction, referrals: Iterable[Referral]) -> None:
    rows = [
        (r.id, number, r.urgency.rank if r.urgency else 0, c.kind.value, *(getattr(c, name) for name in CLOCK), c.next_time)
        for r in referrals
        for number, c in enumerate(r.clocks)
    ]
    if rows:
        with tx.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO clocks (referral_id, number, rank, kind, start_time, due_time, stop_time, pause_time, fired_percent, policy_version,"
                " next_time) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (referral_id, number) DO UPDATE SET"
                " rank = excluded.rank, start_time = excluded.start_time, due_time = excluded.due_time, stop_time = excluded.stop_time,"
                " pause_time = excluded.pause_time, fired_percent = excluded.fired_percent, next_time = excluded.next_time"
                " WHERE clocks IS DISTINCT FROM excluded",
                rows,
            )


def _event_row(referral_id: str, event: Event, key: Key | None) -> tuple[Any, ...]:
    sealed = None
    if event.note:
        assert key is not None
        sealed = key.seal(event.note, _note_context(referral_id, event.version))
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
        sealed,
        list(event.changed_field_codes),
    )


def _note_context(referral_id: str, version: int) -> str:
    return f"referral_events/{referral_id}/{version}/note"


def events(tx: Transaction, referral_id: str, key: Key | None) -> list[Event]:
    """The history, oldest first; notes are opened when a key is given."""
    rows = tx.execute("SELECT * FROM referral_events WHERE referral_id = %s ORDER BY version", (referral_id,)).fetchall()
    return [read_event(row, key) for row in rows]


def read_event(row: Row, key: Key | None) -> Event:
    """An event; its note is opened when a key is given. One that does not open keeps no other from being read."""
    note, withheld = "", row["note_sealed"] is not None
    if key and row["note_sealed"]:
        try:
            note, withheld = key.open(row["note_sealed"], _note_context(row["referral_id"], row["version"])), False
        except CannotOpen as damaged:
            damaged.alarm()
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
        note,
        withheld,
        tuple(row["changed_field_codes"]),
    )


def _words(states: Iterable[State]) -> str:
    """As words of a statement: what an index of some states is found by must stand in the text."""
    return ", ".join(f"'{state.value}'" for state in sorted(states, key=lambda state: state.value))


_CAME_BACK = f"state IN ({_words(CAME_BACK)})"
# Referral.need_is_open in rows: of what came back nothing runs but the clock of its need, until that is no longer open.
_UNANSWERED = f"({_CAME_BACK} AND next_due_time IS NOT NULL)"
# One of its sides can't act: it is suspended, or has left. Somebody asks another service for her, or speaks to the side that is there.
_OUT = "(SELECT id FROM members WHERE kind = 'organization' AND NOT active)"
_STRANDED = f"(state IN ({_words(LIVE)}) AND (receiver_organization_id IN {_OUT} OR sender_organization_id IN {_OUT}))"
# Nothing but the clock of the deletion runs there.
_TO_DELETE = "(state = 'consent_withdrawn' AND next_due_time IS NOT NULL)"
# With which something is still to be done, as the indexes of it say: what pages ask for, and few among all there ever were.
_OPEN_STATES = LIVE | {State.DRAFT}
_OPEN = f"(state IN ({_words(_OPEN_STATES)}) OR next_due_time IS NOT NULL)"
_LIVE, _FOR_RECEIVER, _FOR_SENDER = (f"state IN ({_words(states)})" for states in (LIVE, WAITS_FOR_RECEIVER, WAITS_FOR_SENDER))
# Urgency.rank in rows; below all of them what was not said yet.
_RANK = "coalesce(array_position(%(urgencies)s::text[], urgency), 0)"
_MINE = (
    f"((receiver_organization_id = %(organization)s AND ({_FOR_RECEIVER} OR {_TO_DELETE}))"
    f" OR (sender_organization_id = %(organization)s AND ({_FOR_SENDER} OR {_UNANSWERED})))"
)
_OTHER = (
    f"((receiver_organization_id = %(organization)s AND {_FOR_SENDER} AND state <> 'draft')"
    f" OR (sender_organization_id = %(organization)s AND ({_FOR_RECEIVER} OR {_TO_DELETE})))"
)
_SENT_BY = "sender_organization_id = %(organization)s"
_SENT_TO = "receiver_organization_id = %(organization)s AND send_time IS NOT NULL"


class _Part(NamedTuple):
    """Rows of a box, when they are due as who asks may know, and of which of them he may know that their need is open: to a receiver what came back is over."""

    rows: str
    due: str = "next_due_time"
    unanswered: str = _UNANSWERED


_DUE_TO_RECEIVER = f"(CASE WHEN {_CAME_BACK} AND sender_organization_id <> receiver_organization_id THEN NULL ELSE next_due_time END)"
_UNANSWERED_OF_RECEIVER = f"({_SENT_BY} AND {_UNANSWERED})"
# Parts of a box have no row in common; a list merges them, each in the order of an index.
_BOXES = {
    "inbox": (_Part(_SENT_TO, _DUE_TO_RECEIVER, _UNANSWERED_OF_RECEIVER),),
    "outbox": (_Part(_SENT_BY),),
    "mine": (
        _Part(_SENT_BY),
        _Part(f"{_SENT_TO} AND sender_organization_id <> receiver_organization_id", _DUE_TO_RECEIVER, _UNANSWERED_OF_RECEIVER),
    ),
    "network": (_Part("send_time IS NOT NULL"),),
}


def conditions(wanted: Filter) -> tuple[str, dict[str, Any]]:
    """What a filter asks for, in SQL about `referrals`, and the values in it."""
    return f"({' OR '.join(f'({_where(wanted, part)})' for part in _BOXES[wanted.box])})", _values(wanted)


def _where(wanted: Filter, part: _Part) -> str:
    conditions, due, unanswered = list(part[:1]), part.due, part.unanswered
    if wanted.is_open:
        conditions.append(_OPEN)
    if wanted.states:
        conditions.append("state = ANY(%(states)s)")
    if wanted.need_code:
        conditions.append("(need_code = %(need)s OR need_code LIKE %(need)s || '.%%')")
    if wanted.urgency:
        conditions.append("urgency = %(urgency)s")
    if wanted.due_before:
        conditions.append(f"{due} < %(due_before)s")
    if wanted.due_after:
        conditions.append(f"{due} >= %(due_after)s")
    if wanted.modified_after:
        conditions.append("update_time > %(modified_after)s")
    if wanted.live:
        conditions.append(f"({_LIVE} OR {_TO_DELETE})")
    if wanted.waiting_for_me:
        conditions.append(_MINE)
    if wanted.waiting_for_other:
        conditions.append(_OTHER)
    if wanted.person_id:
        # Who is not a party is not shown a person's id: by asking for one he must not hear what became of her.
        conditions.append(f"person_id = %(person)s AND ({_SENT_BY} OR receiver_organization_id = %(organization)s)")
    if wanted.contact_id:
        conditions.append(f"contact_id = %(contact)s AND {_SENT_BY}")
    if wanted.late:
        conditions.append(f"{due} < %(now)s")
    if wanted.due_soon:
        conditions.append(f"{due} >= %(now)s AND {due} < %(soon)s")
    if wanted.unanswered:
        conditions.append(unanswered)
    if wanted.pressing:
        conditions.append(f"({due} < %(soon)s OR {unanswered} OR {_STRANDED})")
    if wanted.code:
        # Between ids, where an index finds it: under row-level security none of what a function makes of a column is used. No digit is beyond a "g".
        begins = [f"(id >= %(begin{n})s AND id < %(begin{n})s || 'g')" for n, _ in enumerate(beginnings_of(wanted.code))]
        conditions.append(f"({' OR '.join(begins) or 'false'})")
    return " AND ".join(conditions)


def _values(wanted: Filter) -> dict[str, Any]:
    return {
        **{f"begin{n}": beginning for n, beginning in enumerate(beginnings_of(wanted.code))},
        "organization": wanted.organization_id,
        "states": [state.value for state in wanted.states],
        "need": wanted.need_code,
        "urgency": wanted.urgency.value if wanted.urgency else None,
        "due_before": wanted.due_before,
        "due_after": wanted.due_after,
        "modified_after": wanted.modified_after,
        "person": wanted.person_id,
        "contact": wanted.contact_id,
        "urgencies": [urgency.value for urgency in Urgency],
        "now": wanted.now,
        "soon": wanted.now + SOON,
    }


def find(
    tx: Transaction, wanted: Filter, limit: int, after: Position | None = None, *, by_urgency: bool = False
) -> tuple[list[Referral], Position | None]:
    """A page, nearest deadline first, and where the next page goes on; `by_urgency`: the most urgent first, of those the nearest deadline."""
    values, beyond = _values(wanted) | {"limit": limit + 1}, "true"
    if after:
        *rank, values["due"], values["updated"], values["after"] = after
        # The directions differ, so the row comparison is written out.
        beyond = (
            "({due} > %(due)s::timestamptz OR ({due} = %(due)s::timestamptz"
            " AND (update_time < %(updated)s::timestamptz OR (update_time = %(updated)s::timestamptz AND id > %(after)s))))"
        )
        if rank:
            values["rank"], beyond = rank[0], f"({_RANK} < %(rank)s OR ({_RANK} = %(rank)s AND {beyond}))"
    order = f"{'rank_key DESC, ' if by_urgency else ''}due, update_time DESC, id LIMIT %(limit)s"
    parts = [
        f"(SELECT *, {_RANK} AS rank_key, {due} AS due, {due}::text AS due_key, update_time::text AS update_key FROM referrals"
        f" WHERE {_where(wanted, part)} AND {beyond.format(due=due)} ORDER BY {order})"
        for part in _BOXES[wanted.box]
        for due in [f"coalesce({part.due}, 'infinity')"]
    ]
    columns = ", ".join([*_COLUMNS, "rank_key", "due_key", "update_key"])
    rows = tx.execute(f"SELECT {columns} FROM ({' UNION ALL '.join(parts)}) AS found ORDER BY {order}", values).fetchall()
    page = rows[:limit]
    more = None
    if len(rows) > limit:
        last = page[-1]
        more = [*([last["rank_key"]] if by_urgency else []), last["due_key"], last["update_key"], last["id"]]
    return _read(tx, page), more


def count(tx: Transaction, wanted: Filter) -> Row:
    """The figures of Today and the board. All but `total` and `by_state` are of what is open; what is over is counted only for a filter that wants it."""
    mine, other = (_MINE, _OTHER) if wanted.box != "network" else ("false", _FOR_RECEIVER)
    columns = "state, next_due_time, need_code, department, sender_organization_id, receiver_organization_id"
    parts = [(part.due, _where(wanted, part)) for part in _BOXES[wanted.box]]
    chosen = " UNION ALL ".join(f"SELECT {columns}, {due} AS due FROM referrals WHERE {where} AND {_OPEN}" for due, where in parts)
    past = " UNION ALL ".join(
        f"SELECT state FROM referrals WHERE {'false' if wanted.is_open else where} AND NOT {_OPEN}" for _, where in parts
    )
    unanswered = _UNANSWERED if wanted.box == "network" else f"{_SENT_BY} AND {_UNANSWERED}"
    row = tx.execute(
        f"WITH chosen AS ({chosen}), states AS (SELECT state, count(*) AS n FROM (SELECT state FROM chosen UNION ALL {past}) AS s GROUP BY 1)"
        " SELECT count(*) FILTER (WHERE due < %(now)s) AS late, count(*) FILTER (WHERE due >= %(now)s AND due < %(soon)s) AS due_soon,"
        f" count(*) FILTER (WHERE {mine}) AS waiting_for_me, count(*) FILTER (WHERE {other}) AS waiting_for_other,"
        " count(*) FILTER (WHERE state = 'sent') AS fresh, (SELECT coalesce(sum(n), 0)::int FROM states) AS total,"
        " (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM states) AS by_state,"
        f" (SELECT coalesce(jsonb_object_agg(need, n), '{{}}') FROM (SELECT left(need_code, 3) AS need, count(*) AS n FROM chosen WHERE {_LIVE}"
        "   GROUP BY 1) g) AS by_need,"
        f" (SELECT coalesce(jsonb_object_agg(department, n), '{{}}') FROM (SELECT department, count(*) AS n FROM chosen WHERE {_LIVE}"
        "   AND department <> '' GROUP BY 1) d) AS by_department,"
        " (SELECT coalesce(jsonb_agg(jsonb_build_array(need, department, n) ORDER BY n DESC, need, department), '[]') FROM ("
        f"   SELECT left(need_code, 3) AS need, department, count(*) AS n FROM chosen WHERE {unanswered} GROUP BY 1, 2) u) AS unanswered"
        " FROM chosen",
        _values(wanted),
    ).fetchone()
    assert row is not None
    return row


# Not the greatest time alone: of two changes at once the one that began first may be committed last, and it would never be seen. Among the newest it is,
# as long as fewer change in the five seconds that a transaction may take. Each branch reads so many rows by an index that is in this order.
_NEWEST = "SELECT id, version FROM {} WHERE {} ORDER BY update_time DESC LIMIT 64"
_OWN = " UNION ALL ".join(
    f"({_NEWEST.format(*branch)})"
    for branch in (
        ("referrals", "sender_organization_id = %(organization)s"),
        ("referrals", _SENT_TO),
        ("contacts", "organization_id = %(organization)s"),
        ("callbacks", "organization_id = %(organization)s"),
        ("plans", "organization_id = %(organization)s"),
        ("enquiries", "organization_id = %(organization)s"),
    )
)
# Of what was put to an organisation its own copies: that others answered is no change.
_OWN += f" UNION ALL ({_NEWEST.format('enquiry_offers', 'organization_id = %(organization)s').replace('id,', 'enquiry_id || service_id,')})"
_NETWORK = " UNION ALL ".join(
    (_OWN, f"({_NEWEST.format('referrals', 'send_time IS NOT NULL')})", f"({_NEWEST.format('enquiries', 'state = %(exhausted)s')})")
)


def queue_version(tx: Transaction, organization_id: str, *, network: bool) -> str:
    """A digest of what changed last among the referrals, contacts, calls that are owed and enquiries of an organisation; with `network`, of all that are not drafts."""
    newest = _NETWORK if network else _OWN
    row = tx.execute(
        f"SELECT md5(coalesce(string_agg(id || version, ',' ORDER BY id, version), '')) AS version FROM ({newest}) AS newest",
        {"organization": organization_id, "exhausted": EnquiryState.EXHAUSTED.value},
    ).fetchone()
    assert row is not None
    return str(row["version"])


def live_of_person(tx: Transaction, person_id: str, receipt_id: str = "") -> list[str]:
    """Live referrals of a person; only those that stand on a receipt, if one is given."""
    rows = tx.execute(
        "SELECT id FROM referrals WHERE person_id = %s AND (%s = '' OR receipt_id = %s) AND state = ANY(%s) ORDER BY id",
        (person_id, receipt_id, receipt_id, [state.value for state in LIVE]),
    ).fetchall()
    return [row["id"] for row in rows]


def answered_for_by(tx: Transaction, worker_id: str) -> list[str]:
    """Referrals for which a worker of their receiver answers."""
    rows = tx.execute(
        "SELECT id FROM referrals WHERE responsible_worker_id = %s AND state = ANY(%s) ORDER BY id FOR UPDATE",
        (worker_id, [state.value for state in BY_VERB["assign"].sources]),
    ).fetchall()
    return [row["id"] for row in rows]


def of_people(tx: Transaction, people: Collection[str]) -> list[Referral]:
    """The referrals of some persons, oldest first."""
    rows = tx.execute("SELECT * FROM referrals WHERE person_id = ANY(%s) ORDER BY create_time, id", (list(people),)).fetchall()
    return _read(tx, rows)


def senders_before_withdrawal(tx: Transaction, person_id: str, receiver_organization_id: str) -> list[str]:
    """Who asked a receiver for help in the name of a person who then took that back; empty when she never did."""
    rows = tx.execute(
        "SELECT s.actor_id FROM referrals r JOIN referral_events s ON s.referral_id = r.id AND s.verb = 'sent'"
        " WHERE r.person_id = %s AND r.receiver_organization_id = %s AND r.state = 'consent_withdrawn'"
        " UNION SELECT recorded_by_worker_id FROM receipts WHERE person_id = %s AND recipient_organization_id = %s AND withdraw_time IS NOT NULL",
        (person_id, receiver_organization_id, person_id, receiver_organization_id),
    ).fetchall()
    return [row["actor_id"] for row in rows]


def of_contact(tx: Transaction, contact_id: str, *, for_update: bool = False) -> list[Referral]:
    """The referrals made for a contact."""
    rows = tx.execute(
        "SELECT * FROM referrals WHERE contact_id = %s ORDER BY create_time, id" + (" FOR UPDATE" if for_update else ""), (contact_id,)
    ).fetchall()
    return _read(tx, rows)


def count_sent(tx: Transaction, organization_id: str) -> int:
    """How many referrals an organisation has ever sent."""
    row = tx.execute(
        "SELECT count(*) AS n FROM referrals WHERE sender_organization_id = %s AND send_time IS NOT NULL", (organization_id,)
    ).fetchone()
    return int(row["n"]) if row else 0


def with_due_clocks(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Referrals of which a clock reaches a level, the most urgent first, of those the longest due; claimed for this transaction: two processes take different ones."""
    identifiers = list[str]()
    for rank in sorted((urgency.rank for urgency in Urgency), reverse=True):
        # One rank after the other, in the order of an index: of all at once the planner sorts whatever is due, at each turn again.
        rows = tx.execute(
            "SELECT id FROM clocks JOIN referrals ON id = referral_id WHERE rank = %s AND next_time <= %s ORDER BY next_time LIMIT %s"
            " FOR UPDATE OF referrals SKIP LOCKED",
            (rank, now, limit - len(identifiers)),
        ).fetchall()
        identifiers += [row["id"] for row in rows]
        if len(identifiers) == limit:
            break
    return list(dict.fromkeys(identifiers))


def claimed(tx: Transaction, identifiers: Sequence[str]) -> list[Referral]:
    """Referrals that this transaction has claimed, in that order."""
    rows = tx.execute("SELECT * FROM referrals WHERE id = ANY(%s) FOR UPDATE", (list(identifiers),)).fetchall()
    return _read(tx, sorted(rows, key=lambda row: identifiers.index(row["id"])))


def put_clocks_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Has the due clocks of a referral wait until a moment; what they have told and when they are due stays."""
    tx.execute("UPDATE clocks SET next_time = %s WHERE referral_id = %s AND next_time <= %s", (until, identifier, now))


def next_clock_time(tx: Transaction) -> datetime | None:
    """When the next level of any clock is reached."""
    row = tx.execute("SELECT min(next_time) AS next FROM clocks WHERE next_time IS NOT NULL").fetchone()
    return row["next"] if row else None


def _read(tx: Transaction, rows: Sequence[Row]) -> list[Referral]:
    clocks: dict[str, list[Deadline]] = {}
    following = _following(tx, [row["id"] for row in rows if State(row["state"]) in CAME_BACK])
    if rows:
        clock_rows: Iterable[Row] = tx.execute(
            "SELECT * FROM clocks WHERE referral_id = ANY(%s) ORDER BY referral_id, number", ([row["id"] for row in rows],)
        )
        for c in clock_rows:
            clocks.setdefault(c["referral_id"], []).append(Deadline(DeadlineKind(c["kind"]), **{name: c[name] for name in CLOCK}))
    return [
        Referral(
            **{name: row[name] for name in _PLAIN},
            coarse=Coarse(**{name: row[name] for name in _COARSE}),
            state=State(row["state"]),
            urgency=Urgency(row["urgency"]) if row["urgency"] else None,
            delivered_need_codes=tuple(row["delivered_need_codes"]),
            clocks=clocks.get(row["id"], []),
            following_id=following.get(row["id"], ("", False))[0],
            followed_up=following.get(row["id"], ("", False))[1],
        )
        for row in rows
    ]


def note_following(tx: Transaction, referral: Referral) -> None:
    """What follows it, as far as the scope shows it: of one that came back just now that was not asked before."""
    referral.following_id, referral.followed_up = _following(tx, [referral.id]).get(referral.id, (referral.following_id, False))


def _following(tx: Transaction, identifiers: list[str]) -> dict[str, tuple[str, bool]]:
    """Of those on which another referral of the same sender is based, as far as the scope shows it: which, and whether it was sent. A sent one first."""
    if not identifiers:
        return {}
    rows = tx.execute(
        "SELECT DISTINCT ON (referrals.id) referrals.id, next.id AS following_id, next.send_time IS NOT NULL AS sent FROM referrals"
        " JOIN referrals next ON next.based_on_id = referrals.id AND next.sender_organization_id = referrals.sender_organization_id"
        " AND next.based_on_id <> '' AND next.state <> 'entered_in_error' WHERE referrals.id = ANY(%s)"
        " ORDER BY referrals.id, next.send_time IS NULL, next.create_time DESC",
        (identifiers,),
    )
    return {row["id"]: (row["following_id"], row["sent"]) for row in rows}

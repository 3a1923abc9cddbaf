"""Referrals in lists: the boxes of an organisation and of the network.

The lists are filtered, paged and counted, and have a version that shows whether anything changed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from chassis.db import Row, Transaction
from chassis.wire import Cursor
from services.referrals.network.domain.deadline import HEALTH, SOON, DeadlineKind, Urgency
from services.referrals.network.store.codes import code_condition
from services.referrals.referrals.domain.enquiry import EnquiryState
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import (
    CAME_BACK,
    LIVE,
    TO_DELETE,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    State,
)
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import referrals


def _words(codes: Iterable[State | DeadlineKind]) -> str:
    """Returns codes as SQL literals, without which no partial index would be used."""
    return ", ".join(sorted(f"'{code.value}'" for code in codes))


_CAME_BACK = f"state IN ({_words(CAME_BACK)})"
# Referral.need_is_open as a condition on rows: after a referral came back, its deadlines run only
# as long as the need is open.
_UNANSWERED = f"({_CAME_BACK} AND next_due_time IS NOT NULL)"
# The condition for a live referral with a side that can't act, since that side is suspended or has
# left. Someone has to find another service for the person, or speak to the other side.
_OUT_IDS = "(SELECT id FROM members WHERE kind = 'organization' AND NOT active)"
_STRANDED = (
    f"(state IN ({_words(LIVE)}) AND (receiver_organization_id IN {_OUT_IDS}"
    f" OR sender_organization_id IN {_OUT_IDS}))"
)
# In these states only the deletion deadline can run. After a referral came back, the deadlines of
# its need can run, too, so then the deletion has a column of its own.
_TO_DELETE = (
    f"((state IN ({_words(TO_DELETE - CAME_BACK)}) AND next_due_time IS NOT NULL)"
    " OR deletion_due_time IS NOT NULL)"
)
# The condition for referrals with something left to do, written as in their partial indexes. Most
# queries of the site are for these referrals, which are a small part of all referrals.
_OPEN_STATES = LIVE | {State.DRAFT}
_OPEN = (
    f"(state IN ({_words(_OPEN_STATES)}) OR next_due_time IS NOT NULL"
    " OR deletion_due_time IS NOT NULL)"
)
_LIVE, _FOR_RECEIVER, _FOR_SENDER = (
    f"state IN ({_words(states)})" for states in (LIVE, WAITS_FOR_RECEIVER, WAITS_FOR_SENDER)
)
# Urgency.rank as an expression on rows; a referral without an urgency ranks lowest.
_RANK = "coalesce(array_position(%(urgencies)s::text[], urgency), 0)"
# The condition for referrals on which the organisation %(organization)s has to act.
MINE = (
    f"((receiver_organization_id = %(organization)s AND ({_FOR_RECEIVER} OR {_TO_DELETE}))"
    f" OR (sender_organization_id = %(organization)s AND ({_FOR_SENDER} OR {_UNANSWERED})))"
)
_OTHER_SIDES = (
    f"((receiver_organization_id = %(organization)s AND {_FOR_SENDER} AND state <> 'draft')"
    f" OR (sender_organization_id = %(organization)s AND ({_FOR_RECEIVER} OR {_TO_DELETE})"
    f" AND NOT {_UNANSWERED}))"
)
_SENT_BY = "sender_organization_id = %(organization)s"
_SENT_TO = "receiver_organization_id = %(organization)s AND send_time IS NOT NULL"
# The condition for referrals that changed: by a step of their own, or because a follow-up referral
# changed, which can open or close the need. The first {} is the time of change that the reader may
# know, and the second restricts the follow-up referrals.
_MODIFIED = (
    "(update_time > %(modified_after)s AND {} > %(modified_after)s"
    " OR id = ANY(ARRAY(SELECT based_on_id FROM referrals"
    " WHERE {} AND based_on_id <> '' AND update_time > %(modified_after)s)))"
)


class _Part(NamedTuple):
    """A part of a box: its rows, their times, and the condition for an open need.

    All are limited to what the reader may see: for a receiver, a referral that came back is over; a
    coordinator sees no health deadline. `ordered`: the time that orders rows with equal deadlines.
    """

    rows: str
    due: str = "next_due_time"
    unanswered: str = _UNANSWERED
    changed: str = "update_time"
    ordered: str = "update_time"


_DUE_TO_RECEIVER = (
    f"(CASE WHEN {_CAME_BACK} AND sender_organization_id <> receiver_organization_id"
    " THEN deletion_due_time ELSE next_due_time END)"
)
_UNANSWERED_OF_RECEIVER = f"({_SENT_BY} AND {_UNANSWERED})"
# A referral that was sent has an answer about who is unsafe, until an erasure takes the answer away
# with the coarse data. The receiver learns of that change.
_CHANGED_FOR_RECEIVER = (
    f"(CASE WHEN {_CAME_BACK} AND sender_organization_id <> receiver_organization_id"
    " AND (unsafe_code, age_band, department) <> ('', '', '') THEN"
    " (SELECT max(start_time) FROM clocks WHERE referral_id = referrals.id"
    " AND kind IN ('deletion', 'replace'))"
    " ELSE update_time END)"
)
# The receiver does not see in the order of a list what happened after a referral came back.
_ORDERED_FOR_RECEIVER = (
    f"(CASE WHEN {_CAME_BACK} AND sender_organization_id <> receiver_organization_id"
    " THEN send_time ELSE update_time END)"
)
# Only these referrals can have a running health deadline, which a coordinator does not see, or a
# deletion beside an open need; there are never many of them.
_OWN_DUE_TIME = (
    "((assault_time IS NOT NULL AND next_due_time IS NOT NULL) OR deletion_due_time IS NOT NULL)"
)
_DUE_TO_NETWORK = (
    "(SELECT min(due_time) FROM clocks WHERE referral_id = referrals.id AND stop_time IS NULL"
    f" AND pause_time IS NULL AND kind NOT IN ({_words(HEALTH)}))"
)
_KNOWN_TO_RECEIVER = (
    _DUE_TO_RECEIVER,
    _UNANSWERED_OF_RECEIVER,
    _CHANGED_FOR_RECEIVER,
    _ORDERED_FOR_RECEIVER,
)
# Of the referrals that came back, few have data to delete; the others are read by an index.
_KNOWN_TO_SENDER = (
    _Part(f"{_SENT_BY} AND deletion_due_time IS NULL"),
    _Part(
        f"{_SENT_BY} AND deletion_due_time IS NOT NULL",
        "least(next_due_time, deletion_due_time)",
    ),
)
# The parts of a box have no row in common; a list merges them, each in the order of an index.
_BOXES = {
    "inbox": (_Part(_SENT_TO, *_KNOWN_TO_RECEIVER),),
    "outbox": _KNOWN_TO_SENDER,
    "mine": (
        *_KNOWN_TO_SENDER,
        _Part(
            f"{_SENT_TO} AND sender_organization_id <> receiver_organization_id",
            *_KNOWN_TO_RECEIVER,
        ),
    ),
    "network": (
        _Part(f"send_time IS NOT NULL AND NOT {_OWN_DUE_TIME}"),
        _Part(f"send_time IS NOT NULL AND {_OWN_DUE_TIME}", _DUE_TO_NETWORK),
    ),
}


def conditions(query: Filter) -> tuple[str, dict[str, Any]]:
    """Returns a filter as an SQL condition on `referrals`, and the parameters of the condition."""
    return (
        f"({' OR '.join(f'({_condition(query, part)})' for part in _BOXES[query.box])})",
        _values(query),
    )


def _condition(query: Filter, part: _Part) -> str:
    where, due, unanswered, changed, _ = part
    conditions = (
        (query.is_open, _OPEN),
        (query.states, "state = ANY(%(states)s)"),
        (query.need_code, "(need_code = %(need)s OR need_code LIKE %(need)s || '.%%')"),
        (query.urgency, "urgency = %(urgency)s"),
        (query.due_before, f"{due} < %(due_before)s"),
        (query.due_after, f"{due} >= %(due_after)s"),
        (
            query.modified_after,
            _MODIFIED.format(changed, "true" if query.box == "network" else _SENT_BY),
        ),
        (query.live, f"({_LIVE} OR {_TO_DELETE})"),
        (query.waiting_for_me, MINE),
        (query.waiting_for_other, _OTHER_SIDES),
        # An outsider does not see a person's id, and must not learn what became of the person by
        # filtering for the id.
        (
            query.person_id,
            (
                f"person_id = %(person)s AND ({_SENT_BY}"
                " OR receiver_organization_id = %(organization)s)"
            ),
        ),
        (query.contact_id, f"contact_id = %(contact)s AND {_SENT_BY}"),
        (query.late, f"{due} < %(now)s"),
        (query.due_soon, f"{due} >= %(now)s AND {due} < %(soon)s"),
        (query.unanswered, unanswered),
        (query.pressing, f"({due} < %(soon)s OR {unanswered} OR {_STRANDED})"),
        (query.code, code_condition(query.code)[0]),
    )
    return " AND ".join([where, *(condition for is_set, condition in conditions if is_set)])


def _values(query: Filter) -> dict[str, Any]:
    return {
        **code_condition(query.code)[1],
        "organization": query.organization_id,
        "states": [state.value for state in query.states],
        "need": query.need_code,
        "urgency": query.urgency.value if query.urgency else None,
        "due_before": query.due_before,
        "due_after": query.due_after,
        "modified_after": query.modified_after,
        "person": query.person_id,
        "contact": query.contact_id,
        "urgencies": [urgency.value for urgency in Urgency],
        "now": query.now,
        "soon": query.now + SOON,
    }


def find(
    tx: Transaction,
    query: Filter,
    limit: int,
    after: Cursor | None = None,
    *,
    by_urgency: bool = False,
) -> tuple[list[Referral], Cursor | None]:
    """Returns a page of referrals, nearest deadline first, and the cursor of the next page.

    With `by_urgency`, the most urgent come first; the deadline orders referrals of equal urgency.
    """
    values, after_condition = _values(query) | {"limit": limit + 1}, "true"
    if after:
        *rank, values["due"], values["updated"], values["after"] = after
        # The directions differ, so the row comparison is written out.
        after_condition = (
            "({due} > %(due)s::timestamptz OR ({due} = %(due)s::timestamptz"
            " AND ({ordered} < %(updated)s::timestamptz"
            " OR ({ordered} = %(updated)s::timestamptz AND id > %(after)s))))"
        )
        if rank:
            values["rank"] = rank[0]
            after_condition = f"({_RANK} < %(rank)s OR ({_RANK} = %(rank)s AND {after_condition}))"
    order = f"{'rank_key DESC, ' if by_urgency else ''}due, order_time DESC, id LIMIT %(limit)s"
    parts = [
        f"(SELECT *, {_RANK} AS rank_key, {due} AS due, {due}::text AS due_key,"
        f" {part.ordered} AS order_time, {part.ordered}::text AS order_key FROM referrals"
        f" WHERE {_condition(query, part)}"
        f" AND {after_condition.format(due=due, ordered=part.ordered)} ORDER BY {order})"
        for part in _BOXES[query.box]
        for due in [f"coalesce({part.due}, 'infinity')"]
    ]
    columns = ", ".join([*referrals.COLUMNS, "rank_key", "due_key", "order_key"])
    rows = tx.execute(
        f"SELECT {columns} FROM ({' UNION ALL '.join(parts)}) AS merged ORDER BY {order}", values
    ).fetchall()
    page = rows[:limit]
    next_cursor = None
    if len(rows) > limit:
        last_row = page[-1]
        next_cursor = [
            *([last_row["rank_key"]] if by_urgency else []),
            last_row["due_key"],
            last_row["order_key"],
            last_row["id"],
        ]
    return referrals.read(tx, page), next_cursor


def count(tx: Transaction, query: Filter) -> Row:
    """Counts referrals for the Today page and for the board.

    All counts except `total` and `by_state` are of open referrals. Closed referrals are counted
    only if the filter can match them.
    """
    own_turn, other_turn = (
        (MINE, _OTHER_SIDES) if query.box != "network" else ("false", _FOR_RECEIVER)
    )
    columns = (
        "state, next_due_time, deletion_due_time, need_code, department, sender_organization_id,"
        " receiver_organization_id"
    )
    parts = [(part.due, _condition(query, part)) for part in _BOXES[query.box]]
    open_rows = " UNION ALL ".join(
        f"SELECT {columns}, {due} AS due FROM referrals WHERE {where} AND {_OPEN}"
        for due, where in parts
    )
    other_rows = "".join(
        f" UNION ALL SELECT state FROM referrals WHERE {where} AND NOT {_OPEN}"
        for _, where in ([] if query.is_open else parts)
    )
    unanswered = _UNANSWERED if query.box == "network" else f"{_SENT_BY} AND {_UNANSWERED}"
    row = tx.execute(
        f"WITH chosen AS ({open_rows}), states AS (SELECT state, count(*) AS n FROM (SELECT state"
        f" FROM chosen{other_rows}) AS s GROUP BY 1)"
        " SELECT count(*) FILTER (WHERE due < %(now)s) AS late, count(*) FILTER (WHERE due >="
        " %(now)s AND due < %(soon)s) AS due_soon,"
        f" count(*) FILTER (WHERE {own_turn}) AS waiting_for_me,"
        f" count(*) FILTER (WHERE {other_turn}) AS waiting_for_other,"
        " count(*) FILTER (WHERE state = 'sent') AS fresh, (SELECT coalesce(sum(n), 0)::int FROM"
        " states) AS total,"
        " (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM states) AS by_state,"
        " (SELECT coalesce(jsonb_object_agg(need, n), '{}')"
        f" FROM (SELECT left(need_code, 3) AS need, count(*) AS n FROM chosen WHERE {_LIVE}"
        "   GROUP BY 1) g) AS by_need,"
        " (SELECT coalesce(jsonb_object_agg(department, n), '{}')"
        f" FROM (SELECT department, count(*) AS n FROM chosen WHERE {_LIVE}"
        "   AND department <> '' GROUP BY 1) d) AS by_department,"
        " (SELECT coalesce(jsonb_agg(jsonb_build_array(need, department, n)"
        " ORDER BY n DESC, need, department), '[]') FROM ("
        "   SELECT left(need_code, 3) AS need, department, count(*) AS n FROM chosen"
        f" WHERE {unanswered} GROUP BY 1, 2) u) AS unanswered"
        " FROM chosen",
        _values(query),
    ).fetchone()
    assert row is not None
    return row


def _newest(
    table: str,
    condition: str,
    identifier: str = "id",
    version: str = "version",
    ordered: str = "update_time",
) -> str:
    """Returns the query for the ids and versions of the 64 rows of a table that changed last.

    The latest time alone does not show every change: of two concurrent transactions, the one with
    the earlier time may commit last, and its change would never be noticed. The changed row is
    among the newest 64, unless more rows change in the ten seconds that a transaction may take. The
    rows are read by an index in this order.
    """
    return (
        f"(SELECT {identifier}, {version} FROM {table} WHERE {condition}"
        f" ORDER BY {ordered} DESC LIMIT 64)"
    )


_ORGANIZATION = "organization_id = %(organization)s"
_OWN_CHANGES = " UNION ALL ".join(
    (
        _newest("referrals", _SENT_BY),
        *(
            _newest(table, _ORGANIZATION)
            for table in ("contacts", "callbacks", "plans", "enquiries")
        ),
        # A receiver sees no change of a referral that came back.
        _newest(
            "referrals",
            _SENT_TO,
            version=f"CASE WHEN {_CAME_BACK} THEN 0 ELSE version END",
            ordered=_ORDERED_FOR_RECEIVER,
        ),
        # A referral that comes back, or has data to delete, may not be among its receiver's newest
        # rows.
        f"(SELECT '', count(*) FROM referrals WHERE {_SENT_TO} AND ({_LIVE} OR {_TO_DELETE}))",
        # An organisation that is asked sees only its own copies, so the answers of other
        # organisations must not change its version.
        _newest("enquiry_offers", _ORGANIZATION, identifier="enquiry_id || service_id"),
    )
)
_NETWORK_CHANGES = " UNION ALL ".join(
    (
        _OWN_CHANGES,
        _newest("referrals", "send_time IS NOT NULL"),
        _newest("enquiries", "state = %(exhausted)s"),
    )
)


def queue_version(tx: Transaction, organization_id: str, *, network: bool) -> str:
    """Returns a digest of the latest changes in an organisation's lists.

    The lists hold the organisation's referrals, contacts, callbacks, plans and enquiries; with
    `network`, also all referrals that were sent and all exhausted enquiries.
    """
    newest_rows = _NETWORK_CHANGES if network else _OWN_CHANGES
    row = tx.execute(
        "SELECT md5(coalesce(string_agg(id || version, ',' ORDER BY id, version), '')) AS version"
        f" FROM ({newest_rows}) AS newest",
        {"organization": organization_id, "exhausted": EnquiryState.EXHAUSTED.value},
    ).fetchone()
    assert row is not None
    return str(row["version"])

"""Lists and counts agree with a plain scan of all rows, for many filters and random rows."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from chassis.tokens import Caller
from services.referrals.network.domain.deadline import SOON, Urgency
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import (
    CAME_BACK,
    LIVE,
    TO_DELETE,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    State,
)
from services.referrals.referrals.store import boxes
from tests.builders import NOON
from tests.referrals.conftest import ORG, Service, Story

NEVER = NOON + timedelta(days=9)
"""The time by which rows without a deadline are sorted."""


def is_over(row: dict[str, Any], filter_: Filter) -> bool:
    """Returns whether a referral came back and is listed for its receiver only."""
    return (
        filter_.box != "network"
        and State(row["state"]) in CAME_BACK
        and row["sender_organization_id"] != filter_.organization_id
    )


def due_time_of(row: dict[str, Any], filter_: Filter) -> Any:
    if is_over(row, filter_):
        return row["deletion_due_time"]
    if filter_.box == "inbox":  # no referral within one organisation has data to delete
        return row["next_due_time"]
    times = (row["next_due_time"], row["deletion_due_time"])
    return min((time for time in times if time), default=None)


def listed_time_of(row: dict[str, Any], filter_: Filter) -> Any:
    return row["send_time" if is_over(row, filter_) else "update_time"]


def is_open_need(row: dict[str, Any], filter_: Filter) -> bool:
    visible = filter_.box == "network" or row["sender_organization_id"] == filter_.organization_id
    return visible and State(row["state"]) in CAME_BACK and row["next_due_time"] is not None


def side_to_act(row: dict[str, Any], filter_: Filter) -> str:
    """Returns the side whose turn it is."""
    if State(row["state"]) in WAITS_FOR_SENDER or is_open_need(row, filter_):
        return "sender"
    return "receiver" if State(row["state"]) in WAITS_FOR_RECEIVER or is_to_delete(row) else ""


def is_to_delete(row: dict[str, Any]) -> bool:
    column = "deletion_due_time" if State(row["state"]) in CAME_BACK else "next_due_time"
    return State(row["state"]) in TO_DELETE and row[column] is not None


def waits_for_own_side(row: dict[str, Any], filter_: Filter) -> bool:
    side = side_to_act(row, filter_)
    return side != "" and row[f"{side}_organization_id"] == filter_.organization_id


def waits_for_other_side(row: dict[str, Any], filter_: Filter) -> bool:
    """Returns whether the row is listed as waiting for the other side.

    A receiver never sees a draft or a returned referral as waiting for the sender.
    """
    other_side = {"sender": "receiver", "receiver": "sender", "": ""}[side_to_act(row, filter_)]
    is_hidden = other_side == "receiver" and (row["state"] == "draft" or is_open_need(row, filter_))
    return (
        bool(other_side)
        and not is_hidden
        and row[f"{other_side}_organization_id"] == filter_.organization_id
    )


MATCHES: dict[str, Callable[[dict[str, Any], Filter], bool]] = {
    "live": lambda row, _: State(row["state"]) in LIVE or is_to_delete(row),
    "waiting_for_me": waits_for_own_side,
    "waiting_for_other": waits_for_other_side,
    "late": lambda row, filter_: (due_time_of(row, filter_) or NEVER) < NOON,
    "due_soon": lambda row, filter_: NOON <= (due_time_of(row, filter_) or NEVER) < NOON + SOON,
    "unanswered": is_open_need,
    "pressing": lambda row, filter_: (
        is_open_need(row, filter_) or (due_time_of(row, filter_) or NEVER) < NOON + SOON
    ),
}
IN_BOX: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "inbox": lambda row, organization: (
        row["receiver_organization_id"] == organization and row["send_time"] is not None
    ),
    "outbox": lambda row, organization: row["sender_organization_id"] == organization,
    "mine": lambda row, organization: (
        IN_BOX["inbox"](row, organization) or IN_BOX["outbox"](row, organization)
    ),
    "network": lambda row, _: row["send_time"] is not None,
}


@pytest.fixture(scope="module")
def rows_of_every_state(service: Service) -> list[dict[str, Any]]:
    """Returns rows of every state between three organisations, which also send to themselves."""
    random_source = random.Random(4)
    story = Story(
        service,
        service.as_("ngo", "WORKER"),
        service.as_("shelter", "WORKER"),
        service.as_("coalition", "COORDINATOR"),
        iter(range(1_000)),
    )
    template = story.draft()
    with psycopg.connect(service.migration_url, autocommit=True, row_factory=dict_row) as database:
        for number in range(600):
            state = random_source.choice(list(State))
            has_deadline = state in LIVE or (
                state in CAME_BACK | TO_DELETE and random_source.random() < 0.5
            )
            has_deletion = state in CAME_BACK and random_source.random() < 0.5
            is_unsent = state is State.DRAFT or (
                state is State.ENTERED_IN_ERROR and random_source.random() < 0.5
            )
            values = {
                "id": f"{random_source.getrandbits(128):032x}",
                "state": state.value,
                "urgency": random_source.choice([*(urgency.value for urgency in Urgency), None]),
                "need_code": random_source.choice(["HOU.EMG", "MED.PRI"]),
                "department": random_source.choice(["NI-CI", ""]),
                "sender_organization_id": ORG[random_source.choice(["ngo", "shelter", "clinic"])],
                "receiver_organization_id": ORG[random_source.choice(["ngo", "shelter", "clinic"])],
                "send_time": None if is_unsent else NOON - timedelta(days=1),
                "next_due_time": NOON + timedelta(hours=random_source.randint(-9, 9))
                if has_deadline
                else None,
                "deletion_due_time": NOON + timedelta(hours=random_source.randint(-9, 9))
                if has_deletion
                else None,
                "update_time": NOON - timedelta(minutes=number // 3),
            }
            database.execute(
                "INSERT INTO referrals SELECT (jsonb_populate_record(was, %s)).* FROM referrals was"
                " WHERE id = %s",
                (
                    Jsonb(
                        {
                            name: str(value) if value is not None else None
                            for name, value in values.items()
                        }
                    ),
                    template.id,
                ),
            )
            database.execute(
                "INSERT INTO clocks (referral_id, number, kind, start_time, due_time,"
                " fired_percent) SELECT %(id)s, number, kind, %(now)s, due_time, 0 FROM (VALUES"
                " (0, 'replace', %(next_due_time)s::timestamptz),"
                " (1, 'deletion', %(deletion_due_time)s)) AS due (number, kind, due_time)"
                " WHERE %(deletion_due_time)s::timestamptz IS NOT NULL AND due_time IS NOT NULL",
                values | {"now": NOON},
            )
        return database.execute("SELECT * FROM referrals").fetchall()


FILTERS: list[dict[str, Any]] = [
    {},
    {"states": (State.CLOSED, State.SENT)},
    {"states": (State.SENT,)},
    *({name: True} for name in MATCHES),
]
FILTERS += [{first: True, second: True} for first, second in itertools.combinations(MATCHES, 2)]


@pytest.mark.parametrize(
    ("box", "organization"),
    [*itertools.product(("inbox", "outbox", "mine"), ("ngo", "shelter")), ("network", "coalition")],
)
def test_lists_and_counts_equal_a_scan_of_every_row(
    box: str, organization: str, service: Service, rows_of_every_state: list[dict[str, Any]]
) -> None:
    caller = Caller(
        "f" * 32,
        "worker",
        ORG[organization],
        frozenset({"COORDINATOR" if box == "network" else "WORKER"}),
    )
    for filters in FILTERS:
        filter_ = Filter(box, ORG[organization], NOON, **filters)
        states = filters.get("states") or tuple(State)
        rows = [
            row
            for row in rows_of_every_state
            if IN_BOX[box](row, ORG[organization])
            and State(row["state"]) in states
            and all(MATCHES[name](row, filter_) for name in filters if name in MATCHES)
        ]
        live_rows = [row for row in rows if State(row["state"]) in LIVE]
        with service.database.transaction(caller) as tx:
            referrals, page_token = boxes.find(tx, filter_, 100)
            while page_token:
                page, page_token = boxes.find(tx, filter_, 100, page_token)
                referrals += page
            counts = boxes.count(tx, filter_)
        order = sorted(
            (
                due_time_of(row, filter_) or NEVER,
                -listed_time_of(row, filter_).timestamp(),
                row["id"],
            )
            for row in rows
        )
        assert [referral.id for referral in referrals] == [row_id for *_, row_id in order], filters
        expected = {
            "total": len(rows),
            "by_state": Counter(row["state"] for row in rows),
            "late": sum(MATCHES["late"](row, filter_) for row in rows),
            "due_soon": sum(MATCHES["due_soon"](row, filter_) for row in rows),
            "fresh": sum(row["state"] == "sent" for row in rows),
            "by_need": Counter(row["need_code"][:3] for row in live_rows),
            "by_department": Counter(row["department"] for row in live_rows if row["department"]),
        }
        if box != "network":
            expected |= {
                "waiting_for_me": sum(waits_for_own_side(row, filter_) for row in rows),
                "waiting_for_other": sum(waits_for_other_side(row, filter_) for row in rows),
            }
        assert {name: counts[name] for name in expected} == expected, filters
        needs = Counter(
            (row["need_code"][:3], row["department"]) for row in rows if is_open_need(row, filter_)
        )
        assert {(need, place): n for need, place, n in counts["unanswered"]} == needs, filters

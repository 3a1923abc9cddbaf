"""What must hold after any fault, read from the databases, the broker and the clients' own notes: each invariant a function that returns its violations.

Limit: it looks at what happened since `Books.since`; what the demo network made up of the past is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from chassis.outbox import Fact
from services.notifications import wire
from services.notifications.domain.message import messages_of
from services.notifications.domain.rules import told_of
from services.referrals.domain.lifecycle import TRANSITIONS
from tests.faults.work import OK, Operation
from tests.parts.topics import Record

Database = psycopg.Connection[dict[str, Any]]
# consumer → whose facts it takes in, and where it says so
CONSUMERS = (
    ("notifications-referrals", "referrals", "notifications"),
    ("notifications-partners", "partners", "notifications"),
    ("referrals", "partners", "referrals"),
)
IN_DRAFT = {"drafted", "amended"}
BY_CLOCK = {"clock_reminded", "clock_breached", "clock_escalated"}
# Created with fields, a referral has two events of one request.
CREATION = "amended"
LEGAL = {(t.fact, source.value, t.target.value) for t in TRANSITIONS for source in t.sources}


@dataclass(frozen=True)
class Books:
    """All that a checker reads."""

    partners: Database
    referrals: Database
    notifications: Database
    operations: Sequence[Operation]
    topics: Sequence[Record]
    since: datetime

    def of(self, service: str) -> Database:
        """A service's database."""
        found: Database = getattr(self, service)
        return found

    def history(self) -> list[dict[str, Any]]:
        """All events of the referrals of this run, in order."""
        return self.referrals.execute(
            "SELECT e.* FROM referral_events e JOIN referrals r ON r.id = referral_id WHERE r.create_time >= %s ORDER BY referral_id, e.version",
            (self.since,),
        ).fetchall()

    def requests(self) -> set[tuple[str, str]]:
        """(caller, request_id) of every request whose effect was kept."""
        rows = self.referrals.execute("SELECT caller_id, request_id FROM requests WHERE response IS NOT NULL").fetchall()
        return {(row["caller_id"], row["request_id"]) for row in rows}


def answered_transitions_are_in_the_history_once(books: Books) -> list[str]:
    """Each with the request that asked for it."""
    kept, found = books.requests(), []
    history: dict[tuple[str, str, str], list[int]] = {}
    for event in books.history():
        history.setdefault((event["referral_id"], event["verb"], event["actor_id"]), []).append(event["version"])
    for o in books.operations:
        if o.outcome != OK:
            continue
        versions = history.get((o.referral_id, o.fact, o.caller_id), [])
        if versions != [o.version]:
            found.append(f"{o.fact} of {o.referral_id} was answered as version {o.version}, the history has it at {versions}")
        if (o.caller_id, o.request_id) not in kept:
            found.append(f"{o.fact} of {o.referral_id}: its request is not kept")
    return found


def unknown_transitions_happened_once_or_never(books: Books) -> list[str]:
    """And happened if and only if their request is kept. Of a creation nobody knows the id: they are counted."""
    kept, history, found = books.requests(), books.history(), []
    unknown = [o for o in books.operations if o.outcome != OK]
    for o in unknown:
        if o.referral_id:
            times = sum(e["referral_id"] == o.referral_id and e["verb"] == o.fact and e["actor_id"] == o.caller_id for e in history)
            if times != ((o.caller_id, o.request_id) in kept):
                found.append(f"{o.fact} of {o.referral_id}, of which its caller knows nothing, happened {times} times")
    known = {o.referral_id for o in books.operations}
    orphans = {e["referral_id"] for e in history} - known
    made = sum((o.caller_id, o.request_id) in kept for o in unknown if not o.referral_id)
    if len(orphans) != made:
        found.append(f"{len(orphans)} referrals that nobody knows, by {made} requests without an answer")
    return found


def history_and_outbox_are_one_to_one(books: Books) -> list[str]:
    """An event without its fact, a fact without its event, or one that says something else."""
    rows = books.referrals.execute(
        "SELECT coalesce(e.referral_id, o.subject) AS id, coalesce(e.version, o.version) AS version, e.verb, o.type FROM referral_events e"
        " FULL JOIN (SELECT * FROM outbox WHERE type LIKE 'enlace.referral.%') o ON o.subject = e.referral_id AND o.version = e.version"
        " WHERE o.type IS DISTINCT FROM 'enlace.referral.' || e.verb || '.v1'"
    )
    return [f"{row['id']}/{row['version']}: event {row['verb']}, fact {row['type']}" for row in rows]


def versions_have_no_gap(books: Books) -> list[str]:
    """In every outbox, and in the history."""
    found = []
    for service, table, subject in (
        ("partners", "outbox", "subject"),
        ("referrals", "outbox", "subject"),
        ("notifications", "outbox", "subject"),
        ("referrals", "referral_events", "referral_id"),
    ):
        rows = books.of(service).execute(
            f"SELECT {subject} AS id, count(*) AS n, max(version) AS last FROM {table} GROUP BY 1 HAVING count(*) <> max(version) OR min(version) <> 1"
        )
        found += [f"{service} {table}: {row['id']} has {row['n']} versions up to {row['last']}" for row in rows]
    return found


def state_is_what_the_history_says(books: Books) -> list[str]:
    """Each path is a legal one, and the referral stands where it ends."""
    found = []
    rows = books.referrals.execute("SELECT id, state, version FROM referrals WHERE create_time >= %s", (books.since,)).fetchall()
    ends = {row["id"]: ("draft", 0) for row in rows}
    for e in books.history():
        before, _ = ends[e["referral_id"]]
        step = (e["verb"], e["from_state"], e["to_state"])
        stays = e["from_state"] == e["to_state"] and e["verb"] in (IN_DRAFT if before == "draft" else BY_CLOCK)
        if e["from_state"] != before or not (step in LEGAL or stays):
            found.append(f"{e['referral_id']}/{e['version']}: {step} after {before}")
        ends[e["referral_id"]] = (e["to_state"], e["version"])
    found += [
        f"{row['id']} is {row['state']} v{row['version']}, its history ends {ends[row['id']]}"
        for row in rows
        if (row["state"], row["version"]) != ends[row["id"]]
    ]
    return found


def every_fact_was_taken_in(books: Books) -> list[str]:
    """Each consumer has come as far as the outbox of whom it hears, for each subject."""
    found = []
    for consumer, teller, hearer in CONSUMERS:
        told = books.of(teller).execute("SELECT subject, max(version) AS version FROM outbox GROUP BY 1").fetchall()
        heard = books.of(hearer).execute("SELECT subject, version FROM inbox WHERE consumer = %s AND version > 0", (consumer,)).fetchall()
        said, taken = ({row["subject"]: row["version"] for row in rows} for rows in (told, heard))
        differing = {subject for subject in said.keys() | taken.keys() if said.get(subject) != taken.get(subject)}
        found += [f"{consumer}: {subject} told to {said.get(subject)}, taken to {taken.get(subject)}" for subject in sorted(differing)]
    return found


def each_fact_made_its_messages_once(books: Books) -> list[str]:
    """Of every fact exactly one message for each recipient that the rules name, and none besides."""
    facts = books.referrals.execute(
        "SELECT subject, o.version, type, payload, time FROM outbox o JOIN referrals r ON r.id = subject WHERE r.create_time >= %s",
        (books.since,),
    ).fetchall()
    expected = {}
    for fact in (Fact(**row) for row in facts):
        happening = wire.happening(fact, wire.referral_fact(fact))
        for message in messages_of(happening, told_of(happening, fact.time)):
            expected[message.id] = f"{fact.subject}/{fact.version} → {message.kind} to {message.audience.value} {message.organization_id}"
    rows = books.notifications.execute(
        "SELECT id, referral_id, kind, audience FROM messages WHERE referral_id = ANY(%s) AND kind <> 'message_undeliverable'",
        (sorted({row["subject"] for row in facts}),),
    ).fetchall()
    actual = {row["id"]: f"{row['kind']} to {row['audience']} of {row['referral_id']}" for row in rows}
    missing = [f"missing: {expected[id]}" for id in expected.keys() - actual.keys()]
    return missing + [f"too many: {actual[id]}" for id in actual.keys() - expected.keys()]


def each_message_is_delivered_once_to_a_place(books: Books) -> list[str]:
    """One delivery for each message and address, whatever was heard twice."""
    rows = books.notifications.execute(
        "SELECT message_id, channel, count(*) AS n FROM deliveries WHERE message_id IS NOT NULL"
        " GROUP BY message_id, channel, organization_id, webhook_id HAVING count(*) > 1"
    )
    return [f"{row['n']} × {row['channel']} for message {row['message_id']}" for row in rows]


def nothing_waits(books: Books) -> list[str]:
    """Every outbox is told, no fact waits for one before it."""
    found = []
    for service in ("partners", "referrals", "notifications"):
        for table, waits in (
            ("outbox", "first_round IS NULL OR last_round < (SELECT round FROM relay)"),
            ("inbox_parked", "true"),
            ("dead_letters", "true"),
        ):
            row = books.of(service).execute(f"SELECT count(*) AS n FROM {table} WHERE {waits}").fetchone()
            if row and row["n"]:
                found.append(f"{service}: {row['n']} wait in {table}")
    return found


def every_sending_is_on_record(books: Books) -> list[str]:
    """Identity may be opened from then on: one audit row for each referral that was sent."""
    rows = books.referrals.execute(
        "SELECT e.referral_id, (SELECT count(*) FROM audit a WHERE a.action IN ('send', 'send_override') AND a.allowed"
        " AND a.object_id = r.person_id AND 'referral:' || r.id = ANY (a.detail_codes)) AS n"
        " FROM referral_events e JOIN referrals r ON r.id = e.referral_id WHERE e.verb = 'sent' AND r.create_time >= %s",
        (books.since,),
    )
    return [f"sending {row['referral_id']} is on record {row['n']} times" for row in rows if row["n"] != 1]


def topics_tell_what_happened(books: Books) -> list[str]:
    """Nothing in a topic that is not in an outbox, everything of the outboxes in the topics, each once at least."""
    found: list[str] = []
    for service in ("partners", "referrals", "notifications"):
        told = {record.header("ce_id"): record.value for record in books.topics if record.topic == f"enlace.{service}.v1"}
        rows = books.of(service).execute("SELECT subject || '/' || version AS id, payload FROM outbox").fetchall()
        kept = {row["id"]: bytes(row["payload"]) for row in rows}
        found += [f"{service}: phantom {id}" for id in told.keys() - kept.keys()]
        found += [f"{service}: not in the topic {id}" for id in kept.keys() - told.keys()]
        found += [f"{service}: {id} tells something else" for id in kept.keys() & told.keys() if kept[id] != told[id]]
    return found


CHECKS: tuple[Callable[[Books], list[str]], ...] = (
    answered_transitions_are_in_the_history_once,
    unknown_transitions_happened_once_or_never,
    history_and_outbox_are_one_to_one,
    versions_have_no_gap,
    state_is_what_the_history_says,
    every_fact_was_taken_in,
    each_fact_made_its_messages_once,
    each_message_is_delivered_once_to_a_place,
    nothing_waits,
    every_sending_is_on_record,
    topics_tell_what_happened,
)


def violations(books: Books) -> dict[str, list[str]]:
    """All that is wrong, by invariant; empty when all is well."""
    found = {check.__name__: check(books) for check in CHECKS}
    return {name: wrong[:10] for name, wrong in found.items() if wrong}


def started() -> datetime:
    """A moment to count from."""
    return datetime.now(UTC)

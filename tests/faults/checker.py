"""The invariants after any fault.

Each invariant is a function that reads the databases, the broker and the clients' own records, and
returns its violations. Limitation: only referrals created since `RunData.since` are checked, not
those of the demo network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import psycopg

from chassis import audit
from chassis.idempotency import stored_id
from facts.outbox import Fact
from protos.partners.v1.facts_pb2 import OrganizationFact
from services.notifications import wire
from services.notifications.domain.message import messages_of
from services.notifications.domain.rules import recipients_of
from services.referrals.referrals.domain.lifecycle import TRANSITIONS
from tests.faults.work import OK, Call, Operation
from tests.parts.local_stack import SERVICES
from tests.parts.topics import Record
from trail import chain

Database = psycopg.Connection[dict[str, Any]]
# (consumer, the service whose facts it applies, the service whose inbox has its position)
CONSUMERS = (
    ("notifications-referrals", "referrals", "notifications"),
    ("notifications-partners", "partners", "notifications"),
    ("referrals", "partners", "referrals"),
    ("partners", "referrals", "partners"),
)
DRAFT_VERBS = {"drafted", "amended"}
CLOCK_VERBS = {"clock_reminded", "clock_breached", "clock_escalated"}
GRACE = 2.0  # seconds that a client on a busy machine may take to notice its deadline
# the loops that every service has; some services have more
LOOPS = ("database", "broker", "relay", "replays", "sweeper", "audit-heads", "keys")
LEGAL = {
    (t.event_verb, source.value, (t.target or source).value)
    for t in TRANSITIONS
    for source in t.sources
}


@dataclass(frozen=True)
class RunData:
    """The data that a checker reads."""

    partners: Database
    referrals: Database
    notifications: Database
    operations: Sequence[Operation]
    topics: Sequence[Record]
    since: datetime
    calls: Sequence[Call] = ()
    # the time when the topics were read; later deadlines still publish facts
    topics_time: datetime | None = None
    # by "SERVICE SUBJECT": whether health checks or metrics report it as healthy after the run
    health_reports: Mapping[str, bool] = field(default_factory=dict)

    def database_of(self, service: str) -> Database:
        """Returns a service's database."""
        database: Database = getattr(self, service)
        return database

    def history(self) -> list[dict[str, Any]]:
        """Returns all events of the referrals of this run, in order."""
        return self.referrals.execute(
            "SELECT e.* FROM referral_events e JOIN referrals r ON r.id = referral_id"
            " WHERE r.create_time >= %s ORDER BY referral_id, e.version",
            (self.since,),
        ).fetchall()

    def requests(self) -> set[str]:
        """Returns the stored ids of all requests that took effect."""
        return {
            row["request_id"]
            for row in self.referrals.execute(
                "SELECT request_id FROM requests WHERE response IS NOT NULL"
            )
        }


def answered_transitions_are_in_the_history_once(run_data: RunData) -> list[str]:
    """Each answered transition is in the history once, and its request is stored."""
    stored, problems = run_data.requests(), []
    history: dict[tuple[str, str, str], list[int]] = {}
    for event in run_data.history():
        history.setdefault((event["referral_id"], event["verb"], event["actor_id"]), []).append(
            event["version"]
        )
    for operation in run_data.operations:
        if operation.outcome != OK:
            continue
        transition = f"{operation.fact} of {operation.referral_id}"
        versions = history.get((operation.referral_id, operation.fact, operation.caller_id), [])
        if versions != [operation.version]:
            problems.append(
                f"{transition} was answered as version {operation.version}, but the history has"
                f" {versions}"
            )
        if stored_id(operation.caller_id, operation.request_id) not in stored:
            problems.append(f"{transition}: its request is not stored")
    return problems


def unknown_transitions_happened_once_or_never(run_data: RunData) -> list[str]:
    """A transition happened if and only if its request is stored.

    No client knows the id of a referral whose creation was not answered, so creations are counted.
    """
    stored, history, problems = run_data.requests(), run_data.history(), []
    unknown = [operation for operation in run_data.operations if operation.outcome != OK]
    for operation in unknown:
        if operation.referral_id:
            times = sum(
                event["referral_id"] == operation.referral_id
                and event["verb"] == operation.fact
                and event["actor_id"] == operation.caller_id
                for event in history
            )
            if times != (stored_id(operation.caller_id, operation.request_id) in stored):
                problems.append(
                    f"{operation.fact} of {operation.referral_id}, which was not answered, happened"
                    f" {times} times"
                )
    known = {operation.referral_id for operation in run_data.operations}
    orphans = {event["referral_id"] for event in history} - known
    created_count = sum(
        stored_id(operation.caller_id, operation.request_id) in stored
        for operation in unknown
        if not operation.referral_id
    )
    if len(orphans) != created_count:
        problems.append(
            f"{len(orphans)} referrals unknown to all clients, but {created_count} unanswered"
            " requests that took effect"
        )
    return problems


def history_and_outbox_are_one_to_one(run_data: RunData) -> list[str]:
    """Every event has exactly one matching fact, and every fact has its event."""
    rows = run_data.referrals.execute(
        "SELECT coalesce(e.referral_id, o.subject) AS id, coalesce(e.version, o.version) AS"
        " version, e.verb, o.type FROM referral_events e"
        " FULL JOIN (SELECT * FROM outbox WHERE type LIKE 'enlace.referral.%') o ON o.subject ="
        " e.referral_id AND o.version = e.version"
        " WHERE o.type IS DISTINCT FROM 'enlace.referral.' || e.verb || '.v1'"
    )
    return [
        f"{row['id']}/{row['version']}: event {row['verb']}, fact {row['type']}" for row in rows
    ]


def versions_have_no_gap(run_data: RunData) -> list[str]:
    """Returns the gaps in versions, in every outbox and in the history."""
    problems = []
    for service, table, subject in (
        ("partners", "outbox", "subject"),
        ("referrals", "outbox", "subject"),
        ("notifications", "outbox", "subject"),
        ("referrals", "referral_events", "referral_id"),
    ):
        rows = run_data.database_of(service).execute(
            f"SELECT {subject} AS id, count(*) AS n, max(version) AS last FROM {table} GROUP BY 1"
            " HAVING count(*) <> max(version) OR min(version) <> 1"
        )
        problems += [
            f"{service} {table}: {row['id']} has {row['n']} versions up to {row['last']}"
            for row in rows
        ]
    return problems


def state_matches_the_history(run_data: RunData) -> list[str]:
    """Each history is a legal path, and the referral is in the state in which the path ends."""
    problems = []
    rows = run_data.referrals.execute(
        "SELECT id, state, version FROM referrals WHERE create_time >= %s", (run_data.since,)
    ).fetchall()
    ends = {row["id"]: ("draft", 0) for row in rows}
    for event in run_data.history():
        before, _ = ends[event["referral_id"]]
        step = (event["verb"], event["from_state"], event["to_state"])
        stays = event["from_state"] == event["to_state"] and event["verb"] in (
            DRAFT_VERBS if before == "draft" else CLOCK_VERBS
        )
        if event["from_state"] != before or not (step in LEGAL or stays):
            problems.append(f"{event['referral_id']}/{event['version']}: {step} after {before}")
        ends[event["referral_id"]] = (event["to_state"], event["version"])
    problems += [
        f"{row['id']} is {row['state']} v{row['version']}, its history ends {ends[row['id']]}"
        for row in rows
        if (row["state"], row["version"]) != ends[row["id"]]
    ]
    return problems


def every_fact_was_applied(run_data: RunData) -> list[str]:
    """For each subject, each consumer has applied all versions that the consumed outbox has."""
    problems = []
    for consumer, publisher, receiver in CONSUMERS:
        outbox = (
            run_data.database_of(publisher)
            .execute("SELECT subject, max(version) AS version FROM outbox GROUP BY 1")
            .fetchall()
        )
        inbox = (
            run_data.database_of(receiver)
            .execute(
                "SELECT subject, version FROM inbox WHERE consumer = %s AND version > 0",
                (consumer,),
            )
            .fetchall()
        )
        published, applied = (
            {row["subject"]: row["version"] for row in rows} for rows in (outbox, inbox)
        )
        differing = {
            subject
            for subject in published.keys() | applied.keys()
            if published.get(subject) != applied.get(subject)
        }
        problems += [
            f"{consumer}: {subject} is published to {published.get(subject)}, applied to"
            f" {applied.get(subject)}"
            for subject in sorted(differing)
        ]
    return problems


def each_fact_made_its_messages_once(run_data: RunData) -> list[str]:
    """Every fact has exactly one message for each recipient that the rules name."""
    facts = run_data.referrals.execute(
        "SELECT subject, o.version, type, payload, time FROM outbox o"
        " JOIN referrals r ON r.id = subject WHERE r.create_time >= %s",
        (run_data.since,),
    ).fetchall()
    expected = {}
    for fact in (Fact(**row) for row in facts):
        event = wire.event_of(fact, wire.referral_fact(fact))
        for message in messages_of(event, recipients_of(event, fact.time)):
            expected[message.id] = (
                f"{fact.subject}/{fact.version} → {message.kind} to {message.audience.value}"
                f" {message.organization_id}"
            )
    rows = run_data.notifications.execute(
        "SELECT id, referral_id, kind, audience FROM messages WHERE referral_id = ANY(%s)"
        " AND kind <> 'message_undeliverable'",
        (sorted({row["subject"] for row in facts}),),
    ).fetchall()
    actual = {
        row["id"]: f"{row['kind']} to {row['audience']} of {row['referral_id']}" for row in rows
    }
    missing = [f"missing: {expected[id]}" for id in expected.keys() - actual.keys()]
    return missing + [f"too many: {actual[id]}" for id in actual.keys() - expected.keys()]


def each_message_is_delivered_once_to_an_address(run_data: RunData) -> list[str]:
    """There is one delivery for each message and address, even if a fact arrived twice."""
    rows = run_data.notifications.execute(
        "SELECT message_id, channel, count(*) AS n FROM deliveries WHERE message_id IS NOT NULL"
        " GROUP BY message_id, channel, organization_id, webhook_id HAVING count(*) > 1"
    )
    return [f"{row['n']} × {row['channel']} for message {row['message_id']}" for row in rows]


def nothing_is_waiting(run_data: RunData) -> list[str]:
    """Every outbox is published, no fact is parked or held, and there is no dead letter."""
    problems = []
    for service in SERVICES:
        for table, condition in (
            ("outbox", "first_round IS NULL OR last_round < (SELECT round FROM relay)"),
            ("inbox_parked", "true"),
            ("dead_letters", "true"),
        ):
            row = (
                run_data.database_of(service)
                .execute(f"SELECT count(*) AS n FROM {table} WHERE {condition}")
                .fetchone()
            )
            if row and row["n"]:
                problems.append(f"{service}: {row['n']} wait in {table}")
    return problems


def every_sending_is_on_record(run_data: RunData) -> list[str]:
    """There is one audit row for each sent referral; from then on the identity may be opened."""
    rows = run_data.referrals.execute(
        "SELECT e.referral_id, (SELECT count(*) FROM audit a"
        " WHERE a.action IN ('send', 'send_override') AND a.allowed"
        " AND a.object_id = r.person_id AND 'referral:' || r.id = ANY (a.detail_codes)) AS n"
        " FROM referral_events e JOIN referrals r ON r.id = e.referral_id WHERE e.verb = 'sent'"
        " AND r.create_time >= %s",
        (run_data.since,),
    )
    return [
        f"sending {row['referral_id']} is on record {row['n']} times"
        for row in rows
        if row["n"] != 1
    ]


def every_step_is_on_record(run_data: RunData) -> list[str]:
    """Each step of a worker or key, and each level of a deadline, has a row in the trail.

    Two kinds of steps are not counted: a step that follows from a withdrawn consent, which has the
    consent's row, and the second event of a draft.
    """
    rows = run_data.referrals.execute(
        "SELECT e.referral_id, count(*) AS steps, (SELECT count(*) FROM audit a WHERE a.allowed"
        " AND a.action NOT LIKE 'get%%' AND a.action NOT LIKE 'list%%'"
        " AND a.action NOT IN ('read_notes', 'update_referral') AND (a.object_id = e.referral_id"
        " OR 'referral:' || e.referral_id = ANY (a.detail_codes))) AS recorded"
        " FROM referral_events e JOIN referrals r ON r.id = e.referral_id"
        " WHERE r.create_time >= %s AND (e.actor_kind IN ('worker', 'key')"
        " OR e.verb LIKE 'clock%%')"
        " AND e.verb NOT IN ('amended', 'consent_withdrawn') GROUP BY e.referral_id",
        (run_data.since,),
    )
    return [
        f"{row['referral_id']}: {row['steps']} steps, {row['recorded']} on record"
        for row in rows
        if row["recorded"] < row["steps"]
    ]


def trails_are_unchanged(run_data: RunData) -> list[str]:
    """Each service's chain, recomputed up to its head, is unchanged."""
    problems: list[str] = []
    for service in SERVICES:
        database = run_data.database_of(service)
        end = audit.head(database)
        last, findings = chain.verify(database, audit.START, end.sequence, {})
        problems += [
            f"{service}: {finding.reason} at {finding.sequence}" for finding in findings[:5]
        ]
        problems += [f"{service}: the head differs"] if last != end and not findings else []
    return problems


def topics_match_the_outboxes(run_data: RunData) -> list[str]:
    """Topics hold only facts of an outbox, and each fact that was published before they were read.

    Facts of an earlier epoch are ignored.
    """
    problems: list[str] = []
    for service in SERVICES:
        row = run_data.database_of(service).execute("SELECT epoch FROM relay").fetchone()
        epoch = str(row["epoch"]) if row and row["epoch"] else ""
        records = [
            record
            for record in run_data.topics
            if record.topic == f"enlace.{service}.v1" and record.header("ce_epoch") == epoch
        ]
        in_topic = {record.header("ce_id"): record.value for record in records}
        rows = (
            run_data.database_of(service)
            .execute("SELECT subject || '/' || version AS id, payload, published_at FROM outbox")
            .fetchall()
        )
        in_outbox = {row["id"]: bytes(row["payload"]) for row in rows}
        later_ids = {
            row["id"]
            for row in rows
            if run_data.topics_time
            and row["published_at"]
            and row["published_at"] > run_data.topics_time
        }
        problems += [f"{service}: phantom {id}" for id in in_topic.keys() - in_outbox.keys()]
        problems += [
            f"{service}: not in the topic {id}"
            for id in in_outbox.keys() - in_topic.keys() - later_ids
        ]
        problems += [
            f"{service}: {id} has another content in the topic"
            for id in in_outbox.keys() & in_topic.keys()
            if in_outbox[id] != in_topic[id]
        ]
    return problems


def every_epoch_was_adopted(run_data: RunData) -> list[str]:
    """Each consumer has reached the current epoch with each published subject.

    After a restore, a service publishes everything under a new epoch.
    """
    problems = []
    for consumer, publisher, receiver in CONSUMERS:
        row = run_data.database_of(publisher).execute("SELECT epoch FROM relay").fetchone()
        epoch = row["epoch"] if row else 0
        published = {
            row["subject"]
            for row in run_data.database_of(publisher).execute(
                "SELECT DISTINCT subject FROM outbox"
            )
        }
        behind = run_data.database_of(receiver).execute(
            "SELECT subject, epoch FROM inbox WHERE consumer = %s AND epoch <> %s",
            (consumer, epoch),
        )
        problems += [
            f"{consumer}: {row['subject']} in {row['epoch']}, published in {epoch}"
            for row in behind
            if row["subject"] in published
        ]
    return problems


def copies_match_the_data_of_partners(run_data: RunData) -> list[str]:
    """The other services' copies of members and services equal the data of the partners service.

    This shows that each applied fact had its effect.
    """

    def by_id(database: Database, statement: str, column: str = "") -> dict[str, Any]:
        """Returns the column of each row by the row's id, or else the whole row."""
        return {row["id"]: row[column] if column else row for row in database.execute(statement)}

    select_workers = "SELECT id, organization_id, roles, status FROM workers"
    organizations = by_id(run_data.partners, "SELECT id, status FROM organizations", "status")
    workers = by_id(run_data.partners, select_workers)
    keys = by_id(run_data.partners, "SELECT id, revoke_time IS NULL AS live FROM api_keys", "live")
    services = by_id(run_data.partners, "SELECT id, organization_id, active FROM services")
    members = {
        **{
            id: {"id": id, "active": status in ("PROBATION", "APPROVED"), "status": status}
            for id, status in organizations.items()
        },
        **{
            id: {"id": id, "active": row["status"] == "ACTIVE", "status": ""}
            for id, row in workers.items()
        },
        **{id: {"id": id, "active": live, "status": ""} for id, live in keys.items()},
    }
    copies = {
        "referrals members": (
            members,
            by_id(run_data.referrals, "SELECT id, active, status FROM members"),
        ),
        "referrals services": (
            services,
            by_id(run_data.referrals, "SELECT id, organization_id, active FROM directory_services"),
        ),
        "notifications organizations": (
            organizations,
            by_id(run_data.notifications, "SELECT id, status FROM organizations", "status"),
        ),
        "notifications workers": (workers, by_id(run_data.notifications, select_workers)),
        "notifications keys": (
            keys,
            by_id(run_data.notifications, "SELECT id, live FROM api_keys", "live"),
        ),
    }
    return [
        f"{subject}: {id} is {copy.get(id)}, partners has {original.get(id)}"
        for subject, (original, copy) in copies.items()
        for id in sorted(original.keys() | copy.keys())
        if original.get(id) != copy.get(id)
    ]


def every_call_came_back_in_time(run_data: RunData) -> list[str]:
    """Each call ended with an answer, a refusal or its deadline: no call waited longer."""
    durations = [
        (call, call.ended - call.began if call.ended is not None else None)
        for call in run_data.calls
    ]
    return [
        f"{call.way}: {seconds} s of {call.deadline:g}"
        for call, seconds in durations
        if seconds is None or seconds > call.deadline + GRACE
    ]


def every_loop_is_well(run_data: RunData) -> list[str]:
    """Every service reports itself and each of its loops as healthy, in health and metrics."""
    named = {
        f"{service} {kind}/{loop}"
        for service in SERVICES
        for kind in ("health", "metric")
        for loop in LOOPS
    }
    missing = [f"{name} is not reported" for name in sorted(named - run_data.health_reports.keys())]
    return missing + [
        name for name, is_well in sorted(run_data.health_reports.items()) if not is_well
    ]


def no_deadline_is_overdue(run_data: RunData) -> list[str]:
    """Deadlines that came due while their loop was down fired after its return."""
    rows = run_data.referrals.execute(
        "SELECT referral_id, kind, next_time FROM clocks"
        " WHERE next_time < now() - interval '5 seconds'"
    )
    return [
        f"{row['kind']} of {row['referral_id']} should have fired at {row['next_time']}"
        for row in rows
    ]


def every_sending_had_a_receipt(run_data: RunData) -> list[str]:
    """Each sent referral has a receipt for its person and receiver, in force at the sending."""
    rows = run_data.referrals.execute(
        "SELECT r.id FROM referrals r LEFT JOIN receipts c ON c.id = r.receipt_id"
        " AND c.person_id = r.person_id"
        " AND c.recipient_organization_id = r.receiver_organization_id"
        " AND c.until_time > r.send_time"
        " AND (c.withdraw_time IS NULL OR c.withdraw_time >= r.send_time) WHERE r.send_time >= %s"
        " AND c.id IS NULL",
        (run_data.since,),
    )
    return [f"{row['id']} was sent without a receipt" for row in rows]


def no_override_came_after_a_withdrawal(run_data: RunData) -> list[str]:
    """No override follows a withdrawal, unless its reason is danger_after_withdrawal."""
    rows = run_data.referrals.execute(
        "SELECT o.id FROM receipts o WHERE o.reason_code NOT IN ('', 'danger_after_withdrawal')"
        " AND EXISTS (SELECT FROM receipts w"
        " WHERE w.person_id = o.person_id AND w.recipient_organization_id ="
        " o.recipient_organization_id AND w.id <> o.id"
        " AND w.withdraw_time <= o.create_time)"
    )
    return [f"{row['id']} overrides a withdrawal" for row in rows]


def every_reading_was_covered(run_data: RunData) -> list[str]:
    """Each access by another organisation to a file is covered by a receipt in force at that time.

    This applies to the identity, the notes and the safe-contact plan of a file that the
    organisation does not hold.
    """
    rows = run_data.referrals.execute(
        "SELECT a.sequence, a.action FROM audit a JOIN people p ON p.id = a.object_id"
        " WHERE a.action IN ('open_identity', 'read_notes', 'read_safe_contact')"
        " AND a.allowed AND a.time >= %s AND a.organization_id <> p.organization_id"
        " AND NOT EXISTS (SELECT FROM receipts c WHERE c.person_id = a.object_id"
        " AND c.recipient_organization_id = a.organization_id AND a.time >= c.create_time"
        " AND a.time < c.until_time"
        " AND (c.withdraw_time IS NULL OR a.time <= c.withdraw_time)"
        " AND c.field_groups @> ARRAY(SELECT code FROM unnest(a.detail_codes) AS code"
        " WHERE code NOT LIKE 'referral:%%'))",
        (run_data.since,),
    )
    return [f"{row['action']} at {row['sequence']} was covered by no receipt" for row in rows]


def type_and_country_were_changed_by_two(run_data: RunData) -> list[str]:
    """An organisation's type and country equal the type and country that were published last.

    One person proposed each change of type or country, and another person confirmed it.
    """
    published: dict[str, list[tuple[str, str]]] = {}
    for row in run_data.partners.execute(
        "SELECT subject, payload FROM outbox WHERE type LIKE 'enlace.organization.%'"
        " ORDER BY subject, version"
    ):
        fact = OrganizationFact.FromString(row["payload"])
        published.setdefault(row["subject"], []).append(
            (fact.organization_type_code, fact.country_code)
        )
    confirmed = run_data.partners.execute(
        "SELECT c.object_id, count(*) AS n FROM audit c"
        " WHERE c.action = 'organization_confirm_change' AND c.allowed AND EXISTS (SELECT"
        " FROM audit p"
        " WHERE p.action = 'organization_propose' AND p.allowed AND p.object_id = c.object_id"
        " AND p.sequence < c.sequence AND p.actor_id <> c.actor_id)"
        " GROUP BY 1"
    )
    by_two = {row["object_id"]: row["n"] for row in confirmed}
    problems = [
        f"{subject}: changed {changes} times, by two {by_two.get(subject, 0)} times"
        for subject, states in published.items()
        if (changes := sum(before != after for before, after in pairwise(states)))
        > by_two.get(subject, 0)
    ]
    for row in run_data.partners.execute("SELECT id, type, country FROM organizations"):
        if published.get(row["id"], [("", "")])[-1] != (row["type"], row["country"]):
            problems.append(f"{row['id']} differs from the published type and country")
    return problems


def no_nonce_was_used_twice(run_data: RunData) -> list[str]:
    """No key used a nonce twice.

    Two texts under one nonce would reveal each other, and would let a reader forge others.
    """
    rows = run_data.referrals.execute(
        "WITH sealed AS (SELECT person_id AS whose, sealed FROM person_sealed"
        " UNION ALL SELECT r.person_id, e.note_sealed FROM referral_events e"
        " JOIN referrals r ON r.id = e.referral_id WHERE e.note_sealed IS NOT NULL"
        " UNION ALL SELECT 'service', wrapped FROM person_keys WHERE wrapped IS NOT NULL"
        " UNION ALL SELECT 'service', note_sealed FROM contacts WHERE note_sealed IS NOT NULL"
        " UNION ALL SELECT 'service', sealed FROM dead_letters UNION ALL SELECT 'service', value"
        " FROM sealing_checks)"
        # The number of the service's key follows the format, unless it is the first key.
        " SELECT whose, count(*) AS n FROM sealed GROUP BY whose, substring(sealed"
        " FROM 1 FOR CASE get_byte(sealed, 0) WHEN 2 THEN 15 ELSE 13 END)"
        " HAVING count(*) > 1"
    )
    return [f"{row['n']} texts under one nonce of {row['whose']}" for row in rows]


CHECKS: tuple[Callable[[RunData], list[str]], ...] = (
    answered_transitions_are_in_the_history_once,
    unknown_transitions_happened_once_or_never,
    history_and_outbox_are_one_to_one,
    versions_have_no_gap,
    state_matches_the_history,
    every_fact_was_applied,
    each_fact_made_its_messages_once,
    each_message_is_delivered_once_to_an_address,
    nothing_is_waiting,
    every_sending_is_on_record,
    every_step_is_on_record,
    trails_are_unchanged,
    topics_match_the_outboxes,
    every_epoch_was_adopted,
    copies_match_the_data_of_partners,
    every_call_came_back_in_time,
    every_loop_is_well,
    no_deadline_is_overdue,
    every_sending_had_a_receipt,
    no_override_came_after_a_withdrawal,
    every_reading_was_covered,
    type_and_country_were_changed_by_two,
    no_nonce_was_used_twice,
)
# The invariants whose violations are lost effects, and those whose violations are doubled effects.
LOST = (
    answered_transitions_are_in_the_history_once,
    every_fact_was_applied,
    every_epoch_was_adopted,
    nothing_is_waiting,
)
DOUBLE = (unknown_transitions_happened_once_or_never, each_message_is_delivered_once_to_an_address)


def lost_and_double(run_data: RunData) -> tuple[int, int]:
    """Returns the numbers of lost and of doubled effects, according to the invariants above.

    Missing messages count as lost, superfluous messages as doubled.
    """
    messages = each_fact_made_its_messages_once(run_data)
    missing = sum(message.startswith("missing") for message in messages)
    return missing + sum(len(check(run_data)) for check in LOST), len(messages) - missing + sum(
        len(check(run_data)) for check in DOUBLE
    )


def violations(run_data: RunData) -> dict[str, list[str]]:
    """Returns up to ten violations of each violated invariant, by the invariant's name."""
    by_check = {check.__name__: check(run_data) for check in CHECKS}
    return {name: problems[:10] for name, problems in by_check.items() if problems}


def run_start() -> datetime:
    """Returns the current time, as the start of a run."""
    return datetime.now(UTC)

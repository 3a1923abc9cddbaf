"""Traces of bugs, which are planted one at a time in the data that a fault run left.

Each trace names the invariant that must find it, and is removed after the check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tests.faults import checker
from tests.faults.checker import RunData
from tests.faults.work import Call

Check = Callable[[RunData], list[str]]


@dataclass(frozen=True)
class InDatabase:
    """A trace that a statement leaves in a service's database."""

    service: str
    statement: str
    found_by: Check

    @contextmanager
    def planted_in(self, run_data: RunData) -> Iterator[RunData]:
        """Yields the data with the trace; removes the trace at the end."""
        database = run_data.database_of(self.service)
        with database.transaction(force_rollback=True):
            assert database.execute(self.statement).rowcount > 0, "nothing was planted"
            yield run_data


@dataclass(frozen=True)
class InRunData:
    """A trace in what the clients recorded, or in a service's reports about its health."""

    plant: Callable[[RunData], RunData]
    found_by: Check

    @contextmanager
    def planted_in(self, run_data: RunData) -> Iterator[RunData]:
        """Yields the data with the trace."""
        yield self.plant(run_data)


Planted = InDatabase | InRunData

PLANTED: dict[str, Planted] = {
    "a change that was answered is lost": InDatabase(
        "referrals",
        "DELETE FROM referral_events WHERE (referral_id, version) IN (SELECT referral_id, version"
        " FROM referral_events WHERE verb = 'accepted'"
        " ORDER BY time DESC LIMIT 1)",
        checker.answered_transitions_are_in_the_history_once,
    ),
    "a request that was not stored": InDatabase(
        "referrals",
        "DELETE FROM requests WHERE (caller_id, request_id) IN (SELECT caller_id, request_id"
        " FROM requests"
        " WHERE method LIKE '%AcceptReferral' ORDER BY time DESC LIMIT 1)",
        checker.answered_transitions_are_in_the_history_once,
    ),
    "a retry that made a second referral": InDatabase(
        "referrals",
        'WITH twin AS (INSERT INTO referrals SELECT (jsonb_populate_record(r, \'{"id":'
        ' "twin"}\')).* FROM referrals r ORDER BY create_time DESC LIMIT 1)'
        " INSERT INTO referral_events SELECT 'twin', version, verb, from_state, to_state, time,"
        " actor_kind, actor_id, organization_id, reason_code,"
        " attribution, clock, note_sealed FROM referral_events WHERE referral_id = (SELECT id"
        " FROM referrals ORDER BY create_time DESC LIMIT 1)",
        checker.unknown_transitions_happened_once_or_never,
    ),
    "a fact of a transaction that was rolled back": InDatabase(
        "referrals",
        "INSERT INTO outbox SELECT id, version + 100, 'enlace.referral.closed.v1', '', now(), now()"
        " FROM referrals LIMIT 1",
        checker.history_and_outbox_are_one_to_one,
    ),
    "a change without a fact": InDatabase(
        "referrals",
        "DELETE FROM outbox WHERE (subject, version) IN (SELECT subject, version FROM outbox"
        " WHERE type = 'enlace.referral.accepted.v1' LIMIT 1)",
        checker.history_and_outbox_are_one_to_one,
    ),
    "a version left out": InDatabase(
        "referrals",
        "UPDATE outbox SET version = version + 1"
        " WHERE (subject, version) IN (SELECT subject, max(version) FROM outbox GROUP BY 1"
        " LIMIT 1)",
        checker.versions_have_no_gap,
    ),
    "a state that nobody set": InDatabase(
        "referrals",
        "UPDATE referrals SET state = 'accepted' WHERE id IN (SELECT id FROM referrals"
        " WHERE state = 'closed' ORDER BY create_time DESC LIMIT 1)",
        checker.state_matches_the_history,
    ),
    "a step that is not allowed": InDatabase(
        "referrals",
        "UPDATE referral_events SET from_state = 'draft' WHERE (referral_id, version) IN"
        " (SELECT referral_id, version FROM referral_events WHERE verb = 'completed'"
        " ORDER BY time DESC LIMIT 1)",
        checker.state_matches_the_history,
    ),
    "an offset committed before the effect": InDatabase(
        "notifications",
        "UPDATE inbox SET version = version - 1 WHERE ctid IN (SELECT ctid FROM inbox"
        " WHERE consumer = 'notifications-referrals' AND version > 1 LIMIT 1)",
        checker.every_fact_was_applied,
    ),
    "an inbox row outside the transaction of its effect": InDatabase(
        "notifications",
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages m WHERE NOT EXISTS (SELECT"
        " FROM deliveries d WHERE d.message_id = m.id)"
        " ORDER BY create_time DESC LIMIT 1)",
        checker.each_fact_made_its_messages_once,
    ),
    "a message twice, as without an inbox": InDatabase(
        "notifications",
        'INSERT INTO messages SELECT (jsonb_populate_record(m, \'{"id": "twice"}\')).*'
        " FROM messages m ORDER BY create_time DESC LIMIT 1",
        checker.each_fact_made_its_messages_once,
    ),
    "an e-mail twice": InDatabase(
        "notifications",
        'INSERT INTO deliveries SELECT (jsonb_populate_record(d, \'{"id": "twice"}\')).*'
        " FROM deliveries d WHERE message_id IS NOT NULL LIMIT 1",
        checker.each_message_is_delivered_once_to_an_address,
    ),
    "a fact that the relay has skipped": InDatabase(
        "referrals",
        "UPDATE outbox SET first_round = NULL WHERE (subject, version) IN (SELECT subject, version"
        " FROM outbox LIMIT 1)",
        checker.nothing_is_waiting,
    ),
    "a sending without its audit row": InDatabase(
        "referrals",
        "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit WHERE action = 'send'"
        " ORDER BY sequence DESC LIMIT 1)",
        checker.every_sending_is_on_record,
    ),
    "a step that skipped the trail": InDatabase(
        "referrals",
        "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit"
        " WHERE action = 'accept_referral' AND allowed ORDER BY sequence DESC LIMIT 1)",
        checker.every_step_is_on_record,
    ),
    "a trail that was changed": InDatabase(
        "partners",
        "UPDATE audit SET actor_id = 'another' WHERE sequence = (SELECT max(sequence) / 2"
        " FROM audit)",
        checker.trails_are_unchanged,
    ),
    "a fact published before its commit": InDatabase(
        "referrals",
        "DELETE FROM outbox WHERE (subject, version) IN (SELECT subject, max(version) FROM outbox"
        " GROUP BY 1 LIMIT 1)",
        checker.topics_match_the_outboxes,
    ),
    "an inbox advanced although the handler failed": InDatabase(
        "notifications",
        # deletes everything that one fact has made; the inbox still has the fact as applied
        "WITH fact AS (SELECT referral_id, kind FROM messages WHERE kind = 'referral_accepted'"
        " ORDER BY create_time DESC LIMIT 1),"
        " lost AS (SELECT id FROM messages JOIN fact USING (referral_id, kind)),"
        " theirs AS (DELETE FROM deliveries WHERE message_id IN (SELECT id FROM lost)) DELETE"
        " FROM messages WHERE id IN (SELECT id FROM lost)",
        checker.each_fact_made_its_messages_once,
    ),
    "an inbox advanced although the handler of members failed": InDatabase(
        "referrals",
        "DELETE FROM members WHERE id IN (SELECT id FROM members WHERE kind = 'worker' LIMIT 1)",
        checker.copies_match_the_data_of_partners,
    ),
    "an epoch ignored": InDatabase(
        "referrals",
        "UPDATE inbox SET epoch = 0 WHERE epoch > 0 AND subject IN (SELECT subject FROM inbox"
        " WHERE consumer = 'referrals' AND epoch > 0 LIMIT 1)",
        checker.every_epoch_was_adopted,
    ),
    "a hung call": InRunData(
        lambda run_data: replace(run_data, calls=[*run_data.calls, Call("grpc", 0.0, 3.0)]),
        checker.every_call_came_back_in_time,
    ),
    "a call that continued past its deadline": InRunData(
        lambda run_data: replace(
            run_data, calls=[*run_data.calls, Call("rest", 0.0, 10.0, 12.1, "ok")]
        ),
        checker.every_call_came_back_in_time,
    ),
    "a dead loop": InRunData(
        lambda run_data: replace(
            run_data, health_reports={**run_data.health_reports, "referrals metric/relay": False}
        ),
        checker.every_loop_is_well,
    ),
    "a loop that nobody started": InRunData(
        lambda run_data: replace(
            run_data,
            health_reports={
                name: is_well
                for name, is_well in run_data.health_reports.items()
                if not name.endswith("/replays")
            },
        ),
        checker.every_loop_is_well,
    ),
    "a loop of deadlines that died": InDatabase(
        "referrals",
        "UPDATE clocks SET next_time = now() - interval '1 minute' WHERE (referral_id, number) IN"
        " (SELECT referral_id, number FROM clocks WHERE next_time IS NOT NULL LIMIT 1)",
        checker.no_deadline_is_overdue,
    ),
    "a receipt for another receiver": InDatabase(
        "referrals",
        "UPDATE receipts SET recipient_organization_id = 'another' WHERE id IN"
        " (SELECT receipt_id FROM referrals WHERE send_time IS NOT NULL ORDER BY send_time DESC"
        " LIMIT 1)",
        checker.every_sending_had_a_receipt,
    ),
    "an override after a withdrawal": InDatabase(
        "referrals",
        "WITH taken AS (UPDATE receipts SET withdraw_time = create_time WHERE id IN (SELECT id"
        " FROM receipts ORDER BY create_time DESC LIMIT 1)"
        ' RETURNING id) INSERT INTO receipts SELECT (jsonb_populate_record(r, \'{"id":'
        ' "override", "reason_code": "life_at_risk"}\')).*'
        " FROM receipts r JOIN taken USING (id)",
        checker.no_override_came_after_a_withdrawal,
    ),
    "a member that changed its own type": InDatabase(
        "partners",
        "UPDATE organizations SET type = 'HEALTH' WHERE id IN (SELECT id FROM organizations"
        " WHERE type <> 'HEALTH' LIMIT 1)",
        checker.type_and_country_were_changed_by_two,
    ),
    "a member that changed its own type, and published the change": InDatabase(
        "partners",
        "INSERT INTO outbox (subject, version, type, payload, time)"
        " SELECT o.subject, o.version + 1, 'enlace.organization.changed.v1',"
        " decode(replace(encode(o.payload, 'hex'), encode('NGO', 'hex'), encode('OGN', 'hex')),"
        " 'hex'), now() FROM outbox o JOIN organizations g"
        " ON g.id = o.subject AND g.type = 'NGO' ORDER BY o.version DESC LIMIT 1",
        checker.type_and_country_were_changed_by_two,
    ),
    "notes read after the end of consent": InDatabase(
        "referrals",
        "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id,"
        " purpose_code, detail_codes, allowed, reason)"
        " SELECT until_time + interval '1 day', 'worker', 'w', recipient_organization_id,"
        " 'read_notes', person_id, 'HOU', '{notes}', true, ''"
        " FROM receipts ORDER BY create_time DESC LIMIT 1",
        checker.every_reading_was_covered,
    ),
    "a nonce used again": InDatabase(
        "referrals",
        "UPDATE person_sealed SET sealed = substring(other.sealed"
        " FROM 1 FOR 13) || substring(person_sealed.sealed FROM 14) FROM person_sealed other"
        " WHERE other.person_id = person_sealed.person_id AND other.field = 'safe_contact'"
        " AND person_sealed.field = 'identity'",
        checker.no_nonce_was_used_twice,
    ),
}

"""The list of all rows about one person, and what an erasure does to each column.

The list also says which rows still have an effect for her. An erasure works through the list in its
order: rows come before the rows through which they are found. If a table or column about a person
is missing from the list, a test fails (tests/referrals/test_person_rows.py). The test also checks
that a withdrawal and an erasure treat the stored rows as the list says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.db import Transaction
from services.referrals.files.store.person_ids import PersonIds
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.store.enquiries import COPIES, ENQUIRY_ROWS, PERSON_ROWS, WAITS


@dataclass(frozen=True)
class Part:
    """A person's rows in one table.

    `erased_values` maps each column that an erasure changes to its value afterwards; None means
    that the rows are deleted. `kept_columns` are the other columns, which stay.
    """

    table: str
    condition: str  # selects a person's rows; its parameters are the fields of PersonIds
    erased_values: Mapping[str, str] | None = field(default_factory=dict)
    kept_columns: str = ""
    # selects the rows that still have an effect for her; empty if the table has no such rows
    live_condition: str = ""


_REFERRAL = f"referral_id IN (SELECT id FROM referrals WHERE {PERSON_ROWS})"
_PLAN = f"plan_id IN (SELECT id FROM plans WHERE {PERSON_ROWS})"
_COARSE = {"age_band": "''", "gender_code": "''", "dependants": "NULL"}
_UNSAFE = {"unsafe_code": "''", "unsafe_departments": "'{}'"}  # from whom and where she is not safe
_LISTS = {"languages": "'{}'", "accessibility_codes": "'{}'"}
_LIVE = ", ".join(f"'{state.value}'" for state in sorted(LIVE, key=lambda state: state.value))
_CLOCK = " ".join(
    f"clock_{name}"
    for name in (
        "start_time due_time stop_time pause_time fired_percent policy_version next_time"
    ).split()
)

PARTS = (
    Part(
        "enquiry_offers",
        COPIES,
        {**_COARSE, **_LISTS, "department": "''"},
        kept_columns="enquiry_id service_id organization_id version state need_code urgency"
        " country answer"
        " reason_code answer_time taken due_time"
        " create_time update_time",
        live_condition="need_code IS NOT NULL",
    ),
    Part(
        "enquiries",
        ENQUIRY_ROWS,
        {
            **_COARSE,
            **_LISTS,
            # unmet needs are counted by department
            "department": "CASE WHEN state = 'exhausted' THEN department ELSE '' END",
            "left_out": "'{}'",
            **_UNSAFE,
            "excluded_organization_ids": "'{}'",
            "contact_id": "''",
            "person_id": "''",
        },
        kept_columns="id organization_id worker_id version state need_code urgency country"
        " taken_service_id"
        " referral_id reason_code urgency_reason_code reminded start_time"
        " due_time put_aside_time create_time update_time",
        live_condition=WAITS,
    ),
    Part("contact_notes", "contact_id = ANY(%(contact_ids)s)", None),
    # The holder of the reference can't ask about her any more, unless the same call was also about
    # somebody else.
    Part("contact_references", "contact_id = ANY(%(sole_contact_ids)s)", None),
    Part(
        "callbacks",
        "contact_id = ANY(%(sole_contact_ids)s)",
        kept_columns=(
            "id contact_id organization_id version step_version asked_by_herself tries"
            f" outcome_code worker_id {_CLOCK} create_time update_time"
        ),
        live_condition="outcome_code = ''",
    ),
    Part("plan_steps", _PLAN, None),
    Part("plans", PERSON_ROWS, None, live_condition="close_time IS NULL"),
    Part("person_names", PERSON_ROWS, None),
    Part("person_sealed", PERSON_ROWS, None),
    # makes everything that was sealed with the key unreadable
    Part("person_keys", PERSON_ROWS, {"wrapped": "NULL"}, kept_columns="person_id"),
    Part(
        # accesses to the person's data without a consent; the note is sealed with her key
        "emergencies",
        PERSON_ROWS,
        kept_columns="id person_id referral_id organization_id worker_id file_organization_id"
        " reason_code"
        " note create_time end_time review_due_time version"
        " ended overdue review_time reviewed_by_worker_id review_code next_time",
        live_condition="NOT ended",
    ),
    Part(
        "receipt_grounds",  # part of the proof in receipts
        f"receipt_id IN (SELECT id FROM receipts WHERE {PERSON_ROWS})",
        kept_columns="receipt_id adult_ground_code giver_ground_code",
    ),
    Part(
        "receipts",  # the proof of her consents; signed as a whole
        PERSON_ROWS,
        kept_columns="id person_id organization_id recipient_organization_id version field_groups"
        " purpose_codes until_time giver_code manner_code in_private"
        " interpreter explained_codes recorded_by_worker_id signature create_time withdraw_time"
        " assent_code reason_code confirm_time"
        " confirmed_by_worker_id",
        live_condition="withdraw_time IS NULL",
    ),
    Part(
        # the history, which nobody can change; notes and arrivals are sealed with the person's key
        "referral_events",
        _REFERRAL,
        kept_columns="referral_id version verb from_state to_state time actor_kind actor_id"
        " organization_id"
        " reason_code attribution clock note_sealed"
        " arrival_sealed changed_field_codes place",
    ),
    Part(
        "clocks",
        _REFERRAL,
        kept_columns=(
            "referral_id number kind start_time due_time stop_time pause_time fired_percent"
            " next_time rank policy_version"
        ),
    ),
    Part("renewals", _REFERRAL, None),
    Part(
        "referrals",
        PERSON_ROWS,
        {
            **_COARSE,
            "language": "''",
            "department": "''",
            "assault_time": "NULL",
            **_UNSAFE,
            "unsafe_organization_ids": "'{}'",
        },
        kept_columns="id version state urgency need_code person_id contact_id"
        " sender_organization_id"
        " sender_worker_id receiver_organization_id service_id"
        " receipt_id override_reason_code country responsible_worker_id responsible_desk_code"
        " planned_first_contact_time first_contact_time"
        " reason_code question_code outcome_code delivered_need_codes alternative_service_id"
        " expected_wait_days review_time based_on_id send_time"
        " next_due_time deletion_due_time create_time update_time override_worker_id"
        " appointment_time need_close_reason_code step_version remind_time urgency_reason_code"
        " sides_out",
        live_condition=f"state IN ({_LIVE})",
    ),
    Part(
        "contacts",
        "id = ANY(%(sole_contact_ids)s)",
        {
            "speaker_code": "''",
            "language": "''",
            "triage": "'{}'::jsonb",
            "need_code": "''",
            "reference_hint": "''",
            "connected_live": "''",
            "handed_over_organization_id": "''",
            "emergency_number_code": "''",
        },
        # Calls are counted by line, kind, campaign and outcome.
        kept_columns="id organization_id version step_version line_country campaign_code"
        " placement_code"
        f" kind_code outcome_code tied_to_id erased {_CLOCK}"
        " create_time update_time",
    ),
    Part(
        "contacts",
        "id = ANY(%(contact_ids)s)",
        {"department": "''", "note_sealed": "NULL", "assault_time": "NULL", "unheard": "false"},
    ),
    Part("contacts", PERSON_ROWS, {"person_id": "''"}),
    Part(
        "people",
        "id = ANY(%(person_ids)s)",
        {
            "erased": "true",
            "age_band": "''",
            "band_end": "NULL",
            "gender_code": "''",
            "language": "''",
            "dependants": "NULL",
            "trafficking_status_code": "''",
            "has_identity": "false",
            "safe_contact_channel": "''",
            "message_may_be_left": "false",
        },
        # Country, department and country of exploitation stay, since past and future published
        # figures are counted by them. No response shows them.
        kept_columns=(
            "id organization_id version country department exploitation_country create_time"
            " update_time names_form"
        ),
    ),
    Part(
        "erasures",  # the proof of the erasure
        PERSON_ROWS,
        kept_columns="id person_id organization_id version proposed_by_worker_id propose_time"
        " confirmed_by_worker_id erase_time witness_time lapsed sealed_parts notes"
        " name_marks plans receipts referrals",
    ),
)


def erase(tx: Transaction, ids: PersonIds) -> dict[str, int]:
    """Deletes or blanks the person's rows; returns the number of deleted rows by table.

    Needs the scope of the whole service.
    """
    counts: dict[str, int] = {}
    for part in PARTS:
        # Joins words of the list above; no value from outside becomes part of a statement's text.
        assignments = ", ".join(
            f"{column} = {value}" for column, value in (part.erased_values or {}).items()
        )
        if part.erased_values is None:
            counts[part.table] = tx.execute(
                f"DELETE FROM {part.table} WHERE {part.condition}", vars(ids)
            ).rowcount
        elif assignments:
            tx.execute(f"UPDATE {part.table} SET {assignments} WHERE {part.condition}", vars(ids))
    return counts

"""Stores published versions of pathways, and plans with their steps.

Row-level security limits the statements to plans for files of the caller's organisation, unless the
calling code has widened the scope.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.wire import Cursor
from services.referrals.network.store import members
from services.referrals.plans.domain.pathway import Pathway
from services.referrals.plans.domain.plan import Plan, PlanStep, StepState
from services.referrals.referrals.store import referrals

_COLUMNS = (
    "id person_id organization_id version pathway_id pathway_version department start_time"
    " next_due_time close_time close_reason_code"
    " close_proposed_reason_code close_proposed_by_worker_id create_time update_time"
).split()
_SETTLED = "('met', 'not_needed', 'refused_by_person')"
# A proposal to end a plan does not count once the account of the worker who made it is suspended.
_PLAN = (
    f"SELECT *, {members.suspended_condition('plans.close_proposed_by_worker_id')}"
    " AS proposer_suspended FROM plans"
)
PathwayLookup = Callable[[str, int], Pathway]


def published_versions(tx: Transaction) -> list[Row]:
    """Returns the pathway_id, version and publish_time of all published versions, in order."""
    return tx.execute(
        "SELECT pathway_id, version, publish_time FROM pathway_versions"
        " ORDER BY pathway_id, version"
    ).fetchall()


def text_of(tx: Transaction, pathway_id: str, version: int) -> str:
    """Returns the text of a published version."""
    row = tx.execute(
        "SELECT text FROM pathway_versions WHERE pathway_id = %s AND version = %s",
        (pathway_id, version),
    ).fetchone()
    assert row is not None
    return str(row["text"])


def publish(tx: Transaction, pathway: Pathway, worker_id: str, now: datetime) -> None:
    """Saves a version of a pathway. A version never changes."""
    tx.execute(
        "INSERT INTO pathway_versions (pathway_id, version, text, published_by_worker_id,"
        " publish_time) VALUES (%s, %s, %s, %s, %s)",
        (pathway.id, pathway.version, pathway.text, worker_id, now),
    )


def has_open_plan(tx: Transaction, person_id: str, pathway_id: str) -> bool:
    """Returns whether a person has an open plan that follows this pathway."""
    sql = "SELECT 1 FROM plans WHERE person_id = %s AND pathway_id = %s AND close_time IS NULL"
    return tx.execute(sql, (person_id, pathway_id)).fetchone() is not None


def add(tx: Transaction, plan: Plan) -> None:
    """Inserts a new plan."""
    tx.execute(
        f"INSERT INTO plans ({', '.join(_COLUMNS)})"
        f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})",
        _values(plan),
    )
    _write_steps(tx, plan)


def change(tx: Transaction, plan: Plan, expected_version: int) -> None:
    """Saves a new version of a plan. Raises Stale unless `expected_version` is stored."""
    sets = ", ".join(f"{c} = %({c})s" for c in _COLUMNS if c not in ("id", "create_time"))
    if (
        tx.execute(
            f"UPDATE plans SET {sets} WHERE id = %(id)s AND version = %(expected_version)s",
            _values(plan) | {"expected_version": expected_version},
        ).rowcount
        != 1
    ):
        raise Stale
    tx.execute("DELETE FROM plan_steps WHERE plan_id = %s", (plan.id,))
    _write_steps(tx, plan)


def get(
    tx: Transaction, identifier: str, pathway_of: PathwayLookup, *, for_update: bool = False
) -> Plan:
    """Returns one plan. Raises NotFound if there is none in the scope of the transaction."""
    row = tx.execute(
        f"{_PLAN} WHERE id = %s" + (" FOR UPDATE" if for_update else ""), (identifier,)
    ).fetchone()
    if row is None:
        raise NotFound
    return _read(tx, row, pathway_of)


def of_person(
    tx: Transaction, person_id: str, pathway_of: PathwayLookup, *, only_open: bool = False
) -> list[Plan]:
    """Returns the plans of a person, newest first, at most 200.

    `only_open` selects the open plans and locks them for changes.
    """
    rows = tx.execute(
        f"{_PLAN} WHERE person_id ="
        f" %s{' AND close_time IS NULL' if only_open else ''} ORDER BY create_time DESC, id"
        " LIMIT 200"
        f"{' FOR UPDATE' if only_open else ''}",
        (person_id,),
    ).fetchall()
    return [_read(tx, row, pathway_of) for row in rows]


def ids_with_referrals(tx: Transaction, referral_ids: list[str]) -> list[str]:
    """Returns the ids of open plans that have one of these referrals in a step.

    The ids are in the order in which the calling code must lock the plans.
    """
    rows = tx.execute(
        "SELECT id FROM plans WHERE close_time IS NULL AND id IN (SELECT plan_id FROM plan_steps"
        " WHERE referral_id = ANY(%s)) ORDER BY id",
        (referral_ids,),
    )
    return [row["id"] for row in rows]


def late_steps(
    tx: Transaction, organization_id: str, now: datetime, limit: int, after: Cursor | None
) -> tuple[list[Row], Cursor | None]:
    """Returns a page of the steps that are past their due time and not settled.

    The step that has been due longest comes first. The second value is the cursor of the next page.
    """
    due, plan, key = after or ("-infinity", "", "")
    rows = tx.execute(
        "SELECT s.plan_id, s.key, s.state, s.due_time, s.due_time::text AS due_key, p.person_id,"
        " p.pathway_id, p.pathway_version"
        " FROM plan_steps s JOIN plans p ON p.id = s.plan_id"
        " WHERE p.organization_id = %(organization)s AND p.next_due_time < %(now)s"
        f" AND s.due_time < %(now)s AND s.state NOT IN {_SETTLED}"
        " AND (s.due_time, s.plan_id, s.key) > (%(due)s::timestamptz, %(plan)s, %(key)s)"
        " ORDER BY s.due_time, s.plan_id, s.key LIMIT %(limit)s",
        {
            "organization": organization_id,
            "now": now,
            "due": due,
            "plan": plan,
            "key": key,
            "limit": limit + 1,
        },
    ).fetchall()
    page = rows[:limit]
    return page, [page[-1]["due_key"], page[-1]["plan_id"], page[-1]["key"]] if len(
        rows
    ) > limit else None


def compliance(tx: Transaction, now: datetime) -> list[Row]:
    """Counts plans by pathway_id, version, department, key, state and reason_code.

    Each row has three numbers of plans: all plans in which the step has this state (`plans`); of
    these, the plans whose step was settled in time or has no due time (`on_time`), and the plans
    whose step is overdue (`late`). Only plans in the scope of the transaction are counted.
    """
    return tx.execute(
        "SELECT p.pathway_id, p.pathway_version AS version, p.department, s.key, s.state,"
        " s.reason_code, count(*)::int AS plans,"
        " (count(*) FILTER (WHERE s.due_time IS NULL OR s.settle_time <= s.due_time))::int AS"
        " on_time,"
        f" (count(*) FILTER (WHERE p.close_time IS NULL AND s.state NOT IN {_SETTLED}"
        " AND s.due_time < %(now)s))::int AS late"
        " FROM plans p JOIN plan_steps s ON s.plan_id = p.id"
        " WHERE p.close_reason_code <> 'entered_in_error'"
        " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2 DESC, 3",
        {"now": now},
    ).fetchall()


def _write_steps(tx: Transaction, plan: Plan) -> None:
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO plan_steps (plan_id, key, state, referral_id, reason_code, due_time,"
            " settle_time) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    plan.id,
                    s.key,
                    s.state.value,
                    s.referral_id,
                    s.reason_code,
                    s.due_time,
                    s.settle_time,
                )
                for s in plan.steps.values()
            ],
        )


def _values(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in _COLUMNS if not name.startswith("pathway_")} | {
        "pathway_id": plan.pathway.id,
        "pathway_version": plan.pathway.version,
    }


def _read(tx: Transaction, row: Row, pathway_of: PathwayLookup) -> Plan:
    values = dict(row)
    pathway = pathway_of(values.pop("pathway_id"), values.pop("pathway_version"))
    del values["next_due_time"]
    if values.pop("proposer_suspended") and values["close_time"] is None:
        values["close_proposed_reason_code"] = values["close_proposed_by_worker_id"] = ""
    rows = tx.execute("SELECT * FROM plan_steps WHERE plan_id = %s", (row["id"],)).fetchall()
    steps = {
        r["key"]: PlanStep(
            r["key"],
            StepState(r["state"]),
            r["referral_id"],
            r["reason_code"],
            r["due_time"],
            r["settle_time"],
        )
        for r in rows
    }
    plan = Plan(
        pathway=pathway, steps={step.key: steps[step.key] for step in pathway.steps}, **values
    )
    read_legs(tx, plan)
    return plan


def read_legs(tx: Transaction, plan: Plan) -> None:
    """Reads the referrals of the plan's legs.

    While the plan is locked, these referrals can't change in any way that matters, since every
    transaction that changes a referral waits for the same lock to update the plan.
    """
    plan.referrals = referrals.by_ids(
        tx,
        [
            referral_id
            for step in plan.pathway.steps
            if step.leg and (referral_id := plan.steps[step.key].referral_id)
        ],
    )

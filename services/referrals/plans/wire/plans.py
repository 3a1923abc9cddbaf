"""Translates pathways and plans into messages."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from chassis.ids import short_code
from chassis.wire import EnumCodec, etag, number, timestamp
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.plans.domain.pathway import Pathway
from services.referrals.plans.domain.plan import Plan, StepState

STATES = EnumCodec(pb.PlanStepState, StepState)


def pathway_message(pathway: Pathway, text: str = "") -> pb.StandardPathway:
    """Returns a pathway as a message, with its text if the text is given."""
    return pb.StandardPathway(
        id=pathway.id,
        version=pathway.version,
        names=pathway.names,
        need_codes=pathway.need_codes,
        age_bands=[number(referrals_pb2.AgeBand, code) for code in pathway.age_bands],
        urgencies=[number(referrals_pb2.Urgency, code) for code in pathway.urgencies],
        countries=pathway.countries,
        steps=[
            pb.PathwayStep(
                key=step.key,
                names=step.names,
                need_code=step.need_code,
                after_keys=step.after_keys,
                document_codes=[number(pb.PlanDocument, code) for code in step.document_codes],
                deadline_hours=(step.deadline or timedelta(0)) // timedelta(hours=1),
                deadline_from_key=step.deadline_from_key,
                legal_basis_codes=[number(pb.LegalBasis, code) for code in step.legal_basis_codes],
                role_code=number(pb.PlanRole, step.role_code),
                leg=number(referrals_pb2.LegKind, step.leg.value if step.leg else ""),
            )
            for step in pathway.steps
        ],
        text=text,
    )


def plan_message(plan: Plan, newest_version: int, now: datetime) -> pb.Plan:
    """Returns a plan as a message without legs.

    `newest_version` is the newest version of its pathway.
    """
    times: dict[str, Any] = {
        name: timestamp(getattr(plan, name))
        for name in ("start_time", "next_due_time", "close_time", "create_time", "update_time")
    }
    return pb.Plan(
        id=plan.id,
        etag=etag(plan.version),
        person_id=plan.person_id,
        pathway=pathway_message(plan.pathway),
        latest_version=newest_version,
        close_reason_code=number(pb.PlanCloseReason, plan.close_reason_code),
        close_proposed_reason_code=number(pb.PlanCloseReason, plan.close_proposed_reason_code),
        close_proposed_by_worker_id=plan.close_proposed_by_worker_id,
        steps=[
            pb.PlanStep(
                key=step.key,
                state=STATES.number(plan_step.state),
                referral_id=plan_step.referral_id,
                reason_code=number(pb.SkipReason, plan_step.reason_code),
                due_time=timestamp(plan_step.due_time),
                settle_time=timestamp(plan_step.settle_time),
                late=plan.close_time is None and plan_step.is_late(now),
                waits_for_keys=[] if plan_step.settled else plan.waits_for(step),
            )
            for step in plan.pathway.steps
            for plan_step in [plan.steps[step.key]]
        ],
        **times,
    )


def late_step(row: Mapping[str, Any], pathway: Pathway) -> pb.LateStep:
    """Returns the message for a late step, from a row of the store.

    `pathway` is the version of the pathway that the plan follows.
    """
    return pb.LateStep(
        plan_id=row["plan_id"],
        person_id=row["person_id"],
        person_code=short_code(row["person_id"]),
        pathway_id=pathway.id,
        key=row["key"],
        names=next(step.names for step in pathway.steps if step.key == row["key"]),
        state=STATES.number(StepState(row["state"])),
        due_time=timestamp(row["due_time"]),
    )

"""Pathways, and plans by them: between messages and use cases."""

from datetime import datetime, timedelta
from typing import Any

from chassis.errors import Invalid
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import EnumCodec, PageTokens, etag, moment, number, optional_id, page_size, timestamp, version, word, word_list
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.domain.codes import short_code
from services.referrals.domain.pathway import Pathway
from services.referrals.domain.plan import CONSENT_WITHDRAWN, Plan, StepState
from services.referrals.usecases.pathways import Pathways
from services.referrals.usecases.plans import Plans
from services.referrals.wire import actor_of, leg_message

STATES = EnumCodec(pb.PlanStepState, StepState)


class PlansServicer:
    """Answers the rpcs of this name."""

    def __init__(self, usecases: Plans, pathways: Pathways, pages: PageTokens) -> None:
        self._usecases = usecases
        self._pathways = pathways
        self._pages = pages

    def ListPathways(self, request: pb.ListPathwaysRequest, call: Call) -> pb.ListPathwaysResponse:
        """See the .proto, as for every method here."""
        return pb.ListPathwaysResponse(pathways=[_pathway(each) for each in self._pathways.newest(call.tx)])

    def GetPathway(self, request: pb.GetPathwayRequest, call: Call) -> pb.StandardPathway:
        pathway = self._pathways.get(call.tx, request.id, request.version)
        return _pathway(pathway, pathway.text)

    def ListPathwayVersions(self, request: pb.ListPathwayVersionsRequest, call: Call) -> pb.ListPathwayVersionsResponse:
        versions = self._pathways.versions(call.tx, request.id)
        return pb.ListPathwayVersionsResponse(versions=[pb.PathwayVersion(version=n, publish_time=timestamp(at)) for n, at in versions])

    def PublishPathway(self, request: pb.PublishPathwayRequest, call: Call) -> pb.StandardPathway:
        pathway = self._pathways.publish(call.tx, call.caller, call.clock.now(), request.text)
        return _pathway(pathway, pathway.text)

    def CreatePlan(self, request: pb.CreatePlanRequest, call: Call) -> pb.Plan:
        start = moment(request, "start_time")
        person_id = object_id(request.person_id)
        acknowledged = word_list(referrals_pb2.Acknowledgement, request.acknowledged_codes, "acknowledged_codes")
        plan = self._usecases.create(call.tx, call.caller, call.clock.now(), person_id, request.pathway_id, start, acknowledged, call.trail)
        return self._plan(plan, call)

    def GetPlan(self, request: pb.GetPlanRequest, call: Call) -> pb.Plan:
        return self._plan(self._usecases.get(call.tx, object_id(request.id)), call)

    def ListPlans(self, request: pb.ListPlansRequest, call: Call) -> pb.ListPlansResponse:
        plans = self._usecases.of_person(call.tx, call.caller, object_id(request.person_id))
        return pb.ListPlansResponse(plans=[self._plan(plan, call) for plan in plans])

    def UpdatePlanStep(self, request: pb.UpdatePlanStepRequest, call: Call) -> pb.Plan:
        state = STATES.member(request.state, "state")
        assert state is not None  # required, as the .proto says
        plan = self._usecases.update_step(
            call.tx,
            call.clock.now(),
            object_id(request.id),
            version(request.etag),
            request.step_key,
            state,
            referral_id=optional_id(request.referral_id, "referral_id"),
            reason_code=word(pb.SkipReason, request.reason_code, "reason_code"),
        )
        return self._plan(plan, call)

    def MovePlan(self, request: pb.MovePlanRequest, call: Call) -> pb.Plan:
        plan = self._usecases.move(call.tx, call.clock.now(), object_id(request.id), version(request.etag), request.version)
        return self._plan(plan, call)

    def ClosePlan(self, request: pb.ClosePlanRequest, call: Call) -> pb.Plan:
        reason = word(pb.PlanCloseReason, request.reason_code, "reason_code")
        if reason == CONSENT_WITHDRAWN:
            raise Invalid(("reason_code", "unknown_code"))  # that follows from her word, and nobody says it in its place
        plan = self._usecases.close(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), reason)
        return self._plan(plan, call)

    def ListLateSteps(self, request: pb.ListLateStepsRequest, call: Call) -> pb.ListLateStepsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str, str)
        rows, more = self._usecases.late(call.tx, call.caller, call.clock.now(), size, after)
        steps = []
        for row in rows:
            pathway = self._usecases.pathway(call.tx, row["pathway_id"], row["pathway_version"])
            steps.append(
                pb.LateStep(
                    plan_id=row["plan_id"],
                    person_id=row["person_id"],
                    person_code=short_code(row["person_id"]),
                    pathway_id=pathway.id,
                    key=row["key"],
                    names=next(step.names for step in pathway.steps if step.key == row["key"]),
                    state=STATES.number(StepState(row["state"])),
                    due_time=timestamp(row["due_time"]),
                )
            )
        return pb.ListLateStepsResponse(steps=steps, next_page_token=self._pages.token(request, more))

    def GetCompliance(self, request: pb.GetComplianceRequest, call: Call) -> pb.Compliance:
        network = call.caller.has("COORDINATOR")
        groups = []
        for (pathway_id, number_, department), (plans, steps) in self._usecases.compliance(
            call.tx, call.clock.now(), network=network
        ).items():
            counted = [
                pb.ComplianceStep(
                    key=step.key,
                    met=step.met,
                    on_time=step.on_time,
                    late=step.late,
                    skipped=[referrals_pb2.Figure(code=code, count=count) for code, count in step.skipped],
                )
                for step in steps
            ]
            groups.append(pb.ComplianceGroup(pathway_id=pathway_id, version=number_, department=department, plans=plans, steps=counted))
        return pb.Compliance(network=network, groups=groups)

    def _plan(self, plan: Plan, call: Call) -> pb.Plan:
        message = _plan(plan, self._usecases.pathway(call.tx, plan.pathway.id).version, call.clock.now())
        message.legs.extend(leg_message(link, actor_of(call.caller)) for link in self._usecases.line(call.tx, plan))
        return message


def _pathway(pathway: Pathway, text: str = "") -> pb.StandardPathway:
    return pb.StandardPathway(
        id=pathway.id,
        version=pathway.version,
        names=pathway.names,
        need_codes=pathway.need_codes,
        age_bands=[number(referrals_pb2.AgeBand, each) for each in pathway.age_bands],
        urgencies=[number(referrals_pb2.Urgency, each) for each in pathway.urgencies],
        countries=pathway.countries,
        steps=[
            pb.PathwayStep(
                key=step.key,
                names=step.names,
                need_code=step.need_code,
                after_keys=step.after_keys,
                document_codes=[number(pb.PlanDocument, each) for each in step.document_codes],
                deadline_hours=(step.deadline or timedelta(0)) // timedelta(hours=1),
                deadline_from_key=step.deadline_from_key,
                legal_basis_codes=[number(pb.LegalBasis, each) for each in step.legal_basis_codes],
                role_code=number(pb.PlanRole, step.role_code),
                leg=number(referrals_pb2.LegKind, step.leg.value if step.leg else ""),
            )
            for step in pathway.steps
        ],
        text=text,
    )


def _plan(plan: Plan, latest: int, now: datetime) -> pb.Plan:
    times: dict[str, Any] = {
        name: timestamp(getattr(plan, name)) for name in ("start_time", "next_due_time", "close_time", "create_time", "update_time")
    }
    return pb.Plan(
        id=plan.id,
        etag=etag(plan.version),
        person_id=plan.person_id,
        pathway=_pathway(plan.pathway),
        latest_version=latest,
        close_reason_code=number(pb.PlanCloseReason, plan.close_reason_code),
        close_proposed_reason_code=number(pb.PlanCloseReason, plan.close_proposed_reason_code),
        close_proposed_by_worker_id=plan.close_proposed_by_worker_id,
        steps=[
            pb.PlanStep(
                key=step.key,
                state=STATES.number(standing.state),
                referral_id=standing.referral_id,
                reason_code=number(pb.SkipReason, standing.reason_code),
                due_time=timestamp(standing.due_time),
                settle_time=timestamp(standing.settle_time),
                late=plan.close_time is None and standing.is_late(now),
                waits_for_keys=[] if standing.settled else plan.waits_for(step),
            )
            for step in plan.pathway.steps
            for standing in [plan.steps[step.key]]
        ],
        **times,
    )

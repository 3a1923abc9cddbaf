"""A plan: the steps of a pathway, their state for one person, and the changes to each step."""

from collections.abc import Iterable, Mapping
from functools import partial

from flask import redirect, render_template, url_for

from chassis.errors import Conflict, Stale
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names, referrals
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import due, forms
from services.gateway.site.shell import access, session

pages = access.Pages("plans")
SETTLED = (
    pb.PLAN_STEP_STATE_MET,
    pb.PLAN_STEP_STATE_NOT_NEEDED,
    pb.PLAN_STEP_STATE_REFUSED_BY_PERSON,
)


@pages.get("/plans/<identifier>", access.SENDERS)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS, *, key: str = "") -> str:
    """Shows the plan.

    `key` names the step, or the part of the page, whose form had problems.
    """
    plan = clients().plans.GetPlan(pb.GetPlanRequest(id=identifier))
    own_referrals = {
        referral.id: referral
        for referral in referrals.matching(
            r.ReferralFilter(box=r.BOX_OUTBOX, person_id=plan.person_id)
        )
    }
    standings = {step.key: step for step in plan.steps}
    return render_template(
        "plan.html",
        plan=plan,
        file=referrals.file_of(plan.person_id),
        standings=standings,
        settled=[key for key, standing in standings.items() if standing.state in SETTLED],
        step_names={step.key: names.name_in_language(step.names) for step in plan.pathway.steps},
        due_of_step=partial(due_of_step, plan, standings),
        referrals=own_referrals,
        candidates=partial(candidates, list(own_referrals.values())),
        names=names.names(
            {session.me().organization_id, *(leg.organization_id for leg in plan.legs)}
            if plan.legs
            else ()
        ),
        part=key,
        errors=errors,
        # the worker must confirm a newer version for another age, or has just done so
        other_age=key == "move"
        and bool(
            errors.get("_form") == words.conflict("age_not_taken")
            or forms.texts("acknowledged_codes")
        ),
        reasons=[
            (code, word)
            for code, word in words.options("plan_close_reason")
            if code != "consent_withdrawn"
        ],
    )


def due_of_step(
    plan: pb.Plan, standings: Mapping[str, pb.PlanStep], step: pb.PathwayStep
) -> due.Due | None:
    """Returns the deadline of a step; None if it has none, is settled, or the plan is closed.

    `standings` has the plan's steps by key.
    """
    standing = standings[step.key]
    if (
        standing.state in SETTLED
        or i18n.moment(plan.close_time)
        or not i18n.moment(standing.due_time)
    ):
        return None
    return due.deadline_between(
        standings[step.deadline_from_key].settle_time
        if step.deadline_from_key in standings
        else plan.start_time,
        standing.due_time,
        _("para este paso"),
    )


def candidates(own_referrals: Iterable[r.Referral], step: pb.PathwayStep) -> list[tuple[str, str]]:
    """Returns the person's live, draft and closed referrals, which could carry out a step.

    Referrals for the same need come first.
    """
    possible_referrals = [
        referral
        for referral in own_referrals
        if referral.live or referral.state in (r.STATE_DRAFT, r.STATE_CLOSED)
    ]
    possible_referrals.sort(
        key=lambda referral: (
            referral.need_code != step.need_code,
            referral.need_code[:3] != step.need_code[:3],
        )
    )
    return [
        (
            referral.id,
            f"{referral.code} · {names.need(referral.need_code)}"
            f" · {words.word('state', referral.state)}",
        )
        for referral in possible_referrals
    ]


@pages.post("/plans/<identifier>/steps/<key>", access.SENDERS, again=show)
def update(identifier: str, key: str) -> access.Answer:
    """Saves the state of a step.

    A reason is stored only with "not needed", and a referral only with "referred", whatever else
    the form holds.
    """
    request = forms.filled(pb.UpdatePlanStepRequest(id=identifier, step_key=key))
    if request.state != pb.PLAN_STEP_STATE_NOT_NEEDED:
        request.reason_code = pb.SKIP_REASON_UNSPECIFIED
    if request.state != pb.PLAN_STEP_STATE_REFERRED:
        request.referral_id = ""
    clients().plans.UpdatePlanStep(request)
    return redirect(url_for("plans.show", identifier=identifier, done="saved", _anchor=key), 303)


@pages.post("/plans/<identifier>/refer/<key>", access.SENDERS, again=show)
def refer(identifier: str, key: str) -> access.Answer:
    """Creates a draft for this person and the need of this step, and redirects to its first
    question.

    From then on, the draft carries out the step. If the step has a referral already, redirects to
    that referral. If the step's last referral ended, the draft follows that referral, and may
    already have been begun on its page.
    """
    plan = clients().plans.GetPlan(pb.GetPlanRequest(id=identifier))
    need = next((step.need_code for step in plan.pathway.steps if step.key == key), "")
    standing = next((step for step in plan.steps if step.key == key), pb.PlanStep())
    if standing.state == pb.PLAN_STEP_STATE_REFERRED:
        return redirect(url_for("referral_new.resume", identifier=standing.referral_id), 303)
    if plan.etag != forms.text("etag"):
        raise Stale
    begun_draft = draft_in_place_of(standing.referral_id, need)
    draft = begun_draft or clients().referrals.CreateReferral(
        r.CreateReferralRequest(
            person_id=plan.person_id,
            need_code=need,
            based_on_id=standing.referral_id,
            request_id=forms.text("request_id"),
        )
    )
    try:
        clients().plans.UpdatePlanStep(
            pb.UpdatePlanStepRequest(
                id=identifier,
                etag=forms.text("etag"),
                step_key=key,
                state=pb.PLAN_STEP_STATE_REFERRED,
                referral_id=draft.id,
                request_id=forms.part_of(forms.text("request_id"), "step"),
            )
        )
    except (Conflict, Stale):  # a colleague was quicker; without a step nobody would need the draft
        if begun_draft is None:
            clients().referrals.EnterReferralInError(
                r.EnterReferralInErrorRequest(
                    id=draft.id,
                    etag=draft.etag,
                    request_id=forms.part_of(forms.text("request_id"), "discard"),
                )
            )
        raise
    return redirect(url_for("referral_new.resume", identifier=draft.id), 303)


def draft_in_place_of(referral_id: str, need_code: str) -> r.Referral | None:
    """Returns the draft for this need that was begun in place of a referral, or None."""
    following_id = referrals.fetch(referral_id).following_id if referral_id else ""
    following = referrals.fetch(following_id) if following_id else r.Referral()
    is_draft_for_need = following.state == r.STATE_DRAFT and following.need_code == need_code
    return following if is_draft_for_need else None


# Moves the plan to the newest version of its pathway.
pages.sends(
    "move",
    "/plans/<identifier>/move",
    access.SENDERS,
    pb.MovePlanRequest,
    again=partial(show, key="move"),
    then="plans.show",
)
pages.sends(
    "close",
    "/plans/<identifier>/close",
    access.SENDERS,
    pb.ClosePlanRequest,
    again=partial(show, key="close"),
    then="plans.show",
)

"""The auditor's pages: unusual events that wait for review, the trail, and its check."""

from datetime import timedelta, tzinfo

from flask import render_template, request

from chassis.ids import is_id
from chassis.local_time import zone_of
from protos.referrals.v1 import audit_pb2 as a
from protos.referrals.v1 import emergencies_pb2 as em
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists, names
from services.gateway.site.language import i18n, vocabulary
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("audit")
# time at which a day of the trail begins, so that a whole night belongs to one day
MORNING = timedelta(hours=5)
IDS = ("object_id", "actor_id", "organization_id")


@pages.get("/audit", access.AUDITORS)
def show(
    errors: forms.Problems = forms.NO_PROBLEMS,
    identifier: str = "",
    verdict: a.VerifyTrailResponse | None = None,
) -> str:
    """Shows the events that wait for review, or all events.

    `errors` belong to a rejected review of the event `identifier`; `verdict` is the result of a
    check of the trail.
    """
    everything = request.args.get("all", "") == "1"
    answer = clients().audit.ListAnomalies(
        a.ListAnomaliesRequest(
            waiting=not everything, page_size=50, page_token=request.args.get("page", "")
        )
    )
    emergencies = lists.all_of(em.ListEmergenciesRequest(waiting=not everything))
    return render_template(
        "audit.html",
        emergencies=emergencies,
        anomalies=answer.anomalies,
        next_page=answer.next_page_token,
        everything=everything,
        names=names.names(
            {anomaly.organization_id for anomaly in answer.anomalies}
            | {emergency.organization_id for emergency in emergencies}
        ),
        verdict=verdict,
        errors=errors,
        identifier=identifier,
    )


pages.sends(
    "review",
    "/audit/anomalies/<identifier>",
    access.AUDITORS,
    a.ReviewAnomalyRequest,
    again=show,
    then="audit.show",
    done="reviewed",
)


@pages.post("/audit/verify", access.AUDITORS)
def verify() -> str:
    """Checks the chain of the next rows of the trail, as many as one call can check."""
    return show(
        verdict=clients().audit.VerifyTrail(
            a.VerifyTrailRequest(page_token=forms.text("page_token"))
        )
    )


def zone_of_day(organization_id: str) -> tzinfo:
    """Returns the zone in which a day of the trail begins.

    If the filter names an organisation, this is its zone, as for unusual events; otherwise, it is
    the auditor's zone.
    """
    page_names = names.names([organization_id] if is_id(organization_id) else [])
    organization = page_names.organizations.get(organization_id)
    return zone_of(organization.country, organization.department) if organization else i18n.zone()


@pages.get("/audit/trail", access.AUDITORS)
def trail() -> str:
    """Shows rows of the trail.

    For a malformed id or day, shows no rows, without calling the service.
    """
    filters = {name: request.args.get(name, "").strip() for name in (*IDS, "action_code", "day")}
    request_ = a.ListTrailRequest(
        object_id=filters["object_id"],
        actor_id=filters["actor_id"],
        organization_id=filters["organization_id"],
        action_code=filters["action_code"],
        refused=request.args.get("refused", "") == "1",
        page_size=50,
        page_token=request.args.get("page", ""),
    )
    start = i18n.moment(i18n.start_of_day(filters["day"]))
    if start is not None:
        # local times: where the clocks change, not every day has 24 hours
        zone = zone_of_day(filters["organization_id"])
        morning = start.astimezone(i18n.zone()).replace(tzinfo=zone) + MORNING
        request_.start_time.FromDatetime(morning)
        request_.end_time.FromDatetime(morning + timedelta(days=1))
    is_well_formed = all(is_id(filters[name]) for name in IDS if filters[name]) and (
        start is not None or not filters["day"]
    )
    answer = clients().audit.ListTrail(request_) if is_well_formed else a.ListTrailResponse()
    return render_template(
        "trail.html",
        rows_=answer.rows,
        next_page=answer.next_page_token,
        FIELD_GROUPS=vocabulary.TABLES["field_group"],
        ACTIONS=vocabulary.TABLES["trail_action"],
        asked={name: value for name, value in filters.items() if value}
        | ({"refused": 1} if request_.refused else {}),
        names=names.names(
            {row.organization_id for row in answer.rows},
            (),
            {row.actor_id for row in answer.rows if row.actor_id},
        ),
    )

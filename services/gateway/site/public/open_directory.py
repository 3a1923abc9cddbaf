"""The open directory: services that members want anybody to find, without an account.

Services and members are read only through the open-data rpcs, which read only public data. Search
terms never appear in a URL or a log. For housing, neither place nor description is shown, because
either could lead somebody to the house.
"""

from collections.abc import Iterable, Sequence

from flask import Response, abort, render_template, request

from chassis.errors import Invalid, Unavailable
from chassis.ids import object_id
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.edge.clients import clients
from services.gateway.edge.problems import RETRY_SECONDS, status_of
from services.gateway.site.backend import names
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, kept, lines

pages = access.Pages("open_directory")
HOUSING = "HOU"
WEEK = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
PAGE_SIZE = 20  # services on a page of results
ORGANIZATION_PAGE_SIZE = 100  # services on the page of an organisation


@pages.get("/services", access.ANYBODY)
def search(
    question: o.ListPublicServicesRequest | None = None,
    answer: o.ListPublicServicesResponse | None = None,
    errors: forms.Problems = forms.NO_PROBLEMS,
) -> str:
    """Shows the search form, with some needs as starting points, or with the services that fit.

    `answer` is None if nothing was searched for, or the search failed.
    """
    question = question or o.ListPublicServicesRequest()
    country = lines.country_of_the_browser()
    return render_template(
        "open_directory.html",
        away=False,
        question=question,
        answer=answer,
        services=hide_places_of_housing(answer.services) if answer else [],
        needs_=names.needs(),
        here=country if country in lines.CAMPAIGN_COUNTRIES else "NI",
        housing=question.need_code.partition(".")[0] == HOUSING,
        errors=errors,
    )


@pages.post("/services", access.ANYBODY)
def results() -> str | tuple[str, int]:
    """Shows the services that fit, sorted by name.

    A form, not a link, requests each further page.
    """
    rpc_request = o.ListPublicServicesRequest(
        words=forms.text("words"),
        need_code=forms.text("need_code"),
        department=forms.text("department"),
        organization_id=forms.text("organization_id"),
        by_name=True,
        page_size=PAGE_SIZE,
        page_token=forms.text("page"),
    )
    try:
        return search(rpc_request, answer_to(rpc_request))
    except Invalid as refusal:
        return search(rpc_request, errors=forms.problems(refusal)), 422


@pages.get("/services/organizations/<identifier>", access.ANYBODY)
def organization(identifier: str) -> str:
    """Shows a member that offers a public service, and the member's public services.

    Answers 404 for any other organisation, as if it did not exist.
    """
    id = object_id(identifier)
    members = (
        clients()
        .open_data.ListPublicOrganizations(o.ListPublicOrganizationsRequest(organization_id=id))
        .organizations
    )
    if not members:
        abort(404)
    rpc_request = o.ListPublicServicesRequest(
        organization_id=id, by_name=True, page_size=ORGANIZATION_PAGE_SIZE
    )
    answer = answer_to(rpc_request)
    return render_template(
        "open_organization.html",
        organization=members[0],
        # The place of an organisation that offers housing, even on a further page, stays secret.
        where=""
        if answer.next_page_token
        or any(is_housing(public_service.service) for public_service in answer.services)
        else words.place(members[0].department, members[0].country),
        services=hide_places_of_housing(answer.services),
        question=rpc_request,
        answer=answer,
    )


@pages.blueprint.errorhandler(Unavailable)
def away(refusal: Unavailable) -> Response:
    """Tells a person who looks for help what to do now; does not tell which service is down."""
    return Response(
        render_template(
            "open_directory.html",
            away=True,
            errors={},
            form=kept.rejected_form() if request.method == "POST" else None,
        ),
        status_of(refusal),
        {"Retry-After": str(RETRY_SECONDS)},
        mimetype="text/html",
    )


def answer_to(query: o.ListPublicServicesRequest) -> o.ListPublicServicesResponse:
    """Returns the answer to a query; its first page if the page token is no longer valid."""
    try:
        return clients().open_data.ListPublicServices(query)
    except Invalid as refusal:
        if [path for path, _reason in refusal.violations] != ["page_token"]:
            raise
    query.page_token = ""
    return clients().open_data.ListPublicServices(query)


def is_housing(service: d.Service) -> bool:
    return any(code.partition(".")[0] == HOUSING for code in service.need_codes)


def hide_places_of_housing(services: Iterable[o.PublicService]) -> list[o.PublicService]:
    """Clears the places and the description of housing. Returns the services."""
    public_services = list(services)
    for housing in (public for public in public_services if is_housing(public.service)):
        housing.ClearField("service_at_locations")
        for field in ("description", "department", "country"):
            housing.service.ClearField(field)
    return public_services


@pages.blueprint.app_template_global()
def website(organization: d.Organization) -> str:
    """Returns the web address of an organisation; "" if it is not an http address."""
    return organization.url if organization.url.startswith(("https://", "http://")) else ""


@pages.blueprint.app_template_global("open_hours")
def hours(schedules: Iterable[d.Schedule]) -> list[str]:
    """Returns the opening hours that are valid today, as texts.

    If some schedules are not weekly, the last text only says that there are other days.
    """
    today = i18n.today().isoformat()
    valid_schedules = [
        schedule
        for schedule in schedules
        if (schedule.valid_from or today) <= today <= (schedule.valid_to or today)
    ]
    weekly_schedules = [
        schedule for schedule in valid_schedules if schedule.freq == d.FREQUENCY_WEEKLY
    ]
    return [
        *(f"{days(schedule.byday)}: {span(schedule)}" for schedule in weekly_schedules),
        *(
            [_("otros días del mes: pregunte")]
            if len(weekly_schedules) < len(valid_schedules)
            else []
        ),
    ]


def span(schedule: d.Schedule) -> str:
    return (
        _("las 24 horas")
        if schedule.opens_at == schedule.closes_at
        else f"{schedule.opens_at}–{schedule.closes_at}"
    )


def days(byday: Sequence[str]) -> str:
    """Returns days of the week in words; no days stand for all days.

    Three or more consecutive days are shown as first to last.
    """
    indices = sorted(WEEK.index(day) for day in set(byday) if day in WEEK)
    if len(indices) in (0, 7):
        return _("todos los días")
    day_names = [words.word("weekday", WEEK[number]) for number in indices]
    return (
        _("%(first)s a %(last)s", first=day_names[0], last=day_names[-1])
        if len(indices) > 2 and indices[-1] - indices[0] == len(indices) - 1
        else ", ".join(day_names)
    )

"""The directory: search, the page of an organisation, and free places reported with one tap.

Search terms never appear in a URL.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from functools import partial
from typing import Any

from flask import abort, redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from chassis.errors import Stale
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as lo
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import directory, lists, names, workers
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import forms, pictures
from services.gateway.site.shell import access, session

pages = access.Pages("directory")
# the requests of a coordinator's steps about a member, by verb; each step is a single rpc
STEPS: Mapping[str, Callable[..., Message]] = {
    "confirm": d.ConfirmOrganizationChangeRequest,
    "drop": d.DropOrganizationChangeRequest,
    "approve": d.ApproveOrganizationRequest,
    "admit": d.AdmitOrganizationRequest,
    "reject": d.RejectApplicationRequest,
    "evidence": partial(d.RecordEvidenceRequest, evidence=d.Evidence()),
    "propose": lambda id: d.ProposeOrganizationChangeRequest(
        organization=d.Organization(id=id),
        update_mask=FieldMask(paths=["type", "country", "hotline_number"]),
    ),
}
# the filters that are folded unless one of them is set
FOLDED_FILTERS = set("need_code country department language gender age dependants".split())
ANSWERED_WITHIN = timedelta(days=14)  # the time within which an applicant is promised an answer


@pages.get("/directory", access.EVERYONE)
def search(
    question: d.SearchServicesRequest | None = None,
    answer: d.SearchServicesResponse | None = None,
    errors: forms.Problems = forms.NO_PROBLEMS,
) -> str:
    """Shows the search form, with the answer to a search.

    Without a search, shows some needs as starting points, and the services of the reader's own
    organisation. `answer` is None if nothing was searched for, or the search failed.
    """
    question = question or d.SearchServicesRequest()
    has_searched = answer is not None or errors
    counts = {row.department: row.count for row in answer.departments} if answer else {}
    return render_template(
        "directory.html",
        question=question,
        answer=answer,
        chips=chips(question),
        counts=counts,
        counted=question.count_country,
        map_=pictures.map_of(question.count_country, counts) if counts else None,
        own=[] if has_searched else directory.services_of(session.me().organization_id),
        narrowed={field.name for field, _value in question.ListFields()} & FOLDED_FILTERS,
        errors=errors,
    )


def filters(question: d.SearchServicesRequest) -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns the filters that one tap turns on or off: label, and fields of the question."""
    department = session.me().department
    return {
        "room": (_("Hay lugar"), {"has_room": True}),
        "open": (_("Abierto ahora"), {"open_now": True}),
        # the department may be in another country than the one that was chosen before
        **(
            {"here": (words.department(department), {"department": department, "country": ""})}
            if department
            else {}
        ),
        "mothers": (
            _("Mujeres con hijos"),
            {"gender": d.GENDER_FEMININE, "dependants": max(1, question.dependants)},
        ),
    }


def chips(question: d.SearchServicesRequest) -> list[tuple[str, str, bool]]:
    """Returns the filters: name, label, and whether the filter is on."""
    return [
        (name, label, all(getattr(question, field) == value for field, value in fields.items()))
        for name, (label, fields) in filters(question).items()
    ]


def toggle_filter(question: d.SearchServicesRequest, chip: str) -> None:
    """Turns the filter of a chip on, or off if it was on."""
    names_on = {name for name, _label, is_on in chips(question) if is_on}
    _label, fields = filters(question).get(chip, ("", {}))
    for field, value in fields.items():
        if chip in names_on:
            question.ClearField(field)  # type: ignore[arg-type]
        else:
            setattr(question, field, value)


@pages.post("/directory", access.EVERYONE)
def results() -> str | tuple[str, int]:
    """Shows the services that fit. A form, not a link, requests each further page."""
    rpc_request = d.SearchServicesRequest(page_size=25, page_token=forms.text("page"))
    try:
        toggle_filter(forms.filled(rpc_request), forms.text("chip"))
        # the map shows the country of the query; the service refuses an unknown country
        country = rpc_request.country or rpc_request.department.partition("-")[0]
        is_country = country in i18n.locale().territories
        rpc_request.count_country = country if is_country else session.me().country
        return search(rpc_request, clients().directory.SearchServices(rpc_request))
    except forms.SHOWN_IN_PLACE as refusal:
        return search(rpc_request, errors=forms.problems(refusal)), 422


@pages.get("/directory/organizations/<identifier>", access.EVERYONE)
def organization(
    identifier: str, errors: forms.Problems = forms.NO_PROBLEMS, verb: str = ""
) -> str:
    """Shows one member and its services.

    `verb`, the refused step, is ignored, because the problems show which step was refused.
    """
    return render_template(
        "organization.html",
        organization=clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier)),
        services=directory.services_of(identifier),
        errors=errors,
    )


@pages.post("/directory/organizations/<identifier>/<verb>", access.NETWORK, again=organization)
def vet(identifier: str, verb: str) -> access.Answer:
    """Takes a coordinator's step about a member.

    This includes proposing and confirming steps that two coordinators decide.
    """
    if verb == "invite":
        # A small organisation's first manager also works with people.
        if page_on_paper := workers.invite(("manager", "worker"), identifier):
            return page_on_paper
    # This reset is for the only manager of an organisation, because no other manager can do it.
    elif verb == "second-factor":
        workers.reset_second_factor(forms.text("worker"))
    elif verb in STEPS:
        send(forms.filled(STEPS[verb](id=identifier)))
    else:
        abort(404)
    done = {"invite": "invited", "second-factor": "second_factor_reset"}.get(verb, "saved")
    return redirect(url_for("directory.organization", identifier=identifier, done=done), 303)


@pages.post(
    "/directory/organizations/<identifier>/leave",
    access.NETWORK | access.MANAGERS,
    again=organization,
)
def leave(identifier: str) -> access.Answer:
    """Ends the membership of the manager's own organisation.

    For any other organisation, a coordinator proposes the end, or agrees to it. A reader whose own
    organisation has left is redirected to the home page.
    """
    if not forms.flag("sure"):
        forms.refuse({"_form": _("Marque que lo decidieron así.")})
    send(forms.filled(d.LeaveOrganizationRequest(id=identifier)))
    if identifier == session.me().organization_id:
        return redirect(url_for("home.home"), 303)
    return redirect(url_for("directory.organization", identifier=identifier, done="saved"), 303)


SOON = timedelta(days=60)
_BOARD = (
    d.ORGANIZATION_STATUS_APPLIED,
    d.ORGANIZATION_STATUS_PROBATION,
    d.ORGANIZATION_STATUS_SUSPENDED,
)


@pages.get("/directory/members", access.NETWORK)
def members() -> str:
    """Shows all members to the coordinator.

    The first page, if all members are shown, also lists the members that wait for an action, and
    the services whose entries may be out of date (`doubtful`).
    """
    status = words.number("organization_status", request.args.get("status", ""))
    answer = clients().directory.ListOrganizations(
        d.ListOrganizationsRequest(
            page_size=100,
            page_token=request.args.get("page", ""),
            status=d.OrganizationStatus.ValueType(status),
        )
    )
    is_first_page = not (status or request.args.get("page"))
    scores = (
        lists.all_of(lo.ListTruthScoresRequest(doubtful=True)) if is_first_page else lists.Rows()
    )
    return render_template(
        "members.html",
        organizations=answer.organizations,
        status=request.args.get("status", ""),
        next_page=answer.next_page_token,
        board={
            words.code("organization_status", state): lists.all_of(
                d.ListOrganizationsRequest(status=state)
            )
            for state in _BOARD
        }
        if is_first_page
        else {},
        waiting=lists.all_of(d.ListOrganizationsRequest(waits_for_second=True))
        if is_first_page
        else [],
        ending=lists.all_of(
            d.ListOrganizationsRequest(agreement_expire_before_date=str(i18n.today() + SOON))
        )
        if is_first_page
        else [],
        doubtful=scores,
        names=names.names(
            (score.organization_id for score in scores), (score.service_id for score in scores)
        ),
        waits_too_long=lambda organization: (
            i18n.now() - organization.create_time.ToDatetime(tzinfo=UTC) > ANSWERED_WITHIN
        ),
    )


@pages.form("/capacity/<identifier>", access.CARE)
def capacity(identifier: str) -> access.Answer:
    """Shows the form for free places, and records their number.

    The number is typed, or follows from one of three buttons.
    """
    service = session.own(clients().directory.GetService(d.GetServiceRequest(id=identifier)))
    errors: dict[str, str] = {}
    if request.method == "POST":
        reported_capacity = d.Capacity(unit=service.capacity.unit or d.CAPACITY_UNIT_PLACES)
        is_today = forms.text("back") == "today"
        try:
            rpc_request = forms.filled(
                d.SetCapacityRequest(id=identifier, capacity=reported_capacity)
            )
            room = rpc_request.capacity
            # The form of a full service has the number 0. If its worker says that there is room,
            # the 0 is out of date.
            if room.intake == d.INTAKE_OPEN and not room.available and not is_today:
                room.ClearField("available")
            send(rpc_request)
            if is_today:
                return redirect(url_for("today.today", done="capacity"), 303)
            return redirect(
                url_for("directory.capacity", identifier=identifier, done="capacity"), 303
            )
        except Stale:  # "one more" and "one fewer" refer to the number that the form showed
            errors = {
                "_form": _(
                    "Otra persona acaba de decirlo: mire cuánto lugar dice ahora, y corríjalo si no"
                    " es así."
                )
            }
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    return render_template("capacity.html", service=service, errors=errors), 422 if errors else 200

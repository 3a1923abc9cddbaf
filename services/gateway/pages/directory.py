"""The directory: search (the words never enter an address), an organisation's page, and room in one tap."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos.partners.v1 import directory_pb2 as d
from services.gateway import forms, session, words
from services.gateway.clients import clients

blueprint = Blueprint("directory", __name__)


def own_services() -> list[d.Service]:
    """The services of the reader's own organisation."""
    question = d.SearchServicesRequest(organization_id=session.me().organization_id, page_size=100)
    return list(clients().directory.SearchServices(question).services)


@blueprint.get("/directory")
def search() -> str:
    """The form, and one's own services with their room."""
    return render_template("directory.html", question=None, answer=None, own=own_services(), errors={})


@blueprint.post("/directory")
def results() -> str | tuple[str, int]:
    """What fits; each page of it is asked for by the form again."""
    question = d.SearchServicesRequest(
        words=forms.text("words", 200),
        need_code=forms.text("need_code"),
        country=forms.text("country"),
        department=forms.text("department"),
        language=forms.text("language"),
        has_room=forms.flag("has_room"),
        page_size=25,
        page_token=forms.text("page"),
    )
    if (age := forms.whole("age")) is not None:
        question.age = age
    if (dependants := forms.whole("dependants")) is not None:
        question.dependants = dependants
    try:
        answer = clients().directory.SearchServices(question)
    except forms.SHOWN_IN_PLACE as refusal:
        return render_template("directory.html", question=question, answer=None, own=[], errors=forms.problems(refusal)), 422
    return render_template("directory.html", question=question, answer=answer, own=[], errors={})


@blueprint.get("/directory/organizations/<identifier>")
def organization(identifier: str) -> str:
    """One member and what it offers."""
    found = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    services = clients().directory.SearchServices(d.SearchServicesRequest(organization_id=identifier, page_size=100)).services
    return render_template("organization.html", organization=found, services=services)


@blueprint.post("/directory/organizations/<identifier>/<verb>")
def vet(identifier: str, verb: str) -> Response:
    """The coordinator's three steps in the life of a member."""
    directory, once = clients().directory, forms.request_id()
    if verb == "approve":
        directory.ApproveOrganization(d.ApproveOrganizationRequest(id=identifier, etag=forms.etag(), request_id=once))
    elif verb == "suspend":
        directory.SuspendOrganization(d.SuspendOrganizationRequest(id=identifier, etag=forms.etag(), request_id=once))
    elif verb == "reinstate":
        directory.ReinstateOrganization(d.ReinstateOrganizationRequest(id=identifier, etag=forms.etag(), request_id=once))
    else:
        abort(404)
    return redirect(url_for("directory.organization", identifier=identifier, done="saved"), 303)


@blueprint.get("/directory/members")
def members() -> str:
    """All members, for the coordinator: who is on probation first."""
    status = words.number("organization_status", request.args.get("status", ""))
    answer = clients().directory.ListOrganizations(
        d.ListOrganizationsRequest(page_size=100, page_token=request.args.get("page", ""), status=d.OrganizationStatus.ValueType(status))
    )
    return render_template(
        "members.html", organizations=answer.organizations, status=request.args.get("status", ""), next_page=answer.next_page_token
    )


@blueprint.route("/capacity/<identifier>", methods=["GET", "POST"])
def capacity(identifier: str) -> Response | str | tuple[str, int]:
    """How much room there is: a number and one of three buttons."""
    service = clients().directory.GetService(d.GetServiceRequest(id=identifier))
    if service.organization_id != session.me().organization_id:
        abort(404)
    errors: dict[str, str] = {}
    if request.method == "POST":
        said = d.Capacity(intake=d.Intake.ValueType(words.number("intake", forms.text("intake"))), unit=service.capacity.unit or "places")
        for name in ("available", "maximum"):
            if (number := forms.whole(name)) is not None:
                setattr(said, name, number)
        try:
            clients().directory.SetCapacity(d.SetCapacityRequest(id=identifier, capacity=said, request_id=forms.request_id()))
            return redirect(url_for("directory.capacity", identifier=identifier, done="capacity"), 303)
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    page = render_template("capacity.html", service=service, errors=errors)
    return (page, 422) if errors else page

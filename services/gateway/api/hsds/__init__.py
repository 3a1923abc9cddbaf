"""Open data: the public part of the directory as an HSDS 3 API, below /hsds, for anybody.

HSDS is described at https://docs.openreferral.org. The API is read-only and needs no credential; as
on every public route, requests are counted by IP address. A page of any other site may read the
API, because the answers are the same for all and no cookie is read. Lists can be requested by POST,
too, because the parameters of a POST never appear in a URL or a log.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, current_app, g, request
from google.protobuf.message import Message

from chassis.errors import Invalid, NotFound
from chassis.shape import FORBIDDEN
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.api.answers import json_response
from services.gateway.api.hsds import objects
from services.gateway.api.reading import Nothing, Parser, admit
from services.gateway.edge import limits
from services.gateway.edge.clients import clients, send
from services.gateway.edge.problems import problem

PREFIX = "/hsds"
CACHE_CONTROL = "public, max-age=300"
MAX_PAGE_SIZE, MAX_SEARCH_LENGTH = 200, 200  # objects, characters
_PAGE_PARAMETERS = frozenset({"search", "page", "per_page", "format"})
_FILTER_PARAMETERS = _PAGE_PARAMETERS | {
    "taxonomy_term_id",
    "taxonomy_id",
    "organization_id",
    "modified_after",
    "full",
}
_NUMBER, _FLAGS = re.compile(r"[0-9]{1,6}\Z"), {"true": True, "false": False}
Parameters = dict[str, str]
blueprint = Blueprint("hsds", __name__, url_prefix=PREFIX)
blueprint.register_error_handler(Exception, problem)


@blueprint.errorhandler(Invalid)
def refuse(error: Invalid) -> Response:
    """Returns the problem of wrong parameters. HSDS calls the size of a page `per_page`."""
    names = {"page_size": "per_page"}
    return problem(Invalid(*((names.get(name, name), reason) for name, reason in error.violations)))


@blueprint.before_request
def begin() -> None:
    """Admits the request without a credential. Refuses parameters unless it is for a list."""
    admit(needs_credential=False)
    if request.view_args or request.path == PREFIX:
        _query_parameters(())


@blueprint.after_request
def finish(response: Response) -> Response:
    """Adds the headers that let caches and other sites use the answer.

    This is safe, because the answer is the same for all readers.
    """
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"  # of the body of a POST
    if response.status_code == 200:
        response.add_etag()
        response.make_conditional(request)
    if response.status_code in (200, 304) and request.method in ("GET", "HEAD"):
        response.headers["Cache-Control"] = g.cache_control = CACHE_CONTROL
    return limits.add_headers(response)


@blueprint.get("")
def about() -> Response:
    """Describes this API."""
    public = str(current_app.config.get("PUBLIC_URL") or request.host_url).rstrip("/")
    return json_response(
        {
            "version": objects.VERSION,
            "profile": "https://docs.openreferral.org/en/latest/hsds/schema_reference.html",
            "openapi_url": "https://raw.githubusercontent.com/openreferral/specification/3.0/schema/openapi.json",
            "description": (
                "Services for survivors of human trafficking that want to be found by anybody."
                " Times of day are those of the place."
            ),
            "publisher": {"name": "Enlace", "website": f"{public}/"},
        }
    )


@blueprint.route("/services", methods=["GET", "POST"])
def services() -> Response:
    """Returns a page of services."""
    parameters = _query_parameters(_FILTER_PARAMETERS | {"minimal"})
    return _filtered_page(parameters, o.ListPublicServicesRequest, objects.service)


@blueprint.get("/services/<identifier>")
def service(identifier: str) -> Response:
    """Returns one service, with everything that belongs to it."""
    return json_response(
        objects.service(
            clients().open_data.GetPublicService(o.GetPublicServiceRequest(id=_id(identifier))),
            _terms(),
            full=True,
        )
    )


@blueprint.route("/organizations", methods=["GET", "POST"])
def organizations() -> Response:
    """Returns a page of organisations that offer a public service."""
    parameters = _query_parameters(_PAGE_PARAMETERS | {"full", "full_service"})
    number, size = _paging(parameters)
    full = _flag(parameters, "full") or _flag(parameters, "full_service")
    answer = clients().open_data.ListPublicOrganizations(
        o.ListPublicOrganizationsRequest(
            page=number, page_size=size, words=parameters.get("search", "")
        )
    )
    return _page(
        [objects.organization(organization, full=full) for organization in answer.organizations],
        answer.total_size,
        parameters,
    )


@blueprint.get("/organizations/<identifier>")
def organization(identifier: str) -> Response:
    """Returns one organisation."""
    answer = clients().open_data.ListPublicOrganizations(
        o.ListPublicOrganizationsRequest(organization_id=_id(identifier))
    )
    if not answer.organizations:
        raise NotFound
    return json_response(objects.organization(answer.organizations[0], full=True))


@blueprint.route("/service_at_locations", methods=["GET", "POST"])
def service_at_locations() -> Response:
    """Returns a page of services at their locations."""
    parameters = _query_parameters(_FILTER_PARAMETERS)
    return _filtered_page(
        parameters, o.ListPublicServiceAtLocationsRequest, objects.service_at_location
    )


@blueprint.get("/service_at_locations/<identifier>")
def service_at_location(identifier: str) -> Response:
    """Returns one service at a location."""
    answer = clients().open_data.ListPublicServiceAtLocations(
        o.ListPublicServiceAtLocationsRequest(id=_id(identifier))
    )
    if not answer.services:
        raise NotFound
    return json_response(objects.service_at_location(answer.services[0], _terms(), full=True))


@blueprint.route("/taxonomies", methods=["GET", "POST"])
def taxonomies() -> Response:
    """Returns a page with the only taxonomy."""
    return _page_of([objects.taxonomy()], _query_parameters(_PAGE_PARAMETERS))


@blueprint.get("/taxonomies/<identifier>")
def taxonomy(identifier: str) -> Response:
    """Returns the taxonomy."""
    if _id(identifier) != UUID(objects.TAXONOMY_ID).hex:
        raise NotFound
    return json_response(objects.taxonomy())


@blueprint.route("/taxonomy_terms", methods=["GET", "POST"])
def taxonomy_terms() -> Response:
    """Returns a page of the taxonomy's codes."""
    parameters = _query_parameters(_PAGE_PARAMETERS | {"taxonomy_id", "top_only", "parent_id"})
    parent = parameters.get("parent_id", "").lower()
    terms = [objects.term(term) for term in _terms().values()]
    if parameters.get("taxonomy_id", objects.TAXONOMY_ID).lower() != objects.TAXONOMY_ID:
        terms = []
    if _flag(parameters, "top_only"):
        terms = [term for term in terms if "parent_id" not in term]
    return _page_of(
        [term for term in terms if not parent or term.get("parent_id") == parent], parameters
    )


@blueprint.get("/taxonomy_terms/<identifier>")
def taxonomy_term(identifier: str) -> Response:
    """Returns one code of the taxonomy."""
    term_uuid = str(UUID(_id(identifier)))
    for term in _terms().values():
        if objects.term_id(term.code) == term_uuid:
            return json_response(objects.term(term))
    raise NotFound


# --- requests


def _query_parameters(allowed_names: Iterable[str]) -> Parameters:
    """Returns the parameters of the request, from its URL and from the JSON body of a POST.

    Refuses unknown and repeated parameters, and values other than texts, whole numbers and
    booleans, because an answer that ignored a parameter would be mistaken for the right answer.
    """
    body: Any = {}
    if request.method == "POST" and request.get_data(cache=True):
        body = Parser().load_json(request, Nothing())
        if not isinstance(body, dict):
            raise Invalid(("", "malformed"))
    values: dict[str, list[Any]] = request.args.to_dict(flat=False)
    for name, value in body.items():
        values.setdefault(name, []).append(value)
    violations = [
        (name if re.fullmatch(r"[a-z_]{1,40}", name) else "", "unknown_field")
        for name in values
        if name not in allowed_names
    ]
    violations += [
        (name, "malformed")
        for name, (first, *others) in values.items()
        if name in allowed_names
        and (others or not isinstance(first, (str, int)) or FORBIDDEN.search(str(first)))
    ]
    parameters = {
        name: str(first).lower() if isinstance(first, bool) else str(first)
        for name, (first, *_others) in values.items()
    }
    if len(parameters.get("search", "")) > MAX_SEARCH_LENGTH:
        violations.append(("search", "too_long"))
    if parameters.get("format", "json") != "json":
        violations.append(("format", "unknown_code"))
    if violations:
        raise Invalid(*dict.fromkeys(violations))
    return parameters


def _paging(parameters: Parameters) -> tuple[int, int]:
    page, size = parameters.get("page", "1"), parameters.get("per_page", "50")
    violations = [
        (name, "out_of_range")
        for name, text, maximum in (("page", page, 1_000_000), ("per_page", size, MAX_PAGE_SIZE))
        if not _NUMBER.match(text) or not 1 <= int(text) <= maximum
    ]
    if violations:
        raise Invalid(*violations)
    return int(page), int(size)


def _filter_fields(parameters: Parameters) -> tuple[dict[str, Any], bool]:
    """Returns the fields of the request to the service, and whether the result must be empty.

    The result must be empty if the taxonomy, term or organisation is unknown.
    """
    number, size = _paging(parameters)
    fields: dict[str, Any] = {
        "page": number,
        "page_size": size,
        "words": parameters.get("search", ""),
    }
    is_empty = parameters.get("taxonomy_id", objects.TAXONOMY_ID).lower() != objects.TAXONOMY_ID
    if filter_value := parameters.get("taxonomy_term_id", ""):
        codes = [code for code in _terms() if filter_value in (code, objects.term_id(code))]
        fields["need_code"] = codes[0] if codes else ""
        is_empty |= not codes
    if filter_value := parameters.get("organization_id", ""):
        try:
            fields["organization_id"] = _id(filter_value)
        except NotFound:
            is_empty = True
    return fields, is_empty


def _with_modified_after(rpc_request: Any, parameters: Parameters) -> Any:
    if text := parameters.get("modified_after", ""):
        try:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            rpc_request.modified_after.FromDatetime(moment.astimezone(UTC))
        except (ValueError, OverflowError) as error:
            raise Invalid(("modified_after", "malformed")) from error
    return rpc_request


def _flag(parameters: Parameters, name: str) -> bool:
    if parameters.get(name, "false") not in _FLAGS:
        raise Invalid((name, "malformed"))
    return _FLAGS[parameters.get(name, "false")]


def _id(text: str) -> str:
    """Converts a UUID, with hyphens or without, to our id. Raises NotFound for any other text."""
    try:
        return UUID(text).hex
    except ValueError as error:
        raise NotFound from error


def _terms() -> dict[str, d.TaxonomyTerm]:
    """Returns the taxonomy's terms by code. The terms change only with a release."""
    return {
        term.code: term
        for term in clients().directory.ListTaxonomyTerms(d.ListTaxonomyTermsRequest()).terms
    }


# --- answers


def _filtered_page(
    parameters: Parameters, rpc_request: Callable[..., Message], convert: Callable[..., Any]
) -> Response:
    """Returns a page of the services that match the parameters.

    `convert` converts a service, unless the request asks only for ids and dates (`minimal`).
    """
    fields, is_empty = _filter_fields(parameters)
    if is_empty:
        return _page([], 0, parameters)
    answer = send(_with_modified_after(rpc_request(**fields), parameters))
    show = (
        objects.minimal
        if _flag(parameters, "minimal")
        else partial(convert, terms=_terms(), full=_flag(parameters, "full"))
    )
    return _page([show(service) for service in answer.services], answer.total_size, parameters)


def _page_of(entries: list[dict[str, Any]], parameters: Parameters) -> Response:
    number, size = _paging(parameters)
    words = parameters.get("search", "").casefold()
    entries = [
        entry for entry in entries if words in f"{entry['name']} {entry['description']}".casefold()
    ]
    return _page(entries[(number - 1) * size : number * size], len(entries), parameters)


def _page(contents: list[dict[str, Any]], total: int, parameters: Parameters) -> Response:
    number, size = _paging(parameters)
    page_count = -(-total // size)
    return json_response(
        {
            "total_items": total,
            "total_pages": page_count,
            "page_number": number,
            "size": len(contents),
            "first_page": number == 1,
            "last_page": number >= page_count,
            "empty": not contents,
            "contents": contents,
        }
    )

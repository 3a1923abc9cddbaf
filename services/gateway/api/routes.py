"""How a route of the API is declared: an rpc of the contract, what its body or query may hold, and what it answers.

All else is the .proto's: method and path, the right, headers, refusals (see binding). The service decides, in the caller's own name; here the right says
only whether a credential is needed at all, and stands in the OpenAPI and on the docs page.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from flask import Flask, Response, g, request
from flask_smorest import Blueprint
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from marshmallow import Schema
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from chassis.contract import words_of
from chassis.errors import Invalid, Refusal
from services.gateway import origin
from services.gateway.api import deprecation
from services.gateway.api.answers import PREFIX, listed, nothing, thing
from services.gateway.api.binding import Binding, bindings
from services.gateway.api.convert import is_map, to_json
from services.gateway.api.reading import MERGE_PATCH, Nothing, Parser, admit
from services.gateway.api.spec import response_name
from services.gateway.problems import problem

Given = dict[str, Any]
View = Callable[..., Response]


class Opaque(BaseConverter):
    """An id in a path: what has another shape can't exist."""

    regex = r"[A-Za-z0-9_-]{1,64}"


class Routes(Blueprint):  # type: ignore[misc]
    """The routes of one noun: rpcs of one service of the contract."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, noun: str, description: str, service: ServiceDescriptor) -> None:
        super().__init__(noun, __name__, description=description)
        self._service = service

    def rpc(
        self,
        name: str,
        summary: str,
        more: str = "",
        *,
        answers: type[Schema] | None,
        takes: type[Schema] | None = None,
        query: type[Schema] | None = None,
        operation_id: str = "",
        verb: str = "",
        etag_needed: bool = True,
        said: Callable[[Message], Given] = to_json,
        moves: bool = False,
        service: ServiceDescriptor | None = None,
    ) -> None:
        """Adds the route of an rpc. Method, path, right, headers and refusals are those of its .proto.

        `takes` and `query` are what is let through of body and query. `verb` chooses among several ways to ask it, `operation_id` names that one.
        `said` is what is said of a message, where that is not the message itself; `moves` of one that may
        change without a new etag, and so is never 304; `service` is the rpc's, where it is another than the noun's.
        """
        method = (service or self._service).methods_by_name[name]
        binding = next(each for each in bindings(method) if verb in ("", each.verb))

        def view(given: Given | None = None, **variables: str) -> Response:
            if "too_many_attempts" in binding.rules.refusals:  # who guesses is counted by where she is; nobody else's address travels
                origin.tell()
            request = binding.request(given or {}, variables, etag_needed=etag_needed)
            return answer_of(binding, binding.ask(request), said, moves)

        view.__name__ = operation_id or words_of(name)
        view.__doc__ = f"{summary}\n\n{more}" if more else summary
        self._declare(binding, view, answers=answers, takes=takes, query=query, etag_needed=etag_needed)

    def _declare(
        self,
        binding: Binding,
        view: View,
        *,
        answers: type[Schema] | None,
        takes: type[Schema] | None,
        query: type[Schema] | None,
        etag_needed: bool,
    ) -> None:
        method = binding.verb.upper()
        status = 201 if binding.creates else 204 if answers is None else 200
        needed = takes is not None and needs_body(takes, method, status)
        etag = etag_needed if binding.takes_etag else None
        inner: View = self.response(status, answers)(view)
        if takes is not None:
            kind = MERGE_PATCH if method == "PATCH" else "application/json"
            inner = self.arguments(takes, location="json", required=needed, content_type=kind)(inner)
        if query is not None:
            inner = self.arguments(query, location="query")(inner)
        about = {"x-right": binding.right, "x-refusals": sorted(binding.rules.refusals), **deprecation.said(binding.rules)}
        inner = self.doc(operationId=view.__name__, **about, **({"security": []} if binding.rules.public else {}))(inner)
        for refusal in statuses(binding, takes or query, etag):
            inner = self.alt_response(refusal, response=response_name(refusal))(inner)
        if method == "GET":
            inner = self.alt_response(304, response="NOT_MODIFIED")(inner)

        @wraps(inner)
        def admitted(*args: Any, **kwargs: Any) -> Response:
            deprecation.tell(binding.rules)
            admit(needs_credential=not binding.rules.public)
            g.wrapped_in = binding.body
            if takes is not None and needed and not request.get_data(cache=True):
                raise Invalid(("", "required"))  # webargs would take what is missing for {}
            if takes is None and method != "GET":
                self.ARGUMENTS_PARSER.parse(Nothing, request, location="json")
            return inner(*args, **kwargs)

        named = {
            "IDEMPOTENCY_KEY": binding.is_repeatable,
            "IF_MATCH": etag is True,
            "IF_MATCH_OPTIONAL": etag is False,
            "IF_NONE_MATCH": method == "GET",
        }
        admitted._apidoc["headers"] = [name for name, needed in named.items() if needed]  # type: ignore[attr-defined]
        self.route(binding.rule, methods=[method], tags=[self.name], endpoint=view.__name__)(admitted)


def answer_of(binding: Binding, message: Message, said: Callable[[Message], Given], moves: bool) -> Response:
    """What a route answers: nothing, a list or a page of one, one thing, or one thing with what is said once beside it."""
    fields = message.DESCRIPTOR.fields
    if not fields:
        return nothing()
    listing = next((field for field in fields if field.message_type and field.is_repeated and not is_map(field)), None)
    rest: Given = {field.name: getattr(message, field.name) for field in fields if not field.message_type}
    if (
        listing is not None
        and message.DESCRIPTOR.name.endswith("Response")
        and rest.keys() <= {"next_page_token", "total_size"}
        and len(rest) == len(fields) - 1
    ):
        token = rest.pop("next_page_token", "")
        return listed([said(each) for each in getattr(message, listing.name)], token, rest)
    inner = next((field for field in fields if field.message_type and "id" in field.message_type.fields_by_name), None)
    if inner is not None and "id" not in rest and len(rest) == len(fields) - 1:
        made = getattr(message, inner.name)
        return thing({**said(made), **rest}, status=201 if binding.creates else 200, location=binding.where(made))
    return thing(
        said(message),
        status=201 if binding.creates else 200,
        location=binding.where(message) if binding.creates else "",
        moves=moves,
    )


def add_headers(doc: dict[str, Any], doc_info: dict[str, Any], **_others: Any) -> dict[str, Any]:
    """Adds a route's headers to its OpenAPI; last, for flask-smorest sets parameters anew from the schemas."""
    if doc_info.get("headers"):
        doc.setdefault("parameters", []).extend(doc_info["headers"])
    return doc


def needs_body(schema: type[Schema], method: str, status: int) -> bool:
    """Whether the body can't be left out: what changes or makes something says what, if only {}."""
    return method in ("PATCH", "PUT") or status == 201 or any(field.required for field in schema._declared_fields.values())


def statuses(binding: Binding, given: type[Schema] | None, etag: bool | None) -> list[int]:
    """The refusals a route has by what it takes and by what its rpc refuses."""
    found = {429, 503} | binding.statuses
    found |= set() if binding.rules.public else {401, 403}
    found |= {404} if binding.variables else set()
    found |= {400} if given or binding.is_repeatable else set()
    found |= {422} if binding.is_repeatable else set()
    found |= {412, 428} if etag else ({412} if etag is False else set())
    return sorted(found)


def install(app: Flask, nouns: Sequence[Routes]) -> Blueprint:
    """Registers the nouns below /api/v1 and answers what no route answers: unknown paths and wrong methods are problems too."""
    app.url_map.converters["opaque"] = Opaque

    def no_route() -> Response | None:
        if request.path.startswith("/api/") and isinstance(request.routing_exception, HTTPException):
            return problem(request.routing_exception)
        return None

    app.before_request(no_route)
    root = Blueprint("api", __name__, url_prefix=PREFIX)
    root._prepare_doc_cbks.append(add_headers)
    for kind in (Refusal, HTTPException, Exception):
        root.register_error_handler(kind, problem)
    for noun in nouns:
        root.register_blueprint(noun)
    app.register_blueprint(root)
    return root

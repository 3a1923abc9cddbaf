"""The routes of the API, each made from an rpc of the contract.

Method, path, right, headers and refusals come from binding.py, the schemas from schemas.py. The
service decides whether the caller may make the call. Here, the right only tells whether a
credential is needed at all, and is shown in the OpenAPI document and on the docs page.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from flask import Flask, Response, g, request
from flask_smorest import Blueprint
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from marshmallow import Schema
from werkzeug.routing import BaseConverter

from chassis.contract import words_of
from chassis.errors import Invalid
from protos.stubs import SERVICES
from services.gateway.api import deprecation, schemas, sent_back
from services.gateway.api.answers import PREFIX, list_response, resource_response
from services.gateway.api.binding import Binding, JsonObject, bindings
from services.gateway.api.convert import to_json
from services.gateway.api.reading import MERGE_PATCH, Nothing, Parser, admit
from services.gateway.api.spec import documented_headers, response_name
from services.gateway.edge import bodies, limits, origin
from services.gateway.edge.comments import comment
from services.gateway.edge.problems import problem

View = Callable[..., Response]


ID = "[A-Za-z0-9_-]{1,64}"
_PATHS = [
    binding.path for service in SERVICES for rpc in service.methods for binding in bindings(rpc)
]
_WORDS = {part for path in _PATHS for part in path.split("/") if part and "{" not in part}


class Opaque(BaseConverter):
    """An id in a path.

    Every id has this shape. A word that is a fixed part of some path is not accepted as an id;
    otherwise a method that exists only for ids would also be accepted on that fixed path.
    """

    regex = rf"(?!(?:{'|'.join(sorted(_WORDS))})\Z){ID}"


class Routes(Blueprint):  # type: ignore[misc]
    """The routes of one service of the contract: every REST binding of its rpcs.

    The schemas are made from the rpcs' messages.
    """

    ARGUMENTS_PARSER = Parser()

    def __init__(self, service: ServiceDescriptor) -> None:
        super().__init__(words_of(service.name), __name__, description=comment(service))
        for rpc in service.methods:
            for binding in bindings(rpc):
                self._add(binding)

    def _add(self, binding: Binding) -> None:
        method = binding.verb.upper()
        body_schema = schemas.body(binding)
        query_schema = schemas.query(binding)
        answer_schema = schemas.answer(binding.rpc.output_type)
        status = 201 if binding.creates else 204 if answer_schema is None else 200
        requires_body = body_schema is not None and needs_body(body_schema, method, status)

        def view(input_values: JsonObject | None = None, **variables: str) -> Response:
            # The service counts wrong guesses by the IP address that they come from. Only calls
            # that can be a guess carry that address.
            if "too_many_attempts" in binding.rules.refusals:
                origin.attach()
            return answer_of(binding, binding.ask(binding.request(input_values or {}, variables)))

        view.__name__ = binding.operation_id
        summary, _, description = comment(binding.rpc).partition(". ")
        view.__doc__ = (
            f"{summary.removesuffix('.')}\n\n{description}"
            if description
            else summary.removesuffix(".")
        )
        inner: View = self.response(
            status,
            answer_schema,
            headers=documented_headers(*answer_headers(binding, answer_schema)),
        )(view)
        if body_schema is not None:
            kind = MERGE_PATCH if method == "PATCH" else "application/json"
            inner = self.arguments(
                body_schema, location="json", required=requires_body, content_type=kind
            )(inner)
        if query_schema is not None:
            inner = self.arguments(query_schema, location="query")(inner)
        operation = {
            "x-right": binding.required_right,
            "x-refusals": sorted(binding.rules.refusals),
            **deprecation.openapi_entries(binding.rules),
        }
        inner = self.doc(
            operationId=view.__name__,
            **operation,
            **({"security": []} if binding.rules.public else {}),
        )(inner)

        @wraps(inner)
        def admit_and_answer(*args: Any, **kwargs: Any) -> Response:
            deprecation.add_headers(binding.rules)
            admit(needs_credential=not binding.rules.public)
            request.max_content_length = bodies.maximum_size(request.path)
            g.wrapped_in, g.request_type = binding.body, binding.rpc.input_type
            sent_back.allow(binding)
            if body_schema is not None and requires_body and not request.get_data(cache=True):
                raise Invalid(("", "required"))  # webargs would read a missing body as {}
            if body_schema is None and method != "GET":
                self.ARGUMENTS_PARSER.parse(Nothing, request, location="json")
            if query_schema is None:
                self.ARGUMENTS_PARSER.parse(Nothing, request, location="query")
            return inner(*args, **kwargs)

        accepted_headers = {
            "IDEMPOTENCY_KEY": binding.is_repeatable,
            "IF_MATCH": binding.takes_etag and binding.needs_etag,
            "IF_MATCH_OPTIONAL": binding.takes_etag and not binding.needs_etag,
            "IF_NONE_MATCH": method == "GET",
        }
        documentation: JsonObject = admit_and_answer._apidoc  # type: ignore[attr-defined]
        documentation["headers"] = [
            name for name, is_accepted in accepted_headers.items() if is_accepted
        ]
        # Does the work of flask-smorest's alt_response, which copies the whole documentation for
        # each response, schemas and headers included. The copying would take a fifth of the
        # start-up time.
        refusal_responses = {code: [response_name(code)] for code in statuses(binding)}
        documentation["response"]["responses"].update(
            refusal_responses | ({304: ["NOT_MODIFIED"]} if method == "GET" else {})
        )
        self.route(binding.flask_route, methods=[method], tags=[self.name], endpoint=view.__name__)(
            admit_and_answer
        )


def answer_of(binding: Binding, message: Message) -> Response:
    """Returns the answer of a route.

    The answer is empty, a list or a page of a list, one resource, or one resource with a value that
    is shown only once.
    """
    output = message.DESCRIPTOR
    if not output.fields:
        return Response(status=204)
    status = 201 if binding.creates else 200
    list_field, resource_field = schemas.listed_field(output), schemas.wrapped_field(output)
    if list_field is not None:
        rest: JsonObject = {
            field.name: [to_json(entry) for entry in getattr(message, field.name)]
            if field.is_repeated
            else getattr(message, field.name)
            for field in output.fields
        }
        return list_response(rest.pop(list_field.name), rest.pop("next_page_token", ""), rest)
    if resource_field is not None:
        body = to_json(message)
        return resource_response(
            {**body.pop(resource_field.name, {}), **body},
            status=status,
            location=binding.location_of(getattr(message, resource_field.name)),
        )
    return resource_response(
        to_json(message),
        status=status,
        location=binding.location_of(message) if binding.creates else "",
        unversioned=binding.rules.unversioned,
    )


def answer_headers(binding: Binding, answer_schema: Schema | None) -> Iterator[str]:
    """Yields the headers that only some answers have, by their names in spec.RESPONSE_HEADERS."""
    fields = answer_schema._declared_fields if answer_schema else {}
    if fields and (binding.verb == "get" or "etag" in fields):
        yield "ETAG"
    if binding.creates and binding.read_rpc:
        yield "LOCATION"
    if binding.verb == "get" and "next_cursor" in fields:
        yield "LINK"
    if deprecation.openapi_entries(binding.rules):
        yield from ("DEPRECATION", "SUNSET")


def add_headers(doc: dict[str, Any], doc_info: dict[str, Any], **_others: Any) -> dict[str, Any]:
    """Adds a route's headers to its entry in the OpenAPI document.

    Runs last, because flask-smorest replaces the parameters with those of the schemas.
    """
    if doc_info.get("headers"):
        doc.setdefault("parameters", []).extend(doc_info["headers"])
    return doc


def needs_body(schema: type[Schema], method: str, status: int) -> bool:
    """Returns whether the body is required.

    PATCH, PUT and an operation that creates a resource require a body, even if it is only {}. Any
    other operation requires a body if the schema does not accept {}.
    """
    return (
        method in ("PATCH", "PUT")
        or status == 201
        or schema.__name__ in schemas.FIELD_COUNT_LIMITS
        or any(field.required for field in schema._declared_fields.values())
    )


def statuses(binding: Binding) -> list[int]:
    """Returns the statuses with which a route may refuse a request."""
    return sorted(
        {400, 429, 503, 504}
        | binding.statuses
        | (set() if binding.rules.public else {401, 403})
        | ({404} if binding.variables else set())
        | ({422} if binding.is_repeatable else set())
        | ({412} if binding.takes_etag else set())
        | ({428} if binding.takes_etag and binding.needs_etag else set())
    )


def install(app: Flask, services: Sequence[Routes]) -> Blueprint:
    """Registers the routes of the services below /api/v1."""
    app.url_map.converters["opaque"] = Opaque
    root = Blueprint("api", __name__, url_prefix=PREFIX)
    root._prepare_doc_cbks.append(add_headers)
    root.after_request(limits.add_headers)
    root.register_error_handler(Exception, problem)
    for routes in services:
        root.register_blueprint(routes)
    app.register_blueprint(root)
    return root

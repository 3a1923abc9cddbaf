"""How a route of the API is declared: one line with its right, what it takes, what it answers, and which headers it needs.

The right that a route names is what the service behind it asks for; the service decides, in the caller's own name. Here it says only
whether a credential is needed at all, and stands in the OpenAPI and on the docs page. A route without a right can't be declared.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, g, request
from flask_smorest import Blueprint
from marshmallow import Schema
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from chassis.errors import Invalid, Refusal
from services.gateway.api.answers import PREFIX
from services.gateway.api.reading import MERGE_PATCH, Nothing, Parser, admit
from services.gateway.api.spec import response_name
from services.gateway.problems import problem

# Rights that are no scope of a key; the first two need no credential.
PUBLIC, REFERENCE, WORKER, MANAGER, COORDINATOR = "public", "reference and PIN", "any worker", "manager", "coordinator"
STEERING = "manager or coordinator"
OPEN = (PUBLIC, REFERENCE)

Given = dict[str, Any]
View = Callable[..., Response]
V = TypeVar("V", bound=View)


class Opaque(BaseConverter):
    """An id in a path: what has another shape can't exist."""

    regex = r"[A-Za-z0-9_-]{1,64}"


class Routes(Blueprint):  # type: ignore[misc]
    """The routes of one noun."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, noun: str, description: str, **options: Any) -> None:
        super().__init__(noun, __name__, description=description, **options)
        self._prepare_doc_cbks.append(add_headers)

    def operation(
        self,
        verb: str,
        rule: str,
        *,
        right: str,
        answers: type[Schema] | None,
        status: int = 200,
        takes: type[Schema] | None = None,
        query: type[Schema] | None = None,
        once: bool = False,
        etag: bool | None = None,
        wrapped: str = "",
        refuses: Iterable[int] = (),
    ) -> Callable[[V], V]:
        """Declares a route.

        `once`: it takes an Idempotency-Key. `etag`: it needs If-Match (False: it may have one). `wrapped`: the part of the rpc's request
        that is the body, so that field paths can be read as pointers. `refuses`: statuses beyond those that follow from the rest."""
        method = verb.upper()
        needed = takes is not None and needs_body(takes, method, status)

        def declare(view: V) -> V:
            inner: View = self.response(status, answers)(view)
            if takes is not None:
                kind = MERGE_PATCH if method == "PATCH" else "application/json"
                inner = self.arguments(takes, location="json", required=needed, content_type=kind)(inner)
            if query is not None:
                inner = self.arguments(query, location="query")(inner)
            inner = self.doc(operationId=view.__name__, **{"x-right": right}, **({"security": []} if right in OPEN else {}))(inner)
            for refusal in statuses(right, "<" in rule, takes or query, once, etag, refuses):
                inner = self.alt_response(refusal, response=response_name(refusal))(inner)
            if method == "GET":
                inner = self.alt_response(304, response="NOT_MODIFIED")(inner)

            @wraps(inner)
            def admitted(*args: Any, **kwargs: Any) -> Response:
                admit(needs_credential=right not in OPEN)
                g.wrapped_in = wrapped
                if takes is not None and needed and not request.get_data(cache=True):
                    raise Invalid(("", "required"))  # webargs would take what is missing for {}
                if takes is None and method != "GET":
                    self.ARGUMENTS_PARSER.parse(Nothing, request, location="json")
                return inner(*args, **kwargs)

            named = {
                "IDEMPOTENCY_KEY": once,
                "IF_MATCH": etag is True,
                "IF_MATCH_OPTIONAL": etag is False,
                "IF_NONE_MATCH": method == "GET",
            }
            admitted._apidoc["headers"] = [name for name, needed in named.items() if needed]  # type: ignore[attr-defined]
            self.route(rule, methods=[method], tags=[self.name], endpoint=view.__name__)(admitted)
            return view

        return declare


def add_headers(doc: dict[str, Any], doc_info: dict[str, Any], **_others: Any) -> dict[str, Any]:
    """Adds a route's headers to its OpenAPI; last, for flask-smorest sets parameters anew from the schemas."""
    if doc_info.get("headers"):
        doc.setdefault("parameters", []).extend(doc_info["headers"])
    return doc


def needs_body(schema: type[Schema], method: str, status: int) -> bool:
    """Whether the body can't be left out: what changes or makes something says what, if only {}."""
    return method in ("PATCH", "PUT") or status == 201 or any(field.required for field in schema._declared_fields.values())


def statuses(right: str, named: bool, given: type[Schema] | None, once: bool, etag: bool | None, more: Iterable[int]) -> list[int]:
    """The refusals a route has by what it takes."""
    found = {429, 503, *more}
    found |= set() if right in OPEN else {401, 403}
    found |= {404} if named else set()
    found |= {400} if given or once else set()
    found |= {422} if once else set()
    found |= {412, 428} if etag else ({412} if etag is False else set())
    return sorted(found)


def install(app: Flask, nouns: Sequence[Routes]) -> Routes:
    """Registers the nouns below /api/v1 and answers what no route answers: unknown paths and wrong methods are problems too."""
    app.url_map.converters["opaque"] = Opaque

    def no_route() -> Response | None:
        if request.path.startswith("/api/") and isinstance(request.routing_exception, HTTPException):
            return problem(request.routing_exception)
        return None

    app.before_request(no_route)
    root = Routes("api", "", url_prefix=PREFIX)
    for kind in (Refusal, HTTPException, Exception):
        root.register_error_handler(kind, problem)
    for noun in nouns:
        root.register_blueprint(noun)
    app.register_blueprint(root)
    return root

"""REST for partner systems, below /api/v1: the routes, their OpenAPI document, and its docs page.

Everything that a page can do, a system can do here, in its own name: with a key or a token, never
with a cookie. The API knows no business rule. It reads strictly, calls the services, and
passes on their answers.
"""

import json
from functools import cache
from typing import Any

from flask import Flask, Response, request
from flask_smorest import Blueprint
from werkzeug.exceptions import HTTPException

from protos.stubs import SERVICES
from services.gateway.api import docs, hsds, schemas, spec
from services.gateway.api.binding import bindings
from services.gateway.api.routes import ID, Opaque, Routes, install
from services.gateway.edge.app import reserve_for_systems
from services.gateway.edge.problems import problem

PATHS = ("/api/", hsds.PREFIX)


def register(app: Flask) -> None:
    """Adds the API to the app."""
    # Otherwise Flask would answer a doubled slash with a redirect, which a problem cannot express.
    app.url_map.merge_slashes = False
    reserve_for_systems(app, *PATHS)
    app.before_request(no_route)
    _install(app)
    docs.install(app)
    app.register_blueprint(hsds.blueprint)


def no_route() -> Response | None:
    """Answers an unknown path or a wrong method with a problem, like any other refusal."""
    if request.path.startswith(PATHS) and isinstance(request.routing_exception, HTTPException):
        return problem(request.routing_exception)
    return None


@cache
def openapi() -> dict[str, Any]:
    """Returns the OpenAPI document as it follows from the contract; no service has to run.

    The gateway serves the committed copy: making the document takes longer than the rest of the
    start-up.
    """
    app = Flask(__name__)
    api, root = _install(app)
    root.register_views_in_doc(api, app, api.spec, name=root.name, parameters=None)
    for routes in _services():
        api.spec.tag({"name": routes.name, "description": routes.description})
    webhooks = spec.describe_webhooks(api.spec)
    document = {**api.spec.to_dict(), "webhooks": webhooks}
    for name, size_limits in schemas.FIELD_COUNT_LIMITS.items():
        document["components"]["schemas"][name].update(size_limits)
    return document


@cache
def _services() -> list[Routes]:
    return [
        Routes(service) for service in SERVICES if any(bindings(rpc) for rpc in service.methods)
    ]


def _install(app: Flask) -> tuple[spec.DocumentedApi, Blueprint]:
    """Registers the routes without the docs pages."""
    app.config.update(spec.SETTINGS)
    api = spec.DocumentedApi(app)
    api.register_converter(Opaque, lambda _: {"type": "string", "pattern": f"^{ID}$"})
    return api, install(app, _services())


def openapi_text() -> str:
    """Returns the OpenAPI document as text, as it is committed in docs/openapi.json."""
    return json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n"

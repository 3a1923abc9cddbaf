"""Whether the gateway lives, and whether the services behind it can be asked: for probes, not for people."""

from flask import Blueprint, Response, jsonify

from services.gateway.clients import clients

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    """The process answers."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def ready() -> tuple[Response, int]:
    """All services answer; else 503 and which are missing."""
    missing = clients().missing()
    return jsonify(status="waiting" if missing else "ready", missing=missing), 503 if missing else 200

"""Makes the routes' answers: one resource with its ETag, or a list with a link to its next page."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, json, request

PREFIX = "/api/v1"


def resource_response(
    body: Mapping[str, Any], *, status: int = 200, location: str = "", unversioned: bool = False
) -> Response:
    """Returns one resource, with its ETag.

    Returns 304 if the client already has this version. An `unversioned` resource, which changes
    without a new version, is always returned in full.
    """
    response = json_response(body, status)
    if location:
        response.headers["Location"] = f"{PREFIX}{location}"
    is_read = request.method in ("GET", "HEAD")
    tag = body.get("etag") or (
        hashlib.sha256(response.get_data()).hexdigest()[:32] if is_read else ""
    )
    if is_read and not unversioned and request.if_none_match.contains_weak(tag):
        response = Response(status=304)
    if tag:
        response.set_etag(tag)
    return response


def list_response(
    items: list[dict[str, Any]],
    next_token: str = "",
    further_fields: Mapping[str, Any] | None = None,
) -> Response:
    """Returns a list, or one page of it.

    If there is a next page, the body holds its cursor. The answer to a GET also links to it in the
    Link header; this is possible because the URL of a GET describes the whole request.
    """
    body: dict[str, Any] = {"items": items, **(further_fields or {})}
    if next_token:
        body["next_cursor"] = next_token
    response = resource_response(body)
    if next_token and request.method in ("GET", "HEAD"):
        parameters = [
            (name, value) for name, value in request.args.items(multi=True) if name != "cursor"
        ]
        response.headers["Link"] = (
            f'<{request.path}?{urlencode([*parameters, ("cursor", next_token)])}>; rel="next"'
        )
    return response


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Returns a JSON answer."""
    return Response(json.dumps(body), status, content_type="application/json")

"""Announces the end of an operation: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) headers.

The OpenAPI document marks the operation as `deprecated`.
"""

from calendar import timegm
from typing import Any

from flask import Response, after_this_request
from werkzeug.http import http_date

from chassis.contract import Rules
from services.gateway.api.answers import PREFIX

LINK = f'<{PREFIX}/guide/versioning>; rel="deprecation"; type="text/html"'


def openapi_entries(rules: Rules) -> dict[str, Any]:
    """Returns the OpenAPI entries of a deprecated operation; empty for any other operation."""
    if rules.deprecate_date is None or rules.sunset_date is None:
        return {}
    return {
        "deprecated": True,
        "x-deprecate-date": str(rules.deprecate_date),
        "x-sunset-date": str(rules.sunset_date),
    }


def add_headers(rules: Rules) -> None:
    """Adds the headers to the response to this request, even if the response is a refusal.

    Does nothing for an operation that is not deprecated.
    """
    since, until = rules.deprecate_date, rules.sunset_date
    if since is None or until is None:
        return

    @after_this_request
    def add(response: Response) -> Response:
        response.headers["Deprecation"] = f"@{timegm(since.timetuple())}"
        response.headers["Sunset"] = http_date(until)
        response.headers.add("Link", LINK)
        return response

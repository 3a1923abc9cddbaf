"""The OpenAPI document: what flask-smorest gathers from the routes, with our problem+json, headers and credentials said once."""

from typing import Any

from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.http import HTTP_STATUS_CODES

from services.gateway.problems import MEDIA_TYPE

VERSION = "1.0.0"
DESCRIPTION = """\
Partner systems join the referral network here. The [guide](/api/v1/guide) tells a referral end to end, [versions](/api/v1/guide/versioning) what may change and how.

* Credential: `Authorization: Bearer` with an API key (`enl_…`), a session's secret or a caller token. `x-right` of an operation is the scope
  or role it needs, `x-refusals` are its reasons beyond the usual ones.
* Unknown fields are refused. What is not set is absent, never null. Times are RFC 3339 in UTC. Answers may get new fields at any time.
* `Idempotency-Key` on POST: the same key and request within 24 hours gets the first answer again; another request with it 422.
* Changing what has an ETag needs `If-Match` (428 without, 412 when stale). A GET takes `If-None-Match` (304).
* Lists: `items` and `next_cursor`, and `Link: rel="next"` on GET.
* PATCH is a merge patch (RFC 7396): `application/merge-patch+json` or `application/json`.
* A body is at most 64 kB.
"""
HEADERS = {
    "IDEMPOTENCY_KEY": (
        "Idempotency-Key",
        "1 to 100 visible characters, fresh for each new request.",
        False,
        "6f1b6c1e-7c0e-4b55-9a55-1d1f5d0d7a10",
    ),
    "IF_MATCH": ("If-Match", "The ETag of the version that the change is based on.", True, '"7"'),
    "IF_MATCH_OPTIONAL": ("If-Match", "The ETag of the version that the change is based on.", False, '"7"'),
    "IF_NONE_MATCH": ("If-None-Match", "The ETag of the version that is known: then 304 unless it has changed.", False, '"7"'),
}


def _said(description: str, example: str | int | None = None, *, number: bool = False, required: bool = True) -> fields.Field[Any]:
    metadata = {"description": description, **({} if example is None else {"examples": [example]})}
    return fields.Integer(required=required, metadata=metadata) if number else fields.String(required=required, metadata=metadata)


class ProblemErrorSchema(Schema):
    """One wrong field: one of pointer, parameter and header says where."""

    pointer = _said("JSON pointer into the body (RFC 6901); empty: the whole.", "/need_code", required=False)
    parameter = _said("Name of a query parameter.", required=False)
    header = _said("Name of a header.", required=False)
    reason = _said("Why.", "unknown_code")


class ProblemSchema(Schema):
    """Why not (RFC 9457)."""

    type = _said("Where the reason is explained.", "/api/v1/docs#invalid_fields")
    title = _said("What the reason means.", "Some fields are wrong.")
    status = _said("The HTTP status.", 400, number=True)
    reason = _said("A stable word to rely on.", "invalid_fields")
    request_id = _said("Tell it to operations.", "0d5f3c0a9b1e4c7d8e2f60718293a4b5")
    errors = fields.List(fields.Nested(ProblemErrorSchema), metadata={"description": "Which fields, with reason invalid_fields."})


def response_name(status: int) -> str:
    """The name of a status among the document's responses. Not Python's own, which changed in 3.13: the document must not depend on who prints it."""
    return HTTP_STATUS_CODES[status].upper().replace(" ", "_")


class DocumentedApi(Api):  # type: ignore[misc]
    """flask-smorest, with problem+json for every refusal, and without its handler that would answer for the pages too."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        for status, phrase in HTTP_STATUS_CODES.items():
            said: dict[str, Any] = {"description": phrase}
            if status >= 400:
                said["content"] = {MEDIA_TYPE: {"schema": ProblemSchema}}
            self.spec.components.response(response_name(status), said, lazy=True)
        self.spec.components.response(
            "DEFAULT_ERROR", {"description": "Any other problem", "content": {MEDIA_TYPE: {"schema": ProblemSchema}}}, lazy=True
        )

    def _register_pagination_header(self) -> None:
        pass

    def _register_etag_headers(self) -> None:
        for key, (name, description, required, example) in HEADERS.items():
            said = {"name": name, "description": description, "required": required, "schema": {"type": "string"}, "example": example}
            self.spec.components.parameter(key, "header", said, lazy=True)


def settings() -> dict[str, Any]:
    """What flask-smorest reads from the app's configuration."""
    return {
        "API_TITLE": "Enlace",
        "API_VERSION": VERSION,
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {
            "info": {"description": DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
            "servers": [{"url": "/", "description": "This gateway"}],
            "security": [{"bearer": []}],
            "components": {
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key (enl_<id>_<secret>), the secret of a session, or a caller token (JWT).",
                    }
                }
            },
        },
    }

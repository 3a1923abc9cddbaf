"""The OpenAPI document, as flask-smorest gathers it from the routes.

This module adds our problem+json, headers and credentials to it.
"""

from typing import Any

from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.http import HTTP_STATUS_CODES

from chassis import wire
from chassis.shape import KINDS
from protos.notifications.v1 import told_pb2
from services.gateway.api import schemas
from services.gateway.edge.comments import COMMENTS
from services.gateway.edge.problems import MEDIA_TYPE, RETRY_SECONDS

JsonObject = dict[str, Any]
KIND = told_pb2.ToldKind.DESCRIPTOR

VERSION = "0.1.0"
DESCRIPTION = """\
The API through which partner systems join the referral network. The [guide](/api/v1/guide) follows
a referral from end to end; [versions](/api/v1/guide/versioning) states what may change and how.

* Credential: `Authorization: Bearer` with an API key (`enl_…`), a session's secret or a caller
  token. `x-right` of an operation is the scope or role that it needs; `x-refusals` are its reasons
  for a refusal in addition to the usual reasons.
* Unknown fields are refused. A field without a value is absent, never null. Times are RFC 3339 in
  UTC. Answers may get new fields at any time.
* `Idempotency-Key` on a change: if the same request is sent with the same key within 24 hours, it
  gets the first answer again; a different request with that key is refused with 422.
* An operation that requires `If-Match` names the version that it changes (428 if it is missing, 412
  if it is stale). A GET accepts `If-None-Match` (304).
* Lists: `items` and `next_cursor`, and `Link: rel="next"` on GET.
* PATCH is a merge patch (RFC 7396): `application/merge-patch+json` or `application/json`.
* A body is at most 64 kB, that of an import 1 MB.
"""
# The configuration of the app that flask-smorest reads.
SETTINGS: JsonObject = {
    "API_TITLE": "Enlace",
    "API_VERSION": VERSION,
    "OPENAPI_VERSION": "3.1.0",
    "API_SPEC_OPTIONS": {
        "info": {
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "security": [{"bearer": []}],
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": (
                        "An API key (enl_<id>_<secret>), the secret of a session, or a caller"
                        " token (JWT)."
                    ),
                }
            }
        },
    },
}
_ETAG = f'"{KINDS["ETAG"].example}"'
_IF_MATCH = {
    "name": "If-Match",
    "description": "The ETag of the version that the change is based on.",
    "example": _ETAG,
}
_ONE_ETAG = {"type": "string", "pattern": '^"[!#-~]{1,100}"$'}
# Headers of a request. An Idempotency-Key has no example: a client that copied it twice would
# repeat its first request, or be refused with 422.
REQUEST_HEADERS: dict[str, JsonObject] = {
    "IDEMPOTENCY_KEY": {
        "name": "Idempotency-Key",
        "description": (
            "1 to 100 visible characters, e.g. a UUID: a new key for each new request, and the same"
            " key to repeat a request."
        ),
        "schema": {"type": "string", "pattern": '^"?[!#-~]{1,100}"?$'},
    },
    "IF_MATCH": {**_IF_MATCH, "required": True, "schema": _ONE_ETAG},
    "IF_MATCH_OPTIONAL": {**_IF_MATCH, "schema": _ONE_ETAG},
    "IF_NONE_MATCH": {
        "name": "If-None-Match",
        "description": "The ETag of your version: the answer is 304 unless the object has changed.",
        "schema": {"type": "string"},
        "example": _ETAG,
    },
    "WEBHOOK_ID": {
        "name": "webhook-id",
        "description": "The id of the delivery; a retry has the same id.",
        "required": True,
        "schema": {"type": "string"},
        "example": KINDS["ID"].example,
    },
    "WEBHOOK_TIMESTAMP": {
        "name": "webhook-timestamp",
        "description": (
            "The time of sending, in seconds since 1970. Reject a delivery older than five minutes."
        ),
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "example": "1793570100",
    },
    "WEBHOOK_SIGNATURE": {
        "name": "webhook-signature",
        "description": (
            "`v1,` and the HMAC-SHA256, in Base64, of id, timestamp and body, joined by dots;"
            " several signatures are separated by spaces."
        ),
        "required": True,
        "schema": {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]+=*( v1,[A-Za-z0-9+/]+=*)*$"},
    },
}
# Headers of an answer: name, description, example, and whether an answer that documents the header
# always has it.
RESPONSE_HEADERS = {
    "X_REQUEST_ID": (
        "X-Request-Id",
        "The id of the request; give it to the operators when you report a problem.",
        KINDS["ID"].example,
        True,
    ),
    "RATE_LIMIT": (
        "RateLimit",
        "The remaining requests of the quota (`r`), and the seconds until it is full again (`t`).",
        '"caller";r=47;t=1',
        False,
    ),
    "RATE_LIMIT_POLICY": (
        "RateLimit-Policy",
        "The quota of a caller or an address: `q` requests in `w` seconds.",
        '"caller";q=50;w=2',
        False,
    ),
    "ETAG": ("ETag", "The version, for If-Match and If-None-Match.", _ETAG, True),
    "LOCATION": (
        "Location",
        "The address of the created object.",
        f"/api/v1/people/{KINDS['ID'].example}",
        True,
    ),
    "LINK": (
        "Link",
        'The next page, rel="next"; absent on the last page.',
        '</api/v1/referrals?cursor=AbC>; rel="next"',
        False,
    ),
    "RETRY_AFTER": (
        "Retry-After",
        "The seconds after which to repeat the request.",
        str(RETRY_SECONDS),
        True,
    ),
    "WWW_AUTHENTICATE": (
        "WWW-Authenticate",
        "The kind of credential that is required.",
        'Bearer realm="enlace"',
        True,
    ),
    "ALLOW": (
        "Allow",
        "The methods that the path supports; with 405.",
        "GET, HEAD, OPTIONS",
        False,
    ),
    "DEPRECATION": (
        "Deprecation",
        "The date since which the operation is deprecated (RFC 9745).",
        "@1798761600",
        True,
    ),
    "SUNSET": (
        "Sunset",
        "The date after which the operation may be removed (RFC 8594).",
        "Sat, 01 Jan 2028 00:00:00 GMT",
        True,
    ),
}
COMMON_HEADERS = ("X_REQUEST_ID", "RATE_LIMIT", "RATE_LIMIT_POLICY")
_WITH_STATUS = {
    304: ("ETAG",),
    401: ("WWW_AUTHENTICATE",),
    429: ("RETRY_AFTER",),
    503: ("RETRY_AFTER",),
    504: ("RETRY_AFTER",),
}


def _described_field(
    description: str,
    example: str | int | None = None,
    *,
    is_number: bool = False,
    required: bool = True,
) -> fields.Field[Any]:
    metadata = {"description": description, **({} if example is None else {"examples": [example]})}
    return (
        fields.Integer(required=required, metadata=metadata)
        if is_number
        else fields.String(required=required, metadata=metadata)
    )


class ProblemErrorSchema(Schema):
    """A wrong field. One of pointer, parameter and header names its place."""

    pointer = _described_field(
        "JSON pointer into the body (RFC 6901); empty for the body as a whole.",
        "/need_code",
        required=False,
    )
    parameter = _described_field("Name of a query parameter.", required=False)
    header = _described_field("Name of a header.", required=False)
    reason = _described_field("The reason.", "unknown_code")
    list = _described_field(
        "For a field with codes: the name of its code list on the page of code lists.",
        "DeclineReason",
        required=False,
    )


class ProblemSchema(Schema):
    """A refusal (RFC 9457)."""

    type = _described_field(
        "The address at which the reason is explained.", "/api/v1/docs#invalid_fields"
    )
    title = _described_field("The meaning of the reason.", "Some fields are wrong.")
    status = _described_field("The HTTP status.", 400, is_number=True)
    reason = _described_field("A stable word that a program can rely on.", "invalid_fields")
    request_id = _described_field(
        "The id of the request, as in X-Request-Id.", "0d5f3c0a9b1e4c7d8e2f60718293a4b5"
    )
    about = fields.List(
        fields.String(),
        metadata={
            "description": "The obstacles, for reasons that name them.",
            "examples": [["reception"]],
        },
    )
    errors = fields.List(
        fields.Nested(ProblemErrorSchema),
        metadata={"description": "The wrong fields, with the reason invalid_fields."},
    )


def response_name(status: int) -> str:
    """Returns the name under which the document lists the response with this status.

    The name is not made from Python's phrases, which changed in 3.13, because the document must not
    depend on the interpreter that prints it.
    """
    return HTTP_STATUS_CODES[status].upper().replace(" ", "_")


def documented_headers(*names: str) -> dict[str, str]:
    """Returns the headers of an answer, including those that are documented for every answer."""
    return {RESPONSE_HEADERS[name][0]: name for name in (*COMMON_HEADERS, *names)}


class DocumentedApi(Api):  # type: ignore[misc]
    """flask-smorest, with problem+json for every refusal.

    Its error handler is left out, because it would answer for the pages, too.
    """

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        for name, (_, description, example, required) in RESPONSE_HEADERS.items():
            component: JsonObject = {
                "description": description,
                "required": required,
                "schema": {"type": "string"},
                "example": example,
            }
            self.spec.components.header(name, component, lazy=True)
        for status, phrase in HTTP_STATUS_CODES.items():
            component = {
                "description": phrase,
                "headers": documented_headers(*_WITH_STATUS.get(status, ())),
            }
            if status >= 400:
                component["content"] = {MEDIA_TYPE: {"schema": ProblemSchema}}
            self.spec.components.response(response_name(status), component, lazy=True)
        other_problem = {
            "description": "Any other problem",
            "headers": documented_headers("ALLOW"),
            "content": {MEDIA_TYPE: {"schema": ProblemSchema}},
        }
        self.spec.components.response("DEFAULT_ERROR", other_problem, lazy=True)

    def _register_pagination_header(self) -> None:
        pass

    def _register_etag_headers(self) -> None:
        for key, header in REQUEST_HEADERS.items():
            self.spec.components.parameter(key, "header", {"required": False, **header}, lazy=True)


def describe_webhooks(spec: Any) -> JsonObject:
    """Returns the document's `webhooks`: each kind of event sent to endpoints, with its body."""
    webhooks = {}
    for number, type_ in wire.words(KIND).items():
        value = KIND.values_by_number[number]
        name = value.name.removeprefix("TOLD_KIND_").lower()
        data = schemas.answer_schema(
            told_pb2.DESCRIPTOR.message_types_by_name[f"{type_.split('.')[1].capitalize()}Told"]
        )
        if data.__name__ not in spec.components.schemas:
            spec.components.schema(data.__name__, schema=data)
        required = ["type", "timestamp", "data"]
        properties = {
            "kind": {"const": name, "description": "The kind, as in the webhook's `kinds`."},
            "type": {"const": type_, "description": "The event; two kinds may have one type."},
            "timestamp": {
                "type": "string",
                "format": "date-time",
                "description": "The time of the event.",
            },
            "data": {"$ref": f"#/components/schemas/{data.__name__}"},
        }
        schema = {"type": "object", "required": required, "properties": properties}
        webhooks[name] = {
            "post": {
                "operationId": f"told_{name}",
                "summary": COMMENTS[f"{KIND.full_name}.{value.name}"].removesuffix("."),
                "tags": ["webhooks"],
                "security": [],
                "parameters": [
                    spec.components.get_ref("parameter", f"WEBHOOK_{part}")
                    for part in ("ID", "TIMESTAMP", "SIGNATURE")
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": schema}},
                },
                "responses": {
                    "2XX": {"description": "Accepted"},
                    "default": {
                        "description": "Not accepted: the delivery is retried for three days"
                    },
                },
            }
        }
    return webhooks

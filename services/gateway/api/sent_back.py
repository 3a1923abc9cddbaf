"""Lets clients send back a whole resource that they have read, with their changes.

A body that contains the resource's `id` or `etag` counts as sent back: fields that cannot be
written are ignored (AIP-203). Any other body counts as written by hand: a field that cannot be
written is refused like an unknown field, so that nobody believes that the field was changed. If
resources of the type have neither `id` nor `etag`, every body counts as sent back.
"""

from functools import partial
from typing import Any

from flask import g, request
from marshmallow import Schema, fields

from chassis.errors import Invalid
from services.gateway.api.binding import Binding

_MARKS = ("id", "etag")


def allow(binding: Binding) -> None:
    """Lets the body of this request be a whole resource, if the rpc changes or publishes one."""
    if binding.verb in ("patch", "put") or binding.rpc.name.startswith(("Publish", "Set")):
        g.writable_part = partial(_writable, binding)


def _writable(binding: Binding, body: Any, schema: Schema) -> Any:
    """Returns the writable part of a resource that was sent back; any other body unchanged.

    Raises Invalid (out_of_range) if the id in the body differs from the id in the path.
    """
    if not isinstance(body, dict):
        return body
    resource = binding.target if binding.body != "*" else binding.rpc.output_type
    marks = [mark for mark in _MARKS if mark in resource.fields_by_name]
    if marks and not any(mark in body for mark in marks):
        return body
    path_id = (request.view_args or {}).get(
        next((name for name, path in binding.variables.items() if path.endswith("id")), "")
    )
    if (
        "id" in resource.fields_by_name
        and path_id is not None
        and body.get("id", path_id) != path_id
    ):
        raise Invalid(("id", "out_of_range"))
    return _part(body, schema, resource)


def _part(resource_part: Any, schema: Schema, message: Any) -> Any:
    """Returns the part without those fields that the message has but the schema does not accept.

    An unknown field, which neither of them has, is kept so that the schema refuses it.
    """
    if not isinstance(resource_part, dict):
        return resource_part
    writable = {}
    for name, value in resource_part.items():
        schema_field, field = schema.fields.get(name), message.fields_by_name.get(name)
        if schema_field is None and field is not None:
            continue
        inner = schema_field.inner if isinstance(schema_field, fields.List) else schema_field
        if isinstance(inner, fields.Nested) and field is not None:
            nested_schema = inner.schema
            value = (
                [_part(entry, nested_schema, field.message_type) for entry in value]
                if isinstance(value, list)
                else _part(value, nested_schema, field.message_type)
            )
        writable[name] = value
    return writable

"""Accepts a resource that is sent back as it was read.

If a body has the resource's `id` or `etag`, fields that cannot be written are ignored (AIP-203). A
body without `id` and `etag` counts as written by hand: a field that cannot be written is refused
like an unknown field, so that nobody believes that the field was changed. If the resource has
neither an id nor an etag, the body always counts as sent back.
"""

from functools import partial
from typing import Any

from flask import g, request
from marshmallow import Schema, fields

from chassis.errors import Invalid
from services.gateway.api.binding import Binding

_MARKS = ("id", "etag")


def expect(binding: Binding) -> None:
    """Notes that the body of this request may be a resource as it was read."""
    if binding.verb in ("patch", "put") or binding.rpc.name.startswith(("Publish", "Set")):
        g.as_read = partial(_writable, binding)


def _writable(binding: Binding, given: Any, schema: Schema) -> Any:
    """Returns the writable part of a resource that was sent back; any other body unchanged.

    Raises Invalid out_of_range for the id of another resource.
    """
    if not isinstance(given, dict):
        return given
    resource = binding.target if binding.body != "*" else binding.rpc.output_type
    marks = [mark for mark in _MARKS if mark in resource.fields_by_name]
    if marks and not any(mark in given for mark in marks):
        return given
    named = (request.view_args or {}).get(
        next((name for name, path in binding.variables.items() if path.endswith("id")), "")
    )
    if "id" in resource.fields_by_name and named is not None and given.get("id", named) != named:
        raise Invalid(("id", "out_of_range"))
    return _part(given, schema, resource)


def _part(given: Any, schema: Schema, message: Any) -> Any:
    """Returns the value without the fields of the message that the schema does not accept.

    A field that the message does not have stays, so that the schema refuses it.
    """
    if not isinstance(given, dict):
        return given
    writable = {}
    for name, value in given.items():
        taken, field = schema.fields.get(name), message.fields_by_name.get(name)
        if taken is None and field is not None:
            continue
        inner = taken.inner if isinstance(taken, fields.List) else taken
        if isinstance(inner, fields.Nested) and field is not None:
            nested = inner.schema
            value = (
                [_part(entry, nested, field.message_type) for entry in value]
                if isinstance(value, list)
                else _part(value, nested, field.message_type)
            )
        writable[name] = value
    return writable

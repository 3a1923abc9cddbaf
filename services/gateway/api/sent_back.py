"""A resource may be sent back as it was read: in a body that holds its `id` or `etag`, what can't
be written is passed over (AIP-203).

A body without them was written by hand: there a field that can't be written is refused like any
other that is not understood, so that nobody takes a change for made. Resources that have neither
are always taken so.
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
    """The part of a body that can be written, if it is a resource as it was read; else the body as
    it is. Refuses the id of another.
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
    """Without the fields of the message that the schema does not take."""
    if not isinstance(given, dict):
        return given
    kept = {}
    for name, value in given.items():
        taken, field = schema.fields.get(name), message.fields_by_name.get(name)
        if taken is None and field is not None:
            continue
        inner = taken.inner if isinstance(taken, fields.List) else taken
        if isinstance(inner, fields.Nested) and field is not None:
            each = inner.schema
            value = (
                [_part(one, each, field.message_type) for one in value]
                if isinstance(value, list)
                else _part(value, each, field.message_type)
            )
        kept[name] = value
    return kept

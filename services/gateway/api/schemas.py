"""The schemas of the API's bodies, queries and answers, made from the descriptors.

Descriptions are the comments of the .proto files. By convention, a body holds all fields of its
message except OUTPUT_ONLY fields, the id in the path, the etag (If-Match) and the request_id
(Idempotency-Key). If a resource is sent back as it was read, api/sent_back.py removes these
fields. A query has page_token as `cursor` and page_size as `limit`, and no field about a
person. In the schema of an answer, fields that are always present are `required`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from marshmallow import EXCLUDE, RAISE, Schema, fields
from marshmallow.validate import Length, OneOf, Range

from chassis.shape import CONTROL, MASK_FIELD, TIME, FieldType, Kind, Shape, is_map, shape
from services.gateway.api.binding import Binding
from services.gateway.api.convert import MessageType, words
from services.gateway.api.values import File, Flag, Fraction, FullMatch, Number, Object, Text, Time
from services.gateway.edge.comments import comment
from services.gateway.edge.problems import BODY_NAMES, PARAMETERS

MAX_PAGE_SIZE = 200
# PLAIN is the pattern of a text without FORBIDDEN characters. It need not mention surrogates,
# because JSON cannot hold a single surrogate. FILLED also refuses a text of spaces only.
PLAIN, FILLED = rf"^[^{CONTROL}]*$", rf"^[^{CONTROL}]*[^{CONTROL}\s][^{CONTROL}]*$"
# Limits on the number of fields in a body, for the OpenAPI document, by the name of the schema.
FIELD_COUNT_LIMITS: dict[str, dict[str, int]] = {}
_MOMENT = "2026-03-14T09:30:00Z"
AnyField = fields.Field[Any]
_NUMBERS = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_DOUBLE}
_TEXTS = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_ENUM}  # in JSON
_KINDS: dict[int, Callable[..., AnyField]] = {
    FieldDescriptor.TYPE_INT32: partial(Number, strict=True),
    FieldDescriptor.TYPE_INT64: partial(Number, strict=True),
    FieldDescriptor.TYPE_DOUBLE: Fraction,
    FieldDescriptor.TYPE_BOOL: Flag,
    FieldDescriptor.TYPE_MESSAGE: Time,
}


# --- schemas of an rpc


def body(binding: Binding) -> type[Schema] | None:
    """Returns the schema of a body; None for an rpc without a body."""
    if not binding.body:
        return None
    request = binding.rpc.input_type
    is_patch = binding.verb == "patch"
    mask = request.fields_by_name.get(MASK_FIELD)
    limits = [
        shape(field)
        for field in (mask, request.fields_by_name.get(binding.body))
        if field is not None
    ]
    only = [name for limit in limits for name in limit.only]
    without = [name for limit in limits for name in limit.without]
    # Fields under a mask may be sent in part; a merge patch can also clear them.
    make_field = partial(
        _input_field, in_part=bool(mask or is_patch), null_clears=bool(mask and is_patch)
    )
    name = (
        f"{binding.target.name}Patch" if is_patch else f"{request.name.removesuffix('Request')}Body"
    )
    fields_by_name = {
        BODY_NAMES.get(field.name, field.name): make_field(field)
        for field in _sendable(binding.target, binding)
        if (not only or field.name in only)
        and field.name not in without
        and not (mask and shape(field).immutable)
    }
    if binding.body != "*":
        fields_by_name |= {
            field.name: make_field(field)
            for field in _sendable(request, binding)
            if field.name != binding.body
        }
    if not fields_by_name:
        return None
    schema = _schema(name, comment(binding.target), fields_by_name, RAISE)
    # An empty mask is refused, and so is a oneof without any of its fields.
    if (mask and not shape(mask).optional) or _is_one_of(fields_by_name):
        FIELD_COUNT_LIMITS[schema.__name__] = {
            "minProperties": 1,
            **({} if mask else {"maxProperties": 1}),
        }
    return schema


def _is_one_of(fields_by_name: Mapping[str, AnyField]) -> bool:
    groups = {field.metadata.get("x-one-of") for field in fields_by_name.values()}
    return len(groups) == 1 and groups != {None}


def query(binding: Binding) -> type[Schema] | None:
    """Returns the schema of a query; None for an operation without query parameters."""
    if binding.verb != "get":
        return None
    fields_by_name = {}
    for field in _filters(binding.rpc.input_type, binding):
        field_shape = shape(field)
        if (
            field_shape.private
            or field_shape.sealed
            or (field_shape.kind and field_shape.kind.name in ("PIN", "SECRET", "PASSWORD"))
        ):
            continue  # URLs appear in logs and in browser histories
        query_field = _input_field(field)
        if isinstance(query_field, fields.Integer):
            query_field.strict = False  # all values in a query are texts
        fields_by_name[PARAMETERS.get(field.name, field.name)] = query_field
    return (
        _schema(f"{binding.rpc.name}Query", "", fields_by_name, RAISE) if fields_by_name else None
    )


@cache
def answer(output: MessageType) -> Schema | None:
    """Returns the schema of an answer; None for an empty answer. Routes with the same answer share
    the schema.
    """
    if not output.fields:
        return None
    if list_field := listed_field(output):
        item = list_field.message_type
        is_unpaged = "next_page_token" not in output.fields_by_name
        entries = fields.List(
            fields.Nested(answer_schema(item)),
            required=True,
            metadata={"description": "In the order of the list."},
        )
        rest = {
            field.name: _answer_field(field)
            for field in output.fields
            if field is not list_field and field.name != "next_page_token"
        }
        cursor_field = (
            {}
            if is_unpaged
            else {
                "next_cursor": Text(
                    metadata={
                        "description": "The cursor of the next page; absent on the last page."
                    }
                )
            }
        )
        return _schema(
            f"{item.name}{'List' if is_unpaged else 'Page'}",
            "",
            {"items": entries, **rest, **cursor_field},
            EXCLUDE,
        )()
    if resource_field := wrapped_field(output):
        rest = {
            field.name: _answer_field(field)
            for field in output.fields
            if field is not resource_field
        }
        inner = {field.name: _answer_field(field) for field in resource_field.message_type.fields}
        return _schema(
            output.name.removesuffix("Response"),
            comment(output) or comment(resource_field.message_type),
            inner | rest,
            EXCLUDE,
        )()
    return answer_schema(output)()


def listed_field(output: MessageType) -> FieldType | None:
    """Returns the field that holds the list, if the answer is a list or a page of a list.

    Returns None for any other answer. A page may have more fields besides the list; the list is the
    first.
    """
    rest = [field for field in output.fields if field.name not in ("next_page_token", "total_size")]
    if not rest or (len(rest) > 1 and "next_page_token" not in output.fields_by_name):
        return None
    is_list = (
        rest[0].is_repeated
        and rest[0].message_type
        and not is_map(rest[0])
        and output.name.endswith("Response")
    )
    return rest[0] if is_list else None


def wrapped_field(output: MessageType) -> FieldType | None:
    """Returns the field that holds the resource, if the answer has another value, too; else None.

    The other value, for example a secret or a PIN, is shown only once.
    """
    parts = [field for field in output.fields if field.message_type]
    if len(parts) != 1 or len(output.fields) == 1 or "id" in output.fields_by_name:
        return None
    return (
        parts[0]
        if not parts[0].is_repeated and "id" in parts[0].message_type.fields_by_name
        else None
    )


@cache
def answer_schema(message: Descriptor) -> type[Schema]:
    """Returns the schema of a message in an answer."""
    return _schema(
        message.name,
        comment(message),
        {field.name: _answer_field(field) for field in message.fields},
        EXCLUDE,
    )


@cache
def _input_schema(message: Descriptor, in_part: bool, null_clears: bool) -> type[Schema]:
    return _schema(
        f"{message.name}{'Patch' if in_part else 'Input'}",
        comment(message),
        {
            field.name: _input_field(field, in_part=in_part, null_clears=null_clears)
            for field in _sendable(message)
        },
        RAISE,
    )


def _schema(
    name: str, description: str, fields_by_name: Mapping[str, AnyField], unknown: str
) -> type[Schema]:
    meta = type("Meta", (), {"unknown": unknown})
    return type(name, (Object,), {"__doc__": description, "Meta": meta, **fields_by_name})


def _sendable(message: Descriptor, binding: Binding | None = None) -> Iterator[FieldType]:
    """Yields the fields that a body may hold."""
    in_path = {path.rpartition(".")[2] for path in binding.variables.values()} if binding else set()
    names_elsewhere = {"id", "etag", "request_id", MASK_FIELD, *in_path}
    # A request to publish names the resource whose next version it publishes.
    if binding and binding.rpc.name.startswith("Publish"):
        names_elsewhere.remove("id")
    for field in message.fields:
        if field.name not in names_elsewhere and not shape(field).output_only and not is_map(field):
            yield field


def _filters(message: Descriptor, binding: Binding) -> Iterator[FieldType]:
    for field in _sendable(message, binding):
        if field.name == "filter":
            yield from _filters(field.message_type, binding)
        else:
            yield field


# --- fields


def _answer_field(field: FieldType) -> AnyField:
    """Returns a field of an answer.

    The field has no limits on length, pattern or range, because a newer service may send other
    values.
    """
    field_shape = shape(field)
    options: dict[str, Any] = {
        "required": _is_always_present(field, field_shape),
        "metadata": _metadata(field, field_shape),
    }
    if is_map(field):
        value = field.message_type.fields_by_name["value"]
        return fields.Dict(keys=fields.String(), values=_value(value, answer_schema), **options)
    if field.is_repeated:
        return fields.List(
            _value(field, answer_schema, metadata=_example(field, field_shape)), **options
        )
    return _value(field, answer_schema, **options)


def _input_field(field: FieldType, *, in_part: bool = False, null_clears: bool = False) -> AnyField:
    """Returns a field of a body or query, with all its checks.

    If the body may be sent `in_part`, the field may be left out. With `null_clears`, null clears a
    field that can be empty.
    """
    field_shape = shape(field)
    part = partial(_input_schema, in_part=in_part, null_clears=null_clears)
    options: dict[str, Any] = {
        "required": field_shape.required and not in_part,
        "allow_none": null_clears and not _refuses_null(field, field_shape),
        "metadata": _metadata(field, field_shape, for_input=True),
    }
    if field.is_repeated:
        checks = {
            "validate": _validators(field, field_shape),
            "metadata": _example(field, field_shape),
        }
        limits = [
            Length(max=field_shape.most, error="too_long"),
            *([Length(min=1, error="required")] if field_shape.required else []),
        ]
        return fields.List(_value(field, part, **checks), validate=limits, **options)
    options["validate"] = _validators(field, field_shape, required=field_shape.required)
    return _value(field, part, **options)


def _refuses_null(field: FieldType, field_shape: Shape) -> bool:
    """Returns whether null is refused in a merge patch."""
    return field_shape.required and (
        field.has_presence or field.is_repeated or field.type in _TEXTS
    )


def _validators(
    field: FieldType, field_shape: Shape, *, required: bool = False
) -> list[Callable[[Any], Any]]:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return [OneOf(words(field.enum_type), error="unknown_code")]
    if field_shape.kind:
        of_list = field.is_repeated
        least, most = (
            (field_shape.kind.least, field_shape.kind.most)
            if of_list
            else (field_shape.least, field_shape.most)
        )
        validators: list[Callable[[Any], Any]] = [Length(max=most, error="too_long")]
        if required or of_list or least:
            validators.append(Length(min=max(1, least), error="too_short" if least else "required"))
        return [
            *validators,
            FullMatch(field_shape.kind.pattern or PLAIN, error=field_shape.kind.reason),
        ]
    if field.type in _NUMBERS:
        least, most = (
            (1, MAX_PAGE_SIZE)
            if field.name == "page_size"
            else (field_shape.least, field_shape.most)
        )
        return [Range(least, most, error="out_of_range")]
    if field.type == FieldDescriptor.TYPE_BYTES and required:
        return [Length(min=1, error="required")]
    return []


def _value(
    field: FieldType, part: Callable[[Descriptor], type[Schema]], **options: Any
) -> AnyField:
    """Returns the field for a single value. `part` returns the schema of a nested message."""
    if _is_part(field):
        return fields.Nested(part(field.message_type), **options)
    if field.type == FieldDescriptor.TYPE_BYTES:
        metadata = {**options.pop("metadata", {}), "format": "byte"}
        return File(shape(field).most, metadata=metadata, **options)
    if field.type == FieldDescriptor.TYPE_ENUM and "validate" not in options:
        options["validate"] = OneOf(words(field.enum_type))
    return _KINDS.get(field.type, Text)(**options)


def _is_part(field: FieldType) -> bool:
    return bool(field.message_type) and field.message_type.full_name != TIME


def _is_always_present(field: FieldType, field_shape: Shape) -> bool:
    """Returns whether the field is present in every answer that holds the message.

    api/convert.py defines which values are left out.
    """
    can_be_left_out = field.has_presence or field.type in _TEXTS
    return (
        field_shape.always
        or field.name in ("id", "etag", "create_time")
        or field.is_repeated
        or not can_be_left_out
    )


def _metadata(field: FieldType, field_shape: Shape, *, for_input: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"description": comment(field)}
    kind: Kind | None = None if field.is_repeated else field_shape.kind
    # protoc makes a oneof of its own for each optional field; its name begins with an underscore.
    if field.containing_oneof and not field.containing_oneof.name.startswith("_"):
        metadata["x-one-of"] = field.containing_oneof.name
    if kind and field_shape.required and for_input and not kind.pattern and kind.checks == "all":
        metadata["pattern"] = FILLED
    # a text that may be empty does not always match the format
    if kind and kind.format and not (for_input and kind.pattern and not field_shape.required):
        metadata["format"] = kind.format
    if field_shape.distinct:
        metadata["uniqueItems"] = True
    if field_shape.sealed:
        metadata["description"] = (
            f"{metadata['description']} Sealed; never in a log or a message.".strip()
        )
    if not field.is_repeated:
        metadata |= _example(field, field_shape)
    return metadata


def _example(field: FieldType, field_shape: Shape) -> dict[str, Any]:
    """Returns an example of a field, or of an entry of a list; empty where none is useful."""
    if _is_part(field):
        return {}
    example: Any = field_shape.example
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        example = example or _MOMENT
    elif field.type == FieldDescriptor.TYPE_ENUM:
        example = example or words(field.enum_type)[0]
    elif field.type == FieldDescriptor.TYPE_BOOL:
        example = True
    elif not field_shape.kind:
        example = int(example) if re.fullmatch(r"-?\d+", example) else None
    return {} if example in ("", None) else {"examples": [example]}

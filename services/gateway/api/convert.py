"""Converts between messages of the contracts and plain JSON, guided by their descriptors.

One converter serves all messages. Enum values become words ("in_progress"), times become RFC 3339
in UTC, and maps become objects. Unset values are left out: empty texts, unspecified enums, absent
times and messages. Lists and maps are always present, and so are numbers, flags and bytes whose
field does not track presence. Limitation: it knows only the kinds of field that our contracts use.
It validates nothing; that is the job of the schemas.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis import wire
from chassis.shape import TIME, FieldType, is_map

M = TypeVar("M", bound=Message)
MessageType = Any  # a Descriptor: its two implementations have no common type


def to_json(message: Message) -> dict[str, Any]:
    """Returns the message as JSON values."""
    values = {
        field.name: _field_to_json(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if _is_present(message, field)
    }
    return {name: value for name, value in values.items() if value is not None}


def from_json(values: Mapping[str, Any], message: M) -> M:
    """Fills the message with values that a schema has accepted.

    None leaves a field empty. Raises KeyError for an unknown name.
    """
    message.MergeFrom(type(message)(**_constructor_arguments(message.DESCRIPTOR, values)))
    return message


def word(enum: EnumDescriptor, number: int) -> str | None:
    """Returns the word for a value of an enum.

    Returns None for unspecified, and for a value that is newer than this gateway.
    """
    return wire.words(enum).get(number)


def words(enum: EnumDescriptor) -> list[str]:
    """Returns all words of an enum, in its order."""
    return list(wire.words(enum).values())


def _is_present(message: Message, field: FieldType) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return (
        bool(field.is_repeated)
        or field.type != FieldDescriptor.TYPE_STRING
        or bool(getattr(message, field.name))
    )


def _field_to_json(field: FieldType, value: Any) -> Any:
    if is_map(field):
        return {key: value[key] for key in sorted(value)}
    if field.is_repeated:
        return [
            json_value for item in value if (json_value := _json_value(field, item)) is not None
        ]
    return _json_value(field, value)


def _json_value(field: FieldType, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return word(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if field.message_type.full_name == TIME:
            return rfc3339(value.ToDatetime(tzinfo=UTC))
        return to_json(value)
    return b64encode(value).decode() if field.type == FieldDescriptor.TYPE_BYTES else value


def _constructor_arguments(message: MessageType, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments for a message's constructor, which accepts objects and times."""
    return {
        name: _from_json_value(message.fields_by_name[name], value)
        for name, value in values.items()
        if value is not None
    }


def _from_json_value(field: FieldType, value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json_value(field, item) for item in value]
    if isinstance(value, dict) and not is_map(field):
        return _constructor_arguments(field.message_type, value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return wire.numbers(field.enum_type)[value]
    return b64decode(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def rfc3339(moment: datetime) -> str:
    """Formats a time in UTC with as many decimals as it needs: none or six."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

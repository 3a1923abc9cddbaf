"""The kinds of field the API has, each with its limit and its description, so that a schema reads like a table and the OpenAPI says it all.

What a validator refuses is one of the reason words of chassis.errors.Invalid; what was sent is never repeated.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf, Range, Regexp

from services.gateway.api.convert import words

INT32 = 2**31 - 1
# Characters no database text holds (NUL, half a surrogate pair) or that only a mistake puts into a form field.
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
EXAMPLE_ID = "5f0c9a4e1b7d42b38c6de0f1a2b3c4d5"


class Text(fields.String):
    """A text without control characters; the length counts characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        said = str(super()._deserialize(value, attr, data, **kwargs))
        if FORBIDDEN.search(said):
            raise ValidationError("malformed")
        return said


class Time(fields.AwareDateTime):
    """A time with its zone (RFC 3339), kept in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        said = super()._deserialize(value, attr, data, **kwargs)
        try:
            return said.astimezone(UTC)
        except OverflowError as error:  # 0001-01-01T00:00:00+14:00
            raise ValidationError("out_of_range") from error


class Flag(fields.Boolean):
    """true or false, and nothing that merely looks like it (the texts are for query parameters)."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return bool(value == "true")
        raise ValidationError("malformed")


def text(description: str, limit: int = 200, *, example: str | None = None, **options: Any) -> Text:
    """A text for people."""
    return Text(validate=Length(max=limit, error="too_long"), metadata=_about(description, example), **options)


def note(description: str, **options: Any) -> Text:
    """A free text about a person: sealed, and opened for sender and receiver only."""
    return text(f"{description} Sealed; never in a log, a message or a list.", 4000, **options)


def code(description: str, *, example: str | None = None, among: Sequence[str] = (), **options: Any) -> Text:
    """A code: of a short list that is said here, or of a longer one that the service knows."""
    check = OneOf(among, error="unknown_code") if among else Length(max=40, error="too_long")
    return Text(validate=check, metadata=_about(description, example or (among[0] if among else None)), **options)


def ident(description: str, **options: Any) -> Text:
    """An opaque id."""
    return Text(validate=Length(max=64, error="too_long"), metadata=_about(description, EXAMPLE_ID), **options)


def etag() -> Text:
    """The version of what is shown, as in the ETag header (there in quotes)."""
    return Text(dump_only=True, metadata=_about("The version of what is shown; send it in quotes as If-Match to change it.", "7"))


def word(enum: EnumDescriptor, description: str, *, example: str | None = None, **options: Any) -> Text:
    """One of the words of an enum."""
    return Text(validate=OneOf(words(enum), error="unknown_code"), metadata=_about(description, example or words(enum)[0]), **options)


def time(description: str, **options: Any) -> Time:
    """A time."""
    return Time(metadata=_about(description, "2026-03-14T09:30:00Z"), **options)


def number(description: str, least: int = 0, most: int = INT32, *, example: int | None = None, **options: Any) -> fields.Integer:
    """A whole number."""
    check = Range(least, most, error="out_of_range")
    return fields.Integer(**{"strict": True, "validate": check, "metadata": _about(description, example), **options})


def flag(description: str, **options: Any) -> Flag:
    """Yes or no."""
    return Flag(metadata=_about(description, True), **options)


def many(inner: fields.Field[Any], description: str, limit: int = 50, **options: Any) -> fields.List[Any]:
    """A list."""
    return fields.List(inner, validate=Length(max=limit, error="too_long"), metadata={"description": description}, **options)


def part(schema: type[Schema], description: str, **options: Any) -> fields.Nested:
    """An object inside."""
    return fields.Nested(schema, metadata={"description": description}, **options)


def table(values: fields.Field[Any], description: str, **options: Any) -> fields.Dict:
    """An object whose keys are codes."""
    return fields.Dict(keys=fields.String(), values=values, metadata={"description": description}, dump_only=True, **options)


def pin(description: str, **options: Any) -> Text:
    """Four digits."""
    return Text(validate=Regexp(r"^[0-9]{4}\Z", error="malformed"), metadata=_about(description, "4821"), **options)


def created() -> Time:
    """When it was made."""
    return time("When it was made.", dump_only=True)


def updated() -> Time:
    """When it last changed."""
    return time("When it last changed.", dump_only=True)


def _about(description: str, example: Any) -> dict[str, Any]:
    return {"description": description} if example is None else {"description": description, "examples": [example]}

"""The kinds of value in requests and answers, as fields and schemas of marshmallow.

They refuse values that marshmallow's own fields would convert: a text that looks like a number,
"yes" for true, a time without its zone.
"""

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, Self

from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Regexp

from chassis.shape import FORBIDDEN

_DIGITS = re.compile(r"[+-]?[0-9]+")
_EXACT_LIMIT = 2**53  # from this number on, whole numbers are not exact in JSON


class Text(fields.String):
    """A text without control characters. Lengths count characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if FORBIDDEN.search(text):
            raise ValidationError("malformed")
        return text


class Number(fields.Integer):
    """A whole number, which JSON may write as 3.0, and a query as digits."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            raise self.make_error("invalid", input=value)
        is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_LIMIT
        return super()._validated(int(value) if is_whole else value)


class Fraction(fields.Float):
    """A number with decimals. Refuses booleans, infinity, and texts that look like a number."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Time(fields.AwareDateTime):
    """A time with its zone (RFC 3339), converted to UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, attr, data, **kwargs)
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:  # 0001-01-01T00:00:00+14:00
            raise ValidationError("out_of_range") from error


class File(Text):
    """A file as base64 (RFC 4648), of at most `max_bytes`."""

    def __init__(self, max_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._max_bytes = max_bytes

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            size = len(b64decode(text, validate=True))
        except ValueError as error:
            raise ValidationError("malformed") from error
        if size > self._max_bytes:
            raise ValidationError("too_long")
        return text


class Flag(fields.Boolean):
    """A boolean.

    Accepts true and false, and the texts "true" and "false", which query parameters need. Refuses
    any other text or number.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool) and value not in ("true", "false"):
            raise ValidationError("malformed")
        return bool(super()._deserialize(value, attr, data, **kwargs))


class FullMatch(Regexp):
    """A pattern that the whole text must match.

    Python's `$` would accept a final line break; ECMAScript's does not.
    """

    def __call__(self, value: Any) -> Any:
        if self.regex.fullmatch(value) is None:
            raise ValidationError(str(self.error))
        return value


class Object(Schema):
    """An object of the API.

    Refuses two fields of the same oneof, because it would be unclear which of the two is meant.
    """

    def __deepcopy__(self, memo: object) -> Self:
        """Returns the schema itself, which never changes: each decorator of flask-smorest copies a
        route's documentation, schemas included.
        """
        return self

    @validates_schema
    def refuse_second_of_a_oneof(self, values: dict[str, Any], **_options: Any) -> None:
        """Raises malformed for the second field of a oneof."""
        field_by_group: dict[str, str] = {}
        for name in values:
            if group := self.fields[name].metadata.get("x-one-of"):
                if group in field_by_group:
                    raise ValidationError("malformed", name)
                field_by_group[group] = name

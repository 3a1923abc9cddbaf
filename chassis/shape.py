"""Checks the shape of requests against their .proto: each field's format, length and range. The
violations of a request are reported together, before any method runs.

The rules come from the option (contract.v1.field), which is looked up by name; the field's name and
type supply the defaults. Limitation: only shapes are checked here. The use cases check whether a
code exists, whom an id belongs to, and whether two fields fit together.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any, Literal

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_RULES = "enlace.contract.v1.field"
_BEHAVIOR = "google.api.field_behavior"
TIME = Timestamp.DESCRIPTOR.full_name
MASK = FieldMask.DESCRIPTOR.full_name
MASK_FIELD = "update_mask"
INT32 = 2**31 - 1
MAX_VIOLATIONS = 20  # few enough that one refusal fits into a trailer of 8 KiB
# Characters that PostgreSQL does not store (NUL, half a surrogate pair), or that get into a form
# field only by mistake.
CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
FORBIDDEN = re.compile(rf"[{CONTROL}\ud800-\udfff]")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # a label of a domain name (RFC 1035)
# the range of a Timestamp: the seconds of the years 1 to 9999
_TIMES = range(-62_135_596_800, 253_402_300_800)
FieldType = Any  # a FieldDescriptor: its two implementations have no common type
Violation = tuple[str, str]


@dataclass(frozen=True)
class Kind:
    """Describes a kind of text field: its pattern (a regular expression for both ECMAScript and
    Python; None allows any text), its maximum length in characters, and the reason reported when
    the pattern does not match.

    `long` is the reason for a text that is too long. `checks` limits the checks: a credential is
    not checked at all, since all wrong credentials get the same answer; an id is only checked for
    presence, since an id in a wrong format is simply not found.
    """

    name: str
    most: int
    pattern: str | None = None
    least: int = 0
    reason: str = "malformed"
    example: str = ""
    format: str = ""
    long: str = "too_long"
    checks: Literal["all", "presence", "nothing"] = "all"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("TEXT", 200),
        Kind("NOTE", 4000),
        Kind(
            "ID",
            64,
            r"^[A-Za-z0-9_-]*$",
            example="5f0c9a4e1b7d42b38c6de0f1a2b3c4d5",
            checks="presence",
        ),
        Kind("CODE", 40, r"^[A-Za-z0-9_.+-]*$", reason="unknown_code"),
        # RFC 5646, 4.4.1
        Kind("LANGUAGE", 35, r"^(([a-z]{2,3}|x)(-[A-Za-z0-9]{1,8})*)?$", example="es"),
        Kind("COUNTRY", 2, r"^([A-Z]{2})?$", example="NI", long="malformed"),
        Kind("SUBDIVISION", 6, r"^([A-Z]{2}-[A-Z0-9]{1,3})?$", example="NI-CI", long="malformed"),
        Kind(
            "EMAIL",
            254,
            rf"^([A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})+)?$",
            example="mesa@casa-esperanza.example",
        ),
        Kind("PHONE", 40, example="+50500000000"),
        Kind("DIALLED", 20, r"^([0-9*#+][0-9 *#-]{1,19})?$", example="133"),
        Kind("PIN", 4, r"^([0-9]{4})?$", example="4821", checks="nothing"),
        Kind(
            "DATE",
            10,
            r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$",
            example="2001-02-03",
            format="date",
            long="malformed",
        ),
        Kind("PERIOD", 7, r"^(2[0-9]{3}(-Q[1-4])?)?$", example="2026-Q3", long="malformed"),
        Kind(
            "TIME_OF_DAY",
            5,
            r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$",
            example="08:00",
            long="malformed",
        ),
        Kind("PASSWORD", 200, least=12, format="password"),
        Kind("SECRET", 200, format="password", checks="nothing"),
        Kind("URL", 500, r"^(https?://[^\s/]+(/\S*)?)?$", example="https://casa-esperanza.example"),
        Kind("ETAG", 100, example="v7"),
        Kind("REQUEST_ID", 100, r"^[\x21\x23-\x7e]*$"),
        Kind("PAGE_TOKEN", 2000, r"^[A-Za-z0-9_-]*$", long="malformed"),
    )
}
# Kinds by the end of a field's name; the first match wins.
_KINDS_BY_ENDING = (
    ("request_id", "REQUEST_ID"),
    ("page_token", "PAGE_TOKEN"),
    ("etag", "ETAG"),
    ("_ids", "ID"),
    ("_id", "ID"),
    ("_codes", "CODE"),
    ("_code", "CODE"),
    ("languages", "LANGUAGE"),
    ("language", "LANGUAGE"),
    ("country", "COUNTRY"),
    ("department", "SUBDIVISION"),
    ("email", "EMAIL"),
    ("phone", "PHONE"),
    ("note", "NOTE"),
    ("pin", "PIN"),
    ("password", "PASSWORD"),
    ("secret", "SECRET"),
    ("url", "URL"),
)


@dataclass(frozen=True)
class Shape:
    """The rules of a field.

    `least` and `most` limit the length of a text, the number of entries of a list, or the value of
    a number. `kind` is the kind of a text, or of a list's texts. `distinct`: no entry occurs twice
    in the list (checked by the service that stores the list).

    `required`: in requests. `output_only`: never in a request. `immutable`: set at creation only.
    `always`: present in each response. `private`: never part of a URL. `sealed`: stored encrypted.
    `optional`: an etag or a mask that a change may leave out. `only`: the fields that a mask or
    message may contain; `without`: the fields that it may not contain. If both are empty, the mask
    or message may contain all fields that are not output-only.
    """

    kind: Kind | None
    least: int
    most: int
    example: Any
    required: bool
    output_only: bool
    immutable: bool
    always: bool
    only: tuple[str, ...]
    without: tuple[str, ...]
    private: bool
    sealed: bool
    distinct: bool
    optional: bool


@cache
def shape(field: FieldType) -> Shape:
    """Returns the rules of a field.

    Raises TypeError for a kind that this module does not know.
    """
    options = {option.full_name: value for option, value in field.GetOptions().ListFields()}
    rules = options.get(_RULES)
    behavior = {_behavior_name(field, number) for number in options.get(_BEHAVIOR, ())}
    kind = _kind(field, rules) if field.type == FieldDescriptor.TYPE_STRING else None
    least, most = (0, 50) if field.is_repeated else (kind.least, kind.most) if kind else (0, INT32)
    if field.type == FieldDescriptor.TYPE_INT64 and not field.is_repeated:
        most = 2**63 - 1
    if rules is not None:
        least = rules.least if rules.HasField("least") else least
        most = rules.most if rules.HasField("most") else most
    return Shape(
        kind=kind,
        least=least,
        most=most,
        example=(rules.example if rules is not None else "") or (kind.example if kind else ""),
        required="REQUIRED" in behavior,
        output_only="OUTPUT_ONLY" in behavior,
        immutable="IMMUTABLE" in behavior,
        always=rules is not None and rules.always,
        only=tuple(rules.only) if rules is not None else (),
        without=tuple(rules.without) if rules is not None else (),
        private=rules is not None and rules.private,
        sealed=(rules is not None and rules.sealed) or (kind is not None and kind.name == "NOTE"),
        distinct=rules is not None and rules.distinct,
        optional="OPTIONAL" in behavior,
    )


def _kind(field: FieldType, rules: Any) -> Kind:
    number = rules.kind if rules is not None else 0
    if number:
        name = (
            rules.DESCRIPTOR.fields_by_name["kind"]
            .enum_type.values_by_number[number]
            .name.removeprefix("KIND_")
        )
        if name not in KINDS:
            raise TypeError(f"{field.full_name}: no kind {name}")
        return KINDS[name]
    if field.name in ("id", "code"):
        return KINDS[field.name.upper()]
    return KINDS[
        next(
            (
                kind
                for end, kind in _KINDS_BY_ENDING
                if field.name == end or field.name.endswith(end)
            ),
            "TEXT",
        )
    ]


def _behavior_name(field: FieldType, number: int) -> str:
    option = next(
        option
        for option, _value in field.GetOptions().ListFields()
        if option.full_name == _BEHAVIOR
    )
    return str(option.enum_type.values_by_number[number].name)


def is_map(field: FieldType) -> bool:
    """Returns True for a map field."""
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def violations(request: Message) -> list[Violation]:
    """Returns the violations of a request as (field path, reason): required, malformed, too_short,
    too_long, out_of_range, unknown_code.

    Returns at most MAX_VIOLATIONS. None of them contains a value from the request.
    """
    return list(islice(_violations(request, "", _checks(request.DESCRIPTOR)), MAX_VIOLATIONS))


def enum_name_of(descriptor: Descriptor | None, path: str) -> str:
    """Returns the name of the enum that is a request field's type; "" for a field of another type.
    Numbers in a path are positions in a list.
    """
    message, field = descriptor, None
    for name in (part for part in path.split(".") if not part.isdecimal()):
        field = message.fields_by_name.get(name) if message else None
        message = field.message_type if field else None
    return str(field.enum_type.name) if field and field.enum_type else ""


# --- checks: one for each field, built once for each message type

Check = Callable[[Message, str], Iterator[Violation]]


def _violations(
    message: Message,
    prefix: str,
    checks: Mapping[str, Check],
    *,
    changes: Collection[str] | None = None,
) -> Iterator[Violation]:
    """Yields the violations of a message. `changes` limits the checks to the fields that an update
    mask names.
    """
    for name, check in checks.items():
        if changes is None or name in changes:
            yield from check(message, f"{prefix}{name}")


@cache
def _checks(descriptor: Descriptor) -> dict[str, Check]:
    mask = descriptor.fields_by_name.get(MASK_FIELD)
    return {
        field.name: _check(field, shape(field), mask)
        for field in descriptor.fields
        if not shape(field).output_only and not is_map(field)
    }


def _check(field: FieldType, rule: Shape, mask: FieldType | None) -> Check:
    name = field.name
    if field.is_repeated:
        return _list_check(field, rule)
    if field.type == FieldDescriptor.TYPE_STRING:
        check_text = _text_check(rule)
        return lambda message, path: check_text(getattr(message, name), path)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return lambda message, path: _enum_violations(
            field, getattr(message, name), path, rule.required
        )
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _message_check(field, rule, mask)
    if field.type in (
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_DOUBLE,
    ):
        return _number_check(field, rule)
    return _no_violations


def _no_violations(_message: Message, _path: str) -> Iterator[Violation]:
    return iter(())


def _text_check(rule: Shape) -> Callable[[str, str], Iterator[Violation]]:
    kind = rule.kind
    assert kind is not None
    pattern = re.compile(kind.pattern) if kind.pattern else None
    if kind.checks == "nothing":
        return lambda _value, _path: iter(())

    def check(value: str, path: str) -> Iterator[Violation]:
        if not value or (rule.required and not value.strip()):
            if rule.required:
                yield path, "required"
        elif kind.checks == "presence":
            return
        elif len(value) > rule.most:
            yield path, kind.long
        elif len(value) < rule.least:
            yield path, "too_short"
        elif FORBIDDEN.search(value) or (pattern and not pattern.fullmatch(value)):
            yield path, kind.reason

    return check


def _number_check(field: FieldType, rule: Shape) -> Check:
    name = field.name
    # a page size above the maximum is reduced later, as AIP-158 requires
    most = INT32 if name == "page_size" else rule.most

    def check(message: Message, path: str) -> Iterator[Violation]:
        value = getattr(message, name)
        if field.has_presence and not message.HasField(name):
            if rule.required:
                yield path, "required"
        elif (value or rule.required or field.has_presence) and not rule.least <= value <= most:
            yield path, "out_of_range"

    return check


def _enum_violations(
    field: FieldType, value: int, path: str, required: bool
) -> Iterator[Violation]:
    if value not in field.enum_type.values_by_number:
        yield path, "unknown_code"
    elif required and not value:
        yield path, "required"


def _list_check(field: FieldType, rule: Shape) -> Check:
    check_text = _text_check(_entry_shape(rule)) if rule.kind else None

    def check(message: Message, path: str) -> Iterator[Violation]:
        values = getattr(message, field.name)
        if not values:
            if rule.required:
                yield path, "required"
        elif len(values) > rule.most:
            yield path, "too_long"
        else:
            for number, value in enumerate(values):
                entry_path = f"{path}.{number}"
                if check_text:
                    yield from check_text(value, entry_path)
                elif field.type == FieldDescriptor.TYPE_ENUM:
                    yield from _enum_violations(field, value or -1, entry_path, required=True)
                elif field.type == FieldDescriptor.TYPE_MESSAGE:
                    yield from _violations(value, f"{entry_path}.", _checks(field.message_type))

    return check


def _entry_shape(rule: Shape) -> Shape:
    kind = rule.kind
    assert kind is not None
    return replace(rule, least=kind.least, most=kind.most, required=kind.checks == "all")


def _message_check(field: FieldType, rule: Shape, mask: FieldType | None) -> Check:
    name = field.name
    if field.message_type.full_name == TIME:
        return lambda message, path: _time_violations(message, name, path, rule.required)
    if field.message_type.full_name == MASK:
        return lambda message, path: _mask_violations(getattr(message, name).paths, path, rule)

    def check(message: Message, path: str) -> Iterator[Violation]:
        if not message.HasField(name):
            if rule.required:
                yield path, "required"
            return
        changes = None
        if mask is not None:
            paths: Collection[str] = getattr(message, MASK_FIELD).paths
            if paths or not shape(mask).optional:
                changes = {masked_path.partition(".")[0] for masked_path in paths}
        yield from _violations(
            getattr(message, name), f"{path}.", _checks(field.message_type), changes=changes
        )

    return check


def _time_violations(message: Message, name: str, path: str, required: bool) -> Iterator[Violation]:
    if not message.HasField(name):
        if required:
            yield path, "required"
    else:
        time = getattr(message, name)
        if time.seconds not in _TIMES or not 0 <= time.nanos < 1_000_000_000:
            yield path, "out_of_range"


def _mask_violations(paths: Collection[str], path: str, rule: Shape) -> Iterator[Violation]:
    if not (paths or rule.optional):
        yield path, "required"
    elif rule.only and not set(paths) <= set(rule.only):
        yield path, "unknown_code"

"""Describes the input of each operation, row by row, from the OpenAPI document.

Each field and parameter comes with its kind, its limits and its description.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.gateway.api.schemas import FILLED, PLAIN

Schema = Mapping[str, Any]
KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}
FORMATS = {"date-time": "time", "date": "date", "password": "secret"}
DEPTH = 4  # levels of nested objects; none of our contracts goes deeper


@dataclass(frozen=True)
class Row:
    """A field or parameter. A request may have only one of the fields with the same `one_of`."""

    name: str
    location: str  # path, query, header or body
    kind: str
    required: bool
    limits: str
    about: str
    words: tuple[str, ...]
    example: str = ""
    one_of: str = ""


def operations(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Returns the operations by tag: method, path, description, and the rows of their input."""
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                entries = [
                    *_parameters(
                        document, [*item.get("parameters", []), *operation.get("parameters", [])]
                    ),
                    *_body(document, operation),
                ]
                groups[operation["tags"][0]].append(
                    {"method": method.upper(), "path": path, "takes": entries, **operation}
                )
    return groups


def _parameters(document: Mapping[str, Any], entries: list[Any]) -> Iterator[Row]:
    for entry in entries:
        parameter = _resolved(document, entry)
        example = {"examples": [parameter["example"]]} if "example" in parameter else {}
        schema = {**parameter.get("schema", {}), **example}
        description = parameter.get("description") or "Opaque: from an answer."
        yield _row(
            document,
            parameter["name"],
            parameter["in"],
            {**schema, "description": description},
            bool(parameter.get("required")),
        )


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Row]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from _fields(document, content["schema"], "", DEPTH)


def _fields(document: Mapping[str, Any], schema: Schema, prefix: str, depth: int) -> Iterator[Row]:
    resolved_schema = _resolved(document, schema)
    for name, field_schema in resolved_schema.get("properties", {}).items():
        if field_schema.get("readOnly"):
            continue
        yield _row(
            document,
            prefix + name,
            "body",
            field_schema,
            name in resolved_schema.get("required", ()),
        )
        inner = _resolved(document, field_schema)
        is_list = "items" in inner
        if depth:
            yield from _fields(
                document,
                inner["items"] if is_list else inner,
                f"{prefix}{name}{'[]' if is_list else ''}.",
                depth - 1,
            )


def _row(
    document: Mapping[str, Any], name: str, location: str, field_schema: Schema, required: bool
) -> Row:
    schema = _resolved(document, field_schema)
    item = _resolved(document, schema["items"]) if "items" in schema else schema
    kind = _kind(item)
    return Row(
        name,
        location,
        f"list: {kind}" if item is not schema else kind,
        required,
        ", ".join(_limits(schema, item)),
        str(field_schema.get("description", "")),
        tuple(str(word) for word in item.get("enum", ()) if word is not None),
        str((item.get("examples") or [""])[0]),
        str(field_schema.get("x-one-of", "")),
    )


def _kind(schema: Schema) -> str:
    kinds = schema.get("type", "object")
    types = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]
    word = (
        "word"
        if "enum" in schema
        else FORMATS.get(schema.get("format", ""), KINDS.get(types[0], types[0]))
    )
    return word if isinstance(kinds, str) or "null" not in kinds else f"{word}, or null to clear it"


def _limits(schema: Schema, item: Schema) -> Iterator[str]:
    if "maxItems" in schema:
        yield f"at most {schema['maxItems']} entries"
    if "minItems" in schema:
        yield f"at least {schema['minItems']}"
    if "enum" in item:
        return
    if "minLength" in item:
        yield f"at least {item['minLength']} character{'s' if item['minLength'] > 1 else ''}"
    if "maxLength" in item:
        yield f"at most {item['maxLength']:,} characters"
    if "minimum" in item and "maximum" in item:
        yield f"{item['minimum']:,} to {item['maximum']:,}"
    if item.get("pattern", PLAIN) not in (PLAIN, FILLED) and "format" not in item:
        yield f"like {item['pattern'].removeprefix('^').removesuffix('$')}"


def _resolved(document: Mapping[str, Any], schema: Schema) -> Schema:
    """Returns a schema or parameter with its outermost references resolved."""
    for part in schema.get("allOf", []):
        schema = {**schema, **part}
    target: Any = document
    if "$ref" not in schema:
        return schema
    for name in schema["$ref"].removeprefix("#/").split("/"):
        target = target[name]
    return {
        **target,
        **{key: value for key, value in schema.items() if key not in ("$ref", "allOf")},
    }

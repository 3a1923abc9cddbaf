"""The OpenAPI document of the gateway, and requests that are made from it."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from services.gateway.api import openapi
from tests.gateway.api_gateway import ID, System

DOCUMENT = openapi()
METHODS = {
    (path, method): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
NASTY_VALUES: list[Any] = [
    *(None, True, 0, -1, 2**40, 2**70, 1.5, 1e308, "", "x" * 5000, "\x00", "\ud800", "\u202e"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"),
    *([], [None], [[]], {}, {"a": {}}, {"": None}, {"__proto__": 1}),
]
"""Values that few fields expect."""


def request_with_every_field(
    system: System, path: str, method: str, idempotency_key: str = "k"
) -> Any:
    """Sends a request with every field and parameter that the document offers."""
    operation = METHODS[path, method]
    body = example(schema_of_body(operation["requestBody"])) if "requestBody" in operation else None
    query = "&".join(f"{name}={value}" for name, value in parameters(operation).items())
    return system.call(
        method.upper(),
        f"{filled_path(path)}?{query}",
        body,
        If_Match='"1"',
        Idempotency_Key=idempotency_key,
    )


def filled_path(path: str) -> str:
    """Returns the path with an id for each path parameter."""
    return "/".join(
        ID if part.startswith("{") else part for part in path.removeprefix("/api/v1").split("/")
    )


def schema_of_body(part: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of the body of a request or a response."""
    (content,) = part["content"].values()
    schema: dict[str, Any] = content["schema"]
    return schema


def violations(schema: dict[str, Any], value: Any) -> list[str]:
    """Returns where a value violates a schema of the document, and how."""
    validator = Draft202012Validator({"components": DOCUMENT["components"], **schema})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def parameters(operation: dict[str, Any]) -> dict[str, str]:
    """Returns the query parameters, each with an example."""
    examples = {}
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query":
            own_examples = {
                key: parameter[key] for key in ("examples", "example") if key in parameter
            }
            value = example({**parameter["schema"], **own_examples})
            text = str(value[0] if isinstance(value, list) else value)
            examples[parameter["name"]] = text.replace("True", "true")
    return examples


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema without references at its top."""
    for part in schema.get("allOf", []):
        schema = {**schema, **part}
    if "$ref" in schema:
        target: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return target
    return schema


def example(schema: dict[str, Any]) -> Any:
    """Returns a value that a schema allows, with every field that may be sent."""
    schema = resolve(schema)
    if "properties" in schema:
        # the last of several alternatives
        names = {
            field.get("x-one-of", name): name
            for name, field in schema["properties"].items()
            if not field.get("readOnly")
        }
        return {name: example(schema["properties"][name]) for name in names.values()}
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "array":
        return [example(schema["items"])]
    if examples := schema.get("examples"):
        return examples[0]
    if enum := schema.get("enum"):
        return enum[0]
    text = "x" * min(12, schema.get("maxLength", 12))
    return {
        "string": text,
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1),
        "boolean": True,
    }.get(kind, {})


def garble(body: Any, values: list[Any] = NASTY_VALUES) -> Iterator[Any]:
    """Yields variants of the body, each with one field (at any depth) replaced by a bad value."""
    yield from values
    for name, value in body.items():
        yield from ({**body, name: nasty} for nasty in values)
        if isinstance(value, dict):
            yield from (
                {**body, name: inner} for inner in garble(value, values) if isinstance(inner, dict)
            )


def types_only(schema: Any) -> Any:
    """Returns a schema that is closed (no undocumented field) and checks types only.

    The values of the fake services are not real ones.
    """
    if isinstance(schema, list):
        return [types_only(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    values = {
        name: types_only(part)
        for name, part in schema.items()
        if name not in ("enum", "pattern", "maxLength", "minLength", "minimum", "maximum", "format")
    }
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        values = {
            **values,
            "properties": {name: types_only(part) for name, part in schema["properties"].items()},
            "additionalProperties": False,
        }
    return values

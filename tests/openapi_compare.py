"""Compares two OpenAPI documents, and lists everything that the newer one removes or narrows.

These are the changes after which a client of the older document can no longer send or read
something. Additions are fine: a new operation or field, a longer text, a new word in an open list
of an answer. Limitation:
only types, required fields, words, lengths, ranges, patterns and statuses are compared; other tests
check that the server acts as its document says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]
AT_MOST = ("maxLength", "maximum", "maxItems")
AT_LEAST = ("minLength", "minimum", "minItems", "minProperties")


class Document:
    """An OpenAPI document whose references are followed."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._description = description
        self.operations: dict[tuple[str, str], Schema] = {
            (path, method): operation
            for path, item in description["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }

    def resolved(self, schema: Schema) -> Schema:
        """Returns a schema, parameter or response without references at its top."""
        for part in schema.get("allOf", ()):
            schema = {
                **self.resolved(part),
                **{key: value for key, value in schema.items() if key != "allOf"},
            }
        if "$ref" not in schema:
            return schema
        _, _, kind, name = schema["$ref"].split("/")
        return self.resolved(
            {
                **self._description["components"][kind][name],
                **{key: value for key, value in schema.items() if key != "$ref"},
            }
        )

    def body(self, outer: Schema) -> Schema | None:
        """Returns the schema of a request's or response's body."""
        content = self.resolved(outer).get("content")
        return (
            None if not content else self.resolved(next(iter(content.values())).get("schema", {}))
        )


def narrowed(old: Document, new: Document) -> list[str]:
    """Returns all changes that may break a client of the old document."""
    return sorted(_operations(old, new))


def _operations(old: Document, new: Document) -> Iterator[str]:
    for operation_key, before in old.operations.items():
        name = f"{operation_key[1].upper()} {operation_key[0]}"
        after = new.operations.get(operation_key)
        if after is None:
            yield f"{name}: is gone"
            continue
        bodies = [
            document.body(operation.get("requestBody", {}))
            for document, operation in ((old, before), (new, after))
        ]
        if bodies[0] is not None and bodies[1] is not None:
            yield from _narrowed_request(old, new, bodies[0], bodies[1], name)
        elif bodies[0] is not None or after.get("requestBody", {}).get(
            "required"
        ):  # an optional body requires no more than before
            yield f"{name}: {'takes no body any more' if bodies[0] else 'takes a body now'}"
        yield from _parameters(old, new, before, after, name)
        for status, response in before["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in after["responses"]:
                yield f"{name}: never answers {status} any more"
            elif (answer := old.body(response)) is not None:
                yield from _narrowed_answer(
                    old, new, answer, new.body(after["responses"][status]) or {}, f"{name} {status}"
                )


def _parameters(
    old: Document, new: Document, before: Schema, after: Schema, name: str
) -> Iterator[str]:
    before_by_key, after_by_key = (
        {
            (parameter["in"], parameter["name"]): parameter
            for parameter in map(document.resolved, operation.get("parameters", ()))
        }
        for document, operation in ((old, before), (new, after))
    )
    for key in before_by_key.keys() | after_by_key.keys():
        place = f"{name} {key[0]} {key[1]}"
        if key not in after_by_key:
            yield f"{place}: is gone"
        elif after_by_key[key].get("required") and not before_by_key.get(key, {}).get("required"):
            yield f"{place}: is required now"
        elif key in before_by_key:
            yield from _narrowed_request(
                old, new, before_by_key[key]["schema"], after_by_key[key]["schema"], place
            )


def _narrowed_request(
    old: Document, new: Document, before: Schema, after: Schema, place: str
) -> Iterator[str]:
    """Yields everything that a request could contain before but can't contain any more."""
    before, after = old.resolved(before), new.resolved(after)
    fields = [
        {
            name: part
            for name, part in schema.get("properties", {}).items()
            if not part.get("readOnly")
        }
        for schema in (before, after)
    ]
    for name in fields[0]:
        if name not in fields[1]:
            yield f"{place}.{name}: is gone"
        else:
            yield from _narrowed_request(
                old, new, fields[0][name], fields[1][name], f"{place}.{name}"
            )
    for name in set(after.get("required", ())) - set(before.get("required", ())):
        yield f"{place}.{name}: is required now"
    if "items" in before and "items" in after:
        yield from _narrowed_request(old, new, before["items"], after["items"], f"{place}[]")
    if _types(before) - _types(after):
        yield f"{place}: was {sorted(_types(before))}, is {sorted(_types(after))}"
    if "enum" in after and (removed := set(before.get("enum", ())) - set(after["enum"])):
        yield f"{place}: no longer takes {sorted(map(str, removed))}"
    if "enum" in after and "enum" not in before:
        yield f"{place}: takes only some words now"
    if (
        "enum" not in before
        and after.get("pattern") != before.get("pattern")
        and "pattern" in after
    ):
        yield f"{place}: has another pattern"
    for limit in AT_MOST:
        if (
            limit in after
            and after[limit] < before.get(limit, float("inf"))
            and "enum" not in before
        ):
            yield f"{place}: {limit} was {before.get(limit)}, is {after[limit]}"
    for limit in AT_LEAST:
        if limit in after and after[limit] > before.get(limit, 0):
            yield f"{place}: {limit} was {before.get(limit)}, is {after[limit]}"


def _narrowed_answer(
    old: Document, new: Document, before: Schema, after: Schema, place: str
) -> Iterator[str]:
    """Yields everything that an answer contained before but does not contain any more."""
    before, after = old.resolved(before), new.resolved(after)
    for name, part in before.get("properties", {}).items():
        if name not in after.get("properties", {}):
            yield f"{place}.{name}: is gone"
        else:
            yield from _narrowed_answer(
                old, new, part, after["properties"][name], f"{place}.{name}"
            )
    for name in set(before.get("required", ())) - set(after.get("required", ())):
        yield f"{place}.{name}: may be absent now"
    if "items" in before and "items" in after:
        yield from _narrowed_answer(old, new, before["items"], after["items"], f"{place}[]")
    if _types(after) - _types(before):
        yield f"{place}: was {sorted(_types(before))}, is {sorted(_types(after))}"


def _types(schema: Schema) -> set[str]:
    types = schema.get("type", [])
    return {types} if isinstance(types, str) else set(types)

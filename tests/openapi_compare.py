"""Compares OpenAPI documents, and finds everything that is gone or narrower in the newer one.

That is everything that a client of the older document could no longer send or read. Additions are
fine: a new operation or field, a longer text, a new word in an open list in an answer. Limitation:
only types, required fields, words, lengths, ranges, patterns and statuses are compared; other tests
check that the server acts as its document says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]
AT_MOST, AT_LEAST = (
    ("maxLength", "maximum", "maxItems"),
    ("minLength", "minimum", "minItems", "minProperties"),
)


class Document:
    """An OpenAPI document whose references are followed."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self.operations: dict[tuple[str, str], Schema] = {
            (path, method): operation
            for path, item in said["paths"].items()
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
                **self._said["components"][kind][name],
                **{key: value for key, value in schema.items() if key != "$ref"},
            }
        )

    def body(self, said: Schema) -> Schema | None:
        """Returns the schema of a request's or response's body."""
        content = self.resolved(said).get("content")
        return (
            None if not content else self.resolved(next(iter(content.values())).get("schema", {}))
        )


def narrowed(old: Document, new: Document) -> list[str]:
    """Returns everything on which a client of the old document could not rely any more."""
    return sorted(_operations(old, new))


def _operations(old: Document, new: Document) -> Iterator[str]:
    for place, before in old.operations.items():
        name = f"{place[1].upper()} {place[0]}"
        after = new.operations.get(place)
        if after is None:
            yield f"{name}: is gone"
            continue
        sent = [
            document.body(operation.get("requestBody", {}))
            for document, operation in ((old, before), (new, after))
        ]
        if sent[0] is not None and sent[1] is not None:
            yield from _taken(old, new, sent[0], sent[1], name)
        elif sent[0] is not None or after.get("requestBody", {}).get(
            "required"
        ):  # an optional body requires no more than before
            yield f"{name}: {'takes no body any more' if sent[0] else 'takes a body now'}"
        yield from _parameters(old, new, before, after, name)
        for status, response in before["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in after["responses"]:
                yield f"{name}: never answers {status} any more"
            elif (was := old.body(response)) is not None:
                yield from _answered(
                    old, new, was, new.body(after["responses"][status]) or {}, f"{name} {status}"
                )


def _parameters(
    old: Document, new: Document, before: Schema, after: Schema, name: str
) -> Iterator[str]:
    was, now = (
        {
            (said["in"], said["name"]): said
            for said in map(document.resolved, operation.get("parameters", ()))
        }
        for document, operation in ((old, before), (new, after))
    )
    for key in was.keys() | now.keys():
        at = f"{name} {key[0]} {key[1]}"
        if key not in now:
            yield f"{at}: is gone"
        elif now[key].get("required") and not was.get(key, {}).get("required"):
            yield f"{at}: is required now"
        elif key in was:
            yield from _taken(old, new, was[key]["schema"], now[key]["schema"], at)


def _taken(old: Document, new: Document, was: Schema, now: Schema, at: str) -> Iterator[str]:
    """Yields everything that a request could contain before but can't contain any more."""
    was, now = old.resolved(was), new.resolved(now)
    fields = [
        {
            name: part
            for name, part in said.get("properties", {}).items()
            if not part.get("readOnly")
        }
        for said in (was, now)
    ]
    for name in fields[0]:
        if name not in fields[1]:
            yield f"{at}.{name}: is gone"
        else:
            yield from _taken(old, new, fields[0][name], fields[1][name], f"{at}.{name}")
    for name in set(now.get("required", ())) - set(was.get("required", ())):
        yield f"{at}.{name}: is required now"
    if "items" in was and "items" in now:
        yield from _taken(old, new, was["items"], now["items"], f"{at}[]")
    if _types(was) - _types(now):
        yield f"{at}: was {sorted(_types(was))}, is {sorted(_types(now))}"
    if "enum" in now and (gone := set(was.get("enum", ())) - set(now["enum"])):
        yield f"{at}: no longer takes {sorted(map(str, gone))}"
    if "enum" in now and "enum" not in was:
        yield f"{at}: takes only some words now"
    if "enum" not in was and now.get("pattern") != was.get("pattern") and "pattern" in now:
        yield f"{at}: has another pattern"
    for limit in AT_MOST:
        if limit in now and now[limit] < was.get(limit, float("inf")) and "enum" not in was:
            yield f"{at}: {limit} was {was.get(limit)}, is {now[limit]}"
    for limit in AT_LEAST:
        if limit in now and now[limit] > was.get(limit, 0):
            yield f"{at}: {limit} was {was.get(limit)}, is {now[limit]}"


def _answered(old: Document, new: Document, was: Schema, now: Schema, at: str) -> Iterator[str]:
    """Yields everything that an answer contained before but does not contain any more."""
    was, now = old.resolved(was), new.resolved(now)
    for name, part in was.get("properties", {}).items():
        if name not in now.get("properties", {}):
            yield f"{at}.{name}: is gone"
        else:
            yield from _answered(old, new, part, now["properties"][name], f"{at}.{name}")
    for name in set(was.get("required", ())) - set(now.get("required", ())):
        yield f"{at}.{name}: may be absent now"
    if "items" in was and "items" in now:
        yield from _answered(old, new, was["items"], now["items"], f"{at}[]")
    if _types(now) - _types(was):
        yield f"{at}: was {sorted(_types(was))}, is {sorted(_types(now))}"


def _types(schema: Schema) -> set[str]:
    types = schema.get("type", [])
    return {types} if isinstance(types, str) else set(types)

"""Merge patches (RFC 7396): named fields change, null clears, objects are merged, lists replaced.

The contracts' masks name whole fields. A patch that changes only a part of an object is therefore
merged here with the current object. If the request has an etag, the service refuses the change if
somebody else changed the resource in between.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from services.gateway.api.convert import to_json

JsonObject = dict[str, Any]


def complete(patch: JsonObject, read: Callable[[], Message]) -> JsonObject:
    """Returns the patch with nested objects completed from the current resource.

    Calls `read` only if the patch has nested objects.
    """
    if not any(isinstance(value, dict) for value in patch.values()):
        return patch
    current = to_json(read())
    return {name: merge(current.get(name), value) for name, value in patch.items()}


def merge(current: Any, patch: Any) -> Any:
    """Merges as described in RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result

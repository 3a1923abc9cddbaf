"""Merge patches (RFC 7396): what is named changes, null clears, nested objects are merged, lists
are replaced.

The contracts' masks name whole fields. So a patch that reaches into an object is merged here with
what is there now; the etag that comes with it sees to it that nobody changed the thing in between.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.gateway.api.convert import to_json

Given = dict[str, Any]


def mask(patch: Given) -> FieldMask:
    """The mask of a patch: the fields it names."""
    return FieldMask(paths=sorted(patch))


def completed(patch: Given, read: Callable[[], Message]) -> Given:
    """The patch with nested objects completed from what is there; `read` is called only if there
    are any.
    """
    if not any(isinstance(value, dict) for value in patch.values()):
        return patch
    now = to_json(read())
    return {name: merge(now.get(name), value) for name, value in patch.items()}


def merge(now: Any, patch: Any) -> Any:
    """The algorithm of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(now) if isinstance(now, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result

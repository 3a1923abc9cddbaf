"""What all servicers of the service read from requests: ids, etags, page tokens, page sizes, masks."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask

from chassis.errors import Invalid, NotFound, Stale
from chassis.ids import is_id

_LONGEST_TOKEN = 400  # characters; beyond the longest that is ever given out


def optional_id(text: str, path: str) -> str:
    """An id or nothing."""
    if text and not is_id(text):
        raise Invalid((path, "malformed"))
    return text


def version(etag: str) -> int:
    """The version that an etag stands for. Required on every change; one that was never given out is stale."""
    if not etag:
        raise Invalid(("etag", "required"))
    if not (etag.startswith("v") and etag[1:].isascii() and etag[1:].isdigit() and len(etag) < 18):
        raise Stale
    return int(etag[1:])


def size(asked: int, default: int, most: int) -> int:
    """The page size."""
    if asked < 0:
        raise Invalid(("page_size", "out_of_range"))
    return min(asked or default, most)


def token(key: str) -> str:
    """An opaque page token for the key of the next page."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=") if key else ""


def after(page_token: str, *parts: Callable[[str], str]) -> str:
    """The key in a page token: a JSON list of one string for each of `parts`, which read it; refuses anything that this service did not give out."""
    if not page_token:
        return ""
    try:
        if len(page_token) > _LONGEST_TOKEN:
            raise ValueError
        found = json.loads(base64.urlsafe_b64decode(page_token + "=" * (-len(page_token) % 4)).decode())
        if not (isinstance(found, list) and all(isinstance(part, str) for part in found)):
            raise ValueError
        return json.dumps([read(part) for read, part in zip(parts, found, strict=True)])
    except (binascii.Error, ValueError, OverflowError, RecursionError, NotFound) as error:
        raise Invalid(("page_token", "malformed")) from error


def moment_key(text: str) -> str:
    """A part of a page token: a time as the database writes it."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat()


def due_key(text: str) -> str:
    """A part of a page token: a time, or that there is none."""
    return text if text == "infinity" else moment_key(text)


def number_key(text: str) -> str:
    """A part of a page token: a sequence number."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError
    return text


def mask(update_mask: FieldMask, allowed: Sequence[str]) -> frozenset[str]:
    """The fields to change; refuses none and unknown ones."""
    paths = frozenset(update_mask.paths)
    if not paths:
        raise Invalid(("update_mask", "required"))
    if paths - set(allowed):
        raise Invalid(("update_mask", "unknown_code"))
    return paths

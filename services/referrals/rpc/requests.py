"""What all faces of the service read from requests: etags, page tokens, page sizes, masks."""

import base64
import binascii
import json
from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from chassis.errors import Invalid, Stale


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


def after(page_token: str, parts: int) -> str:
    """The key in a page token: a JSON list of so many strings; refuses anything else."""
    if not page_token:
        return ""
    try:
        key = base64.urlsafe_b64decode(page_token + "=" * (-len(page_token) % 4)).decode()
        found = json.loads(key)
    except (binascii.Error, ValueError) as error:
        raise Invalid(("page_token", "malformed")) from error
    if not (isinstance(found, list) and len(found) == parts and all(isinstance(part, str) and len(part) <= 64 for part in found)):
        raise Invalid(("page_token", "malformed"))
    return key


def mask(update_mask: FieldMask, allowed: Sequence[str]) -> frozenset[str]:
    """The fields to change; refuses none and unknown ones."""
    paths = frozenset(update_mask.paths)
    if not paths:
        raise Invalid(("update_mask", "required"))
    if unknown := sorted(paths - set(allowed)):
        raise Invalid(*((f"update_mask.{path[:40]}", "unknown_code") for path in unknown[:20]))
    return paths

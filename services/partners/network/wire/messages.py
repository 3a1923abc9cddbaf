"""What messages of all subjects have in common: masks and etags."""

from dataclasses import fields
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from chassis.wire import etag, masked
from services.partners.network.domain.subject import Subject


def masked_fields(mask: FieldMask, entry: Any, *besides: str) -> dict[str, Any]:
    """The fields of an entry, a dataclass, that a mask names, with their values; `besides` may be
    named too, though the entry has not got them.
    """
    paths = masked(mask, [*(field.name for field in fields(entry)), *besides])
    return {path: getattr(entry, path, None) for path in sorted(paths)}


def etag_of(subject: Subject) -> str:
    """Another one whenever what a reader sees has changed."""
    return etag(subject.version, *subject.seen_besides())

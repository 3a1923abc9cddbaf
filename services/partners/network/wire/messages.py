"""Update masks and etags, for the messages of all subjects."""

from dataclasses import fields
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from chassis.wire import etag, mask_names
from services.partners.network.domain.subject import Subject


def masked_fields(mask: FieldMask, entry: Any, *other_fields: str) -> dict[str, Any]:
    """Returns the values of those fields of an entry (a dataclass) that a mask names, by field.

    The mask may also name the fields in `other_fields`; a field that the entry does not have gets
    None. Raises Invalid if the mask is empty or names another field.
    """
    paths = mask_names(mask, [*(field.name for field in fields(entry)), *other_fields])
    return {path: getattr(entry, path, None) for path in sorted(paths)}


def etag_of(subject: Subject) -> str:
    """Returns the etag of a subject, which changes with the data that a reader sees."""
    return etag(subject.version, *subject.data_outside_version())

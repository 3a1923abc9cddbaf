"""Merges the typed fields of a form with a change that somebody else made in the meantime.

The typed fields are compared with the object from which the form was made, which the form carries
in its field `shown`. A page that shows the merged object has the status MERGED, so that refill.py
does not put the typed values back.
"""

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError, Message

from services.gateway.site.parts import forms

MERGED = 412
M = TypeVar("M", bound=Message)


def encode(entry: Message) -> str:
    """Returns the encoded object for the form's field `shown`."""
    return base64.b64encode(entry.SerializeToString(deterministic=True)).decode()


def original(kind: type[M]) -> M:
    """Returns the object that the form carried; an empty message if it carried none."""
    entry = kind()
    # If the form carries no valid object, all its fields count as typed.
    with suppress(ValueError, DecodeError):
        entry.ParseFromString(base64.b64decode(forms.text("shown"), validate=True))
    return entry


def merge(typed: M, stored: M, paths: Sequence[str]) -> M:
    """Returns the stored object, with the changed fields of the form applied to it.

    A field that the form did not change keeps its stored value.
    """
    original_entry = original(type(typed))
    result = type(typed)()
    result.CopyFrom(stored)
    changed_paths = [path for path in paths if _part(typed, path) != _part(original_entry, path)]
    FieldMask(paths=changed_paths).MergeMessage(
        typed, result, replace_message_field=True, replace_repeated_field=True
    )
    return result


def _part(entry: M, path: str) -> M:
    """Returns a message with this field alone."""
    part = type(entry)()
    FieldMask(paths=[path]).MergeMessage(entry, part)
    return part

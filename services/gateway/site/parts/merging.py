"""Puts together what somebody typed and what somebody else changed meanwhile, by what the form had
shown to her.

The form carries the object that it was made from (`shown`). A page that answers with both put
together has the status MERGED, and is sent again as it is.
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


def shown(entry: Message) -> str:
    """An entry as the form shows it, to be compared with what comes back."""
    return base64.b64encode(entry.SerializeToString(deterministic=True)).decode()


def before(kind: type[M]) -> M:
    """Returns what the form had shown; an empty message for a form that says nothing of it."""
    entry = kind()
    # somebody's own form: all that it says is taken as typed
    with suppress(ValueError, DecodeError):
        entry.ParseFromString(base64.b64decode(forms.text("shown"), validate=True))
    return entry


def merged(said: M, fresh: M, paths: Sequence[str]) -> M:
    """What was typed, on top of what is there now: whoever did not touch a field has nothing to say
    of it.
    """
    old = before(type(said))
    result = type(said)()
    result.CopyFrom(fresh)
    for path in paths:
        if _of(said, path) != _of(old, path):
            result.ClearField(path)
            part = type(said)()
            FieldMask(paths=[path]).MergeMessage(said, part)
            result.MergeFrom(part)
    return result


def _of(entry: Message, path: str) -> object:
    """A field alone, as it can be compared."""
    part = type(entry)()
    FieldMask(paths=[path]).MergeMessage(entry, part)
    return part.SerializeToString(deterministic=True)

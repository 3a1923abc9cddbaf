"""Packs a Kafka record (key, value and headers) into bytes that can be stored, so that the record
can be read or published again unchanged.
"""

import base64
import json
from collections.abc import Sequence

Contents = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers."""


def pack(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> bytes:
    """Returns the record as one line of ASCII. Equal records give equal lines."""
    return json.dumps(
        [_text(key), _text(value), [[name, _text(header)] for name, header in headers]]
    ).encode()


def unpack(packed: bytes) -> Contents:
    """Returns the record's contents. Raises ValueError if the bytes are not a packed record."""
    try:
        key, value, headers = json.loads(packed)
        return _bytes(key), _bytes(value), [(str(name), _bytes(header)) for name, header in headers]
    except (TypeError, ValueError) as error:
        raise ValueError("not a packed record") from error


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)

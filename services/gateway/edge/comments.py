"""The comments of the .proto files, by the full name of what they describe.

Compiled descriptors do not hold them. The API's descriptions and the meanings of reasons are taken
from these comments.
"""

import json
from pathlib import Path
from typing import Any

import protos

COMMENTS: dict[str, str] = json.loads((Path(protos.__file__).parent / "comments.json").read_text())


def comment(descriptor: Any) -> str:
    """Returns the comment of a message, field, service or rpc, as sentences; "" if it has none."""
    text = COMMENTS.get(descriptor.full_name, "")
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")

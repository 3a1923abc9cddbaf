"""The comments of the .proto files by full name, which compiled descriptors no longer hold.

They are the descriptions of the API and the meaning of reasons.
"""

import json
from pathlib import Path
from typing import Any

import protos

COMMENTS: dict[str, str] = json.loads((Path(protos.__file__).parent / "comments.json").read_text())


def comment(named: Any) -> str:
    """Returns the comment of a message, field, service or rpc, as sentences; "" if it has none."""
    text = COMMENTS.get(named.full_name, "")
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")

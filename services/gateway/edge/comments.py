"""What the .proto files say of each of their names, which compiled descriptors no longer hold: the
descriptions of the API and the meaning of reasons.
"""

import json
from pathlib import Path
from typing import Any

import protos

COMMENTS: dict[str, str] = json.loads((Path(protos.__file__).parent / "comments.json").read_text())


def comment(named: Any) -> str:
    """What is said of a message, field, service or rpc, as sentences; empty if nothing is."""
    said = COMMENTS.get(named.full_name, "")
    return said and said[0].upper() + said[1:] + ("" if said[-1] in ".!?" else ".")

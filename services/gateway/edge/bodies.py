"""How large a request's body may be: what a form or an API call can need, and more where a file is
sent.
"""

from io import BytesIO
from typing import IO, Any

from flask import Request
from google.api import annotations_pb2

from protos.partners.v1 import open_data_pb2

USUAL = 64 * 1024
_IMPORT = open_data_pb2.DESCRIPTOR.services_by_name["Imports"].methods_by_name["CreateImport"]
FILES = {
    _IMPORT.GetOptions().Extensions[annotations_pb2.http].post: 1_000_000,
    "/directory/import": 800_000,
}
"""By path: a file of 700,000 bytes as base64 in JSON, and as it is in a form."""
FILES_AT_ONCE = 20  # that arrive: they are held in memory until they are whole


class InMemory(Request):
    """A request whose files stay in memory, where they are bounded: a disk that is full refuses
    none.
    """

    def _get_file_stream(self, *_sizes_and_names: Any, **_more: Any) -> IO[bytes]:
        return BytesIO()


def most(path: str) -> int:
    """In bytes."""
    return FILES.get(path, USUAL)

"""The maximum size of a request's body.

Most paths allow as much as a form or an API call can need; the paths of FILES allow a file.
"""

from io import BytesIO
from typing import IO, Any

from flask import Request
from google.api import annotations_pb2

from protos.partners.v1 import open_data_pb2

DEFAULT_SIZE = 64 * 1024
_IMPORT = open_data_pb2.DESCRIPTOR.services_by_name["Imports"].methods_by_name["CreateImport"]
FILES = {
    _IMPORT.GetOptions().Extensions[annotations_pb2.http].post: 1_000_000,
    "/directory/import": 800_000,
}
"""Maximum in bytes by path: a file of 700,000 bytes, as base64 in JSON or as a form sends it."""
FILES_AT_ONCE = 20  # files that may arrive at once; each is held in memory until it is complete


class InMemory(Request):
    """A request whose files stay in memory, with a limited size.

    A full disk therefore does not stop an upload.
    """

    def _get_file_stream(self, *_sizes_and_names: Any, **_more: Any) -> IO[bytes]:
        return BytesIO()


def maximum_size(path: str) -> int:
    """Returns the maximum size of a body at this path, in bytes."""
    return FILES.get(path, DEFAULT_SIZE)

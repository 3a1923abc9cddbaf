"""Creates the missing keys of a stack: `python -m local.make_keys FOLDER SERVICE…`. Creates no
sealing keys if a key service holds them. Ends with one sentence if a key can't be used.

Runs as a process of its own, so that the stack's process need not load the libraries that read
keys: they take 12 MB, and a tenth of a second before the first part starts.
"""

import os
import sys
from pathlib import Path

from keys import key_folder

KEYS = ("*.jwk", "sealing.*.key", "marks.*.key", "gateway.key", "mail.key")


def main(folder: Path, services: list[str]) -> None:
    try:
        key_folder.create(folder, services, sealing=not os.environ.get("ENLACE_PKCS11_MODULE"))
    except FileNotFoundError as error:
        sys.exit(
            f"{error.filename} is missing, and its public half is not: restore it from a copy of"
            ' the keys; without a copy, see docs/operations.md, "the private half of a key is lost"'
        )
    except OSError as error:
        sys.exit(
            f"{error.filename or folder} can't be read or written: {error.strerror} (let this"
            f" account use the folder {folder}, and free space on its disk)"
        )
    for file in sorted(file for pattern in KEYS for file in folder.glob(pattern)):
        if key_folder.is_mixed(file):
            sys.exit(
                f"{file} and {file.with_suffix('.pub.jwk').name} are halves of two different pairs:"
                " restore both from the same copy of the keys"
            )
        if not key_folder.is_readable(folder, file.name):
            sys.exit(
                f"{file} can't be read, or holds no key: let this account read it, or restore it"
                " from a copy of the keys"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

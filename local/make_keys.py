"""Creates the missing keys of a stack: `python -m local.make_keys FOLDER SERVICE…`, and the sealing
keys too unless a key service holds them.

A process of its own, so that the stack's process need not load what reads keys: 12 MB, and a tenth
of a second before the first part starts.
"""

import os
import sys
from pathlib import Path

from keys import key_folder

if __name__ == "__main__":
    key_folder.create(
        Path(sys.argv[1]), sys.argv[2:], sealing=not os.environ.get("ENLACE_PKCS11_MODULE")
    )

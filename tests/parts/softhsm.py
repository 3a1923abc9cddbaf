"""A PKCS#11 token in software (SoftHSM 2) in a folder of its own.

A test can remove the token and put it back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chassis.config import KeyServiceSettings

MODULE = "/usr/lib/softhsm/libsofthsm2.so"  # on Debian, for every architecture
PIN = "4711-token-pin"


class SoftHsm:
    """A folder of tokens, each with a label. A process finds it through its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tokens, self._removed_tokens = folder / "tokens", folder / "gone"
        self._tokens.mkdir(parents=True)
        self.pin_file = folder / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        (folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level ="
            " ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}

    def token(self, label: str) -> KeyServiceSettings:
        """Makes a new token; returns the settings that use it."""
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--so-pin",
            "so-" + PIN,
            "--pin",
            PIN,
        ]
        subprocess.run(command, env=os.environ | self.environment, check=True, capture_output=True)
        return KeyServiceSettings(MODULE, label, self.pin_file)

    def environment_for(self, label: str) -> dict[str, str]:
        """Returns the environment of a process that uses the token."""
        return self.environment | {
            "ENLACE_PKCS11_MODULE": MODULE, "ENLACE_PKCS11_TOKEN": label,
            "ENLACE_PKCS11_PIN_FILE": str(self.pin_file)
        }  # fmt: skip

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the tokens away until the block ends."""
        self._tokens.rename(self._removed_tokens)
        self._tokens.mkdir()
        try:
            yield
        finally:
            self._tokens.rmdir()
            self._removed_tokens.rename(self._tokens)

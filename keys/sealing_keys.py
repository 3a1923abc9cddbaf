"""The sealing keys of one service: files in its folder, keys in its key service, or both while it
moves from the first to the second. The newest seals.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chassis.config import ServiceSettings, WrongSettings
from keys import key_folder
from keys.sealing import Cipher, Keyring

if TYPE_CHECKING:
    from keys.service import KeyService


class SealingKeys:
    """Those of the service `name`."""

    def __init__(self, folder: Path, name: str, key_service: KeyService | None = None) -> None:
        self._folder = folder
        self._name = name
        self._service = key_service
        self._mark: Callable[[bytes], bytes] | None = None

    def keyring(self) -> Keyring:
        """All of them, read anew when they change."""
        return (
            Keyring(self._hash, self._ring)
            if self._service
            else key_folder.keyring(self._folder, self._name)
        )

    def newest(self) -> int:
        """The number of the one that seals; below 0 if there is none."""
        return max(self._ring(), default=-1)

    def add(self, now: float) -> int:
        """Makes the next one; returns its number."""
        if not self._service:
            return key_folder.add_to_ring(self._folder, f"sealing.{self._name}")
        number = self.newest() + 1
        self._service.make(self._name, number, now)
        return number

    def age_of_newest(self, now: float) -> float:
        """Seconds since it was made."""
        number = self.newest()
        if self._service and number in self._service.ring(self._name):
            return now - self._service.made_at(self._name, number, now)
        return key_folder.age_of_newest(self._folder, f"sealing.{self._name}", now)

    def retire(self) -> list[int]:
        """Destroys all but the newest; returns their numbers.

        What fingerprints are made with stays, and goes where the newest is.
        """
        *older, newest = sorted(self._ring())
        there = self._service.ring(self._name) if self._service else {}
        if not self._service or newest not in there:
            return key_folder.retire(self._folder, self._name)
        if key_folder.names(self._folder, self._name):
            self._service.keep_marks(self._name, key_folder.root(self._folder, self._name))
        for number in older:
            if number in there:
                self._service.destroy(self._name, number)
        key_folder.drop_sealing(self._folder, self._name)
        return older

    def begin(self, secret: bytes, now: float) -> bool:
        """Makes the first one in a key service, with the secret for marks; not when there is one
        anywhere. A crash between the two: once more.
        """
        if not self._service or self.newest() >= 0:
            return False
        self._service.keep_marks(self._name, secret)
        self._service.make(self._name, 0, now)
        return True

    def work(self) -> bool:
        """Whether each seals and opens, and fingerprints are made."""
        try:
            keyring = self.keyring()
            opened = [
                keyring.opens(keyring.checked(number, "x", "x"), "x") == "x"
                for number in keyring.numbers
            ]
            keyring.fingerprint(b"x", "sealing_checks")
        except Exception:  # whatever is wrong with them
            return False
        return bool(opened) and all(opened)

    def _ring(self) -> Mapping[int, bytes | Cipher]:
        files = (
            key_folder.ring(self._folder, f"sealing.{self._name}")
            if key_folder.names(self._folder, self._name) or not self._service
            else {}
        )
        return {**files, **(self._service.ring(self._name) if self._service else {})}

    def _hash(self, value: bytes) -> bytes:
        if self._mark is None:
            there = self._service.marks(self._name) if self._service else None
            self._mark = there or partial(
                hmac.digest, key_folder.root(self._folder, self._name), digest="sha256"
            )
        return self._mark(value)


def of(settings: ServiceSettings, name: str) -> SealingKeys:
    """Returns the sealing keys of a service, by its settings.

    Raises WrongSettings if they are in a key service and the library that speaks to it is not
    installed.
    """
    if not settings.key_service:
        return SealingKeys(settings.keys, name)
    try:
        from keys.service import KeyService
    except ModuleNotFoundError as error:
        if error.name != "pkcs11":
            raise
        raise WrongSettings(
            "wrong settings: for ENLACE_PKCS11_MODULE install requirements/pkcs11.txt"
        ) from None

    return SealingKeys(settings.keys, name, KeyService(settings.key_service))

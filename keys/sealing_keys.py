"""The sealing keys of one service: files in its folder, keys in its key service, or both while they
are being moved. The newest key seals.
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
    """The sealing keys of the service `name`."""

    def __init__(self, folder: Path, name: str, key_service: KeyService | None = None) -> None:
        self._folder = folder
        self._name = name
        self._service = key_service
        self._keyed_hash: Callable[[bytes], bytes] | None = None

    def keyring(self) -> Keyring:
        """Returns all keys as a keyring, which notices new keys."""
        return (
            Keyring(self._hash, self._ring)
            if self._service
            else key_folder.keyring(self._folder, self._name)
        )

    def newest(self) -> int:
        """Returns the number of the key that seals. If there is none, returns -1 or, without a key
        service, raises FileNotFoundError.
        """
        return max(self._ring(), default=-1)

    def add(self, now: float) -> int:
        """Creates the next key, in the key service if there is one; returns the key's number."""
        if not self._service:
            return key_folder.add_to_ring(self._folder, f"sealing.{self._name}")
        number = self.newest() + 1
        self._service.make(self._name, number, now)
        return number

    def age_of_newest(self, now: float) -> float:
        """Returns the seconds since the newest key was created."""
        number = self.newest()
        if self._service and number in self._service.ring(self._name):
            return now - self._service.made_at(self._name, number, now)
        return key_folder.age_of_newest(self._folder, f"sealing.{self._name}", now)

    def retire(self, newest: int) -> list[int]:
        """Destroys all keys older than `newest`; returns their numbers.

        The secret for fingerprints stays. It moves to the key service if the key `newest` is there.
        """
        older = [number for number in sorted(self._ring()) if number < newest]
        in_service = self._service.ring(self._name) if self._service else {}
        if not self._service or newest not in in_service:
            return key_folder.retire(self._folder, self._name, newest)
        if key_folder.sealing_files(self._folder, self._name):
            self._service.store_fingerprint_secret(
                self._name, key_folder.fingerprint_secret(self._folder, self._name)
            )
        for number in older:
            if number in in_service:
                self._service.destroy(self._name, number)
        key_folder.drop_sealing(self._folder, self._name)
        return older

    def begin(self, secret: bytes, now: float) -> bool:
        """Creates the first key in the key service, with the secret for fingerprints. Returns False
        if there is no key service, or if any key exists. May be repeated after a crash.
        """
        if not self._service or self.newest() >= 0:
            return False
        self._service.store_fingerprint_secret(self._name, secret)
        self._service.make(self._name, 0, now)
        return True

    def are_usable(self) -> bool:
        """Returns True if each key seals and opens, and fingerprints can be made."""
        try:
            keyring = self.keyring()
            open_results = [
                keyring.open_check(keyring.seal_check(number, "x", "x"), "x") == "x"
                for number in keyring.numbers
            ]
            keyring.fingerprint(b"x", "sealing_checks")
        except Exception:  # missing, malformed or unavailable
            return False
        return bool(open_results) and all(open_results)

    def _ring(self) -> Mapping[int, bytes | Cipher]:
        files = (
            key_folder.ring(self._folder, f"sealing.{self._name}")
            if key_folder.sealing_files(self._folder, self._name) or not self._service
            else {}
        )
        return {**files, **(self._service.ring(self._name) if self._service else {})}

    def _hash(self, value: bytes) -> bytes:
        if self._keyed_hash is None:
            in_service = self._service.keyed_hash(self._name) if self._service else None
            self._keyed_hash = in_service or partial(
                hmac.digest,
                key_folder.fingerprint_secret(self._folder, self._name),
                digest="sha256",
            )
        return self._keyed_hash(value)


def of(settings: ServiceSettings, name: str) -> SealingKeys:
    """Returns the sealing keys of a service, found through its settings.

    Raises WrongSettings if the keys are in a key service, but the library for it is not installed.
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

"""Sealing keys in a key service: a PKCS#11 token (SoftHSM, a smart card, an HSM). The keys can't be
read; the key service itself seals and opens.

The keys have the names of the files (keys/key_folder.py): the AES keys `sealing.SERVICE` and
`sealing.SERVICE.N`, and `marks.SERVICE`, which makes fingerprints.

There is one session (a change opens another for a moment), and one call at a time: the library
promises the module that all calls come from one thread, and a session can run only one operation at
a time. A broken session is opened again, at most once a second; until then callers get Unavailable.
While the module hangs in one call, other callers wait only briefly. A wrong PIN is tried only once,
since a card may lock itself after three tries.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from secrets import token_bytes
from typing import Any, TypeVar

import pkcs11
from cryptography.exceptions import InvalidTag
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass, PKCS11Error
from pkcs11.exceptions import (
    MultipleObjectsReturned,
    NoSuchKey,
    NoSuchToken,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    SessionClosed,
    UserAlreadyLoggedIn,
)

from chassis import log
from chassis.config import KeyServiceSettings
from chassis.errors import Unavailable
from keys.sealing import Cipher

_Answer = TypeVar("_Answer")
_PATIENCE = 2.0  # seconds that a call waits for another call to end
_RETRY_PAUSE = 1.0  # minimum seconds between two tries to open a session
_TAG_BITS = 128
# Maximum number of cached hashes of purposes. Each organisation's names are a separate purpose.
_MAX_PURPOSES = 4096
_ONE_CALLER = threading.RLock()  # one for all objects, since the module is loaded once per process
_HIDDEN = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
}


class KeyService:
    """A token, accessed through its PKCS#11 module and opened with the PIN in a file."""

    def __init__(self, settings: KeyServiceSettings) -> None:
        self._settings = settings
        self._session: pkcs11.Session | None = None
        self._handles: dict[str, Any] = {}
        self._seen_labels: set[str] = set()
        self._failed_at = -_RETRY_PAUSE
        self._wrong_pin_hash = b""
        self._problem = ""

    def ring(self, service: str) -> Mapping[int, Cipher]:
        """Returns the sealing keys of a service by number."""
        prefix = f"sealing.{service}"
        numbers = [
            label.removeprefix(prefix).removeprefix(".") or "0"
            for label in self._labels()
            if f"{label}.".startswith(f"{prefix}.")
        ]
        return {
            int(number): _Key(self, _label(service, int(number)))
            for number in numbers
            if number.isdecimal()
        }

    def keyed_hash(self, service: str) -> Callable[[bytes], bytes] | None:
        """Returns the keyed hash function for a service's fingerprints; None if the token has no
        key for it.

        Results are cached: usually some hundreds of hashes, none of which is the key.
        """

        def compute(value: bytes) -> bytes:
            return self._run(
                lambda session: _bytes(
                    self._key(session, f"marks.{service}").sign(
                        value, mechanism=Mechanism.SHA256_HMAC
                    )
                )
            )

        return lru_cache(_MAX_PURPOSES)(compute) if f"marks.{service}" in self._labels() else None

    def make(self, service: str, number: int, now: float) -> None:
        """Creates a sealing key. The key's id is the time of its creation."""
        self._change(
            lambda session: session.generate_key(
                KeyType.AES, 256, id=int(now).to_bytes(8, "big"), label=_label(service, number),
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT, template=_HIDDEN,
            )
        )  # fmt: skip

    def store_fingerprint_secret(self, service: str, secret: bytes) -> None:
        """Stores the service's secret for fingerprints, unless the token has one already."""
        if f"marks.{service}" not in self._labels():
            identity = {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.LABEL: f"marks.{service}",
            }
            usage = {Attribute.TOKEN: True, Attribute.SIGN: True, Attribute.VALUE: secret}
            self._change(lambda session: session.create_object(identity | usage | _HIDDEN))

    def destroy(self, service: str, number: int) -> None:
        """Destroys a sealing key."""
        label = _label(service, number)
        self._change(lambda session: _only(session, label).destroy())
        self._seen_labels.discard(label)

    def made_at(self, service: str, number: int, now: float) -> float:
        """Returns when this key was created. An imported key, whose age is unknown, counts as
        created now.
        """
        identity = self._run(
            lambda session: bytes(self._key(session, _label(service, number))[Attribute.ID])
        )
        return int.from_bytes(identity, "big") if len(identity) == 8 else now

    def encrypt(self, label: str, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """Encrypts as AESGCM does."""
        parameters = GCMParams(nonce, associated, _TAG_BITS)
        return self._run(
            lambda session: _bytes(
                self._key(session, label).encrypt(
                    data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters
                )
            )
        )

    def decrypt(self, label: str, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """Decrypts as AESGCM does."""
        parameters = GCMParams(nonce, associated, _TAG_BITS)

        def act(session: pkcs11.Session) -> bytes | None:
            key = self._key(session, label)
            try:
                return _bytes(
                    key.decrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
                )
            except PKCS11Error:
                # Modules report a wrong tag in different ways, and some (SoftHSM 2.6) report it
                # like any other failure. If the key still encrypts, the tag was wrong.
                key.encrypt(
                    b"-",
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=GCMParams(token_bytes(12), b"", _TAG_BITS),
                )
                return None

        plaintext = self._run(act)
        if plaintext is None:
            raise InvalidTag
        return plaintext

    def _labels(self) -> list[str]:
        """Returns the labels of all keys. Raises ValueError if two keys have the same label."""

        def act(session: pkcs11.Session) -> list[str]:
            labels = [
                str(key[Attribute.LABEL])
                for key in list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))
            ]
            if self._session and self._seen_labels - set(labels):
                # A removed token looks empty (SoftHSM), so a report of fewer keys counts only if it
                # comes from a new session.
                raise SessionClosed
            return labels

        labels = self._run(act)
        self._seen_labels = set(labels)
        if len(self._seen_labels) < len(labels):
            self._log_once("key_twice")
            raise ValueError("two keys have one name")
        return labels

    def _key(self, session: pkcs11.Session, label: str) -> Any:
        if label not in self._handles:
            self._handles[label] = _only(session, label)
        return self._handles[label]

    def _change(self, act: Callable[[pkcs11.Session], object]) -> None:
        """Runs `act` in a session that may write; the login of the reading session covers it."""

        def do(session: pkcs11.Session) -> None:
            with session.token.open(rw=True) as write_session:
                act(write_session)
            self._handles.clear()

        self._run(do)

    def _run(self, act: Callable[[pkcs11.Session], _Answer]) -> _Answer:
        if not _ONE_CALLER.acquire(timeout=_PATIENCE):
            raise Unavailable("store_unavailable", "busy")
        try:
            if self._session:
                try:
                    return act(self._session)
                except PKCS11Error:
                    self._session = None  # the token may have been removed in between
            session = self._open()
            try:
                answer = act(session)
            except PKCS11Error as error:
                raise self._unavailable(
                    "key_twice" if isinstance(error, MultipleObjectsReturned) else "module_failed",
                    error,
                ) from error
            self._session = session
            if self._problem:
                log.get().info("key_service_back")
            self._problem = ""
            return answer
        finally:
            _ONE_CALLER.release()

    def _open(self) -> pkcs11.Session:
        if time.monotonic() - self._failed_at < _RETRY_PAUSE:
            raise Unavailable("store_unavailable", self._problem)
        self._handles.clear()
        try:
            pin = self._settings.pin_file.read_text().strip()
        except OSError as error:
            raise self._unavailable("pin_missing") from error
        pin_hash = hashlib.sha256(pin.encode()).digest()
        if pin_hash == self._wrong_pin_hash:
            raise self._unavailable("pin_wrong")
        try:
            module = pkcs11.lib(self._settings.module)
            module.reinitialize()  # detects a token that was missing at the start
            token = module.get_token(token_label=self._settings.token)
            try:
                return token.open(user_pin=pin)
            except UserAlreadyLoggedIn:
                return token.open()
        except (PinIncorrect, PinInvalid, PinLenRange, PinLocked) as error:
            self._wrong_pin_hash = pin_hash
            raise self._unavailable("pin_wrong") from error
        except NoSuchToken as error:
            raise self._unavailable("token_away") from error
        except (PKCS11Error, RuntimeError) as error:
            raise self._unavailable(
                "module_failed" if Path(self._settings.module).exists() else "module_missing", error
            ) from error

    def _unavailable(self, reason: str, error: Exception | None = None) -> Unavailable:
        self._log_once(reason, error)
        self._failed_at = time.monotonic()
        return Unavailable("store_unavailable", reason)

    def _log_once(self, reason: str, error: Exception | None = None) -> None:
        """Logs a reason, unless it was the last one logged."""
        if reason != self._problem:
            log.get().error(
                "key_service_away", reason=reason, error=type(error).__name__ if error else ""
            )
        self._problem = reason


class _Key:
    """A key in the key service, with the methods of AESGCM."""

    def __init__(self, service: KeyService, label: str) -> None:
        self._service = service
        self._label = label

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        return self._service.encrypt(self._label, nonce, data, associated_data or b"")

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        return self._service.decrypt(self._label, nonce, data, associated_data or b"")


def _label(service: str, number: int) -> str:
    return f"sealing.{service}.{number}" if number else f"sealing.{service}"


def _only(session: pkcs11.Session, label: str) -> Any:
    """Returns the key with this label. Raises NoSuchKey or MultipleObjectsReturned unless there is
    exactly one. The library's own `get_key` would leave a search open if there were two.
    """
    keys = list(
        session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label})
    )
    if len(keys) != 1:
        raise MultipleObjectsReturned if keys else NoSuchKey
    return keys[0]


def _bytes(answer: object) -> bytes:
    assert isinstance(answer, bytes)
    return answer

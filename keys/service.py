"""Sealing keys that a key service keeps to itself: a PKCS#11 token (SoftHSM, a smart card, a module
in a rack). Nobody can read one; it is asked to seal and open.

The names are those of the files (keys/key_folder.py): the AES keys `sealing.SERVICE` and
`sealing.SERVICE.N`, and `marks.SERVICE`, which makes fingerprints.

One session, one call at a time: the library tells the module that it will not be called by several
threads at once, and a session carries one operation. A session that no longer works is opened anew,
at most once a second; until then whoever asks hears Unavailable, and nobody waits long for a module
that hangs. A wrong PIN is tried once: a card that was told three may lock itself.
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
_PATIENCE = 2.0  # seconds for the call that is under way
_AGAIN = 1.0  # seconds between two tries to open it
_TAG_BITS = 128
_PURPOSES = 4096  # each organisation's names are one
_ONE_CALLER = threading.RLock()  # of the module, which a process loads once
_HIDDEN = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
}


class KeyService:
    """The token of this name, behind this module, opened with the PIN in this file."""

    def __init__(self, settings: KeyServiceSettings) -> None:
        self._settings = settings
        self._session: pkcs11.Session | None = None
        self._handles: dict[str, Any] = {}
        self._seen: set[str] = set()
        self._failed_at = -_AGAIN
        self._refused = b""  # hash of a PIN that was wrong
        self._why = ""

    def ring(self, service: str) -> Mapping[int, Cipher]:
        """The sealing keys of a service that it has, by number."""
        first = f"sealing.{service}"
        numbers = [
            label.removeprefix(first).removeprefix(".") or "0"
            for label in self._labels()
            if f"{label}.".startswith(f"{first}.")
        ]
        return {
            int(number): _Key(self, _label(service, int(number)))
            for number in numbers
            if number.isdecimal()
        }

    def marks(self, service: str) -> Callable[[bytes], bytes] | None:
        """What makes the marks of a service, if it has their key.

        What was asked once is remembered: some hundreds of hashes, of which none is the key.
        """

        def mark(value: bytes) -> bytes:
            return self._ask(
                lambda session: _bytes(
                    self._key(session, f"marks.{service}").sign(
                        value, mechanism=Mechanism.SHA256_HMAC
                    )
                )
            )

        return lru_cache(_PURPOSES)(mark) if f"marks.{service}" in self._labels() else None

    def make(self, service: str, number: int, now: float) -> None:
        """Makes a sealing key there. Its id is when that was."""
        self._change(
            lambda session: session.generate_key(
                KeyType.AES, 256, id=int(now).to_bytes(8, "big"), label=_label(service, number),
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT, template=_HIDDEN,
            )
        )  # fmt: skip

    def keep_marks(self, service: str, secret: bytes) -> None:
        """Takes the secret by which a service finds things again, unless it has one."""
        if f"marks.{service}" not in self._labels():
            known = {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.LABEL: f"marks.{service}",
            }
            able = {Attribute.TOKEN: True, Attribute.SIGN: True, Attribute.VALUE: secret}
            self._change(lambda session: session.create_object(known | able | _HIDDEN))

    def destroy(self, service: str, number: int) -> None:
        """Destroys a sealing key."""
        label = _label(service, number)
        self._change(lambda session: _only(session, label).destroy())
        self._seen.discard(label)

    def made_at(self, service: str, number: int, now: float) -> float:
        """When it made this key; of one that came otherwise nobody knows, so it may be new."""
        identity = self._ask(
            lambda session: bytes(self._key(session, _label(service, number))[Attribute.ID])
        )
        return int.from_bytes(identity, "big") if len(identity) == 8 else now

    def encrypt(self, label: str, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """As AESGCM does."""
        with_ = GCMParams(nonce, associated, _TAG_BITS)
        return self._ask(
            lambda session: _bytes(
                self._key(session, label).encrypt(
                    data, mechanism=Mechanism.AES_GCM, mechanism_param=with_
                )
            )
        )

    def decrypt(self, label: str, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """As AESGCM does."""
        with_ = GCMParams(nonce, associated, _TAG_BITS)

        def act(session: pkcs11.Session) -> bytes | None:
            key = self._key(session, label)
            try:
                return _bytes(key.decrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=with_))
            except PKCS11Error:
                # Modules differ in what they call a wrong tag, and some (SoftHSM 2.6) call it what
                # they call any failure: a key that works was right to refuse.
                key.encrypt(
                    b"-",
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=GCMParams(token_bytes(12), b"", _TAG_BITS),
                )
                return None

        opened = self._ask(act)
        if opened is None:
            raise InvalidTag
        return opened

    def _labels(self) -> list[str]:
        """All that it has."""

        def act(session: pkcs11.Session) -> list[str]:
            present = [
                str(key[Attribute.LABEL])
                for key in list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))
            ]
            if self._session and self._seen - set(present):
                # a token that was taken away looks empty (SoftHSM): only a new session is believed
                # that says less
                raise SessionClosed
            return present

        labels = self._ask(act)
        self._seen = set(labels)
        if len(self._seen) < len(labels):
            self._say("key_twice")
            raise ValueError("two keys have one name")
        return labels

    def _key(self, session: pkcs11.Session, label: str) -> Any:
        if label not in self._handles:
            self._handles[label] = _only(session, label)
        return self._handles[label]

    def _change(self, act: Callable[[pkcs11.Session], object]) -> None:
        """What is done in a session that may write. It is logged in by the other, which reads."""

        def do(session: pkcs11.Session) -> None:
            with session.token.open(rw=True) as writing:
                act(writing)
            self._handles.clear()

        self._ask(do)

    def _ask(self, act: Callable[[pkcs11.Session], _Answer]) -> _Answer:
        if not _ONE_CALLER.acquire(timeout=_PATIENCE):
            raise Unavailable("store_unavailable", "busy")
        try:
            if self._session:
                try:
                    return act(self._session)
                except PKCS11Error:
                    self._session = None  # it may have been away in between
            session = self._open()
            try:
                answer = act(session)
            except PKCS11Error as error:
                raise self._away(
                    "key_twice" if isinstance(error, MultipleObjectsReturned) else "module_failed",
                    error,
                ) from error
            self._session = session
            if self._why:
                log.get().info("key_service_back")
            self._why = ""
            return answer
        finally:
            _ONE_CALLER.release()

    def _open(self) -> pkcs11.Session:
        if time.monotonic() - self._failed_at < _AGAIN:
            raise Unavailable("store_unavailable", self._why)
        self._handles.clear()
        try:
            pin = self._settings.pin_file.read_text().strip()
        except OSError as error:
            raise self._away("pin_missing") from error
        tried = hashlib.sha256(pin.encode()).digest()
        if tried == self._refused:
            raise self._away("pin_wrong")
        try:
            module = pkcs11.lib(self._settings.module)
            module.reinitialize()  # a token that was away at the start is seen by no other way
            token = module.get_token(token_label=self._settings.token)
            try:
                return token.open(user_pin=pin)
            except UserAlreadyLoggedIn:
                return token.open()
        except (PinIncorrect, PinInvalid, PinLenRange, PinLocked) as error:
            self._refused = tried
            raise self._away("pin_wrong") from error
        except NoSuchToken as error:
            raise self._away("token_away") from error
        except (PKCS11Error, RuntimeError) as error:
            raise self._away(
                "module_failed" if Path(self._settings.module).exists() else "module_missing", error
            ) from error

    def _away(self, why: str, error: Exception | None = None) -> Unavailable:
        self._say(why, error)
        self._failed_at = time.monotonic()
        return Unavailable("store_unavailable", why)

    def _say(self, why: str, error: Exception | None = None) -> None:
        """Once, until it is another."""
        if why != self._why:
            log.get().error(
                "key_service_away", reason=why, error=type(error).__name__ if error else ""
            )
        self._why = why


class _Key:
    """A key there, used as one here."""

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
    """The key of this name. Its own `get_key` leaves a search open when there are two."""
    keys = list(
        session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label})
    )
    if len(keys) != 1:
        raise MultipleObjectsReturned if keys else NoSuchKey
    return keys[0]


def _bytes(answer: object) -> bytes:
    assert isinstance(answer, bytes)
    return answer

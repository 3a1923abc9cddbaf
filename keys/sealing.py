"""Sealing: AES-256-GCM with a key per subject, wrapped by the service's key-encryption key; Ed25519
signatures over bytes.

The `context`, bound as associated data, says where a sealed value belongs, "table/row/field": moved
elsewhere it does not open. Nonces are 96 random bits for each text: NIST SP 800-38D allows 2**32
texts a key so. Of hers there are some thousands (a repeat: below 2**-70), of a service's key a
million keys and notes (2**-57).

Destroying the wrapped key destroys every copy of what it sealed. Limit: whoever holds the
key-encryption key and the database can open all.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from chassis import log, metrics
from chassis.errors import Unavailable

_FORMAT = b"\x01"  # the first byte of everything sealed; a change of cipher is another number
# the same, with the number of the service's key behind it: of all keys but the first
_NUMBERED = b"\x02"
_NONCE = 12
_REREAD = 2.0  # seconds: a new key of the service is used by all its processes then
_PATIENCE = 2.0  # seconds for what comes at the very start, before the keys were looked at
_UNKNOWN = 0.2  # and looked for, when something was sealed by one that is not known


class Cipher(Protocol):
    """A key that seals, wherever it is: AESGCM has it in this process, a key service
    (keys/service.py) keeps it to itself.
    """

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The data sealed, with its tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The data again; InvalidTag if it did not seal this."""


class CannotOpen(Exception):
    """Not sealed with this key for this context, or altered.

    A fault, never an answer; `where` is the context: table, row, field.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def alarm(self) -> None:
        """Tells operations: somebody changed the row, moved it here, or the disk did."""
        metrics.ROWS_UNREADABLE.labels(self.where.partition("/")[0]).inc()
        log.get().error("row_unreadable", where=self.where)


class Key:
    """A key that seals values of one subject."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def seal(self, value: str, context: str) -> bytes:
        """The value, sealed for its context."""
        return self._seal(value.encode(), context)

    def open(self, sealed: bytes, context: str) -> str:
        """The value again; CannotOpen if it was not sealed by this key for this context."""
        return self._open(sealed, context).decode()

    def _seal(self, value: bytes, context: str) -> bytes:
        return _FORMAT + _encrypt(self._cipher, value, context)

    def _open(self, sealed: bytes, context: str) -> bytes:
        if sealed[:1] != _FORMAT:
            raise CannotOpen(context)
        return _decrypt(self._cipher, sealed[1:], context)


class Keyring(Key):
    """The key-encryption keys of a service: they make and unwrap the keys of subjects, and seal
    small things of the service itself.

    The newest seals, each opens what it sealed; a key that is made while the service runs is
    noticed within seconds (`ring` reads them anew, by number). Fingerprints are made with `secret`,
    or by what hashes with it, which stays when keys change: what was found by one must be found by
    it for ever. Keys that a key service has may be away: then nothing is sealed or opened,
    Unavailable.
    """

    def __init__(
        self,
        secret: bytes | Callable[[bytes], bytes],
        ring: Callable[[], Mapping[int, bytes | Cipher]] | None = None,
    ) -> None:
        """Without `ring` the secret is its only key, number 0."""
        self._hash = (
            partial(hmac.digest, secret, digest=hashlib.sha256)
            if isinstance(secret, bytes)
            else secret
        )
        self._ring = ring or (lambda: {0: secret} if isinstance(secret, bytes) else {})
        self._keys: dict[int, Cipher] = {}
        self._trusted = threading.Event()
        self._trusted.set()
        self._read_at = -_REREAD
        with suppress(Unavailable):
            self._look(0.0)

    def new_key(self, context: str) -> tuple[Key, bytes]:
        """A fresh key and its wrapped form, to be stored."""
        secret = secrets.token_bytes(32)
        return Key(secret), self._seal(secret, context)

    def unwrap(self, wrapped: bytes, context: str) -> Key:
        """The key again."""
        return Key(self._open(wrapped, context))

    def seal_bytes(self, value: bytes, context: str) -> bytes:
        """Bytes, sealed for their context."""
        return self._seal(value, context)

    def open_bytes(self, sealed: bytes, context: str) -> bytes:
        """The bytes again."""
        return self._open(sealed, context)

    def hold(self) -> None:
        """From now on nothing is sealed or opened: it is not known whether these are the right
        keys. Who wants to waits a moment for it.
        """
        self._trusted.clear()

    def release(self) -> None:
        """They are."""
        self._trusted.set()

    @property
    def numbers(self) -> list[int]:
        """Which keys there are at this moment."""
        self._look(0.0)
        return sorted(self._keys)

    def checked(self, number: int, text: str, context: str) -> bytes:
        """A text sealed by one of the keys, also while they are held: for who finds out whether it
        is the right one.
        """
        return _mark(number) + _encrypt(self._keys[number], text.encode(), context)

    def opens(self, sealed: bytes, context: str) -> str:
        """What is opened to find that out."""
        return self._decrypted(sealed, context).decode()

    def rewrap(self, sealed: bytes, context: str) -> bytes:
        """The same, sealed by the newest key."""
        return self._seal(self._open(sealed, context), context)

    @property
    def newest(self) -> int:
        """The number of the key that seals."""
        self._look(_REREAD if self._keys else 0.0)
        if not self._keys:
            raise Unavailable("store_unavailable")
        return max(self._keys)

    @property
    def mark(self) -> bytes:
        """With what everything begins that the newest key sealed."""
        return _mark(self.newest)

    def fingerprint(self, value: bytes, purpose: str) -> bytes:
        """A keyed hash: equal for equal values, useless without the key (a PIN has only 10,000
        values).
        """
        return hmac.digest(self._hash(purpose.encode()), value, hashlib.sha256)

    def _seal(self, value: bytes, context: str) -> bytes:
        self._check_not_held()
        number = self.newest
        return _mark(number) + _encrypt(self._keys[number], value, context)

    def _open(self, sealed: bytes, context: str) -> bytes:
        self._check_not_held()
        return self._decrypted(sealed, context)

    def _check_not_held(self) -> None:
        if not self._trusted.wait(_PATIENCE):
            raise Unavailable("store_unavailable")

    def _decrypted(self, sealed: bytes, context: str) -> bytes:
        number, rest = (
            (0, sealed[1:])
            if sealed[:1] == _FORMAT
            else (int.from_bytes(sealed[1:3], "big"), sealed[3:])
        )
        if sealed[:1] not in (_FORMAT, _NUMBERED) or (number == 0 and sealed[:1] == _NUMBERED):
            raise CannotOpen(context)
        if number not in self._keys:
            self._look(_UNKNOWN)  # another process may have begun with a newer one
        if number not in self._keys:
            raise CannotOpen(context)
        return _decrypt(self._keys[number], rest, context)

    def _look(self, after: float) -> None:
        """Reads the keys anew, unless that was done less than `after` seconds ago; what can't be
        read leaves them as they were. Unavailable: it is not known.
        """
        now = time.monotonic()
        if now - self._read_at < after:
            return
        self._read_at = now
        try:
            keys = self._ring()
        except Unavailable:
            self._read_at = -_REREAD
            raise
        except (OSError, ValueError):
            if not self._keys:
                raise
        else:
            self._keys = {
                number: AESGCM(key) if isinstance(key, bytes) else key
                for number, key in keys.items()
            }


def _mark(number: int) -> bytes:
    return _NUMBERED + number.to_bytes(2, "big") if number else _FORMAT


def _encrypt(cipher: Cipher, value: bytes, context: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + cipher.encrypt(nonce, value, context.encode())


def _decrypt(cipher: Cipher, sealed: bytes, context: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode())
    except (InvalidTag, ValueError) as error:  # the second: too short to be anything
        raise CannotOpen(context) from error


class Signer:
    """Signs bytes with an Ed25519 key."""

    def __init__(self, key: OKPKey) -> None:
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey)
        self._key = private

    def sign(self, value: bytes) -> bytes:
        """64 bytes of signature."""
        return self._key.sign(value)

    def check(self) -> "SignatureCheck":
        """Checks what this key signed."""
        return SignatureCheck(self._key.public_key())


class SignatureCheck:
    """Checks signatures of an Ed25519 key."""

    def __init__(self, key: OKPKey | Ed25519PublicKey) -> None:
        public = key.public_key if isinstance(key, OKPKey) else key
        assert isinstance(public, Ed25519PublicKey)
        self._key = public

    def holds(self, signature: bytes, value: bytes) -> bool:
        """Whether this key signed exactly these bytes."""
        try:
            self._key.verify(signature, value)
        except InvalidSignature:
            return False
        return True

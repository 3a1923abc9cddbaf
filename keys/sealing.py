"""Sealing with AES-256-GCM: one key per subject, wrapped by the service's key-encryption key.
Signatures with Ed25519.

The `context`, bound as associated data, names the place of a sealed value, "table/row/field"; at
another place the value does not open. A nonce is 96 random bits, and NIST SP 800-38D allows 2**32
texts per key. A subject's key seals a few thousand texts (probability of a repeated nonce below
2**-70); a service's key seals a million keys and notes (2**-57).

Destroying a wrapped key makes the data that the key sealed unreadable in every copy. Limitation: an
attacker who has both the key-encryption key and the database can open everything.
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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from joserfc.jwk import OKPKey

from chassis import log, metrics
from chassis.errors import Unavailable

# The first byte of a value sealed with a subject's key or with a service's first key. Another
# cipher would get another byte.
_FORMAT = b"\x01"
# The first byte of a value sealed with a later key of a service; the key's number follows.
_NUMBERED = b"\x02"
_NONCE_BYTES = 12
# Keys that were read longer ago than this many seconds are read again before sealing, so that all
# processes of a service seal with a new key within this time.
_REREAD = 2.0
_PATIENCE = 2.0  # seconds that a call waits for the check of the keys
_REREAD_UNKNOWN = 0.2  # minimum seconds between two reads for an unknown key


class Cipher(Protocol):
    """An AES-GCM key: in this process (AESGCM), or in a key service (keys/service.py)."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Returns the ciphertext with its tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Returns the plaintext. Raises InvalidTag if this key did not encrypt it."""


class CannotOpen(Exception):
    """Raised if a value was altered, or was not sealed with this key for this context.

    This is a fault, never an answer to a caller; `where` is the context: table, row, field.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def alarm(self) -> None:
        """Logs and counts the damaged row: somebody changed or moved it, or the disk failed."""
        metrics.ROWS_UNREADABLE.labels(self.where.partition("/")[0]).inc()
        log.get().error("row_unreadable", where=self.where)


class SealingKey:
    """A key that seals the values of one subject."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def seal(self, value: str, context: str) -> bytes:
        """Returns the value, sealed for its context."""
        return self._seal(value.encode(), context)

    def open(self, sealed: bytes, context: str) -> str:
        """Returns the value. Raises CannotOpen if this key did not seal it for this context."""
        return self._open(sealed, context).decode()

    def _seal(self, value: bytes, context: str) -> bytes:
        return _FORMAT + _encrypt(self._cipher, value, context)

    def _open(self, sealed: bytes, context: str) -> bytes:
        if sealed[:1] != _FORMAT:
            raise CannotOpen(context)
        return _decrypt(self._cipher, sealed[1:], context)


class Keyring(SealingKey):
    """The key-encryption keys of a service: they create and unwrap the keys of subjects, and seal
    small values of the service itself.

    The newest key seals; each key opens what it sealed. `ring` returns the current keys by number,
    and is called repeatedly, so that a new key is used within seconds. Fingerprints are made
    with `secret` (or with the function given in its place). It stays the same when keys change,
    since values are looked up by their fingerprints. If the keys are in a key service that is
    unavailable, sealing and opening raise Unavailable.
    """

    def __init__(
        self,
        secret: bytes | Callable[[bytes], bytes],
        ring: Callable[[], Mapping[int, bytes | Cipher]] | None = None,
    ) -> None:
        """Without `ring`, the bytes of `secret` are the only key, number 0."""
        self._hash = (
            partial(hmac.digest, secret, digest=hashlib.sha256)
            if isinstance(secret, bytes)
            else secret
        )
        self._ring = ring or (lambda: {0: secret} if isinstance(secret, bytes) else {})
        self._keys: dict[int, Cipher] = {}
        self._released = threading.Event()
        self._released.set()
        self._read_at = -_REREAD
        with suppress(Unavailable):
            self._read_keys(0.0)

    def new_key(self, context: str) -> tuple[SealingKey, bytes]:
        """Returns a fresh key, and its wrapped form to be stored."""
        secret = secrets.token_bytes(32)
        return SealingKey(secret), self._seal(secret, context)

    def unwrap(self, wrapped: bytes, context: str) -> SealingKey:
        """Returns the key that `new_key` wrapped."""
        return SealingKey(self._open(wrapped, context))

    def seal_bytes(self, value: bytes, context: str) -> bytes:
        """Returns bytes, sealed for their context."""
        return self._seal(value, context)

    def open_bytes(self, sealed: bytes, context: str) -> bytes:
        """Returns the bytes that were sealed."""
        return self._open(sealed, context)

    def block(self) -> None:
        """Blocks sealing and opening until `release`, since the keys are wrong, or have not been
        checked. Callers wait a moment, then get Unavailable.
        """
        self._released.clear()

    def release(self) -> None:
        """Allows sealing and opening."""
        self._released.set()

    @property
    def numbers(self) -> list[int]:
        """The numbers of the current keys."""
        self._read_keys(0.0)
        return sorted(self._keys)

    def seal_check(self, number: int, text: str, context: str) -> bytes:
        """Returns a text sealed with one of the keys, to check that key. Works even while the keys
        are blocked.
        """
        return _prefix(number) + _encrypt(self._keys[number], text.encode(), context)

    def open_check(self, sealed: bytes, context: str) -> str:
        """Returns a text that `seal_check` sealed. Works even while the keys are blocked."""
        return self._decrypt_value(sealed, context).decode()

    def rewrap(self, sealed: bytes, context: str) -> bytes:
        """Returns the same value, sealed with the newest key."""
        return self._seal(self._open(sealed, context), context)

    @property
    def newest(self) -> int:
        """The number of the key that seals. Raises Unavailable if there is none."""
        self._read_keys(_REREAD if self._keys else 0.0)
        if not self._keys:
            raise Unavailable("store_unavailable")
        return max(self._keys)

    @property
    def newest_prefix(self) -> bytes:
        """The first bytes of everything that the newest key seals."""
        return _prefix(self.newest)

    @property
    def prefixes(self) -> list[bytes]:
        """For each current key, the first bytes of everything that it seals."""
        return [_prefix(number) for number in self.numbers]

    def fingerprint(self, value: bytes, purpose: str) -> bytes:
        """Returns a keyed hash: equal for equal values, and useless without the key (a PIN has only
        10,000 values).
        """
        return hmac.digest(self._hash(purpose.encode()), value, hashlib.sha256)

    def seal_deterministic(self, value: bytes, purpose: str, context: bytes) -> bytes:
        """Returns a value, sealed for its purpose and context (AES-SIV); the result is the same
        each time, even after a change of the sealing keys.
        """
        return AESSIV(self._hash(purpose.encode())).encrypt(value, [context])

    def open_deterministic(self, sealed: bytes, purpose: str, context: bytes) -> bytes:
        """Returns a value that `seal_deterministic` sealed. Raises CannotOpen for other values."""
        try:
            return AESSIV(self._hash(purpose.encode())).decrypt(sealed, [context])
        except InvalidTag as error:
            raise CannotOpen(purpose) from error

    def _seal(self, value: bytes, context: str) -> bytes:
        self._check_not_blocked()
        number = self.newest
        return _prefix(number) + _encrypt(self._keys[number], value, context)

    def _open(self, sealed: bytes, context: str) -> bytes:
        self._check_not_blocked()
        return self._decrypt_value(sealed, context)

    def _check_not_blocked(self) -> None:
        if not self._released.wait(_PATIENCE):
            raise Unavailable("store_unavailable")

    def _decrypt_value(self, sealed: bytes, context: str) -> bytes:
        number, payload = (
            (0, sealed[1:])
            if sealed[:1] == _FORMAT
            else (int.from_bytes(sealed[1:3], "big"), sealed[3:])
        )
        if sealed[:1] not in (_FORMAT, _NUMBERED) or (number == 0 and sealed[:1] == _NUMBERED):
            raise CannotOpen(context)
        if number not in self._keys:
            self._read_keys(_REREAD_UNKNOWN)  # another process may use a newer key
        if number not in self._keys:
            raise CannotOpen(context)
        return _decrypt(self._keys[number], payload, context)

    def _read_keys(self, interval: float) -> None:
        """Reads the keys again, unless that happened less than `interval` seconds ago. If files are
        unreadable, the known keys stay; if no keys are known, raises the error. Raises Unavailable
        if the key service does not answer.
        """
        now = time.monotonic()
        if now - self._read_at < interval:
            return
        self._read_at = now
        try:
            self._keys = {
                number: AESGCM(key) if isinstance(key, bytes) else key
                for number, key in self._ring().items()
            }
        except Unavailable:
            self._read_at = -_REREAD
            raise
        except (OSError, ValueError):  # ValueError also covers a key of the wrong length
            if not self._keys:
                raise


def _prefix(number: int) -> bytes:
    return _NUMBERED + number.to_bytes(2, "big") if number else _FORMAT


def _encrypt(cipher: Cipher, value: bytes, context: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, value, context.encode())


def _decrypt(cipher: Cipher, sealed: bytes, context: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError) as error:  # ValueError: too short
        raise CannotOpen(context) from error


class Signer:
    """Signs bytes with an Ed25519 key."""

    def __init__(self, key: OKPKey) -> None:
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey)
        self._key = private

    def sign(self, value: bytes) -> bytes:
        """Returns a signature of 64 bytes."""
        return self._key.sign(value)

    def verifier(self) -> "SignatureVerifier":
        """Returns an object that verifies this key's signatures."""
        return SignatureVerifier(self._key.public_key())


class SignatureVerifier:
    """Verifies signatures of an Ed25519 key."""

    def __init__(self, key: OKPKey | Ed25519PublicKey) -> None:
        public = key.public_key if isinstance(key, OKPKey) else key
        assert isinstance(public, Ed25519PublicKey)
        self._key = public

    def is_valid(self, signature: bytes, value: bytes) -> bool:
        """Returns True if this key signed exactly these bytes."""
        try:
            self._key.verify(signature, value)
        except InvalidSignature:
            return False
        return True

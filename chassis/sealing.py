"""Sealing: AES-256-GCM with a key per subject, wrapped by the service's key-encryption key; Ed25519 signatures over bytes.

The `context`, bound as associated data, says where a sealed value belongs, "table/row/field": moved elsewhere it does not open.
Destroying the wrapped key destroys every copy of what it sealed. Limit: whoever holds the key-encryption key and the database can open all.
"""

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

_FORMAT = b"\x01"  # the first byte of everything sealed; a change of cipher is another number
_NONCE = 12


class CannotOpen(Exception):
    """Not sealed with this key for this context, or altered. A fault, never an answer."""


class Key:
    """A key that seals values of one subject."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def seal(self, value: str, context: str) -> bytes:
        """The value, sealed for its context."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value.encode(), context.encode())

    def open(self, sealed: bytes, context: str) -> str:
        """The value again; CannotOpen if it was not sealed by this key for this context."""
        return self._open(sealed, context).decode()

    def _open(self, sealed: bytes, context: str) -> bytes:
        if sealed[:1] != _FORMAT:
            raise CannotOpen
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context.encode())
        except InvalidTag as error:
            raise CannotOpen from error


class Keyring(Key):
    """The key-encryption key of a service: makes and unwraps the keys of subjects, and seals small things of the service itself."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self._secret = secret

    def new_key(self, context: str) -> tuple[Key, bytes]:
        """A fresh key and its wrapped form, to be stored."""
        secret = secrets.token_bytes(32)
        nonce = secrets.token_bytes(_NONCE)
        return Key(secret), _FORMAT + nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def unwrap(self, wrapped: bytes, context: str) -> Key:
        """The key again."""
        return Key(self._open(wrapped, context))

    def seal_bytes(self, value: bytes, context: str) -> bytes:
        """Bytes, sealed for their context."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value, context.encode())

    def open_bytes(self, sealed: bytes, context: str) -> bytes:
        """The bytes again."""
        return self._open(sealed, context)

    def fingerprint(self, value: bytes, purpose: str) -> bytes:
        """A keyed hash: equal for equal values, useless without the key (a PIN has only 10,000 values)."""
        return hmac.new(hmac.digest(self._secret, purpose.encode(), hashlib.sha256), value, hashlib.sha256).digest()


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

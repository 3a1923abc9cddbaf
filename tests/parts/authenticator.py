"""A device that makes passkeys and signs with them, as a browser and its authenticator do.

Unlike a real device, it can also lie.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

PRESENT, VERIFIED = AuthenticatorData.FLAG.UP, AuthenticatorData.FLAG.UV


@dataclass
class Authenticator:
    """A passkey. `origin` is the origin that its browser reports."""

    origin: str
    verifies_user: bool = True
    counts_signatures: bool = True
    signature_count: int = 0
    id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    account: bytes = b""

    def make(self, options: str, **false_values: str) -> str:
        """Returns the JSON of navigator.credentials.create; `false_values` replace its fields."""
        request = json.loads(options)
        self.account = websafe_decode(request["user"]["id"])
        public = ES256.from_cryptography_key(self.key.public_key())  # type: ignore[no-untyped-call]
        data = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        authenticator_data = self._data(
            request["rp"]["id"], self._flags() | AuthenticatorData.FLAG.AT, data
        )
        client = self._client(CollectedClientData.TYPE.CREATE, request["challenge"], false_values)
        attestation = AttestationObject.create("none", authenticator_data, {})
        return self._as_json(
            {
                "clientDataJSON": websafe_encode(client),
                "attestationObject": websafe_encode(attestation),
            }
        )

    def sign(self, options: str, **false_values: str) -> str:
        """Returns the JSON of navigator.credentials.get; `false_values` replace its fields."""
        request = json.loads(options)
        data = self._data(request["rpId"], self._flags())
        client = self._client(CollectedClientData.TYPE.GET, request["challenge"], false_values)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": client,
            "authenticatorData": data,
            "signature": signature,
            "userHandle": self.account,
        }
        return self._as_json({name: websafe_encode(value) for name, value in response.items()})

    def _flags(self) -> AuthenticatorData.FLAG:
        return PRESENT | VERIFIED if self.verifies_user else PRESENT

    def _data(
        self,
        rp_id: str,
        flags: AuthenticatorData.FLAG,
        credential: AttestedCredentialData | bytes = b"",
    ) -> AuthenticatorData:
        self.signature_count += self.counts_signatures
        authenticator_data: AuthenticatorData = AuthenticatorData.create(
            hashlib.sha256(rp_id.encode()).digest(), flags, self.signature_count, credential
        )
        return authenticator_data

    def _client(
        self, kind: str, challenge: str, false_values: dict[str, str]
    ) -> CollectedClientData:
        return CollectedClientData.create(
            false_values.get("type", kind),
            false_values.get("challenge", challenge),
            false_values.get("origin", self.origin),
        )

    def _as_json(self, response: dict[str, str]) -> str:
        name = websafe_encode(self.id)
        return json.dumps(
            {
                "id": name,
                "rawId": name,
                "type": "public-key",
                "response": response,
                "clientExtensionResults": {},
            }
        )

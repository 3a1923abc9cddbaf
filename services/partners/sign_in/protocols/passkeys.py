"""Passkeys (WebAuthn): what a browser is asked for one, and whether what it brings was made by it,
for this site, now.
"""

import json
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from fido2.server import Fido2Server
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)


class WrongPasskey(Exception):
    """It was not made by that passkey, for this site, for this challenge; or is none at all."""


@dataclass(frozen=True)
class Credential:
    """What is kept of one: its id, its public key with what it says of itself, and how often it had
    signed. Nothing of it is secret.
    """

    id: bytes
    data: bytes
    sign_count: int


class Site:
    """For whom passkeys are made: the address by which people reach the site, to the letter.

    Made for one, they are good at no other.
    """

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        # On one machine the network is reached by 127.0.0.1; browsers make passkeys for its name
        # alone.
        self._name = "localhost" if parts.hostname == "127.0.0.1" else parts.hostname or ""
        self._origin = f"{parts.scheme}://{self._name}" + (f":{parts.port}" if parts.port else "")
        entity = PublicKeyCredentialRpEntity(name="Enlace", id=self._name)
        self._server = Fido2Server(entity, verify_origin=lambda origin: origin == self._origin)

    @property
    def can_have(self) -> bool:
        """Whether browsers make passkeys for it: one that is reached by a number has no name by
        which they could.
        """
        try:
            ip_address(self._name)
        except ValueError:
            return bool(self._name)
        return False

    def ask_to_make(
        self, challenge: bytes, account_id: str, account: str, name: str, known: list[bytes]
    ) -> str:
        """What navigator.credentials.create is asked, as JSON: for an account that has the `known`
        already.
        """
        options, _ = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=account_id.encode(), name=account, display_name=name),
            _descriptors(known),
            ResidentKeyRequirement.PREFERRED,
            UserVerificationRequirement.PREFERRED,
            challenge=challenge,
        )
        return json.dumps(dict(options)["publicKey"])

    def made(self, challenge: bytes, said: str) -> Credential:
        """The one that was made for this challenge. Raises WrongPasskey."""
        try:
            data = self._server.register_complete(
                _state(challenge, verified=False), json.loads(said)
            )
            assert data.credential_data is not None, "the library looked"
            return Credential(
                data.credential_data.credential_id, bytes(data.credential_data), data.counter
            )
        except Exception as error:  # it reads what strangers send, and stumbles in whichever way
            raise WrongPasskey from error

    def ask_to_sign(self, challenge: bytes, known: list[bytes]) -> str:
        """What navigator.credentials.get is asked, as JSON. Without `known`: for any passkey of
        this site, which then makes sure whose finger it is.
        """
        verification = (
            UserVerificationRequirement.PREFERRED if known else UserVerificationRequirement.REQUIRED
        )
        options, _ = self._server.authenticate_begin(
            _descriptors(known) or None, verification, challenge=challenge
        )
        return json.dumps(dict(options)["publicKey"])

    def signs(self, challenge: bytes, credential: Credential, said: str, *, verified: bool) -> int:
        """How often it has signed now that it signed this challenge; `verified`: and made sure
        whose finger it is. Raises WrongPasskey.
        """
        try:
            response = AuthenticationResponse.from_dict(json.loads(said))
            self._server.authenticate_complete(
                _state(challenge, verified=verified),
                [AttestedCredentialData(credential.data)],
                response,
            )
            count = int(response.response.authenticator_data.counter)
        except Exception as error:
            raise WrongPasskey from error
        # Those that count never say the same number twice: there are two of it.
        if (count or credential.sign_count) and count <= credential.sign_count:
            raise WrongPasskey
        return count


def names(said: str) -> tuple[bytes, str]:
    """The id of the passkey that says it signed, and of whose account it says it is.

    Raises WrongPasskey. Neither is proven by it.
    """
    try:
        response = AuthenticationResponse.from_dict(json.loads(said))
        return response.raw_id, (response.response.user_handle or b"").decode()
    except Exception as error:
        raise WrongPasskey from error


def _descriptors(known: list[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=each)
        for each in known
    ]


def _state(challenge: bytes, *, verified: bool) -> dict[str, object]:
    return {
        "challenge": websafe_encode(challenge),
        "user_verification": UserVerificationRequirement.REQUIRED if verified else None,
    }

"""Passkeys (WebAuthn): the options for the browser, and the check of its answer.

The check shows that a passkey has just made the answer for this site.
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
    """The answer is malformed, or no expected passkey made it for this site and challenge."""


@dataclass(frozen=True)
class Credential:
    """The stored part of a passkey: its id, its public key with metadata, and its signature count.

    None of it is secret.
    """

    id: bytes
    data: bytes
    sign_count: int


class Site:
    """The site for which passkeys are created, identified by the address at which people reach it.

    A passkey for one site is not valid for any other.
    """

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        # If everything runs on one machine, the site is reached at 127.0.0.1, but browsers create
        # passkeys only for the name localhost.
        self._name = "localhost" if parts.hostname == "127.0.0.1" else parts.hostname or ""
        usual_port = {"https": 443, "http": 80}.get(parts.scheme)  # browsers omit it
        port = f":{parts.port}" if parts.port not in (None, usual_port) else ""
        self._origin = f"{parts.scheme}://{self._name}{port}"
        entity = PublicKeyCredentialRpEntity(name="Enlace", id=self._name)
        self._server = Fido2Server(entity, verify_origin=lambda origin: origin == self._origin)

    @property
    def supports_passkeys(self) -> bool:
        """Returns whether browsers create passkeys for the site.

        Browsers create no passkeys for a site that is reached by an IP address.
        """
        try:
            ip_address(self._name)
        except ValueError:
            return bool(self._name)
        return False

    def creation_options(
        self,
        challenge: bytes,
        account_id: str,
        email: str,
        name: str,
        credential_ids: list[bytes],
    ) -> str:
        """Returns the options of navigator.credentials.create, as JSON.

        `credential_ids`: the ids of the passkeys that the account already has.
        """
        options, _ = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=account_id.encode(), name=email, display_name=name),
            _descriptors(credential_ids),
            ResidentKeyRequirement.PREFERRED,
            UserVerificationRequirement.PREFERRED,
            challenge=challenge,
        )
        return json.dumps(dict(options)["publicKey"])

    def created_credential(self, challenge: bytes, response: str) -> Credential:
        """Returns the passkey that was made for this challenge. Raises WrongPasskey."""
        try:
            data = self._server.register_complete(
                _state(challenge, verified=False), json.loads(response)
            )
            assert data.credential_data is not None, "the library has checked it"
            return Credential(
                data.credential_data.credential_id, bytes(data.credential_data), data.counter
            )
        # the library parses input from strangers, and may raise any exception
        except Exception as error:
            raise WrongPasskey from error

    def signing_options(self, challenge: bytes, credential_ids: list[bytes]) -> str:
        """Returns the options of navigator.credentials.get, as JSON.

        If `credential_ids` is empty, any passkey for this site may sign, but must verify its user.
        """
        verification = (
            UserVerificationRequirement.PREFERRED
            if credential_ids
            else UserVerificationRequirement.REQUIRED
        )
        options, _ = self._server.authenticate_begin(
            _descriptors(credential_ids) or None, verification, challenge=challenge
        )
        return json.dumps(dict(options)["publicKey"])

    def signature_count(
        self, challenge: bytes, credential: Credential, answer: str, *, verified: bool
    ) -> int:
        """Returns the signature count of the passkey that signed this challenge.

        `verified`: the passkey must also have verified its user. Raises WrongPasskey.
        """
        try:
            response = AuthenticationResponse.from_dict(json.loads(answer))
            self._server.authenticate_complete(
                _state(challenge, verified=verified),
                [AttestedCredentialData(credential.data)],
                response,
            )
            count = int(response.response.authenticator_data.counter)
        except Exception as error:
            raise WrongPasskey from error
        # A passkey that counts its signatures never reports the same number twice. If it does, a
        # copy of the passkey exists.
        if (count or credential.sign_count) and count <= credential.sign_count:
            raise WrongPasskey
        return count


def ids_in_answer(answer: str) -> tuple[bytes, str]:
    """Returns the ids of the passkey and of the account that an answer names.

    The answer has not been checked yet, so the ids may be wrong. Raises WrongPasskey.
    """
    try:
        response = AuthenticationResponse.from_dict(json.loads(answer))
        return response.raw_id, (response.response.user_handle or b"").decode()
    except Exception as error:
        raise WrongPasskey from error


def _descriptors(credential_ids: list[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=credential_id)
        for credential_id in credential_ids
    ]


def _state(challenge: bytes, *, verified: bool) -> dict[str, object]:
    return {
        "challenge": websafe_encode(challenge),
        "user_verification": UserVerificationRequirement.REQUIRED if verified else None,
    }

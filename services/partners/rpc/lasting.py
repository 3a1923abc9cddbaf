"""The fact that follows from each rpc that asks for a step-up. A test fails for one that has no row here."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from chassis.rpc import Call
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from services.partners.usecases.lasting import ROLE_GIVEN, notify_of_lasting

_NETWORK = {contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_AUDITOR}
FACTS = {
    "CreateInvitation": "person_invited",
    "ConfirmInvitation": ROLE_GIVEN,
    "CreateApiKey": "key_made",
    "ConfirmApiKey": "key_made",
    "TransferApiKey": "key_made",
    "ProposeSignInProvider": "provider_changed",
    "ConfirmSignInProvider": "provider_changed",
    "EndSignInProvider": "provider_changed",
    "ResetSecondFactor": "sign_in_changed",
    "ConfirmSecondFactor": "sign_in_changed",
    "EndSecondFactor": "sign_in_changed",
    "CreatePasskey": "sign_in_changed",
    "EndPasskey": "sign_in_changed",
}
SILENT = frozenset({"BeginSecondFactor", "BeginPasskey", "EndMadeLately"})
"""The first two change nothing yet; the third says what it took off itself."""


def notifier(mail: Keyring) -> Callable[[Call, str, Message], None]:
    """Returns the function that notifies of an rpc that was done; `mail` seals its letters."""

    def notify(call: Call, rpc: str, request: Any) -> None:
        if rpc in SILENT:
            return
        fact = FACTS[rpc]
        if rpc == "CreateInvitation" and _NETWORK.intersection(request.invitation.roles):
            fact = ROLE_GIVEN
        # Its managers were told of the proposal, by a letter that says how to object.
        concerned = [request.organization_id] if rpc in ("ConfirmSignInProvider", "EndSignInProvider") else []
        notify_of_lasting(call.tx, mail, call.caller, call.clock.now(), fact, concerned)

    return notify

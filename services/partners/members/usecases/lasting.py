"""Notices about steps whose effects outlast the session.

The worker who took the step and her managers get an e-mail, and a notice in Enlace. Each rpc that
needs a step-up must be listed in `FACTS` or `SILENT`; a test checks that.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from chassis.rpc import Call
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from services.partners.members.domain.worker import Role, Worker
from services.partners.members.store import workers
from services.partners.members.usecases.notices import notify_worker

ROLE_GIVEN = "role_given"
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
SILENT = frozenset({"BeginSecondFactor", "BeginPasskey", "EndMadeLately", "LeaveOrganization"})
"""The rpcs without such a notice: two only begin a step, and the others send their own notices."""
_NETWORK_ROLES = {contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_AUDITOR}


def notifier(mail: Keyring) -> Callable[[Call, str, Message], None]:
    """Returns the function that sends the notices about a completed rpc; `mail` seals e-mails."""

    def notify(call: Call, rpc: str, request: Any) -> None:
        if rpc in SILENT:
            return
        fact = FACTS[rpc]
        if rpc == "CreateInvitation" and _NETWORK_ROLES.intersection(request.invitation.roles):
            fact = ROLE_GIVEN
        # The organisation whose managers are also notified. A proposal is left out here: another
        # e-mail notifies them of it, and explains how to object.
        concerned_id = (
            request.organization_id if rpc in ("ConfirmSignInProvider", "EndSignInProvider") else ""
        )
        notify_of_lasting_step(call, mail, fact, concerned_id)

    return notify


def notify_of_lasting_step(
    call: Call,
    mail: Keyring,
    fact: str,
    organization_id: str = "",
    concerned_worker: Worker | None = None,
) -> None:
    """Notifies the caller, and the managers of her organisation and of `organization_id`.

    Also notifies the `concerned_worker`, if there is one; if a network role is given, every
    coordinator.
    """
    author = workers.fetch(call.tx, call.caller.id)
    recipients = [worker for worker in (author, concerned_worker) if worker]
    for member_id in {call.caller.organization_id, organization_id} - {""}:
        recipients += workers.all_managers(call.tx, member_id)
    if fact == ROLE_GIVEN:
        recipients += [
            worker
            for worker in workers.with_network_role(call.tx)
            if Role.COORDINATOR in worker.entry.roles
        ]
    for worker in {recipient.id: recipient for recipient in recipients}.values():
        notify_worker(call.tx, mail, worker, fact, call.clock.now())

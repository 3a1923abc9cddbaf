"""Only a user with a fresh proof changes where an organisation's notices go.

The managers of the organisation are notified.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from chassis import contract
from chassis.tokens import SYSTEM
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.store import members
from tests.notifications.conftest import RECEIVER, SENDER, Client, Service

METHODS = {
    method.name: method
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if contract.rules(method).step_up
}


def test_exactly_these_rpcs_need_a_fresh_proof() -> None:
    assert set(METHODS) == {"SetDesk", "CreateWebhook", "UpdateWebhook", "RotateWebhookSecret"}


@pytest.mark.parametrize("rpc", sorted(METHODS))
def test_every_such_rpc_refuses_an_old_proof_but_needs_none_from_a_key(
    service: Service, rpc: str
) -> None:
    method, manager = METHODS[rpc], service.as_(RECEIVER, "MANAGER")
    call: Any = service.channel.unary_unary(
        f"/{method.containing_service.full_name}/{rpc}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )

    def answer(client: Client) -> str:
        try:
            call(GetMessageClass(method.input_type)(), metadata=client.metadata(), timeout=10)
        except grpc.RpcError as error:
            return str(error.details())
        return "OK"

    now = service.clock.now()
    manager.caller = replace(manager.caller, prove_time=now - timedelta(minutes=10, seconds=1))
    assert answer(manager) == "step_up_required"
    manager.caller = replace(manager.caller, prove_time=now - timedelta(minutes=10))
    assert answer(manager) != "step_up_required"
    assert answer(service.as_(RECEIVER, scopes=("notifications",))) != "step_up_required"


def test_only_managers_and_the_changing_worker_are_notified_of_a_change_of_destination(
    service: Service,
) -> None:
    manager, colleague, stranger = (
        service.as_(organization, "MANAGER") for organization in (RECEIVER, RECEIVER, SENDER)
    )
    with service.database.transaction(SYSTEM) as tx:
        for caller in (colleague.caller, stranger.caller):
            members.save_worker(tx, caller.id, caller.organization_id, ["MANAGER"], "ACTIVE")
    created = manager.CreateWebhook(
        webhook=pb.Webhook(url="https://partner.example/hook", kinds=["referral_sent"])
    )
    assert manager.kinds() == colleague.kinds() == ["sending_changed"]
    assert stranger.kinds() == []
    manager.SetDesk(
        desk=pb.Desk(etag=manager.GetDesk().etag, email="otra@correo.example", language="es")
    )
    assert colleague.kinds() == ["sending_changed"] * 2
    manager.DeleteWebhook(id=created.webhook.id)
    assert colleague.kinds() == ["sending_changed"] * 3

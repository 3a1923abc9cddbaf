"""Budgets by address count the addresses that the gateway states for its clients.

For a caller that calls the service itself, they count the caller's own address.
"""

from collections.abc import Iterator

import pytest

from protos.partners.v1 import members_pb2 as pb
from protos.partners.v1 import members_pb2_grpc
from services.gateway.edge.clients import Caller, Clients, current_caller
from tests.builders import refusal
from tests.partners.scene import SIGN_IN_FAILED, TOO_MANY_ATTEMPTS, Scene

BURST = 50  # wrong passwords from one address


def sign_in(
    scene: Scene, number: int, metadata: tuple[tuple[str, str], ...] = ()
) -> tuple[str, str]:
    stub = members_pb2_grpc.TokensStub(scene.channel)
    request = pb.SignInRequest(email=f"nadie{number}@ejemplo.org", password="una clave que no es")
    return refusal(lambda: stub.SignIn(request, metadata=metadata, timeout=10))


def test_a_made_up_address_evades_no_budget(scene: Scene) -> None:
    refusals = [
        sign_in(scene, number, (("client-address", f"203.0.113.{number}"),))
        for number in range(BURST + 5)
    ]
    assert refusals == [SIGN_IN_FAILED] * BURST + [TOO_MANY_ATTEMPTS] * 5
    assert sign_in(scene, 90) == TOO_MANY_ATTEMPTS, (
        "the budget belongs to the connection's own address"
    )
    assert sign_in(scene, 91, scene.origin("203.0.113.1")) == SIGN_IN_FAILED, (
        "a client of the gateway at that address has lost none of its budget"
    )


@pytest.fixture
def gateway(scene: Scene) -> Iterator[Clients]:
    """The clients of a gateway that can reach partners only."""
    nowhere = "127.0.0.1:9"
    scene._server.set_ready(True)
    created = Clients(f"127.0.0.1:{scene._server.port}", nowhere, nowhere, signer=scene.gateway)
    yield created
    created.close()
    current_caller.set(Caller())


def test_each_client_of_the_gateway_has_a_budget_of_its_own(scene: Scene, gateway: Clients) -> None:
    def reason_for(address: str, number: int) -> str:
        current_caller.set(Caller(origin={"client-address": address, "client-device": ""}))
        try:
            gateway.tokens.SignIn(
                pb.SignInRequest(email=f"nadie{number}@ejemplo.org", password="una clave que no es")
            )
        except Exception as error:
            return str(getattr(error, "reason", error))
        return "signed in"

    assert [reason_for("192.0.2.9", number) for number in range(BURST + 1)] == [
        SIGN_IN_FAILED[1]
    ] * BURST + [TOO_MANY_ATTEMPTS[1]]
    assert reason_for("192.0.2.10", 99) == SIGN_IN_FAILED[1]
    assert sign_in(scene, 100) == SIGN_IN_FAILED, (
        "the client does not use up the gateway's own budget"
    )

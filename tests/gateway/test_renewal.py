"""A caller token that expires during a request is replaced once, unnoticed by the caller."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from chassis.errors import Unauthenticated, Unavailable
from protos.referrals.v1 import referrals_pb2
from services.gateway.edge.clients import NOBODY, Caller, Clients, current_caller
from tests.gateway.served_gateway import Service, refusing

DRAFT = referrals_pb2.CreateReferralRequest()


@pytest.fixture
def clients(service: Service) -> Iterator[Clients]:
    """Clients of a service that refuses the token "old" as expired."""
    service.answer = refuse_old_token
    clients = Clients(*[f"127.0.0.1:{service.port}"] * 3)
    yield clients
    clients.close()
    current_caller.set(NOBODY)


def refuse_old_token(rpc: str, context: grpc.ServicerContext) -> None:
    """Refuses an expired token, as a service does."""
    if ("authorization", "Bearer old") in list(context.invocation_metadata() or ()):
        refusing("token_expired", "UNAUTHENTICATED", only=rpc)(rpc, context)


def test_a_write_whose_token_expired_is_repeated_once_with_a_fresh_token(
    clients: Clients, service: Service
) -> None:
    current_caller.set(
        Caller({"enlace.referrals": "old"}, renew=lambda: {"enlace.referrals": "new"})
    )
    clients.referrals.CreateReferral(DRAFT)
    assert service.calls == ["CreateReferral"] * 2
    clients.referrals.CreateReferral(DRAFT)  # the rest of the request uses the fresh token
    assert service.calls == ["CreateReferral"] * 3


def test_a_fresh_token_that_expires_too_is_reported_as_a_busy_service_and_not_as_unauthenticated(
    clients: Clients, service: Service
) -> None:
    current_caller.set(
        Caller({"enlace.referrals": "old"}, renew=lambda: {"enlace.referrals": "old"})
    )
    with pytest.raises(Unavailable, match="service_busy"):
        clients.referrals.CreateReferral(DRAFT)
    assert service.calls == ["CreateReferral"] * 2


def test_a_caller_who_brought_a_token_has_to_renew_it(clients: Clients, service: Service) -> None:
    current_caller.set(Caller({"enlace.referrals": "old"}))
    with pytest.raises(Unauthenticated, match="token_expired"):
        clients.referrals.CreateReferral(DRAFT)
    assert service.calls == ["CreateReferral"]


def test_a_caller_whose_key_was_revoked_gets_no_fresh_token(clients: Clients) -> None:
    def refuse_key() -> dict[str, str]:
        raise Unauthenticated("key_invalid")

    current_caller.set(Caller({"enlace.referrals": "old"}, renew=refuse_key))
    with pytest.raises(Unauthenticated, match="key_invalid"):
        clients.referrals.CreateReferral(DRAFT)

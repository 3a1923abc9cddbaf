"""A caller token that expires during a request is replaced once, unnoticed by the caller."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from chassis.errors import Refusal, Unauthenticated, Unavailable
from protos.referrals.v1 import referrals_pb2
from services.gateway.edge.clients import NOBODY, Caller, Clients, current_caller
from tests.gateway.served_gateway import Service, refusing_answer

DRAFT = referrals_pb2.CreateReferralRequest()


@pytest.fixture(autouse=True)
def expired_token(service: Service) -> Iterator[None]:
    """Makes the service refuse the token "old" as expired."""
    service.answer = refuse_old_token
    yield
    current_caller.set(NOBODY)


def refuse_old_token(rpc: str, context: grpc.ServicerContext) -> None:
    """Refuses an expired token, as a service does."""
    if ("authorization", "Bearer old") in list(context.invocation_metadata() or ()):
        refusing_answer("token_expired", "UNAUTHENTICATED", only=rpc)(rpc, context)


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


def refuse_key() -> dict[str, str]:
    raise Unauthenticated("key_invalid")


@pytest.mark.parametrize(
    ("renew", "error", "reason", "call_count"),
    [
        (lambda: {"enlace.referrals": "old"}, Unavailable, "service_busy", 2),
        (None, Unauthenticated, "token_expired", 1),
        (refuse_key, Unauthenticated, "key_invalid", 1),
    ],
    ids=["the fresh token expires, too", "the caller brought the token", "the key was revoked"],
)
def test_a_token_that_cannot_be_renewed_is_refused_with_the_reason(
    clients: Clients,
    service: Service,
    renew: Callable[[], dict[str, str]] | None,
    error: type[Refusal],
    reason: str,
    call_count: int,
) -> None:
    current_caller.set(Caller({"enlace.referrals": "old"}, renew=renew))
    with pytest.raises(error, match=reason):
        clients.referrals.CreateReferral(DRAFT)
    assert service.calls == ["CreateReferral"] * call_count

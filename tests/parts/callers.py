"""Callers whose tokens the tests issue themselves, without a sign-in, and their calls."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from chassis.tokens import Caller, Issuer
from protos.stubs import SERVICES

REQUESTS: dict[str, Any] = {
    method.name: GetMessageClass(method.input_type)
    for service in SERVICES
    for method in service.methods
}


def just_proved(caller: Caller, issuer: Issuer) -> Caller:
    """Returns a worker with a proof of identity from just now, as after a sign-in.

    Other callers, and workers whose proof the test has dated, are returned unchanged.
    """
    return (
        caller
        if caller.prove_time or caller.kind != "worker"
        else replace(caller, prove_time=issuer._clock.now())
    )


def rpc_with_fields(
    stubs: Iterable[Any],
    rpc: str,
    metadata: Callable[[], list[tuple[str, str]]],
    timeout: float = 10,
) -> Callable[..., Any]:
    """Returns a function that calls the rpc with a request, or with the fields of a request."""
    method = next((getattr(stub, rpc) for stub in stubs if hasattr(stub, rpc)), None)
    if method is None:
        raise AttributeError(rpc)

    def call(request: Any = None, **fields: Any) -> Any:
        return method(
            REQUESTS[rpc](**fields) if request is None else request,
            metadata=metadata(),
            timeout=timeout,
        )

    return call

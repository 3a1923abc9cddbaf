"""Reflection lists the rpcs only to callers with a token, and takes no thread from other calls."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.referrals.conftest import Service

ASK = reflection_pb2.ServerReflectionRequest(list_services="")


def listed_services(service: Service, *metadata: tuple[str, str]) -> list[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    [answer] = list(stub.ServerReflectionInfo(iter([ASK]), metadata=metadata, timeout=10))
    return [entry.name for entry in answer.list_services_response.service]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "token_missing"),
        ((("authorization", "Bearer made.up.token"),), "token_invalid"),
        ((("authorization", "Basic YTpi"),), "token_missing"),
    ],
)
def test_reflection_lists_no_rpcs_to_a_caller_without_a_valid_token(
    service: Service, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        listed_services(service, *metadata)
    assert (caught.value.code().name, caught.value.details()) == ("UNAUTHENTICATED", reason)


def test_reflection_lists_the_rpcs_to_a_caller_with_a_token(service: Service) -> None:
    assert "enlace.referrals.v1.Referrals" in listed_services(
        service, *service.as_("ngo", "WORKER").metadata()
    )


def test_open_reflection_streams_occupy_no_thread_of_other_calls(service: Service) -> None:
    waiting, ngo = queue.Queue[None](), service.as_("ngo", "WORKER")

    def requests() -> Iterator[Any]:
        yield ASK
        waiting.get()

    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    streams = [
        stub.ServerReflectionInfo(requests(), metadata=ngo.metadata(), timeout=30)
        for _ in range(20)
    ]
    try:
        assert next(streams[0])
        ngo.CountReferrals()  # is answered, although the server has fewer threads than streams
    finally:
        for stream in streams:
            stream.cancel()
            waiting.put(None)

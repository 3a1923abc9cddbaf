"""The ways in which a fault run makes calls: gRPC to a service, or REST through the gateway.

Each way has a deadline, and raises `NoAnswer` for a missing answer: the call was lost, late or
refused as busy, or a token expired while partners was down. The client then knows nothing about the
outcome, and calls again. Every other refusal is raised unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import requests

from protos.partners.v1 import directory_pb2_grpc
from protos.referrals.v1 import referrals_pb2_grpc
from services.gateway.api.convert import to_json
from tests.parts.local_stack import Client, LocalStack

_NO_ANSWER_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
)
_NO_ANSWER_STATUSES = (401, 429, 502, 503, 504)


class NoAnswer(Exception):
    """No answer came, so nobody knows whether the transition happened. Carries the error's code."""


@dataclass(frozen=True)
class Answer:
    """The fields of a referral that the next step needs, from a REST answer."""

    id: str
    etag: str


class Way(Protocol):
    """A way to call.

    `prepare` fetches the caller's token, which is not part of the timed call, and returns a
    function that makes the call once.
    """

    name: str
    deadline: float

    def prepare(self, client: Client, rpc: str, request: Any) -> Callable[[], Any]: ...


class ByGrpc:
    """Calls a service directly, with the caller's token."""

    name = "grpc"
    deadline = 3.0  # seconds; a normal answer takes 50 ms

    def __init__(self, stack: LocalStack) -> None:
        self._stack, self._service = stack, "referrals"
        self._stub: Any = referrals_pb2_grpc.ReferralsStub(stack.channel("referrals"))

    @staticmethod
    def directory(way: Any) -> ByGrpc:
        """Returns a way that calls the partners service's directory in the same stack."""
        by_grpc = ByGrpc(way._stack)
        by_grpc.name, by_grpc._service = "directory", "partners"
        by_grpc._stub = directory_pb2_grpc.DirectoryStub(way._stack.channel("partners"))
        return by_grpc

    def prepare(self, client: Client, rpc: str, request: Any) -> Callable[[], Any]:
        try:
            metadata = [("authorization", f"Bearer {client.token(self._service)}")]
        except grpc.RpcError as error:
            raise NoAnswer("no token") from error

        def call() -> Any:
            try:
                return getattr(self._stub, rpc)(request, timeout=self.deadline, metadata=metadata)
            except grpc.RpcError as error:
                if error.code() in _NO_ANSWER_CODES:
                    raise NoAnswer(error.code().name) from error
                raise

        return call


class ByRest:
    """Calls through the gateway, with the API key itself."""

    name = "rest"
    deadline = 10.0  # seconds: docs/api.md, "Give a request 10 s"

    def __init__(self, stack: LocalStack) -> None:
        self._url = f"{stack.gateway}/api/v1/referrals"
        self._sessions = threading.local()

    def prepare(self, client: Client, rpc: str, request: Any) -> Callable[[], Any]:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        session: requests.Session = self._sessions.session
        body = {name: value for name, value in to_json(request).items() if value not in ([], {})}
        id, etag, key = (body.pop(name, "") for name in ("id", "etag", "request_id"))
        headers = {"Authorization": f"Bearer {client.api_key}", "Idempotency-Key": key} | (
            {"If-Match": f'"{etag}"'} if etag else {}
        )
        url = f"{self._url}/{id}/{rpc.removesuffix('Referral').lower()}" if id else self._url

        def call() -> Answer:
            try:
                # timeouts for connecting and for the answer, which arrives in one piece
                answer = session.post(
                    url, json=body, headers=headers, timeout=(self.deadline - 8, 8)
                )
            except requests.RequestException as error:
                raise NoAnswer(type(error).__name__) from error
            if answer.status_code in _NO_ANSWER_STATUSES:
                raise NoAnswer(str(answer.status_code))
            if not answer.ok:
                raise AssertionError(f"{rpc} by REST: {answer.status_code} {answer.text[:200]}")
            referral = answer.json()
            return Answer(referral["id"], referral["etag"].strip('"'))

        return call

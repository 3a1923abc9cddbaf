"""A gateway with fake services.

Every rpc of the contracts returns the answer that a test set for it, or an empty message.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import grpc
from flask import Flask, g
from flask.testing import FlaskClient
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.partners.v1 import members_pb2
from protos.stubs import FILES, NotificationsStubs, PartnersStubs, ReferralsStubs
from services.gateway.api import register
from services.gateway.edge.clients import AUDIENCES, Caller, current_caller
from services.gateway.edge.credentials import Exchange
from services.gateway.edge.limits import Limits

STUBS = tuple(
    name
    for stubs in (PartnersStubs, ReferralsStubs, NotificationsStubs)
    for name in vars(stubs(grpc.insecure_channel("localhost:1")))
)
OUTPUTS = {
    method.name: method.output_type
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
    if not method.server_streaming  # streams exist in gRPC only
}
KEY = "enl_00112233445566778899aabbccddeeff_c2VjcmV0LXRoYXQtaXMtbm9uZQ"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
ID = "5f0c9a4e1b7d42b38c6de0f1a2b3c4d5"


@dataclass
class FakeServices:
    """The fake services: the answers that a test sets, and the requests that they received."""

    answers: dict[str, Message | Exception | Callable[[Any], Message]] = field(default_factory=dict)
    calls: list[tuple[str, Any, Caller]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers["IssueToken"] = members_pb2.IssueTokenResponse(
            tokens=dict.fromkeys(AUDIENCES, JWT)
        )
        for stub in STUBS:
            setattr(self, stub, Stub(self))

    def last(self, rpc: str) -> Any:
        """Returns the last request to an rpc."""
        return next(request for name, request, _ in reversed(self.calls) if name == rpc)

    def requests(self, rpc: str) -> list[Any]:
        """Returns all requests to an rpc, in order."""
        return [request for name, request, _ in self.calls if name == rpc]


class Stub:
    """A stub whose attributes are the rpcs of the contracts."""

    def __init__(self, fakes: FakeServices) -> None:
        self._fakes = fakes

    def __getattr__(self, rpc: str) -> Callable[[Message], Message]:
        output = OUTPUTS[rpc]

        def call(request: Message) -> Message:
            request.SerializeToString()  # an unserialisable request is the gateway's fault
            stored = copy.deepcopy(request)  # the caller may change the message and send it again
            self._fakes.calls.append((rpc, stored, current_caller.get()))
            answer = self._fakes.answers.get(rpc, GetMessageClass(output)())
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, Message) else answer(request)

        return call


def app_with(fakes: FakeServices) -> Flask:
    """Returns the API in front of these services."""
    app = api_app()
    app.extensions.update(clients=fakes, exchange=Exchange(), limits=Limits(1_000_000))
    return app


@cache
def api_app() -> Flask:
    """Returns an app that serves the API alone, with a request id.

    `app_with` adds the other parts that services.gateway.edge.app provides.
    """
    app = Flask("services.gateway")
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024

    def begin() -> None:
        g.request_id = ID

    app.before_request(begin)
    register(app)
    return app


def filled_message(kind: type[Message]) -> Message:
    """Returns a message with every field set (of a oneof, the last one)."""
    message = kind()
    for part in kind.DESCRIPTOR.fields:
        nested: Any = getattr(message, part.name)
        inner: Any = part.message_type
        if inner and inner.GetOptions().map_entry:
            nested["a"] = 1 if inner.fields_by_name["value"].cpp_type == part.CPPTYPE_INT32 else "x"
        elif inner and inner.full_name == "google.protobuf.Timestamp":
            nested.FromDatetime(datetime(2026, 3, 14, 9, 30, 0, 123456))
        elif inner and inner.full_name == "google.protobuf.FieldMask":
            nested.paths.append("name")
        elif inner:
            nested.extend(
                [filled_message(GetMessageClass(inner))]
            ) if part.is_repeated else nested.CopyFrom(filled_message(GetMessageClass(inner)))
        else:
            value: Any = (
                b"x"
                if part.type == part.TYPE_BYTES
                else "ñ"
                if part.cpp_type == part.CPPTYPE_STRING
                else True
                if part.cpp_type == part.CPPTYPE_BOOL
                else 1
            )
            nested.extend([value]) if part.is_repeated else setattr(message, part.name, value)
    return message


class System:
    """A partner system with a key."""

    def __init__(self, client: FlaskClient, credential: str = KEY) -> None:
        self._client = client
        self._credential = credential

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> Any:
        """Sends a request; header names are written with underscores."""
        all_headers = {
            "Authorization": f"Bearer {self._credential}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self._client.open(f"/api/v1{path}", method=method, json=json, headers=all_headers)

    def get(self, path: str, **headers: str) -> Any:
        """Sends a GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, json: Any = None, **headers: str) -> Any:
        """Sends a POST with JSON."""
        return self.call("POST", path, json, **headers)

"""The one door to gRPC: every question to a service goes through here, with the caller's token, a deadline, and one way of hearing no.

A stub's method is called like a function and either returns the answer or raises a refusal of chassis.errors; whatever is no refusal is a
`ServiceFault`. Reads are tried again when a service is away for a moment; writes are not, for the person at the page can see what happened.
Limit: blocking calls without streams; one set of channels for the process, safe for all threads.
"""

import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import grpc
from flask import current_app
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from chassis import errors
from protos.notifications.v1 import notifications_pb2, notifications_pb2_grpc
from protos.partners.v1 import directory_pb2, directory_pb2_grpc, members_pb2, members_pb2_grpc
from protos.referrals.v1 import contacts_pb2, contacts_pb2_grpc, people_pb2, people_pb2_grpc, referrals_pb2, referrals_pb2_grpc

DEADLINE_SECONDS = 5.0
READING_VERBS = ("Get", "List", "Count", "Batch", "Search", "Match", "IssueToken")
FILES = (
    directory_pb2.DESCRIPTOR,
    members_pb2.DESCRIPTOR,
    referrals_pb2.DESCRIPTOR,
    people_pb2.DESCRIPTOR,
    contacts_pb2.DESCRIPTOR,
    notifications_pb2.DESCRIPTOR,
)


class ServiceFault(Exception):
    """A service broke, or answered what is in no contract. Carries the status name only: details may hold what nobody should log."""


@dataclass(frozen=True)
class Caller:
    """In whose name the gateway asks just now."""

    token: str = ""
    request_id: str = ""
    language: str = "es"


NOBODY = Caller()
# Set once at the start of each HTTP request (session.py, api), read by every call that follows on the same thread.
calling: ContextVar[Caller] = ContextVar("calling", default=NOBODY)


def reads_of(files: tuple[FileDescriptor, ...]) -> list[dict[str, str]]:
    """The methods that only read, as a gRPC service config names them."""
    return [
        {"service": service.full_name, "method": method.name}
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
        if method.name.startswith(READING_VERBS)
    ]


def channel_options() -> list[tuple[str, Any]]:
    """Keep idle connections alive, come back quickly after a restart, and try reads again while a service is away for a moment."""
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return [
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": reads_of(FILES), "retryPolicy": retry}]})),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]


class Details(NamedTuple):
    """The details of a call as an interceptor may hand them on."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class InTheCallersName(grpc.UnaryUnaryClientInterceptor):
    """Gives each call its deadline and the caller's metadata, and turns a refused call into the refusal it was."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Called by grpc for every call on the channel."""
        caller = calling.get()
        metadata = [*(client_call_details.metadata or ()), ("accept-language", caller.language)]
        if caller.token:
            metadata.append(("authorization", f"Bearer {caller.token}"))
        if caller.request_id:
            metadata.append(("x-request-id", caller.request_id))
        details = Details(
            client_call_details.method,
            client_call_details.timeout or DEADLINE_SECONDS,
            metadata,
            client_call_details.credentials,
            getattr(client_call_details, "wait_for_ready", None),
            getattr(client_call_details, "compression", None),
        )
        call = continuation(details, request)
        try:
            call.result()
        except grpc.RpcError as error:
            raise refusal_of(error) from None
        return call


def refusal_of(error: grpc.RpcError) -> Exception:
    """The refusal that a service meant, read back from status, ErrorInfo, BadRequest and RetryInfo; a ServiceFault if it meant none."""
    code = error.code()
    reason, violations, retry_after = "", list[tuple[str, str]](), 0.0
    for detail in details_of(error):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            reason = detail.reason
        elif isinstance(detail, error_details_pb2.BadRequest):
            violations = [(v.field, getattr(v, "reason", "") or v.description) for v in detail.field_violations]
        else:
            retry_after = detail.retry_delay.ToTimedelta().total_seconds()
    match code:
        case grpc.StatusCode.UNAUTHENTICATED:
            return errors.Unauthenticated(reason or "token_invalid")
        case grpc.StatusCode.PERMISSION_DENIED:
            return errors.NotAllowed(reason or "right_missing")
        case grpc.StatusCode.NOT_FOUND:
            return errors.NotFound()
        case grpc.StatusCode.INVALID_ARGUMENT:
            return errors.Invalid(*violations)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return errors.Conflict(reason or "illegal_transition")
        case grpc.StatusCode.ABORTED:
            return errors.Stale()
        case grpc.StatusCode.ALREADY_EXISTS:
            return errors.Reused()
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return errors.Exhausted(reason or "too_many_requests", retry_after)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Unavailable(reason or "service_unreachable")
    return ServiceFault(code.name)


def details_of(error: grpc.RpcError) -> Iterator[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo]:
    """The error details we know of, unpacked."""
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))
    except ValueError:  # trailing metadata that contradicts the status: not ours to repair
        return
    for packed in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                yield detail


class Clients:
    """All nine services behind three addresses."""

    def __init__(self, partners: str, referrals: str, notifications: str) -> None:
        plain = {
            name: grpc.insecure_channel(address, options=channel_options())
            for name, address in (("partners", partners), ("referrals", referrals), ("notifications", notifications))
        }
        asked = {name: grpc.intercept_channel(channel, InTheCallersName()) for name, channel in plain.items()}
        self.directory = directory_pb2_grpc.DirectoryStub(asked["partners"])
        self.members = members_pb2_grpc.MembersStub(asked["partners"])
        self.tokens = members_pb2_grpc.TokensStub(asked["partners"])
        self.referrals = referrals_pb2_grpc.ReferralsStub(asked["referrals"])
        self.statistics = referrals_pb2_grpc.StatisticsStub(asked["referrals"])
        self.people = people_pb2_grpc.PeopleStub(asked["referrals"])
        self.contacts = contacts_pb2_grpc.ContactsStub(asked["referrals"])
        self.references = contacts_pb2_grpc.ReferencesStub(asked["referrals"])
        self.notifications = notifications_pb2_grpc.NotificationsStub(asked["notifications"])
        self.webhooks = notifications_pb2_grpc.WebhooksStub(asked["notifications"])
        self.health: dict[str, Any] = {name: health_pb2_grpc.HealthStub(channel) for name, channel in plain.items()}

    def missing(self) -> list[str]:
        """The services that are not ready just now, by name."""
        away = []
        for name, stub in self.health.items():
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                away.append(name)
            else:
                if answer.status != health_pb2.HealthCheckResponse.SERVING:
                    away.append(name)
        return away


def clients() -> Clients:
    """The process's clients, from within a request."""
    found: Clients = current_app.extensions["clients"]
    return found

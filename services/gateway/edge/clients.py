"""Calls the gRPC services. Every call of the gateway to a service goes through this module.

A call carries the caller's token and a deadline. A stub's method is called like a function: it
returns the answer or raises a refusal of chassis.errors; any other failure raises a `ServiceFault`.
The gate of a service (gates.py) refuses calls to a service that is down or busy; only health checks
and calls that end a session in the background pass no gate. A read is repeated if its connection
was lost. A write that a handler may have seen is not repeated, because the person at the page can
see whether it was done. One set of channels serves all threads of the process. Limitation: calls
block the thread, and there are no streams.
"""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import grpc
import tenacity
from flask import current_app, g, has_request_context
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from chassis import errors, trace
from chassis.contract import words_of
from chassis.tokens import AddressSigner
from protos.partners.v1 import members_pb2
from protos.stubs import FILES, NotificationsStubs, PartnersStubs, ReferralsStubs
from services.gateway.edge.gates import CAPACITIES, SPARE_THREADS, Gate

DEADLINE_SECONDS = 5.0
HEALTH_SECONDS = 1.0
# seconds that ending a session in the background may take; a restart of the service takes less
END_SESSION_SECONDS = 60.0
# sessions that may be ending at a time; the same number may wait, and any further session ends when
# it reaches its idle limit
MAX_ENDING_SESSIONS = 200
READ_ATTEMPTS = 3
READING_VERBS = ("Get", "List", "Count", "Batch", "Search", "Match", "Preview", "IssueToken")
SERVICE_NAMES = ("partners", "referrals", "notifications")
# audiences of the caller tokens: each token is valid at only one service
AUDIENCES = tuple(f"enlace.{name}" for name in SERVICE_NAMES)


class ServiceFault(Exception):
    """A fault of a service, or an answer that the contract does not allow.

    Carries only the name of the gRPC status, because the details may hold data that must not be
    logged.
    """


@dataclass(frozen=True)
class Caller:
    """The caller in whose name the gateway makes its calls. `tokens` has a token per audience."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    language: str = "es"
    # a hash of the credential or the IP address; the gates share their capacity between callers
    mark: str = ""
    # metadata about the origin of a caller without a token
    origin: Mapping[str, str] = field(default_factory=dict)
    # fetches fresh tokens; None if the caller has no credential for that
    renew: Callable[[], Mapping[str, str]] | None = None


NOBODY = Caller()
# Set at the start of each HTTP request (session.py, api); read by every later call on the same
# thread.
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=NOBODY)


READS = frozenset(
    f"/{service.full_name}/{method.name}"
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
    if method.name.startswith(READING_VERBS)
)
# No two rpcs have the same type of request.
RPC_OF = {
    method.input_type.full_name: method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}


def channel_options(*, healthy_only: bool) -> list[tuple[str, Any]]:
    """Returns the options of a channel that sends calls to all servers behind a name in turn.

    gRPC looks the name up in DNS, and does so again when a connection is lost. It skips a server at
    once when the connection to it is lost, and tries to connect again within about a second. With
    `healthy_only`, gRPC watches the health of each server, and skips a server that reports that it
    is not ready or is stopping, until the server reports otherwise. gRPC sends a call to another
    server only if the first server rejected it before any handler ran. There is no retry policy:
    gRPC cannot tell a lost connection from a service that reports that its database is down.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    return [
        (
            "grpc.service_config",
            json.dumps(
                config | ({"healthCheckConfig": {"serviceName": ""}} if healthy_only else {})
            ),
        ),
        # Pings go out while a call is under way; the watch of a server's health is a call that is
        # always under way. The servers tolerate the pings (chassis/server.py).
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
        ("grpc.enable_http_proxy", 0),  # a proxy for the Internet does not lead to the services
    ]


class InTheCallersName(grpc.UnaryUnaryClientInterceptor):
    """Sends each call through the gate, with its deadline and the caller's metadata.

    Raises the refusal that the service sent.
    """

    def __init__(self, gate: Gate, audience: str, address_signer: AddressSigner | None) -> None:
        self._gate = gate
        self._audience = audience
        self._address_signer = address_signer

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Makes one call; grpc calls this method for every call on the channel.

        If the token expired on the way, or is older than the caller's step-up, the call is repeated
        once with a fresh token, if the caller can get one. This is safe, because the service
        refused before any effect. If the fresh token expires, too, the cause is a slow machine. The
        call then raises Unavailable service_busy, so that no signed-in caller is refused as
        unknown.
        """
        caller = current_caller.get()
        end = time.monotonic() + (client_call_details.timeout or DEADLINE_SECONDS)
        try:
            return self._ask(continuation, client_call_details, request, caller, end)
        except (errors.Unauthenticated, errors.NotAllowed) as refusal:
            if refusal.reason not in ("token_expired", "step_up_required") or caller.renew is None:
                raise
        renewed_caller = replace(caller, tokens=caller.renew())
        current_caller.set(renewed_caller)
        try:
            return self._ask(continuation, client_call_details, request, renewed_caller, end)
        except errors.Unauthenticated as refusal:
            if refusal.reason != "token_expired":
                raise
            raise errors.Unavailable("service_busy") from refusal

    def _ask(
        self, continuation: Any, details: Any, request: Any, caller: Caller, end: float
    ) -> Any:
        metadata = [
            *(details.metadata or ()),
            ("accept-language", caller.language),
            *self._origin(caller),
        ]
        if token := caller.tokens.get(self._audience):
            metadata.append(("authorization", f"Bearer {token}"))
        if caller.request_id:
            metadata += [
                ("x-request-id", caller.request_id),
                (trace.HEADER, trace.parent(caller.request_id)),
            ]

        def ask() -> Any:
            seconds_left = max(0.001, end - time.monotonic())
            call = continuation(details._replace(timeout=seconds_left, metadata=metadata), request)
            try:
                call.result()
            except grpc.RpcError as error:
                raise refusal_of(error) from None
            return call

        with self._gate.passage(caller.mark, details.method):
            if details.method in READS:
                return with_retries(ask, end - time.monotonic())
            call = ask()
        if has_request_context():
            # If a later call of this request fails, the page must not claim that nothing was saved.
            g.written = True
        return call

    def _origin(self, caller: Caller) -> Iterator[tuple[str, str]]:
        """Yields the metadata about the origin of a caller without a token.

        The address is signed in the gateway's own name; the device's secret is sent as it is.
        """
        for name, value in caller.origin.items():
            if name != "client-address":
                yield name, value
            elif self._address_signer is not None:
                yield name, self._address_signer.sign(value, self._audience)


def with_retries(ask: Callable[[], Any], seconds: float) -> Any:
    """Makes a read, and repeats it after a moment if its connection was lost.

    A read that the service itself refused is not repeated.
    """
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(READ_ATTEMPTS) | tenacity.stop_before_delay(seconds),
        wait=tenacity.wait_exponential_jitter(multiplier=0.05, max=0.5, exp_base=3, jitter=0.05),
        retry=tenacity.retry_if_exception(
            lambda error: (
                isinstance(error, errors.Unavailable) and error.reason == "service_unreachable"
            )
        ),
        reraise=True,
    )
    return attempts(ask)


def refusal_of(error: grpc.RpcError) -> Exception:
    """Returns the refusal that the service sent, or a ServiceFault if the error is not a refusal.

    Reads the status, ErrorInfo, BadRequest and RetryInfo.
    """
    info, bad_request, retry = details_of(error)
    match error.code():
        case grpc.StatusCode.UNAUTHENTICATED:
            return errors.Unauthenticated(info.reason or "token_invalid")
        case grpc.StatusCode.PERMISSION_DENIED:
            return errors.NotAllowed(info.reason or "right_missing")
        case grpc.StatusCode.NOT_FOUND:
            return errors.NotFound()
        case grpc.StatusCode.INVALID_ARGUMENT:
            return errors.Invalid(
                *[(v.field, v.reason or v.description) for v in bad_request.field_violations]
            )
        case grpc.StatusCode.FAILED_PRECONDITION:
            about = info.metadata.get("about", "").split(",")
            return errors.Conflict(info.reason or "illegal_transition", *filter(None, about))
        case grpc.StatusCode.ABORTED:
            return errors.Stale()
        case grpc.StatusCode.ALREADY_EXISTS:
            return errors.Reused()
        case grpc.StatusCode.RESOURCE_EXHAUSTED if info.reason == "store_full":
            return errors.Unavailable(info.reason)  # not the caller's fault
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in (error.details() or ""):
            # gRPC itself refused an answer above 4 MiB: only a smaller page can be transferred
            return errors.Invalid(("page_size", "out_of_range"))
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
            return errors.Exhausted(info.reason or "too_many_requests", seconds)
        # CANCELLED: the service stopped in the meantime
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return errors.Unavailable(info.reason or "service_unreachable")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Unavailable("deadline_exceeded")
    return ServiceFault(error.code().name)


def details_of(
    error: grpc.RpcError,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    """Returns the details of an error; a kind that the error lacks is empty."""
    details = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    # A ValueError means that the trailing metadata contradicts the status. The gateway can't repair
    # that.
    with contextlib.suppress(ValueError):
        status = rpc_status.from_call(cast(grpc.Call, error))
        for packed_detail in status.details if status else ():
            for detail in details:
                packed_detail.Unpack(detail)  # changes nothing if the detail is of another kind
    return details


@dataclass(frozen=True)
class Standing:
    """The state of a service.

    `answers`: the service answers health checks. `ready`: its database answers. `publishes`: its
    facts reach the broker. `holds`: it has received facts that wait for an operator.
    `failed_recently`: a recent call to the service failed through the service's fault.
    """

    answers: bool
    ready: bool
    publishes: bool
    holds: bool = False
    failed_recently: bool = False


class Clients(PartnersStubs, ReferralsStubs, NotificationsStubs):
    """The clients of all three services."""

    def __init__(
        self,
        partners: str,
        referrals: str,
        notifications: str,
        *,
        signer: AddressSigner | None = None,
    ) -> None:
        """Opens the channels. `signer` signs the caller's address in the gateway's name."""
        addresses = {"partners": partners, "referrals": referrals, "notifications": notifications}
        self._plain = {
            name: grpc.insecure_channel(address, options=channel_options(healthy_only=True))
            for name, address in addresses.items()
        }
        # Health checks have channels of their own, because a server that is not ready must still be
        # able to report its state.
        self._health_channels = {
            name: grpc.insecure_channel(address, options=channel_options(healthy_only=False))
            for name, address in addresses.items()
        }
        self._gates = {
            name: Gate(name, partial(_is_serving, channel), CAPACITIES[name])
            for name, channel in self._plain.items()
        }
        channels = {
            name: grpc.intercept_channel(
                channel, InTheCallersName(self._gates[name], f"enlace.{name}", signer)
            )
            for name, channel in self._plain.items()
        }
        PartnersStubs.__init__(self, channels["partners"])
        ReferralsStubs.__init__(self, channels["referrals"])
        NotificationsStubs.__init__(self, channels["notifications"])
        self._sessions_to_end = queue.Queue[str](MAX_ENDING_SESSIONS)
        threading.Thread(target=self._end_sessions, name="end-sessions", daemon=True).start()
        self._slots, self._check_lock = threading.BoundedSemaphore(SPARE_THREADS), threading.Lock()
        self._standing, self._checked_at = dict[str, Standing](), -HEALTH_SECONDS

    def standing(self) -> dict[str, Standing]:
        """Returns the state of each service.

        Asks all services at once, and at most once a second. A health check may take up to a
        second, so only a few threads may wait for the result; raises Unavailable service_busy in
        any further thread.
        """
        if not self._slots.acquire(blocking=False):
            raise errors.Unavailable("service_busy")
        try:
            with self._check_lock:
                if time.monotonic() - self._checked_at > HEALTH_SECONDS:
                    checks = {
                        name: [
                            _ask_health(channel, health_name)
                            for health_name in ("", "broker", "facts")
                        ]
                        for name, channel in self._health_channels.items()
                    }
                    self._standing = {
                        name: standing_of(*answers) for name, answers in checks.items()
                    }
                    self._checked_at = time.monotonic()
                return {
                    name: replace(standing, failed_recently=self._gates[name].failed_recently())
                    for name, standing in self._standing.items()
                }
        finally:
            self._slots.release()

    def end_session_later(self, secret: str) -> None:
        """Ends a session in the background, within a minute, without waiting. Passes no gate.

        If too many sessions wait to be ended, or if the partners service stays down for a minute,
        the session ends when it reaches its idle limit.
        """
        with contextlib.suppress(queue.Full):
            self._sessions_to_end.put_nowait(secret)

    def _end_sessions(self) -> None:
        end_session: Any = PartnersStubs(self._plain["partners"]).tokens.EndSession
        under_way = threading.BoundedSemaphore(MAX_ENDING_SESSIONS)
        while secret := self._sessions_to_end.get():
            under_way.acquire()
            request = members_pb2.EndSessionRequest(session_secret=secret)
            try:
                call = end_session.future(request, timeout=END_SESSION_SECONDS, wait_for_ready=True)
            except ValueError:  # the channel is closed
                return
            call.add_done_callback(lambda _call: under_way.release())

    def close(self) -> None:
        """Stops the thread that ends sessions, stops the gates, and closes all channels."""
        self.end_session_later("")
        for gate in self._gates.values():
            gate.close()
        for channel in (*self._plain.values(), *self._health_channels.values()):
            channel.close()


def _ask_health(channel: grpc.Channel, health_name: str = "") -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Check.future(
        health_pb2.HealthCheckRequest(service=health_name), timeout=HEALTH_SECONDS
    )


def _is_serving(channel: grpc.Channel) -> bool:
    """Returns whether a server is ready. The channel skips servers that are not ready."""
    return standing_of(_ask_health(channel)).ready


def standing_of(overall: Any, broker: Any = None, facts: Any = None) -> Standing:
    """Returns the state of a service from its health checks, once each has answered or timed out.

    A service that receives no facts has no health check `facts`; for it, `holds` is false.
    """
    statuses: list[int | None] = []
    for call in (overall, broker, facts):
        try:
            statuses.append(call.result().status if call else None)
        except (grpc.RpcError, grpc.FutureCancelledError):
            statuses.append(None)
    return Standing(
        answers=statuses[0] is not None,
        ready=statuses[0] == health_pb2.HealthCheckResponse.SERVING,
        publishes=statuses[1] == health_pb2.HealthCheckResponse.SERVING,
        holds=statuses[2] == health_pb2.HealthCheckResponse.NOT_SERVING,
    )


def clients() -> Clients:
    """Returns the process's clients, from within a request."""
    return cast(Clients, current_app.extensions["clients"])


def send(request: Message) -> Any:
    """Calls the rpc that has this type of request, in the caller's name, and returns its answer."""
    rpc = RPC_OF[request.DESCRIPTOR.full_name]
    return getattr(getattr(clients(), words_of(rpc.containing_service.name)), rpc.name)(request)

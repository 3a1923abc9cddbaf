"""Serves the rpcs of one gRPC service: authenticates each call, checks the caller's right, and runs
the call within a deadline and one transaction.

A `Servicer` connects a service of the .proto to objects that implement its rpcs as `method(request,
call) -> response`. A streaming rpc is `method(request, stream)`: it yields responses, and opens a
transaction for each read of the database (chassis/streams.py). A servicer raises TypeError at the
start if an rpc has no method, or if its .proto does not state who may call it.

A repeated request gets its first answer, and a refusal becomes a gRPC status (chassis/refusals.py).
The address of a caller without a token is the address that the gateway signed, or else the address
of the connection.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chassis import audit, contract, deadline, errors, log, metrics, shape, trace
from chassis.admission import check_not_stopping, seconds_waited
from chassis.audit import Trail
from chassis.clock import Clock
from chassis.config import CALLER_RATE
from chassis.db import Database, Transaction
from chassis.guesses import Origin
from chassis.idempotency import IdempotencyStore
from chassis.ids import new_id
from chassis.limits import Limits, address_of
from chassis.refusals import CODES, refuse
from chassis.store_faults import found_dead, may_be_repeated
from chassis.streams import Streams
from chassis.tokens import NOBODY, AddressReader, Caller, Verifier
from keys.sealing import CannotOpen

# the format of Enlace's own ids, or of a UUID
_REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DEADLINE = 10.0  # maximum seconds that a call may take, even if its own deadline is later


@dataclass
class Call:
    """A call being processed: its caller, its transaction, and the trail entries it collects.

    The entries are recorded even if the call is refused, unless the refusal is Unavailable, Late or
    store_full. `origin` holds the client's address and device as the gateway reported them (or the
    address of the connection), and the organisation of the caller, if it is known.
    """

    caller: Caller
    tx: Transaction
    clock: Clock
    trail: list[audit.Entry] = field(default_factory=list)
    origin: Origin = field(default_factory=Origin)


class Servicer:
    """Implements one service of a .proto."""

    def __init__(
        self,
        descriptor: ServiceDescriptor,
        *implementations: object,
        database: Database,
        verifier: Verifier,
        idempotency: IdempotencyStore,
        clock: Clock,
        check_standing: Callable[[Transaction, Caller], None],
        notify: Callable[[Call, str, Message], None] | None = None,
    ) -> None:
        """Connects each rpc of `descriptor` to the method of the same name.

        `check_standing` refuses a caller whose member, worker or key this service knows to be
        suspended. `notify` is called with the rpc's name and its request after each call that
        requires a step-up, unless the call repeats a request; it runs in the call's transaction.
        """
        self.name = descriptor.full_name
        self._database = database
        self._verifier = verifier
        self._idempotency = idempotency
        self._clock = clock
        self._check_standing = check_standing
        self._notify = notify
        self._limits = Limits(CALLER_RATE)
        self._addresses: AddressReader | None = None
        self.streams = Streams() if any(m.server_streaming for m in descriptor.methods) else None
        methods = {
            name: getattr(implementation, name)
            for implementation in implementations
            for name in descriptor.methods_by_name
            if hasattr(implementation, name)
        }
        missing = [m.name for m in descriptor.methods if not callable(methods.get(m.name))]
        if missing:
            raise TypeError(f"{self.name}: no methods for {missing}")
        self.handlers = grpc.method_handlers_generic_handler(
            self.name, {m.name: self._handler(m, methods[m.name]) for m in descriptor.methods}
        )

    def use_limits(self, limits: "Limits") -> None:
        """Replaces the limits with limits that all servicers of a server share."""
        self._limits = limits

    def use_addresses(self, addresses: AddressReader | None) -> None:
        """Accepts client addresses that the gateway has signed."""
        self._addresses = addresses

    def caller_of(self, metadata: Mapping[str, str]) -> Caller:
        """Returns the caller that a call's token names. Raises Unauthenticated token_missing,
        token_expired or token_invalid.
        """
        return self._authenticate(metadata)[0]

    def lane_of(self, metadata: Mapping[str, str]) -> str:
        """Returns the id of the caller that a call's token names, even if the token has expired; ""
        without a token that the partners service signed.
        """
        return self._verifier.subject(metadata.get("authorization", "").partition(" ")[2])

    def _handler(
        self, descriptor: MethodDescriptor, method: Callable[[Any, Any], Any]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        rules, declared_reasons = contract.rules(descriptor), contract.refusals(descriptor)
        request_class: Any = GetMessageClass(descriptor.input_type)
        response_class: Any = GetMessageClass(descriptor.output_type)
        mutates = "request_id" in descriptor.input_type.fields_by_name
        name = f"{self.name}/{descriptor.name}"
        action = contract.words_of(descriptor.name)

        def handle(data: bytes, context: grpc.ServicerContext) -> Any:
            with (
                _hiding_details(name, context),
                self._reporting_errors(
                    name, declared_reasons, context, descriptor.input_type, mutates=mutates
                ) as info,
                deadline.until(_end(context)),
                trace.under(info.trace_id),
            ):
                if not rules.public:
                    info.caller, _ = self._authenticate(info.metadata)
                caller = info.caller
                self._limits.admit(context.peer(), caller)
                request = request_class()
                with self._recording_refusals(action, caller, rules, request) as trail:
                    check_right(caller, rules, self._clock.now())
                    _read(request, data)
                    # A migration invalidates the statements that a pooled connection prepared, so
                    # each such connection fails once. Of two transactions that wait for each other,
                    # one fails. A restart of the server kills every idle connection. The call's
                    # deadline bounds the loop.
                    will_retry = not rules.public
                    while True:
                        try:
                            return self._answer(
                                name,
                                request,
                                response_class,
                                method,
                                caller,
                                trail,
                                self._origin(info.metadata, context),
                                mutates=mutates,
                                rules=rules,
                                will_retry=will_retry,
                            )
                        except errors.Unavailable as refusal:
                            if not may_be_repeated(refusal):
                                raise
                            will_retry = will_retry and not found_dead(refusal)
                            trail.clear()

        def stream_responses(data: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
            with (
                _hiding_details(name, context),
                self._reporting_errors(
                    name, declared_reasons, context, descriptor.input_type
                ) as info,
            ):
                caller, until = self._authenticate(info.metadata)
                info.caller = caller
                self._limits.admit(context.peer(), caller)
                request = request_class()
                with self._recording_refusals(action, caller, rules, request):
                    check_right(caller, rules, self._clock.now())
                    _read(request, data)
                    transact = partial(self._in_good_standing, caller)
                    with self.streams.open_stream(  # type: ignore[union-attr]
                        caller, until, self._clock, context, transact
                    ) as stream:
                        with stream.transaction():
                            _check_shape(request)
                        yield from method(request, stream)

        # No request deserializer: gRPC would report a malformed request as a server fault, and
        # `_read` refuses it as invalid.
        if self.streams is None or not descriptor.server_streaming:
            return grpc.unary_unary_rpc_method_handler(
                handle, response_serializer=response_class.SerializeToString
            )
        if rules.public or rules.recorded:
            raise TypeError(f"{descriptor.full_name}: a stream must need a token and be unrecorded")
        # gRPC reads the pool from this attribute
        stream_responses.experimental_thread_pool = self.streams.pool  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(
            stream_responses, response_serializer=response_class.SerializeToString
        )

    @contextmanager
    def _reporting_errors(
        self,
        name: str,
        declared_reasons: frozenset[str],
        context: grpc.ServicerContext,
        input_type: Descriptor,
        *,
        mutates: bool = False,
    ) -> Iterator["_CallInfo"]:
        """Converts exceptions raised inside the block to gRPC errors, and records the metrics. Logs
        calls that fail or are refused, and calls that change something (`mutates`).
        """
        started = time.perf_counter()
        info = _CallInfo(text_metadata(context.invocation_metadata()))
        request_id = info.metadata.get("x-request-id", "")
        # The id is logged, so text of the caller's choice is replaced.
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = new_id()
        info.trace_id = (
            trace.id_of(info.metadata.get(trace.HEADER, "")) or request_id.replace("-", "").lower()
        )
        code = "OK"
        try:
            check_not_stopping()
            if context.time_remaining() == 0:
                raise errors.Late
            yield info
        except errors.Refusal as refusal:
            code = CODES[type(refusal)].name
            metrics.REFUSALS.labels(name, refusal.reason).inc()
            # The refusal is returned even if the .proto does not declare its reason.
            if refusal.reason not in declared_reasons:
                log.get().error("undeclared_refusal", rpc=name, reason=refusal.reason)
            refuse(context, refusal, input_type)
        except Exception as error:
            code = "INTERNAL"
            if isinstance(error, CannotOpen):
                error.alarm()
            log.get().error(
                "fault",
                rpc=name,
                request_id=request_id,
                trace_id=info.trace_id,
                fault=log.fault(error),
            )
            context.abort(grpc.StatusCode.INTERNAL, f"fault; request {request_id}")
        finally:
            seconds = time.perf_counter() - started
            metrics.RPC_SECONDS.labels(name, code).observe(seconds)
            if mutates or code != "OK":
                log.get().info(
                    "rpc", rpc=name, code=code, request_id=request_id, trace_id=info.trace_id,
                    caller_id=info.caller.id,
                    duration_ms=round(seconds * 1000, 1),
                )  # fmt: skip

    def _authenticate(self, metadata: Mapping[str, str]) -> tuple[Caller, datetime]:
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise errors.Unauthenticated("token_missing")
        return self._verifier.verify_with_expiry(token, seconds_waited())

    def _origin(self, metadata: Mapping[str, str], context: grpc.ServicerContext) -> Origin:
        """Returns the origin of a call: the address that the gateway signed, or else the address of
        the connection.
        """
        signed_address, device = (
            metadata.get("client-address", ""),
            metadata.get("client-device", ""),
        )
        address = (
            self._addresses.read(signed_address, seconds_waited())
            if self._addresses is not None and signed_address
            else None
        )
        return Origin(
            address_of(context.peer()) if address is None else address,
            device if len(device) <= 100 else "",
        )

    @contextmanager
    def _in_good_standing(self, caller: Caller) -> Iterator[Transaction]:
        with self._database.transaction(caller) as tx:
            self._check_standing(tx, caller)
            yield tx

    @contextmanager
    def _recording_refusals(
        self, action: str, caller: Caller, rules: contract.Rules, request: Message
    ) -> Iterator["Trail"]:
        """Records a refusal on the trail in a transaction of its own, since the call's transaction
        was rolled back.
        """
        trail = Trail(action)
        try:
            yield trail
        except errors.Refusal as refusal:
            # A store that is unavailable or full can't record the refusal, and has revealed
            # nothing. For an rpc that is not recorded, a refusal is on the trail only if the right
            # is missing, or if the method has added entries.
            if (
                isinstance(refusal, errors.Unavailable | errors.Late)
                or refusal.reason == "store_full"
            ):
                raise
            if rules.recorded or trail or isinstance(refusal, errors.NotAllowed):
                with self._database.transaction(caller) as tx:
                    audit.record(
                        tx,
                        caller,
                        self._clock.now(),
                        trail or [trail.default_entry(caller, request)],
                        reason=refusal.reason,
                    )
            raise

    def _answer(
        self,
        name: str,
        request: Any,
        response_class: Any,
        method: Callable[[Any, Call], Message],
        caller: Caller,
        trail: "Trail",
        origin: Origin,
        *,
        mutates: bool,
        rules: contract.Rules,
        will_retry: bool,
    ) -> Message:
        violations = shape.violations(request)
        request_id = request.request_id if mutates and not violations else ""
        # A call with a token reads from the database before its method runs, so the method never
        # runs on a connection that is found dead.
        with self._database.transaction(caller, by_key=mutates, will_retry=will_retry) as tx:
            wait_for_first, requester_id = None, caller.id
            if request_id:
                body = request.SerializeToString(deterministic=True)
                # Without a token the caller is unknown, and two systems may use the same
                # request_id: the fingerprint of the request takes the place of the caller's id.
                requester_id = (
                    f"public/{self._idempotency.fingerprint(body)}" if rules.public else caller.id
                )
                wait_for_first = self._idempotency.store_request(
                    tx, requester_id, request_id, name, body
                )
            if not rules.public:
                self._check_standing(tx, caller)
            if violations:
                raise errors.Invalid(*violations)
            first_response = wait_for_first() if wait_for_first else None
            call = Call(
                caller,
                tx,
                self._clock,
                trail,
                replace(origin, organization_id=caller.organization_id),
            )
            response: Message = (
                response_class.FromString(first_response)
                if first_response is not None
                else method(request, call)
            )
            if rules.step_up and self._notify and first_response is None:
                self._notify(call, name.rpartition("/")[2], request)
            if request_id and first_response is None:
                self._idempotency.store_response(
                    tx, requester_id, request_id, response.SerializeToString()
                )
            if rules.recorded and not trail:
                trail.append(trail.default_entry(caller, response, request))
            # Last, since the trail stays locked from here to the end of the transaction.
            if trail:
                audit.record(tx, caller, self._clock.now(), trail)
        return response


@contextmanager
def _hiding_details(name: str, context: grpc.ServicerContext) -> Iterator[None]:
    """Converts faults of the error handling itself to INTERNAL without details; gRPC would send the
    exception's message.

    `context.abort` raises a bare Exception, which is passed on.
    """
    try:
        yield
    except Exception as error:
        if type(error) is Exception and not error.args:
            raise
        log.get().error("fault", rpc=name, fault=log.fault(error))
        context.abort(grpc.StatusCode.INTERNAL, "fault")


@dataclass
class _CallInfo:
    """The metadata and trace id of a call, and its caller once the token is verified."""

    metadata: Mapping[str, str]
    caller: Caller = NOBODY
    trace_id: str = ""


def text_metadata(metadata: Any) -> dict[str, str]:
    """Returns the entries of a call's metadata whose values are text, by key."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _read(request: Message, data: bytes) -> None:
    try:
        request.MergeFromString(data)
    except DecodeError as error:
        raise errors.Invalid(("request", "malformed")) from error


def _check_shape(request: Message) -> None:
    if violations := shape.violations(request):
        raise errors.Invalid(*violations)


def check_right(caller: Caller, rules: contract.Rules, now: datetime) -> None:
    """Raises NotAllowed right_missing for a caller with neither one of the roles nor the scope,
    unless the rpc is public.

    Raises NotAllowed step_up_required for a worker whose last proof of identity is too old for this
    rpc.
    """
    if not (
        rules.public or caller.roles & rules.roles or (rules.scope and rules.scope in caller.scopes)
    ):
        raise errors.NotAllowed("right_missing")
    if rules.step_up and not caller.has_proved(now):
        raise errors.NotAllowed("step_up_required")


def _end(context: grpc.ServicerContext) -> float:
    """Returns when the call must end, as a value of time.monotonic(). The caller's deadline counts
    from the arrival of the call, not from when a thread was free.
    """
    remaining = context.time_remaining()
    return time.monotonic() + (_DEADLINE if remaining is None else min(remaining, _DEADLINE))

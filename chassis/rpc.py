"""The gRPC server of a service: every call is authenticated, has a right, a deadline, one
transaction, one answer to a repeated request, and a typed refusal.

`Servicer` ties a service of the .proto to objects that have a method per rpc between them,
`method(request, call) -> response`, or `method(request, stream)` that yields responses, each in a
transaction of its own (chassis/streams.py). It refuses to start when an rpc has no method or its
.proto does not say who may call it. Where a caller without a token comes from is what the gateway
has signed, and else the address of the connection.
"""

import ipaddress
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_status import rpc_status

from chassis import audit, contract, deadline, errors, handles, log, metrics, shape, trace
from chassis.admission import CallPool, announce, turned_away, waited
from chassis.clock import Clock
from chassis.config import CALLER_RATE
from chassis.db import Database, Transaction, met_a_migration
from chassis.guesses import Origin
from chassis.idempotency import IdempotencyStore
from chassis.ids import is_id, new_id
from chassis.limits import Limiter
from chassis.streams import TURNS, Streams
from chassis.tokens import AddressReader, Caller, Verifier
from keys.sealing import CannotOpen

# ours, or a UUID
_REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NOBODY = Caller("public", "public", "")
_DEADLINE = 10.0  # seconds, for a caller that set none
_MAX_MESSAGE = 1 << 20  # bytes; the largest honest message is far below
_NAMES = health.SERVICE_NAME, reflection.SERVICE_NAME
_CALLERS_AN_ADDRESS = 20  # that ask without a token: the gateway does for everybody
# calls a thread under way or waiting; beyond that it is kinder to say no at once than to let them
# grow old in a queue
_WAITING = 8

_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    # Clients look up addresses only when they connect: after half a minute (gRPC adds or takes a
    # tenth by chance) they find the processes that came since, and no old one keeps all the load.
    # Nobody is cut: no call takes half a minute, and no stream.
    ("grpc.max_connection_age_ms", 30_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    # The gateway pings every 30 s, also when nothing is asked; by default a server takes that for
    # an attack and hangs up. Half of it tolerates jitter.
    ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # And the server's own, for callers whose machine is gone.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A connection that has not greeted by then, or has asked nothing for so long, is closed: it
    # holds a file handle.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_concurrent_streams", 256),  # on one connection; the gateway's gates let out fewer
]
# to one process, where it may have so many files open; newcomers beyond that are closed at once
_CONNECTIONS = 2000
_OTHER_FILES = 128  # that the process needs for its database, broker, keys and libraries

# One table: how each way of saying no sounds in gRPC.
CODES: Mapping[type[errors.Refusal], grpc.StatusCode] = {
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Stale: grpc.StatusCode.ABORTED,
    errors.Reused: grpc.StatusCode.ALREADY_EXISTS,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Late: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass
class Call:
    """One call under way: who asks, in which transaction; `trail` collects what is to be recorded
    of it, also if it is refused.

    `origin` is where it comes from as the door before this service says, for who has no token yet,
    and whose worker or key asks, for who has one.
    """

    caller: Caller
    tx: Transaction
    clock: Clock
    trail: list[audit.Entry] = field(default_factory=list)
    origin: Origin = field(default_factory=Origin)


class Servicer:
    """The rpcs of one service of a .proto."""

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
        """`check_standing` refuses a caller whose member, worker or key is no longer in good
        standing, by what this service knows.

        `notify` is called in the transaction of each call that asked for a step-up, with the rpc's
        name and its request, once it is done.
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
            name: getattr(each, name)
            for each in implementations
            for name in descriptor.methods_by_name
            if hasattr(each, name)
        }
        missing = [m.name for m in descriptor.methods if not callable(methods.get(m.name))]
        if missing:
            raise TypeError(f"{self.name}: without method: {missing}")
        self.handlers = grpc.method_handlers_generic_handler(
            self.name, {m.name: self._handler(m, methods[m.name]) for m in descriptor.methods}
        )

    def count_with(self, limits: "Limits") -> None:
        """Counts calls together with the other servicers of a server."""
        self._limits = limits

    def read_with(self, addresses: AddressReader | None) -> None:
        """Believes what the gateway says of its clients."""
        self._addresses = addresses

    def caller_of(self, metadata: Mapping[str, str]) -> Caller:
        """Returns the caller whose token came with a call; refuses with token_missing,
        token_expired or token_invalid.
        """
        return self._authenticate(metadata)[0]

    def _handler(
        self, descriptor: MethodDescriptor, method: Callable[[Any, Any], Any]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        right, declared = contract.rules(descriptor), contract.refusals(descriptor)
        request_class: Any = GetMessageClass(descriptor.input_type)
        response_class: Any = GetMessageClass(descriptor.output_type)
        mutates = "request_id" in descriptor.input_type.fields_by_name
        name = f"{self.name}/{descriptor.name}"
        action = contract.words_of(descriptor.name)

        def handle(sent: bytes, context: grpc.ServicerContext) -> Any:
            with (
                _unsaid(name, context),
                self._answering(
                    name, declared, context, descriptor.input_type, mutates=mutates
                ) as asked,
                deadline.until(_end(context)),
                trace.under(asked.trace_id),
            ):
                if not right.public:
                    asked.caller, _ = self._authenticate(asked.metadata)
                caller = asked.caller
                self._limits.admit(context, caller)
                request = request_class()
                with self._on_record(action, caller, right, request) as trail:
                    check_right(caller, right, self._clock.now())
                    _read(request, sent)
                    # once a connection that a migration left behind; the call's deadline ends it
                    while True:
                        try:
                            return self._answer(
                                name,
                                request,
                                response_class,
                                method,
                                caller,
                                trail,
                                self._origin(asked.metadata, context),
                                mutates=mutates,
                                right=right,
                            )
                        except errors.Unavailable as refusal:
                            if not met_a_migration(refusal):
                                raise
                            trail.clear()

        def tell(sent: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
            with (
                _unsaid(name, context),
                self._answering(name, declared, context, descriptor.input_type) as asked,
            ):
                caller, until = self._authenticate(asked.metadata)
                asked.caller = caller
                self._limits.admit(context, caller)
                request = request_class()
                with self._on_record(action, caller, right, request):
                    check_right(caller, right, self._clock.now())
                    _read(request, sent)
                    transact = partial(self._in_good_standing, caller)
                    with self.streams.opened(  # type: ignore[union-attr]
                        caller, until, self._clock, context, transact
                    ) as stream:
                        with stream.transaction():
                            _check_shape(request)
                        yield from method(request, stream)

        # Bytes as they are: what can't be read is refused like any other wrong request, and gRPC
        # would call it a fault of ours.
        if self.streams is None or not descriptor.server_streaming:
            return grpc.unary_unary_rpc_method_handler(
                handle, response_serializer=response_class.SerializeToString
            )
        if right.public or right.recorded:
            raise TypeError(
                f"{descriptor.full_name}: a stream needs a token, and is not on the trail"
            )
        # where grpc looks for it
        tell.experimental_thread_pool = self.streams.pool  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(
            tell, response_serializer=response_class.SerializeToString
        )

    @contextmanager
    def _answering(
        self,
        name: str,
        declared: frozenset[str],
        context: grpc.ServicerContext,
        input_type: Descriptor,
        *,
        mutates: bool = False,
    ) -> Iterator["_Asked"]:
        """What is done inside is refused as it says, counted, and logged if it `mutates` something
        or was refused.
        """
        started = time.perf_counter()
        asked = _Asked(_texts(context.invocation_metadata()))
        request_id = asked.metadata.get("x-request-id", "")
        # it is written to logs, where nothing that a caller made up may stand
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = new_id()
        asked.trace_id = (
            trace.id_of(asked.metadata.get(trace.HEADER, "")) or request_id.replace("-", "").lower()
        )
        code = "OK"
        try:
            turned_away()
            yield asked
        except errors.Refusal as refusal:
            code = CODES[type(refusal)].name
            metrics.REFUSALS.labels(name, refusal.reason).inc()
            # what the caller hears is true; but nobody could prepare for it
            if refusal.reason not in declared:
                log.get().error("undeclared_refusal", rpc=name, reason=refusal.reason)
            _refuse(context, refusal, input_type)
        except Exception as error:
            code = "INTERNAL"
            if isinstance(error, CannotOpen):
                error.alarm()
            log.get().error(
                "fault",
                rpc=name,
                request_id=request_id,
                trace_id=asked.trace_id,
                fault=log.fault(error),
            )
            context.abort(grpc.StatusCode.INTERNAL, f"fault; request {request_id}")
        finally:
            seconds = time.perf_counter() - started
            metrics.RPC_SECONDS.labels(name, code).observe(seconds)
            if mutates or code != "OK":
                log.get().info(
                    "rpc", rpc=name, code=code, request_id=request_id, trace_id=asked.trace_id,
                    caller_id=asked.caller.id,
                    duration_ms=round(seconds * 1000, 1),
                )  # fmt: skip

    def _authenticate(self, metadata: Mapping[str, str]) -> tuple[Caller, datetime]:
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise errors.Unauthenticated("token_missing")
        return self._verifier.verify_until(token, waited())

    def _origin(self, metadata: Mapping[str, str], context: grpc.ServicerContext) -> Origin:
        """Where a call comes from: the address that the gateway has signed, or that of the
        connection. A device's secret is known or it is not.
        """
        signed, device = metadata.get("client-address", ""), metadata.get("client-device", "")
        said = (
            self._addresses.read(signed, waited())
            if self._addresses is not None and signed
            else None
        )
        return Origin(
            address_of(context.peer()) if said is None else said,
            device if len(device) <= 100 else "",
        )

    @contextmanager
    def _in_good_standing(self, caller: Caller) -> Iterator[Transaction]:
        with self._database.transaction(caller) as tx:
            self._check_standing(tx, caller)
            yield tx

    @contextmanager
    def _on_record(
        self, action: str, caller: Caller, right: contract.Rules, request: Message
    ) -> Iterator["Trail"]:
        """Puts a refusal on the trail: its transaction is gone, so it takes one of its own."""
        trail = Trail(action)
        try:
            yield trail
        except errors.Refusal as refusal:
            # A store that is away or full can't take it, and has told nothing. What the directory
            # and counts refuse is on it for want of a right only.
            if (
                isinstance(refusal, errors.Unavailable | errors.Late)
                or refusal.reason == "store_full"
            ):
                raise
            if right.recorded or trail or isinstance(refusal, errors.NotAllowed):
                with self._database.transaction(caller) as tx:
                    audit.record(
                        tx,
                        caller,
                        self._clock.now(),
                        trail or [trail.usual(caller, request)],
                        refused=refusal.reason,
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
        right: contract.Rules,
    ) -> Message:
        with self._database.transaction(caller) as tx:
            if not right.public:
                self._check_standing(tx, caller)
            _check_shape(request)
            request_id = request.request_id if mutates else ""
            kept, asker = None, caller.id
            if request_id:
                body = request.SerializeToString(deterministic=True)
                # Nobody knows who asks without a token: two strangers' systems may use the same
                # request_id, so the request stands for its caller.
                asker = (
                    f"public/{self._idempotency.fingerprint(body)}" if right.public else caller.id
                )
                kept = self._idempotency.begin(tx, asker, request_id, name, body)
            call = Call(
                caller,
                tx,
                self._clock,
                trail,
                replace(origin, organization_id=caller.organization_id),
            )
            response: Message = (
                response_class.FromString(kept) if kept is not None else method(request, call)
            )
            if right.step_up and self._notify and kept is None:
                self._notify(call, name.rpartition("/")[2], request)
            if request_id and kept is None:
                self._idempotency.complete(tx, asker, request_id, response.SerializeToString())
            if right.recorded and not trail:
                trail.append(trail.usual(caller, response, request))
            # last: whoever writes to the trail holds up the others until the end of the transaction
            if trail:
                audit.record(tx, caller, self._clock.now(), trail)
        return response


@contextmanager
def _unsaid(name: str, context: grpc.ServicerContext) -> Iterator[None]:
    """What breaks where faults are answered: gRPC would answer with the words of the exception.

    Its own way to end a call is one without words.
    """
    try:
        yield
    except Exception as error:
        if type(error) is Exception and not error.args:
            raise
        log.get().error("fault", rpc=name, fault=log.fault(error))
        context.abort(grpc.StatusCode.INTERNAL, "fault")


@dataclass
class _Asked:
    """What came with a call, and who asks as soon as that is known."""

    metadata: Mapping[str, str]
    caller: Caller = NOBODY
    trace_id: str = ""


def _texts(metadata: Any) -> dict[str, str]:
    """Returns the entries of a call's metadata that are text."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _read(request: Message, sent: bytes) -> None:
    try:
        request.MergeFromString(sent)
    except DecodeError as error:
        raise errors.Invalid(("request", "malformed")) from error


def _check_shape(request: Message) -> None:
    if wrong := shape.violations(request):
        raise errors.Invalid(*wrong)


def check_right(caller: Caller, right: contract.Rules, now: datetime) -> None:
    """Refuses with right_missing who has neither one of the roles nor the scope, and with
    step_up_required a worker whose proof is too old for what asks for one.
    """
    if not (
        right.public or caller.roles & right.roles or (right.scope and right.scope in caller.scopes)
    ):
        raise errors.NotAllowed("right_missing")
    if right.step_up and not caller.has_proved(now):
        raise errors.NotAllowed("step_up_required")


class Trail(list[audit.Entry]):
    """What is to be put on record of a call: what its method says, or else the usual."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action

    def usual(self, caller: Caller, *messages: Message) -> audit.Entry:
        """The rpc, and the first id in these messages; of a list that names none, whose it is."""
        return audit.Entry(
            self._action, next(filter(None, map(_object, messages)), caller.organization_id)
        )


def _object(message: Message) -> str:
    """The id that a message is about: its own, that of a resource in it, or the first that it
    names.
    """
    fields = [field for field in message.DESCRIPTOR.fields if not field.is_repeated]
    inner = [
        getattr(message, field.name)
        for field in fields
        if field.message_type and message.HasField(field.name)
    ]
    own = [message, *(one for one in inner if "id" in one.DESCRIPTOR.fields_by_name)]
    named = [
        getattr(one, field.name)
        for one in own
        for field in one.DESCRIPTOR.fields
        if field.name == "id"
    ]
    named += [
        getattr(one, field.name)
        for one in own
        for field in one.DESCRIPTOR.fields
        if field.name.endswith("_id") and field.name != "request_id"
    ]
    return next((value for value in named if isinstance(value, str) and is_id(value)), "")


class Limits:
    """How often a caller may ask this process; refused before there is a transaction."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._callers, self._addresses = (
            Limiter(rate, now),
            Limiter(rate * _CALLERS_AN_ADDRESS, now),
        )

    def admit(self, context: grpc.ServicerContext, caller: Caller) -> None:
        """Counts a call by who asks, or by where from if nobody knows who.

        Raises Exhausted rate_limited.
        """
        known = caller is not NOBODY
        quota = (
            self._callers.take(caller.id)
            if known
            else self._addresses.take(address_of(context.peer()))
        )
        if quota.wait:
            raise errors.Exhausted("rate_limited", quota.wait)


def address_of(peer: str) -> str:
    """The address of a connection as gRPC names it (ipv4:192.0.2.1:50000).

    Of IPv6 the network of 64 bits, which is one customer's.
    """
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


def _end(context: grpc.ServicerContext) -> float:
    """When the call must have ended: it began to wait when it came in, not when a thread was free
    for it.
    """
    left = context.time_remaining()
    return time.monotonic() + (_DEADLINE if left is None else min(left, _DEADLINE))


def _refuse(
    context: grpc.ServicerContext, refusal: errors.Refusal, input_type: Descriptor
) -> NoReturn:
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain="enlace")
    details: list[Message] = [info]
    if isinstance(refusal, errors.Conflict) and refusal.about:
        info.metadata["about"] = ",".join(refusal.about)
    if isinstance(refusal, errors.Invalid):
        of_lists = [
            f"{path}={listed}"
            for path, _ in refusal.violations
            if (listed := shape.list_of(input_type, path))
        ]
        if of_lists:
            info.metadata["lists"] = ",".join(of_lists)
        fields = [
            error_details_pb2.BadRequest.FieldViolation(
                field=path, description=reason, reason=reason
            )
            for path, reason in refusal.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(refusal, errors.Exhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(refusal.retry_after * 1000))
        details.append(retry)
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    number = getattr(code_pb2, CODES[type(refusal)].name)
    context.abort_with_status(
        rpc_status.to_status(status_pb2.Status(code=number, message=refusal.reason, details=packed))
    )


class Health(health.HealthServicer):
    """The health service on threads of its own, so that it answers however busy the others are."""

    def __init__(self) -> None:
        pool = ThreadPoolExecutor(2, thread_name_prefix="health")
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=pool)

        def check(
            request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
        ) -> health_pb2.HealthCheckResponse:
            return health.HealthServicer.Check(self, request, context)

        # where grpc looks for it
        check.experimental_thread_pool = pool  # type: ignore[attr-defined]
        self.Check = check  # type: ignore[method-assign]
        self._watching = set[Callable[[health_pb2.HealthCheckResponse | None], None]]()
        self._said: dict[str, bool] = {}

    @property
    def is_watched(self) -> bool:
        """Whether a client watches: it sends no call to a server that says that it is not ready."""
        return bool(self._watching)

    def Watch(
        self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None
    ) -> Any:
        """Called by grpc for each watch; streams the status of one name until its connection
        ends.
        """
        self._watching.add(send_response_callback)
        if not context.add_callback(lambda: self._watching.discard(send_response_callback)):
            self._watching.discard(send_response_callback)
        return super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        """Ends all streams: they would end with their connections only, and a stop would wait for
        that.
        """
        for send in list(self._watching):
            send(None)

    def say(self, name: str, yes: bool) -> None:
        """Sets one name; whoever watches hears of changes only."""
        if self._said.get(name) is not yes:
            self._said[name] = yes
            self.set(
                name,
                health_pb2.HealthCheckResponse.SERVING
                if yes
                else health_pb2.HealthCheckResponse.NOT_SERVING,
            )


class Reflection(reflection.ReflectionServicer):
    """Says to callers with a token which rpcs there are, on threads of its own: such a stream lasts
    as long as its caller likes.
    """

    def __init__(
        self, names: Sequence[str], authenticate: Callable[[Mapping[str, str]], object]
    ) -> None:
        super().__init__(names)

        def tell(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                authenticate(_texts(context.invocation_metadata()))
            except errors.Refusal as refusal:
                context.abort(CODES[type(refusal)], refusal.reason)
            yield from reflection.ReflectionServicer.ServerReflectionInfo(self, requests, context)

        # where grpc looks for it
        tell.experimental_thread_pool = ThreadPoolExecutor(2, thread_name_prefix="reflection")  # type: ignore[attr-defined]
        self.ServerReflectionInfo = tell  # type: ignore[method-assign, assignment]


class Lanes(grpc.ServerInterceptor):
    """Says to the pool whose call comes next, by its token: who floods waits behind its own calls
    and nobody else's.
    """

    def __init__(self, caller_of: Callable[[Mapping[str, str]], Caller]) -> None:
        self._caller_of = caller_of

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Called by grpc on the thread that hands the call to the pool.

        A call without a good token has no lane: it is refused, or asks what anybody may.
        """
        try:
            announce(self._caller_of(_texts(handler_call_details.invocation_metadata)).id)
        except errors.Unauthenticated:
            announce("")
        return continuation(handler_call_details)


class Server:
    """Serves the rpcs of servicers, with health and reflection, and stops gracefully: not ready, no
    new calls, drain.
    """

    def __init__(
        self,
        address: str,
        servicers: Sequence[Servicer],
        addresses: AddressReader | None = None,
        *,
        threads: int,
        reflect: bool,
        caller_rate: int = CALLER_RATE,
    ) -> None:
        """`addresses` reads what the gateway says of its clients; without it every call comes from
        where its connection does.
        """
        self._streams = [servicer.streams for servicer in servicers if servicer.streams]
        self.threads = threads + TURNS * len(self._streams)  # that may be in a transaction
        self._pool = CallPool(threads, threads * _WAITING, share=max(2, threads // 4))
        # No maximum_concurrent_rpcs: it would count health checks too, and a busy service must not
        # look like a dead one.
        connections = min(_CONNECTIONS, handles.raise_limit() - _OTHER_FILES)
        lanes: list[grpc.ServerInterceptor] = [Lanes(servicers[0].caller_of)] if servicers else []
        options = [*_OPTIONS, ("grpc.max_allowed_incoming_connections", connections)]
        self._server = grpc.server(self._pool, interceptors=lanes, options=options)
        self._names = ["", *(servicer.name for servicer in servicers)]
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        limits = Limits(caller_rate)
        for servicer in servicers:
            servicer.count_with(limits)
            servicer.read_with(addresses)
            self._server.add_generic_rpc_handlers((servicer.handlers,))
        if reflect and servicers:
            told = Reflection([*self._names[1:], *_NAMES], servicers[0].caller_of)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(told, self._server)  # type: ignore[no-untyped-call]
        self.ready(False)
        self.say("live", True)
        self.say("broker", False)
        self.port = self._server.add_insecure_port(address)

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def ready(self, yes: bool) -> None:
        """Says on the health service whether calls will be answered: the overall name and each
        service.
        """
        for name in self._names:
            self.say(name, yes)

    def say(self, name: str, yes: bool) -> None:
        """Sets one health name: `live`, `broker`, a loop, or a service."""
        self._health.say(name, yes)

    def say_farewell(self) -> bool:
        """Says that it is not ready, for good, and answers on.

        Returns whether a client hears it.
        """
        self._health.enter_graceful_shutdown()
        return self._health.is_watched

    def stop(self, grace: float) -> threading.Event:
        """Not ready, no new calls; those under way get `grace` seconds, those that wait for a
        thread are refused. Returns what is set at the end.
        """
        self.say_farewell()
        self._pool.turn_away()
        for streams in self._streams:
            streams.stop()
        drained = self._server.stop(grace)
        self._health.end_watches()
        return drained

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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chassis import audit, contract, deadline, errors, log, metrics, shape, trace
from chassis.admission import turned_away, waited
from chassis.audit import Trail
from chassis.clock import Clock
from chassis.config import CALLER_RATE
from chassis.db import Database, Transaction, met_a_migration
from chassis.guesses import Origin
from chassis.idempotency import IdempotencyStore
from chassis.ids import new_id
from chassis.limits import Limiter
from chassis.refusals import CODES, refuse
from chassis.streams import Streams
from chassis.tokens import AddressReader, Caller, Verifier
from keys.sealing import CannotOpen

# ours, or a UUID
_REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NOBODY = Caller("public", "public", "")
_DEADLINE = 10.0  # seconds, for a caller that set none
_CALLERS_AN_ADDRESS = 20  # that ask without a token: the gateway does for everybody


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
        asked = _Asked(text_metadata(context.invocation_metadata()))
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
            refuse(context, refusal, input_type)
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


def text_metadata(metadata: Any) -> dict[str, str]:
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

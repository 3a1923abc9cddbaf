"""The gRPC server of a service process, with its health and reflection services."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from chassis import errors, handles, metrics
from chassis.admission import CallPool, set_lane
from chassis.config import CALLER_RATE
from chassis.limits import Limits
from chassis.refusals import CODES, status_of
from chassis.rpc import Servicer, text_metadata
from chassis.streams import MAX_READERS
from chassis.tokens import AddressReader

P = ParamSpec("P")
T = TypeVar("T")

_POOL_FULL = errors.Exhausted("too_many_requests", 1)
_SERVER_STOPPING = errors.Unavailable("service_unreachable")
_STATUSES: dict[errors.Refusal, grpc.Status] = {
    refusal: status_of(refusal) for refusal in (_POOL_FULL, _SERVER_STOPPING)
}

_MAX_MESSAGE = 1 << 20  # bytes, far above the largest valid message

_NAMES = health.SERVICE_NAME, reflection.SERVICE_NAME

# calls per thread, running and waiting; more are refused at once instead of waiting in a long queue
_CALLS_PER_THREAD = 16

# Maximum number of received calls that the service has not looked at yet. A burst that fills the
# whole pool (128 calls with 8 threads) is never cut. A call waits in this queue for about 80 ms
# before it is refused, since a busy service looks at 1,900 calls a second (bench overload).
_MAX_PENDING = 160

_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    # Clients resolve a name only when they connect. Closing connections after 30 s (±10 %, at
    # random) lets them find new processes and spread the load. No call or stream lasts longer than
    # the grace period.
    ("grpc.max_connection_age_ms", 30_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    # The gateway pings its connections every 10 s. A server by default treats that as an attack,
    # and ends the connection with all calls on it. Half of that interval tolerates jitter.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server's own pings detect clients whose machine is gone.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Each connection holds a file handle, so a connection is closed if its handshake takes longer
    # than 10 s, or if it has had no call for a minute.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_concurrent_streams", 256),  # per connection; the gateway's gates allow fewer
    # Calls that were received and not looked at yet. Under a flood, the interpreter is busy with
    # the calls in progress, and gRPC's own threads cancel further calls at once: a random part of
    # them above the first number, and all of them above the second.
    ("grpc.server.max_pending_requests", _MAX_PENDING - 16),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
]

# Maximum number of open connections, if the limit on open files allows so many; further connections
# are closed at once.
_MAX_CONNECTIONS = 2000

_OTHER_FILES = 128  # file handles left for the database, the broker, keys and libraries


class Health(health.HealthServicer):
    """Serves health checks on threads of its own, so that a busy service still answers them."""

    def __init__(self) -> None:
        pool = ThreadPoolExecutor(2, thread_name_prefix="health")
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=pool)

        def check(
            request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
        ) -> health_pb2.HealthCheckResponse:
            return health.HealthServicer.Check(self, request, context)

        # grpc reads the pool from this attribute
        check.experimental_thread_pool = pool  # type: ignore[attr-defined]
        self.Check = check  # type: ignore[method-assign]
        self._watchers = set[Callable[[health_pb2.HealthCheckResponse | None], None]]()
        self._statuses: dict[str, bool] = {}

    @property
    def is_watched(self) -> bool:
        """True while a client watches: such a client stops sending calls to a server that is not
        ready.
        """
        return bool(self._watchers)

    def Watch(
        self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None
    ) -> Any:
        """Streams the status of one name until the connection ends, or until `end_watches`. grpc
        calls this method for each watch.
        """
        self._watchers.add(send_response_callback)
        if not context.add_callback(lambda: self._watchers.discard(send_response_callback)):
            self._watchers.discard(send_response_callback)
        return super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        """Ends all watches. They would otherwise last as long as their connections, and delay a
        stop.
        """
        for send in list(self._watchers):
            send(None)

    def set_status(self, name: str, serving: bool) -> None:
        """Sets the status of one name, and notifies watchers if it changed."""
        if self._statuses.get(name) is not serving:
            self._statuses[name] = serving
            self.set(
                name,
                health_pb2.HealthCheckResponse.SERVING
                if serving
                else health_pb2.HealthCheckResponse.NOT_SERVING,
            )


class Reflection(reflection.ReflectionServicer):
    """Lists the rpcs for callers with a token. Runs on threads of its own, since a reflection
    stream may last as long as its caller likes.
    """

    def __init__(
        self, names: Sequence[str], authenticate: Callable[[Mapping[str, str]], object]
    ) -> None:
        super().__init__(names)

        def list_services(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                authenticate(text_metadata(context.invocation_metadata()))
            except errors.Refusal as refusal:
                context.abort(CODES[type(refusal)], refusal.reason)
            yield from reflection.ReflectionServicer.ServerReflectionInfo(self, requests, context)

        # grpc reads the pool from `experimental_thread_pool`
        pool = ThreadPoolExecutor(2, thread_name_prefix="reflection")
        list_services.experimental_thread_pool = pool  # type: ignore[attr-defined]
        self.ServerReflectionInfo = list_services  # type: ignore[method-assign, assignment]


class _SameThreadExecutor(ThreadPoolExecutor):
    """Runs a call on the thread that submits it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs the call, which must not wait."""
        future = Future[T]()
        future.set_result(fn(*args, **kwargs))
        return future


class AdmissionInterceptor(grpc.ServerInterceptor):
    """Assigns each call to the lane of its caller, and refuses calls that do not fit into their
    pool.

    A refusal costs little. The request is not read, and the token is not read if there is no room
    for any call. The thread that receives all calls sends the refusal. It is counted, but neither
    logged nor timed. Health and reflection have pools of their own, and are not refused here.
    """

    def __init__(self, pool: CallPool, lane_of: Callable[[Mapping[str, str]], str]) -> None:
        self._pool = pool
        self._lane_of = lane_of
        self._same_thread = _SameThreadExecutor(1)

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Returns the handler of a call, or a handler that refuses the call; None for an unknown
        rpc. grpc calls this method on the thread that then submits the call to the pool.
        """
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_stream
        pool = getattr(behavior, "experimental_thread_pool", self._pool)
        if not isinstance(pool, CallPool):
            return handler
        method: str = handler_call_details.method[1:]
        if pool.stopping:
            return self._refusing_handler(method, _SERVER_STOPPING)
        # a call without a valid token has no lane: it is refused later, or its rpc is public
        if pool.is_full() or pool.is_full(lane := self._lane(handler_call_details)):
            return self._refusing_handler(method, _POOL_FULL)
        set_lane(lane)
        return handler

    def _lane(self, details: Any) -> str:
        return self._lane_of(text_metadata(details.invocation_metadata))

    def _refusing_handler(self, method: str, refusal: errors.Refusal) -> Any:
        """Returns a handler that refuses a call. It takes a stream of requests, so that grpc does
        not read the request.
        """

        def refuse(_: Any, context: grpc.ServicerContext) -> None:
            metrics.REFUSALS.labels(method, refusal.reason).inc()
            context.abort_with_status(_STATUSES[refusal])

        # grpc reads the pool from this attribute
        refuse.experimental_thread_pool = self._same_thread  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(refuse)


class Server:
    """Serves the rpcs of servicers with health and reflection, and stops gracefully: it reports
    that it is not ready, accepts no new calls, and drains.
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
        """`addresses` verifies the client addresses that the gateway signs. Without it, the address
        of the connection counts.
        """
        self._streams = [servicer.streams for servicer in servicers if servicer.streams]
        # the number of threads that may hold a transaction
        self.threads = threads + MAX_READERS * len(self._streams)
        self._pool = CallPool(threads, threads * _CALLS_PER_THREAD, share=max(2, threads // 4))
        # Not maximum_concurrent_rpcs: it would refuse health checks too, and a busy service would
        # look dead.
        connections = min(_MAX_CONNECTIONS, handles.raise_limit() - _OTHER_FILES)
        interceptors: list[grpc.ServerInterceptor] = (
            [AdmissionInterceptor(self._pool, servicers[0].lane_of)] if servicers else []
        )
        options = [*_OPTIONS, ("grpc.max_allowed_incoming_connections", connections)]
        self._server = grpc.server(self._pool, interceptors=interceptors, options=options)
        self._names = ["", *(servicer.name for servicer in servicers)]
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        limits = Limits(caller_rate)
        for servicer in servicers:
            servicer.use_limits(limits)
            servicer.use_addresses(addresses)
            self._server.add_generic_rpc_handlers((servicer.handlers,))
        if reflect and servicers:
            reflection_servicer = Reflection([*self._names[1:], *_NAMES], servicers[0].caller_of)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection_servicer, self._server
            )  # type: ignore[no-untyped-call]
        self.set_ready(False)
        self.set_status("live", True)
        self.set_status("broker", False)
        self.port = self._server.add_insecure_port(address)

    def start(self) -> None:
        """Starts serving."""
        self._server.start()

    def set_ready(self, ready: bool) -> None:
        """Sets the health of the server and of each of its services."""
        for name in self._names:
            self.set_status(name, ready)

    def set_status(self, name: str, serving: bool) -> None:
        """Sets the health of one name: `live`, `broker`, `facts`, `loop/NAME`, or a service."""
        self._health.set_status(name, serving)

    def announce_stop(self) -> bool:
        """Reports the server as not ready, for good, and keeps serving.

        Returns True if a client is watching; that client then turns to another server.
        """
        self._health.enter_graceful_shutdown()
        return self._health.is_watched

    def stop(self, grace: float) -> threading.Event:
        """Accepts no new calls, gives running calls `grace` seconds, and refuses calls that wait
        for a thread. Returns at once, with an event that is set when the last call has ended.
        """
        self.announce_stop()
        self._pool.refuse_waiting()
        for streams in self._streams:
            streams.stop()
        drained = self._server.stop(grace)
        self._health.end_watches()
        return drained

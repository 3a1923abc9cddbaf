"""The gRPC server of a service process, with its health and reflection services."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from chassis import errors, handles
from chassis.admission import CallPool, announce
from chassis.config import CALLER_RATE
from chassis.refusals import CODES
from chassis.rpc import Limits, Servicer, text_metadata
from chassis.streams import TURNS
from chassis.tokens import AddressReader, Caller

_MAX_MESSAGE = 1 << 20  # bytes; the largest honest message is far below


_NAMES = health.SERVICE_NAME, reflection.SERVICE_NAME


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
                authenticate(text_metadata(context.invocation_metadata()))
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
            announce(self._caller_of(text_metadata(handler_call_details.invocation_metadata)).id)
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

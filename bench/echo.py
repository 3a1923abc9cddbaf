"""A gRPC server that returns each request: measures the cost of grpcio itself on this machine.

Prints its address; SIGTERM ends it.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class _Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


def main() -> None:
    """Serves on a free port of this machine."""
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((_Echo(),))
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()

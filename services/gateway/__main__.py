"""Starts the gateway: `python -m services.gateway serve`; `openapi` prints docs/openapi.json."""

import gc
import signal
from types import FrameType

import click

from chassis import memory
from services.gateway import limits, live, session
from services.gateway.api import openapi_text
from services.gateway.app import make
from services.gateway.config import from_environment
from services.gateway.server import Server


@click.group()
def main() -> None:
    """The gateway: pages and REST."""


@main.command()
def serve() -> None:
    """Listens on ENLACE_HTTP_LISTEN until SIGTERM, says farewell if it is told to; then no newcomers, those under way end, exit 0 within 10 s."""
    memory.forbid_dumps()
    settings = from_environment()
    app = make(settings)
    refuse = limits.refusal(app.extensions["limits"], session.fingerprint)
    server = Server(
        app,
        f"{settings.host}:{settings.port}",
        settings.proxies,
        refuse=refuse,
        know=live.answers_without_app(app),
        farewell=settings.farewell_seconds,
    )

    def stop(number: int, frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.serve()
    gc.freeze()  # as chassis.service_runner does


@main.command()
def openapi() -> None:
    """Prints the OpenAPI document as it is committed in docs/openapi.json."""
    click.echo(openapi_text(), nl=False)


if __name__ == "__main__":
    main()

"""Starts the gateway: `python -m services.gateway serve`; `openapi` prints docs/openapi.json."""

import gc
import signal
from types import FrameType

import click
from flask import Flask

from chassis import log, memory, metrics, threads
from chassis.config import listening
from services.gateway.config import Settings, from_environment
from services.gateway.edge import app as edge
from services.gateway.edge.clients import Clients
from services.gateway.edge.server import Server


@click.group()
def main() -> None:
    """The gateway: pages and REST."""


@main.command()
@click.option(
    "--only",
    type=click.Choice(["api", "site"]),
    default=None,
    help="Serve only REST, or only the pages.",
)
def serve(only: str | None) -> None:
    """Listens on ENLACE_HTTP_LISTEN until SIGTERM.

    After SIGTERM it goes on serving for the farewell time, if one is set. Then it accepts no new
    connection, lets requests under way end, and exits with 0 within 10 s.
    """
    memory.forbid_dumps()
    threads.shorten_turns()
    settings = from_environment(with_site=only != "api")
    log.setup("gateway")
    with listening("ENLACE_METRICS_LISTEN"):
        metrics.serve(settings.metrics_listen)
    app = compose(settings, with_api=only != "site")
    with listening("ENLACE_HTTP_LISTEN"):
        server = Server(
            app,
            f"{settings.host}:{settings.port}",
            settings.proxy_count,
            refuse=app.extensions["limits"].refuse,
            quick_reply=app.extensions.get("answers_without_app"),
            farewell_seconds=settings.farewell_seconds,
        )

    def stop(number: int, frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.serve()
    gc.freeze()  # as runtime.service_runner does


@main.command()
def openapi() -> None:
    """Prints the OpenAPI document as it is committed in docs/openapi.json."""
    from services.gateway.api import openapi_text

    click.echo(openapi_text(), nl=False)


def compose(settings: Settings, clients: Clients | None = None, *, with_api: bool = True) -> Flask:
    """Makes the app of a process.

    The code of a part that the process does not serve is not even loaded.
    """
    app = edge.make(settings, clients)
    if with_api:
        from services.gateway import api

        api.register(app)
    if settings.site is not None:
        from services.gateway import site

        site.register(app, settings.site)
    return app


if __name__ == "__main__":
    main()

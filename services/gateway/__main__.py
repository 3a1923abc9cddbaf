"""Starts the gateway: `python -m services.gateway serve`; `openapi` prints the document of its REST interface."""

import click
from granian import Granian
from granian.constants import Interfaces

from services.gateway.api import openapi_text
from services.gateway.config import from_environment


@click.group()
def main() -> None:
    """The gateway: pages and REST."""


@main.command()
def serve() -> None:
    """Listens on ENLACE_HTTP_LISTEN until SIGTERM; one worker process, blocking threads."""
    settings = from_environment()
    Granian(
        "services.gateway.app:make",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        workers=1,
        blocking_threads=16,
        websockets=False,
        log_access=False,
        workers_kill_timeout=8,
    ).serve()


@main.command()
def openapi() -> None:
    """Prints the OpenAPI document as it is committed in docs/openapi.json."""
    click.echo(openapi_text(), nl=False)


if __name__ == "__main__":
    main()

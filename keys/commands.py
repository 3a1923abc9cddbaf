"""The commands of each service for its sealing keys: rotate-keys, make-keys, print-key,
retire-keys. They may be used while the service runs.
"""

import json
import logging
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click

from chassis import log
from chassis.clock import SystemClock
from chassis.config import ServiceSettings
from chassis.db import Database
from chassis.errors import Refusal, Unavailable
from chassis.tokens import SYSTEM
from keys import key_folder, sealing_keys
from keys.rotation import SealedColumn, count_older, rewrap
from keys.sealing import Keyring

# Seconds after which each running process seals with a new key: twice the interval at which the
# process looks for a new key.
_SWITCH_SECONDS = 4.0
# Minimum age of the newest key, in seconds, before older keys may be destroyed. After a minute
# (--at-once), all processes have noticed the newest key. After a day, all copies of the database
# from before that key have expired, too.
_NOTICE_SECONDS, _COPY_SECONDS = 60.0, 24 * 3600.0
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only count; change nothing.")


def add_to(
    main: click.Group,
    name: str,
    settings: Callable[[], ServiceSettings],
    open_database: Callable[[], AbstractContextManager[Database]],
    columns: Sequence[SealedColumn],
) -> None:
    """Adds the commands to `main`, the command group of the service `name`. `open_database` opens
    the service's database; `columns` lists the columns that the service's sealing key seals.
    """

    @main.command(
        "rotate-keys",
        help=(
            "Create a new sealing key, and rewrap with it everything that the older ones seal,"
            " while the service runs. If the command is interrupted, run it again: it continues"
            " with the same key."
        ),
    )
    @dry_run_option
    @json_option
    def rotate_keys(dry_run: bool, as_json: bool) -> None:
        keys = sealing_keys.of(settings(), name)
        with open_database() as database:
            count = _count_older(database, keys.keyring(), columns)
            if not dry_run:
                is_new = not count
                if is_new:
                    with changing(settings().keys):
                        keys.add(SystemClock().now().timestamp())
                count, broken_count = _rewrap(database, keys.keyring(), columns, wait=is_new)
            result = (
                {"waiting": count} if dry_run else {"wrapped": count, "unreadable": broken_count}
            ) | {"newest": keys.newest()}
        click.echo(
            json.dumps(result)
            if as_json
            else ", ".join(f"{value} {word}" for word, value in result.items())
        )
        sys.exit(0 if dry_run or not broken_count else 1)

    @main.command(
        "make-keys",
        help=(
            "Create the first sealing key in the key service, for a network without keys."
            " The key never leaves the key service."
        ),
    )
    def make_keys() -> None:
        log.setup("", level=logging.CRITICAL)  # the log is the output of `serve`
        keys = sealing_keys.of(settings(), name)
        if settings().key_service is None:
            raise click.UsageError(
                "there is no key service: set ENLACE_PKCS11_MODULE, _TOKEN and _PIN_FILE"
                " (docs/operations.md)"
            )
        try:
            is_new = keys.begin(secrets.token_bytes(32), SystemClock().now().timestamp())
        except Refusal as refusal:
            raise click.ClickException(explain(refusal)) from refusal
        if not is_new:
            raise click.ClickException(
                "a sealing key exists already: rotate-keys creates the next one in the key service"
            )
        click.echo("created")

    @main.command(
        "print-key",
        help=(
            "Print a new key, e.g. tokens.1, as patches of a Secret:"
            " its public half, if it has one, then its secret half. Stores nothing."
        ),
    )
    @click.argument("key")
    def print_key(key: str) -> None:
        try:
            for files in key_folder.new_files(key):
                click.echo(json.dumps({"stringData": files}))
        except ValueError:
            raise click.UsageError(
                "KEY must be tokens.N, facts.SERVICE, sealing.SERVICE.N, gateway, calls.gateway"
                " or mail"
            ) from None

    @main.command(
        "retire-keys",
        help=(
            "Destroy the older sealing keys, once they wrap nothing and no copy of the database"
            " needs them."
        ),
    )
    @click.option(
        "--at-once",
        is_flag=True,
        help=(
            "Even if the newest key is younger than a day: older copies of the database can then"
            " no longer be opened."
        ),
    )
    @json_option
    def retire_keys(at_once: bool, as_json: bool) -> None:
        keys = sealing_keys.of(settings(), name)
        newest = keys.newest()  # a rotation may add another key meanwhile
        with open_database() as database:
            count = _count_older(database, keys.keyring(), columns)
            if count:
                raise click.ClickException(
                    f"{count} rows are still wrapped with an older key: run rotate-keys"
                )
            if keys.age_of_newest(SystemClock().now().timestamp()) < (
                _NOTICE_SECONDS if at_once else _COPY_SECONDS
            ):
                raise click.ClickException(
                    "the newest key is too new: older copies of the database need the older keys"
                    " for a day (--at-once: a minute)"
                )
            with changing(settings().keys):
                retired_numbers = keys.retire(newest)
        click.echo(
            json.dumps({"retired": retired_numbers})
            if as_json
            else f"{len(retired_numbers)} retired"
        )


def explain(refusal: Refusal) -> str:
    """Returns what a command prints about a refusal: which part is unavailable, or the reason."""
    if isinstance(refusal, Unavailable):
        return refusal.cause or f"the database does not answer ({refusal.reason})"
    return refusal.reason


def _count_older(database: Database, keyring: Keyring, columns: Sequence[SealedColumn]) -> int:
    with database.transaction(SYSTEM, timeout=30) as tx:
        return count_older(tx, keyring, columns)


def _rewrap(
    database: Database, keyring: Keyring, columns: Sequence[SealedColumn], *, wait: bool
) -> tuple[int, int]:
    """Rewraps once and, if the key is new (`wait`), a second time, since the running processes
    still seal with the previous key for a moment. Returns the number of rewrapped rows, and the
    number of rows that the last pass could not open.
    """

    def report_progress(count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"{count}", err=True)

    began = time.monotonic()
    rewrapped_count, broken_count = rewrap(database, keyring, columns, report_progress)
    if wait:
        time.sleep(max(0.0, _SWITCH_SECONDS - (time.monotonic() - began)))
        rewrapped_again, broken_count = rewrap(database, keyring, columns, report_progress)
        rewrapped_count += rewrapped_again
    return rewrapped_count, broken_count


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Converts an OSError of the block, which changes the keys in a folder, to ClickException."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or folder}: {error.strerror} (where the folder can't be written,"
            " change the keys at their source: docs/operations.md)"
        ) from error

"""The commands of every service for operators: migrate, doctor, replay, audit verify and witnesses,
dead-letters list, redrive and discard, and the commands for sealing keys (keys/commands.py). They
may be used while the service runs.

Exit codes: 0 done; 1 refused, nothing found, something missing or unreadable, or an invalid trail;
2 wrong usage. Results go to standard output, progress to standard error.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from chassis import audit as audit_trail
from chassis import log
from chassis.audit import Head, Marker
from chassis.clock import SystemClock
from chassis.config import ServiceSettings
from chassis.db import Database, Transaction
from chassis.errors import Refusal
from chassis.migrate import migrate
from chassis.tokens import SYSTEM
from facts import dead_letters, outbox
from facts.broker import Broker
from facts.kafka import BrokerLost, keeps_permanent
from keys import commands as key_commands
from keys import key_folder, sealing_keys
from keys.check import find_problem
from keys.commands import dry_run_option, json_option
from keys.rotation import DEAD_LETTERS, SealedColumn, count_keyless
from trail import chain, heads

_VERDICTS = {True: "ok     ", False: "MISSING", None: "unknown"}
_CODE = re.compile(r"[a-z][a-z0-9_]{2,39}")
_MOMENT = click.DateTime(
    ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"]
)


@dataclass(frozen=True)
class Target:
    """The service that the commands work on.

    `settings` reads its settings when a command is called. `key_files` and `migrations` are the
    files that the service needs; `columns` lists the columns that its sealing key seals.
    """

    name: str
    settings: Callable[[], ServiceSettings]
    key_files: Sequence[str]
    migrations: Sequence[Path]
    columns: Sequence[SealedColumn]

    @contextmanager
    def open_database(self) -> Iterator[Database]:
        """Yields the service's database, opened. Converts a refusal in the block, and a key that
        can't be read, to ClickException.
        """
        _silence_log()
        try:
            keyring = sealing_keys.of(self.settings(), self.name).keyring()
        except OSError as error:
            raise click.ClickException(
                f"{error.filename} can't be read: {error.strerror}"
            ) from error
        database = Database(self.settings().database_url, max_size=2, marker=Marker(keyring))
        database.open()
        try:
            yield database
        except Refusal as refusal:
            raise click.ClickException(key_commands.explain(refusal)) from refusal
        finally:
            database.close()


@click.command(
    "migrate",
    help="Migrate the database, as the role that owns it, and print the applied migrations.",
)
@click.pass_obj
def _migrate(service: Target) -> None:
    url = service.settings().migration_url
    if not url:  # an empty URL would mean this machine's default database
        raise click.ClickException("ENLACE_MIGRATION_URL is not set")
    click.echo(migrate(url, service.migrations).strip())


@click.command(
    "doctor", help="Check what the service needs to run; exit code 1 if anything is missing."
)
@json_option
@click.pass_obj
def _doctor(service: Target, as_json: bool) -> None:
    _silence_log()
    checks = _examine(service, service.settings())
    click.echo(
        json.dumps(checks)
        if as_json
        else "\n".join(f"{_VERDICTS[well]} {name}" for name, well in checks.items())
    )
    sys.exit(0 if all(checks.values()) else 1)


@click.command(
    "replay",
    help="Publish facts again: all of them, or those since a given time. Safe at any time.",
)
@click.option("--from", "since", type=_MOMENT, help="The time, in UTC.")
@dry_run_option
@json_option
@click.pass_obj
def _replay(service: Target, since: datetime | None, dry_run: bool, as_json: bool) -> None:
    moment = since and (since if since.tzinfo else since.replace(tzinfo=UTC))
    with service.open_database() as database:
        count = _repeat_facts(database, moment, dry_run)
    click.echo(
        json.dumps({"facts": count})
        if as_json
        else f"{count} facts {'would be' if dry_run else 'will be'} published again"
    )


@click.group("audit", help="The audit trail: who did and read what.")
def _audit() -> None:
    """Groups the sub-commands below."""


@_audit.command(
    "verify",
    help=(
        "Recompute the hash chain of the trail, and compare it with the published and witnessed"
        " heads; exit code 1 if they differ."
    ),
)
@click.option(
    "--witnesses",
    type=click.File("r"),
    multiple=True,
    help="The output of another service's `audit witnesses`; - for standard input.",
)
@click.option(
    "--topic/--no-topic",
    default=True,
    help="Whether to read the heads that this service has published on the topic.",
)
@json_option
@click.pass_obj
def _verify(service: Target, witnesses: Sequence[TextIO], topic: bool, as_json: bool) -> None:
    try:
        witnessed_heads = [
            Head(int(row["sequence"]), bytes.fromhex(row["hash"]))
            for file in witnesses
            for row in json.load(file)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(
            "--witnesses must be the output of `audit witnesses` of another service"
        ) from error
    with service.open_database() as database:
        if topic:
            witnessed_heads += _published_heads(service.settings(), service.name)
        verdict = _verify_trail(database, witnessed_heads)
    click.echo(json.dumps(verdict) if as_json else "\n".join(_verdict_lines(verdict)))
    sys.exit(1 if verdict["findings"] else 0)


@_audit.command(
    "witnesses",
    help=(
        "Print the heads of another service's trail that this service has stored, for the other"
        " service's `audit verify --witnesses`."
    ),
)
@click.option("--of", "other", required=True, help="The other service, e.g. referrals.")
@click.option("--json", "_as_json", is_flag=True, help="Has no effect: the output is always JSON.")
@click.pass_obj
def _witnesses(service: Target, other: str, _as_json: bool) -> None:
    with service.open_database() as database, database.transaction(SYSTEM) as tx:
        witnessed = list(heads.witnessed(tx, other))
    click.echo(json.dumps(witnessed, default=_rfc3339))
    sys.exit(0 if witnessed else 1)


@click.group(
    "dead-letters",
    help=(
        "Facts that are held because their handler refused them, and records that could not be"
        " read."
    ),
)
def _dead_letters() -> None:
    """Groups the sub-commands below."""


@_dead_letters.command("list", help="List what waits for an operator, oldest first.")
@json_option
@click.pass_obj
def _list(service: Target, as_json: bool) -> None:
    with service.open_database() as database, database.transaction(SYSTEM) as tx:
        letters = dead_letters.list_letters(tx)
    if as_json:
        click.echo(json.dumps([asdict(letter) for letter in letters], default=_rfc3339))
        return
    for letter in letters:
        attempts = (
            f"  tried {letter.attempts} times, next {_rfc3339(letter.next_try_time)}"
            if letter.next_try_time
            else ""
        )
        click.echo(
            f"{letter.kind:<10} {letter.id}  {letter.type or letter.topic}  {letter.reason}"
            f"  since {_rfc3339(letter.since)}{attempts}"
        )
    click.echo(f"{len(letters)} in total")


def _add_for_letters(
    name: str,
    help: str,
    do: Callable[[Transaction, list[dead_letters.DeadLetter], str, datetime], None],
    past_participle: str,
) -> None:
    """Adds a command that applies `do` to the dead letters that its arguments choose."""

    @_dead_letters.command(name, help=help)
    @click.argument("identity", required=False, default="", metavar="[ID]")
    @click.option("--subject", default="", help="All held facts of this subject.")
    @click.option("--all", "everything", is_flag=True, help="All dead letters.")
    @click.option(
        "--reason",
        required=True,
        help="The reason, as a code for the trail: lower case, digits, _; e.g. handler_fixed.",
    )
    @dry_run_option
    @json_option
    @click.pass_obj
    def command(
        service: Target,
        identity: str,
        subject: str,
        everything: bool,
        reason: str,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        if [bool(identity), bool(subject), everything].count(True) != 1:
            raise click.UsageError("give exactly one of ID, --subject and --all")
        if not _CODE.fullmatch(reason):
            raise click.UsageError(
                "--reason must be a code of 3 to 40 lower-case letters, digits and _,"
                " not a sentence or a name"
            )
        with service.open_database() as database, database.transaction(SYSTEM) as tx:
            chosen_letters = dead_letters.select(
                dead_letters.list_letters(tx), identity=identity, subject=subject
            )
            if not dry_run:
                do(tx, chosen_letters, reason, SystemClock().now())
        click.echo(
            json.dumps({"count": len(chosen_letters)})
            if as_json
            else f"{len(chosen_letters)} {'would be ' if dry_run else ''}{past_participle}"
        )
        sys.exit(0 if chosen_letters or everything else 1)


_add_for_letters(
    "redrive",
    "Let the running service retry these now.",
    dead_letters.redrive,
    "retried",
)
_add_for_letters(
    "discard",
    "Discard these for good; later facts of their subjects are applied.",
    dead_letters.discard,
    "discarded",
)

_COMMANDS = (_migrate, _doctor, _replay, _audit, _dead_letters)


def add_to(
    main: click.Group,
    name: str,
    settings: Callable[[], ServiceSettings],
    key_files: Sequence[str],
    migrations: Sequence[Path],
    sealed: Sequence[SealedColumn] = (),
) -> None:
    """Adds the commands to those of the service `name`. `Target` describes the other arguments.

    `sealed` lists the columns that the service's key seals, in addition to the columns that every
    service has.
    """
    service = Target(name, settings, key_files, migrations, [DEAD_LETTERS, *sealed])
    main.context_settings["obj"] = service
    for command in _COMMANDS:
        main.add_command(command)
    key_commands.add_to(main, name, settings, service.open_database, service.columns)


def _silence_log() -> None:
    """Silences the log, which is the output of `serve` only."""
    log.setup("", level=logging.CRITICAL)


def _examine(service: Target, settings: ServiceSettings) -> dict[str, bool | None]:
    """Returns, for each requirement of the service, whether it is met; None if that can't be
    checked because an earlier requirement is not met. Changes nothing.
    """
    required_files = [
        name
        for name in service.key_files
        if not (settings.key_service and name.startswith("sealing."))
    ]
    checks: dict[str, bool | None] = {
        f"key {name}": key_folder.is_readable(settings.keys, name) for name in required_files
    }
    if settings.key_service:
        checks["key service"] = sealing_keys.of(settings, service.name).are_usable()
    database = Database(settings.database_url, max_size=2)
    database.open()
    checks["database"] = database.reachable()
    if not checks["database"]:
        click.echo(f"ENLACE_DATABASE_URL: {database.probe.reason or 'unknown'}", err=True)
    checks["schema"] = (checks["database"] or None) and _passes(
        database, lambda tx: _has_schema(tx, service.migrations)
    )
    checks["append-only trail"] = (checks["schema"] or None) and _passes(
        database, chain.is_append_only
    )
    checks["keys of all sealed rows"] = (checks["schema"] or None) and _passes(
        database, lambda tx: _has_all_keys(tx, service, settings)
    )
    database.close()
    broker = Broker(settings, [])
    broker.start()
    checks["broker"] = broker.wait(5) is not None
    broker.stop()
    checks["topics kept for ever"] = (checks["broker"] or None) and keeps_permanent(settings)
    return checks


def _has_schema(tx: Transaction, migrations: Sequence[Path]) -> bool:
    """Returns True if the database has every migration of this version, and every table that they
    create, readable; migrations of a newer version do no harm.
    """
    files = [file for folder in migrations for file in folder.glob("*.sql")]
    sql = "".join(file.read_text().partition("-- migrate:down")[0] for file in files)
    tables = {*re.findall(r"CREATE TABLE (\w+)", sql)} - {*re.findall(r"DROP TABLE (\w+)", sql)}
    rows = tx.execute(
        "SELECT version::text AS name FROM schema_migrations UNION SELECT relname::text"
        " FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND has_table_privilege(oid, 'SELECT')"
    )
    required_names = tables | {file.name.split("_")[0] for file in files}
    return required_names <= {row["name"] for row in rows}


def _has_all_keys(tx: Transaction, service: Target, settings: ServiceSettings) -> bool:
    """Returns True if the sealing keys belong to the database, and each sealed row has its key."""
    keyring = sealing_keys.of(settings, service.name).keyring()
    return not (
        find_problem(tx, keyring, read_only=True) or count_keyless(tx, keyring, service.columns)
    )


def _passes(database: Database, check: Callable[[Transaction], bool]) -> bool:
    try:
        with database.transaction(SYSTEM, timeout=30) as tx:
            return check(tx)
    except Exception:  # whatever the failure is, the service could not serve either
        return False


def _repeat_facts(database: Database, since: datetime | None, dry_run: bool) -> int:
    with database.transaction(SYSTEM) as tx:
        count = outbox.count(tx, since)
        if since is None and not dry_run:
            outbox.repeat_all(tx)
    if since is not None and not dry_run:
        for marked in outbox.repeat_since(database, since):
            if sys.stderr.isatty():
                click.echo(f"{marked} of {count}", err=True)
    return count


_MAX_FINDINGS = 100  # maximum number of findings that are listed; the others are only counted
_CHUNK = 100_000  # rows verified in one transaction


def _published_heads(settings: ServiceSettings, name: str) -> list[Head]:
    """Returns this service's heads in the topic.

    Raises ClickException if the topic could not be read to its end, since an incomplete list proves
    nothing.
    """
    broker = Broker(settings, [heads.TOPIC])
    broker.start()
    try:
        if broker.wait(5) is None:
            raise BrokerLost("away")
        return list(
            heads.published_heads(settings, name, key_folder.trusted_signers(settings.keys))
        )
    except BrokerLost as error:
        raise click.ClickException(
            "the broker is unavailable, so the trail was not compared with the heads that this"
            " service has published. Try again, or leave the topic out with --no-topic"
        ) from error
    finally:
        broker.stop()


def _verify_trail(database: Database, witnessed_heads: Sequence[Head]) -> dict[str, Any]:
    """Verifies the trail against itself and against the witnessed heads; returns the verdict."""
    witnessed: dict[int, set[bytes]] = {}
    for head in witnessed_heads:
        witnessed.setdefault(head.sequence, set()).add(head.hash)
    position, findings, began = audit_trail.START, list[chain.Finding](), time.monotonic()
    with database.transaction(SYSTEM) as tx:
        end, marked = audit_trail.head(tx), chain.first_marked_sequence(tx)
    while position.sequence < end.sequence:
        with database.transaction(SYSTEM, timeout=30) as tx:
            position, chunk_findings = chain.verify(
                tx, position, min(end.sequence, position.sequence + _CHUNK), witnessed, marked
            )
        findings += chunk_findings
        if not chunk_findings and sys.stderr.isatty():
            click.echo(f"{position.sequence} of {end.sequence}", err=True)
        if (
            position.sequence < end.sequence
            and chunk_findings
            and chunk_findings[-1].reason == "missing"
        ):
            break  # the remaining rows are missing
    if position != end and not findings:
        findings.append(chain.Finding(end.sequence, "altered"))
    findings += [
        chain.Finding(sequence, "cut")
        for sequence in sorted(witnessed)
        if sequence > position.sequence
    ]
    with database.transaction(SYSTEM, timeout=120) as tx:
        findings += chain.repeated_marks(tx, 0, end.sequence)
    seconds = time.monotonic() - began
    return {
        "rows": position.sequence,
        "rows_per_s": round(position.sequence / seconds) if seconds else 0,
        "witnessed": len(witnessed),
        "findings": [asdict(finding) for finding in findings[:_MAX_FINDINGS]],
        "more_findings": max(0, len(findings) - _MAX_FINDINGS),
    }


def _verdict_lines(verdict: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{verdict['rows']} rows, {verdict['rows_per_s']} a second, compared with"
        f" {verdict['witnessed']} witnessed heads"
    )
    yield from (
        f"{finding['reason']:<8} row {finding['sequence']}" for finding in verdict["findings"]
    )
    yield "the trail is not intact" if verdict["findings"] else "the trail is intact"


def _rfc3339(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)

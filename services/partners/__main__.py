"""python -m services.partners: every object is made here, once, in reading order."""

import logging
import secrets
import sys
from pathlib import Path

import click

from chassis import commands, heads, keys, log, service_runner
from chassis.clock import SystemClock
from chassis.db import Database
from chassis.db import migrate as bring_up_to_date
from chassis.errors import Invalid, Refusal
from chassis.heads import Heads
from chassis.kafka import REPLAYS, Broker
from chassis.relay import Relay, Replays
from chassis.rpc import Server
from chassis.sealing import Keyring, Signer
from chassis.sweeper import Sweeper
from chassis.tokens import SYSTEM, Issuer, Verifier
from services.partners import config, usecases, wire
from services.partners.config import NAME, TOPIC
from services.partners.domain.organization import OrganizationEntry, OrganizationType
from services.partners.domain.worker import Role, WorkerEntry
from services.partners.rpc import servicers

HERE = Path(__file__).resolve().parent
MIGRATIONS = [HERE.parent.parent / "chassis" / "migrations", HERE / "migrations"]
TOPICS = [TOPIC, REPLAYS, heads.TOPIC]
KEYS = ("tokens.jwk", "tokens.pub.jwk", f"facts.{NAME}.jwk", f"facts.{NAME}.pub.jwk", f"sealing.{NAME}.key", "mail.key")


@click.group(help="The partner directory and its members.")
@click.pass_context
def main(context: click.Context) -> None:
    # The log is the output of `serve`; the other commands have one of their own.
    log.setup(NAME, level=logging.INFO if context.invoked_subcommand == "serve" else logging.CRITICAL)


@main.command(help="Answer calls and tell facts, until SIGTERM.")
def serve() -> None:
    settings = config.load()
    clock = SystemClock()
    keyring = Keyring(keys.secret(settings.keys, f"sealing.{NAME}"))
    mail = Keyring(keys.secret(settings.keys, "mail"))
    issuer = Issuer(keys.signing(settings.keys, "tokens"), clock)
    verifier = Verifier(keys.verifying(settings.keys, "tokens"), f"enlace.{NAME}", clock)
    signer = Signer(keys.signing(settings.keys, f"facts.{NAME}"))
    database = Database(settings.database_url)
    broker = Broker(settings, TOPICS)
    relay = Relay(NAME, TOPIC, database, broker, signer, clock).loop()
    replays = Replays(NAME, TOPIC, database, broker).loop()
    sweeper = Sweeper(database, clock, usecases.sweep).loop()
    trail = Heads(NAME, database, broker, signer, keys.trusted_signers(settings.keys), clock).loop()
    server = Server(
        settings.listen,
        servicers(database, issuer, verifier, keyring, mail, clock),
        threads=settings.rpc_threads,
        reflect=settings.reflection,
        caller_rate=settings.caller_rate,
    )
    sys.exit(service_runner.run(server, database, broker, [relay, replays, sweeper, trail], metrics_address=settings.metrics_listen))


@main.command(help="Bring the schema up to date, as the role that owns it.")
def migrate() -> None:
    click.echo(bring_up_to_date(config.load().migration_url, MIGRATIONS), nl=False)


@main.command(help="Register the coordinating organisation and its first coordinator; for a new network. Prints the first password once.")
@click.option("--organization", required=True, help="Its name.")
@click.option("--country", required=True, help="ISO 3166-1, e.g. NI.")
@click.option("--email", required=True, help="Of the coordinator.")
@click.option("--name", required=True, help="Of the coordinator.")
def found(organization: str, country: str, email: str, name: str) -> None:
    database = Database(config.load().database_url, max_size=2)
    database.open()
    password, now = secrets.token_urlsafe(15), SystemClock().now()
    try:
        with database.transaction(SYSTEM) as tx:
            member = usecases.create_organization(
                tx, SYSTEM, now, OrganizationEntry(name=organization, type=OrganizationType.NGO, country=country)
            )
            usecases.approve_organization(tx, SYSTEM, now, member.id, wire.etag_of(member))
            entry = WorkerEntry(name=name, email=email, roles=(Role.COORDINATOR, Role.MANAGER))
            usecases.create_worker(tx, now, member.id, entry, password)
    except Refusal as refusal:
        wrong = f": {refusal.violations}" if isinstance(refusal, Invalid) else ""
        raise click.ClickException(refusal.reason + wrong) from refusal
    finally:
        database.close()
    click.echo(f"{email} may sign in with {password}")


commands.add_to(main, NAME, config.load, KEYS, MIGRATIONS)


if __name__ == "__main__":
    main()

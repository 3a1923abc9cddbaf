"""python -m services.partners: creates each object of the service once."""

import logging
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from chassis import log, memory
from chassis.audit import Marker
from chassis.clock import Clock, SystemClock
from chassis.db import Database, Transaction
from chassis.errors import Invalid, Refusal
from chassis.guesses import Guesses
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Servicer
from chassis.supervisor import WELL
from chassis.tokens import LEEWAY, LIFETIME, SYSTEM, Issuer, Verifier
from chassis.wire import PageTokens
from facts.subscriber import Subscriber
from keys import commands as key_commands
from keys import key_folder, sealing_keys
from keys.rotation import SealedColumn
from keys.sealing import Keyring
from protos.partners.v1 import (
    accounts_pb2,
    directory_pb2,
    locations_pb2,
    members_pb2,
    open_data_pb2,
)
from runtime import commands, service
from services.partners import config, subscriptions
from services.partners.config import NAME, TOPIC, PartnersSettings
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.directory.store.services import refresh_all_of
from services.partners.directory.usecases.housekeeping import full_sweep, refreshing_index
from services.partners.directory.usecases.import_jobs import Imports, running_imports
from services.partners.directory.usecases.locations import Locations
from services.partners.directory.usecases.open_data import OpenData
from services.partners.directory.usecases.services import Services
from services.partners.members.domain.organization import OrganizationEntry, OrganizationType
from services.partners.members.domain.worker import Role, WorkerEntry
from services.partners.members.usecases import founding, membership
from services.partners.members.usecases.api_keys import ApiKeys
from services.partners.members.usecases.invitations import Invitations
from services.partners.members.usecases.lasting import notifier
from services.partners.members.usecases.membership import Membership
from services.partners.members.usecases.organizations import Organizations
from services.partners.members.usecases.standing import check_standing
from services.partners.members.usecases.workers import Workers
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.usecases import password_resets, sessions
from services.partners.sign_in.usecases.accounts import Accounts
from services.partners.sign_in.usecases.credentials import SignInCredentials
from services.partners.sign_in.usecases.made_lately import MadeLately
from services.partners.sign_in.usecases.passkeys import Passkeys
from services.partners.sign_in.usecases.password_resets import PasswordResets, sending_links
from services.partners.sign_in.usecases.proofs import Proofs
from services.partners.sign_in.usecases.second_factors import CODE_BUDGET, SecondFactors
from services.partners.sign_in.usecases.sessions import Sessions
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders

HERE = Path(__file__).resolve().parent
MIGRATIONS = [HERE.parent.parent / "chassis" / "migrations", HERE / "migrations"]
KEYS = (
    "tokens.jwk",
    "tokens.pub.jwk",
    "calls.gateway.pub.jwk",
    f"facts.{NAME}.jwk",
    f"facts.{NAME}.pub.jwk",
    f"sealing.{NAME}.key",
    "mail.key",
    "facts.referrals.pub.jwk",
)

# Seconds between two batches of facts about referrals. The facts change room figures and the
# records of kept promises, and neither has to be up to date to the second.
_BATCH_INTERVAL = 0.1


@click.group(help="The partner directory and its members.")
def main() -> None:
    """Groups the sub-commands below."""


@main.command(help="Answer calls, consume and publish facts.")
@service.only_option
def serve(only: str | None) -> None:
    """Runs the service until SIGTERM."""
    log.setup(NAME)
    sys.exit(run(config.load(), only))


def run(settings: PartnersSettings, only: str | None = None) -> int:
    """Creates all objects and runs them; returns the exit code."""
    folder = settings.service.keys
    parts = service.make(
        NAME,
        TOPIC,
        settings.service,
        only=only,
        other_topics=[subscriptions.TOPIC, subscriptions.ERASURES],
        sealed_tables=[sealed.table for sealed in SEALED],
    )
    mail = Keyring(key_folder.secret(folder, "mail"))
    signing = key_folder.FileCache(
        folder, "tokens*.jwk", partial(key_folder.all_signing, folder, "tokens")
    )
    issuer = Issuer(
        lambda: key_folder.signing_at(signing(), parts.clock.now().timestamp()), parts.clock
    )
    index = DirectoryIndex()
    server = parts.server(
        servicers(
            parts.database,
            issuer,
            parts.verifier,
            parts.keyring,
            mail,
            parts.clock,
            index,
            Site(settings.public_url),
            SignInProviders(
                parts.database,
                parts.keyring,
                mail,
                settings.public_url,
                development=settings.service.development,
            ),
            paper_url="" if settings.by_email else settings.public_url,
            strict=settings.second_factor_required,
        )
    )
    index_loop = refreshing_index(parts.database, parts.clock, index)
    loops = [
        *parts.loops(full_sweep(mail)),
        parts.witness(subscriptions.ERASURES, "referrals", subscriptions.ERASED),
        sending_links(parts.database, parts.keyring, mail, parts.clock),
        running_imports(parts.database, parts.keyring, mail, parts.clock),
        Subscriber(
            NAME,
            [subscriptions.TOPIC],
            partial(subscriptions.consume, parts.clock),
            database=parts.database,
            broker=parts.broker,
            trusted_signers=key_folder.trusted_signers(folder, "referrals"),
            keyring=parts.keyring,
            clock=parts.clock,
            on_held=lambda held: server.set_status("facts", not held),
            gather=_BATCH_INTERVAL,
        ).loop(),
    ]
    # The process is ready once it has read the directory or has failed to read it: everything
    # except searching and matching works without the directory.
    return parts.run(
        server,
        loops,
        for_calls=[index_loop],
        ready=lambda: index.is_loaded or index_loop.state not in WELL,
    )


def servicers(
    database: Database,
    issuer: Issuer,
    verifier: Verifier,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    index: DirectoryIndex,
    site: Site,
    providers: SignInProviders,
    *,
    paper_url: str = "",
    strict: bool = False,
) -> list[Servicer]:
    """Returns the gRPC services of protos/partners/v1.

    `mail` seals e-mails that the notifications service sends; `site` is the website for which
    passkeys are made. `paper_url`: the beginning of links in a network that sends no e-mail and
    hands over links on paper; "" if it sends e-mail. `strict`: some roles need more than a
    password.
    """
    pages = PageTokens(keyring)
    password_guesses = Guesses(
        database, keyring, "password", sessions.ACCOUNT_BUDGET, sessions.ADDRESS_BUDGET
    )
    application_guesses = Guesses(
        database, keyring, "application", membership.MAILBOX_BUDGET, membership.ADDRESS_BUDGET
    )
    reset_guesses = Guesses(
        database, keyring, "reset", password_resets.MAILBOX_BUDGET, password_resets.ADDRESS_BUDGET
    )
    code_guesses = Guesses(database, keyring, "code", CODE_BUDGET, CODE_BUDGET)
    passkeys = Passkeys(site, password_guesses)
    credentials = SignInCredentials()
    servicer = partial(
        Servicer,
        database=database,
        verifier=verifier,
        idempotency=IdempotencyStore(keyring),
        clock=clock,
        check_standing=lambda tx, caller: check_standing(tx, caller, clock.now()),
        notify=notifier(mail),
    )
    return [
        servicer(
            directory_pb2.DESCRIPTOR.services_by_name["Directory"],
            Organizations(keyring, mail, pages, refresh_all_of),
            Membership(keyring, mail, application_guesses, refresh_all_of),
            Services(mail, pages, index),
        ),
        servicer(
            locations_pb2.DESCRIPTOR.services_by_name["Locations"], Locations(keyring, mail, pages)
        ),
        servicer(open_data_pb2.DESCRIPTOR.services_by_name["OpenData"], OpenData(pages)),
        servicer(open_data_pb2.DESCRIPTOR.services_by_name["Imports"], Imports(keyring)),
        servicer(
            members_pb2.DESCRIPTOR.services_by_name["Members"],
            Invitations(mail, paper_url, credentials),
            Workers(mail, pages, credentials),
            ApiKeys(mail),
            providers,
        ),
        servicer(
            accounts_pb2.DESCRIPTOR.services_by_name["Accounts"],
            Accounts(mail, password_guesses),
            PasswordResets(keyring, mail, reset_guesses),
            SecondFactors(keyring, site, password_guesses, code_guesses),
            passkeys,
            Proofs(keyring, site, password_guesses, code_guesses, providers),
            MadeLately(mail),
        ),
        servicer(
            members_pb2.DESCRIPTOR.services_by_name["Tokens"],
            Sessions(
                issuer, keyring, site, password_guesses, code_guesses, providers, strict=strict
            ),
            passkeys,
            providers,
        ),
    ]


@main.command(
    "found",
    help=(
        "Register the coordinating organisation and its first two coordinators; for a new network."
        " Prints their first passwords, which are shown only once."
    ),
)
@click.option("--organization", required=True, help="Name of the organisation.")
@click.option("--country", required=True, help="Country of the organisation (ISO 3166-1), e.g. NI.")
@click.option(
    "--email",
    "emails",
    required=True,
    multiple=True,
    help="E-mail address of a coordinator; give one for each of the two.",
)
@click.option(
    "--name",
    "names",
    required=True,
    multiple=True,
    help="Name of a coordinator; give one for each of the two, in the same order.",
)
def found_network(
    organization: str, country: str, emails: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Founds the network, once.

    Refused if there is or was a coordinator: otherwise the person who runs the command could make
    herself a coordinator of an existing network.
    """
    if not len(emails) == len(names) == 2:
        raise click.UsageError("give --email and --name twice each, for two coordinators")
    if not _create_coordinators(organization, country, emails, names, founding.found_network):
        raise click.ClickException(
            "this network has coordinators already: one of them can invite others"
        )


@main.command(
    "found-elsewhere",
    help=(
        "Register another member organisation with a coordinator of its own, because network"
        " roles need coordinators of two members. Prints her first password once."
    ),
)
@click.option("--organization", required=True, help="Name of the organisation.")
@click.option("--country", required=True, help="Country of the organisation (ISO 3166-1), e.g. NI.")
@click.option("--email", required=True, help="E-mail address of the coordinator.")
@click.option("--name", required=True, help="Name of the coordinator.")
def found_elsewhere(organization: str, country: str, email: str, name: str) -> None:
    """Registers a coordinator of another member.

    Refused if no organisation has coordinators yet, or if several have: coordinators of several
    organisations can give network roles themselves.
    """

    def register(
        tx: Transaction,
        now: datetime,
        entry: OrganizationEntry,
        people: Sequence[WorkerEntry],
        passwords: Sequence[str],
    ) -> bool:
        return founding.add_second_coordinating_member(tx, now, entry, people[0], passwords[0])

    if not _create_coordinators(organization, country, (email,), (name,), register):
        raise click.ClickException(
            "this network has no coordinators yet (run `found` first), or has them in several"
            " organisations (two of its coordinators can invite others)"
        )


Founding = Callable[
    [Transaction, datetime, OrganizationEntry, Sequence[WorkerEntry], Sequence[str]], bool
]


def _create_coordinators(
    organization: str, country: str, emails: Sequence[str], names: Sequence[str], register: Founding
) -> bool:
    """Registers an organisation and its coordinators, and prints their first passwords.

    Returns False if `register` refused.
    """
    if not re.fullmatch("[A-Z]{2}", country):
        raise click.UsageError("--country must be two capital letters, e.g. NI")
    log.setup(NAME, level=logging.CRITICAL)  # the output consists of the passwords only
    service_settings = config.load().service
    database = Database(
        service_settings.database_url,
        max_size=2,
        marker=Marker(sealing_keys.of(service_settings, NAME).keyring()),
    )
    database.open()
    passwords, now = [secrets.token_urlsafe(15) for _ in emails], SystemClock().now()
    coordinators = [
        WorkerEntry(name=name, email=email, roles=(Role.COORDINATOR, Role.MANAGER))
        for email, name in zip(emails, names, strict=True)
    ]
    try:
        with database.transaction(SYSTEM, timeout=30) as tx:
            is_registered = register(
                tx,
                now,
                OrganizationEntry(name=organization, type=OrganizationType.NGO, country=country),
                coordinators,
                passwords,
            )
    except Refusal as refusal:
        details = f": {refusal.violations}" if isinstance(refusal, Invalid) else ""
        raise click.ClickException(refusal.reason + details) from refusal
    finally:
        database.close()
    for email, password in zip(emails, passwords, strict=True) if is_registered else ():
        click.echo(f"{email} may sign in with {password}")
    return is_registered


@main.command(
    "rotate-token-keys",
    help=(
        "Sign callers' tokens with a new key, while all services run. If the command is"
        " interrupted, run it again."
    ),
)
def rotate_token_keys() -> None:
    """Replaces the key that signs tokens.

    For a while there are two keys: the old key signs until every service knows the new key, and is
    deleted when the last token that it signed has expired.
    """
    folder = config.load().service.keys
    with key_commands.changing(folder):
        newest = key_folder.replace_pair(folder, "tokens")
        begin_time = (folder / f"{newest}.pub.jwk").stat().st_mtime
        time.sleep(
            max(
                0.0,
                begin_time
                + key_folder.SETTLED
                + LIFETIME.total_seconds()
                + 3 * LEEWAY
                - time.time(),
            )
        )
        key_folder.drop_older_pairs(folder, "tokens")
    click.echo(f"tokens are now signed with {newest}")


SEALED = (
    SealedColumn("second_factors", "secret", ("worker_id",), "second_factors/{0}/secret"),
    SealedColumn("sign_in_providers", "secret", ("id",), "sign_in_providers/{0}/secret"),
    SealedColumn(
        "sign_in_providers", "proposed_secret", ("id",), "sign_in_providers/{0}/proposed_secret"
    ),
    SealedColumn("password_reset_requests", "email", ("id",), "password_reset_requests/{0}/email"),
    SealedColumn("locations", "secret", ("id",), "locations/{0}/secret"),
    SealedColumn("imports", "file", ("id",), "imports/{0}/file"),
    SealedColumn("imports", "report", ("id",), "imports/{0}/report"),
    SealedColumn("applications", "sealed", ("organization_id",), "applications/{0}/contact"),
    SealedColumn("application_requests", "sealed", ("id",), "application_requests/{0}/sent"),
)

commands.add_to(main, NAME, lambda: config.load().service, KEYS, MIGRATIONS, SEALED)


if __name__ == "__main__":
    memory.forbid_dumps()
    main()

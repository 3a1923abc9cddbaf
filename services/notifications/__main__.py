"""Starts the notifications service: creates each object once, after the objects that it needs."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

import chassis
from chassis import log, memory
from chassis.clock import Clock
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Call, Servicer
from chassis.tokens import Verifier
from chassis.wire import PageTokens, WatchTokens
from facts.subscriber import Subscriber
from keys import key_folder
from keys.rotation import SealedColumn
from keys.sealing import Keyring
from protos.notifications.v1 import notifications_pb2
from runtime import commands, service
from services.notifications import config, subscriptions
from services.notifications.channels.mail import MailSender, Smtp
from services.notifications.channels.webhooks import WebhookSender
from services.notifications.config import NotificationsSettings
from services.notifications.store.mail_folder import MailFolder
from services.notifications.store.members import view_of
from services.notifications.usecases.desks import Desks
from services.notifications.usecases.inbox import Inbox
from services.notifications.usecases.lasting import notify_managers
from services.notifications.usecases.members import check_standing
from services.notifications.usecases.sending import DeliveryQueue, sweep
from services.notifications.usecases.webhooks import Webhooks

NAME = "notifications"
MIGRATIONS = [Path(chassis.__file__).parent / "migrations", Path(__file__).parent / "migrations"]
KEYS = (
    "tokens.pub.jwk",
    "calls.gateway.pub.jwk",
    f"facts.{NAME}.jwk",
    f"facts.{NAME}.pub.jwk",
    f"sealing.{NAME}.key",
    "mail.key",
    "facts.referrals.pub.jwk",
    "facts.partners.pub.jwk",
)
SEALED = (
    SealedColumn("desks", "email", ("organization_id",), "desks/{0}/email"),
    SealedColumn("webhooks", "secret", ("id",), "webhooks/{0}/secret"),
    SealedColumn("webhooks", "former_secret", ("id",), "webhooks/{0}/secret"),
)
QUICK_THREADS, SLOW_THREADS = 8, 4


@click.group(help="The notifications service.")
def main() -> None:
    """Groups the sub-commands below."""


@main.command(help="Answer calls, consume and publish facts, send webhooks and e-mails.")
@service.only_option
def serve(only: str | None) -> None:
    """Runs until SIGTERM."""
    log.setup(NAME)
    sys.exit(run(config.load(), only))


commands.add_to(main, NAME, lambda: config.load().service, KEYS, MIGRATIONS, SEALED)


def servicers(
    database: Database,
    keyring: Keyring,
    verifier: Verifier,
    clock: Clock,
    mail_folder: MailFolder | None,
    *,
    development: bool,
) -> list[Servicer]:
    """Returns the servicers of the two proto services."""
    idempotency, pages = IdempotencyStore(keyring), PageTokens(keyring)
    descriptors = notifications_pb2.DESCRIPTOR.services_by_name
    implementations = {
        "Notifications": (
            Inbox(pages, WatchTokens(keyring)),
            Desks(keyring, mail_folder, development=development),
        ),
        "Webhooks": (Webhooks(keyring, pages, development=development),),
    }

    def notify(call: Call, rpc: str, request: Any) -> None:
        organization_id = request.desk.organization_id if rpc == "SetDesk" else ""
        notify_managers(
            call.tx, call.caller, call.clock.now(), organization_id or call.caller.organization_id
        )

    return [
        Servicer(
            descriptors[name], *implementation,
            database=database, verifier=verifier, idempotency=idempotency, clock=clock,
            check_standing=check_standing, notify=notify,
        )
        for name, implementation in implementations.items()
    ]  # fmt: skip


def run(settings: NotificationsSettings, only: str | None = None) -> int:
    """Creates all objects and runs the service; returns the exit code."""
    topics = (subscriptions.REFERRALS, subscriptions.PARTNERS, subscriptions.ERASURES)
    parts = service.make(
        NAME,
        subscriptions.TOPIC,
        settings.service,
        only=only,
        other_topics=topics,
        view_of=view_of,
        sealed_tables=[sealed.table for sealed in SEALED],
    )
    database, clock, development = parts.database, parts.clock, settings.service.development
    letter_key = Keyring(key_folder.secret(settings.service.keys, "mail"))

    queue = DeliveryQueue(
        database,
        parts.keyring,
        letter_key,
        public_url=settings.public_url,
        by_email=settings.by_email,
    )
    mail_folder = MailFolder(settings.mail_folder, clock) if settings.mail_folder else None
    mail_server = settings.mail_server
    mailbox = Smtp(mail_server, settings.mail_from, clock) if mail_server else mail_folder

    handle_referrals = subscriptions.referrals(
        clock, public_url=settings.public_url, by_email=settings.by_email
    )
    handle_partners = subscriptions.partners(clock, by_email=settings.by_email)
    handlers = (
        ("referrals", subscriptions.REFERRALS, handle_referrals),
        ("partners", subscriptions.PARTNERS, handle_partners),
    )
    server = parts.server(
        servicers(
            database, parts.keyring, parts.verifier, clock, mail_folder, development=development
        )
    )

    held_by_source = dict.fromkeys((source for source, _, _ in handlers), 0)

    def report_held(source: str, count: int) -> None:
        held_by_source[source] = count
        server.set_status("facts", not any(held_by_source.values()))

    loops = [
        *parts.loops(sweep),
        parts.witness(subscriptions.ERASURES, "referrals", subscriptions.ERASED),
        # Each topic has a subscriber of its own, so that a replay of one topic does not delay the
        # other topic.
        *(
            Subscriber(
                f"{NAME}-{source}",
                [topic],
                handle,
                database=database,
                broker=parts.broker,
                trusted_signers=key_folder.trusted_signers(settings.service.keys, source),
                keyring=parts.keyring,
                clock=clock,
                on_held=partial(report_held, source),
            ).loop()
            for source, topic, handle in handlers
        ),
        WebhookSender(
            database, queue, clock, slow=False, threads=QUICK_THREADS, development=development
        ).loop(),
        WebhookSender(
            database, queue, clock, slow=True, threads=SLOW_THREADS, development=development
        ).loop(),
        *([MailSender(database, queue, mailbox, clock).loop()] if mailbox else []),
    ]
    return parts.run(server, loops)


if __name__ == "__main__":
    memory.forbid_dumps()
    main()

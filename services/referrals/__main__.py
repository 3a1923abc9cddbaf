"""Starts the referrals service. Each object is made in this module, once."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

import chassis
from chassis import guesses, log, memory
from chassis.clock import Clock
from chassis.config import ServiceSettings
from chassis.db import Database
from chassis.guesses import Guesses
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Servicer
from chassis.tokens import Verifier
from chassis.wire import PageTokens, ResumeTokens, WatchTokens
from facts.subscriber import Subscriber
from keys import key_folder
from keys.rotation import SealedColumn
from keys.sealing import Keyring, Signer
from protos.referrals.v1 import (
    advice_pb2,
    audit_pb2,
    campaigns_pb2,
    contacts_pb2,
    emergencies_pb2,
    enquiries_pb2,
    erasures_pb2,
    people_pb2,
    plans_pb2,
    referrals_pb2,
)
from runtime import commands, service
from services.referrals import config, subscriptions
from services.referrals.files.domain.openings import MAX_PER_HOUR
from services.referrals.files.store import emergencies as emergency_store
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.receipts import Receipts
from services.referrals.files.usecases.ages import AgeBandUpdater
from services.referrals.files.usecases.names import SEARCH_BUDGET, NameIndexer
from services.referrals.files.usecases.openings import Openings
from services.referrals.line.store import contacts as contact_store
from services.referrals.line.store.contact_notes import ContactNotes
from services.referrals.line.store.contacts import Contacts as ContactStore
from services.referrals.line.usecases.advice import AdviceRpcs
from services.referrals.line.usecases.advice import shipped_cards as shipped_cards
from services.referrals.line.usecases.campaigns import Campaigns
from services.referrals.line.usecases.contacts import (
    ADDRESS_BUDGET,
    LANES,
    REFERENCE_BUDGET,
    Contacts,
    ReferenceGate,
)
from services.referrals.network.store.members import check_standing, view_of
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.network.usecases.policies import Policies
from services.referrals.network.wire.facts import TOPIC
from services.referrals.people.usecases import erasures
from services.referrals.people.usecases.anomalies import Anomalies
from services.referrals.people.usecases.consents import Consents
from services.referrals.people.usecases.emergencies import Emergencies
from services.referrals.people.usecases.erasing import ErasureRpcs
from services.referrals.people.usecases.people import People
from services.referrals.people.usecases.references import References
from services.referrals.people.usecases.trail import Audit
from services.referrals.plans.usecases.pathways import Pathways, shipped_pathways
from services.referrals.plans.usecases.plans import Plans
from services.referrals.referrals.store import deadlines
from services.referrals.referrals.store import enquiries as enquiry_store
from services.referrals.referrals.store import renewals as renewal_store
from services.referrals.referrals.usecases.enquiries import PREVIEW_BUDGET, Enquiries
from services.referrals.referrals.usecases.figures import Statistics
from services.referrals.referrals.usecases.grants import Grants
from services.referrals.referrals.usecases.referral_changes import ReferralChanges
from services.referrals.referrals.usecases.referrals import Referrals
from services.referrals.referrals.usecases.renewals import Renewals
from services.referrals.referrals.usecases.watch import Watch

NAME = "referrals"
MIGRATIONS = [Path(chassis.__file__).parent / "migrations", Path(__file__).parent / "migrations"]
KEYS = (
    "tokens.pub.jwk",
    "calls.gateway.pub.jwk",
    f"facts.{NAME}.jwk",
    f"facts.{NAME}.pub.jwk",
    f"sealing.{NAME}.key",
    "facts.partners.pub.jwk",
    "facts.notifications.pub.jwk",
)

SEALED = (
    SealedColumn("person_keys", "wrapped", ("person_id",), "person_keys/{0}/wrapped"),
    SealedColumn("contacts", "note_sealed", ("id",), "contacts/{0}/note"),
    SealedColumn(
        "contact_notes", "sealed", ("id",), "contact_notes/{0}/note", where="person_id = ''"
    ),
)
# The tables with values that are sealed with a person's own key.
SEALED_BY_PERSON = ("person_sealed", "referral_events", "emergencies")


@click.group(help="The referrals service.")
def main() -> None:
    """Groups the sub-commands below."""


@main.command(help="Answer calls, consume and publish facts, fire deadlines.")
@service.only_option
def serve(only: str | None) -> None:
    """Runs the service until SIGTERM."""
    log.setup(NAME)
    settings = config.load()
    sys.exit(run(settings.service, settings.openings_an_hour, only))


commands.add_to(main, NAME, lambda: config.load().service, KEYS, MIGRATIONS, SEALED)


@dataclass(frozen=True)
class Components:
    """The objects that answer calls, and the use cases that the loops call."""

    servicers: list[Servicer]
    referral_changes: ReferralChanges
    consents: Consents
    erasing: ErasureRpcs
    contacts: Contacts
    enquiries: Enquiries
    names: NameIndexer
    ages: AgeBandUpdater
    openings: Openings
    anomalies: Anomalies
    emergencies: Emergencies
    renewals: Renewals
    watch: Watch


def make(
    database: Database,
    keyring: Keyring,
    signer: Signer,
    verifier: Verifier,
    clock: Clock,
    openings_an_hour: int = MAX_PER_HOUR,
    witnessed_heads: Callable[[], Mapping[int, Iterable[bytes]]] = dict,
) -> Components:
    """Makes the stores and use cases, and a servicer for each service in the .proto files.

    `witnessed_heads` returns the heads of this service's trail that other services have stored.
    """
    files, stored_contacts = Files(keyring), ContactStore(keyring)
    receipts, pages = Receipts(signer), PageTokens(keyring)
    pathways = Pathways(shipped_pathways())
    plans = Plans(files, pathways, pages)
    policies = Policies()
    openings = Openings(openings_an_hour)
    grants = Grants(files, receipts)
    referral_changes = ReferralChanges(files, plans, policies)
    searches = Guesses(database, keyring, "name", SEARCH_BUDGET, SEARCH_BUDGET)
    people = People(files, grants, openings, policies, searches, pages)
    consents = Consents(files, referral_changes, receipts, plans, pages)
    notes = ContactNotes(keyring, files)
    gate = ReferenceGate(
        stored_contacts,
        Guesses(database, keyring, "pin", REFERENCE_BUDGET, ADDRESS_BUDGET, LANES),
        clock,
    )
    contacts = Contacts(stored_contacts, notes, files, policies, openings, gate, pages)
    references = References(
        gate, stored_contacts, notes, files, receipts, referral_changes, consents, policies
    )
    erasing = ErasureRpcs(files, consents, referral_changes, contacts, pages)
    enquiries = Enquiries(
        files,
        Guesses(database, keyring, "enquiry", PREVIEW_BUDGET, PREVIEW_BUDGET),
        policies,
        keyring,
        pages,
    )
    watch = Watch(database)
    anomalies = Anomalies(database, clock)
    emergencies = Emergencies(files, grants, openings, pages)
    idempotency = IdempotencyStore(keyring)
    tokens = pages, WatchTokens(keyring), ResumeTokens(keyring)
    referrals = Referrals(
        files, grants, receipts, plans, policies, openings, referral_changes, watch, *tokens
    )
    servicers = [
        Servicer(
            descriptor,
            *usecases,
            database=database,
            verifier=verifier,
            idempotency=idempotency,
            clock=clock,
            check_standing=check_standing,
        )
        for descriptor, *usecases in (
            (referrals_pb2.DESCRIPTOR.services_by_name["Referrals"], referrals),
            (referrals_pb2.DESCRIPTOR.services_by_name["Statistics"], Statistics()),
            (people_pb2.DESCRIPTOR.services_by_name["People"], people, consents),
            (contacts_pb2.DESCRIPTOR.services_by_name["Contacts"], contacts),
            (campaigns_pb2.DESCRIPTOR.services_by_name["Campaigns"], Campaigns(pages)),
            (advice_pb2.DESCRIPTOR.services_by_name["Advice"], AdviceRpcs(shipped_cards())),
            (contacts_pb2.DESCRIPTOR.services_by_name["References"], references),
            (enquiries_pb2.DESCRIPTOR.services_by_name["Enquiries"], enquiries),
            (erasures_pb2.DESCRIPTOR.services_by_name["Erasures"], erasing),
            (audit_pb2.DESCRIPTOR.services_by_name["Audit"], Audit(witnessed_heads, pages)),
            (emergencies_pb2.DESCRIPTOR.services_by_name["Emergencies"], emergencies),
            (plans_pb2.DESCRIPTOR.services_by_name["Plans"], plans),
        )
    ]
    return Components(
        servicers,
        referral_changes,
        consents,
        erasing,
        contacts,
        enquiries,
        NameIndexer(files, database, clock),
        AgeBandUpdater(files, database, clock),
        openings,
        anomalies,
        emergencies,
        Renewals(receipts, files),
        watch,
    )


def run(settings: ServiceSettings, openings_an_hour: int, only: str | None = None) -> int:
    """Makes all parts of the service and runs them; returns the exit code."""
    parts = service.make(
        NAME,
        TOPIC,
        settings,
        only=only,
        other_topics=[subscriptions.TOPIC, erasures.TOPIC],
        view_of=view_of,
        sealed_tables=[*SEALED_BY_PERSON, *(column.table for column in SEALED)],
    )
    components = make(
        parts.database,
        parts.keyring,
        parts.signer,
        parts.verifier,
        parts.clock,
        openings_an_hour,
        lambda: parts.heads.witnessed,
    )
    server = parts.server(components.servicers)
    loops = [
        *parts.loops(guesses.forget),
        Subscriber(
            NAME,
            [subscriptions.TOPIC],
            partial(subscriptions.consume, components.referral_changes, parts.clock),
            database=parts.database,
            broker=parts.broker,
            trusted_signers=key_folder.trusted_signers(settings.keys, "partners"),
            keyring=parts.keyring,
            clock=parts.clock,
            on_held=lambda held: server.set_status("facts", not held),
        ).loop(),
        DeadlineScheduler(
            components.referral_changes, parts.database, parts.clock, deadlines.next_time, "clocks"
        ).loop(),
        DeadlineScheduler(
            components.enquiries, parts.database, parts.clock, enquiry_store.next_time, "enquiries"
        ).loop(),
        DeadlineScheduler(
            components.contacts, parts.database, parts.clock, contact_store.next_time, "contacts"
        ).loop(),
        erasures.Erasures(
            components.erasing,
            parts.database,
            parts.broker,
            parts.signer,
            key_folder.trusted_signers(settings.keys, NAME, *erasures.WITNESSES),
            parts.clock,
            settings.keys,
        ).loop(),
        DeadlineScheduler(
            components.renewals, parts.database, parts.clock, renewal_store.next_time, "renewals"
        ).loop(),
        DeadlineScheduler(
            components.emergencies,
            parts.database,
            parts.clock,
            emergency_store.next_time,
            "emergencies",
        ).loop(),
        components.names.loop(),
        components.ages.loop(),
        components.anomalies.loop(),
    ]
    return parts.run(server, loops, for_calls=[components.watch.loop()])


if __name__ == "__main__":
    memory.forbid_dumps()
    main()

"""Writes the pilot and tonight's stories into the referrals service: files with their consents,
referrals and plans, an enquiry, and the contacts of the lines. Also writes the campaign, and the
figures of the last quarters.
"""

from copy import deepcopy
from datetime import datetime
from pathlib import Path

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from demo import campaigns, enquiries, figures, plans, steps
from demo.contacts import NotedContact, contacts
from demo.live import tonights_stories
from demo.network import Network
from demo.pilot import pilot
from demo.secret_words import DemoSecrets
from demo.story import File, Story
from keys import key_folder
from keys.sealing import Signer
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.receipts import Receipts
from services.referrals.line.store.contacts import Contacts
from services.referrals.line.usecases.contacts import HASHER
from services.referrals.network.usecases.policies import PlaceCalendar
from services.referrals.referrals.domain.enquiry import Enquiry
from services.referrals.referrals.store import enquiries as enquiry_store
from services.referrals.referrals.store import referrals

NAME = "referrals"


def begin(database: Database, network: Network, now: datetime) -> datetime:
    """Writes the campaign and the figures, unless an earlier run has written them.

    Returns the time that all other times are relative to: `now`, or the start of an earlier run.
    """
    with database.transaction(SYSTEM, timeout=30) as tx:
        first_run_time = campaigns.begin_time(tx)
        if first_run_time is None:
            campaigns.fill(tx, network, now)
            figures.fill(tx, now)
        return first_run_time or now


def fill(
    database: Database, directory: Path, network: Network, demo_secrets: DemoSecrets, now: datetime
) -> None:
    """Writes the missing parts: files with referrals and plan, the enquiry, the contacts."""
    keyring = key_folder.keyring(directory, NAME)
    files, contact_store = Files(keyring), Contacts(keyring)
    receipts = Receipts(Signer(key_folder.signing(directory, f"facts.{NAME}")))
    calendar = PlaceCalendar("NI")

    def save_file(part: tuple[File, list[Story]]) -> None:
        # Saving removes the facts from these objects. Each attempt therefore saves a copy, because
        # an attempt may fail and be repeated. The stories share the network, which is not copied.
        file, stories = deepcopy(part, {id(network): network})
        with database.transaction(SYSTEM, timeout=30) as tx:
            if not _exists(tx, "people", file.person.id):
                _save(tx, files, receipts, file, stories)
                plans.fill(tx, file, stories, now)

    def save_enquiry(enquiry: Enquiry) -> None:
        with database.transaction(SYSTEM, timeout=30) as tx:
            if not _exists(tx, "enquiries", enquiry.id):
                enquiry_store.save(tx, deepcopy(enquiry))

    def save_contact(part: NotedContact) -> None:
        contact, note = deepcopy(part)
        reference, pin = (
            demo_secrets.reference(contact.id),
            HASHER.hash(demo_secrets.pin(contact.id)),
        )
        with database.transaction(SYSTEM, timeout=30) as tx:
            if not _exists(tx, "contacts", contact.id):
                contact.reference_hint = reference[-2:]
                contact.update_deadline(contact.create_time, calendar)
                contact_store.add(tx, contact, note)
                contact_store.add_reference(tx, reference, contact.id, pin)

    steps.fill_each("files of the pilot", pilot(network, calendar), save_file)
    by_file: dict[str, tuple[File, list[Story]]] = {}
    for story in tonights_stories(network, calendar, now):
        by_file.setdefault(story.file.person.id, (story.file, []))[1].append(story)
    steps.fill_each("files of tonight", by_file.values(), save_file)
    steps.fill_each("enquiries", [enquiries.enquiry(network, calendar, now)], save_enquiry)
    steps.fill_each("contacts", contacts(network, now), save_contact)


def _exists(tx: Transaction, table: str, identifier: str) -> bool:
    return tx.execute(f"SELECT 1 FROM {table} WHERE id = %s", (identifier,)).fetchone() is not None  # noqa: S608


def _save(
    tx: Transaction, files: Files, receipts: Receipts, file: File, stories: list[Story]
) -> None:
    files.add(tx, file.person, file.identity, file.safe_contact)
    key = files.key(tx, file.person.id)
    for story in stories:
        receipts.add(tx, story.receipt)
        if story.withdraw_time:
            story.receipt.withdraw(story.withdraw_time)
            receipts.change(tx, story.receipt, "withdrawn")
        referrals.save(tx, story.referral, key)
        if story.following:
            referrals.save(tx, story.following, None)

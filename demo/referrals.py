"""Writes the pilot and tonight's stories into the referrals service: files, consents, requests, contacts of the line, figures of the last quarters."""

from datetime import datetime
from pathlib import Path

from chassis import keys
from chassis.db import Database, Transaction
from chassis.sealing import Signer
from chassis.tokens import SYSTEM, Caller
from demo import campaigns, enquiries, figures, plans
from demo.live import contacts, live
from demo.network import Network, id_of
from demo.pilot import pilot
from demo.secret_words import Words
from demo.story import File, Story
from services.referrals.domain.openings import AN_HOUR
from services.referrals.store import enquiries as enquiry_book
from services.referrals.store import referrals
from services.referrals.store.contacts import Contacts
from services.referrals.store.people import People as Files
from services.referrals.store.receipts import Receipts
from services.referrals.usecases.calendar import CountryCalendar
from services.referrals.usecases.contacts import HASHER
from services.referrals.usecases.grants import Grants
from services.referrals.usecases.openings import Openings
from services.referrals.usecases.pathways import Pathways, shipped
from services.referrals.usecases.people import People
from services.referrals.usecases.plans import Plans
from services.referrals.usecases.policies import Policies
from services.referrals.usecases.referrals import Referrals

NAME = "referrals"


def fill(database: Database, directory: Path, network: Network, words: Words, now: datetime) -> None:
    """All or nothing, in one transaction; does nothing where it was done before."""
    keyring = keys.keyring(directory, NAME)
    files, book = Files(keyring), Contacts(keyring)
    receipts = Receipts(Signer(keys.signing(directory, f"facts.{NAME}")))
    walked = Plans(files, Pathways(shipped()))
    openings = Openings(AN_HOUR)
    grants = Grants(files, receipts)
    people = People(files, Referrals(files, grants, receipts, walked, Policies(), openings), grants, receipts, walked, openings)
    calendar = CountryCalendar("NI")
    with database.transaction(SYSTEM, timeout=30) as tx:
        if tx.execute("SELECT 1 FROM contacts WHERE id = %s", (id_of("contact", "tonight"),)).fetchone():
            return
        for file, stories in pilot(network, calendar):
            _keep(tx, files, receipts, people, file, stories)
        by_file: dict[str, tuple[File, list[Story]]] = {}
        told = live(network, calendar, now)
        for story in told:
            by_file.setdefault(story.file.person.id, (story.file, []))[1].append(story)
        for file, stories in by_file.values():
            _keep(tx, files, receipts, people, file, stories)
        plans.fill(tx, told, now)
        figures.fill(tx, now)
        enquiry_book.keep(tx, enquiries.enquiry(network, calendar, now))
        campaigns.fill(tx, network, now)
        for contact, note in contacts(network, now):
            reference, pin = words.reference(contact.id), words.pin(contact.id)
            contact.reference_hint = reference[-2:]
            contact.watch(contact.create_time, calendar)
            book.add(tx, contact, note)
            book.add_reference(tx, reference, contact.id, HASHER.hash(pin))


def _keep(tx: Transaction, files: Files, receipts: Receipts, people: People, file: File, stories: list[Story]) -> None:
    files.add(tx, file.person, file.identity, file.safe_contact)
    key = files.key(tx, file.person.id)
    for story in stories:
        recorder = Caller(story.sender.id, "worker", file.person.organization_id)
        people.create_receipt(tx, recorder, story.at, story.receipt)
        if story.withdrawn:
            story.receipt.withdraw(story.withdrawn)
            receipts.change(tx, story.receipt, "withdrawn")
        referrals.keep(tx, story.referral, key)
        if story.following:
            referrals.keep(tx, story.following, None)

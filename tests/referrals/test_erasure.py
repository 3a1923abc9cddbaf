"""Erasure: its two people, what it destroys and what it keeps, and restored older backups."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from kafka.admin import KafkaAdminClient

import chassis
from chassis import metrics
from chassis.config import ServiceSettings
from chassis.db import Database
from chassis.errors import Conflict, Unavailable
from chassis.ids import new_id
from chassis.migrate import migrate
from chassis.tokens import SYSTEM
from facts import records
from facts.broker import Broker
from facts.envelope import pack
from facts.kafka import Producer, create_topics
from facts.outbox import Fact
from facts.witness import Witness
from keys import key_folder
from keys.sealing import CannotOpen, Keyring, Signer
from protos.referrals.v1 import contacts_pb2, erasures_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.people import People as Files
from services.referrals.people.store import erasures as erasures_store
from services.referrals.people.usecases import erasures
from services.referrals.people.usecases.erasures import Erasures
from services.referrals.people.wire.facts import ERASED
from tests.builders import NOON, refusal
from tests.faults.canary import dump
from tests.parts import brokers
from tests.parts import postgres as parts
from tests.parts.loops import NEVER, OFTEN, eventually, running
from tests.referrals.conftest import ORG, Client, Service, Story

CHASSIS = Path(chassis.__file__).parent / "migrations"
WORDS = ("Ximena", "+50581234567", "her sister calls", "she said it on the line")


@pytest.fixture
def other(service: Service) -> Client:
    """Returns a second person of the NGO."""
    return service.as_("ngo", "MANAGER")


def propose(client: Client, person_id: str) -> erasures_pb2.Erasure:
    created: erasures_pb2.Erasure = client.ProposeErasure(
        erasures_pb2.ProposeErasureRequest(person_id=person_id, request_id=new_id())
    )
    return created


def confirm(client: Client, person_id: str) -> erasures_pb2.Erasure:
    created: erasures_pb2.Erasure = client.ConfirmErasure(
        erasures_pb2.ConfirmErasureRequest(person_id=person_id, request_id=new_id())
    )
    return created


def get_erasure(client: Client, person_id: str) -> erasures_pb2.Erasure:
    erasure: erasures_pb2.Erasure = client.GetErasure(
        erasures_pb2.GetErasureRequest(person_id=person_id)
    )
    return erasure


def proposed_erasures(client: Client) -> list[str]:
    return [
        erasure.person_id
        for erasure in client.ListErasures(erasures_pb2.ListErasuresRequest()).erasures
    ]


def open_identity(client: Client, person_id: str) -> people_pb2.Identity:
    groups = [people_pb2.FIELD_GROUP_IDENTITY, people_pb2.FIELD_GROUP_CONTACT]
    created: people_pb2.Identity = client.OpenPerson(
        people_pb2.OpenPersonRequest(id=person_id, purpose_code="HOU.EMG", field_groups=groups)
    )
    return created


def person_with_data(story: Story) -> tuple[pb.Referral, str]:
    """Makes a person with every kind of data; returns the referral and the contact's id.

    She has a live referral with a note, a draft, and a contact of the line with a note and a
    reference.
    """
    contact = story.contact()
    operator = story.service.as_("hotline", "OPERATOR")
    change = contacts_pb2.Contact(id=contact.contact.id, etag=contact.contact.etag, note=WORDS[3])
    operator.UpdateContact(
        contacts_pb2.UpdateContactRequest(contact=change, update_mask=FieldMask(paths=["note"]))
    )
    accepted = story.accepted()
    story.ngo.AddNote(
        pb.AddNoteRequest(
            id=accepted.id, etag=accepted.etag, note=WORDS[2], request_id=story.request_id()
        )
    )
    story.draft(people_pb2.Person(id=accepted.person_id))
    with story.service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE referrals SET contact_id = %s, assault_time = now() WHERE id = %s",
            (contact.contact.id, accepted.id),
        )
    return accepted, contact.contact.id


def erase(story: Story, other: Client, person_id: str) -> erasures_pb2.Erasure:
    propose(story.ngo, person_id)
    return confirm(other, person_id)


def rows(service: Service, statement: str, *values: object) -> list[dict[str, Any]]:
    with service.database.transaction(SYSTEM) as tx:
        return tx.execute(statement.encode(), values).fetchall()


def test_an_erasure_takes_effect_only_when_a_second_person_confirms_it(
    story: Story, other: Client
) -> None:
    person = story.person()
    proposed = propose(story.ngo, person.id)
    assert (proposed.proposed_by_worker_id, proposed.HasField("erase_time")) == (
        story.ngo.caller.id,
        False,
    )
    assert proposed.confirm_until_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=7)
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
    assert refusal(lambda: confirm(story.ngo, person.id)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    erasure = confirm(other, person.id)
    assert (erasure.proposed_by_worker_id, erasure.confirmed_by_worker_id) == (
        story.ngo.caller.id,
        other.caller.id,
    )
    assert (
        erasure.erase_time.ToDatetime(tzinfo=UTC),
        erasure.destroyed.sealed_parts,
        erasure.destroyed.name_marks,
    ) == (NOON, 2, 1)
    assert refusal(lambda: open_identity(story.ngo, person.id)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )
    assert get_erasure(story.ngo, person.id) == erasure
    assert refusal(lambda: confirm(other, person.id)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    assert refusal(lambda: propose(story.ngo, person.id)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )


def test_only_a_recent_proposal_of_an_erasure_can_be_confirmed(
    story: Story, service: Service, other: Client
) -> None:
    person = story.person()
    assert refusal(lambda: confirm(other, person.id)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    propose(story.ngo, person.id)
    assert person.id in proposed_erasures(other)
    assert person.id not in proposed_erasures(story.shelter)
    service.clock.advance(timedelta(days=7))
    assert refusal(lambda: confirm(other, person.id)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    assert person.id not in proposed_erasures(other)
    assert not get_erasure(story.ngo, person.id).HasField("confirm_until_time")
    propose(other, person.id)
    assert refusal(lambda: confirm(other, person.id)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    ), "the latest proposal counts"
    assert confirm(story.ngo, person.id).HasField("erase_time")


def test_another_organisation_can_neither_take_part_in_an_erasure_nor_see_it(
    story: Story, service: Service, other: Client
) -> None:
    referral = story.accepted()  # the shelter sees the file of an accepted referral
    not_found = ("NOT_FOUND", "not_found")
    assert refusal(lambda: propose(story.shelter, referral.person_id)) == not_found
    propose(story.ngo, referral.person_id)
    assert refusal(lambda: confirm(story.shelter, referral.person_id)) == not_found
    assert refusal(lambda: get_erasure(story.shelter, referral.person_id)) == not_found
    assert refusal(lambda: get_erasure(story.ngo, story.person().id)) == not_found, (
        "nobody has proposed this erasure"
    )
    key = service.as_("ngo", scopes=("people.read", "people.write", "people.open"))
    assert refusal(lambda: propose(key, referral.person_id)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    assert refusal(lambda: confirm(key, referral.person_id)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    confirm(other, referral.person_id)
    assert refusal(lambda: get_erasure(story.shelter, referral.person_id)) == not_found


def test_an_erasure_ends_live_referrals_and_asks_their_receivers_to_delete_their_data(
    story: Story, other: Client
) -> None:
    referral, _ = person_with_data(story)
    erasure = erase(story, other, referral.person_id)
    assert (erasure.destroyed.referrals, erasure.destroyed.receipts, erasure.destroyed.notes) == (
        1,
        1,
        2,
    )
    ended = story.shelter.GetReferral(pb.GetReferralRequest(id=referral.id))
    assert (ended.state, ended.main_step) == (pb.STATE_CONSENT_WITHDRAWN, "confirm_deletion")
    assert (ended.person.age_band, ended.person.department, ended.HasField("assault_time")) == (
        0,
        "",
        False,
    )
    [receipt] = story.ngo.ListReceipts(
        people_pb2.ListReceiptsRequest(person_id=referral.person_id)
    ).receipts
    assert (receipt.genuine, receipt.HasField("withdraw_time")) == (True, True)
    with_note = pb.ConfirmDeletionRequest(
        id=ended.id, etag=ended.etag, note="burnt", request_id=story.request_id()
    )
    assert refusal(lambda: story.shelter.ConfirmDeletion(with_note)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    ), "nothing more can be written about her"
    confirmed = story.shelter.ConfirmDeletion(
        pb.ConfirmDeletionRequest(id=ended.id, etag=ended.etag, request_id=story.request_id())
    )
    in_error = pb.EnterReferralInErrorRequest(
        id=confirmed.id, etag=confirmed.etag, note="why", request_id=story.request_id()
    )
    assert refusal(lambda: story.ngo.EnterReferralInError(in_error)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )
    states = [
        row["state"]
        for row in rows(
            story.service,
            "SELECT state FROM referrals WHERE person_id = %s ORDER BY state",
            referral.person_id,
        )
    ]
    assert states == ["consent_withdrawn"] * 2, "and the draft is ended"


def test_no_contact_is_linked_to_an_erased_file_and_an_erased_contact_gets_no_file(
    story: Story, other: Client
) -> None:
    operator, manager = (story.service.as_("hotline", role) for role in ("OPERATOR", "MANAGER"))
    request = people_pb2.CreatePersonRequest(contact_id=story.contact().contact.id)
    person = operator.CreatePerson(request)
    operator.ProposeErasure(erasures_pb2.ProposeErasureRequest(person_id=person.id))
    manager.ConfirmErasure(erasures_pb2.ConfirmErasureRequest(person_id=person.id))
    contact = story.contact().contact
    linked = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(id=contact.id, etag=contact.etag, person_id=person.id),
        update_mask=FieldMask(paths=["person_id"]),
    )
    erased = ("FAILED_PRECONDITION", "person_erased")
    assert refusal(lambda: operator.UpdateContact(linked)) == erased
    assert refusal(lambda: operator.CreatePerson(request)) == erased


def test_an_erasure_closes_an_open_need(story: Story, other: Client) -> None:
    sent = story.sent()
    declining = pb.DeclineReferralRequest(
        id=sent.id,
        etag=sent.etag,
        reason_code=pb.DECLINE_REASON_NO_CAPACITY,
        request_id=story.request_id(),
    )
    story.shelter.DeclineReferral(declining)
    erase(story, other, sent.person_id)
    after = story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id))
    assert (after.state, after.need_close_reason_code, after.HasField("next_due_time")) == (
        pb.STATE_DECLINED,
        pb.NEED_CLOSE_REASON_PERSON_DECLINED,
        False,
    )


def test_after_an_erasure_no_stored_data_of_the_person_can_be_opened(
    story: Story, service: Service, other: Client
) -> None:
    referral, contact_id = person_with_data(story)
    erase(story, other, referral.person_id)
    person_id = referral.person_id
    assert rows(service, "SELECT wrapped FROM person_keys WHERE person_id = %s", person_id) == [
        {"wrapped": None}
    ]
    for table, column in (
        ("person_sealed", "person_id"),
        ("person_names", "person_id"),
        ("plans", "person_id"),
    ):
        assert rows(service, f"SELECT * FROM {table} WHERE {column} = %s", person_id) == [], table
    assert rows(
        service,
        "SELECT note_sealed, assault_time, department FROM contacts WHERE id = %s",
        contact_id,
    ) == [{"note_sealed": None, "assault_time": None, "department": ""}]
    assert rows(service, "SELECT * FROM contact_references WHERE contact_id = %s", contact_id) == []
    notes = rows(
        service,
        "SELECT note_sealed FROM referral_events WHERE referral_id = %s"
        " AND note_sealed IS NOT NULL",
        referral.id,
    )
    keyring = Keyring(key_folder.secret(service.keys, "sealing.referrals"))
    for note in notes:  # the history can't be changed, but its content can no longer be read
        with pytest.raises(CannotOpen):
            keyring.open_bytes(bytes(note["note_sealed"]), f"referral_events/{referral.id}/2")
    [person] = rows(service, "SELECT * FROM people WHERE id = %s", person_id)
    assert {name for name, value in person.items() if value in ("", None, False)} >= {
        "age_band", "gender_code", "language", "dependants", (
            "trafficking_status_code"
        ), "safe_contact_channel", "has_identity"
    }  # fmt: skip
    answer = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person_id))
    assert (answer.erased, answer.coarse, answer.exploitation_country) == (
        True,
        pb.CoarsePerson(),
        "",
    )


def test_an_access_during_an_erasure_is_refused_rather_than_answered_with_nothing(
    story: Story, other: Client, service: Service
) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    person = story.person()
    granted = Grant(person.id, frozenset(FieldGroup))
    erase(story, other, person.id)
    with service.database.transaction(SYSTEM) as tx, pytest.raises(Conflict, match="person_erased"):
        files.identity(tx, granted)


def test_an_erasure_is_published_with_ids_only_and_recorded_for_both_workers(
    story: Story, service: Service, other: Client
) -> None:
    person = story.person()
    erasure = erase(story, other, person.id)
    facts = rows(
        service,
        "SELECT version, type, payload FROM outbox WHERE subject = %s ORDER BY version",
        erasure.id,
    )
    assert [(row["version"], row["type"]) for row in facts] == [
        (1, "enlace.erasure.proposed.v1"),
        (2, "enlace.erasure.done.v1"),
    ]
    body = facts_pb2.ErasureFact.FromString(facts[1]["payload"])
    assert (body.person_id, body.organization_id, body.confirmed_by_worker_id) == (
        person.id,
        ORG["ngo"],
        other.caller.id,
    )
    trail = rows(
        service,
        "SELECT actor_id, action FROM audit WHERE object_id = %s AND action LIKE '%%erasure'"
        " ORDER BY sequence",
        person.id,
    )
    assert [(row["actor_id"], row["action"]) for row in trail] == [
        (story.ngo.caller.id, "propose_erasure"), (other.caller.id, "confirm_erasure")
    ]  # fmt: skip


def test_an_erasure_does_not_change_the_figures(
    story: Story, service: Service, other: Client
) -> None:
    referral, _ = person_with_data(story)
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE people SET exploitation_country = 'SV' WHERE id = %s", (referral.person_id,)
        )

    def counted() -> list[dict[str, Any]]:
        return rows(
            service,
            "SELECT p.country, p.department, p.exploitation_country, r.need_code, r.country AS"
            " where FROM people p"
            " JOIN referrals r ON r.person_id = p.id WHERE p.id = %s ORDER BY r.id",
            referral.person_id,
        )

    before = counted()
    erase(story, other, referral.person_id)
    assert counted() == before != []


def test_neither_draft_nor_receipt_can_be_made_for_an_erased_person(
    story: Story, other: Client
) -> None:
    person = story.person()
    erase(story, other, person.id)
    assert refusal(lambda: story.draft(person)) == ("FAILED_PRECONDITION", "person_erased")
    assert refusal(lambda: story.receipt(person.id)) == ("FAILED_PRECONDITION", "person_erased")


# Outside the database


@dataclass
class Memories:
    """The places outside the database that remember erasures.

    They are a topic, two witnesses with a database each, and a file in the folder of the keys.
    """

    service: Service
    watch: Broker
    places: dict[str, parts.Database]
    databases: dict[str, Database]
    folder: Path
    patch: pytest.MonkeyPatch

    def start(self, read_again: float = NEVER) -> Erasures:
        """Returns the loop of the referrals service, as after a start of its process."""
        signer, trusted = (
            Signer(key_folder.signing(self.service.keys, "facts.referrals")),
            key_folder.trusted_signers(self.service.keys),
        )
        return Erasures(
            self.service.made.erasing,
            self.service.database,
            self.watch,
            signer,
            trusted,
            self.service.clock,
            self.folder,
            read_again=read_again,
        )

    def witness(self, name: str) -> Witness:
        """Returns a witness, as after a start of its process."""
        signer, trusted = (
            Signer(key_folder.signing(self.service.keys, f"facts.{name}")),
            key_folder.trusted_signers(self.service.keys),
        )
        return Witness(
            name,
            erasures.TOPIC,
            "referrals",
            ERASED,
            self.databases[name],
            self.watch,
            signer,
            trusted,
            self.service.clock,
        )

    def lose_the_broker(self) -> None:
        """Empties the topic, as if the broker were new."""
        lost, topic = erasures.TOPIC, f"enlace.tests-{new_id()[:8]}.v1"
        admin = KafkaAdminClient(bootstrap_servers=self.watch.settings.kafka_bootstrap_servers)
        create_topics(admin, self.watch.settings, [topic])
        admin.close()
        self.patch.setattr(erasures, "TOPIC", topic)
        for place in self.places.values():
            with psycopg.connect(place.migration_url) as owner:
                owner.execute("UPDATE kept_records SET topic = %s WHERE topic = %s", (topic, lost))

    def catch_up(self, loop: Erasures, *witnesses: str) -> int:
        """Runs loop and witnesses until the loop has received the answers of the witnesses.

        Returns the number of files that were erased again.
        """
        again = loop.turn()
        for name in witnesses or self.places:
            self.witness(name).turn()
        return again + loop.turn() + loop.turn()


@pytest.fixture
def memories(
    broker: brokers.Broker,
    service: Service,
    postgres: parts.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Memories]:
    settings = ServiceSettings(
        "", "", broker.bootstrap, "PLAINTEXT", "", "", "", 1, "", "", service.keys, False, True, 4
    )
    watch = Broker(settings, [])
    watch.start()
    assert watch.wait(30)
    key_folder.create(service.keys, sorted(erasures.WITNESSES))
    places = {name: postgres.database("tests", [CHASSIS]) for name in sorted(erasures.WITNESSES)}
    databases = {name: Database(place.url, max_size=2) for name, place in places.items()}
    for database in databases.values():
        database.open()
    (tmp_path / "keys").mkdir()
    created = Memories(service, watch, places, databases, tmp_path / "keys", monkeypatch)
    created.lose_the_broker()  # a topic of this test alone
    yield created
    for database in databases.values():
        database.close()
    watch.stop()
    watch.join(10)


def back_up(postgres: parts.Server, service: Service, copy: Path) -> None:
    run(
        postgres,
        "pg_dump",
        "--format=custom",
        "--exclude-extension=*",
        f"--file={copy}",
        service.migration_url,
    )


def restore(postgres: parts.Server, service: Service, copy: Path) -> None:
    """Restores a backup as docs/operations.md describes."""
    run(
        postgres,
        "pg_restore",
        "--clean",
        "--if-exists",
        "--no-owner",
        f"--dbname={service.migration_url}",
        str(copy),
    )
    migrate(service.migration_url, MIGRATIONS)


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_loop_publishes_each_erasure_even_if_its_announcement_is_lost(
    story: Story,
    other: Client,
    memories: Memories,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
    read_again: float,
) -> None:
    if not announced:
        monkeypatch.setattr(erasures_store, "announce", lambda *_: None)
    people = [story.person().id for _ in range(3)]
    with running(memories.start(read_again).loop()):
        for person_id in people:
            erase(story, other, person_id)
            assert eventually(lambda: get_erasure(story.ngo, person_id).HasField("witness_time"))  # noqa: B023


def test_a_database_restored_while_the_loop_runs_is_reopened(
    story: Story,
    service: Service,
    other: Client,
    memories: Memories,
    postgres: parts.Server,
    tmp_path: Path,
) -> None:
    person_id, copy = story.person().id, tmp_path / "copy"
    witnesses = [memories.witness(name).loop() for name in memories.places]
    with running(memories.start(OFTEN).loop(), *witnesses):
        back_up(postgres, service, copy)
        erase(story, other, person_id)
        assert eventually(lambda: get_erasure(story.ngo, person_id).HasField("witness_time"))
        restore(postgres, service, copy)

        def is_open() -> bool:
            with service.database.transaction(SYSTEM) as tx:
                return erasures_store.is_caught_up(tx)

        assert not is_open()
        assert eventually(is_open, 60)
    assert rows(service, "SELECT wrapped FROM person_keys WHERE person_id = %s", person_id) == [
        {"wrapped": None}
    ]


def test_a_backup_from_before_an_erasure_does_not_bring_the_person_back(
    story: Story,
    service: Service,
    other: Client,
    memories: Memories,
    postgres: parts.Server,
    tmp_path: Path,
) -> None:
    loop = memories.start()
    loop.turn()
    referral, contact_id = person_with_data(story)
    her, somebody = referral.person_id, story.person(given_name="Abril").id
    propose(story.ngo, her)
    copy = tmp_path / "copy"
    back_up(postgres, service, copy)
    # a person who is not in the backup
    erasure, late = confirm(other, her), story.person(given_name="Noelia").id
    erase(story, other, late)
    loop.turn()  # publishes the erasure
    assert not get_erasure(story.ngo, her).HasField("witness_time")
    assert loop.turn() == 0  # reads the erasure back
    assert get_erasure(story.ngo, her).HasField("witness_time")

    restore(postgres, service, copy)
    assert rows(
        service, "SELECT wrapped IS NULL AS gone FROM person_keys WHERE person_id = %s", her
    ) == [{"gone": False}], "the restored backup holds her data again"
    for person in (her, somebody):
        assert refusal(partial(open_identity, story.ngo, person)) == (
            "UNAVAILABLE",
            "store_unavailable",
        ), "until it is known who has been erased"
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE people SET names_form = 0 WHERE organization_id = %s", (ORG["ngo"],))
    with pytest.raises(Unavailable):
        service.made.names.note()  # while no person is put aside
    assert memories.catch_up(memories.start()) == 1
    assert service.made.names.note() > 0
    assert somebody in [
        person.id
        for person in story.ngo.SearchPeople(people_pb2.SearchPeopleRequest(name="Abril")).people
    ]
    assert refusal(lambda: open_identity(story.ngo, her)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )
    assert open_identity(story.ngo, somebody).given_name == "Abril", (
        "and everybody else can be opened"
    )
    again = get_erasure(story.ngo, her)
    assert (again.id, again.erase_time, again.confirmed_by_worker_id) == (
        erasure.id,
        erasure.erase_time,
        other.caller.id,
    )
    assert get_erasure(story.ngo, late).HasField("erase_time"), (
        "the proof exists even for a file that is not in the backup"
    )
    assert (
        story.ngo.GetReferral(pb.GetReferralRequest(id=referral.id)).state
        == pb.STATE_CONSENT_WITHDRAWN
    )
    assert rows(service, "SELECT note_sealed FROM contacts WHERE id = %s", contact_id) == [
        {"note_sealed": None}
    ]
    assert memories.start().turn() == 0


@pytest.mark.parametrize("memory", ["topic", "partners", "notifications", "file"])
def test_each_memory_alone_keeps_an_erased_person_erased_after_a_restore(
    memory: str,
    story: Story,
    service: Service,
    other: Client,
    memories: Memories,
    postgres: parts.Server,
    tmp_path: Path,
) -> None:
    person_id, other_id = story.person().id, story.person(given_name="Abril").id
    memories.start().turn()
    back_up(postgres, service, tmp_path / "copy")
    erase(story, other, person_id)
    memories.start().turn()
    for name in memories.places:
        memories.witness(name).turn()

    restore(postgres, service, tmp_path / "copy")
    if memory != "topic":
        memories.lose_the_broker()
    if memory != "file":
        (memories.folder / erasures.FILE).unlink()
    for name in memories.places.keys() - {memory}:
        with psycopg.connect(memories.places[name].migration_url) as owner:
            owner.execute("TRUNCATE kept_records")
    assert memories.catch_up(memories.start()) == 1
    assert refusal(lambda: open_identity(story.ngo, person_id)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )
    assert open_identity(story.ngo, other_id).given_name == "Abril"


def test_a_restored_database_stays_closed_until_every_witness_has_answered(
    story: Story, service: Service, memories: Memories, postgres: parts.Server, tmp_path: Path
) -> None:
    person_id = story.person().id
    loop = memories.start()
    loop.turn()
    assert open_identity(story.ngo, person_id).given_name == "Ximena", (
        "a database that was never restored waits for nobody"
    )
    back_up(postgres, service, tmp_path / "copy")
    restore(postgres, service, tmp_path / "copy")
    # neither an empty topic nor a single witness proves that nobody was erased
    assert memories.catch_up(loop, "partners") == 0
    assert refusal(lambda: open_identity(story.ngo, person_id)) == (
        "UNAVAILABLE",
        "store_unavailable",
    )
    assert metrics.ERASURES_AWAITED._value.get() == 1
    memories.witness("notifications").turn()
    loop.turn()
    loop.turn()
    assert open_identity(story.ngo, person_id).given_name == "Ximena"
    assert metrics.ERASURES_AWAITED._value.get() == 0


def test_a_restored_database_stays_closed_while_a_witness_has_records_that_it_cannot_read(
    story: Story,
    service: Service,
    other: Client,
    memories: Memories,
    postgres: parts.Server,
    tmp_path: Path,
) -> None:
    person_id = story.person().id
    memories.start().turn()
    back_up(postgres, service, tmp_path / "copy")
    erase(story, other, person_id)
    memories.start().turn()
    for name in memories.places:
        memories.witness(name).turn()
    for place in memories.places.values():  # as if another key had signed the record
        with psycopg.connect(place.migration_url) as owner:
            owner.execute(
                "UPDATE kept_records SET record = replace(record, 'ce_time', 'ce_timing')"
            )
    (memories.folder / erasures.FILE).unlink()
    memories.lose_the_broker()
    restore(postgres, service, tmp_path / "copy")
    assert memories.catch_up(memories.start()) == 0
    assert refusal(lambda: open_identity(story.ngo, person_id)) == (
        "UNAVAILABLE",
        "store_unavailable",
    )


def test_an_erasure_is_in_the_file_without_the_broker_and_one_cut_line_damages_no_other(
    story: Story, service: Service, other: Client, memories: Memories
) -> None:
    first, second = story.person().id, story.person(given_name="Abril").id
    file = memories.folder / erasures.FILE
    erase(story, other, first)
    memories.start().remember()
    file.write_bytes(file.read_bytes().rstrip()[:-9])  # truncates the file, as a full disk might
    memories.start().remember()
    erase(story, other, second)
    memories.start().remember()
    lines = [line for line in file.read_bytes().splitlines() if line.endswith(b"]]]")]
    people = [
        facts_pb2.ErasureFact.FromString(records.unpack(line)[1] or b"").person_id for line in lines
    ]
    everybody = {
        row["person_id"]
        for row in rows(service, "SELECT person_id FROM erasures WHERE erase_time IS NOT NULL")
    }
    assert sorted(people) == sorted(everybody)
    assert {first, second} <= everybody
    assert file.stat().st_mode & 0o077 == 0, "only its owner may read the file"


def test_erasures_are_published_again_to_a_new_broker(
    story: Story, service: Service, other: Client, memories: Memories
) -> None:
    person = story.person()
    erase(story, other, person.id)
    loop = memories.start()
    loop.turn()
    memories.lose_the_broker()
    loop._cluster = "another"  # the cluster id of a new broker
    loop.turn()
    assert loop.turn() == 0
    assert get_erasure(story.ngo, person.id).HasField("witness_time")


def test_a_fact_from_another_signer_erases_nobody(
    story: Story, service: Service, memories: Memories
) -> None:
    person = story.person()
    body = facts_pb2.ErasureFact(
        erasure_id=new_id(), person_id=person.id, organization_id=ORG["ngo"]
    )
    body.propose_time.FromDatetime(NOON)
    body.erase_time.FromDatetime(NOON)
    fact = Fact(body.erasure_id, 2, "enlace.erasure.done.v1", body.SerializeToString(), NOON)
    producer = Producer(memories.watch.settings)
    key_folder.create(service.keys, ["stranger"])
    for source, signer in (
        ("referrals", "stranger"),
        ("stranger", "stranger"),
        ("partners", "partners"),
        ("referrals", "partners"),
    ):
        record = pack(
            fact, f"enlace/{source}", Signer(key_folder.signing(service.keys, f"facts.{signer}"))
        )
        producer.send_all(erasures.TOPIC, [record])
    # a fact about one person, copied here from another topic
    proposal = replace(fact, type="enlace.erasure.proposed.v1")
    producer.send_all(
        erasures.TOPIC,
        [
            pack(
                proposal,
                "enlace/referrals",
                Signer(key_folder.signing(service.keys, "facts.referrals")),
            )
        ],
    )
    producer.discard()
    assert memories.catch_up(memories.start()) == 0
    assert memories.witness("partners").turn() == 0
    with memories.databases["partners"].transaction(SYSTEM) as tx:
        assert (
            tx.execute("SELECT FROM kept_records WHERE subject = %s", (body.erasure_id,)).fetchall()
            == []
        )
    assert open_identity(story.ngo, person.id).given_name == "Ximena"


def test_no_word_of_an_erased_person_is_left_in_the_whole_database(
    story: Story, service: Service, other: Client
) -> None:
    referral, _ = person_with_data(story)
    erase(story, other, referral.person_id)
    with service.database.transaction(SYSTEM) as tx:
        database_text = dump(tx)
    assert [
        (table, word)
        for table, text in database_text.items()
        for word in WORDS
        if word.encode() in text
    ] == []


def run(postgres: parts.Server, program: str, *words: str) -> None:
    process = subprocess.run(
        [str(postgres.programs / program), *words],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert process.returncode == 0, process.stderr


def test_c16_proposed_erasures_are_listed_in_pages(story: Story, other: Client) -> None:
    people = {story.person().id for _ in range(3)}
    for person in people:
        propose(story.ngo, person)
    ids, token = list[str](), ""
    while True:
        page = other.ListErasures(erasures_pb2.ListErasuresRequest(page_size=2, page_token=token))
        ids += [erasure.person_id for erasure in page.erasures]
        token = page.next_page_token
        if not token:
            break
        assert len(page.erasures) == 2
    assert people <= set(ids)
    assert len(ids) == len(set(ids))

"""The list of the stored data of a person.

No table is missing from the list, and erasure and withdrawal follow it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import psycopg
import pytest

from chassis.db import Transaction
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.files.store.person_ids import PersonIds, ids_of
from services.referrals.people.store import person_rows
from services.referrals.people.store.person_rows import PARTS
from tests.builders import NOTHING_UNSAFE, refusal
from tests.parts.postgres import Server as Postgres
from tests.referrals.conftest import SERVICE, Client, Service, Story
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_contacts import status
from tests.referrals.test_enquiries import CONTENT

LINKS = {"person_id", "contact_id", "enquiry_id", "referral_id", "plan_id", "receipt_id"}
"""The columns that tie a row to a person."""
CANCELLED = ("FAILED_PRECONDITION", "enquiry_cancelled")
ERASED = ("FAILED_PRECONDITION", "person_erased")


def columns(owner: psycopg.Connection[Any]) -> dict[str, set[str]]:
    """Returns the columns of each table."""
    rows = owner.execute(
        "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
        " WHERE table_schema = 'public' GROUP BY 1"
    ).fetchall()
    return {table: set(names) for table, names in rows}


def missing_tables(owner: psycopg.Connection[Any]) -> set[str]:
    """Returns the tables that refer to a person but are not on the list.

    A table refers to a person by the name of a column or by a foreign key.
    """
    listed_tables = {part.table for part in PARTS}
    keys = owner.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f'"
    ).fetchall()
    tied_tables = {table for table, names in columns(owner).items() if names & LINKS} | {
        table for table, referenced_table in keys if referenced_table in listed_tables
    }
    return tied_tables - listed_tables


def test_every_table_and_column_with_a_persons_data_is_on_the_list(postgres: Postgres) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    with psycopg.connect(place.migration_url) as owner:
        existing = columns(owner)
        assert missing_tables(owner) == set()
        for table in {part.table for part in PARTS}:
            parts = [part for part in PARTS if part.table == table]
            column_names = {
                name
                for part in parts
                for name in (*part.kept_columns.split(), *(part.erased_values or {}))
            }
            assert column_names == existing[table] or any(
                part.erased_values is None for part in parts
            ), table


@pytest.mark.parametrize(
    "column",
    [
        "person_id text",
        "contact_id text",
        "of_whom text REFERENCES people (id)",
        "call text REFERENCES contacts (id)",
    ],
)
def test_a_new_table_about_a_person_that_is_not_on_the_list_is_detected(
    postgres: Postgres, column: str
) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    with psycopg.connect(place.migration_url) as owner:
        owner.execute(f"CREATE TABLE diaries (id text, {column})".encode())
        assert missing_tables(owner) == {"diaries"}


@dataclass
class CallerWithData:
    """A caller of the line with every kind of data.

    She has a file, an owed call, a referral, and two enquiries: one is open, one has a taken
    offer.
    """

    operator: Client
    manager: Client
    created: contacts_pb2.CreateContactResponse
    contact: contacts_pb2.Contact
    person: people_pb2.Person
    open_enquiry: e.Enquiry
    taken_enquiry: e.Enquiry

    def read_contact(self) -> contacts_pb2.Contact:
        return cast(contacts_pb2.Contact, self.operator.GetContact(id=self.contact.id))

    def erase(self) -> None:
        self.operator.ProposeErasure(person_id=self.person.id)
        self.manager.ConfirmErasure(person_id=self.person.id)


@pytest.fixture
def caller(story: Story, service: Service) -> CallerWithData:
    operator = service.as_("hotline", "OPERATOR", "WORKER")
    created = story.contact(wants_protection=contacts_pb2.ANSWER_NO)
    person = operator.CreatePerson(
        identity=people_pb2.Identity(given_name="Ximena", phone="+50581234567"),
        coarse=pb.CoarsePerson(
            age_band=pb.AGE_BAND_18_TO_24, language="es", country="NI", department="NI-CI"
        ),
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
    )
    contact = update_contact(
        operator,
        created.contact,
        person_id=person.id,
        need_code="HOU.EMG",
        language="es",
        department="NI-CI",
        note="she said",
    )
    draft_for(story, operator, person.id, contact.id)
    create_callback(operator, contact.id)
    open_enquiry, matched_enquiry = (
        create_enquiry(operator, contact_id=contact.id, keep_unused=True) for _ in range(2)
    )
    answer_yes(story.shelter, matched_enquiry.id, "v1")
    taken_enquiry = take_offer(operator, matched_enquiry.id)
    manager = service.as_("hotline", "MANAGER")
    return CallerWithData(operator, manager, created, contact, person, open_enquiry, taken_enquiry)


def draft_for(story: Story, operator: Client, person_id: str, contact_id: str = "") -> pb.Referral:
    """Drafts a referral of a person, for a contact if there is one."""
    draft: pb.Referral = operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=person_id,
        need_code="HOU.EMG",
        contact_id=contact_id,
        request_id=story.request_id(),
    )
    return draft


def create_callback(operator: Client, contact_id: str) -> None:
    operator.CreateCallback(
        callback=contacts_pb2.Callback(
            contact_id=contact_id,
            day_code=contacts_pb2.DAY_BAND_TOMORROW,
            hour_code=contacts_pb2.HOUR_BAND_MORNING,
        )
    )


def create_enquiry(operator: Client, **values: Any) -> e.Enquiry:
    enquiry: e.Enquiry = operator.CreateEnquiry(
        **NOTHING_UNSAFE, content=CONTENT, service_ids=[SERVICE["shelter_bed"]], **values
    )
    return enquiry


def answer_yes(receiver: Client, enquiry_id: str, etag: str) -> None:
    receiver.AnswerEnquiry(
        id=enquiry_id,
        etag=etag,
        service_id=SERVICE["shelter_bed"],
        answer=e.OFFER_ANSWER_YES,
    )


def take_offer(operator: Client, enquiry_id: str) -> e.Enquiry:
    taken: e.Enquiry = operator.TakeOffer(
        id=enquiry_id, service_id=SERVICE["shelter_bed"], answer=e.OFFER_ANSWER_YES
    )
    return taken


def live_tables(tx: Transaction, ids: PersonIds) -> list[str]:
    """Returns the tables of the list that have live rows about a person."""
    return [
        part.table
        for part in PARTS
        if part.live_condition
        and tx.execute(
            f"SELECT FROM {part.table} WHERE ({part.condition}) AND {part.live_condition}",
            vars(ids),
        ).fetchall()
    ]


def rows_left(tx: Transaction, ids: PersonIds, part: person_rows.Part) -> list[dict[str, Any]]:
    """Returns the rows of this part that an erasure has to change or delete."""
    if part.erased_values is None:
        condition = "true"
    else:
        condition = " OR ".join(
            f"{name} IS DISTINCT FROM {value}" for name, value in part.erased_values.items()
        )
    return tx.execute(
        f"SELECT * FROM {part.table} WHERE ({part.condition}) AND ({condition or 'false'})",
        vars(ids),
    ).fetchall()


def test_an_erasure_removes_everything_that_the_list_names(
    service: Service, caller: CallerWithData
) -> None:
    ids = service.in_transaction(ids_of, caller.person.id)
    with service.database.transaction(SYSTEM) as tx:
        tables = {part.table for part in PARTS if rows_left(tx, ids, part)}
    assert tables >= {
        "contacts",
        "enquiries",
        "enquiry_offers",
        "people",
        "person_keys",
        "person_sealed",
        "person_names",
        "referrals",
    }
    caller.erase()
    with service.database.transaction(SYSTEM) as tx:
        assert {part.table: rows for part in PARTS if (rows := rows_left(tx, ids, part))} == {}
        assert live_tables(tx, ids) == []
    contact = caller.read_contact()
    assert (contact.person_id, contact.need_code, contact.triage, contact.note) == (
        "",
        "",
        contacts_pb2.Triage(),
        "",
    )
    assert contact.outcome_code == contacts_pb2.CONTACT_OUTCOME_DROPPED, (
        "nobody has to follow the contact up"
    )


def test_enquiries_of_an_erased_contact_are_closed_and_can_neither_be_answered_nor_taken(
    story: Story, caller: CallerWithData
) -> None:
    caller.erase()
    for enquiry_id in (caller.open_enquiry.id, caller.taken_enquiry.id):
        stored = caller.operator.GetEnquiry(id=enquiry_id)
        assert (stored.state, stored.contact_id, stored.person_id, stored.taken_service_id) == (
            e.ENQUIRY_STATE_CANCELLED,
            "",
            "",
            "",
        )
        assert (
            stored.content.age_band,
            list(stored.content.languages),
            stored.content.department,
            stored.content.HasField("dependants"),
        ) == (0, [], "", False)
        copy = story.shelter.GetEnquiry(id=enquiry_id)
        assert copy.content == e.EnquiryContent()
        for attempt in (
            partial(answer_yes, story.shelter, enquiry_id, copy.etag),
            partial(take_offer, caller.operator, enquiry_id),
        ):
            assert refusal(attempt) == CANCELLED


def test_nothing_can_be_written_about_an_erased_contact(
    story: Story, caller: CallerWithData
) -> None:
    caller.erase()
    contact, operator = caller.read_contact(), caller.operator
    another = operator.CreatePerson()
    draft = draft_for(story, operator, another.id)
    for attempt in (
        partial(update_contact, operator, contact, need_code="MED.CHK"),
        partial(create_enquiry, operator, contact_id=contact.id),
        partial(create_enquiry, operator, person_id=caller.person.id),
        partial(create_callback, operator, contact.id),
        partial(draft_for, story, operator, another.id, contact.id),
        partial(
            operator.UpdateReferral,
            referral=pb.Referral(id=draft.id, etag=draft.etag, contact_id=contact.id),
            update_mask={"paths": ["contact_id"]},
        ),
    ):
        assert refusal(attempt) == ERASED


def test_erasing_one_person_of_a_contact_keeps_the_data_of_the_other(
    story: Story, service: Service, caller: CallerWithData
) -> None:
    sister = caller.operator.CreatePerson()
    draft_for(story, caller.operator, sister.id, caller.contact.id)
    caller.erase()
    contact = caller.read_contact()
    assert (contact.person_id, contact.need_code, contact.note) == ("", "HOU.EMG", "")
    assert contact.triage.wants_protection == contacts_pb2.ANSWER_NO
    assert len(status(service.public(), caller.created).items) == 1


def test_a_withdrawal_ends_everything_that_the_list_names_as_live(
    service: Service, caller: CallerWithData
) -> None:
    ids = service.in_transaction(ids_of, caller.person.id)
    assert {"enquiries", "callbacks"} <= set(service.in_transaction(live_tables, ids))
    assert status(service.public(), caller.created).organizations_asked == 1, (
        "she sees how many organisations know of her"
    )
    service.public().WithdrawConsentByReference(**credentials(caller.created))
    assert service.in_transaction(live_tables, ids) == []

"""A person's identity, which is stored sealed and opened for a purpose; each access is recorded."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import CannotOpen, Keyring
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.people import People as Files
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.parts.loops import eventually
from tests.referrals.conftest import LONG, ORG, Client, Service, Story, history, read
from tests.referrals.test_withdrawal import waiting

G = people_pb2
IDENTITY, CONTACT, HEALTH = G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_CONTACT, G.FIELD_GROUP_HEALTH
ALL_GROUPS = [number for number in G.FieldGroup.values() if number]
MARKED = {
    "given_name": "Quetzalli",
    "family_name": "Mondragonez",
    "phone": "+50587654321",
    "address": "Barrio Tlatelolco 7",
    "health_note": "xocoyote-health",
    "exploitation_note": "xocoyote-exploitation",
    "family_note": "xocoyote-family",
    "document_number": "888-010101-0008Z",
}


def opening(
    person_id: str, *groups: Any, purpose: str = "HOU", referral_id: str = ""
) -> people_pb2.OpenPersonRequest:
    """Returns the request to open field groups of a person, or her identity if none is given."""
    return people_pb2.OpenPersonRequest(
        id=person_id,
        purpose_code=purpose,
        referral_id=referral_id,
        field_groups=groups or (IDENTITY,),
    )


def readings(client: Client, person_id: str) -> list[tuple[str, list[int], bool]]:
    """Returns (organisation, field groups, allowed) of each access, the newest first."""
    return [
        (reading.organization_id, list(reading.field_groups), reading.allowed)
        for reading in client.ListReadings(person_id=person_id).readings
    ]


# At rest.


def everything_stored(url: str) -> dict[str, bytes]:
    """Returns the whole database as bytes by table and column.

    Reads as the owner of the tables, whom no policy limits.
    """
    contents: dict[str, bytes] = {}
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        for table, column, kind in columns:
            cast = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
            rows = connection.execute(
                f'SELECT {cast} FROM "{table}" WHERE "{column}" IS NOT NULL'
            ).fetchall()
            contents[f"{table}.{column}"] = b"\n".join(bytes(row[0]) for row in rows)
    return contents


def test_no_sealed_value_of_a_person_is_readable_anywhere_in_the_database(
    story: Story, service: Service
) -> None:
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours="tecuani-hours",
        code_word="tecuani-word",
        never_say="tecuani-never",
    )
    notes = ["ocelotl-note", "ocelotl-answer"]
    person = story.person(plan=plan, **MARKED)
    sent = story.sent(person=person)
    question = story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_OTHER, note=notes[0]
    )
    story.ngo.AnswerReferral(id=question.id, etag=question.etag, note=notes[1])
    assert story.ngo.OpenPerson(opening(person.id, *ALL_GROUPS)).given_name == "Quetzalli"
    assert notes[0] in [event.note for event in history(story.ngo, sent.id)]

    stored = everything_stored(service.migration_url)
    assert person.id.encode() in stored["people.id"]  # proves that the database was read
    assert len(stored["person_sealed.sealed"]) > 200
    for value in (*MARKED.values(), plan.hours, plan.code_word, plan.never_say, *notes):
        forms = {
            value.encode(),
            value.encode("utf-16-le"),
            value.encode().hex().encode(),
            value.lower().encode(),
        }
        assert not [place for place, text in stored.items() for form in forms if form in text]


def test_a_persons_key_opens_only_her_own_data_and_only_in_their_original_place(
    story: Story, service: Service
) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    mine, other = story.person(given_name="Mine").id, story.person(given_name="Other").id
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT person_id, field, sealed FROM person_sealed WHERE person_id = ANY(%s)",
            ([mine, other],),
        ).fetchall()
        sealed = {(row["person_id"], row["field"]): row["sealed"] for row in rows}
        key = files.key(tx, mine)
        place = f"person_sealed/{mine}/identity"
        assert "Mine" in key.open(sealed[mine, "identity"], place)
        for blob, column in (
            (sealed[other, "identity"], f"person_sealed/{other}/identity"),
            (sealed[other, "identity"], place),
            (sealed[mine, "identity"], f"person_sealed/{mine}/safe_contact"),
            (sealed[mine, "safe_contact"], place),
            (sealed[mine, "identity"][:-1], place),
            (sealed[mine, "identity"][:-1] + bytes([sealed[mine, "identity"][-1] ^ 1]), place),
        ):
            with pytest.raises(CannotOpen):
                key.open(blob, column)


def test_sealed_data_moved_to_another_file_does_not_open(story: Story, service: Service) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    mine, other = story.person().id, story.person().id
    with service.database.transaction(SYSTEM) as tx:
        for table, column in (("person_sealed", "sealed"), ("person_keys", "wrapped")):
            with pytest.raises(CannotOpen), tx.transaction(force_rollback=True):  # noqa: PT012
                tx.execute(
                    f"UPDATE {table} SET {column} = (SELECT s.{column} FROM {table} s"
                    " WHERE s.person_id = %s LIMIT 1) WHERE person_id = %s",
                    (other, mine),
                )
                files.identity(tx, Grant(mine, frozenset(FieldGroup)))


# Opening.


def test_the_files_own_organisation_opens_only_the_requested_field_groups(story: Story) -> None:
    person = story.person(**MARKED)
    assert story.ngo.OpenPerson(opening(person.id, IDENTITY, HEALTH)) == people_pb2.Identity(
        given_name=MARKED["given_name"],
        family_name=MARKED["family_name"],
        health_note=MARKED["health_note"],
        opened=[IDENTITY, HEALTH],
    )
    everything = story.ngo.OpenPerson(opening(person.id, *ALL_GROUPS))
    assert everything.document_number == MARKED["document_number"]
    assert wrong_fields(lambda: story.ngo.OpenPerson(id=person.id)) == [
        ("purpose_code", "required"),
        ("field_groups", "required"),
    ]


def test_a_receiver_opens_the_field_groups_that_the_receipt_names(story: Story) -> None:
    sent = story.sent(person=story.person(**MARKED))
    request = opening(sent.person_id, IDENTITY, CONTACT, purpose="HOU.EMG", referral_id=sent.id)
    assert story.shelter.OpenPerson(request) == people_pb2.Identity(
        given_name=MARKED["given_name"],
        family_name=MARKED["family_name"],
        phone=MARKED["phone"],
        opened=[IDENTITY, CONTACT],
    )


def test_a_receiver_is_refused_field_groups_and_purposes_that_the_receipt_does_not_name(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    open_ = story.shelter.OpenPerson
    cases = [
        (
            opening(sent.person_id, IDENTITY, HEALTH, referral_id=sent.id),
            ("FAILED_PRECONDITION", "receipt_field_group_differs"),
        ),
        (
            opening(sent.person_id, purpose="MED", referral_id=sent.id),
            ("FAILED_PRECONDITION", "receipt_purpose_differs"),
        ),
        (opening(sent.person_id), ("INVALID_ARGUMENT", "invalid_fields")),
        (opening(sent.person_id, referral_id="f" * 32), NOT_FOUND),
        (opening(sent.person_id, referral_id=story.sent().id), NOT_FOUND),
    ]
    for request, expected in cases:
        assert refusal(partial(open_, request)) == expected
    service.clock.advance(timedelta(days=90))
    assert refusal(partial(open_, opening(sent.person_id, referral_id=sent.id))) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_a_receiver_cannot_find_the_person_before_the_referral_is_sent(story: Story) -> None:
    draft = story.draft()
    story.receipt(draft.person_id)
    request = opening(draft.person_id, referral_id=draft.id)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == NOT_FOUND
    assert refusal(lambda: story.shelter.GetPerson(id=draft.person_id)) == NOT_FOUND


def test_a_confirmed_override_opens_the_data_needed_to_act_but_not_the_persons_story(
    story: Story,
) -> None:
    sent = story.overridden(person=story.person(**MARKED))
    story.coordinator.ConfirmOverride(id=sent.id, etag=sent.etag)
    request = partial(opening, sent.person_id, purpose="HOU.EMG", referral_id=sent.id)
    groups = (IDENTITY, CONTACT, HEALTH, G.FIELD_GROUP_LOCATION)
    assert story.shelter.OpenPerson(request(*groups)).address == MARKED["address"]
    for group in (G.FIELD_GROUP_EXPLOITATION, G.FIELD_GROUP_FAMILY, G.FIELD_GROUP_DOCUMENTS):
        assert refusal(partial(story.shelter.OpenPerson, request(group))) == (
            "FAILED_PRECONDITION",
            "receipt_field_group_differs",
        )


def withdraw(story: Story, sent: pb.Referral) -> None:
    story.ngo.WithdrawReferral(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)


def withdraw_consent(story: Story, sent: pb.Referral) -> None:
    story.ngo.WithdrawReceipt(id=sent.receipt_id)


def enter_in_error(story: Story, sent: pb.Referral) -> None:
    story.ngo.EnterReferralInError(id=sent.id, etag=sent.etag)


@pytest.mark.parametrize("end", [withdraw, Story.decline, withdraw_consent, enter_in_error])
def test_access_ends_with_the_referral_and_a_later_attempt_is_recorded(
    end: Any, story: Story
) -> None:
    sent = story.sent()
    request = opening(sent.person_id, referral_id=sent.id)
    assert story.shelter.OpenPerson(request).given_name
    end(story, sent)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == NOT_FOUND
    assert refusal(lambda: story.shelter.GetPerson(id=sent.person_id)) == NOT_FOUND
    assert readings(story.ngo, sent.person_id) == [
        (ORG["shelter"], [IDENTITY], False),
        (ORG["shelter"], [IDENTITY], True),
    ]
    # The receiver keeps the history, without its notes.
    assert [event.note for event in history(story.shelter, sent.id)] == [""] * 4


@pytest.mark.parametrize(
    "roles",
    [
        ("COORDINATOR",),
        ("AUDITOR",),
        ("MANAGER",),
        ("COORDINATOR", "WORKER"),
        ("AUDITOR", "WORKER"),
    ],
)
def test_roles_that_manage_coordinate_or_audit_never_open_a_file(
    roles: tuple[str, ...], story: Story, service: Service
) -> None:
    sent = story.sent()
    for organization in ("ngo", "shelter", "coalition"):
        client = service.as_(organization, *roles)
        request = opening(sent.person_id, referral_id=sent.id)
        assert refusal(partial(client.OpenPerson, request)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )


def test_a_member_on_probation_opens_no_file(story: Story, service: Service) -> None:
    sent = story.sent()
    request = opening(sent.person_id, referral_id=sent.id)
    with service.member_with_status("shelter", "PROBATION"):
        assert refusal(lambda: story.shelter.OpenPerson(request)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    assert readings(story.ngo, sent.person_id) == [(ORG["shelter"], [IDENTITY], False)]


def test_every_access_and_every_refusal_is_listed_for_the_files_organisation(
    story: Story, service: Service, clinic: Client
) -> None:
    sent = story.sent()
    story.ngo.OpenPerson(opening(sent.person_id, IDENTITY, HEALTH))
    story.shelter.OpenPerson(opening(sent.person_id, referral_id=sent.id))
    refusal(lambda: story.shelter.OpenPerson(opening(sent.person_id, HEALTH, referral_id=sent.id)))
    # the person does not even exist for the clinic
    refusal(lambda: clinic.OpenPerson(opening(sent.person_id, CONTACT)))
    assert readings(story.ngo, sent.person_id) == [
        (ORG["clinic"], [CONTACT], False),
        (ORG["shelter"], [HEALTH], False),
        (ORG["shelter"], [IDENTITY], True),
        (ORG["ngo"], [IDENTITY, HEALTH], True),
    ]
    for client in (story.shelter, clinic):
        assert refusal(partial(client.ListReadings, person_id=sent.person_id)) == NOT_FOUND
    page = story.ngo.ListReadings(person_id=sent.person_id, page_size=3)
    last_page = story.ngo.ListReadings(
        person_id=sent.person_id, page_size=3, page_token=page.next_page_token
    )
    assert (len(page.readings), len(last_page.readings), last_page.next_page_token) == (3, 1, "")


def test_reading_notes_is_listed_as_a_reading(story: Story) -> None:
    sent = story.sent()
    story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES, note="until when?"
    )
    history(story.ngo, sent.id)
    assert readings(story.ngo, sent.person_id) == [(ORG["ngo"], [G.FIELD_GROUP_NOTES], True)]


def test_a_safe_contact_plan_is_shown_only_to_the_files_own_organisation(story: Story) -> None:
    sent = story.sent()
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours="mornings",
        code_word="jocote",
        never_say="the shelter",
    )
    person = story.ngo.GetPerson(id=sent.person_id)
    changed = story.ngo.SetSafeContact(id=person.id, etag=person.etag, safe_contact=plan)
    assert story.ngo.GetPerson(id=person.id).safe_contact == changed.safe_contact == plan
    shown_person = story.shelter.GetPerson(id=person.id)
    assert shown_person.coarse.age_band == pb.AGE_BAND_18_TO_24
    assert not shown_person.HasField("safe_contact")
    request = people_pb2.SetSafeContactRequest(id=person.id, etag=changed.etag, safe_contact=plan)
    assert refusal(lambda: story.shelter.SetSafeContact(request)) == NOT_FOUND
    assert not any(entry.HasField("safe_contact") for entry in story.ngo.ListPeople().people)


def test_an_identity_is_completed_and_omitted_fields_are_kept(story: Story) -> None:
    person = story.person()
    request = people_pb2.UpdateIdentityRequest(
        id=person.id,
        etag=person.etag,
        identity=people_pb2.Identity(family_name="Rivas", birth_date="1990-05-01"),
    )
    changed = story.ngo.UpdateIdentity(request)
    assert changed.coarse.age_band == pb.AGE_BAND_25_TO_59  # follows from the birth date
    identity = story.ngo.OpenPerson(opening(person.id, IDENTITY, CONTACT))
    assert (identity.given_name, identity.family_name, identity.phone) == (
        "Ximena",
        "Rivas",
        "+50581234567",
    )
    assert refusal(lambda: story.ngo.UpdateIdentity(request)) == ("ABORTED", "stale_etag")


def test_nobody_can_open_the_data_of_an_erased_person(story: Story, service: Service) -> None:
    sent = story.sent(person=story.person(**MARKED))
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", sent.person_id)
    service.as_owner("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", sent.person_id)
    person = story.ngo.GetPerson(id=sent.person_id)
    assert (person.erased, person.HasField("safe_contact")) == (True, False)
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
    new_identity = people_pb2.Identity(given_name="Back")
    for act in (
        lambda: story.ngo.OpenPerson(opening(person.id)),
        lambda: story.shelter.OpenPerson(opening(person.id, referral_id=sent.id)),
        lambda: story.ngo.UpdateIdentity(id=person.id, etag=person.etag, identity=new_identity),
        lambda: story.ngo.SetSafeContact(id=person.id, etag=person.etag, safe_contact=plan),
        lambda: story.receipt(person.id),
        lambda: story.draft(person=person),
    ):
        assert refusal(act) == ("FAILED_PRECONDITION", "person_erased")
    assert history(story.ngo, sent.id)
    # the referral can continue to its end, without any data of the person
    acknowledged = story.shelter.AcknowledgeReferral(id=sent.id, etag=sent.etag)
    assert acknowledged.state == pb.STATE_ACKNOWLEDGED


def test_a_coordinator_ends_a_referral_with_a_note_that_she_cannot_read_afterwards(
    story: Story,
) -> None:
    sent = story.sent()
    withdrawn = story.coordinator.WithdrawReferral(
        id=sent.id,
        etag=sent.etag,
        reason_code=pb.WITHDRAW_REASON_OTHER,
        note="asked twice by mistake",
    )
    assert withdrawn.state == pb.STATE_WITHDRAWN
    assert history(story.ngo, sent.id)[-1].note == "asked twice by mistake"
    assert not any(event.note for event in history(story.coordinator, sent.id))


def test_a_receiver_sees_neither_exploitation_country_nor_trafficking_status(story: Story) -> None:
    person = story.ngo.CreatePerson(
        exploitation_country="SV",
        trafficking_status_code=people_pb2.TRAFFICKING_STATUS_ACTUAL_VICTIM_OF_TRAFFICKING,
        coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24, country="NI"),
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_THROUGH_WORKER),
    )
    story.sent(person=person)
    for client, country, status in ((story.ngo, "SV", True), (story.shelter, "", False)):
        shown = client.GetPerson(id=person.id)
        assert (shown.exploitation_country, bool(shown.trafficking_status_code)) == (
            country,
            status,
        )
        assert shown.coarse == person.coarse


@pytest.mark.parametrize(
    "path",
    [
        "coarse.age_band",
        "coarse.gender_code",
        "safe_contact.channel_code",
        "trafficking_status_code",
    ],
)
def test_an_unknown_code_in_a_file_is_refused(path: str, story: Story) -> None:
    request: Any = people_pb2.CreatePersonRequest()
    *outer, name = path.split(".")
    setattr(getattr(request, outer[0]) if outer else request, name, 99)
    assert wrong_fields(lambda: story.ngo.CreatePerson(request)) == [(path, "unknown_code")]


def test_a_safe_contact_plan_needs_a_channel(story: Story) -> None:
    plan = people_pb2.SafeContact(hours="at night")
    assert wrong_fields(lambda: story.ngo.CreatePerson(safe_contact=plan)) == [
        ("safe_contact.channel_code", "required")
    ]


def test_an_unstated_number_of_dependants_is_unknown_and_not_zero(story: Story) -> None:
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
    for dependants, known in ((None, False), (0, True), (2, True)):
        coarse = pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24, dependants=dependants)
        person = story.ngo.CreatePerson(coarse=coarse, safe_contact=plan)
        shown = read(story.shelter, story.sent(person=person).id).person
        assert (shown.HasField("dependants"), shown.dependants) == (known, dependants or 0)


@pytest.mark.parametrize(
    ("country", "band"), [("NI", pb.AGE_BAND_12_TO_17), ("ES", pb.AGE_BAND_18_TO_24)]
)
def test_a_person_is_of_age_when_her_birthday_begins_in_her_local_time(
    story: Story, country: str, band: pb.AgeBand.ValueType
) -> None:
    # 7 p.m. on the 4th in Managua
    story.service.clock.set(datetime(2026, 3, 5, 1, 0, tzinfo=UTC))
    created = story.ngo.CreatePerson(
        identity=people_pb2.Identity(birth_date="2008-03-05"),
        coarse=pb.CoarsePerson(country=country),
    )
    assert created.coarse.age_band == band
    corrected = story.ngo.UpdateIdentity(
        id=created.id, etag=created.etag, identity=people_pb2.Identity(given_name="Ana")
    )
    assert corrected.coarse.age_band == band


@pytest.mark.usefixtures("unhurried")
def test_simultaneous_requests_for_the_file_of_one_contact_create_only_one(
    story: Story, service: Service
) -> None:
    operators = [
        service.as_("hotline", *roles) for roles in (("OPERATOR",), ("OPERATOR", "WORKER"))
    ]
    contact = story.contact().contact
    creations = [partial(operator.CreatePerson, contact_id=contact.id) for operator in operators]
    with ThreadPoolExecutor(2) as pool:
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM contacts WHERE id = %s FOR UPDATE", (contact.id,)).fetchone()
            futures = [pool.submit(create) for create in creations]
            assert eventually(lambda: waiting(service) == 2, LONG)
        [person_id] = {future.result().id for future in futures}
    assert operators[0].GetContact(id=contact.id).person_id == person_id
    assert creations[0]().id == person_id, "a form that is sent later gets the same file"

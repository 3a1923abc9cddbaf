"""A person may have the data of her file corrected, even those that are not sealed."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import Client, Service, Story, read
from tests.referrals.test_her_word import person_of_unknown_age
from tests.referrals.test_trail import last_sequence, readings, rows


def correction(person: people_pb2.Person, *paths: str, **fields: Any) -> Any:
    """Returns the request that sets these fields, and that clears the other fields in `paths`."""
    return people_pb2.UpdatePersonRequest(
        person=people_pb2.Person(**({"id": person.id, "etag": person.etag} | fields)),
        update_mask=FieldMask(paths=[*paths, *(fields.keys() - {"etag"})]),
    )


CORRECT = pb.CoarsePerson(
    age_band=pb.AGE_BAND_25_TO_59,
    gender_code=pb.PERSON_GENDER_MASCULINE,
    language="miq",
    dependants=2,
    country="NI",
    department="NI-AN",
)


def stored_person(client: Client, person_id: str) -> people_pb2.Person:
    return cast(people_pb2.Person, client.GetPerson(id=person_id, outline_only=True))


def test_every_unsealed_field_of_a_file_can_be_corrected_and_cleared(story: Story) -> None:
    person = story.person()
    corrected = story.ngo.UpdatePerson(
        correction(
            person,
            coarse=CORRECT,
            trafficking_status_code=people_pb2.TRAFFICKING_STATUS_ACTUAL_VICTIM_OF_TRAFFICKING,
            exploitation_country="SV",
        )
    )
    assert corrected == stored_person(story.ngo, person.id)
    assert (corrected.coarse, corrected.exploitation_country) == (CORRECT, "SV")
    paths = ("coarse", "trafficking_status_code", "exploitation_country")
    story.ngo.UpdatePerson(correction(corrected, *paths))
    cleared = stored_person(story.ngo, person.id)
    assert (cleared.coarse, cleared.trafficking_status_code, cleared.exploitation_country) == (
        pb.CoarsePerson(age_band=CORRECT.age_band),
        0,
        "",
    )


def test_the_answer_to_a_correction_shows_that_there_is_a_plan(story: Story) -> None:
    person = story.person()
    identity = people_pb2.Identity(phone="+50500000000")
    for corrected in (
        story.ngo.UpdateIdentity(id=person.id, etag=person.etag, identity=identity),
        story.ngo.UpdatePerson(
            correction(stored_person(story.ngo, person.id), exploitation_country="GT")
        ),
    ):
        assert corrected.safe_contact.channel_code == person.safe_contact.channel_code != 0


def test_fields_that_the_mask_does_not_name_are_kept(story: Story) -> None:
    person = story.person()
    corrected = story.ngo.UpdatePerson(correction(person, exploitation_country="GT"))
    assert corrected.coarse == person.coarse
    story.ngo.UpdatePerson(correction(corrected, coarse=CORRECT))
    assert stored_person(story.ngo, person.id).exploitation_country == "GT"
    opened = story.ngo.OpenPerson(
        id=person.id, purpose_code="HOU", field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    assert opened.given_name == "Ximena"


def test_the_age_band_follows_a_known_birth_date(story: Story) -> None:
    person = story.child()
    no_band, child_band = pb.CoarsePerson(language="en"), pb.AGE_BAND_12_TO_17
    corrected = story.ngo.UpdatePerson(correction(person, coarse=no_band))
    assert (corrected.coarse.age_band, corrected.coarse.language) == (child_band, "en")
    assert wrong_fields(lambda: story.ngo.UpdatePerson(correction(corrected, coarse=CORRECT))) == [
        ("person.coarse.age_band", "contradicts")
    ]
    assert stored_person(story.ngo, person.id) == corrected


def test_a_file_whose_age_band_has_just_ended_can_be_sent_back_unchanged(
    story: Story, service: Service
) -> None:
    person = story.child()
    service.clock.set(datetime(2029, 1, 1, 12, tzinfo=UTC))
    corrected = story.ngo.UpdatePerson(correction(person, coarse=person.coarse))
    assert corrected.coarse.age_band == pb.AGE_BAND_18_TO_24


def department_correction(person: people_pb2.Person, code: str, **fields: Any) -> Any:
    """Returns the request that sets only the department of a file."""
    return people_pb2.UpdatePersonRequest(
        person=people_pb2.Person(
            id=person.id, etag=person.etag, coarse=pb.CoarsePerson(department=code)
        ),
        update_mask=FieldMask(paths=["coarse.department"]),
        **fields,
    )


def test_a_part_of_the_coarse_data_can_be_corrected_and_cleared(story: Story) -> None:
    person = story.ngo.UpdatePerson(correction(story.person(), coarse=CORRECT))
    for code in ("NI-LE", ""):
        person = story.ngo.UpdatePerson(department_correction(person, code))
        expected = pb.CoarsePerson()
        expected.CopyFrom(CORRECT)
        expected.department = code
        assert person.coarse == stored_person(story.ngo, person.id).coarse == expected
    person = story.ngo.UpdatePerson(correction(person, "coarse.dependants", "coarse.language"))
    assert (person.coarse.HasField("dependants"), person.coarse.language) == (False, "")
    assert person.coarse.age_band == CORRECT.age_band


def test_a_file_in_a_department_that_its_country_lacks_is_refused_and_a_stored_one_is_shown(
    story: Story, service: Service
) -> None:
    person = story.person()  # in Nicaragua
    for country, code in (("", "NI-ZZ"), ("HN", "NI-MN")):
        nowhere = pb.CoarsePerson(country=country, department=code)
        create = partial(story.ngo.CreatePerson, coarse=nowhere)
        assert wrong_fields(create) == [("coarse.department", "unknown_code")]
    for code in ("NI-ZZ", "HN-FM"):
        update = partial(story.ngo.UpdatePerson, department_correction(person, code))
        assert wrong_fields(update) == [("person.coarse.department", "unknown_code")]
    service.as_owner("UPDATE people SET department = 'NI-ZZ' WHERE id = %s", person.id)
    assert stored_person(story.ngo, person.id).coarse.department == "NI-ZZ"


def test_a_repeated_correction_of_a_part_gets_its_first_answer_after_another_correction(
    story: Story,
) -> None:
    request = department_correction(story.person(), "NI-LE", request_id="order-7")
    first_answer = story.ngo.UpdatePerson(request)
    story.ngo.UpdatePerson(correction(first_answer, coarse=CORRECT))
    assert story.ngo.UpdatePerson(request) == first_answer


@pytest.mark.parametrize(
    ("known", "other"),
    [
        (pb.AGE_BAND_12_TO_17, pb.AGE_BAND_18_TO_24),
        (pb.AGE_BAND_12_TO_17, pb.AGE_BAND_0_TO_11),
        (pb.AGE_BAND_0_TO_11, pb.AGE_BAND_60_AND_OVER),
        (pb.AGE_BAND_25_TO_59, pb.AGE_BAND_12_TO_17),
    ],
)
def test_an_age_band_changes_from_or_to_a_childs_band_only_with_a_birth_date(
    story: Story, known: pb.AgeBand.ValueType, other: pb.AgeBand.ValueType
) -> None:
    def with_band(band: pb.AgeBand.ValueType) -> people_pb2.Person:
        request = correction(
            stored_person(story.ngo, person.id), coarse=pb.CoarsePerson(age_band=band, country="NI")
        )
        return cast(people_pb2.Person, story.ngo.UpdatePerson(request))

    person = person_of_unknown_age(story)
    assert with_band(known).coarse.age_band == known
    assert wrong_fields(lambda: with_band(other)) == [("person.coarse.age_band", "contradicts")]
    assert with_band(pb.AGE_BAND_UNSPECIFIED).coarse.age_band == known
    assert wrong_fields(lambda: with_band(other)) == [("person.coarse.age_band", "contradicts")]


@pytest.mark.parametrize(
    ("paths", "fields", "violation"),
    [
        ((), {}, ("update_mask", "required")),
        (("safe_contact",), {}, ("update_mask", "unknown_code")),
        (("safe_contact.hours",), {}, ("update_mask", "unknown_code")),
        (("coarse.shoe_size",), {}, ("update_mask", "unknown_code")),
        (("exploitation_country.code",), {}, ("update_mask", "unknown_code")),
        (
            (),
            {"coarse": pb.CoarsePerson(dependants=21)},
            ("person.coarse.dependants", "out_of_range"),
        ),
        ((), {"exploitation_country": "Narnia"}, ("person.exploitation_country", "malformed")),
        ((), {"exploitation_country": "GT", "etag": ""}, ("person.etag", "required")),
    ],
)
def test_a_wrong_correction_names_its_field(
    story: Story, paths: tuple[str, ...], fields: dict[str, Any], violation: tuple[str, str]
) -> None:
    person = story.person()
    assert wrong_fields(lambda: story.ngo.UpdatePerson(correction(person, *paths, **fields))) == [
        violation
    ]
    assert stored_person(story.ngo, person.id).etag == person.etag


def test_only_the_files_organisation_corrects_it_and_only_with_the_current_etag(
    story: Story,
) -> None:
    request = correction(stored_person(story.ngo, story.sent().person_id), coarse=CORRECT)
    assert refusal(lambda: story.shelter.UpdatePerson(request)) == NOT_FOUND
    story.ngo.UpdatePerson(request)
    assert refusal(lambda: story.ngo.UpdatePerson(request)) == ("ABORTED", "stale_etag")


def test_an_erased_file_cannot_be_corrected(story: Story, service: Service) -> None:
    person = story.person()
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", person.id)
    assert refusal(lambda: story.ngo.UpdatePerson(correction(person, coarse=CORRECT))) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE person_sealed SET sealed = '\\x01' WHERE person_id = %s AND field = 'identity'",
        "UPDATE person_keys SET wrapped = '\\x01' WHERE person_id = %s",
    ],
    ids=["identity", "key"],
)
def test_a_file_is_corrected_even_if_its_identity_cannot_be_opened(
    story: Story, service: Service, damage: str
) -> None:
    child = story.child()
    service.as_owner(damage, child.id)
    sealed = service.rows("SELECT * FROM person_sealed WHERE person_id = %s", child.id)
    person = story.ngo.UpdatePerson(department_correction(child, "NI-LE"))
    assert (person.coarse.department, person.coarse.age_band) == ("NI-LE", pb.AGE_BAND_12_TO_17)
    assert wrong_fields(lambda: story.ngo.UpdatePerson(correction(person, coarse=CORRECT))) == [
        ("person.coarse.age_band", "contradicts")
    ]
    assert service.rows("SELECT * FROM person_sealed WHERE person_id = %s", child.id) == sealed


def test_a_correction_is_on_the_trail_and_is_no_access_to_sealed_data(
    story: Story, service: Service
) -> None:
    person = story.person()
    before = last_sequence(service)
    story.ngo.UpdatePerson(correction(person, coarse=CORRECT))
    assert rows(service, before) == [("update_person", person.id, "")]
    assert readings(story.ngo, person.id) == []


def test_a_referral_is_sent_with_the_data_that_the_file_has_at_that_time(story: Story) -> None:
    person = story.person()
    draft = story.draft(person=person)
    story.ngo.UpdatePerson(correction(person, coarse=CORRECT))
    sent = story.send(draft)
    assert sent.person == read(story.shelter, sent.id).person == CORRECT


def test_a_sent_referral_keeps_its_data_until_it_is_amended(story: Story) -> None:
    sent = story.sent()
    before = sent.person
    story.ngo.UpdatePerson(correction(stored_person(story.ngo, sent.person_id), coarse=CORRECT))
    assert read(story.shelter, sent.id).person == before
    story.ngo.AmendReferral(id=sent.id, etag=sent.etag)
    assert read(story.shelter, sent.id).person == CORRECT


def test_an_amended_deadline_counts_the_working_days_of_the_place_in_the_file(
    story: Story,
) -> None:
    sent = story.sent()
    in_ghana = pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24, country="GH")
    story.ngo.UpdatePerson(correction(stored_person(story.ngo, sent.person_id), coarse=in_ghana))
    amended = story.ngo.AmendReferral(id=sent.id, etag=sent.etag, urgency=pb.URGENCY_NORMAL)
    (due_time,) = [
        clock.due_time.ToDatetime(tzinfo=UTC)
        for clock in amended.clocks
        if clock.kind == pb.CLOCK_KIND_ACKNOWLEDGE
    ]
    # 6 March, a Friday, is Ghana's Independence Day
    assert due_time == datetime(2026, 3, 9, 18, tzinfo=UTC)

"""Finding a file by name, a referral by code, a contact by reference.

Only data of the caller's own organisation are found, each search is recorded, and nothing is stored
in the clear.
"""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import short_code
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import Keyring
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.names import FORM, searched_words, words_of
from services.referrals.files.usecases.names import MAX_RESULTS, SEARCH_BUDGET
from services.referrals.network.domain.codes import ALPHABET, beginnings_of
from tests.builders import refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Service, Story

# The words of a name.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("María José", "MARIA jose"),
        ("Muñoz", "munos"),
        ("Ximena", "Jimena"),
        ("Jiménez", "Gimenes"),
        ("Hernández", "Ernandes"),
        ("Vázquez", "Basquez"),
        ("Nancy Cecilia", "Nansi Sesilia"),
        ("Guillermo", "Guiyermo"),
        ("Ybarra", "Ibarra"),
        ("Ysabel Yglesias", "Isabel Iglesias"),
        ("De la Cruz", "Cruz"),
        ("Ana-Lucía", "lucia ana"),
    ],
)
def test_a_name_is_found_regardless_of_accents_case_order_particles_and_phonetic_spelling(
    one: str, other: str
) -> None:
    assert words_of("", one) == words_of("", other) != frozenset()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Marta", "Mirta"),
        ("Chávez", "Cávez"),
        ("Rosa", "Roxana"),
        ("Ana", "Anabel"),
        ("Yara", "Iara"),
    ],
)
def test_different_names_do_not_match(one: str, other: str) -> None:
    assert not words_of(one) & words_of(other)


@given(st.text(max_size=300))
def test_any_text_yields_at_most_twelve_words(text: str) -> None:
    assert len(words_of(text)) <= 12
    assert words_of(".", " 1 ") == frozenset()


@pytest.mark.parametrize(
    ("given", "family", "searched"),
    [
        ("明", "李", "李 明"),
        ("明", "李", "李"),
        ("小明", "李", "李 小明"),
        ("M.", "H.", "m h"),
        ("H.", "", "H"),
        ("E.", "", "e"),
        ("J.", "Pérez", "J"),
        ("J.", "Pérez", "Perez"),
        ("María", "López", "María M. López"),
        ("हिना", "", "हिना"),
    ],
)
def test_a_name_of_one_character_is_found_and_an_initial_hides_no_name(
    given: str, family: str, searched: str
) -> None:
    assert frozenset() < searched_words(searched) <= words_of(given, family)
    assert not searched_words("王") <= words_of(given, family)


@pytest.mark.parametrize(
    ("given", "family", "said"),
    [
        ("Santa", "Hernández", "Santa"),
        ("Santa", "Hernández", "Hernández, Santa"),
        ("Santa Isabel", "López", "Santa"),
        ("Santa del Carmen", "López", "santa"),
        ("E.", "Pérez", "E"),
        ("Kim", "Do", "Do"),
    ],
)
def test_a_name_that_is_also_a_particle_finds_the_person_who_bears_it(
    given: str, family: str, said: str
) -> None:
    assert frozenset() < searched_words(said) <= words_of(given, family)


@pytest.mark.parametrize(
    ("given", "family", "said"),
    [
        ("María de los Ángeles", "López", "de"),
        ("Rosa", "Santa Cruz", "Santa"),
        ("Rosa", "San Martín", "San"),
        ("Rosa", "De la Cruz", "la"),
    ],
)
def test_a_particle_within_a_name_finds_nobody(given: str, family: str, said: str) -> None:
    assert not searched_words(said) <= words_of(given, family)


# Codes.


@given(st.uuids())
def test_an_id_starts_with_one_of_the_prefixes_of_its_short_code(identifier: Any) -> None:
    code = short_code(identifier.hex)
    assert identifier.hex[:8] in beginnings_of(code)
    typed = code.lower().replace("0", "o").replace("1", "l")
    assert beginnings_of(f" {typed[:3]}-{typed[3:]}") == beginnings_of(code)
    assert {short_code(beginning) for beginning in beginnings_of(code)} == {code}


@pytest.mark.parametrize("nonsense", ["", "ABCDE", "ABCDEFG", "ABCDEU", "ÑBCDEF", "٠BCDEF"])
def test_an_invalid_short_code_has_no_prefixes(nonsense: str) -> None:
    assert beginnings_of(nonsense) == []
    assert set(ALPHABET) & set("ILOU") == set()


def by_code(client: Any, code: str, box: pb.Box.ValueType = pb.BOX_MINE) -> list[str]:
    filter_ = pb.ReferralFilter(box=box, code=code)
    return [
        referral.id
        for referral in client.ListReferrals(pb.ListReferralsRequest(filter=filter_)).referrals
    ]


def test_a_short_code_finds_only_referrals_that_the_caller_may_see(
    story: Story, service: Service
) -> None:
    sent, own = story.sent(), story.draft()
    typed = f"{sent.code[:3].lower()} - {sent.code[3:].lower()}"
    for client, box in (
        (story.ngo, pb.BOX_MINE),
        (story.shelter, pb.BOX_MINE),
        (story.coordinator, pb.BOX_NETWORK),
    ):
        assert by_code(client, typed, box) == [sent.id]
    assert by_code(service.as_("clinic", "WORKER"), sent.code) == []
    assert by_code(service.as_("clinic", "WORKER"), sent.code, pb.BOX_NETWORK) == []
    assert by_code(story.ngo, own.code) == [own.id]
    assert (
        by_code(story.shelter, own.code)
        == by_code(story.coordinator, own.code, pb.BOX_NETWORK)
        == []
    ), "a draft is its sender's alone"
    assert refusal_with_fields(lambda: by_code(story.ngo, "ABCDEU"))[2] == {
        "filter.code": "malformed"
    }


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("states", [99], "unknown_code"),
        ("urgency", 99, "unknown_code"),
        ("due_before", Timestamp(seconds=-(10**12)), "out_of_range"),
        ("person_id", "x", "malformed"),
    ],
)
def test_a_wrong_value_in_a_filter_is_reported_with_its_path(
    story: Story, field: str, value: object, reason: str
) -> None:
    request = pb.ListReferralsRequest(filter=pb.ReferralFilter(**{field: value}))  # type: ignore[arg-type]
    fields = refusal_with_fields(lambda: story.ngo.ListReferrals(request))[2]
    path = f"filter.{field}" + (".0" if field == "states" else "")
    assert fields == {path: reason}


# Names.


def search(client: Any, name: str) -> people_pb2.SearchPeopleResponse:
    answer: people_pb2.SearchPeopleResponse = client.SearchPeople(
        people_pb2.SearchPeopleRequest(name=name)
    )
    return answer


def ids_named(client: Any, name: str) -> list[str]:
    return [person.id for person in search(client, name).people]


@pytest.fixture
def searcher(story: Story, service: Service, request: pytest.FixtureRequest) -> Any:
    """Returns a worker of the NGO who has not searched yet."""
    return service.as_("ngo", "WORKER", "OPERATOR", *[f"OF_{request.node.name}"])


def test_a_file_is_found_by_any_of_its_words_and_has_to_match_every_searched_word(
    story: Story, searcher: Any
) -> None:
    one = story.person(given_name="Itzel María", family_name="Hernández").id
    story.service.clock.advance(timedelta(minutes=1))
    two = story.person(given_name="Itzel", family_name="Zelaya").id
    assert ids_named(searcher, "itzel") == [two, one], "newest first"
    assert ids_named(searcher, "ITZEL ernandez") == [one]
    assert ids_named(searcher, "zelaya itsel") == [two]
    assert (
        ids_named(searcher, "Itzel Pérez")
        == ids_named(searcher, "Itz")
        == ids_named(searcher, "de la")
        == []
    )
    answer = search(searcher, "Zelaya").people[0]
    assert (answer.id, answer.code, answer.HasField("safe_contact")) == (
        two,
        short_code(two),
        False,
    )


@pytest.mark.parametrize(
    "expected",
    ["Núñez", "nunez", "Ibañez", "IBÁÑEZ NUÑEZ", "ximena ybanes", "Jimena José Núñez Ibáñez"],
)
def test_a_person_is_found_by_either_or_both_surnames_with_or_without_accents(
    expected: str, story: Story, searcher: Any
) -> None:
    person_id = story.person(given_name="Ximena José", family_name="Núñez Ibáñez").id
    story.person(given_name="Ximena", family_name="Núnes Peralta")
    assert person_id in ids_named(searcher, expected)
    assert person_id not in ids_named(searcher, f"{expected} Zeledón"), (
        "every searched word has to match"
    )


def test_nobody_finds_files_of_another_organisation_not_even_the_receiver_of_a_referral(
    story: Story, service: Service
) -> None:
    person = story.person(given_name="Xochitl", family_name="Urbina")
    story.sent(person=person)
    for other in (
        story.shelter,
        service.as_("hotline", "OPERATOR"),
        service.as_("ngo", scopes=("people.read",)),
    ):
        assert ids_named(other, "Xochitl Urbina") == (
            [person.id] if other.caller.organization_id == ORG["ngo"] else []
        )


def test_roles_that_never_open_a_file_cannot_search_for_people(
    story: Story, service: Service
) -> None:
    for roles in (("MANAGER",), ("COORDINATOR", "WORKER"), ("AUDITOR", "OPERATOR")):
        assert refusal(lambda roles=roles: search(service.as_("ngo", *roles), "Ximena")) == (  # type: ignore[misc]
            "PERMISSION_DENIED",
            "right_missing",
        )


def test_a_member_on_probation_cannot_search_for_people(story: Story, service: Service) -> None:
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE members SET status = 'PROBATION' WHERE id = %s", (ORG["clinic"],))
    assert refusal(lambda: search(service.as_("clinic", "WORKER"), "Ximena")) == (
        "PERMISSION_DENIED",
        "member_on_probation",
    )
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE members SET status = 'APPROVED' WHERE id = %s", (ORG["clinic"],))


def test_a_renamed_file_is_found_only_by_its_new_name_and_an_erased_one_by_none(
    story: Story, searcher: Any, service: Service
) -> None:
    person = story.person(given_name="Yadira", family_name="Ocampo")
    corrected = people_pb2.UpdateIdentityRequest(
        id=person.id, etag=person.etag, identity=people_pb2.Identity(given_name="Tamara")
    )
    story.ngo.UpdateIdentity(corrected)
    assert (ids_named(searcher, "Yadira"), ids_named(searcher, "Tamara Ocampo")) == (
        [],
        [person.id],
    )
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", (person.id,))
        assert tx.execute(
            "SELECT count(*) AS n FROM person_names WHERE person_id = %s", (person.id,)
        ).fetchone() == {"n": 0}
    assert ids_named(searcher, "Tamara") == []


def test_every_search_counts_towards_the_limit_whether_or_not_it_finds_somebody(
    story: Story, searcher: Any, service: Service
) -> None:
    story.person(given_name="Noemi")
    for number in range(SEARCH_BUDGET.burst):
        search(searcher, "Noemi" if number % 2 else f"Nobody{number}")
    assert refusal(lambda: search(searcher, "Noemi")) == ("RESOURCE_EXHAUSTED", "too_many_attempts")
    assert search(service.as_("ngo", "WORKER", "ANOTHER"), "Noemi").people, (
        "the limit of one searcher does not affect others"
    )
    service.clock.advance(SEARCH_BUDGET.interval)
    assert search(searcher, "Noemi").people
    assert refusal(lambda: search(searcher, "Noemi")) == ("RESOURCE_EXHAUSTED", "too_many_attempts")
    service.clock.advance(timedelta(hours=3))


def test_a_search_is_recorded_with_the_files_that_it_found_and_without_the_name(
    story: Story, searcher: Any, service: Service
) -> None:
    person = story.person(given_name="Brisa")
    search(searcher, "Brisa")
    search(searcher, "Brisna")
    search(searcher, "de la")
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT action, object_id, allowed FROM audit WHERE actor_id = %s ORDER BY sequence",
            (searcher.caller.id,),
        ).fetchall()
    assert [(row["action"], row["object_id"], row["allowed"]) for row in rows] == [
        ("search_people", ORG["ngo"], True),
        ("search_people", person.id, True),
        ("search_people", ORG["ngo"], True),
        ("search_people", ORG["ngo"], True),
    ]


def test_a_search_returns_a_limited_number_of_files_and_says_if_there_are_more(
    story: Story, searcher: Any
) -> None:
    created = [
        story.person(given_name="Perla", family_name=f"Reyes{'abcdefghijklmnopqrstuvwxyz'[n]}").id
        for n in range(MAX_RESULTS)
    ]
    assert search(searcher, "Perla").incomplete is False
    created.append(story.person(given_name="Perla").id)
    answer = search(searcher, "perla")
    assert (len(answer.people), answer.incomplete) == (MAX_RESULTS, True)
    assert {person.id for person in answer.people} < set(created)


def test_the_stored_mark_of_a_name_is_a_keyed_fingerprint_that_differs_by_organisation(
    story: Story, service: Service
) -> None:
    mine = story.person(given_name="Guadalupe").id
    other = service.as_("hotline", "OPERATOR").CreatePerson(
        people_pb2.CreatePersonRequest(
            identity=people_pb2.Identity(given_name="Guadalupe"), request_id=story.request_id()
        )
    )
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT person_id, mark FROM person_names WHERE person_id = ANY(%s)",
            ([mine, other.id],),
        ).fetchall()
    marks = {row["person_id"]: row["mark"] for row in rows}
    assert marks[mine] != marks[other.id]
    assert {len(mark) for mark in marks.values()} == {32}
    keyring = Keyring(key_folder.secret(service.keys, "sealing.referrals"))
    assert marks[mine] == keyring.fingerprint(b"guadalupe", f"names/{ORG['ngo']}"), (
        "the fingerprint is made with the key of the service"
    )


def test_files_without_name_marks_are_completed_in_the_background_once(
    story: Story, searcher: Any, service: Service
) -> None:
    people = [story.person(given_name="Abigail").id for _ in range(3)]
    broken, erased = people[1], story.person(given_name="Abigail").id
    with psycopg.connect(service.migration_url) as owner:
        owner.execute("DELETE FROM person_names")
        owner.execute("UPDATE people SET names_form = 0")
        owner.execute(
            "UPDATE person_sealed SET sealed = '\\x01' WHERE person_id = %s AND field = 'identity'",
            (broken,),
        )
        owner.execute("UPDATE people SET erased = true WHERE id = %s", (erased,))
    assert ids_named(searcher, "Abigail") == []
    with service.database.transaction(SYSTEM) as tx:
        before = tx.execute("SELECT count(*) AS n FROM people WHERE NOT erased").fetchone()
    handled = 0
    while batch := service.made.names.note():
        handled += batch
    assert before == {"n": handled}, "each file once, even the one that cannot be opened"
    assert set(ids_named(searcher, "Abigail")) == {people[0], people[2]}
    with service.database.transaction(SYSTEM) as tx:
        forms = {
            row["id"]: row["names_form"]
            for row in tx.execute("SELECT id, names_form FROM people WHERE id = ANY(%s)", (people,))
        }
        rows = tx.execute(
            "SELECT count(*) AS n FROM audit WHERE action = 'note_names' AND object_id = %s",
            (people[0],),
        ).fetchone()
    assert (forms, rows) == ({people[0]: FORM, broken: -1, people[2]: FORM}, {"n": 1})
    assert service.made.names.note() == 0


# References.


def find(client: Any, created: contacts_pb2.CreateContactResponse, pin: str = "4821") -> Any:
    return client.GetContactByReference(
        contacts_pb2.GetContactByReferenceRequest(reference=created.reference, pin=pin)
    )


def test_only_an_operator_of_the_line_finds_a_callers_contact(
    story: Story, service: Service
) -> None:
    created = story.contact()
    answer = find(service.as_("hotline", "OPERATOR"), created)
    assert (answer.id, answer.note) == (created.contact.id, "")
    assert refusal(lambda: find(service.as_("ngo", "OPERATOR"), created)) == (
        "NOT_FOUND",
        "not_found",
    )
    assert refusal(lambda: find(service.as_("hotline", "WORKER"), created)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_an_operators_guesses_of_a_pin_are_limited_like_anybodys(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), service.as_("hotline", "OPERATOR")
    for _ in range(10):
        assert refusal(lambda: find(operator, created, "0000")) == (
            "UNAUTHENTICATED",
            "reference_or_pin_wrong",
        )
    assert refusal(lambda: find(operator, created)) == ("RESOURCE_EXHAUSTED", "too_many_attempts")
    status = contacts_pb2.GetReferenceStatusRequest(reference=created.reference, pin=created.pin)
    assert service.public().GetReferenceStatus(status).contact_time_band, (
        "the caller's own guesses are counted apart"
    )


# Files by their code.


def files_with_code(client: Any, code: str) -> list[str]:
    answer = client.ListPeople(people_pb2.ListPeopleRequest(code=code))
    return [person.id for person in answer.people]


def test_a_short_code_finds_only_files_of_the_callers_organisation(
    story: Story, service: Service
) -> None:
    person = story.person()
    story.person()
    story.sent(person=person)
    assert person.code == short_code(person.id)
    typed = f"{person.code[:3].lower()} - {person.code[3:].lower()}"
    assert files_with_code(story.ngo, typed) == [person.id]
    for other in (story.shelter, service.as_("clinic", "WORKER")):
        assert files_with_code(other, person.code) == []
    assert refusal_with_fields(lambda: files_with_code(story.ngo, "ABCDEU"))[2] == {
        "code": "malformed"
    }


def test_files_with_the_same_code_are_listed_in_pages(story: Story, service: Service) -> None:
    person, high = story.person(), 1 << 30
    twin = f"{int(person.id[:8], 16) ^ high:08x}{person.id[8:]}"
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "INSERT INTO people (id, organization_id, version, age_band, gender_code, language,"
            " dependants, country, department, trafficking_status_code, exploitation_country,"
            " has_identity, safe_contact_channel, message_may_be_left, erased, create_time,"
            " update_time) SELECT %s, organization_id, version, age_band, gender_code, language,"
            " dependants, country, department, trafficking_status_code, exploitation_country,"
            " has_identity, safe_contact_channel, message_may_be_left, true, create_time,"
            " update_time FROM people WHERE id = %s",
            (twin, person.id),
        )
    request = people_pb2.ListPeopleRequest(code=person.code, page_size=1)
    first = story.ngo.ListPeople(request)
    request.page_token = first.next_page_token
    second = story.ngo.ListPeople(request)
    assert [p.id for answer in (first, second) for p in answer.people] == sorted((person.id, twin))
    assert not second.next_page_token

"""Finding a file by name, a referral by code, a contact by reference.

Only data of the caller's own organisation are found, each search is recorded, and nothing is stored
in the clear.
"""

from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import short_code
from keys import key_folder
from keys.sealing import Keyring
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.names import RULES_VERSION, searched_words, words_of
from services.referrals.files.usecases.names import MAX_RESULTS, SEARCH_BUDGET
from services.referrals.network.domain.codes import ALPHABET, beginnings_of
from tests.builders import NOT_FOUND, pages, refusal, wrong_fields
from tests.referrals.conftest import ORG, Client, Service, Story

# The words of a name.


@pytest.mark.parametrize(
    ("first", "second"),
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
    first: str, second: str
) -> None:
    assert words_of("", first) == words_of("", second) != frozenset()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Marta", "Mirta"),
        ("Chávez", "Cávez"),
        ("Rosa", "Roxana"),
        ("Ana", "Anabel"),
        ("Yara", "Iara"),
    ],
)
def test_different_names_do_not_match(first: str, second: str) -> None:
    assert not words_of(first) & words_of(second)


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
    ("given", "family", "searched", "found"),
    [
        ("Santa", "Hernández", "Santa", True),
        ("Santa", "Hernández", "Hernández, Santa", True),
        ("Santa Isabel", "López", "Santa", True),
        ("Santa del Carmen", "López", "santa", True),
        ("E.", "Pérez", "E", True),
        ("Kim", "Do", "Do", True),
        ("Rosa", "Cruz", "Rosa de la Cruz", True),
        ("María de los Ángeles", "López", "de", False),
        ("Rosa", "Santa Cruz", "Santa", False),
        ("Rosa", "San Martín", "San", False),
        ("Rosa", "De la Cruz", "la", False),
    ],
)
def test_a_particle_finds_only_a_person_whose_name_it_is(
    given: str, family: str, searched: str, found: bool
) -> None:
    words = searched_words(searched)
    assert words
    assert (words <= words_of(given, family)) == found


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
    answer = client.ListReferrals(filter=pb.ReferralFilter(box=box, code=code))
    return [referral.id for referral in answer.referrals]


def test_a_short_code_finds_only_referrals_that_the_caller_may_see(
    story: Story, service: Service, clinic: Client
) -> None:
    sent, draft = story.sent(), story.draft()
    typed = f"{sent.code[:3].lower()} - {sent.code[3:].lower()}"
    for client, code, box, expected in (
        (story.ngo, typed, pb.BOX_MINE, [sent.id]),
        (story.shelter, typed, pb.BOX_MINE, [sent.id]),
        (story.coordinator, typed, pb.BOX_NETWORK, [sent.id]),
        (clinic, sent.code, pb.BOX_MINE, []),
        (clinic, sent.code, pb.BOX_NETWORK, []),
        # only its sender finds a draft
        (story.ngo, draft.code, pb.BOX_MINE, [draft.id]),
        (story.shelter, draft.code, pb.BOX_MINE, []),
        (story.coordinator, draft.code, pb.BOX_NETWORK, []),
    ):
        assert by_code(client, code, box) == expected
    assert wrong_fields(lambda: by_code(story.ngo, "ABCDEU")) == [("filter.code", "malformed")]


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
    path = f"filter.{field}" + (".0" if field == "states" else "")
    assert wrong_fields(lambda: story.ngo.ListReferrals(request)) == [(path, reason)]


# Names.


def search(client: Any, name: str) -> people_pb2.SearchPeopleResponse:
    return cast(people_pb2.SearchPeopleResponse, client.SearchPeople(name=name))


def ids_named(client: Any, name: str) -> list[str]:
    return [person.id for person in search(client, name).people]


@pytest.fixture
def searcher(story: Story, service: Service, request: pytest.FixtureRequest) -> Any:
    """Returns a worker of the NGO who has not searched yet."""
    return service.as_("ngo", "WORKER", "OPERATOR", *[f"OF_{request.node.name}"])


def test_a_file_is_found_by_any_of_its_words_and_has_to_match_every_searched_word(
    story: Story, searcher: Any
) -> None:
    older = story.person(given_name="Itzel María", family_name="Hernández").id
    story.service.clock.advance(timedelta(minutes=1))
    newer = story.person(given_name="Itzel", family_name="Zelaya").id
    for name, expected in (
        ("itzel", [newer, older]),
        ("ITZEL ernandez", [older]),
        ("zelaya itsel", [newer]),
        ("Itzel Pérez", []),
        ("Itz", []),
        ("de la", []),
    ):
        assert ids_named(searcher, name) == expected, name
    [person] = search(searcher, "Zelaya").people
    assert (person.id, person.code) == (newer, short_code(newer))
    assert not person.HasField("safe_contact")


@pytest.mark.parametrize(
    "searched",
    ["Núñez", "nunez", "Ibañez", "IBÁÑEZ NUÑEZ", "ximena ybanes", "Jimena José Núñez Ibáñez"],
)
def test_a_person_is_found_by_either_or_both_surnames_with_or_without_accents(
    searched: str, story: Story, searcher: Any
) -> None:
    person_id = story.person(given_name="Ximena José", family_name="Núñez Ibáñez").id
    story.person(given_name="Ximena", family_name="Núnes Peralta")
    assert person_id in ids_named(searcher, searched)
    assert person_id not in ids_named(searcher, f"{searched} Zeledón"), (
        "every searched word has to match"
    )


def test_nobody_finds_files_of_another_organisation_not_even_the_receiver_of_a_referral(
    story: Story, service: Service
) -> None:
    person = story.person(given_name="Xochitl", family_name="Urbina")
    story.sent(person=person)
    for client, expected in (
        (story.shelter, []),
        (service.as_("hotline", "OPERATOR"), []),
        (service.as_("ngo", scopes=("people.read",)), [person.id]),
    ):
        assert ids_named(client, "Xochitl Urbina") == expected


def test_roles_that_never_open_a_file_cannot_search_for_people(
    story: Story, service: Service
) -> None:
    for roles in (("MANAGER",), ("COORDINATOR", "WORKER"), ("AUDITOR", "OPERATOR")):
        assert refusal(partial(search, service.as_("ngo", *roles), "Ximena")) == (
            "PERMISSION_DENIED",
            "right_missing",
        )


def test_a_member_on_probation_cannot_search_for_people(service: Service) -> None:
    with service.member_with_status("clinic", "PROBATION"):
        assert refusal(lambda: search(service.as_("clinic", "WORKER"), "Ximena")) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )


def test_a_renamed_file_is_found_only_by_its_new_name_and_an_erased_one_by_none(
    story: Story, searcher: Any, service: Service
) -> None:
    person = story.person(given_name="Yadira", family_name="Ocampo")
    story.ngo.UpdateIdentity(
        id=person.id, etag=person.etag, identity=people_pb2.Identity(given_name="Tamara")
    )
    assert (ids_named(searcher, "Yadira"), ids_named(searcher, "Tamara Ocampo")) == (
        [],
        [person.id],
    )
    service.as_owner("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", person.id)
    assert service.rows("SELECT FROM person_names WHERE person_id = %s", person.id) == []
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


def test_a_search_is_recorded_with_the_files_that_it_found_and_without_the_name(
    story: Story, searcher: Any, service: Service
) -> None:
    person = story.person(given_name="Brisa")
    for name in ("Brisa", "Brisna", "de la"):
        search(searcher, name)
    rows = service.rows(
        "SELECT action, object_id, allowed FROM audit WHERE actor_id = %s ORDER BY sequence",
        searcher.caller.id,
    )
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
    own_id = story.person(given_name="Guadalupe").id
    other = service.as_("hotline", "OPERATOR").CreatePerson(
        identity=people_pb2.Identity(given_name="Guadalupe")
    )
    rows = service.rows(
        "SELECT person_id, mark FROM person_names WHERE person_id = ANY(%s)", [own_id, other.id]
    )
    marks = {row["person_id"]: row["mark"] for row in rows}
    assert marks[own_id] != marks[other.id]
    assert {len(mark) for mark in marks.values()} == {32}
    keyring = Keyring(key_folder.secret(service.keys, "sealing.referrals"))
    assert marks[own_id] == keyring.fingerprint(b"guadalupe", f"names/{ORG['ngo']}"), (
        "the fingerprint is made with the key of the service"
    )


def test_files_without_name_marks_are_completed_in_the_background_once(
    story: Story, searcher: Any, service: Service
) -> None:
    people = [story.person(given_name="Abigail").id for _ in range(3)]
    damaged, erased = people[1], story.person(given_name="Abigail").id
    service.as_owner("DELETE FROM person_names")
    service.as_owner("UPDATE people SET names_form = 0")
    service.as_owner(
        "UPDATE person_sealed SET sealed = '\\x01' WHERE person_id = %s AND field = 'identity'",
        damaged,
    )
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", erased)
    assert ids_named(searcher, "Abigail") == []
    files = service.rows("SELECT FROM people WHERE NOT erased")
    handled_count = 0
    while batch := service.made.names.index_batch():
        handled_count += batch
    assert handled_count == len(files), (
        "each file is handled once, even the file that cannot be opened"
    )
    assert set(ids_named(searcher, "Abigail")) == {people[0], people[2]}
    rows = service.rows("SELECT id, names_form FROM people WHERE id = ANY(%s)", people)
    assert {row["id"]: row["names_form"] for row in rows} == {
        people[0]: RULES_VERSION,
        damaged: -1,
        people[2]: RULES_VERSION,
    }
    trail = "SELECT FROM audit WHERE action = 'note_names' AND object_id = %s"
    assert len(service.rows(trail, people[0])) == 1
    assert service.made.names.index_batch() == 0


# References.


def find(client: Any, created: contacts_pb2.CreateContactResponse, pin: str = "4821") -> Any:
    return client.GetContactByReference(reference=created.reference, pin=pin)


def test_only_an_operator_of_the_line_finds_a_callers_contact(
    story: Story, service: Service
) -> None:
    created = story.contact()
    answer = find(service.as_("hotline", "OPERATOR"), created)
    assert (answer.id, answer.note) == (created.contact.id, "")
    assert refusal(lambda: find(service.as_("ngo", "OPERATOR"), created)) == NOT_FOUND
    assert refusal(lambda: find(service.as_("hotline", "WORKER"), created)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_an_operators_guesses_of_a_pin_are_limited_and_counted_apart_from_the_callers(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), service.as_("hotline", "OPERATOR")
    for _ in range(10):
        assert refusal(lambda: find(operator, created, "0000")) == (
            "UNAUTHENTICATED",
            "reference_or_pin_wrong",
        )
    assert refusal(lambda: find(operator, created)) == ("RESOURCE_EXHAUSTED", "too_many_attempts")
    status = service.public().GetReferenceStatus(reference=created.reference, pin=created.pin)
    assert status.contact_time_band, "the caller's own guesses are counted apart"


# Files by their code.


def files_with_code(client: Client, code: str) -> list[str]:
    return [person.id for person in client.ListPeople(code=code).people]


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
    assert wrong_fields(lambda: files_with_code(story.ngo, "ABCDEU")) == [("code", "malformed")]


def test_files_with_the_same_code_are_listed_in_pages(story: Story, service: Service) -> None:
    person, high = story.person(), 1 << 30
    twin = f"{int(person.id[:8], 16) ^ high:08x}{person.id[8:]}"
    columns = (
        "organization_id, version, age_band, gender_code, language, dependants, country,"
        " department, trafficking_status_code, exploitation_country, has_identity,"
        " safe_contact_channel, message_may_be_left, create_time, update_time"
    )
    service.as_owner(
        f"INSERT INTO people (id, erased, {columns}) SELECT %s, true, {columns} FROM people"
        " WHERE id = %s",
        twin,
        person.id,
    )
    answers = pages(story.ngo.ListPeople, code=person.code, page_size=1)
    ids = [[file.id for file in answer.people] for answer in answers]
    assert ids == [[identifier] for identifier in sorted((person.id, twin))]

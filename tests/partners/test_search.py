"""Search: words as people type them, attributes, pages, and services that must not be found."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.tokens import SYSTEM
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.service import Eligibility, Gender, Intake
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import wrong_fields
from tests.partners.scene import MIGRATIONS, Scene, Stubs
from tests.partners.test_imports import sheet
from tests.partners.test_locations import (
    HOUSE,
    OFFICE,
    change,
    change_service,
    make,
    offer,
    offers,
)


def names(scene: Scene, **filters: object) -> list[str]:
    page = scene.coordinator.SearchServices(**filters)
    assert page.total_size == len(page.services)
    return [service.name for service in page.services]


@pytest.mark.parametrize(
    "words",
    [
        "psicología",
        "PSICOLOGIA",
        "atención psicológica",
        "psicologica atencion",
        "psico",  # the beginning of a word
        "sicologia",  # spelled as it sounds
        "psicolojia",
        "psciologia",
        "violensia",
        "mujeres que sufrieron violencia",
        "segovias",  # part of the organisation's name
        "segobias",
        "counselling",  # the need's name in another language
        "  psicología,  ¡violencia!  ",
    ],
)
def test_words_are_found_without_accents_and_with_typing_errors(scene: Scene, words: str) -> None:
    segovias = scene.organization("Asociación Segovias Vivas")
    scene.service(
        segovias,
        "Atención psicológica",
        "PSS.CNS",
        description="Para mujeres que sufrieron violencia o la vieron",
    )
    scene.service(
        scene.organization("Alcaldía"),
        "Paquete de alimentos",
        "MAT.FOD",
        description="Comida para un mes",
    )
    assert names(scene, words=words) == ["Atención psicológica"]


@pytest.mark.parametrize("words", ["psicología comida", "zzzzzz", "xq"])
def test_every_word_must_be_found(scene: Scene, words: str) -> None:
    scene.service(scene.coalition, "Atención psicológica", "PSS.CNS")
    scene.service(scene.coalition, "Comida", "MAT.FOD")
    assert names(scene, words=words) == []


@pytest.mark.parametrize("words", ["", "   ", "de la", "¡!", "'); DROP TABLE services; --:*&|<->"])
def test_words_without_meaning_narrow_nothing_and_break_nothing(scene: Scene, words: str) -> None:
    scene.service(scene.coalition, "Drop de tables y services")
    assert names(scene, words=words) == ["Drop de tables y services"]


def test_matches_in_the_name_come_before_matches_in_the_description(scene: Scene) -> None:
    scene.service(scene.coalition, "Abrigo", description="También luna nueva")
    scene.service(scene.organization("Luna Nueva"), "Casa")
    scene.service(scene.coalition, "Luna nueva")
    assert names(scene, words="luna nueva") == ["Luna nueva", "Casa", "Abrigo"]


def test_a_need_is_found_with_its_children(scene: Scene) -> None:
    scene.service(scene.coalition, "Albergue", "HOU.EMG")
    scene.service(scene.coalition, "Vivienda", "HOU")
    scene.service(scene.coalition, "Consulta", "MED.PRI")
    assert names(scene, need_code="HOU") == ["Albergue", "Vivienda"]
    assert names(scene, need_code="HOU.EMG") == ["Albergue"]


def test_a_department_includes_services_of_the_whole_country(scene: Scene) -> None:
    scene.service(scene.coalition, "Aquí")
    scene.service(scene.coalition, "Lejos", department="NI-RI")
    scene.service(scene.coalition, "Todo el país", department="")
    scene.service(scene.coalition, "Otro país", country="CR", department="")
    assert names(scene, department="NI-CI") == ["Aquí", "Todo el país"]
    assert names(scene, country="NI") == ["Aquí", "Lejos", "Todo el país"]
    assert names(scene, country="CR") == ["Otro país"]


def test_a_search_by_language_finds_services_that_state_it(scene: Scene) -> None:
    scene.service(scene.coalition, "Inglés", languages=("es", "en-US"))
    scene.service(scene.coalition, "Señas", languages=("x-lsn",))
    scene.service(scene.coalition, "No dicho")
    assert names(scene, language="en") == ["Inglés"]
    assert names(scene, language="x-lsn") == ["Señas"]


def test_a_search_by_language_finds_services_with_a_public_place_where_it_is_spoken(
    scene: Scene, manager: Stubs, member: Organization
) -> None:
    for name, place in (("Abierto", OFFICE), ("Escondido", HOUSE)):
        service = scene.service(member, name, "PSS", languages=("es",))
        offer(manager, service.id, make(manager, **place), languages=["en-US"])
    assert names(scene, language="es") == ["Abierto", "Escondido"]
    assert names(scene, language="en") == ["Abierto"]
    offer(manager, service.id, make(manager, **OFFICE), languages=["en"])
    assert names(scene, language="en") == ["Abierto", "Escondido"]


def test_a_search_by_age_and_dependants_leaves_out_only_services_that_state_a_no(
    scene: Scene,
) -> None:
    scene.service(
        scene.coalition, "Adultas", eligibility=Eligibility(minimum_age=18, takes_dependants=False)
    )
    scene.service(
        scene.coalition,
        "Jóvenes",
        eligibility=Eligibility(minimum_age=12, maximum_age=17, maximum_dependants=1),
    )
    scene.service(scene.coalition, "No dicho", eligibility=Eligibility())
    assert names(scene, age=18) == ["Adultas", "No dicho"]
    assert names(scene, age=17) == ["Jóvenes", "No dicho"]
    assert names(scene, age=0) == ["No dicho"]
    assert names(scene, dependants=0) == ["Adultas", "Jóvenes", "No dicho"]
    assert names(scene, dependants=1) == ["Jóvenes", "No dicho"]
    assert names(scene, dependants=2) == ["No dicho"]


def test_a_search_by_gender_leaves_out_only_services_that_state_other_genders(scene: Scene) -> None:
    scene.service(
        scene.coalition,
        "Mujeres",
        eligibility=Eligibility(genders=(Gender.FEMININE, Gender.TRANSGENDER_FEMININE)),
    )
    scene.service(scene.coalition, "Hombres", eligibility=Eligibility(genders=(Gender.MASCULINE,)))
    scene.service(scene.coalition, "No dicho", eligibility=Eligibility())
    assert names(scene, gender=pb.GENDER_FEMININE) == ["Mujeres", "No dicho"]
    assert names(scene, gender=pb.GENDER_MASCULINE) == ["Hombres", "No dicho"]
    assert names(scene) == ["Hombres", "Mujeres", "No dicho"]


def test_a_search_for_room_finds_open_services_unless_their_figure_is_zero(scene: Scene) -> None:
    scene.service(scene.coalition, "Libre", room=1)
    scene.service(scene.coalition, "Lleno", room=0)
    scene.service(scene.coalition, "Sin cifra", room=None)
    scene.service(scene.coalition, "Lista de espera", room=1, intake=Intake.WAITLIST)
    assert names(scene, has_room=True) == ["Libre", "Sin cifra"]


@pytest.mark.parametrize(
    ("filters", "path", "reason"),
    [
        ({"words": "x" * 201}, "words", "too_long"),
        ({"words": "a\x00"}, "words", "malformed"),
        ({"need_code": "XXX"}, "need_code", "unknown_code"),
        ({"country": "N"}, "country", "malformed"),
        ({"department": "CI"}, "department", "malformed"),
        ({"language": "!"}, "language", "malformed"),
        ({"age": 121}, "age", "out_of_range"),
        ({"dependants": -1}, "dependants", "out_of_range"),
        ({"page_size": -1}, "page_size", "out_of_range"),
        ({"page_token": "x"}, "page_token", "malformed"),
    ],
)
def test_an_invalid_question_is_refused_with_its_field(
    scene: Scene, filters: dict[str, object], path: str, reason: str
) -> None:
    assert wrong_fields(lambda: scene.coordinator.SearchServices(**filters)) == [(path, reason)]


@pytest.mark.parametrize("words", ["", "casa"])
def test_the_pages_together_contain_each_service_once(scene: Scene, words: str) -> None:
    for number in range(7):
        scene.service(
            scene.coalition,
            f"{'Casa' if number % 2 else 'Techo'} {number % 3}",
            description="casa " * number,
        )
    names, token = [], ""
    while True:
        page = scene.coordinator.SearchServices(words=words, page_size=2, page_token=token)
        assert page.total_size == 7
        names += [service.name for service in page.services]
        token = page.next_page_token
        if not token:
            break
    # All offer shelter, for which "casa" is a synonym; services with the word in their name come
    # first.
    assert names == ["Casa 0", "Casa 1", "Casa 2", "Techo 0", "Techo 0", "Techo 1", "Techo 2"]


def test_even_an_empty_page_states_the_total(scene: Scene) -> None:
    scene.service(scene.coalition, "Casa")
    beyond = scene.pages.token(pb.SearchServicesRequest(), [0, "zzz", "zzz"])
    page = scene.coordinator.SearchServices(page_token=beyond)
    assert (list(page.services), page.next_page_token, page.total_size) == ([], "", 1)


def test_an_inactive_service_is_found_only_by_its_own_organisation_and_the_coordinator(
    scene: Scene, member: Organization
) -> None:
    scene.service(member, "Cerrado por obras", active=False)
    scene.service(member, "Abierto")
    manager, stranger = scene.by(member, Role.MANAGER), scene.by(scene.organization("Ajena"))
    request = pb.SearchServicesRequest(organization_id=member.id)
    for caller, count in ((manager, 2), (scene.coordinator, 2), (stranger, 1)):
        page = caller.SearchServices(request)
        assert (len(page.services), page.total_size) == (count, count)
        assert caller.SearchServices().total_size == 1
    assert stranger.SearchServices(organization_id="nobody").total_size == 0


def test_the_services_of_a_suspended_member_are_not_found_until_it_is_reinstated(
    scene: Scene, member: Organization
) -> None:
    scene.service(member, "Casa")
    scene.suspend(member.id)
    assert names(scene, words="casa") == []
    scene.reinstate(member.id)
    assert names(scene, words="casa") == ["Casa"]


def test_a_member_on_probation_is_shown_no_shelters_not_even_in_the_count(
    scene: Scene, new_member: Organization
) -> None:
    scene.service(scene.coalition, "Casa segura", "HOU.SAFE", confidential=True)
    scene.service(scene.coalition, "Casa abierta", "COM.CMY")
    own_service = scene.service(new_member, "Casa propia", "HOU.EMG")
    worker = scene.by(new_member)
    page = worker.SearchServices(words="casa")
    assert ([service.name for service in page.services], page.total_size) == (["Casa abierta"], 1)
    # The shelters of a member on probation are shown to that member alone.
    assert sorted(names(scene, words="casa")) == ["Casa abierta", "Casa segura"]
    assert [s.id for s in worker.SearchServices(organization_id=new_member.id).services] == [
        own_service.id
    ]
    scene.approve(new_member.id)
    assert worker.SearchServices(words="casa").total_size == 3


def test_a_changed_service_is_found_by_its_new_words_only(scene: Scene) -> None:
    created = scene.service(scene.coalition, "Jornada", "MED.PRI")
    change = pb.Service(
        id=created.id, etag=etag_of(created), name="Odontología", need_codes=["MED.DENT"]
    )
    scene.coordinator.UpdateService(
        service=change, update_mask=FieldMask(paths=["name", "need_codes"])
    )
    assert (
        names(scene, words="odontologia") == names(scene, need_code="MED.DENT") == ["Odontología"]
    )
    assert names(scene, words="jornada") == names(scene, need_code="MED.PRI") == []


def test_a_renamed_organisations_services_are_found_by_its_new_name(
    scene: Scene, member: Organization
) -> None:
    scene.service(member, "Casa")
    change = pb.Organization(id=member.id, etag=etag_of(member), name="Renovada")
    scene.coordinator.UpdateOrganization(organization=change, update_mask=FieldMask(paths=["name"]))
    assert names(scene, words="renobada") == ["Casa"]
    assert names(scene, words="antigua") == []


def test_a_service_is_found_by_the_words_of_its_places_unless_it_or_the_place_is_confidential(
    scene: Scene, manager: Stubs
) -> None:
    headings = "Nombre;Necesidades;Departamento;Municipio;Lugar"
    rows = [f"{name};PSS;Chinandega;Somotillo;Casa Guasaule" for name in ("A", "B", "C", "D")]
    assert scene.import_report(manager, sheet(*rows, headings=headings)).created == 4
    assert names(scene, words="somotilo guasaule") == ["A", "B", "C", "D"]
    services = manager.SearchServices(words="somotillo").services
    change_service(manager, services[0].id, confidential=True)
    change(manager, offers(manager, services[1].id)[0].location, confidential=True)
    change(manager, offers(manager, services[2].id)[0].location, name="Casa El Limón")
    manager.DeleteServiceAtLocation(id=offers(manager, services[3].id)[0].id)
    assert names(scene, words="somotillo") == names(scene, words="limón") == ["C"]
    assert names(scene, words="guasaule") == []


def test_the_migration_stores_the_words_and_languages_of_the_places_that_already_exist(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    for name, place, confidential in (
        ("A", OFFICE, True),
        ("B", HOUSE, False),
        ("C", OFFICE, False),
    ):
        service = scene.service(member, name, "PSS", languages=("es",))
        offer(manager, service.id, make(manager, **place), languages=["es", "en-US"])
        change_service(manager, service.id, confidential=confidential)
    columns = "SELECT name, place_document::text, place_languages FROM services ORDER BY name"
    stored = scene.rows(columns)
    scene.rows("UPDATE services SET place_document = '', place_languages = '{}' RETURNING id")
    migration = (MIGRATIONS[1] / "20261230100002_place_words.sql").read_text()
    with scene.owner.transaction(SYSTEM) as tx:
        tx.execute(migration.split("-- migrate:down")[0].encode())
    assert scene.rows(columns) == stored
    assert [row["place_languages"] for row in stored] == [[], [], ["en-US", "es"]]
    assert [bool(row["place_document"]) for row in stored] == [False, False, True]


def test_an_organisation_is_found_by_a_word_of_one_character(scene: Scene) -> None:
    scene.service(scene.organization("李 明"), "Casa")
    scene.service(scene.coalition, "Otra")
    assert names(scene, words="李") == ["Casa"]

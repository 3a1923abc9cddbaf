"""Synonyms of needs: a search for a person's words finds what she means.

The first tests check the data, the others the search in the real database.
"""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.tokens import SYSTEM
from runtime.sweeper import Sweeper
from services.partners import directory
from services.partners.directory.store import services as service_store
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.organization import OrganizationType
from services.partners.network.store.sort_keys import fold
from tests.partners.scene import MIGRATIONS, Scene

DATA = json.loads(
    (Path(directory.__file__).parent / "data" / "synonyms.json").read_text(encoding="utf-8")
)
LANGUAGES = ("es", "en", "fr")
# These words mean more than one kind of help, and a search has to show both.
ON_PURPOSE = {"violencia", "violence", "pasaje"}


def names(scene: Scene, words: str) -> list[str]:
    """Returns the names of the found services, in their order."""
    return [service.name for service in scene.coordinator.SearchServices(words=words).services]


def found_needs(scene: Scene, words: str) -> set[str]:
    """Returns the needs of the found services."""
    services = scene.coordinator.SearchServices(words=words, page_size=100).services
    return {code for service in services for code in service.need_codes}


def test_every_need_has_synonyms_in_each_language() -> None:
    assert list(DATA["needs"]) == list(taxonomy().terms)
    for code, term in taxonomy().terms.items():
        assert tuple(term.synonyms) == LANGUAGES, code
        for language, words in term.synonyms.items():
            assert 4 <= len(words) <= 12, (code, language)
            assert len({fold(word) for word in words}) == len(words), (code, language)


def test_every_kind_of_organisation_has_synonyms_in_each_language() -> None:
    assert set(DATA["organization_types"]) == set(OrganizationType)
    assert {tuple(languages) for languages in DATA["organization_types"].values()} == {LANGUAGES}


def test_no_synonym_names_two_unrelated_needs_unless_on_purpose() -> None:
    needs_by_word: dict[str, set[str]] = defaultdict(set)
    for code, term in taxonomy().terms.items():
        for words in term.synonyms.values():
            for word in words:
                needs_by_word[fold(word)].add(code)
    groups = {
        word: {taxonomy().parent(code) or code for code in codes}
        for word, codes in needs_by_word.items()
    }
    assert {
        word for word, groups_of_word in groups.items() if len(groups_of_word) > 1
    } == ON_PURPOSE
    repeated = [
        word
        for word, codes in needs_by_word.items()
        for code in codes
        if taxonomy().parent(code) in codes
    ]
    assert repeated == []  # the words of a group already find the needs in it


@pytest.fixture
def full_directory(scene: Scene) -> Scene:
    """A service for each need, with a name that says nothing about the need.

    One service belongs to a convent.
    """
    nuns = scene.organization("Hermandad de la Luz", type=OrganizationType.RELIGIOUS)
    for number, code in enumerate(taxonomy().terms):
        scene.service(nuns if code == "HOU.TRANS" else scene.coalition, f"Servicio {number}", code)
    return scene


NEEDS_BY_WORDS = {
    "abogado": "LEG",
    "ABOGADAS": "LEG",
    "necesito un abogado": "LEG",
    "I need a lawyer": "LEG",
    "besoin d'un avocat": "LEG",
    "avogado": "LEG",
    "dentista": "MED.DENT",
    "dentitsa": "MED.DENT",
    "dolor de muelas": "MED.DENT",
    "dormir": "HOU",
    "dónde dormir": "HOU",
    "pasar la noche": "HOU.EMG",
    "comida": "MAT.FOD",
    "hambre": "MAT.FOD",
    "pasaporte": "DOC.TRV",
    "papeles": "DOC",
    "cédula": "DOC.IDN",
    "trabajo": "LIV",
    "psicóloga": "PSS",
    "sicologa": "PSS",
    "quitarse la vida": "PSS.PSY",
    "la violaron": "MED.SVC",
    "embarasada": "MED.MAT",
    "pañales": "MAT.NFI",
    "guardería": "FAM.DEP",
    "volver a casa": "RET",
    "saldo": "MAT.COM",
    "sordos": "LNG.SGN",
    "préstamo": "LIV.FIN",
    "sikologa": "PSS",
    "dónde puedo dormir hoy": "HOU",
    "albergue para mujeres con hijos": "HOU.EMG",
    "shelter for women with children": "HOU.EMG",
    "foyer pour femmes avec enfants": "HOU",
    "escuela para mis hijos": "EDU.SCH",
    "leche para mi bebé": "MAT.FOD",
    "psicóloga gratis": "PSS",
    "aver un doctor": "MED",
    "casa hogar": "HOU.SAFE",
    "mi marido me pega": "PRO.RSK",
    "me pegan": "PRO.RSK",
    "mis hijos": "FAM",
}


def test_a_persons_own_words_find_what_she_means(full_directory: Scene) -> None:
    for words, need in NEEDS_BY_WORDS.items():
        expected = {need, *(code for code, term in taxonomy().terms.items() if term.parent == need)}
        assert expected <= found_needs(full_directory, words), words


def test_unrelated_needs_are_not_found(full_directory: Scene) -> None:
    for words, group in {
        "dentista": "MED",
        "comida": "MAT",
        "abogada": "LEG",
        "pasaporte": "DOC",
    }.items():
        assert {code.partition(".")[0] for code in found_needs(full_directory, words)} == {group}, (
            words
        )


def test_every_synonym_finds_its_need(full_directory: Scene) -> None:
    for code, term in taxonomy().terms.items():
        for words in term.synonyms.values():
            for word in words:
                assert code in found_needs(full_directory, word), (code, word)


def test_a_service_whose_own_words_contain_the_search_comes_first(scene: Scene) -> None:
    scene.service(scene.coalition, "Ayuda a mujeres", "MED.DENT")
    scene.service(
        scene.coalition, "Brigada", "MED.DENT", description="Atiende una dentista los jueves"
    )
    scene.service(scene.coalition, "Consultorio del dentista", "MED.DENT")
    # A word that is only in a description counts as much as the need itself.
    scene.service(scene.coalition, "Alcaldía", "MED.PRI", description="También hay dentista")
    assert names(scene, "dentista") == [
        "Consultorio del dentista",
        "Alcaldía",
        "Ayuda a mujeres",
        "Brigada",
    ]


def test_a_service_that_says_it_is_for_women_with_children_comes_first(scene: Scene) -> None:
    scene.service(scene.coalition, "Albergue")
    scene.service(scene.coalition, "Albergue tranquilo", description="Recibe a mujeres con hijos")
    assert names(scene, "albergue para mujeres con hijos") == ["Albergue tranquilo", "Albergue"]
    assert names(scene, "mujeres") == ["Albergue tranquilo"]


@pytest.mark.parametrize(
    "words",
    [
        "albergue para hombres",
        "albergue para un varón",
        "albergue para embarazada",
        "albergue para una señora con 2 niños",
        "albergue adolescentes",
        "shelter for men",
        "shelter for pregnant women",
        "hébergement pour femme enceinte",
    ],
)
def test_words_about_people_exclude_no_shelter(scene: Scene, words: str) -> None:
    scene.service(scene.coalition, "Albergue", "HOU.EMG")
    assert names(scene, words) == ["Albergue"]


@pytest.mark.parametrize(
    "words", ["adolescente embarazada", "ayuda para mis 2 niñas y una embarazada"]
)
def test_a_search_for_words_about_people_alone_finds_services_for_any_of_them(
    scene: Scene, words: str
) -> None:
    for name, description in (
        ("Consulta", "Para embarazadas"),
        ("Escuela", "Para niñas y adolescentes"),
        ("Taller", "Para niñas y adolescentes, también embarazadas"),
        ("Ropa", "Para cualquiera"),
    ):
        scene.service(scene.coalition, name, "EDU", description=description, public=True)
    assert names(scene, words) == ["Taller", "Consulta", "Escuela"]
    public = scene.nobody.ListPublicServices(words=words, by_name=True).services
    assert [found.service.name for found in public] == ["Consulta", "Escuela", "Taller"]


def test_words_about_people_resemble_no_other_words(scene: Scene) -> None:
    scene.service(scene.coalition, "Apoyo mental", "HOU.EMG", description="Contra el hambre")
    scene.service(scene.coalition, "Albergue", "HOU.EMG")
    assert names(scene, "albergue hombre") == ["Albergue", "Apoyo mental"]
    assert names(scene, "albergue men") == ["Albergue", "Apoyo mental"]


def test_nuns_are_found_by_the_type_of_their_organisation(full_directory: Scene) -> None:
    for words in ("monjas", "monja", "MONJAS", "mongas", "nuns", "religieuses", "convento"):
        assert "HOU.TRANS" in found_needs(full_directory, words), words
        assert "HOU.EMG" not in found_needs(full_directory, words), words


def test_partner_systems_get_the_synonyms_with_the_taxonomy(scene: Scene) -> None:
    terms = {term.code: term for term in scene.nobody.ListTaxonomyTerms().terms}
    values = {synonyms.language: list(synonyms.words) for synonyms in terms["MED.DENT"].synonyms}
    assert tuple(values) == LANGUAGES
    assert "dentista" in values["es"]


def test_services_are_found_by_the_new_synonyms_after_an_update(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = scene.service(scene.coalition, "Jornada", "MED.DENT")
    facts = scene.facts(created.id)
    terms = taxonomy().terms
    monkeypatch.setitem(
        terms, "MED.DENT", replace(terms["MED.DENT"], synonyms={"es": ("jolgorio",)})
    )
    assert names(scene, "jolgorio") == []
    monkeypatch.setattr(service_store, "edition", lambda: "another")
    sweeper = Sweeper(scene.database, scene.clock, sweep)
    sweeper.sweep()
    assert names(scene, "jolgorio") == ["Jornada"]
    assert names(scene, "dentista") == []
    assert scene.facts(created.id) == facts  # the change has no new content
    row_versions = scene.rows("SELECT xmin::text FROM services")
    sweeper.sweep()
    assert scene.rows("SELECT xmin::text FROM services") == row_versions


def test_after_an_update_a_service_that_stated_only_housing_is_a_shelter_and_others_learn_it(
    scene: Scene,
) -> None:
    created = scene.service(scene.coalition, "Casa", "HOU")
    with scene.owner.transaction(SYSTEM) as tx:  # as an earlier version stored it
        tx.execute(
            "UPDATE services SET shelter = false, public = true WHERE id = %s", (created.id,)
        )
        migration = next(MIGRATIONS[1].glob("*_only_housing.sql")).read_text()
        tx.execute(migration.partition("-- migrate:down")[0].encode())
    Sweeper(scene.database, scene.clock, sweep).sweep()
    assert scene.rows("SELECT shelter, public FROM services") == [
        {"shelter": True, "public": False}
    ]
    assert [type.split(".")[2] for _, type in scene.facts(created.id)] == ["registered", "changed"]

"""Two directories that differ only in what a caller may not see give that caller the same bytes.

Pages, order and total are the same as if each service were checked by itself.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.service import (
    Capacity,
    Eligibility,
    Gender,
    Intake,
    Service,
)
from services.partners.directory.store import services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.members.domain.organization import Organization
from tests.partners.scene import Scene
from tests.partners.scene import Stubs as Caller

WORDS = ["", "casa", "casa luna", "xochitl", "xochi", "xocitl", "com", "refujio", "zzz"]
Question = dict[str, Any]
QUESTIONS: list[Question] = [
    *(Question(words=words, page_size=size) for words in WORDS for size in (2, 25)),
    {"need_code": "HOU"},
    {"count_country": "NI"},
    {"count_country": "NI", "words": "xocitl refujio", "page_size": 2},
    {"department": "NI-CI", "has_room": True},
    {"language": "es", "age": 20, "dependants": 1, "gender": pb.GENDER_FEMININE},
]


def answers(caller: Caller, coalition: str) -> list[bytes]:
    """Returns all answers to these questions, page by page, with the first rows of matches."""
    results = []
    for question in QUESTIONS:
        token = ""
        while True:
            page = caller.SearchServices(**question, page_token=token)
            results.append(page.SerializeToString(deterministic=True))
            token = page.next_page_token
            if not token:
                break
    for need in ("HOU.EMG", "HOU", "COM.CMY"):
        matched = pb.MatchServicesRequest(
            need_code=need, country="NI", excluded_organization_ids=[coalition]
        )
        results.append(caller.MatchServices(matched).SerializeToString(deterministic=True))
    return results


def add_shelters(scene: Scene) -> None:
    for number in range(6):
        scene.service(
            scene.coalition,
            f"Xochitl casa {number}",
            "HOU.SAFE",
            description="Com refujio luna",
            confidential=True,
            languages=("es",),
        )


def add_closed_services(scene: Scene) -> None:
    for number in range(6):
        scene.service(
            scene.coalition,
            f"Xochitl casa {number}",
            "COM.CMY",
            description="Com refujio luna",
            active=False,
            languages=("es",),
        )


def add_services_of_a_new_member(scene: Scene) -> None:
    new_member = scene.organization("Xochitl com refujio", approved=False)
    scene.service(new_member, "Xochitl casa", "HOU.EMG", description="Com refujio")


@pytest.mark.parametrize(
    "add_hidden_services", [add_shelters, add_closed_services, add_services_of_a_new_member]
)
def test_hidden_services_change_no_byte_of_an_answer(
    scene: Scene, add_hidden_services: Callable[[Scene], None], new_member: Organization
) -> None:
    for number in range(5):
        scene.service(
            scene.organization(f"Otra {number}"),
            f"Casa xochitla {number}",
            "COM.CMY",
            description="Luna comida refugio",
            languages=("es",),
        )
    worker = scene.by(new_member)
    before = answers(worker, scene.coalition.id)
    add_hidden_services(scene)
    assert answers(worker, scene.coalition.id) == before


def all_pages(scene: Scene, question: Question) -> tuple[list[str], list[int]]:
    """Returns the names page by page, and the stated totals."""
    names, totals, token = list[str](), list[int](), ""
    while True:
        page = scene.coordinator.SearchServices(**question, page_size=3, page_token=token)
        names += [service.name for service in page.services]
        totals.append(page.total_size)
        token = page.next_page_token
        if not token:
            return names, totals


def change(scene: Scene, rng: random.Random, service: Service) -> Service:
    """Changes the name, the languages, the figure or the need of a service, as its member does."""
    entry = service.entry
    changes: dict[str, Any] = rng.choice(
        [
            {"name": f"{rng.choice(['Luna', 'Sol', 'Mar'])} {entry.name[-2:]}"},
            {"languages": ("es",)},
            {"need_codes": ("MED.PRI",)},
            {"eligibility": Eligibility(minimum_age=rng.choice([None, 12, 40]))},
            {},
        ]
    )
    with scene.database.transaction(SYSTEM) as tx:
        if changes:
            service.change(changes, taxonomy(), areas(), scene.clock.now())
            services.save(tx, service)
        else:
            service.set_capacity(
                Capacity(Intake.OPEN, rng.choice([0, 2]), 9, "beds"), scene.clock.now()
            )
            services.save_capacity(tx, service, scene.clock.now())
    return service


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pages_order_and_total_are_the_same_as_if_each_service_were_checked_alone(
    scene: Scene, seed: int
) -> None:
    rng = random.Random(seed)
    organizations = [scene.organization(f"Otra {number}") for number in range(4)]
    created = [
        scene.service(
            rng.choice(organizations),
            f"{rng.choice(['Luna', 'Sol', 'Mar'])} {number:02}",
            rng.choice(["HOU.EMG", "HOU.TRANS", "MED.PRI"]),
            department=rng.choice(["NI-CI", "NI-LE", ""]),
            languages=tuple(rng.sample(["es", "en", "miq"], rng.randint(0, 2))),
            eligibility=Eligibility(
                minimum_age=rng.choice([None, 12, 18]),
                maximum_age=rng.choice([None, 30, 99]),
                genders=tuple(rng.sample(list(Gender), rng.randint(0, 3))),
                takes_dependants=rng.choice([None, True, False]),
            ),
            room=rng.choice([None, 0, 3]),
            intake=rng.choice(list(Intake)),
        )
        for number in range(25)
    ]
    for _ in range(40):
        number = rng.randrange(len(created))
        created[number] = change(scene, rng, created[number])
        scene.advance(hours=6)  # by then, other members see the shelter's room
        age = rng.choice([None, 15, 35])
        gender = rng.choice([None, Gender.FEMININE])
        dependants = rng.choice([None, 1])
        question = Question(
            words=rng.choice(["", "luna", "sol", "zzz"]),
            need_code=rng.choice(["", "HOU", "HOU.EMG"]),
            department=rng.choice(["", "NI-CI"]),
            language=rng.choice(["", "es"]),
            has_room=rng.random() < 0.3,
            excluded_organization_ids=[
                organization.id for organization in rng.sample(organizations, rng.randint(0, 2))
            ],
            excluded_areas=rng.sample(["NI-CI", "NI-LE", "NI-RI"], rng.randint(0, 1)),
            age=age,
            gender=pb.GENDER_FEMININE if gender else None,
            dependants=dependants,
        )
        expected = [
            service
            for service in sorted(
                created, key=lambda service: (service.entry.name.lower(), service.id)
            )
            if question["words"] in ("", service.entry.name.partition(" ")[0].lower())
            and any(code.startswith(question["need_code"]) for code in service.entry.need_codes)
            and (not question["department"] or service.entry.department in ("NI-CI", ""))
            and (not question["language"] or "es" in service.entry.languages)
            and (
                not question["has_room"]
                or (service.capacity.intake is Intake.OPEN and service.capacity.available != 0)
            )
            and service.organization_id not in question["excluded_organization_ids"]
            and service.entry.department not in question["excluded_areas"]
            and (
                age is None
                or (service.entry.eligibility.minimum_age or 0)
                <= age
                <= (service.entry.eligibility.maximum_age or 120)
            )
            and (
                gender is None
                or not service.entry.eligibility.genders
                or gender in service.entry.eligibility.genders
            )
            and (dependants is None or service.entry.eligibility.takes_dependants is not False)
        ]
        names, totals = all_pages(scene, question)
        # all services have the words in their names, so that they are ranked alike
        assert names == [service.entry.name for service in expected], question
        assert set(totals) == {len(expected)}


def test_organisations_and_areas_named_as_unsafe_are_left_out_of_search_and_match_without_a_trace(
    scene: Scene,
) -> None:
    unsafe, safe = scene.organization("Insegura"), scene.organization("Segura")
    scene.service(unsafe, "Una", "MED.PRI", department="NI-CI")
    scene.service(safe, "Otra", "MED.PRI", department="NI-LE")
    scene.service(safe, "Todo el país", "MED.PRI", department="")
    for exclusions, remaining_names in (
        ({"excluded_organization_ids": [unsafe.id, "0" * 32]}, {"Otra", "Todo el país"}),
        ({"excluded_areas": ["NI-LE", "NI-RI"]}, {"Una", "Todo el país"}),
        ({"excluded_organization_ids": [unsafe.id], "excluded_areas": ["NI-LE"]}, {"Todo el país"}),
        (
            {"excluded_organization_ids": ["0" * 32], "excluded_areas": ["CR-G"]},
            {"Una", "Otra", "Todo el país"},
        ),
    ):
        request: dict[str, Any] = {"need_code": "MED.PRI", **exclusions}
        searched = scene.coordinator.SearchServices(**request)
        assert ({service.name for service in searched.services}, searched.total_size) == (
            remaining_names,
            len(remaining_names),
        )
        matched = scene.coordinator.MatchServices(country="NI", **request).matches
        assert {match.service.name for match in matched} == remaining_names

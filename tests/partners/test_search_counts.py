"""The number of services found in each department.

The counts include every service found, but none that is hidden from the caller.
"""

from typing import Any

import pytest

from protos.partners.v1 import directory_pb2 as pb
from tests.builders import wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.scene import Stubs as Caller


def counts(caller: Caller, count_country: str = "NI", **fields: Any) -> dict[str, int]:
    answer = caller.SearchServices(**fields, count_country=count_country)
    assert not any(department.count == 0 for department in answer.departments)
    return {department.department: department.count for department in answer.departments}


def add_nine_services(scene: Scene) -> None:
    """Adds nine services.

    Five are in Chinandega, two in León, one in Costa Rica, and one covers all of Nicaragua.
    """
    house = scene.organization("Casa Luna")
    for number in range(5):
        scene.service(house, f"Escuela {number}", "EDU.SCH", department="NI-CI", room=number)
    for number in range(2):
        scene.service(
            house, f"Consulta {number}", "MED.PRI", department="NI-LE", languages=("miq",)
        )
    scene.service(house, "Subsidio", "MAT.CSH", department="")
    scene.service(house, "Afuera", "EDU.SCH", country="CR", department="CR-SJ")


def test_the_counts_cover_everything_found_and_not_only_the_page(scene: Scene) -> None:
    add_nine_services(scene)
    caller, expected = scene.by(scene.organization()), {"NI-CI": 5, "NI-LE": 2, "": 1}
    first = caller.SearchServices(page_size=1, count_country="NI")
    assert [(department.department, department.count) for department in first.departments] == list(
        expected.items()
    )
    second = caller.SearchServices(
        page_size=1, count_country="NI", page_token=first.next_page_token
    )
    assert second.departments == first.departments
    assert counts(caller, "CR") == {"CR-SJ": 1}
    assert counts(caller, "SV") == {}
    assert not caller.SearchServices().departments


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"words": "escuela"}, {"NI-CI": 5}),
        ({"words": "casa luna", "need_code": "MED"}, {"NI-LE": 2}),
        ({"department": "NI-LE"}, {"NI-LE": 2, "": 1}),
        ({"department": "NI-ZZ"}, {"": 1}),
        ({"country": "CR"}, {}),
        ({"need_code": "EDU", "has_room": True}, {"NI-CI": 4}),
        ({"language": "miq"}, {"NI-LE": 2}),
        ({"excluded_areas": ["NI-CI"]}, {"NI-LE": 2, "": 1}),
        ({"organization_id": "f" * 32}, {}),
        ({"organization_id": "ñ"}, {}),
    ],
)
def test_each_filter_of_the_search_narrows_the_counts_too(
    scene: Scene, request_fields: dict[str, Any], expected: dict[str, int]
) -> None:
    add_nine_services(scene)
    assert counts(scene.by(scene.organization()), **request_fields) == expected


def test_shelters_are_counted_for_an_approved_member_but_not_for_one_on_probation(
    scene: Scene, newcomer: Stubs
) -> None:
    add_nine_services(scene)
    member = scene.by(scene.organization())
    before = counts(newcomer)
    scene.service(scene.coalition, "Casa segura", "HOU.SAFE", department="NI-CI", confidential=True)
    scene.service(scene.coalition, "Albergue", "HOU.EMG", department="NI-RI")
    assert counts(newcomer) == before == {"NI-CI": 5, "NI-LE": 2, "": 1}
    assert counts(newcomer, words="albergue") == counts(newcomer, need_code="HOU") == {}
    assert counts(member) == {"NI-CI": 6, "NI-LE": 2, "NI-RI": 1, "": 1}
    near = pb.Near(latitude=12.6, longitude=-87.1, radius_km=500)
    assert counts(member, need_code="HOU", near=near) == {}


def test_an_invalid_country_is_refused(scene: Scene) -> None:
    caller = scene.by(scene.organization())
    assert [field for field, _ in wrong_fields(lambda: counts(caller, "Nicaragua"))] == [
        "count_country"
    ]

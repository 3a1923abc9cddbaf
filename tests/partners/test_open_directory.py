"""The public pages, with a real directory.

Two directories that differ only in data that fewer people may see have the same pages.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from services.gateway.edge.clients import Clients
from services.partners.directory.domain.service import Service
from services.partners.members.domain.organization import Organization
from tests.gateway.pages_gateway import pages
from tests.partners.scene import Scene
from tests.partners.test_open_data import HIDDEN_CHANGES, open_house

QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"words": "asesoria"},
    {"words": "secreto"},
    {"words": "albergue"},
    {"need_code": "HOU"},
    {"need_code": "LEG", "department": "NI-CI"},
    {"department": "NI-LE"},
)


@pytest.fixture
def client(scene: Scene) -> Iterator[FlaskClient]:
    """A visitor's browser.

    Referrals and notifications are down, which does not affect these pages.
    """
    nowhere = "127.0.0.1:1"
    scene._server.set_ready(True)  # the gateway calls no server that does not report itself ready
    clients = Clients(f"127.0.0.1:{scene._server.port}", nowhere, nowhere)
    yield pages(clients, development=False).test_client()
    clients.close()


def all_pages(client: FlaskClient, *organizations: str) -> list[tuple[int, str]]:
    """Returns all pages without their form tokens, which differ each time."""
    first = client.get("/services")
    token = re.search(r'name="form_token" value="([^"]+)"', first.text)
    assert token
    answers = [
        first,
        *(
            client.post("/services", data=question | {"form_token": token[1]})
            for question in QUESTIONS
        ),
    ]
    answers += [client.get(f"/services/organizations/{id}") for id in organizations]
    return [
        (answer.status_code, re.sub(r'name="form_token" value="[^"]+"', "", answer.text))
        for answer in answers
    ]


@pytest.mark.parametrize("hide", HIDDEN_CHANGES, ids=lambda hide: hide.__name__)
def test_data_that_fewer_people_may_see_change_no_byte_of_a_public_page(
    scene: Scene, client: FlaskClient, hide: Callable[[Scene, Organization, Service], None]
) -> None:
    house, service = open_house(scene)
    scene.service(house, "Alquiler", "HOU.RENT", public=True, department="NI-LE")
    before = all_pages(client, house.id, "f" * 32)
    assert [status for status, _ in before] == [200] * (1 + len(QUESTIONS)) + [200, 404]
    assert "Calle 1" in before[1][1]
    assert "interna" not in "".join(text for _, text in before)
    hide(scene, house, service)
    assert all_pages(client, house.id, "f" * 32) == before


def test_a_member_without_a_public_service_looks_like_one_that_does_not_exist(
    scene: Scene, client: FlaskClient, new_member: Organization
) -> None:
    hidden = scene.organization("Secreta")
    inactive = scene.organization("Cerrada")
    hidden_service = scene.service(hidden, "Casa segura", "HOU.SAFE", confidential=True)
    scene.service(new_member, "Asesoría", "LEG", public=True)
    closed_service = scene.service(inactive, "Asesoría", "LEG", public=True, active=False)
    unknown = "f" * 32
    ids = [unknown, hidden.id, new_member.id, inactive.id, hidden_service.id, closed_service.id]
    answers = [client.get(f"/services/organizations/{id}") for id in ids]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text.replace(id, "") for answer, id in zip(answers, ids, strict=True)}) == 1


def test_search_words_about_people_exclude_no_public_service(
    scene: Scene, client: FlaskClient
) -> None:
    scene.service(scene.coalition, "Comedor", "MAT.FOD", public=True)
    token = re.search(r'name="form_token" value="([^"]+)"', client.get("/services").text)
    assert token
    for words in ("comida para mis hijos", "comida para 2 niños", "comida"):
        answer = client.post("/services", data={"words": words, "form_token": token[1]})
        assert "Comedor" in answer.text, words

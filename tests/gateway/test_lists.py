"""Lists are shown completely, however long they are.

Names are requested in as many calls as needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from google.protobuf.message import Message

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import calling
from services.gateway.site.backend import lists, names
from tests.gateway.api_gateway import ID, filled
from tests.gateway.pages_gateway import PlayedServices, enter, pages, referral, signed_in, sound

MANY = 450
MAX_ROWS = 200


def ids(first: int = 0, count: int = MANY) -> list[str]:
    return [f"{number:032x}" for number in range(first, first + count)]


def paged(field: str, kind: type[Message], rows: list[Message]) -> Callable[[Any], Message]:
    """Returns an answer in pages of at most 200 rows, as the services do."""

    def answer(request: Any) -> Message:
        start, size = int(request.page_token or 0), min(request.page_size or 50, MAX_ROWS)
        created = kind(**{field: rows[start : start + size]})
        if start + size < len(rows):
            created.next_page_token = str(start + size)  # type: ignore[attr-defined]
        return created

    return answer


def names_for(request: d.BatchGetRequest) -> d.BatchGetResponse:
    requested_ids = [*request.organization_ids, *request.service_ids, *request.worker_ids]
    assert 0 < len(requested_ids) <= MAX_ROWS
    return d.BatchGetResponse(
        organizations=[
            d.Organization(id=organization_id, name=f"O {organization_id}")
            for organization_id in request.organization_ids
        ],
        services=[
            d.Service(id=service_id, name=f"S {service_id}") for service_id in request.service_ids
        ],
        worker_names={worker_id: f"W {worker_id}" for worker_id in request.worker_ids},
    )


@pytest.fixture
def played() -> PlayedServices:
    created = PlayedServices()
    created.answers["BatchGet"] = names_for
    return created


@pytest.fixture
def app(played: PlayedServices) -> Iterator[Flask]:
    created = pages(played)
    with created.app_context():
        yield created


def test_c16_names_of_more_than_two_hundred_ids_are_requested_in_several_calls(
    played: PlayedServices, app: Flask
) -> None:
    organizations, services, workers = ids(0), ids(1000, 130), ids(2000, 90)
    calling.set(calling.get())
    with app.test_request_context("/"):
        known = names.names(organizations, services, workers)
    assert [known.organization(organization) for organization in organizations] == [
        f"O {organization}" for organization in organizations
    ]
    assert [known.service(service) for service in services] == [
        f"S {service}" for service in services
    ]
    assert [known.worker(worker) for worker in workers] == [f"W {worker}" for worker in workers]
    assert len([rpc for rpc, *_ in played.asked if rpc == "BatchGet"]) == 4


def callback(identifier: str) -> Message:
    created = sound(filled(c.Callback))
    created.MergeFrom(c.Callback(id=identifier))
    return created


def page_text(played: PlayedServices, path: str, *roles: contract_pb2.Role.ValueType) -> str:
    if roles:
        played.answers["IssueToken"] = signed_in(*roles)
    client: FlaskClient = enter(pages(played).test_client())
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("path", ["/today", "/line/shift"])
def test_c16_a_page_of_referrals_among_hundreds_of_members_is_shown_without_an_error(
    played: PlayedServices, path: str
) -> None:
    rows: list[Message] = [
        referral(
            id=each,
            sender_organization_id=each,
            receiver_organization_id=other,
            service_id=another,
            code=each[-4:],
        )
        for each, other, another in zip(ids(0), ids(1000), ids(2000), strict=True)
    ]
    played.answers["ListReferrals"] = paged("referrals", r.ListReferralsResponse, rows)
    page = page_text(played, path)
    assert f"O {ids(1000)[0]}" in page
    if path == "/line/shift":
        assert page.count('href="/referrals/') >= MANY


def test_c16_every_colleague_may_be_chosen(played: PlayedServices) -> None:
    workers: list[Message] = [
        m.Worker(id=each, name=f"W {each}", status=m.WORKER_STATUS_ACTIVE) for each in ids()
    ]
    played.answers["ListWorkers"] = paged("workers", m.ListWorkersResponse, workers)
    page = page_text(played, f"/referrals/{ID}")
    assert all(f'value="{each}"' in page for each in ids())


def test_c16_a_call_is_handed_over_to_any_member(played: PlayedServices) -> None:
    members: list[Message] = [d.Organization(id=each, name=f"O {each}") for each in ids()]
    played.answers["ListOrganizations"] = paged(
        "organizations", d.ListOrganizationsResponse, members
    )
    page = page_text(played, f"/line/{ID}/hand-over")
    assert all(f'value="{each}"' in page for each in ids())


def test_c16_every_owed_call_is_on_the_page_of_the_line(played: PlayedServices) -> None:
    calls = [callback(each) for each in ids()]
    played.answers["ListCallbacks"] = paged("callbacks", c.ListCallbacksResponse, calls)
    page = page_text(played, "/line")
    assert all(f"/line/calls/{each}" in page for each in ids())


@pytest.mark.parametrize(("most", "more"), [(2000, False), (400, True)])
def test_c16_every_enquiry_and_every_referral_of_a_contact_is_on_its_page(
    played: PlayedServices, monkeypatch: pytest.MonkeyPatch, most: int, more: bool
) -> None:
    monkeypatch.setattr(lists, "MOST", most)
    enquiries: list[Message] = [e.Enquiry(id=each, side=r.SIDE_SENDER) for each in ids()]
    played.answers["ListEnquiries"] = paged("enquiries", e.ListEnquiriesResponse, enquiries)
    rows: list[Message] = [referral(id=each) for each in ids(1000)]
    played.answers["ListReferrals"] = paged("referrals", r.ListReferralsResponse, rows)
    page = page_text(played, f"/line/{ID}")
    listed = [
        f'href="/{kind}/{each}"' in page
        for kind, first in (("enquiries", 0), ("referrals", 1000))
        for each in ids(first)[:most]
    ]
    assert (all(listed), page.count("Hay más: aquí caben 400.")) == (True, 2 * more)


@pytest.mark.parametrize(("most", "more"), [(2000, False), (400, True)])
def test_c16_every_sheet_that_an_account_exported_is_listed_on_its_page(
    played: PlayedServices, monkeypatch: pytest.MonkeyPatch, most: int, more: bool
) -> None:
    monkeypatch.setattr(lists, "MOST", most)
    exports: list[Message] = [p.Export(person_id=each) for each in ids()]
    played.answers["ListOwnExports"] = paged("exports", p.ListOwnExportsResponse, exports)
    page = page_text(played, "/account/made")
    assert (page.count('href="/people/'), "Hay más: aquí caben 400." in page) == (
        min(most, MANY),
        more,
    )


def test_c16_every_member_on_probation_is_on_the_board(played: PlayedServices) -> None:
    members: list[Message] = [
        d.Organization(id=each, name=f"O {each}", status=d.ORGANIZATION_STATUS_PROBATION)
        for each in ids()
    ]
    played.answers["ListOrganizations"] = paged(
        "organizations", d.ListOrganizationsResponse, members
    )
    page = page_text(played, "/board")
    assert all(f"/directory/organizations/{each}" in page for each in ids())


def test_c16_a_list_without_room_for_all_rows_says_so(
    played: PlayedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST", 400)
    calls = [callback(each) for each in ids()]
    played.answers["ListCallbacks"] = paged("callbacks", c.ListCallbacksResponse, calls)
    assert "Hay más: aquí caben 400." in page_text(played, "/line")

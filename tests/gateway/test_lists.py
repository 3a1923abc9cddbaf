"""Lists are shown completely, however long they are.

Names are requested in as many calls as needed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask import Flask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import current_caller
from services.gateway.site.backend import lists, names
from tests.gateway.api_gateway import ID, OUTPUTS, filled_message
from tests.gateway.pages_gateway import FakePageServices, enter, missing, pages, realistic, referral

ID_COUNT = 450
MAX_ROWS = 200


def ids(start: int = 0, count: int = ID_COUNT) -> list[str]:
    return [f"{number:032x}" for number in range(start, start + count)]


def answer_in_pages(fakes: FakePageServices, rpc: str, field: str, rows: Sequence[Message]) -> None:
    """Answers an rpc in pages of at most 200 rows, as the services do."""

    def answer(request: Any) -> Message:
        start, size = int(request.page_token or 0), min(request.page_size or 50, MAX_ROWS)
        response = GetMessageClass(OUTPUTS[rpc])(**{field: rows[start : start + size]})
        if start + size < len(rows):
            response.next_page_token = str(start + size)  # type: ignore[attr-defined]
        return response

    fakes.answers[rpc] = answer


def names_for(request: d.BatchGetRequest) -> d.BatchGetResponse:
    organizations = request.organization_ids
    services = request.service_ids
    workers = request.worker_ids
    assert 0 < len(organizations) + len(services) + len(workers) <= MAX_ROWS
    return d.BatchGetResponse(
        organizations=[d.Organization(id=id_, name=f"O {id_}") for id_ in organizations],
        services=[d.Service(id=id_, name=f"S {id_}") for id_ in services],
        worker_names={id_: f"W {id_}" for id_ in workers},
    )


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices({"BatchGet": names_for})


@pytest.fixture
def app(fakes: FakePageServices) -> Iterator[Flask]:
    app = pages(fakes)
    with app.app_context():
        yield app


def test_names_of_more_than_two_hundred_ids_are_requested_in_several_calls(
    fakes: FakePageServices, app: Flask
) -> None:
    organizations, services, workers = ids(0), ids(1000, 130), ids(2000, 90)
    current_caller.set(current_caller.get())
    with app.test_request_context("/"):
        all_names = names.names(organizations, services, workers)
    assert [*map(all_names.organization, organizations)] == [f"O {id_}" for id_ in organizations]
    assert [*map(all_names.service, services)] == [f"S {id_}" for id_ in services]
    assert [*map(all_names.worker, workers)] == [f"W {id_}" for id_ in workers]
    assert len(fakes.requests("BatchGet")) == 4


def callback(id_: str) -> c.Callback:
    message = realistic(filled_message(c.Callback))
    assert isinstance(message, c.Callback)
    message.id = id_
    return message


def page_text(fakes: FakePageServices, path: str) -> str:
    answer = enter(pages(fakes).test_client()).get(path)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("path", ["/today", "/line/shift"])
def test_a_page_of_referrals_among_hundreds_of_members_is_shown_without_an_error(
    fakes: FakePageServices, path: str
) -> None:
    rows = [
        referral(
            id=sender,
            sender_organization_id=sender,
            receiver_organization_id=receiver,
            service_id=service,
            code=sender[-4:],
        )
        for sender, receiver, service in zip(ids(0), ids(1000), ids(2000), strict=True)
    ]
    answer_in_pages(fakes, "ListReferrals", "referrals", rows)
    page = page_text(fakes, path)
    assert f"O {ids(1000)[0]}" in page
    if path == "/line/shift":
        assert page.count('href="/referrals/') >= ID_COUNT


@pytest.mark.parametrize(
    ("rpc", "field", "rows", "path", "mention"),
    [
        pytest.param(
            "ListWorkers",
            "workers",
            [m.Worker(id=id_, name="W", status=m.WORKER_STATUS_ACTIVE) for id_ in ids()],
            f"/referrals/{ID}",
            'value="{}"',
            id="every colleague may be chosen",
        ),
        pytest.param(
            "ListOrganizations",
            "organizations",
            [d.Organization(id=id_, name="O") for id_ in ids()],
            f"/line/{ID}/hand-over",
            'value="{}"',
            id="a call is handed over to any member",
        ),
        pytest.param(
            "ListCallbacks",
            "callbacks",
            [callback(id_) for id_ in ids()],
            "/line",
            "/line/calls/{}",
            id="every owed call is on the page of the line",
        ),
        pytest.param(
            "ListOrganizations",
            "organizations",
            [
                d.Organization(id=id_, name="O", status=d.ORGANIZATION_STATUS_PROBATION)
                for id_ in ids()
            ],
            "/board",
            "/directory/organizations/{}",
            id="every member on probation is on the board",
        ),
    ],
)
def test_a_long_list_is_shown_completely(
    fakes: FakePageServices, rpc: str, field: str, rows: list[Message], path: str, mention: str
) -> None:
    answer_in_pages(fakes, rpc, field, rows)
    assert missing(page_text(fakes, path), *map(mention.format, ids())) == []


@pytest.mark.parametrize(("maximum", "has_more"), [(2000, False), (400, True)])
def test_every_enquiry_and_every_referral_of_a_contact_is_on_its_page(
    fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch, maximum: int, has_more: bool
) -> None:
    monkeypatch.setattr(lists, "MAX_ROWS", maximum)
    enquiries = [e.Enquiry(id=id_, side=r.SIDE_SENDER) for id_ in ids()]
    answer_in_pages(fakes, "ListEnquiries", "enquiries", enquiries)
    answer_in_pages(fakes, "ListReferrals", "referrals", [referral(id=id_) for id_ in ids(1000)])
    page = page_text(fakes, f"/line/{ID}")
    links = [
        f'href="/{kind}/{id_}"'
        for kind, start in (("enquiries", 0), ("referrals", 1000))
        for id_ in ids(start)[:maximum]
    ]
    assert (missing(page, *links), page.count("Hay más: aquí caben 400.")) == ([], 2 * has_more)


@pytest.mark.parametrize(("maximum", "has_more"), [(2000, False), (400, True)])
def test_every_sheet_that_an_account_exported_is_listed_on_its_page(
    fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch, maximum: int, has_more: bool
) -> None:
    monkeypatch.setattr(lists, "MAX_ROWS", maximum)
    answer_in_pages(fakes, "ListOwnExports", "exports", [p.Export(person_id=id_) for id_ in ids()])
    page = page_text(fakes, "/account/made")
    assert (page.count('href="/people/'), "Hay más: aquí caben 400." in page) == (
        min(maximum, ID_COUNT),
        has_more,
    )


def test_a_list_without_room_for_all_rows_says_that_there_are_more(
    fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_ROWS", 400)
    answer_in_pages(fakes, "ListCallbacks", "callbacks", [callback(id_) for id_ in ids()])
    assert "Hay más: aquí caben 400." in page_text(fakes, "/line")

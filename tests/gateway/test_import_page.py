"""The page on which a file of services is tried and taken over."""

from __future__ import annotations

from io import BytesIO

import pytest
from flask.testing import FlaskClient

from chassis.errors import Invalid
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import open_data_pb2 as o
from tests.gateway.pages_gateway import PlayedServices, enter, page_at, pages, signed_in, token_of


@pytest.fixture
def played() -> PlayedServices:
    services = PlayedServices()
    services.answers["IssueToken"] = signed_in(contract_pb2.ROLE_MANAGER)
    return services


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def send(client: FlaskClient, step: str, content: bytes = b"Nombre\n") -> tuple[int, str]:
    sent = {"form_token": token_of(page_at(client, "/directory/import")), "step": step, "content": (BytesIO(content), "x.csv")}
    answer = client.post("/directory/import", data=sent, content_type="multipart/form-data")
    return answer.status_code, answer.text


def test_a_file_is_tried_and_each_wrong_cell_is_named(played: PlayedServices, client: FlaskClient) -> None:
    wrong = o.ImportLine(row=3, outcome=o.IMPORT_OUTCOME_REFUSED)
    wrong.problems.add(column="E", field="schedules", reason_code="ambiguous")
    lines = [o.ImportLine(row=2, outcome=o.IMPORT_OUTCOME_CREATED), wrong]
    played.answers["ImportDirectory"] = o.ImportReport(created=1, refused=1, lines=lines, ignored_columns=["G"])
    status, page = send(client, "try", b"a" * 600_000)  # more than a form holds elsewhere
    asked = played.last("ImportDirectory")
    assert (status, asked.dry_run, len(asked.content)) == (200, True, 600_000)
    assert "<b>E3</b> Cuándo recibe gente: se puede leer de dos maneras" in page
    assert page.index("Rechazada") < page.index("Nueva</span>")


def test_it_is_taken_over_when_that_is_asked_and_a_refusal_is_said(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["ImportDirectory"] = o.ImportReport(written=True, created=1)
    status, page = send(client, "import")
    assert (status, "Importado." in page, played.last("ImportDirectory").dry_run) == (200, True, False)
    played.answers["ImportDirectory"] = Invalid(("content", "malformed"))
    assert send(client, "import")[0] == 422

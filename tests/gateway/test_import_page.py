"""The pages of an import: a file of services is sent, watched, confirmed and written."""

from __future__ import annotations

from io import BytesIO

import pytest
from flask.testing import FlaskClient

from chassis.errors import Exhausted, Invalid
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import open_data_pb2 as o
from tests.gateway.pages_gateway import PlayedServices, enter, page_at, pages, signed_in, token_of

JOB = "aa0c9a4e1b7d42b38c6de0f1a2b3c4d5"
TWIN = "bb0c9a4e1b7d42b38c6de0f1a2b3c4d5"
PAGE = f"/directory/import/{JOB}"


@pytest.fixture
def played() -> PlayedServices:
    services = PlayedServices()
    services.answers["IssueToken"] = signed_in(contract_pb2.ROLE_MANAGER)
    services.answers["CreateImport"] = o.Import(id=JOB, state=o.IMPORT_STATE_PENDING)
    services.answers["CancelImport"] = o.Import(id=JOB, state=o.IMPORT_STATE_CANCELLED)
    return services


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def send(client: FlaskClient, step: str, content: bytes = b"Nombre\n") -> tuple[int, str]:
    sent = {
        "form_token": token_of(page_at(client, "/directory/import")),
        "step": step,
        "content": (BytesIO(content), "x.csv"),
    }
    answer = client.post("/directory/import", data=sent, content_type="multipart/form-data")
    return answer.status_code, answer.headers.get("Location", "") or answer.text


def report(played: PlayedServices, *, dry_run: bool = True, **fields: object) -> None:
    import_ = o.Import(
        id=JOB,
        state=o.IMPORT_STATE_DONE,
        dry_run=dry_run,
        report=o.ImportReport(**fields),  # type: ignore[arg-type]
    )
    played.answers["GetImport"] = import_


def test_a_file_is_passed_on_and_the_page_of_its_import_is_shown(
    played: PlayedServices, client: FlaskClient
) -> None:
    assert send(client, "try", b"a" * 600_000) == (303, PAGE)  # more than any other form may send
    request = played.last("CreateImport")
    assert (request.dry_run, len(request.content)) == (True, 600_000)
    assert send(client, "import") == (303, PAGE)
    assert not played.last("CreateImport").dry_run


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(Invalid(("content", "too_long")), 422), (Exhausted("too_many_requests", 30), 429)],
)
def test_a_file_that_is_not_accepted_leads_back_to_the_form_with_the_reason(
    played: PlayedServices, client: FlaskClient, refusal: Exception, status: int
) -> None:
    played.answers["CreateImport"] = refusal
    assert send(client, "import")[0] == status


def test_an_import_that_runs_shows_its_progress_without_a_script_and_can_be_cancelled(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetImport"] = o.Import(
        id=JOB, state=o.IMPORT_STATE_WRITING, rows_done=120, rows_total=5000
    )
    page = page_at(client, PAGE)
    assert '<meta http-equiv="refresh"' in page
    assert "Filas: 120 de 5000" in page
    assert client.post(f"{PAGE}/cancel", data={"form_token": token_of(page)}).status_code == 303
    assert played.last("CancelImport").id == JOB
    played.answers["GetImport"] = o.Import(id=JOB, state=o.IMPORT_STATE_CANCELLED)
    assert "refresh" not in page_at(client, PAGE)


def test_a_file_that_was_refused_is_not_listed_as_imported(
    played: PlayedServices, client: FlaskClient
) -> None:
    refused = o.Import(id=JOB, state=o.IMPORT_STATE_DONE)  # the list has no reports
    played.answers["ListImports"] = o.ListImportsResponse(imports=[refused])
    listed = page_at(client, "/directory/import").partition('id="last"')[2]
    assert "Leída: vea el resultado" in listed
    assert "#done" not in listed.partition("</section>")[0]


def test_each_wrong_cell_is_named(played: PlayedServices, client: FlaskClient) -> None:
    wrong = o.ImportLine(row=3, outcome=o.IMPORT_OUTCOME_REFUSED)
    wrong.problems.add(column="E", field="schedules", reason_code="ambiguous")
    report(
        played,
        created=1,
        refused=1,
        lines=[o.ImportLine(row=2, outcome=o.IMPORT_OUTCOME_CREATED), wrong],
        ignored_columns=["G"],
    )
    page = page_at(client, PAGE)
    assert "<b>E3</b> Cuándo recibe gente: se puede leer de dos maneras" in page
    assert page.index("Rechazada") < page.index("Nueva</span>")


def test_a_word_that_is_none_of_the_options_is_not_answered_with_choose_one(
    played: PlayedServices, client: FlaskClient
) -> None:
    wrong = o.ImportLine(row=3, outcome=o.IMPORT_OUTCOME_REFUSED)
    wrong.problems.add(column="G", field="languages", reason_code="unknown_code")
    report(played, refused=1, lines=[wrong])
    page = client.get(f"/directory/import/{JOB}").text
    assert "Idiomas: no es una de las opciones; escríbala como en «Agregar un servicio»" in page


def test_a_row_without_an_id_leads_to_a_question_and_the_answer_goes_with_the_same_file(
    played: PlayedServices, client: FlaskClient
) -> None:
    values = [
        o.ImportLine(row=row, outcome=o.IMPORT_OUTCOME_ASKED, candidate_ids=[TWIN])
        for row in (4, 5)
    ]
    report(played, asked=2, lines=values)
    played.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=TWIN, name="Consejería", phone="+50523410000")]
    )
    page = page_at(client, PAGE)
    assert "Es el mismo: Consejería" in page
    sent = {"form_token": token_of(page), "step": "import", "answer-4-": TWIN, "answer-5-": "new"}
    assert client.post(PAGE, data=sent).headers["Location"] == PAGE
    second_request = played.last("CreateImport")
    assert (second_request.source_import_id, second_request.dry_run, second_request.content) == (
        JOB,
        False,
        b"",
    )
    assert [(answer.row, answer.subject_id) for answer in second_request.answers] == [
        (4, TWIN),
        (5, ""),
    ]


def test_a_guessed_encoding_is_shown_with_words_and_confirmed(
    played: PlayedServices, client: FlaskClient
) -> None:
    report(
        played,
        created=1,
        encoding=o.IMPORT_ENCODING_MACINTOSH,
        encoding_guessed=True,
        encoding_samples=["Consejería"],
    )
    page = page_at(client, PAGE)
    assert "Así se leyó: Consejería." in page
    assert f'<option value="{o.IMPORT_ENCODING_MACINTOSH}" selected>' in page
    client.post(
        PAGE,
        data={
            "form_token": token_of(page),
            "step": "import",
            "encoding": str(o.IMPORT_ENCODING_WINDOWS_1252),
        },
    )
    assert played.last("CreateImport").encoding == o.IMPORT_ENCODING_WINDOWS_1252


def test_an_import_that_failed_says_why(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["GetImport"] = o.Import(
        id=JOB, state=o.IMPORT_STATE_FAILED, failure_code="too_much_work"
    )
    assert "demasiado trabajo" in page_at(client, PAGE)

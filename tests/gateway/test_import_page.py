"""The pages of an import: sending a file of services, its progress, its report, its answers."""

from io import BytesIO

import pytest
from flask.testing import FlaskClient

from chassis.errors import Exhausted, Invalid
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import open_data_pb2 as o
from tests.gateway.pages_gateway import FakePageServices, missing, page_at, signed_in, submit

JOB = "aa0c9a4e1b7d42b38c6de0f1a2b3c4d5"
TWIN = "bb0c9a4e1b7d42b38c6de0f1a2b3c4d5"
PAGE = f"/directory/import/{JOB}"


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "IssueToken": signed_in(contract_pb2.ROLE_MANAGER),
            "CreateImport": o.Import(id=JOB, state=o.IMPORT_STATE_PENDING),
            "CancelImport": o.Import(id=JOB, state=o.IMPORT_STATE_CANCELLED),
        }
    )


def send(client: FlaskClient, step: str, content: bytes = b"Nombre\n") -> tuple[int, str | None]:
    """Sends a file; returns the status and the address of the next page."""
    page, file = page_at(client, "/directory/import"), (BytesIO(content), "x.csv")
    answer = submit(client, "/directory/import", page, step=step, content=file)
    return answer.status_code, answer.location


def set_report(fakes: FakePageServices, **fields: object) -> None:
    """Answers with a finished import that has this report."""
    fakes.answers["GetImport"] = o.Import(
        id=JOB,
        state=o.IMPORT_STATE_DONE,
        dry_run=True,
        report=o.ImportReport(**fields),  # type: ignore[arg-type]
    )


def refused_row(column: str, field: str, reason: str) -> o.ImportLine:
    problem = o.ImportProblem(column=column, field=field, reason_code=reason)
    return o.ImportLine(row=3, outcome=o.IMPORT_OUTCOME_REFUSED, problems=[problem])


def test_a_file_is_passed_on_and_the_page_of_its_import_is_shown(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    assert send(client, "try", b"a" * 600_000) == (303, PAGE)  # more than any other form may send
    request = fakes.last("CreateImport")
    assert (request.dry_run, len(request.content)) == (True, 600_000)
    assert send(client, "import") == (303, PAGE)
    assert not fakes.last("CreateImport").dry_run


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(Invalid(("content", "too_long")), 422), (Exhausted("too_many_requests", 30), 429)],
)
def test_a_file_that_the_service_does_not_accept_is_refused_with_its_status(
    fakes: FakePageServices, client: FlaskClient, refusal: Exception, status: int
) -> None:
    fakes.answers["CreateImport"] = refusal
    assert send(client, "import")[0] == status


def test_an_import_that_runs_shows_its_progress_without_a_script_and_can_be_cancelled(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetImport"] = o.Import(
        id=JOB, state=o.IMPORT_STATE_WRITING, rows_done=120, rows_total=5000
    )
    page = page_at(client, PAGE)
    assert missing(page, '<meta http-equiv="refresh"', "Filas: 120 de 5000") == []
    assert submit(client, f"{PAGE}/cancel", page).status_code == 303
    assert fakes.last("CancelImport").id == JOB
    fakes.answers["GetImport"] = o.Import(id=JOB, state=o.IMPORT_STATE_CANCELLED)
    assert "refresh" not in page_at(client, PAGE)


def test_a_file_that_was_refused_is_not_listed_as_imported(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    refused_import = o.Import(id=JOB, state=o.IMPORT_STATE_DONE)  # the list has no reports
    fakes.answers["ListImports"] = o.ListImportsResponse(imports=[refused_import])
    last_import = page_at(client, "/directory/import").partition('id="last"')[2]
    assert "Leída: vea el resultado" in last_import
    assert "#done" not in last_import.partition("</section>")[0]


def test_each_wrong_cell_is_named(fakes: FakePageServices, client: FlaskClient) -> None:
    created_line = o.ImportLine(row=2, outcome=o.IMPORT_OUTCOME_CREATED)
    refused_line = refused_row("E", "schedules", "ambiguous")
    set_report(
        fakes, created=1, refused=1, lines=[created_line, refused_line], ignored_columns=["G"]
    )
    page = page_at(client, PAGE)
    assert "<b>E3</b> Cuándo recibe gente: se puede leer de dos maneras" in page
    assert page.index("Rechazada") < page.index("Nueva</span>")


def test_an_unknown_word_in_a_file_is_reported_as_none_of_the_options(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_report(fakes, refused=1, lines=[refused_row("G", "languages", "unknown_code")])
    sentence = "Idiomas: no es una de las opciones; escríbala como en «Agregar un servicio»"
    assert sentence in page_at(client, PAGE)


def test_a_row_without_an_id_leads_to_a_question_and_the_answer_is_sent_for_the_same_file(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    lines = [
        o.ImportLine(row=row, outcome=o.IMPORT_OUTCOME_ASKED, candidate_ids=[TWIN])
        for row in (4, 5)
    ]
    set_report(fakes, asked=2, lines=lines)
    fakes.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=TWIN, name="Consejería", phone="+50523410000")]
    )
    page = page_at(client, PAGE)
    assert "Es el mismo: Consejería" in page
    answers = {"answer-4-": TWIN, "answer-5-": "new"}
    assert submit(client, PAGE, page, step="import", **answers).location == PAGE
    request = fakes.last("CreateImport")
    assert (request.source_import_id, request.dry_run, request.content) == (JOB, False, b"")
    assert [(answer.row, answer.subject_id) for answer in request.answers] == [(4, TWIN), (5, "")]


def test_a_guessed_encoding_is_shown_with_sample_words_and_can_be_changed(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_report(
        fakes,
        created=1,
        encoding=o.IMPORT_ENCODING_MACINTOSH,
        encoding_guessed=True,
        encoding_samples=["Consejería"],
    )
    page = page_at(client, PAGE)
    option = f'<option value="{o.IMPORT_ENCODING_MACINTOSH}" selected>'
    assert missing(page, "Así se leyó: Consejería.", option) == []
    submit(client, PAGE, page, step="import", encoding=str(o.IMPORT_ENCODING_WINDOWS_1252))
    assert fakes.last("CreateImport").encoding == o.IMPORT_ENCODING_WINDOWS_1252


def test_an_import_that_failed_says_why(fakes: FakePageServices, client: FlaskClient) -> None:
    fakes.answers["GetImport"] = o.Import(
        id=JOB, state=o.IMPORT_STATE_FAILED, failure_code="too_much_work"
    )
    assert "demasiado trabajo" in page_at(client, PAGE)

"""Import of a directory that was kept elsewhere: a file is tried, and its report read, before it is taken over."""

from collections.abc import Sequence

from flask import render_template, request

from protos.partners.v1 import open_data_pb2 as o
from services.gateway import access, forms, session, words
from services.gateway.clients import clients

pages = access.Pages("imports")
MOST_SHOWN = 200  # rows: of those that are refused first


@pages.get("/directory/import", access.MANAGERS | access.NETWORK)
def form() -> str:
    """What may be sent, and for whom."""
    return page(request.args.get("organization", ""))


@pages.post("/directory/import", access.MANAGERS | access.NETWORK)
def read() -> str | tuple[str, int]:
    """Tries a file, or takes it over; the report says each row."""
    organization, sent = forms.text("organization_id"), request.files.get("content")
    question = o.ImportDirectoryRequest(
        content=sent.read() if sent else b"", organization_id=organization, dry_run=forms.text("step") != "import"
    )
    try:
        report = clients().imports.ImportDirectory(question)
    except forms.SHOWN_IN_PLACE as refusal:
        return page(organization, errors=forms.problems(refusal)), 422
    shown = page(organization, report=report, tried=question.dry_run)
    return (shown, 422) if report.refused and not question.dry_run else shown


def page(organization: str, *, report: o.ImportReport | None = None, tried: bool = False, errors: dict[str, str] | None = None) -> str:
    """The page."""
    lines: Sequence[o.ImportLine] = sorted(report.lines, key=lambda line: line.outcome != o.IMPORT_OUTCOME_REFUSED) if report else ()
    return render_template(
        "import.html",
        organization_id=organization or ("" if session.me().may("coordinator") else session.me().organization_id),
        report=report,
        lines=lines[:MOST_SHOWN],
        tried=tried,
        problem_of=problem_of,
        errors=errors or {},
    )


def problem_of(problem: o.ImportProblem) -> str:
    """What is wrong with a cell."""
    return f"{words.field(problem.field)}: {words.violation(problem.reason_code)}"

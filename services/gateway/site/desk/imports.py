"""The import of a directory from another system: upload, trial run, questions, and the import.

An uploaded file is read in the background. The manager reads the report, answers its questions, and
then has the rows imported.
"""

from collections.abc import Sequence

from flask import redirect, render_template, request, url_for

from protos.partners.v1 import open_data_pb2 as o
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("imports")
MAX_SHOWN = 200  # rows of a report that are shown; refused rows and open questions come first
RUNNING = frozenset((o.IMPORT_STATE_PENDING, o.IMPORT_STATE_READING, o.IMPORT_STATE_WRITING))
_ORDER = {o.IMPORT_OUTCOME_REFUSED: 0, o.IMPORT_OUTCOME_ASKED: 1}
_ENCODINGS = tuple(number for number in o.ImportEncoding.values() if number)


@pages.get("/directory/import", access.MANAGERS | access.NETWORK)
def form(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the form for an upload, and the latest imports."""
    return render_template(
        "import.html",
        organization_id=request.args.get("organization", "")
        or forms.text("organization_id")
        or _own_organization(),
        icon_of=icon_of,
        imports=clients().imports.ListImports(o.ListImportsRequest()).imports,
        errors=errors,
    )


@pages.post("/directory/import", access.MANAGERS | access.NETWORK, again=form)
def create() -> access.Answer:
    """Uploads a file, for a trial run or for the import."""
    upload = request.files.get("content")
    content = upload.read() if upload else b""
    forms.require("content", content)
    return _create_and_show(
        o.CreateImportRequest(
            content=content,
            organization_id=forms.text("organization_id"),
            dry_run=forms.text("step") != "import",
            request_id=forms.text("request_id"),
        )
    )


@pages.get("/directory/import/<identifier>", access.MANAGERS | access.NETWORK)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the progress or the result of an import."""
    job = clients().imports.GetImport(o.GetImportRequest(id=identifier))
    lines: Sequence[o.ImportLine] = sorted(
        job.report.lines, key=lambda line: _ORDER.get(line.outcome, 2)
    )
    return render_template(
        "import_report.html",
        job=job,
        running=job.state in RUNNING,
        report=job.report if job.state == o.IMPORT_STATE_DONE else None,
        lines=lines[:MAX_SHOWN],
        known=names.names(
            services=(id for line in lines[:MAX_SHOWN] for id in line.candidate_ids)
        ).services,
        organization_id=job.organization_id or _own_organization(),
        encodings=_ENCODINGS,
        problem_of=problem_of,
        icon_of=icon_of,
        errors=errors,
    )


@pages.post("/directory/import/<identifier>", access.MANAGERS | access.NETWORK, again=show)
def proceed(identifier: str) -> access.Answer:
    """Imports the same file with the form's answers, or makes a trial run with them."""
    answers = (
        (name.removeprefix("answer-").partition("-"), value)
        for name, value in request.form.items()
        if name.startswith("answer-") and value
    )
    return _create_and_show(
        o.CreateImportRequest(
            source_import_id=identifier,
            dry_run=forms.text("step") != "import",
            encoding=next(
                (number for number in _ENCODINGS if str(number) == forms.text("encoding")),
                o.IMPORT_ENCODING_UNSPECIFIED,
            ),
            answers=[
                o.ImportAnswer(
                    file=file,
                    row=int(row) if row.isdecimal() and len(row) < 8 else 0,
                    subject_id="" if value == "new" else value,
                )
                for (row, _dash, file), value in answers
            ],
            request_id=forms.text("request_id"),
        )
    )


pages.sends(
    "cancel",
    "/directory/import/<identifier>/cancel",
    access.MANAGERS | access.NETWORK,
    o.CancelImportRequest,
    again=show,
    then="imports.show",
    done="",
)


def problem_of(problem: o.ImportProblem) -> str:
    """Describes the problem of a cell.

    A file offers no options to choose from, so the text names the page that lists the options.
    """
    reason = (
        _("no es una de las opciones; escríbala como en «Agregar un servicio»")
        if problem.reason_code == "unknown_code"
        else words.violation(problem.reason_code)
    )
    return f"{words.field(problem.field)}: {reason}"


def icon_of(job: o.Import) -> str:
    return {
        o.IMPORT_STATE_DONE: "seen",  # its report may say that nothing was stored
        o.IMPORT_STATE_FAILED: "warn",
        o.IMPORT_STATE_CANCELLED: "close",
    }.get(job.state, "wait")


def _create_and_show(request_: o.CreateImportRequest) -> access.Answer:
    return redirect(
        url_for("imports.show", identifier=clients().imports.CreateImport(request_).id), 303
    )


def _own_organization() -> str:
    return "" if session.me().may("coordinator") else session.me().organization_id

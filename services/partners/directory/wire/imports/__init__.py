"""Turns files of services and places, in any format, into drafts, and reports into messages."""

from typing import Any

from chassis.errors import Invalid
from chassis.wire import EnumCodec, timestamp
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.domain.import_job import ImportJob, ImportState
from services.partners.directory.domain.imports import Encoding, Line, Outcome, ParsedFile, Report
from services.partners.directory.wire.imports import hsds, spreadsheet
from services.partners.directory.wire.imports.drafts import CellReader
from services.partners.directory.wire.imports.files import Table, check_size, read

__all__ = ["check_size", "encoding_of", "message", "parse", "report"]

_OUTCOMES = EnumCodec(pb.ImportOutcome, Outcome)
_ENCODINGS = EnumCodec(pb.ImportEncoding, Encoding)
_STATES = EnumCodec(pb.ImportState, ImportState)
_MAX_PROBLEMS = 5  # maximum number of problems reported for a row


def parse(content: bytes, reader: CellReader, encoding: Encoding | None = None) -> ParsedFile:
    """Returns the drafts from a file. Raises Invalid for `content`."""
    file = read(content, encoding)
    parsed_file = _parse_content(file.content, reader)
    if not parsed_file.lines:
        raise Invalid(("content", "required"))
    parsed_file.decoding = file.decoding
    return parsed_file


def _parse_content(content: Any, reader: CellReader) -> ParsedFile:
    if isinstance(content, Table):
        return spreadsheet.parse(content, reader)
    if isinstance(content, dict) and isinstance(content.get("services.csv"), Table):
        return hsds.parse_tables(content, reader)
    return hsds.parse(content, reader)


def encoding_of(number: int) -> Encoding | None:
    """Returns the encoding that a request names; None if it names none. Raises Invalid."""
    return _ENCODINGS.member(number, "encoding")


def message(job: ImportJob, reader_id: str, *, with_report: bool = True) -> pb.Import:
    """Returns an import as a message to the organisation `reader_id`.

    Only the organisation that imports the file reads words of the file.
    """
    shown_report = pb.ImportReport.FromString(job.report) if job.report and with_report else None
    if shown_report and reader_id != job.importer_id:
        shown_report.ClearField("encoding_samples")
    return pb.Import(
        id=job.id,
        organization_id=job.organization_id,
        dry_run=job.dry_run,
        state=_STATES.number(job.state),
        rows_done=job.rows_done,
        rows_total=job.rows_total,
        report=shown_report,
        failure_code=job.failure_code,
        create_time=timestamp(job.create_time),
        end_time=timestamp(job.end_time),
    )


def report(result: Report) -> pb.ImportReport:
    """Returns the outcome of each row as a message."""
    return pb.ImportReport(
        written=result.written,
        created=result.count(Outcome.CREATED),
        changed=result.count(Outcome.CHANGED),
        unchanged=result.count(Outcome.UNCHANGED),
        refused=result.count(Outcome.REFUSED),
        asked=result.count(Outcome.ASKED),
        lines=[_line(line) for line in result.lines],
        ignored_columns=result.ignored_columns,
        encoding=_ENCODINGS.number(result.decoding.encoding if result.decoding else None),
        encoding_guessed=bool(result.decoding and result.decoding.guessed),
        encoding_samples=result.decoding.samples if result.decoding else (),
    )


def _line(line: Line) -> pb.ImportLine:
    return pb.ImportLine(
        file=line.file,
        row=line.row,
        outcome=_OUTCOMES.number(line.outcome),
        subject_id=line.subject_id,
        candidate_ids=line.candidate_ids,
        problems=[
            pb.ImportProblem(column=problem.column, field=problem.field, reason_code=problem.reason)
            for problem in line.problems[:_MAX_PROBLEMS]
        ],
    )

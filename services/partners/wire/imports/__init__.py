"""A file of services and places, in whichever of the formats it is, as drafts; and what was done with it as a message."""

from chassis.wire import EnumCodec
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.domain.imports import Line, Outcome, Parsed, Report
from services.partners.wire.imports import hsds, spreadsheet
from services.partners.wire.imports.drafts import Reading
from services.partners.wire.imports.files import Table, read

_OUTCOMES = EnumCodec(pb.ImportOutcome, Outcome)
_MOST_PROBLEMS = 5  # of a row


def parse(content: bytes, reading: Reading) -> Parsed:
    """The drafts of a file. Raises Invalid of `content`."""
    said = read(content)
    if isinstance(said, Table):
        return spreadsheet.parse(said, reading)
    if isinstance(said, dict) and isinstance(said.get("services.csv"), Table):
        return hsds.parse_tables(said, reading)
    return hsds.parse(said, reading)


def report(made: Report) -> pb.ImportReport:
    """What was done with each row."""
    return pb.ImportReport(
        written=made.written,
        created=made.count(Outcome.CREATED),
        changed=made.count(Outcome.CHANGED),
        unchanged=made.count(Outcome.UNCHANGED),
        refused=made.count(Outcome.REFUSED),
        lines=[_line(line) for line in made.lines],
        ignored_columns=made.ignored_columns,
    )


def _line(line: Line) -> pb.ImportLine:
    return pb.ImportLine(
        file=line.file,
        row=line.row,
        outcome=_OUTCOMES.number(line.outcome),
        subject_id=line.subject_id,
        problems=[
            pb.ImportProblem(column=each.column, field=each.field, reason_code=each.reason) for each in line.problems[:_MOST_PROBLEMS]
        ],
    )

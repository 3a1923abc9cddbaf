"""Reads a file as tables of texts or as JSON, and detects its format and separator.

The unpacked size is checked before a file is unpacked. A file in an unknown format is refused.
"""

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from chassis.errors import Invalid
from chassis.wire import without_repeats
from services.partners.directory.domain.imports import MAX_ROWS, DecodingInfo, Encoding
from services.partners.directory.wire.imports import encodings

MAX_BYTES = 700_000
# maximum number of bytes of an unpacked file; a spreadsheet is packed ten to one, a zip bomb is
# packed a thousand to one
_MAX_UNPACKED = 30_000_000
_MAX_PARTS, _MAX_COLUMNS, _MAX_CELL = 200, 60, 4000
# maximum number of tags in a workbook: 5,000 rows of 60 cells, with four to six tags in each cell
_MAX_ELEMENTS = 2_000_000
# A line by which a file tells Excel its separator. Excel hides the line, and does not count it.
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([;,\t])"?[;,\t]*\r?\n', re.IGNORECASE)
_WORKBOOK_PART = "[Content_Types].xml"


@dataclass(frozen=True)
class Table:
    """The rows of a table with their numbers. The first row has the headings."""

    rows: list[tuple[int, list[str]]]


@dataclass(frozen=True)
class File:
    """A file that has been read.

    `content`: a Table for a spreadsheet, Tables by name for a data package, or a JSON value.
    `decoding`: how the text was decoded; None if the format prescribes the encoding.
    """

    content: Table | dict[str, Table] | Any
    decoding: DecodingInfo | None = None


def read(content: bytes, encoding: Encoding | None = None) -> File:
    """Reads a file in any supported format.

    `encoding`: the encoding of its text, or None if the caller does not state it. Raises Invalid
    for `content`.
    """
    check_size(content)
    try:
        return (
            _archive(content, encoding)
            if content.startswith(b"PK\x03\x04")
            else _text(content, encoding)
        )
    except (
        csv.Error,
        zipfile.BadZipFile,
        zlib.error,
        SyntaxError,  # of XML
        KeyError,
        ValueError,
        OverflowError,  # a number of twenty digits in a style
        RuntimeError,  # also for an encrypted file
        EOFError,
        OSError,
        TypeError,
    ) as error:
        raise Invalid(("content", "malformed")) from error


def check_size(content: bytes) -> None:
    """Raises Invalid if the content is empty or too long."""
    if not content.strip():
        raise Invalid(("content", "required"))
    if len(content) > MAX_BYTES:
        raise Invalid(("content", "too_long"))


def _text(content: bytes, encoding: Encoding | None) -> File:
    decoding = encodings.detect([content], encoding)
    text = encodings.decode(content, decoding.encoding)
    if text.lstrip()[:1] in ("{", "["):
        # Half a surrogate pair, from a text that was cut off, becomes a replacement character, and
        # so do NaN and Infinity; a cell with this character is refused.
        document = json.loads(text, object_pairs_hook=without_repeats)
        encoded = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass")
        text = encoded.decode("utf-16", "replace")
        return File(json.loads(text, parse_constant=lambda _: "\ufffd"), decoding)
    return File(_csv(text), decoding)


def _csv(text: str) -> Table:
    if separator_line := _SEPARATOR_LINE.match(text):
        text = text[separator_line.end() :]
    heading = text.lstrip().partition("\n")[0]
    separator = separator_line[1] if separator_line else max(";,\t", key=heading.count)
    # strict: a quotation mark that is never closed would silently take the next rows into its cell
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return _bounded((number, list(cells)) for number, cells in enumerate(rows, 1))


def _archive(content: bytes, encoding: Encoding | None) -> File:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > _MAX_UNPACKED:
            raise Invalid(("content", "too_long"))
        if any(part.filename == _WORKBOOK_PART for part in parts):
            _check_elements(archive)
            return File(_workbook(content))
        texts = {
            PurePosixPath(part.filename).name: archive.read(part)
            for part in parts
            if part.filename.endswith(".csv")
            and not PurePosixPath(part.filename).name.startswith(".")
        }
    if "services.csv" not in texts:
        raise Invalid(("content", "malformed"))
    decoding = encodings.detect(list(texts.values()), encoding)
    return File(
        {name: _csv(encodings.decode(text, decoding.encoding)) for name, text in texts.items()},
        decoding,
    )


def _check_elements(archive: zipfile.ZipFile) -> None:
    """Raises Invalid if a workbook has more elements than the largest table needs.

    The check runs before any part is parsed, because empty cells are packed a thousand to one.
    """
    elements = 0
    for part in archive.infolist():
        with archive.open(part) as stream:
            while chunk := stream.read(1 << 16):
                elements += chunk.count(b"<")
                if elements > _MAX_ELEMENTS:
                    raise Invalid(("content", "too_long"))


def _workbook(content: bytes) -> Table:
    """Returns the first sheet. Each formula is replaced by the result that was saved with it."""
    # imported here because it takes a sixth of a second, and few processes ever read a spreadsheet
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # the size that a sheet states may be wrong
        rows = sheet.iter_rows(max_col=_MAX_COLUMNS, values_only=True)
        return _bounded(
            (number, [_cell(value) for value in cells]) for number, cells in enumerate(rows, 1)
        )
    except IndexError as error:
        raise ValueError from error
    finally:
        book.close()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()[:10]
    return "" if value is None else str(value)


def _bounded(rows: Iterator[tuple[int, list[str]]]) -> Table:
    """Returns the rows that are not empty.

    Raises Invalid if there are none or too many, or if a cell is too long. Looks at
    20 * MAX_ROWS rows at most, because a sheet may claim a million empty rows.
    """
    filled_rows = list(
        islice(
            (
                (number, cells[:_MAX_COLUMNS])
                for number, cells in islice(rows, 20 * MAX_ROWS)
                if any(map(str.strip, cells))
            ),
            MAX_ROWS + 2,
        )
    )
    if len(filled_rows) > MAX_ROWS + 1:
        raise Invalid(("content", "too_long"))
    if not filled_rows:
        raise Invalid(("content", "required"))
    if any(len(cell) > _MAX_CELL for _, cells in filled_rows for cell in cells):
        raise Invalid(("content", "too_long"))
    return Table(filled_rows)


def column_letters(index: int) -> str:
    """Returns the letters of a column, counted from 0: A, …, Z, AA."""
    text = ""
    index += 1
    while index:
        index, letter_index = divmod(index - 1, 26)
        text = chr(65 + letter_index) + text
    return text

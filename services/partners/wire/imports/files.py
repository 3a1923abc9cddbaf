"""A file as tables of texts: which format it is, which encoding, which separator. Bounded before it is unpacked; a file that is none of these is refused."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from chassis.errors import Invalid
from services.partners.domain.imports import MOST_ROWS

MOST_BYTES = 700_000
_UNPACKED = 30_000_000  # bytes; a spreadsheet packs ten to one, a bomb a thousand to one
_PARTS, _COLUMNS, _CELL = 200, 60, 4000
_SHEET = "[Content_Types].xml"


@dataclass(frozen=True)
class Table:
    """Rows with their numbers, the headings first."""

    rows: list[tuple[int, list[str]]]


def read(content: bytes) -> Table | dict[str, Table] | Any:
    """A Table of a spreadsheet, Tables by name of a data package, or what JSON says. Raises Invalid of `content`."""
    if not content.strip():
        raise Invalid(("content", "required"))
    if len(content) > MOST_BYTES:
        raise Invalid(("content", "too_long"))
    try:
        return _archive(content) if content.startswith(b"PK\x03\x04") else _text(content)
    except (
        csv.Error,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        RecursionError,
        EOFError,
        OSError,
        NotImplementedError,
        TypeError,
    ) as error:
        raise Invalid(("content", "malformed")) from error


def text_of(content: bytes) -> str:
    """The text by the mark at its beginning, as UTF-8 if it is, as UTF-16 if every other byte is none, else as Windows writes it."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding)
    head = content[:200]
    if head.count(0) * 3 > len(head):
        return content.decode("utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _text(content: bytes) -> Table | Any:
    text = text_of(content)
    if text.lstrip()[:1] in ("{", "["):
        return json.loads(text)
    return _csv(text)


def _csv(text: str) -> Table:
    heading = text.lstrip().partition("\n")[0]
    separator = max(";,\t", key=heading.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return _bounded((number, list(cells)) for number, cells in enumerate(rows, 1))


def _archive(content: bytes) -> Table | dict[str, Table]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        if len(parts) > _PARTS or sum(part.file_size for part in parts) > _UNPACKED:
            raise Invalid(("content", "too_long"))
        if any(part.filename == _SHEET for part in parts):
            return _workbook(content)
        tables = {
            PurePosixPath(part.filename).name: _csv(text_of(archive.read(part)))
            for part in parts
            if part.filename.endswith(".csv") and not PurePosixPath(part.filename).name.startswith(".")
        }
    if "services.csv" not in tables:
        raise Invalid(("content", "malformed"))
    return tables


def _workbook(content: bytes) -> Table:
    """The first sheet; what formulas gave when it was saved."""
    import openpyxl  # here, for it takes a sixth of a second, and few processes ever read a spreadsheet

    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what it says of its own size may be anything
        rows = sheet.iter_rows(max_col=_COLUMNS, values_only=True)
        return _bounded((number, [_cell(value) for value in cells]) for number, cells in enumerate(rows, 1))
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
    """Without empty rows; refuses more than can be taken in at once. A sheet may claim a million empty rows."""
    kept = list(islice(((n, cells[:_COLUMNS]) for n, cells in islice(rows, 20 * MOST_ROWS) if any(map(str.strip, cells))), MOST_ROWS + 2))
    if len(kept) > MOST_ROWS + 1:
        raise Invalid(("content", "too_long"))
    if not kept:
        raise Invalid(("content", "required"))
    if any(len(cell) > _CELL for _, cells in kept for cell in cells):
        raise Invalid(("content", "too_long"))
    return Table(kept)


def letter(index: int) -> str:
    """The letters of a column, from 0: A, …, Z, AA."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text

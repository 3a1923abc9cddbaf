"""A partner's spreadsheet, with one service in each row.

Its headings are in Spanish, English or French, in any order.
"""

from collections.abc import Mapping
from itertools import zip_longest

from services.partners.directory.domain.imports import (
    Line,
    ParsedFile,
    PlaceDraft,
    ServiceAtPlace,
    ServiceDraft,
)
from services.partners.directory.wire.imports.drafts import CellReader
from services.partners.directory.wire.imports.files import Table, column_letters
from services.partners.directory.wire.imports.hours import fold

_HEADINGS = {
    "id": "id|codigo|source id",
    "organization": "organizacion|organization|organisation|miembro|institucion",
    "name": "nombre|servicio|name|service|nom|nombre del servicio",
    "description": "descripcion|description|que ofrece",
    "need_codes": "necesidades|necesidad|tipo de ayuda|needs|need|besoins|need codes",
    "country": "pais|country|pays",
    "department": "departamento|department|departement|provincia",
    "area_code": "municipio|municipality|municipalite",
    "area_codes": "zonas|area codes",
    "address": "direccion|address|adresse",
    "place": "lugar|place|lieu|sede",
    "latitude": "latitud|latitude",
    "longitude": "longitud|longitude",
    "phone": "telefono|phone|telephone|tel",
    "languages": "idiomas|idioma|languages|langues",
    "schedules": "horario|horarios|hours|schedule|horaires|opening hours",
    "ages": "edades|edad|ages|age",
    "minimum_age": "edad minima|minimum age",
    "maximum_age": "edad maxima|maximum age",
    "genders": "genero|generos|sexo|gender|genders|sexe",
    "takes_dependants": "con hijos|hijos|dependants|takes dependants",
    "maximum_dependants": "cuantos hijos|maximum dependants",
    "takes_pregnant": "embarazadas|takes pregnant",
    "takes_with_addiction": "con adicciones|takes with addiction",
    "takes_without_papers": "sin papeles|takes without papers",
    "confidential": "confidencial|confidential|confidentiel",
    "public": "publico|public",
    "active": "activo|active|actif",
}
_FIELD = {word: field for field, words in _HEADINGS.items() for word in words.split("|")}
_PLACE_FIELDS = ("address", "area_code", "latitude", "longitude")


def parse(table: Table, reader: CellReader) -> ParsedFile:
    """Returns the drafts of the rows; none if the table has no column for the name."""
    parsed_file = ParsedFile()
    heading_row = table.rows[0][0]
    fields: dict[int, str] = {}
    all_cells = (cells for _, cells in table.rows)
    for index, (heading, *below) in enumerate(zip_longest(*all_cells, fillvalue="")):
        field = _FIELD.get(fold(heading).replace("_", " ").strip(" *:?"))
        if field and field not in fields.values():
            fields[index] = field
        elif heading.strip() or any(map(str.strip, below)):
            parsed_file.ignored_columns.append(column_letters(index))
    columns = {field: column_letters(index) for index, field in fields.items()}
    if "name" not in columns:
        line = Line("", heading_row)
        line.refuse("name", "required")
        parsed_file.lines.append(line)
        return parsed_file
    for row, cells in table.rows[1:]:
        texts = {
            field: cells[index].strip() if index < len(cells) else ""
            for index, field in fields.items()
        }
        line = Line("", row, columns)
        parsed_file.lines.append(line)
        draft = _service(line, texts, reader)
        if draft:
            parsed_file.services.append(draft)
    return parsed_file


def _service(line: Line, texts: Mapping[str, str], reader: CellReader) -> ServiceDraft | None:
    # An empty cell below a merged cell would look like a service without a place, which means the
    # whole country.
    for name in ("country", "department"):
        if texts.get(name) == "" and not (name == "department" and texts.get("area_code")):
            line.refuse(name, "required")
    if texts.get("area_code") and not texts.get("department"):
        texts = {**texts, "department": reader.department_of(texts["area_code"], line, texts)}
    entry_and_fields = reader.service(line, texts)
    if entry_and_fields is None:
        return None
    entry, stated_fields = entry_and_fields
    draft = ServiceDraft(
        line,
        texts.get("id", ""),
        "",
        texts.get("organization", ""),
        entry,
        stated_fields,
        has_area=bool(texts.get("department")),
    )
    if any(texts.get(name) for name in _PLACE_FIELDS):
        place_texts = {**texts, "name": texts.get("place") or texts["name"], "confidential": ""}
        place = reader.place(line, place_texts, hidden=entry.is_shelter)
        if place is None:
            return None
        draft.places.append(ServiceAtPlace(PlaceDraft(line, "", *place)))
    return draft

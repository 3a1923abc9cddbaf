"""The files that can be imported.

The encoding is shown before anything is written, a missing place is an error, and a decompression
bomb does no harm.
"""

import io
import zipfile
from collections.abc import Callable

import pytest

from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.store.areas import areas
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.wire.imports import child_process
from services.partners.directory.wire.imports.drafts import CellReader
from tests.partners.scene import Scene, Stubs
from tests.partners.test_import_hsds import SERVICE, tables
from tests.partners.test_imports import as_json, problems, problems_of_files, sheet, workbook

ROWS = ("A1;Consejería y niñez;PSS;León", "A2;Asesoría jurídica;LEG;Estelí")
HEADINGS = "id;Nombre;Necesidades;Departamento"


@pytest.mark.parametrize(
    "rows",
    [
        ('Uno;LEG;León;"dos', "Otro;LEG;León;x"),
        ('Uno;LEG;León;"dos', 'Otro;LEG;León;"x"', "Tercero;LEG;León;y"),
    ],
)
def test_an_unclosed_quotation_mark_fails_the_import_instead_of_swallowing_rows(
    scene: Scene, manager: Stubs, rows: tuple[str, ...]
) -> None:
    headings = "Nombre;Necesidades;Departamento;Descripción"
    job = scene.run_import(manager, sheet(*rows, headings=headings))
    assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "malformed")
    quoted_sheet = sheet(
        '"Uno";LEG;León;"dos ""x""\nlíneas"', 'La "Luna";LEG;León;', headings=headings
    )
    assert scene.import_report(manager, quoted_sheet).created == 2
    assert {row["name"] for row in scene.rows("SELECT name FROM services")} == {"Uno", 'La "Luna"'}


@pytest.mark.parametrize(
    "content", [b"[]", b'{"contents": []}', b"Nombre;Necesidades;Departamento\n"]
)
def test_a_file_without_a_row_fails_the_import(
    scene: Scene, manager: Stubs, content: bytes
) -> None:
    """A system whose export is empty would otherwise not notice it."""
    job = scene.run_import(manager, content)
    assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "required")


def with_changed_part(content: bytes, changed_name: str, change: Callable[[bytes], bytes]) -> bytes:
    """Returns an archive with one part changed."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(changed, "w") as archive:
        for name in whole.namelist():
            part = whole.read(name)
            archive.writestr(name, change(part) if changed_name in name else part)
    return changed.getvalue()


def with_cut_sheet(content: bytes) -> bytes:
    """Returns a workbook whose sheet ends in the middle of its XML."""
    return with_changed_part(content, "sheet1", lambda part: part[: len(part) // 2])


def with_endless_format(content: bytes) -> bytes:
    """Returns a workbook whose cells have a format with a number of twenty digits."""
    number = b'numFmtId="' + b"9" * 20
    return with_changed_part(content, "styles", lambda part: part.replace(b'numFmtId="0', number))


def with_damaged_part(content: bytes) -> bytes:
    """Returns an archive in which the packed bytes of its first part can't be unpacked."""
    name_length, extra_length = content[26], content[28]
    start = 30 + name_length + extra_length
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


def encrypted(content: bytes) -> bytes:
    """Returns an archive whose first part is marked as encrypted."""
    directory = content.index(b"PK\x01\x02")
    flags = {6: content[6] | 1, directory + 8: content[directory + 8] | 1}
    return bytes(flags.get(place, byte) for place, byte in enumerate(content))


@pytest.mark.parametrize(
    "damage", [with_cut_sheet, with_endless_format, with_damaged_part, encrypted]
)
def test_an_import_of_a_damaged_or_encrypted_workbook_fails_at_the_first_attempt(
    scene: Scene, manager: Stubs, damage: Callable[[bytes], bytes]
) -> None:
    content = workbook(["Nombre", "Necesidades", "Departamento"], ["Uno", "LEG", "León"])
    job = scene.run_import(manager, damage(content))
    assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "malformed")


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        ("mac_roman", pb.IMPORT_ENCODING_MACINTOSH),
        ("latin_1", pb.IMPORT_ENCODING_WINDOWS_1252),
        ("cp1252", pb.IMPORT_ENCODING_WINDOWS_1252),
        ("cp850", pb.IMPORT_ENCODING_IBM850),
    ],
)
def test_an_encoding_that_the_file_does_not_reveal_is_guessed_and_reported_before_a_write(
    scene: Scene, manager: Stubs, codec: str, encoding: pb.ImportEncoding.ValueType
) -> None:
    first = scene.run_import(manager, sheet(*ROWS, headings=HEADINGS).decode().encode(codec))
    assert (first.report.written, first.report.encoding_guessed, first.report.encoding) == (
        False,
        True,
        encoding,
    )
    assert "Consejería" in first.report.encoding_samples
    again = scene.run_import(scene.coordinator, source_import_id=first.id)
    for job in (again, scene.coordinator.GetImport(id=first.id)):
        assert (job.report.encoding_guessed, list(job.report.encoding_samples)) == (True, [])
    assert not scene.rows("SELECT * FROM services")
    assert scene.import_report(manager, source_import_id=first.id, encoding=encoding).written
    assert {row["name"] for row in scene.rows("SELECT name FROM services")} == {
        "Consejería y niñez",
        "Asesoría jurídica",
    }


def test_a_file_that_reveals_its_encoding_is_imported_without_a_question(
    scene: Scene, manager: Stubs
) -> None:
    for codec in ("utf-8", "utf-16"):
        content = sheet(*ROWS, headings=HEADINGS).decode().encode(codec)
        report = scene.import_report(manager, content)
        assert (report.written, report.encoding_guessed) == (True, False)


def test_the_tables_of_a_package_are_read_in_one_encoding(scene: Scene, manager: Stubs) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(tables())) as utf_8, zipfile.ZipFile(package, "w") as mac:
        for name in utf_8.namelist():
            mac.writestr(name, utf_8.read(name).decode().encode("mac_roman"))
    report = scene.import_report(manager, package.getvalue())
    assert (report.written, report.encoding, list(report.encoding_samples)) == (
        False,
        pb.IMPORT_ENCODING_MACINTOSH,
        ["Consejería"],
    )


@pytest.mark.parametrize(
    ("headings", "row", "cell"),
    [
        ("Nombre;Necesidades;Departamento", "Uno;PSS;", (2, "C", "department", "required")),
        ("Nombre;Necesidades;Departamento", "Uno;PSS", (2, "C", "department", "required")),
        ("Nombre;Necesidades;País;Departamento", "Uno;PSS;;León", (2, "C", "country", "required")),
        ("Nombre;Necesidades", "Uno;PSS", (2, "", "department", "required")),
        (
            "Nombre;Necesidades;Departamento;Dirección",
            "Uno;PSS;todo el país;Calle 1",
            (2, "C", "department", "required"),
        ),
    ],
)
def test_a_missing_place_is_an_error_at_its_cell(
    scene: Scene, manager: Stubs, headings: str, row: str, cell: tuple[int, str, str, str]
) -> None:
    report = scene.import_report(manager, sheet(row, headings=headings))
    assert (report.written, problems(report)) == (False, [cell])


def test_a_department_in_merged_cells_is_an_error_at_each_empty_cell(
    scene: Scene, manager: Stubs
) -> None:
    content = workbook(
        ["Nombre", "Necesidades", "Departamento"],
        ["Uno", "PSS", "León"],
        ["Dos", "PSS", None],
        ["Tres", "PSS", None],
        merged="C2:C4",
    )
    assert problems(scene.import_report(manager, content)) == [
        (3, "C", "department", "required"),
        (4, "C", "department", "required"),
    ]


def test_the_whole_country_may_be_given_in_words_and_a_municipality_implies_its_department(
    scene: Scene, manager: Stubs
) -> None:
    content = sheet(
        "Uno;PSS;todo el país;",
        "Dos;PSS;;Chichigalpa",
        headings="Nombre;Necesidades;Departamento;Municipio",
    )
    assert scene.import_report(manager, content).written
    assert scene.rows("SELECT name, department FROM services ORDER BY name") == [
        {"name": "Dos", "department": "NI-CI"},
        {"name": "Uno", "department": ""},
    ]


def test_an_imported_row_may_name_haiti_as_its_country(scene: Scene, manager: Stubs) -> None:
    content = sheet("Uno;PSS;Haití;todo el país", headings="Nombre;Necesidades;País;Departamento")
    assert scene.import_report(manager, content).written
    assert scene.rows("SELECT country FROM services") == [{"country": "HT"}]


@pytest.mark.parametrize("name", ["Soins d’urgence", "soins d'urgence"])
def test_a_need_is_read_by_its_name_with_either_apostrophe(name: str) -> None:
    assert CellReader(taxonomy(), areas(), "NI").needs(name) == ["MED.EMG"]


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ("español, kriol", ["es", "bzk"]),
        ("criollo de la Costa Caribe y miskito", ["bzk", "miq"]),
        ("criollo haitiano / français", ["ht", "fr"]),
        ("español, criollo", None),
        ("creole", None),
    ],
)
def test_the_creole_of_nicaraguas_coast_is_not_taken_for_haitian_creole(
    scene: Scene, manager: Stubs, languages: str, expected: list[str] | None
) -> None:
    content = sheet(
        f"Uno;PSS;{languages};República Dominicana;todo el país",
        headings="Nombre;Necesidades;Idiomas;País;Departamento",
    )
    report = scene.import_report(manager, content)
    if expected is None:
        problems = [problem.reason_code for line in report.lines for problem in line.problems]
        assert problems == ["unknown_code"]
        return
    assert scene.rows("SELECT languages, country FROM services") == [
        {"languages": expected, "country": "DO"}
    ]


def test_a_service_from_another_directory_is_refused_if_it_has_no_place(
    scene: Scene, manager: Stubs
) -> None:
    placeless_service = {
        name: value for name, value in SERVICE.items() if name != "service_at_locations"
    }
    assert problems(scene.import_report(manager, as_json(placeless_service))) == [
        (1, "", "department", "required")
    ]


def test_an_address_without_a_department_is_an_error_at_its_cell(
    scene: Scene, manager: Stubs
) -> None:
    addresses = [
        {
            "id": "d1",
            "location_id": "l1",
            "address_1": "Del parque 2c",
            "state_province": "",
            "country": "NI",
        }
    ]
    problem = ("addresses.csv", 2, "D", "state_province", "required")
    assert problem in problems_of_files(scene.import_report(manager, tables(addresses=addresses)))


def workbook_with_cells(cells: bytes) -> bytes:
    """Returns a workbook whose sheet has these cells in addition to its own."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook(["Nombre"]))) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as created,
    ):
        for name in source.namelist():
            text = source.read(name)
            created.writestr(
                name,
                text.replace(b"</sheetData>", b"<row>" + cells + b"</row></sheetData>")
                if "sheet1" in name
                else text,
            )
    return packed.getvalue()


def test_a_workbook_with_more_cells_than_a_table_may_have_is_refused_before_it_is_parsed(
    scene: Scene, manager: Stubs
) -> None:
    content = workbook_with_cells(b"<c/>" * 6_000_000)
    assert len(content) < 94_000
    job = scene.run_import(manager, content, dry_run=True)
    assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "too_long")


def long_sheet() -> bytes:
    rows = "\n".join(
        f"A{number};Consejería {number};PSS;León;{'x' * 100}" for number in range(4_900)
    )
    return f"{HEADINGS};descripción\n{rows}".encode()


@pytest.mark.parametrize(
    ("limits", "content"),
    [
        pytest.param(
            (1, child_process._LIMITS[1]),
            lambda: workbook_with_cells(b"<c/>" * 1_900_000),
            id="time",
        ),
        pytest.param((child_process._LIMITS[0], 60_000_000), long_sheet, id="memory"),
    ],
)
def test_a_file_that_takes_too_much_time_or_memory_ends_only_the_process_that_reads_it(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], content: Callable[[], bytes]
) -> None:
    monkeypatch.setattr(child_process, "_LIMITS", limits)
    with pytest.raises(child_process.TooMuchWork):
        child_process.parse_in_child_process(
            content(), CellReader(taxonomy(), areas()), None, lambda: None
        )

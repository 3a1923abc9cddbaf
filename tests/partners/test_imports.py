"""Imports of directories that were kept elsewhere.

A file is imported whole or not at all, a second import of the same file changes nothing, and each
error names its cell.
"""

import csv
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import openpyxl
import pytest

from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.usecases.import_jobs import run_import
from services.partners.directory.wire.imports import hours
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_membership import apply
from tests.partners.test_password_resets import facts_with_letters

CREATED, CHANGED, UNCHANGED, REFUSED = (
    pb.ImportOutcome.Value(f"IMPORT_OUTCOME_{name}")
    for name in ("CREATED", "CHANGED", "UNCHANGED", "REFUSED")
)
HEADINGS = "Nombre;Necesidades;Departamento;Teléfono;Horario;Edades;Idiomas"
WITH_ORGANIZATION = "Nombre;Necesidades;Departamento;Organización"
GOOD = [
    "Asesoría legal;LEG;Chinandega;2341-0000;L-V 8am-5pm;18+;español, inglés",
    "Atención psicológica;PSS;León;+505 2311 0000;lun a vie 8:00-17:00, sáb 8am-12m;0-17;miskito",
]


def sheet(*rows: str, headings: str = HEADINGS) -> bytes:
    return "\n".join((headings, *rows)).encode()


def as_json(services: object) -> bytes:
    return json.dumps(services).encode()


def package(**tables: list[dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, rows in tables.items():
            text = io.StringIO()
            headings = list(dict.fromkeys(key for row in rows for key in row))
            writer = csv.DictWriter(text, headings)
            writer.writeheader()
            writer.writerows(rows)
            archive.writestr(f"data/{name}.csv", text.getvalue())
    return buffer.getvalue()


def problems(report: pb.ImportReport) -> list[tuple[int, str, str, str]]:
    """Returns (row, column, field, reason) of each problem."""
    return [problem[1:] for problem in problems_of_files(report)]


def problems_of_files(report: pb.ImportReport) -> list[tuple[str, int, str, str, str]]:
    """Returns (file, row, column, field, reason) of each problem."""
    return [
        (line.file, line.row, problem.column, problem.field, problem.reason_code)
        for line in report.lines
        for problem in line.problems
    ]


def outcomes(report: pb.ImportReport) -> list[int]:
    return [line.outcome for line in report.lines]


def test_a_partners_spreadsheet_becomes_services_and_importing_it_again_changes_nothing(
    scene: Scene, manager: Stubs
) -> None:
    first = scene.import_report(manager, sheet(*GOOD))
    assert (first.written, first.created, outcomes(first), problems(first)) == (
        True,
        2,
        [CREATED, CREATED],
        [],
    )
    service = manager.GetService(id=first.lines[0].subject_id)
    assert (service.name, list(service.need_codes), service.department, service.phone) == (
        "Asesoría legal",
        ["LEG"],
        "NI-CI",
        "+50523410000",
    )
    assert (service.eligibility.minimum_age, list(service.languages)) == (18, ["es", "en"])
    [schedule] = service.schedules
    assert (list(schedule.byday), schedule.opens_at, schedule.closes_at) == (
        ["MO", "TU", "WE", "TH", "FR"],
        "08:00",
        "17:00",
    )
    assert not service.public  # a file makes a service public only if it says so
    facts = len(scene.rows("SELECT * FROM outbox"))
    second = scene.import_report(manager, sheet(*GOOD))
    assert (second.unchanged, outcomes(second)) == (2, [UNCHANGED] * 2)
    assert [line.subject_id for line in second.lines] == [line.subject_id for line in first.lines]
    assert len(scene.rows("SELECT * FROM outbox")) == facts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lun-vie 8am-12am", "ambiguous"),
        ("lun-vie 12am-5pm", "ambiguous"),
        ("lun-vie 12am-12pm", "ambiguous"),
        ("lun-vie 8am-12m", ["MO-FR 08:00-12:00"]),
        ("lun-vie 8am-12pm", ["MO-FR 08:00-12:00"]),
        ("vie 8pm-12am", ["FR-FR 20:00-00:00"]),
        ("sab 12am-6am", ["SA-SA 00:00-06:00"]),
        ("lun-vie 8:00-24:00", ["MO-FR 08:00-00:00"]),
        ("lun-vie 8 a 5", "ambiguous"),
        ("L,M,V 8:00-17:00", "ambiguous"),
        ("lun-vie 8:00-17:00 excepto feriados", "ambiguous"),
        ("lun-vie y feriados 8:00-12:00", "malformed"),
        ("lun-vie 8am-12md y 1pm-5pm", ["MO-FR 08:00-12:00", "MO-FR 13:00-17:00"]),
    ],
)
def test_hours_that_can_be_read_in_two_ways_are_not_guessed(
    text: str, expected: str | list[str]
) -> None:
    if isinstance(expected, str):
        with pytest.raises(hours.UnclearHours, match=f"^{expected}$"):
            hours.schedules(text)
        return
    assert [
        f"{schedule.byday[0]}-{schedule.byday[-1]} {schedule.opens_at}-{schedule.closes_at}"
        for schedule in hours.schedules(text)
    ] == expected


def test_a_row_with_an_id_changes_its_service(scene: Scene, manager: Stubs) -> None:
    content = [f"A{number};{row}" for number, row in enumerate(GOOD)]
    first = scene.import_report(manager, sheet(*content, headings=f"id;{HEADINGS}"))
    changed = scene.import_report(
        manager, sheet(content[0].replace("18+", "21+"), content[1], headings=f"id;{HEADINGS}")
    )
    assert outcomes(changed) == [CHANGED, UNCHANGED]
    assert manager.GetService(id=first.lines[0].subject_id).eligibility.minimum_age == 21


def test_a_dry_run_reports_what_would_change_and_writes_nothing(
    scene: Scene, manager: Stubs
) -> None:
    report = scene.import_report(manager, sheet(*GOOD), dry_run=True)
    assert (report.written, report.created, [line.subject_id for line in report.lines]) == (
        False,
        2,
        ["", ""],
    )
    assert not scene.rows("SELECT * FROM services")


def test_nothing_is_written_if_one_row_is_refused_and_each_wrong_cell_is_named(
    scene: Scene, manager: Stubs
) -> None:
    report = scene.import_report(
        manager,
        sheet(
            GOOD[0],
            "Uno;LEG;Chinandega;;9-5 M-F;;",
            "Dos;LEG;Chinandega;;;150+;",
            "Tres;Brujería;Atlántida;123;cerrado;40-20;klingon",
            "Cuatro;LEG;Chinandega;;lun 8:00-12:00, lun 9:00-10:00;;",
            ";LEG;Chinandega;;;;",
            GOOD[0],
            "Orientaci\u00c3\u00b3n;LEG;;;;mayores de 18;",
        ),
    )
    assert (report.written, report.created, report.refused) == (False, 1, 7)
    assert problems(report) == [
        (3, "E", "schedules", "ambiguous"),
        (4, "F", "ages", "out_of_range"),
        (5, "B", "need_codes", "unknown_code"),
        (5, "C", "department", "unknown_code"),
        (5, "D", "phone", "malformed"),
        (5, "E", "schedules", "malformed"),
        (5, "G", "languages", "unknown_code"),
        (6, "E", "schedules", "overlaps"),
        (7, "A", "name", "required"),
        (8, "A", "name", "duplicate"),
        (9, "C", "department", "required"),
        (9, "A", "name", "malformed"),
        (9, "F", "ages", "ambiguous"),
    ]
    assert not scene.rows("SELECT * FROM services")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("first_line", ["", "sep={}\r\n"])
def test_a_sheet_is_read_in_each_encoding_and_with_each_separator(
    scene: Scene, manager: Stubs, encoding: str, separator: str, first_line: str
) -> None:
    buffer = io.StringIO()
    buffer.write(first_line.format(separator))
    csv.writer(buffer, delimiter=separator).writerows(
        [["Nombre", "Necesidades", "Departamento"], ["Atención a niñez", "PSS", "Estelí"]]
    )
    report = scene.import_report(
        manager,
        buffer.getvalue().encode(encoding),
        encoding=pb.IMPORT_ENCODING_WINDOWS_1252 if encoding == "cp1252" else 0,
    )
    assert (problems(report), report.created) == ([], 1)
    assert scene.rows("SELECT name, department FROM services") == [
        {"name": "Atención a niñez", "department": "NI-ES"}
    ]


def workbook(*rows: list[object], merged: str = "") -> bytes:
    """Returns a workbook with these rows."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if merged:
        book.active.merge_cells(merged)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_a_workbook_is_read_like_a_sheet(scene: Scene, manager: Stubs) -> None:
    content = workbook(
        ["Nombre", "Necesidades", "Departamento", "Teléfono", "Edad mínima", "Color"],
        ["Asesoría", "LEG", "Chinandega", 23410000, 18],
        ["Otra", "LEG", "Chinandega", None, "dieciocho"],
        ["Tercera", "LEG", "Chinandega", None, "1_8"],
        ["Cuarta", "LEG", "Chinandega", None, "١٨"],
    )
    report = scene.import_report(manager, content)
    assert problems(report) == [(row, "E", "minimum_age", "malformed") for row in (3, 4, 5)]
    assert list(report.ignored_columns) == ["F"]


def test_a_manager_imports_for_her_own_organisation_and_a_coordinator_for_those_named_in_rows(
    scene: Scene,
) -> None:
    first_house, second_house = scene.organization("Casa Uno"), scene.organization("Casa Dos")
    content = sheet(
        "A;LEG;León;casa uno",
        "B;LEG;León;Casa Dos",
        headings=WITH_ORGANIZATION,
    )
    report = scene.import_report(scene.coordinator, content)
    assert (report.written, report.created) == (True, 2)
    manager = scene.by(first_house, Role.MANAGER)
    assert problems(scene.import_report(manager, content)) == [
        (3, "D", "organization", "unknown_organization")
    ]
    assert refusal(
        lambda: manager.CreateImport(content=content, organization_id=second_house.id)
    ) == (NOT_FOUND)
    assert scene.rows("SELECT name, organization_id FROM services ORDER BY name") == [
        {"name": "A", "organization_id": first_house.id},
        {"name": "B", "organization_id": second_house.id},
    ]
    # Another member's service under this id is not hers: the row becomes a service of her own.
    (foreign_service,) = scene.rows("SELECT id, name FROM services WHERE name = 'B'")
    content = sheet(
        f"{foreign_service['id']};Robado;LEG;León", headings="id;Nombre;Necesidades;Departamento"
    )
    report = scene.import_report(manager, content)
    assert report.lines[0].subject_id != foreign_service["id"]
    assert scene.rows("SELECT id, name FROM services WHERE id = %s", foreign_service["id"]) == [
        foreign_service
    ]


def test_a_coordinators_file_makes_no_service_of_another_organisation_public(scene: Scene) -> None:
    scene.organization("Casa Uno")
    headings = f"{WITH_ORGANIZATION};Público"
    content = sheet("A;LEG;León;Casa Uno;sí", "B;LEG;León;Casa Uno;no", headings=headings)
    report = scene.import_report(scene.coordinator, content)
    assert problems(report) == [(2, "E", "public", "member_only")]


def test_a_coordinators_file_adds_no_place_to_another_organisations_public_service(
    scene: Scene,
) -> None:
    service = scene.service(scene.organization("Casa Uno"), "A", "LEG", public=True)
    headings = f"{WITH_ORGANIZATION};Dirección;id"
    content = sheet(f"A;LEG;León;Casa Uno;Calle 1;{service.id}", headings=headings)
    report = scene.import_report(scene.coordinator, content)
    assert problems(report) == [(2, "E", "address", "member_only")]


def test_a_coordinators_file_does_not_state_how_to_reach_a_member_that_has_a_manager(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    headings = f"id;{HEADINGS};Dirección"
    known, placed = (scene.service(member, name, "LEG", department="NI-LE") for name in "AB")
    rows = (
        f"{known.id};A;LEG;León;2341-0001;;;;",
        "C1;C;LEG;León;;;;;",
        f"{placed.id};B;LEG;León;;;;;Calle 1",
    )
    report = scene.import_report(
        scene.coordinator, sheet(*rows, headings=headings), organization_id=member.id
    )
    assert problems(report) == [
        (2, "E", "phone", "member_only"),
        (3, "B", "name", "member_only"),
        (4, "B", "name", "member_only"),
        (4, "I", "address", "member_only"),
    ]


def test_a_coordinators_file_notifies_the_managers_of_the_members_whose_services_it_changes(
    scene: Scene,
) -> None:
    changed, same = scene.organization("Casa Uno"), scene.organization("Casa Dos")
    manager, _ = scene.worker(changed, Role.MANAGER), scene.worker(same, Role.MANAGER)
    ids = [scene.service(owner, "A", "LEG", department="NI-LE").id for owner in (changed, same)]
    rows = (f"{ids[0]};A;LEG;León;Casa Uno;no", f"{ids[1]};A;LEG;León;Casa Dos;sí")
    content = sheet(*rows, headings=f"id;{WITH_ORGANIZATION};Activo")
    for _ in range(2):  # the second time nothing changes
        assert problems(scene.import_report(scene.coordinator, content)) == []
    assert [fact.worker_id for fact, _ in facts_with_letters(scene, "entry_changed")] == [
        manager.id
    ]


def test_an_applicant_gets_no_services_and_does_not_stand_in_a_members_way(scene: Scene) -> None:
    applicant = apply(scene, name="Casa Uno")
    content = sheet("A;LEG;León;Casa Uno", headings=WITH_ORGANIZATION)
    assert problems(scene.import_report(scene.coordinator, content)) == [
        (2, "D", "organization", "unknown_organization")
    ]
    request = pb.CreateImportRequest(content=content, organization_id=applicant.id)
    assert refusal(lambda: scene.coordinator.CreateImport(request)) == NOT_FOUND
    member = scene.organization("Casa Uno")
    assert scene.import_report(scene.coordinator, content).written
    assert scene.rows("SELECT organization_id FROM services") == [{"organization_id": member.id}]
    scene.organization("Casa Uno")
    content = sheet("B;LEG;León;Casa Uno", headings=WITH_ORGANIZATION)
    assert problems(scene.import_report(scene.coordinator, content)) == [
        (2, "D", "organization", "unknown_organization")
    ]


def test_rows_that_name_a_member_which_left_and_came_back_belong_to_the_present_member(
    scene: Scene,
) -> None:
    former = scene.organization("Casa Uno")
    scene.by(former, Role.MANAGER).LeaveOrganization(id=former.id, etag=scene.etag(former.id))
    present = scene.organization("Casa Uno")
    content = sheet("A;LEG;León;Casa Uno", headings=WITH_ORGANIZATION)
    assert scene.import_report(scene.coordinator, content).written
    assert scene.rows("SELECT organization_id FROM services") == [{"organization_id": present.id}]


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04broken",
        b"{",
        b"[1]",
        b"[[[[" * 50_000,
        b'[{"name": "Uno", "name": "Dos"}]',
        package(phones=[{"id": "1"}]),
    ],
)
def test_a_file_that_is_no_directory_is_refused(
    scene: Scene, manager: Stubs, content: bytes
) -> None:
    job = scene.run_import(manager, content)
    assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "malformed")


def test_a_file_that_would_not_fit_is_refused_before_it_is_unpacked(
    scene: Scene, manager: Stubs
) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("services.csv", b"0" * 40_000_000)
    assert wrong_fields(lambda: scene.run_import(manager, b"n" * 700_001)) == [
        ("content", "too_long")
    ]
    for content in (bomb.getvalue(), b"Nombre\n" + b"a\n" * 5001):
        job = scene.run_import(manager, content)
        assert (job.state, job.failure_code) == (pb.IMPORT_STATE_FAILED, "too_long")


def test_two_thousand_rows_are_imported_at_once(scene: Scene, manager: Stubs) -> None:
    report = scene.import_report(
        manager, sheet(*(GOOD[0].replace("Asesoría", f"Asesoría {n}") for n in range(2000)))
    )
    assert (report.created, report.written) == (2000, True)
    assert scene.rows("SELECT count(*) AS n, count(open_hours) AS open FROM services") == [
        {"n": 2000, "open": 2000}
    ]


def test_two_imports_of_one_file_that_run_at_once_create_each_service_once(
    scene: Scene, manager: Stubs
) -> None:
    content = sheet(*(f"Servicio {number};PSS;León;;;;" for number in range(40)))
    created = [manager.CreateImport(content=content) for _ in range(2)]

    def jobs() -> list[pb.Import]:
        return [manager.GetImport(id=job.id) for job in created]

    def work() -> None:
        while {job.state for job in jobs()} != {pb.IMPORT_STATE_DONE}:
            run_import(scene.database, scene.keyring, scene.mail, scene.clock)

    with ThreadPoolExecutor(2) as pool:
        for worker in [pool.submit(work) for _ in range(2)]:
            worker.result()
    counts = [(job.report.created, job.report.unchanged) for job in jobs()]
    assert sorted(counts) == [(0, 40), (40, 0)]


def test_a_service_in_hsds_with_the_id_of_another_members_service_is_a_new_service(
    scene: Scene, manager: Stubs
) -> None:
    foreign_service = scene.service(scene.organization("Otra"), "Ajena", "PSS")
    service = {
        "id": foreign_service.id,
        "name": "Mía",
        "status": "active",
        "x_need_codes": ["PSS"],
        "x_department": "NI-LE",
    }
    report = scene.import_report(manager, as_json([service]))
    assert report.lines[0].subject_id != foreign_service.id
    assert scene.coordinator.GetService(id=foreign_service.id).name == "Ajena"


def test_a_column_with_content_but_no_heading_is_reported_as_ignored(
    scene: Scene, manager: Stubs
) -> None:
    row = "Asesoría;LEG;León;;L-V 8am-5pm; sáb 8am-12m;18+;es;beds"
    report = scene.import_report(manager, sheet(row, headings=f"{HEADINGS};;"))
    assert list(report.ignored_columns) == ["H", "I"]
    report = scene.import_report(manager, sheet("Otra;LEG;León;;;;;;", headings=f"{HEADINGS};;"))
    assert list(report.ignored_columns) == []

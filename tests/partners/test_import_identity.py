"""A row of a file identifies a service by the id in the row, and never by a name alone."""

import pytest

from protos.partners.v1 import open_data_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.partners.scene import Scene, Stubs
from tests.partners.test_imports import CHANGED, CREATED, UNCHANGED, outcomes, problems, sheet

ASKED = pb.IMPORT_OUTCOME_ASKED
HEADINGS = "Nombre;Necesidades;Departamento;Teléfono"


def with_ids(*rows: str) -> bytes:
    return sheet(*rows, headings=f"id;{HEADINGS}")


def without_ids(*rows: str) -> bytes:
    return sheet(*rows, headings=HEADINGS)


def phones(scene: Scene) -> dict[str, str]:
    """Returns the last four digits of each service's phone, by the service's id."""
    return {row["id"]: row["phone"][-4:] for row in scene.rows("SELECT id, phone FROM services")}


def test_two_services_with_the_same_name_in_two_files_stay_two_services(
    scene: Scene, manager: Stubs
) -> None:
    first = scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
    second = scene.import_report(manager, with_ids("A2;Consejería;PSS;León;2341-0002"))
    assert (outcomes(first), outcomes(second)) == ([CREATED], [CREATED])
    assert phones(scene) == {first.lines[0].subject_id: "0001", second.lines[0].subject_id: "0002"}


def test_two_ids_that_an_earlier_version_mapped_to_one_service_become_two_services(
    scene: Scene, manager: Stubs
) -> None:
    first = scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
    scene.rows(
        "INSERT INTO imported_ids SELECT organization_id, kind, 'A2', id, '' FROM imported_ids"
        " RETURNING id"
    )
    rows = ("A1;Consejería;PSS;León;2341-0003", "A2;Consejería;PSS;León;2341-0004")
    report = scene.import_report(manager, with_ids(*rows))
    assert outcomes(report) == [CHANGED, CREATED]
    assert phones(scene) == {
        first.lines[0].subject_id: "0003",
        report.lines[1].subject_id: "0004",
    }
    assert outcomes(scene.import_report(manager, with_ids(*reversed(rows)))) == [UNCHANGED] * 2


def test_a_renamed_service_is_found_again_by_its_id(scene: Scene, manager: Stubs) -> None:
    first = scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
    renamed = scene.import_report(manager, with_ids("A1;Orientación;PSS;Chinandega;2341-0001"))
    assert (outcomes(renamed), renamed.lines[0].subject_id) == (
        [CHANGED],
        first.lines[0].subject_id,
    )


def test_the_ids_of_two_importers_are_not_mixed_up(scene: Scene, member: Organization) -> None:
    coordinators_report = scene.import_report(
        scene.coordinator, with_ids("1;Asesoría;LEG;León;2341-0002"), organization_id=member.id
    )
    manager = scene.by(member, Role.MANAGER)
    managers_report = scene.import_report(manager, with_ids("1;Consejería;PSS;León;2341-0001"))
    assert (outcomes(managers_report), outcomes(coordinators_report)) == ([CREATED], [CREATED])


def test_a_differing_row_without_an_id_leads_to_a_question_and_nothing_is_written(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    service = scene.service(member, "Consejería", "PSS", department="NI-LE", phone="+50523410001")
    content = without_ids("Consejería;PSS;León;2341-0002", "Otra;PSS;León;")
    report = scene.import_report(manager, content)
    assert (report.written, report.asked, outcomes(report)) == (False, 1, [ASKED, CREATED])
    assert list(report.lines[0].candidate_ids) == [service.id]
    assert phones(scene) == {service.id: "0001"}


def test_the_answers_to_a_dry_run_decide_what_is_written_from_the_same_file(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    first_service, second_service = (
        scene.service(member, name, "PSS", department="NI-LE", phone="+50523410001")
        for name in ("Uno", "Dos")
    )
    content = without_ids("Uno;PSS;León;2341-0002", "Dos;PSS;León;2341-0003")
    trial = scene.run_import(manager, content, dry_run=True)
    assert outcomes(trial.report) == [ASKED, ASKED]
    partial_import = scene.run_import(
        manager,
        source_import_id=trial.id,
        answers=[pb.ImportAnswer(row=2, subject_id=first_service.id)],
    )
    assert (partial_import.report.written, outcomes(partial_import.report)) == (
        False,
        [CHANGED, ASKED],
    )
    complete = scene.import_report(
        manager, source_import_id=partial_import.id, answers=[pb.ImportAnswer(row=3)]
    )
    assert (complete.written, outcomes(complete)) == (True, [CHANGED, CREATED])
    assert phones(scene) == {
        first_service.id: "0002",
        second_service.id: "0001",
        complete.lines[1].subject_id: "0003",
    }
    repeated = scene.import_report(manager, content)
    assert [(line.outcome, line.subject_id) for line in repeated.lines] == [
        (UNCHANGED, line.subject_id) for line in complete.lines
    ]


def test_an_answer_can_only_name_a_service_that_was_asked_about(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    scene.service(member, "Uno", "PSS", department="NI-LE", phone="+50523410001")
    foreign_service = scene.service(scene.organization("Otra"), "Uno", "PSS", department="NI-LE")
    report = scene.import_report(
        manager,
        without_ids("Uno;PSS;León;2341-0002"),
        answers=[pb.ImportAnswer(row=2, subject_id=foreign_service.id)],
    )
    assert (report.written, problems(report)) == (False, [(2, "", "id", "unknown_code")])


def test_a_place_of_the_same_name_at_another_service_is_another_place(
    scene: Scene, manager: Stubs
) -> None:
    content = sheet(
        "Uno;PSS;León;Oficina;Calle Uno",
        "Dos;PSS;León;Oficina;Calle Dos",
        headings="Nombre;Necesidades;Departamento;Lugar;Dirección",
    )
    assert scene.import_report(manager, content).written
    assert outcomes(scene.import_report(manager, content)) == [UNCHANGED, UNCHANGED]
    assert scene.rows("SELECT address FROM locations ORDER BY address") == [
        {"address": "Calle Dos"},
        {"address": "Calle Uno"},
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"{'x' * 201};Consejería;PSS;León;", (2, "A", "id", "too_long")),
        ("a\u200bb;Consejería;PSS;León;", (2, "A", "id", "malformed")),
        ("1;Conse\0jería;PSS;León;", (2, "B", "name", "malformed")),
    ],
)
def test_an_id_or_a_text_that_cannot_be_stored_is_refused_at_its_cell(
    scene: Scene, manager: Stubs, row: str, problem: tuple[int, str, str, str]
) -> None:
    assert problems(scene.import_report(manager, with_ids(row))) == [problem]

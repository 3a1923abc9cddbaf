"""A row of a file identifies a service by the id in the row, and never by a name alone."""

from __future__ import annotations

import pytest

from chassis.tokens import SYSTEM
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.members.domain.worker import Role
from tests.partners.scene import Scene
from tests.partners.test_imports import CHANGED, CREATED, UNCHANGED, outcomes, problems, sheet

ASKED = pb.IMPORT_OUTCOME_ASKED
WITH_ID, WITHOUT = (
    "id;Nombre;Necesidades;Departamento;Teléfono",
    "Nombre;Necesidades;Departamento;Teléfono",
)


def with_ids(*rows: str) -> bytes:
    return sheet(*rows, headings=WITH_ID)


def without(*rows: str) -> bytes:
    return sheet(*rows, headings=WITHOUT)


def phones(scene: Scene) -> dict[str, str]:
    return {row["id"]: row["phone"][-4:] for row in scene.rows("SELECT id, phone FROM services")}


def test_two_services_with_the_same_name_in_two_files_stay_two_services(scene: Scene) -> None:
    manager = scene.by(scene.organization(), Role.MANAGER)
    first = scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
    second = scene.import_report(manager, with_ids("A2;Consejería;PSS;León;2341-0002"))
    assert (outcomes(first), outcomes(second)) == ([CREATED], [CREATED])
    assert phones(scene) == {first.lines[0].subject_id: "0001", second.lines[0].subject_id: "0002"}


def test_two_ids_that_an_earlier_version_mapped_to_one_service_become_two_services(
    scene: Scene,
) -> None:
    manager = scene.by(scene.organization(), Role.MANAGER)
    service = (
        scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
        .lines[0]
        .subject_id
    )
    with scene.database.transaction(SYSTEM) as tx:
        tx.execute(
            "INSERT INTO imported_ids SELECT organization_id, kind, 'A2', id, '' FROM imported_ids"
        )
    report = scene.import_report(
        manager, with_ids("A1;Consejería;PSS;León;2341-0003", "A2;Consejería;PSS;León;2341-0004")
    )
    assert outcomes(report) == [CHANGED, CREATED]
    assert phones(scene) == {service: "0003", report.lines[1].subject_id: "0004"}
    second_report = scene.import_report(
        manager, with_ids("A2;Consejería;PSS;León;2341-0004", "A1;Consejería;PSS;León;2341-0003")
    )
    assert outcomes(second_report) == [UNCHANGED, UNCHANGED]


def test_a_renamed_service_is_found_again_by_its_id(scene: Scene) -> None:
    manager = scene.by(scene.organization(), Role.MANAGER)
    first = scene.import_report(manager, with_ids("A1;Consejería;PSS;León;2341-0001"))
    renamed = scene.import_report(manager, with_ids("A1;Orientación;PSS;Chinandega;2341-0001"))
    assert (outcomes(renamed), renamed.lines[0].subject_id) == (
        [CHANGED],
        first.lines[0].subject_id,
    )


def test_the_ids_of_two_importers_are_not_mixed_up(scene: Scene) -> None:
    house = scene.organization("Casa")
    own = scene.import_report(
        scene.by(house, Role.MANAGER), with_ids("1;Consejería;PSS;León;2341-0001")
    )
    their_report = scene.import_report(
        scene.coordinator, with_ids("1;Asesoría;LEG;León;2341-0002"), organization_id=house.id
    )
    assert (outcomes(own), outcomes(their_report)) == ([CREATED], [CREATED])


def test_a_differing_row_without_an_id_leads_to_a_question_and_nothing_is_written(
    scene: Scene,
) -> None:
    house = scene.organization()
    second_service = scene.service(
        house, "Consejería", "PSS", department="NI-LE", phone="+50523410001"
    )
    manager = scene.by(house, Role.MANAGER)
    report = scene.import_report(
        manager, without("Consejería;PSS;León;2341-0002", "Otra;PSS;León;")
    )
    assert (report.written, report.asked, outcomes(report)) == (False, 1, [ASKED, CREATED])
    assert list(report.lines[0].candidate_ids) == [second_service.id]
    assert phones(scene) == {second_service.id: "0001"}


def test_the_answers_to_a_dry_run_decide_what_is_written_from_the_same_file(scene: Scene) -> None:
    house = scene.organization()
    one, other = (
        scene.service(house, name, "PSS", department="NI-LE", phone="+50523410001")
        for name in ("Uno", "Dos")
    )
    manager = scene.by(house, Role.MANAGER)
    trial = scene.run_import(
        manager, without("Uno;PSS;León;2341-0002", "Dos;PSS;León;2341-0003"), dry_run=True
    )
    assert outcomes(trial.report) == [ASKED, ASKED]
    partial_report = scene.run_import(
        manager, source_import_id=trial.id, answers=[pb.ImportAnswer(row=2, subject_id=one.id)]
    )
    assert (partial_report.report.written, outcomes(partial_report.report)) == (
        False,
        [CHANGED, ASKED],
    )
    complete = scene.import_report(
        manager, source_import_id=partial_report.id, answers=[pb.ImportAnswer(row=3)]
    )
    assert (complete.written, outcomes(complete)) == (True, [CHANGED, CREATED])
    assert phones(scene) == {one.id: "0002", other.id: "0001", complete.lines[1].subject_id: "0003"}
    second_report = scene.import_report(
        manager, without("Uno;PSS;León;2341-0002", "Dos;PSS;León;2341-0003")
    )
    assert (outcomes(second_report), [line.subject_id for line in second_report.lines]) == (
        [UNCHANGED, UNCHANGED],
        [line.subject_id for line in complete.lines],
    )


def test_an_answer_can_only_name_a_service_that_was_asked_about(scene: Scene) -> None:
    house, manager_of = scene.organization("Casa"), scene.by
    scene.service(house, "Uno", "PSS", department="NI-LE", phone="+50523410001")
    their_service = scene.service(scene.organization("Otra"), "Uno", "PSS", department="NI-LE")
    report = scene.import_report(
        manager_of(house, Role.MANAGER),
        without("Uno;PSS;León;2341-0002"),
        answers=[pb.ImportAnswer(row=2, subject_id=their_service.id)],
    )
    assert (report.written, problems(report)) == (False, [(2, "", "id", "unknown_code")])


def test_a_place_of_the_same_name_at_another_service_is_another_place(scene: Scene) -> None:
    manager = scene.by(scene.organization(), Role.MANAGER)
    headings = "Nombre;Necesidades;Departamento;Lugar;Dirección"
    rows = [f"{name};PSS;León;Oficina;Calle {name}" for name in ("Uno", "Dos")]
    assert scene.import_report(manager, sheet(*rows, headings=headings)).written
    assert outcomes(scene.import_report(manager, sheet(*rows, headings=headings))) == [
        UNCHANGED,
        UNCHANGED,
    ]
    assert sorted(row["address"] for row in scene.rows("SELECT address FROM locations")) == [
        "Calle Dos",
        "Calle Uno",
    ]


@pytest.mark.parametrize(("id", "reason"), [("x" * 201, "too_long"), ("a\u200bb", "malformed")])
def test_an_id_that_cannot_be_stored_is_refused_at_its_cell(
    scene: Scene, id: str, reason: str
) -> None:
    report = scene.import_report(
        scene.by(scene.organization(), Role.MANAGER), with_ids(f"{id};Consejería;PSS;León;")
    )
    assert problems(report) == [(2, "A", "id", reason)]


def test_a_text_that_the_database_cannot_store_is_refused_at_its_cell(scene: Scene) -> None:
    report = scene.import_report(
        scene.by(scene.organization(), Role.MANAGER), with_ids("1;Conse\0jería;PSS;León;")
    )
    assert problems(report) == [(2, "B", "name", "malformed")]

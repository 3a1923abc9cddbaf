"""An import as a job.

It is accepted at once, carried out exactly once even if processes are killed, cancelled cleanly,
and visible only to its own organisation.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import Mock

import pytest

from chassis.errors import Unavailable
from chassis.tokens import SYSTEM
from keys.rotation import rewrap
from keys.sealing import Keyring
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.__main__ import SEALED
from services.partners.directory.store import imports
from services.partners.directory.usecases import import_jobs
from services.partners.directory.usecases.import_jobs import run_import, running_imports
from services.partners.directory.wire.imports.child_process import ReadingInterrupted
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import ROOT, Scene, Stubs
from tests.partners.test_imports import GOOD, sheet
from tests.parts.loops import NEVER, OFTEN, eventually, running

# A program that runs an import as the service does, and is killed when everything is written and
# nothing is committed.
KILLED_PROGRAM = """
import os, signal, sys
from datetime import UTC, datetime
from tests.parts.clocks import SettableClock
from chassis.db import Database
from keys.sealing import Keyring
from services.partners.__main__ import SEALED
from services.partners.directory.store import imports
from services.partners.directory.usecases.import_jobs import run_import

imports.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
url, key, now = sys.stdin.read().split()
database = Database(url, max_size=4)
database.open()
keyring = Keyring(bytes.fromhex(key))
run_import(database, keyring, keyring, SettableClock(datetime.fromisoformat(now)))
"""


def create(by: Stubs, content: bytes | None = None, **fields: object) -> pb.Import:
    return by.CreateImport(  # type: ignore[no-any-return]
        content=sheet(*GOOD) if content is None else content,
        **fields,
    )


def get(by: Stubs, job: pb.Import) -> pb.Import:
    return by.GetImport(id=job.id)  # type: ignore[no-any-return]


def cancel(by: Stubs, job: pb.Import) -> pb.Import:
    return by.CancelImport(id=job.id)  # type: ignore[no-any-return]


def run(scene: Scene, keep_going: Callable[[], bool] = lambda: True) -> bool:
    """Runs the next import; returns whether one has ended."""
    return run_import(scene.database, scene.keyring, scene.mail, scene.clock, keep_going)


def count_services(scene: Scene) -> int:
    return len(scene.rows("SELECT * FROM services"))


def result(scene: Scene, by: Stubs, job: pb.Import) -> tuple[int, str, int]:
    """Returns the state of an import, the reason of its failure, and the number of services."""
    current_job = get(by, job)
    return current_job.state, current_job.failure_code, count_services(scene)


DONE = (pb.IMPORT_STATE_DONE, "", 2)
CANCELLED = (pb.IMPORT_STATE_CANCELLED, "", 0)


@pytest.fixture
def job(manager: Stubs) -> pb.Import:
    """An import of two services that nobody has run yet."""
    return create(manager)


def test_an_import_is_accepted_at_once_and_done_later_and_its_report_is_kept(
    scene: Scene, manager: Stubs
) -> None:
    job = create(manager, request_id="once")
    assert create(manager, request_id="once").id == job.id
    assert result(scene, manager, job) == (pb.IMPORT_STATE_PENDING, "", 0)
    assert not get(manager, job).HasField("report")
    assert run(scene)
    assert result(scene, manager, job) == DONE
    done = get(manager, job)
    assert (done.rows_done, done.rows_total, done.report.created) == (2, 2, 2)
    assert not run(scene)
    (listed_import,) = manager.ListImports().imports
    assert (listed_import.id, listed_import.HasField("report")) == (job.id, False)


def has_ended(by: Stubs, job: pb.Import) -> bool:
    return bool(get(by, job).state == pb.IMPORT_STATE_DONE)


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_loop_does_each_import_even_if_its_announcement_is_lost(
    scene: Scene,
    manager: Stubs,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
    read_again: float,
) -> None:
    if not announced:
        monkeypatch.setattr(imports, "announce", lambda *_: None)
    jobs = [create(manager), create(manager)]  # before the loop starts
    with running(
        running_imports(
            scene.database, scene.keyring, scene.mail, scene.clock, read_again=read_again
        )
    ):
        assert eventually(lambda: all(has_ended(manager, job) for job in jobs))
        jobs.append(create(manager))
        assert eventually(lambda: has_ended(manager, jobs[-1]))


def test_the_loop_claims_the_import_of_a_dead_process_when_its_lease_ends(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    with scene.database.transaction(SYSTEM) as tx:
        assert imports.claim(tx, "dead", scene.clock.now())
    with running(
        running_imports(scene.database, scene.keyring, scene.mail, scene.clock, read_again=NEVER)
    ):
        assert not eventually(lambda: has_ended(manager, job), 2)
        scene.advance(seconds=31)
        assert eventually(lambda: has_ended(manager, job))


def test_an_import_that_a_process_gives_back_is_claimed_at_once_by_another(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    with scene.database.transaction(SYSTEM) as tx:
        claimed = imports.claim(tx, "stopping", scene.clock.now())
    assert claimed
    with running(
        running_imports(scene.database, scene.keyring, scene.mail, scene.clock, read_again=NEVER)
    ):
        assert not eventually(lambda: has_ended(manager, job), 2)
        with scene.database.transaction(SYSTEM) as tx:
            imports.release(tx, "stopping", claimed[0], counts=False)
        assert eventually(lambda: has_ended(manager, job))


def test_an_import_is_on_the_trail_in_the_name_of_the_worker_who_sent_it(
    scene: Scene, member: Organization
) -> None:
    worker = scene.worker(member, Role.MANAGER)
    job = create(scene.as_worker(worker))
    run(scene)
    trail = scene.rows(
        "SELECT actor_id, action, object_id FROM audit"
        " WHERE action IN ('create_import', 'directory_import') ORDER BY sequence DESC"
    )
    assert [tuple(row.values()) for row in trail[:2]] == [
        (worker.id, "directory_import", member.id),
        (worker.id, "create_import", job.id),
    ]


def test_a_waiting_import_is_cancelled_at_once(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    assert cancel(manager, job).state == pb.IMPORT_STATE_CANCELLED
    assert not run(scene)
    assert result(scene, manager, job) == CANCELLED


def test_an_import_that_is_being_read_can_be_cancelled(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:

    def cancel_and_go_on() -> bool:
        cancel(manager, job)
        return True

    assert run(scene, cancel_and_go_on)
    assert result(scene, manager, job) == CANCELLED


@contextmanager
def stopped_while_writing(
    scene: Scene, member: Organization, by: Stubs, job: pb.Import
) -> Iterator[Future[bool]]:
    """Yields a run of the import that waits to write, until the block ends."""
    with ThreadPoolExecutor(1) as pool, scene.database.transaction(SYSTEM, timeout=60) as tx:
        tx.execute("SELECT * FROM organizations WHERE id = %s FOR UPDATE", (member.id,)).fetchone()
        running_import = pool.submit(run, scene)
        while get(by, job).state != pb.IMPORT_STATE_WRITING:
            assert not running_import.done()
        yield running_import


def test_an_import_that_is_cancelled_during_its_writing_writes_nothing(
    scene: Scene, member: Organization, manager: Stubs, job: pb.Import
) -> None:
    with stopped_while_writing(scene, member, manager, job):
        assert cancel(manager, job).state == pb.IMPORT_STATE_WRITING
    while get(manager, job).end_time.seconds == 0:
        run(scene)
    assert result(scene, manager, job) == CANCELLED


def test_an_import_that_has_ended_cannot_be_cancelled(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    run(scene)
    assert cancel(manager, job).state == pb.IMPORT_STATE_DONE


def test_a_process_killed_before_the_commit_leaves_nothing_and_another_does_the_whole_import(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    arguments = f"{scene.url} {scene.sealing_key.hex()} {scene.clock.now().isoformat()}"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_PROGRAM],
        input=arguments,
        text=True,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (killed.returncode, count_services(scene)) == (-9, 0), killed.stderr
    assert not run(scene)  # the process that claimed the job may still be alive
    scene.advance(seconds=31)
    assert run(scene)
    assert (get(manager, job).report.created, count_services(scene)) == (2, 2)


def test_a_process_that_lost_its_import_to_another_writes_nothing(
    scene: Scene, member: Organization, manager: Stubs, job: pb.Import
) -> None:
    with stopped_while_writing(scene, member, manager, job) as slow_run:
        scene.rows("UPDATE imports SET claim = 'another' RETURNING id")
    assert (slow_run.result(), count_services(scene)) == (False, 0)
    scene.advance(seconds=31)
    assert run(scene)
    assert (get(manager, job).report.created, count_services(scene)) == (2, 2)


def test_a_lease_dated_a_day_ahead_by_a_wrong_clock_delays_nobody(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    scene.rows(
        "UPDATE imports SET claim = 'gone', claim_time = %s + interval '1 day' RETURNING id",
        scene.clock.now(),
    )
    assert run(scene)
    assert result(scene, manager, job) == DONE


def test_an_import_whose_process_ended_three_times_fails_as_interrupted(
    scene: Scene, manager: Stubs, monkeypatch: pytest.MonkeyPatch, job: pb.Import
) -> None:
    monkeypatch.setattr(import_jobs, "parse_in_child_process", Mock(side_effect=ReadingInterrupted))
    assert [run(scene) for _ in range(4)] == [False, False, False, True]
    assert result(scene, manager, job) == (pb.IMPORT_STATE_FAILED, "interrupted", 0)


def test_an_import_waits_for_a_dependency_that_is_unavailable(
    scene: Scene, manager: Stubs, monkeypatch: pytest.MonkeyPatch, job: pb.Import
) -> None:
    parse_in_child_process = Mock(side_effect=Unavailable("store_unavailable"))
    with monkeypatch.context() as patch:
        patch.setattr(import_jobs, "parse_in_child_process", parse_in_child_process)
        assert [run(scene) for _ in range(5)] == [False] * 5
    assert get(manager, job).state == pb.IMPORT_STATE_PENDING
    assert run(scene)
    assert result(scene, manager, job) == DONE


def test_a_service_that_stops_gives_its_import_back_without_counting_the_attempt(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    assert [run(scene, lambda: False) for _ in range(4)] == [False] * 4
    assert get(manager, job).state == pb.IMPORT_STATE_PENDING
    assert run(scene)
    assert result(scene, manager, job) == DONE


def test_the_import_of_a_member_that_was_suspended_meanwhile_is_not_written(
    scene: Scene, member: Organization, job: pb.Import
) -> None:
    scene.suspend(member.id)
    assert run(scene)
    assert result(scene, scene.coordinator, job) == (pb.IMPORT_STATE_FAILED, "not_allowed", 0)


def test_the_import_of_another_organisation_is_not_found(
    scene: Scene, manager: Stubs, job: pb.Import, stranger: Stubs
) -> None:
    for call in (
        lambda: get(stranger, job),
        lambda: cancel(stranger, job),
        lambda: create(stranger, b"", source_import_id=job.id),
        lambda: get(manager, pb.Import(id="none")),
    ):
        assert refusal(call) == NOT_FOUND
    assert not stranger.ListImports().imports
    assert get(scene.coordinator, job).id == job.id


def test_a_file_is_imported_again_only_for_the_organisation_of_its_first_import(
    scene: Scene, job: pb.Import
) -> None:
    """Otherwise a coordinator could import a member's file for her own organisation, and open the
    confidential addresses in it.
    """
    job_for_each_row = create(scene.coordinator)
    colleague = scene.by(scene.coalition, Role.MANAGER)
    for by, source, organization_id in (
        (scene.coordinator, job, scene.coalition.id),
        (colleague, job_for_each_row, ""),
    ):
        fields = {"source_import_id": source.id, "organization_id": organization_id}
        assert refusal(lambda: create(by, b"", **fields)) == NOT_FOUND  # noqa: B023
    assert create(scene.coordinator, b"", source_import_id=job.id).organization_id


def test_at_most_five_imports_may_wait_and_wrong_fields_are_reported(manager: Stubs) -> None:
    answers = [pb.ImportAnswer(row=2, subject_id="x\0")]
    assert wrong_fields(lambda: create(manager, answers=answers)) == [("answers", "malformed")]
    assert wrong_fields(lambda: create(manager, b"")) == [("content", "required")]
    for _ in range(5):
        create(manager)
    assert refusal(lambda: create(manager)) == ("RESOURCE_EXHAUSTED", "too_many_requests")


def test_the_sealed_parts_of_an_import_are_rewrapped_with_all_others(
    scene: Scene, job: pb.Import
) -> None:
    run(scene)
    newer = Keyring(scene.sealing_key, lambda: {0: scene.sealing_key, 1: b"1" * 32})
    places = [place for place in SEALED if place.table == "imports"]
    assert rewrap(scene.database, newer, places) == (2, 0)
    with scene.database.transaction(SYSTEM) as tx:
        assert imports.file_of(tx, newer, job.id) == sheet(*GOOD)
        current_job = imports.fetch(tx, newer, job.id)
        assert current_job is not None
        assert current_job.report


def test_an_imported_file_is_sealed_and_deleted_after_a_day_and_its_report_after_thirty(
    scene: Scene, manager: Stubs, job: pb.Import
) -> None:
    run(scene)
    (row,) = scene.rows("SELECT file, report FROM imports")
    assert "Asesoría".encode() not in bytes(row["file"]) + bytes(row["report"])
    scene.sweep(days=1)
    assert refusal(lambda: create(manager, b"", source_import_id=job.id)) == NOT_FOUND
    assert get(manager, job).report.created == 2
    scene.sweep(days=29)
    assert not scene.rows("SELECT * FROM imports")

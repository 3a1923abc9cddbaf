"""Imports as jobs: a call accepts an import, and a loop runs it.

Only one import runs at a time in the network. Its data and its final state are written in one
transaction. So an import whose process was killed is started again by another process, and is never
done twice or only in part.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from chassis import audit, log
from chassis.announcements import READ_AGAIN, work_when_due
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.errors import (
    Exhausted,
    Invalid,
    Late,
    NotAllowed,
    NotFound,
    Refusal,
    Stale,
    Unavailable,
)
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM, Caller
from keys.sealing import Keyring
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.domain.import_job import (
    MAX_ATTEMPTS,
    MAX_UNFINISHED,
    ImportJob,
    ImportState,
)
from services.partners.directory.domain.imports import Outcome, ParsedFile, Report
from services.partners.directory.store import imports, locations, services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases.import_members import target_of
from services.partners.directory.usecases.imports import import_directory
from services.partners.directory.wire.imports import check_size, encoding_of, message, report
from services.partners.directory.wire.imports.child_process import (
    ReadingInterrupted,
    TooMuchWork,
    parse_in_child_process,
)
from services.partners.directory.wire.imports.drafts import CellReader
from services.partners.members.usecases.notices import notify_all_managers
from services.partners.members.usecases.standing import (
    check_standing,
    is_managed_by_others,
    may_act_for,
)

# seconds between two attempts to claim, while another process works or a dependency is unavailable
_RETRY_CLAIM = 1.0
_RENEW_INTERVAL = 1.0  # seconds between two renewals of a claim
_MAX_SECONDS = 600.0  # maximum number of seconds that the writing transaction may take
_MAX_LISTED = 50
_TRY_AGAIN_AFTER = (
    30  # seconds after which an organisation with too many unfinished imports may try again
)


class Imports:
    """Handles the rpcs for imports."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def CreateImport(self, request: pb.CreateImportRequest, call: Call) -> pb.Import:
        """Accepts a file, or the file of an earlier import together with answers about its rows."""
        tx, caller, content = call.tx, call.caller, request.content
        answers = {(answer.file, answer.row): answer.subject_id for answer in request.answers}
        encoding = encoding_of(request.encoding)
        job = ImportJob(
            new_id(),
            caller.organization_id,
            request.organization_id,
            request.dry_run,
            call.clock.now(),
            encoding,
            answers,
        )
        source = None
        if request.source_import_id and not content:
            source = _own_job(call, self._keyring, request.source_import_id)
            content = imports.file_of(tx, self._keyring, source.id) or b""
            if not content:
                raise NotFound
            job.importer_id = source.importer_id  # only that organisation reads words of its file
            job.organization_id = request.organization_id or source.organization_id
            job.encoding = encoding or source.encoding
            job.answers = {**source.answers, **answers}
        check_size(content)
        if not all(is_id(id) for id in job.answers.values() if id):
            raise Invalid(("answers", "malformed"))
        owner = target_of(tx, caller, job.organization_id)
        job.organization_id = owner.id if owner else ""
        # In another organisation, its workers could open the confidential addresses in the file.
        if source and job.organization_id != source.organization_id:
            raise NotFound
        imports.lock_queue(tx)
        if imports.count_unfinished(tx, job.importer_id) >= MAX_UNFINISHED:
            raise Exhausted("too_many_requests", _TRY_AGAIN_AFTER)
        imports.add(tx, self._keyring, job, caller, content)
        return message(job, caller.organization_id)

    def GetImport(self, request: pb.GetImportRequest, call: Call) -> pb.Import:
        """Returns an import. Raises NotFound."""
        job = _own_job(call, self._keyring, request.id)
        return message(job, call.caller.organization_id)

    def ListImports(self, request: pb.ListImportsRequest, call: Call) -> pb.ListImportsResponse:
        """Lists the last imports of the caller's organisation, newest first, without reports."""
        own_id = call.caller.organization_id
        jobs = imports.newest(call.tx, own_id, _MAX_LISTED)
        return pb.ListImportsResponse(
            imports=[message(job, own_id, with_report=False) for job in jobs]
        )

    def CancelImport(self, request: pb.CancelImportRequest, call: Call) -> pb.Import:
        """Requests the cancellation of an import. Raises NotFound."""
        job = _own_job(call, self._keyring, request.id, lock=True)
        job.cancel(call.clock.now())
        imports.save(call.tx, job)
        return message(job, call.caller.organization_id)


def _own_job(call: Call, keyring: Keyring, id: str, *, lock: bool = False) -> ImportJob:
    job = imports.fetch(call.tx, keyring, id, lock=lock) if is_id(id) else None
    if job is None or not may_act_for(call.caller, job.importer_id):
        raise NotFound
    return job


def running_imports(
    database: Database,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    *,
    read_again: float = READ_AGAIN,
) -> Loop:
    """Returns the loop that works on imports, one after the other; `mail` seals e-mails."""

    def work(loop: Loop) -> None:
        def run() -> None:
            if not run_import(database, keyring, mail, clock, loop.turn):
                loop.wait(_RETRY_CLAIM)

        work_when_due(
            loop,
            database,
            clock,
            imports.CHANNEL,
            lambda connection: imports.next_time(connection, clock.now()),
            run,
            read_again=read_again,
        )

    return Loop("imports", work, waits_for=LOST, workers=2)


def run_import(
    database: Database,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    keep_going: Callable[[], bool] = lambda: True,
) -> bool:
    """Works on the oldest import that has not ended.

    Returns False if no import ended, either because there was none to claim or because the import
    must be started again. `keep_going` is called every second; once it returns False, the claim on
    the import is released.
    """
    claim = new_id()
    with database.transaction(SYSTEM) as tx:
        imports.lock_queue(tx)
        job_and_caller = imports.claim(tx, claim, clock.now())
    if job_and_caller is None:
        return False
    job, caller = job_and_caller
    with _ClaimRenewer(database, clock, claim, job, keep_going) as renewer:
        try:
            if job.attempts > MAX_ATTEMPTS:
                raise _Failed("interrupted")
            _read_and_write(database, keyring, mail, clock, job, caller, claim, renewer)
            return True
        except _Stopped:
            pass
        # a dependency is unavailable or overloaded, which is not the import's fault
        except (Unavailable, Exhausted):
            renewer.stop_reason = renewer.stop_reason or "waiting"
        except (_Failed, Refusal, TooMuchWork, ReadingInterrupted) as error:
            renewer.failure = _failure(error)
        except Exception as error:
            log.get().error("import_failed", import_id=job.id, fault=log.fault(error))
            renewer.failure = "fault"
    with database.transaction(SYSTEM) as tx:
        if renewer.stop_reason == "cancelled":
            job.end(ImportState.CANCELLED, clock.now())
        elif renewer.failure:
            job.end(ImportState.FAILED, clock.now(), renewer.failure)
        if job.has_ended:
            imports.finish(tx, keyring, claim, job)
        else:
            imports.release(
                tx, claim, job, counts=renewer.stop_reason not in ("stopping", "waiting")
            )
    return job.has_ended


class _Stopped(Exception):
    """The import must stop; `_ClaimRenewer.stop_reason` is the reason."""


class _Failed(Exception):
    """The import can't be done. Its argument is the failure code."""


def _failure(error: Exception) -> str:
    """Returns the code of a failure that a new attempt would not avoid; "" for other failures."""
    match error:
        case _Failed():
            return str(error)
        case Invalid():
            return error.violations[0][1]
        case TooMuchWork():
            return "too_much_work"
        case NotAllowed():
            return "not_allowed"
        case NotFound():
            return "not_found"
        case Late() | Stale() | ReadingInterrupted():
            return ""
    return "fault"


def _read_and_write(
    database: Database,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    job: ImportJob,
    caller: Caller,
    claim: str,
    renewer: "_ClaimRenewer",
) -> None:
    with database.transaction(SYSTEM) as tx:
        owner = target_of(tx, caller, job.organization_id)
        file = imports.file_of(tx, keyring, job.id) or b""
    country = owner.entry.country if owner else ""
    renewer.check()
    parsed_file = parse_in_child_process(
        file, CellReader(taxonomy(), areas(), country), job.encoding, renewer.check
    )
    job.state, job.rows_total = ImportState.WRITING, len(parsed_file.services)
    with database.transaction(caller, timeout=_MAX_SECONDS) as tx:
        now = clock.now()
        check_standing(tx, caller, now)
        import_report = _import_file(tx, keyring, caller, now, parsed_file, job, renewer)
        finished_job = replace(job, report=report(import_report).SerializeToString())
        finished_job.end(ImportState.DONE, now)
        if not imports.finish(tx, keyring, claim, finished_job):
            raise _Stopped  # cancelled, or taken over: this transaction is rolled back
        if import_report.written:
            _notify_managers(tx, mail, caller, now, import_report)
            # last, because a writer to the trail blocks other writers until its transaction ends
            audit.record(
                tx,
                caller,
                now,
                [audit.Entry("directory_import", job.organization_id or caller.organization_id)],
            )


def _import_file(
    tx: Transaction,
    keyring: Keyring,
    caller: Caller,
    now: datetime,
    parsed_file: ParsedFile,
    job: ImportJob,
    renewer: "_ClaimRenewer",
) -> Report:
    def row_done() -> None:
        job.rows_done += 1
        renewer.check()

    return import_directory(
        tx,
        keyring,
        caller,
        now,
        parsed_file,
        job.organization_id,
        dry_run=job.dry_run,
        answers=job.answers,
        row_done=row_done,
    )


def _notify_managers(
    tx: Transaction, mail: Keyring, caller: Caller, now: datetime, import_report: Report
) -> None:
    """Notifies the managers of the members whose data somebody of another organisation changed."""
    ids = [line.subject_id for line in import_report.lines if line.outcome is not Outcome.UNCHANGED]
    organization_ids = {service.organization_id for service in services.fetch_many(tx, ids)}
    organization_ids |= {place.organization_id for place in locations.fetch_many(tx, ids)}
    for organization_id in sorted(organization_ids):
        if is_managed_by_others(tx, caller, organization_id):
            notify_all_managers(tx, mail, organization_id, "entry_changed", now)


class _ClaimRenewer:
    """Renews the claim on an import and stores its progress every second, in its own thread.

    `stop_reason` is "" while the import continues, otherwise cancelled, lost (another process has
    taken over the import), stopping, or waiting (for an unavailable dependency). `failure` is the
    code of a failure that ends the import. A failed renewal is ignored.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        claim: str,
        job: ImportJob,
        keep_going: Callable[[], bool],
    ) -> None:
        self.stop_reason = ""
        self.failure = ""
        self._database = database
        self._clock = clock
        self._claim = claim
        self._job = job
        self._keep_going = keep_going
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._run, name="imports-claim", daemon=True)

    def __enter__(self) -> "_ClaimRenewer":
        self._renew_claim()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self._thread.join()

    def check(self) -> None:
        """Raises _Stopped if the import must stop."""
        if self.stop_reason:
            raise _Stopped

    def _run(self) -> None:
        while not self._stop_event.wait(_RENEW_INTERVAL):
            self._renew_claim()

    def _renew_claim(self) -> None:
        if not self._keep_going():
            self.stop_reason = self.stop_reason or "stopping"
        try:
            with self._database.transaction(SYSTEM, timeout=5) as tx:
                is_cancelled = imports.renew(tx, self._claim, self._job, self._clock.now())
        except Exception as error:
            log.get().info(
                "import_claim_not_renewed", import_id=self._job.id, error=type(error).__name__
            )
            return
        if is_cancelled is None:
            self.stop_reason = self.stop_reason or "lost"
        elif is_cancelled:
            self.stop_reason = "cancelled"

"""Imports: takes over directories that were kept elsewhere."""

from chassis.rpc import Call
from keys.sealing import Keyring
from protos.partners.v1 import open_data_pb2 as pb
from services.partners import usecases
from services.partners.wire.imports import encoding_of, message


class Imports:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def CreateImport(self, request: pb.CreateImportRequest, call: Call) -> pb.Import:
        answers = {(answer.file, answer.row): answer.subject_id for answer in request.answers}
        job = usecases.create_import(
            call.tx,
            self._keyring,
            call.caller,
            call.clock.now(),
            request.content,
            request.organization_id,
            encoding_of(request.encoding),
            answers,
            request.source_import_id,
            dry_run=request.dry_run,
        )
        return message(job)

    def GetImport(self, request: pb.GetImportRequest, call: Call) -> pb.Import:
        return message(usecases.get_import(call.tx, self._keyring, call.caller, request.id))

    def ListImports(self, request: pb.ListImportsRequest, call: Call) -> pb.ListImportsResponse:
        return pb.ListImportsResponse(imports=[message(job, with_report=False) for job in usecases.list_imports(call.tx, call.caller)])

    def CancelImport(self, request: pb.CancelImportRequest, call: Call) -> pb.Import:
        return message(usecases.cancel_import(call.tx, self._keyring, call.caller, call.clock.now(), request.id))

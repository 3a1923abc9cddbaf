"""Imports: takes over directories that were kept elsewhere."""

from chassis.audit import Entry
from chassis.rpc import Call
from chassis.sealing import Keyring
from protos.partners.v1 import open_data_pb2 as pb
from services.partners import usecases
from services.partners.wire.imports import report


class Imports:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def ImportDirectory(self, request: pb.ImportDirectoryRequest, call: Call) -> pb.ImportReport:
        made = usecases.import_directory(
            call.tx, self._keyring, call.caller, call.clock.now(), request.content, request.organization_id, dry_run=request.dry_run
        )
        if made.written:
            call.trail.append(Entry("directory_import", request.organization_id or call.caller.organization_id))
        return report(made)

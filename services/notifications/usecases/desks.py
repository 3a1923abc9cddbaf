"""Desks: the address and the language for notices.

Also lists the e-mails that are stored in development.
"""

from chassis.errors import Conflict, NotFound, Stale
from chassis.ids import object_id
from chassis.languages import SOURCE
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import version
from keys.sealing import Keyring
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import wire
from services.notifications.domain.desk import Desk, check_desk
from services.notifications.store import desks, members
from services.notifications.store.mail_folder import MailFolder


class Desks:
    """The desks of all organisations."""

    def __init__(
        self, keyring: Keyring, mail_folder: MailFolder | None, *, development: bool
    ) -> None:
        self._keyring = keyring
        self._mail_folder = mail_folder
        self._development = development

    def GetDesk(self, request: pb.GetDeskRequest, call: Call) -> pb.Desk:
        """Returns the caller's desk; a coordinator may name any desk."""
        return wire.desk_answer(
            desks.fetch(
                call.tx, self._keyring, _organization_id(call.caller, request.organization_id)
            )
        )

    def SetDesk(self, request: pb.SetDeskRequest, call: Call) -> pb.Desk:
        """Changes the caller's desk, or for a coordinator the desk of a member without a manager.

        Raises Stale for the etag of another version, and Invalid for an unknown language or an
        invalid address.
        """
        requested = request.desk
        expected_version = version(requested.etag, "desk.etag")
        organization_id = _organization_id(call.caller, requested.organization_id)
        # One coordinator could otherwise redirect a shelter's notices to herself.
        if organization_id != call.caller.organization_id and members.managers(
            call.tx, organization_id
        ):
            raise Conflict("manager_exists")
        stored_desk = desks.fetch(call.tx, self._keyring, organization_id)
        if expected_version != stored_desk.version:
            raise Stale
        desk = Desk(
            stored_desk.organization_id,
            requested.language or SOURCE,
            requested.email,
            stored_desk.version + 1,
        )
        check_desk(desk)
        desks.save(call.tx, self._keyring, desk, call.clock.now())
        return wire.desk_answer(desk)

    def ListDevelopmentMails(
        self, request: pb.ListDevelopmentMailsRequest, call: Call
    ) -> pb.ListDevelopmentMailsResponse:
        """Lists e-mails that were stored instead of sent, newest first.

        Raises Conflict outside of development.
        """
        if not self._development:
            raise Conflict("not_in_development")
        mails = self._mail_folder.mails() if self._mail_folder else []
        return pb.ListDevelopmentMailsResponse(
            mails=[wire.mail_answer(mail, time) for mail, time in mails]
        )


def _organization_id(caller: Caller, text: str) -> str:
    """Returns the organisation id in `text`, or the caller's organisation id if `text` is empty.

    Raises NotFound for another organisation, unless the caller is a coordinator.
    """
    organization_id = object_id(text) if text else caller.organization_id
    if organization_id != caller.organization_id and not caller.has("COORDINATOR"):
        raise NotFound
    return organization_id

"""The inbox: messages for the caller's desk, for the caller, or for the coordinators."""

from collections.abc import Collection
from functools import partial

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import NotFound
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, WatchTokens, moment, page_size
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import wire
from services.notifications.store import messages

_COORDINATION_SUFFIX = "+coordination"


class Inbox:
    """Messages, and the notices about a referral."""

    def __init__(self, pages: PageTokens, watch: WatchTokens) -> None:
        self._pages = pages
        self._watch = watch

    def ListMessages(self, request: pb.ListMessagesRequest, call: Call) -> pb.ListMessagesResponse:
        """Returns a page of the caller's messages, newest first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        rows = messages.inbox(
            call.tx,
            _reader(call.caller),
            unread_only=request.unread_only,
            after=after,
            limit=size + 1,
        )
        last_message = rows[size - 1] if len(rows) > size else None
        return pb.ListMessagesResponse(
            messages=[
                wire.message_answer(message, call.caller.language) for message in rows[:size]
            ],
            next_page_token=self._pages.token(
                request,
                [last_message.create_time.isoformat(), last_message.id] if last_message else None,
            ),
        )

    def CountUnread(self, request: pb.CountUnreadRequest, call: Call) -> pb.CountUnreadResponse:
        """Counts the unread messages.

        Also returns the version of the caller's scope, and a token to watch it.
        """
        scope = _scope(call.caller)
        unread_count = messages.count_unread(call.tx, _reader(call.caller))
        token = self._watch.token(scope, call.clock.now())
        return pb.CountUnreadResponse(
            unread=unread_count,
            version=_unread_versions(call.tx, [scope])[scope],
            watch_token=token,
        )

    def BatchGetUnreadVersions(
        self, request: pb.BatchGetUnreadVersionsRequest, call: Call
    ) -> pb.BatchGetUnreadVersionsResponse:
        """Returns the version of each watched scope."""
        versions = self._watch.versions(
            request.watch_tokens, call.clock.now(), partial(_unread_versions, call.tx)
        )
        return pb.BatchGetUnreadVersionsResponse(versions=versions)

    def MarkMessageRead(self, request: pb.MarkMessageReadRequest, call: Call) -> pb.Message:
        """Marks a message as read; a second call changes nothing."""
        message = messages.mark_read(
            call.tx, _reader(call.caller), object_id(request.id), call.clock.now()
        )
        if message is None:
            raise NotFound
        return wire.message_answer(message, call.caller.language)

    def MarkAllMessagesRead(
        self, request: pb.MarkAllMessagesReadRequest, call: Call
    ) -> pb.CountUnreadResponse:
        """Marks as read the caller's messages up to `until_time`; newer messages stay unread.

        `until_time` is the time of the newest message that the caller saw. Returns the new count.
        """
        until_time = moment(request, "until_time")
        assert until_time  # it is required
        messages.mark_all_read(call.tx, _reader(call.caller), until_time, call.clock.now())
        return self.CountUnread(pb.CountUnreadRequest(), call)

    def ListNotices(self, request: pb.ListNoticesRequest, call: Call) -> pb.ListNoticesResponse:
        """Lists how the messages about a referral were delivered.

        The list is empty if the caller's organisation is not a side of the referral, or if the
        referral does not exist.
        """
        notices = messages.notices(
            call.tx, object_id(request.referral_id), call.caller.organization_id
        )
        return pb.ListNoticesResponse(notices=[wire.notice_answer(notice) for notice in notices])


def _scope(caller: Caller) -> str:
    """Returns the caller's scope. All callers in a scope share one version of the unread messages.

    The scope is the caller's organisation and, for a coordinator, also the coordinators' inbox.
    """
    return f"{caller.organization_id}{_COORDINATION_SUFFIX if caller.has('COORDINATOR') else ''}"


def _unread_versions(tx: Transaction, scopes: Collection[str]) -> dict[str, str]:
    """Returns, for each scope, a text that changes with the scope's unread messages.

    The messages are read with the view of the system, so that the text is the same for every
    caller.
    """
    elevate_to_system_scope(tx)
    return {
        scope: messages.unread_version(
            tx,
            scope.removesuffix(_COORDINATION_SUFFIX),
            coordination=scope.endswith(_COORDINATION_SUFFIX),
        )
        for scope in scopes
    }


def _reader(caller: Caller) -> dict[str, object]:
    # A worker who is only an auditor does not do the work of a desk, so she neither sees the desk's
    # messages nor marks them as read.
    organization = "" if caller.roles == {"AUDITOR"} else caller.organization_id
    return {"organization": organization, "me": caller.id, "coordinator": caller.has("COORDINATOR")}

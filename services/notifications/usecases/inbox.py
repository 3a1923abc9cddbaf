"""The inbox: what the caller's desk, the caller, or the coordination has been told."""

from collections.abc import Collection
from datetime import datetime

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import NotFound
from chassis.tokens import Caller
from chassis.wire import Position
from services.notifications.domain.message import Message, Notice
from services.notifications.store import messages

_AND_COORDINATION = "+coordination"


def list_messages(
    tx: Transaction, caller: Caller, size: int, after: Position | None, *, unread_only: bool
) -> tuple[list[Message], Position | None]:
    """A page of messages, newest first, and where the next page goes on."""
    inbox_messages = messages.inbox(tx, _who(caller), unread=unread_only, after=after, limit=size + 1)
    last = inbox_messages[size - 1] if len(inbox_messages) > size else None
    return inbox_messages[:size], [last.create_time.isoformat(), last.id] if last else None


def count_unread(tx: Transaction, caller: Caller) -> int:
    """How many of them are unread."""
    return messages.unread(tx, _who(caller))


def scope(caller: Caller) -> str:
    """Whose unread messages change together with the caller's: those of everybody in his organisation."""
    return f"{caller.organization_id}{_AND_COORDINATION if caller.has('COORDINATOR') else ''}"


def unread_versions(tx: Transaction, scopes: Collection[str]) -> dict[str, str]:
    """Of each scope another text when the unread messages of anybody in it are others. In the scope of the whole service, so that it is the same whoever asks."""
    elevate_to_system_scope(tx)
    return {
        scope: messages.unread_version(tx, scope.removesuffix(_AND_COORDINATION), coordination=scope.endswith(_AND_COORDINATION))
        for scope in scopes
    }


def mark_read(tx: Transaction, caller: Caller, now: datetime, message_id: str) -> Message:
    """Reads one; a second reading changes nothing."""
    message = messages.mark_read(tx, _who(caller), message_id, now)
    if message is None:
        raise NotFound
    return message


def mark_all_read(tx: Transaction, caller: Caller, now: datetime, until: datetime) -> None:
    """Reads all up to the newest that was seen; what came in since stays unread."""
    messages.mark_all_read(tx, _who(caller), until, now)


def list_notices(tx: Transaction, caller: Caller, referral_id: str) -> list[Notice]:
    """How the messages about a referral went; none for who is not a side of it, as for a referral that does not exist."""
    return messages.notices(tx, referral_id, caller.organization_id)


def _who(caller: Caller) -> dict[str, object]:
    organization = "" if caller.roles == {"AUDITOR"} else caller.organization_id  # she does no desk's work, and reads nothing in its place
    return {"organization": organization, "me": caller.id, "coordinator": caller.has("COORDINATOR")}

"""/notifications and /desk: what your desk was told, and how it wants to be told."""

from typing import Any

from flask import Response
from google.protobuf.message import Message
from marshmallow import Schema

from protos.notifications.v1 import notifications_pb2 as pb
from protos.referrals.v1.referrals_pb2 import Urgency
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, items, list_of, listed, one, page_fields, page_of, thing
from services.gateway.api.convert import from_json, to_json
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.routes import MANAGER, WORKER, Routes
from services.gateway.clients import clients

notifications = Routes("notifications", "What your desk was told, and how it wants to be told. The texts hold nothing personal.")


class MessageSchema(Schema):
    """A message to your desk."""

    id = fields.ident("The message.")
    kind = fields.code("What it is about.", example="referral_sent")
    text = fields.text("Constant for its kind, in your language.", example="Tiene una tarea en Enlace.")
    referral_id = fields.ident("The referral it is about.")
    urgency_code = fields.word(Urgency.DESCRIPTOR, "How urgent that is.")
    create_time = fields.created()
    read_time = fields.time("When it was read; absent: unread.")


class MessageQuery(PageQuery):
    """Which messages."""

    unread_only = fields.flag("Only unread ones.")


class UnreadSchema(Schema):
    """How many are unread."""

    unread = fields.number("How many.", example=3)


class DeskSchema(Schema):
    """How a desk is told, beside its inbox and its webhooks."""

    organization_id = fields.ident("Whose desk; left out: your own organisation.")
    language = fields.code("Language of the messages.", among=("es", "en", "fr"))
    email = fields.text("Where to; left out: inbox only.", 254, example="mesa@casa-esperanza.example")
    etag = fields.etag()


class DeskQuery(Schema):
    """Whose desk."""

    organization_id = fields.ident("Another organisation's; for a coordinator only.")


class DevelopmentMailSchema(Schema):
    """An e-mail that was kept instead of sent."""

    id = fields.ident("The e-mail.")
    recipient = fields.text("To whom.", 254)
    subject = fields.text("Its subject.")
    body = fields.text("Its text.", 4000)
    create_time = fields.created()


@notifications.operation("get", "/notifications", right="notifications", answers=page_of(MessageSchema, "MessagePage"), query=MessageQuery)
def list_messages(given: dict[str, Any]) -> Response:
    """List messages, newest first"""
    page = clients().notifications.ListMessages(from_json({**page_fields(given), **given}, pb.ListMessagesRequest()))
    return listed([message_json(message) for message in page.messages], page.next_page_token)


@notifications.operation("get", "/notifications/unread", right="notifications", answers=UnreadSchema)
def count_unread() -> Response:
    """Count unread messages"""
    return one(clients().notifications.CountUnread(pb.CountUnreadRequest()))


@notifications.operation("post", "/notifications/<opaque:message_id>/read", right="notifications", answers=MessageSchema, once=True)
def mark_message_read(message_id: str) -> Response:
    """Mark a message as read"""
    return thing(message_json(clients().notifications.MarkMessageRead(pb.MarkMessageReadRequest(id=message_id, request_id=request_key()))))


@notifications.operation("get", "/desk", right="notifications", answers=DeskSchema, query=DeskQuery, refuses=(404,))
def get_desk(given: dict[str, Any]) -> Response:
    """Show how your desk is told"""
    return one(clients().notifications.GetDesk(pb.GetDeskRequest(**given)))


@notifications.operation("put", "/desk", right=MANAGER, answers=DeskSchema, takes=DeskSchema, etag=True, wrapped="desk", refuses=(404,))
def set_desk(given: dict[str, Any]) -> Response:
    """Set how your desk is told

    Replaces the whole. A coordinator may name any organisation."""
    desk = from_json({**given, "etag": if_match()}, pb.Desk())
    return one(clients().notifications.SetDesk(pb.SetDeskRequest(desk=desk, request_id=request_key())))


@notifications.operation(
    "get", "/development-mails", right=WORKER, answers=list_of(DevelopmentMailSchema, "DevelopmentMails"), refuses=(409,)
)
def list_development_mails() -> Response:
    """List the e-mails that a development set-up kept instead of sending"""
    return items(clients().notifications.ListDevelopmentMails(pb.ListDevelopmentMailsRequest()).mails)


def message_json(message: Message) -> dict[str, Any]:
    """A message, with its urgency in the same words as everywhere here; the service has it as the fact had it (IMMEDIATE)."""
    said = to_json(message)
    if "urgency_code" in said:
        said["urgency_code"] = said["urgency_code"].lower()
    return said

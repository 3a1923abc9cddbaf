"""/notifications and /desk: what your desk was told, and how it wants to be told."""

from marshmallow import Schema

from protos.notifications.v1 import notifications_pb2 as pb
from protos.referrals.v1.referrals_pb2 import Urgency
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, list_of, page_of
from services.gateway.api.routes import Routes

notifications = Routes(
    "notifications",
    "What your desk was told, and how it wants to be told. The texts hold nothing personal.",
    pb.DESCRIPTOR.services_by_name["Notifications"],
)


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


notifications.rpc("ListMessages", "List messages, newest first", answers=page_of(MessageSchema, "MessagePage"), query=MessageQuery)
notifications.rpc("CountUnread", "Count unread messages", answers=UnreadSchema)
notifications.rpc("MarkMessageRead", "Mark a message as read", answers=MessageSchema)
notifications.rpc("GetDesk", "Show how your desk is told", answers=DeskSchema, query=DeskQuery)
notifications.rpc(
    "SetDesk",
    "Set how your desk is told",
    "Replaces the whole. A coordinator may name any organisation.",
    answers=DeskSchema,
    takes=DeskSchema,
)
notifications.rpc(
    "ListDevelopmentMails",
    "List the e-mails that a development set-up kept instead of sending",
    answers=list_of(DevelopmentMailSchema, "DevelopmentMails"),
)

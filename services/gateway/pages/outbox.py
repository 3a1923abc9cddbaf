"""The development outbox: the e-mails that would have been sent. Exists in development only."""

from flask import Blueprint, render_template

from protos.notifications.v1.notifications_pb2 import ListDevelopmentMailsRequest
from services.gateway import access
from services.gateway.clients import clients

blueprint = Blueprint("outbox", __name__)


@blueprint.get("/outbox")
@access.open_to(access.EVERYONE)
def mails() -> str:
    """All of them, newest first; as text, for most lead to what the reader is no party to; an invitation can be followed."""
    mails = clients().notifications.ListDevelopmentMails(ListDevelopmentMailsRequest()).mails
    return render_template("outbox.html", mails=mails)

"""The outbox: e-mails that would have been sent. It exists only in development."""

from flask import render_template

from protos.notifications.v1.notifications_pb2 import ListDevelopmentMailsRequest
from services.gateway.edge.clients import clients
from services.gateway.site.shell import access

pages = access.Pages("outbox")


@pages.get("/outbox", access.EVERYONE)
def mails() -> str:
    """Shows the latest e-mails, the newest first.

    The e-mails are shown as text, because most of their links lead to pages that the reader may not
    open; the link of an invitation can be followed.
    """
    mails = clients().notifications.ListDevelopmentMails(ListDevelopmentMailsRequest()).mails
    return render_template("outbox.html", mails=mails)

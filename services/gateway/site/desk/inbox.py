"""The inbox: Enlace's messages to this desk, and the desk's settings for them."""

from flask import redirect, render_template, request, url_for

from protos.notifications.v1 import notifications_pb2 as n
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import names
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("inbox")
# The pages to which a message leads if it names no referral and no enquiry, by kind of message; a
# reader gets the first page that she may open.
LINKS = {
    "erasure_proposed": ("erasures.listing",),
    "erasure_lapsed": ("people.listing",),
    "receipt_proposed": ("people.listing",),
    "anomaly_noted": ("audit.show", "network_roles.listing"),
    "member_reinstated": ("today.today",),
    "provider_proposed": ("member.proposed_provider",),
    "entry_changed": ("entry.show",),
    "key_made": ("webhooks.keys",),
    "sending_changed": ("webhooks.listing",),
    "person_invited": ("members.listing",),
    "account_suspended": ("members.listing",),
    "role_given": ("network_roles.listing", "members.listing"),
    "export_made": ("people.listing",),
    "publication_made": ("pathways.listing",),
    **dict.fromkeys(
        (
            "organization_applied",
            "organization_registered",
            "approval_proposed",
            "organization_renamed",
            "agreement_ending",
            "agreement_expired",
            "message_undeliverable",
            "suspension_proposed",
            "hold_begun",
            "hold_ended",
            "reinstatement_proposed",
            "leaving_proposed",
            "organization_left",
            "worker_suspended",
        ),
        ("directory.members",),
    ),
    **dict.fromkeys(
        (
            "contact_waiting",
            "contact_escalated",
            "contact_told",
            "callback_asked",
            "callback_waiting",
            "callback_escalated",
        ),
        ("line.queue",),
    ),
    **dict.fromkeys(
        (
            "password_reset_asked",
            "password_changed",
            "second_factor_removed",
            "second_factor_removed_by_coordination",
            "provider_changed",
            "sign_in_changed",
        ),
        ("account.show",),
    ),
    **dict.fromkeys(
        ("emergency_opened", "emergency_review_overdue"),
        ("people.listing", "board.board", "audit.show"),
    ),
}


@pages.get("/inbox", access.CARE | access.NETWORK | access.AUDITORS)
def inbox(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the messages, the newest first."""
    unread = request.args.get("unread", "") == "1"
    answer = clients().notifications.ListMessages(
        n.ListMessagesRequest(
            unread_only=unread, page_size=50, page_token=request.args.get("page", "")
        )
    )
    return render_template(
        "inbox.html",
        messages=answer.messages,
        names=names.names(message.organization_id for message in answer.messages),
        unread=unread,
        next_page=answer.next_page_token,
        desk=send(n.GetDeskRequest()) if session.me().may("manager") else None,
        errors=errors,
    )


@pages.blueprint.app_template_global()
def link_of(kind: str) -> str:
    """Returns the page of a kind of message for the reader; "" if there is none."""
    return next(
        (url_for(endpoint) for endpoint in LINKS.get(kind, ()) if access.may_open(endpoint)), ""
    )


# Marks as read all messages that the page showed; messages that arrived later stay unread.
pages.sends(
    "read_all",
    "/inbox/read",
    access.CARE | access.NETWORK | access.AUDITORS,
    n.MarkAllMessagesReadRequest,
    then="inbox.inbox",
    done="read",
)


@pages.post("/inbox/<identifier>/read", access.CARE | access.NETWORK | access.AUDITORS)
def read(identifier: str) -> access.Answer:
    """Marks a message as read, and redirects to what the message is about.

    That is the referral or the enquiry that the form names, else the page for its kind of message,
    else the inbox.
    """
    send(forms.filled(n.MarkMessageReadRequest(id=identifier)))
    subjects = (("referral", "referral.show"), ("enquiry", "enquiries.show"))
    subject = next(
        (
            url_for(endpoint, identifier=forms.text(name))
            for name, endpoint in subjects
            if forms.text(name)
        ),
        link_of(forms.text("kind")),
    )
    return redirect(subject or url_for("inbox.inbox", done="read"), 303)


pages.sends(
    "desk",
    "/inbox/desk",
    access.MANAGERS,
    lambda: n.SetDeskRequest(desk=n.Desk(organization_id=session.me().organization_id)),
    again=inbox,
    then="inbox.inbox",
)

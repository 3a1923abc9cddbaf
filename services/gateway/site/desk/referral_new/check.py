"""The last check of a new referral, with a link to change each answer, and the sending."""

from flask import redirect, render_template, request, url_for

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names, people, referrals
from services.gateway.site.desk.referral_new.pages import pages
from services.gateway.site.language import words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access


def render(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Renders all answers on one page."""
    draft = referrals.fetch(identifier)
    receipt = (
        clients().people.GetReceipt(p.GetReceiptRequest(id=draft.receipt_id))
        if draft.receipt_id
        else None
    )
    return render_template(
        "new_check.html",
        draft=draft,
        errors=errors,
        receipt=receipt,
        notes_closed=receipt is not None and p.FIELD_GROUP_NOTES not in receipt.field_groups,
        file=people.file_of(draft.person_id),
        names=names.names_of([draft], draft.unsafe_organization_ids),
        acknowledgements=acknowledgements(errors),
    )


def acknowledgements(errors: forms.Problems) -> list[tuple[str, str]]:
    """Returns the refusals that the sender may acknowledge: just met, or ticked in the form."""
    met = {
        code
        for code, _word in words.options("acknowledgement")
        if errors.get("_form") == words.conflict(code)
    }
    return [
        (code, word)
        for code, word in words.options("acknowledgement")
        if code in {*met, *forms.texts("acknowledged_codes")}
    ]


@pages.form("/referrals/<identifier>/check", access.SENDERS, again=render)
def check(identifier: str) -> access.Answer:
    """Shows the last check, and sends the referral."""
    if request.method == "GET":
        return render(identifier)
    clients().referrals.SendReferral(forms.filled(r.SendReferralRequest(id=identifier)))
    return redirect(url_for("referral.show", identifier=identifier, done="send"), 303)

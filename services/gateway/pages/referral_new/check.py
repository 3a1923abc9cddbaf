"""The last look at a new referral: what was answered, each with a way to change it, and the button that sends it."""

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access, forms, names
from services.gateway.clients import clients
from services.gateway.pages.referral_new.shared import blueprint, draft_of, file_of


@blueprint.route("/referrals/<identifier>/check", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def check(identifier: str) -> Response | str | tuple[str, int]:
    """Everything on one page, and send."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        try:
            clients().referrals.SendReferral(forms.filled(r.SendReferralRequest(id=identifier)))
            return redirect(url_for("referral.show", identifier=identifier, done="send"), 303)
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    draft = draft_of(identifier)
    receipt = clients().people.GetReceipt(p.GetReceiptRequest(id=draft.receipt_id)) if draft.receipt_id else None
    page = render_template(
        "new_check.html",
        draft=draft,
        errors=errors,
        receipt=receipt,
        file=file_of(draft.person_id),
        names=names.names_of([draft]),
    )
    return (page, 422) if errors else page

"""The person's consent to a referral to the chosen service's organisation.

A script is read aloud to her, and the receipt is made from her answers.
"""

from datetime import timedelta

import flask_babel
from flask import redirect, render_template, request, url_for

from chassis.languages import LANGUAGES
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import referrals
from services.gateway.site.desk.referral_new.pages import pages
from services.gateway.site.language import _, i18n, vocabulary
from services.gateway.site.parts import consent_form, forms
from services.gateway.site.shell import access

CONSENT_DAYS = 90


@pages.form("/referrals/<identifier>/consent", access.SENDERS)
def consent(identifier: str) -> access.Answer:
    """Asks for the person's consent for this one recipient, in three pages.

    The receipt is made after the last page.
    """
    draft = referrals.fetch(identifier)
    service = (
        clients().directory.GetService(d.GetServiceRequest(id=draft.service_id))
        if draft.service_id
        else None
    )
    if service is None:
        return redirect(url_for("referral_new.services", identifier=identifier))
    recipient, age = service.organization_id, consent_form.age_of(draft.person.age_band)
    page, errors = "points", dict[str, str]()
    # language in which to show the script again; the ticks are kept
    speak = forms.text("speak")
    if request.method == "POST" and not speak:
        receipt_id = forms.text("receipt_id")
        page, errors = ("", errors) if receipt_id else consent_form.next_page(recipient, age)
        if not page:
            try:
                return use_receipt(draft, receipt_id or record_consent(draft, recipient).id)
            except forms.SHOWN_IN_PLACE as refusal:
                errors = forms.problems(refusal)
                page = "points" if receipt_id else consent_form.page_of(errors)
    spoken = speak or request.values.get("read", "") or draft.person.language
    spoken = spoken if spoken in LANGUAGES else i18n.language()
    return render_template(
        "new_consent.html",
        draft=draft,
        service=service,
        errors=errors,
        labels=consent_form.labels(),
        page=page,
        number=list(consent_form.ASKED).index(page) + 1 if page in consent_form.ASKED else 0,
        values=consent_form.values_for(recipient),
        carried=list(consent_form.hidden_fields(page, recipient)),
        answers=consent_form.ANSWERS,
        unasked=age != consent_form.ADULT and page != "points" and consent_form.child_not_asked(),
        # earlier consents that would also cover this referral
        receipts=clients()
        .people.ListReceipts(p.ListReceiptsRequest(person_id=draft.person_id, referral_id=draft.id))
        .receipts
        if page == "points"
        else [],
        age=age,
        spoken=spoken,
        script=script(spoken, service.organization_name),
        until=i18n.now() + timedelta(days=CONSENT_DAYS),
    ), 422 if errors else 200


def use_receipt(draft: r.Referral, receipt_id: str) -> access.Answer:
    """Bases the draft on this consent, and continues with the last check.

    A referral that was already sent on an override gets the consent at once instead, because the
    person can now be asked.
    """
    if draft.state != r.STATE_DRAFT:
        clients().referrals.AttachConsent(
            r.AttachConsentRequest(
                id=draft.id,
                etag=forms.etag() or draft.etag,
                request_id=forms.request_id(),
                receipt_id=receipt_id,
            )
        )
        return redirect(url_for("referral.show", identifier=draft.id, done="attach_consent"), 303)
    referrals.change(draft, forms.etag(), receipt_id=receipt_id)
    return redirect(url_for("referral_new.check", identifier=draft.id), 303)


def script(language: str, organization: str) -> dict[str, object]:
    """Returns the text to read aloud, in the person's language, which may not be the reader's."""
    with flask_babel.force_locale(language):
        points = [(code, _(text)) for code, text in vocabulary.TABLES["explained"].items()]
        opening = _(
            "Le pido permiso para contarle su situación a %(organization)s."
            " Antes le explico siete cosas:",
            organization=organization,
        )
        question = _("¿Está de acuerdo? Puede decir que sí, que no, o que sí a una parte.")
    return {"points": points, "opening": opening, "question": question}


def record_consent(draft: r.Referral, recipient: str) -> p.Receipt:
    """Records the consent exactly as the person gave it."""
    return clients().people.CreateReceipt(
        p.CreateReceiptRequest(
            receipt=consent_form.receipt(draft.person_id, recipient),
            request_id=forms.part_of(forms.request_id(), "receipt"),
        )
    )

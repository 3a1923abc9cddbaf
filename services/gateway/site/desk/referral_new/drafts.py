"""Pages for a referral that is a draft: its questions, the consent, the last check, and sending.

Each question has a page on which its answer is given or changed. A redirect then leads to the next
question that has no answer. For the consent, a script is read aloud to the person, and the receipt
is made from her answers.
"""

from datetime import timedelta
from typing import Any

import flask_babel
from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from chassis.errors import Refusal
from chassis.languages import LANGUAGES
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import answer_or, directory, names, queues, referrals
from services.gateway.site.desk.referral_new.questions import (
    pages,
    problems,
    urgency_reason,
    values_in_form,
)
from services.gateway.site.language import _, i18n, vocabulary, words
from services.gateway.site.parts import consent_form, forms, unsafe_form
from services.gateway.site.shell import access, session

CONSENT_DAYS = 90


@pages.get("/referrals/<identifier>/draft", access.SENDERS)
def resume(identifier: str) -> access.Answer:
    """Redirects to the first page that lacks an answer, or to the referral if it was sent."""
    return referrals.redirect_to_next_page(referrals.fetch(identifier))


@pages.form("/referrals/<identifier>/reroute", access.SENDERS)
def reroute(identifier: str) -> access.Answer:
    """Creates a new draft for the same person and need, so that another service can be asked.

    The old referral stays as it is, and the draft refers to it. If the old referral has no open
    need, shows the old referral.
    """
    old_referral = referrals.fetch(identifier)
    if old_referral.following_id:  # the new draft exists already
        return redirect(url_for("referral_new.resume", identifier=old_referral.following_id))
    if old_referral.main_step != "refer_again":
        return redirect(url_for("referral.show", identifier=identifier))
    if request.method != "POST":
        return render_template(
            "reroute.html", referral=old_referral, names=names.names_of([old_referral])
        )
    draft = clients().referrals.CreateReferral(
        r.CreateReferralRequest(
            person_id=old_referral.person_id,
            contact_id=old_referral.contact_id,
            need_code=old_referral.need_code,
            urgency=old_referral.urgency,
            based_on_id=old_referral.id,
            request_id=forms.text("request_id"),
        )
    )
    return redirect(url_for("referral_new.services", identifier=draft.id), 303)


@pages.form("/referrals/<identifier>/need", access.SENDERS)
def need(identifier: str) -> access.Answer:
    return ask(identifier, "need", {"need_code": forms.text("need_code")}, "referral.show")


@pages.form("/referrals/<identifier>/urgency", access.SENDERS)
def urgency(identifier: str) -> access.Answer:
    fields = {"urgency": words.number("urgency", forms.text("urgency")), **urgency_reason()}
    if "assault_time" in request.form and not forms.unreadable(forms.moment, "assault_time"):
        fields["assault_time"] = forms.moment("assault_time")  # None: the field was emptied
    return ask(identifier, "urgency", fields, "referral_new.need")


@pages.form("/referrals/<identifier>/unsafe", access.SENDERS)
def unsafe(identifier: str) -> access.Answer:
    """Asks who or what place is unsafe for the person."""
    return ask(identifier, "unsafe", unsafe_form.answer(values_in_form()), "referral_new.urgency")


@pages.form("/referrals/<identifier>/services", access.SENDERS)
def services(identifier: str) -> access.Answer:
    """Asks for the service, and shows the reasons for and against each service."""
    return ask(
        identifier, "services", {"service_id": forms.text("service_id")}, "referral_new.urgency"
    )


def ask(identifier: str, page: str, fields: dict[str, Any], back_endpoint: str) -> access.Answer:
    """Asks one question whose answer is in fields of the draft.

    `back_endpoint` is the page to which "back" leads.
    """
    draft, errors = referrals.fetch_draft(identifier), dict[str, str]()
    if (
        request.method == "POST"
        and not (page == "unsafe" and unsafe_form.only_searches(request.form))
        and not (errors := problems(page, values_in_form()))
    ):
        try:
            return referrals.redirect_to_next_page(
                referrals.update_draft(draft, forms.text("etag"), **fields), page
            )
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    if page in ("services", "unsafe") and not draft.need_code:
        return referrals.redirect_to_next_page(draft)
    stored_answers: dict[str, Any] = {
        "need_code": draft.need_code,
        "urgency": words.code("urgency", draft.urgency),
        "urgency_reason_code": words.code("urgency_reason", draft.urgency_reason_code),
        "assault_time": i18n.stamp_for_field(draft.assault_time),
        "unsafe_code": words.code("unsafe_answer", draft.unsafe_code),
        # In a form that was sent, a missing tick means that the tick was removed.
        unsafe_form.ORGANIZATIONS: list(draft.unsafe_organization_ids)
        if request.method != "POST"
        else [],
        unsafe_form.DEPARTMENTS: list(draft.unsafe_departments) if request.method != "POST" else [],
    }
    answers = MultiDict(stored_answers | request.form.to_dict(flat=False))
    matches = []
    if page == "services":
        matches = directory.matches(
            draft.need_code,
            draft.person,
            session.me().country,
            unsafe_departments=draft.unsafe_departments,
            excluded_organization_ids=draft.unsafe_organization_ids,
        )
    elif page == "unsafe":
        matches = directory.matches(draft.need_code, draft.person, session.me().country, limit=100)
    return render_template(
        f"new_{page}.html",
        draft=draft,
        page=page,
        errors=errors,
        back=url_for(back_endpoint, identifier=identifier),
        answers=answers,
        matches=matches,
        awaited=page == "services" and queues.follows_taken_offer(draft),
        earlier=earlier_referral(draft) if page == "services" else None,
        choices=directory.unsafe_choices([match.service for match in matches], answers)
        if page == "unsafe"
        else None,
        urgency_hints=referrals.urgency_hints() if page == "urgency" else {},
    ), 422 if errors else 200


def earlier_referral(draft: r.Referral) -> r.Referral | None:
    """Returns the referral in whose place the draft was begun, or None."""
    if not draft.based_on_id:
        return None
    return answer_or(None, r.GetReferralRequest(id=draft.based_on_id), Refusal)


def contact_page(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Renders the page that asks how to reach the person, with the answer in her file.

    The answer is opened, and this access is recorded.
    """
    draft = referrals.fetch_draft(identifier)
    file = clients().people.GetPerson(p.GetPersonRequest(id=draft.person_id))
    return render_template(
        "new_contact.html",
        draft=draft,
        page="contact",
        errors=errors,
        back=url_for("referral_new.services", identifier=identifier),
        person=file.safe_contact,
        file=file,
    )


@pages.form("/referrals/<identifier>/contact", access.SENDERS, again=contact_page)
def contact(identifier: str) -> access.Answer:
    """Asks how to reach the person. The referral requires the answer, which belongs to her file."""
    draft = referrals.fetch_draft(identifier)
    plan = forms.filled(p.SetSafeContactRequest(id=draft.person_id))
    if forms.flag("nobody_calls"):
        plan.safe_contact.channel_code = p.SAFE_CHANNEL_NONE
    clients().people.SetSafeContact(plan)
    return referrals.redirect_to_next_page(draft)


@pages.form("/referrals/<identifier>/consent", access.SENDERS)
def consent(identifier: str) -> access.Answer:
    """Asks for the person's consent for this one recipient, in three pages.

    The receipt is made after the last page. If the service of the draft is no longer offered, or
    its organisation is suspended or has left, the first page says so, because such a draft could
    not be sent.
    """
    draft = referrals.fetch_draft(identifier, or_allowing="attach_consent")
    if not draft.service_id:
        return redirect(url_for("referral_new.services", identifier=identifier))
    service = clients().directory.GetService(d.GetServiceRequest(id=draft.service_id))
    recipient = service.organization_id
    age = consent_form.AGES.get(draft.person.age_band, consent_form.ADULT)
    page, errors = "points", dict[str, str]()
    if draft.state == r.STATE_DRAFT and not service.active:
        errors = {"_form": words.conflict("service_unknown")}
    elif draft.state == r.STATE_DRAFT and names.names([recipient]).is_out(recipient):
        errors = {"_form": words.conflict("receiver_not_active")}
    # language in which to show the script again; the ticks are kept
    chosen_language = forms.text("speak")
    if request.method == "POST" and not chosen_language:
        receipt_id = forms.text("receipt_id")
        page, errors = ("", {}) if receipt_id else consent_form.next_page(recipient, age)
        if not page:
            try:
                return use_receipt(draft, receipt_id or record_consent(draft, recipient).id)
            except forms.SHOWN_IN_PLACE as refusal:
                errors = forms.problems(refusal)
                page = "points" if receipt_id else consent_form.page_of(errors)
    script_language = chosen_language or request.values.get("read", "") or draft.person.language
    script_language = script_language if script_language in LANGUAGES else i18n.language()
    values = consent_form.values_for(recipient)
    return render_template(
        "new_consent.html",
        draft=draft,
        service=service,
        errors=errors,
        labels=consent_form.labels(),
        page=page,
        number=list(consent_form.FIELDS_OF_PAGE).index(page) + 1
        if page in consent_form.FIELDS_OF_PAGE
        else 0,
        values=values,
        carried=forms.of_other_pages(values, consent_form.FIELDS_OF_PAGE, page),
        answers=consent_form.ANSWERS,
        unasked=age != consent_form.ADULT
        and page != "points"
        and consent_form.is_decided_for_child(),
        # earlier consents that would also cover this referral
        receipts=clients()
        .people.ListReceipts(p.ListReceiptsRequest(person_id=draft.person_id, referral_id=draft.id))
        .receipts
        if page == "points"
        else [],
        age=age,
        spoken=script_language,
        script=script(script_language, service.organization_name),
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
                etag=forms.text("etag") or draft.etag,
                request_id=forms.text("request_id"),
                receipt_id=receipt_id,
            )
        )
        return redirect(url_for("referral.show", identifier=draft.id, done="attach_consent"), 303)
    referrals.update_draft(draft, forms.text("etag"), receipt_id=receipt_id)
    return redirect(url_for("referral_new.check", identifier=draft.id), 303)


def script(language: str, organization: str) -> dict[str, object]:
    """Returns the text to read aloud, in the person's language, which may not be the reader's."""
    with flask_babel.force_locale(language):
        return {
            "points": [(code, _(text)) for code, text in vocabulary.TABLES["explained"].items()],
            "opening": _(
                "Le pido permiso para contarle su situación a %(organization)s."
                " Antes le explico siete cosas:",
                organization=organization,
            ),
            "question": _("¿Está de acuerdo? Puede decir que sí, que no, o que sí a una parte."),
        }


def record_consent(draft: r.Referral, recipient: str) -> p.Receipt:
    """Records the consent exactly as the person gave it."""
    return clients().people.CreateReceipt(
        p.CreateReceiptRequest(
            receipt=consent_form.receipt(draft.person_id, recipient),
            request_id=forms.part_of(forms.text("request_id"), "receipt"),
        )
    )


def last_check(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Renders all answers on one page."""
    draft = referrals.fetch_draft(identifier)
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
        file=referrals.file_of(draft.person_id),
        names=names.names_of([draft], draft.unsafe_organization_ids),
        acknowledgements=acknowledgements(errors),
    )


def acknowledgements(errors: forms.Problems) -> list[tuple[str, str]]:
    """Returns the refusals that the sender may acknowledge: the last one, and those ticked."""
    return [
        (code, word)
        for code, word in words.options("acknowledgement")
        if errors.get("_form") == words.conflict(code) or code in forms.texts("acknowledged_codes")
    ]


@pages.form("/referrals/<identifier>/check", access.SENDERS, again=last_check)
def check(identifier: str) -> access.Answer:
    """Shows the last check, and sends the referral."""
    clients().referrals.SendReferral(forms.filled(r.SendReferralRequest(id=identifier)))
    return redirect(url_for("referral.show", identifier=identifier, done="send"), 303)

"""A new referral in five steps, one page a question. The draft lives at the referrals service from the first step on: back always works."""

from collections.abc import Iterable
from datetime import timedelta

import flask_babel
from flask import Blueprint, redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from werkzeug.wrappers import Response

from chassis.errors import Refusal
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access, due, forms, i18n, names, session, vocabulary, words
from services.gateway.clients import clients
from services.gateway.pages import consent_form, person_form

blueprint = Blueprint("referral_new", __name__)
STEPS = ("person", "need", "services", "consent", "check")
CONSENT_DAYS = 90
# The middle of a band: a service's limits are in years, a person's age is often known only roughly.
BAND_AGES = {r.AGE_BAND_0_TO_11: 7, r.AGE_BAND_12_TO_17: 15, r.AGE_BAND_18_TO_24: 21, r.AGE_BAND_25_TO_59: 40, r.AGE_BAND_60_AND_OVER: 65}


def draft_of(identifier: str) -> r.Referral:
    """The draft as it is kept."""
    return clients().referrals.GetReferral(r.GetReferralRequest(id=identifier))


def change(draft: r.Referral, etag: str, once: str = "", **fields: object) -> r.Referral:
    """Writes some fields of the draft; `once` where a form writes twice."""
    changed = r.Referral(id=draft.id, etag=etag or draft.etag)
    for name, value in fields.items():
        setattr(changed, name, value)
    return clients().referrals.UpdateReferral(
        r.UpdateReferralRequest(referral=changed, update_mask=FieldMask(paths=list(fields)), request_id=once or forms.request_id())
    )


def contact_of(identifier: str) -> c.Contact | None:
    """The contact it began with, if it did."""
    return clients().contacts.GetContact(c.GetContactRequest(id=identifier)) if identifier else None


@blueprint.get("/referrals/new")
@access.open_to(access.SENDERS)
def person() -> str:
    """Step 1: whom it is for. A contact, a file or the service that was chosen in the directory may be brought along in the address, by opaque id."""
    contact = contact_of(request.args.get("contact", ""))
    known = request.args.get("person", "") or (contact.person_id if contact else "")
    file = clients().people.GetPerson(p.GetPersonRequest(id=known)) if known else None
    return show_person(contact, file, {})


def show_person(contact: c.Contact | None, file: p.Person | None, errors: dict[str, str]) -> str:
    """Renders step 1."""
    start = {"language": contact.language, "department": contact.department, "country": contact.line_country} if contact else {}
    return render_template(
        "new_person.html",
        contact=contact,
        file=file,
        errors=errors,
        step="person",
        draft=None,
        person=person_form.Values(start),
        brought=brought(),
    )


def brought() -> d.Service | None:
    """The service that was chosen in the directory, before anything was known of the person; None too where there is no such service (any more)."""
    identifier = request.args.get("service", "")
    return names.names(services=[identifier]).services.get(identifier) if identifier else None


@blueprint.post("/referrals/new")
@access.open_to(access.SENDERS)
def create() -> Response | tuple[str, int]:
    """Opens the file unless there is one, then the draft."""
    contact = contact_of(forms.text("contact"))
    known = forms.text("person")
    once = forms.request_id()
    errors = {} if known else person_form.missing()
    if not errors:
        try:
            if not known:
                known = clients().people.CreatePerson(person_form.request_of(session.part_of(once, "person"))).id
                link(contact, known, once)
            draft = clients().referrals.CreateReferral(
                r.CreateReferralRequest(
                    person_id=known,
                    contact_id=contact.id if contact else "",
                    need_code=contact.need_code if contact else "",
                    urgency=contact.urgency if contact else r.URGENCY_UNSPECIFIED,
                    request_id=session.part_of(once, "referral"),
                )
            )
            if draft.urgency and is_one_need(draft.need_code):  # the contact said both: not asked again
                return take_along(draft)
            return redirect(url_for("referral_new.need", identifier=draft.id, service=request.args.get("service") or None), 303)
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    file = clients().people.GetPerson(p.GetPersonRequest(id=known)) if known else None
    return show_person(contact, file, errors), 422


def is_one_need(code: str) -> bool:
    """Whether a referral can ask for it: a contact may name a whole group of needs only."""
    return bool(code) and not any(code == group and within for group, _name, within in names.needs())


def link(contact: c.Contact | None, person_id: str, once: str) -> None:
    """Notes at the contact whose call it was. The referral names the contact too, so a contact that changed meanwhile is no reason to stop."""
    if contact is None or contact.person_id:
        return
    changed = c.Contact(id=contact.id, etag=contact.etag, person_id=person_id)
    try:
        clients().contacts.UpdateContact(
            c.UpdateContactRequest(contact=changed, update_mask=FieldMask(paths=["person_id"]), request_id=session.part_of(once, "contact"))
        )
    except Refusal:
        return


@blueprint.get("/referrals/<identifier>/draft")
@access.open_to(access.SENDERS)
def resume(identifier: str) -> Response:
    """Goes on where something is missing."""
    draft = draft_of(identifier)
    if not draft.need_code or not draft.urgency:
        return redirect(url_for("referral_new.need", identifier=identifier))
    if not draft.service_id:
        return redirect(url_for("referral_new.services", identifier=identifier))
    return redirect(url_for("referral_new.check" if draft.receipt_id else "referral_new.consent", identifier=identifier))


@blueprint.route("/referrals/<identifier>/reroute", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def reroute(identifier: str) -> Response | str:
    """A fresh draft for the same person and need, after a no. The old one stays as it is and is named as its reason."""
    old = draft_of(identifier)
    drafts = r.ReferralFilter(box=r.BOX_OUTBOX, states=[r.STATE_DRAFT], person_id=old.person_id)
    for begun in clients().referrals.ListReferrals(r.ListReferralsRequest(filter=drafts, page_size=50)).referrals:
        if begun.based_on_id == old.id:  # somebody began it already
            return redirect(url_for("referral_new.resume", identifier=begun.id))
    if request.method == "GET":
        return render_template("reroute.html", referral=old, names=names.names_of([old]))
    draft = clients().referrals.CreateReferral(
        r.CreateReferralRequest(
            person_id=old.person_id,
            contact_id=old.contact_id,
            need_code=old.need_code,
            urgency=old.urgency,
            based_on_id=old.id,
            request_id=forms.request_id(),
        )
    )
    return redirect(url_for("referral_new.services", identifier=draft.id), 303)


@blueprint.route("/referrals/<identifier>/need", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def need(identifier: str) -> Response | str | tuple[str, int]:
    """Step 2: what help, how soon."""
    draft = draft_of(identifier)
    errors: dict[str, str] = {}
    if request.method == "POST":
        code, urgency = forms.text("need_code"), words.number("urgency", forms.text("urgency"))
        errors = {name: words.violation("required", name) for name, value in (("need_code", code), ("urgency", urgency)) if not value}
        if not errors:
            try:
                return take_along(change(draft, forms.etag(), need_code=code, urgency=urgency))
            except forms.SHOWN_IN_PLACE as refusal:
                errors = forms.problems(refusal)
    chosen = brought()
    offered = [] if chosen is None else list(chosen.need_codes)
    page = render_template(
        "new_need.html",
        draft=draft,
        errors=errors,
        step="need",
        urgency_hints=urgency_hints(),
        brought=chosen,
        offered=offered,
        need_code=draft.need_code or (offered[0] if len(offered) == 1 else ""),
    )
    return (page, 422) if errors else page


def take_along(draft: r.Referral) -> Response:
    """Chooses the service that was brought along, unless it says that it does not take this person or this need: then the others stand beside the reasons."""
    chosen = request.args.get("service", "")
    if chosen and verdict_of(draft, chosen) in (d.VERDICT_FITS, d.VERDICT_ASK):
        try:
            change(draft, "", session.part_of(forms.request_id(), "service"), service_id=chosen)
            return redirect(url_for("referral_new.consent", identifier=draft.id), 303)
        except forms.SHOWN_IN_PLACE:
            pass  # it went meanwhile: the page of services says so
    return redirect(url_for("referral_new.services", identifier=draft.id, service=chosen or None), 303)


def verdict_of(draft: r.Referral, service_id: str) -> int:
    """How a service fits; 0 for one that does not give this help."""
    question = match_question(draft)
    question.limit = 100
    return next((match.verdict for match in clients().directory.MatchServices(question).matches if match.service.id == service_id), 0)


def urgency_hints() -> dict[str, str]:
    """When it is how urgent, and how soon the other side then answers."""
    answers = due.answers(clients().referrals.GetDeadlinePolicy(r.GetDeadlinePolicyRequest()))
    return {code: f"{words.word('urgency_hint', code)} {answers.get(code, '')}" for code, _word in words.options("urgency")}


@blueprint.route("/referrals/<identifier>/services", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def services(identifier: str) -> Response | str | tuple[str, int]:
    """Step 3: which service, with the reasons."""
    draft = draft_of(identifier)
    errors: dict[str, str] = {}
    if request.method == "POST":
        try:
            change(draft, forms.etag(), service_id=forms.text("service_id"))
            return redirect(url_for("referral_new.consent", identifier=identifier), 303)
        except forms.SHOWN_IN_PLACE as refusal:
            errors = forms.problems(refusal)
    matches = list(clients().directory.MatchServices(match_question(draft)).matches) if draft.need_code else []
    page = render_template("new_services.html", draft=draft, errors=errors, step="services", matches=matches, brought=brought())
    return (page, 422) if errors else page


def match_question(draft: r.Referral) -> d.MatchServicesRequest:
    """The coarse attributes of the person; never more."""
    person = draft.person
    question = d.MatchServicesRequest(
        need_code=draft.need_code,
        country=person.country or session.me().country,
        department=person.department,
        gender=d.Gender.ValueType(words.number("gender", words.snake(words.code("person_gender", person.gender_code)))),
        language=person.language,
        limit=30,
    )
    if person.HasField("dependants"):
        question.dependants = person.dependants
    if person.age_band in BAND_AGES:
        question.age = BAND_AGES[person.age_band]
    return question


@blueprint.route("/referrals/<identifier>/consent", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def consent(identifier: str) -> Response | str | tuple[str, int]:
    """Step 4: the person's consent for this one recipient, in three pages; the receipt is made at the last."""
    draft = draft_of(identifier)
    service = clients().directory.GetService(d.GetServiceRequest(id=draft.service_id)) if draft.service_id else None
    if service is None:
        return redirect(url_for("referral_new.services", identifier=identifier))
    recipient, minor = service.organization_id, draft.person.age_band in (r.AGE_BAND_0_TO_11, r.AGE_BAND_12_TO_17)
    page, errors = "points", dict[str, str]()
    speak = forms.text("speak")  # to read it in another language; what was ticked stays
    if request.method == "POST" and not speak:
        receipt_id = forms.text("receipt_id")
        page, errors = ("", errors) if receipt_id else consent_form.turn(recipient, minor)
        if not page:
            try:
                return stand_on(draft, receipt_id or give(draft, recipient).id)
            except forms.SHOWN_IN_PLACE as refusal:
                errors = forms.problems(refusal)
                page = "points" if receipt_id else consent_form.page_of(errors)
    spoken = speak or request.values.get("read", "") or draft.person.language
    spoken = spoken if spoken in i18n.LANGUAGES else i18n.language()
    shown = render_template(
        "new_consent.html",
        draft=draft,
        service=service,
        errors=errors,
        labels=consent_form.labels(),
        step="consent",
        page=page,
        number=list(consent_form.ASKED).index(page) + 1 if page in consent_form.ASKED else 0,
        said=consent_form.said(recipient),
        carried=list(consent_form.carried(page, recipient)),
        answers=consent_form.ANSWERS,
        unasked=minor and page != "points" and consent_form.unasked(),
        receipts=receipts_for(draft) if page == "points" else [],
        minor=minor,
        spoken=spoken,
        script=script(spoken, service.organization_name),
        until=i18n.now() + timedelta(days=CONSENT_DAYS),
    )
    return (shown, 422) if errors else shown


def receipts_for(draft: r.Referral) -> Iterable[p.Receipt]:
    """What she allowed before that would do for this one."""
    return clients().people.ListReceipts(p.ListReceiptsRequest(person_id=draft.person_id, referral_id=draft.id)).receipts


def stand_on(draft: r.Referral, receipt_id: str) -> Response:
    """Goes on with this consent; one that was sent on an override, and now she could be asked, stands on it at once."""
    if draft.state != r.STATE_DRAFT:
        attach(draft, receipt_id)
        return redirect(url_for("referral.show", identifier=draft.id, done="attach_consent"), 303)
    change(draft, forms.etag(), receipt_id=receipt_id)
    return redirect(url_for("referral_new.check", identifier=draft.id), 303)


def script(language: str, organization: str) -> dict[str, object]:
    """What is read aloud, in the person's language, which is not always the reader's."""
    with flask_babel.force_locale(language):
        points = [(code, i18n.gettext(text)) for code, text in vocabulary.TABLES["explained"].items()]
        opening = i18n.gettext(
            "Le pido permiso para contarle su situación a %(organization)s. Antes le explico siete cosas:", organization=organization
        )
        question = i18n.gettext("¿Está de acuerdo? Puede decir que sí, que no, o que sí a una parte.")
    return {"points": points, "opening": opening, "question": question}


def give(draft: r.Referral, recipient: str) -> p.Receipt:
    """Records the consent as it was given."""
    receipt = consent_form.receipt(draft.person_id, recipient)
    return clients().people.CreateReceipt(
        p.CreateReceiptRequest(receipt=receipt, request_id=session.part_of(forms.request_id(), "receipt"))
    )


def attach(referral: r.Referral, receipt_id: str) -> None:
    """Puts her consent in the place of an override."""
    clients().referrals.AttachConsent(
        r.AttachConsentRequest(id=referral.id, etag=forms.etag() or referral.etag, request_id=forms.request_id(), receipt_id=receipt_id)
    )


@blueprint.route("/referrals/<identifier>/check", methods=["GET", "POST"])
@access.open_to(access.SENDERS)
def check(identifier: str) -> Response | str | tuple[str, int]:
    """Step 5: everything on one page, and send."""
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
        step="check",
        receipt=receipt,
        file=clients().people.GetPerson(p.GetPersonRequest(id=draft.person_id)),
        names=names.names_of([draft]),
    )
    return (page, 422) if errors else page

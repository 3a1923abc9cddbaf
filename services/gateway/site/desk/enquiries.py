"""Enquiries, which ask many services at once without the person's identity.

The pages are the questions, a preview of what the services will read, the answers, and the accepted
offer.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import (
    directory,
    lists,
    names,
    queues,
    referrals,
)
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms, person_form, unsafe_form
from services.gateway.site.shell import access, session

pages = access.Pages("enquiries")
MAX_SERVICES, MAX_MATCHES = 50, 100
"""The contract's limits: services in one enquiry, and matches in one query."""
ORDER = (
    e.OFFER_ANSWER_YES,
    e.OFFER_ANSWER_MAYBE,
    e.OFFER_ANSWER_WAITLIST,
    e.OFFER_ANSWER_UNSPECIFIED,
    e.OFFER_ANSWER_NO,
)
# The form field of an attribute, if it has another name.
FIELDS = {"gender": "gender_code"}
EXCLUDED = "excluded_organization_ids"


@pages.get("/enquiries", access.CARE)
def listing() -> str:
    """Shows the enquiries that this desk received or sent; by default, only those not yet over."""
    boxes = {"received": e.ENQUIRY_BOX_RECEIVED, "asked": e.ENQUIRY_BOX_ASKED}
    box = request.args.get("box", "")
    box = box if box in boxes else "asked" if session.me().may("operator") else "received"
    everything = request.args.get("all", "") != ""
    if box == "asked" and not everything:
        answer = e.ListEnquiriesResponse(enquiries=queues.enquiries_sent())
    else:
        answer = clients().enquiries.ListEnquiries(
            e.ListEnquiriesRequest(
                box=boxes[box],
                states=[] if everything else [e.ENQUIRY_STATE_OPEN],
                page_size=50,
                page_token=request.args.get("page", ""),
            )
        )
    return render_template(
        "enquiries.html",
        enquiries=answer.enquiries,
        box=box,
        everything=everything,
        next_page=answer.next_page_token,
    )


@pages.blueprint.app_template_global()
def answers_of(enquiry: e.Enquiry) -> list[tuple[int, str]]:
    """Returns the number of offers for each answer, with the name of the answer.

    Services that have not answered count, too. Answers with no offers are left out.
    """
    counts = Counter(offer.answer for offer in enquiry.offers)
    return [
        (counts[answer], words.code("offer_answer", answer)) for answer in ORDER if counts[answer]
    ]


@pages.blueprint.app_template_global()
def sketch(content: e.EnquiryContent) -> str:
    """Describes the person of an enquiry with the attributes that the enquiry states."""
    parts = [
        words.word("age_band", content.age_band) if content.age_band else "",
        words.word("person_gender", content.gender_code) if content.gender_code else "",
        _("con %(num)d a su cargo", num=content.dependants) if content.dependants else "",
        *(words.language(tag) for tag in content.languages),
        words.department(content.department) if content.department else "",
        *(words.word("accessibility", code) for code in content.accessibility_codes),
    ]
    return " · ".join(filter(None, parts)) or "–"


@pages.blueprint.app_template_global()
def decline_choices() -> list[tuple[str, str]]:
    """Returns the reasons for declining that can apply before the person is known by name.

    Reasons that require an explanation are left out.
    """
    return [
        (code, word)
        for code, word in words.options("decline_reason")
        if code not in ("other", "duplicate", "consent_not_confirmed")
    ]


@pages.form("/enquiries/new", access.SENDERS)
def new() -> access.Answer:
    """Shows the questions; then a preview with the number of services; then creates the enquiry."""
    answers = MultiDict(request.form) if request.method == "POST" else known_answers()
    if request.method != "POST" or "back" in answers:
        return ask(answers, {})
    rpc_request = e.PreviewEnquiryRequest(keep_unused=forms.flag("keep_unused"))
    errors = forms.unreadable(forms.filled, rpc_request)
    if forms.text("drop"):
        attribute = FIELDS.get(forms.text("drop"), forms.text("drop"))
        answers.poplist(attribute)
        if attribute in rpc_request.content.DESCRIPTOR.fields_by_name:
            rpc_request.content.ClearField(attribute)  # type: ignore[arg-type]
    # The line of one country may ask services in another.
    content = rpc_request.content
    content.country = content.country or content.department[:2] or session.me().country
    errors |= {
        name: words.violation("required", name)
        for name in ("need_code", "urgency")
        if not getattr(rpc_request.content, name)
    }
    unsafe_problems = unsafe_form.problems(answers, EXCLUDED)
    errors |= {name: problem for name, problem in unsafe_problems.items() if name == "unsafe_code"}
    if errors:
        return ask(answers, errors)
    try:
        services_everywhere = find_services(rpc_request.content)
        unsafe_departments = list(rpc_request.unsafe_departments)
        services = (
            find_services(rpc_request.content, unsafe_departments)
            if unsafe_departments
            else services_everywhere
        )
        rpc_request.service_ids.extend(service.id for service in services)
        is_sure = forms.flag("sure") and not unsafe_form.only_searches(answers)
        if is_sure and services and not unsafe_problems:
            return redirect(
                url_for("enquiries.show", identifier=create(rpc_request).id, done="asked"), 303
            )
        preview = (
            clients().enquiries.PreviewEnquiry(rpc_request) if services else e.EnquiryPreview()
        )
    except forms.SHOWN_IN_PLACE as refusal:
        errors = forms.problems(refusal)
        if errors != {"_form": words.conflict("service_unknown")}:
            return ask(answers, errors)
        preview = e.EnquiryPreview()  # she named all these services as unsafe
    unsafe_problems = unsafe_problems if is_sure else {}
    return render_template(
        "enquiry_check.html",
        content=rpc_request.content,
        preview=preview,
        choices=directory.unsafe_choices(services_everywhere, answers, EXCLUDED),
        more=services.more,
        answers=answers,
        keep_unused=rpc_request.keep_unused,
        errors=unsafe_problems,
    ), 422 if unsafe_problems else 200


def known_answers() -> MultiDict[str, str]:
    """Returns the answers that the contact, an earlier enquiry or the person's file has."""
    answers: dict[str, Any] = {"languages": "es"}
    contact_id, person_id = request.args.get("contact", ""), request.args.get("person", "")
    if contact_id:
        contact = clients().contacts.GetContact(c.GetContactRequest(id=contact_id))
        answers |= {
            "contact_id": contact_id,
            "need_code": contact.need_code,
            "urgency": words.code("urgency", contact.urgency),
            "languages": contact.language,
            "country": contact.department[:2],
            "department": contact.department,
        }
        person_id = person_id or contact.person_id
    if enquiry_id := request.args.get("enquiry", ""):
        content = clients().enquiries.GetEnquiry(e.GetEnquiryRequest(id=enquiry_id)).content
        answers |= person_form.answers_of_enquiry(content)
        answers |= {
            "languages": answers["language"],
            "accessibility_codes": words.codes("accessibility", content.accessibility_codes),
        }
    if person_id:
        answers |= person_form.answers_of(referrals.file_of(person_id))
        answers |= {"person_id": person_id, "languages": answers["language"]}
    return MultiDict(answers)


def ask(answers: MultiDict[str, str], errors: dict[str, str]) -> access.Answer:
    """Shows all questions on one page."""
    return render_template(
        "enquiry_new.html",
        answers=answers,
        errors=errors,
        urgency_hints=referrals.urgency_hints(of_enquiry=True),
    ), 422 if errors else 200


def find_services(
    content: e.EnquiryContent, unsafe_departments: Sequence[str] = ()
) -> lists.Rows[d.Service]:
    """Returns at most MAX_SERVICES services that fit or may fit, the best first.

    Services of the reader's own organisation are left out, and so are services in departments that
    are unsafe for the person.
    """
    person = r.CoarsePerson(
        age_band=content.age_band,
        gender_code=content.gender_code,
        language=content.languages[0] if content.languages else "",
        dependants=content.dependants if content.HasField("dependants") else None,
        country=content.country,
        department=content.department,
    )
    matches = directory.matches(
        content.need_code,
        person,
        session.me().country,
        limit=MAX_MATCHES,
        unsafe_departments=unsafe_departments,
        # The two enumerations have the same words and the same numbers.
        needed_support=[d.Accessibility.ValueType(code) for code in content.accessibility_codes],
    )
    fitting_services = [
        match.service for match in matches if directory.may_fit(match, content.need_code)
    ]
    services_of_others = [
        service
        for service in fitting_services
        if service.organization_id != session.me().organization_id
    ]
    services = lists.Rows(services_of_others[:MAX_SERVICES])
    services.more = len(services_of_others) > MAX_SERVICES or len(fitting_services) >= MAX_MATCHES
    return services


def create(preview_request: e.PreviewEnquiryRequest) -> e.Enquiry:
    """Creates the enquiry, addressed to all services of the preview."""
    return clients().enquiries.CreateEnquiry(
        e.CreateEnquiryRequest(
            content=preview_request.content,
            service_ids=preview_request.service_ids,
            excluded_organization_ids=preview_request.excluded_organization_ids,
            contact_id=forms.text("contact_id"),
            person_id=forms.text("person_id"),
            keep_unused=preview_request.keep_unused,
            unsafe_code=r.UnsafeAnswer.ValueType(
                words.number(
                    "unsafe_answer", unsafe_form.code_of(MultiDict(request.form), EXCLUDED)
                )
            ),
            unsafe_departments=preview_request.unsafe_departments,
            urgency_reason_code=r.UrgencyReason.ValueType(
                words.number("urgency_reason", forms.text("urgency_reason_code"))
            ),
            request_id=forms.text("request_id"),
        )
    )


@pages.get("/enquiries/<identifier>", access.CARE)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows one enquiry: to its sender with the answers, to a receiver with the form to answer."""
    enquiry = clients().enquiries.GetEnquiry(e.GetEnquiryRequest(id=identifier))
    offers: Sequence[e.Offer] = sorted(
        enquiry.offers, key=lambda offer: (not offer.taken, ORDER.index(offer.answer))
    )
    return render_template(
        "enquiry.html",
        enquiry=enquiry,
        offers=offers,
        names=names.names(
            {offer.organization_id for offer in offers}, {offer.service_id for offer in offers}
        ),
        errors=errors,
    )


@pages.post(
    "/enquiries/<identifier>/answer",
    access.CARE,
    again=show,
    then="enquiries.show",
    done="answered",
)
def answer(identifier: str) -> None:
    """Answers an enquiry for a service of the reader's own organisation."""
    rpc_request = forms.filled(e.AnswerEnquiryRequest(id=identifier))
    if rpc_request.answer != e.OFFER_ANSWER_NO:
        rpc_request.reason_code = r.DECLINE_REASON_UNSPECIFIED
    clients().enquiries.AnswerEnquiry(rpc_request)


pages.sends(
    "take",
    "/enquiries/<identifier>/take",
    access.CARE,
    e.TakeOfferRequest,
    again=show,
    then="enquiries.show",
    done="taken",
)
pages.sends(
    "cancel",
    "/enquiries/<identifier>/cancel",
    access.CARE,
    e.CancelEnquiryRequest,
    again=show,
    then="enquiries.show",
    done="stopped",
)


@pages.post("/enquiries/<identifier>/refer", access.SENDERS, again=show)
def refer(identifier: str) -> access.Answer:
    """Creates the referral that follows from an enquiry, or continues with the one that exists.

    If the person has no file, first asks how to reach her, because an enquiry never asks this.
    """
    enquiry = clients().enquiries.GetEnquiry(e.GetEnquiryRequest(id=identifier))
    person_id = enquiry.person_id
    if not person_id and enquiry.contact_id:
        person_id = (
            clients().contacts.GetContact(c.GetContactRequest(id=enquiry.contact_id)).person_id
        )
    if not person_id:
        return redirect(url_for("referral_new.person", enquiry=identifier), 303)
    draft = (
        referrals.fetch(enquiry.referral_id)
        if enquiry.referral_id
        else clients().referrals.CreateReferral(
            r.CreateReferralRequest(
                person_id=person_id, enquiry_id=identifier, request_id=forms.text("request_id")
            )
        )
    )
    return referrals.redirect_to_next_page(draft, "services")

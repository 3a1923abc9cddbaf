"""The questions of a new referral up to the choice of a service, one page each.

Each page's form carries the earlier answers along, so that "back" works and two tabs do not
interfere. When the session ends, the answers are kept with the form (kept.py). The person's file
and the draft are created when a service is chosen, or, if no service fits, when the worker saves
them without one. Until then, nothing incomplete is stored, and each answer can be changed.
Questions that the contact, the file or the chosen service already answers are skipped, but their
pages can still be opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import directory, names, referrals
from services.gateway.site.language import i18n, words
from services.gateway.site.parts import forms, person_form, unsafe_form
from services.gateway.site.shell import access, session

pages = access.Pages("referral_new")
FIELDS_OF_PAGE: Mapping[str, tuple[str, ...]] = {
    "need": ("need_code",),
    "urgency": ("urgency", "urgency_reason_code", "assault_time"),
    "about": person_form.COARSE,
    "contact": person_form.SEALED,
    "unsafe": unsafe_form.FIELDS,
    "services": (),
}
"""The pages in their order, with the fields of each."""


@dataclass(frozen=True)
class Start:
    """The records from which a new referral starts; any of them may be missing.

    The records are a contact, a person's file, a service chosen in the directory, and an enquiry
    with an accepted offer. The URL and the form refer to each by its opaque id.
    """

    contact: c.Contact | None
    file: p.Person | None
    service: d.Service | None
    enquiry: e.Enquiry | None = None

    @property
    def pages(self) -> list[str]:
        """Returns the pages of the questions that must be asked.

        For a person with a file, no page asks about her. After an enquiry, the pages ask only how
        to reach her and, unless the enquiry has the answer, who or what place is unsafe for her.
        """
        if self.enquiry:
            return ["contact", *([] if self.enquiry.unsafe_code else ["unsafe"]), "services"]
        return [page for page in FIELDS_OF_PAGE if not (self.file and page in ("about", "contact"))]

    def known_answers(self) -> MultiDict[str, str]:
        """Returns the answers that are known already; a worker only needs to check them."""
        answers = MultiDict[str, str]()
        if self.service and len(self.service.need_codes) == 1:
            answers["need_code"] = self.service.need_codes[0]
        if self.contact:
            answers.update(
                {
                    "urgency": words.code("urgency", self.contact.urgency),
                    "assault_time": i18n.stamp_for_field(self.contact.assault_time),
                    "language": self.contact.language,
                    "department": self.contact.department,
                }
            )
            if is_one_need(self.contact.need_code):
                answers["need_code"] = self.contact.need_code
        if self.enquiry:
            answers.update(person_form.answers_of_enquiry(self.enquiry.content))
        return answers


def start_in_request() -> Start:
    """Returns the records that the URL or the form names.

    The service is None if the directory has no such service.
    """
    enquiry_id = request.values.get("enquiry", "")
    enquiry = (
        clients().enquiries.GetEnquiry(e.GetEnquiryRequest(id=enquiry_id)) if enquiry_id else None
    )
    contact_id = request.values.get("contact", "") or (enquiry.contact_id if enquiry else "")
    service_id = enquiry.taken_service_id if enquiry else request.values.get("service", "")
    contact = (
        clients().contacts.GetContact(c.GetContactRequest(id=contact_id)) if contact_id else None
    )
    person_id = request.values.get("person", "") or (contact.person_id if contact else "")
    return Start(
        contact,
        referrals.file_of(person_id) if person_id else None,
        names.names(services=[service_id]).services.get(service_id) if service_id else None,
        enquiry,
    )


def is_one_need(code: str) -> bool:
    """Returns whether the code names a single need, as a referral requires.

    A contact may name a whole group of needs.
    """
    return bool(code) and all(term.parent_code != code for term in names.terms().values())


@pages.form("/referrals/new", access.SENDERS)
def person() -> access.Answer:
    """Shows the first unanswered question; after each form, the next or the previous question.

    After the last question, creates the draft. If the enquiry was closed meanwhile, the questions
    continue without it; if the enquiry already has a draft, shows that draft.
    """
    start = start_in_request()
    answers = values_in_form() if request.method == "POST" else start.known_answers()
    shown_page = forms.text("page")
    if start.enquiry and not start.enquiry.taken_service_id:
        start = replace(start, enquiry=None)
        closed_problem = {"_form": words.conflict("enquiry_cancelled")}
        return show(start, answers, first_incomplete(start, answers)[0], closed_problem)
    if start.enquiry and start.enquiry.referral_id:
        return redirect(url_for("referral.show", identifier=start.enquiry.referral_id), 303)
    if (to := forms.text("to")) in start.pages:
        return show(start, answers, to, {})
    if shown_page == "unsafe" and unsafe_form.only_searches(answers) and "back" not in answers:
        return show(start, answers, shown_page, {})
    if "back" in answers and shown_page in start.pages:
        return show(start, answers, start.pages[max(0, start.pages.index(shown_page) - 1)], {})
    page, errors = first_incomplete(start, answers, shown_page)
    try:
        service_id = chosen_service(start, answers, page, shown_page)
        if service_id or (page == "services" and forms.flag("without_service")):
            return referrals.redirect_to_next_page(
                create_draft(start, answers, service_id), "services"
            )
    except forms.SHOWN_IN_PLACE as refusal:
        errors = forms.problems(refusal)
        page = page_of(start, errors)
    return show(start, answers, page, errors)


def values_in_form() -> MultiDict[str, str]:
    """Returns the values of the form.

    Two buttons give frequent night-time answers with one press instead of two.
    """
    answers = MultiDict(request.form)
    if forms.flag("nobody_calls"):
        answers["channel_code"] = "none"
    if forms.flag("names_nothing"):
        answers["unsafe_code"] = "nothing"
    return answers


def chosen_service(start: Start, answers: MultiDict[str, str], page: str, shown_page: str) -> str:
    """Returns the id of the chosen service once everything else is answered; until then, "".

    The service was chosen on the last page, earlier in the directory, or by taking an offer. A
    service from the directory counts only if it accepts, or may accept, this person and this need;
    otherwise the page shows why it does not fit, along with the other services.
    """
    if page != "services" or not shown_page:
        return ""
    if start.enquiry:
        return start.enquiry.taken_service_id
    if shown_page == page or not start.service:
        return answers.get("service_id", "")
    accepting_ids = {
        match.service.id
        for match in matches_for(start, answers, 100)
        if match.verdict in (d.VERDICT_FITS, d.VERDICT_ASK)
    }
    return start.service.id if start.service.id in accepting_ids else ""


def first_incomplete(
    start: Start, answers: MultiDict[str, str], shown_page: str = ""
) -> tuple[str, dict[str, str]]:
    """Returns the first incomplete page with its problems; "services" if no page is incomplete.

    The problems are left out if that page has not been shown yet.
    """
    for index, page in enumerate(start.pages):
        errors = problems(page, answers)
        if errors or (page == "about" and "age_band" not in answers) or page == "services":
            return page, errors if shown_page in start.pages[index:] else {}
    raise AssertionError(start.pages)


def matches_for(start: Start, answers: MultiDict[str, str], limit: int = 30) -> list[d.Match]:
    """Returns the matches for the answers, without services that the person named as unsafe."""
    return directory.matches(
        answers["need_code"],
        coarse_person(start),
        session.me().country,
        forms.whole_number("age"),
        limit,
        unsafe_departments=answers.getlist(unsafe_form.DEPARTMENTS),
        excluded_organization_ids=answers.getlist(unsafe_form.ORGANIZATIONS),
    )


def problems(page: str, answers: MultiDict[str, str]) -> dict[str, str]:
    if page == "unsafe":
        return unsafe_form.problems(answers)
    if page == "about":
        return person_form.age_problems() | forms.unreadable(forms.filled, r.CoarsePerson())
    required = {
        "need": "need_code",
        "urgency": "urgency",
        "contact": "channel_code",
        "services": "service_id",
    }.get(page, "")
    answer = answers.get(required, "")
    answer_value = words.number("urgency", answer) if page == "urgency" else answer.strip()
    missing_answer = (
        {required: words.violation("required", required)} if required and not answer_value else {}
    )
    if page == "urgency":
        return missing_answer | forms.unreadable(forms.moment, "assault_time")
    return missing_answer | person_form.birth_problems() if page == "contact" else missing_answer


def page_of(start: Start, errors: Mapping[str, str]) -> str:
    """Returns the page on which the first of these problems can be corrected."""
    return next(
        (page for page in start.pages if errors.keys() & {*FIELDS_OF_PAGE[page]}), "services"
    )


def coarse_person(start: Start) -> r.CoarsePerson:
    """Returns the person's coarse attributes, from the file or from the answers."""
    return (
        start.file.coarse if start.file else person_form.request_of("", session.me().country).coarse
    )


def create_draft(start: Start, answers: MultiDict[str, str], service_id: str) -> r.Referral:
    """Creates the draft, and the person's file if she has none.

    All pages share the form's value `once`, so that a worker who goes back and chooses again
    changes the same draft.
    """
    once = forms.text("once")
    if start.file:
        person_id = start.file.id
    else:
        rpc_request = person_form.request_of(forms.part_of(once, "person"), session.me().country)
        rpc_request.safe_contact.channel_code = words.number(
            "safe_channel", answers["channel_code"]
        )
        rpc_request.contact_id = start.contact.id if start.contact else ""
        person_id = clients().people.CreatePerson(rpc_request).id
    draft_request = r.CreateReferralRequest(
        person_id=person_id,
        contact_id=start.contact.id if start.contact else "",
        enquiry_id=start.enquiry.id if start.enquiry else "",
        request_id=forms.part_of(once, "referral"),
    )
    unsafe_answer = unsafe_form.answer(answers) if "unsafe" in start.pages else {}
    draft = referrals.fetch(clients().referrals.CreateReferral(draft_request).id)
    values = {
        "need_code": answers["need_code"],
        "urgency": words.number("urgency", answers["urgency"]),
        "service_id": service_id,
        **unsafe_answer,
    }
    # If the button was pressed twice, the draft has these values already, or was even sent.
    if draft.state != r.STATE_DRAFT or all(
        getattr(draft, name) == value for name, value in values.items()
    ):
        return draft
    return referrals.update_draft(
        draft,
        "",
        **values,
        **urgency_reason(),
        **({"assault_time": time} if (time := forms.moment("assault_time")) else {}),
    )


def hidden_fields(start: Start, page: str, answers: MultiDict[str, str]) -> list[tuple[str, str]]:
    """Returns the names and values of the form's hidden fields.

    They carry the start and the answers of the other pages. An empty age band or language is
    included, because it shows that the question was asked.
    """
    records = {
        "contact": start.contact,
        "person": start.file,
        "service": start.service,
        "enquiry": start.enquiry,
    }
    return [
        *((kind, record.id) for kind, record in records.items() if record),
        *(
            (name, value)
            for name, value in forms.of_other_pages(answers, FIELDS_OF_PAGE, page)
            if value or name in ("age_band", "language")
        ),
    ]


def back_address(start: Start) -> str:
    """Returns the URL of the page from which the worker came to the first question."""
    if start.enquiry:
        return url_for("enquiries.show", identifier=start.enquiry.id)
    if start.contact:
        return url_for("line.show", identifier=start.contact.id)
    return (
        url_for("people.show", identifier=start.file.id) if start.file else url_for("today.today")
    )


def show(
    start: Start, answers: MultiDict[str, str], page: str, errors: dict[str, str]
) -> access.Answer:
    matches: list[d.Match] = []
    if page in ("services", "unsafe"):
        try:
            without_unsafe = MultiDict(
                (name, value) for name, value in answers.items() if name not in unsafe_form.FIELDS
            )
            matches = (
                matches_for(start, answers)
                if page == "services"
                else matches_for(start, without_unsafe, 100)
            )
        except forms.SHOWN_IN_PLACE as refusal:  # an answer is not valid for a search
            errors = forms.problems(refusal)
            page = page_of(start, errors)
    return render_template(
        f"new_{page}.html",
        page=page,
        number=start.pages.index(page) + 1,
        total=len(start.pages) - bool(start.enquiry),
        start=start,
        answers=answers,
        person=answers,
        carried=hidden_fields(start, page, answers),
        back=back_address(start),
        once=forms.text("once") or new_id(),
        errors=errors,
        matches=matches,
        choices=directory.unsafe_choices([match.service for match in matches], answers)
        if page == "unsafe"
        else None,
        sought=coarse_person(start) if page == "services" else None,
        identified=any(answers.get(name) for name in person_form.IDENTITY),
        urgency_hints=referrals.urgency_hints() if page == "urgency" else {},
    ), 422 if errors else 200


def urgency_reason() -> dict[str, int]:
    """Returns the reason for choosing an urgency below the one that follows from the answers.

    Returns {} if the form gives no reason.
    """
    number = words.number("urgency_reason", forms.text("urgency_reason_code"))
    return {"urgency_reason_code": number} if number else {}

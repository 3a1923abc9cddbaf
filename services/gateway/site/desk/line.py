"""The line: a new contact with triage and advice, the shared queue, and each contact.

All operators share the queue, and any of them can continue with a contact.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import TypeVar

from flask import redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from chassis.errors import Exhausted, Invalid, NotAllowed, Stale, Unauthenticated
from chassis.local_time import day_at
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import advice_pb2 as ad
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import (
    answer_or,
    devices,
    lists,
    names,
    queues,
    references,
    referrals,
)
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import forms, merging
from services.gateway.site.shell import access, session

pages = access.Pages("line")
CHANGEABLE = (
    "triage",
    "kind_code",
    "speaker_code",
    "outcome_code",
    "campaign_code",
    "placement_code",
    "department",
    "need_code",
    "note",
    "language",
    "assault_time",
)
M = TypeVar("M", bound=Message)
CLOSED_AT_ONCE = {"unrelated": c.CONTACT_KIND_UNRELATED, "prank": c.CONTACT_KIND_PRANK}


def contact(identifier: str = "", *, close: bool = False) -> c.Contact:
    """Returns the contact from the form.

    With `close`, the contact is closed, with the kind that the pressed button names.
    """
    typed = forms.filled(c.Contact(id=identifier))
    typed.line_country = typed.line_country or session.me().country
    typed.outcome_code = typed.outcome_code or c.CONTACT_OUTCOME_OPEN
    if close:
        typed.kind_code = CLOSED_AT_ONCE[forms.text("close_as")]
        typed.outcome_code = c.CONTACT_OUTCOME_NOTHING_TO_DO
    return typed


def refuse_time(identifier: str = "") -> tuple[str, int] | None:
    """Shows the page again if the time of an assault cannot be read; else returns None.

    The page keeps what was typed (shell/refill.py), and the version from which the form was made.
    """
    if not (errors := forms.unreadable(forms.moment, "assault_time")):
        return None
    shown = c.Contact(
        id=identifier, etag=forms.text("etag"), line_country=forms.text("line_country")
    )
    credentials = forms.text("reference"), forms.text("pin")
    return page(shown, errors, credentials=credentials, shown=forms.text("shown")), 422


def save_even_without_code(
    typed: c.Contact, save: Callable[[c.Contact, str], M]
) -> tuple[M, forms.Problems]:
    """Saves a contact; leaves out the poster code if no poster has that code.

    A crisis call does not wait for the right code. `save` is given the contact and a request id.
    Returns the service's answer, and the problem of the code if it was left out.
    """
    try:
        return save(typed, forms.text("request_id")), forms.NO_PROBLEMS
    except Invalid as refusal:
        if {field for field, _reason in refusal.violations} != {"contact.placement_code"}:
            raise
        without_code = c.Contact()
        without_code.CopyFrom(typed)
        without_code.ClearField("placement_code")
        answer = save(without_code, forms.part_of(forms.text("request_id"), "without_code"))
        return answer, forms.problems(refusal)


def state_of(contact: c.Contact) -> str:
    """Returns the contact's changeable fields, encoded for the form's field `shown`.

    The other fields are left out: with a caller's later notes, the form could become too large.
    """
    state = c.Contact()
    FieldMask(paths=list(CHANGEABLE)).MergeMessage(contact, state)
    return merging.encode(state)


def page_with_code(
    stored: c.Contact, problems: forms.Problems, reference: str = "", pin: str = ""
) -> str:
    """Shows a saved contact with the code as it was typed, and with the code's problems."""
    shown = state_of(stored)
    stored.placement_code = forms.text("placement_code")
    return page(stored, problems, reference, pin, shown=shown)


def closes() -> bool:
    """Returns whether the form was sent by a button that sets the kind and closes the contact."""
    return forms.text("close_as") in CLOSED_AT_ONCE


def may_close(stored: c.Contact) -> bool:
    """Returns whether one press may close the contact.

    An urgent contact may not be closed like this. While a question that determines the urgency is
    open, the contact may turn out to be urgent.
    """
    return not stored.open_question_count and stored.urgency in (
        r.URGENCY_UNSPECIFIED,
        r.URGENCY_NORMAL,
    )


def refuse_to_close(shown: c.Contact) -> tuple[str, int]:
    """Shows the page again after a button was pressed that would close the contact too early."""
    problem = _(
        "Todavía no se puede cerrar así: faltan preguntas. Conteste cada una, o marque «No dijo»."
    )
    return page(shown, {"_form": problem}, shown=forms.text("shown")), 422


@pages.get("/line", access.LINE)
def queue(errors: forms.Problems = forms.NO_PROBLEMS, identifier: str = "") -> str:
    """Shows the open contacts, which one shift hands to the next, and a page of closed contacts.

    `identifier` is the owed call whose form had problems.
    """
    answer = clients().contacts.ListContacts(
        c.ListContactsRequest(page_size=50, page_token=request.args.get("page", ""))
    )
    return render_template(
        "line.html",
        waiting=queues.open_contacts(),
        calls=queues.calls_owed(),
        others=[
            contact for contact in answer.contacts if contact.outcome_code != c.CONTACT_OUTCOME_OPEN
        ],
        next_page=answer.next_page_token,
        errors=errors,
        part=identifier,
    )


# Records the result of a call.
pages.sends(
    "settle_call",
    "/line/calls/<identifier>",
    access.LINE,
    c.SettleCallbackRequest,
    again=queue,
    then="line.queue",
)


@pages.get("/line/<identifier>/hand-over", access.LINE)
def handing_over(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the form for handing a caller over, with the approved members and their phones."""
    members = lists.all_of(d.ListOrganizationsRequest(status=d.ORGANIZATION_STATUS_APPROVED))
    return render_template(
        "hand_over.html",
        contact=clients().contacts.GetContact(c.GetContactRequest(id=identifier)),
        members=sorted(
            (
                (member.id, " · ".join(filter(None, (member.name, member.phone))))
                for member in members
            ),
            key=itemgetter(1),
        ),
        errors=errors,
    )


@pages.post("/line/<identifier>/hand-over", access.LINE, again=handing_over, then="line.show")
def hand_over(identifier: str) -> None:
    """Records whether the caller was connected live, and with whom.

    If she was connected, the contact ends as handed over. If that answer is later corrected to no,
    the contact is open again.
    """
    changes = forms.filled(c.Contact(id=identifier))
    paths = ["connected_live", "handed_over_organization_id", "emergency_number_code"]
    forms.require("connected_live", changes.connected_live)
    stored = clients().contacts.GetContact(c.GetContactRequest(id=identifier))
    if changes.connected_live == c.ANSWER_YES:
        changes.outcome_code = c.CONTACT_OUTCOME_HANDED_OVER
        paths.append("outcome_code")
    elif stored.outcome_code == c.CONTACT_OUTCOME_HANDED_OVER:
        changes.outcome_code = c.CONTACT_OUTCOME_OPEN
        paths.append("outcome_code")
    clients().contacts.UpdateContact(
        c.UpdateContactRequest(
            contact=changes, update_mask=FieldMask(paths=paths), request_id=forms.text("request_id")
        )
    )


@pages.get("/line/<identifier>/file", access.LINE)
def file(
    identifier: str,
    errors: forms.Problems = forms.NO_PROBLEMS,
    results: p.SearchPeopleResponse | None = None,
    *,
    is_recorded: bool = False,
) -> str:
    """Shows the form for linking a contact to the caller's file, with the results of a search.

    A search by name is recorded, a search by code is not.
    """
    return render_template(
        "contact_file.html",
        contact=clients().contacts.GetContact(c.GetContactRequest(id=identifier)),
        errors=errors,
        results=results,
        is_recorded=is_recorded,
    )


@pages.post("/line/<identifier>/files", access.LINE, again=file)
def find_file(identifier: str) -> access.Answer:
    """Searches the files of the operator's organisation by their code, and by the caller's name.

    Many files have no name, but the operator sees their code in the caller's earlier contacts.
    """
    term = forms.text("q")
    forms.require("q", term)
    by_name, by_code = p.SearchPeopleResponse(), p.ListPeopleResponse()
    if len(term.replace(" ", "").replace("-", "")) == 6:  # a name may have letters that no code has
        by_code = answer_or(by_code, p.ListPeopleRequest(code=term), Invalid)
    may_be_name = not any(character.isdigit() for character in term)
    if may_be_name:
        try:
            by_name = clients().people.SearchPeople(p.SearchPeopleRequest(name=term))
        except NotAllowed as refusal:  # coordinators, auditors and members on probation
            forms.refuse(forms.problems(refusal))
    by_name.people.extend(by_code.people)
    return file(identifier, results=by_name, is_recorded=may_be_name)


# Links the contact to the chosen file; without a file, ends the link.
pages.sends(
    "link_file",
    "/line/<identifier>/file",
    access.LINE,
    lambda id: c.UpdateContactRequest(
        contact=c.Contact(id=id), update_mask=FieldMask(paths=["person_id"])
    ),
    again=file,
    then="line.show",
)


@pages.get("/line/new", access.LINE)
def new() -> str:
    """Shows an empty triage."""
    return page(
        c.Contact(line_country=session.me().country, kind_code=c.CONTACT_KIND_CRISIS, language="es")
    )


@pages.post("/line/new/again", access.LINE)
def again() -> str:
    """Shows an empty triage for a caller who gave her reference and PIN.

    The form carries both until the contact is recorded.
    """
    return page(
        c.Contact(
            line_country=session.me().country,
            kind_code=c.CONTACT_KIND_CRISIS,
            language="es",
            called_before=True,
        ),
        credentials=(forms.text("reference"), forms.text("pin")),
    )


def page(
    contact: c.Contact,
    errors: forms.Problems = forms.NO_PROBLEMS,
    reference: str = "",
    pin: str = "",
    credentials: tuple[str, str] = ("", ""),
    shown: str | None = None,
) -> str:
    """Renders the contact with its triage.

    `reference` and `pin` are set only right after the contact was recorded. `credentials` holds
    the reference and PIN that the caller gave, until the contact is recorded; without the PIN, the
    page asks for both. `shown` is the state (state_of) from which the form was made; None stands
    for the state of `contact`.
    """
    contact_referrals = (
        referrals.matching(r.ReferralFilter(box=r.BOX_OUTBOX, contact_id=contact.id))
        if contact.id
        else lists.Rows()
    )
    return render_template(
        "contact.html",
        contact=contact,
        shown=state_of(contact) if shown is None else shown,
        errors=errors,
        # a wrong poster code is left out, and the rest is saved
        saved=errors.keys() <= {"placement_code"}
        and (request.method == "POST" or request.args.get("done") == "saved"),
        reference=reference,
        pin=pin,
        known=credentials,
        referrals=contact_referrals,
        enquiries=lists.all_of(e.ListEnquiriesRequest(contact_id=contact.id))
        if contact.id
        else lists.Rows(),
        # also the calls for other contacts of the same file, so that nobody is called twice
        calls=[
            call
            for call in queues.calls_owed()
            if call.contact_id == contact.id
            or (contact.person_id and call.person_id == contact.person_id)
        ]
        if contact.id
        else [],
        cards=send(ad.ListAdviceCardsRequest(contact_id=contact.id)).cards,
        file=referrals.file_of(contact.person_id) if contact.person_id else None,
        local_date=day_at(i18n.now(), contact.line_country, contact.department).isoformat(),
        names=names.names_of(
            contact_referrals, organizations=[contact.handed_over_organization_id]
        ),
    )


@pages.post("/line/new", access.LINE)
def create() -> access.Answer:
    """Records the contact, and shows its reference and PIN once.

    Reference and PIN appear only in the answer to this form.
    """
    if page_again := refuse_time():
        return page_again
    if closes():  # nothing is stored yet, so the urgency is not known
        return refuse_to_close(contact())
    typed, reference, pin = contact(), forms.text("reference"), forms.text("pin")
    if reference:
        # The right reference and PIN came from this device a moment ago.
        devices.attach()
    try:
        answer, code_problems = save_even_without_code(
            typed,
            lambda part, request_id: clients().contacts.CreateContact(
                c.CreateContactRequest(
                    contact=part, pin=pin, reference=reference, request_id=request_id
                )
            ),
        )
    except forms.SHOWN_IN_PLACE as refusal:
        return page(typed, forms.problems(refusal), credentials=(reference, pin)), 422
    except (Unauthenticated, Exhausted) as refusal:
        if not reference:
            raise
        problem = {"pin": references.problem_of(refusal)}
        return page(typed, problem, credentials=(reference, "")), 422
    secrets = ("", "") if reference else (answer.reference, answer.pin)
    if code_problems:
        return page_with_code(answer.contact, code_problems, *secrets)
    return page(answer.contact, forms.NO_PROBLEMS, *secrets)


@pages.get("/line/<identifier>", access.LINE)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows one contact, so that an operator can continue with it."""
    return page(clients().contacts.GetContact(c.GetContactRequest(id=identifier)), errors)


# Records the time that was agreed for calling back.
pages.sends(
    "agree_on_call",
    "/line/<identifier>/call",
    access.LINE,
    lambda id: c.CreateCallbackRequest(callback=c.Callback(contact_id=id)),
    again=show,
    then="line.queue",
)


@pages.post("/line/<identifier>", access.LINE)
def save(identifier: str) -> access.Answer:
    """Saves the current answers. The service derives the urgency from them again.

    If a button would close the contact, but an answer was changed too, the contact stays open: with
    this answer it may be urgent.
    """
    if page_again := refuse_time(identifier):
        return page_again
    is_closed = closes()
    if is_closed:
        stored = clients().contacts.GetContact(c.GetContactRequest(id=identifier))
        if not may_close(stored):
            return refuse_to_close(contact(identifier))
        is_closed = contact(identifier).triage == stored.triage
    typed = contact(identifier, close=is_closed)
    try:
        _answer, code_problems = save_even_without_code(
            typed,
            lambda part, request_id: clients().contacts.UpdateContact(
                c.UpdateContactRequest(
                    contact=part,
                    update_mask=FieldMask(paths=list(CHANGEABLE)),
                    request_id=request_id,
                )
            ),
        )
    except Stale:
        stored = clients().contacts.GetContact(c.GetContactRequest(id=identifier))
        return page(
            merged_contact(typed, stored),
            {"_form": words.conflict("put_together")},
            shown=state_of(stored),
        ), merging.MERGED
    except forms.SHOWN_IN_PLACE as refusal:
        return page(typed, forms.problems(refusal), shown=forms.text("shown")), 422
    if code_problems:
        stored = clients().contacts.GetContact(c.GetContactRequest(id=identifier))
        return page_with_code(stored, code_problems)
    return redirect(
        url_for("line.queue", done="saved")
        if is_closed
        else url_for("line.show", identifier=identifier, done="saved"),
        303,
    )


def merged_contact(typed: c.Contact, stored: c.Contact) -> c.Contact:
    """Merges this form's changes with the changes that a colleague saved in the meantime.

    If both changed the note, the result has both notes.
    """
    original = merging.original(c.Contact)
    result = merging.merge(
        typed, stored, [path for path in CHANGEABLE if path not in ("triage", "note")]
    )
    for question in c.Triage.DESCRIPTOR.fields_by_name:
        if getattr(typed.triage, question) != getattr(original.triage, question):
            setattr(result.triage, question, getattr(typed.triage, question))
    if stored.note == original.note or stored.note in typed.note:
        result.note = typed.note
    elif typed.note not in stored.note:
        result.note = f"{stored.note}\n{typed.note}"
    return result

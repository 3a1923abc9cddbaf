"""One search for workers: referrals by code, files by name, and requests by reference.

Files are those of the own organisation; a request also needs the caller's PIN. The search term
travels in forms only and stands in no address. Entries of other organisations are not found, like
those that do not exist.
"""

from dataclasses import dataclass, field

from flask import redirect, render_template, url_for

from chassis.errors import Exhausted, Invalid, NotAllowed, NotFound
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names, references
from services.gateway.site.language import words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("search")


@dataclass
class Results:
    """The result of a search.

    `reference`: the term may be a reference, so the page asks for the PIN. `problem`: the reason
    why no names were searched.
    """

    referrals: list[r.Referral] = field(default_factory=list)
    people: list[p.Person] = field(default_factory=list)
    incomplete: bool = False
    reference: str = ""
    problem: str = ""


@pages.get("/search", access.EVERYONE)
def form(
    term: str = "",
    results: Results | None = None,
    errors: forms.Problems = forms.NO_PROBLEMS,
    *,
    reference: str = "",
    problem: str = "",
) -> str:
    """Shows the form, empty before a search, and the results of a search.

    `results` is None before a search. If `reference` is set, the page asks for its PIN; `problem`
    is the problem of the last attempt.
    """
    known = names.names_of(results.referrals if results else [])
    return render_template(
        "search.html",
        q=term,
        results=results,
        names=known,
        errors=errors,
        reference=reference,
        problem=problem,
    )


@pages.post("/search", access.EVERYONE)
def find() -> access.Answer:
    """Redirects to the only referral with this code, else shows the results."""
    term = forms.text("q")
    if not term:
        return form(errors={"q": words.violation("required", "q")}), 422
    plain = term.replace(" ", "").replace("-", "")
    codes = plain.isascii() and plain.isalnum()
    results = Results(referrals=by_code(plain)) if codes and len(plain) == 6 else Results()
    if len(results.referrals) == 1:
        return redirect(url_for("referral.show", identifier=results.referrals[0].id), 303)
    if session.me().may(*access.SENDERS):
        if codes and len(plain) == 8:
            results.reference = term
        if not any(character.isdigit() for character in term):
            look_for_people(term, results)
    return form(term, results, reference=results.reference)


def by_code(code: str) -> list[r.Referral]:
    """Returns the own organisation's referrals with this code.

    Coordinators and auditors also get those of the network, except drafts.
    """
    boxes = [r.BOX_MINE, *([r.BOX_NETWORK] if session.me().may("coordinator", "auditor") else [])]
    referrals: dict[str, r.Referral] = {}
    for box in boxes:
        try:
            answer = clients().referrals.ListReferrals(
                r.ListReferralsRequest(filter=r.ReferralFilter(box=box, code=code))
            )
        except Invalid:  # it has letters that no code has
            return []
        referrals |= {referral.id: referral for referral in answer.referrals}
    return list(referrals.values())


def look_for_people(name: str, results: Results) -> None:
    """Searches files of the own organisation by a name."""
    if session.me().may("coordinator", "auditor"):  # they never learn a person's identity
        return
    try:
        answer = clients().people.SearchPeople(p.SearchPeopleRequest(name=name))
    except Exhausted as refusal:
        results.problem = words.wait(refusal.retry_after)
    except NotAllowed as refusal:
        results.problem = words.conflict(refusal.reason)
    except Invalid:  # longer than any name
        pass
    else:
        results.people, results.incomplete = list(answer.people), answer.incomplete


@pages.post("/search/status", access.SENDERS)
def status() -> access.Answer:
    """Shows the state of a request to a worker whom the caller gives reference and PIN.

    The page is the one that the caller would see. For an operator of the caller's line it also has
    a link to the contact.
    """
    # The contact is read first, because the guesses of strangers do not use up the budget of a
    # line's desk. After a right PIN this device has a budget of its own, with which the status is
    # read.
    return references.answered(
        references.ask_status,
        again=lambda problem, reference: form(reference=reference, problem=problem),
        contact_of=contact_of,
    )


def contact_of() -> str:
    """Returns the id of the contact of the form's reference; "" if it is of another line."""
    if not session.me().may(*access.LINE):
        return ""
    try:
        rpc_request = forms.filled(c.GetContactByReferenceRequest())
        return clients().contacts.GetContactByReference(rpc_request).id
    except (NotFound, NotAllowed):
        return ""

"""One search for workers: referrals by code, files by name, and requests by reference.

Only files of the reader's own organisation are searched; a request also requires the caller's PIN.
Search terms are sent in forms and never appear in a URL. A record of another organisation gives the
same result as a record that does not exist.
"""

from collections.abc import Mapping
from typing import Any

from flask import redirect, render_template, url_for

from chassis.errors import Exhausted, Invalid, NotAllowed, NotFound
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import answer_or, names, references
from services.gateway.site.language import words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("search")


@pages.get("/search", access.EVERYONE)
def form(
    term: str = "",
    results: Mapping[str, Any] | None = None,
    errors: forms.Problems = forms.NO_PROBLEMS,
    *,
    reference: str = "",
    problem: str = "",
) -> str:
    """Shows the search form, with the results of a search.

    `results` has the referrals and the files, and says whether there are more files (`incomplete`)
    or why files were not searched (its own `problem`); it is None before a search. If the term may
    be a `reference`, the page asks for its PIN; the argument `problem` says why the last attempt
    with a PIN failed.
    """
    return render_template(
        "search.html",
        q=term,
        results=results,
        names=names.names_of(results["referrals"] if results else []),
        errors=errors,
        reference=reference,
        problem=problem,
    )


@pages.post("/search", access.EVERYONE)
def find() -> access.Answer:
    """Redirects to the referral with this code if there is exactly one; else shows the results."""
    term = forms.text("q")
    if not term:
        return form(errors={"q": words.violation("required", "q")}), 422
    plain_term = term.replace(" ", "").replace("-", "")
    may_be_code = plain_term.isascii() and plain_term.isalnum()
    referrals = by_code(plain_term) if may_be_code and len(plain_term) == 6 else []
    if len(referrals) == 1:
        return redirect(url_for("referral.show", identifier=referrals[0].id), 303)
    is_sender = session.me().may(*access.SENDERS)
    # coordinators and auditors never learn a person's identity
    may_search_names = is_sender and not session.me().may("coordinator", "auditor")
    by_name = may_search_names and not any(character.isdigit() for character in term)
    return form(
        term,
        {"referrals": referrals, **(people_named(term) if by_name else {})},
        reference=term if is_sender and may_be_code and len(plain_term) == 8 else "",
    )


def by_code(code: str) -> list[r.Referral]:
    """Returns the referrals of the reader's own organisation with this code.

    For coordinators and auditors, includes the network's referrals, except drafts.
    """
    boxes = [r.BOX_MINE, *([r.BOX_NETWORK] if session.me().may("coordinator", "auditor") else [])]
    answers = [
        answer_or(
            r.ListReferralsResponse(),
            r.ListReferralsRequest(filter=r.ReferralFilter(box=box, code=code)),
            Invalid,  # the term has letters that no code has
        )
        for box in boxes
    ]
    return list(
        {referral.id: referral for answer in answers for referral in answer.referrals}.values()
    )


def people_named(name: str) -> dict[str, Any]:
    """Searches the files of the reader's own organisation by a person's name.

    Returns the files found, or the reason for a refusal, as fields of the results.
    """
    try:
        answer = clients().people.SearchPeople(p.SearchPeopleRequest(name=name))
    except (Exhausted, NotAllowed) as refusal:
        return {"problem": forms.problems(refusal)["_form"]}
    except Invalid:  # longer than any name
        return {}
    return {"people": answer.people, "incomplete": answer.incomplete}


@pages.post("/search/status", access.SENDERS)
def status() -> access.Answer:
    """Shows a worker the state of a request whose reference and PIN the caller gives her.

    The worker sees the page that the caller would see. An operator of the caller's line also gets a
    link to the contact.
    """
    # show_status reads the contact first, because that call counts against the attempts of the
    # line's desk, which strangers' wrong guesses cannot exhaust. A correct PIN then gives this
    # device a quota of its own for reading the status.
    return references.show_status(
        references.ask_status,
        again=lambda problem, reference: form(reference=reference, problem=problem),
        contact_of=contact_of,
    )


def contact_of() -> str:
    """Returns the id of the contact with the form's reference; "" if the reader may not see it."""
    if not session.me().may(*access.LINE):
        return ""
    return answer_or(
        c.Contact(), forms.filled(c.GetContactByReferenceRequest()), NotFound, NotAllowed
    ).id

"""One search for workers: a referral by its code, a file of one's own organisation by a name, and
what became of a caller by her reference and PIN.

What is searched for travels in forms only: it stands in no address. What is another's is not found,
like what is not there.
"""

from dataclasses import dataclass, field

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response

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
    """What came of a search.

    `reference`: it may be one, so the PIN is asked for; `problem`: why names were not looked for.
    """

    referrals: list[r.Referral] = field(default_factory=list)
    people: list[p.Person] = field(default_factory=list)
    incomplete: bool = False
    reference: str = ""
    problem: str = ""


@pages.get("/search", access.EVERYONE)
def form() -> str:
    """The empty form."""
    return render("", None)


def render(
    said: str,
    results: Results | None,
    errors: dict[str, str] | None = None,
    *,
    reference: str = "",
    problem: str = "",
) -> str:
    """The page; `results` is None before something was searched for.

    `reference`: the PIN of it is asked for, again if there is a `problem`.
    """
    seen = names.names_of(results.referrals if results else [])
    return render_template(
        "search.html",
        q=said,
        results=results,
        names=seen,
        errors=errors or {},
        reference=reference,
        problem=problem,
    )


@pages.post("/search", access.EVERYONE)
def find() -> access.Answer:
    """Goes to the one referral with this code, else shows what there is."""
    said = forms.text("q")
    if not said:
        return render(said, None, {"q": words.violation("required", "q")}), 422
    plain = said.replace(" ", "").replace("-", "")
    codes = plain.isascii() and plain.isalnum()
    results = Results(referrals=by_code(plain)) if codes and len(plain) == 6 else Results()
    if len(results.referrals) == 1:
        return redirect(url_for("referral.show", identifier=results.referrals[0].id), 303)
    if session.me().may(*access.SENDERS):
        if codes and len(plain) == 8:
            results.reference = said
        if not any(character.isdigit() for character in said):
            look_for_people(said, results)
    return render(said, results, reference=results.reference)


def by_code(code: str) -> list[r.Referral]:
    """One's own referrals with this code; for who oversees the network all but drafts."""
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
    """Files of one's own organisation by a name."""
    if session.me().may("coordinator", "auditor"):  # who never hears who somebody is
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
def status() -> Response | tuple[str, int]:
    """How things stand for a caller who says her reference and PIN, as she would see it; for an
    operator of her line with the way to the contact.
    """
    contact_ids = list[str]()

    def ask(reference: str, pin: str) -> c.ReferenceStatus:
        # The contact first: what strangers guessed wrong does not count at a line, from whose
        # device she may ask then.
        contact_ids.append(contact_of(reference, pin))
        return references.ask_status(reference, pin)

    return references.answered(
        ask,
        again=lambda problem, reference: render("", None, reference=reference, problem=problem),
        contact_of=lambda reference, pin: contact_ids[0],
    )


def contact_of(reference: str, pin: str) -> str:
    """The contact of this reference, if it is the reader's line's."""
    if not session.me().may(*access.LINE):
        return ""
    try:
        return (
            clients()
            .contacts.GetContactByReference(
                c.GetContactByReferenceRequest(reference=reference, pin=pin)
            )
            .id
        )
    except (NotFound, NotAllowed):
        return ""

"""People: the files of one's own organisation by code, and one file: the seal, the safe-contact
plan, receipts, referrals, who looked.
"""

from collections.abc import Iterable
from functools import partial

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names, people
from services.gateway.site.language import i18n
from services.gateway.site.language.i18n import N_
from services.gateway.site.parts import forms, lists, person_form
from services.gateway.site.shell import access, session

pages = access.Pages("people")


@pages.get("/people", access.SENDERS, navigation=N_("Personas"))
def listing() -> str:
    """Codes only, below what waits for somebody here: erasures and decisions for a second person,
    and what was opened without a consent.
    """
    answer = clients().people.ListPeople(
        p.ListPeopleRequest(page_size=50, page_token=request.args.get("page", ""))
    )
    opened = lists.all_of(
        clients().emergencies.ListEmergencies,
        em.ListEmergenciesRequest(waiting=True),
        lambda answer: answer.emergencies,
    )
    urgent = [one for one in opened if one.file_organization_id == session.me().organization_id]
    return render_template(
        "people.html",
        people=answer.people,
        next_page=answer.next_page_token,
        erasures=people.waiting_erasures(),
        proposed=lists.all_of(
            clients().people.ListProposedReceipts,
            p.ListProposedReceiptsRequest(),
            lambda answer: answer.receipts,
        ),
        emergencies=urgent,
        names=names.names({one.organization_id for one in urgent}),
    )


def render_new(errors: dict[str, str]) -> str:
    """The form of a file."""
    return render_template("person_new.html", errors=errors, person=person_form.Values())


@pages.form("/people/new", access.SENDERS, again=render_new)
def new() -> Response | str:
    """A file without a referral yet."""
    if request.method == "GET":
        return render_new({})
    forms.refuse(person_form.age_problems() | person_form.missing())
    person = clients().people.CreatePerson(
        person_form.request_of(forms.request_id(), session.me().country)
    )
    return redirect(url_for("people.show", identifier=person.id, done="saved"), 303)


@pages.get("/people/<identifier>", access.SENDERS)
def show(identifier: str) -> str:
    """One file. Files of other organisations are reached through their referral, not here."""
    return render({}, identifier)


def render(
    errors: dict[str, str],
    identifier: str,
    part: str = "",
    identity: p.Identity | None = None,
    *,
    plan_opened: bool = False,
) -> str:
    """The page, with the part of it that came back with problems or opened.

    Only what is opened is a reading.
    """
    person = clients().people.GetPerson(
        p.GetPersonRequest(id=identifier, outline_only=not plan_opened)
    )
    receipts = clients().people.ListReceipts(p.ListReceiptsRequest(person_id=identifier)).receipts
    own = person.organization_id == session.me().organization_id
    looks = (
        clients().people.ListReadings(p.ListReadingsRequest(person_id=identifier, page_size=100))
        if own
        else p.ListReadingsResponse()
    )
    readings = looks.readings
    question = r.ListReferralsRequest(filter=r.ReferralFilter(box=r.BOX_MINE, person_id=identifier))
    listed = lists.all_of(
        clients().referrals.ListReferrals, question, lambda answer: answer.referrals
    )
    asked = em.ListEmergenciesRequest(person_id=identifier)
    urgent = (
        lists.all_of(
            clients().emergencies.ListEmergencies, asked, lambda answer: answer.emergencies
        )
        if own
        else lists.Listed()
    )
    seen = names.names(
        {receipt.recipient_organization_id for receipt in receipts}
        | {reading.organization_id for reading in readings}
        | {one.organization_id for one in urgent}
        | {
            o
            for referral in listed
            for o in (referral.sender_organization_id, referral.receiver_organization_id)
        },
        {referral.service_id for referral in listed},
        {reading.actor_id for reading in readings}
        | {receipt.recorded_by_worker_id for receipt in receipts},
    )
    return render_template(
        "person.html",
        file=person,
        own=own,
        receipts=receipts,
        readings=together(readings),
        more_readings=looks.next_page_token,
        emergencies=urgent,
        rows_=listed,
        plans_=clients().plans.ListPlans(pb.ListPlansRequest(person_id=identifier)).plans
        if own
        else [],
        pathways=pathways(person.coarse.age_band) if own and not person.erased else [],
        names=seen,
        part=part,
        errors=errors,
        other_age=part == "plan" and person_form.age_is_not_taken(errors),
        identity=identity,
        plan_opened=plan_opened,
        person=person_form.Values(),
        IDENTITY=person_form.IDENTITY,
    )


def pathways(age_band: r.AgeBand.ValueType) -> list[tuple[str, str]]:
    """The pathways by which a plan may begin; those for another age come last."""
    listed = clients().plans.ListPathways(pb.ListPathwaysRequest()).pathways
    fitting = sorted(
        listed, key=lambda each: bool(each.age_bands) and age_band not in each.age_bands
    )
    return [(each.id, names.called(each.names)) for each in fitting]


def together(readings: Iterable[p.Reading]) -> list[tuple[p.Reading, int]]:
    """Readings in a row by the same worker, for the same purpose, of the same fields and on the
    same day, as one line with their number.
    """
    lines: list[tuple[p.Reading, int]] = []
    for reading in readings:
        last = lines[-1] if lines else None
        if last and alike(last[0]) == alike(reading):
            lines[-1] = (last[0], last[1] + 1)
        else:
            lines.append((reading, 1))
    return lines


def alike(reading: p.Reading) -> tuple[object, ...]:
    """What two readings share that are told in one line."""
    return (
        reading.organization_id,
        reading.actor_id,
        reading.purpose_code,
        tuple(reading.field_groups),
        reading.allowed,
        i18n.day(reading.time),
    )


@pages.get("/people/<identifier>/readings", access.SENDERS)
def looked(identifier: str) -> str:
    """Who looked at her file, all of it, page by page.

    The file itself is not asked for: that would be a look.
    """
    asked = p.ListReadingsRequest(
        person_id=identifier, page_size=200, page_token=request.args.get("page", "")
    )
    answer = clients().people.ListReadings(asked)
    seen = names.names(
        {one.organization_id for one in answer.readings},
        (),
        {one.actor_id for one in answer.readings},
    )
    return render_template(
        "readings.html",
        identifier=identifier,
        readings=together(answer.readings),
        next_page=answer.next_page_token,
        names=seen,
    )


@pages.post("/people/<identifier>/open", access.SENDERS, again=partial(render, part="open"))
def open_identity(identifier: str) -> str:
    """Opens the chosen groups for a purpose; shown in this answer only."""
    return render(
        {},
        identifier,
        "open",
        clients().people.OpenPerson(forms.filled(p.OpenPersonRequest(id=identifier))),
    )


@pages.post(
    "/people/<identifier>/identity",
    access.SENDERS,
    again=partial(render, part="identity"),
    then="people.show",
)
def update(identifier: str) -> None:
    """Completes the sealed part; what is left empty stays as it is."""
    question = forms.filled(p.UpdateIdentityRequest(id=identifier))
    question.identity.SetInParent()
    clients().people.UpdateIdentity(question)


@pages.post("/people/<identifier>/safe-contact/open", access.SENDERS)
def open_safe_contact(identifier: str) -> str:
    """Opens how she may be called, to read or to change it; shown in this answer only, and on
    record.
    """
    return render({}, identifier, plan_opened=True)


@pages.post(
    "/people/<identifier>/safe-contact",
    access.SENDERS,
    again=partial(render, part="safe"),
    then="people.show",
)
def safe_contact(identifier: str) -> None:
    """Says how she may be contacted."""
    forms.refuse(person_form.missing())
    clients().people.SetSafeContact(forms.filled(p.SetSafeContactRequest(id=identifier)))


@pages.post(
    "/people/<identifier>/withdraw",
    access.SENDERS,
    again=partial(render, part="withdraw"),
    then="people.show",
    done="receipts_withdrawn",
)
def withdraw_all(identifier: str) -> None:
    """Withdraws all that is in force, on her word.

    Sent again after it broke off, it goes on with those that are left.
    """
    request_id = forms.request_id()
    for receipt in (
        clients().people.ListReceipts(p.ListReceiptsRequest(person_id=identifier)).receipts
    ):
        if not i18n.moment(receipt.withdraw_time):
            clients().people.WithdrawReceipt(
                p.WithdrawReceiptRequest(
                    id=receipt.id, request_id=forms.part_of(request_id, receipt.id)
                )
            )


@pages.post("/people/<identifier>/plans", access.SENDERS, again=partial(render, part="plan"))
def begin_plan(identifier: str) -> Response:
    """Begins a plan."""
    plan = clients().plans.CreatePlan(forms.filled(pb.CreatePlanRequest(person_id=identifier)))
    return redirect(url_for("plans.show", identifier=plan.id, done="plan_begun"), 303)


@pages.get("/people/receipts/<receipt>", access.SENDERS)
def receipt(receipt: str) -> str:
    """One receipt, to read and to print."""
    return show_receipt({}, receipt)


def show_receipt(errors: dict[str, str], receipt: str) -> str:
    """The page; whether a second person is asked for depends on who reads it."""
    shown = clients().people.GetReceipt(p.GetReceiptRequest(id=receipt))
    needs_second = shown.giver_code == p.GIVER_BEST_INTEREST or bool(shown.giver_ground_code)
    withdrawn = bool(i18n.moment(shown.withdraw_time))
    unconfirmed = needs_second and not i18n.moment(shown.confirm_time) and not withdrawn
    over = (
        withdrawn
        or not shown.genuine
        or (i18n.moment(shown.until_time) or i18n.now()) <= i18n.now()
    )
    return render_template(
        "receipt.html",
        receipt=shown,
        errors=errors,
        unconfirmed=unconfirmed,
        outdated=not (shown.live or over or unconfirmed or shown.reason_code),
        may_confirm=unconfirmed and shown.recorded_by_worker_id != session.me().worker_id,
        names=names.names(
            {shown.recipient_organization_id},
            (),
            {shown.recorded_by_worker_id, shown.confirmed_by_worker_id},
        ),
    )


@pages.post(
    "/people/receipts/<receipt>/confirm",
    access.SENDERS,
    again=show_receipt,
    then="people.receipt",
    done="receipt_confirmed",
)
def confirm(receipt: str) -> None:
    """Agrees, as a second person, to what was decided for a child, or given in an adult's place."""
    clients().people.ConfirmReceipt(
        p.ConfirmReceiptRequest(id=receipt, request_id=forms.request_id())
    )


@pages.post("/people/receipts/<receipt>/withdraw", access.SENDERS)
def withdraw(receipt: str) -> Response:
    """Withdraws a consent on her word; access ends at once."""
    answer = clients().people.WithdrawReceipt(
        p.WithdrawReceiptRequest(id=receipt, request_id=forms.request_id())
    )
    if request.form.get("back") == "file":
        return redirect(
            url_for("people.show", identifier=answer.person_id, done="receipt_withdrawn"), 303
        )
    return redirect(url_for("people.receipt", receipt=answer.id, done="receipt_withdrawn"), 303)

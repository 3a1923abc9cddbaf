"""The list of the organisation's own files, by code, and the page of one file.

The page of a file shows sealed data, the safe-contact plan, receipts, referrals and accesses.
"""

from collections.abc import Iterable
from functools import partial
from itertools import groupby

from flask import redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import erasures_pb2 as er
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import lists, names, referrals
from services.gateway.site.language import i18n, words
from services.gateway.site.parts import forms, person_form
from services.gateway.site.shell import access, session

pages = access.Pages("people")


@pages.get("/people", access.SENDERS)
def listing() -> str:
    """Shows the codes of the files, below the matters that need attention.

    The matters are erasures and decisions that wait for a second worker, and emergency accesses
    that nobody has reviewed.
    """
    answer = clients().people.ListPeople(
        p.ListPeopleRequest(page_size=50, page_token=request.args.get("page", ""))
    )
    unreviewed_emergencies = [
        emergency
        for emergency in lists.all_of(em.ListEmergenciesRequest(waiting=True))
        if emergency.file_organization_id == session.me().organization_id
    ]
    return render_template(
        "people.html",
        people=answer.people,
        next_page=answer.next_page_token,
        erasures=lists.all_of(er.ListErasuresRequest()),
        proposed=lists.all_of(p.ListProposedReceiptsRequest()),
        emergencies=unreviewed_emergencies,
        names=names.names({emergency.organization_id for emergency in unreviewed_emergencies}),
    )


@pages.form(
    "/people/new",
    access.SENDERS,
    again=partial(render_template, "person_new.html"),
)
def new() -> access.Answer:
    """Creates a file that has no referral yet."""
    errors = person_form.age_problems() | person_form.birth_problems()
    if not forms.text("channel_code"):
        errors["channel_code"] = words.violation("required", "channel_code")
    forms.refuse(errors)
    person = send(person_form.request_of(forms.text("request_id"), session.me().country))
    return redirect(url_for("people.show", identifier=person.id, done="saved"), 303)


@pages.get("/people/<identifier>", access.SENDERS)
def show(
    identifier: str,
    errors: forms.Problems = forms.NO_PROBLEMS,
    *,
    part: str = "",
    identity: p.Identity | None = None,
    plan_opened: bool = False,
) -> str:
    """Shows one file. Showing the page is not recorded as an access; opening sealed data is.

    For a file of another organisation, the page leaves out plans, emergency accesses and accesses
    to the file. `part` names the form that had errors; `identity` holds the data that were just
    opened. With `plan_opened`, the page opens the safe-contact plan.
    """
    person = clients().people.GetPerson(
        p.GetPersonRequest(id=identifier, outline_only=not plan_opened)
    )
    receipts = clients().people.ListReceipts(p.ListReceiptsRequest(person_id=identifier)).receipts
    is_own = person.organization_id == session.me().organization_id
    readings_page = (
        clients().people.ListReadings(p.ListReadingsRequest(person_id=identifier, page_size=100))
        if is_own
        else p.ListReadingsResponse()
    )
    person_referrals = referrals.matching(r.ReferralFilter(box=r.BOX_MINE, person_id=identifier))
    emergencies = (
        lists.all_of(em.ListEmergenciesRequest(person_id=identifier)) if is_own else lists.Rows()
    )
    return render_template(
        "person.html",
        file=person,
        own=is_own,
        receipts=receipts,
        readings=group_readings(readings_page.readings),
        more_readings=readings_page.next_page_token,
        emergencies=emergencies,
        rows_=person_referrals,
        plans_=clients().plans.ListPlans(pb.ListPlansRequest(person_id=identifier)).plans
        if is_own
        else [],
        pathways=pathways(person.coarse.age_band) if is_own and not person.erased else [],
        names=names.names(
            {receipt.recipient_organization_id for receipt in receipts}
            | {reading.organization_id for reading in readings_page.readings}
            | {emergency.organization_id for emergency in emergencies}
            | {
                organization_id
                for referral in person_referrals
                for organization_id in (
                    referral.sender_organization_id,
                    referral.receiver_organization_id,
                )
            },
            {referral.service_id for referral in person_referrals},
            {reading.actor_id for reading in readings_page.readings}
            | {receipt.recorded_by_worker_id for receipt in receipts},
        ),
        answers=request.form if part == "coarse" else person_form.answers_of(person),
        part=part,
        errors=errors,
        # the worker must confirm a pathway or a birth date for another age, or has just done so
        other_age=bool(
            errors.get("_form")
            in (words.conflict("age_not_taken"), words.conflict("adulthood_changes"))
            or forms.texts("acknowledged_codes")
        ),
        identity=identity,
        plan_opened=plan_opened,
    )


def pathways(age_band: r.AgeBand.ValueType) -> list[tuple[str, str]]:
    """Returns the pathways for a new plan; pathways for another age come last."""
    return [
        (pathway.id, names.name_in_language(pathway.names))
        for pathway in sorted(
            clients().plans.ListPathways(pb.ListPathwaysRequest()).pathways,
            key=lambda pathway: bool(pathway.age_bands) and age_band not in pathway.age_bands,
        )
    ]


def group_readings(readings: Iterable[p.Reading]) -> list[tuple[p.Reading, int]]:
    """Returns the first of each run of readings with equal `grouping_key`, and the run's length."""
    runs = (list(run) for _key, run in groupby(readings, grouping_key))
    return [(run[0], len(run)) for run in runs]


def grouping_key(reading: p.Reading) -> tuple[object, ...]:
    """Returns the values by which readings are grouped, such as worker, purpose and day."""
    return (
        reading.organization_id,
        reading.actor_id,
        reading.purpose_code,
        tuple(reading.field_groups),
        reading.allowed,
        i18n.day(reading.time),
    )


@pages.get("/people/<identifier>/readings", access.SENDERS)
def accesses(identifier: str) -> str:
    """Shows who has read the file or tried to, page by page.

    The file itself is not fetched, because that would be another access.
    """
    answer = clients().people.ListReadings(
        p.ListReadingsRequest(
            person_id=identifier, page_size=200, page_token=request.args.get("page", "")
        )
    )
    return render_template(
        "readings.html",
        identifier=identifier,
        readings=group_readings(answer.readings),
        next_page=answer.next_page_token,
        names=names.names(
            {reading.organization_id for reading in answer.readings},
            (),
            {reading.actor_id for reading in answer.readings},
        ),
    )


@pages.post("/people/<identifier>/open", access.SENDERS, again=partial(show, part="open"))
def open_identity(identifier: str) -> str:
    """Opens the chosen field groups of the identity; only this answer shows them."""
    return show(
        identifier,
        part="open",
        identity=send(forms.filled(p.OpenPersonRequest(id=identifier))),
    )


@pages.post(
    "/people/<identifier>/coarse",
    access.SENDERS,
    again=partial(show, part="coarse"),
    then="people.show",
)
def correct(identifier: str) -> None:
    """Corrects the data of a file that are not sealed; a field left empty is cleared."""
    person_request = p.UpdatePersonRequest(
        person=p.Person(id=identifier),
        update_mask=FieldMask(paths=["coarse", "exploitation_country", "trafficking_status_code"]),
    )
    send(forms.filled(person_request))


@pages.post(
    "/people/<identifier>/identity",
    access.SENDERS,
    again=partial(show, part="identity"),
    then="people.show",
)
def update(identifier: str) -> None:
    """Adds to the sealed data, corrects them, or removes some of them.

    A field that is left empty keeps its stored value, unless the worker chose it to be removed.
    """
    cleared_names = forms.texts("cleared_fields")
    names = [name for name in person_form.IDENTITY if forms.text(name) or name in cleared_names]
    rpc_request = forms.filled(p.UpdateIdentityRequest(id=identifier))
    rpc_request.update_mask.paths.extend(names)
    clients().people.UpdateIdentity(rpc_request)


@pages.post("/people/<identifier>/safe-contact/open", access.SENDERS)
def open_safe_contact(identifier: str) -> str:
    """Opens the safe-contact plan for reading or changing.

    Only this answer shows the plan, and the access is recorded.
    """
    return show(identifier, plan_opened=True)


pages.sends(
    "safe_contact",
    "/people/<identifier>/safe-contact",
    access.SENDERS,
    p.SetSafeContactRequest,
    again=partial(show, part="safe"),
    then="people.show",
)


# Withdraws every consent at the person's request, and stops what was asked for her.
pages.sends(
    "withdraw_all",
    "/people/<identifier>/withdraw",
    access.SENDERS,
    p.WithdrawAllReceiptsRequest,
    again=partial(show, part="withdraw"),
    then="people.show",
    done="receipts_withdrawn",
)


@pages.post("/people/<identifier>/plans", access.SENDERS, again=partial(show, part="plan"))
def begin_plan(identifier: str) -> access.Answer:
    plan = clients().plans.CreatePlan(forms.filled(pb.CreatePlanRequest(person_id=identifier)))
    return redirect(url_for("plans.show", identifier=plan.id, done="plan_begun"), 303)


@pages.get("/people/receipts/<identifier>", access.SENDERS)
def receipt(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows one receipt, to read and print.

    The page asks for a confirmation only if the reader can be the second worker.
    """
    shown = clients().people.GetReceipt(p.GetReceiptRequest(id=identifier))
    needs_second = shown.giver_code == p.GIVER_BEST_INTEREST or bool(shown.giver_ground_code)
    is_withdrawn = bool(i18n.moment(shown.withdraw_time))
    is_unconfirmed = needs_second and not i18n.moment(shown.confirm_time) and not is_withdrawn
    is_dropped = is_unconfirmed and not i18n.moment(shown.confirm_until_time)
    is_over = (
        is_withdrawn
        or not shown.genuine
        or (i18n.moment(shown.until_time) or i18n.now()) <= i18n.now()
    )
    return render_template(
        "receipt.html",
        receipt=shown,
        errors=errors,
        unconfirmed=is_unconfirmed and not is_over,
        outdated=not (shown.live or is_over or is_unconfirmed or shown.reason_code),
        dropped=is_dropped,
        may_confirm=is_unconfirmed
        and not (is_over or is_dropped)
        and shown.recorded_by_worker_id != session.me().worker_id,
        names=names.names(
            {shown.recipient_organization_id},
            (),
            {shown.recorded_by_worker_id, shown.confirmed_by_worker_id},
        ),
    )


# Records a second worker's confirmation of a decision for a child, or of a consent that somebody
# else gave for an adult.
pages.sends(
    "confirm",
    "/people/receipts/<identifier>/confirm",
    access.SENDERS,
    p.ConfirmReceiptRequest,
    again=receipt,
    then="people.receipt",
    done="receipt_confirmed",
)


@pages.post("/people/receipts/<identifier>/withdraw", access.SENDERS)
def withdraw(identifier: str) -> access.Answer:
    """Withdraws a consent at the person's request. Access ends at once."""
    answer = send(forms.filled(p.WithdrawReceiptRequest(id=identifier)))
    if forms.text("back") == "file":
        return redirect(
            url_for("people.show", identifier=answer.person_id, done="receipt_withdrawn"), 303
        )
    return redirect(url_for("people.receipt", identifier=answer.id, done="receipt_withdrawn"), 303)

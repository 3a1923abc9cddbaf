"""Referrals: the list, and the page of one referral.

The page of a referral shows its next step, its history, the person's sealed data, and whether the
notices arrived.
"""

from functools import partial
from typing import Any

from flask import abort, redirect, render_template, request, url_for

from chassis import wire
from chassis.errors import NotFound, Refusal
from protos.notifications.v1.notifications_pb2 import (
    ListNoticesRequest,
    ListNoticesResponse,
)
from protos.partners.v1 import locations_pb2 as lo
from protos.partners.v1.directory_pb2 import ORGANIZATION_STATUS_PROBATION, Organization
from protos.partners.v1.members_pb2 import WORKER_STATUS_ACTIVE, ListWorkersRequest
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import answer_or, directory, lists, names, referrals
from services.gateway.site.language import _, i18n, vocabulary, words
from services.gateway.site.parts import forms, steps
from services.gateway.site.shell import access, session

pages = access.Pages("referral")
# field groups that an emergency access opens; the notes, which it opens, too, are in the history
EMERGENCY = frozenset({"identity", "contact", "health", "location"})
# Field groups that an override opens before a second worker has confirmed it. From these groups,
# only the first name and the safe-contact plan are opened.
UNCONFIRMED = frozenset({"identity", "contact"})
BOXES: dict[str, Any] = dict(
    sorted(wire.numbers(r.Box.DESCRIPTOR).items(), key=lambda box: box[0] != "mine")
)  # the first is the default


@pages.get("/referrals", access.EVERYONE)
def listing() -> str:
    """Shows the referrals of one box that match the filters; by default, the live referrals.

    Only coordinators and auditors may choose the network's box. The URL contains the filters, as
    codes only.
    """
    me = session.me()
    boxes = [
        box
        for box in BOXES
        if (
            me.may("coordinator", "auditor")
            if box == "network"
            else me.may("worker", "operator", "manager")
        )
    ]
    box = request.args.get("box", "")
    box = box if box in boxes else boxes[0]
    state, need, urgency = (request.args.get(name, "") for name in ("state", "need", "urgency"))
    only_live = request.args.get("all", "") == "" and not state
    answer = clients().referrals.ListReferrals(
        r.ListReferralsRequest(
            filter=r.ReferralFilter(
                box=BOXES[box],
                states=[words.number("state", state)] if state else [],
                need_code=need,
                urgency=words.number("urgency", urgency),
                live=only_live,
            ),
            page_size=50,
            page_token=request.args.get("page", ""),
        )
    )
    assignable = any("assign" in row.allowed_verbs for row in answer.referrals)
    return render_template(
        "referrals.html",
        rows_=answer.referrals,
        names=names.names_of(answer.referrals),
        boxes=boxes,
        box=box,
        state=state,
        need_code=need,
        urgency=urgency,
        everything=not only_live,
        colleagues=colleagues() if assignable else [],
        assignable=assignable and me.may("manager"),
        nothing="nothing" in request.args,
        kept={
            key: value
            for key, value in request.args.items()
            if key in ("box", "state", "need", "urgency", "all")
        },
        next_page=answer.next_page_token,
    )


@pages.get("/referrals/<identifier>", access.EVERYONE)
def show(identifier: str) -> str | tuple[str, int]:
    """Shows one referral.

    A background refresh that already has this version gets 304, because rendering would open the
    sealed notes and record an access that no user made.
    """
    referral = referrals.fetch(identifier)
    if session.is_background_request() and request.headers.get("If-None-Match") == version(
        referral
    ):
        return "", 304
    return render(referral)


def version(referral: r.Referral) -> str:
    """Returns the version of the page: the referral's version and the states of its legs."""
    return referral.etag + "".join(f".{leg.state}{leg.settled:d}" for leg in referral.legs)


def render(
    referral: r.Referral,
    verb: str = "",
    errors: forms.Problems = forms.NO_PROBLEMS,
    **opened_data: Any,
) -> str:
    """Renders the page.

    `verb` and `errors` belong to a form that is shown again. `opened_data` were just opened: the
    `identity`, the safe-contact `plan`, or the `addresses`.
    """
    events = history(referral)
    # the page is useful even without the deliveries of the notices
    notices = answer_or(
        ListNoticesResponse(), ListNoticesRequest(referral_id=referral.id), Refusal
    ).notices
    page_names = names.names(
        {
            referral.sender_organization_id,
            referral.receiver_organization_id,
            *(e.actor_organization_id for e in events),
        }
        | {n.organization_id for n in notices}
        | {leg.organization_id for leg in referral.legs},
        {referral.service_id, referral.alternative_service_id},
        {
            referral.sender_worker_id,
            referral.responsible_worker_id,
            *(e.actor_id for e in events if e.actor_kind == r.ACTOR_KIND_WORKER),
        },
    )
    own_organization = page_names.organizations.get(session.me().organization_id, Organization())
    probation = own_organization.status == ORGANIZATION_STATUS_PROBATION
    plan, no_plan = safe_contact(referral, opened_data.get("plan"))
    receipt = receipt_of(referral)
    receipt_basis = basis_of(receipt) if receipt else ""
    erased = is_erased(referral)
    groups, basis = ([], "") if probation or erased else openable(referral, receipt)
    allowed_verbs = [verb for verb in referral.allowed_verbs if verb in steps.STEPS]
    return render_template(
        "referral.html",
        referral=referral,
        version=version(referral),
        events=events,
        notices=notices,
        names=page_names,
        allowed=allowed_verbs,
        FORMS=steps.STEPS,
        alternatives=directory.alternatives(referral)
        if {"decline", "reroute"} & set(allowed_verbs)
        else [],
        colleagues=colleagues() if {"accept", "assign"} & set(allowed_verbs) else [],
        group_needs=group_needs(referral.need_code),
        openable=groups,
        basis=basis,
        # the receiver can't read notes, although it may open other data
        notes_closed=receipt is not None
        and receipt_basis != "emergency"
        and (receipt_basis == "unconfirmed" or p.FIELD_GROUP_NOTES not in receipt.field_groups),
        notes_wait=receipt_basis == "unconfirmed",
        probation=probation,
        erased=erased,
        plan=plan,
        no_plan=no_plan,
        may_open=may_open(),
        elsewhere=referral.main_step in steps.MAIN_STEPS_WITH_OWN_PAGE,
        filled={"verb": verb, "errors": errors, **opened_data},
        now=i18n.now(),
    )


def is_erased(referral: r.Referral) -> bool:
    """Returns whether the sender's own file of the person was erased; False for other readers.

    The erasure of a file ends its live referrals, so the file of a live referral is not fetched.
    """
    return (
        referral.side == r.SIDE_SENDER
        and may_open()
        and not referral.live
        and referrals.file_of(referral.person_id).erased
    )


def may_open() -> bool:
    """Returns whether the reader may open data. Coordinators and auditors never may."""
    return session.me().may("worker", "operator") and not session.me().may("coordinator", "auditor")


def safe_contact(
    referral: r.Referral, opened_plan: p.SafeContact | None
) -> tuple[p.SafeContact | None, str]:
    """Returns the safe-contact plan for a reader who may call the person, or `opened_plan`.

    If the plan cannot be shown, returns None and the reason; "" if the reason is not worth showing.
    """
    if opened_plan or not (referral.live and referral.person_id):
        return opened_plan, ""
    try:
        return clients().people.GetSafeContact(p.GetSafeContactRequest(referral_id=referral.id)), ""
    except Refusal as refusal:
        return None, words.word("no_plan", refusal.reason) if refusal.reason in vocabulary.TABLES[
            "no_plan"
        ] else ""


def receipt_of(referral: r.Referral) -> p.Receipt | None:
    """Returns the receipt of a live referral for a reader who may open data; None for others."""
    if not (may_open() and referral.live and referral.receipt_id):
        return None
    return answer_or(None, p.GetReceiptRequest(id=referral.receipt_id), Refusal)


def openable(referral: r.Referral, receipt: p.Receipt | None) -> tuple[list[tuple[str, str]], str]:
    """Returns the field groups that this reader may open now, and the basis for that.

    The sender may open all groups. The receiver may open only the groups that the receipt names or,
    without a consent that is in force, the groups that the reader's emergency access or an override
    opens. The service checks this again.
    """
    # the notes are in the history
    groups = [(code, word) for code, word in words.options("field_group") if code != "notes"]
    if may_open() and referral.side == r.SIDE_SENDER:
        return groups, "file"
    if not may_open() or receipt is None:
        return [], ""
    basis = basis_of(receipt)
    codes = (
        UNCONFIRMED
        if basis == "unconfirmed"
        else {words.code("field_group", group) for group in receipt.field_groups}
    )
    if basis in ("emergency", "unconfirmed") and (emergency_codes := opened_in_emergency(referral)):
        basis, codes = "emergency", emergency_codes
    elif basis == "emergency":
        codes = frozenset()
    return [(code, word) for code, word in groups if code in codes], basis


def basis_of(receipt: p.Receipt) -> str:
    """Returns the basis on which the receiver opens the data, as a code of the table open_basis."""
    if not receipt.live:
        return "emergency"
    if receipt.reason_code:
        return "override" if receipt.HasField("confirm_time") else "unconfirmed"
    return "person" if receipt.giver_code == p.GIVER_PERSON else "others"


def opened_in_emergency(referral: r.Referral) -> frozenset[str]:
    """Returns the field groups that a live emergency access of this reader opens."""
    return (
        EMERGENCY
        if any(
            emergency.live and emergency.worker_id == session.me().worker_id
            for emergency in lists.all_of(em.ListEmergenciesRequest(referral_id=referral.id))
        )
        else frozenset()
    )


def history(referral: r.Referral) -> list[r.ReferralEvent]:
    """Returns the events, the newest first.

    Changes to the referral while it was a draft are left out.
    """
    events = send(r.ListReferralEventsRequest(referral_id=referral.id)).events
    return sorted(
        (event for event in events if event.verb != "amended" or event.to_state != r.STATE_DRAFT),
        key=lambda event: -event.version,
    )


def group_needs(code: str) -> list[tuple[str, str]]:
    """Returns the needs in this need's group, for recording which help was given."""
    needs = [
        (term.code, names.need(term.code))
        for term in names.terms().values()
        if term.parent_code == code.partition(".")[0]
    ]
    return needs or [(code, names.need(code))]


def colleagues() -> list[tuple[str, str]]:
    """Returns the other active workers if the reader is a manager, else none.

    Only managers may assign work to other workers.
    """
    me = session.me()
    if not me.may("manager"):
        return []
    return [
        (worker.id, worker.name)
        for worker in lists.all_of(ListWorkersRequest())
        if worker.status == WORKER_STATUS_ACTIVE and worker.id != me.worker_id
    ]


def again(identifier: str, verb: str, errors: forms.Problems) -> str:
    """Renders the page again after one of its forms was refused."""
    return render(referrals.fetch(identifier), verb, errors)


@pages.post("/referrals/<identifier>/do/<verb>", access.CARE | access.NETWORK, again=again)
def act(identifier: str, verb: str) -> access.Answer:
    form = steps.STEPS.get(verb)
    if form is None:
        abort(404)
    forms.refuse(form.missing())
    referral: r.Referral = send(form.request(id=identifier))
    # a worker continues with the new referral at once
    if verb == "reroute" and referral.following_id and session.me().may("worker", "operator"):
        return redirect(url_for("referral_new.resume", identifier=referral.following_id), 303)
    if forms.text("back") == "today":
        return redirect(url_for("today.today", done=verb), 303)
    return redirect(url_for("referral.show", identifier=identifier, done=verb), 303)


def nothing_to_open(referral: r.Referral, verb: str) -> tuple[str, int]:
    """Renders the page of a referral that no longer opens any of the person's data."""
    problem = _("Ahora no hay datos de ella que usted pueda abrir.")
    return render(referral, verb, {"_form": problem}), 404


@pages.post("/referrals/<identifier>/open", access.CARE, again=partial(again, verb="open"))
def open_person(identifier: str) -> str | tuple[str, int]:
    """Opens the data that the receipt allows, for a purpose.

    Only the answer to this form shows the data.
    """
    referral = referrals.fetch(identifier)
    rpc_request = forms.filled(p.OpenPersonRequest(id=referral.person_id, referral_id=referral.id))
    rpc_request.purpose_code = rpc_request.purpose_code or referral.need_code
    if not rpc_request.field_groups:
        forms.refuse({"field_groups": words.violation("required")})
    try:
        identity = clients().people.OpenPerson(rpc_request)
    except NotFound:
        return nothing_to_open(referral, "open")
    return render(referral, "open", identity=identity)


@pages.post("/referrals/<identifier>/address", access.SENDERS, again=partial(again, verb="address"))
def open_address(identifier: str) -> str | tuple[str, int]:
    """Opens the address of the confidential service that accepted the person.

    Only this answer shows the address, and the access is recorded.
    """
    referral = referrals.fetch(identifier)
    try:
        addresses = clients().locations.OpenAddress(lo.OpenAddressRequest(referral_id=identifier))
    # no address is stored, or the directory does not know yet that the service accepted her
    except NotFound:
        problem = _(
            "El servicio no ha guardado aquí su dirección. Si acaba de aceptar, pruebe otra vez en"
            " un momento; si no, pídasela."
        )
        return render(referral, "address", {"_form": problem}), 404
    return render(referral, "address", addresses=addresses.addresses)


@pages.post(
    "/referrals/<identifier>/emergency", access.SENDERS, again=partial(again, verb="emergency")
)
def open_in_emergency(identifier: str) -> access.Answer:
    """Opens the person's data without a consent, for an hour.

    The holder of the file and the coordinators are notified at once.
    """
    rpc_request = forms.filled(em.OpenInEmergencyRequest(referral_id=identifier))
    try:
        clients().emergencies.OpenInEmergency(rpc_request)
    except NotFound:
        return nothing_to_open(referrals.fetch(identifier), "emergency")
    return redirect(
        url_for("referral.show", identifier=identifier, done="emergency", _anchor="person"), 303
    )


@pages.post(
    "/referrals/<identifier>/safe-contact",
    access.SENDERS,
    again=partial(again, verb="safe_contact"),
)
def open_safe_contact(identifier: str) -> str | tuple[str, int]:
    """Opens the safe-contact plan.

    Only this answer shows the plan, and the access is recorded.
    """
    referral = referrals.fetch(identifier)
    try:
        plan = clients().people.OpenSafeContact(p.OpenSafeContactRequest(referral_id=identifier))
    except NotFound:
        return nothing_to_open(referral, "safe_contact")
    return render(referral, "safe_contact", plan=plan)

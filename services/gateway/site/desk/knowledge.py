"""The sheet that tells a person who knows what about her, and until when.

She can have the sheet on the screen, on paper and as a PDF, in her language.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from typing import Any

from flask import Response, render_template

from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists, names, referrals
from services.gateway.site.language import _, i18n, ngettext, words
from services.gateway.site.shell import access, session

pages = access.Pages("knowledge")
SOON = timedelta(days=14)
"""The person is asked again this long before a consent ends: time enough to meet her once."""
MAX_READINGS = 5000
"""Maximum number of accesses that are fetched: more than any file has.

Further accesses would be missing from the sheet; the page with all accesses to the file shows them.
"""


@pages.get("/people/<identifier>/knows", access.SENDERS)
def show(identifier: str) -> str:
    """Shows the sheet, which the worker goes through with the person."""
    return render_template("knows.html", known=knowledge(identifier))


@pages.get("/people/<identifier>/knows.pdf", access.SENDERS)
def printed(identifier: str) -> Response:
    """Returns the sheet as a PDF to print, because paper outlasts the session.

    The sheet names organisations, but never the person. The export is recorded in the audit trail.
    """
    from services.gateway.site.parts import sheet  # loads reportlab, as in parts.poster

    clients().people.ExportPerson(p.ExportPersonRequest(id=identifier))
    data = knowledge(identifier)
    parts = [
        *(sheet.Part(entry["organization"], lines=entry["lines"]) for entry in data["held"]),
        sheet.Part(_("Quién miró su expediente"), texts=data["readings"] or [_("Nadie todavía.")]),
        sheet.Part(
            _("Cómo lo cambia"),
            texts=[
                _(
                    "Puede retirar un permiso o todos, hoy mismo: aquí o, si tiene referencia y"
                    " PIN, con ellos por internet o en cualquier línea de ayuda. Lo que se pidió"
                    " con ese permiso se detiene, y puede volver a pedir ayuda."
                )
            ],
        ),
    ]
    lead = [
        _("Su expediente lo guarda: %(organization)s.", organization=data["holder"]),
        *([] if data["held"] else [_("Nadie más tiene datos de este expediente.")]),
        _(
            "Este papel no dice su nombre, pero nombra a quienes le ayudan. Llévelo solo si nadie"
            " peligroso puede leerlo."
        ),
    ]
    return Response(
        sheet.pdf(
            i18n.language(),
            _("Quién sabe qué de usted, y hasta cuándo"),
            data["person"].id,
            lead,
            parts,
            i18n.today_text(),
        ),
        mimetype="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{data["person"].code}.pdf"'},
    )


def knowledge(identifier: str) -> dict[str, Any]:
    """Returns the sheet's data: the person, the file's holder, the data held, the readings.

    Each row of the data held comes from a consent, which has a receipt, or from enquiries, which
    have no receipt and do not hold the person's name. Answers 404 for a person of another
    organisation.
    """
    person = session.own(referrals.file_of(identifier))
    receipts = clients().people.ListReceipts(p.ListReceiptsRequest(person_id=identifier)).receipts
    readings = lists.all_of(p.ListReadingsRequest(person_id=identifier), MAX_READINGS)
    sent_referrals = referrals.matching(r.ReferralFilter(box=r.BOX_OUTBOX, person_id=identifier))
    copies = all_copies(identifier)
    page_names = names.names(
        {person.organization_id, *copies}
        | {receipt.recipient_organization_id for receipt in receipts}
        | {reading.organization_id for reading in readings}
    )
    rows = [data_by_receipt(receipt, page_names, readings, sent_referrals) for receipt in receipts]
    rows += [
        data_by_enquiries(page_names.organization(organization), enquiries)
        for organization, enquiries in copies.items()
    ]
    accesses = [
        _(
            "%(day)s: %(organization)s, %(fields)s",
            day=i18n.day(reading.time),
            organization=page_names.organization(reading.organization_id),
            fields=groups(reading.field_groups) or _("Cómo llega"),
        )
        for reading in readings
        if reading.allowed
    ]
    return {
        "person": person,
        "holder": page_names.organization(person.organization_id),
        "held": sorted(rows, key=lambda entry: not entry["live"]),
        "readings": list(dict.fromkeys(accesses)),
    }


def data_by_receipt(
    receipt: p.Receipt,
    page_names: names.Names,
    readings: Iterable[p.Reading],
    sent_referrals: Iterable[r.Referral],
) -> dict[str, Any]:
    """Describes a consent: its data, its end, how often the file was read, and the deletion.

    An access after the end, on a later consent or in an emergency, does not count as an access on
    this consent. The deletion is described by the receiver's confirmation that it keeps nothing,
    or by the deadline for that confirmation.
    """
    until_time = i18n.moment(receipt.until_time)
    confirm_until_time = i18n.moment(receipt.confirm_until_time)
    end_time = i18n.moment(receipt.withdraw_time) or until_time
    openings = [
        reading
        for reading in readings
        if reading.allowed
        and reading.organization_id == receipt.recipient_organization_id
        and reading.time.ToDatetime() >= receipt.create_time.ToDatetime()
        and not (end_time and reading.time.ToDatetime(tzinfo=UTC) > end_time)
    ]
    ends = (
        (not receipt.genuine, _("No es válido: no abre nada.")),
        (
            i18n.moment(receipt.withdraw_time),
            _("Se retiró el %(day)s.", day=i18n.day(receipt.withdraw_time)),
        ),
        (receipt.live, _("Hasta el %(day)s.", day=words.end_of_consent(receipt))),
        (
            until_time and until_time <= i18n.now(),
            _("Terminó el %(day)s: ya no abre nada.", day=i18n.day(receipt.until_time)),
        ),
        (
            confirm_until_time and confirm_until_time > i18n.now(),
            _("No abre nada mientras otra persona no lo confirme."),
        ),
        (True, _("Ahora no abre nada.")),
    )
    lines = [
        (_("Qué"), groups(receipt.field_groups)),
        (_("Para qué"), ", ".join(names.need(code) for code in receipt.purpose_codes)),
        (_("Hasta cuándo"), next(text for applies, text in ends if applies)),
        (
            _("Quién lo permitió"),
            words.word("override_reason", receipt.reason_code)
            if receipt.reason_code
            else words.word("giver", receipt.giver_code),
        ),
        (
            _("Lo abrieron"),
            ngettext("%(num)d vez", "%(num)d veces", len(openings))
            + f", {i18n.day(openings[0].time)}"
            if openings
            else _("Nunca."),
        ),
    ]
    deletions = [
        clock
        for referral in sent_referrals
        if referral.receipt_id == receipt.id
        for clock in referral.clocks
        if clock.kind == r.CLOCK_KIND_DELETION
    ]
    if deletions:
        lines.append((_("Lo que guardaban"), state_of_deletion(deletions)))
    return {
        "organization": page_names.organization(receipt.recipient_organization_id),
        "receipt_id": receipt.id,
        "live": receipt.live,
        "ends_soon": receipt.live and until_time and until_time - i18n.now() < SOON,
        "lines": lines,
    }


def state_of_deletion(deletions: Sequence[r.Clock]) -> str:
    """Describes whether a receiver has confirmed for all its referrals that it keeps nothing."""
    open_clocks = [clock for clock in deletions if not i18n.moment(clock.stop_time)]
    if not open_clocks:
        last_clock = max(deletions, key=lambda clock: clock.stop_time.ToDatetime())
        return _(
            "Confirmaron el %(day)s que ya no guardan nada.", day=i18n.day(last_clock.stop_time)
        )
    first_clock = min(open_clocks, key=lambda clock: clock.due_time.ToDatetime())
    if i18n.is_past(first_clock.due_time):
        return _(
            "Tenían que confirmar hasta el %(when)s que ya no guardan nada, y todavía no lo"
            " hicieron.",
            when=i18n.full_date_and_time(first_clock.due_time),
        )
    return _(
        "Tienen que confirmar hasta el %(when)s que ya no guardan nada.",
        when=i18n.full_date_and_time(first_clock.due_time),
    )


def data_by_enquiries(organization: str, enquiries: Sequence[e.Enquiry]) -> dict[str, Any]:
    """Describes the enquiries about a person that an organisation still has.

    Enquiries do not hold her name.
    """
    attributes = list(
        dict.fromkeys(part for enquiry in enquiries for part in shared_attributes(enquiry))
    )
    parts = ", ".join([_("ayuda y urgencia"), *attributes])
    needs = list(dict.fromkeys(names.need(enquiry.content.need_code) for enquiry in enquiries))
    ends = {
        _("Hasta que se cierre la consulta: entonces se borra.")
        if enquiry.state == e.ENQUIRY_STATE_OPEN
        else _("Se aceptó lo que ofreció: se borra cuando termina la remisión.")
        for enquiry in enquiries
    }
    return {
        "organization": organization,
        "live": True,
        "lines": [
            (_("Qué"), _("Una consulta que no dice quién es usted. Dice: %(parts)s.", parts=parts)),
            (_("Para qué"), ", ".join(needs)),
            (_("Hasta cuándo"), " ".join(sorted(ends))),
        ],
    }


def shared_attributes(enquiry: e.Enquiry) -> list[str]:
    """Returns the names of the attributes that the receivers' copies of an enquiry hold."""
    left_out_attributes = set(enquiry.left_out_attributes)
    further_names = [
        *([_("País")] if enquiry.content.country else []),
        *([_("Acceso")] if enquiry.content.accessibility_codes else []),
    ]
    stated_names = [
        words.word("enquiry_attribute", number)
        for number in e.EnquiryAttribute.values()
        if number
        and number not in left_out_attributes
        and is_stated(enquiry.content, words.code("enquiry_attribute", number))
    ]
    return [word.lower() for word in [*stated_names, *further_names]]


def is_stated(content: e.EnquiryContent, attribute: str) -> bool:
    return (
        content.HasField("dependants")
        if attribute == "dependants"
        else bool(getattr(content, "gender_code" if attribute == "gender" else attribute))
    )


def groups(field_groups: Iterable[p.FieldGroup.ValueType]) -> str:
    """Returns the names of groups of fields, as one text."""
    return ", ".join(words.word("field_group", group) for group in field_groups)


def all_copies(identifier: str) -> dict[str, list[e.Enquiry]]:
    """Returns the enquiries about the person, by the id of each organisation that still has a copy.

    Only enquiries of the reader's own organisation are included.
    """
    copies: dict[str, list[e.Enquiry]] = defaultdict(list)
    for enquiry in lists.all_of(e.ListEnquiriesRequest(person_id=identifier)):
        for organization in dict.fromkeys(
            offer.organization_id for offer in enquiry.offers if offer.holds_content
        ):
            copies[organization].append(enquiry)
    return copies

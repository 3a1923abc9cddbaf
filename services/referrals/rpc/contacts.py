"""The line: contacts for operators, references for callers."""

from datetime import datetime, timedelta
from typing import Any

from chassis.errors import NotFound
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, masked, moment, number, optional_id, page_size, timestamp, version, word
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals import wire
from services.referrals.domain.contact import Contact
from services.referrals.domain.lifecycle import State
from services.referrals.usecases.contacts import Contacts, References

_CODES: dict[str, Any] = {
    "campaign_code": pb.Campaign,
    "kind_code": pb.ContactKind,
    "speaker_code": pb.Speaker,
    "outcome_code": pb.ContactOutcome,
}
_CHANGEABLE = (
    "triage",
    "kind_code",
    "speaker_code",
    "outcome_code",
    "campaign_code",
    "department",
    "need_code",
    "person_id",
    "note",
    "language",
    "assault_time",
)


class ContactsServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: Contacts, references: References, pages: PageTokens) -> None:
        self._usecases = usecases
        self._references = references
        self._pages = pages

    def CreateContact(self, request: pb.CreateContactRequest, call: Call) -> pb.CreateContactResponse:
        """See the .proto, as for every method here."""
        message = request.contact
        values: dict[str, Any] = {
            "line_country": message.line_country,
            **{name: _code(message, name) for name in _CODES},
            "language": message.language,
            "triage": wire.triage(message.triage),
            "department": message.department,
            "need_code": message.need_code,
            "assault_time": moment(message, "assault_time"),
        }
        values["outcome_code"] = values["outcome_code"] or "open"
        contact, reference, pin = self._usecases.create(call.tx, call.caller, call.clock.now(), values, message.note, request.pin)
        shown = f"{reference[:4]}-{reference[4:]}"
        return pb.CreateContactResponse(contact=wire.contact_message(contact, message.note), reference=shown, pin=pin)

    def GetContact(self, request: pb.GetContactRequest, call: Call) -> pb.Contact:
        return wire.contact_message(*self._usecases.get(call.tx, call.caller, call.clock.now(), object_id(request.id), call.trail))

    def ListContacts(self, request: pb.ListContactsRequest, call: Call) -> pb.ListContactsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        outcome = word(pb.ContactOutcome, request.outcome_code, "outcome_code")
        contacts, more = self._usecases.page(call.tx, call.caller, outcome, size, after)
        return pb.ListContactsResponse(
            contacts=[wire.contact_message(contact) for contact in contacts], next_page_token=self._pages.token(request, more)
        )

    def GetContactByReference(self, request: pb.GetContactByReferenceRequest, call: Call) -> pb.Contact:
        contact = self._references.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        if contact.organization_id != call.caller.organization_id:
            raise NotFound
        return wire.contact_message(contact)

    def UpdateContact(self, request: pb.UpdateContactRequest, call: Call) -> pb.Contact:
        message = request.contact
        paths = masked(request.update_mask, _CHANGEABLE)
        values: dict[str, Any] = {
            path: _code(message, path) if path in _CODES else getattr(message, path) for path in paths - {"triage", "note", "assault_time"}
        }
        if "person_id" in paths:
            values["person_id"] = optional_id(message.person_id, "contact.person_id")
        if "triage" in paths:
            values["triage"] = wire.triage(message.triage)
        if "assault_time" in paths:
            values["assault_time"] = moment(message, "assault_time")
        note = message.note if "note" in paths else None
        return wire.contact_message(
            self._usecases.change(
                call.tx, call.caller, call.clock.now(), object_id(message.id), version(message.etag, "contact.etag"), values, note
            ),
            note or "",
        )


class ReferencesServicer:
    """What a caller may hear and say: codes only."""

    def __init__(self, usecases: References) -> None:
        self._usecases = usecases

    def GetReferenceStatus(self, request: pb.GetReferenceStatusRequest, call: Call) -> pb.ReferenceStatus:
        """See the .proto, as for every method here."""
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        return self._pack(contact, call)

    def WithdrawConsentByReference(self, request: pb.WithdrawConsentByReferenceRequest, call: Call) -> pb.ReferenceStatus:
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        self._usecases.withdraw_consent(call.tx, contact, call.trail)
        return self._pack(contact, call)

    def ConfirmHelp(self, request: pb.ConfirmHelpRequest, call: Call) -> pb.ReferenceStatus:
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        self._usecases.confirm_help(call.tx, contact, request.help_came)
        return self._pack(contact, call)

    def _pack(self, contact: Contact, call: Call) -> pb.ReferenceStatus:
        standing = self._usecases.standing(call.tx, contact)
        items = [
            pb.ReferenceItem(
                need_group_code=referral.need_code[:3],
                status_code=number(pb.ReferenceState, status),
                may_confirm=referral.state is State.COMPLETED,
                consent_live=live,
                update_time=timestamp(referral.update_time),
                may_be_contacted=live and standing.may_be_contacted,
            )
            for referral, status, live in standing.items
        ]
        return pb.ReferenceStatus(
            contact_time_band=number(pb.TimeBand, _band(contact.create_time, call.clock.now())),
            items=items,
            organizations_with_access=len(standing.open_to),
            file_count=standing.files,
            may_withdraw=standing.may_withdraw,
        )


def _code(said: pb.Contact, name: str) -> str:
    return word(_CODES[name], getattr(said, name), f"contact.{name}")


def _band(then: datetime, now: datetime) -> str:
    age = now - then
    return "today" if age < timedelta(days=1) else "this_week" if age < timedelta(days=7) else "earlier"

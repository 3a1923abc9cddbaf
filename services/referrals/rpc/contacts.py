"""The line: contacts for operators, references for callers."""

from datetime import datetime, timedelta
from typing import Any

from chassis.errors import Invalid
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, masked, moment, number, optional_id, page_size, timestamp, version, word
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals import wire
from services.referrals.domain.callback import AGAIN, GIVEN_UP, REACHED, Wish
from services.referrals.domain.contact import Contact, read_reference
from services.referrals.domain.lifecycle import LIVE, State
from services.referrals.domain.person import FieldGroup
from services.referrals.usecases.callbacks import Callbacks
from services.referrals.usecases.contacts import Contacts, References

_CODES: dict[str, Any] = {
    "campaign_code": pb.Campaign,
    "kind_code": pb.ContactKind,
    "speaker_code": pb.Speaker,
    "outcome_code": pb.ContactOutcome,
    "connected_live": pb.Answer,
    "emergency_number_code": pb.EmergencyNumber,
}
_CHANGEABLE = (
    "triage",
    "kind_code",
    "speaker_code",
    "outcome_code",
    "campaign_code",
    "placement_code",
    "department",
    "need_code",
    "person_id",
    "note",
    "language",
    "assault_time",
    "connected_live",
    "handed_over_organization_id",
    "emergency_number_code",
)


class ContactsServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: Contacts, references: References, callbacks: Callbacks, pages: PageTokens) -> None:
        self._usecases = usecases
        self._callbacks = callbacks
        self._references = references
        self._pages = pages

    def CreateContact(self, request: pb.CreateContactRequest, call: Call) -> pb.CreateContactResponse:
        """See the .proto, as for every method here."""
        message = request.contact
        values: dict[str, Any] = {
            "line_country": message.line_country,
            **{name: _code(message, name) for name in _CODES},
            "language": message.language,
            "placement_code": message.placement_code,
            "triage": wire.triage(message.triage),
            "department": message.department,
            "need_code": message.need_code,
            "assault_time": moment(message, "assault_time"),
            "handed_over_organization_id": optional_id(message.handed_over_organization_id, "contact.handed_over_organization_id"),
        }
        values["outcome_code"] = values["outcome_code"] or "open"
        if request.reference:
            first = self._references.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
            again = self._usecases.create_again(call.tx, call.caller, call.clock.now(), values, message.note, first, call.trail)
            return _made(again, message.note, read_reference(request.reference), request.pin)
        contact, reference, pin = self._usecases.create(call.tx, call.caller, call.clock.now(), values, message.note, request.pin)
        return _made(contact, message.note, reference, pin)

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
        first = self._references.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        return wire.contact_message(self._references.last_of(call.tx, call.caller.organization_id, first))

    def UpdateContact(self, request: pb.UpdateContactRequest, call: Call) -> pb.Contact:
        message = request.contact
        paths = masked(request.update_mask, _CHANGEABLE)
        values: dict[str, Any] = {
            path: _code(message, path) if path in _CODES else getattr(message, path) for path in paths - {"triage", "note", "assault_time"}
        }
        if "person_id" in paths:
            values["person_id"] = optional_id(message.person_id, "contact.person_id")
        if "handed_over_organization_id" in paths:
            values["handed_over_organization_id"] = optional_id(message.handed_over_organization_id, "contact.handed_over_organization_id")
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

    def TakeOverLine(self, request: pb.TakeOverLineRequest, call: Call) -> pb.TakeOver:
        now = call.clock.now()
        self._usecases.take_over(call.tx, call.caller, now)
        return pb.TakeOver(worker_id=call.caller.id, time=timestamp(now))

    def ListTakeOvers(self, request: pb.ListTakeOversRequest, call: Call) -> pb.ListTakeOversResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        take_overs, more = self._usecases.taken_over(call.tx, call.caller, size, after)
        return pb.ListTakeOversResponse(
            take_overs=[pb.TakeOver(worker_id=who, time=timestamp(time)) for who, time in take_overs],
            next_page_token=self._pages.token(request, more),
        )

    def CreateCallback(self, request: pb.CreateCallbackRequest, call: Call) -> pb.Callback:
        now, said = call.clock.now(), request.callback
        wish = Wish(_day(said.day_code, "callback."), _hour(said.hour_code, "callback."), "callback.")
        callback, contact, person_id = self._callbacks.create(call.tx, now, object_id(said.contact_id), wish)
        return wire.callback_message(callback, contact.reference_hint, person_id)

    def ListCallbacks(self, request: pb.ListCallbacksRequest, call: Call) -> pb.ListCallbacksResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        callbacks, more = self._callbacks.page(call.tx, call.caller, size, after)
        return pb.ListCallbacksResponse(
            callbacks=[wire.callback_message(*each) for each in callbacks], next_page_token=self._pages.token(request, more)
        )

    def SettleCallback(self, request: pb.SettleCallbackRequest, call: Call) -> pb.Callback:
        now, outcome = call.clock.now(), word(pb.CallbackOutcome, request.outcome_code, "outcome_code")
        if outcome not in (REACHED, AGAIN, GIVEN_UP):
            raise Invalid(("outcome_code", "unknown_code"))
        wish = Wish(_day(request.day_code), _hour(request.hour_code))
        callback, contact, person_id = self._callbacks.settle(
            call.tx, call.caller, now, object_id(request.id), version(request.etag), outcome, wish
        )
        return wire.callback_message(callback, contact.reference_hint, person_id)


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
        if request.item_key:
            self._usecases.withdraw_one(call.tx, contact, request.item_key, call.trail)
        else:
            self._usecases.withdraw_consent(call.tx, contact, call.trail)
        return self._pack(contact, call)

    def ListReadingsByReference(self, request: pb.ListReadingsByReferenceRequest, call: Call) -> pb.ListReadingsByReferenceResponse:
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        readings = [
            pb.ReferenceReading(
                date=reading.day.isoformat(),
                organization_type_code=reading.organization_type,
                need_group_code=reading.need_group_code,
                field_groups=[wire.GROUPS.number(FieldGroup(code)) for code in reading.field_groups],
                allowed=reading.allowed,
                count=reading.count,
            )
            for reading in self._usecases.readings(call.tx, contact)
        ]
        return pb.ListReadingsByReferenceResponse(readings=readings)

    def AskForCallByReference(self, request: pb.AskForCallByReferenceRequest, call: Call) -> pb.ReferenceStatus:
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        self._usecases.ask_for_call(call.tx, contact, Wish(_day(request.day_code), _hour(request.hour_code)))
        return self._pack(contact, call)

    def AddNoteByReference(self, request: pb.AddNoteByReferenceRequest, call: Call) -> pb.ReferenceStatus:
        contact = self._usecases.enter(call.tx, request.reference, request.pin, call.origin, call.trail)
        self._usecases.add_note(call.tx, contact, request.note)
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
                key=self._usecases.key_of(contact, referral),
                may_withdraw=referral.state in LIVE,
                deletion_due_time=timestamp(referral.deletion.due_time if referral.deletion and referral.deletion.running else None),
                deletion_confirm_time=timestamp(referral.deletion.stop_time if referral.deletion else None),
            )
            for referral, status, live in standing.items
        ]
        return pb.ReferenceStatus(
            contact_time_band=number(pb.TimeBand, _band(contact.create_time, call.clock.now())),
            items=items,
            organizations_with_access=len(standing.open_to),
            organizations_asked=standing.asked,
            file_count=standing.files,
            may_withdraw=standing.may_withdraw,
            may_ask_for_call=standing.may_ask_for_call,
            call_from_time=timestamp(standing.call.clock.start_time if standing.call else None),
            call_until_time=timestamp(standing.call.clock.due_time if standing.call else None),
        )


def _made(contact: Contact, note: str, reference: str, pin: str) -> pb.CreateContactResponse:
    return pb.CreateContactResponse(contact=wire.contact_message(contact, note), reference=f"{reference[:4]}-{reference[4:]}", pin=pin)


def _code(said: pb.Contact, name: str) -> str:
    return word(_CODES[name], getattr(said, name), f"contact.{name}")


def _day(number: int, path: str = "") -> str:
    return word(pb.DayBand, number, f"{path}day_code")


def _hour(number: int, path: str = "") -> str:
    return word(pb.HourBand, number, f"{path}hour_code")


def _band(then: datetime, now: datetime) -> str:
    age = now - then
    return "today" if age < timedelta(days=1) else "this_week" if age < timedelta(days=7) else "earlier"

"""Translates contacts and callbacks into messages, and parses the answers of a triage."""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any

from chassis.local_time import zone_of
from chassis.wire import etag, number, timestamp, word
from protos.referrals.v1 import contacts_pb2
from services.referrals.line.domain.callback import Callback, past_hours
from services.referrals.line.domain.contact import Contact, LaterNote
from services.referrals.line.domain.triage import Triage
from services.referrals.network.wire.messages import CLOCKS, URGENCIES, clock_message


def read_triage(message: contacts_pb2.Triage, path: str = "contact.triage") -> Triage:
    """Parses the answers in a request; `path` is their path in a refusal."""
    names = [field.name for field in message.DESCRIPTOR.fields]
    return Triage(
        **{
            name: word(contacts_pb2.Answer, getattr(message, name), f"{path}.{name}")
            for name in names
        }
    )


def triage_message(triage: Triage) -> contacts_pb2.Triage:
    """Returns the answers of a caller as a message."""
    answers: dict[str, Any] = {
        name: number(contacts_pb2.Answer, answer) for name, answer in vars(triage).items()
    }
    return contacts_pb2.Triage(**answers)


def past_hour_codes(now: datetime, zone: tzinfo) -> list[Any]:
    """Returns the hours of today, local in `zone`, in which no call can be requested any more."""
    return [number(contacts_pb2.HourBand, hour) for hour in past_hours(now, zone)]


def contact_message(
    contact: Contact,
    now: datetime,
    note: str | None = "",
    later_notes: Iterable[LaterNote] = (),
) -> contacts_pb2.Contact:
    """Returns a contact as a message, with its note and the notes that were added later.

    A `note` of None could not be opened.
    """
    return contacts_pb2.Contact(
        id=contact.id,
        etag=etag(contact.step_version),
        organization_id=contact.organization_id,
        line_country=contact.line_country,
        campaign_code=number(contacts_pb2.Campaign, contact.campaign_code),
        placement_code=contact.placement_code,
        kind_code=number(contacts_pb2.ContactKind, contact.kind_code),
        speaker_code=number(contacts_pb2.Speaker, contact.speaker_code),
        language=contact.language,
        triage=triage_message(contact.triage),
        urgency=URGENCIES.number(contact.triage.urgency()),
        pathway_code=number(contacts_pb2.Pathway, contact.triage.pathway()),
        outcome_code=number(contacts_pb2.ContactOutcome, contact.outcome_code),
        department=contact.department,
        need_code=contact.need_code,
        person_id=contact.person_id,
        note=note or "",
        note_withheld=note is None,
        reference_hint=contact.reference_hint,
        create_time=timestamp(contact.create_time),
        update_time=timestamp(contact.update_time),
        clocks=[clock_message(contact.clock)] if contact.clock else [],
        assault_time=timestamp(contact.assault_time),
        later_notes=[
            contacts_pb2.LaterNote(
                time=timestamp(later_note.time),
                note=later_note.note or "",
                note_withheld=later_note.note is None,
            )
            for later_note in later_notes
        ],
        unheard=contact.unheard,
        called_before=bool(contact.tied_to_id),
        connected_live=number(contacts_pb2.Answer, contact.connected_live),
        handed_over_organization_id=contact.handed_over_organization_id,
        emergency_number_code=number(contacts_pb2.EmergencyNumber, contact.emergency_number_code),
        medicine_codes=[CLOCKS.number(kind) for kind in contact.triage.treatments()],
        open_question_count=len(contact.triage.unanswered()),
        past_hour_codes=past_hour_codes(now, zone_of(contact.line_country, contact.department)),
    )


def callback_message(
    callback: Callback, reference_hint: str, person_id: str, now: datetime, zone: tzinfo
) -> contacts_pb2.Callback:
    """Returns a callback as a message.

    The reference hint, the file id and the zone are those of its contact.
    """
    return contacts_pb2.Callback(
        id=callback.id,
        etag=etag(callback.step_version),
        contact_id=callback.contact_id,
        asked_by_herself=callback.asked_by_herself,
        clocks=[clock_message(callback.clock)],
        tries=callback.tries,
        outcome_code=number(contacts_pb2.CallbackOutcome, callback.outcome_code),
        reference_hint=reference_hint,
        person_id=person_id,
        local_date=now.astimezone(zone).date().isoformat(),
        past_hour_codes=past_hour_codes(now, zone),
    )

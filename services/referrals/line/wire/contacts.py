"""Parses requests about contacts of the line and callbacks."""

from datetime import date
from typing import Any

from chassis.errors import Invalid
from chassis.wire import mask_names, moment, optional_id, with_stored_parts, word
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals.files.wire.messages import department
from services.referrals.line.domain.callback import RequestedHours
from services.referrals.line.wire.messages import read_triage

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


def new_contact(message: pb.Contact) -> dict[str, Any]:
    """Parses the fields of a new contact, without its note."""
    return {
        "line_country": message.line_country,
        **{name: _code(message, name) for name in _CODES},
        "language": message.language,
        "placement_code": message.placement_code,
        "triage": read_triage(message.triage),
        "department": department(message.department, "contact.department"),
        "need_code": message.need_code,
        "assault_time": moment(message, "assault_time", "contact.assault_time"),
        "handed_over_organization_id": optional_id(
            message.handed_over_organization_id, "contact.handed_over_organization_id"
        ),
    }


def changed_contact(
    request: pb.UpdateContactRequest, stored: pb.Contact
) -> tuple[dict[str, Any], str | None]:
    """Parses the fields that the mask names; returns the note separately.

    The note is None if the mask does not name it.
    """
    message, mask = with_stored_parts(request.contact, stored, request.update_mask)
    paths = mask_names(mask, _CHANGEABLE)
    values: dict[str, Any] = {
        path: _code(message, path) if path in _CODES else getattr(message, path)
        for path in paths - {"triage", "note", "assault_time"}
    }
    if "handed_over_organization_id" in paths:
        values["handed_over_organization_id"] = optional_id(
            message.handed_over_organization_id, "contact.handed_over_organization_id"
        )
    if "department" in paths:
        values["department"] = department(message.department, "contact.department")
    if "triage" in paths:
        values["triage"] = read_triage(message.triage)
    if "assault_time" in paths:
        values["assault_time"] = moment(message, "assault_time", "contact.assault_time")
    return values, message.note if "note" in paths else None


def _code(message: pb.Contact, name: str) -> str:
    # without a stated outcome somebody still has to act
    no_code = "open" if name == "outcome_code" else ""
    return word(_CODES[name], getattr(message, name), f"contact.{name}") or no_code


def requested_hours(
    message: pb.Callback | pb.SettleCallbackRequest | pb.AskForCallByReferenceRequest,
    path: str = "",
) -> RequestedHours:
    """Parses the requested hours of a callback; `path` is the prefix of the fields' paths."""
    day = word(pb.DayBand, message.day_code, f"{path}day_code")
    hour = word(pb.HourBand, message.hour_code, f"{path}hour_code")
    try:
        counted_from = date.fromisoformat(message.local_date) if message.local_date else None
    except ValueError as error:
        raise Invalid((f"{path}local_date", "malformed")) from error
    return RequestedHours(day, hour, path, counted_from)

"""Translates files, receipts and emergency accesses between the domain and the messages."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from chassis.errors import Invalid
from chassis.ids import object_id, short_code
from chassis.tokens import Caller
from chassis.wire import EnumCodec, etag, number, optional_id, timestamp, word, word_list
from protos.areas import DEPARTMENTS
from protos.referrals.v1 import audit_pb2, emergencies_pb2, people_pb2, referrals_pb2
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.emergency import EmergencyAccess
from services.referrals.files.domain.person import (
    GROUP_OF,
    Coarse,
    FieldGroup,
    Identity,
    Person,
    SafeContact,
)
from services.referrals.files.domain.unsafe import Unsafe

GROUPS = EnumCodec(people_pb2.FieldGroup, FieldGroup)
_LISTED_COUNTRIES = {code[:2] for code in DEPARTMENTS}


def coarse_message(coarse: Coarse) -> referrals_pb2.CoarsePerson:
    """Returns the coarse data of a person as a message."""
    return referrals_pb2.CoarsePerson(
        age_band=number(referrals_pb2.AgeBand, coarse.age_band),
        gender_code=number(referrals_pb2.PersonGender, coarse.gender_code),
        language=coarse.language,
        dependants=coarse.dependants,
        country=coarse.country,
        department=coarse.department,
    )


def read_coarse(message: referrals_pb2.CoarsePerson, path: str = "coarse") -> Coarse:
    """Parses the coarse data in a request; `path` is the path of the message in it."""
    dependants = message.dependants if message.HasField("dependants") else None
    age_band = word(referrals_pb2.AgeBand, message.age_band, f"{path}.age_band")
    gender = word(referrals_pb2.PersonGender, message.gender_code, f"{path}.gender_code")
    place = department(message.department, f"{path}.department", message.country)
    return Coarse(age_band, gender, message.language, dependants, message.country, place)


def unsafe_fields(unsafe: Unsafe) -> dict[str, Any]:
    """Returns the fields of a message for the answer about who or what place is unsafe."""
    return {
        "unsafe_code": number(referrals_pb2.UnsafeAnswer, unsafe.code),
        "unsafe_organization_ids": unsafe.organization_ids,
        "unsafe_departments": unsafe.departments,
    }


def unsafe_organizations(identifiers: Iterable[str], path: str) -> tuple[str, ...]:
    """Parses the organisations that a person named as unsafe.

    A malformed id is refused: if it were ignored, an organisation that she wants left out could be
    asked.
    """
    return tuple(
        dict.fromkeys(
            optional_id(identifier, f"{path}.{number}")
            for number, identifier in enumerate(identifiers)
        )
    )


def unsafe_departments(codes: Iterable[str], path: str) -> tuple[str, ...]:
    """Parses the departments that a person named as unsafe.

    An unknown code is refused: if it were ignored, a service in the department that she meant could
    be asked.
    """
    return tuple(
        dict.fromkeys(department(code, f"{path}.{position}") for position, code in enumerate(codes))
    )


def department(code: str, path: str, country: str = "") -> str:
    """Parses a department, which may be empty.

    Refuses an unknown code of a listed country, and a department outside `country`, if one is
    given.
    """
    is_unknown = code not in DEPARTMENTS and code[:2] in _LISTED_COUNTRIES
    if is_unknown or (code and country and not code.startswith(f"{country}-")):
        raise Invalid((path, "unknown_code"))
    return code


def read_identity(message: people_pb2.Identity) -> Identity:
    """Parses the identity in a request."""
    return Identity(**{name: getattr(message, name) for name in GROUP_OF})


def identity_message(identity: Identity, groups: frozenset[FieldGroup]) -> people_pb2.Identity:
    """Returns an identity as a message; `groups` are the field groups that are fully opened."""
    return people_pb2.Identity(
        **{name: getattr(identity, name) for name in GROUP_OF},
        opened=sorted(map(GROUPS.number, groups)),
    )


def read_safe_contact(message: people_pb2.SafeContact) -> SafeContact:
    """Parses the safe-contact plan in a request."""
    channel = word(people_pb2.SafeChannel, message.channel_code, "safe_contact.channel_code")
    return SafeContact(
        channel, message.hours, message.code_word, message.never_say, message.message_may_be_left
    )


def safe_contact_message(plan: SafeContact) -> people_pb2.SafeContact:
    """Returns a safe-contact plan as a message."""
    return people_pb2.SafeContact(
        channel_code=number(people_pb2.SafeChannel, plan.channel_code),
        hours=plan.hours,
        code_word=plan.code_word,
        never_say=plan.never_say,
        message_may_be_left=plan.message_may_be_left,
    )


def person_message(person: Person, plan: SafeContact | None = None) -> people_pb2.Person:
    """Returns a file as a message, without the identity.

    `plan` must be None except for the file's organisation. The message for an erased file has no
    data about the person, since the remaining data serve only for counting.
    """
    message = people_pb2.Person(
        id=person.id,
        etag=etag(person.version),
        code=short_code(person.id),
        organization_id=person.organization_id,
        coarse=coarse_message(Coarse() if person.erased else person.coarse),
        trafficking_status_code=number(
            people_pb2.TraffickingStatus, person.trafficking_status_code
        ),
        exploitation_country="" if person.erased else person.exploitation_country,
        has_identity=person.has_identity,
        erased=person.erased,
        create_time=timestamp(person.create_time),
        update_time=timestamp(person.update_time),
    )
    if plan is not None:
        message.safe_contact.CopyFrom(safe_contact_message(plan))
    return message


def receipt_values(message: people_pb2.Receipt) -> dict[str, Any]:
    """Parses the fields of a consent, except the time of its end."""
    return {
        "person_id": object_id(message.person_id),
        "recipient_organization_id": optional_id(
            message.recipient_organization_id, "receipt.recipient_organization_id"
        ),
        "field_groups": frozenset(GROUPS.members(message.field_groups, "receipt.field_groups")),
        "purpose_codes": tuple(message.purpose_codes),
        "giver_code": word(people_pb2.Giver, message.giver_code, "receipt.giver_code"),
        "manner_code": word(people_pb2.Manner, message.manner_code, "receipt.manner_code"),
        "assent_code": word(people_pb2.Assent, message.assent_code, "receipt.assent_code"),
        "in_private": message.in_private,
        "interpreter": message.interpreter,
        "explained_codes": word_list(
            people_pb2.Explained, message.explained_codes, "receipt.explained_codes"
        ),
        "adult_ground_code": word(
            people_pb2.AdultGround, message.adult_ground_code, "receipt.adult_ground_code"
        ),
        "giver_ground_code": word(
            people_pb2.GiverGround, message.giver_ground_code, "receipt.giver_ground_code"
        ),
    }


def receipt_message(receipt: Receipt, now: datetime) -> people_pb2.Receipt:
    """Returns a receipt as it was recorded and signed, and whether it opens anything now."""
    return people_pb2.Receipt(
        id=receipt.id,
        person_id=receipt.person_id,
        recipient_organization_id=receipt.recipient_organization_id,
        field_groups=sorted(map(GROUPS.number, receipt.field_groups)),
        purpose_codes=receipt.purpose_codes,
        until_time=timestamp(receipt.until_time),
        giver_code=number(people_pb2.Giver, receipt.giver_code),
        assent_code=number(people_pb2.Assent, receipt.assent_code),
        manner_code=number(people_pb2.Manner, receipt.manner_code),
        in_private=receipt.in_private,
        interpreter=receipt.interpreter,
        explained_codes=[number(people_pb2.Explained, code) for code in receipt.explained_codes],
        recorded_by_worker_id=receipt.recorded_by_worker_id,
        create_time=timestamp(receipt.create_time),
        withdraw_time=timestamp(receipt.withdraw_time),
        signature=receipt.signature,
        reason_code=number(referrals_pb2.OverrideReason, receipt.reason_code),
        confirm_time=timestamp(receipt.confirm_time),
        confirmed_by_worker_id=receipt.confirmed_by_worker_id,
        confirm_until_time=timestamp(
            receipt.until_time
            if receipt.needs_second and receipt.may_be_confirmed and not receipt.withdraw_time
            else receipt.confirm_until
        ),
        genuine=receipt.genuine,
        live=receipt.is_live(now),
        adult_ground_code=number(people_pb2.AdultGround, receipt.adult_ground_code),
        giver_ground_code=number(people_pb2.GiverGround, receipt.giver_ground_code),
    )


def emergency_message(
    emergency: EmergencyAccess, caller: Caller, now: datetime, note: str = ""
) -> emergencies_pb2.Emergency:
    """Returns an emergency access as this caller may see it.

    The person's id is shown only to the organisation that holds the file and to the organisation
    that opened the data, and never to coordinators and auditors.
    """
    is_party = caller.organization_id in (emergency.organization_id, emergency.file_organization_id)
    return emergencies_pb2.Emergency(
        id=emergency.id,
        etag=etag(emergency.version),
        person_id=emergency.person_id
        if is_party and not (caller.has("COORDINATOR") or caller.has("AUDITOR"))
        else "",
        referral_id=emergency.referral_id,
        organization_id=emergency.organization_id,
        worker_id=emergency.worker_id,
        file_organization_id=emergency.file_organization_id,
        reason_code=number(referrals_pb2.OverrideReason, emergency.reason_code),
        note=note,
        create_time=timestamp(emergency.create_time),
        end_time=timestamp(emergency.end_time),
        live=not emergency.ended and emergency.is_live(now),
        review_due_time=timestamp(emergency.review_due_time),
        review_time=timestamp(emergency.review_time),
        reviewed_by_worker_id=emergency.reviewed_by_worker_id,
        review_code=number(audit_pb2.ReviewOutcome, emergency.review_code),
    )

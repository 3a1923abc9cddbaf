"""Translates enquiries between the domain and the messages."""

from dataclasses import replace
from typing import Any

from chassis.ids import short_code
from chassis.wire import EnumCodec, etag, number, timestamp, word, word_list
from protos.referrals.v1 import enquiries_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.files.domain.unsafe import NAMED, Unsafe
from services.referrals.files.wire.messages import (
    department,
    unsafe_departments,
    unsafe_organizations,
)
from services.referrals.network.domain.service import Attribute
from services.referrals.network.wire.messages import URGENCIES
from services.referrals.referrals.domain.enquiry import (
    Content,
    Enquiry,
    EnquiryState,
    Offer,
    ReceivedEnquiry,
)

STATES = EnumCodec(pb.EnquiryState, EnquiryState)
ATTRIBUTES = EnumCodec(pb.EnquiryAttribute, Attribute)


def content(message: pb.EnquiryContent) -> Content:
    """Parses the content of an enquiry."""
    urgency = URGENCIES.member(message.urgency, "content.urgency")
    assert urgency is not None, "the shape of the request was checked before"
    return Content(
        message.need_code,
        urgency,
        word(referrals_pb2.AgeBand, message.age_band, "content.age_band"),
        word(referrals_pb2.PersonGender, message.gender_code, "content.gender_code"),
        message.dependants if message.HasField("dependants") else None,
        tuple(dict.fromkeys(message.languages)),
        tuple(
            dict.fromkeys(
                word_list(
                    pb.Accessibility, message.accessibility_codes, "content.accessibility_codes"
                )
            )
        ),
        message.country,
        department(message.department, "content.department", message.country),
    )


def unsafe(request: pb.CreateEnquiryRequest) -> Unsafe:
    """Parses the person's answer, and the organisations and departments that are unsafe for her.

    Partners' systems may name organisations without stating the person's answer. The answer is
    then NAMED, since the person must have been asked.
    """
    answer = unsafe_places(
        request, word(referrals_pb2.UnsafeAnswer, request.unsafe_code, "unsafe_code")
    )
    return answer if answer.code or not answer.organization_ids else replace(answer, code=NAMED)


def unsafe_places(
    request: pb.PreviewEnquiryRequest | pb.CreateEnquiryRequest, code: str = ""
) -> Unsafe:
    """Parses the organisations and departments that a request names as unsafe."""
    organizations = unsafe_organizations(
        request.excluded_organization_ids, "excluded_organization_ids"
    )
    departments = unsafe_departments(request.unsafe_departments, "unsafe_departments")
    return Unsafe(code, organizations, departments)


def _content_message(content: Content | None) -> pb.EnquiryContent | None:
    if content is None:
        return None
    return pb.EnquiryContent(
        need_code=content.need_code,
        urgency=URGENCIES.number(content.urgency),
        age_band=number(referrals_pb2.AgeBand, content.age_band),
        gender_code=number(referrals_pb2.PersonGender, content.gender_code),
        dependants=content.dependants,
        languages=content.languages,
        accessibility_codes=[
            number(pb.Accessibility, code) for code in content.accessibility_codes
        ],
        country=content.country,
        department=content.department,
    )


def _offer_message(offer: Offer) -> pb.Offer:
    return pb.Offer(
        service_id=offer.service_id,
        organization_id=offer.organization_id,
        answer=number(pb.OfferAnswer, offer.answer),
        reason_code=number(referrals_pb2.DeclineReason, offer.reason_code),
        answer_time=timestamp(offer.answer_time),
        taken=offer.taken,
        holds_content=offer.content is not None,
    )


def _turn(waits: bool, side: referrals_pb2.Turn.ValueType) -> referrals_pb2.Turn.ValueType:
    return side if waits else referrals_pb2.TURN_UNSPECIFIED


def asker_message(enquiry: Enquiry) -> pb.Enquiry:
    """Returns the message for the asking organisation, with the whole enquiry."""
    plain_values: dict[str, Any] = {
        name: getattr(enquiry, name)
        for name in (
            "id",
            "contact_id",
            "person_id",
            "taken_service_id",
            "referral_id",
            "reason_code",
        )
    }
    times: dict[str, Any] = {
        name: timestamp(getattr(enquiry, name))
        for name in ("start_time", "due_time", "create_time", "update_time")
    }
    is_senders_turn = enquiry.has_offer and not enquiry.referral_id
    running = enquiry.state is EnquiryState.OPEN or (
        enquiry.state is EnquiryState.MATCHED and not enquiry.referral_id
    )
    return pb.Enquiry(
        **plain_values,
        **times,
        etag=etag(enquiry.version),
        code=short_code(enquiry.id),
        state=STATES.number(enquiry.state),
        content=_content_message(enquiry.content),
        side=referrals_pb2.SIDE_SENDER,
        turn=_turn(
            running, referrals_pb2.TURN_SENDER if is_senders_turn else referrals_pb2.TURN_RECEIVER
        ),
        offers=[_offer_message(offer) for offer in enquiry.offers],
        left_out_attributes=[ATTRIBUTES.number(attribute) for attribute in enquiry.left_out],
        unsafe_code=number(referrals_pb2.UnsafeAnswer, enquiry.unsafe.code),
        excluded_organization_ids=enquiry.unsafe.organization_ids,
        unsafe_departments=enquiry.unsafe.departments,
    )


def received_message(enquiry: ReceivedEnquiry) -> pb.Enquiry:
    """Returns the message for an organisation that is asked.

    The message shows nothing about the asking organisation. Until the enquiry has closed, nothing
    in the message depends on the answers of other organisations.
    """
    states = {offer.state for offer in enquiry.offers}
    is_open = EnquiryState.OPEN in states
    is_own_turn = any(not offer.answer for offer in enquiry.offers)
    return pb.Enquiry(
        id=enquiry.id,
        etag=etag(enquiry.version),
        code=short_code(enquiry.id),
        state=STATES.number(min(states, key=list(EnquiryState).index)),
        content=_content_message(enquiry.content),
        side=referrals_pb2.SIDE_RECEIVER,
        turn=_turn(
            is_open, referrals_pb2.TURN_RECEIVER if is_own_turn else referrals_pb2.TURN_SENDER
        ),
        due_time=timestamp(enquiry.due_time) if is_open else None,
        offers=[_offer_message(offer) for offer in enquiry.offers],
        taken_service_id=next((offer.service_id for offer in enquiry.offers if offer.taken), ""),
        start_time=timestamp(enquiry.create_time),
        create_time=timestamp(enquiry.create_time),
        update_time=timestamp(max(offer.update_time for offer in enquiry.offers)),
    )

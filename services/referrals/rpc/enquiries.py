"""Enquiries."""

from dataclasses import replace
from typing import Any

from chassis.errors import Invalid
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import EnumCodec, PageTokens, etag, number, optional_id, page_size, timestamp, version, word, word_list
from protos.referrals.v1 import enquiries_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals import wire
from services.referrals.domain.codes import short_code
from services.referrals.domain.enquiry import Attribute, Content, Enquiry, EnquiryState, Offer
from services.referrals.domain.unsafe import NAMED, Unsafe
from services.referrals.usecases.enquiries import Enquiries, Received

_STATES, _ATTRIBUTES = EnumCodec(pb.EnquiryState, EnquiryState), EnumCodec(pb.EnquiryAttribute, Attribute)


class EnquiriesServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: Enquiries, pages: PageTokens) -> None:
        self._usecases = usecases
        self._pages = pages

    def PreviewEnquiry(self, request: pb.PreviewEnquiryRequest, call: Call) -> pb.EnquiryPreview:
        """See the .proto, as for every method here."""
        seen = self._usecases.preview(
            call.tx,
            call.caller,
            _content(request.content),
            request.service_ids,
            _named(request, ""),
            contact_id=optional_id(request.contact_id, "contact_id"),
            person_id=optional_id(request.person_id, "person_id"),
            keep_unused=request.keep_unused,
        )
        return pb.EnquiryPreview(
            service_count=seen.services,
            organization_count=seen.organizations,
            few=seen.few,
            similar_cases=seen.alike,
            coarser_attribute=_ATTRIBUTES.number(seen.coarser),
            unused_attributes=[_ATTRIBUTES.number(each) for each in seen.unused],
            due_time=timestamp(seen.due_time),
        )

    def CreateEnquiry(self, request: pb.CreateEnquiryRequest, call: Call) -> pb.Enquiry:
        made = self._usecases.create(
            call.tx,
            call.caller,
            call.clock.now(),
            _content(request.content),
            request.service_ids,
            unsafe=_unsafe(request),
            contact_id=optional_id(request.contact_id, "contact_id"),
            person_id=optional_id(request.person_id, "person_id"),
            keep_unused=request.keep_unused,
            urgency_reason_code=word(referrals_pb2.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"),
            trail=call.trail,
        )
        return _asked(made)

    def GetEnquiry(self, request: pb.GetEnquiryRequest, call: Call) -> pb.Enquiry:
        return _message(self._usecases.get(call.tx, call.caller, object_id(request.id)))

    def ListEnquiries(self, request: pb.ListEnquiriesRequest, call: Call) -> pb.ListEnquiriesResponse:
        if request.box not in pb.EnquiryBox.values():
            raise Invalid(("box", "unknown_code"))
        states = _STATES.members(request.states, "states")
        of = {name: optional_id(getattr(request, name), name) for name in ("contact_id", "person_id")}
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        waiting = request.waiting_for_me
        if request.box == pb.ENQUIRY_BOX_RECEIVED:
            enquiries, more = self._usecases.received(call.tx, call.caller, states, size, after, waiting=waiting)
        else:
            enquiries, more = self._usecases.asked(call.tx, call.caller, states, size, after, **of, waiting=waiting)
        return pb.ListEnquiriesResponse(enquiries=[_message(each) for each in enquiries], next_page_token=self._pages.token(request, more))

    def AnswerEnquiry(self, request: pb.AnswerEnquiryRequest, call: Call) -> pb.Enquiry:
        answered = self._usecases.answer(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(request.id),
            version(request.etag),
            object_id(request.service_id),
            word(pb.OfferAnswer, request.answer, "answer"),
            word(referrals_pb2.DeclineReason, request.reason_code, "reason_code"),
        )
        return _received(answered)

    def TakeOffer(self, request: pb.TakeOfferRequest, call: Call) -> pb.Enquiry:
        answer = word(pb.OfferAnswer, request.answer, "answer")
        return _asked(
            self._usecases.take(call.tx, call.clock.now(), object_id(request.id), optional_id(request.service_id, "service_id"), answer)
        )

    def CancelEnquiry(self, request: pb.CancelEnquiryRequest, call: Call) -> pb.Enquiry:
        return _asked(self._usecases.cancel(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag)))

    def ListUnmetNeeds(self, request: pb.ListUnmetNeedsRequest, call: Call) -> pb.ListUnmetNeedsResponse:
        return pb.ListUnmetNeedsResponse(needs=[pb.UnmetNeed(**row) for row in self._usecases.unmet(call.tx, call.clock.now())])


def _content(message: pb.EnquiryContent) -> Content:
    urgency = wire.URGENCIES.member(message.urgency, "content.urgency")
    assert urgency is not None, "its shape was looked at"
    return Content(
        message.need_code,
        urgency,
        word(referrals_pb2.AgeBand, message.age_band, "content.age_band"),
        word(referrals_pb2.PersonGender, message.gender_code, "content.gender_code"),
        message.dependants if message.HasField("dependants") else None,
        tuple(dict.fromkeys(message.languages)),
        tuple(dict.fromkeys(word_list(pb.Accessibility, message.accessibility_codes, "content.accessibility_codes"))),
        message.country,
        message.department,
    )


def _unsafe(request: pb.CreateEnquiryRequest) -> Unsafe:
    """With whom or where she is not safe. A system that names somebody, and does not know of the answer, has asked."""
    unsafe = _named(request, word(referrals_pb2.UnsafeAnswer, request.unsafe_code, "unsafe_code"))
    return unsafe if unsafe.code or not unsafe.organization_ids else replace(unsafe, code=NAMED)


def _named(request: pb.PreviewEnquiryRequest | pb.CreateEnquiryRequest, code: str) -> Unsafe:
    organizations = wire.unsafe_organizations(request.excluded_organization_ids, "excluded_organization_ids")
    return Unsafe(code, organizations, tuple(dict.fromkeys(request.unsafe_departments)))


def _content_message(content: Content | None) -> pb.EnquiryContent | None:
    if content is None:
        return None
    return pb.EnquiryContent(
        need_code=content.need_code,
        urgency=wire.URGENCIES.number(content.urgency),
        age_band=number(referrals_pb2.AgeBand, content.age_band),
        gender_code=number(referrals_pb2.PersonGender, content.gender_code),
        dependants=content.dependants,
        languages=content.languages,
        accessibility_codes=[number(pb.Accessibility, code) for code in content.accessibility_codes],
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


def _turn(waits: bool, whose: referrals_pb2.Turn.ValueType) -> referrals_pb2.Turn.ValueType:
    return whose if waits else referrals_pb2.TURN_UNSPECIFIED


def _message(enquiry: Enquiry | Received) -> pb.Enquiry:
    return _asked(enquiry) if isinstance(enquiry, Enquiry) else _received(enquiry)


def _asked(enquiry: Enquiry) -> pb.Enquiry:
    """For who asks: all of it."""
    shown: dict[str, Any] = {
        name: getattr(enquiry, name) for name in ("id", "contact_id", "person_id", "taken_service_id", "referral_id", "reason_code")
    }
    times: dict[str, Any] = {name: timestamp(getattr(enquiry, name)) for name in ("start_time", "due_time", "create_time", "update_time")}
    mine = enquiry.is_offered and not enquiry.referral_id
    running = enquiry.state is EnquiryState.OPEN or (enquiry.state is EnquiryState.MATCHED and not enquiry.referral_id)
    return pb.Enquiry(
        **shown,
        **times,
        etag=etag(enquiry.version),
        code=short_code(enquiry.id),
        state=_STATES.number(enquiry.state),
        content=_content_message(enquiry.content),
        side=referrals_pb2.SIDE_SENDER,
        turn=_turn(running, referrals_pb2.TURN_SENDER if mine else referrals_pb2.TURN_RECEIVER),
        offers=[_offer_message(offer) for offer in enquiry.offers],
        left_out_attributes=[_ATTRIBUTES.number(each) for each in enquiry.left_out],
        unsafe_code=number(referrals_pb2.UnsafeAnswer, enquiry.unsafe.code),
        excluded_organization_ids=enquiry.unsafe.organization_ids,
        unsafe_departments=enquiry.unsafe.departments,
    )


def _received(enquiry: Received) -> pb.Enquiry:
    """For who is asked: nothing of who asks, and nothing that others' answers change."""
    states = {offer.state for offer in enquiry.offers}
    is_open = states == {EnquiryState.OPEN}
    mine = any(not offer.answer for offer in enquiry.offers)
    return pb.Enquiry(
        id=enquiry.id,
        etag=etag(enquiry.version),
        code=short_code(enquiry.id),
        state=_STATES.number(min(states, key=list(EnquiryState).index)),
        content=_content_message(enquiry.content),
        side=referrals_pb2.SIDE_RECEIVER,
        turn=_turn(is_open, referrals_pb2.TURN_RECEIVER if mine else referrals_pb2.TURN_SENDER),
        due_time=timestamp(enquiry.due_time) if is_open else None,
        offers=[_offer_message(offer) for offer in enquiry.offers],
        taken_service_id=next((offer.service_id for offer in enquiry.offers if offer.taken), ""),
        start_time=timestamp(enquiry.create_time),
        create_time=timestamp(enquiry.create_time),
        update_time=timestamp(max(offer.update_time for offer in enquiry.offers)),
    )

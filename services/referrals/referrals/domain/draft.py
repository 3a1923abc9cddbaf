"""The fields of a draft, as a request sets them."""

from dataclasses import dataclass, replace
from datetime import datetime

from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.deadline import Urgency
from services.referrals.referrals.domain.enquiry import Enquiry
from services.referrals.referrals.domain.record import ReferralRecord


@dataclass(frozen=True)
class Draft:
    """The fields of a draft that a request sets; None leaves a field as it is.

    An empty text clears a field; `without_urgency` clears the urgency, and `without_assault` the
    time of the assault. `path` precedes the names of the fields in a refusal.
    """

    path: str = ""
    need_code: str | None = None
    urgency: Urgency | None = None
    without_urgency: bool = False
    service_id: str | None = None
    receipt_id: str | None = None
    contact_id: str | None = None
    assault_time: datetime | None = None
    without_assault: bool = False
    # why the urgency is below the urgency that follows from the contact's answers
    urgency_reason_code: str = ""
    unsafe_code: str | None = None
    unsafe_organization_ids: tuple[str, ...] | None = None
    unsafe_departments: tuple[str, ...] | None = None

    def unsafe(self, stored_answer: Unsafe) -> Unsafe | None:
        """Returns the person's answer about unsafe organisations and places, after this request.

        Fields that the request leaves out are taken from `stored_answer`. Returns None if the
        request sets none of the fields.
        """
        code = self.unsafe_code
        organizations = self.unsafe_organization_ids
        departments = self.unsafe_departments
        if code is None and organizations is None and departments is None:
            return None
        return Unsafe(
            stored_answer.code if code is None else code,
            stored_answer.organization_ids if organizations is None else organizations,
            stored_answer.departments if departments is None else departments,
        )

    def only_repeats(self, earlier: ReferralRecord, person_id: str) -> bool:
        """Returns whether this draft adds nothing to the draft that already follows an open need.

        `earlier` is the referral that came back, and `person_id` the person of this draft.
        """
        repetition = Draft(
            need_code=earlier.need_code,
            urgency=earlier.urgency,
            contact_id=earlier.contact_id or None,
        )
        return (
            earlier.need_is_open
            and earlier.following_id != ""
            and (self, person_id) == (repetition, earlier.person_id)
        )

    def from_enquiry(self, enquiry: Enquiry) -> "Draft":
        """Returns the draft, completed with fields of the enquiry and of its accepted offer.

        Only need, urgency, service and contact are completed, if the request does not set them.
        """
        content = enquiry.content
        return replace(
            self,
            need_code=self.need_code or content.need_code,
            urgency=self.urgency or content.urgency,
            service_id=self.service_id or enquiry.taken_service_id,
            contact_id=self.contact_id or enquiry.contact_id or None,
        )

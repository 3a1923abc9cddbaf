"""Fake services with the data that a test needs, and the pages that show these data."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import plans_pb2 as pl
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, enter, pages, signed_in

WORKER = contract_pb2.ROLE_WORKER
OPERATOR = contract_pb2.ROLE_OPERATOR
MANAGER = contract_pb2.ROLE_MANAGER
COORDINATOR = contract_pb2.ROLE_COORDINATOR
Arrange = Callable[[FakePageServices], None]


def stamp(minutes: float) -> Timestamp:
    """Returns the time that is `minutes` minutes from now."""
    time = Timestamp()
    time.FromDatetime(datetime.now(UTC) + timedelta(minutes=minutes))
    return time


def clock(minutes: float) -> r.Clock:
    """Returns the clock of a deadline of one hour that ends in `minutes` minutes."""
    return r.Clock(
        kind=r.CLOCK_KIND_CONTACT, start_time=stamp(minutes - 60), due_time=stamp(minutes)
    )


def contact(minutes: float) -> c.Contact:
    """Returns an open contact that is due in `minutes` minutes."""
    return c.Contact(
        id=ID, reference_hint="VWJF", outcome_code=c.CONTACT_OUTCOME_OPEN, clocks=[clock(minutes)]
    )


def referral(**fields: Any) -> r.Referral:
    """Returns a live referral that was sent."""
    message = r.Referral(id=ID, code="4BGZ42", need_code="HOU.EMG", state=r.STATE_SENT, live=True)
    message.MergeFrom(r.Referral(**fields))
    return message


def nothing_waits(fakes: FakePageServices) -> None:
    """Sets the services so that nothing waits anywhere."""
    fakes.answers |= {
        "ListReferrals": r.ListReferralsResponse(),
        "CountReferrals": r.CountReferralsResponse(),
        "ListContacts": c.ListContactsResponse(),
        "ListCallbacks": c.ListCallbacksResponse(),
        "ListEnquiries": e.ListEnquiriesResponse(),
        "ListLateSteps": pl.ListLateStepsResponse(),
        "SearchServices": d.SearchServicesResponse(),
    }


def waiting_work(**answers: Any) -> Arrange:
    """Returns a function that sets the services so that only these answers have objects."""

    def arrange(fakes: FakePageServices) -> None:
        nothing_waits(fakes)
        fakes.answers |= answers

    return arrange


def page(path: str, role: int, arrange: Arrange) -> str:
    """Returns the page as this role sees it."""
    fakes = FakePageServices({"IssueToken": signed_in(role)})  # type: ignore[arg-type]
    arrange(fakes)
    return enter(pages(fakes).test_client()).get(path).text


ONE_REFERRAL = r.ListReferralsResponse(referrals=[referral()])
DUE_REFERRAL = r.ListReferralsResponse(referrals=[referral(next_due_time=stamp(60))])
OWED_CALL = c.ListCallbacksResponse(
    callbacks=[c.Callback(id=ID, contact_id=ID, clocks=[clock(30)])]
)
ENQUIRY_TO_US = e.ListEnquiriesResponse(
    enquiries=[
        e.Enquiry(
            id=ID,
            side=r.SIDE_RECEIVER,
            turn=r.TURN_RECEIVER,
            state=e.ENQUIRY_STATE_OPEN,
            due_time=stamp(30),
        )
    ]
)

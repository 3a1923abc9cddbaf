"""The lists of a desk's open work besides referrals: the line's contacts and calls, enquiries."""

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.backend import lists


def calls_owed() -> lists.Rows[c.Callback]:
    """Returns the calls that the line owes, the nearest due time first."""
    return lists.all_of(c.ListCallbacksRequest())


def open_contacts() -> lists.Rows[c.Contact]:
    """Returns the line's open contacts.

    Contacts without an urgency, or with a message that nobody has read, come first, because their
    case may turn out to be urgent. The other contacts follow. In both parts the most urgent come
    first. Within the same urgency, the newest contact comes first.
    """
    return lists.all_of(c.ListContactsRequest(outcome_code=c.CONTACT_OUTCOME_OPEN)).sorted_by(
        lambda contact: (bool(contact.urgency) and not contact.unheard, -contact.urgency)
    )


def enquiries_received() -> lists.Rows[e.Enquiry]:
    """Returns the enquiries that wait for this desk's answer, the nearest deadline first."""
    return lists.all_of(
        e.ListEnquiriesRequest(box=e.ENQUIRY_BOX_RECEIVED, waiting_for_me=True)
    ).sorted_by(lambda enquiry: enquiry.due_time.seconds)


def enquiries_sent() -> lists.Rows[e.Enquiry]:
    """Returns the desk's own enquiries that are open, or matched without a referral yet.

    Enquiries that wait for this desk come first.
    """
    return lists.all_of(e.ListEnquiriesRequest(live=True)).sorted_by(
        lambda enquiry: (
            enquiry.turn != r.TURN_SENDER,
            not enquiry.due_time.seconds,
            enquiry.due_time.seconds,
        )
    )


def follows_taken_offer(draft: r.Referral) -> bool:
    """Returns whether a service whose offer was taken waits for this draft."""
    list_request = e.ListEnquiriesRequest(
        states=[e.ENQUIRY_STATE_MATCHED], person_id=draft.person_id
    )
    return any(enquiry.referral_id == draft.id for enquiry in lists.all_of(list_request))

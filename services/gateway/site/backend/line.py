"""The line's open contacts, and the calls that the line owes."""

from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.site.backend import lists


def calls_owed() -> lists.Listed[c.Callback]:
    """Returns the calls that the line owes, the nearest due time first."""
    return lists.all_of(c.ListCallbacksRequest())


def open_contacts() -> lists.Listed[c.Contact]:
    """Returns the line's open contacts.

    Contacts without an urgency come first, because their case may turn out to be urgent. The rated
    contacts follow, the most urgent first. Within the same urgency, the newest contact comes first.
    """
    contacts = lists.all_of(c.ListContactsRequest(outcome_code=c.CONTACT_OUTCOME_OPEN))
    contacts.sort(key=lambda contact: (bool(contact.urgency), -contact.urgency))
    return contacts

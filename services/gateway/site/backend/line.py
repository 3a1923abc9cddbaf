"""Open contacts and owed calls of the line."""

from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge.clients import clients
from services.gateway.site.parts import lists


def calls_owed() -> lists.Listed[c.Callback]:
    """The calls that the line owes, what is due first."""
    return lists.all_of(
        clients().contacts.ListCallbacks, c.ListCallbacksRequest(), lambda answer: answer.callbacks
    )


def still_open() -> lists.Listed[c.Contact]:
    """The open contacts of the line: those without an urgency first, for it may be anything, then
    the most urgent, of those the newest.
    """
    question = c.ListContactsRequest(outcome_code=c.CONTACT_OUTCOME_OPEN)
    contacts = lists.all_of(
        clients().contacts.ListContacts, question, lambda answer: answer.contacts
    )
    contacts.sort(key=lambda contact: (bool(contact.urgency), -contact.urgency))
    return contacts

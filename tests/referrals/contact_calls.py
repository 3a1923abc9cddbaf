"""Rpcs about a contact, for the tests of the line and of the referrals that follow a contact."""

from typing import Any

from protos.referrals.v1 import contacts_pb2
from tests.referrals.conftest import Client


def credentials(call: contacts_pb2.CreateContactResponse) -> dict[str, str]:
    """Returns the reference and the PIN with which the caller identifies herself."""
    return {"reference": call.reference, "pin": call.pin}


def update_contact(client: Client, contact: contacts_pb2.Contact, **values: Any) -> Any:
    """Sets these fields of a contact, based on the version of the contact that is given."""
    return client.UpdateContact(
        contact=contacts_pb2.Contact(id=contact.id, etag=contact.etag, **values),
        update_mask={"paths": list(values)},
    )

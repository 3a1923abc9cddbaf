"""Files of people, without their identity."""

from protos.referrals.v1 import people_pb2 as p
from services.gateway.edge.clients import clients


def file_of(identifier: str) -> p.Person:
    """Returns the file of a person, without her identity."""
    return clients().people.GetPerson(p.GetPersonRequest(id=identifier, outline_only=True))

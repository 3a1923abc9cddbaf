"""Files of people, without their identity."""

from protos.referrals.v1 import erasures_pb2 as er
from protos.referrals.v1 import people_pb2 as p
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists


def file_of(identifier: str) -> p.Person:
    """Returns the file of a person, without her identity."""
    return clients().people.GetPerson(p.GetPersonRequest(id=identifier, outline_only=True))


def waiting_erasures() -> lists.Listed[er.Erasure]:
    """Returns all proposed erasures that a second worker of this organisation must confirm."""
    return lists.all_of(er.ListErasuresRequest())

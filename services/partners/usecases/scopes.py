"""What somebody may do in person of what a key may do with a scope, as the .proto files have it."""

from collections.abc import Iterator

from chassis import contract
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import accounts_pb2, directory_pb2, locations_pb2, members_pb2, open_data_pb2
from protos.referrals.v1 import advice_pb2, campaigns_pb2, contacts_pb2, enquiries_pb2, people_pb2, plans_pb2, referrals_pb2

FILES = (
    directory_pb2,
    locations_pb2,
    members_pb2,
    accounts_pb2,
    open_data_pb2,
    referrals_pb2,
    people_pb2,
    contacts_pb2,
    advice_pb2,
    campaigns_pb2,
    enquiries_pb2,
    plans_pb2,
    notifications_pb2,
)


def of(roles: frozenset[str]) -> frozenset[str]:
    """The scopes of which these roles may do everything."""
    return frozenset(scope for scope, needed in _NEEDED.items() if all(each & roles for each in needed))


def _rules() -> Iterator[contract.Rules]:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from map(contract.rules, service.methods)


_NEEDED: dict[str, set[frozenset[str]]] = {"referrals.override": {frozenset({"EMERGENCY"})}}  # no rpc's own: it is a way of SendReferral
for _each in _rules():
    if _each.scope:
        _NEEDED.setdefault(_each.scope, set()).add(_each.roles)

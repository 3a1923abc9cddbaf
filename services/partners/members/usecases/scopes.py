"""The scopes of API keys that a person could use herself, by her roles, as the .proto files state
them.
"""

from collections.abc import Iterator

from chassis import contract
from protos.stubs import FILES


def of(roles: frozenset[str]) -> frozenset[str]:
    """Returns the scopes of which these roles may do everything."""
    return frozenset(
        scope for scope, needed in _NEEDED.items() if all(each & roles for each in needed)
    )


def _rules() -> Iterator[contract.Rules]:
    for file in FILES:
        for service in file.services_by_name.values():
            yield from map(contract.rules, service.methods)


# no rpc's own: it is a way of SendReferral
_NEEDED: dict[str, set[frozenset[str]]] = {"referrals.override": {frozenset({"EMERGENCY"})}}
for _each in _rules():
    if _each.scope:
        _NEEDED.setdefault(_each.scope, set()).add(_each.roles)

"""The scopes of API keys that give a person no more rights than she has by her roles.

The .proto files state the roles and scopes of each rpc.
"""

from collections.abc import Iterator

from chassis import contract
from protos.stubs import FILES


def scopes_within(roles: frozenset[str]) -> frozenset[str]:
    """Returns the scopes whose rpcs may all be called with these roles."""
    return frozenset(
        scope
        for scope, roles_of_rpcs in _ROLES_BY_SCOPE.items()
        if all(roles_of_rpc & roles for roles_of_rpc in roles_of_rpcs)
    )


def _rules() -> Iterator[contract.Rules]:
    for file in FILES:
        for service in file.services_by_name.values():
            yield from map(contract.rules, service.methods)


# a scope without an rpc of its own: it allows one form of SendReferral
_ROLES_BY_SCOPE: dict[str, set[frozenset[str]]] = {"referrals.override": {frozenset({"EMERGENCY"})}}
for _rule in _rules():
    if _rule.scope:
        _ROLES_BY_SCOPE.setdefault(_rule.scope, set()).add(_rule.roles)

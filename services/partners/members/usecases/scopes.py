"""The scopes of API keys that give a person no more rights than she has by her roles.

The .proto files state the roles and scopes of each rpc.
"""

from collections.abc import Iterator

from chassis import contract
from protos.stubs import FILES


def scopes_within(roles: frozenset[str]) -> frozenset[str]:
    """Returns the scopes whose rpcs these roles may all call."""
    return frozenset(
        scope for scope, needed in _NEEDED.items() if all(allowed & roles for allowed in needed)
    )


def _rules() -> Iterator[contract.Rules]:
    for file in FILES:
        for service in file.services_by_name.values():
            yield from map(contract.rules, service.methods)


# a scope without an rpc of its own: it allows one form of SendReferral
_NEEDED: dict[str, set[frozenset[str]]] = {"referrals.override": {frozenset({"EMERGENCY"})}}
for _rule in _rules():
    if _rule.scope:
        _NEEDED.setdefault(_rule.scope, set()).add(_rule.roles)

"""Who may open which page, and where it stands in the navigation: said at its route, above the view.

Deny by default: a page that says nothing answers 404 to everybody and fails the tests. The services check every call again with the caller's own token; this
only spares people the pages that could never work for them. What lies under /api/ is guarded by services.gateway.api itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask

from chassis.wire import words
from protos.contract.v1 import contract_pb2

EVERYONE = frozenset(words(contract_pb2.Role.DESCRIPTOR).values()) - {"emergency"}  # which is beside another role
ANYBODY = frozenset[str]()  # also who did not sign in
CARE = frozenset({"worker", "operator", "manager"})  # whoever works with people and referrals of an organisation
SENDERS = frozenset({"worker", "operator"})
LINE = frozenset({"operator"})
MANAGERS = frozenset({"manager"})
NETWORK = frozenset({"coordinator"})
AUDITORS = frozenset({"auditor"})
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Access:
    """Of one page. `roles` is empty for a public one: it needs no session, and shows nothing that belongs to anybody.

    `navigation` is its label in the navigation, `section` the group where it stands there.
    """

    roles: frozenset[str] = frozenset()
    navigation: str = ""
    section: str = ""

    @property
    def is_public(self) -> bool:
        """Whether it needs no session."""
        return not self.roles


def public(view: View) -> View:
    """Needs no session."""
    view.access = Access()  # type: ignore[attr-defined]
    return view


def open_to(roles: frozenset[str], *, navigation: str = "", section: str = "work") -> Callable[[View], View]:
    """Needs a session of one of these roles (of none: no session); with a label it stands in a section (work, network, organization) of the navigation."""

    def declare(view: View) -> View:
        view.access = Access(roles, navigation, section)  # type: ignore[attr-defined]
        return view

    return declare


def of(app: Flask, endpoint: str | None) -> Access | None:
    """What a page says; None for one that says nothing, which nobody may open. Style and scripts are public."""
    if endpoint == "static":
        return Access()
    access: Access | None = getattr(app.view_functions.get(endpoint or ""), "access", None)
    return access

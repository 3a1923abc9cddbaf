"""The declarations of pages, on their routes: roles, and forms that are shown again.

A declaration names the roles that may open the page, and the function that shows a rejected form
again. Access is denied by default: a page without a declaration answers 404 to everybody and fails
the tests. The services check every call again with the caller's own token; the check here only
spares people pages that could never work for them. The API itself guards the paths below /api/.
"""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from flask import Blueprint, Flask, current_app, redirect, request, url_for
from google.protobuf.message import Message
from werkzeug.wrappers import Response

from chassis.errors import Exhausted
from chassis.wire import words
from protos.contract.v1 import contract_pb2
from services.gateway.edge.clients import send
from services.gateway.site.parts import forms
from services.gateway.site.shell import session

# `emergency` is left out, because a worker has it only in addition to another role
EVERYONE = frozenset(words(contract_pb2.Role.DESCRIPTOR).values()) - {"emergency"}
# The roles of a public page, which needs no session and shows nobody's data.
ANYBODY = frozenset[str]()
# everybody who works with an organisation's people and referrals
CARE = frozenset({"worker", "operator", "manager"})
SENDERS = frozenset({"worker", "operator"})
LINE = frozenset({"operator"})
MANAGERS = frozenset({"manager"})
NETWORK = frozenset({"coordinator"})
AUDITORS = frozenset({"auditor"})
Answer = Response | str | tuple[str, int]
View = TypeVar("View", bound=Callable[..., Any])


class Pages:
    """The pages of one noun. Each route declares roles; a reader needs one of them."""

    def __init__(self, noun: str) -> None:
        self.blueprint = Blueprint(noun, __name__)

    def get(self, path: str, roles: frozenset[str]) -> Callable[[View], View]:
        """Declares a page that is only read."""
        return self._page(path, ["GET"], roles)

    def post(
        self,
        path: str,
        roles: frozenset[str],
        *,
        again: Callable[..., str] | None = None,
        then: str = "",
        done: str = "saved",
    ) -> Callable[[View], View]:
        """Declares the target of a form.

        `again` renders the form again, given the values of the path and the form's problems
        (`errors`, see `forms.problems`). Usually, `again` is the view of the form's own page. If
        the view returns None, the browser is redirected to the page `then`, with the message
        `done`, if there is one.
        """
        return self._page(path, ["POST"], roles, again, then, done)

    def sends(
        self,
        name: str,
        path: str,
        roles: frozenset[str],
        request_of: Callable[..., Message],
        *,
        again: Callable[..., str] | None = None,
        then: str,
        done: str = "saved",
    ) -> None:
        """Declares the target of a form that only sends a request to an rpc, without a view.

        `request_of` makes the request from the values of the path; it is usually the type of the
        request. The value `identifier` is passed to it as `id`. The form fills the other fields.
        `name` is the name of the endpoint. The other arguments are those of `post`; `then` may be
        the page of an object that the request created.
        """

        def view(**values: str) -> Response:
            path_values = {
                ("id" if key == "identifier" else key): text for key, text in values.items()
            }
            answer = send(forms.filled(request_of(**path_values)))
            created = {"identifier": getattr(answer, "id", "")}
            return redirect(_address(then, done, created | values), 303)

        view.__name__ = name
        self.post(path, roles, again=again)(view)

    def form(
        self, path: str, roles: frozenset[str], *, again: Callable[..., str] | None = None
    ) -> Callable[[View], View]:
        """Declares a page whose form is sent to the page's own path.

        `again`, if there is one, also renders the page when it is opened; the view then handles
        only forms that were sent.
        """
        return self._page(path, ["GET", "POST"], roles, again)

    def _page(
        self,
        path: str,
        methods: list[str],
        roles: frozenset[str],
        again: Callable[..., str] | None = None,
        then: str = "",
        done: str = "",
    ) -> Callable[[View], View]:
        # If `again` does not accept the values of the path, the process does not start.
        if again is not None:
            signature(again).bind(errors={}, **dict.fromkeys(re.findall(r"<(\w+)>", path), ""))

        def declare(view: View) -> View:
            @wraps(view)
            def answer(**values: str) -> Any:
                if again is not None and request.method != "POST":
                    return again(**values)
                try:
                    result = view(**values)
                except (*forms.SHOWN_IN_PLACE, Exhausted) as refusal:
                    if again is None:
                        raise
                    return again(errors=forms.problems(refusal), **values), forms.status_of(refusal)
                return redirect(_address(then, done, values), 303) if result is None else result

            answer.roles = roles  # type: ignore[attr-defined]
            self.blueprint.add_url_rule(path, view_func=answer, methods=methods)
            return view

        return declare


def _address(endpoint: str, done: str, values: Mapping[str, Any]) -> str:
    """Returns the URL of a page. Uses only the values that belong to its path."""
    rule = next(current_app.url_map.iter_rules(endpoint))
    return url_for(
        endpoint,
        done=done or None,
        **{name: value for name, value in values.items() if name in rule.arguments},
    )


def roles_of(app: Flask, endpoint: str | None) -> frozenset[str] | None:
    """Returns the roles that a page declares; None for a page without roles, which nobody may open.

    Style sheets and scripts are public.
    """
    roles: frozenset[str] | None = (
        ANYBODY
        if endpoint == "static"
        else getattr(app.view_functions.get(endpoint or ""), "roles", None)
    )
    return roles


def may_open(endpoint: str | None) -> bool:
    """Returns whether the reader may open a page.

    Raises Unauthenticated session_ended for a page that is not public if nobody is signed in.
    """
    roles = roles_of(current_app, endpoint)
    return roles is not None and (roles == ANYBODY or session.me().may(*roles))

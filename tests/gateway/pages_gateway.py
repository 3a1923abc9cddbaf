"""The pages in front of fake services.

Every rpc answers with a message whose fields are all set, so that a page shows everything that it
can show.
"""

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any, cast

from flask import Flask
from flask.testing import FlaskClient
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from jinja2 import Undefined
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.__main__ import compose
from services.gateway.config import Settings, SiteSettings
from services.gateway.edge.app import equip
from services.gateway.edge.clients import AUDIENCES, Clients, Standing
from services.gateway.site import equip as equip_site
from services.gateway.site.backend import names
from services.gateway.site.parts.steps import STEPS
from services.gateway.site.shell import access
from tests.gateway.api_gateway import ID, OUTPUTS, STUBS, FakeServices, Stub, filled_message

ALL_ROLES = (
    contract_pb2.ROLE_WORKER,
    contract_pb2.ROLE_OPERATOR,
    contract_pb2.ROLE_MANAGER,
    contract_pb2.ROLE_COORDINATOR,
    contract_pb2.ROLE_AUDITOR,
)
SECRET = "a-secret-of-a-session-that-nobody-has"
EXIT = "https://weather.example/today"
FILLED_TEXT = "ñ"
"""The value of a text in a filled message."""


class StubWithDeadline(Stub):
    """A stub that also takes a deadline."""

    def __getattr__(self, rpc: str) -> Callable[..., Message]:
        call = super().__getattr__(rpc)

        def answer(request: Message, timeout: float = 0.0) -> Message:
            response = call(request)
            # Every field of an answer is set, even the token of a next page. That page is empty.
            return (
                response if getattr(request, "page_token", "") != FILLED_TEXT else type(response)()
            )

        return answer


class FakePageServices(FakeServices):
    """All fake services, which answer filled messages."""

    def __post_init__(self) -> None:
        usual_answers: dict[str, Any] = {
            "BatchGet": d.BatchGetResponse(
                organizations=[
                    d.Organization(
                        id=ID, name="Casa Puentes", status=d.ORGANIZATION_STATUS_APPROVED
                    )
                ],
                services=[d.Service(id=ID, name="Albergue")],
                worker_names={ID: "Rosa Méndez"},
            ),
            "IssueToken": signed_in(*ALL_ROLES),
            "SignIn": m.SignInResponse(session_secret=SECRET),
            "ListTaxonomyTerms": taxonomy(),
        }
        self.answers = copy.deepcopy(full_answers()) | usual_answers | self.answers
        for stub in STUBS:
            setattr(self, stub, StubWithDeadline(self))
        self.standings = {
            name: Standing(answers=True, ready=True, publishes=True)
            for name in ("partners", "referrals", "notifications")
        }

    def add_organization(self, id: str, name: str, **fields: Any) -> None:
        """Adds another organisation to the directory."""
        self.answers["BatchGet"].organizations.add(id=id, name=name, **fields)  # type: ignore[union-attr]

    def standing(self) -> dict[str, Standing]:
        """Returns the state of each service."""
        return self.standings

    def end_session_later(self, secret: str) -> None:
        """Ends the session at once, unlike the real method."""
        getattr(self, "tokens").EndSession(m.EndSessionRequest(session_secret=secret))  # noqa: B009


@functools.cache
def full_answers() -> dict[str, Message]:
    """Returns a full answer for each rpc; a test that changes an answer takes a copy.

    The answers are made once, because filling two hundred messages takes longer than most tests.
    """
    return {
        rpc: realistic(filled_message(GetMessageClass(output))) for rpc, output in OUTPUTS.items()
    }


def realistic(message: Message) -> Message:
    """Gives the ids and codes of a filled message values that look real, and returns it."""
    for part, value in message.ListFields():
        if part.name == "allowed_verbs":
            value[:] = list(STEPS)
        if part.message_type is not None and not part.message_type.GetOptions().map_entry:
            for inner in value if part.is_repeated else [value]:
                if inner.DESCRIPTOR.full_name.startswith("enlace."):
                    realistic(inner)
        elif part.cpp_type == part.CPPTYPE_STRING and not part.is_repeated:
            if part.name == "id" or part.name.endswith("_id"):
                setattr(message, part.name, ID)
            elif part.name in ("country", "line_country", "exploitation_country"):
                setattr(message, part.name, "NI")
            elif part.name in (
                "date",
                "local_date",
                "seen_date",
                "expire_date",
                "agreement_expire_date",
            ):
                setattr(message, part.name, "2027-03-31")
            elif part.name == "main_step":
                # every field of an enum is its first value: a draft, on the sender's side
                setattr(message, part.name, "send")
            elif part.name in ("need_code", "purpose_code", "need_group_code"):
                setattr(message, part.name, "HOU.EMG")
            elif part.name == "url":
                setattr(message, part.name, "https://partner.example/hook")
    return message


def taxonomy() -> d.ListTaxonomyTermsResponse:
    """Returns a taxonomy that consists of a group with one need."""
    return d.ListTaxonomyTermsResponse(
        terms=[
            d.TaxonomyTerm(code="HOU", names={"es": "Vivienda", "en": "Housing", "fr": "Logement"}),
            d.TaxonomyTerm(
                code="HOU.EMG",
                parent_code="HOU",
                names={"es": "Albergue", "en": "Shelter", "fr": "Foyer"},
            ),
        ]
    )


def signed_in(*roles: contract_pb2.Role.ValueType, language: str = "es") -> m.IssueTokenResponse:
    """Returns the partners service's answer for a session."""
    return m.IssueTokenResponse(
        tokens=dict.fromkeys(AUDIENCES, "t"),
        worker=m.Worker(id=ID, name="Rosa Méndez", roles=roles, language=language),
        organization=m.OrganizationRef(
            id=ID, name="Casa Puentes", country="NI", department="NI-CI"
        ),
    )


def pages(
    services: FakePageServices | Clients,
    development: bool = True,
    caller_rate: int = 1_000_000,
    lines: Mapping[str, str] | None = None,
) -> Flask:
    """Returns the gateway's app in front of these services."""
    names._terms.cache_clear()
    site = SiteSettings(EXIT, b"0" * 32, lines=tuple((lines or {}).items()))
    settings = Settings("", 0, "", "", "", "", development, "", 0, caller_rate, site=site)
    app = copy.copy(site_app(settings))
    app.extensions = dict(app.extensions)
    equip(app, settings, cast(Clients, services))
    equip_site(app, site)
    return app


class Missing(Undefined):
    """A name that a template does not define.

    A template may test and compare such a name. Printing it is an error, so that a misspelt name
    does not become an empty place on a page. A missing value of a mapping (the answers of a form)
    is printed as "".
    """

    def __str__(self) -> str:
        if isinstance(self._undefined_obj, Mapping):
            return ""
        return str(self._fail_with_undefined_error())


@functools.cache
def site_app(settings: Settings) -> Flask:
    """Returns an app with its routes and templates, which are the same for every test.

    Making them would be the longest part of a test.
    """
    app = compose(settings, cast(Clients, object()))
    app.jinja_env.undefined = Missing
    return app


def enter(client: FlaskClient, secret: str = SECRET) -> FlaskClient:
    """Signs in as a browser does."""
    page = client.get("/sign-in").text
    assert submit(client, "/sign-in", page, email="a@b.demo", password=secret).status_code == 303
    return client


def signed_in_as(fakes: FakePageServices, *roles: contract_pb2.Role.ValueType) -> FlaskClient:
    fakes.answers["IssueToken"] = signed_in(*roles)
    return enter(pages(fakes).test_client(), f"a-{roles}")


def token_of(page: str) -> str:
    """Returns the form token of the page, which proves that a form is the gateway's own."""
    field = re.search(r'name="form_token" value="([^"]+)"', page)
    assert field
    return field[1]


def send(client: FlaskClient, form: str, to: str = "", /, **fields: object) -> TestResponse:
    """Opens the page `form`, and sends its form with these fields, to `to` or to the page.

    The address of a form leads to the page above it.
    """
    page = client.get(form, follow_redirects=True).text
    request_id = re.search(r'name="request_id" value="([^"]+)"', page)
    data = {
        "form_token": token_of(page),
        "request_id": request_id[1] if request_id else "",
        "etag": "e1",
        **fields,
    }
    return client.post(to or form, data=data)


def submit(client: FlaskClient, path: str, page: str, /, **fields: Any) -> TestResponse:
    """Sends a form of the page with these fields, as a browser does."""
    return client.post(path, data={"form_token": token_of(page), "request_id": "one", **fields})


def missing(page: str, *texts: str) -> list[str]:
    """Returns the texts that the page does not contain."""
    return [text for text in texts if text not in page]


def routes(app: Flask, method: str = "GET") -> Iterator[tuple[str, str]]:
    """Yields the endpoint and an address of each route of the pages, with ids where needed.

    Static files are left out, and so are routes that only lead out of the site or into it.
    """
    left_out = (
        "static",
        "signin.quick_exit",
        "signin.leave_for_provider",
        "signin.come_back_from_provider",
        "account.leave_for_provider",
    )
    for rule in app.url_map.iter_rules():
        if (
            method not in (rule.methods or ())
            or rule.rule.startswith("/api/")
            or rule.endpoint in left_out
        ):
            continue
        if access.roles_of(app, rule.endpoint) is not None:
            values = {
                "verb": "approve" if "directory" in rule.endpoint else "accept",
                "country": "NI",
                "paper": "A4",
                "form": "svg",
            }
            # the lambda runs before the next turn of the loop
            yield (
                rule.endpoint,
                re.sub(r"<(\w+)>", lambda variable: values.get(variable[1], ID), rule.rule),  # noqa: B023
            )


def page_at(client: FlaskClient, path: str) -> str:
    """Returns the page at an address; "" for a file."""
    answer = client.get(path)
    return answer.text if answer.mimetype == "text/html" else ""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serves the app on a port, for a browser."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)


def referral(**fields: Any) -> r.Referral:
    """Returns a referral as the services would answer it, with these fields."""
    message = realistic(filled_message(r.Referral))
    assert isinstance(message, r.Referral)
    message.MergeFrom(r.Referral(**fields))
    return message


__all__ = [
    "ALL_ROLES",
    "EXIT",
    "ID",
    "SECRET",
    "FakePageServices",
    "enter",
    "missing",
    "page_at",
    "pages",
    "referral",
    "routes",
    "send",
    "served",
    "signed_in",
    "signed_in_as",
    "submit",
    "token_of",
]

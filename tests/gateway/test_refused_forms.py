"""Every form of every page, refused in every possible way.

The typed values come back in the form, with the reason, to the person who typed them and to nobody
else.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import READING_VERBS, ServiceFault
from services.gateway.site.shell import session
from services.gateway.site.shell.kept import CARRIED, SECRETS
from tests.gateway.api_gateway import ID, OUTPUTS
from tests.gateway.page_forms import (
    OTHER_ID,
    WORDS,
    Form,
    OpenServices,
    ReceiverServices,
    posted_forms,
)
from tests.gateway.pages_gateway import (
    ALL_ROLES,
    SECRET,
    FakePageServices,
    enter,
    page_at,
    pages,
    routes,
    signed_in,
    token_of,
)

pytestmark = pytest.mark.long

EXIT_PATHS = ("/sign-out", "/quick-exit")
PAGE_FIELDS = {"shown", "seen", "back"}  # fields of the page itself, which nobody types
KINDS = (FakePageServices, OpenServices, ReceiverServices)
BUTTONS = {
    "/board/several/reroute",
    f"/directory/import/{ID}",
    *(f"/directory/organizations/{ID}/{verb}" for verb in ("approve", "leave")),
    *(f"/keys/{ID}/{verb}" for verb in ("confirm", "transfer")),
    *(f"/members/workers/{ID}/{verb}" for verb in ("second-factor", "suspend")),
    *(f"/people/{ID}/{verb}" for verb in ("erasure/confirm", "withdraw")),
    f"/people/receipts/{ID}/confirm",
    f"/plans/{ID}/move",
    f"/enquiries/{ID}/refer",
    *(f"/referrals/{ID}/{verb}" for verb in ("address", "reroute")),
    f"/network/roles/workers/{ID}/suspend",
    f"/directory/organizations/{ID}/suspension/end",
    "/account/proof",
    # pages have these forms only for another organisation (test_suspension_page.py,
    # test_network_roles_page.py)
    f"/directory/organizations/{ID}/suspension",
    f"/network/roles/invitations/{ID}/confirm",
}
"""The targets of buttons that no page of these services shows.

Such a button sends only data that the page has.
"""


@dataclass
class Site:
    """A browser in front of services of each kind, and every form of their pages."""

    forms: list[Form]
    fakes: list[FakePageServices] = field(default_factory=lambda: [kind() for kind in KINDS])
    clients: list[FlaskClient] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = [enter(pages(fakes).test_client()) for fakes in self.fakes]

    def client(self, form: Form) -> FlaskClient:
        return self.clients[form.kind]

    def forget(self) -> None:
        """Makes the gateway forget the sessions that it remembers for a second."""
        for client in self.clients:
            client.application.extensions["exchange"].forget(SECRET)

    def answer(self, rpc: str, answer: Any) -> None:
        for fakes in self.fakes:
            fakes.answers[rpc] = answer

    def refuse_writing(self, refusal: Exception) -> None:
        for rpc in OUTPUTS:
            if not rpc.startswith(READING_VERBS):
                self.answer(rpc, refusal)

    def send(
        self, form: Form, token: str = "", **fields: Any
    ) -> tuple[dict[str, Any], TestResponse]:
        data = form.filled() | ({"form_token": token} if token else {}) | fields
        return data, self.client(form).post(form.path, data=data)

    def token(self, secret: str, worker_id: str) -> str:
        with self.clients[0].application.test_request_context():
            return session.form_token_of(secret, worker_id)


@pytest.fixture(scope="module")
def forms_of_pages() -> list[Form]:
    """Every form of every page, once, including the pages that answer a form.

    Forms of public pages are those of a reader who has signed in.
    """
    forms: dict[tuple[str, tuple[str, ...]], Form] = {}
    for number, kind in enumerate(KINDS):
        client = enter(pages(kind()).test_client())

        def take(page: str, path: str, number: int = number) -> list[Form]:
            page_forms = [form for form in posted_forms(page, path) if form.path not in EXIT_PATHS]
            new_forms = [
                form for form in page_forms if (form.path, tuple(sorted(form.sent))) not in forms
            ]
            for form in new_forms:
                form.kind = number
                forms[form.path, tuple(sorted(form.sent))] = form
            return new_forms

        found_forms = [
            form
            for _, path in routes(client.application)
            for form in take(page_at(client, path), path)
        ]
        take(pages(kind()).test_client().get("/sign-in").text, "/sign-in")
        for form in found_forms:
            client.set_cookie("s", SECRET)
            answer = client.post(
                form.path, data=form.filled() | {"pin": "4821", "reference": "W43P-VWJF"}
            )
            take(answer.text if answer.mimetype == "text/html" else "", form.path)
            if form.path == "/search":
                take(client.post(form.path, data=form.sent | {"q": "W43P-VWJF"}).text, form.path)
        client.application.extensions["clients"].answers["SignIn"] = m.SignInResponse(
            challenge="c", asks_code=True
        )
        credentials = {
            "email": "a@b.demo",
            "password": "p",
            "form_token": found_forms[0].sent["form_token"],
        }
        take(client.post("/sign-in", data=credentials).text, "/sign-in")
    return list(forms.values())


@pytest.fixture
def site(forms_of_pages: list[Form]) -> Site:
    site = Site(forms_of_pages)
    for form in forms_of_pages:
        form.sent["form_token"] = [site.token(SECRET, signed_in().worker.id)]
    return site


def lost_fields(data: dict[str, Any], answer: TestResponse, path: str) -> list[str]:
    """Returns the typed or chosen fields that the answer's form with the same target lacks."""
    lost_by_form = []
    ignored = CARRIED | SECRETS | PAGE_FIELDS
    typed_fields = {
        name: values if isinstance(values, list) else [values]
        for name, values in data.items()
        if name not in ignored and any(values)
    }
    for form in posted_forms(answer.text, path):
        if form.path == path:
            lost_by_form.append(
                [
                    name
                    for name in typed_fields
                    if name not in form.secrets
                    and sorted(typed_fields[name]) != sorted(form.sent.get(name, []))
                ]
            )
    return min(lost_by_form, key=len, default=[*typed_fields])


def has_reason(page: str) -> bool:
    """Returns whether the page says why the form was refused."""
    return bool(re.search(r'data-refusal|role="alert"|class="error"', page))


def check(
    site: Site, send: Callable[[Form], tuple[dict[str, Any], TestResponse]], minimum: int
) -> None:
    """Sends every form; asserts that each refused form comes back with its fields and a reason."""
    faults, refused_count = {}, 0
    for form in site.forms:
        data, answer = send(form)
        if answer.status_code < 400:
            continue
        refused_count += 1
        lost_names = lost_fields(data, answer, form.path)
        if lost_names or not has_reason(answer.text):
            faults[form.path, answer.status_code] = lost_names or "no reason"
    assert faults == {}
    assert refused_count >= minimum


@pytest.mark.parametrize(
    "refusal",
    [
        errors.Stale(),
        errors.Reused(),
        errors.Conflict("person_erased"),
        errors.Invalid(("note", "too_long"), ("name", "too_long")),
        errors.NotFound(),
        errors.NotAllowed("right_missing"),
        errors.Exhausted("too_many_attempts", 90),
        errors.Unavailable("service_away"),
        errors.Unavailable("service_unreachable"),
        ServiceFault("INTERNAL"),
        RuntimeError("anything"),
    ],
    ids=repr,
)
def test_every_form_that_a_service_refuses_comes_back_as_it_was_sent(
    site: Site, refusal: Exception
) -> None:
    site.refuse_writing(refusal)
    check(site, site.send, 50)


def test_every_form_that_meets_an_unavailable_service_comes_back_as_it_was_sent(
    site: Site,
) -> None:
    for rpc in OUTPUTS:
        if rpc != "IssueToken":
            site.answer(rpc, errors.Unavailable("service_away"))
    check(site, site.send, 80)


def test_every_form_comes_back_though_its_sender_cannot_be_verified(site: Site) -> None:
    for rpc in OUTPUTS:
        site.answer(rpc, errors.Unavailable("service_away"))

    def send(form: Form) -> tuple[dict[str, Any], TestResponse]:
        site.forget()
        return site.send(form)

    check(site, send, 80)


def test_every_form_made_before_she_signed_in_again_comes_back_to_her(site: Site) -> None:
    former_token = site.token("the session before", ID)
    check(site, lambda form: site.send(form, former_token), 80)


def test_no_word_of_a_form_is_shown_to_another_account_and_its_writer_gets_it_back(
    site: Site,
) -> None:
    other_token = site.token("her session", OTHER_ID)
    unsealed_paths, lost_by_path = [], {}
    for form in site.forms:
        data, answer = site.send(form, other_token)
        assert answer.status_code == 403
        if WORDS in form.typed.values() and WORDS in html.unescape(answer.text):
            unsealed_paths.append(form.path)
        lost_names = lost_fields(data, sign_in_again(site, form, answer, OTHER_ID), form.path)
        if lost_names:
            lost_by_path[form.path] = lost_names
        site.client(form).set_cookie("s", SECRET)
    assert (unsealed_paths, lost_by_path) == ([], {})


@pytest.mark.parametrize("signed_out", [False, True], ids=["ended", "signed out in another tab"])
def test_every_form_sent_after_the_session_ended_is_kept_sealed_and_comes_back_to_its_writer(
    site: Site, signed_out: bool
) -> None:
    unsealed_paths, lost_by_path, kept_count = [], {}, 0

    def end_session(request: m.IssueTokenRequest) -> m.IssueTokenResponse:
        if request.session_secret == SECRET:
            raise errors.Unauthenticated("session_ended")
        return signed_in(*ALL_ROLES)

    site.answer("IssueToken", end_session)
    for form in site.forms:
        site.client(form).set_cookie("s", SECRET)
        if signed_out:
            site.client(form).delete_cookie("s")
        site.forget()
        data, answer = site.send(form)
        if answer.status_code not in (401, 403) or 'name="kept"' not in answer.text:
            continue  # a public page, which accepts the form or shows it again itself
        kept_count += 1
        if WORDS in html.unescape(answer.text):
            unsealed_paths.append(form.path)
        next_answer = sign_in_again(site, form, answer, signed_in().worker.id)
        if lost_names := lost_fields(data, next_answer, form.path):
            lost_by_path[form.path] = lost_names
    assert (unsealed_paths, lost_by_path) == ([], {})
    assert kept_count >= 60


def sign_in_again(site: Site, form: Form, page: TestResponse, worker_id: str) -> TestResponse:
    """Returns the answer after signing in on the page that keeps a form."""
    sealed_form = re.search(r'name="kept" value="([^"]*)"', page.text)
    site.answer("SignIn", m.SignInResponse(session_secret="fresh", worker=m.Worker(id=worker_id)))
    data = {
        "email": "a@b.demo",
        "password": "p",
        "form_token": token_of(page.text),
        "kept": html.unescape(sealed_form[1]) if sealed_form else "",
    }
    return site.client(form).post("/sign-in", data=data)


def test_no_password_pin_or_code_comes_back(site: Site) -> None:
    site.refuse_writing(errors.Unavailable("service_away"))
    secret, secrets_by_path = "el secreto de ella 4821", {}
    for form in site.forms:
        _, answer = site.send(form, **dict.fromkeys(form.secrets, secret))
        if answer.status_code >= 400 and secret in answer.text:
            secrets_by_path[form.path] = form.secrets
    assert secrets_by_path == {}
    assert {name for form in site.forms for name in form.secrets} >= {
        "password",
        "new_password",
        "again",
        "pin",
        "code",
        "client_secret",
    }


@pytest.mark.parametrize(
    "path", ["/entry", f"/entry/services/{ID}", f"/entry/places/{ID}", f"/line/{ID}"]
)
def test_text_typed_before_a_refusal_survives_a_conflict_at_the_next_sending(
    site: Site, path: str
) -> None:
    form = max((form for form in site.forms if form.path == path), key=lambda form: len(form.typed))
    site.refuse_writing(errors.Invalid(("name", "too_long")))
    _, refusal = site.send(form)
    second_form = next(
        other
        for other in posted_forms(refusal.text, path)
        if other.path == path and other.typed.keys() >= form.typed.keys()
    )
    site.refuse_writing(errors.Stale())
    answer = site.client(form).post(path, data=second_form.sent)
    assert answer.status_code == 412
    assert WORDS in html.unescape(answer.text)


def test_a_form_of_another_site_gets_no_form_of_ours_to_press(site: Site) -> None:
    form = next(form for form in site.forms if form.path == "/line/new")
    answer = site.client(form).post(
        form.path, data=form.filled(), headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert form.path not in {other.path for other in posted_forms(answer.text, "")}


def test_a_note_is_sent_whatever_changed_since_the_page_was_opened(site: Site) -> None:
    form = next(form for form in site.forms if form.path == f"/referrals/{ID}/do/add_note")
    _, answer = site.send(form, etag="v1")
    assert answer.status_code == 303
    assert site.fakes[form.kind].last("AddNote").note == WORDS


def test_every_target_of_a_form_is_covered_by_a_form_of_these_tests(site: Site) -> None:
    posts = {path for _, path in routes(site.clients[0].application, "POST")} - set(EXIT_PATHS)
    assert posts - {form.path for form in site.forms} - BUTTONS == set()


def test_every_form_that_is_sent_twice_repeats_its_requests(site: Site) -> None:
    def requests_of(form: Form) -> list[Any]:
        fakes = site.fakes[form.kind]
        fakes.calls.clear()
        site.send(form)
        return [
            request
            for _rpc, request, _ in fakes.calls
            if "request_id" in request.DESCRIPTOR.fields_by_name
        ]

    wrong_paths, request_count = [], 0
    for form in site.forms:
        first, second = requests_of(form), requests_of(form)
        request_count += len(first)
        if first != second or not all(request.request_id for request in first):
            wrong_paths.append(form.path)
    assert (wrong_paths, request_count > 50) == ([], True)


def test_enter_in_a_field_presses_no_button_that_chooses(site: Site) -> None:
    """A browser sends a form with its first button when somebody presses Enter in a field."""
    pressed_by_path = {}
    for form in site.forms:
        buttons = [attributes for tag, attributes in form.elements if tag == "button"]
        has_hidden_button = any("hidden" in button for button in buttons)
        if (form.typed or form.choices) and len(buttons) > 1 and not has_hidden_button:
            pressed_by_path[form.path] = buttons[0].get("name")
    chosen = {path: name for path, name in pressed_by_path.items() if name}
    assert chosen == {f"/referrals/{ID}/unsafe": "unsafe_look"}, "only a search"

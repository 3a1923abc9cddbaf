"""The calls of filled-in pages to the services, and the pages that show a refusal.

The pages are the home page, and the pages of sign-in, capacity, inbox, webhooks and invitations.
"""

import re

import pytest
from flask.testing import FlaskClient

from chassis import errors
from chassis.ids import short_code
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from services.notifications.domain.notices import NOTICES
from services.notifications.domain.webhook import FOR_PEOPLE_ALONE
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, SECRET, FakePageServices, missing, send

OTHER_ID = "f" * 32
SIGN_IN = {"email": "a", "password": "b"}
REFERENCE = {"reference": "7QK4-M2X7", "pin": "4821"}
ACCEPTANCE = {"token": "a-secret-of-a-link", "name": "Petrona", "password": "una clave muy larga"}


def test_a_wrong_password_keeps_the_email_and_says_what_to_do(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["SignIn"] = errors.Unauthenticated("sign_in_failed")
    answer = send(visitor, "/sign-in", email="rosa@x.demo", password="wrong")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
    assert missing(answer.text, 'value="rosa@x.demo"', 'role="alert"') == []
    assert "wrong" not in answer.text


@pytest.mark.parametrize(("seconds", "expected"), [(300, "5 minutos"), (5 * 3600, "5 horas")])
def test_a_refusal_after_too_many_attempts_says_how_long_to_wait(
    seconds: int, expected: str, fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["SignIn"] = errors.Exhausted("too_many_attempts", seconds)
    answer = send(visitor, "/sign-in", **SIGN_IN)
    assert (answer.status_code, expected in answer.text) == (429, True)


@pytest.mark.parametrize(
    ("form", "rpc", "refusal"),
    [
        ("/sign-in", "SignIn", errors.Unauthenticated("sign_in_failed")),
        ("/my-referral", "GetReferenceStatus", errors.Unauthenticated("reference_or_pin_wrong")),
    ],
)
def test_a_device_is_remembered_only_after_a_correct_sign_in_or_lookup(
    fakes: FakePageServices, visitor: FlaskClient, form: str, rpc: str, refusal: errors.Refusal
) -> None:
    usual_answer, fakes.answers[rpc] = fakes.answers[rpc], refusal
    assert "Set-Cookie" not in send(visitor, form, **SIGN_IN, **REFERENCE | {"pin": "0000"}).headers
    fakes.answers[rpc] = usual_answer
    send(visitor, form, **SIGN_IN, **REFERENCE)
    cookie = visitor.get_cookie("d")
    assert cookie is not None
    assert (len(cookie.value), cookie.max_age, cookie.http_only, cookie.same_site) == (
        43,
        180 * 24 * 3600,
        True,
        "Lax",
    )
    if form == "/sign-in":
        send(visitor, "/sign-out")
    send(visitor, "/my-referral", **REFERENCE)
    assert fakes.calls[-1][2].origin == {
        "client-address": "127.0.0.1",
        "client-device": cookie.value,
    }


@pytest.mark.parametrize(
    ("entry_path", "rpc"),
    [
        ("/sign-in/code", "FinishSignIn"),
        ("/sign-in/return?state=s&code=c", "FinishProviderSignIn"),
        ("/invitation", "AcceptInvitation"),
    ],
)
def test_each_sign_in_and_each_accepted_invitation_states_the_device_and_keeps_its_cookie(
    fakes: FakePageServices, visitor: FlaskClient, entry_path: str, rpc: str
) -> None:
    def enter() -> str:
        """Enters by `entry_path` on this device; returns the device secret that was sent."""
        answer = (
            visitor.get(entry_path)
            if "?" in entry_path
            else send(
                visitor,
                entry_path if entry_path == "/invitation" else "/sign-in",
                entry_path,
                **ACCEPTANCE,
            )
        )
        assert answer.status_code == 303
        call, _request, caller = fakes.calls[-1]
        assert call == rpc
        return str(caller.origin["client-device"])

    if rpc != "AcceptInvitation":
        fakes.answers[rpc] = m.SignInResponse(session_secret=SECRET, worker=m.Worker(id="w"))
    first = enter()
    cookie = visitor.get_cookie("d")
    assert cookie is not None
    assert (len(first), cookie.value) == (43, first)
    visitor.delete_cookie("s")
    assert enter() == first, "an account that is used here later is known to be used on this device"


def test_a_device_with_an_invalid_cookie_is_a_new_device(visitor: FlaskClient) -> None:
    visitor.set_cookie("d", "x; path=/")
    send(visitor, "/my-referral", **REFERENCE)
    cookie = visitor.get_cookie("d")
    assert cookie is not None
    assert len(cookie.value) == 43


def test_signing_out_ends_the_session_everywhere(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    assert send(client, "/today", "/sign-out").location == "/"
    assert fakes.last("EndSession").session_secret == SECRET
    assert client.get("/today").status_code == 302


def test_search_words_appear_in_no_url(fakes: FakePageServices, client: FlaskClient) -> None:
    answer = send(client, "/directory", words="albergue con niños", has_room="1", age="19")
    assert answer.status_code == 200
    request = fakes.last("SearchServices")
    assert (request.words, request.has_room, request.age) == ("albergue con niños", True, 19)
    assert "albergue" not in "".join(re.findall(r'href="([^"]*)"', answer.text))


def test_capacity_is_stated_with_one_tap(fakes: FakePageServices, client: FlaskClient) -> None:
    answer = send(client, f"/capacity/{ID}", intake="closed")
    assert answer.location == f"/capacity/{ID}?done=capacity"
    capacity = fakes.last("SetCapacity").capacity
    assert (capacity.intake, capacity.HasField("available")) == (d.INTAKE_CLOSED, False)


def test_the_page_of_free_places_does_not_promise_that_nobody_is_sent_to_a_full_service(
    client: FlaskClient,
) -> None:
    page = client.get(f"/capacity/{ID}").text
    sentences = ("en seis horas a más tardar", "puede llegarles una remisión", "le llegan solo")
    assert missing(page, *sentences) == ["le llegan solo"]


def test_more_free_places_than_the_total_are_refused_with_an_explanation(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SetCapacity"] = errors.Invalid(("capacity.available", "out_of_range"))
    answer = send(client, f"/capacity/{ID}", intake="open", available="99", maximum="12")
    assert (answer.status_code, answer.text.count("no pueden ser más que el total")) == (422, 2)


def test_a_number_of_free_places_that_cannot_be_read_is_refused(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    answer = send(client, f"/capacity/{ID}", intake="open", available="3 camas")
    assert (answer.status_code, fakes.requests("SetCapacity")) == (422, [])


def offer_beds(fakes: FakePageServices, available: int, intake: d.Intake.ValueType) -> None:
    """Sets the directory to one shelter with this capacity."""
    room = d.Capacity(unit=d.CAPACITY_UNIT_BEDS, available=available, maximum=12, intake=intake)
    shelter = d.Service(id=ID, etag="v7", name="Albergue", organization_id=ID, capacity=room)
    fakes.answers |= {
        "SearchServices": d.SearchServicesResponse(services=[shelter]),
        "GetService": shelter,
    }


def test_a_worker_who_says_that_there_is_room_after_a_full_night_does_not_state_zero_places(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    offer_beds(fakes, 0, d.INTAKE_CLOSED)
    assert sent_fields(client.get(f"/capacity/{ID}").text)["available"] == "0"
    send(client, f"/capacity/{ID}", intake="open", available="0", maximum="12")
    capacity = fakes.last("SetCapacity").capacity
    assert (capacity.intake, capacity.HasField("available")) == (d.INTAKE_OPEN, False)
    send(client, f"/capacity/{ID}", intake="waitlist", available="0", maximum="12")
    assert fakes.last("SetCapacity").capacity.HasField("available")
    form = {"available": "0", "maximum": "12", "intake": "open", "back": "today"}
    send(client, "/today", f"/capacity/{ID}", **form)
    assert fakes.last("SetCapacity").capacity.HasField("available"), "still full"


def test_one_bed_fewer_counts_from_the_number_that_was_shown(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    offer_beds(fakes, 3, d.INTAKE_OPEN)
    page = client.get("/today").text
    assert re.search(r'name="etag" value="v7">.*?name="available" value="2">', page, re.DOTALL)
    form = {"etag": "v7", "available": "2", "maximum": "12", "intake": "open", "back": "today"}
    assert send(client, "/today", f"/capacity/{ID}", **form).location == "/today?done=capacity"
    request = fakes.last("SetCapacity")
    assert (request.etag, request.capacity.available) == ("v7", 2)
    fakes.answers["SetCapacity"] = errors.Stale()
    refusal = send(client, "/today", f"/capacity/{ID}", **form)
    assert (refusal.status_code, "Otra persona acaba de decirlo" in refusal.text) == (422, True)


@pytest.mark.parametrize(
    ("intake", "available", "expected"),
    [
        (d.INTAKE_WAITLIST, 0, "waitlist"),
        (d.INTAKE_CLOSED, 3, "closed"),
        (d.INTAKE_OPEN, 3, "open"),
        (d.INTAKE_OPEN, 1, "open"),
        (d.INTAKE_UNSPECIFIED, 0, "closed"),
    ],
)
def test_confirming_the_number_of_beds_changes_nothing_else(
    fakes: FakePageServices,
    client: FlaskClient,
    intake: d.Intake.ValueType,
    available: int,
    expected: str,
) -> None:
    offer_beds(fakes, available, intake)
    page = client.get("/today").text
    values = re.findall(r'name="intake" value="(\w+)">', page)
    assert values[-1] == expected, "the button that confirms"
    if available:
        assert values[0] == expected, "one bed fewer neither opens nor closes a shelter"
    assert (">Sin lugar</b>" in page) == (intake == d.INTAKE_CLOSED)


def test_a_webhook_receives_the_ticked_kinds_or_all(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    ticked_kinds = ["referral_sent", "clock_breached"]
    send(client, "/webhooks", url="https://sistema.example/enlace", kinds=ticked_kinds)
    send(client, "/webhooks", url="https://sistema.example/enlace")
    kinds = [list(request.webhook.kinds) for request in fakes.requests("CreateWebhook")]
    assert kinds == [ticked_kinds, []]
    offered_kinds = re.findall(r'name="kinds" value="(\w+)"', client.get("/webhooks").text)
    assert set(offered_kinds) == {notice.kind for notice in NOTICES} - FOR_PEOPLE_ALONE


@pytest.mark.parametrize("field", ["referral_id", "enquiry_id"])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_notice_shows_the_code_of_the_referral_or_enquiry_that_it_is_about(
    field: str, is_read: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    message = n.Message(id=ID, kind="referral_sent", text="Algo")
    setattr(message, field, ID)
    if is_read:
        message.read_time.seconds = 1
    fakes.answers["ListMessages"] = n.ListMessagesResponse(messages=[message])
    page = client.get("/inbox").text
    assert f'<span class="code">{short_code(ID)}</span>' in page
    assert f'Abrir<span class="unseen"> {short_code(ID)}</span>' in page


@pytest.mark.parametrize(
    "kind", [notice.kind for notice in NOTICES if notice.fact.startswith(("contact.", "callback."))]
)
def test_a_notice_about_the_line_leads_to_its_contacts_and_calls(
    kind: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    message = n.Message(id=ID, kind=kind, text="Algo", organization_id=ID)
    fakes.answers["ListMessages"] = n.ListMessagesResponse(messages=[message])
    page = client.get("/inbox").text
    assert f'name="kind" value="{kind}"' in page
    assert '<p class="mute">Casa Puentes</p>' in page, "the line to be called"
    assert send(client, "/inbox", f"/inbox/{ID}/read", kind=kind).location == "/line"


def test_the_first_page_opens_when_the_directory_is_down(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["ListHotlines"] = errors.Unavailable("service_unreachable")
    answer = visitor.get("/")
    assert (answer.status_code, "Ahora no podemos mostrar los números" in answer.text) == (
        200,
        True,
    )


def test_the_numbers_can_be_dialled_and_the_number_of_the_visitors_country_comes_first(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    lines = [
        d.Hotline(country=country, number=number)
        for country, number in (("CR", "911"), ("NI", "133"), ("PE", "000-1334"))
    ]
    fakes.answers["ListHotlines"] = d.ListHotlinesResponse(hotlines=lines)
    for languages, expected in (
        ("es", ["133", "911", "000-1334"]),
        ("es-NI", ["133", "911", "000-1334"]),
        ("zh-Hans", ["133", "911", "000-1334"]),
        ("es-CR,es;q=0.9", ["911", "133", "000-1334"]),
    ):
        page = visitor.get("/", headers={"Accept-Language": languages}).text
        assert re.findall(r'href="tel:([\d-]+)"', page) == expected, languages
    assert visitor.get("/").text.count("de demostración: no contesta") == 1


def test_calls_to_services_are_made_in_the_workers_name_and_language(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    client.get("/people?lang=fr")
    caller = next(caller for rpc, _, caller in reversed(fakes.calls) if rpc == "ListPeople")
    assert (caller.tokens["enlace.referrals"], caller.language) == ("t", "fr")
    assert caller.request_id


def make_member(fakes: FakePageServices) -> d.Organization:
    """Makes the organisation of the page an approved member without a manager; returns it."""
    organization = fakes.answers["GetOrganization"]
    assert isinstance(organization, d.Organization)
    organization.id, organization.has_manager = OTHER_ID, False
    organization.status = d.ORGANIZATION_STATUS_APPROVED
    return organization


def test_a_coordinator_invites_the_first_manager_of_a_member_that_has_none(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    organization = make_member(fakes)
    page = f"/directory/organizations/{OTHER_ID}"
    answer = send(
        client, page, f"{page}/invite", email=" directora@casa.example ", invited_language="fr"
    )
    assert (answer.status_code, "done=invited" in answer.location) == (303, True)
    request = fakes.last("CreateInvitation")
    invitation = request.invitation
    assert (invitation.organization_id, invitation.email, invitation.language) == (
        OTHER_ID,
        "directora@casa.example",
        "fr",
    )
    assert list(invitation.roles) == [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER]
    assert request.request_id
    for status, has_manager, registered_by, has_form in (
        (d.ORGANIZATION_STATUS_PROBATION, False, OTHER_ID, True),
        (d.ORGANIZATION_STATUS_APPROVED, True, OTHER_ID, False),
        (d.ORGANIZATION_STATUS_SUSPENDED, False, OTHER_ID, False),
        # the coordinator who registered the member cannot invite its manager
        (d.ORGANIZATION_STATUS_PROBATION, False, ID, False),
    ):
        organization.status, organization.has_manager = status, has_manager
        organization.registered_by_worker_id = registered_by
        assert (f"{page}/invite" in client.get(page).text) is has_form, (status, has_manager)


@pytest.mark.parametrize(
    ("page", "action"),
    [
        ("/members", "/members/workers"),
        (f"/directory/organizations/{OTHER_ID}", f"/directory/organizations/{OTHER_ID}/invite"),
    ],
)
def test_without_email_the_page_offers_paper_and_shows_the_link_once(
    fakes: FakePageServices, client: FlaskClient, page: str, action: str
) -> None:
    make_member(fakes)
    form = {
        "email": "nueva@casa.example",
        "language": "es",
        "invited_language": "es",
        "roles": "worker",
    }
    assert "on_paper" not in client.get(page).text
    fakes.answers["CreateInvitation"] = errors.Conflict("no_mail")
    refusal = send(client, page, action, **form)
    assert (
        refusal.status_code,
        missing(refusal.text, "Esta red no envía correos", 'name="on_paper"'),
    ) == (422, [])
    link = "https://enlace.example/invitation#" + "s" * 43
    fakes.answers["CreateInvitation"] = m.Invitation(id=ID, organization_id=OTHER_ID, link=link)
    answer = send(client, page, action, on_paper="1", **form)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert fakes.last("CreateInvitation").invitation.on_paper
    assert missing(answer.text, link, "<svg") == []


@pytest.mark.parametrize(
    ("refusal", "status", "sentence"),
    [
        (errors.Unauthenticated("invitation_invalid"), 401, "Esta invitación no sirve"),
        (
            errors.Conflict("email_taken"),
            409,
            "Ya tiene una cuenta con este correo en otra organización",
        ),
        (errors.Conflict("manager_exists"), 409, "ya tiene quien la dirige"),
        (errors.Invalid(("password", "too_short")), 422, "es demasiado corto"),
    ],
)
def test_a_refused_acceptance_of_an_invitation_says_why_and_keeps_all_but_the_password(
    fakes: FakePageServices,
    visitor: FlaskClient,
    refusal: errors.Refusal,
    status: int,
    sentence: str,
) -> None:
    fakes.answers["AcceptInvitation"] = refusal
    answer = send(visitor, "/invitation", **ACCEPTANCE)
    assert (answer.status_code, sentence in answer.text) == (status, True)
    assert missing(answer.text, "Petrona", "una clave muy larga") == ["una clave muy larga"]
    assert "Set-Cookie" not in answer.headers
    request = fakes.last("AcceptInvitation")
    assert {name: getattr(request, name) for name in ACCEPTANCE} == ACCEPTANCE


def test_an_accepted_invitation_leads_to_the_sign_in_without_its_secret(
    visitor: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = send(visitor, "/invitation", **ACCEPTANCE)
    assert (answer.status_code, answer.location) == (303, "/sign-in?done=account")
    assert "a-secret-of-a-link" not in str(answer.headers) + "".join(capsys.readouterr())
    assert "Su cuenta está lista" in visitor.get(answer.location).text

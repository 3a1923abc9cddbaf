"""The pages' calls to the services when a person fills them in, and what a refusal shows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from google.protobuf import timestamp_pb2
from werkzeug.test import TestResponse

from chassis import errors
from chassis.ids import short_code
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n, vocabulary
from services.notifications.domain.notices import NOTICES
from services.referrals.line.domain.triage import Triage
from tests.gateway.api_gateway import ID
from tests.gateway.inbox_kinds import FOR_PEOPLE_ALONE
from tests.gateway.pages_gateway import (
    SECRET,
    PlayedServices,
    enter,
    pages,
    referral,
    signed_in,
    token_of,
)


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


@pytest.fixture
def worker(played: PlayedServices) -> FlaskClient:
    """A browser of a worker who has no other role."""
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER)
    return enter(pages(played).test_client(), "a-worker")


def send(client: FlaskClient, form: str, to: str = "", **fields: object) -> TestResponse:
    """Opens the page with the form and sends it, filled in."""
    page = client.get(form).text
    request_id = re.search(r'name="request_id" value="([^"]+)"', page)
    data = {
        "form_token": token_of(page),
        "request_id": request_id[1] if request_id else "",
        "etag": "e1",
        **fields,
    }
    return client.post(to or form, data=data)


def asked(played: PlayedServices, rpc: str) -> int:
    return sum(rpc == one for one, _, _ in played.asked)


@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER])
@pytest.mark.parametrize(
    ("verb", "expected"),
    [("side_out", "quedó suspendida o se retiró: "), ("side_back", "está otra vez en la red: ")],
)
def test_a_member_whose_standing_changed_is_named_to_either_side(
    played: PlayedServices, client: FlaskClient, side: r.Side.ValueType, verb: str, expected: str
) -> None:
    away = "c" * 32
    named = played.answers["BatchGet"]
    assert isinstance(named, d.BatchGetResponse)
    named.organizations.append(d.Organization(id=away, name="Luna Nueva"))
    events = [
        r.ReferralEvent(
            version=2,
            verb=verb,
            actor_kind=r.ACTOR_KIND_SYSTEM,
            actor_id="members",
            actor_organization_id=each,
        )
        for each in (away, ID)
    ]
    played.answers |= {
        "GetReferral": referral(side=side),
        "ListReferralEvents": r.ListReferralEventsResponse(events=events),
    }
    page = client.get(f"/referrals/{ID}").text
    assert (expected + "Luna Nueva" in page, expected + "Casa Puentes" in page) == (True, True)
    assert "La otra organización" not in page[page.index('id="timeline"') :]


def test_a_wrong_password_keeps_the_email_and_says_what_to_do(played: PlayedServices) -> None:
    client = pages(played).test_client()
    played.answers["SignIn"] = errors.Unauthenticated("sign_in_failed")
    answer = send(client, "/sign-in", email="rosa@x.demo", password="wrong")
    assert answer.status_code == 401
    assert 'value="rosa@x.demo"' in answer.text
    assert "wrong" not in answer.text
    assert 'role="alert"' in answer.text
    assert "Set-Cookie" not in answer.headers


def test_too_many_attempts_say_how_long_to_wait(played: PlayedServices) -> None:
    client = pages(played).test_client()
    played.answers["SignIn"] = errors.Exhausted("too_many_attempts", 300)
    answer = send(client, "/sign-in", email="a", password="b")
    assert answer.status_code == 429
    assert "5 minutos" in answer.text
    played.answers["SignIn"] = errors.Exhausted("too_many_attempts", 5 * 3600)
    assert "5 horas" in send(client, "/sign-in", email="a", password="b").text


@pytest.mark.parametrize(
    ("form", "rpc", "refusal"),
    [
        ("/sign-in", "SignIn", errors.Unauthenticated("sign_in_failed")),
        ("/my-referral", "GetReferenceStatus", errors.Unauthenticated("reference_or_pin_wrong")),
    ],
)
def test_a_device_is_remembered_only_after_a_correct_sign_in_or_lookup(
    played: PlayedServices, form: str, rpc: str, refusal: errors.Refusal
) -> None:
    client, right = pages(played).test_client(), played.answers[rpc]
    played.answers[rpc] = refusal
    assert (
        "Set-Cookie"
        not in send(
            client, form, reference="7QK4-M2X7", pin="0000", email="a", password="b"
        ).headers
    )
    played.answers[rpc] = right
    send(client, form, reference="7QK4-M2X7", pin="4821", email="a", password="b")
    stored = client.get_cookie("d")
    assert stored is not None
    assert (len(stored.value), stored.max_age, stored.http_only, stored.same_site) == (
        43,
        180 * 24 * 3600,
        True,
        "Lax",
    )
    send(client, "/sign-out") if form == "/sign-in" else None
    send(client, "/my-referral", reference="7QK4-M2X7", pin="4821")
    assert played.asked[-1][2].origin == {
        "client-address": "127.0.0.1",
        "client-device": stored.value,
    }


def test_a_device_with_an_invalid_cookie_is_a_new_device(played: PlayedServices) -> None:
    client = pages(played).test_client()
    client.set_cookie("d", "x; path=/")
    send(client, "/my-referral", reference="7QK4-M2X7", pin="4821")
    stored = client.get_cookie("d")
    assert stored is not None
    assert len(stored.value) == 43


def test_signing_out_ends_the_session_everywhere(
    played: PlayedServices, client: FlaskClient
) -> None:
    assert send(client, "/today", "/sign-out").headers["Location"] == "/"
    assert played.last("EndSession").session_secret == SECRET
    assert client.get("/today").status_code == 302


def test_a_contact_is_recorded_and_questions_not_asked_stay_open(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["CreateContact"] = c.CreateContactResponse(
        contact=c.Contact(id=ID, etag="1", urgency=r.URGENCY_EMERGENCY),
        reference="W43P-VWJF",
        pin="4821",
    )
    answer = send(
        client,
        "/line/new",
        danger_now="no",
        safe_place_tonight="no",
        safe_to_talk="did_not_say",
        kind_code="crisis",
        pin="4821",
    )
    request = played.last("CreateContact")
    assert request.contact.triage == c.Triage(
        danger_now=c.ANSWER_NO, safe_place_tonight=c.ANSWER_NO, safe_to_talk=c.ANSWER_DID_NOT_SAY
    )
    assert (request.contact.line_country, request.contact.outcome_code, request.pin) == (
        "NI",
        c.CONTACT_OUTCOME_OPEN,
        "4821",
    )
    assert request.request_id
    assert answer.status_code == 200, (
        "reference and PIN are in this answer only, so there is no redirect"
    )
    assert "W43P-VWJF" in answer.text
    assert "4821" in answer.text
    assert f"/referrals/new?contact={ID}" in answer.text


def test_the_end_of_a_line_counts_as_one_character_as_in_the_browsers_limit(
    played: PlayedServices, client: FlaskClient
) -> None:
    send(client, f"/line/{ID}", note="uno\r\ndos\r\n")
    assert played.last("UpdateContact").contact.note == "uno\ndos"


NO_SUCH_CODE = "ese código no existe; pregúntelo otra vez, o déjelo vacío"


def test_a_contact_with_an_unknown_code_of_a_poster_is_saved_without_the_code(
    played: PlayedServices, client: FlaskClient
) -> None:
    def create(request: c.CreateContactRequest) -> c.CreateContactResponse:
        if request.contact.placement_code:
            raise errors.Invalid(("contact.placement_code", "malformed"))
        return c.CreateContactResponse(
            contact=c.Contact(id=ID, etag="1", update_time=LATER),
            reference="W43P-VWJF",
            pin="4821",
        )

    played.answers["CreateContact"] = create
    created = send(client, "/line/new", danger_now="yes", placement_code="ZZZZ")
    assert (created.status_code, "W43P-VWJF" in created.text) == (200, True)
    assert created.text.count(NO_SUCH_CODE) == 3, (
        "in the summary, beside the time, and at the field"
    )
    assert 'name="placement_code" type="text" value="ZZZZ"' in created.text

    def update(request: c.UpdateContactRequest) -> c.Contact:
        if request.contact.placement_code:
            raise errors.Invalid(("contact.placement_code", "malformed"))
        return c.Contact(id=ID, etag="2")

    played.answers["UpdateContact"] = update
    played.answers["GetContact"] = c.Contact(id=ID, etag="2")
    saved = send(client, f"/line/{ID}", note="llama sola", placement_code="ZZZZ")
    request = played.last("UpdateContact")
    assert (request.contact.note, saved.status_code) == ("llama sola", 200)
    assert (NO_SUCH_CODE in saved.text, 'name="etag" value="2"' in saved.text) == (True, True)


def test_a_contact_is_not_saved_without_its_code_if_anything_else_is_wrong(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["UpdateContact"] = errors.Invalid(
        ("contact.placement_code", "malformed"), ("contact.note", "too_long")
    )
    answer = send(client, f"/line/{ID}", placement_code="ZZZZ")
    assert (answer.status_code, "Guardado" in answer.text) == (422, False)
    assert asked(played, "UpdateContact") == 1


@pytest.mark.parametrize("path", ["/line/new", f"/line/{ID}"])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ayer a las 8", "escriba el día y la hora así: 2026-11-29 14:30"),
        ("0026-11-29T14:30", "está fuera de lo permitido; revise la cifra o la fecha"),
    ],
)
def test_a_time_of_an_assault_that_cannot_be_read_is_refused_at_its_field(
    played: PlayedServices, client: FlaskClient, path: str, typed: str, expected: str
) -> None:
    refused = send(client, path, danger_now="yes", note="llama sola", assault_time=typed)
    assert (refused.status_code, refused.text.count(expected)) == (422, 2)
    assert 'href="#assault_time"' in refused.text
    assert 'name="etag" value="e1"' in refused.text, "what a colleague saved is not replaced unseen"
    assert (typed in refused.text, "llama sola</textarea>" in refused.text) == (True, True)
    assert asked(played, "CreateContact") + asked(played, "UpdateContact") == 0


@pytest.mark.parametrize(
    ("language", "expected"), [("es", "Sin valorar"), ("en", "Not assessed"), ("fr", "Non évaluée")]
)
def test_a_contact_that_was_not_assessed_is_never_called_normal(
    played: PlayedServices, client: FlaskClient, language: str, expected: str
) -> None:
    unknown = c.Contact(id=ID, etag="1", outcome_code=c.CONTACT_OUTCOME_OPEN, reference_hint="7K")
    played.answers["ListContacts"] = c.ListContactsResponse(contacts=[unknown])
    played.answers["GetContact"] = unknown
    played.answers["ListReferrals"] = r.ListReferralsResponse()
    played.answers["ListEnquiries"] = e.ListEnquiriesResponse()
    for page in ("/line", "/line/new", f"/line/{ID}"):
        page_text = client.get(f"{page}?lang={language}").text
        assert expected in page_text
        assert ">Normal" not in page_text


@pytest.mark.parametrize("urgency", [r.URGENCY_IMMEDIATE, r.URGENCY_NORMAL])
def test_an_immediate_contact_offers_the_referral_where_its_questions_stop(
    urgency: r.Urgency.ValueType, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetContact"] = c.Contact(id=ID, urgency=urgency)
    note = client.get(f"/line/{ID}").text.partition('id="enough">')[2].partition("</div>")[0]
    assert (f'href="/referrals/new?contact={ID}"' in note) == (urgency == r.URGENCY_IMMEDIATE)


def test_contacts_that_nobody_assessed_are_on_top_of_the_queue(
    played: PlayedServices, client: FlaskClient
) -> None:
    advised, is_open = c.CONTACT_OUTCOME_ADVISED, c.CONTACT_OUTCOME_OPEN
    contacts = [
        c.Contact(id="1" * 32, outcome_code=advised, urgency=r.URGENCY_UNSPECIFIED),
        c.Contact(id="2" * 32, outcome_code=is_open, urgency=r.URGENCY_NORMAL),
        c.Contact(id="3" * 32, outcome_code=is_open, urgency=r.URGENCY_IMMEDIATE),
        c.Contact(id="4" * 32, outcome_code=is_open),
        c.Contact(id="5" * 32, outcome_code=advised, urgency=r.URGENCY_IMMEDIATE),
    ]
    played.answers["ListContacts"] = lambda request: c.ListContactsResponse(
        contacts=[
            contact
            for contact in contacts
            if request.outcome_code in (c.CONTACT_OUTCOME_UNSPECIFIED, contact.outcome_code)
        ]
    )
    rows = re.findall(r'<h3><a href="/line/(\d)\1+"', client.get("/line").text)
    assert rows == ["4", "3", "2", "1", "5"]
    assert re.findall(r'<h3><a href="/line/(\d)\1+"', client.get("/today").text) == [
        "4",
        "3",
        "2",
    ], "open contacts come first"


def test_a_contact_shows_its_requests_and_what_to_do_about_those_that_came_back(
    played: PlayedServices, client: FlaskClient
) -> None:
    back = r.Referral(
        id="b" * 32,
        code="4BGZ42",
        state=r.STATE_DECLINED,
        side=r.SIDE_SENDER,
        main_step="refer_again",
        unanswered=True,
    )
    played.answers["ListReferrals"] = r.ListReferralsResponse(referrals=[back])
    page_text = client.get(f"/line/{ID}").text
    assert played.last("ListReferrals").filter == r.ReferralFilter(box=r.BOX_OUTBOX, contact_id=ID)
    block = page_text[
        page_text.index('id="referrals"') : page_text.index(
            "</section>", page_text.index('id="referrals"')
        )
    ]
    assert {f"/referrals/{'b' * 32}", f"/referrals/{'b' * 32}/reroute"} <= set(
        re.findall(r'href="([^"?#]+)', block)
    )
    assert "No la pudieron recibir" in block
    played.answers["ListReferrals"] = r.ListReferralsResponse()
    assert 'id="referrals"' not in client.get(f"/line/{ID}").text
    before = len(played.asked)
    assert 'id="referrals"' not in client.get("/line/new").text
    assert "ListReferrals" not in {rpc for rpc, _, _ in played.asked[before:]}


def test_a_step_is_taken_on_the_version_that_was_seen(
    played: PlayedServices, client: FlaskClient
) -> None:
    answer = send(
        client,
        f"/referrals/{ID}",
        f"/referrals/{ID}/do/accept",
        planned_first_contact_time="2026-12-01T08:30",
    )
    assert answer.headers["Location"] == f"/referrals/{ID}?done=accept"
    request = played.last("AcceptReferral")
    assert (request.id, request.etag) == (ID, "e1")
    assert request.planned_first_contact_time.ToJsonString() == "2026-12-01T14:30:00Z"


def test_a_receiver_who_is_asked_for_news_finds_the_form_for_news_first(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = r.Referral(
        id=ID,
        etag="e1",
        state=r.STATE_IN_PROGRESS,
        side=r.SIDE_RECEIVER,
        main_step="add_note",
        allowed_verbs=["add_note", "complete"],
    )
    assert re.search(
        r'<details class="first" id="form-add_note"><summary>Dar noticias</summary><form'
        r' method="post" id="add_note"',
        client.get(f"/referrals/{ID}").text,
    )
    assert (
        'href="#add_note-note"'
        in send(client, f"/referrals/{ID}", f"/referrals/{ID}/do/add_note").text
    )
    answer = send(client, f"/referrals/{ID}", f"/referrals/{ID}/do/add_note", note="Está bien")
    assert answer.headers["Location"] == f"/referrals/{ID}?done=add_note"
    assert played.last("AddNote").note == "Está bien"


def test_a_receiver_sees_yes_and_no_before_all_other_steps(
    played: PlayedServices, client: FlaskClient
) -> None:
    steps = ["accept", "ask", "waitlist", "decline", "add_note"]
    played.answers["GetReferral"] = r.Referral(
        id=ID,
        state=r.STATE_ACKNOWLEDGED,
        side=r.SIDE_RECEIVER,
        main_step="accept",
        allowed_verbs=steps,
    )
    page = client.get(f"/referrals/{ID}").text
    assert re.findall(r'<details[^>]* id="form-(\w+)"', page)[:2] == ["accept", "decline"]
    assert page.index('id="form-decline"') < page.index("Más…")
    bar = page.partition('class="stick"')[2]
    assert ">Aceptar<" in bar
    assert ">No podemos recibirla<" in bar


@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER, r.SIDE_NETWORK])
def test_the_number_of_the_service_cannot_be_taken_for_her_own(
    side: r.Side.ValueType, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=ID, phone="+50500000102")]
    )
    played.answers["GetReferral"] = r.Referral(
        id=ID, service_id=ID, state=r.STATE_ACKNOWLEDGED, side=side
    )
    page = client.get(f"/referrals/{ID}").text
    assert ("+50500000102" in page) == (side != r.SIDE_RECEIVER), "nobody calls herself"
    assert "<dt>Teléfono</dt>" not in page
    assert ("Teléfono del servicio" in page) == (side != r.SIDE_RECEIVER)


def test_a_step_without_a_required_field_comes_back_with_the_error_at_the_field(
    played: PlayedServices, client: FlaskClient
) -> None:
    answer = send(client, f"/referrals/{ID}", f"/referrals/{ID}/do/decline", note="Llena")
    assert answer.status_code == 422
    assert 'href="#decline-reason_code"' in answer.text
    assert 'aria-describedby="reason_code-error"' in answer.text
    assert "Llena</textarea>" in answer.text
    assert "DeclineReferral" not in {rpc for rpc, _, _ in played.asked}


def test_another_reason_has_to_be_explained_and_is_then_shown_without_the_instruction(
    played: PlayedServices, client: FlaskClient
) -> None:
    assert "Otro motivo (explíquelo)" in client.get(f"/referrals/{ID}").text
    played.answers["GetReferral"] = r.Referral(
        id=ID, state=r.STATE_DECLINED, side=r.SIDE_SENDER, reason_code="other"
    )
    page_text = client.get(f"/referrals/{ID}").text
    assert "Motivo: Otro motivo</p>" in page_text
    assert "explíquelo" not in page_text


def received(state: r.State.ValueType, *allowed_verbs: str) -> r.Referral:
    """Returns a referral as its receiver sees it."""
    return r.Referral(
        id=ID,
        etag="e1",
        need_code="HOU.EMG",
        state=state,
        side=r.SIDE_RECEIVER,
        allowed_verbs=allowed_verbs,
    )


def test_a_review_that_is_promised_for_a_day_is_not_late_before_that_day_is_over(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = received(r.STATE_ACKNOWLEDGED, "waitlist")
    send(
        client,
        f"/referrals/{ID}",
        f"/referrals/{ID}/do/waitlist",
        expected_wait_days="3",
        review_time="2026-12-05",
    )
    promised = played.last("WaitlistReferral").review_time
    assert promised.ToJsonString() == "2026-12-06T05:59:00Z", "the end of the day in Managua"


def test_the_form_that_ends_the_help_assumes_no_help_and_keeps_what_was_ticked(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = received(r.STATE_IN_PROGRESS, "complete")
    played.answers["CompleteReferral"] = errors.Invalid(("delivered_need_codes", "contradicts"))
    ticked = re.compile(r'name="delivered_need_codes" value="([^"]*)" checked')
    assert not ticked.findall(client.get(f"/referrals/{ID}").text)
    answer = send(
        client,
        f"/referrals/{ID}",
        f"/referrals/{ID}/do/complete",
        outcome_code="not_met",
        delivered_need_codes=["HOU.EMG"],
    )
    assert ticked.findall(answer.text) == ["HOU.EMG"]
    assert "si no se resolvió, no se dio ninguna" in answer.text


@pytest.mark.parametrize(
    ("step", "rpc", "field", "expected"),
    [
        ("schedule_appointment", "ScheduleAppointment", "appointment_time", "en los próximos 90"),
        ("waitlist", "WaitlistReferral", "review_time", "elija un día desde hoy"),
        ("accept", "AcceptReferral", "planned_first_contact_time", "elija un día desde hoy"),
    ],
)
def test_a_time_that_is_not_possible_is_refused_with_what_is(
    played: PlayedServices, client: FlaskClient, step: str, rpc: str, field: str, expected: str
) -> None:
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="e1", side=r.SIDE_RECEIVER, allowed_verbs=[step]
    )
    played.answers[rpc] = errors.Invalid((field, "out_of_range"))
    answer = send(
        client,
        f"/referrals/{ID}",
        f"/referrals/{ID}/do/{step}",
        expected_wait_days="3",
        **{field: "2020-01-02T10:00"},
    )
    assert (answer.status_code, answer.text.count(expected)) == (422, 2)
    assert "fuera de lo permitido" not in answer.text


def test_a_step_that_came_too_late_shows_the_present_state(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["AcknowledgeReferral"] = errors.Conflict("illegal_transition")
    answer = send(client, f"/referrals/{ID}", f"/referrals/{ID}/do/acknowledge")
    assert answer.status_code == 422
    assert "Alguien ya dio este paso" in answer.text


def test_no_made_up_verb_reaches_a_service(client: FlaskClient) -> None:
    assert send(client, f"/referrals/{ID}", f"/referrals/{ID}/do/approve").status_code == 404


def test_an_identity_is_shown_only_in_the_answer_that_opened_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["OpenPerson"] = p.Identity(given_name="Marisol", opened=[p.FIELD_GROUP_IDENTITY])
    answer = send(
        client,
        f"/referrals/{ID}",
        f"/referrals/{ID}/open",
        field_groups=["identity"],
        purpose_code="HOU.EMG",
    )
    assert "Marisol" in answer.text
    request = played.last("OpenPerson")
    assert (request.purpose_code, request.referral_id, list(request.field_groups)) == (
        "HOU.EMG",
        ID,
        [p.FIELD_GROUP_IDENTITY],
    )
    assert "Marisol" not in client.get(f"/referrals/{ID}").text


@pytest.mark.parametrize(("live", "receipt_live"), [(True, True), (True, False), (False, True)])
def test_a_receiver_may_open_what_the_receipt_names_while_referral_and_receipt_are_live(
    live: bool, receipt_live: bool, played: PlayedServices, worker: FlaskClient
) -> None:
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", side=r.SIDE_RECEIVER, person_id=ID, receipt_id=ID, live=live
    )
    played.answers["GetReceipt"] = p.Receipt(
        id=ID, field_groups=[p.FIELD_GROUP_HEALTH], live=receipt_live
    )
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse()
    page = worker.get(f"/referrals/{ID}").text
    assert ('value="health"' in page) == (live and receipt_live)
    assert ("Ahora no hay datos" in page) == (not (live and receipt_live))
    assert 'value="identity"' not in page


LATER = timestamp_pb2.Timestamp(seconds=1)


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (p.Receipt(giver_code=p.GIVER_PERSON), "Se abre solo lo que ella autorizó"),
        (p.Receipt(giver_code=p.GIVER_BEST_INTEREST), "Ella no dio el permiso"),
        (
            p.Receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK, confirm_time=LATER),
            "otra persona lo confirmó",
        ),
        (
            p.Receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
            "Hasta que otra persona lo confirme se abren solo su nombre de pila",
        ),
    ],
)
def test_the_page_states_on_what_ground_her_data_open(
    played: PlayedServices, worker: FlaskClient, receipt: p.Receipt, expected: str
) -> None:
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", side=r.SIDE_RECEIVER, person_id=ID, receipt_id=ID, live=True
    )
    own_receipt = p.Receipt(
        id=ID, field_groups=[p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH], live=True
    )
    own_receipt.MergeFrom(receipt)
    played.answers["GetReceipt"] = own_receipt
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse()
    page = worker.get(f"/referrals/{ID}").text
    unconfirmed = "nombre de pila" in expected
    assert expected in page
    assert ("lo que ella autorizó" in page) is (receipt.giver_code == p.GIVER_PERSON)
    assert ('value="health"' in page, "Acceso de emergencia" in page) == (
        not unconfirmed,
        unconfirmed,
    )


def test_a_reader_who_may_open_no_data_is_not_offered_to_open_any(
    played: PlayedServices, worker: FlaskClient
) -> None:
    page = f"/referrals/{ID}"
    assert f"{page}/open" in worker.get(page).text
    steering = enter(pages(PlayedServices()).test_client())
    assert f"{page}/open" not in steering.get(page).text, "coordinators and auditors open nothing"
    played.answers["BatchGet"].organizations[0].status = d.ORGANIZATION_STATUS_PROBATION  # type: ignore[union-attr]
    text = worker.get(page).text
    assert f"{page}/open" not in text
    assert "Su organización está en período de prueba" in text


PLAN = p.SafeContact(
    channel_code=p.SAFE_CHANNEL_PHONE,
    hours="de 9 a 11",
    code_word="tía Chepa",
    never_say="Enlace",
    message_may_be_left=True,
)


def test_how_she_may_be_called_comes_before_the_steps_and_sealed_details_take_one_press(
    played: PlayedServices, worker: FlaskClient
) -> None:
    played.answers["GetSafeContact"] = p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE)
    played.answers["OpenSafeContact"] = PLAN
    page = worker.get(f"/referrals/{ID}").text
    assert page.index("Llamarla por teléfono") < page.index("Qué hacer ahora")
    assert "No deje recado" in page
    assert "OpenSafeContact" not in {rpc for rpc, _, _ in played.asked}
    response = send(worker, f"/referrals/{ID}", f"/referrals/{ID}/safe-contact")
    assert all(
        word in response.text
        for word in ("de 9 a 11", "tía Chepa", "Enlace", "Se puede dejar recado", "Quedó anotado")
    )
    assert played.last("OpenSafeContact").referral_id == ID
    assert "tía Chepa" not in worker.get(f"/referrals/{ID}").text


def test_the_page_says_that_nobody_may_call_her_and_offers_no_details(
    played: PlayedServices, worker: FlaskClient
) -> None:
    played.answers["GetSafeContact"] = p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE)
    page = worker.get(f"/referrals/{ID}").text
    assert "No la contacte: nadie puede llamarla." in page
    assert "Ver cómo contactarla" not in page


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            errors.Conflict("receipt_field_group_differs"),
            "El permiso no abarca que ustedes la contacten.",
        ),
        (errors.Conflict("receipt_expired"), "El permiso para contactarla ya venció."),
        (
            errors.NotAllowed("member_on_probation"),
            "Su organización está en período de prueba y no ve cómo contactarla.",
        ),
        (errors.NotAllowed("right_missing"), ""),
        (errors.NotFound(), ""),
    ],
)
def test_the_page_says_why_the_contact_plan_is_closed_and_not_to_call(
    refusal: errors.Refusal, sentence: str, played: PlayedServices, worker: FlaskClient
) -> None:
    played.answers["GetSafeContact"] = refusal
    page = worker.get(f"/referrals/{ID}").text
    assert sentence in page
    assert ("No la llame" in page) == bool(sentence)
    assert "Ver cómo contactarla" not in page


def test_no_contact_plan_is_requested_for_an_ended_referral(
    played: PlayedServices, worker: FlaskClient
) -> None:
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", side=r.SIDE_RECEIVER, state=r.STATE_CLOSED
    )
    assert worker.get(f"/referrals/{ID}").status_code == 200
    assert asked(played, "GetSafeContact") == 0


def test_the_printed_slip_has_the_code_and_no_name(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = client.get(f"/referrals/{ID}").text
    slip = re.search(r'<section class="slip".*?</section>', page, re.DOTALL)
    assert slip
    assert played.answers["GetReferral"].code in slip[0]  # type: ignore[union-attr]
    assert "Rosa" not in slip[0]
    assert 'class="qr"' in slip[0]
    assert "hoy" not in slip[0], "the slip has a date that is still true tomorrow"
    assert not re.search(r"<(button|form|input)", slip[0])


def test_search_words_are_in_no_address(played: PlayedServices, client: FlaskClient) -> None:
    answer = send(client, "/directory", words="albergue con niños", has_room="1", age="19")
    assert answer.status_code == 200
    request = played.last("SearchServices")
    assert (request.words, request.has_room, request.age) == ("albergue con niños", True, 19)
    assert "albergue" not in "".join(re.findall(r'href="([^"]*)"', answer.text))


def test_capacity_is_stated_with_one_tap(played: PlayedServices, client: FlaskClient) -> None:
    answer = send(client, f"/capacity/{ID}", intake="closed")
    assert answer.headers["Location"] == f"/capacity/{ID}?done=capacity"
    capacity_sent = played.last("SetCapacity").capacity
    assert capacity_sent.intake == d.INTAKE_CLOSED
    assert not capacity_sent.HasField("available")


def test_more_free_places_than_there_are_is_refused_with_what_to_correct(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["SetCapacity"] = errors.Invalid(("capacity.available", "out_of_range"))
    answer = send(client, f"/capacity/{ID}", intake="open", available="99", maximum="12")
    assert (answer.status_code, answer.text.count("no pueden ser más que el total")) == (422, 2)


def test_one_bed_fewer_counts_from_the_number_that_was_shown(
    played: PlayedServices, client: FlaskClient
) -> None:
    room = d.Capacity(unit=d.CAPACITY_UNIT_BEDS, available=3, maximum=12, intake=d.INTAKE_OPEN)
    shelter = d.Service(id=ID, etag="v7", name="Albergue", organization_id=ID, capacity=room)
    played.answers["SearchServices"], played.answers["GetService"] = (
        d.SearchServicesResponse(services=[shelter]),
        shelter,
    )
    page = client.get("/today").text
    assert re.search(r'name="etag" value="v7">.*?name="available" value="2">', page, re.DOTALL)
    answer = send(
        client,
        "/today",
        f"/capacity/{ID}",
        etag="v7",
        available="2",
        maximum="12",
        intake="open",
        back="today",
    )
    assert answer.headers["Location"] == "/today?done=capacity"
    assert (played.last("SetCapacity").etag, played.last("SetCapacity").capacity.available) == (
        "v7",
        2,
    )
    played.answers["SetCapacity"] = errors.Stale()
    late = send(
        client,
        "/today",
        f"/capacity/{ID}",
        etag="v7",
        available="2",
        maximum="12",
        intake="open",
        back="today",
    )
    assert late.status_code == 422
    assert "Otra persona acaba de decirlo" in late.text


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
    played: PlayedServices,
    client: FlaskClient,
    intake: d.Intake.ValueType,
    available: int,
    expected: str,
) -> None:
    room = d.Capacity(unit=d.CAPACITY_UNIT_BEDS, available=available, maximum=6, intake=intake)
    shelter = d.Service(id=ID, etag="v7", name="Albergue", organization_id=ID, capacity=room)
    played.answers["SearchServices"] = d.SearchServicesResponse(services=[shelter])
    page = client.get("/today").text
    values = re.findall(r'name="intake" value="(\w+)">', page)
    assert values[-1] == expected, "the button that confirms"
    if available:
        assert values[0] == expected, "one bed fewer neither opens nor closes a shelter"
    assert (">Sin lugar</b>" in page) == (intake == d.INTAKE_CLOSED)


def test_a_webhook_receives_the_ticked_kinds_or_all(
    played: PlayedServices, client: FlaskClient
) -> None:
    ticked = ["referral_sent", "clock_breached"]
    send(client, "/webhooks", url="https://sistema.example/enlace", kinds=ticked)
    assert list(played.last("CreateWebhook").webhook.kinds) == ticked
    send(client, "/webhooks", url="https://sistema.example/enlace")
    assert list(played.last("CreateWebhook").webhook.kinds) == []
    page = client.get("/webhooks").text
    assert (
        set(re.findall(r'name="kinds" value="(\w+)"', page))
        == {notice.kind for notice in NOTICES} - FOR_PEOPLE_ALONE
    )


def test_reference_and_pin_are_never_in_an_address(played: PlayedServices) -> None:
    client = pages(played).test_client()
    played.answers["GetReferenceStatus"] = played.answers["ConfirmHelp"] = c.ReferenceStatus(
        contact_time_band=c.TIME_BAND_TODAY,
        items=[
            c.ReferenceItem(
                need_group_code="HOU",
                status_code=c.REFERENCE_STATE_DONE,
                may_confirm=True,
                consent_live=True,
            )
        ],
    )
    page = send(client, "/my-referral", reference="w43p-vwjf", pin="4821")
    assert "Nos dicen que la ayuda ya se dio." in page.text
    assert "4821" not in "".join(re.findall(r'(?:href|action)="([^"]*)"', page.text))
    answer = client.post(
        "/my-referral/confirm",
        data={
            "form_token": token_of(page.text),
            "request_id": "1" * 32,
            "reference": "w43p-vwjf",
            "pin": "4821",
            "help_came": "no",
        },
    )
    assert answer.status_code == 200
    assert played.last("ConfirmHelp") == c.ConfirmHelpRequest(
        reference="w43p-vwjf", pin="4821", help_came=False, request_id="1" * 32
    )


def test_her_addition_is_sent_by_a_form_and_errors_are_shown_there(
    played: PlayedServices,
) -> None:
    client = pages(played).test_client()
    page = send(client, "/my-referral", reference="w43p-vwjf", pin="4821")
    data = {
        "form_token": token_of(page.text),
        "request_id": "1" * 32,
        "reference": "w43p-vwjf",
        "pin": "4821",
        "note": "ya salió",
    }
    assert "Lo lee solo la línea" in client.post("/my-referral/note", data=data).text
    assert played.last("AddNoteByReference").note == "ya salió"
    for refused, expected in (
        (errors.Invalid(("note", "too_long")), "Lo que quiere que sepan: es demasiado largo"),
        (errors.Conflict("too_much_said"), "Llame a la línea"),
    ):
        played.answers["AddNoteByReference"] = refused
        answer = client.post("/my-referral/note", data=data)
        assert answer.status_code == 200
        assert expected in re.sub("<[^>]+>", "", answer.text)
        assert 'class="note bad"' in answer.text
        assert ">ya salió</textarea>" in answer.text, "her words are not lost"
    played.answers["AddNoteByReference"] = errors.Invalid(("note", "required"))
    empty = client.post("/my-referral/note", data=data | {"note": ""}).text
    assert "Lo que quiere que sepan: escríbalo aquí" in re.sub("<[^>]+>", "", empty)
    for wrong, status in (
        (errors.Unauthenticated("reference_or_pin_wrong"), 401),
        (errors.Exhausted("too_many_attempts", 60), 429),
    ):
        played.answers["GetReferenceStatus"] = wrong
        played.answers["AddNoteByReference"] = errors.Invalid(("note", "too_long"))
        answer = client.post("/my-referral/note", data=data)
        assert (answer.status_code, "demasiado largo" in answer.text) == (status, False), (
            "errors in the note are shown only with the right PIN"
        )


def test_she_withdraws_one_request_and_the_page_says_what_that_means_in_its_state(
    played: PlayedServices,
) -> None:
    client = pages(played).test_client()
    items = [
        c.ReferenceItem(
            need_group_code="HOU", status_code=c.REFERENCE_STATE_ASKED, key=key, may_withdraw=True
        )
        for key in ("aa", "bb")
    ]
    played.answers["GetReferenceStatus"] = c.ReferenceStatus(
        contact_time_band=c.TIME_BAND_TODAY, items=items
    )
    page = send(client, "/my-referral", reference="w43p-vwjf", pin="4821").text
    assert re.findall(r'name="item_key" value="(\w+)"', page) == ["aa", "bb"]
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "reference": "w43p-vwjf",
        "pin": "4821",
        "item_key": "aa",
    }
    for is_live, expected in ((False, "ese pedido se detuvo"), (True, "No se pudo detener")):
        after = [
            c.ReferenceItem(
                need_group_code="HOU",
                status_code=c.REFERENCE_STATE_STOPPED,
                key="aa",
                consent_live=is_live,
            ),
            items[1],
        ]
        played.answers["WithdrawConsentByReference"] = c.ReferenceStatus(
            contact_time_band=c.TIME_BAND_TODAY, items=after
        )
        assert expected in client.post("/my-referral/withdraw", data=data).text
    assert played.last("WithdrawConsentByReference").item_key == "aa"


def test_the_accesses_to_her_data_are_shown_on_request_in_plain_words(
    played: PlayedServices,
) -> None:
    client = pages(played).test_client()
    page = send(client, "/my-referral", reference="w43p-vwjf", pin="4821").text
    assert "ListReadingsByReference" not in {rpc for rpc, _, _ in played.asked}
    read = c.ReferenceReading(
        date="2026-11-25",
        organization_type_code="NGO",
        need_group_code="HOU",
        allowed=True,
        count=2,
    )
    read.field_groups.append(p.FIELD_GROUP_HEALTH)
    attempt = c.ReferenceReading(
        date="2026-11-24",
        organization_type_code="LAW_ENFORCEMENT",
        field_groups=[p.FIELD_GROUP_NOTES],
        count=1,
    )
    played.answers["ListReadingsByReference"] = c.ListReadingsByReferenceResponse(
        readings=[read, attempt]
    )
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "reference": "w43p-vwjf",
        "pin": "4821",
    }
    page_text = client.post("/my-referral/readings", data=data).text
    for text in (
        "25 nov 2026",
        "ONG",
        "2 veces",
        "Salud",
        "Vivienda",
        "Policía",
        "Quiso ver y no se le permitió",
        "Lo que usted contó",
    ):
        assert text in page_text
    played.answers["ListReadingsByReference"] = c.ListReadingsByReferenceResponse()
    assert "Nadie abrió sus datos" in client.post("/my-referral/readings", data=data).text


def test_a_call_is_offered_only_where_her_plan_allows_it_and_requested_by_day_and_hours(
    played: PlayedServices,
) -> None:
    client = pages(played).test_client()
    for may in (False, True):
        played.answers["GetReferenceStatus"] = c.ReferenceStatus(
            contact_time_band=c.TIME_BAND_TODAY, may_ask_for_call=may
        )
        page = send(client, "/my-referral", reference="w43p-vwjf", pin="4821").text
        assert ('action="/my-referral/call"' in page) == may
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "reference": "w43p-vwjf",
        "pin": "4821",
    }
    assert (
        "solo como usted pidió"
        in client.post(
            "/my-referral/call", data={**data, "day_code": "tomorrow", "hour_code": "night"}
        ).text
    )
    request = played.last("AskForCallByReference")
    assert (request.day_code, request.hour_code) == (c.DAY_BAND_TOMORROW, c.HOUR_BAND_NIGHT)
    for refused, expected in (
        (errors.Invalid(("hour_code", "required")), "A qué hora: elija a qué hora"),
        (errors.Conflict("call_not_safe"), "Se puede llamar a la línea a cualquier hora."),
    ):
        played.answers["AskForCallByReference"] = refused
        page = client.post("/my-referral/call", data=data).text
        assert expected in re.sub("<[^>]+>", "", page)


@pytest.mark.parametrize(
    ("expected", "kind"), [("unrelated", c.CONTACT_KIND_UNRELATED), ("prank", c.CONTACT_KIND_PRANK)]
)
def test_a_contact_that_needs_nothing_is_closed_by_the_button_that_names_its_kind(
    expected: str, kind: c.ContactKind.ValueType, played: PlayedServices
) -> None:
    played.answers["GetContact"] = c.Contact(
        id=ID, etag="v7", urgency=r.URGENCY_NORMAL, outcome_code=c.CONTACT_OUTCOME_OPEN
    )
    client = enter(pages(played).test_client())
    page = client.get(f"/line/{ID}").text
    assert f'name="close_as" value="{expected}"' in page
    assert page.index(">Guardar<") < page.index('name="close_as"'), (
        "Enter in a field saves; the first button of a form is what it presses"
    )
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "kind_code": "crisis",
        "close_as": expected,
    }
    assert (
        client.post(f"/line/{ID}", data={**data, "etag": "v7"}).headers["Location"]
        == "/line?done=saved"
    )
    changed = played.last("UpdateContact").contact
    assert (changed.kind_code, changed.outcome_code) == (kind, c.CONTACT_OUTCOME_NOTHING_TO_DO)


@pytest.mark.parametrize("minutes_left", [0, 10])
@pytest.mark.parametrize("urgency", r.Urgency.values())
def test_d18_a_contact_that_is_urgent_or_not_yet_assessed_is_not_closed_by_one_press(
    urgency: r.Urgency.ValueType, minutes_left: int, played: PlayedServices
) -> None:
    played.answers["GetContact"] = c.Contact(
        id=ID,
        etag="1",
        urgency=urgency,
        outcome_code=c.CONTACT_OUTCOME_OPEN,
        open_question_count=minutes_left,
    )
    client = enter(pages(played).test_client())
    page = client.get(f"/line/{ID}").text
    may = urgency in (r.URGENCY_UNSPECIFIED, r.URGENCY_NORMAL) and not minutes_left
    assert ('name="close_as"' in page) == may
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "kind_code": "crisis",
        "close_as": "prank",
        "etag": "1",
    }
    assert client.post(f"/line/{ID}", data=data).status_code == (303 if may else 422)
    assert any(rpc == "UpdateContact" for rpc, _, _ in played.asked) == may


def test_d18_a_new_contact_cannot_be_closed_by_one_press(played: PlayedServices) -> None:
    client = enter(pages(played).test_client())
    page = client.get("/line/new").text
    assert 'name="close_as"' not in page
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "kind_code": "crisis",
        "close_as": "prank",
    }
    assert client.post("/line/new", data=data).status_code == 422
    assert not any(rpc == "CreateContact" for rpc, _, _ in played.asked)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("es", "Sin valorar · faltan 10"),
        ("en", "Not assessed · 10 to ask"),
        ("fr", "Non évaluée · il en reste 10"),
    ],
)
def test_d18_a_contact_with_open_questions_states_how_many_are_left(
    language: str, expected: str, played: PlayedServices
) -> None:
    played.answers["GetContact"] = c.Contact(
        id=ID, etag="1", open_question_count=10, triage=c.Triage(danger_now=c.ANSWER_NO)
    )
    page = enter(pages(played).test_client()).get(f"/line/{ID}?lang={language}").text
    assert expected in page
    assert 'class="pill normal"' not in page


def test_d18_no_is_the_calm_answer_to_each_question(played: PlayedServices) -> None:
    page = enter(pages(played).test_client()).get("/line/new").text
    for question in Triage.__dataclass_fields__:
        fieldset = page.split(f'<fieldset class="field inline" id="{question}"')[1].split(
            "</fieldset>"
        )[0]
        [no] = [
            value
            for value, words in re.findall(r'value="(\w*)"[^>]*><span>([^<]+)', fieldset)
            if words == "No"
        ]
        assert not Triage(**{question: no})._applying_rules(), question
        assert Triage(
            **{question: {"yes": "no", "no": "yes"}[no]}
        )._applying_rules() or question in (
            "wants_out",
            "safe_to_talk",
        )


def test_a_caller_is_handed_over_to_a_member_or_a_number_of_the_state(
    played: PlayedServices,
) -> None:
    client = enter(pages(played).test_client())
    played.answers["ListOrganizations"] = d.ListOrganizationsResponse(
        organizations=[d.Organization(id="b" * 32, name="Albergue Luz")]
    )
    page = client.get(f"/line/{ID}/hand-over").text
    assert "Albergue Luz" in page
    data = {
        "form_token": token_of(page),
        "request_id": "1" * 32,
        "etag": "v7",
        "connected_live": "yes",
        "emergency_number_code": "ambulance",
    }
    assert client.post(f"/line/{ID}/hand-over", data=data).status_code == 303
    sent = played.last("UpdateContact")
    assert sent.contact == c.Contact(
        id=ID,
        etag="v7",
        connected_live=c.ANSWER_YES,
        emergency_number_code=c.EMERGENCY_NUMBER_AMBULANCE,
        outcome_code=c.CONTACT_OUTCOME_HANDED_OVER,
    )
    calls = len(played.asked)
    response = client.post(f"/line/{ID}/hand-over", data={**data, "connected_live": ""})
    assert (response.status_code, "diga si quedaron hablando" in response.text) == (422, True)
    assert "UpdateContact" not in [rpc for rpc, _, _ in played.asked[calls:]]
    client.post(f"/line/{ID}/hand-over", data={**data, "connected_live": "no"})
    assert "outcome_code" not in played.last("UpdateContact").update_mask.paths
    played.answers["UpdateContact"] = errors.Invalid(
        ("contact.emergency_number_code", "out_of_range")
    )
    refused = client.post(f"/line/{ID}/hand-over", data=data)
    assert (refused.status_code, 'id="emergency_number_code-error"' in refused.text) == (422, True)


@pytest.mark.parametrize("term", ["Ximena", "qk4-m2x"])
def test_an_operator_links_a_contact_to_a_file_that_she_finds_by_name_or_code(
    term: str, played: PlayedServices
) -> None:
    client = enter(pages(played).test_client())
    played.answers["GetContact"] = c.Contact(id=ID, etag="v3", line_country="NI")
    assert f'href="/line/{ID}/file"' in client.get(f"/line/{ID}").text
    data = {"form_token": token_of(client.get(f"/line/{ID}/file").text), "q": term}
    erased = p.Person(id="c" * 32, code="ERASED", erased=True)
    file = p.Person(id="b" * 32, code="QK4M2X")
    played.answers["SearchPeople"] = p.SearchPeopleResponse(people=[file, erased])
    played.answers["ListPeople"] = p.ListPeopleResponse(people=[file])
    listed = client.post(f"/line/{ID}/files", data=data)
    assert "QK4M2X" in listed.text
    assert listed.text.count('name="person_id"') == 1, "an erased file is not offered"
    assert f'name="person_id" value="{"b" * 32}"' in listed.text
    chosen = data | {"etag": "v3", "request_id": "1" * 32, "person_id": "b" * 32}
    answer = client.post(f"/line/{ID}/file", data=chosen)
    assert (answer.status_code, answer.location) == (303, f"/line/{ID}?done=saved")
    sent = played.last("UpdateContact")
    assert sent.contact == c.Contact(id=ID, etag="v3", person_id="b" * 32)
    assert list(sent.update_mask.paths) == ["person_id"]


def test_an_operator_ends_the_link_of_a_contact_to_a_file(played: PlayedServices) -> None:
    client = enter(pages(played).test_client())
    played.answers["GetContact"] = c.Contact(id=ID, etag="v3", person_id="b" * 32)
    page = client.get(f"/line/{ID}/file").text
    assert 'name="person_id" value=""' in page
    data = {"form_token": token_of(page), "etag": "v3", "request_id": "1" * 32, "person_id": ""}
    assert client.post(f"/line/{ID}/file", data=data).status_code == 303
    assert played.last("UpdateContact").contact == c.Contact(id=ID, etag="v3")
    assert list(played.last("UpdateContact").update_mask.paths) == ["person_id"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.NotFound(), 404),
        (errors.Conflict("person_erased"), 422),
        (errors.Stale(), 409),
    ],
)
def test_a_refused_link_to_a_file_is_shown_as_the_service_refuses_it(
    refusal: errors.Refusal, status: int, played: PlayedServices
) -> None:
    client = enter(pages(played).test_client())
    data = {"form_token": token_of(client.get(f"/line/{ID}/file").text), "etag": "v3"}
    played.answers["UpdateContact"] = refusal
    refused = client.post(f"/line/{ID}/file", data=data | {"person_id": "b" * 32})
    assert refused.status_code == status


@pytest.mark.parametrize("of_this_contact", [True, False])
def test_a_contact_shows_the_call_that_another_hour_would_replace(
    of_this_contact: bool, played: PlayedServices
) -> None:
    owed = c.Callback(
        id="c" * 32,
        contact_id=ID if of_this_contact else "b" * 32,
        asked_by_herself=True,
        clocks=[r.Clock(kind=r.CLOCK_KIND_CALLBACK)],
    )
    played.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=[owed])
    page = enter(pages(played).test_client()).get(f"/line/{ID}").text
    assert ("la pidió ella" in page) == of_this_contact
    assert ("Otra hora reemplaza a la que ya se debe." in page) == of_this_contact


def test_a_shift_is_handed_over_with_one_sheet_and_the_worker_who_takes_over_is_recorded(
    played: PlayedServices,
) -> None:
    client = enter(pages(played).test_client())
    page = client.get("/line/shift").text
    for title in (
        "Contactos abiertos",
        "Llamadas que debemos",
        "Consultas sin cerrar",
        "Remisiones que nos esperan",
    ):
        assert title in page
    assert "Rosa Méndez" in page, "the worker who took over the last shift"
    assert "/line/calls/" not in page, "the sheet offers no actions"
    assert (
        client.post(
            "/line/shift", data={"form_token": token_of(page), "request_id": "1" * 32}
        ).headers["Location"]
        == "/line/shift?done=saved"
    )
    assert played.last("TakeOverLine").request_id == "1" * 32


def test_the_sheet_for_a_shift_has_the_dates_of_the_calls_for_it_is_read_after_midnight(
    played: PlayedServices,
) -> None:
    hours = r.Clock(kind=r.CLOCK_KIND_CALLBACK)
    hours.start_time.FromJsonString("2026-11-30T14:00:00Z")
    hours.due_time.FromJsonString("2026-11-30T18:00:00Z")
    owed = c.Callback(id=ID, contact_id=ID, clocks=[hours])
    played.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=[owed])
    page = enter(pages(played).test_client()).get("/line/shift").text
    assert "30 noviembre 2026, 08:00 – 30 noviembre 2026, 12:00" in page


@pytest.mark.parametrize("about", ["referral_id", "enquiry_id"])
@pytest.mark.parametrize("read", [True, False])
def test_a_notice_shows_the_code_of_the_referral_or_enquiry_that_it_is_about(
    about: str, read: bool, played: PlayedServices, client: FlaskClient
) -> None:
    message = n.Message(id=ID, kind="referral_sent", text="Algo")
    setattr(message, about, ID)
    if read:
        message.read_time.seconds = 1
    played.answers["ListMessages"] = n.ListMessagesResponse(messages=[message])
    page = client.get("/inbox").text
    assert f'<span class="code">{short_code(ID)}</span>' in page
    assert f'Abrir<span class="unseen"> {short_code(ID)}</span>' in page


@pytest.mark.parametrize(
    "kind",
    [notice.kind for notice in NOTICES if notice.fact.startswith(("contact.", "callback."))],
)
def test_a_notice_about_the_line_leads_to_its_contacts_and_calls(
    kind: str, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind=kind, text="Algo", organization_id=ID)]
    )
    page = client.get("/inbox").text
    assert f'name="kind" value="{kind}"' in page
    assert '<p class="mute">Casa Puentes</p>' in page, "the line to be called"
    data = {"form_token": token_of(page), "request_id": "1" * 32, "kind": kind}
    assert client.post(f"/inbox/{ID}/read", data=data).location == "/line"


def test_the_line_sees_the_calls_that_it_owes_without_their_numbers(played: PlayedServices) -> None:
    client = enter(pages(played).test_client())
    page = client.get("/line").text
    assert "Llamadas que debemos" in page
    assert "Antes de marcar: vea cómo llamarla sin peligro" in page
    assert "+505" not in page
    data = {"form_token": token_of(page), "request_id": "1" * 32, "etag": "v7"}
    assert (
        client.post(f"/line/calls/{ID}", data={**data, "outcome_code": "reached"}).status_code
        == 303
    )
    settled = played.last("SettleCallback")
    assert (settled.id, settled.etag, settled.outcome_code) == (
        ID,
        "v7",
        c.CALLBACK_OUTCOME_REACHED,
    )
    del data["etag"]  # the form of a call that is yet to be agreed has none
    answer = client.post(
        f"/line/{ID}/call", data={**data, "day_code": "today", "hour_code": "evening"}
    )
    assert answer.status_code == 303
    assert played.last("CreateCallback").callback == c.Callback(
        contact_id=ID, day_code=c.DAY_BAND_TODAY, hour_code=c.HOUR_BAND_EVENING
    )
    played.answers["CreateCallback"] = errors.Conflict("call_not_safe")
    refused = client.post(
        f"/line/{ID}/call", data={**data, "day_code": "today", "hour_code": "evening"}
    )
    assert (refused.status_code, "no permite llamadas" in refused.text) == (422, True)


@pytest.mark.parametrize(("now", "weekday"), [(5, "domingo"), (6, "lunes")])
def test_the_days_for_a_call_have_their_weekday_at_the_place_of_the_caller(
    now: int, weekday: str, played: PlayedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "now", lambda: datetime(2026, 11, 30, now, 30, tzinfo=UTC))
    played.answers["GetContact"] = c.Contact(id=ID, line_country="NI")
    page = enter(pages(played).test_client()).get(f"/line/{ID}").text
    assert f'<option value="today">hoy ({weekday})</option>' in page


@pytest.mark.parametrize(
    ("now", "weekday"),
    [
        (datetime(2026, 3, 28, 22, 30, tzinfo=UTC), "domingo"),  # 23:30, before a day of 23 hours
        (datetime(2026, 10, 24, 22, 30, tzinfo=UTC), "lunes"),  # 00:30 on a day of 25 hours
    ],
)
def test_tomorrow_is_the_next_day_also_where_the_clocks_change(
    now: datetime, weekday: str, played: PlayedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "now", lambda: now)
    played.answers["GetContact"] = c.Contact(id=ID, line_country="ES")
    page = enter(pages(played).test_client()).get(f"/line/{ID}").text
    assert f">mañana ({weekday})</option>" in page


def test_the_days_for_another_try_have_their_weekday_at_the_place_of_the_caller(
    played: PlayedServices,
) -> None:
    owed = [c.Callback(id=ID, contact_id=ID, local_date="2026-11-29", clocks=[r.Clock()])]
    played.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=owed)
    page = enter(pages(played).test_client()).get("/line").text
    assert '<option value="today">hoy (domingo)</option>' in page


DAY = {"local_date": "2026-11-29", "day_code": "tomorrow", "hour_code": "evening"}


@pytest.mark.parametrize(
    ("page", "form", "rpc"),
    [
        (f"/line/{ID}", f"/line/{ID}/call", "CreateCallback"),
        ("/line", f"/line/calls/{ID}", "SettleCallback"),
        ("/my-referral", "/my-referral/call", "AskForCallByReference"),
    ],
)
def test_a_form_for_a_call_says_from_which_date_its_days_count(
    page: str, form: str, rpc: str, played: PlayedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "now", lambda: datetime(2026, 11, 30, 5, 30, tzinfo=UTC))
    played.answers["GetContact"] = c.Contact(id=ID, line_country="NI")
    owed = [c.Callback(id=ID, contact_id=ID, local_date="2026-11-29", clocks=[r.Clock()])]
    played.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=owed)
    status = c.ReferenceStatus(may_ask_for_call=True, local_date="2026-11-29")
    played.answers["GetReferenceStatus"] = status
    client = enter(pages(played).test_client())
    shown = client.get(page).text
    data = {"form_token": token_of(shown), "reference": "7QK4-M2X7", "pin": "4821"}
    if page == "/my-referral":
        shown = client.post(page, data=data).text
    assert '<input type="hidden" name="local_date" value="2026-11-29">' in shown
    client.post(form, data=data | DAY | {"etag": "v7", "outcome_code": "again"})
    sent = played.last(rpc)
    assert (sent.callback if rpc == "CreateCallback" else sent).local_date == "2026-11-29"


def test_the_days_on_the_page_of_a_reference_have_their_weekday(played: PlayedServices) -> None:
    status = c.ReferenceStatus(may_ask_for_call=True, local_date="2026-11-29")
    played.answers["GetReferenceStatus"] = status
    client = pages(played).test_client()
    data = {"form_token": token_of(client.get("/my-referral").text)}
    page = client.post("/my-referral", data={**data, "reference": "7QK4-M2X7", "pin": "4821"}).text
    assert "hoy (domingo)" in page
    assert "mañana (lunes)" in page


def test_hours_that_are_over_are_refused_in_the_list_where_other_hours_can_be_chosen(
    played: PlayedServices,
) -> None:
    client = enter(pages(played).test_client())
    played.answers["SettleCallback"] = errors.Invalid(("hour_code", "out_of_range"))
    data = {"form_token": token_of(client.get("/line").text), "request_id": "1" * 32, "etag": "v7"}
    choice = {"outcome_code": "again", "day_code": "today", "hour_code": "morning"}
    answer = client.post(f"/line/calls/{ID}", data=data | choice)
    assert answer.status_code == 422
    assert "de esas horas ya no queda tiempo; elija otras, u otro día" in answer.text
    assert f'href="#{ID}-hour_code"' in answer.text
    assert f'<select id="{ID}-hour_code"' in answer.text
    assert "Enviarlo otra vez" not in answer.text


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_she_is_told_of_contact_only_where_her_plan_and_a_live_request_allow_it(
    played: PlayedServices, language: str
) -> None:
    client = pages(played).test_client()
    promise = {
        "es": "Se pondrán en contacto",
        "en": "They will get in touch",
        "fr": "On prendra contact",
    }[language]
    for state in c.ReferenceState.values():
        for may in (False, True):
            item = c.ReferenceItem(need_group_code="HOU", status_code=state, may_be_contacted=may)
            played.answers["GetReferenceStatus"] = c.ReferenceStatus(
                contact_time_band=c.TIME_BAND_TODAY, items=[item]
            )
            page = send(
                client, f"/my-referral?lang={language}", reference="w43p-vwjf", pin="4821"
            ).text
            assert (promise in page) == (may and state == c.REFERENCE_STATE_ACCEPTED)
    sentences = vocabulary.TABLES["reference_status"].values()
    assert not [
        text
        for text in sentences
        if re.search("pronto|contacto|buscamos|estamos buscando|la llamar", text, re.IGNORECASE)
    ]


def test_a_wrong_pin_and_an_unknown_reference_get_the_same_answer(played: PlayedServices) -> None:
    client = pages(played).test_client()
    played.answers["GetReferenceStatus"] = errors.Unauthenticated("reference_or_pin_wrong")
    first, second = (
        send(client, "/my-referral", reference=text, pin="0000")
        for text in ("W43P-VWJF", "AAAA-AAAA")
    )
    assert first.status_code == second.status_code == 401
    assert re.findall(r'role="alert".*?</p>', first.text, re.DOTALL) == re.findall(
        r'role="alert".*?</p>', second.text, re.DOTALL
    )


def test_the_first_page_opens_when_the_directory_is_down(played: PlayedServices) -> None:
    played.answers["ListHotlines"] = errors.Unavailable("service_unreachable")
    answer = pages(played).test_client().get("/")
    assert answer.status_code == 200
    assert "Ahora no podemos mostrar los números" in answer.text


def test_the_numbers_can_be_dialled_and_that_of_the_visitors_country_comes_first(
    played: PlayedServices,
) -> None:
    lines = [
        d.Hotline(country=country, number=number)
        for country, number in (("CR", "911"), ("NI", "133"), ("PE", "000-1334"))
    ]
    played.answers["ListHotlines"] = d.ListHotlinesResponse(hotlines=lines)
    client = pages(played).test_client()

    def numbers(spoken: str) -> list[str]:
        return re.findall(
            r'href="tel:([\d-]+)"', client.get("/", headers={"Accept-Language": spoken}).text
        )

    assert numbers("es") == numbers("es-NI") == numbers("zh-Hans") == ["133", "911", "000-1334"]
    assert numbers("es-CR,es;q=0.9") == ["911", "133", "000-1334"]
    assert client.get("/").text.count("de demostración: no contesta") == 1


def test_calls_to_services_are_made_in_the_workers_name_and_language(
    played: PlayedServices, client: FlaskClient
) -> None:
    client.get("/people?lang=fr")
    caller = next(caller for rpc, _, caller in reversed(played.asked) if rpc == "ListPeople")
    assert (caller.tokens["enlace.referrals"], caller.language) == ("t", "fr")
    assert caller.request_id


def test_today_keeps_showing_a_declined_referral(
    played: PlayedServices, client: FlaskClient
) -> None:
    refused = unanswered("a" * 32, r.URGENCY_EMERGENCY, 3)

    def listed(request: r.ListReferralsRequest) -> r.ListReferralsResponse:
        return r.ListReferralsResponse(referrals=[refused] if request.filter.unanswered else [])

    played.answers["ListReferrals"] = listed
    page_text = client.get("/today").text
    assert f"/referrals/{refused.id}/reroute" in page_text
    assert "buscar otro servicio" in page_text


def unanswered(identifier: str, urgency: r.Urgency.ValueType, hours: int) -> r.Referral:
    """Returns a referral that came back, with `hours` left to find another service."""
    came_back = r.Referral(
        id=identifier,
        state=r.STATE_DECLINED,
        side=r.SIDE_SENDER,
        urgency=urgency,
        need_code="HOU.EMG",
    )
    came_back.main_step, came_back.unanswered = "refer_again", True
    came_back.next_due_time.FromDatetime(i18n.now().replace(tzinfo=None) + timedelta(hours=hours))
    clock = came_back.clocks.add(kind=r.CLOCK_KIND_REPLACE, due_time=came_back.next_due_time)
    clock.start_time.FromDatetime(i18n.now().replace(tzinfo=None))
    return came_back


def test_a_declined_emergency_is_above_less_urgent_referrals_whatever_their_deadlines(
    played: PlayedServices, client: FlaskClient
) -> None:
    rows = [
        unanswered("1" * 32, r.URGENCY_NORMAL, 1),
        unanswered("2" * 32, r.URGENCY_EMERGENCY, 20),
        unanswered("3" * 32, r.URGENCY_EMERGENCY, 9),
        unanswered("4" * 32, r.URGENCY_IMMEDIATE, 30),
    ]

    def listed(request: r.ListReferralsRequest) -> r.ListReferralsResponse:
        return r.ListReferralsResponse(referrals=rows if request.filter.unanswered else [])

    played.answers["ListReferrals"] = listed
    page_text = client.get("/today").text
    assert "Sin servicio: buscar otro" in page_text
    assert re.findall(r'<h3><a href="/referrals/(\d)\1+"', page_text) == ["4", "3", "2", "1"]


def test_looking_for_another_service_continues_the_draft_that_was_begun(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = came_back = unanswered(ID, r.URGENCY_EMERGENCY, 3)
    assert "Ver qué otros servicios hay" in client.get(f"/referrals/{ID}/reroute").text
    came_back.following_id = "b" * 32
    assert (
        client.get(f"/referrals/{ID}/reroute").headers["Location"] == f"/referrals/{'b' * 32}/draft"
    )


def test_no_other_service_is_looked_for_without_an_open_need(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = came_back = unanswered(ID, r.URGENCY_EMERGENCY, 3)
    form_token = token_of(client.get(f"/referrals/{ID}/reroute").text)
    came_back.main_step = ""  # a colleague has closed the need
    for answer in (
        client.get(f"/referrals/{ID}/reroute"),
        client.post(f"/referrals/{ID}/reroute", data={"form_token": form_token}),
    ):
        assert answer.location == f"/referrals/{ID}"
    assert asked(played, "CreateReferral") == 0


def test_the_filters_of_the_list_are_folded_until_one_is_used(client: FlaskClient) -> None:
    assert '<details class="card"><summary>Filtrar</summary>' in client.get("/referrals").text
    page = client.get("/referrals?urgency=immediate").text
    assert '<details class="card" open><summary>Filtrar</summary>' in page


@pytest.mark.parametrize("page", ["/today?show=late", "/today?show=soon"])
def test_late_and_soon_due_referrals_are_chosen_by_the_service_and_all_are_shown(
    page: str, played: PlayedServices, client: FlaskClient
) -> None:
    results: list[r.ReferralFilter] = []

    def listed(request: r.ListReferralsRequest) -> r.ListReferralsResponse:
        results.append(request.filter)
        rows = [referral(id=f"{number:032x}", need_code="HOU.EMG") for number in range(50)]
        return r.ListReferralsResponse(referrals=rows, next_page_token="more")

    played.answers["ListReferrals"] = listed
    page_text = client.get(page).text
    assert all(f"/referrals/{number:032x}" in page_text for number in range(50))
    assert [(filter_.late, filter_.due_soon, filter_.unanswered) for filter_ in results] == {
        "/today?show=late": [(True, False, False)],
        "/today?show=soon": [(False, True, False)],
    }[page]


@pytest.mark.parametrize(
    ("expected", "known"), [({}, False), ({"dependants": ""}, False), ({"dependants": "0"}, True)]
)
def test_a_number_that_nobody_stated_is_shown_as_unknown(
    played: PlayedServices, client: FlaskClient, expected: dict[str, str], known: bool
) -> None:
    send(client, "/people/new", channel_code="none", **expected)
    coarse = played.last("CreatePerson").coarse
    assert coarse.HasField("dependants") == known
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", state=r.STATE_SENT, side=r.SIDE_RECEIVER, person=coarse, person_id=ID
    )
    page = client.get(f"/referrals/{ID}").text
    assert ("viene sola" in page) == known
    assert ("no se sabe" in page) == (not known)
    played.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", state=r.STATE_DRAFT, need_code="HOU.EMG", person=coarse, person_id=ID
    )
    client.get(f"/referrals/{ID}/services")
    assert played.last("MatchServices").HasField("dependants") == known


def test_the_coordination_invites_the_first_manager_of_a_member_that_has_none(
    played: PlayedServices, client: FlaskClient
) -> None:
    other = "f" * 32
    organization = played.answers["GetOrganization"]
    assert isinstance(organization, d.Organization)
    organization.id, organization.status, organization.has_manager = (
        other,
        d.ORGANIZATION_STATUS_APPROVED,
        False,
    )
    page = f"/directory/organizations/{other}"
    answer = send(
        client, page, f"{page}/invite", email=" directora@casa.example ", invited_language="fr"
    )
    assert (answer.status_code, "done=invited" in answer.headers["Location"]) == (303, True)
    invitation_sent = played.last("CreateInvitation").invitation
    assert (invitation_sent.organization_id, invitation_sent.email, invitation_sent.language) == (
        other,
        "directora@casa.example",
        "fr",
    )
    assert list(invitation_sent.roles) == [contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_WORKER]
    assert played.last("CreateInvitation").request_id
    for status, has_manager, offered in (
        (d.ORGANIZATION_STATUS_PROBATION, False, True),
        (d.ORGANIZATION_STATUS_APPROVED, True, False),
        (d.ORGANIZATION_STATUS_SUSPENDED, False, False),
    ):
        organization.status, organization.has_manager, organization.registered_by_worker_id = (
            status,
            has_manager,
            other,
        )
        assert (f"{page}/invite" in client.get(page).text) is offered, (status, has_manager)
    organization.status, organization.has_manager, organization.registered_by_worker_id = (
        d.ORGANIZATION_STATUS_PROBATION,
        False,
        ID,
    )
    assert f"{page}/invite" not in client.get(page).text, (
        "who registered it waits for the other's approval"
    )


# D22
@pytest.mark.parametrize("page", ["/members", "/directory/organizations/" + "f" * 32])
def test_without_email_the_page_offers_paper_and_shows_the_link_once(
    played: PlayedServices, client: FlaskClient, page: str
) -> None:
    organization = played.answers["GetOrganization"]
    assert isinstance(organization, d.Organization)
    organization.id, organization.status, organization.has_manager = (
        "f" * 32,
        d.ORGANIZATION_STATUS_APPROVED,
        False,
    )
    form = {
        "email": "nueva@casa.example",
        "language": "es",
        "invited_language": "es",
        "roles": "worker",
    }
    action = f"{page}/workers" if page == "/members" else f"{page}/invite"
    assert "on_paper" not in client.get(page).text
    played.answers["CreateInvitation"] = errors.Conflict("no_mail")
    refused = send(client, page, action, **form)
    assert refused.status_code == 422
    assert "Esta red no envía correos" in refused.text
    assert 'name="on_paper"' in refused.text
    link = "https://enlace.example/invitation#" + "s" * 43
    played.answers["CreateInvitation"] = m.Invitation(id=ID, organization_id="f" * 32, link=link)
    answer_page = send(client, page, action, on_paper="1", **form)
    assert answer_page.status_code == 200
    assert played.last("CreateInvitation").invitation.on_paper
    assert link in answer_page.text
    assert "<svg" in answer_page.text
    assert answer_page.headers["Cache-Control"] == "no-store"


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
    played: PlayedServices, refusal: errors.Refusal, status: int, sentence: str
) -> None:
    client = pages(played).test_client()
    played.answers["AcceptInvitation"] = refusal
    answer = send(
        client,
        "/invitation",
        token="a-secret-of-a-link",
        name="Petrona",
        password="una clave muy larga",
    )
    assert (answer.status_code, sentence in answer.text) == (status, True)
    assert "Petrona" in answer.text
    assert "una clave muy larga" not in answer.text
    assert "Set-Cookie" not in answer.headers
    request = played.last("AcceptInvitation")
    assert (request.token, request.name, request.password) == (
        "a-secret-of-a-link",
        "Petrona",
        "una clave muy larga",
    )


def test_an_accepted_invitation_leads_to_the_sign_in_without_its_secret(
    played: PlayedServices, capsys: pytest.CaptureFixture[str]
) -> None:
    client = pages(played).test_client()
    answer = send(
        client,
        "/invitation",
        token="a-secret-of-a-link",
        name="Petrona",
        password="una clave muy larga",
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?done=account")
    assert "a-secret-of-a-link" not in str(answer.headers) + "".join(capsys.readouterr())
    assert "Su cuenta está lista" in client.get(answer.headers["Location"]).text

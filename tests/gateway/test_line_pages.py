"""The pages of the line: recording contacts, their assessment, files, and the handover."""

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from services.referrals.line.domain.contact import MAX_NOTES
from services.referrals.line.domain.triage import Triage
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send

CONTACT = f"/line/{ID}"
NO_SUCH_CODE = "ese código no existe; pregúntelo otra vez, o déjelo vacío"


def test_a_contact_is_recorded_and_questions_without_an_answer_stay_open(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["CreateContact"] = c.CreateContactResponse(
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
    request = fakes.last("CreateContact")
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
    expected = ("W43P-VWJF", "4821", f"/referrals/new?contact={ID}")
    assert missing(answer.text, *expected) == []


def test_a_line_break_counts_as_one_character_as_in_the_browsers_limit(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    send(client, CONTACT, note="uno\r\ndos\r\n")
    assert fakes.last("UpdateContact").contact.note == "uno\ndos"


def test_a_contact_can_be_saved_however_much_the_caller_added(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    contact = c.Contact(id=ID, etag="1", note="llama sola", line_country="NI")
    for _ in range(MAX_NOTES):
        contact.later_notes.add(note="ñ" * 4000)
    fakes.answers |= {"GetContact": contact, "UpdateContact": contact}
    fields = sent_fields(client.get(CONTACT).text)
    assert client.post(CONTACT, data=fields | {"note": "llama otra vez"}).status_code == 303
    assert fakes.last("UpdateContact").contact.note == "llama otra vez"


@pytest.mark.parametrize("path", [CONTACT, f"{CONTACT}/hand-over", f"{CONTACT}/file"])
def test_a_new_message_of_the_caller_is_on_each_page_that_can_mark_it_as_read(
    fakes: FakePageServices, client: FlaskClient, path: str
) -> None:
    contact = c.Contact(id=ID, etag="1", unheard=True)
    contact.later_notes.add(note="ya me encontró")
    fakes.answers["GetContact"] = contact
    assert missing(client.get(path).text, "ya me encontró", ">nuevo<") == []


def test_a_contact_with_an_unknown_code_of_a_poster_is_saved_without_the_code(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    contact = c.Contact(id=ID, etag="2", update_time=Timestamp(seconds=1))

    def create(request: c.CreateContactRequest) -> c.CreateContactResponse:
        if request.contact.placement_code:
            raise errors.Invalid(("contact.placement_code", "malformed"))
        return c.CreateContactResponse(contact=contact, reference="W43P-VWJF", pin="4821")

    def update(request: c.UpdateContactRequest) -> c.Contact:
        if request.contact.placement_code:
            raise errors.Invalid(("contact.placement_code", "malformed"))
        return contact

    fakes.answers |= {"CreateContact": create, "UpdateContact": update, "GetContact": contact}
    new_page = send(client, "/line/new", danger_now="yes", placement_code="ZZZZ")
    assert (new_page.status_code, "W43P-VWJF" in new_page.text) == (200, True)
    assert new_page.text.count(NO_SUCH_CODE) == 3, (
        "the summary, the time of the save and the field state the error"
    )
    assert 'name="placement_code" type="text" value="ZZZZ"' in new_page.text
    saved_page = send(client, CONTACT, note="llama sola", placement_code="ZZZZ")
    assert (fakes.last("UpdateContact").contact.note, saved_page.status_code) == ("llama sola", 200)
    assert missing(saved_page.text, NO_SUCH_CODE, 'name="etag" value="2"') == []


def test_a_contact_is_not_saved_without_its_code_if_anything_else_is_wrong(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["UpdateContact"] = errors.Invalid(
        ("contact.placement_code", "malformed"), ("contact.note", "too_long")
    )
    answer = send(client, CONTACT, placement_code="ZZZZ")
    assert (answer.status_code, "Guardado" in answer.text) == (422, False)
    assert len(fakes.requests("UpdateContact")) == 1


@pytest.mark.parametrize(
    ("language", "name"),
    [("es", "criollo haitiano"), ("en", "Haitian Creole"), ("fr", "créole haïtien")],
)
def test_haitian_creole_is_offered_as_the_language_of_a_caller(
    client: FlaskClient, language: str, name: str
) -> None:
    assert f'<option value="ht">{name}</option>' in client.get(f"/line/new?lang={language}").text


@pytest.mark.parametrize("current", ["", "MX-BCN", "CU-03"])
def test_a_caller_may_be_in_any_country_and_the_departments_of_the_lines_country_come_first(
    fakes: FakePageServices, client: FlaskClient, current: str
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, line_country="NI", department=current)
    page = client.get(CONTACT).text
    [select] = re.findall(r'<select id="department".*?</select>', page, re.DOTALL)
    assert re.findall("<optgroup label=[^>]*>", select)[0] == '<optgroup label="Nicaragua">'
    assert missing(select, 'value="MX-BCN"', f'value="{current}" selected' if current else "") == []


TO_HIV_MEDICINE, TOO_LATE = "medicina contra el VIH hasta el", "Para la del VIH ya es tarde"
TO_OTHER_MEDICINE = "contra un embarazo"


@pytest.mark.parametrize("time", ["assault_time", "create_time"])
@pytest.mark.parametrize(
    ("hours", "expected"),
    [(1, [TO_HIV_MEDICINE, TO_OTHER_MEDICINE]), (73, [TOO_LATE, TO_OTHER_MEDICINE]), (121, [])],
)
def test_an_operator_reads_only_of_the_medicine_for_which_there_is_time(
    fakes: FakePageServices, client: FlaskClient, time: str, hours: int, expected: list[str]
) -> None:
    contact = c.Contact(id=ID, etag="1", medicine_codes=[r.CLOCK_KIND_HIV_PROPHYLAXIS])
    getattr(contact, time).FromDatetime(i18n.now() - timedelta(hours=hours))
    fakes.answers["GetContact"] = contact
    page = " ".join(client.get(CONTACT).text.split())
    sentences = (TO_HIV_MEDICINE, TOO_LATE, TO_OTHER_MEDICINE)
    assert [sentence for sentence in sentences if sentence in page] == expected


@pytest.mark.parametrize("path", ["/line/new", CONTACT])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ayer a las 8", "escriba el día y la hora así: 2026-11-29 14:30"),
        ("0026-11-29T14:30", "está fuera de lo permitido; revise la cifra o la fecha"),
    ],
)
def test_a_time_of_an_assault_that_cannot_be_read_is_refused_at_its_field(
    fakes: FakePageServices, client: FlaskClient, path: str, text: str, expected: str
) -> None:
    answer = send(client, path, danger_now="yes", note="llama sola", assault_time=text)
    assert (answer.status_code, answer.text.count(expected)) == (422, 2)
    assert 'href="#assault_time"' in answer.text
    assert 'name="etag" value="e1"' in answer.text, "the change of a colleague is not overwritten"
    assert missing(answer.text, text, "llama sola</textarea>") == []
    assert fakes.requests("CreateContact") + fakes.requests("UpdateContact") == []


@pytest.mark.parametrize(
    ("language", "expected"), [("es", "Sin valorar"), ("en", "Not assessed"), ("fr", "Non évaluée")]
)
def test_a_contact_that_was_not_assessed_is_never_called_normal(
    fakes: FakePageServices, client: FlaskClient, language: str, expected: str
) -> None:
    contact = c.Contact(id=ID, etag="1", outcome_code=c.CONTACT_OUTCOME_OPEN, reference_hint="7K")
    fakes.answers |= {
        "ListContacts": c.ListContactsResponse(contacts=[contact]),
        "GetContact": contact,
        "ListReferrals": r.ListReferralsResponse(),
        "ListEnquiries": e.ListEnquiriesResponse(),
    }
    for path in ("/line", "/line/new", CONTACT):
        page = client.get(f"{path}?lang={language}").text
        assert missing(page, expected, ">Normal") == [">Normal"], path


@pytest.mark.parametrize("urgency", [r.URGENCY_IMMEDIATE, r.URGENCY_NORMAL])
def test_an_immediate_contact_offers_the_referral_where_its_questions_stop(
    urgency: r.Urgency.ValueType, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, urgency=urgency)
    note = client.get(CONTACT).text.partition('id="enough">')[2].partition("</div>")[0]
    assert (f'href="/referrals/new?contact={ID}"' in note) == (urgency == r.URGENCY_IMMEDIATE)


def test_contacts_that_nobody_assessed_or_with_a_new_message_are_on_top_of_the_queue(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    advised, is_open = c.CONTACT_OUTCOME_ADVISED, c.CONTACT_OUTCOME_OPEN
    contacts = [
        c.Contact(id="1" * 32, outcome_code=advised, urgency=r.URGENCY_UNSPECIFIED),
        c.Contact(id="2" * 32, outcome_code=is_open, urgency=r.URGENCY_NORMAL),
        c.Contact(id="3" * 32, outcome_code=is_open, urgency=r.URGENCY_IMMEDIATE),
        c.Contact(id="4" * 32, outcome_code=is_open),
        c.Contact(id="5" * 32, outcome_code=advised, urgency=r.URGENCY_IMMEDIATE),
        c.Contact(id="6" * 32, outcome_code=is_open, urgency=r.URGENCY_NORMAL, unheard=True),
    ]
    fakes.answers["ListContacts"] = lambda request: c.ListContactsResponse(
        contacts=[
            contact
            for contact in contacts
            if request.outcome_code in (c.CONTACT_OUTCOME_UNSPECIFIED, contact.outcome_code)
        ]
    )
    row = re.compile(r'<h3><a href="/line/(\d)\1+"')
    assert row.findall(client.get("/line").text) == ["6", "4", "3", "2", "1", "5"]
    assert row.findall(client.get("/today").text) == ["6", "4", "3", "2"], "open ones come first"


def test_a_contact_shows_its_referrals_and_a_declined_one_leads_to_other_services(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    declined_referral = r.Referral(
        id="b" * 32,
        code="4BGZ42",
        state=r.STATE_DECLINED,
        side=r.SIDE_SENDER,
        main_step="refer_again",
        unanswered=True,
    )
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=[declined_referral])
    block = client.get(CONTACT).text.partition('id="referrals"')[2].partition("</section>")[0]
    assert fakes.last("ListReferrals").filter == r.ReferralFilter(box=r.BOX_OUTBOX, contact_id=ID)
    assert {f"/referrals/{'b' * 32}", f"/referrals/{'b' * 32}/reroute"} <= set(
        re.findall(r'href="([^"?#]+)', block)
    )
    assert "No la pudieron recibir" in block
    fakes.answers["ListReferrals"] = r.ListReferralsResponse()
    assert 'id="referrals"' not in client.get(CONTACT).text
    fakes.calls.clear()
    assert 'id="referrals"' not in client.get("/line/new").text
    assert fakes.requests("ListReferrals") == []


@pytest.mark.parametrize(
    ("name", "kind"), [("unrelated", c.CONTACT_KIND_UNRELATED), ("prank", c.CONTACT_KIND_PRANK)]
)
def test_a_contact_that_needs_nothing_is_closed_by_the_button_that_names_its_kind(
    name: str, kind: c.ContactKind.ValueType, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID, etag="v7", urgency=r.URGENCY_NORMAL, outcome_code=c.CONTACT_OUTCOME_OPEN
    )
    page = client.get(CONTACT).text
    assert f'name="close_as" value="{name}"' in page
    assert page.index(">Guardar<") < page.index('name="close_as"'), (
        "Enter in a field presses the first button of the form, which saves"
    )
    answer = send(client, CONTACT, kind_code="crisis", close_as=name, etag="v7")
    assert answer.location == "/line?done=saved"
    contact = fakes.last("UpdateContact").contact
    assert (contact.kind_code, contact.outcome_code) == (kind, c.CONTACT_OUTCOME_NOTHING_TO_DO)


@pytest.mark.parametrize("open_questions", [0, 10])
@pytest.mark.parametrize("urgency", r.Urgency.values())
def test_a_contact_that_is_urgent_or_not_yet_assessed_is_not_closed_by_one_press(
    urgency: r.Urgency.ValueType, open_questions: int, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID,
        etag="1",
        urgency=urgency,
        outcome_code=c.CONTACT_OUTCOME_OPEN,
        open_question_count=open_questions,
    )
    may_close = urgency in (r.URGENCY_UNSPECIFIED, r.URGENCY_NORMAL) and not open_questions
    assert ('name="close_as"' in client.get(CONTACT).text) == may_close
    answer = send(client, CONTACT, kind_code="crisis", close_as="prank", etag="1")
    assert answer.status_code == (303 if may_close else 422)
    assert len(fakes.requests("UpdateContact")) == may_close


def test_an_answer_that_was_changed_before_closing_is_saved_and_the_contact_stays_open(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID,
        etag="1",
        urgency=r.URGENCY_NORMAL,
        outcome_code=c.CONTACT_OUTCOME_OPEN,
        triage=c.Triage(danger_now=c.ANSWER_NO),
    )
    answer = send(client, CONTACT, kind_code="crisis", danger_now="yes", close_as="prank", etag="1")
    contact = fakes.last("UpdateContact").contact
    assert (contact.kind_code, contact.outcome_code, contact.triage.danger_now) == (
        c.CONTACT_KIND_CRISIS,
        c.CONTACT_OUTCOME_OPEN,
        c.ANSWER_YES,
    )
    assert answer.location == f"{CONTACT}?done=saved"


def test_a_new_contact_cannot_be_closed_by_one_press(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    assert 'name="close_as"' not in client.get("/line/new").text
    assert send(client, "/line/new", kind_code="crisis", close_as="prank").status_code == 422
    assert fakes.requests("CreateContact") == []


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("es", "Sin valorar · faltan 10"),
        ("en", "Not assessed · 10 to ask"),
        ("fr", "Non évaluée · il en reste 10"),
    ],
)
def test_a_contact_with_open_questions_states_how_many_are_left(
    language: str, expected: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID, etag="1", open_question_count=10, triage=c.Triage(danger_now=c.ANSWER_NO)
    )
    page = client.get(f"{CONTACT}?lang={language}").text
    assert missing(page, expected, 'class="pill normal"') == ['class="pill normal"']


def test_no_means_no_danger_for_each_question(client: FlaskClient) -> None:
    page = client.get("/line/new").text
    for question in Triage.__dataclass_fields__:
        fieldset = page.split(f'<fieldset class="field inline" id="{question}"')[1].split(
            "</fieldset>"
        )[0]
        [no] = re.findall(r'value="(\w*)"[^>]*><span>No<', fieldset)
        assert not Triage(**{question: no})._applying_rules(), question
        assert Triage(
            **{question: {"yes": "no", "no": "yes"}[no]}
        )._applying_rules() or question in ("wants_out", "safe_to_talk")


def test_a_caller_is_handed_over_to_a_member_or_to_an_emergency_number(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = f"{CONTACT}/hand-over"
    fakes.answers["ListOrganizations"] = d.ListOrganizationsResponse(
        organizations=[d.Organization(id="b" * 32, name="Albergue Luz")]
    )
    assert "Albergue Luz" in client.get(page).text
    fields = {"etag": "v7", "emergency_number_code": "ambulance"}
    assert send(client, page, **fields, connected_live="yes").status_code == 303
    assert fakes.last("UpdateContact").contact == c.Contact(
        id=ID,
        etag="v7",
        connected_live=c.ANSWER_YES,
        emergency_number_code=c.EMERGENCY_NUMBER_AMBULANCE,
        outcome_code=c.CONTACT_OUTCOME_HANDED_OVER,
    )
    incomplete_answer = send(client, page, **fields, connected_live="")
    assert (
        incomplete_answer.status_code,
        "diga si quedaron hablando" in incomplete_answer.text,
    ) == (422, True)
    assert len(fakes.requests("UpdateContact")) == 1
    send(client, page, **fields, connected_live="no")
    assert "outcome_code" not in fakes.last("UpdateContact").update_mask.paths
    for field, reason, problem in (
        ("emergency_number_code", "out_of_range", "elija una organización o un número"),
        ("handed_over_organization_id", "required", "elija con quién, o con qué número"),
    ):
        fakes.answers["UpdateContact"] = errors.Invalid((f"contact.{field}", reason))
        answer = send(client, page, **fields, connected_live="yes")
        assert (answer.status_code, missing(answer.text, f'id="{field}-error"', problem)) == (
            422,
            [],
        )


@pytest.mark.parametrize("term", ["Ximena", "qk4-m2x", "QK4 M2X"])
def test_an_operator_links_a_contact_to_a_file_that_she_finds_by_name_or_code(
    term: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    file = p.Person(id="b" * 32, code="QK4M2X")
    fakes.answers |= {
        "GetContact": c.Contact(id=ID, etag="v3", line_country="NI"),
        "SearchPeople": p.SearchPeopleResponse(
            people=[file, p.Person(id="c" * 32, code="ERASED", erased=True)]
        ),
        "ListPeople": p.ListPeopleResponse(people=[] if term == "Ximena" else [file]),
    }
    assert f'href="{CONTACT}/file"' in client.get(CONTACT).text
    list_page = send(client, f"{CONTACT}/file", f"{CONTACT}/files", q=term).text
    assert "QK4M2X" in list_page
    assert re.findall(r'name="person_id" value="(\w+)"', list_page) == [file.id], (
        "an erased file is not offered"
    )
    assert ("Esta búsqueda quedó anotada" in list_page) == (term == "Ximena")
    answer = send(client, f"{CONTACT}/file", q=term, etag="v3", person_id=file.id)
    assert (answer.status_code, answer.location) == (303, f"{CONTACT}?done=saved")
    request = fakes.last("UpdateContact")
    assert request.contact == c.Contact(id=ID, etag="v3", person_id=file.id)
    assert list(request.update_mask.paths) == ["person_id"]


def test_the_file_of_a_caller_is_found_by_one_call_with_its_code(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, etag="v3")
    send(client, f"{CONTACT}/file", f"{CONTACT}/files", q="qk4-m2x")
    assert fakes.last("ListPeople") == p.ListPeopleRequest(code="qk4-m2x")
    fakes.answers |= {
        "ListPeople": errors.Invalid(("code", "malformed")),
        "SearchPeople": p.SearchPeopleResponse(people=[p.Person(id="b" * 32, code="QK4M2X")]),
    }
    answer = send(client, f"{CONTACT}/file", f"{CONTACT}/files", q="Murúua")
    assert (answer.status_code, "QK4M2X" in answer.text) == (200, True), "a name of six letters"


def test_an_operator_who_may_not_search_by_name_reads_why_and_finds_a_file_by_its_code(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SearchPeople"] = errors.NotAllowed("member_on_probation")
    answer = send(client, f"{CONTACT}/file", f"{CONTACT}/files", q="Ximena")
    texts = ("período de prueba", 'value="Ximena"', "Por el código del expediente")
    assert (answer.status_code, missing(answer.text, *texts)) == (422, [])


def test_an_operator_ends_the_link_of_a_contact_to_a_file(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, etag="v3", person_id="b" * 32)
    assert 'name="person_id" value=""' in client.get(f"{CONTACT}/file").text
    assert send(client, f"{CONTACT}/file", etag="v3", person_id="").status_code == 303
    request = fakes.last("UpdateContact")
    assert (request.contact, list(request.update_mask.paths)) == (
        c.Contact(id=ID, etag="v3"),
        ["person_id"],
    )


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(errors.NotFound(), 404), (errors.Conflict("person_erased"), 422), (errors.Stale(), 409)],
)
def test_a_refused_link_to_a_file_is_answered_with_the_status_of_the_refusal(
    refusal: errors.Refusal, status: int, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["UpdateContact"] = refusal
    assert send(client, f"{CONTACT}/file", person_id="b" * 32).status_code == status


def test_a_shift_is_handed_over_with_one_sheet_and_the_worker_who_takes_over_is_recorded(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = client.get("/line/shift").text
    expected = (
        "Contactos abiertos",
        "Llamadas que debemos",
        "Consultas sin cerrar",
        "Remisiones que nos esperan",
        "Rosa Méndez",  # the worker who took over the last shift
    )
    assert missing(page, *expected) == []
    assert "/line/calls/" not in page, "the sheet offers no actions"
    assert send(client, "/line/shift", request_id="1" * 32).location == "/line/shift?done=saved"
    assert fakes.last("TakeOverLine").request_id == "1" * 32


def test_a_contact_that_was_marked_as_handed_over_by_mistake_is_open_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    for outcome, expected in (
        (c.CONTACT_OUTCOME_HANDED_OVER, [c.CONTACT_OUTCOME_OPEN]),
        (c.CONTACT_OUTCOME_REFERRED, []),
    ):
        fakes.answers["GetContact"] = c.Contact(id=ID, line_country="NI", outcome_code=outcome)
        form = {"etag": "v7", "emergency_number_code": "ambulance", "connected_live": "no"}
        assert send(client, f"{CONTACT}/hand-over", **form).status_code == 303
        request = fakes.last("UpdateContact")
        is_changed = "outcome_code" in request.update_mask.paths
        assert ([request.contact.outcome_code] if is_changed else []) == expected

"""The coordinator's board.

It shows unmet needs, due referrals, response times, urgent cases, and the numbers to call.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n, vocabulary, words
from services.gateway.site.parts import pictures
from tests.builders import NOON
from tests.gateway.pages_gateway import ID, FakePageServices, missing, pages, signed_in, submit

SENDER, RECEIVER = "a" * 32, "b" * 32


def referral_due(
    time: datetime, urgency: r.Urgency.ValueType = r.URGENCY_URGENT, number: int = 1
) -> r.Referral:
    """Returns a referral whose next deadline is at this time; it is the receiver's turn."""
    return r.Referral(
        id=f"{number:032x}",
        code="4BGZ42",
        urgency=urgency,
        state=r.STATE_SENT,
        need_code="HOU.EMG",
        service_id=ID,
        sender_organization_id=SENDER,
        receiver_organization_id=RECEIVER,
        turn=r.TURN_RECEIVER,
        next_due_time=time,  # type: ignore[arg-type]  # the stubs lack datetime
    )


def referral_due_in(
    minutes: int, urgency: r.Urgency.ValueType = r.URGENCY_URGENT, number: int = 1
) -> r.Referral:
    return referral_due(i18n.now() + timedelta(minutes=minutes), urgency, number)


def listing(
    queue: list[r.Referral], upcoming: list[r.Referral], next_page: str = ""
) -> Callable[..., r.ListReferralsResponse]:
    """Returns a fake ListReferrals: `queue` for pressing referrals, otherwise the upcoming ones."""

    def answer(request: r.ListReferralsRequest) -> r.ListReferralsResponse:
        if request.filter.pressing:
            return r.ListReferralsResponse(referrals=queue, next_page_token=next_page)
        return r.ListReferralsResponse(referrals=upcoming)

    return answer


def unanswered_needs(*needs: tuple[str, str, int]) -> list[r.UnansweredNeed]:
    return [
        r.UnansweredNeed(need_group_code=group, department=place, count=count)
        for group, place, count in needs
    ]


def test_the_board_keeps_the_order_of_the_service_and_links_to_the_next_page(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    rows = [referral_due_in(5, number=number) for number in range(50)]
    fakes.answers["ListReferrals"] = listing(rows, [], next_page="the-next")
    page = client.get("/board").text
    assert re.findall(r'<h3><a href="/referrals/(\w+)"', page) == [row.id for row in rows]
    list_request = fakes.requests("ListReferrals")[0]
    assert (list_request.order_by, list_request.filter) == (
        r.ORDER_URGENCY,
        r.ReferralFilter(box=r.BOX_NETWORK, pressing=True),
    )
    assert 'href="/board?page=the-next"' in page
    second_page = client.get("/board?page=the-next").text
    assert fakes.last("ListReferrals").page_token == "the-next"
    links = [f"/referrals/{row.id}" for row in rows]
    assert missing(second_page, *links, "<path", "Volver al comienzo") == ["<path"]


def test_urgent_referrals_are_above_the_charts(client: FlaskClient) -> None:
    page = client.get("/board").text
    assert page.index("Lo que no puede esperar") < page.index("Necesidad sin cubrir")


def test_needs_that_nobody_could_meet_are_counted_by_need_place_and_reason(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    need = e.UnmetNeed(need_code="HOU.EMG", department="NI-LE", reason_code="no_response", count=3)
    fakes.answers["ListUnmetNeeds"] = e.ListUnmetNeedsResponse(needs=[need])
    texts = (
        "Lo que se preguntó y nadie pudo",
        'no respondieron a tiempo</td><td class="n" data-label="Consultas">3</td>',
    )
    assert missing(client.get("/board").text, *texts) == []


def test_no_empty_box_is_shown(fakes: FakePageServices, client: FlaskClient) -> None:
    fakes.answers |= {
        "ListReferrals": r.ListReferralsResponse(),
        "CountReferrals": r.CountReferralsResponse(),
        "GetResponseTimes": r.ResponseTimes(),
        "ListOrganizations": d.ListOrganizationsResponse(),
        "ListUnmetNeeds": e.ListUnmetNeedsResponse(),
    }
    page = client.get("/board").text
    texts = (
        "ningún pedido volvió sin ayuda.",
        "Ninguna remisión vence en las próximas 12 horas.",
        "Nada que no pueda esperar.",
    )
    absent_texts = ["<path", "<circle", "<table", "Cuánto tardan", "período de prueba"]
    assert missing(page, *texts, *absent_texts) == absent_texts


def test_the_map_shades_a_department_by_its_unmet_need_and_the_table_has_the_same_numbers(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    needs = unanswered_needs(
        ("HOU", "NI-CI", 6),
        ("MED", "NI-CI", 4),
        ("HOU", "NI-LE", 2),
        ("HOU", "", 1),
        ("HOU", "HN-CH", 1),
    )
    fakes.answers["CountReferrals"] = r.CountReferralsResponse(unanswered=needs)
    page = client.get("/board").text
    shades = dict(re.findall(r'<path class="(s\d)" d="[^"]+"><title>([^<]+)</title>', page))
    assert len(re.findall(r"<path class", page)) == 17
    assert (shades["s5"], shades["s1"]) == ("Chinandega: 10", "León: 2")
    assert "14 sin servicio" in page
    table = re.findall(r"<tr><td>([^<]+)</td><td class=\"n\">(\d+)</td></tr>", page)
    assert table == [
        ("Chinandega", "10"),
        ("León", "2"),
        ("No se sabe dónde", "1"),
        ("Choluteca", "1"),
    ]


def test_needs_are_counted_by_department_and_the_last_column_counts_all_other_departments() -> None:
    places = [
        ("NI-CI", 9),
        ("NI-LE", 8),
        ("NI-MN", 7),
        ("NI-NS", 6),
        ("NI-MD", 5),
        ("NI-ES", 4),
        ("NI-RI", 3),
    ]
    heat = pictures.heat(
        unanswered_needs(*(("HOU", place, count) for place, count in places), ("MED", "NI-RI", 1))
    )
    assert (heat["departments"], heat["others"]) == ([place for place, _ in places[:5]], True)
    assert [(group, [count for count, _ in cells]) for group, cells in heat["rows"]] == [
        ("HOU", [9, 8, 7, 6, 5, 7]),
        ("MED", [0, 0, 0, 0, 0, 1]),
    ]
    assert heat["total"] == sum(count for _, count in places) + 1
    small_counts = pictures.heat(unanswered_needs(("HOU", "NI-CI", 1)))
    assert (small_counts["others"], small_counts["rows"]) == (False, [("HOU", [(1, 1)])]), (
        "a single case does not get the darkest shade"
    )


def test_every_deadline_of_the_next_hours_is_a_dot_or_is_counted_above_the_dots() -> None:
    inside_referrals = [
        referral_due(NOON, r.URGENCY_NORMAL),
        referral_due(NOON, r.URGENCY_IMMEDIATE),
        referral_due(NOON + timedelta(hours=6)),
    ]
    outside_referrals = [
        referral_due(NOON - timedelta(minutes=6)),
        referral_due(NOON + timedelta(hours=12)),
    ]
    crowded_hour = [referral_due(NOON + timedelta(hours=1))] * 10
    with pages(FakePageServices()).test_request_context():
        strip = pictures.strip([*inside_referrals, *outside_referrals], NOON, timedelta(hours=12))
        crowded_strip = pictures.strip(crowded_hour, NOON, timedelta(hours=12))
    assert strip["dots"] == [
        (1.04, 0, "immediate", 0),
        (1.04, 1, "normal", 0),
        (51.04, 0, "urgent", 0),
    ]
    assert (strip["rows"], strip["by_urgency"]) == (
        2,
        [("immediate", 1), ("urgent", 1), ("normal", 1)],
    )
    assert (
        sum(hidden_count or 1 for _at, _row, _urgency, hidden_count in crowded_strip["dots"]) == 10
    )


def test_each_dot_has_words_for_readers_who_do_not_see_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["ListReferrals"] = listing(
        [], [referral_due_in(30, r.URGENCY_IMMEDIATE, 1), referral_due_in(90, r.URGENCY_NORMAL, 2)]
    )
    page = client.get("/board").text
    assert len(re.findall("<circle class", page)) == 2
    rows = re.findall(
        r"<li>[^<]+ · <a class=\"code\" href=\"/referrals/(\w+)\">4BGZ42</a> · Albergue ·"
        r" (\w+)</li>",
        page,
    )
    assert rows == [(f"{1:032x}", "Inmediata"), (f"{2:032x}", "Normal")]


def test_response_times_list_every_member_with_how_many_referrals_it_answered(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    times = [
        r.ResponseTime(organization_id=f"{n:032x}", sent=6, answered=5, median_seconds=7800 - n)
        for n in range(20)
    ]
    times.append(r.ResponseTime(organization_id=RECEIVER, sent=2))
    fakes.answers["GetResponseTimes"] = r.ResponseTimes(organizations=times)
    page = client.get("/board").text
    texts = ("2 h 10 · 5 de 6", " · 5 de 6", "ninguna de 2")
    assert [page.count(text) for text in texts] == [1, 20, 1]


@pytest.mark.parametrize(
    ("turn", "confidential", "service_phone", "number"),
    [
        (r.TURN_RECEIVER, False, "+50520000001", "+50520000001"),
        (r.TURN_RECEIVER, False, "", "+50520000003"),
        (r.TURN_RECEIVER, True, "", None),
        (r.TURN_RECEIVER, True, "+50520000001", None),  # the directory should not give this number
        (r.TURN_SENDER, True, "", "+50520000002"),
        (r.TURN_UNSPECIFIED, False, "+50520000001", None),
    ],
)
def test_the_desk_whose_turn_it_is_can_be_called_unless_its_service_is_confidential(
    turn: r.Turn.ValueType,
    confidential: bool,
    service_phone: str,
    number: str | None,
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    row = referral_due_in(5)
    row.turn = turn
    fakes.answers["ListReferrals"] = listing([row], [])
    organizations = [
        d.Organization(id=SENDER, name="Raíces", phone="+50520000002"),
        d.Organization(id=RECEIVER, name="Luna", phone="+50520000003"),
    ]
    service = d.Service(id=ID, name="Camas", confidential=confidential, phone=service_phone)
    fakes.answers["BatchGet"] = d.BatchGetResponse(organizations=organizations, services=[service])
    assert re.findall(r'href="tel:([^"]+)"', client.get("/board").text) == (
        [number] if number else []
    )


def test_a_service_that_is_not_shown_has_no_number_to_call(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "ListReferrals": listing([referral_due_in(5)], []),
        "BatchGet": d.BatchGetResponse(
            organizations=[d.Organization(id=RECEIVER, name="Luna", phone="+50520000003")]
        ),
    }
    assert "tel:" not in client.get("/board").text


def test_the_map_and_the_vocabulary_have_the_same_codes_of_departments() -> None:
    country = pictures.map_of("NI", {}) or {}
    assert {area["code"] for area in country["subdivisions"]} == {
        code for code in vocabulary.DEPARTMENTS if code.startswith("NI-")
    }


def test_the_short_name_of_a_department_fits_its_column() -> None:
    short_names = {code: words.department_short(code) for code in vocabulary.DEPARTMENTS}
    assert {name for name in short_names.values() if len(name) > 6} == set()
    names_in_nicaragua = [name for code, name in short_names.items() if code.startswith("NI-")]
    assert len(names_in_nicaragua) == len(set(names_in_nicaragua))


def test_every_count_is_restricted_to_live_pressing_or_waiting_referrals(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    pressing = r.CountReferralsResponse(late=21, due_soon=22, fresh=1, by_state={"in_progress": 2})
    live = r.CountReferralsResponse(
        late=3, due_soon=4, fresh=23, by_state={"in_progress": 24}, live_by_need_group={"HOU": 25}
    )

    def answer(request: r.CountReferralsRequest) -> r.CountReferralsResponse:
        return pressing if request.filter.pressing else live

    fakes.answers |= {
        "CountReferrals": answer,
        "IssueToken": signed_in(contract_pb2.ROLE_COORDINATOR),
    }
    tiles = re.findall(r'class="tile[^>]*><b>(\d+)</b>', client.get("/today").text)
    assert tiles == ["21", "22", "23", "24"], (
        "counts of the whole network, including declined referrals"
    )
    texts = ("25 remisiones abiertas", "21 con atraso", "22 vencen en 4 horas")
    assert missing(client.get("/board").text, *texts) == []
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER)
    client.get("/today")
    filters = [request.filter for rpc, request, _ in fakes.calls if rpc == "CountReferrals"]
    assert len(filters) == 6
    assert all(filter_.live or filter_.pressing or filter_.waiting_for_me for filter_ in filters)


def test_an_unreviewed_emergency_access_is_on_the_board_and_its_notice_leads_there(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_COORDINATOR)
    emergency = em.Emergency(
        id="e" * 32, organization_id=RECEIVER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK
    )
    fakes.answers["ListEmergencies"] = em.ListEmergenciesResponse(emergencies=[emergency])
    page = client.get("/board").text
    assert 'href="/emergencies/' + "e" * 32 in page
    assert fakes.last("ListEmergencies").waiting
    assert submit(client, f"/inbox/{ID}/read", page, kind="emergency_opened").location == "/board"


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        (d.ORGANIZATION_STATUS_SUSPENDED, 'class="pill late">Suspendida'),
        (d.ORGANIZATION_STATUS_LEFT, 'class="pill plain">Se retiró'),
    ],
)
@pytest.mark.parametrize("organization_id", [SENDER, RECEIVER])
@pytest.mark.parametrize("path", ["/today", "/board", "/referrals"])
def test_a_list_marks_an_organisation_that_is_suspended_or_has_left(
    path: str,
    organization_id: str,
    status: d.OrganizationStatus.ValueType,
    mark: str,
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_COORDINATOR)
    row = referral_due_in(9000)
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=[row])
    organization = d.Organization(id=organization_id, name="Luna Nueva")
    fakes.answers["BatchGet"] = d.BatchGetResponse(organizations=[organization])
    assert mark not in client.get(path).text
    organization.status = status
    fakes.answers["BatchGet"] = d.BatchGetResponse(organizations=[organization])
    assert re.search(rf"Luna Nueva\s*<span {mark}", client.get(path).text)

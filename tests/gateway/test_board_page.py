"""The coordinator's board.

It shows missing help, due referrals, response times, urgent cases, and whom to call about them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

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
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages, signed_in, token_of

SENDER, RECEIVER = "a" * 32, "b" * 32


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def due_in(
    minutes: int, urgency: r.Urgency.ValueType = r.URGENCY_URGENT, number: int = 1
) -> r.Referral:
    referral = r.Referral(
        id=f"{number:032x}",
        code="4BGZ42",
        urgency=urgency,
        state=r.STATE_SENT,
        need_code="HOU.EMG",
        service_id=ID,
    )
    referral.sender_organization_id, referral.receiver_organization_id, referral.turn = (
        SENDER,
        RECEIVER,
        r.TURN_RECEIVER,
    )
    referral.next_due_time.FromDatetime(
        (i18n.now() + timedelta(minutes=minutes)).replace(tzinfo=None)
    )
    return referral


def with_answers(
    queue: list[r.Referral], upcoming: list[r.Referral], more: str = ""
) -> Callable[..., r.ListReferralsResponse]:
    def listed(request: r.ListReferralsRequest) -> r.ListReferralsResponse:
        if request.filter.pressing:
            return r.ListReferralsResponse(referrals=queue, next_page_token=more)
        return r.ListReferralsResponse(referrals=upcoming)

    return listed


def unanswered(*needs: tuple[str, str, int]) -> list[r.UnansweredNeed]:
    return [
        r.UnansweredNeed(need_group_code=group, department=place, count=count)
        for group, place, count in needs
    ]


def test_the_queue_is_ordered_by_the_service_and_continues_behind_a_link(
    played: PlayedServices, client: FlaskClient
) -> None:
    rows = [due_in(5, number=number) for number in range(50)]
    played.answers["ListReferrals"] = with_answers(rows, [], more="the-next")
    page = client.get("/board").text
    assert re.findall(r'<h3><a href="/referrals/(\w+)"', page) == [row.id for row in rows]
    list_request = next(request for rpc, request, _ in played.asked if rpc == "ListReferrals")
    assert (list_request.order_by, list_request.filter) == (
        r.ORDER_URGENCY,
        r.ReferralFilter(box=r.BOX_NETWORK, pressing=True),
    )
    assert 'href="/board?page=the-next"' in page
    second = client.get("/board?page=the-next").text
    assert played.last("ListReferrals").page_token == "the-next"
    assert all(f"/referrals/{row.id}" in second for row in rows)
    assert ("<path" in second, "Volver al comienzo" in second) == (False, True)


def test_what_cannot_wait_stands_above_the_charts(client: FlaskClient) -> None:
    page = client.get("/board").text
    assert page.index("Lo que no puede esperar") < page.index("Necesidad sin cubrir")


def test_enquiries_that_nobody_could_meet_are_counted_by_need_place_and_reason(
    played: PlayedServices, client: FlaskClient
) -> None:
    lack = e.UnmetNeed(need_code="HOU.EMG", department="NI-LE", reason_code="no_response", count=3)
    played.answers["ListUnmetNeeds"] = e.ListUnmetNeedsResponse(needs=[lack])
    page = client.get("/board").text
    assert "Lo que se preguntó y nadie pudo" in page
    assert 'no respondieron a tiempo</td><td class="n" data-label="Consultas">3</td>' in page


def test_no_empty_box_is_shown(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["ListReferrals"], played.answers["CountReferrals"] = (
        with_answers([], []),
        r.CountReferralsResponse(),
    )
    played.answers["GetResponseTimes"], played.answers["ListOrganizations"] = (
        r.ResponseTimes(),
        d.ListOrganizationsResponse(),
    )
    played.answers["ListUnmetNeeds"] = e.ListUnmetNeedsResponse()
    page = client.get("/board").text
    for text in (
        "ningún pedido volvió sin ayuda.",
        "Ninguna remisión vence en las próximas 12 horas.",
        "Nada que no pueda esperar.",
    ):
        assert text in page
    for fragment in ("<path", "<circle", "<table", "Cuánto tardan", "período de prueba"):
        assert fragment not in page


def test_the_map_shades_a_department_by_its_unmet_need_and_the_table_has_the_same_numbers(
    played: PlayedServices, client: FlaskClient
) -> None:
    needs = unanswered(
        ("HOU", "NI-CI", 6),
        ("MED", "NI-CI", 4),
        ("HOU", "NI-LE", 2),
        ("HOU", "", 1),
        ("HOU", "HN-CH", 1),
    )
    played.answers["CountReferrals"] = r.CountReferralsResponse(unanswered=needs)
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


def test_needs_are_shown_by_department_and_departments_without_a_column_are_in_the_last(
    played: PlayedServices,
) -> None:
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
        unanswered(*(("HOU", place, count) for place, count in places), ("MED", "NI-RI", 1))
    )
    assert (heat["departments"], heat["others"]) == ([place for place, _ in places[:5]], True)
    assert [(group, [count for count, _ in cells]) for group, cells in heat["rows"]] == [
        ("HOU", [9, 8, 7, 6, 5, 7]),
        ("MED", [0, 0, 0, 0, 0, 1]),
    ]
    assert heat["total"] == sum(count for _, count in places) + 1
    small_counts = pictures.heat(unanswered(("HOU", "NI-CI", 1)))
    assert (small_counts["others"], small_counts["rows"]) == (False, [("HOU", [(1, 1)])]), (
        "a single case does not get the darkest shade"
    )


def test_every_deadline_of_the_next_hours_is_a_dot_or_counted_above_them() -> None:
    rows = [
        due_at(hours, urgency)
        for hours, urgency in (
            (0, r.URGENCY_NORMAL),
            (0, r.URGENCY_IMMEDIATE),
            (6, r.URGENCY_URGENT),
        )
    ]
    outside = [due_at(-0.1, r.URGENCY_URGENT), due_at(12, r.URGENCY_URGENT)]
    with pages(PlayedServices()).test_request_context():
        strip = pictures.strip([*rows, *outside], NOON, timedelta(hours=12))
        many = pictures.strip(
            [due_at(1, r.URGENCY_URGENT) for _ in range(10)], NOON, timedelta(hours=12)
        )
    assert strip["dots"] == [
        (1.04, 0, "immediate", 0),
        (1.04, 1, "normal", 0),
        (51.04, 0, "urgent", 0),
    ]
    assert (strip["rows"], strip["by_urgency"]) == (
        2,
        [("immediate", 1), ("urgent", 1), ("normal", 1)],
    )
    assert sum(more or 1 for _at, _row, _urgency, more in many["dots"]) == 10


def due_at(hours: float, urgency: r.Urgency.ValueType) -> r.Referral:
    referral = due_in(0, urgency)
    referral.next_due_time.FromDatetime((NOON + timedelta(hours=hours)).replace(tzinfo=None))
    return referral


def test_each_dot_has_words_for_readers_who_do_not_see_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["ListReferrals"] = with_answers(
        [], [due_in(30, r.URGENCY_IMMEDIATE, 1), due_in(90, r.URGENCY_NORMAL, 2)]
    )
    page = client.get("/board").text
    assert len(re.findall("<circle class", page)) == 2
    listed = re.findall(
        r"<li>[^<]+ · <a class=\"code\" href=\"/referrals/(\w+)\">4BGZ42</a> · Albergue ·"
        r" (\w+)</li>",
        page,
    )
    assert listed == [(f"{1:032x}", "Inmediata"), (f"{2:032x}", "Normal")]


def test_response_times_list_every_member_with_what_it_left_unanswered(
    played: PlayedServices, client: FlaskClient
) -> None:
    times = [
        r.ResponseTime(organization_id=f"{n:032x}", sent=6, answered=5, median_seconds=7800 - n)
        for n in range(20)
    ]
    times.append(r.ResponseTime(organization_id=RECEIVER, sent=2))
    played.answers["GetResponseTimes"] = r.ResponseTimes(organizations=times)
    page = client.get("/board").text
    assert "2 h 10 · 5 de 6" in page
    assert (page.count(" · 5 de 6"), page.count("ninguna de 2")) == (20, 1)


@pytest.mark.parametrize(
    ("turn", "confidential", "service_phone", "called"),
    [
        (r.TURN_RECEIVER, False, "+50520000001", "+50520000001"),
        (r.TURN_RECEIVER, False, "", "+50520000003"),
        (r.TURN_RECEIVER, True, "", None),
        (r.TURN_RECEIVER, True, "+50520000001", None),  # a number that no directory should give
        (r.TURN_SENDER, True, "", "+50520000002"),
        (r.TURN_UNSPECIFIED, False, "+50520000001", None),
    ],
)
def test_the_desk_whose_turn_it_is_can_be_called_unless_its_service_is_confidential(
    turn: r.Turn.ValueType,
    confidential: bool,
    service_phone: str,
    called: str | None,
    played: PlayedServices,
    client: FlaskClient,
) -> None:
    row = due_in(5)
    row.turn = turn
    played.answers["ListReferrals"] = with_answers([row], [])
    organizations = [
        d.Organization(id=SENDER, name="Raíces", phone="+50520000002"),
        d.Organization(id=RECEIVER, name="Luna", phone="+50520000003"),
    ]
    service = d.Service(id=ID, name="Camas", confidential=confidential, phone=service_phone)
    played.answers["BatchGet"] = d.BatchGetResponse(organizations=organizations, services=[service])
    assert re.findall(r'href="tel:([^"]+)"', client.get("/board").text) == (
        [called] if called else []
    )


def test_a_service_that_is_not_shown_has_no_number_to_call(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["ListReferrals"] = with_answers([due_in(5)], [])
    played.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[d.Organization(id=RECEIVER, name="Luna", phone="+50520000003")]
    )
    assert "tel:" not in client.get("/board").text


def test_the_map_and_the_vocabulary_have_the_same_codes_of_departments() -> None:
    country = pictures.map_of("NI", {})
    assert country
    assert {area["code"] for area in country["subdivisions"]} == {
        code for code in vocabulary.DEPARTMENTS if code.startswith("NI-")
    }


def test_the_short_name_of_a_department_fits_its_column() -> None:
    short = {code: words.department_short(code) for code in vocabulary.DEPARTMENTS}
    assert {name for name in short.values() if len(name) > 6} == set()
    of_one_country = [name for code, name in short.items() if code.startswith("NI-")]
    assert len(of_one_country) == len(set(of_one_country))


def test_every_count_on_a_page_is_restricted_to_live_or_pressing_referrals(
    played: PlayedServices, client: FlaskClient
) -> None:
    def counted(request: r.CountReferralsRequest) -> r.CountReferralsResponse:
        if request.filter.pressing:
            return r.CountReferralsResponse(
                late=21, due_soon=22, fresh=1, by_state={"in_progress": 2}
            )
        return r.CountReferralsResponse(
            late=3,
            due_soon=4,
            fresh=23,
            by_state={"in_progress": 24},
            live_by_need_group={"HOU": 25},
        )

    played.answers["CountReferrals"] = counted
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_COORDINATOR)
    tiles = re.findall(r'class="tile[^>]*><b>(\d+)</b>', client.get("/today").text)
    assert tiles == ["21", "22", "23", "24"], (
        "counts of the whole network, including declined referrals"
    )
    board = client.get("/board").text
    assert all(
        text in board
        for text in ("25 remisiones abiertas", "21 con atraso", "22 vencen en 4 horas")
    )
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER)
    client.get("/today")
    filters = [request.filter for rpc, request, _ in played.asked if rpc == "CountReferrals"]
    assert len(filters) == 6
    assert all(filter_.live or filter_.pressing or filter_.waiting_for_me for filter_ in filters)


def test_an_unreviewed_emergency_access_is_on_the_board_and_its_notice_leads_there(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_COORDINATOR)
    emergency = em.Emergency(
        id="e" * 32, organization_id=RECEIVER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK
    )
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse(emergencies=[emergency])
    coordinator = enter(pages(played).test_client())
    page = coordinator.get("/board").text
    assert 'href="/emergencies/' + "e" * 32 in page
    assert played.last("ListEmergencies").waiting
    fields = {"form_token": token_of(page), "request_id": "one", "kind": "emergency_opened"}
    assert coordinator.post(f"/inbox/{ID}/read", data=fields).location == "/board"

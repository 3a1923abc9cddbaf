"""Declined referrals on Today, the search for another service, and the lists of referrals."""

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from tests.gateway.pages_gateway import ID, FakePageServices, missing, referral, submit, token_of

PAGE = f"/referrals/{ID}"


def declined_referral(identifier: str, urgency: r.Urgency.ValueType, hours: int) -> r.Referral:
    """Returns a declined referral, with `hours` left to find another service."""
    now = i18n.now()
    declined = r.Referral(
        id=identifier,
        state=r.STATE_DECLINED,
        side=r.SIDE_SENDER,
        urgency=urgency,
        need_code="HOU.EMG",
        main_step="refer_again",
        unanswered=True,
    )
    declined.next_due_time.FromDatetime(now + timedelta(hours=hours))
    declined.clocks.add(kind=r.CLOCK_KIND_REPLACE, due_time=declined.next_due_time, start_time=now)
    return declined


def today_page(fakes: FakePageServices, client: FlaskClient, *declined: r.Referral) -> str:
    """Returns the page Today when these referrals were declined."""
    fakes.answers["ListReferrals"] = lambda request: r.ListReferralsResponse(
        referrals=declined if request.filter.unanswered else []
    )
    return client.get("/today").text


def test_today_keeps_showing_a_declined_referral(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = today_page(fakes, client, declined_referral("a" * 32, r.URGENCY_EMERGENCY, 3))
    assert missing(page, f"/referrals/{'a' * 32}/reroute", "buscar otro servicio") == []


def test_a_declined_emergency_is_above_less_urgent_referrals_whatever_their_deadlines(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = today_page(
        fakes,
        client,
        declined_referral("1" * 32, r.URGENCY_NORMAL, 1),
        declined_referral("2" * 32, r.URGENCY_EMERGENCY, 20),
        declined_referral("3" * 32, r.URGENCY_EMERGENCY, 9),
        declined_referral("4" * 32, r.URGENCY_IMMEDIATE, 30),
    )
    assert "Sin servicio: buscar otro" in page
    assert re.findall(r'<h3><a href="/referrals/(\d)\1+"', page) == ["4", "3", "2", "1"]


def test_looking_for_another_service_continues_the_draft_that_was_begun(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = declined = declined_referral(ID, r.URGENCY_EMERGENCY, 3)
    second_tab = client.get(f"{PAGE}/reroute").text
    assert "Ver qué otros servicios hay" in second_tab
    declined.following_id = "b" * 32
    draft_page = f"/referrals/{'b' * 32}/draft"
    assert client.get(f"{PAGE}/reroute").location == draft_page
    assert submit(client, f"{PAGE}/reroute", second_tab).location == draft_page
    assert fakes.requests("CreateReferral") == []


def test_no_other_service_is_looked_for_without_an_open_need(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = declined = declined_referral(ID, r.URGENCY_EMERGENCY, 3)
    form_token = token_of(client.get(f"{PAGE}/reroute").text)
    declined.main_step = ""  # a colleague has closed the need
    page = client.get(f"{PAGE}/reroute")
    answer = client.post(f"{PAGE}/reroute", data={"form_token": form_token})
    assert (page.location, answer.location) == (PAGE, PAGE)
    assert fakes.requests("CreateReferral") == []


@pytest.mark.parametrize(
    ("show", "late_and_soon"), [("late", (True, False)), ("soon", (False, True))]
)
def test_late_and_soon_due_referrals_are_chosen_by_the_service_and_all_are_shown(
    show: str, late_and_soon: tuple[bool, bool], fakes: FakePageServices, client: FlaskClient
) -> None:
    rows = [referral(id=f"{number:032x}", need_code="HOU.EMG") for number in range(50)]
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=rows, next_page_token="more")
    fakes.calls.clear()
    page = client.get(f"/today?show={show}").text
    assert [row.id for row in rows if f"/referrals/{row.id}" not in page] == []
    filters = [request.filter for request in fakes.requests("ListReferrals")]
    assert [(filter_.late, filter_.due_soon, filter_.unanswered) for filter_ in filters] == [
        (*late_and_soon, False)
    ]


def test_the_filters_of_the_list_are_collapsed_until_one_is_used(client: FlaskClient) -> None:
    assert '<details class="card"><summary>Filtrar</summary>' in client.get("/referrals").text
    page = client.get("/referrals?urgency=immediate").text
    assert '<details class="card" open><summary>Filtrar</summary>' in page


def test_looking_for_another_service_twice_on_one_page_repeats_one_request(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = declined_referral(ID, r.URGENCY_EMERGENCY, 3)
    page = client.get(f"{PAGE}/reroute").text
    for _press in range(2):
        assert submit(client, f"{PAGE}/reroute", page).status_code == 303
    first, second = fakes.requests("CreateReferral")
    assert (first, first.request_id != "") == (second, True), "the service makes one draft"

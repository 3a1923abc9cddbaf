"""The page Today: the work that waits, its order, and its amount."""

import re
from typing import Any

import pytest

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import plans_pb2 as pl
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.api_gateway import ID
from tests.gateway.arranged_services import (
    COORDINATOR,
    ENQUIRY_TO_US,
    MANAGER,
    ONE_REFERRAL,
    OPERATOR,
    OWED_CALL,
    WORKER,
    Arrange,
    clock,
    contact,
    page,
    referral,
    stamp,
    waiting_work,
)


def waiting_referrals(*minutes: float, **answers: Any) -> Arrange:
    """Arranges referrals that are due in these numbers of minutes, beside other answers."""
    rows = [referral(next_due_time=stamp(due_minutes)) for due_minutes in minutes]
    return waiting_work(
        ListReferrals=lambda request: r.ListReferralsResponse(
            referrals=[] if request.filter.unanswered or request.filter.pressing else rows
        ),
        **answers,
    )


def headings(role: int, arrange: Arrange) -> list[str]:
    """Returns the headings of the work on the page Today."""
    work = page("/today", role, arrange).partition('id="work"')[2]
    return [heading.strip() for heading in re.findall(r"<h2>([^<]+)", work)]


def test_a_manager_with_referrals_under_way_is_not_told_that_there_are_none() -> None:
    counts = r.CountReferralsResponse(waiting_for_other=3, total=3)
    assert "No hay remisiones en curso." not in page(
        "/today", MANAGER, waiting_work(CountReferrals=counts)
    )


def test_work_due_within_the_hour_comes_first_and_the_rest_is_not_called_today() -> None:
    arrange = waiting_referrals(30, 19 * 24 * 60, ListEnquiries=ENQUIRY_TO_US)
    assert headings(WORKER, arrange) == [
        "Ahora",
        "Le preguntan: ¿puede recibirla?",
        "Sus consultas",
        "Lo demás que le toca a su organización",
    ]


def test_an_operator_sees_open_contacts_first_and_the_calls_that_are_due_before_answers() -> None:
    arrange = waiting_referrals(
        30,
        ListContacts=c.ListContactsResponse(contacts=[contact(30)]),
        ListCallbacks=OWED_CALL,
        ListEnquiries=ENQUIRY_TO_US,
    )
    assert headings(OPERATOR, arrange) == [
        "Contactos abiertos",
        "Ahora",
        "Llamadas que debemos",
        "Le preguntan: ¿puede recibirla?",
        "Sus consultas",
    ]


def test_a_desk_sees_the_referrals_that_wait_too_long_for_others() -> None:
    late = referral(next_due_time=stamp(-32))
    arrange = waiting_work(
        ListReferrals=lambda request: r.ListReferralsResponse(
            referrals=[late] * (request.filter.pressing and request.filter.waiting_for_other)
        ),
        CountReferrals=r.CountReferralsResponse(waiting_for_other=1, total=1),
    )
    assert headings(WORKER, arrange) == ["Lo que no puede esperar", "Esperamos a otros"]
    assert f'href="/referrals/{late.id}"' in page("/today", WORKER, arrange)


def test_a_coordinator_is_told_that_everything_is_listed_only_if_everything_is_listed() -> None:
    assert headings(COORDINATOR, waiting_referrals(600)) == ["Todo lo que espera algo en la red"]
    assert headings(COORDINATOR, waiting_referrals(30, 600)) == [
        "Ahora",
        "Lo demás que espera algo en la red",
    ]


@pytest.mark.parametrize(("beds", "expected"), [(1, "libre de 14"), (2, "libres de 14")])
def test_one_free_bed_is_counted_as_one(beds: int, expected: str) -> None:
    room = d.Capacity(available=beds, maximum=14, unit=d.CAPACITY_UNIT_BEDS)
    shelter = d.Service(id=ID, name="Casa segura", capacity=room)
    services = d.SearchServicesResponse(services=[shelter])
    assert f">{expected}<" in page("/today", WORKER, waiting_work(SearchServices=services))


def tiles(text: str) -> dict[str, int]:
    """Returns the numbers on the page Today, by the rows that they open."""
    return {key: int(number) for key, number in re.findall(r'show=(\w+)"[^>]*><b>(\d+)</b>', text)}


def test_the_number_of_late_rows_counts_every_late_row_and_opens_exactly_these_rows() -> None:
    arrange = waiting_work(
        CountReferrals=r.CountReferralsResponse(late=1, due_soon=1),
        ListContacts=c.ListContactsResponse(
            contacts=[contact(-90), contact(-80), contact(-70), contact(60), contact(600)]
        ),
        ListCallbacks=c.ListCallbacksResponse(
            callbacks=[c.Callback(id=ID, contact_id=ID, clocks=[clock(-10)])]
        ),
        ListLateSteps=pl.ListLateStepsResponse(
            steps=[pl.LateStep(plan_id=ID, key="a", due_time=stamp(-60))]
        ),
        ListReferrals=ONE_REFERRAL,
    )
    assert tiles(page("/today", OPERATOR, arrange)) == {
        "late": 1 + 3 + 1 + 1,
        "soon": 1 + 1,
        "new": 0,
        "running": 0,
    }
    for show, count in (("late", 6), ("soon", 2), ("new", 1)):
        assert page(f"/today?show={show}", OPERATOR, arrange).count('<li class="row') == count


def test_a_desk_counts_unseen_referrals_and_the_network_counts_sent_referrals() -> None:
    arrange = waiting_work(
        CountReferrals=lambda request: r.CountReferralsResponse(
            fresh=0 if request.filter.waiting_for_me else 2
        )
    )
    for role, label, count in ((OPERATOR, "Recibidas sin ver", 0), (COORDINATOR, "Enviadas", 2)):
        text = page("/today", role, arrange)
        assert tiles(text)["new"] == count
        tile = text.partition('show=new"')[2].partition("</a>")[0]
        assert (label in tile, "Sin respuesta" in tile) == (True, False)

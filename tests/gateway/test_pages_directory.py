"""The directory's pages: what they ask of the services, and what they show of room, places, languages and people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import i18n
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages, referral
from tests.gateway.test_pages_flows import send


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def room(**said: object) -> d.Capacity:
    """Open with two beds since this morning; declined two hours ago where that is said."""
    made = d.Capacity(intake=d.INTAKE_OPEN, available=2, unit=d.CAPACITY_UNIT_BEDS)
    made.update_time.FromDatetime(i18n.now() - timedelta(hours=5))
    if said.pop("declined", False):
        made.declined_time.FromDatetime(i18n.now() - timedelta(hours=2, minutes=10))
    made.MergeFrom(d.Capacity(**said))  # type: ignore[arg-type]
    return made


def found(client: FlaskClient, played: PlayedServices, **service: object) -> str:
    """The page of results with this one service."""
    said = d.Service(id=ID, organization_id=ID, name="Albergue", country="NI", need_codes=["HOU.EMG"])
    said.MergeFrom(d.Service(**service))  # type: ignore[arg-type]
    played.answers["SearchServices"] = d.SearchServicesResponse(services=[said], total_size=1)
    return send(client, "/directory", words="albergue").text


def test_a_service_that_declined_for_lack_of_room_does_not_say_that_there_is_some(client: FlaskClient, played: PlayedServices) -> None:
    assert ">Hay lugar</span>" in found(client, played, capacity=room())
    page = found(client, played, capacity=room(declined=True))
    assert ">Hay lugar</span>" not in page
    assert ">Pregunte si hay lugar</span> rechazó por falta de lugar hace 2 h 10" in page
    assert "antes dijo: hay lugar" in page
    assert ">Sin lugar</span>" in found(client, played, capacity=room(declined=True, intake=d.INTAKE_CLOSED))


def test_whoever_chooses_a_service_sees_it_too(client: FlaskClient, played: PlayedServices) -> None:
    reason = d.MatchReason(criterion=d.CRITERION_ROOM, verdict=d.VERDICT_ASK, reason_code="room_declined")
    service = d.Service(id=ID, name="Albergue", capacity=room(declined=True))
    played.answers["MatchServices"] = d.MatchServicesResponse(matches=[d.Match(service=service, verdict=d.VERDICT_ASK, reasons=[reason])])
    page = client.get(f"/referrals/{ID}/services").text
    assert "rechazó por falta de lugar hace 2 h 10" in page
    assert "rechazó por falta de lugar: pregunte antes" in page


@pytest.mark.parametrize(
    ("side", "reason", "done", "led"),
    [
        (r.SIDE_RECEIVER, "no_capacity", "decline", True),
        (r.SIDE_RECEIVER, "not_eligible", "decline", False),
        (r.SIDE_SENDER, "no_capacity", "decline", False),
        (r.SIDE_RECEIVER, "no_capacity", "", False),
    ],
)
def test_who_declines_for_lack_of_room_is_led_to_say_whether_there_is_some(
    client: FlaskClient, played: PlayedServices, side: r.Side.ValueType, reason: str, done: str, led: bool
) -> None:
    played.answers["GetReferral"] = referral(side=side, state=r.STATE_DECLINED, reason_code=reason)
    page = client.get(f"/referrals/{ID}?done={done}").text
    assert (f'href="/capacity/{ID}"' in page) is led

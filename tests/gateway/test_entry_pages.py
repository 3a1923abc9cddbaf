"""An organisation's own entry.

The form's values reach the service unchanged, and two managers who edit at the same time learn of
each other's changes.
"""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Conflict, Invalid, NotFound, Stale
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, submit

OTHER_ID = "0" * 32


def service(**fields: object) -> d.Service:
    """Returns a service of the organisation, with these fields in place of the defaults."""
    defaults: dict[str, Any] = {
        "id": ID,
        "etag": "v1",
        "organization_id": ID,
        "name": "Consulta",
        "need_codes": ["HOU.EMG"],
        "country": "NI",
        "active": True,
        "phone": "+50522220000",
        "update_time": datetime(2026, 11, 27, 10, tzinfo=UTC),
    }
    return d.Service(**defaults | fields)


@pytest.fixture
def fakes() -> FakePageServices:
    office = pb.Location(id=ID, organization_id=ID, name="Oficina")
    return FakePageServices(
        {
            "GetService": service(),
            "ListLocations": pb.ListLocationsResponse(locations=[office]),
            "ListServiceAtLocations": pb.ListServiceAtLocationsResponse(),
            "ListFieldChanges": pb.ListFieldChangesResponse(),
        }
    )


def hidden_value(page: str, name: str) -> str:
    """Returns the value of a hidden field."""
    field = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert field, name
    return field[1]


def save(client: FlaskClient, path: str, **fields: object) -> tuple[int, str]:
    """Sends the form of a page with these fields in place of its own."""
    page = client.get(path).text
    page_fields = {
        name: hidden_value(page, name) for name in ("shown", "seen") if f'name="{name}"' in page
    }
    typed_fields = {name.replace("__", "-"): value for name, value in fields.items()}
    answer = submit(client, path, page, etag="v1", **page_fields, **typed_fields)
    return answer.status_code, answer.text


def change(field: str, old_value: str, new_value: str, time: str) -> pb.FieldChange:
    return pb.FieldChange(
        field=field,
        worker_id=ID,
        old_value=old_value,
        new_value=new_value,
        change_time=datetime.fromisoformat(time),  # type: ignore[arg-type]  # the stubs lack it
    )


def test_the_link_from_an_entry_to_the_directory_does_not_promise_what_others_see(
    client: FlaskClient,
) -> None:
    text = client.get("/entry").text
    link = rf'<a[^>]*href="/directory/organizations/{ID}">\s*Verla en el directorio\s*</a>'
    assert re.search(link, text), "there, the organisation also sees what it hides from others"


def test_fields_left_open_are_not_stated_and_hours_are_sent_as_typed(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    status, _ = save(
        client,
        f"/entry/services/{ID}",
        name="Consulta",
        need_codes=["HOU.EMG"],
        takes_dependants="yes",
        takes_pregnant="no",
        takes_without_papers="",
        days__0=["MO", "TU"],
        opens__0="08:00",
        closes__0="17:00",
        narrowed=["phone"],
        active="1",
    )
    assert status == 303
    request = fakes.last("UpdateService")
    assert request.service.eligibility == d.Eligibility(takes_dependants=True, takes_pregnant=False)
    assert list(request.service.schedules) == [
        d.Schedule(freq=d.FREQUENCY_WEEKLY, byday=["MO", "TU"], opens_at="08:00", closes_at="17:00")
    ]
    assert list(request.service.tiers) == [
        d.FieldTier(field="phone", tier=contract_pb2.TIER_COORDINATOR)
    ]
    assert "assured_time" in request.update_mask.paths, "saving confirms the entry"


def test_a_form_of_many_weekly_hours_loses_none_of_them(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    hours = [
        d.Schedule(
            freq=d.FREQUENCY_WEEKLY,
            byday=["MO"],
            opens_at=f"{8 + n:02}:00",
            closes_at=f"{8 + n}:30",
        )
        for n in range(6)
    ]
    fakes.answers["GetService"] = service(schedules=hours)
    page = client.get(f"/entry/services/{ID}").text
    assert page.count('name="opens-') == 7, "an empty row is left to add others"
    fields: dict[str, object] = {}
    for n, weekly in enumerate(hours):
        fields |= {
            f"days__{n}": list(weekly.byday),
            f"opens__{n}": weekly.opens_at,
            f"closes__{n}": weekly.closes_at,
        }
    save(client, f"/entry/services/{ID}", name="Consulta", need_codes=["HOU.EMG"], **fields)
    assert list(fakes.last("UpdateService").service.schedules) == hours


def test_hours_that_the_form_cannot_show_stay_as_they_are(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    monthly = d.Schedule(
        freq=d.FREQUENCY_MONTHLY, byday=["1MO"], opens_at="09:00", closes_at="12:00"
    )
    fakes.answers["GetService"] = service(schedules=[monthly])
    assert "1 horario más" in client.get(f"/entry/services/{ID}").text
    save(client, f"/entry/services/{ID}", name="Consulta", need_codes=["HOU.EMG"])
    assert list(fakes.last("UpdateService").service.schedules) == [monthly]


def test_a_new_service_is_made_and_offered_at_the_places_that_were_ticked(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["CreateService"] = service()
    status, _ = save(
        client, "/entry/services/new", name="Consulta", need_codes=["HOU.EMG"], location_ids=[ID]
    )
    assert status == 303
    assert fakes.last("SetServiceAtLocation").service_at_location == pb.ServiceAtLocation(
        service_id=ID, location_id=ID
    )


def test_a_public_place_for_a_confidential_service_is_refused_before_anything_is_saved(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    places = [pb.Location(id=ID, name="Oficina"), pb.Location(id=OTHER_ID, confidential=True)]
    fakes.answers["ListLocations"] = pb.ListLocationsResponse(locations=places)
    fields = {"name": "Casa", "need_codes": ["HOU.SAFE"], "confidential": "1"}
    status, page = save(client, f"/entry/services/{ID}", **fields, location_ids=[ID])
    text = '<a href="#location_ids">En qué lugares atiende: el lugar no es reservado'
    assert (status, text in page, fakes.requests("UpdateService")) == (422, True, [])
    assert save(client, f"/entry/services/{ID}", **fields, location_ids=[OTHER_ID])[0] == 303
    offer = pb.ServiceAtLocation(id=OTHER_ID, service_id=ID, location_id=ID)
    fakes.answers["ListServiceAtLocations"] = pb.ListServiceAtLocationsResponse(
        service_at_locations=[offer]
    )
    status, _ = save(client, f"/entry/services/{ID}", **fields, location_ids=[ID])
    assert status == 303, "the service was still public when it was offered there"


@pytest.mark.parametrize("typed", ["18 años", "-1", "12.5", "1_8", "١٨"])
def test_an_age_that_cannot_be_read_removes_no_limit(
    client: FlaskClient, fakes: FakePageServices, typed: str
) -> None:
    path, fields = f"/entry/services/{ID}", {"name": "Casa", "need_codes": ["HOU.SAFE"]}
    status, page = save(client, path, **fields, minimum_age=typed)
    text = '<a href="#minimum_age">Desde qué edad: no tiene la forma correcta'
    assert (status, text in page, fakes.requests("UpdateService")) == (422, True, [])
    assert save(client, path, **fields, minimum_age="")[0] == 303


def test_an_age_that_cannot_be_read_loses_no_row_of_the_opening_hours(client: FlaskClient) -> None:
    hours: dict[str, object] = {f"opens__{n}": f"{8 + n:02}:00" for n in range(6)}
    _status, page = save(client, f"/entry/services/{ID}", minimum_age="18 años", **hours)
    assert re.findall(r'name="opens-\d" [^>]*value="(\d\d:00)"', page) == [*hours.values()]


def test_a_second_manager_is_told_what_changed_and_overwrites_only_what_she_edited(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = client.get(f"/entry/services/{ID}").text
    fakes.answers |= {
        "GetService": service(etag="v2", phone="+50533330000"),
        "UpdateService": Stale(),
        "ListFieldChanges": pb.ListFieldChangesResponse(
            changes=[
                change("phone", '"+50522220000"', '"+50533330000"', "2026-11-27T10:05:00Z"),
                change("name", '"Antes"', '"Consulta"', "2026-11-27T09:00:00Z"),
            ]
        ),
    }
    answer = submit(
        client,
        f"/entry/services/{ID}",
        page,
        etag="v1",
        shown=hidden_value(page, "shown"),
        seen=hidden_value(page, "seen"),
        name="Consulta nueva",
        need_codes="HOU.EMG",
        phone="+50522220000",
        active="1",
    )
    assert answer.status_code == 412
    alert = answer.text.partition('role="alert"')[2].partition("</div>")[0]
    # a change from before she opened the page is left out
    assert missing(alert, "Teléfono: +50522220000 → +50533330000", "Rosa Méndez", "Antes") == [
        "Antes"
    ]
    assert 'value="Consulta nueva"' in answer.text
    assert 'value="+50533330000"' in answer.text
    assert hidden_value(answer.text, "etag") == "v2"


def test_an_error_in_the_hours_is_shown_at_the_hours(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["UpdateService"] = Invalid(("service.schedules.1", "overlaps"))
    status, page = save(
        client,
        f"/entry/services/{ID}",
        name="Consulta",
        need_codes=["HOU.EMG"],
        opens__0="08:00",
        closes__0="17:00",
    )
    texts = (
        '<a href="#schedules">Cuándo recibe gente: dice las mismas horas que otro horario',
        'value="08:00"',
    )
    assert (status, missing(page, *texts)) == (422, [])


def test_the_stored_address_of_a_confidential_place_stays_when_none_is_typed(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetLocation"] = pb.Location(
        id=ID, etag="v1", organization_id=ID, name="Casa", confidential=True
    )
    assert "guardada cifrada" in client.get(f"/entry/places/{ID}").text
    save(client, f"/entry/places/{ID}", name="Casa del río", department="NI-CI")
    request = fakes.last("UpdateLocation")
    assert not {"address", "transportation"} & set(request.update_mask.paths)
    assert request.location.confidential, "a missing field does not make a place public"
    save(client, f"/entry/places/{ID}", name="Casa del río", address="Portón verde")
    assert "address" in fakes.last("UpdateLocation").update_mask.paths


def test_the_stored_address_is_shown_on_request_and_in_that_answer_alone(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetLocation": pb.Location(
            id=ID, etag="v1", organization_id=ID, name="Casa", confidential=True
        ),
        "OpenOwnAddress": pb.OpenedAddress(address="Portón inventado"),
    }
    page = client.get(f"/entry/places/{ID}").text
    assert "Portón inventado" in submit(client, f"/entry/places/{ID}/address", page).text
    assert "Portón inventado" not in client.get(f"/entry/places/{ID}").text


@pytest.mark.parametrize(
    ("rpc", "path", "answer"),
    [
        ("GetService", "/entry/services", service(organization_id=OTHER_ID)),
        ("GetLocation", "/entry/places", pb.Location(id=ID, organization_id=OTHER_ID)),
    ],
)
def test_the_entries_of_others_are_not_found(
    client: FlaskClient, fakes: FakePageServices, rpc: str, path: str, answer: Message
) -> None:
    fakes.answers[rpc] = answer
    assert client.get(f"{path}/{ID}").status_code == 404


def test_a_manager_reads_how_far_her_figures_can_be_relied_on(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["SearchServices"] = d.SearchServicesResponse(services=[service()])
    score = pb.TruthScore(service_id=ID, score=83, kept=8, broken=2, freshness=100)
    fakes.answers["ListTruthScores"] = pb.ListTruthScoresResponse(scores=[score])
    texts = (
        "Cuánto se puede confiar en lo que dice: 83 de 100.",
        "De 10 veces que dijo que hay lugar y llegó alguien, lo hubo 8.",
    )
    assert missing(client.get("/entry").text, *texts) == []


# --- where to take the person


def show_referral(
    fakes: FakePageServices,
    side: r.Side.ValueType = r.SIDE_SENDER,
    state: r.State.ValueType = r.STATE_ACCEPTED,
) -> None:
    """Answers with a referral to a confidential service, seen from this side in this state."""
    fakes.answers |= {
        "GetReferral": r.Referral(
            id=ID, side=side, state=state, service_id=ID, need_code="HOU.EMG"
        ),
        "BatchGet": d.BatchGetResponse(services=[service(confidential=True)]),
    }


def open_address(client: FlaskClient) -> tuple[int, str]:
    page = client.get(f"/referrals/{ID}").text
    answer = submit(client, f"/referrals/{ID}/address", page)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("capacity", "sentence"),
    [
        (d.Capacity(), "Todavía no dijo si hay lugar."),
        (
            d.Capacity(update_time=Timestamp(seconds=1_700_000_000)),
            "El dato de lugar ya es viejo: dígalo otra vez.",
        ),
    ],
)
def test_a_service_that_has_not_recently_said_whether_it_has_room_links_to_its_capacity_page(
    capacity: d.Capacity, sentence: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SearchServices"] = d.SearchServicesResponse(
        services=[service(capacity=capacity)]
    )
    score = pb.TruthScore(service_id=ID, score=50, freshness=0)
    fakes.answers["ListTruthScores"] = pb.ListTruthScoresResponse(scores=[score])
    page = client.get("/entry").text
    assert re.findall("Todavía no dijo si hay lugar.|El dato de lugar[^<]*", page) == [sentence]
    links = (
        f'<a href="/capacity/{ID}">Decir si hay lugar',
        'href="/directory/import?organization=',
    )
    assert missing(page, *links) == []


def test_the_sender_opens_the_address_and_it_is_in_that_answer_alone(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    show_referral(fakes)
    fakes.answers["OpenAddress"] = pb.OpenAddressResponse(
        addresses=[pb.OpenedAddress(name="Casa", address="Portón inventado")]
    )
    assert "Ver la dirección" in client.get(f"/referrals/{ID}").text
    status, page = open_address(client)
    assert (status, missing(page, "Portón inventado", "Ver la dirección")) == (
        200,
        ["Ver la dirección"],
    )
    assert "Portón inventado" not in client.get(f"/referrals/{ID}").text


def test_the_page_says_that_an_address_was_opened_before_or_is_missing(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    show_referral(fakes)
    for refusal, expected, text in (
        (Conflict("address_opened"), 422, "La dirección ya se abrió para esta remisión."),
        (NotFound(), 404, "El servicio no ha guardado aquí su dirección."),
    ):
        fakes.answers["OpenAddress"] = refusal
        status, page = open_address(client)
        assert (status, text in page) == (expected, True)


@pytest.mark.parametrize(
    ("side", "state"),
    [
        (r.SIDE_RECEIVER, r.STATE_ACCEPTED),
        (r.SIDE_SENDER, r.STATE_SENT),
        (r.SIDE_SENDER, r.STATE_COMPLETED),
    ],
)
def test_the_receiver_and_a_sender_without_an_accepted_referral_are_not_offered_the_address(
    client: FlaskClient, fakes: FakePageServices, side: r.Side.ValueType, state: r.State.ValueType
) -> None:
    show_referral(fakes, side, state)
    assert "Ver la dirección" not in client.get(f"/referrals/{ID}").text

"""Sentences on the page of a referral: what is not known, and whom to turn to."""

import html
import re

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import (
    ID,
    FakePageServices,
    missing,
    send,
)
from tests.gateway.test_pages_consent import FUTURE, PAST
from tests.gateway.test_referral_pages import PAGE, received_referral, take


@pytest.mark.parametrize(
    ("fields", "is_known"), [({}, False), ({"dependants": ""}, False), ({"dependants": "0"}, True)]
)
def test_a_number_that_nobody_stated_is_shown_as_unknown(
    fakes: FakePageServices, client: FlaskClient, fields: dict[str, str], is_known: bool
) -> None:
    send(client, "/people/new", channel_code="none", **fields)
    coarse = fakes.last("CreatePerson").coarse
    assert coarse.HasField("dependants") == is_known
    fakes.answers["GetReferral"] = received_referral(
        state=r.STATE_SENT, person=coarse, person_id=ID
    )
    page = client.get(PAGE).text
    assert ("viene sola" in page, "no se sabe" in page) == (is_known, not is_known)
    fakes.answers["GetReferral"] = r.Referral(
        id=ID, etag="1", state=r.STATE_DRAFT, need_code="HOU.EMG", person=coarse, person_id=ID
    )
    client.get(f"{PAGE}/services")
    assert fakes.last("MatchServices").HasField("dependants") == is_known


@pytest.mark.parametrize(
    ("confirm_until", "until", "expected"),
    [
        (FUTURE, FUTURE, ["Otra persona debe confirmarla", "Los datos se cierran a más tardar"]),
        (PAST, FUTURE, ["Ahora no abre nada."]),
        (None, FUTURE, ["Los datos se cierran a más tardar"]),
        (None, PAST, ["Ahora no abre nada."]),
    ],
)
def test_a_referral_sent_on_an_override_says_until_when_it_opens_data_or_that_it_opens_none(
    confirm_until: Timestamp | None,
    until: Timestamp,
    expected: list[str],
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    fakes.answers["GetReferral"] = received_referral(
        state=r.STATE_ACCEPTED,
        override_reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
        clocks=[
            r.Clock(kind=r.CLOCK_KIND_OVERRIDE_END, due_time=until),
            r.Clock(
                kind=r.CLOCK_KIND_OVERRIDE_CONFIRM,
                due_time=confirm_until or PAST,
                stop_time=None if confirm_until else PAST,
            ),
        ],
    )
    sentences = (
        "Otra persona debe confirmarla",
        "Los datos se cierran a más tardar",
        "Ahora no abre nada.",
    )
    absent = missing(client.get(PAGE).text, *sentences)
    assert [sentence for sentence in sentences if sentence not in absent] == expected


def test_a_receiver_that_deleted_her_data_does_not_read_that_her_family_is_unknown(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = received_referral(state=r.STATE_CLOSED, person=r.CoarsePerson())
    assert "no se sabe" not in client.get(PAGE).text


@pytest.mark.parametrize(
    ("state", "may_arrive"),
    [
        (r.STATE_DECLINED, True),
        (r.STATE_NOT_DELIVERED, True),
        (r.STATE_EXPIRED, True),
        (r.STATE_REROUTED, True),
        (r.STATE_CLOSED, False),
    ],
)
def test_a_receiver_that_no_longer_waits_reads_whom_to_tell_if_the_person_still_arrives(
    state: r.State.ValueType, may_arrive: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    line_id = "c" * 32
    fakes.add_organization(line_id, "Llama y Vive", phone="+50500000133")
    fakes.answers["GetReferral"] = r.Referral(
        id=ID, side=r.SIDE_RECEIVER, state=state, sender_organization_id=line_id
    )
    page = client.get(PAGE).text
    assert "No hay nada que hacer: ya terminó." in page
    expected = ["Si la persona llega igual", 'href="tel:+50500000133"']
    assert missing(page, *expected) == ([] if may_arrive else expected)


@pytest.mark.parametrize("status", [d.ORGANIZATION_STATUS_SUSPENDED, d.ORGANIZATION_STATUS_LEFT])
@pytest.mark.parametrize(
    ("side", "turn", "advice"),
    [
        (r.SIDE_SENDER, r.TURN_RECEIVER, "Busque otro servicio, o llame a la coordinación."),
        (r.SIDE_RECEIVER, r.TURN_SENDER, "no contesta. Llame a la coordinación."),
        (r.SIDE_NETWORK, r.TURN_RECEIVER, "no contesta."),
    ],
)
def test_the_page_does_not_advise_waiting_for_an_organisation_that_is_suspended_or_has_left(
    status: d.OrganizationStatus.ValueType,
    side: r.Side.ValueType,
    turn: r.Turn.ValueType,
    advice: str,
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    other_id = "c" * 32
    fakes.add_organization(other_id, "Luna Nueva", status=status)
    fakes.answers["BatchGet"].services[0].confidential = True  # type: ignore[union-attr]
    fakes.answers["GetReferral"] = r.Referral(
        id=ID,
        side=side,
        turn=turn,
        state=r.STATE_ACCEPTED,
        service_id=ID,
        sender_organization_id=ID if side == r.SIDE_SENDER else other_id,
        receiver_organization_id=ID if side == r.SIDE_RECEIVER else other_id,
    )
    page = client.get(PAGE).text
    assert "Luna Nueva está suspendida o se retiró: no contesta" in page
    assert advice in page
    for untrue in ("Esperamos respuesta", "Le avisaremos", "Ver la dirección"):
        assert untrue not in page


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_a_sentence_that_a_refusal_replaces_is_not_replaced_in_a_note(
    language: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    problem = re.compile(r"data-refusal>.*?<li>\s*(.*?)\s*</li>", re.DOTALL)
    client.get(f"/people?lang={language}")
    fakes.answers["AcknowledgeReferral"] = errors.Stale()
    fakes.answers["GetReferral"] = received_referral("acknowledge")
    [sentence] = problem.findall(take(client, "acknowledge").text)
    note = r.ReferralEvent(version=2, verb="sent", note=html.unescape(sentence))
    fakes.answers |= {
        "ListReferralEvents": r.ListReferralEventsResponse(events=[note]),
        "GetReferral": received_referral(),
    }
    page = take(client, "acknowledge").text
    [advice] = problem.findall(page)
    assert (advice == sentence, f"<blockquote>{sentence}" in page) == (False, True)

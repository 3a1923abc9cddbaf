"""The pages of the network's deadlines, with fake services."""

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.site.language import words
from services.gateway.site.network import deadlines
from services.referrals.network.domain.deadline import FIRST_POLICY, KEYS
from services.referrals.referrals.wire.referrals import policy_message
from tests.gateway.pages_gateway import FakePageServices, missing, signed_in_as, submit


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices({"GetDeadlinePolicy": policy_message(FIRST_POLICY)})


def publish(client: FlaskClient, **changes: str) -> TestResponse:
    """Submits the form of the deadlines as a browser would, with changes."""
    page = client.get("/deadlines/publish").text
    values = {"version": "2"}
    for deadline in policy_message(FIRST_POLICY).deadlines:
        name, (number, unit) = deadlines.name_of(deadline), deadlines.number_and_unit(deadline)
        values |= {name: str(number), f"{name}.unit": unit}
    return submit(client, "/deadlines/publish", page, **values | changes)


def test_everybody_sees_the_deadlines_and_a_coordinator_changes_them(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    texts = ("15 min", "2 días hábiles", "14 días", "/deadlines/publish")
    assert missing(client.get("/deadlines").text, *texts) == []
    worker = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert "/deadlines/publish" not in worker.get("/deadlines").text
    assert worker.get("/deadlines/publish").status_code == 404


def test_every_deadline_of_the_policy_is_on_the_page_by_its_name(client: FlaskClient) -> None:
    clocks = {deadline.clock for deadline in policy_message(FIRST_POLICY).deadlines}
    names = [words.spanish("deadline", words.code("clock", clock)) for clock in clocks]
    assert missing(client.get("/deadlines").text, *(f">{name}</" for name in names)) == []


def test_the_unchanged_form_publishes_the_present_policy(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["PublishDeadlinePolicy"] = pb.DeadlinePolicy(version=2)
    answer = publish(client)
    assert (answer.status_code, answer.location) == (303, "/deadlines?done=deadlines_published")
    request = fakes.last("PublishDeadlinePolicy")
    assert request.version == 2
    deadlines = policy_message(FIRST_POLICY).deadlines[: len(KEYS)]
    assert sorted(map(str, request.deadlines)) == sorted(map(str, deadlines))


def test_errors_are_shown_at_their_fields_and_nothing_typed_is_lost(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["PublishDeadlinePolicy"] = errors.Invalid(
        ("deadlines.immediate.decide", "not_in_order"), ("deadlines.silence", "required")
    )
    changes = {"immediate.decide": "77", "immediate.decide.unit": "days", "silence": "x"}
    answer = publish(client, **changes)
    texts = ('id="immediate.decide-error"', "Inmediata, Responder: lo más urgente", 'value="77"')
    assert (answer.status_code, missing(answer.text, *texts)) == (422, [])
    assert fakes.last("PublishDeadlinePolicy").deadlines[1].seconds == 77 * 86_400
    fakes.answers["PublishDeadlinePolicy"] = errors.Stale()
    stale_answer = publish(client)
    assert (stale_answer.status_code, "Alguien publicó otra versión" in stale_answer.text) == (
        422,
        True,
    )


def test_a_value_above_a_messages_range_is_still_sent_and_the_service_refuses_it(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["PublishDeadlinePolicy"] = errors.Invalid(("deadlines.close", "out_of_range"))
    answer = publish(client, **{"close": "99999", "close.unit": "days"})
    assert (answer.status_code, fakes.last("PublishDeadlinePolicy").deadlines[-1].seconds) == (
        422,
        2**31 - 1,
    )


def test_a_deadline_that_a_system_set_to_the_second_is_shown_and_offered_in_whole_minutes(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    policy = policy_message(FIRST_POLICY)
    for deadline, seconds in zip(policy.deadlines[1:], (301, 3661, 90_061), strict=False):
        deadline.seconds = seconds
    fakes.answers["GetDeadlinePolicy"] = policy
    assert missing(client.get("/deadlines").text, "5 min", "1 h 01", "25 h") == []
    page = client.get("/deadlines/publish")
    assert (page.status_code, missing(page.text, *(f'value="{n}"' for n in (5, 61, 1501)))) == (
        200,
        [],
    )

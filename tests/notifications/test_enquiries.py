"""The recipients of messages about an enquiry.

Recipients are the asked organisations, the one whose offer was taken, the asker, and the
coordinators if nobody could help.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from chassis.ids import new_id
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.referrals.v1 import enquiries_pb2, facts_pb2, referrals_pb2
from services.notifications.domain.rules import HISTORY
from tests.notifications.conftest import COALITION, OTHER, PUBLIC_URL, RECEIVER, SENDER, Service

ENQUIRY = "e" * 32


def fact(
    service: Service, verb: str, version: int = 1, *, ago: timedelta = timedelta(), **values: Any
) -> Fact:
    defaults: dict[str, Any] = {
        "enquiry_id": ENQUIRY,
        "urgency": referrals_pb2.URGENCY_IMMEDIATE,
        "need_code": "HOU.EMG",
        "organization_id": SENDER,
        "actor_organization_id": SENDER,
    }
    body = facts_pb2.EnquiryFact(**defaults | values)
    return Fact(
        ENQUIRY,
        version,
        f"enlace.enquiry.{verb}.v1",
        body.SerializeToString(),
        service.clock.now() - ago,
    )


def kinds(service: Service, organization: str, *roles: str) -> list[str]:
    return [
        message.kind
        for message in service.as_(organization, *(roles or ("WORKER",))).ListMessages().messages
    ]


def notified(service: Service) -> dict[str, list[str]]:
    coordinator = kinds(service, COALITION, "COORDINATOR")
    fields = {
        "asker": kinds(service, SENDER),
        "asked": kinds(service, RECEIVER),
        "other": kinds(service, OTHER),
        "coordination": coordinator,
    }
    return {name: value for name, value in fields.items() if value}


def test_each_asked_desk_learns_need_and_urgency_but_not_the_asker(
    service: Service,
) -> None:
    hook = service.webhook(RECEIVER, "https://partner.example/hook")
    service.apply(fact(service, "opened", asked_organization_ids=[RECEIVER, OTHER]))
    assert notified(service) == {"asked": ["enquiry_opened"], "other": ["enquiry_opened"]}
    [message] = service.as_(RECEIVER, "WORKER").ListMessages().messages
    assert (message.enquiry_id, message.need_code, message.urgency_code) == (
        ENQUIRY,
        "HOU.EMG",
        referrals_pb2.URGENCY_IMMEDIATE,
    )
    assert service.rows("SELECT 1 FROM messages WHERE sender_organization_id <> ''") == []
    [row] = service.rows("SELECT body FROM deliveries WHERE webhook_id = %s", hook.webhook.id)
    body = json.loads(row["body"])
    assert body["type"] == "enlace.enquiry.opened.v1"
    assert body["data"] == {
        "enquiry_id": ENQUIRY,
        "urgency": "immediate",
        "need_code": "HOU.EMG",
        "url": f"{PUBLIC_URL}/api/v1/enquiries/{ENQUIRY}",
    }


def test_the_asker_is_notified_of_the_first_offer_and_the_owner_of_the_taken_one(
    service: Service,
) -> None:
    answered: dict[str, Any] = {
        "actor_organization_id": RECEIVER,
        "service_organization_id": RECEIVER,
        "answer": enquiries_pb2.OFFER_ANSWER_YES,
    }
    service.apply(fact(service, "answered", 2, **answered, first_offer=True))
    service.apply(fact(service, "answered", 3, **answered))
    assert notified(service) == {"asker": ["enquiry_offered"]}
    service.advance(minutes=1)
    service.apply(fact(service, "matched", 4, service_organization_id=RECEIVER))
    service.apply(fact(service, "referred", 5))
    assert notified(service) == {"asker": ["enquiry_offered"], "asked": ["enquiry_matched"]}


def test_the_worker_who_asked_gets_the_message_once(service: Service) -> None:
    worker = new_id()
    service.apply(fact(service, "answered", 2, worker_id=worker, first_offer=True))
    own, colleague = service.as_(SENDER, "WORKER", id=worker), service.as_(SENDER, "WORKER")
    assert [len(client.ListMessages().messages) for client in (own, colleague)] == [1, 1]


def test_the_coordinators_too_are_notified_of_an_exhausted_enquiry(service: Service) -> None:
    service.apply(fact(service, "exhausted", 2, actor_organization_id=""))
    assert notified(service) == {
        "asker": ["enquiry_exhausted"],
        "coordination": ["enquiry_exhausted"],
    }


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("offers_waiting", "enquiry_offers_waiting"), ("cancelled", "enquiry_cancelled")],
)
def test_the_asker_is_notified_of_fired_deadlines(service: Service, verb: str, kind: str) -> None:
    service.apply(fact(service, verb, 2, actor_organization_id=""))
    assert notified(service) == {"asker": [kind]}


def test_a_desk_whose_offer_was_not_taken_learns_that_it_is_closed_and_nothing_of_the_other_service(
    service: Service,
) -> None:
    hook = service.webhook(RECEIVER, "https://partner.example/hook")
    own = new_id()
    service.apply(
        fact(
            service,
            "not_taken",
            5,
            actor_organization_id="",
            service_organization_id=RECEIVER,
            service_id=own,
            reason_code="consent_withdrawn",
        )
    )
    assert notified(service) == {"asked": ["enquiry_not_taken"]}
    [row] = service.rows("SELECT body FROM deliveries WHERE webhook_id = %s", hook.webhook.id)
    body = json.loads(row["body"])
    assert body["type"] == "enlace.enquiry.not_taken.v1"
    assert body["data"] == {
        "enquiry_id": ENQUIRY,
        "urgency": "immediate",
        "need_code": "HOU.EMG",
        "service_id": own,
        "url": f"{PUBLIC_URL}/api/v1/enquiries/{ENQUIRY}",
    }


def test_cancelling_an_enquiry_notifies_only_the_owner_of_an_offer_that_was_taken(
    service: Service,
) -> None:
    service.apply(fact(service, "cancelled", 2))
    assert notified(service) == {}
    service.apply(fact(service, "cancelled", 3, service_organization_id=RECEIVER))
    assert notified(service) == {"asked": ["enquiry_released"]}


def test_both_desks_are_notified_if_an_offer_was_taken_and_no_referral_followed_in_time(
    service: Service,
) -> None:
    service.apply(
        fact(service, "cancelled", 2, actor_organization_id="", service_organization_id=RECEIVER)
    )
    assert notified(service) == {"asker": ["enquiry_cancelled"], "asked": ["enquiry_released"]}


def test_a_repeated_fact_is_one_message_and_an_old_fact_notifies_nobody(service: Service) -> None:
    opened = fact(service, "opened", asked_organization_ids=[RECEIVER])
    for _ in range(2):
        service.apply(opened)
    assert notified(service) == {"asked": ["enquiry_opened"]}
    service.apply(fact(service, "exhausted", 2, ago=HISTORY + timedelta(seconds=1)))
    assert notified(service) == {"asked": ["enquiry_opened"]}


def test_a_fact_with_an_unknown_verb_is_held(service: Service) -> None:
    with pytest.raises(NewerKind):
        service.apply(fact(service, "shared"))

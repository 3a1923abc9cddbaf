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
from tests.notifications.conftest import (
    COALITION,
    OTHER,
    PUBLIC_URL,
    RECEIVER,
    SENDER,
    Service,
    smtp,
)
from tests.notifications.mail_server import Post

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


def notified(service: Service) -> dict[str, list[str]]:
    """Returns the kinds of the messages that each side reads, without the sides that read none."""
    kinds = {
        "asker": service.as_(SENDER, "WORKER").kinds(),
        "asked": service.as_(RECEIVER, "WORKER").kinds(),
        "other": service.as_(OTHER, "WORKER").kinds(),
        "coordination": service.as_(COALITION, "COORDINATOR").kinds(),
    }
    return {side: value for side, value in kinds.items() if value}


def webhook_body(service: Service, webhook_id: str) -> tuple[str, dict[str, str]]:
    """Returns the type and the data of the only delivery to an endpoint."""
    [row] = service.rows("SELECT body FROM deliveries WHERE webhook_id = %s", webhook_id)
    body = json.loads(row["body"])
    return body["type"], body["data"]


def test_each_asked_desk_learns_need_and_urgency_but_not_the_asker(service: Service) -> None:
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
    assert webhook_body(service, hook.webhook.id) == (
        "enlace.enquiry.opened.v1",
        {
            "enquiry_id": ENQUIRY,
            "urgency": "immediate",
            "need_code": "HOU.EMG",
            "url": f"{PUBLIC_URL}/api/v1/enquiries/{ENQUIRY}",
        },
    )


def test_the_asker_is_notified_of_the_first_offer_and_the_owner_of_the_taken_one(
    service: Service,
) -> None:
    answer: dict[str, Any] = {
        "actor_organization_id": RECEIVER,
        "service_organization_id": RECEIVER,
        "answer": enquiries_pb2.OFFER_ANSWER_YES,
    }
    service.apply(fact(service, "answered", 2, **answer, first_offer=True))
    service.apply(fact(service, "answered", 3, **answer))
    assert notified(service) == {"asker": ["enquiry_offered"]}
    service.advance(minutes=1)
    service.apply(fact(service, "matched", 4, service_organization_id=RECEIVER))
    service.apply(fact(service, "referred", 5))
    assert notified(service) == {"asker": ["enquiry_offered"], "asked": ["enquiry_matched"]}


def test_the_worker_who_asked_gets_the_message_once(service: Service) -> None:
    worker = new_id()
    service.apply(fact(service, "answered", 2, worker_id=worker, first_offer=True))
    asker, colleague = service.as_(SENDER, "WORKER", id=worker), service.as_(SENDER, "WORKER")
    assert [len(client.ListMessages().messages) for client in (asker, colleague)] == [1, 1]


@pytest.mark.parametrize(
    ("verb", "actor", "offerer", "kinds"),
    [
        pytest.param(
            "exhausted",
            "",
            "",
            {"asker": ["enquiry_exhausted"], "coordination": ["enquiry_exhausted"]},
            id="the coordinators too if nobody could answer",
        ),
        pytest.param(
            "offers_waiting",
            "",
            "",
            {"asker": ["enquiry_offers_waiting"]},
            id="the asker if offers wait",
        ),
        pytest.param(
            "cancelled",
            "",
            "",
            {"asker": ["enquiry_cancelled"], "coordination": ["enquiry_cancelled"]},
            id="the asker and the coordinators if no offer was taken in time",
        ),
        pytest.param(
            "cancelled",
            "",
            RECEIVER,
            {
                "asker": ["enquiry_cancelled"],
                "asked": ["enquiry_released"],
                "coordination": ["enquiry_cancelled"],
            },
            id="both desks and the coordinators if no referral followed the taken offer in time",
        ),
        pytest.param("cancelled", SENDER, "", {}, id="nobody if the asker cancels"),
        pytest.param(
            "cancelled",
            SENDER,
            RECEIVER,
            {"asked": ["enquiry_released"]},
            id="only the owner of the taken offer if the asker cancels",
        ),
    ],
)
def test_the_end_of_an_enquiry_or_a_deadline_notifies(
    service: Service, verb: str, actor: str, offerer: str, kinds: dict[str, list[str]]
) -> None:
    service.apply(
        fact(service, verb, 2, actor_organization_id=actor, service_organization_id=offerer)
    )
    assert notified(service) == kinds


def test_a_desk_whose_offer_was_not_taken_learns_of_the_end_but_nothing_of_the_other_service(
    service: Service,
) -> None:
    hook = service.webhook(RECEIVER, "https://partner.example/hook")
    service_id = new_id()
    service.apply(
        fact(
            service,
            "not_taken",
            5,
            actor_organization_id="",
            service_organization_id=RECEIVER,
            service_id=service_id,
            reason_code="consent_withdrawn",
        )
    )
    assert notified(service) == {"asked": ["enquiry_not_taken"]}
    assert webhook_body(service, hook.webhook.id) == (
        "enlace.enquiry.not_taken.v1",
        {
            "enquiry_id": ENQUIRY,
            "urgency": "immediate",
            "need_code": "HOU.EMG",
            "service_id": service_id,
            "url": f"{PUBLIC_URL}/api/v1/enquiries/{ENQUIRY}",
        },
    )


def test_a_repeated_fact_is_one_message_and_an_old_fact_notifies_nobody(service: Service) -> None:
    opening = fact(service, "opened", asked_organization_ids=[RECEIVER])
    for _ in range(2):
        service.apply(opening)
    assert notified(service) == {"asked": ["enquiry_opened"]}
    service.apply(fact(service, "exhausted", 2, ago=HISTORY + timedelta(seconds=1)))
    assert notified(service) == {"asked": ["enquiry_opened"]}


def test_a_fact_with_an_unknown_verb_is_held(service: Service) -> None:
    with pytest.raises(NewerKind):
        service.apply(fact(service, "shared"))


def test_the_coordinators_learn_which_desk_an_enquiry_did_not_reach(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    service.apply(fact(service, "opened", asked_organization_ids=[RECEIVER]))
    post.rcpt.append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    [message] = service.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert (message.kind, message.organization_id) == ("message_undeliverable", RECEIVER)

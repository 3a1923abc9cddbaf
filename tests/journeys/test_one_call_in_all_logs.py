"""The id of one call is in every log: gateway, service, consumer, and deliveries."""

from __future__ import annotations

import json
from typing import Any

import requests

from chassis.ids import new_id
from protos.notifications.v1 import notifications_pb2 as n
from protos.referrals.v1 import referrals_pb2 as pb
from tests.notifications.receiver import Receiver
from tests.parts.local_stack import Client, LocalStack, until
from tests.parts.stories import Cast

PARTS = ("gateway", "partners", "referrals", "notifications")


def lines(stack: LocalStack, trace_id: str) -> list[dict[str, Any]]:
    """Returns the lines of every process's log that contain this trace id."""
    return [
        json.loads(line)
        for part in PARTS
        for line in (stack.logs / f"{part}.log").read_text().splitlines()
        if trace_id in line
    ]


def set_email(manager: Client, email: str) -> str:
    """Sets the e-mail of a desk; returns the former e-mail."""
    desk = manager.notifications.GetDesk(n.GetDeskRequest())
    new_desk = n.Desk(language=desk.language, email=email, etag=desk.etag)
    manager.notifications.SetDesk(n.SetDeskRequest(desk=new_desk, request_id=new_id()))
    return str(desk.email)


def test_one_call_is_followed_through_all_logs(stack: LocalStack, receiver: Receiver) -> None:
    cast = Cast(stack)
    manager = stack.worker("gestion@lunanueva")
    hook = manager.webhooks.CreateWebhook(
        n.CreateWebhookRequest(webhook=n.Webhook(url=receiver.url), request_id=new_id())
    ).webhook
    former_email = set_email(manager, "mesa@lunanueva.example")
    person_id, receipt_id = cast.person()
    draft = cast.sender.referrals.CreateReferral(cast.draft(person_id))
    answer = requests.post(
        f"{stack.gateway}/api/v1/referrals/{draft.id}/send",
        json={"receipt_id": receipt_id},
        headers={"Authorization": f"Bearer {cast.sender.api_key}", "If-Match": f'"{draft.etag}"'},
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    trace_id = answer.headers["X-Request-Id"]

    def steps() -> set[tuple[str, str, str]]:
        """Returns the service, the event and the subject of each log line of the call."""
        return {
            (
                line["service"],
                line["event"],
                line.get("method")
                or line.get("rpc")
                or line.get("type")
                or line.get("channel", ""),
            )
            for line in lines(stack, trace_id)
            if line["trace_id"] == trace_id
        }

    expected = {
        ("gateway", "request", "POST"),
        ("referrals", "rpc", "enlace.referrals.v1.Referrals/SendReferral"),
        ("notifications", "fact_taken", "enlace.referral.sent.v1"),
        ("notifications", "delivered", "webhook"),
        ("notifications", "delivered", "email"),
    }
    until(lambda: expected <= steps(), 30, otherwise=lambda: expected - steps())
    assert (
        cast.receiver.referrals.GetReferral(pb.GetReferralRequest(id=draft.id)).state
        == pb.STATE_SENT
    )
    set_email(manager, former_email)
    manager.webhooks.DeleteWebhook(n.DeleteWebhookRequest(id=hook.id, request_id=new_id()))

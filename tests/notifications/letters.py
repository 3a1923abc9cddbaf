"""Facts of the partners service with a sealed e-mail: an invitation, an account, an application."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from chassis.ids import new_id
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2, letters_pb2
from tests.notifications.conftest import RECEIVER, Service

TOKEN = "kW3-dZ1b_6wYpQ2rT8vXcN0mLsA9fHgJ4uEiOyRtKxB"
EMAIL = "directora@casa.example"
WORKER = new_id()


def letter_fact(
    service: Service,
    type: str,
    version: int,
    validity: timedelta,
    body: Any,
    letter: Message | None,
) -> Fact:
    """Returns a fact whose message is `body`, with the e-mail as the partners service seals it."""
    noun = type.split(".")[0]
    id = getattr(body, "notice_id" if noun == "account" else f"{noun}_id")
    body.expire_time.FromDatetime(service.clock.now() + validity)
    if letter:
        body.sealed_letter = service.letter_key.seal_bytes(
            letter.SerializeToString(), f"{noun}s/{id}/letter"
        )
    return Fact(id, version, f"enlace.{type}.v1", body.SerializeToString(), service.clock.now())


def invitation(
    service: Service,
    verb: str = "created",
    id: str = "",
    *,
    language: str = "es",
    email: str = EMAIL,
    first_manager: bool = True,
) -> Fact:
    """Returns a fact about an invitation; only `created` has an e-mail."""
    created = verb == "created"
    return letter_fact(
        service,
        f"invitation.{verb}",
        1 if created else 2,
        timedelta(hours=72),
        facts_pb2.InvitationFact(
            invitation_id=id or new_id(), organization_id=RECEIVER, first_manager=first_manager
        ),
        letters_pb2.InvitationLetter(email=email, token=TOKEN, language=language)
        if created
        else None,
    )


def account(
    service: Service,
    verb: str = "reset_asked",
    id: str = "",
    *,
    language: str = "es",
    email: str = EMAIL,
    by_role_code: str = "",
) -> Fact:
    """Returns a fact about the account of WORKER; only `reset_ended` has no e-mail."""
    has_link = verb == "reset_asked"
    return letter_fact(
        service,
        f"account.{verb}",
        2 if id else 1,
        timedelta(hours=1 if has_link else 168),
        facts_pb2.AccountFact(
            notice_id=id or new_id(),
            worker_id=WORKER,
            organization_id=RECEIVER,
            by_role_code=by_role_code,
        ),
        letters_pb2.AccountLetter(email=email, token=TOKEN if has_link else "", language=language)
        if verb != "reset_ended"
        else None,
    )


def application(service: Service, verb: str = "asked", *, email: str = EMAIL) -> Fact:
    """Returns a fact about an application, with an e-mail."""
    return letter_fact(
        service,
        f"application.{verb}",
        1,
        timedelta(days=3),
        facts_pb2.ApplicationFact(application_id=new_id()),
        letters_pb2.ApplicationLetter(email=email, token=TOKEN, language="es"),
    )

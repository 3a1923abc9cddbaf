"""The fields of facts that messages depend on, for every subject of the contract."""

from collections.abc import Callable
from unittest.mock import Mock

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.clock import SystemClock
from chassis.contract import words_of
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from protos.referrals.v1.referrals_pb2 import State
from services.notifications import subscriptions, wire
from services.notifications.domain.rules import recipients_of
from services.notifications.usecases import consume
from tests.builders import NOON

MESSAGES = [
    GetMessageClass(message)
    for file in (partners_pb2.DESCRIPTOR, referrals_pb2.DESCRIPTOR)
    for message in file.message_types_by_name.values()
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.DESCRIPTOR.name)
@pytest.mark.parametrize(
    ("field", "read"),
    [("organization_id", wire.organization_of), ("worker_id", wire.worker_of)],
)
def test_a_fact_about_any_subject_names_its_organisation_and_worker_if_it_has_them(
    message: Callable[..., Message], field: str, read: Callable[[Fact, str], str]
) -> None:
    body = message()
    name = words_of(body.DESCRIPTOR.name).removesuffix("_fact")
    has_field = field in body.DESCRIPTOR.fields_by_name
    if has_field:
        setattr(body, field, "a" * 32)
    fact = Fact("s" * 32, 1, f"enlace.{name}.changed.v1", body.SerializeToString(), NOON)
    assert read(fact, name) == ("a" * 32 if has_field else "")


@pytest.mark.parametrize("name", ["organization", "worker", "api_key", "service"])
def test_a_notice_about_any_subject_of_partners_is_written_beside_its_other_effects(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = []
    monkeypatch.setattr(consume, "subject", lambda tx, fact, name, *_, **__: subjects.append(name))
    handle = subscriptions.partners(SystemClock(), by_email=False)
    handle(Mock(), Fact("s" * 32, 1, f"enlace.{name}.changed.v1", b"", NOON))
    assert subjects == [name]


@pytest.mark.parametrize(("state", "count"), [("STATE_DRAFT", 0), ("STATE_SENT", 1)])
def test_amending_a_draft_notifies_nobody_and_amending_a_sent_referral_the_receiver(
    state: str, count: int
) -> None:
    body = referrals_pb2.ReferralFact(
        referral_id="a" * 32,
        state=State.Value(state),
        sender_organization_id="b" * 32,
        receiver_organization_id="c" * 32,
    )
    fact = Fact("a" * 32, 2, "enlace.referral.amended.v1", body.SerializeToString(), NOON)
    assert len(recipients_of(wire.event_of(fact, body), NOON)) == count

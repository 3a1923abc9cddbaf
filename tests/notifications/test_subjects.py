"""Facts about every subject of the contract: their organisation, and the worker that they name."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.contract import words_of
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from services.notifications import wire

NOW = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
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
    fact = Fact("s" * 32, 1, f"enlace.{name}.changed.v1", body.SerializeToString(), NOW)
    assert read(fact, name) == ("a" * 32 if has_field else "")

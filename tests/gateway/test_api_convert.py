"""Messages and JSON: set fields are converted, unset fields are left out, both ways."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import people_pb2, referrals_pb2
from protos.stubs import FILES
from services.gateway.api.convert import from_json, rfc3339, to_json, word, words
from tests.gateway.api_gateway import filled_message

MESSAGES = [
    GetMessageClass(message) for file in FILES for message in file.message_types_by_name.values()
]


def test_an_enum_is_a_lower_case_word_without_its_prefix_and_a_newer_value_is_left_out() -> None:
    referral = to_json(referrals_pb2.Referral(state=referrals_pb2.STATE_IN_PROGRESS))
    newer_referral = to_json(referrals_pb2.Referral(state=99))  # type: ignore[arg-type]
    assert (referral["state"], "state" in newer_referral) == ("in_progress", False)
    assert words(referrals_pb2.Urgency.DESCRIPTOR) == ["normal", "urgent", "emergency", "immediate"]
    assert word(referrals_pb2.State.DESCRIPTOR, 99) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (directory_pb2.Eligibility(), {"genders": []}),
        (
            directory_pb2.Eligibility(minimum_age=0, takes_dependants=False),
            {"genders": [], "minimum_age": 0, "takes_dependants": False},
        ),
        (people_pb2.SafeContact(), {"message_may_be_left": False}),
    ],
)
def test_unset_fields_are_absent(message: Message, expected: dict[str, Any]) -> None:
    assert to_json(message) == expected


def test_times_are_rfc_3339_in_utc() -> None:
    half_past_nine = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
    assert (rfc3339(half_past_nine), rfc3339(half_past_nine.replace(microsecond=5000))) == (
        "2026-03-14T09:30:00Z",
        "2026-03-14T09:30:00.005000Z",
    )


def test_a_map_is_an_object() -> None:
    counts = referrals_pb2.CountReferralsResponse(by_state={"sent": 2, "closed": 1})
    assert to_json(counts)["by_state"] == {"closed": 1, "sent": 2}


def test_null_leaves_a_field_unset_an_empty_object_sets_it_and_an_unknown_name_is_refused() -> None:
    assert from_json({"name": None}, directory_pb2.Organization()) == directory_pb2.Organization()
    assert from_json({"eligibility": {}}, directory_pb2.Service()).HasField("eligibility")
    with pytest.raises(KeyError):
        from_json({"nmae": "x"}, directory_pb2.Organization())


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_message_of_the_contracts_survives_the_conversion_to_json_and_back(
    kind: type[Message],
) -> None:
    message = filled_message(kind)
    assert from_json(with_times(to_json(message), message), kind()) == message


def with_times(values: dict[str, Any], message: Message) -> dict[str, Any]:
    """Returns the JSON with its times parsed, as the schema of a request parses them."""
    return {
        name: with_time(value, message.DESCRIPTOR.fields_by_name[name])
        for name, value in values.items()
    }


def with_time(value: Any, field: Any) -> Any:
    """Returns a value of JSON with its times parsed."""
    if isinstance(value, list):
        return [with_time(item, field) for item in value]
    if field.message_type and field.message_type.full_name == "google.protobuf.Timestamp":
        return datetime.fromisoformat(value)
    if isinstance(value, dict) and not field.message_type.GetOptions().map_entry:
        return with_times(value, GetMessageClass(field.message_type)())
    return value

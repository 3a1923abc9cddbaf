"""The faults of a request are found by its .proto alone, all at once.

Nothing that was sent is repeated in the refusal.
"""

import re
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.shape import KINDS, MAX_SAID, shape, violations
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import facts_pb2 as notifications_facts
from protos.partners.v1 import directory_pb2, members_pb2
from protos.partners.v1 import facts_pb2 as partners_facts
from protos.referrals.v1 import contacts_pb2, people_pb2, referrals_pb2
from protos.referrals.v1 import facts_pb2 as referrals_facts
from protos.stubs import SERVICES
from services.gateway.api import schemas
from services.gateway.api.binding import bindings


def problems(request: Any) -> dict[str, str]:
    return dict(violations(request))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    asked = referrals_pb2.WaitlistReferralRequest(
        id="r", etag="v1", expected_wait_days=400, note="x" * 4001
    )
    assert problems(asked) == {
        "expected_wait_days": "out_of_range",
        "review_time": "required",
        "note": "too_long",
    }


def test_what_was_sent_is_in_no_path_and_no_reason() -> None:
    said = violations(
        people_pb2.CreatePersonRequest(
            identity=people_pb2.Identity(given_name="María\x00", birth_date="ayer")
        )
    )
    assert said == [("identity.given_name", "malformed"), ("identity.birth_date", "malformed")]


def test_a_refusal_says_no_more_than_fits_into_it() -> None:
    request = directory_pb2.MatchServicesRequest(
        need_code="HOU", excluded_organization_ids=["x"] * 101
    )
    assert problems(request) == {"excluded_organization_ids": "too_long"}
    wrong = directory_pb2.Service(name="x", need_codes=["no code"] * 30)
    assert len(violations(directory_pb2.CreateServiceRequest(service=wrong))) == MAX_SAID


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "required"),
        ("   ", "required"),
        ("x" * 201, "too_long"),
        ("a\x07b", "malformed"),
        ("a\nb", None),
    ],
)
def test_a_text_is_there_short_enough_and_without_control_characters(
    value: str, reason: str | None
) -> None:
    said = problems(
        directory_pb2.CreateServiceRequest(
            service=directory_pb2.Service(name=value, need_codes=["HOU"])
        )
    )
    assert said.get("service.name") == reason


def test_the_end_of_a_line_is_no_part_of_a_code() -> None:
    assert problems(
        people_pb2.CreatePersonRequest(coarse=referrals_pb2.CoarsePerson(country="NI\n"))
    ) == {"coarse.country": "malformed"}


def test_an_unknown_enum_value_is_refused_and_a_required_one_must_be_there() -> None:
    assert problems(referrals_pb2.DeclineReferralRequest(id="r", reason_code=99)) == {  # type: ignore[arg-type]
        "reason_code": "unknown_code"
    }
    assert problems(referrals_pb2.DeclineReferralRequest(id="r")) == {"reason_code": "required"}
    asked = people_pb2.OpenPersonRequest(
        purpose_code="HOU",
        field_groups=[people_pb2.FIELD_GROUP_IDENTITY, 0],  # type: ignore[list-item]
    )
    assert problems(asked) == {"field_groups.1": "unknown_code"}


def test_a_time_that_no_calendar_has_is_refused() -> None:
    asked = referrals_pb2.StartReferralRequest(id="r", first_contact_time=Timestamp(seconds=2**60))
    assert problems(asked) == {"first_contact_time": "out_of_range"}


def test_of_a_change_only_what_its_mask_names_counts() -> None:
    entry = directory_pb2.Organization(id="o", etag="v1", phone="x" * 99)
    assert (
        problems(
            directory_pb2.UpdateOrganizationRequest(
                organization=entry, update_mask=FieldMask(paths=["description"])
            )
        )
        == {}
    )
    both = FieldMask(paths=["name", "phone"])
    assert problems(
        directory_pb2.UpdateOrganizationRequest(organization=entry, update_mask=both)
    ) == {
        "organization.name": "required",
        "organization.phone": "too_long",
    }
    assert problems(directory_pb2.UpdateOrganizationRequest(organization=entry)) == {
        "update_mask": "required"
    }


def test_a_mask_names_only_what_may_be_changed_by_it() -> None:
    asked = directory_pb2.ProposeOrganizationChangeRequest(
        organization=directory_pb2.Organization(id="o"), update_mask=FieldMask(paths=["status"])
    )
    assert problems(asked) == {"update_mask": "unknown_code"}


def test_a_page_that_is_too_large_is_made_smaller_and_not_refused() -> None:
    assert problems(referrals_pb2.ListReferralsRequest(page_size=100_000)) == {}
    assert problems(referrals_pb2.ListReferralsRequest(page_size=-1)) == {
        "page_size": "out_of_range"
    }


def test_what_is_no_id_is_not_there_and_what_is_no_secret_is_a_wrong_one() -> None:
    assert problems(referrals_pb2.GetReferralRequest(id="x\x00" * 100)) == {}
    assert problems(members_pb2.SignInRequest(email="\x00", password="x" * 5000)) == {}
    assert problems(contacts_pb2.GetReferenceStatusRequest(reference="", pin="12")) == {}


def test_every_field_of_the_contract_has_a_shape_that_its_example_keeps() -> None:
    seen = set()

    def walk(message: Any) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            known = shape(field)
            if known.example and known.kind and known.kind.checks != "nothing":
                assert len(known.example) <= known.kind.most, field.full_name
                assert known.kind.pattern is None or re.fullmatch(
                    known.kind.pattern, known.example
                ), field.full_name
            if field.message_type is not None:
                walk(field.message_type)

    for service in SERVICES:
        for method in service.methods:
            walk(method.input_type)
            walk(method.output_type)


def test_every_kind_of_the_contract_is_known() -> None:
    assert {name.removeprefix("KIND_") for name in contract_pb2.Kind.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    } == KINDS.keys()


def test_no_fact_can_carry_what_is_sealed() -> None:
    for file in (partners_facts, referrals_facts, notifications_facts):
        for fact in file.DESCRIPTOR.message_types_by_name.values():
            assert [
                field.name
                for field in fact.fields
                if field.message_type is None and shape(field).sealed
            ] == []


def test_what_is_sealed_stands_in_no_address() -> None:
    for service in SERVICES:
        for method in service.methods:
            for binding in bindings(method):
                schema = schemas.query(binding)
                sealed = {
                    field.name
                    for field in method.input_type.fields
                    if shape(field).sealed or shape(field).private
                }
                assert schema is None or sealed.isdisjoint(schema._declared_fields), (
                    method.full_name
                )

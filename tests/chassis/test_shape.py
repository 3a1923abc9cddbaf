"""The violations of a request, which are found by its .proto alone and reported together.

The refusal repeats nothing of the request's content.
"""

import re
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.shape import KINDS, MAX_VIOLATIONS, shape, violations
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


def test_all_faults_are_reported_at_once() -> None:
    request = referrals_pb2.WaitlistReferralRequest(
        id="r", etag="v1", expected_wait_days=400, note="x" * 4001
    )
    assert problems(request) == {
        "expected_wait_days": "out_of_range",
        "review_time": "required",
        "note": "too_long",
    }


def test_no_sent_text_appears_in_a_path_or_reason() -> None:
    reported = violations(
        people_pb2.CreatePersonRequest(
            identity=people_pb2.Identity(given_name="María\x00", birth_date="ayer")
        )
    )
    assert reported == [("identity.given_name", "malformed"), ("identity.birth_date", "malformed")]


def test_a_refusal_reports_at_most_the_maximum_number_of_faults() -> None:
    request = directory_pb2.MatchServicesRequest(
        need_code="HOU", excluded_organization_ids=["x"] * 101
    )
    assert problems(request) == {"excluded_organization_ids": "too_long"}
    wrong = directory_pb2.Service(name="x", need_codes=["no code"] * 30)
    assert len(violations(directory_pb2.CreateServiceRequest(service=wrong))) == MAX_VIOLATIONS


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
def test_a_text_must_be_present_short_enough_and_free_of_control_characters(
    value: str, reason: str | None
) -> None:
    reported = problems(
        directory_pb2.CreateServiceRequest(
            service=directory_pb2.Service(name=value, need_codes=["HOU"])
        )
    )
    assert reported.get("service.name") == reason


def test_a_code_must_not_end_with_a_line_break() -> None:
    assert problems(
        people_pb2.CreatePersonRequest(coarse=referrals_pb2.CoarsePerson(country="NI\n"))
    ) == {"coarse.country": "malformed"}


def test_an_unknown_enum_value_is_refused_and_a_required_one_must_be_set() -> None:
    assert problems(referrals_pb2.DeclineReferralRequest(id="r", reason_code=99)) == {  # type: ignore[arg-type]
        "reason_code": "unknown_code"
    }
    assert problems(referrals_pb2.DeclineReferralRequest(id="r")) == {"reason_code": "required"}
    request = people_pb2.OpenPersonRequest(
        purpose_code="HOU",
        field_groups=[people_pb2.FIELD_GROUP_IDENTITY, 0],  # type: ignore[list-item]
    )
    assert problems(request) == {"field_groups.1": "unknown_code"}


def test_a_time_outside_the_calendar_is_refused() -> None:
    request = referrals_pb2.StartReferralRequest(
        id="r", first_contact_time=Timestamp(seconds=2**60)
    )
    assert problems(request) == {"first_contact_time": "out_of_range"}


def test_only_fields_named_in_the_mask_of_a_change_are_checked() -> None:
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


def test_a_mask_may_name_only_fields_that_its_rpc_may_change() -> None:
    request = directory_pb2.ProposeOrganizationChangeRequest(
        organization=directory_pb2.Organization(id="o"), update_mask=FieldMask(paths=["status"])
    )
    assert problems(request) == {"update_mask": "unknown_code"}


def test_too_large_a_page_size_is_accepted_and_a_negative_one_refused() -> None:
    assert problems(referrals_pb2.ListReferralsRequest(page_size=100_000)) == {}
    assert problems(referrals_pb2.ListReferralsRequest(page_size=-1)) == {
        "page_size": "out_of_range"
    }


def test_malformed_ids_and_secrets_are_no_violations() -> None:
    assert problems(referrals_pb2.GetReferralRequest(id="x\x00" * 100)) == {}
    assert problems(members_pb2.SignInRequest(email="\x00", password="x" * 5000)) == {}
    assert problems(contacts_pb2.GetReferenceStatusRequest(reference="", pin="12")) == {}


def test_every_example_of_a_field_fits_the_fields_shape() -> None:
    seen = set()

    def walk(message: Any) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            field_shape = shape(field)
            if field_shape.example and field_shape.kind and field_shape.kind.checks != "nothing":
                assert len(field_shape.example) <= field_shape.kind.most, field.full_name
                assert field_shape.kind.pattern is None or re.fullmatch(
                    field_shape.kind.pattern, field_shape.example
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


def test_no_fact_has_a_sealed_field() -> None:
    for file in (partners_facts, referrals_facts, notifications_facts):
        for fact in file.DESCRIPTOR.message_types_by_name.values():
            assert [
                field.name
                for field in fact.fields
                if field.message_type is None and shape(field).sealed
            ] == []


def test_no_sealed_or_private_field_appears_in_a_url() -> None:
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

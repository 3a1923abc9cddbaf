"""Values that the messages of all services share, and the refusals of wrong values.

The values are times, enums, etags, page tokens, page sizes, masks and ids.
"""

import base64
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import wire
from chassis.errors import Stale
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as directory
from protos.partners.v1 import members_pb2 as members
from protos.referrals.v1 import referrals_pb2 as pb
from protos.stubs import FILES
from tests.builders import NOON, violations_of

TOKENS = wire.PageTokens(Keyring(b"k" * 32))


# --- times


def test_a_time_comes_back_exact_to_the_microsecond_and_in_utc() -> None:
    local_time = datetime(2026, 3, 4, 6, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-6)))
    parsed = wire.moment(members.ApiKey(expire_time=wire.timestamp(local_time)), "expire_time")
    assert parsed == local_time
    assert parsed is not None
    assert parsed.tzinfo is UTC


def test_a_time_that_is_not_set_is_none_in_both_directions() -> None:
    assert wire.timestamp(None) is None
    assert wire.moment(members.ApiKey(), "expire_time") is None


@pytest.mark.parametrize(
    "time",
    [
        Timestamp(seconds=253_402_300_800),  # the year 10000
        Timestamp(seconds=-62_135_596_801),  # the year 0
        Timestamp(seconds=2**63 - 1),
        # the end of the year 9999: no deadline can be added to it
        Timestamp(seconds=253_402_300_799),
        Timestamp(seconds=-62_135_596_800),  # the year 1
        Timestamp(nanos=-1),
        Timestamp(nanos=2_000_000_000),
    ],
)
def test_a_time_outside_the_calendar_is_out_of_range(time: Timestamp) -> None:
    key = members.ApiKey(expire_time=time)
    assert violations_of(lambda: wire.moment(key, "expire_time")) == [
        ("expire_time", "out_of_range")
    ]
    assert violations_of(lambda: wire.moment(key, "expire_time", "key.expire_time")) == [
        ("key.expire_time", "out_of_range")
    ]


def test_a_filter_may_end_at_the_end_of_the_calendar() -> None:
    end = members.ApiKey(expire_time=Timestamp(seconds=253_402_300_799))
    assert wire.moment(end, "expire_time", years=wire.ANY_YEAR) == datetime(
        9999, 12, 31, 23, 59, 59, tzinfo=UTC
    )


# --- enums


class Intake(Enum):
    OPEN = "taking people"
    CLOSED = "taking nobody"


INTAKES = wire.EnumCodec(directory.Intake, Intake)


def test_an_enum_is_converted_by_its_names_without_the_prefix() -> None:
    assert INTAKES.number(Intake.CLOSED) == directory.INTAKE_CLOSED
    assert INTAKES.member(directory.INTAKE_CLOSED, "intake") is Intake.CLOSED
    assert wire.names(directory.Intake) == {1: "OPEN", 2: "WAITLIST", 3: "CLOSED"}


def test_unspecified_is_none_in_both_directions() -> None:
    assert INTAKES.member(0, "intake") is None
    assert INTAKES.number(None) == 0


@pytest.mark.parametrize("number", [directory.INTAKE_WAITLIST, 4, 99, -1])
def test_a_value_without_a_member_is_an_unknown_code(number: int) -> None:
    assert violations_of(lambda: INTAKES.member(number, "capacity.intake")) == [
        ("capacity.intake", "unknown_code")
    ]


def test_in_a_list_the_first_unknown_or_unspecified_value_is_named() -> None:
    assert INTAKES.members([3, 1, 3], "intakes") == [Intake.CLOSED, Intake.OPEN, Intake.CLOSED]
    assert violations_of(lambda: INTAKES.members([1, 0, 99], "intakes")) == [
        ("intakes.1", "unknown_code")
    ]
    assert violations_of(lambda: INTAKES.members([99] * 300, "intakes")) == [
        ("intakes.0", "unknown_code")
    ]


def test_an_enum_member_that_the_contract_lacks_is_an_error() -> None:
    class Wrong(Enum):
        OPEN = 1
        AJAR = 2

    with pytest.raises(TypeError, match=r"Intake lacks \['AJAR'\]"):
        wire.EnumCodec(directory.Intake, Wrong)


# --- etags


def test_an_etag_contains_its_version() -> None:
    assert [wire.version(wire.etag(number)) for number in (0, 1, 2**40)] == [0, 1, 2**40]


@pytest.mark.parametrize(
    "tag",
    [
        "1",
        "v",
        "v-1",
        "V1",
        "v1 ",
        "v1\n",
        "v٣",
        "W/v1",
        '"v1"',
        "v1-abc",
        "v" + "9" * 40,
        "\x00",
        "*",
    ],
)
def test_an_etag_that_was_never_issued_is_stale(tag: str) -> None:
    with pytest.raises(Stale):
        wire.version(tag)
    with pytest.raises(Stale):
        wire.check_etag(tag, wire.etag(1))


def test_the_refusal_of_a_missing_etag_names_its_field_unless_the_etag_is_optional() -> None:
    assert violations_of(lambda: wire.version("", "desk.etag")) == [("desk.etag", "required")]
    assert violations_of(lambda: wire.check_etag("", "v1", "service.etag")) == [
        ("service.etag", "required")
    ]
    wire.check_etag("", "v1", required=False)


def test_an_etag_changes_with_anything_that_a_reader_sees() -> None:
    tags = {
        wire.etag(1),
        wire.etag(2),
        wire.etag(1, "Casa", "NGO"),
        wire.etag(1, "Casa", "SHELTER"),
        wire.etag(1, "CasaN", "GO"),
        wire.etag(1, ""),
    }
    assert len(tags) == 6
    wire.check_etag(wire.etag(1, "Casa"), wire.etag(1, "Casa"))
    with pytest.raises(Stale):
        wire.check_etag(wire.etag(1, "Casa"), wire.etag(1, "Hogar"), required=False)


# --- page tokens


def list_request(token: str = "", **filters: Any) -> pb.ListReferralsRequest:
    return pb.ListReferralsRequest(filter=pb.ReferralFilter(**filters), page_token=token)


def test_a_page_token_returns_the_position_that_it_was_issued_for() -> None:
    position: wire.Cursor = ["Ágora \U0001f4a5", -1, "f" * 32]
    token = TOKENS.token(list_request(), position)
    assert TOKENS.cursor(list_request(token), str, int, str) == position


def test_an_empty_page_token_means_the_beginning_and_no_position_means_the_end() -> None:
    assert TOKENS.cursor(list_request(), str) is None
    assert TOKENS.token(list_request(), None) == ""


def test_the_same_page_has_the_same_token_each_time() -> None:
    assert TOKENS.token(list_request(), ["a"]) == TOKENS.token(list_request(), ["a"])


def test_a_page_token_hides_the_name_at_which_the_page_ended() -> None:
    token = TOKENS.token(list_request(), ["bayardo sequeira", "f" * 32])
    sealed = base64.urlsafe_b64decode(token + "==")
    assert b"bayardo" not in sealed
    assert b"ffff" not in sealed


def test_the_longest_position_fits_into_a_page_token() -> None:
    position: wire.Cursor = [2**31, "\U0001f4a5" * 200, "\U0001f4a5" * 32]
    assert (
        TOKENS.cursor(list_request(TOKENS.token(list_request(), position)), int, str, str)
        == position
    )


def invalid_page_tokens() -> list[str]:
    """Returns texts that are not valid page tokens of this list.

    They are made up, sealed with another key, changed by one bit, cut, lengthened, or encoded in
    another way.
    """
    token = TOKENS.token(list_request(), ["a", "b"])
    known = base64.urlsafe_b64decode(token + "==")
    flipped = [bytearray(known) for _ in known]
    for index, changed in enumerate(flipped):
        changed[index] ^= 1
    made_up = [
        "x",
        "!!!",
        "ñ",
        "\x00",
        " ",
        "=",
        "W10",
        base64.urlsafe_b64encode(b'["a","b"]').decode(),
        "A" * 3000,
        "[" * 3000,
    ]
    forged = [
        base64.urlsafe_b64encode(bytes(16) + b'["a","b"]').decode(),
        wire.PageTokens(Keyring(b"o" * 32)).token(list_request(), ["a", "b"]),
    ]
    cut = [token[:length] for length in range(1, len(token))]
    longer = [token + more for more in ("A", "AAAA", "\n", " ", token)]
    return [
        *made_up,
        *forged,
        *cut,
        *longer,
        *(base64.urlsafe_b64encode(changed).decode().rstrip("=") for changed in flipped),
    ]


@pytest.mark.parametrize("token", invalid_page_tokens())
def test_a_page_token_that_this_service_did_not_issue_is_malformed(token: str) -> None:
    assert violations_of(lambda: TOKENS.cursor(list_request(token), str, str)) == [
        ("page_token", "malformed")
    ]


def test_a_page_token_is_valid_only_for_its_rpc() -> None:
    workers = members.ListWorkersRequest(
        page_token=TOKENS.token(directory.ListOrganizationsRequest(), ["a", "b"])
    )
    assert violations_of(lambda: TOKENS.cursor(workers, str, str)) == [("page_token", "malformed")]


def test_a_page_token_is_valid_only_for_its_filters() -> None:
    token = TOKENS.token(list_request(need_code="HOU", states=[pb.STATE_SENT]), ["a"])
    for other in (
        list_request(token),
        list_request(token, need_code="HOU"),
        list_request(token, need_code="MED", states=[pb.STATE_SENT]),
    ):
        assert violations_of(lambda other=other: TOKENS.cursor(other, str)) == [  # type: ignore[misc]
            ("page_token", "malformed")
        ]
    assert TOKENS.cursor(list_request(token, need_code="HOU", states=[pb.STATE_SENT]), str) == ["a"]


def test_the_next_page_may_have_another_size_and_a_later_due_time() -> None:
    now = wire.timestamp(NOON)
    token = TOKENS.token(list_request(live=True, due_before=now), ["a"])
    later = list_request(token, live=True, due_before=wire.timestamp(NOON + timedelta(minutes=1)))
    later.page_size = 200
    assert TOKENS.cursor(later, str) == ["a"]


@pytest.mark.parametrize("kinds", [(), (str,), (str, str), (int, str), (str, int, str)])
def test_a_position_with_other_types_is_malformed(
    kinds: tuple[type[str] | type[int], ...],
) -> None:
    token = TOKENS.token(list_request(), ["a", 1])
    assert violations_of(lambda: TOKENS.cursor(list_request(token), *kinds)) == [
        ("page_token", "malformed")
    ]


# --- page sizes, masks, ids


def test_a_page_is_as_large_as_requested_up_to_the_maximum_and_never_negative() -> None:
    assert [
        wire.page_size(size, default=50, maximum=200) for size in (0, 1, 200, 201, 2**31 - 1)
    ] == [
        50,
        1,
        200,
        200,
        200,
    ]
    assert violations_of(lambda: wire.page_size(-1, default=50, maximum=200)) == [
        ("page_size", "out_of_range")
    ]


def test_a_mask_must_name_at_least_one_field_and_only_those_that_may_be_changed() -> None:
    allowed = ("name", "phone")
    assert wire.mask_names(FieldMask(paths=["phone", "phone"]), allowed) == {"phone"}
    assert violations_of(lambda: wire.mask_names(FieldMask(), allowed)) == [
        ("update_mask", "required")
    ]
    for path in ("id", "name.first", "", "*", "Ximena"):
        assert violations_of(
            lambda path=path: wire.mask_names(FieldMask(paths=["name", path]), allowed)  # type: ignore[misc]
        ) == [("update_mask", "unknown_code")]


def test_an_optional_id_is_empty_or_well_formed() -> None:
    assert wire.optional_id("", "person_id") == ""
    assert wire.optional_id("f" * 32, "person_id") == "f" * 32
    for text in ("F" * 32, "f" * 31, "\x00"):
        assert violations_of(lambda text=text: wire.optional_id(text, "person_id")) == [  # type: ignore[misc]
            ("person_id", "malformed")
        ]


def test_an_enum_value_is_converted_to_its_word() -> None:
    assert (
        wire.word(pb.DeclineReason, pb.DECLINE_REASON_NO_CAPACITY, "reason_code") == "no_capacity"
    )
    assert wire.word(pb.DeclineReason, 0, "reason_code") == ""
    assert violations_of(lambda: wire.word(pb.DeclineReason, 99, "reason_code")) == [
        ("reason_code", "unknown_code")
    ]


def test_a_word_that_differs_from_the_enum_name_comes_from_the_values_option() -> None:
    assert list(wire.words(pb.AgeBand.DESCRIPTOR).values()) == [
        "0-11",
        "12-17",
        "18-24",
        "25-59",
        "60+",
    ]
    assert (
        wire.words(contract_pb2.Scope.DESCRIPTOR)[contract_pb2.SCOPE_PEOPLE_OPEN] == "people.open"
    )
    # without the option, the word comes from the enum's name
    assert (
        wire.words(contract_pb2.Scope.DESCRIPTOR)[contract_pb2.SCOPE_NOTIFICATIONS]
        == "notifications"
    )
    assert wire.number(pb.PersonGender, "NonConforming") == pb.PERSON_GENDER_NON_CONFORMING
    assert [
        wire.number(pb.PersonGender, word) for word in ("", "non_conforming", "NON_CONFORMING")
    ] == [0, 0, 0]


def test_each_word_of_an_enum_is_unique() -> None:
    for file in FILES:
        for enum in file.enum_types_by_name.values():
            assert len(wire.numbers(enum)) == len(enum.values) - 1, enum.full_name


def test_a_list_of_enum_values_is_converted_one_by_one() -> None:
    known = [pb.OUTCOME_NOT_MET, pb.OUTCOME_FULLY_MET]
    assert wire.word_list(pb.Outcome, known, "codes") == ("not_met", "fully_met")
    for wrong in (0, 99):
        assert violations_of(
            lambda wrong=wrong: wire.word_list(pb.Outcome, [*known, wrong], "codes")  # type: ignore[misc]
        ) == [("codes.2", "unknown_code")]

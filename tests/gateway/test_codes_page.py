"""The page of code lists is fresh, complete, and in three languages."""

from chassis.languages import LANGUAGES
from protos.partners.v1 import directory_pb2, members_pb2
from protos.referrals.v1 import people_pb2, referrals_pb2
from services.gateway.site.language.words import ENUMS
from tests import codes_page
from tests.parts.local_stack import ROOT

PAGE = codes_page.text()


def test_the_committed_page_is_fresh() -> None:
    assert (ROOT / "docs" / "codes.md").read_text() == PAGE, (
        "run `python -m tests.codes_page > docs/codes.md`"
    )


def test_every_code_of_five_lists_is_on_the_page() -> None:
    enums = (
        referrals_pb2.State,
        referrals_pb2.DeclineReason,
        people_pb2.FieldGroup,
        directory_pb2.OrganizationType,
        members_pb2.WorkerStatus,
    )
    codes = {name for enum in enums for name in enum.DESCRIPTOR.values_by_name}
    absent = {name for name in codes if f"| `{name}` |" not in PAGE}
    assert {name for name in absent if not name.endswith("_UNSPECIFIED")} == set()


def test_a_list_that_pages_show_has_its_words_in_three_languages() -> None:
    for kind, enum in ENUMS.items():
        section = PAGE.partition(f"\n## {enum.DESCRIPTOR.name}\n")[2].partition("\n## ")[0]
        rows = [row for row in section.splitlines() if row.startswith("| `")]
        assert len(rows) == len(enum.DESCRIPTOR.values) - 1, kind
        # values that forms state by leaving the field out
        rows_with_words = [row for row in rows if "`NonSpecifiedUnknown`" not in row]
        assert all(
            len(row.split(" | ")) == 2 + len(LANGUAGES) and "–" not in row
            for row in rows_with_words
        ), kind


def test_a_word_with_two_meanings_is_translated_as_two_words() -> None:
    """In English a manager was once called an address, because both are `Dirección` in Spanish."""
    rows = (
        "| `manager` | `ROLE_MANAGER` | Dirección de la organización | Management | Direction |",
        "| `location` | `FIELD_GROUP_LOCATION` | Dirección | Address | Adresse |",
    )
    assert [row for row in rows if row not in PAGE] == []

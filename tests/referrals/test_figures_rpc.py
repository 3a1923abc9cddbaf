"""GetFigures on a real database.

A quarter is counted only once, a week after its end. People are counted, not referrals.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import wrong_fields
from tests.referrals.conftest import ORG, SERVICE, Service, Story

SPRING, SUMMER = datetime(2026, 5, 4, 12, tzinfo=UTC), datetime(2026, 7, 8, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_published_figures(service: Service) -> None:
    """Restores the state before the first quarter.

    The service itself may not delete published figures.
    """
    service.as_owner("TRUNCATE published_figures, figure_counts")
    service.as_owner("UPDATE people SET exploitation_country = ''")
    service.clock.set(SPRING)


def help_people(
    story: Story, number: int, exploitation_country: str = "SV", **values: Any
) -> list[pb.Referral]:
    """Returns the completed referrals of `number` new people."""
    referrals = [completed(story, **values) for _ in range(number)]
    set_exploitation_country(story, exploitation_country, referrals)
    return referrals


def completed(
    story: Story,
    person: people_pb2.Person | None = None,
    need_code: str = "HOU.EMG",
    outcome: pb.Outcome.ValueType = pb.OUTCOME_FULLY_MET,
) -> pb.Referral:
    medical = need_code.startswith("MED")
    receiver, service_name = ("clinic", "clinic_visit") if medical else ("shelter", "shelter_bed")
    draft = story.draft(person, need_code=need_code, service_id=SERVICE[service_name])
    sent = story.send(draft, recipient=ORG[receiver], purposes=[need_code[:3]])
    client, now = story.service.as_(receiver, "WORKER"), story.service.clock.now()
    accepted_referral = client.AcceptReferral(
        id=sent.id, etag=sent.etag, planned_first_contact_time=now
    )
    started_referral = client.StartReferral(
        id=sent.id, etag=accepted_referral.etag, first_contact_time=now
    )
    completed_referral: pb.Referral = client.CompleteReferral(
        id=sent.id, etag=started_referral.etag, outcome_code=outcome
    )
    return completed_referral


def set_exploitation_country(story: Story, country: str, referrals: list[pb.Referral]) -> None:
    story.service.as_owner(
        "UPDATE people SET exploitation_country = %s WHERE id = ANY(%s)",
        country,
        [referral.person_id for referral in referrals],
    )


def figures(service: Service, **question: str) -> pb.Figures:
    return cast(pb.Figures, service.public().GetFigures(**question))


def counts_by_code(figures: Any) -> dict[str, int]:
    return {figure.code: figure.count for figure in figures}


def test_only_cells_of_ten_or_more_people_are_published_and_all_readers_get_the_same_answer(
    story: Story,
) -> None:
    referrals = help_people(story, 13)
    for referral in referrals[:9]:  # nine of these women also saw a doctor
        completed(story, people_pb2.Person(id=referral.person_id), "MED.PRI")
    help_people(story, 4, "GT")
    assert counts_by_code(figures(story.service).by_quarter) == {"2026-Q1": -1}, (
        "the quarter has not ended"
    )
    story.service.clock.set(SUMMER)
    public_figures = figures(story.service)
    assert public_figures == pb.Figures(
        total=10,
        counted_until="2026-Q2",
        by_quarter=[pb.Figure(code="2026-Q2", count=10)],
        by_need_group=[pb.Figure(code="HOU", count=10)],
        by_country=[pb.Figure(code="NI", count=10)],
        by_exploitation_country=[pb.Figure(code="SV", count=10)],
        routes=[pb.Route(exploitation_country="SV", country="NI", count=10)],
        periods=["2026"],
        countries=["NI", "SV"],
        need_group_codes=["HOU"],
    )
    key = story.service.as_("ngo", scopes=("directory.read",))
    for client in (story.ngo, story.coordinator, key):
        assert client.GetFigures() == public_figures
    for question, total in (
        ({"period": "2026-Q1"}, -1),
        ({"period": "2025"}, -1),
        ({"country": "GT"}, -1),
        ({"need_group_code": "MED"}, -1),
        ({"period": "2026"}, 10),
        ({"country": "SV"}, 10),
        ({"need_group_code": "HOU"}, 10),
    ):
        assert figures(story.service, **question).total == total


def reopen(story: Story, referral: pb.Referral) -> pb.Referral:
    """Closes a referral with the answer that no help came, which reopens the referral."""
    reopened_referral: pb.Referral = story.ngo.CloseReferral(
        id=referral.id, etag=referral.etag, help_came_code=pb.HELP_CAME_NO
    )
    return reopened_referral


@pytest.mark.parametrize(("helped_at_last", "total"), [(False, -1), (True, 10)])
def test_help_that_resolved_nothing_or_did_not_come_counts_only_once_it_has_come(
    helped_at_last: bool, total: int, story: Story
) -> None:
    help_people(story, 9)  # too few to be published
    [unmet_referral] = help_people(story, 1, outcome=pb.OUTCOME_NOT_MET)
    assert unmet_referral.state == pb.STATE_COMPLETED
    reopened = reopen(story, help_people(story, 1)[0])
    assert reopened.state == pb.STATE_IN_PROGRESS
    if helped_at_last:
        story.shelter.CompleteReferral(
            id=reopened.id, etag=reopened.etag, outcome_code=pb.OUTCOME_PARTLY_MET
        )
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == total


def test_later_changes_do_not_change_published_figures(story: Story) -> None:
    referrals, uncounted_referrals = help_people(story, 11), help_people(story, 9, "GT")
    story.service.clock.set(SUMMER)
    figures_before = figures(story.service)
    story.coordinator.EnterReferralInError(
        id=referrals[0].id, etag=referrals[0].etag, note="a test"
    )
    set_exploitation_country(story, "SV", uncounted_referrals)
    help_people(story, 12)  # people of the next quarter
    assert figures(story.service) == figures_before
    story.service.clock.set(SUMMER + timedelta(days=92))
    assert counts_by_code(figures(story.service).by_quarter) == {"2026-Q2": 10, "2026-Q3": 10}
    assert figures(story.service, period="2026-Q2").total == figures_before.total


def test_neither_repeated_help_nor_an_entry_in_error_nor_people_without_a_route_are_counted(
    story: Story,
) -> None:
    in_error, *referrals = help_people(story, 10)
    for referral in referrals:
        completed(story, people_pb2.Person(id=referral.person_id))
    help_people(story, 10, "")
    story.ngo.EnterReferralInError(id=in_error.id, etag=in_error.etag, note="a test")
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == -1


def test_concurrent_first_requests_count_a_quarter_once(story: Story) -> None:
    help_people(story, 15)
    story.service.clock.set(SUMMER)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: figures(story.service).total, range(4)))
    assert answers == [15] * 4
    assert len(story.service.rows("SELECT 1 FROM figure_counts")) == 1


def test_small_counts_are_not_stored_and_published_figures_cannot_be_changed(story: Story) -> None:
    help_people(story, 9), help_people(story, 12, "GT")
    story.service.clock.set(SUMMER)
    figures(story.service)
    rows = story.service.rows(
        "SELECT quarter, exploitation_country, country, need_group, people FROM published_figures"
    )
    assert [tuple(row.values()) for row in rows] == [("2026-Q2", "GT", "NI", "HOU", 10)]
    with psycopg.connect(story.service.database_url) as connection:
        for statement in (
            "UPDATE published_figures SET people = 20",
            "DELETE FROM published_figures",
            "DELETE FROM figure_counts",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


@pytest.mark.parametrize(
    ("question", "violation"),
    [
        ({"period": "2026-Q5"}, ("period", "malformed")),
        ({"period": "2026-05"}, ("period", "malformed")),
        ({"period": "26"}, ("period", "malformed")),
        ({"period": "2026-"}, ("period", "malformed")),
        ({"country": "Nicaragua"}, ("country", "malformed")),
        ({"need_group_code": "XXX"}, ("need_group_code", "unknown_code")),
    ],
)
def test_the_refusal_of_a_question_about_figures_names_its_invalid_field(
    question: dict[str, str], violation: tuple[str, str], service: Service
) -> None:
    assert wrong_fields(lambda: figures(service, **question)) == [violation]

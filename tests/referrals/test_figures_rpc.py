"""GetFigures on a real database.

A quarter is counted only once, a week after its end. People are counted, not referrals.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal_with_fields
from tests.referrals.conftest import ORG, SERVICE, Service, Story

SPRING, SUMMER = datetime(2026, 5, 4, 12, tzinfo=UTC), datetime(2026, 7, 8, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_counted(service: Service) -> None:
    """Restores the state before the first quarter.

    The service itself may not delete published figures.
    """
    with psycopg.connect(service.migration_url) as owner:
        owner.execute("TRUNCATE published_figures, figure_counts")
        owner.execute("UPDATE people SET exploitation_country = ''")
    service.clock.set(SPRING)


def helped(story: Story, number: int, taken_to: str = "SV", **values: Any) -> list[pb.Referral]:
    """Returns the completed referrals of `number` new people.

    The people had been trafficked to `taken_to`.
    """
    completed_referral = [completed(story, **values) for _ in range(number)]
    set_exploitation_country(
        story, taken_to, *(referral.person_id for referral in completed_referral)
    )
    return completed_referral


def completed(
    story: Story,
    person: people_pb2.Person | None = None,
    need_code: str = "HOU.EMG",
    outcome: pb.Outcome.ValueType = pb.OUTCOME_FULLY_MET,
) -> pb.Referral:
    medical = need_code.startswith("MED")
    receiver, offer = ("clinic", "clinic_visit") if medical else ("shelter", "shelter_bed")
    draft = story.draft(person, need_code=need_code, service_id=SERVICE[offer])
    receipt = story.receipt(draft.person_id, recipient=ORG[receiver], purposes=[need_code[:3]])
    sent = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    receiver_client, now = story.service.as_(receiver, "WORKER"), story.service.clock.now()
    accept = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    accept.planned_first_contact_time.FromDatetime(now)
    start = pb.StartReferralRequest(id=sent.id, etag=receiver_client.AcceptReferral(accept).etag)
    start.first_contact_time.FromDatetime(now)
    started = receiver_client.StartReferral(start)
    completed_referral: pb.Referral = receiver_client.CompleteReferral(
        pb.CompleteReferralRequest(id=sent.id, etag=started.etag, outcome_code=outcome)
    )
    return completed_referral


def set_exploitation_country(story: Story, country: str, *people: str) -> None:
    with story.service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE people SET exploitation_country = %s WHERE id = ANY(%s)",
            (country, list(people)),
        )


def figures(service: Service, **question: str) -> pb.Figures:
    answer: pb.Figures = service.public().GetFigures(pb.GetFiguresRequest(**question))
    return answer


def counts_by_code(figures: Any) -> dict[str, int]:
    return {figure.code: figure.count for figure in figures}


def test_only_cells_of_ten_people_or_more_are_published_and_alike_to_everybody(
    story: Story,
) -> None:
    sheltered = helped(story, 13)
    for referral in sheltered[:9]:  # nine of these women also saw a doctor
        completed(story, people_pb2.Person(id=referral.person_id), "MED.PRI")
    helped(story, 4, "GT")
    assert counts_by_code(figures(story.service).by_quarter) == {"2026-Q1": -1}, (
        "the quarter has not ended"
    )
    story.service.clock.set(SUMMER)
    published = figures(story.service)
    assert (published.total, published.counted_until, counts_by_code(published.by_quarter)) == (
        10,
        "2026-Q2",
        {"2026-Q2": 10},
    )
    assert (counts_by_code(published.by_need_group), counts_by_code(published.by_country)) == (
        {"HOU": 10},
        {"NI": 10},
    )
    assert [
        (route.exploitation_country, route.country, route.count) for route in published.routes
    ] == [("SV", "NI", 10)]
    assert (
        list(published.periods),
        list(published.countries),
        list(published.need_group_codes),
    ) == (
        ["2026"],
        ["NI", "SV"],
        ["HOU"],
    )
    for client in (
        story.ngo,
        story.coordinator,
        story.service.as_("ngo", scopes=("directory.read",)),
    ):
        assert client.GetFigures(pb.GetFiguresRequest()) == published
    for narrower in (
        {"period": "2026-Q1"},
        {"period": "2025"},
        {"country": "GT"},
        {"need_group_code": "MED"},
    ):
        assert figures(story.service, **narrower).total == -1
    for other in ({"period": "2026"}, {"country": "SV"}, {"need_group_code": "HOU"}):
        assert figures(story.service, **other).total == 10


def test_a_person_helped_twice_is_counted_once(story: Story) -> None:
    for referral in helped(story, 9):
        completed(story, people_pb2.Person(id=referral.person_id))
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == -1


def test_help_that_resolved_nothing_or_did_not_come_is_not_counted(story: Story) -> None:
    helped(story, 9)
    [ended] = helped(story, 1, outcome=pb.OUTCOME_NOT_MET)
    assert ended.state == pb.STATE_COMPLETED
    [reopened] = helped(story, 1)
    close = pb.CloseReferralRequest(
        id=reopened.id, etag=reopened.etag, help_came_code=pb.HELP_CAME_NO
    )
    assert story.ngo.CloseReferral(close).state == pb.STATE_IN_PROGRESS
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == -1, "nine people, fewer than are published"


def test_a_person_helped_after_a_reopening_is_counted(story: Story) -> None:
    helped(story, 9)
    [reopened] = helped(story, 1)
    close = pb.CloseReferralRequest(
        id=reopened.id, etag=reopened.etag, help_came_code=pb.HELP_CAME_NO
    )
    again = pb.CompleteReferralRequest(id=reopened.id, outcome_code=pb.OUTCOME_PARTLY_MET)
    again.etag = story.ngo.CloseReferral(close).etag
    story.shelter.CompleteReferral(again)
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == 10


def test_later_changes_do_not_change_published_figures(story: Story) -> None:
    referrals = helped(story, 11)
    hidden = helped(story, 9, "GT")
    story.service.clock.set(SUMMER)
    before = figures(story.service)
    story.coordinator.EnterReferralInError(
        pb.EnterReferralInErrorRequest(id=referrals[0].id, etag=referrals[0].etag, note="a test")
    )
    set_exploitation_country(story, "SV", *(referral.person_id for referral in hidden))
    helped(story, 12)  # people of the next quarter
    assert figures(story.service) == before
    story.service.clock.set(SUMMER + timedelta(days=92))
    assert counts_by_code(figures(story.service).by_quarter) == {"2026-Q2": 10, "2026-Q3": 10}
    assert figures(story.service, period="2026-Q2").total == before.total


def test_referrals_entered_in_error_and_people_without_a_route_are_not_counted(
    story: Story,
) -> None:
    referrals = helped(story, 10)
    helped(story, 10, "")
    story.ngo.EnterReferralInError(
        pb.EnterReferralInErrorRequest(id=referrals[0].id, etag=referrals[0].etag, note="a test")
    )
    story.service.clock.set(SUMMER)
    assert figures(story.service).total == -1


def test_concurrent_first_requests_count_a_quarter_once(story: Story) -> None:
    helped(story, 15)
    story.service.clock.set(SUMMER)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: figures(story.service).total, range(4)))
    assert answers == [15] * 4
    with story.service.database.transaction(SYSTEM) as tx:
        assert len(tx.execute("SELECT * FROM figure_counts").fetchall()) == 1


def test_small_counts_are_not_stored_and_published_figures_cannot_be_changed(
    story: Story,
) -> None:
    helped(story, 9), helped(story, 12, "GT")
    story.service.clock.set(SUMMER)
    figures(story.service)
    with story.service.database.transaction(SYSTEM) as tx:
        stored = tx.execute(
            "SELECT quarter, exploitation_country, country, need_group, people"
            " FROM published_figures"
        ).fetchall()
    assert [tuple(row.values()) for row in stored] == [("2026-Q2", "GT", "NI", "HOU", 10)]
    with psycopg.connect(story.service.database_url) as connection:
        for sentence in (
            "UPDATE published_figures SET people = 20",
            "DELETE FROM published_figures",
            "DELETE FROM figure_counts",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sentence)
            connection.rollback()


@pytest.mark.parametrize(
    ("question", "wrong"),
    [
        ({"period": "2026-Q5"}, {"period": "malformed"}),
        ({"period": "2026-05"}, {"period": "malformed"}),
        ({"period": "26"}, {"period": "malformed"}),
        ({"period": "2026-"}, {"period": "malformed"}),
        ({"country": "Nicaragua"}, {"country": "malformed"}),
        ({"need_group_code": "XXX"}, {"need_group_code": "unknown_code"}),
    ],
)
def test_an_impossible_question_is_refused_by_field(
    question: dict[str, str], wrong: dict[str, str], service: Service
) -> None:
    assert refusal_with_fields(lambda: figures(service, **question))[2] == wrong

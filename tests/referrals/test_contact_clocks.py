"""An open contact of the line has a deadline.

No waiting caller is forgotten between two shifts.
"""

from collections.abc import Callable
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis.wire import timestamp
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.line.domain.contact import Contact
from services.referrals.line.domain.triage import Triage
from tests.builders import NOON, NOTHING_UNSAFE, wrong_fields
from tests.referrals.conftest import Client, Service, Story, read
from tests.referrals.contact_calls import update_contact
from tests.referrals.test_contact_queue import CALM_ANSWERS
from tests.referrals.test_lifecycle import DAYS
from tests.referrals.test_people import withdraw_consent

M, H = timedelta(minutes=1), timedelta(hours=1)
HEALTH_DEADLINES = {
    pb.CLOCK_KIND_HIV_PROPHYLAXIS: "hiv",
    pb.CLOCK_KIND_EMERGENCY_CONTRACEPTION: "pregnancy",
}


def open_contact(**answers: str) -> Contact:
    contact = Contact("contact", "line", NOON, NOON, triage=Triage(**answers))
    contact.update_deadline(NOON, DAYS)
    return contact


@pytest.mark.parametrize(
    ("answers", "length"),
    [
        ({}, H),
        ({"danger_now": "yes"}, 15 * M),
        ({"safe_place_tonight": "no"}, H),
        ({"need_within_days": "yes"}, 24 * H),
        ({"danger_now": "no"}, H),
        (CALM_ANSWERS, 48 * H),
    ],
)
def test_the_deadline_of_a_contact_assumes_the_worst_of_each_missing_answer(
    answers: dict[str, str], length: timedelta
) -> None:
    clock = open_contact(**answers).clock
    assert clock is not None
    assert clock.due_time - NOON == length


def test_the_deadline_follows_the_urgency_and_a_shorter_one_starts_from_now() -> None:
    contact = open_contact(**CALM_ANSWERS)
    assert contact.clock is not None
    contact.triage = Triage(danger_now="yes")
    contact.change(NOON + 5 * H, DAYS)
    assert contact.clock.due_time == NOON + 5 * H + 15 * M, (
        "a deadline cannot end before the answer that started it"
    )
    contact.triage = Triage(need_within_days="yes")
    contact.change(NOON + 5 * H + 1 * M, DAYS)
    assert contact.clock.due_time == NOON + 29 * H


def test_the_deadline_stops_with_the_contact_and_restarts_when_the_contact_is_reopened() -> None:
    contact = open_contact()
    contact.outcome_code = "referred"
    contact.change(NOON + 10 * M, DAYS)
    assert contact.clock is not None
    assert not contact.clock.running
    assert contact.fire_deadline(NOON + 50 * H) == ""
    contact.outcome_code = "open"
    contact.change(NOON + 50 * H, DAYS)
    assert contact.clock.due_time == NOON + 51 * H


def test_the_line_is_reminded_twice_before_the_coordinators_are_notified() -> None:
    contact = open_contact()
    verbs = [contact.fire_deadline(NOON + minutes * M) for minutes in (29, 30, 59, 60, 89, 90, 500)]
    assert verbs == ["", "waiting", "", "waiting", "", "escalated", ""]
    assert open_contact(danger_now="yes").fire_deadline(NOON + 8 * M) == "escalated", (
        "there is no time for reminders"
    )


def test_a_contact_with_more_time_after_an_alarm_is_reported_when_that_time_has_passed() -> None:
    contact = open_contact()
    assert contact.fire_deadline(NOON + 90 * M) == "escalated"
    contact.triage = Triage(need_within_days="yes")
    contact.change(NOON + 100 * M, DAYS)
    verbs = [contact.fire_deadline(NOON + hours * H) for hours in (23, 24, 35, 36, 500)]
    assert verbs == ["", "waiting", "", "escalated", ""]


@pytest.mark.parametrize(("late", "verb"), [(49 * H, "waiting"), (72 * H, "escalated")])
def test_a_danger_reported_after_the_deadline_is_escalated_within_minutes(
    late: timedelta, verb: str
) -> None:
    contact = open_contact(**CALM_ANSWERS)
    assert contact.fire_deadline(NOON + late) == verb
    contact.triage = Triage(danger_now="yes")
    contact.change(NOON + late, DAYS)
    assert contact.fire_deadline(NOON + late + 8 * M) == "escalated"


def test_an_unread_note_of_a_caller_has_the_deadline_of_an_emergency_until_it_is_read() -> None:
    contact = open_contact(**CALM_ANSWERS)
    contact.reopen(NOON + 5 * H, DAYS)
    assert contact.clock is not None
    assert contact.clock.due_time == NOON + 6 * H, "she may have written that he found her"
    contact.unheard = False
    contact.change(NOON + 5 * H + 10 * M, DAYS)
    assert contact.clock.due_time == NOON + 53 * H


def test_a_note_after_the_last_alarm_has_a_deadline_and_an_earlier_note_delays_no_alarm() -> None:
    contact = open_contact()
    assert contact.fire_deadline(NOON + 61 * M) == "waiting"
    contact.reopen(NOON + 62 * M, DAYS)
    assert contact.fire_deadline(NOON + 90 * M) == "escalated"
    contact.reopen(NOON + 50 * H, DAYS)
    verbs = [contact.fire_deadline(NOON + 50 * H + minutes * M) for minutes in (30, 60, 90, 500)]
    assert verbs == ["waiting", "waiting", "escalated", ""]


# By rpc, with the scheduler.


@pytest.fixture
def no_earlier_deadlines(service: Service) -> None:
    """Clears the deadlines of contacts from earlier tests."""
    service.as_owner("UPDATE contacts SET clock_next_time = NULL")


def published_verbs(service: Service, identifier: str, kind: str = "contact") -> list[str]:
    """Returns the verbs of the facts about an object of this kind, the oldest first."""
    return [
        type_.removeprefix(f"enlace.{kind}.").removesuffix(".v1")
        for type_ in service.fact_types(identifier)
    ]


def test_an_unattended_contact_is_reported_without_making_an_operators_etag_stale(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    contact = story.contact(safe_place_tonight=c.ANSWER_NO).contact
    assert [clock.due_time.ToDatetime(tzinfo=UTC) for clock in contact.clocks] == [NOON + H]
    service.clock.advance(31 * M)
    assert [service.contact_scheduler().fire() for _ in range(2)] == [1, 0]
    assert published_verbs(service, contact.id) == ["recorded", "waiting"]
    current = story.operator.GetContact(id=contact.id)
    assert current.etag == contact.etag, "a deadline that fires leaves the etag valid"
    ended_contact = update_contact(story.operator, contact, outcome_code=c.CONTACT_OUTCOME_ADVISED)
    assert [clock.HasField("stop_time") for clock in ended_contact.clocks] == [True]
    service.clock.advance(10 * H)
    assert service.contact_scheduler().fire() == 0
    assert published_verbs(service, contact.id) == ["recorded", "waiting", "changed"]


def test_a_contact_whose_referral_was_declined_has_a_running_deadline_again(
    line: Story, no_earlier_deadlines: None
) -> None:
    contact = line.contact(safe_place_tonight=c.ANSWER_NO).contact

    def running_flags() -> list[bool]:
        """Returns for each deadline of the contact whether it runs."""
        clocks = line.operator.GetContact(id=contact.id).clocks
        return [not clock.HasField("stop_time") for clock in clocks]

    sent = line.sent(contact_id=contact.id)
    assert running_flags() == [False]
    line.decline(sent)
    assert running_flags() == [True]


# After an assault.


def draft_after_assault(story: Story, hours: float, **values: Any) -> pb.Referral:
    """Drafts a referral of a person who was assaulted `hours` hours before noon."""
    return story.draft(assault_time=NOON - hours * H, **values)


def health_deadlines(referral: pb.Referral) -> dict[str, timedelta]:
    """Returns the time from noon to the end of each running health deadline."""
    return {
        HEALTH_DEADLINES[clock.kind]: clock.due_time.ToDatetime(tzinfo=UTC) - NOON
        for clock in referral.clocks
        if clock.kind in HEALTH_DEADLINES and not clock.HasField("stop_time")
    }


def send_after_assault(story: Story, hours: float, **values: Any) -> pb.Referral:
    return story.sent(assault_time=NOON - hours * H, **values)


@pytest.mark.parametrize(
    ("hours", "remaining"),
    [
        (2, {"hiv": 70 * H, "pregnancy": 118 * H}),
        (71, {"hiv": 1 * H, "pregnancy": 49 * H}),
        (73, {"pregnancy": 47 * H}),
        (119, {"pregnancy": 1 * H}),
    ],
)
def test_a_referral_carries_the_remaining_hours_of_its_health_deadlines_and_is_an_emergency(
    story: Story, hours: float, remaining: dict[str, timedelta]
) -> None:
    sent = send_after_assault(story, hours, urgency=pb.URGENCY_NORMAL)
    assert sent.urgency == pb.URGENCY_EMERGENCY
    assert health_deadlines(sent) == health_deadlines(read(story.shelter, sent.id)) == remaining


def test_health_deadlines_leave_immediate_urgency_alone_and_forbid_less_than_emergency(
    story: Story,
) -> None:
    immediate_referral = send_after_assault(story, 2, urgency=pb.URGENCY_IMMEDIATE)
    assert immediate_referral.urgency == pb.URGENCY_IMMEDIATE
    sent = send_after_assault(story, 2)
    assert wrong_fields(
        partial(story.ngo.AmendReferral, id=sent.id, etag=sent.etag, urgency=pb.URGENCY_URGENT)
    ) == [("urgency", "out_of_range")]


@pytest.mark.parametrize("hours", [-1, 121])
def test_an_assault_time_in_the_future_or_too_long_ago_is_refused(
    story: Story, hours: float
) -> None:
    assert wrong_fields(lambda: draft_after_assault(story, hours)) == [
        ("assault_time", "out_of_range")
    ]


def test_only_the_hour_of_an_assault_is_stored_and_coordinators_do_not_see_it(story: Story) -> None:
    sent = send_after_assault(story, 1.25)
    assert sent.assault_time.ToDatetime(tzinfo=UTC) == NOON - 2 * H
    referral = read(story.coordinator, sent.id)
    assert (referral.HasField("assault_time"), health_deadlines(referral)) == (False, {})


@pytest.mark.parametrize("end", [Story.decline, withdraw_consent])
def test_a_receiver_sees_when_an_assault_was_only_while_the_referral_is_live(
    story: Story, end: Callable[[Story, pb.Referral], Any]
) -> None:
    sent = send_after_assault(story, 2)
    assert read(story.shelter, sent.id).HasField("assault_time")
    end(story, sent)
    ended = read(story.shelter, sent.id)
    assert not ended.HasField("assault_time")
    assert not any(clock.kind in HEALTH_DEADLINES for clock in ended.clocks)
    assert read(story.ngo, sent.id).HasField("assault_time")


def test_no_list_or_count_of_the_network_depends_on_a_health_deadline(
    story: Story, service: Service
) -> None:
    referral = story.accept(send_after_assault(story, 71))

    def totals(client: Client, box: pb.Box.ValueType, **filters: Any) -> tuple[int, int, int]:
        """Returns how many times the referral is listed, is counted as late and as due soon."""
        filter_ = pb.ReferralFilter(box=box, code=referral.code, **filters)
        counts = client.CountReferrals(filter=filter_)
        return len(client.ListReferrals(filter=filter_).referrals), counts.late, counts.due_soon

    for hours, ngo_totals, network_totals in (
        (0, (1, 0, 1), (0, 0, 0)),
        (2, (1, 1, 0), (0, 0, 0)),
        (21, (1, 1, 0), (1, 0, 1)),  # the first contact is due in three hours
    ):
        service.clock.set(NOON + hours * H)
        assert totals(story.ngo, pb.BOX_MINE, pressing=True) == ngo_totals
        assert totals(story.coordinator, pb.BOX_NETWORK, pressing=True) == network_totals
        assert totals(story.coordinator, pb.BOX_NETWORK) == (1, *network_totals[1:])
    referrals = story.coordinator.ListReferrals(
        filter=pb.ReferralFilter(box=pb.BOX_NETWORK), page_size=200
    ).referrals
    due_times = [referral.next_due_time.ToNanoseconds() or float("inf") for referral in referrals]
    assert due_times == sorted(due_times)


def test_health_deadlines_notify_nobody_and_end_with_the_first_contact(
    story: Story, service: Service
) -> None:
    sent = send_after_assault(story, 2)
    service.fire_after(71 * H)
    rows = service.rows("SELECT clock FROM referral_events WHERE referral_id = %s", sent.id)
    assert {row["clock"] for row in rows} <= {"", "draft", "acknowledge", "decide", "replace"}
    service.clock.set(NOON)
    referral = story.accept(send_after_assault(story, 2))
    assert set(health_deadlines(referral)) == {"hiv", "pregnancy"}
    started_referral = story.shelter.StartReferral(
        id=referral.id, etag=referral.etag, first_contact_time=NOON
    )
    assert health_deadlines(started_referral) == {}


def test_the_assault_time_passes_from_a_contact_to_its_referral_and_the_following_referral(
    line: Story,
) -> None:
    contact = line.operator.CreateContact(
        contact=c.Contact(
            line_country="NI",
            kind_code=c.CONTACT_KIND_CRISIS,
            triage=c.Triage(sexual_violence_120h=c.ANSWER_YES),
            assault_time=timestamp(NOON - 10 * H),
        ),
        request_id=line.request_id(),
    ).contact
    assert contact.assault_time.ToDatetime(tzinfo=UTC) == NOON - 10 * H
    draft = line.draft(contact_id=contact.id, urgency=pb.URGENCY_UNSPECIFIED)
    assert (draft.urgency, draft.assault_time) == (pb.URGENCY_EMERGENCY, contact.assault_time)
    sent = line.send(draft)
    declined_referral = line.decline(sent)
    assert set(health_deadlines(read(line.operator, sent.id))) == {"hiv", "pregnancy"}, (
        "the deadlines do not stop while another service is asked"
    )
    assert health_deadlines(declined_referral) == {}, (
        "the deadlines have ended for the former receiver"
    )
    following_draft = line.operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=draft.person_id,
        based_on_id=sent.id,
        request_id=line.request_id(),
    )
    assert following_draft.assault_time == contact.assault_time
    assert set(health_deadlines(following_draft)) == {"hiv", "pregnancy"}


def test_an_assault_time_that_was_a_mistake_can_be_removed_from_a_draft(story: Story) -> None:
    draft = draft_after_assault(story, 2)
    assert set(health_deadlines(draft)) == {"hiv", "pregnancy"}
    updated_draft = story.ngo.UpdateReferral(
        referral=pb.Referral(id=draft.id, etag=draft.etag, urgency=pb.URGENCY_NORMAL),
        update_mask={"paths": ["assault_time", "urgency"]},
    )
    assert (updated_draft.HasField("assault_time"), updated_draft.urgency) == (
        False,
        pb.URGENCY_NORMAL,
    )
    assert health_deadlines(updated_draft) == {}


def test_an_assault_time_that_has_become_too_old_may_be_submitted_again_unchanged(
    story: Story, service: Service
) -> None:
    contact = story.operator.CreateContact(
        contact=c.Contact(
            line_country="NI",
            kind_code=c.CONTACT_KIND_CRISIS,
            assault_time=timestamp(NOON - 100 * H),
        ),
        request_id=story.request_id(),
    ).contact
    draft = draft_after_assault(story, 100)
    service.clock.advance(48 * H)
    updated_contact = update_contact(
        story.operator, contact, assault_time=contact.assault_time, need_code="MED.SVC"
    )
    assert updated_contact.need_code == "MED.SVC"
    values: dict[str, Any] = {"assault_time": draft.assault_time, "urgency": pb.URGENCY_URGENT}
    updated_draft = story.ngo.UpdateReferral(
        referral=pb.Referral(id=draft.id, etag=draft.etag, **values),
        update_mask={"paths": list(values)},
    )
    assert updated_draft.urgency == pb.URGENCY_URGENT, (
        "no health deadline makes the referral an emergency"
    )


def test_contacts_and_drafts_from_before_the_migration_get_a_deadline(
    story: Story, service: Service
) -> None:
    open_case, closed_case = story.contact().contact, story.contact().contact
    draft = story.draft()
    migration = (MIGRATIONS[1] / "20261203000031_contact_clocks.sql").read_text()
    up, down = migration.split("-- migrate:down")
    with psycopg.connect(service.migration_url) as owner:
        owner.execute(
            "UPDATE contacts SET outcome_code = 'advised' WHERE id = %s", (closed_case.id,)
        )
        owner.execute("DELETE FROM clocks WHERE referral_id = %s", (draft.id,))
        owner.execute("UPDATE referrals SET next_due_time = NULL WHERE id = %s", (draft.id,))
        owner.execute(down.encode())
        owner.execute(up.encode())
    assert [
        len(story.operator.GetContact(id=contact.id).clocks) for contact in (open_case, closed_case)
    ] == [1, 0]
    current = read(story.ngo, draft.id)
    assert [clock.kind for clock in current.clocks] == [pb.CLOCK_KIND_DRAFT]
    assert current.HasField("next_due_time")

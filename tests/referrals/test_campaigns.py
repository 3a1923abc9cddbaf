"""Campaigns of the line.

Each medium of a campaign has its own code, which a person who calls the line can name. Counts of
contacts below ten are not published; others are rounded down to a multiple of five.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import campaigns_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.referrals.line.domain.campaign import LENGTH, counts_of, new_code
from services.referrals.line.domain.campaign import Placement as DomainPlacement
from services.referrals.line.usecases import campaigns
from services.referrals.network.domain.codes import ALPHABET, checked_code
from tests.builders import NOT_FOUND, pages, refusal
from tests.referrals.conftest import Story
from tests.referrals.contact_calls import update_contact

MEDIA = (c.CAMPAIGN_POSTER, c.CAMPAIGN_RADIO)
PLACEMENT = DomainPlacement("7QK2", "poster", "NI", "1" * 32)
INVALID = ("INVALID_ARGUMENT", "invalid_fields")


def contact_with_code(story: Story, code: str, **fields: Any) -> c.Contact:
    """Returns a contact whose caller named a code."""
    contact = c.Contact(
        line_country="NI", kind_code=c.CONTACT_KIND_CRISIS, placement_code=code, **fields
    )
    answer: c.CreateContactResponse = story.operator.CreateContact(
        contact=contact, request_id=story.request_id()
    )
    return answer.contact


def figures(story: Story, campaign: pb.LineCampaign) -> dict[str, pb.PlacementFigures]:
    """Returns the figures of a campaign by code."""
    answer = story.coordinator.GetCampaignFigures(id=campaign.id)
    return {placement.placement.code: placement for placement in answer.placements}


def test_no_single_wrong_character_turns_one_campaign_code_into_another() -> None:
    code = new_code()
    for spelling in (code.lower(), f" {code[:2]}-{code[2:]} "):
        assert checked_code(spelling, LENGTH) == code
    others = {
        code[:position] + character + code[position + 1 :]
        for position in range(4)
        for character in ALPHABET
        if character != code[position]
    }
    assert {checked_code(other, LENGTH) for other in others} == {""}


@pytest.mark.parametrize(("count", "expected"), [(0, -1), (9, -1), (10, 10), (14, 10), (15, 15)])
def test_contact_counts_below_ten_are_hidden_and_others_are_rounded_down_to_fives(
    count: int, expected: int
) -> None:
    assert counts_of(PLACEMENT, {"normal": count}, {"open": count}).contacts == expected


@pytest.mark.parametrize(
    ("by_urgency", "contacts", "published_by_urgency", "published_by_outcome"),
    [
        ({"immediate": 9}, -1, [], []),
        ({"immediate": 9, "normal": 12}, 20, [("normal", 10)], [("open", 20)]),
    ],
)
def test_counts_below_ten_are_left_out_of_the_total_and_of_both_breakdowns(
    by_urgency: dict[str, int],
    contacts: int,
    published_by_urgency: list[tuple[str, int]],
    published_by_outcome: list[tuple[str, int]],
) -> None:
    counts = counts_of(PLACEMENT, by_urgency, {"open": sum(by_urgency.values())})
    assert (counts.contacts, counts.by_urgency, counts.by_outcome) == (
        contacts,
        published_by_urgency,
        published_by_outcome,
    )


def test_a_campaign_code_is_stored_with_the_contact(story: Story) -> None:
    campaign = story.campaign(*MEDIA)
    media = [placement.medium_code for placement in campaign.placements]
    assert media == list(MEDIA) == list(campaign.media_codes)
    radio = campaign.placements[1].code
    contact = contact_with_code(story, f"{radio[:2]}-{radio[2:]}".lower())
    assert (contact.placement_code, contact.campaign_code) == (radio, c.CAMPAIGN_RADIO)
    assert story.operator.GetContact(id=contact.id).placement_code == radio


def test_an_unknown_campaign_code_is_refused_and_changes_nothing(story: Story) -> None:
    contact = story.contact().contact
    change = partial(
        update_contact, story.operator, contact, placement_code="7QK3", need_code="HOU.EMG"
    )
    assert refusal(change) == INVALID
    assert story.operator.GetContact(id=contact.id).etag == contact.etag


def test_campaign_figures_count_the_contacts_of_all_lines_and_hide_small_numbers(
    story: Story,
) -> None:
    campaign = story.campaign(*MEDIA)
    poster, radio = (placement.code for placement in campaign.placements)
    for answer in [c.ANSWER_YES] * 11 + [c.ANSWER_UNSPECIFIED]:
        contact_with_code(story, poster, triage=c.Triage(danger_now=answer))
    for _ in range(9):
        contact_with_code(story, radio)
    counts = figures(story, campaign)
    assert (counts[poster].contacts, counts[radio].contacts) == (10, -1)
    assert {count.code: count.count for count in counts[poster].by_urgency} == {"immediate": 10}
    assert not counts[radio].by_outcome


def test_an_ended_campaign_is_inactive_on_its_page_but_its_codes_still_count(story: Story) -> None:
    campaign, public = story.campaign(), story.service.public()
    code = campaign.placements[0].code
    assert public.GetPlacement(code=code).active
    first, second = (
        story.coordinator.EndCampaign(id=campaign.id, request_id=story.request_id())
        for _ in range(2)
    )
    assert first.end_time == second.end_time
    assert not public.GetPlacement(code=code).active
    assert contact_with_code(story, code).placement_code == code


def test_unknown_codes_and_campaigns_are_not_found_and_a_medium_named_twice_is_refused(
    story: Story,
) -> None:
    for call, expected in (
        (partial(story.service.public().GetPlacement, code="7QK3"), NOT_FOUND),
        (partial(story.coordinator.GetCampaignFigures, id="f" * 32), NOT_FOUND),
        (partial(story.campaign, c.CAMPAIGN_POSTER, c.CAMPAIGN_POSTER), INVALID),
    ):
        assert refusal(call) == expected


def test_a_campaign_code_in_use_is_not_issued_again(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_code = story.campaign().placements[0].code
    codes = iter([used_code, used_code, new_code()])
    monkeypatch.setattr("services.referrals.line.domain.campaign.new_code", lambda: next(codes))
    monkeypatch.setattr(campaigns, "new_code", lambda: next(codes))
    assert story.campaign().placements[0].code != used_code


def test_campaigns_are_listed_newest_first_page_by_page(story: Story) -> None:
    created_ids = []
    for _ in range(3):
        created_ids.append(story.campaign().id)
        story.service.clock.advance(timedelta(minutes=1))
    answers = pages(story.coordinator.ListCampaigns, page_size=2)
    listed_ids = [campaign.id for answer in answers for campaign in answer.campaigns]
    assert [id for id in listed_ids if id in created_ids] == created_ids[::-1]
    assert len(listed_ids) == len(set(listed_ids))

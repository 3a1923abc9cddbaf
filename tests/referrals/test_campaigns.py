"""Campaigns of the line: callers name the code of a medium; contacts are counted in tens."""

from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import campaigns_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.referrals.line.domain.campaign import LENGTH, counts_of, new_code
from services.referrals.line.domain.campaign import Placement as Placed
from services.referrals.line.usecases import campaigns
from services.referrals.network.domain.codes import ALPHABET, checked_code
from tests.builders import refusal
from tests.referrals.conftest import Story

MEDIA = (c.CAMPAIGN_POSTER, c.CAMPAIGN_RADIO)
PLACED = Placed("7QK2", "poster", "NI", "1" * 32)


def named(story: Story, code: str, **fields: Any) -> c.Contact:
    """Returns a contact whose caller named a code."""
    operator = story.service.as_("hotline", "OPERATOR")
    contact = c.Contact(
        line_country="NI", kind_code=c.CONTACT_KIND_CRISIS, placement_code=code, **fields
    )
    created: c.Contact = operator.CreateContact(
        c.CreateContactRequest(contact=contact, request_id=story.request_id())
    ).contact
    return created


def figures(story: Story, campaign: pb.LineCampaign) -> dict[str, pb.PlacementFigures]:
    campaign_figures = story.coordinator.GetCampaignFigures(
        pb.GetCampaignFiguresRequest(id=campaign.id)
    )
    return {placement.placement.code: placement for placement in campaign_figures.placements}


def test_no_single_wrong_character_turns_one_campaign_code_into_another() -> None:
    code = new_code()
    assert (
        checked_code(code.lower(), LENGTH)
        == checked_code(f" {code[:2]}-{code[2:]} ", LENGTH)
        == code
    )
    others = {
        code[:at] + sign + code[at + 1 :]
        for at in range(4)
        for sign in ALPHABET
        if sign != code[at]
    }
    assert {checked_code(other, LENGTH) for other in others} == {""}


@pytest.mark.parametrize(("count", "expected"), [(0, -1), (9, -1), (10, 10), (14, 10), (15, 15)])
def test_the_contacts_of_a_campaign_code_are_published_in_tens(count: int, expected: int) -> None:
    assert counts_of(PLACED, {"normal": count}, {"open": count}).contacts == expected


def test_fewer_than_ten_contacts_are_published_without_urgency_and_outcome() -> None:
    small_counts = counts_of(PLACED, {"immediate": 9}, {"open": 9})
    assert (small_counts.by_urgency, small_counts.by_outcome) == ([], [])
    more = counts_of(PLACED, {"immediate": 9, "normal": 12}, {"open": 21})
    assert (more.contacts, more.by_urgency, more.by_outcome) == (
        20,
        [("normal", 10)],
        [("open", 20)],
    )


def test_a_campaign_code_is_stored_with_the_contact(story: Story) -> None:
    campaign = story.campaign(*MEDIA)
    assert (
        [placement.medium_code for placement in campaign.placements]
        == list(MEDIA)
        == list(campaign.media_codes)
    )
    radio = campaign.placements[1].code
    contact = named(story, f"{radio[:2]}-{radio[2:]}".lower())
    assert (contact.placement_code, contact.campaign_code) == (radio, c.CAMPAIGN_RADIO)
    assert (
        story.service.as_("hotline", "OPERATOR")
        .GetContact(c.GetContactRequest(id=contact.id))
        .placement_code
        == radio
    )


def test_an_unknown_campaign_code_is_refused_and_changes_nothing(story: Story) -> None:
    operator = story.service.as_("hotline", "OPERATOR")
    contact = story.contact().contact
    change = c.UpdateContactRequest(contact=contact)
    change.contact.placement_code, change.contact.need_code = "7QK3", "HOU.EMG"
    change.update_mask.paths.extend(["placement_code", "need_code"])
    assert refusal(partial(operator.UpdateContact, change)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )
    assert operator.GetContact(c.GetContactRequest(id=contact.id)).etag == contact.etag


def test_campaign_figures_count_the_contacts_of_all_lines_and_hide_small_numbers(
    story: Story,
) -> None:
    campaign = story.campaign(*MEDIA)
    poster, radio = (placement.code for placement in campaign.placements)
    for number in range(12):
        named(
            story,
            poster,
            triage=c.Triage(danger_now=c.ANSWER_YES if number < 11 else c.ANSWER_UNSPECIFIED),
        )
    for _ in range(9):
        named(story, radio)
    counts = figures(story, campaign)
    assert (counts[poster].contacts, counts[radio].contacts) == (10, -1)
    assert {each.code: each.count for each in counts[poster].by_urgency} == {"immediate": 10}
    assert not counts[radio].by_outcome


def test_an_ended_campaign_is_inactive_on_its_page_but_its_codes_still_count(
    story: Story,
) -> None:
    campaign = story.campaign()
    code = campaign.placements[0].code
    public = story.service.public()
    assert public.GetPlacement(pb.GetPlacementRequest(code=code)).active
    ended = story.coordinator.EndCampaign(
        pb.EndCampaignRequest(id=campaign.id, request_id=story.request_id())
    )
    again = story.coordinator.EndCampaign(
        pb.EndCampaignRequest(id=campaign.id, request_id=story.request_id())
    )
    assert again.end_time == ended.end_time
    assert not public.GetPlacement(pb.GetPlacementRequest(code=code)).active
    assert named(story, code).placement_code == code


def test_an_unknown_code_and_campaign_are_not_found(story: Story) -> None:
    assert refusal(
        partial(story.service.public().GetPlacement, pb.GetPlacementRequest(code="7QK3"))
    ) == ("NOT_FOUND", "not_found")
    unknown = pb.GetCampaignFiguresRequest(id="f" * 32)
    assert refusal(partial(story.coordinator.GetCampaignFigures, unknown)) == (
        "NOT_FOUND",
        "not_found",
    )


def test_a_campaign_code_in_use_is_not_issued_again(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = story.campaign().placements[0].code
    offered = iter([taken, taken, new_code()])
    monkeypatch.setattr("services.referrals.line.domain.campaign.new_code", lambda: next(offered))
    monkeypatch.setattr(campaigns, "new_code", lambda: next(offered))
    assert story.campaign().placements[0].code != taken


def test_a_campaign_that_names_a_medium_twice_is_refused(story: Story) -> None:
    assert refusal(partial(story.campaign, c.CAMPAIGN_POSTER, c.CAMPAIGN_POSTER)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_campaigns_are_listed_newest_first_page_by_page(story: Story) -> None:
    created = [story.campaign().id for _ in range(3)]
    ids: list[str] = []
    token = ""
    while not set(created) <= set(ids):
        answer = story.coordinator.ListCampaigns(
            pb.ListCampaignsRequest(page_size=2, page_token=token)
        )
        ids += [campaign.id for campaign in answer.campaigns]
        token = answer.next_page_token
    assert len(ids) == len(set(ids))

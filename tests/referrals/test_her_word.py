"""Consents that are based on the person's own word, or on the word of another who decides for her.

The tests cover a child's no, an unknown age, and an adult for whom somebody else speaks. Each
consent is judged again when its basis changes.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any, cast

import pytest

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Circumstances, Receipt
from services.referrals.files.domain.person import FieldGroup
from tests.builders import NOON, pages, refusal, wrong_fields
from tests.referrals.conftest import ARRIVAL, ORG, Service, Story, open_identity, read, send_request
from tests.referrals.test_emergencies import shelter_of_type
from tests.referrals.test_overrides import attach

ASSENT_REQUIRED = ("FAILED_PRECONDITION", "assent_required")
OWN_CONSENT_REQUIRED = ("FAILED_PRECONDITION", "own_consent_required")
UNCONFIRMED = ("FAILED_PRECONDITION", "receipt_unconfirmed")
ALL_GROUPS = [group for group in p.FieldGroup.values() if group]


def person_of_unknown_age(story: Story) -> p.Person:
    person: p.Person = story.ngo.CreatePerson(
        identity=p.Identity(given_name="Ximena"),
        coarse=pb.CoarsePerson(language="es", country="NI"),
        safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE),
        request_id=story.request_id(),
    )
    return person


def set_birth_date(story: Story, person_id: str, birth_date: str) -> None:
    etag = story.ngo.GetPerson(id=person_id).etag
    story.ngo.UpdateIdentity(
        id=person_id,
        etag=etag,
        identity=p.Identity(birth_date=birth_date),
        acknowledged_codes=[pb.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES],
    )


def is_live(story: Story, receipt: p.Receipt) -> bool:
    return bool(story.ngo.GetReceipt(id=receipt.id).live)


def send(story: Story, draft: pb.Referral, receipt: p.Receipt) -> pb.Referral:
    sent_referral: pb.Referral = story.ngo.SendReferral(
        send_request(draft, receipt.id, arrival=ARRIVAL)
    )
    return sent_referral


def open_at_shelter(story: Story, sent: pb.Referral) -> p.Identity:
    """Opens the identity at the shelter, which received the referral."""
    return open_identity(story.shelter, sent.person_id, sent.id)


def confirm(service: Service, receipt: p.Receipt) -> p.Receipt:
    return cast(p.Receipt, service.as_("ngo", "MANAGER").ConfirmReceipt(id=receipt.id))


# A child's no.


@pytest.mark.parametrize("giver", ["guardian", "authority"])
def test_a_childs_no_is_not_overruled_by_guardian_or_authority(giver: str, story: Story) -> None:
    consent = partial(story.receipt, story.child().id, giver=giver, assent_code="refused")
    assert refusal(consent) == ASSENT_REQUIRED


def test_a_childs_no_is_overruled_only_by_two_people_in_her_best_interest(
    story: Story, service: Service
) -> None:
    draft = story.draft(story.child())
    decision = story.receipt(draft.person_id, giver="best_interest", assent_code="refused")
    assert refusal(lambda: send(story, draft, decision)) == UNCONFIRMED
    confirm(service, decision)
    assert send(story, draft, decision).state == pb.STATE_SENT


@pytest.mark.parametrize("giver", ["guardian", "authority", "best_interest"])
def test_a_child_of_fifteen_cannot_be_recorded_as_too_young_to_be_asked(
    giver: str, story: Story
) -> None:
    consent = partial(story.receipt, story.child().id, giver=giver, assent_code="too_young")
    assert wrong_fields(consent) == [("receipt.assent_code", "out_of_range")]


def test_a_consent_for_a_child_too_young_to_ask_ends_when_she_turns_out_to_be_older(
    story: Story,
) -> None:
    draft = story.draft(story.person(birth_date="2020-01-01"))
    consent = story.receipt(draft.person_id, giver="guardian", assent_code="too_young")
    assert is_live(story, consent)
    set_birth_date(story, draft.person_id, "2012-01-01")
    assert not is_live(story, consent)
    assert refusal(lambda: send(story, draft, consent)) == ASSENT_REQUIRED


# An unknown age.


def test_a_person_of_unknown_age_is_treated_as_a_child(story: Story) -> None:
    person = person_of_unknown_age(story)
    assert refusal(lambda: story.receipt(person.id)) == ("FAILED_PRECONDITION", "guardian_required")
    assert wrong_fields(
        partial(story.receipt, person.id, giver="guardian", assent_code="too_young")
    ) == [("receipt.assent_code", "out_of_range")]
    assert is_live(story, story.receipt(person.id, giver="guardian", assent_code="given"))


def test_a_person_of_unknown_age_is_treated_as_an_adult_if_a_ground_is_given(
    story: Story,
) -> None:
    draft = story.draft(person_of_unknown_age(story))
    consent = story.receipt(draft.person_id, adult_ground_code=p.ADULT_GROUND_HER_WORD)
    assert (consent.live, consent.adult_ground_code) == (True, p.ADULT_GROUND_HER_WORD)
    assert send(story, draft, consent).state == pb.STATE_SENT


@pytest.mark.parametrize(
    ("make_person", "consent", "birth_date"),
    [
        pytest.param(
            person_of_unknown_age,
            {"adult_ground_code": p.ADULT_GROUND_UNMISTAKABLE},
            "2016-05-01",
            id="her own consent, and she is ten",
        ),
        pytest.param(
            Story.child,
            {"giver": "guardian", "assent_code": "given"},
            "2001-05-01",
            id="a guardian's consent, and she is an adult",
        ),
    ],
)
def test_a_consent_opens_nothing_once_the_birth_date_shows_that_its_giver_was_wrong(
    story: Story, make_person: Callable[[Story], p.Person], consent: dict[str, Any], birth_date: str
) -> None:
    draft = story.draft(make_person(story))
    sent = send(story, draft, story.receipt(draft.person_id, **consent))
    assert open_at_shelter(story, sent).given_name == "Ximena"
    set_birth_date(story, sent.person_id, birth_date)
    assert refusal(lambda: open_at_shelter(story, sent)) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )


def test_a_person_of_unknown_age_is_not_referred_to_the_police_against_her_no(
    story: Story,
) -> None:
    decision = partial(
        story.receipt,
        person_of_unknown_age(story).id,
        giver="best_interest",
        assent_code="refused",
        recipient=ORG["police"],
    )
    assert refusal(decision) == OWN_CONSENT_REQUIRED


def test_a_withdrawal_ends_a_decision_against_the_no_of_a_person_of_unknown_age(
    story: Story, service: Service
) -> None:
    person_id = person_of_unknown_age(story).id
    her_word = {"adult_ground_code": p.ADULT_GROUND_HER_WORD}
    own_receipt = story.receipt(person_id, recipient=ORG["clinic"], purposes=["MED"], **her_word)
    decide = partial(story.receipt, person_id, giver="best_interest", assent_code="refused")
    decision = decide()
    story.ngo.WithdrawReceipt(id=own_receipt.id)
    assert refusal(decide) == OWN_CONSENT_REQUIRED
    assert refusal(lambda: confirm(service, decision)) == (
        "FAILED_PRECONDITION",
        "receipt_withdrawn",
    )


# An adult for whom somebody else speaks.


def consent_by_another(
    story: Story, person_id: str, /, by: str = "authority", **values: Any
) -> p.Receipt:
    """Returns an authority's consent for an adult who can't be asked.

    It is recorded by a worker who has the right to override.
    """
    values = {"giver_ground_code": p.GIVER_GROUND_COURT_ORDER, "purposes": ["HOU.EMG"]} | values
    return replace(story, ngo=story.rescuer).receipt(person_id, giver=by, **values)


def test_consent_by_another_for_an_adult_needs_a_second_worker(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    consent = consent_by_another(story, draft.person_id)
    assert refusal(lambda: send(story, draft, consent)) == UNCONFIRMED
    assert refusal(partial(story.rescuer.ConfirmReceipt, id=consent.id)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    proposed_receipts = service.as_("ngo", "MANAGER").ListProposedReceipts().receipts
    assert consent.id in {receipt.id for receipt in proposed_receipts}
    confirm(service, consent)
    assert open_at_shelter(story, send(story, draft, consent)).given_name == "Ximena"


def test_consent_by_another_for_an_adult_needs_a_ground_and_has_the_limits_of_an_override(
    story: Story,
) -> None:
    person = story.person()
    for values, violation in (
        ({"giver_ground_code": 0}, ("receipt.giver_ground_code", "required")),
        ({"field_groups": ALL_GROUPS}, ("receipt.field_groups", "out_of_range")),
        ({"purposes": ["HOU.EMG", "MED"]}, ("receipt.purpose_codes", "out_of_range")),
        ({"until_time": NOON + timedelta(hours=73)}, ("receipt.until_time", "out_of_range")),
    ):
        assert wrong_fields(partial(consent_by_another, story, person.id, **values)) == [violation]
    until_time = consent_by_another(story, person.id).until_time.ToDatetime(tzinfo=UTC)
    assert until_time == NOON + timedelta(hours=72)


def test_consent_by_another_for_an_adult_needs_the_right_to_override(story: Story) -> None:
    consent = partial(
        story.receipt,
        story.person().id,
        giver="guardian",
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        purposes=["HOU.EMG"],
    )
    assert refusal(consent) == ("PERMISSION_DENIED", "right_missing")


@pytest.mark.parametrize("by", ["guardian", "authority"])
def test_only_the_adult_herself_consents_to_a_referral_to_the_police(by: str, story: Story) -> None:
    person = story.person()
    consent = partial(consent_by_another, story, person.id, by, recipient=ORG["police"])
    assert refusal(consent) == OWN_CONSENT_REQUIRED
    assert is_live(story, story.receipt(person.id, recipient=ORG["police"], purposes=["PRO"]))


def test_a_decision_in_a_childs_best_interest_is_refused_for_an_adult(story: Story) -> None:
    decide = partial(consent_by_another, story, story.person().id, "best_interest")
    assert refusal(decide) == OWN_CONSENT_REQUIRED


def test_nobody_consents_for_a_person_who_has_withdrawn_any_consent(story: Story) -> None:
    person = story.person()
    own_receipt = story.receipt(person.id, recipient=ORG["clinic"], purposes=["MED"])
    story.ngo.WithdrawReceipt(id=own_receipt.id)
    assert refusal(partial(consent_by_another, story, person.id)) == OWN_CONSENT_REQUIRED


def test_a_persons_withdrawal_ends_the_consents_that_others_gave_for_her(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    own_receipt = story.receipt(draft.person_id, recipient=ORG["clinic"], purposes=["MED"])
    sent = send(story, draft, confirm(service, consent_by_another(story, draft.person_id)))
    service.as_("clinic", "WORKER").WithdrawReceipt(id=own_receipt.id)
    assert refusal(lambda: open_at_shelter(story, sent))[0] in ("FAILED_PRECONDITION", "NOT_FOUND")
    assert read(story.ngo, sent.id).state == pb.STATE_CONSENT_WITHDRAWN


def test_a_child_now_old_enough_is_asked_before_a_consent_replaces_an_override(
    story: Story,
) -> None:
    sent = story.overridden(person=story.person(birth_date="2016-05-01"))
    consent = story.receipt(sent.person_id, giver="guardian", assent_code="too_young")
    set_birth_date(story, sent.person_id, "2012-05-01")
    assert refusal(lambda: attach(story, sent, consent.id)) == ASSENT_REQUIRED


def test_consent_by_another_is_void_once_its_receiver_is_the_police(
    story: Story, service: Service
) -> None:
    draft, sent = story.draft(), story.overridden()
    draft_consent, sent_consent = (
        confirm(service, consent_by_another(story, referral.person_id))
        for referral in (draft, sent)
    )
    with shelter_of_type(service, "LAW_ENFORCEMENT"):
        for use in (
            partial(send, story, draft, draft_consent),
            partial(attach, story, sent, sent_consent.id),
        ):
            assert refusal(use) == OWN_CONSENT_REQUIRED


# The rule itself: every giver at every age.


def receipt(
    giver: str, assent: str = "", adult: str = "", ground: str = "", *, age: str, to: str = "NGO"
) -> Receipt:
    return Receipt(
        "r", "p", "o", "t", frozenset({FieldGroup.IDENTITY}), ("HOU",), NOON + timedelta(hours=1),
        giver, "spoken", NOON,
        assent_code=assent, adult_ground_code=adult, giver_ground_code=ground, confirm_time=NOON,
        circumstances=Circumstances(age, to),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("consent", "opens"),
    [
        (receipt("person", age="18-24"), True),
        (receipt("person", age="18-24", to="LAW_ENFORCEMENT"), True),
        (receipt("person", age=""), False),
        (receipt("person", adult="her_word", age=""), True),
        (receipt("person", adult="her_word", age="12-17"), False),
        (receipt("person", assent="given", age="0-11"), False),
        (receipt("guardian", assent="given", age="12-17"), True),
        (receipt("guardian", assent="given", age="12-17", to="LAW_ENFORCEMENT"), True),
        (receipt("guardian", assent="refused", age="0-11"), False),
        (receipt("guardian", age="12-17"), False),
        (receipt("guardian", assent="too_young", age="0-11"), True),
        (receipt("guardian", assent="too_young", age=""), False),
        (receipt("authority", assent="too_young", age="12-17"), False),
        (receipt("authority", assent="given", age=""), True),
        (receipt("authority", assent="given", age="25-59"), False),
        (receipt("authority", ground="court_order", age="25-59"), True),
        (receipt("authority", ground="court_order", age="25-59", to="CONSULATE"), False),
        (receipt("authority", ground="court_order", adult="document", age=""), True),
        (receipt("authority", ground="court_order", age="12-17"), False),
        (receipt("best_interest", assent="refused", age="12-17"), True),
        (receipt("best_interest", assent="refused", age="12-17", to="LAW_ENFORCEMENT"), True),
        (receipt("best_interest", assent="refused", age="", to="LAW_ENFORCEMENT"), False),
        (receipt("best_interest", assent="given", age="18-24"), False),
        (receipt("best_interest", assent="too_young", age="12-17"), False),
    ],
)  # fmt: skip
def test_a_consent_is_live_only_from_a_giver_who_may_give_it(consent: Receipt, opens: bool) -> None:
    assert consent.is_live(NOON) is opens


def test_grounds_change_the_signed_text_of_a_receipt_only_if_it_has_some() -> None:
    text_without_ground = receipt("person", age="18-24").canonical()
    assert b"ground_code" not in text_without_ground
    assert b"circumstances" not in text_without_ground
    assert b"adult_ground_code=her_word" in receipt("person", adult="her_word", age="").canonical()


def test_receipts_awaiting_a_second_person_are_listed_in_pages(
    story: Story, service: Service
) -> None:
    created_ids = {consent_by_another(story, story.person().id).id for _ in range(3)}
    answers = list(pages(service.as_("ngo", "MANAGER").ListProposedReceipts, page_size=2))
    assert {len(answer.receipts) for answer in answers[:-1]} == {2}
    listed_ids = [receipt.id for answer in answers for receipt in answer.receipts]
    assert created_ids <= set(listed_ids)
    assert len(listed_ids) == len(set(listed_ids))

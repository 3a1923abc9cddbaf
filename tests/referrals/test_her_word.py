"""The word on which a consent is based: the person's own, or that of somebody who decides for her.

The tests cover a child's no, an unknown age, and an adult for whom somebody else speaks. Each
consent is judged again when its basis changes.
"""

from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Circumstances, Receipt
from services.referrals.files.domain.person import FieldGroup
from services.referrals.network.store import members
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ARRIVAL, ORG, Client, Service, Story

REFUSED = "FAILED_PRECONDITION"
ALL_GROUPS = [group for group in p.FieldGroup.values() if group]


def ageless(story: Story) -> p.Person:
    """Makes a file without a known age."""
    created: p.Person = story.ngo.CreatePerson(
        p.CreatePersonRequest(
            identity=p.Identity(given_name="Ximena"),
            coarse=pb.CoarsePerson(language="es", country="NI"),
            safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE),
            request_id=story.request_id(),
        )
    )
    return created


def set_birth_date(story: Story, person_id: str, birth_date: str) -> None:
    person = story.ngo.GetPerson(p.GetPersonRequest(id=person_id))
    story.ngo.UpdateIdentity(
        p.UpdateIdentityRequest(
            id=person.id, etag=person.etag, identity=p.Identity(birth_date=birth_date)
        )
    )


def is_live(story: Story, receipt: p.Receipt) -> bool:
    return bool(story.ngo.GetReceipt(p.GetReceiptRequest(id=receipt.id)).live)


def send(story: Story, draft: pb.Referral, receipt: p.Receipt) -> pb.Referral:
    sent: pb.Referral = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id, arrival=ARRIVAL)
    )
    return sent


def opened_by(client: Client, sent: pb.Referral) -> p.Identity:
    request = p.OpenPersonRequest(
        id=sent.person_id,
        purpose_code="HOU.EMG",
        referral_id=sent.id,
        field_groups=[p.FIELD_GROUP_IDENTITY],
    )
    identity: p.Identity = client.OpenPerson(request)
    return identity


def confirm(service: Service, receipt: p.Receipt) -> p.Receipt:
    confirmed: p.Receipt = service.as_("ngo", "MANAGER").ConfirmReceipt(
        p.ConfirmReceiptRequest(id=receipt.id)
    )
    return confirmed


# A child's no.


@pytest.mark.parametrize("giver", ["guardian", "authority"])
def test_b6_a_childs_no_is_not_overruled_by_guardian_or_authority(giver: str, story: Story) -> None:
    refused = partial(story.receipt, story.child().id, giver=giver, assent_code="refused")
    assert refusal(refused) == (REFUSED, "assent_required")


def test_b6_a_childs_no_is_overruled_only_by_two_people_in_her_best_interest(
    story: Story, service: Service
) -> None:
    draft = story.draft(story.child())
    decided = story.receipt(draft.person_id, giver="best_interest", assent_code="refused")
    assert refusal(lambda: send(story, draft, decided)) == (REFUSED, "receipt_unconfirmed")
    confirm(service, decided)
    assert send(story, draft, decided).state == pb.STATE_SENT


@pytest.mark.parametrize("giver", ["guardian", "authority", "best_interest"])
def test_b6_a_child_of_fifteen_cannot_be_recorded_as_too_young_to_be_asked(
    giver: str, story: Story
) -> None:
    mute = partial(story.receipt, story.child().id, giver=giver, assent_code="too_young")
    assert refusal_with_fields(mute)[2] == {"receipt.assent_code": "out_of_range"}


def test_b6_a_consent_for_a_child_too_young_to_ask_ends_when_she_turns_out_to_be_older(
    story: Story,
) -> None:
    draft = story.draft(story.person(birth_date="2020-01-01"))
    new_receipt = story.receipt(draft.person_id, giver="guardian", assent_code="too_young")
    assert is_live(story, new_receipt)
    set_birth_date(story, draft.person_id, "2012-01-01")
    assert not is_live(story, new_receipt)
    assert refusal(lambda: send(story, draft, new_receipt)) == (REFUSED, "assent_required")


# An unknown age.


def test_b6_a_person_of_unknown_age_is_treated_as_a_child(story: Story) -> None:
    person = ageless(story)
    assert refusal(lambda: story.receipt(person.id)) == (REFUSED, "guardian_required")
    mute = partial(story.receipt, person.id, giver="guardian", assent_code="too_young")
    assert refusal_with_fields(mute)[2] == {"receipt.assent_code": "out_of_range"}
    assert is_live(story, story.receipt(person.id, giver="guardian", assent_code="given"))


def test_b6_a_person_of_unknown_age_is_treated_as_an_adult_if_a_ground_is_given(
    story: Story,
) -> None:
    draft = story.draft(ageless(story))
    new_receipt = story.receipt(draft.person_id, adult_ground_code=p.ADULT_GROUND_HER_WORD)
    assert (new_receipt.live, new_receipt.adult_ground_code) == (True, p.ADULT_GROUND_HER_WORD)
    assert send(story, draft, new_receipt).state == pb.STATE_SENT


def test_b6_a_consent_given_at_unknown_age_opens_nothing_once_the_person_is_known_to_be_ten(
    story: Story,
) -> None:
    draft = story.draft(ageless(story))
    sent = send(
        story, draft, story.receipt(draft.person_id, adult_ground_code=p.ADULT_GROUND_UNMISTAKABLE)
    )
    assert opened_by(story.shelter, sent).given_name == "Ximena"
    set_birth_date(story, sent.person_id, "2016-05-01")
    assert refusal(lambda: opened_by(story.shelter, sent)) == (REFUSED, "receipt_missing")


def test_b6_a_guardians_consent_opens_nothing_once_the_person_is_known_to_be_an_adult(
    story: Story,
) -> None:
    draft = story.draft(story.child())
    sent = send(story, draft, story.receipt(draft.person_id, giver="guardian", assent_code="given"))
    assert opened_by(story.shelter, sent).given_name == "Ximena"
    set_birth_date(story, sent.person_id, "2001-05-01")
    assert refusal(lambda: opened_by(story.shelter, sent)) == (REFUSED, "receipt_missing")


def test_b6_a_person_of_unknown_age_is_not_referred_to_the_police_against_her_no(
    story: Story,
) -> None:
    against = partial(
        story.receipt,
        ageless(story).id,
        giver="best_interest",
        assent_code="refused",
        recipient=ORG["police"],
    )
    assert refusal(against) == (REFUSED, "own_consent_required")


# An adult for whom somebody else speaks.


def consent_by_another(
    story: Story, person_id: str, /, by: str = "authority", **values: Any
) -> p.Receipt:
    """Returns an authority's consent for an adult who can't be asked.

    `by` has the right to override, and records it.
    """
    values = {"giver_ground_code": p.GIVER_GROUND_COURT_ORDER, "purposes": ["HOU.EMG"]} | values
    return Story(
        story.service, story.rescuer, story.shelter, story.coordinator, story.numbers
    ).receipt(person_id, giver=by, **values)


def test_b7_consent_by_another_for_an_adult_needs_a_ground(story: Story) -> None:
    without_ground = partial(consent_by_another, story, story.person().id, giver_ground_code=0)
    assert refusal_with_fields(without_ground)[2] == {"receipt.giver_ground_code": "required"}


def test_b7_consent_by_another_for_an_adult_needs_a_second_worker(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    new_receipt = consent_by_another(story, draft.person_id)
    assert refusal(lambda: send(story, draft, new_receipt)) == (REFUSED, "receipt_unconfirmed")
    alone = partial(story.rescuer.ConfirmReceipt, p.ConfirmReceiptRequest(id=new_receipt.id))
    assert refusal(alone) == (REFUSED, "second_person_required")
    waiting = (
        service.as_("ngo", "MANAGER").ListProposedReceipts(p.ListProposedReceiptsRequest()).receipts
    )
    assert new_receipt.id in {one.id for one in waiting}
    confirm(service, new_receipt)
    assert opened_by(story.shelter, send(story, draft, new_receipt)).given_name == "Ximena"


def test_b7_consent_by_another_for_an_adult_has_the_limits_of_an_override(
    story: Story,
) -> None:
    person = story.person()
    late = NOON + timedelta(hours=73)
    for values, field, reason in (
        ({"field_groups": ALL_GROUPS}, "receipt.field_groups", "out_of_range"),
        ({"purposes": ["HOU.EMG", "MED"]}, "receipt.purpose_codes", "out_of_range"),
        ({"until_time": late}, "receipt.until_time", "out_of_range"),
    ):
        assert refusal_with_fields(partial(consent_by_another, story, person.id, **values))[2] == {
            field: reason
        }
    assert consent_by_another(story, person.id).until_time.ToDatetime(
        tzinfo=UTC
    ) == NOON + timedelta(hours=72)


def test_b7_consent_by_another_for_an_adult_needs_the_right_to_override(story: Story) -> None:
    without = partial(
        story.receipt,
        story.person().id,
        giver="guardian",
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        purposes=["HOU.EMG"],
    )
    assert refusal(without) == ("PERMISSION_DENIED", "right_missing")


@pytest.mark.parametrize("by", ["guardian", "authority"])
def test_b7_only_the_adult_herself_consents_to_a_referral_to_the_police(
    by: str, story: Story
) -> None:
    person = story.person()
    assert refusal(partial(consent_by_another, story, person.id, by, recipient=ORG["police"])) == (
        REFUSED,
        "own_consent_required",
    )
    assert is_live(story, story.receipt(person.id, recipient=ORG["police"], purposes=["PRO"]))


def test_b7_a_decision_in_a_childs_best_interest_is_refused_for_an_adult(story: Story) -> None:
    assert refusal(partial(consent_by_another, story, story.person().id, "best_interest")) == (
        REFUSED,
        "own_consent_required",
    )


def test_b7_nobody_consents_for_a_person_who_has_withdrawn_any_consent(story: Story) -> None:
    person = story.person()
    own = story.receipt(person.id, recipient=ORG["clinic"], purposes=["MED"])
    story.ngo.WithdrawReceipt(p.WithdrawReceiptRequest(id=own.id))
    assert refusal(partial(consent_by_another, story, person.id)) == (
        REFUSED,
        "own_consent_required",
    )


def test_b7_a_persons_withdrawal_ends_the_consents_that_others_gave_for_her(
    story: Story, service: Service
) -> None:
    draft = story.draft()
    own = story.receipt(draft.person_id, recipient=ORG["clinic"], purposes=["MED"])
    sent = send(story, draft, confirm(service, consent_by_another(story, draft.person_id)))
    service.as_("clinic", "WORKER").WithdrawReceipt(p.WithdrawReceiptRequest(id=own.id))
    assert refusal(lambda: opened_by(story.shelter, sent))[0] in (REFUSED, "NOT_FOUND")
    assert (
        story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id)).state == pb.STATE_CONSENT_WITHDRAWN
    )


def attach(story: Story, sent: pb.Referral, receipt: p.Receipt) -> pb.Referral:
    attached: pb.Referral = story.ngo.AttachConsent(
        pb.AttachConsentRequest(id=sent.id, etag=sent.etag, receipt_id=receipt.id)
    )
    return attached


def test_b6_a_child_now_old_enough_is_asked_before_a_consent_replaces_an_override(
    story: Story,
) -> None:
    sent = story.overridden(person=story.person(birth_date="2016-05-01"))
    new_receipt = story.receipt(sent.person_id, giver="guardian", assent_code="too_young")
    set_birth_date(story, sent.person_id, "2012-05-01")
    assert refusal(lambda: attach(story, sent, new_receipt)) == (REFUSED, "assent_required")


def test_b7_consent_by_another_is_void_once_its_receiver_is_the_police(
    story: Story, service: Service
) -> None:
    draft, sent = story.draft(), story.overridden()
    for_draft, for_sent = (
        confirm(service, consent_by_another(story, each.person_id)) for each in (draft, sent)
    )

    def becomes(type_: str) -> None:
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["shelter"], True, "APPROVED", type_)

    becomes("LAW_ENFORCEMENT")
    try:
        assert refusal(lambda: send(story, draft, for_draft)) == (REFUSED, "own_consent_required")
        assert refusal(lambda: attach(story, sent, for_sent)) == (REFUSED, "own_consent_required")
    finally:
        becomes("NGO")


# The rule itself: every giver at every age.


def receipt(
    giver: str, assent: str = "", adult: str = "", ground: str = "", *, age: str, to: str = "NGO"
) -> Receipt:
    return Receipt(
        "r", "p", "o", "t", frozenset({FieldGroup.IDENTITY}), ("HOU",), NOON + timedelta(hours=1),
        giver, "spoken", NOON,
        assent_code=assent, adult_ground_code=adult, giver_ground_code=ground, confirm_time=NOON,
        about=Circumstances(age, to),
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


def test_receipts_signed_before_grounds_were_recorded_remain_valid() -> None:
    before = receipt("person", age="18-24")
    assert b"ground_code" not in before.canonical()
    assert b"about" not in before.canonical()
    assert b"adult_ground_code=her_word" in receipt("person", adult="her_word", age="").canonical()


def test_c16_receipts_awaiting_a_second_person_are_listed_in_pages(
    story: Story, service: Service
) -> None:
    manager = service.as_("ngo", "MANAGER")
    created = {consent_by_another(story, story.person().id).id for _ in range(3)}
    ids, token = list[str](), ""
    while True:
        page = manager.ListProposedReceipts(
            p.ListProposedReceiptsRequest(page_size=2, page_token=token)
        )
        ids += [receipt.id for receipt in page.receipts]
        token = page.next_page_token
        if not token:
            break
        assert len(page.receipts) == 2
    assert created <= set(ids)
    assert len(ids) == len(set(ids))

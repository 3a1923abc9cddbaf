"""A consent that ends soon may be renewed.

The side that can ask the person is notified once, and continuing help is based on her new answer.
"""

from datetime import timedelta

import pytest

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store import renewals
from tests.builders import NOON, refusal, wrong_fields
from tests.referrals.conftest import (
    Service,
    Story,
    history,
    open_identity,
    read,
    send_request,
)
from tests.referrals.test_her_word import person_of_unknown_age, set_birth_date
from tests.referrals.test_overrides import attach


@pytest.fixture(autouse=True)
def at_noon(service: Service) -> None:
    service.clock.set(NOON)
    service.as_owner("DELETE FROM renewals")


def announce_ends(service: Service, after_days: float = 0) -> int:
    """Announces the consents that end soon after so many days; returns their number."""
    service.clock.advance(timedelta(days=after_days))
    return DeadlineScheduler(
        service.made.renewals, service.database, service.clock, renewals.next_time, "renewals"
    ).fire()


def last_verb(story: Story, referral: pb.Referral) -> str:
    return history(story.ngo, referral.id)[-1].verb


def renew_consent(story: Story, referral: pb.Referral, days: int) -> pb.Referral:
    """Records the person's renewed consent, and bases the referral on that receipt."""
    until_time = story.service.clock.now() + timedelta(days=days)
    receipt = story.receipt(referral.person_id, until_time=until_time)
    return attach(story, read(story.ngo, referral.id), receipt.id)


def send_on_a_guardians_consent(
    story: Story, birth_date: str, assent_code: str = "given"
) -> pb.Referral:
    draft = story.draft(story.person(birth_date=birth_date))
    return story.send(draft, giver="guardian", assent_code=assent_code)


def test_the_end_of_a_consent_is_announced_once_two_weeks_before_and_makes_no_etag_stale(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    assert announce_ends(service, 75 + 23 / 24) == 0
    assert (announce_ends(service, 2 / 24), announce_ends(service)) == (1, 0)
    assert last_verb(story, sent) == "consent_ending"
    assert service.fact_types(sent.id).count("enlace.referral.consent_ending.v1") == 1
    assert read(story.ngo, sent.id).etag == sent.etag


def test_a_renewed_consent_replaces_the_former_one_for_help_that_continues(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    service.clock.advance(timedelta(days=80))
    assert renew_consent(story, sent, days=90).receipt_id != sent.receipt_id
    former_consent = service.in_transaction(service.made.consents._receipts.get, sent.receipt_id)
    assert former_consent.until_time == service.clock.now()
    service.clock.advance(timedelta(days=20))  # by now, the first consent would have ended
    open_identity(story.shelter, sent.person_id, sent.id)
    service.clock.advance(timedelta(days=71))
    assert refusal(lambda: open_identity(story.shelter, sent.person_id, sent.id)) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_after_a_renewal_the_new_end_is_announced(story: Story, service: Service) -> None:
    renew_consent(story, story.sent(), days=365)
    assert [announce_ends(service, days) for days in (340, 12)] == [0, 1]


@pytest.mark.parametrize(
    ("birth_date", "assent"), [("2008-05-01", "given"), ("2014-05-01", "too_young")]
)
def test_the_end_of_a_guardians_consent_by_age_is_announced_once_before_the_birthday(
    story: Story, service: Service, birth_date: str, assent: str
) -> None:
    sent = send_on_a_guardians_consent(story, birth_date, assent)
    days = []
    for day in range(1, 60):  # from 2026-03-05, two months before the birthday
        days += [day] * announce_ends(service, 1)
    assert len(days) == 1
    assert 43 <= days[0] <= 51, "one to two weeks before the birthday, by the latest local date"
    assert last_verb(story, sent) == "consent_ending"


@pytest.mark.parametrize(
    ("birth_date", "days", "announced"),
    [
        pytest.param("2008-03-10", (0, 0), [1, 0], id="by age, at once, if her birthday is near"),
        pytest.param("2014-03-10", (75, 2), [0, 1], id="only by its date for a younger child"),
    ],
)
def test_the_end_of_a_guardians_consent_is_announced_once(
    story: Story, service: Service, birth_date: str, days: tuple[int, int], announced: list[int]
) -> None:
    send_on_a_guardians_consent(story, birth_date)
    assert [announce_ends(service, pause) for pause in days] == announced


def test_the_end_by_age_is_announced_when_a_birth_date_that_is_near_is_stated_later(
    story: Story, service: Service
) -> None:
    draft = story.draft(person_of_unknown_age(story))
    sent = story.send(draft, giver="guardian", assent_code="given")
    assert announce_ends(service) == 0
    set_birth_date(story, sent.person_id, "2008-03-08")  # she comes of age in four days
    assert (announce_ends(service), last_verb(story, sent)) == (1, "consent_ending")


def test_the_end_of_a_consent_is_announced_even_if_a_wrong_birth_date_made_it_void_meanwhile(
    story: Story, service: Service
) -> None:
    sent = send_on_a_guardians_consent(story, "2012-03-10")
    for birth_date in ("2002-03-10", "2012-03-10"):
        set_birth_date(story, sent.person_id, birth_date)
        assert announce_ends(service) == 0
    assert announce_ends(service, 77) == 1


def test_a_replaced_consent_stays_live_for_another_referral_based_on_it(
    story: Story, service: Service
) -> None:
    first = story.sent()
    draft = story.draft(people_pb2.Person(id=first.person_id))
    second = story.ngo.SendReferral(send_request(draft, first.receipt_id))
    renew_consent(story, first, days=90)
    open_identity(story.shelter, second.person_id, second.id)
    consent = service.in_transaction(service.made.consents._receipts.get, first.receipt_id)
    assert consent.is_live(service.clock.now())


def test_a_consent_cannot_be_replaced_by_itself(story: Story) -> None:
    sent = story.sent()
    assert wrong_fields(lambda: attach(story, sent, sent.receipt_id)) == [
        ("receipt_id", "repeated")
    ]
    receipts = story.ngo.ListReceipts(person_id=sent.person_id, referral_id=sent.id).receipts
    assert sent.receipt_id not in {receipt.id for receipt in receipts}


@pytest.mark.parametrize("end", ["consent_withdrawn", "referral_withdrawn"])
def test_the_end_of_a_consent_without_a_live_referral_is_not_announced(
    story: Story, service: Service, end: str
) -> None:
    sent = story.sent()
    if end == "consent_withdrawn":
        story.ngo.WithdrawReceipt(id=sent.receipt_id)
    else:
        story.ngo.WithdrawReferral(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    assert announce_ends(service, 80) == 0
    assert service.in_transaction(renewals.next_time) is None, "the consent is not checked again"


def test_only_the_sender_can_replace_the_consent_of_a_referral(story: Story) -> None:
    sent = story.sent()
    receipt = story.receipt(sent.person_id)
    request = pb.AttachConsentRequest(id=sent.id, etag=sent.etag, receipt_id=receipt.id)
    assert refusal(lambda: story.shelter.AttachConsent(request)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert read(story.ngo, sent.id).receipt_id == sent.receipt_id

"""A consent that ends soon may be renewed.

The side that can ask the person is notified once, and continuing help is based on her new answer.
"""

from datetime import datetime, timedelta
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store import renewals as book
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ARRIVAL, Service, Story
from tests.referrals.test_overrides import attach


@pytest.fixture(autouse=True)
def at_noon(service: Service) -> None:
    service.clock.set(NOON)
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("DELETE FROM renewals")


def fire_deadlines(service: Service) -> int:
    return DeadlineScheduler(
        service.made.renewals, service.database, service.clock, book.next_time, "renewals"
    ).fire()


def verbs(story: Story, referral: pb.Referral) -> list[str]:
    return [
        event.verb
        for event in story.ngo.ListReferralEvents(
            pb.ListReferralEventsRequest(referral_id=referral.id)
        ).events
    ]


def until(service: Service, **later: float) -> datetime:
    return (service.clock.now() + timedelta(**later)).replace(tzinfo=None)


def open_identity(story: Story, referral: pb.Referral) -> object:
    request = people_pb2.OpenPersonRequest(
        id=referral.person_id,
        referral_id=referral.id,
        purpose_code="HOU.EMG",
        field_groups=[people_pb2.FIELD_GROUP_IDENTITY],
    )
    return story.shelter.OpenPerson(request)


def renew_consent(story: Story, referral: pb.Referral, **later: float) -> pb.Referral:
    """Records the person's renewed consent, and bases the referral on that receipt."""
    receipt = story.receipt(referral.person_id, until_time=until(story.service, **later))
    return attach(story, story.ngo.GetReferral(pb.GetReferralRequest(id=referral.id)), receipt.id)


def test_the_end_of_a_consent_is_announced_once_two_weeks_before(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    service.clock.advance(timedelta(days=75, hours=23))
    assert fire_deadlines(service) == 0
    service.clock.advance(timedelta(hours=2))
    assert (fire_deadlines(service), fire_deadlines(service)) == (1, 0)
    assert verbs(story, sent)[-1] == "consent_ending"
    with service.database.transaction(SYSTEM) as tx:
        facts = tx.execute(
            "SELECT count(*) AS n FROM outbox WHERE subject = %s"
            " AND type = 'enlace.referral.consent_ending.v1'",
            (sent.id,),
        )
        assert [row["n"] for row in facts] == [1]


def test_the_announcement_of_the_end_makes_no_etag_stale(story: Story, service: Service) -> None:
    sent = story.sent()
    service.clock.advance(timedelta(days=77))
    assert fire_deadlines(service) == 1
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id)).etag == sent.etag


def test_a_renewed_consent_replaces_the_former_one_for_help_that_continues(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    service.clock.advance(timedelta(days=80))
    assert renew_consent(story, sent, days=90).receipt_id != sent.receipt_id
    with service.database.transaction(SYSTEM) as tx:
        former = service.made.consents._receipts.get(tx, sent.receipt_id)
    assert former.until_time == service.clock.now()
    service.clock.advance(timedelta(days=20))  # by now, the first consent would have ended
    open_identity(story, sent)
    service.clock.advance(timedelta(days=71))
    assert refusal(partial(open_identity, story, sent)) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_after_a_renewal_the_new_end_is_announced(story: Story, service: Service) -> None:
    sent = story.sent()
    renew_consent(story, sent, days=365)
    service.clock.advance(timedelta(days=340))
    assert fire_deadlines(service) == 0
    service.clock.advance(timedelta(days=12))
    assert fire_deadlines(service) == 1


@pytest.mark.parametrize(
    ("birth_date", "assent"), [("2008-05-01", "given"), ("2014-05-01", "too_young")]
)
def test_the_end_of_a_guardians_consent_by_age_is_announced_once_before_the_birthday(
    story: Story, service: Service, birth_date: str, assent: str
) -> None:
    draft = story.draft(story.person(birth_date=birth_date))
    receipt = story.receipt(draft.person_id, giver="guardian", assent_code=assent)
    sent = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id, arrival=ARRIVAL)
    )
    announced = []
    for day in range(1, 60):  # from 2026-03-05, two months before the birthday
        service.clock.advance(timedelta(days=1))
        announced += [day] * fire_deadlines(service)
    assert len(announced) == 1
    assert 43 <= announced[0] <= 51, "between one and two weeks before, by the latest local date"
    assert verbs(story, sent)[-1] == "consent_ending"


def test_the_end_by_age_is_announced_at_once_if_the_birthday_is_near(
    story: Story, service: Service
) -> None:
    draft = story.draft(story.person(birth_date="2008-03-10"))
    receipt = story.receipt(draft.person_id, giver="guardian", assent_code="given")
    story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id, arrival=ARRIVAL)
    )
    assert (fire_deadlines(service), fire_deadlines(service)) == (1, 0)


def test_a_guardians_consent_for_a_younger_child_is_announced_only_by_its_date(
    story: Story, service: Service
) -> None:
    draft = story.draft(story.person(birth_date="2014-03-10"))
    receipt = story.receipt(draft.person_id, giver="guardian", assent_code="given")
    story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id, arrival=ARRIVAL)
    )
    service.clock.advance(timedelta(days=75))
    assert fire_deadlines(service) == 0
    service.clock.advance(timedelta(days=2))
    assert fire_deadlines(service) == 1


def test_a_replaced_consent_stays_live_for_another_referral_based_on_it(
    story: Story, service: Service
) -> None:
    first = story.sent()
    draft = story.draft(story.ngo.GetPerson(people_pb2.GetPersonRequest(id=first.person_id)))
    second = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=first.receipt_id)
    )
    renew_consent(story, first, days=90)
    open_identity(story, second)
    with service.database.transaction(SYSTEM) as tx:
        assert service.made.consents._receipts.get(tx, first.receipt_id).is_live(
            service.clock.now()
        )


def test_a_consent_cannot_be_replaced_by_itself(story: Story) -> None:
    sent = story.sent()
    assert refusal_with_fields(partial(attach, story, sent, sent.receipt_id))[2] == {
        "receipt_id": "repeated"
    }
    receipts = story.ngo.ListReceipts(
        people_pb2.ListReceiptsRequest(person_id=sent.person_id, referral_id=sent.id)
    ).receipts
    assert sent.receipt_id not in {receipt.id for receipt in receipts}


@pytest.mark.parametrize("end", ["withdrawn", "over"])
def test_the_end_of_a_consent_without_a_live_referral_is_not_announced(
    story: Story, service: Service, end: str
) -> None:
    sent = story.sent()
    if end == "withdrawn":
        story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    else:
        story.ngo.WithdrawReferral(
            pb.WithdrawReferralRequest(
                id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED
            )
        )
    service.clock.advance(timedelta(days=80))
    assert fire_deadlines(service) == 0
    with service.database.transaction(SYSTEM) as tx:
        assert book.next_time(tx) is None, "and the consent is not checked again"


def test_only_the_sender_can_replace_the_consent_of_a_referral(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    receipt = story.receipt(sent.person_id)
    request = pb.AttachConsentRequest(id=sent.id, etag=sent.etag, receipt_id=receipt.id)
    assert refusal(lambda: story.shelter.AttachConsent(request))[0] in (
        "PERMISSION_DENIED",
        "FAILED_PRECONDITION",
        "NOT_FOUND",
    )
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id)).receipt_id == sent.receipt_id

"""Enquiries by rpc.

The tests cover who may see and do what, which data of the person are sent, and that one of two
concurrent takers wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller
from protos.referrals.v1 import contacts_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.service import Attribute
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store import deadlines
from services.referrals.referrals.store import enquiries as store
from tests.builders import ASKED, NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story
from tests.referrals.test_any_line import call_again, operator_of
from tests.referrals.test_contacts import referral_for, status
from tests.referrals.test_subscriptions import Hearing

CONTENT = e.EnquiryContent(
    need_code="HOU.EMG",
    urgency=pb.URGENCY_EMERGENCY,
    age_band=pb.AGE_BAND_18_TO_24,
    gender_code=pb.PERSON_GENDER_FEMININE,
    dependants=1,
    languages=["es"],
    country="NI",
    department="NI-CI",
)
SERVICES = [SERVICE["shelter_bed"], SERVICE["clinic_visit"], SERVICE["police_report"]]
CONFLICT = "FAILED_PRECONDITION"


class EnquiryScene:
    """The clients of an enquiry by the NGO to shelter and clinic; the police is left out."""

    def __init__(self, service: Service, story: Story) -> None:
        self.service, self.story = service, story
        self.ngo, self.shelter, self.clinic = (
            service.as_(name, "WORKER") for name in ("ngo", "shelter", "clinic")
        )

    def create(self, content: e.EnquiryContent = CONTENT, **values: Any) -> e.Enquiry:
        values.setdefault("service_ids", SERVICES)
        request = e.CreateEnquiryRequest(
            content=content,
            request_id=self.story.request_id(),
            **(values if "excluded_organization_ids" in values else ASKED | values),
        )
        created: e.Enquiry = self.ngo.CreateEnquiry(request)
        return created

    def seen(self, client: Client, enquiry: e.Enquiry) -> e.Enquiry:
        current: e.Enquiry = client.GetEnquiry(e.GetEnquiryRequest(id=enquiry.id))
        return current

    def answer(self, name: str, enquiry: e.Enquiry, answer: str, reason: str = "") -> e.Enquiry:
        client = getattr(self, name)
        etag = self.seen(client, enquiry).etag
        created: e.Enquiry = client.AnswerEnquiry(answering(name, enquiry, answer, reason, etag))
        return created

    def take(
        self,
        enquiry: e.Enquiry,
        name: str = "shelter",
        answer: str = "yes",
        client: Client | None = None,
    ) -> e.Enquiry:
        created: e.Enquiry = (client or self.ngo).TakeOffer(taking(enquiry, name, answer))
        return created

    def refer(self, enquiry: e.Enquiry, **values: Any) -> pb.Referral:
        """Opens a draft for the offer that was taken."""
        request = pb.CreateReferralRequest(
            **ASKED, person_id=self.story.person().id, enquiry_id=enquiry.id, **values
        )
        draft: pb.Referral = self.ngo.CreateReferral(request)
        return draft

    def fire(self) -> int:
        return DeadlineScheduler(
            self.service.made.enquiries,
            self.service.database,
            self.service.clock,
            store.next_time,
            "enquiries",
        ).fire()

    def fire_referrals(self) -> int:
        return DeadlineScheduler(
            self.service.made.lives,
            self.service.database,
            self.service.clock,
            deadlines.next_time,
            "clocks",
        ).fire()

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        with self.service.database.transaction(SYSTEM) as tx:
            return tx.execute(statement, values).fetchall()

    def facts(self, enquiry: e.Enquiry) -> list[tuple[str, facts_pb2.EnquiryFact]]:
        rows = self.rows(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", enquiry.id
        )
        return [
            (row["type"].split(".")[2], facts_pb2.EnquiryFact.FromString(row["payload"]))
            for row in rows
        ]


SERVICE_OF = {"shelter": SERVICE["shelter_bed"], "clinic": SERVICE["clinic_visit"]}


def answering(
    name: str, enquiry: e.Enquiry, answer: str, reason: str = "", etag: str = "v1"
) -> e.AnswerEnquiryRequest:
    return e.AnswerEnquiryRequest(
        id=enquiry.id,
        etag=etag,
        service_id=SERVICE_OF[name],
        answer=e.OfferAnswer.Value(f"OFFER_ANSWER_{answer.upper()}"),
        reason_code=pb.DeclineReason.Value(f"DECLINE_REASON_{reason.upper()}") if reason else 0,  # type: ignore[arg-type]
    )


def taking(enquiry: e.Enquiry, name: str = "shelter", answer: str = "yes") -> e.TakeOfferRequest:
    return e.TakeOfferRequest(
        id=enquiry.id,
        service_id=SERVICE_OF[name],
        answer=e.OfferAnswer.Value(f"OFFER_ANSWER_{answer.upper()}"),
    )


@pytest.fixture
def asking(service: Service, story: Story) -> Iterator[EnquiryScene]:
    asking = EnquiryScene(service, story)
    yield asking
    # open enquiries are limited for each member, and all tests use the same member
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("DELETE FROM enquiry_offers")
        tx.execute("DELETE FROM enquiries")


def contents(client: Client, box: e.EnquiryBox.ValueType, **values: Any) -> list[str]:
    return [
        enquiry.id
        for enquiry in client.ListEnquiries(e.ListEnquiriesRequest(box=box, **values)).enquiries
    ]


# The asked organisations, and what each side sees.


def test_an_enquiry_asks_every_service_except_police_own_and_unsafe_ones(
    asking: EnquiryScene,
) -> None:
    assert {offer.service_id for offer in asking.create().offers} == {
        SERVICE["shelter_bed"],
        SERVICE["clinic_visit"],
    }
    enquiry = asking.create(excluded_organization_ids=[ORG["clinic"]])
    assert [offer.organization_id for offer in enquiry.offers] == [ORG["shelter"]]
    assert enquiry.excluded_organization_ids == [ORG["clinic"]]
    for nobody in ([SERVICE["police_report"]], ["f" * 32], ["no id"]):
        assert refusal(lambda nobody=nobody: asking.create(service_ids=nobody)) == (  # type: ignore[misc]
            CONFLICT,
            "service_unknown",
        )
    mine = e.CreateEnquiryRequest(**ASKED, content=CONTENT, service_ids=[SERVICE["shelter_bed"]])
    assert refusal(lambda: asking.shelter.CreateEnquiry(mine)) == (CONFLICT, "service_unknown")


def test_a_service_of_a_suspended_member_is_not_asked(
    asking: EnquiryScene,
) -> None:
    with asking.service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["clinic"], False, "SUSPENDED", "NGO")
    try:
        assert [offer.organization_id for offer in asking.create().offers] == [ORG["shelter"]]
    finally:
        with asking.service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["clinic"], True, "APPROVED", "NGO")


def test_a_receiver_of_an_enquiry_sees_its_content_but_no_asker_other_receiver_or_answer(
    asking: EnquiryScene,
) -> None:
    person = asking.story.person()
    enquiry = asking.create(person_id=person.id, excluded_organization_ids=[ORG["police"]])
    asking.answer("clinic", enquiry, "no", "no_capacity")
    copy = asking.seen(asking.shelter, enquiry)
    assert copy.content == CONTENT
    assert (copy.side, copy.turn) == (pb.SIDE_RECEIVER, pb.TURN_RECEIVER)
    assert [offer.service_id for offer in copy.offers] == [SERVICE["shelter_bed"]]
    answer = copy.SerializeToString()
    for hidden in (
        ORG["ngo"],
        ORG["clinic"],
        SERVICE["clinic_visit"],
        person.id,
        ORG["police"],
        asking.ngo.caller.id,
    ):
        assert hidden.encode() not in answer


def test_the_answer_of_one_receiver_changes_nothing_for_another(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    before = asking.seen(asking.shelter, enquiry)
    version = asking.shelter.GetQueueVersion(pb.GetQueueVersionRequest()).version
    asking.service.clock.advance(timedelta(minutes=1))
    asking.answer("clinic", enquiry, "yes")
    assert asking.seen(asking.shelter, enquiry) == before
    assert asking.shelter.GetQueueVersion(pb.GetQueueVersionRequest()).version == version
    assert asking.seen(asking.ngo, enquiry).turn == pb.TURN_SENDER


@pytest.mark.parametrize(
    ("organization", "role"),
    [("hotline", "OPERATOR"), ("police", "WORKER"), ("coalition", "WORKER"), ("ngo", "")],
)
def test_others_cannot_find_an_enquiry(asking: EnquiryScene, organization: str, role: str) -> None:
    if not role:
        role, organization = "MANAGER", "coalition"
    client, enquiry = asking.service.as_(organization, role), asking.create()
    for identifier in (enquiry.id, "f" * 32, "no id"):
        other = e.Enquiry(id=identifier)
        for ask in (
            lambda other=other: client.GetEnquiry(e.GetEnquiryRequest(id=other.id)),
            lambda other=other: client.AnswerEnquiry(answering("shelter", other, "yes")),
            lambda other=other: client.TakeOffer(taking(other)),
            lambda other=other: client.CancelEnquiry(
                e.CancelEnquiryRequest(id=other.id, etag="v1")
            ),
        ):
            assert refusal(ask) == ("NOT_FOUND", "not_found")
    assert contents(client, e.ENQUIRY_BOX_ASKED) == contents(client, e.ENQUIRY_BOX_RECEIVED) == []


def test_a_receiver_of_an_enquiry_can_only_answer_and_only_for_itself(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    for ask in (
        lambda: asking.shelter.TakeOffer(taking(enquiry)),
        lambda: asking.shelter.CancelEnquiry(e.CancelEnquiryRequest(id=enquiry.id, etag="v1")),
        lambda: asking.shelter.AnswerEnquiry(
            answering("clinic", enquiry, "yes", etag=asking.seen(asking.shelter, enquiry).etag)
        ),
        lambda: asking.ngo.AnswerEnquiry(answering("shelter", enquiry, "yes")),
    ):
        assert refusal(ask) == ("NOT_FOUND", "not_found")


def test_an_enquiry_needs_a_contact_and_file_of_its_own_organisation(asking: EnquiryScene) -> None:
    foreign = asking.story.contact()
    assert refusal(lambda: asking.create(contact_id=foreign.contact.id)) == (
        "NOT_FOUND",
        "not_found",
    )
    person = asking.story.person()
    request = e.CreateEnquiryRequest(
        **ASKED, content=CONTENT, service_ids=[SERVICE["clinic_visit"]], person_id=person.id
    )
    assert refusal(lambda: asking.shelter.CreateEnquiry(request)) == ("NOT_FOUND", "not_found")


# Refusals.


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"need_code": ""}, {"content.need_code": "required"}),
        ({"need_code": "HOUSE"}, {"content.need_code": "unknown_code"}),
        ({"urgency": 0}, {"content.urgency": "required"}),
        ({"department": "CR-SJ"}, {"content.department": "unknown_code"}),
        ({"dependants": 21}, {"content.dependants": "out_of_range"}),
        ({"languages": ["spanisch!"]}, {"content.languages.0": "malformed"}),
    ],
)
def test_an_invalid_enquiry_is_refused_by_field(
    asking: EnquiryScene, change: dict[str, Any], wrong: dict[str, str]
) -> None:
    content = e.EnquiryContent()
    content.CopyFrom(CONTENT)
    for name, value in change.items():
        content.ClearField(name)  # type: ignore[arg-type]
        if value:
            getattr(content, name).extend(value) if isinstance(value, list) else setattr(
                content, name, value
            )
    assert refusal_with_fields(lambda: asking.create(content))[2] == wrong


def test_an_enquiry_asks_at_most_fifty_services(asking: EnquiryScene) -> None:
    assert refusal_with_fields(lambda: asking.create(service_ids=["f" * 32] * 51))[2] == {
        "service_ids": "too_long"
    }


def test_a_no_needs_a_reason_and_no_other_answer_may_have_one(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    assert refusal_with_fields(lambda: asking.answer("shelter", enquiry, "no"))[2] == {
        "reason_code": "required"
    }
    assert refusal_with_fields(lambda: asking.answer("shelter", enquiry, "yes", "other"))[2] == {
        "reason_code": "out_of_range"
    }


def test_a_member_may_have_twenty_open_enquiries_or_two_while_on_probation(
    asking: EnquiryScene,
) -> None:
    for _ in range(20):
        last = asking.create()
    assert refusal(asking.create) == (CONFLICT, "too_many_enquiries")
    asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=last.id, etag=last.etag))
    asking.create()
    with asking.service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["clinic"], True, "PROBATION", "NGO")
    try:
        request = e.CreateEnquiryRequest(
            **ASKED, content=CONTENT, service_ids=[SERVICE["shelter_bed"]]
        )
        for _ in range(2):
            asking.clinic.CreateEnquiry(request)
        assert refusal(lambda: asking.clinic.CreateEnquiry(request)) == (
            CONFLICT,
            "too_many_enquiries",
        )
    finally:
        with asking.service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["clinic"], True, "APPROVED", "NGO")


def test_cancelling_enquiries_does_not_evade_the_limit(asking: EnquiryScene) -> None:
    with asking.service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["ngo"], True, "PROBATION", "NGO")
    try:
        for _ in range(5):
            created = asking.create()
            asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=created.id, etag=created.etag))
        assert refusal(asking.create) == (CONFLICT, "too_many_enquiries")
        asking.service.clock.advance(timedelta(hours=25))
        asking.create()
    finally:
        with asking.service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["ngo"], True, "APPROVED", "NGO")


# Answers, and taking an offer.


def test_an_answer_may_change_while_the_enquiry_is_open_but_not_with_a_stale_etag(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    first = asking.answer("shelter", enquiry, "yes")
    changed = asking.answer("shelter", enquiry, "waitlist")
    assert changed.offers[0].answer == e.OFFER_ANSWER_WAITLIST
    assert changed.turn == pb.TURN_SENDER
    assert refusal(
        lambda: asking.shelter.AnswerEnquiry(
            answering("shelter", enquiry, "no", "other", first.etag)
        )
    ) == (
        "ABORTED",
        "stale_etag",
    )


def test_only_the_first_offer_is_published_as_first_offer(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    asking.answer("clinic", enquiry, "no", "no_capacity")
    asking.answer("shelter", enquiry, "maybe")
    asking.answer("shelter", enquiry, "yes")
    asking.answer("clinic", enquiry, "yes")
    published = asking.facts(enquiry)
    assert [(verb, fact.first_offer) for verb, fact in published] == [
        ("opened", False),
        ("answered", False),
        ("answered", True),
        ("answered", False),
        ("answered", False),
    ]
    assert list(published[0][1].asked_organization_ids) == sorted([ORG["shelter"], ORG["clinic"]])
    assert published[1][1].reason_code == "no_capacity"
    assert (published[1][1].service_id, published[1][1].actor_organization_id) == (
        SERVICE["clinic_visit"],
        ORG["clinic"],
    )


def test_once_an_offer_is_taken_the_other_copies_are_closed_and_blanked_in_the_database(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create(keep_unused=True)
    asking.answer("shelter", enquiry, "yes")
    asking.answer("clinic", enquiry, "yes")
    taken = asking.take(enquiry)
    assert (taken.state, taken.taken_service_id) == (
        e.ENQUIRY_STATE_MATCHED,
        SERVICE["shelter_bed"],
    )
    copy = asking.seen(asking.clinic, enquiry)
    assert (copy.state, copy.turn, copy.HasField("content"), copy.taken_service_id) == (
        e.ENQUIRY_STATE_MATCHED,
        0,
        False,
        "",
    )
    assert asking.seen(asking.shelter, enquiry).content == CONTENT
    texts = (
        "need_code, urgency, age_band, gender_code, dependants, languages, accessibility_codes,"
        " country, department"
    )
    rows = asking.rows(
        f"SELECT {texts} FROM enquiry_offers WHERE enquiry_id = %s AND NOT taken", enquiry.id
    )
    assert [set(row.values()) for row in rows] == [{None}]


@pytest.mark.parametrize("answer", ["yes", "maybe", "waitlist"])
def test_any_kind_of_offer_may_be_taken(asking: EnquiryScene, answer: str) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, answer)
    assert asking.take(enquiry, answer=answer).state == e.ENQUIRY_STATE_MATCHED


def test_only_a_current_offer_can_be_taken(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    assert refusal(lambda: asking.take(enquiry)) == (CONFLICT, "offer_gone")
    asking.answer("shelter", enquiry, "no", "no_capacity")
    for answer in ("yes", "no"):
        assert refusal(lambda answer=answer: asking.take(enquiry, answer=answer)) == (  # type: ignore[misc]
            CONFLICT,
            "offer_gone",
        )
    asking.answer("shelter", enquiry, "maybe")
    assert refusal(lambda: asking.take(enquiry)) == (CONFLICT, "offer_gone"), (
        "the answer was yes when it was read"
    )
    strange = e.TakeOfferRequest(id=enquiry.id, service_id="f" * 32, answer=e.OFFER_ANSWER_YES)
    assert refusal(lambda: asking.ngo.TakeOffer(strange)) == (CONFLICT, "offer_gone")


def test_the_offer_of_a_suspended_member_cannot_be_taken_and_the_others_stay_open(
    asking: EnquiryScene,
) -> None:
    enquiry, hearing = asking.create(), Hearing(asking.service)
    for name in ("shelter", "clinic"):
        asking.answer(name, enquiry, "yes")
    hearing.organization("shelter", "SUSPENDED")
    assert refusal(lambda: asking.take(enquiry)) == (CONFLICT, "offer_gone")
    hearing.organization("shelter", "APPROVED")
    hearing.service_of("shelter_bed", "shelter", False)
    assert refusal(lambda: asking.take(enquiry)) == (CONFLICT, "offer_gone")
    hearing.service_of("shelter_bed", "shelter", True)
    assert asking.seen(asking.clinic, enquiry).state == e.ENQUIRY_STATE_OPEN
    assert asking.take(enquiry, "clinic").state == e.ENQUIRY_STATE_MATCHED


def test_one_of_two_concurrent_takers_of_an_offer_succeeds(asking: EnquiryScene) -> None:
    for _ in range(5):
        enquiry = asking.create()
        asking.answer("shelter", enquiry, "yes")
        asking.answer("clinic", enquiry, "yes")

        def take(name: str, enquiry: e.Enquiry = enquiry) -> str:
            try:
                asking.take(enquiry, name)
            except grpc.RpcError as caught:
                return str(caught.details())
            return name

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(take, ["shelter", "clinic"]))
        assert sorted(answers, key=len)[-1] == "enquiry_taken"
        winner = next(name for name in answers if name in SERVICE_OF)
        assert asking.seen(asking.ngo, enquiry).taken_service_id == SERVICE_OF[winner]
        assert [verb for verb, _ in asking.facts(enquiry)].count("matched") == 1


def test_an_answer_to_a_closed_enquiry_is_refused_with_how_it_ended(asking: EnquiryScene) -> None:
    taken, cancelled, exhausted = (asking.create() for _ in range(3))
    asking.answer("clinic", taken, "yes")
    asking.take(taken, "clinic")
    asking.refer(taken)
    asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=cancelled.id, etag=cancelled.etag))
    for name in SERVICE_OF:
        asking.answer(name, exhausted, "no", "no_capacity")
    for enquiry, reason in (
        (taken, "enquiry_taken"),
        (cancelled, "enquiry_cancelled"),
        (exhausted, "enquiry_exhausted"),
    ):
        assert refusal(lambda enquiry=enquiry: asking.answer("shelter", enquiry, "yes")) == (  # type: ignore[misc]
            CONFLICT,
            reason,
        )
        assert refusal(lambda enquiry=enquiry: asking.take(enquiry)) == (CONFLICT, reason)  # type: ignore[misc]
        cancel = e.CancelEnquiryRequest(id=enquiry.id, etag="v1")
        assert refusal(lambda cancel=cancel: asking.ngo.CancelEnquiry(cancel)) == (CONFLICT, reason)  # type: ignore[misc]


# The deadline.


def test_an_enquiry_that_every_service_refuses_is_exhausted_with_the_most_frequent_reason(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "no", "no_capacity")
    copy = asking.answer("clinic", enquiry, "no", "no_capacity")
    assert (copy.state, copy.HasField("content")) == (e.ENQUIRY_STATE_EXHAUSTED, False)
    own_view = asking.seen(asking.ngo, enquiry)
    assert (own_view.state, own_view.reason_code) == (e.ENQUIRY_STATE_EXHAUSTED, "no_capacity")
    coordinator = asking.service.as_("coalition", "COORDINATOR")
    needs = coordinator.ListUnmetNeeds(e.ListUnmetNeedsRequest()).needs
    assert [(need.need_code, need.department, need.reason_code, need.count) for need in needs] == [
        ("HOU.EMG", "NI-CI", "no_capacity", 1)
    ]


@pytest.mark.parametrize(
    ("urgency", "minutes"),
    [
        (pb.URGENCY_IMMEDIATE, 15),
        (pb.URGENCY_EMERGENCY, 60),
        (pb.URGENCY_URGENT, 1440),
        (pb.URGENCY_NORMAL, 2880),
    ],
)
def test_an_enquiry_that_nobody_answers_in_time_is_exhausted_once(
    asking: EnquiryScene, urgency: pb.Urgency.ValueType, minutes: int
) -> None:
    content = e.EnquiryContent(need_code="HOU.EMG", urgency=urgency, country="NI")
    enquiry = asking.create(content)
    assert enquiry.due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(minutes=minutes)
    asking.service.clock.set(NOON + timedelta(minutes=minutes) - timedelta(seconds=1))
    assert asking.fire() == 0
    asking.service.clock.advance(timedelta(seconds=1))
    assert (asking.fire(), asking.fire()) == (1, 0)
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.state, stored.reason_code, stored.HasField("due_time")) == (
        e.ENQUIRY_STATE_EXHAUSTED,
        "no_response",
        False,
    )


def test_waiting_offers_are_reported_once_and_released_if_nobody_takes_one(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "waitlist")
    asking.service.clock.advance(timedelta(hours=1))
    assert (asking.fire(), asking.fire()) == (1, 0)
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.state, stored.due_time.ToDatetime(NOON.tzinfo)) == (
        e.ENQUIRY_STATE_OPEN,
        NOON + timedelta(hours=2),
    )
    copy = asking.seen(asking.clinic, enquiry)
    assert copy.due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=1), (
        "an offer does not concern another receiver"
    )
    asking.service.clock.advance(timedelta(hours=1))
    assert asking.fire() == 1
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.state, stored.reason_code) == (e.ENQUIRY_STATE_CANCELLED, "not_taken")
    assert [verb for verb, _ in asking.facts(enquiry)] == [
        "opened",
        "answered",
        "offers_waiting",
        "cancelled",
        "not_taken",
    ]


def begin_nothing(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    for _ in range(2):
        asking.service.clock.advance(timedelta(hours=1))
        assert (asking.fire(), asking.fire()) == (1, 0)


def send_nothing(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    asking.refer(enquiry)
    for _ in range(3):
        assert asking.seen(asking.shelter, enquiry).taken_service_id
        asking.service.clock.advance(timedelta(minutes=30))
        asking.fire_referrals()


@pytest.mark.parametrize("wait", [begin_nothing, send_nothing])
def test_a_taken_offer_is_released_if_no_referral_is_begun_or_sent_in_time(
    asking: EnquiryScene, wait: Callable[[EnquiryScene, e.Enquiry], None]
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    assert asking.take(enquiry).turn == pb.TURN_SENDER
    wait(asking, enquiry)
    verb, fact = asking.facts(enquiry)[-1]
    assert (verb, fact.service_organization_id, fact.actor_organization_id, fact.reason_code) == (
        "cancelled",
        ORG["shelter"],
        "",
        "not_referred",
    )
    copy = asking.seen(asking.shelter, enquiry)
    assert (copy.state, copy.HasField("content"), copy.taken_service_id) == (
        e.ENQUIRY_STATE_CANCELLED,
        False,
        "",
    )
    assert asking.seen(asking.ngo, enquiry).turn == pb.TURN_UNSPECIFIED


def test_a_draft_whose_offer_was_released_can_still_be_sent(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    asking.take(enquiry)
    draft = asking.refer(enquiry)
    asking.service.clock.advance(timedelta(days=1))
    asking.fire_referrals()
    receipt = asking.story.receipt(draft.person_id)
    sent = asking.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    assert (sent.state, sent.service_id) == (pb.STATE_SENT, SERVICE["shelter_bed"])


def test_an_enquiry_belongs_to_the_person_of_the_referral_that_follows_it(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    asking.take(enquiry)
    draft = asking.refer(enquiry)
    assert asking.seen(asking.ngo, enquiry).person_id == draft.person_id
    assert contents(asking.ngo, e.ENQUIRY_BOX_ASKED, person_id=draft.person_id) == [enquiry.id]
    assert asking.seen(asking.shelter, enquiry).person_id == ""


def test_two_processes_fire_each_enquiry_once(asking: EnquiryScene) -> None:
    created = [asking.create() for _ in range(10)]
    asking.service.clock.advance(timedelta(hours=1))
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: asking.fire(), range(2))) == len(created)


def test_an_enquiry_whose_deadline_cannot_fire_does_not_delay_others(asking: EnquiryScene) -> None:
    broken, intact = asking.create(), asking.create()
    with asking.service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE enquiries SET urgency = 'whenever' WHERE id = %s", (broken.id,))
    asking.service.clock.advance(timedelta(hours=1))
    assert asking.fire() == 1
    assert asking.seen(asking.ngo, intact).state == e.ENQUIRY_STATE_EXHAUSTED


# From enquiry to referral.


def test_a_referral_from_a_matched_enquiry_takes_its_data_over(asking: EnquiryScene) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    person = asking.story.person()
    request = pb.CreateReferralRequest(**ASKED, person_id=person.id, enquiry_id=enquiry.id)
    assert refusal(lambda: asking.ngo.CreateReferral(request)) == (
        CONFLICT,
        "illegal_transition",
    ), "no offer is taken yet"
    asking.take(enquiry)
    draft = asking.ngo.CreateReferral(request)
    assert (draft.need_code, draft.urgency, draft.service_id) == (
        "HOU.EMG",
        pb.URGENCY_EMERGENCY,
        SERVICE["shelter_bed"],
    )
    assert draft.receiver_organization_id == ORG["shelter"]
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.referral_id, stored.turn, stored.HasField("due_time")) == (draft.id, 0, False)
    assert refusal(lambda: asking.ngo.CreateReferral(request)) == (CONFLICT, "illegal_transition")
    assert asking.seen(asking.shelter, enquiry).referral_id == ""


def test_a_referral_is_made_only_from_an_enquiry_of_its_organisation_for_its_person(
    asking: EnquiryScene,
) -> None:
    person_, other = asking.story.person(), asking.story.person()
    enquiry = asking.create(person_id=person_.id)
    asking.answer("shelter", enquiry, "yes")
    asking.take(enquiry)
    their_person = asking.shelter.CreatePerson(people_pb2.CreatePersonRequest())
    for client, person, identifier in (
        (asking.shelter, their_person, enquiry.id),
        (asking.ngo, other, enquiry.id),
        (asking.ngo, person_, "f" * 32),
    ):
        request = pb.CreateReferralRequest(**ASKED, person_id=person.id, enquiry_id=identifier)
        assert refusal_with_fields(lambda c=client, r=request: c.CreateReferral(r)) == (  # type: ignore[misc]
            "INVALID_ARGUMENT",
            "invalid_fields",
            {"enquiry_id": "unknown_code"},
        )
    assert asking.seen(asking.ngo, enquiry).referral_id == ""
    request = pb.CreateReferralRequest(**ASKED, person_id=person_.id, enquiry_id=enquiry.id)
    assert asking.ngo.CreateReferral(request).service_id == SERVICE["shelter_bed"]


def cancel(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=enquiry.id, etag=enquiry.etag))


def discard_the_draft(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    draft = asking.refer(enquiry)
    asking.ngo.EnterReferralInError(pb.EnterReferralInErrorRequest(id=draft.id, etag=draft.etag))


def choose_another_service(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    draft = asking.refer(enquiry)
    draft.service_id = SERVICE["clinic_visit"]
    asking.ngo.UpdateReferral(
        pb.UpdateReferralRequest(referral=draft, update_mask=FieldMask(paths=["service_id"]))
    )


def choose_another_service_at_once(asking: EnquiryScene, enquiry: e.Enquiry) -> None:
    asking.refer(enquiry, service_id=SERVICE["clinic_visit"])


@pytest.mark.parametrize(
    "end", [cancel, discard_the_draft, choose_another_service, choose_another_service_at_once]
)
def test_a_service_whose_offer_was_taken_learns_that_no_referral_will_come(
    asking: EnquiryScene, end: Callable[[EnquiryScene, e.Enquiry], None]
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    end(asking, asking.take(enquiry))
    verb, fact = asking.facts(enquiry)[-1]
    assert (verb, fact.service_organization_id, fact.reason_code) == (
        "cancelled",
        ORG["shelter"],
        "by_asker",
    )
    copy = asking.seen(asking.shelter, enquiry)
    assert (copy.state, copy.HasField("content"), copy.taken_service_id) == (
        e.ENQUIRY_STATE_CANCELLED,
        False,
        "",
    )


@pytest.mark.parametrize(
    ("step", "ends"), [("taken", True), ("drafted", True), ("sent", False), ("probation", False)]
)
def test_the_taken_offer_of_a_suspended_member_ends_unless_its_referral_was_sent(
    asking: EnquiryScene, step: str, ends: bool
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    asking.take(enquiry)
    if step in ("drafted", "sent"):
        draft = asking.refer(enquiry)
    if step == "sent":
        receipt = asking.story.receipt(draft.person_id)
        asking.ngo.SendReferral(
            pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        )
    hear = Hearing(asking.service)
    hear.organization("shelter", "PROBATION" if step == "probation" else "SUSPENDED")
    hear.organization("shelter", "APPROVED")
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.state, stored.reason_code, stored.taken_service_id) == (
        (e.ENQUIRY_STATE_CANCELLED, "offer_gone", "")
        if ends
        else (e.ENQUIRY_STATE_MATCHED, "", SERVICE["shelter_bed"])
    )
    verb, fact = asking.facts(enquiry)[-1]
    assert (verb == "cancelled") == ends
    if ends:
        assert (fact.actor_organization_id, fact.service_organization_id) == ("", ORG["shelter"])


def test_the_end_of_a_referral_that_was_sent_changes_nothing_in_its_enquiry(
    asking: EnquiryScene,
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    asking.take(enquiry)
    draft = asking.refer(enquiry)
    receipt = asking.story.receipt(draft.person_id)
    sent = asking.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    )
    asking.ngo.EnterReferralInError(pb.EnterReferralInErrorRequest(id=sent.id, etag=sent.etag))
    assert [verb for verb, _ in asking.facts(enquiry)][-1] == "referred"
    assert asking.seen(asking.ngo, enquiry).state == e.ENQUIRY_STATE_MATCHED


@pytest.mark.parametrize("drafted", [False, True])
def test_an_enquiry_ends_when_the_person_withdraws_her_consent(
    asking: EnquiryScene, drafted: bool
) -> None:
    created = asking.story.contact()
    operator = asking.service.as_("hotline", "OPERATOR")
    enquiry = operator.CreateEnquiry(
        e.CreateEnquiryRequest(
            **ASKED,
            content=CONTENT,
            service_ids=[SERVICE["shelter_bed"]],
            contact_id=created.contact.id,
        )
    )
    if drafted:
        asking.answer("shelter", enquiry, "yes")
        asking.take(enquiry, client=operator)
        person = operator.CreatePerson(people_pb2.CreatePersonRequest())
        operator.CreateReferral(
            pb.CreateReferralRequest(person_id=person.id, enquiry_id=enquiry.id)
        )
    asking.service.public().WithdrawConsentByReference(
        contacts_pb2.WithdrawConsentByReferenceRequest(reference=created.reference, pin=created.pin)
    )
    stored = asking.seen(operator, enquiry)
    assert (stored.state, stored.reason_code) == (e.ENQUIRY_STATE_CANCELLED, "consent_withdrawn")


def withdraw(client: Client, receipt: people_pb2.Receipt) -> None:
    client.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=receipt.id))


def test_the_enquiries_of_a_file_end_when_its_last_consent_is_withdrawn(
    asking: EnquiryScene,
) -> None:
    operator = asking.ngo = asking.service.as_("hotline", "OPERATOR")
    story = replace(asking.story, ngo=operator)
    person, contact, other = story.person(), story.contact().contact, story.person()
    operator.UpdateContact(
        contacts_pb2.UpdateContactRequest(
            contact=contacts_pb2.Contact(id=contact.id, etag=contact.etag, person_id=person.id),
            update_mask=FieldMask(paths=["person_id"]),
        )
    )
    of_file, of_contact = asking.create(person_id=person.id), asking.create(contact_id=contact.id)
    of_nobody, of_another = asking.create(), asking.create(person_id=other.id)
    asking.answer("shelter", of_file, "yes")
    asking.take(of_file)
    at_shelter = story.receipt(person.id)
    at_clinic = story.receipt(person.id, recipient=ORG["clinic"], purposes=["MED"])

    withdraw(operator, at_shelter)
    assert asking.seen(operator, of_file).state == e.ENQUIRY_STATE_MATCHED
    assert asking.seen(operator, of_contact).state == e.ENQUIRY_STATE_OPEN
    withdraw(asking.clinic, at_clinic)  # the person told it to her clinic
    for enquiry in (of_file, of_contact):
        stored = asking.seen(operator, enquiry)
        assert (stored.state, stored.reason_code) == (
            e.ENQUIRY_STATE_CANCELLED,
            "consent_withdrawn",
        )
        assert not asking.seen(asking.shelter, enquiry).HasField("content")
    verb, fact = asking.facts(of_file)[-1]
    assert (verb, fact.service_organization_id, fact.actor_organization_id) == (
        "cancelled",
        ORG["shelter"],
        "",
    ), "the shelter keeps no place, and the asker is notified"
    for enquiry in (of_nobody, of_another):
        assert asking.seen(operator, enquiry).state == e.ENQUIRY_STATE_OPEN


@pytest.mark.usefixtures("abroad")
def test_an_enquiry_of_another_line_continues_when_a_file_has_no_consent_left(
    asking: EnquiryScene,
) -> None:
    created, operator = asking.story.contact(), asking.service.as_("hotline", "OPERATOR")
    sent, _ = referral_for(asking.story, created)
    asking.ngo = operator_of(asking.story, "clinic")
    again = call_again(asking.story, created, "clinic")
    enquiry = asking.create(contact_id=again.contact.id)
    withdraw(operator, people_pb2.Receipt(id=sent.receipt_id))
    assert asking.seen(asking.ngo, enquiry).state == e.ENQUIRY_STATE_OPEN


def test_an_enquiry_continues_when_the_person_stops_only_one_request_by_her_reference(
    asking: EnquiryScene,
) -> None:
    created = asking.story.contact()
    sent, operator = referral_for(asking.story, created)
    asking.ngo = operator
    enquiry = asking.create(person_id=sent.person_id)
    [item] = status(asking.service.public(), created).items
    asking.service.public().WithdrawConsentByReference(
        contacts_pb2.WithdrawConsentByReferenceRequest(
            reference=created.reference, pin=created.pin, item_key=item.key
        )
    )
    [item] = status(asking.service.public(), created).items
    assert not item.may_withdraw
    assert asking.seen(operator, enquiry).state == e.ENQUIRY_STATE_OPEN


def test_a_caller_may_stop_an_enquiry_by_her_reference_before_any_consent(
    asking: EnquiryScene,
) -> None:
    created = asking.story.contact()
    asking.ngo = asking.service.as_("hotline", "OPERATOR")
    public = asking.service.public()
    assert not status(public, created).may_withdraw
    enquiry = asking.create(contact_id=created.contact.id)
    assert status(public, created).may_withdraw
    public.WithdrawConsentByReference(
        contacts_pb2.WithdrawConsentByReferenceRequest(reference=created.reference, pin=created.pin)
    )
    assert asking.seen(asking.ngo, enquiry).state == e.ENQUIRY_STATE_CANCELLED
    assert not status(public, created).may_withdraw


# Lists.


def test_each_side_lists_its_own_enquiries_and_those_awaiting_its_turn(
    asking: EnquiryScene,
) -> None:
    first, second = asking.create(), asking.create()
    asking.answer("shelter", first, "yes")
    made, received = e.ENQUIRY_BOX_ASKED, e.ENQUIRY_BOX_RECEIVED
    assert (
        set(contents(asking.ngo, made))
        == set(contents(asking.shelter, received))
        == {first.id, second.id}
    )
    assert contents(asking.ngo, received) == contents(asking.shelter, made) == []
    assert contents(asking.ngo, made, waiting_for_me=True) == [first.id]
    assert contents(asking.shelter, received, waiting_for_me=True) == [second.id]
    asking.take(first)
    assert contents(asking.ngo, made, states=[e.ENQUIRY_STATE_MATCHED]) == [first.id]
    assert contents(asking.shelter, received, states=[e.ENQUIRY_STATE_OPEN]) == [second.id]


def test_an_own_enquiry_is_live_until_a_referral_follows_it_or_it_ends(
    asking: EnquiryScene,
) -> None:
    unanswered, taken, followed, cancelled = (asking.create() for _ in range(4))
    for enquiry in (taken, followed):
        asking.answer("shelter", enquiry, "yes")
        asking.take(enquiry)
    asking.refer(followed)
    asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=cancelled.id, etag=cancelled.etag))
    assert set(contents(asking.ngo, e.ENQUIRY_BOX_ASKED, live=True)) == {unanswered.id, taken.id}


def test_enquiries_about_a_person_are_listed_with_the_organisations_that_still_hold_their_data(
    asking: EnquiryScene,
) -> None:
    asking.ngo = asking.service.as_("hotline", "OPERATOR")
    story = replace(asking.story, ngo=asking.ngo)
    person, contact = story.person(), story.contact().contact
    changed = contacts_pb2.Contact(id=contact.id, etag=contact.etag, person_id=person.id)
    mask = FieldMask(paths=["person_id"])
    asking.ngo.UpdateContact(
        contacts_pb2.UpdateContactRequest(
            contact=changed, update_mask=mask, request_id=story.request_id()
        )
    )
    first, second = asking.create(person_id=person.id), asking.create(contact_id=contact.id)
    asking.create(person_id=story.person().id)
    asking.create()
    listed = asking.ngo.ListEnquiries(e.ListEnquiriesRequest(person_id=person.id)).enquiries
    assert {enquiry_.id for enquiry_ in listed} == {first.id, second.id}
    assert {offer.holds_content for enquiry_ in listed for offer in enquiry_.offers} == {True}
    asking.answer("shelter", first, "yes")
    asking.take(first)
    asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=second.id, etag=second.etag))
    listed = asking.ngo.ListEnquiries(e.ListEnquiriesRequest(person_id=person.id)).enquiries
    holding = [
        (enquiry_.id, offer.organization_id)
        for enquiry_ in listed
        for offer in enquiry_.offers
        if offer.holds_content
    ]
    assert holding == [(first.id, ORG["shelter"])]
    assert not asking.shelter.ListEnquiries(e.ListEnquiriesRequest(person_id=person.id)).enquiries


def test_enquiries_are_listed_in_pages(asking: EnquiryScene) -> None:
    created = []
    for _ in range(5):
        created.append(asking.create().id)
        asking.service.clock.advance(timedelta(seconds=1))
    for client, box in ((asking.ngo, e.ENQUIRY_BOX_ASKED), (asking.clinic, e.ENQUIRY_BOX_RECEIVED)):
        ids, token = [], ""
        while True:
            answer = client.ListEnquiries(
                e.ListEnquiriesRequest(box=box, page_size=2, page_token=token)
            )
            ids += [enquiry.id for enquiry in answer.enquiries]
            token = answer.next_page_token
            if not token:
                break
        assert ids == created[::-1]


# The leak budget.


def preview(
    asking: EnquiryScene, content: e.EnquiryContent = CONTENT, client: Client | None = None
) -> e.EnquiryPreview:
    request = e.PreviewEnquiryRequest(content=content, service_ids=SERVICES)
    answer: e.EnquiryPreview = (client or asking.ngo).PreviewEnquiry(request)
    return answer


@pytest.mark.usefixtures("without_noise")
def test_a_preview_shows_how_many_are_asked_and_whether_the_person_could_be_recognised(
    asking: EnquiryScene,
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_URGENT,
        languages=["miq"],
        department="NI-AN",
        country="NI",
    )
    response = preview(asking, content)
    assert (response.service_count, response.organization_count) == (2, 2)
    assert (response.few, response.similar_cases) == (True, 0)
    assert response.coarser_attribute in (
        e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
        e.ENQUIRY_ATTRIBUTE_LANGUAGES,
    )
    assert asking.rows("SELECT 1 FROM enquiries") == []


def make_enquiries(
    asking: EnquiryScene, content: e.EnquiryContent, members_: int, status: str = "APPROVED"
) -> None:
    """Makes an open enquiry by each of `members_` other members."""
    for _ in range(members_):
        organization_id = new_id()
        with asking.service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", organization_id, True, status, "NGO")
        client = replace(
            asking.ngo, caller=Caller(new_id(), "worker", organization_id, frozenset({"WORKER"}))
        )
        client.CreateEnquiry(
            e.CreateEnquiryRequest(**ASKED, content=content, service_ids=SERVICES, keep_unused=True)
        )


@pytest.mark.usefixtures("without_noise")
def test_similar_cases_count_other_members_and_are_never_exact(
    asking: EnquiryScene,
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG", urgency=pb.URGENCY_URGENT, languages=["cab"], country="NI"
    )
    for _ in range(20):
        asking.create(content, keep_unused=True)
    assert preview(asking, content).few
    assert preview(asking, content, asking.service.as_("hotline", "OPERATOR")).few, (
        "twenty enquiries of one member count once"
    )
    make_enquiries(asking, content, 40, "PROBATION")
    assert preview(asking, content).few, "a member on probation is not counted"
    make_enquiries(asking, content, 40)
    response = preview(asking, content)
    assert (response.few, response.similar_cases % 5, response.coarser_attribute) == (False, 0, 0)
    assert 20 < response.similar_cases <= 50


def test_attributes_that_no_service_uses_are_named_and_omitted_unless_kept(
    asking: EnquiryScene,
) -> None:
    def note(uses: list[Attribute] | None) -> None:
        with asking.service.database.transaction(SYSTEM) as tx:
            for name, owner in (("shelter_bed", "shelter"), ("clinic_visit", "clinic")):
                members.note_service(tx, SERVICE[name], ORG[owner], True, uses)

    assert list(preview(asking).unused_attributes) == [], "an unknown attribute may matter"
    note([Attribute.AGE_BAND, Attribute.GENDER])
    try:
        unused = {
            e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
            e.ENQUIRY_ATTRIBUTE_LANGUAGES,
            e.ENQUIRY_ATTRIBUTE_DEPENDANTS,
        }
        assert set(preview(asking).unused_attributes) == unused
        created = asking.create()
        assert (created.content, set(created.left_out_attributes)) == (CONTENT, unused), (
            "the asker keeps the data for the referral"
        )
        content = asking.seen(asking.shelter, created).content
        assert (content.department, list(content.languages), content.HasField("dependants")) == (
            "",
            [],
            False,
        )
        assert (content.age_band, content.gender_code) == (CONTENT.age_band, CONTENT.gender_code)
        assert asking.seen(asking.shelter, asking.create(keep_unused=True)).content == CONTENT
    finally:
        note(None)


def test_previews_are_limited_so_that_nobody_can_be_searched_for(asking: EnquiryScene) -> None:
    searcher = asking.service.as_("ngo", "WORKER", "MANAGER")
    for _ in range(60):
        preview(asking, client=searcher)
    assert refusal(lambda: preview(asking, client=searcher)) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
    )


def test_enquiries_dated_by_a_fast_clock_do_not_count_for_longer_than_a_day(
    asking: EnquiryScene,
) -> None:
    right = asking.service.clock.now()
    with asking.service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["ngo"], True, "PROBATION", "NGO")
    try:
        asking.service.clock.advance(timedelta(hours=20))
        for _ in range(5):
            created = asking.create()
            asking.ngo.CancelEnquiry(e.CancelEnquiryRequest(id=created.id, etag=created.etag))
        asking.service.clock.set(right)
        asking.create()
    finally:
        with asking.service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["ngo"], True, "APPROVED", "NGO")


@pytest.mark.parametrize(("step", "ends"), [("taken", True), ("drafted", True), ("sent", False)])
def test_the_taken_offer_of_a_service_that_left_the_directory_ends_unless_its_referral_was_sent(
    asking: EnquiryScene, step: str, ends: bool
) -> None:
    enquiry = asking.create()
    for name in ("shelter", "clinic"):
        asking.answer(name, enquiry, "yes")
    asking.take(enquiry)
    if step != "taken":
        draft = asking.refer(enquiry)
    if step == "sent":
        receipt = asking.story.receipt(draft.person_id)
        asking.ngo.SendReferral(
            pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        )
    hear = Hearing(asking.service)
    hear.service_of("shelter_bed", "shelter", False)
    hear.service_of("shelter_bed", "shelter", True)
    stored = asking.seen(asking.ngo, enquiry)
    assert (stored.state, stored.reason_code, stored.taken_service_id) == (
        (e.ENQUIRY_STATE_CANCELLED, "offer_gone", "")
        if ends
        else (e.ENQUIRY_STATE_MATCHED, "", SERVICE["shelter_bed"])
    )
    if ends:
        fact = asking.facts(enquiry)[-1][1]
        assert fact.service_organization_id == ORG["shelter"], "it keeps no place"

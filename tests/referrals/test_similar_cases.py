"""A searcher who invents people learns nothing beyond the leak budget.

Only enquiries of others count, each sender once, and the noise of a question never changes.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from chassis.db import Transaction
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.domain.service import Attribute
from services.referrals.network.store import members
from services.referrals.referrals.domain import enquiry as rules
from services.referrals.referrals.domain.enquiry import (
    ENOUGH,
    MAX_SIMILAR_CASES,
    Content,
    disclosed_count,
)
from services.referrals.referrals.store import enquiries as store
from tests.builders import NOTHING_UNSAFE
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_enquiries import SERVICES

NETWORK_COUNT, SENDER_COUNT = 200, 25
SEARCHER = ORG["ngo"]
DEPARTMENTS = ("AN", "CI", "MN")
LANGUAGES = ("es", "miq")
AGES = ("12-17", "18-24")
GENDERS = ("Feminine", "Masculine")
CHANCE = 0.5
# In one of a thousand runs, more than 65 of a hundred random guesses are right.
LEAK_BUDGET = 0.65


@pytest.mark.usefixtures("without_noise")
def test_four_invented_people_do_not_reveal_whether_a_fifth_is_like_them(
    story: Story, service: Service
) -> None:
    attributes = pb.CoarsePerson(
        age_band=pb.AGE_BAND_18_TO_24,
        gender_code=pb.PERSON_GENDER_FEMININE,
        language="miq",
        dependants=1,
        country="NI",
        department="NI-AN",
    )
    assert len({refer_invented_person(story, attributes).id for _ in range(4)}) == 4
    before = preview(story.ngo, content_like(attributes))
    service.as_("hotline", "OPERATOR").CreateEnquiry(
        **NOTHING_UNSAFE, content=content_like(attributes), service_ids=SERVICES, keep_unused=True
    )
    after = preview(story.ngo, content_like(attributes))
    assert (before.few, before.similar_cases) == (True, 0)
    assert (after.few, after.similar_cases, after.coarser_attribute) == (
        before.few,
        before.similar_cases,
        before.coarser_attribute,
    )


def refer_invented_person(story: Story, attributes: pb.CoarsePerson) -> pb.Referral:
    """Sends a referral of an invented person to an accomplice."""
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
    return story.sent(person=story.ngo.CreatePerson(coarse=attributes, safe_contact=plan))


def content_like(attributes: pb.CoarsePerson) -> e.EnquiryContent:
    return e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_EMERGENCY,
        age_band=attributes.age_band,
        gender_code=attributes.gender_code,
        languages=[attributes.language],
        dependants=attributes.dependants,
        country=attributes.country,
        department=attributes.department,
    )


def preview(client: Client, content: e.EnquiryContent) -> e.EnquiryPreview:
    answer: e.EnquiryPreview = client.PreviewEnquiry(
        content=content, service_ids=SERVICES, keep_unused=True
    )
    return answer


def keyed_count(count: int, digest: bytes) -> int:
    """Returns a count that differs for each question, whereas the real noise is mostly 0."""
    return ENOUGH + int.from_bytes(digest[:4])


def test_equivalent_questions_get_the_same_answer_however_often_they_are_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_similar = service.made.enquiries.count_similar
    content = Content(
        "HOU.EMG", Urgency.NORMAL, "18-24", languages=("es",), country="NI", department="NI-CI"
    )
    questions = [
        content,
        content,
        replace(
            content,
            need_code="MED.CHK",
            urgency=Urgency.IMMEDIATE,
            accessibility_codes=("step_free",),
        ),  # these are not counted
        replace(content, country=""),  # the department implies the country
        replace(content, languages=("es", "es")),
    ]
    with service.database.transaction(SYSTEM) as tx:
        assert len({count_similar(tx, question, SEARCHER) for question in questions}) == 1
        monkeypatch.setattr(rules, "disclosed_count", keyed_count)
        assert len({count_similar(tx, question, SEARCHER) for question in questions}) == 1
        other = replace(content, department="NI-LE")
        assert count_similar(tx, other, SEARCHER) != count_similar(tx, content, SEARCHER)


def test_adding_a_language_that_nobody_speaks_gives_no_second_answer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "disclosed_count", keyed_count)

    def count(*languages: str) -> int:
        content = Content("HOU.EMG", Urgency.NORMAL, languages=languages, country="NI")
        return service.in_transaction(service.made.enquiries.count_similar, content, SEARCHER)[0]

    for number in range(20):
        invented_language = f"x{number:02}"
        assert count("es", invented_language) == max(count("es"), count(invented_language))


def test_the_noise_hides_a_single_case_and_seldom_claims_cases_where_none_exist() -> None:
    rng = random.Random(11)
    digests = [rng.randbytes(32) for _ in range(20_000)]

    def share_shown(count: int) -> float:
        return sum(disclosed_count(count, digest) >= ENOUGH for digest in digests) / len(digests)

    assert share_shown(0) < 0.02
    assert share_shown(12) > 0.95
    for count in range(20):
        assert share_shown(count + 1) <= 2.2 * share_shown(count) + 0.005, (
            "no answer proves one more case"
        )
        assert 1 - share_shown(count) <= 2.2 * (1 - share_shown(count + 1)) + 0.005, (
            "no answer proves one case less"
        )
    assert {disclosed_count(999, digest) for digest in digests} == {MAX_SIMILAR_CASES}


def subsets(content: Content) -> Iterable[Content]:
    yield content
    yield from (content.without([attribute]) for attribute in Attribute)


def random_person(rng: random.Random, country: str) -> Content:
    """Returns the data of a random person: most people are alike, a few are not."""
    department = rng.choices(DEPARTMENTS, (2, 20, 2))[0]
    language = rng.choices(LANGUAGES, (20, 1))[0]
    return Content(
        "HOU.EMG",
        Urgency.NORMAL,
        age_band=rng.choices(AGES, (1, 6))[0],
        gender_code=rng.choices(GENDERS, (12, 1))[0],
        dependants=rng.choices((0, 1, 2), (6, 2, 1))[0],
        languages=(language,),
        country=country,
        department=f"{country}-{department}",
    )


def open_case(tx: Transaction, sender: str, content: Content) -> None:
    tx.execute(
        "INSERT INTO enquiries (id, organization_id, worker_id, version, state, need_code, urgency,"
        " age_band, gender_code, dependants, languages,"
        " accessibility_codes, country, department, left_out, excluded_organization_ids,"
        " contact_id, person_id, taken_service_id, referral_id,"
        " reason_code, reminded, start_time, create_time, update_time) VALUES (%s, %s, '', 1,"
        " 'open', 'HOU.EMG', 'normal', %s, %s, %s, %s, '{}', %s, %s,"
        " '{}', '{}', '', '', '', '', '', false, now(), now(), now())",
        (
            new_id(),
            sender,
            content.age_band,
            content.gender_code,
            content.dependants,
            list(content.languages),
            content.country,
            content.department,
        ),
    )


def share_guessed_right(answers: Sequence[tuple[Sequence[int], bool]]) -> float:
    """Returns the share of right guesses of an attacker.

    The attacker chooses the most revealing answer by one half of the networks, and then guesses for
    the other half.
    """
    half = len(answers) // 2
    rules = [
        (number, threshold, negated)
        for number in range(len(answers[0][0]))
        for threshold in (1, ENOUGH, 2 * ENOUGH, 3 * ENOUGH, 4 * ENOUGH)
        for negated in (False, True)
    ]

    def share_right(
        rule: tuple[int, int, bool], answers: Sequence[tuple[Sequence[int], bool]]
    ) -> float:
        number, threshold, negated = rule
        return sum(
            ((figures[number] >= threshold) != negated) == case_exists
            for figures, case_exists in answers
        ) / len(answers)

    best = max(rules, key=lambda rule: share_right(rule, answers[:half]))
    return share_right(best, answers[half:])


@pytest.fixture(scope="module")
def senders(service: Service) -> list[str]:
    """Adds members that send, and two that the searcher invented, on probation."""
    created = [new_id() for _ in range(SENDER_COUNT)]
    with service.database.transaction(SYSTEM) as tx:
        for sender in created:
            members.note_member(tx, "organization", sender, True, "APPROVED", "NGO")
        for front in FRONTS:
            members.note_member(tx, "organization", front, True, "PROBATION", "NGO")
    return created


FRONTS = [new_id(), new_id()]


def test_a_searcher_guesses_right_no_more_often_than_the_leak_budget_allows(
    service: Service, senders: list[str]
) -> None:
    rng = random.Random(20)
    results: list[tuple[list[int], bool]] = []
    exact_results: list[tuple[list[int], bool]] = []
    for number in range(NETWORK_COUNT):
        country, case_exists = f"{number:03}", rng.random() < CHANCE
        target = Content(
            "HOU.EMG",
            Urgency.NORMAL,
            "12-17",
            "Masculine",
            2,
            ("miq",),
            (),
            country,
            f"{country}-MN",
        )
        with service.database.transaction(SYSTEM) as tx:
            for _ in range(rng.randrange(60)):
                open_case(tx, rng.choice(senders), random_person(rng, country))
            if case_exists:
                open_case(tx, rng.choice(senders), target)
            questions = list(subsets(target))
            before = [
                service.made.enquiries.count_similar(tx, content, SEARCHER)[0]
                for content in questions
            ]
            for _ in range(4):
                for sender in (SEARCHER, *FRONTS):
                    open_case(tx, sender, target)
            after = [
                service.made.enquiries.count_similar(tx, content, SEARCHER) for content in questions
            ]
            assert [figure for figure, _ in after] == before, "invented people change no count"
            coarser = [list(Attribute).index(name) + 1 if name else 0 for _, name in after]
            results.append(([*before, *coarser], case_exists))
            counts = [store.count_alike(tx, content, SEARCHER)[0] for content in questions]
            exact_results.append((counts, case_exists))
    assert share_guessed_right(exact_results) > 0.9, "an exact count would have revealed the case"
    assert share_guessed_right(results) <= LEAK_BUDGET

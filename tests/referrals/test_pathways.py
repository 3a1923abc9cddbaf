"""The texts of pathways: those shipped, the line number in a refusal, and publication."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest

import services
from chassis.languages import LANGUAGES, in_language
from chassis.wire import words
from protos.referrals.v1 import contacts_pb2
from services.referrals.plans.domain.pathway import NEEDS, LegKind, Pathway, Step, read
from services.referrals.plans.usecases.pathways import LISTS, SHIPPED, parse, shipped_pathways
from tests.builders import NOT_FOUND, refusal, violations_of, wrong_fields
from tests.referrals.conftest import Service, Story

TEXT = """\
id: short
version: 1
names: {es: Corta, en: Short, fr: Courte}
for_whom:
  needs: [HOU]
  countries: [NI]
steps:
  - key: bed
    names: {es: Cama, en: Bed, fr: Lit}
    need: HOU.EMG
    role: shelter
    deadline: {hours: 12}
    legal_basis: [palermo_6_3]
  - key: doctor
    names: {es: Médico, en: Doctor, fr: Médecin}
    need: MED.PRI
    role: health_service
    after: [bed]
    documents: [medical_consent]
    deadline: {days: 3, from: bed}
    legal_basis: [coe_12]
"""


def text_violations(text: str) -> list[tuple[str, str]]:
    """Returns (path, reason) of each error in the text of a pathway."""
    return violations_of(lambda: read(parse(text), LISTS, text))


def test_pathways_are_shipped_in_three_languages_with_a_legal_basis_for_each_step() -> None:
    pathways = shipped_pathways()
    for pathway in pathways.values():
        assert pathway.version == 1
        for names in (pathway.names, *(step.names for step in pathway.steps)):
            assert set(names) >= {"es", "en", "fr"}
        assert all(step.legal_basis_codes and step.deadline for step in pathway.steps)
    keys = [step.key for step in pathways["return_and_reintegration"].steps]
    assert (
        keys
        == (
            "risk_check travel_papers travel reception housing medical_check first_aid"
            " documents family livelihood follow_up_1 follow_up_3 follow_up_6 follow_up_12"
        ).split()
    )


def test_every_pathway_that_a_triage_opens_is_shipped() -> None:
    assert (
        shipped_pathways().keys()
        == {*words(contacts_pb2.Pathway.DESCRIPTOR).values()}
        == {"return_and_reintegration", "protection_on_the_line", "sexual_violence_120h", "child"}
    )


def test_a_pathway_can_name_exactly_the_needs_of_the_taxonomy() -> None:
    taxonomy = Path(services.__file__).parent / "partners" / "directory" / "data" / "taxonomy.json"
    assert {term["code"] for term in json.loads(taxonomy.read_text())} == NEEDS


@pytest.mark.parametrize(
    ("before", "after", "line", "reason"),
    [
        ("need: HOU.EMG", "need: HOU.BED", 10, "unknown_code"),
        ("role: shelter", "role: angel", 11, "unknown_code"),
        ("[palermo_6_3]", "[palermo_6_9]", 13, "unknown_code"),
        ("[medical_consent]", "[medical_consent, a_letter]", 19, "unknown_code"),
        ("needs: [HOU]", "needs: [HOU, XYZ]", 5, "unknown_code"),
        ("    role: shelter", "    rule: shelter", 11, "unknown_field"),
        (
            "names: {es: Cama, en: Bed, fr: Lit}",
            "names: {es: Cama, en: Bed}",
            9,
            "language_missing",
        ),
        (
            "names: {es: Cama, en: Bed, fr: Lit}",
            "names: {es: Cama, en: Bed, fr: ''}",
            9,
            "language_missing",
        ),
        (
            "names: {es: Cama, en: Bed, fr: Lit}",
            "names: {es: Cama, en: Bed, fr: Lit, xx: Cama}",
            9,
            "unknown_field",
        ),
        ("after: [bed]", "after: [sofa]", 18, "unknown_step"),
        ("days: 3, from: bed", "days: 3, from: sofa", 20, "unknown_step"),
        ("deadline: {hours: 12}", "after: [doctor]", 8, "cycle"),
        ("deadline: {hours: 12}", "deadline: {hours: 12, from: bed}", 8, "cycle"),
        ("key: doctor", "key: bed", 14, "repeated"),
        ("    role: shelter", "    role: shelter\n    role: shelter", 12, "repeated"),
        ("deadline: {hours: 12}", "deadline: {hours: 12, days: 1}", 12, "repeated"),
        ("deadline: {hours: 12}", "deadline: {hours: 0}", 12, "out_of_range"),
        ("deadline: {hours: 12}", "deadline: {days: 99999}", 12, "out_of_range"),
        ("deadline: {hours: 12}", "deadline: {days: 1099}", 12, "out_of_range"),
        ("deadline: {hours: 12}", "deadline: {hours: soon}", 12, "malformed"),
        ("    role: shelter", "    role: shelter\n    leg: arrival", 12, "required"),
        ("version: 1", "version: one", 2, "malformed"),
        ("version: 1", "version: 0", 2, "out_of_range"),
        ("id: short", "id: Short", 1, "malformed"),
        ("key: doctor", "key: Doctor", 14, "malformed"),
        ("  needs: [HOU]\n  countries: [NI]", "  - HOU", 5, "malformed"),
        (TEXT.partition("steps:")[2], " []", 7, "too_short"),
        ("countries: [NI]", "countries: [Nicaragua]", 6, "malformed"),
        ("after: [bed]", "after: bed", 18, "malformed"),
        ("after: [bed]", "after: [[[[[[[[[[bed]]]]]]]]]]", 18, "malformed"),
        ("after: [bed]", "after: &x [bed]\n    documents: *x", 19, "malformed"),
        ("after: [bed]", "after: [bed", 19, "malformed"),
        ("es: Corta", f"es: {'x' * 201}", 3, "too_long"),
    ],
)
def test_an_error_in_a_pathway_is_reported_with_its_line(
    before: str, after: str, line: int, reason: str
) -> None:
    assert before in TEXT
    assert (f"text.{line}", reason) in text_violations(TEXT.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("es: Corta", f"es: {'x' * 200}"),
        ("deadline: {hours: 12}", "deadline: {days: 1098}"),
        ("deadline: {hours: 12}", "deadline: {hours: 1}"),
    ],
)
def test_the_longest_name_and_the_shortest_and_longest_deadline_are_accepted(
    before: str, after: str
) -> None:
    read(parse(TEXT.replace(before, after, 1)), LISTS)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", "- a\n- b", "id", "steps: []", "\t", "{", "!!python/object:os.system {}"],
)
def test_a_text_that_is_no_pathway_is_refused(text: str) -> None:
    assert all(field.startswith("text.") for field, _ in text_violations(text))


def test_a_pathway_has_everything_that_its_text_states() -> None:
    text = (
        TEXT.replace("[NI]", "[NI, SV]\n  age_bands: [0-11, 12-17]\n  urgencies: [emergency]")
        .replace("role: shelter", "role: shelter\n    leg: departure")
        .replace("after: [bed]", "after: [bed]\n    leg: arrival")
    )
    bed = Step(
        "bed",
        {"es": "Cama", "en": "Bed", "fr": "Lit"},
        "HOU.EMG",
        "shelter",
        legal_basis_codes=("palermo_6_3",),
        deadline=timedelta(hours=12),
        leg=LegKind.DEPARTURE,
    )
    doctor = Step(
        "doctor",
        {"es": "Médico", "en": "Doctor", "fr": "Médecin"},
        "MED.PRI",
        "health_service",
        ("bed",),
        ("medical_consent",),
        ("coe_12",),
        timedelta(days=3),
        "bed",
        LegKind.ARRIVAL,
    )
    assert read(parse(text), LISTS, text) == Pathway(
        "short",
        1,
        {"es": "Corta", "en": "Short", "fr": "Courte"},
        (bed, doctor),
        ("HOU",),
        ("0-11", "12-17"),
        ("emergency",),
        ("NI", "SV"),
        text,
    )


@pytest.mark.parametrize(
    ("bands", "age_band", "accepted"),
    [
        ((), "0-11", True),
        (("12-17",), "12-17", True),
        (("12-17",), "25-59", True),  # her child may be the reason
        (("12-17",), "", True),
        (("18-24",), "12-17", False),
        (("12-17",), "0-11", False),
    ],
)
def test_a_child_follows_no_pathway_for_other_ages(
    bands: tuple[str, ...], age_band: str, accepted: bool
) -> None:
    assert replace(read(parse(TEXT), LISTS), age_bands=bands).takes(age_band) is accepted


STEP = TEXT[TEXT.index("  - key: bed") : TEXT.index("  - key: doctor")]


@pytest.mark.parametrize(
    ("before", "items", "separator", "maximum", "line"),
    [
        ("NI", ["NI"] * 50 + ["beyond the end"], ", ", 50, 6),
        # sixty steps, together with the step `doctor`
        (STEP, [STEP.replace("key: bed", f"key: bed{n}") for n in range(60)], "", 59, 8),
    ],
)
def test_a_list_in_a_pathway_has_a_maximum_length(
    before: str, items: list[str], separator: str, maximum: int, line: int
) -> None:
    text = TEXT.replace("after: [bed]", "after: []").replace(", from: bed", "")
    full = text.replace(before, separator.join(items[:maximum]), 1)
    read(parse(full), LISTS, full)
    assert text_violations(text.replace(before, separator.join(items), 1)) == [
        (f"text.{line}", "too_long")
    ]


def test_a_pathway_needs_the_version_that_is_next_for_its_id() -> None:
    next_versions = {"short": 2}
    second_version = TEXT.replace("version: 1", "version: 2")
    assert read(parse(second_version), LISTS, version=next_versions.__getitem__).version == 2
    assert violations_of(lambda: read(parse(TEXT), LISTS, version=next_versions.__getitem__)) == [
        ("text.2", "out_of_range")
    ]


def test_all_errors_are_reported_at_once() -> None:
    text = (
        TEXT.replace("need: HOU.EMG", "need: HOU.BED")
        .replace("role: health_service", "role: angel")
        .replace("fr: Lit", "")
    )
    assert {
        ("text.10", "unknown_code"),
        ("text.17", "unknown_code"),
        ("text.9", "language_missing"),
    } <= set(text_violations(text))


def test_a_missing_key_is_named() -> None:
    text = TEXT.replace("    need: HOU.EMG\n    role: shelter\n", "")
    assert text_violations(text) == [("text.8.need", "required"), ("text.8.role", "required")]
    text = TEXT.replace("deadline: {hours: 12}", "deadline: {from: doctor}")
    assert ("text.12.hours", "required") in text_violations(text)


def test_a_cycle_is_reported_for_its_own_steps_and_not_for_those_after_it() -> None:
    step = (
        "  - {{key: {0}, names: {{es: a, en: b, fr: c}}, need: HOU, role: shelter, legal_basis:"
        " [coe_12], after: [{1}]}}\n"
    )
    text = (
        TEXT.partition("steps:")[0]
        + "steps:\n"
        + "".join(step.format(*pair) for pair in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")))
    )
    assert text_violations(text) == [("text.8", "cycle"), ("text.9", "cycle"), ("text.10", "cycle")]


def test_a_name_may_be_given_in_a_new_language_and_is_otherwise_read_in_spanish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LANGUAGES, "qu", "Runasimi")
    assert in_language(read(parse(TEXT), LISTS).names, "qu") == "Corta"
    text = TEXT.replace("en: Short", "en: Short, qu: Wisi")
    assert in_language(read(parse(text), LISTS).names, "qu") == "Wisi"


@pytest.mark.parametrize("mistake", ["need: HOU.BED", "nead: HOU.EMG"])
def test_the_service_does_not_start_with_an_invalid_pathway_file(
    mistake: str, tmp_path: Path
) -> None:
    (tmp_path / "short.yaml").write_text(TEXT.replace("need: HOU.EMG", mistake))
    with pytest.raises(ValueError, match=r"short\.yaml: .*line 10: unknown_"):
        shipped_pathways(tmp_path)
    (tmp_path / "short.yaml").rename(tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text(TEXT)
    with pytest.raises(ValueError, match="its id is short"):
        shipped_pathways(tmp_path)


def test_a_coordinator_publishes_the_next_version_and_everybody_sees_it(story: Story) -> None:
    text = (
        (SHIPPED / "child.yaml")
        .read_text()
        .replace("version: 1", "version: 2")
        .replace("hours: 24", "hours: 12")
    )
    created = story.coordinator.PublishPathway(text=text)
    assert (created.id, created.version, created.text) == ("child", 2, text)
    for reader in (
        story.ngo,
        story.coordinator,
        story.service.as_("coalition", "AUDITOR"),
        story.service.as_("ngo", scopes=("directory.read",)),
    ):
        [child] = [pathway for pathway in reader.ListPathways().pathways if pathway.id == "child"]
        assert (child.version, child.steps[0].deadline_hours, child.text) == (2, 12, "")
        assert reader.GetPathway(id="child", version=1).steps[0].deadline_hours == 24
        versions = reader.ListPathwayVersions(id="child").versions
        assert [(version.version, version.HasField("publish_time")) for version in versions] == [
            (2, True),
            (1, False),
        ]


def test_a_new_pathway_can_be_published_as_the_first_version(story: Story) -> None:
    published = story.coordinator.PublishPathway(text=TEXT)
    assert (published.version, published.countries, published.steps[1].after_keys) == (
        1,
        ["NI"],
        ["bed"],
    )
    story.coordinator.PublishPathway(text=TEXT.replace("version: 1", "version: 2"))
    versions = story.ngo.ListPathwayVersions(id="short").versions
    assert [version.version for version in versions] == [2, 1]


def test_the_refusal_of_a_pathway_names_its_invalid_line_and_publishes_nothing(
    story: Story,
) -> None:
    wrong_need = TEXT.replace("id: short", "id: wrong").replace("need: HOU.EMG", "need: HOU.BED")
    # the first version of this pathway exists already
    repeated = (SHIPPED / "return_and_reintegration.yaml").read_text()
    line = repeated.splitlines().index("version: 1") + 1
    for text, violation in (
        (wrong_need, ("text.10", "unknown_code")),
        (repeated, (f"text.{line}", "out_of_range")),
    ):
        assert wrong_fields(partial(story.coordinator.PublishPathway, text=text)) == [violation]
    assert refusal(lambda: story.ngo.GetPathway(id="wrong")) == NOT_FOUND


def test_one_of_two_concurrent_publications_of_a_version_is_refused(service: Service) -> None:
    def publish(organization: str) -> str:
        coordinator = service.as_(organization, "COORDINATOR")
        try:
            coordinator.PublishPathway(text=TEXT.replace("id: short", "id: raced"))
        except grpc.RpcError as error:
            return str(error.code().name)
        return "published"

    with ThreadPoolExecutor(2) as threads:
        results = threads.map(publish, ("coalition", "clinic"))
        assert sorted(results) == ["INVALID_ARGUMENT", "published"]


def test_an_unknown_pathway_or_version_is_not_found(story: Story) -> None:
    for act in (
        lambda: story.ngo.GetPathway(id="nothing"),
        lambda: story.ngo.GetPathway(id="child", version=99),
        lambda: story.ngo.ListPathwayVersions(id="nothing"),
    ):
        assert refusal(act) == NOT_FOUND

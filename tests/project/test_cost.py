"""What is counted of a change, and that the examples of docs/contributing.md keep to the goals."""

from __future__ import annotations

import pytest

from tests import cost

CONTRIBUTING = " ".join((cost.ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("protos/referrals/v1/referrals.proto", True),
        ("protos/referrals/v1/referrals_pb2.py", False),
        ("protos/referrals/v1/referrals_pb2.pyi", False),
        ("protos/referrals/v1/referrals_pb2_grpc.py", False),
        ("protos/referrals/v1/referrals_pb2_grpc.pyi", False),
        ("protos/comments.json", False),
        ("protos/generate.py", True),
        ("protos/README.md", False),
        ("services/referrals/domain/lifecycle.py", True),
        ("services/referrals/migrations/20261127000001_appointments.sql", True),
        ("services/partners/data/taxonomy.json", True),
        ("services/gateway/site/templates/referral.html", True),
        ("services/gateway/site/static/enlace.css", True),
        ("services/gateway/site/language/translations/en/LC_MESSAGES/messages.po", False),
        ("chassis/wire.py", True),
        ("deploy/k8s/base/kustomization.yaml", True),
        ("pyproject.toml", True),
        ("docs/openapi.json", False),
        ("docs/lifecycle.md", False),
        ("CHANGELOG.md", False),
        ("tests/referrals/test_lifecycle.py", False),
        ("demo/live.py", False),
        ("bench/transitions.py", False),
    ],
)
def test_what_is_written_by_hand_and_runs_counts(path: str, counts: bool) -> None:
    assert cost.is_counted(path) is counts


def test_a_file_counts_once_and_the_table_says_which() -> None:
    files = cost.counted(["services/b.py", "services/a.py", "services/b.py", "tests/test_a.py", "CHANGELOG.md"])
    assert files == ("services/a.py", "services/b.py")
    assert cost.table([cost.Cost("fact", "Something is told", files)]) == (
        "fact: 2 of 5 files · Something is told\n  services/a.py\n  services/b.py"
    )
    assert cost.table([]) == ""


def test_the_examples_in_the_history_keep_to_the_goals_and_are_named_on_the_page() -> None:
    examples = cost.known()
    if not examples:
        pytest.skip("no history here, or only its end")
    for example in examples:
        assert len(example.files) <= example.goal, cost.table([example])
    assert {example.kind for example in examples} >= {"step", "fact"}


def test_the_page_says_the_goals() -> None:
    for kind, goal in cost.GOALS.items():
        assert f"{kind} ≤ {goal}" in CONTRIBUTING, kind


def test_the_gateway_stays_small_for_what_it_serves() -> None:
    size = cost.gateway()
    assert min(size.pages, size.operations) > 150, "what is counted is there"
    assert size.lines_a_route <= cost.LINES_A_ROUTE, f"{size.lines} lines for {size.pages} pages and {size.operations} operations"

"""The documentation is complete: settings, metrics, commands, links and decisions."""

import re
import subprocess
from importlib import import_module
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CLUSTER = (ROOT / "deploy" / "k8s" / "README.md").read_text(encoding="utf-8")
SERVICES = ("partners", "referrals", "notifications")
CODE = ("chassis", "facts", "keys", "runtime", "services", "trail")
SETTING = re.compile(r"\b((?:ENLACE|KAFKA)_[A-Z0-9]+(?:_[A-Z]+)*)\b")


def readers_in_code() -> dict[str, set[str]]:
    """Returns the processes that read each setting, according to the config modules."""
    readers: dict[str, set[str]] = {}
    modules = {ROOT / "chassis" / "config.py": set(SERVICES)} | {
        file: {file.parent.name} for file in (ROOT / "services").glob("*/config.py")
    }
    for file, names in modules.items():
        for setting in re.findall(r"\"((?:ENLACE|KAFKA)_[A-Z0-9_]+)\"", file.read_text("utf-8")):
            readers.setdefault(setting, set()).update(names)
    return readers


def readers_in_table() -> dict[str, set[str]]:
    """Returns the processes that read each setting, according to the table's first two columns."""
    table = OPERATIONS.split("## Settings")[1].split("\n## ")[0]
    words = {"all": {*SERVICES, "gateway"}, "services": set(SERVICES), "`migrate`": set(SERVICES)}
    return {
        name: set[str]().union(
            *(words.get(word, {word}) for word in row.split("|")[2].strip().split(", "))
        )
        for row in table.splitlines()
        if row.startswith("| `")
        for name in SETTING.findall(row.split("|")[1])
    }


def test_the_settings_table_names_each_setting_with_the_processes_that_read_it() -> None:
    assert readers_in_table() == readers_in_code()


def test_the_operations_page_names_only_existing_settings() -> None:
    existing = readers_in_code().keys()
    assert {
        name if name in existing else name.removesuffix("_FILE")
        for name in SETTING.findall(OPERATIONS)
    } <= existing


def test_every_metric_is_documented() -> None:
    metrics = {
        metric
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        for metric in re.findall(r"\"(enlace_\w+)\"", file.read_text("utf-8"))
    }
    assert "enlace_rpc_seconds" in metrics
    assert not [metric for metric in sorted(metrics) if f"`{metric}" not in OPERATIONS]


def test_the_page_names_each_loop_that_may_take_longer_than_the_others() -> None:
    slow_loops = {
        loop
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        for loop in re.findall(r"Loop\(\"([\w-]+)\",.*\blimit=", file.read_text("utf-8"))
    }
    row = next(row for row in OPERATIONS.splitlines() if "`enlace_loop_turn_age_seconds`" in row)
    assert "mail" in slow_loops
    assert not [loop for loop in sorted(slow_loops) if f"`{loop}`" not in row]


@pytest.mark.parametrize("service", SERVICES)
def test_every_command_is_documented(service: str) -> None:
    commands = set(commands_of(import_module(f"services.{service}.__main__").main))
    assert {
        "migrate",
        "serve",
        "doctor",
        "replay",
        "dead-letters list",
        "dead-letters redrive",
        "dead-letters discard",
    } <= commands
    pages = OPERATIONS + CLUSTER
    assert not [name for name in commands if not re.search(rf"services\.\w+ {name}\b", pages)]


def commands_of(group: click.Group, prefix: str = "") -> list[str]:
    """Returns the full names of all commands of a group, including those of its sub-groups."""
    commands = []
    for name, command in group.commands.items():
        commands += (
            commands_of(command, f"{prefix}{name} ")
            if isinstance(command, click.Group)
            else [prefix + name]
        )
    return commands


def test_every_link_of_the_readme_leads_somewhere_and_its_pictures_are_small() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    assert links
    assert not [link for link in links if link and not (ROOT / link).exists()]
    pictures = set((ROOT / "docs" / "pictures").iterdir())
    assert pictures == {ROOT / link for link in links if link.endswith(".png")}
    assert not [picture.name for picture in pictures if picture.stat().st_size > 120_000]


def pages_of_decisions() -> dict[int, Path]:
    """Returns the page of each decision by its number."""
    return {int(page.name[:4]): page for page in DECISIONS.glob("[0-9]*.md")}


def test_the_index_has_every_decision_by_number_and_title() -> None:
    rows = re.findall(
        r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$",
        (DECISIONS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    titles = {
        number: page.read_text(encoding="utf-8").splitlines()[0]
        for number, page in pages_of_decisions().items()
    }
    assert [(f"# {number}. {title}", name) for number, title, name in rows] == [
        (title, pages_of_decisions()[number].name) for number, title in sorted(titles.items())
    ]


def test_a_decision_is_at_most_a_page_long() -> None:
    assert not [
        page.name
        for page in pages_of_decisions().values()
        if len(page.read_text(encoding="utf-8").split()) > 350
    ]


def test_every_mention_of_a_decision_names_an_existing_one() -> None:
    pages = pages_of_decisions()
    existing = (
        {page.name for page in pages.values()}
        | {f"{number:04}" for number in pages}
        | {str(number) for number in pages}
    )
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = [
        name
        for name in tracked
        if name.endswith((".md", ".py", ".proto", ".sql", ".yaml", ".toml", ".html"))
        and (ROOT / name).exists()
    ]
    mention = re.compile(r"(?:\bdecisions/|\]\()(\d{4}(?:-[a-z0-9-]+\.md)?)|\bdecision (\d+)\b")
    mentions = [
        (name, match[1] or match[2])
        for name in files
        for match in mention.finditer((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert len(mentions) > 40
    assert [mention for mention in mentions if mention[1] not in existing] == []

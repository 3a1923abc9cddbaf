"""The promises of the protos.

Facts have no texts, rpcs are documented, topics are registered, and generated code is up to date.
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp

from protos import generate
from protos.notifications.v1 import facts_pb2 as notifications_facts
from protos.partners.v1 import facts_pb2 as partners_facts
from protos.referrals.v1 import facts_pb2 as referrals_facts
from protos.stubs import FILES
from services.referrals.network.wire import facts

ROOT = Path(__file__).resolve().parents[2]
FACTS = [
    message
    for module in (partners_facts, referrals_facts, notifications_facts)
    for message in module.DESCRIPTOR.message_types_by_name.values()
]
SHARED = ("chassis", "facts", "runtime", "trail")
CODES = ("_id", "_ids", "_code", "_codes")
SEALED = {
    "InvitationFact.sealed_letter",
    "ApplicationFact.sealed_letter",
    "AccountFact.sealed_letter",
}  # no others: docs/decisions/0018-nobody-makes-an-account-for-another.md has the reasons
NUMBERS = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
}


@pytest.mark.parametrize("message", FACTS, ids=lambda m: m.name)
def test_a_fact_carries_only_ids_codes_numbers_and_times(message: Descriptor) -> None:
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            assert field.name.endswith(CODES), f"{message.name}.{field.name} could hold a text"
        elif field.type == FieldDescriptor.TYPE_BYTES:
            assert f"{message.name}.{field.name}" in SEALED
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type == Timestamp.DESCRIPTOR, f"{message.name}.{field.name}"
        else:
            assert field.type in NUMBERS, f"{message.name}.{field.name}"


def test_every_rpc_has_a_comment_in_the_proto() -> None:
    for path in sorted((ROOT / "protos").glob("*/v1/*.proto")):
        for before, line in pairwise(path.read_text().splitlines()):
            if line.strip().startswith("rpc "):
                assert before.strip().startswith("//"), f"{path.name}: {line} has no comment"


def test_every_mutating_rpc_takes_a_request_id() -> None:
    reading_prefixes = (
        "Get",
        "List",
        "Search",
        "Match",
        "Count",
        "Batch",
        "Open",
        "Preview",
        "Watch",
        "Verify",
    )
    sign_in_rpcs = (
        "SignIn",
        "FinishSignIn",
        "BeginPasskeySignIn",
        "BeginProviderSignIn",
        "FinishProviderSignIn",
        "IssueToken",
        "EndSession",
    )
    assert [
        method.full_name
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.name.startswith(reading_prefixes)
        and method.name not in sign_in_rpcs
        and "request_id" not in method.input_type.fields_by_name
    ] == []


def test_every_topic_is_in_the_register_with_its_messages() -> None:
    register = (ROOT / "protos" / "README.md").read_text()
    topics = (facts.TOPIC, "enlace.partners.v1", "enlace.notifications.v1", "enlace.replays.v1")
    assert [topic for topic in topics if f"| `{topic}` |" not in register] == []
    assert [message.name for message in FACTS if f"`{message.name}`" not in register] == []


def test_every_source_names_only_registered_topics() -> None:
    register = (ROOT / "protos" / "README.md").read_text()
    grep = subprocess.run(
        ["git", "grep", "-hoE", r"\"enlace\.[a-z]+\.v1(\.dlq)?\"", "--", "services", *SHARED],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    grpc_packages = {f'"enlace.{name}.v1"' for name in ("partners", "referrals", "notifications")}
    for topic in set(grep.stdout.split()) - grpc_packages:
        assert topic.strip('"') in register, topic


def test_the_generated_code_is_up_to_date() -> None:
    subprocess.run([sys.executable, "-m", "protos.generate", "--check"], cwd=ROOT, check=True)
    assert generate.ROOT == ROOT


def test_the_protos_follow_the_style_that_buf_checks(tmp_path: Path) -> None:
    image = tmp_path / "protos.binpb"
    generate.describe(image)
    result = run_buf("lint", str(image), "--config", "buf.yaml", "--path", "protos")
    assert result.returncode == 0, result.stdout


def test_the_protos_are_formatted_as_buf_formats_them() -> None:
    result = run_buf("format", "--diff", "--exit-code")
    assert result.returncode == 0, f"run `buf format -w`:\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize(
    "released", sorted(generate.RELEASED.glob("*.binpb")), ids=lambda path: str(path.stem)
)
def test_released_contracts_are_still_understood(released: Path, tmp_path: Path) -> None:
    image = tmp_path / "protos.binpb"
    generate.describe(image)
    result = run_buf("breaking", str(image), "--against", str(released), "--config", "buf.yaml")
    assert result.returncode == 0, result.stdout


def test_a_change_that_breaks_a_released_contract_is_found(tmp_path: Path) -> None:
    before, after = tmp_path / "before.binpb", tmp_path / "after.binpb"
    generate.describe(before)
    files = FileDescriptorSet.FromString(before.read_bytes())
    (referrals,) = (
        file for file in files.file if file.name.endswith("referrals/v1/referrals.proto")
    )
    message = next(
        message for message in referrals.message_type if message.name == "GetReferralRequest"
    )
    message.field[0].number = 7
    after.write_bytes(files.SerializeToString())
    result = run_buf("breaking", str(after), "--against", str(before), "--config", "buf.yaml")
    assert "GetReferralRequest" in result.stdout
    assert result.returncode != 0


def run_buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).parent / "buf"
    return subprocess.run(
        [str(buf), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )

"""docs/operations.md, followed to the letter on a running stack.

The tests cover held facts, dead letters, replays, copies, the restore of a service, and the move of
a stack.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from kafka import KafkaProducer

from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.faults import checker
from tests.faults.checker import RunData
from tests.parts import topics
from tests.parts.local_stack import SERVICES, LocalStack, until
from tests.parts.operator import Operator, blocks
from tests.parts.scenes import ACCEPT, ACKNOWLEDGE, ANSWER, ASK, Scenes
from tests.parts.stories import Cast
from tests.project.restored import (
    check_no_row_is_seen_without_a_caller,
    check_stays_erased,
    check_trail_is_append_only,
    erase,
    rights,
)

HELD, UNREADABLE = "a fact is held", "a record can't be read"
REPLAY = "a consumer needs all facts again"
COMMANDS, COPIES = "The commands of a service", "Copies"
TO_SENDER = ("referral_acknowledged", "referral_acknowledged")
"""The messages to the sender's desk and worker about an acknowledged referral."""

# In each of three tests a stack has to start.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

ALSO_AFTER_A_RESTORE = (
    checker.history_and_outbox_are_one_to_one,
    checker.versions_have_no_gap,
    checker.state_matches_the_history,
    checker.each_message_is_delivered_once_to_an_address,
    checker.nothing_is_waiting,
    checker.every_sending_is_on_record,
    checker.topics_match_the_outboxes,
)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack of this module's own, because the tests break, stop and restore it."""
    created = LocalStack()
    try:
        yield created.start()
    finally:
        created.stop()


@pytest.fixture(scope="module")
def operator(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("checkout"), stack.var)


@pytest.fixture(scope="module")
def cast(stack: LocalStack) -> Cast:
    return Cast(stack)


@pytest.fixture(scope="module")
def scenes(stack: LocalStack, cast: Cast) -> Scenes:
    """The scenes, once all facts of the demo network have been applied.

    The facts are many, and a stack becomes ready before that.
    """
    with ExitStack() as cleanup:
        data_at_rest(stack, cleanup, checker.run_start(), set())
    return Scenes(stack, cast)


@pytest.fixture
def repair(stack: LocalStack) -> Iterator[Callable[[], None]]:
    """Makes notifications unable to write the message about a sent referral.

    Yields a function that repairs this.
    """

    def repair() -> None:
        with stack.database("notifications") as database:
            database.execute("ALTER TABLE messages DROP CONSTRAINT IF EXISTS broken")

    with stack.database("notifications") as database:
        database.execute(
            "ALTER TABLE messages ADD CONSTRAINT broken CHECK (kind <> 'referral_sent') NOT VALID"
        )
    yield repair
    repair()


def send_held(scenes: Scenes) -> tuple[Any, str]:
    """Sends a referral that is then acknowledged, and waits until notifications holds its fact.

    Returns the referral and the id of the held fact.
    """
    sent = scenes.send()
    scenes.step(sent, ACKNOWLEDGE)
    until(lambda: bool(scenes.held_facts(sent.id)), 90)
    return sent, f"{sent.id}/{sent.etag[1:]}"


def wait_for_kinds(scenes: Scenes, id: str, *kinds: str) -> None:
    """Waits until exactly these messages about a referral exist."""
    until(lambda: scenes.kinds(id) == [*kinds], 90, lambda: scenes.kinds(id))


def test_doctor_reports_that_no_service_lacks_anything(operator: Operator) -> None:
    assert "referrals doctor" in operator.documented_command(COMMANDS, "doctor")
    for service in SERVICES:
        output = operator.run(
            operator.documented_command(COMMANDS, "doctor").replace("referrals", service)
        )
        assert {line[:8] for line in output.splitlines()} == {"ok      "}
        assert {"database", "schema", "broker"} <= {line[8:] for line in output.splitlines()}
    missing = operator.run(
        operator.documented_command(COMMANDS, "doctor").replace(
            "python", "ENLACE_KEYS=/nowhere python"
        )
        + " --json",
        1,
    )
    assert {name.split()[0] for name, is_well in json.loads(missing).items() if not is_well} == {
        "key",
        "keys",
    }


def test_a_held_fact_is_listed_and_applied_once_after_repair_and_redrive(
    operator: Operator, scenes: Scenes, repair: Callable[[], None]
) -> None:
    sent, fact_id = send_held(scenes)
    other = scenes.cast.sender.referrals.CreateReferral(scenes.cast.draft(scenes.person_id))
    listed = operator.run_documented(HELD, "list")
    assert f"held       {fact_id}  enlace.referral.sent.v1  fault" in listed
    until(lambda: scenes.health("notifications", "facts") == "NOT_SERVING", 90)
    assert "algo quedó en espera" in requests.get(f"{scenes.stack.gateway}/status", timeout=5).text
    held_facts = json.loads(operator.run_documented(HELD, "list", more=" --json"))
    assert [fact["id"] for fact in held_facts] == [fact_id], "only the failed fact is listed"
    applied = (
        "SELECT FROM inbox WHERE consumer = 'notifications-referrals' AND subject = %s"
        " AND version > 0"
    )
    until(lambda: bool(scenes.rows("notifications", applied, other.id)), 90)

    # As after an hour: the next automatic try is five minutes away.
    until(lambda: scenes.held_facts(sent.id)[0]["attempts"] >= 3, 90)
    scenes.rows(
        "notifications",
        "UPDATE inbox_parked SET next_try_time = now() + interval '5 minutes' WHERE subject = %s"
        " AND reason <> '' RETURNING 1",
        sent.id,
    )
    repair()
    assert operator.run_documented(HELD, "redrive") == "1 retried\n"
    wait_for_kinds(scenes, sent.id, *TO_SENDER, "referral_sent")
    assert not scenes.held_facts(sent.id)
    until(lambda: scenes.health("notifications", "facts") == "SERVING", 90)


@pytest.mark.usefixtures("repair")
def test_a_discarded_fact_is_on_the_trail_and_later_facts_are_applied(
    operator: Operator, scenes: Scenes
) -> None:
    sent, fact_id = send_held(scenes)
    discard = operator.documented_command(HELD, "discard", **{"SUBJECT/VERSION": fact_id})
    operator.run(discard + " --all", 2)
    operator.run(discard.replace("told_by_telephone", "'I rang Ana'"), 2)
    operator.run(discard.replace(fact_id, f"{new_id()}/1"), 1)
    assert scenes.held_facts(sent.id), "a wrong call changes nothing"

    assert operator.run(discard) == "1 discarded\n"
    wait_for_kinds(scenes, sent.id, *TO_SENDER)
    assert not scenes.held_facts(sent.id)
    [entry] = scenes.rows("notifications", "SELECT * FROM audit WHERE object_id = %s", fact_id)
    assert (entry["action"], entry["purpose_code"], entry["actor_id"]) == (
        "discard_dead_letter",
        "told_by_telephone",
        "operations",
    )


def test_an_unreadable_record_delays_no_facts_and_can_be_discarded(
    operator: Operator, scenes: Scenes
) -> None:
    producer = KafkaProducer(bootstrap_servers=scenes.stack.state["kafka"], metrics_enabled=False)
    producer.send("enlace.referrals.v1", key=b"rubbish", value=b"rubbish").get(10)
    producer.close(5)
    wait_for_kinds(scenes, scenes.send().id, "referral_sent")
    until(lambda: bool(scenes.rows("notifications", "SELECT FROM dead_letters")), 90)
    listed = re.fullmatch(
        r"unreadable (\w+)  enlace\.referrals\.v1  (\w+)  since \S+\n1 in total\n",
        operator.run_documented(UNREADABLE, "list"),
    )
    assert listed
    assert listed[2] in ("headers", "source", "signature")
    assert scenes.health("notifications", "facts") == "SERVING"
    assert operator.run_documented(HELD, "redrive") == "1 retried\n"
    assert "unreadable" in operator.run_documented(UNREADABLE, "list")
    assert operator.run_documented(UNREADABLE, "discard", ID=listed[1]) == "1 discarded\n"
    assert operator.run_documented(HELD, "list") == "0 in total\n"
    # Partners consumes the topic too, and has stored its own copy.
    until(lambda: bool(scenes.rows("partners", "SELECT FROM dead_letters")), 90)
    [stored] = scenes.rows("partners", "SELECT id FROM dead_letters")
    discard = operator.documented_command(UNREADABLE, "discard", ID=stored["id"])
    assert operator.run(discard.replace("notifications", "partners")) == "1 discarded\n"


def test_a_replay_delivers_every_fact_and_notifies_nobody_twice(
    operator: Operator, scenes: Scenes
) -> None:
    def messages_and_deliveries() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Returns the messages and deliveries."""
        messages = scenes.rows(
            "notifications",
            "SELECT id FROM messages WHERE create_time < %s ORDER BY 1",
            replay_start,
        )
        return messages, scenes.rows(
            "notifications",
            "SELECT id, attempts, status FROM deliveries WHERE create_time < %s ORDER BY 1",
            replay_start,
        )

    def received_count() -> int:
        page = requests.get(
            f"http://{scenes.stack.state['parts']['notifications']['metrics']}/metrics", timeout=5
        ).text
        return sum(
            int(float(n))
            for n in re.findall(
                r'^enlace_facts_heard_total\{.*"notifications-referrals".*\} (\S+)$',
                page,
                re.MULTILINE,
            )
        )

    until(
        lambda: not scenes.rows("notifications", "SELECT FROM deliveries WHERE status = 'WAITING'"),
        90,
    )
    [row] = scenes.rows("referrals", "SELECT count(*) AS n FROM outbox")
    replay_start = checker.run_start()
    before, count, start = messages_and_deliveries(), row["n"], received_count()
    dry_run = re.fullmatch(
        r"(\d+) facts would be published again\n", operator.run_documented(REPLAY, "--dry-run")
    )
    assert dry_run
    assert int(dry_run[1]) >= count, "a deadline of the demo network may fire at any time"
    since = json.loads(operator.run_documented(REPLAY, "--from", more=" --json"))["facts"]
    assert 0 < since <= int(dry_run[1])
    until(lambda: received_count() >= start + since, 90)
    start = received_count()
    settings, *_, replay_all = blocks(REPLAY)[0]
    assert operator.run(f"{settings}\n{replay_all}").endswith(" facts will be published again\n")
    until(lambda: received_count() >= start + count, 90)
    assert messages_and_deliveries() == before


def make_copies(operator: Operator) -> None:
    """Makes the documented copies of the databases and the keys."""
    copies = [
        operator.folder / name
        for name in ("keys.tar", *(f"{service}.dump" for service in SERVICES))
    ]
    for file in copies:
        file.unlink(missing_ok=True)
    assert operator.run("\n".join(blocks(COPIES)[0])) == ""
    for file in copies:
        assert file.stat().st_mode & 0o077 == 0, "only the owner may read the copies"


def check_witnesses_could_read_every_record(stack: LocalStack) -> None:
    """Checks that every witness could read all records, including the other witnesses' answers."""
    lines = [line for name in SERVICES for line in (stack.logs / f"{name}.log").open()]
    assert [line for line in lines if "record_not_kept" in line] == []


def restore(operator: Operator, *services: str) -> None:
    """Restores services as documented, while PostgreSQL is the only running part of the stack."""
    [command] = ["\n".join(block) for block in blocks(COPIES) if "pg_restore" in block[0]]
    with operator.running(operator.documented_command(COPIES, "make run")):
        for service in services:
            assert operator.run(command.replace("referrals", service)).strip() == ""


def data_at_rest(stack: LocalStack, cleanup: ExitStack, since: Any, lost: set[str]) -> RunData:
    """Waits until a stack has published and applied everything; returns its data.

    `lost` names subjects that were published but no longer exist.
    """
    partners, referrals, notifications = (
        cleanup.enter_context(stack.database(name)) for name in SERVICES
    )
    run_data = RunData(
        partners, referrals, notifications, [], topics.records(stack.state["kafka"]), since
    )

    def problems() -> list[str]:
        missing = [
            line
            for line in checker.every_fact_was_applied(run_data)
            if not any(id in line for id in lost)
        ]
        return [*checker.nothing_is_waiting(run_data), *missing]

    until(lambda: not problems(), 120, problems)
    return RunData(
        partners, referrals, notifications, [], topics.records(stack.state["kafka"]), since
    )


def test_a_restored_service_loses_only_changes_after_the_copy_and_notifies_nobody_twice(
    stack: LocalStack, operator: Operator
) -> None:
    since = checker.run_start()
    scenes = Scenes(stack, Cast(stack))
    untouched, continued = scenes.step(scenes.send(), ACKNOWLEDGE), scenes.send()
    erased_id, _ = scenes.cast.person()
    before = {service: rights(stack, service) for service in SERVICES}
    make_copies(operator)
    with stack.database("notifications") as database:
        row = database.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row
    scenes.step(scenes.step(continued, ACKNOWLEDGE), ASK)
    lost = scenes.step(scenes.send(), ACKNOWLEDGE)
    erase(stack, erased_id)
    with ExitStack() as cleanup:
        data_at_rest(stack, cleanup, since, set())
    messages = (
        "SELECT id, kind, audience, referral_id, create_time > %s AS late FROM messages"
        " WHERE create_time >= %s ORDER BY id"
    )
    deliveries = "SELECT id, attempts FROM deliveries WHERE status <> 'WAITING' ORDER BY id"
    messages_before = scenes.rows("notifications", messages, row["now"], since)
    deliveries_before = scenes.rows("notifications", deliveries)

    assert stack.stop(keep=True) == 0
    restore(operator, "referrals")
    stack.start()
    assert {service: rights(stack, service) for service in SERVICES} == before
    check_stays_erased(stack, erased_id, scenes.person_id)
    check_trail_is_append_only(stack)
    check_no_row_is_seen_without_a_caller(stack)

    scenes = Scenes(stack, Cast(stack))
    restored_referral = scenes.cast.receiver.referrals.GetReferral(
        pb.GetReferralRequest(id=continued.id)
    )
    assert restored_referral.etag == continued.etag
    for step in (ACKNOWLEDGE, ASK, ANSWER, ACCEPT):
        restored_referral = scenes.step(restored_referral, step)
    scenes.step(untouched, ASK)
    new_referral = scenes.step(scenes.send(), ACKNOWLEDGE)
    until(lambda: "referral_accepted" in scenes.kinds(continued.id))
    until(lambda: "referral_info_requested" in scenes.kinds(untouched.id))
    wait_for_kinds(scenes, new_referral.id, *TO_SENDER, "referral_sent")

    with ExitStack() as cleanup:
        run_data = data_at_rest(stack, cleanup, since, {lost.id})
        assert [line for check in ALSO_AFTER_A_RESTORE for line in check(run_data)] == []
        # Messages about the lost steps stay; apart from these, every fact made its messages once.
        orphaned_messages = [
            message
            for message in messages_before
            if message["late"] and message["referral_id"] == continued.id
        ]
        assert orphaned_messages
        too_many = sorted(
            f"too many: {message['kind']} to {message['audience']} of {message['referral_id']}"
            for message in orphaned_messages
        )
        assert sorted(checker.each_fact_made_its_messages_once(run_data)) == too_many
    messages_after = scenes.rows("notifications", messages, row["now"], since)
    assert [message for message in messages_after if message in messages_before] == messages_before
    assert [
        message
        for message in scenes.rows("notifications", deliveries)
        if message in deliveries_before
    ] == deliveries_before, "no message was sent again"
    check_witnesses_could_read_every_record(stack)


def test_a_stack_moves_to_a_new_machine_with_its_copies_alone(
    stack: LocalStack, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenes = Scenes(stack, Cast(stack))
    sent = scenes.send()
    wait_for_kinds(scenes, sent.id, "referral_sent")
    before = {service: rights(stack, service) for service in SERVICES}
    erased_id, _ = scenes.cast.person()
    make_copies(operator)
    older_copy = shutil.copy(operator.folder / "referrals.dump", operator.folder / "older")
    erase(stack, erased_id)
    make_copies(operator)
    # the copies may have been made at different times
    shutil.move(older_copy, operator.folder / "referrals.dump")
    stack.stop(keep=True)
    other_stack = LocalStack(fresh=True)
    try:
        other_machine = Operator(tmp_path_factory.mktemp("elsewhere"), other_stack.var)
        for file in (*operator.folder.glob("*.dump"), operator.folder / "keys.tar"):
            shutil.copy(file, other_machine.folder)
        other_machine.run_documented(COPIES, "mkdir -p var")
        restore(other_machine, *SERVICES)
        other_stack.start()
        assert {service: rights(other_stack, service) for service in SERVICES} == before
        check_stays_erased(other_stack, erased_id, scenes.person_id)
        check_trail_is_append_only(other_stack)
        scenes = Scenes(other_stack, Cast(other_stack))
        scenes.step(sent, ACKNOWLEDGE)
        wait_for_kinds(scenes, sent.id, *TO_SENDER, "referral_sent")
    finally:
        other_stack.stop()

"""docs/operations.md, followed to the letter on a running stack.

The tests cover held facts, dead letters, replays, copies, the restore of a service, and the move of
a stack.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import psycopg
import pytest
import requests
from kafka import KafkaProducer

from chassis.ids import new_id
from facts.records import unpack
from protos.referrals.v1 import erasures_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.faults import checker
from tests.faults.checker import Books
from tests.parts import topics
from tests.parts.local_stack import SERVICES, LocalStack, until
from tests.parts.operator import Operator, blocks
from tests.parts.scenes import ACCEPT, ACKNOWLEDGE, ANSWER, ASK, Scenes
from tests.parts.stories import NEED, Cast

HELD, UNREADABLE = "a fact is held", "a record can't be read"
REPLAY, COMMANDS, COPIES = (
    "a consumer needs all facts again",
    "The commands of a service",
    "Copies",
)

# Within each of three tests a stack has to come up.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

# queries for everything that determines rights in a database
RIGHTS = (
    "SELECT relname, relkind, relacl::text, relowner::regrole::text, relrowsecurity,"
    " relforcerowsecurity FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.objid = pg_class.oid AND d.deptype = 'e') ORDER BY 1",
    (
        "SELECT tablename, policyname, permissive, roles::text, cmd, translate(qual, '()', '') AS"
        " qual, with_check FROM pg_policies ORDER BY 1, 2"
    ),
    (
        "SELECT defaclrole::regrole::text, defaclobjtype, defaclacl::text FROM pg_default_acl"
        " ORDER BY 1, 2"
    ),
    (
        "SELECT nspname, nspacl::text, nspowner::regrole::text FROM pg_namespace"
        " WHERE nspname = 'public'"
    ),
    "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
    (
        "SELECT oid::regprocedure::text, proacl::text, prosecdef FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
    ),
    "SELECT extname FROM pg_extension ORDER BY 1",
)

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
        at_rest(stack, cleanup, checker.started(), set())
    return Scenes(stack, cast)


@pytest.fixture
def broken(stack: LocalStack) -> Iterator[Any]:
    """Makes notifications unable to write the message about a sent referral.

    Yields a function that repairs this.
    """

    def mend() -> None:
        with stack.database("notifications") as database:
            database.execute("ALTER TABLE messages DROP CONSTRAINT IF EXISTS broken")

    with stack.database("notifications") as database:
        database.execute(
            "ALTER TABLE messages ADD CONSTRAINT broken CHECK (kind <> 'referral_sent') NOT VALID"
        )
    yield mend
    mend()


def test_doctor_reports_that_no_service_lacks_anything(operator: Operator) -> None:
    assert "referrals doctor" in operator.documented(COMMANDS, "doctor")
    for service in SERVICES:
        output = operator.run(operator.documented(COMMANDS, "doctor").replace("referrals", service))
        assert {line[:8] for line in output.splitlines()} == {"ok      "}
        assert {"database", "schema", "broker"} <= {line[8:] for line in output.splitlines()}
    missing = operator.run(
        operator.documented(COMMANDS, "doctor").replace("python", "ENLACE_KEYS=/nowhere python")
        + " --json",
        1,
    )
    assert {name.split()[0] for name, is_well in json.loads(missing).items() if not is_well} == {
        "key"
    }


def test_a_held_fact_is_listed_and_applied_once_after_repair_and_redrive(
    operator: Operator, scenes: Scenes, broken: Any
) -> None:
    sent_messages = scenes.send()
    scenes.step(sent_messages, ACKNOWLEDGE)
    other = scenes.cast.sender.referrals.CreateReferral(scenes.cast.draft(scenes.person_id))
    until(lambda: bool(scenes.held(sent_messages.id)), 90)
    assert (
        f"held       {sent_messages.id}/{sent_messages.etag[1:]}  enlace.referral.sent.v1  fault"
        in operator.run_documented(HELD, "list")
    )
    until(lambda: scenes.health("notifications", "facts") == "NOT_SERVING", 90)
    assert "algo quedó en espera" in requests.get(f"{scenes.stack.gateway}/status", timeout=5).text
    held_facts = [
        letter["id"] for letter in json.loads(operator.run_documented(HELD, "list", more=" --json"))
    ]
    assert held_facts == [f"{sent_messages.id}/{sent_messages.etag[1:]}"], (
        "only the failed fact is listed"
    )
    taken = (
        "SELECT FROM inbox WHERE consumer = 'notifications-referrals' AND subject = %s"
        " AND version > 0"
    )
    until(lambda: bool(scenes.rows("notifications", taken, other.id)), 90)

    # As after an hour: the next automatic try is five minutes away.
    until(lambda: scenes.held(sent_messages.id)[0]["attempts"] >= 3, 90)
    scenes.rows(
        "notifications",
        "UPDATE inbox_parked SET next_try_time = now() + interval '5 minutes' WHERE subject = %s"
        " AND reason <> '' RETURNING 1",
        sent_messages.id,
    )
    broken()
    redrive = operator.documented(HELD, "redrive")
    assert operator.run(redrive) == "1 retried\n"
    until(
        lambda: (
            scenes.kinds(sent_messages.id)
            == ["referral_acknowledged", "referral_acknowledged", "referral_sent"]
        ),
        90,
    )
    assert not scenes.held(sent_messages.id)
    until(lambda: scenes.health("notifications", "facts") == "SERVING", 90)


def test_a_discarded_fact_is_on_the_trail_and_later_facts_are_applied(
    operator: Operator, scenes: Scenes, broken: Any
) -> None:
    sent_messages = scenes.send()
    scenes.step(sent_messages, ACKNOWLEDGE)
    identity = f"{sent_messages.id}/{sent_messages.etag[1:]}"
    until(lambda: bool(scenes.held(sent_messages.id)), 90)
    discard = operator.documented(HELD, "discard", **{"SUBJECT/VERSION": identity})
    operator.run(discard + " --all", 2)
    operator.run(discard.replace("told_by_telephone", "'I rang Ana'"), 2)
    operator.run(discard.replace(identity, f"{new_id()}/1"), 1)
    assert scenes.held(sent_messages.id), "a wrong call changes nothing"

    assert operator.run(discard) == "1 discarded\n"
    until(
        lambda: (
            scenes.kinds(sent_messages.id) == ["referral_acknowledged", "referral_acknowledged"]
        ),
        90,
    )
    assert not scenes.held(sent_messages.id)
    [entry] = scenes.rows("notifications", "SELECT * FROM audit WHERE object_id = %s", identity)
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
    sent_messages = scenes.send()
    until(lambda: scenes.kinds(sent_messages.id) == ["referral_sent"], 90)
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
    discard = operator.documented(UNREADABLE, "discard", ID=stored["id"])
    assert operator.run(discard.replace("notifications", "partners")) == "1 discarded\n"


def test_a_replay_delivers_every_fact_and_notifies_nobody_twice(
    operator: Operator, scenes: Scenes
) -> None:
    def sent_messages() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        # only messages and deliveries from before the replay
        messages = scenes.rows(
            "notifications", "SELECT id FROM messages WHERE create_time < %s ORDER BY 1", started
        )
        return messages, scenes.rows(
            "notifications",
            "SELECT id, attempts, status FROM deliveries WHERE create_time < %s ORDER BY 1",
            started,
        )

    def received() -> int:
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
    started = checker.started()
    before, count, start = sent_messages(), row["n"], received()
    announced = re.fullmatch(
        r"(\d+) facts would be published again\n", operator.run_documented(REPLAY, "--dry-run")
    )
    assert announced
    assert int(announced[1]) >= count, "a deadline of the demo network may fire at any time"
    since = json.loads(operator.run_documented(REPLAY, "--from", more=" --json"))["facts"]
    assert 0 < since <= int(announced[1])
    until(lambda: received() >= start + since, 90)
    start = received()
    settings, *_, every = blocks(REPLAY)[0]
    assert operator.run(f"{settings}\n{every}").endswith(" facts will be published again\n")
    until(lambda: received() >= start + count, 90)
    assert sent_messages() == before


def rights(stack: LocalStack, service: str) -> list[list[dict[str, Any]]]:
    with stack.database(service) as database:
        return [database.execute(question).fetchall() for question in RIGHTS]


def copy(operator: Operator) -> None:
    """Makes the documented copies of the databases and the keys."""
    for name in (*(f"{service}.dump" for service in SERVICES), "keys.tar"):
        (operator.folder / name).unlink(missing_ok=True)
    assert operator.run("\n".join(blocks(COPIES)[0])) == ""
    for name in (*(f"{service}.dump" for service in SERVICES), "keys.tar"):
        assert (operator.folder / name).stat().st_mode & 0o077 == 0, (
            "only the owner may read the copies"
        )


def restore(operator: Operator, *services: str) -> None:
    """Restores services as documented, while PostgreSQL is the only running part of the stack."""
    [command] = ["\n".join(block) for block in blocks(COPIES) if "pg_restore" in block[0]]
    with operator.running(operator.documented(COPIES, "make run")):
        for service in services:
            assert operator.run(command.replace("referrals", service)).strip() == ""


def trail_is_append_only(stack: LocalStack) -> None:
    """Checks that the service's own role can't change the trail, even after a restore."""
    for service in SERVICES:
        for statement in ("UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"):
            with (
                psycopg.connect(stack.database_url(service)) as own,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                own.execute(statement)


def nothing_is_seen_without_a_caller(stack: LocalStack) -> None:
    """Checks row-level security: a statement without a caller sees no row."""
    with psycopg.connect(stack.database_url("referrals")) as own:
        row = own.execute("SELECT count(*) FROM referrals").fetchone()
    assert row == (0,)


def erase(stack: LocalStack, person_id: str) -> None:
    """Makes two people of the holding organisation erase the person's file.

    Returns once the erasure is recorded in every place outside of the database.
    """
    about = {"person_id": person_id}
    stack.worker("trabajadora@puentes.demo").erasures.ProposeErasure(
        erasures_pb2.ProposeErasureRequest(**about, request_id=new_id())
    )
    stack.worker("gestion@puentes.demo").erasures.ConfirmErasure(
        erasures_pb2.ConfirmErasureRequest(**about, request_id=new_id())
    )

    def is_kept(service: str) -> bool:
        with stack.database(service) as database:
            return person_id.encode() in bodies(
                row["record"].encode()
                for row in database.execute("SELECT record FROM kept_records")
            )

    def is_in_the_file() -> bool:
        file = stack.var / "keys" / "erasures.referrals"
        return file.exists() and person_id.encode() in bodies(file.read_bytes().splitlines())

    until(is_in_the_file, 60)
    until(lambda: is_kept("partners") and is_kept("notifications"), 90)


def bodies(packed: Iterable[bytes]) -> bytes:
    """Returns the bodies of packed records."""
    return b"".join(unpack(line)[1] or b"" for line in packed if line)


def stays_erased(stack: LocalStack, person_id: str, another_id: str) -> None:
    """Checks that an erased person stays erased in a store that was restored from an older copy.

    Nobody can open her file from the first answer on, while another person's file can soon be
    opened again.
    """
    sender = stack.client("Puentes")
    refusals = {"hers": set[tuple[str, str]](), "another": set[tuple[str, str]]()}

    def opens(id: str, whose: str) -> bool:
        try:
            sender.people.OpenPerson(
                people_pb2.OpenPersonRequest(
                    id=id, purpose_code=NEED, field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
                )
            )
        except grpc.RpcError as error:
            refusals[whose].add((error.code().name, str(error.details())))
            return False
        return True

    def is_open() -> bool:
        assert not opens(person_id, "hers")
        return opens(another_id, "another")

    until(is_open, 60, lambda: refusals)
    assert not opens(person_id, "hers")
    assert refusals["hers"] <= {
        ("UNAVAILABLE", "store_unavailable"),
        ("FAILED_PRECONDITION", "person_erased"),
    }
    assert refusals["another"] <= {("UNAVAILABLE", "store_unavailable")}
    with stack.database("referrals") as database:
        assert database.execute(
            "SELECT wrapped FROM person_keys WHERE person_id = %s", (person_id,)
        ).fetchall() == [{"wrapped": None}]


def at_rest(stack: LocalStack, cleanup: ExitStack, since: Any, lost: set[str]) -> Books:
    """Waits until a stack has published and applied everything; returns its books.

    `lost` names subjects that were published but no longer exist.
    """
    partners, referrals, notifications = (
        cleanup.enter_context(stack.database(name)) for name in SERVICES
    )
    books = Books(
        partners, referrals, notifications, [], topics.records(stack.state["kafka"]), since
    )

    def waits() -> list[str]:
        missing = [
            line
            for line in checker.every_fact_was_applied(books)
            if not any(id in line for id in lost)
        ]
        return [*checker.nothing_is_waiting(books), *missing]

    until(lambda: not waits(), 120, waits)
    return Books(
        partners, referrals, notifications, [], topics.records(stack.state["kafka"]), since
    )


def test_a_restored_service_loses_only_changes_after_the_copy_and_notifies_nobody_twice(
    stack: LocalStack, operator: Operator
) -> None:
    since = checker.started()
    scenes = Scenes(stack, Cast(stack))
    untouched, goes_on = scenes.step(scenes.send(), ACKNOWLEDGE), scenes.send()
    erased, _ = scenes.cast.person()
    before = {service: rights(stack, service) for service in SERVICES}
    copy(operator)
    with stack.database("notifications") as database:
        row = database.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row
    scenes.step(scenes.step(goes_on, ACKNOWLEDGE), ASK)
    lost = scenes.step(scenes.send(), ACKNOWLEDGE)
    erase(stack, erased)
    with ExitStack() as cleanup:
        at_rest(stack, cleanup, since, set())
    messages = (
        "SELECT id, kind, audience, referral_id, create_time > %s AS late FROM messages"
        " WHERE create_time >= %s ORDER BY id"
    )
    deliveries = "SELECT id, attempts FROM deliveries WHERE status <> 'WAITING' ORDER BY id"
    messages_before, delivered = (
        scenes.rows("notifications", messages, row["now"], since),
        scenes.rows("notifications", deliveries),
    )

    assert stack.stop(keep=True) == 0
    restore(operator, "referrals")
    stack.start()
    assert {service: rights(stack, service) for service in SERVICES} == before
    stays_erased(stack, erased, scenes.person_id)
    trail_is_append_only(stack)
    nothing_is_seen_without_a_caller(stack)

    scenes = Scenes(stack, Cast(stack))
    back = scenes.cast.receiver.referrals.GetReferral(pb.GetReferralRequest(id=goes_on.id))
    assert back.etag == goes_on.etag
    for step in (ACKNOWLEDGE, ASK, ANSWER, ACCEPT):
        back = scenes.step(back, step)
    scenes.step(untouched, ASK)
    fresh = scenes.step(scenes.send(), ACKNOWLEDGE)
    until(
        lambda: (
            "referral_accepted" in scenes.kinds(goes_on.id)
            and "referral_info_requested" in scenes.kinds(untouched.id)
        ),
        60,
    )
    until(
        lambda: (
            scenes.kinds(fresh.id)
            == ["referral_acknowledged", "referral_acknowledged", "referral_sent"]
        ),
        90,
    )

    with ExitStack() as cleanup:
        books = at_rest(stack, cleanup, since, {lost.id})
        assert [line for check in ALSO_AFTER_A_RESTORE for line in check(books)] == []
        # Messages about the lost steps stay; apart from these, every fact made its messages once.
        gone = [
            message
            for message in messages_before
            if message["late"] and message["referral_id"] == goes_on.id
        ]
        assert gone
        too_many = sorted(
            f"too many: {message['kind']} to {message['audience']} of {message['referral_id']}"
            for message in gone
        )
        assert sorted(checker.each_fact_made_its_messages_once(books)) == too_many
    now = scenes.rows("notifications", messages, row["now"], since)
    assert [message for message in now if message in messages_before] == messages_before
    assert [
        message for message in scenes.rows("notifications", deliveries) if message in delivered
    ] == delivered, "no message was sent again"


def test_a_stack_moves_to_a_new_machine_with_its_copies_alone(
    stack: LocalStack, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenes = Scenes(stack, Cast(stack))
    sent_messages = scenes.send()
    until(lambda: scenes.kinds(sent_messages.id) == ["referral_sent"], 90)
    before = {service: rights(stack, service) for service in SERVICES}
    erased, _ = scenes.cast.person()
    copy(operator)
    older = shutil.copy(operator.folder / "referrals.dump", operator.folder / "older")
    erase(stack, erased)
    copy(operator)
    # the copies may have been made at different times
    shutil.move(older, operator.folder / "referrals.dump")
    stack.stop(keep=True)
    elsewhere = LocalStack(fresh=True)
    try:
        other_machine = Operator(tmp_path_factory.mktemp("elsewhere"), elsewhere.var)
        for file in (*operator.folder.glob("*.dump"), operator.folder / "keys.tar"):
            shutil.copy(file, other_machine.folder)
        other_machine.run_documented(COPIES, "mkdir -p var")
        restore(other_machine, *SERVICES)
        elsewhere.start()
        assert {service: rights(elsewhere, service) for service in SERVICES} == before
        stays_erased(elsewhere, erased, scenes.person_id)
        trail_is_append_only(elsewhere)
        scenes = Scenes(elsewhere, Cast(elsewhere))
        scenes.step(sent_messages, ACKNOWLEDGE)
        until(
            lambda: (
                scenes.kinds(sent_messages.id)
                == ["referral_acknowledged", "referral_acknowledged", "referral_sent"]
            ),
            90,
        )
    finally:
        elsewhere.stop()

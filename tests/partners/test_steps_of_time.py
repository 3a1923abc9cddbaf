"""Other members see a shelter's room change at fixed times, never when something happens there.

The shelter's own people see a change at once.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView
from datetime import datetime, timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2 as partners_facts_pb2
from protos.partners.v1 import locations_pb2
from protos.referrals.v1 import facts_pb2
from services.partners import subscriptions
from services.partners.directory.domain.service import Capacity, Figure, Intake, Service, for_others
from services.partners.directory.store import services
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.domain.time_step import STEP, time_step_of
from tests.builders import refusal, wrong_fields
from tests.partners.scene import NOON, Scene, Stubs

WOMAN = {
    "need_code": "HOU.EMG",
    "country": "NI",
    "department": "NI-CI",
    "age": 24,
    "gender": pb.GENDER_FEMININE,
    "dependants": 0,
}
HOUR = timedelta(hours=1)


class Shelters:
    """Two shelters that stated their free beds at noon, and a member that reads them.

    Since then an hour has passed. A step of time began at noon.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.organization = scene.organization("Casa Puentes", type=OrganizationType.SHELTER)
        self.service = scene.service(self.organization, "Albergue", room=1)
        self.other_service = scene.service(scene.organization("Otra casa"), "Otro albergue", room=2)
        self.staff = scene.by(self.organization, Role.WORKER, Role.MANAGER)
        self.sender = scene.organization("Remitente")
        self.reader = scene.by(self.sender, Role.WORKER)
        scene.advance(hours=1)

    def apply_fact(
        self,
        verb: str,
        referral_id: str = "",
        *,
        service: Service | None = None,
        at: datetime | None = None,
    ) -> None:
        changed = service or self.service
        body = facts_pb2.ReferralFact(
            referral_id=referral_id or new_id(),
            service_id=changed.id,
            receiver_organization_id=changed.organization_id,
            actor_organization_id=changed.organization_id,
            sender_organization_id=self.sender.id,
            reason_code="no_capacity" if verb == "declined" else "",
            people=1,
        )
        fact = Fact(
            body.referral_id,
            1,
            f"enlace.referral.{verb}.v1",
            body.SerializeToString(),
            at or self.scene.clock.now(),
        )
        with self.scene.database.transaction(SYSTEM) as tx:
            subscriptions.consume(self.scene.clock, tx, fact)

    def state_room(self, available: int, intake: pb.Intake.ValueType = pb.INTAKE_OPEN) -> None:
        room = pb.Capacity(intake=intake, available=available, unit=pb.CAPACITY_UNIT_BEDS)
        self.staff.SetCapacity(id=self.service.id, capacity=room)

    def service_for(self, by: Stubs | None = None, service: Service | None = None) -> pb.Service:
        service_: pb.Service = (by or self.reader).GetService(id=(service or self.service).id)
        return service_

    def free(self, by: Stubs | None = None) -> int:
        return self.service_for(by).capacity.available

    def answers(self, by: Stubs) -> dict[str, bytes]:
        """Returns all answers of the directory about the shelters, byte for byte, by name."""
        service_ids = [self.service.id, self.other_service.id]
        answers = [
            self.service_for(by),
            by.BatchGet(service_ids=service_ids),
            by.SearchServices(),
            by.SearchServices(has_room=True, count_country="NI"),
            by.SearchServices(organization_id=self.organization.id),
            by.MatchServices(**WOMAN),
            by.MatchServices(**WOMAN | {"dependants": 1}),
            by.ListFieldChanges(subject_id=self.service.id),
        ]
        return {
            f"{number} {type(answer).__name__}": answer.SerializeToString(deterministic=True)
            for number, answer in enumerate(answers)
        }


@pytest.fixture
def shelters(scene: Scene) -> Shelters:
    return Shelters(scene)


def test_c12_no_byte_that_others_see_of_a_shelter_changes_before_the_step_of_time_ends(
    shelters: Shelters,
) -> None:
    others = (shelters.reader, shelters.scene.coordinator)
    person_id, before = new_id(), [shelters.answers(by) for by in others]
    events: tuple[Callable[[], None], ...] = (
        lambda: shelters.apply_fact("accepted", person_id),
        lambda: shelters.apply_fact("declined"),
        lambda: shelters.apply_fact("completed", person_id),
        lambda: shelters.state_room(0),
        lambda: shelters.state_room(5, pb.INTAKE_CLOSED),
        lambda: shelters.apply_fact("accepted"),
    )
    for number, happens in enumerate(events):
        shelters.scene.advance(minutes=10)
        happens()
        for by, old in zip(others, before, strict=True):
            new = shelters.answers(by)
            assert {name: new[name] for name in new if new[name] != old[name]} == {}, number
    shelters.scene.clock.set(NOON + STEP - timedelta(seconds=1))
    assert [shelters.answers(by) for by in others] == before
    shelters.scene.advance(seconds=1)
    assert shelters.service_for().capacity.intake == pb.INTAKE_CLOSED
    assert all(
        after != old for after, old in zip(map(shelters.answers, others), before, strict=True)
    )


def test_c12_the_order_of_an_answer_does_not_show_whose_row_was_written_last(
    shelters: Shelters,
) -> None:
    ids = sorted([shelters.service.id, shelters.other_service.id])
    with shelters.scene.database.transaction(SYSTEM) as tx:
        # plans without indexes, as the planner makes them for a small table
        tx.execute("SET LOCAL enable_indexscan = off")
        tx.execute("SET LOCAL enable_bitmapscan = off")
        for id in reversed(ids):
            tx.execute("UPDATE services SET version = version WHERE id = %s", (id,))
            tx.execute(
                "UPDATE organizations SET version = version"
                " WHERE id = (SELECT organization_id FROM services WHERE id = %s)",
                (id,),
            )
        assert [service.id for service in services.fetch_many(tx, ids)] == ids


def test_c12_a_shelters_own_people_see_at_once_that_a_bed_is_taken(shelters: Shelters) -> None:
    before = shelters.service_for(shelters.staff)
    shelters.apply_fact("accepted")
    after = shelters.service_for(shelters.staff)
    assert (before.capacity.available, after.capacity.available) == (1, 0)
    assert before.etag != after.etag
    assert shelters.free() == 1


def test_c12_search_and_match_change_with_the_step_of_time_and_without_another_event(
    shelters: Shelters,
) -> None:
    def with_room() -> tuple[list[str], list[str]]:
        searched = shelters.reader.SearchServices(has_room=True).services
        matched = shelters.reader.MatchServices(**WOMAN).matches
        free_beds = [
            one.service.name
            for one in matched
            if "room_free" in {reason.reason_code for reason in one.reasons}
        ]
        return [one.name for one in searched], free_beds

    assert with_room() == (["Albergue", "Otro albergue"],) * 2
    shelters.apply_fact("accepted")
    assert with_room() == (["Albergue", "Otro albergue"],) * 2
    shelters.scene.clock.set(NOON + STEP)
    assert with_room() == (["Otro albergue"],) * 2


def test_c12_a_process_that_reads_the_directory_in_the_middle_of_a_step_answers_the_same(
    shelters: Shelters,
) -> None:
    shelters.apply_fact("accepted")
    for now, with_room in ((shelters.scene.clock.now(), 2), (NOON + STEP, 1)):
        with (
            shelters.scene.database.transaction(SYSTEM) as tx,
            DirectoryIndex().current(tx, now) as content,
        ):
            assert len(content.search.slots_with("room", True)) == with_room


def test_a_query_reads_no_list_of_waiting_shelters_before_the_step_ends(
    shelters: Shelters,
) -> None:
    """Thousands of shelters may wait for the end of a step."""

    class Counted(dict[str, datetime]):
        readings = 0

        def items(self) -> ItemsView[str, datetime]:  # type: ignore[override]
            self.readings += 1
            return super().items()

    shelters.apply_fact("accepted")
    now = shelters.scene.clock.now()
    with (
        shelters.scene.database.transaction(SYSTEM) as tx,
        DirectoryIndex().current(tx, now) as content,
    ):
        content.waiting = waiting = Counted(content.waiting)
        assert (content.due(now), waiting.readings) == ([], 0)
        assert content.due(NOON + STEP) == [shelters.service.id]


def test_c12_the_figure_for_others_does_not_reveal_when_in_a_step_something_happened(
    shelters: Shelters,
) -> None:
    scene = shelters.scene
    early, late = (
        scene.service(scene.organization(f"Casa {when}"), "Casa", room=4)
        for when in ("temprana", "tardía")
    )
    scene.advance(minutes=1)
    shelters.apply_fact("accepted", service=early)
    shelters.apply_fact("declined", service=early)
    scene.clock.set(NOON + STEP - timedelta(seconds=1))
    shelters.apply_fact("accepted", service=late)
    shelters.apply_fact("declined", service=late)
    scene.clock.set(NOON + STEP)
    after = [shelters.service_for(service=one) for one in (early, late)]
    assert [one.capacity.available for one in after] == [3, 3]
    assert after[0].capacity == after[1].capacity
    assert after[0].update_time == after[1].update_time
    assert after[0].capacity.declined_time.ToDatetime(NOON.tzinfo) == NOON


def test_c12_the_first_change_of_a_step_is_not_shown_even_if_nobody_looked_before(
    shelters: Shelters,
) -> None:
    shelters.state_room(4)
    shelters.scene.clock.set(NOON + STEP + HOUR)
    shelters.apply_fact("accepted")
    assert shelters.free() == 4, "the figure at the start of the step"
    shelters.scene.clock.set(NOON + 2 * STEP)
    assert shelters.free() == 3


def test_c12_an_accept_that_is_received_late_counts_from_when_it_was_received(
    shelters: Shelters,
) -> None:
    shelters.scene.clock.set(NOON + STEP + HOUR)
    shelters.apply_fact("accepted", at=NOON + STEP - HOUR)
    assert (shelters.free(shelters.staff), shelters.free()) == (0, 1)


def test_c12_kept_promises_change_the_order_only_with_the_step_of_time(
    shelters: Shelters,
) -> None:
    scene = shelters.scene

    def order() -> list[str]:
        return [match.service.name for match in shelters.reader.MatchServices(**WOMAN).matches]

    assert order() == ["Albergue", "Otro albergue"]
    for _ in range(3):  # the shelter had stated room, declines, and states again that there is room
        shelters.apply_fact("declined")
        scene.advance(minutes=1)
        shelters.state_room(1)
    assert order() == ["Albergue", "Otro albergue"]
    scene.clock.set(NOON + STEP)
    assert order() == ["Otro albergue", "Albergue"]


def test_c12_a_first_figure_is_shown_at_once_and_later_events_are_not(scene: Scene) -> None:
    own = scene.organization("Casa nueva")
    created = scene.by(own, Role.MANAGER).CreateService(
        service=pb.Service(name="Casa", need_codes=["HOU.SAFE"])
    )
    shelters = Shelters(scene)
    shelters.service, shelters.organization, shelters.staff = (
        created,
        own,
        scene.by(own, Role.MANAGER),
    )
    shelters.state_room(4)
    assert shelters.free() == 4
    assert shelters.service_for().capacity.update_time.ToDatetime(NOON.tzinfo) == NOON, (
        "an hour ago, when the step began"
    )
    shelters.state_room(2)
    assert shelters.free() == 4


def test_c12_a_change_at_a_service_that_is_no_shelter_is_shown_at_once(shelters: Shelters) -> None:
    clinic = shelters.scene.service(
        shelters.scene.organization("Clínica"), "Consulta", "MED.PRI", room=3
    )
    shelters.scene.advance(minutes=1)
    shelters.apply_fact("accepted", service=clinic)
    assert shelters.service_for(service=clinic).capacity.available == 2


def test_c12_other_services_of_a_shelter_do_not_reveal_a_moment_either(
    shelters: Shelters,
) -> None:
    advice = shelters.scene.service(shelters.organization, "Apoyo", "PSS", room=3)
    shelters.scene.advance(minutes=1)
    shelters.apply_fact("accepted", service=advice)
    assert shelters.service_for(service=advice).capacity.available == 3


def test_c12_the_coordination_changes_an_entry_by_the_version_that_it_sees(
    shelters: Shelters,
) -> None:
    coordinator = shelters.scene.coordinator
    seen = shelters.service_for(coordinator)
    shelters.apply_fact("accepted")
    change = pb.UpdateServiceRequest(
        service=pb.Service(id=seen.id, etag=seen.etag, name="Casa"),
        update_mask=FieldMask(paths=["name"]),
    )
    assert coordinator.UpdateService(change).name == "Casa"
    assert shelters.service_for(coordinator).update_time.ToDatetime(NOON.tzinfo) == NOON + HOUR
    assert refusal(lambda: coordinator.UpdateService(change)) == ("ABORTED", "stale_etag")


def test_c12_a_shelters_own_people_read_the_history_of_its_room_and_the_coordination_does_not(
    shelters: Shelters,
) -> None:
    shelters.state_room(4)
    request = locations_pb2.ListFieldChangesRequest(subject_id=shelters.service.id)
    assert not shelters.scene.coordinator.ListFieldChanges(request).changes
    assert {change.field for change in shelters.staff.ListFieldChanges(request).changes} == {
        "capacity.available",
        "capacity.maximum",
    }


def test_c12_a_fact_of_a_shelter_says_nothing_about_its_room(shelters: Shelters) -> None:
    shelters.state_room(0, pb.INTAKE_CLOSED)
    rows = shelters.scene.rows("SELECT payload FROM outbox WHERE subject = %s", shelters.service.id)
    bodies = [partners_facts_pb2.ServiceFact.FromString(row["payload"]) for row in rows]
    assert [(body.intake_code, body.shelter) for body in bodies] == [("", True)] * 2


@pytest.mark.parametrize("hour", [0, 5, 6, 17, 23])
def test_c12_a_step_begins_every_six_full_hours(hour: int) -> None:
    time = datetime(2026, 3, 14, hour, 59, 59, 5, NOON.tzinfo)
    assert time_step_of(time) == datetime(2026, 3, 14, hour - hour % 6, tzinfo=NOON.tzinfo)


def test_c12_a_figure_from_an_earlier_step_is_shown_as_last_stated() -> None:
    live = Figure(Capacity(Intake.OPEN, 1, 9, "beds", NOON + 2 * HOUR), 3, 1)
    before = Figure(Capacity(Intake.OPEN, 2, 9, "beds", NOON - HOUR), 2, 1, NOON)
    assert for_others(live, before, NOON + 3 * HOUR).capacity.available == 2
    after = for_others(live, before, NOON + STEP)
    assert (after.capacity.available, after.kept, after.capacity.update_time) == (1, 3, NOON)


@pytest.mark.parametrize("exists", [True, False])
def test_c12_naming_a_worker_as_unsafe_does_not_reveal_where_or_whether_she_works(
    scene: Scene, exists: bool
) -> None:
    unsafe = scene.organization("Insegura")
    scene.service(unsafe, "Una", "MED.PRI")
    named = scene.worker(unsafe).id if exists else new_id()
    reader = scene.by(scene.organization("Otra"), Role.WORKER)
    questions: tuple[Callable[[], object], ...] = (
        lambda: reader.SearchServices(excluded_worker_ids=[named]),
        lambda: reader.MatchServices(
            need_code="MED.PRI", country="NI", excluded_worker_ids=[named]
        ),
    )
    for ask in questions:
        assert wrong_fields(ask) == [("excluded_worker_ids", "out_of_range")], (
            "an organisation has to be named instead; the worker is not silently ignored"
        )

"""Other members see changes to a shelter's free places at fixed times, never when they happen.

The shelter's own people see a change at once.
"""

from collections.abc import Callable, ItemsView
from datetime import datetime, timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2
from services.partners.directory.domain.service import Service
from services.partners.directory.store import services
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.domain.time_step import STEP
from tests.builders import refusal, wrong_fields
from tests.partners.scene import NOON, STALE_ETAG, Scene, Stubs
from tests.partners.shelters import WOMAN, Shelter

HOUR = timedelta(hours=1)


class TwoShelters(Shelter):
    """Two shelters that stated their free beds at noon, and a member that reads them.

    Since then an hour has passed. A time step began at noon.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, room=1, type=OrganizationType.SHELTER)
        self.other_service = scene.service(scene.organization("Otra casa"), "Otro albergue", room=2)
        self.reader = scene.by(self.sender, Role.WORKER)
        scene.advance(hours=1)

    def consume_referral_fact(self, service: Service, verb: str) -> None:
        """Consumes a fact about a referral to another service."""
        self.refer(
            verb,
            service_id=service.id,
            receiver_organization_id=service.organization_id,
            actor_organization_id=service.organization_id,
        )

    def free(self, by: Stubs | None = None) -> int:
        """Returns the number of free beds that a caller sees, by default another member."""
        return self.shown(by or self.reader).capacity.available

    def answers(self, by: Stubs) -> dict[str, bytes]:
        """Returns all answers of the directory about the shelters, byte for byte, by name."""
        answers = [
            self.shown(by),
            by.BatchGet(service_ids=[self.service.id, self.other_service.id]),
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
def shelters(scene: Scene) -> TwoShelters:
    return TwoShelters(scene)


def test_no_byte_that_others_see_of_a_shelter_changes_before_the_time_step_ends(
    shelters: TwoShelters,
) -> None:
    others = (shelters.reader, shelters.scene.coordinator)
    referral_id, before = new_id(), [shelters.answers(by) for by in others]
    events: tuple[Callable[[], None], ...] = (
        lambda: shelters.refer("accepted", referral_id),
        lambda: shelters.refer("declined"),
        lambda: shelters.refer("completed", referral_id),
        lambda: shelters.state_room(0),
        lambda: shelters.state_room(5, pb.INTAKE_CLOSED),
        lambda: shelters.refer("accepted"),
    )
    for number, event in enumerate(events):
        shelters.scene.advance(minutes=10)
        event()
        for by, answers_before in zip(others, before, strict=True):
            answers_now = shelters.answers(by)
            assert {
                name: answers_now[name]
                for name in answers_now
                if answers_now[name] != answers_before[name]
            } == {}, number
    shelters.scene.clock.set(NOON + STEP - timedelta(seconds=1))
    assert [shelters.answers(by) for by in others] == before
    shelters.scene.advance(seconds=1)
    assert shelters.shown(shelters.reader).capacity.intake == pb.INTAKE_CLOSED
    for by, answers_before in zip(others, before, strict=True):
        assert shelters.answers(by) != answers_before


def test_the_order_of_an_answer_does_not_show_whose_row_was_written_last(
    shelters: TwoShelters,
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


def test_a_shelters_own_people_see_at_once_that_a_bed_is_taken(shelters: TwoShelters) -> None:
    before = shelters.shown()
    shelters.refer("accepted")
    after = shelters.shown()
    assert (before.capacity.available, after.capacity.available) == (1, 0)
    assert before.etag != after.etag
    assert shelters.free() == 1


def test_search_and_match_change_with_the_time_step_and_without_another_event(
    shelters: TwoShelters,
) -> None:
    def with_room() -> tuple[list[str], list[str]]:
        searched = shelters.reader.SearchServices(has_room=True).services
        matched = shelters.reader.MatchServices(**WOMAN).matches
        free_beds = [
            match.service.name
            for match in matched
            if "room_free" in {reason.reason_code for reason in match.reasons}
        ]
        return [service.name for service in searched], free_beds

    assert with_room() == (["Albergue", "Otro albergue"],) * 2
    shelters.refer("accepted")
    assert with_room() == (["Albergue", "Otro albergue"],) * 2
    shelters.scene.clock.set(NOON + STEP)
    assert with_room() == (["Otro albergue"],) * 2


def test_a_process_that_starts_in_the_middle_of_a_step_answers_like_the_others(
    shelters: TwoShelters,
) -> None:
    shelters.refer("accepted")
    for now, with_room in ((shelters.scene.clock.now(), 2), (NOON + STEP, 1)):
        with (
            shelters.scene.database.transaction(SYSTEM) as tx,
            DirectoryIndex().current_content(tx, now) as content,
        ):
            assert len(content.search.slots_with("room", True)) == with_room


def test_a_query_does_not_look_for_pending_figures_before_the_step_ends(
    shelters: TwoShelters,
) -> None:
    """Checks a cost that matters when thousands of shelters wait for the end of a step."""

    class CountingDict(dict[str, datetime]):
        readings = 0

        def items(self) -> ItemsView[str, datetime]:  # type: ignore[override]
            self.readings += 1
            return super().items()

    shelters.refer("accepted")
    now = shelters.scene.clock.now()
    with (
        shelters.scene.database.transaction(SYSTEM) as tx,
        DirectoryIndex().current_content(tx, now) as content,
    ):
        content.waiting_shelters = waiting_shelters = CountingDict(content.waiting_shelters)
        assert (content.due_ids(now), waiting_shelters.readings) == ([], 0)
        assert content.due_ids(NOON + STEP) == [shelters.service.id]


def test_the_figure_for_others_does_not_reveal_when_in_a_step_something_happened(
    shelters: TwoShelters,
) -> None:
    scene = shelters.scene
    early_service, late_service = (
        scene.service(scene.organization(f"Casa {when}"), "Casa", room=4)
        for when in ("temprana", "tardía")
    )
    for service, time in (
        (early_service, scene.clock.now() + timedelta(minutes=1)),
        (late_service, NOON + STEP - timedelta(seconds=1)),
    ):
        scene.clock.set(time)
        shelters.consume_referral_fact(service, "accepted")
        shelters.consume_referral_fact(service, "declined")
    scene.clock.set(NOON + STEP)
    first, second = (
        shelters.reader.GetService(id=service.id) for service in (early_service, late_service)
    )
    assert first.capacity.available == 3
    assert (first.capacity, first.update_time) == (second.capacity, second.update_time)
    assert first.capacity.declined_time.ToDatetime(NOON.tzinfo) == NOON


def test_the_first_change_of_a_step_is_not_shown_even_if_nobody_looked_before(
    shelters: TwoShelters,
) -> None:
    shelters.state_room(4)
    shelters.scene.clock.set(NOON + STEP + HOUR)
    shelters.refer("accepted")
    assert shelters.free() == 4, "the figure at the start of the step"
    shelters.scene.clock.set(NOON + 2 * STEP)
    assert shelters.free() == 3


def test_an_acceptance_that_is_received_late_counts_from_its_receipt(
    shelters: TwoShelters,
) -> None:
    shelters.scene.clock.set(NOON + STEP + HOUR)
    shelters.refer("accepted", at=NOON + STEP - HOUR)
    assert (shelters.free(shelters.staff), shelters.free()) == (0, 1)


def test_broken_promises_change_the_order_only_at_the_next_time_step(
    shelters: TwoShelters,
) -> None:
    scene = shelters.scene

    def order() -> list[str]:
        return [match.service.name for match in shelters.reader.MatchServices(**WOMAN).matches]

    assert order() == ["Albergue", "Otro albergue"]
    for _ in range(3):  # the shelter declines although it stated room, and states room again
        shelters.refer("declined")
        scene.advance(minutes=1)
        shelters.state_room(1)
    assert order() == ["Albergue", "Otro albergue"]
    scene.clock.set(NOON + STEP)
    assert order() == ["Otro albergue", "Albergue"]


def test_a_first_figure_is_shown_at_once_and_later_events_are_not(scene: Scene) -> None:
    manager = scene.by(scene.organization("Casa nueva"), Role.MANAGER)
    created = manager.CreateService(service=pb.Service(name="Casa", need_codes=["HOU.SAFE"]))
    reader = scene.by(scene.organization("Otra"))
    scene.advance(hours=1)
    for available in (4, 2):
        room = pb.Capacity(intake=pb.INTAKE_OPEN, available=available)
        manager.SetCapacity(id=created.id, capacity=room)
        seen_room = reader.GetService(id=created.id).capacity
        # noon, an hour ago, is when the step began
        assert (seen_room.available, seen_room.update_time.ToDatetime(NOON.tzinfo)) == (4, NOON)


def test_a_change_at_a_service_that_is_no_shelter_is_shown_at_once(shelters: TwoShelters) -> None:
    clinic = shelters.scene.service(
        shelters.scene.organization("Clínica"), "Consulta", "MED.PRI", room=3
    )
    shelters.scene.advance(minutes=1)
    shelters.consume_referral_fact(clinic, "accepted")
    assert shelters.reader.GetService(id=clinic.id).capacity.available == 2


def test_others_do_not_see_at_once_that_the_room_of_a_shelters_other_service_changed(
    shelters: TwoShelters,
) -> None:
    advice = shelters.scene.service(shelters.organization, "Apoyo", "PSS", room=3)
    shelters.scene.advance(minutes=1)
    shelters.consume_referral_fact(advice, "accepted")
    assert shelters.reader.GetService(id=advice.id).capacity.available == 3


def test_a_coordinator_updates_an_entry_with_the_etag_that_she_sees(shelters: TwoShelters) -> None:
    coordinator = shelters.scene.coordinator
    seen_service = shelters.shown(coordinator)
    shelters.refer("accepted")
    change = pb.UpdateServiceRequest(
        service=pb.Service(id=seen_service.id, etag=seen_service.etag, languages=["es"]),
        update_mask=FieldMask(paths=["languages"]),
    )
    assert coordinator.UpdateService(change).languages == ["es"]
    assert shelters.shown(coordinator).update_time.ToDatetime(NOON.tzinfo) == NOON + HOUR
    assert refusal(lambda: coordinator.UpdateService(change)) == STALE_ETAG


def test_a_shelters_own_people_read_the_history_of_its_room_and_the_coordination_does_not(
    shelters: TwoShelters,
) -> None:
    shelters.state_room(4)
    id = shelters.service.id
    assert not shelters.scene.coordinator.ListFieldChanges(subject_id=id).changes
    changes = shelters.staff.ListFieldChanges(subject_id=id).changes
    assert {change.field for change in changes} == {"capacity.available", "capacity.maximum"}


def test_a_fact_of_a_shelter_says_nothing_about_its_room(shelters: TwoShelters) -> None:
    shelters.state_room(0, pb.INTAKE_CLOSED)
    rows = shelters.scene.rows("SELECT payload FROM outbox WHERE subject = %s", shelters.service.id)
    bodies = [facts_pb2.ServiceFact.FromString(row["payload"]) for row in rows]
    assert [(body.intake_code, body.shelter) for body in bodies] == [("", True)] * 2


@pytest.mark.parametrize("exists", [True, False])
def test_naming_a_worker_as_unsafe_does_not_reveal_where_or_whether_she_works(
    scene: Scene, exists: bool
) -> None:
    unsafe = scene.organization("Insegura")
    scene.service(unsafe, "Una", "MED.PRI")
    worker_id = scene.worker(unsafe).id if exists else new_id()
    reader = scene.by(scene.organization("Otra"), Role.WORKER)
    for call in (
        lambda: reader.SearchServices(excluded_worker_ids=[worker_id]),
        lambda: reader.MatchServices(
            need_code="MED.PRI", country="NI", excluded_worker_ids=[worker_id]
        ),
    ):
        assert wrong_fields(call) == [("excluded_worker_ids", "out_of_range")], (
            "an organisation has to be named instead; the worker is not silently ignored"
        )

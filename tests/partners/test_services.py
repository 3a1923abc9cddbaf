"""Services: their entry, their room, and who may see and change them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.db import Transaction
from chassis.ids import new_id
from chassis.store_faults import FoundDead
from chassis.sweeper import Sweeper
from chassis.tokens import SYSTEM
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2
from services.partners.directory.domain.service import Eligibility
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import MIGRATIONS, NOON, Scene

UNKNOWN: Any = 77  # a value of an enum that a newer caller may know


def entry(**more: object) -> pb.Service:
    return pb.Service(
        **({"name": "Albergue", "need_codes": ["HOU.EMG"], "department": "NI-CI"} | more)  # type: ignore[arg-type]
    )


def test_a_manager_adds_a_service_to_her_own_organisation(scene: Scene) -> None:
    own = scene.organization("Luna Nueva", type=OrganizationType.SHELTER)
    created = scene.by(own, Role.MANAGER).CreateService(service=entry())
    assert (created.organization_id, created.organization_name, created.organization_type) == (
        own.id,
        "Luna Nueva",
        pb.ORGANIZATION_TYPE_SHELTER,
    )
    assert (created.country, created.active, created.HasField("capacity")) == ("NI", True, False)
    assert created.assured_time == created.create_time
    assert scene.facts(created.id) == [(1, "enlace.service.registered.v1")]


def test_a_service_belongs_to_the_callers_organisation_unless_a_coordinator_states_another(
    scene: Scene,
) -> None:
    own, other = scene.organization("Propia"), scene.organization("Ajena")
    assert (
        refusal(
            lambda: scene.by(own, Role.MANAGER).CreateService(
                service=entry(organization_id=other.id)
            )
        )
        == NOT_FOUND
    )
    assert (
        refusal(lambda: scene.coordinator.CreateService(service=entry(organization_id="0" * 32)))
        == NOT_FOUND
    )
    assert (
        scene.coordinator.CreateService(service=entry(organization_id=other.id)).organization_name
        == "Ajena"
    )
    assert (
        scene.by_key(own, "directory.write").CreateService(service=entry()).organization_id
        == own.id
    )


def test_a_call_passes_over_connections_that_are_found_dead(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_transaction, dead = scene.database._open_transaction, iter([True, True])

    @contextmanager
    def find_dead(*args: Any, **options: Any) -> Iterator[Transaction]:
        with open_transaction(*args, **options) as tx:
            if next(dead, False):
                raise FoundDead
            yield tx

    manager = scene.by(scene.organization(), Role.MANAGER)
    monkeypatch.setattr(scene.database, "_open_transaction", find_dead)
    created = manager.CreateService(service=entry(), request_id=new_id())
    assert next(dead, None) is None
    assert scene.facts(created.id) == [(1, "enlace.service.registered.v1")]


def test_a_worker_or_a_reading_key_cannot_add_a_service(scene: Scene) -> None:
    for caller in (
        scene.by(scene.coalition, Role.WORKER),
        scene.by_key(scene.coalition, "directory.read"),
    ):
        assert refusal(partial(caller.CreateService, service=entry())) == (
            "PERMISSION_DENIED",
            "right_missing",
        )


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        ({"name": ""}, "service.name", "required"),
        ({"description": "x" * 2001}, "service.description", "too_long"),
        ({"need_codes": []}, "service.need_codes", "required"),
        ({"need_codes": ["HOU.EMG", "HOU.XXX"]}, "service.need_codes.1", "unknown_code"),
        ({"country": "ni"}, "service.country", "malformed"),
        ({"country": "CR"}, "service.department", "unknown_code"),
        ({"department": "NI-ZZ"}, "service.department", "unknown_code"),
        ({"languages": ["e"]}, "service.languages.0", "malformed"),
        ({"phone": "133"}, "service.phone", "malformed"),
        (
            {"eligibility": pb.Eligibility(minimum_age=-1)},
            "service.eligibility.minimum_age",
            "out_of_range",
        ),
        (
            {"eligibility": pb.Eligibility(maximum_age=121)},
            "service.eligibility.maximum_age",
            "out_of_range",
        ),
        (
            {"eligibility": pb.Eligibility(minimum_age=18, maximum_age=17)},
            "service.eligibility.maximum_age",
            "out_of_range",
        ),
        (
            {"eligibility": pb.Eligibility(genders=[pb.GENDER_UNSPECIFIED])},
            "service.eligibility.genders.0",
            "unknown_code",
        ),
        (
            {"eligibility": pb.Eligibility(genders=[UNKNOWN])},
            "service.eligibility.genders.0",
            "unknown_code",
        ),
        (
            {"eligibility": pb.Eligibility(takes_dependants=False, maximum_dependants=1)},
            "service.eligibility.maximum_dependants",
            "out_of_range",
        ),
        ({"capacity": pb.Capacity(available=1)}, "service.capacity.intake", "required"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_path_of_its_field(
    scene: Scene, wrong: dict[str, object], path: str, reason: str
) -> None:
    assert (path, reason) in wrong_fields(
        lambda: scene.coordinator.CreateService(service=entry(**wrong))
    )


def test_unstated_fields_stay_unstated(scene: Scene) -> None:
    created = scene.coordinator.CreateService(
        service=entry(eligibility=pb.Eligibility(minimum_age=0))
    )
    read = scene.coordinator.GetService(id=created.id)
    stated = read.eligibility
    assert stated.HasField("minimum_age")
    assert not any(
        stated.HasField(name) for name in ("maximum_age", "takes_dependants", "maximum_dependants")
    )
    assert read == created


def test_a_confidential_service_never_has_a_phone(scene: Scene) -> None:
    service = entry(confidential=True, phone="+50520000101")
    created = scene.coordinator.CreateService(service=service)
    assert (created.confidential, created.phone) == (True, "")
    change = pb.Service(id=created.id, etag=created.etag, phone="+50520000101")
    request = pb.UpdateServiceRequest(service=change, update_mask=FieldMask(paths=["phone"]))
    assert scene.coordinator.UpdateService(request).phone == ""
    # The former public data are deleted with the change, not only hidden.
    created = scene.coordinator.CreateService(service=entry(phone="+50520000101"))
    change = pb.Service(id=created.id, etag=created.etag, confidential=True)
    request = pb.UpdateServiceRequest(service=change, update_mask=FieldMask(paths=["confidential"]))
    scene.coordinator.UpdateService(request)
    assert scene.rows("SELECT phone FROM services WHERE id = %s", created.id) == [{"phone": ""}]


def test_fields_are_changed_by_their_mask_and_others_stay(scene: Scene) -> None:
    own = scene.organization()
    created = scene.service(own, "Albergue")
    change = pb.Service(
        id=created.id,
        etag=etag_of(created),
        name="Casa",
        eligibility=pb.Eligibility(minimum_age=18),
    )
    request = pb.UpdateServiceRequest(
        service=change, update_mask=FieldMask(paths=["name", "eligibility"])
    )
    changed = scene.by(own, Role.MANAGER).UpdateService(request)
    assert (changed.name, changed.eligibility, list(changed.need_codes)) == (
        "Casa",
        pb.Eligibility(minimum_age=18),
        ["HOU.EMG"],
    )
    assert changed.etag != etag_of(created)
    assert refusal(lambda: scene.coordinator.UpdateService(request)) == ("ABORTED", "stale_etag")
    assert scene.facts(created.id) == [
        (1, "enlace.service.registered.v1"),
        (2, "enlace.service.changed.v1"),
    ]


def test_a_change_needs_the_version_it_is_based_on(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    change = pb.Service(id=created.id, name="Casa")
    assert wrong_fields(
        lambda: scene.coordinator.UpdateService(
            service=change, update_mask=FieldMask(paths=["name"])
        )
    ) == [("service.etag", "required")]


@pytest.mark.parametrize("path", ["capacity", "organization_id", "id", "eligibility.minimum_age"])
def test_fields_outside_the_entry_are_not_changed_with_it(scene: Scene, path: str) -> None:
    created = scene.service(scene.coalition)
    change = pb.Service(id=created.id, etag=etag_of(created))
    assert wrong_fields(
        lambda: scene.coordinator.UpdateService(service=change, update_mask=FieldMask(paths=[path]))
    ) == [("update_mask", "unknown_code")]


def test_the_country_of_a_service_cannot_be_emptied(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    change = pb.Service(id=created.id, etag=etag_of(created))
    assert wrong_fields(
        lambda: scene.coordinator.UpdateService(
            service=change, update_mask=FieldMask(paths=["country"])
        )
    ) == [("service.country", "required")]


def test_after_an_update_entries_without_a_country_are_in_that_of_their_organisation(
    scene: Scene,
) -> None:
    house = scene.service(scene.coalition, "Casa")
    with scene.owner.transaction(SYSTEM) as tx:  # as an earlier version stored it
        tx.execute("UPDATE services SET country = '', facets = '{}' WHERE id = %s", (house.id,))
        migration = next(MIGRATIONS[1].glob("*_countries.sql")).read_text()
        for command in migration.partition("-- migrate:down")[0].strip(" \n;").split(";\n"):
            tx.execute(command.encode())
    Sweeper(scene.database, scene.clock, sweep).sweep()
    response = scene.coordinator.SearchServices(country="NI")
    assert [service.id for service in response.services] == [house.id]


def test_a_service_of_another_member_is_not_found_for_a_change(scene: Scene) -> None:
    created = scene.service(scene.organization("Ajena"))
    stranger = scene.by(scene.organization("Propia"), Role.MANAGER)
    change = pb.Service(id=created.id, etag=etag_of(created), name="Tomado")
    assert (
        refusal(
            lambda: stranger.UpdateService(service=change, update_mask=FieldMask(paths=["name"]))
        )
        == NOT_FOUND
    )
    for caller in (stranger, scene.coordinator):
        assert (
            refusal(
                partial(
                    caller.SetCapacity, id=created.id, capacity=pb.Capacity(intake=pb.INTAKE_CLOSED)
                )
            )
            == NOT_FOUND
        )
    for id in ("0" * 32, "", "' OR 1"):
        assert refusal(partial(stranger.GetService, id=id)) == NOT_FOUND


def test_a_confirmed_entry_is_fresh_as_of_the_servers_time(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    scene.advance(seconds=40)
    request = pb.UpdateServiceRequest(
        service=pb.Service(id=created.id, etag=etag_of(created)),
        update_mask=FieldMask(paths=["assured_time"]),
    )
    assert scene.coordinator.UpdateService(request).assured_time.ToDatetime(
        tzinfo=UTC
    ) == NOON + timedelta(seconds=40)


def test_any_worker_states_the_room_and_the_server_sets_its_time(scene: Scene) -> None:
    own = scene.organization()
    created = scene.service(own, "Consulta", "MED.PRI")
    scene.advance(seconds=30)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=0, maximum=4)
    room.update_time.FromDatetime(NOON - timedelta(days=9))
    answer = scene.by(own, Role.WORKER).SetCapacity(id=created.id, capacity=room)
    assert (answer.capacity.available, answer.capacity.maximum, answer.capacity.unit) == (
        0,
        4,
        pb.CAPACITY_UNIT_BEDS,
    )
    assert answer.capacity.update_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(seconds=30)
    assert scene.facts(created.id)[-1] == (2, "enlace.service.capacity_changed.v1")
    row = scene.rows("SELECT payload FROM outbox WHERE subject = %s AND version = 2", created.id)[0]
    fact = facts_pb2.ServiceFact.FromString(row["payload"])
    assert (fact.intake_code, list(fact.need_codes), fact.organization_id) == (
        "OPEN",
        ["MED.PRI"],
        own.id,
    )


def test_b9_the_fact_of_a_service_contains_the_ages_that_it_states(scene: Scene) -> None:
    own = scene.organization()
    created = scene.service(own, eligibility=Eligibility(minimum_age=18))
    row = scene.rows("SELECT payload FROM outbox WHERE subject = %s AND version = 1", created.id)[0]
    fact = facts_pb2.ServiceFact.FromString(row["payload"])
    assert (fact.minimum_age, fact.HasField("maximum_age")) == (18, False)


@pytest.mark.parametrize(
    ("room", "path", "reason"),
    [
        (pb.Capacity(), "capacity.intake", "required"),
        (pb.Capacity(intake=UNKNOWN), "capacity.intake", "unknown_code"),
        (pb.Capacity(intake=pb.INTAKE_OPEN, available=-1), "capacity.available", "out_of_range"),
        (
            pb.Capacity(intake=pb.INTAKE_OPEN, available=5, maximum=4),
            "capacity.available",
            "out_of_range",
        ),
        (
            pb.Capacity(intake=pb.INTAKE_OPEN, unit=pb.CapacityUnit.ValueType(99)),
            "capacity.unit",
            "unknown_code",
        ),
    ],
)
def test_an_invalid_figure_is_refused_with_its_field(
    scene: Scene, room: pb.Capacity, path: str, reason: str
) -> None:
    created = scene.service(scene.coalition)
    assert wrong_fields(lambda: scene.coordinator.SetCapacity(id=created.id, capacity=room)) == [
        (path, reason)
    ]


def test_an_etag_is_checked_for_capacity_only_if_one_is_sent(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=1)
    scene.coordinator.SetCapacity(id=created.id, capacity=room)
    assert refusal(
        lambda: scene.coordinator.SetCapacity(id=created.id, etag=etag_of(created), capacity=room)
    ) == ("ABORTED", "stale_etag")


def test_the_same_tap_sent_twice_counts_once_and_many_taps_leave_no_gap(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=1)
    first = scene.coordinator.SetCapacity(id=created.id, capacity=room, request_id="tap")
    assert scene.coordinator.SetCapacity(id=created.id, capacity=room, request_id="tap") == first
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda _: scene.coordinator.SetCapacity(id=created.id, capacity=room),
                range(8),
            )
        )
    assert [version for version, _ in scene.facts(created.id)] == list(range(1, 11))


def test_one_of_two_changes_of_the_same_version_succeeds(scene: Scene) -> None:
    created = scene.service(scene.coalition)

    def change(name: str) -> str:
        service = pb.Service(id=created.id, etag=etag_of(created), name=name)
        try:
            scene.coordinator.UpdateService(service=service, update_mask=FieldMask(paths=["name"]))
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, ["Uno", "Dos", "Tres", "Cuatro"])) == ["ABORTED"] * 3 + [
            "OK"
        ]


def test_a_new_name_of_an_organisation_is_shown_with_its_services(scene: Scene) -> None:
    own = scene.organization("Antes")
    created = scene.service(own)
    change = pb.Organization(id=own.id, etag=etag_of(own), name="Después")
    scene.coordinator.UpdateOrganization(organization=change, update_mask=FieldMask(paths=["name"]))
    read = scene.coordinator.GetService(id=created.id)
    assert read.organization_name == "Después"
    assert read.etag != etag_of(created)  # a strong etag: another answer has another etag


def test_many_names_are_fetched_at_once_and_unknown_ids_are_left_out(scene: Scene) -> None:
    own, other = scene.organization("Propia"), scene.organization("Ajena")
    service = scene.service(other)
    me, stranger = scene.worker(own, name="Xiomara"), scene.worker(other, name="Petrona")
    batch = scene.as_worker(me).BatchGet(
        service_ids=[service.id, "0" * 32, "x"],
        organization_ids=[own.id, other.id, ""],
        worker_ids=[me.id, stranger.id, "\x00"],
    )
    assert [service.id for service in batch.services] == [service.id]
    assert {organization.name for organization in batch.organizations} == {"Propia", "Ajena"}
    assert dict(batch.worker_names) == {me.id: "Xiomara"}, (
        "names of workers are shown only within their organisation"
    )


def test_at_most_two_hundred_ids_are_fetched_at_once(scene: Scene) -> None:
    scene.coordinator.BatchGet(service_ids=["0" * 32] * 100, worker_ids=["0" * 32] * 100)
    assert wrong_fields(
        lambda: scene.coordinator.BatchGet(
            service_ids=["0" * 32] * 101, organization_ids=["0" * 32] * 100
        )
    ) == [("service_ids", "too_long")]


def test_a_member_on_probation_sees_no_shelter_but_its_own(scene: Scene) -> None:
    new = scene.organization("Nueva", approved=False)
    hidden, open_to_all, own = (
        scene.service(scene.coalition, "Casa", "HOU.TRANS", confidential=True),
        scene.service(scene.coalition, "Consulta", "MED.PRI"),
        scene.service(new, "Albergue propio"),
    )
    worker = scene.by(new)
    assert refusal(lambda: worker.GetService(id=hidden.id)) == NOT_FOUND
    fetched = worker.BatchGet(service_ids=[hidden.id, open_to_all.id, own.id]).services
    assert {service.name for service in fetched} == {"Consulta", "Albergue propio"}
    scene.approve(new.id)
    assert worker.GetService(id=hidden.id).name == "Casa"
